"""Which power-law noise dominates at each averaging time: white or flicker PM, white, flicker or random-walk FM.

It fits no levels (`noise_model.py` does) and is never certain: at 1000 points the right type is named in 95 of 100
records at least, below 100 points far less often; `alpha=` overrides it.

Method. The periodogram of the tapered frequencies below 1/(2 tau), and never of fewer than `LEAST_LINES` lines, is
compared with |2 sin(pi f)|^alpha for each alpha by Whittle's likelihood (Robinson 1995 with whole exponents). That is
what dominates *at* that averaging time. A statistic that does not average phase is also moved by noise far above
1/(2 tau); this shows in the ratio R(m) = MVAR/AVAR (NIST SP 1065 section 5.2.8): where MVAR, scaled by the R of the
alpha found, explains less than half of AVAR, phase noise does.

The lag-1 autocorrelation of decimated phases (Riley and Greenhall 2004) names the right type at m = 1, but at m > 1 too
rarely: decision record 20 has the rates.
"""

import math

import numpy as np

from truechimer.stability import sums
from truechimer.stability.arrays import runs
from truechimer.stability.curve import Floats, Ints
from truechimer.stability.series import Series

ALPHAS = (2, 1, 0, -1, -2)
LEAST_LINES = 64
"""Fewer lines of the spectrum than this decide nothing with 95 % certainty."""
LEAST_PHASES = 8
SINGLE, GROUP = 4096, 64
"""Lines up to the first number are taken one by one, the others in groups."""
RELIABLE = 16
"""The ratio R(m) is taken from averaging times up to a 16th of the record. Beyond, the part of AVAR that phase noise
makes is carried on as m^-2 and held against AVAR itself.
"""
GROWN = 2.5
"""AVAR that has grown by more than flicker PM can, seen from the last reliable ratio, is not flicker PM's."""
BRIDGED = 0.02
"""Where no more of the phases is missing, gaps are bridged by straight lines for the look at the noise."""


def identify(series: Series, factors: Ints, *, averages_phase: bool) -> Floats:
    """Return alpha at each averaging factor, shape (n_factors,); NaN where too few points say nothing.

    `averages_phase`: whether the statistic does (MDEV and its kin), and so sees only what is below 1/(2 tau). With gaps
    the longest stretch without one is judged, or with few missing phases, which are bridged.
    """
    run = max((each for piece in series.pieces for each in _stretches(piece.x_s)), key=lambda each: each.size)
    if run.size < LEAST_PHASES:
        return np.full(factors.size, np.nan)
    found = _by_spectrum(run, factors)
    if averages_phase or not np.any(factors > 1):
        return found
    return _with_phase_noise(Series.of_run(run, series.tau0_s), factors, found)


def _stretches(x_s: Floats) -> list[Floats]:
    """Return the stretches without a missing phase; all of them as one where few phases between them are missing."""
    there = np.flatnonzero(np.isfinite(x_s))
    if there.size < 2:
        return runs(x_s)
    inner = x_s[there[0] : there[-1] + 1]
    missing = inner.size - there.size
    if not 0 < missing <= BRIDGED * inner.size:
        return runs(x_s)
    return [np.interp(np.arange(inner.size), there - there[0], x_s[there])]


