"""chronyd's logs: real ones, then one broken field in one line while its neighbours live on, then anything."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.formats import chrony_logs
from truechimer.formats.chrony_logs import LONGEST_LINE, LogReader, MeasurementRow, RefclockRow, TrackingRow

VECTORS = Path(__file__).parents[1] / "vectors" / "chrony_reports"
MAKERS: dict[str, Callable[[], LogReader[Any]]] = {
    "measurements": chrony_logs.measurements,
    "tracking": chrony_logs.tracking,
    "refclocks": chrony_logs.refclocks,
}
GOOD = {
    "measurements": b"2026-11-22 07:41:06 127.0.0.4       N  1 111 111 1111   0  0 0.00  5.000e-02  1.662e-04"
    b"  4.906e-08  2.000e-03  3.000e-04 7F7F0101 4B K K",
    "tracking": b"2026-11-22 07:41:06 127.0.0.2        2      0.039      0.143  1.100e-07 N  2  3.459e-07"
    b" -2.255e-06  5.828e-06  1.495e-06  7.169e-06",
    "refclocks": b"2026-11-22 07:41:04.226457 TRUE    - N -       -        2.000229e-02  2.000e-08",
}


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.log").read_bytes()


@pytest.mark.parametrize("name", MAKERS)
def test_a_real_log_has_a_row_for_each_line_but_its_banner(name: str) -> None:
    data = vector(name)
    rows, findings = MAKERS[name]().feed(data)
    assert findings == []
    assert len(rows) == len([line for line in data.splitlines() if line[:1].isdigit()]) > 5


@pytest.mark.parametrize("name", MAKERS)
@given(cuts=st.lists(st.integers(0, 5000), max_size=6))
def test_a_log_reads_alike_in_any_pieces(name: str, cuts: list[int]) -> None:
    data = vector(name)
    whole = MAKERS[name]().feed(data)
    reader = MAKERS[name]()
    ends = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    parts = [reader.feed(data[start:end]) for start, end in pairwise(ends)]
    assert [row for rows, _ in parts for row in rows] == whole[0]


def test_the_figures_stand_in_their_columns_and_have_their_signs() -> None:
    ((row,), _) = chrony_logs.measurements().feed(GOOD["measurements"] + b"\n")
    assert row == MeasurementRow(1_795_333_266, "127.0.0.4", 1, True, 0.05, 1.662e-4, 4.906e-8, 2e-3, 3e-4)
    assert row.root_distance_s == pytest.approx(1.662e-4 / 2 + 1e-3 + 4.906e-8 + 3e-4)
    ((update,), _) = chrony_logs.tracking().feed(GOOD["tracking"] + b"\n")
    assert update == TrackingRow(1_795_333_266, "127.0.0.2", 2, 1.1e-7, -2.255e-6)
    assert update.x_cooked_minus_wall_after_s == pytest.approx(-2.365e-6)
    ((sample,), _) = chrony_logs.refclocks().feed(GOOD["refclocks"] + b"\n")
    assert sample == RefclockRow(1_795_333_264, 0.226457, "TRUE", True, True, 2.000229e-2, 2e-8)


def test_the_server_that_was_50_ms_ahead_stands_ahead_in_the_real_log() -> None:
    rows, _ = chrony_logs.measurements().feed(vector("measurements"))
    ahead = [row.x_source_minus_cooked_s for row in rows if row.address == "127.0.0.4"]
    assert len(ahead) > 3
    assert all(x_s == pytest.approx(0.05, abs=1e-3) for x_s in ahead)
    samples, _ = chrony_logs.refclocks().feed(vector("refclocks"))
    assert all(sample.x_source_minus_cooked_s == pytest.approx(0.02, abs=1e-4) for sample in samples)
    assert {sample.is_filtered for sample in samples} == {True, False}


def test_consecutive_updates_of_a_real_log_follow_from_each_other() -> None:
    rows, _ = chrony_logs.tracking().feed(vector("tracking"))
    settled = rows[4:]
    for before, after in pairwise(settled):
        # -x: nothing is corrected in between but the frequency, a fraction of a ppm here
        drift_s = abs(after.x_cooked_minus_wall_s - before.x_cooked_minus_wall_after_s)
        assert drift_s < 2e-6 * max(1, after.second - before.second)


@pytest.mark.parametrize(
    ("name", "old", "new", "rule"),
    [
        ("measurements", b"2026-11-22", b"2026-02-30", "date"),
        ("measurements", b"2026-11-22", b"22.11.2026", "date"),
        ("measurements", b"07:41:06", b"07:41:60", "date"),
        ("measurements", b"07:41:06", b"24:00:00", "date"),
        ("measurements", b"127.0.0.4", b"127.0.0.444", "address"),
        ("measurements", b"127.0.0.4", b"ntp1", "address"),
        ("measurements", b"111 111", b"111 121", "tests"),
        ("measurements", b"N  1 ", b"N 17 ", "number"),
        ("measurements", b"5.000e-02", b"nan", "number"),
        ("measurements", b"5.000e-02", b"inf", "number"),
        ("measurements", b"5.000e-02", b"5.000e+99", "number"),
        ("measurements", b"5.000e-02", b"0x5", "number"),
        ("measurements", b"5.000e-02", b"1_0", "number"),
        ("measurements", b"3.000e-04", b"-3.000e-04", "number"),
        ("measurements", b" 7F7F0101 4B K K", b"", "columns"),
        ("tracking", b"-2.255e-06", b"-", "number"),
        ("tracking", b"  5.828e-06  1.495e-06  7.169e-06", b"", None),
        ("tracking", b" -2.255e-06  5.828e-06  1.495e-06  7.169e-06", b"", "columns"),
        ("tracking", b"127.0.0.2", b"\xff\xfe", "reference"),
        ("refclocks", b" N ", b" X ", "leap"),
        ("refclocks", b"TRUE", b"\x01\x02", "reference"),
        ("refclocks", b"- N -       -", b"- N 0       -", "columns"),
        ("refclocks", b"  2.000e-08", b"", "columns"),
        ("refclocks", b"2.000e-08", b"-2.000e-08", "number"),
    ],
)
def test_one_broken_field_costs_one_line_and_says_which(name: str, old: bytes, new: bytes, rule: str | None) -> None:
    good = GOOD[name]
    assert good.count(old) >= 1
    data = b"\n".join([good, good.replace(old, new, 1), good, b""])
    rows, findings = MAKERS[name]().feed(data)
    if rule is None:
        assert len(rows) == 3
        return
    assert [(finding.rule, finding.line) for finding in findings] == [(rule, 2)]
    assert len(rows) == 2


def test_a_sample_that_chronyd_refused_is_told_apart() -> None:
    bad = GOOD["measurements"].replace(b"111 111 1111", b"111 111 1101")
    unsynchronised = GOOD["measurements"].replace(b" N  1", b" ?  1")
    rows, _ = chrony_logs.measurements().feed(b"\n".join([bad, unsynchronised, GOOD["measurements"], b""]))
    assert [row.is_good for row in rows] == [False, False, True]


def test_an_endless_line_costs_no_memory_and_no_neighbour() -> None:
    reader = chrony_logs.measurements()
    for _ in range(100):
        assert reader.feed(b"x" * 1000) == ([], [])
    rows, findings = reader.feed(b"\n" + GOOD["measurements"] + b"\n")
    assert len(rows) == 1
    assert [finding.rule for finding in findings] == ["line-too-long"]
    _, findings = reader.feed(b"y" * (LONGEST_LINE + 1) + b"\n")
    assert [finding.rule for finding in findings] == ["line-too-long"]


def test_banners_in_the_middle_are_no_rows() -> None:
    banner = b"=" * 80 + b"\n   Date (UTC) Time     IP Address   L St\n" + b"=" * 80 + b"\n\n"
    rows, findings = chrony_logs.measurements().feed(banner + GOOD["measurements"] + b"\n" + banner)
    assert (len(rows), findings) == (1, [])


@given(st.sampled_from(sorted(MAKERS)), st.binary(max_size=400))
def test_anything_is_rows_and_findings(name: str, data: bytes) -> None:
    rows, findings = MAKERS[name]().feed(data + b"\n" + GOOD[name] + b"\n")
    assert rows or findings


@given(st.sampled_from(sorted(MAKERS)), st.data())
def test_a_damaged_line_never_costs_the_next_one(name: str, data: st.DataObject) -> None:
    line = bytearray(GOOD[name])
    for _ in range(data.draw(st.integers(1, 5))):
        line[data.draw(st.integers(0, len(line) - 1))] = data.draw(
            st.integers(0, 255).filter(lambda octet: octet != 10)
        )
    rows, _ = MAKERS[name]().feed(bytes(line) + b"\n" + GOOD[name] + b"\n")
    ((good,), _) = MAKERS[name]().feed(GOOD[name] + b"\n")
    assert rows[-1] == good
