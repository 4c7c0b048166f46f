"""The NTP packet: 48 octets of header and what may follow, between octets and fields.

It decides nothing about a packet's worth: `server` and `client` do. Source: RFC 5905 7.3 (header), 7.4 (kiss codes),
7.5 as replaced by RFC 7822 (extension fields), RFC 8573 (AES-CMAC).
"""

import struct
from dataclasses import dataclass
from enum import IntEnum, StrEnum

HEADER_OCTETS = 48  # RFC 5905 figure 8, up to and with the transmit timestamp
TRANSMIT_OFFSET = 40  # octets before the transmit timestamp

MAX_STRATUM = 16  # MAXSTRAT, RFC 5905 figure 5: unsynchronised; on the wire it is written 0 (7.3)
MAX_DISPERSION_S = 16.0  # MAXDISP, RFC 5905 figure 5
FREQUENCY_TOLERANCE = 15e-6  # PHI, RFC 5905 figure 5, s/s

HEADER = struct.Struct(">BBbbII4sQQQQ")
"""LI/VN/mode, stratum, poll, precision, root delay, root dispersion, refid, reference, origin, receive, transmit: RFC
5905 figure 8.
"""

_FIELD = struct.Struct(">HH")  # RFC 7822 figure 1: field type, length of the whole field

LEAST_FIELD_OCTETS = 16  # RFC 7822 7.5
LEAST_LAST_FIELD_OCTETS = 28  # RFC 7822 7.5.1.4: the last field of a packet without a MAC
MOST_FIELDS = 16
"""No client needs more (an NTS request with all its placeholders has 11): a longer list is a way to cost time."""
MAC_OCTETS_V4 = frozenset({4, 20, 24})
"""What may stand at the end as a MAC: crypto-NAK (RFC 5905 9.2), key id with MD5 or AES-CMAC (RFC 8573), key id
with SHA-1.
"""
MAC_OCTETS_BEFORE_V4 = frozenset({4, 12, 20, 24})
"""Versions 1 to 3 have no extension fields; 12 is the DES authenticator of RFC 1305 appendix C."""


class Mode(IntEnum):
    """Association modes: RFC 5905 figure 10."""

    RESERVED = 0
    SYMMETRIC_ACTIVE = 1
    SYMMETRIC_PASSIVE = 2
    CLIENT = 3
    SERVER = 4
    BROADCAST = 5
    CONTROL = 6
    PRIVATE = 7


class NtpLeap(IntEnum):
    """The leap indicator: RFC 5905 figure 9."""

    NONE = 0
    INSERT = 1
    DELETE = 2
    UNSYNCHRONISED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class NtpHeader:
    """The header's fields as they stand on the wire: stamps in 2^-32 s, root delay and dispersion in 2^-16 s, poll
    and precision log2 s.
    """

    leap: int = 0
    version: int = 4
    mode: int = Mode.CLIENT
    stratum: int = 0
    poll: int = 0
    precision: int = 0
    root_delay: int = 0
    root_dispersion: int = 0
    refid: bytes = bytes(4)
    reference: int = 0
    origin: int = 0
    receive: int = 0
    transmit: int = 0

    def encode(self) -> bytes:
        """Return the 48 octets."""
        return HEADER.pack(
            (self.leap << 6) | (self.version << 3) | self.mode,
            self.stratum,
            self.poll,
            self.precision,
            self.root_delay,
            self.root_dispersion,
            self.refid,
            self.reference,
            self.origin,
            self.receive,
            self.transmit,
        )


def decode(datagram: bytes) -> NtpHeader | None:
    """Return the header of a datagram, or None where it is shorter than one. Every value of 48 octets decodes."""
    if len(datagram) < HEADER_OCTETS:
        return None
    first, stratum, poll, precision, delay, dispersion, refid, *stamps = HEADER.unpack_from(datagram)
    return NtpHeader(
        leap=first >> 6,
        version=(first >> 3) & 7,
        mode=first & 7,
        stratum=stratum,
        poll=poll,
        precision=precision,
        root_delay=delay,
        root_dispersion=dispersion,
        refid=refid,
        reference=stamps[0],
        origin=stamps[1],
        receive=stamps[2],
        transmit=stamps[3],
    )


