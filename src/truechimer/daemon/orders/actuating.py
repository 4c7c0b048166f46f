"""Actuating: what an applier on a host of its own does with an order that it has found lawful, through one interface.

It judges nothing: it takes `Applied`, which only the applier's fold makes, and hands its `Verified` order on. There is
no command in an order and none is run: an actuator is an object with three methods, and what it is told are numbers.

Law of the file: the outcome is on the disk before the actuator moves; what was written and not done (a crash between)
is done at the next call while the order is still valid, and never twice.
"""

from collections.abc import Iterable
from typing import Protocol

from truechimer.quorum.applier import Applied, Moment
from truechimer.quorum.order import Order
from truechimer.quorum.verified import Verified


class Actuator(Protocol):
    """A phase stepper, or another thing that moves time."""

    def can_do(self, op: str) -> bool:
        """Return True for an operation that it can be told; the others are carried out elsewhere."""

    def has_done(self, digest: str) -> bool:
        """Return True where the order of this digest was done; must outlive the process."""

    def do(self, order: Verified[Order], *, at_ns: int) -> None:
        """Do it from an instant on (ns TAI), wholly or not at all, and remember its digest with it; raises `Rejected`
        where nothing was done.
        """


def carry_out(actuator: Actuator, applied: Iterable[Applied], now: Moment) -> tuple[str, ...]:
    """Do what was found lawful, is not done yet and is surely still valid; return the sentences of what was done.

    `applied`: outcomes of the applier's own file, in their order. Raises `Rejected` as the actuator does.
    """
    done = []
    for one in applied:
        order = one.order.value
        if actuator.can_do(order.op) and not actuator.has_done(order.digest) and now.latest_ns < order.expires_ns:
            actuator.do(one.order, at_ns=now.earliest_ns)
            done.append(order.sentence)
    return tuple(done)
