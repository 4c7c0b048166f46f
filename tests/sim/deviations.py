"""ADEV (overlapping) and MDEV of phase, written from their definitions (NIST SP 1065 eq. 11 and 16): the tests' own
yardstick.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def adev_variance(x_s: Array, m: int, *, tau0_s: float = 1.0) -> float:
    second = x_s[2 * m :] - 2.0 * x_s[m:-m] + x_s[: -2 * m]
    return float(np.mean(second * second) / (2.0 * (m * tau0_s) ** 2))


def mdev_variance(x_s: Array, m: int, *, tau0_s: float = 1.0) -> float:
    total = np.concatenate(([0.0], np.cumsum(x_s - x_s[0])))
    averaged = (total[3 * m :] - 3.0 * total[2 * m : -m] + 3.0 * total[m : -2 * m] - total[: -3 * m]) / m
    return float(np.mean(averaged * averaged) / (2.0 * (m * tau0_s) ** 2))
