"""Equivalent degrees of freedom: how many independent terms an estimate is worth, by statistic and noise type.

It makes no interval (`confidence.py`) and identifies no noise. Terms are correlated; their number says little.

Method. Phase noise of type alpha has a generalised autocovariance s(l) of lag l. A statistic that is a mean of squares
of one fixed filter of the phase has terms with the covariance c(l), the filter's autocorrelation applied to s, and
edf = M^2 c(0)^2 / [M c(0)^2 + 2 sum over l of (M - l) c(l)^2] over M terms. Differences (Allan, Hadamard), window
averages (modified) and the parabola (PDEV) are such filters. Samples are taken as instantaneous, so m = 1 is exact.
The sum over lags is exact near the multiples of m, where c(l) has its cusps, and by cells elsewhere.

Where edf is small a chi-square of that variance has the wrong skewness; then the third moment is matched as well, from
the eigenvalues of the terms' covariance.

Total and Theo statistics are no such means. Their formulas were fitted to simulations: NIST SP 1065 tables.

Source: Greenhall and Riley, "Uncertainty of stability variances based on finite differences" (PTTI 2003), whose case
F = m differs at small m (it takes every sample as an average over tau0); NIST SP 1065 (2008) section 5.4.
"""

import math
from dataclasses import dataclass

import numpy as np

from truechimer.stability.curve import Floats

EXACT = 64
"""Lags this near to a multiple of m are summed one by one."""
SAMPLED = 8
"""Up to this factor flicker FM is sampled flicker frequency; above, l^2 ln l tells no difference."""
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


FEW = 4.0
"""Below this many degrees the third moment is matched."""
CELLS = 48


def of_differences(alpha: int, order: int, m: int, terms: int, *, overlapping: bool) -> Degrees:
    """Return the edf of a mean of squared differences of `order` (2 Allan, 3 Hadamard) at stride m."""
    reach = order + 3
    if alpha == -1 and m <= SAMPLED and (overlapping or m == 1):
        return _of_flicker_frequency(_difference_taps(order, m), terms)
    if overlapping:
        lags, weights = _lags(m, min(terms, reach * m))
    else:
        lags = np.arange(min(terms, 4 * reach), dtype=np.float64) * m
        weights = np.ones(lags.size)
    covariance = _differenced(alpha, lags, float(m), order)
    counted = lags if overlapping else lags / m
    return _degrees(covariance, counted, weights, terms)


def of_window_means(alpha: int, order: int, m: int, terms: int) -> Degrees:
    """Return the edf of a mean of squared averages of m neighbouring differences of `order` (2: modified Allan)."""
    reach = order + 4
    if alpha == -1 and m <= SAMPLED:
        return _of_flicker_frequency(np.convolve(_difference_taps(order, m), np.ones(m)), terms)
    if m <= SMALL:
        most = min(terms, reach * m)
        every = np.arange(-(m - 1), most + m - 1, dtype=np.float64)
        plain = _differenced(alpha, every, float(m), order)
        covariance = np.convolve(plain, m - np.abs(np.arange(-(m - 1.0), m)), mode="valid")
        lags = np.arange(most, dtype=np.float64)
        return _degrees(covariance, lags, np.ones(most), terms)
    lags, weights = _lags(m, min(terms, reach * m))
    t = lags / m
    covariance = np.zeros_like(t)
    for k in range(-order, order + 1):
        covariance += (-1) ** k * math.comb(2 * order, order + k) * _integrated_twice(alpha, t + k)
    return _degrees(covariance, lags, weights, terms)


def _difference_taps(order: int, m: int) -> Floats:
    taps = np.zeros(order * m + 1)
    taps[::m] = [(-1) ** k * math.comb(order, k) for k in range(order + 1)]
    return taps


def _of_flicker_frequency(taps: Floats, terms: int) -> Degrees:
    """Return the edf of a filter of phase whose frequency is sampled flicker: the filter of frequency, summed up."""
    return of_filter(1, np.cumsum(taps)[:-1], terms)


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


def _degrees(covariance: Floats, lags: Floats, weights: Floats, terms: int) -> Degrees:
    """Return the degrees from covariances at lags >= 0, each standing for `weights` lags; terms are one lag apart."""
    relative = covariance / covariance[0]
    counted = weights * np.clip(1.0 - lags / terms, 0.0, None) * relative * relative
    edf = float(terms / (counted[0] + 2.0 * np.sum(counted[1:])))
    if edf >= FEW:
        return Degrees.plain(edf)
    cells = min(terms, CELLS)
    apart = np.abs(np.subtract.outer(np.arange(cells), np.arange(cells))) * (terms / cells)
    order = np.argsort(lags)
    matrix = np.interp(apart, lags[order], relative[order], right=0.0) / cells
    eigenvalues = np.linalg.eigvalsh(matrix)
    second, third = float(np.sum(eigenvalues**2)), float(np.sum(eigenvalues**3))
    return Degrees(edf, max(third / (second * edf), 1.0 / (edf * edf)))


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
        return _square_log(size)
    return np.asarray(size**3 - size)  # of a double sum of white noise


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
