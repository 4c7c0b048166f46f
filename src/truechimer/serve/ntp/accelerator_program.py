"""The accelerator's program: plain NTP requests answered below the sockets, as a list of BPF instructions.

It is loaded by `daemon.ntp.bpf_calls`; what it answers from is made in `serve.ntp.accelerator`, frames and their
headers are `serve.ntp.accelerator_frame`'s. Source: RFC 5905, RFC 9769; the kernel's XDP.

Law of the file: **in doubt it passes**. Only a request that the sockets would answer with the very same octets is
answered here: a plain datagram to us of 48 octets, mode 3, version 3 or 4, not possibly interleaved. Everything else
goes on to the sockets as if there were no accelerator. An answer has the size of its request.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum

from truechimer.errors import Misuse
from truechimer.serve.ntp import accelerator as shared
from truechimer.serve.ntp import ntpv5
from truechimer.serve.ntp.accelerator import Count, RateLimit
from truechimer.serve.ntp.accelerator_frame import (
    DATA,
    FIRST,
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R8,
    R9,
    STACK,
    V4,
    V6,
    Layout,
    Place,
    addresses_of,
    little,
    network16,
    only_answerable_sources,
    only_plain_udp,
    only_undamaged,
    turn_round,
)
from truechimer.serve.ntp.bpf import Assembler, Do, When
from truechimer.serve.ntp.packet import Mode
from truechimer.serve.ntp.rate_table import KISS_EVERY_NS, LEAK
from truechimer.serve.ntp.reply import UNIQUE_WITHIN_UNITS
from truechimer.serve.ntp.server import POLL_RANGE

XDP_DROP, XDP_PASS, XDP_TX = 1, 2, 3
LOOKUP_ELEMENT, UPDATE_ELEMENT, KTIME_GET_NS, RANDOM, CPU_NUMBER, KTIME_GET_BOOT_NS = 1, 2, 5, 7, 8, 125
"""Helpers of the kernel (include/uapi/linux/bpf.h); KTIME_GET_NS is CLOCK_MONOTONIC, and KTIME_GET_BOOT_NS the same
with the time that the machine slept.
"""

RATE_KEY_OCTETS = 16
RATE_VALUE_OCTETS = 16
RATE_FULL, RATE_KISSED = 0, 8
"""Of a row of the rate table: when the source's account is full again, when it heard RATE last (ns)."""
ACCESS_KEY_OCTETS = 20  # u32: length of the prefix; 16 octets of address, IPv4 as ::ffff:a.b.c.d

_NOW, _ROW = R8, R9
# on the stack: the key of the access list, of the rate table, a new row of it, where the source's row is
_ACCESS_KEY, _ADDRESS, _RATE_KEY, _RATE_ROW, _SOURCE_ROW = -20, -16, -40, -56, -64
_IS_KISS = 0x200
"""In FIRST: the answer is a RATE."""


class Offered(Enum):
    """What the door's sockets speak: where version 5 is among it, a client may ask for that in a plain request."""

    VERSION_4 = 4
    VERSION_5_TOO = 5


class Access(IntEnum):
    """What an entry of the access list says."""

    DROP = 0
    ANSWER = 1
    KISS = 2  # the sockets say DENY


@dataclass(frozen=True, slots=True)
class Maps:
    """Descriptors of the maps that the program uses; `access` and `rates` None: not looked at."""

    area: int
    rows: int
    access: int | None = None
    rates: int | None = None


def program(
    place: Place, *, port: int, maps: Maps, rate: RateLimit | None = None, offers: Offered = Offered.VERSION_4
) -> bytes:
    """Return the program for one interface and UDP port. Raises `Misuse` where the arguments contradict each other."""
    if (rate is None) is not (maps.rates is None):
        raise Misuse("accelerator: a rate needs its table, and a table its rate")
    if len(place.hardware) != 6 or not 1 <= port <= 0xFFFF:
        raise Misuse(f"accelerator: hardware address {place.hardware!r}, port {port}; give 6 octets and 1 to 65535")
    code = Assembler()
    code.load(4, DATA, R1, 0)
    code.load(4, R3, R1, 4)
    code.do(Do.MOVE, R2, DATA)
    code.do(Do.ADD, R2, V4.end)
    code.jump_if(R2, When.ABOVE, R3, "pass")
    for layout, ethertype in ((V4, 0x0800), (V6, 0x86DD)):
        if addresses_of(place, layout):
            code.load(2, R4, DATA, 12)
            code.jump_if(R4, When.EQUAL, network16(ethertype), layout.name)
    code.jump("pass")
    for layout in (V4, V6):
        if addresses_of(place, layout):
            _answer(code, layout, place, port=port, maps=maps, rate=rate, offers=offers)
    _ends(code)
    return code.octets()


