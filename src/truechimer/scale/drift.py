# mypy: allow-untyped-defs, allow-untyped-calls
"""Drift: what each clock's rate gains a day, estimated day by day against the clocks that do not drift.

It does not touch the scale: it says a drift and how sure that is. The reference is a mean of the drift-free clocks
(caesiums and fountains; where there are none, the steadiest kind there is), each less its own long-term rate, so that
a clock that enters or gains weight does not look like drift of the others. Each other clock has a two-state filter
(rate, drift) on its mean rate of the day: white FM of both as noise of the observation, random walk and flicker of both
as noise of the rate. The variance of the drift is honest as far as the learned noise is.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

import numpy as np

from truechimer.kernel import kernel
from truechimer.scale.bands_state import (
    ACTIVE,
    DAY_NS,
    DAYS,
    DRIFT,
    DRIFT_U2,
    K_D,
    K_DD,
    K_Y,
    K_YD,
    K_YY,
    LAST_NS,
    STATUS,
    X_DAY,
    Y_REFERENCE,
    X,
)
from truechimer.scale.state import Membership

_DISPUTED, _DIVIDED = int(Membership.DISPUTED), int(Membership.DIVIDED)
MONTHS_S = 60.0 * 86_400.0
"""A flicker floor counts as the random walk that equals it over this time, in the rate's noise."""
MOST_DAYS = 700.0
LEAST_DAYS = 3.0
FADING_S = 1_000.0 * 86_400.0
"""Drift is allowed to change over this time."""


@kernel
def begin(clock_f, clock_i, epoch_ns):
    """Mark the phases of the first day."""
    for i in range(clock_f.shape[0]):
        if clock_i[i, LAST_NS] == epoch_ns:
            clock_f[i, X_DAY] = clock_f[i, X]
            clock_i[i, DAY_NS] = epoch_ns


@kernel
def opened(clock_f, i):
    """Forget the rate of clock i; its drift is kept, less surely."""
    clock_f[i, DAYS] = 0.0
    clock_f[i, K_YD] = 0.0


@kernel
def daily(epoch_ns, noise, drift_free, drift_known, drift_prior, clock_f, clock_i):  # noqa: PLR0917
    """Take the day that has passed into the drifts, `clock_f` columns `DRIFT` (1/s) and `DRIFT_U2` (1/s^2)."""
    n = clock_f.shape[0]
    moved = np.full(n, np.nan)
    span = np.zeros(n)
    common_ns = 0
    for i in range(n):
        # all rates over the same time: clocks marked at another epoch wait for the next day
        if clock_i[i, LAST_NS] == epoch_ns and clock_i[i, DAY_NS] > common_ns:
            common_ns = clock_i[i, DAY_NS]
    for i in range(n):
        if clock_i[i, LAST_NS] != epoch_ns:
            continue
        if clock_i[i, DAY_NS] == common_ns and epoch_ns > common_ns:
            span[i] = (epoch_ns - common_ns) / 1e9
            moved[i] = (clock_f[i, X] - clock_f[i, X_DAY]) / span[i]
        clock_f[i, X_DAY] = clock_f[i, X]
        clock_i[i, DAY_NS] = epoch_ns
    # the reference: its rate over the day, its noise
    total, reference, q1, q2 = 0.0, 0.0, 0.0, 0.0
    for turn in range(2):
        for i in range(n):
            is_there = drift_free[i] and np.isfinite(moved[i]) and clock_i[i, ACTIVE] == 1
            if is_there and (turn == 1 or clock_f[i, DAYS] >= 1.0):
                weight = 1.0 / (noise[i, 1] / MONTHS_S + noise[i, 2] + noise[i, 3] * MONTHS_S / 3.0)
                total += weight
                reference += weight * (moved[i] - clock_f[i, Y_REFERENCE])
                q1 += weight * weight * noise[i, 1]
                q2 += weight * weight * (noise[i, 3] + 3.0 * noise[i, 2] / MONTHS_S)
        if total > 0.0:
            break
    if total <= 0.0:
        return
    reference /= total
    q1 /= total * total
    q2 /= total * total
    for i in range(n):
        if not np.isfinite(moved[i]) or clock_i[i, STATUS] == _DISPUTED or clock_i[i, STATUS] == _DIVIDED:
            # a rate that is in dispute is no drift
            continue
        y = moved[i] - reference
        days = clock_f[i, DAYS]
        clock_f[i, DAYS] = min(days + 1.0, MOST_DAYS)
        clock_f[i, Y_REFERENCE] += (y - clock_f[i, Y_REFERENCE]) / clock_f[i, DAYS]
        if drift_free[i] or drift_known[i]:
            continue
        observed = (noise[i, 1] + q1) / span[i] + 2.0 * noise[i, 0] / (span[i] * span[i])
        walk = noise[i, 3] + 3.0 * noise[i, 2] / MONTHS_S + q2
        if days < LEAST_DAYS:
            clock_f[i, K_Y] = y
            clock_f[i, K_YY] = observed + walk * span[i]
            clock_f[i, K_YD] = 0.0
            continue
        t = span[i]
        yy = clock_f[i, K_YY] + 2.0 * t * clock_f[i, K_YD] + t * t * clock_f[i, K_DD] + walk * t
        yd = clock_f[i, K_YD] + t * clock_f[i, K_DD]
        dd = min(clock_f[i, K_DD] * (1.0 + t / FADING_S), drift_prior[i])
        ahead = clock_f[i, K_Y] + t * clock_f[i, K_D]
        whole = yy + observed
        error = y - ahead
        clock_f[i, K_Y] = ahead + yy / whole * error
        clock_f[i, K_D] += yd / whole * error
        clock_f[i, K_YY] = yy - yy / whole * yy
        clock_f[i, K_YD] = yd - yy / whole * yd
        clock_f[i, K_DD] = max(dd - yd / whole * yd, 1e-6 * drift_prior[i])
        clock_f[i, DRIFT] = clock_f[i, K_D]
        clock_f[i, DRIFT_U2] = clock_f[i, K_DD]
