"""The kept years on UTC are within their gates, and no law beats the front."""

import json
from pathlib import Path
from typing import Any

MEASURED = Path(__file__).parents[2] / "docs" / "measured"
YEAR: Any = json.loads((MEASURED / "steering_year.json").read_text(encoding="utf-8"))
FRONT: Any = json.loads((MEASURED / "steering_front.json").read_text(encoding="utf-8"))["cases"]


def test_the_kept_years_are_within_their_gates_but_where_the_forecast_itself_is_not() -> None:
    for name, row in YEAR["cases"].items():
        assert row["rms_ns"] <= row.get("gate_rms_ns", row["rms_ns"]), name
        assert row["over_limit"] <= 1.10, name
        assert row["max_ns_95"] <= row.get("gate_max_ns", row["max_ns_95"]), name


def test_no_law_lies_below_the_front_and_one_order_a_day_is_nearer_to_it_where_a_law_is_gentle() -> None:
    for name, row in FRONT.items():
        for ratio, least in row["front"].items():
            assert row["ours"][ratio] >= 0.995 * least, (name, ratio)
            assert row["daily"][ratio] >= 0.995 * least, (name, ratio)
        assert row["ours_daily"]["1.15"] <= row["ours"]["1.15"], name


def test_weekly_values_alone_cannot_give_both_and_a_daily_link_beside_them_could() -> None:
    assert FRONT["ensemble, rapid UTC"]["front"]["1.15"] > 1.0
    for link in ("GNSS", "two-way"):
        assert FRONT[f"ensemble, rapid UTC and {link} daily"]["front"]["1.15"] < 1.0


def test_a_stated_stability_over_a_day_is_kept_in_simulated_years() -> None:
    for name, ratios in YEAR["gentle"].items():
        for ratio, row in ratios.items():
            assert row["adev_ratio"] <= float(ratio), name


def test_clocks_heard_one_by_one_foretell_utc_better_than_their_scale_does() -> None:
    for path in ("rapid UTC", "Circular T"):
        each, alone = YEAR["cases"][f"ensemble, {path}"], YEAR["scale alone"][f"ensemble, {path}"]
        assert each["rms_ns"] < 0.95 * alone["rms_ns"]
        assert each["max_ns_95"] < 0.9 * alone["max_ns_95"]
