"""A host whose clocks and network are numbers: its wall clock can be stepped and slewed, its true time cannot.

True time is the raw counter itself (ns). Every reading and every call costs time. Kernel stamps are made from the
wall clock as it stood when the datagram came, so wall clock and stamps move together, as they do on a real host.
"""

from dataclasses import dataclass, field

from truechimer.daemon.door.counters import Counters
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp.ntp_loop import NtpLoop, Received
from truechimer.serve import ClockPage, PageUnreadable
from truechimer.serve.ntp import NtpHeader, decode

START_NS = 5_000 * 10**9
WALL_MINUS_RAW_NS = 1_790_000_000 * 10**9
BOOT_TEXT = b"f56ac9fd-0000-4000-8000-000000000000"


@dataclass
class SimulatedHost:
    """`steps` are (at true ns, by ns); `slews` are (from true ns, d(wall - raw)/d(raw))."""

    steps: list[tuple[int, int]] = field(default_factory=list)
    slews: list[tuple[int, float]] = field(default_factory=list)
    read_ns: int = 60
    now_ns: int = START_NS
    interruptions: list[tuple[int, int]] = field(default_factory=list)
    suspended_ns: int = 0

    def wall_at(self, true_ns: int) -> int:
        wall = true_ns + WALL_MINUS_RAW_NS + sum(by for at, by in self.steps if at <= true_ns)
        ends = [*(at for at, _ in self.slews[1:]), true_ns]
        for (start, rate), end in zip(self.slews, ends, strict=False):
            wall += round(rate * max(0, min(end, true_ns) - start))
        return wall

    def spend(self, ns: int) -> None:
        """Let time pass; an interruption that begins meanwhile is added whole, once."""
        self.now_ns += ns
        for interruption in [one for one in self.interruptions if one[0] <= self.now_ns]:
            self.interruptions.remove(interruption)
            self.now_ns += interruption[1]

    def raw(self) -> int:
        self.spend(self.read_ns)
        return self.now_ns

    def wall(self) -> int:
        self.spend(self.read_ns)
        return self.wall_at(self.now_ns)

    def clocks(self) -> HostClocks:
        return HostClocks(
            raw_ns=self.raw, realtime_ns=self.wall, suspended_ns=lambda: self.suspended_ns, boot_text=lambda: BOOT_TEXT
        )


@dataclass(frozen=True)
class Answered:
    """One reply, with the true times that only the simulation knows."""

    came_ns: int
    sent_ns: int
    header: NtpHeader


class SimulatedPort:
    """A socket whose datagrams come at given true times, in order."""

    def __init__(self, host: SimulatedHost, arrivals: list[tuple[int, bytes]], *, receive_ns: int = 900) -> None:
        self.host = host
        self.waiting = sorted(arrivals)
        self.receive_ns = receive_ns
        self.answered: list[Answered] = []

    def wait(self, timeout_s: float) -> bool:
        self.host.spend(300)
        until = self.host.now_ns + round(timeout_s * 10**9)
        if self.waiting and self.waiting[0][0] <= until:
            self.host.now_ns = max(self.host.now_ns, self.waiting[0][0])
            if timeout_s:
                self.host.spend(4_000)  # waking up
            return True
        self.host.now_ns = until
        return False

    def receive(self) -> Received | None:
        self.host.spend(self.receive_ns)
        if not self.waiting or self.waiting[0][0] > self.host.now_ns:
            return None
        came_ns, octets = self.waiting.pop(0)
        return Received(octets, ("192.0.2.1", 40_000, came_ns), self.host.wall_at(came_ns))

    def send(self, octets: bytes, *, to: Received) -> None:
        header = decode(octets)
        assert header is not None
        self.answered.append(Answered(to.source[2], self.host.now_ns, header))
        self.host.spend(2_000)


class OnePage:
    """The page of a laboratory that wrote once."""

    def __init__(self, page: ClockPage | PageUnreadable) -> None:
        self.page = page

    def current(self) -> ClockPage | PageUnreadable:
        return self.page


def loop_on(host: SimulatedHost, port: SimulatedPort, page: ClockPage | PageUnreadable, clocks: HostClocks) -> NtpLoop:
    """Return an NTP loop that lives on this host."""
    return NtpLoop(port, OnePage(page), clocks=clocks, counters=Counters(), bound_limit_s=1e-3, precision_log2=-23)
