"""Chrony feed: each source of a running chronyd as a link `UTC.<source>.<server>` minus host, for our own vote.

It changes nothing in chronyd and takes over none of its judgements: chronyd's estimate, its selection and its marks are
statements of one daemon, shown in `status`, and no vote. A reading is made of each new sample, at the moment it was
found: server minus host = (system clock + what chronyd has still to correct) minus what chronyd states for the sample
minus the host's label. Its limit is the sample's root distance, the rate that chronyd leaves open over the sample's
age, and what the clocks moved meanwhile without an explanation (`chrony_watch`). A sample from before the watch, or
across a step of the system clock, is counted and not used.
"""

import ipaddress
import queue
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from pathlib import Path
from typing import Any

from truechimer.alerts import AlertKind, AlertSeverity
from truechimer.compare.reading import Reading
from truechimer.daemon.host_clocks import WIDEST_PAIR_NS, ClockPair, HostClocks
from truechimer.daemon.lab.host_port import HostPort
from truechimer.daemon.lab.source_settings import DEFAULT_CHRONY_POLL_S, DEFAULT_OWN_REFID, Source
from truechimer.daemon.sources.chrony_client import ChronyAwayRejected, ChronyClient
from truechimer.daemon.sources.chrony_watch import LOOK_EVERY_S, ChronyWatch, WatchPoint
from truechimer.daemon.sources.feeds import LEAP_WORDS, Batch, Feed, HostLabel, SourceStatus
from truechimer.daemon.sources.first_round import FirstRound
from truechimer.formats.chrony_reports import (
    ChronyReplyRejected,
    Command,
    NSources,
    NtpData,
    ReplyFault,
    SourceData,
    SourceMode,
    SourceStats,
    Tracking,
    reference_word,
    refid_text,
)
from truechimer.instants import FS_PER_NS, Instant, LeapTable

NS_PER_S = 10**9
LOOK_TRIES = 3
MOST_SERVERS = 64
"""Sources of one chronyd that are taken in; the rest is counted and said."""

DISTANCES_KEPT = 32
SAMPLES_FOR_SD = 4
SERVER_JITTER_LEAST_S = 1e-6
REFCLOCK_JITTER_LEAST_S = 1e-7
RATE_LEAST, RATE_MOST = 1e-6, 1e-4
"""How fast chronyd's clock may run away from a server: at least what a host's temperature does, at most what any
computer's oscillator does.
"""

MOVED_MOST_S = 2e-4
MOVED_SHARE = 0.1
"""Unexplained movement beyond the first, and beyond this share of the root distance, makes a sample useless."""


class SampleDropped(StrEnum):
    """Why a sample of chronyd gave no reading; one counter each."""

    UNWATCHED = "unwatched"  # taken before this laboratory watched
    WALL_MOVED = "wall-moved"  # the system clock was moved between sample and question, unknown to chronyd
    OWN = "own"  # chronyd follows this very laboratory: it would follow itself
    TOO_MANY = "too-many"  # beyond `MOST_SERVERS`


@dataclass(slots=True)
class _Server:
    """One source of chronyd, and what was seen of it. `sample`: what tells a new sample from the last one; `latest_ns`:
    the latest raw value at which that one may have been taken.
    """

    status: SourceStatus
    sample: tuple[float, float] | None = None
    latest_ns: int = 0
    distances_s: deque[float] = field(default_factory=lambda: deque(maxlen=DISTANCES_KEPT))
    is_own: bool = False


@dataclass(frozen=True, slots=True)
class _Look:
    """One consistent look: chronyd's clock minus raw (ns) at `raw_ns`, right to `limit_s`; all sources."""

    raw_ns: int
    wall_minus_raw_ns: int
    cooked_minus_raw_ns: int
    limit_s: float
    tracking: Tracking
    sources: tuple[tuple[int, SourceData], ...]


