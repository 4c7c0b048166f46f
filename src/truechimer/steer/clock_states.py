"""UTC minus each clock as one state: its course, the clocks' comparisons with one another, one value from outside.

It keeps no history (`clock_by_clock` does), judges no outside value and steers nothing. Of n clocks the state holds, in
blocks of n,

    x, y, d         UTC minus the clock (s), its rate, its drift (1/s)
    f_1, f_2, f_3   flicker FM of the clock: first-order Gauss-Markov rates of 1, 10 and 100 days

and then, for every outside path, c_p and b_p as `delayed_filter` has them, c_p as a phase of UTC minus the scale. What
is measured inside is z, clock minus scale. The scale itself is no state: between two clocks it cancels, and UTC minus
the scale is x + z of any clock. So what the ensemble has wrong in its rates and drifts is not inherited.

A clock that was never compared *joins*: its phase is another clock's, and what was read between them, and its rate is
anything that its kind may have. That is the limit of an infinite variance, without its digits. One that is off once is
not read. One that is off again stepped: it joins anew, and keeps its rate where it is off by the same, a step of phase.
Of two that contradict one another, where nobody else can tell, neither is read; again apart, half of the step is of
each and the other half is doubt, until values from outside tell.

Source: as `delayed_filter`; Jones and Tryon 1987 for a Kalman filter of all clocks through their differences. Law of
the file: + - * / and sqrt on elements in a written order: no sums of NumPy, no products of matrices, no functions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from truechimer.steer import clock_dispute, delayed_filter
from truechimer.steer.clock_dispute import Verdict
from truechimer.steer.delayed_filter import (
    DAY_S,
    FASTER_S,
    FLICKER_S,
    FLICKER_WEIGHT2,
    Estimate,
    Floats,
    FrequencyNoise,
    Path,
    PathKind,
)

Bools = NDArray[np.bool_]

BLOCKS = delayed_filter.FIRST
X, Y, D, FLICKER = 0, 1, 2, 3
PHASE_SIGMAS = 4.0
"""Where the second is off by the same as the first but for this, the clock's rate is what it was."""
LEAST_READING_S2 = 1e-23
"""Of a comparison, what is no noise of the clocks (3 ps)."""
DRIFT_LASTS_S = 1000.0 * DAY_S
"""Over which a drift may become another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockNoise(FrequencyNoise):
    """Of one clock, with the noise of its frequency: `reading_s2` (white PM of its readings, s^2); `y_spread`: one
    sigma of its rate against UTC before it is known; of its drift (1/s) what is stated, `drift`, and one sigma of what
    is not, `drift_spread`.
    """

    reading_s2: float = 0.0
    y_spread: float = 1e-11
    drift: float = 0.0
    drift_spread: float = 0.0


@dataclass(frozen=True, slots=True)
class Levels:
    """The noise of n clocks, as arrays `(n,)`; made once (`levels_of`)."""

    q1: Floats
    q2: Floats
    q3: Floats
    floor2: Floats
    reading_s2: Floats
    y_spread: Floats
    drift: Floats
    drift_spread: Floats
    day_variance: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ClocksState:
    """State `mean (m,)` and covariance `p (m, m)` at `epoch_ns` (TAI), m = 6 n + 2 paths; `compared_ns`: the last
    comparison taken in. `joined (n,)`: clocks that were compared; `off_s (n,)`: by how much a clock was off at the last
    comparison, and not read, NaN where it was not; `out (n,)`: the ensemble has put them out, and when they are let in
    they are others. No array is ever written to.
    """

    epoch_ns: int
    compared_ns: int
    mean: Floats
    p: Floats
    joined: Bools
    off_s: Floats
    out: Bools


def levels_of(noise: tuple[ClockNoise, ...]) -> Levels:
    """Return the levels as arrays."""
    return Levels(
        q1=np.array([one.q1 for one in noise]),
        q2=np.array([one.q2 for one in noise]),
        q3=np.array([one.drift_spread * one.drift_spread / DRIFT_LASTS_S for one in noise]),
        floor2=np.array([one.floor2 for one in noise]),
        reading_s2=np.array([max(one.reading_s2, LEAST_READING_S2) for one in noise]),
        y_spread=np.array([one.y_spread for one in noise]),
        drift=np.array([one.drift for one in noise]),
        drift_spread=np.array([one.drift_spread for one in noise]),
        day_variance=tuple(one.allan_variance(DAY_S) for one in noise),
    )


def clone_of(n: int, path: int) -> int:
    """Return the place of UTC minus the scale at the beginning of a path's interval."""
    return BLOCKS * n + 2 * path


