"""The fabric on one SQLite file: eight verbs, durable when they return, checked when they read.

It does not know what is stored; the duties of each verb stand in `fabric.Fabric`. Tables: `sqlite_schema`; what opening
looks at: `sqlite_file`, `sqlite_check`; how threads share an fsync: `group_commit`. Several processes may open one
file; `tell` and `hear` stay within one.
"""

import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Condition, Lock
from typing import Any, TypeVar

from truechimer.store import sqlite_schema as schema
from truechimer.store.fabric import (
    BEFORE_FIRST,
    Entry,
    Health,
    Hearing,
    Item,
    Job,
    StoreClosed,
    StoreConflict,
    StoreMisuse,
    StoreRejected,
    Value,
    printable_name,
    sized,
    stream_name,
)
from truechimer.store.group_commit import GroupCommit
from truechimer.store.hearing import Hall
from truechimer.store.sqlite_check import Check, check, verify_entry, verify_place, verify_value
from truechimer.store.sqlite_errors import FAILURES
from truechimer.store.sqlite_file import BUSY_S, SqliteFile

_T = TypeVar("_T")

_PAGE = 256
"""Entries that one look at the file reads: no reader holds the write-ahead log for longer."""
_LOOK_EVERY_S = 0.05
"""How often a follower looks for what other processes wrote; its own process tells it at once."""


