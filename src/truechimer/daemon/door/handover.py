"""Handover: the sockets of an NTP door go from its process to the one that takes its place, another version of the
program perhaps, while clients ask. Nobody is refused: the kernel's sockets stay as they are, with what waits in them.

It ends no door (`doors` does, once the new one says that it is open) and serves nothing. The door that gives listens
on a local socket beside its pid file; whoever connects is sent descriptors of its UDP sockets, if the kernel says that
it is this very user, and the connection stays open until the giver's end, so that the taker knows when it is alone.
What the one side does not understand of the other, it declines: the door is then ended and opened anew, as before.

Source: unix(7), SCM_RIGHTS and SO_PEERCRED; ADR 85. It must stay small: doors import it.
"""

import fcntl
import ipaddress
import json
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from truechimer.errors import Rejected

FORMAT = "truechimer-door-handover-1"
TAKES = "TRUECHIMER_DOOR_TAKES_OVER"
"""In a door's environment: it takes the sockets of the door that its pid file names. Not on the command line, which
says what a door serves, however it was begun.
"""
SUFFIX = ".handover"
NOT_GIVEN = 4
"""Status of a door that was to take the sockets of another and did not get them: the caller ends that one first."""
GIVEN_WITHIN_S = 3.0
"""A giver looks at least ten times a second."""
LARGEST_WORD = 1000
MOST_SOCKETS = 64
_CREDENTIALS = struct.Struct("=3i")


class HandoverRejected(Rejected):
    """Sockets that are not given, or that are not those of this door."""


def path_of(pidfile: Path) -> Path:
    """Return where the door of a pid file gives its sockets."""
    return pidfile.with_suffix(SUFFIX)


class Giver:
    """The giving side: call `look` again and again. Where it cannot listen, it gives nothing, and says nothing: a door
    without handover serves as well.
    """

    def __init__(self, pidfile: Path | None, sockets: Iterable[socket.socket], *, listens: bool = True) -> None:
        """`listens`: from now on; else the door before still gives, and `listen` takes its place."""
        self._sockets = list(sockets)
        self._path = None if pidfile is None else path_of(pidfile)
        self._inode = 0
        self._ear: socket.socket | None = None
        self._held: list[socket.socket] = []
        if listens:
            self.listen()

    def listen(self) -> None:
        """Be the one who gives."""
        if self._path is None:
            return
        ear = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        beside = self._path.with_name(f"{self._path.name}.new")
        try:
            with _reachable(beside) as name:
                beside.unlink(missing_ok=True)
                ear.bind(name)
            beside.chmod(0o600)
            ear.listen(4)
            self._inode = beside.stat().st_ino
            beside.replace(self._path)
        except OSError:
            ear.close()
            return
        self._ear = ear

    def look(self) -> None:
        """Give the sockets to whoever has asked, if it is this user. Never raises."""
        if self._ear is None:
            return
        try:
            asked, _ = self._ear.accept()
        except OSError:
            return
        try:
            credentials = asked.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            _, user, _ = _CREDENTIALS.unpack(credentials)
            if user != os.geteuid():
                asked.close()
                return
            word = json.dumps({"format": FORMAT, "sockets": len(self._sockets)}).encode()
            asked.settimeout(0.0)
            socket.send_fds(asked, [word], [one.fileno() for one in self._sockets])
        except OSError:
            asked.close()
            return
        for one in [one for one in self._held if _has_ended(one)]:  # a door that did not come to serve
            self._held.remove(one)
            one.close()
        self._held.append(asked)  # its end says that this door has ended

    def close(self) -> None:
        """Give no more; what was given stays given."""
        for one in (*self._held, *([] if self._ear is None else [self._ear])):
            one.close()
        self._held.clear()
        if self._ear is not None and self._path is not None:
            with suppress(OSError):
                if self._path.stat().st_ino == self._inode:  # else it is the next door's
                    self._path.unlink()
            self._ear = None


class Taken:
    """The taking side: `descriptors` of the sockets that were given, and whether the giver still serves them too."""

    def __init__(self, descriptors: list[int], connection: socket.socket) -> None:
        self.descriptors = descriptors
        self._connection: socket.socket | None = connection

    def is_alone(self) -> bool:
        """Return True once the giver has ended."""
        if self._connection is not None and _has_ended(self._connection):
            self._connection.close()
            self._connection = None
        return self._connection is None


def is_asked() -> bool:
    """Return whether this door's process is to take the sockets of the one before; asked once, so that its children do
    not hear of it.
    """
    return bool(os.environ.pop(TAKES, ""))


def take(pidfile: Path | None, *, address: str, port: int, count: int) -> Taken:
    """Return the sockets of the door of this pid file: `count` of them, on this address and port. Raises
    `HandoverRejected`.
    """
    if pidfile is None:
        raise HandoverRejected("no --pidfile names the door before")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    descriptors: list[int] = []
    try:
        connection.settimeout(GIVEN_WITHIN_S)
        with _reachable(path_of(pidfile)) as name:
            connection.connect(name)
        word, descriptors, flags, _ = socket.recv_fds(connection, LARGEST_WORD, MOST_SOCKETS)
        for one in descriptors:
            fcntl.fcntl(one, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        wrong = _wrong_with(word, len(descriptors), flags, count=count)
        for one in descriptors:
            wrong = wrong or _wrong_with_socket(one, address=address, port=port)
        connection.settimeout(0.0)
    except OSError as error:
        wrong = f"the door before does not give them: {error.strerror or error}"
    if wrong:
        for one in descriptors:
            os.close(one)
        connection.close()
        raise HandoverRejected(wrong)
    return Taken(descriptors, connection)


def _has_ended(connection: socket.socket) -> bool:
    """Return whether the other end of a connection that does not wait is closed."""
    try:
        return not connection.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _wrong_with(word: bytes, given: int, flags: int, *, count: int) -> str:
    """Return what keeps the taker from using what came; empty where nothing does."""
    if flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC) or not word:
        return "the door before does not give them all"
    try:
        said = json.loads(word)
    except ValueError:
        said = None
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        return "the door before speaks another form of handover"
    if given != count:
        return f"the door before has {given} sockets, and {count} are wanted"
    return ""


def _wrong_with_socket(descriptor: int, *, address: str, port: int) -> str:
    """Return why a descriptor is no UDP socket on this address and port; empty where it is."""
    with socket.socket(fileno=os.dup(descriptor)) as one:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        if (one.family, one.type) != (family, socket.SOCK_DGRAM):
            return "what the door before gives is no socket of this kind"
        name = one.getsockname()
        wanted = ipaddress.ip_address(address.partition("%")[0])
        if ipaddress.ip_address(name[0].partition("%")[0]) != wanted or name[1] != port:
            return f"the door before serves {name[0]} port {name[1]}"
    return ""


@contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """Yield a name by which a local socket is reached, however long its path is."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