def common_of(n: int, path: int) -> int:
    """Return the place of what the values of a path have in common."""
    return BLOCKS * n + 2 * path + 1


def begin(
    levels: Levels, paths: tuple[Path, ...], path: int, z_s: Floats, *, epoch_ns: int, x_s: float, u_s: float
) -> ClocksState | None:
    """Begin with a first value of UTC minus the scale, and clock minus scale `z_s (n,)` (NaN: not known) of that epoch;
    None where no clock is known.
    """
    n = len(z_s)
    known = np.isfinite(z_s)
    if not known.any():
        return None
    m = BLOCKS * n + 2 * len(paths)
    mean, p = np.zeros(m), np.zeros((m, m))
    first = best_of(levels, known)
    for k, each in enumerate(paths):
        p[common_of(n, k), common_of(n, k)] = each.u_common * each.u_common
    common2 = paths[path].u_common * paths[path].u_common
    at = common_of(n, path)
    mean[first] = x_s - float(z_s[first])
    p[first, first] = u_s * u_s + common2
    p[first, at] = p[at, first] = -common2
    _fresh(mean, p, levels, first, n)
    joined = np.zeros(n, np.bool_)
    joined[first] = True
    for i in range(n):
        if known[i] and i != first:
            _fresh(mean, p, levels, i, n)
            _join(mean, p, levels, i, first, z_s)
            joined[i] = True
    nobody = np.zeros(n, np.bool_)
    return ClocksState(epoch_ns, epoch_ns, mean, p, joined, np.full(n, np.nan), nobody)


def best_of(levels: Levels, among: Bools) -> int:
    """Return the clock that is quietest over a day."""
    best = -1
    for i in range(len(among)):
        if among[i] and (best < 0 or levels.day_variance[i] < levels.day_variance[best]):
            best = i
    return best


def predicted(before: ClocksState, levels: Levels, paths: tuple[Path, ...], epoch_ns: int) -> ClocksState:
    """Carry the state on to an epoch; one not after the state's own returns it unchanged."""
    dt = (epoch_ns - before.epoch_ns) / 1e9
    if dt <= 0.0:
        return before
    n = len(before.joined)
    half = 0.5 * dt * dt
    decays = [delayed_filter.decay(dt / tau_s) for tau_s in FLICKER_S]
    reach = [tau_s * (1.0 - a) for tau_s, a in zip(FLICKER_S, decays, strict=True)]
    kept = [
        (common_of(n, k), delayed_filter.decay(dt / path.common_s), path.u_common)
        for k, path in enumerate(paths)
        if path.common_s > 0.0
    ]
    mean, p = before.mean.copy(), before.p.copy()
    for rows in (mean, p, p.T):
        _advance(rows, n, dt, half, decays, reach)
        for at, a, _ in kept:
            rows[at] *= a
    own = np.arange(n)
    q2, q3 = levels.q2, levels.q3
    xx = (levels.q1 + FASTER_S * levels.floor2) * dt + q2 * (dt * dt * dt / 3.0) + q3 * (dt * half * half / 5.0)
    xy = q2 * half + q3 * (half * half / 2.0)
    xd = q3 * (dt * half / 3.0)
    p[n + own, n + own] += q2 * dt + q3 * (dt * dt * dt / 3.0)
    for a, b, by in ((0, n, xy), (0, 2 * n, xd), (n, 2 * n, q3 * half)):
        p[a + own, b + own] += by
        p[b + own, a + own] += by
    p[2 * n + own, 2 * n + own] += q3 * dt
    variance = FLICKER_WEIGHT2 * levels.floor2
    for k, tau_s in enumerate(FLICKER_S):
        at, a = (FLICKER + k) * n, decays[k]
        xx = xx + variance * (tau_s * tau_s * delayed_filter.wandered(dt / tau_s, a))
        cross = variance * (tau_s * (1.0 - a) * (1.0 - a))
        p[own, at + own] += cross
        p[at + own, own] += cross
        p[at + own, at + own] += variance * (1.0 - a * a)
    p[own, own] += xx
    for at, a, u in kept:
        p[at, at] += u * u * (1.0 - a * a)
    return ClocksState(epoch_ns, before.compared_ns, mean, p, before.joined, before.off_s, before.out)


