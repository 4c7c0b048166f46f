"""A series made ready: numbers checked, frequency turned into phase, gaps made explicit, trends taken out on request.

It reads no files and drops nothing: what cannot be used is refused with its index, what is suspicious is reported.

Law of gaps. NaN means "missing". A missing *phase* is one point: the phases on both sides remain comparable. A missing
*frequency* breaks the phase for good: what was accumulated meanwhile is unknown, so the phases before and after belong
to different pieces. A term of a statistic counts if every phase it uses is there and all of them lie in one piece.

Source: NIST SP 1065 sections 3.2 (gaps), 3.5 (phase and frequency), 5.2.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from truechimer.stability.curve import Floats, SeriesRejected, StabilityMisuse

LARGEST = 1e100
"""Squares of differences of larger values, summed, could leave the range of a double."""

BLOCK = 1 << 14
"""Phases that are worked on at once where every step makes an array."""

DETREND_DEGREES = {"none": -1, "offset": 0, "linear": 1, "quadratic": 2}


@dataclass(frozen=True, slots=True)
class Piece:
    """Phases that are comparable with each other: `x_s` (n,), NaN where missing; the first has index `first`."""

    x_s: Floats
    first: int


@dataclass(frozen=True, slots=True)
class Series:
    """A whole record on an even grid of `tau0_s`: `n_phases` grid points in one piece or several.

    `rate` is a mean frequency that was taken out before frequencies were summed to phases (0 for phase data): only MTIE
    and TIE rms notice it.
    """

    pieces: tuple[Piece, ...]
    tau0_s: float
    n_phases: int
    has_gaps: bool
    rate: float = 0.0

    @classmethod
    def of_run(cls, x_s: Floats, tau0_s: float) -> "Series":
        """Return a series of one stretch without gaps."""
        return cls((Piece(x_s, 0),), tau0_s, x_s.size, has_gaps=False)


def make_series(values: ArrayLike, tau0_s: float, *, data: str = "phase", detrend: str = "none") -> Series:
    """Check `values` (n,) and return them as phases.

    `data`: `phase` (s) or `frequency` (dimensionless, averages over tau0_s). `detrend`: the least-squares polynomial of
    the *phase* that is taken out: `none`, `offset`, `linear`, `quadratic`. Raises `SeriesRejected` for data that cannot
    be used, naming the first bad index, and `StabilityMisuse` for options that do not exist.
    """
    if data not in {"phase", "frequency"}:
        raise StabilityMisuse(f"data is 'phase' or 'frequency', not {data!r}")
    if detrend not in DETREND_DEGREES:
        raise StabilityMisuse(f"detrend is one of {', '.join(DETREND_DEGREES)}, not {detrend!r}")
    if not (isinstance(tau0_s, int | float | np.integer | np.floating) and 0.0 < float(tau0_s) < np.inf):
        raise StabilityMisuse(f"tau0_s is {tau0_s!r}; give the spacing of the data in seconds, above zero")
    checked = _checked(values)
    series = _of_phase(checked, float(tau0_s)) if data == "phase" else _of_frequency(checked, float(tau0_s))
    return detrended(series, detrend)


def _checked(values: ArrayLike) -> Floats:
    given = np.asarray(values)
    if given.dtype == object or given.dtype.kind not in "biuf":
        raise SeriesRejected(f"the data are of type {given.dtype}; give real numbers")
    if given.ndim != 1:
        raise SeriesRejected(f"the data have the shape {given.shape}; give one series of shape (n,)")
    x = np.ascontiguousarray(given, dtype=np.float64)
    if x.size < 2:
        raise SeriesRejected(f"{x.size} values; give at least 2")
    if not (x.max() <= LARGEST and x.min() >= -LARGEST):  # NaN, or too large
        bad = np.flatnonzero(np.abs(x) > LARGEST)
        if bad.size:
            row = int(bad[0])
            raise SeriesRejected(
                f"value {row} (counted from 0) is {x[row]:g}; a missing value is NaN, any other must be below "
                f"{LARGEST:g}",
                row=row,
            )
        if not np.any(np.isfinite(x)):
            raise SeriesRejected("every value is missing (NaN)", row=0)
    return x


def _of_phase(x_s: Floats, tau0_s: float) -> Series:
    return Series((Piece(x_s, 0),), tau0_s, x_s.size, has_gaps=bool(np.isnan(x_s.max())))


def _of_frequency(y: Floats, tau0_s: float) -> Series:
    """Sum frequencies to phases, each run without a gap by itself, less the mean frequency.

    The mean is taken out exactly (difference and its rounding error) and the sum is carried in two doubles, so that a
    phase is good to one rounding of itself, whatever the mean.
    """
    there = np.isfinite(y)
    rate = float(np.mean(y[there]))
    edges = np.flatnonzero(np.diff(np.concatenate(([False], there, [False]))))
    pieces = []
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        pieces.append(Piece(_summed(y[start:stop], rate) * tau0_s, int(start)))
    return Series(tuple(pieces), tau0_s, y.size + 1, has_gaps=bool(not there.all()), rate=rate)


def _summed(y: Floats, rate: float) -> Floats:
    """Return the running sum of y - rate, beginning with 0, shape (n + 1,), each value right to about one rounding."""
    reduced, lost = two_sum(y, -rate)
    total = np.empty(y.size + 1)
    total[0] = 0.0
    np.cumsum(reduced, out=total[1:])
    # np.cumsum rounds at every step; the error of each step is exactly known, and summed it corrects the result.
    _, slips = two_sum(total[:-1], reduced)
    total[1:] += np.cumsum(slips + lost)
    return total


def two_sum(a: Floats, b: Floats | float) -> tuple[Floats, Floats]:
    """Return fl(a + b) and its rounding error, exactly (Knuth's two-sum)."""
    total = a + b
    b_part = total - a
    return total, (a - (total - b_part)) + (b - b_part)


def detrended(series: Series, detrend: str) -> Series:
    """Take a least-squares polynomial of the phase out of every piece (`offset`, `linear`, `quadratic`)."""
    degree = DETREND_DEGREES[detrend]
    if degree < 0:
        return series
    pieces = tuple(Piece(_without_polynomial(piece.x_s, degree), piece.first) for piece in series.pieces)
    # A mean frequency that was taken out already is part of the trend from `linear` on; with `offset` it stays.
    rate = series.rate if degree == 0 else 0.0
    return Series(pieces, series.tau0_s, series.n_phases, series.has_gaps, rate)


def _without_polynomial(x_s: Floats, degree: int) -> Floats:
    there = np.isfinite(x_s)
    count = int(there.sum())
    degree = min(degree, count - 1)
    if degree < 0:
        return x_s
    reduced = without_line(x_s) if degree else x_s - x_s[there][0]
    t = np.linspace(-1.0, 1.0, x_s.size) if x_s.size > 1 else np.zeros(1)
    basis = np.polynomial.legendre.legvander(t, degree)
    weights, *_ = np.linalg.lstsq(basis[there], reduced[there], rcond=None)
    return np.asarray(reduced - basis @ weights)


def without_line(x_s: Floats) -> Floats:
    """Return `x_s` less a straight line through its ends, every value right to one rounding *of the result*.

    Phase of 1000 s with a rate of 1e-8 and noise of 1e-13 keeps its noise: the rate is cut to few bits, so that rate
    times index is exact, and both subtractions carry their rounding errors. NaN stays NaN. Statistics that a straight
    line cannot change are computed from this.
    """
    there = np.isfinite(x_s)
    first, last = int(np.argmax(there)), int(x_s.size - 1 - np.argmax(there[::-1]))
    if not there[first] or first == last:
        return x_s
    bits = 52 - int(x_s.size).bit_length()
    slope = _cut((float(x_s[last]) - float(x_s[first])) / (last - first), bits)
    reduced = np.empty(x_s.size)
    for start in range(0, x_s.size, BLOCK):
        stop = min(start + BLOCK, x_s.size)
        line = slope * np.arange(start - first, stop - first, dtype=np.float64)
        hi, lost = two_sum(x_s[start:stop], -line)
        out, more = two_sum(hi, -float(x_s[first]))
        reduced[start:stop] = out + (lost + more)
    return reduced


def _cut(value: float, bits: int) -> float:
    """Return `value` with only its leading `bits` bits."""
    fraction, exponent = np.frexp(value)
    return float(np.ldexp(np.rint(np.ldexp(fraction, bits)), int(exponent) - bits))
