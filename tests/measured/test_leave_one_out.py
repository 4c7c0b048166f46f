"""The kept coverage of stated sigmas is 68 % +- 8, of every ensemble and of every real file; nothing is run."""

import json
from pathlib import Path

KEPT = Path(__file__).resolve().parents[2] / "docs" / "measured" / "leave_one_out.json"
LEAST, MOST = 0.60, 0.76
ENSEMBLES = 6


def test_the_stated_sigma_covers_68_percent_of_simulated_and_of_real_clocks() -> None:
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    assert len({row["ensemble"] for row in kept["simulated"]}) >= ENSEMBLES
    assert len(kept["real"]) >= 3
    missed = {
        (row["ensemble"], row["horizon"]): row["coverage"]
        for row in kept["simulated"] + kept["real"]
        if not LEAST <= row["coverage"] <= MOST
    }
    assert missed == {}, "run design/ensemble/leave_one_out.py --out docs/measured/leave_one_out.json"
