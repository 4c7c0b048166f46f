// The audit of a whole log: every entry against the signed root, and the first bad one named exactly.
//
// It asks for files by name and believes none of them. How a bad entry is found where the root alone says only that
// something differs: hashes are authenticated from the root down, tile by tile; where a tile was damaged, what the
// entries below it hash to is tried in its place; where both were changed, the records' own chain (`prev`) narrows it.
// Sources: C2SP tlog-tiles; RFC 6962, 2.1.

import { hashInto, sha256 } from "./sha256.js";
import { hex, same, textOf } from "./signed_note.js";

const WIDTH = 256;
const LEVELS = 8;
const MOST_MISSING = 1000;
const MOST_NAMED = 1000;
const AT_ONCE = 8;
export const MOST_ENTRIES = 5_000_000; // 64 octets each are held in memory

/** The name of a tile below a log: `level` a number, or "entries". */
export function tileName(level, index, width = WIDTH) {
  const digits = String(index);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, "0").match(/.{3}/g);
  const name = [...groups.slice(0, -1).map((group) => `x${group}`), groups.at(-1)].join("/");
  return `tile/${level}/${name}${width < WIDTH ? `.p/${width}` : ""}`;
}

/** Hashes side by side; `known` says which of them are there at all. */
class Row {
  constructor(length) {
    this.length = length;
    this.hashes = new Uint8Array(32 * length);
    this.known = new Uint8Array(length);
  }

  at(n) {
    return this.hashes.subarray(32 * n, 32 * n + 32);
  }

  put(n, hash) {
    this.hashes.set(hash, 32 * n);
    this.known[n] = 1;
  }

  isWhole(from = 0, to = this.length) {
    return this.known.subarray(from, to).every((one) => one);
  }

  agrees(n, other, m = n) {
    if (this.known[n] !== other.known[m]) return false;
    for (let k = 0; k < 32; k += 1) if (this.hashes[32 * n + k] !== other.hashes[32 * m + k]) return false;
    return true;
  }

  part(from, to) {
    const out = new Row(to - from);
    out.hashes.set(this.hashes.subarray(32 * from, 32 * to));
    out.known.set(this.known.subarray(from, to));
    return out;
  }
}

/** The root over leaf hashes [from, to) of a row. An odd last hash moves up: the same tree as RFC 6962's. */
export function rootOf(hashes, from, to) {
  if (from === to) return sha256(new Uint8Array(0));
  const row = hashes.slice(32 * from, 32 * to);
  for (let length = to - from; length > 1; length = (length + 1) >> 1) {
    for (let n = 0; n + 1 < length; n += 2) hashInto(row, 16 * n, row, 32 * n, 32 * n + 64, 1);
    if (length & 1) row.copyWithin(16 * (length - 1), 32 * (length - 1), 32 * length);
  }
  return row.slice(0, 32);
}

/** The hash over each full tile of a row; unknown where one below it is. */
function above(row) {
  const out = new Row(Math.floor(row.length / WIDTH));
  for (let n = 0; n < out.length; n += 1) {
    if (row.isWhole(n * WIDTH, (n + 1) * WIDTH)) out.put(n, rootOf(row.hashes, n * WIDTH, (n + 1) * WIDTH));
  }
  return out;
}

const edgeOf = (row) => row.part(row.length - (row.length % WIDTH), row.length);

/** The root over the unfilled tiles of all levels; null where a hash is missing. */
function rootOfEdge(edges) {
  let root = null;
  for (const row of edges) {
    if (!row.isWhole()) return null;
    // its perfect subtrees from the right, each the left neighbour of all that lies below
    for (let end = row.length, step = 1; end > 0; step *= 2) {
      if (!(end & step)) continue;
      const one = rootOf(row.hashes, end - step, end);
      end -= step;
      if (root === null) root = one;
      else {
        const pair = new Uint8Array(64);
        pair.set(one);
        pair.set(root, 32);
        root = new Uint8Array(32);
        hashInto(root, 0, pair, 0, 64, 1);
      }
    }
  }
  return root ?? sha256(new Uint8Array(0));
}

/**
 * Audit a log of `size` entries under `root`. `read(name)` gives a file's octets or null; `progress(done, of)` is told
 * how many entries were read. The result: `faults` in the order of entries ({what: "entry" | "tile" | "range", first,
 * last, says}; at most 1000, `unnamed` more), `firstBad` (null where no entry is), `rootAt(n)` the root over the first n
 * entries (null where they are not all vouched for).
 */
export async function audited({ read, size, root, progress = () => {} }) {
  const log = new Log(read, size);
  await log.readAll(progress);
  const { faults, leaves } = log.tooMuchMissing() ? { faults: [log.tooMuchMissing()], leaves: null } : await log.under(root);
  faults.sort((one, other) => one.first - other.first || (one.what < other.what ? -1 : one.what > other.what ? 1 : 0));
  const bad = faults.find((fault) => fault.what !== "tile");
  return {
    faults: faults.slice(0, MOST_NAMED),
    unnamed: log.unnamed + Math.max(0, faults.length - MOST_NAMED),
    firstBad: bad ? bad.first : null,
    rootAt: (n) => (leaves && n <= size && leaves.isWhole(0, n) ? rootOf(leaves.hashes, 0, n) : null),
  };
}

