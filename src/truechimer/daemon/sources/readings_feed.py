"""Readings feed: a growing readings CSV, or a link's, into batches of one epoch each; it decides nothing about a clock.

An epoch is complete when a later one begins, or when the file rests. A file that was cut, replaced or written over is
read anew from its beginning; rows that were known are left out. Epochs of today are stamped by the system clock, and
are carried over to the host's label by what `wall_watch` saw at that epoch; epochs that nobody watched lie in the past:
their clocks count, their rows of the host do not.
"""

import os
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import hypot
from pathlib import Path

from truechimer.clocks.delay import Delay
from truechimer.clocks.register import is_reference
from truechimer.compare.delays import to_reference_plane
from truechimer.compare.reading import Reading
from truechimer.daemon.lab.source_settings import Source, SourceKind
from truechimer.daemon.sources.feeds import Batch, Feed, HostLabel, SourceStatus
from truechimer.daemon.sources.wall_watch import Carried, WallWatch
from truechimer.formats.finding import Finding, Severity
from truechimer.formats.readings_csv import ReadingRow, ReadingsCsvReader

NS_PER_S = 10**9
PIECE_BYTES = 1 << 20
"""Read at a time: a backlog of any length needs no more memory than this and its rows."""

TAIL_BYTES = 256
"""The last bytes read are compared before more are read: whoever writes over a file is noticed."""

FUTURE_NS = NS_PER_S
"""A row may be stamped this far ahead of the system clock; beyond it is refused, or it would put all that follow out of
order.
"""

LINK_LIMIT_SIGMAS = 3.0
"""What a link that states no limit is believed never to exceed systematically, in its own sigmas."""

MOST_REFERENCES = 64
"""Names that claim UTC which the files of a laboratory may bring; a file that brings more is broken or hostile."""


class KnownNames(frozenset[str]):
    """The register's names, and up to `MOST_REFERENCES` names that claim UTC."""

    _met: set[str]

    def __contains__(self, name: object) -> bool:
        """Return True for a clock of the register, the host, or a reference."""
        if super().__contains__(name):
            return True
        if not isinstance(name, str) or not is_reference(name):
            return False
        met = self.__dict__.setdefault("_met", set())
        if name not in met and len(met) >= MOST_REFERENCES:
            return False
        met.add(name)
        return True


@dataclass(slots=True)
class FileStatus:
    """What became of a file's rows: written by its feed alone."""

    accepted: int = 0
    refused: int = 0
    host_unwatched: int = 0


