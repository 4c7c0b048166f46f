"""Bundles: what is handed to a stranger, made from a log's files, and judged again as a stranger would.

It reads and writes no file: names and bytes. A bundle of single entries holds `proofs/N.tlog-proof` and
`entries/N.json` for each, `disclosed/N.json` where a commitment is opened, `payloads/HASH` for records too long for an
entry; a bundle of the whole log holds its `checkpoint` and `tile/...` as they are. Both hold `policy`, `verify.py`,
`verify.html`, `README.md`, which prove nothing.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from truechimer.errors import Rejected
from truechimer.evidence.audit import CHECKPOINT, Read, audit
from truechimer.evidence.checkpoint import checkpoint
from truechimer.evidence.disclosure import Disclosure, DisclosureRejected, check_disclosed, disclosure
from truechimer.evidence.entry import hash_of_long, payload_path
from truechimer.evidence.log_policy import CheckpointDistrusted, LogPolicy, TrustedCheckpoint
from truechimer.evidence.merkle import HASH_BYTES, check_inclusion, inclusion_proof, leaf_hash
from truechimer.evidence.proof import ProofFile, ProofFileRejected, check_entry, proof_file
from truechimer.evidence.tiles import (
    ENTRIES,
    WIDTH,
    Tile,
    TileRejected,
    TreeReader,
    covering,
    entries_of,
    tiles_of,
    tiles_of_level,
)
from truechimer.quorum.note import parsed

README = """\
# Evidence of a time laboratory

{what}

Two commands on any machine with Python 3.10 or later, without a network for the second:

    python3 -m pip install cryptography
    python3 verify.py --policy YOUR-POLICY

`YOUR-POLICY` says whose log and whose witnesses you believe (C2SP tlog-policy). Take the keys from where you trust
them: the laboratory's web page, its calibration certificate, the witnesses themselves. The file `policy` in this bundle
is the sender's suggestion and proves nothing.

Or open `verify.html` in a browser: it asks no network, and judges what you choose or drop on it by your policy.

It answers `ok` and how many entries are what was signed, or names the first that is not. That an entry was signed and
witnessed says that it stood in the log then and was not changed since; whether what it says is right is another
question (`truechimer verdict`). Any other reader of C2SP tlog-tiles or tlog-proof files can judge the same files.

Log: {origin}, {size} entries, root {root}
"""
_PROVED = re.compile(r"(proofs|entries|disclosed)/(0|[1-9][0-9]{0,18})\.(tlog-proof|json)", re.ASCII)
_PAYLOAD = re.compile(r"payloads/([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Judged:
    """What evidence is worth under a policy. `first_bad`: the first entry that is not what was signed, None where all
    are; `entries`: how many were looked at; `faults`: sentences in the order of entries.
    """

    trusted: TrustedCheckpoint
    entries: int
    first_bad: int | None
    faults: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Return whether nothing at all is wrong."""
        return not self.faults


def fetching(read: Read) -> Callable[[Tile], bytes]:
    """Return how a tile is read from a log's files, from its full form where the partial one is gone; the result raises
    `TileRejected` where there is neither.
    """

    def fetch(tile: Tile) -> bytes:
        data = read(tile.path)
        if data is None and tile.width < WIDTH and tile.level != ENTRIES:
            whole = read(tile.full.path)
            data = None if whole is None else whole[: tile.width * HASH_BYTES]
        if data is None:
            raise TileRejected(tile.path, "is missing", entry=tile.first)
        return data

    return fetch


def entry_at(read: Read, index: int, size: int) -> bytes:
    """Return one entry of a log of `size`; raises `TileRejected`."""
    tile = covering(ENTRIES, index, size)
    data = read(tile.path)
    if data is None:
        tile = tile.full
        data = fetching(read)(tile)
    return entries_of(tile, data)[index - tile.first]


def proof_of(read: Read, note: bytes, index: int) -> ProofFile:
    """Return the proof of one entry under a checkpoint's note; raises `TileRejected`, `TreeMisuse`, and `ProofRejected`
    where the tiles do not lead to the checkpoint: a wrong proof never goes out.
    """
    head = checkpoint(parsed(note).text)
    hashes = inclusion_proof(index, head.size, TreeReader(head.size, fetching(read)).nodes)
    leaf = leaf_hash(entry_at(read, index, head.size))
    check_inclusion(leaf, index, head.size, proof=hashes, root=head.root)
    return ProofFile(index, hashes, note)


