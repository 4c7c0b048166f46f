"""Sum and number of terms of the statistics that cost N^2 or need phases without a line: compiled loops or NumPy.

It knows no averaging time and no interval. A term counts if every phase between its first and its last is there.

Law. The starting points of each sum are cut into parts by the averaging factor alone, and the parts are added in their
order: however the parts are spread over threads, the result has the same bits.
"""

from collections.abc import Callable

import numpy as np

from truechimer.stability import arrays_long, arrays_theo
from truechimer.stability.curve import Floats, Ints
from truechimer.stability.forms import Spread, compiled, spread_over
from truechimer.stability.series import Series, two_sum, without_line
from truechimer.stability.sums import NOTHING, Sum, runs_of

PART = 1 << 22
"""Differences in one part, about: some milliseconds of a processor."""
STARTS = 2048
"""A part has a whole multiple of so many starting points."""
ROWS_COST = 6
"""What all of Theo1 from products costs, in differences for each pair of phases (measured)."""
CANCELS = 1e-14
"""A sum below this part of all squares may have lost more than 1e-13 of itself to rounding: it is made term by term."""

OfPart = Callable[[Floats, int, int, int], float]


def theo1(series: Series, factors: list[int], spread: Spread) -> list[Sum]:
    """Theo1's weighted squares at even m; terms are starting points i.

    One factor costs (n - m) m / 2 differences; where many are asked for, all of them together from products of phases.
    """
    stretches = straight_runs(series)
    most = max((x.size for x in stretches), default=0)
    singly = sum(max(most - m, 0) * m // 2 for m in factors)
    if singly <= ROWS_COST * most * most:
        return _in_parts("theo1_terms", stretches, factors, spread, span=(1, 0), cost=_half)
    every = np.array(factors, dtype=np.int64)
    totals, terms = np.zeros(every.size), np.zeros(every.size, dtype=np.int64)
    for x in stretches:
        here = int(np.searchsorted(every, x.size))  # factors ascend
        if here:
            totals[:here] += _from_products(x, every[:here], spread)
            terms[:here] += x.size - every[:here]
    return [Sum(total, count) for total, count in zip(totals.tolist(), terms.tolist(), strict=True)]


def _from_products(x: Floats, factors: Ints, spread: Spread) -> Floats:
    if compiled():
        from truechimer.stability import loops_theo

        half = loops_theo.theo1_half
    else:
        half = arrays_theo.theo1_half

    def side(step: int) -> Floats:
        found = np.empty((2, factors.size))
        half(np.ascontiguousarray(x[::step]), factors, found)
        return found

    ahead, back = spread_over(spread, side, [1, -1])
    total, slip = two_sum(ahead[0], back[0])
    total = total + (slip + (ahead[1] + back[1]))
    doubtful = np.flatnonzero(total < CANCELS * float(x @ x))
    again = _in_parts("theo1_terms", [x], factors[doubtful].tolist(), spread, span=(1, 0), cost=_half)
    total[doubtful] = [each.total for each in again]
    return np.asarray(total)


def _half(m: int) -> int:
    return m // 2


def total_of_phase(series: Series, factors: list[int], spread: Spread) -> list[Sum]:
    """Reflected windows of 3m phases."""
    return _in_parts("total_terms", straight_runs(series), factors, spread, span=(3, 1), cost=lambda m: 3 * m)


def total_of_frequency(series: Series, factors: list[int], spread: Spread) -> list[Sum]:
    """Reflected windows of 3m frequencies, less a straight line: a drift is taken out of each window anyhow."""
    stretches = [_straight_frequencies(x) / series.tau0_s for x in runs_of(series) if x.size > 1]
    return _in_parts("total_terms", stretches, factors, spread, span=(3, 1), cost=lambda m: 3 * m)


def _straight_frequencies(x: Floats) -> Floats:
    """Return the differences of phases less a straight line through their ends, each right to about one rounding."""
    steps, lost = two_sum(x[1:], -x[:-1])
    return np.asarray(without_line(steps) + lost)


def parabolic(series: Series, factors: list[int], spread: Spread) -> list[Sum]:
    """PDEV's squares."""
    return _in_parts("parabolic_terms", straight_runs(series), factors, spread, span=(2, 0), cost=lambda _m: 2)


def straight_runs(series: Series) -> list[Floats]:
    """Return the stretches without a gap, each less a straight line."""
    return [without_line(run) for run in runs_of(series)]


def _in_parts(
    name: str,
    stretches: list[Floats],
    factors: list[int],
    spread: Spread,
    *,
    span: tuple[int, int],
    cost: Callable[[int], int],
) -> list[Sum]:
    """Return the sum at each factor; `span` (a, b): a stretch of n has n - a m + b starting points; `cost` of one."""
    terms = _loop(name)
    parts: list[tuple[int, Floats, int, int]] = []
    totals = dict.fromkeys(factors, NOTHING)
    for m in factors:
        size = -(-PART // max(cost(m), 1) // STARTS) * STARTS
        for x in stretches:
            starts = x.size - span[0] * m + span[1]
            parts += [(m, x, first, min(first + size, starts)) for first in range(0, starts, size)]
    found = spread_over(spread, lambda part: terms(part[1], part[0], part[2], part[3]), parts)
    for (m, _, first, stop), total in zip(parts, found, strict=True):
        totals[m] += Sum(total, stop - first)
    return [totals[m] for m in factors]


def _loop(name: str) -> OfPart:
    """Return the loop of this name: machine code, or NumPy where there is none."""
    if compiled():
        from truechimer.stability import loops_long

        found: OfPart = getattr(loops_long, name)
        return found
    return getattr(arrays_long, name)  # type: ignore[no-any-return]
