"""Theo1, TheoBR and TheoH: stability up to three quarters of the record.

It does not know how terms are summed (`long_sums.py`), degrees of freedom (`degrees_long.py`) or biases
(`biases.py`).

Source: NIST SP 1065 (2008) sections 5.2.15 and 5.2.16; Howe, McGee-Taylor and Tasset 2006. Theo1 at even m >= 10
belongs to tau = 0.75 m tau0. TheoBR: Theo1 times the mean over i = 0 ... n of AVAR(9 + 3i)/Theo1(12 + 4i), as
variances, with n = floor(N/6 - 3). TheoH: OADEV up to a fifth of the record, TheoBR beyond.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from truechimer.stability import biases, degrees_long, degrees_published, long_sums, sums
from truechimer.stability.curve import Floats, Ints, Skipped, StabilityCurve, StabilityMisuse
from truechimer.stability.degrees import Degrees
from truechimer.stability.deviations import OADEV
from truechimer.stability.factors import Factors, chosen
from truechimer.stability.forms import Spread
from truechimer.stability.series import Series, make_series
from truechimer.stability.statistics import DEFAULT_CI, Statistic, Value, curve_of, root

LEAST = 10
THINNED = 64
"""Ratios that `approximation="thinned"` averages, evenly spread over all n + 1."""


def _theo1_at_all(series: Series, factors: list[int], spread: Spread) -> list[Value]:
    found = long_sums.theo1(series, factors, spread)
    return [root(each, 0.75, m * series.tau0_s) for m, each in zip(factors, found, strict=True)]


def _theo_octaves(most: int) -> Ints:
    return LEAST * np.left_shift(1, np.arange(max(int(most // LEAST).bit_length(), 1), dtype=np.int64))


def _published_theo(alpha: int, m: int, _terms: int, n_phases: int) -> Degrees:
    return degrees_published.of_theo1(alpha, m, n_phases)


def _theo_degrees(alpha: int, m: int, _terms: int, n_phases: int) -> Degrees:
    return degrees_long.of_theo1(alpha, m, n_phases)


THEO1 = Statistic(
    "theo1",
    all_at=_theo1_at_all,
    span=1,
    tau_factor=0.75,
    least=LEAST,
    even=True,
    octave=_theo_octaves,
    degrees=_theo_degrees,
    published=_published_theo,
    bias=biases.theo1_bias,
)


def theo1(
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
    """Return Theo1 (SP1065 5.2.15) at tau = 0.75 m tau0, m even from 10 to N - 1. Costs N^2, for all m too.

    `bias="sp1065"` makes it comparable with ADEV by the noise type; `theobr` does so by the data. Other
    arguments and errors as `adev`.
    """
    return curve_of(
        THEO1,
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


def theobr(
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
    approximation: str = "",
    spread: Spread | None = None,
) -> StabilityCurve:
    """Return TheoBR (SP1065 5.2.16), Theo1 with its bias against ADEV taken out by the data. Costs N^2.

    `approximation="thinned"` averages 64 of the ratios and says so. Other arguments as `theo1`.
    """
    series = make_series(x_s, tau0_s, data=data, detrend=detrend)
    ratio = _bias_ratio(series, approximation, spread)
    curve = curve_of(
        THEO1, series, tau0_s, m, ci=ci, alpha=alpha, noise_from=noise_from, edf_from=edf_from, spread=spread
    )
    return _scaled(curve, math.sqrt(ratio), "theobr", approximation)


def theoh(
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
    approximation: str = "",
    spread: Spread | None = None,
) -> StabilityCurve:
    """Return TheoH (SP1065 5.2.16): OADEV at tau = m tau0 up to a fifth of the record, TheoBR beyond it.

    `m` asks for tau = m tau0. Beyond the fifth Theo1's even factor nearest to m/0.75 is taken: the curve's `m` is then
    that factor, and `tau_s` is 0.75 times as many tau0. Arguments as `theobr`.
    """
    series = make_series(x_s, tau0_s, data=data, detrend=detrend)
    fifth = max((series.n_phases - 1) // 5, 1)
    longest = int(0.75 * (series.n_phases - 1))
    wanted, skipped = chosen(m, longest)
    short = wanted[wanted <= fifth]
    far = np.unique(2 * np.maximum(np.round(wanted[wanted > fifth] / 1.5).astype(np.int64), LEAST // 2))
    far = far[far < series.n_phases]
    near_curve = (
        curve_of(OADEV, series, tau0_s, short, ci=ci, alpha=alpha, noise_from=noise_from, edf_from=edf_from)
        if short.size
        else None
    )
    far_curve = None
    if far.size:
        ratio = _bias_ratio(series, approximation, spread)
        far_curve = curve_of(
            THEO1, series, tau0_s, far, ci=ci, alpha=alpha, noise_from=noise_from, edf_from=edf_from, spread=spread
        )
        far_curve = _scaled(far_curve, math.sqrt(ratio), "theoh", approximation)
    return _joined([each for each in (near_curve, far_curve) if each is not None], skipped, series.tau0_s, ci)


def _bias_ratio(series: Series, approximation: str, spread: Spread | None) -> float:
    """Return the mean of AVAR(9 + 3i)/Theo1(12 + 4i), variances, over i = 0 ... floor(N/6 - 3); NaN where none is."""
    if approximation not in {"", "thinned"}:
        raise StabilityMisuse(f"approximation is '' (exact) or 'thinned', not {approximation!r}")
    count = series.n_phases // 6 - 3 + 1
    if count < 1:
        return math.nan
    every = np.arange(count)
    if approximation and count > THINNED:
        every = np.unique(np.round(np.linspace(0, count - 1, THINNED)).astype(np.int64))
    theo = (
        _mean_squares(long_sums.theo1(series, (12 + 4 * every).tolist(), spread or map)) / 0.75 / (12 + 4 * every) ** 2
    )
    allan = np.empty(every.size)
    for i, m in enumerate((9 + 3 * every).tolist()):
        found = sums.second_differences(series, m, overlapping=True)
        allan[i] = found.total / found.terms / 2.0 / m**2 if found.terms else math.nan
    there = theo > 0.0
    ratios = allan[there] / theo[there]
    ratios = ratios[np.isfinite(ratios)]
    return float(np.mean(ratios)) if ratios.size else math.nan


def _mean_squares(found: list[sums.Sum]) -> Floats:
    return np.array([each.total / each.terms if each.terms else math.nan for each in found])


def _scaled(curve: StabilityCurve, factor: float, name: str, approximation: str) -> StabilityCurve:
    if math.isnan(factor):
        lost = tuple(Skipped(int(m), "too few points to take out the bias: 18 are needed") for m in curve.m)
        return _joined([], (*curve.skipped, *lost), curve.tau0_s, curve.ci, name=name)
    return StabilityCurve(
        tau_s=curve.tau_s,
        value=curve.value * factor,
        lower=curve.lower * factor,
        upper=curve.upper * factor,
        n=curve.n,
        noise=curve.noise,
        m=curve.m,
        statistic=name,
        tau0_s=curve.tau0_s,
        ci=curve.ci,
        edf=curve.edf,
        approximation=approximation,
        noise_from=curve.noise_from,
        edf_from=curve.edf_from,
        skipped=curve.skipped,
    )


def _joined(
    curves: list[StabilityCurve], skipped: tuple[Skipped, ...], tau0_s: float, ci: float | None, *, name: str = "theoh"
) -> StabilityCurve:
    def all_of(field: str) -> Floats:
        return np.concatenate([np.zeros(0), *(getattr(curve, field) for curve in curves)])

    def counts_of(field: str) -> Ints:
        return np.concatenate([np.zeros(0, dtype=np.int64), *(getattr(curve, field) for curve in curves)])

    return StabilityCurve(
        tau_s=all_of("tau_s"),
        value=all_of("value"),
        lower=all_of("lower"),
        upper=all_of("upper"),
        n=counts_of("n"),
        noise=all_of("noise"),
        m=counts_of("m"),
        statistic=name,
        tau0_s=tau0_s,
        ci=ci,
        edf=all_of("edf"),
        approximation=next((curve.approximation for curve in curves if curve.approximation), ""),
        noise_from=next((curve.noise_from for curve in curves), ""),
        edf_from=next((curve.edf_from for curve in curves), ""),
        skipped=(*skipped, *(each for curve in curves for each in curve.skipped)),
    )
