"""Week number and time of week, as satellite navigation systems date their messages, to Instant and back.

No message is parsed here, and no system's time is steered: a system's time is taken to run at a whole number of seconds
from TAI, its real offset being a difference beside the instant. A broadcast week number is cut to some bits:
`full_week` restores it by a pivot, because nothing in the number itself can (GPS: 1024 weeks are 19.6 years; the third
cycle began on 2019-04-07). Source: IS-GPS-200 20.3.3.3.1.1 and 30.3.3 (10 and 13 bits), Galileo OS SIS ICD 5.1.2,
BeiDou B1C ICD 3.3.
"""

from dataclasses import dataclass

from truechimer.instants.errors import OutOfRangeMisuse, TimeTypeMisuse
from truechimer.instants.instant import FS_PER_S, Instant
from truechimer.instants.mjd import MJD_OF_1970, from_calendar

FS_PER_WEEK = 604_800 * FS_PER_S


@dataclass(frozen=True, slots=True)
class WeekSystem:
    """One system's weeks: week 0 begins at 00:00:00 of day `epoch_mjd` by its own time, which is TAI - `tai_minus_s`.

    `cycle` is the number of weeks after which the broadcast number begins again at 0.
    """

    name: str
    epoch_mjd: int
    tai_minus_s: int
    cycle: int

    @property
    def epoch(self) -> Instant:
        """The instant at which week 0 begins."""
        return Instant(((self.epoch_mjd - MJD_OF_1970) * 86_400 + self.tai_minus_s) * FS_PER_S)


GPS = WeekSystem("GPS", from_calendar(1980, 1, 6), 19, 1024)
"""GPS, weeks of the legacy message."""
GPS_CNAV = WeekSystem("GPS CNAV", from_calendar(1980, 1, 6), 19, 8192)
"""GPS, weeks of the CNAV message."""
GALILEO = WeekSystem("Galileo", from_calendar(1999, 8, 22), 19, 4096)
"""Galileo: begins with GPS week 1024."""
BEIDOU = WeekSystem("BeiDou", from_calendar(2006, 1, 1), 33, 8192)
"""BeiDou."""


@dataclass(frozen=True, slots=True, order=True)
class WeekTime:
    """A full week number (never cut, from 0) and the time of week in femtoseconds, 0 up to 604,800 s."""

    week: int
    time_of_week_fs: int

    def __post_init__(self) -> None:
        if type(self.week) is not int or type(self.time_of_week_fs) is not int:
            raise TimeTypeMisuse("WeekTime", expected="whole numbers (int)", found=self.week)
        if self.week < 0:
            raise OutOfRangeMisuse("week", low=0, high="any", found=self.week)
        if not 0 <= self.time_of_week_fs < FS_PER_WEEK:
            raise OutOfRangeMisuse("time of week (fs)", low=0, high=FS_PER_WEEK - 1, found=self.time_of_week_fs)


def to_week_time(instant: Instant, system: WeekSystem = GPS) -> WeekTime:
    """Return the full week and time of week of an instant. Before the system's epoch: `OutOfRangeMisuse`."""
    week, time_of_week_fs = divmod(instant.tai_fs - system.epoch.tai_fs, FS_PER_WEEK)
    return WeekTime(week, time_of_week_fs)


def from_week_time(week_time: WeekTime, system: WeekSystem = GPS) -> Instant:
    """Return the instant of a full week and time of week, exactly."""
    return Instant(system.epoch.tai_fs + week_time.week * FS_PER_WEEK + week_time.time_of_week_fs)


def broadcast_week(week: int, system: WeekSystem = GPS) -> int:
    """Return a full week number as the message carries it."""
    return week % system.cycle


def full_week(broadcast: int, system: WeekSystem = GPS, *, near: Instant) -> int:
    """Return the full week that a broadcast week number means: the one closest to `near`, at a tie the earlier.

    `near` must be right within half a cycle (GPS: 9.8 years). A number outside the cycle, or a week that would lie
    before the system's week 0: `OutOfRangeMisuse`.
    """
    if type(broadcast) is not int:
        raise TimeTypeMisuse("weeks.full_week", expected="a whole number (int)", found=broadcast)
    if not 0 <= broadcast < system.cycle:
        raise OutOfRangeMisuse(f"{system.name} broadcast week", low=0, high=system.cycle - 1, found=broadcast)
    near_week = (near.tai_fs - system.epoch.tai_fs) // FS_PER_WEEK
    half = system.cycle // 2
    week = near_week + (broadcast - near_week + half) % system.cycle - half
    if week < 0:
        raise OutOfRangeMisuse(f"{system.name} week", low=0, high="any", found=week)
    return week
