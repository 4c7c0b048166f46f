"""Feeds: live sources of readings, each in its own thread, all into one queue; none of them decides anything.

A feed labels each reading with the host's label (`HostLabel`): anchor + raw counter. Nothing here reads the wall clock
as time.
"""

import queue
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from truechimer.alerts import AlertKind, AlertSeverity
from truechimer.compare.reading import Reading
from truechimer.daemon import notify
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab_file import Source
from truechimer.daemon.ntp_exchange import ExchangeFailure, NtpMeasurement, ask_once, warm_up
from truechimer.instants import FS_PER_NS, Instant, LeapTable
from truechimer.sim.world import World, WorldBatch

NS_PER_S = 10**9
NTP_TIMEOUT_S = 2.0
NTP_JITTER_LEAST_S = 1e-6
"""One sigma of an exchange on the quietest path: what user space, interrupts and the server's own stamps add."""

NTP_DELAYS_KEPT = 32
AFTER_FAULT_S = 1.0
NEWS_KEPT = 32
BURST = 8
"""Questions asked at the start, 2 s apart (or the poll where that is shorter), so that the rate is known soon."""
BURST_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class HostLabel:
    """The host's name for instants: `tai_ns` at the raw value `raw_ns`, at nominal rate. A label, never a time to
    serve.
    """

    raw_ns: int
    tai_ns: int

    def at(self, raw_ns: int) -> int:
        """Return the label (ns, TAI axis) of a raw value."""
        return self.tai_ns + (raw_ns - self.raw_ns)

    def raw_of(self, tai_ns: int) -> int:
        """Return the raw value of a label."""
        return self.raw_ns + (tai_ns - self.tai_ns)


@dataclass(frozen=True, slots=True)
class Batch:
    """Readings that became known together. `epoch_tai_ns`: their common epoch; `raw_ns` None where they lie in the
    past; `stratum`: of the source, 0 for a clock.

    `world`: the simulated laboratory's own batch, for whoever knows the truth; `source`: the name of the source it came
    from.
    """

    epoch_tai_ns: int
    raw_ns: int | None
    readings: tuple[Reading, ...]
    stratum: int = 0
    world: WorldBatch | None = None
    source: str = ""


@dataclass(slots=True)
class SourceStatus:
    """What a feed has seen, for `sources`: written by the feed's thread alone."""

    name: str
    kind: str
    operator: str
    poll_s: float | None = None
    stratum: int | None = None
    reach: int = 0
    answers: int = 0
    failures: int = 0
    last_raw_ns: int | None = None
    delay_s: float | None = None
    says: str = ""


@dataclass(frozen=True, slots=True)
class News:
    """What a feed wants to be told to the operator: an alert of its source, made and recorded by the laboratory's
    thread.
    """

    kind: AlertKind
    severity: AlertSeverity
    says: str
    do_next: str


class Feed(threading.Thread):
    """One source: `follow` puts batches into the queue until `stop`. A fault of ours in it is said, counted, and tried
    again.
    """

    def __init__(self, source: str, status: SourceStatus, out: "queue.Queue[Batch]") -> None:
        super().__init__(name=f"feed-{source}", daemon=True)
        self.status = status
        self._out = out
        self._ended = threading.Event()
        self._news: deque[News] = deque(maxlen=NEWS_KEPT)

    def run(self) -> None:
        """Follow the source for as long as it is wanted."""
        while not self._ended.is_set():
            try:
                self.follow()
            except Exception as error:  # noqa: BLE001 - one source must not end in silence, nor take the others with it
                self.status.failures += 1
                self.status.says = f"a fault of this program in this source ({error!r}); please report it"
                notify.say_fault()
                self._ended.wait(AFTER_FAULT_S)

    def follow(self) -> None:
        """Follow the source until `stop`."""
        raise NotImplementedError

    def servers(self) -> dict[str, SourceStatus]:
        """Return what each server that this feed follows was seen to be, by the name of its reference (`UTC.<name>`);
        empty where it follows none. Called from any thread.
        """
        return {}

    def document(self) -> dict[str, Any] | None:
        """Return what `status` shows of the program that this feed asks; None where there is none. Called from any
        thread.
        """
        return None

    def tell(self, kind: AlertKind, severity: AlertSeverity, says: str, do_next: str) -> None:
        """Have the operator told."""
        self._news.append(News(kind, severity, says, do_next))

    def take_news(self) -> tuple[News, ...]:
        """Return what is to be told since the last call, and forget it. Called from the laboratory's thread."""
        found = []
        while self._news:
            found.append(self._news.popleft())
        return tuple(found)

    def stop(self) -> None:
        """Ask the thread to end; it does within a second or an exchange."""
        self._ended.set()


