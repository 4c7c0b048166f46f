"""The state word in every transition, and what is said of it once."""

import json
from dataclasses import replace

import pytest
from tests.laboratory.rigs import (
    ANCHOR_TAI_NS,
    DAY_NS,
    NS,
    Rig,
    event,
    limits_for,
    scenario,
    signed,
    start_of,
    steered,
)

from truechimer.alerts import AlertKind
from truechimer.compare.selection import NO_SOURCE
from truechimer.instants import FS_PER_NS
from truechimer.laboratory import line, service
from truechimer.laboratory.epoch_input import epoch_input
from truechimer.scale.at1 import ScaleMisuse
from truechimer.serve.clock_page import ServiceState
from truechimer.sim import What

FREERUN, ACQUIRING, STEERED = ServiceState.FREERUN, ServiceState.ACQUIRING, ServiceState.STEERED
HOLDOVER, ALARM = ServiceState.HOLDOVER, ServiceState.ALARM
OUTSIDE = ("UTC.P-H1", "UTC.Q-H1", "UTC.S-H1")


def states_recorded(rig: Rig) -> list[tuple[str, str]]:
    bodies = [json.loads(data) for data in rig.log]
    return [(body["before"], body["after"]) for body in bodies if body["kind"] == "state"]


def test_without_the_host_it_runs_free_and_says_what_is_missing() -> None:
    rig = Rig.begin(scenario(days=0.2)).history()
    assert rig.words == [FREERUN]
    assert [words.split(":")[0] for words in rig.last.missing] == ["no reading names host"]
    assert all(one.out.page is None for one in rig.seen)


def test_it_acquires_until_the_rate_is_known_then_steers() -> None:
    rig = Rig.begin(scenario(days=0.2)).history().live(200)
    assert rig.words == [FREERUN, ACQUIRING, STEERED]
    first = next(one for one in rig.seen if one.out.service is STEERED)
    assert first.out.coordination is not None
    assert rig.last.missing == ()
    assert states_recorded(rig) == [("freerun", "acquiring"), ("acquiring", "steered")]
    assert rig.is_true()


def test_it_is_steered_at_once_where_the_history_has_taught_the_rate() -> None:
    assert steered().live(1).words == [STEERED]


def test_silent_links_lead_to_holdover_and_back_and_the_bound_grows_meanwhile() -> None:
    rig = steered()
    for name in OUTSIDE:
        rig.world.inject(event(What.GAP, name, duration_s=12_000.0), at_raw_ns=rig.raw_ns + NS)
    rig.live(45)
    assert rig.words == [STEERED, HOLDOVER, STEERED]
    held = [one for one in rig.seen if one.out.service is HOLDOVER]
    bounds = [one.out.bound.scale_bound_s for one in held]
    assert bounds[-1] > bounds[0]
    assert all(one.out.order is None for one in held), "holdover holds the rate"
    assert len({one.out.coordination.y_steer for one in held}) == 1
    assert all(one.out.page is not None for one in held), "honest, not silent"
    assert rig.is_true()
    assert len(rig.alerts(AlertKind.LINK_MISSING)) == 3


def test_one_silent_link_of_three_changes_no_state() -> None:
    rig = steered()
    rig.world.inject(event(What.GAP, "UTC.Q-H1", duration_s=30_000.0), at_raw_ns=rig.raw_ns + NS)
    rig.live(40)
    assert rig.words == [STEERED]
    assert [alert.subject for alert in rig.alerts(AlertKind.LINK_MISSING)] == ["UTC.Q-H1"]


def test_a_laboratory_of_which_one_maser_is_left_goes_on_inside_its_bound() -> None:
    rig = steered()
    for name in ("H2", "H3", "H4", "C1", "C2", "C3"):
        rig.world.inject(event(What.GAP, name, duration_s=12_000.0), at_raw_ns=rig.raw_ns + NS)
    rig.live(40)
    assert rig.words == [STEERED]
    assert rig.is_true()


