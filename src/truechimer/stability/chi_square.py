"""Quantiles of the chi-square distribution and of a sum of two of them, for any number of degrees, without SciPy.

It knows nothing of intervals. Right to 1e-9 (relative) for 0.3 degrees and more.

Source: the series of the incomplete gamma function (DLMF 8.7.1) with Newton steps; from `FROM` degrees on the
Cornish-Fisher expansion of Goldberg and Levine (1946). Sums: Ruben (1962), a mixture of chi-squares.
"""

import math

import numpy as np

from truechimer.stability.curve import Floats

FROM = 120.0
"""Above this many degrees the expansion's error is below 1e-9."""

_ROOT2 = math.sqrt(2.0)


def quantile(p: float, degrees: Floats) -> Floats:
    """Return x with P(chi2 <= x) = p for each number of degrees, shape of `degrees`; NaN gives NaN."""
    z = normal_quantile(p)
    nu = np.asarray(degrees, dtype=np.float64)
    found = np.full(nu.shape, np.nan)
    large = nu >= FROM
    found[large] = _expanded(z, nu[large])
    small = (nu < FROM) & (nu > 0.0)
    if small.any():
        found[small] = 2.0 * _gamma_quantile(p, z, 0.5 * nu[small])
    return found


def normal_quantile(p: float) -> float:
    """Return z with P(normal <= z) = p, by Newton steps on the complementary error function."""
    tail = min(p, 1.0 - p)
    z = math.sqrt(max(0.0, -2.0 * math.log(2.0 * tail)))
    for _ in range(60):
        density = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
        step = (0.5 * math.erfc(z / _ROOT2) - tail) / density
        z += step
        if abs(step) < 1e-15 * max(1.0, abs(z)):
            break
    return -z if p < 0.5 else z


def _expanded(z: float, nu: Floats) -> Floats:
    root = np.sqrt(nu)
    z2 = z * z
    terms = (
        1.0,
        z * _ROOT2,
        2.0 / 3.0 * (z2 - 1.0),
        z * (z2 - 7.0) / (9.0 * _ROOT2),
        -(6.0 * z2 * z2 + 14.0 * z2 - 32.0) / 405.0,
        z * (9.0 * z2 * z2 + 256.0 * z2 - 433.0) / (4860.0 * _ROOT2),
        (12.0 * z2**3 - 243.0 * z2 * z2 - 923.0 * z2 + 1472.0) / 25515.0,
        -z * (3753.0 * z2**3 + 4353.0 * z2 * z2 - 289517.0 * z2 - 289717.0) / (9185400.0 * _ROOT2),
    )
    total = np.zeros_like(nu)
    for power, term in enumerate(terms):
        total += term * nu * root ** (-power)
    return total


def _gamma_quantile(p: float, z: float, a: Floats) -> Floats:
    """Newton steps in ln x from Wilson and Hilferty's start; ln P(a, x) is concave in ln x, so they do not
    overshoot.
    """
    start = a * (1.0 - 1.0 / (9.0 * a) + z / (3.0 * np.sqrt(a))) ** 3
    log_gamma = np.array([math.lgamma(each + 1.0) for each in a])
    least = np.exp((math.log(p) + log_gamma) / a)  # x^a / Gamma(a + 1) bounds P from above
    log_x = np.log(np.where(start > least, start, least))
    for _ in range(50):
        x = np.exp(log_x)
        series = _series(a, x)
        log_p = a * log_x - x - log_gamma + np.log(series)
        slope = a / series  # d ln P / d ln x = x^a e^-x / (Gamma(a) P)
        step = (math.log(p) - log_p) / slope
        log_x += np.clip(step, -1.0, 1.0)
        if np.all(np.abs(step) < 1e-12):
            break
    return np.asarray(np.exp(log_x))


def _series(a: Floats, x: Floats) -> Floats:
    """Return the sum over k of x^k / ((a+1) ... (a+k))."""
    term = np.ones_like(x)
    total = np.ones_like(x)
    for k in range(1, 2000):
        term = term * (x / (a + k))
        total += term
        if k % 8 == 0 and np.all(term < 1e-17 * total):
            break
    return total


def quantile_of_two(p: float, large: Floats, small: Floats, degrees: Floats, start: Floats) -> Floats:
    """Return x with P(large chi2(1) + small chi2(degrees) <= x) = p, shape of `large`; 0 < small <= large.

    `start`: where Newton's steps begin. With y = x / (2 small) and t(j) = y^(a+j) e^-y / Gamma(a+j+1), a = (1 +
    degrees)/2, the probability is the sum of t(j) C(j), C(j) the share of the mixture's first j + 1 weights.
    """
    ratio = small / large
    a = 0.5 * (1.0 + degrees)
    terms = 60 + int(np.max(2.5 * start / small + 6.0 * np.sqrt(start / small)))
    j = np.arange(terms, dtype=np.float64)
    steps_down = np.empty((large.size, terms))
    steps_down[:, 0] = np.sqrt(ratio)
    steps_down[:, 1:] = (1.0 - ratio)[:, None] * ((j[1:] - 0.5) / j[1:])
    weights = np.asarray(np.cumprod(steps_down, axis=1), dtype=np.float64)
    shares = np.asarray(np.cumsum(weights, axis=1), dtype=np.float64)
    log_gamma = np.array([math.lgamma(each + 1.0) for each in a])
    steps = np.concatenate([np.zeros((a.size, 1)), np.cumsum(np.log(a[:, None] + j[1:]), axis=1)], axis=1)
    log_x: Floats = np.asarray(np.log(start), dtype=np.float64)
    for _ in range(40):
        log_y = log_x - np.log(2.0 * small)
        y = np.exp(log_y)
        t = np.exp((a[:, None] + j) * log_y[:, None] - (y + log_gamma)[:, None] - steps)
        found = np.sum(t * shares, axis=1)
        slope = np.sum(t[:, :-1] * weights[:, 1:], axis=1) * y + a * t[:, 0] * weights[:, 0]
        step = (math.log(p) - np.log(found)) * found / slope
        log_x = log_x + np.clip(step, -0.5, 0.5)
        if np.all(np.abs(step) < 1e-11):
            break
    return np.asarray(np.exp(log_x))
