// The page of evidence: asks the console every few seconds what its log says, and judges it in a thread of this browser
// when it is told to. Text only (textContent): what a log says is never markup.

import { age, isNumber } from "../words.js";
import { begin, grouped, plain, stamp } from "./verify_form.js";

const ASK_EVERY_MS = 5000;
const element = (id) => document.getElementById(id);
const listOf = (value) => (Array.isArray(value) ? value.filter((one) => one && typeof one === "object") : []);
let told = null;
let offered = "";

function show(id, words) {
  if (element(id).textContent !== words) element(id).textContent = words;
  element(id).hidden = !words;
}

/** Put rows of cells into a table; a cell is text, or nodes. */
function fill(id, rows) {
  element(id).querySelector("tbody").replaceChildren(
    ...rows.map((cells) => {
      const row = document.createElement("tr");
      cells.forEach(({ words, className = "", nodes = [] }, at) => {
        const cell = row.appendChild(document.createElement(at === 0 ? "th" : "td"));
        if (at === 0) cell.scope = "row";
        cell.className = className;
        if (nodes.length) cell.append(...nodes);
        else cell.textContent = words;
      });
      return row;
    }),
  );
}

function pairs(id, list) {
  element(id).replaceChildren(
    ...list.flatMap(([name, words]) => {
      const term = Object.assign(document.createElement("dt"), { textContent: name });
      return [term, Object.assign(document.createElement("dd"), { textContent: words })];
    }),
  );
}

function link(href, words, label) {
  const made = Object.assign(document.createElement("a"), { href, textContent: words, download: "" });
  made.setAttribute("aria-label", label);
  return made;
}

/** Words that may be long: two lines of them, all of them where one points. */
const cut = (words) => Object.assign(document.createElement("span"), { className: "cut", title: words, textContent: words });

/** Who signed: the log itself, and others. */
const others = (said) => listOf(said.signatures).filter((one) => one.name !== said.origin);

function draw(said) {
  document.body.dataset.laboratory = said.answering ? "answering" : "silent";
  element("simulated").hidden = said.against !== "simulated-utc";
  show("silent", said.answering ? "" : "Laboratory silent: the log below is what was published last.");
  show("title", `${plain(said.lab) || "truechimer"}: evidence`);
  document.title = `Evidence – ${plain(said.lab) || "truechimer"}`;
  show("no-log", said.published ? "" : `No log was published here yet: ${plain(said.why)}`);
  for (const id of ["witness-section", "verify", "log", "bundle"]) element(id).classList.toggle("without", !said.published);
  element("witness-section").hidden = !said.published;
  if (!said.published) {
    element("log").replaceChildren();
    fill("entries", []);
  } else {
    pairs("log", [
      ["Name", plain(said.origin)],
      ["Height", `${grouped(said.size)} entries`],
      ["Head", plain(said.root)],
      ["Checkpoint", `unchanged for ${age(said.unchanged_for_s)} since this console saw it first`],
      ...(said.says?.signed ? [["Signed", `${plain(said.says.signed).replace("T", " ")} by the laboratory's own time`]] : []),
      ["Not yet in it", isNumber(said.behind) ? `${grouped(said.behind)} records` : "not known: the laboratory is silent"],
      ...(said.log_key ? [["Key, by its own word", plain(said.log_key)]] : []),
    ]);
    fill("signatures", listOf(said.signatures).map((one) => [
      { words: plain(one.name) },
      { words: one.name === said.origin ? "the log itself" : "a witness, or another key" },
      { words: isNumber(one.says_at_s) ? stamp(one.says_at_s) : "no time in it" },
      { words: plain(one.key_id), className: "wide" },
    ]));
    kinds(said);
    entries(said);
  }
  aloud(said);
  witnesses(said);
  offer(said.log_key);
  replay(said.replay ?? {});
}

