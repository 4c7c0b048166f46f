# mypy: allow-untyped-defs, allow-untyped-calls
"""Noise learning: each clock's white PM, white FM, flicker FM and random-walk FM from how the clocks differ.

It weighs nothing and judges nobody. At lags of a ladder it takes third differences of phase D_i (they know no offset,
rate or drift) and averages squares of what is each clock's own. Of a clock that is a small part of the common m it is
(D_i - m)^2 / (1 - w_i): an N-cornered hat with weights of that lag. Of one that is a large part it is the mean of all
products (D_i - D_j)(D_i - D_k) of two different others: whatever the weights, right or wrong, it is expected to be the
clock's own variance, so that no clock can vouch for itself; it may come out negative. Four terms are fitted:

    V(L) = 20 u^2 + 6 q1 L + 6 (ln(256/27)/ln 16) f^2 L^2 + q2 L^3        Hadamard variance times 6 L^2

by maximum likelihood for squares of Gaussian noise: the multiplicative step that keeps every term positive (the
Itakura-Saito form of non-negative factorization; Fevotte, Bertin and Durrieu 2009). What long lags cannot say yet is
shared among clocks of one kind and like quality. A declared noise is what a clock is expected to do, worth many samples
until what it does refutes it.

Sources: NIST SP 1065 for the Hadamard variance of each noise; Ekstrom and Koppang 2006 for the N-cornered hat;
Groslambert et al. 1981 for the product of two differences.
Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

import numpy as np

from truechimer.kernel import kernel

FLICKER = 4.8676
"""6 ln(256/27) / (4 ln 2): six times the Hadamard variance of flicker FM whose Allan floor is 1 (SP 1065)."""
RING = 13
"""Samples kept of each lag: third differences need 3 lags, a lag has up to 4 samples."""
ROUNDS = 40
POOLED = 8.0
"""Clocks of a kind together count as so many independent samples of each other, at most."""
KIND_WORTH = 3.0
"""What an atomic clock's kind lets expect counts as so many independent samples."""
STATED_WORTH, STATED_SIGMAS2 = 6.0, 9.0
"""... as much, once, as the noise that readings state of themselves, which is held where three sigma do not refute it.
"""
KIND_REACH = 10.0
"""... and is never taken to be further from what was seen than this factor."""
DECLARED_WORTH = 60.0
"""... and what its declaration says."""
REFUTED = 4.0
"""What is expected loses half its worth where n samples disagree by a factor r with n (r - 1)^2 / r of this."""
LIGHT, HEAVY = 0.1, 0.7
"""Parts of the common above which a clock is measured by products of two differences, or (where there are no two
others of like weight) by expectation.
"""
LEAST_PAIRS = 0.2
LEAST_OWN = 0.02
"""A variance that comes out negative or nil is held to be this part of the others' together."""
MEMORY_S = 200.0 * 86_400.0
LEAST = 4


@kernel
def model(noise, lag):
    """Return V(L) in s^2 of `noise (4,)`."""
    return 20.0 * noise[0] + 6.0 * lag * noise[1] + FLICKER * lag * lag * noise[2] + lag * lag * lag * noise[3]


