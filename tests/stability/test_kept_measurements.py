"""The kept measurements of stability: coverage of the intervals, and speed against peers."""

import json
from pathlib import Path

KEPT = Path(__file__).resolve().parents[2] / "docs" / "measured" / "stability_coverage.json"


def test_the_kept_coverage_is_what_the_guide_claims() -> None:
    body = json.loads(KEPT.read_text(encoding="utf-8"))
    assert body["trials"] >= 1000
    rates = [
        (name, word, m, rate)
        for name, noises in body["statistics"].items()
        for word, row in noises.items()
        for m, rate in zip(row["m"], row["coverage"], strict=True)
    ]
    outside = [f"{name}, {word}, m = {m}: {rate}" for name, word, m, rate in rates if not 0.64 <= rate <= 0.73]
    assert outside == body["outside_64_to_73_percent"]
    # 1000 trials: one sigma of a rate is 0.015, so of some 200 rates inside the bar's middle a few fall outside it.
    assert len(outside) <= 0.03 * len(rates), outside
    assert all(0.62 <= rate <= 0.75 for _, _, _, rate in rates)
    named = [
        rate for noises in body["statistics"].values() for row in noises.values() for rate in row["noise_named_right"]
    ]
    assert min(named) >= 0.95
