"""NTP stamps: every 64-bit value there and back, the eras, the repeated second, the shorts."""

import json
import math
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.instants.tables import FIRST_FS, IERS, NEGATIVE, instants_in_utc

from truechimer.instants import (
    FS_PER_S,
    BeforeUtcRejected,
    Instant,
    LeapTableExpiredRejected,
    NoSuchSecondRejected,
    OutOfRangeMisuse,
    Span,
    TimeTypeMisuse,
    UtcLabel,
    from_utc,
    ntp64,
    to_utc,
)

KNOWN = json.loads(
    (Path(__file__).parents[1] / "vectors" / "instants" / "known_times.json").read_text(encoding="ascii")
)
STAMPS = st.integers(0, 2**64 - 1)
UNIT = Span(232_831)
"""One unit of a stamp, 2^-32 s, rounded up to the femtosecond."""
MIDDLE_OF_ERA_1 = from_utc(UtcLabel.parse("2104-02-26T09:42:24Z"), IERS, beyond_expiry="flag")


@pytest.mark.parametrize("row", KNOWN, ids=[row["utc"] for row in KNOWN])
def test_known_moments_have_their_published_stamps(row: dict[str, object]) -> None:
    policy = "flag" if row.get("beyond_expiry") else "refuse"
    instant = from_utc(UtcLabel.parse(str(row["utc"])), IERS, beyond_expiry=policy)
    stamp = ntp64.from_instant(instant, IERS, beyond_expiry=policy)
    assert (stamp >> 32, stamp & 0xFFFF_FFFF) == (row["ntp_s"], 0)
    assert ntp64.era_of(instant, IERS) == row["ntp_era"]
    assert ntp64.to_instant(stamp, IERS, near=instant, beyond_expiry=policy) == instant


@given(STAMPS)
def test_every_stamp_of_era_one_survives_the_way_to_an_instant_and_back(stamp: int) -> None:
    instant = ntp64.to_instant(stamp, IERS, near=MIDDLE_OF_ERA_1, beyond_expiry="flag")
    assert ntp64.era_of(instant, IERS) == 1
    assert ntp64.from_instant(instant, IERS, beyond_expiry="flag") == stamp


@given(st.integers(2_272_060_800 << 32, 2**64 - 1), instants_in_utc())
def test_every_stamp_of_era_zero_since_1972_survives_with_leap_seconds_on_the_way(stamp: int, near: Instant) -> None:
    try:
        instant = ntp64.to_instant(stamp, NEGATIVE, near=near, beyond_expiry="flag")
    except NoSuchSecondRejected:
        assert stamp >> 32 == from_stamp_of_removed_second()
        return
    assert ntp64.from_instant(instant, NEGATIVE, beyond_expiry="flag") == stamp


def from_stamp_of_removed_second() -> int:
    start = NEGATIVE.start_of(NEGATIVE.entries[-1])
    return (ntp64.from_instant(start, NEGATIVE) >> 32) - 1


@given(st.integers(0, 2**32 - 1))
def test_a_stamp_in_a_removed_second_has_no_instant(fraction: int) -> None:
    near = NEGATIVE.start_of(NEGATIVE.entries[-1])
    with pytest.raises(NoSuchSecondRejected):
        ntp64.to_instant(from_stamp_of_removed_second() << 32 | fraction, NEGATIVE, near=near)


@given(instants_in_utc())
def test_an_instant_comes_back_no_later_and_less_than_a_unit_earlier(instant: Instant) -> None:
    stamp = ntp64.from_instant(instant, NEGATIVE)
    back = ntp64.to_instant(stamp, NEGATIVE, near=instant)
    assert Span(0) <= instant - back < UNIT


@given(instants_in_utc())
def test_the_fast_form_is_the_same_stamp(instant: Instant) -> None:
    fast = ntp64.from_tai_fs(instant.tai_fs, ntp64.tai_minus_ntp_s(instant, NEGATIVE))
    assert fast == ntp64.from_instant(instant, NEGATIVE)


@given(st.integers(-(10**26), 10**26), st.integers(-100, 100))
def test_the_fast_form_is_the_exact_quotient_of_its_era(tai_fs: int, offset: int) -> None:
    exact = (Fraction(tai_fs, FS_PER_S) + 2_208_988_800 - offset) * 2**32
    assert ntp64.from_tai_fs(tai_fs, offset) == math.floor(exact) % 2**64


@given(STAMPS, instants_in_utc(), st.integers(-(67 * 31_557_600), 67 * 31_557_600))
def test_an_era_is_chosen_within_68_years_of_the_pivot(stamp: int, near: Instant, shift_s: int) -> None:
    pivot = Instant(max(near.tai_fs + shift_s * FS_PER_S, FIRST_FS))
    try:
        instant = ntp64.to_instant(stamp, IERS, near=pivot, beyond_expiry="flag")
    except BeforeUtcRejected:
        return
    assert abs((instant - pivot).fs) <= (2**31 + 40) * FS_PER_S


