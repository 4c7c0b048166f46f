"""Group commit: the writes of many threads that arrive during one fsync share the next.

It does not know what is written. Whoever finds nobody writing leads: it takes what all have asked for, does it in one
transaction, each in a savepoint of its own, and tells everyone how it ended. There is no thread of its own. After any
failure the connection is thrown away and made again by the next write, so that a store is usable as soon as its disk
is.
"""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Any, Protocol

from truechimer.store.fabric import StoreClosed, StoreRejected
from truechimer.store.sqlite_errors import FAILURES

Work = Callable[[sqlite3.Connection], Any]


class _Connects(Protocol):
    """What makes connections for writing, and knows what a failure of SQLite means."""

    def connect(self) -> sqlite3.Connection:
        """Return a new connection, ready for writing; raises `StoreRejected` or `sqlite3.Error`."""

    def rejection(self, error: Exception) -> StoreRejected:
        """Return the typed form of a failure."""


class _Request:
    """One thread's write, how it ended, and the lock on which the thread waits for that or for its turn to lead."""

    __slots__ = ("error", "leads", "result", "settled", "turn", "work")

    def __init__(self, work: Work) -> None:
        """Ask for `work`."""
        self.work, self.turn = work, Lock()
        self.settled = self.leads = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.turn.acquire()

    def settle(self, *, result: Any = None, error: BaseException | None = None) -> None:
        """Keep how it ended, and let the thread go; the first word counts."""
        if self.settled:
            return
        self.result, self.error, self.settled = result, error, True
        self.turn.release()

    def outcome(self) -> Any:
        """Return the result, or raise what went wrong."""
        if self.error is not None:
            raise self.error
        return self.result


class GroupCommit:
    """The one writer of a file, shared by threads. Invariant: outside `run` no transaction is open."""

    def __init__(self, connects: _Connects, *, on_commit: Callable[[], None]) -> None:
        """`on_commit` is called after each commit, by the thread that led it."""
        self._connects, self._on_commit = connects, on_commit
        self._waiting: list[_Request] = []
        self._queue, self._writing = Lock(), Lock()
        self._led = self._closed = False
        self._db: sqlite3.Connection | None = None
        self.transactions = 0
        """How many were committed."""
        self.failing: StoreRejected | None = None
        """Why the last transaction failed; None after one that did not."""

    def run(self, work: Work) -> Any:
        """Do `work` in a transaction and return what it returned, once that is durable; or raise what it raised."""
        request = _Request(work)
        with self._queue:
            self._waiting.append(request)
            leads, self._led = not self._led, True
        if not leads:
            try:
                request.turn.acquire()
            except BaseException:
                self._abandon(request)
                raise
        if not request.settled:
            try:
                with self._queue:
                    batch, self._waiting = self._waiting, []
                self._lead(batch)
            finally:
                self._pass_on()
        return request.outcome()

    def _pass_on(self) -> None:
        """Let the first who asked meanwhile lead; where nobody did, nobody leads."""
        with self._queue:
            self._led = bool(self._waiting)
            if self._waiting:
                self._waiting[0].leads = True
                self._waiting[0].turn.release()

    def _abandon(self, request: _Request) -> None:
        """Forget a request whose thread was interrupted while it waited, and whose turn it may have been to lead."""
        with self._queue:
            asked = request in self._waiting
            if asked:
                self._waiting.remove(request)
        if asked and request.leads:
            self._pass_on()

    def _lead(self, batch: list[_Request]) -> None:
        """Do a batch in one transaction; afterwards all of it is settled."""
        try:
            with self._writing:
                results = self._transaction(batch)
            self.failing = None
            for request, (result, refused) in zip(batch, results, strict=True):
                request.settle(result=result, error=refused)
        except (StoreRejected, *FAILURES) as error:
            self._drop()
            self.failing = error if isinstance(error, StoreRejected) else self._connects.rejection(error)
            for request in batch:
                request.settle(error=self.failing)
        except BaseException:
            self._drop()
            for request in batch:
                request.settle(error=StoreRejected("the store", "a write was interrupted; call again with the same id"))
            raise
        else:
            self._on_commit()

    def _transaction(self, batch: list[_Request]) -> list[tuple[Any, BaseException | None]]:
        """Do everybody's work between BEGIN and COMMIT; a refusal undoes its own part only."""
        if self._closed:
            raise StoreClosed("the store", "was closed before this was written: open it again")
        if self._db is None:
            self._db = self._connects.connect()
        db = self._db
        results: list[tuple[Any, BaseException | None]] = []
        db.execute("BEGIN IMMEDIATE")
        for request in batch:
            db.execute("SAVEPOINT one")
            try:
                results.append((request.work(db), None))
            except FAILURES:
                raise
            except Exception as refused:  # noqa: BLE001  # whatever it is, it belongs to who asked, not to the others
                db.execute("ROLLBACK TO one")
                results.append((None, refused))
            db.execute("RELEASE one")
        db.execute("COMMIT")
        self.transactions += 1
        return results

    def _drop(self) -> None:
        """Undo and forget the connection: what it believes about the file may be wrong by now."""
        if self._db is not None:
            with suppress(sqlite3.Error):
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def adopt(self, db: sqlite3.Connection | None) -> None:
        """Write through this connection from now on."""
        self._db = db

    def close(self) -> None:
        """Close the connection once who writes has ended; whoever still waits is refused."""
        with self._writing:
            self._closed = True
            self._drop()
