# mypy: allow-untyped-defs, allow-untyped-calls
"""The first two days: whose readings are beyond anything that a clock does, while nobody's own noise is known.

It convicts nobody for what noise may be: that begins when 48 epochs have shown what each clock does. Before, a clock is
off where it departs from the median of the others by far more than its kind lets expect, and by far more than it did
itself so far, or by ten thousand times what the others do (a reading in another unit).

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

import numpy as np

from truechimer.kernel import kernel
from truechimer.scale.detection import ROBUST_CAP, weighted_median
from truechimer.scale.detection_noise import phase_variance
from truechimer.scale.weights import capped

YOUNG_EPOCHS = 48
"""Epochs before a clock's own noise is known well enough to judge it by that."""
LEAST = 3
"""Clocks that are needed to say which one is off."""
BEYOND_KIND2 = 64.0
"""Squared sigmas of what the kind lets expect, drift included; no clock is off below."""
BEYOND_SELF = 12.0
"""Times the largest departure that it has shown so far, and times what others show of what is expected of them."""
BEYOND_ALL = 1e4
"""Times the others' median departure: no clock of any kind is so much noisier than its neighbours."""
BEYOND_EXPECTED = 100.0
"""A clock whose kind is known needs no past of its own to be off by so many sigmas."""


@kernel
def middle_of(values, used):
    """Return the upper median of the `values` that are `used`; NaN where none is."""
    n = 0
    for i in range(values.shape[0]):
        if used[i]:
            n += 1
    if n == 0:
        return np.nan
    held = np.empty(n)
    n = 0
    for i in range(values.shape[0]):
        if used[i]:
            held[n] = values[i]
            n += 1
    return np.sort(held)[n // 2]


@kernel
def odd_rates(d, voter, odd):
    """Mark in `odd` whose first rate is ten thousand times further from the median than the others' are (nobody's noise
    is known yet); return the median of `d` (s, clock minus its phase at the epoch before).
    """
    n = d.shape[0]
    heard = np.zeros(n, np.bool_)
    apart = np.zeros(n)
    count = 0
    for i in range(n):
        odd[i] = False
        heard[i] = voter[i] and np.isfinite(d[i])
        count += 1 if heard[i] else 0
    middle = middle_of(d, heard)
    if count < LEAST:
        return middle
    for i in range(n):
        apart[i] = abs(d[i] - middle) if heard[i] else 0.0
    usual = middle_of(apart, heard)
    for i in range(n):
        odd[i] = heard[i] and usual > 0.0 and apart[i] > BEYOND_ALL * usual
    return middle


@kernel
def beyond_any(  # noqa: PLR0917
    epoch_ns, d, u2, voter, eligible, last_ns, since_ns, prior, worth, drift_u, memory, count, largest, off
):
    """Mark in `off` who is beyond anything; keep in `largest` (s) each young clock's largest departure so far.

    `d`: departure from the own prediction (s, NaN where there is none); `prior (n, 4)`, `worth`, `drift_u` (1/s): what
    the kind lets expect.
    """
    n = d.shape[0]
    heard = np.zeros(n, np.bool_)
    young = False
    for i in range(n):
        off[i] = False
        heard[i] = eligible[i] == 1 and np.isfinite(d[i]) and last_ns[i] > since_ns[i]
        young = young or (heard[i] and count[i, 0] < YOUNG_EPOCHS)
    if not young:
        return
    judges = 0
    voting = np.zeros(n, np.bool_)
    for i in range(n):
        voting[i] = heard[i] and voter[i]
        judges += 1 if voting[i] else 0
    if judges < LEAST:
        return
    size, part, sigma2, votes = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    for i in range(n):
        if not heard[i]:
            continue
        dt = (epoch_ns - last_ns[i]) / 1e9
        learned = (last_ns[i] - since_ns[i]) / 1e9
        drifted = drift_u[i] * dt * (dt + min(learned, memory[i]))
        sigma2[i] = phase_variance(prior[i], memory[i], dt, learned, 0.0) + drifted * drifted + 2.0 * u2[i]
        votes[i] = 1.0 / np.sqrt(sigma2[i]) if voting[i] else 0.0
    votes = capped(votes, ROBUST_CAP)
    middle = weighted_median(np.where(voting, d, 0.0), votes)
    # the variance of a median is pi/2 times that of the mean for Gaussian noise
    spread2 = 0.0
    for i in range(n):
        spread2 += 1.5707963267948966 * votes[i] * votes[i] * sigma2[i]
    for i in range(n):
        if heard[i]:
            sigma2[i] += spread2
            size[i] = abs(d[i] - middle)
            part[i] = size[i] / np.sqrt(sigma2[i])
    usual, usual_part = middle_of(size, voting), max(middle_of(part, voting), 1.0)
    many = 0
    for i in range(n):
        if not heard[i] or count[i, 0] >= YOUNG_EPOCHS or size[i] * size[i] <= BEYOND_KIND2 * sigma2[i]:
            continue
        unlike_itself = count[i, 0] >= 2 and size[i] > BEYOND_SELF * largest[i]
        unlike_its_kind = worth[i] > 0.0 and part[i] > BEYOND_EXPECTED * usual_part
        unlike_others = part[i] > BEYOND_SELF * usual_part
        off[i] = size[i] > BEYOND_ALL * usual or (unlike_others and (unlike_itself or unlike_its_kind))
        many += 1 if off[i] and voting[i] else 0
    if 2 * many >= judges:
        # there is no majority to say so
        off[:] = False
    for i in range(n):
        if heard[i] and not off[i] and count[i, 0] < YOUNG_EPOCHS:
            largest[i] = max(largest[i], size[i])
