// sigma-tau: the overlapping Allan deviation of each clock against the scale, and of the scale itself, with intervals.
// Names of clocks are drawn on the canvas or set as text.

import { axis, colour, faint, font, makePlot } from "./plots.js";
import { isNumber, powerOfTen, ratio, span } from "./words.js";

const MOST_BARS = 16; // with more curves the intervals of the clocks would be all there is to see: only the pointed one's
const LABEL_PX = 13;
const [TAU, SCALE, UPPER, LOWER, FIRST] = [0, 1, 2, 3, 4];

let plot = null;
let curves = []; // of the clocks: {name, at: Map tau -> {value, lower, upper, n}}
let scaleCurve = null;
let taus = [];
let pointed = null; // name of the clock that somebody points at
let nearest = null; // index of the series that the pointer is next to
let who = "the scale";

/** Show a history's `deviations`; without any the plot says what is missing. */
export function show(history, frame, parts, scaleName) {
  who = scaleName || "the scale";
  const found = history?.deviations;
  const rows = Array.isArray(found?.clocks) ? found.clocks.filter((each) => Array.isArray(each?.tau_s)) : [];
  parts.empty.hidden = rows.length > 0;
  parts.figure.hidden = rows.length === 0;
  if (!rows.length) return;
  curves = rows.map((each) => ({ name: String(each.name), at: pointsOf(each) }));
  scaleCurve = found.scale ? pointsOf(found.scale) : null;
  taus = [...new Set([...curves.map((each) => each.at), scaleCurve ?? new Map()].flatMap((at) => [...at.keys()]))].sort((a, b) => a - b);
  parts.label.textContent = labelOf();
  parts.noScale.hidden = scaleCurve !== null;
  parts.leftOut.textContent = found.clocks_left_out ? ` ${found.clocks_left_out} clocks of small weight are not drawn.` : "";
  const data = dataOf();
  if (plot && plot.series.length === data.length) plot.setData(data);
  else {
    if (plot) plot.destroy();
    frame.replaceChildren();
    plot = makePlot(frame, options(), data, { tell, rest, readout: parts.readout });
  }
  table(parts.table);
}

/** Put the curve of a clock forward, or of none. */
export function point(name) {
  pointed = name;
  if (!plot) return;
  const index = curves.findIndex((each) => each.name === name);
  if (index < 0) plot.setSeries(null, { focus: false });
  else plot.setSeries(FIRST + index, { focus: true });
  plot.redraw(false);
}

function pointsOf(curve) {
  const at = new Map();
  curve.tau_s.forEach((tau, k) => {
    const value = curve.value[k];
    if (isNumber(tau) && tau > 0 && isNumber(value) && value > 0) at.set(tau, { value, lower: curve.lower?.[k], upper: curve.upper?.[k], n: curve.n?.[k] });
  });
  return at;
}

function dataOf() {
  const column = (at, key) => taus.map((tau) => (isNumber(at?.get(tau)?.[key]) && at.get(tau)[key] > 0 ? at.get(tau)[key] : null));
  return [taus, column(scaleCurve, "value"), column(scaleCurve, "upper"), column(scaleCurve, "lower"), ...curves.map((each) => column(each.at, "value"))];
}

function limits() {
  const all = [...curves.map((each) => each.at), ...(scaleCurve ? [scaleCurve] : [])].flatMap((at) => [...at.values()]).flatMap((each) => [each.value, each.lower, each.upper]).filter((value) => isNumber(value) && value > 0);
  return { x: decades(taus), y: decades(all) };
}

/** Whole decades around values, at least one. */
function decades(values) {
  const [low, high] = [Math.floor(Math.log10(Math.min(...values)) + 1e-9), Math.ceil(Math.log10(Math.max(...values)) - 1e-9)];
  return [10 ** low, 10 ** Math.max(high, low + 1)];
}

function options() {
  const clock = { stroke: () => colour("--clock"), width: 1, spanGaps: true, points: { show: taus.length < 3 } };
  const edge = { stroke: "transparent", width: 0, spanGaps: true, points: { show: false } };
  const log = (which) => ({ distr: 3, log: 10, range: () => limits()[which] });
  const decade = axis({
    splits: (u, which, from, to) => everyDecade(from, to, (which === 0 ? u.bbox.width / 40 : u.bbox.height / 20) / devicePixelRatio),
    values: (_u, at) => at.map((value) => powerOfTen(Math.round(Math.log10(value)))),
    filter: (_u, at) => at,
  });
  return {
    padding: [8, 14, 0, 0],
    scales: { x: { ...log("x"), time: false }, y: log("y") },
    series: [{}, { stroke: () => colour("--accent"), width: 3, spanGaps: true, points: { show: false } }, edge, edge, ...curves.map(() => ({ ...clock }))],
    bands: [{ series: [UPPER, LOWER], fill: () => faint("--accent", 0.28) }],
    axes: [{ ...decade, size: 34 }, { ...decade, size: 52 }],
    cursor: { points: { size: 6 }, drag: { x: false, y: false, setScale: false }, y: false, focus: { prox: 24 } },
    focus: { alpha: 0.35 },
    hooks: { draw: [bars, names], setSeries: [(_u, index, { focus }) => { nearest = focus === false ? null : index; }] },
  };
}

