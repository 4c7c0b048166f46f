# mypy: allow-untyped-defs, allow-untyped-calls
"""Kalman: the x-reduced Kalman scale with tempered random walk, as a fold.

Each clock has phase and rate; after every update the covariances of the phases are dropped, so that the filter
estimates increments and not an unobservable common phase (Greenhall 2003, "covariance x-reduction"; the plain filter
of Jones and Tryon 1983 is 34 times noisier at an hour). What is carried of the covariance is P_yy alone. Tempering:
q2' = q2 + 3 q1 / tau_x^2 with tau_x = 20 d keeps the filter from believing a noisy clock's rate for ever. A flicker
floor f enters as the random walk that equals it over a month.

It steers nothing and learns nothing itself: noise and drift are those that `bands`, carried along, learns from the same
readings, and who may carry weight is detection's verdict. On masers and caesiums the two measure alike; with a fountain
`bands` is steadier from 10 days on (`docs/measured/ensemble_quality.json`), and it carries N K numbers instead of N^2.

The gain is made anew for some time after members or parameters have changed, then kept (two months of hourly steps, by
which it stands still); at an epoch without all the clocks those that are there use their part of it.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.clock import Clock
from truechimer.kernel import kernel
from truechimer.scale import bands, bands_state
from truechimer.scale.bands_state import (
    ACTIVE,
    BEST,
    DRIFT,
    LAST_NS,
    PLANS,
    SHIFT,
    START_NS,
    STATUS,
    BandsParameters,
    BandsState,
)
from truechimer.scale.bands_state import EPOCH_NS as LEARNED_EPOCH_NS
from truechimer.scale.bands_state import X as LEARNED_X
from truechimer.scale.state import ScaleStep

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

VERSION = 3
TAU_X_S = 20.0 * 86_400.0
MONTH_S = 30.0 * 86_400.0
FIRST_RATE_S = 86_400.0
"""The filter begins, and a clock enters it, with the learner's rate, as sure as a day of white FM makes it."""
STEPS_AFTER_CHANGE, STEPS_AFTER_PLAN = 1_500, 24
"""Steps for which the gain is made anew after members, or learned parameters, have changed; then it is kept."""

# columns of clock
X, Y, WEIGHT, LAST, DONE = range(5)
# entries of common
STEPS, LEFT, PLAN, EPOCH_NS = range(4)


@dataclass(frozen=True, slots=True)
class KalmanState:
    """What the fold carries: `learner`, the `bands` beside it; `clock (n, 5)`: phase, rate, weight, in the last gain;
    `p_yy (n, n)`; `pull (n, n)`: what each clock's innovation adds to all rates, a row for each; `common (4,)`: int.
    """

    learner: BandsState
    clock: Floats
    p_yy: Floats
    pull: Floats
    last_ns: Ints
    common: Ints

    def copy(self) -> "KalmanState":
        """Return a state that shares nothing with this one."""
        return KalmanState(
            self.learner.copy(),
            self.clock.copy(),
            self.p_yy.copy(),
            self.pull.copy(),
            self.last_ns.copy(),
            self.common.copy(),
        )


def parameters(clocks: tuple[Clock, ...], *, interval_s: float = 3_600.0) -> BandsParameters:
    """Return the constants of the fold: those of the learner."""
    return bands.parameters(clocks, interval_s=interval_s)


def start(constants: BandsParameters) -> KalmanState:
    """Return the state before the first reading."""
    n = len(constants.prior)
    return KalmanState(
        bands.start(constants),
        np.zeros((n, 5)),
        np.zeros((n, n)),
        np.zeros((n, n)),
        np.zeros(n, np.int64),
        np.zeros(4, np.int64),
    )


@kernel
def _less(of, i, begin, end, factor, j, solved, first, upto):  # noqa: PLR0917
    """Take factor[j, k] x solved[k] for k = begin to end from row i of `of`, one after another, columns first to upto;
    eight at a time, so that a number that is being worked on stays in the processor.
    """
    k = begin
    while k + 8 <= end:
        one, two, three, four = factor[j, k], factor[j, k + 1], factor[j, k + 2], factor[j, k + 3]
        five, six, seven, eight = factor[j, k + 4], factor[j, k + 5], factor[j, k + 6], factor[j, k + 7]
        for c in range(first, upto):
            left = of[i, c] - one * solved[k, c] - two * solved[k + 1, c]
            left = left - three * solved[k + 2, c] - four * solved[k + 3, c]
            left = left - five * solved[k + 4, c] - six * solved[k + 5, c]
            of[i, c] = left - seven * solved[k + 6, c] - eight * solved[k + 7, c]
        k += 8
    while k + 4 <= end:
        one, two, three, four = factor[j, k], factor[j, k + 1], factor[j, k + 2], factor[j, k + 3]
        for c in range(first, upto):
            left = of[i, c] - one * solved[k, c] - two * solved[k + 1, c]
            of[i, c] = left - three * solved[k + 2, c] - four * solved[k + 3, c]
        k += 4
    while k < end:
        one = factor[j, k]
        for c in range(first, upto):
            of[i, c] -= one * solved[k, c]
        k += 1