def _answer(
    code: Assembler,
    layout: Layout,
    place: Place,
    *,
    port: int,
    maps: Maps,
    rate: RateLimit | None,
    offers: Offered,
) -> None:
    """Write the way from a frame of one family to its answer."""
    code.label(layout.name)
    only_plain_udp(code, layout, place, port=port)
    # From here on it is a datagram of 48 octets to us: every way out is counted.
    code.call(CPU_NUMBER)
    code.jump_if(R0, When.AT_LEAST, maps.rows, "pass")
    code.do(Do.MUL, R0, shared.CPU_ROW_OCTETS)
    code.map_value(_ROW, maps.area, shared.CPU_ROWS_AT)
    code.do(Do.ADD, _ROW, R0)
    only_answerable_sources(code, layout, place)
    _only_plain_requests(code, layout, offers)
    only_undamaged(code, layout)
    code.map_value(R1, maps.area)
    code.load(4, R2, R1, shared.OPEN)
    code.jump_if(R2, When.EQUAL, 0, Count.PASSED_CLOSED)
    if maps.access is not None:
        _only_allowed(code, layout, maps.access)
    _read_clock(code, layout)
    if maps.rates is not None and rate is not None:
        _only_within_rate(code, layout, place, maps.rates, rate)
    _read_segment(code, layout, maps)
    _write_reply(code, layout, rate)
    turn_round(code, layout)
    if rate is not None:
        code.do(Do.AND, FIRST, _IS_KISS)
        code.jump_if(FIRST, When.EQUAL, 0, f"{layout.name}-answered")
        _count(code, Count.RATE_KISSED)
        code.end(XDP_TX)
        code.label(f"{layout.name}-answered")
    _count(code, Count.ANSWERED)
    code.end(XDP_TX)


def _read_clock(code: Assembler, layout: Layout) -> None:
    """Leave CLOCK_MONOTONIC in `_NOW`. A second reading says how long the machine has slept; it costs as much as all
    the rest of an answer's arithmetic, so a processor with many questions takes one for all of `LOOK_AFTER_NS`.
    """
    code.call(KTIME_GET_NS)
    code.do(Do.MOVE, _NOW, R0)
    code.load(8, R2, _ROW, shared.LOOKED_NS)
    code.do(Do.SUB, R0, R2)
    code.jump_if(R0, When.BELOW, shared.LOOK_AFTER_NS, f"{layout.name}-looked")
    code.store(8, _ROW, shared.LOOKED_NS, _NOW)
    code.call(KTIME_GET_BOOT_NS)
    code.do(Do.SUB, R0, _NOW)
    code.store(8, _ROW, shared.SLEPT, R0)
    code.label(f"{layout.name}-looked")


def _only_plain_requests(code: Assembler, layout: Layout, offers: Offered) -> None:
    """Pass what is not a client's request of version 3 or 4, and what may be interleaved."""
    fit = f"{layout.name}-version-fit"
    code.load(1, FIRST, DATA, layout.ntp)
    code.do(Do.MOVE, R2, FIRST)
    code.do(Do.AND, R2, 0x3F)
    code.jump_if(R2, When.EQUAL, 3 << 3 | Mode.CLIENT, fit)
    code.jump_if(R2, When.UNEQUAL, 4 << 3 | Mode.CLIENT, Count.PASSED_OTHER)
    code.label(fit)
    if offers is Offered.VERSION_5_TOO:
        code.load(8, R2, DATA, layout.ntp + 16)
        code.number(R3, little(ntpv5.OFFER))  # asks whether version 5 is spoken
        code.jump_if(R2, When.EQUAL, R3, Count.PASSED_OTHER)
    # RFC 9769 2: an interleaved request repeats a receive stamp of ours as its origin, and its own receive and
    # transmit stamps differ. Who sets no origin, or both stamps alike, asks in basic mode.
    basic = f"{layout.name}-basic"
    code.load(8, R2, DATA, layout.ntp + 24)
    code.jump_if(R2, When.EQUAL, 0, basic)
    code.load(8, R2, DATA, layout.ntp + 32)
    code.load(8, R3, DATA, layout.ntp + 40)
    code.jump_if(R2, When.UNEQUAL, R3, Count.PASSED_INTERLEAVED)
    code.label(basic)


