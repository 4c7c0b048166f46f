// The verifier in a browser: judges a whole log or a bundle of single entries, given how to read its files by name and a
// policy that says whom the user believes. A third implementation beside `truechimer evidence verify` and the `verify.py`
// of every bundle; tests hold the three against each other.
//
// It opens nothing and shows nothing (`verify_worker.js`, `verify_form.js`). Sources: C2SP tlog-proof, tlog-tiles; RFC
// 9162, 2.1.3.2.
//
// Law of the file: what is not understood is refused; what this browser cannot check is never counted, and is said.

import { MOST_ENTRIES, audited } from "./log_audit.js";
import { agrees, hashInto, sha256 } from "./sha256.js";
import { LARGEST_NOTE, Unverified, base64, canCheck, decimal, hashOf, hex, judgedCheckpoint, policyOf, same, textOf } from "./signed_note.js";

const HEADER = "c2sp.org/tlog-proof@v1";
const MOST_HASHES = 63;
const LARGEST_PROOF = LARGEST_NOTE + (1 << 20);
const MOST_FAULTS = 1000;
const PROVED = /^(proofs|entries|disclosed)\/(0|[1-9][0-9]{0,18})\.(tlog-proof|json)$/;
const PAYLOAD = /^payloads\/([0-9a-f]{64})$/;
const NOTHING = new Uint8Array(0);
let agreed = null; // whether this program hashes as the browser does: asked once

export function leafHash(entry) {
  const out = new Uint8Array(32);
  hashInto(out, 0, entry, 0, entry.length, 0);
  return out;
}

const bitLength = (value) => (value === 0n ? 0 : value.toString(2).length);
const bitCount = (value) => value.toString(2).replaceAll("0", "").length;

/** The root that a proof leads to (RFC 9162 2.1.3.2); index and size BigInts below 2^63. Raises Unverified ("proof"). */
export function rootByInclusion(leaf, index, size, proof) {
  if (index < 0n || index >= size || size >= 1n << 63n) throw new Unverified("proof", `entry ${index} in a tree of ${size}: there is none`);
  if ([leaf, ...proof].some((one) => one.length !== 32)) throw new Unverified("proof", "a hash has not 32 octets");
  const inner = bitLength(index ^ (size - 1n));
  const border = bitCount(index >> BigInt(inner));
  if (proof.length !== inner + border) throw new Unverified("proof", `${proof.length} hashes: entry ${index} of ${size} needs ${inner + border}`);
  let root = leaf;
  const pair = new Uint8Array(64);
  proof.forEach((sibling, level) => {
    const left = level >= inner || ((index >> BigInt(level)) & 1n) === 1n;
    pair.set(left ? sibling : root);
    pair.set(left ? root : sibling, 32);
    root = new Uint8Array(32);
    hashInto(root, 0, pair, 0, 64, 1);
  });
  return root;
}

/** Read a proof file; raises Unverified ("proof"). It verifies nothing. */
export function proofOf(data) {
  const refuse = (why) => new Unverified("proof", `the proof ${why}`);
  if (data.length > LARGEST_PROOF) throw refuse(`has ${data.length} octets: ${LARGEST_PROOF} are the most that are read`);
  let blank = data.findIndex((octet, n) => octet === 10 && data[n + 1] === 10);
  const begun = blank < 0 ? data : data.subarray(0, blank);
  if (begun.some((octet) => octet > 0x7f)) throw refuse("is not ASCII above its checkpoint");
  const lines = textOf(begun).split("\n");
  if (lines.shift() !== HEADER) throw refuse(`does not begin with ${HEADER}`);
  if (blank < 0) throw refuse("ends before its checkpoint");
  if (lines[0]?.startsWith("extra ") && base64(lines.shift().slice(6)) === null) throw refuse("has an extra line that is not base64");
  const index = lines[0]?.startsWith("index ") ? decimal(lines.shift().slice(6)) : null;
  if (index === null) throw refuse("has no index in its one form");
  const hashes = lines.map(hashOf);
  if (hashes.length > MOST_HASHES) throw refuse(`has ${hashes.length} hashes: ${MOST_HASHES} are the most`);
  if (hashes.includes(null)) throw refuse(`has no hash in its line ${lines.findIndex((line) => hashOf(line) === null) + 3}`);
  return { index, hashes, note: data.subarray(blank + 2) };
}

