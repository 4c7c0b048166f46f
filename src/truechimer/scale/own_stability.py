"""Own stability: how stable the scale itself probably is, from nothing but clocks minus scale; and against a truth.

It makes no scale and no statistic of one series (`truechimer.stability` does); it is computed after the fact, and no
fold depends on it. Truth is unknown to an ensemble. What can be had is this. Let D_i be the second differences of clock
i minus scale E over tau, S their covariance, and O the fixed weighting of the clocks that is best at this tau. For
clocks that are independent, what E departs from O is uncorrelated with O (else O could be bettered), so

    sigma_E^2 = sigma_O^2 + <(E - O)^2>          E - O = -sum_j w_j D_j
    sigma_i^2 = <(D_i - D_O)^2> / (1 - w_i)      w_i = sigma_i^-2 / sum_j sigma_j^-2      sigma_O^-2 = sum sigma_i^-2

The weights are had by iteration: a hat of as many corners as there are clocks, each weighed. Two clocks leave
their shares open and are not judged, and what all clocks have in common nobody inside can see.

Source: the orthogonality principle; Tavella and Premoli 1994, Ekstrom and Koppang 2006 for hats of N corners.
"""

from dataclasses import dataclass
from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray

from truechimer.scale.episodes import What, episodes
from truechimer.scale.replay import ScaleSeries
from truechimer.scale.state import Membership

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_POINTS = 40_000
"""Second differences of a tau; of more, every second, third ... is taken: they overlap anyway."""
LEAST_SPANS = 5
"""The longest tau fits so many times into the record."""
LEAST_CLOCKS = 3
"""Two leave their shares open."""
ROUNDS = 60
LEAST_SHARE = 0.02
"""1 - w is not taken below: a clock that is nearly all of the mean cannot be told from it."""
ON_GRID = 0.25
"""An epoch further from the regular grid than this part of the interval is left out."""
LN2 = 0.6931471805599453


@dataclass(frozen=True, slots=True)
class OwnStability:
    """Allan deviations at `tau_s (m,)`: `scale (m,)` estimated from within, never below the spectral bound of the
    learned noise; `clock (m, n)` of each clock, without its
    drift, NaN where there are too few differences; `best_fixed (m,)`: what the best fixed weighting of them reaches at
    each tau by these same figures.
    """

    tau_s: Floats
    scale: Floats
    clock: Floats
    best_fixed: Floats


@dataclass(frozen=True, slots=True)
class Grid:
    """A record on equal steps: `epoch (k,)` index of each step's epoch in the record, -1 where there was none."""

    interval_s: float
    epoch: Ints


def grid_of(series: ScaleSeries) -> Grid:
    """Return the record's epochs on the grid of its usual interval, less the first tenth, in which it is learned."""
    at = series.epoch_tai_ns
    if len(at) < 2:
        return Grid(1.0, np.zeros(0, np.int64))
    usual = float(np.median(np.diff(at)))
    first = len(at) // 10
    place = (at[first:] - at[first]).astype(np.float64) / usual
    slot = np.rint(place).astype(np.int64)
    kept = np.flatnonzero(np.abs(place - slot) <= ON_GRID)
    epoch = np.full(min(int(slot[-1]) + 1, 4 * len(at)), -1, np.int64)
    kept = kept[slot[kept] < len(epoch)]
    epoch[slot[kept]] = kept + first
    return Grid(usual / 1e9, epoch)


def octaves(grid: Grid) -> list[int]:
    """Return averaging factors 1, 2, 4 ... up to where `LEAST_SPANS` of them fit."""
    found, m = [], 1
    while m * LEAST_SPANS <= len(grid.epoch):
        found.append(m)
        m *= 2
    return found


def _segments(series: ScaleSeries) -> Ints:
    """Return a number for each clock and epoch that changes wherever something happened to the clock."""
    cuts = np.zeros(series.x_clock_minus_scale_s.shape, np.int64)
    for each in episodes(series):
        if each.clock is not None and each.what is not What.GLITCH:
            cuts[each.first, each.clock] = 1
            if each.until is not None:
                cuts[each.until, each.clock] = 1
    return np.cumsum(cuts, axis=0)


