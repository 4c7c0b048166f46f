"""The sums of `loops.py` in NumPy: what runs where Numba is absent, what counts where points are missing.

It checks nothing and divides by nothing. Lanes are summed in the order of `loops.py`, so the plain second and third
differences agree to the last bit; window sums agree to about 1e-14.
"""

import numpy as np

from truechimer.stability.curve import Floats

LANES = 256


def squares(d: Floats) -> float:
    """Return the sum of squares of `d`, in lanes folded in pairs."""
    return _in_lanes(d * d)


def _in_lanes(values: Floats) -> float:
    whole = values.size // LANES * LANES
    lanes = np.zeros(LANES)
    if whole:
        lanes += np.add.reduce(values[:whole].reshape(-1, LANES), axis=0)
    lanes[: values.size - whole] += values[whole:]
    while lanes.size > 1:
        half = lanes.size // 2
        lanes = lanes[:half] + lanes[half:]
    return float(lanes[0])


def second_difference(x: Floats, m: int) -> Floats:
    """Return (x(i+2m) - x(i+m)) - (x(i+m) - x(i)), shape (n - 2m,)."""
    first = x[m:] - x[:-m]
    return first[m:] - first[:-m]


def third_difference(x: Floats, m: int) -> Floats:
    """Return the difference of second differences, shape (n - 3m,)."""
    second = second_difference(x, m)
    return second[m:] - second[:-m]


def second_differences(x: Floats, m: int) -> float:
    """As `loops.second_differences`."""
    return squares(second_difference(x, m))


def third_differences(x: Floats, m: int) -> float:
    """As `loops.third_differences`."""
    return squares(third_difference(x, m))


def first_differences(x: Floats, m: int) -> float:
    """As `loops.first_differences`."""
    return squares(x[m:] - x[:-m])


def products_of_second_differences(x: Floats, z: Floats, m: int) -> float:
    """As `loops.products_of_second_differences`."""
    return _in_lanes(second_difference(x, m) * second_difference(z, m))


def window_sums(d: Floats, m: int) -> Floats:
    """Return the sums of m neighbours, shape (n - m + 1,): each the end of one block of m plus the beginning of the
    next (van Herk), so no rounding is carried further than two blocks.
    """
    if m == 1:
        return d
    terms = d.size - m + 1
    blocks = -(-d.size // m)
    padded = np.zeros(blocks * m)
    padded[: d.size] = d
    grid = padded.reshape(blocks, m)
    ahead = np.cumsum(grid, axis=1).ravel()
    behind = np.cumsum(grid[:, ::-1], axis=1)[:, ::-1].ravel()
    sums = behind[:terms] + ahead[m - 1 : m - 1 + terms]
    sums[::m] = behind[:terms:m]  # a window that is one whole block is that block, not twice
    return np.asarray(sums)


def window_sums_of_second_differences(x: Floats, m: int) -> float:
    """As `loops.window_sums_of_second_differences`."""
    return squares(window_sums(second_difference(x, m), m))


def squares_there(d: Floats) -> tuple[float, int]:
    """Return the sum of squares of the values that are there (no NaN), and their number."""
    there = d[np.isfinite(d)]
    return squares(there), int(there.size)


def runs(x: Floats) -> list[Floats]:
    """Return the stretches of `x` without a missing value."""
    there = np.isfinite(x)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], there, [False]))))
    return [x[start:stop] for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def widen(top: Floats, low: Floats, wider_top: Floats, wider_low: Floats, step: int) -> None:
    """As `loops.widen`."""
    size = top.size - step
    np.maximum(top[:size], top[step:], out=wider_top[:size])
    np.minimum(low[:size], low[step:], out=wider_low[:size])


def largest_range(top: Floats, low: Floats, step: int) -> float:
    """As `loops.largest_range`."""
    size = top.size - step
    with np.errstate(invalid="ignore"):
        spans = np.maximum(top[:size], top[step:]) - np.minimum(low[:size], low[step:])
    return float(np.max(spans))
