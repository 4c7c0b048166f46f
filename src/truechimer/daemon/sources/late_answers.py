"""Late answers: which servers' answers take much longer than they use to, while those of others do not.

It measures nothing and names no liar. An answer that was held back on one of its ways is off by half of what it was
held, and says so by its delay: honest, and useless beside its own past. Taken, it would widen what is stated to
everybody as soon as half of the operators are held back. So it is left out, for as long as no more than half of the
operators' answers are late: where more are, it is our own way that is slow, and wide answers are all there is.

Each server is held against its own past alone: one that was always far away is never late, so nobody who claims a short
way takes the vote from those with a long one. Source: RFC 5905 10 (the sample of least delay is the best) and 11.2.1;
ADR 86; drill D18. It reads no clock and is used by many threads.
"""

import threading
from collections import deque
from dataclasses import dataclass, field
from statistics import median

LEAST_KEPT = 8
"""So many answers of a server must be known before one of its answers can be late."""
MOST_KEPT = 32
LATE_JITTERS = 8.0
"""An answer is late that took longer than the least by this many times what the middle one did, and by as much again as
the least itself, or by `LATE_LEAST_S`.
"""
LATE_LEAST_S = 1e-3
LATE_FOR_GOOD = 3
"""A server is late for good after so many late answers in a row: one that this machine was slow to read says nothing of
its way.
"""
LATE_AT_LAST = 256
"""A server that was late so many times in a row has another way now: its past begins anew."""
LEAST_OPERATORS = 3
"""With fewer nobody can be left out for long: one would be left to be believed alone."""


@dataclass
class _Past:
    """What is known of one server. `usual_s`: delays of its last answers that were not late; `late`: how many of them
    were, in a row.
    """

    operator: str
    usual_s: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_KEPT))
    late: int = 0

    @property
    def is_known(self) -> bool:
        return len(self.usual_s) >= LEAST_KEPT

    def is_late(self, delay_s: float) -> bool:
        """Return whether a delay is far from what this server's answers took."""
        if not self.is_known:
            return False
        least_s = min(self.usual_s)
        jitter_s = median(self.usual_s) - least_s
        return delay_s - least_s > LATE_JITTERS * jitter_s + max(least_s, LATE_LEAST_S)


class LateAnswers:
    """The pasts of all servers that a laboratory asks."""

    def __init__(self) -> None:
        self._pasts: dict[str, _Past] = {}
        self._lock = threading.Lock()

    def leaves_out(self, name: str, operator: str, delay_s: float) -> bool:
        """Take in how long an answer took (s); return whether it is to be left out."""
        with self._lock:
            past = self._pasts.setdefault(name, _Past(operator))
            if not past.is_late(delay_s):
                past.late = 0
                past.usual_s.append(delay_s)
                return False
            past.late += 1
            if past.late >= LATE_AT_LAST:
                past.late = 0
                past.usual_s.clear()
                past.usual_s.append(delay_s)
                return False
            return past.late < LATE_FOR_GOOD or self._are_few_late()

    def forget(self, name: str) -> None:
        """Forget a server whose way is another now: its name leads to another address."""
        with self._lock:
            self._pasts.pop(name, None)

    def _are_few_late(self) -> bool:
        """Return whether no more than half of the operators are late for good: one whose servers are not all late is
        not.
        """
        late_of: dict[str, bool] = {}
        for past in self._pasts.values():
            if past.is_known:
                late_of[past.operator] = late_of.get(past.operator, True) and past.late >= LATE_FOR_GOOD
        return len(late_of) >= LEAST_OPERATORS and 2 * sum(late_of.values()) <= len(late_of)
