"""The interval of an error that is normal with a variance which is itself not certain.

It knows nothing of clocks. Variances that agree with the data, with weights, make a mixture of normal densities about
zero; half its interval is found by Newton's steps, within bounds.
"""

import math

import numpy as np

from truechimer.stability.curve import Floats

CELLS = 64
NOTHING = 1e-12
"""Weights below this part of the largest change no interval."""
_ROOT2 = math.sqrt(2.0)


def interval_of(variances: Floats, weight: Floats, ci: float) -> float:
    """Return r with P(|error| <= r) = ci, in the unit of the root of `variances` (n,)."""
    positive = (variances > 0.0) & (weight > NOTHING * np.max(weight))
    if not positive.any():
        return 0.0
    sigma, share = _grouped(np.sqrt(variances[positive]), weight[positive] / weight[positive].sum())
    low, high = 0.0, 40.0 * max(sigma)
    middle = math.sqrt(sum(part * one * one for one, part in zip(sigma, share, strict=True)))
    for _ in range(80):
        inside, density = 0.0, 0.0
        for one, part in zip(sigma, share, strict=True):
            scaled = middle / (one * _ROOT2)
            inside += part * math.erf(scaled)
            density += part * math.exp(-scaled * scaled) / one
        low, high = (middle, high) if inside < ci else (low, middle)
        step = (ci - inside) / max(density * _ROOT2 / math.sqrt(math.pi), 1e-300)
        if abs(step) < 1e-12 * middle:
            break
        middle = middle + step if low < middle + step < high else 0.5 * (low + high)
    return middle


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
