"""The kept figures of what a rapid UTC shows meet the bars, but for those that are named here; nothing is run."""

import json
from pathlib import Path

from truechimer.scale.departure import LIMIT_S
from truechimer.watch.thresholds import THRESHOLDS

KEPT = Path(__file__).resolve().parents[2] / "docs" / "measured" / "ensemble_departures.json"
ROWS = json.loads(KEPT.read_text(encoding="utf-8"))["departures"]
AT = ROWS[0]["days_after_3_ns"].index(14)
SAID = 0.8
NOT_MET = {
    # a statement stood already in the other seeds: the scale's own wander
    ("1 ns/d in 30 d on a maser", 0.3, "weekly"),
    ("1 ns/d in 30 d on a maser", 1.0, "weekly"),
    ("0.3 to 3 ns/d in 10 to 60 d on a maser", 0.3, "daily"),
    ("0.3 to 3 ns/d in 10 to 60 d on a maser", 0.3, "weekly"),
    ("0.3 to 3 ns/d in 10 to 60 d on a maser", 1.0, "daily"),
    ("0.3 to 3 ns/d in 10 to 60 d on a maser", 1.0, "weekly"),
}
AGAIN = "run design/ensemble/departures.py --out docs/measured/ensemble_departures.json"


def test_within_fourteen_days_of_three_nanoseconds_a_departure_stands_and_mostly_is_said_since_the_onset() -> None:
    assert all(row["seeds"] >= 32 for row in ROWS)
    assert all(row["found"][AT] >= 0.95 for row in ROWS), AGAIN
    missed = {(row["ramp"], row["utcr_ns"], row["mode"]) for row in ROWS if row["found_anew"][AT] < SAID}
    assert missed == NOT_MET, AGAIN
    assert all(row["found_anew"][AT] > 0.5 for row in ROWS)


def test_nothing_is_said_of_a_scale_that_is_within_a_nanosecond_and_suspects_are_rare() -> None:
    for row in ROWS:
        assert row["clean_years"] > 30.0
        assert row["clean_said_within_1_ns_per_year"] <= 0.02, AGAIN
        assert row["clean_true_departure_ns_median"] > 3.0
        assert row["clean_suspects_per_year"] <= 4.5, AGAIN


def test_the_suspect_is_named_nearly_as_often_as_by_whoever_knows_everything() -> None:
    for row in ROWS:
        for point in row.get("curve", []):
            if point["after_d"] >= 45:
                assert point["suspect"] >= 0.7 * point["optimum_found"], AGAIN
    assert sum("curve" in row for row in ROWS) == 2


def test_the_limit_is_the_same_in_a_replay_and_in_service() -> None:
    assert THRESHOLDS["departure"].default == LIMIT_S
