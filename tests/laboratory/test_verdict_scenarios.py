"""On the log of every numbered scenario and of attacks upon it, no second is proved with an error that it did not have.

The world owns the truth: served minus UTC at the moment of every page. The events of a scenario come after its history,
while the laboratory serves.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.laboratory import rig
from tests.laboratory.test_verdict import rechained
from tests.scenarios.test_scenarios import PATHS, load

from truechimer.evidence.verdict import Word
from truechimer.laboratory.replay import replay
from truechimer.laboratory.testimony import hear
from truechimer.laboratory.verdict import Verdict, verdict
from truechimer.sim import What, WorldBatch

STEP_S = 300
EVENT_AFTER_S = 3 * 3600
LIVE_S = 8 * 3600
PICOSECOND = 1e-12

Meddle = Callable[[int, WorldBatch], WorldBatch]


@dataclass
class Story:
    """The log of a run, and of every page: its raw moment (s after the anchor), served minus UTC, the stated bound."""

    log: list[bytes]
    pages: list[tuple[int, float, float]]


def story(
    path: Path,
    seed: int,
    *,
    days: float = 1.0,
    meddle: Meddle = lambda _, batch: batch,
    live_s: int = LIVE_S,
    step_s: int = STEP_S,
) -> Story:
    """Run a scenario: its history quiet, its events while it serves."""
    scenario = load(path)
    first_s = min((event.at_s for event in scenario.events), default=0.0)
    # what is to be replayed must have been kept: such an event begins with the last epoch of the history
    last_s = days * 86_400.0 - scenario.run.interval_s
    kept = tuple(replace(event, at_s=last_s) for event in scenario.events if event.what is What.REPLAY)
    world = rig.world(replace(rig.of_days(scenario, days), events=kept), seed=seed)
    start = rig.start_of(
        scenario,
        anchor_raw_ns=rig.ANCHOR_RAW_NS,
        anchor_tai_ns=rig.ANCHOR_TAI_NS,
        silence_s=2.0 * STEP_S,
        requalify_s=3600.0,
    )
    lab = rig.Lab(start)
    lab.history(world)
    for event in scenario.events:
        if event.what is What.REPLAY:
            continue
        at_s = EVENT_AFTER_S + event.at_s - first_s
        world.inject(event, at_raw_ns=rig.ANCHOR_RAW_NS + round(at_s * rig.NS))
    pages = []
    for batch in rig.live(world, seconds=live_s, first_s=step_s, step_s=step_s):
        second = (batch.raw_ns - rig.ANCHOR_RAW_NS) // rig.NS
        out = lab.take(meddle(second, batch))
        if out.page is not None:
            error_s = (out.page.anchor_tai_fs - world.true_tai_fs(batch.raw_ns)) / 1e15
            pages.append((second, error_s, out.page.bound_s))
    return Story(lab.records, pages)


def judged(log: list[bytes]) -> Verdict:
    """The whole judgement, as the verb makes it."""
    said, again = hear(log), replay(log)
    believed = hear(log[: again.difference.since]) if again.difference is not None else None
    anchor_s = rig.ANCHOR_TAI_NS // rig.NS
    return verdict(
        said, anchor_s + STEP_S, anchor_s + LIVE_S + STEP_S, difference=again.difference, believed=believed
    )  # fmt: skip


def lies(found: Verdict, pages: list[tuple[int, float, float]]) -> list[str]:
    """Return every page whose second is proved with an error that was not its own, or that was moved and is proved."""
    out = []
    anchor_s = rig.ANCHOR_TAI_NS // rig.NS
    for second, error_s, bound_s in pages:
        # the host's label runs off by 1e-5 at most: a page near a segment's end may belong to either
        near = [
            one
            for one in found.segments
            if one.from_tai_s <= anchor_s + second + 2 and anchor_s + second - 2 < one.to_tai_s
        ]
        if near and all(one.word is Word.PROVED for one in near):
            worst = max(one.error_s or 0.0 for one in near)
            if abs(error_s) > worst + PICOSECOND or abs(error_s) > bound_s + worst:
                out.append(f"{second} s: true error {error_s:.3e}, bound {bound_s:.3e}, proved {worst:.3e}")
    return out


def operators_lie(names: tuple[str, ...], offset: Callable[[int], float]) -> Meddle:
    """Operators who lie together by an offset of time."""

    def meddle(second: int, batch: WorldBatch) -> WorldBatch:
        return replace(
            batch,
            readings=tuple(
                replace(one, x_a_minus_b_s=one.x_a_minus_b_s + offset(second)) if one.a in names else one
                for one in batch.readings
            ),
        )

    return meddle


def from_event(value: Callable[[float], float]) -> Callable[[int], float]:
    return lambda second: value(second - EVENT_AFTER_S) if second >= EVENT_AFTER_S else 0.0


LIES = {
    "one-steps": (("UTC.P",), from_event(lambda _: 1e-6)),
    "two-step": (("UTC.P", "UTC.Q"), from_event(lambda _: 1e-6)),
    "two-step-a-little": (("UTC.P", "UTC.Q"), from_event(lambda _: 30e-9)),
    "two-ramp": (("UTC.P", "UTC.Q"), from_event(lambda t: 1e-10 * t)),
    "two-step-an-hour": (("UTC.Q", "UTC.S"), from_event(lambda _: 3600.0)),
    "two-wobble": (("UTC.P", "UTC.S"), from_event(lambda t: 2e-7 if int(t) // 1800 % 2 else -2e-7)),
}


def forgeries(seed: int) -> dict[str, tuple[float, Callable[[dict[str, Any]], None]]]:
    """What somebody with the disk and every key of the laboratory does to served lines: how far each moves the time."""
    random = Random(seed)
    first = rig.ANCHOR_RAW_NS + random.randrange(EVENT_AFTER_S, LIVE_S - 3600) * rig.NS
    out: dict[str, tuple[float, Callable[[dict[str, Any]], None]]] = {}
    for size_s in (3e-9, -50e-9, 1e-6, -1e-3, 1.0, -3600.0):

        def move(body: dict[str, Any], by: float = size_s) -> None:
            if body["kind"] == "served-time" and int(body["anchor_raw_ns"]) >= first:
                body["anchor_tai_fs"] = str(int(body["anchor_tai_fs"]) + round(by * 1e15))

        out[f"line {size_s:g} s"] = (size_s, move)
    return out


def moved_pages(
    pages: list[tuple[int, float, float]], original: list[bytes], forged: list[bytes]
) -> list[tuple[int, float, float]]:
    """The pages with what the forged log says of them."""
    by_raw = {}
    for one, other in zip(original, forged, strict=True):
        before, after = json.loads(one), json.loads(other)
        if before["kind"] == "served-time":
            second = (int(before["anchor_raw_ns"]) - rig.ANCHOR_RAW_NS) // rig.NS
            by_raw[second] = (int(after["anchor_tai_fs"]) - int(before["anchor_tai_fs"])) / 1e15
    return [(second, error_s + by_raw.get(second, 0.0), bound_s) for second, error_s, bound_s in pages]


def check_scenario(path: Path, seed: int, *, forged: int = 6) -> float:
    """Judge a scenario and forgeries of its log; return the share of the served seconds that are proved."""
    told = story(path, seed)
    found = judged(told.log)
    assert lies(found, told.pages) == [], f"{path.stem}, seed {seed}"
    if not told.pages:  # nothing leads to UTC in that one: nothing is served, and nothing is proved
        assert found.count(Word.PROVED) == 0
        return 0.0
    for name, (size_s, change) in list(forgeries(seed).items())[:forged]:
        other = rechained(told.log, change)
        again = judged(other)
        pages = moved_pages(told.pages, told.log, other)
        assert lies(again, pages) == [], f"{path.stem}, seed {seed}, {name}"
        assert again.count(Word.MOVED) > 0, f"{path.stem}, seed {seed}, {name}"
        assert again.tampering is not None
        last = again.tampering.last_proved_tai_s
        first = next(second for (second, a, _), (_, b, _) in zip(pages, told.pages, strict=True) if a != b)
        # nothing that was forged is proved, and what is named as last proved lies before it
        assert last is None or last <= rig.ANCHOR_TAI_NS // rig.NS + first + 1, (path.stem, name, size_s)
    return found.count(Word.PROVED) / (told.pages[-1][0] - told.pages[0][0])


@pytest.mark.slow
def test_no_moved_second_of_a_scenario_is_proved() -> None:
    assert check_scenario(PATHS[0], 3, forged=1) >= 0.99
    check_scenario(next(path for path in PATHS if path.stem.startswith("013")), 3, forged=0)


@pytest.mark.slow
def test_a_majority_that_lies_proves_no_second_that_is_not_right() -> None:
    told = story(PATHS[0], 4, meddle=operators_lie(*LIES["two-step"]))
    assert lies(judged(told.log), told.pages) == []


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_no_moved_second_of_any_scenario_is_proved(path: Path, seed: int) -> None:
    check_scenario(path, seed)


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", LIES)
def test_no_majority_that_lies_proves_a_second_that_is_not_right(name: str, seed: int) -> None:
    told = story(PATHS[0], seed, meddle=operators_lie(*LIES[name]))
    assert lies(judged(told.log), told.pages) == [], f"{name}, seed {seed}"


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", [1, 2])
def test_a_clean_month_is_proved_from_the_first_page_on(seed: int) -> None:
    month_s = 30 * 86_400
    told = story(PATHS[0], seed, days=2.0, live_s=month_s, step_s=60)
    anchor_s = rig.ANCHOR_TAI_NS // rig.NS
    found = verdict(hear(told.log), anchor_s, anchor_s + month_s)
    assert found.tampering is None
    assert [one.word for one in found.segments if one.from_tai_s > anchor_s + told.pages[0][0] + 60][:-1] == []
    assert found.count(Word.PROVED) >= 0.999 * month_s
    assert lies(found, told.pages[:: len(told.pages) // 500]) == []
