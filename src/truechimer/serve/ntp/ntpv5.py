"""Version 5 of NTP, as draft-ietf-ntp-ntpv5-09 has it: one datagram in, one reply or one counted refusal out.

It opens no socket and reads no clock. It is spoken only by a door that says so (`ntpv5 = true`), and only to clients
that name this very draft: another text may mean other octets. Source: the draft (section titles beside the lines).

Law of the file: an answer is exactly as long as its request (Server operation: no shorter, so that delays are equal
both ways, and no longer, so that nothing is amplified).
"""

import hashlib
import math
import struct
from typing import NamedTuple

from truechimer.instants import FS_PER_S, ntp64
from truechimer.serve.clock_page import ClockPage
from truechimer.serve.ntp.mac import KEY_ID_OCTETS, SymmetricKey
from truechimer.serve.ntp.packet import HEADER_OCTETS, MAX_DISPERSION_S, MOST_FIELDS, Mode, NtpLeap
from truechimer.serve.ntp.reply import (
    MAC_FIELD,
    Ignore,
    IgnoreReason,
    Offers,
    Reply,
    ReplyKind,
    stamp_at,
)
from truechimer.serve.rx_stamp import RxStamp
from truechimer.serve.served_time import ServedTime, Unsynchronised, WhyUnsynchronised, tai_fs_at, tai_minus_ntp_at

VERSION = 5
DRAFT = b"draft-ietf-ntp-ntpv5-09"
OFFER = b"NTP5DRFT"
"""Reference stamp by which a version 4 client asks whether version 5 is spoken, and a server says that it is."""

SIMULATED_ANCHOR_DOUBT_S = 1.0
"""Added to the root dispersion of a simulated laboratory: its anchor is a label read once from a wall clock
(`house.md` 4.6).
"""

# Message Format
UTC, TAI = 0, 1
SYNCHRONISED, INTERLEAVED, NOT_AUTHENTICATED = 1, 2, 4
NEVER_AGAIN = 127
LEAP_AHEAD_S = 14 * 86_400
_HEAD = struct.Struct(">BBbbIIBBHQ8sQ")
"""LI/VN/mode, stratum, poll, precision, root delay, root dispersion, timescale, era, flags, server cookie, client
cookie, receive.
"""
_TIME32_PER_S = 1 << 28
_TIME32_MAX = 2**32 - 1

# Extension Fields
_FIELD = struct.Struct(">HH")
PADDING, REFERENCE_IDS_REQUEST, REFERENCE_IDS, SERVER_INFORMATION = 0xF501, 0xF503, 0xF504, 0xF505
DRAFT_IDENTIFICATION = 0xF5FF
SERVER_INFORMATION_OCTETS = 8
FILTER_OCTETS = 512
REFERENCE_ID_OCTETS = 15
VERSIONS_BITS = 0b11111
"""Versions 1 to 5, the least significant bit for version 1."""


def dispersion_s(served: ServedTime, rx: RxStamp) -> float:
    """Return the root dispersion (s) of an answer: the page's bound at this moment and the terms of the door."""
    return served.bound_s + rx.limit_s + (SIMULATED_ANCHOR_DOUBT_S if served.simulated else 0.0)


