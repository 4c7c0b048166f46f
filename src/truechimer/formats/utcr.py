"""Rapid UTC (UTCr) of the BIPM: bytes to (a week's table, findings), and back.

It fetches nothing. UTCr - UTC(k) in ns at 0 h UTC of seven days, published on Wednesdays; it carries no uncertainty and
is no source of traceability: Circular T is. Source: BIPM, rapid UTC.
"""

import re
from dataclasses import dataclass

from truechimer.formats import utc_table
from truechimer.formats.finding import Finding, Severity
from truechimer.formats.packed_text import latin_lines
from truechimer.formats.utc_table import LaboratoryRow, UtcTable

__all__ = ["LaboratoryRow", "RapidUtc", "read", "write"]

MAX_BYTES = 1_000_000
DAYS = 7
_NAME = re.compile(r"UTCr[_ ]([0-9]{2})([0-9]{2})\b", re.IGNORECASE)
_QUANTITY = re.compile(r"\[\s*UTCr\s*-\s*UTC\(k\)\s*\]")


@dataclass(frozen=True, slots=True)
class RapidUtc:
    """A week. `week`: "YYWW" as the file's name or text says, empty where neither does."""

    week: str
    table: UtcTable
    remarks: tuple[tuple[int, str], ...] = ()


def read(data: bytes, *, name: str = "") -> tuple[RapidUtc | None, list[Finding]]:
    """Return a week's values and what is wrong with them; None: this is no UTCr file. `name`: of the file."""
    findings: list[Finding] = []
    if len(data) > MAX_BYTES:
        return None, [Finding("too-long", f"{len(data)} bytes are no UTCr file (at most {MAX_BYTES}): check its name")]
    lines = latin_lines(data, blanks="\r\f ")
    if not any(_QUANTITY.search(line) for _, line in lines):
        return None, [Finding("not-utcr", "no line '[UTCr-UTC(k)]' above its rows: name another file", 1, 1)]
    table, remarks = utc_table.read(lines, findings)
    if not table.mjds:
        findings.append(Finding("no-table", "no line of MJDs: no value can be read; get the file again", 1, 1))
        return None, findings
    if len(table.mjds) != DAYS or table.mjds[-1] - table.mjds[0] != DAYS - 1:
        says = f"{len(table.mjds)} days from MJD {table.mjds[0]} to {table.mjds[-1]}, not one week's seven"
        findings.append(Finding("days", f"{says}: compare with another copy", None, None, Severity.WARNING))
    found = _NAME.search(name) or next((match for _, line in lines if (match := _NAME.search(line))), None)
    return RapidUtc("".join(found.groups()) if found else "", table, tuple(remarks)), findings


def write(value: RapidUtc) -> bytes:
    """Return a week as text."""
    out = [f"UTCr_{value.week}", "", "Computed values of [UTCr-UTC(k)]", ""]
    out += [*utc_table.header_text(value.table.mjds, quantity="[UTCr-UTC(k)]", uncertainties=False), ""]
    out += [utc_table.row_text(row) for row in value.table.rows]
    return ("\n".join(out) + "\n").encode("latin-1")