@kernel
def _factorize(turned, factor):
    """Make the Cholesky factor of `turned`, equal to its own mirror image to the last bit: into the lower triangle of
    `factor`, and, rows and columns changed over, into the upper one of `turned`.
    """
    m = turned.shape[0]
    for j in range(m):
        _less(turned, j, 0, j, factor, j, turned, j, m)
        share = np.sqrt(max(turned[j, j], 1e-60))
        turned[j, j], factor[j, j] = share, share
        for i in range(j + 1, m):
            turned[j, i] = turned[j, i] / share
        for i in range(j + 1, m):
            factor[i, j] = turned[j, i]


@kernel
def _solve(factor, turned, solved):
    """Solve S z = right side for all columns of `solved` together, in place."""
    m, columns = solved.shape
    for i in range(m):
        _less(solved, i, 0, i, factor, i, solved, 0, columns)
        share = factor[i, i]
        for c in range(columns):
            solved[i, c] = solved[i, c] / share
    for back in range(m):
        i = m - 1 - back
        _less(solved, i, i + 1, m, turned, i, solved, 0, columns)
        share = factor[i, i]
        for c in range(columns):
            solved[i, c] = solved[i, c] / share


@kernel
def _make_gain(dt, members, noise, u2, clock, p_yy, pull):  # noqa: PLR0917
    """Make weights and gain for `members` (bool), carry `p_yy` on by a step of `dt` s."""
    n = p_yy.shape[0]
    index = np.zeros(n, np.int64)
    m = 0
    for i in range(n):
        if members[i]:
            index[m] = i
            m += 1
    factor, turned, cross = np.empty((m, m)), np.empty((m, m)), np.empty((m, m))
    walk = np.zeros(m)
    for a in range(m):
        i = index[a]
        walk[a] = noise[i, 3] + 3.0 * noise[i, 2] / MONTH_S + 3.0 * noise[i, 1] / (TAU_X_S * TAU_X_S)
        for b in range(m):
            turned[a, b] = dt * dt * p_yy[i, index[b]]
            cross[a, b] = dt * p_yy[i, index[b]]
        turned[a, a] += noise[i, 1] * dt + walk[a] * dt * dt * dt / 3.0 + 2.0 * max(noise[i, 0], u2[i])
        cross[a, a] += 0.5 * walk[a] * dt * dt
    _factorize(turned, factor)
    # S^-1 C' and S^-1 1, all columns together; C is equal to C' to the last bit
    solved = np.empty((m, m + 1))
    for i in range(m):
        for column in range(m):
            solved[i, column] = cross[i, column]
        solved[i, m] = 1.0
    _solve(factor, turned, solved)
    whole = 0.0
    for i in range(m):
        whole += solved[i, m]
    for i in range(n):
        clock[i, DONE] = 0.0
    for a in range(m):
        weight = solved[a, m] / whole
        clock[index[a], WEIGHT] = weight
        clock[index[a], DONE] = 1.0
    lean, part = np.zeros(m), np.empty((1, m))
    for b in range(m):
        share = solved[b, m]
        for a in range(m):
            lean[a] += cross[b, a] * share
    for b in range(m):
        share = solved[b, m]
        for a in range(m):
            part[0, a] = solved[b, a] - lean[a] * share / whole
        for a in range(m):
            pull[index[b], index[a]] = part[0, a]
    # P_yy + q2 T - C S^-1 C' + (C S^-1 1)(C S^-1 1)' / 1' S^-1 1
    for a in range(m):
        # less the products, and the sum's sign turned: - (0 - x - y) is x + y to the last bit
        for b in range(a + 1):
            part[0, b] = 0.0
        _less(part, 0, 0, m, cross, a, solved, 0, a + 1)
        for b in range(a + 1):
            part[0, b] = lean[a] * lean[b] / whole + part[0, b]
        for b in range(a + 1):
            p_yy[index[a], index[b]] += part[0, b]
            if a != b:
                p_yy[index[b], index[a]] += part[0, b]
        p_yy[index[a], index[a]] += walk[a] * dt


