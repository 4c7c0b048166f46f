"""From one statistic at one averaging factor to its curve: which factors, values, skipped ones, intervals.

It knows no formula of a statistic; each brings its own (`deviations.py` and its neighbours).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from truechimer.stability.curve import Ints, Skipped, StabilityCurve, StabilityMisuse
from truechimer.stability.factors import Factors, chosen
from truechimer.stability.series import Series, make_series

Spread = Callable[[Callable[[int], "Value"], Iterable[int]], Iterable["Value"]]
"""How the averaging factors are worked off: `map`, or the `map` of a pool of threads (kernels release the lock)."""


@dataclass(frozen=True, slots=True)
class Value:
    """A deviation (NaN where there is no term) and its number of terms."""

    value: float
    terms: int


@dataclass(frozen=True, slots=True)
class Statistic:
    """One statistic: `at(series, m)`, and what a record must have for it: span * m + 1 - spare phases.

    `tau_factor`: tau = tau_factor * m * tau0. `least`, `even`, `octave`: which factors there are.
    """

    name: str
    at: Callable[[Series, int], Value]
    span: int
    spare: int = 0
    tau_factor: float = 1.0
    least: int = 1
    even: bool = False
    octave: Callable[[int], Ints] | None = None

    def most(self, n_phases: int) -> int:
        """Return the largest averaging factor that a record of `n_phases` allows."""
        return (n_phases - 1 + self.spare) // self.span


def curve_of(
    statistic: Statistic,
    values: ArrayLike,
    tau0_s: float,
    m: Factors,
    *,
    data: str = "phase",
    ci: float | None = 0.683,
    alpha: float | None = None,
    detrend: str = "none",
    spread: Spread | None = None,
) -> StabilityCurve:
    """Compute one statistic of a series; see the public functions for what the arguments mean."""
    check_level(ci)
    series = values if isinstance(values, Series) else make_series(values, tau0_s, data=data, detrend=detrend)
    factors, skipped = chosen(
        m, statistic.most(series.n_phases), least=statistic.least, even=statistic.even, octave=statistic.octave
    )
    found = list((spread or map)(partial(statistic.at, series), factors.tolist()))
    value = np.array([each.value for each in found], dtype=np.float64)
    terms = np.array([each.terms for each in found], dtype=np.int64)
    there = terms > 0
    asked: Any = m is not None and not isinstance(m, str)
    lost = [Skipped(int(each), "no term has all its points: gaps") for each in factors[~there]] if asked else []
    kept, value, terms = factors[there], value[there], terms[there]
    nothing = np.full(kept.size, np.nan)
    return StabilityCurve(
        tau_s=np.asarray(statistic.tau_factor * series.tau0_s * kept, dtype=np.float64),
        value=value,
        lower=nothing,
        upper=nothing,
        n=terms,
        noise=nothing if alpha is None else np.full(kept.size, float(alpha)),
        m=kept,
        statistic=statistic.name,
        tau0_s=series.tau0_s,
        ci=ci,
        edf=nothing,
        skipped=(*skipped, *lost),
    )


def check_level(ci: float | None) -> None:
    """Refuse a level that is none."""
    if ci is not None and not (isinstance(ci, float) and 0.0 < ci < 1.0):
        raise StabilityMisuse(f"ci is a level between 0 and 1 (0.683 is one sigma), or None; not {ci!r}")
