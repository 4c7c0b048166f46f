"""The kept measurements of stability: coverage of the intervals, and speed against peers."""

import json
from pathlib import Path

MEASURED = Path(__file__).resolve().parents[2] / "docs" / "measured"
KEPT = MEASURED / "stability_coverage.json"


def test_the_kept_coverage_is_what_the_guide_claims() -> None:
    body = json.loads(KEPT.read_text(encoding="utf-8"))
    assert body["trials"] >= 1000
    rates = {f"{row}, {m}": rate for row, cells in body["coverage"].items() for m, rate in cells.items()}
    assert len(rates) == 195
    outside = [f"{place}: {rate}" for place, rate in rates.items() if not 0.64 <= rate <= 0.73]
    assert outside == body["outside_64_to_73_percent"]
    # 1000 trials: one sigma of a rate is 0.015, so of some 200 rates inside the bar's middle a few fall outside it.
    assert len(outside) <= 0.03 * len(rates), outside
    assert all(0.62 <= rate <= 0.75 for rate in rates.values())
    named = [rate for cells in body["noise_named_right"].values() for rate in cells.values()]
    assert min(named) >= 0.95


def test_the_kept_speed_is_above_its_bars_on_one_thread_and_beside_c() -> None:
    cases = json.loads((MEASURED / "stability_speed.json").read_text(encoding="utf-8"))["cases"]
    assert len(cases) == 27
    assert {name for name, case in cases.items() if case["ratio"] < case["bar"]} == set()
    assert {name for name, case in cases.items() if case["ratio_by_clock"] < case["bar"]} == set()
    assert {name for name, case in cases.items() if case.get("to_c", 0.0) > 1.2} == set()
    for case in cases.values():
        assert min(len(times) for times in case["processor_s"].values()) >= 5
        assert case["processor_s"].keys() == case["clock_s"].keys() >= {"ours", "theirs"}


def test_the_kept_cost_is_within_its_limits() -> None:
    body = json.loads((MEASURED / "stability_cost.json").read_text(encoding="utf-8"))
    assert body["import_s"]["with_numpy"] <= body["import_s"]["limit"] == 0.3
    assert len(body["memory"]) == 15
    for row in body["memory"].values():
        assert max(row["values"], row["default"]) <= row["limit"] == 10.0
