"""What group commit is worth: the kept figure."""

import json
import statistics
from pathlib import Path

import pytest

KEPT = Path(__file__).resolve().parents[2] / "docs" / "measured" / "store_cost.json"


def test_threads_that_share_fsyncs_write_at_least_twice_as_much() -> None:
    body = json.loads(KEPT.read_text(encoding="utf-8"))
    runs = body["per_s_runs"]
    assert len(runs) >= 5
    ratio = statistics.median(run["many_threads"] / run["one_by_one"] for run in runs)
    assert body["median"]["many_threads_to_one_by_one"] == pytest.approx(ratio)
    assert ratio >= 2.0, "run bench/store.py --limit 2 --out docs/measured/store_cost.json"
