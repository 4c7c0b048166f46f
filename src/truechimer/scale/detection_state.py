"""What detection carries from epoch to epoch, its constants, and what it says of every clock; nothing here judges.

Arrays have shape `(n,)` for n clocks unless said otherwise. The state is independent of the algorithm that makes the
scale: clocks minus pivot come in, `Judgement` goes out, and any algorithm may follow it.
"""

from dataclasses import dataclass, fields
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.clocks.state_model import SECONDS_PER_DAY, two_state_noise
from truechimer.scale.bands_state import DRIFT_PRIOR_PER_DAY
from truechimer.scale.detection_replay import WORDS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

VERSION = 5
"""Counts up with every change after which the same readings give other verdicts; it stands in the record."""

DAY_S = SECONDS_PER_DAY
YEAR_S = 365.25 * DAY_S

WINDOWS_S = (7_200.0, 14_400.0, 28_800.0, *(DAY_S * d for d in (1.0, 2.5, 6.0, 12.0, 20.0, 30.0, 45.0, 60.0, 90.0)))
"""Windows of the tests beside that of one epoch: a change of any age up to the longest lies well in one of them."""

SNAPSHOTS = 4
"""A window moves on by a quarter of itself; so many pasts are kept of each."""

FALSE_ALARMS_PER_CLOCK_YEAR = 0.06
"""What all tests of one clock together may raise on clean Gaussian data, shared equally by the tests."""

SLOW_SIGMAS = 3.6
"""Threshold of a change of rate over windows of 6 d and more: one random walk is looked at over and over, so that fewer
alarms come of it than looks would let expect, 0.06 a clock-year (`design/ensemble/slow_faults.py`).
"""
REFERENCE_FLOOR, REFERENCE_MEMORY_S = 8e-16, 10.0 * DAY_S
"""A rapid realization of UTC as a witness: its flicker floor together with what the rate of the inside wanders while
its own rate is averaged; and that average.
"""

LARGEST_DRIFT = 3.0
"""A drift within so many of what its kind lets expect is nothing odd in the first days."""

