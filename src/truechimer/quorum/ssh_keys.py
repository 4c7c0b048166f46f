"""SSH public keys that may sign orders: how they are written, what they are called, and whether a signature is theirs.

It knows no person and no namespace, and reads no private key. Sources: RFC 4253 section 6.6, RFC 5656 section 3.1, RFC
8709, and PROTOCOL.u2f of OpenSSH for keys on FIDO2 authenticators.

Law of the file: every byte is accounted for; a key or a signature with a byte too many is another one, and refused.
RSA is refused: no authenticator of OpenSSH makes it, and its signatures have three names for one key. P-384 and P-521
are refused because nothing here needs them.
"""

import base64
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from truechimer.errors import Rejected
from truechimer.quorum.keys import base64_of, strict_base64

ED25519 = "ssh-ed25519"
P256 = "ecdsa-sha2-nistp256"
SK_ED25519 = "sk-ssh-ed25519@openssh.com"
SK_P256 = "sk-ecdsa-sha2-nistp256@openssh.com"
KINDS = (SK_ED25519, SK_P256, ED25519, P256)
USER_PRESENT = 0x01
"""Flag of an authenticator: somebody touched it."""
USER_VERIFIED = 0x04
"""Flag of an authenticator: it knew who (PIN or finger)."""
_SEEN_FLAGS = USER_PRESENT | USER_VERIFIED
_LONGEST_LINE = 1024
_CURVE = b"nistp256"
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P


class SshRejected(Rejected):
    """A key or a signature in SSH's form that cannot be taken; `reason` is a stable name."""

    def __init__(self, reason: str, says: str) -> None:
        """Keep the reason."""
        super().__init__(says)
        self.reason = reason


class Wire:
    """Reads the strings and numbers of RFC 4251 section 5 from bytes; raises `SshRejected` ("malformed")."""

    __slots__ = ("_at", "_data", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        """Begin at the first byte; `what` is named in errors."""
        self._data, self._at, self._what = data, 0, what

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        if count > len(self._data) - self._at:
            raise SshRejected("malformed", f"{self._what} ends early, at byte {len(self._data)}")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self) -> int:
        """Return an unsigned number of 32 bits."""
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        """Return bytes with their length before them."""
        return self.take(self.number())

    def positive(self) -> int:
        """Return a positive whole number (mpint) in its one form."""
        data = self.string()
        value = int.from_bytes(data, "big")
        if value <= 0 or data != mpint(value) or data[0] & 0x80:
            raise SshRejected("malformed", f"{self._what} has a number that is not positive or not in its one form")
        return value

    def end(self) -> None:
        """Raise unless every byte was read."""
        if self._at != len(self._data):
            raise SshRejected("malformed", f"{self._what} has {len(self._data) - self._at} bytes too many")


def string(data: bytes) -> bytes:
    """Write bytes with their length before them."""
    return len(data).to_bytes(4, "big") + data


