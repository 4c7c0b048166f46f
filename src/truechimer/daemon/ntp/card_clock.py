"""A network card's clock related to the raw counter, so that what the card stamped can be placed there.

It sets no clock, and no time is made of it: a card's clock may show any time, be steered by another program, and jump.
It is to the card's stamps what CLOCK_REALTIME is to the kernel's, and the same rules hold (`daemon.host_clocks`): pairs
before and after, a learned rate, and nothing believed across a movement. A card's receive stamp is used only beside the
kernel's own of the same datagram, and not further from it than interrupts are put off.

Source: `house.md` 4.7, the kernel's `Documentation/networking/timestamping.rst`, ADR 83.
"""

import socket

from truechimer.daemon.host_clocks import LIMIT_NS, ClockPair, HostClocks
from truechimer.drivers import stamping
from truechimer.drivers.phc import Phc, PhcRejected
from truechimer.drivers.stamping import StampingRejected
from truechimer.serve.rx_stamp import RxStamp, StampKind

MOST_EARLIER_NS = 1_000_000
"""A card stamps a datagram at most this long before the kernel does: the wait for its interrupt."""
UNREADABLE_NS = 10**9
"""Half the width of a pair that says nothing: the card did not answer."""


class _Related(HostClocks):
    """`HostClocks` over a card's clock in the place of CLOCK_REALTIME."""

    def __init__(self, card: Phc) -> None:
        super().__init__(realtime_ns=card.now_ns)
        self._card = card

    def _narrowest_triple(self) -> ClockPair:
        try:
            found = self._card.read()
        except PhcRejected:
            return ClockPair(self.raw_ns(), 0, UNREADABLE_NS)
        return ClockPair(found.raw_ns, found.card_ns, (found.width_ns + 1) // 2)


class CardClock:
    """The clock of one interface's card. `index`: the interface's number, which the kernel gives with a stamp."""

    def __init__(self, card: Phc, *, interface: str, index: int) -> None:
        self.interface, self.index = interface, index
        self._card = card
        self._related = _Related(card)

    @property
    def clock_id(self) -> int:
        """The number by which clock_gettime(2) reads it."""
        return self._card.clock_id

    @property
    def rate(self) -> float | None:
        """Its rate against the raw counter, minus 1; None until it is learned."""
        return self._related.rate

    @property
    def jumps(self) -> int:
        """How often it was seen to move against its prediction."""
        return self._related.steps_total

    @property
    def half_width_ns(self) -> int:
        """What the last pair may be wrong by (ns)."""
        return self._related.half_width_ns

    def take_pair(self) -> None:
        """Read it beside the raw counter: before and after each batch."""
        self._related.take_pair()

    def to_raw(self, card_ns: int, user_raw_ns: int, *, not_before_raw_ns: int) -> int | None:
        """Return a stamp of the card's on the raw counter; None where the rules do not let it be believed."""
        return self._related.stamp_to_raw(card_ns, user_raw_ns, not_before_raw_ns=not_before_raw_ns)

    def better(self, rx: RxStamp, card_ns: int | None, user_raw_ns: int, *, not_before_raw_ns: int) -> RxStamp:
        """Return the card's stamp of a datagram in the place of the kernel's, `rx`, where it can be believed."""
        if card_ns is None or rx.kind is not StampKind.KERNEL:
            return rx
        raw_ns = self.to_raw(card_ns, user_raw_ns, not_before_raw_ns=not_before_raw_ns)
        if raw_ns is None or not -LIMIT_NS <= rx.raw_ns - raw_ns <= MOST_EARLIER_NS:
            return rx
        return RxStamp(raw_ns, rx.kind, rx.limit_s)

    def close(self) -> None:
        """Let the device go."""
        self._card.close()


def open_card(interface: str) -> CardClock:
    """Have an interface's card stamp, and open its clock. Raises `StampingRejected` or `PhcRejected`, which say why it
    does not.
    """
    can = stamping.turn_on(interface)
    try:
        index = socket.if_nametoindex(interface)
    except OSError as error:
        raise StampingRejected(f"{interface}: {error.strerror}; `ip link` lists the interfaces there are") from None
    return CardClock(Phc(f"/dev/ptp{can.phc_index}"), interface=interface, index=index)
