"""SCENARIO.toml: every fault at once, each with its line; what is read is what was written."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.clocks.clock import ClockKind, NoiseModel
from truechimer.formats.toml_fields import fields_of
from truechimer.sim import (
    DEMO_SCENARIO_TOML,
    Environment,
    Event,
    Host,
    Laboratory,
    Link,
    Run,
    SimulatedClock,
    What,
    demo_scenario,
    read_scenario,
)

LABS = Path(__file__).parents[2] / "labs" / "scenarios"

GOOD = """\
[run]
days = 2
interval_s = 600.0

[[clock]]
name = "H1"
kind = "maser"
noise = { white_fm_1s = 8e-14, drift_per_day = 2e-16 }
temperature_coefficient_per_K = 1e-15
jump_rate_per_day = 0.01
jump_y = 1e-15

[[clock]]
name = "C1"
kind = "caesium"

[[link]]
a = "C1"
b = "H1"
white_s = 5e-11
latency_s = 0.0
quantisation_s = 1e-11
gap_fraction = 0.01

[[event]]
at_s = 3600.0
what = "phase-step"
target = "C1"
magnitude = 2e-8
unit = "s"

[[event]]
at_s = 7200.0
what = "gap"
target = "C1-H1"
duration_s = 600.0
"""


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_a_scenario_as_the_contract_writes_it_is_read() -> None:
    scenario, findings = read_scenario(GOOD.encode())
    assert findings == []
    assert [clock.name for clock in scenario.clocks] == ["H1", "C1"]
    assert scenario.clocks[0].kind is ClockKind.MASER
    assert scenario.clocks[0].temperature_coefficient_per_kelvin == 1e-15
    assert scenario.clocks[0].noise.white_fm_1s == 8e-14
    assert scenario.links[0].name == "C1-H1"
    assert [event.what for event in scenario.events] == [What.PHASE_STEP, What.GAP]
    assert scenario.pivot == "H1"
    assert scenario.endpoints == ("H1", "C1", "host")


@pytest.mark.parametrize(
    ("old", "new", "at", "rule_or_word"),
    [
        ('name = "C1"', 'name = "H1"', 'name = "H1"\nkind = "caesium"', "two-clocks-one-name"),
        ('name = "C1"', 'name = "UTC"', 'name = "UTC"', "reserved-name"),
        ('name = "C1"', 'name = "host"', 'name = "host"', "reserved-name"),
        ('name = "C1"', 'name = "UTC.C1"', 'name = "UTC.C1"', "reserved-name"),
        ('kind = "caesium"', 'kind = "host"', 'kind = "host"', "not-a-clock"),
        ('a = "C1"', 'a = "C9"', 'a = "C9"', "unknown-clock"),
        ('a = "C1"', 'a = "host"', 'a = "host"', "host-link"),
        ('a = "C1"', 'a = "H1"', 'b = "H1"', "link-to-itself"),
        ('target = "C1"\n', 'target = "C9"\n', 'target = "C9"', "unknown-target"),
        ('target = "C1-H1"', 'target = "H1-C1"', 'target = "H1-C1"', "unknown-target"),
        ('unit = "s"', 'unit = "s/s"', 'unit = "s/s"', "wrong-unit"),
        ('unit = "s"\n', "", "[[event]]", "wrong-unit"),
        ('magnitude = 2e-8\nunit = "s"\n', "", "[[event]]", "missing-magnitude"),
        ('"phase-step"', '"freeze"', "magnitude = 2e-8", "no-magnitude"),
        ("duration_s = 600.0", "", "[[event]]\nat_s = 7200.0", "missing-duration"),
        ('what = "gap"', 'what = "return"', "duration_s", "no-duration"),
        ("at_s = 7200.0", "at_s = 999999.0", "at_s = 999999.0", "event-after-run"),
        ('what = "phase-step"', 'what = "replay"', "magnitude = 2e-8", ""),
        ("interval_s", "interval_ms", "interval_ms", "interval_s"),
        ("days = 2", "days = -2", "days = -2", "at least"),
        ('kind = "caesium"', 'kind = "cesium"', 'kind = "cesium"', "caesium"),
        ('"phase-step"', '"phasestep"', 'what = "phasestep"', "phase-step"),
        ("gap_fraction = 0.01", "gap_fraction = 1.5", "gap_fraction = 1.5", "at most"),
        ('name = "C1"', 'name = "C 1"', 'name = "C 1"', "letters"),
    ],
)
def test_one_broken_thing_is_named_with_its_line(old: str, new: str, at: str, rule_or_word: str) -> None:
    text = GOOD.replace(old, new)
    assert text != GOOD
    scenario, findings = read_scenario(text.encode())
    if not rule_or_word:  # a replay of 20 ns of time is lawful
        assert findings == []
        return
    assert scenario is None
    hits = [f for f in findings if f.rule == rule_or_word or rule_or_word in f.says]
    assert hits, findings
    assert line_of(text, at) in [finding.line for finding in hits]


def test_all_faults_come_at_once() -> None:
    text = (
        GOOD.replace('a = "C1"', 'a = "C9"').replace('unit = "s"', 'unit = "1"').replace('name = "C1"', 'name = "GPST"')
    )
    _, findings = read_scenario(text.encode())
    assert {"unknown-clock", "wrong-unit", "reserved-name", "unknown-target"} <= {finding.rule for finding in findings}
    assert all(finding.line is not None for finding in findings)


def test_a_replay_reaches_two_days_at_most() -> None:
    text = GOOD.replace('"phase-step"', '"replay"').replace("magnitude = 2e-8", "magnitude = 200000.0")
    _, findings = read_scenario(text.encode())
    assert [finding.rule for finding in findings] == ["replay-range"]


def test_laboratories_and_host_are_checked_against_links_and_clocks() -> None:
    more = """
