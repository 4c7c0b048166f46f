"""The sums of `loops.py` in NumPy: what runs where Numba is absent, what counts where points are missing.

It checks nothing and divides by nothing. Lanes are summed in the order of `loops.py`, so most agree to the last bit.
"""

import numpy as np

from truechimer.stability.curve import Floats, Ints

LANES = 256
BLOCK = 256 * LANES
TURN = 6755399441055744.0


def squares(d: Floats) -> float:
    """Return the sum of squares of `d`, in lanes folded in pairs."""
    return _in_lanes(d * d)


def _in_lanes(values: Floats) -> float:
    lanes = np.zeros(LANES)
    _into_lanes(lanes, values)
    return _folded(lanes)


def _into_lanes(lanes: Floats, values: Floats) -> None:
    """Add values, one lane after the other, to what the lanes hold."""
    whole = values.size // LANES * LANES
    if whole:
        rows = values[:whole].reshape(-1, LANES)
        rows[0] += lanes
        np.add.reduce(rows, axis=0, out=lanes)
    lanes[: values.size - whole] += values[whole:]


def _folded(lanes: Floats) -> float:
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


def few_second_differences(x: Floats, m: int) -> float:
    """As `loops.few_second_differences`."""
    high, low = _second(x, m)
    return squares(high + low)


def few_third_differences(x: Floats, m: int) -> float:
    """As `loops.few_third_differences`."""
    high, low = _second(x, m)
    d, lost = _minus(high[m:], high[:-m])
    return squares(d + (lost + (low[m:] - low[:-m])))


def _second(x: Floats, m: int) -> tuple[Floats, Floats]:
    first, low = _minus(x[m:], x[:-m])
    d, lost = _minus(first[m:], first[:-m])
    return d, lost + (low[m:] - low[:-m])


def _minus(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    total = a - b
    part = total - a
    return total, (a - (total - part)) - (b + part)


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


def farthest_from_line(x: Floats, base: float, slope: float) -> float:
    """As `loops.farthest_from_line`."""
    return float(np.max(np.abs((x - base) - slope * np.arange(x.size, dtype=np.float64))))


def running_sums(x: Floats, grid: float, base: float, slope: float, parts: Floats) -> None:
    """As `loops.running_sums`."""
    turn = TURN * grid
    near = (x + turn) - turn
    parts[:, 0] = 0.0
    np.cumsum(x - near, out=parts[1, 1:])
    near -= base
    near -= slope * np.arange(x.size, dtype=np.float64)
    np.cumsum(near, out=parts[0, 1:])


def window_squares(coarse: Floats, fine: Floats, factors: Ints, found: Floats) -> None:
    """As `loops.window_squares`, in blocks that keep its lanes."""
    for c, m in enumerate(factors.tolist()):
        lanes = np.zeros(LANES)
        terms = coarse.size - 3 * m
        for start in range(0, terms, BLOCK):
            stop = min(start + BLOCK, terms)
            d = _window_differences(coarse, m, start, stop)
            d += _window_differences(fine, m, start, stop)
            d *= d
            _into_lanes(lanes, d)
        found[c] = _folded(lanes)


def _window_differences(p: Floats, m: int, start: int, stop: int) -> Floats:
    """Return (p(i+3m) - p(i)) - 3 (p(i+2m) - p(i+m)) for start <= i < stop."""
    outer = p[start + 3 * m : stop + 3 * m] - p[start:stop]
    inner = p[start + 2 * m : stop + 2 * m] - p[start + m : stop + m]
    inner *= 3.0
    outer -= inner
    return outer


def reflected_differences(x: Floats, m: int) -> list[Floats]:
    """Return the second differences about the phases within m of an end of the record that is reflected there: those
    that reach back over its beginning, over both ends, and on over its end.
    """
    last = x.size - 1
    head, onward = min(m, last), max(last - m + 1, 1)
    near, far = min(head, onward), max(head, onward)
    return [
        (x[m + 1 : m + near] - x[1:near]) - _over_beginning(x, m, 1, near),
        _over_end(x, m, onward, head) - _over_beginning(x, m, onward, head),
        _over_end(x, m, far, last) - (x[far:last] - x[far - m : last - m]),
    ]


def _over_beginning(x: Floats, m: int, start: int, stop: int) -> Floats:
    """Return x(i) - x*(i-m) for start <= i < stop <= m."""
    if start >= stop:
        return np.zeros(0)
    return np.asarray((x[start:stop] - x[0]) + (x[m - stop + 1 : m - start + 1][::-1] - x[0]))


def _over_end(x: Floats, m: int, start: int, stop: int) -> Floats:
    """Return x*(i+m) - x(i) for last - m < start <= i < stop."""
    if start >= stop:
        return np.zeros(0)
    last = x.size - 1
    far = 2 * last - m
    return np.asarray((x[last] - x[start:stop]) + (x[last] - x[far - stop + 1 : far - start + 1][::-1]))


def reflected_squares(x: Floats, m: int) -> float:
    """As `loops.reflected_squares`."""
    lanes = np.zeros(LANES)
    for d in reflected_differences(x, m):
        _into_lanes(lanes, d * d)
    return _folded(lanes)


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
