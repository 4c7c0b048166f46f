"""The compiled NTP loop's memory, filled as the kernel fills it: datagrams, who sent them, control messages.

It tests nothing itself; `test_bounds` does, and `guarded`. Control messages are laid out and read here from cmsg(3)
alone, without a line of the product.
"""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
from tests.daemon_serve.doors import a_live_page, a_page_in

from truechimer.daemon.door.counters import Counters
from truechimer.daemon.door.door_rules import DoorRules, Gatekeeper
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp import ntp_layout
from truechimer.daemon.ntp.ntp_layout import CONTROL_ROOM, Memory
from truechimer.daemon.ntp.ntp_loop import UdpPort
from truechimer.daemon.ntp.ntp_loop_compiled import CompiledNtpLoop
from truechimer.daemon.page_file import PageReader

REALTIME_NS = 1_790_000_000 * 10**9
MSG_CTRUNC, MSG_TRUNC = 0x8, 0x20
SECRET = bytes(range(9, 256)) + bytes(9)
RULES = {
    "everybody": DoorRules(rate_per_s=0.0),
    "rated, listed": DoorRules(rate_per_s=0.01, rate_burst=2, deny=("198.51.100.0/24", "2001:db8:2::/48")),
    "version 5 too": DoorRules(rate_per_s=0.0, ntpv5=True, rate_loopback=True),
}
NAMES = (
    struct.pack("=H", 2) + struct.pack(">H", 4000) + bytes([192, 0, 2, 1]) + bytes(8),
    struct.pack("=H", 2) + struct.pack(">H", 0) + bytes([192, 0, 2, 1]) + bytes(8),
    struct.pack("=H", 2) + struct.pack(">H", 4000) + bytes([198, 51, 100, 9]) + bytes(8),
    struct.pack("=H", 10) + struct.pack(">HI", 4000, 0) + bytes.fromhex("20010db8000200000000000000000007") + bytes(4),
    struct.pack("=H", 10) + struct.pack(">HI", 4000, 0) + bytes(10) + b"\xff\xff\xc0\0\2\1" + bytes(4),
)
"""Names of sockets as the kernel writes them: IPv4, from port 0, denied; IPv6 denied, IPv4 in IPv6."""


@dataclass(frozen=True)
class Datagram:
    """What the kernel says of one: `said` octets of control messages, of which `control` are the first ones."""

    octets: bytes
    name: bytes
    control: bytes
    said: int
    flags: int


def a_message(level: int, kind: int, data: bytes, *, said: int | None = None) -> bytes:
    """Return a control message: its length with the head, level, kind, data, filled up to eight octets."""
    octets = 16 + len(data)
    head = struct.pack("=qii", octets if said is None else said, level, kind)
    return head + data + bytes(-octets % 8)


def stamp(ago_ns: int = 900) -> bytes:
    return struct.pack("=qq", *divmod(REALTIME_NS - ago_ns, 10**9))


KNOWN = (
    (1, 35, stamp()),
    (1, 37, stamp() + bytes(16) + struct.pack("=qq", 7, 9)),
    (0, 8, struct.pack("=i", 1) + bytes([192, 0, 2, 1]) + bytes([192, 0, 2, 1])),
    (41, 50, bytes.fromhex("20010db8000000000000000000000001") + struct.pack("=i", 1)),
    (41, 67, struct.pack("=i", 0)),  # a traffic class, which nobody asked for
    (0, 1, b"\x2e"),  # a type of service: one octet
)


def controls(draw: random.Random) -> Iterator[tuple[bytes, int, int]]:
    """Give control messages, the octets that are said of them, flags: every cut, order, length, level and kind."""
    for level, kind, data in KNOWN:
        whole = a_message(level, kind, data)
        for said in range(CONTROL_ROOM + 1):  # the kernel gave fewer octets than stand there, or more
            yield whole, said, MSG_CTRUNC if said < len(whole) else 0
        for length in (*range(72), 191, 192, 193, 2**31 - 1, 2**31, 2**32 + 32, 2**63 - 1, -1, -16, -(2**63)):
            yield a_message(level, kind, data, said=length), CONTROL_ROOM, 0
            yield a_message(level, kind, data, said=length), len(whole), 0
        for other in (-1, 0, 1, 2, 6, 17, 41, 255, 2**31 - 1):
            yield a_message(other, kind, data), len(whole), 0
            yield a_message(level, other, data), len(whole), 0
        for octets in range(65):  # the right kind with any room for data
            cut = a_message(level, kind, data[:octets].ljust(octets, b"\xff"))
            yield cut, len(cut), 0
    for order in permutations(KNOWN, 3):
        joined = b"".join(a_message(*each) for each in order)[:CONTROL_ROOM]
        yield joined, len(joined), 0
        yield joined, draw.randrange(len(joined)), MSG_CTRUNC
    for _ in range(400):
        yield draw.randbytes(CONTROL_ROOM), draw.choice([CONTROL_ROOM, draw.randrange(400)]), 0
    for said in (-1, -(2**31), 2**31, 2**40, CONTROL_ROOM + 1):
        yield bytes(CONTROL_ROOM), said, MSG_CTRUNC


