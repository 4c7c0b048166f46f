"""The kept measurements of stability: coverage of the intervals, and speed against peers."""

import json
from pathlib import Path

KEPT = Path(__file__).resolve().parents[2] / "docs" / "measured" / "stability_coverage.json"


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
