"""OADEV, MDEV, TDEV and MTIE of readings as they come, with bounded memory: for a page that shows a running clock.

It makes no intervals and keeps no record: `oadev` and its kin do that over the record. Every value is that of the whole
stream so far, within 1e-12 of what the record would give; memory is 3 max(m) + 1 readings, for MTIE up to 2 (m + 1)
indices of them for each factor, and some sums, whatever the time. A reading costs the same however long the factor.

Law: after each reading, the sums hold every term whose last phase is that reading or an earlier one. Sums are kept with
what they lost to rounding (Knuth's two-sum), so a window that readings enter and leave for years does not drift: what
leaves it is the very double that entered.
"""

import math
from array import array
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from truechimer.stability.curve import StabilityCurve, StabilityMisuse


@dataclass(slots=True)
class _Factor:
    """What is carried for one averaging factor. `missing`: second differences in the window that are not there."""

    m: int
    squares: float = 0.0
    squares_lost: float = 0.0
    terms: int = 0
    window: float = 0.0
    window_lost: float = 0.0
    missing: int = 0
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
        self._ring = array("d", [math.nan]) * self._size

    def add(self, x_s: float) -> None:
        """Take the next phase, NaN where it is missing; raise `StabilityMisuse` for an infinite one."""
        if math.isinf(x_s):
            raise StabilityMisuse("a phase is infinite; give NaN for a missing one")
        ring, size, n = self._ring, self._size, self.n
        ring[n % size] = x_s
        for factor in self._factors:
            m = factor.m
            if n >= 2 * m:
                middle = ring[(n - m) % size]
                before = middle - ring[(n - 2 * m) % size]
                new = (x_s - middle) - before
                if new == new:  # noqa: PLR0124 - not NaN
                    factor.squares, lost = _two_sum(factor.squares, new * new)
                    factor.squares_lost += lost
                    factor.terms += 1
                _into_window(factor, new, sign=1.0)
                if n >= 3 * m:
                    earlier = ring[(n - 2 * m) % size] - ring[(n - 3 * m) % size]
                    _into_window(factor, before - earlier, sign=-1.0)
                if n >= 3 * m - 1 and not factor.missing:
                    mean = factor.window + factor.window_lost
                    factor.windows, lost = _two_sum(factor.windows, mean * mean)
                    factor.windows_lost += lost
                    factor.window_terms += 1
            self._range(factor, x_s)
        self.n += 1

    def extend(self, x_s: Iterable[float]) -> None:
        """Take phases in their order, as `add` does."""
        for each in x_s:
            self.add(float(each))

    def _range(self, factor: _Factor, x_s: float) -> None:
        """Monotone queues of indices: the front of each is the extreme of the window of m + 1 readings."""
        ring, size, tops, lows = self._ring, self._size, factor.tops, factor.lows
        oldest = self.n - factor.m
        if x_s == x_s:  # noqa: PLR0124
            while tops and ring[tops[-1] % size] <= x_s:
                tops.pop()
            tops.append(self.n)
            while lows and ring[lows[-1] % size] >= x_s:
                lows.pop()
            lows.append(self.n)
        if tops and tops[0] < oldest:
            tops.popleft()
        if lows and lows[0] < oldest:
            lows.popleft()
        if oldest >= 0 and tops:
            factor.largest = max(factor.largest, ring[tops[0] % size] - ring[lows[0] % size])
            factor.ranges += 1

    def curve(self, statistic: str) -> StabilityCurve:
        """Return `oadev`, `mdev`, `tdev` or `mtie` of the stream so far; factors without a term are left out."""
        values, terms, kept = [], [], []
        for factor in self._factors:
            m, tau_s = factor.m, factor.m * self.tau0_s
            if statistic == "oadev":
                count = factor.terms
                value = math.sqrt((factor.squares + factor.squares_lost) / max(count, 1) / 2.0) / tau_s
            elif statistic in {"mdev", "tdev"}:
                count = factor.window_terms
                spread = math.sqrt((factor.windows + factor.windows_lost) / max(count, 1))
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


def _into_window(factor: _Factor, difference: float, *, sign: float) -> None:
    """Put a second difference into the window (sign 1) or take it out (sign -1), with its rounding error."""
    if difference == difference:  # noqa: PLR0124 - not NaN
        factor.window, lost = _two_sum(factor.window, sign * difference)
        factor.window_lost += lost
    else:
        factor.missing += int(sign)


def _two_sum(a: float, b: float) -> tuple[float, float]:
    """Return fl(a + b) and its rounding error."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)