def test_an_expired_envelope_means_hold_and_holdover_and_a_new_one_ends_it() -> None:
    start = start_of(scenario())
    soon = limits_for(start.clocks, days=0.25)
    rig = steered()
    rig.again(envelope=signed(soon, after=rig.start.envelope))
    rig.live(80)
    assert rig.words == [STEERED, HOLDOVER]
    held = [one for one in rig.seen if one.out.service is HOLDOVER]
    assert all(one.out.order is None for one in held)
    assert len({one.out.coordination.y_steer for one in held}) == 1
    assert len(rig.alerts(AlertKind.ENVELOPE_EXPIRING)) == 1
    assert len(rig.alerts(AlertKind.ENVELOPE_EXPIRED)) == 1
    renewed = replace(limits_for(start.clocks), sequence=2)
    before = rig.state.coordination
    rig.seen.clear()
    rig.again(envelope=signed(renewed, after=rig.start.envelope)).live(2)
    assert rig.words == [STEERED]
    assert rig.state.applied.reference_y == pytest.approx(before.y_steer, abs=0.0), "its reference is the present rate"
    assert rig.is_true()


def test_an_envelope_may_forbid_the_coordinations_start() -> None:
    start = start_of(scenario())
    forbids = replace(limits_for(start.clocks), coordination_start=False)
    rig = Rig.begin(scenario(), start=replace(start, envelope=signed(forbids))).history().live(5)
    assert rig.words == [FREERUN, ACQUIRING]
    assert rig.last.coordination is None


def test_alerts_of_the_whole_quiet_run_are_none() -> None:
    rig = steered().live(100)
    assert rig.alerts() == []
    assert rig.words == [STEERED]


@pytest.mark.parametrize("back_ns", [0, 1, 600 * NS])
@pytest.mark.parametrize("step_s", [10.0, 600.0])
def test_an_epoch_that_is_not_after_the_last_one_is_a_misuse(back_ns: int, step_s: float) -> None:
    """Between two scale steps too, where the ensemble itself keeps no epoch."""
    rig = steered().live(3, step_s=step_s)
    again = epoch_input((), rig.state.register, epoch_tai_ns=rig.state.epoch_ns - back_ns)
    with pytest.raises(ScaleMisuse):
        line.step(rig.state, again, rig.config)


def test_an_epoch_without_any_reading_is_taken_and_widens_the_bound() -> None:
    rig = steered()
    rig.meddle = lambda _: ()
    rig.live(3)
    bounds = [one.out.bound.bound_s for one in rig.seen]
    assert bounds == sorted(bounds)
    assert bounds[-1] > bounds[0]
    assert rig.is_true()


def test_the_page_says_its_state_and_lives_as_long_as_silence_allows() -> None:
    rig = steered().live(2)
    page = rig.last.page
    assert page.state is STEERED
    assert page.valid_until_raw_ns - page.anchor_raw_ns == 20 * NS
    assert page.simulated
    assert page.bound_growth >= 1e-8
    assert page.bound_s == rig.last.bound.bound_s
    assert page.rate == pytest.approx(-2.5e-6, abs=1e-8)
    assert ANCHOR_TAI_NS < page.anchor_tai_fs // FS_PER_NS < ANCHOR_TAI_NS + DAY_NS


def test_a_steer_outside_the_envelope_is_refused_held_recorded_and_said() -> None:
    """The account says another rate than the coordination: the law's order is then too large a change."""
    rig = steered().live(1)
    account = replace(rig.state.applied, y=rig.state.applied.y + 5e-14)
    rig.state = replace(rig.state, applied=account, next_steer_ns=0)
    y = rig.state.coordination.y_steer
    before = len(rig.log)
    rig.live(1)
    assert rig.state.coordination.y_steer == y
    assert [alert.because for alert in rig.alerts(AlertKind.STEER_REFUSED)] == [("per-change",)]
    (refused,) = [body for data in rig.log[before:] if (body := json.loads(data))["kind"] == "steer"]
    assert refused["refused"] == "per-change"
    assert rig.is_true()


def test_a_change_of_state_while_observing_does_not_speak_of_doors_or_of_steering() -> None:
    words = [word for word in ServiceState if word is not ServiceState.STEERED]
    seen = service.Found(
        epoch_ns=1,
        interval_s=1.0,
        host_seen=True,
        claims=(),
        selection=NO_SOURCE,
        utc=None,
        started=True,
        envelope_in_force=False,
        leap_expired=False,
        divided=False,
        scale_ns=1,
        observing=True,
    )
    for after in words:
        (alert,) = service.changed(seen, ServiceState.STEERED, after)
        assert alert.says.startswith(f"the state is {after.value} now, it was steered: observing: ")
        assert "doors" not in alert.says
    assert service.changed(seen, words[0], words[0]) == ()
