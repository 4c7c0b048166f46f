"""Frames to UDP datagrams: link layer, VLAN tags, IPv4 and IPv6, one at a time, without reassembly.

It knows no protocol above UDP, verifies no checksum (a capture on the sending host has none yet) and keeps no state.
Sources: the link-layer header types of the pcap format; IEEE 802.1Q; RFC 791; RFC 8200; RFC 768.

Law of the file: a frame is never trusted to be as long as it says; what cannot be read is a reason, never an error.
"""

import struct
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address

_IPV4, _IPV6 = 0x0800, 0x86DD
_TAGS = frozenset({0x8100, 0x88A8, 0x9100})
MOST_TAGS = 8
MOST_EXTENSIONS = 16
_UDP = 17
_SKIPPED = frozenset({0, 43, 60, 135, 139, 140})  # RFC 8200 4.1, RFC 7045: eight octets a unit, one more than it says
_AUTHENTICATION, _FRAGMENT = 51, 44


class NoDatagram(StrEnum):
    """Why a frame gives no datagram."""

    LINK = "link-type"  # a link layer that is not read here
    CUT = "cut"  # the capture, or the frame itself, ends too early
    NOT_IP = "not-ip"
    NOT_UDP = "not-udp"
    FRAGMENT = "fragment"  # a part of a datagram: an NTP reply is never so long
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Datagram:
    """A UDP datagram: addresses in their one form, ports, payload."""

    source: str
    source_port: int
    target: str
    target_port: int
    payload: bytes


def datagram(link_type: int, data: bytes) -> Datagram | NoDatagram:
    """Return the datagram in a frame, or why there is none; never raises."""
    found = _network(link_type, data)
    if isinstance(found, NoDatagram):
        return found
    kind, at = found
    if kind == _IPV4:
        return _ipv4(data[at:])
    if kind == _IPV6:
        return _ipv6(data[at:])
    return NoDatagram.NOT_IP


def _network(link_type: int, data: bytes) -> tuple[int, int] | NoDatagram:
    """Return the ethertype and where its packet begins."""
    match link_type:
        case 1:  # Ethernet
            return _typed(data, 12)
        case 101 | 12 | 14 | 228 | 229:  # raw IP
            return _by_version(data, 0)
        case 0 | 108:  # BSD loopback: four octets of an address family whose numbers differ by system
            return _by_version(data, 4)
        case 113:  # Linux cooked
            return _typed(data, 14)
        case 276:  # Linux cooked, version 2
            kind = _u16(data, 0)
            return NoDatagram.CUT if kind is None else _untagged(kind, data, 20)
        case _:
            return NoDatagram.LINK


def _u16(data: bytes, at: int) -> int | None:
    return data[at] << 8 | data[at + 1] if at + 2 <= len(data) else None


def _by_version(data: bytes, at: int) -> tuple[int, int] | NoDatagram:
    if at >= len(data):
        return NoDatagram.CUT
    kind = {4: _IPV4, 6: _IPV6}.get(data[at] >> 4)
    return NoDatagram.NOT_IP if kind is None else (kind, at)


def _typed(data: bytes, at: int) -> tuple[int, int] | NoDatagram:
    """Read an ethertype at `at`; a length in its place (802.3) is followed by LLC and perhaps SNAP."""
    kind = _u16(data, at)
    if kind is None:
        return NoDatagram.CUT
    if kind < 0x0600 and data[at + 2 : at + 8] == b"\xaa\xaa\x03\0\0\0":
        snap = _u16(data, at + 8)
        return NoDatagram.CUT if snap is None else _untagged(snap, data, at + 10)
    return _untagged(kind, data, at + 2)


def _untagged(kind: int, data: bytes, at: int) -> tuple[int, int] | NoDatagram:
    """Pass over VLAN tags."""
    for _ in range(MOST_TAGS):
        if kind not in _TAGS:
            return kind, at
        inner = _u16(data, at + 2)
        if inner is None:
            return NoDatagram.CUT
        kind, at = inner, at + 4
    return NoDatagram.MALFORMED


def _ipv4(packet: bytes) -> Datagram | NoDatagram:
    if len(packet) < 20:
        return NoDatagram.CUT
    head, whole = (packet[0] & 15) * 4, packet[2] << 8 | packet[3]
    if packet[0] >> 4 != 4 or head < 20 or (whole and whole < head):
        return NoDatagram.MALFORMED
    if packet[9] != _UDP:
        return NoDatagram.NOT_UDP
    if (packet[6] << 8 | packet[7]) & 0x3FFF:  # more fragments, or an offset
        return NoDatagram.FRAGMENT
    # a total length of 0 stands where the sending card cut a large packet up: all there is belongs to it
    return _udp(packet[head : whole or None], packet[12:16], packet[16:20])


def _ipv6(packet: bytes) -> Datagram | NoDatagram:
    if len(packet) < 40:
        return NoDatagram.CUT
    if packet[0] >> 4 != 6:
        return NoDatagram.MALFORMED
    length, following, at = packet[4] << 8 | packet[5], packet[6], 40
    end = 40 + length if length else len(packet)
    for _ in range(MOST_EXTENSIONS):
        if following == _UDP:
            return _udp(packet[at:end], packet[8:24], packet[24:40])
        if at + 8 > min(end, len(packet)):
            return NoDatagram.NOT_UDP if following not in _SKIPPED else NoDatagram.CUT
        if following == _FRAGMENT:
            if (packet[at + 2] << 8 | packet[at + 3]) & 0xFFF9:
                return NoDatagram.FRAGMENT
            following, at = packet[at], at + 8
        elif following == _AUTHENTICATION:
            following, at = packet[at], at + (packet[at + 1] + 2) * 4
        elif following in _SKIPPED:
            following, at = packet[at], at + (packet[at + 1] + 1) * 8
        else:
            return NoDatagram.NOT_UDP
    return NoDatagram.MALFORMED


def _udp(segment: bytes, source: bytes, target: bytes) -> Datagram | NoDatagram:
    if len(segment) < 8:
        return NoDatagram.CUT
    source_port, target_port, length, _ = struct.unpack(">HHHH", segment[:8])
    if length == 0:
        length = len(segment)  # RFC 2675: a jumbogram says nothing here
    if length < 8:
        return NoDatagram.MALFORMED
    if length > len(segment):
        return NoDatagram.CUT
    return Datagram(str(ip_address(source)), source_port, str(ip_address(target)), target_port, segment[8:length])
