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
STATED_WORTH = 6.0
"""... as does the noise that readings state of themselves, once."""
STATED_FROM, STATED_SIGMAS2, DOUBLE = 30, 9.0, 2.0
"""From so many rounds on it is held where what was found is within three sigma of it, white PM and white FM being hard
to tell from each other.
"""
READ = 20.0
"""Mean square of a third difference of white PM, over its variance."""
ROUNDS = 60
ALIKE_FROM = 20
"""Rounds after which clocks are compared with each other, and those that are alike share what they do not know."""
USUAL, REFUTED = 4.0, 8.0
"""What is expected is refuted by n (r - 1)^2 / r, n samples that disagree by a factor r: what of it is usual, and how
much more takes half of the worth away.
"""
COMPARED = 8.0
"""Samples from which clocks are compared with each other."""
INDEPENDENT = 0.6
"""Independent samples to a lag, of overlapping third differences."""
LEVEL_WORTH, LEVEL_FROM = 0.2, 20.0
"""What the level of a kind's data sheets is worth, in lags; the samples from which a lag says what a clock's own is."""
BENEFIT = 1.0
EQUAL, NEGLIGIBLE = 1.0 - 1e-9, 1e-6
"""Parts of samples that are the same above which all are; parts of a mean below which a clock is passed over."""
OUTLIER2 = 16.0
FAR_OFF = 1.5
"""A declaration whose mean square is wrong by more than this factor anywhere is worth less everywhere."""


