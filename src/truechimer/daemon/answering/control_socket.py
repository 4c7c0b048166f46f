"""The control socket: a laboratory's own door for the verbs and the console on this machine.

It knows no answer (its caller's function does) and no network: a Unix socket, mode 0600 in a folder of mode 0700, so
that only this user and root can ask. One line of JSON in, one line of JSON out, then it hangs up. Source:
`contract.md`, "Ports and names".

The law of the file: whatever a client does (hang, flood, send anything), the thread lives, memory is bounded, and the
fault is counted under its own name.
"""

import json
import os
import selectors
import socket
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from truechimer.client import SOCKET_NAME, socket_address
from truechimer.daemon import notify
from truechimer.errors import Misuse, Rejected

Answer = Callable[[dict[str, Any]], dict[str, Any]]

ASKS = ("now", "status", "sources", "history", "orders", "submit", "holdover")
MAX_REQUEST_BYTES = 65_536
PATIENCE_S = 2.0
MAX_CONNECTIONS = 64
BACKLOG = 128
TURN_S = 0.25
CLOSING_S = 5.0


class ControlCount(StrEnum):
    """What became of a connection."""

    ANSWERED = "answered"
    NOT_JSON = "not-json"  # no JSON object with `ask`
    UNKNOWN_ASK = "unknown-ask"  # a question that we do not know
    TOO_LONG = "too-long"  # no end of line within 64 KiB
    TOO_SLOW = "too-slow"  # not asked, or our answer not taken, within 2 s
    CUT_SHORT = "cut-short"  # hung up before the end of the line, or before our answer was out
    CROWDED_OUT = "crowded-out"  # the oldest of too many at once
    FAILED = "failed"  # our own fault: the answering function raised


class ControlSocketRejected(Rejected):
    """The control socket at `path` cannot be opened, because of `because`."""

    def __init__(self, path: Path, because: str, *, do_next: str) -> None:
        self.path = path
        self.because = because
        super().__init__(f"control socket {path}: {because}; {do_next}")


@dataclass(slots=True)
class _Talk:
    """One connection: what was heard so far, or what is still to be said."""

    connection: socket.socket
    until: float
    heard: bytearray = field(default_factory=bytearray)
    to_say: memoryview | None = None
    outcome: ControlCount = ControlCount.ANSWERED


