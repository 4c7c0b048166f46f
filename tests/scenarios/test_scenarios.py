"""The numbered scenarios: each is read without fault, each event happens to its target alone, and two runs are one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from truechimer.sim import Scenario, World, WorldBatch, read_scenario
from truechimer.sim.recording import anchor_of

HERE = Path(__file__).parent
PATHS = sorted(HERE.glob("*.toml"))
SEED = 31


def load(path: Path) -> Scenario:
    scenario, findings = read_scenario(path.read_bytes())
    assert scenario is not None, [finding.at(path.name) for finding in findings]
    return scenario


def run(scenario: Scenario, seed: int = SEED) -> list[WorldBatch]:
    anchor_ns = anchor_of(scenario.run.start_mjd, scenario.run.days)
    return list(World(scenario, seed=seed, anchor_tai_ns=anchor_ns, anchor_raw_ns=0).history())


def test_there_are_scenarios() -> None:
    assert len(PATHS) >= 15


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_scenario_moves_its_targets_and_nothing_else(path: Path) -> None:
    scenario = load(path)
    batches = run(scenario)
    assert len(batches) == round(scenario.run.days * 86_400 / scenario.run.interval_s) + 1
    targets = {event.target for event in scenario.events}
    touched = {(link.a, link.b) for link in scenario.links if targets & {link.a, link.b, link.name}}
    first_ns = min(
        (batches[0].epoch_tai_ns + round(event.at_s * 1e9) for event in scenario.events),
        default=batches[-1].epoch_tai_ns + 1,
    )
    differing: set[tuple[str, str]] = set()
    for batch in batches:
        seen = {(r.epoch_tai_ns, r.a, r.b): r for r in batch.readings}
        clean = {(r.epoch_tai_ns, r.a, r.b): r for r in batch.clean}
        changed = {key[1:] for key in seen.keys() | clean.keys() if seen.get(key) != clean.get(key)}
        assert batch.epoch_tai_ns >= first_ns or not changed
        differing |= changed
    assert differing == touched, f"seed {SEED}"
    assert all(np.all(np.isfinite(batch.x_clock_minus_utc_s)) for batch in batches)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_scenario_s_clean_run_is_the_run_without_its_events(path: Path) -> None:
    scenario = load(path)
    quiet = replace(scenario, events=())
    for attacked, alone in zip(run(scenario), run(quiet), strict=True):
        assert attacked.clean == alone.readings, f"seed {SEED}"
