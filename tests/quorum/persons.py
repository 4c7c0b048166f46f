"""Persons, keys and envelopes for the tests of this room; seeds are fixed, nothing is secret."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from truechimer.quorum.applier import begun, start_envelope
from truechimer.quorum.envelope import SteeringLimits
from truechimer.quorum.proposal import Place, envelope_order, policy_of_one, signed_envelope
from truechimer.quorum.sshsig import signing_key
from truechimer.quorum.verified import Verified

DAY_NS = 86_400 * 10**9
BEGIN_NS = 1_800_000_000 * 10**9
KEY = signing_key(Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32))

LIMITS = SteeringLimits(
    per_change=2.3e-14,
    per_day_s=2e-9,
    total_s=90e-9,
    valid_from_ns=BEGIN_NS,
    valid_until_ns=BEGIN_NS + 90 * DAY_NS,
    sequence=1,
    coordination_start=True,
)


def verified(limits: SteeringLimits = LIMITS) -> Verified[SteeringLimits]:
    """Limits that one person has signed."""
    policy = policy_of_one("lab", "a", KEY.public, per_day_s=1e9, total_s=1e12)
    order = envelope_order(limits, Place(policy.digest), target="UTC(LAB)", because="a test", nonce="0" * 32)
    _, made = start_envelope(begun(policy), signed_envelope(limits, order, KEY))
    assert isinstance(made, Verified)
    return made
