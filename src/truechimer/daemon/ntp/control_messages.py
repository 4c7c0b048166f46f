"""Control messages of a datagram as the Linux kernel lays them out, read and written in machine code on whole words.

It makes no system call and believes no stamp. Source: cmsg(3), ip(7), ipv6(7), and the kernel's
`Documentation/networking/timestamping.rst`. Memory: `control` is int64 `(batch, words)`; a message is its length with
the head (one word), level and type (one word), then data, each message rounded up to whole words. The law of the file:
nothing is read beyond the length that the kernel gave, and no length of a message is believed beyond that.
"""

from typing import Any

from truechimer.kernel import borrowing_kernel

SOL_SOCKET = 1
IPPROTO_IP = 0
IPPROTO_IPV6 = 41
SCM_TIMESTAMPNS = 35
SCM_TIMESTAMPING = 37
SCM_TIMESTAMPING_PKTINFO = 58
IP_PKTINFO = 8
IPV6_PKTINFO = 50
IP_RECVERR = 11
IPV6_RECVERR = 25
ORIGIN_TIMESTAMPING = 4
"""Of what stands on a socket's error queue: a stamp, no error (`errqueue.h`). Its kind 0 is "handed to the card"."""

NS_PER_S = 10**9
HEAD_OCTETS = 16
WORD = 8

STAMP = 0  # CLOCK_REALTIME ns by the kernel's software
HARDWARE = 1  # the network card's own clock, ns
PACKET_INFO = 2  # word at which the data of a PKTINFO message begins, -1 for none
FAMILY_LEVEL = 3  # its level
SENT = 4  # LEFT where the stamps are those of something that was sent, from the error queue
CARD_INDEX = 5  # number of the interface whose card stamped it, 0 for not said
FOUND_WORDS = 6
HAS_STAMPS, OF_SOMETHING_SENT = 1, 2
LEFT = HAS_STAMPS | OF_SOMETHING_SENT
"""Only stamps of SCM_TIMESTAMPING count for what was sent: the kernel makes up the others where it has none."""

USUAL_OCTETS, USUAL_KIND = HEAD_OCTETS + 2 * WORD, SOL_SOCKET | SCM_TIMESTAMPNS << 32
"""The head of the first message as it stands nearly always: the kernel's stamp is written before everything else."""

NO_STAMP = -(2**62)
MOST_SECONDS = 2**33
"""Seconds beyond this are no stamp: the product with 10^9 stays far below 2^63."""


@borrowing_kernel
def _stamp(control: Any, i: int, at: int) -> int:
    seconds, ns = control[i, at], control[i, at + 1]
    if seconds < 0 or seconds > MOST_SECONDS or ns < 0 or ns >= NS_PER_S or (seconds == 0 and ns == 0):
        return NO_STAMP
    return int(seconds * NS_PER_S + ns)


@borrowing_kernel
def read_control(control: Any, i: int, length: int, found: Any) -> None:
    """Read the control messages of datagram `i`, of `length` octets, into `found`, in the order of the names above."""
    found[STAMP] = found[HARDWARE] = NO_STAMP
    found[PACKET_INFO], found[SENT], found[CARD_INDEX] = -1, 0, 0
    end = min(length, control.shape[1] * WORD)
    at = 0
    if end >= USUAL_OCTETS and control[i, 0] == USUAL_OCTETS and control[i, 1] == USUAL_KIND:
        found[STAMP] = _stamp(control, i, 2)
        at = USUAL_OCTETS // WORD
    while at * WORD + HEAD_OCTETS <= end:
        octets = control[i, at]
        if octets < HEAD_OCTETS or octets > end - at * WORD:
            return
        level, kind = control[i, at + 1] & 0xFFFF_FFFF, control[i, at + 1] >> 32
        data = octets - HEAD_OCTETS
        if level == SOL_SOCKET and kind == SCM_TIMESTAMPNS and data >= 16:
            found[STAMP] = _stamp(control, i, at + 2)
        elif level == SOL_SOCKET and kind == SCM_TIMESTAMPING and data >= 48:
            found[STAMP] = _stamp(control, i, at + 2)
            found[HARDWARE] = _stamp(control, i, at + 6)
            found[SENT] |= HAS_STAMPS
        elif level == SOL_SOCKET and kind == SCM_TIMESTAMPING_PKTINFO and data >= 8:
            found[CARD_INDEX] = control[i, at + 2] & 0xFFFF_FFFF
        elif (level == IPPROTO_IP and kind == IP_PKTINFO and data >= 12) or (
            level == IPPROTO_IPV6 and kind == IPV6_PKTINFO and data >= 20 and control[i, at + 2] & 0xFF != 0xFF
        ):
            found[PACKET_INFO], found[FAMILY_LEVEL] = at + 2, level
        elif (
            ((level == IPPROTO_IP and kind == IP_RECVERR) or (level == IPPROTO_IPV6 and kind == IPV6_RECVERR))
            and data >= 16
            and control[i, at + 2] >> 32 & 0xFF == ORIGIN_TIMESTAMPING
            and control[i, at + 3] & 0xFFFF_FFFF == 0
        ):
            found[SENT] |= OF_SOMETHING_SENT
        at += (octets + WORD - 1) // WORD


@borrowing_kernel
def write_answer_from(control: Any, out: Any, i: int, found: Any) -> int:
    """Write the control message that makes answer `i` leave from the address that was asked; return its octets, 0 for
    none.
    """
    at = found[PACKET_INFO]
    if at < 0:
        return 0
    if found[FAMILY_LEVEL] == IPPROTO_IP:
        # interface 0, the local address, no destination: the kernel's own routes decide
        out[i, 0], out[i, 1] = 28, IPPROTO_IP | IP_PKTINFO << 32
        out[i, 2] = control[i, at] >> 32 << 32
        out[i, 3] = 0
        return 32
    out[i, 0], out[i, 1] = 36, IPPROTO_IPV6 | IPV6_PKTINFO << 32
    out[i, 2], out[i, 3] = control[i, at], control[i, at + 1]
    out[i, 4] = control[i, at + 2] & 0xFFFF_FFFF
    return 40
