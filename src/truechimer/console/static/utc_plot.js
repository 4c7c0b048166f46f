// UTC minus UTC(k) over time: line, band of one sigma, band of six sigma and the links' limits, and the stated bound.
//
// Times come as ages before `as_of`; dates and MJD on the axis are reckoned from it. It draws what was told: where
// nothing was told for long there is a gap.

import { axis, colour, faint, makePlot } from "./plots.js";
import { bound, isNumber, seconds, stepFor, unitOf } from "./words.js";

const DAY_S = 86400;
const WINDOWS = [["1 h", 3600], ["1 d", DAY_S], ["30 d", 30 * DAY_S], ["1 a", 365.25 * DAY_S]];
const TICK_PX = 92;
const GAP = 3; // a stretch so many times longer than both its neighbours is a gap
const [X, LOW, HIGH, SIGMA_UP, SIGMA_DOWN, HALF_UP, HALF_DOWN, BOUND_UP, BOUND_DOWN] = [0, 1, 2, 3, 4, 5, 6, 7, 8];

let plot = null;
let told = null; // {asOfMs, asOfMjd, columns}
let windowS = null; // chosen by the reader; null: what suits the span
let unit = [1e-9, "ns"];

/** Show a history's `utc`; without one the plot says what is missing. */
export function show(history, frame, parts) {
  const utc = history?.utc;
  const asOfMs = Date.parse(history?.as_of?.replace(/:60(\.\d+)?Z$/, ":59.999Z") ?? "");
  const usable = utc && Array.isArray(utc.age_s) && utc.age_s.length > 1 && Number.isFinite(asOfMs);
  parts.empty.hidden = Boolean(usable);
  parts.figure.hidden = !usable;
  if (!usable) return;
  told = { asOfMs, asOfMjd: history.as_of_mjd_tai, columns: columnsOf(utc) };
  offerWindows(parts);
  parts.label.textContent = labelOf();
  draw(frame, parts);
}

function columnsOf(utc) {
  const n = utc.age_s.length;
  const columns = Array.from({ length: 9 }, () => []);
  const ages = utc.age_s;
  for (let k = 0; k < n; k += 1) {
    if (k > 0 && k < n - 1) {
      const here = ages[k - 1] - ages[k];
      const beside = Math.max(k > 1 ? ages[k - 2] - ages[k - 1] : 0, ages[k] - ages[k + 1]);
      if (here > GAP * beside) columns.forEach((column, at) => column.push(at === X ? -(ages[k - 1] + ages[k]) / 2 : null));
    }
    const [low, high, u, half] = [utc.low_s[k], utc.high_s[k], utc.u_s[k], utc.half_s[k]];
    const limit = utc.bound_s?.[k];
    columns[X].push(-ages[k]);
    columns[LOW].push(low);
    columns[HIGH].push(high);
    columns[SIGMA_UP].push(high + u);
    columns[SIGMA_DOWN].push(low - u);
    columns[HALF_UP].push(high + half);
    columns[HALF_DOWN].push(low - half);
    columns[BOUND_UP].push(isNumber(limit) ? limit : null);
    columns[BOUND_DOWN].push(isNumber(limit) ? -limit : null);
  }
  return columns;
}

const spanS = () => -told.columns[X][0];
const shownS = () => Math.min(windowS ?? (spanS() > 2 * DAY_S ? DAY_S : Infinity), spanS());

/** Offer the windows that are shorter than what there is; the choice is kept. */
function offerWindows(parts) {
  const fitting = WINDOWS.filter(([, length]) => length < 0.98 * spanS());
  const wanted = [...fitting.map(([name]) => name), "all"].join();
  if (parts.windows.dataset.offered !== wanted) {
    parts.windows.dataset.offered = wanted;
    parts.windows.hidden = fitting.length === 0;
    parts.windows.querySelectorAll("label").forEach((each) => each.remove());
    for (const [name, length] of [...fitting, ["all", Infinity]]) {
      const [label, input] = [document.createElement("label"), document.createElement("input")];
      Object.assign(input, { type: "radio", name: "utc-window", value: name });
      input.addEventListener("change", () => {
        windowS = length;
        draw(plot.root.parentElement, parts);
        parts.label.textContent = labelOf();
      });
      label.append(input, name);
      parts.windows.append(label);
    }
  }
  const chosen = fitting.findLast(([, length]) => length <= shownS())?.[0];
  const value = shownS() >= 0.98 * spanS() ? "all" : chosen;
  for (const input of parts.windows.querySelectorAll("input")) input.checked = input.value === value;
}

function scaleNow() {
  const from = -shownS();
  let most = 0;
  let [low, high] = [0, 0];
  told.columns[X].forEach((at, k) => {
    if (at < from) return;
    for (const column of [HALF_UP, HALF_DOWN, BOUND_UP, BOUND_DOWN]) {
      const value = told.columns[column][k];
      if (isNumber(value)) [low, high, most] = [Math.min(low, value), Math.max(high, value), Math.max(most, Math.abs(value))];
    }
  });
  unit = unitOf(most || 1e-9);
  const room = 0.06 * (high - low || unit[0]);
  return { x: [from, 0], y: [(low - room) / unit[0], (high + room) / unit[0]] };
}

