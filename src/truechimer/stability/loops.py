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
from truechimer.stability.curve import Floats, Ints

LANES = 256
SHARED = 16 * LANES
"""Terms of one factor that are summed before those of the next, from the same part of the record."""
TURN = 6755399441055744.0
"""1.5 * 2^52: a number plus and minus `TURN * grid` is rounded to the grid, a power of two."""


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
def farthest_from_line(x: Floats, base: float, slope: float) -> float:
    """Return the largest |x(i) - base - slope i|; x without gaps."""
    lanes = np.zeros(LANES)
    for i in range(0, x.size, LANES):
        width = min(LANES, x.size - i)
        a = x[i : i + width]
        for j in range(width):
            lanes[j] = max(lanes[j], abs((a[j] - base) - slope * (i + j)))
    best = 0.0
    for j in range(LANES):
        best = max(best, lanes[j])
    return best


@kernel
def running_sums(x: Floats, grid: float, base: float, slope: float, parts: Floats) -> None:
    """Write the running sums of x in two parts, (2, n + 1), each from 0 on; `running_sums.py` says which."""
    turn = TURN * grid
    whole = 0.0
    rest = 0.0
    coarse, fine = parts[0], parts[1]
    coarse[0] = 0.0
    fine[0] = 0.0
    for i in range(x.size):
        near = (x[i] + turn) - turn
        whole += (near - base) - slope * i
        rest += x[i] - near
        coarse[i + 1] = whole
        fine[i + 1] = rest


@kernel
def window_squares(coarse: Floats, fine: Floats, factors: Ints, found: Floats) -> None:
    """Write, for each m of `factors`, the sum over i of [sum over k < m of the second difference at i+k]^2, N - 3m + 1
    terms, into `found`, of the same shape. Factors that lie near each other share what is in the cache.
    """
    lanes = np.zeros((factors.size, LANES))
    for start in range(0, coarse.size - 3 * factors.min(), SHARED):
        for c in range(factors.size):
            m = factors[c]
            stop = min(start + SHARED, coarse.size - 3 * m)
            lane = lanes[c]
            for i in range(start, stop, LANES):
                width = min(LANES, stop - i)
                a0 = coarse[i : i + width]
                a1 = coarse[i + m : i + m + width]
                a2 = coarse[i + 2 * m : i + 2 * m + width]
                a3 = coarse[i + 3 * m : i + 3 * m + width]
                b0 = fine[i : i + width]
                b1 = fine[i + m : i + m + width]
                b2 = fine[i + 2 * m : i + 2 * m + width]
                b3 = fine[i + 3 * m : i + 3 * m + width]
                for j in range(width):
                    whole = (a3[j] - a0[j]) - 3.0 * (a2[j] - a1[j])
                    d = whole + ((b3[j] - b0[j]) - 3.0 * (b2[j] - b1[j]))
                    lane[j] += d * d
    for c in range(factors.size):
        found[c] = fold(lanes[c])


@kernel
def reflected_squares(x: Floats, m: int) -> float:
    """Return the sum of squares that the total deviation adds to OADEV's: second differences about the phases within
    m of an end, where x*(-i) = 2 x(0) - x(i), and x*(last + i) = 2 x(last) - x(last - i); x without gaps.
    """
    last = x.size - 1
    lanes = np.zeros(LANES)
    head = min(m, last)
    onward = max(last - m + 1, 1)
    for i in range(1, min(head, onward), LANES):
        width = min(LANES, min(head, onward) - i)
        here, on, back = x[i : i + width], x[i + m : i + m + width], x[m - i - width + 1 : m - i + 1]
        for j in range(width):
            d = (on[j] - here[j]) - ((here[j] - x[0]) + (back[width - 1 - j] - x[0]))
            lanes[j] += d * d
    for i in range(onward, head, LANES):
        width = min(LANES, head - i)
        far = 2 * last - m - i
        here, on, back = x[i : i + width], x[far - width + 1 : far + 1], x[m - i - width + 1 : m - i + 1]
        for j in range(width):
            later = (x[last] - here[j]) + (x[last] - on[width - 1 - j])
            d = later - ((here[j] - x[0]) + (back[width - 1 - j] - x[0]))
            lanes[j] += d * d
    for i in range(max(onward, head), last, LANES):
        width = min(LANES, last - i)
        far = 2 * last - m - i
        here, on, back = x[i : i + width], x[far - width + 1 : far + 1], x[i - m : i - m + width]
        for j in range(width):
            d = ((x[last] - here[j]) + (x[last] - on[width - 1 - j])) - (here[j] - back[j])
            lanes[j] += d * d
    return fold(lanes)


@kernel
def few_second_differences(x: Floats, m: int) -> float:
    """As `second_differences`, of at most `LANES` terms, each with the rounding errors of its differences carried."""
    lanes = np.zeros(LANES)
    for i in range(x.size - 2 * m):
        high, low = _second(x, m, i)
        lanes[i] = (high + low) * (high + low)
    return fold(lanes)


@kernel
def few_third_differences(x: Floats, m: int) -> float:
    """As `third_differences`, of at most `LANES` terms, each with the rounding errors of its differences carried."""
    lanes = np.zeros(LANES)
    for i in range(x.size - 3 * m):
        high, low = _second(x, m, i)
        later, later_low = _second(x, m, i + m)
        d, lost = _minus(later, high)
        d += lost + (later_low - low)
        lanes[i] = d * d
    return fold(lanes)


@kernel
def _second(x: Floats, m: int, i: int) -> tuple[float, float]:
    """Return the second difference at i and what it lost to rounding."""
    before, before_low = _minus(x[i + m], x[i])
    after, after_low = _minus(x[i + 2 * m], x[i + m])
    d, lost = _minus(after, before)
    return d, lost + (after_low - before_low)


@kernel
def _minus(a: float, b: float) -> tuple[float, float]:
    """Return fl(a - b) and its rounding error, exactly (Knuth's two-sum)."""
    total = a - b
    part = total - a
    return total, (a - (total - part)) - (b + part)


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