def _advance(rows: Floats, n: int, dt: float, half: float, decays: list[float], reach: list[float]) -> None:  # noqa: PLR0917
    """Carry the rows of a state or of a covariance on, in place."""
    x, y, d = rows[:n], rows[n : 2 * n], rows[2 * n : 3 * n]
    x += dt * y + half * d
    for k, c in enumerate(reach):
        f = rows[(FLICKER + k) * n : (FLICKER + k + 1) * n]
        x += c * f
        f *= decays[k]
    y += dt * d


def compared(before: ClocksState, levels: Levels, z_s: Floats, out: Bools) -> ClocksState:
    """Take a comparison of the clocks in, of the state's own epoch: clock minus scale `z_s (n,)`, NaN where a clock
    says nothing; `out (n,)`: put out by the ensemble, and not read.
    """
    n = len(z_s)
    known = np.isfinite(z_s) & ~out
    # who was put out comes back as another clock
    returned = known & before.out
    joined = before.joined & ~returned
    still_out = (before.out | out) & ~known
    ready = known & joined
    if not ready.any():
        # nobody was there before: what the others are against UTC cannot be had from a comparison
        return ClocksState(before.epoch_ns, before.epoch_ns, before.mean, before.p, joined, before.off_s, still_out)
    mean, p = before.mean.copy(), before.p.copy()
    since_s = (before.epoch_ns - before.compared_ns) / 1e9
    found = _verdict(mean, p, levels, z_s, ready)
    if found.sides is not None and np.isfinite(before.off_s[found.undecided]).all():
        _halved(p, levels, found, before.off_s, since_s)
        found = _verdict(mean, p, levels, z_s, ready)
    first, off_s = found.first, found.off_s
    if first < 0:
        return ClocksState(before.epoch_ns, before.epoch_ns, before.mean, before.p, joined, off_s, still_out)
    stepped = np.isfinite(off_s) & np.isfinite(before.off_s)
    stepped[found.undecided] = False
    for i in range(n):
        if ready[i] and i != first and np.isnan(off_s[i]):
            column = p[:, i] - p[:, first]
            variance = column[i] - column[first] + levels.reading_s2[i] + levels.reading_s2[first]
            by = (float(z_s[first]) - float(z_s[i])) - (mean[i] - mean[first])
            gain = column / variance
            mean += gain * by
            p -= gain[:, None] * column[None, :]
    p = 0.5 * (p + p.T)
    for i in range(n):
        if stepped[i] and _is_phase(levels, i, first, off_s[i] - before.off_s[i], since_s):
            _join(mean, p, levels, i, first, z_s)
        elif (known[i] and not joined[i]) or stepped[i]:
            _fresh(mean, p, levels, i, n)
            _join(mean, p, levels, i, first, z_s)
    off_s = np.where(stepped, np.nan, off_s)
    return ClocksState(before.epoch_ns, before.epoch_ns, mean, p, joined | known, off_s, still_out)


def _is_phase(levels: Levels, i: int, first: int, by_s: float, since_s: float) -> bool:
    """Return True where a clock that was off twice was off by the same: `by_s`, the difference, after `since_s`."""
    variance = 2.0 * (levels.reading_s2[i] + levels.reading_s2[first])
    for k in (i, first):
        variance += since_s * (levels.q1[k] + since_s * (levels.floor2[k] + levels.q2[k] * since_s / 3.0))
    return bool(by_s * by_s <= PHASE_SIGMAS * PHASE_SIGMAS * variance)


