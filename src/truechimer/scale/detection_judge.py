# mypy: allow-untyped-defs, allow-untyped-calls
"""The court: whose deviation over one window is not shared by the others, and whether the others can know.

It remembers nothing and changes nothing. A clock is judged by the mean of those that agree, itself left out (the sums
less its own share: O(n)). Who agrees begins at a weighted median, so that a heavy clock or a pair that moves together
cannot pull the mean, and is then repeated until it is stable. Who is off needs peers to say so: kept clocks no noisier
than it over this window (variance at most four times its own). Three peers that outnumber those who are off suffice.
Two against one are a question for the other clocks, for which neither side is a peer (`detection_dispute`), unless they
have answered it beyond doubt. One against one is a tie. Where the others prefer those who are off, the majority moved.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

import numpy as np

from truechimer.kernel import kernel
from truechimer.scale.detection import ROBUST_CAP, weighted_median
from truechimer.scale.weights import capped

PEER_RATIO = 4.0
"""A peer's variance over the window is at most this many times the accused's."""
PREFERRED, OVERTURNS = 14.0, 20.0
"""Difference of squared sigmas by which the others prefer one side (odds of a thousand), and by which they overturn
three and more that agree.
"""
NOTHING, GUILTY, FOR_NOW, CLEARED, TIE, MOVED_TOGETHER = 0, 1, 2, 3, 4, 5
"""Verdicts. `CLEARED`: its peers contradict it and the other classes contradict them, who are `MOVED_TOGETHER`."""


@kernel
def _against(d, v, inverse, share, kept, z):  # noqa: PLR0917
    """Fill `z` (sigmas, signed) of every clock against the kept ones without itself; return their mean and count.

    `inverse` is 1/v, `share` d/v. The last loop has no branch, so that machine code takes several clocks at once.
    """
    n = d.shape[0]
    weight = 0.0
    middle = 0.0
    count = 0
    for i in range(n):
        if kept[i]:
            weight += inverse[i]
            middle += share[i]
            count += 1
    if count > 0:
        middle /= weight
    for i in range(n):
        # d_i - c_without_i = (d_i - c) weight / rest
        own = inverse[i] if kept[i] else 0.0
        rest = weight - own
        # where nobody is left the outcome is not used; plain Python would not divide by nothing
        left = rest if rest > 0.0 else 1.0
        off = (d[i] - middle) * weight / left if kept[i] else d[i] - middle
        sigma = np.sqrt(v[i] + 1.0 / left)
        is_known = (abs(d[i]) < np.inf) & (abs(v[i]) < np.inf) & (count > 0)
        is_alone = kept[i] & ((count < 2) | (rest <= 0.0))
        z[i] = off / sigma if is_known & (not is_alone) else np.nan
    return middle, weight, count


@kernel
def judge(d, v, voter, accused, sigmas, z, verdict, kept):  # noqa: PLR0917
    """Judge one window.

    `d` (s) and `v` (s^2) of each clock, NaN and infinite where there is none; `voter` bool: who may judge; `accused`
    bool: who is out for the moment and is judged again; `sigmas` `(n,)`: threshold of each. Fills `z`, `verdict` (see
    the constants) and `kept`; returns the mean of the kept ones and their count (0: nobody can judge).
    """
    n = d.shape[0]
    voters = 0
    inverse = np.empty(n)
    share = np.empty(n)
    for i in range(n):
        inverse[i] = 1.0 / v[i]
        share[i] = d[i] / v[i]
    for i in range(n):
        verdict[i] = 0
        kept[i] = voter[i] and np.isfinite(d[i]) and np.isfinite(v[i])
        if kept[i]:
            voters += 1
    middle, _, count = _against(d, v, inverse, share, kept, z)
    if voters < 2:
        return middle, count
    anyone_off = False
    for i in range(n):
        # not a number is not beyond anything
        anyone_off |= (kept[i] | accused[i]) & (abs(z[i]) >= 3.0)
    if not anyone_off:
        return middle, count
    votes = np.zeros(n)
    able = kept.copy()
    for i in range(n):
        if able[i]:
            votes[i] = 1.0 / np.sqrt(v[i])
    votes = capped(votes, ROBUST_CAP)
    spread = 0.0
    for i in range(n):
        spread += votes[i] * votes[i] * (v[i] if able[i] else 0.0)
    # the variance of a median is pi/2 times that of the mean for Gaussian noise
    spread *= 1.5707963267948966
    center = weighted_median(np.where(able, d, 0.0), votes)
    for i in range(n):
        if able[i]:
            off = d[i] - center
            kept[i] = off * off <= 9.0 * (v[i] + spread)
    # one at a time, the worst first: two that contradict each other shall not both go. Who was taken back stays.
    again = np.zeros(n, np.bool_)
    for _ in range(2 * n):
        _against(d, v, inverse, share, kept, z)
        worst_at = -1
        excess = 1.0
        for i in range(n):
            if kept[i] and not again[i] and np.isfinite(z[i]) and abs(z[i]) > excess * sigmas[i]:
                worst_at, excess = i, abs(z[i]) / sigmas[i]
        if worst_at >= 0:
            kept[worst_at] = False
            continue
        nearest = -1
        least = 1.0
        for i in range(n):
            if able[i] and not kept[i] and np.isfinite(z[i]) and abs(z[i]) <= least * sigmas[i]:
                nearest, least = i, abs(z[i]) / sigmas[i]
        if nearest < 0:
            break
        kept[nearest], again[nearest] = True, True
    middle, _, count = _against(d, v, inverse, share, kept, z)
    for i in range(n):
        if able[i] and kept[i]:
            continue
        if not (able[i] or accused[i]) or not np.isfinite(z[i]) or (able[i] and abs(z[i]) <= sigmas[i]):
            continue
        if accused[i] and abs(z[i]) < 3.0:
            continue
        peers = others = 0
        peer_weight = peer_mean = other_weight = other_mean = 0.0
        alike = 0
        for j in range(n):
            if kept[j]:
                if v[j] <= PEER_RATIO * v[i]:
                    peers += 1
                    peer_weight += 1.0 / v[j]
                    peer_mean += d[j] / v[j]
                else:
                    others += 1
                    other_weight += 1.0 / v[j]
                    other_mean += d[j] / v[j]
            elif (able[j] or accused[j]) and np.isfinite(d[j]) and v[j] <= PEER_RATIO * v[i]:
                alike += 1
        if others < 2:
            # those that a heavy majority outvoted are witnesses still
            others = 0
            other_weight = other_mean = 0.0
            for j in range(n):
                if able[j] and v[j] > PEER_RATIO * v[i]:
                    others += 1
                    other_weight += 1.0 / v[j]
                    other_mean += d[j] / v[j]
        preferred = 0.0
        if other_weight > 0.0:
            other_mean /= other_weight
            own = (d[i] - other_mean) * (d[i] - other_mean) / (v[i] + 1.0 / other_weight)
            preferred = own
            if peers > 0:
                peer_mean /= peer_weight
                theirs = (peer_mean - other_mean) * (peer_mean - other_mean)
                preferred = own - theirs / (1.0 / peer_weight + 1.0 / other_weight)
        if peers == 2 and alike == 1:
            verdict[i] = 1 if preferred >= OVERTURNS and others >= 2 else 2
        elif preferred <= -(OVERTURNS if peers >= 3 else PREFERRED) and others >= 2:
            verdict[i] = 3
        elif (peers >= 3 and peers > alike) or (preferred >= PREFERRED and (peers >= 2 or others >= 2)):
            verdict[i] = 1
        else:
            verdict[i] = 4
    turned = asked = False
    for i in range(n):
        asked = asked or verdict[i] == 2
    for i in range(n):
        if asked and verdict[i] == 4:
            # what noisier clocks say against the two is an answer to that question, and no question of its own
            verdict[i] = 0
        if verdict[i] == 3:
            turned = True
            for j in range(n):
                if kept[j] and v[j] <= PEER_RATIO * v[i] and verdict[j] != 3:
                    verdict[j] = 5
    if turned:
        for i in range(n):
            kept[i] = able[i] and verdict[i] != 5
        _against(d, v, inverse, share, kept, z)
        for i in range(n):
            if kept[i] and verdict[i] != 3 and np.isfinite(z[i]):
                kept[i] = abs(z[i]) <= sigmas[i]
                verdict[i] = 0 if kept[i] else 4
        middle, _, count = _against(d, v, inverse, share, kept, z)
    return middle, count
