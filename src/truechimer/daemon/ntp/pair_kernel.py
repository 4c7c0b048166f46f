"""By how much the second of two answers that share a reading leaves after the clock was read, at least; in machine
code.

It reads no clock. Two answers that share a reading (`stamps = "pairs"`) are sent one right after the other, and the
second leaves when the first has. What the two take is seen from reading to reading, and the least of the last hundred
or so bounds it from below. Seven sixteenths of that least are put to the second's stamp: less than the half that the
first takes where both take the same. Where the first went out at once the second takes the rest, and the stamp is still
before the departure where that comes after 0.44 of a send or later (on loopback 0.6, through a driver at its end).

Source: ADR 73: a stamp that is predicted beyond this is after the departure in a tenth of all cases. The law of the
file: a new least counts at once, a longer one only when all the shorter ones are forgotten.
"""

from typing import Any

from truechimer.daemon.ntp.ntp_layout import PAIR_AHEAD, PAIR_BEFORE, PAIR_LEAST, PAIRS_SEEN
from truechimer.kernel import borrowing_kernel

WINDOW = 64
"""Pairs after which the least of those before the last so many is forgotten."""
MOST_NS = 1_000_000
MOST_AHEAD_NS = 5_000


@borrowing_kernel
def note_pair_took(state: Any, took_ns: int) -> None:
    """Take in that the sends of two answers, with what stands around them, took so long."""
    if took_ns <= 0 or took_ns > MOST_NS:
        return
    if state[PAIRS_SEEN] % WINDOW == 0:
        state[PAIR_BEFORE] = state[PAIR_LEAST]
        state[PAIR_LEAST] = took_ns
    state[PAIRS_SEEN] += 1
    state[PAIR_LEAST] = min(state[PAIR_LEAST], took_ns)
    # nothing is put to a stamp before a whole window was seen
    least = min(state[PAIR_LEAST], state[PAIR_BEFORE]) if state[PAIRS_SEEN] > WINDOW else 0
    state[PAIR_AHEAD] = min(least * 7 // 16, MOST_AHEAD_NS)
