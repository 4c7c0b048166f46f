// The verifier's thread: takes one task, tells how far it is, answers once. What it reads comes from the console's own
// log, from chosen files, or from a zip file; it asks nobody else.
//
// A task: {policy: text, heads: {origin: {size, root}}, from: "console" | "zip" | "files", log: address, blob, files: [[name, File]]}.

import { judge } from "./log_verifier.js";
import { Unverified } from "./signed_note.js";
import { zipOf } from "./zip_reader.js";

const TELL_EVERY_MS = 100;
const LARGEST_CHOSEN = 1 << 28;
const LARGEST_FETCHED = 256 * (2 + 65535); // the largest bundle of entries
const PLACES = ["", "evidence/log/", "log/"]; // where a log lies in a folder, as `truechimer evidence verify` looks for it

/** How to read a log over HTTP, below `address`; absent is null, a broken answer is an error. */
function fetched(address) {
  return async (name) => {
    const reply = await fetch(address + name, { cache: "no-store", credentials: "omit", redirect: "error" });
    if (reply.status === 404) return null;
    if (!reply.ok) throw new Unverified("unreadable", `the console answers ${reply.status} for ${name}`);
    const parts = [];
    let length = 0;
    const reader = reply.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      length += value.length;
      if (length > LARGEST_FETCHED) throw new Unverified("unreadable", `${name} is longer than any file of a log`);
      parts.push(value);
    }
    const out = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  };
}

/** How to read chosen files: a folder of ours, or one that holds a log where a laboratory has it. */
function chosen(files) {
  const all = new Map(files);
  const has = (place) => all.has(`${place}checkpoint`) || [...all.keys()].some((name) => name.startsWith(`${place}proofs/`) || name.startsWith(`${place}tile/`));
  const place = PLACES.find(has) ?? "";
  const kept = new Map([...all].filter(([name]) => name.startsWith(place)).map(([name, file]) => [name.slice(place.length), file]));
  const read = async (name) => (kept.has(name) && kept.get(name).size < LARGEST_CHOSEN ? new Uint8Array(await kept.get(name).arrayBuffer()) : null);
  return { names: new Set(kept.keys()), read };
}

async function answer(task) {
  const begun = performance.now();
  let told = begun;
  const progress = (done, of) => {
    const now = performance.now();
    if (now - told < TELL_EVERY_MS && done < of) return;
    told = now;
    postMessage({ progress: { done, of } });
  };
  let outcome = null;
  try {
    const source = task.from === "zip" ? await zipOf(task.blob) : task.from === "files" ? chosen(task.files) : { names: null, read: fetched(task.log) };
    outcome = await judge({ ...source, policy: new TextEncoder().encode(task.policy), heads: task.heads, progress });
  } catch (error) {
    const reason = error instanceof Unverified ? error.reason : "unreadable";
    outcome = { believed: false, holds: false, reason, says: `could not be read: ${error.message}`, faults: [], firstBad: null };
  }
  postMessage({ outcome: { ...outcome, took_s: (performance.now() - begun) / 1000 } });
}

onmessage = (event) => answer(event.data);
