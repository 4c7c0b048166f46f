// From a status document to the page's elements. Text only (textContent): what a laboratory says is never markup.

import { setSimulated } from "./plots.js";
import { age, bound, isNumber, rate, seconds, span, text, weight } from "./words.js";
import { bar } from "./weights_plot.js";

const element = (id) => document.getElementById(id);
const rowsOf = (value) => (Array.isArray(value) ? value.filter((row) => row && typeof row === "object") : []);
const SIGMAS = 6;
const SEVERITIES = ["critical", "warning", "notice"];
const ALERTS_SHOWN = 30;
const TERMS = {
  u_utc_prediction_s: "prediction of UTC",
  u_scale_since_outside_s: "scale since the last outside value",
  u_host_link_s: "link to this host",
  limit_links_s: "links to UTC, systematic",
  limit_steering_s: "distance still to be steered",
  limit_undetected_s: "fault too small to be detected",
  limit_host_rate_s: "host rate over age",
  limit_stamps_s: "stamps",
  limit_leap_s: "leap second in doubt",
  growth_since_epoch_s: "growth since the last epoch",
};

function put(id, words) {
  const target = element(id);
  if (target.textContent !== words) target.textContent = words;
}

function show(id, words) {
  put(id, words);
  element(id).hidden = !words;
}

/** A cell to be: its words, its class, and whether it heads its row. */
const cell = (words, className = "", head = false) => ({ words, className, head });
const row = (cells, className = "", name = "") => ({ cells, className, name });

/** Make a table's rows what they shall be, touching only what differs: a selection or a reader's place stays. */
function fill(id, rows) {
  const target = element(id).querySelector("tbody");
  while (target.rows.length > rows.length) target.lastElementChild.remove();
  rows.forEach((wanted, k) => {
    const tr = target.rows[k] ?? target.insertRow();
    if (tr.className !== wanted.className) tr.className = wanted.className;
    tr.dataset.name = wanted.name;
    wanted.cells.forEach(({ words, className, head }, at) => {
      let found = tr.cells[at];
      if (!found) {
        found = tr.appendChild(document.createElement(head ? "th" : "td"));
        if (head) found.scope = "row";
      }
      if (found.textContent !== words) found.textContent = words;
      if (found.className !== className) found.className = className;
    });
  });
}

export function status(document_) {
  document.body.dataset.laboratory = "answering";
  element("simulated").hidden = document_.against === "utc";
  element("observing").hidden = document_.observing !== true;
  element("insecure").hidden = document_.policy?.insecure_software_keys !== true;
  setSimulated(simulated());
  show("silent", "");
  put("title", text(document_.lab) || "truechimer");
  put("scale", `scale ${text(document_.scale)}${simulated() ? ", simulated" : ""}`);
  put("utc-name", text(document_.scale) || "UTC(k)");
  document.title = `${document_.synchronised ? "" : "(unsynchronised) "}${text(document_.lab)} ${simulated() ? "SIMULATED " : ""}– truechimer`;
  state(document_);
  holding(document_);
  store(document_.store);
  evidence(document_);
  bounds(document_);
  clocks(rowsOf(document_.clocks));
  sources(rowsOf(document_.sources));
  doors(rowsOf(document_.listeners));
  alerts(rowsOf(document_.alerts), rowsOf(document_.firing?.conditions));
  steering(document_);
  service(document_);
}

/** What the records are worth to somebody outside: said while nobody outside vouches for them. */
function evidence({ unwitnessed_since: since, evidence: log }) {
  const state = text(log?.state);
  const wrong = ["contradicted", "unpublished"].includes(state);
  put("unwitnessed-words", wrong ? text(log.says) : since ? `Evidence: unwitnessed since ${text(since)}` : "");
  element("unwitnessed").className = wrong ? "missing" : "quiet";
  element("unwitnessed").hidden = !wrong && !since;
}

/** The laboratory is silent: say since when; what was last known stays, greyed, and nothing runs. */
export function silent(said) {
  document.body.dataset.laboratory = "silent";
  if (said.against) element("simulated").hidden = said.against === "utc";
  const last = text(said.silent_since_utc).slice(0, 19).replace("T", " ");
  const since = last ? `since ${last}${simulated() ? " simulated UTC" : " UTC"}, the last time it told` : "since this page began to ask";
  const ago = isNumber(said.silent_for_s) ? ` (${age(said.silent_for_s)} ago)` : "";
  const who = said.console ? "Console" : "Laboratory";
  show("silent", `${who} silent ${since}${ago}. What stands below is old; the NTP doors judge for themselves.`);
  document.title = "(silent) – truechimer";
  const word = element("state");
  word.textContent = "silent";
  word.dataset.state = "alarm";
  put("sentence", "No figure on this page is current.");
  show("missing", "");
}

