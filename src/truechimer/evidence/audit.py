"""The audit of a whole log by a stranger: every entry against what the log signed, and the first bad one named.

It asks for files by name and believes none of them: only the policy's keys are believed. It does not judge what entries
say (`evidence.record`, `evidence.verdict`). Source: C2SP tlog-tiles; RFC 6962.

How a bad entry is found where the signed root alone says only "something differs": hashes are authenticated from the
root down. The right edge's tiles give the root; each hash in them vouches for one full tile below; the lowest tiles
vouch for entries. Where a tile itself was damaged, what the entries below hash to is tried in its place. Where both
were changed, the records' own chain (`prev`) narrows it down.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import product

from truechimer.evidence.log_policy import CheckpointDistrusted, LogPolicy, TrustedCheckpoint, judged
from truechimer.evidence.merkle import EMPTY_ROOT, Frontier, leaf_hash, perfect_root
from truechimer.evidence.tiles import ENTRIES, HEIGHT, MOST_LEVELS, WIDTH, Tile, TileRejected, hashes_of, tiles_of_level
from truechimer.quorum.note import LARGEST_NOTE

Read = Callable[[str], bytes | None]
"""Returns the file of that name below the log; None where it is absent."""
CHECKPOINT = "checkpoint"
MOST_MISSING = 1000
"""Bundles of entries: where more are missing, looking on costs time and finds nothing."""
_Row = list[bytes | None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is not as signed. `first` and `last`: the entries concerned (the same for one entry).

    `what`: `entry` (its bytes are not those that were signed), `tile` (only a tile is damaged: the entries hold),
    `range` (some entry from `first` to `last`, which cannot be told apart).
    """

    what: str
    first: int
    last: int
    says: str


@dataclass(frozen=True, slots=True)
class Audited:
    """What was found: the trusted checkpoint, and the faults in the order of their entries."""

    trusted: TrustedCheckpoint
    faults: tuple[Fault, ...]

    @property
    def first_bad(self) -> int | None:
        """Return the first entry that is not, or cannot be shown to be, what was signed; None where all are."""
        return next((fault.first for fault in self.faults if fault.what != "tile"), None)

    @property
    def holds(self) -> bool:
        """Return whether nothing at all was found."""
        return not self.faults


def audit(read: Read, policy: LogPolicy) -> Audited:
    """Check a whole log; raises `CheckpointDistrusted` where the policy does not believe its checkpoint."""
    note = read(CHECKPOINT)
    if note is None:
        raise CheckpointDistrusted("missing", f"there is no file {CHECKPOINT} here: nothing says what the log held")
    trusted = judged(note[: LARGEST_NOTE + 1], policy)
    log = _Log(read, trusted.checkpoint.size)
    return Audited(trusted, tuple(log.faults_under(trusted.checkpoint.root)))


