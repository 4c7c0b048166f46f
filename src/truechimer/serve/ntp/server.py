"""The NTP server core: one datagram in, one reply or one counted refusal out.

It opens no socket, reads no clock and keeps no state of clients; the caller reads the transmit stamp just before
sending. Source: RFC 5905 (clauses beside the lines), RFC 7822, RFC 8633. Shape (1) of `house.md` section 3.

Law of the file: an answer is 48 octets and no request is shorter, so nothing is amplified; only mode 3 is answered,
so two servers cannot be set upon each other; every refusal has a name of its own to be counted by.
"""

import struct
from dataclasses import dataclass
from enum import StrEnum

from truechimer.instants import ntp64
from truechimer.serve.clock_page import ClockPage
from truechimer.serve.ntp.packet import (
    HEADER_OCTETS,
    MAX_DISPERSION_S,
    TRANSMIT_OFFSET,
    Mode,
    NtpLeap,
    TailKind,
    walk_tail,
)
from truechimer.serve.rx_stamp import RxStamp
from truechimer.serve.served_time import (
    ServedTime,
    Unsynchronised,
    WhyUnsynchronised,
    tai_fs_at,
    tai_minus_ntp_at,
)

SIMULATED_ANCHOR_DOUBT_S = 1.0
"""Added to the root dispersion of a simulated laboratory: its anchor is a label read once from a wall clock
(`house.md` 4.6).
"""

VERSIONS_ANSWERED = range(1, 5)
"""1 to 4, all with the same 48 octets; 0 never existed on the wire with modes, 5 has another header (RFC 5905 A.5.1:
ignore newer).
"""

POLL_RANGE = (-6, 17)  # MAXPOLL 17 (RFC 5905 figure 5); below MINPOLL 4 is in use down to 2^-6 s

REFID_NEVER_YET = b"INIT"
"""Kiss code for a server that has not been synchronised yet: RFC 5905 figure 13. Stratum 0 with it has no protocol
significance (7.4 d).
"""
REFID_UNKNOWN = bytes(4)

UNIQUE_WITHIN_UNITS = 4096
"""A transmit stamp this close behind (in 2^-32 s: 0.95 us) the one before becomes the next unit after it; further
back, time was re-set.
"""

# RFC 5905 figure 8 up to the receive timestamp; the origin as octets, so that it is copied bit for bit
_HEAD = struct.Struct(">BBbbII4sQ8sQ")
_STAMP = struct.Struct(">Q")
_NOT_YET = frozenset({WhyUnsynchronised.NO_PAGE, WhyUnsynchronised.FREERUN, WhyUnsynchronised.ACQUIRING})

MAX_DISPERSION_SHORT = ntp64.short_from_seconds_up(MAX_DISPERSION_S)


class IgnoreReason(StrEnum):
    """Why a datagram gets no answer; one counter each."""

    SHORT = "short"  # fewer than 48 octets: RFC 5905 7.3
    VERSION = "version"  # not 1 to 4
    # answering mode 4 is how two servers ping-pong for ever; symmetric and broadcast are not offered
    MODE_NOT_CLIENT = "mode-not-client"
    MODE_CONTROL = "mode-control"  # modes 6 and 7: RFC 8633 3.4, not to strangers; here to nobody
    MAC_UNSUPPORTED = "mac-unsupported"  # we hold no keys
    EXTENSION_MALFORMED = "extension-malformed"  # RFC 7822 7.5
    SOURCE_PORT_ZERO = "source-port-zero"  # nobody can be answered there
    NOT_ALLOWED = "not-allowed"  # the listener's policy, by order, does not name its address; said by the door's loop


class ReplyKind(StrEnum):
    """What sort of answer was given; one counter each."""

    SYNCHRONISED = "synchronised"
    UNSYNCHRONISED = "unsynchronised"


@dataclass(frozen=True, slots=True)
class Client:
    """Where a datagram came from."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Ignore:
    """No answer, because of `reason`."""

    reason: IgnoreReason


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that lacks only its transmit stamp.

    `head` holds octets 0 to 39, `receive` the receive stamp in it. `page` is the line that `transmit_stamp` reads
    (None: both stamps are zero, which says "not known", RFC 5905 6). `because` says why the answer is unsynchronised.
    """

    kind: ReplyKind
    head: bytes
    receive: int
    page: ClockPage | None
    because: WhyUnsynchronised | None = None

    def with_transmit(self, transmit: int) -> bytes:
        """Return the 48 octets to send."""
        return self.head + _STAMP.pack(transmit)


