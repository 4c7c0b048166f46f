"""The sums of `loops_long.py` in NumPy, for where Numba is absent: the same terms, summed in another order.

It checks nothing and divides by nothing.
"""

import numpy as np

from truechimer.stability.arrays import squares, window_sums
from truechimer.stability.curve import Floats

BLOCK = 4096


def theo1_terms(x: Floats, m: int, first: int, stop: int) -> float:
    """As `loops_long.theo1_terms`."""
    total = 0.0
    for start in range(first, stop, BLOCK):
        end = min(start + BLOCK, stop)
        lanes = np.zeros(end - start)
        left, right = x[start:end], x[start + m : end + m]
        for k in range(1, m // 2 + 1):
            d = (left - x[start + k : end + k]) + (right - x[start + m - k : end + m - k])
            lanes += d * d / k
        total += float(np.sum(lanes))
    return total


def total_terms(z: Floats, m: int, first: int, stop: int) -> float:
    """As `loops_long.total_terms`, window by window."""
    size = 3 * m
    half = size // 2
    apart = half if size % 2 == 0 else half + 1
    place = np.arange(size, dtype=np.float64)
    total = 0.0
    for start in range(first, stop):
        window = z[start : start + size]
        window = window - window[0]
        slope = (np.sum(window[size - half :]) - np.sum(window[:half])) / (half * apart)
        flat = window - slope * place
        flat = flat - np.mean(flat)
        star = np.concatenate([flat[::-1], flat, flat[::-1]])
        sums = window_sums(star, m)
        d = (sums[2 * m : 8 * m] - sums[m : 7 * m]) - (sums[m : 7 * m] - sums[: 6 * m])
        total += squares(d)
    return total


def parabolic_terms(x: Floats, m: int, first: int, stop: int) -> float:
    """As `loops_long.parabolic_terms`: windows in blocks, so that no running sum is needed."""
    weights = 0.5 * (m - 1) - np.arange(m, dtype=np.float64)
    total = 0.0
    rows = max(1, BLOCK * 64 // m)
    for start in range(first, stop, rows):
        end = min(start + rows, stop)
        v = x[start : end + m - 1] - x[start + m : end + 2 * m - 1]
        block = np.lib.stride_tricks.sliding_window_view(v, m)
        total += squares((block - block[:, :1]) @ weights)
    return total
