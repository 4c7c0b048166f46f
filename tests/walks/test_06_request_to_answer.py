"""The sixth walk is real: its names exist, and the loop calls them in the page's order."""

import inspect
import re

import pytest
from tests.walks.tracing import FILES, NAME, WALKS, found

PAGE = (WALKS / "06-request-to-answer.md").read_text(encoding="utf-8")
WALK = [name for name in NAME.findall(PAGE) if not name.endswith(FILES)]


@pytest.mark.parametrize("name", WALK)
def test_every_name_of_the_walk_exists(name: str) -> None:
    assert callable(found(name))


@pytest.mark.parametrize(
    ("caller", "called"),
    [
        ("daemon.ntp.ntp_memory.serve", ["begin", "receive", "page_has_changed", "judge", "send", "count_sent"]),
        ("daemon.ntp.ntp_memory.receive", ["take_pair", "judge_batch"]),
        ("daemon.ntp.ntp_batch.judge", ["read_control", "glance_at", "tail_of", "carried_over", "ask", "write_answer"]),
        ("daemon.ntp.ntp_memory.send", ["read_clock", "write_transmit", "_sendto"]),
        (
            "daemon.ntp.ntp_loop_compiled.CompiledNtpLoop.turn",
            ["take_pair", "_prepare", "serve", "_keep_books"],
        ),
    ],
)
def test_the_loop_calls_in_the_order_of_the_page(caller: str, called: list[str]) -> None:
    function = found(caller)
    source = inspect.getsource(getattr(function, "py_func", function))
    places = [re.search(rf"\b{name}\(", source) for name in called]
    assert all(places)
    starts = [place.start() for place in places if place is not None]
    assert starts == sorted(starts)
