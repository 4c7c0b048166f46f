"""Capture files, pcap and pcapng: frames with their time and link type, in the order in which they stand.

It opens no file and looks into no frame (`formats.datagrams` does). Sources: draft-ietf-opsawg-pcap (magic numbers,
record header), draft-ietf-opsawg-pcapng (blocks 1, 2, 3, 6 and the section header; options 9 and 14 of an interface).

Law of the file: every length is compared with what is there and with `LARGEST_FRAME` before anything is read by it. A
file that ends within a frame is a capture that was ended: what stands before it counts, and the finding says so.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from truechimer.errors import Rejected
from truechimer.formats.finding import Finding, Severity

LARGEST_FRAME = 1 << 18
"""Octets of one frame: the most that capture programs write (256 KiB)."""
LARGEST_BLOCK = 1 << 24
MOST_INTERFACES = 1 << 16
_NS = 10**9

_PCAP = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
"""Magic: byte order, ns of one unit of a frame's fraction."""
_SECTION = b"\x0a\x0d\x0d\x0a"
_INTERFACE, _PACKET, _SIMPLE, _ENHANCED = 1, 2, 3, 6
_TSRESOL, _TSOFFSET = 9, 14


class CaptureRejected(Rejected):
    """A file that is no capture, or whose lengths contradict it. `offset`: the octet at which it stands."""

    def __init__(self, offset: int, why: str) -> None:
        """Keep the place."""
        super().__init__(f"capture, octet {offset}: {why}")
        self.offset, self.why = offset, why


class Octets(Protocol):
    """Bytes, or a mapped file."""

    def __getitem__(self, where: slice, /) -> bytes:
        """Return a copy of a part."""

    def __len__(self) -> int:
        """Return how many there are."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured frame: its number in the file (from 1, as other readers count), when it was captured by the
    capturing machine's clock (ns since 1970, POSIX; None where the file does not say), its link type, its octets.

    `whole`: how long it was; more than `data` where the capture cut it. `at`: where it stands in the file.
    """

    number: int
    t_ns: int | None
    link_type: int
    data: bytes
    whole: int
    at: int


@dataclass(frozen=True, slots=True)
class _Interface:
    link_type: int
    snap: int
    units_per_s: int
    offset_s: int


