// The page of orders: asks the console every few seconds what waits, what was applied or refused, and who may sign. It
// can change nothing. Text only (textContent): what an order says is never markup.

import { grouped, plain } from "../evidence/verify_form.js";
import { bound, isNumber, seconds, span } from "../words.js";

const ASK_EVERY_MS = 5000;
const TICK_MS = 1000;
const element = (id) => document.getElementById(id);
const listOf = (value) => (Array.isArray(value) ? value.filter((one) => one && typeof one === "object") : []);
const namesOf = (value) => (Array.isArray(value) ? value.map(plain) : []);
const HELD = { software: "IN A FILE, can be copied unseen", fido2: "FIDO2", pkcs11: "PKCS#11" };
let drawn = "";
let countdowns = []; // [element, words before, when it is over (performance.now()), words then]
let isLive = false;

function show(id, words) {
  if (element(id).textContent !== words) element(id).textContent = words;
  element(id).hidden = !words;
}

function made(tag, words = "", className = "") {
  return Object.assign(document.createElement(tag), { textContent: words, className });
}

/** A time to wait as people read it at night: 1 d 02 h, 2 h 05 min, 4 min 09 s. */
export function left(s) {
  const two = (value) => String(value).padStart(2, "0");
  const whole = Math.max(0, Math.floor(s));
  const [d, h, min] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (d) return `${d} d ${two(h)} h`;
  if (whole >= 3600) return `${h} h ${two(min)} min`;
  return whole >= 60 ? `${min} min ${two(whole % 60)} s` : `${whole} s`;
}

/** A countdown: it runs on between answers, and stands still while the laboratory is silent. */
function countdown(left_s, before, then) {
  const found = made("strong", "", "countdown tabular");
  countdowns.push([found, before, performance.now() + 1000 * left_s, then]);
  return found;
}

function tick() {
  for (const [target, before, endMs, then] of countdowns) {
    const restS = (endMs - performance.now()) / 1000;
    const words = !isLive ? "not known: the laboratory is silent" : restS > 0 ? `${before}${left(restS)}` : then;
    if (target.textContent !== words) target.textContent = words;
    target.classList.toggle("soon", !isLive || restS < 3600);
  }
}

/** By how much the time can move by an order. */
export function howMuch({ op, value, valid_from_tai_ns: from, expires_tai_ns: until }) {
  const number = Number(value);
  if (op === "steer-phase" && Number.isFinite(number)) return `the time moves by ${seconds(number, { signed: true })} at once, once`;
  if (op === "steer-rate" && Number.isFinite(number) && /^\d{1,20}$/.test(from) && /^\d{1,20}$/.test(until)) {
    const moved = number * (Number(BigInt(until) - BigInt(from)) / 1e9);
    return `the time moves by up to ${moved < 0 ? "−" : "+"}${bound(Math.abs(moved))} until it ends`;
  }
  return op === "steering-envelope" ? "nothing at once; automatic steering may move the time inside the file's limits" : "nothing at once";
}

/** A card: a heading, what state it is in, and pairs; what is empty is left out. */
function card(heading, state, kind, rows) {
  const out = made("article", "", `order ${kind}`);
  const title = made("h3", heading);
  title.append(" ", made("span", state, "word"));
  const list = made("dl", "", "pairs tabular");
  for (const [name, ...parts] of rows) {
    const said = parts.filter((part) => part !== "" && part !== null && part !== undefined);
    if (!said.length) continue;
    const words = made("dd");
    words.append(...said);
    list.append(made("dt", name), words);
  }
  out.append(title, list);
  return out;
}

const commanded = (words) => made("code", words);
const utc = (text) => (text ? `${plain(text).slice(0, 19).replace("T", " ")} UTC` : "");
const short = (digest) => plain(digest).slice(0, 12);

/** What happens without the order, where it is more than that nothing changes. */
const WITHOUT = {
  veto: "the waiting policy comes into force when its wait is over",
  "key-revoke": "the key keeps its voice",
  "steering-envelope": "when the envelope in force ends, the rate is held and the bound grows",
};

