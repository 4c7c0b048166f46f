"""Running sums of phases in two parts, of which every sum over a window of any length is made at one cost, exactly.

It checks nothing and sums no squares.

Law. With a grid (a power of two, in seconds) each phase is cut into its nearest grid point and a rest below half a grid
step; both are exact (Rump, Ogita and Oishi 2008, "ExtractScalar"). `coarse` sums the grid points less a straight line
of grid steps, which no second difference sees: whole numbers of grid steps, fewer than 2^52 of them, so every sum and
difference of them is exact in any order. `fine` sums the rests; its rounding, 1e-16 of some grid steps, is what is
lost. For a million phases that wander by 1e6 times their noise that is 1e-15 of it.
"""

import math
from dataclasses import dataclass

import numpy as np

from truechimer.stability import arrays
from truechimer.stability.curve import Floats
from truechimer.stability.forms import loop

LONGEST_LINE = 1 << 25
"""With more phases than this the rounding of the line's slope to the grid would cost more than the line saves."""


@dataclass(frozen=True, slots=True)
class RunningSums:
    """Sums of the first k phases of a run without gaps, `coarse` + `fine`, both (n + 1,), less a straight line."""

    coarse: Floats
    fine: Floats


def running_sums(x: Floats) -> RunningSums:
    """Return the running sums of `x` (n,), which has no gaps; the same bits from machine code and from NumPy."""
    base = float(x[0])
    slope = (float(x[-1]) - base) / max(x.size - 1, 1) if x.size <= LONGEST_LINE else 0.0
    grid = _grid(x.size, loop("farthest_from_line", x.size)(x, base, slope), largest=float(max(x.max(), -x.min())))
    parts = np.empty((2, x.size + 1))
    loop("running_sums", x.size)(x, grid, _on_grid(base, grid), _on_grid(slope, grid), parts)
    return RunningSums(parts[0], parts[1])


def _grid(count: int, farthest: float, *, largest: float) -> float:
    """Return the least power of two that leaves the sums of `count` phases exact, and cuts phases up to `largest`."""
    _, of_sums = math.frexp(4.0 * count * farthest)
    _, of_phases = math.frexp(largest)
    return math.ldexp(1.0, max(of_sums - 51, of_phases - 50, -1000))


def _on_grid(value: float, grid: float) -> float:
    turn = arrays.TURN * grid
    return (value + turn) - turn
