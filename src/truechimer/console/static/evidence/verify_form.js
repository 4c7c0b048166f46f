// The form in which evidence is chosen and judged, on the console's page and on the page that is opened from a disk: it
// starts the verifier's thread, shows how far it is, and says what was found. Text only (textContent): what evidence says
// is never markup.

const SHOWN_FAULTS = 20;
const KEPT = "truechimer-believed";
const LATEST_S = 8e12; // beyond it a Date is none

const part = (id) => document.getElementById(id);

/** Text from outside without what moves, hides or turns letters. */
export const plain = (text) => String(text ?? "").replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu, "?");

/** A witness's own time (seconds since 1970) as UTC. */
export const stamp = (seconds) => (Number.isFinite(seconds) && seconds >= 0 && seconds < LATEST_S ? new Date(seconds * 1000).toISOString().replace(".000Z", "Z").replace("T", " ") : "a time beyond all calendars");

export const grouped = (digits) => plain(digits).replace(/\B(?=(\d{3})+$)/g, "\u202f");

function put(id, words) {
  part(id).textContent = words;
  part(id).hidden = !words;
}

/** What this browser keeps: {policy, heads: {origin: {size, root}}}; empty where it keeps nothing. */
function kept(storage) {
  try {
    const found = JSON.parse(storage?.getItem(KEPT) ?? "null");
    return found && typeof found === "object" ? { policy: "", heads: {}, ...found } : { policy: "", heads: {} };
  } catch {
    return { policy: "", heads: {} };
  }
}

/** Words for an outcome: one word, one sentence, asides, pairs for the list. */
export function wordsOf(outcome) {
  if (!outcome.believed) {
    const judged = !["browser", "unreadable", "zip", "policy"].includes(outcome.reason);
    return { word: judged ? "NOT BELIEVED" : "NOT JUDGED", bad: true, sentence: plain(outcome.says), aside: "", pairs: [], faults: [] };
  }
  const count = `${grouped(outcome.entries)} ${outcome.entries === "1" ? "entry" : "entries"}`;
  const sentence = outcome.firstBad !== null ? `entry ${grouped(outcome.firstBad)} is the first that is not, or cannot be shown to be, what was signed` : outcome.holds ? `${count}: every one is what was signed` : `${count} are what was signed, but something else is wrong`;
  const asides = [];
  if (!outcome.witnessed.length) asides.push("UNWITNESSED: nobody but the log itself vouches for this checkpoint; who holds its key could have begun its history anew.");
  if (outcome.unchecked.length) asides.push(`NOT CHECKED and not counted, since this browser has no ML-DSA-44: the signature of ${outcome.unchecked.map(plain).join(", ")}.`);
  const pairs = [
    ["Log", plain(outcome.origin)],
    ["Checkpoint", `${grouped(outcome.size)} entries, root ${outcome.root}`],
    ...outcome.witnessed.map((one) => ["Witnessed", `by ${plain(one.name)}, which says at ${stamp(one.seconds)}`]),
  ];
  if (outcome.continues === true) pairs.push(["Continues", "what this browser verified before"]);
  if (Number.isFinite(outcome.took_s)) pairs.push(["Took", `${outcome.took_s.toFixed(1)} s`]);
  const more = outcome.unnamed + Math.max(0, outcome.faults.length - SHOWN_FAULTS);
  const faults = outcome.faults.slice(0, SHOWN_FAULTS).map(plain);
  if (more > 0) faults.push(`and ${grouped(more)} more`);
  const word = outcome.firstBad !== null ? "FIRST BAD" : outcome.holds ? "OK" : "WRONG";
  return { word, bad: !outcome.holds, sentence, aside: asides.join(" "), pairs, faults };
}

