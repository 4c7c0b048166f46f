"""Sum and number of terms of the N^2 statistics over a series: compiled loops or NumPy, run by run of present phases.

It knows no averaging time and no interval. A term counts if every phase between its first and its last is there.
"""

from collections.abc import Iterator

import numpy as np

from truechimer.stability import arrays_long
from truechimer.stability.curve import Floats
from truechimer.stability.series import Series, without_line
from truechimer.stability.sums import NOTHING, Sum, compiled, runs_of


def _straight_runs(series: Series) -> Iterator[Floats]:
    for run in runs_of(series):
        yield without_line(run)


def theo1(series: Series, m: int) -> Sum:
    """Theo1's weighted squares; terms are starting points i."""
    total = NOTHING
    for x in _straight_runs(series):
        if x.size > m:
            total += Sum(_theo1_terms(x, m, x.size - m), x.size - m)
    return total


def _theo1_terms(x: Floats, m: int, stop: int) -> float:
    if compiled():
        from truechimer.stability import loops_long

        return loops_long.theo1_terms(x, m, 0, stop)
    return arrays_long.theo1_terms(x, m, 0, stop)


def total_of_phase(series: Series, m: int) -> Sum:
    """Reflected windows of 3m phases."""
    return _total(list(_straight_runs(series)), m)


def total_of_frequency(series: Series, m: int) -> Sum:
    """Reflected windows of 3m frequencies."""
    return _total([np.diff(x) / series.tau0_s for x in _straight_runs(series) if x.size > 1], m)


def _total(stretches: list[Floats], m: int) -> Sum:
    total = NOTHING
    for z in stretches:
        windows = z.size - 3 * m + 1
        if windows < 1:
            continue
        if compiled():
            from truechimer.stability import loops_long

            total += Sum(loops_long.total_terms(z, m, 0, windows), windows)
        else:
            total += Sum(arrays_long.total_terms(z, m, 0, windows), windows)
    return total


def parabolic(series: Series, m: int) -> Sum:
    """PDEV's squares."""
    total = NOTHING
    for x in _straight_runs(series):
        terms = x.size - 2 * m
        if terms < 1:
            continue
        if compiled():
            from truechimer.stability import loops_long

            total += Sum(loops_long.parabolic_terms(x, m), terms)
        else:
            total += Sum(arrays_long.parabolic_terms(x, m), terms)
    return total