/** What `ask(0)` to `ask(count - 1)` promise, in order; some are asked for ahead. */
async function* ahead(count, ask) {
  const coming = [];
  const begin = (index) => {
    if (index >= count) return;
    coming[index] = ask(index);
    coming[index].catch(() => {}); // its failure is taken up where it is awaited
  };
  for (let index = 0; index < AT_ONCE; index += 1) begin(index);
  for (let index = 0; index < count; index += 1) {
    begin(index + AT_ONCE);
    const found = await coming[index];
    delete coming[index];
    yield { index, found };
  }
}

class Log {
  constructor(read, size) {
    this.read = read;
    this.size = size;
    this.leaves = new Row(size);
    this.why = new Map();
    this.surplus = [];
    this.missing = [];
    this.unnamed = 0;
  }

  /** A tile's octets, from its full form where the partial one is gone; `asked`: it is as wide as asked for. */
  async tile(level, index, width) {
    const data = await this.read(tileName(level, index, width));
    if (data !== null || width === WIDTH) return { data, asked: true };
    return { data: await this.read(tileName(level, index)), asked: false };
  }

  async readAll(progress) {
    const width = (index) => Math.min(WIDTH, this.size - index * WIDTH);
    const bundles = ahead(Math.ceil(this.size / WIDTH), (index) => this.tile("entries", index, width(index)));
    for await (const { index, found } of bundles) {
      this.hash(index, width(index), found);
      if (this.missing.length > MOST_MISSING) return;
      progress(Math.min((index + 1) * WIDTH, this.size), this.size);
    }
    this.made = [this.leaves];
    for (let level = 1; level < LEVELS; level += 1) this.made.push(above(this.made[level - 1]));
    this.filed = [];
    for (let level = 0; level < LEVELS; level += 1) this.filed.push(await this.filedAt(level));
  }

  /** Hash a bundle's entries as far as it goes. */
  hash(index, width, { data, asked }) {
    const first = index * WIDTH;
    const name = tileName("entries", index, width);
    if (data === null) {
      this.why.set(first, `${name} is missing`);
      this.missing.push(first);
      return;
    }
    let count = 0;
    let end = 0;
    for (const [from, to] of entriesIn(data, width)) {
      hashInto(this.leaves.hashes, 32 * (first + count), data, from, to, 0);
      this.leaves.known[first + count] = 1;
      count += 1;
      end = to;
    }
    if (count < width) this.why.set(first + count, `${name} ends before its entry ${first + count}`);
    else if (end !== data.length && asked) this.surplus.push({ what: "tile", first, last: first + width - 1, says: `${name} has ${data.length - end} octets after its last entry` });
  }

  async filedAt(level) {
    const filled = Math.floor(this.size / WIDTH ** level);
    const row = new Row(filled);
    const count = Math.ceil(filled / WIDTH);
    const widthOf = (index) => Math.min(WIDTH, filled - index * WIDTH);
    for await (const { index, found } of ahead(count, (n) => this.tile(level, n, widthOf(n)))) {
      const width = widthOf(index);
      const { data, asked } = found;
      if (data === null || (asked ? data.length !== 32 * width : data.length < 32 * width)) continue;
      row.hashes.set(data.subarray(0, 32 * width), 32 * index * WIDTH);
      row.known.fill(1, index * WIDTH, index * WIDTH + width);
    }
    return row;
  }

  tooMuchMissing() {
    if (this.missing.length <= MOST_MISSING) return null;
    return { what: "range", first: this.missing[0], last: this.size - 1, says: `more than ${MOST_MISSING} bundles of entries are missing: this is not a copy of the whole log` };
  }

  /** What does not agree with the signed root, and the leaf hashes that it vouches for. */
  async under(root) {
    const made = rootOfEdge(this.made.map(edgeOf));
    if (made !== null && same(made, root)) return { faults: [...this.damagedTiles(this.made), ...this.surplus], leaves: this.leaves };
    const signed = this.authenticated(root);
    if (signed === null) return { faults: [await this.narrowed(0, this.size - 1, "the log is not the one that was signed")], leaves: null };
    const faults = [...this.damagedTiles(signed), ...this.surplus];
    for (const [first, last] of holes(signed[0])) faults.push(await this.narrowed(first, last, "entries and the tiles above them were changed"));
    let named = 0;
    for (let n = 0; n < this.size; n += 1) {
      if (!signed[0].known[n] || this.leaves.agrees(n, signed[0])) continue;
      named += 1;
      if (named > MOST_NAMED) this.unnamed += 1;
      else faults.push({ what: "entry", first: n, last: n, says: `entry ${n}: ${this.why.get(n) ?? "its octets are not those that were signed"}` });
    }
    return { faults, leaves: signed[0] };
  }