@kernel
def _advance(  # noqa: PLR0917
    epoch_ns, x_ip, u2, active, drift, noise, rate, plans, clock, p_yy, pull, last_ns, common, x_out, used, residual
):
    """Take one epoch in, in place; returns the pivot minus the scale and the variance of its reading noise."""
    n = x_ip.shape[0]
    for i in range(n):
        used[i], residual[i], x_out[i] = 0.0, np.nan, np.nan
    members = np.zeros(n, np.bool_)
    seen = np.isfinite(x_ip)
    if common[PLAN] != plans:
        common[LEFT] = max(common[LEFT], STEPS_AFTER_PLAN)
    first = common[EPOCH_NS] == 0
    count = 0
    for i in range(n):
        members[i] = active[i] == 1
        if members[i] != (clock[i, DONE] > 0.0):
            common[LEFT] = STEPS_AFTER_CHANGE
        if members[i] and seen[i] and (first or last_ns[i] > 0):
            count += 1
    if count == 0:
        return np.nan, 0.0
    dt = 0.0 if first else (epoch_ns - common[EPOCH_NS]) / 1e9
    for i in range(n):
        if members[i] and not clock[i, DONE] > 0.0:
            for j in range(n):
                p_yy[i, j], p_yy[j, i] = 0.0, 0.0
            p_yy[i, i] = noise[i, 1] / FIRST_RATE_S + 2.0 * noise[i, 2] + noise[i, 3] * FIRST_RATE_S
            clock[i, Y] = rate[i]
    step = 3_600.0 if first else dt
    common[PLAN] = plans
    if common[LEFT] > 0:
        _make_gain(step, members, noise, u2, clock, p_yy, pull)
        common[LEFT] -= 1
    common[STEPS] += 1
    part = 0.0
    for i in range(n):
        if members[i] and seen[i] and (first or last_ns[i] >= common[EPOCH_NS]):
            used[i] = max(clock[i, WEIGHT], 1e-12)
            part += used[i]
    if part <= 0.0:
        for i in range(n):
            if members[i] and seen[i] and last_ns[i] > 0:
                used[i] = max(clock[i, WEIGHT], 1e-12)
                part += used[i]
    x_pivot, variance = 0.0, 0.0
    for i in range(n):
        if used[i] > 0.0:
            used[i] = used[i] / part
            own = (epoch_ns - last_ns[i]) / 1e9
            ahead = 0.0
            if not first:
                ahead = clock[i, X] + clock[i, Y] * own + 0.5 * drift[i] * own * own
            x_pivot += used[i] * (ahead - x_ip[i])
            variance += used[i] * used[i] * u2[i]
    for i in range(n):
        if last_ns[i] > 0:
            own = (epoch_ns - last_ns[i]) / 1e9
            x_out[i] = clock[i, X] + clock[i, Y] * own + 0.5 * drift[i] * own * own
            if seen[i]:
                residual[i] = x_ip[i] + x_pivot - x_out[i]
    correction = np.zeros(n)
    for j in range(n):
        if used[j] > 0.0:
            innovation = residual[j]
            for i in range(n):
                correction[i] += pull[j, i] * innovation
    for i in range(n):
        if not seen[i]:
            continue
        own = 0.0
        if last_ns[i] > 0:
            own = (epoch_ns - last_ns[i]) / 1e9
            clock[i, Y] += drift[i] * own
            if members[i]:
                clock[i, Y] += correction[i]
            else:
                # out or new: its rate is its own mean, over a day
                clock[i, Y] += min(1.0, own / 86_400.0) * residual[i] / own
        x_out[i] = x_ip[i] + x_pivot
        clock[i, X] = x_out[i]
        last_ns[i] = epoch_ns
    common[EPOCH_NS] = epoch_ns
    return x_pivot, variance


