"""Faults and lies of which the world knows: clocks that step, links that ramp, liars in every number, late links."""

import json
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from tests.laboratory.rigs import (
    CAESIUMS,
    MASERS,
    NS,
    OUTSIDE,
    Rig,
    event,
    limits_for,
    scenario,
    signed,
    start_of,
    steered,
)

from truechimer.alerts import AlertKind
from truechimer.clocks.clock import Clock, ClockKind
from truechimer.compare.reading import Reading
from truechimer.compare.selection import SelectionState, Verdict
from truechimer.laboratory.replay import replay
from truechimer.serve.clock_page import ServiceState
from truechimer.sim import What

STEERED, HOLDOVER = ServiceState.STEERED, ServiceState.HOLDOVER
STEP_S = 20e-9
QUARTER_NS = 0.25e-9
FIVE = tuple((name, 3e-10, 1e-9) for name in "PQSTV")


def apart_s(rig: Rig, other: Rig) -> float:
    """How far a fault moved the scale itself, worst over the epochs that both have seen."""
    ours = [one.out.step.x_pivot_minus_scale_s for one in rig.seen]
    theirs = [one.out.step.x_pivot_minus_scale_s for one in other.seen]
    return float(np.max(np.abs(np.array(ours) - np.array(theirs))))


def lying(names: Iterable[str], by_s: float) -> object:
    """Return what makes these sources lie by `by_s`."""
    told = {f"UTC.{name}" for name in names}

    def meddle(readings: Iterable[Reading]) -> tuple[Reading, ...]:
        return tuple(replace(r, x_a_minus_b_s=r.x_a_minus_b_s + by_s) if r.a in told else r for r in readings)

    return meddle


@pytest.mark.parametrize(
    ("name", "sign"), [(name, (-1.0) ** k) for k, name in enumerate((*MASERS[1:], *CAESIUMS))] + [("H2", -1.0)]
)
def test_a_20_ns_step_of_any_clock_is_out_before_it_moves_the_scale(name: str, sign: float) -> None:
    clean, hit = steered().live(6), steered()
    hit.world.inject(event(What.PHASE_STEP, name, magnitude=sign * STEP_S), at_raw_ns=hit.raw_ns + NS)
    hit.live(6)
    said = hit.alerts(AlertKind.CLOCK_STEP)
    assert {alert.subject for alert in said} == {name}
    assert said[0].seen_at_tai_ns == hit.seen[0].epoch_ns
    assert len(said) == 2, "suspected once, confirmed once; not at each epoch"
    assert apart_s(hit, clean) < QUARTER_NS
    assert hit.words == [STEERED]
    assert hit.is_true()


def test_a_20_ns_step_of_the_pivot_itself_is_named_and_does_not_move_the_scale() -> None:
    """Every reading moves at once, the links to UTC and the host among them; still only H1 is off."""
    clean, hit = steered().live(6), steered()
    hit.world.inject(event(What.PHASE_STEP, "H1", magnitude=STEP_S), at_raw_ns=hit.raw_ns + NS)
    hit.live(6)
    assert {alert.subject for alert in hit.alerts(AlertKind.CLOCK_STEP)} == {"H1"}
    scale = [one.out.step.x_pivot_minus_scale_s for one in hit.seen]
    quiet = [one.out.step.x_pivot_minus_scale_s for one in clean.seen]
    assert np.max(np.abs(np.array(scale) - np.array(quiet) - STEP_S)) < QUARTER_NS
    assert hit.words == [STEERED]
    assert hit.is_true()
    assert {alert.kind for alert in hit.alerts()} == {AlertKind.CLOCK_STEP}


def test_a_clock_that_stepped_comes_back_after_its_probation_and_is_said() -> None:
    rig = steered()
    rig.world.inject(event(What.PHASE_STEP, "H3", magnitude=STEP_S), at_raw_ns=rig.raw_ns + NS)
    rig.live(60)
    index = MASERS.index("H3")
    weights = [float(one.out.step.weight[index]) for one in rig.seen]
    assert weights[0] == 0.0
    assert weights[-1] > 0.0
    assert [alert.subject for alert in rig.alerts(AlertKind.CLOCK_RETURNED)] == ["H3"]
    out = [one.epoch_ns for one, weight in zip(rig.seen, weights, strict=True) if weight == 0.0]
    assert (out[-1] - out[0]) / NS >= rig.start.probation_s - 600.0
    assert rig.is_true()


