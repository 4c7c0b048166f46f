"""The stranger's verifier: all that a bundle is judged by, once more and by itself, on Python and `cryptography` alone.

It imports nothing of truechimer and nothing of truechimer imports its parts: two implementations that must agree (a
test holds them against each other). A copy of this text, with the few lines that read files, is the `verify.py` of
every bundle (`store.bundle_reader`). Sources: C2SP signed-note, tlog-checkpoint, tlog-cosignature, tlog-policy,
tlog-proof, tlog-tiles; RFC 6962.

Law of the file: whatever is not understood is refused; a policy that came with the evidence proves nothing.
"""

import base64
import hashlib
import json
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Read = Callable[[str], bytes | None]


class Unverified(Exception):
    """The evidence is not what a log of the policy signed."""


class Head(NamedTuple):
    """A checkpoint: origin, size, root."""

    origin: str
    size: int
    root: bytes


class Key(NamedTuple):
    """A verifier key: name, id, kind, public key."""

    name: str
    key_id: bytes
    kind: int
    public: bytes


class Policy(NamedTuple):
    """Logs, witnesses by name, groups in order, the quorum's name."""

    logs: list[Key]
    witnesses: dict[str, Key]
    groups: list[tuple[str, int, list[str]]]
    quorum: str


class Outcome(NamedTuple):
    """What was found. `first_bad`: the first entry that is not what was signed; None where none is."""

    head: Head
    witnessed: dict[str, int]
    entries: int
    first_bad: int | None
    faults: list[str]


