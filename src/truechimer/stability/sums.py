"""Sum and number of terms of a statistic over a series: keeps the law of gaps.

It knows no averaging time and no interval: those are `deviations.py` and `confidence.py`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from truechimer.stability import arrays
from truechimer.stability.curve import Floats, SeriesRejected
from truechimer.stability.forms import Spread, loop, spread_over
from truechimer.stability.running_sums import running_sums
from truechimer.stability.series import Piece, Series


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum of squared (or multiplied) terms, and how many terms there are."""

    total: float
    terms: int

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(self.total + other.total, self.terms + other.terms)


FEW = 64
"""Up to so many terms the differences carry their rounding errors."""
NOTHING = Sum(0.0, 0)
TOGETHER, NEIGHBOURS = 16, 4096
"""So many averaging factors, of which none is so much larger than another, are summed in one pass over the record."""
Terms = Callable[[Floats, int], Floats]


def second_differences(series: Series, m: int, *, overlapping: bool) -> Sum:
    """Squares of second differences at stride m: every one, or those that begin at a multiple of m."""
    return _differences(series, m, order=2, overlapping=overlapping)


def third_differences(series: Series, m: int, *, overlapping: bool) -> Sum:
    """Squares of third differences at stride m: every one, or those that begin at a multiple of m."""
    return _differences(series, m, order=3, overlapping=overlapping)


def first_differences(series: Series, m: int) -> Sum:
    """Squares of x(i+m) - x(i)."""
    return _differences(series, m, order=1, overlapping=True)


class WindowSums:
    """Squares of sums of m neighbouring second differences, for any m; every phase of the 3m must be there.

    The running sums of a record are made once, here.
    """

    def __init__(self, series: Series) -> None:
        self._runs = [running_sums(run) for run in runs_of(series)]

    def at(self, factors: list[int]) -> list[Sum]:
        """Return the sum at each averaging factor."""
        totals = [NOTHING] * len(factors)
        for run in self._runs:
            terms = [run.coarse.size - 3 * m for m in factors]
            some = [c for c, count in enumerate(terms) if count > 0]
            if some:
                found = np.empty(len(some))
                at = np.array([factors[c] for c in some], dtype=np.int64)
                loop("window_squares", sum(terms[c] for c in some))(run.coarse, run.fine, at, found)
                for c, total in zip(some, found.tolist(), strict=True):
                    totals[c] += Sum(total, terms[c])
        return totals

    def at_all(self, factors: list[int], spread: Spread) -> list[Sum]:
        """Return the sum at each averaging factor (ascending); neighbours are done together."""
        groups: list[list[int]] = []
        for m in factors:
            if groups and len(groups[-1]) < TOGETHER and m - groups[-1][0] <= NEIGHBOURS:
                groups[-1].append(m)
            else:
                groups.append([m])
        return [each for group in spread_over(spread, self.at, groups) for each in group]


def runs_of(series: Series) -> Iterator[Floats]:
    """Return the stretches of phases without a gap."""
    for piece in series.pieces:
        yield from arrays.runs(piece.x_s) if series.has_gaps else [piece.x_s]


_OF_ORDER: dict[int, tuple[str, Terms]] = {
    1: ("first_differences", lambda x, m: x[m:] - x[:-m]),
    2: ("second_differences", arrays.second_difference),
    3: ("third_differences", arrays.third_difference),
}


def _differences(series: Series, m: int, *, order: int, overlapping: bool) -> Sum:
    name, terms_of = _OF_ORDER[order]
    total = NOTHING
    for piece in series.pieces:
        x, stride = (piece.x_s, m) if overlapping else (_every(piece, m), 1)
        terms = x.size - order * stride
        if terms < 1:
            continue
        if series.has_gaps:
            total += Sum(*arrays.squares_there(terms_of(x, stride)))
        else:
            # Of many terms the roundings are lost among each other; few may all be small differences of large ones.
            few = order > 1 and terms <= FEW
            total += Sum(loop("few_" + name if few else name, terms)(x, stride), terms)
    return total


def _every(piece: Piece, m: int) -> Floats:
    """Return the phases at the record's multiples of m, contiguous."""
    start = -piece.first % m
    return piece.x_s[start::m].copy() if m > 1 else piece.x_s


def reflected(series: Series, m: int) -> Sum:
    """TOTDEV: squares of second differences about every inner point of the record reflected about its end points.

    The inner ones are OADEV's; at the ends x(i) - x*(i-m) is (x(i) - x(0)) + (x(m-i) - x(0)), differences of phases
    that are there, so nothing is lost to a large offset.
    """
    if len(series.pieces) > 1:
        row = series.pieces[0].first + series.pieces[0].x_s.size - 1
        raise SeriesRejected(
            f"frequency {row} is missing; the total deviation reflects a whole record: give phases, or one stretch",
            row=row,
        )
    x = series.pieces[0].x_s
    last = x.size - 1
    if not np.isfinite(x[0]) or not np.isfinite(x[last]):
        raise SeriesRejected(
            "the first or last phase is missing; the total deviation reflects about both: cut the record there",
            row=0 if not np.isfinite(x[0]) else last,
        )
    inner = second_differences(series, m, overlapping=True)
    if series.has_gaps:
        for d in arrays.reflected_differences(x, m):
            inner += Sum(*arrays.squares_there(d))
        return inner
    return inner + Sum(loop("reflected_squares", last)(x, m), last - 1 - inner.terms)
