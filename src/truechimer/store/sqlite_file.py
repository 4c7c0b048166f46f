"""Connections to a fabric's SQLite file: opening, what is looked at then, and opening again after a failure.

It knows no verbs. WAL mode with `synchronous=FULL`: a commit returns after the write-ahead log is on the disk. That
alone is not enough after a kill or a failed fsync. What was written without an fsync is seen by the next connection and
would be acknowledged again, by its id, without being on the disk; and after a failed fsync the kernel takes its pages
for clean, so that no later fsync brings them there. Therefore every connection for writing begins by carrying the whole
log over into the file, with an fsync of its own, and starts a new log (`_settle`). Opening also commits a count: then
the volume is known to be writable.
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from truechimer.store import sqlite_schema as schema
from truechimer.store.fabric import StoreBusy, StoreCorrupt, StoreIoFailed, StoreRejected
from truechimer.store.sqlite_check import Check, check
from truechimer.store.sqlite_errors import FAILURES, rejection

BUSY_S = 1.0
"""How long a write waits for another process that holds the same file: a laboratory must not be held up for longer."""
_WAL_KEPT_BYTES = 16 << 20
_COMPANIONS = ("", "-wal", "-shm")


class SqliteFile:
    """One file and how to connect to it. Invariant: `ends` and `last_rev` never fall."""

    def __init__(self, path: Path, *, read_only: bool, how: Check, revs_above: int, busy_s: float = BUSY_S) -> None:
        """Keep where it is; `prepare` opens it. `busy_s`: how long a write waits for another process."""
        self.path, self.read_only, self._busy_s = path, read_only, busy_s
        self.how, self._revs_above = how, revs_above
        self.form: int = schema.VERSION
        self.ends: dict[str, int] = {}
        """What has been acknowledged: stream and its next sequence number."""
        self.last_rev = 0
        self._immutable = False

    def prepare(self) -> sqlite3.Connection | None:
        """Check the file, make or bring it up where it is written; return the connection for writing (None read-only).

        Raises `StoreRejected`.
        """
        try:
            if self.read_only:
                with_check = self.reader()
                try:
                    self._look(with_check)
                finally:
                    with_check.close()
                return None
            return self._begin()
        except FAILURES as error:
            raise self.rejection(error, "opened") from None

    def rejection(self, error: Exception, doing: str = "written") -> StoreRejected:
        """Return the typed form of a failure."""
        return rejection(self.path, error, doing)

    def reader(self) -> sqlite3.Connection:
        """Return a connection that cannot write; raises `sqlite3.Error` or `StoreRejected`."""
        if not self.path.is_file():
            raise StoreIoFailed(
                str(self.path), "there is no such file: name the laboratory's directory, or start it first"
            )
        db = self._open("mode=ro")
        try:
            db.execute("SELECT count(*) FROM sqlite_schema")
        except sqlite3.OperationalError as error:
            db.close()
            # A write-ahead log needs a file beside it that a read-only folder does not let us make. Without a log in
            # use the file alone is the whole truth.
            if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY} or _has_log(
                self.path
            ):
                raise
            db = self._open("immutable=1")
        db.execute("PRAGMA query_only = ON")
        return db

    def connect(self) -> sqlite3.Connection:
        """Return a new connection for writing, after a failure; raises `StoreRejected` or `sqlite3.Error`.

        Raises `StoreCorrupt` where what was acknowledged is not there any more.
        """
        db = self._open("mode=rw")
        try:
            self._set_up(db)
            self._settle(db)
            self._still_there(db)
        except BaseException:
            db.close()
            raise
        return db

    def _begin(self) -> sqlite3.Connection:
        """Open for writing the first time."""
        db = self._open("mode=rwc")
        try:
            where = str(self.path)
            form = schema.form_of(db, where)
            if form == schema.VERSION:
                check(db, where, self.how)
            self._set_up(db)
            self._settle(db)
            db.execute("BEGIN IMMEDIATE")
            if form is None:
                schema.make(db)
                schema.set_meta(db, schema.LAST_REV, self._revs_above)
            elif form != schema.VERSION:
                schema.bring_up(db)
            schema.set_meta(db, schema.OPENS, schema.meta(db, schema.OPENS, where) + 1)
            db.execute("COMMIT")
            self._note(db)
        except BaseException:
            with suppress(sqlite3.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")
            db.close()
            raise
        return db

    def _look(self, db: sqlite3.Connection) -> None:
        """Check a file that is only read."""
        lenient = self.how is Check.NOTHING
        form = schema.columns_only(db) if lenient else schema.form_of(db, str(self.path))
        if form is None:
            raise StoreRejected(str(self.path), "holds no records: name a laboratory's directory")
        self.form = form
        if form == schema.VERSION:
            check(db, str(self.path), self.how)

    def _open(self, mode: str) -> sqlite3.Connection:
        """Connect, trusting nothing that the file brings along."""
        uri = f"{self.path.absolute().as_uri()}?{mode}"
        db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=self._busy_s)
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA cell_size_check = ON")
        db.execute("PRAGMA temp_store = MEMORY")
        return db

    def _set_up(self, db: sqlite3.Connection) -> None:
        """Make a connection one for writing."""
        (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreIoFailed(
                str(self.path), f"the volume cannot hold a write-ahead log (it offers {mode}): use a local disk"
            )
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}")

    def _settle(self, db: sqlite3.Connection) -> None:
        """Bring to the disk whatever can be seen; raises `StoreBusy` where a reader holds on to the log.

        SQLite does not say where the fsync of the folder failed, in which the log's name stands: so it is done here.
        """
        db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StoreBusy(str(self.path), "not written: another process reads this file without an end; end it first")
        sync_folder(self.path.parent)

    def _note(self, db: sqlite3.Connection) -> None:
        """Keep how far the file reaches."""
        self.ends = schema.ends_of(db)
        self.last_rev = schema.meta(db, schema.LAST_REV, str(self.path))

    def _still_there(self, db: sqlite3.Connection) -> None:
        """Raise `StoreCorrupt` where the file reaches less far than was acknowledged."""
        if schema.form_of(db, str(self.path)) != schema.VERSION:
            raise StoreCorrupt(str(self.path), "the file", "was replaced by another while it was in use")
        now, rev = schema.ends_of(db), schema.meta(db, schema.LAST_REV, str(self.path))
        for stream, end in self.ends.items():
            if now.get(stream, 0) < end:
                raise StoreCorrupt(
                    str(self.path),
                    f"stream {stream}",
                    f"ends at {now.get(stream, 0)} where {end} were on the disk",
                )
        if rev < self.last_rev:
            raise StoreCorrupt(
                str(self.path), "the keys", f"are at revision {rev} where {self.last_rev} was on the disk"
            )


def _has_log(path: Path) -> bool:
    """Return whether a write-ahead log with something in it lies beside the file."""
    log = path.with_name(path.name + "-wal")
    return log.is_file() and log.stat().st_size > 0


def set_aside(path: Path) -> Path | None:
    """Rename a damaged file and its companions, so that it can be looked at and a new one be made; None where there is
    none.

    For state that is rebuilt from a journal. A laboratory's records are never set aside by themselves.
    """
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    moved = None
    for companion in reversed(_COMPANIONS):  # the file itself last: until then the next try finds it again
        here = path.with_name(path.name + companion)
        if here.exists():
            moved = here.rename(aside.with_name(aside.name + companion))
    sync_folder(path.parent)
    return moved


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk; raises `StoreIoFailed`."""
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    except OSError as error:
        raise StoreIoFailed(str(folder), f"not written ({error.strerror}): check the disk") from None
