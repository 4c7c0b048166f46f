// The page: one event stream for figures and plots, one question every three seconds for the clock.
//
// Law of the file: a clock that runs without a fresh sample of the laboratory's time is a lie. Whatever fails, the
// clock stands still within 5 s and the page says since when.

import { ask, shownAt, withSample } from "./clock.js";
import * as deviations from "./deviation_plot.js";
import * as utc from "./utc_plot.js";
import * as view from "./view.js";
import * as weights from "./weights_plot.js";
import { bound, seconds } from "./words.js";

const ASK_EVERY_MS = 3000;
const ASK_AGAIN_MS = 1000;
const FIRST_ASKS = 4; // in a row, at the beginning: what several exchanges share is narrower than any of them
const STREAM_PATIENCE_MS = 5000;
const DAY_MS = 86400000;
const MJD_OF_1970 = 40587;

let samples = [];
let reply = null;
let heardMs = null; // performance.now() of the last event of the stream
let lastUtc = null;
let scale = "";

const element = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const mjd = (date) => Math.round(Date.parse(`${date}T00:00:00Z`) / DAY_MS) + MJD_OF_1970;

function put(id, words) {
  const target = element(id);
  if (target.textContent !== words) target.textContent = words;
}

/** The digits after the second that the display can stand for: none of them is smaller than its bound. */
function fraction({ hundredths, boundS }) {
  if (calm.matches || boundS > 0.1) return "";
  return boundS > 0.01 ? `.${hundredths[0]}` : `.${hundredths}`;
}

function draw() {
  const shown = shownAt(samples, performance.now());
  const clock = element("clock");
  const digits = clock.querySelector(".fraction");
  const [time, part] = shown ? [shown.time, fraction(shown)] : ["--:--:--", ""];
  if (clock.firstChild.data !== time) clock.firstChild.data = time;
  if (digits.textContent !== part) digits.textContent = part;
  clock.dataset.running = shown ? "yes" : "no";
  put("date", shown ? `${shown.date}, MJD ${mjd(shown.date)}, ${samples.at(-1).simulated ? "simulated UTC" : "UTC"}` : "no time");
  put("clock-bound", shown ? `± ${bound(shown.boundS)}` : "none");
  put("clock-more", shown ? `from ${shown.of} ${shown.of === 1 ? "exchange" : "exchanges"}, the quickest ${seconds(shown.roundTripS)} there and back; your screen's own delay comes on top` : why());
}

function why() {
  if (reply === null) return heardMs === null ? "Not asked yet." : "The console does not answer.";
  if (reply.why === "unsynchronised") return "The laboratory is not synchronised: there is no time to show.";
  if (reply.why === "silent") return "The laboratory is silent: there is no time to show.";
  return "Waiting for a new sample.";
}

async function sampleForEver() {
  for (let asked = 1; ; asked += 1) {
    let sample = null;
    try {
      ({ sample, reply } = await ask());
      if (reply.running) lastUtc = reply.utc;
      // Not synchronised, or silent, is said by the laboratory: what it said before is over.
      samples = sample ? withSample(samples, sample, performance.now()) : [];
    } catch {
      reply = null; // the last samples go on until they are too old
    }
    const restMs = sample ? (asked < FIRST_ASKS ? 0 : ASK_EVERY_MS) : ASK_AGAIN_MS;
    await new Promise((resolve) => setTimeout(resolve, restMs));
  }
}

function follow() {
  const stream = new EventSource("/events");
  const heard = (event, counter) => {
    heardMs = performance.now();
    document.body.dataset[counter] = String(Number(document.body.dataset[counter]) + 1);
    return JSON.parse(event.data);
  };
  stream.addEventListener("status", (event) => {
    const said = heard(event, "events");
    scale = typeof said.scale === "string" ? said.scale : "";
    view.status(said);
  });
  stream.addEventListener("history", (event) => plots(heard(event, "histories")));
  stream.addEventListener("silent", (event) => {
    samples = [];
    view.silent(heard(event, "events"));
  });
  stream.addEventListener("error", () => {
    // The browser tries again by itself, unless it was refused for good.
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, ASK_EVERY_MS);
  });
}

/** The parts of a figure: its elements by the last word of their names. */
const parts = (name, words) => Object.fromEntries(words.map((word) => [word.replace(/-(\w)/g, (_all, letter) => letter.toUpperCase()), element(`${name}-${word}`)]));
const PARTS = {
  utc: parts("utc", ["figure", "empty", "windows", "unit", "label", "readout"]),
  deviation: parts("deviation", ["figure", "empty", "label", "readout", "no-scale", "left-out", "table"]),
  weights: parts("weights", ["figure", "label", "readout"]),
};

function plots(history) {
  utc.show(history, element("utc-plot"), PARTS.utc);
  deviations.show(history, element("deviation-plot"), PARTS.deviation, scale);
  weights.timeline(history, element("weights-plot"), PARTS.weights);
}

function watch() {
  const quietMs = performance.now() - (heardMs ?? 0);
  if (quietMs > STREAM_PATIENCE_MS) {
    view.silent({ console: true, silent_since_utc: lastUtc });
  }
}

function frames() {
  draw();
  requestAnimationFrame(frames);
}

element("clocks").addEventListener("mouseover", (event) => deviations.point(event.target.closest("tbody tr")?.dataset.name ?? null));
element("clocks").addEventListener("mouseleave", () => deviations.point(null));
setInterval(watch, 1000);
setInterval(draw, 1000); // a page in the background has no frames, and must not run on with an old sample
follow();
sampleForEver();
frames();
