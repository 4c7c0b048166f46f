"""What is suspicious about a record, said and never acted upon: outliers, and values that look scaled.

It drops nothing and changes nothing.

Source: NIST SP 1065 section 3.4 (median absolute deviation); a clock's fractional frequency is a matter of physics.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from truechimer.stability.curve import Floats, Ints
from truechimer.stability.series import make_series

MAD_TO_SIGMA = 1.4826
"""A normal distribution's sigma over its median absolute deviation."""
NO_FRACTION = 1e-2
"""No oscillator is off by a hundredth of its frequency."""
NO_COMPARISON_S = 0.05
"""No comparison of clocks jitters by so many seconds, not even across a bad network."""
NO_OFFSET_S = 1e5
"""Clocks that are compared differ by less than a day."""
NO_CLOCK = 1e-3
"""A frequency that wanders by more than this from one reading to the next is no clock's, but one in other units."""


@dataclass(frozen=True, slots=True, eq=False)
class Outliers:
    """Frequencies that lie more than `times` robust sigmas from the median.

    `row` (n,): index of the later of the two phases (phase data) or of the frequency; `score` (n,): distance in robust
    sigmas; `sigma`: the robust sigma of the frequencies.
    """

    row: Ints
    score: Floats
    sigma: float
    times: float


def outliers(values: ArrayLike, tau0_s: float, *, data: str = "phase", times: float = 5.0) -> Outliers:
    """Mark outliers of the frequencies at tau0 by the median absolute deviation; the data are left as they are."""
    series = make_series(values, tau0_s, data=data)
    rows, scores = [], []
    frequencies = [np.diff(piece.x_s) / tau0_s for piece in series.pieces]
    every = np.concatenate(frequencies)
    there = every[np.isfinite(every)]
    if there.size < 3:
        return Outliers(np.zeros(0, dtype=np.int64), np.zeros(0), float("nan"), times)
    middle = float(np.median(there))
    sigma = MAD_TO_SIGMA * float(np.median(np.abs(there - middle)))
    if sigma > 0.0:
        for piece, y in zip(series.pieces, frequencies, strict=True):
            score = np.abs(y - middle) / sigma
            far = np.flatnonzero(score > times)
            rows.append(far + piece.first + (1 if data == "phase" else 0))
            scores.append(score[far])
    row = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
    return Outliers(row.astype(np.int64), np.concatenate(scores) if scores else np.zeros(0), sigma, times)


def units_in_doubt(values: ArrayLike, tau0_s: float, *, data: str = "phase") -> str:
    """Return a sentence with the evidence where the values look like ns or ppm rather than s or 1; else nothing."""
    series = make_series(values, tau0_s, data=data)
    if data == "frequency":
        middle = float(np.nanmedian(np.abs(np.asarray(values, dtype=np.float64))))
        if middle > NO_FRACTION:
            return (
                f"units in doubt: half of the fractional frequencies are beyond {middle:.6g}, which is no clock's: are "
                "they in Hz (then give --nominal), in parts per million or billion?"
            )
    else:
        middle = float(np.nanmedian(np.abs(np.asarray(values, dtype=np.float64))))
        if middle > NO_OFFSET_S:
            return (
                f"units in doubt: half of the phases are beyond {middle:.6g} s, more than a day, as no "
                "comparison of clocks is: are they in Hz (then give --nominal), in ns (--unit ns), or times?"
            )
    steps = np.concatenate([np.diff(np.diff(piece.x_s)) / tau0_s for piece in series.pieces])
    there = np.abs(steps[np.isfinite(steps)])
    if there.size == 0:
        return ""
    wander = float(np.median(there))
    jump_s = wander * tau0_s
    if wander <= NO_CLOCK and (data != "phase" or jump_s <= NO_COMPARISON_S):
        return ""
    if data == "phase":
        return (
            f"units in doubt: the phase jumps by {jump_s:.2g} s (median) from one reading to the next, its frequency "
            f"by {wander:.2g}, which is no clock's: are these phases in ns (then {1e-9 * wander:.2g}; --unit ns) or us "
            "(--unit us)?"
        )
    return (
        f"units in doubt: the frequency changes by {wander:.2g} (median) from one reading to the next, which is no "
        "clock's: are these parts per million, or Hz (then give --nominal), instead of fractions?"
    )


def zeros_in_doubt(values: ArrayLike, *, data: str = "phase") -> str:
    """Return a sentence where some frequencies are exactly 0 among others that are not: Stable32 marks gaps so."""
    given = np.asarray(values, dtype=np.float64)
    count = int(np.count_nonzero(given == 0.0))
    if data != "frequency" or not 0 < count < given.size / 2:
        return ""
    return f"{count} frequencies are exactly 0: if they mark gaps, as in Stable32, say --zeros-are-gaps"
