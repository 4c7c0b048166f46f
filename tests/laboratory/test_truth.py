"""The promise itself, over seeded worlds: every stated bound contains the true error, and is tight enough to use."""

import hashlib
import json
from functools import lru_cache

import numpy as np
import pytest
from tests.laboratory import rig as demo_rig
from tests.laboratory.rigs import Rig, scenario, steered

from truechimer.alerts import AlertSeverity
from truechimer.evidence import record as evidence
from truechimer.laboratory.replay import replay
from truechimer.sim import demo_scenario
from truechimer.steer.bound import bound
from truechimer.steer.realization import PLACED_AFTER

MEDIAN_SCALE_BOUND_S = 30e-9
"""house.md section 5: the median bound of the scale, steered, in the clean simulated rig."""


def judged(rig: Rig) -> tuple[np.ndarray, np.ndarray]:
    """True errors of the served second and the bounds stated with them, over the live epochs (s)."""
    live = [one for one in rig.seen if one.page_error_s is not None and one.out.page is not None]
    return np.array([one.page_error_s for one in live]), np.array([one.out.page.bound_s for one in live])


@pytest.mark.parametrize("seed", [1, 2])
def test_every_bound_contains_the_true_error_and_the_median_is_tight(seed: int) -> None:
    rig = steered(seed=seed).live(200)
    errors, bounds = judged(rig)
    assert len(errors) == 200
    assert np.all(np.abs(errors) <= bounds)
    scale = [one.out.bound.scale_bound_s for one in rig.seen]
    assert np.median(scale) <= MEDIAN_SCALE_BOUND_S
    assert np.all(np.abs([one.error_s for one in rig.seen]) <= scale)
    assert rig.alerts() == []


def test_the_terms_that_are_published_make_the_bound_that_is_published() -> None:
    for one in steered().live(20).seen:
        assert bound(one.out.bound.terms) == one.out.bound
        assert one.out.page.bound_s == one.out.bound.bound_s


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(11, 16))
def test_ten_days_live_are_inside_their_bounds(seed: int) -> None:
    rig = Rig.begin(scenario(days=5.0), seed=seed).history().live(1_440)
    errors, bounds = judged(rig)
    assert np.all(np.abs(errors) <= bounds)
    assert np.median([one.out.bound.scale_bound_s for one in rig.seen if one.out.bound]) <= MEDIAN_SCALE_BOUND_S
    assert [alert for alert in rig.alerts() if alert.severity is not AlertSeverity.NOTICE] == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(21, 26))
def test_the_demos_laboratory_is_inside_its_bounds_after_coordination_start(seed: int) -> None:
    of = demo_rig.of_days(demo_scenario(), 12.0)
    rig = Rig.begin(of, seed=seed, start=demo_rig.start_of(of)).history().live(720)
    errors, bounds = judged(rig)
    assert len(errors) == 721 - PLACED_AFTER, "no page is made of the host's first readings"
    assert np.all(np.abs(errors) <= bounds)
    assert np.median([one.out.bound.scale_bound_s for one in rig.seen if one.out.bound]) <= MEDIAN_SCALE_BOUND_S


def test_utck_is_continuous_at_every_order_of_a_run() -> None:
    rig = steered().live(150)
    assert sum(one.out.order is not None for one in rig.seen) >= 3
    for before, now in zip(rig.seen, rig.seen[1:], strict=False):
        jump = now.out.coordination.at(now.epoch_ns) - before.out.coordination.at(now.epoch_ns)
        assert jump == pytest.approx(0.0, abs=1e-21)


def test_what_is_recorded_holds_no_float_and_replays() -> None:
    rig = steered().live(30)

    def numbers(value: object) -> bool:
        if isinstance(value, dict):
            return all(numbers(inner) for inner in value.values())
        if isinstance(value, list):
            return all(numbers(inner) for inner in value)
        return not isinstance(value, float)

    for data in rig.log:
        body = json.loads(data)
        assert numbers(body)
        assert evidence.canonical(body) == data
    again = replay(rig.log)
    assert again.difference is None
    assert again.compared == len(rig.log)
    assert again.state.chain == rig.state.chain
    assert again.state.chain.prev == hashlib.sha256(rig.log[-1]).hexdigest()


@lru_cache(maxsize=1)
def short_log() -> list[bytes]:
    return Rig.begin(scenario(days=0.01)).history().live(3).log


def hostile(log: list[bytes], kind: str, change: dict[str, object]) -> list[bytes]:
    """The log with the last record of a kind changed and its chain made right up to there."""
    at = max(k for k, data in enumerate(log) if json.loads(data)["kind"] == kind)
    body = json.loads(log[at]) | change
    return [*log[:at], evidence.canonical(body)]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("run-start", {"interval_s": "0.0 s"}),
        ("run-start", {"interval_s": "1e+308 s"}),
        ("run-start", {"interval_s": "-600.0 s"}),
        ("run-start", {"tau_weight_s": "0.0 s"}),
        ("run-start", {"interval_s": "inf s"}),
        ("run-start", {"clocks": []}),
        ("run-start", {"clocks": 7}),
        ("run-start", {"pairs": [["H2"]]}),
        ("run-start", {"operators": [["UTC.P"]]}),
        ("run-start", {"policy": "{}"}),
        ("run-start", {"policy": "[" * 5_000}),
        ("run-start", {"envelope": "\u0000"}),
        ("run-start", {"leaps": {"entries": [], "expires": "2030-01-01T00:00:00Z", "source": ""}}),
        ("readings", {"epoch_tai_ns": str(2**70)}),
        ("readings", {"epoch_tai_ns": "-1"}),
        ("readings", {"raw_ns": str(2**70)}),
        ("readings", {"x_a_minus_b_s": []}),
        ("readings", {"x_a_minus_b_s": None}),
        ("readings", {"u_s": ["1e+300 s"] * 10}),
        ("readings", {"x_a_minus_b_s": ["1e+308 s"] * 10}),
        ("readings", {"x_a_minus_b_s": ["nan s"] * 10}),
        ("readings", {"age_s": ["1e+300 s"] * 10}),
        ("readings", {"stratum": "x"}),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_hostile_value_in_a_well_chained_log_never_raises(kind: str, change: dict[str, object]) -> None:
    log = short_log()
    assert replay(log).difference is None
    found = replay(hostile(log[:1] if kind == "run-start" else log, kind, change))
    assert found.difference is not None or found.compared >= 1
