# mypy: allow-untyped-defs, allow-untyped-calls
"""The windows of detection: every clock against where its own past put it, over each window that has moved on.

It does not see a single epoch: a phase step is `detection_fold`'s. Two tests a window: of the phase (a change of
frequency shows there first), and, for the windows of days, of the rate itself (a slow drift shows there first). Each
clock's past is its own phase and rate when the window began; what both have in common with the reference goes out in
the comparison with the others.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

import numpy as np

from truechimer.kernel import kernel
from truechimer.scale.detection_dispute import PROVING, begin, put_out, restore
from truechimer.scale.detection_judge import judge
from truechimer.scale.detection_noise import phase_variance, rate_variance
from truechimer.scale.detection_onset import onset

DAY = 86_400.0
LONGEST_MEMORY_SAMPLES = 2_000.0
CLIP2, CLIPPED = 4.0, 0.9205
"""Squared deviations count up to this many times what was expected: a fault does not teach that it is normal. What
Gaussian noise keeps of its mean square.
"""
UNWEIGHED_S = 15.0 * DAY
"""Time in which weights are found where nothing is known of the clocks."""
NEVER = 1e9
"""A threshold that nothing reaches."""
LEAST_SAMPLES = 48
"""Epochs before a clock's own noise is known well enough to convict it."""
LATE = 0.3
"""A reference's value may be this part of the window old."""
WITNESSED = 0.94
"""With a reference among the judges a change of rate is tested this much more sharply over windows of `WITNESS_FROM_S`
on: what the inside cannot tell from its own random walk, the outside can.
"""
WITNESS_FROM_S = 10.0 * DAY
SETTLED_FROM_S = 5.0 * DAY
"""Windows from this on are judged by what was known of the noise some time ago; see `detection_fold.SETTLING_S`."""
SLOW_AGE_S, YOUNG = 180.0 * DAY, 1.15
"""A change of rate is tested less sharply while a clock is young: how far its rate wanders is not known well."""
SLOW_FROM_S = 10.0 * DAY
"""Over such windows two against one will do: two that drift alike are rarer than one that does."""
CONVICTS, ABOVE = 6.0, 1.3
"""What is less than so many sigmas, or so many times the threshold, puts a clock's rate in doubt and convicts nobody:
clean clocks reach 5.6 once in a thousand years.
"""
LATELY = 0.05
"""Gain of the mean square over a day that forgets: five days."""
LEAST_AGES = 3.0
"""A clock is tested over a window when it has been known for this many of it."""


@kernel
def widened(h, age, m):
    """Return the threshold for a variance that was learned in `age` s: Student's distribution to first order.

    The terms of the noise are learned from all windows together: eight independent samples a window.
    """
    n = max(8.0 * age / m, 12.0)
    return h * (1.0 + (h * h + 1.0) / (4.0 * n))


@kernel
def taught(expected, sample, count, independent):
    """Return the variance to test with: the model's, or more where the window itself has shown more."""
    n = min(independent, 1.0 * count)
    return max(expected, (10.0 * expected + n * sample) / (10.0 + n))


@kernel
def gain_of(count, m):
    """Return the gain of a window's mean after `count` samples.

    While the first weights are wrong only the newest samples count; afterwards more and more of them, up to
    `LONGEST_MEMORY_SAMPLES`, so that a slow fault has to outweigh all that was learned before.
    """
    if m > 5.0 * DAY:
        return 1.0 / max(count, 1)
    young, memory = (1_500, 150) if m < 0.9 * DAY else (100, 50)
    if count <= young:
        return min(max(2.0 / (count + 1.0), 1.0 / memory), 1.0)
    return 1.0 / min(count - young + memory, LONGEST_MEMORY_SAMPLES)


@kernel
def is_learned_outside(status):
    """Return True for a clock without a vote whose noise is still learned: new, re-learning, observer, too alike."""
    return status == 1 or status == 5 or status == 6 or status == 9  # noqa: PLR1714 - a kernel