class ChronyFeed(Feed):
    """A chronyd, over its command socket. `own_doors`: the NTP doors of this laboratory, which chronyd may follow but
    we then do not.
    """

    def __init__(
        self,
        source: Source,
        path: Path,
        label: HostLabel,
        leaps: LeapTable,
        out: "queue.Queue[Batch]",
        *,
        own_doors: Iterable[HostPort] = (),
        clocks: HostClocks | None = None,
        client: ChronyClient | None = None,
    ) -> None:
        self._poll_s = DEFAULT_CHRONY_POLL_S if source.poll_s is None else source.poll_s
        super().__init__(source.name, SourceStatus(source.name, "chrony", source.name, poll_s=self._poll_s), out)
        self._source, self._label, self._leaps = source, label, leaps
        self._own_doors = tuple(own_doors)
        self._clocks = HostClocks() if clocks is None else clocks
        self._client = ChronyClient(path) if client is None else client
        self._watch = ChronyWatch()
        self._servers: dict[str, _Server] = {}
        self._first = FirstRound()
        self._dropped: Counter[SampleDropped] = Counter()
        self._tracking: Tracking | None = None
        self._away = ""
        self._told: set[str] = set()
        self._knows_ntp_data = True

    # ---- what others ask ------------------------------------------------------------------------------------------

    def servers(self) -> dict[str, SourceStatus]:
        """Return what is known of each source of chronyd."""
        return {name: server.status for name, server in self._servers.copy().items()}

    def document(self) -> dict[str, Any] | None:
        """Return chronyd's own statement, for `status`: shown, and believed by nobody."""
        body: dict[str, Any] = {
            "name": self.status.name,
            "socket": str(self._client.path),
            "answers": not self._away and self._tracking is not None,
            "questions": self._client.asked,
            "servers": len(self._servers),
            "samples_dropped": {why.value: count for why, count in sorted(self._dropped.items())},
            "replies_refused": {fault.value: count for fault, count in sorted(self._client.refused.copy().items())},
        }
        if self._away:
            body["says"] = self._away
        found = self._tracking
        if found is not None and not self._away:
            body |= {
                "leap": LEAP_WORDS[found.leap],
                "stratum": found.stratum,
                "selected": found.address or refid_text(found.reference_id),
                "x_chronyd_minus_wall_s": found.x_cooked_minus_wall_s,
                "frequency_ppm": found.frequency_ppm,
                "skew_ppm": found.skew_ppm,
                "root_distance_s": found.root_delay_s / 2.0 + found.root_dispersion_s,
            }
        return body

    # ---- the thread -----------------------------------------------------------------------------------------------

    def use_leaps(self, leaps: LeapTable) -> None:
        """Follow another leap table from the next answer on."""
        self._leaps = leaps

    def follow(self) -> None:
        """Look at chronyd at each whole poll interval of the raw counter."""
        every_ns = round(self._poll_s * NS_PER_S)
        try:
            while not self._ended.is_set():
                self.look()
                self._wait(every_ns - self._clocks.raw_ns() % every_ns)
        finally:
            self._client.close()

    def _wait(self, for_ns: int) -> None:
        """Wait, with an eye on the system clock."""
        until_ns = self._clocks.raw_ns() + for_ns
        while (left_s := (until_ns - self._clocks.raw_ns()) / NS_PER_S) > 0.0:
            if self._ended.wait(min(left_s, LOOK_EVERY_S)):
                return
            self.see_wall_clock()

    def see_wall_clock(self) -> None:
        """Note where the system clock stands; a pair too wide to tell is passed over."""
        pair = self._clocks.take_pair()
        if 2 * pair.half_width_ns < WIDEST_PAIR_NS:
            self._watch.see(pair.raw_ns, pair.realtime_minus_raw_ns)

    def look(self) -> None:
        """Look once, and put what is new into the queue."""
        try:
            look = self._look()
        except ChronyAwayRejected as error:
            self._on_away(str(error))
            return
        except ChronyReplyRejected as error:
            self._on_refused(error)
            self._on_away(str(error))
            return
        if look is None:
            self.status.failures += 1
            return
        self._on_answer(look)
        names = self._names([data for _, data in look.sources])
        readings = [
            reading
            for name, (index, data) in zip(names, look.sources, strict=True)
            if name is not None
            for reading in self._take(name, index, data, look)
        ]
        self._no_longer_followed(set(names))
        answering = {name for name, server in self._servers.items() if server.status.reach and not server.is_own}
        readings = self._first.after(readings, expected=answering)
        if readings:
            epoch_ns = self._label.at(look.raw_ns)
            stratum = max(self._servers[reading.a].status.stratum or 0 for reading in readings)
            self._out.put(Batch(epoch_ns, look.raw_ns, tuple(readings), stratum, None, self.status.name))

    def _look(self) -> _Look | None:
        """Ask for everything between two reports of chronyd's clock that agree; None where it never held still."""
        for _ in range(LOOK_TRIES):
            before = self._clocks.take_pair()
            tracking = _tracking(self._client.ask(Command.TRACKING))
            after = self._clocks.take_pair()
            sources = tuple(self._sources())
            again = _tracking(self._client.ask(Command.TRACKING))
            wide = 2 * max(before.half_width_ns, after.half_width_ns) >= WIDEST_PAIR_NS
            if not wide and _update(tracking) == _update(again):
                self._tracking = tracking
                return _joined(before, after, tracking, sources)
        return None

    def _sources(self) -> Iterable[tuple[int, SourceData]]:
        """Ask for each source; one whose report is refused costs no other."""
        counted = self._client.ask(Command.N_SOURCES)
        assert isinstance(counted, NSources)
        if counted.n > MOST_SERVERS:
            self._dropped[SampleDropped.TOO_MANY] += counted.n - MOST_SERVERS
            says = f"chronyd has {counted.n} sources; the first {MOST_SERVERS} are taken in"
            self._say_once(
                "too-many", AlertKind.SOURCE_UNREADABLE, AlertSeverity.WARNING, says, "give it fewer sources"
            )
        for index in range(min(counted.n, MOST_SERVERS)):
            try:
                data = self._client.ask(Command.SOURCE_DATA, index=index)
            except ChronyReplyRejected as error:
                self._on_refused(error)
                continue
            assert isinstance(data, SourceData)
            yield index, data

    def _names(self, sources: list[SourceData]) -> list[str | None]:
        """Return the references' names: None for a source that has no address yet; a second refclock of one refid is
        numbered.
        """
        names: list[str | None] = []
        for data in sources:
            word = reference_word(data)
            name = None if word is None else f"UTC.{self._source.name}.{word}"
            number = 2
            while name is not None and name in names:
                name, number = f"UTC.{self._source.name}.{word}-{number}", number + 1
            names.append(name)
        return names

    def _take(self, name: str, index: int, data: SourceData, look: _Look) -> Iterable[Reading]:
        """Turn a source's newest sample into a reading, where it is new and can be believed."""
        server = self._server(name, data)
        if server is None or not _is_new(server, data, look.raw_ns):
            return
        assert data.since_sample_s is not None
        try:
            stats = self._client.ask(Command.SOURCESTATS, index=index)
            self._ask_path(server, data)
        except ChronyReplyRejected as error:
            self._on_refused(error)
            return
        except ChronyAwayRejected:
            return  # the next look says so
        assert isinstance(stats, SourceStats)
        server.sample = (data.original_x_local_minus_source_s, data.root_distance_s)
        server.latest_ns = look.raw_ns - (data.since_sample_s - 1) * NS_PER_S
        if server.is_own:
            self._dropped[SampleDropped.OWN] += 1
            return
        age_s = data.since_sample_s + 1.0
        unexplained_s = self._watch.unexplained_s(look.raw_ns - round(age_s * NS_PER_S))
        if unexplained_s > max(MOVED_MOST_S, MOVED_SHARE * data.root_distance_s):
            why = SampleDropped.UNWATCHED if unexplained_s == inf else SampleDropped.WALL_MOVED
            self._dropped[why] += 1
            return
        rate = min(max((abs(stats.residual_ppm) + stats.skew_ppm) * 1e-6, RATE_LEAST), RATE_MOST)
        server.distances_s.append(data.root_distance_s)
        server.status.answers += 1
        server.status.last_raw_ns = look.raw_ns
        self.status.answers += 1
        self.status.last_raw_ns = look.raw_ns
        yield self._reading(
            name,
            server,
            look,
            x_local_minus_source_s=data.x_local_minus_source_s,
            u_s=_sigma_s(data, stats, server.distances_s) + (self._source.u_s or 0.0),
            limit_s=data.root_distance_s + unexplained_s + rate * age_s + look.limit_s + (self._source.limit_s or 0.0),
        )

    def _reading(
        self, name: str, server: _Server, look: _Look, *, x_local_minus_source_s: float, u_s: float, limit_s: float
    ) -> Reading:
        """Carry server minus chronyd's clock over to the host's label."""
        epoch_ns = self._label.at(look.raw_ns)
        tai_minus_utc_ns = self._leaps.tai_minus_utc_at(Instant(epoch_ns * FS_PER_NS)) * NS_PER_S
        cooked_minus_label_ns = look.raw_ns + look.cooked_minus_raw_ns + tai_minus_utc_ns - epoch_ns
        return Reading(
            epoch_tai_ns=epoch_ns,
            a=name,
            b="host",
            x_a_minus_b_s=cooked_minus_label_ns / NS_PER_S - x_local_minus_source_s,
            u_s=u_s,
            limit_s=limit_s,
            operator=server.status.operator,
        )

    def _server(self, name: str, data: SourceData) -> _Server | None:
        """Return what is kept of a source, brought up to date; None beyond `MOST_SERVERS` names."""
        server = self._servers.get(name)
        if server is None:
            if len(self._servers) >= MOST_SERVERS:
                self._dropped[SampleDropped.TOO_MANY] += 1
                return None
            word = name.removeprefix("UTC.")
            refclock = data.mode is SourceMode.REFCLOCK
            operator = self._source.operator or (word if refclock else str(data.address))
            server = _Server(SourceStatus(word, "chrony", operator), is_own=refclock and self._is_own(data))
            self._servers[name] = server
        status = server.status
        status.poll_s, status.stratum, status.reach = 2.0**data.poll_log2, data.stratum, data.reach
        status.says = "this laboratory itself: not followed" if server.is_own else ""
        return server

    def _is_own(self, data: SourceData) -> bool:
        """Return True for the refclock that this laboratory feeds."""
        return data.address == (self._source.own_refid or DEFAULT_OWN_REFID)

    def _ask_path(self, server: _Server, data: SourceData) -> None:
        """Ask for the path to a server; an old or new chronyd that tells it otherwise costs no reading."""
        if data.mode is SourceMode.REFCLOCK or not self._knows_ntp_data:
            return
        try:
            path = self._client.ask(Command.NTP_DATA, address=data.address)
        except ChronyReplyRejected as error:
            self._knows_ntp_data = error.fault is ReplyFault.STATUS
            self._on_refused(error)
            return
        assert isinstance(path, NtpData)
        server.status.delay_s = path.delay_s
        server.is_own = any(_is_door(door, str(data.address), path.port) for door in self._own_doors)

    def _no_longer_followed(self, names: set[str | None]) -> None:
        """Mark the sources that chronyd has given up."""
        for name, server in self._servers.items():
            if name not in names:
                server.status.reach = 0
                server.status.says = "chronyd no longer follows it"

    # ---- faults ---------------------------------------------------------------------------------------------------

    def _on_answer(self, look: _Look) -> None:
        """Note that chronyd answers, and where its clock stands."""
        update = _update(look.tracking)
        self._watch.add(WatchPoint(look.raw_ns, look.wall_minus_raw_ns, look.cooked_minus_raw_ns, update))
        self.status.reach = (self.status.reach << 1 | 1) & 0xFF
        if self._away:
            self._away = self.status.says = ""
            says = "chronyd answers again; its samples are used as soon as they are new"
            self.tell(AlertKind.SOURCE_RETURNED, AlertSeverity.NOTICE, says, "nothing")

    def _on_away(self, says: str) -> None:
        """Say once that chronyd does not answer; what was watched before is no longer joined to what comes after."""
        self._watch.forget()
        self.status.failures += 1
        self.status.reach = (self.status.reach << 1) & 0xFF
        for server in self._servers.values():
            server.status.reach = 0
            server.status.says = "chronyd does not answer"
        if not self._away:
            self.tell(AlertKind.SOURCE_AWAY, AlertSeverity.WARNING, says, "see that chronyd runs and may be asked")
        self._away = self.status.says = says

    def _on_refused(self, error: ChronyReplyRejected) -> None:
        """Count an answer that is not believed, and say each kind of it once."""
        self.status.failures += 1
        if error.fault is ReplyFault.STATUS and error.found.startswith("4 "):
            return  # a source that was removed between two questions
        key = f"{error.fault}: {error.expected}"
        advice = "compare the versions of chrony and of this program"
        self._say_once(key, AlertKind.SOURCE_UNREADABLE, AlertSeverity.WARNING, str(error), advice)

    def _say_once(self, key: str, kind: AlertKind, severity: AlertSeverity, says: str, do_next: str) -> None:
        if key not in self._told:
            self._told.add(key)
            self.tell(kind, severity, says, do_next)


