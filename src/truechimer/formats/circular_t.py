"""BIPM Circular T: bytes to (its section 1, findings), and back.

It fetches nothing and believes nothing: whether values fit the past is the intake's to judge. UTC - UTC(k) in ns, at
0 h UTC of the MJDs that end in 4 and 9. Source: BIPM Circular T, issues from 100 on; its column notes v0.1, v0.2.

Layouts: since 2005 with uA, uB, u; before without; 1996 to 2002 integers over two pages, the second with the banner
`(Cont.)` and MJDs of its own. Section 2 has rows of the same look that mean TAI - TA(k): the table ends with the first
banner whose number is not 1.
"""

import re
from dataclasses import dataclass

from truechimer.formats import utc_gnss, utc_table
from truechimer.formats.finding import Finding, Severity
from truechimer.formats.leap_rows import MONTHS
from truechimer.formats.packed_text import latin_lines
from truechimer.formats.utc_gnss import GnssTable
from truechimer.formats.utc_table import LaboratoryRow, UtcTable
from truechimer.instants.errors import NotADateRejected
from truechimer.instants.mjd import from_calendar, to_calendar

__all__ = ["CircularT", "LaboratoryRow", "read", "write"]

MAX_BYTES = 4_000_000
MAX_LINES = 20_000
_ISSUE = re.compile(r"CIRCULAR\s+T\s+([0-9]{1,4})\b")
_BANNER = re.compile(r"([1-9])\s*-\s+\S")
_GNSS = re.compile(r"GNSS|GPS|GLONASS|Galileo|BeiDou", re.IGNORECASE)
_PUBLISHED = re.compile(r"([0-9]{4})\s+([A-Z]+)\s+([0-9]{1,2})\b")
_TAI_MINUS_UTC = re.compile(r"TAI\s*-\s*UTC\s*=\s*([0-9]{1,3})\s*s")


@dataclass(frozen=True, slots=True)
class CircularT:
    """Section 1 of an issue. `published_mjd`: the day it bears; `tai_minus_utc_s`: as its prose says (the last of two);
    `remarks`: the lines of section 1 that are no row, with their numbers; `others`: the lines above and below section
    1 that are not blank, of which the table of UTC minus satellite systems (section 4, before issue 326 section 5) is
    read by its labels (`gnss`; None: there is none), and nothing else.
    """

    issue: int
    published_mjd: int | None
    tai_minus_utc_s: int | None
    table: UtcTable
    remarks: tuple[tuple[int, str], ...] = ()
    others: tuple[tuple[int, str], ...] = ()
    gnss: GnssTable | None = None

    @property
    def unread_sections(self) -> tuple[int, ...]:
        """Numbers of the sections whose lines are held and not read."""
        found = [match for _, line in self.others if (match := _BANNER.match(line.strip())) is not None]
        read = {match.group(1) for match in found if self.gnss is not None and _GNSS.search(match.string)}
        return tuple(dict.fromkeys(int(match.group(1)) for match in found if match.group(1) not in read))


def read(data: bytes) -> tuple[CircularT | None, list[Finding]]:
    """Return an issue and what is wrong with it; None: this is no Circular T, or holds no table."""
    findings: list[Finding] = []
    if len(data) > MAX_BYTES:
        says = f"{len(data)} bytes are no Circular T (at most {MAX_BYTES}): check the file's name"
        return None, [Finding("too-long", says)]
    lines = latin_lines(data, blanks="\r\f ")
    if len(lines) > MAX_LINES:
        says = f"{len(lines)} lines are no Circular T: those behind line {MAX_LINES} are not read"
        findings.append(Finding("too-many-lines", says, MAX_LINES + 1, 1))
        del lines[MAX_LINES:]
    head = next(((number, match) for number, line in lines[:60] if (match := _ISSUE.search(line))), None)
    if head is None:
        return None, [Finding("not-circular-t", "no line 'CIRCULAR T nnn' at its top: name another file", 1, 1)]
    section = _section_one(lines)
    table, remarks = utc_table.read(section, findings)
    if not table.mjds:
        says = "section 1 holds no line of MJDs: no value can be read; get the file again"
        findings.append(Finding("no-table", says, head[0], 1))
        return None, findings
    _check_days(table, findings)
    offsets = [int(match.group(1)) for _, line in section for match in _TAI_MINUS_UTC.finditer(line)]
    published = next((day for number, line in lines[:60] if number >= head[0] and (day := _day(line))), None)
    inside = {number for number, _ in section}
    others = tuple((number, line) for number, line in lines if number not in inside and line.strip())
    gnss = utc_gnss.of_section(_section_of_gnss(others), findings)
    issue = int(head[1].group(1))
    return CircularT(issue, published, offsets[-1] if offsets else None, table, tuple(remarks), others, gnss), findings


