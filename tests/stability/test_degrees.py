"""Degrees of freedom, skewness and intervals against the exact law of the squared values (`forms.py`)."""

import numpy as np
import pytest
from scipy.stats import chi2

from truechimer.stability import chi_square
from truechimer.stability.catalogue import STATISTICS
from truechimer.stability.confidence import interval, points
from truechimer.stability.degrees import Degrees

from . import forms, literal

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
