"""Paired runs: the same epochs through the same fold twice, once with what was injected and once without, so that
noise cancels.

It feeds the fold and looks on; it changes nothing. Truth is the world's, and only here and in the demo's table does
anybody see it. Source: drills.md (an event is measured against the same run without it).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from truechimer.alerts import Alert, AlertKind
from truechimer.laboratory import line
from truechimer.laboratory.epoch_input import epoch_input
from truechimer.laboratory.line import EpochOutcome
from truechimer.laboratory.state import LaboratoryConfig, LaboratoryState
from truechimer.quorum.verified import Verified
from truechimer.serve.clock_page import ClockPage
from truechimer.serve.served_time import tai_fs_at
from truechimer.sim.scenario import Event
from truechimer.sim.world import World

NS_PER_S = 10**9
FS_PER_S = 10**15
SETTLE_EPOCHS = 10
"""Epochs of a second at the start of a branch: the history has no readings of the host, so its rate is learned here."""

PROGRESS_EPOCHS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One event of the story: what is injected where, which alert must name it, and how long it is watched."""

    name: str
    says: str
    event: Event
    target: str
    expect: tuple[AlertKind, ...]


@dataclass(slots=True, kw_only=True)
class Pair:
    """A run and its clean twin from the moment of an injection on.

    `twin_world`: a fork of the world from before the injection, so it has everything but this one event; `twin`: the
    fold's state on it, None until the first epoch after the injection; `injected_ns`: label of the injection;
    `detected_ns`: label of the first epoch whose alert is of the expected kind about the target; `scale_moved_s`,
    `served_moved_s`: the most by which scale and served time differ from the twin's.
    """

    planned: Planned
    twin_world: World
    injected_ns: int
    target_clock: int | None
    twin: LaboratoryState | None = None
    detected_ns: int | None = None
    said: str = ""
    scale_moved_s: float = 0.0
    served_moved_s: float | None = None
    epochs: int = 0

    def follow(
        self,
        before: LaboratoryState,
        config: LaboratoryConfig,
        outcome: EpochOutcome,
        *,
        epoch_ns: int,
        raw_ns: int,
        read: bool = True,
    ) -> None:
        """Take one epoch: step the twin on what would have been read, compare, and look for the alert.

        Every epoch after the injection must come here, in order; those before it are passed over. `read`: the world
        was read at this epoch (the fold also steps when a feed is silent).
        """
        if epoch_ns <= self.injected_ns:
            return
        readings = self.twin_world.batch(raw_ns).readings if read else ()
        state = before if self.twin is None else self.twin
        given = epoch_input(readings, state.register, epoch_tai_ns=epoch_ns, raw_ns=raw_ns)
        self.twin, expected = line.step(state, given, config)
        self.epochs += 1
        moved = outcome.step.x_clock_minus_scale_s - expected.step.x_clock_minus_scale_s
        weighs = (outcome.step.weight > 0.0) & np.isfinite(moved)
        if self.target_clock is not None:
            weighs[self.target_clock] = False
        if outcome.step.due and weighs.any():
            self.scale_moved_s = max(self.scale_moved_s, abs(float(np.median(moved[weighs]))))
        if outcome.page is not None and expected.page is not None:
            apart_s = abs(_apart_s(outcome.page, expected.page))
            self.served_moved_s = max(self.served_moved_s or 0.0, apart_s)
        if self.detected_ns is None:
            self._look(outcome.alerts, epoch_ns)

    def _look(self, alerts: Iterable[Alert], epoch_ns: int) -> None:
        """Note the first alert of the right kind about the right subject."""
        for alert in alerts:
            if alert.kind in self.planned.expect and alert.subject == self.planned.target:
                self.detected_ns, self.said = epoch_ns, alert.says
                return

    @property
    def detected_after_s(self) -> float | None:
        """Seconds from the injection to the epoch of the alert; None where there was none."""
        return None if self.detected_ns is None else (self.detected_ns - self.injected_ns) / NS_PER_S


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
class Origin:
    """Where all branches begin: a world and the fold's state at one epoch; `raw_ns`: the host's counter then."""

    world: World
    state: LaboratoryState
    raw_ns: int


