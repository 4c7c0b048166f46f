"""Smear: a leap second dealt out from noon to noon, exact, without a step, and said by every answer."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serve.pages import ANCHOR_RAW_NS, ANCHOR_TAI_S, NS, a_page

from truechimer.instants import FS_PER_S
from truechimer.serve import ClockPage
from truechimer.serve.ntp import packet, server, smear
from truechimer.serve.ntp.client import make_request
from truechimer.serve.rx_stamp import RxStamp, StampKind
from truechimer.serve.served_time import (
    LeapIndicator,
    ServedTime,
    Unsynchronised,
    serve_at,
    tai_fs_at,
    tai_minus_ntp_at,
    tai_minus_utc_at,
)

LEAP_S = ANCHOR_TAI_S + 86_400


def page_of(step_s: int, **changes: object) -> ClockPage:
    """A page that names a leap second a day after its anchor, and stays valid over it."""
    fields = {"next_leap_tai_s": LEAP_S, "next_tai_minus_utc_s": 37 + step_s, "rate": 0.0, "bound_growth": 1e-8}
    valid = {"valid_until_raw_ns": ANCHOR_RAW_NS + 400_000 * NS}
    return a_page(**(fields | valid | changes))


def raw_of(tai_s: float, page: ClockPage) -> int:
    """The raw value at which a page of rate zero is at a TAI second."""
    return page.anchor_raw_ns + round((tai_s * FS_PER_S - page.anchor_tai_fs) / 10**6)


def count_fs(page: ClockPage, raw_ns: int) -> int:
    """What a door counts: TAI less its offset, fs."""
    tai_fs = tai_fs_at(page, raw_ns)
    return tai_fs - tai_minus_ntp_at(page, tai_fs) * FS_PER_S


@pytest.mark.parametrize("step_s", [1, -1])
def test_from_noon_to_noon_the_count_is_86400_seconds_and_the_seconds_are_all_alike(step_s: int) -> None:
    page = page_of(step_s)
    over = smear.window(page)
    assert over is not None
    assert over.length_s == 86_400 + step_s
    # noon of the day that ends in the leap, and of the next
    assert (over.begins_tai_s, over.ends_tai_s) == (LEAP_S - 43_200 - step_s, LEAP_S + 43_200)
    first = count_fs(smear.bent(page, raw_of(over.begins_tai_s, page)).page, raw_of(over.begins_tai_s, page))
    for part in (0.0, 0.123, 0.5, 0.77, 1.0):
        raw = raw_of(over.begins_tai_s + part * over.length_s, page)
        tai_fs = tai_fs_at(page, raw)
        since = Fraction(tai_fs - over.begins_tai_s * FS_PER_S, over.length_s * FS_PER_S)
        counted = count_fs(smear.bent(page, raw).page, raw)
        wanted = over.begins_tai_s * FS_PER_S - 37 * FS_PER_S + since * 86_400 * FS_PER_S
        assert abs(counted - wanted) < 100, "femtoseconds"
        assert counted >= first


@pytest.mark.parametrize("step_s", [1, -1])
@given(part=st.floats(-0.2, 1.2), rate=st.floats(-1e-4, 1e-4))
def test_no_step_no_warning_and_the_bound_holds_utc(step_s: int, part: float, rate: float) -> None:
    page = page_of(step_s)
    over = smear.window(page)
    assert over is not None
    raw = raw_of(over.begins_tai_s + part * over.length_s, page)
    page = replace(page, anchor_raw_ns=raw, anchor_tai_fs=tai_fs_at(page, raw), rate=rate)
    found = smear.bent(page, raw)
    later = smear.bent(page, raw + 1_000_000)
    moved = count_fs(later.page, raw + 1_000_000) - count_fs(found.page, raw)
    assert moved == pytest.approx(1e12, rel=1.2e-4), "a millisecond is a millisecond, at either end as well"
    assert found.page.next_leap_tai_s is None
    served = serve_at(found.page, raw, bound_limit_s=1e-6 + found.extra_s)
    assert isinstance(served, ServedTime)
    assert served.leap is LeapIndicator.NONE
    tai_fs = tai_fs_at(page, raw)
    utc_fs = tai_fs - tai_minus_utc_at(page, tai_fs) * FS_PER_S
    off_s = (count_fs(found.page, raw) - utc_fs) / FS_PER_S
    assert off_s == pytest.approx(found.served_minus_utc_s, abs=1e-12)
    assert abs(off_s) <= served.bound_s
    assert abs(off_s) < 0.50001
    # the door's own limit is for what is known of UTC, not for how far the smear is from it
    assert isinstance(serve_at(found.page, raw, bound_limit_s=1e-7 + found.extra_s), Unsynchronised)


def test_an_answer_says_that_it_smears_by_its_reference_and_its_dispersion() -> None:
    page = page_of(1)
    raw = raw_of(LEAP_S - 10, page)
    found = smear.bent(page, raw)
    served = serve_at(found.page, raw, bound_limit_s=1e-3 + found.extra_s)
    rx = RxStamp(raw, StampKind.KERNEL, 0.0)
    reply = server.respond(make_request(1), server.Client("192.0.2.1", 123), rx=rx, served=served, precision_log2=-24)
    assert isinstance(reply, server.Reply)
    header = packet.decode(reply.with_transmit(server.transmit_stamp(reply, raw, last=0)))
    assert header is not None
    assert header.leap == 0
    told_s = smear.smeared_by(header.refid)
    assert told_s == pytest.approx(found.served_minus_utc_s, abs=2**-22)
    assert told_s == pytest.approx(-0.4999, abs=1e-3)
    assert header.root_dispersion >> 16 == 0
    assert header.root_dispersion / 65_536 >= 0.4998
    # half a day later it is ahead, as UTC has counted a second twice
    assert smear.bent(page, raw_of(LEAP_S + 10, page)).served_minus_utc_s == pytest.approx(0.4999, abs=1e-3)


def test_far_from_a_leap_second_the_page_is_the_page() -> None:
    page = a_page()
    assert smear.bent(page, ANCHOR_RAW_NS) == smear.Bent(page)
    assert smear.window(page) is None
    named = page_of(1)
    early = smear.bent(named, ANCHOR_RAW_NS)
    assert early.page == replace(named, next_leap_tai_s=None, next_tai_minus_utc_s=None)
    late = smear.bent(named, raw_of(LEAP_S + 43_200, named))
    assert (late.page.tai_minus_utc_s, late.page.next_leap_tai_s, late.extra_s) == (38, None, 0.0)


def test_a_simulated_time_stays_named_so() -> None:
    page = page_of(1, simulated=True, refid=b"SIM\0")
    assert smear.bent(page, raw_of(LEAP_S, page)).page.refid == b"SIM\0"


@pytest.mark.parametrize("off_s", [0.0, 0.5, -0.5, 1e-6, -1.999, 1.999])
def test_a_reference_identifier_goes_there_and_back(off_s: float) -> None:
    octets = smear.refid(off_s)
    assert octets[0] == 254
    assert smear.smeared_by(octets) == pytest.approx(off_s, abs=2**-23)
    assert smear.smeared_by(b"GPS\0") is None
    assert smear.smeared_by(b"") is None
