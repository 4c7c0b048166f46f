"""Series of UTC - UTC(k): clock files in seconds, the BIPM's in ns, broken lines, and years of a real laboratory."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.compare.utc_record import PublishedValue, by_year, newest
from truechimer.formats import utck_series
from truechimer.formats.utck_series import UtckSeries

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "bipm"
CLOCK_FILE = "# UTC(AUS) UTC 1\n# made by hand\n50169.00000 -0.000000631000\n50174.00000 -5.95D-7\n"
SERIES = "# MJD  UTC-UTC(k) uA uB u\n 55739      795.1   0.4   5.2   5.2\n 55744      -\n 55749    805.7\n"


def good(text: str, *, seconds: bool) -> UtckSeries:
    value, findings = utck_series.read(text.encode(), seconds=seconds)
    assert findings == []
    assert value is not None
    return value


def test_a_clock_file_is_utc_minus_utck_in_seconds() -> None:
    value = good(CLOCK_FILE, seconds=True)
    assert (value.quantity, value.laboratory, value.mjd) == ("UTC - UTC(AUS)", "AUS", (50_169, 50_174))
    assert value.x_s == pytest.approx((-631e-9, -595e-9), abs=1e-18)
    assert utck_series.is_clock_file(CLOCK_FILE)
    assert not utck_series.is_clock_file(SERIES)


def test_a_series_of_the_bipm_is_in_nanoseconds_and_a_dash_is_missing() -> None:
    value = good(SERIES, seconds=False)
    assert value.mjd == (55_739, 55_749)
    assert value.x_s == pytest.approx((795.1e-9, 805.7e-9), abs=1e-18)
    assert value.u_s == (pytest.approx(5.2e-9), None)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("x 1.0", "row"),
        ("55749.5 1.0", "row"),
        ("5574 1.0", "row"),
        ("55749", "row"),
        ("55749 1.0 2.0 3.0 4.0 5.0", "row"),
        ("55749 nan", "row"),
        ("55749 2e9", "value"),
        ("55739 1.0", "not-rising"),
    ],
)
def test_a_broken_line_is_named_and_costs_no_other(line: str, rule: str) -> None:
    lines = SERIES.splitlines()
    value, findings = utck_series.read("\n".join([*lines[:2], line, *lines[2:]]).encode(), seconds=False)
    assert value is not None
    assert value.mjd == (55_739, 55_749)
    assert [(finding.rule, finding.line) for finding in findings] == [(rule, 3)]


def test_a_clock_file_that_leads_elsewhere_is_not_taken_for_utc() -> None:
    for head in ("# TA(PTB) TAI", "# made by hand"):
        value, findings = utck_series.read(CLOCK_FILE.replace("# UTC(AUS) UTC 1", head).encode(), seconds=True)
        assert value is None
        assert findings[-1].rule == "not-to-utc"


@given(st.binary(max_size=200), st.integers(0, 90), st.integers(0, 40), st.booleans())
def test_arbitrary_bytes_anywhere_cost_no_exception(noise: bytes, at: int, cut: int, seconds: bool) -> None:
    data = (CLOCK_FILE if seconds else SERIES).encode()
    utck_series.read(data[:at] + noise + data[at + cut :], seconds=seconds)


def test_of_two_values_of_a_day_the_newer_issue_counts() -> None:
    old, new = (
        PublishedValue(scale="UTC", mjd=60_004, x_utc_minus_utck_s=x, issue=n) for x, n in ((1e-9, 456), (3e-9, 457))
    )
    rapid = PublishedValue(scale="UTCr", mjd=60_004, x_utc_minus_utck_s=2e-9)
    assert newest([new, rapid, old]) == (new, rapid)
    assert newest([old, new]) == (new,)


def test_years_are_told_by_mean_rms_and_largest() -> None:
    rows = by_year([(59_579, 3e-9), (59_580, -4e-9), (59_581, 2e-9), (60_000, 0.0)])
    assert [(row.year, row.n) for row in rows] == [(2021, 1), (2022, 2), (2023, 1), (None, 4)]
    assert rows[1].rms_s == pytest.approx(10**0.5 * 1e-9)
    assert (rows[1].mean_s, rows[1].largest_s, rows[1].largest_mjd) == (pytest.approx(-1e-9), -4e-9, 59_580)
    assert rows[1].std_s == pytest.approx(18**0.5 * 1e-9)
    assert rows[0].std_s == 0.0
    assert by_year([]) == ()


@pytest.mark.shared_data
def test_eighteen_years_of_a_real_laboratory_are_read() -> None:
    value = good((SHARED / "utc-aus.tempo2.clk").read_text(), seconds=True)
    assert (len(value.mjd), value.mjd[0], value.mjd[-1]) == (1350, 50_169, 56_989)
    rows = {row.year: row for row in by_year(list(zip(value.mjd, value.x_s, strict=True)))}
    # computed apart, by numpy over the same lines
    for year, n, rms_ns, largest_ns in ((1996, 51, 241.98922, -631.0), (2005, 73, 611.34863, -759.2)):
        assert rows[year].n == n
        assert rows[year].rms_s * 1e9 == pytest.approx(rms_ns, abs=1e-4)
        assert rows[year].largest_s * 1e9 == pytest.approx(largest_ns, abs=1e-6)