def _only_allowed(code: Assembler, layout: Layout, access: int) -> None:
    """Let go who the access list denies, where one is in force (R1 holds the shared area): the longest prefix says
    what becomes of a source.
    """
    allowed = f"{layout.name}-allowed"
    code.load(4, R2, R1, shared.LISTED)
    code.jump_if(R2, When.EQUAL, 0, allowed)
    code.put(4, STACK, _ACCESS_KEY, 128)
    if layout is V4:
        code.put(8, STACK, _ADDRESS, 0)
        code.put(4, STACK, _ADDRESS + 8, little(b"\0\0\xff\xff"))
        code.load(4, R2, DATA, layout.source)
        code.store(4, STACK, _ADDRESS + 12, R2)
    else:
        for half in (0, 8):
            code.load(8, R2, DATA, layout.source + half)
            code.store(8, STACK, _ADDRESS + half, R2)
    code.map_itself(R1, access)
    code.do(Do.MOVE, R2, STACK)
    code.do(Do.ADD, R2, _ACCESS_KEY)
    code.call(LOOKUP_ELEMENT)
    code.jump_if(R0, When.EQUAL, 0, Count.NOT_ALLOWED)
    code.load(4, R1, R0, 0)
    code.jump_if(R1, When.EQUAL, Access.KISS, Count.PASSED_DENIED)
    code.jump_if(R1, When.UNEQUAL, Access.ANSWER, Count.NOT_ALLOWED)
    code.label(allowed)


def _only_within_rate(code: Assembler, layout: Layout, place: Place, rates: int, rate: RateLimit) -> None:
    """Hold each source and its network to their rates, by the rules of `serve.ntp.rate_table.admit`: a virtual
    schedule (GCRA), one number for each; of what is above it one in four is answered all the same, one a second hears
    RATE, and the rest nothing.

    Two processors that serve one source at once may lose one step of it: it is answered once more than it should be.
    """
    name = layout.name
    fits, over, done = f"{name}-fits", f"{name}-over", f"{name}-in-rate"
    if place.is_loopback and not rate.loopback_too:
        if layout is V4:
            code.load(1, R1, DATA, layout.source)
            code.jump_if(R1, When.EQUAL, 127, done)
        else:
            code.load(8, R1, DATA, layout.source)
            code.jump_if(R1, When.EQUAL, 0, done)  # ::1: no other of these gets here
    _rate_row(code, layout, rates, is_network=False)
    code.store(8, STACK, _SOURCE_ROW, R0)
    _rate_row(code, layout, rates, is_network=True)
    code.load(8, R3, STACK, _SOURCE_ROW)
    for row, at, burst_ns in ((R0, R1, rate.network_burst_ns), (R3, R4, rate.burst_ns)):
        later = f"{name}-later-{burst_ns}-{row}"
        code.load(8, at, row, RATE_FULL)
        code.jump_if(at, When.AT_LEAST, _NOW, later)
        code.do(Do.MOVE, at, _NOW)
        code.label(later)
        code.number(R2, burst_ns)
        code.do(Do.ADD, R2, _NOW)
        code.jump_if(at, When.ABOVE, R2, over)
    for row, at, interval_ns in ((R0, R1, rate.network_interval_ns), (R3, R4, rate.interval_ns)):
        code.number(R2, interval_ns)
        code.do(Do.ADD, at, R2)
        code.store(8, row, RATE_FULL, at)
    code.jump(done)
    code.label(over)
    code.call(RANDOM)
    code.do(Do.AND, R0, LEAK - 1)
    code.jump_if(R0, When.EQUAL, 0, fits)
    code.load(8, R3, STACK, _SOURCE_ROW)
    code.load(8, R1, R3, RATE_KISSED)
    code.do(Do.MOVE, R2, _NOW)
    code.do(Do.SUB, R2, R1)
    code.jump_if(R2, When.BELOW, KISS_EVERY_NS, Count.RATE_DROPPED)
    code.store(8, R3, RATE_KISSED, _NOW)
    code.do(Do.OR, FIRST, _IS_KISS)
    code.jump(done)
    code.label(fits)
    _count(code, Count.RATE_LEAKED)
    code.label(done)


