"""Published values of UTC - UTC(k): bytes of any kind of file to one list, each value with the day on which it was to
be had; and the rates of a frequency standard.

It filters and steers nothing. Known are Circular T, rapid UTC, answers of the BIPM's server, clock files of pulsar
timing, and a CSV of one's own (`epoch_mjd,x_utc_minus_utck_s` with, or without, `u_s`, `u_common_s` and
`available_mjd`). Where a file does not say when it was published: rapid UTC on the Wednesday three days and more after
its last day, Circular T on the 12th of the month after. A fountain's CSV has `epoch_mjd,y_utc_minus_scale,u,span_s`, or
`clock` and `y_utc_minus_clock` in place of the second.
"""

import csv
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

from truechimer.formats import bipm_api, circular_t, utc_gnss, utck_series, utcr
from truechimer.formats.finding import Finding, Severity
from truechimer.formats.utc_table import UtcTable
from truechimer.instants.mjd import MJD_OF_1970, from_calendar, to_calendar, weekday

DAY_NS = 86_400 * 10**9
NS = 1e-9
RAPID, CIRCULAR = "UTCr", "UTC"
WEDNESDAY, CIRCULAR_T_DAY, RAPID_AGE_DAYS = 2, 12, 3
DENSE_DAYS = bipm_api.DENSE_DAYS
"""A CSV whose days are closer than this is rapid UTC, else Circular T."""
MOST_ROWS = 100_000
MJD_FIRST, MJD_LAST = 40_000.0, 120_000.0
LARGEST_S = 1e-2
"""UTC - UTC(k) that no laboratory has."""
LONGEST_SPAN_S = 1e8
VALUE_COLUMNS = ("epoch_mjd", "x_utc_minus_utck_s")
RATE_COLUMNS = ("epoch_mjd", "u", "span_s")


@dataclass(frozen=True, slots=True)
class Published:
    """One value: of `path` (UTC or UTCr), at `mjd`, known from `available_mjd` on; `u_s` statistical, `u_common_s` what
    all of the path have in common; None: not said.
    """

    path: str
    mjd: float
    x_utc_minus_utck_s: float
    u_s: float | None
    u_common_s: float | None
    available_mjd: float


@dataclass(frozen=True, slots=True)
class PublishedRate:
    """A frequency standard's word: y of UTC (the second as it realizes it) minus `clock` (empty: the scale), mean over
    `span_s` until `mjd`; `u`: one sigma.
    """

    mjd: float
    clock: str
    y: float
    u: float
    span_s: float


def read(data: bytes, *, name: str, laboratory: str | None) -> tuple[tuple[Published, ...], list[Finding]]:
    """Return a file's values of one laboratory, and what is wrong with it; no value: the findings say why.

    `name`: of the file; `laboratory`: its code, None: the file has one alone.
    """
    head = data[:20_000].decode("latin-1")
    if "[UTCr-UTC(k)]" in head.replace(" ", ""):
        week, findings = utcr.read(data, name=name)
        return ((), findings) if week is None else _table(week.table, RAPID, laboratory, None, findings)
    if "CIRCULAR T " in head:
        issue, findings = circular_t.read(data)
        if issue is None:
            return (), findings
        return _table(issue.table, CIRCULAR, laboratory, issue.published_mjd, findings)
    if _is_csv(head):
        return _csv(data)
    if utck_series.is_clock_file(head):
        return _clock_file(data, laboratory)
    series, findings = bipm_api.read(data)
    found = []
    for each in series or ():
        if utc_gnss.names_a_system(each.comment, name):
            findings.append(Finding("gnss", utc_gnss.SAYS))
            continue
        path = RAPID if bipm_api.is_rapid(each, name=name) else CIRCULAR
        for mjd, value, u in zip(each.mjd, each.value_ns, each.u_ns, strict=True):
            at = rapid_day(mjd) if path == RAPID else circular_t_day(mjd)
            found.append(Published(path, mjd, value * NS, None, None if u is None else u * NS, at))
    return tuple(found), findings


def is_values(data: bytes) -> bool:
    """Return True for a CSV of one's own values of UTC - UTC(k)."""
    head = data[:20_000].decode("latin-1")
    return _is_csv(head) and all(name in _first_line(head) for name in VALUE_COLUMNS)


