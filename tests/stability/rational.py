"""Every statistic in exact arithmetic: the doubles are taken as the fractions that they are, and nothing is rounded.

The second yardstick, beside `literal.py` (extended precision): whole numbers in place of phases, so that sums of any
order and running sums are exact whatever the offset, and a squared value comes out as one fraction. It shares nothing
with the package; `test_published_values.py` compares it with printed tables.

Phases `x` (n,); NaN means missing. A term counts if every phase in it is there. MTOTDEV, HTOTDEV, Theo1 and PDEV go by
stretches without a gap.

Source: NIST SP 1065 (2008) sections 5.2.1 to 5.2.16; PDEV: Vernotte et al. 2016; MTIE, TIE rms: ITU-T G.810.
"""

import math
from fractions import Fraction

import numpy as np

Exact = tuple[Fraction, int]
"""A sum of squared terms in units of s^2, and how many terms there are."""


def whole(x) -> tuple[np.ndarray, Fraction]:
    """Return phases as whole numbers (object array, None where missing) and their unit."""
    x = np.asarray(x, dtype=np.float64)
    shift = (
        1074 if x.size == 0 else max((Fraction(v).denominator.bit_length() - 1 for v in x[np.isfinite(x)]), default=0)
    )
    numbers = np.array(
        [None if math.isnan(v) else int(Fraction(v) * 2**shift) for v in x.tolist()] + [None], dtype=object
    )
    return numbers[:-1], Fraction(1, 2**shift)


def stretches(numbers) -> list[np.ndarray]:
    """Return the runs of `numbers` without a None."""
    found, start = [], 0
    for k, value in enumerate([*numbers, None]):
        if value is None:
            if k > start:
                found.append(numbers[start:k])
            start = k + 1
    return found


def _combined(x, taps: dict[int, int], step: int) -> Exact:
    """Sum over i = 0, step, ... of (sum of tap * x(i + place))^2, where every phase is there."""
    numbers, unit = whole(x)
    total, terms = 0, 0
    for i in range(0, numbers.size - max(taps), step):
        parts = [numbers[i + place] for place in taps]
        if None not in parts:
            total += sum(tap * part for tap, part in zip(taps.values(), parts, strict=True)) ** 2
            terms += 1
    return total * unit**2, terms


def _squared(found: Exact, divisor: Fraction) -> Fraction:
    return found[0] / found[1] / divisor


def _tau(m: int, tau0: float) -> Fraction:
    return m * Fraction(tau0)


def adev(x, m: int, tau0: float = 1.0) -> Fraction:
    return _squared(_combined(x, {0: 1, m: -2, 2 * m: 1}, m), 2 * _tau(m, tau0) ** 2)


def oadev(x, m: int, tau0: float = 1.0) -> Fraction:
    return _squared(_combined(x, {0: 1, m: -2, 2 * m: 1}, 1), 2 * _tau(m, tau0) ** 2)


def hdev(x, m: int, tau0: float = 1.0) -> Fraction:
    return _squared(_combined(x, {0: -1, m: 3, 2 * m: -3, 3 * m: 1}, m), 6 * _tau(m, tau0) ** 2)


def ohdev(x, m: int, tau0: float = 1.0) -> Fraction:
    return _squared(_combined(x, {0: -1, m: 3, 2 * m: -3, 3 * m: 1}, 1), 6 * _tau(m, tau0) ** 2)


def tierms(x, m: int, tau0: float = 1.0) -> Fraction:
    return _squared(_combined(x, {0: -1, m: 1}, 1), Fraction(1))


def mdev(x, m: int, tau0: float = 1.0) -> Fraction:
    numbers, unit = whole(x)
    total, terms = 0, 0
    for run in stretches(numbers):
        running = [0, *np.cumsum(run).tolist()]
        for i in range(run.size - 3 * m + 1):
            a, b, c, d = (running[i + k * m] for k in range(4))
            total += ((d - c) - 2 * (c - b) + (b - a)) ** 2
            terms += 1
    return Fraction(total, terms * m * m) * unit**2 / (2 * _tau(m, tau0) ** 2)


def tdev(x, m: int, tau0: float = 1.0) -> Fraction:
    return mdev(x, m, tau0) * _tau(m, tau0) ** 2 / 3


def totdev(x, m: int, tau0: float = 1.0) -> Fraction:
    """The record reflected about its end points; with gaps the terms that are there."""
    numbers, unit = whole(x)
    n = numbers.size
    first, last = numbers[0], numbers[-1]

    def at(i: int):
        value = numbers[-i] if i < 0 else numbers[2 * (n - 1) - i] if i >= n else numbers[i]
        if value is None:
            return None
        return 2 * first - value if i < 0 else 2 * last - value if i >= n else value

    total, terms = 0, 0
    for i in range(1, n - 1):
        parts = (at(i - m), at(i), at(i + m))
        if None not in parts:
            total += (parts[0] - 2 * parts[1] + parts[2]) ** 2
            terms += 1
    return Fraction(total, terms) * unit**2 / (2 * _tau(m, tau0) ** 2)