/** Check that a record committed to what is shown beside it; raises Unverified ("disclosure"). */
function checkDisclosed(entry, data) {
  let [body, shown] = [null, null];
  try {
    [body, shown] = [JSON.parse(textOf(entry)), JSON.parse(textOf(data))];
  } catch {
    throw new Unverified("disclosure", "not a disclosure of this entry");
  }
  const [salt, payload] = [base64(String(shown?.salt)), base64(String(shown?.payload))];
  const form = `{"payload":${JSON.stringify(shown?.payload)},"salt":${JSON.stringify(shown?.salt)}}\n`;
  if (salt === null || payload === null || salt.length !== 32 || form !== textOf(data)) throw new Unverified("disclosure", "not a disclosure: another length of salt, or not its one form");
  const context = new TextEncoder().encode("truechimer commitment v1\n");
  const whole = new Uint8Array(context.length + 32 + payload.length);
  whole.set(context);
  whole.set(salt, context.length);
  whole.set(payload, context.length + 32);
  if (typeof body?.commitment !== "string" || body.commitment !== hex(sha256(whole))) throw new Unverified("disclosure", "what is shown is not what the entry committed to");
}

/**
 * Judge evidence. `names` of all its files (a Set; null: a whole log whose files are asked for), `read(name)` a promise of
 * octets or null, `policy` the octets of a tlog-policy, `heads` the
 * heads that were believed before, by origin ({size, root in hex}), `progress(done, of)`.
 *
 * The result has only plain values: `believed` whether a checkpoint is, `holds` whether nothing at all is wrong, `reason`
 * and `says` where it is not believed, `origin`, `size` (decimal text), `root` (hex), `witnessed` [{name, key, seconds}],
 * `unchecked` names of keys, `entries` how many were looked at, `firstBad` (decimal text; null where none is), `faults`
 * sentences, `unnamed` how many more, `continues` whether it begins with what was held (null where that was not asked or
 * cannot be told), `isWholeLog`.
 */
export async function judge({ names = null, read, policy, heads = {}, progress = () => {} }) {
  try {
    const able = await canCheck();
    if (!globalThis.crypto?.subtle) throw new Unverified("browser", "this browser offers no cryptography here (WebCrypto): it does on https, on this machine's own addresses such as 127.0.0.1, and in a page opened from disk");
    if (!able.Ed25519) throw new Unverified("browser", "this browser's WebCrypto has no Ed25519, with which logs are signed: take a newer one, or `truechimer evidence verify`");
    agreed ??= agrees(crypto.subtle);
    if (!(await agreed)) throw new Unverified("browser", "this program and this browser do not agree on SHA-256: one of them is broken, and nothing was judged");
    const judging = new Judging(names, read, policyOf(policy), { able, heads, progress });
    return await judging.whole();
  } catch (error) {
    if (error instanceof Unverified) return { believed: false, holds: false, reason: error.reason, says: error.message, who: error.who, faults: [error.message], firstBad: null };
    throw error;
  }
}

class Judging {
  constructor(names, read, policy, { able, heads, progress }) {
    Object.assign(this, { names, read, policy, able, heads, progress });
    this.trusted = [];
    this.faults = []; // [entry (BigInt), sentence]
    this.bad = [];
    this.entries = 0n;
    this.unnamed = 0;
    this.continues = null;
    this.isWholeLog = false;
    this.notes = new Map(); // a note that many proofs repeat is verified once
  }

  async whole() {
    const names = [...(this.names ?? [])];
    if (this.names === null || this.names.has("checkpoint") || names.some((name) => name.startsWith("tile/"))) await this.log();
    const single = new Map();
    for (const name of names) {
      const match = PROVED.exec(name);
      if (match) single.set(match[2], BigInt(match[2]));
    }
    const indexes = [...single.values()].sort((one, other) => (one < other ? -1 : 1));
    let distrusted = null;
    for (const [done, index] of indexes.entries()) {
      try {
        this.trusted.push(await this.entry(index));
        this.entries += 1n;
      } catch (error) {
        if (!(error instanceof Unverified)) throw error;
        if (!["proof", "disclosure"].includes(error.reason)) distrusted = error;
        this.bad.push(index);
        this.faults.push([index, `entry ${index}: ${error.message}`]);
      }
      this.progress(done + 1, indexes.length);
    }
    for (const name of names.filter((one) => PAYLOAD.test(one)).sort()) {
      const data = (await this.read(name)) ?? NOTHING;
      if (hex(sha256(data)) !== PAYLOAD.exec(name)[1]) this.faults.push([-1n, `${name}: its octets do not have this hash`]);
    }
    if (!this.trusted.length) throw distrusted ?? new Unverified("missing", this.faults[0]?.[1] ?? "there is no checkpoint and no proof here: nothing to verify");
    this.refuseFork();
    return this.outcome();
  }

