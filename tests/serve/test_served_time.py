"""What may be served from a page at a value of the raw counter, and why not."""

import dataclasses
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serve.pages import ANCHOR_RAW_NS, ANCHOR_TAI_S, LEAP_EXPIRES_TAI_S, NS, a_leap_page, a_page

from truechimer.instants import FS_PER_S, LeapTable, UtcLabel, ntp64, to_utc
from truechimer.instants.leap_table import LeapEntry
from truechimer.serve import (
    LeapIndicator,
    PageUnreadable,
    ServedTime,
    ServiceState,
    Unsynchronised,
    WhyUnsynchronised,
    serve_at,
)
from truechimer.serve.served_time import leap_indicator_at, tai_fs_at, tai_minus_ntp_at, tai_minus_utc_at

MJD_OF_LEAP = 61041  # 2026-01-01 begins with the new offset


def leap_table(inserted_s: int) -> LeapTable:
    """Return a table with the leap that `a_leap_page` announces, for the room `instants` to judge by."""
    return LeapTable(
        (LeapEntry(57754, 37), LeapEntry(MJD_OF_LEAP, 37 + inserted_s)), None, UtcLabel(MJD_OF_LEAP + 100, 0, 0), "test"
    )


@given(elapsed_ns=st.integers(-NS, 600 * NS), rate=st.floats(-1e-4, 1e-4))
def test_served_tai_is_the_exact_line_to_a_femtosecond(elapsed_ns: int, rate: float) -> None:
    page = a_page(rate=rate)
    exact = page.anchor_tai_fs + Fraction(elapsed_ns * 10**6) * (1 + Fraction(rate))
    assert abs(tai_fs_at(page, ANCHOR_RAW_NS + elapsed_ns) - exact) <= 1


def test_a_steered_page_is_served_with_its_own_words() -> None:
    served = serve_at(a_page(), ANCHOR_RAW_NS + 7 * NS)
    assert isinstance(served, ServedTime)
    assert served.state is ServiceState.STEERED
    assert served.tai_minus_utc_s == 37
    assert served.leap is LeapIndicator.NONE
    assert served.u_s == 20e-9
    assert served.coverage == 0.9973
    assert not served.simulated


@pytest.mark.parametrize("elapsed_s", [-1, 0, 1, 60, 600])
def test_the_bound_grows_away_from_the_anchor(elapsed_s: int) -> None:
    served = serve_at(a_page(bound_growth=2e-7), ANCHOR_RAW_NS + elapsed_s * NS)
    assert isinstance(served, ServedTime)
    assert served.bound_s == pytest.approx(200e-9 + 2e-7 * abs(elapsed_s), rel=1e-12)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (ServiceState.FREERUN, WhyUnsynchronised.FREERUN),
        (ServiceState.ACQUIRING, WhyUnsynchronised.ACQUIRING),
        (ServiceState.ALARM, WhyUnsynchronised.ALARM),
    ],
)
def test_a_state_that_is_not_sure_is_unsynchronised_and_still_says_what_it_knows(
    state: ServiceState, reason: WhyUnsynchronised
) -> None:
    served = serve_at(a_page(state=state), ANCHOR_RAW_NS)
    assert isinstance(served, Unsynchronised)
    assert served.reason is reason
    assert served.instant is not None
    assert served.instant.tai_fs == a_page().anchor_tai_fs
    assert served.bound_s == 200e-9


def test_holdover_is_synchronised_until_the_listener_limit_and_not_after() -> None:
    page = a_page(state=ServiceState.HOLDOVER, bound_growth=1e-5)
    limit_s = 1e-3
    last_good_s = int((limit_s - 200e-9) / 1e-5)
    before = serve_at(page, ANCHOR_RAW_NS + last_good_s * NS, bound_limit_s=limit_s)
    after = serve_at(page, ANCHOR_RAW_NS + (last_good_s + 1) * NS, bound_limit_s=limit_s)
    assert isinstance(before, ServedTime)
    assert isinstance(after, Unsynchronised)
    assert after.reason is WhyUnsynchronised.BOUND_TOO_WIDE


def test_a_page_is_too_old_one_nanosecond_after_its_validity() -> None:
    valid_until = a_page().valid_until_raw_ns
    assert isinstance(serve_at(a_page(), valid_until), ServedTime)
    after = serve_at(a_page(), valid_until + 1)
    assert isinstance(after, Unsynchronised)
    assert after.reason is WhyUnsynchronised.PAGE_TOO_OLD


