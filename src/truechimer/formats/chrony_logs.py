"""chronyd's logs, line by line: measurements.log, tracking.log, refclocks.log into rows and findings.

It opens no file and judges no source. Source: chrony.conf(5) of chrony 4.3, "log" (columns), and the writers in
ntp_core.c, reference.c, refclock.c (signs). All times are UTC of chronyd's own ("cooked") clock, in whole seconds but
for refclocks. Sign: `x_source_minus_cooked_s` is positive where the source is ahead of chronyd's clock;
`x_cooked_minus_wall_s` is chronyd's clock minus the system clock just before an update ("Rem. corr."), and the update
moves it by minus `x_cooked_minus_reference_s` ("Offset").
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Generic, TypeVar

from truechimer.formats.finding import Finding

LONGEST_LINE = 512
SECONDS_PER_DAY = 86_400
_UNIX_DAY = date(1970, 1, 1).toordinal()
_NUMBER = re.compile(rb"[-+]?[0-9]{1,12}(?:\.[0-9]{1,12})?(?:e[-+][0-9]{1,3})?")
_DATE = re.compile(rb"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_TIME = re.compile(rb"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{6}))?")
_LARGEST = 1e10
"""s: no offset, delay or dispersion of a log lies beyond (the time since 1970 does not)."""


@dataclass(frozen=True, slots=True)
class MeasurementRow:
    """One exchange with a server: in UTC second `second` (since 1970) of chronyd's clock. `is_good`: chronyd's ten
    tests passed, so the sample counts for chronyd too.
    """

    second: int
    address: str
    stratum: int
    is_good: bool
    x_source_minus_cooked_s: float
    delay_s: float
    dispersion_s: float
    root_delay_s: float
    root_dispersion_s: float

    @property
    def root_distance_s(self) -> float:
        """What the exchange cannot exclude, seconds."""
        return (self.delay_s + self.root_delay_s) / 2.0 + self.dispersion_s + self.root_dispersion_s


@dataclass(frozen=True, slots=True)
class TrackingRow:
    """One update of chronyd's clock."""

    second: int
    reference: str
    stratum: int
    x_cooked_minus_reference_s: float
    x_cooked_minus_wall_s: float

    @property
    def x_cooked_minus_wall_after_s(self) -> float:
        """Chronyd's clock minus the system clock just after the update, where that was slewed."""
        return self.x_cooked_minus_wall_s - self.x_cooked_minus_reference_s


@dataclass(frozen=True, slots=True)
class RefclockRow:
    """A sample of a refclock at `second` and `fraction_s`; `is_filtered`: the one that chronyd takes, of many."""

    second: int
    fraction_s: float
    refid: str
    is_filtered: bool
    is_synchronised: bool
    x_source_minus_cooked_s: float
    dispersion_s: float


class _BrokenLine(Exception):
    """Why a line is no row; never leaves this module."""

    def __init__(self, rule: str, says: str) -> None:
        super().__init__(says)
        self.rule, self.says = rule, says


Row = TypeVar("Row", MeasurementRow, TrackingRow, RefclockRow)


class LogReader(Generic[Row]):
    """A log that grows: `feed` bytes as they come. Lines are counted from 1 at the first byte that was fed.

    Invariant: at most `LONGEST_LINE` bytes of an unfinished line are kept.
    """

    def __init__(self, parse: Callable[[bytes], Row]) -> None:
        self._parse: Callable[[bytes], Row] = parse
        self._rest = b""
        self._is_overlong = False
        self._line = 0

    def feed(self, data: bytes) -> tuple[list[Row], list[Finding]]:
        """Return the rows that this piece completes, and a finding for each line that is none."""
        rows: list[Row] = []
        findings: list[Finding] = []
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line += 1
            overlong, self._is_overlong = self._is_overlong, False
            if overlong or len(line) > LONGEST_LINE:
                findings.append(Finding("line-too-long", f"a line of more than {LONGEST_LINE} bytes", self._line))
                continue
            if is_heading(line):
                continue
            try:
                rows.append(self._parse(line))
            except _BrokenLine as error:
                findings.append(Finding(error.rule, error.says, self._line))
        if len(self._rest) > LONGEST_LINE:
            self._rest, self._is_overlong = b"", True
        return rows, findings


def measurements() -> LogReader[MeasurementRow]:
    """Return a reader of measurements.log."""
    return LogReader(_measurement)


def tracking() -> LogReader[TrackingRow]:
    """Return a reader of tracking.log."""
    return LogReader(_tracking)


def refclocks() -> LogReader[RefclockRow]:
    """Return a reader of refclocks.log."""
    return LogReader(_refclock)