N_TERMS = 4
"""Terms of a clock's learned noise: reading (s^2), white FM (s^2/s), flicker FM (1), random-walk FM (1/s)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionParameters:
    """Constants of detection, fixed for a run.

    `windows_s (W,)`. `sigmas (W + 1,)`: threshold of the phase test of one epoch and of each window; `rate_sigmas
    (W + 1,)`: of the test of the rate itself, 0 where there is none. `noise (n, 4)`: what a clock's kind or declaration
    lets expect; `worth (n,)`: independent samples that this is worth; `floor_q1 (n,)`: white FM below which no clock of
    its kind is known (0: no such figure); `drift_u (n,)` (1/s): largest drift that the kind lets expect. `interval_s`:
    usual time between epochs; `probation_s`: proof asked of a clock that is new. `eligible`: 1: may carry weight and
    judge; 2: a reference that claims UTC, a witness over long windows; 0: neither.
    """

    windows_s: Floats
    sigmas: Floats
    rate_sigmas: Floats
    noise: Floats
    worth: Floats
    floor_q1: Floats
    drift_u: Floats
    eligible: Ints
    interval_s: float
    probation_s: float


@dataclass(frozen=True, slots=True)
class DetectionState:
    """What the fold carries. The reference is detection's own: a mean of the clocks that agree, weights 1/variance.

    `epoch_ns`: TAI, 0 before the first. `x_s`, `last_ns`: clock minus reference at its last good reading; `y`, `drift`
    (1/s): its rate and the slow change of that; `first_ns`: first reading; `since_ns`: start of its rate; `good_ns`:
    start of its present conduct. `status`: a `Membership`. `jump_s`: deviation of a suspect. `strikes`: times it was
    out. `noise (n, 4)`, `memory_s`: learned noise, and the memory of the rate that suits it. `sample_s2`, `count`
    `(n, W + 2)`: mean squared deviation by window, scaled to the window, and number of samples, and last that of a day
    lately; `rate_sample`, `rate_count` `(n, W + 1)`: the same for the rate, as a ratio to the model. `likeness`,
    `likeness_count` `(n,)`: squared deviation from the others in units of the others' own noise: below 1 no independent
    clock can be. The ring holds `(W, S)` epochs and `(W, S, n)` phases and rates. `divided_ns`: last epoch at which a
    majority was missing.
    `dispute_ns (6,)`: epoch before the open dispute (0: none), its stage, when it was opened, whether it began as a
    tie, whether the reference may have followed a wrong side since, and whether it is large enough to be said;
    `dispute_x`, `dispute_y`: where every clock was then; `dispute_side`: on which side a clock stands. `twin`,
    `twin_count`: the clock that this one moved exactly as, and at how many looks running.
    `largest_s`: a young clock's largest departure so far.
    `sign_at (1,)`: epochs so far; `signs`, `signs_known (n, 132)`: signs of second differences of the readings, a bit
    each, and where they are known; `replay (n, 5)`: see `detection_replay`. `doubted`: 1:
    what put it out for its rate is less than it takes to convict; it carries on over hours.
    `settled_noise`, `settled_sample`, `settled_rate`: `noise`, `sample_s2` and `rate_sample` as they were some time ago
    (`settling_...`: what they become next, at `settled_ns`).
    """

    epoch_ns: int
    x_s: Floats
    last_ns: Ints
    y: Floats
    drift: Floats
    first_ns: Ints
    since_ns: Ints
    good_ns: Ints
    status: Ints
    jump_s: Floats
    strikes: Ints
    noise: Floats
    memory_s: Floats
    sample_s2: Floats
    count: Ints
    rate_sample: Floats
    rate_count: Ints
    likeness: Floats
    likeness_count: Ints
    ring_ns: Ints
    ring_x: Floats
    ring_y: Floats
    divided_ns: int
    dispute_ns: Ints
    dispute_x: Floats
    dispute_y: Floats
    dispute_side: Ints
    settled_ns: Ints
    settled_noise: Floats
    settled_sample: Floats
    settled_rate: Floats
    settling_noise: Floats
    settling_sample: Floats
    settling_rate: Floats
    twin: Ints
    twin_count: Ints
    largest_s: Floats
    sign_at: Ints
    signs: Ints
    signs_known: Ints
    replay: Floats
    doubted: Ints


@dataclass(frozen=True, slots=True)
class Judgement:
    """What detection says of an epoch.

    `status`: a `Membership` for every clock; only `IN` may carry weight. `residual_s`: clock minus the others' opinion
    of where it should be, NaN where it was not read. `moved_y`: for a clock that is out, or disputed, since this epoch
    because of its rate, by how much that has changed against the others (0 elsewhere); `moved_over_s`: how long ago
    that began (0 where its readings were withheld since), `moved_evenly`: bool, as a ramp, not at once: the ensemble
    has followed by its weight, which the algorithm takes back. `began_anew`: bool, its rate is learned from here.
    `stepped_s`: by how much its phase stepped, at the epoch at which that is sure (0 elsewhere); its rate is what it
    was. `divided`: members disagree and no majority says who is right. `floor_s`: largest movement of each clock that
    the tests up to a day leave unseen.
    """

    status: Ints
    residual_s: Floats
    moved_y: Floats
    moved_over_s: Floats
    moved_evenly: NDArray[np.bool_]
    began_anew: NDArray[np.bool_]
    stepped_s: Floats
    divided: bool
    floor_s: Floats


_FLOOR_OF = {ClockKind.MASER: 2.5e-14, ClockKind.CAESIUM: 5e-13, ClockKind.RUBIDIUM: 1e-13, ClockKind.FOUNTAIN: 5e-15}
"""ADEV at 1 s of white FM that no clock of the kind has been shown to reach."""


def parameters(
    clocks: tuple[Clock, ...],
    eligible: NDArray[np.bool_],
    *,
    interval_s: float,
    probation_s: float,
    references: int = 0,
) -> DetectionParameters:
    """Return the constants for these clocks, and for so many references that stand behind them.

    Thresholds: each test has an equal share of `FALSE_ALARMS_PER_CLOCK_YEAR`, divided by the number of times it is made
    in a year (windows overlap, so that less comes of it than this). Rounded, so that they are the same on any machine.
    """
    tests = 1 + 2 * len(WINDOWS_S)
    share = FALSE_ALARMS_PER_CLOCK_YEAR / tests
    # looks at a window closer than half of it say almost the same: they are not counted as new tests
    steps_s = [interval_s, *[max(0.5 * window, interval_s) for window in WINDOWS_S]]
    sigmas = [round(-NormalDist().inv_cdf(0.5 * share * step / YEAR_S), 3) for step in steps_s]
    noise, worth, floors, drifts = [], [], [], []
    for clock in clocks:
        of = two_state_noise(clock)
        noise.append([1e-30, of.q1, of.floor * of.floor, max(of.q2, 1e-42)])
        # an oscillator may be anything: its figures are where learning begins, and worth nothing beside a sample
        worth.append(20.0 if of.declared else (0.0 if clock.kind is ClockKind.OSCILLATOR else 0.5))
        floors.append(_FLOOR_OF.get(clock.kind, 0.0) ** 2)
        drifts.append(LARGEST_DRIFT * DRIFT_PRIOR_PER_DAY[clock.kind] / SECONDS_PER_DAY)
    for _ in range(references):
        noise.append([1e-18, 1e-30, REFERENCE_FLOOR * REFERENCE_FLOOR, 1e-40])
        worth.append(1e9)
        floors.append(0.0)
        drifts.append(0.0)
    may = np.concatenate([eligible.astype(np.int64), np.full(references, 2, np.int64)])
    return DetectionParameters(
        windows_s=np.array(WINDOWS_S),
        sigmas=np.array(sigmas),
        rate_sigmas=np.array(
            [0.0, *[min(s, SLOW_SIGMAS) if w >= 6 * DAY_S else 0.0 for s, w in zip(sigmas[1:], WINDOWS_S, strict=True)]]
        ),
        noise=np.array(noise).reshape(len(worth), N_TERMS),
        worth=np.array(worth),
        floor_q1=np.array(floors),
        drift_u=np.array(drifts),
        eligible=may,
        interval_s=interval_s,
        probation_s=probation_s,
    )


def empty(constants: DetectionParameters) -> DetectionState:
    """Return the state before the first reading."""
    n, w = len(constants.worth), len(constants.windows_s)
    memory = np.sqrt(constants.noise[:, 1] / constants.noise[:, 3])
    zeros, none = np.zeros(n), np.zeros(n, np.int64)
    return DetectionState(
        epoch_ns=0,
        x_s=zeros.copy(),
        last_ns=none.copy(),
        y=zeros.copy(),
        drift=zeros.copy(),
        first_ns=none.copy(),
        since_ns=none.copy(),
        good_ns=none.copy(),
        status=none.copy(),
        jump_s=zeros.copy(),
        strikes=none.copy(),
        noise=constants.noise.copy(),
        memory_s=np.minimum(np.maximum(memory, 2.0 * constants.interval_s), 200.0 * DAY_S),
        sample_s2=np.zeros((n, w + 2)),
        count=np.zeros((n, w + 2), np.int64),
        rate_sample=np.ones((n, w + 1)),
        rate_count=np.zeros((n, w + 1), np.int64),
        likeness=np.ones(n),
        likeness_count=none.copy(),
        ring_ns=np.zeros((w, SNAPSHOTS), np.int64),
        ring_x=np.full((w, SNAPSHOTS, n), np.nan),
        ring_y=np.zeros((w, SNAPSHOTS, n)),
        divided_ns=0,
        dispute_ns=np.zeros(6, np.int64),
        dispute_x=np.full(n, np.nan),
        dispute_y=zeros.copy(),
        dispute_side=none.copy(),
        settled_ns=none.copy(),
        settled_noise=constants.noise.copy(),
        settled_sample=np.zeros((n, w + 2)),
        settled_rate=np.ones((n, w + 1)),
        settling_noise=constants.noise.copy(),
        settling_sample=np.zeros((n, w + 2)),
        settling_rate=np.ones((n, w + 1)),
        twin=none.copy(),
        twin_count=none.copy(),
        largest_s=zeros.copy(),
        sign_at=np.zeros(1, np.int64),
        signs=np.zeros((n, WORDS), np.int64),
        signs_known=np.zeros((n, WORDS), np.int64),
        replay=np.zeros((n, 5)),
        doubted=none.copy(),
    )


def grown(state: DetectionState, constants: DetectionParameters) -> DetectionState:
    """Return the state with room for clocks that were added at the end; itself where there are none."""
    old, new = len(state.x_s), len(constants.worth)
    if old == new:
        return state
    fresh = empty(constants)
    values = {}
    for item in fields(DetectionState):
        was, blank = getattr(state, item.name), getattr(fresh, item.name)
        if item.name in {"ring_x", "ring_y"}:
            blank[:, :, :old] = was
        elif item.name in {"ring_ns", "dispute_ns", "sign_at"} or not isinstance(blank, np.ndarray):
            blank = was
        else:
            blank[:old] = was
        values[item.name] = blank
    return DetectionState(**values)
