"""Bulletin C of the IERS: text to what it announces, a leap second (positive or negative) or none; and back, for
rehearsals.

It changes no leap table: whoever takes it in compares it with a second source and asks for an order. Three statements
of the text must agree: the sentence, the sequence of second markers if there is one, and UTC - TAI before and after.
Where they do not, the bulletin is not used: a wrong whole second is worse than a late one. Source: IERS Bulletin C;
ITU-R TF.460-6.
"""

import re
from dataclasses import dataclass

from truechimer.formats.finding import Finding, has_errors
from truechimer.formats.leap_rows import MONTHS
from truechimer.instants.mjd import from_calendar, to_calendar

MAX_BYTES = 200_000
_NUMBER = re.compile(r"Bulletin\s+C\s+([0-9]{1,4})\b", re.IGNORECASE)
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_MONTH = rf"({'|'.join(_MONTHS)})"
_NONE = re.compile(
    rf"NO\s+(?:positive\s+|negative\s+)?leap\s+second\s+will\s+be\s+introduced\s+at\s+the\s+end\s+of\s+{_MONTH}\s+([0-9]{{4}})",
    re.IGNORECASE,
)
_SOME = re.compile(
    rf"A\s+(positive|negative)\s+leap\s+second\s+will\s+be\s+introduced\s+at\s+the\s+end\s+of\s+{_MONTH}\s+([0-9]{{4}})",
    re.IGNORECASE,
)
_MARKER = re.compile(
    rf"([0-9]{{4}})\s+{_MONTH}\s+([0-9]{{1,2}}),?\s+([0-9]{{1,2}})h\s*([0-9]{{1,2}})m\s*([0-9]{{1,2}})s", re.IGNORECASE
)
_OFFSET = re.compile(
    rf"from\s+([0-9]{{4}})\s+{_MONTH}\s+([0-9]{{1,2}}),?\s+0h\s+UTC,?\s+(?:to|until)\s+([^:]{{1,60}}):\s*UTC\s*-\s*TAI\s*=\s*-\s*([0-9]{{1,3}})\s*s",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class BulletinC:
    """`number` of the bulletin; `step_s`: +1 a second more, -1 a second less, 0 none; `next_mjd`: the day that begins
    after the announced moment; `tai_minus_utc_s`: from then on (None: the text does not say).
    """

    number: int | None
    step_s: int
    next_mjd: int
    tai_minus_utc_s: int | None


def read(data: bytes) -> tuple[BulletinC | None, list[Finding]]:
    """Return what a bulletin announces, or None with the reason."""
    findings: list[Finding] = []
    if len(data) > MAX_BYTES:
        return None, [Finding("too-long", f"{len(data)} bytes are no bulletin (at most {MAX_BYTES})")]
    text = " ".join(data.decode("latin-1").split())
    some, none = _SOME.findall(text), _NONE.findall(text)
    if len(some) + len(none) != 1:
        many = "says both or several things" if some or none else "announces neither a leap second nor none"
        return None, [Finding("announcement", f"the text {many}: get Bulletin C again", 1, 1)]
    month, year = (some[0][1], some[0][2]) if some else none[0]
    step_s = 0 if none else (1 if some[0][0].lower() == "positive" else -1)
    at = MONTHS.index(month[:3].lower()) + 1
    next_mjd = from_calendar(int(year) + at // 12, at % 12 + 1, 1)
    _check_markers(text, step_s, next_mjd, findings)
    tai_minus_utc_s = _offset(text, step_s, next_mjd, findings)
    if has_errors(findings):
        return None, findings
    number = _NUMBER.search(text)
    return BulletinC(int(number.group(1)) if number else None, step_s, next_mjd, tai_minus_utc_s), findings


def write(value: BulletinC) -> bytes:
    """Return a text that announces the same in the bulletin's sentences. It is a rehearsal's, signed by nobody."""
    year, month, _ = to_calendar(value.next_mjd - 1)
    kind = {1: "A positive", -1: "A negative", 0: "NO"}[value.step_s]
    out = [f"Bulletin C {value.number}"] if value.number is not None else []
    out.append(f"{kind} leap second will be introduced at the end of {_MONTHS[month - 1]} {year}.")
    if value.step_s:
        seconds = {1: (59, 60), -1: (58,)}[value.step_s]
        out.append("The sequence of dates of the UTC second markers will be:")
        out += [f"{_words(value.next_mjd - 1)}, 23h 59m {second}s" for second in seconds]
        out.append(f"{_words(value.next_mjd)}, 0h 0m 0s")
    if value.tai_minus_utc_s is not None:
        out.append("The difference between UTC and the International Atomic Time TAI is:")
        begins = _words(value.next_mjd)
        out.append(f"from {begins}, 0h UTC, until further notice: UTC-TAI = -{value.tai_minus_utc_s} s")
    return ("\n".join(out) + "\n").encode("ascii")


def _words(mjd: int) -> str:
    year, month, day = to_calendar(mjd)
    return f"{year} {_MONTHS[month - 1]} {day}"


def _day(year: str, month: str, day: str) -> int:
    return from_calendar(int(year), MONTHS.index(month[:3].lower()) + 1, int(day))


def _check_markers(text: str, step_s: int, next_mjd: int, findings: list[Finding]) -> None:
    """The sequence of second markers around the leap must be that of its sign."""
    try:
        found = [(_day(*m[:3]), int(m[3]) * 3_600 + int(m[4]) * 60 + int(m[5])) for m in _MARKER.findall(text)]
    except ValueError:
        found = [(0, 0)]
    wanted = {
        1: [(next_mjd - 1, 86_399), (next_mjd - 1, 86_400), (next_mjd, 0)],
        -1: [(next_mjd - 1, 86_398), (next_mjd, 0)],
        0: [],
    }[step_s]
    if found and found != wanted:
        says = "the sequence of second markers is not that of the announced leap: get Bulletin C again"
        findings.append(Finding("markers", says))


def _offset(text: str, step_s: int, next_mjd: int, findings: list[Finding]) -> int | None:
    rows = []
    for year, month, day, until, offset in _OFFSET.findall(text):
        try:
            rows.append((_day(year, month, day), "further" in until.lower(), int(offset)))
        except ValueError:
            findings.append(Finding("offset", f"{year} {month} {day} is no day: get Bulletin C again"))
            return None
    last = [row for row in rows if row[1]]
    if not last:
        return None
    begins, _, offset = last[-1]
    if step_s != 0 and begins != next_mjd:
        findings.append(Finding("offset", "UTC-TAI changes on another day than the leap second: get it again"))
    before = [row[2] for row in rows if not row[1]]
    if step_s != 0 and before and offset - before[-1] != step_s:
        says = f"UTC-TAI goes from -{before[-1]} to -{offset} s, the announced leap is {step_s:+d} s: get it again"
        findings.append(Finding("offset", says))
    if step_s == 0 and begins > next_mjd:
        findings.append(Finding("offset", "UTC-TAI changes, and no leap second is announced: get it again"))
    return offset
