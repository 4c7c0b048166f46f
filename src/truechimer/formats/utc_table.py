"""The table of [UTC - UTC(k)] that Circular T and rapid UTC share: lines of text to rows of laboratories.

It knows neither file's other parts: `circular_t` and `utcr` do. Sign and unit: UTC - UTC(k) in ns at 0 h UTC of each
MJD, positive where the laboratory is slow. Source: BIPM, Circular T and its column notes (`cirt_format`).

The law: a row holds one value for each MJD of the header above it, a dash or NC where there is none; then, or not, uA,
uB and u; then notes in brackets. Values are counted by the header's MJDs. Where blanks have been lost the count tells;
where a value is missing without a dash the columns tell; where neither does, the row is refused with its reason.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from truechimer.formats.finding import Finding, Severity
from truechimer.formats.leap_rows import MONTHS
from truechimer.instants.mjd import to_calendar

MOST_DATES = 40
_CODE = re.compile(r"([A-Z][A-Z0-9]{0,5})\s*(?:\(([^)]*)\)|\s)")
_CUT_ROW = re.compile(r"[A-Z][A-Z0-9]{0,5}\s*\([^)]*\)?")
_VALUE = re.compile(r"[+-]?[0-9]{1,9}(?:\.[0-9]{0,3})?")
_TOUCHING = re.compile(r"[+-]?[0-9]{1,9}\.[0-9]")
_NOTE = re.compile(r"\(([0-9]{1,2})\)")
_MJD = re.compile(r"[45678][0-9]{4}")
_DATE = re.compile(r"([A-Za-z]{3})\s+([0-9]{1,2})(?![0-9])")
_FAR_COLUMNS = 5
_FEWEST_DAYS = 3
"""Fewer numbers in a line of words are no values."""
NOT_CALIBRATED = "NC"


@dataclass(frozen=True, slots=True)
class LaboratoryRow:
    """One laboratory's row: `utc_minus_utck_ns` by the table's MJDs, None where there is none.

    `u_a_ns`, `u_b_ns`, `u_ns`: statistical, systematic and combined uncertainty (1 sigma), None where not given;
    `calibrated`: False where the file says NC; `notes`: numbers of the remarks; `line`: of its first value.
    """

    code: str
    city: str
    utc_minus_utck_ns: tuple[float | None, ...]
    u_a_ns: float | None = None
    u_b_ns: float | None = None
    u_ns: float | None = None
    calibrated: bool = True
    notes: tuple[int, ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True)
class UtcTable:
    """Days and rows. `mjds` rise; `rows` in the order of the file, each laboratory once."""

    mjds: tuple[int, ...] = ()
    rows: tuple[LaboratoryRow, ...] = ()

    def of(self, code: str) -> LaboratoryRow | None:
        """Return the row of a laboratory, or None."""
        return next((row for row in self.rows if row.code == code), None)


@dataclass(slots=True)
class _Block:
    """One header of MJDs and the rows below it."""

    mjds: tuple[int, ...]
    ends: tuple[int, ...]
    """Column in which each MJD ends."""
    rows: list[LaboratoryRow]


def read(lines: Sequence[tuple[int, str]], findings: list[Finding]) -> tuple[UtcTable, list[tuple[int, str]]]:
    """Return the table in numbered lines (one header of MJDs or several), and the lines that are none of it."""
    blocks: list[_Block] = []
    block: _Block | None = None
    begun = False
    others: list[tuple[int, str]] = []
    dates: tuple[int, str] | None = None
    for number, line in lines:
        words = line.split()
        if not words:
            continue
        if words[0] == "MJD" or _is_days(words):
            block, begun = _header(number, line, findings), True
            if block is not None:
                blocks.append(block)
                _check_dates(block, dates, findings)
            dates = None
        elif words[0] == "Date":
            dates = (number, line)
        elif words[0] == "Laboratory":
            continue
        elif block is not None and _is_row(line):
            row = _row(number, line, block, findings)
            if row is not None:
                block.rows.append(row)
        else:
            others.append((number, line))
            if block is not None and _CUT_ROW.fullmatch(line.strip()) is not None:
                says = f"{words[0]}: no value stands behind this laboratory: the line may have been cut; it is not used"
                findings.append(Finding("cut", says, number, 1))
            elif begun or _is_row(line):  # above the first line of MJDs a letter head has telephone numbers
                _check_other(number, words, block, findings)
    return _joined(blocks, findings), others


def _is_days(words: list[str]) -> bool:
    """Whether a line is one of MJDs whose first word was damaged: to take the rows below it for those of the days
    before would date them wrongly.
    """
    days = [int(word) for word in words if _MJD.fullmatch(word) is not None]
    return len(days) >= _FEWEST_DAYS and all(later > earlier for earlier, later in pairwise(days))


def _check_other(number: int, words: list[str], block: _Block | None, findings: list[Finding]) -> None:
    """Name a line that holds values and is no row: it lost its laboratory or stands below no line of MJDs."""
    values = sum(word in {"-", NOT_CALIBRATED} or _VALUE.fullmatch(word) is not None for word in words)
    if values < max(_FEWEST_DAYS, (len(block.mjds) + 1) // 2 if block is not None else 0):
        return
    says = "no line of MJDs that can be read stands above" if block is None else "no code of a laboratory begins"
    findings.append(Finding("row", f"{says} this line of values: it is not used", number, 1))


def _header(number: int, line: str, findings: list[Finding]) -> _Block | None:
    found = list(_MJD.finditer(line))
    mjds = tuple(int(match.group()) for match in found)
    if not mjds or len(mjds) > MOST_DATES or any(later <= earlier for earlier, later in pairwise(mjds)):
        says = "this line of MJDs does not hold days that rise: the rows below it are not used; get the file again"
        findings.append(Finding("mjd", says, number, 1))
        return None
    return _Block(mjds, tuple(match.end() for match in found), [])


def _check_dates(block: _Block, dates: tuple[int, str] | None, findings: list[Finding]) -> None:
    """The line above names the same days by month and day."""
    if dates is None:
        return
    said = [(match.group(1).lower(), int(match.group(2))) for match in _DATE.finditer(dates[1])]
    said = [(month, day) for month, day in said if month in MONTHS]
    meant = [(MONTHS[month - 1], day) for _, month, day in map(to_calendar, block.mjds)]
    if said and said != meant:
        says = "dates and MJDs of the header are not the same days: the MJDs count; compare with another copy"
        findings.append(Finding("dates", says, dates[0], 1, Severity.WARNING))


def _is_row(line: str) -> bool:
    """Whether a line looks like a laboratory's row, good or broken: a code at its beginning, and values behind it."""
    code = _CODE.match(line.strip() + " ")
    if code is None:
        return False
    rest = line.strip()[code.end() :].split()
    return any(word in ("-", NOT_CALIBRATED) or _VALUE.fullmatch(word) is not None for word in rest)