def _reflected(z, m: int) -> tuple[Fraction, int]:
    """Mean squares of the reflected windows of 3m values of one run: their sum and number."""
    size = 3 * m
    half = size // 2
    apart = half if size % 2 == 0 else half + 1
    total, windows = 0, 0
    for start in range(z.size - size + 1):
        window = z[start : start + size]
        rise = sum(window[size - half :]) - sum(window[:half])  # slope = rise / (half apart)
        flat = [half * apart * value - rise * k for k, value in enumerate(window)]
        running = [0]
        for value in [*flat[::-1], *flat, *flat[::-1]]:
            running.append(running[-1] + value)
        for k in range(6 * m):
            a, b, c, d = (running[k + q * m] for q in range(4))
            total += ((d - c) - 2 * (c - b) + (b - a)) ** 2
        windows += 1
    return Fraction(total, 6 * m * (m * half * apart) ** 2), windows


def mtotdev(x, m: int, tau0: float = 1.0) -> Fraction:
    numbers, unit = whole(x)
    found = [_reflected(run, m) for run in stretches(numbers)]
    total, windows = sum(each[0] for each in found), sum(each[1] for each in found)
    return total / windows * unit**2 / (2 * _tau(m, tau0) ** 2)


def ttotdev(x, m: int, tau0: float = 1.0) -> Fraction:
    return mtotdev(x, m, tau0) * _tau(m, tau0) ** 2 / 3


def htotdev(x, m: int, tau0: float = 1.0) -> Fraction:
    if m == 1:
        return ohdev(x, 1, tau0)
    numbers, unit = whole(x)
    found = [_reflected(run[1:] - run[:-1], m) for run in stretches(numbers)]
    total, windows = sum(each[0] for each in found), sum(each[1] for each in found)
    return total / windows * unit**2 / (6 * Fraction(tau0) ** 2)


def theo1(x, m: int, tau0: float = 1.0) -> Fraction:
    """At tau = 0.75 m tau0."""
    numbers, unit = whole(x)
    total, terms = Fraction(0), 0
    for run in stretches(numbers):
        starts = run.size - m
        if starts < 1:
            continue
        for k in range(1, m // 2 + 1):
            d = (run[:starts] - run[k : k + starts]) + (run[m:] - run[m - k : m - k + starts])
            total += Fraction(int(np.sum(d * d)), k)
        terms += starts
    return total / terms * unit**2 / (Fraction(3, 4) * _tau(m, tau0) ** 2)


def theobr_ratio(x, tau0: float = 1.0) -> Fraction:
    """Mean over i = 0 ... floor(N/6 - 3) of AVAR(9 + 3i) / Theo1(12 + 4i), variances."""
    count = min(len(x) // 6 - 2, (len(x) - 1 - 18) // 6 + 1)  # AVAR has a term
    ratios = [oadev(x, 9 + 3 * i, tau0) / theo1(x, 12 + 4 * i, tau0) for i in range(count)]
    return sum(ratios, Fraction(0)) / len(ratios)


def theobr(x, m: int, tau0: float = 1.0) -> Fraction:
    return theo1(x, m, tau0) * theobr_ratio(x, tau0)


def pdev(x, m: int, tau0: float = 1.0) -> Fraction:
    if m == 1:
        return oadev(x, 1, tau0)
    numbers, unit = whole(x)
    total, terms = 0, 0
    weights = np.array([m - 1 - 2 * k for k in range(m)], dtype=object)
    for run in stretches(numbers):
        for i in range(run.size - 2 * m):
            total += int(np.sum(weights * (run[i : i + m] - run[i + m : i + 2 * m]))) ** 2
            terms += 1
    return 72 * Fraction(total, 4 * terms) * unit**2 / (m**4 * _tau(m, tau0) ** 2)


def mtie(x, m: int, tau0: float = 1.0) -> Fraction:
    """Squared, as all the others."""
    numbers, unit = whole(x)
    spans = []
    for i in range(numbers.size - m):
        there = [value for value in numbers[i : i + m + 1] if value is not None]
        if len(there) > 1:
            spans.append(max(there) - min(there))
    return (max(spans) * unit) ** 2


def gcov(x, z, m: int, tau0: float = 1.0) -> Fraction:
    """Groslambert covariance of two records, signed."""
    (a, unit), (b, other) = whole(x), whole(z)
    total, terms = 0, 0
    for i in range(a.size - 2 * m):
        parts = [series[i + k * m] for series in (a, b) for k in range(3)]
        if None not in parts:
            total += (parts[0] - 2 * parts[1] + parts[2]) * (parts[3] - 2 * parts[4] + parts[5])
            terms += 1
    return Fraction(total, terms) * unit * other / (2 * _tau(m, tau0) ** 2)


def off(found: float, squared: Fraction) -> float:
    """Return the relative difference of a deviation from the root of `squared`, to first order exact."""
    if squared == 0:
        return abs(float(found))
    return abs(float(Fraction(float(found)) ** 2 / squared - 1)) / 2.0


def root(squared: Fraction, digits: int = 25) -> str:
    """Return the square root, correctly cut to `digits` digits, as text."""
    if squared == 0:
        return "0"
    places = digits + 2 - math.floor((math.log10(squared.numerator) - math.log10(squared.denominator)) / 2)
    number = str(math.isqrt(squared.numerator * 10 ** (2 * places) // squared.denominator) if places >= 0 else 0)
    return f"{number[0]}.{number[1:digits]}e{len(number) - 1 - places:+03d}"
