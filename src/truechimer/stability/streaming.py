"""OADEV, MDEV, TDEV and MTIE of readings as they come, with bounded memory: for a page that shows a running clock.

It makes no intervals and keeps no record: `oadev` and its kin do that over the record. Every value is that of the whole
stream so far, within 1e-12 of what the record would give; memory is 3 max(m) + 1 readings and some sums, whatever the
time.

Law: after each reading, the sums hold every term whose last phase is that reading or an earlier one.
"""

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from truechimer.stability.curve import StabilityCurve, StabilityMisuse

ANCHOR = 1024
"""A window sum is computed anew from its phases at least every max(m, ANCHOR) readings."""


@dataclass(slots=True)
class _Factor:
    """What is carried for one averaging factor."""

    m: int
    squares: float = 0.0
    squares_lost: float = 0.0
    terms: int = 0
    window: float = math.nan
    since_anchor: int = 0
    windows: float = 0.0
    windows_lost: float = 0.0
    window_terms: int = 0
    largest: float = -math.inf
    ranges: int = 0
    tops: deque[int] = field(default_factory=deque)
    lows: deque[int] = field(default_factory=deque)


class StreamingStability:
    """Statistics of a stream of phases (s), evenly spaced by `tau0_s`, at averaging factors fixed from the beginning.

    Invariant: `_ring` holds the last 3 max(m) + 1 phases. A missing reading is NaN: terms that need it do not count.
    """

    def __init__(self, tau0_s: float, m: list[int]) -> None:
        """Begin a stream; raise `StabilityMisuse` for factors that are none."""
        if not m or any(not isinstance(each, int) or each < 1 for each in m):
            raise StabilityMisuse("m holds averaging factors: whole numbers from 1")
        if not 0.0 < tau0_s < math.inf:
            raise StabilityMisuse(f"tau0_s is {tau0_s!r}; give the spacing of the readings in seconds, above zero")
        self.tau0_s = float(tau0_s)
        self.n = 0
        self._factors = [_Factor(each) for each in sorted(set(m))]
        self._size = 3 * self._factors[-1].m + 1
        self._ring = np.full(self._size, np.nan)

    def add(self, x_s: float) -> None:
        """Take the next phase, NaN where it is missing; raise `StabilityMisuse` for an infinite one."""
        if math.isinf(x_s):
            raise StabilityMisuse("a phase is infinite; give NaN for a missing one")
        self._ring[self.n % self._size] = x_s
        for factor in self._factors:
            self._differences(factor)
            self._windows(factor)
            self._ranges(factor, x_s)
        self.n += 1

    def _back(self, count: int) -> float:
        """Return the phase `count` readings before the newest."""
        return float(self._ring[(self.n - count) % self._size])

    def _second(self, count: int, m: int) -> float:
        """Return the second difference whose last phase is `count` readings before the newest."""
        middle = self._back(count + m)
        return (self._back(count) - middle) - (middle - self._back(count + 2 * m))

    def _differences(self, factor: _Factor) -> None:
        if self.n < 2 * factor.m:
            return
        d = self._second(0, factor.m)
        if d == d:  # noqa: PLR0124 - not NaN
            factor.squares, factor.squares_lost = _added(factor.squares, factor.squares_lost, d * d)
            factor.terms += 1

    def _windows(self, factor: _Factor) -> None:
        m = factor.m
        if self.n < 3 * m - 1:
            return
        factor.since_anchor += 1
        stale = factor.since_anchor >= max(m, ANCHOR)
        if stale or factor.window != factor.window:
            if not stale and self.n >= 3 * m and factor.window_terms and not self._gap_has_passed(m):
                return
            factor.window = math.fsum(self._second(k, m) for k in range(m))
            factor.since_anchor = 0
        else:
            factor.window += self._second(0, m) - self._second(m, m)
        if factor.window == factor.window:
            square = factor.window * factor.window
            factor.windows, factor.windows_lost = _added(factor.windows, factor.windows_lost, square)
            factor.window_terms += 1

    def _gap_has_passed(self, m: int) -> bool:
        return bool(np.all(np.isfinite(self._ring[(self.n - np.arange(3 * m)) % self._size])))

    def _ranges(self, factor: _Factor, x_s: float) -> None:
        """Monotone queues of indices: the front of each is the extreme of the window of m + 1 readings."""
        oldest = self.n - factor.m
        for queue, sign in ((factor.tops, 1.0), (factor.lows, -1.0)):
            if x_s == x_s:  # noqa: PLR0124
                while queue and sign * self._at(queue[-1]) <= sign * x_s:
                    queue.pop()
                queue.append(self.n)
            while queue and queue[0] < oldest:
                queue.popleft()
        if oldest >= 0 and factor.tops:
            factor.largest = max(factor.largest, self._at(factor.tops[0]) - self._at(factor.lows[0]))
            factor.ranges += 1

    def _at(self, index: int) -> float:
        return float(self._ring[index % self._size])

    def curve(self, statistic: str) -> StabilityCurve:
        """Return `oadev`, `mdev`, `tdev` or `mtie` of the stream so far; factors without a term are left out."""
        values, terms, kept = [], [], []
        for factor in self._factors:
            m, tau_s = factor.m, factor.m * self.tau0_s
            if statistic == "oadev":
                count, value = factor.terms, math.sqrt(factor.squares / max(factor.terms, 1) / 2.0) / tau_s
            elif statistic in {"mdev", "tdev"}:
                count = factor.window_terms
                spread = math.sqrt(factor.windows / max(count, 1))
                value = spread / math.sqrt(2.0) / m / tau_s if statistic == "mdev" else spread / math.sqrt(6.0) / m
            elif statistic == "mtie":
                count, value = factor.ranges, factor.largest
            else:
                raise StabilityMisuse(f"a stream knows oadev, mdev, tdev and mtie, not {statistic!r}")
            if count:
                values.append(value)
                terms.append(count)
                kept.append(m)
        nothing = np.full(len(kept), np.nan)
        return StabilityCurve(
            tau_s=np.array(kept, dtype=np.float64) * self.tau0_s,
            value=np.array(values, dtype=np.float64),
            lower=nothing,
            upper=nothing,
            n=np.array(terms, dtype=np.int64),
            noise=nothing,
            m=np.array(kept, dtype=np.int64),
            statistic=statistic,
            tau0_s=self.tau0_s,
            ci=None,
            edf=nothing,
        )


def _added(total: float, lost: float, term: float) -> tuple[float, float]:
    """Return a sum and what it lost to rounding (Kahan): a stream of years adds 1e9 terms."""
    term -= lost
    new = total + term
    return new, (new - total) - term
