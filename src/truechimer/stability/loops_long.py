"""The sums of the statistics that cost N^2 or carry running sums of their own: Theo1, total, PDEV; for the compiler.

It checks nothing and divides by nothing; `arrays_long.py` says the same in NumPy, and a test compares the two.
Importing this module may load Numba: do it inside functions.

Phases come without a straight line (`series.without_line`), so that sums of them keep their digits.
"""

import numpy as np

from truechimer.kernel import kernel
from truechimer.stability.curve import Floats
from truechimer.stability.loops import fold

LANES = 256
BLOCK = 1024
ANCHOR = 512


@kernel
def theo1_terms(x: Floats, m: int, first: int, stop: int) -> float:
    """Return the part of Theo1's double sum that begins at phases `first` <= i < `stop`; m even.

    With k = m/2 - delta: [(x(i) - x(i+k)) + (x(i+m) - x(i+m-k))]^2 / k, k from 1 to m/2.
    """
    half = m // 2
    fours = half // 4 * 4
    lanes = np.zeros(LANES)
    for i in range(first, stop, LANES):
        width = min(LANES, stop - i)
        left = x[i : i + width]
        right = x[i + m : i + m + width]
        for k in range(1, fours + 1, 4):
            u, v, w, z = 1.0 / k, 1.0 / (k + 1), 1.0 / (k + 2), 1.0 / (k + 3)
            a = x[i + k : i + k + width + 3]
            b = x[i + m - k - 3 : i + m - k + width]
            for j in range(width):
                d = (left[j] - a[j]) + (right[j] - b[j + 3])
                e = (left[j] - a[j + 1]) + (right[j] - b[j + 2])
                f = (left[j] - a[j + 2]) + (right[j] - b[j + 1])
                g = (left[j] - a[j + 3]) + (right[j] - b[j])
                lanes[j] += (u * (d * d) + v * (e * e)) + (w * (f * f) + z * (g * g))
        for k in range(fours + 1, half + 1):
            w = 1.0 / k
            a = x[i + k : i + k + width]
            b = x[i + m - k : i + m - k + width]
            for j in range(width):
                d = (left[j] - a[j]) + (right[j] - b[j])
                lanes[j] += w * (d * d)
    return fold(lanes)


@kernel
def total_terms(z: Floats, m: int, first: int, stop: int) -> float:
    """Return the sum, over windows of 3m values that begin at `first` <= i < `stop`, of the 6m squared second
    differences of m-sums of the window: its slope by half averages taken out, reflected evenly at both ends.

    The reflected window has the period 6m and is even, so only the positions from 3m/2 to 9m/2 differ; those between
    count twice. With Z the periodic running sum, the difference at position t is Z(t+3m) - 3 Z(t+2m) + 3 Z(t+m) - Z(t),
    four values of the window's own running sum P at indices that depend on t alone: t outside, windows inside.
    """
    size = 3 * m
    half = size // 2
    apart = float(half if size % 2 == 0 else half + 1)
    low = (size + 1) // 2
    high = (3 * size) // 2
    lanes = np.zeros(BLOCK)
    steps = min(BLOCK, max(64, 4 * m))
    slopes = np.zeros(steps)
    weights = np.array([-1.0, 3.0, -3.0, 1.0])
    p = np.zeros(steps + size + 1)
    index = np.zeros(4, dtype=np.int64)
    sign = np.zeros(4)
    for start in range(first, stop, steps):
        width = min(steps, stop - start)
        count = width + size - 1
        # A straight line changes nothing here: taking out that of the block keeps the running sum small.
        base = z[start]
        line = (z[start + count - 1] - base) / max(count - 1, 1)
        wide = line * 134217729.0
        line = wide - (wide - line)  # the leading 26 bits: line * k is exact
        middle = 0.0
        for k in range(count):
            middle += (z[start + k] - base) - line * k
        middle /= count
        p[0] = 0.0
        for k in range(count):
            p[k + 1] = p[k] + (((z[start + k] - base) - line * k) - middle)
        for j in range(width):
            later = p[j + size] - p[j + size - half]
            earlier = p[j + half] - p[j]
            slopes[j] = (later - earlier) / (half * apart)
        p_first = p[:width]
        p_last = p[size : size + width]
        for t in range(low, high + 1):
            twice = 1.0 if (2 * t == size or 2 * t == 3 * size) else 2.0
            constant = 0.0
            ramp = 0.0
            for q in range(4):
                place = t + q * m
                turns = 2 * (place // (2 * size))
                place = place % (2 * size)
                if place <= size:
                    index[q] = place
                    sign[q] = weights[q]
                    constant += weights[q] * turns
                    ramp += weights[q] * (turns * _triangle(size) + _triangle(place))
                else:
                    index[q] = 2 * size - place
                    sign[q] = -weights[q]
                    constant += weights[q] * (turns + 2)
                    ramp += weights[q] * ((turns + 2) * _triangle(size) - _triangle(2 * size - place))
            s0, s1, s2, s3 = sign[0], sign[1], sign[2], sign[3]
            rest = constant + (s0 + s1 + s2 + s3)
            a0 = p[index[0] : index[0] + width]
            a1 = p[index[1] : index[1] + width]
            a2 = p[index[2] : index[2] + width]
            a3 = p[index[3] : index[3] + width]
            for j in range(width):
                d = s0 * a0[j] + s1 * a1[j] + s2 * a2[j] + s3 * a3[j]
                d = (d + constant * p_last[j]) - (rest * p_first[j] + ramp * slopes[j])
                lanes[j] += twice * (d * d)
    return fold(lanes)


@kernel
def _triangle(n: int) -> float:
    """Return 0 + 1 + ... + (n - 1)."""
    return 0.5 * n * (n - 1)


@kernel
def parabolic_terms(x: Floats, m: int, first: int, stop: int) -> float:
    """Return the sum over `first` <= i < `stop` of [sum over k < m of ((m-1)/2 - k) (x(i+k) - x(i+k+m))]^2."""
    top = 0.5 * (m - 1)
    total = 0.0
    block = max(m, ANCHOR)
    for start in range(first, stop, block):
        x0 = x[start:]
        x1 = x[start + m :]
        x2 = x[start + 2 * m :]
        base = x0[0] - x1[0]
        plain = 0.0
        bent = 0.0
        for k in range(m):
            v = (x0[k] - x1[k]) - base
            plain += v
            bent += (top - k) * v
        part = bent * bent
        for k in range(min(block, stop - start) - 1):
            out = (x0[k] - x1[k]) - base
            new = (x1[k] - x2[k]) - base
            bent += (plain - out) - top * (out + new)
            plain += new - out
            part += bent * bent
        total += part
    return total
