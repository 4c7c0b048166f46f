"""The service manager's ear: tells it when the doors are open, what the laboratory is doing, and that the thread that
makes the time still turns.

It decides nothing, and without a manager it does nothing. One datagram a message; what becomes of it is no concern of
the laboratory's. Source: sd_notify(3), sd_watchdog_enabled(3). The law of the file: only `turn`, called by the thread
that steps the fold, feeds the watchdog; a laboratory whose other threads live on while that one hangs is ended.
"""

import os
import socket
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress

FED_TIMES = 4
"""The watchdog is fed so many times within its patience."""

STATUS_EVERY_S = 10.0
EXTEND_BY_S = 120
MOST_STATUS_LETTERS = 200


class ServiceManager:
    """What systemd is told. Takes its two variables out of the environment: children are not the service."""

    def __init__(
        self,
        environment: MutableMapping[str, str] | None = None,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        variables = os.environ if environment is None else environment
        self._path = variables.pop("NOTIFY_SOCKET", "")
        watchdog_us, pid = variables.pop("WATCHDOG_USEC", ""), variables.pop("WATCHDOG_PID", "")
        is_ours = not pid or pid == str(os.getpid())
        self._feed_s = (
            int(watchdog_us) / 1e6 / FED_TIMES if is_ours and watchdog_us.isascii() and watchdog_us.isdecimal() else 0.0
        )
        self._monotonic_s = monotonic_s
        self._fed_s = self._told_s = self._extended_s = float("-inf")

    @property
    def is_there(self) -> bool:
        """True where somebody wants to be told."""
        return self._path.startswith(("/", "@")) and len(self._path) > 1

    def starting(self, says: str) -> None:
        """A long start goes on: it may take `EXTEND_BY_S` more."""
        now_s = self._monotonic_s()
        if self.is_there and now_s - self._extended_s >= EXTEND_BY_S / FED_TIMES:
            self._extended_s = now_s
            self._send(f"EXTEND_TIMEOUT_USEC={EXTEND_BY_S * 10**6}\nSTATUS={_line(says)}")

    def ready(self) -> None:
        """The doors are open."""
        self._send("READY=1")

    def turn(self, says: Callable[[], str]) -> None:
        """The thread that makes the time has turned once more; `says` is asked for the status now and then."""
        if not self.is_there:
            return
        now_s = self._monotonic_s()
        if self._feed_s and now_s - self._fed_s >= self._feed_s:
            self._fed_s = now_s
            self._send("WATCHDOG=1")
        if now_s - self._told_s >= STATUS_EVERY_S:
            self._told_s = now_s
            self._send(f"STATUS={_line(says())}")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self.is_there:
            return
        address = f"\0{self._path[1:]}" if self._path.startswith("@") else self._path
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as ear:
            ear.settimeout(0.0)
            ear.sendto(text.encode("utf-8", "replace"), address)


def _line(says: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in says)[:MOST_STATUS_LETTERS]
