"""Parabolic deviation: the Allan variance of frequencies that are least-squares slopes of phase.

It does not know how terms are summed (`long_sums.py`).

Source: Vernotte, Lenczner, Bourgeois and Rubiola, "The parabolic variance (PVAR)", IEEE TUFFC 63 (2016) eq. 14, with
the N - 2m terms of Vernotte et al. 2020: PDEV^2 = 72/(m^4 tau^2) <[sum over k < m of ((m-1)/2 - k)(x(i+k) -
x(i+k+m))]^2>. At m = 1, where a slope needs two points, it is the overlapping Allan deviation.
"""

from numpy.typing import ArrayLike

from truechimer.stability import degrees, long_sums, sums
from truechimer.stability.curve import StabilityCurve
from truechimer.stability.degrees import Degrees
from truechimer.stability.factors import Factors
from truechimer.stability.forms import Spread
from truechimer.stability.series import Series
from truechimer.stability.statistics import DEFAULT_CI, Statistic, Value, curve_of, root


def _pdev_at_all(series: Series, factors: list[int], spread: Spread) -> list[Value]:
    found = long_sums.parabolic(series, factors, spread)
    values = [
        root(each, 1.0 / 72.0, float(m) * m * (m * series.tau0_s)) for m, each in zip(factors, found, strict=True)
    ]
    if 1 in factors:
        shortest = sums.second_differences(series, 1, overlapping=True)
        values[factors.index(1)] = root(shortest, 2.0, series.tau0_s)
    return values


def _pdev_degrees(alpha: int, m: int, terms: int, _n_phases: int) -> Degrees:
    return degrees.of_parabola(alpha, m, terms)


PDEV = Statistic("pdev", all_at=_pdev_at_all, span=2, degrees=_pdev_degrees, averages_phase=True)


def pdev(
    x_s: ArrayLike,
    tau0_s: float,
    m: Factors = None,
    *,
    data: str = "phase",
    ci: float | None = DEFAULT_CI,
    alpha: float | None = None,
    noise_from: str = "spectrum",
    edf_from: str = "exact",
    detrend: str = "none",
    spread: Spread | None = None,
) -> StabilityCurve:
    """Return the parabolic deviation: the best at telling apart noise types at short tau. Arguments as `adev`."""
    return curve_of(
        PDEV,
        x_s,
        tau0_s,
        m,
        data=data,
        ci=ci,
        alpha=alpha,
        noise_from=noise_from,
        edf_from=edf_from,
        detrend=detrend,
        spread=spread,
    )
