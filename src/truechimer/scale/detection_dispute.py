# mypy: allow-untyped-defs, allow-untyped-calls
"""A dispute: a class of clocks contradicts itself and its own heads cannot say who is right; the others are asked.

It opens where the court (`detection_judge`) finds two against one, or as many on one side as on the other, and keeps
where every clock was before. From then on one question stands, asked at every epoch with all the time since: which side
do the clocks of other classes, and a reference where one speaks, prefer?

    L = (b - o)^2 / (V_b + V_o) - (a - o)^2 / (V_a + V_o)         L > 0: the others prefer side a

a, b: mean deviation of either side since the onset, o: of the others. exp(L/2) is the likelihood ratio of "b moved" to
"a moved"; under either the chance that it ever speaks for the wrong side by a factor k is 1/k, however often one looks
(Ville 1939). So the looks need no correction.

The scale FOLLOWS the larger side until one is convicted (it is far more often one clock that fails than two
together); the other side has no vote. A tie FOLLOWS both until it matters; then it is LED by the side that the others
speak for, or the whole class is DIVIDED: it keeps its say over hours, and from a day on the others carry the scale.
Nobody is convicted below `LARGER_CONVICTED`.
`design/ensemble/dispute.py` compares these rules with others by what they cost.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

import numpy as np

from truechimer.kernel import kernel
from truechimer.scale.detection_noise import phase_variance

DAY = 86_400.0
FOLLOWED, IN_DOUBT, LED, BOTH = 1, 2, 3, 4
"""Stages: the larger side carries the scale; a tie: beyond a day nobody of the class, one side, or both as yet."""
NO_SIDE, SMALLER, LARGER, ALONE = 0, 1, 2, 3
"""Sides. `ALONE`: off at one epoch against two; the next epoch says whether this becomes a dispute."""
TIE_APART2, TIE_PREFERRED = 1.0, 4.0
STAY = 3.0
"""A side that is followed is let go only when the others have gone back by this much: no weight flutters."""
LED_FROM = 5.0
"""Odds of twelve lead: the scale follows the smaller side then, and comes back when they fall. Nobody is convicted by
them; one that moves alone meets them in one case of twelve at most, and then for days.
"""
CONVICTED = 14.0
"""Odds of a thousand."""
SETTLED2 = 6.25
"""Sides that are apart by less than this (squared sigmas) agree again."""
LONGEST_S = 30.0 * DAY
"""A dispute that nobody could decide in this time ends: the class learns its rates anew against the others."""
ABRUPT_S = 4.0 * DAY
"""A change that took longer to be seen is slow: it costs less than a class without a say for weeks, and clocks that
wander and drift more than was learned of them look the same. Then the larger side stays followed, and nothing is said
aloud; only a conviction ends it sooner than its time.
"""
ALOUD2 = 56.25
"""Squared sigmas of their own noise by which the sides must have been apart before a class loses a say and anything is
said aloud: two honest clocks come apart by four now and then, and what has moved goes past this within hours.
"""
SAID_AFTER_S = 1.0 * DAY
REFERENCE_AGE_S = 10.0 * DAY
"""So old may a reference's last value before the onset be."""

PEER_RATIO = 4.0
PROVING = 10
"""Status of a clock that is out for its rate, and judges again; to the outside it is out for its rate."""


@kernel
def newest_past(epoch_ns, interval, windows, ring_ns):
    """Return window and place of the newest past that is two epochs old or more; -1 where there is none."""
    for w in range(windows.shape[0]):
        if windows[w] < 1.2 * interval:
            continue
        place = -1
        for s in range(ring_ns.shape[1]):
            if ring_ns[w, s] == 0 or (epoch_ns - ring_ns[w, s]) / 1e9 < 1.9 * interval:
                continue
            if place < 0 or ring_ns[w, s] > ring_ns[w, place]:
                place = s
        if place >= 0:
            return w, place
    return -1, -1


