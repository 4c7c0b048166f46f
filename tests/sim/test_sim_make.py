"""`truechimer sim make`: files that repeat byte for byte, or faults and nothing written."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from tests.sim.test_scenario import GOOD

from truechimer.cli.sim_verb import main
from truechimer.formats import readings_csv
from truechimer.sim import World, read_scenario
from truechimer.sim.recording import anchor_of

FILES = ("readings.csv", "truth.csv", "events.json", "clocks.toml")


@pytest.fixture
def scenario_path(tmp_path: Path) -> Path:
    path = tmp_path / "scenario.toml"
    path.write_text(GOOD)
    return path


def make(scenario_path: Path, out: Path, seed: str = "7", *more: str) -> int:
    return main(["make", str(scenario_path), "--seed", seed, "--out", str(out), *more])


def test_the_same_seed_makes_the_same_bytes_and_another_seed_does_not(scenario_path: Path, tmp_path: Path) -> None:
    for name, seed in (("one", "7"), ("two", "7"), ("three", "8")):
        assert make(scenario_path, tmp_path / name, seed) == 0
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(FILES)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (tmp_path / "one" / "readings.csv").read_bytes() != (tmp_path / "three" / "readings.csv").read_bytes()
    assert (tmp_path / "one" / "truth.csv").read_bytes() != (tmp_path / "three" / "truth.csv").read_bytes()


def test_readings_and_truth_are_those_of_the_world(scenario_path: Path, tmp_path: Path) -> None:
    assert make(scenario_path, tmp_path / "out") == 0
    scenario, _ = read_scenario(GOOD.encode())
    anchor_ns = anchor_of(scenario.run.start_mjd, scenario.run.days)
    batches = list(World(scenario, seed=7, anchor_tai_ns=anchor_ns, anchor_raw_ns=0).history())
    rows, findings = readings_csv.read((tmp_path / "out" / "readings.csv").read_bytes())
    assert findings == []
    told = [(row.epoch_tai_ns, row.a, row.b, row.x_a_minus_b_s, row.u_s) for row in rows]
    assert told == [(r.epoch_tai_ns, r.a, r.b, r.x_a_minus_b_s, r.u_s) for batch in batches for r in batch.readings]
    lines = (tmp_path / "out" / "truth.csv").read_text().splitlines()
    assert lines[0] == "epoch_mjd,clock,x_clock_minus_utc_s"
    values = np.array([float(line.split(",")[2]) for line in lines[1:]]).reshape(-1, 2)
    assert np.array_equal(values, np.array([batch.x_clock_minus_utc_s for batch in batches]))
    assert [line.split(",")[1] for line in lines[1:3]] == ["H1", "C1"]
    assert lines[1].startswith("61041.0000000000")


def test_events_and_clocks_are_told_as_declared(scenario_path: Path, tmp_path: Path) -> None:
    assert make(scenario_path, tmp_path / "out") == 0
    events = json.loads((tmp_path / "out" / "events.json").read_text())
    start_ns = anchor_of(61041, 0.0)
    assert events[0] == {
        "at_s": 3600.0,
        "epoch_mjd": "61041.041666666666667",
        "epoch_tai_ns": start_ns + 3600 * 10**9,
        "what": "phase-step",
        "target": "C1",
        "magnitude": 2e-8,
        "unit": "s",
    }
    assert "magnitude" not in events[1]
    clocks = tomllib.loads((tmp_path / "out" / "clocks.toml").read_text())
    assert clocks == {
        "clock": [
            {"name": "H1", "kind": "maser", "noise": {"white_fm_1s": 8e-14, "drift_per_day": 2e-16}},
            {"name": "C1", "kind": "caesium"},
        ]
    }


def test_json_tells_what_was_written(scenario_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make(scenario_path, tmp_path / "out", "7", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["epochs"], told["clocks"], told["seed"]) == (289, ["H1", "C1"], 7)
    assert told["readings"] == (tmp_path / "out" / "readings.csv").read_text().count("\n") - 1
    assert 270 < told["readings"] < 289


def test_a_scenario_with_faults_lists_them_all_and_writes_nothing(
    scenario_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario_path.write_text(GOOD.replace('a = "C1"', 'a = "C9"').replace('unit = "s"', 'unit = "1"'))
    assert make(scenario_path, tmp_path / "out") == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert len(lines) == 3  # the unknown clock, the unit, and the event on a link that is no longer there
    assert all(line.startswith(f"{scenario_path}:") for line in lines)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["make", "nowhere.toml", "--seed", "1", "--out", "out"],
        ["make", "scenario.toml", "--seed", "one", "--out", "out"],
        ["make", "scenario.toml", "--seed", "-1", "--out", "out"],
        ["make", "scenario.toml", "--out", "out"],
        ["make", "scenario.toml", "--seed", "1", "--out", "scenario.toml"],
        ["unmake"],
        [],
    ],
)
def test_wrong_use_is_one_line_and_exit_2(
    words: list[str],
    scenario_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(scenario_path.parent)
    try:
        status = main(words)
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert not (scenario_path.parent / "out").exists()


def test_a_stopped_run_leaves_no_half_files(
    scenario_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("truechimer.cli.sim_verb.events_json", stop)
    with pytest.raises(KeyboardInterrupt):
        make(scenario_path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_late_link_s_readings_stand_at_their_own_epochs_in_the_record(scenario_path: Path, tmp_path: Path) -> None:
    assert make(scenario_path, tmp_path / "prompt") == 0
    scenario_path.write_text(GOOD.replace("latency_s = 0.0", "latency_s = 86400.0"))
    assert make(scenario_path, tmp_path / "late") == 0
    assert (tmp_path / "prompt" / "readings.csv").read_bytes() == (tmp_path / "late" / "readings.csv").read_bytes()
