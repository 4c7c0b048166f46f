"""Allan, modified Allan, time and Hadamard deviations.

It does not know how terms are summed (`sums.py`) nor what an interval is (`confidence.py`).

Source: NIST SP 1065 (2008), eq. 7-12 and 14-22; IEEE Std 1139-2022. With x(i) the phase, tau = m tau0, N phases:
ADEV^2 = <[x(i+2m) - 2 x(i+m) + x(i)]^2> / (2 tau^2), over i = 0, m, 2m ... ; OADEV over every i;
MDEV^2 = <[sum over k < m of that / m]^2> / (2 tau^2); TDEV = tau MDEV / sqrt(3);
HDEV^2 = <[x(i+3m) - 3 x(i+2m) + 3 x(i+m) - x(i)]^2> / (6 tau^2), over i = 0, m, 2m ... ; OHDEV over every i.
"""

from numpy.typing import ArrayLike

from truechimer.stability import degrees, degrees_published, sums
from truechimer.stability.curve import StabilityCurve
from truechimer.stability.degrees import Degrees
from truechimer.stability.factors import Factors
from truechimer.stability.forms import Spread
from truechimer.stability.series import Series
from truechimer.stability.statistics import DEFAULT_CI, Statistic, Value, curve_of, root


def _adev_at(series: Series, m: int) -> Value:
    return root(sums.second_differences(series, m, overlapping=False), 2.0, m * series.tau0_s)


def _oadev_at(series: Series, m: int) -> Value:
    return root(sums.second_differences(series, m, overlapping=True), 2.0, m * series.tau0_s)


def _hdev_at(series: Series, m: int) -> Value:
    return root(sums.third_differences(series, m, overlapping=False), 6.0, m * series.tau0_s)


def _ohdev_at(series: Series, m: int) -> Value:
    return root(sums.third_differences(series, m, overlapping=True), 6.0, m * series.tau0_s)


def _mdev_at_all(series: Series, factors: list[int], spread: Spread) -> list[Value]:
    found = sums.WindowSums(series).at_all(factors, spread)
    return [root(each, 2.0, m * (m * series.tau0_s)) for m, each in zip(factors, found, strict=True)]


def _tdev_at_all(series: Series, factors: list[int], spread: Spread) -> list[Value]:
    found = sums.WindowSums(series).at_all(factors, spread)
    return [root(each, 6.0, float(m)) for m, each in zip(factors, found, strict=True)]


def _allan_degrees(alpha: int, m: int, terms: int, _n_phases: int) -> Degrees:
    return degrees.of_differences(alpha, 2, m, terms, overlapping=True)


def _allan_degrees_apart(alpha: int, m: int, terms: int, _n_phases: int) -> Degrees:
    return degrees.of_differences(alpha, 2, m, terms, overlapping=False)


def _hadamard_degrees(alpha: int, m: int, terms: int, _n_phases: int) -> Degrees:
    return degrees.of_differences(alpha, 3, m, terms, overlapping=True)


def _hadamard_degrees_apart(alpha: int, m: int, terms: int, _n_phases: int) -> Degrees:
    return degrees.of_differences(alpha, 3, m, terms, overlapping=False)


def _modified_degrees(alpha: int, m: int, terms: int, _n_phases: int) -> Degrees:
    return degrees.of_window_means(alpha, 2, m, terms)


def _published_allan(alpha: int, m: int, terms: int, _n_phases: int) -> Degrees:
    return degrees_published.of_finite_differences(alpha, 2, m, terms, overlapping=True)


def _published_allan_apart(alpha: int, m: int, terms: int, _n_phases: int) -> Degrees:
    return degrees_published.of_finite_differences(alpha, 2, m, terms, overlapping=False)


def _published_hadamard(alpha: int, m: int, terms: int, _n_phases: int) -> Degrees:
    return degrees_published.of_finite_differences(alpha, 3, m, terms, overlapping=True)


def _published_hadamard_apart(alpha: int, m: int, terms: int, _n_phases: int) -> Degrees:
    return degrees_published.of_finite_differences(alpha, 3, m, terms, overlapping=False)


def _published_modified(alpha: int, m: int, terms: int, _n_phases: int) -> Degrees:
    return degrees_published.of_modified_differences(alpha, 2, m, terms)


ADEV = Statistic("adev", _adev_at, span=2, degrees=_allan_degrees_apart, published=_published_allan_apart)
OADEV = Statistic("oadev", _oadev_at, span=2, degrees=_allan_degrees, published=_published_allan)
MDEV = Statistic(
    "mdev",
    all_at=_mdev_at_all,
    span=3,
    spare=1,
    degrees=_modified_degrees,
    published=_published_modified,
    averages_phase=True,
)
TDEV = Statistic(
    "tdev",
    all_at=_tdev_at_all,
    span=3,
    spare=1,
    degrees=_modified_degrees,
    published=_published_modified,
    averages_phase=True,
)
HDEV = Statistic(
    "hdev", _hdev_at, span=3, degrees=_hadamard_degrees_apart, published=_published_hadamard_apart, blind_to_drift=True
)
OHDEV = Statistic(
    "ohdev", _ohdev_at, span=3, degrees=_hadamard_degrees, published=_published_hadamard, blind_to_drift=True
)


def adev(
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
    """Return the Allan deviation from non-overlapping terms (SP1065 eq. 8); `oadev` uses the data better.

    `x_s` (n,): phases in seconds, or with `data="frequency"` fractional frequencies averaged over tau0_s; NaN marks a
    missing value, and a term counts if every phase in it is there. `tau0_s`: their spacing. `m`: averaging factors,
    None for octaves, `"decade"`, `"all"`. `ci`: the level of the interval, None for values alone. `alpha`: the noise
    type of the interval, None to identify it at each tau, by `noise_from`: `spectrum` (Whittle's likelihood) or `lag1`
    (the lag-1 autocorrelation). `edf_from`: `exact` degrees of freedom with their skewness, or `sp1065`, those that the
    handbook and Stable32 have. `detrend`: `none`, `offset`, `linear` or `quadratic` of the
    phase. `spread`: how the work is done, on one processor (None) or on several, with the `map` of a pool of threads,
    to the same last bit. Raises `SeriesRejected` for data that cannot be used and `StabilityMisuse` for a wrong call.
    """
    return curve_of(
        ADEV,
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


def oadev(
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
    """Return the Allan deviation from overlapping terms (SP1065 eq. 11). Arguments and errors as `adev`."""
    return curve_of(
        OADEV,
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


def mdev(
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
    """Return the modified Allan deviation (SP1065 eq. 15), which tells white from flicker PM.

    With gaps only windows of 3m present phases count: an average over fewer points would be too large for white PM.
    Arguments and errors as `adev`.
    """
    return curve_of(
        MDEV,
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


def tdev(
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
    """Return the time deviation, tau MDEV / sqrt(3), in seconds (SP1065 eq. 16). Arguments and errors as `mdev`."""
    return curve_of(
        TDEV,
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


def hdev(
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
    """Return the Hadamard deviation from non-overlapping terms (SP1065 eq. 18): blind to linear frequency drift.

    Arguments and errors as `adev`.
    """
    return curve_of(
        HDEV,
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


def ohdev(
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
    """Return the Hadamard deviation from overlapping terms (SP1065 eq. 22). Arguments and errors as `adev`."""
    return curve_of(
        OHDEV,
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
