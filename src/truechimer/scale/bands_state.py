# mypy: allow-untyped-calls
"""The constants and the state of the band-weighted scale; nothing here computes a scale.

Arrays are blocks, so that a step copies few of them: a row for each clock, columns named below.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.clocks.state_model import SECONDS_PER_DAY, two_state_noise
from truechimer.scale.band_weights import allowed_at, gram, spectra
from truechimer.scale.column_filters import LOOPS, column_allowed
from truechimer.scale.noise_learning import DECLARED_WORTH, KIND_WORTH, RING
from truechimer.scale.noise_pairs import CLOSE
from truechimer.scale.noise_pairs import KIND_WORTH as KIND_WORTH_CLOSE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

VERSION = 12
"""Counts up with every change after which the same readings give another scale; it stands in the record."""

HOUR_S = 3_600.0
SHORTEST_MEMORY_S = 6.0 * HOUR_S
MEMORY_RATIO = 8.0 / 3.0
MEMORIES = 7
TAUS_S = (
    HOUR_S,
    5.0 * HOUR_S,
    SECONDS_PER_DAY,
    3.0 * SECONDS_PER_DAY,
    10.0 * SECONDS_PER_DAY,
    30.0 * SECONDS_PER_DAY,
    90.0 * SECONDS_PER_DAY,
)
LAGS = 6
LAG_RATIO = 4

DRIFT_PRIOR_PER_DAY = {
    ClockKind.MASER: 5e-16,
    ClockKind.CAESIUM: 0.0,
    ClockKind.FOUNTAIN: 0.0,
    ClockKind.RUBIDIUM: 5e-13,
    ClockKind.OSCILLATOR: 5e-11,
    ClockKind.HOST: 1e-8,
    ClockKind.LINK: 0.0,
}
"""One sigma of the drift of y per day that a kind lets expect; 0: the kind does not drift, and is what drift is told
against.
"""

# columns of clock_f
X, X_VARIANCE, DRIFT, DRIFT_U2, WEIGHT_DC, READING_U2, K_Y, K_D, K_YY, K_YD, K_DD, Y_REFERENCE, X_DAY, DAYS, TAKEN = (
    range(15)
)
TAKEN_OVER, DOUBT, CEILING, OUT = 15, 16, 17, 18
COLUMNS_F = 19
# columns of clock_i
LAST_NS, SINCE_NS, STATUS, BEST, ACTIVE, DAY_NS, TAKEN_NS, MUTED_NS = range(8)
COLUMNS_I = 8
# common_f, common_i
RATE, WORST, SHIFT, GOING = range(4)
EPOCH_NS, START_NS, DAY, PLANS, FIRST_DAY = range(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class BandsParameters:
    """Constants of the fold, fixed for a run.

    `interval_s`: usual time between epochs. `memories_s (K,)`, `taus_s (J,)`, `allowed (J,)`: averaging times that are
    optimised and by how much each may fall behind; `tensors`: `band_weights.gram`. `loops_s (M,)`, `column_allowed
    (J,)`: see `column_filters`; `past`, `present`, `windows`, `unit`: `band_weights.spectra`. `lags_s (L,)`, `strides
    (L,)`, `spacing_ns (L,)`: the ladder of noise learning. `eligible`: bool, may carry weight.
    `of_kind (n, 4)`: noise of the kind; `prior (n, 4)`,
    `prior_worth (n,)`: noise that the declaration or the kind lets expect, and its worth in samples; `known`: bool,
    declared: not learned. `kinds`: int. `drift (n,)`, `drift_known`: declared drift (1/s), if one is;
    `drift_u2 (n,)` (1/s^2): variance of the drift that the kind lets expect; `drift_guessed`: bool, no kind
    is known. `probation_ns`: how long a new clock is learned.
    """

    interval_s: float
    memories_s: Floats
    taus_s: Floats
    allowed: Floats
    tensors: Floats
    loops_s: Floats
    column_allowed: Floats
    past: Floats
    present: Floats
    windows: Floats
    unit: Floats
    lags_s: Floats
    strides: Ints
    spacing_ns: Ints
    eligible: NDArray[np.bool_]
    of_kind: Floats
    prior: Floats
    prior_worth: Floats
    known: NDArray[np.bool_]
    kinds: Ints
    drift: Floats
    drift_u2: Floats
    drift_guessed: NDArray[np.bool_]
    drift_known: NDArray[np.bool_]
    probation_ns: int
    settle_ns: int
    day_ns: int
    absent_ns: int


@dataclass(frozen=True, slots=True)
class BandsState:
    """What the fold carries: blocks `clock_f (n, 19)`, `clock_i (n, 8)`, rates by memory `rate (n, K)`, weights `band
    (n, K + 1)`, the loops of the columns' filters `bank (n, M)` with their coefficients `smooth (n, M)` and those that
    these go over to, `wanted (n, M)`, learned `noise (n, 4)`, mean squares, their number and the others' part in them
    `squares`, `counts`, `usual (L, n)` (where there are more than `noise_pairs.CLOSE` clocks), those of every pair and
    their number `pair`, `pair_count (L, n, n)` (where there are not), the ring `(L, RING, n)` with its newest index and
    slot number `(L,)`, and what is common: `common_f (4,)`, `common_i (5,)`.
    """

    clock_f: Floats
    clock_i: Ints
    rate: Floats
    band: Floats
    bank: Floats
    smooth: Floats
    wanted: Floats
    noise: Floats
    squares: Floats
    counts: Floats
    usual: Floats
    pair: Floats
    pair_count: Floats
    ring: Floats
    newest: Ints
    slot: Ints
    common_f: Floats
    common_i: Ints

    def copy(self) -> "BandsState":
        """Return a state that shares nothing with this one."""
        return BandsState(*(getattr(self, item.name).copy() for item in fields(self)))

    @property
    def epoch_ns(self) -> int:
        """TAI of the last step, 0 before the first."""
        return int(self.common_i[EPOCH_NS])


def _multiples(interval_s: float) -> Ints:
    """Return the averaging times that the weights are made for, in intervals, rising."""
    least = max(90.0 * SECONDS_PER_DAY, 60.0 * interval_s) / interval_s
    wanted = [1.0] + [tau / interval_s for tau in TAUS_S if tau > 1.5 * interval_s]
    # short intervals have averaging times of their own, up to the first of the table
    while wanted[1] > 10.0:
        wanted.insert(1, wanted[1] / 5.0)
    while wanted[-1] < least:
        wanted.append(wanted[-1] * 3.0)
    return np.array([round(one) for one in wanted], np.int64)


def parameters(
    clocks: tuple[Clock, ...], *, interval_s: float = HOUR_S, probation_s: float = SECONDS_PER_DAY
) -> BandsParameters:
    """Return the constants of the fold for these clocks; `interval_s`: usual time between two epochs."""
    n = len(clocks)
    shortest = SHORTEST_MEMORY_S
    count = MEMORIES
    while shortest / MEMORY_RATIO >= 4.0 * interval_s and count < MEMORIES + 4:
        shortest /= MEMORY_RATIO
        count += 1
    shortest = max(shortest, 2.0 * interval_s)
    memories = [shortest]
    for _ in range(count - 1):
        memories.append(memories[-1] * MEMORY_RATIO)
    multiples = _multiples(interval_s)
    base = max(HOUR_S, interval_s)
    lags = [base * LAG_RATIO**j for j in range(LAGS)]
    strides = [1] + [LAG_RATIO] * (LAGS - 1)
    noises = [two_state_noise(clock) for clock in clocks]
    others = any(clock.kind not in (ClockKind.HOST, ClockKind.LINK) for clock in clocks)
    eligible = [
        clock.kind is not ClockKind.LINK and (clock.kind is not ClockKind.HOST or not others) for clock in clocks
    ]
    known = [
        None not in (clock.noise.white_fm_1s, clock.noise.random_walk_fm_1s, clock.noise.flicker_fm) for clock in clocks
    ]
    prior = [
        ((clock.noise.white_pm_s or 0.0) ** 2, noise.q1, noise.floor**2, noise.q2)
        for clock, noise in zip(clocks, noises, strict=True)
    ]
    of_kind = [
        (0.0, noise.q1, noise.floor**2, noise.q2)
        for noise in (two_state_noise(Clock(name=clock.name, kind=clock.kind)) for clock in clocks)
    ]
    expected = [DRIFT_PRIOR_PER_DAY[clock.kind] / SECONDS_PER_DAY for clock in clocks]
    of_kind_worth = KIND_WORTH_CLOSE if n <= CLOSE else KIND_WORTH
    drift_known = [clock.noise.drift_per_day is not None for clock in clocks]
    # where nobody has a kind (no clock file), all are called oscillators, and behaviour alone says what they are
    nameless = all(clock.kind in (ClockKind.OSCILLATOR, ClockKind.HOST) for clock in clocks)
    kinds = list(ClockKind)
    memories_s, taus_s = np.array(memories), np.array(multiples * interval_s, np.float64)
    loops_s = np.array([loop * interval_s for loop in LOOPS])
    past, present, windows, unit = spectra(interval_s, memories_s, loops_s, multiples)
    day_s = max(SECONDS_PER_DAY, interval_s)
    return BandsParameters(
        interval_s=interval_s,
        memories_s=memories_s,
        taus_s=taus_s,
        allowed=np.array([allowed_at(tau) for tau in taus_s.tolist()]),
        tensors=gram(past, windows, unit, np.ones(len(past))),
        loops_s=loops_s,
        column_allowed=column_allowed(taus_s),
        past=past,
        present=present,
        windows=windows,
        unit=unit,
        lags_s=np.array(lags),
        strides=np.array(strides, np.int64),
        spacing_ns=np.array([round(lag / stride * 1e9) for lag, stride in zip(lags, strides, strict=True)], np.int64),
        eligible=np.array(eligible, np.bool_),
        of_kind=np.array(of_kind).reshape(n, 4),
        prior=np.array(prior).reshape(n, 4),
        prior_worth=np.array(
            [
                DECLARED_WORTH if declared else of_kind_worth if clock.kind.is_atomic else 0.0
                for clock, declared in zip(clocks, known, strict=True)
            ]
        ),
        known=np.array(known, np.bool_),
        kinds=np.array([kinds.index(clock.kind) for clock in clocks], np.int64),
        drift=np.array([noise.drift_per_day / SECONDS_PER_DAY for noise in noises]),
        drift_u2=np.array([one * one for one in expected]),
        drift_guessed=np.full(n, nameless, np.bool_),
        drift_known=np.array(drift_known, np.bool_),
        probation_ns=round(probation_s * 1e9),
        settle_ns=round(max(day_s, 10.0 * interval_s) * 1e9),
        day_ns=round(day_s * 1e9),
        absent_ns=round(max(6.0 * HOUR_S, 3.0 * interval_s) * 1e9),
    )


def empty_state(constants: BandsParameters) -> BandsState:
    """Return the state before the first reading."""
    n, k, lags = len(constants.prior), len(constants.memories_s), len(constants.lags_s)
    pairs, loops = n if n <= CLOSE else 0, len(constants.loops_s)
    as_read = np.zeros((n, loops))
    as_read[:, 0] = 1.0
    clock_f = np.zeros((n, COLUMNS_F))
    clock_f[:, DRIFT] = constants.drift
    clock_f[:, DRIFT_U2] = np.where(constants.drift_known, 0.0, constants.drift_u2)
    return BandsState(
        clock_f=clock_f,
        clock_i=np.zeros((n, COLUMNS_I), np.int64),
        rate=np.zeros((n, k)),
        band=np.zeros((n, k + 1)),
        bank=np.zeros((n, loops)),
        smooth=as_read.copy(),
        wanted=as_read,
        noise=constants.prior.copy(),
        squares=np.zeros((lags, n)),
        counts=np.zeros((lags, n)),
        usual=np.zeros((lags, n)),
        pair=np.zeros((lags, pairs, pairs)),
        pair_count=np.zeros((lags, pairs, pairs)),
        ring=np.full((lags, RING, n), np.nan),
        newest=np.zeros(lags, np.int64),
        slot=np.zeros(lags, np.int64),
        common_f=np.zeros(4),
        common_i=np.zeros(5, np.int64),
    )


def grown(state: BandsState, constants: BandsParameters) -> BandsState:
    """Return the state with room for clocks that were added at the end; itself where there are none."""
    old, new = len(state.noise), len(constants.prior)
    if old == new:
        return state
    fresh = empty_state(constants)
    for item in fields(BandsState):
        was, blank = getattr(state, item.name), getattr(fresh, item.name)
        # a clock has a place along the first axis or along the last; what is common has none. More clocks than are kept
        # in pairs: noise is learned in the other way from here on
        if all(room >= length for room, length in zip(blank.shape, was.shape, strict=True)):
            blank[tuple(slice(length) for length in was.shape)] = was
    return fresh
