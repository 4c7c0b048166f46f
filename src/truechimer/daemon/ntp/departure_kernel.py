"""The moments at which answers left by the kernel's own stamps, asked for and noted in machine code.

It makes no system call and uses no address (`ntp_memory` does). A stamp is asked for with the answer itself, by a
control message, and only where the answer is an interleaved one: its client named a stamp of ours that only who got it
knows. It comes back on the socket's error queue, with the answer; `serve.ntp.departed` says which one it is. The
answer's departure as the loop read it stands in the table from the send on, and stays there where no stamp comes, or
none that can be believed by the rules of receive stamps (`serve.rx_watch`).

Source: the kernel's `Documentation/networking/timestamping.rst`, RFC 9769, `house.md` 4.7, ADR 83.
"""

from typing import Any

from truechimer.daemon.ntp.card_kernel import judge_cards
from truechimer.daemon.ntp.control_messages import HARDWARE, LEFT, NO_STAMP, SENT, SOL_SOCKET, STAMP, read_control
from truechimer.daemon.ntp.ntp_layout import (
    ASKED,
    ASKED_SINCE_RAW,
    CARD_CLOCK,
    CONTROL_LENGTH,
    DEPARTED_ROOM,
    FLAGS,
    MSG_TRUNC,
    OWN_PORT,
    RECEIVED,
    STAMPS_LEFT,
    T_DEPARTED,
    USER_RAW,
)
from truechimer.kernel import borrowing_kernel
from truechimer.serve.ntp.departed import NOBODY
from truechimer.serve.ntp.packet_kernel import answer_in, left
from truechimer.serve.rx_watch import BELIEVED, MOVED, NEWEST, carried_over, judge_batch

SO_TIMESTAMPING = 37
ASK_OCTETS = 24
LONGEST_WAIT_NS = 20_000_000
"""A stamp that was asked for and has not come after this is not waited for: the pairs of clocks that could carry it
over are being forgotten.
"""


@borrowing_kernel
def ask_departure(out_control: Any, i: int, octets: int, bits: int, state: Any) -> int:
    """Write the control message that asks for the stamp of answer `i` behind the `octets` that stand there; return the
    octets in all. What is asked for is counted in `state`.
    """
    at = octets // 8
    out_control[i, at], out_control[i, at + 1] = 20, SOL_SOCKET | SO_TIMESTAMPING << 32
    out_control[i, at + 2] = bits
    if state[ASKED] == 0 or state[USER_RAW] - state[ASKED_SINCE_RAW] > LONGEST_WAIT_NS:
        state[ASKED_SINCE_RAW] = state[USER_RAW]
    state[ASKED] += 1
    state[STAMPS_LEFT] -= 1
    return octets + ASK_OCTETS


@borrowing_kernel
def note_departures(memory: Any, rules: Any, rate: float, user_raw: int, came: int, counts: Any) -> None:
    """Put the kernel's stamps of `came` answers, which were handed back by `user_raw`, into the table."""
    state, found, inbound = memory.state, memory.found, memory.departed_in
    if rules.saved_keys.shape[0] == 0:
        state[ASKED] = max(state[ASKED] - came, 0)
        return  # what is not offered is not remembered
    judged = judge_batch(memory.watch, memory.pairs, rate, user_raw, state[ASKED_SINCE_RAW])
    by_card = MOVED  # whatever is not believed
    if memory.settings[CARD_CLOCK] != 0:
        by_card = judge_cards(memory, user_raw, state[ASKED_SINCE_RAW])
    state[ASKED] = max(state[ASKED] - came, 0)
    for k in range(came):
        read_control(memory.departed_control, k, inbound[k, CONTROL_LENGTH], found)
        is_cards = found[HARDWARE] != NO_STAMP  # a card's stamp comes by itself, what the kernel adds to it is made up
        if (by_card if is_cards else judged) != BELIEVED or found[SENT] != LEFT or inbound[k, FLAGS] & MSG_TRUNC != 0:
            continue
        length = min(inbound[k, RECEIVED] & 0xFFFF_FFFF, DEPARTED_ROOM)
        key = answer_in(memory.departed[k], length, memory.settings[OWN_PORT])
        if key == NOBODY:
            continue
        half_width = memory.pairs[memory.watch[NEWEST], 2]
        if is_cards:
            half_width = memory.card_pairs[memory.card_watch[NEWEST], 2]
            doubt, raw = carried_over(
                memory.card_watch,
                memory.card_pairs,
                memory.card_rate[0],
                found[HARDWARE],
                user_raw,
                state[ASKED_SINCE_RAW],
            )
        else:
            doubt, raw = carried_over(memory.watch, memory.pairs, rate, found[STAMP], user_raw, state[ASKED_SINCE_RAW])
        # what the pair of clocks may be wrong by is taken off: no answer says that it left after it did
        if doubt == BELIEVED and left(key, raw - half_width, rules.saved_keys, rules.saved_held, rules.saved_ns):
            counts[memory.tally[T_DEPARTED]] += 1
