// The page's clock: from a sample of the laboratory's time and the browser's monotonic clock to what may be shown.
//
// It never reads the browser's wall clock. A sample's round trip is taken from requestStart and responseStart: the
// laboratory's moment lies between them. The bound of the display grows with the sample's age. UTC may get or lose a
// second at the end of a month: no sample is carried across that, the clock waits for a new one.

const RATE_LIMIT = 5e-4; // s/s: a browser's clock may be slewed by the host by this much
const RESOLUTION_S = 2e-4; // browsers round each of the two marks to 0.1 ms
const MAX_AGE_S = 5; // an older sample is not time any more
const DAY_S = 86400;

/** Read "2016-12-31T23:59:60.5Z" as {day, secondOfDay, leap}; null where it is none. */
export function parseUtc(text) {
  const found = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d(?:\.\d+)?)Z$/.exec(text ?? "");
  if (!found) return null;
  const [, year, month, day, hour, minute, second] = found;
  return {
    day: { year: Number(year), month: Number(month), day: Number(day) },
    secondOfDay: Number(hour) * 3600 + Number(minute) * 60 + Number(second),
    leap: Number(second) >= 60,
  };
}

const daysIn = (year, month) => [31, year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1];

function nextDay({ year, month, day }) {
  if (day < daysIn(year, month)) return { year, month, day: day + 1 };
  return month < 12 ? { year, month: month + 1, day: 1 } : { year: year + 1, month: 1, day: 1 };
}

/** Carry a label on by `elapsed` seconds; null where that would cross the end of a month, or of a second 60. */
export function carry(label, elapsed) {
  const secondOfDay = label.secondOfDay + elapsed;
  const lastOfMonth = label.day.day === daysIn(label.day.year, label.day.month);
  if (label.leap) return secondOfDay < DAY_S + 1 ? { ...label, secondOfDay } : null;
  if (secondOfDay < 0) return null;
  // One second may be taken away, so the last one of a month is already unsure.
  if (lastOfMonth && label.secondOfDay < DAY_S - 1 && secondOfDay >= DAY_S - 1) return null;
  if (lastOfMonth && secondOfDay >= DAY_S) return null;
  if (secondOfDay < DAY_S) return { ...label, secondOfDay };
  return { day: nextDay(label.day), secondOfDay: secondOfDay - DAY_S, leap: false };
}

const two = (value) => String(value).padStart(2, "0");

/** A label as {date, time, tenth}, cut off, never rounded up to a second that has not begun. */
export function words({ day, secondOfDay, leap }) {
  const tenths = Math.floor(secondOfDay * 10 + 1e-6);
  const whole = Math.floor(tenths / 10);
  const time = leap ? "23:59:60" : `${two(Math.floor(whole / 3600))}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  return { date: `${day.year}-${two(day.month)}-${two(day.day)}`, time, tenth: String(tenths % 10) };
}

/** Make a sample of a reply of /api/clock and the two marks of its request (ms of performance.now()). */
export function sampleOf(reply, requestMs, responseMs) {
  const label = reply.running ? parseUtc(reply.utc) : null;
  if (!label || !(responseMs >= requestMs)) return null;
  const roundTripS = (responseMs - requestMs) / 1000;
  return {
    label,
    elapsedS: reply.elapsed_s,
    atMs: (requestMs + responseMs) / 2,
    roundTripS,
    halfS: reply.bound_s + roundTripS / 2 + RESOLUTION_S,
    simulated: reply.against !== "utc",
  };
}

/** What may be shown at `nowMs`: {date, time, tenth, boundS, roundTripS}, or null where the clock must stand still. */
export function shownAt(sample, nowMs) {
  if (!sample) return null;
  const ageS = (nowMs - sample.atMs) / 1000;
  if (!(ageS >= 0 && ageS <= MAX_AGE_S)) return null;
  const label = carry(sample.label, sample.elapsedS + ageS);
  if (!label) return null;
  return { ...words(label), boundS: sample.halfS + RATE_LIMIT * ageS, roundTripS: sample.roundTripS };
}

/** Ask once for the time; returns {sample, reply}. Throws where the console does not answer. */
export async function ask() {
  const before = performance.now();
  const url = `/api/clock?at=${before.toFixed(3)}`;
  const response = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(3000) });
  const after = performance.now();
  const reply = await response.json();
  const entry = performance.getEntriesByType("resource").filter((each) => each.name.endsWith(url)).pop();
  performance.clearResourceTimings();
  // Where the browser gives no marks of the request itself, the wider ones around the call are true as well.
  const marked = entry && entry.requestStart >= before && entry.responseStart >= entry.requestStart;
  const [start, end] = marked ? [entry.requestStart, entry.responseStart] : [before, after];
  return { reply, sample: sampleOf(reply, start, end) };
}
