"""The five noises of the power-law model: covariance of sampled phase, and spectrum of its first differences.

It fits nothing. Each noise stands at its unit level on a grid of spacing 1: white PM of rms 1, flicker PM of TDEV 1,
white, flicker and random-walk FM of ADEV 1 at one spacing. A record of spacing tau0, divided by tau0, is the sum of
the five, each times its variance in these units (`level_of` leads back to the contract's names).

Frequency noises are those of a continuous oscillator whose phase is read at instants. Flicker PM has no value without a
bandwidth: here its band ends where phase read once a spacing has its TDEV there equal to the floor, as in
`sim.pole_ladder` at 1 s. Other conventions (fractional integration; a band that ends higher) differ from these by some
white PM or white FM, and always by more of it, never less: `MAY_BE_SAMPLING`.

Source: generalised autocovariances s(l) as in NIST SP 1065 section 5.4 (Greenhall's way); IEEE Std 1139-2022 for the
levels; Kasdin and Walter 1992 for fractional integration.
"""

import math

import numpy as np

from truechimer.stability.curve import Floats

NAMES = ("white_pm_s", "flicker_pm_s", "white_fm_1s", "flicker_fm", "random_walk_fm_1s")
"""The contract's names, in the order of every array of five here."""

WHITE_PM, FLICKER_PM, WHITE_FM, FLICKER_FM, RANDOM_WALK_FM = range(5)

MAY_BE_SAMPLING = ((WHITE_PM, FLICKER_PM, 0.75), (WHITE_FM, FLICKER_FM, 0.5), (WHITE_FM, RANDOM_WALK_FM, 0.5))
"""(this noise, beside that one, part): so much of this noise's variance, per variance of that one, may be nothing but
another convention of sampling. A double sum of white noise is random-walk FM with exactly 1/2 of white FM; the others
are a little more than the largest differences to fractional integration, which are at half the sampling rate.
"""

_PART = 2.0 / math.log(256.0 / 27.0) * math.log(10.0) / 3.0
_RATES = 10.0 ** (-np.arange(31) / 3.0)
_WEIGHTS = np.concatenate([[1.7], np.ones(30)]) * _PART
_NEAR = 256
_FLICKER_FM = 1.0 / (2.0 * math.log(2.0))


def level_of(variances: Floats, tau0_s: float) -> Floats:
    """Return the contract's levels (n, 5) from variances (n, 5) in units of tau0: s, s, 1, 1, 1."""
    units = np.array([tau0_s, tau0_s, math.sqrt(tau0_s), 1.0, 1.0 / math.sqrt(tau0_s)])
    return np.asarray(np.sqrt(variances) * units)


def variance_of(levels: Floats, tau0_s: float) -> Floats:
    """Return variances in units of tau0 (..., 5) from the contract's levels: the inverse of `level_of`."""
    units = np.array([tau0_s, tau0_s, math.sqrt(tau0_s), 1.0, 1.0 / math.sqrt(tau0_s)])
    return np.asarray((levels / units) ** 2)


def autocovariance(kind: int, lags: Floats) -> Floats:
    """Return s(l) of the phase at `lags` in spacings, up to a polynomial of degree 1 (3 for random-walk FM)."""
    size = np.abs(np.asarray(lags, dtype=np.float64))
    if kind == WHITE_PM:
        return np.asarray(np.where(size < 0.5, 1.0, 0.0))
    if kind == FLICKER_PM:
        return _flicker_phase(size)
    if kind == WHITE_FM:
        return -0.5 * size
    if kind == FLICKER_FM:
        return np.asarray(0.5 * _FLICKER_FM * size * size * np.log(np.where(size > 0.0, size, 1.0)))
    return np.asarray(0.25 * size * size * size)


def _flicker_phase(size: Floats) -> Floats:
    """Poles of rates 1, 10^(-1/3), .. per spacing; far away their sum is a logarithm, to 1e-5."""
    near = np.zeros(_NEAR + 1)
    at = np.arange(_NEAR + 1.0)
    for weight, rate in zip(_WEIGHTS, _RATES, strict=True):
        near += weight * np.expm1(-at * rate)
    slope = _PART * 3.0 / math.log(10.0)
    far = near[_NEAR] - slope * np.log(np.maximum(size, 1.0) / _NEAR)
    return np.asarray(np.where(size <= _NEAR, np.interp(size, at, near), far))


def frequency_spectra(f: Floats) -> Floats:
    """Return the one-sided densities of first differences of sampled phase, shape (5, n), at 0 < f <= 1/2 a spacing."""
    sine = np.sin(np.pi * f)
    gain = 4.0 * sine * sine
    flicker_phase = np.zeros_like(f)
    for weight, rate in zip(_WEIGHTS, _RATES, strict=True):
        half = 2.0 * math.sinh(0.5 * rate) ** 2  # cosh(rate) - 1, without cancelling
        flicker_phase += 2.0 * weight * math.sinh(rate) / (half + 0.5 * gain)
    folded = _cubes(f) + _cubes(1.0 - f)
    return np.array(
        [
            2.0 * gain,
            flicker_phase * gain,
            np.full_like(f, 2.0),
            _FLICKER_FM / (4.0 * np.pi**2) * folded * gain,
            1.5 / (sine * sine) - 1.0,
        ]
    )


def _cubes(f: Floats) -> Floats:
    """Return the sum of 1/(f + k)^3 over k = 0, 1, 2 ..: eight terms, the rest by Euler and Maclaurin."""
    total = np.zeros_like(f)
    for k in range(8):
        total += (f + k) ** -3.0
    end = f + 8.0
    return np.asarray(total + 0.5 / (end * end) + 0.5 / end**3 + 0.25 / end**4)
