"""The NTP client core: a request that says nothing about us, and the checks on what comes back.

It opens no socket, reads no clock and draws no random number: the nonce comes in, receive times stay with the caller.
Source: RFC 5905 (clauses beside the lines), RFC 9109, and the data-minimisation practice of the NTP working group:
every field zero but the version, the mode and a transmit stamp that is a random nonce, so that the reply's origin
proves the reply and betrays no clock.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from truechimer.errors import Misuse
from truechimer.instants import ntp64
from truechimer.serve.ntp.mac import KEY_ID_OCTETS, SymmetricKey
from truechimer.serve.ntp.packet import (
    MAX_DISPERSION_S,
    MAX_STRATUM,
    Mode,
    NtpHeader,
    NtpLeap,
    TailKind,
    decode,
    tail_of,
)

REQUEST_VERSION = 4


class NtpRequestMisuse(Misuse):
    """A request that could not be told from others: the nonce was `nonce`."""

    def __init__(self, nonce: int) -> None:
        super().__init__(f"an NTP request needs a nonce of 64 random bits, not 0 and not negative: {nonce!r}")
        self.nonce = nonce


class WhyRejected(StrEnum):
    """Why a datagram is no reply to our request: drop it and go on waiting, a forger must not end the exchange."""

    SHORT = "short"
    VERSION = "version"
    MODE = "mode"
    ORIGIN = "origin"  # not our nonce: RFC 5905 8 (bogus), whatever else it says
    CODE = "code"  # not sealed with our key, a crypto-NAK among them: RFC 8573 3; a kiss too must be sealed
    ZERO_STAMP = "zero-stamp"  # receive or transmit not known, in a reply that claims to be synchronised


class AnswerDoubt(StrEnum):
    """Why a genuine reply must not be used as time."""

    UNSYNCHRONISED = "unsynchronised"  # LI 3, stratum 0 or 16 and above: RFC 5905 A.5.1.1
    KISS = "kiss"  # stratum 0 with a code: RFC 5905 7.4
    ROOT_DISTANCE = "root-distance"  # rootdelay/2 + rootdisp >= MAXDISP: RFC 5905 A.5.1.1
    REFERENCE_AFTER_TRANSMIT = "reference-after-transmit"  # RFC 5905 A.5.1.1
    TRANSMIT_BEFORE_RECEIVE = "transmit-before-receive"


@dataclass(frozen=True, slots=True)
class ReplyRejected:
    """Not a reply to this request, because of `reason`."""

    reason: WhyRejected


@dataclass(frozen=True, slots=True, kw_only=True)
class NtpAnswer:
    """A genuine reply. Stamps are raw 64-bit NTP (2^-32 s, era not known), `poll_log2` and `precision_log2` log2 of
    seconds.

    `doubt` is None where the server claims to be synchronised and nothing on the packet contradicts it. `kiss` is the
    kiss code's text where stratum is 0 (RFC 5905 7.4): DENY and RSTR mean stop, RATE means ask less often.
    """

    leap: NtpLeap
    version: int
    stratum: int
    poll_log2: int
    precision_log2: int
    root_delay_s: float
    root_dispersion_s: float
    refid: bytes
    reference: int
    receive: int
    transmit: int
    doubt: AnswerDoubt | None
    kiss: str | None


def make_request(nonce: int, *, key: SymmetricKey | None = None) -> bytes:
    """Return the 48 octets of a request whose transmit stamp is `nonce` (1 to 2^64 - 1, fresh and unpredictable for
    each request), sealed where there is a key.
    """
    if not 0 < nonce <= ntp64.STAMP_MASK:
        raise NtpRequestMisuse(nonce)
    octets = NtpHeader(version=REQUEST_VERSION, mode=Mode.CLIENT, transmit=nonce).encode()
    return octets if key is None else octets + key.seal(octets)


def read_reply(datagram: bytes, nonce: int, *, key: SymmetricKey | None = None) -> NtpAnswer | ReplyRejected:
    """Judge one datagram against the request that carried `nonce`. Never raises, whatever the octets.

    Without a key, extension fields and MACs after the header are passed over: they were not asked for and prove nothing
    here. With one, what its code does not cover or does not fit is no reply: not even a kiss.
    """
    header = decode(datagram)
    if header is None:
        return ReplyRejected(WhyRejected.SHORT)
    if header.origin != nonce:  # first of all: RFC 5905 8, packet is bogus unless org equals our xmt
        return ReplyRejected(WhyRejected.ORIGIN)
    if not 1 <= header.version <= REQUEST_VERSION:  # a server copies ours; old ones say 3: RFC 5905 A.5.1
        return ReplyRejected(WhyRejected.VERSION)
    if header.mode != Mode.SERVER:  # RFC 5905 9.2
        return ReplyRejected(WhyRejected.MODE)
    if key is not None and not _is_sealed(datagram, header.version, key):
        return ReplyRejected(WhyRejected.CODE)
    doubt = _doubt(header)
    if (header.receive == 0 or header.transmit == 0) and doubt not in {AnswerDoubt.KISS, AnswerDoubt.UNSYNCHRONISED}:
        return ReplyRejected(WhyRejected.ZERO_STAMP)  # RFC 5905 6: zero is "not known"
    return NtpAnswer(
        leap=NtpLeap(header.leap),
        version=header.version,
        stratum=header.stratum,
        poll_log2=header.poll,
        precision_log2=header.precision,
        root_delay_s=ntp64.short_to_seconds(header.root_delay),
        root_dispersion_s=ntp64.short_to_seconds(header.root_dispersion),
        refid=header.refid,
        reference=header.reference,
        receive=header.receive,
        transmit=header.transmit,
        doubt=doubt,
        kiss=kiss_text(header.refid) if header.stratum == 0 else None,
    )


def _is_sealed(datagram: bytes, version: int, key: SymmetricKey) -> bool:
    """Return whether a datagram ends in the key's id and its code over all before it: RFC 5905 7.3, RFC 8573 3."""
    kind, octets = tail_of(datagram, version=version)
    end = len(datagram) - octets
    if kind is not TailKind.MAC or octets <= KEY_ID_OCTETS:
        return False
    key_id, code = datagram[end : end + KEY_ID_OCTETS], datagram[end + KEY_ID_OCTETS :]
    return int.from_bytes(key_id, "big") == key.key_id and key.verifies(datagram[:end], code)


