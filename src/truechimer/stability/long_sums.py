"""Sum and number of terms of the N^2 statistics over a series: compiled loops or NumPy, run by run of present phases.

It knows no averaging time and no interval. A term counts if every phase between its first and its last is there.
"""

from collections.abc import Iterator

import numpy as np

from truechimer.stability import arrays_long
from truechimer.stability.arrays import runs
from truechimer.stability.curve import Floats, SeriesRejected
from truechimer.stability.series import Series, without_line
from truechimer.stability.sums import NOTHING, Sum, compiled, second_differences


def _straight_runs(series: Series) -> Iterator[Floats]:
    for piece in series.pieces:
        for run in runs(piece.x_s) if series.has_gaps else [piece.x_s]:
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


def reflected_record(series: Series, m: int) -> Sum:
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
    found = second_differences(series, m, overlapping=True) if last >= 2 * m else NOTHING
    head = np.arange(1, min(m, last), dtype=np.int64)
    tail = np.arange(max(last - m + 1, head.size + 1), last, dtype=np.int64)
    edges = np.concatenate([head, tail])
    if edges.size:
        d = _onwards(x, edges, m, last) - _backwards(x, edges, m)
        there = d[np.isfinite(d)]
        found += Sum(float(there @ there), int(there.size))
    return found


def _backwards(x: Floats, i: np.ndarray, m: int) -> Floats:
    """Return x(i) - x*(i-m)."""
    back = i - m
    outside = (x[i] - x[0]) + (x[np.abs(back)] - x[0])
    return np.asarray(np.where(back < 0, outside, x[i] - x[np.abs(back)]))


def _onwards(x: Floats, i: np.ndarray, m: int, last: int) -> Floats:
    """Return x*(i+m) - x(i)."""
    on = i + m
    mirrored = np.where(on > last, 2 * last - on, on)
    outside = (x[last] - x[i]) + (x[last] - x[mirrored])
    return np.asarray(np.where(on > last, outside, x[mirrored] - x[i]))
