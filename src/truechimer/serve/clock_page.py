"""The clock page: the one small block of bytes from which every door reads the time.

It does not say what may be served from these figures (`serve.served_time` does), opens no file and reads no clock.

Source: `house.md` sections 3 and 4. The law of the file: **a reader never accepts a torn page**. There are two slots.
A writer changes only the older one: it first makes that slot's sequence number odd, then writes the body, then the
checksum, then the next even number. A reader copies a slot, and takes it only if the number is even, stands unchanged
after the copy, and the CRC-32 over number and body agrees; of two good slots the newer counts. The checksum makes
this independent of the processor's memory order, and the second slot lets a reader go on after a writer was killed
between two bytes.
"""

import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from truechimer.errors import Misuse
from truechimer.instants import FS_PER_S

PAGE_BYTES = 4096
"""Size of the whole page: one page of memory on every platform we run on."""

MAGIC = b"TRUECHPG"
VERSION = 1

SLOT_OFFSETS = (512, 2304)
SLOT_ROOM_BYTES = 1792
"""Room kept for each slot, so that later versions can grow without moving anything."""

LEAST_BOUND_GROWTH = 1e-8
"""s/s: no host's raw counter is believed to keep its learned rate better than this (`contract.md`)."""

READ_TRIES = 4

_HEADER = struct.Struct("<8sHHI")  # magic, version, body length, reserved
_SEQUENCE = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
# anchor_raw_ns, anchor_tai seconds, anchor_tai fs within the second, rate, bound, growth, u, coverage, root delay,
# state, flags, stratum, reserved, tai_minus_utc, next leap, next tai_minus_utc, pid, leap expiry, valid until,
# written, refid, boot id
_BODY = struct.Struct("<qqqddddddBBBBiqiiqqq4s16s")
_BODY_START = _SEQUENCE.size
_CHECKSUM_START = _BODY_START + _BODY.size
_SLOT_BYTES = _CHECKSUM_START + _CHECKSUM.size

_FLAG_SIMULATED = 1
_FLAG_NEXT_LEAP = 2


class ServiceState(StrEnum):
    """The state of the service, in the words of `contract.md`."""

    FREERUN = "freerun"
    ACQUIRING = "acquiring"
    STEERED = "steered"
    HOLDOVER = "holdover"
    ALARM = "alarm"


_STATES = tuple(ServiceState)


class PageUnreadable(StrEnum):
    """Why a buffer holds no page that may be believed."""

    EMPTY = "empty"  # no writer has been here yet
    NOT_A_PAGE = "not-a-page"
    UNKNOWN_VERSION = "unknown-version"
    TORN = "torn"  # a writer was at work, or died, each time we looked
    OUT_OF_RANGE = "out-of-range"  # whole, but with values no writer of ours produces


