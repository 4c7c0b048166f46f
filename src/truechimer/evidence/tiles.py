"""Tiles: the tree as files of 256 hashes, the entries as bundles of 256, under the names that every reader asks for.

It reads and writes no file: names and bytes. Source: C2SP tlog-tiles.

Law of the file: a name is read only in the one form in which it is written, a tile only in its exact length.
"""

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from truechimer.errors import Misuse, Rejected
from truechimer.evidence.merkle import HASH_BYTES, MOST_ENTRIES, Node, perfect_root

WIDTH = 256
HEIGHT = 8
LARGEST_ENTRY = 0xFFFF
"""Bytes: an entry's length is a 16-bit number. What is larger goes in by its hash."""
LARGEST_TILE = WIDTH * HASH_BYTES
LARGEST_BUNDLE = WIDTH * (2 + LARGEST_ENTRY)
ENTRIES = -1
"""The `level` of entry bundles."""
MOST_LEVELS = 8
"""Levels 0 to 7 hold a tree of 2^63 - 1."""
_NAME = re.compile(r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


class TileRejected(Rejected):
    """A tile that is missing or not what its name says. `path` names it; `entry` the first entry it concerns."""

    def __init__(self, path: str, why: str, *, entry: int | None = None) -> None:
        """Keep the name."""
        super().__init__(f"{path}: {why}")
        self.path, self.why, self.entry = path, why, entry


class TileMisuse(Misuse):
    """A tile or an entry that no log has."""


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """The `index`-th tile of a level (or bundle of entries: level `ENTRIES`), with `width` of its 256 places filled."""

    level: int
    index: int
    width: int = WIDTH

    def __post_init__(self) -> None:
        """Refuse what has no name."""
        if not (ENTRIES <= self.level <= 63 and 0 <= self.index <= MOST_ENTRIES and 1 <= self.width <= WIDTH):
            raise TileMisuse(f"level {self.level}, index {self.index}, width {self.width}: there is no such tile")

    @property
    def path(self) -> str:
        """Return its name below the log's address."""
        digits = str(self.index)
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[n : n + 3] for n in range(0, len(digits), 3)]
        name = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
        level = "entries" if self.level == ENTRIES else str(self.level)
        return f"tile/{level}/{name}" + ("" if self.width == WIDTH else f".p/{self.width}")

    @property
    def full(self) -> "Tile":
        """Return the same tile with all its places filled."""
        return Tile(self.level, self.index)

    @property
    def first(self) -> int:
        """Return the first entry below it."""
        return self.index << (HEIGHT * (max(self.level, 0) + 1))


def tile_of(path: str) -> Tile:
    """Read a name; raises `TileRejected`."""
    found = _NAME.fullmatch(path)
    if found is None or len(path) > 100:
        raise TileRejected(path[:100], "is no name of a tile")
    level, groups, width = found.groups()
    index = int(groups.replace("x", "").replace("/", ""))
    if index > MOST_ENTRIES or int(width or 1) >= WIDTH:
        raise TileRejected(path, "is no name of a tile")
    tile = Tile(ENTRIES if level == "entries" else int(level), index, int(width or WIDTH))
    if tile.path != path:
        raise TileRejected(path, f"is no name of a tile: its one form is {tile.path}")
    return tile


def tiles_of(size: int) -> Iterator[Tile]:
    """Yield all tiles of a tree, level by level, and then its entry bundles."""
    for level in (*range(MOST_LEVELS), ENTRIES):
        yield from tiles_of_level(size, level)


def tiles_of_level(size: int, level: int) -> Iterator[Tile]:
    """Yield the tiles of one level of a tree; none where the tree does not reach it."""
    filled = size >> (HEIGHT * max(level, 0))
    for index in range(filled // WIDTH):
        yield Tile(level, index)
    if filled % WIDTH:
        yield Tile(level, filled // WIDTH, filled % WIDTH)


def covering(level: int, place: int, size: int) -> Tile:
    """Return the tile that holds the `place`-th hash of a level in a tree of `size`; raises `TileMisuse`."""
    filled = size >> (HEIGHT * max(level, 0))
    if not 0 <= place < filled:
        raise TileMisuse(f"level {level} of a tree of {size} has {filled} hashes, not the {place}th")
    index = place // WIDTH
    return Tile(level, index, min(WIDTH, filled - index * WIDTH))


def hashes_of(tile: Tile, data: bytes) -> list[bytes]:
    """Return a tile's hashes; raises `TileRejected` for another length."""
    if len(data) != tile.width * HASH_BYTES:
        raise TileRejected(
            tile.path, f"has {len(data)} bytes, {tile.width} hashes have {tile.width * HASH_BYTES}", entry=tile.first
        )
    return [data[n : n + HASH_BYTES] for n in range(0, len(data), HASH_BYTES)]


def bundled(entries: Sequence[bytes]) -> bytes:
    """Return an entry bundle; raises `TileMisuse` for an entry that is too long."""
    longest = max(map(len, entries), default=0)
    if longest > LARGEST_ENTRY:
        raise TileMisuse(f"an entry of {longest} bytes: {LARGEST_ENTRY} is the most; put its hash into the log")
    return b"".join(struct.pack(">H", len(one)) + one for one in entries)


def entries_of(tile: Tile, data: bytes) -> list[bytes]:
    """Return the entries of a bundle; raises `TileRejected`, which names the first entry that is not there."""
    entries: list[bytes] = []
    at = 0
    while len(entries) < tile.width:
        if at + 2 > len(data):
            raise TileRejected(tile.path, f"ends before its entry {len(entries)}", entry=tile.first + len(entries))
        end = at + 2 + (data[at] << 8 | data[at + 1])
        if end > len(data):
            raise TileRejected(tile.path, f"ends within its entry {len(entries)}", entry=tile.first + len(entries))
        entries.append(data[at + 2 : end])
        at = end
    if at != len(data):
        raise TileRejected(
            tile.path, f"has {len(data) - at} bytes after its {tile.width} entries", entry=tile.first + tile.width - 1
        )
    return entries


class TreeReader:
    """Answers for perfect subtrees of a tree of `size` from its tiles, each of which is fetched once.

    It believes the tiles: whoever makes a proof from them verifies it against a signed root before it goes out.
    """

    def __init__(self, size: int, fetch: Callable[[Tile], bytes]) -> None:
        """`fetch` returns a tile's bytes (as wide as asked for); it raises `Rejected` where it has none."""
        self.size = size
        self._fetch = fetch
        self._known: dict[Tile, list[bytes]] = {}

    def nodes(self, wanted: Sequence[Node]) -> list[bytes]:
        """Return the hashes of perfect subtrees; raises `TileRejected`, `TileMisuse`."""
        return [self._node(level, index) for level, index in wanted]

    def _node(self, level: int, index: int) -> bytes:
        high, low = divmod(level, HEIGHT)
        first = index << low
        tile = covering(high, first + (1 << low) - 1, self.size)
        if tile not in self._known:
            self._known[tile] = hashes_of(tile, self._fetch(tile))
        at = first - tile.index * WIDTH
        return perfect_root(self._known[tile][at : at + (1 << low)])
