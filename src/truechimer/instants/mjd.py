"""Modified Julian Dates: exact decimal text to Instant and back, and the calendar.

An MJD with decimals here is on the TAI axis, as in our readings files: MJD 40587.0 is 1970-01-01T00:00:00 TAI. It is
never the decimal day of a UTC that has leap seconds. The calendar functions know whole days only, of any scale.

A float MJD of today resolves 0.63 us: it is good for a plot (`to_mjd_float`), never for an epoch. Hence text and exact
integers. Calendar: proleptic Gregorian, ISO 8601 year numbers 1 to 9999.
"""

from truechimer.instants.errors import NotADateRejected, OutOfRangeMisuse, TimeTextRejected, TimeTypeMisuse
from truechimer.instants.instant import FS_PER_DAY, Instant
from truechimer.instants.rounding import divide_half_even

MJD_OF_1970 = 40_587
MJD_FIRST = -678_575
"""0001-01-01, the first day that the calendar functions know."""
MJD_LAST = 2_973_483
"""9999-12-31, the last day that the calendar functions know."""

MAX_TEXT = 64
"""Longest MJD text that is read: 20 decimals resolve a femtosecond, the rest is somebody's mistake."""
MAX_DIGITS = 30

_DAYS_BEFORE_MONTH = (0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
_DAYS_OF_MONTH = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def is_leap_year(year: int) -> bool:
    """Return True for a year with a 29 February."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_of_month(year: int, month: int) -> int:
    """Return the number of days of a month (1 to 12)."""
    return 29 if month == 2 and is_leap_year(year) else _DAYS_OF_MONTH[month]


def from_calendar(year: int, month: int, day: int) -> int:
    """Return the MJD of a calendar date: 2017-01-01 is 57754. No such date: `NotADateRejected`."""
    if not (1 <= year <= 9999 and 1 <= month <= 12 and 1 <= day <= days_of_month(year, month)):
        raise NotADateRejected(year, month, day)
    past = year - 1
    days = 365 * past + past // 4 - past // 100 + past // 400
    days += _DAYS_BEFORE_MONTH[month] + (1 if month > 2 and is_leap_year(year) else 0)
    return MJD_FIRST + days + day - 1


def to_calendar(mjd: int) -> tuple[int, int, int]:
    """Return (year, month, day) of a whole MJD: 57754 is (2017, 1, 1). Year not 1 to 9999: `OutOfRangeMisuse`."""
    if not MJD_FIRST <= mjd <= MJD_LAST:
        raise OutOfRangeMisuse("MJD of a calendar date", low=MJD_FIRST, high=MJD_LAST, found=mjd)
    days = mjd - MJD_FIRST
    n400, days = divmod(days, 146_097)
    n100 = min(days // 36_524, 3)  # the 400th year has one day more
    days -= 36_524 * n100
    n4, days = divmod(days, 1_461)
    n1 = min(days // 365, 3)  # the 4th year has one day more
    days -= 365 * n1
    year = 400 * n400 + 100 * n100 + 4 * n4 + n1 + 1
    extra = 1 if is_leap_year(year) else 0
    month = 12
    while days < _DAYS_BEFORE_MONTH[month] + (extra if month > 2 else 0):
        month -= 1
    return year, month, days - _DAYS_BEFORE_MONTH[month] - (extra if month > 2 else 0) + 1


def weekday(mjd: int) -> int:
    """Return the day of the week, 0 for Monday to 6 for Sunday: MJD 0 was a Wednesday."""
    return (mjd + 2) % 7


def to_mjd_text(instant: Instant, *, digits: int = 15) -> str:
    """Return the MJD on the TAI axis with `digits` decimals (0 to 30), rounded half even.

    One unit of the 10th decimal is 8.64 us, of the 15th 86.4 ps: 14 decimals carry a whole nanosecond there and back,
    20 a femtosecond.
    """
    if not 0 <= digits <= MAX_DIGITS:
        raise OutOfRangeMisuse("decimals of an MJD", low=0, high=MAX_DIGITS, found=digits)
    scale = 10**digits
    units = MJD_OF_1970 * scale + divide_half_even(instant.tai_fs * scale, FS_PER_DAY)
    sign = "-" if units < 0 else ""
    whole, decimals = divmod(abs(units), scale)
    return f"{sign}{whole}.{decimals:0{digits}d}" if digits else f"{sign}{whole}"


def from_mjd_text(text: str) -> Instant:
    """Return the instant of an MJD on the TAI axis written as plain decimal digits, rounded half even to the
    femtosecond.

    Grammar: optional sign, digits, optionally a point and digits; at most 64 characters; no exponent, blank or other
    script's digits. Anything else: `TimeTextRejected`.
    """
    if type(text) is not str:
        raise TimeTypeMisuse("from_mjd_text", expected="a text (str)", found=text)
    if len(text) > MAX_TEXT:
        raise TimeTextRejected(text, expected="an MJD", because=f"longer than {MAX_TEXT} characters")
    body = text[1:] if text[:1] in {"+", "-"} else text
    whole, _, decimals = body.partition(".")
    if not (whole + decimals).isascii() or not whole.isdigit() or (decimals and not decimals.isdigit()):
        raise TimeTextRejected(text, expected="an MJD", because="write plain decimal digits, as in 57754.0000000000")
    scale: int = 10 ** len(decimals)
    units = int(whole + decimals)
    if text[0] == "-":
        units = -units
    return Instant(divide_half_even((units - MJD_OF_1970 * scale) * FS_PER_DAY, scale))


def to_mjd_float(instant: Instant) -> float:
    """Return the nearest float to the MJD on the TAI axis: for plots and windows; it resolves 0.63 us today."""
    return (instant.tai_fs + MJD_OF_1970 * FS_PER_DAY) / FS_PER_DAY
