"""Circular T, rapid UTC and the BIPM's API: published excerpts, every layout known, broken lines, any bytes."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.cli import utc_record_files, utc_verb
from truechimer.formats import bipm_api, circular_t, published, utc_gnss, utcr
from truechimer.formats.bipm_api import ApiSeries
from truechimer.formats.circular_t import CircularT
from truechimer.formats.finding import Finding, Severity

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "bipm"
HEAD = """\
CIRCULAR T 206                                                                          ISSN 1143-1393
2005 MARCH 11, 13h UTC

1 - Coordinated Universal Time UTC and its local realizations UTC(k). Computed values of [UTC-UTC(k)].
    From 1999 January 1, 0h UTC, TAI-UTC = 32 s.

"""
TABLE = """\
Date 2005    0h UTC         JAN 29   FEB  3   FEB  8     Uncertainty/ns  Notes
       MJD                   53399    53404    53409
Laboratory k                                         [UTC-UTC(k)]/ns                 uA    uB    u
AAA  (Here)                  -17.9    -23.3    -17.7     1.6   5.4   5.6
BB   (San Some/Where)            -    125.8        -     2.8  20.4  20.6  (2)
CCCC (There)                    NC       NC       NC      -     -     -
DDD                            5.0      6.0      7.0
"""
AFTER = """
(2) A remark about 53399 and 1.5 ns.

2 - International Atomic Time TAI and local atomic time scales TA(k).
       MJD                   53399    53404    53409
AAA  (Here)                 9917.9   9923.3   9917.7
"""


def good(text: str) -> CircularT:
    value, findings = circular_t.read(text.encode())
    assert findings == []
    assert value is not None
    return value


def rules(findings: list[Finding]) -> Counter[str]:
    return Counter(finding.rule for finding in findings)


def test_section_one_is_read_and_section_two_is_not() -> None:
    value = good(HEAD + TABLE + AFTER)
    assert (value.issue, value.published_mjd, value.tai_minus_utc_s) == (206, 53_440, 32)
    assert value.table.mjds == (53_399, 53_404, 53_409)
    rows = {row.code: row for row in value.table.rows}
    assert rows["AAA"].utc_minus_utck_ns == (-17.9, -23.3, -17.7)
    assert (rows["AAA"].u_a_ns, rows["AAA"].u_b_ns, rows["AAA"].u_ns) == (1.6, 5.4, 5.6)
    assert rows["BB"].utc_minus_utck_ns == (None, 125.8, None)
    assert (rows["BB"].city, rows["BB"].notes) == ("San Some/Where", (2,))
    assert rows["CCCC"].utc_minus_utck_ns == (None, None, None)
    assert not rows["CCCC"].calibrated
    assert rows["DDD"].u_ns is None
    assert [line for _, line in value.remarks if "remark" in line] == ["(2) A remark about 53399 and 1.5 ns."]


def test_rows_below_no_good_line_of_days_are_named_and_never_dated_by_another() -> None:
    second = TABLE.replace("53399", "53414").replace("53404", "53419").replace("53409", "53424")
    second = second.replace("AAA  (Here) ", "EEE  (Here) ").partition("\n")[2]
    text = HEAD + TABLE + "1 - Computed values (Cont.)\n" + second
    assert {row.code: row.utc_minus_utck_ns for row in good(text).table.rows}["EEE"][3:] == (-17.9, -23.3, -17.7)
    for damaged in ("MJD", "  MJE", "mjd", "", "MJD 53429"):
        value, findings = circular_t.read(
            text.replace("       MJD                   53414", f"{damaged:29}53414").encode()
        )
        assert value is not None
        rows = {row.code: row.utc_minus_utck_ns for row in value.table.rows}
        assert rows["AAA"][:3] == (-17.9, -23.3, -17.7)
        if damaged == "MJD 53429":
            assert "EEE" not in rows
            assert rules(findings) == {"mjd": 1, "row": 4}
        else:
            assert rows["EEE"] == (None, None, None, -17.9, -23.3, -17.7)


def test_a_row_whose_code_was_damaged_is_named() -> None:
    for code in ("aAA ", "4AA ", ".AAA", "    "):
        value, findings = circular_t.read((HEAD + TABLE + AFTER).replace("\nAAA ", f"\n{code}", 1).encode())
        assert value is not None
        assert len(value.table.rows) == 3
        assert rules(findings) == {"row": 1}


def test_what_is_written_is_read_again() -> None:
    value = good(HEAD + TABLE + AFTER)
    again = good(circular_t.write(value).decode())
    for old, new in zip(value.table.rows, again.table.rows, strict=True):
        assert (old.code, old.city, old.utc_minus_utck_ns, old.u_ns, old.notes) == (
            new.code,
            new.city,
            new.utc_minus_utck_ns,
            new.u_ns,
            new.notes,
        )
    assert (again.issue, again.table.mjds, again.tai_minus_utc_s) == (206, value.table.mjds, 32)


SINCE_437 = """\
CIRCULAR T 444                                                                          ISSN 1143-1393
2025 JANUARY 10, 10h UTC

