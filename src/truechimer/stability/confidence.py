"""The interval of every value: noise type, equivalent degrees of freedom, chi-square quantiles, bias on request.

It computes no statistic.

A variance estimate with edf degrees of freedom is taken as chi-square distributed: with probability ci the true
variance lies between edf s^2 / chi2((1 + ci)/2) and edf s^2 / chi2((1 - ci)/2); its skewness, where it is known, is
that of the estimate itself (`points`). The interval is of what the value
estimates: of the statistic's own expectation where no bias was taken out.

Source: NIST SP 1065 (2008) sections 5.3 to 5.5.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from truechimer.stability import noise_lag1
from truechimer.stability.chi_square import quantile, quantile_of_two
from truechimer.stability.curve import Floats, Ints
from truechimer.stability.degrees import Degrees
from truechimer.stability.noise_identification import identify
from truechimer.stability.series import Series

FEW = 3.0
LEAST = 0.03
"""A rest whose weights are smaller than this part of the largest is as good as a constant."""
DegreesOf = Callable[[int, int, int, int], Degrees]
"""Degrees from (alpha, m, terms, n_phases)."""

MANY = 160
"""More averaging factors than this get their degrees from neighbours: edf is smooth in m."""


def noise_of(
    series: Series, factors: Ints, *, alpha: float | None, averages_phase: bool, noise_from: str = "spectrum"
) -> Floats:
    """Return the noise type at each factor: the one that was named, or the one that the data show."""
    if alpha is not None:
        return np.full(factors.size, float(alpha))
    if noise_from == "lag1":
        return noise_lag1.identify(series, factors)
    return identify(series, factors, averages_phase=averages_phase)


@dataclass(frozen=True, slots=True)
class Limits:
    """By averaging factor: `edf`, and the squared value's `below` and `above` over its expectation: between them it
    lies with the probability of the interval.
    """

    edf: Floats
    below: Floats
    above: Floats


def limits_of(degrees: DegreesOf, factors: Ints, terms: Ints, *, noise: Floats, n_phases: int, ci: float) -> Limits:
    """Return edf and limits at each factor; NaN where the noise is unknown."""
    found = Limits(*(np.full(factors.size, np.nan) for _ in range(3)))
    for alpha in np.unique(noise[np.isfinite(noise)]):
        here = np.flatnonzero(noise == alpha)
        # Exponents between types take the nearest type; beyond -2 Allan's covariances do not exist.
        whole = int(np.clip(np.round(alpha), -2, 2))
        knots = here if here.size <= MANY else _knots(factors, here)
        each = [degrees(whole, int(factors[k]), int(terms[k]), n_phases) for k in knots]
        edf = np.array([one.edf for one in each])
        below, above = points(edf, np.array([one.third for one in each]), ci)
        for target, at in ((found.edf, edf), (found.below, below), (found.above, above)):
            if knots.size == here.size:
                target[here] = at
            else:
                target[here] = np.exp(np.interp(np.log(factors[here]), np.log(factors[knots]), np.log(at)))
    return found


def _knots(factors: Ints, here: Ints) -> Ints:
    """Return some of `here`: every small factor, then steps of 3 %, and the last ones."""
    size = factors[here]
    fine = size <= 48
    wanted = np.geomspace(48.0, float(size[-1]), 1 + int(np.log(max(size[-1] / 48.0, 1.0)) / 0.03))
    near = np.searchsorted(size, wanted).clip(0, size.size - 1)
    return np.asarray(here[np.unique(np.concatenate([np.flatnonzero(fine), near, [0, size.size - 1]]))])


def points(edf: Floats, third: Floats, ci: float) -> tuple[Floats, Floats]:
    """Return the two values between which the squared value over its expectation lies with probability `ci`.

    It is taken as shift + scale chi2(degrees), with the three first moments that edf and third say; for a plain
    chi-square the shift is 0. Below `FEW` degrees, where one slow term carries most of it, as that term's chi-square of
    one degree and another of the rest, with the same moments: a shift would leave too little near zero.
    """
    scale = third * edf
    degrees = 1.0 / (scale * scale * edf)
    shift = np.maximum(1.0 - scale * degrees, 0.0)
    largest, rest, of_rest = _two(edf, third)
    few = np.flatnonzero((edf < FEW) & (rest > LEAST * largest) & (rest <= largest))
    found = []
    for p in (0.5 * (1.0 - ci), 0.5 * (1.0 + ci)):
        at = shift + scale * quantile(p, degrees)
        if few.size:
            at[few] = quantile_of_two(p, largest[few], rest[few], of_rest[few], at[few])
        found.append(at)
    return found[0], found[1]


def _two(edf: Floats, third: Floats) -> tuple[Floats, Floats, Floats]:
    """Return `largest`, `rest` and `degrees` of largest chi2(1) + rest chi2(degrees) with mean 1 and these moments.

    With second moment 1/edf: rest = (1/edf - largest^2)/(1 - largest), and the third moment leaves one equation for
    `largest`, between third edf (the mean of the weights, weighed with their squares) and 1/sqrt(edf).
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        second = 1.0 / edf
        low, high = third * edf, np.sqrt(second)
        for _ in range(60):
            middle = 0.5 * (low + high)
            above = (third - middle**3) * (1.0 - middle) > (second - middle**2) ** 2
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        largest = 0.5 * (low + high)
        rest = (second - largest**2) / (1.0 - largest)
        return largest, rest, (1.0 - largest) / rest


def interval(value: Floats, edf: Floats, third: Floats, ci: float) -> tuple[Floats, Floats]:
    """Return the lower and upper limit of a deviation at level `ci`; NaN where the value is 0 or edf unknown."""
    return of_points(value, *points(edf, third, ci))


def of_points(value: Floats, below: Floats, above: Floats) -> tuple[Floats, Floats]:
    """Return the limits of a deviation from those of `points`; NaN where the value is 0."""
    usable = np.where(value > 0.0, value, np.nan)
    return usable / np.sqrt(above), usable / np.sqrt(below)