@kernel
def begin(  # noqa: PLR0917
    i, epoch_ns, past_ns, past_x, past_y, v, kept, verdict, eligible, status, good_ns, dispute, dispute_x, dispute_y,
    side
):  # fmt: skip
    """Open a dispute about clock i with the past of the window in which it was found; False where one is open already,
    or where a tie has no two clocks outside it to be asked.
    """
    n = status.shape[0]
    is_tie = verdict[i] == 4
    if dispute[0] != 0:
        return False
    larger = others = 0
    for j in range(n):
        side[j] = 0
        alike = np.isfinite(v[j]) and v[j] <= PEER_RATIO * v[i]
        votes = eligible[j] == 1 and (status[j] == 2 or status[j] == PROVING)
        if j == i or (is_tie and votes and alike and verdict[j] == 4):
            side[j] = 1
        elif votes and kept[j] and alike:
            side[j] = 2
            larger += 1
        elif votes and np.isfinite(v[j]):
            others += 1
    if larger == 0 or (is_tie and others < 2) or past_ns == 0:
        for j in range(n):
            side[j] = 0
        return False
    dispute[0], dispute[1], dispute[2] = past_ns, 4 if is_tie else 1, epoch_ns
    for j in range(n):
        dispute_x[j], dispute_y[j] = past_x[j], past_y[j]
        if side[j] == 1 and not is_tie:
            status[j], good_ns[j] = 7, epoch_ns
    return True


@kernel
def put_out(i, status, epoch_ns, since_ns, good_ns, strikes, ring_x, began, as_status):  # noqa: PLR0917
    """Put clock i out for its rate: every past that holds the change is forgotten, and its rate begins anew."""
    status[i] = as_status
    strikes[i] += 1
    since_ns[i] = epoch_ns
    good_ns[i] = epoch_ns
    began[i] = True
    for w in range(ring_x.shape[0]):
        for s in range(ring_x.shape[1]):
            ring_x[w, s, i] = np.nan


@kernel
def close(dispute, dispute_x, side):
    """Forget a dispute."""
    dispute[:] = 0
    for i in range(side.shape[0]):
        side[i] = 0
        dispute_x[i] = np.nan


@kernel
def restore(epoch_ns, past_ns, past_x, past_y, y, drift, noise, status, ring_ns, ring_x):  # noqa: PLR0917
    """Give every clock that is not out the rate that it had before, and forget the pasts since.

    Who was believed has bent the reference by his own movement, and every rate that was learned against it since. A
    clock that may have wandered so far by itself keeps its rate.
    """
    age = (epoch_ns - past_ns) / 1e9
    for i in range(y.shape[0]):
        if np.isfinite(past_x[i]) and status[i] != 0 and status[i] != 5:
            ahead = past_y[i] + drift[i] * age
            if (y[i] - ahead) * (y[i] - ahead) > 4.0 * noise[i, 3] * age:
                y[i] = ahead
    for w in range(ring_ns.shape[0]):
        for s in range(ring_ns.shape[1]):
            if ring_ns[w, s] > past_ns:
                ring_x[w, s, :] = np.nan


@kernel
def _mean_of(which, t, epoch_ns, late_limit, x, y, drift, last_ns, dispute_x, dispute_y, v, side, eligible, status):  # noqa: PLR0917
    """Return the mean deviation of a side since the onset, its variance, and how many clocks are in it."""
    weight = mean = 0.0
    count = 0
    for i in range(x.shape[0]):
        late = (epoch_ns - last_ns[i]) / 1e9
        if side[i] != which or not np.isfinite(v[i]) or not np.isfinite(dispute_x[i]):
            continue
        judges = status[i] == 2 or status[i] == PROVING
        if which == 0 and not (eligible[i] == 2 or (eligible[i] == 1 and judges)):
            continue
        if late > (late_limit if eligible[i] == 2 else 0.0):
            continue
        weight += 1.0 / v[i]
        mean += (x[i] + y[i] * late - dispute_x[i] - (dispute_y[i] + 0.5 * drift[i] * t) * t) / v[i]
        count += 2 if eligible[i] == 2 else 1
    if count == 0:
        return 0.0, np.inf, 0
    return mean / weight, 1.0 / weight, count


