"""The rules of kernel receive stamps for a batch: pairs of the host's two clocks in a ring, and what they let be
believed.

It reads no clock: pairs come in. It learns no rate and names no step: `daemon.host_clocks` does, and this is the part
of its rules that has to keep up with a loop in machine code.

Source: `house.md` 4.7. The law of the file: **what `HostClocks` would not believe is not believed here**; a test holds
the two against each other. One thing is known here that it does not know: a queue of limited length. A datagram that
is taken now came after the one that left `most_waiting` places before it, however long the queue has not been empty.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from truechimer.kernel import borrowing_kernel
from truechimer.serve.rx_stamp import STAMP_HANDLING_LIMIT_S

RING = 256
"""Pairs remembered."""
PAIR_WORDS = 3  # raw, realtime, half width: ns

NEWEST = 0  # place of the last pair in the ring, -1 for none
HELD = 1  # how many pairs the ring holds
DOUBT_RAW = 2  # raw moment of the last pair that had moved or could not tell
DOUBT_WHY = 3
WATCH_WORDS = 4

WIDEST_PAIR_NS = 5_000
WIDEST_GAP_NS = 90_000_000
MOVED_NS = 5_000
OLDEST_STAMP_NS = 1_000_000_000
LIMIT_NS = round(STAMP_HANDLING_LIMIT_S * 1e9)

# Verdicts, in the order of `daemon.host_clocks.StampRefusal`; BELIEVED is none of them.
BELIEVED = -1
MISSING = 0
RATE_NOT_LEARNED = 1
PAIR_STALE = 2
PAIR_GAP = 3
PAIR_WIDE = 4
MOVED = 5
AGE = 6
OUTSIDE_WINDOW = 7
VERDICTS = 8

NO_STAMP = -(2**62)
"""Stands for a kernel stamp that was not given."""
FAR_PAST = -(2**62)


def new_watch() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return an empty watch: its state, and the ring of pairs."""
    watch = np.zeros(WATCH_WORDS, dtype=np.int64)
    watch[NEWEST], watch[DOUBT_RAW] = -1, FAR_PAST
    return watch, np.zeros((RING, PAIR_WORDS), dtype=np.int64)


@borrowing_kernel
def moved_ns(pairs: Any, earlier: int, later: int, rate: float) -> int:
    """Return by how much REALTIME - RAW moved between two places of the ring beyond what the rate predicts (ns)."""
    elapsed = pairs[later, 0] - pairs[earlier, 0]
    before = pairs[earlier, 1] - pairs[earlier, 0]
    moved: int = (pairs[later, 1] - pairs[later, 0]) - (before + round(rate * elapsed))
    return moved


@borrowing_kernel
def note_pair(watch: Any, pairs: Any, rate: float, raw_ns: int, realtime_ns: int, width_ns: int) -> int:
    """Take a pair whose triple was `width_ns` wide into the ring; return BELIEVED, or why it casts doubt on all that
    may have come before it.
    """
    half_width_ns = (width_ns + 1) // 2
    if 2 * half_width_ns >= WIDEST_PAIR_NS:
        watch[DOUBT_RAW], watch[DOUBT_WHY] = raw_ns, PAIR_WIDE
        return PAIR_WIDE
    newest = watch[NEWEST]
    place = (newest + 1) % RING
    pairs[place, 0], pairs[place, 1], pairs[place, 2] = raw_ns, realtime_ns, half_width_ns
    watch[NEWEST] = place
    watch[HELD] = min(watch[HELD] + 1, RING)
    if newest < 0:
        watch[DOUBT_RAW], watch[DOUBT_WHY] = raw_ns, MOVED
        return MOVED
    if raw_ns - pairs[newest, 0] > WIDEST_GAP_NS:
        watch[DOUBT_RAW], watch[DOUBT_WHY] = raw_ns, PAIR_GAP
        return PAIR_GAP
    moved = moved_ns(pairs, newest, place, rate)
    if moved > MOVED_NS or moved < -MOVED_NS:
        watch[DOUBT_RAW], watch[DOUBT_WHY] = raw_ns, MOVED
        return MOVED
    return BELIEVED


@borrowing_kernel
def judge_batch(watch: Any, pairs: Any, rate: float, user_raw_ns: int, not_before_raw_ns: int) -> int:
    """Return BELIEVED where stamps of datagrams that were handed over by `user_raw_ns`, and came after
    `not_before_raw_ns`, can be carried over by the newest pair; else why not.
    """
    if watch[DOUBT_RAW] > not_before_raw_ns:
        return int(watch[DOUBT_WHY])
    newest, held = watch[NEWEST], watch[HELD]
    if held == 0 or pairs[newest, 0] < user_raw_ns:
        return PAIR_STALE
    for back in range(held):
        earlier = (newest - back) % RING
        moved = moved_ns(pairs, earlier, newest, rate)
        if (moved if moved >= 0 else -moved) + pairs[earlier, 2] > LIMIT_NS:
            return MOVED
        if pairs[earlier, 0] <= not_before_raw_ns:
            return BELIEVED
    return MOVED  # nobody watched since before they can have come


@borrowing_kernel
def carried_over(
    watch: Any, pairs: Any, rate: float, stamp_ns: int, user_raw_ns: int, not_before_raw_ns: int
) -> tuple[int, int]:
    """Return the verdict on one stamp of a batch that was judged BELIEVED, and the raw value of its arrival:
    `user_raw_ns` where it is not believed.
    """
    if stamp_ns == NO_STAMP:
        return MISSING, user_raw_ns
    newest = watch[NEWEST]
    age_ns = pairs[newest, 1] - stamp_ns
    if age_ns < 0 or age_ns > OLDEST_STAMP_NS:
        return AGE, user_raw_ns
    raw_ns = pairs[newest, 0] - age_ns + round(rate * age_ns)
    if raw_ns < not_before_raw_ns - LIMIT_NS or raw_ns > user_raw_ns + LIMIT_NS:
        return OUTSIDE_WINDOW, user_raw_ns
    return BELIEVED, raw_ns
