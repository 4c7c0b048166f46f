# mypy: allow-untyped-defs, allow-untyped-calls
"""Noise learning among few clocks: each clock's four noises from how every two of them differ.

It weighs nothing and judges nobody, and does what `noise_learning` does where the clocks are so few (`CLOSE`) that the
mean square G_ik of the third differences of every pair can be kept at every lag. What is learned then owes nothing to
what was believed while the samples came in. With V_i(L) the model of clock i, w_i = (1/V_i) / sum 1/V and the common
m = sum w_k D_k, restricted maximum likelihood for independent Gaussian clocks has its optimum where

    <(D_i - m)^2> = sum_k w_k G_ik - 1/2 sum_ab w_a w_b G_ab  =  V_i (1 - w_i)

for the noises in each V_i, all lags together. Every noise is multiplied by the root of how the two sides compare, which
keeps it positive. Two clocks that all others are far noisier than have V_1 + V_2 known, and hardly what of it is whose:
clocks of one kind that short lags show to be alike are held to be alike at long ones, as so many samples.

Sources: Patterson and Thompson 1971 for restricted likelihood; Ekstrom and Koppang 2006 for the hat of N corners;
Fevotte, Bertin and Durrieu 2009 for the multiplicative step.
Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

import numpy as np

from truechimer.kernel import kernel
from truechimer.scale.noise_learning import FLICKER, KIND_REACH, LEAST, MEMORY_S, POOLED, RING, model

CLOSE = 48
"""Up to so many clocks every pair is kept."""
KIND_WORTH = 6.0
"""What an atomic clock's kind lets expect, at the level of the clock itself, counts as so many samples at each lag."""
ROUNDS = 60
ALIKE_FROM = 20
"""Rounds after which clocks are compared with each other, and those that are alike share what they do not know."""
USUAL, REFUTED = 4.0, 8.0
"""What is expected is refuted by n (r - 1)^2 / r, n samples that disagree by a factor r: what of it is usual, and how
much more takes half of the worth away.
"""
INDEPENDENT = 0.6
"""Independent samples to a lag, of overlapping third differences."""
LEVEL_WORTH, LEVEL_FROM = 0.2, 20.0
"""What the level of a kind's data sheets is worth, in lags; the samples from which a lag says what a clock's own is."""
BENEFIT = 1.0
OUTLIER2 = 16.0
FAR_OFF = 1.5
"""A declaration whose mean square is wrong by more than this factor anywhere is worth less everywhere."""


@kernel
def sample(ring, newest, stride, spacing_s, square, count):  # noqa: PLR0917
    """Take the newest third differences of one lag into the mean squares of all pairs, `square (n, n)` (s^2) and their
    numbers `count (n, n)`.

    `ring (RING, n)`: phases, NaN where there is none; `newest`: index of the last; `stride`: samples to a lag.
    """
    n = ring.shape[1]
    one = (newest - stride) % RING
    two = (newest - 2 * stride) % RING
    three = (newest - 3 * stride) % RING
    difference = np.empty(n)
    for i in range(n):
        # differences of neighbours first: exact where the clocks are far apart
        late = (ring[newest, i] - ring[one, i]) - (ring[one, i] - ring[two, i])
        early = (ring[one, i] - ring[two, i]) - (ring[two, i] - ring[three, i])
        difference[i] = late - early
    most = max(60.0, MEMORY_S / spacing_s)
    for i in range(n):
        if not np.isfinite(difference[i]):
            continue
        for k in range(i + 1, n):
            if not np.isfinite(difference[k]):
                continue
            apart = difference[i] - difference[k]
            apart *= apart
            if count[i, k] > 30.0:
                apart = min(apart, OUTLIER2 * square[i, k])
            count[i, k] += 1.0
            square[i, k] += (apart - square[i, k]) / min(count[i, k], most)
            count[k, i], square[k, i] = count[i, k], square[i, k]


@kernel
def forget(i, squares, counts):
    """Drop what the pairs of clock i have shown."""
    for j in range(squares.shape[0]):
        for k in range(squares.shape[1]):
            squares[j, i, k], squares[j, k, i] = 0.0, 0.0
            counts[j, i, k], counts[j, k, i] = 0.0, 0.0


