"""The sums of the O(N) statistics as loops for the compiler: squares of second and third differences, and their window
means.

It checks nothing and divides by nothing; `arrays.py` says the same in NumPy for where Numba is absent, and a test
compares the two. Importing this module may load Numba: do it inside functions.

Two rules make the sums exact to about 1e-15. Differences of higher order are differences of differences (first
differences of a record with a large offset and rate are exact, x3 - 3 x2 + 3 x1 - x0 is not). And squares are summed in
`LANES` interleaved sums that are then folded in pairs, which vectorises without reordering anything.
"""

import numpy as np

from truechimer.kernel import kernel
from truechimer.stability.curve import Floats

LANES = 256
ANCHOR = 1024
"""A running sum is computed anew at least every max(m, ANCHOR) steps, so that roundings do not pile up."""


@kernel
def fold(lanes: Floats) -> float:
    """Return the sum of the lanes (a power of two of them), added in pairs."""
    width = lanes.size
    while width > 1:
        width //= 2
        for j in range(width):
            lanes[j] += lanes[width + j]
    return float(lanes[0])


@kernel
def second_differences(x: Floats, m: int) -> float:
    """Return the sum over i of [(x(i+2m) - x(i+m)) - (x(i+m) - x(i))]^2; x without gaps."""
    terms = x.size - 2 * m
    lanes = np.zeros(LANES)
    for i in range(0, terms, LANES):
        width = min(LANES, terms - i)
        x0 = x[i : i + width]
        x1 = x[i + m : i + m + width]
        x2 = x[i + 2 * m : i + 2 * m + width]
        for j in range(width):
            d = (x2[j] - x1[j]) - (x1[j] - x0[j])
            lanes[j] += d * d
    return fold(lanes)


@kernel
def third_differences(x: Floats, m: int) -> float:
    """Return the sum over i of the squared third differences of stride m; x without gaps."""
    terms = x.size - 3 * m
    lanes = np.zeros(LANES)
    for i in range(0, terms, LANES):
        width = min(LANES, terms - i)
        x0 = x[i : i + width]
        x1 = x[i + m : i + m + width]
        x2 = x[i + 2 * m : i + 2 * m + width]
        x3 = x[i + 3 * m : i + 3 * m + width]
        for j in range(width):
            middle = x2[j] - x1[j]
            d = ((x3[j] - x2[j]) - middle) - (middle - (x1[j] - x0[j]))
            lanes[j] += d * d
    return fold(lanes)


@kernel
def window_of_second_differences(x: Floats, m: int, start: int) -> float:
    """Return the sum over k < m of the second difference at start + k."""
    x0 = x[start:]
    x1 = x[start + m :]
    x2 = x[start + 2 * m :]
    lanes = np.zeros(LANES)
    for k0 in range(0, m, LANES):
        a = x0[k0 : k0 + LANES]
        b = x1[k0 : k0 + LANES]
        c = x2[k0 : k0 + LANES]
        for k in range(min(LANES, m - k0)):
            lanes[k] += (c[k] - b[k]) - (b[k] - a[k])
    return fold(lanes)