def _row(number: int, line: str, block: _Block, findings: list[Finding]) -> LaboratoryRow | None:
    code = _CODE.match(line.strip() + " ")
    if code is None:
        return None
    begins = line.index(code.group(1)) + len(code.group().rstrip())
    rest = line[begins:]
    notes = tuple(int(match.group(1)) for match in _NOTE.finditer(rest))
    words = [
        (value, end) for match in re.finditer(r"\S+", _NOTE.sub(_blank, rest)) for value, end in _parted(match, begins)
    ]
    wrong = [word for word, _ in words if word not in ("-", NOT_CALIBRATED) and _VALUE.fullmatch(word) is None]
    n = len(block.mjds)
    if wrong:
        says = f"{code.group(1)}: {wrong[0][:12]!r} is no value in ns, no dash and not NC: the row is not used"
        findings.append(Finding("value", says, number, line.index(wrong[0]) + 1))
        return None
    texts = [word for word, _ in words]
    if len(texts) in (n, n + 3):
        values, after = texts[:n], texts[n:]
    else:
        by_column = _by_columns(words, block)
        if by_column is None:
            says = f"{code.group(1)}: {len(texts)} values for {n} days (and 3 or no uncertainties): the row is not used"
            findings.append(Finding("count", says, number, begins + 1))
            return None
        values, after = by_column
        if not after and values[-1] == "-":
            says = (
                f"{code.group(1)}: no dash stands for the last day, and nothing behind it: the line may have been cut"
            )
            findings.append(Finding("cut", says, number, begins + len(rest) + 1, Severity.WARNING))
    u_a, u_b, u = [None if word in ("-", NOT_CALIBRATED) else float(word) for word in after] or [None, None, None]
    row = LaboratoryRow(
        code.group(1),
        (code.group(2) or "").strip(),
        tuple(None if word in ("-", NOT_CALIBRATED) else float(word) for word in values),
        u_a,
        u_b,
        u,
        calibrated=NOT_CALIBRATED not in texts,
        notes=notes,
        line=number,
    )
    _check_uncertainty(row, findings)
    return row


def _blank(note: "re.Match[str]") -> str:
    return " " * len(note.group())


def _parted(word: "re.Match[str]", begins: int) -> list[tuple[str, int]]:
    """Return the values of a word and the columns in which they end: large ones fill their columns and touch, and each
    has one decimal.
    """
    values = list(_TOUCHING.finditer(word.group()))
    if len(values) > 1 and "".join(each.group() for each in values) == word.group():
        return [(each.group(), begins + word.start() + each.end()) for each in values]
    return [(word.group(), begins + word.end())]


def _by_columns(words: list[tuple[str, int]], block: _Block) -> tuple[list[str], list[str]] | None:
    """Return values and uncertainties by the columns of the header's MJDs; None: they do not tell."""
    values = ["-"] * len(block.mjds)
    after: list[str] = []
    taken: set[int] = set()
    for word, end in words:
        near = min(range(len(block.ends)), key=lambda k: abs(block.ends[k] - end))
        if abs(block.ends[near] - end) <= _FAR_COLUMNS and not after:
            if near in taken or (taken and near < max(taken)):
                return None
            taken.add(near)
            values[near] = word
        elif end > block.ends[-1]:
            after.append(word)
        else:
            return None
    return (values, after) if len(after) in (0, 3) else None


