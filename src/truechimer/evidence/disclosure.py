"""Salted commitments: a record holds the hash of what may not be shown to all, and a single one can be opened later.

It draws no randomness: the secret from which salts are made comes in. What is committed to never stands in the record
itself, so that neither the leaf nor the next record's `prev` helps to guess it. 32 bytes of salt hide a payload of any
kind, a name among a hundred too.
"""

import hmac
import json
from dataclasses import dataclass
from hashlib import sha256

from truechimer.errors import Misuse, Rejected
from truechimer.quorum.keys import base64_of, strict_base64

SALT_BYTES = 32
FIELD = "commitment"
"""The key of a record under which a commitment stands, in hex."""
_CONTEXT = b"truechimer commitment v1\n"


class DisclosureRejected(Rejected):
    """What is shown is not what was committed to, or is no disclosure."""


class DisclosureMisuse(Misuse):
    """A secret or a salt that hides nothing."""


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What opens one commitment: its salt (32 bytes) and the payload."""

    salt: bytes
    payload: bytes

    @property
    def commitment(self) -> str:
        """Return the commitment in hex: SHA-256(context, salt, payload)."""
        if len(self.salt) != SALT_BYTES:
            raise DisclosureMisuse(f"a salt of {len(self.salt)} bytes: {SALT_BYTES} hide the payload")
        return sha256(_CONTEXT + self.salt + self.payload).hexdigest()

    @property
    def data(self) -> bytes:
        """Return the file that is handed over with an entry."""
        body = {"payload": base64_of(self.payload), "salt": base64_of(self.salt)}
        return json.dumps(body, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def salt_of(secret: bytes, name: str) -> bytes:
    """Return the salt for the payload of that name (unique for ever in its log); raises `DisclosureMisuse`.

    One secret makes all salts, and one salt tells nothing of another.
    """
    if len(secret) < SALT_BYTES:
        raise DisclosureMisuse(f"a secret of {len(secret)} bytes: {SALT_BYTES} are the least")
    return hmac.digest(secret, b"truechimer salt v1\n" + name.encode(), "sha256")


def disclosure(data: bytes) -> Disclosure:
    """Read a disclosure file; raises `DisclosureRejected`."""
    try:
        body = json.loads(data)
        found = Disclosure(strict_base64(body["salt"]), strict_base64(body["payload"]))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DisclosureRejected(f"not a disclosure ({type(error).__name__}): it has salt and payload") from None
    if len(found.salt) != SALT_BYTES or found.data != data:
        raise DisclosureRejected("not a disclosure: another length of salt, or not its one form")
    return found


def check_disclosed(entry: bytes, shown: Disclosure) -> None:
    """Check that a record committed to what is shown; raises `DisclosureRejected`."""
    try:
        stands = json.loads(entry)[FIELD]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise DisclosureRejected("the entry commits to nothing") from None
    if stands != shown.commitment:
        raise DisclosureRejected("what is shown is not what the entry committed to")
