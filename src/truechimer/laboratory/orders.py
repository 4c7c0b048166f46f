"""Orders in force: what signed orders have made of a laboratory, as one fold over their records and nothing else.

It checks no signature itself (`quorum.applier` does) and acts on no clock (`laboratory.ordering` does). It stands on
the records alone: a restart folds the same records again, so who may order what, which order is next and what was
moved in a day cannot be set back by a file beside them.

Law of the file: `OPS_APPLIED` are the operations with a mechanism behind them; every other is refused by name.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.register import Register
from truechimer.evidence.log_policy import LogPolicyRejected, log_policy
from truechimer.formats import leap_seconds_list
from truechimer.instants import LeapTable
from truechimer.laboratory import timed
from truechimer.laboratory.timed import TIMED, Timed
from truechimer.quorum import applier
from truechimer.quorum.applier import (
    Applied,
    ApplierState,
    Moment,
    OrderEntry,
    Outcome,
    SignedEnvelope,
    VetoEntry,
    wider,
)
from truechimer.quorum.envelope import SteeringLimits
from truechimer.quorum.listener_policy import ListenerPolicyRejected, listener_policy_from
from truechimer.quorum.operations import OPERATIONS
from truechimer.quorum.order import Order, OrderRejected, order_from
from truechimer.quorum.order_policy import OrderPolicy
from truechimer.quorum.verified import Refused, Verified
from truechimer.watch.thresholds import THRESHOLDS

FIRST_APPLIED = frozenset(
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
"""Operations that runs applied which do not say in their `run-start` which they apply."""

OPS_APPLIED = frozenset(OPERATIONS)
"""Operations that this version applies."""

PARTS = (
    "clocks",
    "delays",
    "doors",
    "evidence",
    "leap-table",
    "notify",
    "policy",
    "refusal",
    "scale",
    "sources",
    "steering",
)
"""Parts of the laboratory's file that an order must name before an edit of them is taken."""

LEAST_EPOCHS = 2
"""A rate that is ordered for less than so many intervals of the scale would come and go unseen."""

WEIGHED_BY_HAND = frozenset({"at1", "bands"})
"""Algorithms that know a ceiling of a clock's weight."""

_NO_ENVELOPE = Refused("envelope", "no steering envelope was signed")