def is_rates(data: bytes) -> bool:
    """Return True for a CSV of a frequency standard's rates."""
    head = data[:20_000].decode("latin-1")
    return _is_csv(head) and "y_utc_minus_" in _first_line(head)


def read_rates(data: bytes) -> tuple[tuple[PublishedRate, ...], list[Finding]]:
    """Return a frequency standard's rates, and what is wrong with the file; a bad row costs no other."""
    rows, findings = rows_of(data, RATE_COLUMNS, words=("clock",))
    found = []
    for line, row, words in rows:
        clock = words.get("clock", "")
        y = row.get("y_utc_minus_clock") if clock else row.get("y_utc_minus_scale")
        if y is None or not row["u"] > 0.0 or not 0.0 < row["span_s"] <= LONGEST_SPAN_S or abs(y) > 1e-6:
            says = "a rate needs y_utc_minus_scale, or clock and y_utc_minus_clock, and a positive u and span_s"
            findings.append(Finding("rate", f"{says}: the row is left out", line, 1))
            continue
        found.append(PublishedRate(row["epoch_mjd"], clock, y, row["u"], row["span_s"]))
    return tuple(found), findings


def _table(
    table: UtcTable, path: str, laboratory: str | None, published_mjd: int | None, findings: list[Finding]
) -> tuple[tuple[Published, ...], list[Finding]]:
    row = table.of(laboratory) if laboratory is not None else table.rows[0] if len(table.rows) == 1 else None
    if row is None:
        if laboratory is None:
            says = f"{len(table.rows)} laboratories: say whose UTC(k) with --laboratory CODE"
        else:
            says = f"no laboratory {laboratory}; see its codes with `truechimer utc read`"
        return (), [*findings, Finding("laboratory", says)]
    last = table.mjds[-1]
    at = published_mjd if published_mjd is not None and published_mjd > last else None
    if at is None:
        at = rapid_day(last) if path == RAPID else circular_t_day(last)
    u_s = None if row.u_a_ns is None else row.u_a_ns * NS
    common_s = None if row.u_b_ns is None else row.u_b_ns * NS
    found = tuple(
        Published(path, mjd, value * NS, u_s, common_s, at)
        for mjd, value in zip(table.mjds, row.utc_minus_utck_ns, strict=True)
        if value is not None
    )
    if not found:
        findings = [*findings, Finding("no-value", f"the row of {row.code} holds no value")]
    return found, findings


def rapid_day(last_mjd: int) -> int:
    """Return the Wednesday on which rapid UTC with this last day comes."""
    day = last_mjd + RAPID_AGE_DAYS
    return day + (WEDNESDAY - weekday(day)) % 7


