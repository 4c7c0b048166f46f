"""What theory says of each noise: exact expectation, equivalent degrees of freedom and 68 % interval of ADEV and MDEV.

It shares nothing with the simulator but the meaning of the declared levels. Each noise is a generalised
autocovariance s(t) of phase (Greenhall's way, NIST SP 1065 section 5.4): the covariance of the second differences at
stride m is 6 s(k) - 4 s(k+m) - 4 s(k-m) + s(k+2m) + s(k-2m), everything else follows from it by arithmetic.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from scipy.stats import chi2

Array = NDArray[np.float64]
Autocovariance = Callable[[Array], Array]

ONE_SIGMA = 0.6827


def white_pm(rms_s: float) -> Autocovariance:
    return lambda t: np.where(t == 0, rms_s**2, 0.0)


def flicker_pm(tdev_s: float) -> Autocovariance:
    """The declared band: rates 1, 10^(-1/3), ... 1e-9 1/s in equal parts, the first counted 1.7 times; level from S_x
    = k/f.
    """
    k = tdev_s**2 * 2.0 / np.log(256.0 / 27.0)
    part = k * np.log(10.0) / 3.0

    def covariance(t: Array) -> Array:
        total = 0.7 * np.exp(-np.abs(t))
        for j in range(28):
            total += np.exp(-np.abs(t) * 10.0 ** (-j / 3.0))
        return part * total

    return covariance


def white_fm(adev_1s: float) -> Autocovariance:
    return lambda t: -0.5 * adev_1s**2 * np.abs(t)


def flicker_fm(floor: float) -> Autocovariance:
    """Pure flicker, no band: S_y = h/f with floor^2 = 2 ln2 h gives s(t) = h/2 t^2 ln|t|."""
    h = floor**2 / (2.0 * np.log(2.0))

    def covariance(t: Array) -> Array:
        size = np.where(t == 0, 1.0, np.abs(t))
        return 0.5 * h * size * size * np.log(size) * (t != 0)

    return covariance


def random_walk_fm(adev_1s: float) -> Autocovariance:
    return lambda t: 3.0 * adev_1s**2 * np.abs(t) ** 3 / 12.0


@dataclass(frozen=True)
class Expected:
    """`variance`: expectation of the squared deviation; `edf`: equivalent degrees of freedom of its estimate."""

    variance: float
    edf: float

    def holds(self, measured_variance: Array | float) -> Array:
        """True where theory lies in the 68 % interval that the measurement gives."""
        low, high = chi2.ppf([(1.0 - ONE_SIGMA) / 2.0, (1.0 + ONE_SIGMA) / 2.0], self.edf)
        statistic = np.asarray(measured_variance) / self.variance * self.edf
        return (low <= statistic) & (statistic <= high)


def expected_adev(autocovariance: Autocovariance, *, m: int, n: int, tau0_s: float = 1.0) -> Expected:
    """Of the overlapping estimator over `n` phases."""
    terms = n - 2 * m
    second = _second_differences(autocovariance, m, np.arange(_lags(terms, m)), tau0_s)
    return _expected(second, terms, m * tau0_s)


def expected_mdev(autocovariance: Autocovariance, *, m: int, n: int, tau0_s: float = 1.0) -> Expected:
    terms = n - 3 * m + 1
    lags = _lags(terms, m)
    second = _second_differences(autocovariance, m, np.arange(-(m - 1), lags + m - 1), tau0_s)
    triangle = (m - np.abs(np.arange(-(m - 1), m))) / m**2
    if m < 64:
        averaged = np.convolve(second, triangle, mode="valid")
    else:
        averaged = fftconvolve(second, triangle, mode="valid")
    return _expected(averaged, terms, m * tau0_s)


def _second_differences(s: Autocovariance, m: int, lag: NDArray[np.int64], tau0_s: float) -> Array:
    def at(shift: int) -> Array:
        return s((lag + shift) * tau0_s)

    return 6.0 * at(0) - 4.0 * (at(m) + at(-m)) + at(2 * m) + at(-2 * m)


def _lags(terms: int, m: int) -> int:
    """Lags that count: beyond 40 m the covariance of second differences is below 1e-3 of its middle for every noise
    here.
    """
    return min(terms, 40 * m + 1000)


def _expected(covariance: Array, terms: int, tau_s: float) -> Expected:
    first = covariance[0]
    lag = np.arange(1, len(covariance))
    spread = terms * first**2 + 2.0 * np.sum((terms - lag) * covariance[1:] ** 2)
    return Expected(variance=float(first / (2.0 * tau_s**2)), edf=float(terms**2 * first**2 / spread))