def test_an_expired_leap_table_ends_the_service_because_utc_is_no_longer_known() -> None:
    page = a_page(anchor_tai_fs=(LEAP_EXPIRES_TAI_S - 10) * FS_PER_S, rate=0.0, leap_expires_tai_s=LEAP_EXPIRES_TAI_S)
    assert isinstance(serve_at(page, ANCHOR_RAW_NS + 10 * NS - 1), ServedTime)
    after = serve_at(page, ANCHOR_RAW_NS + 10 * NS)
    assert isinstance(after, Unsynchronised)
    assert after.reason is WhyUnsynchronised.LEAP_TABLE_EXPIRED


def test_a_counter_before_the_anchor_by_more_than_a_second_has_been_restarted() -> None:
    assert isinstance(serve_at(a_page(), ANCHOR_RAW_NS - NS), ServedTime)
    after = serve_at(a_page(), ANCHOR_RAW_NS - NS - 1)
    assert after == Unsynchronised(WhyUnsynchronised.COUNTER_RESTARTED, state=ServiceState.STEERED)
    assert isinstance(after, Unsynchronised)
    assert after.instant is None  # a time from another counter is worse than none


def test_a_page_of_another_boot_is_refused_even_where_its_counter_values_fit() -> None:
    own, other = bytes(range(16)), bytes(16)
    assert isinstance(serve_at(a_page(), ANCHOR_RAW_NS, boot_id=own), ServedTime)
    for page in (a_page(boot_id=other), a_page(boot_id=b"x" * 16)):
        served = serve_at(page, ANCHOR_RAW_NS, boot_id=own)
        assert isinstance(served, Unsynchronised)
        assert served.reason is WhyUnsynchronised.COUNTER_RESTARTED


@pytest.mark.parametrize(
    ("unreadable", "reason"),
    [
        (PageUnreadable.EMPTY, WhyUnsynchronised.NO_PAGE),
        (PageUnreadable.TORN, WhyUnsynchronised.NO_PAGE),
        (PageUnreadable.UNKNOWN_VERSION, WhyUnsynchronised.PAGE_UNREADABLE),
        (PageUnreadable.OUT_OF_RANGE, WhyUnsynchronised.PAGE_UNREADABLE),
        (PageUnreadable.NOT_A_PAGE, WhyUnsynchronised.PAGE_UNREADABLE),
    ],
)
def test_no_page_is_no_time(unreadable: PageUnreadable, reason: WhyUnsynchronised) -> None:
    assert serve_at(unreadable, 0) == Unsynchronised(reason)


@pytest.mark.parametrize("inserted_s", [1, -1])
def test_the_leap_is_announced_during_the_day_that_ends_in_it_and_not_before(inserted_s: int) -> None:
    page = a_leap_page(inserted_s=inserted_s)
    assert page.next_leap_tai_s is not None
    warning = LeapIndicator.INSERT if inserted_s > 0 else LeapIndicator.DELETE
    midnight_before = (page.next_leap_tai_s - 86_400 - inserted_s) * FS_PER_S
    assert to_utc_text(midnight_before, inserted_s) == "2025-12-31T00:00:00"
    assert leap_indicator_at(page, midnight_before - 1) is LeapIndicator.NONE
    assert leap_indicator_at(page, midnight_before) is warning
    assert leap_indicator_at(page, page.next_leap_tai_s * FS_PER_S - 1) is warning
    assert leap_indicator_at(page, page.next_leap_tai_s * FS_PER_S) is LeapIndicator.NONE


@given(seconds=st.floats(-3, 3), inserted_s=st.sampled_from([1, -1]))
def test_offsets_around_a_leap_agree_with_the_leap_table(seconds: float, inserted_s: int) -> None:
    page = a_leap_page(inserted_s=inserted_s)
    assert page.next_leap_tai_s is not None
    tai_fs = page.next_leap_tai_s * FS_PER_S + round(seconds * FS_PER_S)
    instant = dataclasses.replace(serve_instant(page), tai_fs=tai_fs)
    leaps = leap_table(inserted_s)
    assert tai_minus_utc_at(page, tai_fs) == leaps.tai_minus_utc_at(instant)
    assert tai_minus_ntp_at(page, tai_fs) == ntp64.tai_minus_ntp_s(instant, leaps)


def test_without_a_coming_leap_nothing_is_announced() -> None:
    assert leap_indicator_at(a_page(), ANCHOR_TAI_S * FS_PER_S) is LeapIndicator.NONE
    assert tai_minus_ntp_at(a_page(), ANCHOR_TAI_S * FS_PER_S) == 37


def serve_instant(page):  # type: ignore[no-untyped-def]
    """Return some Instant to replace the count in."""
    served = serve_at(page, page.anchor_raw_ns)
    return served.instant


def to_utc_text(tai_fs: int, inserted_s: int) -> str:
    """Return a UTC label by the room `instants`, to the second."""
    instant = dataclasses.replace(serve_instant(a_page()), tai_fs=tai_fs)
    return to_utc(instant, leap_table(inserted_s)).isoformat(0).rstrip("Z")