def b64(text: str) -> bytes:
    """Read base64 in its one form."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        raise Unverified(f"not base64: {text[:40]!r}") from None
    if base64.b64encode(data).decode() != text:
        raise Unverified(f"base64 in another than its one form: {text[:40]!r}")
    return data


def number(text: str) -> int:
    """Read a decimal in its one form, below 2^63."""
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", text, re.ASCII) or int(text) >> 63:
        raise Unverified(f"not a number from 0 to 2^63 - 1: {text[:40]!r}")
    return int(text)


def hash32(text: str) -> bytes:
    """Read a SHA-256 hash in base64."""
    data = b64(text)
    if len(data) != 32:
        raise Unverified(f"a hash of {len(data)} bytes")
    return data


def key_of(text: str) -> Key:
    """Read NAME+ID+KEY, and compute the id."""
    name, plus, rest = text.partition("+")
    key_id, plus_too, encoded = rest.partition("+")
    if not (plus and plus_too and name) or any(letter.isspace() for letter in name):
        raise Unverified(f"not a verifier key: {text[:60]!r}")
    data = b64(encoded)
    found = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
    if found.hex() != key_id:
        raise Unverified(f"the key {name!r} has the id {found.hex()}, not {key_id[:20]!r}")
    if {1: 33, 4: 33, 6: 1313}.get(data[0] if data else 0) != len(data):
        raise Unverified(f"the key {name!r} is of a kind or length that is not judged here")
    return Key(name, found, data[0], data[1:])


def policy_of(data: bytes) -> Policy:
    """Read a tlog-policy."""
    if not data.endswith(b"\n") or re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", data):
        raise Unverified("the policy does not end with a newline, or has control characters")
    policy = Policy([], {}, [], "")
    names = set()
    quorum = None
    members_taken = set()
    publics = set()
    for row in data.decode("latin-1").split("\n"):
        words = [word for word in re.split("[ \t]+", row) if word]
        if not words or words[0].startswith("#"):
            continue
        if words[0] in ("log", "witness"):
            at = 1 if words[0] == "log" else 2
            if not at < len(words) <= at + 2:
                raise Unverified(f"policy: {row[:60]!r}")
            key = key_of(words[at].encode("latin-1").decode("utf-8", "replace"))
            if (words[0], key.public) in publics:
                raise Unverified("policy: a key stands twice")
            publics.add((words[0], key.public))
            if words[0] == "log":
                policy.logs.append(key)
                continue
            if key.kind not in (4, 6) or words[1] in names or words[1] == "none":
                raise Unverified(f"policy: {row[:60]!r}")
            names.add(words[1])
            policy.witnesses[words[1]] = key
        elif words[0] == "group" and len(words) >= 4:
            members = words[3:]
            if any(one not in names or one in members_taken for one in members) or len(set(members)) < len(members):
                raise Unverified(f"policy: a member of {words[1]!r} is unknown or in a group already")
            members_taken.update(members)
            least = {"any": "1", "all": str(len(members))}.get(words[2], words[2])
            if words[1] in names or words[1] == "none" or not 1 <= number(least) <= len(members):
                raise Unverified(f"policy: {row[:60]!r}")
            names.add(words[1])
            policy.groups.append((words[1], int(least), members))
        elif words[0] == "quorum" and len(words) == 2 and quorum is None and words[1] in names | {"none"}:
            quorum = words[1]
        else:
            raise Unverified(f"policy: {row[:60]!r} is not understood")
    if quorum is None:
        raise Unverified("policy: no quorum line")
    return policy._replace(quorum=quorum)


def _signed_by(key: Key, signature: bytes, text: bytes, head: Head) -> bool:
    """Return whether a key's signature over a checkpoint's text holds."""
    try:
        if key.kind == 1:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text)
            return True
        time = struct.unpack(">Q", signature[:8])[0]
        if time >> 63:
            return False
        if key.kind == 4:
            line = b"cosignature/v1\ntime %d\n" % time
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature[8:], line + text)
            return True
        try:
            from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
        except ImportError:
            raise Unverified(f"the key {key.name!r} is ML-DSA-44: install a newer `cryptography`") from None
        name, origin = key.name.encode(), head.origin.encode()
        message = b"subtree/v1\n\x00" + bytes([len(name)]) + name + struct.pack(">Q", time)
        message += bytes([len(origin)]) + origin + struct.pack(">QQ", 0, head.size) + head.root
        MLDSA44PublicKey.from_public_bytes(key.public).verify(signature[8:], message)
    except (InvalidSignature, ValueError, struct.error):
        return False
    return True


def checkpoint_of(note: bytes, policy: Policy) -> tuple[Head, dict[str, int]]:
    """Verify a checkpoint's note as the policy asks; return it, and when which witness saw it (seconds since 1970)."""
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError:
        raise Unverified("the checkpoint is not UTF-8") from None
    body, empty, lines = whole.rpartition("\n\n")
    if not empty or not lines.endswith("\n") or re.search("[\x00-\x09\x0b-\x1f]", whole) or len(note) > 1 << 20:
        raise Unverified("the checkpoint is no signed note")
    rows = (body + "\n").split("\n")[:-1]
    if len(rows) < 3 or not all(rows):
        raise Unverified("the checkpoint lacks origin, size or root")
    head = Head(rows[0], number(rows[1]), hash32(rows[2]))
    if head.size == 0 and head.root != hashlib.sha256(b"").digest():
        raise Unverified("an empty log with another root")
    text = (body + "\n").encode()
    good: dict[tuple[str, bytes], bytes] = {}
    known = {(key.name, key.key_id): key for key in [*policy.logs, *policy.witnesses.values()]}
    for line in lines[:-1].split("\n"):
        match = re.fullmatch("\u2014 ([^\\s+]+) ([A-Za-z0-9+/=]+)", line)
        data = b64(match.group(2)) if match else b""
        if match is None or len(data) < 5:
            raise Unverified(f"not a signature line: {line[:60]!r}")
        place = (match.group(1), data[:4])
        if place in known:
            if not _signed_by(known[place], data[4:], text, head):
                raise Unverified(f"the signature of {place[0]!r} does not hold over this checkpoint")
            good.setdefault(place, data[4:])
    if not any((key.name, key.key_id) in good and key.name == head.origin for key in policy.logs):
        raise Unverified(f"no log of the policy signed this checkpoint of {head.origin!r}")
    witnessed = {
        name: int(struct.unpack(">Q", good[key.name, key.key_id][:8])[0])
        for name, key in policy.witnesses.items()
        if (key.name, key.key_id) in good
    }
    done = set(witnessed)
    for name, least, members in policy.groups:
        if len(done.intersection(members)) >= least:
            done.add(name)
    if policy.quorum != "none" and policy.quorum not in done:
        raise Unverified(f"witnessed by {sorted(witnessed) or 'nobody'}: the policy asks for {policy.quorum!r}")
    return head, witnessed