  damagedTiles(rows) {
    const faults = [];
    rows.forEach((row, level) => {
      for (let n = 0; n < row.length; n += 1) {
        if (!row.known[n] || row.agrees(n, this.filed[level])) continue;
        const index = Math.floor(n / WIDTH);
        const name = tileName(level, index, Math.min(WIDTH, row.length - index * WIDTH));
        const what = this.filed[level].known[n] ? `has another hash in its place ${n % WIDTH}` : "is missing or cut";
        const first = n * WIDTH ** level;
        faults.push({ what: "tile", first, last: Math.min(this.size, first + WIDTH ** level) - 1, says: `${name} ${what}` });
        n = (index + 1) * WIDTH - 1; // a tile is named once
      }
    });
    return faults;
  }

  /** The hashes that the signed root vouches for, level by level; null where not even the right edge is known. */
  authenticated(root) {
    const choices = this.filed.map((row, level) => {
      const [one, other] = [edgeOf(row), edgeOf(this.made[level])];
      return Array.from({ length: one.length }, (_, n) => one.agrees(n, other)).every(Boolean) ? [one] : [one, other];
    });
    const edge = combinations(choices).find((chosen) => {
      const found = rootOfEdge(chosen);
      return found !== null && same(found, root);
    });
    if (!edge) return null;
    const signed = [];
    for (let level = LEVELS - 1; level >= 0; level -= 1) {
      const upper = signed[level + 1] ?? new Row(0);
      const row = new Row(this.filed[level].length);
      for (let n = 0; n < upper.length; n += 1) {
        const [from, to] = [n * WIDTH, (n + 1) * WIDTH];
        const part = [this.filed[level], this.made[level]].find((one) => upper.known[n] && one.isWhole(from, to) && same(rootOf(one.hashes, from, to), upper.at(n)));
        if (!part) continue;
        row.hashes.set(part.hashes.subarray(32 * from, 32 * to), 32 * from);
        row.known.fill(1, from, to);
      }
      const begin = row.length - (row.length % WIDTH);
      row.hashes.set(edge[level].hashes, 32 * begin);
      row.known.set(edge[level].known, begin);
      signed[level] = row;
    }
    return signed;
  }

  /** The fault of a range in which no hash tells one entry from another, narrowed by the records' chain. */
  async narrowed(first, last, why) {
    let before = first === 0 ? new Uint8Array(0) : await this.entry(first - 1);
    for (let index = first; index <= last; index += 1) {
      const entry = await this.entry(index);
      if (!continues(entry, before, index)) {
        const at = Math.max(first, index - (entry === null ? 0 : 1));
        return { what: "range", first: at, last, says: `entries ${at} to ${last}: ${why}; their chain breaks at entry ${index}` };
      }
      before = entry;
    }
    return { what: "range", first, last, says: `entries ${first} to ${last}: ${why}; their chain of hashes is whole` };
  }

  /** One entry's octets, its bundle read once more; null where it is not there. */
  async entry(index) {
    const bundle = Math.floor(index / WIDTH);
    if (this.held?.bundle !== bundle) {
      const width = Math.min(WIDTH, this.size - bundle * WIDTH);
      const { data } = await this.tile("entries", bundle, width);
      this.held = { bundle, entries: data === null ? [] : entriesIn(data, width).map(([from, to]) => data.subarray(from, to)) };
    }
    return this.held.entries[index % WIDTH] ?? null;
  }
}

/** Where the entries of a bundle begin and end, as far as it goes. */
export function entriesIn(data, width) {
  const out = [];
  for (let at = 0; out.length < width && at + 2 <= data.length; ) {
    const end = at + 2 + ((data[at] << 8) | data[at + 1]);
    if (end > data.length) break;
    out.push([at + 2, end]);
    at = end;
  }
  return out;
}

/** Whether a record names the hash of the record before it; what is no record of ours names none. */
function continues(entry, before, index) {
  if (entry === null || before === null) return false;
  let body = null;
  try {
    body = JSON.parse(textOf(entry) ?? "null");
  } catch {
    return true;
  }
  if (body === null || typeof body !== "object" || !Object.hasOwn(body, "prev")) return true;
  return body.prev === (index === 0 ? "0".repeat(64) : hex(sha256(before)));
}

const combinations = (choices) => choices.reduce((all, some) => all.flatMap((begun) => some.map((one) => [...begun, one])), [[]]);

/** The ranges of a row that nothing vouches for. */
function holes(row) {
  const out = [];
  for (let n = 0; n < row.length; n += 1) {
    if (row.known[n]) continue;
    if (out.length && out.at(-1)[1] === n - 1) out.at(-1)[1] = n;
    else out.push([n, n]);
  }
  return out;
}
