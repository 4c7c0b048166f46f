"""What a scale can reach: the spectral bound, the best causal scale, and the best fixed weighting B(tau), from spectra.

Three figures stand beside a measured scale at each averaging time.

* B(tau) = [sum sigma_i^-2(tau)]^-1/2: the best fixed weighting at that tau. Not a bound: weights that differ from one
  Fourier frequency to the next can be better, and no fixed weighting is best at two averaging times.
* The spectral bound: S_E(f) >= 1 / sum 1/S_i(f). Not causal: it needs the future.
* The best causal scale: E = sum_i W_i x_i, W_i = c_i0 + sum_k c_ik z^-1 F_k, F_k exponential means over 18 memories
  from half an hour to 1000 days, sum_i W_i = 1. For given weights of the averaging times the c that make the sum of
  Allan variances least solve a linear system. `per_tau`: all weight on one tau: nothing causal is better there, and
  no scale is so good at all tau at once. `at_all`: the weights for which the largest ratio to B(tau), over what is
  allowed at that tau, is least: the best that one causal scale can do.

Reading noise: a reading of clock i against the pivot has white noise u_i. A scale is read through a clock, whose
column is (filtered reading - scale): through clock j the noise of i enters by W_i, that of j by 1 - W_j.
"""

from math import log, pi

import numpy as np
from generator import DAY_S, HOUR_S, Source

TAUS_H = (1, 24, 240, 720)
ALLOWED = (1.05, 1.08, 1.10, 1.15)
MEMORIES_S = np.geomspace(0.5 * HOUR_S, 1000 * DAY_S, 18)

F = np.geomspace(1 / (4000 * DAY_S), 0.5 / HOUR_S, 6000)
DF = np.gradient(F)
Z = np.exp(-2j * pi * F * HOUR_S)
GAP2 = np.abs(1 - Z) ** 2
BASIS = np.array(
    [np.ones_like(Z)] + [(HOUR_S / (m + HOUR_S)) * Z / (1 - (1 - HOUR_S / (m + HOUR_S)) * Z) for m in MEMORIES_S]
)
WINDOWS = np.array([np.abs(1 - Z**m) ** 4 / (2 * (m * HOUR_S) ** 2) for m in TAUS_H])


def s_x(source: Source) -> np.ndarray:
    """One-sided spectrum of x of the clock read every hour."""
    w = np.sqrt(GAP2) / HOUR_S
    white = 2 * HOUR_S**2 * source.q1 / GAP2
    flicker = source.floor**2 / (2 * log(2)) * 2 * pi / w**3
    walk = 2 * HOUR_S**4 * source.q2 / GAP2**2 * (1 - GAP2 / 6)
    return white + flicker + walk


def variance(spectrum: np.ndarray) -> np.ndarray:
    """Allan variance at `TAUS_H`."""
    return WINDOWS @ (spectrum * DF)


def best_fixed2(sources: tuple[Source, ...]) -> np.ndarray:
    return 1.0 / sum(1.0 / variance(s_x(source)) for source in sources)


def spectral2(sources: tuple[Source, ...]) -> np.ndarray:
    return variance(1.0 / sum(1.0 / s_x(source) for source in sources))


def _grams(spectrum: np.ndarray) -> np.ndarray:
    """Gram matrices of the basis at every tau, shape (4, K, K)."""
    return np.array([np.real((BASIS * (spectrum * DF * window)) @ BASIS.conj().T) for window in WINDOWS])


def _solve(grams: list, noises: list, counts: list[int], through: int, weights: np.ndarray):
    """Least sum of weighted variances over filters that sum to 1; returns the variances it gives at every tau.

    `grams`, `noises`: of each group of clocks that are alike, and of their reading noise; the clock that the scale is
    read through, `through`, is a group of its own (-1: there is no reading noise).
    """
    first = np.zeros(len(BASIS))
    first[0] = 1.0
    sum_of = lambda g: np.tensordot(weights, g, 1)  # noqa: E731
    inverse, pull = [], []
    for group, (gram, noise) in enumerate(zip(grams, noises, strict=True)):
        a = sum_of(gram + noise)
        a = a + 1e-11 * np.diag(np.diag(a))
        inverse.append(np.linalg.inv(a))
        # (c - e0)' N (c - e0): its linear part pulls the clock that is read through towards 1
        pull.append(inverse[-1] @ sum_of(noise) @ first if group == through else 0 * first)
    total = sum(n * i for n, i in zip(counts, inverse, strict=True))
    multiplier = np.linalg.solve(total, first - sum(n * p for n, p in zip(counts, pull, strict=True)))
    c = [i @ multiplier + p for i, p in zip(inverse, pull, strict=True)]
    out = np.zeros(len(TAUS_H))
    for group, (gram, noise, n) in enumerate(zip(grams, noises, counts, strict=True)):
        out += n * np.einsum("a,jab,b->j", c[group], gram, c[group])
        off = c[group] - first if group == through else c[group]
        out += n * np.einsum("a,jab,b->j", off, noise, off)
    return out


def best_causal2(
    sources: tuple[Source, ...], *, reading_s: float | np.ndarray = 0.0, through: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Allan variances at `TAUS_H` of the best causal scale for each tau alone, and of the best one for all of them.

    `reading_s`: rms noise of a reading of each clock, or of all; `through`: the clock that the scale is read through,
    None for the one that is quietest from one reading to the next.
    """
    reading = np.broadcast_to(np.asarray(reading_s, float), (len(sources),))
    best = best_fixed2(sources)
    if through is None:
        through = int(np.argmin([source.variance(HOUR_S) for source in sources]))
    # clocks that are alike are one group
    key = [
        (source, float(u), i == through and reading.any())
        for i, (source, u) in enumerate(zip(sources, reading, strict=True))
    ]
    groups = list(dict.fromkeys(key))
    counts = [key.count(group) for group in groups]
    read_through = groups.index(key[through]) if reading.any() else -1
    grams = [_grams(s_x(source)) for source, _, _ in groups]
    noises = [_grams(np.full_like(F, 2 * HOUR_S * u**2)) for _, u, _ in groups]
    per_tau = np.array(
        [_solve(grams, noises, counts, read_through, np.eye(len(TAUS_H))[k] / best)[k] for k in range(len(TAUS_H))]
    )
    weights, found = 1.0 / best, None
    for _ in range(80):
        reached = _solve(grams, noises, counts, read_through, weights)
        ratio = np.sqrt(reached / (per_tau if reading.any() else best)) / np.array(ALLOWED)
        if found is None or ratio.max() < found[0]:
            found = (ratio.max(), reached)
        weights = weights * (ratio / ratio.mean()) ** 3
    return per_tau, found[1]
