"""Rapid UTC beside a readings file: UTCr files of the BIPM as rows of a reference, in the order in which they came.

It fetches nothing and judges no value (`scale.departure` does). A file gives UTCr - UTC(k) at 0 h UTC of a week's days,
without uncertainty; it is published three days after the last of them, and its rows stand there among the readings.
UTC(k) is a clock of the readings, or a reference in them (`UTC.OP - maser1`), whose readings around 0 h carry the value
to that clock.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from truechimer.cli import file_bytes
from truechimer.cli.scale_input import ScaleInputRejected
from truechimer.clocks.register import is_reference
from truechimer.formats import utcr
from truechimer.formats.finding import Finding, Severity
from truechimer.formats.reading_columns import ReadingColumns, of_rows
from truechimer.formats.readings_csv import ReadingRow
from truechimer.formats.utcr import RapidUtc
from truechimer.instants import UtcLabel, builtin_leap_table, from_utc

NAME = "UTCr"
U_S = 3e-10
"""A value has no uncertainty of its own: this is a floor; how values scatter is learned."""
PUBLISHED_AFTER_DAYS, PUBLISHED_AT_NS = 3, 14 * 3_600 * 10**9
"""From the last day of a week, a Sunday, to the Wednesday on which its values are published, in the afternoon."""
NEAR_NS = 86_400 * 10**9
"""Readings of UTC(k) may lie so far from 0 h on either side."""
SHOWN_CODES = 12
_NS = 1e-9


@dataclass(frozen=True, slots=True)
class Value:
    """UTCr minus UTC(k) at `epoch_tai_ns`, known from `published_ns` on."""

    epoch_tai_ns: int
    x_s: float
    published_ns: int


def midnight_ns(mjd: int) -> int:
    """Return 0 h UTC of a day as TAI nanoseconds."""
    return from_utc(UtcLabel(mjd, 0), builtin_leap_table(), beyond_expiry="flag").tai_ns_floor


def read(paths: list[Path], code: str) -> tuple[list[Value], list[Finding]]:
    """Return the values of one laboratory, in order of time, and what is wrong with the files."""
    weeks: list[tuple[Path, RapidUtc]] = []
    findings: list[Finding] = []
    for path in paths:
        value, found = utcr.read(file_bytes.read(path, at_most=utcr.MAX_BYTES + 1), name=path.name)
        findings += [replace(each, says=f"{path}: {each.says}", severity=Severity.WARNING) for each in found]
        if value is None:
            raise ScaleInputRejected(f"{path}: {found[0].says}")
        weeks.append((path, value))
    known: dict[int, Value] = {}
    for path, week in sorted(weeks, key=lambda pair: pair[1].table.mjds):
        row = week.table.of(code)
        if row is None:
            here = " ".join(each.code for each in week.table.rows[:SHOWN_CODES])
            raise ScaleInputRejected(f"{path}: there is no laboratory {code} in it, but {here} ...; correct --utck")
        published_ns = midnight_ns(week.table.mjds[-1] + PUBLISHED_AFTER_DAYS) + PUBLISHED_AT_NS
        for mjd, x_ns in zip(week.table.mjds, row.utc_minus_utck_ns, strict=True):
            if x_ns is None:
                continue
            one = Value(midnight_ns(mjd), x_ns * _NS, published_ns)
            before = known.setdefault(mjd, one)
            if before.x_s != one.x_s:
                says = f"{path}: MJD {mjd} has another value in a file of before: that one counts"
                findings.append(Finding("two-values", says, row.line, None, Severity.WARNING))
    return [known[mjd] for mjd in sorted(known)], findings


def joined(rows: ReadingColumns, values: list[Value], node: str) -> tuple[ReadingColumns, list[Finding]]:
    """Return the readings with the values among them, each after all readings up to its publication; `node`: what
    UTC(k) is called in the readings.
    """
    pairs = [pair for pair in rows.pairs if node in pair]
    if not pairs:
        raise ScaleInputRejected(f"no reading names {node}: say with --utck CODE=NAME which of them UTC(k) is")
    made, lost = [], 0
    for value in values:
        against = (node, 0.0) if not is_reference(node) else _carried(rows, pairs, node, value.epoch_tai_ns)
        if against is None:
            lost += 1
        else:
            made.append((value, ReadingRow(0, value.epoch_tai_ns, NAME, against[0], value.x_s + against[1], U_S)))
    is_clocks = np.array([not (is_reference(a) or is_reference(b)) for a, b in rows.pairs])[rows.pair]
    reached = np.maximum.accumulate(np.where(is_clocks, rows.epoch_tai_ns, np.iinfo(np.int64).min))
    first_ns = int(rows.epoch_tai_ns[is_clocks].min(initial=np.iinfo(np.int64).max))
    within = [
        (value, row) for value, row in made if first_ns <= value.epoch_tai_ns and value.published_ns < reached[-1]
    ]
    findings = []
    if len(values) > len(within):
        says = (
            f"{len(values) - len(within)} of {len(values)} values of {NAME} are not used: before the first reading, "
            f"published after the last one, or without readings of {node} around 0 h ({lost})"
        )
        findings.append(Finding("utcr-not-used", says, None, None, Severity.WARNING))
    if not within:
        return rows, findings
    # behind the first epoch of the clocks that is not before the publication
    epochs = reached[np.searchsorted(reached, [value.published_ns for value, _ in within])]
    at = np.searchsorted(reached, epochs, side="right")
    return _inserted(rows, of_rows([row for _, row in within]), at), findings


def _carried(rows: ReadingColumns, pairs: list[tuple[str, str]], node: str, epoch_ns: int) -> tuple[str, float] | None:
    """Return a clock and node minus that clock at a moment, on the line between the readings beside it; None where
    there are none near.
    """
    for pair in pairs:
        other = pair[1] if pair[0] == node else pair[0]
        if is_reference(other):
            continue
        here = rows.pair == rows.pairs.index(pair)
        epochs, x = rows.epoch_tai_ns[here], rows.x_a_minus_b_s[here]
        after = int(np.searchsorted(epochs, epoch_ns))
        sign = 1.0 if pair[0] == node else -1.0
        if after < len(epochs) and int(epochs[after]) == epoch_ns:
            return other, sign * float(x[after])
        if 0 < after < len(epochs) and int(epochs[after] - epochs[after - 1]) <= 2 * NEAR_NS:
            part = (epoch_ns - int(epochs[after - 1])) / int(epochs[after] - epochs[after - 1])
            return other, sign * float(x[after - 1] + part * (x[after] - x[after - 1]))
    return None


def _inserted(rows: ReadingColumns, more: ReadingColumns, at: NDArray[np.int64]) -> ReadingColumns:
    names = dict.fromkeys((*rows.pairs, *more.pairs))
    number = {pair: k for k, pair in enumerate(names)}
    turned = np.array([number[pair] for pair in more.pairs], np.int32)[more.pair]
    return ReadingColumns(
        np.insert(rows.line, at, more.line),
        np.insert(rows.epoch_tai_ns, at, more.epoch_tai_ns),
        np.insert(rows.pair, at, turned),
        np.insert(rows.x_a_minus_b_s, at, more.x_a_minus_b_s),
        np.insert(rows.u_s, at, more.u_s),
        tuple(names),
    )
