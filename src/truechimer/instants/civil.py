"""Civil time: UTC shifted by rules that come in as an argument, second 60 included.

It holds no zone database and knows no country: rules are the caller's, and a decree changes them without notice. It
works on labels, so no leap table is needed: a leap second happens at the same moment everywhere and is called second 60
in every civil time. Offsets are whole minutes for that reason.

Sign: an offset is civil time minus UTC, positive east of Greenwich. Source: ISO 8601 for the offset; TZif (RFC 8536)
and POSIX TZ strings for the two kinds of rules.
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

from truechimer.instants.errors import OutOfRangeMisuse, TimeTypeMisuse
from truechimer.instants.mjd import days_of_month, from_calendar, to_calendar, weekday
from truechimer.instants.utc_label import LEAP_SECOND_OF_DAY, UtcLabel

ChangeClock = Literal["utc", "standard", "wall"]
"""By which clock a yearly change states its time of day: UTC, standard time, or the civil time in force until it."""

_CHANGE_CLOCKS = get_args(ChangeClock)
_MINUTES_PER_DAY = 1_440
_OFFSET_MAX_MIN = 24 * 60 - 1


@dataclass(frozen=True, slots=True)
class CivilChange:
    """From the beginning of minute `minute_of_day` of UTC day `mjd` on, civil time is UTC + `offset_min`."""

    mjd: int
    minute_of_day: int
    offset_min: int
    is_daylight: bool = False


@dataclass(frozen=True, slots=True)
class YearlyChange:
    """A change that comes every year: the `week`-th `weekday` of a month (week 5: the last), at `minute_of_day`.

    `weekday` 0 is Monday; `minute_of_day` 0 to 1440 is read on the clock that `clock` names.
    """

    month: int
    week: int
    weekday: int
    minute_of_day: int
    clock: ChangeClock = "wall"

    def __post_init__(self) -> None:
        for quantity, value, low, high in (
            ("month of a yearly change", self.month, 1, 12),
            ("week of a yearly change", self.week, 1, 5),
            ("weekday of a yearly change", self.weekday, 0, 6),
            ("minute of day of a yearly change", self.minute_of_day, 0, _MINUTES_PER_DAY),
        ):
            if not low <= value <= high:
                raise OutOfRangeMisuse(quantity, low=low, high=high, found=value)
        if self.clock not in _CHANGE_CLOCKS:
            raise OutOfRangeMisuse("clock of a yearly change", low="utc", high="wall", found=repr(self.clock))

    def mjd_in(self, year: int) -> int:
        """Return the day of the change in a year."""
        first = from_calendar(year, self.month, 1)
        day = first + (self.weekday - weekday(first)) % 7 + 7 * (self.week - 1)
        return day if day < first + days_of_month(year, self.month) else day - 7


@dataclass(frozen=True, slots=True)
class YearlyDaylight:
    """Daylight saving by a yearly rule: it begins and ends each year; while it lasts, civil time is `offset_min`."""

    begins: YearlyChange
    ends: YearlyChange
    offset_min: int


@dataclass(frozen=True, slots=True)
class CivilRules:
    """The rules of one civil time: its standard offset in minutes, and either single changes or a yearly rule, or none.

    Before the first of `changes` the standard offset stands; after the last one, the last.
    """

    name: str
    standard_offset_min: int
    changes: tuple[CivilChange, ...] = ()
    yearly: YearlyDaylight | None = None

    def __post_init__(self) -> None:
        if self.changes and self.yearly is not None:
            raise OutOfRangeMisuse("civil rules", low="changes", high="yearly", found="both: give one of the two")
        offsets = [self.standard_offset_min, *(change.offset_min for change in self.changes)]
        if self.yearly is not None:
            offsets.append(self.yearly.offset_min)
        for offset in offsets:
            if type(offset) is not int:
                raise TimeTypeMisuse("offset of civil rules", expected="whole minutes (int)", found=offset)
            if not -_OFFSET_MAX_MIN <= offset <= _OFFSET_MAX_MIN:
                raise OutOfRangeMisuse(
                    "offset of civil rules (min)", low=-_OFFSET_MAX_MIN, high=_OFFSET_MAX_MIN, found=offset
                )
        for change in self.changes:
            if not 0 <= change.minute_of_day < _MINUTES_PER_DAY:
                raise OutOfRangeMisuse("minute of day of a civil change", low=0, high=1439, found=change.minute_of_day)
        places = [_utc_minute(change) for change in self.changes]
        if any(later <= earlier for earlier, later in pairwise(places)):
            raise OutOfRangeMisuse("changes of civil rules", low="in order", high="in order", found="not in order")


@dataclass(frozen=True, slots=True)
class CivilTime:
    """Civil time as read off a wall: calendar fields, second 60 during a leap second, `fs` into the second.

    `offset_min`: civil time minus UTC; None where the reader does not say it. `is_daylight`: by the rules.
    """

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    fs: int = 0
    offset_min: int | None = None
    is_daylight: bool = False

    def isoformat(self) -> str:
        """Return `2017-01-01T00:59:60+01:00`, whole seconds, truncated; without the offset where it is not said."""
        text = f"{self.year:04d}-{self.month:02d}-{self.day:02d}T{self.hour:02d}:{self.minute:02d}:{self.second:02d}"
        if self.offset_min is None:
            return text
        hours, minutes = divmod(abs(self.offset_min), 60)
        return f"{text}{'-' if self.offset_min < 0 else '+'}{hours:02d}:{minutes:02d}"


@dataclass(frozen=True, slots=True)
class CivilOnce:
    """A civil time that happened once."""

    label: UtcLabel


@dataclass(frozen=True, slots=True)
class CivilTwice:
    """A civil time that happened twice, because clocks were set back: the earlier and the later label."""

    earlier: UtcLabel
    later: UtcLabel


@dataclass(frozen=True, slots=True)
class CivilNever:
    """A civil time that did not happen: skipped when clocks were set forward, or a second 60 outside 23:59 UTC.

    `change` is the change that skipped it, None for a second 60 that cannot be.
    """

    change: CivilChange | None


CivilAnswer = CivilOnce | CivilTwice | CivilNever


def to_civil(label: UtcLabel, rules: CivilRules) -> CivilTime:
    """Return the civil time of a UTC label; second 60 stays second 60. Year not 1 to 9999: `OutOfRangeMisuse`."""
    second_of_day = min(label.second_of_day, LEAP_SECOND_OF_DAY - 1)  # the minute that a second 60 belongs to
    change = _in_force(label.mjd * _MINUTES_PER_DAY + second_of_day // 60, rules, year=label.year)
    mjd, minute = divmod(label.mjd * _MINUTES_PER_DAY + second_of_day // 60 + change.offset_min, _MINUTES_PER_DAY)
    year, month, day = to_calendar(mjd)
    return CivilTime(
        year=year,
        month=month,
        day=day,
        hour=minute // 60,
        minute=minute % 60,
        second=label.second,
        fs=label.fs,
        offset_min=change.offset_min,
        is_daylight=change.is_daylight,
    )


def from_civil(civil: CivilTime, rules: CivilRules) -> CivilAnswer:
    """Return the label or labels of a civil time by its calendar fields; its `offset_min`, where said, picks among
    them.

    Whether a second 60 happened on that day is not known here: `instants.utc.from_utc` refuses it where it did not. No
    such date: `NotADateRejected`; other fields out of range: `OutOfRangeMisuse`.
    """
    for quantity, value, high in (("hour", civil.hour, 23), ("minute", civil.minute, 59), ("second", civil.second, 60)):
        if not 0 <= value <= high:
            raise OutOfRangeMisuse(f"{quantity} of a civil time", low=0, high=high, found=value)
    local = from_calendar(civil.year, civil.month, civil.day) * _MINUTES_PER_DAY + 60 * civil.hour + civil.minute
    timeline = _changes_around(civil.year, rules)
    found: list[int] = []
    for offset in sorted({change.offset_min for change in timeline}, reverse=True):  # the larger offset is the earlier
        utc_minute = local - offset
        if _last_of(timeline, utc_minute).offset_min == offset and civil.offset_min in {None, offset}:
            found.append(utc_minute)
    if civil.second == 60:
        found = [utc_minute for utc_minute in found if utc_minute % _MINUTES_PER_DAY == _MINUTES_PER_DAY - 1]
        if not found:
            return CivilNever(None)
    labels = [_label(utc_minute, civil) for utc_minute in found]
    if not labels:
        return CivilNever(_skipping(timeline, local))
    return CivilOnce(labels[0]) if len(labels) == 1 else CivilTwice(labels[0], labels[-1])


def next_change_after(label: UtcLabel, rules: CivilRules) -> CivilChange | None:
    """Return the first change that begins after a label, or None: radio codes announce it an hour before."""
    minute = label.mjd * _MINUTES_PER_DAY + min(label.second_of_day, LEAP_SECOND_OF_DAY - 1) // 60
    coming = [change for change in _changes_around(label.year, rules)[1:] if _utc_minute(change) > minute]
    return coming[0] if coming else None


def _label(utc_minute: int, civil: CivilTime) -> UtcLabel:
    mjd, minute = divmod(utc_minute, _MINUTES_PER_DAY)
    return UtcLabel(mjd, 60 * minute + civil.second, civil.fs)


def _utc_minute(change: CivilChange) -> int:
    return change.mjd * _MINUTES_PER_DAY + change.minute_of_day


def _last_of(timeline: tuple[CivilChange, ...], utc_minute: int) -> CivilChange:
    return timeline[max(bisect_right(timeline, utc_minute, key=_utc_minute) - 1, 0)]


def _in_force(utc_minute: int, rules: CivilRules, *, year: int) -> CivilChange:
    return _last_of(_changes_around(year, rules), utc_minute)


def _skipping(timeline: tuple[CivilChange, ...], local: int) -> CivilChange | None:
    """Return the change whose forward jump skipped a local minute."""
    for before, change in pairwise(timeline):
        if _utc_minute(change) + before.offset_min <= local < _utc_minute(change) + change.offset_min:
            return change
    return None


def _changes_around(year: int, rules: CivilRules) -> tuple[CivilChange, ...]:
    """Return the changes that matter near a year, in order; the first one is "always before" and holds the standard."""
    always = CivilChange(-(10**9), 0, rules.standard_offset_min)
    if rules.yearly is None:
        return (always, *rules.changes)
    changes = []
    for near in range(max(year - 1, 1), min(year + 1, 9999) + 1):
        for rule, before, after, is_daylight in (
            (rules.yearly.begins, rules.standard_offset_min, rules.yearly.offset_min, True),
            (rules.yearly.ends, rules.yearly.offset_min, rules.standard_offset_min, False),
        ):
            shift = {"utc": 0, "standard": rules.standard_offset_min, "wall": before}[rule.clock]
            minute = rule.mjd_in(near) * _MINUTES_PER_DAY + rule.minute_of_day - shift
            changes.append(CivilChange(*divmod(minute, _MINUTES_PER_DAY), after, is_daylight))
    return (always, *sorted(changes, key=_utc_minute))
