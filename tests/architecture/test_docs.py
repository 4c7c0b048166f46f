"""Every verb is documented, and what the documents name exists."""

import re
from pathlib import Path

import pytest

from truechimer.cli.__main__ import VERBS

ROOT = Path(__file__).parents[2]
COMMANDS = ROOT / "docs" / "guide" / "commands.md"


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_its_section(verb: str) -> None:
    headings = re.findall(r"(?m)^## `truechimer ([a-z-]+)", COMMANDS.read_text(encoding="utf-8"))
    assert verb in headings, f"write `## \\`truechimer {verb} ...\\`` in docs/guide/commands.md"


def test_the_guide_documents_no_verb_that_is_not_there() -> None:
    headings = re.findall(r"(?m)^## `truechimer ([a-z-]+)", COMMANDS.read_text(encoding="utf-8"))
    assert set(headings) <= set(VERBS)
    assert len(headings) == len(set(headings))


def test_every_verb_that_the_readme_calls_exists() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    called = set(re.findall(r"(?m)(?:\./truechimer|`truechimer) ([a-z]+)", readme))
    assert called
    assert called <= set(VERBS)
