"""The records of a log, one after another, from the files that a stranger has: bundles of entries, payloads by hash.

It judges no signature and no hash of the tree (`evidence.audit` does): whoever reads on says first from which entry on
nothing is believed. Source: C2SP tlog-tiles.
"""

from collections.abc import Iterator
from hashlib import sha256

from truechimer.evidence.audit import Read
from truechimer.evidence.entry import hash_of_long, payload_path
from truechimer.evidence.record import RecordRejected
from truechimer.evidence.tiles import ENTRIES, WIDTH, Tile, TileRejected, entries_of


class LogRecords:
    """The records of a log of `size` entries in order: the entry itself, or the payload whose hash it is.

    `bad`: the first entry that is not what was signed, with the reason; reading ends there with `RecordRejected`.
    """

    def __init__(self, read: Read, size: int, *, bad: tuple[int, str] | None = None) -> None:
        """`read` returns a file of the log by its name."""
        self._read = read
        self._size = size
        self._bad = bad

    def count(self) -> int:
        """Return how many entries the log has."""
        return self._size

    def read(self, *, first: int = 0) -> Iterator[bytes]:
        """Yield the records from number `first` on; raises `RecordRejected` where one is missing or not believed."""
        index = first // WIDTH
        while index * WIDTH < self._size:
            width = min(WIDTH, self._size - index * WIDTH)
            entries, fault = self._bundle(Tile(ENTRIES, index, width))
            for at in range(max(first - index * WIDTH, 0), width):
                number = index * WIDTH + at
                if self._bad is not None and number >= self._bad[0]:
                    raise RecordRejected(number, self._bad[1])
                if at >= len(entries):
                    raise RecordRejected(number, fault)
                yield self._whole(number, entries[at])
            index += 1

    def _bundle(self, tile: Tile) -> tuple[list[bytes], str]:
        """Return a bundle's entries as far as they go, and why they go no further."""
        data = self._read(tile.path)
        if data is None and tile.width < WIDTH:
            tile = tile.full
            data = self._read(tile.path)
        if data is None:
            return [], f"{tile.path} is missing"
        try:
            return entries_of(tile, data), ""
        except TileRejected as error:
            there = (error.entry or tile.first) - tile.first
            found, at = [], 0
            for _ in range(min(there, tile.width)):
                end = at + 2 + (data[at] << 8 | data[at + 1])
                found.append(data[at + 2 : end])
                at = end
            return found, str(error)

    def _whole(self, number: int, entry: bytes) -> bytes:
        """Return the record that an entry stands for."""
        digest = hash_of_long(entry)
        if digest is None:
            return entry
        data = self._read(payload_path(digest))
        if data is None or sha256(data).hexdigest() != digest:
            raise RecordRejected(number, f"the record of hash {digest} is not here, or not with these bytes")
        return data
