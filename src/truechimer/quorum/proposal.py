"""Proposals: the order for a steering envelope, and the policy of one person with which a laboratory begins.

It signs nothing by itself and draws no nonce: keys and randomness come in. What is made here is checked like anything
else (`applier`); it is only written in one place.
"""

from dataclasses import dataclass
from hashlib import sha256

from truechimer.quorum.applier import ApplierState, SignedEnvelope
from truechimer.quorum.envelope import SteeringLimits
from truechimer.quorum.operations import OPERATIONS
from truechimer.quorum.order import FIRST, Order, SignedOrder, order_from
from truechimer.quorum.order_policy import HeldKey, Limits, OrderPolicy, Person, order_policy_from
from truechimer.quorum.ssh_keys import SshKey
from truechimer.quorum.sshsig import SigningKey

DELAYS_OF_A_DAY = 25.0
"""A calibration delay may be changed by so many days' steering: 50 ns where a day may move 2 ns."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next order goes: digest of the policy, sequence, digest of the order before."""

    policy: str
    sequence: int = 1
    previous: str = FIRST


def place_after(state: ApplierState) -> Place:
    """Return where the next order goes after what was applied."""
    return Place(state.policy.digest, state.sequence + 1, state.previous)


def place_behind(envelope: SignedEnvelope) -> Place:
    """Return where the next order goes after an envelope; raises `OrderRejected` where it has no order."""
    order = order_from(envelope.signed.payload)
    return Place(order.policy, order.sequence + 1, order.digest)


def policy_of_one(laboratory: str, person: str, key: SshKey, *, per_day_s: float, total_s: float) -> OrderPolicy:
    """Return the policy of one person with one key in a file, whose limits hold these of an envelope.

    Raises `OrderPolicyRejected` where a name is none.
    """
    delay_s = float(f"{DELAYS_OF_A_DAY * per_day_s:.12g}")
    limits = Limits(
        steer_s=repr(per_day_s),
        day_s=repr(max(per_day_s, delay_s)),
        total_s=repr(max(total_s, delay_s)),
        delay_s=repr(delay_s),
    )
    made = OrderPolicy(
        laboratory=laboratory,
        version=1,
        threshold=1,
        insecure_software_keys=True,
        change_delay_s=86_400,
        persons=(Person(person, (HeldKey(key, "software", verify=False),)),),
        revoked=(),
        limits=limits,
    )
    return order_policy_from(made.canonical())


def envelope_order(limits: SteeringLimits, place: Place, *, target: str, because: str, nonce: str) -> Order:
    """Return the order that asks for an envelope; it ends with it, and begins with it or 90 days before its end."""
    longest_ns = OPERATIONS["steering-envelope"].longest_ns
    return Order(
        op="steering-envelope",
        target=target,
        value=sha256(limits.canonical()).hexdigest(),
        unit="sha256",
        because=because,
        valid_from_ns=max(limits.valid_from_ns, limits.valid_until_ns - longest_ns, 1),
        expires_ns=limits.valid_until_ns,
        nonce=nonce,
        sequence=place.sequence,
        previous=place.previous,
        policy=place.policy,
    )


def signed_envelope(limits: SteeringLimits, order: Order, *keys: SigningKey) -> SignedEnvelope:
    """Return the envelope with its order and these keys' signatures."""
    payload, namespace = order.canonical(), order.operation.namespace
    signatures = tuple(key.sign(payload, namespace) for key in keys)
    return SignedEnvelope(SignedOrder(payload, signatures), limits.canonical())