@kernel
def sample(ring, newest, stride, spacing_s, noise, voters, square, count, usual):  # noqa: PLR0917
    """Take the newest third difference of one lag into the mean squares `square (n,)`, `count (n,)`.

    `ring (RING, n)`: phases, NaN where there is none; `newest`: index of the last; `stride`: samples to a lag.
    `voters`: bool, clocks that say what is common. `usual (n,)` (s^2): the others' part in a sample, as it mostly is:
    one that is taken while the quiet clocks are away says less.
    """
    n = ring.shape[1]
    lag = stride * spacing_s
    one = (newest - stride) % RING
    two = (newest - 2 * stride) % RING
    three = (newest - 3 * stride) % RING
    difference = np.full(n, np.nan)
    weight = np.zeros(n)
    total = 0.0
    common = 0.0
    for i in range(n):
        # differences of neighbours first: exact where the clocks are far apart
        late = (ring[newest, i] - ring[one, i]) - (ring[one, i] - ring[two, i])
        early = (ring[one, i] - ring[two, i]) - (ring[two, i] - ring[three, i])
        difference[i] = late - early
        if voters[i] and np.isfinite(difference[i]):
            weight[i] = 1.0 / model(noise[i], lag)
            total += weight[i]
            common += weight[i] * difference[i]
    if total <= 0.0:
        return
    common /= total
    most = max(60.0, MEMORY_S / spacing_s)
    squared, first, second = 0.0, 0.0, 0.0
    for i in range(n):
        if weight[i] > 0.0:
            # from the common: no large numbers are subtracted from each other
            difference[i] -= common
            squared += weight[i] * weight[i]
            first += weight[i] * weight[i] * difference[i]
            second += weight[i] * weight[i] * difference[i] * difference[i]
        elif np.isfinite(difference[i]):
            difference[i] -= common
    most = max(60.0, MEMORY_S / spacing_s)
    for i in range(n):
        if not np.isfinite(difference[i]):
            continue
        own = difference[i] * difference[i]
        part = weight[i] / total
        others = total - weight[i]
        if others <= 0.0:
            continue
        worth = 1.0
        alone = (squared - weight[i] * weight[i]) / (others * others)
        rest = 1.0 / others
        if weight[i] == 0.0:
            own -= rest
        elif part < LIGHT or 2.0 * (1.0 - alone) < LEAST_PAIRS:
            if part < HEAVY:
                own = own / (1.0 - part)
            else:
                # nearly the reference, and without two others of like weight: the expectation step
                own = own + 1.0 / total
        else:
            away = difference[i] / (1.0 - part)
            twice = (
                (squared - weight[i] * weight[i]) * difference[i] * difference[i]
                - 2.0 * difference[i] * (first - weight[i] * weight[i] * difference[i])
                + (second - weight[i] * weight[i] * difference[i] * difference[i])
            ) / (others * others)
            own = (away * away - twice) / (1.0 - alone)
            worth = min(2.0 * (1.0 - alone), 1.0)
        full = min(1.0, 2.5 / (min(count[i], most) + 1.5))
        if usual[i] <= 0.0:
            usual[i] = rest
        mine = model(noise[i], lag)
        said = (mine + usual[i]) / (mine + rest)
        worth *= min(said * said, 1.0)
        usual[i] += full * (min(rest, 2.0 * usual[i]) - usual[i])
        if count[i] > 30.0:
            limit = 16.0 * (max(square[i], 0.0) + rest)
            own = min(max(own, -limit), limit)
        count[i] += worth
        # late samples count more: the first were taken with wrong weights
        share = min(1.0, worth * full)
        square[i] += share * (own - square[i])


@kernel
def fit(square, worth, rest, hoped, hope, lags, reading, noise):  # noqa: PLR0917
    """Fit the four terms to the mean squares of one clock; `noise (4,)` is written.

    `square`, `worth`, `rest` `(J,)`: so many samples whose mean square is V + `rest`, the part that is the others';
    `hoped`, `hope`: what V is expected to be, worth so many samples that have no such part. Lags without worth are
    passed over. `reading` (s^2): variance that the readings state of themselves, worth `STATED_WORTH` samples; 0 where
    they state none.
    """
    lag_count = lags.shape[0]
    terms = np.zeros((lag_count, 4))
    start = np.full(4, np.inf)
    for j in range(lag_count):
        terms[j, 0] = 20.0
        terms[j, 1] = 6.0 * lags[j]
        terms[j, 2] = FLICKER * lags[j] * lags[j]
        terms[j, 3] = lags[j] * lags[j] * lags[j]
        if worth[j] > 0.0 and square[j] > 0.0:
            own = max(square[j] - rest[j], LEAST_OWN * square[j])
            for k in range(4):
                start[k] = min(start[k], own / terms[j, k])
    if not np.isfinite(start[1]):
        return
    for k in range(4):
        noise[k] = max(start[k], 1e-60)
    if reading > 0.0:
        noise[0] = reading
    else:
        noise[0] *= 0.1
    is_held = False
    for turn in range(ROUNDS):
        if turn == ROUNDS // 2 and worth[0] > 0.0:
            apart = 20.0 * (noise[0] - reading)
            usual = 2.0 * square[0] * np.sqrt(2.0 / worth[0])
            is_held = apart * apart <= STATED_SIGMAS2 * usual * usual
            if is_held:
                noise[0] = max(reading, 1e-60)
        for k in range(4):
            if k == 0 and is_held:
                continue
            up, down = 0.0, 0.0
            if k == 0 and reading > 0.0:
                up, down = STATED_WORTH * reading / (noise[0] * noise[0]), STATED_WORTH / noise[0]
            for j in range(lag_count):
                if worth[j] <= 0.0:
                    continue
                own = 0.0
                for other in range(4):
                    own += terms[j, other] * noise[other]
                both = own + rest[j]
                up += worth[j] * square[j] * terms[j, k] / (both * both)
                down += worth[j] * terms[j, k] / both
                own = max(own - terms[j, 0] * noise[0], 1e-60)
                if hope[j] > 0.0 and k > 0:
                    # what is hoped for is hoped of the clock alone, however it is read
                    up += hope[j] * hoped[j] * terms[j, k] / (own * own)
                    down += hope[j] * terms[j, k] / own
            if down > 0.0:
                noise[k] = max(noise[k] * np.sqrt(up / down), 1e-60)


