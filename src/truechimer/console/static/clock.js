// The page's clock: from a sample of the laboratory's time and the browser's monotonic clock to what may be shown.
//
// It never reads the browser's wall clock. A sample's round trip is taken from requestStart and responseStart: the
// laboratory's moment lies between them. The bound of the display grows with the sample's age. Of several samples each
// says an interval; the time is in all of them, so it is in what they share. UTC may get or lose a second at the end of
// a month: no sample is carried across that, the clock waits for a new one.

const RATE_LIMIT = 5e-4; // s/s: a browser's clock may be slewed by the host by this much
const RESOLUTION_S = 2e-4; // browsers round each of the two marks to 0.1 ms
const MAX_AGE_S = 5; // without a sample this young there is no time any more
const SUPPORT_AGE_S = 30; // an older sample's interval is too wide to help
const MOST_SAMPLES = 16;
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

/** A label as {date, time, hundredths}, cut off, never rounded up to a second that has not begun. */
export function words({ day, secondOfDay, leap }) {
  const all = Math.floor(secondOfDay * 100 + 1e-5);
  const whole = Math.floor(all / 100);
  const time = leap ? "23:59:60" : `${two(Math.floor(whole / 3600))}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  return { date: `${day.year}-${two(day.month)}-${two(day.day)}`, time, hundredths: two(all % 100) };
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

/** Add the newest sample (null: the last question failed) to those that may still help. */
export function withSample(samples, sample, nowMs) {
  const young = samples.filter((each) => nowMs - each.atMs <= SUPPORT_AGE_S * 1000 && each.simulated === sample?.simulated);
  return sample ? [...young.slice(1 - MOST_SAMPLES), sample] : samples;
}

/**
 * What may be shown at `nowMs`: {date, time, hundredths, boundS, roundTripS, of}, or null where the clock must stand
 * still. `of` samples share the interval whose middle is shown and whose half width is the bound.
 */
export function shownAt(samples, nowMs) {
  const newest = samples.at(-1);
  if (!newest) return null;
  const ageS = (nowMs - newest.atMs) / 1000;
  if (!(ageS >= 0 && ageS <= MAX_AGE_S)) return null;
  let [low, high, of, roundTripS] = [-Infinity, Infinity, 0, newest.roundTripS];
  // From the newest on: one that contradicts it is no help, whoever of the two is wrong (a host that was slewed, a laboratory
  // that was started anew); the newest stays.
  for (const each of samples.slice().reverse()) {
    if (each !== newest && (each.label.leap || newest.label.leap || !sameDay(each.label.day, newest.label.day))) continue;
    const eachAgeS = (nowMs - each.atMs) / 1000;
    const half = each.halfS + RATE_LIMIT * eachAgeS;
    const middle = each.label.secondOfDay + each.elapsedS + eachAgeS;
    if (middle - half > high || middle + half < low) break;
    if (2 * half < high - low) roundTripS = each.roundTripS;
    [low, high, of] = [Math.max(low, middle - half), Math.min(high, middle + half), of + 1];
  }
  const label = carry(newest.label, (low + high) / 2 - newest.label.secondOfDay);
  if (!label) return null;
  return { ...words(label), boundS: (high - low) / 2, roundTripS, of };
}

const sameDay = (a, b) => a.day === b.day && a.month === b.month && a.year === b.year;

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