def _check_uncertainty(row: LaboratoryRow, findings: list[Finding]) -> None:
    """u is the root of the squares of uA and uB, within their rounding to 0.1 ns."""
    if row.u_a_ns is None or row.u_b_ns is None or row.u_ns is None:
        return
    most = ((row.u_a_ns + 0.05) ** 2 + (row.u_b_ns + 0.05) ** 2) ** 0.5 + 0.051
    least = (max(row.u_a_ns - 0.05, 0.0) ** 2 + max(row.u_b_ns - 0.05, 0.0) ** 2) ** 0.5 - 0.051
    if not least <= row.u_ns <= most or min(row.u_a_ns, row.u_b_ns, row.u_ns) < 0.0:
        says = f"{row.code}: u {row.u_ns:g} does not follow from uA {row.u_a_ns:g} and uB {row.u_b_ns:g}"
        findings.append(Finding("uncertainty", f"{says}: a digit may be wrong", row.line, 1, Severity.WARNING))


def _joined(blocks: list[_Block], findings: list[Finding]) -> UtcTable:
    """Return the blocks as one table: a table that runs over two pages names its laboratories twice."""
    mjds = tuple(sorted({mjd for block in blocks for mjd in block.mjds}))
    values: dict[str, dict[int, float | None]] = {}
    first: dict[str, LaboratoryRow] = {}
    for block in blocks:
        for row in block.rows:
            held = values.setdefault(row.code, {})
            again = [mjd for mjd in block.mjds if mjd in held]
            if again:
                says = f"{row.code} stands twice for MJD {again[0]}: the later row is not used"
                findings.append(Finding("repeated", says, row.line, 1))
                continue
            held.update(zip(block.mjds, row.utc_minus_utck_ns, strict=True))
            before = first.get(row.code)
            if before is None or before.u_ns is None:
                first[row.code] = row if before is None else _with_uncertainty(before, row)
    rows = tuple(_with_values(row, tuple(values[code].get(mjd) for mjd in mjds)) for code, row in first.items())
    return UtcTable(mjds, rows)


def _with_uncertainty(row: LaboratoryRow, later: LaboratoryRow) -> LaboratoryRow:
    return LaboratoryRow(
        row.code,
        row.city,
        row.utc_minus_utck_ns,
        later.u_a_ns,
        later.u_b_ns,
        later.u_ns,
        row.calibrated and later.calibrated,
        tuple(dict.fromkeys((*row.notes, *later.notes))),
        row.line,
    )


def _with_values(row: LaboratoryRow, values: tuple[float | None, ...]) -> LaboratoryRow:
    return LaboratoryRow(
        row.code, row.city, values, row.u_a_ns, row.u_b_ns, row.u_ns, row.calibrated, row.notes, row.line
    )


def has_uncertainties(row: LaboratoryRow) -> bool:
    """Return whether a row says anything behind its values, be it that its link is not calibrated."""
    return not row.calibrated or any(part is not None for part in (row.u_a_ns, row.u_b_ns, row.u_ns))


def row_text(row: LaboratoryRow) -> str:
    """Return a row in the fixed columns of Circular T (since 2005): code and city (25), values f9.1, uA f8.1, uB and u
    f6.1, notes. Of a link that is not calibrated uB is NC and u a dash, as in the issues since 437.
    """
    name = f"{row.code:<4} ({row.city})" if row.city else f"{row.code:<4}"
    values = "".join(f"{'-' if value is None else format(value, '.1f'):>9}" for value in row.utc_minus_utck_ns)
    uncertainties = ""
    if has_uncertainties(row):
        absent = ("-", "-" if row.calibrated else NOT_CALIBRATED, "-")
        parts = zip((row.u_a_ns, row.u_b_ns, row.u_ns), absent, strict=True)
        uncertainties = "  " + "".join(f"{word if part is None else format(part, '.1f'):>6}" for part, word in parts)
    notes = "".join(f"  ({note})" for note in row.notes)
    return f"{name:<25}{values}{uncertainties}{notes}"


def header_text(mjds: Sequence[int], *, quantity: str, uncertainties: bool) -> list[str]:
    """Return the three lines above the rows."""
    dates = [to_calendar(mjd) for mjd in mjds]
    years = sorted({year for year, _, _ in dates})
    year = f"{years[0]}" if len(years) == 1 else f"{years[0]}/{years[-1] % 100:02d}"
    days = "".join(f"{MONTHS[month - 1].upper()} {day:2d}".rjust(9) for _, month, day in dates)
    more = "     Uncertainty/ns  Notes" if uncertainties else ""
    numbers = "".join(f"{mjd:9d}" for mjd in mjds)
    return [
        f"{f'Date {year}    0h UTC':<25}{days}{more}",
        f"{'       MJD':<25}{numbers}",
        f"{'Laboratory k':<53}{quantity}/ns".ljust(31 + 9 * len(mjds)) + ("uA    uB    u" if uncertainties else ""),
    ]