def test_a_link_that_ramps_by_5_ns_a_second_is_outvoted_before_it_is_followed() -> None:
    clean, hit = steered(), steered()
    hit.world.inject(event(What.RAMP, "UTC.Q-H1", magnitude=5e-9, duration_s=600.0), at_raw_ns=hit.raw_ns + 30 * NS)
    hit.live(60, step_s=10.0)
    clean.live(60, step_s=10.0)
    said = hit.alerts(AlertKind.LINK_OUTVOTED)
    assert [alert.subject for alert in said] == ["UTC.Q-H1"]
    assert hit.last.claims[1].verdict in (Verdict.OUTVOTED, Verdict.QUARANTINED)
    assert {hit.last.claims[0].verdict, hit.last.claims[2].verdict} == {Verdict.SELECTED}
    assert hit.words == [STEERED]
    moved = [
        abs(one.page_error_s - other.page_error_s)
        for one, other in zip(hit.seen, clean.seen, strict=True)
        if one.page_error_s is not None
    ]
    assert max(moved) < 1e-9
    assert hit.is_true()


@pytest.mark.parametrize("by_s", [5e-8, -5e-8, 1e-3])
def test_two_liars_of_five_are_named_and_nothing_else_changes(by_s: float) -> None:
    rig = Rig.begin(scenario(outside=FIVE)).history().live(2)
    rig.seen.clear()
    rig.meddle = lying("QT", by_s)
    rig.live(10)
    assert {alert.subject for alert in rig.alerts(AlertKind.LINK_OUTVOTED)} == {"UTC.Q-H1", "UTC.T-H1"}
    assert len(rig.alerts()) == 2
    assert rig.words == [STEERED]
    assert rig.is_true()


@pytest.mark.parametrize("by_s", [5e-8, -5e-8, 1e-3])
def test_three_liars_of_five_make_no_majority_and_nothing_is_followed(by_s: float) -> None:
    """The laboratory's own clocks are a witness: they stand with the two."""
    rig = Rig.begin(scenario(outside=FIVE)).history().live(2)
    rig.seen.clear()
    before = rig.state.utc
    y = rig.state.coordination.y_steer
    rig.meddle = lying("PQT", by_s)
    rig.live(60)
    assert rig.words == [HOLDOVER]
    assert len(rig.alerts(AlertKind.NO_MAJORITY)) == 1
    assert rig.alerts(AlertKind.LINK_OUTVOTED) == [], "without a majority nobody is named"
    assert rig.state.utc == before
    assert rig.state.coordination.y_steer == y
    assert rig.is_true()
    rig.meddle = None
    rig.live(3)
    assert rig.last.service is STEERED


def test_a_liar_beside_a_wide_source_cannot_choose_whom_to_believe() -> None:
    """P is so noisy that it agrees with both sides; the expectation tells the sides apart, whichever way Q lies."""
    for by_s in (2.5e-8, -2.5e-8):
        rig = steered()
        rig.meddle = lying("Q", by_s)
        rig.live(6)
        assert [alert.subject for alert in rig.alerts(AlertKind.LINK_OUTVOTED)] == ["UTC.Q-H1"]
        assert rig.words == [STEERED]


def test_a_liar_that_falls_silent_has_no_vote_when_it_speaks_again() -> None:
    rig = steered()
    rig.meddle = lying("Q", 1e-6)
    rig.live(3)
    assert rig.last.claims[1].verdict in (Verdict.OUTVOTED, Verdict.QUARANTINED)
    rig.meddle = lambda readings: tuple(r for r in readings if r.a != "UTC.Q")
    rig.live(12)
    assert rig.last.claims[1].verdict is Verdict.STALE
    rig.meddle = None
    rig.live(3)
    assert rig.last.claims[1].verdict is Verdict.QUARANTINED
    assert 1 not in rig.last.selection.selected
    rig.live(round(rig.start.requalify_s / 600.0) + 1)
    assert rig.last.claims[1].verdict is Verdict.SELECTED
    assert 1 in rig.last.selection.selected


def test_the_first_vote_waits_for_every_operator() -> None:
    rig = Rig.begin(scenario(days=0.2))
    rig.meddle = lambda readings: tuple(r for r in readings if not r.a.startswith("UTC") or r.a == "UTC.S")
    rig.live(3)
    assert rig.state.utc is None
    assert rig.last.selection.state is SelectionState.NO_SOURCE
    rig.meddle = None
    rig.live(1)
    assert rig.state.utc is not None
    assert len(rig.last.selection.selected) == 3


