"""Day boundaries: the jumps of clocks where one solution of a network ends and the next begins, taken out.

It changes no reading within a solution and weighs no clock. Each daily solution has its own datum and, for each clock,
its own offset of some 0.1 to 1 ns (the noise of a day's code measurements); phases within a day are a hundred times
better. A clock that is taken at its word therefore steps at every midnight.

At a boundary a line with a step is fitted to readings on both sides; what all clocks have in common is the change of
datum or of the reference clock. The same fit at places within the solutions, where nothing can jump, says what it is
worth for this clock, and with how many readings it is worth most. Of what is left, the part that the spread of such
jumps explains is taken out (all of it for a maser, none for a crystal whose own noise is larger), and the rest of its
variance is stated. A step far beyond that spread is the clock's own, and left to detection.

Source: Ray and Senior 2003, 2005 (day-boundary discontinuities of IGS clocks); the part is a Wiener gain.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SIDES = (1, 2, 4, 8, 16, 32, 64)
"""Readings on each side of a boundary that are tried; 1: a plain difference, less the rate over both solutions."""
PLACES, LEAST_PLACES = 40, 8
"""Places within the solutions at which a fit is tried, at most, and at least."""
OWN_STEP_SIGMAS = 8.0
OWN_STEP_S = 5e-9
"""A jump beyond both is the clock's own."""
POOLED_WORTH = 4.0
"""The spread of all clocks counts as so many boundaries of one."""
_MEDIAN_OF_CHI2 = 0.4549