def test_the_rollover_of_2036_is_one_unit_wide() -> None:
    last = ntp64.to_instant(2**64 - 1, IERS, near=MIDDLE_OF_ERA_1 - Span.from_ns(2**31 * 10**9), beyond_expiry="flag")
    first = ntp64.to_instant(0, IERS, near=last, beyond_expiry="flag")
    assert to_utc(first, IERS, beyond_expiry="flag").isoformat() == "2036-02-07T06:28:16.000000000Z"
    assert Span(0) < first - last <= UNIT
    assert (ntp64.era_of(last, IERS), ntp64.era_of(first, IERS)) == (0, 1)


def test_second_59_stands_twice_on_the_wire_and_the_pivot_tells_which() -> None:
    second_59 = from_utc(UtcLabel.parse("2016-12-31T23:59:59.25Z"), IERS)
    second_60 = from_utc(UtcLabel.parse("2016-12-31T23:59:60.25Z"), IERS)
    stamp = ntp64.from_instant(second_59, IERS)
    assert stamp == ntp64.from_instant(second_60, IERS)
    assert stamp >> 32 == 3_692_217_599
    assert ntp64.to_instant(stamp, IERS, near=second_59) == second_59
    assert ntp64.to_instant(stamp, IERS, near=second_60) == second_60
    halfway = second_59 + Span(FS_PER_S // 2)
    assert ntp64.to_instant(stamp, IERS, near=halfway) == second_59


def test_the_difference_that_ntp_uses_changes_with_the_beginning_of_second_60() -> None:
    start = from_utc(UtcLabel.parse("2016-12-31T23:59:60Z"), IERS)
    assert ntp64.tai_minus_ntp_s(start - Span(1), IERS) == 36
    assert ntp64.tai_minus_ntp_s(start, IERS) == 37
    assert IERS.tai_minus_utc_at(start) == 36
    negative = NEGATIVE.start_of(NEGATIVE.entries[-1])
    assert ntp64.tai_minus_ntp_s(negative - Span(1), NEGATIVE) == 37
    assert ntp64.tai_minus_ntp_s(negative, NEGATIVE) == 36


@pytest.mark.parametrize("stamp", [-1, 2**64])
def test_a_stamp_that_is_not_64_bits_is_refused(stamp: int) -> None:
    with pytest.raises(OutOfRangeMisuse):
        ntp64.to_instant(stamp, IERS, near=Instant(FIRST_FS))


def test_a_stamp_that_is_no_integer_is_refused() -> None:
    with pytest.raises(TimeTypeMisuse):
        ntp64.to_instant(1.0, IERS, near=Instant(FIRST_FS))  # type: ignore[arg-type]


def test_a_stamp_before_utc_and_an_expired_table_are_refused() -> None:
    near = from_utc(UtcLabel.parse("2000-01-01T00:00:00Z"), IERS)
    with pytest.raises(BeforeUtcRejected):
        ntp64.to_instant((2_272_060_800 << 32) - 1, IERS, near=near)
    with pytest.raises(BeforeUtcRejected):
        ntp64.from_instant(Instant(FIRST_FS - 1), IERS)
    with pytest.raises(LeapTableExpiredRejected):
        ntp64.from_instant(IERS.expires_instant, IERS)
    with pytest.raises(LeapTableExpiredRejected):
        ntp64.to_instant(0, IERS, near=near)


@given(st.integers(0, 2**32 - 1))
def test_every_short_survives_the_way_to_seconds_and_back(short: int) -> None:
    assert ntp64.short_from_seconds_up(ntp64.short_to_seconds(short)) == short


@given(st.floats(0.0, ntp64.SHORT_MAX_S))
def test_a_short_is_never_less_than_its_seconds_and_less_than_one_unit_more(seconds: float) -> None:
    short = ntp64.short_from_seconds_up(seconds)
    assert 0 <= Fraction(short, 2**16) - Fraction(seconds) < Fraction(1, 2**16)


@pytest.mark.parametrize(
    "seconds", [-1e-300, -1.0, math.nan, math.inf, -math.inf, 65_536.0, math.nextafter(ntp64.SHORT_MAX_S, math.inf)]
)
def test_seconds_that_no_short_holds_are_refused_not_saturated(seconds: float) -> None:
    with pytest.raises(OutOfRangeMisuse):
        ntp64.short_from_seconds_up(seconds)


def test_the_smallest_delay_rounds_up_to_one_unit() -> None:
    assert ntp64.short_from_seconds_up(5e-324) == 1
    assert ntp64.short_from_seconds_up(0.0) == 0
    assert ntp64.short_from_seconds_up(ntp64.SHORT_MAX_S) == 2**32 - 1


@pytest.mark.parametrize("short", [-1, 2**32, 1.5])
def test_a_short_that_is_not_32_bits_is_refused(short: int) -> None:
    with pytest.raises(OutOfRangeMisuse):
        ntp64.short_to_seconds(short)
