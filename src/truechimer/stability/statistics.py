"""From one statistic at one averaging factor to its curve: which factors, values, skipped ones, intervals.

It knows no formula of a statistic; each brings its own (`deviations.py` and its neighbours).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from truechimer.stability.confidence import DegreesOf, limits_of, noise_of, of_points
from truechimer.stability.curve import Floats, Ints, Skipped, StabilityCurve, StabilityMisuse
from truechimer.stability.factors import Factors, chosen
from truechimer.stability.forms import Spread, spread_over
from truechimer.stability.series import Series, make_series, without_line
from truechimer.stability.sums import Sum

BIASES = ("none", "sp1065")
NOISES = ("spectrum", "lag1")
EDFS = ("exact", "sp1065")
DEFAULT_CI = 0.683


@dataclass(frozen=True, slots=True)
class Value:
    """A deviation (NaN where there is no term) and its number of terms."""

    value: float
    terms: int


def root(found: Sum, divisor: float, scale: float) -> Value:
    """Return sqrt(mean of the terms / divisor) / scale."""
    if found.terms == 0:
        return Value(np.nan, 0)
    return Value(math.sqrt(found.total / found.terms / divisor) / scale, found.terms)


@dataclass(frozen=True, slots=True)
class Statistic:
    """One statistic: `at(series, m)`, or `all_at(series, factors, spread)` where that shares work, and what a record
    must have for it: span * m + 1 - spare phases.

    `tau_factor`: tau = tau_factor * m * tau0. `least`, `even`, `octave`: which factors there are. `degrees`: its edf,
    None where no distribution is known; `published`: its edf as NIST SP 1065 has it. `averages_phase`: as for
    `noise_identification.identify`.
    `bias(alpha, m, n_phases)`: the expectation of the squared value over the variance that it stands for, where SP 1065
    states it. `blind_to_drift`: a parabola of the phase changes nothing.
    """

    name: str
    at: Callable[[Series, int], Value] | None = None
    span: int = 1
    spare: int = 0
    tau_factor: float = 1.0
    least: int = 1
    even: bool = False
    octave: Callable[[int], Ints] | None = None
    degrees: DegreesOf | None = None
    published: DegreesOf | None = None
    averages_phase: bool = False
    bias: Callable[[int, int, int], float] | None = None
    all_at: Callable[[Series, list[int], Spread], list[Value]] | None = None
    blind_to_drift: bool = False

    def most(self, n_phases: int) -> int:
        """Return the largest averaging factor that a record of `n_phases` allows."""
        return (n_phases - 1 + self.spare) // self.span


def curve_of(
    statistic: Statistic,
    values: ArrayLike | Series,
    tau0_s: float,
    m: Factors,
    *,
    data: str = "phase",
    ci: float | None = DEFAULT_CI,
    alpha: float | None = None,
    detrend: str = "none",
    bias: str = "none",
    noise_from: str = "spectrum",
    edf_from: str = "exact",
    spread: Spread | None = None,
) -> StabilityCurve:
    """Compute one statistic of a series; see the public functions for what the arguments mean."""
    check_level(ci)
    for name, given, words in (
        ("bias", bias, BIASES),
        ("noise_from", noise_from, NOISES),
        ("edf_from", edf_from, EDFS),
    ):
        if given not in words:
            raise StabilityMisuse(f"{name} is one of {', '.join(words)}, not {given!r}")
    if alpha is not None and not -4 <= alpha <= 2:
        raise StabilityMisuse(f"alpha is a power-law exponent from 2 (white PM) to -2 (random-walk FM), not {alpha!r}")
    series = values if isinstance(values, Series) else make_series(values, tau0_s, data=data, detrend=detrend)
    factors, skipped = chosen(
        m, statistic.most(series.n_phases), least=statistic.least, even=statistic.even, octave=statistic.octave
    )
    straight = series
    if statistic.blind_to_drift and data == "frequency" and not isinstance(values, Series):
        # Phases of a drifting clock are large: their roundings are seen in third differences.
        straight = make_series(without_line(np.asarray(values, dtype=np.float64)), tau0_s, data=data)
    found = _values(statistic, straight, factors.tolist(), spread or map)
    value = np.array([each.value for each in found], dtype=np.float64)
    terms = np.array([each.terms for each in found], dtype=np.int64)
    there = terms > 0
    asked: Any = m is not None and not isinstance(m, str)
    lost = [Skipped(int(each), "no term has all its points: gaps") for each in factors[~there]] if asked else []
    kept, value, terms = factors[there], value[there], terms[there]
    nothing = np.full(kept.size, np.nan)
    noise, edf, lower, upper = nothing, nothing, nothing, nothing
    if kept.size and (ci is not None or bias != "none") and statistic.degrees is not None:
        noise = noise_of(series, kept, alpha=alpha, averages_phase=statistic.averages_phase, noise_from=noise_from)
        noise = np.where(value > 0.0, noise, np.nan)
    if bias != "none" and statistic.bias is not None:
        value = value / np.sqrt(_biases(statistic.bias, kept, noise, series.n_phases))
    published = statistic.published if edf_from == "sp1065" else None
    if ci is not None and statistic.degrees is not None:
        limits = limits_of(published or statistic.degrees, kept, terms, noise=noise, n_phases=series.n_phases, ci=ci)
        edf = limits.edf
        lower, upper = of_points(value, limits.below, limits.above)
    return StabilityCurve(
        tau_s=np.asarray(statistic.tau_factor * series.tau0_s * kept, dtype=np.float64),
        value=value,
        lower=lower,
        upper=upper,
        n=terms,
        noise=noise,
        m=kept,
        statistic=statistic.name,
        tau0_s=series.tau0_s,
        ci=ci,
        edf=edf,
        bias=bias if statistic.bias is not None else "none",
        noise_from="" if statistic.degrees is None else "named" if alpha is not None else noise_from,
        edf_from="" if statistic.degrees is None or ci is None else "sp1065" if published else "exact",
        skipped=(*skipped, *lost),
    )


def _values(statistic: Statistic, series: Series, factors: list[int], spread: Spread) -> list[Value]:
    if statistic.all_at is not None:
        return statistic.all_at(series, factors, spread)
    assert statistic.at is not None
    return spread_over(spread, partial(statistic.at, series), factors)


def _biases(bias: Callable[[int, int, int], float], factors: Ints, noise: Floats, n_phases: int) -> Floats:
    """Return the bias at each factor; where the noise is unknown there is none to take out, and the value is NaN."""
    known = np.isfinite(noise)
    found = np.full(factors.size, np.nan)
    found[known] = [
        bias(int(np.clip(np.round(alpha), -2, 2)), int(m), n_phases)
        for alpha, m in zip(noise[known], factors[known], strict=True)
    ]
    return found


def check_level(ci: float | None) -> None:
    """Refuse a level that is none."""
    if ci is not None and not (isinstance(ci, float) and 0.0 < ci < 1.0):
        raise StabilityMisuse(f"ci is a level between 0 and 1 (0.683 is one sigma), or None; not {ci!r}")
