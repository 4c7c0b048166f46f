"""What the two leap-second files share: their lines, the laws of their rows, and the months' names.

It reads neither file; `leap_seconds_list` and `leap_second_dat` do.
"""

from collections.abc import Sequence
from itertools import pairwise

from truechimer.formats.finding import Finding, has_errors
from truechimer.instants import LeapEntry, LeapTable, UtcLabel
from truechimer.instants.leap_table import MJD_OF_1972
from truechimer.instants.mjd import to_calendar

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
AGAIN = "fetch the list again"
MAX_BYTES = 1_000_000
"""A leap-second list has some 10 kB; a megabyte is something else."""


def decode_lines(data: bytes) -> tuple[list[tuple[int, str]], list[Finding]]:
    """Return the numbered lines of a list (LF or CR LF, a byte-order mark tolerated) and what is wrong with it as a
    whole.
    """
    if len(data) > MAX_BYTES:
        says = f"{len(data)} bytes are no leap-second list (at most {MAX_BYTES}): check the file's name"
        return [], [Finding("too-long", says)]
    text = data.removeprefix(b"\xef\xbb\xbf").decode("ascii", errors="replace")
    return [(number, line.rstrip("\r")) for number, line in enumerate(text.split("\n"), start=1)], []


def check_entries(
    entries: Sequence[tuple[int, LeapEntry]],
    *,
    expires: UtcLabel | None,
    updated: UtcLabel | None,
    source: str,
    findings: list[Finding],
) -> LeapTable | None:
    """Return the table of numbered rows, or None; add a finding, with its line, for each law that a row breaks.

    Laws: the first row is 1972-01-01, 10 s (a list that begins later was cut); days rise; steps are +1 or -1; a leap
    comes at the end of a month (ITU-R TF.460-6); the list expires after its last row.
    """
    if not entries:
        findings.append(Finding("empty", "not one row of the table was read: is this a leap-second list?"))
        return None
    line, first = entries[0]
    if (first.mjd, first.tai_minus_utc_s) != (MJD_OF_1972, 10):
        findings.append(Finding("first-row", f"the first row is not 1972-01-01, 10 s, rows are missing: {AGAIN}", line))
    for (_, before), (line, entry) in pairwise(entries):
        if entry.mjd <= before.mjd:
            findings.append(Finding("not-rising", f"this row does not follow the one before it: {AGAIN}", line))
        elif abs(entry.tai_minus_utc_s - before.tai_minus_utc_s) != 1:
            steps = f"{before.tai_minus_utc_s} to {entry.tai_minus_utc_s} s"
            findings.append(
                Finding("not-one-second", f"TAI-UTC goes from {steps}, a leap is one second: {AGAIN}", line)
            )
        if to_calendar(entry.mjd)[2] != 1:
            says = f"a leap second comes at the end of a month, this row does not: {AGAIN}"
            findings.append(Finding("not-month-end", says, line))
    line, last = entries[-1]
    if expires is not None and expires.mjd < last.mjd:
        says = f"the list expires ({expires.isoformat(0)}) before its last row begins: {AGAIN}"
        findings.append(Finding("expiry-before-last-row", says, line))
    if expires is None or has_errors(findings):
        return None
    return LeapTable(tuple(entry for _, entry in entries), updated=updated, expires=expires, source=source)
