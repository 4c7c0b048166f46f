"""The accelerator's frames: which are plain datagrams to us, and how an answer's headers are made of a request's.

It looks at no octet of NTP (`serve.ntp.accelerator_program` does). Source: RFC 791, RFC 8200, RFC 768, RFC 1071; an
Ethernet frame as the kernel's XDP hands it over.

Law of the file: what has a VLAN tag, an option, an extension header or a fragment, is for another hardware or IP
address, or is damaged, goes on to the sockets untouched.
"""

from dataclasses import dataclass

from truechimer.serve.ntp.accelerator import Count
from truechimer.serve.ntp.bpf import Assembler, Do, Register, When
from truechimer.serve.ntp.packet import HEADER_OCTETS

UDP_OCTETS = 8 + HEADER_OCTETS
HOPS = 64
"""TTL of an answer, as Linux gives it to a socket's."""

MOST_ADDRESSES = 64
"""Addresses of one interface that the program knows, of each family; requests to others go to the sockets."""

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, STACK = Register
DATA, FIRST = R6, R7
"""Where the frame begins; the request's first octet, with what is noted above it."""
MAKE_CHECKSUM = 0x100
"""In FIRST: the answer's UDP checksum is to be made anew."""


@dataclass(frozen=True, slots=True)
class Place:
    """An interface as the program sees it: its hardware address, its IP addresses (4 or 16 octets each) and the
    broadcast addresses of its networks (4 octets).
    """

    hardware: bytes
    addresses: tuple[bytes, ...]
    broadcasts: tuple[bytes, ...] = ()
    is_loopback: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in a frame of one family."""

    name: str
    source: int
    destination: int
    address_octets: int
    udp: int

    @property
    def ntp(self) -> int:
        """Where the NTP header begins."""
        return self.udp + 8

    @property
    def end(self) -> int:
        """Where a plain request ends, and its frame with it."""
        return self.udp + UDP_OCTETS


V4 = Layout("v4", 26, 30, 4, 34)
V6 = Layout("v6", 22, 38, 16, 54)


def addresses_of(place: Place, layout: Layout) -> tuple[bytes, ...]:
    """Return the addresses of one family that the program knows."""
    return tuple(one for one in place.addresses if len(one) == layout.address_octets)[:MOST_ADDRESSES]


def only_plain_udp(code: Assembler, layout: Layout, place: Place, *, port: int) -> None:
    """Pass all that is no plain UDP datagram of 48 octets to one of our addresses and our port."""
    code.do(Do.MOVE, R2, DATA)
    code.do(Do.ADD, R2, layout.end)
    code.jump_if(R2, When.ABOVE, R3, "pass")
    code.jump_if(R2, When.BELOW, R3, "pass")
    code.load(2, R2, DATA, layout.udp + 2)
    code.jump_if(R2, When.UNEQUAL, network16(port), "pass")
    code.load(2, R2, DATA, layout.udp + 4)
    code.jump_if(R2, When.UNEQUAL, network16(UDP_OCTETS), "pass")
    if layout is V4:
        code.load(4, R2, DATA, 14)  # version and header length, service, total length
        code.do(Do.AND, R2, little(b"\xff\0\xff\xff"))
        code.jump_if_word(R2, When.UNEQUAL, little(b"\x45\0" + (20 + UDP_OCTETS).to_bytes(2, "big")), "pass")
        code.load(2, R2, DATA, 20)
        code.do(Do.AND, R2, network16(0xBFFF))  # anything but "don't fragment" is a fragment, or evil (RFC 3514)
        code.jump_if(R2, When.UNEQUAL, 0, "pass")
        code.load(1, R2, DATA, 23)
        code.jump_if(R2, When.UNEQUAL, 17, "pass")
    else:
        code.load(1, R2, DATA, 14)
        code.do(Do.AND, R2, 0xF0)
        code.jump_if(R2, When.UNEQUAL, 0x60, "pass")
        code.load(2, R2, DATA, 18)
        code.jump_if(R2, When.UNEQUAL, network16(UDP_OCTETS), "pass")
        code.load(1, R2, DATA, 20)  # an extension header is another number
        code.jump_if(R2, When.UNEQUAL, 17, "pass")
    # Frames for others, group addresses among them, are seen where the interface listens to all.
    code.load(4, R2, DATA, 0)
    code.jump_if_word(R2, When.UNEQUAL, little(place.hardware[0:4]), "pass")
    code.load(2, R2, DATA, 4)
    code.jump_if(R2, When.UNEQUAL, little(place.hardware[4:6]), "pass")
    ours = f"{layout.name}-ours"
    if layout is V4:
        code.load(4, R2, DATA, layout.destination)
        for address in addresses_of(place, layout):
            code.jump_if_word(R2, When.EQUAL, little(address), ours)
    else:
        code.load(8, R2, DATA, layout.destination)
        code.load(8, R3, DATA, layout.destination + 8)
        for number, address in enumerate(addresses_of(place, layout)):
            code.number(R4, little(address[:8]))
            code.jump_if(R2, When.UNEQUAL, R4, f"v6-not-{number}")
            code.number(R4, little(address[8:]))
            code.jump_if(R3, When.EQUAL, R4, ours)
            code.label(f"v6-not-{number}")
    code.jump("pass")
    code.label(ours)


def only_answerable_sources(code: Assembler, layout: Layout, place: Place) -> None:
    """Pass what comes from where no honest datagram comes from: the kernel refuses it, and counts it."""
    refuse = Count.PASSED_SOURCE
    code.load(2, R2, DATA, layout.udp)
    code.jump_if(R2, When.EQUAL, 0, refuse)
    if layout is V4:
        code.load(1, R2, DATA, layout.source)
        code.jump_if(R2, When.EQUAL, 0, refuse)
        code.jump_if(R2, When.AT_LEAST, 224, refuse)
        if not place.is_loopback:
            code.jump_if(R2, When.EQUAL, 127, refuse)
        code.load(4, R2, DATA, layout.source)
        for broadcast in place.broadcasts:
            code.jump_if_word(R2, When.EQUAL, little(broadcast), refuse)
        if not place.is_loopback:
            code.load(4, R3, DATA, layout.destination)
            code.jump_if(R2, When.EQUAL, R3, refuse)
        return
    code.load(1, R2, DATA, layout.source)
    code.jump_if(R2, When.EQUAL, 0xFF, refuse)
    code.load(8, R2, DATA, layout.source)
    code.load(8, R3, DATA, layout.source + 8)
    if place.is_loopback:
        code.jump_if(R2, When.UNEQUAL, 0, "v6-source-fit")
        code.number(R4, little(bytes(7) + b"\x01"))  # ::1
        code.jump_if(R3, When.UNEQUAL, R4, refuse)
        code.label("v6-source-fit")
        return
    code.jump_if(R2, When.EQUAL, 0, refuse)  # none, loopback, and IPv4 in disguise (RFC 4291 2.5)
    code.load(8, R4, DATA, layout.destination)
    code.jump_if(R2, When.UNEQUAL, R4, "v6-source-fit")
    code.load(8, R4, DATA, layout.destination + 8)
    code.jump_if(R3, When.EQUAL, R4, refuse)
    code.label("v6-source-fit")


def only_undamaged(code: Assembler, layout: Layout) -> None:
    """Pass a datagram whose checksums are wrong, and leave in the frame's checksum what an answer begins from.

    A datagram from this very host carries the sum of its pseudo-header alone: the interface is to finish it. Turned
    round it has the same one, so the field is left as it is. Any other is checked, and R7 says that the answer's
    must be made anew.
    """
    name = layout.name
    _sum(code, R2, _address_words(layout))
    if layout is V4:
        code.do(Do.MOVE, R4, R2)
        _add(code, R4, [14, 18, 22])
        _fold(code, R4)
        code.jump_if(R4, When.UNEQUAL, 0xFFFF, Count.PASSED_CHECKSUM)
    code.do(Do.ADD, R2, _PSEUDO_REST)
    code.do(Do.MOVE, R4, R2)
    _fold(code, R4)
    code.load(2, R5, DATA, layout.udp + 6)
    code.jump_if(R4, When.EQUAL, R5, f"{name}-undamaged")
    code.do(Do.OR, FIRST, MAKE_CHECKSUM)
    if layout is V4:
        code.jump_if(R5, When.EQUAL, 0, f"{name}-undamaged")  # no checksum: RFC 768
    else:
        code.jump_if(R5, When.EQUAL, 0, Count.PASSED_CHECKSUM)  # RFC 8200 8.1
    _add(code, R2, range(layout.udp, layout.end, 4))
    _fold(code, R2)
    code.jump_if(R2, When.UNEQUAL, 0xFFFF, Count.PASSED_CHECKSUM)
    code.label(f"{name}-undamaged")


def turn_round(code: Assembler, layout: Layout) -> None:
    """Swap addresses and ports, and make the checksums right."""
    _swap(code, 4, 0, 6)
    _swap(code, 2, 4, 10)
    if layout is V4:
        for offset, word in zip((14, 18, 22), _ANSWER_V4, strict=True):
            code.put(4, DATA, offset, word)
        _swap(code, 4, 26, 30)
        code.do(Do.ADD, R2, R3)
        code.number(R3, sum(_ANSWER_V4))
        code.do(Do.ADD, R2, R3)
        _fold(code, R2)
        code.do(Do.XOR, R2, 0xFFFF)
        code.store(2, DATA, 24, R2)
    else:
        code.put(4, DATA, 14, little(b"\x60\0\0\0"))
        code.put(1, DATA, 21, HOPS)
        _swap(code, 8, layout.source, layout.destination)
        _swap(code, 8, layout.source + 8, layout.destination + 8)
    _swap(code, 2, layout.udp, layout.udp + 2)
    done = f"{layout.name}-checksum-stands"
    code.do(Do.MOVE, R2, FIRST)
    code.do(Do.AND, R2, MAKE_CHECKSUM)
    code.jump_if(R2, When.EQUAL, 0, done)
    code.put(2, DATA, layout.udp + 6, 0)
    _sum(code, R2, _address_words(layout))
    code.do(Do.ADD, R2, _PSEUDO_REST)
    _add(code, R2, range(layout.udp, layout.end, 4))
    _fold(code, R2)
    code.do(Do.XOR, R2, 0xFFFF)
    code.jump_if(R2, When.UNEQUAL, 0, f"{layout.name}-checksum-made")
    code.do(Do.MOVE, R2, 0xFFFF)  # RFC 768: a zero would say that there is none
    code.label(f"{layout.name}-checksum-made")
    code.store(2, DATA, layout.udp + 6, R2)
    code.label(done)


def _swap(code: Assembler, size: int, here: int, there: int) -> None:
    """Exchange two fields; R2 and R3 are left holding them."""
    code.load(size, R2, DATA, here)
    code.load(size, R3, DATA, there)
    code.store(size, DATA, here, R3)
    code.store(size, DATA, there, R2)


def _address_words(layout: Layout) -> range:
    """Return where the words of both addresses begin."""
    return range(layout.source, layout.source + 2 * layout.address_octets, 4)


def _sum(code: Assembler, target: Register, offsets: "list[int] | range") -> None:
    """Let `target` be the sum of the 32-bit words at `offsets`: below 2^40, so nothing is lost. R3 is used."""
    code.load(4, target, DATA, offsets[0])
    _add(code, target, offsets[1:])


def _add(code: Assembler, target: Register, offsets: "list[int] | range") -> None:
    for offset in offsets:
        code.load(4, R3, DATA, offset)
        code.do(Do.ADD, target, R3)


def _fold(code: Assembler, target: Register) -> None:
    """Fold a sum below 2^48 to 16 bits with the carries added in. R3 is used."""
    for bits, mask in ((32, None), (16, 0xFFFF), (16, 0xFFFF), (16, 0xFFFF)):
        code.do(Do.MOVE, R3, target)
        code.do(Do.SHIFT_RIGHT, R3, bits)
        if mask is None:
            code.do(Do.SHIFT_LEFT, target, 32)
            code.do(Do.SHIFT_RIGHT, target, 32)
        else:
            code.do(Do.AND, target, mask)
        code.do(Do.ADD, target, R3)


def network16(number: int) -> int:
    """Return 16 bits in network order as a little-endian load sees them."""
    return little(number.to_bytes(2, "big"))


def little(octets: bytes) -> int:
    """Return octets as a little-endian load sees them."""
    return int.from_bytes(octets, "little")


_PSEUDO_REST = network16(17) + network16(UDP_OCTETS)
"""What a pseudo-header has besides the addresses: RFC 768, RFC 8200 8.1. A ones' complement sum does not mind the
order of octets.
"""
_ANSWER_V4 = (
    little(b"\x45\0" + (20 + UDP_OCTETS).to_bytes(2, "big")),
    little(b"\0\0\x40\0"),  # no identification, "don't fragment": RFC 6864 4.1
    little(bytes([HOPS, 17, 0, 0])),
)
"""The words of an answer's header before its addresses, without a checksum yet."""
