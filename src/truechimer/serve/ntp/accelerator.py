"""What the accelerator shares with the program in the kernel: the line from which it answers, its switch, its counts.

It holds no instruction (`serve.ntp.accelerator_program`), asks no kernel and reads no clock. The answers' fixed octets
are those of `serve.ntp.server.respond`, asked here with an empty request: the accelerator has no idea of its own of
stratum, leap, refid or dispersion.

Source: `house.md` 4.7; RFC 5905. The law of the file: **a segment is valid only while all that it fixes stays as it
is**. It is made from what may be served at its begin *and* at its end; where the two differ (a leap second, the bound
limit, the page's last moment) there is no segment, and the sockets answer.

All times of the kernel side are CLOCK_MONOTONIC (ns): slewed by whoever sets the host's clock, never stepped.
"""

import struct
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from truechimer.errors import Misuse
from truechimer.instants import ntp64
from truechimer.serve.clock_page import ClockPage, PageUnreadable
from truechimer.serve.ntp.packet import HEADER_OCTETS, Mode
from truechimer.serve.ntp.reply import Client, Kiss, Reply, ReplyKind, stamp_at
from truechimer.serve.ntp.server import POLL_RANGE, respond
from truechimer.serve.rx_stamp import RxStamp, StampKind
from truechimer.serve.served_time import ServedTime, serve_at, tai_fs_at, tai_minus_ntp_at

NS_PER_S = 10**9

VALID_NS = 50_000_000
"""How long a segment is believed: it is renewed every 10 ms, and 100 ms is the most that `house.md` 4.7 allows."""

SLEW_LIMIT = 5e-4
"""A change of CLOCK_MONOTONIC's rate by this much within a segment is inside the bound: all that a program that sets
the clock's frequency can ask of Linux. A larger one is seen at the next renewal, and closes the accelerator.
"""

READING_LIMIT_S = 5e-6
"""Reading CLOCK_MONOTONIC_RAW and CLOCK_MONOTONIC together: `daemon.ntp.accelerator_anchor` takes nothing wider."""

ACCELERATOR_LIMIT_S = READING_LIMIT_S + SLEW_LIMIT * VALID_NS / NS_PER_S
"""Largest error of the accelerator's stamps against the page's line; a term of every answer's root dispersion."""

# The shared area, one value of an array map. Offsets in octets; all numbers are in the host's order.
OPEN = 0  # u32: the switch; 0: everything goes to the sockets
LISTED = 4  # u32: 1: a source must be on the access list
CURRENT = 8  # u64: number of the segment in use; it stands in slot number % SLOTS
SLOTS_AT = 64
SLOTS = 4
"""A slot is written again when three others have been used since: 30 ms, where the program takes 0.1 us."""
SLOT_OCTETS = 128
SLOT_NUMBER, ANCHOR, VALID, STAMP, SLOPE, ASLEEP, WORD_0, WORD_8, REFERENCE, KISS_0, KISS_8, SLOT_NUMBER_AGAIN = range(
    0, 96, 8
)
CPU_ROWS_AT = 1024
CPU_ROW_OCTETS = 128
LAST_STAMP = 0
COUNTS_AT = 8
LOOKED_NS = 104  # u64: when this processor last looked how long the machine has slept, CLOCK_MONOTONIC
SLEPT = 112  # u64: and how long it was, ns
OWN_BITS = 120  # u64: what the lower bits of this processor's receive stamps are
MOST_CPUS = 256

SLEPT_NS = 1 << 20
"""The machine has slept where CLOCK_BOOTTIME and CLOCK_MONOTONIC, read one after the other, are further apart than the
segment says, by more than this (1 ms): the raw counter stood still, and the segment is of before.
"""
LOOK_AFTER_NS = 1 << 16
"""A processor looks how long the machine has slept when it last looked longer ago than this: 66 us, on a clock that
stands still meanwhile. Between a machine's last packet and its sleep, and between its waking and the first packet, its
devices are stopped and started, which takes longer.
"""

SLOPE_BITS = 30
"""A slope is in 2^-30 units of 2^-32 s a nanosecond: over 50 ms right to 0.02 ns, and no product passes 64 bits (that
would take 4 s).
"""

_SLOT = struct.Struct("=QQQQQq8s8s8s8s8sQ")