def is_heading(line: bytes) -> bool:
    """Return True for the banner that chronyd writes now and then, and for an empty line."""
    stripped = line.strip()
    return not stripped or not stripped.strip(b"=") or stripped.startswith(b"Date (UTC)")


def _measurement(line: bytes) -> MeasurementRow:
    words = _words(line, least=17)
    tests = b"".join(words[5:8])
    if len(tests) != 10 or tests.strip(b"01"):
        raise _BrokenLine("tests", "columns 6 to 8 are not ten tests of 0 and 1")
    return MeasurementRow(
        second=_second(words)[0],
        address=_address(words[2]),
        stratum=_whole(words[4], most=16, what="stratum"),
        is_good=tests == b"1" * 10 and words[3] != b"?",
        x_source_minus_cooked_s=_number(words[11], what="offset"),
        delay_s=_number(words[12], what="peer delay"),
        dispersion_s=_amount(words[13], what="peer dispersion"),
        root_delay_s=_number(words[14], what="root delay"),
        root_dispersion_s=_amount(words[15], what="root dispersion"),
    )


def _tracking(line: bytes) -> TrackingRow:
    words = _words(line, least=11)
    return TrackingRow(
        second=_second(words)[0],
        reference=_plain(words[2]),
        stratum=_whole(words[3], most=16, what="stratum"),
        x_cooked_minus_reference_s=_number(words[6], what="offset"),
        x_cooked_minus_wall_s=_number(words[10], what="remaining correction"),
    )


def _refclock(line: bytes) -> RefclockRow:
    words = _words(line, least=8)
    second, fraction_s = _second(words)
    if words[4] not in {b"N", b"+", b"-", b"?"}:
        raise _BrokenLine("leap", "column 5 is not one of N + - ?")
    is_filtered = words[3] == b"-"
    if not is_filtered:
        _whole(words[3], most=10**9, what="driver poll")
        _number(words[6], what="raw offset")
    elif (words[5], words[6]) != (b"-", b"-"):
        raise _BrokenLine("columns", "a filtered sample has - in columns 6 and 7")
    return RefclockRow(
        second=second,
        fraction_s=fraction_s,
        refid=_plain(words[2]),
        is_filtered=is_filtered,
        is_synchronised=words[4] != b"?",
        x_source_minus_cooked_s=_number(words[7], what="cooked offset"),
        dispersion_s=_amount(words[8], what="dispersion") if len(words) > 8 else _missing("dispersion"),
    )


def _words(line: bytes, *, least: int) -> list[bytes]:
    words = line.split()
    if len(words) < least:
        raise _BrokenLine("columns", f"{len(words)} columns where at least {least} belong")
    return words


def _second(words: list[bytes]) -> tuple[int, float]:
    """Return the UTC second since 1970, and the fraction of it where the log has one."""
    day, clock = _DATE.fullmatch(words[0]), _TIME.fullmatch(words[1])
    if day is None or clock is None:
        raise _BrokenLine("date", "columns 1 and 2 are not a date and a time")
    try:
        ordinal = date(int(day[1]), int(day[2]), int(day[3])).toordinal()
    except ValueError:
        raise _BrokenLine("date", "there is no such day") from None
    hour, minute, second = int(clock[1]), int(clock[2]), int(clock[3])
    if hour > 23 or minute > 59 or second > 59:
        raise _BrokenLine("date", "there is no such time of day")
    fraction_s = int(clock[4]) / 1e6 if clock[4] else 0.0
    return (ordinal - _UNIX_DAY) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second, fraction_s


def _address(word: bytes) -> str:
    try:
        return str(ipaddress.ip_address(word.decode("ascii")))
    except ValueError:
        raise _BrokenLine("address", "column 3 is not an IP address") from None


def _plain(word: bytes) -> str:
    """Return a refid or an address: printable ASCII, short."""
    if len(word) > 45 or not all(33 <= octet < 127 for octet in word):
        raise _BrokenLine("reference", "column 3 is neither a refid nor an address")
    return word.decode("ascii")


def _number(word: bytes, *, what: str) -> float:
    if not _NUMBER.fullmatch(word) or abs(float(word)) > _LARGEST:
        raise _BrokenLine("number", f"the {what} is not a number of seconds")
    return float(word)


def _amount(word: bytes, *, what: str) -> float:
    value = _number(word, what=what)
    if value < 0.0:
        raise _BrokenLine("number", f"the {what} is below zero")
    return value


def _whole(word: bytes, *, most: int, what: str) -> int:
    if not word.isdigit() or len(word) > 10 or int(word) > most:
        raise _BrokenLine("number", f"the {what} is not a whole number up to {most}")
    return int(word)


def _missing(what: str) -> float:
    raise _BrokenLine("columns", f"there is no {what}")
