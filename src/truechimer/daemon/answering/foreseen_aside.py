"""Foreseen aside: what is foreseen of a holdover, worked out in a thread of its own, so that no epoch waits for it.

It decides nothing and keeps nothing but the last answer. A foresight is seconds of work; the laboratory's loop has
milliseconds. It is asked anew where a day's value has come, else once an hour; until the first answer there is none.
"""

import threading

from truechimer.laboratory import foreseen
from truechimer.laboratory.foreseen import Asked, Foreseen

ANEW_NS = 3_600 * 10**9


class ForeseenAside:
    """The last foresight of one laboratory, and the work on the next one."""

    def __init__(self) -> None:
        """Begin without an answer."""
        self._asked: Asked | None = None
        self._told: Foreseen | None = None
        self._work: threading.Thread | None = None

    def latest(self, question: Asked | None) -> Foreseen | None:
        """Return the last answer, None before the first; let a newer one be worked out where it is due."""
        if question is None:
            return None
        if (self._work is None or not self._work.is_alive()) and self._is_due(question):
            self._asked = question
            self._work = threading.Thread(target=self._answer, args=(question,), name="foreseen", daemon=True)
            self._work.start()
        return self._told

    @property
    def told(self) -> Foreseen | None:
        """The last answer; nothing is worked out for it."""
        return self._told

    def wait(self, timeout_s: float) -> None:
        """Wait until no work is under way, at most so long."""
        if self._work is not None:
            self._work.join(timeout_s)

    def _is_due(self, question: Asked) -> bool:
        last = self._asked
        if last is None or question.values != last.values or question.limits_s != last.limits_s:
            return True
        return abs(question.now_ns - last.now_ns) >= ANEW_NS

    def _answer(self, question: Asked) -> None:
        self._told = foreseen.worked_out(question)
