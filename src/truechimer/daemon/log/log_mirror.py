"""A log that is asked for over HTTP: its files are copied into a folder, bounded, and judged there like any other.

It believes nothing that it gets: the checkpoint is judged by the policy before anything else is asked for, the tiles by
`evidence.audit`. What was copied once is not asked for again, so a copy that was broken off goes on; and a log whose
last copy is still there must continue it. Source: C2SP tlog-tiles (`Content-Encoding: gzip` may come unasked).

Law of the file: no redirect is followed, no answer is read beyond its limit in bytes and seconds.
"""

import contextlib
import http.client
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urlsplit

from truechimer.errors import Rejected
from truechimer.evidence.audit import CHECKPOINT
from truechimer.evidence.bundle import fetching
from truechimer.evidence.checkpoint import Checkpoint
from truechimer.evidence.entry import hash_of_long, payload_path
from truechimer.evidence.log_policy import CheckpointDistrusted, LogPolicy, TrustedCheckpoint, judged
from truechimer.evidence.merkle import HASH_BYTES, folded, parts
from truechimer.evidence.tiles import (
    ENTRIES,
    LARGEST_BUNDLE,
    WIDTH,
    Tile,
    TileRejected,
    TreeReader,
    entries_of,
    tiles_of,
    tiles_of_level,
)
from truechimer.quorum.note import LARGEST_NOTE
from truechimer.store.log_files import LogFiles

CONFLICT = "checkpoint.conflict"
"""Where a signed checkpoint is kept that contradicts the one of the last copy: both together convict the log."""
RECEIVE_S = 10.0
"""So long a server may say nothing within an answer."""
ANSWER_S = 60.0
"""So long one answer may take in all."""
TRIES = 3
AT_ONCE = 4
MOST_ENTRIES = 1 << 26
MOST_BYTES = 16 << 30
LARGEST_PAYLOAD = 1 << 26