class Field(NamedTuple):
    """One extension field: `octets` as it says, without what pads the message; `start` is the octet of its type."""

    field_type: int
    start: int
    octets: int

    @property
    def room(self) -> int:
        """Octets that it takes in the message."""
        return -(-self.octets // 4) * 4


def fields_of(datagram: bytes) -> list[Field] | None:
    """Return the extension fields of a message, or None where it is malformed: each has 4 octets or more and stands on
    a multiple of 4, and the last one ends the message (Extension Fields).
    """
    if len(datagram) % 4:
        return None
    found: list[Field] = []
    start = HEADER_OCTETS
    while start < len(datagram):
        field_type, octets = _FIELD.unpack_from(datagram, start)
        room = -(-octets // 4) * 4
        if octets < _FIELD.size or start + room > len(datagram) or len(found) == MOST_FIELDS:
            return None
        found.append(Field(field_type, start, octets))
        start += room
    return found


def respond(
    datagram: bytes,
    *,
    rx: RxStamp,
    served: ServedTime | Unsynchronised,
    precision_log2: int,
    offers: Offers,
    is_denied: bool | None = None,
) -> Reply | Ignore:
    """Answer a datagram of version 5 in mode 3 with 48 octets or more, or say why not. Never raises.

    `is_denied`: None for time; else a kiss in its place: True for a client that is never to ask again (poll 127), False
    for one that asks too often.
    """
    if DRAFT not in datagram:  # before anything is taken apart
        return _DRAFT_UNKNOWN
    fields = fields_of(datagram)
    if fields is None:
        return _MALFORMED
    # A server of a draft answers that draft alone, told by its full name (Draft Identification).
    if not any(field.field_type == DRAFT_IDENTIFICATION and _data(datagram, field) == DRAFT for field in fields):
        return _DRAFT_UNKNOWN
    key: SymmetricKey | None = None
    is_authentic = True
    last = fields[-1]
    if any(field.field_type == MAC_FIELD for field in fields):
        if not offers.keys:
            return _MAC_UNSUPPORTED
        key = _verified(datagram, last, offers)
        is_authentic = key is not None  # "respond with a message that has the Authentication NAK flag set"
        fields = [field for field in fields if field.field_type != MAC_FIELD]
    room = len(datagram) - HEADER_OCTETS - (last.room if key is not None else 0)
    page = served.page if isinstance(served, ServedTime) or served.instant is not None else None
    tail = _tail(datagram, fields, room=room, offers=offers, page=page)
    if not is_authentic:
        head = _refusal(datagram, flags=NOT_AUTHENTICATED, poll=offers.poll_log2)
        return Reply(ReplyKind.NAK_BAD_MAC, head, 0, None, tail=tail)
    if is_denied is not None:
        kind = ReplyKind.KISS_DENY if is_denied else ReplyKind.KISS_RATE
        head = _refusal(datagram, flags=0, poll=NEVER_AGAIN if is_denied else offers.poll_log2)
        return Reply(kind, head, 0, None, tail=tail, key=key, key_as_field=True)
    wide = isinstance(served, ServedTime) and not _fits(served, rx)
    if isinstance(served, Unsynchronised) or wide:
        because = WhyUnsynchronised.BOUND_TOO_WIDE if isinstance(served, ServedTime) else served.reason
        head = _refusal(datagram, flags=0, poll=offers.poll_log2)
        return Reply(ReplyKind.UNSYNCHRONISED, head, 0, None, because, tail=tail, key=key, key_as_field=True)
    return _synchronised(
        datagram, rx=rx, served=served, precision_log2=precision_log2, offers=offers, tail=tail, key=key
    )


def _synchronised(
    datagram: bytes,
    *,
    rx: RxStamp,
    served: ServedTime,
    precision_log2: int,
    offers: Offers,
    tail: bytes,
    key: SymmetricKey | None,
) -> Reply:
    """Build a synchronised answer in the timescale that was asked for, UTC where we do not have it (Timescale)."""
    page = served.page
    in_tai = datagram[12] == TAI
    receive_utc = stamp_at(page, rx.raw_ns) or 1
    flags, earlier, remember, cookie = SYNCHRONISED, None, None, 0
    tai_fs = tai_fs_at(page, rx.raw_ns)
    ahead_s = tai_minus_ntp_at(page, tai_fs) if in_tai else 0
    if offers.saved is not None and int.from_bytes(datagram[14:16], "big") & INTERLEAVED:
        receive_utc = remember = cookie = offers.saved.unique(receive_utc)
        earlier = offers.saved.take(int.from_bytes(datagram[16:24], "big"))
        if earlier is not None:
            flags |= INTERLEAVED
            earlier = (earlier + (ahead_s << 32)) & ntp64.STAMP_MASK
    receive = (receive_utc + (ahead_s << 32)) & ntp64.STAMP_MASK or 1
    era = (tai_fs // FS_PER_S - tai_minus_ntp_at(page, tai_fs) + ahead_s + ntp64.S_1900_TO_1970) >> 32
    head = _HEAD.pack(
        (_leap(page, tai_fs) << 6) | (VERSION << 3) | Mode.SERVER,
        page.stratum,
        offers.poll_log2,
        precision_log2,
        _time32_up(page.root_delay_s),
        _time32_up(dispersion_s(served, rx)),
        TAI if in_tai else UTC,
        era & 0xFF,
        flags,
        cookie,
        datagram[24:32],
        receive,
    )
    return Reply(
        ReplyKind.SYNCHRONISED,
        head,
        receive,
        page,
        tail=tail,
        key=key,
        key_as_field=True,
        in_tai=in_tai,
        earlier=earlier,
        remember=remember,
    )


def _leap(page: ClockPage, tai_fs: int) -> NtpLeap:
    """Return the leap indicator of version 5, which looks 14 days ahead (Message Format), not one."""
    if page.next_leap_tai_s is None or page.next_tai_minus_utc_s is None:
        return NtpLeap.NONE
    if not 0 < page.next_leap_tai_s * FS_PER_S - tai_fs <= LEAP_AHEAD_S * FS_PER_S:
        return NtpLeap.NONE
    return NtpLeap.INSERT if page.next_tai_minus_utc_s > page.tai_minus_utc_s else NtpLeap.DELETE


def _fits(served: ServedTime, rx: RxStamp) -> bool:
    """Return whether the bound can be said in time32 and is below MAXDISP."""
    root_delay_s = served.page.root_delay_s
    total_s = dispersion_s(served, rx) + root_delay_s / 2
    return total_s < MAX_DISPERSION_S and _time32_up(root_delay_s) < _TIME32_MAX


def _refusal(datagram: bytes, *, flags: int, poll: int) -> bytes:
    """Build the head of an answer without time: LI 3, stratum 0, the largest dispersion, no stamps."""
    return _HEAD.pack(
        (NtpLeap.UNSYNCHRONISED << 6) | (VERSION << 3) | Mode.SERVER,
        0,
        poll,
        0,
        0,
        _TIME32_MAX,
        UTC,
        0,
        flags,
        0,
        datagram[24:32],
        0,
    )


def _tail(datagram: bytes, fields: list[Field], *, room: int, offers: Offers, page: ClockPage | None) -> bytes:
    """Build the extension fields of an answer: those that were asked for and are known, and padding to `room` octets.

    Each takes the room that it had in the request, so all fit. Fields that we do not know are left out (Extension
    Fields: the server MUST ignore them, and padding MUST stand for them).
    """
    made: list[bytes] = []
    is_named = False
    for field in fields:
        if field.field_type == DRAFT_IDENTIFICATION and not is_named and _data(datagram, field) == DRAFT:
            is_named = True
            made.append(_field(DRAFT_IDENTIFICATION, DRAFT))
        elif field.field_type == SERVER_INFORMATION and field.octets == SERVER_INFORMATION_OCTETS:
            made.append(_field(SERVER_INFORMATION, struct.pack(">HH", VERSIONS_BITS, 0)))
        elif field.field_type == REFERENCE_IDS_REQUEST and field.octets >= _FIELD.size + 2:
            (offset,) = struct.unpack_from(">H", datagram, field.start + _FIELD.size)
            wanted = field.octets - _FIELD.size
            if offset + wanted <= FILTER_OCTETS:
                made.append(_field(REFERENCE_IDS, reference_filter(offers, page)[offset : offset + wanted]))
    missing = room - sum(len(one) for one in made)
    if missing:
        made.append(_field(PADDING, bytes(missing - _FIELD.size)))
    return b"".join(made)


def reference_filter(offers: Offers, page: ClockPage | None) -> bytes:
    """Return the Bloom filter of this server's own reference id and of its reference's: 4096 bits (Reference IDs).

    The reference is known by its refid: 4 octets of letters, or its IPv4 address; either way its id is the first 120
    bits of the MD5 sum of those octets.
    """
    bits = bytearray(FILTER_OCTETS)
    known = [offers.reference_id]
    if page is not None:
        known.append(hashlib.md5(page.refid, usedforsecurity=False).digest()[:REFERENCE_ID_OCTETS])
    for one in known:
        number = int.from_bytes(one, "big")
        for k in range(10):
            place = (number >> (12 * (9 - k))) & 0xFFF
            bits[place // 8] |= 1 << place % 8  # the draft does not say which bit is first; deployed programs do so
    return bytes(bits)


def _verified(datagram: bytes, field: Field, offers: Offers) -> SymmetricKey | None:
    """Return the key that sealed a message in its last field, None where none did (Message Authentication Code)."""
    if field.field_type != MAC_FIELD or field.octets < _FIELD.size + KEY_ID_OCTETS:
        return None
    data = _data(datagram, field)
    key = offers.keys.get(int.from_bytes(data[:KEY_ID_OCTETS], "big"))
    if key is None or not key.verifies(datagram[: field.start], data[KEY_ID_OCTETS:]):
        return None
    return key


def _data(datagram: bytes, field: Field) -> bytes:
    """Return what a field carries."""
    return datagram[field.start + _FIELD.size : field.start + field.octets]


def _field(field_type: int, data: bytes) -> bytes:
    """Return a field with its padding."""
    return _FIELD.pack(field_type, _FIELD.size + len(data)) + data + bytes(-len(data) % 4)


def _time32_up(seconds: float) -> int:
    """Return seconds as time32 (4.28 bits), rounded up and never more than the type holds."""
    return min(math.ceil(seconds * _TIME32_PER_S), _TIME32_MAX)


_MALFORMED = Ignore(IgnoreReason.EXTENSION_MALFORMED)
_DRAFT_UNKNOWN = Ignore(IgnoreReason.DRAFT_UNKNOWN)
_MAC_UNSUPPORTED = Ignore(IgnoreReason.MAC_UNSUPPORTED)