@dataclass(frozen=True, slots=True)
class Orders:
    """What orders have made so far.

    `applier`: chain, account and policy. `limits`: the envelope in force, or why there is none; `envelope`: digest of
    the last one that a run was started with (order and signatures), taken or refused. `out`: clocks taken out of the
    scale by hand. `leaps`: the table that an order brought, None while none has. `last`: number and SHA-256 of the
    record of the last order. `timed`: what ends with its order. `doors`: (listener, its policy) by order; `log_keys`:
    the policy of the log's keys and witnesses, empty while no order brought one; `parts`: (part, SHA-256) of the
    laboratory's file that was approved last. `operations`: those that this run applies. `frames`: by how much delays
    were changed that the scale carries through (`scale_frames`).
    """

    applier: ApplierState
    limits: Verified[SteeringLimits] | Refused
    envelope: str = ""
    out: tuple[str, ...] = ()
    leaps: LeapTable | None = None
    last: tuple[int, str] | None = None
    timed: tuple[Timed, ...] = ()
    doors: tuple[tuple[str, str], ...] = ()
    log_keys: str = ""
    parts: tuple[tuple[str, str], ...] = ()
    operations: frozenset[str] = FIRST_APPLIED
    frames: tuple[tuple[str, Fraction], ...] = ()

    def delay_s(self, target: str) -> float:
        """Return by how much orders have changed the calibrated delay of a clock or link (s, positive = late)."""
        return float(dict(self.applier.totals).get(f"delay {target}", 0))

    @property
    def delayed(self) -> tuple[str, ...]:
        """Return the clocks and links whose delay was changed by order."""
        return tuple(name.removeprefix("delay ") for name, _ in self.applier.totals if name.startswith("delay "))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a laboratory is, for who judges whether it can do what an order asks for.

    `is_steered`: there is a coordination to move; `algorithm` of the scale, `interval_ns` between its steps; `doors`:
    names of the listeners that have a policy.
    """

    register: Register
    scale_name: str
    is_steered: bool
    algorithm: str
    interval_ns: int
    doors: tuple[str, ...]


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


def with_operations(orders: Orders, operations: frozenset[str]) -> Orders:
    """Return the orders of a run that applies these operations."""
    return orders if orders.operations == operations else replace(orders, operations=operations)


def offered(orders: Orders, entry: OrderEntry | VetoEntry, place: Place) -> tuple[Orders, Outcome]:
    """Take one order or veto, as it was offered; a refused one leaves everything as time alone would have.

    Refused, beside what `quorum.applier` refuses: "not-applied" (no mechanism here), "unknown-target", "not-steered" (a
    steer where nothing is), "no-change", "too-short" (a rate that would end before it began), "threshold" (beyond its
    floor or ceiling), "leap-table", "listener-policy", "log-policy" (the file is none).
    """
    if isinstance(entry, OrderEntry):
        try:
            asked = order_from(entry.signed.payload)
        except OrderRejected:
            pass  # the applier says so
        else:
            refused = _lacking(orders, asked, entry, place)
            if refused is not None:
                return passed(orders, entry.now), refused
    return stepped(orders, entry)


def passed(orders: Orders, now: Moment) -> Orders:
    """Return the orders after time alone has passed: a refused entry does no more."""
    return _under(replace(orders, applier=applier.settled(orders.applier, now)), orders.applier.policy)


def limits_at(orders: Orders, epoch_ns: int) -> Verified[SteeringLimits] | Refused:
    """Return the envelope in force at an epoch (ns TAI): one that allows more than a policy that has come into force
    ends with the policy it was signed under.
    """
    pending = orders.applier.pending
    if pending is None or epoch_ns < pending.in_force_ns or orders.operations == FIRST_APPLIED:
        return orders.limits
    return _within(orders.limits, pending.change.policy)


def _under(orders: Orders, before: OrderPolicy) -> Orders:
    """Return the orders with the envelope that the policy in force leaves, where that is another than before."""
    if orders.applier.policy is before or orders.operations == FIRST_APPLIED:
        return orders
    return replace(orders, limits=_within(orders.limits, orders.applier.policy))


def _within(limits: Verified[SteeringLimits] | Refused, policy: OrderPolicy) -> Verified[SteeringLimits] | Refused:
    """Return the envelope where a policy allows it, else why it has ended."""
    says = wider(limits.value, policy) if isinstance(limits, Verified) else None
    if says is None:
        return limits
    return Refused("envelope-ended", f"the envelope ended with the policy it was signed under: {says}")


def scale_frames(orders: Orders | None, register: Register) -> NDArray[np.float64] | None:
    """Return by how much readings of each clock are other by order than what its scale is made of (s, `(n_clocks,)`);
    None where no delay of a clock was changed.

    A delay that was calibrated anew says that a clock was never where it was thought to be: clock minus scale changes
    by it, and the scale, with all that it has learned of the clock, goes on as if nothing had been.
    """
    if orders is None or not orders.frames:
        return None
    moved = dict(orders.frames)
    found = np.array([float(moved.get(clock.name, 0)) for clock in register.clocks])
    return found if found.any() else None


def stepped(orders: Orders, entry: OrderEntry | VetoEntry) -> tuple[Orders, Outcome]:
    """Take one entry that this laboratory has the mechanism for."""
    state, outcome = applier.step(orders.applier, entry)
    orders = _under(replace(orders, applier=state), orders.applier.policy)
    if not isinstance(outcome, Applied):
        return orders, outcome
    order = outcome.order.value
    if outcome.envelope is not None:
        orders = replace(orders, limits=outcome.envelope)
    elif order.op == "clock-membership":
        out = {*orders.out, order.target} if order.value == "out" else {*orders.out} - {order.target}
        orders = replace(orders, out=tuple(sorted(out)))
    elif order.op == "calibration-delay" and orders.operations != FIRST_APPLIED:
        frames = dict(orders.frames)
        frames[order.target] = frames.get(order.target, Fraction(0)) + Fraction(order.value)
        orders = replace(orders, frames=tuple(sorted(frames.items())))
    elif order.op in TIMED:
        now_timed = timed.with_order(orders.timed, order, entry.now, seen_ns=state.seen_ns)
        orders = replace(orders, timed=now_timed)
    elif isinstance(entry, OrderEntry) and entry.file is not None:
        orders = _with_file(orders, order, entry.file)
    return orders, outcome


def _with_file(orders: Orders, order: Order, file: bytes) -> Orders:
    """Return the orders with what a lawful order's file brings."""
    if order.op == "leap-table":
        return replace(orders, leaps=_table(order, file))
    if order.op == "listener-policy":
        doors = dict(orders.doors) | {order.target: file.decode()}
        return replace(orders, doors=tuple(sorted(doors.items())))
    if order.op == "log-keys":
        return replace(orders, log_keys=file.decode())
    if order.op == "configuration":
        parts = dict(orders.parts) | {order.target: order.value}
        return replace(orders, parts=tuple(sorted(parts.items())))
    return orders


