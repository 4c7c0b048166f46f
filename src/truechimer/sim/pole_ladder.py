"""Flicker noise as a ladder of first-order poles, and the exact step of one pole over any interval.

It draws nothing and keeps no state: rates, weights and step coefficients only. `oscillator` runs them.

Source: a process with d y = -r y dt + noise and stationary variance v has the one-sided spectrum S(f) = 4 v r / (r^2
+ w^2), w = 2 pi f. Equal variances at rates spaced by the factor e^d add up to v / (d f): flicker, with a ripple of 4
exp(-pi^2 / d). With 3 poles per decade (d = 0.768) that is 1e-5 of the spectrum. Allan variance of S_y = h/f is 2 ln2
h, hence v = floor^2 d / (2 ln2) for a wanted floor.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

POLES_PER_DECADE = 3
LOG_SPACING = math.log(10.0) / POLES_PER_DECADE

RATES_PER_S = tuple(10.0 ** (2.0 - k / POLES_PER_DECADE) for k in range(34))
"""Rates r of the poles of y, 1/s, from 1e2 to 1e-9: time constants of 10 ms to 32 years. The poles beyond both ends
are not left out: seen from intervals between, all faster ones together are white FM and all slower ones random-walk
FM (`FAST_END`, `SLOW_END`).
"""

FLICKER_FM_VARIANCE = LOG_SPACING / (2.0 * math.log(2.0))
"""Stationary variance of each pole of y for an Allan deviation floor of 1."""

_MISSING = 1.0 / (10.0 ** (1.0 / POLES_PER_DECADE) - 1.0)
FAST_END_WHITE_FM = 2.0 * FLICKER_FM_VARIANCE * _MISSING / RATES_PER_S[0]
"""Variance of x per second that stands for all poles faster than the ladder (floor 1): geometric sum of 2 v / r."""
SLOW_END_RANDOM_WALK_FM = 2.0 * FLICKER_FM_VARIANCE * _MISSING * RATES_PER_S[-1]
"""Variance of y per second that stands for all poles slower than the ladder (floor 1): geometric sum of 2 v r."""

FIRST_PM_POLE = 2 * POLES_PER_DECADE
"""The poles of x are the same ladder from here on: rates from 1 to 1e-9 1/s. Flicker PM has no value without a
bandwidth; here the band ends where phase read once a second has its TDEV at 1 s equal to the floor at long intervals,
within 2 %.
"""

FLICKER_PM_TOP_WEIGHT = 1.7
"""Weight of the fastest pole of x: it stands for the part of the band above 1 rad/s (`design/sim_flicker.py` finds
it).
"""

FLICKER_PM_VARIANCES = tuple(
    (FLICKER_PM_TOP_WEIGHT if k == 0 else 1.0) * LOG_SPACING * 2.0 / math.log(256.0 / 27.0)
    for k in range(len(RATES_PER_S) - FIRST_PM_POLE)
)
"""Stationary variance of each pole of x for a TDEV floor of 1: S_x = k/f has TDEV^2 = k ln(256/27) / 2 (NIST SP 1065,
table of conversions, with S_x = h1 / (2 pi)^2 / f).
"""

_SERIES_BELOW = 0.1
_RATES = np.array(RATES_PER_S)[:, None]
_TWO_OVER_SQUARE = 2.0 / (_RATES * _RATES)


@dataclass(frozen=True, slots=True)
class PoleStep:
    """The exact step of unit poles (stationary variance 1) over one interval; the arrays have shape (n_poles, 1).

    z' = decay z + drive n1, and the integral of z over the step = gather z + together n1 + apart n2, with n1, n2
    standard normal; `apart_squared` is the sum over the poles: their n2 never need to be told apart.
    """

    decay: Array
    drive: Array
    gather: Array
    together: Array
    apart_squared: float


def step_over(dt_s: float) -> PoleStep:
    """Return the joint discretisation of the ladder's poles and their integrals over `dt_s` > 0 seconds.

    With a = r dt and m = 1 - e^-a: Var z' = m (2 - m); Cov = m^2 / r; the part of the integral that z' does not tell
    has the variance 2 (a - 2 tanh(a/2)) / r^2, in which a - 2 tanh(a/2) = a^3/12 - a^5/120 + ... is summed as a
    series where it would cancel.
    """
    a = _RATES * dt_s
    # expm1 of the C library, one by one: NumPy's own differs between processors, and a run is to repeat bit for bit.
    m = np.array([-math.expm1(-rate * dt_s) for rate in RATES_PER_S])[:, None]
    both = 2.0 - m
    gather = m / _RATES
    rest = a - 2.0 * m / both
    small = int(np.count_nonzero(a >= _SERIES_BELOW))  # the rates fall: small ones stand last
    cube = a[small:]
    square = cube * cube
    rest[small:] = (
        cube * square * (1.0 / 12 - square * (1.0 / 120 - square * (17.0 / 20160 - square * (31.0 / 362880))))
    )
    rest *= _TWO_OVER_SQUARE
    return PoleStep(
        decay=1.0 - m,
        drive=np.sqrt(m * both),
        gather=gather,
        together=gather * np.sqrt(m / both),
        apart_squared=float(np.add.accumulate(rest, axis=0)[-1, 0]),
    )