def mpint(value: int) -> bytes:
    """Write a positive whole number in its one form, without its length."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


@dataclass(frozen=True, slots=True)
class Authenticator:
    """What a FIDO2 authenticator states in a signature: its flags and its counter of signatures."""

    flags: int
    counter: int

    @property
    def touched(self) -> bool:
        """Return whether somebody touched it."""
        return bool(self.flags & USER_PRESENT)

    @property
    def verified(self) -> bool:
        """Return whether it knew who (PIN or finger)."""
        return bool(self.flags & USER_VERIFIED)


@dataclass(frozen=True, slots=True)
class SshKey:
    """One public key: its kind, the point or the 32 bytes, and for `sk-` keys the application ("ssh:...").

    Two keys that differ in their application are two keys. Made by `key_of_blob` or `key_of_line`.
    """

    kind: str
    public: bytes
    application: str

    @property
    def blob(self) -> bytes:
        """Return the key as SSH sends it."""
        curve = string(_CURVE) if self.kind in (P256, SK_P256) else b""
        tail = string(self.application.encode()) if self.on_authenticator else b""
        return string(self.kind.encode()) + curve + string(self.public) + tail

    @property
    def line(self) -> str:
        """Return the key as it stands in a `.pub` file, without a comment."""
        return f"{self.kind} {base64_of(self.blob)}"

    @property
    def fingerprint(self) -> str:
        """Return what `ssh-keygen -l` prints: "SHA256:" and base64 without padding."""
        return "SHA256:" + base64.b64encode(sha256(self.blob).digest()).decode("ascii").rstrip("=")

    @property
    def on_authenticator(self) -> bool:
        """Return whether the key lives on a FIDO2 authenticator."""
        return self.kind in (SK_ED25519, SK_P256)

    def checked(self, signature: bytes, data: bytes) -> Authenticator | None:
        """Check a signature in SSH's form over `data`; return what the authenticator states, None for other keys.

        Raises `SshRejected`: "malformed", "bad-signature", "not-touched" (the authenticator was not asked to prove
        that somebody is there), "wrong-kind" (the signature is of another kind than the key).
        """
        wire = Wire(signature, "the signature")
        kind = wire.string()
        if kind != self.kind.encode():
            raise SshRejected("wrong-kind", f"a signature of kind {ascii(kind[:60])[1:]} by a key of kind {self.kind}")
        raw = wire.string()
        stated = None
        if self.on_authenticator:
            stated = Authenticator(wire.take(1)[0], wire.number())
            head = (
                sha256(self.application.encode()).digest() + bytes((stated.flags,)) + stated.counter.to_bytes(4, "big")
            )
            data = head + sha256(data).digest()
        wire.end()
        try:
            if self.kind in (ED25519, SK_ED25519):
                Ed25519PublicKey.from_public_bytes(self.public).verify(raw, data)
            else:
                numbers = Wire(raw, "the ECDSA signature")
                r, s = numbers.positive(), numbers.positive()
                numbers.end()
                point = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), self.public)
                point.verify(encode_dss_signature(r, s), data, ECDSA(SHA256()))
        except (InvalidSignature, ValueError):
            raise SshRejected("bad-signature", "the signature does not hold over these bytes") from None
        if stated is not None and not stated.touched:
            raise SshRejected("not-touched", "the authenticator signed without being touched: nobody was there")
        if stated is not None and stated.flags & ~_SEEN_FLAGS:
            raise SshRejected("malformed", f"the authenticator states flags 0x{stated.flags:02x}, of unknown meaning")
        return stated


def key_of_blob(blob: bytes) -> SshKey:
    """Read a public key as SSH sends it; raises `SshRejected` ("malformed", "key-kind")."""
    wire = Wire(blob, "the key")
    kind = wire.string().decode("ascii", "replace")
    if kind not in KINDS:
        raise SshRejected("key-kind", f"a key of kind {kind[:60]!a} cannot sign orders: {', '.join(KINDS)} can")
    if kind in (P256, SK_P256) and wire.string() != _CURVE:
        raise SshRejected("malformed", "the key names another curve than its kind")
    public = wire.string()
    application = b""
    if kind in (SK_ED25519, SK_P256):
        application = wire.string()
    wire.end()
    if not _is_point(kind, public):
        raise SshRejected("malformed", f"the key of kind {kind} has no valid point")
    if len(application) > 255 or not all(0x21 <= letter < 0x7F for letter in application):
        raise SshRejected("malformed", "the key's application is not short ASCII")
    return SshKey(kind, public, application.decode("ascii"))


def _is_point(kind: str, public: bytes) -> bool:
    """Return whether these bytes are a public key of this kind, in the one form SSH sends."""
    if kind in (ED25519, SK_ED25519):
        return len(public) == 32 and not _has_small_order(public)
    try:
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), public)
    except ValueError:
        return False
    return len(public) == 65 and public[0] == 4


def _has_small_order(public: bytes) -> bool:
    """Return whether an Ed25519 key is one of the eight points for which anybody can make signatures.

    On -x^2 + y^2 = 1 + d x^2 y^2 (RFC 8032, 5.1) the points of order 1, 2 and 4 have y = 1, -1, 0; those of order
    8 double to y = 0, so x^2 = -y^2 and d y^4 + 2 y^2 = 1.
    """
    y = int.from_bytes(public, "little") % 2**255 % _P
    return y in (0, 1, _P - 1) or (_D * pow(y, 4, _P) + 2 * y * y - 1) % _P == 0


def key_of_line(line: str) -> SshKey:
    """Read a public key as it stands in a `.pub` file: kind, base64, and a comment or none; raises `SshRejected`."""
    words = line.split(None, 2)
    if len(line) > _LONGEST_LINE or len(words) < 2 or "\n" in line.strip():
        raise SshRejected("malformed", "not a line of a .pub file: a kind, a space and base64")
    try:
        key = key_of_blob(strict_base64(words[1]))
    except ValueError as error:
        raise SshRejected("malformed", f"the key's base64 is broken: {error}") from None
    if key.kind != words[0]:
        raise SshRejected("malformed", f"the line says {words[0][:60]!a}, the key in it is of kind {key.kind}")
    return key
