"""Degrees of freedom as they are published: what `edf="sp1065"` asks for, and what Stable32 prints intervals from.

The default are the degrees of `degrees.py` and `degrees_long.py`. These differ from them where each phase is taken as
an average over tau0 (short averaging times) and where a formula was fitted; they say nothing of skewness.

Source: Greenhall and Riley, "Uncertainty of stability variances based on finite differences" (PTTI 2003), in NIST SP
1065 (2008) section 5.4.1; tables 7 to 10 there.
"""

from truechimer.stability.degrees import Degrees, of_averaged_differences, of_averaged_window_means, of_differences

LONGEST_SUM = 100
"""Greenhall and Riley's J_max: beyond, samples are taken as instantaneous (F infinite)."""
_TOT = {0: (1.50, 0.0), -1: (1.17, 0.22), -2: (0.93, 0.36)}
_MTOT = {2: (1.90, 2.10), 1: (1.20, 1.40), 0: (1.10, 1.20), -1: (0.85, 0.50), -2: (0.75, 0.31)}
_HTOT = {0: (0.559, 1.004), -1: (0.868, 1.140), -2: (0.938, 1.696)}


def of_finite_differences(alpha: int, order: int, m: int, terms: int, *, overlapping: bool) -> Degrees:
    """Allan (`order` 2) and Hadamard (3) variances."""
    if alpha == 2 or (alpha <= 0 and (order + 1) * m > LONGEST_SUM):
        return Degrees.plain(of_differences(alpha, order, m, terms, overlapping=overlapping).edf)
    return Degrees.plain(of_averaged_differences(alpha, order, m, terms, overlapping=overlapping).edf)


def of_modified_differences(alpha: int, order: int, m: int, terms: int) -> Degrees:
    """Modified Allan and time variance."""
    return Degrees.plain(of_averaged_window_means(alpha, order, m, terms).edf)


def of_totdev(alpha: int, m: int, n_phases: int) -> Degrees:
    """SP1065 table 7: b T/tau - c for FM noise; for PM noise, which the table lacks, OADEV's."""
    if alpha > 0:
        return of_finite_differences(alpha, 2, m, max(n_phases - 2 * m, 1), overlapping=True)
    b, c = _TOT[alpha]
    return Degrees.plain(b * n_phases / m - c)


def of_mtotdev(alpha: int, m: int, n_phases: int) -> Degrees:
    """SP1065 table 8, b T/tau - c from m = 16 on, and MDEV's degrees below, as Stable32 has it."""
    if m < 16:
        return of_modified_differences(alpha, 2, m, n_phases - 3 * m + 1)
    b, c = _MTOT[alpha]
    return Degrees.plain(b * n_phases / m - c)


def of_htotdev(alpha: int, m: int, n_phases: int) -> Degrees:
    """SP1065 table 9, (T/tau) / (b0 + b1 tau/T) for FM noise from m = 16 on, and OHDEV's degrees else."""
    if m < 16 or alpha > 0:
        return of_finite_differences(alpha, 3, m, n_phases - 3 * m, overlapping=True)
    b0, b1 = _HTOT[alpha]
    ratio = n_phases / m
    return Degrees.plain(ratio / (b0 + b1 / ratio))


def of_theo1(alpha: int, m: int, n_phases: int) -> Degrees:
    """SP1065 table 10 with tau = 0.75 m, at least 1 (random-walk FM turns negative near the end of the record)."""
    n, tau = float(n_phases), 0.75 * m
    if alpha == 2:
        edf = 0.86 * (n + 1.0) * (n - 4.0 / 3.0 * tau) / (n - tau) * tau / (tau + 1.14)
    elif alpha == 1:
        edf = (4.798 * n * n - 6.374 * n * tau + 12.387 * tau) / ((tau + 36.6) ** 0.5 * (n - tau)) * tau / (tau + 0.3)
    elif alpha == 0:
        edf = ((4.1 * n + 0.8) / tau - (3.1 * n + 6.5) / n) * tau**1.5 / (tau**1.5 + 5.2)
    elif alpha == -1:
        edf = (2.0 * n * n - 1.3 * n * tau - 3.5 * tau) / (n * tau) * tau**3 / (tau**3 + 2.3)
    else:
        edf = (4.4 * n - 2.0) / (2.9 * tau) * ((4.4 * n - 1.0) ** 2 - 8.6 * tau * (4.4 * n - 1.0) + 11.4 * tau**2)
        edf /= (4.4 * n - 3.0) ** 2
    return Degrees.plain(max(edf, 1.0))
