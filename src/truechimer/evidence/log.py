"""The log as it grows: entries in, the tiles that changed and the new root out.

It signs nothing and writes nothing (`store.tiles`, the signer's process). It is a fold: the same entries from the same
edge give the same tiles, which is why a recovery needs nothing but the entries. Source: C2SP tlog-tiles.

Law of the file: an entry is never looked at, changed or dropped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from truechimer.evidence.merkle import EMPTY_ROOT, MOST_ENTRIES, Frontier, node_hash
from truechimer.evidence.tiles import (
    ENTRIES,
    HEIGHT,
    MOST_LEVELS,
    WIDTH,
    Tile,
    TileMisuse,
    bundled,
    entries_of,
    hashes_of,
)


@dataclass(frozen=True, slots=True)
class Edge:
    """The right edge of a log: the last, unfilled tile of each level (hashes) and of the entries.

    Invariant: `partial[l]` has (size >> 8 l) mod 256 hashes, `entries` size mod 256 entries.
    """

    size: int = 0
    partial: tuple[tuple[bytes, ...], ...] = ((),) * MOST_LEVELS
    entries: tuple[bytes, ...] = ()

    @property
    def root(self) -> bytes:
        """Return the root hash."""
        root: bytes | None = None
        for hashes in self.partial:
            for one in reversed(Frontier().extended(hashes).roots):
                root = one if root is None else node_hash(one, root)
        return EMPTY_ROOT if root is None else root


@dataclass(frozen=True, slots=True)
class Growth:
    """What entries added: the edge after them, and the bytes of every tile and bundle that is new or wider."""

    edge: Edge
    tiles: Mapping[Tile, bytes]


def grown(edge: Edge, entries: Sequence[bytes]) -> Growth:
    """Append entries; raises `TileMisuse` for one that is too long.

    Of a tile that was filled on the way only the full form is returned: partial tiles are needed for the sizes that are
    signed, and the size after these entries is the next that can be.
    """
    if edge.size + len(entries) > MOST_ENTRIES:
        raise TileMisuse("a log holds at most 2^63 - 1 entries")
    tiles: dict[Tile, bytes] = {}
    new = [sha256(b"\x00" + entry).digest() for entry in entries]
    _fill_bundles(tiles, edge, entries)
    partial = []
    for level in range(MOST_LEVELS):
        row = [*edge.partial[level], *new]
        first = edge.size >> (HEIGHT * (level + 1))
        above = []
        for n in range(len(row) // WIDTH):
            hashes = row[n * WIDTH : (n + 1) * WIDTH]
            tiles[Tile(level, first + n)] = b"".join(hashes)
            above.append(Frontier().extended(hashes).root)
        rest = row[len(row) - len(row) % WIDTH :]
        if rest and new:
            tiles[Tile(level, first + len(row) // WIDTH, len(rest))] = b"".join(rest)
        partial.append(tuple(rest))
        new = above
    row_of_entries = [*edge.entries, *entries]
    left = tuple(row_of_entries[len(row_of_entries) - len(row_of_entries) % WIDTH :])
    return Growth(Edge(edge.size + len(entries), tuple(partial), left), tiles)


def _fill_bundles(tiles: dict[Tile, bytes], edge: Edge, entries: Sequence[bytes]) -> None:
    """Add the entry bundles that are new or wider."""
    if not entries:
        return
    row, first = [*edge.entries, *entries], edge.size // WIDTH
    for n in range(0, len(row), WIDTH):
        part = row[n : n + WIDTH]
        tiles[Tile(ENTRIES, first + n // WIDTH, len(part))] = bundled(part)


def edge_of(size: int, fetch: Callable[[Tile], bytes]) -> Edge:
    """Read the edge of a log of `size` back from its last tiles; raises what `fetch` raises, and `TileRejected`.

    It believes the tiles: compare the root with what was signed.
    """
    partial: list[tuple[bytes, ...]] = []
    for level in range(MOST_LEVELS):
        filled = size >> (HEIGHT * level)
        tile = Tile(level, filled // WIDTH, filled % WIDTH) if filled % WIDTH else None
        partial.append(() if tile is None else tuple(hashes_of(tile, fetch(tile))))
    last = Tile(ENTRIES, size // WIDTH, size % WIDTH) if size % WIDTH else None
    return Edge(size, tuple(partial), () if last is None else tuple(entries_of(last, fetch(last))))