def _rate_row(code: Assembler, layout: Layout, rates: int, *, is_network: bool) -> None:
    """Leave the row of the source, or of its network (/24, /48), in R0; a new one is empty. Where the table gives none
    the request is within its rate: no honest source is refused because a table is full.
    """
    found = f"{layout.name}-row-{is_network}"
    if layout is V4:
        code.load(4, R2, DATA, layout.source)
        if is_network:
            code.do(Do.AND, R2, 0xFFFFFF)
    else:
        code.load(8, R2, DATA, layout.source)
        if is_network:
            code.do(Do.SHIFT_LEFT, R2, 16)
            code.do(Do.SHIFT_RIGHT, R2, 16)
    code.store(8, STACK, _RATE_KEY, R2)
    code.put(8, STACK, _RATE_KEY + 8, layout.address_octets << 1 | is_network)
    code.map_itself(R1, rates)
    code.do(Do.MOVE, R2, STACK)
    code.do(Do.ADD, R2, _RATE_KEY)
    code.call(LOOKUP_ELEMENT)
    code.jump_if(R0, When.UNEQUAL, 0, found)
    code.put(8, STACK, _RATE_ROW, 0)
    code.put(8, STACK, _RATE_ROW + 8, 0)
    code.map_itself(R1, rates)
    code.do(Do.MOVE, R2, STACK)
    code.do(Do.ADD, R2, _RATE_KEY)
    code.do(Do.MOVE, R3, STACK)
    code.do(Do.ADD, R3, _RATE_ROW)
    code.do(Do.MOVE, R4, 0)
    code.call(UPDATE_ELEMENT)
    code.map_itself(R1, rates)
    code.do(Do.MOVE, R2, STACK)
    code.do(Do.ADD, R2, _RATE_KEY)
    code.call(LOOKUP_ELEMENT)
    code.jump_if(R0, When.EQUAL, 0, f"{layout.name}-in-rate")
    code.label(found)


def _read_segment(code: Assembler, layout: Layout, maps: Maps) -> None:
    """Leave the receive stamp in R0 (host order), octets 0 to 23 of the answer in R1, R2, R3.

    A slot counts only if its number stands at both its ends: the writer is never between them where a reader is.
    """
    name = layout.name
    code.map_value(R1, maps.area)
    code.load(8, R4, R1, shared.CURRENT)
    code.do(Do.MOVE, R2, R4)
    code.do(Do.AND, R2, shared.SLOTS - 1)
    code.do(Do.MUL, R2, shared.SLOT_OCTETS)
    code.do(Do.ADD, R1, R2)
    code.do(Do.MOVE, R5, R1)
    at = shared.SLOTS_AT
    code.load(8, R2, R5, at + shared.SLOT_NUMBER)
    code.jump_if(R2, When.UNEQUAL, R4, Count.PASSED_EXPIRED)
    code.load(8, R2, R5, at + shared.ANCHOR)
    code.do(Do.MOVE, R0, _NOW)
    code.do(Do.SUB, R0, R2)
    code.load(8, R2, R5, at + shared.VALID)
    code.jump_if(R0, When.ABOVE, R2, Count.PASSED_EXPIRED)  # a moment before the anchor is a very large number
    code.load(8, R2, R5, at + shared.ASLEEP)
    code.load(8, R3, _ROW, shared.SLEPT)
    code.do(Do.SUB, R3, R2)
    code.do(Do.ADD, R3, shared.SLEPT_NS)
    code.jump_if(R3, When.AT_LEAST, 2 * shared.SLEPT_NS, Count.PASSED_EXPIRED)
    code.load(8, R2, R5, at + shared.SLOPE)
    code.do(Do.MUL, R0, R2)
    code.do(Do.SHIFT_RIGHT, R0, shared.SLOPE_BITS)
    code.load(8, R2, R5, at + shared.STAMP)
    code.do(Do.ADD, R0, R2)
    if maps.rates is not None:
        code.do(Do.MOVE, R1, FIRST)
        code.do(Do.AND, R1, _IS_KISS)
        code.jump_if(R1, When.EQUAL, 0, f"{name}-no-kiss")
        code.load(8, R1, R5, at + shared.KISS_0)
        code.load(8, R2, R5, at + shared.KISS_8)
        code.do(Do.MOVE, R3, 0)
        code.jump(f"{name}-head-read")
        code.label(f"{name}-no-kiss")
    code.load(8, R1, R5, at + shared.WORD_0)
    code.load(8, R2, R5, at + shared.WORD_8)
    code.load(8, R3, R5, at + shared.REFERENCE)
    code.label(f"{name}-head-read")
    code.load(8, R5, R5, at + shared.SLOT_NUMBER_AGAIN)
    code.jump_if(R5, When.UNEQUAL, R4, Count.PASSED_EXPIRED)
    # Unique: the low bits say who made the stamp, and a processor's own stamps only grow, but where time was re-set.
    shift = shared.stamp_shift(maps.rows)
    code.do(Do.SHIFT_RIGHT, R0, shift)
    code.load(8, R4, _ROW, shared.LAST_STAMP)
    code.do(Do.MOVE, R5, R4)
    code.do(Do.SUB, R5, R0)
    code.jump_if(R5, When.AT_LEAST, max(UNIQUE_WITHIN_UNITS >> shift, 1), f"{name}-newer")
    code.do(Do.MOVE, R0, R4)
    code.do(Do.ADD, R0, 1)
    code.label(f"{name}-newer")
    code.store(8, _ROW, shared.LAST_STAMP, R0)
    code.do(Do.SHIFT_LEFT, R0, shift)
    code.load(8, R5, _ROW, shared.OWN_BITS)
    code.do(Do.OR, R0, R5)
    code.jump_if(R0, When.EQUAL, 0, Count.PASSED_EXPIRED)  # the stamp that says "not known", once in 136 years


