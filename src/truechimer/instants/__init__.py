"""Instants: exact time, UTC as a label, and the stamps of the wire.

Nothing here reads a clock. Standard library only, and little of it: the client verbs import this room.
"""

from truechimer.instants.errors import (
    AmbiguousSecondRejected,
    BeforeUtcRejected,
    LeapTableExpiredRejected,
    LeapTableMisuse,
    NoSuchSecondRejected,
    NotADateRejected,
    OutOfRangeMisuse,
    TimeTextRejected,
    TimeTypeMisuse,
)
from truechimer.instants.instant import FS_PER_DAY, FS_PER_NS, FS_PER_S, Instant, Span
from truechimer.instants.leap_table import BeyondExpiry, LeapEntry, LeapTable
from truechimer.instants.time_bound import TimeBound
from truechimer.instants.utc import from_utc, to_utc
from truechimer.instants.utc_label import UtcLabel

__all__ = [
    "FS_PER_DAY",
    "FS_PER_NS",
    "FS_PER_S",
    "AmbiguousSecondRejected",
    "BeforeUtcRejected",
    "BeyondExpiry",
    "Instant",
    "LeapEntry",
    "LeapTable",
    "LeapTableExpiredRejected",
    "LeapTableMisuse",
    "NoSuchSecondRejected",
    "NotADateRejected",
    "OutOfRangeMisuse",
    "Span",
    "TimeBound",
    "TimeTextRejected",
    "TimeTypeMisuse",
    "UtcLabel",
    "builtin_leap_table",
    "from_utc",
    "to_utc",
]


def builtin_leap_table() -> LeapTable:
    """Return the leap table that ships with truechimer (source: IERS). It expires: ask `is_expired`."""
    from truechimer.instants.leap_table_builtin import TABLE

    return TABLE
