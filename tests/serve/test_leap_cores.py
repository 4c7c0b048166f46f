"""What PTP, Roughtime and DCF77 would say of the time served: read back by readers of the test's own."""

import struct
from typing import Any

import pytest

from truechimer.daemon import leap_rehearsal
from truechimer.errors import Misuse
from truechimer.instants import FS_PER_S, UtcLabel, builtin_leap_table
from truechimer.instants.mjd import from_calendar
from truechimer.serve.ntp import smear
from truechimer.serve.ptp import announce
from truechimer.serve.radio import dcf77
from truechimer.serve.radio.dcf77 import Mark
from truechimer.serve.served_time import LeapIndicator, ServedTime, Unsynchronised, WhyUnsynchronised, serve_at

IDENTITY = bytes(range(8))


def read_dcf77(marks: tuple[Mark, ...]) -> dict[str, Any]:
    """Read a minute as a receiver does: weights 1 2 4 8 10 20 40 80, even parities."""

    def number(first: int, last: int) -> int:
        weights = (1, 2, 4, 8, 10, 20, 40, 80)
        return sum(weights[k - first] for k in range(first, last + 1) if marks[k] is Mark.ONE)

    for first, last in ((21, 28), (29, 35), (36, 58)):
        assert sum(mark is Mark.ONE for mark in marks[first : last + 1]) % 2 == 0
    assert marks[0] is Mark.ZERO
    assert marks[20] is Mark.ONE
    assert {marks[17], marks[18]} == {Mark.ZERO, Mark.ONE}
    when = (2000 + number(50, 57), number(45, 49), number(36, 41), number(29, 34), number(21, 27))
    return {"when": when, "weekday": number(42, 44), "summer": marks[17] is Mark.ONE, "change": marks[16] is Mark.ONE}


@pytest.mark.parametrize(
    ("utc", "told", "weekday", "summer", "change"),
    [
        ("2026-11-22T20:14:00Z", (2026, 11, 22, 21, 15), 7, False, False),
        ("2026-07-01T21:59:00Z", (2026, 7, 2, 0, 0), 4, True, False),
        ("2026-12-31T22:59:00Z", (2027, 1, 1, 0, 0), 5, False, False),
        ("2026-03-29T00:58:00Z", (2026, 3, 29, 1, 59), 7, False, True),
        ("2026-03-29T00:59:00Z", (2026, 3, 29, 3, 0), 7, True, True),
        ("2026-03-29T01:00:00Z", (2026, 3, 29, 3, 1), 7, True, False),
        ("2026-10-25T00:30:00Z", (2026, 10, 25, 2, 31), 7, True, True),
    ],
)
def test_a_minute_tells_the_civil_time_of_the_next(
    utc: str, told: tuple[int, ...], weekday: int, summer: bool, change: bool
) -> None:
    marks = dcf77.encode_minute(UtcLabel.parse(utc), seconds=60, leap_within_hour=False)
    assert len(marks) == 60
    assert marks[59] is Mark.NONE
    assert read_dcf77(marks) == {"when": told, "weekday": weekday, "summer": summer, "change": change}
    assert marks[19] is Mark.ZERO


def test_the_minute_of_a_leap_second_has_its_mark_in_second_59_and_none_in_60() -> None:
    last = UtcLabel.parse("2016-12-31T23:59:00Z")
    marks = dcf77.encode_minute(last, seconds=61, leap_within_hour=True)
    assert (len(marks), marks[59], marks[60], marks[19]) == (61, Mark.ZERO, Mark.NONE, Mark.ONE)
    assert read_dcf77(marks)["when"] == (2017, 1, 1, 1, 0)
    assert len(dcf77.encode_minute(last, seconds=59, leap_within_hour=False)) == 59
    with pytest.raises(Misuse):
        dcf77.encode_minute(UtcLabel.parse("2016-12-31T23:59:01Z"), seconds=60, leap_within_hour=False)


def test_an_announce_message_is_64_octets_in_the_standards_places() -> None:
    what = announce.Announced(
        current_utc_offset_s=37,
        utc_offset_valid=True,
        leap61=True,
        leap59=False,
        time_traceable=True,
        frequency_traceable=True,
        clock_class=6,
        clock_accuracy=0x21,
        origin=None,
    )
    octets = announce.encode(what, clock_identity=IDENTITY, sequence=65_537, priority1=7, domain=24)
    assert len(octets) == 64
    assert octets[0] & 0x0F == 0x0B
    assert struct.unpack_from(">H", octets, 2) == (64,)
    assert octets[4] == 24
    assert octets[6:8] == bytes([0, 0x01 | 0x04 | 0x08 | 0x10 | 0x20])
    assert octets[20:30] == IDENTITY + b"\0\1"
    assert struct.unpack_from(">H", octets, 30) == (1,)
    assert struct.unpack_from(">h", octets, 44) == (37,)
    assert octets[47] == 7
    assert octets[48:50] == bytes([6, 0x21])
    assert octets[53:61] == IDENTITY
    assert octets[63] == 0x10