@kernel
def begin(squares, counts, voters, lags, reading, noise):  # noqa: PLR0917
    """Write where the rounds begin: half of what each clock differs from the one it differs from least, by every noise
    alone; False for a clock with no samples, which keeps its noise.
    """
    lag_count, n = squares.shape[0], squares.shape[1]
    found = np.zeros(n, np.bool_)
    for i in range(n):
        start = np.full(4, np.inf)
        for j in range(lag_count):
            least = np.inf
            for k in range(n):
                if k != i and voters[k] and counts[j, i, k] >= LEAST and squares[j, i, k] > 0.0:
                    least = min(least, 0.5 * squares[j, i, k])
            if np.isfinite(least):
                lag = lags[j]
                start[0] = min(start[0], least / 20.0)
                start[1] = min(start[1], least / (6.0 * lag))
                start[2] = min(start[2], least / (FLICKER * lag * lag))
                start[3] = min(start[3], least / (lag * lag * lag))
        if not np.isfinite(start[1]):
            continue
        found[i] = True
        for k in range(4):
            noise[i, k] = max(start[k], 1e-60)
        noise[i, 0] = reading[i] if reading[i] > 0.0 else max(0.1 * start[0], 1e-60)
    return found


@kernel
def _part(squares, counts, voters, v, j, stride, most, seen, free, own):  # noqa: PLR0917
    """Of lag j: how each clock differs from the common, `seen (n,)` (s^2); what part of its own variance that is
    expected to be, as `free (n,)`: seen = v free where it votes, v + the common's where not; `own (n,)`: independent
    samples.
    """
    n = v.shape[0]
    total = 0.0
    for k in range(n):
        if voters[k]:
            total += 1.0 / v[k, j]
    inside = 0.0
    for i in range(n):
        mean, heard, others = 0.0, 0.0, 0.0
        for k in range(n):
            if not voters[k] or k == i:
                continue
            w = 1.0 / v[k, j] / total
            others += w
            if counts[i, k] >= 1.0:
                heard += w * counts[i, k]
                mean += w * squares[i, k]
            else:
                # never read together: as far apart as the model says
                mean += w * (v[i, j] + v[k, j])
        seen[i] = mean
        own[i] = INDEPENDENT * min(heard / others, most) / stride if others > 0.0 else 0.0
        if voters[i]:
            inside += 0.5 * mean / v[i, j] / total
    for i in range(n):
        seen[i] = max(seen[i] - inside, 0.0)
        free[i] = 1.0 - 1.0 / v[i, j] / total if voters[i] else 1.0 + 1.0 / total / v[i, j]
        if voters[i]:
            # a share of the others' noise may be its own, or not: it has the benefit of the doubt
            rest = v[i, j] * (1.0 - free[i]) / max(free[i], 1e-9)
            against = seen[i] / (free[i] * free[i] + 1e-18)
            if own[i] > 0.0 and against > rest:
                doubt = BENEFIT * rest * np.sqrt(2.0 / own[i])
                seen[i] = max(against - doubt, rest) * free[i] * free[i]


@kernel
def _alike(v, info, kinds, alike):
    """Write how alike every two clocks of a kind are up to each lag, `alike (J, n, n)`, from their variances `v (n, J)`
    and in how many samples these show, `info (n, J)`.
    """
    n, lag_count = v.shape
    for i in range(n):
        for k in range(n):
            so_far = 1.0 if kinds[i] == kinds[k] and i != k else 0.0
            for j in range(lag_count):
                samples = min(info[i, j], info[k, j])
                if so_far > 0.0 and samples >= 8.0:
                    ratio = v[i, j] / v[k, j]
                    apart = max((ratio - 1.0) * (1.0 - 1.0 / ratio) - 4.0 / samples, 0.0)
                    so_far /= (1.0 + 2.0 * apart) * (1.0 + 2.0 * apart)
                alike[j, i, k] = so_far


@kernel
def _level(v, info, of_kind, lags):
    """Return how far above its kind's mean squares those of a clock are: data sheets agree on the shape more than on
    the level.
    """
    over, under = LEVEL_WORTH, LEVEL_WORTH
    for j in range(lags.shape[0]):
        if info[j] < LEVEL_FROM:
            # and longer lags are what the kind is asked about
            break
        ratio = v[j] / model(of_kind, lags[j])
        over += ratio
        under += 1.0 / ratio
    # half way: a level of short lags says half of that of long ones
    return np.sqrt(np.sqrt(over / under))


