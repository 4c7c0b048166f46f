"""The kept measurement of the noise fit and of holdover: what the guide claims of them."""

import json
from pathlib import Path

BODY = json.loads(
    (Path(__file__).resolve().parents[2] / "docs" / "measured" / "stability_fit.json").read_text(encoding="utf-8")
)
HIDDEN = {"white FM, weak random-walk FM"}
"""A noise that this length of record cannot show: measured, and said, not held to the bar."""
CLOSE = ("1 s", "10 s", "100 s")
"""Horizons up to a tenth of the record."""


def test_every_mixture_was_measured_often_enough() -> None:
    assert len(BODY["summary"]) == 13
    assert BODY["phases"] == 1000
    assert min(row["trials"] for row in BODY["summary"].values()) >= 150


def test_intervals_of_determined_levels_hold_the_truth_as_often_as_they_say() -> None:
    """The bar is 64 to 73 %; of 150 trials one sigma is 3.8 %, so single rates are held to two of them beyond it.

    Levels that are determined in some of the records only are too high where they are; they are kept, and said.
    """
    rates = [
        rate
        for mix, row in BODY["coverage"].items()
        for name, rate in row.items()
        if BODY["determined"][mix][name] >= 0.9
    ]
    assert len(rates) >= 12
    assert 0.64 <= sum(rates) / len(rates) <= 0.73
    assert all(0.56 <= rate <= 0.81 for rate in rates)
    assert all(row["limits_held"] >= 0.93 for row in BODY["summary"].values())
    assert all(row["falsely_determined"] <= 0.05 for row in BODY["summary"].values())
    single = {name: row for name, row in BODY["bias"].items() if "," not in name and name != "all five"}
    assert len(single) == 5
    assert all(abs(bias) <= 0.02 for row in single.values() for bias in row.values())


def test_predictions_hold_what_came_as_often_as_they_say() -> None:
    rates = {name: row for name, row in BODY["holdover_coverage"].items() if name not in HIDDEN}
    close = [row[horizon] for row in rates.values() for horizon in CLOSE]
    assert 0.64 <= sum(close) / len(close) <= 0.73
    assert all(0.56 <= rate <= 0.81 for rate in close)
    far = [row[horizon] for row in rates.values() for horizon in ("500 s", "1000 s")]
    assert 0.60 <= sum(far) / len(far) <= 0.78
    assert all(rate >= 0.5 for rate in far)
    for row in BODY["real_records"].values():
        assert all(0.5 <= rate <= 0.9 for key, rate in row.items() if key.startswith("coverage"))
