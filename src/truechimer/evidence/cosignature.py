"""Cosignatures: what a witness signs of a checkpoint, and when (Ed25519 and ML-DSA-44).

It decides nothing about trust (`log_policy`) and reads no clock: the time comes in. Source: C2SP tlog-cosignature
v1.1.0; FIPS 204. An Ed25519 cosignature covers the whole text; one of ML-DSA-44 covers signer, time, origin, size and
root, not the extension lines.

Law of the file: ML-DSA needs a `cryptography` that has it. Where it is absent a key of that kind is refused by name,
never skipped: a policy that counts on it must not become weaker in silence.
"""

import struct
from dataclasses import dataclass
from functools import cache
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from truechimer.evidence.checkpoint import CheckpointRejected, checkpoint
from truechimer.quorum.keys import (
    COSIGNATURE_ED25519,
    COSIGNATURE_ML_DSA_44,
    ED25519,
    Ed25519Signer,
    Ed25519Verifier,
    KeyMisuse,
    KeyRejected,
    NoteSigner,
    NoteVerifier,
    SigningKey,
    VerifierKey,
    ed25519_holds,
    signing_key,
)
from truechimer.quorum.note import NoteSignature

mldsa: Any
try:
    from cryptography.hazmat.primitives.asymmetric import mldsa
except ImportError:
    mldsa = None

LATEST_TIME = (1 << 63) - 1
"""Seconds since 1970; the specification's own limit."""
_SUBTREE = b"subtree/v1\n\x00"
_SIGNATURE_BYTES = {COSIGNATURE_ED25519: 64, COSIGNATURE_ML_DSA_44: 2420}


def has_ml_dsa() -> bool:
    """Return whether ML-DSA-44 can be judged and made here."""
    return mldsa is not None and _has_ml_dsa()


@cache
def _has_ml_dsa() -> bool:
    """Try it once: the module may be there and the library below it without the algorithm."""
    try:
        mldsa.MLDSA44PrivateKey.from_seed_bytes(bytes(32))
    except UnsupportedAlgorithm:
        return False
    return True


def cosigned_text(text: bytes, time_s: int) -> bytes:
    """Return what cosignature/v1 signs of a checkpoint's text."""
    return f"cosignature/v1\ntime {time_s}\n".encode() + text


def cosigned_tree(text: bytes, time_s: int, *, name: str) -> bytes:
    """Return what the cosigner `name` signs with ML-DSA-44; raises `CheckpointRejected` where the text is none, or its
    origin or the name is too long for the form.
    """
    head = checkpoint(text)
    origin, who = head.origin.encode(), name.encode()
    if len(origin) > 255 or not 0 < len(who) <= 255:
        raise CheckpointRejected("form", "an origin or a name over 255 bytes cannot be cosigned with ML-DSA-44")
    parts = (
        _SUBTREE,
        bytes((len(who),)),
        who,
        struct.pack(">Q", time_s),
        bytes((len(origin),)),
        origin,
        struct.pack(">QQ", 0, head.size),
        head.root,
    )
    return b"".join(parts)


def time_of(signature: NoteSignature) -> int:
    """Return when a cosignature says that it was made, in seconds since 1970; raises `KeyRejected` where it holds no
    time. What it says is the cosigner's word, worth something only after the signature was verified.
    """
    if len(signature.signature) - 8 not in _SIGNATURE_BYTES.values():
        raise KeyRejected(f"the signature of {signature.name!r} is not a cosignature and holds no time")
    return int(struct.unpack_from(">Q", signature.signature)[0])


@dataclass(frozen=True, slots=True)
class CosignatureVerifier:
    """A known witness's key, of kind 0x04 or 0x06."""

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
        """Return whether this witness cosigned this checkpoint; a text that is none was not cosigned."""
        if len(signature) != 8 + _SIGNATURE_BYTES[self.key.kind]:
            return False
        time_s = int(struct.unpack_from(">Q", signature)[0])
        if time_s > LATEST_TIME:
            return False
        try:
            if self.key.kind == COSIGNATURE_ML_DSA_44:
                public = mldsa.MLDSA44PublicKey.from_public_bytes(self.key.public)
                public.verify(signature[8:], cosigned_tree(text, time_s, name=self.name))
                return True
            checkpoint(text)
        except (InvalidSignature, ValueError, CheckpointRejected):
            return False
        return ed25519_holds(self.key.public, signature[8:], cosigned_text(text, time_s))


def verifier_of(key: VerifierKey) -> NoteVerifier:
    """Return what judges this key's signatures; raises `KeyRejected` for ML-DSA-44 where that cannot be judged here."""
    if key.kind == ED25519:
        return Ed25519Verifier(key)
    if key.kind == COSIGNATURE_ML_DSA_44:
        if not has_ml_dsa():
            raise KeyRejected(
                f"key {key.name!r} is of kind ML-DSA-44, which the installed `cryptography` does not have: "
                "install one that has it (50 does)"
            )
        try:
            mldsa.MLDSA44PublicKey.from_public_bytes(key.public)
        except ValueError:
            raise KeyRejected(f"key {key.name!r} is no ML-DSA-44 key") from None
    return CosignatureVerifier(key)


class Cosigner:
    """Cosigns checkpoints with a key of kind 0x04 or 0x06, at one time."""

    def __init__(self, key: SigningKey, time_s: int) -> None:
        """Take the seed and the time (seconds since 1970); raises `KeyMisuse`."""
        if not 0 < time_s <= LATEST_TIME:
            raise KeyMisuse(f"{time_s} s is no time at which to cosign")
        self._key, self._time_s = key, time_s
        self.public = public_key(key)
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
        """Return time and signature; raises `CheckpointRejected` where the text is no checkpoint."""
        checkpoint(text)
        if self._key.kind == COSIGNATURE_ED25519:
            made: bytes = Ed25519PrivateKey.from_private_bytes(self._key.seed).sign(cosigned_text(text, self._time_s))
        else:
            private = mldsa.MLDSA44PrivateKey.from_seed_bytes(self._key.seed)
            made = private.sign(cosigned_tree(text, self._time_s, name=self.name))
        return struct.pack(">Q", self._time_s) + made


def signer_of(key: SigningKey, *, time_s: int) -> NoteSigner:
    """Return what signs with this key; a key of kind 0x01 signs no time."""
    return Ed25519Signer(key) if key.kind == ED25519 else Cosigner(key, time_s)


def public_key(key: SigningKey) -> VerifierKey:
    """Return the key that verifies what `key` signs; raises `KeyMisuse` for ML-DSA-44 where it cannot be made here."""
    if key.kind != COSIGNATURE_ML_DSA_44:
        return VerifierKey(
            key.name, key.kind, Ed25519PrivateKey.from_private_bytes(key.seed).public_key().public_bytes_raw()
        )
    if not has_ml_dsa():
        raise KeyMisuse("ML-DSA-44 needs a `cryptography` that has it: install one, or take kind 0x04")
    public: bytes = mldsa.MLDSA44PrivateKey.from_seed_bytes(key.seed).public_key().public_bytes_raw()
    return VerifierKey(key.name, key.kind, public)


def private_key(text: str) -> SigningKey:
    """Read `PRIVATE+KEY+NAME+ID+SEED` and compare the id with the key's own; raises `KeyRejected`."""
    key, claimed = signing_key(text.strip())
    if public_key(key).key_id != claimed:
        raise KeyRejected(f"signing key {key.name!r}: its id does not belong to its seed: the file is damaged")
    return key
