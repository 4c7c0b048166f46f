"""The DCF77 time code: the symbols of one minute, by the second.

It makes no signal. The minute that is sent tells the civil time of the minute that follows. An inserted leap second is
announced during the hour before it (bit 19); its minute has 61 symbols: second 59 carries a short mark, second 60 none.
The code knows no missing second: such a minute simply ends after second 58, whose mark is then left out. Source: PTB,
DCF77 time code (bits 15 to 58, even parities).
"""

from enum import IntEnum

from truechimer.errors import Misuse
from truechimer.instants import UtcLabel
from truechimer.instants.civil import CivilRules, YearlyChange, YearlyDaylight, next_change_after, to_civil
from truechimer.instants.mjd import from_calendar, weekday

RULES = CivilRules(
    "CET",
    60,
    yearly=YearlyDaylight(
        begins=YearlyChange(month=3, week=5, weekday=6, minute_of_day=60, clock="utc"),
        ends=YearlyChange(month=10, week=5, weekday=6, minute_of_day=60, clock="utc"),
        offset_min=120,
    ),
)
"""Central European time, the last Sundays of March and October at 01:00 UTC."""


class Mark(IntEnum):
    """What one second carries: a lowered carrier for 100 ms, for 200 ms, or none."""

    ZERO = 0
    ONE = 1
    NONE = 2


def encode_minute(label: UtcLabel, *, seconds: int, leap_within_hour: bool) -> tuple[Mark, ...]:
    """Return the symbols of the minute that begins at `label` (a whole minute of UTC) and has 59, 60 or 61 `seconds`.

    `leap_within_hour`: a leap second comes at the end of this hour.
    """
    if label.second_of_day % 60 or label.fs or seconds not in {59, 60, 61}:
        raise Misuse(f"{label.isoformat(0)}: a minute of {seconds} s is none that this code knows")
    after = _next_minute(label)
    civil = to_civil(after, RULES)
    change = next_change_after(label, RULES)
    soon = (
        change is not None
        and 0 < _minute(change.mjd, change.minute_of_day) - _minute(label.mjd, label.second_of_day // 60) <= 60
    )
    year, month, day = civil.year, civil.month, civil.day
    week_day = weekday(from_calendar(year, month, day)) + 1
    bits = [0] * 59
    bits[16] = int(soon)
    bits[17], bits[18] = int(civil.is_daylight), int(not civil.is_daylight)
    bits[19] = int(leap_within_hour)
    bits[20] = 1
    _put(bits, 21, 7, civil.minute)
    bits[28] = sum(bits[21:28]) % 2
    _put(bits, 29, 6, civil.hour)
    bits[35] = sum(bits[29:35]) % 2
    _put(bits, 36, 6, day)
    _put(bits, 42, 3, week_day)
    _put(bits, 45, 5, month)
    _put(bits, 50, 8, year % 100)
    bits[58] = sum(bits[36:58]) % 2
    marks = [Mark(bit) for bit in bits]
    if seconds == 61:
        return (*marks, Mark.ZERO, Mark.NONE)
    if seconds == 59:
        return (*marks[:58], Mark.NONE)
    return (*marks, Mark.NONE)


def _put(bits: list[int], at: int, width: int, value: int) -> None:
    """Write a value of two decimal digits, weights 1 2 4 8 10 20 40 80, least first."""
    coded = value % 10 | value // 10 << 4
    for k in range(width):
        bits[at + k] = coded >> k & 1


def _minute(mjd: int, minute_of_day: int) -> int:
    return mjd * 1440 + minute_of_day


def _next_minute(label: UtcLabel) -> UtcLabel:
    days, second = divmod(label.second_of_day + 60, 86_400)
    return UtcLabel(label.mjd + days, second)
