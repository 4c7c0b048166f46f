"""The readings CSV: each law of a row broken once, growing files in pieces of any size, exact round trips."""

import math
import time
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.formats import readings_csv
from truechimer.formats.finding import Finding, Severity
from truechimer.formats.readings_csv import (
    MAX_LINE_BYTES,
    ReadingRow,
    ReadingsCsvReader,
    ReadingsMisuse,
    mjd_text_of_ns,
    read,
    write,
)

HEADER = "epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s\n"
MJD_HEADER = "epoch_mjd,clock_a,clock_b,x_a_minus_b_s,u_s\n"
NS_PER_DAY = 86_400 * 10**9
NAMES = st.text("ABCdef019_.-", min_size=1, max_size=6)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
EPOCHS = st.integers(-(2**63), 2**63 - 1)


@st.composite
def lawful_rows(draw: st.DrawFn) -> list[ReadingRow]:
    rows = []
    for epoch_ns in sorted(draw(st.sets(EPOCHS, max_size=6))):
        pairs: set[frozenset[str]] = set()
        for a, b in draw(st.lists(st.tuples(NAMES, NAMES), max_size=4)):
            if a != b and frozenset((a, b)) not in pairs:
                pairs.add(frozenset((a, b)))
                rows.append(ReadingRow(len(rows) + 2, epoch_ns, a, b, draw(FINITE), abs(draw(FINITE))))
    return rows


@given(lawful_rows(), st.sampled_from(["epoch_tai_ns", "epoch_mjd"]))
def test_rows_survive_the_way_to_bytes_and_back_in_both_forms(
    rows: list[ReadingRow], form: readings_csv.EpochForm
) -> None:
    assert read(write(rows, form=form)) == (rows, [])


@given(EPOCHS, st.integers(14, 20))
def test_fourteen_decimals_of_a_day_carry_every_nanosecond(epoch_ns: int, digits: int) -> None:
    rows, findings = read(f"{MJD_HEADER}{mjd_text_of_ns(epoch_ns, digits)},a,b,0,0\n".encode())
    assert findings == []
    assert rows[0].epoch_tai_ns == epoch_ns


@given(st.integers(0, 140_000), st.text("0123456789", max_size=30), st.sampled_from(["", "+", "-"]))
def test_an_mjd_is_read_as_the_exact_fraction_rounded_half_even(whole: int, decimals: str, sign: str) -> None:
    text = f"{sign}{whole}.{decimals}"
    rows, _ = read(f"{MJD_HEADER}{text},a,b,0,0\n{text},a,c,0,0\n".encode())
    exact = (Fraction(text.removesuffix(".")) - 40_587) * NS_PER_DAY
    if -(2**63) <= round(exact) <= 2**63 - 1:
        assert [row.epoch_tai_ns for row in rows] == [round(exact)] * 2
    else:
        assert rows == []


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=8))
def test_days_read_before_do_not_change_how_a_day_is_read(fractions: list[int]) -> None:
    lines = "".join(f"60000.{fraction:010d},a,b{index},0,0\n" for index, fraction in enumerate(sorted(fractions)))
    rows, findings = read((MJD_HEADER + lines).encode())
    assert findings == []
    exact = [round((60_000 - 40_587 + Fraction(f"0.{fraction:010d}")) * NS_PER_DAY) for fraction in sorted(fractions)]
    assert [row.epoch_tai_ns for row in rows] == exact


@pytest.mark.parametrize(
    ("decimals", "ns"), [("00000000000015625", 14), ("00000000000046875", 40), ("00000000000078125", 68)]
)
def test_a_tie_between_two_nanoseconds_goes_to_the_even_one(decimals: str, ns: int) -> None:
    assert Fraction(f"0.{decimals}") * NS_PER_DAY % 1 == Fraction(1, 2)
    lines = f"40587.{decimals},a,b,0,0\n40587.{decimals}0,a,c,0,0\n"
    assert [row.epoch_tai_ns for row in read((MJD_HEADER + lines).encode())[0]] == [ns, ns]


