"""Ordering: one order or veto through the laboratory, as an input of its fold: what it changes, and its record.

It judges nothing (`orders` and `quorum.applier` do) and acts on nothing outside the fold: delays and files are changed
by the daemon, after the record is on the disk. A replay feeds the same entry and must make the same record.

Record `order`: the bytes as they were offered, their signatures, the file they name, the moment, and the outcome; what
is refused stands there too, with its reason.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.register import Register
from truechimer.compare.cleaning import LinkHistory
from truechimer.errors import Misuse
from truechimer.evidence.record import Record, RecordRejected, seal
from truechimer.instants import FS_PER_NS
from truechimer.laboratory import orders as orders_in_force
from truechimer.laboratory.orders import Orders
from truechimer.laboratory.state import LaboratoryConfig, LaboratoryState
from truechimer.quorum.applier import (
    Applied,
    ChangeRecorded,
    Moment,
    OrderEntry,
    Outcome,
    SignedEnvelope,
    Vetoed,
    VetoEntry,
)
from truechimer.quorum.envelope import Applied as SteeringAccount
from truechimer.quorum.order import Order, OrderRejected, SignedOrder, order_from
from truechimer.quorum.verified import Refused
from truechimer.scale.detection_state import DetectionParameters
from truechimer.scale.live_state import LiveParameters
from truechimer.steer.steering_order import Coordination
from truechimer.watch import thresholds

KIND = "order"


@dataclass(frozen=True, slots=True)
class Ordered:
    """What came of one entry: constants and state after it, its record, and the outcome."""

    config: LaboratoryConfig
    state: LaboratoryState
    record: Record
    outcome: Outcome


def take(config: LaboratoryConfig, state: LaboratoryState, entry: OrderEntry | VetoEntry) -> Ordered | Refused:
    """Take one entry in. Refused without a record: "observing" (nothing is ordered where nothing is steered)."""
    before = state.orders
    if before is None or config.observing:
        return Refused("observing", "this laboratory only observes: it steers nothing and has no policy of orders")
    place = orders_in_force.Place(
        register=state.register,
        scale_name=config.scale_name,
        is_steered=state.coordination is not None and not state.reentering,
        algorithm=config.scale.algorithm,
        interval_ns=config.interval_ns,
        doors=config.doors,
    )
    orders, outcome = orders_in_force.offered(before, entry, place)
    body = encode(entry) | said(outcome) | linked(before)
    sealed, chain = seal(KIND, body, state.chain)
    state = replace(state, chain=chain, orders=replace(orders, last=(sealed.seq, chain.prev)))
    if orders.limits != before.limits and not isinstance(outcome, Applied):
        state = replace(state, limits=orders.limits)
    config, state = _with_effects(config, state, before, outcome)
    return Ordered(config, state, sealed, outcome)


def over(config: LaboratoryConfig, orders: Orders | None) -> LaboratoryConfig:
    """Return the constants with what orders have made of them."""
    if orders is None or orders.leaps is None:
        return config
    return replace(config, leaps=orders.leaps, leap_expires_ns=orders.leaps.expires_instant.tai_fs // FS_PER_NS)


def _with_effects(
    config: LaboratoryConfig, state: LaboratoryState, before: Orders, outcome: Outcome
) -> tuple[LaboratoryConfig, LaboratoryState]:
    """Return constants and state with what a lawful order changes in them."""
    orders = state.orders
    if orders is None or not isinstance(outcome, Applied):
        return config, state
    order = outcome.order.value
    if outcome.envelope is None and orders.limits != before.limits:
        state = replace(state, limits=orders.limits)  # a policy has come into force that does not allow it
    if order.op == "calibration-delay" and orders.frames != before.frames:
        state = replace(state, links=_shifted(state, order.target, float(order.value)))
    if outcome.envelope is not None:
        account = state.applied
        if account is not None and orders.limits != before.limits:
            account = SteeringAccount(account.y, account.since_ns, account.y)
        state = replace(state, limits=outcome.envelope, applied=account)
    elif order.op == "steer-phase" and state.coordination is not None:
        at_ns = state.epoch_ns
        x_s = state.coordination.at(at_ns) + float(order.value)
        state = replace(state, coordination=Coordination(at_ns, x_s, state.coordination.y_steer))
    return over(config, orders), state


def detecting(scale: LiveParameters, set_by_order: Mapping[str, float]) -> LiveParameters:
    """Return the scale's constants with the thresholds of its detector multiplied by what an order has set."""
    if "detection" not in set_by_order:
        return scale
    factor = thresholds.in_force(set_by_order, "detection")
    if scale.at1 is not None:
        return replace(scale, at1=replace(scale.at1, detection_sigmas=scale.at1.detection_sigmas * factor))
    return replace(scale, detection=_widened(scale.detection, factor), between=_widened(scale.between, factor))


