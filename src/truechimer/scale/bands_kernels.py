# mypy: allow-untyped-defs, allow-untyped-calls
"""The parts of a step of `bands`, each in place on the blocks of a `BandsState`.

They keep no order of their own: `bands.advance` calls them. Small kernels, since machine code of one large one takes
minutes to make.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

import numpy as np

from truechimer.kernel import kernel
from truechimer.scale import drift, noise_learning, noise_pairs
from truechimer.scale.band_weights import gram
from truechimer.scale.bands_doubt import in_doubt, is_silenced
from truechimer.scale.bands_move import error2, trusted
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
    MUTED_NS,
    OUT,
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
from truechimer.scale.ceilings import band_weights_below
from truechimer.scale.column_filters import YOUNG, alone, column_filters, flywheel
from truechimer.scale.detection_early import middle_of
from truechimer.scale.noise_learning import RING
from truechimer.scale.state import Membership

_LEARNING, _IN, _OBSERVER = int(Membership.LEARNING), int(Membership.IN), int(Membership.OBSERVER)
_DISPUTED, _DIVIDED, _DOUBTED = int(Membership.DISPUTED), int(Membership.DIVIDED), int(Membership.DOUBTED)
DAILY_PLANS_S = 30.0 * 86_400.0
"""Until then weights are made anew every day."""
ASTRAY = 1e3
CARRIED = 4.0
"""A phase is carried to its slot with a mean rate over at least so many times that."""
_LEAST_PART = 1e-9
"""Smallest part of the weights that a member has: it is in, and its column says so."""


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
            error += change * change * (error2(noise[i], memories[m]) + drift_u2[i] * memories[m] * memories[m])
        if error < least:
            found, least = m, error
    return found


@kernel
def plan(  # noqa: PLR0917
    epoch_ns,
    is_membership,
    memories,
    loops,
    taus,
    allowed,
    column_allowed,
    tensors,
    past,
    present,
    windows,
    unit,
    clock_f,
    clock_i,
    rate,
    band,
    noise,
    wanted,
    common_f,
    common_i,
):
    """Make the weights anew for the active clocks, and keep the scale's phase and rate where they are; and the filters
    of their columns, `wanted (n, M)`, which know the weights, as the weights know what the column of the clock that is
    quietest to look through makes of reading noise.

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
    for i in range(n):
        # the memory whose rate predicts this clock best
        least = np.inf
        for k in range(filters - 1):
            error = error2(noise[i], memories[k])
            if error < least:
                least = error
                clock_i[i, BEST] = k
    waiting = 1
    while waiting < loops.shape[0] and YOUNG * loops[waiting] <= age:
        waiting += 1
    tensors = tensors[:, :lags]
    grams, beside = tensors, np.zeros(lags)
    through = flywheel(believed, active, tensors) if waiting > 1 else -1
    if through >= 0:
        best = clock_i[through, BEST]
        passed, left = alone(
            through, believed, active, tensors, past, present, windows, unit, best, column_allowed, lags, waiting
        )
        grams = gram(past, windows[:, :lags], unit, passed)
        for j in range(lags):
            for f in range(left.shape[0]):
                beside[j] += windows[f, j] * left[f]
    common_f[WORST] = band_weights_below(
        believed, drift_u2, active, grams, taus[:lags], allowed[:lags], beside, used, band, clock_f
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
    column_filters(
        believed, active, tensors, past, present, windows, unit, clock_i[:, BEST], band, column_allowed, lags, waiting,
        wanted
    )  # fmt: skip
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
    for i in range(n):
        # until it is learned the pivot, which reads without noise, has as much of it as the others
        if noise[i, 0] <= 0.0:
            own = u2[i] if np.isfinite(u2[i]) and u2[i] > 0.0 else stated / max(count, 1)
            noise[i, 0] = max(own, 1e-60)
    return True


@kernel
def origin(epoch_ns, x_ip, u2, clock_f, clock_i, band, bank, x_out, used):  # noqa: PLR0917
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
            clock_f[i, X], clock_f[i, OUT] = x_ip[i] - mean, x_ip[i] - mean
            for m in range(bank.shape[1]):
                bank[i, m] = clock_f[i, X]
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
        if is_silenced(clock_i[i, STATUS]):
            clock_i[i, MUTED_NS] = epoch_ns
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
    strides, lags, kinds, of_kind, prior, prior_worth, clock_f, clock_i, noise, squares, counts, usual, pair,
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
    for i in range(n):
        reading[i] = max(clock_f[i, READING_U2], prior[i, 0])
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