@dataclass(slots=True)
class Capture:
    """The frames of a file, once; after them `findings` says what was wrong with its end."""

    data: Octets
    findings: list[Finding] = field(default_factory=list)

    def frames(self) -> Iterator[Frame]:
        """Yield the frames; raises `CaptureRejected`."""
        magic = bytes(self.data[0:4])
        if magic in _PCAP:
            return self._pcap(*_PCAP[magic])
        if magic == _SECTION:
            return self._pcapng()
        raise CaptureRejected(0, f"begins with {magic.hex() or 'nothing'}: neither pcap nor pcapng")

    def _cut(self, number: int, offset: int) -> None:
        says = (
            f"the file ends within frame {number} (octet {offset}): the capture was ended there; what is before counts"
        )
        self.findings.append(Finding("cut", says, severity=Severity.WARNING))

    def _pcap(self, order: str, unit_ns: int) -> Iterator[Frame]:
        """Read a pcap file. Fraction over a second is taken as it stands: some writers let it overflow."""
        if len(self.data) < 24:
            raise CaptureRejected(0, "ends within its header of 24 octets")
        major, minor, _, _, _, network = struct.unpack(f"{order}HHIIII", self.data[4:24])
        if (major, minor) not in {(2, 4), (2, 3)}:
            raise CaptureRejected(4, f"version {major}.{minor} of pcap: 2.4 is the one there is")
        head = struct.Struct(f"{order}IIII")
        at, number = 24, 0
        while at < len(self.data):
            number += 1
            if at + 16 > len(self.data):
                return self._cut(number, at)
            seconds, fraction, length, whole = head.unpack(self.data[at : at + 16])
            if length > LARGEST_FRAME:
                raise CaptureRejected(at + 8, f"a frame of {length} octets: {LARGEST_FRAME} are the most there are")
            if at + 16 + length > len(self.data):
                return self._cut(number, at)
            data = bytes(self.data[at + 16 : at + 16 + length])
            yield Frame(number, seconds * _NS + fraction * unit_ns, network & 0x0FFF_FFFF, data, whole, at)
            at += 16 + length
        return None

    def _pcapng(self) -> Iterator[Frame]:
        """Read a pcapng file: sections one after another, each with its byte order and its interfaces."""
        order, interfaces = "<", list[_Interface]()
        at, number = 0, 0
        while at < len(self.data):
            if at + 12 > len(self.data):
                return self._cut(number + 1, at)
            if bytes(self.data[at : at + 4]) == _SECTION:
                order, interfaces = self._order(at), []
            kind, length = struct.unpack(f"{order}II", self.data[at : at + 8])
            if length < 12 or length % 4 or length > LARGEST_BLOCK:
                raise CaptureRejected(at + 4, f"a block of {length} octets: it has 12 or more, in fours")
            if at + length > len(self.data):
                return self._cut(number + 1, at)
            if struct.unpack(f"{order}I", self.data[at + length - 4 : at + length])[0] != length:
                raise CaptureRejected(at + length - 4, f"the block's second length is not {length}")
            body = bytes(self.data[at + 8 : at + length - 4])
            if kind == _INTERFACE:
                if len(interfaces) >= MOST_INTERFACES:
                    raise CaptureRejected(at, f"more than {MOST_INTERFACES} interfaces")
                interfaces.append(_interface(body, order, at))
            elif kind in {_PACKET, _SIMPLE, _ENHANCED}:
                number += 1
                yield _frame(kind, body, order, at, number=number, interfaces=interfaces)
            at += length
        return None

    def _order(self, at: int) -> str:
        magic = bytes(self.data[at + 8 : at + 12])
        if magic not in {b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"}:
            raise CaptureRejected(at + 8, f"a section whose byte order is {magic.hex()}")
        order = ">" if magic[0] == 0x1A else "<"
        head = self.data[at + 12 : at + 16]
        if len(head) == 4 and struct.unpack(f"{order}H", head[:2])[0] != 1:
            raise CaptureRejected(at + 12, "a section of another version than 1 of pcapng")
        return order


def _interface(body: bytes, order: str, at: int) -> _Interface:
    """Read an interface's description."""
    if len(body) < 8:
        raise CaptureRejected(at, "an interface whose description is too short")
    link_type, _, snap = struct.unpack(f"{order}HHI", body[:8])
    units, offset_s, place = 10**6, 0, 8
    while place + 4 <= len(body):
        code, length = struct.unpack(f"{order}HH", body[place : place + 4])
        value = body[place + 4 : place + 4 + length]
        if code == 0 or len(value) < length:
            break
        if code == _TSRESOL and length == 1:
            power = value[0] & 0x7F
            if power > (63 if value[0] & 0x80 else 18):
                raise CaptureRejected(at, f"an interface whose unit of time has the exponent {power}")
            units = (2 if value[0] & 0x80 else 10) ** power
        elif code == _TSOFFSET and length == 8:
            offset_s = struct.unpack(f"{order}q", value)[0]
        place += 4 + -(-length // 4) * 4
    return _Interface(link_type, snap, units, offset_s)


def _frame(kind: int, body: bytes, order: str, at: int, *, number: int, interfaces: list[_Interface]) -> Frame:
    """Read a block that holds a frame."""
    head = {_PACKET: "HHIIII", _SIMPLE: "I", _ENHANCED: "IIIII"}[kind]
    start = struct.calcsize(f"{order}{head}")
    if len(body) < start:
        raise CaptureRejected(at, f"frame {number} in a block that is too short for it")
    values = struct.unpack(f"{order}{head}", body[:start])
    which = 0 if kind == _SIMPLE else values[0]
    if which >= len(interfaces):
        raise CaptureRejected(at + 8, f"frame {number} of interface {which}, which no block describes")
    one = interfaces[which]
    whole = values[-1]
    if kind == _SIMPLE:
        length = min(whole, one.snap or whole, len(body) - start)
    else:
        length = values[-2]
    if length > LARGEST_FRAME or start + length > len(body):
        raise CaptureRejected(at, f"frame {number} of {length} octets in a block with {len(body) - start} for it")
    t_ns = None
    if kind != _SIMPLE:
        units = values[-4] << 32 | values[-3]
        t_ns = units * _NS // one.units_per_s + one.offset_s * _NS
    return Frame(number, t_ns, one.link_type, body[start : start + length], whole, at)
