"""The sixth walk is real: its names exist, and the loop calls them in the page's order."""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "walks" / "06-request-to-answer.md"
NAMES = re.findall(r"`((?:[a-z_0-9]+\.)+[A-Za-z_0-9.]+)`", PAGE.read_text(encoding="utf-8"))
WALK = [name for name in NAMES if not name.endswith((".py", ".json"))]


def found(name: str) -> Any:
    """Return what a dotted name below the package stands for."""
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        try:
            place: Any = importlib.import_module(".".join(["truechimer", *parts[:end]]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            place = getattr(place, part)
        return place
    raise AssertionError(f"{name} is no name below truechimer")


@pytest.mark.parametrize("name", WALK)
def test_every_name_of_the_walk_exists(name: str) -> None:
    assert callable(found(name))


@pytest.mark.parametrize(
    ("caller", "called"),
    [
        ("daemon.ntp_memory.serve", ["receive", "page_has_changed", "judge", "send"]),
        ("daemon.ntp_memory.receive", ["take_pair", "judge_batch"]),
        ("daemon.ntp_batch.judge", ["read_control", "glance_at", "tail_of", "carried_over", "ask", "write_answer"]),
        ("daemon.ntp_memory.send", ["read_clock", "write_transmit", "_sendto"]),
        ("daemon.ntp_loop_compiled.CompiledNtpLoop.turn", ["take_pair", "_prepare", "begin", "serve", "_keep_books"]),
    ],
)
def test_the_loop_calls_in_the_order_of_the_page(caller: str, called: list[str]) -> None:
    function = found(caller)
    source = inspect.getsource(getattr(function, "py_func", function))
    places = [re.search(rf"\b{name}\(", source) for name in called]
    assert all(places)
    starts = [place.start() for place in places if place is not None]
    assert starts == sorted(starts)
