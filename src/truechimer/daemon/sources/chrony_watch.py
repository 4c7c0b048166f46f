"""Chrony watch: where chronyd's own clock and the system clock stood against the raw counter, question by question.

It decides about no source. What it is for: a sample that chronyd took a second ago is measured against chronyd's clock
("cooked": the system clock plus what chronyd has still to correct). Whoever steps the system clock in between, unknown
to chronyd, moves all its sources alike, so a majority of them would lie. Between two questions either the system clock
runs on as it has long run, or, where chronyd did not correct itself, chronyd's own clock does (it slews the first and
keeps the second straight): what neither explains is a limit of the sample, and too much of it makes the sample useless.
The system clock is looked at between the questions too, for a step there and back, or one that a slew makes up for;
what happens between two looks, `LOOK_EVERY_S` apart, may go unseen. Source: `house.md` 4.7; chrony's local.c keeps
cooked = raw + correction.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isfinite
from statistics import median

from truechimer.daemon.host_clocks import FASTEST_SLEW, UNWATCHED_SLEW

NS_PER_S = 10**9
POINTS_KEPT = 4096
LOOK_EVERY_S = 0.05
STEP_LEAST_NS = 20_000
"""Between two looks, however close, readings of the clocks differ by less than this."""

RATES_KEPT = 255
"""A rate counts as usual by the median of so many pairs of points: one that began just now explains nothing yet."""

LEARNED_OVER_S = 0.05
"""Points closer together than this say nothing useful about a rate."""

FASTEST_RATE = 5e-4
"""The system clock and chronyd's run within this of the raw counter, but for slews and steps."""


@dataclass(frozen=True, slots=True)
class WatchPoint:
    """One question: system clock minus raw counter and chronyd's clock minus raw counter (ns), at `raw_ns`. `update`:
    what names chronyd's last correction of itself.
    """

    raw_ns: int
    wall_minus_raw_ns: int
    cooked_minus_raw_ns: int
    update: object = None


class ChronyWatch:
    """Points in order. Not for several threads."""

    def __init__(self) -> None:
        self._points: deque[WatchPoint] = deque(maxlen=POINTS_KEPT)
        self._unexplained_s: deque[float] = deque(maxlen=POINTS_KEPT)
        self._between: list[tuple[int, int]] = []
        self._wall_rates: deque[float] = deque(maxlen=RATES_KEPT)
        self._cooked_rates: deque[float] = deque(maxlen=RATES_KEPT)

    def see(self, raw_ns: int, wall_minus_raw_ns: int) -> None:
        """Note where the system clock stands between two questions."""
        self._between.append((raw_ns, wall_minus_raw_ns))

    def add(self, point: WatchPoint) -> None:
        """Take a point in; a raw counter that did not advance begins the watch anew."""
        before = self._points[-1] if self._points else None
        if before is not None and point.raw_ns <= before.raw_ns:
            self.forget()
            before = None
        between, self._between = self._between, []
        self._points.append(point)
        if before is None:
            self._unexplained_s.append(inf)
            return
        elapsed_ns = point.raw_ns - before.raw_ns
        wall_ns = point.wall_minus_raw_ns - before.wall_minus_raw_ns
        cooked_ns = point.cooked_minus_raw_ns - before.cooked_minus_raw_ns
        seen = [(raw - before.raw_ns, wall - before.wall_minus_raw_ns) for raw, wall in between]
        # whenever the sample was taken: the clock stood no further from where it stands now than these lie apart
        looks = (*seen, (elapsed_ns, wall_ns))
        off_s = [0.0, *(_left_over_s(moved, passed, self._wall_rates) for passed, moved in looks)]
        left_s = max(off_s) - min(off_s)
        if point.update == before.update and isfinite(left_s) and _is_slewed(((0, 0), *looks)):
            # a correction may have hidden a step: of older samples chronyd then believes what is no longer so
            there_and_back_s = left_s - abs(off_s[-1])
            cooked_s = abs(_left_over_s(cooked_ns, elapsed_ns, self._cooked_rates))
            unseen_s = UNWATCHED_SLEW * elapsed_ns / NS_PER_S
            left_s = min(left_s, cooked_s + there_and_back_s + unseen_s)
        self._unexplained_s.append(left_s)
        if elapsed_ns >= LEARNED_OVER_S * NS_PER_S:
            _learn(self._wall_rates, wall_ns / elapsed_ns)
            _learn(self._cooked_rates, cooked_ns / elapsed_ns)

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
        self._between.clear()
        self._wall_rates.clear()
        self._cooked_rates.clear()


def _is_slewed(looks: Iterable[tuple[int, int]]) -> bool:
    """Return True where the system clock was nowhere moved faster than any slew: what moves it so is not chronyd."""
    return all(
        abs(to[1] - before[1]) <= STEP_LEAST_NS + FASTEST_SLEW * (to[0] - before[0]) for before, to in pairwise(looks)
    )


def _left_over_s(moved_ns: int, elapsed_ns: int, rates: deque[float]) -> float:
    """Return what the usual rate does not explain of a movement (s, signed); without a rate nothing is explained."""
    return (moved_ns - median(rates) * elapsed_ns) / NS_PER_S if rates else inf


def _learn(rates: deque[float], found: float) -> None:
    """Keep the rate of a pair of points; no step is taken for a rate."""
    if abs(found) <= FASTEST_RATE:
        rates.append(found)
