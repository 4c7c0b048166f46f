"""The demo with all its events live, asked meanwhile by every verb and by a browser's request, as an operator would."""

import json
import statistics
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.demo.judging import faults_of, rows_that_differ
from tests.demo.running import ANSWERS, Demo, a_demo

pytestmark = pytest.mark.slow

FOR_S = 60.0
"""Half as long is enough, but on a busy machine the replay would be cut."""
ASKED = 5
VERBS = ("now", "status", "sources")
WITHIN_S = 1e-6
"""A bound that the demo has from its first answers on, at any door."""


def milliseconds(demo: Demo, *words: str) -> list[float]:
    """Ask a verb some times; return what each took, sorted. All must answer."""
    took = []
    for _ in range(ASKED):
        began = time.monotonic()
        done = demo.verb(*words)
        took.append(1e3 * (time.monotonic() - began))
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return sorted(took)


def page_of(port: int, path: str = "/") -> str:
    """Return what the console shows."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=120) as answer:
        assert answer.status == 200
        text: str = answer.read().decode("utf-8")
        return text


def judge_verbs(demo: Demo) -> None:
    """Ask every verb that finds the demo through the registry."""
    for verb in VERBS:
        took = milliseconds(demo, verb)
        print(f"{verb}: median {statistics.median(took):.0f} ms, at most {took[-1]:.0f} ms of {ASKED}")
    now = json.loads(demo.verb("now", "--json").stdout)
    assert (now["against"], now["state"]) == ("simulated-utc", "steered")
    assert 0.0 < now["bound_s"] < 1e-3
    status = json.loads(demo.verb("status", "--json").stdout)
    assert {row["protocol"] for row in status["listeners"] if row["alive"]} == {"ntp", "console"}
    sources = json.loads(demo.verb("sources", "--json").stdout)
    assert len(sources["sources"]) == 3
    assert demo.verb("wait", "--within", str(WITHIN_S)).returncode == 0
    diagnosed = demo.verb("diag")
    assert "[FAIL]" not in diagnosed.stdout, diagnosed.stdout
    assert diagnosed.returncode == 0, diagnosed.stdout + diagnosed.stderr
    asked: dict[str, Any] = json.loads(demo.verb("ask", "ntp", f"127.0.0.1:{demo.port_base}", "--json").stdout)
    assert asked["synchronised"] is True
    assert "SIMULATED" in page_of(demo.port_base + 3).upper()


def test_all_events_are_live_and_end_in_time_while_every_verb_answers(tmp_path: Path) -> None:
    with a_demo(tmp_path, "--for", str(FOR_S), "--seed", "11", "--json") as demo:
        alive_s = demo.wait_for(ANSWERS, within_s=120)
        began = time.monotonic()
        judge_verbs(demo)
        assert demo.end() == 0, demo.said
        lasted_s = time.monotonic() - began
        body = demo.document()
        assert demo.left_behind() == []
    print(f"alive after {alive_s:.1f} s; ended {lasted_s:.1f} s after the first answer, asked for {FOR_S:g} s")
    assert faults_of(body, live=True) == []
    assert rows_that_differ(demo.said, body) == []
    assert FOR_S - 2.0 <= lasted_s <= FOR_S + 60.0
    assert not any(event.get("cut") for event in body["events"])


def test_a_kept_demo_goes_on_as_a_laboratory_of_its_own(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with a_demo(
        tmp_path, "--for", "3", "--seed", "9", "--keep", str(kept), "--json", TRUECHIMER_KERNELS="plain"
    ) as demo:
        demo.wait_for(ANSWERS)
        demo.interrupt()
        assert demo.end() == 0, demo.said
        records = demo.document()["records"]
        checked = demo.verb("check", str(kept / "LAB.toml"))
        assert checked.returncode == 0, checked.stdout + checked.stderr
        # its records come from plain Python; whatever is installed here must repeat them to the bit
        up = demo.verb("up", str(kept / "LAB.toml"), "--for", "6", within_s=120, TRUECHIMER_KERNELS="")
        assert up.returncode == 0, up.stdout + up.stderr
        replayed = demo.verb("evidence", "replay", str(kept), "--json", within_s=120, TRUECHIMER_KERNELS="")
        assert replayed.returncode == 0, replayed.stdout + replayed.stderr
        found = json.loads(replayed.stdout)
    assert (kept / "scenario.toml").is_file()
    assert found["records_compared"] > records, "the second run's records stand behind those of the first"


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(100, 112))
def test_no_seed_makes_the_demo_lie(tmp_path: Path, seed: int) -> None:
    with a_demo(tmp_path, "--for", "3", "--seed", str(seed), "--json") as demo:
        status = demo.end()
        body = demo.document()
    print(f"seed {seed}: lies {body['lies']}, bound {body['bound_s_max'] * 1e9:.1f} ns, {body['events']}")
    assert faults_of(body, live=False) == []
    assert status == 0