def kiss_text(refid: bytes) -> str:
    """Return a kiss code as text: its printable octets (RFC 9748: upper-case letters and digits, zero-padded on the
    right).
    """
    return "".join(chr(octet) for octet in refid.rstrip(b"\0") if 0x21 <= octet <= 0x7E)


def refid_text(refid: bytes, *, stratum: int) -> str:
    """Return a reference id for people: four characters at stratum 0 and 1, an IPv4 address (or hash) above: RFC 5905
    7.3.
    """
    text = kiss_text(refid) if stratum <= 1 else ""
    if text or refid == bytes(4):
        return text
    return ".".join(str(octet) for octet in refid)


def refid_of(address: bytes) -> bytes:
    """Return the reference id of a server above stratum 1 that follows the one at an address of 4 or 16 octets: RFC
    5905 7.3. An IPv4 address mapped into IPv6 is the IPv4 address.
    """
    if len(address) == 16 and address[:12] == _MAPPED:
        address = address[12:]
    return address if len(address) == 4 else hashlib.md5(address, usedforsecurity=False).digest()[:4]


_MAPPED = bytes(10) + b"\xff\xff"


def is_loop(refid: bytes, *, stratum: int, own: Collection[bytes]) -> bool:
    """Return whether a server follows us, by the reference ids of our own addresses: RFC 5905 A.5.5.3 (fit). At stratum
    1 a reference id is no address.
    """
    return stratum > 1 and refid in own


def _doubt(header: NtpHeader) -> AnswerDoubt | None:
    """Return the first reason against using the packet as time."""
    if header.stratum == 0 and header.refid != bytes(4):  # kiss-o'-death: RFC 5905 7.4
        return AnswerDoubt.KISS
    if header.stratum == 0:  # "unspecified or invalid", RFC 5905 figure 11: what 16 is on the wire
        return AnswerDoubt.UNSYNCHRONISED
    if header.leap == NtpLeap.UNSYNCHRONISED or header.stratum >= MAX_STRATUM:
        return AnswerDoubt.UNSYNCHRONISED
    distance_s = ntp64.short_to_seconds(header.root_delay) / 2 + ntp64.short_to_seconds(header.root_dispersion)
    if distance_s >= MAX_DISPERSION_S:
        return AnswerDoubt.ROOT_DISTANCE
    if header.reference and _after(header.reference, header.transmit):
        return AnswerDoubt.REFERENCE_AFTER_TRANSMIT
    if _after(header.receive, header.transmit):
        return AnswerDoubt.TRANSMIT_BEFORE_RECEIVE
    return None


def _after(one: int, other: int) -> bool:
    """Return True where stamp `one` is after `other`, modulo 2^64 as eras demand (RFC 5905 6)."""
    return 0 < (one - other) & ntp64.STAMP_MASK < 1 << 63
