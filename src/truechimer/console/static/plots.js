// What all plots share: colours of the theme, size, the word SIMULATED in the picture itself, keyboard and readout.
// It knows no quantity. uPlot (global, from its own file) draws; text beside a plot is never markup.

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A colour of the theme with an opacity, for bands. */
export function faint(name, alpha) {
  const hex = colour(name);
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${r}, ${g}, ${b}, ${alpha})`;
}

const FONT = () => getComputedStyle(document.body).fontFamily;
export const font = (px) => `${px}px ${FONT()}`;

const drawn = new Set();
let simulated = true;

/** Whether pictures say SIMULATED; all are drawn again. */
export function setSimulated(yes) {
  if (yes === simulated) return;
  simulated = yes;
  redrawAll();
}

/** Draw every plot again: the theme, the paper or the word across it changed. */
export function redrawAll() {
  for (const plot of drawn) plot.redraw(true);
}

function stamp(u) {
  if (!simulated) return;
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.translate(bbox.left + bbox.width / 2, bbox.top + bbox.height / 2);
  ctx.rotate(-Math.min(Math.atan2(bbox.height, bbox.width), 0.5));
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.fillStyle = faint("--simulated-ink", 0.16);
  ctx.font = `700 ${Math.min(bbox.width / 8, bbox.height / 2.4)}px ${FONT()}`;
  ctx.fillText("SIMULATED", 0, 0);
  ctx.restore();
}

/** An axis in the page's type. */
export function axis(more) {
  return {
    stroke: () => colour("--quiet"),
    font: font(12),
    grid: { stroke: () => colour("--line"), width: 1 },
    ticks: { stroke: () => colour("--line"), width: 1, size: 4 },
    ...more,
  };
}

/**
 * Make a plot in `frame` (an element of the page with a figure's height in CSS); it follows the frame's width. `options`
 * are uPlot's; `tell(u, index)` gives the words of the readout at a point, `rest(u)` those without one.
 */
export function makePlot(frame, options, data, { tell, rest, readout }) {
  const say = (u) => {
    const words = u.cursor.idx === null || u.cursor.idx === undefined || u.cursor.left < 0 ? rest(u) : tell(u, u.cursor.idx);
    if (readout.textContent !== words) readout.textContent = words;
  };
  const hooks = options.hooks ?? {};
  const plot = new uPlot(
    {
      ...options,
      width: Math.max(frame.clientWidth, 200),
      height: frame.clientHeight,
      legend: { show: false },
      hooks: {
        ...hooks,
        draw: [...(hooks.draw ?? []), stamp],
        setCursor: [...(hooks.setCursor ?? []), say],
        setData: [...(hooks.setData ?? []), say],
        setSeries: [...(hooks.setSeries ?? []), say],
      },
    },
    data,
    frame,
  );
  drawn.add(plot);
  say(plot);
  new ResizeObserver(() => {
    const [width, height] = [Math.max(frame.clientWidth, 200), frame.clientHeight];
    if (width !== plot.width || height !== plot.height) plot.setSize({ width, height });
  }).observe(frame);
  frame.addEventListener("keydown", (event) => step(plot, event));
  frame.addEventListener("blur", () => plot.setCursor({ left: -10, top: -10 }));
  return plot;
}

/** Arrow keys move along the points that are in sight, Home and End to the ends, Escape leaves. */
function step(plot, event) {
  const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
  if (event.key === "Escape") plot.setCursor({ left: -10, top: -10 });
  if (!(event.key in moves)) return;
  event.preventDefault();
  const [first, last] = plot.series[0].idxs ?? [0, plot.data[0].length - 1];
  const now = plot.cursor.left >= 0 && plot.cursor.idx !== null ? plot.cursor.idx : last + 1;
  const index = Math.min(Math.max(now + moves[event.key], first), last);
  plot.setCursor({ left: plot.valToPos(plot.data[0][index], "x"), top: plot.over.clientHeight / 2 });
}

const media = matchMedia("(prefers-color-scheme: dark)");
media.addEventListener("change", redrawAll);
for (const [event, print] of [["beforeprint", true], ["afterprint", false]]) {
  addEventListener(event, () => {
    document.documentElement.classList.toggle("on-paper", print); // the picture is drawn before the paper's style holds
    redrawAll();
  });
}
