// From a status document to the page's elements. Text only (textContent): what a laboratory says is never markup.

import { age, bound, isNumber, rate, seconds, text, weight } from "./words.js";

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

function cell(words, className = "") {
  const td = document.createElement("td");
  td.textContent = words;
  if (className) td.className = className;
  return td;
}

function row(cells, className = "") {
  const tr = document.createElement("tr");
  if (className) tr.className = className;
  tr.append(...cells);
  return tr;
}

const body = (id) => element(id).querySelector("tbody");

export function status(document_) {
  document.body.dataset.laboratory = "answering";
  element("simulated").hidden = document_.against === "utc";
  show("silent", "");
  put("title", text(document_.lab) || "truechimer");
  put("scale", `scale ${text(document_.scale)}${simulated() ? ", simulated" : ""}`);
  document.title = `${document_.synchronised ? "" : "(unsynchronised) "}${text(document_.lab)} ${simulated() ? "SIMULATED " : ""}– truechimer`;
  state(document_);
  bounds(document_);
  clocks(rowsOf(document_.clocks));
  sources(rowsOf(document_.sources));
  alerts(rowsOf(document_.alerts));
  steering(document_);
  service(document_);
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
  body("terms").replaceChildren(
    ...terms.map(([name, value]) => {
      const sigma = name.startsWith("u_");
      const words = TERMS[name] ?? name.replace(/^(u|limit)_/, "").replace(/_s$/, "").replaceAll("_", " ");
      return row([cell(words), cell(`${sigma ? `${SIGMAS} × ` : ""}${sigma ? seconds(value) : bound(value)}`, "number")]);
    }),
  );
}

function clocks(rows) {
  const members = rows.filter((each) => each.weight > 0);
  const largest = Math.max(...members.map((each) => each.weight), 1e-9);
  put("clock-count", rows.length ? `${members.length} of ${rows.filter((each) => each.state !== "observer").length} carry the scale` : "");
  body("clocks").replaceChildren(
    ...rows.map((each) => {
      const bar = document.createElement("div");
      bar.style.width = `${((each.weight > 0 ? each.weight : 0) / largest) * 100}%`;
      const barCell = cell("", "bar wide");
      if (each.weight > 0) barCell.append(bar);
      const words = [text(each.state), text(each.reason)].filter(Boolean);
      const calm = each.state === "observer" ? "" : each.state === "in" ? "" : each.state === "learning" || each.state === "absent" ? "wait" : "out";
      return row(
        [
          cell(text(each.name)),
          cell(text(each.kind), "wide"),
          cell(weight(each.weight), "number"),
          barCell,
          cell(seconds(each.x_clock_minus_scale_s, { signed: true }), "number"),
          cell(rate(each.rate), "number wide"),
          cell(words[1] ? words[1] : words[0] ?? "", "verdict"),
        ],
        calm,
      );
    }),
  );
}

function sources(rows) {
  const selected = rows.filter((each) => each.verdict === "selected");
  put("source-count", rows.length ? `${selected.length} of ${rows.length} selected` : "none: the scale is not compared with UTC");
  const calm = { selected: "", outvoted: "out", quarantined: "out", stale: "wait", never: "wait" };
  body("sources").replaceChildren(
    ...rows.map((each) => {
      const margin = isNumber(each.u_s) && isNumber(each.limit_s) ? SIGMAS * each.u_s + each.limit_s : undefined;
      return row(
        [
          cell(text(each.name)),
          cell(text(each.operator), "wide"),
          cell(age(each.age_s), "number wide"),
          cell(seconds(each.offset_s, { signed: true }), "number"),
          cell(bound(margin), "number"),
          cell(`${text(each.mark) || "?"} ${text(each.verdict)}`, "verdict"),
        ],
        calm[each.verdict] ?? "wait",
      );
    }),
  );
}

function alerts(rows) {
  const rank = (each) => (SEVERITIES.indexOf(each.severity) + SEVERITIES.length + 1) % (SEVERITIES.length + 1);
  const ordered = rows.slice().reverse().sort((a, b) => rank(a) - rank(b));
  put("alert-count", rows.length > ALERTS_SHOWN ? `${ALERTS_SHOWN} of ${rows.length}` : rows.length ? String(rows.length) : "none");
  element("alerts").replaceChildren(
    ...ordered.slice(0, ALERTS_SHOWN).map((each) => {
      const item = document.createElement("li");
      item.className = SEVERITIES.includes(each.severity) ? each.severity : "notice";
      const severity = document.createElement("span");
      severity.className = "severity";
      severity.textContent = `${text(each.severity)} `;
      const says = document.createElement("span");
      const subject = text(each.says).startsWith(text(each.subject)) ? "" : `${text(each.subject)}: `;
      says.textContent = `${subject}${text(each.says)} `;
      const next = document.createElement("span");
      next.className = "quiet";
      next.textContent = text(each.do_next);
      item.append(severity, says, next);
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

function steering(said) {
  const now = said.steering ?? {};
  const leap = said.leap ?? {};
  const limits = isNumber(now.per_change) && isNumber(now.per_day_s) ? `${now.per_change.toExponential(1)} a change, ${bound(now.per_day_s)} a day` : "";
  list("steering", [
    ["Steer", isNumber(now.y_steer) ? rate(now.y_steer) : ""],
    ["UTC(k) − scale", isNumber(now.x_utck_minus_scale_s) ? seconds(now.x_utck_minus_scale_s, { signed: true }) : ""],
    ["Envelope until", text(now.envelope_valid_until).slice(0, 10)],
    ["Its limits", limits],
    ["No envelope", text(now.envelope_refused)],
    ["Authority", text(said.policy_sentence)],
    ["TAI − UTC", isNumber(leap.tai_minus_utc_s) ? `${leap.tai_minus_utc_s} s` : ""],
    ["Leap table", leap.expires ? `expires ${text(leap.expires).slice(0, 10)}` : ""],
  ]);
}

function service(said) {
  const doors = rowsOf(said.listeners).map((each) => {
    const requests = isNumber(each.counters?.received) ? `, ${each.counters.received} requests` : "";
    const limit = isNumber(each.bound_limit_s) && each.protocol !== "console" ? `, up to ± ${seconds(each.bound_limit_s)}` : "";
    if (each.protocol === "chrony-sock") return [`Door ${text(each.protocol)}`, `${text(each.path)}, ${text(each.sock?.now)}`];
    return [`Door ${text(each.protocol)}`, `${text(each.address)} port ${text(each.port)}${limit}${requests}`];
  });
  list("service", [
    ...doors,
    ["Records", isNumber(said.records) ? `${said.records} in ${text(said.epochs)} epochs` : ""],
    ["Readings rejected", said.rejected_readings ? text(said.rejected_readings) : ""],
    ["Process", said.pid ? `${said.pid}, up ${age(said.uptime_s)}` : ""],
    ["Program", said.version ? `truechimer ${text(said.version)}` : ""],
  ]);
}
