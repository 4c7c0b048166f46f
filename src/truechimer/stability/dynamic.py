"""Dynamic stability: any statistic in a window that slides along the record, as a surface over time and tau.

It computes no statistic itself.

Source: Galleani and Tavella, "The dynamic Allan variance", IEEE TUFFC 56 (2009).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from truechimer.stability.covariance import named
from truechimer.stability.curve import Floats, Ints, StabilityMisuse
from truechimer.stability.factors import Factors, chosen
from truechimer.stability.series import Piece, Series, make_series, without_line
from truechimer.stability.statistics import DEFAULT_CI, Statistic, curve_of


@dataclass(frozen=True, slots=True, eq=False)
class StabilitySurface:
    """A statistic over windows and averaging times: `value`, `lower`, `upper` (n_windows, n_taus), NaN where there is
    none.

    `middle_s` (n_windows,): the middle of each window after the record's first phase; `window`, `step`: in phases.
    """

    middle_s: Floats
    tau_s: Floats
    value: Floats
    lower: Floats
    upper: Floats
    m: Ints
    statistic: str
    tau0_s: float
    window: int
    step: int
    ci: float | None


def dynamic(
    x_s: ArrayLike,
    tau0_s: float,
    m: Factors = None,
    *,
    window: int,
    step: int | None = None,
    statistic: Statistic | str = "oadev",
    data: str = "phase",
    ci: float | None = DEFAULT_CI,
    alpha: float | None = None,
) -> StabilitySurface:
    """Return `statistic` in windows of `window` phases, each `step` phases after the last (default: a quarter window).

    `m`: as for the statistic, of one window. The last window may reach to the end of the record only if it fits whole.
    """
    found = named(statistic) if isinstance(statistic, str) else statistic
    series = make_series(x_s, tau0_s, data=data)
    if found.blind_to_drift and data == "frequency":
        # Phases of a drifting clock are large: their roundings are seen in third differences.
        series = make_series(without_line(np.asarray(x_s, dtype=np.float64)), tau0_s, data=data)
    step = max(1, window // 4) if step is None else step
    if window < 3 or step < 1:
        raise StabilityMisuse(f"a window of {window} and a step of {step} phases: give at least 3 and 1")
    if window > series.n_phases:
        raise StabilityMisuse(f"a window of {window} phases in a record of {series.n_phases}: give a shorter one")
    factors, _ = chosen(m, found.most(window), least=found.least, even=found.even, octave=found.octave)
    starts = np.arange(0, series.n_phases - window + 1, step)
    surface = np.full((3, starts.size, factors.size), np.nan)
    for row, start in enumerate(starts.tolist()):
        part = _cut(series, start, start + window)
        if part is None or factors.size == 0:
            continue
        curve = curve_of(found, part, tau0_s, factors, ci=ci, alpha=alpha)
        at = np.searchsorted(factors, curve.m)
        surface[:, row, at] = curve.value, curve.lower, curve.upper
    return StabilitySurface(
        middle_s=np.asarray((starts + 0.5 * (window - 1)) * series.tau0_s, dtype=np.float64),
        tau_s=np.asarray(found.tau_factor * series.tau0_s * factors, dtype=np.float64),
        value=surface[0],
        lower=surface[1],
        upper=surface[2],
        m=factors,
        statistic=found.name,
        tau0_s=series.tau0_s,
        window=window,
        step=step,
        ci=ci,
    )


def _cut(series: Series, start: int, stop: int) -> Series | None:
    """Return the phases from index `start` to `stop`, None where none of them is there."""
    pieces = []
    for piece in series.pieces:
        low, high = max(start, piece.first), min(stop, piece.first + piece.x_s.size)
        if high - low >= 2:
            pieces.append(Piece(piece.x_s[low - piece.first : high - piece.first], low - start))
    if not any(np.any(np.isfinite(piece.x_s)) for piece in pieces):
        return None
    gaps = len(pieces) > 1 or any(bool(np.isnan(piece.x_s).any()) for piece in pieces)
    return Series(tuple(pieces), series.tau0_s, stop - start, gaps or pieces[0].x_s.size < stop - start, series.rate)
