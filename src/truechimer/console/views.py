"""The pages: their HTML, their static files, and the headers that keep them to themselves.

It renders no data: each page fills itself from the API. The law of the file: nothing inline, nothing from outside, and
no name but this machine's where the door is on loopback (a page of elsewhere must not read these through a name that
it points here).
"""

import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from truechimer.console.verify_page import form

HERE = Path(__file__).parent
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",  # with the next: the browser's own clock reads finer
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_RAW_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
_HEADER_NAMES = frozenset(name for name, _ in _RAW_HEADERS)
_MISDIRECTED = 421


PAGES = {"/": "page.html", "/evidence": "evidence.html", "/orders": "orders.html"}


def routes() -> list[BaseRoute]:
    """Return the pages and their files; each page is read once, at start."""
    pages = [Route(path, _page(name), methods=["GET"]) for path, name in PAGES.items()]
    return [*pages, Mount("/static", StaticFiles(directory=HERE / "static"))]


def _page(name: str) -> Callable[[Request], Awaitable[Response]]:
    """Return what serves one page."""
    html = (HERE / "templates" / name).read_text(encoding="utf-8").replace("{{form}}", form())

    async def page(_: Request) -> Response:
        return HTMLResponse(html)

    return page


class Guarded:
    """An application with our headers on every reply; on a loopback address it answers to loopback names only.

    `often`: paths that pages ask for again and again, answered for GET without the way through the routes.
    """

    def __init__(self, app: ASGIApp, *, loopback: bool, often: Mapping[str, ASGIApp] | None = None) -> None:
        self._app = app
        self._loopback = loopback
        self._often = dict(often or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [header for header in message.get("headers", ()) if header[0].lower() not in _HEADER_NAMES]
                message = {**message, "headers": own + _RAW_HEADERS}
            await send(message)

        if self._loopback and not is_loopback_name(_host_of(scope)):
            says = "this console is on a loopback address and answers to loopback names only, such as 127.0.0.1\n"
            await PlainTextResponse(says, _MISDIRECTED)(scope, receive, send_with_headers)
            return
        found = self._often.get(scope["path"]) if scope["method"] == "GET" else None
        await (found or self._app)(scope, receive, send_with_headers)


def is_loopback_name(host: str) -> bool:
    """Return True where a Host header names this machine's loopback."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    name = name.removeprefix("[").removesuffix("]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _host_of(scope: Scope) -> str:
    """Return the Host header; empty where there is none."""
    for name, value in scope["headers"]:
        if name == b"host":
            return bytes(value).decode("latin-1")
    return ""
