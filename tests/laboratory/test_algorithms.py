"""The laboratory on any algorithm of the scale: it replays, restarts, moves on to another, and sees faults live."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tests.laboratory import rig

from truechimer.alerts import AlertKind
from truechimer.clocks.clock import Clock, ClockKind
from truechimer.clocks.register import host_clock
from truechimer.compare.reading import Reading
from truechimer.errors import Misuse
from truechimer.laboratory import run_start, snapshot
from truechimer.laboratory.line import EpochOutcome
from truechimer.laboratory.replay import Known, replay
from truechimer.scale import live_state
from truechimer.scale.live_state import LIVE_ALGORITHMS
from truechimer.scale.state import Membership
from truechimer.sim import Scenario, WorldBatch, demo_scenario

ROOT = Path(__file__).parents[2]
JUDGED = ("bands", "kalman")


def short(days: float = 1.0) -> Scenario:
    return rig.of_days(demo_scenario(), days)


def opened(algorithm: str, scenario: Scenario) -> rig.Lab:
    return rig.Lab(rig.start_of(scenario, envelope_days=10.0, algorithm=algorithm))


@cache
def recorded(algorithm: str) -> rig.Lab:
    """A day and a half of history, a restart, and live seconds between two scale steps."""
    scenario = short(1.5)
    world, lab = rig.world(scenario), opened(algorithm, scenario)
    lab.history(world)
    lab.restart()
    for batch in rig.live(world, seconds=12):
        lab.take(batch)
    return lab


def pushed(batch: WorldBatch, clock: str, by_s: float) -> WorldBatch:
    """The epoch as if a clock had moved."""
    readings = tuple(
        replace(one, x_a_minus_b_s=one.x_a_minus_b_s + by_s * ((one.a == clock) - (one.b == clock)))
        for one in batch.readings
    )
    return replace(batch, readings=readings)


@pytest.mark.parametrize("algorithm", JUDGED)
def test_a_run_with_a_restart_comes_out_in_the_same_bytes(algorithm: str) -> None:
    lab = recorded(algorithm)
    again = replay(lab.records)
    assert again.difference is None
    assert again.compared == len(lab.records)
    assert again.start is not None
    assert (again.start.algorithm, again.start.algorithm_version) == (algorithm, live_state.VERSIONS[algorithm])


@pytest.mark.parametrize("algorithm", JUDGED)
def test_a_snapshot_brings_the_ensemble_back_bit_for_bit(algorithm: str) -> None:
    log = recorded(algorithm).records
    before = replay(log[:-40])
    assert before.state is not None
    assert before.roots is not None
    found = snapshot.read(snapshot.encode(before.state, before.roots))
    roots = found.roots
    known = snapshot.restore(found, log.__getitem__)
    rest, whole = replay(log[found.seq :], Known(*known, roots)), replay(log)
    assert rest.difference is None
    assert rest.state is not None
    assert whole.state is not None
    assert snapshot.is_same(rest.state, whole.state)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", JUDGED)
def test_plain_and_compiled_kernels_make_the_same_bytes(algorithm: str) -> None:
    code = (
        "import hashlib; from tests.laboratory.test_algorithms import recorded; from truechimer.kernel import COMPILED;"
        f"print(COMPILED, hashlib.sha256(b''.join(recorded('{algorithm}').records)).hexdigest())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"TRUECHIMER_KERNELS": "plain", "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
    )
    compiled, digest = ran.stdout.split()
    assert compiled == "False"
    assert digest == hashlib.sha256(b"".join(recorded(algorithm).records)).hexdigest()


def offsets(outcome: EpochOutcome, batch: WorldBatch) -> float:
    """The true scale minus UTC at an epoch, through the middle one of the clocks."""
    x = np.array(batch.x_clock_minus_utc_s)
    return float(np.nanmedian(x - outcome.step.x_clock_minus_scale_s[: len(x)]))


def test_the_scale_does_not_step_where_the_algorithm_changes_or_a_clock_is_added() -> None:
    """Against the same laboratory that stays as it was: less than the reading noise of one epoch."""
    scenario = short(2.0)
    world, stays, moves = rig.world(scenario), opened("at1", scenario), opened("at1", scenario)
    wanted = iter(("bands", "bands+", "kalman", "at1"))
    apart, largest = 0.0, 0.0
    for k, batch in enumerate(world.history(), 1):
        was = apart
        apart = offsets(moves.take(batch), batch) - offsets(stays.take(batch), batch)
        if k % 60 == 0 and (word := next(wanted, None)):
            clocks = moves.start.clocks
            if word == "bands+":
                clocks = (*clocks, Clock(name="NEW", kind=ClockKind.CAESIUM))
            moves.restart(replace(moves.start, clocks=clocks, algorithm=word.rstrip("+"), algorithm_version=""))
        elif k > 1:
            largest = max(largest, abs(apart - was))
    assert type(moves.state.scale).__name__ == "ScaleState"
    assert len(moves.state.scale.membership) == len(stays.state.scale.membership) + 1
    assert largest < 1e-10
    assert replay(moves.records).difference is None


@pytest.mark.parametrize("algorithm", JUDGED)
def test_a_step_is_seen_within_a_second_and_does_not_move_the_scale(algorithm: str) -> None:
    """Scale steps are ten minutes apart; the clock is suspected at the next second all the same."""
    scenario = short(1.5)
    world, lab = rig.world(scenario), opened(algorithm, scenario)
    lab.history(world)
    clean = lab.fork()
    index = lab.state.register.node_index["H2"]
    seen = []
    for second, batch in enumerate(rig.live(world, seconds=1210, step_s=10), 1):
        quiet = clean.take(batch)
        moved = lab.take(pushed(batch, "H2", 20e-9 if second > 5 else 0.0))
        seen += [(second, one.kind) for one in moved.alerts if one.subject == "H2"]
        others = np.arange(12) != index
        apart = (moved.step.x_clock_minus_scale_s - quiet.step.x_clock_minus_scale_s)[:12][others]
        assert np.nanmax(np.abs(apart)) < 3e-11
    assert seen[0] == (6, AlertKind.CLOCK_STEP)
    assert [kind for _, kind in seen] == [AlertKind.CLOCK_STEP] * 2, "suspected at once, sure at the next step"
    assert lab.state.scale.membership[index] == Membership.OUT_STEP


def host_alone(algorithm: str, *, interval_s: float = 1.0) -> rig.Lab:
    """A laboratory without clocks: two servers, read against the host each second."""
    scenario = replace(demo_scenario(), clocks=(), links=(), laboratories=())
    start = rig.start_of(scenario, interval_s=interval_s, algorithm=algorithm)
    pairs = (("UTC.A", "host"), ("UTC.B", "host"))
    operators = (("UTC.A", "a"), ("UTC.B", "b"))
    return rig.Lab(replace(start, clocks=(host_clock(),), pairs=pairs, operators=operators))


def served_alone(algorithm: str) -> list[tuple[float, float]]:
    lab = host_alone(algorithm)
    noise = np.random.default_rng(3)
    out = []
    for second in range(1, 90):
        epoch_ns = rig.ANCHOR_TAI_NS + second * rig.NS
        x_s = 1e-3 + 1e-6 * noise.normal()
        one = Reading(epoch_tai_ns=epoch_ns, a="UTC.A", b="host", x_a_minus_b_s=x_s, u_s=1e-6, limit_s=1e-5)
        readings = (one, replace(one, a="UTC.B"))
        batch = WorldBatch(epoch_ns, rig.ANCHOR_RAW_NS + second * rig.NS, readings, (), np.zeros(0))
        outcome = lab.take(batch)
        if outcome.bound is not None and outcome.page is not None:
            out.append((outcome.page.anchor_tai_fs, outcome.bound.bound_s))
    assert replay(lab.records).difference is None
    return out


def test_a_laboratory_without_clocks_serves_the_same_on_every_algorithm() -> None:
    served = {algorithm: served_alone(algorithm) for algorithm in LIVE_ALGORITHMS}
    assert len(served["at1"]) > 40
    for algorithm in JUDGED:
        assert [one[0] for one in served[algorithm]] == [one[0] for one in served["at1"]]
        bounds = [[one[1] for one in served[of]] for of in (algorithm, "at1")]
        np.testing.assert_allclose(*bounds, rtol=1e-9)


def test_records_of_another_version_of_the_algorithm_are_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    log = recorded("bands").records
    monkeypatch.setitem(live_state.VERSIONS, "bands", "bands 999, detection 7")
    found = replay(log)
    assert found.compared == 0
    assert found.difference is not None
    assert "bands 999, detection 7" in found.difference.why
    assert run_start.decode(json.loads(log[0])).algorithm_version in found.difference.why


def test_an_algorithm_that_only_exists_after_the_fact_runs_in_no_laboratory() -> None:
    with pytest.raises(Misuse, match="algos"):
        opened("algos", short())
