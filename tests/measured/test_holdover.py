"""What the guide says of holdover is what was measured."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MEASURED: dict[str, Any] = json.loads((ROOT / "docs" / "measured" / "holdover.json").read_text(encoding="utf-8"))
GUIDE = (ROOT / "docs" / "guide" / "outside.md").read_text(encoding="utf-8")


def shares(*, alone: bool) -> list[int]:
    cases = [case for case in MEASURED["cases"].values() if (case["clocks"] == 1) is alone]
    return [round(100 * share) for case in cases for share in case["inside"].values()]


def test_the_guide_says_how_often_the_stated_sigma_holds() -> None:
    one = shares(alone=True)
    assert f"One clock alone: {min(one)} to {max(one)} % of the runs" in GUIDE
    assert min(one) >= 63
    assert max(one) <= 73
    many = shares(alone=False)
    assert f"values of 0.3 to 5 ns): {min(many)} to {max(many)} %" in GUIDE
    assert min(many) >= 63
    assert max(many) <= 73


def test_each_case_was_measured_on_300_runs_or_more_and_limits_were_kept() -> None:
    assert len(MEASURED["cases"]) == 12
    for case in MEASURED["cases"].values():
        assert case["runs"] >= 300
        for name, told in case.items():
            if name.startswith("limit "):
                assert told["kept"] >= 0.98
