"""The tables of credentials: each cell has a word, and each test that it names exists, also those of the threats."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guide" / "credentials.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.splitlines() if line.startswith("| **")
]


def test_every_named_test_exists() -> None:
    named = re.findall(r"`(tests/[^`]*)`", PAGE)
    assert len(named) >= 45
    for one in named:
        file, _, name = one.partition("::")
        source = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"(?m)^def {name}\(", source), one


def test_every_cell_says_something_and_the_credentials_are_those_of_the_issue() -> None:
    assert all(len(row) == 5 or "there is none" in row[1] for row in ROWS)
    told = " ".join(row[0] for row in ROWS).lower()
    for one in ("operator", "admin", "door", "scale", "applier", "one key", "k keys", "broker", "witness"):
        assert one in told, one


def test_every_asset_of_the_threat_model_has_tests() -> None:
    threats = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    table = threats[threats.index("## What each can do") : threats.index("## Rules")]
    assets = set(re.findall(r"(?m)^\| (\w[^|]+) \|", table)) - {"asset"}
    assert len(assets) >= 7
    tested = PAGE[PAGE.index("## The tests behind") :]
    assert [asset for asset in assets if not re.search(rf"(?m)^\| {asset}[,| ]", tested)] == []