def test_the_first_vote_does_not_wait_for_ever() -> None:
    rig = Rig.begin(scenario(days=0.2))
    rig.meddle = lambda readings: tuple(r for r in readings if not r.a.startswith("UTC") or r.a == "UTC.S")
    rig.live(5)
    assert rig.state.utc is not None
    assert rig.last.selection.selected == (2,)


def late(of: object, seconds: float) -> object:
    return replace(
        of, links=tuple(replace(one, latency_s=seconds) if one.a.startswith("UTC") else one for one in of.links)
    )


@pytest.mark.parametrize("latency_s", [900.0, 3_600.0])
def test_links_that_deliver_late_are_followed_at_their_own_epochs(latency_s: float) -> None:
    rig = Rig.begin(late(scenario(), latency_s)).history().live(30)
    assert rig.last.service is STEERED
    assert rig.is_true()
    assert rig.last.bound.scale_bound_s <= 30e-9
    assert rig.alerts(AlertKind.LINK_OUTVOTED) == []


def test_links_that_deliver_a_day_late_are_stale_and_nobody_pretends_otherwise() -> None:
    rig = Rig.begin(late(scenario(), 86_400.0)).history().live(5)
    assert rig.last.coordination is None
    assert rig.last.service is ServiceState.ACQUIRING
    assert {claim.verdict for claim in rig.last.claims} == {Verdict.STALE}


def test_a_link_that_joins_keeps_every_index_and_gets_a_claim_of_its_own() -> None:
    rig = steered()
    names = [rig.state.register.link_name(k) for k in range(len(rig.state.register.links))]
    verdicts = [claim.verdict for claim in rig.state.claims]
    rig.grow([("UTC.X", "H2"), ("H3", "H2")], {"UTC.X": "X"})

    def meddle(readings: Iterable[Reading]) -> tuple[Reading, ...]:
        known = {r.a: r for r in readings}
        p, h2, h3 = known["UTC.P"], known["H2"], known["H3"]
        return (
            *readings,
            replace(p, a="UTC.X", b="H2", x_a_minus_b_s=p.x_a_minus_b_s - h2.x_a_minus_b_s, operator="X"),
            replace(h3, b="H2", x_a_minus_b_s=h3.x_a_minus_b_s - h2.x_a_minus_b_s),
        )

    rig.meddle = meddle
    rig.live(10)
    register = rig.state.register
    assert [register.link_name(k) for k in range(len(names))] == names
    assert [register.link_name(k) for k in range(len(names), len(register.links))] == ["UTC.X-H2", "H3-H2"]
    assert [claim.verdict for claim in rig.state.claims] == [*verdicts, Verdict.SELECTED]
    assert rig.words == [STEERED]
    assert rig.alerts() == []
    assert replay(rig.log).difference is None


def test_a_redundant_link_that_contradicts_the_others_opens_a_loop_and_is_said_once() -> None:
    rig = steered().grow([("H3", "H2")])

    def meddle(readings: Iterable[Reading]) -> tuple[Reading, ...]:
        known = {r.a: r for r in readings}
        off = known["H3"].x_a_minus_b_s - known["H2"].x_a_minus_b_s + 5e-9
        return (*readings, replace(known["H3"], b="H2", x_a_minus_b_s=off))

    rig.meddle = meddle
    rig.live(5)
    assert [alert.subject for alert in rig.alerts(AlertKind.CLOSURE)] == ["H3-H2"]
    assert "+5.0" in rig.alerts(AlertKind.CLOSURE)[0].says
    assert rig.words == [STEERED]


def test_a_clock_that_is_appended_later_enters_without_a_step() -> None:
    """The same seed with and without the newcomer: the scale is the same to far less than a reading's noise."""
    without, joined = steered().live(60), steered()
    start = joined.start
    joined.again(clocks=(*start.clocks, Clock(name="H9", kind=ClockKind.MASER)), pairs=(*start.pairs, ("H9", "H1")))
    assert [clock.name for clock in joined.state.register.clocks][-2:] == ["host", "H9"]

    def meddle(readings: Iterable[Reading]) -> tuple[Reading, ...]:
        seconds = (readings[0].epoch_tai_ns - joined.world.anchor_tai_ns) / NS
        newcomer = next(r for r in readings if r.a == "H4")
        x = newcomer.x_a_minus_b_s + 3e-4 + 7e-13 * seconds
        return (*readings, replace(newcomer, a="H9", x_a_minus_b_s=x))

    joined.meddle = meddle
    joined.live(60)
    index = joined.state.register.node_index["H9"]
    weights = [float(one.out.step.weight[index]) for one in joined.seen]
    assert weights[:30] == [0.0] * 30, "its rate is learned before it votes"
    assert weights[-1] > 0.0
    assert apart_s(joined, without) < 5e-11
    assert joined.words == [STEERED]
    assert joined.is_true()
    assert replay(joined.log).difference is None