@dataclass(frozen=True, slots=True, eq=False)
class Boundary:
    """One boundary: `epoch_tai_ns` of the first epoch after it; per clock, shape `(n,)`, NaN where it cannot be known:

    `jump_s`: what was seen beyond the common, `absorbed_s`: what was taken out, `u_s`: one sigma of what is left;
    `own_step`: bool, left to detection. `common_s`: median jump of all clocks, the change of datum.
    """

    epoch_tai_ns: int
    jump_s: Floats
    absorbed_s: Floats
    u_s: Floats
    own_step: NDArray[np.bool_]
    common_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Phases without the jumps; `x_s`, `u_s (n_epochs, n)`; `spread_s (n,)`: one sigma of a clock's offset in a
    solution; `fit_u_s (n,)`: of the fit.
    """

    x_s: Floats
    u_s: Floats
    boundaries: tuple[Boundary, ...]
    spread_s: Floats
    fit_u_s: Floats


def join(epoch_tai_ns: Ints, x_s: Floats, u_s: Floats, solution: Ints) -> Joined:
    """Take the jumps between solutions out of the phases.

    `epoch_tai_ns (n_epochs,)` rising; `x_s`, `u_s (n_epochs, n)`: clock minus datum and its one sigma (s), NaN where a
    clock was not read; `solution (n_epochs,)`: the number of each epoch's solution, never falling.
    """
    n = x_s.shape[1]
    starts = np.flatnonzero(np.diff(solution) > 0) + 1
    ends = np.concatenate([starts, [len(solution)]])
    begins = np.concatenate([[0], starts])
    time_s = (epoch_tai_ns - epoch_tai_ns[0]) / 1e9 if len(epoch_tai_ns) else np.zeros(0)
    x, u = x_s.copy(), u_s.copy()
    if not len(starts):
        return Joined(x, u, (), np.zeros(n), np.full(n, np.nan))
    # The datum's own noise goes through fits of different lengths differently. Off with it: which clock it is, or
    # when it changes, shall make no difference.
    z = x_s - _datum(x_s)[:, None]
    side, fit_u2 = _best_sides(time_s, z, begins, ends)
    jumps = np.full((len(starts), n), np.nan)
    for k, (begin, at, end) in enumerate(zip(begins[:-1], starts, ends[1:], strict=True)):
        for m in np.unique(side[side > 0]).tolist():
            here = side == m
            jumps[k, here] = _steps(time_s[begin:end], z[begin:end, here], int(at - begin), m)
    common = np.zeros(len(starts))
    for k in range(len(starts)):
        common[k] = _common(jumps[k], fit_u2)
    jumps -= common[:, None]
    whole = np.zeros(n)
    spread2 = _spreads(jumps, fit_u2)
    boundaries = []
    for k, first_row in enumerate(starts.tolist()):
        expected = 2.0 * spread2 + fit_u2
        own = (np.abs(jumps[k]) > OWN_STEP_S) & (jumps[k] ** 2 > OWN_STEP_SIGMAS**2 * expected)
        with np.errstate(invalid="ignore", divide="ignore"):
            part = np.where(expected > 0.0, 2.0 * spread2 / expected, 0.0)
        known = np.isfinite(jumps[k]) & np.isfinite(part) & ~own
        taken = np.where(known, part * jumps[k], 0.0)
        # without an estimate the whole jump stays, and is stated
        left2 = np.where(known, part * np.nan_to_num(fit_u2), 2.0 * spread2)
        left2 = np.where(own, 0.0, left2)
        whole += taken
        here = slice(first_row, int(ends[k + 1]))
        x[here] -= whole + common[: k + 1].sum()
        first = _first_reading(x[here])
        for i in np.flatnonzero(first >= 0).tolist():
            row = first_row + int(first[i])
            u[row, i] = np.sqrt(u[row, i] ** 2 + left2[i])
        boundaries.append(
            Boundary(
                int(epoch_tai_ns[first_row]), jumps[k], np.where(known, taken, np.nan), np.sqrt(left2), own, common[k]
            )
        )
    return Joined(x, u, tuple(boundaries), np.sqrt(spread2), np.sqrt(fit_u2))


def _datum(x: Floats) -> Floats:
    """Return what the clocks have in common, summed from epoch to epoch, up to a constant and a rate (s).

    Increments are less each clock's usual one; clocks whose increments scatter least say most.
    """
    if len(x) < 2:
        return np.zeros(len(x))
    steps = np.diff(x, axis=0)
    middle = median(steps.T)
    own = steps - middle[:, None]
    own = own - median(own)
    # without their rates the clocks have another middle
    again = median(own.T)
    own, middle = own - again[:, None], middle + again
    size = median(np.abs(own))
    known = np.isfinite(size)
    floor = float(size[known].min()) if known.any() else 0.0
    weight = np.where(known, 1.0 / (np.nan_to_num(size) ** 2 + floor * floor + 1e-30), 0.0)
    near = np.isfinite(own) & (np.abs(np.nan_to_num(own)) <= 5.0 * np.nan_to_num(size))
    total = (near * weight).sum(axis=1)
    mean = (np.where(near, own, 0.0) * weight).sum(axis=1) / np.maximum(total, 1e-300)
    return np.concatenate([[0.0], np.cumsum(np.nan_to_num(middle) + mean)])


def median(values: Floats) -> Floats:
    """Return the median of each column, NaN where it has no value."""
    out = np.full(values.shape[1], np.nan)
    able = np.isfinite(values).any(axis=0) if len(values) else np.zeros(values.shape[1], np.bool_)
    if able.any():
        out[able] = np.nanmedian(values[:, able], axis=0)
    return out


def _first_reading(x: Floats) -> Ints:
    """Return the first row with a reading of each clock, -1 where there is none."""
    seen = np.isfinite(x)
    return np.where(seen.any(axis=0), np.argmax(seen, axis=0), -1)


def _steps(time_s: Floats, x: Floats, at: int, side: int) -> Floats:
    """Return the step of each clock between rows `at - 1` and `at`, shape `(n,)`; NaN where readings are too few."""
    n = x.shape[1]
    if side == 1:
        if at < 1 or at >= len(x):
            return np.full(n, np.nan)
        rate = _mean_rate(time_s, x, at)
        return np.asarray(x[at] - x[at - 1] - rate * (time_s[at] - time_s[at - 1]))
    low, high = max(at - side, 0), min(at + side, len(x))
    t = time_s[low:high] - 0.5 * (time_s[at - 1] + time_s[at])
    t = t / max(np.abs(t).max(), 1.0)
    after = (np.arange(low, high) >= at).astype(float)
    values = x[low:high]
    seen = np.isfinite(values)
    enough = (seen[: at - low].sum(axis=0) >= max(2, side // 2)) & (seen[at - low :].sum(axis=0) >= max(2, side // 2))
    if not enough.any():
        return np.full(n, np.nan)
    # the level near the boundary is taken off first: offsets of a millisecond would cost the last digits
    level = np.nanmean(np.where(enough, values, 0.0), axis=0)
    clean = np.where(seen, values - level, 0.0)
    basis = np.stack([np.ones_like(t), t, after], axis=1)
    normal = np.einsum("ta,tb,ti->iab", basis, basis, seen.astype(float))
    right = np.einsum("ta,ti->ia", basis, clean)
    out = np.full(n, np.nan)
    usable = np.flatnonzero(enough)
    out[usable] = np.linalg.solve(normal[usable], right[usable][:, :, None])[:, 2, 0]
    return out


def _mean_rate(time_s: Floats, x: Floats, at: int) -> Floats:
    """Return each clock's rate: the mean of the rates on both sides, end to end."""
    rates = []
    for part, t in ((x[:at], time_s[:at]), (x[at:], time_s[at:])):
        seen = np.isfinite(part)
        rate = np.full(x.shape[1], np.nan)
        first, last = np.argmax(seen, axis=0), len(part) - 1 - np.argmax(seen[::-1], axis=0)
        able = np.flatnonzero(seen.any(axis=0) & (last > first))
        rate[able] = (part[last[able], able] - part[first[able], able]) / (t[last[able]] - t[first[able]])
        rates.append(rate)
    both = np.stack(rates)
    count = np.isfinite(both).sum(axis=0)
    return np.where(count > 0, np.nansum(both, axis=0) / np.maximum(count, 1), np.nan)