@kernel
def ask(  # noqa: PLR0917
    epoch_ns, x, last_ns, y, drift, since_ns, noise, memory, u_drift2, eligible, status, dispute, dispute_x, dispute_y,
    side, v
):  # fmt: skip
    """Ask the others; returns the stage wanted (0: agreed again; 11, 12: the smaller or larger side is convicted; 13:
    time is over; -1: not all can be heard at this epoch), and by how much each side has moved against the rest (s).
    """
    n = x.shape[0]
    t = (epoch_ns - dispute[0]) / 1e9
    stage = dispute[1]
    left = np.zeros(3, np.int64)
    for i in range(n):
        learned = (dispute[0] - since_ns[i]) / 1e9
        v[i] = np.inf
        if learned > 0.0 and side[i] < 3:
            left[side[i]] += 1
        if np.isfinite(dispute_x[i]) and learned > 0.0:
            v[i] = phase_variance(noise[i], memory[i], t, learned, u_drift2[i])
    late = 0.3 * t
    a, v_a, smaller = _mean_of(
        1, t, epoch_ns, late, x, y, drift, last_ns, dispute_x, dispute_y, v, side, eligible, status
    )
    b, v_b, larger = _mean_of(
        2, t, epoch_ns, late, x, y, drift, last_ns, dispute_x, dispute_y, v, side, eligible, status
    )
    o, v_o, others = _mean_of(
        0, t, epoch_ns, late, x, y, drift, last_ns, dispute_x, dispute_y, v, side, eligible, status
    )
    if (epoch_ns - dispute[2]) / 1e9 > LONGEST_S:
        return 13, a - o, b - o
    if left[1] == 0 or left[2] == 0:
        # a side is out for another reason: there is nothing left to ask
        return 0, 0.0, 0.0
    if smaller == 0 or larger == 0:
        return -1, 0.0, 0.0
    apart2 = (a - b) * (a - b)
    if apart2 > ALOUD2 * (v_a + v_b) and (dispute[2] - dispute[0]) / 1e9 <= ABRUPT_S:
        dispute[5] = 1
    if apart2 < SETTLED2 * (v_a + v_b):
        return 0, a - o, b - o
    if others < 2:
        return stage, a - b, 0.0
    prefers = (b - o) * (b - o) / (v_b + v_o) - (a - o) * (a - o) / (v_a + v_o)
    if prefers <= -CONVICTED:
        return 11, a - o, b - o
    slow = (dispute[2] - dispute[0]) / 1e9 > ABRUPT_S
    if prefers >= CONVICTED:
        return 12, a - o, b - o
    if slow or (dispute[4] == 0 and apart2 < ALOUD2 * (v_a + v_b)):
        return stage, a - o, b - o
    if stage == 4 or dispute[3] == 1:
        if prefers <= -TIE_PREFERRED + (STAY if stage == 1 else 0.0):
            return 1, a - o, b - o
        if prefers >= TIE_PREFERRED - (STAY if stage == 3 else 0.0):
            return 3, a - o, b - o
        if apart2 > TIE_APART2 * v_o:
            return 2, a - o, b - o
    elif dispute[5] == 1:
        return (3 if prefers >= LED_FROM - (STAY if stage == 3 else 0.0) else 1), a - o, b - o
    return stage, a - o, b - o


@kernel
def _take_back(which, side, status, good_ns, epoch_ns):
    """Give a side its vote again."""
    for i in range(status.shape[0]):
        if side[i] == which and (status[i] == 7 or status[i] == 8):
            status[i], good_ns[i] = 2, epoch_ns


