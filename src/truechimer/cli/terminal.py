"""A terminal that a verb takes over for a while: its alternate screen, its keys, its size, and its return.

It knows no laboratory. The law of the file: however the verb ends (a key, Ctrl-C, SIGTERM, SIGHUP, an exception) or
pauses (Ctrl-Z), the terminal is as it was before. Source: ECMA-48, xterm control sequences (1049, 25, 7), termios(3).
"""

import os
import signal
import sys
import termios
import tty
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Any, Self

from truechimer.cli.screen_words import Row, drawn

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
"""Alternate screen, no cursor, no wrapping, empty."""

LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
ENDINGS = (signal.SIGTERM, signal.SIGHUP)
DUMB = frozenset({"", "dumb"})
"""Values of TERM of terminals that obey nothing: screens are written one below the other."""


class Ended(SystemExit):
    """A signal asked the verb to end; the status is what shells expect of it."""


class Terminal:
    """The terminal on standard output and input, while the `with` lasts. `wake` becomes readable when its size changed
    or the verb was continued.
    """

    def __init__(self) -> None:
        self.output, self.input = sys.stdout.fileno(), sys.stdin.fileno()
        self.has_keys = os.isatty(self.input)
        self.is_dumb = os.environ.get("TERM", "") in DUMB
        self.is_coloured = not os.environ.get("NO_COLOR") and not self.is_dumb
        encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
        self.encoding, self.has_blocks = encoding, encoding == "utf8"
        self.wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._before: list[Any] | None = None
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in ENDINGS:
            self._handlers[number] = signal.signal(number, self._end)
        self._handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, self._note)
        self._handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._pause)
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Nothing may come between the first and the last step of the way back.
        for number in (signal.SIGINT, *ENDINGS):
            self._handlers.setdefault(number, signal.getsignal(number))
            signal.signal(number, signal.SIG_IGN)
        self._give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines; 80 and 24 where the terminal does not know."""
        try:
            found = os.get_terminal_size(self.output)
        except OSError:
            return 80, 24
        return (found.columns or 80), (found.lines or 24)

    def keys(self) -> bytes:
        """Return the keys that were pressed; empty where the terminal has gone."""
        try:
            return os.read(self.input, 1024)
        except OSError:
            return b""

    def take_wake(self) -> None:
        """Forget why it woke up."""
        try:
            os.read(self.wake, 4096)
        except BlockingIOError:
            return

    def show(self, lines: Iterable[Row], *, anew: bool = False) -> None:
        """Put lines over the screen; `anew` empties it first, as after a change of its size."""
        if self.is_dumb:
            self._write("".join(f"{drawn(line, colour=False)}\n" for line in lines))
            return
        text = "".join(
            f"\x1b[{number};1H{drawn(line, colour=self.is_coloured)}\x1b[K" for number, line in enumerate(lines, 1)
        )
        self._write(("\x1b[2J" if anew else "") + text + "\x1b[J")

    def _take(self) -> None:
        if self.has_keys:
            self._before = termios.tcgetattr(self.input)
            tty.setcbreak(self.input, termios.TCSANOW)
        if not self.is_dumb:
            self._write(ENTER)

    def _give_back(self) -> None:
        try:
            if self._before is not None:
                termios.tcsetattr(self.input, termios.TCSANOW, self._before)
            if not self.is_dumb:
                self._write(LEAVE)
        except (OSError, termios.error):
            return  # the terminal has gone (SIGHUP): there is nothing to give back

    def _write(self, text: str) -> None:
        octets = text.encode(self.encoding, "replace")
        while octets:
            octets = octets[os.write(self.output, octets) :]

    def _end(self, number: int, _frame: FrameType | None) -> None:
        raise Ended(128 + number)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        try:
            os.write(self._waker, b".")
        except BlockingIOError:
            return

    def _pause(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: give the terminal back, stop as the shell expects it, and take it again when continued."""
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._pause)
        self._take()
        self._note(number, frame)
