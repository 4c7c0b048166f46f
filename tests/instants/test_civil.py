"""Civil time by rules given as an argument, against a zone database's own changes."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.instants import NotADateRejected, OutOfRangeMisuse, TimeTypeMisuse, UtcLabel
from truechimer.instants.civil import (
    CivilChange,
    CivilNever,
    CivilOnce,
    CivilRules,
    CivilTime,
    CivilTwice,
    YearlyChange,
    YearlyDaylight,
    from_civil,
    next_change_after,
    to_civil,
)
from truechimer.instants.mjd import from_calendar

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "instants" / "civil_changes.json").read_text(encoding="ascii")
)
SUNDAY = 6
RULES = {
    "north, last Sunday, stated in UTC": CivilRules(
        "north, UTC",
        60,
        yearly=YearlyDaylight(
            YearlyChange(3, 5, SUNDAY, 60, clock="utc"), YearlyChange(10, 5, SUNDAY, 60, clock="utc"), 120
        ),
    ),
    "north, second Sunday, stated on the wall": CivilRules(
        "north, wall",
        -300,
        yearly=YearlyDaylight(YearlyChange(3, 2, SUNDAY, 120), YearlyChange(11, 1, SUNDAY, 120), -240),
    ),
    "south, first Sunday, stated in standard time": CivilRules(
        "south, standard",
        600,
        yearly=YearlyDaylight(
            YearlyChange(10, 1, SUNDAY, 120, clock="standard"), YearlyChange(4, 1, SUNDAY, 120, clock="standard"), 660
        ),
    ),
}
NORTH = RULES["north, last Sunday, stated in UTC"]
LABELS = st.builds(
    UtcLabel,
    st.integers(from_calendar(2009, 1, 1), from_calendar(2036, 12, 31)),
    st.integers(0, 86_400),
    st.integers(0, 999),
)


def changes_of(kind: str) -> list[tuple[UtcLabel, int]]:
    found = [(UtcLabel.parse(change["utc"]), change["offset_min"]) for change in VECTORS["rules"][kind]["changes"]]
    # The southern rule began in the middle of 2008: compare from 2009 on.
    return [(label, offset) for label, offset in found if label.year >= 2009]


@pytest.mark.parametrize("kind", RULES)
def test_thirty_years_of_changes_agree_with_the_zone_database(kind: str) -> None:
    rules = RULES[kind]
    expected = changes_of(kind)
    assert len(expected) == 58
    found = []
    at = UtcLabel(from_calendar(2009, 1, 1), 0)
    for _ in expected:
        change = next_change_after(at, rules)
        assert change is not None
        at = UtcLabel(change.mjd, 60 * change.minute_of_day)
        found.append((at, change.offset_min))
    assert found == expected


@pytest.mark.parametrize("kind", RULES)
def test_the_offset_stands_up_to_the_last_second_before_a_change(kind: str) -> None:
    rules = RULES[kind]
    for label, offset in changes_of(kind):
        before = UtcLabel(*divmod(label.mjd * 86_400 + label.second_of_day - 1, 86_400))
        assert to_civil(label, rules).offset_min == offset
        assert to_civil(before, rules).offset_min != offset
        assert to_civil(label, rules).is_daylight == (offset != rules.standard_offset_min)


@given(LABELS, st.sampled_from(list(RULES.values())))
def test_a_civil_time_with_its_offset_names_its_label(label: UtcLabel, rules: CivilRules) -> None:
    assert from_civil(to_civil(label, rules), rules) == CivilOnce(label)


@given(LABELS, st.sampled_from(list(RULES.values())))
def test_a_civil_time_without_its_offset_names_its_label_among_others(label: UtcLabel, rules: CivilRules) -> None:
    civil = to_civil(label, rules)
    wall = CivilTime(civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second, civil.fs)
    answer = from_civil(wall, rules)
    if isinstance(answer, CivilTwice):
        assert label in {answer.earlier, answer.later}
        assert answer.earlier < answer.later
    else:
        assert answer == CivilOnce(label)


def test_second_60_is_second_60_in_every_civil_time() -> None:
    leap = UtcLabel.parse("2016-12-31T23:59:60.5Z")
    assert to_civil(leap, NORTH).isoformat() == "2017-01-01T00:59:60+01:00"
    assert to_civil(leap, RULES["north, second Sunday, stated on the wall"]).isoformat() == "2016-12-31T18:59:60-05:00"
    half = CivilRules("half an hour", 330)
    assert to_civil(leap, half).isoformat() == "2017-01-01T05:29:60+05:30"
    assert from_civil(to_civil(leap, half), half) == CivilOnce(leap)


def test_a_civil_second_60_outside_the_last_utc_minute_cannot_be() -> None:
    assert from_civil(CivilTime(2017, 1, 1, 0, 58, 60), NORTH) == CivilNever(None)
    assert from_civil(CivilTime(2016, 12, 31, 23, 59, 60), NORTH) == CivilNever(None)
    assert from_civil(CivilTime(2017, 1, 1, 0, 59, 60), NORTH) == CivilOnce(UtcLabel.parse("2016-12-31T23:59:60Z"))


def test_the_hour_that_comes_twice_is_named_twice() -> None:
    twice = from_civil(CivilTime(2024, 10, 27, 2, 30, 0), NORTH)
    assert twice == CivilTwice(UtcLabel.parse("2024-10-27T00:30:00Z"), UtcLabel.parse("2024-10-27T01:30:00Z"))
    later = from_civil(CivilTime(2024, 10, 27, 2, 30, 0, offset_min=60), NORTH)
    assert later == CivilOnce(UtcLabel.parse("2024-10-27T01:30:00Z"))
    assert isinstance(from_civil(CivilTime(2024, 10, 27, 1, 59, 59), NORTH), CivilOnce)
    assert isinstance(from_civil(CivilTime(2024, 10, 27, 3, 0, 0), NORTH), CivilOnce)


def test_the_hour_that_does_not_come_names_the_change_that_skipped_it() -> None:
    never = from_civil(CivilTime(2024, 3, 31, 2, 30, 0), NORTH)
    assert never == CivilNever(CivilChange(from_calendar(2024, 3, 31), 60, 120, is_daylight=True))
    assert isinstance(from_civil(CivilTime(2024, 3, 31, 1, 59, 59), NORTH), CivilOnce)
    assert isinstance(from_civil(CivilTime(2024, 3, 31, 3, 0, 0), NORTH), CivilOnce)


def test_an_offset_that_was_not_in_force_names_nothing() -> None:
    assert from_civil(CivilTime(2024, 7, 1, 12, 0, 0, offset_min=60), NORTH) == CivilNever(None)


def test_single_changes_stand_until_the_next_one() -> None:
    day = from_calendar(2011, 12, 30)
    skipped_a_day = CivilRules(
        "across the date line",
        -660,
        changes=(CivilChange(day - 100, 0, -600, is_daylight=True), CivilChange(day, 600, 840)),
    )
    assert to_civil(UtcLabel(day - 101, 0), skipped_a_day).offset_min == -660
    assert to_civil(UtcLabel(day, 35_999), skipped_a_day).isoformat() == "2011-12-29T23:59:59-10:00"
    assert to_civil(UtcLabel(day, 36_000), skipped_a_day).isoformat() == "2011-12-31T00:00:00+14:00"
    assert from_civil(CivilTime(2011, 12, 30, 12, 0, 0), skipped_a_day) == CivilNever(skipped_a_day.changes[1])
    assert next_change_after(UtcLabel(day, 36_000), skipped_a_day) is None
    assert next_change_after(UtcLabel(day, 35_999), skipped_a_day) == skipped_a_day.changes[1]


def test_utc_itself_is_a_civil_time_without_changes() -> None:
    utc = CivilRules("UTC", 0)
    label = UtcLabel.parse("2026-11-22T03:04:05Z")
    assert to_civil(label, utc).isoformat() == "2026-11-22T03:04:05+00:00"
    assert next_change_after(label, utc) is None
    assert CivilTime(2026, 11, 22, 3, 4, 5).isoformat() == "2026-11-22T03:04:05"


@pytest.mark.parametrize("fields", [(24, 0, 0), (0, 60, 0), (0, 0, 61), (-1, 0, 0)])
def test_fields_outside_a_day_are_refused(fields: tuple[int, int, int]) -> None:
    with pytest.raises(OutOfRangeMisuse):
        from_civil(CivilTime(2024, 1, 1, *fields), NORTH)


def test_a_date_that_does_not_exist_is_refused() -> None:
    with pytest.raises(NotADateRejected):
        from_civil(CivilTime(2023, 2, 29, 0, 0, 0), NORTH)


def test_rules_that_contradict_themselves_are_refused() -> None:
    change = CivilChange(60_000, 0, 60)
    for make in (
        lambda: CivilRules("both", 0, changes=(change,), yearly=NORTH.yearly),
        lambda: CivilRules("order", 0, changes=(change, change)),
        lambda: CivilRules("range", 1_440),
        lambda: CivilRules("minute", 0, changes=(CivilChange(60_000, 1_440, 60),)),
        lambda: YearlyChange(13, 1, 0, 0),
        lambda: YearlyChange(1, 6, 0, 0),
        lambda: YearlyChange(1, 1, 7, 0),
        lambda: YearlyChange(1, 1, 0, 1_441),
        lambda: YearlyChange(1, 1, 0, 0, clock="local"),  # type: ignore[arg-type]
    ):
        with pytest.raises(OutOfRangeMisuse):
            make()
    with pytest.raises(TimeTypeMisuse):
        CivilRules("half a minute", 0.5)  # type: ignore[arg-type]
