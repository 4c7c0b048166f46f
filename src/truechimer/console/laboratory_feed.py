"""The feed: one question a second to the laboratory, and its answer to everybody who looks.

It interprets no answer but its age. However many browsers look, the laboratory is asked once a second for its status
and every ten for its history; what is sent is written once for all. A browser that is slow misses snapshots and holds
up nobody, since nothing is queued for it.

The law of the file: a laboratory that does not answer is silent from its last answer on, and no snapshot pretends
otherwise.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from truechimer.errors import Rejected

ASK_EVERY_S = 1.0
ASK_HISTORY_EVERY_S = 10.0
HURRIES = 10
"""A history without deviations (they are being reckoned) is asked for again a second later, so many times."""

NS_PER_S = 10**9


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known after one question.

    `document` is the last answer (None before the first), true at some moment between `asked_raw_ns` and
    `answered_raw_ns` of the raw counter; `last_utc` is the last UTC text that any answer held. `answering` is False
    where the last question, which ended at `looked_raw_ns`, had no answer, because of `says`. `number` counts the
    questions.
    """

    number: int
    document: dict[str, Any] | None
    answering: bool
    says: str
    asked_raw_ns: int
    answered_raw_ns: int
    looked_raw_ns: int
    last_utc: str | None = None

    def silence(self) -> dict[str, Any]:
        """Return what is said of a silent laboratory: since when (its own UTC of the last answer), and why."""
        said: dict[str, Any] = {"answering": False, "error": self.says}
        if self.document is not None:
            said["silent_for_s"] = (self.looked_raw_ns - self.answered_raw_ns) / NS_PER_S
            said |= {key: self.document[key] for key in ("lab", "against") if key in self.document}
        if self.last_utc is not None:
            said["silent_since_utc"] = self.last_utc
        return said

    def event(self) -> bytes:
        """Return the server-sent event of this snapshot."""
        if self.answering and self.document is not None:
            return server_sent("status", self.document)
        return server_sent("silent", self.silence())


NOTHING_YET = Snapshot(
    0,
    None,
    answering=False,
    says="the laboratory has not been asked yet",
    asked_raw_ns=0,
    answered_raw_ns=0,
    looked_raw_ns=0,
)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a listener has got already: the numbers of the last snapshot and of the last history."""

    status: int = -1
    history: int = 0


MOST_REMEMBERED = 8
"""Snapshots of the last seconds, for a clock: of several answers the quickest says best what the time was."""


class LaboratoryFeed:
    """Asks once a second and wakes whoever waits; `raw_ns` reads the raw counter.

    `earlier`: the answers just before the current one. Invariant: `current` and `event` belong together, `history` and
    its event too, and all change in the event loop's
    thread only.
    """

    def __init__(
        self,
        ask_status: Callable[[], dict[str, Any]],
        raw_ns: Callable[[], int],
        ask_history: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        self.current = NOTHING_YET
        self.event = NOTHING_YET.event()
        self.earlier: tuple[Snapshot, ...] = ()
        self.history: dict[str, Any] | None = None
        self.closed = False
        self._history_event = b""
        self._histories = 0
        self._ask_status = ask_status
        self._ask_history = ask_history
        self._raw_ns = raw_ns
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Ask for ever; cancel it to end."""
        async with asyncio.TaskGroup() as asking:
            asking.create_task(self._ask_each_second())
            asking.create_task(self._ask_history_now_and_then())

    async def _ask_each_second(self) -> None:
        while True:
            begun_ns = self._raw_ns()
            await self.ask_once()
            spent_s = (self._raw_ns() - begun_ns) / NS_PER_S
            await asyncio.sleep(max(0.0, ASK_EVERY_S - spent_s))

    async def _ask_history_now_and_then(self) -> None:
        hurries = HURRIES
        while True:
            await self.ask_history_once()
            if self.history is not None and "deviations" in self.history:
                hurries = 0
            await asyncio.sleep(ASK_EVERY_S if hurries else ASK_HISTORY_EVERY_S)
            hurries = max(hurries - 1, 0)

    async def ask_once(self) -> None:
        """Ask once and tell everybody."""
        before = self.current
        asked_raw_ns = self._raw_ns()
        try:
            document = await asyncio.to_thread(self._ask_status)
            looked_raw_ns = self._raw_ns()
            utc = document.get("utc")
            found = Snapshot(
                before.number + 1,
                document,
                answering=True,
                says="",
                asked_raw_ns=asked_raw_ns,
                answered_raw_ns=looked_raw_ns,
                looked_raw_ns=looked_raw_ns,
                last_utc=utc if isinstance(utc, str) else before.last_utc,
            )
            event = found.event()
        except (Rejected, ValueError) as error:  # ValueError: a number that JSON cannot say is no answer either
            looked_raw_ns = self._raw_ns()
            found = replace(
                before, number=before.number + 1, answering=False, says=str(error), looked_raw_ns=looked_raw_ns
            )
            event = found.event()
        # an answer before a silence is no help: the laboratory may have been started anew
        self.earlier = (*self.earlier, before)[-MOST_REMEMBERED:] if before.answering and found.answering else ()
        self.current, self.event = found, event
        self._wake()

    async def ask_history_once(self) -> None:
        """Ask for the history once and tell everybody; without an answer the last one stays (the page says that the
        laboratory is silent).
        """
        if self._ask_history is None:
            return
        try:
            document = await asyncio.to_thread(self._ask_history)
            event = server_sent("history", document)
        except (Rejected, ValueError):
            return
        if event != self._history_event:
            self.history, self._history_event = document, event
            self._histories += 1
            self._wake()

    async def next_events(self, heard: Heard) -> tuple[Heard, bytes] | None:
        """Return what is new since `heard`, as bytes to send, or None once the feed is closed."""
        while not self.closed:
            now = Heard(self.current.number, self._histories)
            if now.status > heard.status or now.history > heard.history:
                status = self.event if now.status > heard.status else b""
                history = self._history_event if now.history > heard.history else b""
                return now, status + history
            await self._changed.wait()
        return None

    def close(self) -> None:
        """Let everybody who waits go."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        """Wake whoever waits now; who comes later waits for the next time."""
        self._changed.set()
        self._changed = asyncio.Event()


def server_sent(name: str, body: dict[str, Any]) -> bytes:
    """Return a server-sent event; raises ValueError for what JSON cannot say (NaN)."""
    return f"event: {name}\ndata: {json.dumps(body, allow_nan=False, separators=(',', ':'))}\n\n".encode()
