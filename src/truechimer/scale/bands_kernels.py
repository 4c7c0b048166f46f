# mypy: allow-untyped-defs, allow-untyped-calls
"""The parts of a step of `bands`, each in place on the blocks of a `BandsState`.

They keep no order of their own: `bands.advance` calls them. Small kernels, since machine code of one large one takes
minutes to make.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

import numpy as np

from truechimer.kernel import kernel
from truechimer.scale import drift, noise_learning, noise_pairs
from truechimer.scale.bands_doubt import in_doubt, is_silenced
from truechimer.scale.bands_state import (
    ACTIVE,
    BEST,
    DAY,
    DAY_NS,
    DRIFT,
    DRIFT_U2,
    EPOCH_NS,
    FIRST_DAY,
    GOING,
    LAST_NS,
    RATE,
    READING_U2,
    SINCE_NS,
    START_NS,
    STATUS,
    WEIGHT_DC,
    WORST,
    X_VARIANCE,
    X,
)
from truechimer.scale.ceilings import band_weights_below, shared_out
from truechimer.scale.detection_early import middle_of
from truechimer.scale.noise_learning import RING
from truechimer.scale.state import Membership

_LEARNING, _IN, _OBSERVER = int(Membership.LEARNING), int(Membership.IN), int(Membership.OBSERVER)
_DISPUTED, _DIVIDED, _DOUBTED = int(Membership.DISPUTED), int(Membership.DIVIDED), int(Membership.DOUBTED)
DAILY_PLANS_S = 30.0 * 86_400.0
"""Until then weights are made anew every day."""
HANDED_OVER_S, HANDED_OVER_STEPS = 86_400.0, 30.0
"""In this time, and at least so many steps, the scale goes over from what the weights before made of the past to what
the new ones make of it.
"""
RETURNS2 = 36.0
"""A clock without weight that is found six sigma from where it should be is another clock: it is learned anew."""
FORGOTTEN = 2.0
"""... as is one that was away for longer than this many of the memories that predict it best."""
ASTRAY = 1e3
CONTRADICTED2 = 10.0
"""A memory is contradicted by a shorter one from about three sigma on."""
CARRIED = 4.0
"""A phase is carried to its slot with a mean rate over at least so many times that."""
_LEAST_PART = 1e-9
"""Smallest part of the weights that a member has: it is in, and its column says so."""


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
def _error2(noise, memory):
    """Return the variance of a clock's rate as its mean over `memory` s tells it."""
    return 0.5 * noise[1] / memory + noise[0] / (memory * memory) + 0.5 * noise[3] * memory


@kernel
def _memory_of_change(band, before, noise, drift_u2, memories, used):  # noqa: PLR0917
    """Return the one memory whose rates tell best by how much new weights would move the scale's rate.

    One for all clocks: where the scale itself has gone, all means over one memory hold the same of it, and since the
    changes of weight sum to 0 it does not matter.
    """
    n, filters = band.shape
    found, least = 0, np.inf
    for m in range(used - 1):
        error = 0.0
        for i in range(n):
            change = 0.0
            for k in range(filters):
                change += band[i, k] - before[i, k]
            error += change * change * (_error2(noise[i], memories[m]) + drift_u2[i] * memories[m] * memories[m])
        if error < least:
            found, least = m, error
    return found


