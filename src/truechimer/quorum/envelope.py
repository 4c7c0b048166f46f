"""The envelope: what automatic steering may do without asking, as k of n persons have signed it.

It knows nothing of clocks. An order inside the envelope is lawful; outside it needs signatures of its own
(`applier`). The envelope bounds one change, the time moved in a day, the time moved in all since its signers left
it, and it expires: an expired envelope means hold and holdover, never "carry on".

The reference of a day's and the total's movement is the rate in force when the envelope began: automatic steering may
carry time away from where its signers left it only so far. The law's own limits (`steer.steering_law`) keep inside;
this check does not trust them.
"""

import json
from dataclasses import dataclass
from math import isfinite
from typing import Protocol, TypeVar

from truechimer.errors import Rejected
from truechimer.quorum.verified import Refused, Verified, _verified


class EnvelopeRejected(Rejected):
    """Bytes that should be steering limits are not."""


class Steering(Protocol):
    """What this room needs to know of an order to steer: its rate, when it holds, and its canonical bytes."""

    @property
    def y(self) -> float:
        """Rate of UTC(k) minus the scale that the order asks for, dimensionless."""
        ...

    @property
    def valid_from_ns(self) -> int:
        """First instant of the order, ns TAI."""
        ...

    @property
    def valid_until_ns(self) -> int:
        """End of the order, ns TAI."""
        ...

    def canonical(self) -> bytes:
        """Return the order's canonical bytes."""
        ...


S = TypeVar("S", bound=Steering)


@dataclass(frozen=True, slots=True, kw_only=True)
class SteeringLimits:
    """Limits of automatic steering.

    `per_change`: largest change of rate by one order, dimensionless. `per_day_s`: most time (s) that steering may move
    in any 24 h against the rate at the envelope's begin. `total_s`: most time (s) moved since then. `valid_from_ns`,
    `valid_until_ns`: ns TAI. `sequence`: a later envelope has a higher one.
    `coordination_start`: whether offset and rate may be *set* once, while the laboratory acquires and its doors are
    unsynchronised.
    """

    per_change: float
    per_day_s: float
    total_s: float
    valid_from_ns: int
    valid_until_ns: int
    sequence: int
    coordination_start: bool

    def canonical(self) -> bytes:
        """Return canonical JSON: floats as text with unit, large integers as text."""
        body = {
            "coordination_start": self.coordination_start,
            "per_change": f"{self.per_change!r} 1",
            "per_day_s": f"{self.per_day_s!r} s",
            "sequence": self.sequence,
            "total_s": f"{self.total_s!r} s",
            "valid_from_tai_ns": str(self.valid_from_ns),
            "valid_until_tai_ns": str(self.valid_until_ns),
        }
        return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def limits_from(payload: bytes) -> SteeringLimits:
    """Read limits back from their canonical bytes; raises `EnvelopeRejected`."""
    try:
        body = json.loads(payload)
        limits = SteeringLimits(
            per_change=_number(body["per_change"], "1"),
            per_day_s=_number(body["per_day_s"], "s"),
            total_s=_number(body["total_s"], "s"),
            valid_from_ns=int(body["valid_from_tai_ns"]),
            valid_until_ns=int(body["valid_until_tai_ns"]),
            sequence=int(body["sequence"]),
            coordination_start=body["coordination_start"] is True,
        )
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise EnvelopeRejected(f"not a steering envelope ({error}): make a new one and have it signed") from None
    if limits.canonical() != payload:
        raise EnvelopeRejected("the envelope's bytes are not canonical: what was signed is not what stands there")
    if not (
        limits.per_change >= 0.0
        and limits.per_day_s >= 0.0
        and limits.total_s >= 0.0
        and limits.valid_from_ns < limits.valid_until_ns
    ):
        raise EnvelopeRejected("the envelope's limits are negative or its validity is empty")
    return limits


def _number(text: str, unit: str) -> float:
    """Read `"<repr> <unit>"`."""
    number, _, found = text.partition(" ")
    if found != unit:
        raise ValueError(f"{text!r} lacks the unit {unit}")
    value = float(number)
    if not isfinite(value):
        raise ValueError(f"{text!r} is not finite")
    return value


@dataclass(frozen=True, slots=True)
class Applied:
    """What steering has done under the present envelope.

    `y`: rate in force; `since_ns`: from when (ns TAI); `reference_y`: rate when the envelope began; `total_s`: time
    moved against it since then (signed sum).
    """

    y: float
    since_ns: int
    reference_y: float
    total_s: float = 0.0

    def advanced(self, until_ns: int) -> "Applied":
        """Return the account carried on to an instant with the rate in force."""
        if until_ns <= self.since_ns:
            return self
        moved_s = (self.y - self.reference_y) * ((until_ns - self.since_ns) / 1e9)
        return Applied(self.y, until_ns, self.reference_y, self.total_s + moved_s)


def admit(order: S, limits: Verified[SteeringLimits], applied: Applied) -> Verified[S] | Refused:
    """Check an automatic order against the signed limits and what was applied already; `applied` must be advanced to
    the order's begin.

    No order may hold a rate further from the envelope's reference than `per_day_s` in 86,400 s, so no chain of orders
    can move more in any 24 h; `total_s` then bounds what a patient chain could add up. Where the total is used up (a
    rate held through a long holdover uses it too), only an order that moves less than holding the rate would is
    admitted: a refusal must not keep a departure alive.
    """
    inside = limits.value
    if not inside.valid_from_ns <= order.valid_from_ns < inside.valid_until_ns:
        return Refused("envelope-expired", "no signed envelope is in force: hold, and have a new one signed")
    if not order.valid_from_ns < order.valid_until_ns <= inside.valid_until_ns:
        return Refused("order-validity", "the order is empty or outlives its envelope")
    if not abs(order.y - applied.y) <= inside.per_change:
        return Refused(
            "per-change", f"a change of {order.y - applied.y!r} exceeds the {inside.per_change!r} allowed at once"
        )
    departure = order.y - applied.reference_y
    if not abs(departure) * 86_400.0 <= inside.per_day_s * (1.0 + 1e-12):
        return Refused(
            "per-day", f"{departure * 86_400.0!r} s would be moved in a day, {inside.per_day_s!r} s are allowed"
        )
    duration_s = (order.valid_until_ns - order.valid_from_ns) / 1e9
    total_s = applied.total_s + departure * duration_s
    held_s = applied.total_s + (applied.y - applied.reference_y) * duration_s
    if not abs(total_s) <= inside.total_s and not abs(total_s) < max(abs(held_s), abs(applied.total_s)):
        return Refused("total", f"{total_s!r} s would be moved in all, {inside.total_s!r} s are allowed")
    return _verified(order, ("envelope", *limits.by))