@kernel
def _deviations(  # noqa: PLR0917
    kind, w, m, epoch_ns, past_ns, past_x, past_y, sigma, x, last_ns, y, drift, first_ns, since_ns, status, noise,
    memory, sample, count, rate_sample, rate_count, u_drift2, eligible, d, v, h, voter, accused
):  # fmt: skip
    """Fill deviation, variance, threshold and who may judge; `kind` 0: phase, 1: rate."""
    age = (epoch_ns - past_ns) / 1e9
    for i in range(x.shape[0]):
        d[i], v[i], h[i], voter[i], accused[i] = np.nan, np.inf, NEVER, False, False
        learned = (past_ns - since_ns[i]) / 1e9
        # a reference speaks once a day or a week: over long windows its last value, carried on, will do
        late = (epoch_ns - last_ns[i]) / 1e9
        is_reference = eligible[i] == 2
        if not (late == 0.0 or (is_reference and late <= LATE * m)):
            continue
        if not np.isfinite(past_x[i]) or status[i] == 0 or learned <= 0.0:
            continue
        known = (epoch_ns - first_ns[i]) / 1e9
        if kind == 0:
            d[i] = x[i] + y[i] * late - past_x[i] - (past_y[i] + 0.5 * drift[i] * age) * age
            expected = phase_variance(noise[i], memory[i], age, learned, u_drift2[i])
            v[i] = taught(expected, sample[i, w + 1] * (age / m), count[i, w + 1], known / m)
        else:
            # a rate averaged over more than half of the window says nothing of its end
            if memory[i] > 0.5 * m:
                continue
            d[i] = y[i] - past_y[i] - drift[i] * age
            n = 1.0 * rate_count[i, w + 1]
            v[i] = rate_variance(noise[i], memory[i], age, learned, u_drift2[i])
            v[i] *= max(1.0, (10.0 + n * rate_sample[i, w + 1]) / (10.0 + n))
        if known >= LEAST_AGES * m + (UNWEIGHED_S if m > 1.5 * DAY else 0.0) and count[i, 0] >= LEAST_SAMPLES:
            h[i] = widened(sigma, known, m)
            if kind == 1 and known < SLOW_AGE_S:
                h[i] *= YOUNG
        voter[i] = (eligible[i] == 1 and (status[i] == 2 or status[i] == PROVING)) or is_reference
        accused[i] = False
    if m >= WITNESS_FROM_S and kind == 1:
        for j in range(x.shape[0]):
            if eligible[j] == 2 and voter[j] and np.isfinite(v[j]):
                for i in range(x.shape[0]):
                    h[i] *= WITNESSED
                break


@kernel
def _teach(  # noqa: PLR0917
    kind, w, m, epoch_ns, past_ns, first_ns, since_ns, status, noise, memory, sample, count, rate_sample, rate_count,
    u_drift2, v, z, kept
):  # fmt: skip
    """Let the window's deviations teach each clock's noise; what a clock and the others share of z is (1 - weight)."""
    age = (epoch_ns - past_ns) / 1e9
    for i in range(status.shape[0]):
        if not np.isfinite(z[i]) or not (kept[i] or is_learned_outside(status[i])):
            continue
        # the others' mean is as bad as their first weights were: over long windows those days teach nothing
        if m > 1.5 * DAY and (past_ns - first_ns[i]) / 1e9 < UNWEIGHED_S:
            continue
        ratio = min(z[i] * z[i], CLIP2) / CLIPPED
        if kind == 0:
            count[i, w + 1] += 1
            gain = gain_of(count[i, w + 1], m)
            usual = phase_variance(noise[i], memory[i], m, 1e18, 0.0)
            here = phase_variance(noise[i], memory[i], age, (past_ns - since_ns[i]) / 1e9, u_drift2[i])
            sample[i, w + 1] += gain * (ratio * v[i] * (usual / here) - sample[i, w + 1])
            if m == DAY:
                # and lately, for whoever asks whether a clock has become too good
                count[i, -1] += 1
                gain = max(1.0 / count[i, -1], LATELY)
                sample[i, -1] += gain * (min(z[i] * z[i], CLIP2) * v[i] * (usual / here) - sample[i, -1])
        else:
            rate_count[i, w + 1] += 1
            gain = gain_of(rate_count[i, w + 1], m)
            rate_sample[i, w + 1] += gain * (ratio - rate_sample[i, w + 1])


