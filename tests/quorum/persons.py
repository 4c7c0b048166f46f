"""Persons, keys and envelopes for the tests of this room; seeds are fixed, nothing is secret."""

from truechimer.quorum.envelope import ENVELOPE_CONTEXT, SteeringLimits, limits_from
from truechimer.quorum.policy import PersonKey, Policy, Signed, public_of, sign, verify
from truechimer.quorum.verified import Verified

DAY_NS = 86_400 * 10**9
BEGIN_NS = 1_800_000_000 * 10**9

LIMITS = SteeringLimits(
    per_change=2.3e-14,
    per_day_s=2e-9,
    total_s=90e-9,
    valid_from_ns=BEGIN_NS,
    valid_until_ns=BEGIN_NS + 90 * DAY_NS,
    sequence=1,
    coordination_start=True,
)


def seed(number: int) -> bytes:
    """The private seed of key `number`."""
    return bytes([number]) * 32


def key(person: str, number: int, *, hardware: bool = False) -> PersonKey:
    return PersonKey(person, public_of(seed(number)), hardware)


def signed(payload: bytes, *numbers: int, context: str = ENVELOPE_CONTEXT) -> Signed:
    """The payload with the signatures of these keys."""
    return Signed(context, payload, tuple(sign(seed(number), context, payload) for number in numbers))


def verified(limits: SteeringLimits = LIMITS) -> Verified[SteeringLimits]:
    """Limits that one person has signed."""
    made = verify(
        signed(limits.canonical(), 1), Policy(1, (key("a", 1),)), context=ENVELOPE_CONTEXT, decode=limits_from
    )
    assert isinstance(made, Verified)
    return made
