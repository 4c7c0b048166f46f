"""Circular T, rapid UTC and the BIPM's API: published excerpts, every layout known, broken lines, any bytes."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.cli import utc_record_files
from truechimer.formats import bipm_api, circular_t, published, utcr
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