class LogUrlRejected(Rejected):
    """A server that does not serve a log. `reason`: `address`, `unreachable`, `tls`, `redirect`, `status`, `encoding`,
    `too-long`, `slow`, `protocol`, `missing`, `too-large`, `rollback`, `fork`.
    """

    def __init__(self, reason: str, says: str) -> None:
        """Keep the reason."""
        super().__init__(says)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Address:
    """Where a log is asked: `prefix` begins with a slash and does not end with one (empty for the server's root)."""

    secure: bool
    host: str
    port: int
    prefix: str

    @property
    def text(self) -> str:
        """Return it as it is written."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.secure else ''}://{host}:{self.port}{self.prefix}"


def is_url(text: str) -> bool:
    """Return whether somebody names an address and not a file."""
    return text.lower().startswith(("http://", "https://"))


def address(text: str) -> Address:
    """Read the prefix of a log; raises `LogUrlRejected`."""
    try:
        found = urlsplit(text)
        port = found.port
    except ValueError as error:
        raise LogUrlRejected("address", f"{text[:200]!r} is no address ({error})") from None
    if found.scheme.lower() not in {"http", "https"} or not found.hostname:
        raise LogUrlRejected("address", f"{text[:200]!r} is no address of a log: http(s)://HOST[:PORT]/PREFIX")
    if found.username is not None or found.query or found.fragment or not text.isascii() or not text.isprintable():
        raise LogUrlRejected("address", f"{text[:200]!r}: a log's prefix has no user, query or fragment, and is ASCII")
    secure = found.scheme.lower() == "https"
    path = found.path.rstrip("/")
    return Address(secure, found.hostname, port or (443 if secure else 80), path.removesuffix(f"/{CHECKPOINT}"))


class _Connection:
    """One connection, used again for each question; a watchman ends an answer that takes too long."""

    def __init__(self, where: Address) -> None:
        self._where = where
        self._open: http.client.HTTPConnection | None = None
        self.until = float("inf")

    def close(self) -> None:
        """End it; from another thread too."""
        made = self._open
        if made is not None:
            sock = made.sock
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            made.close()

    def get(self, name: str, *, most: int) -> bytes | None:
        """Return a file's bytes, None for 404 and 410; raises `LogUrlRejected`."""
        fault: LogUrlRejected | None = None
        for tried in range(TRIES):
            if tried:
                time.sleep(0.2 * tried)
            try:
                return self._get(name, most)
            except ssl.SSLError as error:
                raise LogUrlRejected("tls", f"{self._where.text}: {error.reason or error}") from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                late = time.monotonic() >= self.until or isinstance(error, TimeoutError)
                self._drop()
                if late:
                    raise LogUrlRejected("slow", f"{self._where.text}/{name}: no whole answer in time") from None
                reason = "protocol" if isinstance(error, http.client.HTTPException | ValueError) else "unreachable"
                fault = LogUrlRejected(reason, f"{self._where.text}/{name}: {type(error).__name__}: {error!s:.200}")
            except _Busy as error:
                self._drop()
                fault = LogUrlRejected("status", f"{self._where.text}/{name}: the server answers {error.status}")
        assert fault is not None
        raise fault

    def _drop(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = None

    def _get(self, name: str, most: int) -> bytes | None:
        where = self._where
        self.until = time.monotonic() + ANSWER_S
        answer: http.client.HTTPResponse | None = None
        try:
            if self._open is None:
                if where.secure:
                    context = ssl.create_default_context()
                    self._open = http.client.HTTPSConnection(where.host, where.port, timeout=RECEIVE_S, context=context)
                else:
                    self._open = http.client.HTTPConnection(where.host, where.port, timeout=RECEIVE_S)
            self._open.request("GET", f"{where.prefix}/{name}", headers={"Accept-Encoding": "gzip, identity"})
            answer = self._open.getresponse()
            return _answered(answer, f"{where.text}/{name}", most)
        finally:
            if answer is not None and not answer.isclosed():  # what is left of it must not be taken for the next answer
                answer.close()
                self._drop()
            if time.monotonic() < self.until:
                self.until = float("inf")


def _answered(answer: http.client.HTTPResponse, name: str, most: int) -> bytes | None:
    """Return what an answer holds, None for 404 and 410; raises `LogUrlRejected`, `_Busy`, `HTTPException`."""
    status = answer.status
    if status in {404, 410}:
        answer.read(1 << 16)  # so that the connection can be used again
        return None
    if status in {429, 500, 502, 503, 504}:
        raise _Busy(status)
    if status != 200:
        reason = "redirect" if 300 <= status < 400 else "status"
        told = ": name the address itself" if reason == "redirect" else ""
        raise LogUrlRejected(reason, f"{name}: the server answers {status}{told}")
    encoding = (answer.getheader("Content-Encoding") or "identity").strip().lower()
    most_sent = most if encoding == "identity" else most + most // 1000 + 64  # what cannot be packed grows a little
    data = answer.read(most_sent + 1)
    if len(data) > most_sent:
        raise LogUrlRejected("too-long", f"{name}: more than {most} bytes, which no such file has")
    whole = answer.getheader("Content-Length")
    if whole is not None and whole.isdigit() and int(whole) != len(data):
        raise http.client.IncompleteRead(data, int(whole) - len(data))
    return _plain(data, encoding, most, name)


class _Busy(Exception):
    """The server asks to come again."""

    def __init__(self, status: int) -> None:
        self.status = status


def _plain(data: bytes, encoding: str, most: int, name: str) -> bytes:
    """Undo the encoding of an answer; raises `LogUrlRejected`."""
    if encoding == "identity":
        return data
    if encoding not in {"gzip", "x-gzip"}:
        raise LogUrlRejected("encoding", f"{name}: encoded as {encoding[:40]!r}, which was not asked for")
    opener = zlib.decompressobj(wbits=31)
    try:
        plain = opener.decompress(data, most + 1)
    except zlib.error as error:
        raise LogUrlRejected("encoding", f"{name}: not gzip ({error})") from None
    if len(plain) > most or opener.unconsumed_tail:
        raise LogUrlRejected("too-long", f"{name}: more than {most} bytes unpacked, which no such file has")
    if not opener.eof or opener.unused_data:
        raise LogUrlRejected("encoding", f"{name}: gzip that ends too early or too late")
    return plain


Told = Callable[[int, int], None]
"""Is told how many of how many files are there."""


def mirror(
    url: str, files: LogFiles, policy: LogPolicy, *, told: Told = lambda _done, _whole: None
) -> TrustedCheckpoint:
    """Copy a log into a folder and return its checkpoint; what the folder has already is not asked for again.

    A file that the server does not have stays missing: the audit names what lacks. Raises `LogUrlRejected`,
    `CheckpointDistrusted`, `StoreRejected`.
    """
    where = address(url)
    connection = _Connection(where)
    with _Watchman([connection]):
        note = connection.get(CHECKPOINT, most=LARGEST_NOTE)
    if note is None:
        raise LogUrlRejected("missing", f"{where.text}/{CHECKPOINT}: the server has no checkpoint here")
    trusted = judged(note, policy)
    head = trusted.checkpoint
    if head.size > MOST_ENTRIES:
        raise LogUrlRejected("too-large", f"{where.text}: {head.size} entries; {MOST_ENTRIES} are the most copied here")
    before = _before(files, policy, head.origin)
    if before is not None and (before.size > head.size or (before.size == head.size and before.root != head.root)):
        raise _contradicts(files, where, note, before, head)
    wanted = [tile for tile in tiles_of(head.size) if not _is_whole(tile, files.read(tile.path))]
    _copy(where, files, wanted, told)
    _copy_payloads(where, files, head.size)
    if before is not None and before.size and not _continues(files, before, head):
        raise _contradicts(files, where, note, before, head)
    files.replace_durably(CHECKPOINT, note)
    return trusted


def _before(files: LogFiles, policy: LogPolicy, origin: str) -> Checkpoint | None:
    """Return the checkpoint of the last copy, where the same policy believes it."""
    note = files.read(CHECKPOINT)
    if note is None:
        return None
    try:
        head = judged(note, policy).checkpoint
    except CheckpointDistrusted:
        return None
    if head.origin != origin:
        raise LogUrlRejected(
            "fork", f"this folder holds the log {head.origin!r}, and the server {origin!r}: take another"
        )
    return head


def _contradicts(files: LogFiles, where: Address, note: bytes, before: Checkpoint, head: Checkpoint) -> LogUrlRejected:
    files.replace_durably(CONFLICT, note)
    reason = "rollback" if head.size < before.size else "fork"
    what = (
        f"it serves {head.size} entries where it had signed {before.size}"
        if reason == "rollback"
        else f"its {head.size} entries do not begin with the {before.size} that it had signed"
    )
    return LogUrlRejected(
        reason, f"{where.text}: {what}: the log was set back or shows two histories; both checkpoints are kept"
    )


def _continues(files: LogFiles, before: Checkpoint, head: Checkpoint) -> bool:
    """Return whether the tree begins with the last copy's. True where tiles lack: the audit says so."""
    try:
        nodes = TreeReader(head.size, fetching(files.read)).nodes(parts(0, before.size))
    except TileRejected:
        return True
    return folded(nodes) == before.root


def _is_whole(tile: Tile, data: bytes | None) -> bool:
    if data is None:
        return False
    if tile.level != ENTRIES:
        return len(data) == tile.width * HASH_BYTES
    try:
        entries_of(tile, data)
    except TileRejected:
        return False
    return True


class _Watchman:
    """Ends connections whose answer takes too long while it is entered, and all of them when it is left."""

    def __init__(self, connections: list[_Connection]) -> None:
        self._connections = connections
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        for one in self._connections:
            one.close()

    def _watch(self) -> None:
        while not self._end.wait(0.25):
            now = time.monotonic()
            for one in self._connections:
                if now >= one.until:
                    one.close()


def _copy(where: Address, files: LogFiles, wanted: list[Tile], told: Told) -> None:
    """Copy tiles, several at once; raises the first `LogUrlRejected`."""
    if not wanted:
        return
    connections = [_Connection(where) for _ in range(min(AT_ONCE, len(wanted)))]
    free = list(connections)
    whole, done, length = len(wanted), 0, 0
    rest: Iterator[Tile] = iter(wanted)
    running: dict[Future[dict[str, bytes]], _Connection] = {}
    with _Watchman(connections), ThreadPoolExecutor(len(connections)) as pool:
        while True:
            while free and (tile := next(rest, None)) is not None:
                one = free.pop()
                running[pool.submit(_fetch, one, tile)] = one
            if not running:
                break
            for ready in wait(running, return_when=FIRST_COMPLETED).done:
                free.append(running.pop(ready))
                got = ready.result()
                length += sum(map(len, got.values()))
                if length > MOST_BYTES:
                    raise LogUrlRejected("too-large", f"{where.text}: more than {MOST_BYTES} bytes: ended")
                files.write(got)
                done += 1
                told(done, whole)
    files.settle()


def _fetch(connection: _Connection, tile: Tile) -> dict[str, bytes]:
    """Return a tile by its name; the full one where the partial one is gone; nothing where there is neither."""
    for one in dict.fromkeys((tile, tile.full)):
        data = connection.get(one.path, most=LARGEST_BUNDLE if tile.level == ENTRIES else WIDTH * HASH_BYTES)
        if data is not None:
            return {one.path: data}
    return {}


def _copy_payloads(where: Address, files: LogFiles, size: int) -> None:
    """Copy the records that are too long for an entry; one that is not there, or not itself, stays missing."""
    lacking = []
    for tile in tiles_of_level(size, ENTRIES):
        data = files.read(tile.path) or files.read(tile.full.path) or b""
        if b'"kind":"long-record"' not in data:
            continue
        try:
            digests = [hash_of_long(one) for one in entries_of(tile, data)]
        except TileRejected:
            continue
        lacking += [one for one in digests if one is not None and files.read(payload_path(one)) is None]
    if not lacking:
        return
    connection = _Connection(where)
    with _Watchman([connection]):
        for digest in dict.fromkeys(lacking):
            payload = connection.get(payload_path(digest), most=LARGEST_PAYLOAD)
            if payload is not None and sha256(payload).hexdigest() == digest:
                files.write({payload_path(digest): payload})
    files.settle()
