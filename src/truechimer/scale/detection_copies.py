# mypy: allow-untyped-defs, allow-untyped-calls
"""Copies: a clock that no independent clock can be has no vote, since it would make what it copies count twice.

It does not see readings that repeat earlier ones of the same clock: that is `compare.cleaning`'s. Three marks: a clock
that lies nearer to the others than their own noise lets even a perfect clock lie, one that is quieter than any clock of
its kind, and two names whose readings move as one.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

import numpy as np

from truechimer.kernel import kernel
from truechimer.scale.detection_state import DAY_S

SETTLED_SAMPLES = 500
LIKE_SAMPLES, LIKE_CLIP = 150.0, 2.0
"""Memory of the test for copies, in epochs, and the most that one epoch counts for."""
SAME = 1e-3
"""Two clocks that move by less than this part of what clocks here usually move apart, `TWIN_LOOKS` times running, are
one: by chance two do so once in a thousand looks at most.
"""
TWIN_LOOKS = 24
QUIET_LOOKS = 40
"""Ten days: a clock is quieter than its kind where its mean square over a day has been, lately."""
EVERY_EPOCH_TO = 40
"""Larger ensembles are looked at four times a day: every clock is held against every other."""


@kernel
def find_twins(epoch_ns, before_ns, d, v, eligible, twin, twin_count):  # noqa: PLR0917
    """Count the epochs running at which a clock moved exactly as one before it in the register did; `d`, `v`: each
    clock's deviation and its variance.
    """
    n = d.shape[0]
    slot_ns = np.int64(DAY_S * 1e9) // 4
    if n > EVERY_EPOCH_TO and epoch_ns // slot_ns == before_ns // slot_ns:
        return
    usual, heard = 0.0, 0
    for i in range(n):
        if np.isfinite(d[i]) and np.isfinite(v[i]) and eligible[i] == 1:
            usual += np.sqrt(v[i])
            heard += 1
    if heard < 3:
        return
    limit = SAME * usual / heard
    for i in range(1, n):
        if not np.isfinite(d[i]) or eligible[i] != 1:
            continue
        same = -1
        j = twin[i]
        if twin_count[i] > 0 and np.isfinite(d[j]) and abs(d[i] - d[j]) <= limit:
            same = j
        else:
            for j in range(i):
                if eligible[j] == 1 and np.isfinite(d[j]) and abs(d[i] - d[j]) <= limit:
                    same = j
                    break
        if same < 0:
            twin_count[i] = 0
        elif same == twin[i]:
            twin_count[i] += 1
        else:
            twin[i], twin_count[i] = same, 1


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
        if twin_count[i] >= TWIN_LOOKS:
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
