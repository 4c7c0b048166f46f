"""Earth orientation of the IERS, finals2000A: bytes to (UT1 - UTC by day, findings), and back.

It rounds nothing to DUT1 and fetches nothing. Columns (from 1): MJD 8-15, flag 58 (I: measured, P: predicted), UT1-UTC
59-68 in s, its sigma 69-78. Lines of days that are not yet predicted are blank there. Source: IERS, readme.finals2000A.
"""

import re
from dataclasses import dataclass
from math import isfinite

from truechimer.formats.finding import Finding
from truechimer.instants.mjd import to_calendar

_DAY = re.compile(r" *[0-9]{5}\.[0-9]{2} *")
MAX_BYTES = 32_000_000
LONGEST_LINE = 200
"""A day has 185 columns, and some files bear blanks behind them."""
LARGEST_S = 0.9
"""UTC is kept within this of UT1 (ITU-R TF.460-6)."""


@dataclass(frozen=True, slots=True)
class EarthOrientation:
    """Days in order: `mjd`, `ut1_minus_utc_s`, `u_s`, and `predicted`: True where not measured; `blank`: the days at
    the end that stand without UT1 - UTC.
    """

    mjd: tuple[int, ...]
    ut1_minus_utc_s: tuple[float, ...]
    u_s: tuple[float | None, ...]
    predicted: tuple[bool, ...]
    blank: tuple[int, ...] = ()


def write(value: EarthOrientation) -> bytes:
    """Return the days: date (from the MJD, columns 1-6), MJD, flag, UT1-UTC, its sigma. Other columns are blank."""
    out = []
    for mjd, ut1, u, predicted in zip(value.mjd, value.ut1_minus_utc_s, value.u_s, value.predicted, strict=True):
        sigma = "" if u is None else f"{u:10.7f}"
        out.append(f"{_date(mjd)}{'P' if predicted else 'I':>43}{ut1:10.7f}{sigma}")
    out += [_date(mjd) for mjd in value.blank]
    return ("\n".join(out) + "\n").encode("ascii")


def _date(mjd: int) -> str:
    year, month, day = to_calendar(mjd)
    return f"{year % 100:02d}{month:2d}{day:2d} {mjd:8.2f}"


def read(data: bytes) -> tuple[EarthOrientation | None, list[Finding]]:
    """Return UT1 - UTC by day and what is wrong; None: the file holds none."""
    if len(data) > MAX_BYTES:
        return None, [Finding("too-long", f"{len(data)} bytes are no finals2000A (at most {MAX_BYTES})")]
    findings: list[Finding] = []
    rows: list[tuple[int, float, float | None, bool]] = []
    unpredicted: list[tuple[int, int]] = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").decode("latin-1").split("\n"), start=1):
        text = line.rstrip("\r")
        if not text.strip():
            continue
        if not text[57:78].strip() and _DAY.fullmatch(text[7:15]) is not None:
            unpredicted.append((int(float(text[7:15])), number))
            continue
        if len(text) > LONGEST_LINE:
            says = "more than a day's columns: line ends were lost, and what stands behind the first day is not used"
            findings.append(Finding("too-long-line", says, number, LONGEST_LINE + 1))
        flag, sigma = text[57:58], text[68:78].strip()
        try:
            day, value = float(text[7:15]), float(text[58:68])
            u = float(sigma) if sigma else None
        except ValueError:
            findings.append(Finding("columns", "MJD or UT1-UTC does not stand in its columns: not used", number, 8))
            continue
        if not day.is_integer() or not 37_000 <= day <= 99_999 or flag not in ("I", "P"):
            findings.append(Finding("day", "no whole MJD with a flag I or P: the line is not used", number, 8))
        elif not isfinite(value) or abs(value) > LARGEST_S + 0.1 or (u is not None and not 0.0 <= u < 1.0):
            findings.append(Finding("value", f"UT1-UTC {value:g} s is beyond 0.9 s: not used", number, 59))
        elif rows and day <= rows[-1][0]:
            findings.append(Finding("not-rising", "this day does not follow the one before: not used", number, 8))
        else:
            rows.append((int(day), value, u, flag == "P"))
    if not rows:
        findings.append(Finding("empty", "no day with UT1-UTC was read: is this finals2000A?"))
        return None, findings
    for day, number in unpredicted:
        if day <= rows[-1][0]:
            says = "this day stands without UT1-UTC before others that have it: was the line cut?"
            findings.append(Finding("cut", says, number, 58))
    mjd, ut1, u_s, predicted = zip(*rows, strict=True)
    blank = tuple(day for day, _ in unpredicted if day > rows[-1][0])
    return EarthOrientation(mjd, ut1, u_s, predicted, blank), findings
