# mypy: allow-untyped-defs, allow-untyped-calls
"""Copies: a clock that no independent clock can be has no vote, since it would make what it copies count twice.

It does not see readings that repeat earlier ones of the same clock: that is `compare.cleaning`'s. Three marks: a clock
that lies nearer to the others than their own noise lets even a perfect clock lie, one that is quieter than any clock of
its kind, and two names whose readings move as one.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

import numpy as np

from truechimer.kernel import kernel
from truechimer.scale.detection_early import middle_of
from truechimer.scale.detection_state import DAY_S

SETTLED_SAMPLES = 500
LIKE_SAMPLES, LIKE_CLIP = 150.0, 2.0
"""Memory of the test for copies, in epochs, and the most that one epoch counts for."""
SAME = 1e-3
"""Two clocks that move by less than this part of what clocks here usually move apart, `TWIN_LOOKS` times running, are
one: by chance two do so once in a thousand looks at most.
"""
NEAR2, NEAR_LOOKS, NEAR_FROM = 0.09, 48, 1_000
"""So are two that stay within 0.3 sigma of what they were known to differ by, `NEAR_LOOKS` times running: two clocks do
so once in 10^30 looks, and once in 10^8 where their noise is thought ten times (as a variance) too large. Their noise
must have been learned over `NEAR_FROM` epochs before.
"""
TWIN_LOOKS = 24
QUIET_LOOKS = 40
"""Ten days: a clock is quieter than its kind where its mean square over a day has been, lately."""
EVERY_EPOCH_TO = 40
"""Larger ensembles are looked at four times a day: every clock is held against every other."""


@kernel
def find_twins(epoch_ns, before_ns, d, v, voter, eligible, count, twin, twin_count):  # noqa: PLR0917
    """Count the looks running at which a clock moved as one before it in the register did; `d`, `v`: each clock's
    deviation and its variance, `count (n, W)`: how often its noise was seen.

    Looks at which two move exactly alike count double, so that `NEAR_LOOKS` are `TWIN_LOOKS` of them.
    """
    n = d.shape[0]
    slot_ns = np.int64(DAY_S * 1e9) // 4
    if n > EVERY_EPOCH_TO and epoch_ns // slot_ns == before_ns // slot_ns:
        return
    heard = np.zeros(n, np.bool_)
    for i in range(n):
        heard[i] = voter[i] and np.isfinite(d[i]) and np.isfinite(v[i])
    usual2 = middle_of(v, heard)
    if heard.sum() < 3:
        return
    exact2 = SAME * SAME * usual2
    for i in range(1, n):
        if not np.isfinite(d[i]) or eligible[i] != 1:
            continue
        known = count[i, 0] >= NEAR_FROM and np.isfinite(v[i])
        same, looks = -1, 0
        for turn in range(i + 1):
            # the one it was like at the last look, then all before it
            j = twin[i] if turn == 0 else turn - 1
            if (turn == 0 and twin_count[i] == 0) or eligible[j] != 1 or not np.isfinite(d[j]) or j == i:
                continue
            apart2 = (d[i] - d[j]) * (d[i] - d[j])
            if apart2 <= exact2:
                same, looks = j, NEAR_LOOKS // TWIN_LOOKS
                break
            near = known and count[j, 0] >= NEAR_FROM and np.isfinite(v[j])
            if near and apart2 <= NEAR2 * (v[i] + v[j]) and (same < 0 or turn == 0):
                same, looks = j, 1
                if turn == 0:
                    break
        if same < 0:
            twin_count[i] = 0
        elif same == twin[i]:
            twin_count[i] += looks
        else:
            twin[i], twin_count[i] = same, looks


@kernel
def take_votes_of_copies(  # noqa: PLR0917
    status, good_ns, epoch_ns, likeness, likeness_count, sample, rate_sample, floor_q1, count, twin_count
):
    """Take the vote of a clock that no independent clock can be: it lies nearer to the others than their own noise
    would let even a perfect clock lie, is quieter over a day than any clock of its kind, or is another clock's twin.

    `rate_sample[:, 0]` is each clock's mean squared sigma at one epoch: where the others' noise is not known well yet
    it is far from 1, and nobody is called too good.
    """
    newest = sample.shape[1] - 1
    others = 0
    total = settled = 0.0
    for i in range(status.shape[0]):
        if status[i] == 2 and sample[i, 0] > 0.0:
            others += 1
            total += 1.0 / sample[i, 0]
            settled += rate_sample[i, 0] / sample[i, 0]
    for i in range(status.shape[0]):
        if twin_count[i] >= NEAR_LOOKS:
            if status[i] == 1 or status[i] == 2:
                status[i], good_ns[i] = 9, epoch_ns
            continue
        if likeness_count[i] < 100 or count[i, 0] < SETTLED_SAMPLES or sample[i, 0] <= 0.0:
            continue
        own = 1.0 / sample[i, 0] if status[i] == 2 else 0.0
        if total <= own:
            continue
        known = (settled - own * rate_sample[i, 0]) / (total - own)
        n = 0.75 * min(1.0 * likeness_count[i], LIKE_SAMPLES)
        limit = max(1.0 - 4.0 * np.sqrt(2.0 / n), 0.2)
        # over a day: what the counter adds is to the clock's favour there
        quiet = count[i, newest] >= QUIET_LOOKS and sample[i, newest] < floor_q1[i] * DAY_S
        copied = others >= 4 and known > 0.7 and likeness[i] < limit * min(known, 1.0)
        if status[i] == 2 and (copied or (others >= 3 and quiet)):
            status[i], good_ns[i] = 9, epoch_ns
        elif status[i] == 9 and count[i, 0] >= SETTLED_SAMPLES and likeness[i] > min(limit + 0.2, 0.8) and not quiet:
            status[i], good_ns[i] = 2, epoch_ns
