"""UTC minus the time of satellite systems: section 4 (5 until 2015) of Circular T, and the BIPM's `utc-gps` files.

It steers nothing: these values are no UTC - UTC(k). Source: Circular T, "Relations of UTC and TAI with predictions of
UTC(k) disseminated by GNSS and their System Times"; BIPM time server, `utcgnss`. Whole seconds are removed; ns at 0 h
UTC, daily. C0: UTC - GPS time, C0': UTC - UTC(USNO) as GPS broadcasts it; C1, C1' the same of GLONASS; later issues
name further columns. No column is known beforehand: a table is read by the labels above it, `NAME/ns` for a value, any
other word for a number of measurements, and a line whose numbers are not as many as its labels is named and not used.
So is one whose MJD is damaged, or another day than the date before it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from truechimer.formats.finding import Finding
from truechimer.formats.leap_rows import MONTHS
from truechimer.formats.packed_text import latin_lines
from truechimer.instants.mjd import to_calendar

MAX_BYTES = 4_000_000
MAX_FINDINGS = 100
LARGEST_NS = 1e9
_LABELS = re.compile(r"\bMJD\b(.*/ns.*)")
_MJD = re.compile(r"[45678][0-9]{4}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}(?:\.[0-9]{0,6})?")
_MONTH_DAY = re.compile(r"(?:[0-9]{4}\s+)?([A-Za-z]{3,9})\s+([0-9]{1,2})\s+")
_OF_UTCK = re.compile(r"utcr?\([a-z0-9]{1,6}\)(?!_)")
_NAME = re.compile(r"(?:b_|utc-)?(?:gps|glo|glonass|gal|galileo|bei|beidou|bds)(?![a-z])")
_FILE_NAME = re.compile(r"utc-(?:gps|glo|glonass|gal|galileo|bei|beidou|bds)(?![a-z])")
SAYS = (
    "UTC minus a satellite system's time by its remark or its name, not UTC - UTC(k): it is not used; where it is "
    "UTC - UTC(k), say so in a line '# UTC - UTC(CODE)'"
)
"""What is said of values that are not used because of it (rule `gnss`)."""
SYSTEMS = {"gps": "0", "glonass": "1", "galileo": "2", "beidou": "3"}
"""Systems and the number that the BIPM's files give their columns."""


@dataclass(frozen=True, slots=True)
class GnssTable:
    """`labels`: of the columns, as they stand; `mjd` rises; `values` by day and column: ns for a label with `/ns`, else
    a number of measurements; None where the file has a dash.
    """

    labels: tuple[str, ...]
    mjd: tuple[int, ...]
    values: tuple[tuple[float | None, ...], ...]

    def column(self, label: str) -> dict[int, float]:
        """Return the values of one column by day; `label` with or without `/ns`."""
        at = [each.removesuffix("/ns") for each in self.labels].index(label.removesuffix("/ns"))
        return {mjd: value for mjd, row in zip(self.mjd, self.values, strict=True) if (value := row[at]) is not None}


def names_a_system(remark: str, name: str = "") -> bool:
    """Whether the remark or the name of a server's answer says that it is of a satellite system (`[UTC-GPS]`,
    `[UTC-UTC(USNO)_GPS]`, `b_gps.txt`): then its values are none of UTC - UTC(k). A remark that names UTC(k) decides;
    of a name, a whole word counts (`gpsdo.txt` is no satellite system's).
    """
    words = remark.lower().replace(" ", "")
    if _OF_UTCK.search(words) is not None:
        return False
    return any(system in words for system in (*SYSTEMS, "gnss")) or _NAME.match(name.lower()) is not None


def is_file(data: bytes, name: str) -> bool:
    """Whether a file is named as the BIPM's of UTC minus satellite systems are (`utc-gps`), whose columns look like
    those of UTC - UTC(k), and says nowhere that it is of the latter.
    """
    if _FILE_NAME.match(name.lower()) is None:
        return False
    remarks = " ".join(line for line in data[:20_000].decode("latin-1").splitlines() if line.startswith("#"))
    return _OF_UTCK.search(remarks.lower().replace(" ", "")) is None


