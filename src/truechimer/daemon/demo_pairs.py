"""Paired runs: the same epochs through the same fold twice, once with what was injected and once without, so that
noise cancels.

It feeds the fold and looks on; it changes nothing. Truth is the world's, and only here and in the demo's table does
anybody see it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from truechimer.alerts import Alert, AlertKind
from truechimer.compare.reading import Reading
from truechimer.laboratory import line
from truechimer.laboratory.epoch_input import epoch_input
from truechimer.laboratory.line import EpochOutcome
from truechimer.laboratory.state import LaboratoryConfig, LaboratoryState
from truechimer.serve.clock_page import ClockPage
from truechimer.serve.served_time import tai_fs_at
from truechimer.sim.scenario import Event
from truechimer.sim.world import World, WorldBatch

NS_PER_S = 10**9
FS_PER_S = 10**15


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One event of the story: what is injected where, which alert must name it, and how long it is watched."""

    name: str
    says: str
    event: Event
    target: str
    expect: tuple[AlertKind, ...]


@dataclass(slots=True)
class Pair:
    """A run and its clean twin from the moment of an injection on.

    `began_ns`: label of the first epoch that differs; `detected_ns`: label of the first alert of the expected kind
    about the target;
    `scale_moved_s`, `served_moved_s`: the most by which scale and served time differ from the twin's.
    """

    planned: Planned
    twin: LaboratoryState | None = None
    began_ns: int | None = None
    detected_ns: int | None = None
    said: str = ""
    scale_moved_s: float = 0.0
    served_moved_s: float | None = None
    epochs: int = 0

    def follow(
        self,
        before: LaboratoryState,
        config: LaboratoryConfig,
        batch: WorldBatch,
        outcome: EpochOutcome,
        *,
        epoch_ns: int,
        raw_ns: int | None,
        target_clock: int | None,
    ) -> None:
        """Take one epoch: step the twin on what would have been read, compare, and look for the alert."""
        if self.began_ns is None:
            if batch.clean is batch.readings or batch.clean == batch.readings:
                return
            self.began_ns, self.twin = epoch_ns, before
        if self.twin is None:
            return
        self.twin, clean = line.step(
            self.twin, epoch_input(batch.clean, self.twin.register, epoch_tai_ns=epoch_ns, raw_ns=raw_ns), config
        )
        self.epochs += 1
        moved = outcome.step.x_clock_minus_scale_s - clean.step.x_clock_minus_scale_s
        honest = [
            i for i in range(len(moved)) if i != target_clock and np.isfinite(moved[i]) and outcome.step.weight[i] > 0.0
        ]
        if honest and outcome.step.due:
            self.scale_moved_s = max(self.scale_moved_s, abs(float(np.median(moved[honest]))))
        if outcome.page is not None and clean.page is not None:
            apart_s = abs(_apart_s(outcome.page, clean.page))
            self.served_moved_s = max(self.served_moved_s or 0.0, apart_s)
        if self.detected_ns is None:
            self._look(outcome.alerts, epoch_ns)

    def _look(self, alerts: Iterable[Alert], epoch_ns: int) -> None:
        """Note the first alert of the right kind about the right subject."""
        for alert in alerts:
            if alert.kind in self.planned.expect and alert.subject == self.planned.target:
                self.detected_ns, self.said = epoch_ns, alert.says

    @property
    def detected_after_s(self) -> float | None:
        """Seconds from the first epoch that differed to the alert; None where there was none."""
        if self.detected_ns is None or self.began_ns is None:
            return None
        return (self.detected_ns - self.began_ns) / NS_PER_S


def _apart_s(page: ClockPage, other: ClockPage) -> float:
    """Return how far two pages differ at the first one's anchor (s)."""
    return (tai_fs_at(page, page.anchor_raw_ns) - tai_fs_at(other, page.anchor_raw_ns)) / FS_PER_S


@dataclass(slots=True)
class Truth:
    """What the world knows of the service's honesty: samples, lies (true error above the stated bound), and the
    largest of both (s).
    """

    samples: int = 0
    lies: int = 0
    true_error_s_max: float = 0.0
    bound_s_max: float = 0.0
    bounds_s: list[float] = field(default_factory=list)

    def judge(self, error_s: float, bound_s: float) -> None:
        """Take one sample."""
        self.samples += 1
        self.lies += int(abs(error_s) > bound_s)
        self.true_error_s_max = max(self.true_error_s_max, abs(error_s))
        self.bound_s_max = max(self.bound_s_max, bound_s)
        self.bounds_s.append(bound_s)

    @property
    def bound_s_median(self) -> float | None:
        """Median of the stated bounds (s)."""
        return float(np.median(self.bounds_s)) if self.bounds_s else None


@dataclass(frozen=True, slots=True)
class BranchResult:
    """What a branch showed: the pair, the truth over its samples, its length, the last bound and the last true error
    (s), and its last state word.
    """

    pair: Pair
    truth: Truth
    days: float
    bound_s: float
    true_error_s: float
    state: str
    alarms: int


def branch(
    world: World, state: LaboratoryState, config: LaboratoryConfig, planned: Planned, *,
    raw_ns: int, every_s: float, epochs: int,
    target_clock: int | None, more: Iterable[Event] = (), stopped: Callable[[], bool] = lambda: False,
) -> BranchResult:  # fmt: skip
    """Run a branch from this state, faster than real time: a fork of the world, its events, and the same fold.

    The event begins at the second epoch. Nothing of it reaches the running laboratory.
    """
    fork = world.fork()
    begin_raw_ns = raw_ns + round(1.5 * every_s * NS_PER_S)
    for event in (planned.event, *more):
        fork.inject(event, at_raw_ns=begin_raw_ns)
    pair, truth = Pair(planned), Truth()
    last_bound_s, last_error_s, word, alarms = 0.0, 0.0, state.service.value, 0
    for number in range(1, epochs + 1):
        if stopped():
            break
        at_raw_ns = raw_ns + round(number * every_s * NS_PER_S)
        batch = fork.batch(at_raw_ns)
        before = state
        given: tuple[Reading, ...] = batch.readings
        state, outcome = line.step(
            state, epoch_input(given, state.register, epoch_tai_ns=batch.epoch_tai_ns, raw_ns=at_raw_ns), config
        )
        pair.follow(
            before, config, batch, outcome, epoch_ns=batch.epoch_tai_ns, raw_ns=at_raw_ns, target_clock=target_clock
        )
        alarms += len(outcome.alerts)
        word = outcome.service.value
        if outcome.page is not None and outcome.bound is not None:
            last_error_s = (tai_fs_at(outcome.page, at_raw_ns) - fork.true_tai_fs(at_raw_ns)) / FS_PER_S
            last_bound_s = outcome.bound.bound_s
            truth.judge(last_error_s, last_bound_s)
    return BranchResult(pair, truth, epochs * every_s / 86_400.0, last_bound_s, last_error_s, word, alarms)
