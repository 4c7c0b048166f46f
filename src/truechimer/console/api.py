"""The read-only API: the laboratory's status and history, their events, its health, and samples of its time for clocks.

It asks the laboratory nothing itself: everything comes from the feed's last snapshot. There is no way to change
anything here, and no method but GET.
"""

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from truechimer.console.laboratory_feed import NS_PER_S, Heard, LaboratoryFeed, Snapshot

RAW_RATE_LIMIT = 1e-4
"""s/s: no host's raw counter is further from true before it is measured; it counts over the age of a snapshot."""

MAX_SAMPLE_AGE_S = 5.0
"""A snapshot older than this is not carried on to now: the clock stands still, and says so."""

LAST_SECONDS = "23:59:50"

MAX_WATCHERS = 1000
"""Browsers that follow the events at once, where the system grants the files; one more gets 503 and may ask
/api/status.
"""

PATIENCE_S = 20.0
"""A listener that takes nothing for so long is let go; meanwhile it costs one snapshot and the socket's buffer."""

RETRY_MS = 2000
_UNAVAILABLE, _FINE = 503, 200


class Api:
    """The routes of the API over one feed; `raw_ns` reads the raw counter, `watchers` is the most that may follow."""

    def __init__(self, feed: LaboratoryFeed, raw_ns: Callable[[], int], *, watchers: int = MAX_WATCHERS) -> None:
        self._feed = feed
        self._clock = ClockSamples(feed, raw_ns)
        self._events = EventStreams(feed, watchers)

    def routes(self) -> list[Route]:
        """Return what is served."""
        return [
            Route("/api/status", self.status, methods=["GET"]),
            Route("/api/history", self.history, methods=["GET"]),
            Route("/api/clock", self._clock, methods=["GET"]),
            Route("/events", self._events, methods=["GET"]),
            Route("/healthz", self.health, methods=["GET"]),
        ]

    async def status(self, _: Request) -> Response:
        """Return the laboratory's status document; 503 with what was last known where it is silent."""
        snapshot = self._feed.current
        if snapshot.answering and snapshot.document is not None:
            return JSONResponse(snapshot.document)
        return JSONResponse(snapshot.silence(), _UNAVAILABLE)

    async def history(self, _: Request) -> Response:
        """Return the laboratory's recent past, as the page plots it; 503 where none came yet or the laboratory is
        silent.
        """
        snapshot = self._feed.current
        if not snapshot.answering:
            return JSONResponse(snapshot.silence(), _UNAVAILABLE)
        if self._feed.history is None:
            return JSONResponse({"error": "the laboratory has told no history yet; ask again"}, _UNAVAILABLE)
        return JSONResponse(self._feed.history)

    async def health(self, _: Request) -> Response:
        """Return 200 where the laboratory answers, 503 where it is silent; whether it is synchronised stands inside."""
        snapshot = self._feed.current
        if not snapshot.answering or snapshot.document is None:
            return JSONResponse(snapshot.silence(), _UNAVAILABLE)
        kept = ("state", "synchronised", "bound_s", "against")
        said = {key: snapshot.document[key] for key in kept if key in snapshot.document}
        return JSONResponse({"answering": True} | said)

    def often(self) -> dict[str, ASGIApp]:
        """Return what each page asks for every few seconds or holds open: served without the way through the routes."""
        return {"/api/clock": self._clock, "/events": self._events}


