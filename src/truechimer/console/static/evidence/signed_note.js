// Whom a stranger believes: keys, signed notes, checkpoints and policies, read strictly, their signatures checked by the
// browser's WebCrypto. It fetches nothing and hashes no log (`log_audit.js`).
//
// Law of the file: text is read only in the one form in which it is written; a line of a policy that is not understood
// refuses the whole policy; a key whose kind this browser cannot judge is never counted, and is named.
// Sources: C2SP signed-note, tlog-checkpoint, tlog-cosignature, tlog-policy; FIPS 204 through WebCrypto where it is there.

import { sha256 } from "./sha256.js";

export const LARGEST_NOTE = 1 << 20;
const MOST_SIGNATURES = 100;
const MOST_LINES = 1024;
const LATEST = (1n << 63n) - 1n;
const [ED25519, COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44] = [1, 4, 6];
const KEY_BYTES = { [ED25519]: 32, [COSIGNATURE_ED25519]: 32, [COSIGNATURE_ML_DSA_44]: 1312 };
const SPACES = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/u;
const CONTROLS = /[\x00-\x09\x0b-\x1f]/u;

/** The evidence is not what a log of the policy signed. `reason` is one fixed word, `who` the key it is about. */
export class Unverified extends Error {
  constructor(reason, says, who = "") {
    super(says);
    this.reason = reason;
    this.who = who;
  }
}

const octets = (text) => new TextEncoder().encode(text);
const shown = (text) => JSON.stringify(String(text).slice(0, 60));

/** The text of UTF-8 octets; null where they are none. */
export function textOf(data) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    return null;
  }
}

export const same = (one, other) => one.length === other.length && one.every((octet, n) => octet === other[n]);
export const hex = (data) => Array.from(data, (octet) => octet.toString(16).padStart(2, "0")).join("");

/** Base64 that has one form only; null for anything else. */
export function base64(text) {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return null;
  try {
    const letters = atob(text);
    return btoa(letters) === text ? Uint8Array.from(letters, (letter) => letter.charCodeAt(0)) : null;
  } catch {
    return null;
  }
}

/** A number from 0 to 2^63 - 1 in its one form, as BigInt; null for anything else. */
export function decimal(text) {
  if (!/^(0|[1-9][0-9]{0,18})$/.test(text)) return null;
  const found = BigInt(text);
  return found <= LATEST ? found : null;
}

/** A hash of 32 octets in base64; null for anything else. */
export function hashOf(text) {
  const data = base64(text);
  return data !== null && data.length === 32 ? data : null;
}

const isKeyName = (name) => name !== "" && octets(name).length <= 255 && !name.includes("+") && !SPACES.test(name) && !CONTROLS.test(name) && !name.includes("\n");

/** Read NAME+ID+KEY; raises Unverified ("policy"). A key's id is computed, never believed. */
export function keyOf(text) {
  const refuse = (why) => new Unverified("policy", `policy: the key ${shown(text)} ${why}`);
  const [name, id, ...rest] = text.split("+");
  const data = rest.length ? base64(rest.join("+")) : null;
  if (data === null || data.length === 0) throw refuse("is none: NAME+ID+KEY is its form");
  if (!isKeyName(name)) throw refuse("has no name that a key can have");
  const kind = data[0];
  if (!(kind in KEY_BYTES)) throw refuse(`is of the kind ${kind}, which is not judged here`);
  if (data.length !== 1 + KEY_BYTES[kind]) throw refuse(`has ${data.length - 1} octets, one of its kind has ${KEY_BYTES[kind]}`);
  const message = octets(`${name}\n`);
  const whole = new Uint8Array(message.length + data.length);
  whole.set(message);
  whole.set(data, message.length);
  const found = hex(sha256(whole).subarray(0, 4));
  if (found !== id) throw refuse(`has the id ${found}: copy it again`);
  return { name, id: found, kind, data: data.subarray(1), place: `${name} ${found}`, text, usable: null };
}

