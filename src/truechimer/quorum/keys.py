"""Keys of signed notes: who a verifier key names, and what a signing key makes; as text, byte for byte as others write
them.

It judges no signature of a kind that must know what a checkpoint is (`evidence.cosignature`), draws no randomness and
reads no file: seeds come in as arguments. Source: C2SP signed-note, "Verifier keys" and "Signature types"; the private
form is that of Go's sumdb/note.

Law of the file: a key's id is computed, never believed.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from truechimer.errors import Misuse, Rejected

ED25519 = 0x01
"""A note signed with Ed25519: 32-byte key, 64-byte signature over the text."""
COSIGNATURE_ED25519 = 0x04
"""cosignature/v1: 32-byte key; 8 bytes of time and 64 of signature."""
COSIGNATURE_ML_DSA_44 = 0x06
"""ML-DSA-44 (FIPS 204): 1,312-byte key; 8 bytes of time and 2,420 of signature."""
PUBLIC_BYTES = {ED25519: 32, COSIGNATURE_ED25519: 32, COSIGNATURE_ML_DSA_44: 1312}
SEED_BYTES = 32
_PRIVATE = "PRIVATE+KEY+"
_HEX_ID = re.compile(r"[0-9a-f]{8}")
_LONGEST_NAME = 255


class KeyRejected(Rejected):
    """Text that should be a key is none, or is a key that cannot be judged here."""


class KeyMisuse(Misuse):
    """A name or a seed that no key can have."""


class NoteVerifier(Protocol):
    """One key that a reader of notes knows."""

    @property
    def name(self) -> str:
        """Return the key's name."""
        ...

    @property
    def key_id(self) -> bytes:
        """Return the key's id, 4 bytes."""
        ...

    def holds(self, text: bytes, signature: bytes) -> bool:
        """Return whether `signature` (without the key id) is this key's over `text`; raises nothing."""
        ...


class NoteSigner(Protocol):
    """One key that signs notes."""

    @property
    def name(self) -> str:
        """Return the key's name."""
        ...

    @property
    def key_id(self) -> bytes:
        """Return the key's id, 4 bytes."""
        ...

    def sign(self, text: bytes) -> bytes:
        """Return the signature over `text`, without the key id."""
        ...


def strict_base64(text: str) -> bytes:
    """Read standard base64 that has one form only; raises `ValueError`.

    Stray characters, missing padding and set bits after the last byte are refused: two texts never mean the same bytes.
    """
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("not base64") from None
    if base64.b64encode(data).decode("ascii") != text:
        raise ValueError("base64 in another than its one form")
    return data


def base64_of(data: bytes) -> str:
    """Write standard base64."""
    return base64.b64encode(data).decode("ascii")