/** Bring the form to life. `newWorker` starts the thread; `log` is where the console has its log (null: none); `storage` keeps what the user wants kept (null: nothing). */
export function begin({ newWorker, log = null, storage = null }) {
  let worker = null;
  const before = kept(storage);
  part("verify-log").hidden = log === null;
  part("keep-line").hidden = storage === null;
  if (before.policy) {
    part("policy").value = before.policy;
    part("keep").checked = true;
  }

  function busy(isBusy, words = "") {
    for (const id of ["verify-log", "choose-zip", "choose-folder"]) part(id).disabled = isBusy;
    part("stop").hidden = !isBusy;
    part("progress").hidden = !isBusy;
    part("progress-words").textContent = words;
  }

  function stop(words = "") {
    worker?.terminate();
    worker = null;
    busy(false, words);
  }

  function show(outcome) {
    const { word, bad, sentence, aside, pairs, faults } = wordsOf(outcome);
    part("verdict").dataset.verdict = bad ? "bad" : "ok";
    part("verdict-word").textContent = word;
    part("verdict-sentence").textContent = sentence;
    put("verdict-aside", aside);
    part("verdict-more").replaceChildren(...pairs.flatMap(([name, words]) => [Object.assign(document.createElement("dt"), { textContent: name }), Object.assign(document.createElement("dd"), { textContent: words })]));
    part("verdict-faults").replaceChildren(...faults.map((words) => Object.assign(document.createElement("li"), { textContent: words })));
    part("verdict").hidden = false;
  }

  function keep(policy, outcome) {
    if (storage === null) return;
    try {
      if (!part("keep").checked) storage.removeItem(KEPT);
      else {
        const now = kept(storage);
        if (outcome.believed && outcome.holds && outcome.whole) now.heads = { ...now.heads, [outcome.origin]: { size: outcome.size, root: outcome.root } };
        storage.setItem(KEPT, JSON.stringify({ policy, heads: now.heads }));
      }
    } catch {
      part("progress-words").textContent = "This browser keeps nothing: the next time it cannot compare.";
    }
  }

  function verify(task) {
    stop();
    part("verdict").hidden = true;
    const typed = part("policy").value;
    const policy = typed === "" || typed.endsWith("\n") ? typed : `${typed}\n`;
    if (!policy.trim()) {
      show({ believed: false, reason: "policy", says: "Say first whom you believe: put the log's key, and its witnesses, into the field above." });
      part("policy").focus();
      return;
    }
    busy(true, "Beginning.");
    part("progress").removeAttribute("value");
    worker = newWorker();
    worker.addEventListener("error", (event) => {
      stop();
      show({ believed: false, reason: "unreadable", says: `the verifier could not run: ${event.message ?? "its program was not loaded"}` });
    });
    worker.addEventListener("message", ({ data }) => {
      if (data.progress) {
        const { done, of } = data.progress;
        part("progress").value = of ? done / of : 1;
        part("progress-words").textContent = `${grouped(done)} of ${grouped(of)} entries`;
        return;
      }
      stop();
      show(data.outcome);
      keep(policy, { ...data.outcome, whole: data.outcome.isWholeLog });
    });
    worker.postMessage({ ...task, policy, heads: part("keep").checked ? kept(storage).heads : {} });
  }

  async function dropped(items) {
    const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    if (entries.length === 1 && entries[0].isFile) entries[0].file((file) => verify({ from: "zip", blob: file }));
    else if (entries.length === 1) verify({ from: "files", files: await below(entries[0], "") });
    else part("progress-words").textContent = "One bundle, a .zip or a folder, please.";
  }

  part("verify-log").addEventListener("click", () => verify({ from: "console", log }));
  part("stop").addEventListener("click", () => stop("Stopped: nothing was judged."));
  part("choose-zip").addEventListener("change", ({ target }) => {
    if (target.files.length) verify({ from: "zip", blob: target.files[0] });
    target.value = "";
  });
  part("choose-folder").addEventListener("change", ({ target }) => {
    const files = [...target.files].map((file) => [file.webkitRelativePath.split("/").slice(1).join("/"), file]);
    if (files.length) verify({ from: "files", files });
    target.value = "";
  });
  const area = part("verify");
  area.addEventListener("dragover", (event) => {
    event.preventDefault();
    area.classList.add("dropping");
  });
  area.addEventListener("dragleave", () => area.classList.remove("dropping"));
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    area.classList.remove("dropping");
    dropped(event.dataTransfer.items);
  });
}

/** All files below a dropped folder, as [name, File]. */
async function below(folder, prefix) {
  const reader = folder.createReader();
  const out = [];
  for (;;) {
    const found = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!found.length) return out;
    for (const entry of found) {
      if (entry.isDirectory) out.push(...(await below(entry, `${prefix}${entry.name}/`)));
      else out.push([prefix + entry.name, await new Promise((resolve, reject) => entry.file(resolve, reject))]);
    }
  }
}
