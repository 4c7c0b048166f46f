"""The one person of these laboratories: a key, a policy that allows every envelope of the tests, and its signature."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from truechimer.quorum.applier import SignedEnvelope
from truechimer.quorum.envelope import SteeringLimits
from truechimer.quorum.proposal import Place, envelope_order, place_behind, policy_of_one, signed_envelope
from truechimer.quorum.sshsig import SigningKey, signing_key


def key_of(seed: bytes = bytes(32)) -> SigningKey:
    return signing_key(Ed25519PrivateKey.from_private_bytes(seed))


KEY = key_of()
POLICY = policy_of_one("rig", "operator", KEY.public, per_day_s=10.0, total_s=10_000.0)
FIRST = Place(POLICY.digest)


def signed(limits: SteeringLimits, *seeds: bytes, after: SignedEnvelope | None = None) -> SignedEnvelope:
    """An envelope signed with these seeds (the operator's alone by default); `after` the first one."""
    place = FIRST if after is None else place_behind(after)
    order = envelope_order(limits, place, target="SIM(rig)", because="the test's envelope", nonce="0" * 32)
    return signed_envelope(limits, order, *(key_of(seed) for seed in seeds or (bytes(32),)))
