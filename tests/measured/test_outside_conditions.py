"""What the guide says of links that are led away is what was measured, and it keeps the bars of the catalogue that it
claims.
"""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MEASURED: dict[str, Any] = json.loads((ROOT / "docs" / "measured" / "outside_conditions.json").read_text("utf-8"))
GUIDE = (ROOT / "docs" / "guide" / "outside.md").read_text(encoding="utf-8")
ROWS = MEASURED["conditions"]
WORDS = {"all": "receivers, pasts and vote", "links": "pasts and vote", "none": "the vote alone"}
MOST_MOVED_NS = {"D07": 0.5, "D08": 1.0, "D09": 0.5, "D10": 0.5, "D11": 1.0}
"""Bars of the catalogue for what moves UTC(k)."""
SOONEST_H = {"D07": 2 / 6, "D09": 1 / 6, "D10": 1 / 6, "D11": 3.0}
"""And for the first alarm; D08's 12 h is not kept, and the page says so."""


def of(name: str, defence: str) -> dict[str, Any]:
    (row,) = [row for row in ROWS if row["condition"].startswith(name) and row["defence"] == defence]
    return dict(row)


def test_the_table_of_the_guide_is_the_measurement() -> None:
    for row in ROWS:
        after = "-" if row["seen_after_h"] is None else f"{row['seen_after_h']:g} h"
        assert f"| {row['condition']} | {WORDS[row['defence']]} | {row['moved_ns']:g} ns | {after} |" in GUIDE
    assert f"the worst of {MEASURED['seeds']} seeds" in GUIDE


def test_what_is_led_away_is_outvoted_within_the_bars_and_nothing_else_is_put_out() -> None:
    for name, most_ns in MOST_MOVED_NS.items():
        assert of(name, "all")["moved_ns"] <= most_ns
    for name, soonest_h in SOONEST_H.items():
        assert of(name, "all")["seen_after_h"] <= soonest_h
    for row in ROWS:
        assert (row["lies"], row["wrongly_out"], row["critical_elsewhere"]) == (0, 0, 0)
        assert row["pages"] > 0
    assert of("nothing", "all")["seen_after_h"] is None


def test_a_drag_and_an_asymmetry_do_harm_without_the_links_pasts() -> None:
    for name in ("D08", "D11"):
        assert of(name, "none")["moved_ns"] > MOST_MOVED_NS[name]
        assert of(name, "none")["seen_after_h"] > of(name, "all")["seen_after_h"]