def _verdict(mean: Floats, p: Floats, levels: Levels, z_s: Floats, ready: Bools) -> Verdict:
    own = np.flatnonzero(ready)
    z, x = z_s[own], mean[own]
    variance = p[own, own][:, None] + p[own, own][None, :] - 2.0 * p[own[:, None], own[None, :]]
    variance = variance + levels.reading_s2[own][:, None] + levels.reading_s2[own][None, :]
    by = (z[:, None] - z[None, :]) + (x[:, None] - x[None, :])
    return clock_dispute.verdict(by, variance, own, levels.day_variance, n=len(z_s))


def _halved(p: Floats, levels: Levels, found: Verdict, before_off_s: Floats, since_s: float) -> None:
    """Open the state for what two sides say who were apart twice, in place: one of them moved, each as likely.

    The mean of that is half of the step for each, and its deviation as much: which is what the comparison, read next,
    makes of a variance of half the step squared for either side. So with the rate, where they are not apart by the
    same.
    """
    assert found.sides is not None
    n = len(found.off_s)
    one, other = (min(side, key=lambda i: (levels.day_variance[i], i)) for side in found.sides)
    step_s = float(found.off_s[one])
    grown_s = step_s - float(before_off_s[one])
    is_phase = _is_phase(levels, one, other, grown_s, since_s)
    for side in found.sides:
        for i in side:
            for k in side:
                p[i, k] += 0.5 * step_s * step_s
                if not is_phase:
                    p[Y * n + i, Y * n + k] += 0.5 * (grown_s / since_s) * (grown_s / since_s)


def _fresh(mean: Floats, p: Floats, levels: Levels, i: int, n: int) -> None:
    """Give a clock, of which the phase is set, a rate of which nothing is known but its kind."""
    for block in range(Y, BLOCKS):
        at = block * n + i
        mean[at] = 0.0
        p[at, :] = 0.0
        p[:, at] = 0.0
    # UTC minus the clock drifts the other way
    mean[D * n + i] = -levels.drift[i]
    p[Y * n + i, Y * n + i] = levels.y_spread[i] * levels.y_spread[i]
    p[D * n + i, D * n + i] = levels.drift_spread[i] * levels.drift_spread[i]
    for k in range(FLICKER, BLOCKS):
        p[k * n + i, k * n + i] = FLICKER_WEIGHT2 * levels.floor2[i]


def _join(mean: Floats, p: Floats, levels: Levels, i: int, to: int, z_s: Floats) -> None:  # noqa: PLR0917
    """Set a clock's phase by another one's, in place."""
    mean[i] = mean[to] + (float(z_s[to]) - float(z_s[i]))
    p[i, :] = p[to, :]
    p[:, i] = p[:, to]
    p[i, i] = p[to, to] + levels.reading_s2[i] + levels.reading_s2[to]


def opened(before: ClocksState, *, u_x_s: float, u_y: float) -> ClocksState:
    """Return the state after all clocks moved together by what nobody knows: one sigma of phase (s) and of rate."""
    n = len(before.joined)
    p = before.p.copy()
    p[:n, :n] += u_x_s * u_x_s
    p[n : 2 * n, n : 2 * n] += u_y * u_y
    return ClocksState(before.epoch_ns, before.compared_ns, before.mean, p, before.joined, before.off_s, before.out)


def readable(state: ClocksState, z_s: Floats) -> Bools:
    """Return the clocks `(n,)` whose x + z says what UTC minus the scale is."""
    return np.isfinite(z_s) & state.joined & np.isnan(state.off_s) & ~state.out


def cloned(before: ClocksState, path: int, levels: Levels, z_s: Floats) -> ClocksState | None:
    """Return the state with the present UTC minus the scale kept as the beginning of a path's interval; None where no
    clock is there to tell it.
    """
    among = readable(before, z_s)
    if not among.any():
        return None
    i, at = best_of(levels, among), clone_of(len(z_s), path)
    mean, p = before.mean.copy(), before.p.copy()
    mean[at] = mean[i] + float(z_s[i])
    p[at, :] = p[i, :]
    p[:, at] = p[:, i]
    p[at, at] = p[i, i]
    return ClocksState(before.epoch_ns, before.compared_ns, mean, p, before.joined, before.off_s, before.out)


