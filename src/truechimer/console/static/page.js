// The page: one event stream for the figures, one question every two seconds for the clock.
//
// Law of the file: a clock that runs without a fresh sample of the laboratory's time is a lie. Whatever fails, the
// clock stands still within 5 s and the page says since when.

import { ask, shownAt } from "./clock.js";
import * as view from "./view.js";
import { bound, seconds } from "./words.js";

const ASK_EVERY_MS = 2000;
const STREAM_PATIENCE_MS = 5000;

let sample = null;
let reply = null;
let heardMs = null; // performance.now() of the last event of the stream
let lastUtc = null;

function draw() {
  const shown = shownAt(sample, performance.now());
  const clock = document.getElementById("clock");
  const fraction = clock.querySelector(".fraction");
  const [time, tenth] = shown ? [shown.time, `.${shown.tenth}`] : ["--:--:--", ".-"];
  if (clock.firstChild.data !== time) clock.firstChild.data = time;
  if (fraction.textContent !== tenth) fraction.textContent = tenth;
  clock.dataset.running = shown ? "yes" : "no";
  put("date", shown ? `${shown.date} ${sample.simulated ? "simulated UTC" : "UTC"}` : "no time");
  put("clock-bound", shown ? `This display ± ${bound(shown.boundS)} (round trip ${seconds(shown.roundTripS)}), and your screen's own delay` : why());
}

function put(id, words) {
  const target = document.getElementById(id);
  if (target.textContent !== words) target.textContent = words;
}

function why() {
  if (reply === null) return heardMs === null ? "not asked yet" : "The console does not answer.";
  if (reply.why === "unsynchronised") return "The laboratory is not synchronised: there is no time to show.";
  if (reply.why === "silent") return "The laboratory is silent: there is no time to show.";
  return "Waiting for a new sample.";
}

async function sampleForEver() {
  for (;;) {
    try {
      const found = await ask();
      ({ sample, reply } = found);
      if (reply.running) lastUtc = reply.utc;
    } catch {
      sample = null;
      reply = null;
    }
    await new Promise((resolve) => setTimeout(resolve, sample ? ASK_EVERY_MS : ASK_EVERY_MS / 2));
  }
}

function follow() {
  const stream = new EventSource("/events");
  stream.addEventListener("status", (event) => {
    heardMs = performance.now();
    view.status(JSON.parse(event.data));
  });
  stream.addEventListener("silent", (event) => {
    heardMs = performance.now();
    sample = null;
    view.silent(JSON.parse(event.data));
  });
  stream.addEventListener("error", () => {
    // The browser tries again by itself, unless it was refused for good.
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, ASK_EVERY_MS);
  });
}

function watch() {
  const quietMs = performance.now() - (heardMs ?? 0);
  if (quietMs > STREAM_PATIENCE_MS) {
    view.silent({ console: true, silent_since_utc: lastUtc });
  }
}

setInterval(draw, 50);
setInterval(watch, 1000);
follow();
sampleForEver();
draw();
