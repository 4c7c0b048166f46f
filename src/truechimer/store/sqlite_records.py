"""A laboratory's records: the stream `records` of the fabric in `evidence/records.sqlite3`, counted by its writer.

It does not read records and does not check chains (`evidence`, `laboratory.replay`). Each record names its own sequence
number, so the writer says where it goes: the same records again change nothing, and another writer is found at once.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from truechimer.store.fabric import Item, StoreMisuse
from truechimer.store.sqlite_check import Check
from truechimer.store.sqlite_fabric import SqliteFabric

STREAM = "records"
BUSY_S = 0.25
"""The thread that writes records also makes the time: it waits no longer for another process, and asks again later."""


class SqliteRecords:
    """Records of one laboratory in `path`. One writer; readers may open the file at the same time.

    Invariant: sequence numbers are 0, 1, 2 ... without a gap.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the file, made where it is missing unless `read_only`; raises `StoreRejected`.

        Who only reads gets the bytes as they are, and judges them by their own chain (`evidence.record.read`).
        """
        self.path = path
        how = Check.NOTHING if read_only else Check.TAIL
        self._fabric = SqliteFabric(path, read_only=read_only, open_check=how, busy_s=BUSY_S)

    def append(self, records: Iterable[tuple[int, bytes]]) -> None:
        """Write (seq, data) pairs, which follow each other, in one transaction; they are on the disk when this returns.

        Records that are there already, with the same bytes, are not written again. Raises `StoreRejected`,
        `StoreMisuse` where they do not follow each other.
        """
        items = [(seq, Item(str(seq), data)) for seq, data in records]
        if [seq for seq, _ in items] != list(range(items[0][0], items[0][0] + len(items)) if items else ()):
            raise StoreMisuse(f"records {items[0][0]} to {items[-1][0]} do not follow each other")
        if items:
            self._fabric.append_all(STREAM, [item for _, item in items], expect=items[0][0])

    def read(self, *, first: int = 0) -> Iterator[bytes]:
        """Yield the records' bytes from sequence number `first` on, in order; raises `StoreRejected` at a gap, a
        damaged record or a broken file.
        """
        for entry in self._fabric.read(STREAM, after=first - 1):
            yield entry.data

    def count(self) -> int:
        """Return how many records there are."""
        return self._fabric.health().ends.get(STREAM, 0)

    @property
    def is_of_older_form(self) -> bool:
        """True for a file in a form that opening it for writing would change."""
        return self._fabric.is_of_older_form

    def failing(self) -> str | None:
        """Return why the last write was refused; None where it was not."""
        return self._fabric.health().failing

    def close(self) -> None:
        """Close the file."""
        self._fabric.close()
