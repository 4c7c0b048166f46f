"""Wall watch: where the host's wall clock stood against the host's label while this laboratory ran, and when it was
stepped.

It serves no time and corrects none. Programs outside can only stamp with the system clock, so the rows they write are
carried over to the label (anchor + raw counter) with what was watched at their own epoch; what nobody watched is not
carried over. Source: `house.md` 4.7.
"""

import threading
from collections import deque
from dataclasses import dataclass

from truechimer.daemon.host_clocks import ClockPair, HostClocks, HostStep
from truechimer.daemon.sources.feeds import HostLabel
from truechimer.instants import FS_PER_NS, Instant, LeapTable

NS_PER_S = 10**9
LOOK_EVERY_S = 0.05
"""Between two pairs; the rules of `host_clocks` call more than 90 ms unwatched."""

KEEP_EVERY_NS = 200_000_000
KEPT_S = 600.0
AHEAD_NS = NS_PER_S
"""How far beyond the last pair an epoch may lie: a row is written, and read, a moment after the pair before it."""

ANSWERS_KEPT = 1024

UNWATCHED_RATE = 1e-4
"""How fast label minus wall may run between the last pair and an epoch after it."""

SLEW_LIMIT = 1e-3
STEP_LEAST_NS = 20_000
"""Between two pairs that moved apart by more than both of these the wall clock was stepped: no epoch between them is
carried over.
"""

STEP_TOLD_S = 1e-4
"""A movement below this is ordinary discipline of a wall clock; above it the operator is told."""


@dataclass(frozen=True, slots=True)
class WallPoint:
    """One pair: the wall clock's TAI, the label minus it, and half the width of the pair, ns."""

    wall_tai_ns: int
    label_minus_wall_ns: int
    half_width_ns: int


@dataclass(frozen=True, slots=True)
class Carried:
    """What carries an epoch from the wall clock to the label: `label_minus_wall_s`, right to `u_s` (one sigma)."""

    label_minus_wall_s: float
    u_s: float


class WallWatch(threading.Thread):
    """Takes a pair every 50 ms in a thread of its own, with its own `HostClocks`; all its answers may be asked from any
    thread.
    """

    def __init__(
        self, label: HostLabel, leaps: LeapTable, *, clocks: HostClocks | None = None, keep_s: float = KEPT_S
    ) -> None:
        super().__init__(name="wall-watch", daemon=True)
        self._label, self._leaps = label, leaps
        self._clocks = clocks if clocks is not None else HostClocks()
        self._points: deque[WallPoint] = deque(maxlen=max(16, round(keep_s * NS_PER_S / KEEP_EVERY_NS)))
        self._carried: dict[int, Carried] = {}
        self._kept_raw_ns = 0
        self._steps: list[HostStep] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.look()

    def run(self) -> None:
        """Watch until `stop`."""
        while not self._ended.wait(LOOK_EVERY_S):
            self.look()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._ended.set()

    def look(self) -> None:
        """Take one pair and keep what it says."""
        pair = self._clocks.take_pair()
        steps = self._clocks.take_steps()
        with self._lock:
            self._steps.extend(step for step in steps if abs(step.moved_s) >= STEP_TOLD_S)
            if steps or pair.raw_ns - self._kept_raw_ns >= KEEP_EVERY_NS:
                self._kept_raw_ns = pair.raw_ns
                self._points.append(self._point(pair))

    def use_leaps(self, leaps: LeapTable) -> None:
        """Follow another leap table from the next look on."""
        self._leaps = leaps

    def take_steps(self) -> tuple[HostStep, ...]:
        """Return the steps seen since the last call, and forget them."""
        with self._lock:
            steps = tuple(self._steps)
            self._steps.clear()
        return steps

    def wall_tai_now_ns(self) -> int:
        """Return the wall clock's TAI now: the latest epoch that an outside program can honestly write."""
        return self._clocks.realtime_ns() + self._tai_minus_utc_ns(self._clocks.raw_ns())

    def carry(self, wall_tai_ns: int) -> Carried | None:
        """Return what carries an epoch over to the label, or None where nobody watched, or the wall clock was stepped
        around it.

        An epoch asked for again gets the same answer: rows of one epoch in several files stay of one epoch.
        """
        with self._lock:
            known = self._carried.get(wall_tai_ns)
            if known is not None:
                return known
            found = self._find(wall_tai_ns)
            if found is not None:
                while len(self._carried) >= ANSWERS_KEPT:
                    del self._carried[next(iter(self._carried))]
                self._carried[wall_tai_ns] = found
            return found

    def _find(self, wall_tai_ns: int) -> Carried | None:
        """Look an epoch up, the newest pairs first: after a step back they are the ones that count."""
        later: WallPoint | None = None
        for point in reversed(self._points):
            if point.wall_tai_ns <= wall_tai_ns:
                return _between(point, later, wall_tai_ns)
            later = point
        return None

    def past_shift_ns(self, wall_tai_ns: int) -> int:
        """Return label minus wall for an epoch before the watch began: 0 before the label itself, then as it was when
        the watch began.
        """
        with self._lock:
            first = self._points[0]
        return 0 if wall_tai_ns <= self._label.tai_ns else first.label_minus_wall_ns

    def _point(self, pair: ClockPair) -> WallPoint:
        """Turn a pair into a point."""
        wall_tai_ns = pair.realtime_ns + self._tai_minus_utc_ns(pair.raw_ns)
        return WallPoint(wall_tai_ns, self._label.at(pair.raw_ns) - wall_tai_ns, pair.half_width_ns)

    def _tai_minus_utc_ns(self, raw_ns: int) -> int:
        """Return TAI minus UTC at a raw value."""
        return self._leaps.tai_minus_utc_at(Instant(self._label.at(raw_ns) * FS_PER_NS)) * NS_PER_S


def _between(earlier: WallPoint, later: WallPoint | None, wall_tai_ns: int) -> Carried | None:
    """Interpolate between two pairs that follow each other."""
    behind_ns = wall_tai_ns - earlier.wall_tai_ns
    if later is None:
        if behind_ns > AHEAD_NS:
            return None
        return Carried(earlier.label_minus_wall_ns / 1e9, (earlier.half_width_ns + UNWATCHED_RATE * behind_ns) / 1e9)
    gap_ns = later.wall_tai_ns - earlier.wall_tai_ns
    moved_ns = later.label_minus_wall_ns - earlier.label_minus_wall_ns
    if abs(moved_ns) > STEP_LEAST_NS + SLEW_LIMIT * gap_ns:
        return None
    d_ns = earlier.label_minus_wall_ns + moved_ns * (behind_ns / gap_ns)
    return Carried(d_ns / 1e9, max(earlier.half_width_ns, later.half_width_ns) / 1e9)