@dataclass(frozen=True, slots=True)
class BranchResult:
    """What a branch showed: the pair, the truth over its samples, its length, the last bound and the last true error
    (s), its last state word, and for how long the steering stood at its signed daily limit (s).

    `cut`: the demo's time was up before the branch was.
    """

    pair: Pair
    truth: Truth
    days: float
    bound_s: float | None
    true_error_s: float | None
    state: str
    steering_at_limit_s: float
    cut: bool


def branch(
    origin: Origin,
    config: LaboratoryConfig,
    planned: Planned,
    *,
    every_s: float,
    epochs: int,
    target_clock: int | None,
    more: Iterable[Event] = (),
    stopped: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> BranchResult:
    """Run a branch from `origin`, faster than real time: a fork of the world, its events, and the same fold.

    First `SETTLE_EPOCHS` of a second, in which the host's counter becomes known; the event begins in the middle of the
    first epoch of `every_s` after them. Nothing of it reaches the running laboratory, and nothing of that reaches it:
    the same seed and anchor give the same figures.
    """
    fork, state = origin.world.fork(), origin.state
    settled_raw_ns = origin.raw_ns + SETTLE_EPOCHS * NS_PER_S
    for number in range(1, SETTLE_EPOCHS + 1):
        state, _ = _epoch(fork, state, config, origin.raw_ns + number * NS_PER_S)
    begin_raw_ns = settled_raw_ns + round(0.5 * every_s * NS_PER_S)
    pair = Pair(
        planned=planned,
        twin_world=fork.fork(),
        injected_ns=fork.label_tai_ns(begin_raw_ns),
        target_clock=target_clock,
    )
    for event in (planned.event, *more):
        fork.inject(event, at_raw_ns=begin_raw_ns)
    truth, bound_s, error_s, at_limit, done = Truth(), None, None, 0, 0
    for number in range(1, epochs + 1):
        if stopped():
            break
        raw_ns, before, done = settled_raw_ns + round(number * every_s * NS_PER_S), state, number
        state, outcome = _epoch(fork, state, config, raw_ns)
        pair.follow(before, config, outcome, epoch_ns=state.epoch_ns, raw_ns=raw_ns)
        at_limit += int(is_steering_at_limit(state))
        if outcome.page is not None and outcome.bound is not None:
            error_s = (tai_fs_at(outcome.page, raw_ns) - fork.true_tai_fs(raw_ns)) / FS_PER_S
            bound_s = outcome.bound.bound_s
            truth.judge(error_s, bound_s)
        if number % PROGRESS_EPOCHS == 0:
            progress(number, epochs)
    days = done * every_s / 86_400.0
    return BranchResult(pair, truth, days, bound_s, error_s, state.service.value, at_limit * every_s, cut=done < epochs)


def _epoch(
    world: World, state: LaboratoryState, config: LaboratoryConfig, raw_ns: int
) -> tuple[LaboratoryState, EpochOutcome]:
    """Read the world at `raw_ns` and step the fold."""
    batch = world.batch(raw_ns)
    given = epoch_input(batch.readings, state.register, epoch_tai_ns=batch.epoch_tai_ns, raw_ns=raw_ns)
    return line.step(state, given, config)


def is_steering_at_limit(state: LaboratoryState) -> bool:
    """Return True where the rate in force is as far from the envelope's reference as a day's limit allows."""
    if state.coordination is None or state.applied is None or not isinstance(state.limits, Verified):
        return False
    departure_s = abs(state.coordination.y_steer - state.applied.reference_y) * 86_400.0
    return departure_s >= 0.999 * state.limits.value.per_day_s