@kernel
def learn(  # noqa: PLR0917
    squares, counts, voters, strides, spacings_s, lags, kinds, of_kind, prior, prior_worth, reading, noise
):
    """Write the learned `noise (n, 4)` from the mean squares of all pairs `(J, n, n)` and their numbers.

    `of_kind (n, 4)`: what a clock of its kind does, which counts where its declaration is refuted; other arguments as
    of `noise_learning.learn`.
    """
    lag_count, n = squares.shape[0], squares.shape[1]
    found = begin(squares, counts, voters, lags, reading, noise)
    v, info = np.zeros((n, lag_count)), np.zeros((n, lag_count))
    seen, free, own = np.zeros((lag_count, n)), np.zeros((lag_count, n)), np.zeros((lag_count, n))
    hope, distrust, unlike = np.zeros(lag_count), np.zeros(lag_count), np.zeros(lag_count)
    alike = np.zeros((lag_count, n, n))
    up, down = np.zeros(4), np.zeros(4)
    for turn in range(ROUNDS):
        for i in range(n):
            for j in range(lag_count):
                v[i, j] = model(noise[i], lags[j])
        for j in range(lag_count):
            most = 2.0 * max(60.0, MEMORY_S / spacings_s[j])
            _part(squares[j], counts[j], voters, v, j, strides[j], most, seen[j], free[j], own[j])
            for i in range(n):
                info[i, j] = own[j, i] * free[j, i] * free[j, i]
        if turn == ALIKE_FROM:
            _alike(v, info, kinds, alike)
        for i in range(n):
            if not found[i]:
                continue
            level = _level(v[i], info[i], of_kind[i], lags)
            is_declared = prior_worth[i] > KIND_WORTH
            worst = 0.0
            for j in range(lag_count):
                hope[j], distrust[j], unlike[j] = 0.0, 0.0, 0.0
                if prior_worth[i] <= 0.0 or free[j, i] <= 1e-6 or own[j, i] <= 0.0:
                    continue
                # against the common of the others: clock + others
                f = free[j, i] if voters[i] else 1.0
                against = seen[j, i] / (f * f)
                rest = v[i, j] * (1.0 - f) / f if voters[i] else v[i, j] * (free[j, i] - 1.0)
                shown = max(against, 1e-3 * rest)
                ratio = shown / (level * model(of_kind[i], lags[j]) + rest)
                unlike[j] = max(own[j, i] * (ratio - 1.0) * (1.0 - 1.0 / ratio) - USUAL, 0.0) / REFUTED
                if not is_declared:
                    continue
                ratio = shown / (model(prior[i], lags[j]) + rest)
                distrust[j] = max(own[j, i] * (ratio - 1.0) * (1.0 - 1.0 / ratio) - USUAL, 0.0) / REFUTED
                beyond = max(ratio, 1.0 / ratio) / FAR_OFF
                if beyond > 1.0:
                    worst += own[j, i] * (beyond - 1.0) * (1.0 - 1.0 / beyond) / REFUTED
            for j in range(lag_count):
                if is_declared:
                    off = distrust[j] + worst
                    hope[j] = prior_worth[i] / (1.0 + off * off)
            up[:] = 0.0
            down[:] = 0.0
            for j in range(lag_count):
                lag = lags[j]
                mine = v[i, j]
                out, expected = 0.0, 0.0
                if own[j, i] > 0.0:
                    out = own[j, i] * seen[j, i] / (mine * mine)
                    expected = own[j, i] * free[j, i] / mine
                    if not voters[i]:
                        out /= free[j, i] * free[j, i]
                        expected = own[j, i] / (mine * free[j, i])
                if is_declared:
                    hoped = min(max(model(prior[i], lag), mine / KIND_REACH), KIND_REACH * mine)
                    out += hope[j] * hoped / (mine * mine)
                    expected += hope[j] / mine
                if prior_worth[i] > 0.0:
                    of_my_kind = min(prior_worth[i], KIND_WORTH) / (1.0 + unlike[j] * unlike[j])
                    if is_declared:
                        of_my_kind *= 1.0 - hope[j] / prior_worth[i]
                    hoped = min(max(level * model(of_kind[i], lag), mine / KIND_REACH), KIND_REACH * mine)
                    out += of_my_kind * hoped / (mine * mine)
                    expected += of_my_kind / mine
                if turn >= ALIKE_FROM:
                    shared, weight = mine, 1.0
                    for k in range(n):
                        if alike[j, i, k] > 0.0 and found[k]:
                            shared += alike[j, i, k] * v[k, j]
                            weight += alike[j, i, k]
                    if weight > 1.0:
                        worth = min(POOLED, max(own[j, i], 1.0) * (weight - 1.0))
                        out += worth * shared / weight / (mine * mine)
                        expected += worth / mine
                up[0] += 20.0 * out
                up[1] += 6.0 * lag * out
                up[2] += FLICKER * lag * lag * out
                up[3] += lag * lag * lag * out
                down[0] += 20.0 * expected
                down[1] += 6.0 * lag * expected
                down[2] += FLICKER * lag * lag * expected
                down[3] += lag * lag * lag * expected
            for k in range(4):
                if k == 0 and reading[i] > 0.0:
                    continue
                if down[k] > 0.0:
                    noise[i, k] = max(noise[i, k] * np.sqrt(up[k] / down[k]), 1e-60)
