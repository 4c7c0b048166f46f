"""Laboratories whose truth is known: a simulated world, the line that is fed by it, and what came of every epoch.

A `Rig` branches (`fork`): a laboratory that has learned for two days is made once and every test goes on from there.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache

from tests.laboratory.signing import POLICY, signed

from truechimer.alerts import Alert, AlertKind
from truechimer.clocks.clock import Clock, ClockKind, NoiseModel
from truechimer.clocks.register import host_clock
from truechimer.compare.reading import Reading
from truechimer.instants import builtin_leap_table
from truechimer.laboratory import line, run_start
from truechimer.laboratory.epoch_input import epoch_input
from truechimer.laboratory.line import EpochOutcome
from truechimer.laboratory.replay import begin_run, grow_register
from truechimer.laboratory.run_start import RunStart, default_limits
from truechimer.laboratory.state import LaboratoryConfig, LaboratoryState
from truechimer.quorum.envelope import SteeringLimits
from truechimer.serve.clock_page import ServiceState
from truechimer.sim import Event, Host, Laboratory, Link, Run, Scenario, SimulatedClock, What, World

NS = 10**9
DAY_NS = 86_400 * NS
ANCHOR_TAI_NS = 1_795_000_037 * NS
ANCHOR_RAW_NS = 1_000 * NS

MASER = NoiseModel(white_fm_1s=8e-14, random_walk_fm_1s=5.8e-19, drift_per_day=2e-16)
CAESIUM = NoiseModel(white_fm_1s=5e-12)
MASERS = ("H1", "H2", "H3", "H4")
CAESIUMS = ("C1", "C2", "C3")
OUTSIDE = (("P", 3e-9, 2e-9), ("Q", 2e-10, 2e-9), ("S", 1e-9, 1e-9))


def scenario(*events: Event, outside: tuple[tuple[str, float, float], ...] = OUTSIDE, days: float = 2.0) -> Scenario:
    """Four masers and three caesiums read against H1, links to other laboratories, a host that is off by 2.5e-6."""
    return Scenario(
        run=Run(days=days, interval_s=600.0),
        clocks=tuple(
            SimulatedClock(name=n, kind=ClockKind.MASER, noise=MASER, start_x_s=k * 3e-7, start_y=(k - 1.5) * 2e-14)
            for k, n in enumerate(MASERS)
        )
        + tuple(
            SimulatedClock(name=n, kind=ClockKind.CAESIUM, noise=CAESIUM, start_x_s=-k * 1e-6, start_y=(k - 1) * 1e-13)
            for k, n in enumerate(CAESIUMS)
        ),
        links=tuple(Link(a=n, b="H1", white_s=5e-11, quantisation_s=1e-11) for n in (*MASERS[1:], *CAESIUMS))
        + tuple(
            Link(a=f"UTC.{n}", b="H1", white_s=white_s, limit_s=3.0 * wander_s, operator=n)
            for n, white_s, wander_s in outside
        ),
        laboratories=tuple(Laboratory(name=n, wander_s=wander_s, wander_days=20.0) for n, _, wander_s in outside),
        events=events,
        host=Host(y_host=2.5e-6, wander_y=3e-10, wander_correlation_s=3_600.0, white_fm_1s=1e-10, pivot="H1"),
    )


def event(what: What, target: str, *, at_s: float = 0.0, **more: object) -> Event:
    units = {What.PHASE_STEP: "s", What.FREQUENCY_STEP: "1", What.RAMP: "s/s", What.RETURN: "s", What.REPLAY: "s"}
    unit = units.get(what) if "magnitude" in more else None
    return Event(at_s=at_s, what=what, target=target, unit=unit, **more)


def limits_for(clocks: tuple[Clock, ...], *, days: float = 90.0, begin_days: float = -60.0) -> SteeringLimits:
    """The default envelope, from `begin_days` to `days` of the anchor."""
    return default_limits(
        clocks,
        valid_from_ns=ANCHOR_TAI_NS + round(begin_days * DAY_NS),
        valid_until_ns=ANCHOR_TAI_NS + round(days * DAY_NS),
        sequence=1,
    )


def start_of(of: Scenario, *, host: bool = True, envelope_days: float = 90.0) -> RunStart:
    clocks = tuple(Clock(name=c.name, kind=c.kind, noise=c.noise) for c in of.clocks)
    pairs = tuple((link.a, link.b) for link in of.links)
    if host:
        clocks, pairs = (*clocks, host_clock()), (*pairs, ("host", of.host.pivot or of.clocks[0].name))
    return RunStart(
        name="rig",
        scale_name="SIM(rig)",
        version="0",
        simulated=True,
        clocks=clocks,
        pairs=pairs,
        operators=tuple((link.a, link.operator) for link in of.links if link.a.startswith("UTC")),
        interval_s=600.0,
        tau_weight_s=86_400.0,
        weight_cap_n=4.0,
        probation_s=21_600.0,
        steer_time_constant_s=5 * 86_400.0,
        steer_interval_s=6 * 3_600.0,
        requalify_s=21_600.0,
        silence_s=20.0,
        policy=POLICY,
        envelope=signed(limits_for(clocks, days=envelope_days)),
        leaps=builtin_leap_table(),
        coverage=0.99,
        refid=b"SIM\0",
    )


@dataclass
class Seen:
    """One epoch: what came out, and the truth: UTC(k) minus UTC (s) as the scale has it, None before it exists."""

    epoch_ns: int
    out: EpochOutcome
    error_s: float | None
    page_error_s: float | None


@dataclass
class Rig:
    """A world and a laboratory on it. `meddle` may change the readings of an epoch before they are fed."""

    world: World
    start: RunStart
    config: LaboratoryConfig
    state: LaboratoryState
    log: list[bytes] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    raw_ns: int = ANCHOR_RAW_NS
    meddle: Callable[[Iterable[Reading]], Iterable[Reading]] | None = None

    @staticmethod
    def begin(of: Scenario, *, seed: int = 1, start: RunStart | None = None) -> "Rig":
        world = World(of, seed=seed, anchor_tai_ns=ANCHOR_TAI_NS, anchor_raw_ns=ANCHOR_RAW_NS)
        start = start or start_of(of)
        config, state, record = begin_run(start, None, same_boot=True)
        return Rig(world, start, config, state, [record.data])

    def fork(self) -> "Rig":
        """Return an independent rig with the same past (its log too) and nothing seen yet."""
        return Rig(self.world.fork(), self.start, self.config, self.state, self.log[:], [], self.raw_ns, self.meddle)

    def history(self) -> "Rig":
        """Feed the whole history up to the anchor; the host is not read in it."""
        for batch in self.world.history():
            self._feed(batch, None)
        return self

    def live(self, count: int, *, step_s: float = 600.0) -> "Rig":
        """Feed live epochs, the host among the readings."""
        for _ in range(count):
            self.raw_ns += round(step_s * NS)
            self._feed(self.world.batch(self.raw_ns), self.raw_ns)
        return self

    def _feed(self, batch: object, raw_ns: int | None) -> None:
        readings = batch.readings if self.meddle is None else tuple(self.meddle(batch.readings))
        given = epoch_input(readings, self.state.register, epoch_tai_ns=batch.epoch_tai_ns, raw_ns=raw_ns)
        self.state, out = line.step(self.state, given, self.config)
        self.log += [record.data for record in out.records]
        error = page_error = None
        if out.coordination is not None:
            x_scale_minus_utc_s = batch.x_clock_minus_utc_s[0] - out.step.x_clock_minus_scale_s[0]
            error = float(x_scale_minus_utc_s) + out.coordination.at(batch.epoch_tai_ns)
        if out.page is not None and raw_ns is not None:
            page_error = (out.page.anchor_tai_fs - self.world.true_tai_fs(raw_ns)) / 1e15
        self.seen.append(Seen(batch.epoch_tai_ns, out, error, page_error))

    def again(self, *, same_boot: bool = True, **changes: object) -> "Rig":
        """End the run and begin the next one from its state, as a restart does."""
        start = run_start.merged(replace(self.start, **changes), self.state.register)
        self.config, self.state, record = begin_run(start, self.state, same_boot=same_boot)
        self.start = start
        self.log.append(record.data)
        return self

    def grow(self, pairs: Iterable[tuple[str, str]], operators: dict[str, str] | None = None) -> "Rig":
        self.state, record = grow_register(self.state, pairs, operators or {})
        if record is not None:
            self.log.append(record.data)
        return self

    @property
    def last(self) -> EpochOutcome:
        return self.seen[-1].out

    @property
    def words(self) -> list[ServiceState]:
        """The state words in their order, each once."""
        out: list[ServiceState] = []
        for one in self.seen:
            if not out or out[-1] is not one.out.service:
                out.append(one.out.service)
        return out

    def alerts(self, kind: AlertKind | None = None) -> list[Alert]:
        return [alert for one in self.seen for alert in one.out.alerts if kind is None or alert.kind is kind]

    def is_true(self) -> bool:
        """True where every stated bound contains the true error of the page that states it."""
        return all(
            one.out.page is None or abs(one.page_error_s) <= one.out.page.bound_s
            for one in self.seen
            if one.out.bound is not None
        )


@lru_cache(maxsize=4)
def _steered(seed: int) -> Rig:
    return Rig.begin(scenario(), seed=seed).history().live(3)


def steered(*, seed: int = 1) -> Rig:
    """A laboratory that has steered for some hours and knows its host; made once a session."""
    return _steered(seed).fork()
