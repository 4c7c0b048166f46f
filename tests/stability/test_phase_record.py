"""The reader of records: what people have, one thing broken at a time, and arbitrary bytes."""

import contextlib
import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.formats import phase_record
from truechimer.formats.phase_record import RecordRejected


def read(text: str, **options):
    return phase_record.read(text.encode(), **options)


def test_one_column_with_comments_of_every_kind() -> None:
    record, findings = read("# Stable32\n% b\n\n1.0\n 2.5e-9 \n3D-9\nnan\n")
    assert record.values[:3].tolist() == [1.0, 2.5e-9, 3e-9]
    assert np.isnan(record.values[3])
    assert record.lines.tolist() == [4, 5, 6, 7]
    assert (record.tau0_s, record.took_for, findings) == (None, "one column of values", ())


def test_gzip_is_unpacked_and_a_damaged_one_is_said() -> None:
    packed = gzip.compress(b"1\n2\n3\n")
    assert phase_record.read(packed)[0].values.tolist() == [1.0, 2.0, 3.0]
    for broken in (packed[:-4], packed[:12] + b"\xff\xff\xff" + packed[15:]):
        with pytest.raises(RecordRejected, match="gzip"):
            phase_record.read(broken)


def test_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phase_record, "MOST_BYTES", 1000)
    with pytest.raises(RecordRejected, match="unpacks to more"):
        phase_record.read(gzip.compress(b"1\n" * 10_000))


@pytest.mark.parametrize("separator", [" ", "\t", ", ", ";"])
def test_two_columns_of_seconds(separator: str) -> None:
    record, _ = read("\n".join(f"{1000 + 10 * k}{separator}{k * 1e-9}" for k in range(20)))
    assert record.tau0_s == 10.0
    assert record.values[19] == 19 * 1e-9


def test_two_columns_of_modified_julian_dates() -> None:
    record, _ = read("\n".join(f"{60_000 + k * 600 / 86_400:.8f} {k}e-9" for k in range(50)))
    assert record.tau0_s == 600.0
    assert record.first_time == "MJD 60000.000000"
    record, _ = read("\n".join(f"{60_000 + k} {k}e-9" for k in range(50)))
    assert record.tau0_s == 86_400.0
    record, _ = read("\n".join(f"{60_000 + k} {k}e-9" for k in range(50)), time_unit="s")
    assert record.tau0_s == 1.0


def test_dates_and_times_are_times() -> None:
    record, _ = read("\n".join(f"2026-11-22T06:{k:02}:00Z, {k}" for k in range(30)))
    assert record.tau0_s == 60.0


def test_a_csv_is_read_by_its_header() -> None:
    text = (
        "epoch_mjd,temperature,x_maser1_minus_ref_ns\n60000.0,21.5,1.5\n60000.5,21.6,2.5\n60001.0,21.4,\n60001.5,21,4\n"
    )
    record, _ = read(text)
    assert record.values[:2].tolist() == [1.5e-9, 2.5e-9]
    assert np.isnan(record.values[2])
    assert record.tau0_s == 43_200.0
    assert record.took_for == "CSV with a header, column x_maser1_minus_ref_ns"
    assert read(text, column="temperature")[0].values[0] == 21.5
    assert read(text, column="2")[0].values[0] == 21.5
    assert read("t;y_rb\n0;1e-9\n1;2e-9\n")[0].data == "frequency"


READINGS = "epoch_mjd,clock_a,clock_b,x_a_minus_b_s,u_s\n" + "".join(
    f"{60000 + k / 24:.10f},{a},B,{k}e-9,1e-12\n" for k in range(10) for a in ("A", "C")
)


def test_of_readings_one_pair_is_chosen() -> None:
    record, _ = read(READINGS, pair=("C", "B"))
    assert (record.values.size, record.tau0_s) == (10, 3600.0)
    with pytest.raises(RecordRejected, match="A,B, C,B"):
        read(READINGS)
    with pytest.raises(RecordRejected, match="no readings of X,Y"):
        read(READINGS, pair=("X", "Y"))


def test_intervals_and_timestamps_of_a_ticc() -> None:
    banner = "# TAPR TICC\n# Syntax: ...\n"
    record, _ = read(banner + "".join(f"{1e-9 * k:.12f} TI(A->B)\n" for k in range(5)))
    assert record.values[3] == pytest.approx(3e-9, abs=1e-15)
    stamps = banner + "".join(f"{86_400 + k}.00000000{k:04d} chA\n" for k in range(5))
    record, _ = read(stamps)
    assert record.values.tolist() == [k * 1e-12 for k in range(5)]
    assert record.tau0_s == 1.0
    with pytest.raises(RecordRejected, match="choose one with --channel"):
        read(stamps + "86405.000000000000 chB\n")
    with pytest.raises(RecordRejected, match="pulse is missing") as refused:
        read(stamps.replace("86402.000000000002 chA\n", ""))
    assert refused.value.line == 5