  /** Judge a whole log. */
  async log() {
    const note = await this.read("checkpoint");
    if (note === null) throw new Unverified("missing", "there is no checkpoint here: nothing says what the log held");
    const found = await judgedCheckpoint(note, this.policy, this.able);
    this.trusted.push(found);
    const { origin, size, root } = found.head;
    if (size > MOST_ENTRIES) throw new Unverified("browser", `a log of ${size} entries: a browser judges ${MOST_ENTRIES} at the most; \`truechimer evidence verify\` judges it`);
    const audit = await audited({ read: this.read, size: Number(size), root, progress: this.progress });
    this.entries += size;
    this.unnamed += audit.unnamed;
    this.faults.push(...audit.faults.map((fault) => [BigInt(fault.first), fault.says]));
    if (audit.firstBad !== null) this.bad.push(BigInt(audit.firstBad));
    this.isWholeLog = true;
    if (Object.hasOwn(this.heads ?? {}, origin)) this.holdAgainst(this.heads[origin], size, audit);
  }

  /** Compare with a head that was believed before: a log may grow, nothing else. */
  holdAgainst(held, size, audit) {
    const before = decimal(String(held?.size));
    if (before === null) return;
    const begun = before <= size ? audit.rootAt(Number(before)) : null;
    if (before > size) {
      this.continues = false;
      this.faults.push([size, `${before} entries were signed when this browser looked before, now ${size}: the log was taken back. Keep both`]);
    } else if (begun !== null) {
      this.continues = hex(begun) === held.root;
      if (!this.continues) this.faults.push([-1n, `its first ${before} entries are not those that were signed when this browser looked before: the log shows two histories. Keep both`]);
    }
  }

  /** Judge one entry with its proof, and what is disclosed of it; raises Unverified. */
  async entry(index) {
    const entry = await this.read(`entries/${index}.json`);
    if (entry === null) throw new Unverified("proof", "its octets are missing");
    const proof = proofOf((await this.read(`proofs/${index}.tlog-proof`)) ?? NOTHING);
    if (proof.index !== index) throw new Unverified("proof", `its proof is of entry ${proof.index}`);
    const found = await this.judgedOnce(proof.note);
    const { size, root } = found.head;
    if (!same(rootByInclusion(leafHash(entry), index, size, proof.hashes), root)) throw new Unverified("proof", "its octets are not those that were signed, or its proof was changed");
    if (this.names.has(`disclosed/${index}.json`)) checkDisclosed(entry, (await this.read(`disclosed/${index}.json`)) ?? NOTHING);
    return found;
  }

  async judgedOnce(note) {
    const key = hex(sha256(note));
    if (!this.notes.has(key)) this.notes.set(key, judgedCheckpoint(note, this.policy, this.able));
    return this.notes.get(key);
  }

  refuseFork() {
    const roots = new Map();
    for (const { head } of this.trusted) {
      const place = `${head.size} ${head.origin}`;
      const root = hex(head.root);
      if ((roots.get(place) ?? root) !== root) throw new Unverified("fork", `two roots were signed for the size ${head.size}: the log shows two histories: keep both`);
      roots.set(place, root);
    }
  }

  outcome() {
    const { head, witnessed } = this.trusted.reduce((best, one) => (one.head.size > best.head.size ? one : best));
    const unchecked = [...new Set(this.trusted.flatMap((one) => one.unchecked))];
    const faults = this.faults.sort((one, other) => (one[0] < other[0] ? -1 : one[0] > other[0] ? 1 : 0)).map(([, says]) => says);
    const first = this.bad.length ? this.bad.reduce((least, one) => (one < least ? one : least)) : null;
    return {
      believed: true,
      holds: !faults.length,
      origin: head.origin,
      size: String(head.size),
      root: hex(head.root),
      witnessed,
      unchecked,
      entries: String(this.entries),
      firstBad: first === null ? null : String(first),
      faults: faults.slice(0, MOST_FAULTS),
      unnamed: this.unnamed + Math.max(0, faults.length - MOST_FAULTS),
      continues: this.continues,
      isWholeLog: this.isWholeLog,
    };
  }
}
