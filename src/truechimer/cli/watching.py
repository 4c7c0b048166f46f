"""Watching a laboratory from a terminal: ask once a second in a thread of its own, and keep what came last.

It draws nothing and judges nothing. The law of the file: whoever looks never waits for the laboratory, which may hang,
and a laboratory that was found once is not exchanged for another: it is silent until it is back.
"""

import os
import select
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from truechimer.client import Place, ask, find_service
from truechimer.errors import Rejected

EVERY_S = 1.0
PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Heard:
    """The last answer (`document`, None before the first), when it came (`at_s`, CLOCK_MONOTONIC), and why there has
    been none since (`because`, empty where it is the newest question's); `number` counts questions that ended.
    """

    document: dict[str, Any] | None = None
    at_s: float = 0.0
    because: str = ""
    number: int = 0


class Watching:
    """Asks the laboratory `what` again and again; `wake` becomes readable when an answer came, or none."""

    def __init__(self, what: str, place: Place, *, every_s: float = EVERY_S) -> None:
        self.heard = Heard()
        self._what, self._place, self._every_s = what, place, every_s
        self._ending = threading.Event()
        self.wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._ask_on, daemon=True)  # at the end it may hang in a question

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; what is being asked is not waited for."""
        self._ending.set()

    def take_wake(self) -> None:
        """Empty the pipe."""
        try:
            os.read(self.wake, 4096)
        except BlockingIOError:
            return

    def _ask_on(self) -> None:
        while not self._ending.is_set():
            begun_s = time.monotonic()
            before = self.heard
            try:
                document = ask(self._what, lab=self._place, timeout_s=PATIENCE_S)
            except Rejected as error:
                self.heard = Heard(before.document, before.at_s, str(error), before.number + 1)
            else:
                self.heard = Heard(document, time.monotonic(), "", before.number + 1)
            with suppress(BlockingIOError):  # it is awake already
                os.write(self._waker, b".")
            self._ending.wait(max(0.0, begun_s + self._every_s - time.monotonic()))


def place_of(lab: str | None, what: str = "now") -> Place:
    """Return where the laboratory is, after it has answered once; raises `Rejected` where it does not."""
    place = find_service(lab)
    ask(what, lab=place)
    return place


def watch(told: Callable[[dict[str, Any]], list[str]], *, what: str, lab: str | None) -> int:
    """Print what `told` makes of each answer, over the last on a terminal, else one below the other; until Ctrl-C."""
    watching = Watching(what, place_of(lab))
    watching.start()
    is_terminal = sys.stdout.isatty()
    while True:
        select.select([watching.wake], [], [])
        watching.take_wake()
        heard = watching.heard
        lines = [] if heard.document is None else told(heard.document)
        if heard.because:
            lines = [f"SILENT: {heard.because}", *(lines if is_terminal else [])]
        sys.stdout.write(_over(lines) if is_terminal else "".join(f"{line}\n" for line in lines))
        sys.stdout.flush()


def _over(lines: list[str]) -> str:
    """Return lines that are written from the top of the screen, cut to its size, with the rest of it emptied."""
    from truechimer.cli.screen_words import clipped, drawn, row

    columns, rows = os.get_terminal_size(sys.stdout.fileno())
    shown = [drawn(clipped(row(line), columns - 1), colour=False) for line in lines[: max(1, rows - 1)]]
    return "\x1b[H" + "".join(f"{line}\x1b[K\n" for line in shown) + "\x1b[J"
