"""Symmetric keys of NTP: the file that names them, and the message authentication code that one makes over a packet.

It opens no file and decides nothing about a packet: `server` and `client` do. Source: RFC 5905 7.3 (key id, digest) and
A.2, RFC 8573 (AES-CMAC in the place of MD5), RFC 4493 (the code itself). A key is an id, an algorithm and a secret, and
all three must match (RFC 8573 section 3). MD5 and SHA-1 are read because deployed clients hold such keys; a new key is
AES-128.

Law of the file: codes are compared in constant time, and a secret never stands in a text that somebody may print.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from truechimer.errors import Rejected

KEY_ID_OCTETS = 4
LONGEST_DIGEST_OCTETS = 20
"""Longer digests are cut to this in versions up to 4: the key id and the code then fill 24 octets, the most that cannot
be taken for an extension field (RFC 7822 7.5.1.4).
"""
LARGEST_KEY_ID = 2**32 - 1  # 0 is the crypto-NAK: RFC 5905 7.3
LARGEST_FILE = 1 << 20
MOST_KEYS = 4096
LONGEST_SECRET_OCTETS = 4096


class KeyKind(StrEnum):
    """How a key makes a code."""

    AES128 = "AES128"  # AES-CMAC, RFC 8573
    AES256 = "AES256"
    MD5 = "MD5"  # digest of key and packet, RFC 5905 A.2; deprecated by RFC 8573
    SHA1 = "SHA1"
    SHA256 = "SHA256"
    SHA384 = "SHA384"
    SHA512 = "SHA512"


CMAC_SECRET_OCTETS = {KeyKind.AES128: 16, KeyKind.AES256: 32}
"""An AES key has exactly this length (RFC 8573 section 3): nothing is padded or cut."""
DEPRECATED = frozenset({KeyKind.MD5})
_NAMES = {
    "AES": KeyKind.AES128,
    "AES128": KeyKind.AES128,
    "AESCMAC": KeyKind.AES128,
    "AES128CMAC": KeyKind.AES128,
    "AES256": KeyKind.AES256,
    "AES256CMAC": KeyKind.AES256,
    "M": KeyKind.MD5,
    "MD5": KeyKind.MD5,
    "SHA": KeyKind.SHA1,
    "SHA1": KeyKind.SHA1,
    "SHA256": KeyKind.SHA256,
    "SHA384": KeyKind.SHA384,
    "SHA512": KeyKind.SHA512,
}
_HEX = re.compile(r"[0-9A-Fa-f]+")
_DIGESTS: Mapping[KeyKind, Callable[[bytes], Any]] = MappingProxyType(
    {
        KeyKind.MD5: lambda data: hashlib.md5(data, usedforsecurity=False),
        KeyKind.SHA1: lambda data: hashlib.sha1(data, usedforsecurity=False),
        KeyKind.SHA256: hashlib.sha256,
        KeyKind.SHA384: hashlib.sha384,
        KeyKind.SHA512: hashlib.sha512,
    }
)


class KeyFileRejected(Rejected):
    """A file of keys that cannot be used: `line` (from 1) is where, `because` is why."""

    def __init__(self, line: int, because: str) -> None:
        super().__init__(f"line {line}: {because}; a line is: ID TYPE KEY, such as 1 AES128 HEX:<32 digits>")
        self.line = line
        self.because = because


@dataclass(frozen=True, slots=True)
class SymmetricKey:
    """One key. `secret` is shown by no `repr`."""

    key_id: int
    kind: KeyKind
    secret: bytes = field(repr=False)
    _prepared: Any = field(default=None, repr=False, compare=False)

    def code(self, octets: bytes) -> bytes:
        """Return the code over a header and its extension fields (RFC 8573 section 3), 16 to 20 octets."""
        if self.kind in CMAC_SECRET_OCTETS:
            ready = self._prepared.copy()
            ready.update(octets)
            made: bytes = ready.finalize()
            return made
        found: bytes = _DIGESTS[self.kind](self.secret + octets).digest()
        return found[:LONGEST_DIGEST_OCTETS]

    def seal(self, octets: bytes) -> bytes:
        """Return what follows the octets on the wire: key id and code."""
        return self.key_id.to_bytes(KEY_ID_OCTETS, "big") + self.code(octets)

    def verifies(self, octets: bytes, code: bytes) -> bool:
        """Return whether a code is this key's over these octets; a code of another length is not."""
        return hmac.compare_digest(self.code(octets), code)


