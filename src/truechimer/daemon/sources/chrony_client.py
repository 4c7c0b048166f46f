"""Chrony client: questions to a chronyd over its Unix command socket, one at a time, with answers that are believed or
refused by type.

It asks only for reports and interprets none. chronyd answers to the path from which it was asked, so the client binds a
socket in a folder of its own (mode 0700): beside chronyd's socket where that can be written (as chronyc does), else in
the temporary folder. The folder is given to chronyd's user, or opened for passing through, so that chronyd can answer;
the socket is connected, so that the kernel takes datagrams from chronyd alone.
"""

import contextlib
import os
import secrets
import shutil
import socket
import tempfile
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

from truechimer.errors import Rejected
from truechimer.formats import chrony_reports
from truechimer.formats.chrony_reports import ChronyReplyRejected, Command, ReplyFault, Report

ANSWER_WITHIN_S = 1.0
TRIES = 2
STRAY_ANSWERS = 16
"""Answers to earlier questions that are passed over before a question counts as unanswered."""

_PREFIX = "truechimer-"


class ChronyAwayRejected(Rejected):
    """chronyd does not answer on its command socket at `path`, because of `because`."""

    def __init__(self, path: Path, because: str, *, do_next: str) -> None:
        super().__init__(f"chronyd does not answer on {path}: {because}; {do_next}")
        self.path, self.because = path, because


class ChronyClient:
    """One connection; opens with the first question, and again after each failure.

    `refused` counts answers that were not believed, by `ReplyFault`; `asked` counts questions. Not for several threads.
    """

    def __init__(self, path: Path, *, answer_within_s: float = ANSWER_WITHIN_S) -> None:
        self.path = path
        self.asked = 0
        self.refused: Counter[ReplyFault] = Counter()
        self._answer_within_s = answer_within_s
        self._socket: socket.socket | None = None
        self._folder: Path | None = None
        self._places = _places(path)

    def ask(self, command: Command, *, index: int = 0, address: str | None = None) -> Report:
        """Return the report; raises `ChronyAwayRejected` where nobody answers, `ChronyReplyRejected` where the answer
        is refused.
        """
        self.asked += 1
        try:
            return self._ask(command, index=index, address=address)
        except OSError as error:
            self.close()
            raise _away(self.path, error) from None
        except ChronyReplyRejected as error:
            self.refused[error.fault] += 1
            raise

    def _ask(self, command: Command, *, index: int, address: str | None) -> Report:
        """Ask up to `TRIES` times, each time under a new sequence number that nobody can guess."""
        for _ in range(TRIES):
            link = self._socket if self._socket is not None else self._open()
            sequence = secrets.randbits(32)
            link.send(chrony_reports.request(command, sequence, index=index, address=address))
            for _ in range(STRAY_ANSWERS):
                try:
                    data = link.recv(chrony_reports.MOST_BYTES)
                except TimeoutError:
                    break
                try:
                    return chrony_reports.read(data, command, sequence=sequence)
                except ChronyReplyRejected as error:
                    if error.fault is not ReplyFault.OTHER_SEQUENCE:
                        raise
                    self.refused[error.fault] += 1
        self._next_place()
        raise TimeoutError

    def _open(self) -> socket.socket:
        """Bind in a folder of our own and connect to chronyd."""
        found = self.path.stat()
        place = self._places[0]
        try:
            folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=place))
        except OSError:
            if len(self._places) == 1:
                raise
            self._next_place()
            folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=self._places[0]))
        self._folder = folder
        _let_through(folder, found)
        link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            link.settimeout(self._answer_within_s)
            link.bind(str(folder / "s"))
            (folder / "s").chmod(0o666)  # the folder decides who reaches it, and the kernel who is heard
            link.connect(str(self.path))
        except BaseException:
            link.close()
            raise
        self._socket = link
        return link

    def _next_place(self) -> None:
        """Try the other folder next time: chronyd may not see this one (a service with a private /tmp does not)."""
        self.close()
        self._places = self._places[1:] + self._places[:1]

    def close(self) -> None:
        """Close the socket and remove its folder; the next question opens anew."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _places(path: Path) -> list[Path]:
    """Return the folders in which the client may bind, the best first, after removing what a killed one left there."""
    places = [path.parent, Path(tempfile.gettempdir())]
    for place in places:
        with contextlib.suppress(OSError):
            for left in place.glob(f"{_PREFIX}*-*"):
                pid = left.name.removeprefix(_PREFIX).partition("-")[0]
                if pid.isascii() and pid.isdigit() and not Path(f"/proc/{pid}").exists():
                    shutil.rmtree(left, ignore_errors=True)
    return places


def _let_through(folder: Path, chronyd: os.stat_result) -> None:
    """Let chronyd's user, whom its socket names, reach into a folder of mode 0700."""
    if chronyd.st_uid in {os.geteuid(), 0}:
        return
    try:
        os.chown(folder, chronyd.st_uid, -1)
    except OSError:
        folder.chmod(0o711)


def _away(path: Path, error: OSError) -> ChronyAwayRejected:
    """Say what is wrong and what to do."""
    if isinstance(error, FileNotFoundError):
        says = "start chronyd, or name its `bindcmdaddress` with the key socket"
        return ChronyAwayRejected(path, "there is no such socket", do_next=says)
    if isinstance(error, ConnectionRefusedError):
        return ChronyAwayRejected(path, "nobody listens there (chronyd has ended)", do_next="start chronyd")
    if isinstance(error, PermissionError):
        says = "run the laboratory as root, or as a member of chronyd's group"
        return ChronyAwayRejected(path, "permission denied", do_next=says)
    if isinstance(error, TimeoutError):
        says = "see that it runs, and that it may write to the folder of its socket"
        return ChronyAwayRejected(path, "no answer in time", do_next=says)
    reason = (error.strerror or str(error)).lower()
    return ChronyAwayRejected(path, reason, do_next="look at the socket and its folder")
