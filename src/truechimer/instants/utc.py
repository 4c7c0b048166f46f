"""UTC to the TAI axis and back: the one place where a leap table turns a label into an instant.

It holds no table: the table comes in as an argument, expires, and beyond its expiry the conversion refuses or flags.
Source: ITU-R TF.460-6: 23:59:60 follows 23:59:59 at a positive leap second; at a negative one 23:59:58 is followed by
00:00:00.
"""

from truechimer.instants.errors import NoSuchSecondRejected, OutOfRangeMisuse
from truechimer.instants.instant import FS_PER_DAY, FS_PER_S, Instant
from truechimer.instants.leap_table import BeyondExpiry, LeapTable
from truechimer.instants.mjd import MJD_LAST, MJD_OF_1970
from truechimer.instants.utc_label import LEAP_SECOND_OF_DAY, UtcLabel


def to_utc(instant: Instant, leaps: LeapTable, *, beyond_expiry: BeyondExpiry = "refuse") -> UtcLabel:
    """Return the UTC label of an instant, exact to the femtosecond.

    Before the table: `BeforeUtcRejected`. Beyond its expiry: `LeapTableExpiredRejected`, or with `beyond_expiry="flag"`
    a label whose `beyond_expiry` is True. After the year 9999: `OutOfRangeMisuse`.
    """
    tai_fs = instant.tai_fs
    index = leaps.index_at(tai_fs)
    flagged = leaps.admit(tai_fs, beyond_expiry=beyond_expiry)
    days, rest_fs = divmod(tai_fs - leaps.entries[index].tai_minus_utc_s * FS_PER_S, FS_PER_DAY)
    mjd = days + MJD_OF_1970
    second, fs = divmod(rest_fs, FS_PER_S)
    if index + 1 < len(leaps.entries) and mjd == leaps.entries[index + 1].mjd:
        # The next entry's day by the old count, while the old entry still stands: this is its leap second.
        mjd, second = mjd - 1, LEAP_SECOND_OF_DAY
    if mjd > MJD_LAST:
        raise OutOfRangeMisuse("MJD of a UTC label", low=leaps.entries[0].mjd, high=MJD_LAST, found=mjd)
    return UtcLabel(mjd, second, fs, beyond_expiry=flagged)


def from_utc(label: UtcLabel, leaps: LeapTable, *, beyond_expiry: BeyondExpiry = "refuse") -> Instant:
    """Return the instant of a UTC label, exact to the femtosecond.

    A second 60 where no leap second was, or a second 59 that was removed: `NoSuchSecondRejected`. Before the table:
    `BeforeUtcRejected`. Beyond its expiry: `LeapTableExpiredRejected`, unless `beyond_expiry="flag"`: the instant may
    then be wrong by whole seconds, and the caller is the one who knows it.
    """
    tai_minus_utc_s = leaps.entries[leaps.index_of_day(label.mjd)].tai_minus_utc_s
    step = leaps.step_at(label.mjd + 1)
    tai_fs = ((label.mjd - MJD_OF_1970) * 86_400 + label.second_of_day + tai_minus_utc_s) * FS_PER_S + label.fs
    leaps.admit(tai_fs, beyond_expiry=beyond_expiry)
    if label.is_leap_second and step != 1:
        raise NoSuchSecondRejected(label.isoformat(), because="no leap second was inserted at the end of that day")
    if label.second_of_day == LEAP_SECOND_OF_DAY - 1 and step == -1:
        raise NoSuchSecondRejected(label.isoformat(), because="that second was removed by a negative leap second")
    return Instant(tai_fs)