def _common(jumps: Floats, fit_u2: Floats) -> float:
    """Return what the jumps of all clocks have in common: a mean weighted by their fits and their usual spread, without
    those that stand apart.
    """
    known = np.isfinite(jumps) & np.isfinite(fit_u2)
    if not known.any():
        return 0.0
    values, own2 = jumps[known], fit_u2[known]
    # the middle of the clocks whose fit is good, and how far these are apart
    good = own2 <= np.median(own2)
    middle = float(np.median(values[good]))
    apart2 = float(np.median((values[good] - middle) ** 2)) / _MEDIAN_OF_CHI2
    whole2 = own2 + apart2 + 1e-30
    near = (values - middle) ** 2 <= 16.0 * whole2
    return float((values[near] / whole2[near]).sum() / (1.0 / whole2[near]).sum()) if near.any() else middle


def _best_sides(time_s: Floats, x: Floats, begins: Ints, ends: Ints) -> tuple[Ints, Floats]:
    """Return for each clock the number of readings whose fit errs least within the solutions (0: none works), and the
    mean square of its error (s^2).
    """
    n = x.shape[1]
    best, least = np.zeros(n, np.int64), np.full(n, np.inf)
    for side in SIDES:
        errors = []
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            room = (end - begin) - 2 * side
            if room < 0:
                continue
            count = min(max(PLACES // len(begins), LEAST_PLACES), room // max(side // 4, 1) + 1)
            for at in np.unique(np.linspace(side, end - begin - side, count).round().astype(int)).tolist():
                if not 0 < at < end - begin:
                    continue
                errors.append(_steps(time_s[begin:end], x[begin:end], at, side))
        if len(errors) < LEAST_PLACES:
            continue
        error = np.array(errors)
        # what all have in common is the datum's noise, not the clock's
        size = _mean_square(error)
        common = np.array([_common(each, size) for each in error])
        size = _mean_square(error - common[:, None])
        common = np.array([_common(each, size) for each in error])
        square = np.nan_to_num(_mean_square(error - common[:, None]), nan=np.inf)
        # a mean of few clocks follows each of them
        square *= 1.0 + 2.0 / max(int(np.isfinite(size).sum()) - 1, 1)
        better = square < 0.9 * least
        best[better], least[better] = side, square[better]
    return best, np.where(np.isfinite(least), least, np.nan)


def _mean_square(error: Floats) -> Floats:
    """Return a mean square of each column that a few wild places do not move: the larger ones are cut at 5 sigma."""
    known = np.isfinite(error)
    count = known.sum(axis=0)
    square = np.where(known, error * error, np.nan)
    out = np.full(error.shape[1], np.nan)
    able = np.flatnonzero(count >= LEAST_PLACES)
    if len(able):
        middle = np.nanmedian(square[:, able], axis=0) / _MEDIAN_OF_CHI2
        out[able] = np.nanmean(np.minimum(square[:, able], 25.0 * middle + 1e-40), axis=0)
    return out


def _spreads(jumps: Floats, fit_u2: Floats) -> Floats:
    """Return the variance of each clock's offset in a solution (s^2): its own jumps, and those of all clocks."""
    good = np.isfinite(jumps) & np.isfinite(fit_u2)[None, :]
    # only clocks whose fit can see such a jump say how large it usually is
    squares = np.where(good, jumps * jumps, np.nan)
    usual = _pooled(squares[good], np.broadcast_to(fit_u2, jumps.shape)[good])
    own2 = np.where(good, np.minimum(jumps * jumps, 25.0 * (2.0 * usual + fit_u2)) - fit_u2, 0.0)
    # a jump says as much of its spread as it stands out of the fit's own error
    with np.errstate(invalid="ignore", divide="ignore"):
        worth = np.where(good, (2.0 * usual / (2.0 * usual + fit_u2)) ** 2, 0.0)
    worth = np.nan_to_num(worth)
    spread2: Floats = np.maximum(
        (POOLED_WORTH * usual + 0.5 * (worth * own2).sum(axis=0)) / (POOLED_WORTH + worth.sum(axis=0)), 0.0
    )
    return spread2


def _pooled(squares: Floats, fit_u2: Floats) -> float:
    """Return the variance v for which jumps of variance 2 v + fit_u2 have their median square where it was found."""
    if len(squares) < 3:
        return float(np.maximum((squares - fit_u2).mean(), 0.0)) / 2.0 if len(squares) else 0.0
    low, high = 0.0, float(squares.max()) + 1e-40
    for _ in range(60):
        middle = 0.5 * (low + high)
        ratio = squares / (2.0 * middle + fit_u2 + 1e-60)
        if np.median(ratio) > _MEDIAN_OF_CHI2:
            low = middle
        else:
            high = middle
    return high if high > 1e-30 else 0.0
