"""The line as a whole: states in all their turns, the coordination set once, faults that the world knows, records of
every kind.
"""

import json
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from tests.laboratory import rig

from truechimer.alerts import AlertKind
from truechimer.evidence import record as evidence
from truechimer.evidence.kinds import KINDS, NOTED
from truechimer.instants import builtin_leap_table
from truechimer.laboratory.line import EpochOutcome
from truechimer.quorum.envelope import SteeringLimits
from truechimer.scale.at1 import ScaleMisuse
from truechimer.serve.clock_page import ServiceState
from truechimer.sim import Event, What, World, WorldBatch, demo_scenario

DAYS = 6.0


def acquired(lab: rig.Lab, world: World, *, seconds: int = 30) -> list[EpochOutcome]:
    """History, then live epochs until the laboratory is steered."""
    lab.history(world)
    return [lab.take(batch) for batch in rig.live(world, seconds=seconds)]


@lru_cache(maxsize=1)
def _taught() -> tuple[World, rig.Lab, EpochOutcome]:
    scenario = rig.of_days(demo_scenario(), DAYS)
    world, lab = rig.world(scenario), rig.Lab(rig.start_of(scenario))
    return world, lab, acquired(lab, world)[-1]


def taught() -> tuple[World, rig.Lab, EpochOutcome]:
    """The demo's laboratory after its history and half a minute, made once and branched: world, laboratory, outcome."""
    world, lab, outcome = _taught()
    return world.fork(), lab.fork(), outcome


def kinds(lab: rig.Lab) -> set[str]:
    return {json.loads(data)["kind"] for data in lab.records}


def error_s(outcome: EpochOutcome, batch: WorldBatch, world: World) -> float:
    """Served minus true time at the page's own anchor: the world knows."""
    assert outcome.page is not None
    assert batch.raw_ns is not None
    return (outcome.page.anchor_tai_fs - world.true_tai_fs(batch.raw_ns)) * 1e-15


def test_history_then_live_epochs_lead_to_steered_and_the_truth_is_inside_the_bound() -> None:
    scenario = rig.of_days(demo_scenario(), DAYS)
    world, lab = rig.world(scenario), rig.Lab(rig.start_of(scenario))
    outcomes = lab.history(world)
    assert outcomes[0].service is ServiceState.FREERUN
    assert outcomes[-1].service is ServiceState.FREERUN
    assert outcomes[-1].missing == ("no reading names host: the scale cannot be brought to this machine's counter",)
    for number, batch in enumerate(rig.live(world, seconds=60)):
        outcome = lab.take(batch)
        assert outcome.service is ServiceState.STEERED
        assert outcome.missing == ()
        if number < 2:
            assert outcome.page is None, "two readings of the host give a rate that nothing has contradicted yet"
            continue
        assert outcome.page is not None
        assert outcome.bound is not None
        assert abs(error_s(outcome, batch, world)) <= outcome.page.bound_s
    assert outcome.bound.scale_bound_s <= 30e-9


def test_every_bound_is_six_sigma_and_the_limits_and_its_terms_are_all_there() -> None:
    outcome = taught()[2]
    assert outcome.bound is not None
    terms = outcome.bound.terms.as_dict()
    sigmas = [value for name, value in terms.items() if name.startswith("u_")]
    limits = [value for name, value in terms.items() if name.startswith("limit_")]
    assert len(sigmas) + len(limits) == len(terms)
    assert outcome.bound.bound_s == pytest.approx(6.0 * np.sqrt(np.sum(np.square(sigmas))) + sum(limits), rel=1e-12)
    assert terms["limit_links_s"] > 0.0
    assert terms["limit_undetected_s"] > 0.0


def test_without_outside_links_the_state_is_freerun_and_says_what_is_missing() -> None:
    scenario = rig.of_days(demo_scenario(), 1.0)
    world, lab = rig.world(scenario), rig.Lab(rig.start_of(scenario))
    lost = ("UTC.P", "UTC.Q", "UTC.S")
    lab.history(world, drop=lost)
    for batch in rig.live(world, seconds=5):
        outcome = lab.take(batch, drop=lost)
    assert outcome.service is ServiceState.FREERUN
    assert outcome.missing == ("no link reaches UTC, UTCr or UTC.<lab>: the scale runs free",)
    assert outcome.page is None


def test_a_young_laboratory_acquires_and_then_steers() -> None:
    scenario = rig.of_days(demo_scenario(), 0.0)
    world, lab = rig.world(scenario), rig.Lab(rig.start_of(scenario))
    words = []
    for batch in rig.live(world, seconds=5 * 86_400, step_s=600):
        words.append(lab.take(batch).service)
        if words[-1] is ServiceState.STEERED:
            break
    assert words[0] is ServiceState.ACQUIRING
    assert set(words) == {ServiceState.ACQUIRING, ServiceState.STEERED}