def test_a_time_that_must_not_be_believed_is_announced_as_that() -> None:
    what = announce.announced(Unsynchronised(WhyUnsynchronised.ACQUIRING))
    assert (what.clock_class, what.clock_accuracy, what.utc_offset_valid) == (248, 0xFE, False)
    assert what.flags == 0x08


def rows(step_s: int) -> dict[str, dict[str, Any]]:
    found = leap_rehearsal.rehearse(builtin_leap_table(), mjd=from_calendar(2027, 1, 1), step_s=step_s, around_s=4)
    return {row["utc"][8:19]: row for row in found.rows}


def test_an_inserted_second_as_each_protocol_sends_it() -> None:
    told = rows(1)
    leap = told["31T23:59:60"]
    assert leap["ntp"] == {"leap": 1, "stratum": 1, "stamp": "2026-12-31T23:59:59Z"}
    assert leap["nts"] == leap["ntp"]
    assert leap["roughtime"] == {"midp": "2026-12-31T23:59:59Z", "radi_s": 2}
    assert leap["ptp"]["current_utc_offset_s"] == 37
    assert leap["ptp"]["leap61"]
    assert leap["dcf77"]["mark"] == "no mark"
    assert leap["chrony-sock"] == {"silent": "leap-second"}
    assert leap["page"] == {"utc": "2026-12-31T23:59:60.000000000000Z", "tai_minus_utc_s": 37, "leap": 1}
    after = told["01T00:00:00"]
    assert after["ptp"]["tai_s"] == leap["ptp"]["tai_s"] + 1
    assert (after["ptp"]["current_utc_offset_s"], after["ptp"]["leap61"], after["ntp"]["leap"]) == (38, False, 0)
    assert told["30T23:59:59"]["ntp"]["leap"] == 0
    assert told["31T00:00:00"]["ntp"]["leap"] == 1
    assert not told["31T22:59:59"]["dcf77"]["leap_announced"]
    assert told["31T23:00:00"]["dcf77"]["leap_announced"]


def test_a_second_left_out_as_each_protocol_sends_it() -> None:
    told = rows(-1)
    assert "31T23:59:59" not in told
    last, after = told["31T23:59:58"], told["01T00:00:00"]
    assert after["tai_s"] == last["tai_s"] + 1
    assert (last["ntp"]["leap"], after["ntp"]["leap"]) == (2, 0)
    assert last["ptp"]["leap59"]
    assert after["ptp"]["current_utc_offset_s"] == 36
    assert after["ntp"]["stamp"] == "2027-01-01T00:00:00Z"


def test_a_day_without_a_leap_second_is_a_day_like_any_other_also_after_abolition() -> None:
    for mjd in (from_calendar(2027, 1, 1), from_calendar(2036, 1, 1), from_calendar(2036, 7, 1)):
        found = leap_rehearsal.rehearse(builtin_leap_table(), mjd=mjd, step_s=0)
        assert not found.supposed
        for row in found.rows:
            assert row["ntp"]["leap"] == row["page"]["leap"] == row["chrony-sock"]["leap"] == 0
            assert row["ntp"]["stamp"] == row["utc"] == row["roughtime"]["midp"]
            assert row["ptp"]["current_utc_offset_s"] == 37


def test_a_leap_second_comes_at_a_months_end_only() -> None:
    with pytest.raises(leap_rehearsal.RehearsalRejected, match="month"):
        leap_rehearsal.rehearse(builtin_leap_table(), mjd=from_calendar(2027, 1, 2), step_s=1)
    with pytest.raises(leap_rehearsal.RehearsalRejected, match="1972"):
        leap_rehearsal.rehearse(builtin_leap_table(), mjd=from_calendar(1970, 1, 1), step_s=1)


def test_a_page_names_a_leap_second_until_half_a_day_after_it_and_says_the_same_time() -> None:
    mjd = from_calendar(2027, 1, 1)
    table = leap_rehearsal.supposed_table(builtin_leap_table(), mjd=mjd, step_s=1)
    at_s = table.start_of(table.entries[-1]).tai_fs // FS_PER_S
    for after_s, names in ((-3_600, True), (0, True), (43_199, True), (43_200, False)):
        page = leap_rehearsal._page(table, at_s + after_s, 1e-7)
        assert (page.next_leap_tai_s == at_s) is names
        served = serve_at(page, page.anchor_raw_ns)
        assert isinstance(served, ServedTime)
        assert served.tai_minus_utc_s == (37 if after_s < 0 else 38)
        assert served.leap is (LeapIndicator.INSERT if after_s < 0 else LeapIndicator.NONE)
        # the smear goes on from where it was
        late_s = smear.bent(page, page.anchor_raw_ns).served_minus_utc_s
        assert late_s == pytest.approx(
            {-3_600: -0.4583, 0: 0.5, 43_199: 1.2e-5, 43_200: 0.0}[after_s], abs=2e-4 if names else 0.0
        )
