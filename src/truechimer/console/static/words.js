// Words for numbers: seconds in a fitting unit, bounds rounded up, ages. It touches no page and reads no clock.

const UNITS = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"], [1e-12, "ps"]];

function scaled(value, rounding) {
  if (value === 0) return "0 s";
  let index = UNITS.findIndex(([size]) => value >= size);
  if (index < 0) index = UNITS.length - 1;
  for (;;) {
    const [size, unit] = UNITS[index];
    const inUnit = value / size;
    const decimals = inUnit >= 100 ? 0 : inUnit >= 10 ? 1 : 2;
    // The division may have added one part in 1e16, for which 3 ns must not become 3.01 ns.
    const digits = rounding(inUnit * 10 ** decimals * (1 - 1e-15));
    if (digits >= 1000 * 10 ** decimals && index > 0) {
      index -= 1;
      value = UNITS[index][0];
      continue;
    }
    return `${(digits / 10 ** decimals).toFixed(decimals)} ${unit}`;
  }
}

export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** A time, three digits, to the nearest; a dash where there is none. */
export function seconds(value, { signed = false } = {}) {
  if (!isNumber(value)) return "–";
  const sign = value < 0 ? "−" : signed ? "+" : "";
  return sign + scaled(Math.abs(value), Math.round);
}

/** A limit, three digits, rounded up: what is shown is never too small. */
export const bound = (value) => (isNumber(value) ? scaled(value, Math.ceil) : "–");

export function age(value) {
  if (!isNumber(value)) return "–";
  const s = Math.max(0, Math.floor(value));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

/** A dimensionless rate such as −1.23e-13, with a minus sign that lines up. */
export const rate = (value) => (isNumber(value) ? (value < 0 ? "−" : "+") + Math.abs(value).toExponential(2) : "–");

/** A weight to a thousandth; a clock that weighs less than that still weighs. */
export const weight = (value) => (!isNumber(value) ? "–" : value > 0 && value < 0.0005 ? "<0.001" : value.toFixed(3));

export const text = (value) => (value === undefined || value === null ? "" : String(value));
