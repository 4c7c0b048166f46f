# mypy: allow-untyped-defs, allow-untyped-calls
"""One step of `bands`: where the scale is at this epoch, and every clock against it.

It makes no weights. A reading is clock minus pivot with the noise of its link. Phases and rates are kept as they are
read: how much of each clock's reading noise the scale may hold stands in the weights. What is given out of a clock, its
column, is those phases through the clock's own filter (`column_filters`).

A clock that missed readings for a while votes again at once, over all the time that it was away: what the others put
into the scale meanwhile is taken out again. One that comes back where it should not be listens for one epoch.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

import numpy as np

from truechimer.kernel import kernel
from truechimer.scale.bands_doubt import is_silenced
from truechimer.scale.bands_state import (
    ACTIVE,
    BEST,
    DRIFT,
    DRIFT_U2,
    EPOCH_NS,
    GOING,
    LAST_NS,
    MUTED_NS,
    OUT,
    RATE,
    READING_U2,
    SINCE_NS,
    START_NS,
    STATUS,
    WEIGHT_DC,
    X_VARIANCE,
    X,
)
from truechimer.scale.ceilings import shared_out
from truechimer.scale.state import Membership

_DISPUTED, _DIVIDED = int(Membership.DISPUTED), int(Membership.DIVIDED)
HANDED_OVER_S, HANDED_OVER_STEPS = 86_400.0, 30.0
"""In this time, and at least so many steps, the scale goes over from what the weights before made of the past to what
the new ones make of it, and a column from one filter to the next.
"""
RETURNS2 = 36.0
"""A clock without weight that is found six sigma from where it should be is another clock: it is learned anew. One with
weight that was away listens for one epoch.
"""
AT_ONCE = 4.0
"""One that was away for longer than so many steps listens for one epoch too: what it would take out of the scale then
would be a step.
"""
FORGOTTEN = 2.0
"""... as is one that was away for longer than this many of the memories that predict it best."""
CONTRADICTED2 = 10.0
"""A memory is contradicted by a shorter one from about three sigma on."""


@kernel
def trusted(i, rate, memories, noise, clock_i):
    """Return the place of the memory whose rate clock i is predicted with: the longest up to its best one that no
    shorter memory contradicts (the rule of Lepski 1991). Where noise is all that moves a rate that is the best one;
    what moves it beyond noise, an unknown drift or a scale that was turned, a long memory would follow for months.
    """
    best = clock_i[i, BEST]
    while best > 0:
        memory = memories[best]
        for j in range(best):
            short = memories[j]
            allowed = 0.5 * noise[i, 1] / short + noise[i, 0] / (short * short) + noise[i, 2] * 2.0
            allowed += 0.5 * noise[i, 3] * memory
            apart = rate[i, j] - rate[i, best]
            if apart * apart > CONTRADICTED2 * allowed:
                best -= 1
                break
        else:
            break
    return best


@kernel
def error2(noise, memory):
    """Return the variance of a clock's rate as its mean over `memory` s tells it."""
    return 0.5 * noise[1] / memory + noise[0] / (memory * memory) + 0.5 * noise[3] * memory


@kernel
def _prediction2(i, own, noise, clock_f, clock_i, memories):  # noqa: PLR0917
    """Return the variance (s^2) of where clock i is predicted to be `own` s after its last reading."""
    young = max(min((clock_i[i, LAST_NS] - clock_i[i, SINCE_NS]) / 1e9, memories[clock_i[i, BEST]]), own)
    rate2 = noise[i, 1] / young + 2.0 * noise[i, 2] + noise[i, 3] * (young + own)
    rate2 += clock_f[i, DRIFT_U2] * (own + young) * (own + young)
    return noise[i, 1] * own + own * own * rate2 + 2.0 * noise[i, 0]


@kernel
def _return(epoch_ns, before_ns, claim, here, noise, clock_f, clock_i, memories):  # noqa: PLR0917
    """Take those out of `here` (bool, changed) that were away and come back where they should not be.

    `claim (n,)`: where each clock says that the pivot stands against the scale. Each is held against the others
    together, with the worst taken out first.
    """
    n = claim.shape[0]
    weight = np.zeros(n)
    others = False
    for i in range(n):
        if here[i]:
            own = (epoch_ns - clock_i[i, LAST_NS]) / 1e9
            weight[i] = 1.0 / (_prediction2(i, own, noise, clock_f, clock_i, memories) + 1e-60)
            others = others or clock_i[i, LAST_NS] >= before_ns
    for i in range(n):
        if here[i] and others and clock_i[i, LAST_NS] < before_ns and clock_i[i, MUTED_NS] > clock_i[i, LAST_NS]:
            here[i], weight[i] = False, 0.0
    for _ in range(n):
        total, mean = 0.0, 0.0
        for i in range(n):
            total += weight[i]
        if total <= 0.0:
            return
        for i in range(n):
            if weight[i] > 0.0:
                mean += weight[i] / total * claim[i]
        odd, worst = -1, RETURNS2
        for i in range(n):
            rest = total - weight[i]
            if weight[i] > 0.0 and clock_i[i, LAST_NS] < before_ns and rest > 1e-12 * total:
                apart = (claim[i] - mean) * (total / rest)
                off = apart * apart / (1.0 / weight[i] + 1.0 / rest)
                if off > worst:
                    odd, worst = i, off
        if odd < 0:
            return
        here[odd], weight[odd] = False, 0.0


