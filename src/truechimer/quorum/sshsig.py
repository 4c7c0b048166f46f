"""SSHSIG: what `ssh-keygen -Y sign` makes, read and checked here; and made here too, for keys in files.

It knows no person and reads no file. A signature is for one namespace and none other. Source: PROTOCOL.sshsig of
OpenSSH (version 1).

Stricter than the source in two places: a reserved field that is not empty is refused, not ignored (nobody here could
say what it asks for), and so are webauthn signatures, which a web page asks for and this format cannot tell for what.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256, sha512

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from truechimer.errors import Misuse, Rejected
from truechimer.quorum.ssh_keys import (
    ED25519,
    P256,
    Authenticator,
    SshKey,
    SshRejected,
    Wire,
    key_of_blob,
    mpint,
    string,
)

LARGEST = 4096
"""Bytes of one armoured signature; those of the kinds taken here have some four hundred."""
_MAGIC = b"SSHSIG"
_VERSION = 1
_BEGIN = "-----BEGIN SSH SIGNATURE-----"
_END = "-----END SSH SIGNATURE-----"
_HASHES = {b"sha256": sha256, b"sha512": sha512}
_NAMESPACE = re.compile(r"[!-~]{1,64}")


class SigningKeyRejected(Rejected):
    """A private key in a file that cannot be used here."""


@dataclass(frozen=True, slots=True)
class SshSignature:
    """One signature taken apart, not checked: whose key it names, for which namespace, and over which hash."""

    key: SshKey
    namespace: str
    hash_name: bytes
    signature: bytes

    def check(self, message: bytes, namespace: str) -> Authenticator | None:
        """Check it over a message for a namespace; return what the authenticator states, None for a key without one.

        Raises `SshRejected`: "namespace", "bad-signature", "not-touched", "wrong-kind", "malformed".
        """
        if self.namespace != namespace:
            raise SshRejected(
                "namespace",
                f"signed for {self.namespace!a}, not for {namespace!r}: sign again with -n {namespace}",
            )
        return self.key.checked(self.signature, _signed_data(message, namespace, self.hash_name))


def signature_from(armoured: bytes) -> SshSignature:
    """Take an armoured signature apart; raises `SshRejected` ("malformed", "key-kind", "version")."""
    wire = Wire(_unarmoured(armoured), "the signature")
    if wire.take(6) != _MAGIC:
        raise SshRejected("malformed", "not an SSH signature: it does not begin with SSHSIG")
    version = wire.number()
    if version != _VERSION:
        raise SshRejected("version", f"a signature of version {version}: 1 is known")
    key = key_of_blob(wire.string())
    namespace = wire.string().decode("ascii", "replace")
    if not _NAMESPACE.fullmatch(namespace):
        raise SshRejected("malformed", "the signature's namespace is empty, long or not ASCII")
    if wire.string():
        raise SshRejected("malformed", "the signature's reserved field is not empty: nothing unknown is ignored")
    hash_name = wire.string()
    if hash_name not in _HASHES:
        raise SshRejected("malformed", "the signature's hash is neither sha256 nor sha512")
    signature = wire.string()
    wire.end()
    return SshSignature(key, namespace, hash_name, signature)


def armoured(key: SshKey, namespace: str, signature: bytes, *, hash_name: bytes = b"sha512") -> bytes:
    """Write a signature in SSH's form (`signature`: kind and bytes) as `ssh-keygen` does, 70 letters a line."""
    blob = _MAGIC + _VERSION.to_bytes(4, "big") + string(key.blob) + string(namespace.encode("ascii"))
    text = base64.b64encode(blob + string(b"") + string(hash_name) + string(signature)).decode("ascii")
    lines = [text[at : at + 70] for at in range(0, len(text), 70)]
    return "\n".join([_BEGIN, *lines, _END, ""]).encode("ascii")


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """A private key from a file. Keys on authenticators sign with `ssh-keygen -Y sign`, not here."""

    public: SshKey
    _private: Ed25519PrivateKey | EllipticCurvePrivateKey

    def sign(self, message: bytes, namespace: str) -> bytes:
        """Return the armoured signature; raises `Misuse` for a namespace no signature can have."""
        if not _NAMESPACE.fullmatch(namespace):
            raise Misuse(f"namespace {namespace!r}: 1 to 64 ASCII letters without spaces")
        data = _signed_data(message, namespace, b"sha512")
        if isinstance(self._private, Ed25519PrivateKey):
            raw = self._private.sign(data)
        else:
            r, s = decode_dss_signature(self._private.sign(data, ECDSA(SHA256())))
            raw = string(mpint(r)) + string(mpint(s))
        return armoured(self.public, namespace, string(self.public.kind.encode()) + string(raw))


def signing_key_from(data: bytes, passphrase: bytes | None = None) -> SigningKey:
    """Read a private key in OpenSSH's form; raises `SigningKeyRejected`."""
    try:
        private = load_ssh_private_key(data, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SigningKeyRejected(
            f"not a private key that can sign here ({error}): a key on an authenticator signs with ssh-keygen -Y sign, "
            "a key with a passphrase needs it"
        ) from None
    if isinstance(private, Ed25519PrivateKey):
        return signing_key(private)
    if isinstance(private, EllipticCurvePrivateKey) and isinstance(private.curve, SECP256R1):
        return signing_key(private)
    raise SigningKeyRejected(f"a key of this kind cannot sign orders: {ED25519} and {P256} can")


def signing_key(private: Ed25519PrivateKey | EllipticCurvePrivateKey) -> SigningKey:
    """Make a signing key of one that `cryptography` holds (Ed25519, or ECDSA on P-256)."""
    if isinstance(private, Ed25519PrivateKey):
        return SigningKey(SshKey(ED25519, private.public_key().public_bytes_raw(), ""), private)
    if not isinstance(private.curve, SECP256R1):
        raise Misuse(f"a key on {private.curve.name}: orders are signed on P-256")
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return SigningKey(SshKey(P256, point, ""), private)


def key_of_seed(seed: bytes) -> tuple[SigningKey, bytes]:
    """Return the Ed25519 key of 32 random bytes, and the text of its private key as OpenSSH writes it, unencrypted."""
    if len(seed) != 32:
        raise Misuse(f"an Ed25519 seed has 32 bytes, this one {len(seed)}")
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return signing_key(private), private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def _signed_data(message: bytes, namespace: str, hash_name: bytes) -> bytes:
    """Return the bytes that are signed (PROTOCOL.sshsig section 3)."""
    digest = _HASHES[hash_name](message).digest()
    return _MAGIC + string(namespace.encode("ascii")) + string(b"") + string(hash_name) + string(digest)


def _unarmoured(data: bytes) -> bytes:
    """Return the blob between the two lines; raises `SshRejected` ("malformed")."""
    if len(data) > LARGEST:
        raise SshRejected("malformed", f"a signature of {len(data)} bytes: {LARGEST} are the most that are read")
    try:
        lines = data.decode("ascii").replace("\r\n", "\n").strip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise SshRejected("malformed", f"the signature is not ASCII at byte {error.start}") from None
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
        raise SshRejected("malformed", f"not an armoured SSH signature: it stands between {_BEGIN} and {_END}")
    text = "".join(lines[1:-1])
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SshRejected("malformed", "the signature's base64 is broken") from None
    if base64.b64encode(blob).decode("ascii") != text:
        raise SshRejected("malformed", "the signature's base64 is in another than its one form")
    return blob
