"""Equivalent degrees of freedom: how many independent terms an estimate is worth, by statistic and noise type.

It makes no interval (`confidence.py`) and identifies no noise. Terms are correlated; their number says little.

Method. Phase noise of type alpha has a generalised autocovariance s(l) of lag l. A statistic that is a mean of squares
of one fixed filter of the phase has terms with the covariance c(l), the filter's autocorrelation applied to s, and
edf = M^2 c(0)^2 / [M c(0)^2 + 2 sum over l of (M - l) c(l)^2] over M terms. Differences (Allan, Hadamard), window
averages (modified) and the parabola (PDEV) are such filters. Samples are taken as instantaneous, so m = 1 is exact.
The sum over lags is exact near the multiples of m, where c(l) has its cusps, and by cells elsewhere.

A chi-square of that variance has the wrong skewness, above all for flicker PM, where few slow terms carry much of the
variance; so the third moment is given as well: the trace of the cube of the terms' covariance, by cells of terms.

Total and Theo statistics are no such means (`degrees_long.py`).

Source: Greenhall and Riley, "Uncertainty of stability variances based on finite differences" (PTTI 2003), whose case
F = m differs at small m (it takes every sample as an average over tau0); NIST SP 1065 (2008) section 5.4.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from truechimer.stability.curve import Floats, Ints

EXACT = 64
"""Lags this near to a multiple of m are summed one by one."""
SMALL = 32
"""Up to this averaging factor, window averages are taken as the sums that they are; above, as integrals."""


@dataclass(frozen=True, slots=True)
class Degrees:
    """`edf`: twice the squared mean over the variance of the squared value. `third`: the sum of cubes of the weights
    with which independent chi-squares of one degree make it up, weights of sum 1; 1/edf^2 for a plain chi-square.
    """

    edf: float
    third: float

    @classmethod
    def plain(cls, edf: float) -> "Degrees":
        """Return the degrees of a plain chi-square, at least one half."""
        edf = max(edf, 0.5)
        return cls(edf, 1.0 / (edf * edf))


MANY = 120.0
"""From this many degrees on skewness moves an interval by nothing that matters."""
CELLS = 32
"""Lags at which the third moment looks."""
Averaged = Callable[[Floats, float], Floats]
"""The covariance between cells of terms: (their distance in cells, their width in terms)."""


def of_differences(alpha: int, order: int, m: int, terms: int, *, overlapping: bool) -> Degrees:
    """Return the edf of a mean of squared differences of `order` (2 Allan, 3 Hadamard) at stride m."""
    reach = order + 3
    if overlapping:
        lags, weights = _lags(m, min(terms, reach * m))
    else:
        lags = np.arange(min(terms, 4 * reach), dtype=np.float64) * m
        weights = np.ones(lags.size)
    covariance = _differenced(alpha, lags, float(m), order)
    if not overlapping:
        return _degrees(covariance, lags / m, weights, terms)

    if alpha == 2:  # terms whose lag is no multiple of m have nothing in common: m chains of terms, each by itself
        edf = _degrees(covariance, lags, weights, terms).edf
        chain = _differenced(alpha, np.arange(CELLS, dtype=np.float64) * m, float(m), order) / covariance[0]
        return Degrees(edf, max(_cubes(chain, terms / m) / m**2, 1.0 / (edf * edf)))

    def averaged(cells: Floats, width: float) -> Floats:
        found = np.zeros_like(cells)
        for k in range(-order, order + 1):
            found += (-1) ** k * math.comb(2 * order, order + k) * _integrated_twice(alpha, cells + k * m / width)
        return found * _OF_CELLS[alpha] * width ** (1 - alpha)

    return _degrees(covariance, lags, weights, terms, averaged=averaged)


def of_window_means(alpha: int, order: int, m: int, terms: int) -> Degrees:
    """Return the edf of a mean of squared averages of m neighbouring differences of `order` (2: modified Allan)."""
    reach = order + 4
    if m <= SMALL:
        most = min(terms, reach * m)
        every = np.arange(-(m - 1), most + m - 1, dtype=np.float64)
        plain = _differenced(alpha, every, float(m), order)
        covariance = np.convolve(plain, m - np.abs(np.arange(-(m - 1.0), m)), mode="valid")
        lags = np.arange(most, dtype=np.float64)
        return _degrees(covariance, lags, np.ones(most), terms)
    lags, weights = _lags(m, min(terms, reach * m))
    return _degrees(_of_windows(alpha, order, lags / m), lags, weights, terms)


def of_averaged_differences(alpha: int, order: int, m: int, terms: int, *, overlapping: bool) -> Degrees:
    """As `of_differences`, of phases that are averages over tau0 (Greenhall's F = m): see `degrees_published.py`."""
    if overlapping:
        lags, weights = _lags(m, min(terms, (order + 4) * m))
    else:
        lags = np.arange(min(terms, 4 * (order + 3)), dtype=np.float64) * m
        weights = np.ones(lags.size)
    covariance = np.zeros_like(lags)
    for k in range(-order, order + 1):
        covariance += (-1) ** k * math.comb(2 * order, order + k) * _integrated_twice(alpha, lags + float(k * m))
    return _degrees(covariance, lags if overlapping else lags / m, weights, terms)


def of_averaged_window_means(alpha: int, order: int, m: int, terms: int) -> Degrees:
    """As `of_window_means`, of phases that are averages over tau0 (Greenhall's F = 1)."""
    lags, weights = _lags(m, min(terms, (order + 4) * m))
    return _degrees(_of_windows(alpha, order, lags / m), lags, weights, terms)


def _of_windows(alpha: int, order: int, t: Floats) -> Floats:
    """Return the covariance of differences of averages over one unit of t."""
    covariance = np.zeros_like(t)
    for k in range(-order, order + 1):
        covariance += (-1) ** k * math.comb(2 * order, order + k) * _integrated_twice(alpha, t + k)
    return covariance


def of_filter(alpha: int, filtered: Floats, terms: int) -> Degrees:
    """Return the edf of a mean of squares of one filter of the phase, its taps given as `filtered`."""
    taps = np.correlate(filtered, filtered, mode="full")
    most = min(terms, 4 * filtered.size)
    half = filtered.size - 1
    every = np.arange(-half, most + half, dtype=np.float64)
    covariance = np.convolve(_autocovariance(alpha, every), taps, mode="valid")
    return _degrees(covariance, np.arange(most, dtype=np.float64), np.ones(most), terms)


def of_parabola(alpha: int, m: int, terms: int) -> Degrees:
    """Return the edf of PDEV; a parabola of more than `SMALL` points per side is scaled down, averages hide the
    rest.
    """
    if m == 1:
        return of_differences(alpha, 2, 1, terms, overlapping=True)
    points = min(m, SMALL)
    ramp = 0.5 * (points - 1) - np.arange(points, dtype=np.float64)
    return of_filter(alpha, np.concatenate([ramp, -ramp]), max(1, round(terms * points / m)))


def _degrees(
    covariance: Floats, lags: Floats, weights: Floats, terms: int, *, averaged: Averaged | None = None
) -> Degrees:
    """Return the degrees from covariances at lags >= 0, each standing for `weights` lags; terms are one lag apart.

    `averaged` gives the covariance between whole cells of terms, for covariances that are not smooth.
    """
    relative = covariance / covariance[0]
    counted = weights * np.clip(1.0 - lags / terms, 0.0, None) * relative * relative
    edf = float(terms / (counted[0] + 2.0 * np.sum(counted[1:])))
    if edf >= MANY:
        return Degrees.plain(edf)
    reach = min(float(terms), float(lags.max()) + 1.0)
    width = max(1.0, reach / CELLS)
    if width == 1.0:
        cells = np.zeros(CELLS)
        whole = lags.astype(np.int64)
        near = whole < CELLS
        cells[whole[near]] = relative[near]
    elif averaged is not None:
        cells = averaged(np.arange(CELLS, dtype=np.float64), width) / covariance[0]
    else:
        order = np.argsort(lags)
        cells = np.interp(np.arange(CELLS) * width, lags[order], relative[order], right=0.0)
    return Degrees(edf, max(_cubes(cells, terms / width), 1.0 / (edf * edf)))


def _cubes(cells: Floats, count: float) -> float:
    """Return the trace of the cube of the terms' covariance matrix over `count`^3: the sum of cubes of its eigenvalues.

    `cells` (CELLS,) are the covariances of neighbouring cells of terms, of which the record has `count`: the sum over
    lags a, b of c(a) c(b) c(a + b), as often as three cells that far apart find room.
    """
    first, second, third, span = _triples()
    room = np.maximum(count - span, 0.0)
    return float(np.sum(cells[first] * cells[second] * cells[third] * room)) / count**3


@lru_cache(maxsize=1)
def _triples() -> tuple[Ints, Ints, Ints, Floats]:
    """Return |a|, |b|, |a + b| and the span that three cells take up, for all lags below `CELLS`."""
    lag = np.arange(1 - CELLS, CELLS, dtype=np.int64)
    a, b = (each.ravel() for each in np.meshgrid(lag, lag))
    inside = np.abs(a + b) < CELLS
    a, b = a[inside], b[inside]
    highest = np.maximum(np.maximum(a + b, b), 0)
    lowest = np.minimum(np.minimum(a + b, b), 0)
    return np.abs(a), np.abs(b), np.abs(a + b), (highest - lowest).astype(np.float64)


def _lags(m: int, most: int) -> tuple[Floats, Floats]:
    """Return lags from 0 to `most` - 1 and the number of lags that each stands for."""
    if most <= 16 * EXACT:
        return np.arange(most, dtype=np.float64), np.ones(most)
    near = [np.arange(max(0, k - EXACT), min(most, k + EXACT + 1)) for k in range(0, most + m, m)]
    exact = np.unique(np.concatenate([each for each in near if each.size]))
    breaks = np.flatnonzero(np.diff(exact) > 1)
    lags, weights = [exact.astype(np.float64)], [np.ones(exact.size)]
    gaps = [(int(exact[b]) + 1, int(exact[b + 1])) for b in breaks]
    if exact[-1] + 1 < most:
        gaps.append((int(exact[-1]) + 1, most))
    for start, stop in gaps:  # cells grow away from the cusps on both sides
        steps = np.geomspace(EXACT, max(EXACT + 1.0, (stop - start) / 2 + EXACT), 48) - EXACT
        edges = np.unique(np.round(np.concatenate([start + steps, stop - steps])))
        edges = edges[(edges >= start) & (edges <= stop)]
        edges = np.unique(np.concatenate([[start], edges, [stop]]))
        width = np.diff(edges)
        lags.append(edges[:-1] + (width - 1.0) / 2.0)
        weights.append(width)
    return np.concatenate(lags), np.concatenate(weights)


def _differenced(alpha: int, lags: Floats, m: float, order: int) -> Floats:
    """Return the covariance of differences of `order` at stride m."""
    covariance = np.zeros_like(lags)
    for k in range(-order, order + 1):
        covariance += (-1) ** k * math.comb(2 * order, order + k) * _autocovariance(alpha, lags + k * m)
    return covariance


def _autocovariance(alpha: int, lags: Floats) -> Floats:
    """Return s(l), up to a factor and to what differencing removes."""
    size = np.abs(lags)
    if alpha == 2:
        return np.asarray(np.where(size < 0.5, 1.0, 0.0))
    if alpha == 1:  # S(f) = 1/|2 sin(pi f)|: minus the sum of 2/(2k - 1) up to l
        table = np.concatenate([[0.0], -np.cumsum(2.0 / (2.0 * np.arange(1, 65) - 1.0))])
        near = table[np.minimum(np.round(size), 64.0).astype(np.int64)]
        far = -np.log(np.maximum(size, 1.0)) - (np.euler_gamma + 2.0 * math.log(2.0))
        return np.asarray(np.where(size <= 64.0, near, far))
    if alpha == 0:
        return -size
    if alpha == -1:
        near = _of_flicker_fm()
        far = size * size * np.log(np.maximum(size, 1.0)) - 0.25 * np.log(np.maximum(size, 1.0))
        return np.asarray(
            np.where(size < near.size, near[np.minimum(np.round(size), near.size - 1).astype(np.int64)], far)
        )
    return np.asarray(size**3 - size)  # of a double sum of white noise


@lru_cache(maxsize=1)
def _of_flicker_fm() -> Floats:
    """Return s(l), l < 256, of phases whose second differences are those of S(f) = 1/|2 sin(pi f)|, less what makes it
    differ from its asymptote l^2 ln l - (ln l)/4: a parabola, which differencing removes.
    """
    size = 256
    lag = np.arange(size, dtype=np.float64)
    of_frequency = np.concatenate([[0.0], np.cumsum(4.0 / (2.0 * lag[1:] - 1.0))])
    s = np.zeros(size)
    for k in range(1, size - 1):
        s[k + 1] = 2.0 * s[k] - s[k - 1] + of_frequency[k]
    last, half = size - 1, size // 2
    off = [s[k] - (k * k - 0.25) * math.log(k) for k in (half, last)]
    bend = (off[1] - off[0]) / (last**2 - half**2)
    return np.asarray(s - bend * lag * lag - (off[0] - bend * half**2))


_OF_CELLS = {2: 1 / 2, 1: 1 / 2, 0: 1 / 6, -1: 1 / 12, -2: 1 / 20}
"""What makes `_integrated_twice` of cells one term wide equal to `_autocovariance`."""


def _integrated_twice(alpha: int, t: Floats) -> Floats:
    """Return the autocovariance of phase averaged over one unit of t."""

    def sw(size: Floats) -> Floats:
        size = np.abs(size)
        if alpha == 2:
            return -size
        if alpha == 1:
            return _square_log(size)
        if alpha == 0:
            return np.asarray(size**3)
        if alpha == -1:
            return -size * size * _square_log(size)
        return np.asarray(-(size**5))

    return 2.0 * sw(t) - sw(t - 1.0) - sw(t + 1.0)


def _square_log(t: Floats) -> Floats:
    """Return t^2 ln |t|, 0 at 0."""
    size = np.abs(t)
    return np.asarray(size * size * np.log(np.where(size > 0.0, size, 1.0)))
