"""Ethernet frames for tests, and what must become of each: made and judged without a line of the accelerator's code.

`judge` says from the RFCs alone whether a frame is a plain request that may be answered below the sockets.
"""

import struct
from dataclasses import dataclass

ETHERNET, IPV4, IPV6, UDP, NTP = 14, 20, 40, 8, 48
PORT = 123


@dataclass(frozen=True)
class Site:
    """The interface under test."""

    hardware: bytes = bytes.fromhex("02005e100001")
    v4: bytes = bytes([192, 0, 2, 1])
    v6: bytes = bytes.fromhex("20010db8000000000000000000000001")
    broadcast: bytes = bytes([192, 0, 2, 255])
    is_loopback: bool = False


SITE = Site()
CLIENT_V4 = bytes([198, 51, 100, 7])
CLIENT_V6 = bytes.fromhex("20010db8000100000000000000000007")
CLIENT_HARDWARE = bytes.fromhex("02005e1000fe")


def ones_sum(octets: bytes) -> int:
    """Return the ones' complement sum of 16-bit words: RFC 1071."""
    octets += bytes(len(octets) % 2)
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo(frame: bytes) -> bytes:
    """Return the pseudo-header of a frame's datagram: RFC 768, RFC 8200 8.1."""
    if frame[12:14] == b"\x08\x00":
        return frame[26:34] + bytes([0, 17]) + frame[38:40]
    return frame[22:54] + bytes(2) + frame[58:60] + bytes([0, 0, 0, 17])


def udp_at(frame: bytes) -> int:
    return ETHERNET + (IPV4 if frame[12:14] == b"\x08\x00" else IPV6)


def with_sums(frame: bytes, *, udp: str = "whole") -> bytes:
    """Put right checksums; of UDP `whole`, `none` (0) or `half` (what a host leaves to its interface)."""
    out = bytearray(frame)
    if out[12:14] == b"\x08\x00":
        out[24:26] = bytes(2)
        out[24:26] = (ones_sum(bytes(out[14:34])) ^ 0xFFFF).to_bytes(2, "big")
    at = udp_at(frame)
    out[at + 6 : at + 8] = bytes(2)
    if udp == "whole":
        total = ones_sum(pseudo(bytes(out)) + bytes(out[at:])) ^ 0xFFFF
        out[at + 6 : at + 8] = (total or 0xFFFF).to_bytes(2, "big")
    elif udp == "half":
        out[at + 6 : at + 8] = ones_sum(pseudo(bytes(out))).to_bytes(2, "big")
    return bytes(out)


def a_request(
    ntp: bytes,
    *,
    family: int = 4,
    site: Site = SITE,
    source: bytes | None = None,
    source_port: int = 40123,
    udp: str = "whole",
    sender: bytes = CLIENT_HARDWARE,
) -> bytes:
    """Return the frame of a request."""
    datagram = struct.pack("!HHHH", source_port, PORT, UDP + len(ntp), 0) + ntp
    if family == 4:
        total = IPV4 + len(datagram)
        head = struct.pack("!BBHHHBBH", 0x45, 0xB8, total, 4711, 0x4000, 51, 17, 0)
        frame = site.hardware + sender + b"\x08\x00" + head + (source or CLIENT_V4) + site.v4 + datagram
    else:
        head = struct.pack("!IHBB", 0x6ABCDEF0, len(datagram), 17, 51)
        frame = site.hardware + sender + b"\x86\xdd" + head + (source or CLIENT_V6) + site.v6 + datagram
    return with_sums(frame, udp=udp)


def is_plain(frame: bytes, site: Site = SITE) -> bool:
    """Return True where the sockets would answer this frame's datagram with a plain answer, and no memory of the
    client could make it another one.
    """
    if frame[0:6] != site.hardware:
        return False
    if frame[12:14] == b"\x08\x00" and len(frame) == ETHERNET + IPV4 + UDP + NTP:
        ip, source = frame[14:34], frame[26:30]
        if ip[0] != 0x45 or ip[2:4] != b"\0\x4c" or ip[6:8] not in {b"\0\0", b"\x40\0"} or ip[9] != 17:
            return False
        if ones_sum(ip) != 0xFFFF or frame[30:34] != site.v4:
            return False
        if source[0] == 0 or source[0] >= 224 or source == site.broadcast:
            return False
        if not site.is_loopback and (source[0] == 127 or source == site.v4 or source == bytes([192, 0, 2, 0])):
            return False
    elif frame[12:14] == b"\x86\xdd" and len(frame) == ETHERNET + IPV6 + UDP + NTP:
        source = frame[22:38]
        if frame[14] >> 4 != 6 or frame[18:20] != b"\0\x38" or frame[20] != 17 or frame[38:54] != site.v6:
            return False
        if source[0] == 0xFF or source == site.v6 or source[:8] == bytes(8):
            return False
        if frame[60:62] == bytes(2):
            return False
    else:
        return False
    at = udp_at(frame)
    port, to, length, field = struct.unpack("!HHHH", frame[at : at + 8])
    if port == 0 or to != PORT or length != UDP + NTP:
        return False
    if field != 0 and field != ones_sum(pseudo(frame)) and ones_sum(pseudo(frame) + frame[at:]) != 0xFFFF:
        return False
    ntp = frame[at + 8 :]
    version, mode = ntp[0] >> 3 & 7, ntp[0] & 7
    may_be_interleaved = ntp[24:32] != bytes(8) and ntp[32:40] != ntp[40:48]
    return version in {3, 4} and mode == 3 and not may_be_interleaved


def why_wrong(request: bytes, answer: bytes) -> str:
    """Return what is wrong with the frame and headers of an answer, or nothing."""
    at = udp_at(request)
    if len(answer) != len(request) or answer[0:12] != request[6:12] + request[0:6] or answer[12:14] != request[12:14]:
        return "frame"
    if at == ETHERNET + IPV4:
        if answer[14:20] != bytes([0x45, 0, 0, 76, 0, 0]) or answer[20:24] != bytes([0x40, 0, 64, 17]):
            return "IPv4 header"
        if answer[26:34] != request[30:34] + request[26:30] or ones_sum(answer[14:34]) != 0xFFFF:
            return "IPv4 addresses or checksum"
    else:
        if answer[14:22] != bytes([0x60, 0, 0, 0, 0, 56, 17, 64]):
            return "IPv6 header"
        if answer[22:54] != request[38:54] + request[22:38]:
            return "IPv6 addresses"
    if answer[at : at + 6] != request[at + 2 : at + 4] + request[at : at + 2] + bytes([0, 56]):
        return "UDP header"
    field = int.from_bytes(answer[at + 6 : at + 8], "big")
    if int.from_bytes(request[at + 6 : at + 8], "big") == ones_sum(pseudo(request)) == field:
        return ""  # half a checksum stays half a checksum
    return "" if field and ones_sum(pseudo(answer) + answer[at:]) == 0xFFFF else "UDP checksum"
