"""Unix time: seconds or nanoseconds since 1970-01-01T00:00:00 UTC, 86,400 a day, to Instant and back.

No clock is read. The count cannot say second 60: it gives one second twice, and which one is a convention of the system
that made it: 23:59:59 on Linux (and in NTP), 00:00:00 by the formula of POSIX ("seconds since the epoch"). So the
convention is an argument, and so is the choice between the two instants of a repeated second: by default the count is
refused there, never guessed. Range: that of the leap table; the widths 2^31 s (2038) and 2^63 ns (2262) are checked
where a field has them (`check_width`).
"""

from typing import Literal, get_args

from truechimer.instants.errors import (
    AmbiguousSecondRejected,
    NoSuchSecondRejected,
    OutOfRangeMisuse,
    TimeTypeMisuse,
)
from truechimer.instants.instant import FS_PER_NS, FS_PER_S, Instant
from truechimer.instants.leap_table import BeyondExpiry, LeapTable
from truechimer.instants.repeating_count import Repeats, instants_of_count, tai_minus_count_s

Occurrence = Literal["refuse", "first", "second"]
"""Which of the two instants of a repeated second is meant."""

_OCCURRENCES = get_args(Occurrence)


def to_unix_ns(
    instant: Instant, leaps: LeapTable, *, repeats: Repeats = "23:59:59", beyond_expiry: BeyondExpiry = "refuse"
) -> int:
    """Return Unix nanoseconds, rounded towards the past. Before the table: `BeforeUtcRejected`; expiry as in `utc`."""
    return _count_fs(instant, leaps, repeats=repeats, beyond_expiry=beyond_expiry) // FS_PER_NS


def to_unix_s(
    instant: Instant, leaps: LeapTable, *, repeats: Repeats = "23:59:59", beyond_expiry: BeyondExpiry = "refuse"
) -> int:
    """Return whole Unix seconds, rounded towards the past; otherwise as `to_unix_ns`."""
    return _count_fs(instant, leaps, repeats=repeats, beyond_expiry=beyond_expiry) // FS_PER_S


def from_unix_ns(
    unix_ns: int,
    leaps: LeapTable,
    *,
    repeats: Repeats = "23:59:59",
    occurrence: Occurrence = "refuse",
    beyond_expiry: BeyondExpiry = "refuse",
) -> Instant:
    """Return the instant of a count of nanoseconds, exactly.

    In the repeated second: `AmbiguousSecondRejected` (with both instants) unless `occurrence` says which. In a removed
    second: `NoSuchSecondRejected`. Before the table: `BeforeUtcRejected`; beyond its expiry as in `instants.utc`.
    """
    if type(unix_ns) is not int:
        raise TimeTypeMisuse("unix.from_unix_ns", expected="a whole number (int) of nanoseconds", found=unix_ns)
    if occurrence not in _OCCURRENCES:
        raise OutOfRangeMisuse("occurrence", low="first", high="second", found=repr(occurrence))
    named = instants_of_count(unix_ns * FS_PER_NS, leaps, repeats=repeats)
    if not named:
        because = "that second was removed by a negative leap second"
        raise NoSuchSecondRejected(f"Unix time {unix_ns} ns", because=because)
    leaps.admit(named[-1], beyond_expiry=beyond_expiry)
    if len(named) > 1 and occurrence == "refuse":
        raise AmbiguousSecondRejected(f"Unix time {unix_ns} ns", first_tai_fs=named[0], second_tai_fs=named[1])
    return Instant(named[-1] if occurrence == "second" else named[0])


def from_unix_s(
    unix_s: int,
    leaps: LeapTable,
    *,
    repeats: Repeats = "23:59:59",
    occurrence: Occurrence = "refuse",
    beyond_expiry: BeyondExpiry = "refuse",
) -> Instant:
    """Return the instant of a count of whole seconds; otherwise as `from_unix_ns`."""
    if type(unix_s) is not int:
        raise TimeTypeMisuse("unix.from_unix_s", expected="a whole number (int) of seconds", found=unix_s)
    return from_unix_ns(unix_s * 10**9, leaps, repeats=repeats, occurrence=occurrence, beyond_expiry=beyond_expiry)


def check_width(count: int, *, bits: int) -> int:
    """Return the count if it fits a signed field of `bits` bits (32: seconds until 2038), else `OutOfRangeMisuse`."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if not low <= count <= high:
        raise OutOfRangeMisuse(f"Unix time in {bits} bits", low=low, high=high, found=count)
    return count


def _count_fs(instant: Instant, leaps: LeapTable, *, repeats: Repeats, beyond_expiry: BeyondExpiry) -> int:
    leaps.admit(instant.tai_fs, beyond_expiry=beyond_expiry)
    return instant.tai_fs - tai_minus_count_s(instant.tai_fs, leaps, repeats=repeats) * FS_PER_S
