"""Noise identification by the lag-1 autocorrelation, and by the ratios B1 and R(n) where too few points are left.

It is not the default (`noise_identification.py` is, which names the type right more often; decision record 20): it is
what Stable32 and the handbook do, for who asks by `noise_from="lag1"`.

Method. Phases at every m-th point, a straight line taken out, are differenced until r1/(1 + r1) < 1/4, r1 their lag-1
autocorrelation, at most twice; with d differences alpha = 2 - 2 (r1/(1 + r1) + d), rounded. With fewer than `LEAST`
points B1, the standard over the Allan variance of the frequencies, is compared with B1(N, mu), and where that says PM,
R(n) = MVAR/AVAR tells white from flicker.

Source: Riley and Greenhall, "Power law noise identification using the lag 1 autocorrelation" (EFTF 2004); NIST SP 1065
(2008) sections 5.5.2 to 5.5.6; B1: Barnes (NBS TN 375, 1969).
"""

import math
from itertools import pairwise

import numpy as np

from truechimer.stability import sums
from truechimer.stability.arrays import runs, second_difference
from truechimer.stability.curve import Floats, Ints
from truechimer.stability.noise_identification import LEAST_PHASES, variance_ratio
from truechimer.stability.series import Series, without_line

LEAST = 30
"""Fewer decimated points than this do not carry an autocorrelation."""
MOST_DIFFERENCES = 2


def identify(series: Series, factors: Ints) -> Floats:
    """Return alpha at each averaging factor, shape (n_factors,); NaN where too few points say nothing.

    With gaps the longest stretch without one is judged.
    """
    run = max((each for piece in series.pieces for each in runs(piece.x_s)), key=lambda each: each.size)
    found = np.full(factors.size, np.nan)
    if run.size < LEAST_PHASES:
        return found
    x = without_line(run)
    for k, m in enumerate(factors.tolist()):
        z = x[::m]
        if z.size >= LEAST:
            found[k] = _by_autocorrelation(z)
        elif z.size >= 4:
            found[k] = _by_ratios(Series.of_run(x, series.tau0_s), z, m)
    return found


def _by_autocorrelation(z: Floats) -> float:
    for differences in range(MOST_DIFFERENCES + 1):
        place = np.linspace(-1.0, 1.0, z.size)
        z = z - np.mean(z)
        if differences == 0:
            z = z - place * (float(place @ z) / float(place @ place))
        power = float(z @ z)
        if power == 0.0:
            return math.nan
        r1 = float(z[1:] @ z[:-1]) / power
        delta = r1 / (1.0 + r1)
        if delta < 0.25 or differences == MOST_DIFFERENCES:
            return float(np.clip(round(2.0 - 2.0 * (delta + differences)), -2, 2))
        z = np.diff(z)
    return math.nan


def _by_ratios(series: Series, z: Floats, m: int) -> float:
    y = np.diff(z)
    allan = 0.5 * float(np.mean(second_difference(z, 1) ** 2))
    if allan == 0.0:
        return math.nan
    seen = float(np.var(y, ddof=1)) / allan
    expected = [b1(y.size, mu) for mu in (1, 0, -1, -2)]  # random-walk, flicker, white FM, PM
    for alpha, (above, below) in zip((-2, -1, 0), pairwise(expected), strict=True):
        if seen > math.sqrt(above * below):
            return float(alpha)
    modified = sums.WindowSums(series).at([m])[0]
    plain = sums.second_differences(series, m, overlapping=True)
    if modified.terms == 0 or m == 1:
        return 2.0
    ratio = modified.total / modified.terms / (m * m) / (plain.total / plain.terms)
    return 2.0 if ratio < math.sqrt(variance_ratio(2, m) * variance_ratio(1, m)) else 1.0


def b1(n: int, mu: int) -> float:
    """Return B1(N, r = 1, mu) = N (1 - N^mu) / [2 (N - 1) (1 - 2^mu)], its limit at mu = 0."""
    if mu == 0:
        return n * math.log(n) / (2.0 * (n - 1) * math.log(2.0))
    return float(n * (1.0 - float(n) ** mu) / (2.0 * (n - 1) * (1.0 - 2.0**mu)))