@kernel
def plan(  # noqa: PLR0917
    epoch_ns,
    is_membership,
    memories,
    taus,
    allowed,
    tensors,
    clock_f,
    clock_i,
    rate,
    band,
    noise,
    common_f,
    common_i,
):
    """Make the weights anew for the active clocks, and keep the scale's phase and rate where they are.

    `is_membership`: the active clocks have changed. What is then kept for good is the rate that one memory, the
    best for it, lets expect (`_memory_of_change`): means over less are noise, those over more are late, and a rate that
    kept either would carry that on for months. So that the rate does not step either, what they differ by is handed
    over within `HANDED_OVER_S`. The plans of the calendar change little and keep the rate of now, each clock's as the
    memory tells it that is `trusted`; in the first month they hand over to that alone, since rates of a few hours are
    not worth keeping.
    """
    n, filters = band.shape
    age = (epoch_ns - common_i[START_NS]) / 1e9
    active = np.zeros(n, np.bool_)
    for i in range(n):
        active[i] = clock_i[i, ACTIVE] == 1
    # a memory longer than the record is no memory of its own
    used = 2
    while used < filters and memories[used - 1] <= age:
        used += 1
    # nor is the scale made for averaging times that the filters in use cannot tell from each other
    longest = max(age, 2.0 * memories[used - 2])
    lags = 1
    while lags < taus.shape[0] and taus[lags] <= longest:
        lags += 1
    drift_u2 = np.zeros(n)
    for i in range(n):
        drift_u2[i] = clock_f[i, DRIFT_U2]
    before = band.copy()
    believed = in_doubt(noise, active, clock_f, clock_i)
    common_f[WORST] = band_weights_below(
        believed, drift_u2, active, tensors[:, :lags], taus[:lags], allowed[:lags], used, band, clock_f
    )
    total, largest = 0.0, 0.0
    for i in range(n):
        largest = max(largest, band[i, 0])
    for i in range(n):
        if active[i]:
            band[i, 0] = max(band[i, 0], _LEAST_PART * largest)
            total += band[i, 0]
    for i in range(n):
        band[i, 0] = band[i, 0] / total
        # the memory whose rate predicts this clock best
        least = np.inf
        for k in range(filters - 1):
            error = _error2(noise[i], memories[k])
            if error < least:
                least = error
                clock_i[i, BEST] = k
    kept = _memory_of_change(band, before, noise, drift_u2, memories, used) if is_membership else -1
    for i in range(n):
        # what the scale's rate would change by with the new weights goes into `r`, so that it stays where it is
        aged = clock_f[i, DRIFT] * max(common_i[EPOCH_NS] - clock_i[i, LAST_NS], 0) / 1e9
        whole = band[i, 0]
        sure = trusted(i, rate, memories, noise, clock_i)
        for k in range(filters):
            if k > 0:
                whole += band[i, k]
            now = rate[i, sure] if k == 0 else rate[i, k - 1]
            y = now
            if kept >= 0:
                y = rate[i, kept]
            elif age <= DAILY_PLANS_S:
                y = rate[i, sure]
            common_f[RATE] += (band[i, k] - before[i, k]) * (y + aged)
            common_f[GOING] -= (band[i, k] - before[i, k]) * (now - y)
        clock_f[i, WEIGHT_DC] = whole


@kernel
def begin(epoch_ns, x_ip, u2, verdict, eligible, day_ns, clock_f, clock_i, noise, common_i):  # noqa: PLR0917
    """Take the clocks of the first epoch in; True where one of them may carry weight, else nothing has begun."""
    n = x_ip.shape[0]
    found = False
    for i in range(n):
        if np.isfinite(x_ip[i]) and eligible[i]:
            found = True
    if not found:
        return False
    for i in range(n):
        if not np.isfinite(x_ip[i]):
            continue
        clock_i[i, LAST_NS], clock_i[i, SINCE_NS] = epoch_ns, epoch_ns
        clock_i[i, STATUS] = _IN if eligible[i] else _OBSERVER
        if verdict[i] >= 0:
            clock_i[i, STATUS] = verdict[i]
        clock_f[i, X], clock_f[i, READING_U2] = x_ip[i], u2[i]
        if eligible[i]:
            clock_i[i, ACTIVE] = 1
    common_i[EPOCH_NS], common_i[START_NS] = epoch_ns, epoch_ns
    common_i[DAY] = epoch_ns // day_ns
    common_i[FIRST_DAY] = common_i[DAY]
    stated, count = 0.0, 0
    for i in range(n):
        if np.isfinite(u2[i]) and u2[i] > 0.0:
            stated += u2[i]
            count += 1
    stated = stated / max(count, 1)
    for i in range(n):
        if noise[i, 0] <= 0.0:
            noise[i, 0] = max(stated, 1e-60)
    return True