def bundled(
    read: Read,
    *,
    indexes: Sequence[int] | None,
    policy: bytes,
    verifier: str,
    page: str = "",
    disclosed: Mapping[int, Disclosure],
    record: Callable[[int], bytes],
) -> Iterator[tuple[str, bytes]]:
    """Yield a bundle's files: of single entries, or (`indexes` None) of the whole log.

    `policy`: the sender's suggestion; `verifier`: the text of `verify.py`; `page`: that of `verify.html`;
    `disclosed`: commitments to open; `record` returns a whole record where the log holds its hash only. Raises as
    `proof_of`, `DisclosureRejected`.
    """
    note = read(CHECKPOINT) or b""
    head = checkpoint(parsed(note).text)
    count = len(set(indexes)) if indexes is not None else head.size
    what = f"{count} entries of its log, each with a proof." if indexes is not None else "Its whole log."
    text = README.format(what=what, origin=head.origin, size=head.size, root=head.root.hex())
    yield from (("README.md", text.encode()), ("policy", policy), ("verify.py", verifier.encode()))
    if page:
        yield "verify.html", page.encode()
    if indexes is None:
        yield CHECKPOINT, note
        fetch = fetching(read)
        for tile in tiles_of(head.size):
            if tile.level == ENTRIES and read(tile.path) is None:
                yield tile.full.path, fetch(tile.full)
            else:
                yield tile.path, fetch(tile)
        for index, entry in enumerate(_entries(read, head.size)):
            if (name := hash_of_long(entry)) is not None:
                yield payload_path(name), record(index)
    for index in sorted(set(indexes or ())):
        entry = entry_at(read, index, head.size)
        yield f"proofs/{index}.tlog-proof", proof_of(read, note, index).data
        yield f"entries/{index}.json", entry
        if index in disclosed:
            check_disclosed(entry, disclosed[index])
            yield f"disclosed/{index}.json", disclosed[index].data
        if (name := hash_of_long(entry)) is not None:
            yield payload_path(name), record(index)


def _entries(read: Read, size: int) -> Iterator[bytes]:
    """Yield the entries of a log as they stand; raises `TileRejected`."""
    for tile in tiles_of_level(size, ENTRIES):
        data = read(tile.path)
        whole = tile if data is not None else tile.full
        yield from entries_of(whole, fetching(read)(whole) if data is None else data)[: tile.width]


def judged_bundle(names: Iterable[str], read: Read, policy: LogPolicy) -> Judged:
    """Judge a bundle or a log: `names` of its files and how to read them.

    Raises `CheckpointDistrusted` where no checkpoint in it is believed, and where two of them contradict each other.
    """
    every = set(names)
    trusted: list[TrustedCheckpoint] = []
    faults: list[tuple[int, str]] = []
    bad: list[int] = []
    count = 0
    if CHECKPOINT in every or any(name.startswith("tile/") for name in every):
        found = audit(read, policy)
        trusted.append(found.trusted)
        count += found.trusted.checkpoint.size
        faults += [(fault.first, fault.says) for fault in found.faults]
        bad += [] if found.first_bad is None else [found.first_bad]
    single = sorted({int(match.group(2)) for name in every if (match := _PROVED.fullmatch(name))})
    distrusted: CheckpointDistrusted | None = None
    for index in single:
        try:
            trusted.append(_judged_entry(index, every, read, policy))
            count += 1
        except CheckpointDistrusted as error:
            distrusted = error
            bad.append(index)
            faults.append((index, f"entry {index}: {error}"))
        except Rejected as error:
            bad.append(index)
            faults.append((index, f"entry {index}: {error}"))
    for name in sorted(every):
        match = _PAYLOAD.fullmatch(name)
        if match and sha256(read(name) or b"").hexdigest() != match.group(1):
            faults.append((-1, f"{name}: its bytes do not have this hash"))
    if not trusted:
        raise distrusted or CheckpointDistrusted(
            "missing", faults[0][1] if faults else "there is no checkpoint and no proof here: nothing to verify"
        )
    _no_fork(trusted)
    newest = max(trusted, key=lambda one: one.checkpoint.size)
    return Judged(newest, count, min(bad, default=None), tuple(says for _, says in sorted(faults)))


def _judged_entry(index: int, every: set[str], read: Read, policy: LogPolicy) -> TrustedCheckpoint:
    """Judge one entry with its proof, and what is disclosed of it; raises `Rejected`."""
    entry = read(f"entries/{index}.json")
    if entry is None:
        raise ProofFileRejected(0, "its bytes are missing")
    proof = proof_file(read(f"proofs/{index}.tlog-proof") or b"")
    if proof.index != index:
        raise ProofFileRejected(0, f"it is of entry {proof.index}")
    trusted = check_entry(entry, proof, policy)
    if f"disclosed/{index}.json" in every:
        data = read(f"disclosed/{index}.json")
        if data is None:
            raise DisclosureRejected("it cannot be read")
        check_disclosed(entry, disclosure(data))
    return trusted


def _no_fork(trusted: Sequence[TrustedCheckpoint]) -> None:
    """Refuse two roots for one size of one log."""
    roots: dict[tuple[str, int], bytes] = {}
    for one in trusted:
        head = one.checkpoint
        if roots.setdefault((head.origin, head.size), head.root) != head.root:
            raise CheckpointDistrusted(
                "fork", f"two roots were signed for the size {head.size}: the log shows two histories: keep both"
            )