KeyRing = Mapping[int, SymmetricKey]
"""Keys by id."""

NO_KEYS: KeyRing = MappingProxyType({})


def symmetric_key(key_id: int, kind: KeyKind, secret: bytes) -> SymmetricKey:
    """Make a key ready for use. Raises `ValueError` where its id or the length of its secret cannot be."""
    if not 0 < key_id <= LARGEST_KEY_ID:
        raise ValueError(f"a key id is 1 to {LARGEST_KEY_ID}; 0 says that a packet could not be verified")
    wanted = CMAC_SECRET_OCTETS.get(kind)
    if wanted is not None and len(secret) != wanted:
        raise ValueError(f"an {kind} key has exactly {wanted} octets, this one {len(secret)}")
    if not 1 <= len(secret) <= LONGEST_SECRET_OCTETS:
        raise ValueError("there is no key, or one longer than anybody needs")
    prepared = None
    if wanted is not None:
        # brought in by the first such key alone: a door without one stays small
        from cryptography.hazmat.primitives.ciphers.algorithms import AES
        from cryptography.hazmat.primitives.cmac import CMAC

        prepared = CMAC(AES(secret))
    return SymmetricKey(key_id, kind, secret, prepared)


def read_keys(data: bytes) -> KeyRing:
    """Read a file of keys as chronyd and ntpsec write them: `ID TYPE KEY` a line, `#` begins a comment.

    The key is `HEX:` and digits, `ASCII:` and text, or plain text. Plain text of more than 20 characters that are all
    hexadecimal is refused: one program reads it as text, the other as digits. Raises `KeyFileRejected`.
    """
    if len(data) > LARGEST_FILE:
        raise KeyFileRejected(1, f"the file is larger than {LARGEST_FILE} octets")
    found: dict[int, SymmetricKey] = {}
    for number, words in _lines(data):
        if len(words) not in {2, 3}:
            raise KeyFileRejected(number, f"{len(words)} words")
        if not (words[0].isascii() and words[0].isdecimal() and len(words[0]) <= 10):
            raise KeyFileRejected(number, "the id is not a whole number")
        kind = _NAMES.get(words[1].upper().replace("-", "").replace("_", "")) if len(words) == 3 else KeyKind.MD5
        if kind is None:
            raise KeyFileRejected(number, f"type {words[1][:20]!a} is not known; one of {', '.join(KeyKind)}")
        try:
            key = symmetric_key(int(words[0]), kind, _secret(words[-1]))
        except ValueError as error:
            raise KeyFileRejected(number, str(error)) from None
        if key.key_id in found:
            raise KeyFileRejected(number, f"key {key.key_id} stands there twice")
        if len(found) == MOST_KEYS:
            raise KeyFileRejected(number, f"more than {MOST_KEYS} keys")
        found[key.key_id] = key
    return MappingProxyType(found)


def _lines(data: bytes) -> Iterator[tuple[int, list[str]]]:
    """Give the words of each line that has any, with its number; a comment begins where a word begins with `#`, so
    that a `#` inside a key is part of it.
    """
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            text = line.decode("ascii")
        except UnicodeDecodeError:
            raise KeyFileRejected(number, "there is an octet that is not ASCII") from None
        words = text.split()
        comment = next((place for place, word in enumerate(words) if word[0] in "#!;%" and place != 2), len(words))
        if words[:comment]:
            yield number, words[:comment]


def _secret(word: str) -> bytes:
    """Return the octets of a key as it is written. Raises `ValueError`."""
    head, colon, rest = word.partition(":")
    if colon and head.upper() == "HEX":
        if not _HEX.fullmatch(rest) or len(rest) % 2:
            raise ValueError("after HEX: there is something else than pairs of hexadecimal digits")
        return bytes.fromhex(rest)
    if colon and head.upper() == "ASCII":
        return rest.encode("ascii")
    if len(word) > LONGEST_DIGEST_OCTETS and _HEX.fullmatch(word):
        raise ValueError("the key can be read as text or as digits; write ASCII: or HEX: before it")
    return word.encode("ascii")
