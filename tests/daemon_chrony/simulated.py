"""A machine, its wall clock and a chronyd on it, as values: the truth is known, and nothing here waits.

The raw counter counts true seconds. `wall` and chronyd's own clock ("cooked": the wall clock plus what chronyd has
still to correct) are functions of it that a test moves; a server's time is truth plus its lie.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.sources.feeds import HostLabel
from truechimer.formats.chrony_reports import (
    Command,
    NSources,
    NtpData,
    ReplyFault,
    Report,
    SourceData,
    SourceMode,
    SourceState,
    SourceStats,
    Tracking,
)

NS = 10**9
UNIX_NS = 1_795_000_000 * NS
TAI_MINUS_UTC_NS = 37 * NS
READ_NS = 100
"""What one reading of a clock takes."""


@dataclass
class Machine:
    """`raw_ns` passes as it is read; true UTC is `UNIX_NS` + raw; the wall clock is off by `wall_off_ns` and runs by
    `wall_rate` fast.
    """

    raw_ns: int = 5 * NS
    wall_off_ns: float = 0.0
    wall_rate: float = 0.0
    _since_ns: int = 5 * NS

    def read_raw(self) -> int:
        self.raw_ns += READ_NS
        return self.raw_ns

    def true_unix_ns(self) -> int:
        return UNIX_NS + self.raw_ns

    def wall_ns(self) -> int:
        return self.true_unix_ns() + round(self.off_ns())

    def off_ns(self) -> float:
        return self.wall_off_ns + self.wall_rate * (self.raw_ns - self._since_ns)

    def set_rate(self, rate: float) -> None:
        """Let the wall clock run otherwise from now on, without a jump."""
        self.wall_off_ns, self._since_ns, self.wall_rate = self.off_ns(), self.raw_ns, rate

    def read_wall(self) -> int:
        self.raw_ns += READ_NS
        return self.wall_ns()

    def clocks(self) -> HostClocks:
        return HostClocks(
            raw_ns=self.read_raw, realtime_ns=self.read_wall, suspended_ns=lambda: 0, boot_text=lambda: b"boot"
        )

    def label(self) -> HostLabel:
        """A label that is off the truth by 3 s: what it is does not matter, only that it is known."""
        return HostLabel(self.raw_ns, self.true_unix_ns() + TAI_MINUS_UTC_NS + 3 * NS)


@dataclass
class Followed:
    """A source of chronyd. `lie_s`: its time minus truth; `sampled_raw_ns`: when it was sampled last; `x_s`: chronyd's
    clock minus the source then.
    """

    address: str | None
    lie_s: float = 0.0
    mode: SourceMode = SourceMode.SERVER
    distance_s: float = 1e-3
    stratum: int = 2
    port: int = 123
    reach: int = 255
    sampled_raw_ns: int | None = None
    x_s: float = 0.0
    samples: int = 0
    sd_s: float = 1e-5
    skew_ppm: float = 0.1


@dataclass
class SimulatedChronyd:
    """Answers like a client of chronyd (`ask`), from the model. `fails`: raised in place of the next answers."""

    machine: Machine
    sources: list[Followed] = field(default_factory=list)
    correction_s: float = 0.0
    updates: int = 1
    fails: list[Exception] = field(default_factory=list)
    refused_by_command: dict[Command, Exception] = field(default_factory=dict)
    path: Path = Path("/run/chrony/chronyd.sock")
    asked: int = 0
    refused: Counter[ReplyFault] = field(default_factory=Counter)
    closed: int = 0
    in_between: list[object] = field(default_factory=list)

    def sample(self, *which: Followed) -> None:
        """Let chronyd measure its sources (all by default) now."""
        cooked_ns = self.machine.wall_ns() + self.correction_s * NS
        for source in which or self.sources:
            source.sampled_raw_ns = self.machine.raw_ns
            source.samples += 1
            source.x_s = (cooked_ns - self.machine.true_unix_ns()) / NS - source.lie_s

    def update(self, offset_s: float) -> None:
        """Let chronyd correct its own clock by `offset_s` (it was ahead by so much): samples in hand move along."""
        self.correction_s -= offset_s
        self.updates += 1
        for source in self.sources:
            source.x_s -= offset_s

    def slew(self, by_s: float) -> None:
        """Carry out a correction on the wall clock: cooked stays where it is."""
        self.machine.wall_off_ns += by_s * NS
        self.correction_s -= by_s

    def ask(self, command: Command, *, index: int = 0, address: str | None = None) -> Report:
        self.asked += 1
        self.machine.raw_ns += 50_000
        if self.fails:
            raise self.fails.pop(0)
        if command in self.refused_by_command:
            raise self.refused_by_command[command]
        if self.in_between and command is Command.N_SOURCES:
            self.in_between.pop(0)()  # type: ignore[operator]
        if command is Command.N_SOURCES:
            return NSources(len(self.sources))
        if command is Command.TRACKING:
            return self._tracking()
        if command is Command.NTP_DATA:
            (found,) = [source for source in self.sources if source.address == address]
            return NtpData(address, found.port, 0, found.stratum, b"\0\0\0\0", 0.0, 0.0, 2e-3)
        source = self.sources[index]
        if command is Command.SOURCESTATS:
            return SourceStats(b"\0\0\0\0", source.address, source.samples, 0.0, source.skew_ppm, source.sd_s)
        return self._data(source)

    def _tracking(self) -> Tracking:
        return Tracking(
            b"\x7f\0\0\2", "127.0.0.2", 3, 0, self.updates, self.correction_s, 0.0, 0.0, 0.0, 0.1, 1e-3, 1e-4
        )

    def _data(self, source: Followed) -> SourceData:
        since = None
        if source.sampled_raw_ns is not None:
            unix_ns = UNIX_NS + source.sampled_raw_ns
            since = (self.machine.true_unix_ns() - unix_ns + unix_ns % NS) // NS
        return SourceData(
            address=source.address,
            poll_log2=4,
            stratum=source.stratum,
            state=SourceState.SELECTED,
            mode=source.mode,
            reach=source.reach,
            since_sample_s=since,
            original_x_local_minus_source_s=source.x_s + source.samples * 1e-12,
            x_local_minus_source_s=source.x_s,
            root_distance_s=source.distance_s,
        )

    def close(self) -> None:
        self.closed += 1
