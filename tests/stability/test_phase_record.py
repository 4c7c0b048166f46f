"""The reader of records: what people have, one thing broken at a time, and arbitrary bytes."""

import bz2
import contextlib
import gzip
import lzma

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.formats import packed_text, phase_record
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
    monkeypatch.setattr(packed_text, "MOST_BYTES", 1000)
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


@pytest.mark.parametrize("apart", [" ", "\t", ", ", ";"])
def test_a_date_and_a_time_of_day_are_one_time(apart: str) -> None:
    record, _ = read("\n".join(f"2026-11-22 06:00:{k:02}.5{apart}{k}e-9" for k in range(30)))
    assert (record.tau0_s, record.values[3]) == (1.0, 3e-9)


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
    with pytest.raises(RecordRejected, match="2 s after line 4") as refused:
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


def test_a_missing_row_of_readings_is_a_missing_reading_and_one_out_of_step_is_not() -> None:
    head = "epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s\n"
    rows = [f"{10**9 * (10 * k)},a,b,{k}e-9,1e-12\n" for k in range(20) if k not in {7, 8}]
    record, findings = read(head + "".join(rows))
    assert np.flatnonzero(np.isnan(record.values)).tolist() == [7, 8]
    assert "2 of 20 places are missing" in findings[0].says
    rows[4] = rows[4].replace("40000000000", "44000000000")
    with pytest.raises(RecordRejected, match="nearest place") as refused:
        read(head + "".join(rows))
    assert refused.value.line == 6
    record, _ = read(head + "".join(rows), gaps=True)
    assert record.values.size == 20


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
        ("0 1\n1 2\n1 3\n", "its time is that", 3),
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


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CGGTTS     GENERIC DATA FORMAT VERSION = 2E\nREV DATE = 2020-01-01\n", "CGGTTS"),
        ("* TWLAA61.300\n* FORMAT    01\n", "two-way"),
        ("     3.04           CLOCK DATA                              RINEX VERSION / TYPE\n", "RINEX"),
        ("<!DOCTYPE html><html>\n", "browser"),
        ('{"file": "a"}\n', "JSON"),
    ],
)
def test_a_file_that_is_something_else_is_called_by_its_name(text: str, name: str) -> None:
    with pytest.raises(RecordRejected, match=name):
        read(text)