class Count(StrEnum):
    """What became of a request that reached our address and port in the plain form; one counter each."""

    ANSWERED = "answered"
    NOT_ALLOWED = "not_allowed"  # not on the access list: no answer, as the sockets do
    RATE_DROPPED = "rate_dropped"  # above the rate of one source
    RATE_KISSED = "rate_kissed"  # above it, and told so: RFC 5905 7.4
    RATE_LEAKED = "rate_leaked"  # above it, and answered all the same; among the answered too
    PASSED_DENIED = "passed_denied"  # not on the list, and the sockets are to say DENY
    # Everything else goes to the sockets, because:
    PASSED_OTHER = "passed_other"  # not a client's plain request of version 3 or 4
    PASSED_INTERLEAVED = "passed_interleaved"  # may be interleaved (RFC 9769), which needs memory of the client
    PASSED_CHECKSUM = "passed_checksum"  # damaged on the way: the kernel drops it, and counts it
    PASSED_SOURCE = "passed_source"  # an address or port that cannot be answered
    PASSED_CLOSED = "passed_closed"  # the switch is off: no synchronised time to serve, or doubt about the clock
    PASSED_EXPIRED = "passed_expired"  # the segment was not renewed in time


COUNTS = tuple(Count)


class NoSegment(StrEnum):
    """Why the accelerator may not answer now."""

    UNSYNCHRONISED = "unsynchronised"  # by the page, as for every door
    CHANGING = "changing"  # a leap second, its warning, or a new page falls within the segment


@dataclass(frozen=True, slots=True)
class Anchor:
    """CLOCK_MONOTONIC `mono_ns` and CLOCK_MONOTONIC_RAW `raw_ns` at one moment; `raw_per_mono` is d(RAW)/d(MONO),
    `asleep_ns` how long the machine has slept since it was started.
    """

    mono_ns: int
    raw_ns: int
    raw_per_mono: float
    asleep_ns: int = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """A line from which the program in the kernel answers, `valid_ns` long from `mono_ns`.

    `stamp` is the NTP stamp (2^-32 s) at `mono_ns`, `slope` its increase (2^-30 units of 2^-32 s) a nanosecond;
    `head` holds octets 0 to 23 of an answer, version and poll left zero, `kiss` octets 0 to 15 of a RATE.
    """

    mono_ns: int
    valid_ns: int
    stamp: int
    slope: int
    head: bytes
    kiss: bytes
    asleep_ns: int = 0

    def stamp_at(self, mono_ns: int) -> int:
        """Return the NTP stamp at `mono_ns`, by the program's own arithmetic."""
        return (self.stamp + ((mono_ns - self.mono_ns) * self.slope >> SLOPE_BITS)) & ntp64.STAMP_MASK


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How often one source and its network are answered, in the numbers of `serve.ntp.rate_table` (ns). `poll_log2` is
    what a RATE says would be right (log2 s); `loopback_too`: this machine's own requests are counted as well.
    """

    interval_ns: int
    burst_ns: int
    network_interval_ns: int
    network_burst_ns: int
    poll_log2: int = POLL_RANGE[0]
    loopback_too: bool = False

    def __post_init__(self) -> None:
        """Refuse what the program cannot hold in its instructions."""
        numbers = (self.interval_ns, self.burst_ns, self.network_interval_ns, self.network_burst_ns)
        if not all(0 <= number < 2**61 for number in numbers) or not POLL_RANGE[0] <= self.poll_log2 <= POLL_RANGE[1]:
            raise Misuse(f"rate of one source: {self}; give times from 0 to 73 years, a poll from -6 to 17")


_EMPTY_REQUEST = bytes([Mode.CLIENT | 4 << 3]) + bytes(HEADER_OCTETS - 1)
_NOBODY = Client("192.0.2.1", 123)
_VERSION_MASK = 0x38


def segment(
    page: ClockPage | PageUnreadable,
    anchor: Anchor,
    *,
    bound_limit_s: float | None,
    boot_id: bytes,
    simulated_allowed: bool,
    precision_log2: int,
    valid_ns: int = VALID_NS,
) -> Segment | NoSegment:
    """Return the line to answer from for `valid_ns` from the anchor on, or why there is none.

    The other arguments are those of `serve_at` and `respond`, as the door's sockets use them.
    """
    end_raw_ns = anchor.raw_ns + round(valid_ns * anchor.raw_per_mono * (1.0 + SLEW_LIMIT)) + 1
    at_begin, at_end = (
        serve_at(page, raw_ns, bound_limit_s=bound_limit_s, boot_id=boot_id, simulated_allowed=simulated_allowed)
        for raw_ns in (anchor.raw_ns, end_raw_ns)
    )
    if not isinstance(at_begin, ServedTime):
        return NoSegment.UNSYNCHRONISED
    if not isinstance(at_end, ServedTime) or _what_leaps(at_begin, anchor.raw_ns) != _what_leaps(at_end, end_raw_ns):
        return NoSegment.CHANGING
    # The bound is the one at the end, where it is widest, and the receive stamp the one at the begin.
    widest = at_end if at_end.bound_s >= at_begin.bound_s else at_begin
    received = RxStamp(anchor.raw_ns, StampKind.KERNEL, ACCELERATOR_LIMIT_S)
    ask = partial(respond, _EMPTY_REQUEST, _NOBODY, rx=received, served=widest, precision_log2=precision_log2)
    reply, kiss = ask(), ask(kiss=Kiss.RATE)
    if not isinstance(reply, Reply) or reply.kind is not ReplyKind.SYNCHRONISED or not isinstance(kiss, Reply):
        return NoSegment.UNSYNCHRONISED
    return Segment(
        mono_ns=anchor.mono_ns,
        valid_ns=valid_ns,
        stamp=stamp_at(widest.page, anchor.raw_ns),
        slope=_slope(widest.page, anchor, valid_ns),
        head=_plain(reply.head)[:24],
        kiss=_plain(kiss.head)[:16],
        asleep_ns=anchor.asleep_ns,
    )


def renewed(held: Segment, page: ClockPage, anchor: Anchor, *, valid_ns: int = VALID_NS) -> Segment:
    """Return a segment from another anchor with the octets of `held`, which was made of the same page and is valid for
    long enough: to its end, and no further, all that those octets say stays as it is.
    """
    return Segment(
        mono_ns=anchor.mono_ns,
        valid_ns=valid_ns,
        stamp=stamp_at(page, anchor.raw_ns),
        slope=_slope(page, anchor, valid_ns),
        head=held.head,
        kiss=held.kiss,
        asleep_ns=anchor.asleep_ns,
    )


def _slope(page: ClockPage, anchor: Anchor, valid_ns: int) -> int:
    """Return the slope of a segment; raises `Misuse` where the program's products, which have no sign, would pass 64
    bits before its end.
    """
    stamps_per_ns = ntp64.UNITS_PER_S / NS_PER_S * (1.0 + page.rate) * anchor.raw_per_mono
    slope = round(stamps_per_ns * (1 << SLOPE_BITS))
    if min(valid_ns, slope) < 0 or valid_ns * slope >= 1 << 64:
        raise Misuse(f"a segment of {valid_ns} ns at a slope of {slope}; make it shorter than 4 s")
    return slope


def _plain(head: bytes) -> bytes:
    """Return the octets of an answer with version and poll, which are the request's, left zero."""
    return bytes([head[0] & ~_VERSION_MASK, head[1], 0]) + head[3:]


