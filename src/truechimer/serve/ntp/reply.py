"""What a server core may say of one datagram: an answer that lacks only its transmit stamp, or a named refusal.

It decides nothing (`server` and `ntpv5` do). Shape (1) of `house.md` section 3.
"""

import struct
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from truechimer.instants import ntp64
from truechimer.serve.clock_page import ClockPage
from truechimer.serve.ntp.interleaved import SavedStamps
from truechimer.serve.ntp.mac import NO_KEYS, KeyRing, SymmetricKey
from truechimer.serve.served_time import WhyUnsynchronised, tai_fs_at, tai_minus_ntp_at

UNIQUE_WITHIN_UNITS = 4096
"""A transmit stamp this close behind (in 2^-32 s: 0.95 us) the one before becomes the next unit after it; further
back, time was re-set.
"""

CRYPTO_NAK = bytes(4)
"""Key id 0 and no code: the request's own code could not be verified (RFC 5905 7.3, 9.2)."""

_STAMP = struct.Struct(">Q")


class IgnoreReason(StrEnum):
    """Why a datagram gets no answer; one counter each."""

    SHORT = "short"  # fewer than 48 octets: RFC 5905 7.3
    VERSION = "version"  # not 1 to 4, nor 5 where it is offered
    # answering mode 4 is how two servers ping-pong for ever; symmetric and broadcast are not offered
    MODE_NOT_CLIENT = "mode-not-client"
    MODE_CONTROL = "mode-control"  # modes 6 and 7: RFC 8633 3.4, not to strangers; here to nobody
    MAC_UNSUPPORTED = "mac-unsupported"  # we hold no keys
    CRYPTO_NAK = "crypto-nak"  # no answer to an answer: RFC 5905 9.2
    EXTENSION_MALFORMED = "extension-malformed"  # RFC 7822 7.5
    SOURCE_PORT_ZERO = "source-port-zero"  # nobody can be answered there
    NOT_ALLOWED = "not-allowed"  # the listener's policy, by order or in LAB.toml, does not name its address
    RATE_LIMITED = "rate-limited"  # it asks more often than the listener's policy allows: RFC 5905 7.4
    DRAFT_UNKNOWN = (
        "draft-unknown"  # a version 5 of another draft than ours, or of none: draft-09, Draft Identification
    )


class ReplyKind(StrEnum):
    """What sort of answer was given; one counter each."""

    SYNCHRONISED = "synchronised"
    UNSYNCHRONISED = "unsynchronised"
    KISS_RATE = "kiss-rate"  # RFC 5905 7.4
    KISS_DENY = "kiss-deny"
    NAK_UNKNOWN_KEY = "nak-unknown-key"  # a crypto-NAK: we hold no key of this id
    NAK_BAD_MAC = "nak-bad-mac"  # a crypto-NAK: the code is not the key's


class Kiss(StrEnum):
    """Kiss codes that a policy may ask for in the place of time: RFC 5905 7.4, RFC 9748."""

    RATE = "RATE"
    DENY = "DENY"


KISS_KINDS = {Kiss.RATE: ReplyKind.KISS_RATE, Kiss.DENY: ReplyKind.KISS_DENY}


class Client(NamedTuple):
    """Where a datagram came from."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What a door offers besides plain answers.

    `keys`: symmetric keys whose holders get authenticated answers. `saved`: what the interleaved mode remembers (None:
    not offered). `ntpv5`: whether version 5 is spoken; `reference_id`: 15 random octets that name this server there.
    `poll_log2`: the least interval (log2 s) at which a client may ask, which version 5 and a RATE kiss say.
    """

    keys: KeyRing = field(default_factory=lambda: NO_KEYS)
    saved: SavedStamps | None = None
    ntpv5: bool = False
    reference_id: bytes = bytes(15)
    poll_log2: int = -6


PLAIN = Offers()


@dataclass(frozen=True, slots=True)
class Ignore:
    """No answer, because of `reason`."""

    reason: IgnoreReason


class Reply(NamedTuple):
    """An answer that lacks only its transmit stamp.

    `head` holds octets 0 to 39, `receive` the receive stamp in it. `page` is the line that `transmit_stamp` reads
    (None: both stamps are zero, which says "not known", RFC 5905 6). `because` says why the answer is unsynchronised.
    `tail` follows the header; `key` seals the whole (None: nothing does). `in_tai`: the stamps count TAI, which version
    5 can ask for. `earlier`: the transmit stamp of the answer before, which an interleaved one carries; `remember`: the
    receive stamp (UTC) under which this answer's own is to be saved.
    """

    kind: ReplyKind
    head: bytes
    receive: int
    page: ClockPage | None
    because: WhyUnsynchronised | None = None
    tail: bytes = b""
    key: SymmetricKey | None = None
    key_as_field: bool = False
    in_tai: bool = False
    earlier: int | None = None
    remember: int | None = None

    def with_transmit(self, transmit: int) -> bytes:
        """Return the octets to send: 48, what follows them, and the code over both where a key seals them."""
        octets = self.head + _STAMP.pack(transmit if self.earlier is None else self.earlier) + self.tail
        if self.key is None:
            return octets
        if not self.key_as_field:
            return octets + self.key.seal(octets)
        sealed = self.key.seal(octets)
        return octets + struct.pack(">HH", MAC_FIELD, 4 + len(sealed)) + sealed


MAC_FIELD = 0xF502
"""Message Authentication Code extension field of version 5 (draft-09)."""


def transmit_stamp(reply: Reply, raw_ns: int, *, last: int) -> int:
    """Return the transmit stamp at `raw_ns`, read just before the send; `last` is the one before it on this server
    (0: none yet).

    It is after the receive stamp of its own reply, differs from it and from `last` (RFC 9769 asks for both, and a
    client that sees two equal stamps takes the second reply for a duplicate, RFC 5905 8), and is never zero where the
    time is known.
    """
    if reply.page is None:
        return 0
    stamp = stamp_at(reply.page, raw_ns, in_tai=reply.in_tai)
    if _signed(stamp - reply.receive) <= 0:
        stamp = (reply.receive + 1) & ntp64.STAMP_MASK
    if last and 0 <= _signed(last - stamp) < UNIQUE_WITHIN_UNITS:
        stamp = (last + 1) & ntp64.STAMP_MASK
    return stamp or 1


def stamp_at(page: ClockPage, raw_ns: int, *, in_tai: bool = False) -> int:
    """Return the NTP stamp that the page's line gives at `raw_ns`: of UTC, or, as version 5 can ask, of TAI."""
    tai_fs = tai_fs_at(page, raw_ns)
    return ntp64.from_tai_fs(tai_fs, 0 if in_tai else tai_minus_ntp_at(page, tai_fs))


def _signed(difference: int) -> int:
    """Return a difference of stamps as a signed number modulo 2^64: right across an era's end (RFC 5905 6)."""
    difference &= ntp64.STAMP_MASK
    return difference - (1 << 64) if difference >> 63 else difference
