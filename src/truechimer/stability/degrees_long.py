"""Equivalent degrees of freedom and biases of the total and Theo statistics: formulas fitted to simulations.

It has no theory: the terms of these statistics are not one filter of the phase. Where SP 1065 gives a formula and our
own simulations (design/stability_coverage.py, kept in docs/measured) bear it out, it is SP 1065's; elsewhere (small m,
PM noise of TOTDEV and HTOTDEV, the longest averaging times) it is fitted to ours, and said so beside it.

Source: NIST SP 1065 (2008) sections 5.4.2 to 5.4.5 and 5.5, tables 6 to 11.
"""

import math

from truechimer.stability.degrees import Degrees, of_differences, of_window_means

MTOT_BIAS = {2: 0.94, 1: 0.83, 0: 0.73, -1: 0.70, -2: 0.69}
HTOT_BIAS = {2: 1.0, 1: 1.0, 0: 0.995, -1: 0.851, -2: 0.771}
TOT_BIAS = {2: 0.0, 1: 0.0, 0: 0.0, -1: 1.0 / (3.0 * math.log(2.0)), -2: 0.75}
THEO_BIAS = {2: (0.09, 0.74, 0.40), 1: (0.14, 0.82, 0.30), 0: (1.0, 0.0, 0.0), -1: (1.87, -1.05, 0.79)}
THEO_BIAS[-2] = (2.70, -1.53, 0.85)

_TOT = {0: (1.50, 0.0), -1: (1.17, 0.22), -2: (0.93, 0.36)}
_MTOT = {2: (1.90, 2.10), 1: (1.20, 1.40), 0: (1.10, 1.20), -1: (0.85, 0.50), -2: (0.75, 0.31)}
_MTOT_LONGEST = {2: 1.8, 1: 1.55, 0: 1.5, -1: 1.38, -2: 1.15}
_HTOT = {0: (0.559, 1.004), -1: (0.868, 1.140), -2: (0.938, 1.696)}
_TOT_ENDS = {2: 0.5, 1: 0.12}


def of_totdev(alpha: int, m: int, n_phases: int) -> Degrees:
    """SP1065 table 7 from m = 16 on, b T/tau - c; below, and for PM noise, OADEV's over the whole record.

    With PM noise the two end points stand in m terms each (fitted: 1/edf grows by 0.5, 0.12 times (m/N)^2).
    """
    if alpha <= 0 and m >= 16:
        b, c = _TOT[alpha]
        return Degrees.plain(max(b * (n_phases - 1) / m - c, 1.0))
    terms = n_phases - 2 if alpha <= 0 else max(n_phases - 2 * m, n_phases // 3, 1)
    inner = of_differences(alpha, 2, m, terms, overlapping=True).edf
    if alpha <= 0:
        return Degrees.plain(inner)
    share = m / n_phases
    return Degrees.plain(1.0 / (1.0 / inner + _TOT_ENDS[alpha] / (1.0 + share) * share * share))


def of_mtotdev(alpha: int, m: int, n_phases: int) -> Degrees:
    """SP1065 table 8, b T/tau - c, from m = 8 to a sixth of the record; else (fitted) MDEV's times a factor."""
    modified = of_window_means(alpha, 2, m, n_phases - 3 * m + 1)
    b, c = _MTOT[alpha]
    formula = b * (n_phases - 1) / m - c
    if m == 1:
        return modified
    if 6 * m > n_phases:
        gain = _MTOT_LONGEST[alpha]
        return Degrees(modified.edf * gain, modified.third / (gain * gain))
    if m < 8:
        formula = max(modified.edf, min(formula, 1.25 * modified.edf))
    return Degrees.plain(formula)


def of_htotdev(alpha: int, m: int, n_phases: int) -> Degrees:
    """SP1065 table 9, (T/tau) / (b0 + b1 tau/T), for FM noise from m = 4 on; else (fitted) OHDEV's times a factor."""
    if m == 1:
        return of_differences(alpha, 3, 1, n_phases - 3, overlapping=True)
    if alpha <= 0 and m >= 4:
        b0, b1 = _HTOT[alpha]
        ratio = (n_phases - 1) / m
        return Degrees.plain(ratio / (b0 + b1 / ratio))
    gain = 1.3 if alpha <= 0 else 1.4 if m < 4 else 1.65 * (1.0 - (0.8 if alpha == 2 else 1.4) * m / n_phases)
    return Degrees.plain(gain * of_differences(alpha, 3, m, n_phases, overlapping=True).edf)


def of_theo1(alpha: int, m: int, n_phases: int) -> Degrees:
    """SP1065 table 10 with tau = 0.75 m; random-walk FM (fitted): 1.3 N/tau - 1.3, since that formula turns
    negative.
    """
    n, tau = float(n_phases), 0.75 * m
    if alpha == 2:
        edf = 0.86 * (n + 1.0) * (n - 4.0 / 3.0 * tau) / (n - tau) * tau / (tau + 1.14)
    elif alpha == 1:
        edf = (4.798 * n * n - 6.374 * n * tau + 12.387 * tau) / (math.sqrt(tau + 36.6) * (n - tau))
        edf *= tau / (tau + 0.3)
    elif alpha == 0:
        edf = ((4.1 * n + 0.8) / tau - (3.1 * n + 6.5) / n) * tau**1.5 / (tau**1.5 + 5.2)
    elif alpha == -1:
        edf = (2.0 * n * n - 1.3 * n * tau - 3.5 * tau) / (n * tau) * tau**3 / (tau**3 + 2.3)
    else:
        edf = 1.3 * n / tau - 1.3
    return Degrees.plain(max(edf, 1.0))


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
