"""Equivalent degrees of freedom and biases of the total and Theo statistics.

The terms of these statistics are not one filter of the phase, so no sum over lags gives their degrees. But a squared
value is a quadratic form of the phases, and the eigenvalues of its matrix in a noise say edf and skewness exactly: that
was done for records of up to some thousand phases (`degrees_table.py`), and what the table holds depends smoothly on m
and on the share of the record that m takes. It is measured against the degrees of the statistic's nearest relation with
a theory (`degrees.py`), which carries it to any length.

The biases, and the degrees as NIST SP 1065 states them, are `biases.py` and `degrees_published.py`.
"""

import math
from bisect import bisect_right

from truechimer.stability.degrees import Degrees, of_differences, of_window_means

Row = tuple[float, ...]


def phases(name: str, m: int, share: float) -> int:
    """Return the number of phases of a record of which m takes `share`: m / (N - 1), of MTOTDEV m / N."""
    if name == "mtotdev":
        return max(round(m / share), 3 * m)
    return max(round(m / share) + 1, 3 * m + 1 if name == "htotdev" else 3)


def measure(name: str, alpha: int, m: int, n_phases: int, edf: float) -> float:
    """Return what the table holds of `edf`: how it differs from the relation's, free of the record's length.

    TOTDEV reflects the end points into m terms each, which adds to 1/edf something like (m/N)^2; the other statistics
    have a multiple of their relation's degrees.
    """
    base = _relation(name, alpha, m, n_phases).edf
    if name == "totdev":
        return (1.0 / edf - 1.0 / base) / _share(name, m, n_phases) ** 2
    return edf / base


def _share(name: str, m: int, n_phases: int) -> float:
    return m / n_phases if name == "mtotdev" else m / (n_phases - 1)


def _relation(name: str, alpha: int, m: int, n_phases: int) -> Degrees:
    """Return the degrees of MDEV, OHDEV or OADEV with as many terms as phases, at the same m."""
    if name == "mtotdev":
        return of_window_means(alpha, 2, m, n_phases)
    return of_differences(alpha, 3 if name == "htotdev" else 2, m, n_phases, overlapping=True)


def _from_table(name: str, alpha: int, m: int, n_phases: int) -> Degrees:
    from truechimer.stability.degrees_table import TABLES

    table = TABLES[name, alpha]
    share = _share(name, m, n_phases)
    # With flicker PM, and the others where they see single samples, every octave of m changes something; elsewhere
    # what differs dies away as 1/m.
    octaves = name != "mtotdev" and (alpha == 1 or (alpha == 2 and name != "totdev"))
    axis = tuple(math.log(each) if octaves else -1.0 / each for each in table.m)
    at = math.log(m) if octaves else -1.0 / m
    found = _between(axis, tuple(_between(table.s, row, share) for row in table.measure), at)
    skew = max(_between(axis, tuple(_between(table.s, row, share) for row in table.skew), at), 1.0)
    base = _relation(name, alpha, m, n_phases).edf
    edf = max(1.0 / (1.0 / base + found * share * share) if name == "totdev" else base * found, 1.0)
    return Degrees(edf, max(min(skew, edf), 1.0) / (edf * edf))


def _between(places: Row, values: Row, at: float) -> float:
    """Return the value at `at` on straight lines between the places, the first and last of them continued."""
    k = min(max(bisect_right(places, at), 1), len(places) - 1)
    part = (at - places[k - 1]) / (places[k] - places[k - 1])
    return values[k - 1] + part * (values[k] - values[k - 1])


def of_totdev(alpha: int, m: int, n_phases: int) -> Degrees:
    """Total deviation; at m = 1 it is OADEV."""
    if m == 1:
        return of_differences(alpha, 2, 1, n_phases - 2, overlapping=True)
    return _from_table("totdev", alpha, m, n_phases)


def of_mtotdev(alpha: int, m: int, n_phases: int) -> Degrees:
    """Modified and time total deviation; at m = 1 it is half of MDEV."""
    if m == 1:
        return of_window_means(alpha, 2, 1, n_phases - 2)
    return _from_table("mtotdev", alpha, m, n_phases)


def of_htotdev(alpha: int, m: int, n_phases: int) -> Degrees:
    """Hadamard total deviation; at m = 1 it is OHDEV."""
    if m == 1:
        return of_differences(alpha, 3, 1, n_phases - 3, overlapping=True)
    return _from_table("htotdev", alpha, m, n_phases)


def of_theo1(alpha: int, m: int, n_phases: int) -> Degrees:
    """Theo1 at tau = 0.75 m tau0."""
    return _from_table("theo1", alpha, m, n_phases)