def read(data: bytes, *, name: str = "") -> tuple[GnssTable | None, list[Finding]]:
    """Return a `utc-gps` file: MJD, C0', C0 in ns. `name`: of the file, which tells the system (else its remarks)."""
    if len(data) > MAX_BYTES:
        return None, [Finding("too-long", f"{len(data)} bytes are no series of UTC - GNSS time (at most {MAX_BYTES})")]
    lines = latin_lines(data, blanks="\r ")
    remarks = " ".join(line for _, line in lines if line.startswith("#"))
    found = next((k for system, k in SYSTEMS.items() if system in f"{name} {remarks}".lower()), "0")
    labels = (f"C{found}'/ns", f"C{found}/ns")
    findings: list[Finding] = []
    rows = [(number, line) for number, line in lines if line.strip() and not line.startswith("#")]
    table = _rows(rows, labels, findings)
    if table is None:
        findings.append(Finding("no-values", "no line 'MJD value value' was read: name another file"))
    return table, findings


def of_section(lines: Sequence[tuple[int, str]], findings: list[Finding]) -> GnssTable | None:
    """Return the table of a section's numbered lines; None: no line of labels, `MJD ... /ns`, stands in it."""
    labels: tuple[str, ...] = ()
    rows: list[tuple[int, str]] = []
    for number, line in lines:
        found = _LABELS.search(line)
        if found is not None and not labels:
            labels = tuple(found.group(1).split())
        elif labels:
            date = _MONTH_DAY.match(line.strip())
            bare = line.strip() if date is None else line.strip()[date.end() :]
            is_dated = date is not None and date.group(1)[:3].lower() in MONTHS
            if not is_dated and _MJD.match(bare) is None and not _is_like_row(line.split(), len(labels)):
                continue
            if date is not None and _is_other_day(bare.split()[0] if bare else "", date.group(1), date.group(2)):
                says = "date and MJD of this line are not of one day: it is not used"
                findings.append(Finding("gnss-date", says, number, 1))
                continue
            rows.append((number, bare))
    return _rows(rows, labels, findings) if labels else None


def _is_like_row(words: list[str], columns: int) -> bool:
    """Whether a line without date and MJD is one of values that is damaged: half of its words at least are numbers, and
    half as many as there are columns.
    """
    numbers = sum(_NUMBER.fullmatch(word) is not None for word in words)
    both = numbers + words.count("-")
    return numbers > 0 and 2 * both >= len(words) and 2 * both >= columns and len(words) > 1


def _is_other_day(mjd: str, month: str, day: str) -> bool:
    if _MJD.fullmatch(mjd) is None or month[:3].lower() not in MONTHS:
        return False
    _, its_month, its_day = to_calendar(int(mjd))
    return (MONTHS[its_month - 1], its_day) != (month[:3].lower(), int(day))


def _rows(lines: Sequence[tuple[int, str]], labels: tuple[str, ...], findings: list[Finding]) -> GnssTable | None:
    found: list[tuple[int, tuple[float | None, ...]]] = []
    for number, line in lines:
        words = line.split()
        numbers = [word == "-" or _NUMBER.fullmatch(word) is not None for word in words[1:]]
        if not words or _MJD.fullmatch(words[0]) is None or len(words) != 1 + len(labels) or not all(numbers):
            says = f"this line is no MJD and {len(labels)} values ({', '.join(labels)}): it is not used"
            findings.append(Finding("gnss-row", says, number, 1))
            continue
        values = tuple(None if word == "-" else float(word) for word in words[1:])
        if any(value is not None and abs(value) > LARGEST_NS for value in values):
            findings.append(Finding("gnss-value", "a value that no system has: the line is not used", number, 1))
        elif found and int(words[0]) <= found[-1][0]:
            says = f"MJD {words[0]} does not follow MJD {found[-1][0]}: the later line is not used"
            findings.append(Finding("not-rising", says, number, 1))
        else:
            found.append((int(words[0]), values))
    if len(findings) > MAX_FINDINGS:
        del findings[MAX_FINDINGS:]
        findings.append(Finding("more", "more findings are not listed: is the file damaged?"))
    if not found:
        return None
    mjd, values_of = zip(*found, strict=True)
    assert all(later > earlier for earlier, later in pairwise(mjd))
    return GnssTable(labels, mjd, values_of)
