# mypy: allow-untyped-defs, allow-untyped-calls
"""AT1's detection: which clock is off its own prediction at one epoch, judged against the other clocks and never
against a scale it helps to make.

It excludes nobody when there is no majority left to say who is right: it says "divided" then. The common point is a
weighted median (weights 1/sigma, none above 0.4), so that one clock, however heavy, cannot pull it.
`detection_fold` judges over many epochs, for the other algorithms.
"""

import numpy as np

from truechimer.kernel import kernel
from truechimer.scale.weights import capped

ROBUST_CAP = 0.4
"""No clock has more than this share in the median, so that a single one cannot be it."""
CLEAR_FROM = 24
"""Up to so many values sorting is as quick."""
MANY, SAMPLED, FIRST, LAST = 150, 33, 10, 22
"""Of more values than `MANY`, a sample says between which two of its own (`FIRST`, `LAST` in order) the median lies,
mostly.
"""


@kernel
def _median_in_order(values, weights):
    """Return the lower weighted median by the running sum over the sorted values."""
    n = values.shape[0]
    order = np.argsort(values)
    total = 0.0
    for i in range(n):
        if weights[i] > 0.0:
            total += weights[i]
    running = 0.0
    for j in range(n):
        i = order[j]
        if weights[i] > 0.0:
            running += weights[i]
            if running >= 0.5 * total:
                return values[i]
    return np.nan