def is_key_name(name: str) -> bool:
    """Return whether a key may be called so: not empty, no Unicode space, no plus sign, no control character."""
    return (
        0 < len(name.encode("utf-8", "replace")) <= _LONGEST_NAME
        and "+" not in name
        and not any(letter.isspace() or letter < " " or "\ud800" <= letter <= "\udfff" for letter in name)
    )


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """Return the first 4 bytes of SHA-256(name, newline, kind, public key)."""
    return sha256(name.encode() + b"\n" + bytes((kind,)) + public).digest()[:4]


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with its name and kind. Invariant: the name is legal and the key as long as its kind says."""

    name: str
    kind: int
    public: bytes

    def __post_init__(self) -> None:
        """Refuse what no note could be verified with."""
        if not is_key_name(self.name):
            raise KeyRejected(
                f"{_shown(self.name)} cannot be a key's name: 1 to 255 bytes without spaces and plus signs"
            )
        if self.kind not in PUBLIC_BYTES:
            raise KeyRejected(
                f"key {_shown(self.name)} is of kind {self.kind:#04x}; those judged here are 0x01, 0x04 and 0x06"
            )
        if len(self.public) != PUBLIC_BYTES[self.kind]:
            raise KeyRejected(
                f"key {_shown(self.name)} has {len(self.public)} bytes, one of its kind has {PUBLIC_BYTES[self.kind]}"
            )

    @property
    def key_id(self) -> bytes:
        """Return the id that signatures name, 4 bytes."""
        return key_id(self.name, self.kind, self.public)

    @property
    def text(self) -> str:
        """Return the key as `NAME+ID+KEY`."""
        return f"{self.name}+{self.key_id.hex()}+{base64_of(bytes((self.kind,)) + self.public)}"


def verifier_key(text: str) -> VerifierKey:
    """Read `NAME+ID+KEY`; raises `KeyRejected`. Only the first two plus signs separate: base64 has them too."""
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise KeyRejected(f"{_shown(text)} is not a verifier key: it has the form NAME+ID+KEY")
    name, found, rest = parts
    try:
        data = strict_base64(rest)
    except ValueError as error:
        raise KeyRejected(f"verifier key {_shown(name)}: its third part is {error}") from None
    if not data:
        raise KeyRejected(f"verifier key {_shown(name)}: its third part is empty")
    key = VerifierKey(name, data[0], data[1:])
    if not _HEX_ID.fullmatch(found) or bytes.fromhex(found) != key.key_id:
        raise KeyRejected(
            f"verifier key {_shown(name)}: its id is {key.key_id.hex()}, not {_shown(found)}: copy it again"
        )
    return key


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with its name and kind; `seed` has 32 bytes (for ML-DSA-44 too: FIPS 204 calls it xi)."""

    name: str
    kind: int
    seed: bytes

    def __post_init__(self) -> None:
        """Refuse what could not sign."""
        if not is_key_name(self.name):
            raise KeyMisuse(f"{_shown(self.name)} cannot be a key's name: 1 to 255 bytes without spaces and plus signs")
        if self.kind not in PUBLIC_BYTES or len(self.seed) != SEED_BYTES:
            raise KeyMisuse(f"a seed of {len(self.seed)} bytes and kind {self.kind:#04x} make no signing key")

    def __repr__(self) -> str:
        """Say whose key it is, never the seed."""
        return f"SigningKey({self.name!r}, {self.kind:#04x})"

    def private_text(self, public: bytes) -> str:
        """Return `PRIVATE+KEY+NAME+ID+SEED`, as Go's sumdb/note writes it; `public` is its public key."""
        name_and_id = f"{self.name}+{key_id(self.name, self.kind, public).hex()}"
        return f"{_PRIVATE}{name_and_id}+{base64_of(bytes((self.kind,)) + self.seed)}"


def signing_key(text: str) -> tuple[SigningKey, bytes]:
    """Read `PRIVATE+KEY+NAME+ID+SEED`; return the key and the id it claims, which its maker compares with the public
    key. Raises `KeyRejected`; its text never repeats the seed.
    """
    if not text.startswith(_PRIVATE):
        raise KeyRejected("not a signing key: it has the form PRIVATE+KEY+NAME+ID+SEED")
    parts = text[len(_PRIVATE) :].split("+", 2)
    if len(parts) != 3 or not _HEX_ID.fullmatch(parts[1]):
        raise KeyRejected("not a signing key: it has the form PRIVATE+KEY+NAME+ID+SEED")
    try:
        data = strict_base64(parts[2])
        key = SigningKey(parts[0], data[0] if data else 0, data[1:])
    except (ValueError, KeyMisuse):
        raise KeyRejected(f"signing key {_shown(parts[0])}: its name, kind or length is none that signs here") from None
    return key, bytes.fromhex(parts[1])


@dataclass(frozen=True, slots=True)
class Ed25519Verifier:
    """A known key of kind 0x01."""

    key: VerifierKey

    @property
    def name(self) -> str:
        """Return the key's name."""
        return self.key.name

    @property
    def key_id(self) -> bytes:
        """Return the key's id."""
        return self.key.key_id

    def holds(self, text: bytes, signature: bytes) -> bool:
        """Return whether this key signed this text (RFC 8032)."""
        return ed25519_holds(self.key.public, signature, text)


def ed25519_holds(public: bytes, signature: bytes, message: bytes) -> bool:
    """Return whether an Ed25519 signature is right; a malformed one is wrong."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class Ed25519Signer:
    """Signs notes with a key of kind 0x01."""

    def __init__(self, key: SigningKey) -> None:
        """Take the seed; raises `KeyMisuse` for another kind."""
        if key.kind != ED25519:
            raise KeyMisuse(f"{key!r} is not of kind 0x01")
        self._private = Ed25519PrivateKey.from_private_bytes(key.seed)
        self.public = VerifierKey(key.name, ED25519, self._private.public_key().public_bytes_raw())
        """The key that verifies what this signs."""

    @property
    def name(self) -> str:
        """Return the key's name."""
        return self.public.name

    @property
    def key_id(self) -> bytes:
        """Return the key's id."""
        return self.public.key_id

    def sign(self, text: bytes) -> bytes:
        """Return the 64 bytes of signature."""
        return self._private.sign(text)


def _shown(text: str) -> str:
    """Return text from outside, short and without anything a terminal obeys."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
