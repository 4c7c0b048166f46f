"""Counts of 86,400 seconds a day (NTP, Unix): how they name instants at a leap second, where they repeat one second or
skip one.

It knows no epoch but 1970-01-01 and no width of field: `ntp64` and `unix` add theirs. Source: RFC 5905 (the last second
of the day is repeated), note 5 of the NIST leap-seconds.list (23:59:59 twice: usual; 00:00:00 twice: possible), POSIX
"seconds since the epoch".
"""

from typing import Literal, get_args

from truechimer.instants.errors import OutOfRangeMisuse
from truechimer.instants.instant import FS_PER_DAY, FS_PER_S
from truechimer.instants.leap_table import LeapTable
from truechimer.instants.mjd import MJD_OF_1970

Repeats = Literal["23:59:59", "00:00:00"]
"""Which second the count gives twice at a positive leap second: 23:59:59 (the Linux kernel, NTP) or 00:00:00 (the
formula of POSIX).
"""

_REPEATS = get_args(Repeats)


def tai_minus_count_s(tai_fs: int, leaps: LeapTable, *, repeats: Repeats = "23:59:59") -> int:
    """Return TAI minus the count, whole seconds, at an instant.

    Repeating 23:59:59 means that the new difference is in force from the beginning of 23:59:60 on; otherwise it begins
    at 00:00:00. Before the table: `BeforeUtcRejected`. Expiry is the caller's to look at.
    """
    check_repeats(repeats)
    index = leaps.index_at(tai_fs)
    if repeats == "23:59:59" and index + 1 < len(leaps.entries):
        coming = leaps.entries[index + 1]
        is_second_60 = tai_fs >= ((coming.mjd - MJD_OF_1970) * 86_400 + leaps.entries[index].tai_minus_utc_s) * FS_PER_S
        if is_second_60:
            return coming.tai_minus_utc_s
    return leaps.entries[index].tai_minus_utc_s


def instants_of_count(count_fs: int, leaps: LeapTable, *, repeats: Repeats = "23:59:59") -> tuple[int, ...]:
    """Return every instant (TAI fs) that a count (fs since 1970-01-01T00:00:00 UTC) names, earliest first.

    One as a rule; two in the repeated second; none in a second that a negative leap removed. Before the table:
    `BeforeUtcRejected`.
    """
    check_repeats(repeats)
    days, rest_fs = divmod(count_fs, FS_PER_DAY)
    mjd, second = days + MJD_OF_1970, rest_fs // FS_PER_S
    usual = count_fs + leaps.entries[leaps.index_of_day(mjd)].tai_minus_utc_s * FS_PER_S
    step_tonight = leaps.step_at(mjd + 1)
    if second == 86_399 and step_tonight == -1:
        return ()
    if repeats == "23:59:59" and second == 86_399 and step_tonight == 1:
        return usual, usual + FS_PER_S
    if repeats == "00:00:00" and second == 0 and leaps.step_at(mjd) == 1:
        return usual - FS_PER_S, usual
    return (usual,)


def check_repeats(repeats: Repeats) -> None:
    """Refuse a convention that does not exist."""
    if repeats not in _REPEATS:
        raise OutOfRangeMisuse("repeats", low=_REPEATS[0], high=_REPEATS[1], found=repr(repeats))