@kernel
def origin(epoch_ns, x_ip, u2, clock_f, clock_i, band, x_out, used):  # noqa: PLR0917
    """Put the scale at the weighted mean of the first epoch's clocks, but for those that stand a thousand times further
    off than the others do; return that and its reading noise (s^2).
    """
    n = x_ip.shape[0]
    heard = np.zeros(n, np.bool_)
    for i in range(n):
        heard[i] = clock_i[i, ACTIVE] == 1
    middle = middle_of(x_ip, heard)
    usual = middle_of(np.abs(x_ip - middle), heard)
    mean, variance, part = 0.0, 0.0, 0.0
    for i in range(n):
        if heard[i]:
            used[i] = band[i, 0]
            if abs(x_ip[i] - middle) <= ASTRAY * usual:
                mean += band[i, 0] * x_ip[i]
                variance += band[i, 0] * band[i, 0] * u2[i]
                part += band[i, 0]
    mean, variance = mean / part, variance / (part * part)
    for i in range(n):
        if clock_i[i, LAST_NS] > 0:
            clock_f[i, X] = x_ip[i] - mean
            clock_f[i, X_VARIANCE] = u2[i] + variance
            x_out[i] = clock_f[i, X]
    drift.begin(clock_f, clock_i, epoch_ns)
    return mean, variance


@kernel
def forget(i, clock_f, clock_i, ring):
    """Let the rate of clock i be learned from here: what was learned of the old one says nothing."""
    if clock_i[i, LAST_NS] > 0:
        clock_i[i, SINCE_NS] = clock_i[i, LAST_NS]
        clock_i[i, DAY_NS] = 0
        drift.opened(clock_f, i)
        for j in range(ring.shape[0]):
            for k in range(RING):
                ring[j, k, i] = np.nan


@kernel
def membership(epoch_ns, x_ip, verdict, eligible, probation_ns, absent_ns, clock_i, common_i):  # noqa: PLR0917
    """Say who is active from here on; True where that has changed.

    Who comes, or comes back, was read at the last epoch and has a rate (unless there is nobody else): its weight at
    long averaging times then moves nothing.
    """
    n = x_ip.shape[0]
    seen = np.isfinite(x_ip)
    wanted = np.zeros(n, np.int64)
    members = 0
    changed = False
    for i in range(n):
        was_divided = clock_i[i, STATUS] == _DIVIDED
        was_doubted = clock_i[i, STATUS] == _DOUBTED
        if clock_i[i, LAST_NS] == 0:
            if not seen[i]:
                continue
            clock_i[i, STATUS] = _LEARNING if eligible[i] else _OBSERVER
        elif clock_i[i, STATUS] == _LEARNING and epoch_ns - clock_i[i, SINCE_NS] >= probation_ns and eligible[i]:
            clock_i[i, STATUS] = _IN
        if verdict[i] >= 0:
            clock_i[i, STATUS] = verdict[i]
        changed = changed or (clock_i[i, STATUS] == _DIVIDED) != was_divided
        changed = changed or (clock_i[i, STATUS] == _DOUBTED) != was_doubted
    for turn in range(2):
        for i in range(n):
            last_ns, since_ns = clock_i[i, LAST_NS], clock_i[i, SINCE_NS]
            there = last_ns > 0 and (seen[i] or epoch_ns - last_ns <= absent_ns)
            if turn == 0:
                if since_ns > common_i[START_NS] and last_ns - since_ns < probation_ns:
                    there = False
                if clock_i[i, ACTIVE] == 0 and last_ns < common_i[EPOCH_NS]:
                    there = False
            votes = clock_i[i, STATUS] == _IN or clock_i[i, STATUS] == _DIVIDED or clock_i[i, STATUS] == _DOUBTED
            # who is off in phase alone is silent for a while: its rate is known, and no weight need change
            votes = votes or (clock_i[i, ACTIVE] == 1 and is_silenced(clock_i[i, STATUS]))
            if eligible[i] and there and votes:
                wanted[i] = 1
                members += 1
        if members > 0:
            break
    if members == 0:
        return False
    for i in range(n):
        if wanted[i] != clock_i[i, ACTIVE]:
            changed = True
            clock_i[i, ACTIVE] = wanted[i]
    return changed


