"""Captures made for tests: pcap and pcapng in every form, frames of every link layer around a UDP payload."""

import struct
from ipaddress import ip_address

ETHERNET, RAW, NULL, COOKED, COOKED_2 = 1, 101, 0, 113, 276
LINK_TYPES = (ETHERNET, RAW, NULL, COOKED, COOKED_2)


def udp(source: str, target: str, payload: bytes, *, ports: tuple[int, int] = (123, 40000)) -> bytes:
    """An IP packet around a UDP datagram (checksums absent, as on a sending host)."""
    segment = struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload
    a, b = ip_address(source), ip_address(target)
    if a.version == 4:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 7, 0x4000, 64, 17, 0)
        return head + a.packed + b.packed + segment
    return struct.pack(">IHBB", 6 << 28, len(segment), 17, 64) + a.packed + b.packed + segment


def framed(packet: bytes, link_type: int, *, tags: int = 0) -> bytes:
    """A frame of a link layer around an IP packet."""
    kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    tagged = b"".join(struct.pack(">HH", 0x8100 if n else 0x88A8, 42 + n) for n in range(tags))
    match link_type:
        case 1:
            return bytes(6) + b"\x02\0\0\0\0\1" + tagged + struct.pack(">H", kind) + packet
        case 0:
            return struct.pack("<I", 2 if kind == 0x0800 else 30) + packet
        case 113:
            return struct.pack(">HHH8sH", 0, 1, 6, bytes(8), kind) + packet
        case 276:
            return struct.pack(">HHIHBB8s", kind, 0, 1, 1, 0, 6, bytes(8)) + packet
        case _:
            return packet


def pcap(frames: list[tuple[int, bytes]], link_type: int, *, order: str = "<", nanoseconds: bool = False) -> bytes:
    """A pcap file of frames (ns since 1970, octets)."""
    unit = 1 if nanoseconds else 1000
    out = [struct.pack(f"{order}IHHIIII", 0xA1B23C4D if nanoseconds else 0xA1B2C3D4, 2, 4, 0, 0, 262_144, link_type)]
    for t_ns, data in frames:
        out.append(struct.pack(f"{order}IIII", t_ns // 10**9, t_ns % 10**9 // unit, len(data), len(data)) + data)
    return b"".join(out)


def block(kind: int, body: bytes, order: str) -> bytes:
    """A pcapng block."""
    body += bytes(-len(body) % 4)
    return struct.pack(f"{order}II", kind, 12 + len(body)) + body + struct.pack(f"{order}I", 12 + len(body))


def pcapng(
    frames: list[tuple[int, bytes]],
    link_type: int,
    *,
    order: str = "<",
    tsresol: int | None = None,
    simple: bool = False,
) -> bytes:
    """A pcapng file; `tsresol` as its option 9 (None: absent, microseconds)."""
    options = b"" if tsresol is None else struct.pack(f"{order}HHBxxxHH", 9, 1, tsresol, 0, 0)
    units = 10**6 if tsresol is None else (2 if tsresol & 0x80 else 10) ** (tsresol & 0x7F)
    out = [
        block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order),
        block(1, struct.pack(f"{order}HHI", link_type, 0, 0) + options, order),
        block(5, struct.pack(f"{order}III", 0, 0, 0), order),  # statistics of the interface: no frame
    ]
    for t_ns, data in frames:
        if simple:
            out.append(block(3, struct.pack(f"{order}I", len(data)) + data, order))
            continue
        t = t_ns * units // 10**9
        head = struct.pack(f"{order}IIIII", 0, t >> 32, t & 0xFFFF_FFFF, len(data), len(data))
        out.append(block(6, head + data, order))
    return b"".join(out)