def _lacking(orders: Orders, order: Order, entry: OrderEntry, place: Place) -> Refused | None:
    """Refuse what this laboratory could not do, before its place in the chain is used up."""
    if order.sequence <= orders.applier.sequence:
        return None  # a replay, by whatever name
    if order.op not in orders.operations:
        known = ", ".join(sorted(orders.operations))
        return Refused("not-applied", f"{order.op} is not applied by this version; applied are {known}")
    if order.op in {"steer-phase", "steer-rate", "steering-envelope"}:
        return _lacking_steer(order, entry, place)
    register = place.register
    members = {clock.name for clock in register.clocks}
    nodes = members | {reference.name for reference in register.references}
    if order.op in {"clock-membership", "clock-weight"} and order.target not in members:
        return Refused("unknown-target", f"there is no clock {order.target} here: {', '.join(sorted(members))}")
    if order.op == "clock-membership" and (order.target in orders.out) is (order.value == "out"):
        return Refused("no-change", f"the clock {order.target} is {order.value} already")
    if order.op == "clock-weight" and place.algorithm not in WEIGHED_BY_HAND:
        known = " and ".join(sorted(WEIGHED_BY_HAND))
        return Refused("not-applied", f"{place.algorithm} knows no ceiling of a clock's weight; {known} do")
    if order.op == "calibration-delay" and order.target not in nodes:
        return Refused("unknown-target", f"nothing here is called {order.target}: {', '.join(sorted(nodes))}")
    if order.op == "monitor-threshold":
        threshold = THRESHOLDS.get(order.target)
        if threshold is None:
            return Refused("unknown-target", f"no monitor {order.target} has a threshold: {', '.join(THRESHOLDS)}")
        says = threshold.refusal(float(order.value), order.unit)
        return None if says is None else Refused("threshold", says)
    if order.op == "configuration" and order.target not in PARTS:
        return Refused("unknown-target", f"no part of the file is called {order.target}: {', '.join(PARTS)}")
    return _lacking_file(order, entry.file, place)


def _lacking_steer(order: Order, entry: OrderEntry, place: Place) -> Refused | None:
    """Refuse a steer of what is not steered here."""
    if order.target != place.scale_name:
        return Refused("unknown-target", f"{order.op} of {order.target}: what is steered here is {place.scale_name}")
    if order.op == "steering-envelope":
        return None
    if not place.is_steered:
        return Refused("not-steered", "there is no coordinated time yet that could be moved: wait for `steered`")
    left_ns = order.expires_ns - entry.now.latest_ns
    if order.op == "steer-rate" and left_ns < LEAST_EPOCHS * place.interval_ns:
        least_s = LEAST_EPOCHS * place.interval_ns / 1e9
        return Refused("too-short", f"{left_ns / 1e9:.1f} s are left of it, and a rate holds for {least_s:g} s or more")
    return None


def _lacking_file(order: Order, file: bytes | None, place: Place) -> Refused | None:
    """Refuse a file that is not what its order needs; one that is missing or another one is refused as "file"."""
    is_it = file is not None and sha256(file).hexdigest() == order.value
    if order.op == "leap-table" and not (is_it and _table(order, file or b"") is not None):
        return Refused("leap-table", "the file is not a leap-seconds.list without faults, or not the one signed")
    if file is None or not is_it:
        return None
    if order.op == "listener-policy":
        if order.target not in place.doors:
            there = ", ".join(place.doors) or "none"
            return Refused("unknown-target", f"no listener {order.target} here has a policy of its own: {there}")
        try:
            found = listener_policy_from(file)
        except ListenerPolicyRejected as error:
            return Refused("listener-policy", str(error))
        if found.listener != order.target:
            return Refused("listener-policy", f"the file is for {found.listener}, the order for {order.target}")
    if order.op == "log-keys":
        try:
            policy = log_policy(file)
            file.decode()
        except (LogPolicyRejected, UnicodeDecodeError) as error:
            return Refused("log-policy", f"the file is no policy of a log and its witnesses: {error}")
        if order.target not in {log.key.name for log in policy.logs}:
            return Refused("log-policy", f"no line `log` of the file is of {order.target}")
    return None


def _table(order: Order, file: bytes) -> LeapTable | None:
    """Return the leap table that an order brings, None where its file is none."""
    table, faults = leap_seconds_list.read(file, source=f"order {order.digest[:12]}")
    return None if faults else table