@kernel
def sample(  # noqa: PLR0917
    epoch_ns, x_ip, x_pivot, memories, strides, spacing_ns, clock_i, rate, noise, squares, counts, usual, pair,
    pair_count, ring, newest, slot
):  # fmt: skip
    """Keep the phases of a new slot of each lag, and take the third differences that they complete."""
    n = x_ip.shape[0]
    voters = np.zeros(n, np.bool_)
    for i in range(n):
        voters[i] = clock_i[i, ACTIVE] == 1
    for j in range(strides.shape[0]):
        index = epoch_ns // spacing_ns[j]
        if index == slot[j]:
            continue
        passed = min(index - slot[j], RING) if slot[j] > 0 else RING
        for _ in range(passed):
            newest[j] = (newest[j] + 1) % RING
            for i in range(n):
                ring[j, newest[j], i] = np.nan
        slot[j] = index
        back_ns = epoch_ns - index * spacing_ns[j]
        memory = 0  # the same for all: how the scale itself has gone is then in no difference
        while memory < memories.shape[0] - 1 and memories[memory] < CARRIED * (back_ns / 1e9):
            memory += 1
        for i in range(n):
            # carried back to the slot by its rate: a rate that is younger than that says too little
            known = clock_i[i, LAST_NS] == epoch_ns and epoch_ns - clock_i[i, SINCE_NS] >= back_ns
            if np.isfinite(x_ip[i]) and known:
                ring[j, newest[j], i] = x_ip[i] + x_pivot - back_ns / 1e9 * rate[i, memory]
        if pair.shape[1] > 0:
            noise_pairs.sample(ring[j], newest[j], strides[j], spacing_ns[j] / 1e9, pair[j], pair_count[j])
        else:
            noise_learning.sample(
                ring[j], newest[j], strides[j], spacing_ns[j] / 1e9, noise, voters, squares[j], counts[j], usual[j]
            )


@kernel
def learn(  # noqa: PLR0917
    strides, lags, kinds, of_kind, prior, prior_worth, known, clock_f, clock_i, noise, squares, counts, usual, pair,
    pair_count, spacing_ns
):  # fmt: skip
    """Write the learned noise of every clock; two clocks cannot say which is noisy."""
    n = noise.shape[0]
    members = 0
    voters = np.zeros(n, np.bool_)
    for i in range(n):
        members += clock_i[i, ACTIVE]
        voters[i] = clock_i[i, ACTIVE] == 1
    if members <= 2:
        return
    reading = np.zeros(n)
    stated, count = 0.0, 0
    for i in range(n):
        if clock_f[i, READING_U2] > 0.0:
            stated += clock_f[i, READING_U2]
            count += 1
    for i in range(n):
        # which clock is the pivot, and so reads without noise, shall make no difference
        reading[i] = clock_f[i, READING_U2]
        if reading[i] <= 0.0 and count > 0:
            reading[i] = stated / count
    if pair.shape[1] > 0:
        noise_pairs.learn(
            pair,
            pair_count,
            voters,
            strides,
            spacing_ns / 1e9,
            lags,
            kinds,
            of_kind,
            prior,
            prior_worth,
            reading,
            noise,
        )
    else:
        noise_learning.learn(squares, counts, usual, voters, strides, lags, kinds, prior, prior_worth, reading, noise)
    for i in range(n):
        if known[i]:
            noise[i, 0] = max(reading[i], prior[i, 0])


