"""Journals and histories for the tests of this room."""

from pathlib import Path

import pytest
from tests.store.history_journals import journal, log

from truechimer.store.history_export import extend


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    return journal(tmp_path / "lab", log())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A journal and its history, which no test changes."""
    folder = tmp_path_factory.mktemp("made")
    path = journal(folder / "lab", log())
    assert extend(folder / "history", path).stopped is None
    return path, folder / "history"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "history"
