"""The page of differences from other programs: each snippet runs, and what it prints is what the page shows."""

import contextlib
import importlib.util
import io
import re
import subprocess
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "guide" / "stability-differences.md"
TEXT = PAGE.read_text(encoding="utf-8")
SNIPPETS = {
    match["title"]: (match["code"], match["said"])
    for match in re.finditer(
        r"### (?P<title>[^\n]+)\n(?P<words>(?:(?!###).)*?)```python\n(?P<code>.*?)```\n\n```text\n(?P<said>.*?)```",
        TEXT,
        re.DOTALL,
    )
}
HAS_ALLANTOOLS = importlib.util.find_spec("allantools") is not None


def printed(code: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other programs' own
        exec(code, {})
    return said.getvalue()


class _Anything(types.ModuleType):
    """Stands for allantools where it is not installed: its numbers are NaN, and ours are compared alone."""

    def __getattr__(self, name: str):
        return lambda *_, **__: (np.full(9, np.nan),) * 4


def test_every_snippet_of_the_page_is_found_and_shows_what_it_printed() -> None:
    assert len(SNIPPETS) == TEXT.count("```python") >= 13
    assert all(said.strip() for _, said in SNIPPETS.values())
    numbers = [int(title.partition(".")[0]) for title in re.findall(r"(?m)^### (\d+\. )", TEXT)]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.slow
@pytest.mark.parametrize("title", [title for title, (code, _) in SNIPPETS.items() if "allantools" not in code])
def test_a_snippet_prints_what_the_page_shows(title: str) -> None:
    code, said = SNIPPETS[title]
    assert printed(code) == said


@pytest.mark.parametrize("title", [title for title, (code, _) in SNIPPETS.items() if "allantools" in code])
def test_our_own_numbers_beside_allantools_are_those_of_the_page(title: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = SNIPPETS[title]
    if not HAS_ALLANTOOLS:
        monkeypatch.setitem(sys.modules, "allantools", _Anything("allantools"))
    shown, found = said.splitlines(), printed(code).splitlines()
    assert len(shown) == len(found) >= 2
    for line, now in zip(shown, found, strict=True):
        assert line == now or (line.startswith("allantools") and not HAS_ALLANTOOLS)


@pytest.mark.acceptance
def test_the_builder_changes_nothing() -> None:
    before = PAGE.read_bytes()
    builder = ROOT / "builders" / "build_stability_differences.py"
    subprocess.run([sys.executable, str(builder)], check=True, env={"PYTHONPATH": str(ROOT / "src")})
    assert PAGE.read_bytes() == before
