"""Clock RINEX: the three layouts, one thing broken at a time, both paths of the reader, and arbitrary bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.formats import rinex_clock
from truechimer.formats.finding import Finding, Severity
from truechimer.formats.rinex_clock import (
    Applied,
    ReferenceClock,
    References,
    RinexClock,
    RinexClockHeader,
    RinexClockMisuse,
    Station,
)

NS_2010_07_01_GPS = 1_277_942_419 * 10**9
"""2010-07-01 00:00:00 GPS time, which is 00:00:19 TAI."""


def narrow(content: str, label: str) -> str:
    return f"{content:<60}{label}\n"


def wide(content: str, label: str) -> str:
    return f"{content:<65}{label}\n"


HEAD = (
    narrow("     3.00           C                   G", "RINEX VERSION / TYPE")
    + narrow("MAKER               SOMEBODY            20100701 000000 UTC", "PGM / RUN BY / DATE")
    + narrow("   GPS", "TIME SYSTEM ID")
    + narrow("    15", "LEAP SECONDS")
    + narrow("     2    AR    AS", "# / TYPES OF DATA")
    + narrow("XYZ  A CENTER", "ANALYSIS CENTER")
    + narrow("     1 2010 07 01 00 00  0.000000 2010 07 01 11 59 30.000000", "# OF CLK REF")
    + narrow("AAAA 10000M001                           0.000000000000E+00", "ANALYSIS CLK REF")
    + narrow("     1 2010 07 01 12 00  0.000000 2010 07 01 23 59 30.000000", "# OF CLK REF")
    + narrow("BBBB 10000M002                          -0.250000000000E-08", "ANALYSIS CLK REF")
    + narrow("     2    IGS05", "# OF SOLN STA / TRF")
    + narrow("AAAA 10000M001           -1248596262 -4819428214  3976505978", "SOLN STA NAME / NUM")
    + narrow("BBBB 10000M002             918129303 -4346071280  4561977871", "SOLN STA NAME / NUM")
    + narrow("     1", "# OF SOLN SATS")
    + narrow("G01", "PRN LIST")
    + narrow("", "END OF HEADER")
)
ROWS = (
    "AR AAAA 2010 07 01 00 00  0.000000  2    0.000000000000E+00  0.000000000000E+00\n"
    "AR BBBB 2010 07 01 00 00  0.000000  2   -0.577830421483E-07  0.168512854443E-10\n"
    "AS G01  2010 07 01 00 00  0.000000  1    0.683935834730E-03\n"
    "AR AAAA 2010 07 01 00 05  0.000000  2    0.100000000000E-11  0.100000000000E-10\n"
    "AR BBBB 2010  7  1  0  5  0.000000  2   -5.778304214828e-08  1.685128544430e-11\n"
    "AS G01  2010 07 01 00 05  0.000000  6    0.683935834730E-03  0.100000000000E-10\n"
    "     0.100000000000E-10  0.200000000000E-13 -0.300000000000E-18  0.400000000000E-20\n"
)
FIRST_ROW = HEAD.count("\n") + 1


def read(text: str) -> tuple[RinexClock, list[Finding]]:
    value, findings = rinex_clock.read(text.encode("latin-1"))
    assert value is not None
    return value, findings


def same(one: RinexClock, other: RinexClock) -> bool:
    return (
        one.header == other.header
        and one.names == other.names
        and np.array_equal(one.kind, other.kind)
        and np.array_equal(one.clock, other.clock)
        and np.array_equal(one.epoch_tai_ns, other.epoch_tai_ns)
        and np.array_equal(one.values, other.values, equal_nan=True)
    )


def test_a_file_of_version_3_00_is_read_whole() -> None:
    value, findings = read(HEAD + ROWS)
    assert findings == []
    header = value.header
    assert (header.version, header.satellite_system, header.time_system) == ("3.00", "G", "GPS")
    assert (header.program, header.run_by, header.date) == ("MAKER", "SOMEBODY", "20100701 000000 UTC")
    assert (header.center, header.center_name, header.frame) == ("XYZ", "A CENTER", "IGS05")
    assert header.references == (
        References((ReferenceClock("AAAA", "10000M001", 0.0),), NS_2010_07_01_GPS, NS_2010_07_01_GPS + 43_170 * 10**9),
        References(
            (ReferenceClock("BBBB", "10000M002", -2.5e-9),),
            NS_2010_07_01_GPS + 43_200 * 10**9,
            NS_2010_07_01_GPS + 86_370 * 10**9,
        ),
    )
    assert header.stations[1] == Station("BBBB", "10000M002", (918129303, -4346071280, 4561977871))
    assert value.names == ("AAAA", "BBBB", "G01")
    assert [rinex_clock.KINDS[kind] for kind in value.kind] == ["AR", "AR", "AS"] * 2
    assert value.epoch_tai_ns.tolist() == [NS_2010_07_01_GPS] * 3 + [NS_2010_07_01_GPS + 300 * 10**9] * 3
    assert value.values[:, 0].tolist() == [
        0.0,
        -0.577830421483e-07,
        0.68393583473e-3,
        1e-12,
        -5.778304214828e-08,
        0.68393583473e-3,
    ]
    assert np.isnan(value.values[2, 1])
    assert value.values[5].tolist() == [0.68393583473e-3, 1e-11, 1e-11, 2e-14, -3e-19, 4e-21]
    assert value.line.tolist() == [FIRST_ROW + k for k in range(6)]


def test_a_file_of_version_3_04_has_names_of_nine_characters() -> None:
    text = (
        wide("3.04                 C                    G", "RINEX VERSION / TYPE")
        + wide("MAKER                SOMEBODY             20170312  052227 UTC", "PGM / RUN BY / DATE")
        + wide("   GPS", "TIME SYSTEM ID")
        + wide("    37", "LEAP SECONDS")
        + wide("    18", "LEAP SECONDS GNSS")
        + wide("     2    IGS14", "# OF SOLN STA / TRF")
        + wide("AMC2      40472S004           -1248596372 -4819428201  3976505934", "SOLN STA NAME / NUM")
        + wide("DGAR00GBR 30802M001            1916268889  6029977675  -801719507", "SOLN STA NAME / NUM")
        + wide("", "END OF HEADER")
        + "AR AMC2      2017 03 11 00 00  0.000000  2    0.425537443243E-03  0.101822621880E-10\n"
        + "AR DGAR00GBR 2017 03 11 00 00  0.000000  2   -0.371678253222E-07   0.179791429122E-10\n"
        + "AS G02       2017 03 11 00 00  0.500000  2    0.868606546478D-04  0.104109157753D-10\n"
    )
    value, findings = read(text)
    assert findings == []
    assert value.header.is_wide
    assert (value.header.run_by, value.header.date) == ("SOMEBODY", "20170312  052227 UTC")
    assert value.header.stations[1] == Station("DGAR00GBR", "30802M001", (1916268889, 6029977675, -801719507))
    assert value.names == ("AMC2", "DGAR00GBR", "G02")
    assert value.values[:, 0].tolist() == [0.425537443243e-3, -0.371678253222e-7, 0.868606546478e-4]
    assert value.values[1, 1] == 0.179791429122e-10
    assert value.epoch_tai_ns[2] - value.epoch_tai_ns[0] == 500_000_000
    assert same(value, read(rinex_clock.write(value).decode("ascii"))[0])


def test_version_2_00_and_what_programs_do_to_columns_are_read() -> None:
    text = narrow("     2.00           CLOCK DATA", "RINEX VERSION / TYPE") + narrow("", "END OF HEADER")
    text += "AR ABCD00XYZ 2019 01 08 00 00 00.000000 2 1.0E-9 2.0E-11\r\nCR USNO 2019 1 8 0 0 1.5 1 -3e-9"
    value, findings = read(text)
    assert findings == []
    assert value.names == ("ABCD00XYZ", "USNO")
    assert value.values[:, 0].tolist() == [1e-9, -3e-9]
    assert value.header.time_system == ""
    assert int(value.epoch_tai_ns[1] - value.epoch_tai_ns[0]) == 1_500_000_000


BROKEN = [
    ("AX BBBB 2010 07 01 00 00  0.000000  1   -0.577830421483E-07", "kind", 1),
    ("AR B?BB 2010 07 01 00 00  0.000000  1   -0.577830421483E-07", "clock-name", 4),
    ("AR BBBB 2010 02 30 00 00  0.000000  1   -0.577830421483E-07", "epoch", 9),
    ("AR BBBB 2010 07 01 24 00  0.000000  1   -0.577830421483E-07", "epoch", 9),
    ("AR BBBB 2010 07 01 00 60  0.000000  1   -0.577830421483E-07", "epoch", 9),
    ("AR BBBB 2010 07 01 00 00 60.000000  1   -0.577830421483E-07", "epoch", 9),
    ("AR BBBB 1979 07 01 00 00  0.000000  1   -0.577830421483E-07", "epoch", 9),
    ("AR BBBB 9999 07 01 00 00  0.000000  1   -0.577830421483E-07", "epoch", 9),
    ("AR BBBB 2010 07 01 00 00  0.000000  0   -0.577830421483E-07", "values", 37),
    ("AR BBBB 2010 07 01 00 00  0.000000  7   -0.577830421483E-07", "values", 37),
    ("AR BBBB 2010 07 01 00 00  0.000000  2   -0.577830421483E-07", "fields", 41),
    ("AR BBBB 2010 07 01 00 00  0.000000  1   -0.5778x0421483E-07", "not-a-number", 41),
    ("AR BBBB 2010 07 01 00 00  0.000000  1                   NaN", "not-a-number", 57),
    ("AR BBBB 2010 07 01 00 00  0.000000  1    0.999999999999E+06", "no-value", 42),
    ("AR BBBB 2010 07 01 00 00  0.000000  1   -0.577830421483E+77", "no-value", 41),
    ("AR BBBB 2010 07 01", "fields", 17),
    ("AR BBBB 2010 07 01 00 00  0.000000  4   -0.577830421483E-07  0.1000000000000E-9", "continuation", 1),
    ("AR AAAA 2010 07 01 00 00  0.000000  1   -0.577830421483E-07", "repeated", 1),
    ("AR BBBB" + " " * 500 + "2010", "line-too-long", None),
    ("\x00\xff\x1b[2J", "kind", 1),
]


@pytest.mark.parametrize(("line", "rule", "column"), BROKEN)
def test_a_broken_line_is_named_and_costs_its_neighbours_nothing(line: str, rule: str, column: int | None) -> None:
    whole, _ = read(HEAD + ROWS)
    first, rest = ROWS.split("\n", 1)
    value, findings = read(HEAD + first + "\n" + line + "\n" + rest)
    assert [(finding.rule, finding.line, finding.column) for finding in findings] == [(rule, FIRST_ROW + 1, column)]
    assert same(value, whole)
    alone, findings = read(HEAD + line)
    assert len(findings) == (0 if rule == "repeated" else 1)
    assert len(alone) == (1 if rule == "repeated" else 0)


def test_a_negative_sigma_costs_the_sigma_and_not_the_offset() -> None:
    value, findings = read(HEAD + "AR BBBB 2010 07 01 00 00  0.000000  2   -0.577830421483E-07 -0.1685128544E-10\n")
    assert value.values[0, 0] == -0.577830421483e-07
    assert np.isnan(value.values[0, 1])
    assert [(finding.rule, finding.severity) for finding in findings] == [("negative-sigma", Severity.WARNING)]


BROKEN_HEADER = [
    (narrow("     x", "LEAP SECONDS"), "header-field"),
    (narrow("AAAA 10000M001           -1248596262 -4819428214", "SOLN STA NAME / NUM"), "header-field"),
    (narrow("     1 2010 07 01 00 00", "# OF CLK REF"), "header-field"),
    (narrow("     1    QQ", "# / TYPES OF DATA"), "header-field"),
    (narrow("CC CC", "A NEW LABEL"), "header-label"),
    ("what is this\n", "header-label"),
    (narrow("   XYZ", "TIME SYSTEM ID"), "time-system"),
    (narrow("    99", "LEAP SECONDS"), "leap-seconds"),
]


@pytest.mark.parametrize(("line", "rule"), BROKEN_HEADER)
def test_a_broken_header_line_is_named_and_costs_no_record(line: str, rule: str) -> None:
    first, rest = HEAD.split("\n", 1)
    if rule == "leap-seconds":
        rest = rest.replace("    15", "    99")
        line = ""
    value, findings = read(first + "\n" + line + rest + ROWS)
    assert [finding.rule for finding in findings] == [rule]
    assert value.epoch_tai_ns.tolist() == read(HEAD + ROWS)[0].epoch_tai_ns.tolist()


def test_a_header_without_its_end_ends_before_the_first_record() -> None:
    value, findings = read(HEAD.replace("END OF HEADER", "") + ROWS)
    assert [finding.rule for finding in findings] == ["header-end"]
    assert len(value) == 6


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"epoch_mjd,clock_a\n1,2\n",
        HEAD.replace("     3.00           C", "     3.00           N").encode(),
    ],
)
def test_what_is_no_clock_rinex_is_said_to_be_none(data: bytes) -> None:
    value, findings = rinex_clock.read(data)
    assert value is None
    assert [finding.rule for finding in findings] == ["not-clock-rinex"]


@pytest.mark.parametrize(
    ("system", "tai_minus_s"), [("GPS", 19), ("GAL", 19), ("BDT", 33), ("TAI", 0), ("UTC", 34), ("GLO", 34)]
)
def test_epochs_of_every_time_system_come_to_tai(system: str, tai_minus_s: int) -> None:
    value, findings = read(HEAD.replace("   GPS", f"   {system}") + ROWS)
    assert findings == []
    assert value.epoch_tai_ns[0] == NS_2010_07_01_GPS + (tai_minus_s - 19) * 10**9
    assert same(value, read(rinex_clock.write(value).decode("ascii"))[0])


def test_a_leap_second_is_read_where_the_file_speaks_utc() -> None:
    head = HEAD.replace("   GPS", "   UTC")
    rows = "".join(
        f"AR AAAA {date}  1    0.100000000000E-06\n"
        for date in ("2016 12 31 23 59 59.500000", "2016 12 31 23 59 60.500000", "2017 01 01 00 00  0.500000")
    )
    value, findings = read(head.replace("    15", "    36") + rows)
    assert findings == []
    assert np.diff(value.epoch_tai_ns).tolist() == [10**9, 10**9]
    assert same(value, read(rinex_clock.write(value).decode("ascii"))[0])
    none, findings = read(head + "AR AAAA 2015 12 31 23 59 60.500000  1    0.100000000000E-06\n")
    assert len(none) == 0
    assert [finding.rule for finding in findings] == ["epoch"]


def test_the_quick_path_and_the_judge_agree_to_the_last_bit() -> None:
    generator = np.random.default_rng(5)
    lines = []
    for k in range(3_000):
        value, sigma = generator.normal() * 10.0 ** generator.integers(-12, 2), abs(generator.normal()) * 1e-11
        name = ("AR USN7", "AS G17 ", "MS R03 ", "CR PTBB")[k % 4]
        date = f"2020 01 {1 + k // 1000:02d} {k % 24:02d} {k % 60:2d} {k % 57:2d}.{k:06d}"
        lines.append(f"{name} {date}  2   {value:19.12E} {sigma:19.12E}")
    quick, none = read(HEAD + "\n".join(lines) + "\n")
    slow, also_none = read(HEAD + "\n".join(line.replace("  2   ", "  02  ") for line in lines) + "\n")
    assert none == also_none
    assert [finding.rule for finding in none] == ["leap-seconds"]
    assert len(quick) == 3_000
    assert same(quick, slow)
    assert np.array_equal(quick.line, slow.line)


def test_findings_are_listed_up_to_a_limit_and_then_counted() -> None:
    value, findings = read(HEAD + "rubbish\n" * 12_000 + ROWS)
    assert len(value) == 6
    assert len(findings) == rinex_clock.MAX_FINDINGS + 1
    assert "2000 more" in findings[-1].says


def some(**changes: object) -> RinexClock:
    fields: dict[str, object] = {
        "header": RinexClockHeader(version="3.04", dcbs=(Applied("G", "CC2NONCC", "p1c1.hist"),)),
        "names": ("AMC400USA",),
        "kind": np.array([0], np.int8),
        "clock": np.array([0], np.int32),
        "epoch_tai_ns": np.array([NS_2010_07_01_GPS]),
        "values": np.array([[1e-9, 1e-11, np.nan, np.nan, np.nan, np.nan]]),
        "line": np.array([0]),
    }
    return RinexClock(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"names": ("TENLETTERS",)}, "clock-name"),
        ({"names": ("A B",)}, "clock-name"),
        ({"header": RinexClockHeader(version="3.00")}, "clock-name"),
        ({"values": np.full((1, 6), np.nan)}, "values"),
        ({"values": np.array([[1.0, np.nan, 1.0, np.nan, np.nan, np.nan]])}, "values"),
        ({"header": RinexClockHeader(comments=("x" * 66,))}, "header-field"),
        ({"header": RinexClockHeader(comments=("a\nb",))}, "header-field"),
        ({"header": RinexClockHeader(time_system="XYZ")}, "time-system"),
    ],
)
def test_what_the_format_cannot_hold_is_not_written(changes: dict[str, object], rule: str) -> None:
    with pytest.raises(RinexClockMisuse) as caught:
        rinex_clock.write(some(**changes))
    assert caught.value.rule == rule


NAMES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=3, max_size=9)
NUMBERS = (
    st.floats(-9e5, 9e5)
    .map(lambda value: float(f"{value:.12E}"))
    .filter(lambda value: abs(value) > 1e-90 or value == 0)
)


@given(
    names=st.lists(NAMES, min_size=1, max_size=4, unique=True),
    rows=st.lists(
        st.tuples(
            st.integers(0, 4), st.integers(0, 3), st.integers(0, 4 * 10**14), st.lists(NUMBERS, min_size=1, max_size=6)
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda row: row[2] // 1_000,
    ),
    comments=st.lists(st.text("abc XYZ/#", max_size=50).map(str.rstrip), max_size=3),
    system=st.sampled_from(["", "GPS", "GLO", "TAI"]),
)
def test_what_is_written_is_read_back(
    names: list[str], rows: list[tuple[int, int, int, list[float]]], comments: list[str], system: str
) -> None:
    values = np.full((len(rows), 6), np.nan)
    used: dict[int, int] = {}
    for k, (_, clock, _, numbers) in enumerate(rows):
        used.setdefault(clock % len(names), len(used))
        values[k, : len(numbers)] = numbers
        values[k, 1::2] = np.abs(values[k, 1::2])
    value = RinexClock(
        RinexClockHeader(
            comments=tuple(comments),
            time_system=system,
            references=(References((ReferenceClock(names[0], "1", 0.5),)),),
            stations=(Station(names[0], "12345M001", (1, -2, 3)),),
            satellites=tuple(f"G{k:02d}" for k in range(1, 33)),
            types=("AR", "AS"),
        ),
        tuple(names[old] for old in used),
        np.array([row[0] for row in rows], np.int8),
        np.array([used[row[1] % len(names)] for row in rows], np.int32),
        np.array([NS_2010_07_01_GPS + row[2] // 1_000 * 1_000_000 for row in rows]),
        values,
        np.arange(len(rows)),
    )
    back, findings = rinex_clock.read(rinex_clock.write(value))
    assert back is not None
    assert findings == []
    assert same(back, value)


@given(st.binary(max_size=400), st.integers(0, len(HEAD + ROWS)))
def test_arbitrary_bytes_make_findings_and_nothing_else(noise: bytes, at: int) -> None:
    data = (HEAD + ROWS).encode()
    for broken in (noise, data[:at] + noise + data[at:], data[:at] + noise):
        value, findings = rinex_clock.read(broken)
        assert value is not None or findings
        if value is not None:
            assert (np.isfinite(value.values[:, 0])).all()


def test_a_header_with_letters_of_latin_1_is_written_again() -> None:
    text = (HEAD + ROWS).replace("\n", "\n" + f"{'Observatório, São José':<60}COMMENT\n", 1).encode("latin-1")
    value, _ = rinex_clock.read(text)
    assert value is not None
    again, _ = rinex_clock.read(rinex_clock.write(value))
    assert again is not None
    assert again.header == value.header