const simulated = () => !element("simulated").hidden;

function state(said) {
  const word = element("state");
  word.textContent = text(said.state) || "unknown";
  word.dataset.state = text(said.state) || "unknown";
  const sentence = text(said.state_sentence) || (said.synchronised ? "Synchronised." : "Unsynchronised.");
  put("sentence", sentence.charAt(0).toUpperCase() + sentence.slice(1) + (sentence.endsWith(".") ? "" : "."));
  const missing = Array.isArray(said.missing) ? said.missing.map(text) : [];
  const why = said.synchronised ? "" : `Unsynchronised${said.why ? ` (${text(said.why)})` : ""}.`;
  show("missing", [why, missing.length ? `Missing: ${missing.join("; ")}.` : ""].filter(Boolean).join(" "));
}

/** How long a holdover may last, for each limit that was told. */
function holding(said) {
  const left = said.holdover_remaining_s;
  const limits = isNumber(left) ? [["", left]] : left && typeof left === "object" ? Object.entries(left).filter(([, value]) => isNumber(value)) : [];
  const words = limits.map(([limit, value]) => `${value > 0 ? `${span(Math.floor(value))} more` : "no longer"}${limit ? ` within ${text(limit)}` : ""}`);
  show("holding", said.state === "holdover" && words.length ? `Holdover: ${words.join(", ")}.` : "");
}

/** Say where records are not written. */
function store(said) {
  const bad = said && typeof said === "object" && said.state && said.state !== "written";
  const since = bad && said.since ? ` since ${text(said.since).slice(0, 19).replace("T", " ")}` : "";
  const waiting = bad && isNumber(said.waiting) ? ` ${said.waiting} wait.` : "";
  show("store", bad ? `Records are not written${since}${said.says ? ` (${text(said.says)})` : ""}.${waiting}` : "");
}

function bounds(said) {
  put("bound", isNumber(said.bound_s) && said.synchronised ? `± ${bound(said.bound_s)}` : "none: not synchronised");
  const more = [];
  if (isNumber(said.scale_bound_s)) more.push(`scale alone ± ${bound(said.scale_bound_s)}`);
  if (isNumber(said.u_s)) more.push(`one sigma ${seconds(said.u_s)}`);
  if (isNumber(said.coverage) && said.coverage > 0) more.push(`coverage at least ${Math.floor(said.coverage * 1e6) / 1e6}`);
  put("bound-more", more.join(", "));
  const terms = Object.entries(said.terms ?? {}).filter(([, value]) => isNumber(value) && value > 0);
  const sum = (prefix, part) => terms.filter(([name]) => name.startsWith(prefix)).reduce((total, [, value]) => total + part(value), 0);
  const made = SIGMAS * Math.sqrt(sum("u_", (value) => value * value)) + sum("limit_", (value) => value);
  // The terms are those of the last epoch; since then the bound has grown with its age.
  if (terms.length && isNumber(said.bound_s) && said.bound_s > made * (1 + 1e-9)) terms.push(["growth_since_epoch_s", said.bound_s - made]);
  element("terms-sum").hidden = terms.length === 0;
  fill(
    "terms",
    terms.map(([name, value]) => {
      const sigma = name.startsWith("u_");
      const words = TERMS[name] ?? name.replace(/^(u|limit)_/, "").replace(/_s$/, "").replaceAll("_", " ");
      return row([cell(words, "", true), cell(`${sigma ? `${SIGMAS} × ` : ""}${sigma ? seconds(value) : bound(value)}`, "number")]);
    }),
  );
}

function clocks(rows) {
  const members = rows.filter((each) => each.weight > 0);
  put("clock-count", rows.length ? `${members.length} of ${rows.filter((each) => each.state !== "observer").length} carry the scale` : "none");
  bar(rows, { section: element("weights"), bar: element("weights-bar") });
  const calm = { observer: "", in: "", learning: "wait", absent: "wait", suspect: "wait" };
  element("clocks").hidden = rows.length === 0;
  fill(
    "clocks",
    rows.map((each) =>
      row(
        [
          cell(text(each.name), "", true),
          cell(text(each.kind), "wide"),
          cell(weight(each.weight), "number"),
          cell(seconds(each.x_clock_minus_scale_s, { signed: true }), "number"),
          cell(rate(each.rate), "number wide"),
          cell(text(each.reason) || text(each.state), "verdict"),
        ],
        calm[each.state] ?? "out",
        text(each.name),
      ),
    ),
  );
}

