"""Receiver evidence: what a clean receiver does is believed, what is done to it is seen, and its readings follow."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from truechimer.compare import link_quality, receiver_epoch, receiver_quality
from truechimer.compare.link_quality import LinkQualityMisuse
from truechimer.compare.reading import Reading
from truechimer.compare.receiver_epoch import ReceiverEpoch
from truechimer.compare.receiver_quality import Limits, LinkLevel, LinkQuality, Reason
from truechimer.formats import ubx
from truechimer.instants import builtin_leap_table
from truechimer.sim.receiver_stream import Disturbance, Receiver

LEAPS = builtin_leap_table()
START_NS = 1_780_000_000 * 10**9
ANTENNA = receiver_epoch.earth_fixed(48.0, 11.0, 500.0)
QUIET, SEED = 200, 7


def judged(
    *disturbances: Disturbance, n: int = QUIET + 60, interval_s: float = 1.0, clock: bool = True, surveyed: bool = True
) -> list[LinkQuality]:
    receiver = Receiver(np.random.default_rng(SEED), LEAPS, START_NS, interval_s, disturbances=disturbances)
    state = receiver_quality.begun(ANTENNA if surveyed else None)
    out = []
    for sent in receiver.epochs(n):
        for epoch in receiver_epoch.epochs(ubx.read(sent.data)[0], LEAPS):
            x = sent.x_clock_minus_gnss_s if clock else None
            state, quality = receiver_quality.step(state, epoch, Limits(), leaps=LEAPS, x_clock_minus_gnss_s=x)
            out.append(quality)
    return out


def first(told: Sequence[LinkQuality], reason: Reason, level: LinkLevel) -> int | None:
    return next((k for k, quality in enumerate(told) if (reason, level) in quality.reasons), None)


def test_a_clean_receiver_is_believed_for_a_day() -> None:
    told = judged(n=720, interval_s=120.0)
    assert {quality.level for quality in told} == {LinkLevel.OK}
    assert told[-1].factor == 1.0


def test_what_the_receiver_says_arrives_as_figures() -> None:
    receiver = Receiver(np.random.default_rng(SEED), LEAPS, START_NS)
    (sent,) = receiver.epochs(1)
    (epoch,) = receiver_epoch.epochs(ubx.read(sent.data)[0], LEAPS)
    assert epoch.epoch_tai_ns == START_NS
    assert epoch.leap_s == 18
    assert epoch.utc_minus_gps_s == pytest.approx(4e-9, abs=1.1e-9)
    offsets = dict(epoch.x_gps_minus_s)
    assert set(offsets) == {"Galileo", "BeiDou", "GLONASS"}
    assert all(abs(x) < 1e-7 for x in offsets.values())
    assert epoch.position_m == pytest.approx(ANTENNA, abs=20.0)


def test_earth_fixed_is_wgs84() -> None:
    assert receiver_epoch.earth_fixed(0.0, 0.0, 0.0) == pytest.approx((6_378_137.0, 0.0, 0.0), abs=1e-6)
    assert receiver_epoch.earth_fixed(90.0, 0.0, 0.0) == pytest.approx((0.0, 0.0, 6_356_752.3142), abs=1e-4)


@pytest.mark.parametrize(
    ("disturbance", "reason", "within"),
    [
        (Disturbance("jam", QUIET, 15.0), Reason.JAMMED, 40),
        (Disturbance("step", QUIET, 1e-7), Reason.CLOCK_STEP, 1),
        (Disturbance("step", QUIET, -1e-7), Reason.CLOCK_DRIFT, 40),
        (Disturbance("position", QUIET, 100.0), Reason.POSITION, 20),
        (Disturbance("utc-parameters", QUIET, -1.37e-5), Reason.UTC_PARAMETERS, 1),
        (Disturbance("constellation", QUIET, 1e-7), Reason.CONSTELLATION, 40),
        (Disturbance("simulator", QUIET), Reason.SKY_TOO_EVEN, 1),
        (Disturbance("week-rollback", QUIET), Reason.DATE, 1),
        (Disturbance("leap-second", QUIET), Reason.LEAP_SECOND, 1),
    ],
)
def test_what_is_done_to_a_receiver_is_refused_with_its_reason(
    disturbance: Disturbance, reason: Reason, within: int
) -> None:
    told = judged(disturbance)
    assert {quality.level for quality in told[:QUIET]} == {LinkLevel.OK}
    seen = first(told, reason, LinkLevel.REFUSED)
    assert seen is not None
    assert QUIET <= seen < QUIET + within
    assert told[-1].level is LinkLevel.REFUSED


def test_a_drag_leaves_the_reference_behind_and_is_not_followed() -> None:
    told = judged(Disturbance("drag", 2_000.0, 1e-9 / 60.0), n=1_000, interval_s=10.0)
    seen = first(told, Reason.CLOCK_DRIFT, LinkLevel.REFUSED)
    assert seen is not None
    assert 200 < seen < 200 + 300
    assert told[-1].level is LinkLevel.REFUSED
    assert abs(told[-1].figures["clock_off_s"]) > 1e-7


def test_a_date_that_leads_back_is_refused_for_as_long_as_it_does() -> None:
    told = judged(Disturbance("week-rollback", QUIET, 0.0, QUIET + 150.0), n=QUIET + 300)
    assert {quality.level for quality in told[QUIET : QUIET + 150]} == {LinkLevel.REFUSED}
    assert told[-1].level is LinkLevel.OK


def test_a_reason_stands_for_a_while_and_clears_when_the_link_agrees_again() -> None:
    told = judged(Disturbance("position", QUIET, 100.0, QUIET + 60.0), n=QUIET + 400)
    assert told[QUIET + 120].level is not LinkLevel.OK
    assert told[-1].level is LinkLevel.OK


def test_without_a_clock_of_the_laboratory_a_step_is_not_forgiven_by_patience() -> None:
    told = judged(Disturbance("step", QUIET, 1e-7), n=QUIET + 400, clock=False)
    assert told[-1].reasons == ((Reason.CLOCK_STEP, LinkLevel.REFUSED),)


def test_without_a_survey_the_antenna_is_learned() -> None:
    told = judged(Disturbance("position", QUIET, 100.0), surveyed=False)
    assert first(told, Reason.POSITION, LinkLevel.REFUSED) is not None


def test_the_receivers_own_flag_is_doubt_and_its_certainty_refusal() -> None:
    epoch = ReceiverEpoch(epoch_tai_ns=START_NS, spoofing=2, jamming=1)
    for flag, level in ((1, LinkLevel.OK), (2, LinkLevel.DOUBTFUL), (3, LinkLevel.REFUSED)):
        state = receiver_quality.begun(None)
        assert receiver_quality.step(state, replace(epoch, spoofing=flag), Limits(), leaps=LEAPS)[1].level is level


def test_the_laboratorys_own_time_denies_a_wrong_date_from_the_first_epoch() -> None:
    epoch = ReceiverEpoch(epoch_tai_ns=START_NS - 1_024 * receiver_epoch.WEEK_NS)
    state = receiver_quality.begun(None)
    _, quality = receiver_quality.step(state, epoch, Limits(), leaps=LEAPS, heard_tai_ns=START_NS)
    assert quality.reasons == ((Reason.DATE, LinkLevel.REFUSED),)
    assert quality.epoch_tai_ns == START_NS


def test_a_receiver_that_says_nothing_but_the_date_is_not_refused_for_it() -> None:
    state = receiver_quality.begun(None)
    _, quality = receiver_quality.step(state, ReceiverEpoch(epoch_tai_ns=START_NS), Limits(), leaps=LEAPS)
    assert quality.level is LinkLevel.OK


# ---- its link's readings --------------------------------------------------------------------------------------------


def reading(at_s: float, *, a: str = "UTC.gnss", b: str = "host") -> Reading:
    return Reading(epoch_tai_ns=START_NS + round(at_s * 1e9), a=a, b=b, x_a_minus_b_s=1e-9, u_s=2e-9)


def quality(at_s: float, level: LinkLevel) -> LinkQuality:
    reasons = () if level is LinkLevel.OK else ((Reason.JAMMED, level),)
    return LinkQuality(START_NS + round(at_s * 1e9), level, reasons, {})


ENDS = frozenset({"UTC.gnss", "host"})


def test_refused_readings_leave_and_doubtful_ones_have_a_larger_sigma() -> None:
    told = [quality(0, LinkLevel.OK), quality(60, LinkLevel.DOUBTFUL), quality(120, LinkLevel.REFUSED)]
    given = [reading(30), reading(90), reading(150), reading(150, a="maser1")]
    kept = link_quality.believed(given, told, ends=ENDS)
    assert [each.u_s for each in kept.readings] == [2e-9, pytest.approx(6e-9), 2e-9]
    assert [each.reading for each in kept.refused] == [given[2]]
    assert kept.refused[0].quality is told[2]
    assert (kept.doubtful, kept.unjudged) == (1, 0)


def test_the_worst_moment_of_an_average_counts() -> None:
    told = [quality(t, LinkLevel.REFUSED if t == 300 else LinkLevel.OK) for t in range(0, 900, 60)]
    assert len(link_quality.believed([reading(600)], told, ends=ENDS).refused) == 0
    assert len(link_quality.believed([reading(600)], told, ends=ENDS, span_s=780.0).refused) == 1


def test_silence_is_doubt_and_keeps_a_refusal() -> None:
    for level, refused, doubtful in ((LinkLevel.OK, 0, 1), (LinkLevel.REFUSED, 1, 0)):
        kept = link_quality.believed([reading(7_200)], [quality(0, level)], ends=ENDS)
        assert (len(kept.refused), kept.doubtful, kept.unjudged) == (refused, doubtful, doubtful)
    assert link_quality.believed([reading(0)], [], ends=ENDS).unjudged == 1


def test_qualities_out_of_order_are_a_misuse() -> None:
    with pytest.raises(LinkQualityMisuse):
        link_quality.believed([], [quality(60, LinkLevel.OK), quality(0, LinkLevel.OK)], ends=ENDS)
