"""Mixtures of normal distributions: how much of one lies within a distance; and the few functions that this takes,
made of + - * / alone.

It knows no time. `math.exp` and `math.log` differ in their last bits from one C library to the next, and a replay must
not. Source: Abramowitz and Stegun 26.2.17 for the normal distribution (error below 1e-7).
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HALVINGS = 48
_LARGEST_EXPONENT = 600.0
_NEGLIGIBLE = 1e-9


def half_width(weight: Floats, off: Floats, sigma: Floats, share: float) -> float:
    """Return the half width about zero that holds a `share` (0 to 1) of the mixture of normal distributions with
    means `off` and deviations `sigma`, each of shape `(n,)`; in their unit.
    """
    keep = weight > _NEGLIGIBLE
    weight, off, sigma = weight[keep], off[keep], sigma[keep]
    low, high = 0.0, 8.0 * float(np.max(np.abs(off) + sigma))
    whole = total(weight)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        inside = total(weight * (normal((middle - off) / sigma) - normal((-middle - off) / sigma)))
        low, high = (middle, high) if inside < share * whole else (low, middle)
    return 0.5 * (low + high)


def normal(z: Floats) -> Floats:
    """Return the normal distribution function."""
    size = np.abs(z)
    t = 1.0 / (1.0 + 0.2316419 * size)
    tail = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    tail = tail * 0.3989422804014327 * exp_minus(0.5 * size * size)
    return np.where(z >= 0.0, 1.0 - tail, tail)


def exp_minus(x: Floats) -> Floats:
    """Return exp(-x) for x >= 0, to 1e-11 of itself (x up to 100): a series at x / 4096, squared twelve times."""
    y = np.minimum(x, _LARGEST_EXPONENT) / 4096.0
    e = 1.0 - y * (1.0 - y / 2.0 * (1.0 - y / 3.0 * (1.0 - y / 4.0 * (1.0 - y / 5.0 * (1.0 - y / 6.0)))))
    for _ in range(12):
        e = e * e
    return e


def exponential(x: float) -> float:
    """Return exp(x)."""
    e = float(exp_minus(np.array([abs(x)]))[0])
    return e if x < 0.0 else 1.0 / e


def logarithm(x: float) -> float:
    """Return the natural logarithm of a positive number: halved into 0.7 to 1.4, then 2 artanh((x - 1) / (x + 1))."""
    halvings = 0
    while x > 1.4142135623730951:
        x, halvings = x * 0.5, halvings + 1
    while x < 0.7071067811865476:
        x, halvings = x * 2.0, halvings - 1
    z = (x - 1.0) / (x + 1.0)
    square, term, out = z * z, z, 0.0
    for k in range(1, 24, 2):
        out += term / k
        term *= square
    return 2.0 * out + halvings * 0.6931471805599453


def total(values: Floats) -> float:
    """Return the sum, from the first to the last."""
    out = 0.0
    for value in values.tolist():
        out += value
    return out
