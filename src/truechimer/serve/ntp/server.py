"""The NTP server core: one datagram in, one reply or one counted refusal out.

It opens no socket and reads no clock; the caller reads the transmit stamp just before sending, and counts how often a
source asks (`rate_table`) and who may (`access_list`). Source: RFC 5905 (clauses beside the lines), RFC 7822, RFC 8573,
RFC 8633, RFC 9769. Shape (1) of `house.md` section 3.

Law of the file: no answer is longer than its request, so nothing is amplified; only mode 3 is answered, so two servers
cannot be set upon each other; every refusal has a name of its own to be counted by.
"""

import struct

from truechimer.instants import ntp64
from truechimer.serve.ntp import ntpv5
from truechimer.serve.ntp.mac import KEY_ID_OCTETS, SymmetricKey
from truechimer.serve.ntp.packet import (
    HEADER_OCTETS,
    MAX_DISPERSION_S,
    TRANSMIT_OFFSET,
    Mode,
    NtpLeap,
    TailKind,
    tail_of,
)
from truechimer.serve.ntp.reply import (
    CRYPTO_NAK,
    KISS_KINDS,
    PLAIN,
    Client,
    Ignore,
    IgnoreReason,
    Kiss,
    Offers,
    Reply,
    ReplyKind,
    stamp_at,
    transmit_stamp,
)
from truechimer.serve.rx_stamp import RxStamp
from truechimer.serve.served_time import (
    ServedTime,
    Unsynchronised,
    WhyUnsynchronised,
    tai_fs_at,
    tai_minus_ntp_at,
)

__all__ = [
    "SIMULATED_ANCHOR_DOUBT_S",
    "VERSIONS_ANSWERED",
    "Client",
    "Ignore",
    "IgnoreReason",
    "Reply",
    "ReplyKind",
    "glance",
    "respond",
    "stamp_at",
    "transmit_stamp",
]

SIMULATED_ANCHOR_DOUBT_S = ntpv5.SIMULATED_ANCHOR_DOUBT_S

VERSIONS_ANSWERED = range(1, 5)
"""1 to 4, all with the same 48 octets; 0 never existed on the wire with modes, 5 has another header (RFC 5905 A.5.1:
ignore newer) and is `ntpv5`'s, where a door offers it.
"""

POLL_RANGE = (-6, 17)  # MAXPOLL 17 (RFC 5905 figure 5); below MINPOLL 4 is in use down to 2^-6 s

REFID_NEVER_YET = b"INIT"
"""Kiss code for a server that has not been synchronised yet: RFC 5905 figure 13. Stratum 0 with it has no protocol
significance (7.4 d).
"""
REFID_UNKNOWN = bytes(4)

# RFC 5905 figure 8 up to the receive timestamp; reference and origin as octets, so that they are copied bit for bit
_HEAD = struct.Struct(">BBbbII4s8s8sQ")
_NOT_YET = frozenset({WhyUnsynchronised.NO_PAGE, WhyUnsynchronised.FREERUN, WhyUnsynchronised.ACQUIRING})
_ZERO_STAMP = bytes(8)

MAX_DISPERSION_SHORT = ntp64.short_from_seconds_up(MAX_DISPERSION_S)


def glance(datagram: bytes, client: Client, *, offers: Offers = PLAIN) -> Ignore | None:
    """Return why the first octets alone forbid an answer, None where they do not: the cheapest checks, before anybody
    is counted for having asked.
    """
    if len(datagram) < HEADER_OCTETS:
        return _SHORT
    first = datagram[0]
    version, mode = (first >> 3) & 7, first & 7
    if version not in VERSIONS_ANSWERED and not (version == ntpv5.VERSION and offers.ntpv5):
        return _VERSION
    if (
        mode != Mode.CLIENT
    ):  # RFC 5905 9.2 table of modes; mode 0 of version 1 (RFC 1059) is not answered either: client mode only
        return _MODE_CONTROL if mode in {Mode.CONTROL, Mode.PRIVATE} else _MODE_NOT_CLIENT
    return _SOURCE_PORT_ZERO if client.port == 0 else None