class ClockPageMisuse(Misuse):
    """A page that must not be written: `field` holds `found`, but must be `expected`."""

    def __init__(self, field: str, *, found: object, expected: str) -> None:
        super().__init__(f"clock page: {field} is {found!r}, must be {expected}; the page was not written")
        self.field = field
        self.found = found
        self.expected = expected


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockPage:
    """What the laboratory says about the time, as a straight line over the host's raw counter.

    `anchor_raw_ns` is CLOCK_MONOTONIC_RAW (ns) at which TAI is `anchor_tai_fs` (fs since 1970-01-01T00:00:00 TAI);
    `rate` is d(TAI)/d(raw) - 1. `bound_s` holds at the anchor and grows by `bound_growth` (s/s) on either side of it;
    `u_s` is one standard uncertainty, `coverage` the measured lower limit of the share of time in which the truth is
    inside the bound. `next_leap_tai_s` is the TAI second (since 1970) at which the new offset `next_tai_minus_utc_s`
    begins, or began within the last half day; `leap_expires_tai_s` the TAI second after which the leap table must not
    be believed. After `valid_until_raw_ns` no door is synchronised. `refid`, `stratum` and `root_delay_s` are for the
    NTP door. `boot_id` names the boot whose raw counter this is; all zeros where the writer did not say.

    Invariant: every field is finite and in the range that `__post_init__` states; `ClockPageMisuse` otherwise.
    """

    anchor_raw_ns: int
    anchor_tai_fs: int
    rate: float
    bound_s: float
    bound_growth: float
    u_s: float
    coverage: float
    state: ServiceState
    simulated: bool
    tai_minus_utc_s: int
    next_leap_tai_s: int | None
    next_tai_minus_utc_s: int | None
    leap_expires_tai_s: int
    valid_until_raw_ns: int
    refid: bytes
    stratum: int
    root_delay_s: float
    written_raw_ns: int
    laboratory_pid: int
    boot_id: bytes = bytes(16)

    def __post_init__(self) -> None:
        """Refuse a page that no door could serve honestly."""
        for field in ("anchor_raw_ns", "valid_until_raw_ns", "written_raw_ns", "leap_expires_tai_s"):
            _require(field, getattr(self, field), lambda x: -(2**62) < x < 2**62, "within +-2^62")
        _require("anchor_tai_fs", self.anchor_tai_fs, lambda x: abs(x) < 2**62 * FS_PER_S, "within +-2^62 s")
        _require("rate", self.rate, lambda x: abs(x) < 1e-2, "a number below 1e-2: raw counters are within 1e-3")
        _require("bound_s", self.bound_s, lambda x: 0.0 <= x < math.inf, "a number >= 0 in seconds")
        _require(
            "bound_growth", self.bound_growth, lambda x: LEAST_BOUND_GROWTH <= x < 1.0, "1e-8 s/s or more, below 1"
        )
        _require("u_s", self.u_s, lambda x: 0.0 <= x < math.inf, "a number >= 0 in seconds")
        _require("coverage", self.coverage, lambda x: 0.0 <= x <= 1.0, "a share between 0 and 1")
        _require("root_delay_s", self.root_delay_s, lambda x: 0.0 <= x < math.inf, "a number >= 0 in seconds")
        _require("tai_minus_utc_s", self.tai_minus_utc_s, lambda x: abs(x) < 2**31, "whole seconds in 32 bits")
        _require("refid", self.refid, lambda x: len(x) == 4, "four octets")
        _require("boot_id", self.boot_id, lambda x: len(x) == 16, "sixteen octets")
        _require("stratum", self.stratum, lambda x: 1 <= x <= 15, "1 to 15 (RFC 5905 7.3)")
        _require("laboratory_pid", self.laboratory_pid, lambda x: 0 <= x < 2**31, "a process id")
        if (self.next_leap_tai_s is None) != (self.next_tai_minus_utc_s is None):
            raise ClockPageMisuse(
                "next_tai_minus_utc_s",
                found=self.next_tai_minus_utc_s,
                expected="given exactly where next_leap_tai_s is",
            )
        if self.next_leap_tai_s is not None and self.next_tai_minus_utc_s is not None:
            _require("next_leap_tai_s", self.next_leap_tai_s, lambda x: abs(x) < 2**62, "within +-2^62")
            change_s = self.next_tai_minus_utc_s - self.tai_minus_utc_s
            _require("next_tai_minus_utc_s", change_s, lambda x: x in {-1, 1}, "one second from tai_minus_utc_s")


def _require(field: str, found: Any, holds: Callable[[Any], bool], expected: str) -> None:
    """Raise `ClockPageMisuse` unless `holds(found)`; NaN never holds."""
    if not holds(found):
        raise ClockPageMisuse(field, found=found, expected=expected)


class PageBuffer(Protocol):
    """Bytes shared by one writer and many readers: a mapped file, or a bytearray in a test."""

    def __getitem__(self, where: slice, /) -> bytes | bytearray | memoryview:
        """Return a copy or view of `where`."""

    def __setitem__(self, where: slice, octets: bytes, /) -> None:
        """Put `octets` at `where`, in any order of single octets."""


def format_buffer(buffer: PageBuffer) -> None:
    """Make a zeroed buffer of `PAGE_BYTES` an empty page; the magic goes in last, so that half a header is no page."""
    buffer[8 : _HEADER.size] = _HEADER.pack(MAGIC, VERSION, _BODY.size, 0)[8:]
    buffer[0:8] = MAGIC


def write(buffer: PageBuffer, page: ClockPage) -> None:
    """Publish `page` in the slot that readers do not use; one writer at a time.

    Raises `ClockPageMisuse` when the buffer holds a page of another version: a writer never changes what it cannot
    read.
    """
    header = bytes(buffer[0 : _HEADER.size])
    if header == bytes(_HEADER.size):
        format_buffer(buffer)
    elif header != _HEADER.pack(MAGIC, VERSION, _BODY.size, 0):
        raise ClockPageMisuse("header", found=header, expected=f"a truechimer clock page of version {VERSION}")
    held = [_slot_sequence(buffer, start) for start in SLOT_OFFSETS]
    newest = max((sequence for sequence in held if sequence is not None), default=0)
    target = 0 if held[0] is None or (held[1] is not None and held[0] < held[1]) else 1
    start, sequence = SLOT_OFFSETS[target], newest + 2
    body = _pack_body(page)
    numbered = _SEQUENCE.pack(sequence)
    buffer[start : start + _BODY_START] = _SEQUENCE.pack(newest + 1)  # odd: a writer is at work
    buffer[start + _BODY_START : start + _CHECKSUM_START] = body
    buffer[start + _CHECKSUM_START : start + _SLOT_BYTES] = _CHECKSUM.pack(zlib.crc32(numbered + body))
    buffer[start : start + _BODY_START] = numbered


