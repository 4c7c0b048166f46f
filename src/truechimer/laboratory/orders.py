"""Orders in force: what signed orders have made of a laboratory, as one fold over their records and nothing else.

It checks no signature itself (`quorum.applier` does) and acts on no clock (`laboratory.ordering` does). It stands on
the records alone: a restart folds the same records again, so who may order what, which order is next and what was
moved in a day cannot be set back by a file beside them.

Law of the file: `OPS_APPLIED` are the operations with a mechanism behind them; every other is refused by name.
"""

from dataclasses import dataclass, replace
from hashlib import sha256

from truechimer.clocks.register import Register
from truechimer.formats import leap_seconds_list
from truechimer.instants import LeapTable
from truechimer.quorum import applier
from truechimer.quorum.applier import Applied, ApplierState, OrderEntry, Outcome, SignedEnvelope, VetoEntry
from truechimer.quorum.envelope import SteeringLimits
from truechimer.quorum.order import Order, OrderRejected, order_from
from truechimer.quorum.order_policy import OrderPolicy
from truechimer.quorum.verified import Refused, Verified

OPS_APPLIED = frozenset(
    [
        "steer-phase",
        "steering-envelope",
        "calibration-delay",
        "clock-membership",
        "leap-table",
        "policy-change",
        "key-revoke",
    ]
)
"""Operations that this version applies; the others are refused as "not-applied"."""

_NO_ENVELOPE = Refused("envelope", "no steering envelope was signed")


@dataclass(frozen=True, slots=True)
class Orders:
    """What orders have made so far.

    `applier`: chain, account and policy. `limits`: the envelope in force, or why there is none; `envelope`: digest of
    the last one that a run was started with (order and signatures), taken or refused. `out`: clocks taken out of the
    scale by hand. `leaps`: the table that an order brought, None while none has. `last`: number and SHA-256 of the
    record of the last order.
    """

    applier: ApplierState
    limits: Verified[SteeringLimits] | Refused
    envelope: str = ""
    out: tuple[str, ...] = ()
    leaps: LeapTable | None = None
    last: tuple[int, str] | None = None

    def delay_s(self, target: str) -> float:
        """Return by how much orders have changed the calibrated delay of a clock or link (s, positive = late)."""
        return float(dict(self.applier.totals).get(f"delay {target}", 0))

    @property
    def delayed(self) -> tuple[str, ...]:
        """Return the clocks and links whose delay was changed by order."""
        return tuple(name.removeprefix("delay ") for name, _ in self.applier.totals if name.startswith("delay "))


def begun(policy: OrderPolicy) -> Orders:
    """Begin with the policy that the laboratory was started with."""
    return Orders(applier.begun(policy), _NO_ENVELOPE)


def with_envelope(orders: Orders, envelope: SignedEnvelope) -> Orders:
    """Take the envelope that a run starts with; one that was looked at already changes nothing."""
    digest = _digest(envelope)
    if orders.envelope == digest:
        return orders
    state, found = applier.start_envelope(orders.applier, envelope)
    if isinstance(found, Refused):
        kept = orders.limits if isinstance(orders.limits, Verified) else found
        return replace(orders, limits=kept, envelope=digest)
    return replace(orders, applier=state, limits=found, envelope=digest)


def refusal_of(orders: Orders, envelope: SignedEnvelope) -> Refused | None:
    """Return why the envelope that a run starts with is not taken; None where it is, or was looked at before, or is an
    older one than that in force.
    """
    if orders.envelope == _digest(envelope):
        return None
    found = applier.start_envelope(orders.applier, envelope)[1]
    return found if isinstance(found, Refused) and found.reason != "replay" else None


def _digest(envelope: SignedEnvelope) -> str:
    """Return what tells one envelope with its signatures from another."""
    return sha256(b"\n".join((envelope.signed.payload, *envelope.signed.signatures, envelope.file))).hexdigest()


def offered(
    orders: Orders, entry: OrderEntry | VetoEntry, *, register: Register, scale_name: str, is_steered: bool
) -> tuple[Orders, Outcome]:
    """Take one order or veto, as it was offered; a refused one leaves everything as time alone would have.

    Refused, beside what `quorum.applier` refuses: "not-applied" (no mechanism in this version), "unknown-target",
    "not-steered" (a steer where nothing is), "leap-table" (the file is none, or expires before the one in force).
    """
    if isinstance(entry, OrderEntry):
        try:
            asked = order_from(entry.signed.payload)
        except OrderRejected:
            pass  # the applier says so
        else:
            refused = _lacking(orders, asked, entry, register, scale_name, is_steered=is_steered)
            if refused is not None:
                return replace(orders, applier=applier.settled(orders.applier, entry.now)), refused
    return stepped(orders, entry)


def stepped(orders: Orders, entry: OrderEntry | VetoEntry) -> tuple[Orders, Outcome]:
    """Take one entry that this laboratory has the mechanism for."""
    state, outcome = applier.step(orders.applier, entry)
    orders = replace(orders, applier=state)
    if not isinstance(outcome, Applied):
        return orders, outcome
    order = outcome.order.value
    if outcome.envelope is not None:
        orders = replace(orders, limits=outcome.envelope)
    elif order.op == "clock-membership":
        out = {*orders.out, order.target} if order.value == "out" else {*orders.out} - {order.target}
        orders = replace(orders, out=tuple(sorted(out)))
    elif order.op == "leap-table" and isinstance(entry, OrderEntry):
        orders = replace(orders, leaps=_table(order, entry))
    return orders, outcome


def _lacking(
    orders: Orders, order: Order, entry: OrderEntry, register: Register, scale_name: str, *, is_steered: bool
) -> Refused | None:
    """Refuse what this laboratory could not do, before its place in the chain is used up."""
    if order.sequence <= orders.applier.sequence:
        return None  # a replay, by whatever name
    if order.op not in OPS_APPLIED:
        known = ", ".join(sorted(OPS_APPLIED))
        return Refused("not-applied", f"{order.op} is not applied by this version; applied are {known}")
    if order.op in {"steer-phase", "steering-envelope"} and order.target != scale_name:
        return Refused("unknown-target", f"{order.op} of {order.target}: what is steered here is {scale_name}")
    if order.op == "steer-phase" and not is_steered:
        return Refused("not-steered", "there is no coordinated time yet that could be moved: wait for `steered`")
    members = {clock.name for clock in register.clocks}
    nodes = members | {reference.name for reference in register.references}
    if order.op == "clock-membership" and order.target not in members:
        return Refused("unknown-target", f"there is no clock {order.target} here: {', '.join(sorted(members))}")
    if order.op == "clock-membership" and (order.target in orders.out) is (order.value == "out"):
        return Refused("no-change", f"the clock {order.target} is {order.value} already")
    if order.op == "calibration-delay" and order.target not in nodes:
        return Refused("unknown-target", f"nothing here is called {order.target}: {', '.join(sorted(nodes))}")
    if order.op == "leap-table":
        table = _table(order, entry)
        if table is None:
            return Refused("leap-table", "the file is not a leap-seconds.list without faults, or not the one signed")
    return None


def _table(order: Order, entry: OrderEntry) -> LeapTable | None:
    """Return the leap table that an order brings, None where its file is none or another one."""
    if entry.file is None or sha256(entry.file).hexdigest() != order.value:
        return None
    table, faults = leap_seconds_list.read(entry.file, source=f"order {order.digest[:12]}")
    return None if faults else table
