"""Total deviations: total, modified total, time total and Hadamard total.

It does not know how terms are summed (`long_sums.py`), degrees of freedom (`degrees_long.py`) or biases (`biases.py`).

Source: NIST SP 1065 (2008) sections 5.2.11 to 5.2.14. TOTDEV: OADEV's terms about every inner point, the record
reflected about its end points. MTOTDEV: every window of 3m phases, its slope by half averages taken out, reflected
evenly to 9m; the mean of its 6m squared modified terms. TTOTDEV = tau MTOTDEV / sqrt(3). HTOTDEV: the same of
frequencies with Hadamard's terms, and at m = 1 OHDEV.
"""

from numpy.typing import ArrayLike

from truechimer.stability import biases, degrees_long, degrees_published, long_sums, sums
from truechimer.stability.curve import StabilityCurve
from truechimer.stability.degrees import Degrees
from truechimer.stability.factors import Factors
from truechimer.stability.forms import Spread
from truechimer.stability.series import Series
from truechimer.stability.statistics import DEFAULT_CI, Statistic, Value, curve_of, root


def _totdev_at(series: Series, m: int) -> Value:
    return root(sums.reflected(series, m), 2.0, m * series.tau0_s)


def _mtotdev_at_all(series: Series, factors: list[int], spread: Spread) -> list[Value]:
    found = long_sums.total_of_phase(series, factors, spread)
    return [root(each, 12.0 * m, m * (m * series.tau0_s)) for m, each in zip(factors, found, strict=True)]


def _ttotdev_at_all(series: Series, factors: list[int], spread: Spread) -> list[Value]:
    found = long_sums.total_of_phase(series, factors, spread)
    return [root(each, 36.0 * m, float(m)) for m, each in zip(factors, found, strict=True)]


def _htotdev_at_all(series: Series, factors: list[int], spread: Spread) -> list[Value]:
    found = long_sums.total_of_frequency(series, factors, spread)
    values = [root(each, 36.0 * m, float(m)) for m, each in zip(factors, found, strict=True)]
    if 1 in factors:
        shortest = sums.third_differences(series, 1, overlapping=True)
        values[factors.index(1)] = root(shortest, 6.0, series.tau0_s)
    return values


def _published_tot(alpha: int, m: int, _terms: int, n_phases: int) -> Degrees:
    return degrees_published.of_totdev(alpha, m, n_phases)


def _tot_degrees(alpha: int, m: int, _terms: int, n_phases: int) -> Degrees:
    return degrees_long.of_totdev(alpha, m, n_phases)


def _published_mtot(alpha: int, m: int, _terms: int, n_phases: int) -> Degrees:
    return degrees_published.of_mtotdev(alpha, m, n_phases)


def _mtot_degrees(alpha: int, m: int, _terms: int, n_phases: int) -> Degrees:
    return degrees_long.of_mtotdev(alpha, m, n_phases)


def _published_htot(alpha: int, m: int, _terms: int, n_phases: int) -> Degrees:
    return degrees_published.of_htotdev(alpha, m, n_phases)


def _htot_degrees(alpha: int, m: int, _terms: int, n_phases: int) -> Degrees:
    return degrees_long.of_htotdev(alpha, m, n_phases)


TOTDEV = Statistic(
    "totdev", _totdev_at, span=1, degrees=_tot_degrees, published=_published_tot, bias=biases.totdev_bias
)
MTOTDEV = Statistic(
    "mtotdev",
    all_at=_mtotdev_at_all,
    span=3,
    spare=1,
    degrees=_mtot_degrees,
    published=_published_mtot,
    averages_phase=True,
    bias=biases.mtotdev_bias,
)
TTOTDEV = Statistic(
    "ttotdev",
    all_at=_ttotdev_at_all,
    span=3,
    spare=1,
    degrees=_mtot_degrees,
    published=_published_mtot,
    averages_phase=True,
    bias=biases.mtotdev_bias,
)
HTOTDEV = Statistic(
    "htotdev",
    all_at=_htotdev_at_all,
    span=3,
    degrees=_htot_degrees,
    published=_published_htot,
    bias=biases.htotdev_bias,
    blind_to_drift=True,
)


def totdev(
    x_s: ArrayLike,
    tau0_s: float,
    m: Factors = None,
    *,
    data: str = "phase",
    ci: float | None = DEFAULT_CI,
    alpha: float | None = None,
    noise_from: str = "spectrum",
    edf_from: str = "exact",
    bias: str = "none",
    detrend: str = "none",
    spread: Spread | None = None,
) -> StabilityCurve:
    """Return the total deviation (SP1065 5.2.11): ADEV with more confidence at long tau, up to m = N - 1.

    `bias="sp1065"` takes out 1 - a tau/T of flicker and random-walk FM. Other arguments and errors as `adev`.
    """
    return curve_of(
        TOTDEV,
        x_s,
        tau0_s,
        m,
        data=data,
        ci=ci,
        alpha=alpha,
        noise_from=noise_from,
        edf_from=edf_from,
        bias=bias,
        detrend=detrend,
        spread=spread,
    )


def mtotdev(
    x_s: ArrayLike,
    tau0_s: float,
    m: Factors = None,
    *,
    data: str = "phase",
    ci: float | None = DEFAULT_CI,
    alpha: float | None = None,
    noise_from: str = "spectrum",
    edf_from: str = "exact",
    bias: str = "none",
    detrend: str = "none",
    spread: Spread | None = None,
) -> StabilityCurve:
    """Return the modified total deviation (SP1065 5.2.12): MDEV with more confidence at long tau. Costs N^2.

    Its expectation is below MDEV's; `bias="sp1065"` divides by the ratio of the noise type. Other arguments and errors
    as `adev`.
    """
    return curve_of(
        MTOTDEV,
        x_s,
        tau0_s,
        m,
        data=data,
        ci=ci,
        alpha=alpha,
        noise_from=noise_from,
        edf_from=edf_from,
        bias=bias,
        detrend=detrend,
        spread=spread,
    )


def ttotdev(
    x_s: ArrayLike,
    tau0_s: float,
    m: Factors = None,
    *,
    data: str = "phase",
    ci: float | None = DEFAULT_CI,
    alpha: float | None = None,
    noise_from: str = "spectrum",
    edf_from: str = "exact",
    bias: str = "none",
    detrend: str = "none",
    spread: Spread | None = None,
) -> StabilityCurve:
    """Return the time total deviation, tau MTOTDEV / sqrt(3), in seconds (SP1065 5.2.13). Arguments as `mtotdev`."""
    return curve_of(
        TTOTDEV,
        x_s,
        tau0_s,
        m,
        data=data,
        ci=ci,
        alpha=alpha,
        noise_from=noise_from,
        edf_from=edf_from,
        bias=bias,
        detrend=detrend,
        spread=spread,
    )


def htotdev(
    x_s: ArrayLike,
    tau0_s: float,
    m: Factors = None,
    *,
    data: str = "phase",
    ci: float | None = DEFAULT_CI,
    alpha: float | None = None,
    noise_from: str = "spectrum",
    edf_from: str = "exact",
    bias: str = "none",
    detrend: str = "none",
    spread: Spread | None = None,
) -> StabilityCurve:
    """Return the Hadamard total deviation (SP1065 5.2.14): OHDEV with more confidence at long tau. Costs N^2.

    Arguments as `mtotdev`.
    """
    return curve_of(
        HTOTDEV,
        x_s,
        tau0_s,
        m,
        data=data,
        ci=ci,
        alpha=alpha,
        noise_from=noise_from,
        edf_from=edf_from,
        bias=bias,
        detrend=detrend,
        spread=spread,
    )
