# mypy: allow-untyped-defs, allow-untyped-calls
"""Drift: what each clock's rate gains a day, estimated day by day against the clocks that do not drift.

It does not touch the scale: it says a drift and how sure that is. What is expected of a clock's drift comes from its
kind (a caesium or a fountain has none) and from how it behaves: a passive standard, whose noise over a month is still
white FM, hardly drifts; a maser, a rubidium or a crystal, which is flicker and random walk by then, does, in proportion
to that. So a clock of unknown kind, or of a wrong one, finds its place. The reference is a mean of all clocks, each
weighed by one over what its rate may do in a month by noise and in a year by drift, and each less its own long-term
rate, so that a clock that enters or gains weight does not look like drift of the others. Where nobody is free of drift,
what all have in common is the scale's: readings of clocks against each other cannot tell it.

Each clock that may drift has a two-state filter (rate, drift) on its mean rate of the day: white FM of both as noise of
the observation, random walk and flicker of both as noise of the rate. The variance of the drift is honest as far as the
learned noise is. A declared drift is believed until the filter refutes it.

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
DAY_S = 86_400.0
MONTH_S = 30.0 * DAY_S
MONTHS_S = 60.0 * DAY_S
"""A flicker floor counts as the random walk that equals it over this time, in the rate's noise."""
YEAR_S = 365.0 * DAY_S
MOST_DAYS = 700.0
LEAST_DAYS = 3.0
FADING_S = 1_000.0 * DAY_S
"""Drift is allowed to change over this time."""
DRIFT_BY_NOISE = 0.3
"""One sigma of a clock's drift per day, as part of its flicker and random walk over a month (masers, rubidiums and
crystals of data sheets: 0.2 to 3, taken low since a drift is at most learned a little later).
"""
PASSIVE = 10.0
"""Where flicker and random walk over a month exceed white FM by this factor, a clock half counts as one that drifts."""
WIDE = 1e-13 / DAY_S
"""What the filter itself expects of a drift (1/s), at least: next to nothing, so that what is seen and what is expected
stay apart until the end.
"""
REFUTED2 = 3.0
"""A declared drift is believed to this departure (in variances of what is seen), then less and less: of z sigma by
which it seems wrong, z - 3/z are taken as wrong (Breiman's garrote). Where it is right this costs next to nothing.
"""
REFUTED_DAYS = 30.0
DECLARED_PART = 0.1
DECLARED_REL = 0.5
"""For the reference, a declared drift counts as known to a tenth of the kind's variance and half of itself."""


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
    clock_f[i, K_DD] *= 4.0


@kernel
def expected(noise, of_kind, guessed):
    """Return the variance (1/s^2) of the drift that a clock lets expect: `noise (4,)` as learned, `of_kind` what its
    kind does; `guessed`: its kind is not known.
    """
    over = noise[2] + noise[3] * MONTH_S / 3.0
    under = noise[1] / MONTH_S
    active = over / (over + PASSIVE * under + 1e-60)
    # steeply: what is known of noise over a month may be wrong by a factor
    active = active * active * active * active
    by_noise = DRIFT_BY_NOISE * DRIFT_BY_NOISE / (DAY_S * DAY_S) * over * active
    if guessed:
        return min(by_noise, of_kind)
    if of_kind == 0.0 and active < 0.5:
        return 0.0
    return max(by_noise, of_kind)


