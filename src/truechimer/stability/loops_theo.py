"""Theo1 at many averaging factors in N^2 steps, for the compiler: its squares multiplied out, in two doubles.

It checks nothing and divides by nothing but k; `arrays_theo.py` says the same in NumPy, and a test compares the two.
Importing this module may load Numba: do it inside functions.

With F(l, n) the sum over j < n of z(j) z(j+l), Q(n) = F(0, n), T(l) = F(l, N-l) and n = N - m starting points, the sum
of Theo1's squares is H(x) + H(x backwards), where H(z) is the sum over k from 1 to m/2 of 1/k times
Q(n) + Q(k+n) - Q(k) - 2 F(k, n) - 2 F(m-k, n) + T(m) + T(m-2k) - 2 F(m-2k, k). F at all lags grows with n by one row of
products at a time, so each row serves every m. What cancels is sums of products of phases, hence two doubles: products
and sums with their exact rounding errors (Dekker 1971, Knuth), 1e-31 of the sum of all squares.
"""

import numpy as np

from truechimer.kernel import kernel
from truechimer.stability.curve import Floats, Ints

SPLIT = 134217729.0
"""2^27 + 1 cuts a double into two halves whose products are exact."""


@kernel
def two_sum(a: float, b: float) -> tuple[float, float]:
    """Return fl(a + b) and its rounding error."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


@kernel
def two_product(a: float, b: float) -> tuple[float, float]:
    """Return fl(a b) and its rounding error."""
    product = a * b
    wide = SPLIT * a
    a_high = wide - (wide - a)
    a_low = a - a_high
    wide = SPLIT * b
    b_high = wide - (wide - b)
    b_low = b - b_high
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


@kernel
def _add_row(z: Floats, j: int, sums: Floats) -> None:
    """Add z(j) z(j + l) to F(l), `sums` (2, lags), for every lag that the record has from j on."""
    count = min(sums.shape[1], z.size - j)
    top, rest = sums[0, :count], sums[1, :count]
    other = z[j : j + count]
    a = z[j]
    wide = SPLIT * a
    a_high = wide - (wide - a)
    a_low = a - a_high
    for k in range(count):
        b = other[k]
        spread = SPLIT * b
        high = spread - (spread - b)
        low = b - high
        product = a * b
        lost = ((a_high * high - product) + a_high * low + a_low * high) + a_low * low
        before = top[k]
        total = before + product
        part = total - before
        top[k] = total
        rest[k] += ((before - (total - part)) + (product - part)) + lost


@kernel
def theo1_half(z: Floats, factors: Ints, found: Floats) -> None:
    """Write H(z) at each of the even `factors` (n_factors,), ascending, into `found` (2, n_factors): value and rest."""
    size = z.size
    longest = factors[factors.size - 1]
    squares = np.zeros((2, size + 1))
    for j in range(size):
        product, lost = two_product(z[j], z[j])
        squares[0, j + 1], slip = two_sum(squares[0, j], product)
        squares[1, j + 1] = squares[1, j] + (slip + lost)
    sums = np.zeros((2, longest + 1))
    found[:] = 0.0
    coming = factors.size - 1  # the factor whose n comes next: the longest has the least
    for n in range(1, size):
        _add_row(z, n - 1, sums)
        if coming >= 0 and n == size - factors[coming]:
            _all_of_factor(squares, sums, n, factors[coming], found[:, coming])
            coming -= 1
        for c in range(factors.size - 1, -1, -1):
            m = factors[c]
            if m < 2 * n:
                break
            _weighted(1.0 / n, -2.0 * sums[0, m - 2 * n], -2.0 * sums[1, m - 2 * n], found[:, c])
    _add_row(z, size - 1, sums)
    for c in range(factors.size):
        m = factors[c]
        for k in range(1, m // 2 + 1):
            _weighted(1.0 / k, sums[0, m - 2 * k], sums[1, m - 2 * k], found[:, c])


@kernel
def _all_of_factor(squares: Floats, sums: Floats, n: int, m: int, total: Floats) -> None:
    """Add, over k, 1/k [Q(n) + Q(k+n) - Q(k) - 2 F(k, n) - 2 F(m-k, n) + T(m)] to `total` (2,); T(m) is F(m, n)."""
    base, base_rest = two_sum(squares[0, n], sums[0, m])
    base_rest += squares[1, n] + sums[1, m]
    for k in range(1, m // 2 + 1):
        value, slip = two_sum(base, squares[0, k + n])
        rest = base_rest + slip
        value, slip = two_sum(value, -squares[0, k])
        rest += slip + (squares[1, k + n] - squares[1, k])
        value, slip = two_sum(value, -2.0 * sums[0, k])
        rest += slip - 2.0 * sums[1, k]
        value, slip = two_sum(value, -2.0 * sums[0, m - k])
        rest += slip - 2.0 * sums[1, m - k]
        _weighted(1.0 / k, value, rest, total)


@kernel
def _weighted(weight: float, value: float, rest: float, total: Floats) -> None:
    """Add weight (value + rest) to `total` (2,)."""
    product, lost = two_product(weight, value)
    total[0], slip = two_sum(total[0], product)
    total[1] += (slip + lost) + weight * rest
