"""Journal: the records of the laboratory on their way to the disk; what `commit` said True to is there.

It makes no record and serves nothing: whoever holds it serves only what is committed (ADR 16). Where the store fails,
records wait in memory, in their order and whole epochs together, the store is tried again soon and often, and nothing
is taken for written that is not. What may wait is bounded; beyond that, readings are refused.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from truechimer.evidence.kinds import KINDS
from truechimer.evidence.record import Record, RecordMisuse
from truechimer.store.fabric import StoreIoFailed, StoreRejected

MOST_WAITING_BYTES = 64 << 20
"""Records that may wait, together: at 2 kB a second nine hours of a laboratory of twelve clocks."""

FIRST_RETRY_S = 0.05
LAST_RETRY_S = 1.0
"""A store that failed is tried again after the first, then after twice as long each time, up to the last."""

WELL_AFTER_S = 5.0
"""A store that failed is called well again when it has not failed for so long."""

GROUP_RECORDS = 2_000
"""Records of one transaction: so that no attempt on a sick disk holds the laboratory for long."""


class RecordStore(Protocol):
    """What a journal needs of its store."""

    def append(self, records: Iterable[tuple[int, bytes]]) -> None:
        """Write (seq, data) pairs in one transaction; on the disk when it returns. Records that are there already with
        the same bytes are not written again. Raises `StoreRejected`.
        """


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why nothing is written: since when (monotonic seconds), and what the store says."""

    since_s: float
    says: str


class Journal:
    """One writer's records. Invariant: what the store holds is what was kept so far, from the first on, without a gap;
    `waiting` is the rest.
    """

    def __init__(
        self,
        store: RecordStore,
        *,
        path: Path | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
        most_waiting_bytes: int = MOST_WAITING_BYTES,
    ) -> None:
        """`path`: the store's file, looked at before each commit: a file that was deleted or replaced takes writes
        that nobody will ever read.
        """
        self.store, self.trouble = store, None
        self._path, self._monotonic_s, self._most = path, monotonic_s, most_waiting_bytes
        self._file = None if path is None else _identity(path)
        self._groups: deque[list[tuple[int, bytes]]] = deque()
        self._bytes = 0
        self._next_s, self._wait_s = 0.0, FIRST_RETRY_S
        self._well_since_s = 0.0

    trouble: Trouble | None
    """None where all that was asked to be written is."""

    @property
    def waiting(self) -> int:
        """Records that are not on the disk."""
        return sum(len(group) for group in self._groups)

    @property
    def waiting_bytes(self) -> int:
        """Their size."""
        return self._bytes

    @property
    def is_full(self) -> bool:
        """True where no more may wait: the store fails, and has for long."""
        return self.trouble is not None and self._bytes >= self._most

    @property
    def is_well(self) -> bool:
        """True where the store has taken everything for a while: one that takes every other write is not well."""
        return self.trouble is None and self._monotonic_s() - self._well_since_s >= WELL_AFTER_S

    def failing_s(self) -> float:
        """Return for how long writing has failed, by the clock that dates its trouble (s); 0 where it works."""
        return 0.0 if self.trouble is None else self._monotonic_s() - self.trouble.since_s

    def keep(self, records: Iterable[Record]) -> None:
        """Queue the records of one epoch, or what else belongs together: on the disk there will be all of them or
        none. Raises `RecordMisuse` for a kind that is not registered.
        """
        group = []
        for record in records:
            if record.kind not in KINDS:
                raise RecordMisuse(f"a record of the kind {record.kind!r}: register it in evidence.kinds first")
            group.append((record.seq, record.data))
        if group:
            self._groups.append(group)
            self._bytes += sum(len(data) for _, data in group)

    def commit(self, *, at_once: bool = False) -> bool:
        """Write what waits; True where all of it is on the disk. Never raises for what a disk does.

        After a failure the store is not asked again before its time, but for `at_once`.
        """
        if self._groups and (at_once or self.trouble is None or self._monotonic_s() >= self._next_s):
            try:
                self._same_file()
                while self._groups:
                    self._write_some()
            except StoreRejected as error:
                self._failed(str(error))
        if not self._groups:
            if self.trouble is not None:
                self._well_since_s = self._monotonic_s()
            self.trouble = None
            self._wait_s = FIRST_RETRY_S
        return self.trouble is None

    def _write_some(self) -> None:
        """Write the oldest groups in one transaction."""
        records: list[tuple[int, bytes]] = []
        groups = 0
        for group in self._groups:
            if records and len(records) + len(group) > GROUP_RECORDS:
                break
            records += group
            groups += 1
        self.store.append(records)
        for _ in range(groups):
            self._groups.popleft()
        self._bytes -= sum(len(data) for _, data in records)

    def _same_file(self) -> None:
        """Raise `StoreIoFailed` where the file under its name is not the one that is written."""
        if self._path is not None and _identity(self._path) != self._file:
            raise StoreIoFailed(
                str(self._path),
                "the file was moved, deleted or replaced while it was in use: put it back where it was; what waits is "
                "then written. Where it is lost, stop the laboratory and start it in a new folder",
            )

    def _failed(self, says: str) -> None:
        """Note a failure and when to try again."""
        now_s = self._monotonic_s()
        since_s = now_s if self.trouble is None else self.trouble.since_s
        self.trouble = Trouble(since_s, says)
        self._next_s = now_s + self._wait_s
        self._wait_s = min(2.0 * self._wait_s, LAST_RETRY_S)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another of the same name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