def respond(
    datagram: bytes, client: Client, *, rx: RxStamp, served: ServedTime | Unsynchronised, precision_log2: int
) -> Reply | Ignore:
    """Answer one datagram, or say why not. Never raises, whatever the octets.

    `rx` is when it came, `served` the time at the moment of answering (not before `rx`), `precision_log2` the log2 of
    the seconds that one reading of the clock takes (RFC 5905 7.3).
    """
    if len(datagram) < HEADER_OCTETS:
        return _SHORT
    first = datagram[0]
    version, mode = (first >> 3) & 7, first & 7
    if version not in VERSIONS_ANSWERED:
        return _VERSION
    if (
        mode != Mode.CLIENT
    ):  # RFC 5905 9.2 table of modes; mode 0 of version 1 (RFC 1059) is not answered either: client mode only
        return _MODE_CONTROL if mode in {Mode.CONTROL, Mode.PRIVATE} else _MODE_NOT_CLIENT
    if client.port == 0:
        return _SOURCE_PORT_ZERO
    if len(datagram) > HEADER_OCTETS:
        # Well-formed fields that we do not know are passed over: RFC 7822 7.5.1.1 SHOULD. The answer carries none, so
        # it is no longer than the request. A MAC asks for an authenticated answer and we hold no key. RFC 5905 9.2
        # would send a crypto-NAK; it is as easily forged as any plain answer and tells a client nothing that silence
        # does not, so: silence.
        kind = walk_tail(datagram, version=version).kind
        if kind is TailKind.MAC:
            return _MAC_UNSUPPORTED
        if kind is TailKind.MALFORMED:
            return _EXTENSION_MALFORMED
    poll_signed = int.from_bytes(datagram[2:3], "big", signed=True)
    poll = min(
        max(poll_signed, POLL_RANGE[0]), POLL_RANGE[1]
    )  # copied: RFC 5905 A.5.3; an absurd value is not repeated
    origin = datagram[TRANSMIT_OFFSET:HEADER_OCTETS]  # the client's transmit stamp, bit for bit: RFC 5905 8, A.5.3
    if isinstance(served, ServedTime):
        synchronised = _synchronised(
            version, poll=poll, origin=origin, rx=rx, served=served, precision_log2=precision_log2
        )
        if synchronised is not None:
            return synchronised
        served = Unsynchronised(WhyUnsynchronised.BOUND_TOO_WIDE, served.instant, served.bound_s, page=served.page)
    return _unsynchronised(version, poll=poll, origin=origin, rx=rx, served=served, precision_log2=precision_log2)


def transmit_stamp(reply: Reply, raw_ns: int, *, last: int) -> int:
    """Return the transmit stamp at `raw_ns`, read just before the send; `last` is the one before it on this server
    (0: none yet).

    It is after the receive stamp of its own reply, differs from it and from `last` (RFC 9769 asks for both, and a
    client that sees two equal stamps takes the second reply for a duplicate, RFC 5905 8), and is never zero where the
    time is known.
    """
    if reply.page is None:
        return 0
    stamp = stamp_at(reply.page, raw_ns)
    if _signed(stamp - reply.receive) <= 0:
        stamp = (reply.receive + 1) & ntp64.STAMP_MASK
    if last and 0 <= _signed(last - stamp) < UNIQUE_WITHIN_UNITS:
        stamp = (last + 1) & ntp64.STAMP_MASK
    return stamp or 1


def stamp_at(page: ClockPage, raw_ns: int) -> int:
    """Return the NTP stamp that the page's line gives at `raw_ns`."""
    tai_fs = tai_fs_at(page, raw_ns)
    return ntp64.from_tai_fs(tai_fs, tai_minus_ntp_at(page, tai_fs))


def _synchronised(
    version: int, *, poll: int, origin: bytes, rx: RxStamp, served: ServedTime, precision_log2: int
) -> Reply | None:
    """Build a synchronised answer; None where its bound does not fit the field or passes MAXDISP (RFC 5905 A.5.1.1
    refuses those).
    """
    page = served.page
    dispersion_s = served.bound_s + rx.limit_s + (SIMULATED_ANCHOR_DOUBT_S if served.simulated else 0.0)
    if not dispersion_s + page.root_delay_s / 2 < MAX_DISPERSION_S:
        return None
    receive = stamp_at(page, rx.raw_ns) or 1
    # The anchor is when the clock was last set (RFC 5905 7.3); clients refuse a reference after the transmit stamp
    # (A.5.1.1).
    reference_fs = min(page.anchor_tai_fs, tai_fs_at(page, rx.raw_ns))
    head = _HEAD.pack(
        (served.leap << 6) | (version << 3) | Mode.SERVER,  # version copied: RFC 5905 A.5.3
        page.stratum,
        poll,
        precision_log2,
        ntp64.short_from_seconds_up(page.root_delay_s),  # rounded UP, as the bound is
        ntp64.short_from_seconds_up(dispersion_s),
        page.refid,
        ntp64.from_tai_fs(reference_fs, tai_minus_ntp_at(page, reference_fs)),
        origin,
        receive,
    )
    return Reply(ReplyKind.SYNCHRONISED, head, receive, page)


def _unsynchronised(
    version: int, *, poll: int, origin: bytes, rx: RxStamp, served: Unsynchronised, precision_log2: int
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
        0,
        origin,
        receive,
    )
    return Reply(ReplyKind.UNSYNCHRONISED, head, receive, page, served.reason)


def _signed(difference: int) -> int:
    """Return a difference of stamps as a signed number modulo 2^64: right across an era's end (RFC 5905 6)."""
    difference &= ntp64.STAMP_MASK
    return difference - (1 << 64) if difference >> 63 else difference


_SHORT = Ignore(IgnoreReason.SHORT)
_VERSION = Ignore(IgnoreReason.VERSION)
_MODE_CONTROL = Ignore(IgnoreReason.MODE_CONTROL)
_MODE_NOT_CLIENT = Ignore(IgnoreReason.MODE_NOT_CLIENT)
_MAC_UNSUPPORTED = Ignore(IgnoreReason.MAC_UNSUPPORTED)
_EXTENSION_MALFORMED = Ignore(IgnoreReason.EXTENSION_MALFORMED)
_SOURCE_PORT_ZERO = Ignore(IgnoreReason.SOURCE_PORT_ZERO)
