"""Persons with SSH keys for the tests of orders: authenticators in software, keys in files, a policy, a laboratory.

Seeds are fixed, nothing is secret. A key is written as a letter (whose) and a digit (which): "a1". A small letter is a
FIDO2 key, a capital one a key in a file.
"""

import json
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import count

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from truechimer.quorum.applier import ApplierState, Moment, OrderEntry, VetoEntry
from truechimer.quorum.operations import DAY_NS, HOUR_NS, OPERATIONS, VETO_NAMESPACE
from truechimer.quorum.order import FIRST, Order, SignedOrder
from truechimer.quorum.order_policy import OrderPolicy, order_policy_from
from truechimer.quorum.policy_change import Veto
from truechimer.quorum.ssh_keys import SK_ED25519, SshKey, string
from truechimer.quorum.sshsig import _signed_data, armoured, signing_key

_COUNTER = count(7)
NOW_NS = 1_900_000_000 * 10**9
LIMITS = {"steer_s": "2e-09 s", "day_s": "2e-09 s", "total_s": "1e-08 s", "delay_s": "5e-08 s"}


@dataclass(frozen=True)
class Key:
    """One key that can sign; `hardware`: on an authenticator that signs for whoever asks it with these flags."""

    private: Ed25519PrivateKey
    hardware: bool

    @property
    def public(self) -> SshKey:
        if not self.hardware:
            return signing_key(self.private).public
        return SshKey(SK_ED25519, self.private.public_key().public_bytes_raw(), "ssh:")

    def sign(self, payload: bytes, namespace: str, *, flags: int = 1, counter: int | None = None) -> bytes:
        counter = next(_COUNTER) if counter is None else counter
        if not self.hardware:
            return signing_key(self.private).sign(payload, namespace)
        head = sha256(b"ssh:").digest() + bytes((flags,)) + counter.to_bytes(4, "big")
        raw = self.private.sign(head + sha256(_signed_data(payload, namespace, b"sha512")).digest())
        tail = bytes((flags,)) + counter.to_bytes(4, "big")
        return armoured(self.public, namespace, string(SK_ED25519.encode()) + string(raw) + tail)


def key(word: str) -> Key:
    return Key(Ed25519PrivateKey.from_private_bytes(sha256(word.encode()).digest()), word.islower())


def policy_body(keys: str = "a1 b1 c1", threshold: int = 2, **changes: object) -> dict:
    """The policy file of these keys as Python holds it."""
    persons: dict[str, list[str]] = {}
    for word in keys.split():
        persons.setdefault(word[0].lower(), []).append(word)
    body = {
        "format": "truechimer-policy-v1",
        "laboratory": "lab",
        "version": 1,
        "threshold": threshold,
        "insecure_software_keys": any(word[0].isupper() for word in keys.split()),
        "change_delay_s": 86_400,
        "persons": [
            {
                "name": name,
                "keys": [
                    {"key": key(w).public.line, "held": "fido2" if w.islower() else "software", "verify": False}
                    for w in words
                ],
            }
            for name, words in persons.items()
        ],
        "revoked": [],
        "limits": LIMITS,
    }
    return {**body, **changes}


def policy(keys: str = "a1 b1 c1", threshold: int = 2, **changes: object) -> OrderPolicy:
    return order_policy_from(json.dumps(policy_body(keys, threshold, **changes)).encode())


def order(under: OrderPolicy | ApplierState, **changes: object) -> Order:
    """A lawful order of a phase step of 1 ns, next in its chain; `changes` of its fields."""
    state = under if isinstance(under, ApplierState) else None
    asked = Order(
        op="steer-phase",
        target="UTC(LAB)",
        value="1e-09",
        unit="s",
        because="the link was recalibrated",
        valid_from_ns=NOW_NS - HOUR_NS,
        expires_ns=NOW_NS + HOUR_NS,
        nonce="0" * 32,
        sequence=state.sequence + 1 if state else 1,
        previous=state.previous if state else FIRST,
        policy=(state.policy if state else under).digest,
    )
    return replace(asked, **changes)


def signed(asked: Order, keys: str = "a1 b1", **how: object) -> SignedOrder:
    """The order with the signatures of these keys."""
    return signed_bytes(asked.canonical(), keys, namespace=OPERATIONS[asked.op].namespace, **how)


def signed_bytes(payload: bytes, keys: str = "a1 b1", *, namespace: str = "steer@truechimer", **how) -> SignedOrder:
    return SignedOrder(payload, tuple(key(word).sign(payload, namespace, **how) for word in keys.split()))


def at(ns: int = NOW_NS, *, doubt_ns: int = 1000) -> Moment:
    return Moment(ns - doubt_ns, ns + doubt_ns)


def entry(asked: Order, keys: str = "a1 b1", *, now: Moment | None = None, file: bytes | None = None) -> OrderEntry:
    return OrderEntry(signed(asked, keys), now or at(), file)


def veto(of: Order, keys: str, now: Moment, *, because: str = "I was not asked") -> VetoEntry:
    return VetoEntry(signed_bytes(Veto(of.digest, because).canonical(), keys, namespace=VETO_NAMESPACE), now)


def lasting(ns: int, *, days: float = 0.5) -> dict[str, int]:
    """The times of an order that begins an hour before `ns`."""
    return {"valid_from_ns": ns - HOUR_NS, "expires_ns": ns - HOUR_NS + int(days * DAY_NS)}
