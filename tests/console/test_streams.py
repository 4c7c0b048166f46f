"""Event streams and what is asked for them: the same bytes for all, nobody held up, a bound on how many."""

import asyncio
import hashlib
import re
import resource
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from truechimer.client import ServiceSilentRejected
from truechimer.console import api, laboratory_feed, server, views
from truechimer.console.api import EventStreams
from truechimer.console.laboratory_feed import LaboratoryFeed

FINE = {"synchronised": True, "utc": "2026-03-01T00:00:00Z", "bound_s": 1e-6, "against": "utc"}
SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "path": "/events", "headers": []}


class Browser:
    """One that listens: keeps what it was sent; `takes` False: it takes nothing after the beginning."""

    def __init__(self, *, takes: bool = True) -> None:
        self.messages: list[dict[str, Any]] = []
        self.left = asyncio.Event()
        self._takes = takes

    async def send(self, message: Any) -> None:
        if not self._takes and len(self.messages) >= 2:
            await asyncio.Event().wait()
        self.messages.append(dict(message))

    async def receive(self) -> Any:
        await self.left.wait()
        return {"type": "http.disconnect"}

    @property
    def events(self) -> list[bytes]:
        return [message["body"] for message in self.messages if message["type"] == "http.response.body"]


def a_feed(ask_history: Callable[[], dict[str, Any]] | None = None) -> LaboratoryFeed:
    return LaboratoryFeed(lambda: dict(FINE), lambda: 10**10, ask_history)


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 10.0))


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_everybody_is_sent_the_same_bytes_once() -> None:
    async def scene() -> None:
        feed = a_feed(lambda: {"utc": {"age_s": [0.0]}})
        streams = EventStreams(feed, 10)
        browsers = [Browser() for _ in range(3)]
        serving = [asyncio.create_task(streams(SCOPE, each.receive, each.send)) for each in browsers]
        await turns()
        assert streams.watchers == 3
        await feed.ask_once()
        await turns()
        await feed.ask_history_once()
        await turns()
        for each in browsers:
            assert [event.split(b"\n")[0] for event in each.events[-2:]] == [b"event: status", b"event: history"]
            assert each.events[-2] is feed.event
        late = Browser()
        serving.append(asyncio.create_task(streams(SCOPE, late.receive, late.send)))
        await turns()
        assert late.events[-1].count(b"event: ") == 2  # who comes late gets both at once
        feed.close()
        await asyncio.gather(*serving)
        assert streams.watchers == 0
        assert all(each.messages[-1]["more_body"] is False for each in (*browsers, late))

    run(scene)


def test_a_listener_that_takes_nothing_holds_up_nobody_and_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "PATIENCE_S", 0.02)

    async def scene() -> None:
        feed = a_feed()
        streams = EventStreams(feed, 10)
        stuck, quick = Browser(takes=False), Browser()
        held = asyncio.create_task(streams(SCOPE, stuck.receive, stuck.send))
        served = asyncio.create_task(streams(SCOPE, quick.receive, quick.send))
        await turns()
        for number in range(5):
            await feed.ask_once()
            await turns()
            assert quick.events[-1].startswith(b"event: status"), number
        await held
        assert len(stuck.events) == 1
        assert streams.watchers == 1
        quick.left.set()
        await served
        assert streams.watchers == 0

    run(scene)


def test_one_browser_too_many_is_told_so_and_a_place_becomes_free_again() -> None:
    async def scene() -> None:
        feed = a_feed()
        streams = EventStreams(feed, 1)
        first, second, third = Browser(), Browser(), Browser()
        serving = asyncio.create_task(streams(SCOPE, first.receive, first.send))
        await turns()
        await streams(SCOPE, second.receive, second.send)
        assert second.messages[0]["status"] == 503
        assert b"1 browsers follow the events already" in second.events[0]
        first.left.set()
        await serving
        again = asyncio.create_task(streams(SCOPE, third.receive, third.send))
        await turns()
        assert third.messages[0]["status"] == 200
        feed.close()
        await again

    run(scene)


def test_a_history_that_does_not_come_leaves_the_last_one() -> None:
    answers: list[Any] = [{"a": 1}, None, {"x": float("nan")}, {"a": 1}, {"a": 2}]

    def ask() -> dict[str, Any]:
        answer = answers.pop(0)
        if answer is None:
            raise ServiceSilentRejected(Path("/lab"), "gone", found_by="--lab")
        return dict(answer)

    async def scene() -> None:
        feed, seen = a_feed(ask), []
        heard = laboratory_feed.Heard(0)
        for _ in range(5):
            await feed.ask_history_once()
            seen.append(feed.history)
        found = await feed.next_events(heard)
        assert found is not None
        assert found[0].history == 2  # two that differ; what did not change is not sent again
        assert seen == [{"a": 1}, {"a": 1}, {"a": 1}, {"a": 1}, {"a": 2}]

    run(scene)


def test_a_history_without_deviations_is_asked_for_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laboratory_feed, "ASK_EVERY_S", 0.001)
    monkeypatch.setattr(laboratory_feed, "ASK_HISTORY_EVERY_S", 100.0)
    asked: list[int] = []

    def ask() -> dict[str, Any]:
        asked.append(len(asked))
        return {"utc": {}} | ({"deviations": {}} if len(asked) == 4 else {})

    async def scene() -> None:
        feed = a_feed(ask)
        asking = asyncio.create_task(feed.run())
        while feed.history is None or "deviations" not in feed.history:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        asking.cancel()
        assert len(asked) == 4

    run(scene)


@pytest.mark.parametrize(
    ("limits", "set_to", "connections"),
    [
        ((100_000, 100_000), None, server.MAX_CONNECTIONS),
        ((1024, 100_000), server.MAX_CONNECTIONS + server.FILES_KEPT, server.MAX_CONNECTIONS),
        ((1024, 1024), 1024, 1024 - server.FILES_KEPT),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None, server.MAX_CONNECTIONS),
        ((50, 50), 50, 2),
    ],
)
def test_as_many_connections_as_the_system_grants(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], set_to: int | None, connections: int
) -> None:
    now = list(limits)
    wanted: list[int] = []

    def set_limit(_: int, found: tuple[int, int]) -> None:
        wanted.append(found[0])
        now[0] = found[0]

    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(now))
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    assert server._connections() == connections
    assert wanted == ([] if set_to is None else [set_to])


def test_the_files_of_others_are_those_that_were_published() -> None:
    folder = views.HERE / "static" / "uplot"
    text = (folder / "README.md").read_text(encoding="utf-8")
    named = dict(re.findall(r"(?m)^\| `([\w.]+)` \| `([0-9a-f]{64})` \|$", text))
    files = {path.name for path in folder.iterdir()} - {"README.md"}
    assert files == set(named)
    for name, digest in named.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert "MIT" in (folder / "LICENSE").read_text(encoding="utf-8")