def leaf(entry: bytes) -> bytes:
    """Return an entry's hash."""
    return hashlib.sha256(b"\x00" + entry).digest()


def tree_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    row = list(hashes)
    while len(row) > 1:  # an odd last hash moves up: the same tree as RFC 6962's split at the largest power of two
        above = [hashlib.sha256(b"\x01" + row[n] + row[n + 1]).digest() for n in range(0, len(row) - 1, 2)]
        row = above + row[len(row) & ~1 :]
    return row[0]


def check_proof(data: bytes, index: int, entry: bytes, policy: Policy) -> tuple[Head, dict[str, int]]:
    """Verify a tlog-proof of `entry` at `index`."""
    above, empty, note = data.partition(b"\n\n")
    lines = above.decode("ascii", "replace").split("\n")
    if lines.pop(0) != "c2sp.org/tlog-proof@v1" or not empty:
        raise Unverified("not a proof file")
    if lines and lines[0].startswith("extra "):
        b64(lines.pop(0)[6:])
    if not lines or lines.pop(0) != f"index {index}":
        raise Unverified(f"the proof is not of entry {index}")
    head, witnessed = checkpoint_of(note, policy)
    hashes = [hash32(line) for line in lines]
    if not 0 <= index < head.size:
        raise Unverified(f"entry {index} is not in a log of {head.size}")
    found, at, last = leaf(entry), index, head.size - 1
    for one in hashes:
        if last == 0:
            raise Unverified("the proof is too long")
        if at & 1 or at == last:
            found = hashlib.sha256(b"\x01" + one + found).digest()
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = hashlib.sha256(b"\x01" + found + one).digest()
        at, last = at >> 1, last >> 1
    if last or found != head.root:
        raise Unverified("its bytes are not those that were signed, or its proof was changed")
    return head, witnessed


def tile_name(level: str, index: int, width: int) -> str:
    """Return the name of a tile."""
    groups = []
    while True:
        groups.append(f"{index % 1000:03d}")
        index //= 1000
        if not index:
            break
    return (
        f"tile/{level}/"
        + "".join(f"x{one}/" for one in groups[:0:-1])
        + groups[0]
        + (f".p/{width}" if width < 256 else "")
    )


def tile_of(read: Read, level: str, index: int, width: int) -> tuple[bytes | None, bool]:
    """Return a tile, from its full form where the partial one is gone; and whether it is as wide as asked for."""
    data = read(tile_name(level, index, width))
    return (data, True) if data is not None or width == 256 else (read(tile_name(level, index, 256)), False)


def entries_in(data: bytes | None, width: int) -> tuple[list[bytes | None], int]:
    """Read a bundle of entries as far as it goes; return them, None for those that are not there, and what is left."""
    found: list[bytes | None] = []
    at = 0
    while data is not None and len(found) < width and at + 2 <= len(data):
        end = at + 2 + data[at] * 256 + data[at + 1]
        if end > len(data):
            break
        found.append(data[at + 2 : end])
        at = end
    return found + [None] * (width - len(found)), len(data or b"") - at


