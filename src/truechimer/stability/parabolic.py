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
from truechimer.stability.series import Series
from truechimer.stability.statistics import DEFAULT_CI, Statistic, Value, curve_of, root


def _pdev_at(series: Series, m: int) -> Value:
    if m == 1:
        return root(sums.second_differences(series, 1, overlapping=True), 2.0, series.tau0_s)
    return root(long_sums.parabolic(series, m), 1.0 / 72.0, float(m) * m * (m * series.tau0_s))


def _pdev_degrees(alpha: int, m: int, terms: int, _n_phases: int) -> Degrees:
    return degrees.of_parabola(alpha, m, terms)


PDEV = Statistic("pdev", _pdev_at, span=2, degrees=_pdev_degrees, averages_phase=True)


def pdev(
    x_s: ArrayLike,
    tau0_s: float,
    m: Factors = None,
    *,
    data: str = "phase",
    ci: float | None = DEFAULT_CI,
    alpha: float | None = None,
    detrend: str = "none",
) -> StabilityCurve:
    """Return the parabolic deviation: the best at telling apart noise types at short tau. Arguments as `adev`."""
    return curve_of(PDEV, x_s, tau0_s, m, data=data, ci=ci, alpha=alpha, detrend=detrend)