class _Log:
    """The files of a log of a given size, and what they hash to."""

    def __init__(self, read: Read, size: int) -> None:
        self.size = size
        self._read = read
        self.entries: list[bytes | None] = []
        self._why: dict[int, str] = {}
        self._surplus: list[Fault] = []
        self._missing: list[int] = []
        for tile in tiles_of_level(size, ENTRIES):
            self.entries += self._bundle(tile)
            if len(self._missing) > MOST_MISSING:
                return
        self.made = _rows([None if one is None else leaf_hash(one) for one in self.entries])
        self.filed = [self._filed(level) for level in range(MOST_LEVELS)]

    def _tile(self, level: int, index: int) -> bytes | None:
        tile = Tile(level, index, min(WIDTH, (self.size >> (HEIGHT * max(level, 0))) - index * WIDTH))
        data = self._read(tile.path)
        return self._read(tile.full.path) if data is None and tile.width < WIDTH else data

    def _bundle(self, tile: Tile) -> list[bytes | None]:
        """Read a bundle as far as it goes."""
        data = self._tile(ENTRIES, tile.index)
        if data is None:
            self._why[tile.first] = f"{tile.path} is missing"
            self._missing.append(tile.first)
            return [None] * tile.width
        found: list[bytes | None] = []
        at = 0
        while len(found) < tile.width and at + 2 <= len(data):
            end = at + 2 + (data[at] << 8 | data[at + 1])
            if end > len(data):
                break
            found.append(data[at + 2 : end])
            at = end
        if len(found) < tile.width:
            self._why[tile.first + len(found)] = f"{tile.path} ends before its entry {tile.first + len(found)}"
        elif at != len(data) and self._read(tile.path) is not None:
            says = f"{tile.path} has {len(data) - at} bytes after its last entry"
            self._surplus.append(Fault("tile", tile.first, tile.first + tile.width - 1, says))
        return found + [None] * (tile.width - len(found))

    def _filed(self, level: int) -> _Row:
        """Return a level's hashes as the tiles say; None where a tile is missing or of another length."""
        row: _Row = []
        for tile in tiles_of_level(self.size, level):
            data = self._tile(level, tile.index)
            if data is not None and len(data) > tile.width * 32 and self._read(tile.path) is None:
                data = data[: tile.width * 32]
            try:
                row += hashes_of(tile, data or b"")
            except TileRejected:
                row += [None] * tile.width
        return row

    def faults_under(self, root: bytes) -> list[Fault]:
        """Return what does not agree with the signed root."""
        if len(self._missing) > MOST_MISSING:
            says = f"more than {MOST_MISSING} bundles of entries are missing: this is not a copy of the whole log"
            return [Fault("range", self._missing[0], self.size - 1, says)]
        if _root(self.made) == root:
            return sorted([*self._damaged_tiles(self.made), *self._surplus], key=lambda fault: fault.first)
        true_rows = self._authenticated(root)
        if true_rows is None:
            return self._narrowed(0, self.size - 1, "the log is not the one that was signed")
        faults = [*self._damaged_tiles(true_rows), *self._surplus]
        for first, last in _holes(true_rows[0]):
            faults += self._narrowed(first, last, "entries and the tiles above them were changed")
        for index, (is_so, signed) in enumerate(zip(self.made[0], true_rows[0], strict=True)):
            if signed is not None and is_so != signed:
                why = self._why.get(index, "its bytes are not those that were signed")
                faults.append(Fault("entry", index, index, f"entry {index}: {why}"))
        return sorted(faults, key=lambda fault: (fault.first, fault.what))

    def _damaged_tiles(self, true_rows: Sequence[_Row]) -> list[Fault]:
        """Return the tiles that do not say what is known to be true."""
        faults = []
        for level in range(MOST_LEVELS):
            for tile in tiles_of_level(self.size, level):
                place = slice(tile.index * WIDTH, tile.index * WIDTH + tile.width)
                true, filed = true_rows[level][place], self.filed[level][place]
                at = next((n for n in range(tile.width) if true[n] is not None and true[n] != filed[n]), None)
                if at is None:
                    continue
                what = "is missing or cut" if filed[at] is None else f"has another hash in its place {at}"
                first = (tile.index * WIDTH + at) << (HEIGHT * level)
                last = min(self.size, first + (1 << (HEIGHT * level))) - 1
                faults.append(Fault("tile", first, last, f"{tile.path} {what}"))
        return faults

    def _authenticated(self, root: bytes) -> list[_Row] | None:
        """Return the hashes that the signed root vouches for, level by level; None where not even the edge is known."""
        edges = [
            [row[len(row) - len(row) % WIDTH :] for row in (self.filed[level], self.made[level])]
            for level in range(MOST_LEVELS)
        ]
        choices = [[one] if one == other else [one, other] for one, other in edges]
        edge = next((list(chosen) for chosen in product(*choices) if _root_of_edge(chosen) == root), None)
        if edge is None:
            return None
        true: list[_Row] = [[] for _ in range(MOST_LEVELS)]
        for level in reversed(range(MOST_LEVELS)):
            above = true[level + 1] if level + 1 < MOST_LEVELS else []
            row: _Row = []
            for n, wanted in enumerate(above):
                place = slice(n * WIDTH, (n + 1) * WIDTH)
                row += next(
                    (part for part in (self.filed[level][place], self.made[level][place]) if _vouched(part, wanted)),
                    [None] * WIDTH,
                )
            true[level] = row + edge[level]
        return true

    def _narrowed(self, first: int, last: int, why: str) -> list[Fault]:
        """Return the fault of a range in which no hash tells one entry from another, narrowed by the records' chain."""
        broken = [n for n in range(first, last + 1) if not self._continues(n)]
        if not broken:
            says = f"entries {first} to {last}: {why}; their chain of hashes is whole"
            return [Fault("range", first, last, says)]
        # a record that does not continue the one before it: that one was changed, or this one
        at = max(first, broken[0] - (self.entries[broken[0]] is not None))
        return [Fault("range", at, last, f"entries {at} to {last}: {why}; their chain breaks at entry {broken[0]}")]

    def _continues(self, index: int) -> bool:
        """Return whether a record names the hash of the record before it."""
        entry = self.entries[index]
        before = self.entries[index - 1] if index else b""
        if entry is None or before is None:
            return False
        try:
            prev = json.loads(entry)["prev"]
        except (ValueError, LookupError, TypeError, RecursionError):
            return True
        return bool(prev == ("0" * 64 if index == 0 else sha256(before).hexdigest()))


def _rows(leaves: _Row) -> list[_Row]:
    """Return all levels of tiles over leaf hashes; a hash is None where one below it is."""
    rows = [leaves]
    for _ in range(1, MOST_LEVELS):
        below = rows[-1]
        full = (below[n : n + WIDTH] for n in range(0, len(below) - WIDTH + 1, WIDTH))
        rows.append([_perfect(part) for part in full])
    return rows


def _perfect(part: _Row) -> bytes | None:
    known = [one for one in part if one is not None]
    return perfect_root(known) if len(known) == WIDTH else None


def _vouched(part: _Row, wanted: bytes | None) -> bool:
    return wanted is not None and _perfect(part) == wanted


def _root(rows: Sequence[_Row]) -> bytes | None:
    return _root_of_edge([row[len(row) - len(row) % WIDTH :] for row in rows])


def _root_of_edge(edge: Sequence[_Row]) -> bytes | None:
    """Return the root over the unfilled tiles of every level; None where a hash is missing."""
    roots: list[bytes] = []
    for row in edge:
        known = [one for one in row if one is not None]
        if len(known) != len(row):
            return None
        roots = [*Frontier().extended(known).roots, *roots]
    if not roots:
        return EMPTY_ROOT
    root = roots[-1]
    for left in reversed(roots[:-1]):
        root = sha256(b"\x01" + left + root).digest()
    return root


def _holes(row: _Row) -> list[tuple[int, int]]:
    """Return the ranges of a row that nothing vouches for."""
    out: list[tuple[int, int]] = []
    for index, one in enumerate(row):
        if one is None:
            if out and out[-1][1] == index - 1:
                out[-1] = (out[-1][0], index)
            else:
                out.append((index, index))
    return out