GOOD = "100,maser1,maser2,1e-9,1e-11\n"
BROKEN_ROWS = [
    ("columns", "100,maser1,maser2,1e-9"),
    ("columns", "100,maser1,maser2,1e-9,1e-11,1"),
    ("columns", "some words"),
    ("clock-name", "100,maser 1,maser2,1e-9,1e-11"),
    ("clock-name", "100,,maser2,1e-9,1e-11"),
    ("clock-name", "100,maser1,maser/2,1e-9,1e-11"),
    ("clock-name", "100,maser1,m\xe4ser,1e-9,1e-11"),
    ("unknown-clock", "100,maser1,maser3,1e-9,1e-11"),
    ("unknown-clock", "100,UTC,maser1,1e-9,1e-11"),
    ("same-clock", "100,maser1,maser1,1e-9,1e-11"),
    ("not-a-number", "100,maser1,maser2,nan,1e-11"),
    ("not-a-number", "100,maser1,maser2,inf,1e-11"),
    ("not-a-number", "100,maser1,maser2,-Infinity,1e-11"),
    ("not-a-number", "100,maser1,maser2,0x1p-30,1e-11"),
    ("not-a-number", "100,maser1,maser2,1_0e-9,1e-11"),
    ("not-a-number", "100,maser1,maser2,,1e-11"),
    ("not-a-number", "100,maser1,maser2,one,1e-11"),
    ("not-a-number", "100,maser1,maser2,1e-9 s,1e-11"),
    ("not-a-number", "100,maser1,maser2,1e-9,nan"),
    ("not-a-number", "100,maser1,maser2,1e-9,1_0e-11"),
    ("not-a-number", "100,maser1,maser2,1e-9,"),
    ("not-finite", "100,maser1,maser2,1e999,1e-11"),
    ("not-finite", "100,maser1,maser2,1e-9,1e999"),
    ("negative-uncertainty", "100,maser1,maser2,1e-9,-1e-11"),
    ("epoch-not-a-number", "1e2,maser1,maser2,1e-9,1e-11"),
    ("epoch-not-a-number", "100.0,maser1,maser2,1e-9,1e-11"),
    ("epoch-not-a-number", "1_00,maser1,maser2,1e-9,1e-11"),
    ("epoch-not-a-number", ",maser1,maser2,1e-9,1e-11"),
    ("epoch-out-of-range", f"{2**63},maser1,maser2,1e-9,1e-11"),
    ("out-of-order", "49,maser1,maser2,1e-9,1e-11"),
    ("duplicate", "50,maser1,maser2,2e-9,1e-11"),
    ("duplicate", "50,maser2,maser1,-2e-9,1e-11"),
    ("line-too-long", f"100,maser1,maser2,1e-9,1e-11{' ' * MAX_LINE_BYTES}"),
]


@pytest.mark.parametrize(("rule", "line"), BROKEN_ROWS)
def test_a_broken_row_is_refused_with_its_line_and_costs_its_neighbours_nothing(rule: str, line: str) -> None:
    data = (HEADER + "50,maser1,maser2,1e-9,1e-11\n" + line + "\n" + GOOD).encode("latin-1")
    reader = ReadingsCsvReader(known_clocks=frozenset({"maser1", "maser2"}))
    rows, findings = reader.feed(data)
    assert [(finding.rule, finding.line, finding.severity) for finding in findings] == [(rule, 3, Severity.ERROR)]
    assert findings[0].says.endswith("not used")
    assert [(row.line, row.epoch_tai_ns) for row in rows] == [(2, 50), (4, 100)]
    assert (reader.accepted, dict(reader.refused)) == (2, {rule: 1})


def test_an_epoch_of_many_digits_is_refused_without_a_long_division() -> None:
    rows, findings = read(f"{HEADER}{'1' * 3000},a,b,0,0\n".encode())
    assert (rows, [finding.rule for finding in findings]) == ([], ["epoch-not-a-number"])
    rows, findings = read(f"{MJD_HEADER}60000.{'1' * 3000},a,b,0,0\n".encode())
    assert (rows, [finding.rule for finding in findings]) == ([], ["epoch-not-a-number"])


def test_a_refused_row_does_not_move_the_order_nor_count_as_seen() -> None:
    data = HEADER + "200,a,b,nan,1\n100,a,b,1e-9,1e-11\n100,a,c,1e-9,-1\n100,a,c,1e-9,1e-11\n"
    rows, findings = read(data.encode())
    assert [(row.epoch_tai_ns, row.b) for row in rows] == [(100, "b"), (100, "c")]
    assert [finding.line for finding in findings] == [2, 4]


