"""Records of phase or frequency as people have them: columns, CSV, TimeLab, Stable32, TICC, chrony; packed or not.

It decides no statistic and fills nothing in on its own: it says what it took the bytes for, the spacing that it found,
and refuses rows out of order or out of step unless the gap rule is asked for. Columns are read by `phase_columns.py`,
devices' formats by `phase_devices.py`, times by `phase_grid.py`.
"""

import re
from dataclasses import dataclass, replace

import numpy as np

from truechimer.formats import packed_text, phase_columns, phase_devices, phase_grid
from truechimer.formats.finding import Finding
from truechimer.formats.phase_columns import UNITS
from truechimer.formats.phase_grid import TIME_UNITS
from truechimer.formats.phase_rows import Floats, Ints, NoChoiceRejected, RecordRejected, Rows, content_of, printable

__all__ = [
    "TIME_UNITS",
    "UNITS",
    "NoChoiceRejected",
    "PhaseRecord",
    "RecordRejected",
    "fractional",
    "pairs",
    "printable",
    "read",
    "scaled",
    "without_zeros",
]


_OTHERS = (
    (r"(?m)^(?:CGGTTS|GGTTS)\b.*GENERIC DATA FORMAT", "a CGGTTS file of satellite tracks"),
    (r"(?m)^\* TW[A-Z0-9]", "a file of two-way time transfer"),
    (r"RINEX VERSION / TYPE", "a RINEX file"),
    (r"(?i)^\s*<(?:!doctype|html|\?xml)", "a page for a browser"),
    (r"^\s*[\[{]\s*[\"\[{\]}]", "JSON"),
)


@dataclass(frozen=True, slots=True, eq=False)
class PhaseRecord:
    """An evenly spaced record: `values` (n,), NaN where missing.

    `data`: `phase` (s) or `frequency` (dimensionless). `tau0_s`: the spacing, None where the file has none;
    `tau0_from`: where it was found if not in times. `took_for`: what the bytes were taken for, in words. `lines`: (n,)
    the line of each value, 0 where missing. `has_times`: the spacing comes from times.
    """

    values: Floats
    data: str
    tau0_s: float | None
    took_for: str
    lines: Ints
    first_time: str = ""
    tau0_from: str = ""
    has_times: bool = False


def read(
    data: bytes,
    *,
    column: str | None = None,
    pair: tuple[str, str] | None = None,
    channel: str | None = None,
    time_unit: str | None = None,
    decimal: str | None = None,
    gaps: bool = False,
) -> tuple[PhaseRecord, tuple[Finding, ...]]:
    """Read a record; raise `RecordRejected` where there is none to be had, naming the first bad line.

    `column`: a number from 1 or a header's name. `pair`: which clocks of a readings CSV, or channels of a TICC, A minus
    B. `channel`: a channel of a TICC, a source of chrony's log, a clock of a scale. `time_unit`: a key of `TIME_UNITS`
    where the guess is wrong, `none` to leave times aside. `decimal`: `comma` or `point` where that is in doubt.
    `gaps`: missing rows become missing values, and rows out of step go to the nearest place of the grid.
    """
    try:
        text, packed = packed_text.text_of(data)
    except packed_text.TextRejected as error:
        raise RecordRejected(str(error), line=error.line) from None
    rows = _rows(text, column=column, pair=pair, channel=channel, decimal=decimal)
    if rows.values.size < 2:
        raise RecordRejected(f"{rows.values.size} values were found (taken for {rows.took_for}); give at least 2")
    with np.errstate(over="ignore"):
        rows.values = rows.values / (rows.sign * rows.per_second)
    values, numbers, tau0_s, first = phase_grid.on_a_grid(rows, time_unit=time_unit, gaps=gaps)
    took_for = printable(f"{rows.took_for}, {packed}" if packed else rows.took_for)
    has_times = rows.times is not None and time_unit != "none"
    record = PhaseRecord(values, rows.data, tau0_s, took_for, numbers, first, printable(rows.tau0_from), has_times)
    return record, tuple(rows.findings)


def _rows(
    text: str,
    *,
    column: str | None,
    pair: tuple[str, str] | None,
    channel: str | None,
    decimal: str | None,
) -> Rows:
    lines = text.split("\n")
    head = lines[: phase_devices.TIM_HEAD]
    for pattern, name in _OTHERS:
        if re.search(pattern, "\n".join(head[:20])):
            raise RecordRejected(f"this is {name}, not one series of phase or frequency; give values in columns")
    if phase_devices.is_chrony(head):
        return phase_devices.of_chrony(lines, channel)
    if phase_devices.is_ticc(head):
        return phase_devices.of_ticc(lines, channel, pair)
    if phase_devices.is_timelab(head):
        return phase_devices.of_timelab(lines, column)
    content = content_of(text, lines)
    if not content.lines:
        raise RecordRejected("the file holds comments alone")
    return phase_columns.rows_of(content, column=column, pair=pair, channel=channel, decimal=decimal)


def pairs(data: bytes) -> tuple[tuple[str, str], ...]:
    """Return the pairs of clocks that a readings CSV holds, in their order; none for any other file."""
    try:
        text, _ = packed_text.text_of(data)
    except packed_text.TextRejected as error:
        raise RecordRejected(str(error), line=error.line) from None
    return phase_columns.pairs_of(content_of(text, text.split("\n")))


def scaled(record: PhaseRecord, per_second: float) -> PhaseRecord:
    """Return the record with its values divided by `per_second`."""
    return replace(record, values=record.values / per_second)


def without_zeros(record: PhaseRecord) -> PhaseRecord:
    """Return the record with values of exactly 0 missing, as Stable32 marks gaps of frequency."""
    return replace(record, values=np.where(record.values == 0.0, np.nan, record.values))


def fractional(record: PhaseRecord, nominal_hz: float) -> PhaseRecord:
    """Return a record of frequencies in Hz as fractional frequencies, (f - nominal) / nominal."""
    return replace(record, values=(record.values - nominal_hz) / nominal_hz, data="frequency")
