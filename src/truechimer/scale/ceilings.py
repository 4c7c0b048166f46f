# mypy: allow-untyped-defs, allow-untyped-calls
"""Ceilings: no more weight for a clock than persons have ordered; what it gives up goes to the others.

It decides no ceiling and judges no clock. A ceiling of 0 is a clock that is heard and carries nothing. Ceilings that
leave the clocks which are there less than the whole are raised in proportion: a scale without anybody's weight is none.

In `bands` a ceiling is kept in two ways. The weights over all averaging times are those of a clock that is noisier by a
factor, the smallest with which it stays below; and whatever the weights are, no epoch gives it more of the phase.

Law of the file: only + - * / in a written order, so that a replay is equal to the last bit.
"""

from math import isfinite, sqrt

import numpy as np
from numpy.typing import NDArray

from truechimer.kernel import kernel
from truechimer.scale.band_weights import band_weights
from truechimer.scale.bands_state import CEILING
from truechimer.scale.state import ScaleParameters

Floats = NDArray[np.float64]

TURNS = 48
"""Rounds in which the factors are found; each makes the weights anew."""
SMALLEST, LARGEST = 1e-6, 1e12
"""Of the factors. A ceiling smaller than a millionth is none that noise could be told by: it counts as a millionth."""
CLOSE = 1e-6
"""Relative; so near below a ceiling a weight is there."""


@kernel
def held_below(weight, ceiling):
    """Hold weights of sum 1 (>= 0, shape `(n,)`) below their ceilings, in place; ceiling 0 and below: none is set, for
    who has one carries weight.

    What is cut goes to those with weight and room, in proportion; ceilings that leave less than 1 are raised.
    """
    n = weight.shape[0]
    room = 0.0
    any_above = False
    for i in range(n):
        if weight[i] > 0.0:
            limit = ceiling[i] if 0.0 < ceiling[i] < 1.0 else 1.0
            room += limit
            any_above = any_above or weight[i] > limit
    if not any_above or room <= 0.0:
        return
    raised = 1.0 / room if room < 1.0 else 1.0
    cut = np.zeros(n, np.bool_)
    for _ in range(n):
        free, left, fresh = 0.0, 1.0, False
        for i in range(n):
            if cut[i]:
                left -= weight[i]
            elif weight[i] > 0.0:
                free += weight[i]
        if free <= 0.0:
            break
        share = left / free
        for i in range(n):
            if cut[i] or weight[i] <= 0.0:
                continue
            limit = raised * ceiling[i] if 0.0 < ceiling[i] < 1.0 else 1.0
            if weight[i] * share > limit:
                weight[i] = limit
                cut[i] = True
                fresh = True
        if not fresh:
            for i in range(n):
                if not cut[i] and weight[i] > 0.0:
                    weight[i] = weight[i] * share
            break


@kernel
def shared_out(used, part, clock_f):
    """Divide the weights in use by their sum, `part`, and hold them below the ceilings that stand with the clocks."""
    any_set = False
    for i in range(used.shape[0]):
        if used[i] > 0.0:
            used[i] = used[i] / part
            any_set = any_set or clock_f[i, CEILING] > 0.0
    if any_set:
        held_below(used, clock_f[:, CEILING].copy())


@kernel
def band_weights_below(noise, drift_u2, active, tensors, taus, allowed, beside, filters, c, clock_f):  # noqa: PLR0917
    """Write `band_weights` into `c` with every clock's weight, now and over months, at most the ceiling that stands
    with it (0: none). Returns what `band_weights` does.
    """
    n = noise.shape[0]
    ceiling = clock_f[:, CEILING].copy()
    worst = band_weights(noise, drift_u2, active, tensors, taus, allowed, beside, filters, c)
    room = 0.0
    any_set = False
    for i in range(n):
        if active[i]:
            has = 0.0 < ceiling[i] < 1.0
            any_set = any_set or has
            room += ceiling[i] if has else 1.0
    if not any_set or worst < 0.0:
        return worst
    raised = 1.0 / room if room < 1.0 else 1.0
    louder, drifting = noise.copy(), drift_u2.copy()
    factor = np.ones(n)
    for _ in range(TURNS):
        apart = 0.0
        for i in range(n):
            if not active[i] or not 0.0 < ceiling[i] < 1.0:
                continue
            limit = min(max(raised * ceiling[i], SMALLEST), 1.0 - SMALLEST)
            months = 0.0
            for k in range(filters):
                months += c[i, k]
            share = min(max(c[i, 0], months, SMALLEST * SMALLEST), 1.0 - SMALLEST)
            # a weight's odds go with one over its clock's noise
            wanted = factor[i] * (share * (1.0 - limit)) / (limit * (1.0 - share))
            wanted = min(max(wanted * (1.0 + CLOSE), 1.0), LARGEST)
            apart = max(apart, abs(wanted - factor[i]) / factor[i] if wanted > factor[i] or factor[i] > 1.0 else 0.0)
            factor[i] = wanted
        if apart <= 2.0 * CLOSE:
            break
        for i in range(n):
            for k in range(4):
                louder[i, k] = noise[i, k] * factor[i]
            drifting[i] = drift_u2[i] * factor[i]
        worst = band_weights(louder, drifting, active, tensors, taus, allowed, beside, filters, c)
        if worst < 0.0:
            break
    return worst


def limited(weight: Floats, ceilings: Floats) -> Floats:
    """Return weights of sum 1 below these ceilings (0: no weight at all, 1: none); itself where it is below."""
    over = weight > ceilings
    if not over.any():
        return weight
    out = np.where(ceilings > 0.0, weight, 0.0)
    total = 0.0
    for one in out.tolist():
        total += one
    if total <= 0.0:
        return out
    for i in range(len(out)):
        out[i] = out[i] / total
    held_below(out, ceilings)
    return out


def averaged_below(  # noqa: PLR0917 - the values of one epoch of AT1
    used: Floats, predicted: Floats, x_ip: Floats, u2: Floats, variance: Floats, constants: ScaleParameters
) -> tuple[Floats, float, float, float]:
    """Return AT1's mean with these weights: them, the pivot minus the scale (s; NaN where nobody has weight), its
    reading noise (s^2), and the largest movement by one clock that is not seen (s); see `at1.average`.
    """
    voters = np.flatnonzero(used).tolist()
    x_pivot, noise, floor = 0.0 if voters else float("nan"), 0.0, 0.0
    for i in voters:
        share = float(used[i])
        x_pivot += share * float(predicted[i] - x_ip[i])
        noise += share * share * float(u2[i])
    for i in voters:
        if isfinite(variance[i]):
            unseen = sqrt(float(variance[i]) + 2.0 * float(u2[i]) + 2.0 * noise)
            floor = max(floor, float(used[i]) * constants.detection_sigmas * unseen)
    return used, x_pivot, noise, floor
