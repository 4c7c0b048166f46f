"""Fixtures of the page's tests: one Chromium a worker and file, a laboratory that only answers, a console on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.console.browser import Browser, a_browser
from tests.console.consoles import Console, a_console
from tests.control.fake_laboratory import FakeLaboratory


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with a_browser(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[FakeLaboratory]:
    with FakeLaboratory(tmp_path / "lab") as running:
        yield running


@pytest.fixture
def console(lab: FakeLaboratory, browser: Browser) -> Iterator[Console]:
    with a_console(lab.folder) as running:
        browser.complaints.clear()
        browser.requested.clear()
        yield running
        browser.go("about:blank", 1280)
