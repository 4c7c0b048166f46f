"""Feeds: live sources of readings, each in its own thread, all into one queue; none of them decides anything.

A feed labels each reading with the host's label (`HostLabel`): anchor + raw counter. Nothing here reads the wall clock
as time.
"""

import queue
import threading
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import Any

from truechimer.alerts import AlertKind, AlertSeverity
from truechimer.compare.reading import Reading
from truechimer.daemon import notify
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.source_settings import Source
from truechimer.instants import LeapTable
from truechimer.laboratory.receiving import Evidence
from truechimer.sim.world import World, WorldBatch

NS_PER_S = 10**9
AFTER_FAULT_S = 1.0
NEWS_KEPT = 32


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
    from; `evidence`: what a receiver says of itself.
    """

    epoch_tai_ns: int
    raw_ns: int | None
    readings: tuple[Reading, ...]
    stratum: int = 0
    world: WorldBatch | None = None
    source: str = ""
    evidence: tuple[Evidence, ...] = ()


LEAP_WORDS = ("normal", "insert", "delete", "unsynchronised")
"""What the leap bits of NTP say, by their value."""


@dataclass(slots=True)
class SourceStatus:
    """What a feed has seen, for `sources`: written by the feed's thread alone. `leap`: one of `LEAP_WORDS`, what the
    source's last answer announces; empty where it says nothing of the kind. `late_limit_s`: how far the last answer may
    be off where it came so late that it was left out; None where it was not.
    """

    name: str
    kind: str
    operator: str
    poll_s: float | None = None
    stratum: int | None = None
    leap: str = ""
    reach: int = 0
    answers: int = 0
    failures: int = 0
    last_raw_ns: int | None = None
    delay_s: float | None = None
    says: str = ""
    late_limit_s: float | None = None


@dataclass(frozen=True, slots=True)
class News:
    """What a feed wants to be told to the operator: an alert of its source, made and recorded by the laboratory's
    thread.
    """

    kind: AlertKind
    severity: AlertSeverity
    says: str
    do_next: str


class Feed(threading.Thread, ABC):
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

    @abstractmethod
    def follow(self) -> None:
        """Follow the source until `stop`."""

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

    def use_leaps(self, leaps: LeapTable) -> None:
        """Follow another leap table from the next answer on; a feed that reads no UTC label needs none."""

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
        """Read the world a second of raw time after its last epoch, or at once where that is long ago; then every
        second, late where the machine is late.
        """
        due = raw_ns = self._clocks.raw_ns()
        if self.world.now_tai_ns is not None:
            due += max(0, self._every_ns - (self.world.label_tai_ns(raw_ns) - self.world.now_tai_ns))
        while not self._ended.wait(max(0.0, (due - self._clocks.raw_ns()) / NS_PER_S)):
            raw_ns = self._clocks.raw_ns()
            with self.lock:
                batch = self.world.batch(raw_ns)
            self.status.answers += 1
            self.status.last_raw_ns = raw_ns
            self._out.put(Batch(batch.epoch_tai_ns, raw_ns, batch.readings, 0, batch, self.status.name))
            due = max(due + self._every_ns, raw_ns + self._every_ns // 2)
