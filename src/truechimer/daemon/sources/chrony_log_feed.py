"""Chrony log feed: the samples that chronyd writes down, as links `UTC.<source>.<server>` minus host.

For machines where the command socket cannot be asked. A row says where a server stood against chronyd's own clock, in
whole seconds of that clock. Two things place it: the watch on the wall clock (system clock against the host's label),
and tracking.log, which says at each update how far chronyd's clock stood from the system clock. So a row waits for the
next update. What lies between the update before and that one is not known: it is part of the row's limit. Rows of
before the start, and rows around a step of the wall clock, are counted and not used. Source: `formats.chrony_logs`.
"""

import queue
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from truechimer.alerts import AlertKind, AlertSeverity
from truechimer.compare.reading import Reading
from truechimer.daemon.lab.source_settings import DEFAULT_OWN_REFID, Source
from truechimer.daemon.sources.feeds import Batch, Feed, HostLabel, SourceStatus
from truechimer.daemon.sources.first_round import FirstRound
from truechimer.daemon.sources.log_tail import LogTail
from truechimer.daemon.sources.wall_watch import WallWatch
from truechimer.formats import chrony_logs
from truechimer.formats.chrony_logs import LogReader, MeasurementRow, RefclockRow, TrackingRow
from truechimer.formats.chrony_reports import SourceMode, name_word
from truechimer.formats.finding import Finding
from truechimer.instants import FS_PER_NS, Instant, LeapTable

NS_PER_S = 10**9
LOOK_EVERY_S = 0.2
MOST_SERVERS = 64
MOST_WAITING = 4096
WATCHED_AFTER_S = 0.3
"""The watch on the wall clock keeps a pair at least this often."""

WAIT_MOST_S = 2200.0
"""A row that finds no update of chronyd's clock within this (twice its longest usual poll) is given up."""

UPDATES_KEPT = 64
DISTANCES_KEPT = 32
JITTER_LEAST_S = {SourceMode.SERVER: 1e-6, SourceMode.REFCLOCK: 1e-7}
STEADY_S = 1e-6
"""What interpolation between two pairs of the wall clock may be off by."""


class RowDropped(StrEnum):
    """Why a row of a log gave no reading; one counter each."""

    UNWATCHED = "unwatched"  # of a moment at which nobody watched the wall clock, or at which it was stepped
    BAD_SAMPLE = "bad-sample"  # chronyd did not use it either
    NO_UPDATE = "no-update"  # tracking.log did not say in time where chronyd's clock stood
    OWN = "own"  # the refclock that this laboratory feeds
    TOO_MANY = "too-many"


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A row that is placed on the label, but for chronyd's own correction: source minus label, if that were zero."""

    name: str
    second: int
    epoch_ns: int
    x_source_minus_label_s: float
    distance_s: float
    limit_s: float
    stratum: int


@dataclass(slots=True)
class _Server:
    status: SourceStatus
    mode: SourceMode
    distances_s: deque[float] = field(default_factory=lambda: deque(maxlen=DISTANCES_KEPT))


@dataclass(slots=True)
class _Log:
    """One log file: where it is read, and what became of its lines."""

    tail: LogTail
    make: Callable[[], LogReader[Any]]
    reader: LogReader[Any]
    rotations: int = 0
    rows: int = 0
    refused: int = 0
    says: str = ""


