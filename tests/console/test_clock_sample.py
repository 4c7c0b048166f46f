"""The clock sample: the interval that it states holds the laboratory's time, however old the snapshot is."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.client import ServiceSilentRejected
from truechimer.console.api import MAX_SAMPLE_AGE_S, RAW_RATE_LIMIT, clock_sample
from truechimer.console.laboratory_feed import NOTHING_YET, Heard, LaboratoryFeed, Snapshot

S = 10**9
FINE = {
    "synchronised": True,
    "state": "steered",
    "against": "utc",
    "utc": "2026-03-01T00:00:00.000000000Z",
    "bound_s": 1e-6,
}


def a_snapshot(document: dict[str, Any], asked_ns: int = 10 * S, answered_ns: int = 10 * S, **changes: Any) -> Snapshot:
    fields: dict[str, Any] = {"answering": True, "says": "", "asked_raw_ns": asked_ns, "answered_raw_ns": answered_ns}
    return Snapshot(1, document, **(fields | {"looked_raw_ns": answered_ns} | changes))


@given(
    took_ns=st.integers(0, S),
    part=st.floats(0, 1),
    age_ns=st.integers(0, 3 * S),
    rate=st.floats(-RAW_RATE_LIMIT, RAW_RATE_LIMIT),
    error_s=st.floats(-1e-6, 1e-6),
)
def test_the_truth_is_inside_whenever_the_laboratory_was_right(
    took_ns: int, part: float, age_ns: int, rate: float, error_s: float
) -> None:
    """True time since the label of the answer: the raw counter runs wrong by `rate`, the answer was made at `part`."""
    asked, answered = 10 * S, 10 * S + took_ns
    now = answered + age_ns
    sample = clock_sample(a_snapshot(FINE, asked, answered), now)
    made = asked + part * took_ns
    true_elapsed_s = (now - made) * (1 + rate) / S + error_s
    assert abs(true_elapsed_s - sample["elapsed_s"]) <= sample["bound_s"] + 1e-12
    assert sample["bound_s"] <= 1e-6 + took_ns / S / 2 + RAW_RATE_LIMIT * (took_ns + age_ns) / S + 1e-12


@pytest.mark.parametrize(
    ("snapshot", "raw_ns", "why"),
    [
        (NOTHING_YET, 10 * S, "silent"),
        (a_snapshot(FINE, answering=False, says="gone"), 10 * S, "silent"),
        (a_snapshot(FINE | {"synchronised": False}), 10 * S, "unsynchronised"),
        (a_snapshot({"synchronised": True, "bound_s": 1e-6}), 10 * S, "unsynchronised"),
        (a_snapshot(FINE | {"bound_s": None}), 10 * S, "unsynchronised"),
        (a_snapshot(FINE), 10 * S + round(MAX_SAMPLE_AGE_S * S) + 1, "old"),
        (a_snapshot(FINE), 10 * S - 1, "old"),
    ],
)
def test_no_sample_runs_where_there_is_no_fresh_bounded_time(snapshot: Snapshot, raw_ns: int, why: str) -> None:
    sample = clock_sample(snapshot, raw_ns)
    assert sample["running"] is False
    assert sample["why"] == why
    assert "utc" not in sample


def test_the_feed_keeps_the_last_answer_and_says_since_when_it_is_alone() -> None:
    answers: list[Any] = [FINE | {"lab": "x"}, {"synchronised": False, "lab": "x"}, None, {"x": float("inf")}, FINE]
    raw = iter(range(0, 10**12, S))

    def ask_status() -> dict[str, Any]:
        answer = answers.pop(0)
        if answer is None:
            raise ServiceSilentRejected(__import__("pathlib").Path("/lab"), "gone", found_by="--lab")
        return dict(answer)

    async def run() -> list[tuple[bool, str, dict[str, Any]]]:
        feed = LaboratoryFeed(ask_status, lambda: next(raw))
        seen = []
        for number in range(5):
            waiting = asyncio.create_task(feed.next_events(Heard(number)))
            await feed.ask_once()
            found = await waiting
            assert found is not None
            name, data = found[1].decode().splitlines()[:2]
            seen.append((feed.current.answering, name, json.loads(data.removeprefix("data: "))))
        waiting = asyncio.create_task(feed.next_events(Heard(5)))
        await asyncio.sleep(0)
        feed.close()
        assert await waiting is None
        return seen

    seen = asyncio.run(run())
    assert [answering for answering, _, _ in seen] == [True, True, False, False, True]
    assert [name for _, name, _ in seen] == [
        f"event: {name}" for name in ("status", "status", "silent", "silent", "status")
    ]
    assert seen[2][2]["silent_since_utc"] == FINE["utc"]  # the last time that it told, not its last word
    assert seen[2][2]["silent_for_s"] == 2.0
    assert seen[3][2]["silent_for_s"] > seen[2][2]["silent_for_s"]