def _widened(of: DetectionParameters | None, factor: float) -> DetectionParameters | None:
    """Return a detector's constants with its thresholds multiplied."""
    return None if of is None else replace(of, sigmas=of.sigmas * factor, rate_sigmas=of.rate_sigmas * factor)


def _shifted(state: LaboratoryState, target: str, delay_s: float) -> LinkHistory:
    """Return what the links' past says of their next readings, from here on with another delay of a clock or link."""
    register, x_s = state.register, state.links.x_s.copy()
    for number, link in enumerate(register.links):
        x_s[number] += delay_s * ((register.name_of(link.a) == target) - (register.name_of(link.b) == target))
    return replace(state.links, x_s=x_s)


def without(x_clock_minus_pivot_s: NDArray[np.float64], orders: Orders, register: Register) -> NDArray[np.float64]:
    """Return clocks minus pivot with NaN where a clock was taken out of the scale by order."""
    out = set(orders.out)
    heard = x_clock_minus_pivot_s.copy()
    heard[[index for index, clock in enumerate(register.clocks) if clock.name in out]] = np.nan
    return heard


def linked(orders: Orders) -> dict[str, Any]:
    """Return what names the record of the order before."""
    return {} if orders.last is None else {"order_before": list(orders.last)}


def encode(entry: OrderEntry | VetoEntry) -> dict[str, Any]:
    """Write an entry as it was offered."""
    body: dict[str, Any] = {
        "what": "veto" if isinstance(entry, VetoEntry) else "order",
        "signatures": [base64.b64encode(one).decode("ascii") for one in entry.signed.signatures],
        "earliest_tai_ns": str(entry.now.earliest_ns),
        "latest_tai_ns": str(entry.now.latest_ns),
        "sha256": sha256(entry.signed.payload).hexdigest(),
    } | payload_body(entry.signed.payload)
    if isinstance(entry, OrderEntry) and entry.file is not None:
        body["file"] = base64.b64encode(entry.file).decode("ascii")
    return body


def payload_body(payload: bytes) -> dict[str, str]:
    """Write bytes that are said to be an order: as text where they are legible, else in base64."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        text = "\n"
    legible = text.isprintable()
    return {"payload": text} if legible else {"payload_base64": base64.b64encode(payload).decode("ascii")}


def entry_from(body: dict[str, Any]) -> OrderEntry | VetoEntry:
    """Read the entry back from its record; raises `RecordRejected`."""
    try:
        signed = SignedOrder(
            body["payload"].encode() if "payload" in body else _bytes(body["payload_base64"]),
            tuple(_bytes(one) for one in body["signatures"]),
        )
        now = Moment(int(body["earliest_tai_ns"]), int(body["latest_tai_ns"]))
        if body["what"] == "veto":
            return VetoEntry(signed, now)
        return OrderEntry(signed, now, _bytes(body["file"]) if "file" in body else None)
    except (KeyError, TypeError, ValueError, AttributeError, Misuse) as error:  # Misuse: a moment that ends too early
        raise RecordRejected(body.get("seq"), f"not an order record ({error!r})") from None


def said(outcome: Outcome) -> dict[str, Any]:
    """Write what became of an entry."""
    match outcome:
        case Applied(order, _, _, _):
            return {"outcome": "applied", "by": list(order.by), "sequence": order.value.sequence}
        case ChangeRecorded(pending):
            return {
                "outcome": "waits",
                "by": list(pending.by),
                "sequence": pending.change.order.sequence,
                "in_force_tai_ns": str(pending.in_force_ns),
            }
        case Vetoed(veto):
            return {"outcome": "vetoed", "by": list(veto.by), "vetoed": veto.value.order}
        case Refused(reason, says):
            return {"outcome": "refused", "reason": reason, "says": says}


def envelope_body(envelope: SignedEnvelope) -> dict[str, Any]:
    """Write the envelope that a run starts with."""
    return {
        "signatures": [base64.b64encode(one).decode("ascii") for one in envelope.signed.signatures],
        "file": base64.b64encode(envelope.file).decode("ascii"),
    } | payload_body(envelope.signed.payload)


def envelope_from(body: dict[str, Any]) -> SignedEnvelope:
    """Read it back; raises `KeyError`, `ValueError`, `AttributeError` or `TypeError`."""
    payload = body["payload"].encode() if "payload" in body else _bytes(body["payload_base64"])
    return SignedEnvelope(SignedOrder(payload, tuple(_bytes(one) for one in body["signatures"])), _bytes(body["file"]))


def order_of(entry: OrderEntry | VetoEntry) -> Order | None:
    """Return the order that was offered, None where its bytes are none."""
    try:
        return None if isinstance(entry, VetoEntry) else order_from(entry.signed.payload)
    except OrderRejected:
        return None


def _bytes(text: str) -> bytes:
    """Read base64 in its one form; raises `ValueError`."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if base64.b64encode(data).decode("ascii") != text:
        raise ValueError("base64 in another than its one form")
    return data
