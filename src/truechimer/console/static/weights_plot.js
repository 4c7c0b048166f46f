// Weights: who makes the scale now (one stacked bar) and who made it before (the same, over time).
//
// Two tints in turn tell neighbours apart; no tint means anything. Names are text.

import { axis, colour, faint, makePlot } from "./plots.js";
import { isNumber, span, stepFor, weight } from "./words.js";

const NAMED = 0.05; // narrower parts have their name in the tip and the table only
let plot = null;
let told = null;

/** Draw the stacked bar from the rows of the status: the heaviest clock first. */
export function bar(rows, parts) {
  const members = rows.filter((each) => each.weight > 0).sort((a, b) => b.weight - a.weight);
  const total = members.reduce((sum, each) => sum + each.weight, 0);
  parts.section.hidden = members.length < 2;
  parts.bar.setAttribute("aria-label", `Weights: ${members.map((each) => `${each.name} ${weight(each.weight)}`).join(", ") || "none"}`);
  const shown = [...parts.bar.children];
  members.forEach((each, k) => {
    const part = shown[k] ?? parts.bar.appendChild(document.createElement("span"));
    part.style.flexGrow = String(each.weight / total);
    part.classList.toggle("even", k % 2 === 0);
    part.title = `${each.name} ${weight(each.weight)}`;
    const words = each.weight / total >= NAMED ? String(each.name) : "";
    if (part.textContent !== words) part.textContent = words;
  });
  shown.slice(members.length).forEach((each) => each.remove());
}

/** Draw a history's `weights` over time. */
export function timeline(history, frame, parts) {
  const weights = history?.weights;
  const usable = weights && Array.isArray(weights.age_s) && weights.age_s.length > 2 && weights.clocks?.length > 1;
  parts.figure.hidden = !usable;
  if (!usable) return;
  const order = weights.clocks.map((name, k) => ({ name: String(name), of: weights.weight[k], now: weights.weight[k].at(-1) }));
  order.sort((a, b) => b.now - a.now || (a.name < b.name ? -1 : 1));
  const sums = [];
  for (const each of order) sums.push(each.of.map((value, k) => (isNumber(value) ? value : 0) + (sums.at(-1)?.[k] ?? 0)));
  const names = order.map((each) => each.name).join("\n");
  const data = [weights.age_s.map((age) => -age), ...sums];
  const same = told !== null && told.names === names;
  told = { order, names, spanS: weights.age_s[0] };
  parts.label.textContent = `Plot of the weights of ${order.length} clocks over the last ${span(told.spanS)}. Arrow keys read it out.`;
  if (plot && same) {
    plot.setData(data);
    return;
  }
  if (plot) plot.destroy();
  frame.replaceChildren();
  plot = makePlot(frame, options(order), data, { tell, rest, readout: parts.readout });
}

function options(order) {
  const edge = { stroke: () => colour("--panel"), width: 1, points: { show: false } };
  const tint = (k) => () => faint("--accent", k % 2 === 0 ? 0.75 : 0.5);
  return {
    padding: [8, 16, 0, 0],
    scales: { x: { time: false }, y: { range: () => [0, 1] } },
    series: [{}, { ...edge, fill: tint(0) }, ...order.slice(1).map(() => edge)],
    bands: order.slice(1).map((_each, k) => ({ series: [k + 2, k + 1], fill: tint(k + 1) })),
    axes: [
      axis({ size: 30, splits: (_u, _axis, from, to) => ages(from, to), values: (_u, at) => at.map((value) => (value >= 0 ? "now" : `−${span(-value)}`)) }),
      axis({ size: 40, splits: () => [0, 0.5, 1], values: (_u, at) => at.map(String) }),
    ],
    cursor: { points: { show: false }, drag: { x: false, y: false, setScale: false }, y: false },
  };
}

/** Round ages up to the oldest, newest last. */
function ages(from, to) {
  const step = stepFor(to - from, 5);
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_each, k) => -k * step).reverse();
}

function tell(u, index) {
  const heaviest = told.order
    .map((each) => ({ name: each.name, value: each.of[index] }))
    .filter((each) => each.value > 0)
    .sort((a, b) => b.value - a.value);
  const said = heaviest.slice(0, 5).map((each) => `${each.name} ${weight(each.value)}`);
  const more = heaviest.length > 5 ? `, ${heaviest.length - 5} more` : "";
  return `${span(-u.data[0][index])} ago: ${said.join(", ") || "no clock carried weight"}${more}`;
}

const rest = () => `the last ${span(told.spanS)}; heaviest clock lowest`;
