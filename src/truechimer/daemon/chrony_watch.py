"""Chrony watch: where chronyd's own clock and the system clock stood against the raw counter, question by question.

It decides about no source. What it is for: a sample that chronyd took a second ago is measured against chronyd's clock
("cooked": the system clock plus what chronyd has still to correct). Whoever steps the system clock in between, unknown
to chronyd, moves all its sources alike, so a majority of them would lie. Between two questions either the system clock
or chronyd's own runs on as it ran (chronyd slews the first and keeps the second straight): what neither explains is a
limit of the sample, and too much of it makes the sample useless. Source: `house.md` 4.7; chrony's local.c keeps
cooked = raw + correction.
"""

from collections import deque
from dataclasses import dataclass
from math import inf

NS_PER_S = 10**9
POINTS_KEPT = 4096
LEARNED_OVER_S = 0.05
"""Points closer together than this say nothing useful about a rate."""

FASTEST_RATE = 5e-4
"""The system clock and chronyd's run within this of the raw counter, but for slews and steps."""


@dataclass(frozen=True, slots=True)
class WatchPoint:
    """One question: system clock minus raw counter and chronyd's clock minus raw counter (ns), at `raw_ns`."""

    raw_ns: int
    wall_minus_raw_ns: int
    cooked_minus_raw_ns: int


class ChronyWatch:
    """Points in order. Not for several threads."""

    def __init__(self) -> None:
        self._points: deque[WatchPoint] = deque(maxlen=POINTS_KEPT)
        self._unexplained_s: deque[float] = deque(maxlen=POINTS_KEPT)
        self._wall_rate: float | None = None
        self._cooked_rate: float | None = None

    def add(self, point: WatchPoint) -> None:
        """Take a point in; a raw counter that did not advance begins the watch anew."""
        before = self._points[-1] if self._points else None
        if before is not None and point.raw_ns <= before.raw_ns:
            self.forget()
            before = None
        self._points.append(point)
        if before is None:
            self._unexplained_s.append(inf)
            return
        elapsed_ns = point.raw_ns - before.raw_ns
        wall_ns = point.wall_minus_raw_ns - before.wall_minus_raw_ns
        cooked_ns = point.cooked_minus_raw_ns - before.cooked_minus_raw_ns
        self._unexplained_s.append(
            min(
                _left_over_s(wall_ns, elapsed_ns, self._wall_rate),
                _left_over_s(cooked_ns, elapsed_ns, self._cooked_rate),
            )
        )
        if elapsed_ns >= LEARNED_OVER_S * NS_PER_S:
            self._wall_rate = _learned(wall_ns / elapsed_ns, self._wall_rate)
            self._cooked_rate = _learned(cooked_ns / elapsed_ns, self._cooked_rate)

    def unexplained_s(self, since_raw_ns: int) -> float:
        """Return how far the clocks may have moved unseen since a raw value (s); infinite where nobody watched then."""
        total = 0.0
        for k in range(len(self._points) - 1, -1, -1):
            if self._points[k].raw_ns <= since_raw_ns:
                return total
            total += self._unexplained_s[k]
        return inf

    def forget(self) -> None:
        """Begin anew: chronyd was away, or is another one."""
        self._points.clear()
        self._unexplained_s.clear()
        self._wall_rate = self._cooked_rate = None


def _left_over_s(moved_ns: int, elapsed_ns: int, rate: float | None) -> float:
    """Return what a rate does not explain of a movement (s); without a rate nothing is explained."""
    return inf if rate is None else abs(moved_ns - rate * elapsed_ns) / NS_PER_S


def _learned(found: float, before: float | None) -> float | None:
    """Return the rate after a pair of points: no step is taken for a rate."""
    return found if abs(found) <= FASTEST_RATE else before