class ReadingsFeed(Feed):
    """One file. `after_ns`: the epoch (label) up to which the laboratory knows already; `on_fault` hears of each
    refused row (from this thread).
    """

    def __init__(
        self,
        source: Source,
        path: Path,
        out: "queue.Queue[Batch]",
        *,
        known_names: frozenset[str],
        label: HostLabel,
        wall: WallWatch,
        raw_now_ns: Callable[[], int],
        max_age_s: float,
        on_fault: Callable[[str, Finding], None],
        delays: dict[str, Delay],
        after_ns: int = 0,
        rest_s: float = 0.5,
        look_s: float = 0.2,
    ) -> None:
        super().__init__(source.name, SourceStatus(source.name, source.kind.value, source.operator_name), out)
        self.path = path
        self.file = FileStatus()
        self._source, self._known = source, known_names
        self._label, self._wall, self._raw_now_ns = label, wall, raw_now_ns
        self._delays = delays
        self._max_age_s, self._on_fault = max_age_s, on_fault
        self._after_ns, self._rest_s, self._look_s = after_ns, rest_s, look_s
        self._known_ns, self._reached_ns = after_ns, 0
        self._late: list[tuple[int, ReadingRow]] = []
        self._reader = ReadingsCsvReader(known_clocks=known_names)
        self._offset, self._inode, self._tail = 0, 0, b""
        self._waiting: list[ReadingRow] = []
        self._quiet_since = time.monotonic()

    @property
    def offset(self) -> int:
        """How many bytes of the file have been read."""
        return self._offset

    def size(self) -> int:
        """Return the size of the file, 0 where it cannot be read."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def backlog(self) -> Iterator[Batch]:
        """Yield the complete epochs that the file holds now, in order; its last epoch may still grow, and waits."""
        end = self.size()
        while self._offset < end:
            batches, read = self._look()
            yield from batches
            if not read:
                return

    def follow(self) -> None:
        """Follow the file."""
        while not self._ended.is_set():
            batches, read = self._look()
            for batch in batches:
                self._out.put(batch)
            if read < PIECE_BYTES:
                self._ended.wait(self._look_s)

    def _look(self) -> tuple[list[Batch], int]:
        """Take in the next piece of what has been written; return the epochs it completes and how many bytes it had."""
        batches: list[Batch] = []
        try:
            data, anew = self._read()
        except OSError as error:
            says = f"{self.path.name}: {error.strerror}; check the file"
            if self.status.says != says:
                self.status.failures += 1
                self.status.says = says
            return self._complete(resting=self._is_resting()), 0
        self.status.says = ""
        if anew:
            batches += self._complete(resting=True)
            self._reader = ReadingsCsvReader(known_clocks=self._known)
        if data:
            self._quiet_since = time.monotonic()
            rows, findings = self._reader.feed(data, not_after_tai_ns=self._wall.wall_tai_now_ns() + FUTURE_NS)
            for finding in findings:
                self._refuse(finding)
            is_link = self._source.kind is SourceKind.LINK
            self._waiting.extend(self._only_its_link(rows) if is_link else self._in_time(rows))
        return batches + self._complete(resting=self._is_resting()), len(data)

    def _read(self) -> tuple[bytes, bool]:
        """Return the next piece, and whether it is the beginning of another file than before."""
        with self.path.open("rb") as file:
            found = os.fstat(file.fileno())
            anew = self._offset > 0 and (
                found.st_ino != self._inode
                or found.st_size < self._offset
                or os.pread(file.fileno(), len(self._tail), self._offset - len(self._tail)) != self._tail
            )
            if anew:
                self._offset, self._tail = 0, b""
                self._known_ns, self._reached_ns = max(self._known_ns, self._after_ns), 0
            self._inode = found.st_ino
            data = os.pread(file.fileno(), PIECE_BYTES, self._offset)
        self._offset += len(data)
        self._tail = (self._tail + data)[-TAIL_BYTES:]
        return data, anew

    def _is_resting(self) -> bool:
        return time.monotonic() - self._quiet_since >= self._rest_s

    def _refuse(self, finding: Finding) -> None:
        """Count a refused row, and say it."""
        if finding.severity is not Severity.ERROR:
            return
        self.file.refused += 1
        self._on_fault(self.path.name, finding)

    def _in_time(self, rows: list[ReadingRow]) -> Iterator[ReadingRow]:
        """Keep the rows in their order, but for what a source of UTC said of an epoch that the clocks have passed: that
        waits until the epoch is complete with which it came, and cuts it no more than it ends it.
        """
        for row in rows:
            if not _is_outside(row):
                self._reached_ns = max(self._reached_ns, row.epoch_tai_ns)
            elif row.epoch_tai_ns < self._reached_ns:
                self._late.append((self._reached_ns, row))
                continue
            yield row

    def _came_late(self, wall_ns: int) -> list[Batch]:
        """Return what came late with the epochs up to one, a batch for each value; what is known is left out."""
        batches = []
        while self._late and self._late[0][0] <= wall_ns:
            came_ns, row = self._late.pop(0)
            if came_ns + self._wall.past_shift_ns(came_ns) > self._known_ns and "host" not in (row.a, row.b):
                self.file.accepted += 1
                epoch_ns = row.epoch_tai_ns + self._wall.past_shift_ns(row.epoch_tai_ns)
                batches.append(Batch(epoch_ns, None, (self._reading(row, epoch_ns, None),), 0, None, self._source.name))
        return batches

    def _only_its_link(self, rows: list[ReadingRow]) -> Iterator[ReadingRow]:
        """Keep the rows of the link that the laboratory's file names; refuse others."""
        for row in rows:
            if (row.a == self._source.to) != (row.b == self._source.to) and not (
                is_reference(row.a) and is_reference(row.b)
            ):
                yield row
            else:
                link = f"{self._source.to} against a clock"
                says = f"{row.a} minus {row.b} is not the link {self._source.name} ({link}): the row is not used"
                self._refuse(Finding("not-this-link", says, row.line))

    def _complete(self, *, resting: bool) -> list[Batch]:
        """Cut the waiting rows into epochs; the last one stays unless the file rests."""
        rows, batches, begin = self._waiting, [], 0
        for end in range(1, len(rows) + 1):
            if end == len(rows):
                if not resting:
                    break
            elif rows[end].epoch_tai_ns == rows[begin].epoch_tai_ns:
                continue
            batch = self._batch(rows[begin:end])
            if batch is not None:
                batches.append(batch)
            batches += self._came_late(rows[begin].epoch_tai_ns)
            begin = end
        self._waiting = rows[begin:]
        return batches

    def _batch(self, rows: list[ReadingRow]) -> Batch | None:
        """Turn the rows of one epoch into readings on the label's axis; None where all of them are known, or cannot be
        used.
        """
        wall_ns = rows[0].epoch_tai_ns
        carried = self._wall.carry(wall_ns)
        shift_ns = self._wall.past_shift_ns(wall_ns) if carried is None else round(carried.label_minus_wall_s * 1e9)
        epoch_ns = wall_ns + shift_ns
        if epoch_ns <= self._after_ns:
            return None
        if self._source.kind is SourceKind.LINK or any(not _is_outside(row) for row in rows):
            self._after_ns = epoch_ns
        if carried is None:
            kept = [row for row in rows if "host" not in (row.a, row.b)]
            self.file.host_unwatched += len(rows) - len(kept)
            rows = kept
            if not rows:
                return None
        self.file.accepted += len(rows)
        self.status.answers += len(rows)
        raw_ns = None
        if carried is not None:
            raw_now_ns = self._raw_now_ns()
            if (self._label.at(raw_now_ns) - epoch_ns) / 1e9 <= self._max_age_s:
                raw_ns = self._label.raw_of(epoch_ns)
                self.status.last_raw_ns = raw_ns
        readings = tuple(self._reading(row, epoch_ns, carried) for row in rows)
        return Batch(epoch_ns, raw_ns, readings, 0, None, self._source.name)

    def _reading(self, row: ReadingRow, epoch_ns: int, carried: Carried | None) -> Reading:
        """Turn one row into a reading: the host's system clock becomes its label, and a link to UTC states a limit."""
        x_s, u_s, limit_s = row.x_a_minus_b_s, row.u_s, 0.0
        if carried is not None and "host" in (row.a, row.b):
            x_s += carried.label_minus_wall_s if row.a == "host" else -carried.label_minus_wall_s
            u_s = hypot(u_s, carried.u_s)
        if is_reference(row.a) or is_reference(row.b):
            stated_s = LINK_LIMIT_SIGMAS * row.u_s if self._source.limit_s is None else self._source.limit_s
            limit_s = stated_s + LINK_LIMIT_SIGMAS * (self._source.u_s or 0.0)
        measured = Reading(
            epoch_tai_ns=epoch_ns,
            a=row.a,
            b=row.b,
            x_a_minus_b_s=x_s,
            u_s=u_s,
            limit_s=limit_s,
            operator=self._source.operator or "",
        )
        return to_reference_plane(measured, self._delays)


def _is_outside(row: ReadingRow) -> bool:
    """Return True for a row of a source of UTC."""
    return is_reference(row.a) or is_reference(row.b)
