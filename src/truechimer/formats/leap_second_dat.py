"""The IERS file Leap_Second.dat: bytes to (LeapTable, findings), and back.

It does not fetch. The file carries no hash: `formats.leap_seconds_list` is what we hand on.
Source: the file's own header (columns MJD, day, month, year, TAI-UTC in s), IERS Earth orientation centre; expiry from
its line "File expires on 28 June 2027".

A leap table with one bad row is not used at all: a wrong whole second is worse than an expired list. A file cut off
after a whole row cannot be told from a good one: where there is a choice, take leap-seconds.list, which has a hash.
"""

from truechimer.formats.finding import Finding, has_errors
from truechimer.formats.leap_rows import check_entries, decode_lines
from truechimer.instants import LeapEntry, LeapTable, NotADateRejected, UtcLabel
from truechimer.instants.mjd import MJD_LAST, from_calendar, to_calendar

_EXPIRES = "file expires on"
_UPDATED = "updated through iers"
_HEAD = (
    "#  Value of TAI-UTC in second valid beetween the initial value until",
    "#  the epoch given on the next line. The last line reads that NO",
    "#  leap second was introduced since the corresponding date ",
)
_COLUMNS = (
    "#    MJD        Date        TAI-UTC (s)",
    "#           day month year",
    "#    ---    --------------   ------   ",
    "#",
)
"""As the file has them, its spelling too."""
_MONTHS = "january february march april may june july august september october november december"


def read(data: bytes) -> tuple[LeapTable | None, list[Finding]]:
    """Return the leap table of a Leap_Second.dat, or None with the reasons. `updated` is None: the file names a month,
    not a day.
    """
    lines, findings = decode_lines(data)
    entries: list[tuple[int, LeapEntry]] = []
    expires: UtcLabel | None = None
    source = "IERS Leap_Second.dat"
    for number, line in lines:
        text = line.strip()
        if text.startswith("#"):
            words = text.lstrip("# \t").rstrip()
            if words.lower().startswith(_EXPIRES):
                expires = _expiry(words[len(_EXPIRES) :], number, findings) or expires
            elif words.lower().startswith(_UPDATED):
                source = f"IERS Leap_Second.dat, {words[0].lower()}{words[1:]}"
        elif text:
            entry = _row(text, number, findings)
            if entry is not None:
                entries.append((number, entry))
    if expires is None and not any(finding.rule.startswith("expiry") for finding in findings):
        findings.append(Finding("expiry-missing", 'no line "File expires on": the list may be cut off; fetch it again'))
    table = check_entries(entries, expires=expires, updated=None, source=source, findings=findings)
    return (None if has_errors(findings) else table), findings


def write(table: LeapTable) -> bytes:
    """Return a table in the file's layout; what its source says of the bulletin stands in the header."""
    said = table.source.partition("updated through ")[2]
    expires = f"{table.expires.day} {_MONTHS.split()[table.expires.month - 1].capitalize()} {table.expires.year}"
    rows = [(entry.mjd, *to_calendar(entry.mjd), entry.tai_minus_utc_s) for entry in table.entries]
    text = [
        *_HEAD,
        *([f"#  Updated through {said}"] if said else []),
        *("#  ", "#", f"#  File expires on {expires}", "#", "#"),
        *_COLUMNS,
        *(f"{mjd:9d}.0{day:5d}{month:3d} {year:4d}{offset:9d}" for mjd, year, month, day, offset in rows),
        "",
    ]
    return "\n".join(text).encode("ascii", errors="replace")


def _expiry(words: str, number: int, findings: list[Finding]) -> UtcLabel | None:
    parts = words.split()
    try:
        day, month, year = int(parts[0]), _MONTHS.split().index(parts[1].lower()) + 1, int(parts[2])
        return UtcLabel(from_calendar(year, month, day), 0)
    except (ValueError, IndexError, NotADateRejected):
        says = f"the expiry {words.strip()!r} is not a date such as '28 June 2027': fetch the list again"
        findings.append(Finding("expiry-not-a-date", says, line=number))
        return None


def _row(text: str, number: int, findings: list[Finding]) -> LeapEntry | None:
    parts = text.split()
    if len(parts) != 5:
        says = f"{len(parts)} columns instead of 5 (MJD, day, month, year, TAI-UTC): fetch the list again"
        findings.append(Finding("columns", says, line=number))
        return None
    mjd_text = parts[0].removesuffix(".0")
    if not all(part.isdigit() and len(part) <= 10 for part in (mjd_text, *parts[1:])):
        findings.append(
            Finding("not-a-number", "a column is not a plain whole number: fetch the list again", line=number)
        )
        return None
    mjd, day, month, year, tai_minus_utc_s = (int(part) for part in (mjd_text, *parts[1:]))
    try:
        mjd_of_date = from_calendar(year, month, day)
    except NotADateRejected as fault:
        findings.append(Finding("date", f"{fault}; fetch the list again", line=number))
        return None
    if mjd != mjd_of_date or mjd > MJD_LAST:
        says = f"MJD {mjd} and the date {year}-{month:02d}-{day:02d} (MJD {mjd_of_date}) disagree: fetch the list again"
        findings.append(Finding("date-disagrees", says, line=number))
        return None
    return LeapEntry(mjd, tai_minus_utc_s)
