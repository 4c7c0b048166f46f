// Files out of a zip archive, by name: its directory is read once, a file when it is asked for. Stored and deflated files
// of archives without ZIP64 (65,534 files, 4 GiB); anything else is refused. Source: APPNOTE.TXT 6.3, 4.3.7, 4.3.12, 4.3.16.
//
// Law of the file: sizes are bounds that are held, not promises that are believed; a name that stands twice refuses the
// archive.

import { Unverified } from "./signed_note.js";

const [END, ENTRY, LOCAL] = [0x06054b50, 0x02014b50, 0x04034b50];
const END_BYTES = 22;
const LONGEST_COMMENT = 0xffff;
const LARGEST_UNPACKED = 1 << 28;

/** Read an archive (a Blob): its names, and how to read them; raises Unverified ("zip"). */
export async function zipOf(blob) {
  const refuse = (why) => new Unverified("zip", `the zip file ${why}`);
  const tail = await octetsOf(blob, Math.max(0, blob.size - END_BYTES - LONGEST_COMMENT), blob.size);
  let at = tail.byteLength - END_BYTES;
  while (at >= 0 && tail.getUint32(at, true) !== END) at -= 1;
  if (at < 0) throw refuse("is none, or is cut short: it has no directory");
  const [count, length, begin] = [tail.getUint16(at + 10, true), tail.getUint32(at + 12, true), tail.getUint32(at + 16, true)];
  if (count === 0xffff || begin === 0xffffffff) throw refuse("is too large for a browser (ZIP64): unpack it, and choose the folder");
  if (begin + length > blob.size) throw refuse("is cut short: its directory lies outside");
  const directory = await octetsOf(blob, begin, begin + length);
  const files = new Map();
  let place = 0;
  for (let n = 0; n < count; n += 1) {
    if (place + 46 > length || directory.getUint32(place, true) !== ENTRY) throw refuse("has a damaged directory");
    const [flags, method] = [directory.getUint16(place + 8, true), directory.getUint16(place + 10, true)];
    const [packed, whole, from] = [20, 24, 42].map((field) => directory.getUint32(place + field, true));
    const [name, extra, comment] = [28, 30, 32].map((field) => directory.getUint16(place + field, true));
    if (place + 46 + name + extra + comment > length) throw refuse("has a damaged directory");
    const text = new TextDecoder().decode(new Uint8Array(directory.buffer, place + 46, name));
    if (files.has(text)) throw refuse(`has the name ${JSON.stringify(text.slice(0, 100))} twice: readers differ on it`);
    files.set(text, { method, packed, whole, from, encrypted: (flags & 1) === 1 });
    place += 46 + name + extra + comment;
  }
  return { names: new Set(files.keys()), read: async (name) => (files.has(name) ? unpacked(blob, files.get(name)) : null) };
}

async function octetsOf(blob, from, to) {
  return new DataView(await blob.slice(from, to).arrayBuffer());
}

/** One file's octets; null where it cannot be read as its directory says. */
async function unpacked(blob, { method, packed, whole, from, encrypted }) {
  if (encrypted || whole >= LARGEST_UNPACKED || from + 30 > blob.size) return null;
  const head = await octetsOf(blob, from, from + 30);
  if (head.getUint32(0, true) !== LOCAL) return null;
  const begin = from + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const data = blob.slice(begin, begin + packed);
  if (method === 0) return packed === whole && data.size === whole ? new Uint8Array(await data.arrayBuffer()) : null;
  return method === 8 ? inflated(data, whole) : null;
}

/** Deflated octets as they were, exactly as many as announced; null where there are more, fewer, or nonsense. */
async function inflated(data, whole) {
  const out = new Uint8Array(whole);
  let at = 0;
  const reader = data.stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return at === whole ? out : null;
      if (at + value.length > whole) {
        await reader.cancel();
        return null;
      }
      out.set(value, at);
      at += value.length;
    }
  } catch {
    return null;
  }
}