class SimulatedFeed(Feed):
    """A world that is read once a second of the host's raw counter."""

    def __init__(
        self, source: Source, world: World, clocks: HostClocks, out: "queue.Queue[Batch]", *, every_s: float = 1.0
    ) -> None:
        super().__init__(source.name, SourceStatus(source.name, "simulated", source.name, poll_s=every_s), out)
        self.world = world
        self._clocks = clocks
        self._every_ns = round(every_s * NS_PER_S)
        self.lock = threading.Lock()

    def follow(self) -> None:
        """Read the world at whole seconds of raw time, late where the machine is late."""
        due = self._clocks.raw_ns() + self._every_ns
        while not self._ended.wait(max(0.0, (due - self._clocks.raw_ns()) / NS_PER_S)):
            raw_ns = self._clocks.raw_ns()
            with self.lock:
                batch = self.world.batch(raw_ns)
            self.status.answers += 1
            self.status.last_raw_ns = raw_ns
            self._out.put(Batch(batch.epoch_tai_ns, raw_ns, batch.readings, 0, batch, self.status.name))
            due = max(due + self._every_ns, raw_ns + self._every_ns // 2)


class NtpFeed(Feed):
    """An NTP server as a link `UTC.<name>` minus host.

    One sigma is the excess of the exchange's delay over the least of the last exchanges, halved, and never below the
    machine's own jitter; the limit is the root distance (RFC 5905 section 10), which no averaging removes.
    """

    def __init__(self, source: Source, label: HostLabel, leaps: LeapTable, out: "queue.Queue[Batch]") -> None:
        status = SourceStatus(source.name, "ntp", source.operator_name, poll_s=source.poll_interval_s)
        super().__init__(source.name, status, out)
        place = source.place
        assert place is not None
        self._host, self._port, self._poll_s = place.host, place.port, source.poll_interval_s
        self._label, self._leaps, self._source = label, leaps, source
        self._delays_s: deque[float] = deque(maxlen=NTP_DELAYS_KEPT)

    def servers(self) -> dict[str, SourceStatus]:
        """Return the one server."""
        return {f"UTC.{self._source.name}": self.status}

    def follow(self) -> None:
        """Ask, first in a burst, then at the poll interval."""
        clocks = HostClocks()
        warm_up(clocks)
        asked = 0
        while not self._ended.is_set():
            began = clocks.raw_ns()
            found = ask_once(
                self._host,
                self._port,
                timeout_s=NTP_TIMEOUT_S,
                clocks=clocks,
                leaps=self._leaps,
                near=Instant.from_tai_ns(self._label.at(began)),
            )
            asked += 1
            self._take(found)
            every_ns = round((min(BURST_EVERY_S, self._poll_s) if asked < BURST else self._poll_s) * NS_PER_S)
            # a grid that all sources share: their answers come together, and are judged together
            raw_ns = clocks.raw_ns()
            self._ended.wait((every_ns - raw_ns % every_ns) / NS_PER_S)

    def _take(self, found: NtpMeasurement | ExchangeFailure) -> None:
        """Turn an answer into a reading, or note why not."""
        status = self.status
        status.reach = (status.reach << 1) & 0xFF
        if isinstance(found, ExchangeFailure):
            status.failures += 1
            status.says = found.says
            return
        status.stratum = found.stratum
        if not found.synchronised or found.server_tai_fs is None or found.delay_s is None:
            status.failures += 1
            status.says = f"not usable as time: {found.doubt}"
            return
        status.reach |= 1
        status.answers += 1
        status.says, status.last_raw_ns, status.delay_s = "", found.raw_mid_ns, found.delay_s
        self._delays_s.append(found.delay_s)
        excess_s = max(found.delay_s - min(self._delays_s), 0.0)
        epoch_ns = self._label.at(found.raw_mid_ns)
        reading = Reading(
            epoch_tai_ns=epoch_ns,
            a=f"UTC.{self._source.name}",
            b="host",
            x_a_minus_b_s=(found.server_tai_fs - epoch_ns * FS_PER_NS) / 1e15,
            u_s=max(NTP_JITTER_LEAST_S, 2.0**found.precision_log2) + excess_s / 2.0 + (self._source.u_s or 0.0),
            limit_s=found.root_distance_s + (self._source.limit_s or 0.0),
            operator=status.operator,
        )
        self._out.put(Batch(epoch_ns, found.raw_mid_ns, (reading,), found.stratum, None, status.name))
