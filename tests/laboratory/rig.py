"""A laboratory for tests: a scenario's world, the run that a laboratory would start with, and the fold fed by it."""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from tests.laboratory.signing import POLICY, signed

from truechimer.clocks.clock import Clock
from truechimer.clocks.register import host_clock
from truechimer.instants import LeapTable, builtin_leap_table
from truechimer.laboratory import line
from truechimer.laboratory.epoch_input import epoch_input
from truechimer.laboratory.line import EpochOutcome
from truechimer.laboratory.replay import begin_run
from truechimer.laboratory.run_start import RunStart, default_limits, merged
from truechimer.laboratory.state import LaboratoryConfig, LaboratoryState
from truechimer.sim import Scenario, World, WorldBatch

NS = 10**9
DAY_NS = 86_400 * NS
ANCHOR_TAI_NS = 1_795_000_037 * NS
ANCHOR_RAW_NS = 10**12


def start_of(
    scenario: Scenario,
    *,
    leaps: LeapTable | None = None,
    envelope_days: float = 400.0,
    with_host: bool = True,
    **more: object,
) -> RunStart:
    """What `up` would start this laboratory with, kinds of clocks known and their noise not."""
    clocks = tuple(Clock(name=clock.name, kind=clock.kind) for clock in scenario.clocks)
    clocks += (host_clock(),) if with_host else ()
    begin_ns = ANCHOR_TAI_NS - 400 * DAY_NS
    limits = default_limits(
        clocks, valid_from_ns=begin_ns, valid_until_ns=ANCHOR_TAI_NS + round(envelope_days * DAY_NS), sequence=1
    )
    pairs = tuple((one.a, one.b) for one in scenario.links)
    if with_host and scenario.clocks:
        pairs += (("host", scenario.host.pivot or scenario.clocks[0].name),)
    values: dict[str, object] = {
        "name": "test",
        "scale_name": "SIM(test)",
        "version": "0",
        "simulated": True,
        "clocks": clocks,
        "pairs": pairs,
        "operators": tuple((one.a, one.operator) for one in scenario.links if one.a.startswith("UTC") and one.operator),
        "interval_s": scenario.run.interval_s,
        "tau_weight_s": 86_400.0,
        "weight_cap_n": 4.0,
        "probation_s": 86_400.0,
        "steer_time_constant_s": 5 * 86_400.0,
        "steer_interval_s": 6 * 3600.0,
        "requalify_s": 86_400.0,
        "silence_s": 20.0,
        "policy": POLICY,
        "envelope": signed(limits),
        "leaps": leaps or builtin_leap_table(),
        "coverage": 0.99,
        "refid": b"SIM\0",
    }
    return RunStart(**{**values, **more})  # type: ignore[arg-type]


def world(scenario: Scenario, *, seed: int = 1) -> World:
    """The scenario's world, its history unread."""
    return World(scenario, seed=seed, anchor_tai_ns=ANCHOR_TAI_NS, anchor_raw_ns=ANCHOR_RAW_NS)


@dataclass
class Lab:
    """A laboratory under way: state, every record made, every outcome."""

    start: RunStart
    config: LaboratoryConfig = field(init=False)
    state: LaboratoryState = field(init=False)
    records: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.config, self.state, sealed = begin_run(self.start, None, same_boot=True)
        self.records.append(sealed.data)

    def fork(self) -> "Lab":
        """An independent laboratory with the same past."""
        twin = copy.copy(self)
        twin.records = self.records[:]
        return twin

    def restart(self, start: RunStart | None = None, *, same_boot: bool = True) -> None:
        """End this run and begin another on its state."""
        self.start = merged(start or self.start, self.state.register)
        self.config, self.state, sealed = begin_run(self.start, self.state, same_boot=same_boot)
        self.records.append(sealed.data)

    def take(self, batch: WorldBatch, *, drop: Iterable[str] = ()) -> EpochOutcome:
        """One epoch; readings that name one of `drop` never came."""
        dropped = set(drop)
        readings = [one for one in batch.readings if one.a not in dropped and one.b not in dropped]
        given = epoch_input(readings, self.state.register, epoch_tai_ns=batch.epoch_tai_ns, raw_ns=batch.raw_ns)
        self.state, outcome = line.step(self.state, given, self.config)
        self.records += [record.data for record in outcome.records]
        return outcome

    def history(self, of: World, *, drop: Iterable[str] = ()) -> list[EpochOutcome]:
        """The world's whole history."""
        return [self.take(batch, drop=drop) for batch in of.history()]


def live(of: World, *, seconds: int, first_s: int = 1, step_s: int = 1) -> Iterator[WorldBatch]:
    """Live epochs, one each `step_s` seconds after the anchor."""
    for second in range(first_s, first_s + seconds, step_s):
        yield of.batch(ANCHOR_RAW_NS + second * NS)


def of_days(scenario: Scenario, days: float, *, interval_s: float | None = None) -> Scenario:
    """The scenario with a history of so many days."""
    run = replace(scenario.run, days=days)
    return replace(scenario, run=run if interval_s is None else replace(run, interval_s=interval_s))
