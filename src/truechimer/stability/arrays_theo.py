"""The sums of `loops_theo.py` in NumPy, for where Numba is absent: the same terms, summed in another order.

It checks nothing.
"""

import math

import numpy as np

from truechimer.stability.curve import Floats, Ints
from truechimer.stability.series import two_sum

SPLIT = 134217729.0


def _halves(a: Floats | float) -> tuple[Floats, Floats]:
    wide = SPLIT * np.asarray(a)
    high = wide - (wide - a)
    return high, np.asarray(a - high)


def two_product(a: Floats | float, b: Floats) -> tuple[Floats, Floats]:
    """Return fl(a b) and its rounding error, exactly (Dekker)."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _add_to(total: Floats, value: Floats, rest: Floats) -> None:
    """Add value + rest to `total` (2, ...), elementwise."""
    total[0], slip = two_sum(total[0], value)
    total[1] += slip + rest


def theo1_half(z: Floats, factors: Ints, found: Floats) -> None:
    """As `loops_theo.theo1_half`."""
    size, longest = z.size, int(factors[-1])
    squares = np.zeros((2, size + 1))
    product, lost = two_product(z, z)
    np.cumsum(product, out=squares[0, 1:])
    _, slips = two_sum(squares[0, :-1], product)
    np.cumsum(slips + lost, out=squares[1, 1:])
    sums = np.zeros((2, longest + 1))
    found[:] = 0.0
    place = {size - int(m): c for c, m in enumerate(factors)}
    for n in range(1, size + 1):
        row = z[n - 1 : n + longest]
        _add_to(sums[:, : row.size], *two_product(float(z[n - 1]), row))
        if n in place:
            c = place[n]
            value, rest = _all_of_factor(squares, sums, n, int(factors[c]))
            found[0, c], slip = two_sum(found[0, c], value)
            found[1, c] += slip + rest
        first = int(np.searchsorted(factors, 2 * n))
        if first < factors.size:
            at = factors[first:] - 2 * n
            _add_weighted(found[:, first:], 1.0 / n, -2.0 * sums[:, at])
    for c, m in enumerate(factors.tolist()):
        k = np.arange(1, m // 2 + 1)
        weighted, lost = two_product(1.0 / k, sums[0, m - 2 * k])
        value = math.fsum(weighted)
        found[0, c], slip = two_sum(found[0, c], value)
        found[1, c] += slip + math.fsum([*weighted, -value, *lost, *(sums[1, m - 2 * k] / k)])


def _all_of_factor(squares: Floats, sums: Floats, n: int, m: int) -> tuple[float, float]:
    k = np.arange(1, m // 2 + 1)
    value, rest = two_sum(np.full(k.size, squares[0, n]), sums[0, m])
    rest = rest + (squares[1, n] + sums[1, m])
    for sign, table, at in ((1.0, squares, k + n), (-1.0, squares, k), (-2.0, sums, k), (-2.0, sums, m - k)):
        value, slip = two_sum(value, sign * table[0, at])
        rest += slip + sign * table[1, at]
    product, lost = two_product(1.0 / k, value)
    total = math.fsum(product)
    return total, math.fsum([*product, -total, *lost, *(rest / k)])


def _add_weighted(total: Floats, weight: float, parts: Floats) -> None:
    value, lost = two_product(weight, parts[0])
    _add_to(total, value, lost + weight * parts[1])
