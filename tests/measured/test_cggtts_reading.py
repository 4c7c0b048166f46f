"""CGGTTS reading: the kept measurement meets its bars."""

import json
from pathlib import Path

from tests.formats.cggtts_mutations import MUTATIONS

KEPT = Path(__file__).resolve().parents[2] / "docs" / "measured" / "cggtts_reading.json"


def test_files_are_read_faster_than_the_peer_does_and_no_damage_goes_unnoticed() -> None:
    body = json.loads(KEPT.read_text())
    assert body["files"] >= 38
    assert body["refused_whole"]["truechimer"] == []
    assert body["rate_over_ntpstats"] >= 1.1
    assert [row["damage"] for row in body["damage"]] == [each.says for each in MUTATIONS], "run bench/cggtts.py"
    assert all(row["truechimer"] == row["tried"] >= 100 for row in body["damage"])