def without_clone(before: ClocksState, path: int) -> ClocksState:
    """Return the state in which no interval of a path has begun."""
    at = clone_of(len(before.joined), path)
    mean, p = before.mean.copy(), before.p.copy()
    mean[at] = 0.0
    p[at, :] = 0.0
    p[:, at] = 0.0
    return ClocksState(before.epoch_ns, before.compared_ns, mean, p, before.joined, before.off_s, before.out)


def told(
    before: ClocksState,
    paths: tuple[Path, ...],
    path: int,
    levels: Levels,
    z_s: Floats,
    *,
    value: float,
    u: float,
    span_s: float,
) -> ClocksState:
    """Take a value of UTC minus the scale in, of the state's own epoch (see `delayed_filter.innovation_of`); a state
    from which no clock tells UTC minus the scale, or no beginning of the interval is known, is returned as it is.
    """
    n = len(z_s)
    among = readable(before, z_s)
    if not among.any():
        return before
    i, common, since = best_of(levels, among), common_of(n, path), clone_of(n, path)
    p, mean = before.p, before.mean
    now_s = float(mean[i]) + float(z_s[i])
    if paths[path].kind is PathKind.PHASE:
        column = p[:, i] + p[:, common]
        by = value - (now_s + float(mean[common]))
        variance = float(column[i]) + float(column[common]) + u * u
    else:
        if not float(p[since, since]) > 0.0:
            return before
        column = p[:, i] - p[:, since] + span_s * p[:, common]
        by = value * span_s - (now_s - float(mean[since]) + span_s * float(mean[common]))
        variance = float(column[i]) - float(column[since]) + span_s * float(column[common]) + u * u * span_s * span_s
    gain = column / variance
    after = p - gain[:, None] * column[None, :]
    after = 0.5 * (after + after.T)
    return ClocksState(
        before.epoch_ns, before.compared_ns, mean + gain * by, after, before.joined, before.off_s, before.out
    )


def rate_of(state: ClocksState, clock: int) -> float:
    """Return the rate of UTC minus a clock at the state's epoch."""
    n = len(state.joined)
    y = float(state.mean[Y * n + clock])
    for k in range(FLICKER, BLOCKS):
        y += float(state.mean[k * n + clock])
    return y


def of_scale(state: ClocksState, weight: Floats, z_s: Floats, *, y_frame: float, n_paths: int) -> Estimate:
    """Return what is known of UTC minus the scale, in the shape of `delayed_filter`: the clocks by `weight (n,)` (sum
    1; 0 where `z_s` is not known), the scale where they say that it is, its rate against them `y_frame`.
    """
    n = len(weight)
    size, m = delayed_filter.size_of(()) + 2 * n_paths, len(state.mean)
    rows = np.zeros((size, m))
    mean = np.zeros(size)
    blocks, means = state.p[: BLOCKS * n].reshape(BLOCKS, n, m), state.mean[: BLOCKS * n].reshape(BLOCKS, n)
    for i in range(n):
        w = float(weight[i])
        if w > 0.0:
            rows[:BLOCKS] += w * blocks[:, i, :]
            mean[:BLOCKS] += w * means[:, i]
            mean[X] += w * float(z_s[i])
    mean[Y] += y_frame
    rows[BLOCKS:] = state.p[BLOCKS * n :]
    mean[BLOCKS:] = state.mean[BLOCKS * n :]
    p = np.zeros((size, size))
    columns = rows[:, : BLOCKS * n].reshape(size, BLOCKS, n)
    for i in range(n):
        w = float(weight[i])
        if w > 0.0:
            p[:, :BLOCKS] += w * columns[:, :, i]
    p[:, BLOCKS:] = rows[:, BLOCKS * n :]
    return Estimate(state.epoch_ns, mean, 0.5 * (p + p.T))
