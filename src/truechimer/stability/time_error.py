"""Maximum time interval error and TIE rms, in seconds: what a network's clock does over an observation interval.

They see offset in frequency, unlike the deviations; no interval is defined for them, since neither has a distribution
that does not depend on more than the noise type.

Source: ITU-T G.810 (1996) II.5 (MTIE), II.2 (TIE rms). MTIE(m): the largest peak-to-peak value of x in any window of
m + 1 samples. TIE rms(m): root mean square of x(i+m) - x(i). With gaps, MTIE looks at the samples that each window
has, if they are two or more (a lower limit, the most that is known); TIE rms at pairs that are both there.
"""

import numpy as np
from numpy.typing import ArrayLike

from truechimer.stability import sums
from truechimer.stability.curve import Floats, StabilityCurve
from truechimer.stability.factors import Factors
from truechimer.stability.forms import Spread, loop
from truechimer.stability.series import Piece, Series
from truechimer.stability.statistics import DEFAULT_CI, Statistic, Value, curve_of, root


def _with_rate(series: Series) -> Series:
    """Return the phases with the mean frequency that was taken out of frequency data."""
    if series.rate == 0.0:
        return series
    pieces = tuple(
        Piece(piece.x_s + series.rate * series.tau0_s * np.arange(piece.x_s.size), piece.first)
        for piece in series.pieces
    )
    return Series(pieces, series.tau0_s, series.n_phases, series.has_gaps)


def _tierms_at(series: Series, m: int) -> Value:
    return root(sums.first_differences(_with_rate(series), m), 1.0, 1.0)


def _mtie_at_all(series: Series, factors: list[int], _spread: Spread) -> list[Value]:
    """Largest ranges of all windows: those of 2^k samples by doubling, any other from two that overlap."""
    largest = dict.fromkeys(factors, -np.inf)
    windows = dict.fromkeys(factors, 0)
    for piece in _with_rate(series).pieces:
        for m, value in _ranges(piece.x_s, sorted(factors)):
            largest[m] = max(largest[m], value)
        for m in factors:
            windows[m] += _windows_with_two(piece.x_s, m) if series.has_gaps else max(piece.x_s.size - m, 0)
    return [Value(largest[m], windows[m]) if windows[m] else Value(np.nan, 0) for m in factors]


def _ranges(x: Floats, factors: list[int]) -> list[tuple[int, float]]:
    gaps = np.isnan(x)
    top, low = np.where(gaps, -np.inf, x), np.where(gaps, np.inf, x)
    spare_top, spare_low = np.empty_like(top), np.empty_like(low)
    width, found = 1, []
    for m in factors:
        if m + 1 > x.size:
            break
        while 2 * width <= m + 1:
            loop("widen", top.size)(top, low, spare_top, spare_low, width)
            kept = top.size - width
            top, spare_top = spare_top[:kept], top[:kept]
            low, spare_low = spare_low[:kept], low[:kept]
            width *= 2
        found.append((m, float(loop("largest_range", top.size)(top, low, m + 1 - width))))
    return found


def _windows_with_two(x: Floats, m: int) -> int:
    if x.size <= m:
        return 0
    before = np.concatenate([[0], np.cumsum(np.isfinite(x))])
    return int(np.count_nonzero(before[m + 1 :] - before[: -m - 1] >= 2))


MTIE = Statistic("mtie", span=1, all_at=_mtie_at_all)
TIERMS = Statistic("tierms", _tierms_at, span=1)


def mtie(
    x_s: ArrayLike,
    tau0_s: float,
    m: Factors = None,
    *,
    data: str = "phase",
    ci: float | None = DEFAULT_CI,
    detrend: str = "none",
    spread: Spread | None = None,
) -> StabilityCurve:
    """Return the maximum time interval error over m tau0 (G.810), in seconds; exact to the last bit.

    `lower` and `upper` are NaN. Arguments and errors as `adev`; `spread` is of no use here.
    """
    return curve_of(MTIE, x_s, tau0_s, m, data=data, ci=ci, detrend=detrend, spread=spread)


def tierms(
    x_s: ArrayLike,
    tau0_s: float,
    m: Factors = None,
    *,
    data: str = "phase",
    ci: float | None = DEFAULT_CI,
    detrend: str = "none",
    spread: Spread | None = None,
) -> StabilityCurve:
    """Return the root mean square of the time interval error over m tau0, in seconds, frequency offset included.

    `lower` and `upper` are NaN. Arguments and errors as `adev`.
    """
    return curve_of(TIERMS, x_s, tau0_s, m, data=data, ci=ci, detrend=detrend, spread=spread)