def read(buffer: PageBuffer) -> ClockPage | PageUnreadable:
    """Return the newest whole page, or why there is none; looks at most `READ_TRIES` times."""
    magic, version, body_bytes, _ = _HEADER.unpack(buffer[0 : _HEADER.size])
    if magic == bytes(8):
        return PageUnreadable.EMPTY
    if magic != MAGIC:
        return PageUnreadable.NOT_A_PAGE
    if version != VERSION or body_bytes != _BODY.size:
        return PageUnreadable.UNKNOWN_VERSION
    for _ in range(READ_TRIES):
        slots = [_copy_slot(buffer, start) for start in SLOT_OFFSETS]
        whole = [slot for slot in slots if slot is not None]
        if whole:
            return _unpack_body(max(whole)[1])
        if not any(any(bytes(buffer[start : start + _BODY_START])) for start in SLOT_OFFSETS):
            return PageUnreadable.EMPTY
    return PageUnreadable.TORN


def fingerprint(buffer: PageBuffer) -> bytes:
    """Return both sequence numbers as they stand: while they do not change, a page once read is still the newest."""
    both = bytes(buffer[SLOT_OFFSETS[0] : SLOT_OFFSETS[1] + _BODY_START])  # of a file one system call, not two
    return both[:_BODY_START] + both[-_BODY_START:]


def _slot_sequence(buffer: PageBuffer, start: int) -> int | None:
    """Return the sequence number of a whole slot, or None."""
    slot = _copy_slot(buffer, start)
    return None if slot is None else slot[0]


def _copy_slot(buffer: PageBuffer, start: int) -> tuple[int, bytes] | None:
    """Copy one slot and return (sequence, body) if it is whole, else None."""
    octets = bytes(buffer[start : start + _SLOT_BYTES])
    (sequence,) = _SEQUENCE.unpack_from(octets)
    if sequence == 0 or sequence & 1:
        return None
    if bytes(buffer[start : start + _BODY_START]) != octets[:_BODY_START]:
        return None  # a writer came by during the copy
    (checksum,) = _CHECKSUM.unpack_from(octets, _CHECKSUM_START)
    if zlib.crc32(octets[:_CHECKSUM_START]) != checksum:
        return None
    return sequence, octets[_BODY_START:_CHECKSUM_START]


def _pack_body(page: ClockPage) -> bytes:
    """Lay a page out as octets."""
    tai_s, tai_sub_fs = divmod(page.anchor_tai_fs, FS_PER_S)
    flags = (_FLAG_SIMULATED if page.simulated else 0) | (_FLAG_NEXT_LEAP if page.next_leap_tai_s is not None else 0)
    return _BODY.pack(
        page.anchor_raw_ns,
        tai_s,
        tai_sub_fs,
        page.rate,
        page.bound_s,
        page.bound_growth,
        page.u_s,
        page.coverage,
        page.root_delay_s,
        _STATES.index(page.state),
        flags,
        page.stratum,
        0,
        page.tai_minus_utc_s,
        page.next_leap_tai_s or 0,
        page.next_tai_minus_utc_s or 0,
        page.laboratory_pid,
        page.leap_expires_tai_s,
        page.valid_until_raw_ns,
        page.written_raw_ns,
        page.refid,
        page.boot_id,
    )


def _unpack_body(body: bytes) -> ClockPage | PageUnreadable:
    """Read octets back; a whole slot with impossible values is refused, not repaired."""
    (anchor_raw_ns, tai_s, tai_sub_fs, rate, bound_s, bound_growth, u_s, coverage, root_delay_s, *rest) = _BODY.unpack(
        body
    )
    (
        state,
        flags,
        stratum,
        _reserved,
        tai_minus_utc_s,
        next_leap_tai_s,
        next_tai_minus_utc_s,
        laboratory_pid,
        *rest,
    ) = rest
    (leap_expires_tai_s, valid_until_raw_ns, written_raw_ns, refid, boot_id) = rest
    if state >= len(_STATES) or not 0 <= tai_sub_fs < FS_PER_S or flags & ~(_FLAG_SIMULATED | _FLAG_NEXT_LEAP):
        return PageUnreadable.OUT_OF_RANGE
    leap_known = bool(flags & _FLAG_NEXT_LEAP)
    try:
        return ClockPage(
            anchor_raw_ns=anchor_raw_ns,
            anchor_tai_fs=tai_s * FS_PER_S + tai_sub_fs,
            rate=rate,
            bound_s=bound_s,
            bound_growth=bound_growth,
            u_s=u_s,
            coverage=coverage,
            state=_STATES[state],
            simulated=bool(flags & _FLAG_SIMULATED),
            tai_minus_utc_s=tai_minus_utc_s,
            next_leap_tai_s=next_leap_tai_s if leap_known else None,
            next_tai_minus_utc_s=next_tai_minus_utc_s if leap_known else None,
            leap_expires_tai_s=leap_expires_tai_s,
            valid_until_raw_ns=valid_until_raw_ns,
            refid=refid,
            stratum=stratum,
            root_delay_s=root_delay_s,
            written_raw_ns=written_raw_ns,
            laboratory_pid=laboratory_pid,
            boot_id=boot_id,
        )
    except ClockPageMisuse:
        return PageUnreadable.OUT_OF_RANGE