def _write_reply(code: Assembler, layout: Layout, rate: RateLimit | None) -> None:
    """Write the 48 octets: RFC 5905 figure 8. R7 holds the request's first octet."""
    ntp, name = layout.ntp, layout.name
    code.load(1, R4, DATA, ntp + 2)
    code.do(Do.SHIFT_LEFT, R4, 56)
    code.do(Do.SHIFT_SIGNED, R4, 56)
    for bound, when in ((POLL_RANGE[0], When.SIGNED_ABOVE), (POLL_RANGE[1], When.SIGNED_BELOW)):
        code.jump_if(R4, when, bound, f"{name}-poll-{when.name}")
        code.do(Do.MOVE, R4, bound)
        code.label(f"{name}-poll-{when.name}")
    if rate is not None:
        code.do(Do.MOVE, R5, FIRST)
        code.do(Do.AND, R5, _IS_KISS)
        code.jump_if(R5, When.EQUAL, 0, f"{name}-poll")
        code.jump_if(R4, When.SIGNED_ABOVE, rate.poll_log2, f"{name}-poll")
        code.do(Do.MOVE, R4, rate.poll_log2)
        code.label(f"{name}-poll")
    code.do(Do.AND, R4, 0xFF)
    code.do(Do.SHIFT_LEFT, R4, 16)
    code.do(Do.OR, R1, R4)
    code.do(Do.MOVE, R4, FIRST)
    code.do(Do.AND, R4, 0x38)
    code.do(Do.OR, R1, R4)
    code.load(8, R4, DATA, ntp + 40)
    code.store(8, DATA, ntp, R1)
    code.store(8, DATA, ntp + 8, R2)
    code.store(8, DATA, ntp + 16, R3)
    code.store(8, DATA, ntp + 24, R4)
    code.do(Do.MOVE, R1, R0)
    code.to_network(R0)
    code.store(8, DATA, ntp + 32, R0)
    code.do(Do.OR, R1, 1)  # the transmit stamp is the unit after the receive stamp
    code.to_network(R1)
    code.store(8, DATA, ntp + 40, R1)


def _ends(code: Assembler) -> None:
    """Write the ways out that do not answer."""
    for count in Count:
        if not code.is_aimed_at(count):
            continue  # the kernel refuses a program with instructions that nothing reaches
        code.label(count)
        _count(code, count)
        code.end(XDP_DROP if count in {Count.NOT_ALLOWED, Count.RATE_DROPPED} else XDP_PASS)
    code.label("pass")
    code.end(XDP_PASS)


def _count(code: Assembler, count: Count) -> None:
    code.load(8, R1, _ROW, shared.count_at(count))
    code.do(Do.ADD, R1, 1)
    code.store(8, _ROW, shared.count_at(count), R1)
