"""UTC labels and the leap table: second 60, the missing second 59, the table's two ends."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.instants.tables import EXPIRY_FS, FIRST_FS, IERS, MJD_OF_NEGATIVE_LEAP, NEGATIVE, instants_in_utc

from truechimer.instants import (
    FS_PER_S,
    BeforeUtcRejected,
    Instant,
    LeapEntry,
    LeapTable,
    LeapTableExpiredRejected,
    LeapTableMisuse,
    NoSuchSecondRejected,
    OutOfRangeMisuse,
    Span,
    TimeTextRejected,
    TimeTypeMisuse,
    UtcLabel,
    from_utc,
    to_utc,
)

KNOWN = json.loads(
    (Path(__file__).parents[1] / "vectors" / "instants" / "known_times.json").read_text(encoding="ascii")
)


@pytest.mark.parametrize("row", KNOWN, ids=[row["utc"] for row in KNOWN])
def test_known_moments_have_their_published_tai(row: dict[str, object]) -> None:
    label = UtcLabel.parse(str(row["utc"]))
    policy = "flag" if row.get("beyond_expiry") else "refuse"
    instant = from_utc(label, IERS, beyond_expiry=policy)
    assert instant.tai_fs == int(str(row["tai_s"])) * FS_PER_S
    assert IERS.tai_minus_utc_at(instant) == row["tai_minus_utc_s"]
    back = to_utc(instant, IERS, beyond_expiry=policy)
    assert back == label
    assert back.isoformat(0) == row["utc"]
    assert back.beyond_expiry is bool(row.get("beyond_expiry", False))


@given(instants_in_utc())
def test_an_instant_survives_the_way_to_utc_and_back(instant: Instant) -> None:
    assert from_utc(to_utc(instant, NEGATIVE), NEGATIVE) == instant


@given(instants_in_utc(), st.integers(1, 3 * FS_PER_S))
def test_a_later_instant_has_a_later_label(instant: Instant, later_fs: int) -> None:
    later = Instant(min(instant.tai_fs + later_fs, EXPIRY_FS - 1))
    assert (to_utc(instant, NEGATIVE) < to_utc(later, NEGATIVE)) == (instant < later)


@given(instants_in_utc())
def test_the_text_of_a_label_survives_the_way_there_and_back(instant: Instant) -> None:
    label = to_utc(instant, NEGATIVE)
    assert UtcLabel.parse(label.isoformat(15)) == label
    assert UtcLabel.parse(label.isoformat(15).replace("T", " ")) == label


def test_the_leap_second_of_2016_is_counted_second_by_second() -> None:
    start = from_utc(UtcLabel.parse("2016-12-31T23:59:58Z"), IERS)
    seconds = [to_utc(start + Span.from_seconds(0.5 * step), IERS).isoformat(1) for step in range(8)]
    assert seconds == [
        "2016-12-31T23:59:58.0Z",
        "2016-12-31T23:59:58.5Z",
        "2016-12-31T23:59:59.0Z",
        "2016-12-31T23:59:59.5Z",
        "2016-12-31T23:59:60.0Z",
        "2016-12-31T23:59:60.5Z",
        "2017-01-01T00:00:00.0Z",
        "2017-01-01T00:00:00.5Z",
    ]


def test_a_negative_leap_second_leaves_out_second_59() -> None:
    start = from_utc(UtcLabel.parse("2028-06-30T23:59:57Z"), NEGATIVE)
    seconds = [to_utc(start + Span.from_ns(step * 10**9), NEGATIVE).isoformat(0) for step in range(4)]
    assert seconds == [
        "2028-06-30T23:59:57Z",
        "2028-06-30T23:59:58Z",
        "2028-07-01T00:00:00Z",
        "2028-07-01T00:00:01Z",
    ]


@pytest.mark.parametrize(
    "text", ["2028-06-30T23:59:59Z", "2028-06-30T23:59:59.5Z", "2028-06-30T23:59:60Z", "2017-12-31T23:59:60Z"]
)
def test_a_second_that_did_not_happen_has_no_instant(text: str) -> None:
    with pytest.raises(NoSuchSecondRejected) as refused:
        from_utc(UtcLabel.parse(text), NEGATIVE)
    assert refused.value.label.startswith(text[:19])


def test_before_1972_there_is_no_utc_of_today() -> None:
    with pytest.raises(BeforeUtcRejected):
        to_utc(Instant(FIRST_FS - 1), IERS)
    with pytest.raises(BeforeUtcRejected):
        from_utc(UtcLabel.parse("1971-12-31T23:59:59.999999999999999Z"), IERS)
    assert to_utc(Instant(FIRST_FS), IERS).isoformat(0) == "1972-01-01T00:00:00Z"


def test_beyond_its_expiry_a_table_refuses_or_flags_never_passes_over_it() -> None:
    last, first_expired = Instant(EXPIRY_FS - 1), Instant(EXPIRY_FS)
    assert not to_utc(last, NEGATIVE).beyond_expiry
    assert not to_utc(last, NEGATIVE, beyond_expiry="flag").beyond_expiry
    with pytest.raises(LeapTableExpiredRejected) as refused:
        to_utc(first_expired, NEGATIVE)
    assert "newer leap-seconds.list" in str(refused.value)
    flagged = to_utc(first_expired, NEGATIVE, beyond_expiry="flag")
    assert flagged.beyond_expiry
    assert flagged == NEGATIVE.expires
    with pytest.raises(LeapTableExpiredRejected):
        from_utc(flagged, NEGATIVE)
    assert from_utc(flagged, NEGATIVE, beyond_expiry="flag") == first_expired
    assert (NEGATIVE.is_expired(last), NEGATIVE.is_expired(first_expired)) == (False, True)


def test_a_policy_that_does_not_exist_is_refused_before_the_expiry_too() -> None:
    with pytest.raises(OutOfRangeMisuse):
        to_utc(Instant(FIRST_FS), IERS, beyond_expiry="ignore")  # type: ignore[arg-type]


def test_the_next_leap_is_the_first_entry_that_has_not_begun() -> None:
    start = NEGATIVE.start_of(NEGATIVE.entries[-1])
    assert NEGATIVE.next_leap_after(start - Span(1)) == LeapEntry(MJD_OF_NEGATIVE_LEAP, 36)
    assert NEGATIVE.next_leap_after(start) is None
    assert NEGATIVE.next_leap_after(Instant(0)) == NEGATIVE.entries[0]
    assert NEGATIVE.step_at(MJD_OF_NEGATIVE_LEAP) == -1
    assert NEGATIVE.step_at(57_754) == 1
    assert NEGATIVE.step_at(57_753) == NEGATIVE.step_at(57_755) == NEGATIVE.step_at(41_317) == 0


def test_the_difference_changes_where_the_leap_second_ends() -> None:
    start = IERS.start_of(IERS.entries[-1])
    assert IERS.tai_minus_utc_at(start - Span(1)) == 36
    assert IERS.tai_minus_utc_at(start) == 37


@pytest.mark.parametrize(
    ("entries", "expires", "index"),
    [
        ([], 60_000, None),
        ([(41_316, 10)], 60_000, 0),
        ([(41_317, 10), (41_317, 11)], 60_000, 1),
        ([(41_499, 10), (41_317, 11)], 60_000, 1),
        ([(41_317, 10), (41_499, 12)], 60_000, 1),
        ([(41_317, 10), (41_499, 10)], 60_000, 1),
        ([(41_317, 10), (41_499, 11)], 41_498, None),
    ],
)
def test_a_table_that_no_list_could_hold_is_refused(
    entries: list[tuple[int, int]], expires: int, index: int | None
) -> None:
    with pytest.raises(LeapTableMisuse) as refused:
        LeapTable(tuple(LeapEntry(*entry) for entry in entries), None, UtcLabel(expires, 0), "test")
    assert refused.value.entry == index


def test_an_entry_that_is_no_whole_number_is_refused() -> None:
    with pytest.raises(TimeTypeMisuse):
        LeapTable((LeapEntry(41_317, 10.0),), None, UtcLabel(60_000, 0), "test")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "misuse"),
    [
        ((57_754, -1, 0), OutOfRangeMisuse),
        ((57_754, 86_401, 0), OutOfRangeMisuse),
        ((57_754, 0, -1), OutOfRangeMisuse),
        ((57_754, 0, FS_PER_S), OutOfRangeMisuse),
        ((2_973_484, 0, 0), OutOfRangeMisuse),
        ((-678_576, 0, 0), OutOfRangeMisuse),
        ((57_754.0, 0, 0), TimeTypeMisuse),
        ((57_754, 0.0, 0), TimeTypeMisuse),
        ((57_754, 0, 0.0), TimeTypeMisuse),
    ],
)
def test_a_label_outside_its_fields_is_refused(fields: tuple[int, int, int], misuse: type[Exception]) -> None:
    with pytest.raises(misuse):
        UtcLabel(*fields)


def test_a_label_is_truncated_towards_the_past_never_rounded_into_the_next_second() -> None:
    label = UtcLabel.parse("2016-12-31T23:59:60.999999999999999Z")
    assert label.isoformat() == "2016-12-31T23:59:60.999999999Z" == str(label)
    assert label.isoformat(0) == "2016-12-31T23:59:60Z"
    assert (label.year, label.month, label.day, label.hour, label.minute, label.second) == (2016, 12, 31, 23, 59, 60)
    assert label.is_leap_second
    for digits in (-1, 16):
        with pytest.raises(OutOfRangeMisuse):
            label.isoformat(digits)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2016-12-31T23:59:60",  # no scale
        "2016-12-31T23:59:60+00:00",
        "2016-12-31T23:59:60.Z",
        "2016-12-31T23:59:60.1234567890123456Z",  # below the femtosecond
        "2016-12-31T23:59:60,5Z",
        "2016-12-31T23:59:61Z",
        "2016-12-31T22:59:60Z",  # second 60 belongs to 23:59
        "2016-12-31T24:00:00Z",
        "2016-12-31T23:60:00Z",
        "2017-02-29T00:00:00Z",
        "2017-00-01T00:00:00Z",
        "2017-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "+017-01-01T00:00:00Z",
        "2017-1-001T00:00:00Z",
        "2017-01-01T00:00:0 Z",
        "２017-01-01T00:00:00Z",
        "2017-01-01t00:00:00z",
        " 2017-01-01T00:00:00Z",
        "2017-01-01T00:00:00Z ",
        "2017-01-01T00:00:001Z",
    ],
)
def test_a_text_that_is_not_a_utc_time_is_refused(text: str) -> None:
    with pytest.raises(TimeTextRejected):
        UtcLabel.parse(text)


@given(st.text(max_size=40) | st.text("0123456789-T:.Z ", min_size=18, max_size=38))
def test_parsing_any_text_gives_a_label_or_a_refusal(text: str) -> None:
    try:
        label = UtcLabel.parse(text)
    except TimeTextRejected:
        return
    assert label.isoformat(15).startswith(text[:10] + "T" + text[11:19])


@given(st.integers(0, 35), st.characters())
def test_one_changed_character_never_raises_anything_else(place: int, character: str) -> None:
    text = "2016-12-31T23:59:60.123456789012345Z"
    with contextlib.suppress(TimeTextRejected):
        UtcLabel.parse(text[:place] + character + text[place + 1 :])


def test_texts_and_labels_of_another_type_are_ours_to_fix() -> None:
    with pytest.raises(TimeTypeMisuse):
        UtcLabel.parse(b"2017-01-01T00:00:00Z")  # type: ignore[arg-type]