/** Read a tlog-policy (octets); raises Unverified ("policy") with the line. */
export function policyOf(data) {
  if (data.length > LARGEST_NOTE || data.filter((octet) => octet === 10).length > MOST_LINES) throw new Unverified("policy", `policy: longer than ${MOST_LINES} lines or ${LARGEST_NOTE} octets`);
  if (data.length && data[data.length - 1] !== 10) throw new Unverified("policy", "policy: it does not end with a newline and may be cut short");
  const reader = new PolicyReader();
  let from = 0;
  for (let number = 1; from < data.length; number += 1) {
    const to = data.indexOf(10, from);
    reader.line(number, data.subarray(from, to));
    from = to + 1;
  }
  return reader.policy();
}

class PolicyReader {
  logs = [];
  witnesses = [];
  groups = [];
  quorum = null;
  names = new Set();
  free = new Set();
  publics = new Set();

  line(number, row) {
    this.number = number;
    if (row.some((octet) => (octet < 0x20 && octet !== 9) || octet === 0x7f)) throw this.refuse("has a control character");
    const words = Array.from(row, (octet) => String.fromCharCode(octet)).join("").split(/[ \t]+/).filter((word) => word);
    if (!words.length || words[0].startsWith("#")) return;
    const [first, ...rest] = words;
    if (first === "log" && (rest.length === 1 || rest.length === 2)) {
      this.logs.push(this.key(rest[0], "log"));
    } else if (first === "witness" && (rest.length === 2 || rest.length === 3)) {
      this.define(rest[0]);
      this.witnesses.push({ name: rest[0], key: this.key(rest[1], "witness") });
    } else if (first === "group" && rest.length >= 3) {
      this.group(rest[0], rest[1], rest.slice(2));
    } else if (first === "quorum" && rest.length === 1) {
      if (this.quorum !== null) throw this.refuse("says the quorum a second time");
      if (rest[0] !== "none" && !this.names.has(rest[0])) throw this.refuse(`has the quorum ${shown(rest[0])}, and no witness or group of that name stands above`);
      this.quorum = rest[0];
    } else {
      throw this.refuse(`${shown(words.join(" "))} is not understood`);
    }
  }

  refuse(why) {
    return new Unverified("policy", `policy, line ${this.number}: ${why}`);
  }

  define(name) {
    if (name === "none" || this.names.has(name)) throw this.refuse(`the name ${shown(name)} is taken`);
    this.names.add(name);
    this.free.add(name);
  }

  key(letters, role) {
    const text = textOf(Uint8Array.from(letters, (letter) => letter.charCodeAt(0)));
    if (text === null) throw this.refuse("its key is not UTF-8");
    const key = keyOf(text);
    if (role === "witness" && key.kind === ED25519) throw this.refuse("a witness has no key of kind 1");
    const stands = `${role} ${hex(key.data)}`;
    if (this.publics.has(stands)) throw this.refuse("its key stands twice");
    this.publics.add(stands);
    return key;
  }

  group(name, threshold, members) {
    for (const member of members) {
      if (!this.names.has(member)) throw this.refuse(`its member ${shown(member)} stands nowhere above`);
      if (!this.free.delete(member)) throw this.refuse(`its member ${shown(member)} is in a group already`);
    }
    const words = { any: 1, all: members.length };
    const least = Object.hasOwn(words, threshold) ? words[threshold] : /^[1-9][0-9]{0,8}$/.test(threshold) ? Number(threshold) : 0;
    if (least < 1 || least > members.length) throw this.refuse(`the threshold ${shown(threshold)} of ${members.length} members is none`);
    this.define(name);
    this.groups.push({ name, least, members });
  }

  policy() {
    if (this.quorum === null) throw new Unverified("policy", "policy: it has no quorum line; `quorum none` where no witness is asked for");
    return { logs: this.logs, witnesses: this.witnesses, groups: this.groups, quorum: this.quorum };
  }
}

/** Whether these witnesses are enough for a policy. */
function fulfilled(policy, witnesses) {
  const done = new Set(witnesses);
  for (const group of policy.groups) if (group.members.filter((member) => done.has(member)).length >= group.least) done.add(group.name);
  return policy.quorum === "none" || done.has(policy.quorum);
}