def circular_t_day(mjd: int) -> int:
    """Return the day on which Circular T with this day comes: the 12th of the month after."""
    year, month, _ = to_calendar(mjd)
    return from_calendar(year + month // 12, month % 12 + 1, CIRCULAR_T_DAY)


def epoch_ns(mjd: float) -> int:
    """Return the epoch of an MJD as ns of the TAI axis since 1970."""
    whole = int(mjd // 1.0)
    return (whole - MJD_OF_1970) * DAY_NS + round((mjd - whole) * DAY_NS)


def _is_csv(head: str) -> bool:
    return head.lstrip("\ufeff\xef\xbb\xbf \r\n").startswith("epoch_mjd") or "\nepoch_mjd" in head


def _first_line(head: str) -> str:
    lines = (line for line in head.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return next(lines, "")


Row = tuple[int, dict[str, float], dict[str, str]]
"""Line, numbers and words of a row, by column."""


def rows_of(data: bytes, required: tuple[str, ...], *, words: tuple[str, ...] = ()) -> tuple[list[Row], list[Finding]]:
    """Return a CSV's rows; `required`: the columns that each row must have, the first of them an MJD; `words`: those
    that are no numbers. Others may be empty. A row that cannot be used is named and costs no other.
    """
    lines = [
        (number, line)
        for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        return [], [Finding("empty", f"empty; its first line names its columns: {','.join(required)}")]
    names = [each.strip() for each in lines[0][1].split(",")]
    if missing := [each for each in required if each not in names]:
        says = f"no column {missing[0]}; its first line names them: {','.join(required)}"
        return [], [Finding("columns", says, lines[0][0], 1)]
    rows: list[Row] = []
    findings: list[Finding] = []
    for number, line in lines[1 : MOST_ROWS + 1]:
        found, fault = _row(number, line, names, required, words)
        if fault is not None:
            findings.append(fault)
        elif found is not None:
            rows.append(found)
    if len(lines) - 1 > MOST_ROWS:
        findings.append(Finding("too-long", f"{len(lines) - 1} rows: {MOST_ROWS} were read", lines[MOST_ROWS][0], 1))
    return rows, findings


def _row(
    number: int, line: str, names: list[str], required: tuple[str, ...], words: tuple[str, ...]
) -> tuple[Row | None, Finding | None]:
    """Return one row, or what is wrong with it; neither for a row of empty cells."""
    cells = next(csv.reader([line]), [])
    row: dict[str, float] = {}
    said: dict[str, str] = {}
    for column, (name, cell) in enumerate(zip(names, cells, strict=False), start=1):
        text = cell.strip()
        if not text:
            continue
        if name in words:
            said[name] = text[:64]
            continue
        try:
            row[name] = float(text)
        except ValueError:
            return None, Finding("no-number", f"{text[:40]!r} is no number: the row is left out", number, column)
    if not all(isfinite(value) for value in row.values()) or not all(name in row for name in required):
        if row or len(cells) < len(required):
            return None, Finding("row", f"a finite value is needed for {', '.join(required)}", number, 1)
        return None, None
    mjd = row[required[0]]
    if not MJD_FIRST <= mjd <= MJD_LAST:
        return None, Finding("mjd", f"{mjd:g} is no MJD of this time: the row is left out", number, 1)
    return (number, row, said), None


def _clock_file(data: bytes, laboratory: str | None) -> tuple[tuple[Published, ...], list[Finding]]:
    """Return the values of pulsar timing's clock file: Circular T's, or daily ones of rapid UTC."""
    series, findings = utck_series.read(data, seconds=True)
    if series is None:
        return (), findings
    if laboratory is not None and series.laboratory not in {"", laboratory.upper()}:
        says = f"the file is of {series.laboratory}, not of {laboratory}"
        return (), [*findings, Finding("laboratory", says, 1, 1)]
    closest = min((b - a for a, b in pairwise(series.mjd)), default=5)
    path, day = (RAPID, rapid_day) if closest < DENSE_DAYS else (CIRCULAR, circular_t_day)
    found = []
    for mjd, x_s, u_s in zip(series.mjd, series.x_s, series.u_s, strict=True):
        if abs(x_s) > LARGEST_S:
            findings.append(Finding("out-of-range", f"UTC - UTC(k) of {x_s:g} s at MJD {mjd}: the value is left out"))
        else:
            found.append(Published(path, mjd, x_s, None, u_s, day(mjd)))
    return tuple(found), findings


def _csv(data: bytes) -> tuple[tuple[Published, ...], list[Finding]]:
    rows, findings = rows_of(data, VALUE_COLUMNS)
    days = sorted({row["epoch_mjd"] for _, row, _ in rows})
    closest = min((b - a for a, b in pairwise(days)), default=5.0)
    path = RAPID if closest < DENSE_DAYS else CIRCULAR
    found = []
    for line, row, _ in rows:
        mjd = row["epoch_mjd"]
        if abs(row["x_utc_minus_utck_s"]) > LARGEST_S or not row.get("u_s", 1.0) > 0.0:
            says = (
                f"UTC - UTC(k) of {row['x_utc_minus_utck_s']:g} s, u {row.get('u_s', 0.0):g} s at MJD {mjd:g}: seconds?"
            )
            findings.append(Finding("out-of-range", says, line, 1, Severity.ERROR))
            continue
        usual = rapid_day(int(mjd)) if path == RAPID else circular_t_day(int(mjd))
        at = row.get("available_mjd", float(usual))
        if at < mjd:
            says = f"known at MJD {at:g}, before MJD {mjd:g} that it is of: left out"
            findings.append(Finding("early", says, line, 1))
            continue
        found.append(Published(path, mjd, row["x_utc_minus_utck_s"], row.get("u_s"), row.get("u_common_s"), at))
    return tuple(found), findings
