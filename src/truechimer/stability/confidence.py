"""The interval of every value: noise type, equivalent degrees of freedom, chi-square quantiles, bias on request.

It computes no statistic.

A variance estimate with edf degrees of freedom is taken as chi-square distributed: with probability ci the true
variance lies between edf s^2 / chi2((1 + ci)/2) and edf s^2 / chi2((1 - ci)/2). The interval is of what the value
estimates: of the statistic's own expectation where no bias was taken out.

Source: NIST SP 1065 (2008) sections 5.3 to 5.5.
"""

from collections.abc import Callable

import numpy as np

from truechimer.stability.chi_square import quantile
from truechimer.stability.curve import Floats, Ints
from truechimer.stability.degrees import Degrees
from truechimer.stability.noise_identification import identify
from truechimer.stability.series import Series

DegreesOf = Callable[[int, int, int, int], Degrees]
"""Degrees from (alpha, m, terms, n_phases)."""

MANY = 160
"""More averaging factors than this get their degrees from neighbours: edf is smooth in m."""


def noise_of(series: Series, factors: Ints, *, alpha: float | None, averages_phase: bool) -> Floats:
    """Return the noise type at each factor: the one that was named, or the one that the data show."""
    if alpha is not None:
        return np.full(factors.size, float(alpha))
    return identify(series, factors, averages_phase=averages_phase)


def degrees_of(degrees: DegreesOf, factors: Ints, terms: Ints, noise: Floats, n_phases: int) -> tuple[Floats, Floats]:
    """Return edf and third (see `degrees.Degrees`) at each factor; NaN where the noise is unknown."""
    edf, third = np.full(factors.size, np.nan), np.full(factors.size, np.nan)
    for alpha in np.unique(noise[np.isfinite(noise)]):
        here = np.flatnonzero(noise == alpha)
        # Exponents between types take the nearest type; beyond -2 Allan's covariances do not exist.
        whole = int(np.clip(np.round(alpha), -2, 2))
        knots = here if here.size <= MANY else _knots(factors, here)
        found = [degrees(whole, int(factors[k]), int(terms[k]), n_phases) for k in knots]
        for target, at in ((edf, [each.edf for each in found]), (third, [each.third for each in found])):
            if knots.size == here.size:
                target[here] = at
            else:
                target[here] = np.exp(np.interp(np.log(factors[here]), np.log(factors[knots]), np.log(at)))
    return edf, third


def _knots(factors: Ints, here: Ints) -> Ints:
    """Return some of `here`: every small factor, then steps of 3 %, and the last ones."""
    size = factors[here]
    fine = size <= 48
    wanted = np.geomspace(48.0, float(size[-1]), 1 + int(np.log(max(size[-1] / 48.0, 1.0)) / 0.03))
    near = np.searchsorted(size, wanted).clip(0, size.size - 1)
    return np.asarray(here[np.unique(np.concatenate([np.flatnonzero(fine), near, [0, size.size - 1]]))])


def interval(value: Floats, edf: Floats, third: Floats, ci: float) -> tuple[Floats, Floats]:
    """Return the lower and upper limit of a deviation at level `ci`; NaN where the value is 0 or edf unknown.

    The squared value over its expectation is taken as shift + scale chi2(degrees), with the three first moments that
    edf and third say; for a plain chi-square the shift is 0.
    """
    usable = (value > 0.0) & np.isfinite(edf)
    scale = np.where(usable, third * edf, np.nan)
    degrees = np.where(usable, 1.0 / (scale * scale * edf), np.nan)
    shift = np.maximum(1.0 - scale * degrees, 0.0)
    upper_point = shift + scale * quantile(0.5 * (1.0 + ci), degrees)
    lower_point = shift + scale * quantile(0.5 * (1.0 - ci), degrees)
    return value / np.sqrt(upper_point), value / np.sqrt(lower_point)