1 - Difference between UTC and its local realizations UTC(k) and corresponding uncertainties.
    From 2017 January 1, 0h UTC, TAI-UTC = 37 s.

Date 2024    0h UTC         NOV 30   DEC  5   DEC 10     Uncertainty/ns  Notes
       MJD                   60644    60649    60654      uA    uB    u
Laboratory k                                         [UTC-UTC(k)]/ns
AGGO (La Plata)              510.8    507.1    497.8     0.7   2.9   3.0
CAO  (Cagliari)           -17697.4 -17821.1 -17933.0     0.7    NC     -
DLR  (Oberpfaffenhofen)          -        -        -
"""
"""Rows as the BIPM's page of issue 444 (2025 January) gives them: the banner, NC for uB and a dash for u, a row of
dashes alone."""


def test_a_link_that_is_not_calibrated_is_read_and_written_since_issue_437() -> None:
    value = good(SINCE_437)
    rows = {row.code: row for row in value.table.rows}
    assert (rows["CAO"].u_a_ns, rows["CAO"].u_b_ns, rows["CAO"].u_ns, rows["CAO"].calibrated) == (
        0.7,
        None,
        None,
        False,
    )
    assert rows["DLR"].utc_minus_utck_ns == (None, None, None)
    assert rows["DLR"].calibrated
    again = good(circular_t.write(value).decode())
    assert [replace(row, line=0) for row in again.table.rows] == [replace(row, line=0) for row in value.table.rows]


def test_line_ends_of_other_machines_lose_no_row_where_bytes_are_read() -> None:
    whole = good(SINCE_437)
    for ends in ("\r", "\r\n"):
        assert good(SINCE_437.replace("\n", ends)).table == whole.table
    week = "[UTCr-UTC(k)]\n" + TABLE.replace("  1.6   5.4   5.6", "").replace("  2.8  20.4  20.6  (2)", "")
    first, _ = utcr.read(week.encode())
    other, _ = utcr.read(week.replace("\n", "\r").encode())
    assert first is not None
    assert other is not None
    assert len(first.table.rows) == 4
    assert other.table == first.table


def test_a_row_that_may_have_been_cut_is_said() -> None:
    """What was cut from the end of a line looks like days without values: they are absent, and that is said."""
    cut = SINCE_437.replace("    507.1    497.8     0.7   2.9   3.0", "")
    value, findings = circular_t.read(cut.encode())
    assert value is not None
    assert value.table.rows[0].utc_minus_utck_ns == (510.8, None, None)
    assert [(finding.rule, finding.severity) for finding in findings] == [("cut", Severity.WARNING)]
    whole = "AGGO (La Plata)              510.8    507.1    497.8     0.7   2.9   3.0"
    for left in ("AGGO (La Plata)", "AGGO (La Pl"):
        value, findings = circular_t.read(SINCE_437.replace(whole, left).encode())
        assert value is not None
        assert [row.code for row in value.table.rows] == ["CAO", "DLR"]
        assert [(finding.rule, finding.severity) for finding in findings] == [("cut", Severity.ERROR)]


def test_collapsed_blanks_change_nothing() -> None:
    collapsed = "\n".join(" ".join(line.split()) for line in (HEAD + TABLE + AFTER).split("\n"))
    one, other = good(HEAD + TABLE + AFTER), good(collapsed)
    assert [(row.code, row.utc_minus_utck_ns, row.u_ns) for row in one.table.rows] == [
        (row.code, row.utc_minus_utck_ns, row.u_ns) for row in other.table.rows
    ]


def test_a_value_missing_without_a_dash_is_placed_by_its_column() -> None:
    gap = TABLE.replace("    125.8        -     2.8", "    125.8              2.8").replace(
        "         -    125.8", "              125.8"
    )
    row = good(HEAD + gap).table.of("BB")
    assert row is not None
    assert row.utc_minus_utck_ns == (None, 125.8, None)


def test_a_table_over_two_pages_is_one() -> None:
    first = (
        "Date 1999    0h UTC  DEC 22   DEC 27\n       MJD           51534    51539\nLaboratory k   [UTC-UTC(k)]/ns\n"
    )
    second = (
        "Date 2000    0h UTC  JAN  1   JAN  6\n       MJD           51544    51549\nLaboratory k   [UTC-UTC(k)]/ns\n"
    )
    text = (
        "CIRCULAR T 144\n2000 FEBRUARY 15\n1 - Coordinated Universal Time UTC. Computed values of UTC-UTC(k).\n"
        + first
        + "AAA (Here)            -12      -14\nBB  (There)             3        -\n"
        + "\f\n1 - Coordinated Universal Time UTC. (Cont.)\n"
        + second
        + "AAA (Here)            -16      -18\nBB  (There)             5        7\n"
        + "2 - International Atomic Time\nMJD 51534 51539\nAAA (Here) 1 2\n"
    )
    value = good(text)
    assert value.table.mjds == (51_534, 51_539, 51_544, 51_549)
    assert [row.utc_minus_utck_ns for row in value.table.rows] == [(-12, -14, -16, -18), (3, None, 5, 7)]


@pytest.mark.parametrize(
    ("old", "new", "rule", "severity"),
    [
        ("-23.3", "-2x.3", "value", Severity.ERROR),
        ("    -17.7     1.6", "    -17.7        ", "count", Severity.ERROR),
        ("DDD ", "AAA ", "repeated", Severity.ERROR),
        ("53404", "53390", "mjd", Severity.ERROR),
        ("53404", "53403", "dates", Severity.WARNING),
        ("5.4   5.6", "5.4   9.6", "uncertainty", Severity.WARNING),
    ],
)
def test_a_broken_line_is_named_and_costs_no_other(old: str, new: str, rule: str, severity: Severity) -> None:
    assert old in TABLE
    value, findings = circular_t.read((HEAD + TABLE.replace(old, new, 1) + AFTER).encode())
    assert (rule, severity) in [(finding.rule, finding.severity) for finding in findings]
    if rule == "mjd":
        assert value is None
        return
    assert value is not None
    assert value.table.of("BB") is not None
    assert (value.table.of("AAA") is None) == (rule in ("value", "count"))


def test_of_two_issues_the_newer_counts_and_says_which_it_is() -> None:
    older = good(HEAD + TABLE)
    newer = good((HEAD + TABLE).replace("T 206", "T 207").replace("-17.7     1.6", "-18.8     1.6"))
    found = circular_t.newest([newer, older], "AAA")
    assert {mjd: (value, issue) for mjd, (value, _, issue) in found.items()} == {
        53_399: (-17.9, 207),
        53_404: (-23.3, 207),
        53_409: (-18.8, 207),
    }


def test_what_is_no_circular_is_refused_with_a_word() -> None:
    for data, rule in ((b"", "not-circular-t"), (b"\x89PNG", "not-circular-t"), (HEAD.encode(), "no-table")):
        value, findings = circular_t.read(data)
        assert value is None
        assert rule in rules(findings)


UTCR = """\
UTCr_2548
 2025 DECEMBER 03, 12h UTC