def test_silent_links_mean_holdover_with_a_growing_bound_and_their_return_means_steered_again() -> None:
    world, lab, last = taught()
    assert last.service is ServiceState.STEERED
    lost = ("UTC.P", "UTC.Q", "UTC.S")
    held, errors = [], []
    for batch in rig.live(world, first_s=600, seconds=86_400, step_s=600):
        outcome = lab.take(batch, drop=lost)
        held.append(outcome)
        assert outcome.page is not None
        errors.append(abs(error_s(outcome, batch, world)) / outcome.page.bound_s)
    assert held[-1].service is ServiceState.HOLDOVER
    assert max(errors) <= 1.0
    doubt = [one.bound.terms.u_scale_since_outside_s for one in held if one.bound is not None]
    assert len(doubt) == len(held)
    assert doubt == sorted(doubt)
    assert doubt[-1] > 2.0 * doubt[10]
    assert {alert.kind for one in held for alert in one.alerts} >= {AlertKind.LINK_MISSING}
    orders = [one.order for one in held[-40:] if one.order is not None]
    assert orders == []
    for batch in rig.live(world, first_s=90_000, seconds=3_600, step_s=600):
        outcome = lab.take(batch)
    assert outcome.service is ServiceState.STEERED


def test_an_expired_leap_table_is_an_alarm_and_says_so_once() -> None:
    scenario = rig.of_days(demo_scenario(), 1.0)
    table = builtin_leap_table()
    late = rig.ANCHOR_TAI_NS
    expires_ns = table.expires_instant.tai_fs // 10**6
    shift = late - expires_ns
    world, lab = rig.world(scenario), rig.Lab(rig.start_of(scenario))
    lab.config = replace(lab.config, leap_expires_ns=lab.config.leap_expires_ns + shift)
    outcomes = lab.history(world)
    outcomes += [lab.take(batch) for batch in rig.live(world, seconds=3)]
    words = [one.service for one in outcomes]
    assert words[-1] is ServiceState.ALARM
    assert words[0] is not ServiceState.ALARM
    said = [alert.kind for one in outcomes for alert in one.alerts]
    assert said.count(AlertKind.LEAP_TABLE_EXPIRING) == 1
    assert said.count(AlertKind.LEAP_TABLE_EXPIRED) == 1


def test_the_coordination_is_set_once_and_a_restart_resumes_it() -> None:
    world, lab, _ = taught()
    before = lab.state.coordination
    assert before is not None
    for first in (100, 200):
        lab.restart()
        assert lab.state.coordination == before
        for batch in rig.live(world, first_s=first, seconds=20):
            lab.take(batch)
    starts = [data for data in lab.records if json.loads(data)["kind"] == "coordination-start"]
    assert len(starts) == 1
    assert lab.state.coordination is not None
    served = lab.state.coordination.at(lab.state.epoch_ns)
    assert abs(served - before.at(lab.state.epoch_ns)) < 1e-9


def test_a_clock_added_at_a_restart_stands_last_and_the_scale_does_not_jump() -> None:
    whole = rig.of_days(demo_scenario(), DAYS)
    world = rig.world(whole)
    few = replace(whole, clocks=whole.clocks[:-1], links=tuple(one for one in whole.links if one.a != "R1"))
    lab = rig.Lab(rig.start_of(few))
    lab.history(world, drop=("R1",))
    last = None
    for batch in rig.live(world, seconds=20):
        last = lab.take(batch, drop=("R1",)), batch
    assert last is not None
    lab.restart(rig.start_of(whole))
    assert [clock.name for clock in lab.state.register.clocks][-2:] == ["host", "R1"]
    for batch in rig.live(world, first_s=30, seconds=20):
        outcome = lab.take(batch)
        assert outcome.service is ServiceState.STEERED
        e_before = last[1].x_clock_minus_utc_s[0] - last[0].step.x_clock_minus_scale_s[0]
        e_now = batch.x_clock_minus_utc_s[0] - outcome.step.x_clock_minus_scale_s[0]
        assert abs(e_now - e_before) < 3 * 5e-11


def test_after_a_boot_the_host_is_learned_again_and_the_coordination_stays() -> None:
    world, lab, _ = taught()
    before = lab.state.coordination
    lab.restart(same_boot=False)
    assert lab.state.host is None
    assert lab.state.coordination == before
    for batch in rig.live(world, first_s=100, seconds=30):
        outcome = lab.take(batch)
        if outcome.page is not None:
            assert abs(error_s(outcome, batch, world)) <= outcome.page.bound_s
    assert outcome.page is not None
    assert outcome.service is ServiceState.STEERED


def test_an_expired_envelope_holds_the_rate_and_means_holdover() -> None:
    scenario = rig.of_days(demo_scenario(), DAYS)
    world = rig.world(scenario)
    lab = rig.Lab(rig.start_of(scenario, envelope_days=0.5))
    assert acquired(lab, world)[-1].service is ServiceState.STEERED
    rate = lab.state.coordination.y_steer if lab.state.coordination else None
    outcomes = [lab.take(batch) for batch in rig.live(world, first_s=600, seconds=86_400, step_s=600)]
    assert outcomes[-1].service is ServiceState.HOLDOVER
    expired = [one for one in outcomes if AlertKind.ENVELOPE_EXPIRED in {alert.kind for alert in one.alerts}]
    assert len(expired) == 1
    assert all(one.order is None for one in outcomes[outcomes.index(expired[0]) :])
    assert rate is not None


