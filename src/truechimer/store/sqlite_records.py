"""The record store: one SQLite file that only grows; what `append` returned from is on the disk.

It does not read records and does not check chains (`evidence`, `laboratory.replay`). WAL mode with
`synchronous=FULL`: each `append` is one
transaction and one fsync (about 4 ms), so a whole epoch, or a batch of them, is committed together. A record is never
changed or removed:
triggers refuse it.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from truechimer.errors import Rejected

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (seq INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TRIGGER IF NOT EXISTS records_stay BEFORE UPDATE ON records BEGIN SELECT RAISE(ABORT, 'records are never
changed'); END;
CREATE TRIGGER IF NOT EXISTS records_remain BEFORE DELETE ON records BEGIN SELECT RAISE(ABORT, 'records are never
removed'); END;
"""


class RecordStoreRejected(Rejected):
    """The record file cannot be used."""


class SqliteRecords:
    """Records of one laboratory in `path`. One writer; readers may open the file at the same time.

    Invariant: sequence numbers are 0, 1, 2 ... without a gap.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the file, made where it is missing unless `read_only`; raises `RecordStoreRejected`."""
        self.path = path
        try:
            if read_only:
                if not path.is_file():
                    raise RecordStoreRejected(
                        f"{path}: there is no record file: name the laboratory's directory (or its records.sqlite3)"
                    )
                self._db = sqlite3.connect(
                    f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
                )
                self._db.execute("SELECT count(*) FROM (SELECT 1 FROM records LIMIT 1)")
            else:
                self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise RecordStoreRejected(
                f"{path}: cannot be used as a record file ({error}): check the disk and the file's rights"
            ) from None

    def append(self, records: Iterable[tuple[int, bytes]]) -> None:
        """Write (seq, data) pairs in one transaction; they are on the disk when this returns. Raises
        `RecordStoreRejected` and writes none.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("INSERT INTO records VALUES (?, ?)", records)
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise RecordStoreRejected(
                f"{self.path}: records not written ({error}): free space or repair the volume"
            ) from None

    def read(self, *, first: int = 0) -> Iterator[bytes]:
        """Yield the records' bytes from sequence number `first` on, in order; raises `RecordStoreRejected` at a gap
        or a broken file.
        """
        expected = first
        try:
            for seq, data in self._db.execute("SELECT seq, data FROM records WHERE seq >= ? ORDER BY seq", (first,)):
                if seq != expected:
                    raise RecordStoreRejected(f"{self.path}: record {expected} is missing")
                expected += 1
                yield bytes(data)
        except sqlite3.Error as error:
            raise RecordStoreRejected(f"{self.path}: cannot be read at record {expected} ({error})") from None

    def count(self) -> int:
        """Return how many records there are."""
        row = self._db.execute("SELECT coalesce(max(seq) + 1, 0) FROM records").fetchone()
        return int(row[0])

    def close(self) -> None:
        """Close the file."""
        self._db.close()