@kernel
def _note_onset(  # noqa: PLR0917
    i, epoch_ns, seen_y, age, kept, x, last_ns, y, drift, since_ns, noise, memory, u_drift2, ring_ns,
    ring_x, ring_y, moved
):  # fmt: skip
    """Note by how much the rate of clock i has moved, since when and how; what this window saw where no past tells."""
    moved_y, over, is_ramp = onset(
        i, epoch_ns, kept, x, last_ns, y, drift, since_ns, noise, memory, u_drift2, ring_ns, ring_x, ring_y
    )  # fmt: skip
    if over <= 0.0:
        moved_y, over, is_ramp = seen_y, age, False
    moved[i, 0], moved[i, 1], moved[i, 2] = moved_y, over, 1.0 if is_ramp else 0.0


@kernel
def _look(  # noqa: PLR0917
    kind, w, m, epoch_ns, past_ns, past_x, past_y, sigma, x, last_ns, y, drift, first_ns, since_ns, good_ns, status,
    strikes, noise, memory, sample, count, rate_sample, rate_count, known, known_sample, known_rate, u_drift2, ring_ns,
    ring_x, ring_y, dispute, dispute_x, dispute_y, side, eligible, d, v, h, z, verdict, kept, voter, accused, moved,
    began, floor, doubted, soft
):  # fmt: skip
    """Judge one window with one past; return True where a majority is missing."""
    age = (epoch_ns - past_ns) / 1e9
    _deviations(
        kind, w, m, epoch_ns, past_ns, past_x, past_y, sigma, x, last_ns, y, drift, first_ns, since_ns, status, known,
        memory, known_sample, count, known_rate, rate_count, u_drift2, eligible, d, v, h, voter, accused
    )  # fmt: skip
    middle, judges = judge(d, v, voter, accused, h, z, verdict, kept)
    if judges < 1:
        return False
    _teach(
        kind, w, m, epoch_ns, past_ns, first_ns, since_ns, status, noise, memory, sample, count, rate_sample,
        rate_count, u_drift2, v, z, kept
    )  # fmt: skip
    missing = False
    per = age if kind == 0 else 1.0
    moved_together = False
    for i in range(x.shape[0]):
        if kind == 0 and kept[i] and m <= DAY and h[i] < NEVER:
            floor[i] = max(floor[i], h[i] * np.sqrt(v[i]))
        if eligible[i] == 2 or (side[i] != 0 and dispute[0] != 0):
            # a reference that the clocks contradict is the business of whoever compares references; a dispute has a
            # court of its own
            continue
        strong = np.isfinite(z[i]) and abs(z[i]) >= max(CONVICTS, ABOVE * h[i])
        if verdict[i] == 4:
            missing = missing or strong
            begin(
                i, epoch_ns, past_ns, past_x, past_y, v, kept, verdict, eligible, status, good_ns, dispute, dispute_x,
                dispute_y, side
            )  # fmt: skip
        elif verdict[i] == 1 or verdict[i] == 5 or (verdict[i] == 2 and status[i] == 2 and m >= SLOW_FROM_S):
            _note_onset(
                i, epoch_ns, (d[i] - middle) / per, age, kept, x, last_ns, y, drift, since_ns, noise, memory, u_drift2,
                ring_ns, ring_x, ring_y, moved
            )  # fmt: skip
            soft[i] = verdict[i] != 5 and not strong and (status[i] == 2 or doubted[i] == 1)
            put_out(i, status, epoch_ns, since_ns, good_ns, strikes, ring_x, began, 5)
            moved_together = moved_together or verdict[i] == 5
        elif verdict[i] == 2 and status[i] == 2:
            if not begin(
                i, epoch_ns, past_ns, past_x, past_y, v, kept, verdict, eligible, status, good_ns, dispute, dispute_x,
                dispute_y, side
            ):  # fmt: skip
                missing = missing or strong
        elif verdict[i] == 3:
            good_ns[i] = epoch_ns
        elif (
            (status[i] == 4 or status[i] == 5 or status[i] == 8 or status[i] == PROVING)
            and not kept[i]
            and np.isfinite(z[i])
            and abs(z[i]) > h[i]
        ):
            # out, and not yet where its rate puts it: the proof begins again
            soft[i] = doubted[i] == 1
            put_out(i, status, epoch_ns, since_ns, good_ns, strikes, ring_x, began, 8 if status[i] == 8 else 5)
    if moved_together:
        # those who were believed moved: what was learned against them since goes with them
        restore(epoch_ns, past_ns, past_x, past_y, y, drift, noise, status, ring_ns, ring_x)
    return missing or moved_together


