"""The usual answer, made once for a batch: what `server.respond` says to a plain request, with the request's own octets
in their places.

It decides nothing: `respond` itself makes it, and everything that is not the usual question goes to `respond`. Source:
RFC 5905 figure 8. The law of the file: where it answers, it answers octet for octet as `respond` does; a test holds the
two against each other.
"""

import struct
from dataclasses import dataclass

from truechimer.serve.clock_page import ClockPage
from truechimer.serve.ntp import ntpv5
from truechimer.serve.ntp.packet import HEADER_OCTETS, TRANSMIT_OFFSET, Mode, NtpHeader
from truechimer.serve.ntp.reply import PLAIN, Client, Offers, Reply, ReplyKind, stamp_at
from truechimer.serve.ntp.server import POLL_RANGE, VERSIONS_ANSWERED, respond
from truechimer.serve.rx_stamp import STAMP_HANDLING_LIMIT_S, USER_STAMP_LIMIT_S, RxStamp, StampKind
from truechimer.serve.served_time import ServedTime, Unsynchronised

_ASKED = NtpHeader(version=4, mode=Mode.CLIENT).encode()
_SOMEBODY = Client("", 1)
_FIRST = frozenset(leap << 6 | version << 3 | Mode.CLIENT for leap in range(4) for version in VERSIONS_ANSWERED)
_POLLS = bytes(min(max((octet ^ 128) - 128, POLL_RANGE[0]), POLL_RANGE[1]) & 255 for octet in range(256))
_ZERO_STAMP = bytes(8)
_RECEIVE = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class UsualAnswers:
    """What is answered from one page at one moment: octets 0 to 23, by a stamp of the kernel and by one of ours."""

    page: ClockPage
    by_kernel: bytes
    by_user: bytes
    interleaves: bool
    ntpv5: bool


def usual_answers(
    served: ServedTime | Unsynchronised, raw_ns: int, *, precision_log2: int, offers: Offers = PLAIN
) -> UsualAnswers | None:
    """Return the usual answers at `raw_ns`; None where no synchronised answer is the usual one."""
    if not isinstance(served, ServedTime):
        return None
    heads = []
    for kind, limit_s in ((StampKind.KERNEL, STAMP_HANDLING_LIMIT_S), (StampKind.USER, USER_STAMP_LIMIT_S)):
        # a request that comes at the anchor or later has the anchor for its reference stamp
        rx = RxStamp(max(raw_ns, served.page.anchor_raw_ns), kind, limit_s)
        reply = respond(_ASKED, _SOMEBODY, rx=rx, served=served, precision_log2=precision_log2, offers=offers)
        if not isinstance(reply, Reply) or reply.kind is not ReplyKind.SYNCHRONISED:
            return None
        heads.append(reply.head[:24])
    return UsualAnswers(served.page, heads[0], heads[1], offers.saved is not None, offers.ntpv5)


def usual_answer(usual: UsualAnswers, datagram: bytes, rx: RxStamp) -> Reply | None:
    """Return the answer to a plain request; None where `respond` has to look at it: whatever follows a header, another
    mode or version, an origin that may ask for the interleaved mode, an offer of version 5, a stamp before the anchor.
    """
    page = usual.page
    if (
        len(datagram) != HEADER_OCTETS
        or datagram[0] not in _FIRST
        or rx.raw_ns < page.anchor_raw_ns
        or (usual.interleaves and datagram[24:32] != _ZERO_STAMP)
        or (usual.ntpv5 and datagram[16:24] == ntpv5.OFFER)
    ):
        return None
    head = usual.by_kernel if rx.kind is StampKind.KERNEL else usual.by_user
    receive = stamp_at(page, rx.raw_ns) or 1
    first = bytes((head[0] & 0xC7 | datagram[0] & 0x38, head[1], _POLLS[datagram[2]]))
    origin = datagram[TRANSMIT_OFFSET:]
    return Reply(ReplyKind.SYNCHRONISED, first + head[3:] + origin + _RECEIVE.pack(receive), receive, page)