def level_of(read: Read, level: int, size: int) -> list[bytes | None]:
    """Return a level's hashes as its tiles have them; None for those of a tile that is missing or of another length."""
    row: list[bytes | None] = []
    filled = size >> 8 * level
    for index in range((filled + 255) // 256):
        width = min(256, filled - 256 * index)
        data, asked = tile_of(read, str(level), index, width)
        whole = data is not None and (len(data) == 32 * width or (not asked and len(data) == 8192))
        row += [data[n : n + 32] if whole and data else None for n in range(0, 32 * width, 32)]
    return row


def above(row: Sequence[bytes | None]) -> list[bytes | None]:
    """Return the hashes over each full tile of a level."""
    parts = (row[n : n + 256] for n in range(0, len(row) - 255, 256))
    return [None if None in part else tree_root([one for one in part if one]) for part in parts]


def whole_log(read: Read, head: Head) -> tuple[int, int | None, list[str]]:
    """Hash every entry of a log; return how many there are, the first bad one, and what is wrong.

    Where the entries do not lead to the signed root, the tiles of the lowest level are asked: if they do, each entry
    is judged by its own hash. (`truechimer evidence verify` looks further where both were changed.)
    """
    made: list[bytes | None] = []
    faults: list[str] = []
    for index in range((head.size + 255) // 256):
        width = min(256, head.size - 256 * index)
        data, asked = tile_of(read, "entries", index, width)
        entries, left = entries_in(data, width)
        made += [None if one is None else leaf(one) for one in entries]
        if left and asked and None not in entries:
            faults.append(f"{tile_name('entries', index, width)}: {left} bytes after its last entry")
        if data is None and len(made) > 1_000_000:
            raise Unverified("far more entries are missing than a copy of a log lacks")
    filed = level_of(read, 0, head.size)
    true = next(
        (row for row in (made, filed) if None not in row and tree_root([h for h in row if h]) == head.root), None
    )
    if true is None:
        first = next((n for n in range(head.size) if made[n] is None or made[n] != filed[n]), 0)
        return head.size, first, [f"from entry {first} on: neither entries nor tiles are what was signed", *faults]
    bad = [n for n in range(head.size) if made[n] != true[n]]
    faults += [f"entry {n}: its bytes are not those that were signed" for n in bad]
    level, row = 0, list(true)
    while row:
        for n, (one, other) in enumerate(zip(row, level_of(read, level, head.size), strict=True)):
            if one != other:
                faults.append(f"a tile of level {level} has another hash, or none, in place {n}")
                break
        level, row = level + 1, above(row)
    return head.size, bad[0] if bad else None, faults


def check_disclosed(entry: bytes, data: bytes) -> None:
    """Check that an entry committed to what is shown beside it."""
    try:
        shown, body = json.loads(data), json.loads(entry)
        salt, payload = b64(shown["salt"]), b64(shown["payload"])
        stands = body["commitment"]
    except (ValueError, LookupError, TypeError):
        raise Unverified("not a disclosure of this entry") from None
    if len(salt) != 32 or hashlib.sha256(b"truechimer commitment v1\n" + salt + payload).hexdigest() != stands:
        raise Unverified("what is shown is not what the entry committed to")


def verified(names: Iterable[str], read: Read, policy_text: bytes) -> Outcome:
    """Verify a bundle or a whole log: `names` of its files, and how to read them. Raises `Unverified`."""
    policy = policy_of(policy_text)
    every = sorted(names)
    heads: list[tuple[Head, dict[str, int]]] = []
    faults: list[str] = []
    bad: list[int] = []
    count = 0
    proved: dict[int, set[str]] = {}
    if "checkpoint" in every:
        heads.append(checkpoint_of(read("checkpoint") or b"", policy))
        if any(name.startswith("tile/") for name in every) or heads[0][0].size == 0:
            count, first, faults = whole_log(read, heads[0][0])
            bad += [] if first is None else [first]
    for name in every:
        match = re.fullmatch(r"(proofs|entries|disclosed)/(0|[1-9][0-9]{0,18})\.(tlog-proof|json)", name, re.ASCII)
        if match:
            proved.setdefault(int(match.group(2)), set()).add(match.group(1))
    for index in sorted(proved):
        entry = read(f"entries/{index}.json") or b""
        try:
            heads.append(check_proof(read(f"proofs/{index}.tlog-proof") or b"", index, entry, policy))
            if "disclosed" in proved[index]:
                check_disclosed(entry, read(f"disclosed/{index}.json") or b"")
            count += 1
        except Unverified as error:
            bad.append(index)
            faults.append(f"entry {index}: {error}")
    for name in every:
        if name.startswith("payloads/") and hashlib.sha256(read(name) or b"").hexdigest() != name[9:]:
            faults.append(f"{name}: its bytes do not have this hash")
    if not heads:
        raise Unverified(faults[0] if faults else "there is no checkpoint and no proof here")
    head, witnessed = max(heads, key=lambda one: one[0].size)
    sizes: dict[tuple[str, int], Any] = {}
    for one, _ in heads:
        if sizes.setdefault((one.origin, one.size), one.root) != one.root:
            raise Unverified(f"two roots were signed for the size {one.size}: the log shows two histories")
    return Outcome(head, witnessed, count, min(bad) if bad else None, faults)