@kernel
def _past(epoch_ns, m, ring_ns):
    """Return the place whose age is nearest to m (-1: none near it), and the place to be written next."""
    place, oldest = -1, 0
    apart = 0.0
    for s in range(ring_ns.shape[0]):
        if ring_ns[s] < ring_ns[oldest]:
            oldest = s
        if ring_ns[s] == 0:
            continue
        age = (epoch_ns - ring_ns[s]) / 1e9
        if 0.7 * m <= age <= 1.7 * m and (place < 0 or abs(age - m) < apart):
            place, apart = s, abs(age - m)
    return place, oldest


@kernel
def look_back(  # noqa: PLR0917
    epoch_ns, before_ns, interval, windows, sigmas, rate_sigmas, x, last_ns, y, drift, first_ns, since_ns, good_ns,
    status, strikes, noise, memory, sample, count, rate_sample, rate_count, settled_noise, settled_sample,
    settled_rate, u_drift2, ring_ns, ring_x, ring_y, dispute, dispute_x, dispute_y, side, eligible, d, v, h, z,
    verdict, kept, voter, accused, moved, began, floor, doubted, soft
):  # fmt: skip
    """Judge every window that has moved on by a quarter, and keep the present for it; return True where a majority is
    missing.
    """
    divided = False
    for w in range(windows.shape[0]):
        m = windows[w]
        slot_ns = np.int64(m * 1e9) // ring_ns.shape[1]
        if m < 1.2 * interval or (before_ns != 0 and epoch_ns // slot_ns == before_ns // slot_ns):
            continue
        place, oldest = _past(epoch_ns, m, ring_ns[w])
        for kind in range(2):
            sigma = sigmas[w + 1] if kind == 0 else rate_sigmas[w + 1]
            if place < 0 or sigma <= 0.0:
                continue
            # over weeks what was known before is held against what is now: a slow fault teaches its own excuse
            known, known_sample, known_rate = noise, sample, rate_sample
            if m >= SETTLED_FROM_S:
                known, known_sample, known_rate = settled_noise, settled_sample, settled_rate
            missing = _look(
                kind, w, m, epoch_ns, ring_ns[w, place], ring_x[w, place], ring_y[w, place], sigma, x, last_ns, y,
                drift, first_ns, since_ns, good_ns, status, strikes, noise, memory, sample, count, rate_sample,
                rate_count, known, known_sample, known_rate, u_drift2, ring_ns, ring_x, ring_y, dispute, dispute_x,
                dispute_y, side, eligible, d, v, h, z, verdict, kept, voter, accused, moved, began, floor, doubted,
                soft
            )  # fmt: skip
            divided = divided or missing
        ring_ns[w, oldest] = epoch_ns
        for i in range(x.shape[0]):
            late = (epoch_ns - last_ns[i]) / 1e9
            seen = late == 0.0 or (eligible[i] == 2 and late <= LATE * m)
            seen = seen and status[i] != 0 and status[i] != 3
            ring_x[w, oldest, i] = x[i] + y[i] * late if seen else np.nan
            ring_y[w, oldest, i] = y[i]
    return divided