class TailKind(StrEnum):
    """What follows the header."""

    BARE = "bare"
    FIELDS = "fields"  # well-formed extension fields and nothing else
    MAC = "mac"  # a message authentication code ends the packet, with or without fields before it
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class ExtensionField:
    """One extension field: `start` is the octet of its type, `octets` its whole length."""

    field_type: int
    start: int
    octets: int


@dataclass(frozen=True, slots=True)
class Tail:
    """The walk's result: the fields in order (up to a fault), and `mac_octets` at the end."""

    kind: TailKind
    fields: tuple[ExtensionField, ...] = ()
    mac_octets: int = 0


BARE_TAIL = Tail(TailKind.BARE)


def tail_of(datagram: bytes, *, version: int) -> tuple[TailKind, int]:
    """Return what follows the header and how long its MAC is, as `walk_tail` does, but none of the fields: for who only
    passes them over. A list of fields costs no more than its `MOST_FIELDS`.
    """
    rest = len(datagram) - HEADER_OCTETS
    if rest == 0:
        return TailKind.BARE, 0
    if version < 4:
        return (TailKind.MAC, rest) if rest in MAC_OCTETS_BEFORE_V4 else (TailKind.MALFORMED, 0)
    start, end = HEADER_OCTETS, len(datagram)
    for _ in range(MOST_FIELDS):
        if rest in MAC_OCTETS_V4:
            return TailKind.MAC, rest
        if rest < LEAST_LAST_FIELD_OCTETS:
            return TailKind.MALFORMED, 0
        octets = datagram[start + 2] << 8 | datagram[start + 3]
        if octets < LEAST_FIELD_OCTETS or octets & 3 or octets > rest:
            return TailKind.MALFORMED, 0
        start += octets
        rest = end - start
        if rest == 0:
            return TailKind.FIELDS, 0
    return (TailKind.MAC, rest) if rest in MAC_OCTETS_V4 else (TailKind.MALFORMED, 0)


def walk_tail(datagram: bytes, *, version: int) -> Tail:
    """Walk what follows the header, looking at lengths alone: RFC 7822 7.5.1.

    At every step the rest is nothing, a MAC (by its length: RFC 7822 keeps a last field at 28 octets or more so that
    the two cannot be confused), or a field of at least 16 octets, a multiple of 4, that fits. Anything else is
    malformed, and so is what has more than `MOST_FIELDS` fields.
    """
    total = len(datagram)
    if total == HEADER_OCTETS:
        return BARE_TAIL
    if version < 4:
        rest = total - HEADER_OCTETS
        known = rest in MAC_OCTETS_BEFORE_V4
        return Tail(TailKind.MAC, mac_octets=rest) if known else Tail(TailKind.MALFORMED)
    fields: list[ExtensionField] = []
    start = HEADER_OCTETS
    while rest := total - start:
        if rest in MAC_OCTETS_V4:
            return Tail(TailKind.MAC, tuple(fields), rest)
        if rest < LEAST_LAST_FIELD_OCTETS:
            return Tail(TailKind.MALFORMED, tuple(fields))
        field_type, octets = _FIELD.unpack_from(datagram, start)
        if octets < LEAST_FIELD_OCTETS or octets % 4 or octets > rest:
            return Tail(TailKind.MALFORMED, tuple(fields))
        if len(fields) == MOST_FIELDS:
            return Tail(TailKind.MALFORMED, tuple(fields))
        fields.append(ExtensionField(field_type, start, octets))
        start += octets
    return Tail(TailKind.FIELDS, tuple(fields))