def test_an_epoch_in_the_future_is_refused_where_now_is_known_so_that_the_rest_stays_in_order() -> None:
    data = (HEADER + "100,a,b,0,0\n999,a,b,0,0\n101,a,b,0,0\n").encode()
    rows, findings = ReadingsCsvReader().feed(data, not_after_tai_ns=500)
    assert [row.epoch_tai_ns for row in rows] == [100, 101]
    assert [(finding.rule, finding.line) for finding in findings] == [("epoch-too-late", 3)]
    rows, findings = read(data)
    assert [row.epoch_tai_ns for row in rows] == [100, 999]
    assert [finding.rule for finding in findings] == ["out-of-order"]


def test_comments_blanks_windows_line_ends_and_a_byte_order_mark_are_passed_over() -> None:
    text = "# made by hand: \xe4\r\n\r\n" + HEADER.replace(",", " , ").replace("\n", "\r\n")
    text += "# c\r\n  100 , maser1,\tmaser2 , +1.5E-9 , .5e-11 \r\n   \r\n#100,a,b,0,0\r\n101,maser1,maser2,-0.0,0."
    rows, findings = read(b"\xef\xbb\xbf" + text.encode())
    assert findings == []
    assert rows == [
        ReadingRow(5, 100, "maser1", "maser2", 1.5e-9, 0.5e-11),
        ReadingRow(8, 101, "maser1", "maser2", 0.0, 0.0),
    ]
    assert math.copysign(1, rows[1].x_a_minus_b_s) == -1


@pytest.mark.parametrize(
    "first", ["100,a,b,0,0", "epoch,clock_a,clock_b,x_a_minus_b_s,u_s", MJD_HEADER.strip() + ",more", "a", "\x00"]
)
def test_without_a_header_nothing_is_read_and_one_finding_says_so(first: str) -> None:
    reader = ReadingsCsvReader()
    rows, findings = reader.feed(f"# c\n{first}\n{GOOD}{GOOD}".encode())
    assert rows == []
    assert [(finding.rule, finding.line) for finding in findings] == [("header", 2)]
    assert reader.feed(GOOD.encode()) == ([], [])
    assert reader.finish() == ([], [])


def test_an_empty_file_waits_for_its_header() -> None:
    reader = ReadingsCsvReader()
    assert reader.feed(b"") == reader.feed(b"# c\n") == ([], [])
    assert reader.form is None
    reader.feed(MJD_HEADER.encode())
    assert reader.form == "epoch_mjd"
    assert read(b"") == ([], [])


def test_the_header_once_more_is_a_warning_the_other_header_an_error() -> None:
    _, findings = read((HEADER + GOOD + HEADER).encode())
    assert [(finding.rule, finding.severity) for finding in findings] == [("header-again", Severity.WARNING)]
    _, findings = read((HEADER + GOOD + MJD_HEADER).encode())
    assert [finding.severity for finding in findings] == [Severity.ERROR]


def test_an_unfinished_line_waits_for_its_newline() -> None:
    reader = ReadingsCsvReader()
    assert reader.feed((HEADER + "100,a,b,1e-").encode()) == ([], [])
    rows, _ = reader.feed(b"9,1e-11\n101,a")
    assert [row.x_a_minus_b_s for row in rows] == [1e-9]
    assert reader.finish()[1][0].rule == "columns"
    assert reader.finish() == ([], [])


def test_a_line_that_never_ends_is_let_go_and_keeps_its_number() -> None:
    reader = ReadingsCsvReader()
    reader.feed(HEADER.encode())
    found: list[Finding] = []
    for _ in range(10):
        found += reader.feed(b"1" * 1000)[1]
    assert [(finding.rule, finding.line) for finding in found] == [("line-too-long", 2)]
    rows, findings = reader.feed(b"111\n" + GOOD.encode())
    assert findings == []
    assert [row.line for row in rows] == [3]


PIECES = ["100", "101", "99", ",", "a", "b", "c", "1e-9", "nan", "-1", "0", "\n", "\r\n", "#", " ", "_", "\xe9", "\x00"]
LINES = st.lists(
    st.sampled_from(
        [GOOD, "100,a,b,0,0\n", "100,b,a,0,0\n", "101,a,c,1e-9,1\n", "99,a,b,0,0\n", "#c\n", HEADER, "\n", "x\n"]
    )
    | st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    max_size=14,
).map("".join)