/** The decades from one to another; every second or third only where there is not room for all. */
function everyDecade(from, to, most) {
  const found = [];
  const [first, last] = [Math.ceil(Math.log10(from) - 1e-9), Math.floor(Math.log10(to) + 1e-9)];
  for (let exponent = first; exponent <= last; exponent += Math.ceil((last - first + 1) / Math.max(most, 2))) found.push(10 ** exponent);
  return found;
}

/** The interval of each point of the clocks as a thin bar. */
function bars(u) {
  const { ctx } = u;
  ctx.save();
  ctx.setLineDash([]);
  ctx.lineWidth = devicePixelRatio;
  for (const { name, at } of curves) {
    if (curves.length > MOST_BARS && name !== pointed) continue;
    ctx.strokeStyle = name === pointed ? colour("--ink") : faint("--clock", 0.55);
    for (const [tau, { lower, upper }] of at) {
      if (!(isNumber(lower) && isNumber(upper) && lower > 0)) continue;
      const x = Math.round(u.valToPos(tau, "x", true)) + 0.5;
      ctx.beginPath();
      ctx.moveTo(x, u.valToPos(lower, "y", true));
      ctx.lineTo(x, u.valToPos(upper, "y", true));
      ctx.stroke();
    }
  }
  ctx.restore();
}

/** Names at the left ends, where curves stand furthest apart; of two that would touch the lighter clock's is left out. */
function names(u) {
  const { ctx } = u;
  const wanted = curves.map(({ name, at }) => ({ name, at: [...at.entries()][0], ink: name === pointed ? "--ink" : "--quiet" }));
  if (scaleCurve?.size) wanted.unshift({ name: who, at: [...scaleCurve.entries()][0], ink: "--accent-ink", bold: true });
  if (pointed) wanted.sort((a, b) => (b.name === pointed) - (a.name === pointed));
  ctx.save();
  ctx.textBaseline = "middle";
  const taken = [];
  for (const { name, at, ink, bold } of wanted) {
    if (!at) continue;
    const [x, y] = [u.valToPos(at[0], "x", true), u.valToPos(at[1].value, "y", true)];
    if (taken.some((other) => Math.abs(other - y) < LABEL_PX * devicePixelRatio)) continue;
    taken.push(y);
    ctx.font = `${bold ? "600 " : ""}${font(11 * devicePixelRatio)}`;
    const words = name.length > 14 ? `${name.slice(0, 13)}…` : name;
    const left = x - u.bbox.left > ctx.measureText(words).width + 8 * devicePixelRatio;
    ctx.textAlign = left ? "right" : "left";
    ctx.fillStyle = colour(ink);
    ctx.strokeStyle = colour("--ground");
    ctx.lineWidth = 3 * devicePixelRatio;
    ctx.strokeText(words, x + (left ? -6 : 6) * devicePixelRatio, left ? y : y - 7 * devicePixelRatio);
    ctx.fillText(words, x + (left ? -6 : 6) * devicePixelRatio, left ? y : y - 7 * devicePixelRatio);
  }
  ctx.restore();
}

function tell(u, index) {
  const tau = u.data[TAU][index];
  const picked = curves.find((each) => each.name === pointed) ?? curves[(nearest ?? 0) - FIRST];
  const said = [];
  if (scaleCurve?.has(tau)) said.push(`${who} ${words(scaleCurve.get(tau))}`);
  if (picked?.at.has(tau)) said.push(`${picked.name} ${words(picked.at.get(tau))}`);
  return `τ = ${span(tau)}: ${said.join("; ") || "no value"}`;
}

const words = ({ value, lower, upper }) => (isNumber(lower) && isNumber(upper) ? `${ratio(value)} (${ratio(lower)} to ${ratio(upper)})` : ratio(value));

const rest = () => `${curves.length} ${curves.length === 1 ? "clock" : "clocks"}; τ from ${span(taus[0])} to ${span(taus.at(-1))}`;

function labelOf() {
  const first = scaleCurve?.size ? [...scaleCurve.entries()] : null;
  const scale = first ? `The scale: ${ratio(first[0][1].value)} at ${span(first[0][0])}, ${ratio(first.at(-1)[1].value)} at ${span(first.at(-1)[0])}. ` : "";
  return `Plot of the Allan deviation against averaging time, ${rest()}. ${scale}The table below holds its figures; arrow keys read it out.`;
}

/** The same figures as a table: averaging times down, the scale and the clocks across. */
function table(target) {
  const element = (name, text, scope) => {
    const made = document.createElement(name);
    made.textContent = text;
    if (scope) made.scope = scope;
    return made;
  };
  const head = document.createElement("tr");
  head.append(element("th", "τ", "col"), ...(scaleCurve ? [element("th", who, "col")] : []), ...curves.map((each) => element("th", each.name, "col")));
  const rows = taus.map((tau) => {
    const row = document.createElement("tr");
    const cell = (at) => element("td", at.has(tau) ? words(at.get(tau)) : "");
    row.append(element("th", span(tau), "row"), ...(scaleCurve ? [cell(scaleCurve)] : []), ...curves.map((each) => cell(each.at)));
    return row;
  });
  target.querySelector("thead").replaceChildren(head);
  target.querySelector("tbody").replaceChildren(...rows);
}
