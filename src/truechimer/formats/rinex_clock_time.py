"""Epochs of clock RINEX: a date in the file's own time system to nanoseconds on the TAI axis, and back.

It reads no line. GNSS times differ from TAI by whole seconds that never change; UTC (which GLONASS time is here) needs
the leap table that comes in as an argument, and has a second 60.
"""

import re

from truechimer.errors import Rejected
from truechimer.formats.finding import Finding
from truechimer.instants import LeapTable, UtcLabel
from truechimer.instants.instant import Instant
from truechimer.instants.mjd import MJD_OF_1970, from_calendar, to_calendar
from truechimer.instants.utc import from_utc, to_utc

TAI_MINUS_S = {"GPS": 19, "GAL": 19, "QZS": 19, "IRN": 19, "BDT": 33, "BDS": 33, "TAI": 0}
"""TAI minus the time of a system (s). The GNSS steer their time to UTC modulo whole seconds; what is left, tens of ns,
moves labels and no clock."""
UTC_SYSTEMS = ("UTC", "GLO")
NS_PER_S = 10**9
_NS_PER_DAY = 86_400 * NS_PER_S
FIRST_YEAR, LAST_YEAR = 1980, 2261
_SECOND = re.compile(r"[0-9]{1,2}(\.[0-9]{0,9})?")
_WHOLE = re.compile(r"[0-9]{1,4}")


class Times:
    """The time system of one file. `system` is "GPS" until a header says otherwise."""

    def __init__(self, leaps: LeapTable) -> None:
        self.system = "GPS"
        self.leaps = leaps
        self._days: dict[tuple[int, int, int], int | None] = {}

    def choose(self, stated: str, line: int, findings: list[Finding]) -> None:
        """Take the time system that a header states; an unknown one is named, and GPS time assumed."""
        if stated in TAI_MINUS_S or stated in UTC_SYSTEMS:
            self.system = stated
            return
        says = f"time system {stated[:20]!r} is not known: epochs are taken for GPS time; correct the header"
        findings.append(Finding("time-system", says, line, 1))

    def of_tokens(self, tokens: list[str]) -> int | None:
        """Return the epoch (ns TAI) of the texts year, month, day, hour, minute, second; None: no such moment."""
        if not all(_WHOLE.fullmatch(each) for each in tokens[:5]) or not _SECOND.fullmatch(tokens[5]):
            return None
        whole, _, decimals = tokens[5].partition(".")
        year, month, day, hour, minute = (int(each) for each in tokens[:5])
        ns = int((decimals + "000000000")[:9])
        return self.of(year, month, day, (hour * 60 + minute) * 60 + int(whole), ns, second=int(whole), minute=minute)

    def of(
        self, year: int, month: int, day: int, second_of_day: int, ns: int, *, second: int, minute: int
    ) -> int | None:
        """Return the epoch (ns TAI) of a date, whole second and ns of it; None: no such moment."""
        mjd = self.day(year, month, day)
        leap = second == 60 and second_of_day == 86_400 and self.system in UTC_SYSTEMS
        if mjd is None or minute > 59 or (second > 59 and not leap) or (second_of_day > 86_399 and not leap):
            return None
        if self.system in UTC_SYSTEMS:
            try:
                label = UtcLabel(mjd, second_of_day, ns * 1_000_000)
                return from_utc(label, self.leaps).tai_fs // 1_000_000
            except Rejected:
                return None
        seconds = (mjd - MJD_OF_1970) * 86_400 + second_of_day + TAI_MINUS_S[self.system]
        return seconds * NS_PER_S + ns

    def day(self, year: int, month: int, day: int) -> int | None:
        """Return the MJD of a date in the years that GNSS and int64 ns share; None: no such date."""
        key = (year, month, day)
        if key not in self._days:
            if len(self._days) > 1_000:
                self._days.clear()
            try:
                self._days[key] = from_calendar(year, month, day) if FIRST_YEAR <= year <= LAST_YEAR else None
            except Rejected:
                self._days[key] = None
        return self._days[key]

    def text(self, epoch_tai_ns: int) -> str:
        """Return the 26 characters of an epoch, rounded down to the microsecond."""
        if self.system in UTC_SYSTEMS:
            label = to_utc(Instant(epoch_tai_ns * 1_000_000), self.leaps)
            mjd, second_of_day, us = label.mjd, label.second_of_day, label.fs // 10**9
        else:
            days, rest = divmod(epoch_tai_ns - TAI_MINUS_S[self.system] * NS_PER_S, _NS_PER_DAY)
            mjd, second_of_day, us = days + MJD_OF_1970, rest // NS_PER_S, rest % NS_PER_S // 1_000
        year, month, day = to_calendar(mjd)
        hour, minute = divmod(min(second_of_day, 86_399) // 60, 60)
        second = second_of_day - (hour * 60 + minute) * 60
        return f"{year:4d} {month:02d} {day:02d} {hour:02d} {minute:02d} {second:2d}.{us:06d}"
