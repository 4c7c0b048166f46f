# mypy: allow-untyped-defs, allow-untyped-calls
"""Replayed readings, seen while they come in: a clock whose noise is noise that it has shown before.

It does not see a clock that copies another (`detection_copies`), nor a value that stands still (`compare.cleaning`). Of
each clock the signs of the second differences of its readings are kept, 4096 epochs of them: they know neither offset
nor rate. Two stretches of an honest clock's agree in half of their signs; where the newest ones agree with earlier
ones at one lag by `SIGMAS`, they were not measured, even under fresh reading noise (a correlation of 0.8 makes four of
five signs agree). What agrees at many lags is a period, not a replay, unless it does so to the last sign.

Each epoch a few lags are looked at, so that all of them have been after `HELD` / `LAGS_AN_EPOCH` epochs. A pivot that
changes breaks two signs; readings that are no differences to the pivot cannot be told.

Source: the sign test; arcsine law of the signs of two correlated Gaussian variables (Sheppard 1899).
"""

import numpy as np

from truechimer.kernel import kernel

WORD = 31
"""Signs in a word: so that no operation on 64 bits meets the sign bit or runs over."""
WORDS = 132
HELD = WORD * WORDS
LAGS_AN_EPOCH, LAGS_OF_MANY, MANY = 32, 16, 40
LEAST_LAG = 8
LONGEST = 13
"""Words that are compared at most: 403 epochs."""
FIRST_LOOK = 22
"""Of the newest word's signs so many must agree for a closer look."""
LEAST_SIGNS, SIGMAS = 96, 7.5
"""Agreement is judged from so many known signs on, at 7.5 sigma: 10^-13 a look, and 10^6 looks a clock-year."""
PERIODS = 3
"""At more lags than this only a period agrees."""
GONE_SIGMAS = 4.0
REPLAYED = 11

# columns of the state's `replay (n, 5)`: the two newest readings and the interval between them (s), the lag found, and
# the epoch number before which a clock with a period is not looked at again
X1, X2, DT, LAG, PAUSE = range(5)


@kernel
def ones(word):
    """Return how many of the 31 bits are set."""
    word = word - ((word >> 1) & 0x55555555)
    word = (word & 0x33333333) + ((word >> 2) & 0x33333333)
    word = (word + (word >> 4)) & 0x0F0F0F0F
    word += word >> 8
    word += word >> 16
    return word & 0x3F


@kernel
def word_at(bits, place):
    """Return the 31 signs from `place` on of a ring of `HELD`."""
    place %= HELD
    word, shift = place // WORD, place % WORD
    first = bits[word] >> shift
    rest = bits[(word + 1) % WORDS] << (WORD - shift)
    return (first | rest) & 0x7FFFFFFF


@kernel
def agreement(signs, known, end, lag):
    """Return by how many sigmas the newest signs up to `end` agree with those of `lag` before, over the length at which
    that is most; and whether they agree without exception.
    """
    most, agreed, counted = 0.0, 0, 0
    is_exact = False
    for w in range(LONGEST):
        place = end - WORD * (w + 1)
        if place - lag < 0 or lag + WORD * (w + 1) > HELD - WORD:
            break
        both = word_at(known, place) & word_at(known, place - lag)
        differ = (word_at(signs, place) ^ word_at(signs, place - lag)) & both
        n = ones(both)
        counted += n
        agreed += n - ones(differ)
        if counted >= LEAST_SIGNS:
            z = (2.0 * agreed - counted) / np.sqrt(1.0 * counted)
            if z > most:
                most, is_exact = z, agreed == counted
    return most, is_exact


@kernel
def note(at, epoch_ns, last_ns, x, signs, known, replay):  # noqa: PLR0917
    """Keep the sign of a clock's second difference at epoch number `at`; `x`: its reading against the pivot (s)."""
    place = at % HELD
    word, bit = place // WORD, np.int64(1) << (place % WORD)
    keep = 0x7FFFFFFF ^ bit
    signs[word] &= keep
    known[word] &= keep
    if not np.isfinite(x):
        replay[X1], replay[X2], replay[DT] = np.nan, np.nan, 0.0
        return
    dt = (epoch_ns - last_ns) / 1e9
    second = (x - replay[X1]) - (replay[X1] - replay[X2])
    if np.isfinite(second) and second != 0.0 and abs(dt - replay[DT]) <= 0.01 * dt:
        known[word] |= bit
        if second > 0.0:
            signs[word] |= bit
    replay[X2], replay[X1], replay[DT] = replay[X1], x, dt


@kernel
def is_period(signs, known, end, found):
    """Return True where so many lags agree that the clock has a period; `found` is the lag that was seen."""
    agreeing = 0
    for lag in range(LEAST_LAG, min(end - WORD, HELD - 4 * WORD)):
        both = word_at(known, end - WORD) & word_at(known, end - WORD - lag)
        differ = (word_at(signs, end - WORD) ^ word_at(signs, end - WORD - lag)) & both
        if ones(both) - ones(differ) >= FIRST_LOOK and lag != found:
            z, _ = agreement(signs, known, end, lag)
            agreeing += 1 if z >= SIGMAS else 0
    return agreeing > PERIODS


@kernel
def look_for_replays(epoch_ns, before_ns, x_ip, eligible, status, good_ns, count_at, signs, known, replay, ended):  # noqa: PLR0917
    """Keep the signs of this epoch, look at a few lags of every clock, and take the vote of who repeats itself; mark in
    `ended` the clocks whose replay is over.
    """
    n = x_ip.shape[0]
    at = count_at[0]
    count_at[0] = at + 1
    end = at + 1
    lags = LAGS_AN_EPOCH if n <= MANY else LAGS_OF_MANY
    least = LEAST_LAG + (at % (HELD // lags)) * lags
    last = min(least + lags, end - WORD, HELD - 4 * WORD)
    for i in range(n):
        ended[i] = False
        if eligible[i] != 1:
            continue
        note(at, epoch_ns, before_ns, x_ip[i], signs[i], known[i], replay[i])
        if status[i] == REPLAYED:
            if at % WORD == 0:
                z, _ = agreement(signs[i], known[i], end, np.int64(replay[i, LAG]))
                ended[i] = z < GONE_SIGMAS
            continue
        may = status[i] == 1 or status[i] == 2 or status[i] == 4 or status[i] == 5 or status[i] == 9 or status[i] == 10
        if not may or end < replay[i, PAUSE]:
            continue
        newest, sure = word_at(signs[i], end - WORD), word_at(known[i], end - WORD)
        for lag in range(least, last):
            both = sure & word_at(known[i], end - WORD - lag)
            differ = (newest ^ word_at(signs[i], end - WORD - lag)) & both
            if ones(both) - ones(differ) < FIRST_LOOK:
                continue
            z, is_exact = agreement(signs[i], known[i], end, lag)
            if z < SIGMAS:
                continue
            if not is_exact and is_period(signs[i], known[i], end, lag):
                replay[i, PAUSE] = end + HELD // 8
            else:
                replay[i, LAG] = lag
                status[i], good_ns[i] = REPLAYED, epoch_ns
            break