[[link]]
a = "UTC.P"
b = "H1"
laboratory = "X"

[[link]]
a = "H1"
b = "C1"

[[laboratory]]
name = "P"

[[laboratory]]
name = "P"

[host]
pivot = "H7"
"""
    _, findings = read_scenario((GOOD + more).encode())
    assert sorted(finding.rule for finding in findings) == [
        "two-laboratories-one-name",
        "two-links-one-pair",
        "unknown-clock",
        "unknown-laboratory",
        "unused-laboratory",
    ]


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_make_the_reader_raise(data: bytes) -> None:
    scenario, findings = read_scenario(data)
    assert (scenario is None) == any(finding.severity == "error" for finding in findings)


@given(st.sampled_from(GOOD.split("\n")), st.text(max_size=20))
def test_no_broken_line_makes_the_reader_raise(line: str, other: str) -> None:
    read_scenario(GOOD.replace(line, other).encode())


def test_the_demo_s_text_is_the_file_beside_the_laboratories() -> None:
    assert (LABS / "demo.toml").read_text() == DEMO_SCENARIO_TOML
    assert read_scenario((LABS / "demo.toml").read_bytes()) == (demo_scenario(), [])


@pytest.mark.parametrize("path", sorted(LABS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_scenario_is_without_fault(path: Path) -> None:
    scenario, findings = read_scenario(path.read_bytes())
    assert findings == []
    assert scenario is not None


def test_the_example_of_every_key_has_every_key() -> None:
    written = tomllib.loads((LABS / "every-key.toml").read_text())

    def keys_of(tables: object) -> set[str]:
        return {key for table in (tables if isinstance(tables, list) else [tables]) for key in table}

    for key, cls in (
        ("run", Run),
        ("environment", Environment),
        ("host", Host),
        ("clock", SimulatedClock),
        ("link", Link),
        ("laboratory", Laboratory),
        ("event", Event),
    ):
        assert keys_of(written[key]) == {field.key for field in fields_of(cls)}
    assert {field.key for field in fields_of(NoiseModel)} == set(written["clock"][0]["noise"])
    assert {event["what"] for event in written["event"]} == set(What)
