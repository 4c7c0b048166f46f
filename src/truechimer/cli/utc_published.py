"""Published values of UTC - UTC(k) for `truechimer utc steer`: files of several kinds to one list, each value with the
day on which a laboratory had it.

It filters and steers nothing. Known are Circular T, rapid UTC, answers of the BIPM's server, and a CSV of one's own
(`epoch_mjd,x_utc_minus_utck_s` with, or without, `u_s` and `available_mjd`). Where a file does not say when it was
published: rapid UTC on the Wednesday three days and more after its last day, Circular T on the 12th of the month after.
A day is 0 h UTC, taken as that MJD of the TAI axis: 37 s of a rate, the same for all values.
"""

import csv
import io
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from pathlib import Path

from truechimer.cli import file_bytes
from truechimer.errors import Rejected
from truechimer.formats import bipm_api, circular_t, utcr
from truechimer.formats.finding import Finding
from truechimer.formats.utc_table import LaboratoryRow, UtcTable
from truechimer.instants.mjd import MJD_OF_1970, from_calendar, to_calendar, weekday

LARGEST_FILE = 64 << 20
DAY_NS = 86_400 * 10**9
NS = 1e-9
WEDNESDAY, CIRCULAR_T_DAY, RAPID_AGE_DAYS = 2, 12, 3
DENSE_DAYS = 3
"""A series whose days are closer than this is rapid UTC, else Circular T."""
MOST_ROWS = 100_000
MJD_FIRST, MJD_LAST = 40_000.0, 120_000.0
LARGEST_S = 1e-2
"""UTC - UTC(k) that no laboratory has."""


class PublishedRejected(Rejected):
    """Files without a value of UTC - UTC(k) that could be used."""


@dataclass(frozen=True, slots=True)
class Published:
    """One value: of `path` (UTC, UTCr or a file's name), at `mjd`, known from `available_mjd` on; `u_s` statistical,
    `u_common_s` what all of the path have in common; None: not said.
    """

    path: str
    mjd: float
    x_utc_minus_utck_s: float
    u_s: float | None
    u_common_s: float | None
    available_mjd: float


@dataclass(frozen=True, slots=True)
class Read:
    """All values, by the day on which they were to be had, and what was found on the way, by file."""

    values: tuple[Published, ...]
    findings: tuple[tuple[Path, Finding], ...]


def read(paths: list[Path], laboratory: str | None) -> Read:
    """Read files; raises `PublishedRejected` where one of them holds nothing."""
    values: list[Published] = []
    findings: list[tuple[Path, Finding]] = []
    for path in paths:
        data = file_bytes.read(path, at_most=LARGEST_FILE)
        found, said = _of_file(path, data, laboratory)
        findings += [(path, each) for each in said]
        if not found:
            says = said[-1].at(str(path)) if said else f"{path}: no value"
            raise PublishedRejected(
                f"{says}; no value of UTC - UTC(k) in it: leave the file out or name its laboratory"
            )
        values += found
    values.sort(key=lambda each: (each.available_mjd, each.mjd, each.path))
    return Read(tuple(values), tuple(findings))


def _of_file(path: Path, data: bytes, laboratory: str | None) -> tuple[list[Published], list[Finding]]:
    head = data[:20_000].decode("latin-1")
    if "[UTCr-UTC(k)]" in head.replace(" ", ""):
        week, findings = utcr.read(data, name=path.name)
        return ([], findings) if week is None else (_table(path, week.table, "UTCr", laboratory, None), findings)
    if "CIRCULAR T " in head:
        issue, findings = circular_t.read(data)
        if issue is None:
            return [], findings
        return _table(path, issue.table, "UTC", laboratory, issue.published_mjd), findings
    if head.lstrip("\ufeff \r\n").startswith("epoch_mjd") or "\nepoch_mjd" in head:
        return _csv(path, data)
    series, findings = bipm_api.read(data)
    found = []
    for each in series or ():
        closest = min((b - a for a, b in pairwise(each.mjd)), default=5)
        name = "UTCr" if closest < DENSE_DAYS else "UTC"
        for mjd, value, u in zip(each.mjd, each.value_ns, each.u_ns, strict=True):
            at = rapid_day(mjd) if name == "UTCr" else circular_t_day(mjd)
            found.append(Published(name, mjd, value * NS, None, None if u is None else u * NS, at))
    return found, findings