def test_timelabs_text_says_its_interval_and_scale() -> None:
    record, _ = read("TIM 1\nTitle: two clocks\nSample Interval: 0.5\nScale: 1e-9\n1.0\n2.0\n3.0\n")
    assert record.tau0_s == 0.5
    assert record.values == pytest.approx([1e-9, 2e-9, 3e-9], rel=1e-15)
    with pytest.raises(RecordRejected, match="no number") as refused:
        read("TIM 1\n1.0\n2.0\noops\n")
    assert refused.value.line == 4


RULE = "=" * 100
TRACKING_HEAD = (
    "   Date (UTC) Time     IP Address   St   Freq ppm   Skew ppm     Offset L Co  Offset sd Rem. corr. Root delay "
    "Root disp. Max. error"
)
TRACKING = f"{RULE}\n{TRACKING_HEAD}\n{RULE}\n" + "".join(
    f"2026-11-22 06:{k:02}:00 192.0.2.1        2     -3.455      0.015 {k}.5e-06 N  1  1e-06 1e-07 1e-03 1e-04 2e-04\n"
    for k in range(12)
)
STATISTICS_HEAD = "   Date (UTC) Time     IP Address    Std dev'n Est offset  Offset sd  Diff freq   Est skew  Stress"
STATISTICS = f"{RULE}\n{STATISTICS_HEAD}\n{RULE}\n" + "".join(
    f"2026-11-22 06:{k:02}:00 192.0.2.{1 + k % 2}  9.5e-06 {k}.0e-06  5.6e-06 1.0e-08  2.0e-08 1.9e-02  18   0   8  0\n"
    for k in range(12)
)


def test_chronys_logs() -> None:
    record, _ = read(TRACKING)
    assert (record.tau0_s, record.values[3]) == (60.0, 3.5e-6)
    record, _ = read(STATISTICS, channel="192.0.2.2")
    assert (record.tau0_s, record.values.tolist()[:2]) == (120.0, [1e-6, 3e-6])
    with pytest.raises(RecordRejected, match="2 sources"):
        read(STATISTICS)


def test_missing_rows_are_refused_or_become_missing_values() -> None:
    text = "".join(f"{10 * k} {k}\n" for k in range(20) if k not in {7, 8})
    with pytest.raises(RecordRejected, match="--gaps") as refused:
        read(text)
    assert refused.value.line == 8
    record, findings = read(text, gaps=True)
    assert (record.values.size, record.tau0_s) == (20, 10.0)
    assert np.flatnonzero(np.isnan(record.values)).tolist() == [7, 8]
    assert "2 of 20 places are missing" in findings[0].says


def test_rows_out_of_step_go_to_the_nearest_place_and_it_is_said() -> None:
    text = "".join(f"{10 * k + (4 if k == 5 else 0)} {k}\n" for k in range(20))
    with pytest.raises(RecordRejected):
        read(text)
    record, findings = read(text, gaps=True)
    assert record.values.tolist() == list(range(20))
    assert "moved by up to 4 s" in findings[0].says


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("", "empty", None),
        ("# only\n", "comments alone", None),
        ("1.0\n", "at least 2", None),
        ("1.0\nabc\n", "no number", 2),
        ("0 1\n1 2\n2\n", "columns", 3),
        ("0 1\n2 2\n1 3\n", "not after that of line 2", 3),
        ("0 1\n1 2\n1 3\n", "not after", 3),
        ("x,y,z\n1,2\n", "columns", 2),
        ("a,b\n1,2\n", "--column", None),
        ("t,x\nnoon,2\n1,2\n", "date and time", 2),
        ("\0\0\0", "not text", None),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str, words: str, line: int | None) -> None:
    with pytest.raises(RecordRejected, match=words) as refused:
        read(text)
    assert refused.value.line == line


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_read_or_refused(data: bytes) -> None:
    for gaps in (False, True):
        with contextlib.suppress(RecordRejected):
            phase_record.read(data, gaps=gaps)


@given(st.text(alphabet="0123456789.-+eE ,;\tnaif#\nxtTIM:chA()>", max_size=200))
def test_arbitrary_columns_are_read_or_refused(text: str) -> None:
    for gaps in (False, True):
        try:
            record, _ = read(text, gaps=gaps)
        except RecordRejected:
            continue
        assert record.values.size == record.lines.size >= 2