@given(LINES, st.lists(st.integers(0, 300), max_size=6), st.booleans())
def test_a_growing_file_gives_the_same_as_the_whole_whatever_the_pieces(
    body: str, cuts: list[int], is_long: bool
) -> None:
    data = (HEADER + body).encode("latin-1")
    if is_long:
        data += b"#" + b"x" * MAX_LINE_BYTES + b"\n" + GOOD.replace("100", "200").encode()
    reader = ReadingsCsvReader()
    rows: list[ReadingRow] = []
    findings: list[Finding] = []
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, stop in pairwise(edges):
        more_rows, more_findings = reader.feed(data[start:stop])
        rows, findings = rows + more_rows, findings + more_findings
    last_rows, last_findings = reader.finish()
    assert (rows + last_rows, findings + last_findings) == read(data)
    assert reader.accepted == len(rows + last_rows)
    errors = [finding for finding in findings + last_findings if finding.severity is Severity.ERROR]
    assert reader.refused.total() == len(errors)


@given(LINES)
def test_the_quick_path_and_the_judge_agree_on_every_line(body: str) -> None:
    """A byte outside plain ASCII sends a whole piece to the judge, row by row: the answers must not differ."""
    quick = read((HEADER + "#~\n" + body).encode("latin-1"))
    judged = read((HEADER + "#\x7f\n" + body).encode("latin-1"))
    assert quick == judged


@given(st.binary(max_size=200))
def test_any_bytes_give_rows_and_findings_never_an_exception(data: bytes) -> None:
    read(data)
    rows, _ = read(HEADER.encode() + data)
    assert all(math.isfinite(row.x_a_minus_b_s) and row.u_s >= 0 and row.a != row.b for row in rows)


@given(LINES)
def test_no_line_is_dropped_without_a_finding(body: str) -> None:
    data = (HEADER + body).encode("latin-1")
    rows, findings = read(data)
    told = {row.line for row in rows} | {finding.line for finding in findings}
    for number, line in enumerate(data.split(b"\n"), start=1):
        text = line.strip(b" \t\r")
        assert (number in told) == (number > 1 and text != b"" and not text.startswith(b"#"))


ROW = ReadingRow(0, 100, "a", "b", 1e-9, 1e-11)
UNWRITABLE = [
    ("not-a-number", [ROW._replace(x_a_minus_b_s=math.nan)]),
    ("not-a-number", [ROW._replace(u_s=math.inf)]),
    ("negative-uncertainty", [ROW._replace(u_s=-1.0)]),
    ("clock-name", [ROW._replace(a="a b")]),
    ("clock-name", [ROW._replace(a="")]),
    ("columns", [ROW._replace(a="a,b")]),
    ("same-clock", [ROW._replace(b="a")]),
    ("duplicate", [ROW, ROW._replace(a="b", b="a")]),
    ("out-of-order", [ROW, ROW._replace(epoch_tai_ns=99)]),
    ("epoch-out-of-range", [ROW._replace(epoch_tai_ns=2**63)]),
    ("not-itself", [ROW._replace(a="c,d,0,0\n101,a")]),
]


@pytest.mark.parametrize(("rule", "rows"), UNWRITABLE)
def test_a_row_that_the_reader_would_refuse_is_not_written(rule: str, rows: list[ReadingRow]) -> None:
    with pytest.raises(ReadingsMisuse) as refused:
        write(rows)
    assert refused.value.rule == rule
    assert refused.value.index == len(rows) - 1


def test_a_form_that_does_not_exist_is_misuse() -> None:
    with pytest.raises(ReadingsMisuse):
        write([], form="epoch_jd")  # type: ignore[arg-type]


def test_good_rows_take_the_quick_path() -> None:
    """The quick path must be the one that is taken: here it gains a factor of about 4 on the judge alone."""
    rows = [
        ReadingRow(0, 10**18 + 10**9 * (index // 4), f"clock{index % 4}", "pivot", 1e-9, 1e-11)
        for index in range(8_000)
    ]
    data = write(rows)
    slow_data = data.replace(b"\n", b"\n#\x7f\n", 1)

    def seconds(what: bytes) -> float:
        start = time.perf_counter()
        assert len(read(what)[0]) == len(rows)
        return time.perf_counter() - start

    ratios = sorted(seconds(slow_data) / seconds(data) for _ in range(5))
    assert ratios[2] > 1.5, ratios