Computed values of [UTCr-UTC(k)]

Date 2025    0h UTC         NOV 24   NOV 25   NOV 26   NOV 27   NOV 28   NOV 29   NOV 30
       MJD                   61003    61004    61005    61006    61007    61008    61009
Laboratory k                                 [UTCr-UTC(k)]/ns

AAA  (Here)                    1.1      1.2      1.3      1.4      1.5      1.6      1.7
BB   (There)                     -     -2.0        -     -2.2     -2.3     -2.4        -

UTC remains the only reference.
"""


@pytest.mark.parametrize(
    ("comment", "name", "days", "rapid"),
    [
        ("UTCr", "answer.json", (60_000,), True),
        ("UTC", "utcr.json", (60_004, 60_009), False),
        ("", "UTCr_x.txt", (60_004, 60_009), True),
        ("", "x.txt", (60_000, 60_001), True),
        ("UTC - UTC(X)", "x.txt", (60_000, 60_001), True),
        ("", "x.txt", (60_004, 60_009), False),
        ("", "x.txt", (60_004,), False),
    ],
)
def test_one_rule_says_which_answers_of_the_server_are_rapid_utc(
    comment: str, name: str, days: tuple[int, ...], *, rapid: bool
) -> None:
    series = ApiSeries(days, (1.0,) * len(days), (None,) * len(days), comment)
    assert bipm_api.is_rapid(series, name=name) is rapid
    data, file_name = bipm_api.write(series), Path(name)
    values, _ = published.read(data, name=name, laboratory=None)
    assert {each.path for each in values} == {published.RAPID if rapid else published.CIRCULAR}
    told, _ = utc_record_files.values_of(data, "api", file_name, None)
    assert {each.scale for each in told} == {"UTCr" if rapid else "UTC"}


def test_rapid_utc_is_read_and_written_again() -> None:
    value, findings = utcr.read(UTCR.encode(), name="UTCr_2548")
    assert findings == []
    assert value is not None
    assert (value.week, value.table.mjds[0], len(value.table.mjds)) == ("2548", 61_003, 7)
    row = value.table.of("BB")
    assert row is not None
    assert row.utc_minus_utck_ns == (None, -2.0, None, -2.2, -2.3, -2.4, None)
    again, findings = utcr.read(utcr.write(value))
    assert findings == []
    assert again is not None
    assert [each.utc_minus_utck_ns for each in again.table.rows] == [
        each.utc_minus_utck_ns for each in value.table.rows
    ]
    assert utcr.read((HEAD + TABLE).encode())[0] is None, "a Circular T is no rapid UTC"


def test_the_servers_answers_are_read_in_both_forms() -> None:
    series = ApiSeries((55_739, 55_744), (795.1, -805.7), (5.2, None), "UTC-UTC(AAA)")
    text, findings = bipm_api.read(bipm_api.write(series))
    assert findings == []
    assert text == (series,)
    body = {
        "errorcode": 0,
        "data": [{"x": [55_739, 55_744], "y": ["795.1", -805.7], "unc": ["5.2", "0.0"]}, {"x": [1], "y": []}],
    }
    values, findings = bipm_api.read(json.dumps(body).encode())
    assert values is not None
    assert values[0] == ApiSeries((55_739, 55_744), (795.1, -805.7), (5.2, None))
    assert rules(findings) == {"data": 1}
    for broken in (b'{"errorcode": 3}', b"[1", b"{" * 100_000, b"# nothing\r\n", json.dumps({"errorcode": 0}).encode()):
        assert bipm_api.read(broken)[0] is None
    value, findings = bipm_api.read(b" 55739 1.0 0.0\n 55734 1.0 0.0\n 55744 9e9 0\n 55749 x 1\n 55754 2e0\n")
    assert value is not None
    assert value[0].mjd == (55_739,)
    assert rules(findings) == {"not-rising": 1, "row": 3}


@given(st.binary(max_size=200), st.integers(0, 700), st.integers(0, 40))
def test_arbitrary_bytes_anywhere_cost_no_exception(noise: bytes, at: int, cut: int) -> None:
    for read, text in (
        (circular_t.read, (HEAD + TABLE + AFTER).encode()),
        (utcr.read, UTCR.encode()),
        (bipm_api.read, b"# x\r\n 55739      795.1        5.2\r\n"),
    ):
        read(text[:at] + noise + text[at + cut :])


@pytest.mark.shared_data
def test_published_excerpts_read_as_an_independent_reader_has_them() -> None:
    expected = json.loads((SHARED / "expected.json").read_text())
    for name in ("cirt.206.section1-head.txt", "cirt.283.section1-tokens.txt"):
        value, findings = circular_t.read((SHARED / name).read_bytes())
        wanted = expected[name]
        assert findings == []
        assert value is not None
        numbers = [each for row in value.table.rows for each in row.utc_minus_utck_ns]
        assert list(value.table.mjds) == wanted["mjds"]
        assert (len(value.table.rows), numbers.count(None)) == (wanted["labs"], wanted["missing"])
        assert sum(each for each in numbers if each is not None) == pytest.approx(wanted["sum_ns"], abs=0.01)
        assert {row.code: [row.u_a_ns, row.u_b_ns, row.u_ns] for row in value.table.rows} == wanted["u_k"]
    data = (SHARED / "api-utc-aus-283.txt").read_bytes()
    answer, findings = bipm_api.read(data)
    assert findings == []
    assert answer is not None
    assert bipm_api.write(answer[0]) == data
    circular, _ = circular_t.read((SHARED / "cirt.283.section1-tokens.txt").read_bytes())
    assert circular is not None
    row = circular.table.of("AUS")
    assert row is not None
    assert row.utc_minus_utck_ns == answer[0].value_ns


GNSS = """
4 - Relations of UTC and TAI with predictions of UTC(k) disseminated by GNSS and their System Times.

    [UTC-GPS time] = -17 s + C0, [TAI-GPS time] = 19 s + C0, global uncertainty is of order 10 ns.
    [UTC-UTC(USNO)_GPS] = C0', [TAI-UTC(USNO)_GPS] = 36 s + C0'
    For this edition of Circular T, S0 = 0.6 ns, S1 = 5.1 ns

