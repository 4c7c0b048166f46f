"""Timed orders: what a signed order sets for as long as it holds (a rate, a ceiling of a weight, a threshold), and what
of it holds at an epoch.

It judges no order (`orders` does) and acts on nothing: the line asks at each epoch. What an order set ends with it, at
the epoch that finds it over, without anybody doing anything.

Law of the file: what holds is a function of the orders' records and the epoch alone, so that a replay finds the same.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.clocks.register import Register
from truechimer.quorum.applier import Moment
from truechimer.quorum.order import Order

TIMED = frozenset({"steer-rate", "clock-weight", "monitor-threshold"})
"""Operations that end with their order."""


@dataclass(frozen=True, slots=True)
class Timed:
    """What one order set: `op`, `target`, `value`; from when it certainly was in force (ns TAI) until it ends."""

    op: str
    target: str
    value: float
    from_ns: int
    until_ns: int
    sequence: int
    sentence: str

    def holds(self, epoch_ns: int) -> bool:
        """Return True where it holds at an instant."""
        return self.from_ns <= epoch_ns < self.until_ns


def with_order(timed: tuple[Timed, ...], order: Order, now: Moment, *, seen_ns: int) -> tuple[Timed, ...]:
    """Return what holds after one more order; a later ceiling or threshold takes the place of the one before, rates add
    up. What ended before `seen_ns` is forgotten.
    """
    one = Timed(
        order.op,
        order.target,
        float(order.value),
        max(order.valid_from_ns, now.earliest_ns),
        order.expires_ns,
        order.sequence,
        order.sentence,
    )
    kept = (
        old
        for old in timed
        if old.until_ns > seen_ns and (old.op == "steer-rate" or (old.op, old.target) != (one.op, one.target))
    )
    return (*kept, one)


def values(timed: tuple[Timed, ...], op: str, epoch_ns: int) -> dict[str, float]:
    """Return what an operation has set and holds at an instant, by target."""
    return {one.target: one.value for one in timed if one.op == op and one.holds(epoch_ns)}


def ceilings(timed: tuple[Timed, ...], register: Register, epoch_ns: int) -> NDArray[np.float64] | None:
    """Return the most weight of each clock, `(n_clocks,)`, 1 where no order holds; None where none does."""
    found = values(timed, "clock-weight", epoch_ns) if timed else {}
    if not found:
        return None
    return np.array([found.get(clock.name, 1.0) for clock in register.clocks])


def ended(timed: tuple[Timed, ...], before_ns: int, epoch_ns: int) -> tuple[Alert, ...]:
    """Return the alerts of what has ended after the epoch before, and by this one."""
    return tuple(
        Alert(
            AlertKind.ORDER_TAKEN,
            "quorum",
            one.target,
            AlertSeverity.NOTICE,
            f"order {one.sequence} ({one.sentence}) has ended",
            (),
            epoch_ns,
            "nothing; where it is still needed, have the next one signed",
        )
        for one in timed
        if before_ns < one.until_ns <= epoch_ns
    )