/** Take a note apart: its text, and rows of name, id (hex) and signature; raises Unverified ("malformed"). */
export function noteOf(data) {
  const refuse = (why) => new Unverified("malformed", `the checkpoint's note ${why}`);
  if (data.length > LARGEST_NOTE) throw refuse(`has ${data.length} octets, ${LARGEST_NOTE} are the most that are read`);
  const whole = textOf(data);
  if (whole === null) throw refuse("is not UTF-8");
  if (CONTROLS.test(whole)) throw refuse("has a control character");
  const at = whole.lastIndexOf("\n\n");
  if (at < 0 || !whole.endsWith("\n") || at + 2 === whole.length) throw refuse("has no signatures under it");
  const rows = whole.slice(at + 2, -1).split("\n");
  if (rows.length > MOST_SIGNATURES) throw refuse(`has ${rows.length} signatures, ${MOST_SIGNATURES} are the most that are read`);
  const signatures = rows.map((row) => {
    const [dash, name, encoded, ...more] = row.split(" ");
    const found = dash === "\u2014" && encoded !== undefined && !more.length && isKeyName(name) ? base64(encoded) : null;
    if (found === null || found.length < 5) throw refuse(`has a signature line that is none: ${shown(row)}`);
    return { name, id: hex(found.subarray(0, 4)), place: `${name} ${hex(found.subarray(0, 4))}`, signature: found.subarray(4) };
  });
  return { text: `${whole.slice(0, at)}\n`, signatures };
}

/** Read a note's text as a checkpoint (`size` a BigInt); raises Unverified ("malformed"). */
export function checkpointOf(text) {
  const refuse = (why) => new Unverified("malformed", `the checkpoint ${why}`);
  const lines = text.split("\n");
  if (lines.length < 4 || lines.pop() !== "" || lines.includes("")) throw refuse("lacks origin, size or root, or has an empty line");
  const [origin, sizeText, rootText, ...extensions] = lines;
  const [size, root] = [decimal(sizeText), hashOf(rootText)];
  if (size === null) throw refuse(`has the size ${shown(sizeText)}, which is no number in its one form`);
  if (root === null) throw refuse("has a root that is no hash in base64");
  if (size === 0n && !same(root, sha256(new Uint8Array(0)))) throw refuse("is of an empty log and has another root than SHA-256 of nothing");
  return { origin, size, root, extensions };
}

const bigEndian = (value) => {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, value);
  return out;
};