@kernel
def daily(epoch_ns, start_ns, noise, of_kind, guessed, known, declared, clock_f, clock_i):  # noqa: PLR0917
    """Take the day that has passed into the drifts, `clock_f` columns `DRIFT` (1/s) and `DRIFT_U2` (1/s^2).

    `of_kind` (1/s^2), `guessed`: see `expected`; `known`: bool, the drift is `declared` (1/s).
    """
    n = clock_f.shape[0]
    moved = np.full(n, np.nan)
    span = np.zeros(n)
    common_ns = 0
    for i in range(n):
        # all rates over the same time: clocks marked at another epoch wait for the next day
        if clock_i[i, LAST_NS] == epoch_ns and clock_i[i, DAY_NS] > common_ns:
            common_ns = clock_i[i, DAY_NS]
    age = (epoch_ns - start_ns) / 1e9
    prior = np.zeros(n)
    may_drift = np.zeros(n)
    for i in range(n):
        prior[i] = expected(noise[i], of_kind[i], guessed[i])
        may_drift[i] = prior[i]
        if known[i]:
            stated = DECLARED_REL * declared[i]
            may_drift[i] = min(prior[i], DECLARED_PART * prior[i] + stated * stated)
        if clock_i[i, LAST_NS] != epoch_ns:
            continue
        if clock_i[i, DAY_NS] == common_ns and epoch_ns > common_ns:
            span[i] = (epoch_ns - common_ns) / 1e9
            moved[i] = (clock_f[i, X] - clock_f[i, X_DAY]) / span[i]
            if known[i]:
                moved[i] -= declared[i] * age
        clock_f[i, X_DAY] = clock_f[i, X]
        clock_i[i, DAY_NS] = epoch_ns
    # the reference: its rate over the day, its noise
    total, reference, q1, q2 = 0.0, 0.0, 0.0, 0.0
    for turn in range(2):
        for i in range(n):
            is_there = np.isfinite(moved[i]) and clock_i[i, ACTIVE] == 1
            if is_there and (turn == 1 or clock_f[i, DAYS] >= 1.0):
                weight = 1.0 / (
                    noise[i, 1] / MONTHS_S + noise[i, 2] + noise[i, 3] * MONTHS_S / 3.0 + may_drift[i] * YEAR_S * YEAR_S
                )
                # steeper than what would be best if all that is expected were true: a few clocks that drift more than
                # is expected of them shall not matter
                weight *= np.sqrt(weight)
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
        wide = max(of_kind[i], WIDE * WIDE)
        observed = (noise[i, 1] + q1) / span[i] + 2.0 * noise[i, 0] / (span[i] * span[i])
        walk = noise[i, 3] + 3.0 * noise[i, 2] / MONTHS_S + q2
        if days < LEAST_DAYS:
            clock_f[i, K_Y] = y
            clock_f[i, K_YY] = observed + walk * span[i]
            clock_f[i, K_YD] = 0.0
            # never wider than what is expected of a drift: cut later, it would not agree with what `yd` says of it
            clock_f[i, K_DD] = min(clock_f[i, K_DD], wide) if clock_f[i, K_DD] > 0.0 else wide
        else:
            t = span[i]
            yy = clock_f[i, K_YY] + 2.0 * t * clock_f[i, K_YD] + t * t * clock_f[i, K_DD] + walk * t
            yd = clock_f[i, K_YD] + t * clock_f[i, K_DD]
            dd = min(clock_f[i, K_DD] * (1.0 + t / FADING_S), wide)
            ahead = clock_f[i, K_Y] + t * clock_f[i, K_D]
            whole = yy + observed
            error = y - ahead
            clock_f[i, K_Y] = ahead + yy / whole * error
            clock_f[i, K_D] += yd / whole * error
            clock_f[i, K_YY] = yy - yy / whole * yy
            clock_f[i, K_YD] = yd - yy / whole * yd
            clock_f[i, K_DD] = max(dd - yd / whole * yd, 1e-16 * wide)
        # what is expected and what was seen; of a declared drift the filter sees by how much it is wrong
        seen2 = clock_f[i, K_D] * clock_f[i, K_D]
        if known[i]:
            part = 0.0
            if clock_f[i, DAYS] > REFUTED_DAYS and seen2 > REFUTED2 * clock_f[i, K_DD]:
                part = 1.0 - REFUTED2 * clock_f[i, K_DD] / seen2
            clock_f[i, DRIFT] = declared[i] + part * clock_f[i, K_D]
        else:
            part = prior[i] / (prior[i] + clock_f[i, K_DD])
            clock_f[i, DRIFT] = part * clock_f[i, K_D]
        clock_f[i, DRIFT_U2] = part * clock_f[i, K_DD]