function proposed(one) {
  const signed = namesOf(one.signed_by);
  const missing = namesOf(one.could_still_sign);
  const isVeto = one.op === "veto";
  const lacking = Math.max(0, (isNumber(one.needed) ? one.needed : 0) - signed.length);
  const state = one.enough ? (one.refused ? "signed, would be refused" : "signed, not submitted") : `${lacking} ${lacking === 1 ? "signature" : "signatures"} missing`;
  const file = `policy/orders/${plain(one.file)}`;
  return card(isVeto ? "Veto" : `Order ${plain(one.sequence)}`, state, one.refused && one.enough ? "refused" : "waits", [
    ["What", plain(one.sentence)],
    ["How much", isVeto ? "" : howMuch(one)],
    ["Why", plain(one.because)],
    ["Until", utc(one.expires), isNumber(one.left_s) ? " " : "", isNumber(one.left_s) ? countdown(one.left_s, "in ", "EXPIRED: worth nothing") : ""],
    ["Signed", `${signed.join(", ") || "nobody"}: ${signed.length} of ${plain(one.needed)} persons needed`],
    ["Missing", lacking ? `${lacking} more of: ${missing.join(", ") || "nobody is left"}` : ""],
    ["Not counted", listOf(one.not_counted).map((found) => `${plain(found.says)} (${plain(found.reason)})`).join("; ")],
    ["If submitted", !one.enough ? "" : one.refused ? `refused (${plain(one.refused)}): ${plain(one.says)}` : "it would be taken"],
    ["If nothing is done", `${Object.hasOwn(WITHOUT, one.op) ? WITHOUT[one.op] : "nothing changes"}${isVeto ? "" : "; after its end this order is worth nothing"}`],
    ["To sign", lacking ? commanded(`truechimer order sign ${file} --key YOUR_KEY`) : ""],
    ["To submit", lacking ? "" : commanded(`truechimer order submit ${file}`)],
    ["SHA-256", one.sha256 ? `${short(one.sha256)}… (compare aloud)` : ""],
  ]);
}

function change(one) {
  return card("Change of the policy", `version ${plain(one.version)} waits`, "waits", [
    ["What", plain(one.sentence)],
    ["Why", plain(one.because)],
    ["Signed", namesOf(one.by).join(", ")],
    ["Recorded", utc(one.recorded)],
    ["In force", utc(one.in_force), " ", isNumber(one.left_s) ? countdown(one.left_s, "in ", "the wait is over") : ""],
    ["Who could sign then", listOf(one.policy?.persons).map((person) => plain(person.name)).join(", ")],
    ["If nothing is done", "it comes into force then; until then any one key of the policy in force can veto it"],
    ["To veto", commanded('truechimer order veto --because "WHY"')],
    ["SHA-256", `${short(one.sha256)}… (compare aloud)`],
  ]);
}

const OUTCOMES = { applied: ["in force", "applied"], waits: ["recorded, it waits", "waits"], vetoed: ["vetoed a change", "applied"], refused: ["REFUSED", "refused"] };

function done(one) {
  const [state, kind] = Object.hasOwn(OUTCOMES, one.outcome) ? OUTCOMES[one.outcome] : [plain(one.outcome), "waits"];
  const order = one.order && typeof one.order === "object" ? one.order : {};
  const heading = one.what === "veto" ? "Veto" : order.sequence === undefined ? "What came as an order" : `Order ${plain(order.sequence)}`;
  const record = isNumber(one.record) ? Object.assign(made("a", `entry ${grouped(one.record)}`), { href: `/api/evidence/entry/${one.record}` }) : "";
  return card(heading, state, kind, [
    ["What", plain(order.sentence)],
    ["Why", plain(order.because)],
    ["Signed", namesOf(one.by).join(", ")],
    ["Reason", one.outcome === "refused" ? `${plain(one.says)} (${plain(one.reason)})` : ""],
    ["In the log", record],
  ]);
}

function pairs(id, rows) {
  element(id).replaceChildren(
    ...rows.flatMap(([name, ...parts]) => {
      const words = made("dd");
      words.append(...parts);
      return [made("dt", name), words];
    }),
  );
}

function persons(policy) {
  const rows = listOf(policy?.persons).flatMap((person) => {
    const keys = listOf(person.keys);
    return (keys.length ? keys : [{}]).map((key, n) => {
      const row = made("tr", "", key.revoked ? "out" : "");
      const held = Object.hasOwn(HELD, key.held) ? HELD[key.held] : plain(key.held);
      const name = made("th", n ? "" : plain(person.name));
      name.scope = "row";
      row.append(name, made("td", `${held}${key.verify ? ", asks for PIN or finger" : ""}${key.revoked ? ", REVOKED" : ""}`, "verdict"), made("td", plain(key.kind), "wide"), made("td", plain(key.fingerprint)));
      return row;
    });
  });
  element("persons").querySelector("tbody").replaceChildren(...rows);
}

