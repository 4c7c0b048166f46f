"""PTP timestamps and scaled nanoseconds: exact both ways, refused where they do not fit."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.instants import FS_PER_NS, FS_PER_S, Instant, OutOfRangeMisuse, Span, TimeTypeMisuse
from truechimer.instants.ptp_time import (
    SCALED_MAX,
    SCALED_MIN,
    SECONDS_MAX,
    PtpTime,
    PtpTimestamp,
    from_scaled_ns,
    from_timestamp,
    to_scaled_ns,
    to_timestamp,
)

LAST_FS = (SECONDS_MAX + 1) * FS_PER_S - 1


@given(st.integers(0, SECONDS_MAX), st.integers(0, 999_999_999))
def test_every_timestamp_survives_the_way_to_an_instant_and_back(seconds: int, nanoseconds: int) -> None:
    timestamp = PtpTimestamp(seconds, nanoseconds)
    assert to_timestamp(from_timestamp(timestamp)) == PtpTime(timestamp, Span(0))


@given(st.integers(0, LAST_FS))
def test_an_instant_survives_with_what_the_timestamp_could_not_hold(tai_fs: int) -> None:
    ptp = to_timestamp(Instant(tai_fs))
    assert Span(0) <= ptp.below_ns < Span(FS_PER_NS)
    assert from_timestamp(ptp.timestamp, ptp.below_ns) == Instant(tai_fs)


@given(st.integers(SCALED_MIN, SCALED_MAX))
def test_every_scaled_nanosecond_value_survives_the_way_to_a_span_and_back(scaled: int) -> None:
    span = from_scaled_ns(scaled)
    assert abs(span.fs - Fraction(scaled * FS_PER_NS, 2**16)) <= Fraction(1, 2)
    assert to_scaled_ns(span) == scaled


@given(st.integers(-(10**20), 10**20))
def test_a_span_comes_back_from_scaled_nanoseconds_within_half_a_unit(fs: int) -> None:
    back = from_scaled_ns(to_scaled_ns(Span(fs)))
    assert abs(back.fs - fs) <= FS_PER_NS / 2**17 + 1


def test_no_leap_second_enters_the_ptp_scale() -> None:
    # IEEE 1588: TAI seconds since 1970-01-01T00:00:00 TAI; 2017-01-01T00:00:00 UTC is 1483228837 of them.
    assert to_timestamp(Instant(1_483_228_837 * FS_PER_S)).timestamp == PtpTimestamp(1_483_228_837, 0)


def test_a_scaled_nanosecond_is_two_to_the_minus_sixteen_nanoseconds() -> None:
    assert to_scaled_ns(Span.from_ns(1)) == 65_536
    assert to_scaled_ns(Span(2_500_000)) == 0x28000  # IEEE 1588-2019 5.3.2: 2.5 ns
    assert from_scaled_ns(-65_536) == Span.from_ns(-1)


@pytest.mark.parametrize("fields", [(-1, 0), (SECONDS_MAX + 1, 0), (0, -1), (0, 10**9)])
def test_a_timestamp_outside_its_fields_is_refused(fields: tuple[int, int]) -> None:
    with pytest.raises(OutOfRangeMisuse):
        PtpTimestamp(*fields)


@pytest.mark.parametrize("tai_fs", [-1, LAST_FS + 1])
def test_an_instant_outside_the_field_is_refused_not_saturated(tai_fs: int) -> None:
    with pytest.raises(OutOfRangeMisuse):
        to_timestamp(Instant(tai_fs))


@pytest.mark.parametrize("scaled", [SCALED_MIN - 1, SCALED_MAX + 1])
def test_a_scaled_value_outside_64_bits_is_refused_both_ways(scaled: int) -> None:
    with pytest.raises(OutOfRangeMisuse):
        from_scaled_ns(scaled)
    with pytest.raises(OutOfRangeMisuse):
        to_scaled_ns(Span(scaled * FS_PER_NS // 2**16 + (9 if scaled > 0 else -9)))


def test_wrong_types_are_misuse() -> None:
    with pytest.raises(TimeTypeMisuse):
        PtpTimestamp(0.0, 0)  # type: ignore[arg-type]
    with pytest.raises(TimeTypeMisuse):
        from_scaled_ns(1.0)  # type: ignore[arg-type]