# ---- how people write numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("packer", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_files_are_unpacked_whatever_packed_them(packer) -> None:
    assert phase_record.read(packer(b"1\n2\n3\n"))[0].values.tolist() == [1.0, 2.0, 3.0]
    assert phase_record.read(packer(b"1\n2\n") + packer(b"3\n"))[0].values.tolist() == [1.0, 2.0, 3.0]
    whole = packer(b"".join(b"%d\n" % (7919 * k % 1009) for k in range(5000)))
    for broken in (whole[:-5], whole[: len(whole) // 2], whole[:40] + b"\xff\x00\xff" + whole[43:]):
        with pytest.raises(RecordRejected, match=r"end too early|damaged"):
            phase_record.read(broken)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (gzip.compress(bytes(1 << 21)), "not text"),
        (gzip.compress(b"7" * (1 << 21)), "longer than"),
        (b"1\n2\n" + b"7" * (1 << 17), "longer than"),
        (b"1\n" * 3000 + b"\0\0", "not text"),
        (b"PK\x03\x04rest", "zip"),
        (b"\x28\xb5\x2f\xfdrest", "zstd"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not text"),
    ],
)
def test_what_is_no_text_is_refused_before_it_is_taken_apart(data: bytes, words: str) -> None:
    with pytest.raises(RecordRejected, match=words):
        phase_record.read(data)


def test_the_line_that_is_too_long_is_named() -> None:
    with pytest.raises(RecordRejected) as refused:
        phase_record.read(b"1\n2\n3\n" + b"7" * (1 << 17) + b"\n8\n")
    assert refused.value.line == 4


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_endings_and_encodings_do_not_matter(encoding: str, ending: str) -> None:
    text = ending.join(["# Gerät" if encoding == "latin-1" else "# a", "1e-9", "", "2e-9", "3e-9", ""])
    record, _ = phase_record.read(text.encode(encoding))
    assert record.values.tolist() == [1e-9, 2e-9, 3e-9]
    assert record.lines.tolist() == [2, 4, 5]


@pytest.mark.parametrize("word", ["", "-", "--", "NaN", "NA", "n/a", "null", "None", "*"])
def test_words_for_missing_are_missing_values(word: str) -> None:
    record, _ = read(f"t,x\n0,1e-9\n1,{word}\n2,3e-9\n")
    assert np.isnan(record.values).tolist() == [False, True, False]


@pytest.mark.parametrize(
    "text",
    [
        "0,0\t1,5e-9\n1,0\t2,5e-9\n",
        "0,0;1,5e-9\n1,0;2,5e-9\n",
        "0,0 1,5e-9\n1,0 2,5e-9\n",
        "zeit;x\n0;1,5e-9\n1;2,5e-9\n",
    ],
)
def test_decimal_commas_are_read_where_they_can_be_told_and_it_is_said(text: str) -> None:
    record, findings = read(text)
    assert record.values.tolist() == [1.5e-9, 2.5e-9]
    assert [finding.rule for finding in findings] == ["decimal-comma"]


def test_a_comma_that_may_separate_columns_or_decimals_is_asked_about() -> None:
    text = "1,25\n1,5\n1,75\n"
    with pytest.raises(RecordRejected, match="--decimal comma or --decimal point") as refused:
        read(text)
    assert refused.value.line == 1
    assert read(text, decimal="comma")[0].values.tolist() == [1.25, 1.5, 1.75]
    with pytest.raises(RecordRejected, match="its time is that"):
        read(text, decimal="point")
    assert read("0,5\n1,7\n2,6\n3,5\n")[0].values.tolist() == [5.0, 7.0, 6.0, 5.0]  # the first numbers count
    assert read("0,0001\n0,0002\n")[0].values.tolist() == [0.0001, 0.0002]
    assert read("1.0,5\n2.0,6\n")[0].values.tolist() == [5.0, 6.0]


def test_text_above_the_numbers_is_left_out_and_said() -> None:
    record, _ = read("File: maser.dat\nTau0: 10\nPoints: 3\n1e-9\n2e-9\n3e-9\n")
    assert record.values.tolist() == [1e-9, 2e-9, 3e-9]
    assert (record.tau0_s, record.lines.tolist()) == (10.0, [4, 5, 6])
    assert record.took_for == "one column of values, below 3 lines of text"
    record, _ = read("Counter 7\nStarted today\nmjd  x_ns\n60000 1\n60001 2\n60002 4\n")
    assert record.values.tolist() == [1e-9, 2e-9, 4e-9]
    assert record.took_for == "CSV with a header, column x_ns, below 2 lines of text"


@pytest.mark.parametrize(
    ("head", "doubts"), [("# Frequency Data\n", 1), ("Type: Frequency\n", 1), ("# Phase Data, freq. std: maser\n", 0)]
)
def test_words_that_speak_of_frequency_are_said_where_phases_are_taken(head: str, doubts: int) -> None:
    record, findings = read(f"{head}1e-9\n2e-9\n1e-9\n")
    assert record.data == "phase"
    assert [finding.rule for finding in findings] == ["kind"] * doubts


@pytest.mark.parametrize("words", ["# tau0 = 0.1", "% Sample interval: 100 ms", "# gate time 0.1 s", "; Tau 1e-1"])
def test_the_spacing_may_stand_in_a_comment(words: str) -> None:
    record, _ = read(f"{words}\n1\n2\n3\n")
    assert record.tau0_s == pytest.approx(0.1)
    assert "from the words" in record.tau0_from


# ---- times ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "tau0_s"),
    [
        ([1_700_000_000_000 + 250 * k for k in range(9)], 0.25),
        ([1_700_000_000_000_000_000 + 10**9 * k for k in range(9)], 1.0),
        ([1_700_000_000 + 30 * k for k in range(9)], 30.0),
    ],
)
def test_large_counts_are_times_in_parts_of_a_second(times: list[int], tau0_s: float) -> None:
    assert read("\n".join(f"{t} 1e-9" for t in times))[0].tau0_s == tau0_s


def test_times_printed_with_few_digits_give_the_spacing_of_the_whole() -> None:
    text = "".join(f"{60_000 + k / 86_400:.5f} {k}e-12\n" for k in range(2000))  # 0.86 s a digit
    record, _ = read(text)
    assert (record.tau0_s, record.values.size) == (1.0, 2000)
    holes = "".join(line + "\n" for k, line in enumerate(text.splitlines()) if not 900 < k < 950)
    with pytest.raises(RecordRejected, match="too coarse"):
        read(holes)
    assert read(holes, time_unit="none")[0].tau0_s is None


