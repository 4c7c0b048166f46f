"""Laboratories without clocks whose truth is known, asked by servers of which some lie: the fold, fed second by second.

The host's oscillator wanders; each server's path has an asymmetry of its own inside what its root distance says. What a
liar adds to its time, what it claims to know and whether it answers are functions of time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from tests.laboratory.rigs import ANCHOR_TAI_NS, DAY_NS, NS, limits_for
from tests.laboratory.signing import POLICY, signed

from truechimer.alerts import Alert, AlertKind
from truechimer.clocks.register import host_clock
from truechimer.compare.reading import Reading
from truechimer.compare.selection import SelectionState, Verdict
from truechimer.daemon.sources.late_answers import LateAnswers
from truechimer.instants import builtin_leap_table
from truechimer.laboratory import line
from truechimer.laboratory.epoch_input import epoch_input
from truechimer.laboratory.line import EpochOutcome
from truechimer.laboratory.replay import begin_run
from truechimer.laboratory.run_start import RunStart, merged
from truechimer.serve.clock_page import ServiceState
from truechimer.serve.served_time import bound_at, tai_fs_at
from truechimer.sim.host_oscillator import HostOscillator
from truechimer.sim.scenario import Host

ANCHOR_RAW_NS = 10**12
HOST = Host(y_host=2.3e-5, wander_y=3e-9, wander_correlation_s=300.0, white_fm_1s=5e-10)
SERVED = {ServiceState.STEERED, ServiceState.HOLDOVER}


def honest(_second: float) -> float:
    return 0.0


def constant(lie_s: float, *, since_s: float = 0.0, until_s: float = 1e9) -> Callable[[float], float]:
    return lambda second: lie_s if since_s <= second < until_s else 0.0


def ramp(rate: float, *, since_s: float = 0.0) -> Callable[[float], float]:
    return lambda second: max(0.0, second - since_s) * rate


@dataclass(frozen=True, slots=True)
class Server:
    """One server: what it adds to its time at a second, the dispersion that it states, whether it answers then, and for
    how long its answers are held back on their way (`held_s`), which it does not know.
    """

    lie_s: Callable[[float], float] = honest
    dispersion_s: float = 2e-5
    operator: str | None = None
    answers: Callable[[float], bool] = lambda _second: True
    every_s: int = 1
    states_s: float | None = None  # a root distance of its own making, whatever the path
    held_s: Callable[[float], float] = honest


@dataclass
class Scene:
    """A laboratory under way with its servers; every page is judged when it is made, and just before the next one."""

    servers: tuple[Server, ...]
    seed: int = 1
    poll_s: float = 1.0
    second: int = 0
    outcomes: list[EpochOutcome] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    lies: list[str] = field(default_factory=list)
    worst: float = 0.0
    errors_s: dict[int, float] = field(default_factory=dict)
    """By second: what was served as synchronised then, minus true UTC."""
    late: LateAnswers = field(default_factory=LateAnswers)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([self.seed, 77])
        self.host = HostOscillator(
            HOST, np.random.default_rng([self.seed, 78]), anchor_tai_ns=ANCHOR_TAI_NS, anchor_raw_ns=ANCHOR_RAW_NS
        )
        self.ways_s = self.rng.uniform(1e-5, 6e-5, (len(self.servers), 2))
        self.start = start_of(self.servers, poll_s=self.poll_s)
        self.config, self.state, sealed = begin_run(self.start, None, same_boot=True)
        self.records.append(sealed.data)

    def name(self, k: int) -> str:
        return f"UTC.s{k}"

    def run(self, seconds: int) -> "Scene":
        """Let so many seconds go by."""
        for _ in range(seconds):
            self.second += 1
            raw_ns = ANCHOR_RAW_NS + self.second * NS
            given = epoch_input(
                self._readings(raw_ns),
                self.state.register,
                epoch_tai_ns=self.host.label_tai_ns(raw_ns),
                raw_ns=raw_ns,
                stratum=2,
            )
            self.state, outcome = line.step(self.state, given, self.config)
            self.outcomes.append(outcome)
            self.records += [record.data for record in outcome.records]
            self._judge(outcome)
        return self

    def _readings(self, raw_ns: int) -> list[Reading]:
        label_ns = self.host.label_tai_ns(raw_ns)
        found = []
        for k, server in enumerate(self.servers):
            out_s, back_s = self.ways_s[k] + self.rng.exponential(5e-6, 2)
            back_s += server.held_s(self.second)
            if self.second % server.every_s or not server.answers(self.second):
                continue
            error_s = server.lie_s(self.second) + (out_s - back_s) / 2.0
            delay_s = out_s + back_s
            operator = server.operator or f"operator-{k}"
            if self.late.leaves_out(self.name(k), operator, delay_s):
                continue  # as `NtpFeed` does
            distance_s = delay_s / 2.0 + server.dispersion_s if server.states_s is None else server.states_s
            noise_s = max(delay_s - float(self.ways_s[k].sum()), 0.0) / 2.0
            found.append(
                Reading(
                    epoch_tai_ns=label_ns,
                    a=self.name(k),
                    b="host",
                    x_a_minus_b_s=error_s - self.host.x_host_minus_utc_s(raw_ns),
                    u_s=1e-6 + (noise_s if server.states_s is None else 0.0),
                    limit_s=distance_s,
                    operator=operator,
                )
            )
        return found

    def _judge(self, outcome: EpochOutcome) -> None:
        page = outcome.page
        if page is None or page.state not in SERVED:
            return
        for raw_ns in (page.anchor_raw_ns, page.anchor_raw_ns + 999 * 10**6):
            error_s = (tai_fs_at(page, raw_ns) - self.host.true_tai_fs(raw_ns)) / 1e15
            bound_s = bound_at(page, raw_ns)
            self.errors_s.setdefault(self.second, error_s)
            self.worst = max(self.worst, abs(error_s) / bound_s)
            if abs(error_s) > bound_s:
                self.lies.append(f"second {self.second}: off by {error_s:.3e} s, bound {bound_s:.3e} s")

    @property
    def last(self) -> EpochOutcome:
        return self.outcomes[-1]

    @property
    def words(self) -> list[ServiceState]:
        """The states, each once in a row."""
        found: list[ServiceState] = []
        for one in self.outcomes:
            if found[-1:] != [one.service]:
                found.append(one.service)
        return found

    def alerts(self, kind: AlertKind) -> list[Alert]:
        return [alert for one in self.outcomes for alert in one.alerts if alert.kind is kind]

    def named(self) -> set[int]:
        """Servers that are outvoted or in quarantine now."""
        return {
            k for k, claim in enumerate(self.last.claims) if claim.verdict in {Verdict.OUTVOTED, Verdict.QUARANTINED}
        }

    def votes(self) -> list[SelectionState]:
        found: list[SelectionState] = []
        for one in self.outcomes:
            if found[-1:] != [one.selection.state]:
                found.append(one.selection.state)
        return found

    def change(self, **changes: Server) -> None:
        """Put other servers in the place of some: `s3=Server(...)`."""
        servers = list(self.servers)
        for name, server in changes.items():
            servers[int(name[1:])] = server
        self.servers = tuple(servers)

    def restart(self, *, same_boot: bool) -> None:
        """End this run and begin another on its state."""
        self.start = merged(self.start, self.state.register)
        self.config, self.state, sealed = begin_run(self.start, self.state, same_boot=same_boot)
        self.records.append(sealed.data)


def start_of(servers: tuple[Server, ...], *, poll_s: float) -> RunStart:
    """What `up` would start with these servers in LAB.toml."""
    clocks = (host_clock(),)
    names = [f"UTC.s{k}" for k in range(len(servers))]
    limits = replace(limits_for(clocks), valid_from_ns=ANCHOR_TAI_NS - DAY_NS)
    return RunStart(
        name="hostlab",
        scale_name="UTC(hostlab)",
        version="0",
        simulated=False,
        clocks=clocks,
        pairs=tuple((name, "host") for name in names),
        operators=tuple(
            (name, one.operator or f"operator-{k}") for k, (name, one) in enumerate(zip(names, servers, strict=True))
        ),
        polls=tuple((name, poll_s * one.every_s) for name, one in zip(names, servers, strict=True)),
        interval_s=1.0,
        tau_weight_s=86_400.0,
        weight_cap_n=4.0,
        probation_s=86_400.0,
        steer_time_constant_s=32.0,
        steer_interval_s=10.0,
        requalify_s=60.0,
        silence_s=20.0,
        policy=POLICY,
        envelope=signed(limits),
        leaps=builtin_leap_table(),
        coverage=0.9,
        refid=b"XTRU",
    )