def second_differences(x: Floats, m: int, segment: Ints | None = None) -> Floats:
    """Return x(t + 2m) - 2 x(t + m) + x(t), shape `(k, n)`, NaN where an end is missing or lies in another segment."""
    step = max(1, (len(x) - 2 * m) // MOST_POINTS)
    out: Floats = (x[2 * m :] - 2.0 * x[m:-m] + x[: -2 * m])[::step]
    if segment is not None:
        out[segment[2 * m :][::step] != segment[: -2 * m][::step]] = np.nan
    return out


def covariance(differences: Floats, *, least: int = 8) -> Floats:
    """Return the covariance of second differences, of the times that two clocks share; NaN where those are too few."""
    there = np.isfinite(differences)
    filled = np.where(there, differences, 0.0)
    counts = there.T.astype(np.float64) @ there.astype(np.float64)
    return np.where(counts >= least, filled.T @ filled / np.maximum(counts, 1.0), np.nan)


def hat(s: Floats, start: Floats) -> tuple[Floats, float, float]:
    """Return variances of every clock, of their best fixed weighting, and of the reference that all were read against.

    `s (n, n)`: covariance of clocks minus reference; `start (n,)`: variances to begin with. Any unit, the same for all.
    """
    v = np.maximum(start, 1e-300)
    w = (1.0 / v) / float((1.0 / v).sum())
    for _ in range(ROUNDS):
        to_mean = np.maximum(np.diag(s) - 2.0 * (s @ w) + float(w @ s @ w), 0.0)
        v = 0.5 * (v + to_mean / np.maximum(1.0 - w, LEAST_SHARE))
        v = np.maximum(v, 1e-12 * float(v.max()) + 1e-300)
        w = (1.0 / v) / float((1.0 / v).sum())
    of_mean = 1.0 / float((1.0 / v).sum())
    return v, of_mean, of_mean + max(float(w @ s @ w), 0.0)


def drifts(series: ScaleSeries) -> Floats:
    """Return the drift of each clock, 1/s: as learned, else as declared."""
    if series.learned is not None:
        return series.learned.drift
    return np.array([(clock.noise.drift_per_day or 0.0) / 86_400.0 for clock in series.clocks])


def own_stability(series: ScaleSeries) -> OwnStability:
    """Return the stability of the scale and of its clocks, estimated from clocks minus scale."""
    grid = grid_of(series)
    n = len(series.clocks)
    factors = octaves(grid)
    there = grid.epoch >= 0
    x = np.full((len(grid.epoch), n), np.nan)
    # only what was read: predictions would look better than the clock
    usable = (series.state == Membership.IN) & (series.unused == 0)
    x[there] = np.where(usable, series.x_clock_minus_scale_s, np.nan)[grid.epoch[there]]
    t = np.arange(len(grid.epoch)) * grid.interval_s
    x -= 0.5 * t[:, None] * t[:, None] * drifts(series)
    segment = np.zeros((len(grid.epoch), n), np.int64)
    segment[there] = _segments(series)[grid.epoch[there]]
    # what happened at a step without an epoch still parts the record
    segment = np.maximum.accumulate(segment, axis=0)
    tau_s = np.array([m * grid.interval_s for m in factors])
    clock, scale, best = (
        np.full((len(factors), n), np.nan),
        np.full(len(factors), np.nan),
        np.full(len(factors), np.nan),
    )
    for k, m in enumerate(factors):
        s = covariance(second_differences(x, m, segment))
        known = np.flatnonzero(np.isfinite(np.diag(s)))
        s = s[np.ix_(known, known)]
        s = np.where(np.isfinite(s), s, 0.0)
        if len(known) < LEAST_CLOCKS or not (np.diag(s) > 0.0).any():
            continue
        start = np.maximum(np.diag(s), 1e-60)
        if series.learned is not None:
            start = np.array([2.0 * (tau_s[k] * series.learned.allan_deviation(int(i), tau_s[k])) ** 2 for i in known])
        variances, of_mean, of_scale = hat(s, start)
        to_adev = 1.0 / (sqrt(2.0) * tau_s[k])
        clock[k, known] = np.sqrt(variances) * to_adev
        best[k], scale[k] = sqrt(of_mean) * to_adev, sqrt(of_scale) * to_adev
    if series.learned is not None and len(tau_s):
        # columns of a clock leave a part of its readings' noise out, and look quieter from one epoch to the next than
        # anything made of these clocks can be
        scale = np.maximum(scale, spectral_bound(weighed(series), tau_s, interval_s=grid.interval_s))
    kept = np.isfinite(scale)
    return OwnStability(tau_s[kept], scale[kept], clock[kept], best[kept])


def weighed(series: ScaleSeries) -> Floats:
    """Return the learned noise of the clocks that have carried weight, shape `(k, 4)`."""
    assert series.learned is not None
    voted = (series.weight > 0.0).any(axis=0)
    return series.learned.noise[voted] if voted.any() else series.learned.noise


def best_fixed(noise: Floats, tau_s: Floats) -> Floats:
    """Return B(tau), what the best fixed weighting of clocks with this noise reaches at each tau (`Learned.noise`,
    without reading noise). It is no bound: weights that differ between averaging times can be better.
    """
    q1, floor2, q2 = noise[:, 1], noise[:, 2], noise[:, 3]
    variance = q1 / tau_s[:, None] + floor2 + q2 * tau_s[:, None] / 3.0
    out: Floats = 1.0 / np.sqrt((1.0 / variance).sum(axis=1))
    return out


def spectral_bound(noise: Floats, tau_s: Floats, *, interval_s: float) -> Floats:
    """Return the Allan deviation that no linear combination of clocks with this noise can better, at each tau.

    S_E(f) >= 1 / sum_i 1/S_i(f), clocks independent, read every `interval_s`; it is not causal. S_x is that of the
    sampled phase; the Allan window sin^4 is integrated from a hundredth of the longest tau's frequency to half the
    sampling frequency.
    """
    f = np.geomspace(0.01 / float(tau_s.max()), 0.5 / interval_s, 4_000)
    gap2 = 4.0 * np.sin(pi * f * interval_s) ** 2
    w = np.sqrt(gap2) / interval_s
    white = 2.0 * interval_s**2 / gap2
    flicker = 2.0 * pi / (2.0 * LN2) / w**3
    walk = 2.0 * interval_s**4 / gap2**2 * (1.0 - gap2 / 6.0)
    spectra = noise[:, 1, None] * white + noise[:, 2, None] * flicker + noise[:, 3, None] * walk
    combined = 1.0 / (1.0 / np.maximum(spectra, 1e-300)).sum(axis=0)
    df = np.gradient(f)
    out = []
    for tau in tau_s.tolist():
        window = (2.0 * np.sin(pi * f * tau)) ** 4 / (2.0 * tau * tau)
        out.append(sqrt(float((combined * window * df).sum())))
    return np.array(out)


def scale_minus_truth(series: ScaleSeries, x_clock_minus_truth_s: Floats) -> tuple[int, Floats]:
    """Return the clock through which it is seen (index) and scale minus truth at each epoch, seconds, NaN where either
    is missing.

    `x_clock_minus_truth_s (n_epochs, n_clocks)`. A column of one clock carries the noise of its own readings: the one
    with the least is taken, and of equal ones the one that was read most.
    """
    apart: Floats = x_clock_minus_truth_s - series.x_clock_minus_scale_s
    apart = np.where(series.unused == 0, apart, np.nan)
    shortest = np.full(apart.shape[1], np.inf)
    for i in range(apart.shape[1]):
        column = apart[:, i]
        whole = np.isfinite(column)
        if whole.sum() > 2:
            least = np.diff(column[whole], 2)
            shortest[i] = float(np.median(np.abs(least))) * (len(column) / float(whole.sum()))
    through = int(np.argmin(shortest))
    return through, apart[:, through]


def on_grid(series: ScaleSeries, values: Floats) -> tuple[float, Floats]:
    """Return the interval and a value for each step of the record's grid, NaN where there was no epoch."""
    grid = grid_of(series)
    out = np.full(len(grid.epoch), np.nan)
    there = grid.epoch >= 0
    out[there] = values[grid.epoch[there]]
    return grid.interval_s, out