Date 2005         MJD    C0/ns   N0   C0'/ns  N0'    C1/ns    N1
  0h UTC
 JAN 29         53399     -1.3   89      2.4   89   -196.4    88
 JAN 30         53400     -0.9   89        -    0   -197.0    88
 JAN 31         53401     -0.4   x9      2.2   89   -197.3    88
 FEB  1         53402      0.1   89      2.0   88   -198.1    87

5 - Time links used for the computation of TAI.
"""


def test_utc_minus_satellite_systems_is_read_by_the_labels_of_its_table() -> None:
    value, findings = circular_t.read((HEAD + TABLE + AFTER + GNSS).encode())
    assert value is not None
    assert value.gnss is not None
    assert value.gnss.column("C0") == {53_399: -1.3, 53_400: -0.9, 53_402: 0.1}
    assert value.gnss.column("C0'") == {53_399: 2.4, 53_402: 2.0}
    assert value.gnss.column("N1") == {53_399: 88.0, 53_400: 88.0, 53_402: 87.0}
    assert [
        (each.rule, "53401" in (HEAD + TABLE + AFTER + GNSS).split("\n")[(each.line or 0) - 1]) for each in findings
    ] == [("gnss-row", True)]
    assert value.unread_sections == (2, 5)
    assert good(HEAD + TABLE + AFTER).gnss is None


def test_utc_minus_a_satellite_system_is_never_taken_for_a_laboratory() -> None:
    days = " 55739      -1.2        2.5\r\n 55740      -1.4        2.5\r\n 55741      -1.1        2.5\r\n"
    for remark, name, is_ours in (
        ("# [UTC-GPS]/ns u/ns\r\n", "answer.txt", False),
        ("# [UTC-UTC(USNO)_GPS]/ns\r\n", "answer.txt", False),
        ("", "b_gps.txt", False),
        ("# [UTC-UTC(USNO)]/ns\r\n", "answer.txt", True),
        ("# [UTCr-UTC(AAA)]/ns, by a GPS link\r\n", "answer.txt", True),
    ):
        found, findings = published.read((remark + days).encode(), name=name, laboratory=None)
        assert len(found) == (3 if is_ours else 0), remark
        assert [each.rule for each in findings] == ([] if is_ours else ["gnss"])
        kept, _ = utc_record_files.values_of((remark + days).encode(), "api", Path(name), None)
        assert len(kept) == len(found)


@pytest.mark.parametrize(
    ("damaged", "rule"),
    [
        (" JAN 31         5x401     -0.4   89      2.2   89   -197.3    88", "gnss-row"),
        (" JAN 31          3401     -0.4   89      2.2   89   -197.3    88", "gnss-row"),
        (" JAN 31                   -0.4   89      2.2   89   -197.3    88", "gnss-row"),
        (" J?N 31         53401     -0.4   89      2.2   89   -197.3    88", "gnss-row"),
        (" JAN 31         53411     -0.4   89      2.2   89   -197.3    88", "gnss-date"),
        (" JAN 30         53401     -0.4   89      2.2   89   -197.3    88", "gnss-date"),
        (" JAN 31         5x401     -0.4", "gnss-row"),
    ],
)
def test_a_day_of_utc_minus_satellite_systems_whose_mjd_is_damaged_is_named_and_costs_no_other(
    damaged: str, rule: str
) -> None:
    whole = " JAN 31         53401     -0.4   x9      2.2   89   -197.3    88"
    text = HEAD + TABLE + AFTER + GNSS.replace(whole, damaged)
    value, findings = circular_t.read(text.encode())
    assert value is not None
    assert value.gnss is not None
    assert sorted(value.gnss.column("C0")) == [53_399, 53_400, 53_402]
    assert [(each.rule, each.line) for each in findings] == [(rule, text.split("\n").index(damaged) + 1)]


def test_prose_around_a_table_of_satellite_systems_is_no_damaged_day() -> None:
    for prose in ("  0h UTC", "For this edition of Circular T, S0 = 0.6 ns, S1 = 5.1 ns", "(1) 2 values", "------"):
        value, findings = circular_t.read((HEAD + TABLE + AFTER + GNSS.replace("  0h UTC", prose)).encode())
        assert value is not None
        assert [each.rule for each in findings] == ["gnss-row"]


@pytest.mark.parametrize(
    ("name", "remark", "is_ours"),
    [
        ("gpsdo.txt", "", True),
        ("galway.txt", "", True),
        ("global.txt", "", True),
        ("gps-lab.txt", "# UTC - UTC(AAA) / ns\n", True),
        ("utc-gps", "# UTC - UTC(AAA) / ns\n", True),
        ("utc-glasgow", "", True),
        ("gps_2026.txt", "", False),
        ("utc-gps", "", False),
        ("galileo.txt", "", False),
    ],
)
def test_a_file_of_utck_is_known_by_what_it_says_and_not_by_how_its_name_begins(
    name: str, remark: str, *, is_ours: bool
) -> None:
    data = (remark + "55739 -1.2 2.5\n55744 -1.4 2.5\n55749 -1.1 2.5\n").encode()
    found, findings = published.read(data, name=name, laboratory=None)
    assert len(found) == (3 if is_ours else 0)
    assert ["UTC(CODE)" in each.says for each in findings] == ([] if is_ours else [True])
    kind = utc_verb.kind_of(data, name=name)
    assert (kind == "utc-gnss") is (name == "utc-gps" and not remark)
    kept, _ = utc_record_files.values_of(data, "api", Path(name), None)
    assert len(kept) == len(found)


def test_columns_of_utc_minus_gps_are_read_in_their_order() -> None:
    value, findings = utc_gnss.read(b"55739 2.4 -1.2\n55740 - -1.4\n55740 2.1 -1.1\n55741 2.1\n", name="utc-gps")
    assert value is not None
    assert (value.column("C0'"), value.column("C0")) == ({55_739: 2.4}, {55_739: -1.2, 55_740: -1.4})
    assert [(each.rule, each.line) for each in findings] == [("not-rising", 3), ("gnss-row", 4)]
    value, _ = utc_gnss.read(b"# UTC - GLONASS\n55739 2.4 -1.2\n")
    assert value is not None
    assert value.labels == ("C1'/ns", "C1/ns")


def test_large_values_that_touch_are_told_apart() -> None:
    row = "EEE  (There)              -12345.6-12345.7-123456.8     1.6   5.4   5.6\n"
    value = good(HEAD + TABLE + row + AFTER)
    assert value.table.rows[-1].utc_minus_utck_ns == (-12345.6, -12345.7, -123456.8)
    value, findings = circular_t.read((HEAD + TABLE + row.replace("-12345.7", "-1234.57") + AFTER).encode())
    assert value is not None
    assert rules(findings) == {"value": 1}


def test_an_answer_as_csv_says_the_same() -> None:
    text = "MJD,[UTC-UTC(AAA)]/ns,u/ns\n55739,795.1,5.2\n55744,801.1,0.0\n"
    series, findings = bipm_api.read(text.encode())
    assert (series, findings) == ((ApiSeries((55_739, 55_744), (795.1, 801.1), (5.2, None), text.split("\n")[0]),), [])
    body = {"errorcode": 0, "data": [{"x": ["55739.0", 55_744.0], "y": ["795.1", 801.1], "unc": ["5.2", None]}]}
    series, findings = bipm_api.read(json.dumps(body).encode())
    assert series is not None
    assert (series[0].mjd, series[0].value_ns, findings) == ((55_739, 55_744), (795.1, 801.1), [])


LETTER_HEAD = """\
                        BUREAU INTERNATIONAL DES POIDS ET MESURES
  PAVILLON DE BRETEUIL F-92312 SEVRES CEDEX  TEL. +33 1 45 07 70 70  FAX. +33 1 45 34 20 21  tai@bipm.org
2026 NOVEMBER 18, 14h UTC
"""


def test_a_letter_head_is_no_row_and_a_row_above_all_days_is_named() -> None:
    week, findings = utcr.read((LETTER_HEAD + UTCR).encode())
    assert week is not None
    assert findings == []
    assert week.table.rows == tuple(
        replace(row, line=row.line + 3) for row in (utcr.read(UTCR.encode())[0] or week).table.rows
    )
    _, findings = utcr.read((LETTER_HEAD + "ZZZ  (There)    1.0   2.0   3.0   4.0   5.0   6.0   7.0\n" + UTCR).encode())
    assert [(each.rule, each.line) for each in findings] == [("row", 4)]
