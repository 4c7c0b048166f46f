"""write(read(f)) for every format of the exchange: the bytes again; where a file says more than is read, what is equal
is named: the values, and the columns that hold them.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.formats.test_bipm_tables import AFTER, HEAD, TABLE, UTCR
from tests.formats.test_exchange_files import NEGATIVE, POSITIVE, day

from truechimer.formats import (
    bipm_api,
    bulletin_c,
    circular_t,
    clock_data,
    finals2000a,
    leap_second_dat,
    leap_seconds_list,
    twstft,
    utck_series,
    utcr,
)
from truechimer.formats.bulletin_c import BulletinC
from truechimer.formats.clock_data import ClockReading, ClockStep
from truechimer.formats.utc_table import UtcTable

DATA = Path(__file__).parents[2].parent / "shared" / "data"

CLOCKS = clock_data.write([ClockReading(60_004 + k // 7, "10023", f"135000{k % 7}", -5.5 * k) for k in range(14)])
STEPS = clock_data.write_steps([ClockStep(60_010.5, "1350000", -12.0, 2.25, "AAA", "10023")])
LEAP_DAT = "Leap_Second.2026-07.dat"


def of_shared(pattern: str) -> list[Path]:
    return sorted(DATA.glob(pattern))


def again(data: bytes, read: Callable[[bytes], Any], write: Callable[[Any], bytes]) -> bytes:
    """Return what is written of what was read, without a finding, and see that it reads as the same value."""
    value, findings = read(data)
    assert findings == []
    written = write(value)
    assert read(written) == (value, [])
    return written


def _api(data: bytes) -> tuple[Any, list[Any]]:
    series, findings = bipm_api.read(data)
    assert series is not None
    assert len(series) == 1
    return series[0], findings


BYTES: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = {
    "clocks": (clock_data.read, clock_data.write),
    "steps": (clock_data.read_steps, clock_data.write_steps),
    "two-way": (twstft.read, twstft.write),
    "api": (_api, bipm_api.write),
    "clk": (lambda data: utck_series.read(data, seconds=True), lambda v: utck_series.write(v, seconds=True)),
    "leap-dat": (leap_second_dat.read, leap_second_dat.write),
}


@pytest.mark.parametrize(("kind", "data"), [("clocks", CLOCKS), ("steps", STEPS), ("two-way", day(of_a=True))])
def test_what_a_laboratory_sends_is_written_in_the_same_bytes(kind: str, data: bytes) -> None:
    assert again(data, *BYTES[kind]) == data


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        ("two-way", "twstft/tw*"),
        ("api", "bipm/api-*"),
        ("clk", "bipm/utc-*.clk"),
        ("leap-dat", "leap/*.dat"),
    ],
)
def test_files_of_others_are_written_in_the_same_bytes(kind: str, pattern: str) -> None:
    paths = of_shared(pattern)
    assert paths
    for path in paths:
        assert again(path.read_bytes(), *BYTES[kind]) == path.read_bytes(), path.name


def values_of(table: UtcTable) -> UtcTable:
    return UtcTable(table.mjds, tuple(replace(row, line=0) for row in table.rows))


def numbers(data: bytes) -> list[str]:
    """Return the rows of laboratories and the lines of dates as they stand, blanks at their ends apart."""
    lines = [line.rstrip() for line in data.decode("latin-1").split("\n")]
    first = next(k for k, line in enumerate(lines) if line.startswith("Date "))
    return [line.removesuffix("(1)").rstrip() for line in lines[first:] if line]


@pytest.mark.shared_data
@pytest.mark.parametrize("pattern", ["bipm/cirt.206*", "bipm/cirt.283*"])
def test_circular_t_is_written_with_its_values_in_the_published_columns(pattern: str) -> None:
    (path,) = of_shared(pattern)
    value, _ = circular_t.read(path.read_bytes())
    assert value is not None
    written = circular_t.write(value)
    read_again, findings = circular_t.read(written)
    assert read_again is not None
    assert findings == []
    assert values_of(read_again.table) == values_of(value.table)
    for what in ("issue", "published_mjd", "tai_minus_utc_s"):
        assert getattr(read_again, what) == getattr(value, what)
    if "283" not in pattern:  # the copy of 283 has lost its blanks
        assert numbers(written) == numbers(path.read_bytes())


def test_tables_of_utc_are_written_with_every_dash_note_and_uncertainty() -> None:
    issue, _ = circular_t.read((HEAD + TABLE + AFTER).encode())
    week, _ = utcr.read(UTCR.encode())
    assert issue is not None
    assert week is not None
    again_issue, _ = circular_t.read(circular_t.write(issue))
    again_week, _ = utcr.read(utcr.write(week))
    assert again_issue is not None
    assert again_week is not None
    # NC in the values of a row that has no u: the dashes of its writer mean the same, the word is not said again
    known = [row for row in issue.table.rows if row.calibrated]
    assert [values_of(again_issue.table).of(row.code) for row in known] == [replace(row, line=0) for row in known]
    assert values_of(again_week.table) == values_of(week.table)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["leap-seconds.nist-2015.list", "leap-seconds.tzdata-2025b.list"])
def test_of_a_leap_list_all_that_its_hash_covers_is_written_in_the_same_digits(name: str) -> None:
    data = (DATA / "leap" / name).read_bytes()
    table, findings = leap_seconds_list.read(data, source=name)
    assert table is not None
    assert findings == []
    written = leap_seconds_list.write(table)
    assert digits(written) == digits(data)
    assert leap_seconds_list.read(written, source=name) == (table, [])


def digits(data: bytes) -> list[list[str]]:
    """Return the marked lines and rows without comments and spacing; words of the hash with all their digits."""
    found = []
    for line in data.decode().split("\n"):
        if line[:2] in ("#$", "#@"):
            found.append([line[:2], line[2:].strip()])
        elif line.startswith("#h"):
            found.append(["#h", *(word.rjust(8, "0") for word in line[2:].split())])
        elif line.strip() and not line.startswith("#"):
            found.append(line.partition("#")[0].split())
    return sorted(found)


@pytest.mark.shared_data
def test_of_finals2000a_the_columns_that_are_read_are_written_in_the_same_bytes() -> None:
    # columns 1-6 follow from the MJD: this file bears other dates than its days
    (path,) = of_shared("leap/finals2000A*")
    data = path.read_bytes()
    written = again(data, finals2000a.read, finals2000a.write).decode().split("\n")
    lines = data.decode().split("\n")
    assert len(written) == len(lines)
    for one, other in zip(written, lines, strict=True):
        assert (one[7:15], one[57:78].rstrip()) == (other[7:15], other[57:78].rstrip())
        assert not one[15:57].strip()


@pytest.mark.parametrize(
    "value",
    [bulletin_c.read(POSITIVE.encode())[0], bulletin_c.read(NEGATIVE.encode())[0], BulletinC(72, 0, 61_406, 37)],
)
def test_a_bulletin_is_written_as_it_was_announced(value: BulletinC) -> None:
    assert bulletin_c.read(bulletin_c.write(value)) == (value, [])


def test_a_series_in_ns_keeps_its_values_remarks_and_uncertainty() -> None:
    data = b"# of a laboratory\n60000      -1.5     -     -   2.1\n# between\n60005       3.0\n"
    assert (
        again(data, lambda d: utck_series.read(d, seconds=False), lambda v: utck_series.write(v, seconds=False)) == data
    )