def advance(  # noqa: PLR0917
    state: KalmanState,
    constants: BandsParameters,
    epoch_tai_ns: int,
    x_clock_minus_pivot_s: Floats,
    u2_s2: Floats,
    verdict: Ints,
    anew: NDArray[np.bool_],
    x_out: Floats,
    used: Floats,
    residual: Floats,
    moved: bands.Moved | None = None,
) -> tuple[float, float]:
    """Take one epoch in, changing the state in place; see `bands.advance`."""
    x_pivot, variance = bands.advance(
        state.learner,
        constants,
        epoch_tai_ns,
        x_clock_minus_pivot_s,
        u2_s2,
        verdict,
        anew,
        x_out,
        used,
        residual,
        moved,
    )
    learner = state.learner
    if learner.common_f[SHIFT] != 0.0:
        # what a bad clock had forced upon the rate is the same for both scales; all rates are kept against the scale
        state.clock[:, Y] -= learner.common_f[SHIFT]
    rate = learner.rate[np.arange(len(u2_s2)), learner.clock_i[:, BEST]]
    if epoch_tai_ns - int(learner.common_i[START_NS]) < constants.settle_ns:
        # the first day is the learner's: the filter begins with its phases and rates
        state.clock[:, X], state.clock[:, Y] = learner.clock_f[:, LEARNED_X], rate
        state.last_ns[:] = learner.clock_i[:, LAST_NS]
        state.common[EPOCH_NS] = learner.common_i[LEARNED_EPOCH_NS]
        return x_pivot, variance
    found: tuple[float, float] = _advance(
        epoch_tai_ns,
        x_clock_minus_pivot_s,
        u2_s2,
        learner.clock_i[:, ACTIVE],
        learner.clock_f[:, DRIFT],
        learner.noise,
        rate,
        int(learner.common_i[PLANS]),
        state.clock,
        state.p_yy,
        state.pull,
        state.last_ns,
        state.common,
        x_out,
        used,
        residual,
    )
    return found


def peek(  # noqa: PLR0917
    state: KalmanState,
    constants: BandsParameters,
    epoch_tai_ns: int,
    x_clock_minus_pivot_s: Floats,
    u2_s2: Floats,
    x_out: Floats,
    used: Floats,
    residual: Floats,
) -> tuple[float, float]:
    """Say what `advance` would say of an epoch between two scale steps, and change nothing; see `bands.peek`."""
    learner = state.learner
    if learner.epoch_ns == 0 or epoch_tai_ns - int(learner.common_i[START_NS]) < constants.settle_ns:
        return bands.peek(learner, constants, epoch_tai_ns, x_clock_minus_pivot_s, u2_s2, x_out, used, residual)
    common = state.common.copy()
    common[LEFT] = 0  # the gain stays
    found: tuple[float, float] = _advance(
        epoch_tai_ns,
        x_clock_minus_pivot_s,
        u2_s2,
        state.clock[:, DONE].astype(np.int64),
        learner.clock_f[:, DRIFT],
        learner.noise,
        state.clock[:, Y].copy(),
        int(common[PLAN]),
        state.clock.copy(),
        state.p_yy.copy(),
        state.pull,
        state.last_ns.copy(),
        common,
        x_out,
        used,
        residual,
    )
    return found


def grown(state: KalmanState, constants: BandsParameters) -> KalmanState:
    """Return the state with room for clocks that were added at the end; itself where there are none."""
    old, new = len(state.clock), len(constants.prior)
    if old == new:
        return state
    fresh = start(constants)
    fresh.clock[:old], fresh.last_ns[:old], fresh.common[:] = state.clock, state.last_ns, state.common
    fresh.p_yy[:old, :old], fresh.pull[:old, :old] = state.p_yy, state.pull
    return KalmanState(
        bands_state.grown(state.learner, constants), fresh.clock, fresh.p_yy, fresh.pull, fresh.last_ns, fresh.common
    )


def step(
    state: KalmanState,
    constants: BandsParameters,
    *,
    epoch_tai_ns: int,
    x_clock_minus_pivot_s: Floats,
    u2_s2: Floats,
    verdict: Ints | None = None,
    anew: NDArray[np.bool_] | None = None,
    moved: bands.Moved | None = None,
) -> tuple[KalmanState, ScaleStep]:
    """Take one epoch of clocks minus pivot into the scale; arguments as `bands.step`. Raises `bands.BandsMisuse`."""
    n = len(constants.prior)
    if state.learner.epoch_ns and epoch_tai_ns <= state.learner.epoch_ns:
        raise bands.BandsMisuse(state.learner.epoch_ns, epoch_tai_ns)
    state = state.copy()
    x, used, residual = np.empty(n), np.empty(n), np.empty(n)
    x_pivot, variance = advance(
        state,
        constants,
        epoch_tai_ns,
        x_clock_minus_pivot_s,
        u2_s2,
        np.full(n, bands.NO_VERDICT) if verdict is None else verdict,
        np.zeros(n, np.bool_) if anew is None else anew,
        x,
        used,
        residual,
        moved,
    )
    return state, ScaleStep(
        epoch_tai_ns,
        x,
        used,
        state.learner.clock_i[:, STATUS].copy(),
        residual,
        x_pivot,
        sqrt(variance) if isfinite(variance) else 0.0,
        0.0,
        divided=False,
        due=True,
    )