@kernel
def sample(ring, newest, stride, spacing_s, square, count):  # noqa: PLR0917
    """Take the newest third differences of one lag into the mean squares of all pairs, `square (n, n)` (s^2) and their
    numbers `count (n, n)`.

    `ring (RING, n)`: phases, NaN where there is none; `newest`: index of the last; `stride`: samples to a lag. On the
    diagonal of `count` are those of each clock with whomever.
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
        # of the clock itself, with whomever
        count[i, i] += 1.0


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
def _shared(i, counts, voters, v, j, most, common):  # noqa: PLR0917
    """Return what part of the samples of clock i's pairs are the same third differences, 0 to 1: that of those who say
    most of the common, whose variance is `common` (s^2).
    """
    part = 0.0
    for k in range(v.shape[0]):
        if not voters[k] or k == i:
            continue
        alone = min(counts[i, i], most) * min(counts[k, k], most)
        both = min(counts[i, k], most)
        part += common / v[k, j] * (both * both / alone if alone > 0.0 else 1.0)
    return 1.0 if part > EQUAL else part


@kernel
def _of_some(i, squares, counts, voters, v, j, common, shared, g):  # noqa: PLR0917
    """Return, of lag j, how clock i differs from a mean of other voters that were read with it (s^2), the variance of
    that mean and the number of samples. `shared`: see `_shared`; `g (n,)`: room for the weights of the mean.
    """
    n = v.shape[0]
    whole = 0.0
    for k in range(n):
        g[k] = 0.0
        if voters[k] and k != i and counts[i, k] >= 1.0:
            pair = v[i, j] + v[k, j]
            g[k] = 1.0 / (2.0 * shared * (v[i, j] + common) * v[k, j] + (1.0 - shared) * pair * pair)
            whole += g[k]
    seen, rest, heard = 0.0, 0.0, 0.0
    if whole <= 0.0:
        return seen, common, heard
    for k in range(n):
        g[k] /= whole
        if g[k] < NEGLIGIBLE:
            continue
        seen += g[k] * squares[i, k]
        heard += g[k] * counts[i, k]
        rest += g[k] * g[k] * v[k, j]
        for other in range(k):
            if g[other] >= NEGLIGIBLE:
                apart = squares[other, k] if counts[other, k] >= 1.0 else v[other, j] + v[k, j]
                seen -= g[other] * g[k] * apart
    return max(seen, 0.0), rest, heard


@kernel
def _part(squares, counts, voters, v, j, stride, most, seen, rest, info, own):  # noqa: PLR0917
    """Of lag j: how each clock differs from the mean of the other voters, `seen (n,)` (s^2), expected to be v + `rest`;
    `own (n,)`: in how many independent samples; `info (n,)`: so many of the clock alone say as much of it.

    The mean is by 1/v where every pair of the clock has the same samples: what a noisy clock adds to all its pairs then
    cancels. Where they are not the same (clocks that were not read now and then) it does not, and pairs with a noisy
    one count by 1/(v + v_k)^2, as if each stood alone; between the two, by the sum of both variances.
    """
    n = v.shape[0]
    total, inside = 0.0, 0.0
    for k in range(n):
        if voters[k]:
            total += 1.0 / v[k, j]
    g = np.zeros(n)
    for i in range(n):
        # against the mean of all, the clock's own part included
        seen[i], own[i] = 0.0, 0.0
        for k in range(n):
            if voters[k] and k != i:
                # never read together: as far apart as the model says
                apart = squares[i, k] if counts[i, k] >= 1.0 else v[i, j] + v[k, j]
                seen[i] += apart / v[k, j] / total
                own[i] += counts[i, k] / v[k, j] / total
        if voters[i]:
            inside += 0.5 * seen[i] / v[i, j] / total
    for i in range(n):
        others = total - 1.0 / v[i, j] if voters[i] else total
        rest[i] = 1.0 / max(others, 1e-9 * total)
        shared = _shared(i, counts, voters, v, j, most, rest[i])
        part = others / total
        if part <= 0.0:
            seen[i], own[i], info[i] = 0.0, 0.0, 0.0
            continue
        heard = own[i] / part
        if shared < 1.0:
            seen[i], rest[i], heard = _of_some(i, squares, counts, voters, v, j, rest[i], shared, g)
        else:
            seen[i] = max(seen[i] - inside, 0.0) / (part * part)
        own[i] = INDEPENDENT * min(heard, most) / stride
        free = v[i, j] / (v[i, j] + rest[i])
        info[i] = own[i] * free * free
        if voters[i] and own[i] > 0.0 and seen[i] > rest[i]:
            # a share of the others' noise may be its own, or not: it has the benefit of the doubt
            seen[i] = max(seen[i] - BENEFIT * rest[i] * np.sqrt(2.0 / own[i]), rest[i])


@kernel
def _alike(v, rest, info, own, noise, kinds, alike):  # noqa: PLR0917
    """Write how alike every two clocks of a kind are up to each lag, `alike (J, n, n)`, from their variances `v (n, J)`
    and in how many samples these show, `info (J, n)`. Of a clock that hardly shows beside the others' `rest (J, n)` in
    many samples, `own (J, n)`, it is known that it is no noisier than these: so it is compared until a lag says more.
    """
    n, lag_count = v.shape
    for i in range(n):
        for k in range(n):
            so_far = 1.0 if kinds[i] == kinds[k] and i != k else 0.0
            is_compared = False
            for j in range(lag_count):
                # that one is read with more noise does not make them differ
                read = READ * max(noise[i, 0], noise[k, 0])
                one, other = v[i, j] - READ * noise[i, 0] + read, v[k, j] - READ * noise[k, 0] + read
                samples = min(info[j, i], info[j, k])
                is_compared = is_compared or samples >= COMPARED
                if not is_compared and one < other:
                    one = min(one + rest[j, i], other)
                    samples = min(own[j, i], info[j, k])
                elif not is_compared:
                    other = min(other + rest[j, k], one)
                    samples = min(info[j, i], own[j, k])
                if so_far > 0.0 and samples >= COMPARED:
                    ratio = one / other
                    apart = max((ratio - 1.0) * (1.0 - 1.0 / ratio) - 4.0 / samples, 0.0)
                    so_far /= (1.0 + 2.0 * apart) * (1.0 + 2.0 * apart)
                alike[j, i, k] = so_far


@kernel
def clean(noise, lag):
    """Return V(L) in s^2 of a clock without its reading noise."""
    return 6.0 * lag * noise[1] + FLICKER * lag * lag * noise[2] + lag * lag * lag * noise[3]


@kernel
def is_as_stated(read, stated, seen, samples):
    """Return True where the reading noise `read` (s^2) that was found is no proof against the one that is `stated`:
    beside a noisy clock it is hard to tell. `seen`: mean square of third differences over the shortest lag.
    """
    if samples <= 0.0:
        return True
    apart = READ * (read - stated)
    usual = DOUBLE * seen * np.sqrt(2.0 / samples)
    return apart * apart <= STATED_SIGMAS2 * usual * usual


@kernel
def _level(v, info, read, of_kind, lags):
    """Return how far above its kind's mean squares those of a clock are: data sheets agree on the shape more than on
    the level. Where reading noise, `read` (s^2), is most of what is seen, it says nothing.
    """
    over, under = LEVEL_WORTH, LEVEL_WORTH
    for j in range(lags.shape[0]):
        if info[j] < LEVEL_FROM:
            # and longer lags are what the kind is asked about
            break
        if v[j] < 2.0 * READ * read:
            continue
        ratio = (v[j] - READ * read) / clean(of_kind, lags[j])
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
    v, info = np.zeros((n, lag_count)), np.zeros((lag_count, n))
    seen, rest, own = np.zeros((lag_count, n)), np.zeros((lag_count, n)), np.zeros((lag_count, n))
    hope, distrust, unlike = np.zeros(lag_count), np.zeros(lag_count), np.zeros(lag_count)
    alike = np.zeros((lag_count, n, n))
    up, down = np.zeros(4), np.zeros(4)
    held = np.zeros(n, np.bool_)
    for turn in range(ROUNDS):
        for i in range(n):
            for j in range(lag_count):
                v[i, j] = model(noise[i], lags[j])
        for j in range(lag_count):
            most = 2.0 * max(60.0, MEMORY_S / spacings_s[j])
            _part(squares[j], counts[j], voters, v, j, strides[j], most, seen[j], rest[j], info[j], own[j])
        for i in range(n):
            if turn == STATED_FROM and found[i]:
                held[i] = is_as_stated(noise[i, 0], reading[i], v[i, 0], info[0, i])
                if held[i]:
                    noise[i, 0] = max(reading[i], 1e-60)
        if turn == ALIKE_FROM:
            _alike(v, rest, info, own, noise, kinds, alike)
        for i in range(n):
            if not found[i]:
                continue
            level = _level(v[i], info[:, i], noise[i, 0], of_kind[i], lags)
            read = READ * noise[i, 0]
            is_declared = prior_worth[i] > KIND_WORTH
            worst = 0.0
            for j in range(lag_count):
                hope[j], distrust[j], unlike[j] = 0.0, 0.0, 0.0
                if prior_worth[i] <= 0.0 or info[j, i] <= 1e-12 * own[j, i]:
                    continue
                # against the common of the others: clock + others
                shown = max(seen[j, i], 1e-3 * rest[j, i])
                ratio = shown / (level * clean(of_kind[i], lags[j]) + read + rest[j, i])
                unlike[j] = max(own[j, i] * (ratio - 1.0) * (1.0 - 1.0 / ratio) - USUAL, 0.0) / REFUTED
                if not is_declared:
                    continue
                ratio = shown / (clean(prior[i], lags[j]) + read + rest[j, i])
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
                out = info[j, i] * seen[j, i] / (mine * mine)
                expected = info[j, i] * (mine + rest[j, i]) / (mine * mine)
                up[0] += READ * out
                down[0] += READ * expected
                # what is hoped for is hoped of the clock alone, however it is read
                mine = max(clean(noise[i], lag), 1e-60)
                if is_declared:
                    hoped = min(max(clean(prior[i], lag), mine / KIND_REACH), KIND_REACH * mine)
                    out += hope[j] * hoped / (mine * mine)
                    expected += hope[j] / mine
                if prior_worth[i] > 0.0:
                    of_my_kind = min(prior_worth[i], KIND_WORTH) / (1.0 + unlike[j] * unlike[j])
                    if is_declared:
                        of_my_kind *= 1.0 - hope[j] / prior_worth[i]
                    hoped = min(max(level * clean(of_kind[i], lag), mine / KIND_REACH), KIND_REACH * mine)
                    out += of_my_kind * hoped / (mine * mine)
                    expected += of_my_kind / mine
                if turn >= ALIKE_FROM:
                    shared, weight = mine, 1.0
                    for k in range(n):
                        if alike[j, i, k] > 0.0 and found[k]:
                            shared += alike[j, i, k] * clean(noise[k], lag)
                            weight += alike[j, i, k]
                    if weight > 1.0:
                        worth = min(POOLED, max(own[j, i], 1.0) * (weight - 1.0))
                        out += worth * shared / weight / (mine * mine)
                        expected += worth / mine
                up[1] += 6.0 * lag * out
                up[2] += FLICKER * lag * lag * out
                up[3] += lag * lag * lag * out
                down[1] += 6.0 * lag * expected
                down[2] += FLICKER * lag * lag * expected
                down[3] += lag * lag * lag * expected
            if reading[i] > 0.0:
                # what readings state of themselves
                up[0] += STATED_WORTH * reading[i] / (noise[i, 0] * noise[i, 0])
                down[0] += STATED_WORTH / noise[i, 0]
            for k in range(4):
                if k == 0 and held[i]:
                    continue
                if down[k] > 0.0:
                    noise[i, k] = max(noise[i, k] * np.sqrt(up[k] / down[k]), 1e-60)
