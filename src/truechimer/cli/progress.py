"""A line on stderr that says how far a long run is: only on a terminal, only after two seconds, and gone at the end.

It knows no run: whoever works says what is done of how much.
"""

import sys
import time
from types import TracebackType
from typing import IO, Self

AFTER_S = 2.0
EVERY_S = 0.1
BAR = 30


class Progress:
    """`with Progress("replaying") as progress: progress.show(done, whole)`; however it ends, the line is wiped."""

    def __init__(self, doing: str, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._doing = doing
        self._began = time.monotonic()
        self._next = self._began + AFTER_S
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()

    def show(self, done: int, whole: int) -> None:
        """Show how far it is, with the time that the rest will take at this speed."""
        now = time.monotonic()
        if now < self._next or whole <= 0 or not self._stream.isatty():
            return
        self._next = now + EVERY_S
        part = min(done / whole, 1.0)
        left_s = (now - self._began) * (1.0 - part) / part if part > 0.0 else 0.0
        left = f"{left_s:.0f} s" if left_s < 120.0 else f"{left_s / 60.0:.0f} min"
        full = int(BAR * part)
        line = f"{self._doing}: [{'#' * full}{'.' * (BAR - full)}] {100.0 * part:3.0f} %, {left} left"
        self._stream.write("\r" + line.ljust(self._width))
        self._stream.flush()
        self._width = len(line)