def read_by_hand(control: bytes, said: int) -> tuple[int | None, int | None, int | None]:
    """Return the kernel's stamp, the card's (ns), and the octet at which packet information begins; None for none."""
    software = hardware = None
    info = None
    end, at = min(said, CONTROL_ROOM), 0
    while at + 16 <= end:
        octets, level, kind = struct.unpack_from("=qii", control, at)
        if not 16 <= octets <= end - at:
            break
        data = control[at + 16 : at + octets]
        if (level, kind) == (1, 35) and len(data) >= 16:
            software = in_ns(data)
        elif (level, kind) == (1, 37) and len(data) >= 48:
            software, hardware = in_ns(data), in_ns(data[32:])
        elif ((level, kind) == (0, 8) and len(data) >= 12) or (
            (level, kind) == (41, 50) and len(data) >= 20 and data[0] != 0xFF
        ):
            info = at + 16
        at += -(-octets // 8) * 8
    return software, hardware, info


def in_ns(data: bytes) -> int | None:
    seconds, ns = struct.unpack("=qq", data[:16])
    is_stamp = 0 <= seconds <= 2**33 and 0 <= ns < 10**9 and (seconds, ns) != (0, 0)
    return seconds * 10**9 + ns if is_stamp else None


def tails(draw: random.Random, octets: int) -> Iterator[bytes]:
    """Give what may follow a header, `octets` long: right fields, nothing in it, chance, chains of fields of which one
    may lie.
    """
    whole = octets - octets % 4
    fields = [16] * min(max(0, (whole - 28) // 16), draw.randrange(15)) if draw.randrange(2) else []
    fields.append(whole - sum(fields))
    yield b"".join(struct.pack(">HH", 0x104, one) + bytes(max(0, one - 4)) for one in fields)[:octets].ljust(
        octets, b"\0"
    )
    yield bytes(octets)
    yield draw.randbytes(octets)
    for _ in range(2):
        body, at = bytearray(draw.randbytes(octets)), 0
        while at + 4 <= octets:
            left = octets - at
            said = draw.choice([16, 28, 32, 64, left, left + 4, left - 1, 0, 4, 15, draw.randrange(2000), 0xFFFC])
            body[at : at + 4] = struct.pack(">HH", draw.choice([0x104, 0x204, 0xF5FF]), said & 0xFFFF)
            at += max(4, said)
        yield bytes(body)


def datagrams(draw: random.Random, *, every: int = 1) -> Iterator[Datagram]:
    """Give datagrams of all lengths 0 to 1500 (each `every`-th) and the longest, with everything that may be odd."""
    waiting: list[tuple[bytes, int, int]] = []
    for length in [*range(0, 1501, every), *[48] * 40, 52, 68, 72, 2047, 2048, 65_507]:
        for first in (0x23, 0x1B, 0x2B, 0x26, draw.randrange(256)):
            head = bytes([first]) + draw.randbytes(47)
            if draw.randrange(3) == 0:
                head = head[:16] + b"NTP5DRFT" + head[24:]  # asks whether version 5 is spoken
            if draw.randrange(2):
                head = head[:24] + bytes(24)
            for tail in tails(draw, max(0, length - 48)) if first in {0x23, 0x2B} else [bytes(max(0, length - 48))]:
                waiting = waiting or list(controls(draw))
                control, said, flags = waiting.pop(draw.randrange(len(waiting)))
                octets = (head + tail)[:length]
                flags |= MSG_TRUNC if length > ntp_layout.DATAGRAM_ROOM else 0
                yield Datagram(octets, draw.choice(NAMES), control, said, flags)


def a_loop(
    folder: Path,
    rules: DoorRules,
    *,
    address: str = "0.0.0.0",
    two_per_stamp: bool = False,
) -> CompiledNtpLoop:
    """Return a loop on a page, with the host's clocks not learned; its port is the caller's to close."""
    with a_page_in(folder, a_live_page()):
        pages = PageReader(folder / "page")
    port, counters = UdpPort(address, 0), Counters()
    gate = Gatekeeper(rules, secret=SECRET)
    loop = CompiledNtpLoop(
        port,
        pages,
        clocks=HostClocks(),
        counters=counters,
        bound_limit_s=1e-3,
        precision_log2=-23,
        gate=gate,
        two_per_stamp=two_per_stamp,
    )
    assert loop._prepare(loop._clocks.raw_ns())
    return loop


def lay(memory: Memory, batch: list[Datagram], *, now_ns: int) -> None:
    """Fill the memory with a batch as recvmmsg(2) leaves it; octets that no datagram has are 0xA5."""
    state = memory.state
    memory.watch[:2], memory.pairs[0] = (0, 1), (now_ns, REALTIME_NS, 10)
    state[ntp_layout.PENDING], state[ntp_layout.USER_RAW] = len(batch), now_ns
    state[ntp_layout.NOT_BEFORE_RAW], state[ntp_layout.JUDGED] = now_ns - 10**9, -1
    state[ntp_layout.LAST_RX_RAW], state[ntp_layout.ALLOWANCE] = -(2**62), 64
    memory.octets[:] = memory.peers[:] = 0xA5
    memory.control[:] = -1
    for i, one in enumerate(batch):
        kept = one.octets[: ntp_layout.DATAGRAM_ROOM]
        memory.octets[i, : len(kept)] = np.frombuffer(kept, dtype=np.uint8)
        memory.peers[i, : len(one.name)] = np.frombuffer(one.name, dtype=np.uint8)
        control = one.control[:CONTROL_ROOM].ljust(-(-len(one.control) // 8) * 8, b"\0")
        memory.control[i, : len(control) // 8] = np.frombuffer(control, dtype=np.int64)
        memory.inbound[i, ntp_layout.RECEIVED], memory.inbound[i, ntp_layout.FLAGS] = len(kept), one.flags
        memory.inbound[i, ntp_layout.NAME_LENGTH], memory.inbound[i, ntp_layout.CONTROL_LENGTH] = (
            len(one.name),
            one.said,
        )


def batches(of: Iterator[Datagram]) -> Iterator[list[Datagram]]:
    batch: list[Datagram] = []
    for one in of:
        batch.append(one)
        if len(batch) == ntp_layout.BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
