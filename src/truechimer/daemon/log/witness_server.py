"""A witness's door: the HTTP of C2SP tlog-witness over a `WitnessKeeper`, and nothing else of HTTP.

`POST /add-checkpoint` and `GET /HASH/checkpoint`. One request a connection, then it hangs up. It judges no checkpoint
(`evidence.witnessing`) and holds no key.

Law of the file: whatever a client does (hang, trickle, flood, send anything), each connection ends within
`CONNECTION_S`, memory is bounded, no client has more than its share, and what was refused is counted under its name.
"""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Self

from truechimer.daemon.log.witness_keeper import WitnessKeeper
from truechimer.errors import Rejected
from truechimer.evidence.witnessing import LARGEST_REQUEST, TEXT, Reply

CONNECTION_S = 10.0
MOST_HEAD_BYTES = 16_384
MOST_CONNECTIONS = 32
MOST_OF_ONE_ADDRESS = 8
REQUESTS_PER_S = 5.0
BURST = 20.0
"""Of one address: a log asks once in seconds; what asks more is told 429."""
MOST_ADDRESSES = 4096
_WORDS = {
    200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict",
    411: "Length Required", 413: "Content Too Large", 422: "Unprocessable Content", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 503: "Service Unavailable",
}  # fmt: skip


class Refused(StrEnum):
    """What became of connections that got no further than HTTP."""

    CROWDED = "crowded"
    TOO_MANY = "too-many"
    TOO_SLOW = "too-slow"
    NOT_HTTP = "not-http"
    TOO_LONG = "too-long"
    CUT_SHORT = "cut-short"


class WitnessServerRejected(Rejected):
    """The door cannot be opened."""


class _HttpRejected(Rejected):
    """A request that is none, with the status that says so."""

    def __init__(self, status: int, counted: Refused, says: str) -> None:
        super().__init__(says)
        self.status, self.counted = status, counted


