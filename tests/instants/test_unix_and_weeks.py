"""Unix time with its repeated second, and satellite weeks with their rollover."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.instants.tables import EXPIRY_FS, FIRST_FS, IERS, NEGATIVE, instants_in_utc

from truechimer.instants import (
    FS_PER_NS,
    FS_PER_S,
    AmbiguousSecondRejected,
    BeforeUtcRejected,
    Instant,
    LeapTableExpiredRejected,
    NoSuchSecondRejected,
    OutOfRangeMisuse,
    Span,
    TimeTypeMisuse,
    UtcLabel,
    from_utc,
)
from truechimer.instants.repeating_count import Repeats
from truechimer.instants.unix import check_width, from_unix_ns, from_unix_s, to_unix_ns, to_unix_s
from truechimer.instants.weeks import (
    BEIDOU,
    FS_PER_WEEK,
    GALILEO,
    GPS,
    GPS_CNAV,
    WeekSystem,
    WeekTime,
    broadcast_week,
    from_week_time,
    full_week,
    to_week_time,
)

KNOWN = json.loads(
    (Path(__file__).parents[1] / "vectors" / "instants" / "known_times.json").read_text(encoding="ascii")
)
REPEATS = st.sampled_from(["23:59:59", "00:00:00"])
SYSTEMS = st.sampled_from([GPS, GPS_CNAV, GALILEO, BEIDOU])


def an_instant(text: str) -> Instant:
    return from_utc(UtcLabel.parse(text), NEGATIVE)


@pytest.mark.parametrize("row", KNOWN, ids=[row["utc"] for row in KNOWN])
def test_known_moments_have_their_unix_time(row: dict[str, object]) -> None:
    policy = "flag" if row.get("beyond_expiry") else "refuse"
    instant = from_utc(UtcLabel.parse(str(row["utc"])), IERS, beyond_expiry=policy)
    unix_s = int(str(row["unix_s"]))
    assert to_unix_s(instant, IERS, beyond_expiry=policy) == unix_s
    assert to_unix_ns(instant, IERS, beyond_expiry=policy) == unix_s * 10**9
    occurrence = "second" if ":60Z" in str(row["utc"]) else "first"
    assert from_unix_s(unix_s, IERS, occurrence=occurrence, beyond_expiry=policy) == instant


@given(instants_in_utc(), REPEATS)
def test_one_of_the_instants_that_a_count_names_is_the_one_it_came_from(instant: Instant, repeats: Repeats) -> None:
    instant = Instant(instant.tai_fs // FS_PER_NS * FS_PER_NS)
    if instant.tai_fs < FIRST_FS:
        return
    unix_ns = to_unix_ns(instant, NEGATIVE, repeats=repeats)
    named = {from_unix_ns(unix_ns, NEGATIVE, repeats=repeats, occurrence=which) for which in ("first", "second")}
    assert instant in named
    if len(named) == 1:
        assert from_unix_ns(unix_ns, NEGATIVE, repeats=repeats) == instant
    else:
        with pytest.raises(AmbiguousSecondRejected) as refused:
            from_unix_ns(unix_ns, NEGATIVE, repeats=repeats)
        assert {refused.value.first_tai_fs, refused.value.second_tai_fs} == {each.tai_fs for each in named}
        assert refused.value.second_tai_fs - refused.value.first_tai_fs == FS_PER_S


@given(st.integers(63_072_000 * 10**9, 1_800_000_000 * 10**9), REPEATS)
def test_every_count_survives_the_way_to_an_instant_and_back(unix_ns: int, repeats: Repeats) -> None:
    instant = from_unix_ns(unix_ns, NEGATIVE, repeats=repeats, occurrence="first")
    assert to_unix_ns(instant, NEGATIVE, repeats=repeats) == unix_ns


def test_linux_repeats_second_59_and_the_formula_of_posix_repeats_midnight() -> None:
    second_60 = an_instant("2016-12-31T23:59:60.5Z")
    assert to_unix_ns(second_60, IERS) == 1_483_228_799_500_000_000
    assert to_unix_ns(second_60, IERS, repeats="00:00:00") == 1_483_228_800_500_000_000
    count = 1_483_228_799_500_000_000
    assert from_unix_ns(count, IERS, occurrence="first") == an_instant("2016-12-31T23:59:59.5Z")
    assert from_unix_ns(count, IERS, occurrence="second") == second_60
    assert from_unix_ns(count, IERS, repeats="00:00:00") == an_instant("2016-12-31T23:59:59.5Z")
    midnight = count + 10**9
    assert from_unix_ns(midnight, IERS) == an_instant("2017-01-01T00:00:00.5Z")
    assert from_unix_ns(midnight, IERS, repeats="00:00:00", occurrence="first") == second_60


@pytest.mark.parametrize("repeats", ["23:59:59", "00:00:00"])
def test_a_removed_second_has_no_instant(repeats: Repeats) -> None:
    midnight_s = to_unix_s(an_instant("2028-07-01T00:00:00Z"), NEGATIVE)
    assert from_unix_s(midnight_s - 2, NEGATIVE, repeats=repeats) == an_instant("2028-06-30T23:59:58Z")
    with pytest.raises(NoSuchSecondRejected):
        from_unix_s(midnight_s - 1, NEGATIVE, repeats=repeats)


def test_unix_time_outside_the_table_is_refused() -> None:
    with pytest.raises(BeforeUtcRejected):
        from_unix_s(63_071_999, IERS)
    with pytest.raises(LeapTableExpiredRejected):
        from_unix_s(4_000_000_000, IERS)
    with pytest.raises(LeapTableExpiredRejected):
        to_unix_ns(Instant(EXPIRY_FS), NEGATIVE)
    with pytest.raises(TimeTypeMisuse):
        from_unix_s(1.5, IERS)  # type: ignore[arg-type]
    with pytest.raises(TimeTypeMisuse):
        from_unix_ns(1.5, IERS)  # type: ignore[arg-type]
    with pytest.raises(OutOfRangeMisuse):
        from_unix_s(10**9, IERS, repeats="12:00:00")  # type: ignore[arg-type]
    with pytest.raises(OutOfRangeMisuse):
        from_unix_s(10**9, IERS, occurrence="third")  # type: ignore[arg-type]


def test_a_32_bit_field_ends_in_2038() -> None:
    assert check_width(2**31 - 1, bits=32) == 2**31 - 1
    for count in (2**31, -(2**31) - 1):
        with pytest.raises(OutOfRangeMisuse):
            check_width(count, bits=32)


@pytest.mark.parametrize("row", [row for row in KNOWN if "gps_week" in row], ids=lambda row: str(row["utc"]))
def test_gps_weeks_begin_where_they_are_known_to(row: dict[str, object]) -> None:
    instant = an_instant(str(row["utc"]))
    assert to_week_time(instant) == WeekTime(int(str(row["gps_week"])), int(str(row["gps_tow_s"])) * FS_PER_S)


def test_the_other_systems_begin_where_their_documents_say() -> None:
    assert to_week_time(an_instant("1999-08-21T23:59:47Z"), GALILEO) == WeekTime(0, 0)
    assert to_week_time(an_instant("2006-01-01T00:00:00Z"), BEIDOU) == WeekTime(0, 0)
    assert GPS_CNAV.epoch == GPS.epoch


@given(SYSTEMS, st.integers(0, 20_000), st.integers(0, FS_PER_WEEK - 1))
def test_every_week_time_survives_the_way_to_an_instant_and_back(system: WeekSystem, week: int, tow_fs: int) -> None:
    week_time = WeekTime(week, tow_fs)
    assert to_week_time(from_week_time(week_time, system), system) == week_time


@given(SYSTEMS, st.integers(0, 20_000), st.integers(-511, 511), st.integers(0, FS_PER_WEEK - 1))
def test_a_cut_week_is_restored_by_any_pivot_within_half_a_cycle(
    system: WeekSystem, week: int, pivot_shift: int, tow_fs: int
) -> None:
    near = from_week_time(WeekTime(max(week + pivot_shift, 0), tow_fs), system)
    assert full_week(broadcast_week(week, system), system, near=near) == week


def test_the_rollover_of_2019_is_told_by_the_pivot() -> None:
    assert full_week(0, near=an_instant("2019-04-07T12:00:00Z")) == 2048
    assert full_week(1023, near=an_instant("2019-04-07T12:00:00Z")) == 2047
    assert full_week(0, near=an_instant("1999-08-23T00:00:00Z")) == 1024
    assert full_week(0, near=an_instant("1980-01-07T00:00:00Z")) == 0


@pytest.mark.parametrize("broadcast", [-1, 1024])
def test_a_broadcast_week_outside_its_cycle_is_refused(broadcast: int) -> None:
    with pytest.raises(OutOfRangeMisuse):
        full_week(broadcast, near=an_instant("2019-04-07T12:00:00Z"))


def test_weeks_before_week_zero_and_wrong_types_are_refused() -> None:
    with pytest.raises(OutOfRangeMisuse):
        to_week_time(GPS.epoch - Span(1))
    with pytest.raises(OutOfRangeMisuse):
        full_week(1023, near=an_instant("1980-01-07T00:00:00Z"))
    with pytest.raises(OutOfRangeMisuse):
        WeekTime(0, FS_PER_WEEK)
    with pytest.raises(TimeTypeMisuse):
        WeekTime(0, 0.5)  # type: ignore[arg-type]
    with pytest.raises(TimeTypeMisuse):
        full_week(1.0, near=GPS.epoch)  # type: ignore[arg-type]