def respond(
    datagram: bytes,
    client: Client,
    *,
    rx: RxStamp,
    served: ServedTime | Unsynchronised,
    precision_log2: int,
    offers: Offers = PLAIN,
    kiss: Kiss | None = None,
) -> Reply | Ignore:
    """Answer one datagram, or say why not. Never raises, whatever the octets.

    `rx` is when it came, `served` the time at the moment of answering (not before `rx`), `precision_log2` the log2 of
    the seconds that one reading of the clock takes (RFC 5905 7.3). `kiss`: this code, and no time.
    """
    refused = glance(datagram, client, offers=offers)
    if refused is not None:
        return refused
    version = (datagram[0] >> 3) & 7
    if version == ntpv5.VERSION:
        return ntpv5.respond(
            datagram, rx=rx, served=served, precision_log2=precision_log2, offers=offers, is_denied=_denied(kiss)
        )
    key: SymmetricKey | None = None
    nak: ReplyKind | None = None
    if len(datagram) > HEADER_OCTETS:
        # Well-formed fields that we do not know are passed over: RFC 7822 7.5.1.1 SHOULD. The answer carries none, so
        # it is no longer than the request.
        kind, mac_octets = tail_of(datagram, version=version)
        if kind is TailKind.MALFORMED:
            return _EXTENSION_MALFORMED
        if kind is TailKind.MAC:
            # A MAC asks for an authenticated answer. A door without keys says nothing: a crypto-NAK is as easily forged
            # as any plain answer and tells a client nothing that silence does not.
            if not offers.keys:
                return _MAC_UNSUPPORTED
            if mac_octets == KEY_ID_OCTETS:
                return _CRYPTO_NAK
            key, nak = _verified(datagram, mac_octets, offers)
    poll_signed = int.from_bytes(datagram[2:3], "big", signed=True)
    poll = min(
        max(poll_signed, POLL_RANGE[0]), POLL_RANGE[1]
    )  # copied: RFC 5905 A.5.3; an absurd value is not repeated
    origin = datagram[TRANSMIT_OFFSET:HEADER_OCTETS]  # the client's transmit stamp, bit for bit: RFC 5905 8, A.5.3
    if nak is not None:
        return _without_time(nak, version, poll=poll, origin=origin, rx=rx, served=served, refid=REFID_UNKNOWN)
    if kiss is not None:
        poll = min(max(poll, offers.poll_log2), POLL_RANGE[1])  # how often would be right: RFC 5905 7.4
        refid = kiss.value.encode("ascii")
        return _without_time(
            KISS_KINDS[kiss], version, poll=poll, origin=origin, rx=rx, served=served, refid=refid, key=key
        )
    if isinstance(served, ServedTime):
        synchronised = _synchronised(
            datagram, poll=poll, rx=rx, served=served, precision_log2=precision_log2, offers=offers, key=key
        )
        if synchronised is not None:
            return synchronised
        served = Unsynchronised(WhyUnsynchronised.BOUND_TOO_WIDE, served.instant, served.bound_s, page=served.page)
    return _unsynchronised(
        version,
        poll=poll,
        origin=origin,
        rx=rx,
        served=served,
        precision_log2=precision_log2,
        reference=_v5_offer(datagram, offers),
        key=key,
    )


def _denied(kiss: Kiss | None) -> bool | None:
    """Return what version 5 must know of a kiss: None for none, True where the client is never to ask again."""
    return None if kiss is None else kiss is Kiss.DENY


def _verified(datagram: bytes, mac_octets: int, offers: Offers) -> tuple[SymmetricKey | None, ReplyKind | None]:
    """Return the key whose holder made a datagram's code, or which crypto-NAK it gets: RFC 5905 A.5.1 (fast_xmit),
    RFC 8573 section 3. A key of another kind, or another length of code, is not that key.
    """
    end = len(datagram) - mac_octets
    key = offers.keys.get(int.from_bytes(datagram[end : end + KEY_ID_OCTETS], "big"))
    if key is None:
        return None, ReplyKind.NAK_UNKNOWN_KEY
    if not key.verifies(datagram[:end], datagram[end + KEY_ID_OCTETS :]):
        return None, ReplyKind.NAK_BAD_MAC
    return key, None


def _v5_offer(datagram: bytes, offers: Offers) -> bytes:
    """Return the reference stamp that offers version 5 to a client of any version before it that asked for it in its
    own (draft-09, NTPv5 Negotiation in Previous NTP Versions), or no stamp.
    """
    asked = datagram[16:24]
    return asked if offers.ntpv5 and asked == ntpv5.OFFER else _ZERO_STAMP