@kernel
def _near_half(field, votes, count, below, half, unclear):  # noqa: PLR0917
    """Return the values among which the median is, with their votes, number and what lies below them.

    `below`: votes of what lies below `field[:count]`. All are returned where the sample does not say clearly.
    """
    while count > MANY:
        sample = np.empty(SAMPLED)
        for j in range(SAMPLED):
            sample[j] = field[j * (count - 1) // (SAMPLED - 1)]
        sample = np.sort(sample)
        low, high = sample[FIRST], sample[LAST]
        near, near_votes = np.empty(count), np.empty(count)
        left, inside = 0.0, 0.0
        m = 0
        # without a branch: which way a value goes cannot be foreseen
        for i in range(count):
            value, vote = field[i], votes[i]
            is_near = (value >= low) & (value <= high)
            left += vote * (value < low)
            inside += vote * is_near
            near[m], near_votes[m] = value, vote
            m += is_near
        if m == count or not (below + left < half - unclear and below + left + inside > half + unclear):
            break
        field, votes, count, below = near, near_votes, m, below + left
    return field, votes, count, below


@kernel
def weighted_median(values, weights):
    """Return the lower weighted median of `values` where `weights > 0`; NaN where there are none.

    Found by halving the field, O(n), where it is clear; where sums of weights come so near to one half that the order
    of adding could decide, by sorting: the answer is that of `_median_in_order` to the last bit.
    """
    n = values.shape[0]
    if n <= CLEAR_FROM:
        return _median_in_order(values, weights)
    field = np.empty(n)
    votes = np.empty(n)
    m = 0
    total = 0.0
    for i in range(n):
        if weights[i] > 0.0:
            if not np.isfinite(values[i]):
                return _median_in_order(values, weights)
            field[m], votes[m] = values[i], weights[i]
            total += weights[i]
            m += 1
    half, unclear = 0.5 * total, 1e-9 * total
    field, votes, m, below = _near_half(field, votes, m, 0.0, half, unclear)
    begin, end = 0, m
    while end - begin > 0:
        one, two, three = field[begin], field[(begin + end) // 2], field[end - 1]
        pivot = max(min(one, two), min(max(one, two), three))
        # less than the pivot to the front, equal behind them, greater at the end
        less, at, more = begin, begin, end
        left, same = 0.0, 0.0
        while at < more:
            value, vote = field[at], votes[at]
            if value < pivot:
                left += vote
                field[at], votes[at] = field[less], votes[less]
                field[less], votes[less] = value, vote
                less += 1
                at += 1
            elif value > pivot:
                more -= 1
                field[at], votes[at] = field[more], votes[more]
                field[more], votes[more] = value, vote
            else:
                same += vote
                at += 1
        if abs(below + left - half) <= unclear or abs(below + left + same - half) <= unclear:
            return _median_in_order(values, weights)
        if below + left > half:
            end = less
        elif below + left + same > half:
            return pivot
        else:
            below += left + same
            begin = more
    return _median_in_order(values, weights)


@kernel
def _is_nobody_far(deviation, root, known, votes, sigmas):
    """Return True where it is clear, without a median, that nobody is `sigmas` off it and no vote is cut.

    `root`: one sigma. The median lies in any interval that has less than half of the votes on either side.
    """
    n = deviation.shape[0]
    total, mean, most = 0.0, 0.0, 0.0
    for i in range(n):
        vote = votes[i]
        total += vote
        mean += vote * deviation[i] if vote > 0.0 else 0.0
        most = max(most, vote)
    if not 0.0 < most < 0.99 * ROBUST_CAP * total:
        return False
    mean /= total
    reach = 1.5 / most
    low, high, limit = mean - reach, mean + reach, 0.999999 * sigmas
    is_any_far = False
    for i in range(n):
        is_any_far |= known[i] & (not (abs(deviation[i] - mean) + reach < limit * root[i]))
    if is_any_far:
        return False
    below, above = 0.0, 0.0
    for i in range(n):
        below += votes[i] if deviation[i] < low else 0.0
        above += votes[i] if deviation[i] > high else 0.0
    return below < 0.499 * total and above < 0.499 * total


@kernel
def off_the_others(deviation, variance, voters, sigmas):
    """Find the clocks whose deviation is not shared by the others.

    `deviation` (s) and `variance` (s^2) of each clock, `voters` bool: who defines the common point. Returned are `off`
    (bool, every finite clock, voter or not), `divided` (bool): voters are off but too few agree to say who is right,
    then no voter is off; and whether anyone is off or the voters are divided. At least two voters with more than half
    of the votes must agree.
    """
    n = deviation.shape[0]
    votes, root = np.empty(n), np.empty(n)
    known, off = np.empty(n, np.bool_), np.zeros(n, np.bool_)
    for i in range(n):
        known[i] = (abs(deviation[i]) < np.inf) & (abs(variance[i]) < np.inf)
        is_voter = voters[i] & known[i] & (variance[i] > 0.0)
        root[i] = np.sqrt(variance[i] if known[i] & (variance[i] > 0.0) else 1.0)
        votes[i] = 1.0 / root[i] if is_voter else 0.0
        # of who is without noise nothing is clear
        root[i] = root[i] if variance[i] > 0.0 else 0.0
    if _is_nobody_far(deviation, root, known, votes, sigmas):
        return off, False, False
    count = 0
    for i in range(n):
        count += votes[i] > 0.0
    if count == 0:
        return off, False, False
    votes = capped(votes, ROBUST_CAP)
    center_variance = 0.0
    for i in range(n):
        if votes[i] > 0.0:
            center_variance += votes[i] * votes[i] * variance[i]
    # the median's variance is pi/2 times that of the mean for Gaussian noise
    center_variance *= 1.5707963267948966
    center = weighted_median(deviation, votes)
    agreeing = 0
    agreement = 0.0
    is_anyone = False
    for i in range(n):
        if not known[i]:
            continue
        distance = deviation[i] - center
        off[i] = distance * distance > sigmas * sigmas * (variance[i] + center_variance)
        is_anyone = is_anyone or off[i]
        if votes[i] > 0.0 and not off[i]:
            agreeing += 1
            agreement += votes[i]
    divided = False
    voter_off = agreeing < count
    # a bare majority of the votes is none where it is not one of heads either: two against two say nothing
    clear = agreement > 0.5 and (2 * agreeing > count or agreement >= 2.0 / 3.0)
    if count > 1 and voter_off and (agreeing < 2 or not clear):
        divided = True
        for i in range(n):
            if voters[i]:
                off[i] = False
    return off, divided, is_anyone or divided