def kinds(log: list[bytes]) -> list[str]:
    return [json.loads(data)["kind"] for data in log]


def test_a_restart_in_the_same_boot_goes_on_bit_for_bit() -> None:
    unbroken, resumed = steered().live(30), steered().live(15)
    before = len(resumed.log)
    resumed.again().live(15)
    bodies = [json.loads(data) for data in resumed.log]
    others = [json.loads(data) for data in unbroken.log]
    assert bodies[before]["kind"] == "run-start"
    del bodies[before]
    assert len(bodies) == len(others)
    for ours, theirs in zip(bodies, others, strict=True):
        for body in (ours, theirs):
            del body["seq"], body["prev"]
        assert ours == theirs
    assert kinds(resumed.log).count("coordination-start") == 1


def test_after_a_boot_the_host_is_learned_again_and_the_scale_goes_on() -> None:
    rig = steered().live(2)
    coordination = rig.state.coordination
    rig.seen.clear()
    rig.again(same_boot=False)
    assert rig.state.host is None
    assert rig.state.coordination == coordination
    rig.live(6)
    assert rig.words[-1] is STEERED
    assert kinds(rig.log).count("coordination-start") == 1
    assert rig.is_true()
    assert replay(rig.log).difference is None


def host_only() -> Rig:
    """A laboratory without clocks: three servers seen from the host, whose oscillator is the scale."""
    bare = scenario(outside=())
    start = start_of(bare)
    start = replace(
        start,
        clocks=(start.clocks[-1],),
        pairs=tuple((f"UTC.{name}", "host") for name, _, _ in OUTSIDE),
        operators=tuple((f"UTC.{name}", name) for name, _, _ in OUTSIDE),
        interval_s=16.0,
        steer_time_constant_s=64.0,
        steer_interval_s=16.0,
    )
    limits = json.loads(start.envelope.file)
    assert limits["per_change"] == "2.3e-14 1"
    rig = Rig.begin(bare, start=replace(start, envelope=signed(limits_for(start.clocks))))
    for _ in rig.world.history():
        pass
    rng = np.random.Generator(np.random.PCG64(5))

    def meddle(readings: Iterable[Reading]) -> tuple[Reading, ...]:
        host = next(r for r in readings if r.a == "host")
        truth = (rig.world.true_tai_fs(rig.raw_ns) - host.epoch_tai_ns * 10**6) / 1e15
        return tuple(
            Reading(
                epoch_tai_ns=host.epoch_tai_ns,
                a=f"UTC.{name}",
                b="host",
                x_a_minus_b_s=truth + 1e-5 * float(rng.standard_normal()),
                u_s=1e-5,
                limit_s=1e-4,
                operator=name,
            )
            for name, _, _ in OUTSIDE
        )

    rig.meddle = meddle
    return rig


def test_a_laboratory_without_clocks_learns_its_hosts_rate_and_serves_inside_its_bound() -> None:
    rig = host_only().live(200, step_s=16.0)
    assert rig.words == [ServiceState.ACQUIRING, STEERED]
    assert rig.last.page.rate == pytest.approx(-2.5e-6, abs=2e-7)
    assert rig.is_true()
    assert kinds(rig.log).count("coordination-start") == 1
    assert replay(rig.log).difference is None


def test_a_laboratory_without_clocks_enters_again_after_a_boot_unsynchronised_until_it_has() -> None:
    rig = host_only().live(200, step_s=16.0)
    rig.again(same_boot=False)
    before = len(rig.seen)
    rig.live(200, step_s=16.0)
    words = [one.out.service for one in rig.seen[before:]]
    assert words[0] is ServiceState.ACQUIRING
    assert words[-1] is STEERED
    assert set(words) == {ServiceState.ACQUIRING, STEERED}
    assert all(one.out.page is None or one.out.page.state is one.out.service for one in rig.seen[before:])
    steered_pages = [one for one in rig.seen[before:] if one.out.service is STEERED]
    assert all(abs(one.page_error_s) <= one.out.page.bound_s for one in steered_pages)
    assert replay(rig.log).difference is None
