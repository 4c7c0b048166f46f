"""The tutorial: its commands run, print what the page shows, and draw its pictures."""

import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from truechimer.cli.__main__ import main

ROOT = Path(__file__).resolve().parents[2]


def _builder():
    spec = importlib.util.spec_from_file_location(
        "build_stability_guide", ROOT / "builders" / "build_stability_guide.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILDER = _builder()
TEXT = BUILDER.PAGE.read_text(encoding="utf-8")


def numbers(path: Path) -> list[float]:
    return [float(word) for word in re.findall(r"-?\d+\.\d+", path.read_text(encoding="utf-8"))]


@pytest.mark.slow
def test_the_commands_print_what_the_page_shows_and_draw_its_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(words: list[str], folder: Path) -> str:
        monkeypatch.chdir(folder)
        assert main(words) in {0, 1}
        return capsys.readouterr().out

    assert BUILDER.run(TEXT, tmp_path, here) == TEXT
    shown = BUILDER.SHOWN.findall(TEXT)
    assert len(shown) == 3
    for name in shown:
        kept, drawn = BUILDER.PICTURES / name, tmp_path / "week" / name
        assert numbers(drawn) == pytest.approx(numbers(kept), abs=0.02)
        tags = [element.tag for element in ET.fromstring(kept.read_text(encoding="utf-8")).iter()]
        assert tags == [element.tag for element in ET.fromstring(drawn.read_text(encoding="utf-8")).iter()]


def test_every_option_of_the_command_is_explained_in_the_guide(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["stability", "--help"])
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", capsys.readouterr().out)) - {"--help"}
    pages = "\n".join(
        (ROOT / "docs" / "guide" / name).read_text(encoding="utf-8")
        for name in ("stability.md", "stability-migration.md")
    )
    assert {option for option in options if not re.search(rf"`[^`\n]*{option}\b", pages)} == set()
    mentioned = set(re.findall(r"`(--[a-z][a-z0-9-]*)", TEXT))
    assert mentioned <= options


def test_every_statistic_is_in_the_guide() -> None:
    from truechimer import stability
    from truechimer.cli.stability_verb import DEVIATIONS

    names = {*DEVIATIONS, "gcodev", "three_cornered_hat", "dynamic"}
    assert all(hasattr(stability, name) and f"`{name}`" in TEXT for name in names)