def _what_leaps(served: ServedTime, raw_ns: int) -> tuple[int, int]:
    """Return what a leap second changes: the warning, and TAI minus NTP's count."""
    return served.leap, tai_minus_ntp_at(served.page, tai_fs_at(served.page, raw_ns))


def slot_octets(made: Segment, number: int) -> bytes:
    """Return the octets of a slot that holds `made` as segment `number`."""
    head = (made.head[0:8], made.head[8:16], made.head[16:24])
    kiss = (made.kiss[0:8], made.kiss[8:16])
    line = (made.mono_ns, made.valid_ns, made.stamp, made.slope, made.asleep_ns)
    return _SLOT.pack(number, *line, *head, *kiss, number)


def slot_at(number: int) -> int:
    """Return where segment `number` stands in the shared area."""
    return SLOTS_AT + number % SLOTS * SLOT_OCTETS


def rows_for(cpus: int) -> int:
    """Return how many rows the shared area needs for the numbers of `cpus` processors: a power of two."""
    if not 1 <= cpus <= MOST_CPUS:
        raise Misuse(f"{cpus} processors: the accelerator counts on up to {MOST_CPUS}; the sockets serve")
    return 1 << (cpus - 1).bit_length()


def area_octets(rows: int) -> int:
    """Return the size of the shared area, whole pages of 4096 octets."""
    return -(-(CPU_ROWS_AT + rows * CPU_ROW_OCTETS) // 4096) * 4096


def stamp_shift(rows: int) -> int:
    """Return how many low bits of a stamp say who made it: the processor, and receive (0) or transmit (1).

    So no two stamps of the accelerator are equal, whoever asked: RFC 9769 wants them unique for each client.
    """
    return 1 + (rows - 1).bit_length()


def own_bits_at(row: int) -> int:
    """Return where a processor's own bits stand in the shared area; they are twice its number."""
    return CPU_ROWS_AT + row * CPU_ROW_OCTETS + OWN_BITS


def count_at(count: Count) -> int:
    """Return where a count stands in a processor's row."""
    return COUNTS_AT + 8 * COUNTS.index(count)


def counts_of(area: bytes, rows: int) -> dict[Count, int]:
    """Add up the counts of all processors."""
    totals = dict.fromkeys(COUNTS, 0)
    for row in range(rows):
        start = CPU_ROWS_AT + row * CPU_ROW_OCTETS + COUNTS_AT
        for count, number in zip(COUNTS, struct.unpack_from(f"={len(COUNTS)}Q", area, start), strict=True):
            totals[count] += number
    return totals
