"""What a network card stamped, on the raw counter, in machine code: `card_clock` restated on the arrays of the loop.

It makes no system call. The card's clock has a watch and pairs of its own beside those of CLOCK_REALTIME, under the
same rules (`serve.rx_watch`); its rate is learned by `card_clock`.
"""

from typing import Any

from truechimer.daemon.ntp.control_messages import CARD_INDEX, HARDWARE, NO_STAMP
from truechimer.daemon.ntp.ntp_layout import CARD_INTERFACE, CARD_JUDGED
from truechimer.kernel import borrowing_kernel
from truechimer.serve.rx_watch import BELIEVED, LIMIT_NS, carried_over, judge_batch

MOST_EARLIER_NS = 1_000_000
"""As in `card_clock`."""


@borrowing_kernel
def judge_cards(memory: Any, user_raw: int, not_before: int) -> int:
    """Return what `judge_batch` says of the card's stamps of a batch."""
    return int(judge_batch(memory.card_watch, memory.card_pairs, memory.card_rate[0], user_raw, not_before))


@borrowing_kernel
def received_by_card(memory: Any, raw: int, user_raw: int, not_before: int) -> int:
    """Return the raw value at which the card took in the datagram whose control messages were read last, `raw` being
    the kernel's; `NO_STAMP` where the card's stamp is missing, another card's, or not believed.
    """
    if memory.state[CARD_JUDGED] != BELIEVED or memory.found[CARD_INDEX] != memory.settings[CARD_INTERFACE]:
        return NO_STAMP
    doubt, at = carried_over(
        memory.card_watch, memory.card_pairs, memory.card_rate[0], memory.found[HARDWARE], user_raw, not_before
    )
    if doubt != BELIEVED or at > raw + LIMIT_NS or raw - at > MOST_EARLIER_NS:
        return NO_STAMP
    return int(at)