@kernel
def move(  # noqa: PLR0917
    epoch_ns,
    x_ip,
    u2,
    memories,
    settle_ns,
    clock_f,
    clock_i,
    rate,
    band,
    noise,
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
    extra = (expected - plain) * dt
    # who votes: a clock that was silent at the last step listens for one
    part = 0.0
    for turn in range(3):
        for i in range(n):
            here = clock_i[i, ACTIVE] == 1 and seen[i] and clock_i[i, LAST_NS] > 0
            here = here and (turn == 2 or not is_silenced(clock_i[i, STATUS]))
            if here and (turn >= 1 or clock_i[i, LAST_NS] >= before_ns):
                used[i] = band[i, 0]
                part += band[i, 0]
        if part > 0.0:
            break
    x_pivot, variance = np.nan, 0.0
    if part > 0.0:
        x_pivot = extra
        shared_out(used, part, clock_f)
        for i in range(n):
            if used[i] > 0.0:
                own = (epoch_ns - clock_i[i, LAST_NS]) / 1e9
                ahead = clock_f[i, X] + rate[i, at[i]] * own + 0.5 * clock_f[i, DRIFT] * own * own
                x_pivot += used[i] * (ahead - x_ip[i])
                variance += used[i] * used[i] * u2[i]
    # phases: of a departure, the part that the clock's noise explains, not the part that the counter explains
    shift = extra
    for i in range(n):
        if clock_i[i, LAST_NS] == 0 or not np.isfinite(x_pivot):
            continue
        own = (epoch_ns - clock_i[i, LAST_NS]) / 1e9
        x_out[i] = clock_f[i, X] + rate[i, at[i]] * own + 0.5 * clock_f[i, DRIFT] * own * own
        if not seen[i]:
            continue
        residual[i] = x_ip[i] + x_pivot - x_out[i]
        learned = (clock_i[i, LAST_NS] - clock_i[i, SINCE_NS]) / 1e9
        contested = clock_i[i, STATUS] == _DIVIDED or clock_i[i, STATUS] == _DISPUTED
        if clock_i[i, ACTIVE] == 0 and not contested:
            # who carries no weight may have stepped unjudged, and who was away may have been repaired: does its mean
            # rate since the last reading agree with what it was, and is that rate still worth anything?
            away = clock_i[i, LAST_NS] < before_ns
            memory = memories[clock_i[i, BEST]]
            known = noise[i, 1] / memory + 2.0 * noise[i, 2] + noise[i, 3] * (memory + own)
            known += clock_f[i, DRIFT_U2] * (own + memory) * (own + memory)
            allowed = own * own * known + 2.0 * noise[i, 1] * own + clock_f[i, X_VARIANCE] + u2[i] + variance
            another = (away or learned > memory) and residual[i] * residual[i] > RETURNS2 * allowed
            if another or (away and own > FORGOTTEN * memory):
                clock_i[i, LAST_NS] = 0
                continue
        grown = (
            clock_f[i, X_VARIANCE] + noise[i, 1] * own + noise[i, 2] * own * own + noise[i, 3] * own * own * own / 3.0
        )
        gain = 1.0
        if u2[i] + variance > 0.0:
            gain = grown / (grown + u2[i] + variance)
        # while a rate is young the phase must not lag behind it
        gain = max(gain, min(1.0, 4.0 * own / max(learned, own)))
        clock_f[i, X_VARIANCE] = (1.0 - gain) * (1.0 - gain) * grown + gain * gain * (u2[i] + variance)
        x_out[i] += gain * residual[i]
        if used[i] > 0.0:
            shift -= used[i] * gain * residual[i]
    if not np.isfinite(x_pivot):
        for i in range(n):
            if clock_i[i, LAST_NS] > 0:
                own = (epoch_ns - clock_i[i, LAST_NS]) / 1e9
                x_out[i] = clock_f[i, X] + rate[i, at[i]] * own + 0.5 * clock_f[i, DRIFT] * own * own
        common_f[RATE] -= dt * common_drift
        return x_pivot, variance
    for i in range(n):
        if not seen[i]:
            continue
        if clock_i[i, LAST_NS] == 0:
            clock_f[i, X] = x_ip[i] + x_pivot + shift
            clock_f[i, X_VARIANCE] = u2[i] + variance
            clock_f[i, READING_U2] = u2[i]
            clock_i[i, LAST_NS], clock_i[i, SINCE_NS] = epoch_ns, epoch_ns
            x_out[i] = clock_f[i, X]
            continue
        x_out[i] += shift
        own = (epoch_ns - clock_i[i, LAST_NS]) / 1e9
        d = clock_f[i, DRIFT]
        mean = (x_out[i] - clock_f[i, X]) / own + 0.5 * d * own
        learned = (epoch_ns - clock_i[i, SINCE_NS]) / 1e9
        noisy = u2[i] + variance
        young = max(learned, own)
        if noisy > 0.0:
            young = max(learned / (1.0 + noisy / (noisy + noise[i, 1] * learned)), own)
        # who was outvoted keeps the rate from before: he shows no better one against those who may be wrong
        part = 0.0 if clock_i[i, STATUS] == _DISPUTED else 1.0
        for k in range(memory_count):
            ahead = rate[i, k] + d * own
            rate[i, k] = ahead + part * own / min(memories[k] + own, young) * (mean - ahead)
        clock_f[i, X] = x_out[i]
        clock_f[i, READING_U2] += 0.01 * (u2[i] - clock_f[i, READING_U2])
        clock_i[i, LAST_NS] = epoch_ns
    common_i[EPOCH_NS] = epoch_ns
    return x_pivot + shift, variance