def _synchronised(
    datagram: bytes,
    *,
    poll: int,
    rx: RxStamp,
    served: ServedTime,
    precision_log2: int,
    offers: Offers,
    key: SymmetricKey | None,
) -> Reply | None:
    """Build a synchronised answer; None where its bound does not fit the field or passes MAXDISP (RFC 5905 A.5.1.1
    refuses those).
    """
    page = served.page
    dispersion_s = ntpv5.dispersion_s(served, rx)
    if not dispersion_s + page.root_delay_s / 2 < MAX_DISPERSION_S:
        return None
    receive = stamp_at(page, rx.raw_ns) or 1
    origin = datagram[TRANSMIT_OFFSET:HEADER_OCTETS]
    earlier = remember = None
    if offers.saved is not None and datagram[24:32] != _ZERO_STAMP:  # who sends no origin is not interested: RFC 9769
        receive = remember = offers.saved.unique(receive)
        if datagram[32:40] != origin:  # RFC 9769 section 2: receive and transmit differ, and the origin was saved
            earlier = offers.saved.take(int.from_bytes(datagram[24:32], "big"))
            if earlier is not None:
                origin = datagram[32:40]
    offer = _v5_offer(datagram, offers)
    # The anchor is when the clock was last set (RFC 5905 7.3); clients refuse a reference after the transmit stamp
    # (A.5.1.1).
    at_ns = rx.raw_ns
    reference_fs = min(page.anchor_tai_fs, tai_fs_at(page, at_ns))
    reference = ntp64.from_tai_fs(reference_fs, tai_minus_ntp_at(page, reference_fs))
    head = _HEAD.pack(
        (served.leap << 6) | (datagram[0] & 0x38) | Mode.SERVER,  # version copied: RFC 5905 A.5.3
        page.stratum,
        poll,
        precision_log2,
        ntp64.short_from_seconds_up(page.root_delay_s),  # rounded UP, as the bound is
        ntp64.short_from_seconds_up(dispersion_s),
        page.refid,
        reference.to_bytes(8, "big") if offer == _ZERO_STAMP else offer,
        origin,
        receive,
    )
    return Reply(ReplyKind.SYNCHRONISED, head, receive, page, key=key, earlier=earlier, remember=remember)


def _unsynchronised(
    version: int,
    *,
    poll: int,
    origin: bytes,
    rx: RxStamp,
    served: Unsynchronised,
    precision_log2: int,
    reference: bytes,
    key: SymmetricKey | None,
) -> Reply:
    """Build the answer "do not believe me": LI 3, and stratum 16, which is 0 on the wire (RFC 5905 7.3).

    Root dispersion is MAXDISP or more, so that a client that looks at nothing else refuses it too. The reference
    stamp is zero.
    """
    page = served.page if served.instant is not None else None
    receive = 0 if page is None else stamp_at(page, rx.raw_ns) or 1
    wide = MAX_DISPERSION_S < served.bound_s <= ntp64.SHORT_MAX_S
    head = _HEAD.pack(
        (NtpLeap.UNSYNCHRONISED << 6) | (version << 3) | Mode.SERVER,
        0,
        poll,
        precision_log2,
        0,
        ntp64.short_from_seconds_up(served.bound_s) if wide else MAX_DISPERSION_SHORT,
        REFID_NEVER_YET if served.reason in _NOT_YET else REFID_UNKNOWN,
        reference,
        origin,
        receive,
    )
    return Reply(ReplyKind.UNSYNCHRONISED, head, receive, page, served.reason, key=key)


def _without_time(
    kind: ReplyKind,
    version: int,
    *,
    poll: int,
    origin: bytes,
    rx: RxStamp,
    served: ServedTime | Unsynchronised,
    refid: bytes,
    key: SymmetricKey | None = None,
) -> Reply:
    """Build an answer that gives no time: a kiss (RFC 5905 7.4: its stamps must not be used), or a crypto-NAK (9.2),
    which 4 octets of key id 0 make of it. LI 3, stratum 0, and MAXDISP, as in any other refusal.
    """
    page = served.page if isinstance(served, ServedTime) or served.instant is not None else None
    receive = 0 if page is None else stamp_at(page, rx.raw_ns) or 1
    head = _HEAD.pack(
        (NtpLeap.UNSYNCHRONISED << 6) | (version << 3) | Mode.SERVER,
        0,
        poll,
        0,
        0,
        MAX_DISPERSION_SHORT,
        refid,
        _ZERO_STAMP,
        origin,
        receive,
    )
    is_nak = kind in {ReplyKind.NAK_UNKNOWN_KEY, ReplyKind.NAK_BAD_MAC}
    return Reply(kind, head, receive, page, tail=CRYPTO_NAK if is_nak else b"", key=key)


_SHORT = Ignore(IgnoreReason.SHORT)
_VERSION = Ignore(IgnoreReason.VERSION)
_MODE_CONTROL = Ignore(IgnoreReason.MODE_CONTROL)
_MODE_NOT_CLIENT = Ignore(IgnoreReason.MODE_NOT_CLIENT)
_MAC_UNSUPPORTED = Ignore(IgnoreReason.MAC_UNSUPPORTED)
_CRYPTO_NAK = Ignore(IgnoreReason.CRYPTO_NAK)
_EXTENSION_MALFORMED = Ignore(IgnoreReason.EXTENSION_MALFORMED)
_SOURCE_PORT_ZERO = Ignore(IgnoreReason.SOURCE_PORT_ZERO)
