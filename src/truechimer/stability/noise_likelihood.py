"""How likely five variances are, given independent powers: the best ones, and a sample of all that agree with the data.

It knows nothing of clocks and times. Each power is gamma distributed about the sum of what the noises give to it.

What is absent. Few records hold all five noises, and a noise that is not there, if it must be at least a little,
pushes its neighbours. So every subset of the five is weighed by its evidence, half and half for each noise beforehand.
Where a noise is present, its deviation sigma has the density 1 / (s + sigma) beforehand, over `RANGE` in ln(1 +
sigma/s): flat up to s, what the data can just resolve, and indifferent about the order of magnitude above. A noise too
weak to be seen thus keeps its share of the sample: prediction needs that.

The sample. In the coordinates ln(1 + sigma/s) the likelihood is near a normal density; a multivariate t about its
maximum, with quasi-random points (the same ones for everybody), is weighted by the true likelihood. Nothing is drawn.

Source: gamma likelihood of powers (Whittle 1953); the best variances by majorization and minimization for the
Itakura-Saito divergence (Fevotte and Idier 2011); importance sampling as in any textbook; quasi-random points: the
additive recurrence of the generalised golden ratio (Roberts 2018).
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from truechimer.stability.chi_square import normal_quantile
from truechimer.stability.curve import Floats
from truechimer.stability.noise_lines import KINDS, Lines

RANGE = 2.0
"""Width of the prior in ln(1 + sigma/s). What is determined has 1/RANGE per unit, so this is the price of a noise."""
POINTS = 256
STEPS = 400
UNLIKELY = 14.0
"""Subsets whose best likelihood is by this (ln) below the best of all are not sampled."""
FREEDOM = 5.0
WIDER = 1.2
SUBSETS = np.array([each for each in product((False, True), repeat=KINDS) if any(each)])


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Variances (n, 5) that agree with the data, 0 where a noise is absent, and their `weight` (n,), of sum 1.

    `likeliest` (5,): the best variances of the subset that has the most weight.
    """

    variances: Floats
    weight: Floats
    likeliest: Floats

    def mean(self) -> Floats:
        """Return the mean variances, shape (5,)."""
        return np.asarray(self.weight @ self.variances)


def best(lines: Lines, subsets: np.ndarray) -> Floats:
    """Return the likeliest variances of each subset (n_subsets, 5), by steps that never make them less likely."""
    shares = lines.weight * lines.expected
    start = np.median(lines.power / lines.expected, axis=1)
    start = np.maximum(start, 1e-12 * np.mean(lines.power / lines.expected, axis=1))
    variances = np.where(subsets, start / np.sum(subsets, axis=1, keepdims=True), 0.0)
    for step in range(STEPS):
        expected = variances @ lines.expected
        ratio = (lines.power / (expected * expected)) @ shares.T / ((1.0 / expected) @ shares.T)
        variances *= np.sqrt(ratio) if step % 4 else ratio
    return variances


def log_likelihood(lines: Lines, variances: Floats) -> Floats:
    """Return ln L of each row of `variances` (n, 5)."""
    expected = variances @ lines.expected
    return -np.asarray((np.log(expected) + lines.power / expected) @ lines.weight)


def information(lines: Lines, variances: Floats) -> Floats:
    """Return Fisher's information of the variances (5, 5)."""
    relative = lines.expected / (variances @ lines.expected)
    return np.asarray((relative * lines.weight) @ relative.T)


def resolution(lines: Lines, variances: Floats) -> Floats:
    """Return the deviation of each noise that the data just resolve (5,)."""
    matrix = information(lines, variances)
    size = 1.0 / np.sqrt(np.diag(matrix))
    scaled = matrix * np.outer(size, size)
    spread = np.diag(np.linalg.inv(scaled + 1e-9 * np.eye(KINDS)))
    return np.asarray(np.sqrt(size * np.sqrt(spread)))


def sample(lines: Lines) -> Sample:
    """Return what agrees with the data, over all subsets."""
    found = best(lines, SUBSETS)
    reached = log_likelihood(lines, found)
    full = found[-1]
    least = resolution(lines, full)
    rows, weights = [], []
    most, likeliest = 0.0, full
    for subset, top, height in zip(SUBSETS, found, reached, strict=True):
        if height < reached.max() - UNLIKELY:
            continue
        here, weight = _sample_of(lines, np.flatnonzero(subset), top, least, float(reached.max()))
        rows.append(here)
        weights.append(weight)
        if float(weight.sum()) > most:
            most, likeliest = float(weight.sum()), top
    variances, weight = np.concatenate(rows), np.concatenate(weights)
    kept = weight > 1e-9 * weight.max()
    return Sample(variances[kept], weight[kept] / weight[kept].sum(), likeliest)


def _sample_of(lines: Lines, kinds: np.ndarray, top: Floats, least: Floats, height: float) -> tuple[Floats, Floats]:
    s = least[kinds]
    centre = np.log1p(np.sqrt(top[kinds]) / s)
    sigma = s * np.expm1(np.maximum(centre, math.log(2.0)))
    slope = 2.0 * sigma * (s + sigma)  # of the variance
    at = top.copy()
    at[kinds] = np.maximum(top[kinds], (0.5 * s) ** 2)
    matrix = information(lines, at)[np.ix_(kinds, kinds)] * np.outer(slope, slope)
    root = np.linalg.cholesky(np.linalg.inv(matrix + 0.1 * np.eye(kinds.size))) * WIDER
    normals, radius = _points(kinds.size)
    v = centre + (normals * radius[:, None]) @ root.T
    inside = np.all((v >= 0.0) & (v <= 12.0), axis=1)
    density = -0.5 * (FREEDOM + kinds.size) * np.log1p(np.sum((normals * radius[:, None]) ** 2, axis=1) / FREEDOM)
    norm = (
        math.lgamma(0.5 * (FREEDOM + kinds.size))
        - math.lgamma(0.5 * FREEDOM)
        - 0.5 * kinds.size * math.log(FREEDOM * math.pi)
        - float(np.sum(np.log(np.diag(root))))
    )
    variances = np.zeros((v.shape[0], KINDS))
    variances[:, kinds] = (s * np.expm1(np.clip(v, 1e-6, 12.0))) ** 2
    told = log_likelihood(lines, variances) - height
    weight = np.where(inside, np.exp(np.minimum(told - density - norm - kinds.size * math.log(RANGE), 600.0)), 0.0)
    return variances, weight / v.shape[0]


@lru_cache(maxsize=8)
def _points(size: int) -> tuple[Floats, Floats]:
    """Return normals (POINTS, size) and radii (POINTS,) that make them a t of `FREEDOM` degrees."""
    golden = 1.5
    for _ in range(60):
        golden = (1.0 + golden) ** (1.0 / (size + 2.0))
    steps = golden ** -np.arange(1.0, size + 2.0)
    places = np.mod(0.5 + np.arange(1.0, POINTS + 1.0)[:, None] * steps, 1.0)
    places = np.clip(places, 1e-9, 1.0 - 1e-9)
    normals = np.vectorize(normal_quantile, otypes=[np.float64])(places)
    cube = 2.0 / (9.0 * FREEDOM)  # Wilson and Hilferty
    chi = FREEDOM * np.maximum(1.0 - cube + normals[:, -1] * math.sqrt(cube), 0.1) ** 3
    return normals[:, :-1], np.sqrt(FREEDOM / chi)
