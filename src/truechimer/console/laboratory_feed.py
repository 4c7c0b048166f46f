"""The feed: one question a second to the laboratory, and its answer to everybody who looks.

It interprets no answer but its age. However many browsers look, the laboratory is asked once a second; a browser that
is slow misses snapshots and holds up nobody, since nothing is queued for it.

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
        name, body = ("status", self.document) if self.answering else ("silent", self.silence())
        return f"event: {name}\ndata: {json.dumps(body, allow_nan=False)}\n\n".encode()


NOTHING_YET = Snapshot(
    0,
    None,
    answering=False,
    says="the laboratory has not been asked yet",
    asked_raw_ns=0,
    answered_raw_ns=0,
    looked_raw_ns=0,
)


class LaboratoryFeed:
    """Asks `ask_status` once a second and wakes whoever waits; `raw_ns` reads the raw counter.

    Invariant: `current` and `event` belong together, and change in the event loop's thread only.
    """

    def __init__(self, ask_status: Callable[[], dict[str, Any]], raw_ns: Callable[[], int]) -> None:
        self.current = NOTHING_YET
        self.event = NOTHING_YET.event()
        self.closed = False
        self._ask_status = ask_status
        self._raw_ns = raw_ns
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        """Ask for ever, each second; cancel it to end."""
        while True:
            begun_ns = self._raw_ns()
            await self.ask_once()
            spent_s = (self._raw_ns() - begun_ns) / NS_PER_S
            await asyncio.sleep(max(0.0, ASK_EVERY_S - spent_s))

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
        async with self._changed:
            self.current, self.event = found, event
            self._changed.notify_all()

    async def next_event(self, after: int) -> tuple[int, bytes] | None:
        """Return number and event of the first snapshot after number `after`, or None once the feed is closed."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.closed or self.current.number > after)
            return None if self.closed else (self.current.number, self.event)

    async def close(self) -> None:
        """Let everybody who waits go."""
        async with self._changed:
            self.closed = True
            self._changed.notify_all()