class SqliteFabric:
    """A fabric in `path`. Invariant: no reader sees what is not durable."""

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        open_check: Check = Check.WHOLE,
        revs_above: int = 0,
        busy_s: float = BUSY_S,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        boot_id: str | None = None,
    ) -> None:
        """Open the file, made where it is missing unless `read_only`; raises `StoreRejected`.

        `open_check`: how much is looked at first; `NOTHING` only with `read_only`. `revs_above`: where a file is made,
        its revisions go on above this (a state that was thrown away must not give out old fencing tokens again).
        `busy_s`: how long a write waits for another process. `monotonic_ns`, `boot_id`: the clock of leases.
        """
        if open_check is Check.NOTHING and not read_only:
            raise StoreMisuse("a file that nobody looked at is not written")
        self.path = path
        self._file = SqliteFile(path, read_only=read_only, how=open_check, revs_above=revs_above, busy_s=busy_s)
        self._writer = GroupCommit(self._file, on_commit=self._changed_now)
        self._monotonic_ns, self._boot_id = monotonic_ns, boot_id or _boot_id()
        self._changed = Condition()
        self._hall = Hall()
        self._reader: sqlite3.Connection | None = None
        self._reading = Lock()
        self._closed = False
        self._writer.adopt(self._file.prepare())

    # ---- streams ----------------------------------------------------------------------------------------------------

    def append(self, stream: str, data: bytes, *, item_id: str) -> int:
        """See `fabric.Fabric.append`."""
        return self.append_all(stream, (Item(item_id, data),))[0]

    def append_all(self, stream: str, items: Sequence[Item], *, expect: int | None = None) -> tuple[int, ...]:
        """See `fabric.Fabric.append_all`."""
        stream_name(stream)
        for item in items:
            printable_name(item.item_id)
            sized(item.data)
        if not items:
            return ()
        seqs: tuple[int, ...] = self._write(lambda db: self._append(db, stream, items, expect))
        with self._changed:
            self._file.ends[stream] = max(self._file.ends.get(stream, 0), max(seqs) + 1)
        return seqs

    def _append(
        self, db: sqlite3.Connection, stream: str, items: Sequence[Item], expect: int | None
    ) -> tuple[int, ...]:
        """Append inside a transaction."""
        if not schema.has_stream(db, stream):
            schema.make_stream(db, stream)
        end = schema.end_of(db, stream)
        if len(items) > 1 and expect in {None, end} and self._append_new(db, stream, items, end):
            return tuple(range(end, end + len(items)))
        seqs: list[int] = []
        for number, item in enumerate(items):
            found = db.execute(f'SELECT * FROM "{stream}" WHERE id = ?', (item.item_id,)).fetchone()
            if found is not None:
                verify_entry(str(self.path), stream, found[0], found)
                if found[2] != item.data:
                    self._conflict(f"entry {found[0]} of {stream} has the same id {item.item_id} and other data")
                seq = int(found[0])
            else:
                seq = end
                end += 1
            if expect is not None and seq != expect + number:
                self._conflict(
                    f"{stream}: the next entry is {seq}, not {expect + number}: another writer was here; let one write"
                )
            if found is None:
                row = (seq, item.item_id, item.data, schema.entry_digest(stream, seq, item.item_id, item.data))
                db.execute(f'INSERT INTO "{stream}" VALUES (?, ?, ?, ?)', row)
            seqs.append(seq)
        return tuple(seqs)

    def _append_new(self, db: sqlite3.Connection, stream: str, items: Sequence[Item], end: int) -> bool:
        """Append items none of whose ids is there, which costs a third; False, with nothing done, where one is."""
        rows = (
            (seq, item.item_id, item.data, schema.entry_digest(stream, seq, item.item_id, item.data))
            for seq, item in enumerate(items, end)
        )
        db.execute("SAVEPOINT many")
        try:
            db.executemany(f'INSERT INTO "{stream}" VALUES (?, ?, ?, ?)', rows)
            new = True
        except sqlite3.IntegrityError:
            db.execute("ROLLBACK TO many")
            new = False
        db.execute("RELEASE many")  # another failure ends the whole transaction: nothing is left to release
        return new

    def read(self, stream: str, *, after: int = BEFORE_FIRST, wait_s: float = 0.0) -> Iterator[Entry]:
        """See `fabric.Fabric.read`."""
        stream_name(stream)
        return self._followed(lambda last: self._page(stream, last), after, lambda entry: entry.seq, wait_s)

    def _page(self, stream: str, after: int) -> Iterator[Entry]:
        """Yield the next entries after `after`, as many as one look reads, checked."""
        rows = self._look(lambda db: schema.entries(db, stream, after, _PAGE, form=self._file.form))
        for expected, row in enumerate(rows, after + 1):
            if self._file.how is Check.NOTHING:
                verify_place(str(self.path), stream, expected, row[0])
            else:
                verify_entry(str(self.path), stream, expected, row)
            yield Entry(row[0], row[1], row[2])

    # ---- keys -------------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Value | None:
        """See `fabric.Fabric.get`."""
        printable_name(key)
        if self._file.form != schema.VERSION:
            return None
        query = "SELECT rev, key, data, digest FROM fabric_keys WHERE key = ?"
        row = self._look(lambda db: db.execute(query, (key,)).fetchone())
        return None if row is None else self._value(row)

    def put(self, key: str, data: bytes, *, expect: int | None) -> int:
        """See `fabric.Fabric.put`."""
        printable_name(key)
        sized(data)
        rev: int = self._write(lambda db: self._put(db, key, data, expect))
        with self._changed:
            self._file.last_rev = max(self._file.last_rev, rev)
        return rev

    def _put(self, db: sqlite3.Connection, key: str, data: bytes, expect: int | None) -> int:
        """Put inside a transaction."""
        found = db.execute("SELECT rev FROM fabric_keys WHERE key = ?", (key,)).fetchone()
        there = int(found[0]) if found else 0
        if expect is not None and there != expect:
            self._conflict(f"key {key} is at revision {there}, not {expect}: read it again")
        where = str(self.path)
        rev = schema.meta(db, schema.LAST_REV, where) + 1
        schema.set_meta(db, schema.LAST_REV, rev)
        if found:
            db.execute("DELETE FROM fabric_keys WHERE rev = ?", (there,))
        else:
            schema.set_meta(db, schema.KEYS, schema.meta(db, schema.KEYS, where) + 1)
        db.execute(
            "INSERT INTO fabric_keys VALUES (?, ?, ?, ?)", (rev, key, data, schema.digest("key", rev, key, data))
        )
        return rev

    def watch(self, prefix: str, *, after_rev: int = 0, wait_s: float = 0.0) -> Iterator[Value]:
        """See `fabric.Fabric.watch`."""
        if prefix:
            printable_name(prefix)
        query = (
            "SELECT rev, key, data, digest FROM fabric_keys WHERE rev > ? AND substr(key, 1, ?) = ? "
            "ORDER BY rev LIMIT ?"
        )

        def page(last: int) -> Iterator[Value]:
            if self._file.form != schema.VERSION:
                return iter(())
            rows = self._look(lambda db: db.execute(query, (last, len(prefix), prefix, _PAGE)).fetchall())
            return map(self._value, rows)

        return self._followed(page, after_rev, lambda value: value.rev, wait_s)

    def _value(self, row: Any) -> Value:
        """Return a value whose digest agrees; raises `StoreCorrupt`."""
        verify_value(str(self.path), row)
        return Value(str(row[1]), bytes(row[2]), int(row[0]))

    # ---- what is said, and what is lent -----------------------------------------------------------------------------

    def tell(self, subject: str, data: bytes) -> None:
        """See `fabric.Fabric.tell`."""
        self._open()
        self._hall.tell(printable_name(subject), sized(data))

    def hear(self, subject: str) -> Hearing:
        """See `fabric.Fabric.hear`."""
        self._open()
        return self._hall.hear(printable_name(subject))

    def take(self, queue: str, n: int, *, lease_s: float) -> tuple[Job, ...]:
        """See `fabric.Fabric.take`."""
        stream_name(queue)
        if n < 1 or not 0.0 < lease_s < math.inf:
            raise StoreMisuse(f"{n} jobs for {lease_s} s: take at least one, for a finite time above 0")
        jobs: tuple[Job, ...] = self._write(lambda db: self._take(db, queue, n, round(lease_s * 1e9)))
        return jobs

    def _take(self, db: sqlite3.Connection, queue: str, n: int, lease_ns: int) -> tuple[Job, ...]:
        """Lend inside a transaction."""
        if not schema.has_stream(db, queue):
            return ()
        now_ns, where = self._monotonic_ns(), str(self.path)
        token = schema.meta(db, schema.LAST_TOKEN, where)
        jobs = []
        free = db.execute(
            f'SELECT e.seq, e.id, e.data, e.digest, coalesce(l.attempt, 0) FROM "{queue}" e '
            "LEFT JOIN fabric_loans l ON l.queue = ? AND l.seq = e.seq "
            "WHERE l.seq IS NULL OR (l.done = 0 AND (l.boot <> ? OR l.until_ns <= ?)) ORDER BY e.seq LIMIT ?",
            (queue, self._boot_id, now_ns, n),
        ).fetchall()
        for *row, attempt in free:
            verify_entry(where, queue, row[0], (row[0], row[1], row[2], row[3]))
            token += 1
            self._lend(db, (queue, row[0], token, attempt + 1, self._boot_id, now_ns + lease_ns, 0))
            jobs.append(Job(queue, row[0], bytes(row[2]), token, attempt + 1))
        if jobs:
            schema.set_meta(db, schema.LAST_TOKEN, token)
        return tuple(jobs)

    def _lend(self, db: sqlite3.Connection, loan: tuple[str, int, int, int, str, int, int]) -> None:
        """Write a loan inside a transaction."""
        db.execute(
            "INSERT OR REPLACE INTO fabric_loans VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*loan, schema.digest("loan", *loan))
        )

    def done(self, job: Job) -> bool:
        """See `fabric.Fabric.done`."""
        stream_name(job.queue)
        return bool(self._write(lambda db: self._done(db, job)))

    def _done(self, db: sqlite3.Connection, job: Job) -> bool:
        """Close a loan inside a transaction."""
        row = db.execute("SELECT * FROM fabric_loans WHERE queue = ? AND seq = ?", (job.queue, job.seq)).fetchone()
        if row is None or row[2] != job.token:
            return False
        if not row[6]:
            self._lend(db, (*row[:6], 1))
        return True

    # ---- the whole --------------------------------------------------------------------------------------------------

    @property
    def is_of_older_form(self) -> bool:
        """True for a file that was opened for reading, in a form that opening it for writing would change."""
        return self._file.form != schema.VERSION

    def health(self) -> Health:
        """See `fabric.Fabric.health`."""
        failing = self._writer.failing
        try:
            ends, rev = self._look(self._reached)
        except StoreRejected:  # then what was acknowledged here is what is known
            ends, rev = dict(self._file.ends), self._file.last_rev
        stored = 0
        for name in (self.path, self.path.with_name(self.path.name + "-wal")):
            try:
                stored += name.stat().st_size
            except OSError:
                continue
        return Health(
            role="reader" if self._file.read_only else "only",
            writable=not (self._file.read_only or self._closed or failing),
            quorum=not self._file.read_only and not failing,
            lag=0,
            ends=ends,
            rev=rev,
            stored_bytes=stored,
            failing=None if failing is None else str(failing),
        )

    def _reached(self, db: sqlite3.Connection) -> tuple[dict[str, int], int]:
        """Return how far the file reaches now."""
        last_rev = schema.meta(db, schema.LAST_REV, str(self.path)) if self._file.form == schema.VERSION else 0
        return schema.ends_of(db), last_rev

    def check(self, how: Check = Check.WHOLE) -> None:
        """Look at the file again, as opening does, while it is in use; raises `StoreRejected`."""
        self._open()
        try:
            db = self._file.reader()
            try:
                db.execute("BEGIN")
                if self._file.form == schema.VERSION:
                    check(db, str(self.path), how)
            finally:
                db.close()
        except FAILURES as error:
            raise self._file.rejection(error, "read") from None

    def close(self) -> None:
        """See `fabric.Fabric.close`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._hall.close()
        with self._reading:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
        self._writer.close()

    def _open(self) -> None:
        """Raise `StoreClosed` after `close`."""
        if self._closed:
            raise StoreClosed(str(self.path), "the store was closed: open it again")

    def _conflict(self, why: str) -> None:
        raise StoreConflict(str(self.path), why)

    def _write(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """Do a write, alone or together with those of other threads."""
        self._open()
        if self._file.read_only:
            raise StoreMisuse(f"{self.path} was opened read-only")
        return self._writer.run(work)

    def _changed_now(self) -> None:
        """Wake who follows."""
        with self._changed:
            self._changed.notify_all()

    def _look(self, read: Callable[[sqlite3.Connection], _T]) -> _T:
        """Read what is durable; raises `StoreRejected`."""
        with self._reading:
            self._open()
            try:
                if self._reader is None:
                    self._reader = self._file.reader()
                return read(self._reader)
            except FAILURES as error:
                if self._reader is not None:
                    self._reader.close()
                    self._reader = None
                raise self._file.rejection(error, "read") from None

    def _followed(
        self, page: Callable[[int], Iterable[_T]], last: int, place: Callable[[_T], int], wait_s: float
    ) -> Iterator[_T]:
        """Yield page after page; at the end wait up to `wait_s` for more."""
        began = time.monotonic()
        while True:
            more = False
            for one in page(last):
                more, last = True, place(one)
                yield one
            if more:
                began = time.monotonic()
                continue
            left_s = wait_s - (time.monotonic() - began)
            with self._changed:
                if left_s <= 0.0 or self._closed:
                    return
                self._changed.wait(min(left_s, _LOOK_EVERY_S))
                closed: bool = self._closed
            if closed:
                return


def _boot_id() -> str:
    """Return which boot of this machine it is: a lease of another one has no meaning on our monotonic clock."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"process-started-{time.monotonic_ns()}"
