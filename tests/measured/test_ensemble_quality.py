"""The kept figures of the scale's stability meet the bars, but for those that are named here; nothing is run."""

import json
from pathlib import Path

KEPT = Path(__file__).resolve().parents[2] / "docs" / "measured" / "ensemble_quality.json"
BARS = {
    "known": {"1 h": 1.05, "1 d": 1.08, "10 d": 1.10, "30 d": 1.15},
    "noise unknown": {"1 h": 1.05, "1 d": 1.10, "10 d": 1.15, "30 d": 1.20},
    "drift unknown": {"10 d": 1.15, "30 d": 1.40},
    "no clock file": {"10 d": 1.15, "30 d": 1.40},
}
NOT_MET = {
    # no clock there that does not drift: what is possible stands beside it ("drift learned at best")
    ("2 rubidiums, 10 crystals: drift unknown", "10 d"),
    ("2 rubidiums, 10 crystals: drift unknown", "30 d"),
    ("2 rubidiums, 10 crystals: no clock file", "10 d"),
    ("2 rubidiums, 10 crystals: no clock file", "30 d"),
    # three clocks of no kind: in months nothing says how quiet the fountain is
    ("1 fountain, 2 masers: no clock file", "10 d"),
    ("1 fountain, 2 masers: no clock file", "30 d"),
}
NOISY_NOT_MET = {
    # at most 1.09 of the best causal scale instead of 1.05
    ("3 masers, 5 caesiums: known, reading noise 100 ps", "1 d"),
    ("5 masers, 6 caesiums: known, reading noise 100 ps", "1 d"),
    ("5 masers, 6 caesiums: known, reading noise 500 ps", "10 d"),
    ("2 rubidiums, 10 crystals: known, reading noise 100 ps", "1 h"),
    ("2 rubidiums, 10 crystals: known, reading noise 300 ps", "1 h"),
    ("1 fountain, 2 masers: known, reading noise 300 ps", "10 d"),
}
NOISES_PS = {"2": 6, "10": 6, "100": 6, "300": 6, "500": 3, "300/3": 2}
"""Reading noise, and of how many ensembles it is kept; 300/3: a link's and a counter's, in turn."""
ENSEMBLES = 7


def test_every_ensemble_meets_the_bars_but_for_what_is_named() -> None:
    figures = json.loads(KEPT.read_text(encoding="utf-8"))["adev_over_best_fixed"]
    missed = set()
    for case, bars in BARS.items():
        titles = [title for title in figures if title.endswith(f": {case}")]
        assert len(titles) == ENSEMBLES, case
        missed |= {(title, lag) for title in titles for lag, bar in bars.items() if figures[title][lag] > bar}
    assert missed == NOT_MET, "run design/ensemble/quality.py --out docs/measured/ensemble_quality.json"


def test_with_reading_noise_the_scale_is_within_five_percent_of_the_best_causal_one() -> None:
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    missed = set()
    for noise, ensembles in NOISES_PS.items():
        told = f": known, reading noise {noise} ps"
        titles = [title for title in kept["adev_over_best_fixed"] if title.endswith(told)]
        assert len(titles) == ensembles, noise
        for title in titles:
            best = kept["reachable_over_best_fixed"][f"{title.split(':')[0]}, reading noise {noise} ps"]
            for lag, value in best["best causal at all"].items():
                ratio = kept["adev_over_best_fixed"][title][lag] / value
                assert ratio <= 1.09, (title, lag)
                if ratio > 1.05:
                    missed.add((title, lag))
    assert missed == NOISY_NOT_MET, "run design/ensemble/quality.py --noise-ps 2 --cases known"


def test_what_is_declared_wrong_is_overcome_where_some_clock_does_not_drift() -> None:
    figures = json.loads(KEPT.read_text(encoding="utf-8"))["adev_over_best_fixed"]
    for title, row in figures.items():
        if title.endswith((": declared ten times wrong", ": declared equal")) and "rubidiums, 10" not in title:
            assert row["1 d"] <= 1.10, title
            assert row["10 d"] <= 1.15, title
            assert row["30 d"] <= 1.40, title


def test_where_nothing_is_free_of_drift_the_scale_is_near_what_an_optimal_filter_reaches() -> None:
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    got = kept["adev_over_best_fixed"]["2 rubidiums, 10 crystals: drift unknown"]
    best = kept["reachable_over_best_fixed"]["2 rubidiums, 10 crystals"]["drift learned at best"]
    for lag, value in best.items():
        assert got[lag] <= 1.05 * value, lag


def test_the_stated_sigma_of_a_drift_holds_and_is_at_most_a_quarter_too_large() -> None:
    covered = json.loads(KEPT.read_text(encoding="utf-8"))["drift_sigma_covers"]
    clocks = sum(row["clocks"] for row in covered.values())
    inside = sum(row["clocks"] * row["part"] for row in covered.values())
    assert clocks >= 100
    # 0.68 would be exact; a sigma that is 1.25 times too large covers 0.79
    assert 0.60 <= inside / clocks <= 0.79
