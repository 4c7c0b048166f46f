"""How likely five variances are, given independent powers: the best ones, and a sample of all that agree with the data.

It knows nothing of clocks and times. Each power is gamma distributed about the sum of what the noises give to it.

What is absent. Few records hold all five noises, and a noise that is not there, if it must be at least a little,
pushes its neighbours. So every subset of the five is weighed by its evidence, half and half for each noise beforehand.
Where a noise is present, its deviation sigma has the density 1 / (s + sigma) beforehand, over `RANGE` in ln(1 +
sigma/s): flat up to s, what the data can just resolve, and indifferent about the order of magnitude above. A noise too
weak to be seen thus keeps its share of the sample: prediction needs that.

The sample. In the coordinates ln(1 + sigma/s) the likelihood is near a normal density; a multivariate t about its
maximum, then about where its first points show the weight to be, is weighted by the true likelihood. The points are
quasi-random, the same ones for everybody: nothing depends on luck.

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
MORE_POINTS = 512
SMALL_PART = 0.002
"""A subset with more than this part of the weight is sampled again, where the first points show that it lies."""
FARTHEST = 12.0
STEPS = 300
ROUGHLY = 80
"""Steps towards the best variances; fewer where only the lines are to be chosen by them."""
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


def best(lines: Lines, subsets: np.ndarray, steps: int = STEPS) -> Floats:
    """Return the likeliest variances of each subset (n_subsets, 5), by steps that never make them less likely."""
    shares = lines.weight * lines.expected
    start = np.median(lines.power / lines.expected, axis=1)
    start = np.maximum(start, 1e-12 * np.mean(lines.power / lines.expected, axis=1))
    variances = np.where(subsets, start / np.sum(subsets, axis=1, keepdims=True), 0.0)
    columns = np.ascontiguousarray(shares.T)
    for step in range(steps):
        inverse = 1.0 / (variances @ lines.expected)
        ratio = (lines.power * inverse * inverse) @ columns / (inverse @ columns)
        variances *= np.sqrt(ratio) if step % 4 else ratio
    return variances


def log_likelihood(lines: Lines, variances: Floats) -> Floats:
    """Return ln L of each row of `variances` (n, 5)."""
    expected = variances @ lines.expected
    return -np.asarray(np.sum((np.log(expected) + lines.power / expected) * lines.weight, axis=1))


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
    height = float(reached.max())
    tried = []
    for subset, top, here in zip(SUBSETS, found, reached, strict=True):
        if here >= height - UNLIKELY:
            shape = _shape_at(lines, np.flatnonzero(subset), top, least)
            tried.append((_drawn(lines, shape, least, height, POINTS), shape, top))
    total = sum(float(each[0].weight.sum()) for each in tried)
    parts, likeliest, most = [], full, 0.0
    for first, shape, top in tried:
        part = first
        if float(first.weight.sum()) > SMALL_PART * total:
            part = _drawn(lines, _shape_of(first, shape), least, height, MORE_POINTS)
        parts.append(part)
        if float(part.weight.sum()) > most:
            most, likeliest = float(part.weight.sum()), top
    variances = np.concatenate([each.variances for each in parts])
    weight = np.concatenate([each.weight for each in parts])
    kept = weight > 0.0  # however little: every noise has a limit
    return Sample(variances[kept], weight[kept] / weight[kept].sum(), likeliest)


@dataclass(frozen=True, slots=True, eq=False)
class _Shape:
    """Where a subset's noises `kinds` are looked for: `centre` (k,), and `root` (k, k), Cholesky's, of the spread."""

    kinds: np.ndarray
    centre: Floats
    root: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Draw:
    """Points of one subset: coordinates `v` (n, k), `variances` (n, 5) and unnormalised `weight` (n,)."""

    v: Floats
    variances: Floats
    weight: Floats


def _shape_at(lines: Lines, kinds: np.ndarray, top: Floats, least: Floats) -> _Shape:
    """Return the shape that the curvature at the best variances gives."""
    s = least[kinds]
    sigma = np.maximum(np.sqrt(top[kinds]), s)
    at = top.copy()
    at[kinds] = np.maximum(top[kinds], (0.5 * s) ** 2)
    slope = 2.0 * sigma * (s + sigma)  # of the variance
    matrix = information(lines, at)[np.ix_(kinds, kinds)] * np.outer(slope, slope)
    spread = np.linalg.inv(matrix + 0.1 * np.eye(kinds.size))
    return _Shape(kinds, np.log1p(np.sqrt(top[kinds]) / s), np.linalg.cholesky(spread) * WIDER)


def _shape_of(draw: _Draw, before: _Shape) -> _Shape:
    """Return the shape that weighted points show; as few as there may be, mixed with the one before."""
    weight = draw.weight / draw.weight.sum()
    effective = 1.0 / float(weight @ weight)
    trust = effective / (effective + 5.0 * before.kinds.size)
    centre = weight @ draw.v
    apart = draw.v - centre
    seen = (apart * weight[:, None]).T @ apart
    spread = trust * seen * WIDER**2 + (1.0 - trust) * before.root @ before.root.T
    return _Shape(before.kinds, centre, np.linalg.cholesky(spread + 1e-12 * np.diag(np.diag(spread))))


def _drawn(lines: Lines, shape: _Shape, least: Floats, height: float, count: int) -> _Draw:
    """Weigh `count` quasi-random points of a multivariate t by likelihood and prior."""
    size = shape.kinds.size
    s = least[shape.kinds]
    normals, radius = _points(size, count)
    stretched = normals * radius[:, None]
    v = shape.centre + stretched @ shape.root.T
    inside = np.all((v >= 0.0) & (v <= FARTHEST), axis=1)
    density = -0.5 * (FREEDOM + size) * np.log1p(np.sum(stretched * stretched, axis=1) / FREEDOM)
    norm = (
        math.lgamma(0.5 * (FREEDOM + size))
        - math.lgamma(0.5 * FREEDOM)
        - 0.5 * size * math.log(FREEDOM * math.pi)
        - float(np.sum(np.log(np.diag(shape.root))))
    )
    variances = np.zeros((count, KINDS))
    variances[:, shape.kinds] = (s * np.expm1(np.clip(v, 1e-6, FARTHEST))) ** 2
    told = log_likelihood(lines, variances) - height
    weight = np.where(inside, np.exp(np.minimum(told - density - norm - size * math.log(RANGE), 600.0)), 0.0)
    return _Draw(v, variances, weight / count)


@lru_cache(maxsize=16)
def _points(size: int, count: int) -> tuple[Floats, Floats]:
    """Return normals (count, size) and radii (count,) that make them a t of `FREEDOM` degrees."""
    golden = 1.5
    for _ in range(60):
        golden = (1.0 + golden) ** (1.0 / (size + 2.0))
    steps = golden ** -np.arange(1.0, size + 2.0)
    places = np.mod(0.5 + np.arange(1.0, count + 1.0)[:, None] * steps, 1.0)
    places = np.clip(places, 1e-9, 1.0 - 1e-9)
    normals = np.vectorize(normal_quantile, otypes=[np.float64])(places)
    cube = 2.0 / (9.0 * FREEDOM)  # Wilson and Hilferty
    chi = FREEDOM * np.maximum(1.0 - cube + normals[:, -1] * math.sqrt(cube), 0.1) ** 3
    return normals[:, :-1], np.sqrt(FREEDOM / chi)
