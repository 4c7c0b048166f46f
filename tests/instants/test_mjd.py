"""MJD text and the calendar, against exact fractions and against Python's own calendar."""

import contextlib
import datetime as dt
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.instants.tables import any_instants

from truechimer.instants import (
    FS_PER_DAY,
    Instant,
    NotADateRejected,
    OutOfRangeMisuse,
    TimeTextRejected,
    TimeTypeMisuse,
)
from truechimer.instants.mjd import (
    MJD_FIRST,
    MJD_LAST,
    from_calendar,
    from_mjd_text,
    is_leap_year,
    to_calendar,
    to_mjd_float,
    to_mjd_text,
    weekday,
)

ORDINAL_OF_MJD_0 = dt.date(1858, 11, 17).toordinal()


@given(any_instants())
def test_twenty_decimals_carry_every_femtosecond_there_and_back(instant: Instant) -> None:
    assert from_mjd_text(to_mjd_text(instant, digits=20)) == instant


@given(st.integers(-(2**63), 2**63 - 1), st.integers(14, 30))
def test_fourteen_decimals_carry_every_nanosecond_there_and_back(ns: int, digits: int) -> None:
    back = from_mjd_text(to_mjd_text(Instant.from_tai_ns(ns), digits=digits))
    assert Instant(back.tai_fs + 500_000).tai_ns_floor == ns


@given(any_instants(), st.integers(0, 30))
def test_an_mjd_text_is_the_exact_value_rounded_half_even(instant: Instant, digits: int) -> None:
    exact = 40_587 + Fraction(instant.tai_fs, FS_PER_DAY)
    assert Fraction(to_mjd_text(instant, digits=digits)) == Fraction(round(exact * 10**digits), 10**digits)


@given(st.integers(-(10**7), 10**7), st.text("0123456789", max_size=40), st.sampled_from(["", "+"]))
def test_an_mjd_text_is_read_as_the_exact_fraction(whole: int, decimals: str, sign: str) -> None:
    text = f"{sign if whole >= 0 else ''}{whole}.{decimals}"
    exact = (Fraction(text.removesuffix(".")) - 40_587) * FS_PER_DAY
    assert from_mjd_text(text).tai_fs == round(exact)


def test_a_ten_decimal_unit_is_8640_nanoseconds() -> None:
    assert from_mjd_text("40587.0000000001").tai_ns_floor == 8_640
    assert to_mjd_text(Instant(0), digits=10) == "40587.0000000000"
    assert to_mjd_text(Instant(0), digits=0) == "40587"
    assert to_mjd_text(Instant(-40_587 * FS_PER_DAY - FS_PER_DAY // 2), digits=1) == "-0.5"
    assert from_mjd_text("-0.5") == Instant(-40_587 * FS_PER_DAY - FS_PER_DAY // 2)


@pytest.mark.parametrize(
    "text",
    ["", ".", "+", "-", ".5", "1e5", "57754,5", "nan", "inf", "0x10", "1_000", " 57754", "57754 ", "5.7.5", "--1"],
)
def test_a_text_that_is_no_mjd_is_refused(text: str) -> None:
    with pytest.raises(TimeTextRejected):
        from_mjd_text(text)


@pytest.mark.parametrize("text", ["٥٧", "57754.²", "1" * 65, "57754." + "0" * 60])
def test_other_scripts_and_overlong_texts_are_refused(text: str) -> None:
    with pytest.raises(TimeTextRejected):
        from_mjd_text(text)


@given(st.text(max_size=80))
def test_reading_any_text_gives_an_instant_or_a_refusal(text: str) -> None:
    with contextlib.suppress(TimeTextRejected):
        assert isinstance(from_mjd_text(text), Instant)


def test_wrong_types_and_decimals_out_of_range_are_misuse() -> None:
    with pytest.raises(TimeTypeMisuse):
        from_mjd_text(57_754.0)  # type: ignore[arg-type]
    for digits in (-1, 31):
        with pytest.raises(OutOfRangeMisuse):
            to_mjd_text(Instant(0), digits=digits)


@given(any_instants())
def test_a_float_mjd_is_the_nearest_float(instant: Instant) -> None:
    assert to_mjd_float(instant) == float(40_587 + Fraction(instant.tai_fs, FS_PER_DAY))


@given(st.integers(MJD_FIRST, MJD_LAST))
def test_the_calendar_agrees_with_pythons(mjd: int) -> None:
    date = dt.date.fromordinal(mjd + ORDINAL_OF_MJD_0)
    assert to_calendar(mjd) == (date.year, date.month, date.day)
    assert from_calendar(date.year, date.month, date.day) == mjd
    assert weekday(mjd) == date.weekday()


@pytest.mark.parametrize("year", [1, 4, 100, 400, 1600, 1900, 1972, 2000, 2100, 2400, 9999])
def test_every_day_of_a_remarkable_year_agrees_with_pythons(year: int) -> None:
    date = dt.date(year, 1, 1)
    for _ in range(366 if is_leap_year(year) else 365):
        mjd = date.toordinal() - ORDINAL_OF_MJD_0
        assert to_calendar(mjd) == (date.year, date.month, date.day)
        assert from_calendar(date.year, date.month, date.day) == mjd
        if mjd < MJD_LAST:
            date += dt.timedelta(days=1)
    assert date.year == min(year + 1, 9999)


@given(st.integers(-5, 10_005), st.integers(-1, 14), st.integers(-1, 33))
def test_a_date_is_accepted_exactly_where_python_accepts_it(year: int, month: int, day: int) -> None:
    try:
        expected = dt.date(year, month, day).toordinal() - ORDINAL_OF_MJD_0
    except ValueError:
        with pytest.raises(NotADateRejected):
            from_calendar(year, month, day)
    else:
        assert from_calendar(year, month, day) == expected


@pytest.mark.parametrize("mjd", [MJD_FIRST - 1, MJD_LAST + 1])
def test_a_day_outside_the_calendar_is_refused(mjd: int) -> None:
    with pytest.raises(OutOfRangeMisuse):
        to_calendar(mjd)
