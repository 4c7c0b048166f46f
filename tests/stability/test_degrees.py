"""Degrees of freedom, skewness and intervals against the exact law of the squared values (`forms.py`)."""

import numpy as np
import pytest
from scipy.stats import chi2

from truechimer import stability
from truechimer.stability import chi_square, noise_lag1
from truechimer.stability.catalogue import STATISTICS
from truechimer.stability.confidence import interval, points
from truechimer.stability.degrees import Degrees
from truechimer.stability.series import make_series

from . import forms, literal
from .records import power_law

ALPHAS = (2, 1, 0, -1, -2)
SIMPLE = ("adev", "oadev", "mdev", "hdev", "ohdev", "pdev")
LONG = ("totdev", "mtotdev", "htotdev", "theo1")


def stated(name: str, alpha: int, m: int, n: int) -> Degrees:
    curve_terms = {"adev": (n - 1) // m - 1, "hdev": (n - 1) // m - 2, "mdev": n - 3 * m + 1, "ohdev": n - 3 * m}
    return STATISTICS[name].degrees(alpha, m, curve_terms.get(name, n - 2 * m), n)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("name", SIMPLE)
def test_degrees_of_plain_statistics_are_those_of_their_form(name: str, alpha: int) -> None:
    for m, n in ((1, 60), (3, 121), (20, 130), (42, 130)):
        edf, skew = forms.edf_and_skew(forms.weights(name, alpha, m, n))
        found = stated(name, alpha, m, n)
        assert found.edf == pytest.approx(edf, rel=0.02), (m, n)
        if edf < 50.0:
            assert found.third * found.edf**2 == pytest.approx(skew, rel=0.12), (m, n)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("name", LONG)
def test_degrees_of_long_statistics_are_those_of_their_form(name: str, alpha: int) -> None:
    for m, n in ((12, 130), (30, 121), (40, 130)):
        edf, skew = forms.edf_and_skew(forms.weights(name, alpha, m, n))
        found = stated(name, alpha, m, n)
        assert found.edf == pytest.approx(edf, rel=0.03), (m, n)
        assert found.third * found.edf**2 == pytest.approx(skew, rel=0.12), (m, n)


@pytest.mark.parametrize("name", [*SIMPLE, *LONG])
def test_a_form_gives_the_literal_value(name: str) -> None:
    x = np.cumsum(np.random.default_rng(1).standard_normal(60))
    parts = [float(x @ forms.form(name, m, 60) @ x) / float(getattr(literal, name)(x, m)) ** 2 for m in (10, 12)]
    other = np.random.default_rng(2).standard_normal(60)
    for part, m in zip(parts, (10, 12), strict=True):
        again = float(other @ forms.form(name, m, 60) @ other) / float(getattr(literal, name)(other, m)) ** 2
        assert again == pytest.approx(part, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("name", [*SIMPLE, *LONG])
def test_the_interval_of_a_known_noise_holds_the_truth_as_often_as_it_says(name: str, alpha: int) -> None:
    for m in (14, 50):
        weights = forms.weights(name, alpha, m, 200)
        found = stated(name, alpha, m, 200)
        below, above = points(np.array([found.edf]), np.array([found.third]), 0.683)
        rate = forms.probability_below(weights, above[0]) - forms.probability_below(weights, below[0])
        assert 0.675 <= rate <= 0.71, (m, rate)


@pytest.mark.parametrize("p", [0.005, 0.025, 0.1585, 0.5, 0.8415, 0.975, 0.995])
def test_quantiles_of_a_sum_of_two_are_right(p: float) -> None:
    large, small, degrees = np.array([0.8, 0.6, 0.9]), np.array([0.1, 0.4, 0.03]), np.array([2.0, 1.0, 10 / 3])
    start = np.ones(3)
    found = chi_square.quantile_of_two(p, large, small, degrees, start)
    for k in range(2):
        weights = np.array([large[k], *[small[k]] * int(degrees[k])])
        assert forms.probability_below(weights, found[k]) == pytest.approx(p, abs=2e-6)
    equal = np.array([0.5])
    assert chi_square.quantile_of_two(p, equal, equal, np.array([1.0]), start[:1])[0] == pytest.approx(
        0.5 * chi2.ppf(p, 2), rel=1e-9
    )


def test_of_a_plain_chi_square_the_points_are_its_quantiles() -> None:
    edf = np.array([1.0, 2.5, 7.0, 300.0])
    below, above = points(edf, edf**-2.0, 0.9)
    assert below == pytest.approx(chi2.ppf(0.05, edf) / edf, rel=1e-8)
    assert above == pytest.approx(chi2.ppf(0.95, edf) / edf, rel=1e-8)


def test_of_a_value_of_zero_and_of_unknown_degrees_there_is_no_interval() -> None:
    lower, upper = interval(np.array([0.0, 1.0]), np.array([5.0, np.nan]), np.array([0.04, np.nan]), 0.683)
    assert np.isnan([*lower, *upper]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["adev", "oadev", "mdev", "ohdev", "pdev", "totdev", "mtotdev", "htotdev", "theo1", "theoh"]
)
def test_an_interval_holds_its_value_whatever_is_asked_for(name: str) -> None:
    rng = np.random.default_rng(3)
    for n in (8, 12, 20, 31):
        x = np.cumsum(rng.standard_normal(n))
        for alpha in (2, 1, 0.5, 0, -1, -2, -3, None):
            for edf_from in ("exact", "sp1065"):
                for ci in (0.683, 0.999):
                    curve = getattr(stability, name)(x, 1.0, "all", alpha=alpha, edf_from=edf_from, ci=ci)
                    known = np.isfinite(curve.noise)
                    assert np.all(np.isfinite(curve.upper[known]))
                    assert np.all(curve.lower[known] < curve.value[known])
                    assert np.all(curve.value[known] < curve.upper[known])


def test_the_result_says_where_noise_and_degrees_come_from() -> None:
    x = np.cumsum(np.random.default_rng(1).standard_normal(400))
    lag1 = stability.oadev(x, 1.0, [1, 100], noise_from="lag1", edf_from="sp1065")
    assert (lag1.noise_from, lag1.edf_from) == ("lag1", "sp1065")
    assert lag1.noise[0] == 0.0
    assert lag1.as_json()["noise_from"] == "lag1"
    plain = stability.oadev(x, 1.0, [1])
    assert (plain.noise_from, plain.edf_from) == ("spectrum", "exact")
    assert stability.pdev(x, 1.0, [2], edf_from="sp1065").edf_from == "exact"  # the handbook has no PDEV
    assert (stability.mtie(x, 1.0, [2]).noise_from, stability.mtie(x, 1.0, [2]).edf_from) == ("", "")
    for wrong in ({"noise_from": "ear"}, {"edf_from": "stable32"}):
        with pytest.raises(stability.StabilityMisuse, match="is one of"):
            stability.oadev(x, 1.0, **wrong)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_lag_1_autocorrelation_names_the_noise_at_the_shortest_time(alpha: int) -> None:
    rng = np.random.default_rng(20 + alpha)
    series = [make_series(power_law(alpha, 1000, rng), 1.0) for _ in range(60)]
    right = np.mean([noise_lag1.identify(each, np.array([1])) == alpha for each in series])
    assert right >= 0.95


def test_the_ratio_b1_is_that_of_the_handbook() -> None:
    """NIST SP 1065 section 5.5.3: N/2 for random-walk FM, 1 for white FM, (N + 1)/(1.5 N) for PM."""
    for n in (5, 20):
        assert noise_lag1.b1(n, 1) == pytest.approx(n / 2)
        assert noise_lag1.b1(n, -1) == pytest.approx(1.0)
        assert noise_lag1.b1(n, -2) == pytest.approx((n + 1) / (1.5 * n))
        assert noise_lag1.b1(n, 0) == pytest.approx(n * np.log(n) / (2 * (n - 1) * np.log(2)))
