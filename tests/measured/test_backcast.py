"""What was measured of a year's backcast: within the 30 s that a year may take, in any form of files."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MEASURED: dict[str, Any] = json.loads((ROOT / "docs" / "measured" / "backcast.json").read_text(encoding="utf-8"))


def test_a_year_of_ten_clocks_in_any_form_takes_less_than_half_a_minute() -> None:
    cases = MEASURED["cases"]
    assert {"readings hourly", "readings 5 min", "clock data", "everything", "utc read"} == set(cases)
    assert all(case["clocks"] == 10 for name, case in cases.items() if name != "utc read")
    slow = {name: case["wall_s_median"] for name, case in cases.items() if case["wall_s_median"] > 30.0}
    assert slow == {}