@kernel
def _column(i, own, ahead, raw, learned, loops, bank, smooth, wanted):  # noqa: PLR0917
    """Return the column of clock i, and carry the loops of its filter on: `raw` its phase as read, `ahead` by how much
    its rate has moved it since its last reading, `own` s ago.
    """
    count = loops.shape[0]
    if smooth[i, 0] == 1.0 and wanted[i, 0] == 1.0:
        for m in range(count):
            bank[i, m] = raw
        return raw
    # while a rate is young the phase must not lag behind it
    least = min(1.0, 4.0 * own / max(learned, own))
    over = max(HANDED_OVER_S, HANDED_OVER_STEPS * own)
    total = 0.0
    for m in range(count):
        smooth[i, m] += own / (over + own) * (wanted[i, m] - smooth[i, m])
        was = bank[i, m] + ahead
        bank[i, m] = was + max(own / (loops[m] + own), least) * (raw - was)
        # from the reading as it comes: the coefficients' sum is one, and phases may be large
        total += smooth[i, m] * (bank[i, m] - raw)
    return raw + total


@kernel
def move(  # noqa: PLR0917
    epoch_ns,
    x_ip,
    u2,
    memories,
    loops,
    settle_ns,
    clock_f,
    clock_i,
    rate,
    band,
    noise,
    bank,
    smooth,
    wanted,
    common_f,
    common_i,
    x_out,
    used,
    residual,
):
    """Find the scale at this epoch and carry every clock on; returns the pivot minus the scale (s; NaN where nobody
    votes) and its reading noise (s^2).
    """
    n, memory_count = rate.shape
    before_ns = common_i[EPOCH_NS]
    dt = (epoch_ns - before_ns) / 1e9
    seen = np.isfinite(x_ip)
    at = np.empty(n, np.int64)
    for i in range(n):
        at[i] = trusted(i, rate, memories, noise, clock_i)
    # the scale's rate, from the clocks' rates by memory
    settled = before_ns - common_i[START_NS] >= settle_ns
    common_drift, expected, plain, whole = 0.0, common_f[RATE], 0.0, 0.0
    for i in range(n):
        best = at[i]
        d = clock_f[i, DRIFT]
        # a clock that was not read of late has drifted since
        aged = max(before_ns - clock_i[i, LAST_NS], 0) / 1e9
        plain += band[i, 0] * (rate[i, best] + d * (aged + 0.5 * dt))
        whole += clock_f[i, WEIGHT_DC] * (rate[i, best] + d * (aged + dt))
        common_drift += clock_f[i, WEIGHT_DC] * d
        total = 0.0
        for k in range(memory_count):
            total += band[i, k + 1] * (rate[i, k] + d * (aged + 0.5 * dt))
        expected -= total
    expected += 0.5 * dt * common_drift
    common_f[RATE] += dt * common_drift
    expected -= common_f[GOING]
    over = max(HANDED_OVER_S, HANDED_OVER_STEPS * dt)
    common_f[GOING] *= over / (over + dt)
    if not settled:
        expected = plain
        common_f[RATE] = whole
        common_f[GOING] = 0.0
    # where each clock says that the pivot stands: its prediction, and what the scale's rate is expected to gain on it
    claim, ahead = np.full(n, np.nan), np.zeros(n)
    here = np.zeros(n, np.bool_)
    away, part = False, 0.0
    for i in range(n):
        if clock_i[i, LAST_NS] == 0:
            continue
        own = (epoch_ns - clock_i[i, LAST_NS]) / 1e9
        ahead[i] = (rate[i, at[i]] + 0.5 * clock_f[i, DRIFT] * own) * own
        if seen[i]:
            claim[i] = clock_f[i, X] + ahead[i] + (expected - plain) * own - x_ip[i]
        if clock_i[i, ACTIVE] == 1 and seen[i] and not is_silenced(clock_i[i, STATUS]):
            here[i] = clock_i[i, LAST_NS] >= before_ns or own <= AT_ONCE * dt
            away = away or (here[i] and clock_i[i, LAST_NS] < before_ns)
    if away:
        _return(epoch_ns, before_ns, claim, here, noise, clock_f, clock_i, memories)
    for turn in range(3):
        for i in range(n):
            if turn > 0:
                here[i] = clock_i[i, ACTIVE] == 1 and seen[i] and clock_i[i, LAST_NS] > 0
                here[i] = here[i] and (turn == 2 or not is_silenced(clock_i[i, STATUS]))
            if here[i]:
                used[i] = band[i, 0]
                part += band[i, 0]
        if part > 0.0:
            break
    x_pivot, variance = np.nan, 0.0
    if part > 0.0:
        x_pivot = 0.0
        shared_out(used, part, clock_f)
        for i in range(n):
            if used[i] > 0.0:
                x_pivot += used[i] * claim[i]
                variance += used[i] * used[i] * u2[i]
    for i in range(n):
        if clock_i[i, LAST_NS] == 0:
            continue
        x_out[i] = clock_f[i, OUT] + ahead[i]
        if not seen[i] or not np.isfinite(x_pivot):
            continue
        own = (epoch_ns - clock_i[i, LAST_NS]) / 1e9
        residual[i] = x_ip[i] + x_pivot - x_out[i]
        learned = (clock_i[i, LAST_NS] - clock_i[i, SINCE_NS]) / 1e9
        contested = clock_i[i, STATUS] == _DIVIDED or clock_i[i, STATUS] == _DISPUTED
        if clock_i[i, ACTIVE] == 0 and not contested:
            # who carries no weight may have stepped unjudged, and who was away may have been repaired: does its mean
            # rate since the last reading agree with what it was, and is that rate still worth anything?
            was_away = clock_i[i, LAST_NS] < before_ns
            memory = memories[clock_i[i, BEST]]
            known = noise[i, 1] / memory + 2.0 * noise[i, 2] + noise[i, 3] * (memory + own)
            known += clock_f[i, DRIFT_U2] * (own + memory) * (own + memory)
            allowed = own * own * known + 2.0 * noise[i, 1] * own + clock_f[i, X_VARIANCE] + u2[i] + variance
            another = (was_away or learned > memory) and residual[i] * residual[i] > RETURNS2 * allowed
            if another or (was_away and own > FORGOTTEN * memory):
                clock_i[i, LAST_NS] = 0
                continue
        x_out[i] = _column(i, own, ahead[i], x_ip[i] + x_pivot, learned, loops, bank, smooth, wanted)
    if not np.isfinite(x_pivot):
        common_f[RATE] -= dt * common_drift
        return x_pivot, variance
    for i in range(n):
        if not seen[i]:
            continue
        raw = x_ip[i] + x_pivot
        if clock_i[i, LAST_NS] == 0:
            clock_f[i, X], clock_f[i, OUT] = raw, raw
            for m in range(loops.shape[0]):
                bank[i, m] = raw
            clock_f[i, X_VARIANCE] = u2[i] + variance
            clock_f[i, READING_U2] = u2[i]
            clock_i[i, LAST_NS], clock_i[i, SINCE_NS] = epoch_ns, epoch_ns
            x_out[i] = raw
            continue
        own = (epoch_ns - clock_i[i, LAST_NS]) / 1e9
        d = clock_f[i, DRIFT]
        mean = (raw - clock_f[i, X]) / own + 0.5 * d * own
        learned = (epoch_ns - clock_i[i, SINCE_NS]) / 1e9
        noisy = u2[i] + variance
        young = max(learned, own)
        if noisy > 0.0:
            young = max(learned / (1.0 + noisy / (noisy + noise[i, 1] * learned)), own)
        # who was outvoted keeps the rate from before: he shows no better one against those who may be wrong
        part = 0.0 if clock_i[i, STATUS] == _DISPUTED else 1.0
        for k in range(memory_count):
            now = rate[i, k] + d * own
            rate[i, k] = now + part * own / min(memories[k] + own, young) * (mean - now)
        clock_f[i, X], clock_f[i, OUT] = raw, x_out[i]
        clock_f[i, X_VARIANCE] = u2[i] + variance
        clock_f[i, READING_U2] += 0.01 * (u2[i] - clock_f[i, READING_U2])
        clock_i[i, LAST_NS] = epoch_ns
    common_i[EPOCH_NS] = epoch_ns
    return x_pivot, variance
