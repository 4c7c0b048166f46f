"""Biases of the total and Theo statistics: the expectation of a squared value over the variance that it stands for.

It takes nothing out; `bias="sp1065"` of those statistics asks for that.

Source: NIST SP 1065 (2008) sections 5.2.11 to 5.2.15 and 5.5, tables 4 and 5.
"""

import math

MTOT_BIAS = {2: 0.94, 1: 0.83, 0: 0.73, -1: 0.70, -2: 0.69}
HTOT_BIAS = {2: 1.0, 1: 1.0, 0: 0.995, -1: 0.851, -2: 0.771}
TOT_BIAS = {2: 0.0, 1: 0.0, 0: 0.0, -1: 1.0 / (3.0 * math.log(2.0)), -2: 0.75}
THEO_BIAS = {2: (0.09, 0.74, 0.40), 1: (0.14, 0.82, 0.30), 0: (1.0, 0.0, 0.0), -1: (1.87, -1.05, 0.79)}
THEO_BIAS[-2] = (2.70, -1.53, 0.85)


def theo1_bias(alpha: int, m: int, _n_phases: int) -> float:
    """SP1065 table 5: AVAR/Theo1 = a + b/m^c, inverted: what Theo1 must be divided by."""
    a, b, c = THEO_BIAS[alpha]
    return 1.0 / (a + b * math.pow(m, -c))


def totdev_bias(alpha: int, m: int, n_phases: int) -> float:
    """SP1065 5.2.11: 1 - a tau/T."""
    return 1.0 - TOT_BIAS[alpha] * m / (n_phases - 1)


def mtotdev_bias(alpha: int, _m: int, _n_phases: int) -> float:
    """SP1065 table 4, one figure for each noise type (at m = 1 it is 0.5 in truth)."""
    return MTOT_BIAS[alpha]


def htotdev_bias(alpha: int, m: int, _n_phases: int) -> float:
    """SP1065 5.2.14: FM noise; at m = 1 there is none, since it is OHDEV there."""
    return HTOT_BIAS[alpha] if m > 1 else 1.0
