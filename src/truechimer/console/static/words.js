// Words for numbers: seconds in a fitting unit, bounds rounded up, ages. It touches no page and reads no clock.

const UNITS = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"], [1e-12, "ps"], [1e-15, "fs"]];

/** The unit [size, name] in which a value of this size is written with one to three digits before the point. */
export const unitOf = (value) => UNITS.find(([size]) => value >= size) ?? UNITS.at(-1);

const SMALLEST = 1e-15;
const LARGEST = 1e5; // beyond these a power of ten says more

function scaled(value, rounding) {
  if (value === 0) return "0 s";
  if (value < SMALLEST || value >= LARGEST) return `${powered(value, rounding)} s`;
  let index = UNITS.findIndex(([size]) => value >= size);
  for (;;) {
    const [size, unit] = UNITS[index];
    const inUnit = value / size;
    let decimals = inUnit >= 100 ? 0 : inUnit >= 10 ? 1 : 2;
    // The division may have added one part in 1e16, for which 3 ns must not become 3.01 ns.
    let digits = rounding(inUnit * 10 ** decimals * (1 - 1e-15));
    if (digits >= 1000 && decimals > 0) [digits, decimals] = [100, decimals - 1]; // 99.99 has become 100.0
    if (digits >= 1000 * 10 ** decimals && index > 0) {
      index -= 1;
      value = UNITS[index][0];
      continue;
    }
    return `${(digits / 10 ** decimals).toFixed(decimals)} ${unit}`;
  }
}

/** Three digits and a power of ten: 1.24 × 10⁻³⁰. */
function powered(value, rounding) {
  let exponent = Math.floor(Math.log10(value));
  let digits = rounding((value / 10 ** exponent) * 100 * (1 - 1e-15));
  if (digits >= 1000) [digits, exponent] = [100, exponent + 1];
  return `${(digits / 100).toFixed(2)} × ${powerOfTen(exponent)}`;
}

export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** A time, three digits, to the nearest; a dash where there is none. */
export function seconds(value, { signed = false } = {}) {
  if (!isNumber(value)) return "–";
  const sign = value < 0 ? "−" : signed && value > 0 ? "+" : "";
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
export const rate = (value) => (!isNumber(value) ? "–" : value === 0 ? "0" : (value < 0 ? "−" : "+") + Math.abs(value).toExponential(2));

/** A weight to a thousandth; a clock that weighs less than that still weighs. */
export const weight = (value) => (!isNumber(value) ? "–" : value > 0 && value < 0.0005 ? "<0.001" : value.toFixed(3));

export const text = (value) => (value === undefined || value === null ? "" : String(value));

const RAISED = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

/** A power of ten as people write it: 10⁻¹⁴. */
export const powerOfTen = (exponent) => `10${String(exponent).replace(/./g, (digit) => RAISED[digit])}`;

/** A small ratio such as 1.3 × 10⁻¹⁴. */
export function ratio(value) {
  if (!isNumber(value) || value === 0) return isNumber(value) ? "0" : "–";
  const [digits, exponent] = value.toExponential(1).split("e");
  return `${digits.replace("-", "−")} × ${powerOfTen(Number(exponent))}`;
}

/** A span of time as people say it: 10 s, 20 min, 3 h, 2.5 d. */
export function span(value) {
  if (!isNumber(value)) return "–";
  const [size, unit] = [[86400, "d"], [3600, "h"], [60, "min"]].find(([each]) => value >= 2 * each) ?? [1, "s"];
  return `${Number((value / size).toPrecision(3))} ${unit}`;
}

const SPANS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200];
const DAYS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
const STEPS = [...SPANS, ...DAYS.map((days) => days * 86400)];

/** The shortest round step (s) that divides a span into at most so many parts. */
export const stepFor = (spanS, most) => STEPS.find((step) => spanS / step <= most) ?? STEPS.at(-1);
