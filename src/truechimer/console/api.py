"""The read-only API: the laboratory's status document, its events, its health, and one sample of its time for a clock.

It asks the laboratory nothing itself: everything comes from the feed's last snapshot. There is no way to change
anything here, and no method but GET.
"""

from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from truechimer.console.laboratory_feed import NS_PER_S, LaboratoryFeed, Snapshot

RAW_RATE_LIMIT = 1e-4
"""s/s: no host's raw counter is further from true before it is measured; it counts over the age of a snapshot."""

MAX_SAMPLE_AGE_S = 5.0
"""A snapshot older than this is not carried on to now: the clock stands still, and says so."""

MAX_WATCHERS = 128
"""Browsers that follow the events at once; one more gets 503 and may ask /api/status."""

RETRY_MS = 2000
_UNAVAILABLE, _FINE = 503, 200


class Api:
    """The routes of the API over one feed; `raw_ns` reads the raw counter."""

    def __init__(self, feed: LaboratoryFeed, raw_ns: Any) -> None:
        self._feed = feed
        self._raw_ns = raw_ns
        self._watchers = 0

    def routes(self) -> list[Route]:
        """Return what is served."""
        return [
            Route("/api/status", self.status, methods=["GET"]),
            Route("/api/clock", self.clock, methods=["GET"]),
            Route("/events", self.events, methods=["GET"]),
            Route("/healthz", self.health, methods=["GET"]),
        ]

    async def status(self, _: Request) -> Response:
        """Return the laboratory's status document; 503 with what was last known where it is silent."""
        snapshot = self._feed.current
        if snapshot.answering and snapshot.document is not None:
            return JSONResponse(snapshot.document)
        return JSONResponse(snapshot.silence(), _UNAVAILABLE)

    async def health(self, _: Request) -> Response:
        """Return 200 where the laboratory answers, 503 where it is silent; whether it is synchronised stands inside."""
        snapshot = self._feed.current
        if not snapshot.answering or snapshot.document is None:
            return JSONResponse(snapshot.silence(), _UNAVAILABLE)
        kept = ("state", "synchronised", "bound_s", "against")
        said = {key: snapshot.document[key] for key in kept if key in snapshot.document}
        return JSONResponse({"answering": True} | said)

    async def clock(self, _: Request) -> Response:
        """Return one sample of the time, as of this reply; always 200, `running` says whether it is one."""
        return JSONResponse(clock_sample(self._feed.current, self._raw_ns()))

    async def events(self, _: Request) -> Response:
        """Return the stream of snapshots: events `status` and `silent`."""
        if self._watchers >= MAX_WATCHERS:
            says = {"error": f"{MAX_WATCHERS} browsers follow the events already; ask /api/status"}
            return JSONResponse(says, _UNAVAILABLE)
        self._watchers += 1
        return StreamingResponse(self._stream(), _FINE, media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[bytes]:
        try:
            yield f"retry: {RETRY_MS}\n\n".encode()
            number = -1
            while (found := await self._feed.next_event(number)) is not None:
                number, event = found
                yield event
        finally:
            self._watchers -= 1


def clock_sample(snapshot: Snapshot, raw_ns: int) -> dict[str, Any]:
    """Return the time at raw value `raw_ns` from a snapshot, for a clock that people look at.

    `utc` is the laboratory's label at the snapshot, `elapsed_s` what has passed since, `bound_s` the half width of what
    is stated: the laboratory's own bound, half the time that its answer took, and the raw counter's rate limit over the
    age. Whoever adds `elapsed_s` to `utc` must know where seconds of UTC are inserted; the page does not, and stops
    before the end of a month.
    """
    document = snapshot.document
    if not snapshot.answering or document is None:
        return {"running": False, "why": "silent"} | snapshot.silence()
    said = {key: document[key] for key in ("state", "against", "why", "missing") if key in document}
    utc, bound_s = document.get("utc"), document.get("bound_s")
    if document.get("synchronised") is not True or not isinstance(utc, str) or not isinstance(bound_s, int | float):
        return {"running": False, "why": "unsynchronised"} | said
    oldest_s = (raw_ns - snapshot.asked_raw_ns) / NS_PER_S
    if not 0.0 <= oldest_s <= MAX_SAMPLE_AGE_S:
        return {"running": False, "why": "old"} | said
    took_s = (snapshot.answered_raw_ns - snapshot.asked_raw_ns) / NS_PER_S
    return said | {
        "running": True,
        "utc": utc,
        "elapsed_s": oldest_s - took_s / 2,
        "bound_s": bound_s + took_s / 2 + RAW_RATE_LIMIT * oldest_s,
        "laboratory_bound_s": bound_s,
    }