function sources(rows) {
  const selected = rows.filter((each) => each.verdict === "selected");
  put("source-count", rows.length ? `${selected.length} of ${rows.length} selected` : "none: the scale is not compared with UTC");
  element("sources-shown").hidden = rows.length === 0;
  const calm = { selected: "", outvoted: "out", quarantined: "out", refused: "out", stale: "wait", never: "wait" };
  fill(
    "sources",
    rows.map((each) => {
      const margin = isNumber(each.u_s) && isNumber(each.limit_s) ? SIGMAS * each.u_s + each.limit_s : undefined;
      return row(
        [
          cell(text(each.mark).slice(0, 1) || "?", "mark"),
          cell(text(each.name), "", true),
          cell(text(each.operator), "wide"),
          cell(age(each.age_s), "number wide"),
          cell(seconds(each.offset_s, { signed: true }), "number"),
          cell(bound(margin), "number"),
          cell([text(each.verdict), text(each.says)].filter(Boolean).join(": "), "verdict"),
        ],
        calm[each.verdict] ?? "wait",
        text(each.name),
      );
    }),
  );
}

function alerts(rows, conditions) {
  const rank = (each) => (SEVERITIES.indexOf(each.severity) + SEVERITIES.length + 1) % (SEVERITIES.length + 1);
  const isHeld = (each) => conditions.some((one) => one.alert === each.alert && Array.isArray(one.subjects) && one.subjects.includes(each.subject));
  const seen = new Set();
  const ordered = rows.slice().reverse().map((each) => {
    // Of several alerts of one kind for one subject the latest says what holds.
    const key = JSON.stringify([each.alert, each.subject]);
    const holds = !seen.has(key) && isHeld(each);
    seen.add(key);
    return { ...each, holds };
  });
  ordered.sort((a, b) => b.holds - a.holds || rank(a) - rank(b));
  const now = ordered.filter((each) => each.holds).length;
  const count = rows.length > ALERTS_SHOWN ? `${ALERTS_SHOWN} of ${rows.length}` : String(rows.length);
  put("alert-count", rows.length ? `${count}${now ? `, ${now} of them hold now` : ""}` : "none");
  element("holding-now").hidden = now === 0;
  put("holding-now-words", now ? `${now === 1 ? "One alert holds" : `${now} alerts hold`} now` : "");
  const wanted = ordered.slice(0, ALERTS_SHOWN);
  const target = element("alerts");
  const told = JSON.stringify(wanted);
  if (target.dataset.told === told) return; // a reader's place in the list stays
  target.dataset.told = told;
  target.replaceChildren(
    ...wanted.map((each) => {
      const item = document.createElement("li");
      item.className = SEVERITIES.includes(each.severity) ? each.severity : "notice";
      const subject = text(each.says).startsWith(text(each.subject)) ? "" : `${text(each.subject)}: `;
      const part = (name, words) => {
        const made = document.createElement("span");
        made.className = name;
        made.textContent = words;
        return made;
      };
      item.append(part("severity", `${text(each.severity)}${each.holds ? ", holds now" : ""} `), part("says", `${subject}${text(each.says)} `));
      if (each.do_next) item.append(part("next", `Do next: ${text(each.do_next)}`));
      return item;
    }),
  );
}

function list(id, pairs) {
  element(id).replaceChildren(
    ...pairs
      .filter(([, words]) => words)
      .flatMap(([label, words]) => {
        const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
        dt.textContent = label;
        dd.textContent = words;
        return [dt, dd];
      }),
  );
}

function foreseen(said) {
  return rowsOf(said.holdover?.prediction)
    .filter((row) => isNumber(row.u_s) && isNumber(row.horizon_s))
    .map((row) => `${bound(row.u_s)} after ${span(Math.floor(row.horizon_s))}`)
    .join(", ");
}

/** What was published of UTC − UTC(k), days late, and what is made of it. */
function published(said) {
  if (!said) return [];
  const rows = rowsOf(said.paths).map((each) => {
    const next = each.overdue ? "OVERDUE" : `next ${text(each.expected).slice(0, 10)}`;
    return [`${text(each.path)} − UTC(k)`, `${seconds(each.x_utc_minus_utck_s, { signed: true })} on MJD ${text(each.mjd)}, ${next}`];
  });
  const ahead = said.forecast ?? {};
  const held = rowsOf(said.held).map((each) => text(each.says)).join("; ");
  return [
    ...rows,
    ["UTC − UTC(k) now", isNumber(ahead.x_utc_minus_utck_s) ? `${seconds(ahead.x_utc_minus_utck_s, { signed: true })}, one sigma ${bound(ahead.u_s)}` : ""],
    ["Held back", held],
    ["Refused", rowsOf(said.refused).map((each) => `${text(each.path)}: ${seconds(each.off_s, { signed: true })} off`).join("; ")],
  ];
}