class ClockSamples:
    """One sample of the time, as of the reply; always 200, `running` says whether it is one. An ASGI application."""

    def __init__(self, feed: LaboratoryFeed, raw_ns: Callable[[], int]) -> None:
        self._feed = feed
        self._raw_ns = raw_ns

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Serve one sample."""
        said = clock_sample(self._feed.current, self._raw_ns(), self._feed.earlier)
        body = json.dumps(said, allow_nan=False, separators=(",", ":")).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": _FINE, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class EventStreams:
    """The event stream, as an ASGI application: events `status` or `silent` each second, `history` every ten.

    Everybody is sent the same bytes. Invariant: `watchers` is the number of streams that are open.
    """

    def __init__(self, feed: LaboratoryFeed, most: int) -> None:
        self.watchers = 0
        self._feed = feed
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one stream until the feed closes, the browser leaves, or it takes nothing any more."""
        if self.watchers >= self._most:
            says = {"error": f"{self._most} browsers follow the events already; ask /api/status"}
            await JSONResponse(says, _UNAVAILABLE)(scope, receive, send)
            return
        self.watchers += 1
        try:
            following = asyncio.create_task(self._follow(send))
            leaving = asyncio.create_task(_left(receive))
            await asyncio.wait({following, leaving}, return_when=asyncio.FIRST_COMPLETED)
            for task in (following, leaving):
                task.cancel()
            # a stream that is cut short has no end: its browser comes back by itself
            ended = (await asyncio.gather(following, leaving, return_exceptions=True))[0]
        finally:
            self.watchers -= 1
        if ended is True:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        elif isinstance(ended, Exception) and not isinstance(ended, TimeoutError):
            raise ended

    async def _follow(self, send: Send) -> bool:
        """Send what comes; True once the feed is closed."""
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": _FINE, "headers": headers})
        heard, event = Heard(), f"retry: {RETRY_MS}\n\n".encode()
        while True:
            async with asyncio.timeout(PATIENCE_S):
                await send({"type": "http.response.body", "body": event, "more_body": True})
            found = await self._feed.next_events(heard)
            if found is None:
                return True
            heard, event = found


async def _left(receive: Receive) -> None:
    """Return when the browser has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def clock_sample(snapshot: Snapshot, raw_ns: int, earlier: Iterable[Snapshot] = ()) -> dict[str, Any]:
    """Return the time at raw value `raw_ns` from the present snapshot, or an `earlier` one that says it more narrowly,
    for a clock that people look at.

    `utc` is the laboratory's label at that snapshot, `elapsed_s` what has passed since, `bound_s` the half width of
    what is stated: the laboratory's own bound, half the time that its answer took, and the raw counter's rate limit
    over the age. Whoever adds `elapsed_s` to `utc` must know where seconds of UTC are inserted; the page does not, and
    stops before the end of a month.
    """
    document = snapshot.document
    if not snapshot.answering or document is None:
        return {"running": False, "why": "silent"} | snapshot.silence()
    said = {key: document[key] for key in ("state", "against", "missing") if key in document}
    if not _is_bounded(document):
        return {"running": False, "why": "unsynchronised"} | said
    samples = [_sample(snapshot, raw_ns)]
    like = (one for one in earlier if one.document is not None and _is_comparable(one.document, document))
    samples.extend(_sample(one, raw_ns) for one in like)
    found = min((each for each in samples if each is not None), key=lambda each: float(each["bound_s"]), default=None)
    if samples[0] is None or found is None:
        return {"running": False, "why": "old"} | said
    return said | {"running": True} | found


def _is_bounded(document: dict[str, Any]) -> bool:
    """Return True for a synchronised answer with a time and a bound."""
    utc, bound_s = document.get("utc"), document.get("bound_s")
    return document.get("synchronised") is True and isinstance(utc, str) and isinstance(bound_s, int | float)


def _is_comparable(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Return True where an earlier answer may stand for the present one: of the same day and kind of UTC, and not in
    the last seconds of a day, where only the newest label says whether a second was put in or taken away.
    """
    if not _is_bounded(before) or before.get("against") != now.get("against"):
        return False
    date, _, time = str(now["utc"]).partition("T")
    return str(before["utc"]).startswith(date) and time < LAST_SECONDS


def _sample(snapshot: Snapshot, raw_ns: int) -> dict[str, Any] | None:
    """Return what a bounded snapshot says at a raw value; None where it is too old."""
    document = snapshot.document
    assert document is not None
    oldest_s = (raw_ns - snapshot.asked_raw_ns) / NS_PER_S
    if not 0.0 <= oldest_s <= MAX_SAMPLE_AGE_S:
        return None
    took_s = (snapshot.answered_raw_ns - snapshot.asked_raw_ns) / NS_PER_S
    bound_s = document["bound_s"]
    return {
        "utc": document["utc"],
        "elapsed_s": oldest_s - took_s / 2,
        "bound_s": bound_s + took_s / 2 + RAW_RATE_LIMIT * oldest_s,
        "laboratory_bound_s": bound_s,
    }