def _by_spectrum(x_s: Floats, factors: Ints) -> Floats:
    y = np.diff(x_s[x_s.size - _smooth(x_s.size - 1) - 1 :])
    size = y.size
    y -= np.mean(y)
    scale = float(np.max(np.abs(y)))
    if scale == 0.0:
        return np.full(factors.size, np.nan)
    place = np.linspace(-1.0, 1.0, size)
    y /= scale
    y = (y - place * (float(place @ y) / float(place @ place))) * np.cos(0.5 * np.pi * place) ** 2
    lines = np.fft.rfft(y)[2 : (size + 1) // 2]  # a trend and the taper spoil the first
    if lines.size == 0:
        lines = np.fft.rfft(y)[1:]
    power, place_of_line, width = _grouped(lines.real**2 + lines.imag**2)
    g = 2.0 * np.sin(np.pi * (place_of_line + 2.0) / size)
    flattened = {2: power / (g * g), 1: power / g, 0: power, -1: power * g, -2: power * (g * g)}
    log_g = width * np.log(g)
    ends = np.cumsum(width)
    wanted = np.minimum(lines.size, np.maximum(LEAST_LINES, size // (2 * factors)))
    used = np.minimum(np.searchsorted(ends, wanted) + 1, ends.size)
    # With many lines the lowest are left out: they are what dominates at longer averaging times.
    least = np.where(wanted >= 4000, wanted // 4, np.where(wanted >= 400, wanted // 8, 0))
    below = np.searchsorted(ends, least)
    below[least == 0] = 0
    count = _between(width, below, used)
    mean_log_g = _between(log_g, below, used) / count
    costs = np.empty((len(ALPHAS), factors.size))
    for row, alpha in enumerate(ALPHAS):
        flat = _between(flattened[alpha], below, used) / count
        costs[row] = np.log(np.maximum(flat, 1e-300)) + alpha * mean_log_g
    best: Floats = np.asarray(ALPHAS, dtype=np.float64)[np.argmin(costs, axis=0)]
    return best


def _grouped(power: Floats) -> tuple[Floats, Floats, Floats]:
    """Return sums of neighbouring lines, their middle places and how many they are: single ones, from `SINGLE` on 64.

    Within such a group the frequency changes by 1.6 % at most, and so does nothing that is compared.
    """
    if power.size < 2 * SINGLE:
        return power, np.arange(power.size, dtype=np.float64), np.ones(power.size)
    groups = (power.size - SINGLE) // GROUP
    rest = power[SINGLE : SINGLE + groups * GROUP].reshape(groups, GROUP).sum(axis=1)
    middles = SINGLE + GROUP * np.arange(groups) + 0.5 * (GROUP - 1)
    return (
        np.concatenate([power[:SINGLE], rest]),
        np.concatenate([np.arange(SINGLE, dtype=np.float64), middles]),
        np.concatenate([np.ones(SINGLE), np.full(groups, float(GROUP))]),
    )


def _between(values: Floats, start: Ints, stop: Ints) -> Floats:
    """Return the sums of values[start:stop] for pairs of indices."""
    running = np.concatenate([[0.0], np.cumsum(values)])
    sums_between: Floats = running[stop] - running[start]
    return sums_between


def _with_phase_noise(series: Series, factors: Ints, found: Floats) -> Floats:
    """Return alpha with PM noise where it, from above 1/(2 tau), makes more than half of the Allan variance."""
    octaves = 2 ** np.arange(1, 62, dtype=np.int64)
    octaves = octaves[(octaves < 2 * factors.max()) & (2 * octaves < series.n_phases)]
    if octaves.size == 0:
        return found
    at = np.clip(np.round(np.log2(factors)).astype(np.int64) - 1, 0, octaves.size - 1)
    ratio = np.ones(octaves.size)
    windows = sums.WindowSums(series)
    noise_of_phase = 0.0  # what phase noise adds to AVAR m^2, as the last reliable ratio tells
    pure = math.inf  # what AVAR m^2 would be, were all of it flicker PM
    grown = np.zeros(octaves.size, dtype=np.bool_)
    for k, m in enumerate(octaves.tolist()):
        here = found[at == k]
        if here.size and np.all(here == 2.0):
            continue
        plain = sums.second_differences(series, m, overlapping=True)
        allan = plain.total / plain.terms
        steep = variance_ratio(int(min(here.max(), 0.0)) if here.size and np.isfinite(here.max()) else 0, m)
        if RELIABLE * m < series.n_phases or k == 0:
            modified = windows.at([m])[0]
            ratio[k] = modified.total / modified.terms / (m * m) / allan if allan > 0.0 else 1.0
            noise_of_phase = max(0.0, 1.0 - ratio[k] / steep) * allan
            pure = allan / (1.038 + 3.0 * math.log(math.pi * m))
        else:
            # second differences of phase, not yet divided by m^2: phase noise adds the same at every m
            ratio[k] = steep * max(0.0, 1.0 - noise_of_phase / allan) if allan > 0.0 else 1.0
            grown[k] = allan > GROWN * pure * (1.038 + 3.0 * math.log(math.pi * m))
        if here.size and here.max() <= 0.0 and ratio[k] >= 0.5 * steep:
            break  # phase noise has lost its weight, and beyond has less
    told = found.copy()
    phase_noise = 2.0  # the type that was seen last, at a shorter averaging time
    for k in np.argsort(factors, kind="stable"):
        if np.isfinite(found[k]) and found[k] < 2.0 and factors[k] > 1:
            m, seen = int(octaves[at[k]]), float(ratio[at[k]])
            if seen < 0.5 * variance_ratio(int(found[k]), m):
                white = seen < math.sqrt(variance_ratio(2, m) * variance_ratio(1, m))
                told[k] = 2.0 if white or found[k] == 1.0 else phase_noise
            elif found[k] == 1.0 and grown[at[k]]:
                told[k] = 0.0
        if told[k] >= 1.0:
            phase_noise = float(told[k])
    return told


def variance_ratio(alpha: int, m: int) -> float:
    """Return R(m) = MVAR/AVAR of pure noise, sampled at twice its highest frequency (SP1065 section 5.2.8)."""
    if alpha == 2:
        return 1.0 / m
    if alpha == 1:
        return 1.0 if m == 1 else 3.374 / (1.038 + 3.0 * math.log(math.pi * m))
    if alpha == 0:
        return (m * m + 1.0) / (2.0 * m * m)
    limit = {-1: 0.674, -2: 0.825}[alpha]
    return limit + (1.0 - limit) / (m * m)


def _smooth(size: int) -> int:
    """Return the largest product of 2, 3 and 5 up to `size`: lengths that a Fourier transform likes."""
    best, two = 1, 1
    while two <= size:
        three = two
        while three <= size:
            five = three
            while five <= size:
                best = max(best, five)
                five *= 5
            three *= 3
        two *= 2
    return best