def write(value: CircularT) -> bytes:
    """Return section 1 in the layout of the issues since 2005."""
    from_day = value.published_mjd
    out = [f"CIRCULAR T {value.issue:3d}{'ISSN 1143-1393':>88}"]
    if from_day is not None:
        year, month, day = to_calendar(from_day)
        out.append(f"{year} {_NAMES[month - 1]} {day:02d}, 00h UTC")
    banner = "Coordinated Universal Time UTC and its local realizations UTC(k)."
    out += ["", f"1 - {banner} Computed values of [UTC-UTC(k)]."]
    if value.tai_minus_utc_s is not None:
        out.append(f"    TAI-UTC = {value.tai_minus_utc_s} s.")
    uncertain = any(utc_table.has_uncertainties(row) for row in value.table.rows)
    out += ["", *utc_table.header_text(value.table.mjds, quantity="[UTC-UTC(k)]", uncertainties=uncertain), ""]
    out += [utc_table.row_text(row) for row in value.table.rows]
    return ("\n".join(out) + "\n").encode("latin-1")


_NAMES = (
    "JANUARY",
    "FEBRUARY",
    "MARCH",
    "APRIL",
    "MAY",
    "JUNE",
    "JULY",
    "AUGUST",
    "SEPTEMBER",
    "OCTOBER",
    "NOVEMBER",
    "DECEMBER",
)


def newest(issues: "list[CircularT]", code: str) -> dict[int, tuple[float, LaboratoryRow, int]]:
    """Return by MJD a laboratory's value (ns), its row and the issue it is from; of two issues the newer counts.

    The last day of an issue is the first of the next, whose calibration may be another.
    """
    found: dict[int, tuple[float, LaboratoryRow, int]] = {}
    for issue in sorted(issues, key=lambda each: each.issue):
        row = issue.table.of(code)
        for mjd, value in zip(issue.table.mjds, row.utc_minus_utck_ns if row else (), strict=False):
            if row is not None and value is not None:
                found[mjd] = (value, row, issue.issue)
    return found


def _section_one(lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the lines from the first banner of number 1 to the first of another number."""
    section: list[tuple[int, str]] = []
    inside = False
    for number, line in lines:
        banner = _BANNER.match(line.strip())
        if banner is not None:
            if banner.group(1) != "1":
                if inside:
                    break
                continue
            inside = True
        if inside:
            section.append((number, line))
    return section or lines


def _section_of_gnss(lines: tuple[tuple[int, str], ...]) -> list[tuple[int, str]]:
    """Return the lines of the section whose banner names satellite systems."""
    section: list[tuple[int, str]] = []
    inside = False
    for number, line in lines:
        if _BANNER.match(line.strip()) is not None:
            inside = _GNSS.search(line) is not None
        elif inside:
            section.append((number, line))
    return section


def _check_days(table: UtcTable, findings: list[Finding]) -> None:
    odd = [mjd for mjd in table.mjds if mjd % 5 != 4]
    if odd:
        says = f"MJD {odd[0]} does not end in 4 or 9, as the days of Circular T do: compare with another copy"
        findings.append(Finding("days", says, None, None, Severity.WARNING))


def _day(line: str) -> int | None:
    match = _PUBLISHED.search(line)
    if match is None or match.group(2)[:3].lower() not in MONTHS:
        return None
    try:
        return from_calendar(int(match.group(1)), MONTHS.index(match.group(2)[:3].lower()) + 1, int(match.group(3)))
    except NotADateRejected:
        return None