function joined(parts) {
  const out = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** What a cosigner of kind 6 signs: signer, time, origin, size and root; null where a name is too long for the form. */
function cosignedTree(name, time, head) {
  const [who, origin] = [octets(name), octets(head.origin)];
  if (origin.length > 255) return null;
  return joined([octets("subtree/v1\n\0"), Uint8Array.of(who.length), who, time, Uint8Array.of(origin.length), origin, bigEndian(0n), bigEndian(head.size), head.root]);
}

const ALGORITHM = { [ED25519]: ["raw", "Ed25519"], [COSIGNATURE_ED25519]: ["raw", "Ed25519"], [COSIGNATURE_ML_DSA_44]: ["raw-public", "ML-DSA-44"] };

/** Which signatures this browser can check: of `Ed25519` and `ML-DSA-44`. */
export async function canCheck(subtle = globalThis.crypto?.subtle) {
  const found = { "Ed25519": false, "ML-DSA-44": false };
  for (const kind of [ED25519, COSIGNATURE_ML_DSA_44]) {
    const [form, name] = ALGORITHM[kind];
    try {
      // 9: a key whose octets any implementation takes; what is asked is only whether the algorithm is there
      await subtle.importKey(form, new Uint8Array(KEY_BYTES[kind]).fill(9), { name }, false, ["verify"]);
      found[name] = true;
    } catch {
      found[name] = false;
    }
  }
  return found;
}

/** Whether a key's signature over a checkpoint's text holds; null where this browser cannot judge its kind. */
async function holds(key, signature, text, able) {
  const [form, name] = ALGORITHM[key.kind];
  if (!able[name]) return null;
  const timed = key.kind !== ED25519;
  if (timed && (signature.length < 8 || signature[0] > 0x7f)) return false;
  const time = signature.subarray(0, 8);
  let message = octets(text);
  if (key.kind === COSIGNATURE_ED25519) message = joined([octets(`cosignature/v1\ntime ${secondsOf(signature)}\n`), message]);
  let head = null;
  try {
    if (timed) head = checkpointOf(text);
  } catch {
    return false;
  }
  if (key.kind === COSIGNATURE_ML_DSA_44) message = cosignedTree(key.name, time, head);
  if (message === null) return false;
  try {
    key.usable ??= await crypto.subtle.importKey(form, key.data, { name }, false, ["verify"]);
    return await crypto.subtle.verify({ name }, key.usable, timed ? signature.subarray(8) : signature, message);
  } catch {
    return false;
  }
}

const secondsOf = (signature) => new DataView(signature.buffer, signature.byteOffset, 8).getBigUint64(0);

/**
 * Verify a checkpoint as a policy asks; raises Unverified. The head, the log's key, when which witness of the policy says
 * that it saw it (seconds since 1970), and the keys of the policy whose signatures this browser could not check.
 *
 * A bad signature of any key that the policy names refuses the checkpoint, whether or not it is needed.
 */
export async function judgedCheckpoint(data, policy, able) {
  const note = noteOf(data);
  const keys = new Map([...policy.logs, ...policy.witnesses.map((one) => one.key)].map((key) => [key.text, key]));
  const known = Map.groupBy ? Map.groupBy(keys.values(), (key) => key.place) : grouped(keys.values());
  const good = new Map();
  const unchecked = new Set();
  for (const one of note.signatures) {
    const candidates = known.get(one.place);
    if (!candidates) continue;
    const judged = [];
    for (const key of candidates) judged.push(await holds(key, one.signature, note.text, able));
    if (judged.includes(true)) {
      if (!good.has(one.place)) good.set(one.place, one.signature);
    } else if (judged.includes(null)) unchecked.add(one.place);
    else throw new Unverified("bad-signature", `the signature of ${shown(one.name)} does not hold over this checkpoint`, one.name);
  }
  const notChecked = [...keys.values()].filter((key) => unchecked.has(key.place)).map((key) => key.name);
  const aside = notChecked.length ? `; not checked, since this browser has no ML-DSA-44: ${notChecked.map(shown).join(", ")}` : "";
  if (!good.size) {
    const by = [...new Set(note.signatures.map((one) => shown(one.name)))].slice(0, 4).join(", ");
    throw new Unverified("unknown-log", `no key of the policy signed this checkpoint (signed by ${by})${aside}`);
  }
  const head = checkpointOf(note.text);
  const logs = policy.logs.filter((key) => good.has(key.place));
  if (!logs.length) throw new Unverified("unknown-log", `witnesses signed this checkpoint, but no log of the policy did${aside}`);
  const log = logs.find((key) => key.name === head.origin);
  if (!log) throw new Unverified("origin", `a checkpoint of ${shown(head.origin)} that the log ${shown(logs[0].name)} signed: a log speaks for itself only`);
  const seen = policy.witnesses.filter((one) => good.has(one.key.place));
  const witnessed = seen.map((one) => ({ name: one.name, key: one.key.name, seconds: Number(secondsOf(good.get(one.key.place))) }));
  if (!fulfilled(policy, witnessed.map((one) => one.name))) {
    const by = witnessed.map((one) => one.name).join(", ") || "nobody";
    throw new Unverified("quorum", `the checkpoint of size ${head.size} is witnessed by ${by}, which does not fulfil ${shown(policy.quorum)}${aside}`);
  }
  return { head, log, witnessed, unchecked: notChecked };
}

function grouped(keys) {
  const out = new Map();
  for (const key of keys) out.set(key.place, [...(out.get(key.place) ?? []), key]);
  return out;
}
