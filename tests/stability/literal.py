"""Every statistic as its definition says it, term by term, in extended precision: the tests' own yardstick.

It shares nothing with the package, and is judged itself: `test_published_values.py` compares it with printed tables.
Phases `x` (n,) are taken as the doubles that they are; NaN means missing. Slow on purpose: no running sum, nothing
reordered that could cancel.

Source: NIST SP 1065 (2008) sections 5.2.1 to 5.2.15; parabolic variance: Vernotte et al. 2016.
"""

import numpy as np

LD = np.longdouble


def longs(x):
    return np.asarray(x).astype(LD)


def _mean_square(terms):
    there = terms[~np.isnan(terms)]
    return np.sum(there * there) / LD(there.size)


def adev(x, m, tau0=1.0):
    x = longs(x)[::m]
    return np.sqrt(_mean_square(x[2:] - 2 * x[1:-1] + x[:-2]) / 2) / (m * LD(tau0))


def oadev(x, m, tau0=1.0):
    x = longs(x)
    return np.sqrt(_mean_square(x[2 * m :] - 2 * x[m:-m] + x[: -2 * m]) / 2) / (m * LD(tau0))


def mdev(x, m, tau0=1.0):
    x = longs(x)
    d = x[2 * m :] - 2 * x[m:-m] + x[: -2 * m]
    windows = np.lib.stride_tricks.sliding_window_view(d, m)
    means = np.array([np.sum(window) / LD(m) for window in windows])
    return np.sqrt(_mean_square(means) / 2) / (m * LD(tau0))


def tdev(x, m, tau0=1.0):
    return mdev(x, m, tau0) * (m * LD(tau0)) / np.sqrt(LD(3))


def hdev(x, m, tau0=1.0):
    x = longs(x)[::m]
    return np.sqrt(_mean_square(x[3:] - 3 * x[2:-1] + 3 * x[1:-2] - x[:-3]) / 6) / (m * LD(tau0))


def ohdev(x, m, tau0=1.0):
    x = longs(x)
    n = x.size - 3 * m
    third = x[3 * m :] - 3 * x[2 * m : 2 * m + n] + 3 * x[m : m + n] - x[:n]
    return np.sqrt(_mean_square(third) / 6) / (m * LD(tau0))


def totdev(x, m, tau0=1.0):
    """The record reflected at both ends, about its end points (SP1065 5.2.11)."""
    x = longs(x)
    n = x.size
    before = 2 * x[0] - x[1:][::-1]  # x*(-n+2) ... x*(0), counted from 1 as in the handbook
    after = 2 * x[-1] - x[:-1][::-1]
    star = np.concatenate([before, x, after])
    middle = np.arange(n - 1 + 1, n - 1 + n - 1)  # i = 2 ... N-1
    terms = star[middle - m] - 2 * star[middle] + star[middle + m]
    return np.sqrt(np.sum(terms * terms) / (2 * (m * LD(tau0)) ** 2 * (n - 2)))


def _extended_windows(segment, m):
    """Half-average slope out, even reflection at both ends, 6m differences of m-averages: their mean square.

    The first value is subtracted, exactly: it is in no term, and sums of 1000 s would cost even extended precision its
    digits of 1e-13 s.
    """
    segment = segment - segment[0]
    size = segment.size
    half = size // 2
    apart = LD(half) if size % 2 == 0 else LD(half + 1)
    slope = (np.sum(segment[size - half :]) / half - np.sum(segment[:half]) / half) / apart
    flat = segment - slope * np.arange(size).astype(LD)
    star = np.concatenate([flat[::-1], flat, flat[::-1]])
    means = np.lib.stride_tricks.sliding_window_view(star, m).sum(axis=1) / LD(m)
    terms = means[: 6 * m] - 2 * means[m : 7 * m] + means[2 * m : 8 * m]
    return np.sum(terms * terms) / (6 * m)


def mtotdev(x, m, tau0=1.0):
    x = longs(x)
    count = x.size - 3 * m + 1
    total = sum((_extended_windows(x[i : i + 3 * m], m) for i in range(count)), LD(0))
    return np.sqrt(total / (2 * (m * LD(tau0)) ** 2 * count))


def ttotdev(x, m, tau0=1.0):
    return mtotdev(x, m, tau0) * (m * LD(tau0)) / np.sqrt(LD(3))


def htotdev(x, m, tau0=1.0):
    """At m = 1 the overlapping Hadamard deviation, as SP 1065 prints it."""
    if m == 1:
        return ohdev(x, 1, tau0)
    y = np.diff(longs(x)) / LD(tau0)
    count = y.size - 3 * m + 1
    total = sum((_extended_windows(y[i : i + 3 * m], m) for i in range(count)), LD(0))
    return np.sqrt(total / (6 * count))


def theo1(x, m, tau0=1.0):
    """At tau = 0.75 m tau0, m even."""
    x = longs(x)
    n = x.size
    total = LD(0)
    half = m // 2
    for delta in range(half):
        i = np.arange(n - m)
        term = (x[i] - x[i - delta + half]) + (x[i + m] - x[i + delta + half])
        total += np.sum(term * term) / LD(half - delta)
    return np.sqrt(total / (LD(3) / 4 * (n - m) * (m * LD(tau0)) ** 2))


def pdev(x, m, tau0=1.0):
    """At m = 1 the overlapping Allan deviation (the limit of the definition)."""
    if m == 1:
        return oadev(x, 1, tau0)
    x = longs(x)
    count = x.size - 2 * m
    weights = (LD(m) - 1) / 2 - np.arange(m).astype(LD)
    total = LD(0)
    for i in range(count):
        total += np.sum(weights * (x[i : i + m] - x[i + m : i + 2 * m])) ** 2
    return np.sqrt(72 * total / (count * LD(m) ** 4 * (m * LD(tau0)) ** 2))


def mtie(x, m, tau0=1.0):
    x = longs(x)
    windows = np.lib.stride_tricks.sliding_window_view(x, m + 1)
    return max(np.nanmax(window) - np.nanmin(window) for window in windows if np.sum(~np.isnan(window)) > 1)


def tierms(x, m, tau0=1.0):
    x = longs(x)
    return np.sqrt(_mean_square(x[m:] - x[:-m]))


def gcov(x, z, m, tau0=1.0):
    """Groslambert covariance (signed, of y): mean product of second differences of two differences, over 2 tau^2."""
    x, z = longs(x), longs(z)
    products = (x[2 * m :] - 2 * x[m:-m] + x[: -2 * m]) * (z[2 * m :] - 2 * z[m:-m] + z[: -2 * m])
    there = products[~np.isnan(products)]
    return np.sum(there) / there.size / (2 * (m * LD(tau0)) ** 2)


def phase_of_frequency(y, tau0=1.0):
    return np.concatenate([[LD(0)], np.cumsum(longs(y))]) * LD(tau0)