@pytest.mark.parametrize(("unit", "tau0_s"), [("ms", 0.01), ("min", 600.0), ("h", 36_000.0), ("d", 864_000.0)])
def test_a_unit_of_time_may_be_given_or_stand_in_the_header(unit: str, tau0_s: float) -> None:
    assert read("0 1\n10 2\n20 3\n", time_unit=unit)[0].tau0_s == pytest.approx(tau0_s)
    assert read(f"time [{unit}],x\n0,1\n10,2\n20,3\n")[0].tau0_s == pytest.approx(tau0_s)


def test_the_first_row_that_breaks_the_order_is_named_in_every_form() -> None:
    rows = [f"{10 * k},{k}.0e-9" for k in range(30)]
    rows[12], rows[13] = rows[13], rows[12]
    for head in ("", "# a\n", "t,x\n"):
        with pytest.raises(RecordRejected) as refused:
            read(head + "\n".join(rows))
        assert refused.value.line == (15 if head else 14)


# ---- clocks by name, scales, counters -------------------------------------------------------------------------------


def test_a_pair_of_clocks_may_be_asked_for_the_other_way_round() -> None:
    there, back = read(READINGS, pair=("C", "B"))[0], read(READINGS, pair=("B", "C"))[0]
    assert back.values.tolist() == [-value for value in there.values.tolist()]
    assert "the other way round" in back.took_for


def test_readings_by_nanoseconds_keep_their_spacing() -> None:
    text = "epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s\n" + "".join(
        f"{1_795_312_800_000_000_000 + 10**9 * k},A,B,{k}e-9,1e-12\n" for k in range(50)
    )
    assert read(text)[0].tau0_s == 1.0


def test_a_clock_of_a_scale_is_chosen_by_name() -> None:
    text = "epoch_mjd,clock,x_clock_minus_scale_s,weight,state,reason\n" + "".join(
        f"{60_000 + k / 24:.10f},{name},{k + place}e-9,0.5,member,\n"
        for k in range(9)
        for place, name in enumerate("PQ")
    )
    record, _ = read(text, channel="Q")
    assert (record.tau0_s, record.values[0]) == (3600.0, 1e-9)
    assert record.took_for == "CSV with a header, column x_clock_minus_scale_s of Q"
    with pytest.raises(RecordRejected, match="2 clocks; choose one with --channel: P, Q"):
        read(text)
    with pytest.raises(RecordRejected, match="no readings of Z"):
        read(text, channel="Z")


def test_missing_pulses_of_a_ticc_are_gaps_where_gaps_are_allowed() -> None:
    pulses = [k for k in range(20) if k not in {6, 7}]
    text = "".join(f"{100 + k}.00000000{k:04d} chA\n" for k in pulses)
    with pytest.raises(RecordRejected, match="3 s after line 6"):
        read(text)
    record, findings = read(text, gaps=True)
    assert record.values[[0, 19]].tolist() == [0.0, pytest.approx(19e-12, abs=1e-15)]
    assert np.flatnonzero(np.isnan(record.values)).tolist() == [6, 7]
    assert findings[0].rule == "gaps"
    with pytest.raises(RecordRejected, match="whole seconds apart"):
        read("".join(f"{k / 10:.12f} chA\n" for k in range(20)))


def test_a_ticc_may_show_the_last_digits_of_its_seconds_alone() -> None:
    text = "".join(f"{(96 + k) % 100:02d}.{k:011d} chA\n" for k in range(250))
    record, _ = read(text)
    assert record.values == pytest.approx(1e-11 * np.arange(250), abs=1e-15)
    assert record.tau0_s == 1.0
    assert "roll over" in record.took_for
    assert read(text.replace("00.00000000004 chA\n", "", 1), gaps=True)[0].values.size == 250


def test_periods_of_a_ticc_are_summed() -> None:
    record, _ = read("# period\n1.00000000002 chA\n0.99999999999 chA\n1.00000000001 chA\n")
    assert record.values == pytest.approx([0.0, 2e-11, 1e-11, 2e-11], abs=1e-15)
    assert (record.tau0_s, record.took_for) == (1.0, "TICC, chA (periods, summed)")
    assert read("10.0000000002 chB\n9.9999999999 chB\n10.0000000002 chB\n")[0].tau0_s == 10.0