def test_an_envelope_that_the_policy_does_not_bear_starts_nothing() -> None:
    scenario = rig.of_days(demo_scenario(), 3.0)
    start = rig.start_of(scenario)
    limits = SteeringLimits(
        per_change=1e-12,
        per_day_s=1e-6,
        total_s=1e-3,
        valid_from_ns=0,
        valid_until_ns=2**62,
        sequence=2,
        coordination_start=True,
    )
    forged = rig.signed(limits, bytes([1] * 32))
    world, lab = rig.world(scenario), rig.Lab(replace(start, envelope=forged))
    outcomes = acquired(lab, world)
    assert outcomes[-1].service is ServiceState.ACQUIRING
    assert lab.state.coordination is None
    assert "coordination-start" not in kinds(lab)


def test_a_20_ns_step_is_out_in_its_own_epoch_and_says_which_clock() -> None:
    event = Event(at_s=5.5 * 86_400.0, what=What.PHASE_STEP, target="H3", magnitude=20e-9, unit="s")
    scenario = replace(rig.of_days(demo_scenario(), DAYS), events=(event,))
    world, clean = rig.world(scenario), rig.world(replace(scenario, events=()))
    hit, quiet = rig.Lab(rig.start_of(scenario)), rig.Lab(rig.start_of(scenario))
    worst = 0.0
    seen = None
    for batch, pair in zip(world.history(), clean.history(), strict=True):
        a, b = hit.take(batch), quiet.take(pair)
        moved = a.step.x_pivot_minus_scale_s - b.step.x_pivot_minus_scale_s
        worst = max(worst, abs(moved))
        if seen is None and any(alert.kind is AlertKind.CLOCK_STEP for alert in a.alerts):
            seen = batch.epoch_tai_ns
            assert {alert.subject for alert in a.alerts} == {"H3"}
            assert a.step.weight[2] == 0.0
        assert not b.alerts
    assert seen is not None
    at_ns = world.start_tai_ns + round(event.at_s * 1e9)
    assert 0 <= seen - at_ns <= 600 * 10**9
    assert worst < 0.5e-9


def test_a_ramping_link_is_outvoted_by_name_and_does_not_move_the_service() -> None:
    event = Event(at_s=5.0 * 86_400.0, what=What.RAMP, target="UTC.Q-H1", magnitude=1e-12, unit="s/s")
    scenario = replace(rig.of_days(demo_scenario(), DAYS), events=(event,))
    world, clean = rig.world(scenario), rig.world(replace(scenario, events=()))
    hit, quiet = rig.Lab(rig.start_of(scenario)), rig.Lab(rig.start_of(scenario))
    named = []
    for batch, pair in zip(world.history(), clean.history(), strict=True):
        a, b = hit.take(batch), quiet.take(pair)
        named += [alert.subject for alert in a.alerts if alert.kind is AlertKind.LINK_OUTVOTED]
    assert named == ["UTC.Q-H1"]
    assert a.coordination is not None
    assert b.coordination is not None
    drift = a.coordination.at(batch.epoch_tai_ns) - b.coordination.at(batch.epoch_tai_ns)
    assert abs(drift) < 3e-9


def test_readings_that_all_fail_mean_holdover_not_a_guess() -> None:
    world, lab, _ = taught()
    names = [clock.name for clock in demo_scenario().clocks]
    for batch in rig.live(world, first_s=600, seconds=12_000, step_s=600):
        outcome = lab.take(batch, drop=names)
        if outcome.page is not None:
            assert abs(error_s(outcome, batch, world)) <= outcome.page.bound_s
    assert outcome.service is ServiceState.HOLDOVER


def test_an_epoch_before_the_last_is_our_own_fault() -> None:
    scenario = rig.of_days(demo_scenario(), 0.1)
    batches = list(rig.world(scenario).history())
    lab = rig.Lab(rig.start_of(scenario))
    lab.take(batches[3])
    with pytest.raises(ScaleMisuse):
        lab.take(batches[2])


def test_every_kind_of_record_is_made_and_is_canonical() -> None:
    event = Event(at_s=5.5 * 86_400.0, what=What.PHASE_STEP, target="H3", magnitude=20e-9, unit="s")
    scenario = replace(rig.of_days(demo_scenario(), DAYS), events=(event,))
    world, lab = rig.world(scenario), rig.Lab(rig.start_of(scenario))
    acquired(lab, world)
    chain = evidence.Chain()
    for data in lab.records:
        body, chain = evidence.read(data, chain)
        assert evidence.canonical(body) == data
    # the others are made where a pair, an order, a receiver or a publication comes: tested there
    assert kinds(lab) == set(KINDS) - NOTED - {"register", "order", "link-quality", "published"}