/** What is aloud: a contradiction, trouble, and that nobody outside vouches for the log. */
function aloud(said) {
  const says = said.says && typeof said.says === "object" ? said.says : {};
  const wrong = ["contradicted", "unpublished"].includes(says.state);
  show("contradicted", wrong ? plain(says.says) : "");
  for (const one of listOf(says.contradictions).slice(0, 1)) show("contradicted", `CONTRADICTED by ${plain(one.witness)} at ${plain(one.seen)}: ${plain(one.says)}. Keep both.`);
  if (!said.published && !says.state) show("unwitnessed", "");
  else if (said.unwitnessed_since) show("unwitnessed", wrong || !says.says ? `UNWITNESSED since ${plain(said.unwitnessed_since)}: nobody outside vouches for what was recorded since.` : plain(says.says).replace("unwitnessed", "UNWITNESSED"));
  else if (!says.state && !others(said).length) show("unwitnessed", "UNWITNESSED: nobody outside has signed this checkpoint; who holds this machine could write its history anew.");
  else show("unwitnessed", "");
}

const STATES = { good: "cosigns", new: "not asked yet" };

/** The witnesses as the laboratory tells of them: who cosigned what, when, and who does not answer. */
function witnesses(said) {
  const rows = listOf(said.says?.witnesses);
  element("witnesses").hidden = !rows.length;
  fill("witnesses", rows.map((one) => [
    { words: plain(one.name) },
    { words: Object.hasOwn(STATES, one.state) ? STATES[one.state] : plain(one.state), className: one.state === "good" ? "" : "verdict bad" },
    { words: plain(one.at).replace("T", " "), className: "when" },
    { words: isNumber(one.size) ? grouped(one.size) : "", className: "number" },
    { words: plain(one.says), className: "wide" },
  ]));
}

function offer(key) {
  offered = key ? `log ${key}\nquorum none\n` : "";
  element("offered").hidden = !offered;
}

function replay({ command, last, unreadable }) {
  element("replay-command").textContent = plain(command);
  const words = element("replay-last");
  const found = last?.difference;
  words.className = found ? "missing" : "quiet";
  if (unreadable) words.textContent = "Its result is not there yet, or cannot be read.";
  else if (!last) words.textContent = "No result was kept here yet.";
  else if (found) words.textContent = `The last one that was kept: the first difference is record ${grouped(found.seq)}: ${plain(found.why)}`;
  else words.textContent = `The last one that was kept: ${grouped(last.records_compared)} records compared, every one came out in the same bytes.`;
}

function kinds(said) {
  const select = element("kind");
  const wanted = ["", ...listOf(said.kinds).map((one) => String(one.kind ?? "")).sort()];
  if (wanted.join("\n") === [...select.options].map((one) => one.value).join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(...wanted.map((kind) => Object.assign(document.createElement("option"), { value: kind, textContent: kind ? plain(kind) : "the newest of each" })));
  select.value = wanted.includes(chosen) ? chosen : "";
}

function entries(said) {
  const chosen = element("kind").value;
  const all = listOf(said.kinds);
  const rows = chosen ? listOf(all.find((one) => one.kind === chosen)?.newest) : all.flatMap((one) => listOf(one.newest).slice(0, 2)).sort((one, other) => other.index - one.index);
  element("entries-from").textContent = said.first_scanned > 0 ? `from entry ${grouped(said.first_scanned)} on` : "";
  fill("entries", rows.map((row) => [
    { words: grouped(row.index), className: "number" },
    { words: plain(row.kind), className: "kind" },
    { words: plain(row.utc).replace("T", " ").slice(0, 19), className: "wide when" },
    { nodes: [cut(plain(row.says))] },
    { className: "files", nodes: isNumber(row.index) ? [link(`/api/evidence/entry/${row.index}`, "entry", `entry ${row.index}`), link(`/api/evidence/proof/${row.index}`, "proof", `proof of entry ${row.index}`)] : [] },
  ]));
}

async function ask() {
  try {
    const reply = await fetch("/api/evidence", { cache: "no-store" });
    if (!reply.ok) throw new Error(String(reply.status));
    told = await reply.json();
    draw(told);
    document.body.dataset.told = String(Number(document.body.dataset.told) + 1);
  } catch {
    document.body.dataset.laboratory = "silent";
    show("silent", "The console does not answer: what stands below is old.");
  }
}

element("kind").addEventListener("change", () => told && entries(told));
element("take-offered").addEventListener("click", () => {
  element("policy").value = offered;
});
begin({ newWorker: () => new Worker("/static/evidence/verify_worker.js", { type: "module" }), log: "/log/", storage: localStorage });
ask();
setInterval(ask, ASK_EVERY_MS);
addEventListener("focus", ask);
