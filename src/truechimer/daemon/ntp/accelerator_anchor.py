"""CLOCK_MONOTONIC tied to the raw counter: the anchors from which the accelerator's program reckons time.

It reads the two clocks through functions given to it (`daemon.host_clocks` owns them), and serves nothing. Source:
`house.md` 4.7. A program in the kernel can read CLOCK_MONOTONIC and not the raw counter, and whoever sets the host's
clock changes CLOCK_MONOTONIC's rate. So each reading is held against what the one before it and the learned rate say.

Law of the file: **a rate that changed by more than `SLEW_LIMIT` gives no anchor** until it has stood still for a
second: what was answered meanwhile, 10 ms as a rule, is all that such a change can falsify.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from truechimer.serve.ntp.accelerator import NS_PER_S, SLEW_LIMIT, Anchor

TRIPLES = 5
NARROW_ENOUGH_NS = 200
WIDEST_PAIR_NS = 5_000
RATE_SPACING_NS = 10_000_000
RATE_BASELINE_NS = 50_000_000
RATE_PAIRS = 16
QUIET_NS = NS_PER_S
"""How long the rate must have stood still after a change."""
FASTEST_SLEW = 0.125
"""The kernel's tick can be trimmed by 10 %, its frequency by 500 ppm; beyond that it is no clock."""


class NoAnchor(StrEnum):
    """Why there is no anchor now."""

    WIDE = "wide"  # interrupted in each of five readings; the next one will do
    LEARNING = "learning"  # the rate is not known yet, or has not stood still for long enough
    MOVED = "moved"  # the rate changed by more than the bound allows


@dataclass(frozen=True, slots=True)
class _Pair:
    mono_ns: int
    raw_ns: int
    half_width_ns: int


class MonotonicAnchor:
    """Takes anchors; call it every few milliseconds. Not for several threads at once.

    Invariant: `_recent` holds pairs of one rate, oldest first; `moved_total` only grows.
    """

    def __init__(
        self, *, raw_ns: Callable[[], int], monotonic_ns: Callable[[], int], suspended_ns: Callable[[], int]
    ) -> None:
        self._raw_ns, self._monotonic_ns, self._suspended_ns = raw_ns, monotonic_ns, suspended_ns
        self._recent: deque[_Pair] = deque(maxlen=RATE_PAIRS)
        self._last: _Pair | None = None
        self._rate: float | None = None
        self._not_before_ns = 0
        self.moved_total = 0

    def take(self) -> Anchor | NoAnchor:
        """Read both clocks and return an anchor, or why there is none."""
        asleep_ns = self._suspended_ns()  # before the pair: who falls asleep between the two has an anchor too few
        pair = self._narrowest()
        if pair.half_width_ns * 2 > WIDEST_PAIR_NS:
            return NoAnchor.WIDE
        last, self._last = self._last, pair
        if last is not None and self._rate is not None and _moved(last, pair, rate=self._rate):
            self.moved_total += 1
            self._rate = None
            self._recent.clear()
            self._recent.append(pair)
            self._not_before_ns = pair.raw_ns + QUIET_NS
            return NoAnchor.MOVED
        self._learn(pair)
        if self._rate is None or pair.raw_ns < self._not_before_ns:
            return NoAnchor.LEARNING
        return Anchor(pair.mono_ns, pair.raw_ns, self._rate, asleep_ns)

    def _narrowest(self) -> _Pair:
        """Read RAW, MONOTONIC, RAW up to five times and keep the narrowest."""
        best: _Pair | None = None
        for _ in range(TRIPLES):
            before = self._raw_ns()
            mono = self._monotonic_ns()
            after = self._raw_ns()
            if best is None or (after - before + 1) // 2 < best.half_width_ns:
                best = _Pair(mono, before + (after - before) // 2, (after - before + 1) // 2)
            if after - before <= NARROW_ENOUGH_NS:
                break
        assert best is not None
        return best

    def _learn(self, pair: _Pair) -> None:
        """Let the rate be the slope over the last pairs, 50 to 150 ms."""
        if self._recent and pair.mono_ns - self._recent[-1].mono_ns < RATE_SPACING_NS:
            return
        self._recent.append(pair)
        first = self._recent[0]
        elapsed_ns = pair.mono_ns - first.mono_ns
        if elapsed_ns < RATE_BASELINE_NS:
            return
        rate = (pair.raw_ns - first.raw_ns) / elapsed_ns
        if abs(rate - 1.0) < FASTEST_SLEW:
            self._rate = rate
        else:
            self._rate = None
            self._recent.clear()
            self._recent.append(pair)


def _moved(earlier: _Pair, later: _Pair, *, rate: float) -> bool:
    """Return True where RAW is further from its prediction than a change of rate within the bound explains."""
    elapsed_ns = later.mono_ns - earlier.mono_ns
    off_ns = abs(later.raw_ns - earlier.raw_ns - rate * elapsed_ns)
    return not off_ns <= earlier.half_width_ns + later.half_width_ns + SLEW_LIMIT * max(elapsed_ns, 0)
