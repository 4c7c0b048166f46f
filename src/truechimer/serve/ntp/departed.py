"""An answer that the kernel hands back with the stamp of its departure: which answer of ours it was.

It reads no clock and no socket. Linux gives back the packet as it left, link header and all, so the answer names itself
by the receive stamp in it: nothing has to be counted beside the kernel, and what was lost, came late, or was asked for
by another process on the same socket finds no place in the table of the interleaved mode (ADR 83).

Source: the kernel's `Documentation/networking/timestamping.rst` (without SOF_TIMESTAMPING_OPT_TSONLY), RFC 768, RFC
5905 figure 8, RFC 9769, draft-ietf-ntp-ntpv5-09. The law of the file is that of `rate_table`: whole numbers below 2^63,
no call of ours; and no octet is read at or beyond the length.
"""

from collections.abc import Sequence

NOBODY = 0
"""No key of the table: its empty places have it."""

LEAST_ANSWER = 48
MOST_ANSWER = 1024
UDP_HEADER = 8
LEAST_IP_HEADER = 20


def answer_in(octets: Sequence[int], length: int, port: int) -> int:
    """Return the key (`interleaved.key_of`) of the answer that ends a packet of `length` octets, sent from `port`;
    `NOBODY` where no such answer does.

    The UDP datagram is looked for from the end, so link headers, VLAN tags, options of IPv4 and headers of IPv6 may
    stand before it.
    """
    udp = length - LEAST_ANSWER - UDP_HEADER
    while udp >= LEAST_IP_HEADER and udp >= length - MOST_ANSWER - UDP_HEADER:
        size = octets[udp + 4] * 256 + octets[udp + 5]
        if size == length - udp and octets[udp] * 256 + octets[udp + 1] == port and octets[udp + UDP_HEADER] & 7 == 4:
            # versions to 4 are remembered by their receive stamp, version 5 by the server cookie, which is that stamp
            at = udp + UDP_HEADER + (16 if octets[udp + UDP_HEADER] >> 3 & 7 == 5 else 32)
            key = octets[at] & 0x7F
            for k in range(1, 8):
                key = key * 256 + octets[at + k]
            return key
        udp -= 4
    return NOBODY