@kernel
def _likeness(one, other, samples):
    """Return how alike two mean squares are, 0 to 1, given so many samples of each; noise of the samples is allowed
    for.
    """
    if one <= 0.0 or other <= 0.0:
        return 1.0
    ratio = other / one
    apart = max((ratio - 1.0) * (1.0 - 1.0 / ratio) - 4.0 / samples, 0.0)
    return 1.0 / ((1.0 + 2.0 * apart) * (1.0 + 2.0 * apart))


@kernel
def learn(  # noqa: PLR0917
    squares, counts, usual, voters, strides, lags, kinds, prior, prior_worth, reading, noise
):
    """Write the learned `noise (n, 4)` from the mean squares `(J, n)`, their numbers and the others' `usual` part.

    `voters`: bool, clocks that say what is common. `kinds`: int `(n,)`; clocks of one number share what is known of
    long lags. `prior (n, 4)`: what a kind or a declaration lets expect, worth `prior_worth (n,)` samples at each lag. A
    clock without a usable lag keeps its noise.
    """
    lag_count, n = squares.shape
    value = np.zeros((n, lag_count))
    worth = np.zeros((n, lag_count))
    rest = np.zeros((n, lag_count))
    hoped = np.zeros((n, lag_count))
    hope = np.zeros((n, lag_count))
    alike = np.ones((n, n))
    for j in range(lag_count):
        total = 0.0
        for i in range(n):
            if voters[i]:
                total += 1.0 / model(noise[i], lags[j])
        for i in range(n):
            mine = 1.0 / model(noise[i], lags[j]) if voters[i] else 0.0
            rest[i, j] = min(1.0 / (total - mine), usual[j, i]) if total - mine > 1e-9 * total else usual[j, i]
        for i in range(n):
            own = 0.0
            if counts[j, i] >= LEAST:
                own = 0.6 * counts[j, i] / strides[j]
            enough = own >= 8.0
            sum_ = own * squares[j, i]
            shared, weight = 0.0, 0.0
            for other in range(n):
                if other == i or kinds[other] != kinds[i] or counts[j, other] < LEAST:
                    continue
                if counts[0, i] < LEAST or counts[0, other] < LEAST:
                    continue
                if enough and counts[j, other] >= counts[j, i] / 4.0:
                    # clocks that differ at one lag share nothing there and at longer ones
                    alike[i, other] *= _likeness(squares[j, i] + rest[i, j], squares[j, other] + rest[i, j], own)
                shared += alike[i, other] * squares[j, other]
                weight += alike[i, other]
            if weight > 0.0 and own > 0.0:
                worth_shared = min(POOLED, own * weight)
                sum_ += worth_shared * shared / weight
                own += worth_shared
            if own <= 0.0:
                continue
            # what a lag shows is the clock and the others; a mean of products may be less than nothing. Their noise
            # leaves a doubt, and the clock has the benefit of it: to trust the best clock too little costs more
            # than to trust it too much
            doubt = rest[i, j] * np.sqrt(2.0 / own)
            seen = max(sum_ / own - doubt, 0.0) + rest[i, j]
            if prior_worth[i] > 0.0 and counts[0, i] >= LEAST:
                expected = model(prior[i], lags[j]) - 20.0 * prior[i, 0]
                ratio = seen / (expected + 20.0 * noise[i, 0] + rest[i, j])
                refuted = own * (ratio - 1.0) * (1.0 - 1.0 / ratio) / REFUTED
                hope[i, j] = prior_worth[i] / (1.0 + max(refuted, 0.0))
                hoped[i, j] = min(max(expected, seen / KIND_REACH - rest[i, j] - 20.0 * noise[i, 0]), KIND_REACH * seen)
            value[i, j] = seen
            worth[i, j] = own
    for i in range(n):
        fit(value[i], worth[i], rest[i], hoped[i], hope[i], lags, reading[i], noise[i])
