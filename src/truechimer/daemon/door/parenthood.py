"""Parenthood: when a door's process has lost the laboratory that started it, and when it must end for that.

It ends nothing itself, and asks the system only who the parent is and what the pid file says. A door outlives a
laboratory that was killed, so that its clients notice nothing; the next laboratory of the folder takes it over by its
pid file. So a door that no pid file names any more can never be taken over, and ends (ADR 23).
"""

import errno
import os
from contextlib import suppress
from pathlib import Path

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
INIT = 1
"""A process started by init has no laboratory to lose: a service manager ends it."""


class Parenthood:
    """The laboratory that started this process. `pid`: its process id where it may die before this process looks (None:
    who the parent is now).
    """

    def __init__(self, pid: int | None, *, exit_s: float, pidfile: Path | None = None) -> None:
        """`exit_s`: how long to live without anybody who uses this door; `pidfile`: by which it may be taken over."""
        self._pid = os.getppid() if pid is None else pid
        self._exit_ns = exit_s * 1e9
        self._pidfile = pidfile
        self._alone_since_ns: int | None = None

    @property
    def is_lost(self) -> bool:
        """True where the laboratory that started this process is gone; another may have taken the door over."""
        return self._pid != INIT and os.getppid() != self._pid

    def must_end(self, now_ns: int, used_ns: int) -> bool:
        """Return True where nobody needs this door any more. `now_ns`: the raw counter; `used_ns`: when a laboratory
        last showed that it lives (0: never), since the next one may have taken this door over.
        """
        if not self.is_lost:
            return False
        if self._alone_since_ns is None:
            self._alone_since_ns = now_ns
        self._alone_since_ns = max(self._alone_since_ns, used_ns)
        return now_ns - self._alone_since_ns >= self._exit_ns or not self._is_named()

    def _is_named(self) -> bool:
        """Return True where the pid file, if this door has one, still names this process."""
        if self._pidfile is None:
            return True
        try:
            return self._pidfile.read_text(encoding="ascii").strip() == str(os.getpid())
        except (OSError, ValueError):
            return False


def name_itself(pidfile: Path) -> None:
    """Write this process's id where the next laboratory looks for it, whole at every moment: a door that takes the
    place of another finds that one's number there. On a disk without room the number of the door before is written
    over, which takes none. Raises `OSError`.
    """
    beside, number = pidfile.with_name(f"{pidfile.name}.new"), f"{os.getpid()}\n"
    try:
        beside.write_text(number, encoding="ascii")
        beside.replace(pidfile)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        if error.errno not in NO_ROOM or not pidfile.is_file():
            raise
        with pidfile.open("r+", encoding="ascii") as file:
            file.write(number)
            file.truncate()


def take_away(pidfile: Path | None) -> None:
    """Take this process's pid file away at its end; one that names another process by now is that one's."""
    if pidfile is None:
        return
    try:
        if pidfile.read_text(encoding="ascii").strip() == str(os.getpid()):
            pidfile.unlink(missing_ok=True)
    except (OSError, ValueError):
        return