export function draw(said) {
  countdowns = [];
  const waiting = [...(said.policy_change ? [change(said.policy_change)] : []), ...listOf(said.proposals).map(proposed)];
  element("waiting").replaceChildren(...waiting);
  element("waiting-empty").hidden = waiting.length > 0;
  show("waiting-count", waiting.length ? String(waiting.length) : "");
  const last = listOf(said.last).map(done);
  element("done").replaceChildren(...last);
  element("done-empty").hidden = last.length > 0;
  const envelope = said.envelope;
  show("envelope-refused", said.envelope_refused ? `No envelope is in force: ${plain(said.envelope_refused)}` : "");
  pairs("envelope", !envelope ? [] : [
    ["Signed by", namesOf(envelope.signed_by).join(", ")],
    ["Valid until", utc(envelope.valid_until), " ", isNumber(envelope.left_s) ? countdown(envelope.left_s, "in ", "EXPIRED: the rate is held, the bound grows") : ""],
    ["Each change", `at most ${isNumber(envelope.per_change) ? envelope.per_change.toExponential(2) : "–"} of rate`],
    ["In a day", `at most ${seconds(envelope.per_day_s)}`],
    ["In all", `at most ${seconds(envelope.total_s)}`],
  ]);
  const limits = said.policy?.limits ?? {};
  const of = (moved, limit) => `${seconds(moved)}${isNumber(limit) ? ` of at most ${seconds(limit)}` : ""}`;
  pairs("account", !said.orders ? [] : [
    ["Orders applied", grouped(said.applied ?? "–")],
    ["In any 24 h", of(said.moved_in_a_day_s, limits.day_s)],
    ["In all", of(said.moved_in_all_s, limits.total_s)],
    ...listOf(said.totals).map((one) => [plain(one.what), seconds(one.moved_s, { signed: true })]),
    ...listOf(said.timed).map((one) => [`Order ${plain(one.sequence)} holds`, plain(one.sentence), " ", isNumber(one.left_s) ? countdown(one.left_s, "ends in ", "HAS ENDED") : ""]),
    ...listOf(said.doors).map((one) => [`Door ${plain(one.listener)}`, `answers ${namesOf(one.allow).join(", ")}, up to a bound of ${seconds(one.bound_limit_s)}`]),
    ["Clocks out by order", namesOf(said.clocks_out).join(", ") || "none"],
    ["Not applied by this version", namesOf(said.operations_not_applied).join(", ") || "none"],
  ]);
  const policy = said.policy;
  element("policy-sentence").textContent = policy ? `Version ${plain(policy.version)} of ${plain(policy.laboratory)}: ${plain(policy.sentence)}. Another policy waits ${span(policy.change_delay_s)} before it is in force.` : "";
  element("policy-digest").textContent = plain(policy?.sha256);
  persons(policy);
}

function header(said) {
  isLive = said.answering === true;
  document.body.dataset.laboratory = isLive ? "answering" : "silent";
  element("simulated").hidden = said.against !== "simulated-utc";
  show("silent", isLive ? "" : "Laboratory silent: what waits, and for how long, is not known.");
  show("title", `${plain(said.lab) || "truechimer"}: orders`);
  document.title = `Orders – ${plain(said.lab) || "truechimer"}`;
  const none = said.observing ? plain(said.says) : said.orders ? "" : `No orders are known here: ${plain(said.says)}`;
  if (isLive) show("none", none);
  for (const id of ["waiting-section", "done-section", "standing", "policy-section"]) element(id).hidden = isLive && none !== "";
  if (isLive) element("insecure").hidden = said.policy?.insecure_software_keys !== true;
}

async function ask() {
  try {
    const reply = await fetch("/api/orders", { cache: "no-store" });
    if (!reply.ok) throw new Error(String(reply.status));
    const said = await reply.json();
    header(said);
    // what only grows older draws nothing anew: a reader's selection stays
    const now = JSON.stringify(said, (key, value) => (["left_s", "now", "old_for_s"].includes(key) ? undefined : value));
    if (isLive && now !== drawn) {
      drawn = now;
      draw(said);
    }
    document.body.dataset.told = String(Number(document.body.dataset.told) + 1);
  } catch {
    isLive = false;
    document.body.dataset.laboratory = "silent";
    show("silent", "The console does not answer: what stands below is old.");
  }
  tick();
}

ask();
setInterval(ask, ASK_EVERY_MS);
setInterval(tick, TICK_MS);
addEventListener("focus", ask);