function steering(said) {
  const now = said.steering ?? {};
  const leap = said.leap ?? {};
  const limits = isNumber(now.per_change) && isNumber(now.per_day_s) ? `${now.per_change.toExponential(1)} a change, ${bound(now.per_day_s)} a day` : "";
  list("steering", [
    ["Steer", isNumber(now.y_steer) ? rate(now.y_steer) : ""],
    ["UTC(k) − scale", isNumber(now.x_utck_minus_scale_s) ? seconds(now.x_utck_minus_scale_s, { signed: true }) : ""],
    ...published(said.published),
    ["Envelope until", text(now.envelope_valid_until).slice(0, 10)],
    ["Its limits", limits],
    ["No envelope", text(now.envelope_refused)],
    [`Bound would hold without ${text(said.holdover_without) || "sources"}`, isNumber(said.holdover_remaining_s) && said.state !== "holdover" ? span(Math.floor(said.holdover_remaining_s)) : ""],
    ["One sigma in holdover", foreseen(said)],
    ["Authority", text(said.policy_sentence)],
    ["TAI − UTC", isNumber(leap.tai_minus_utc_s) ? `${leap.tai_minus_utc_s} s` : ""],
    ["Leap table", leap.expires ? `expires ${text(leap.expires).slice(0, 10)}` : ""],
  ]);
}

/** What each NTP door's own client finds: by how much its answers are off the page that it serves. */
function doors(rows) {
  const ntp = rows.filter((each) => each.protocol === "ntp");
  const off = ntp.filter((each) => each.self_probe?.is_off).length;
  put("door-count", off ? `${off} of ${ntp.length} OFF` : String(ntp.length));
  element("doors-section").hidden = ntp.length === 0;
  fill(
    "doors",
    ntp.map((each) => {
      const probe = each.self_probe ?? {};
      const timed = isNumber(probe.error_s);
      const silent = probe.asks && !timed ? `${text(probe.unanswered)} of ${text(probe.questions)} questions unanswered` : "no answer with time yet";
      const words = probe.asks === false ? `not asked: ${text(probe.because)}` : !timed ? (probe.asks ? silent : "not asked yet") : probe.is_off ? "OFF the page it serves" : "as the page";
      const place = text(each.address).includes(":") ? `[${text(each.address)}]:${text(each.port)}` : `${text(each.address)}:${text(each.port)}`;
      return row(
        [
          cell(place, "", true),
          cell(text(each.counters?.received), "number wide"),
          cell(timed ? seconds(probe.error_s, { signed: true }) : "", "number"),
          cell(timed ? bound(probe.explained_s) : "", "number"),
          cell(words, "verdict"),
        ],
        probe.is_off ? "out" : timed ? "" : "wait",
        place,
      );
    }),
  );
}

function service(said) {
  const places = rowsOf(said.listeners).map((each) => {
    const requests = isNumber(each.counters?.received) ? `, ${each.counters.received} requests` : "";
    const limit = isNumber(each.bound_limit_s) && each.protocol !== "console" ? `, up to ± ${seconds(each.bound_limit_s)}` : "";
    if (each.protocol === "chrony-sock") return [`Door ${text(each.protocol)}`, `${text(each.path)}, ${text(each.sock?.now)}`];
    return [`Door ${text(each.protocol)}`, `${text(each.address)} port ${text(each.port)}${limit}${requests}`];
  });
  list("service", [
    ...places,
    ["This machine's clock", hostClock(said.host_clock)],
    ["Records", isNumber(said.records) ? `${said.records} in ${text(said.epochs)} epochs` : ""],
    ["Readings rejected", said.rejected_readings ? text(said.rejected_readings) : ""],
    ["Process", said.pid ? `${said.pid}, up ${age(said.uptime_s)}` : ""],
    ["Program", said.version ? `truechimer ${text(said.version)}` : ""],
  ]);
}

/** This machine's own clock against the time that the laboratory states. */
function hostClock(said) {
  if (!said || !isNumber(said.x_host_clock_minus_utc_s)) return "";
  return `${seconds(said.x_host_clock_minus_utc_s, { signed: true })} ± ${bound(said.bound_s)} from UTC${said.is_off ? ", beyond its limit" : ""}`;
}
