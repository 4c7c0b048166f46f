"""The kept measurement of intervals and noise names: simulated, by exact law, and at other lengths."""

import json
from pathlib import Path

KEPT = Path(__file__).resolve().parents[2] / "docs" / "measured" / "stability_coverage.json"
BODY = json.loads(KEPT.read_text(encoding="utf-8"))


def rates(part: str) -> dict[str, float]:
    return {f"{row}, {place}": rate for row, cells in BODY[part].items() for place, rate in cells.items()}


def test_every_interval_that_was_simulated_holds_the_truth_within_the_bar() -> None:
    found = rates("coverage")
    assert len(found) == 195
    assert BODY["trials"] >= 1000
    assert BODY["outside_64_to_73_percent"] == [place for place, rate in found.items() if not 0.64 <= rate <= 0.73]
    assert BODY["outside_64_to_73_percent"] == []


def test_by_exact_law_every_interval_is_within_3_percent_of_what_it_says() -> None:
    found = rates("coverage_by_law")
    assert len(found) >= 350
    assert min(found.values()) >= 0.67
    assert max(found.values()) <= 0.713


def test_noise_is_named_right_at_every_length_and_with_the_drift_taken_out() -> None:
    found = {place: rate for place, rate in rates("lowest_rate_of_right_names").items() if "lag-1" not in place}
    assert len(found) == 60
    assert min(found.values()) >= 0.95
    assert min(rates("noise_named_right").values()) >= 0.95