@kernel
def window_sums_of_second_differences(x: Floats, m: int) -> float:
    """Return the sum over i of [sum over k < m of the second difference at i+k]^2, N - 3m + 1 terms; x without gaps.

    Four running sums go side by side: one alone waits for itself at every step.
    """
    terms = x.size - 3 * m + 1
    total = 0.0
    block = max(m, ANCHOR)
    for start in range(0, terms, 4 * block):
        count = min(4 * block, terms - start)
        width = count // 4
        if width < 64:
            total += _windows(x, m, start, count)
            continue
        w0 = window_of_second_differences(x, m, start)
        w1 = window_of_second_differences(x, m, start + width)
        w2 = window_of_second_differences(x, m, start + 2 * width)
        w3 = window_of_second_differences(x, m, start + 3 * width)
        p0 = w0 * w0
        p1 = w1 * w1
        p2 = w2 * w2
        p3 = w3 * w3
        a0, a1, a2, a3 = x[start:], x[start + m :], x[start + 2 * m :], x[start + 3 * m :]
        b0, b1, b2, b3 = a0[width:], a1[width:], a2[width:], a3[width:]
        c0, c1, c2, c3 = b0[width:], b1[width:], b2[width:], b3[width:]
        d0, d1, d2, d3 = c0[width:], c1[width:], c2[width:], c3[width:]
        for k in range(width - 1):
            w0 += ((a3[k] - a2[k]) - (a2[k] - a1[k])) - ((a2[k] - a1[k]) - (a1[k] - a0[k]))
            w1 += ((b3[k] - b2[k]) - (b2[k] - b1[k])) - ((b2[k] - b1[k]) - (b1[k] - b0[k]))
            w2 += ((c3[k] - c2[k]) - (c2[k] - c1[k])) - ((c2[k] - c1[k]) - (c1[k] - c0[k]))
            w3 += ((d3[k] - d2[k]) - (d2[k] - d1[k])) - ((d2[k] - d1[k]) - (d1[k] - d0[k]))
            p0 += w0 * w0
            p1 += w1 * w1
            p2 += w2 * w2
            p3 += w3 * w3
        total += (p0 + p1) + (p2 + p3)
        if count % 4:
            total += _windows(x, m, start + 4 * width, count % 4)
    return total


@kernel
def _windows(x: Floats, m: int, start: int, count: int) -> float:
    """As `window_sums_of_second_differences`, for `count` terms from `start` on."""
    x0, x1, x2, x3 = x[start:], x[start + m :], x[start + 2 * m :], x[start + 3 * m :]
    window = window_of_second_differences(x, m, start)
    part = window * window
    for k in range(count - 1):
        window += ((x3[k] - x2[k]) - (x2[k] - x1[k])) - ((x2[k] - x1[k]) - (x1[k] - x0[k]))
        part += window * window
    return part


@kernel
def first_differences(x: Floats, m: int) -> float:
    """Return the sum over i of (x(i+m) - x(i))^2; x without gaps."""
    terms = x.size - m
    lanes = np.zeros(LANES)
    for i in range(0, terms, LANES):
        width = min(LANES, terms - i)
        x0 = x[i : i + width]
        x1 = x[i + m : i + m + width]
        for j in range(width):
            d = x1[j] - x0[j]
            lanes[j] += d * d
    return fold(lanes)


@kernel
def products_of_second_differences(x: Floats, z: Floats, m: int) -> float:
    """Return the sum over i of the second difference of x times that of z; both without gaps, of one length."""
    terms = x.size - 2 * m
    lanes = np.zeros(LANES)
    for i in range(0, terms, LANES):
        width = min(LANES, terms - i)
        x0 = x[i : i + width]
        x1 = x[i + m : i + m + width]
        x2 = x[i + 2 * m : i + 2 * m + width]
        z0 = z[i : i + width]
        z1 = z[i + m : i + m + width]
        z2 = z[i + 2 * m : i + 2 * m + width]
        for j in range(width):
            lanes[j] += ((x2[j] - x1[j]) - (x1[j] - x0[j])) * ((z2[j] - z1[j]) - (z1[j] - z0[j]))
    return fold(lanes)


@kernel
def widen(top: Floats, low: Floats, wider_top: Floats, wider_low: Floats, step: int) -> None:
    """Write into `wider_...` the extremes of windows that are `step` longer; windows of `top`, `low` overlap or
    meet.
    """
    a, b = top[step:], low[step:]
    for i in range(top.size - step):
        wider_top[i] = max(top[i], a[i])
        wider_low[i] = min(low[i], b[i])


@kernel
def largest_range(top: Floats, low: Floats, step: int) -> float:
    """Return the largest peak-to-peak value of the windows that `widen` by `step` would give."""
    lanes = np.full(LANES, -np.inf)
    terms = top.size - step
    for i in range(0, terms, LANES):
        width = min(LANES, terms - i)
        a = top[i : i + width]
        b = top[i + step : i + step + width]
        c = low[i : i + width]
        d = low[i + step : i + step + width]
        for j in range(width):
            lanes[j] = max(lanes[j], max(a[j], b[j]) - min(c[j], d[j]))
    best = -np.inf
    for j in range(LANES):
        best = max(best, lanes[j])
    return best