class ChronyLogFeed(Feed):
    """The logs of a chronyd in a folder. `on_fault` hears of each refused line (from this thread)."""

    def __init__(
        self,
        source: Source,
        folder: Path,
        label: HostLabel,
        leaps: LeapTable,
        out: "queue.Queue[Batch]",
        *,
        wall: WallWatch,
        on_fault: Callable[[str, Finding], None],
    ) -> None:
        super().__init__(source.name, SourceStatus(source.name, "chrony", source.name), out)
        self.folder = folder
        self._source, self._label, self._leaps = source, label, leaps
        self._wall, self._on_fault = wall, on_fault
        makers: dict[str, Callable[[], LogReader[Any]]] = {
            "measurements": chrony_logs.measurements,
            "refclocks": chrony_logs.refclocks,
            "tracking": chrony_logs.tracking,
        }
        self._logs = {name: _Log(LogTail(folder / f"{name}.log"), make, make()) for name, make in makers.items()}
        self._servers: dict[str, _Server] = {}
        self._fresh: deque[MeasurementRow | RefclockRow] = deque()
        self._waiting: deque[_Waiting] = deque()
        self._updates: deque[TrackingRow] = deque(maxlen=UPDATES_KEPT)
        self._first = FirstRound()
        self._dropped: Counter[RowDropped] = Counter()
        self._away = ""

    def servers(self) -> dict[str, SourceStatus]:
        """Return what is known of each source that stands in the logs."""
        return {name: server.status for name, server in self._servers.copy().items()}

    def document(self) -> dict[str, Any] | None:
        """Return what became of the logs, for `status`."""
        logs = {
            name: {"rows": log.rows, "refused": log.refused, "lines_before_start": log.tail.lines_before}
            for name, log in self._logs.items()
            if log.rows or log.refused or log.tail.lines_before
        }
        body: dict[str, Any] = {
            "name": self.status.name,
            "logdir": str(self.folder),
            "answers": not self._away,
            "servers": len(self._servers),
            "logs": logs,
            "rows_dropped": {why.value: count for why, count in sorted(self._dropped.items())},
            "rows_waiting": len(self._fresh) + len(self._waiting),
        }
        if self._updates:
            body |= {
                "selected": self._updates[-1].reference,
                "stratum": self._updates[-1].stratum,
                "x_chronyd_minus_wall_s": self._updates[-1].x_cooked_minus_wall_after_s,
            }
        return body | ({"says": self._away} if self._away else {})

    def use_leaps(self, leaps: LeapTable) -> None:
        """Follow another leap table from the next answer on."""
        self._leaps = leaps

    def follow(self) -> None:
        """Look for new lines every now and then."""
        try:
            while not self._ended.is_set():
                self.look()
                self._ended.wait(LOOK_EVERY_S)
        finally:
            for log in self._logs.values():
                log.tail.close()

    def look(self) -> None:
        """Read what is new, and put what is complete into the queue."""
        measured, clocked, updates = self._read("measurements"), self._read("refclocks"), self._read("tracking")
        self._tell_missing()
        self._fresh.extend((*measured, *clocked))
        self._updates.extend(updates)
        placed = self._place_what_has_passed()
        readings = self._complete() if placed or updates else []
        self._give_up()
        self._emit(self._first.after(readings))

    def _place_what_has_passed(self) -> int:
        """Place the rows whose second is over and was watched to its end; return how many."""
        passed_ns = self._wall.wall_tai_now_ns() - round((1.0 + WATCHED_AFTER_S) * NS_PER_S)
        placed = 0
        while self._fresh and (
            self._tai_ns(self._fresh[0].second * NS_PER_S) <= passed_ns or len(self._fresh) > MOST_WAITING
        ):
            row = self._fresh.popleft()
            if isinstance(row, MeasurementRow):
                self._measurement(row)
            else:
                self._refclock(row)
            placed += 1
        return placed

    def _emit(self, readings: list[Reading]) -> None:
        """Put readings into the queue, in the order of their epochs; each keeps its own."""
        if not readings:
            return
        readings.sort(key=lambda reading: reading.epoch_tai_ns)
        newest: dict[str, Reading] = {}
        groups: list[list[Reading]] = []
        for reading in readings:
            if reading.a in newest:
                groups.append(list(newest.values()))
                newest = {}
            newest[reading.a] = reading
        for group in (*groups, list(newest.values())):
            epoch_ns = group[-1].epoch_tai_ns
            stratum = max(self._servers[reading.a].status.stratum or 0 for reading in group)
            raw_ns = self._label.raw_of(epoch_ns)
            self._out.put(Batch(epoch_ns, raw_ns, tuple(group), stratum, None, self.status.name))

    # ---- rows -----------------------------------------------------------------------------------------------------

    def _read(self, name: str) -> list[Any]:
        """Return the new rows of a log."""
        log = self._logs[name]
        rows: list[Any] = []
        try:
            while data := log.tail.read():
                if log.rotations != log.tail.rotations:
                    log.rotations, log.reader = log.tail.rotations, log.make()
                found, findings = log.reader.feed(data)
                rows += found
                before = log.tail.lines_before if not log.rotations else 0
                for finding in findings:
                    log.refused += 1
                    line = None if finding.line is None else finding.line + before
                    self._on_fault(f"{name}.log", replace(finding, line=line))
            log.says = ""
        except OSError as error:
            log.says = (error.strerror or str(error)).lower()
        log.rows += len(rows)
        return rows

    def _tell_missing(self) -> None:
        """Say once that there is nothing to read, and once that there is again."""
        measured, clocked, updated = (self._logs[name].says for name in ("measurements", "refclocks", "tracking"))
        says = ""
        if updated:
            says = f"{self.folder}/tracking.log: {updated}; write `log measurements tracking` into chrony.conf"
        elif measured and clocked:
            says = f"{self.folder}/measurements.log: {measured}; write `log measurements tracking` into chrony.conf"
        if says and not self._away:
            self.status.failures += 1
            advice = "look at logdir and log in chrony.conf, and at who may read that folder"
            self.tell(AlertKind.SOURCE_AWAY, AlertSeverity.WARNING, says, advice)
        elif self._away and not says:
            self.tell(AlertKind.SOURCE_RETURNED, AlertSeverity.NOTICE, "chronyd's logs can be read again", "nothing")
        self._away = self.status.says = says

    def _measurement(self, row: MeasurementRow) -> None:
        """Place an exchange with a server."""
        if not row.is_good:
            self._dropped[RowDropped.BAD_SAMPLE] += 1
            return
        server = self._server(row.address, SourceMode.SERVER)
        if server is None:
            return
        server.status.stratum, server.status.delay_s = row.stratum, row.delay_s
        wall_ns = row.second * NS_PER_S
        self._place(server, wall_ns, wall_ns + NS_PER_S, row.second, row.x_source_minus_cooked_s, row.root_distance_s)

    def _refclock(self, row: RefclockRow) -> None:
        """Place a sample of a refclock: of the many, the one that chronyd took."""
        if not row.is_filtered:
            return
        if not row.is_synchronised:
            self._dropped[RowDropped.BAD_SAMPLE] += 1
            return
        if row.refid == (self._source.own_refid or DEFAULT_OWN_REFID):
            self._dropped[RowDropped.OWN] += 1
            return
        server = self._server(row.refid, SourceMode.REFCLOCK)
        if server is None:
            return
        server.status.stratum = 0
        wall_ns = row.second * NS_PER_S + round(row.fraction_s * NS_PER_S)
        self._place(server, wall_ns, wall_ns, row.second, row.x_source_minus_cooked_s, row.dispersion_s)

    def _server(self, word: str, mode: SourceMode) -> _Server | None:
        """Return what is kept of a source; None beyond `MOST_SERVERS` of them."""
        name = f"UTC.{self._source.name}.{name_word(word)}"
        server = self._servers.get(name)
        if server is None:
            if len(self._servers) >= MOST_SERVERS:
                self._dropped[RowDropped.TOO_MANY] += 1
                return None
            short = name.removeprefix("UTC.")
            operator = self._source.operator or (short if mode is SourceMode.REFCLOCK else word)
            server = _Server(SourceStatus(short, "chrony", operator), mode)
            self._servers[name] = server
        return server

    def _place(  # noqa: PLR0917 - a row's figures, called twice
        self, server: _Server, from_ns: int, to_ns: int, second: int, x_source_minus_cooked_s: float, distance_s: float
    ) -> None:
        """Bring a row from the system clock (UTC, ns) to the label, and let it wait for the next update.

        Its moment lies between `from_ns` and `to_ns` of chronyd's clock, which is the system clock but for what it has
        still to correct: the label minus the wall clock at both ends says what that leaves open.
        """
        behind_ns = round(self._updates[-1].x_cooked_minus_wall_after_s * NS_PER_S) if self._updates else 0
        found = [self._wall.carry(self._tai_ns(ns - behind_ns)) for ns in (from_ns, to_ns)]
        if any(carried is None for carried in found):
            self._dropped[RowDropped.UNWATCHED] += 1
            return
        ends = [carried for carried in found if carried is not None]
        label_minus_wall_s = [carried.label_minus_wall_s for carried in ends]
        middle_s = sum(label_minus_wall_s) / 2.0
        epoch_ns = self._tai_ns((from_ns + to_ns) // 2 - behind_ns) + round(middle_s * NS_PER_S)
        name = f"UTC.{server.status.name}"
        # half of it for the moment, which is not known, and once more for what was corrected meanwhile
        moved_s = 1.5 * abs(label_minus_wall_s[1] - label_minus_wall_s[0])
        limit_s = moved_s + max(end.u_s for end in ends) + STEADY_S
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self._dropped[RowDropped.NO_UPDATE] += 1
        self._waiting.append(
            _Waiting(
                name,
                second,
                epoch_ns,
                x_source_minus_cooked_s - middle_s,
                distance_s,
                limit_s,
                server.status.stratum or 0,
            )
        )

    def _complete(self) -> list[Reading]:
        """Return the readings of the rows that updates of chronyd's clock place by now."""
        kept: deque[_Waiting] = deque()
        readings = []
        newest = self._updates[-1].second if self._updates else -1
        for row in self._waiting:
            corrections_s = self._corrections_s(row.second)
            if corrections_s:
                readings.append(self._reading(row, min(corrections_s), max(corrections_s)))
            elif row.second > newest:
                kept.append(row)
            else:
                self._dropped[RowDropped.NO_UPDATE] += 1
        self._waiting = kept
        return readings

    def _corrections_s(self, second: int) -> list[float]:
        """Return what chronyd had still to correct in a second, at its ends; empty where that is not known (yet)."""
        same = [update for update in self._updates if update.second == second]
        if same:  # a sample of that second may have come before the update, or after it
            return [x for one in same for x in (one.x_cooked_minus_wall_s, one.x_cooked_minus_wall_after_s)]
        before = [update for update in self._updates if update.second < second]
        after = [update for update in self._updates if update.second > second]
        return [before[-1].x_cooked_minus_wall_after_s, after[0].x_cooked_minus_wall_s] if before and after else []

    def _reading(self, row: _Waiting, least_s: float, most_s: float) -> Reading:
        """Add chronyd's correction, of which the least and the most are known."""
        server = self._servers[row.name]
        server.distances_s.append(row.distance_s)
        server.status.answers += 1
        server.status.last_raw_ns = self._label.raw_of(row.epoch_ns)
        self.status.answers += 1
        self.status.last_raw_ns = server.status.last_raw_ns
        excess_s = row.distance_s - min(server.distances_s)
        return Reading(
            epoch_tai_ns=row.epoch_ns,
            a=row.name,
            b="host",
            x_a_minus_b_s=row.x_source_minus_label_s + (least_s + most_s) / 2.0,
            u_s=JITTER_LEAST_S[server.mode] + excess_s + (self._source.u_s or 0.0),
            limit_s=row.distance_s + row.limit_s + (most_s - least_s) / 2.0 + (self._source.limit_s or 0.0),
            operator=server.status.operator,
        )

    def _give_up(self) -> None:
        """Drop rows for which no update came."""
        oldest = self._wall.wall_tai_now_ns() - round(WAIT_MOST_S * NS_PER_S)
        while self._waiting and self._tai_ns(self._waiting[0].second * NS_PER_S) < oldest:
            self._waiting.popleft()
            self._dropped[RowDropped.NO_UPDATE] += 1

    def _tai_ns(self, unix_ns: int) -> int:
        """Return UTC as TAI, both ns since 1970; good but for the second of a leap, around which nothing is watched."""
        near = Instant((unix_ns + self._leaps.entries[-1].tai_minus_utc_s * NS_PER_S) * FS_PER_NS)
        return unix_ns + self._leaps.tai_minus_utc_at(near) * NS_PER_S
