"""Policy: which persons may sign, and how many of them it takes.

Signatures are counted by *person*, not by key: two keys of one person are one voice. Ed25519 (RFC 8032) over a context
line and the payload, so that a signature for one purpose is none for another.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from truechimer.errors import Misuse, Rejected
from truechimer.quorum.verified import Refused, Verified, _verified

T = TypeVar("T")


class PolicyRejected(Rejected):
    """A policy file that does not say who may sign."""


@dataclass(frozen=True, slots=True)
class PersonKey:
    """One key of one person: `public` is the 32-byte Ed25519 public key; `hardware` False for a key in a file."""

    person: str
    public: bytes
    hardware: bool

    @property
    def key_id(self) -> str:
        """Return the public key in hex: what a signature names."""
        return self.public.hex()


@dataclass(frozen=True, slots=True)
class Policy:
    """`threshold` of the persons behind `keys` must sign."""

    threshold: int
    keys: tuple[PersonKey, ...]

    def __post_init__(self) -> None:
        """Refuse a policy that nobody or too few could ever fulfil."""
        persons = {key.person for key in self.keys}
        if not 1 <= self.threshold <= len(persons):
            raise PolicyRejected(
                f"threshold {self.threshold} with {len(persons)} persons: "
                "it must lie between 1 and the number of persons"
            )
        if len({key.public for key in self.keys}) != len(self.keys):
            raise PolicyRejected("one key stands twice in the policy: each person needs a key of their own")

    @property
    def sentence(self) -> str:
        """Say in a few words how strong this is."""
        persons = len({key.person for key in self.keys})
        who = "single signer" if persons == 1 else f"{self.threshold} of {persons} persons"
        if all(key.hardware for key in self.keys):
            return f"{who}, hardware keys"
        return f"{who}, software key{'s' if persons > 1 else ''}"

    def canonical(self) -> bytes:
        """Return the policy's canonical JSON."""
        keys = [{"hardware": key.hardware, "person": key.person, "public": key.key_id} for key in self.keys]
        return json.dumps({"keys": keys, "threshold": self.threshold}, sort_keys=True, separators=(",", ":")).encode()


def policy_from(data: bytes) -> Policy:
    """Read a policy's JSON; raises `PolicyRejected`."""
    try:
        body = json.loads(data)
        keys = tuple(
            # only the JSON word true claims hardware: any other value must not make a policy look stronger
            PersonKey(str(key["person"]), bytes.fromhex(key["public"]), key["hardware"] is True)
            for key in body["keys"]
        )
        threshold = body["threshold"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise PolicyRejected(
            f"not a policy ({error}): it needs threshold, and keys with person, public (hex) and hardware"
        ) from None
    if type(threshold) is not int:
        raise PolicyRejected(f"threshold {threshold!r} is not a whole number of persons")
    if any(len(key.public) != 32 for key in keys):
        raise PolicyRejected("a public key in the policy is not 32 bytes of hex")
    return Policy(threshold, keys)


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature by the key `key_id` (hex of the public key)."""

    key_id: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Signed:
    """A payload in canonical bytes, what it is for (`context`), and its signatures."""

    context: str
    payload: bytes
    signatures: tuple[Signature, ...]


def message(context: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: a context line, then the payload."""
    return b"truechimer " + context.encode("ascii") + b"\n" + payload


def sign(private: bytes, context: str, payload: bytes) -> Signature:
    """Sign with a 32-byte Ed25519 seed."""
    if len(private) != 32:
        raise Misuse(f"an Ed25519 seed has 32 bytes, this one {len(private)}")
    key = Ed25519PrivateKey.from_private_bytes(private)
    return Signature(key.public_key().public_bytes_raw().hex(), key.sign(message(context, payload)))


def public_of(private: bytes) -> bytes:
    """Return the 32-byte public key of a seed."""
    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def verify(signed: Signed, policy: Policy, *, context: str, decode: Callable[[bytes], T]) -> Verified[T] | Refused:
    """Check that enough persons signed this payload for this purpose, then decode it.

    A bad signature is not counted and does not spoil the good ones. `decode` may raise `Rejected`: a well-signed
    payload that makes no sense is refused too.
    """
    if signed.context != context:
        return Refused("context", f"signed for {signed.context!r}, offered as {context!r}")
    persons = set()
    for signature in signed.signatures:
        key = next((key for key in policy.keys if key.key_id == signature.key_id), None)
        if key is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature.signature, message(context, signed.payload))
        except (InvalidSignature, ValueError):
            continue
        persons.add(key.person)
    if len(persons) < policy.threshold:
        return Refused(
            "signatures",
            f"{len(persons)} of {policy.threshold} persons needed have signed validly: get the missing signatures",
        )
    try:
        value = decode(signed.payload)
    except Rejected as error:
        return Refused("payload", str(error))
    return _verified(value, tuple(sorted(persons)))
