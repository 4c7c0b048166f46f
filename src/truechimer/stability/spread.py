"""The interval of an error that is normal with a variance which is itself not certain.

It knows nothing of clocks. Variances that agree with the data, with weights, make a mixture of normal densities about
zero; half its interval is found by bisection.
"""

import math

import numpy as np

from truechimer.stability.curve import Floats

CELLS = 96
_ROOT2 = math.sqrt(2.0)


def interval_of(variances: Floats, weight: Floats, ci: float) -> float:
    """Return r with P(|error| <= r) = ci, in the unit of the root of `variances` (n,)."""
    positive = variances > 0.0
    if not positive.any():
        return 0.0
    sigma, share = _grouped(np.sqrt(variances[positive]), weight[positive] / weight[positive].sum())
    low, high = 0.0, 40.0 * max(sigma)
    for _ in range(80):
        middle = 0.5 * (low + high)
        inside = sum(part * math.erf(middle / (one * _ROOT2)) for one, part in zip(sigma, share, strict=True))
        low, high = (middle, high) if inside < ci else (low, middle)
    return 0.5 * (low + high)


def _grouped(sigma: Floats, weight: Floats) -> tuple[list[float], list[float]]:
    """Gather like sigmas: each cell's mean variance stands for it."""
    if sigma.size <= CELLS:
        return sigma.tolist(), weight.tolist()
    logs = np.log(sigma)
    low, wide = float(logs.min()), float(logs.max() - logs.min()) or 1.0
    cell = np.minimum((logs - low) / wide * CELLS, CELLS - 1).astype(np.int64)
    share = np.bincount(cell, weight, minlength=CELLS)
    square = np.bincount(cell, weight * sigma * sigma, minlength=CELLS)
    held = share > 0.0
    return np.sqrt(square[held] / share[held]).tolist(), share[held].tolist()
