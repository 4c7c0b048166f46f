"""Orders in the words and keys of documents: an order, a policy, and who has signed; nothing is judged here.

It is read by people at night and by the console: a quantity stands with its unit, a person with their name, a key with
its fingerprint.
"""

from typing import Any

from truechimer.quorum.listener_policy import listener_policy_from
from truechimer.quorum.order import Order
from truechimer.quorum.order_policy import OrderPolicy, Standing


def order_body(order: Order) -> dict[str, Any]:
    """Return an order in the keys of a document."""
    return {
        "op": order.op,
        "target": order.target,
        "value": order.value,
        "unit": order.unit,
        "sentence": order.sentence,
        "because": order.because,
        "sequence": order.sequence,
        "previous": order.previous,
        "policy": order.policy,
        "sha256": order.digest,
        "namespace": order.operation.namespace,
        "valid_from_tai_ns": str(order.valid_from_ns),
        "expires_tai_ns": str(order.expires_ns),
    }


def door_body(text: str) -> dict[str, Any]:
    """Return the policy of a door by order in the keys of a document."""
    policy = listener_policy_from(text.encode())
    return {"allow": [str(network) for network in policy.allow], "bound_limit_s": policy.bound_limit_s}


def policy_body(policy: OrderPolicy, revoked: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return a policy in the keys of a document."""
    gone = revoked | set(policy.revoked)
    return {
        "laboratory": policy.laboratory,
        "version": policy.version,
        "sha256": policy.digest,
        "sentence": policy.sentence,
        "threshold": policy.threshold,
        "insecure_software_keys": policy.insecure_software_keys,
        "change_delay_s": policy.change_delay_s,
        "persons": [
            {
                "name": person.name,
                "keys": [
                    {
                        "fingerprint": one.key.fingerprint,
                        "kind": one.key.kind,
                        "held": one.held,
                        "verify": one.verify,
                        "revoked": one.key.fingerprint in gone,
                    }
                    for one in person.keys
                ],
            }
            for person in policy.persons
        ],
        "revoked": sorted(gone),
        "limits": {name: float(getattr(policy.limits, name)) for name in ("steer_s", "day_s", "total_s", "delay_s")},
    }


def standing_body(found: Standing) -> dict[str, Any]:
    """Return who has signed and who is missing."""
    return {
        "signed_by": list(found.by),
        "needed": found.needed,
        "enough": found.enough,
        "could_still_sign": list(found.missing),
        "not_counted": [{"reason": reason, "says": says} for reason, says in found.findings],
    }
