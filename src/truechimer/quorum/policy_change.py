"""Changing the policy: the old quorum and the new one sign, everyone waits a day or more, and any one key can say no.

It keeps no state: `applier` folds what is decided here. The rules are those of TUF's root role (specification 5.3:
signed by the threshold of the old and of the new, version + 1), with a delay and a veto, because a quorum that was
coerced or copied must be seen before it binds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType

from truechimer.errors import Rejected
from truechimer.quorum.operations import HASH, POLICY_NAMESPACE, VETO_NAMESPACE
from truechimer.quorum.order import LARGEST_ORDER, Order, SignedOrder
from truechimer.quorum.order_policy import (
    OrderPolicy,
    OrderPolicyRejected,
    order_policy_from,
    standing,
    verify_order,
)
from truechimer.quorum.strict_json import JsonRejected, canonical, read_object, text_of, with_keys
from truechimer.quorum.verified import Refused, Verified, _verified

VETO_FORMAT = "truechimer-veto-v1"


class VetoRejected(Rejected):
    """Bytes that are not a veto."""


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """An order to change the policy, and the policy it names."""

    order: Order
    policy: OrderPolicy


@dataclass(frozen=True, slots=True)
class PendingPolicy:
    """A recorded change that waits: `change`, when it was recorded and when it comes into force (ns TAI)."""

    change: PolicyChange
    by: tuple[str, ...]
    recorded_ns: int
    in_force_ns: int


@dataclass(frozen=True, slots=True)
class Veto:
    """One key's no to the change with this digest, and why."""

    order: str
    because: str

    def canonical(self) -> bytes:
        """Return the bytes that are signed, for the namespace `veto@truechimer`."""
        return canonical({"because": self.because, "format": VETO_FORMAT, "order": self.order})


def veto_from(data: bytes) -> Veto:
    """Read a veto from its canonical bytes; raises `VetoRejected`."""
    try:
        body = with_keys(read_object(data, LARGEST_ORDER), frozenset({"because", "format", "order"}), "the veto")
        veto = Veto(text_of(body, "order", 64), text_of(body, "because", 300))
        if text_of(body, "format", 40) != VETO_FORMAT or not HASH.fullmatch(veto.order) or veto.canonical() != data:
            raise VetoRejected("not a veto in canonical bytes: format, order (64 small hexadecimal digits), because")
    except JsonRejected as error:
        raise VetoRejected(str(error)) from None
    return veto


def verify_change(
    signed: SignedOrder,
    file: bytes | None,
    policy: OrderPolicy,
    *,
    revoked: frozenset[str] = frozenset(),
    counters: Mapping[str, int] = MappingProxyType({}),
) -> Verified[PolicyChange] | Refused:
    """Check a change of the policy in force: the file named, version + 1, the same laboratory, and both quorums.

    Refused: those of `verify_order`, and "file", "policy-file", "policy-version", "policy-laboratory", "revoked-key",
    "new-quorum". A person may sign for both quorums with one signature, if the key stands in both policies.
    """
    asked = verify_order(signed, policy, revoked=revoked, counters=counters)
    if isinstance(asked, Refused):
        return asked
    if file is None or sha256(file).hexdigest() != asked.value.value:
        return Refused("file", "the new policy's file is missing or is not the one whose SHA-256 was signed")
    try:
        new = order_policy_from(file)
    except OrderPolicyRejected as error:
        return Refused("policy-file", f"the new policy cannot be taken: {error}")
    if new.version != policy.version + 1:
        return Refused("policy-version", f"the new policy has version {new.version}, {policy.version + 1} must follow")
    if new.laboratory != policy.laboratory:
        return Refused("policy-laboratory", f"the new policy is for {new.laboratory}, this one for {policy.laboratory}")
    gone = revoked | set(policy.revoked)
    back = sorted(one.key.fingerprint for person in new.persons for one in person.keys if one.key.fingerprint in gone)
    if back:
        return Refused("revoked-key", f"the new policy brings the revoked key {back[0]} back: a revoked key stays so")
    theirs = standing(signed, new, namespace=POLICY_NAMESPACE, revoked=gone, counters=counters)
    if not theirs.enough:
        return Refused(
            "new-quorum",
            f"{len(theirs.by)} of {theirs.needed} persons of the new policy have signed: it must be shown that they can"
            f"; missing: {', '.join(theirs.missing)}",
        )
    by = tuple(sorted({*asked.by, *theirs.by}))
    return _verified(PolicyChange(asked.value, new), by)


def verify_veto(
    signed: SignedOrder, pending: PendingPolicy | None, policy: OrderPolicy, *, revoked: frozenset[str] = frozenset()
) -> Verified[Veto] | Refused:
    """Check a veto: by any one key of the policy in force. `revoked`: fingerprints that have lost this voice too.

    Refused: "malformed", "no-change-pending", "other-change", and those of `Standing`.
    """
    try:
        veto = veto_from(signed.payload)
    except VetoRejected as error:
        return Refused("malformed", str(error))
    if pending is None:
        return Refused("no-change-pending", "no change of the policy is waiting: a veto after the delay comes too late")
    if veto.order != pending.change.order.digest:
        return Refused(
            "other-change", f"the veto is for {veto.order[:12]}, waiting is {pending.change.order.digest[:12]}"
        )
    found = standing(signed, policy, namespace=VETO_NAMESPACE, revoked=revoked)
    return _verified(veto, found.by) if found.by else found.refused