def _table(
    path: Path, table: UtcTable, name: str, laboratory: str | None, published_mjd: int | None
) -> list[Published]:
    row = _row(path, table, laboratory)
    last = table.mjds[-1]
    at = published_mjd if published_mjd is not None and published_mjd > last else None
    if at is None:
        at = rapid_day(last) if name == "UTCr" else circular_t_day(last)
    u_s = None if row.u_a_ns is None else row.u_a_ns * NS
    common_s = None if row.u_b_ns is None else row.u_b_ns * NS
    return [
        Published(name, mjd, value * NS, u_s, common_s, at)
        for mjd, value in zip(table.mjds, row.utc_minus_utck_ns, strict=True)
        if value is not None
    ]


def _row(path: Path, table: UtcTable, laboratory: str | None) -> LaboratoryRow:
    if laboratory is None:
        if len(table.rows) == 1:
            return table.rows[0]
        raise PublishedRejected(f"{path}: {len(table.rows)} laboratories: say whose UTC(k) with --laboratory CODE")
    row = table.of(laboratory)
    if row is None:
        raise PublishedRejected(f"{path}: no laboratory {laboratory}; see its codes with `truechimer utc read`")
    return row


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


def rows_of(path: Path, data: bytes, required: tuple[str, ...]) -> tuple[list[dict[str, float]], list[Finding]]:
    """Return a CSV's rows as numbers by column; `required`: the columns that each row must have. Others may be empty.

    A row that cannot be used is named and costs no other.
    """
    lines = [
        (number, line)
        for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        raise PublishedRejected(f"{path}: empty; its first line names its columns: {','.join(required)}")
    names = [each.strip() for each in lines[0][1].split(",")]
    if missing := [each for each in required if each not in names]:
        raise PublishedRejected(f"{path}: no column {missing[0]}; its first line names them: {','.join(required)}")
    rows, findings = [], []
    for number, line in lines[1 : MOST_ROWS + 1]:
        cells = next(csv.reader(io.StringIO(line)), [])
        row: dict[str, float] = {}
        for column, (name, cell) in enumerate(zip(names, cells, strict=False), start=1):
            try:
                if cell.strip():
                    row[name] = float(cell)
            except ValueError:
                findings.append(
                    Finding("no-number", f"{cell.strip()[:40]!r} is no number: the row is left out", number, column)
                )
                row = {}
                break
        if not all(isfinite(value) for value in row.values()) or not all(name in row for name in required):
            if row or len(cells) < len(required):
                findings.append(Finding("row", f"a finite value is needed for {', '.join(required)}", number, 1))
            continue
        if not MJD_FIRST <= row[required[0]] <= MJD_LAST:
            findings.append(
                Finding("mjd", f"{row[required[0]]:g} is no MJD of this time: the row is left out", number, 1)
            )
            continue
        rows.append(row)
    if len(lines) - 1 > MOST_ROWS:
        findings.append(Finding("too-long", f"{len(lines) - 1} rows: {MOST_ROWS} were read", lines[MOST_ROWS][0], 1))
    return rows, findings


def _csv(path: Path, data: bytes) -> tuple[list[Published], list[Finding]]:
    rows, findings = rows_of(path, data, ("epoch_mjd", "x_utc_minus_utck_s"))
    days = sorted({row["epoch_mjd"] for row in rows})
    closest = min((b - a for a, b in pairwise(days)), default=5.0)
    name = "UTCr" if closest < DENSE_DAYS else "UTC"
    found = []
    for row in rows:
        mjd = row["epoch_mjd"]
        if abs(row["x_utc_minus_utck_s"]) > LARGEST_S or not row.get("u_s", 1.0) > 0.0:
            says = (
                f"UTC - UTC(k) of {row['x_utc_minus_utck_s']:g} s, u {row.get('u_s', 0.0):g} s at MJD {mjd:g}: seconds?"
            )
            findings.append(Finding("out-of-range", says))
            continue
        usual = rapid_day(int(mjd)) if name == "UTCr" else circular_t_day(int(mjd))
        at = row.get("available_mjd", float(usual))
        if at < mjd:
            findings.append(Finding("early", f"known at MJD {at:g}, before MJD {mjd:g} that it is of: left out"))
            continue
        found.append(Published(name, mjd, row["x_utc_minus_utck_s"], row.get("u_s"), row.get("u_common_s"), at))
    return found, findings
