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


@given(data=st.data())
def test_of_several_answers_the_narrowest_counts_and_the_truth_stays_inside(data: st.DataObject) -> None:
    """Each answer's label is the true time at a moment of its making; the raw counter runs wrong by up to its limit."""
    rate = data.draw(st.floats(-RAW_RATE_LIMIT, RAW_RATE_LIMIT))
    asked, snapshots = 10 * S, []
    for _ in range(data.draw(st.integers(1, 6))):
        took, part = data.draw(st.integers(0, S // 2)), data.draw(st.floats(0, 1))
        true_s = 40.0 + (asked + part * took - 10 * S) * (1 + rate) / S
        document = FINE | {"utc": f"2026-03-01T00:00:{true_s:015.12f}Z"}
        snapshots.append(a_snapshot(document, asked, asked + took))
        asked += took + data.draw(st.integers(0, S))
    now = snapshots[-1].answered_raw_ns + data.draw(st.integers(0, S))
    sample = clock_sample(snapshots[-1], now, snapshots[:-1])
    assert sample["bound_s"] <= clock_sample(snapshots[-1], now)["bound_s"]
    stated_s = float(sample["utc"][17:-1]) + sample["elapsed_s"]
    true_s = 40.0 + (now - 10 * S) * (1 + rate) / S
    assert abs(stated_s - true_s) <= sample["bound_s"] + 1e-9


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("2016-12-31T23:59:58.5Z", "2016-12-31T23:59:59.5Z"),
        ("2016-12-31T23:59:59.5Z", "2016-12-31T23:59:60.5Z"),
        ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.5Z"),
    ],
)
def test_near_the_end_of_a_day_only_the_newest_label_counts(before: str, now: str) -> None:
    slow = a_snapshot(FINE | {"utc": now}, 11 * S, 11 * S + S // 4)
    quick = a_snapshot(FINE | {"utc": before}, 10 * S, 10 * S)
    assert clock_sample(slow, 12 * S, (quick,))["utc"] == now


def test_an_answer_of_another_kind_of_utc_does_not_stand_for_this_one() -> None:
    slow = a_snapshot(FINE, 11 * S, 11 * S + S // 4)
    quick = a_snapshot(FINE | {"against": "simulated-utc", "utc": "2026-03-01T00:00:09Z"})
    assert clock_sample(slow, 12 * S, (quick,))["utc"] == FINE["utc"]
    quick = a_snapshot(FINE | {"synchronised": False, "utc": "2026-03-01T00:00:09Z"})
    assert clock_sample(slow, 12 * S, (quick,))["utc"] == FINE["utc"]


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