class WitnessServer:
    """The door of one witness. Use it as a context: it listens inside."""

    def __init__(
        self, keeper: WitnessKeeper, *, address: str, port: int, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Bind; raises `WitnessServerRejected`. `port` 0 lets the kernel choose."""
        self._keeper, self._monotonic_s = keeper, monotonic_s
        self.refused: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        self._allowance: dict[str, tuple[float, float]] = {}
        self._ending = threading.Event()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            self._door = socket.create_server((address, port), family=family, backlog=MOST_CONNECTIONS)
        except OSError as error:
            raise WitnessServerRejected(
                f"{address} port {port}: cannot be had ({error.strerror}); give another --address or --port"
            ) from None
        self._door.settimeout(0.25)
        self.port: int = self._door.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="witness", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(timeout=2.0)
        self._door.close()

    def _accept(self) -> None:
        while not self._ending.is_set():
            try:
                line, peer = self._door.accept()
            except TimeoutError:
                continue
            except OSError:
                self._ending.wait(0.05)  # no descriptors left, or the client has gone: go on
                continue
            address = str(peer[0])
            if not self._admit(address):
                line.close()
                continue
            threading.Thread(target=self._serve, args=(line, address), daemon=True).start()

    def _admit(self, address: str) -> bool:
        """Return whether one more connection of this address is served."""
        with self._lock:
            if self._open.total() >= MOST_CONNECTIONS or self._open[address] >= MOST_OF_ONE_ADDRESS:
                self.refused[Refused.CROWDED] += 1
                return False
            self._open[address] += 1
            return True

    def _has_allowance(self, address: str) -> bool:
        """Take one request off what an address may ask."""
        now_s = self._monotonic_s()
        with self._lock:
            left, since_s = self._allowance.get(address, (BURST, now_s))
            left = min(BURST, left + (now_s - since_s) * REQUESTS_PER_S)
            while len(self._allowance) >= MOST_ADDRESSES and address not in self._allowance:
                del self._allowance[next(iter(self._allowance))]
            self._allowance[address] = (left - 1.0 if left >= 1.0 else left), now_s
            return left >= 1.0

    def _serve(self, line: socket.socket, address: str) -> None:
        try:
            with line:
                until_s = self._monotonic_s() + CONNECTION_S
                reply = self._replied(line, address, until_s)
                line.settimeout(max(0.1, until_s - self._monotonic_s()))
                line.sendall(_http(reply))
                line.shutdown(socket.SHUT_WR)
                self._drain(line, until_s)
        except OSError:
            self._count(Refused.CUT_SHORT)
        finally:
            with self._lock:
                self._open[address] -= 1
                if not self._open[address]:
                    del self._open[address]

    def _replied(self, line: socket.socket, address: str, until_s: float) -> Reply:
        if not self._has_allowance(address):
            self._count(Refused.TOO_MANY)
            return Reply(429, b"too many requests from this address: ask less often\n")
        try:
            head, rest = self._head(line, until_s)
            return self._answer(line, head, rest, until_s)
        except _HttpRejected as error:
            self._count(error.counted)
            return Reply(error.status, f"{error}\n".encode())

    def _drain(self, line: socket.socket, until_s: float) -> None:
        """Read what a refused client still sends, a little: closing over unread bytes would take our answer away."""
        left = LARGEST_REQUEST
        while left > 0 and (left_s := until_s - self._monotonic_s()) > 0:
            line.settimeout(min(left_s, 1.0))
            part = line.recv(65_536)
            if not part:
                return
            left -= len(part)

    def _head(self, line: socket.socket, until_s: float) -> tuple[bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            if len(data) > MOST_HEAD_BYTES:
                raise _HttpRejected(431, Refused.TOO_LONG, f"a request's head has {MOST_HEAD_BYTES} bytes at the most")
            data += self._more(line, until_s)
        head, _, rest = data.partition(b"\r\n\r\n")
        return head, rest

    def _more(self, line: socket.socket, until_s: float) -> bytes:
        left_s = until_s - self._monotonic_s()
        try:
            line.settimeout(max(left_s, 0.001))
            part = line.recv(65_536)
        except TimeoutError:
            raise _HttpRejected(400, Refused.TOO_SLOW, "the request did not come in time") from None
        if not part:
            raise _HttpRejected(400, Refused.CUT_SHORT, "the request ends within itself")
        return part

    def _answer(self, line: socket.socket, head: bytes, rest: bytes, until_s: float) -> Reply:
        """Answer a request whose head is there."""
        first, *fields = head.split(b"\r\n")
        words = first.split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            raise _HttpRejected(400, Refused.NOT_HTTP, "not a request of HTTP/1")
        method, target = words[0], words[1].partition(b"?")[0]
        if method == b"GET":
            note = self._keeper.shown(target.decode("ascii", "replace").removeprefix("/"))
            return Reply(404, b"nothing here\n") if note is None else Reply(200, note)
        if target != b"/add-checkpoint":
            return Reply(404, b"nothing here: POST /add-checkpoint\n")
        if method != b"POST":
            return Reply(405, b"POST /add-checkpoint\n")
        return self._keeper.add(self._body(line, fields, rest, until_s))

    def _body(self, line: socket.socket, fields: list[bytes], rest: bytes, until_s: float) -> bytes:
        sizes: list[bytes] = []
        others: list[tuple[bytes, bytes]] = []
        for one in fields:
            name, _, value = one.partition(b":")
            if name.lower() == b"content-length":
                sizes.append(value.strip())
            else:
                others.append((name.strip().lower(), value.strip()))
        if any(name in {b"transfer-encoding", b"content-encoding"} for name, _ in others):
            raise _HttpRejected(411, Refused.NOT_HTTP, "send the body as it is, with its Content-Length")
        if len(sizes) != 1 or not sizes[0].isdigit() or len(sizes[0]) > 12:
            raise _HttpRejected(411, Refused.NOT_HTTP, "a Content-Length is needed, once")
        size = int(sizes[0])
        if size > LARGEST_REQUEST:
            raise _HttpRejected(413, Refused.TOO_LONG, f"a body has {LARGEST_REQUEST} bytes at the most")
        if (b"expect", b"100-continue") in others:
            line.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = bytearray(rest)
        while len(body) < size:
            body += self._more(line, until_s)
        return bytes(body[:size])

    def _count(self, what: Refused) -> None:
        with self._lock:
            self.refused[what] += 1


def _http(reply: Reply) -> bytes:
    """Return an answer's bytes."""
    words = _WORDS.get(reply.status, "Answer")
    content_type = reply.content_type or TEXT
    retry = "Retry-After: 10\r\n" if reply.status in {429, 503} else ""
    head = f"HTTP/1.1 {reply.status} {words}\r\nContent-Type: {content_type}\r\n{retry}"
    return f"{head}Content-Length: {len(reply.body)}\r\nConnection: close\r\n\r\n".encode() + reply.body