def test_two_channels_of_a_ticc_are_compared_pulse_by_pulse() -> None:
    both = [(f"{100 + k}.00000000{k:04d} chA", f"{100 + k}.00000000{3 * k + 5:04d} chB") for k in range(20)]
    text = "\n".join(line for pulse in both for line in pulse)
    record, findings = read(text, pair=("chB", "chA"))
    assert record.values == pytest.approx([(2 * k + 5) * 1e-12 for k in range(20)], abs=1e-16)
    assert (record.tau0_s, findings) == (1.0, ())
    assert read(text, pair=("chA", "chB"))[0].values == pytest.approx(-record.values, abs=1e-16)
    record, findings = read(text.replace(both[7][0] + "\n", ""), pair=("chB", "chA"), gaps=True)
    assert np.flatnonzero(np.isnan(record.values)).tolist() == [7]
    assert [finding.rule for finding in findings] == ["alone", "gaps"]
    with pytest.raises(RecordRejected, match="no channel chX"):
        read(text, pair=("chB", "chX"))


def test_timelabs_block_is_read_to_its_announced_length() -> None:
    head = 'TIM file\n"Input Freq" 10000000\n"Sample Interval" 0.5\nTIC 4 2\n'
    body = "1e-9 5\n2e-9 6\n3e-9 7\n4e-9 8\n"
    record, findings = read(f"{head}{body}NOTE behind the block\n")
    assert (record.values.tolist(), record.tau0_s, findings) == ([1e-9, 2e-9, 3e-9, 4e-9], 0.5, ())
    assert record.took_for == "TimeLab .tim, block TIC of 4, column 1 of 2"
    assert read(head + body, column="2")[0].values.tolist() == [5.0, 6.0, 7.0, 8.0]
    record, findings = read(head + body[:14])
    assert (record.values.size, findings[0].rule) == (2, "cut-off")
    for broken, line in ((head + "1e-9 5\n2e-9\n3 4\n", 6), (head + "1 2\nx 3\n", 6), (head.replace("2\n", "99\n"), 4)):
        with pytest.raises(RecordRejected) as refused:
            read(broken)
        assert refused.value.line == line


def test_a_column_beside_the_times_needs_no_known_name() -> None:
    assert read("mjd,maser\n60000,1\n60001,2\n")[0].values.tolist() == [1.0, 2.0]
    assert read("time,freq_ppm\n0,1.5\n1,2.5\n")[0].values.tolist() == [1.5e-6, 2.5e-6]


def test_both_paths_of_a_table_say_the_same() -> None:
    rows = [f"{60_000 + k / 96:.8f},{k * 1e-9!r}" for k in range(300)]
    quick = read("mjd,x\n" + "\n".join(rows))[0]
    slow = read("mjd,x\n" + "\n".join(rows[:299]) + '\n"' + rows[299].replace(",", '",'))[0]
    assert quick.values.tolist() == slow.values.tolist()
    assert quick.tau0_s == slow.tau0_s


def test_hertz_become_fractions_and_zeros_gaps() -> None:
    record = phase_record.fractional(read("10000000.001\n10000000.002\n")[0], 1e7)
    assert record.values == pytest.approx([1e-10, 2e-10], rel=1e-5)
    assert record.data == "frequency"
    assert np.isnan(phase_record.without_zeros(read("0\n1\n")[0]).values).tolist() == [True, False]


@pytest.mark.parametrize(
    "name",
    ["gps_seconds", "GPS time (s)", "tow", "sow", "sec_of_day", "seconds of week", "unix_time", "obs_mjd", "secs"],
)
def test_a_column_of_times_is_known_by_many_names(name: str) -> None:
    first, step = (60_000.0, 30 / 86_400) if name == "obs_mjd" else (1_388_000_000.0, 30.0)
    record, _ = read(
        f"{name},clock_offset_s,satellites\n" + "".join(f"{first + step * k!r},{k}e-9,9\n" for k in range(20))
    )
    assert record.tau0_s == pytest.approx(30.0)
    assert record.took_for == "CSV with a header, column clock_offset_s"


def test_pulses_that_wander_about_half_a_second_keep_their_partners() -> None:
    wander = np.random.default_rng(3).integers(-900, 900, 200)
    text = "".join(f"{100 + k}.{500_000_000 + int(w):09d} chA\n{100 + k}.500000200 chB\n" for k, w in enumerate(wander))
    record, findings = read(text, pair=("chA", "chB"))
    assert record.values == pytest.approx(1e-9 * (wander - 200), abs=1e-15)
    assert findings == ()


def test_two_rows_of_one_time_are_not_to_be_sorted() -> None:
    with pytest.raises(RecordRejected, match="its time is that of line 2; leave one of them out") as refused:
        read("0 1\n1 1\n1 2\n2 1\n")
    assert refused.value.line == 3
