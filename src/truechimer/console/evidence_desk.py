"""What the console answers about evidence: the log's own files, what the page shows of it, proofs, a bundle of it all.

It signs nothing, judges nothing and changes nothing; reading is done in threads, so that no look at the log holds up
the clock. The files under `/log/` are a C2SP tiled log as any reader of such logs asks for it.
"""

import asyncio
import contextlib
import io
import json
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from truechimer.console.api import PATIENCE_S
from truechimer.console.laboratory_feed import LaboratoryFeed
from truechimer.console.published_log import CHECKPOINT, PublishedLog
from truechimer.console.verify_page import page
from truechimer.errors import Rejected

MOST_READERS = 4
"""Requests that read the log's files at once; others wait."""
LARGEST_REPLAY = 1 << 16
REPLAY = "evidence/replay.json"
FROM_STATUS = ("lab", "against", "unwitnessed_since")
_NOT_FOUND, _UNAVAILABLE = 404, 503
_OCTETS = "application/octet-stream"


class EvidenceDesk:
    """The routes of evidence over one laboratory's folder and its feed."""

    def __init__(self, lab: Path, feed: LaboratoryFeed, raw_ns: Callable[[], int]) -> None:
        self._lab = lab
        self._feed = feed
        self._log = PublishedLog(lab, raw_ns)
        self._readers = asyncio.Semaphore(MOST_READERS)
        self._bundling = asyncio.Lock()

    def routes(self) -> list[Route]:
        """Return what is served."""
        return [
            Route("/log/{name:path}", self.file, methods=["GET"]),
            Route("/api/evidence", self.evidence, methods=["GET"]),
            Route("/api/evidence/entry/{index:int}", self.entry, methods=["GET"]),
            Route("/api/evidence/proof/{index:int}", self.proof, methods=["GET"]),
            Route("/evidence/bundle.zip", self.bundle, methods=["GET"]),
        ]

    async def file(self, request: Request) -> Response:
        """Return a file of the log by its one name."""
        name = request.path_params["name"]
        data = await self._read(lambda: self._log.file(name))
        if data is None:
            return PlainTextResponse("no such file of the log\n", _NOT_FOUND)
        return Response(data, media_type="text/plain; charset=utf-8" if name == CHECKPOINT else _OCTETS)

    async def evidence(self, _: Request) -> Response:
        """Return what the page shows; always 200, `published` says whether there is a log."""
        told = await self._read(self._log.document)
        snapshot = self._feed.current
        told["answering"] = snapshot.answering
        document = snapshot.document or {}
        told |= {key: document[key] for key in FROM_STATUS if key in document}
        if isinstance(document.get("evidence"), dict):
            told["says"] = document["evidence"]
            if (key := self._log_key()) is not None:
                told.setdefault("log_key", key)
        records = document.get("records")
        if isinstance(records, int) and told["published"]:
            told["behind"] = max(0, records - told["size"])
        told["replay"] = await self._read(lambda: last_replay(self._lab))
        return JSONResponse(told)

    def _log_key(self) -> str | None:
        """Return the log's key as the laboratory names it; None where it names none."""
        says = (self._feed.current.document or {}).get("evidence")
        key = says.get("log_key") if isinstance(says, dict) else None
        return key if isinstance(key, str) and key.isprintable() else None

    async def entry(self, request: Request) -> Response:
        """Return one entry, the bytes that were signed."""
        index = request.path_params["index"]
        return await self._file_of(lambda: self._log.entry(index), f"{index}.json", "application/json")

    async def proof(self, request: Request) -> Response:
        """Return one entry's proof under the published checkpoint."""
        index = request.path_params["index"]
        return await self._file_of(lambda: self._log.proof(index), f"{index}.tlog-proof", "text/plain; charset=utf-8")

    async def _file_of(self, make: Callable[[], bytes], name: str, kind: str) -> Response:
        try:
            data = await self._read(make)
        except Rejected as error:
            return PlainTextResponse(f"{error}\n", _NOT_FOUND)
        return Response(data, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})

    async def bundle(self, request: Request) -> Response:
        """Return the whole log as a bundle, one at a time."""
        if self._bundling.locked():
            return PlainTextResponse("a bundle is being made for somebody else; ask again in a minute\n", _UNAVAILABLE)
        try:
            size = (await self._read(self._log.head)).checkpoint.size
        except Rejected as error:
            return PlainTextResponse(f"{error}\n", _NOT_FOUND)
        headers = {"content-disposition": f'attachment; filename="log-{size}.zip"'}
        return _Streamed(self._streamed(request), media_type="application/zip", headers=headers)

    async def _streamed(self, request: Request) -> AsyncIterator[bytes]:
        async with self._bundling:
            parts = zipped(self._log.bundle(page(), self._log_key()))
            while (part := await asyncio.to_thread(next, parts, None)) is not None:
                if await request.is_disconnected():
                    return
                yield part

    async def _read(self, make: Callable[[], Any]) -> Any:
        async with self._readers:
            return await asyncio.to_thread(make)


class _Streamed(StreamingResponse):
    """A stream that lets a reader go who takes nothing for `PATIENCE_S`: the next one waits for him."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it."""

        async def send_soon(message: Message) -> None:
            async with asyncio.timeout(PATIENCE_S):
                await send(message)

        with contextlib.suppress(TimeoutError):
            await super().__call__(scope, receive, send_soon)


class _Parts(io.RawIOBase):
    """A file that is only written: what came since it was taken last."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """Return what came, and forget it."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def zipped(files: Iterator[tuple[str, bytes]]) -> Iterator[bytes]:
    """Yield a zip archive of files, part by part; nothing is packed, since hashes cannot be."""
    out = _Parts()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name), data)
            yield out.taken()
    yield out.taken()


def last_replay(lab: Path) -> dict[str, Any]:
    """Return the command of a replay, and what the last one that was kept beside the log said, where there is one."""
    told: dict[str, Any] = {"command": f"truechimer evidence replay {lab} --json > {lab / REPLAY}"}
    try:
        with (lab / REPLAY).open("rb") as file:
            body = json.loads(file.read(LARGEST_REPLAY))
    except FileNotFoundError:
        return told
    except (OSError, ValueError, RecursionError):
        return told | {"unreadable": True}
    if not isinstance(body, dict) or not isinstance(body.get("records_compared"), int):
        return told | {"unreadable": True}
    kept = ("records_compared", "difference", "first_record", "last_record")
    return told | {"last": {key: body[key] for key in kept if key in body}}