@kernel
def settle(  # noqa: PLR0917
    epoch_ns, x, last_ns, y, drift, since_ns, good_ns, status, strikes, noise, memory, u_drift2, ring_ns, ring_x,
    dispute, dispute_x, dispute_y, side, eligible, v, moved, began
):  # fmt: skip
    """Look at the open dispute once; return whether it is to be said aloud."""
    for i in range(status.shape[0]):
        # a reference speaks once a day or a week: where it was at the onset is its last value before, carried on
        before = (dispute[0] - last_ns[i]) / 1e9
        if eligible[i] == 2 and last_ns[i] > 0 and not np.isfinite(dispute_x[i]) and 0.0 <= before <= REFERENCE_AGE_S:
            dispute_x[i] = x[i] + (y[i] + 0.5 * drift[i] * before) * before
            dispute_y[i] = y[i] + drift[i] * before
    wanted, by_a, by_b = ask(
        epoch_ns, x, last_ns, y, drift, since_ns, noise, memory, u_drift2, eligible, status, dispute, dispute_x,
        dispute_y, side, v
    )  # fmt: skip
    stage = dispute[1]
    t = (epoch_ns - dispute[0]) / 1e9
    n = status.shape[0]
    if wanted == stage or wanted == -1:  # noqa: PLR1714 - a kernel
        aloud = dispute[5] == 1 and (epoch_ns - dispute[2]) / 1e9 >= SAID_AFTER_S
        return stage == 2 or stage == 3 or aloud  # noqa: PLR1714 - a kernel
    if stage == 4 and wanted != 0 and wanted != 13:  # noqa: PLR1714 - a kernel
        dispute[3] = 1
    if wanted != 0 and wanted != 11:  # noqa: PLR1714 - a kernel
        # the reference, and the scale, may have followed those who were wrong
        dispute[4] = 1
        if stage == 1 and (wanted == 12 or wanted == 3):  # noqa: PLR1714 - a kernel
            for i in range(n):
                if side[i] == 2 and status[i] == 2:
                    moved[i, 0], moved[i, 1], moved[i, 2] = (by_b - by_a) / t, t, 0.0
    if dispute[4] == 1 and wanted > 10:
        restore(epoch_ns, dispute[0], dispute_x, dispute_y, y, drift, noise, status, ring_ns, ring_x)
    if wanted == 0:
        for i in range(n):
            if side[i] != 0 and (status[i] == 7 or status[i] == 8):
                status[i], good_ns[i] = 2, epoch_ns
        close(dispute, dispute_x, side)
        return False
    if wanted == 13:
        # nobody is named: who had no vote learns its rate against those who carried the scale, and comes back
        for i in range(n):
            if side[i] != 0 and (status[i] == 7 or status[i] == 8):
                put_out(i, status, epoch_ns, since_ns, good_ns, strikes, ring_x, began, 1)
                y[i] += (by_a if side[i] == 1 else by_b) / t
        aloud = dispute[5] == 1
        close(dispute, dispute_x, side)
        return aloud
    if wanted == 11 or wanted == 12:  # noqa: PLR1714 - a kernel
        bad = 1 if wanted == 11 else 2
        _take_back(3 - bad, side, status, good_ns, epoch_ns)
        for i in range(n):
            if side[i] == bad and (status[i] == 2 or status[i] == 7 or status[i] == 8 or status[i] == PROVING):
                if dispute[4] == 1:
                    y[i] += (by_a if bad == 1 else by_b) / t
                put_out(i, status, epoch_ns, since_ns, good_ns, strikes, ring_x, began, 5)
        close(dispute, dispute_x, side)
        return True
    dispute[1] = wanted
    if wanted == 1 or wanted == 3:  # noqa: PLR1714 - a kernel
        _take_back(2 if wanted == 1 else 1, side, status, good_ns, epoch_ns)
    for i in range(n):
        if status[i] == 2 or status[i] == 7 or status[i] == 8:
            out = (side[i] == 1 and wanted != 3) or (side[i] == 2 and wanted != 1)
            if out:
                status[i] = 8 if wanted == 2 else 7
                good_ns[i] = epoch_ns
    return True