class ControlSocket:
    """Serves `control.sock` in `folder` (the laboratory's `run`, made 0700), in a thread, from `start` to `close`.

    `answer` gets the request (a dict whose `ask` is one of `asks`) and returns the reply; it is called in the thread of
    this class, must be quick, and must lock what it shares. Raises `ControlSocketRejected` in `start` where a live
    laboratory holds the socket or the folder is not ours; a socket that nobody serves is replaced.
    """

    def __init__(self, folder: Path, answer: Answer, *, asks: tuple[str, ...] = ASKS) -> None:
        self.path = folder.absolute() / SOCKET_NAME
        self._answer = answer
        self._asks = asks
        self._counts: Counter[ControlCount] = Counter()
        self._talks: dict[socket.socket, _Talk] = {}
        self._selector: selectors.BaseSelector | None = None
        self._listener: socket.socket | None = None
        self._folder = -1
        self._identity: tuple[int, int] | None = None
        self._ending = threading.Event()
        self._wake: tuple[socket.socket, socket.socket] | None = None
        self._thread: threading.Thread | None = None

    def counts(self) -> dict[str, int]:
        """Return how many connections ended how, by name."""
        return {each.value: self._counts[each] for each in ControlCount}

    def answer_with(self, answer: Answer) -> None:
        """Let another function answer from now on: the laboratory's own, once it is ready."""
        self._answer = answer

    def start(self) -> Self:
        """Open the socket and serve."""
        if self._thread is not None:
            raise Misuse("a control socket starts once")
        self._folder = self._open_folder()
        try:
            self._listener = self._bind()
        except BaseException:
            os.close(self._folder)
            self._folder = -1
            raise
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake = socket.socketpair()
        self._selector.register(self._wake[1], selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="control-socket", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop serving and remove the socket; again is harmless."""
        self._ending.set()
        if self._thread is not None and self._wake is not None:
            self._wake[0].close()  # the other end becomes readable: the thread need not wait for its turn
            self._thread.join(CLOSING_S)
            self._wake[1].close()
        if self._folder < 0:
            return
        try:
            found = os.stat(SOCKET_NAME, dir_fd=self._folder, follow_symlinks=False)
            if (found.st_dev, found.st_ino) == self._identity:
                os.unlink(SOCKET_NAME, dir_fd=self._folder)
        except FileNotFoundError:
            pass
        os.close(self._folder)
        self._folder = -1

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open_folder(self) -> int:
        """Return a descriptor of the folder, which is made, or made private."""
        folder = self.path.parent
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            because = f"its folder cannot be made or opened: {error.strerror}"
            raise ControlSocketRejected(self.path, because, do_next="check the laboratory's directory") from error
        if os.fstat(descriptor).st_uid != os.geteuid():
            os.close(descriptor)
            because = "its folder belongs to another user"
            raise ControlSocketRejected(self.path, because, do_next="run as that user, or take another directory")
        os.fchmod(descriptor, 0o700)
        return descriptor

    def _bind(self) -> socket.socket:
        """Return the listening socket; one that a dead laboratory left behind is replaced."""
        self._remove_stale()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with socket_address(self._folder, self.path) as address:
                listener.bind(address)
            os.chmod(SOCKET_NAME, 0o600, dir_fd=self._folder)
            found = os.stat(SOCKET_NAME, dir_fd=self._folder, follow_symlinks=False)
            self._identity = (found.st_dev, found.st_ino)
            listener.listen(BACKLOG)
            listener.settimeout(0.0)  # never wait
        except OSError as error:
            listener.close()
            do_next = "another laboratory started here at this moment, or the file system holds no sockets"
            raise ControlSocketRejected(self.path, str(error.strerror or error), do_next=do_next) from error
        return listener

    def _remove_stale(self) -> None:
        """Remove a socket that nobody serves; refuse one that is served, and anything that is no socket."""
        try:
            found = os.stat(SOCKET_NAME, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise ControlSocketRejected(self.path, "something else has this name", do_next="move it away")
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe,
            socket_address(self._folder, self.path) as address,
        ):
            probe.settimeout(PATIENCE_S)
            try:
                probe.connect(address)
            except ConnectionRefusedError:
                os.unlink(SOCKET_NAME, dir_fd=self._folder)
                return
            except OSError as error:
                because = f"it cannot be told whether it is served: {error.strerror or error}"
                raise ControlSocketRejected(self.path, because, do_next="remove it if no laboratory runs") from error
        do_next = "stop it first, or take another directory"
        raise ControlSocketRejected(self.path, "a laboratory runs here already", do_next=do_next)

    def _serve(self) -> None:
        """Serve until told to end."""
        assert self._selector is not None
        assert self._listener is not None
        try:
            while not self._ending.is_set():
                for key, _ in self._selector.select(TURN_S):
                    if key.fileobj is self._listener:
                        self._accept()
                    elif isinstance(key.data, _Talk) and key.data.connection in self._talks:
                        self._turn(key.data)
                self._drop_slow()
        finally:
            for talk in list(self._talks.values()):
                self._hang_up(talk, ControlCount.CUT_SHORT)
            self._selector.close()
            self._listener.close()

    def _accept(self) -> None:
        """Take one connection; of too many the oldest goes, since an honest one is done within a millisecond."""
        assert self._selector is not None
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except OSError:
            # Gone again, or no descriptor is left: then waiting connections must not make this thread spin.
            self._ending.wait(0.01)
            return
        if len(self._talks) >= MAX_CONNECTIONS:
            self._hang_up(next(iter(self._talks.values())), ControlCount.CROWDED_OUT)
        connection.settimeout(0.0)  # never wait
        talk = _Talk(connection, time.monotonic() + PATIENCE_S)
        self._talks[connection] = talk
        self._selector.register(connection, selectors.EVENT_READ, talk)

    def _turn(self, talk: _Talk) -> None:
        """Hear or say what can be heard or said without waiting."""
        try:
            if talk.to_say is None:
                self._hear(talk)
            if talk.to_say is not None:
                self._say(talk)
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up(talk, ControlCount.CUT_SHORT)

    def _hear(self, talk: _Talk) -> None:
        part = talk.connection.recv(MAX_REQUEST_BYTES)
        begun = len(talk.heard)
        talk.heard += part
        end = talk.heard.find(b"\n", begun)
        if 0 <= end < MAX_REQUEST_BYTES:
            reply, talk.outcome = self._reply(bytes(talk.heard[:end]))
        elif len(talk.heard) >= MAX_REQUEST_BYTES:
            reply, talk.outcome = (
                _error(f"a request is one line below {MAX_REQUEST_BYTES} bytes"),
                ControlCount.TOO_LONG,
            )
        elif not part:
            self._hang_up(talk, ControlCount.CUT_SHORT)
            return
        else:
            return
        talk.heard.clear()
        talk.to_say = memoryview(reply)
        assert self._selector is not None
        self._selector.modify(talk.connection, selectors.EVENT_WRITE, talk)

    def _say(self, talk: _Talk) -> None:
        assert talk.to_say is not None
        while talk.to_say:
            talk.to_say = talk.to_say[talk.connection.send(talk.to_say) :]
        self._hang_up(talk, talk.outcome)

    def _reply(self, line: bytes) -> tuple[bytes, ControlCount]:
        """Return the reply to one line, and what it counts as."""
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return _error("a request is one JSON object on one line"), ControlCount.NOT_JSON
        if not isinstance(request, dict) or not isinstance(request.get("ask"), str):
            return _error('a request is a JSON object such as {"ask": "now"}'), ControlCount.NOT_JSON
        if request["ask"] not in self._asks:
            return _error(f"unknown question; ask one of {', '.join(self._asks)}"), ControlCount.UNKNOWN_ASK
        try:
            return _line(self._answer(request)), ControlCount.ANSWERED
        except Exception:  # noqa: BLE001 - a bug in one answer must not take the door from all others
            if not self._counts[ControlCount.FAILED]:
                notify.say_fault()  # once; later ones are only counted
            return _error("the laboratory failed to answer; its standard error says why"), ControlCount.FAILED

    def _drop_slow(self) -> None:
        """Hang up on whoever had its time."""
        at = time.monotonic()
        for talk in [each for each in self._talks.values() if each.until < at]:
            self._hang_up(talk, ControlCount.TOO_SLOW)

    def _hang_up(self, talk: _Talk, outcome: ControlCount) -> None:
        assert self._selector is not None
        self._counts[outcome] += 1
        del self._talks[talk.connection]
        self._selector.unregister(talk.connection)
        talk.connection.close()


def _line(document: dict[str, Any]) -> bytes:
    """Return a document as one line; a number that JSON does not know (NaN) raises."""
    return json.dumps(document, allow_nan=False).encode() + b"\n"


def _error(says: str) -> bytes:
    """Return the reply to a request that is refused."""
    return _line({"error": says})
