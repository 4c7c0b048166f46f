"""Ordered rate: what orders to steer by a rate add to UTC(k) while they hold, beside automatic steering.

It judges no order (`quorum.applier` has checked its limits) and decides no steer: the steering law goes on with the
coordination as it would be without them (`apart`), inside its envelope and with its own account, and what they add is
put on top (`together`). So the law does not take back what persons have ordered. When they end, what they have moved
stays in the coordination, and the law takes it back as any other departure, inside its envelope.

Never more is moved than was signed: a rate ends at the last epoch before its order does, and where epochs were missing,
it is bent back at the very end of the order.
"""

from dataclasses import dataclass, replace

from truechimer.laboratory.steering import Steered
from truechimer.laboratory.timed import Timed
from truechimer.steer.steering_order import Coordination, SteeringOrder


@dataclass(frozen=True, slots=True)
class OrderedRate:
    """What orders add at present: the rate `y`, and the time moved by them, `x_s` at `since_ns` (ns TAI); `until_ns`:
    when the first of them ends.
    """

    y: float
    x_s: float
    since_ns: int
    until_ns: int

    def at(self, epoch_ns: int) -> float:
        """Return the time (s) that they have moved by an instant."""
        return self.x_s + self.y * ((epoch_ns - self.since_ns) / 1e9)


@dataclass(frozen=True, slots=True)
class Bent:
    """The coordination with what orders add to it, and, where that has changed at this epoch, the steer to record."""

    coordination: Coordination | None
    by_order: OrderedRate | None
    order: SteeringOrder | None = None


def carried(
    coordination: Coordination | None,
    by_order: OrderedRate | None,
    timed: tuple[Timed, ...],
    *,
    epoch_ns: int,
    interval_ns: int,
) -> Bent:
    """Bring into effect at an epoch what orders add from there on; nothing where there is no coordination.

    `interval_ns`: to the next epoch; an order that ends before it has ended.
    """
    if coordination is None or not (timed or by_order is not None):
        return Bent(coordination, by_order)
    now = [one for one in timed if one.op == "steer-rate" and one.from_ns <= epoch_ns <= one.until_ns - interval_ns]
    y = 0.0
    for one in now:
        y += one.value
    before = 0.0 if by_order is None else by_order.y
    if by_order is None and not now:
        return Bent(coordination, None)
    if by_order is not None and now and y == before:
        until_ns = min(one.until_ns for one in now)
        return Bent(coordination, replace(by_order, until_ns=until_ns))
    at_ns = epoch_ns
    if by_order is not None and by_order.until_ns < epoch_ns:
        at_ns = max(by_order.until_ns, coordination.epoch_ns)
    bent = coordination.steered(at_ns, coordination.y_steer + (y - before))
    moved_s = 0.0 if by_order is None else by_order.at(at_ns)
    if not now:
        said = SteeringOrder(
            bent.y_steer, at_ns, at_ns + interval_ns, f"orders have ended; they moved {moved_s:+.3e} s"
        )
        return Bent(bent, None, said)
    until_ns = min(one.until_ns for one in now)
    named = ", ".join(str(one.sequence) for one in now)
    said = SteeringOrder(bent.y_steer, at_ns, until_ns, f"order {named} adds {y:+.3e}")
    return Bent(bent, OrderedRate(y, moved_s, at_ns, until_ns), said)


def apart(bent: Bent) -> Coordination | None:
    """Return the coordination without what orders add: what the steering law decides on."""
    whole, by_order = bent.coordination, bent.by_order
    if whole is None or by_order is None:
        return whole
    x_s = whole.x_utck_minus_scale_s - by_order.at(whole.epoch_ns)
    return Coordination(whole.epoch_ns, x_s, whole.y_steer - by_order.y)


def together(done: Steered, before: Coordination | None, bent: Bent) -> Steered:
    """Return what the law did with what orders add on top; `before`: what it was given (`apart`)."""
    if done.coordination is None or bent.by_order is None:
        return done
    if done.coordination is before:
        return replace(done, coordination=bent.coordination)
    own, by_order = done.coordination, bent.by_order
    x_s = own.x_utck_minus_scale_s + by_order.at(own.epoch_ns)
    return replace(done, coordination=Coordination(own.epoch_ns, x_s, own.y_steer + by_order.y))