def _tracking(report: object) -> Tracking:
    assert isinstance(report, Tracking)
    return report


def _update(tracking: Tracking) -> object:
    """Return what names chronyd's last correction of its clock."""
    return (tracking.reference_time_ns, tracking.last_x_local_minus_source_s, tracking.frequency_ppm)


def _joined(
    before: ClockPair, after: ClockPair, tracking: Tracking, sources: tuple[tuple[int, SourceData], ...]
) -> _Look:
    """Place chronyd's correction, which was told between two pairs, in their middle."""
    raw_ns = (before.raw_ns + after.raw_ns) // 2
    wall_ns = (before.realtime_minus_raw_ns + after.realtime_minus_raw_ns) // 2
    moved_ns = abs(after.realtime_minus_raw_ns - before.realtime_minus_raw_ns)
    width_ns = before.half_width_ns + after.half_width_ns + RATE_MOST * (after.raw_ns - before.raw_ns)
    cooked_ns = wall_ns + round(tracking.x_cooked_minus_wall_s * NS_PER_S)
    return _Look(raw_ns, wall_ns, cooked_ns, (moved_ns + width_ns) / NS_PER_S, tracking, sources)


def _is_new(server: _Server, data: SourceData, raw_ns: int) -> bool:
    """Return True where a source has a sample that was not seen before: another value, or too young to be the old
    one.
    """
    if data.since_sample_s is None:
        return False
    earliest_ns = raw_ns - (data.since_sample_s + 1) * NS_PER_S
    is_other = server.sample != (data.original_x_local_minus_source_s, data.root_distance_s)
    return is_other or earliest_ns > server.latest_ns


def _sigma_s(data: SourceData, stats: SourceStats, distances_s: deque[float]) -> float:
    """Return one sigma of a sample: the jitter that chronyd found, and by how much this one's path was longer than the
    best.
    """
    least_s = REFCLOCK_JITTER_LEAST_S if data.mode is SourceMode.REFCLOCK else SERVER_JITTER_LEAST_S
    found_s = stats.sd_s if stats.n_samples >= SAMPLES_FOR_SD else 0.0
    return max(least_s, found_s) + max(data.root_distance_s - min(distances_s), 0.0)


def _is_door(door: HostPort, address: str, port: int) -> bool:
    """Return True where chronyd's server is this laboratory's own door."""
    if port != door.port:
        return False
    try:
        found, listens = ipaddress.ip_address(address), ipaddress.ip_address(door.host)
    except ValueError:
        return False
    return found == listens or (found.is_loopback and (listens.is_loopback or listens.is_unspecified))
