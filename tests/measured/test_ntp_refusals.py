"""Kept figures of refused datagrams: every reason that the compiled loop counts is there, and none costs too much."""

import json
from pathlib import Path

from truechimer.daemon.door import counters as names
from truechimer.serve.ntp import packet_kernel

KEPT = Path(__file__).parents[2] / "docs" / "measured" / "ntp_refusals.json"


def test_no_refusal_costs_more_than_one_and_a_half_answers() -> None:
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    counted = {row["counted_as"] for row in kept["kinds"].values()}
    wanted = {names.IGNORE_COUNTERS[reason] for reason in packet_kernel.REASONS}
    assert wanted | {names.TRUNCATED, names.OVER_BUDGET} <= counted
    good = {row["against"] for row in kept["kinds"].values()}
    assert good == {"a plain request", "a right code"}
    for kind, row in kept["kinds"].items():
        assert kind in good or row["ratio"] <= kept["bar"] == 1.5, kind
        assert len(kept["all_runs"]["ratio"][kind]) >= 5