let range = { x: [-1, 0], y: [-1, 1] };

function draw(frame, parts) {
  range = scaleNow();
  parts.unit.textContent = unit[1];
  const data = told.columns.map((column, at) => (at === X ? column : column.map((value) => (value === null ? null : value / unit[0]))));
  if (plot) {
    plot.setData(data);
    return;
  }
  plot = makePlot(frame, options(), data, { tell, rest, readout: parts.readout });
}

function options() {
  const hidden = { stroke: "transparent", width: 0, points: { show: false } };
  const line = { stroke: () => colour("--accent"), width: 1.8, points: { show: false } };
  const stated = { stroke: () => colour("--quiet"), width: 1, dash: [5, 4], points: { show: false } };
  return {
    padding: [8, 36, 0, 0],
    scales: { x: { time: false, range: () => range.x }, y: { range: () => range.y } },
    series: [{}, line, line, hidden, hidden, hidden, hidden, stated, stated],
    bands: [
      { series: [HALF_UP, HALF_DOWN], fill: () => faint("--accent", 0.14) },
      { series: [SIGMA_UP, SIGMA_DOWN], fill: () => faint("--accent", 0.3) },
      { series: [HIGH, LOW], fill: () => faint("--accent", 0.85) },
    ],
    axes: [
      axis({ size: 46, space: TICK_PX, splits: (u, _axis, from, to) => ticks(from, to, u.bbox.width / devicePixelRatio), values: (_u, at) => at.map(tickWords), lineGap: 1.35 }),
      axis({ size: 54, values: (_u, at) => at.map(amount) }),
    ],
    cursor: { points: { show: false }, drag: { x: false, y: false, setScale: false }, y: false },
    hooks: { draw: [zeroLine] },
  };
}

/** A tick of the upright axis, in the unit of the heading. */
function amount(value) {
  const plain = Math.abs(value) < 1e5 ? String(Number(value.toPrecision(6))) : value.toExponential(0).replace("+", "");
  return plain.replaceAll("-", "−");
}

function zeroLine(u) {
  const y = Math.round(u.valToPos(0, "y", true)) + 0.5;
  u.ctx.save();
  u.ctx.setLineDash([]);
  u.ctx.strokeStyle = colour("--ink");
  u.ctx.lineWidth = devicePixelRatio;
  u.ctx.beginPath();
  u.ctx.moveTo(u.bbox.left, y);
  u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
  u.ctx.stroke();
  u.ctx.restore();
}

let stepS = 60;

function ticks(from, to, widthPx) {
  const most = Math.max(2, Math.floor(widthPx / TICK_PX));
  stepS = stepFor(to - from, most);
  const originS = told.asOfMs / 1000;
  const found = [];
  for (let at = Math.ceil((from + originS) / stepS) * stepS; at <= to + originS; at += stepS) found.push(at - originS);
  return found;
}

const utcAt = (at) => new Date(told.asOfMs + 1000 * at).toISOString();

/** A tick in two lines: time of day, or the date, and the MJD with as many decimals as the ticks need. */
function tickWords(at) {
  const utc = utcAt(Math.round(at * 1000) / 1000);
  const day = stepS >= DAY_S;
  const decimals = Math.min(Math.max(Math.ceil(Math.log10(DAY_S / stepS)), 0), 5);
  const mjd = isNumber(told.asOfMjd) ? (told.asOfMjd + at / DAY_S).toFixed(decimals) : "";
  const time = stepS < 60 ? utc.slice(11, 19) : utc.slice(11, 16);
  return `${day || time === "00:00" ? utc.slice(0, 10) : time}\n${mjd}`;
}

function tell(u, index) {
  const at = (column) => told.columns[column][index];
  const [low, high, half] = [at(LOW), at(HIGH), at(HALF_UP) - at(HIGH)];
  if (!isNumber(low)) return `${utcAt(u.data[X][index]).slice(0, 19).replace("T", " ")} UTC: nothing was told`;
  const value = low === high ? seconds(low, { signed: true }) : `${seconds(low, { signed: true })} to ${seconds(high, { signed: true })}`;
  const stated = isNumber(at(BOUND_UP)) ? `, stated bound ± ${bound(at(BOUND_UP))}` : "";
  return `${utcAt(u.data[X][index]).slice(0, 19).replace("T", " ")} UTC: ${value} ± ${bound(half)}${stated}`;
}

function rest() {
  return `${utcAt(-shownS()).slice(0, 16).replace("T", " ")} to ${utcAt(0).slice(0, 16).replace("T", " ")} UTC; lower line of the axis: MJD (TAI)`;
}

function labelOf() {
  const last = told.columns[X].length - 1;
  const half = told.columns[HALF_UP][last] - told.columns[HIGH][last];
  return `Plot of UTC minus UTC(k) over time; last value ${seconds(told.columns[HIGH][last], { signed: true })} ± ${bound(half)}. Arrow keys read it out.`;
}
