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
    ten = [round(100 * share) for share in MEASURED["cases"]["ten clocks"]["inside"].values()]
    assert f"ten clocks {min(ten)} to {max(ten)} %" in GUIDE
    five = [round(100 * share) for share in MEASURED["cases"]["five caesiums"]["inside"].values()]
    assert f"five caesiums up to {max(five)} %" in GUIDE


def test_each_case_was_measured_on_400_runs_and_limits_were_kept() -> None:
    assert len(MEASURED["cases"]) == 6
    for case in MEASURED["cases"].values():
        assert case["runs"] >= 400
        for name, told in case.items():
            if name.startswith("limit "):
                assert told["kept"] >= 0.98
