"""Sum and number of terms of a statistic over a series: chooses compiled loops or NumPy, and keeps the law of gaps.

It knows no averaging time and no interval: those are `deviations.py` and `confidence.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from truechimer.stability import arrays
from truechimer.stability.curve import Floats
from truechimer.stability.series import Piece, Series


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum of squared (or multiplied) terms, and how many terms there are."""

    total: float
    terms: int

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(self.total + other.total, self.terms + other.terms)


NOTHING = Sum(0.0, 0)
OfPhases = Callable[[Floats, int], float]
Terms = Callable[[Floats, int], Floats]


def compiled() -> bool:
    """Return True where the loops run as machine code."""
    from truechimer.kernel import COMPILED

    return COMPILED


def second_differences(series: Series, m: int, *, overlapping: bool) -> Sum:
    """Squares of second differences at stride m: every one, or those that begin at a multiple of m."""
    return _differences(series, m, order=2, overlapping=overlapping)


def third_differences(series: Series, m: int, *, overlapping: bool) -> Sum:
    """Squares of third differences at stride m: every one, or those that begin at a multiple of m."""
    return _differences(series, m, order=3, overlapping=overlapping)


def first_differences(series: Series, m: int) -> Sum:
    """Squares of x(i+m) - x(i)."""
    return _differences(series, m, order=1, overlapping=True)


def window_sums_of_second_differences(series: Series, m: int) -> Sum:
    """Squares of sums of m neighbouring second differences. Every phase of the 3m must be there."""
    whole = _window_loop()
    total = NOTHING
    for piece in series.pieces:
        for run in arrays.runs(piece.x_s) if series.has_gaps else [piece.x_s]:
            if run.size >= 3 * m:
                total += Sum(whole(run, m), run.size - 3 * m + 1)
    return total


def _window_loop() -> OfPhases:
    if compiled():
        from truechimer.stability import loops

        return loops.window_sums_of_second_differences
    return arrays.window_sums_of_second_differences


_OF_ORDER: dict[int, tuple[str, Terms]] = {
    1: ("first_differences", lambda x, m: x[m:] - x[:-m]),
    2: ("second_differences", arrays.second_difference),
    3: ("third_differences", arrays.third_difference),
}


def _differences(series: Series, m: int, *, order: int, overlapping: bool) -> Sum:
    name, terms_of = _OF_ORDER[order]
    if compiled():
        from truechimer.stability import loops

        whole: OfPhases = getattr(loops, name)
    else:
        whole = getattr(arrays, name)
    total = NOTHING
    for piece in series.pieces:
        x, stride = (piece.x_s, m) if overlapping else (_every(piece, m), 1)
        terms = x.size - order * stride
        if terms < 1:
            continue
        if series.has_gaps:
            total += Sum(*arrays.squares_there(terms_of(x, stride)))
        else:
            total += Sum(whole(x, stride), terms)
    return total


def _every(piece: Piece, m: int) -> Floats:
    """Return the phases at the record's multiples of m, contiguous."""
    start = -piece.first % m
    return piece.x_s[start::m].copy() if m > 1 else piece.x_s
