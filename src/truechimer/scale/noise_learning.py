# mypy: allow-untyped-defs, allow-untyped-calls
"""Noise learning: each clock's white PM, white FM, flicker FM and random-walk FM from how the clocks differ.

It weighs nothing and judges nobody. At lags of a ladder it takes third differences of phase (they know no offset, rate
or drift), removes what the clocks have in common, and averages the squares: an N-cornered hat in which every lag has
its own weights and whose noise the heavier clocks' own part is given back to. Four terms are then fitted to the lags:

    V(L) = 20 u^2 + 6 q1 L + 6 (ln(256/27)/ln 16) f^2 L^2 + q2 L^3        Hadamard variance times 6 L^2

by maximum likelihood for squares of Gaussian noise: the multiplicative step that keeps every term positive (the
Itakura-Saito form of non-negative factorization; Fevotte, Bertin and Durrieu 2009). What long lags cannot say yet is
shared among clocks of one kind and like quality.

Sources: NIST SP 1065 for the Hadamard variance of each noise; Ekstrom and Koppang 2006 for the N-cornered hat.
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
KIND_REACH = 10.0
"""... and is never taken to be further from what was seen than this factor."""
HEAVY = 0.7
MEMORY_S = 200.0 * 86_400.0
LEAST = 4


@kernel
def model(noise, lag):
    """Return V(L) in s^2 of `noise (4,)`."""
    return 20.0 * noise[0] + 6.0 * lag * noise[1] + FLICKER * lag * lag * noise[2] + lag * lag * lag * noise[3]


@kernel
def sample(ring, newest, stride, spacing_s, noise, voters, square, count):  # noqa: PLR0917
    """Take the newest third difference of one lag into the mean squares `square (n,)`, `count (n,)`.

    `ring (RING, n)`: phases, NaN where there is none; `newest`: index of the last; `stride`: samples to a lag.
    `voters`: bool, clocks that say what is common.
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
    for i in range(n):
        if not np.isfinite(difference[i]):
            continue
        own = difference[i] - common
        own = own * own
        part = weight[i] / total
        if part > 0.999:
            continue
        if weight[i] == 0.0:
            own = max(own - 1.0 / total, 0.05 * own)
        elif part < HEAVY:
            own = own / (1.0 - part)
        else:
            # a clock that is nearly the reference: the expectation step, which does not make it its own witness
            own = own + 1.0 / total
        if count[i] > 30.0:
            own = min(own, 16.0 * square[i])
        count[i] += 1.0
        # late samples count more: the first were taken with wrong weights
        share = min(1.0, 2.5 / (min(count[i], most) + 1.5))
        square[i] += share * (own - square[i])


@kernel
def fit(square, worth, lags, reading, noise):
    """Fit the four terms to the mean squares of one clock; `noise (4,)` is written.

    `square`, `worth`, `lags (J,)`: lags without worth are passed over; `reading` (s^2): variance that the readings
    state of themselves, 0 where they state none: then it is learned.
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
            for k in range(4):
                start[k] = min(start[k], square[j] / terms[j, k])
    if not np.isfinite(start[1]):
        return
    for k in range(4):
        noise[k] = max(start[k], 1e-60)
    if reading > 0.0:
        noise[0] = reading
    else:
        noise[0] *= 0.1
    for _ in range(ROUNDS):
        for k in range(4):
            if k == 0 and reading > 0.0:
                continue
            up, down = 0.0, 0.0
            for j in range(lag_count):
                if worth[j] <= 0.0:
                    continue
                expected = 0.0
                for other in range(4):
                    expected += terms[j, other] * noise[other]
                up += worth[j] * square[j] * terms[j, k] / (expected * expected)
                down += worth[j] * terms[j, k] / expected
            if down > 0.0:
                noise[k] = max(noise[k] * np.sqrt(up / down), 1e-60)


@kernel
def learn(  # noqa: PLR0917
    squares, counts, strides, lags, kinds, prior, prior_worth, reading, noise
):
    """Write the learned `noise (n, 4)` from the mean squares `(J, n)`.

    `kinds`: int `(n,)`; clocks of one number share what is known of long lags. `prior (n, 4)`: what a kind lets expect,
    worth `prior_worth (n,)` samples at each lag. A clock without a usable lag keeps its noise.
    """
    lag_count, n = squares.shape
    for i in range(n):
        value = np.zeros(lag_count)
        worth = np.zeros(lag_count)
        for j in range(lag_count):
            own = 0.0
            if counts[j, i] >= LEAST:
                own = 0.6 * counts[j, i] / strides[j]
            total = own * squares[j, i]
            shared, weight = 0.0, 0.0
            for other in range(n):
                if other == i or kinds[other] != kinds[i] or counts[j, other] < LEAST:
                    continue
                if counts[0, i] < LEAST or counts[0, other] < LEAST or squares[0, i] <= 0.0:
                    continue
                ratio = squares[0, other] / squares[0, i]
                if ratio < 1.0:
                    ratio = 1.0 / max(ratio, 1e-12)
                likeness = 1.0 / (1.0 + (ratio - 1.0) * (ratio - 1.0))
                shared += likeness * squares[j, other]
                weight += likeness
            if weight > 0.0:
                worth_shared = min(POOLED, own * weight if own > 0.0 else 0.0)
                total += worth_shared * shared / weight
                own += worth_shared
            if prior_worth[i] > 0.0 and counts[0, i] >= LEAST:
                expected = model(prior[i], lags[j])
                if own > 0.0:
                    expected = min(max(expected, total / own / KIND_REACH), KIND_REACH * total / own)
                    total += prior_worth[i] * expected
                    own += prior_worth[i]
            if own > 0.0:
                value[j] = total / own
                worth[j] = own
        fit(value, worth, lags, reading[i], noise[i])
