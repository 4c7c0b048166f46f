"""A run that observes: nothing is ever steered, UTC is stated as predicted within its bound, and it all replays."""

import json
from dataclasses import replace
from functools import lru_cache

import pytest
from tests.laboratory import rigs
from tests.laboratory.rigs import Rig

from truechimer.alerts import AlertKind
from truechimer.errors import Misuse, Rejected
from truechimer.laboratory.replay import replay
from truechimer.laboratory.run_start import RunStart, decode, encode
from truechimer.quorum.verified import Verified
from truechimer.serve.clock_page import ServiceState
from truechimer.serve.served_time import ServedTime, Unsynchronised, serve_at
from truechimer.sim import What

STEERING_KINDS = {"coordination-start", "steer"}
WATCHING = {"observe": True, "policy": None, "envelope": None}


def watching(of: RunStart) -> RunStart:
    return replace(of, observe=True, policy=None, envelope=None)


@lru_cache(maxsize=2)
def _observed(seed: int) -> Rig:
    of = rigs.scenario()
    return Rig.begin(of, seed=seed, start=watching(rigs.start_of(of))).history().live(3)


def observed(seed: int = 1) -> Rig:
    """A laboratory that was observed from its first epoch on, for two days."""
    return _observed(seed).fork()


def kinds(log: list[bytes]) -> set[str]:
    return {json.loads(data)["kind"] for data in log}


def test_nothing_is_steered_and_utc_is_stated_within_its_bound() -> None:
    rig = observed().live(36)
    assert not kinds(rig.log) & STEERING_KINDS
    assert rig.last.service is ServiceState.FREERUN
    assert rig.last.missing == ()
    assert rig.last.page is not None
    assert rig.is_true()
    assert rig.last.bound is not None
    assert rig.last.bound.terms.limit_steering_s == 0.0
    # the same clocks and sources in service: the statement is as tight, but for what is still being steered out
    served = rigs.steered().live(36)
    assert served.last.bound is not None
    terms = served.last.bound.terms
    assert rig.last.bound.scale_bound_s == pytest.approx(
        served.last.bound.scale_bound_s - terms.limit_steering_s, rel=1e-9
    )


def test_the_scale_is_the_same_whether_it_is_observed_or_steered() -> None:
    at_service, at_watching = rigs.steered().live(4), observed().live(4)
    assert at_service.last.step.x_clock_minus_scale_s.tolist() == at_watching.last.step.x_clock_minus_scale_s.tolist()


def test_before_the_rate_is_known_nothing_is_stated() -> None:
    of = rigs.scenario(days=0.02)
    rig = Rig.begin(of, start=watching(rigs.start_of(of))).history().live(4)
    assert rig.last.service is ServiceState.ACQUIRING
    assert rig.last.page is None


def test_a_door_that_read_such_a_page_would_still_say_unsynchronised() -> None:
    page = observed().live(1).last.page
    assert page is not None
    assert isinstance(serve_at(page, page.anchor_raw_ns), Unsynchronised)
    told = serve_at(page, page.anchor_raw_ns, freerun_allowed=True)
    assert isinstance(told, ServedTime)
    assert told.bound_s == page.bound_s
    late = serve_at(page, page.valid_until_raw_ns + 1, freerun_allowed=True)
    assert isinstance(late, Unsynchronised)
    acquiring = replace(page, state=ServiceState.ACQUIRING)
    assert isinstance(serve_at(acquiring, page.anchor_raw_ns, freerun_allowed=True), Unsynchronised)


def test_without_fresh_values_the_prediction_coasts_in_holdover_with_a_growing_bound() -> None:
    rig = observed()
    rig.meddle = lambda readings: [one for one in readings if not one.a.startswith("UTC")]
    rig.live(12)
    assert rig.words[-1] is ServiceState.HOLDOVER
    assert rig.last.page is not None
    assert rig.is_true()
    bounds = [one.out.bound.bound_s for one in rig.seen if one.out.bound is not None]
    assert bounds[-1] > bounds[0]


def test_a_liar_is_named_and_not_followed() -> None:
    of = rigs.scenario(rigs.event(What.PHASE_STEP, "UTC.S", at_s=900.0, magnitude=2e-6))
    rig = Rig.begin(of, start=watching(rigs.start_of(of))).history().live(12)
    assert any("UTC.S" in alert.subject for alert in rig.alerts(AlertKind.LINK_OUTVOTED))
    assert rig.last.service is ServiceState.FREERUN
    assert rig.is_true()


def test_observing_asks_for_no_envelope_and_never_says_one_expired() -> None:
    rig = observed().live(2)
    assert not rig.alerts(AlertKind.ENVELOPE_EXPIRED)
    assert not rig.alerts(AlertKind.ENVELOPE_EXPIRING)


@pytest.mark.parametrize("restarts", [("service", "observe", "service"), ("observe", "observe")])
def test_service_and_observation_follow_each_other_in_one_log_that_replays(restarts: tuple[str, ...]) -> None:
    rig = observed()
    service = rigs.start_of(rigs.scenario())
    for mode in restarts:
        if mode == "service":
            rig.again(observe=False, policy=service.policy, envelope=service.envelope).live(2)
            assert rig.last.service is ServiceState.STEERED
        else:
            rig.again(**WATCHING).live(2)
            assert rig.last.service is ServiceState.FREERUN
            assert rig.last.page is not None
    assert rig.is_true()
    assert [json.loads(data)["kind"] for data in rig.log].count("coordination-start") == ("service" in restarts)
    again = replay(rig.log)
    assert again.difference is None
    assert again.compared == len(rig.log)


def test_watching_for_a_while_opens_no_new_account_and_moves_no_coordination() -> None:
    rig = rigs.steered().live(20)
    before = rig.state
    assert before.applied is not None
    rig.again(**WATCHING).live(20)
    held = rig.state
    assert (held.coordination, held.applied, held.limits) == (before.coordination, before.applied, before.limits)
    assert rig.seen[20].out.service is ServiceState.FREERUN, "the rate is known: it was in service"
    service = rigs.start_of(rigs.scenario())
    rig.again(observe=False, policy=service.policy, envelope=service.envelope)
    assert rig.state.applied == before.applied
    assert isinstance(rig.state.limits, Verified)
    rig.live(3)
    assert rig.last.service is ServiceState.STEERED
    assert rig.is_true()


def test_a_boot_takes_the_statement_away_until_the_host_is_known_again() -> None:
    rig = observed().again(same_boot=False)
    rig.live(1)
    assert rig.last.page is None
    rig.live(2)
    assert rig.last.service is ServiceState.FREERUN
    assert rig.last.page is not None
    assert rig.is_true()


def test_run_start_of_an_observation_comes_back_as_it_was_and_holds_no_policy() -> None:
    start = watching(rigs.start_of(rigs.scenario()))
    body = encode(start)
    assert body["observe"] is True
    assert not {"policy", "envelope", "envelope_signatures"} & set(body)
    assert decode(body) == start
    assert "observe" not in encode(rigs.start_of(rigs.scenario())), "logs of earlier versions still replay"


def test_a_run_in_service_without_a_policy_is_refused() -> None:
    start = rigs.start_of(rigs.scenario())
    with pytest.raises(Misuse):
        replace(start, policy=None, envelope=None)
    with pytest.raises(Misuse):
        replace(start, observe=True)
    body = encode(watching(start))
    del body["observe"]
    with pytest.raises(Rejected):
        decode(body)
