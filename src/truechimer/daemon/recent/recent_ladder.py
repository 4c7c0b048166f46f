"""Ladders: bounded memory of a long series, dense in the near past, an octave sparser with every step back.

They judge nothing and read no clock. Rung k keeps one row each 2^k intervals; each rung holds a fixed number of rows,
so minutes and years take the same room. Two laws, one for each use: clocks are *sampled* (a deviation over tau wants
phases tau apart, and no averages of them), UTC minus UTC(k) keeps the *extremes* of each slot (a plot must not lose a
short excursion because it is old).
"""

from collections import deque
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from truechimer.scale.state import Membership

Floats = NDArray[np.float64]

OUT = tuple(int(word) for word in (Membership.OUT_STEP, Membership.OUT_RATE, Membership.DISPUTED, Membership.DIVIDED))
HEARD = (int(Membership.LEARNING), int(Membership.IN), int(Membership.OBSERVER), int(Membership.DOUBTED))
"""Memberships whose phases a deviation is made of; a suspect's single reading is left out."""

RUNGS = 21
"""2^20 intervals of 1 s are 12 days: with 512 rows that rung reaches back 17 years."""

CLOCK_ROWS = 512
UTC_ROWS = 192
BREAKS = 16
"""Breaks of a clock that are remembered, the latest."""


@dataclass(frozen=True, slots=True, eq=False)
class ClockRow:
    """One scale step. `x_clock_minus_scale_s` `(n,)`: NaN where a clock gave no reading or was out; `weight` `(n,)`;
    `out`: the clocks (index) that were out because of a step or a change of rate.
    """

    epoch_ns: int
    x_clock_minus_scale_s: Floats
    weight: Floats
    out: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class UtcRow:
    """UTC minus UTC(k) up to an epoch: lowest and highest value of its slot, and the largest uncertainties there.

    `u_s`: one sigma; `half_s`: half width of the band, 6 sigma + limits; `bound_s`: the scale's stated bound, None
    where none was stated.
    """

    epoch_ns: int
    low_s: float
    high_s: float
    u_s: float
    half_s: float
    bound_s: float | None

    def joined(self, later: "UtcRow") -> "UtcRow":
        """Return one row for this slot and a later value in it."""
        bounds = [each for each in (self.bound_s, later.bound_s) if each is not None]
        return UtcRow(
            later.epoch_ns,
            min(self.low_s, later.low_s),
            max(self.high_s, later.high_s),
            max(self.u_s, later.u_s),
            max(self.half_s, later.half_s),
            max(bounds) if bounds else None,
        )


class ClockLadder:
    """Scale steps on rungs, and when each clock was last out. Invariant: on each rung epochs grow, and no two rows
    share a slot of its stride.
    """

    def __init__(self, interval_ns: int) -> None:
        self.interval_ns = interval_ns
        self.rungs: list[deque[ClockRow]] = [deque(maxlen=CLOCK_ROWS) for _ in range(RUNGS)]
        self.breaks: dict[int, deque[int]] = {}
        self._out: tuple[int, ...] = ()

    def add(self, row: ClockRow) -> None:
        """Take a later row; one that is not later is left out."""
        if self.rungs[0] and row.epoch_ns <= self.rungs[0][-1].epoch_ns:
            return
        for i in row.out:
            ends = self.breaks.setdefault(i, deque(maxlen=BREAKS))
            if i in self._out:
                ends.pop()
            ends.append(row.epoch_ns)
        self._out = row.out
        # a step belongs to the grid point next to it: half an interval early is still on time
        half_ns, stride = self.interval_ns // 2, self.interval_ns
        for rung in self.rungs:
            if rung and (row.epoch_ns + half_ns) // stride == (rung[-1].epoch_ns + half_ns) // stride:
                break  # the coarser rungs have a row of this slot too
            rung.append(row)
            stride *= 2

    def merged(self, most: int) -> list[ClockRow]:
        """Return at most `most` rows from the oldest to the newest, sparser with age."""
        rows = {row.epoch_ns: row for rung in self.rungs for row in rung}
        return _thinned([rows[epoch] for epoch in sorted(rows)], most)

    def until(self, until_ns: int) -> "ClockLadder":
        """Return a copy up to an epoch (ns TAI), whose rungs may be read while this one goes on."""
        copy = ClockLadder(self.interval_ns)
        copy.rungs = [rung.copy() for rung in self.rungs]
        for rung in copy.rungs:
            while rung and rung[-1].epoch_ns > until_ns:
                rung.pop()
        copy.breaks = {i: ends.copy() for i, ends in self.breaks.items()}
        return copy

    def unbroken(self) -> list[list[ClockRow]]:
        """Return the rows of each rung with each clock's phases in its longest stretch without a break alone: phases
        before a step and after it have no common origin.
        """
        return [_unbroken(list(rung), self.breaks) for rung in self.rungs]


class UtcLadder:
    """UTC minus UTC(k) on rungs: a rung's slot keeps its extremes."""

    def __init__(self, interval_ns: int) -> None:
        self.interval_ns = interval_ns
        self.rungs: list[deque[UtcRow]] = [deque(maxlen=UTC_ROWS) for _ in range(RUNGS)]

    def add(self, row: UtcRow) -> None:
        """Take a later row; one that is not later is left out."""
        if self.rungs[0] and row.epoch_ns <= self.rungs[0][-1].epoch_ns:
            return
        stride = self.interval_ns
        for rung in self.rungs:
            last = rung[-1] if rung else None
            if last is not None and row.epoch_ns // stride == last.epoch_ns // stride:
                rung[-1] = last.joined(row)
                break
            rung.append(row)
            if last is None:
                break
            row = last  # this slot is closed: the next rung takes it whole
            stride *= 2

    def merged(self) -> list[UtcRow]:
        """Return the rows from the oldest to the newest: of each stretch the finest rung that still holds it."""
        rows = list(self.rungs[0])
        for finer, rung in pairwise(self.rungs):
            if len(finer) < UTC_ROWS:
                break  # it still holds everything
            # the slot in which the finer rung begins is taken whole from the coarser one
            older = [row for row in rung if row.epoch_ns < finer[0].epoch_ns]
            straddling = [row for row in rung if row.epoch_ns >= finer[0].epoch_ns][:1]
            until = straddling[0].epoch_ns if straddling else finer[0].epoch_ns - 1
            rows = older + straddling + [row for row in rows if row.epoch_ns > until]
        return rows


def _thinned(rows: list[ClockRow], most: int) -> list[ClockRow]:
    """Return at most `most` of the rows, the newest among them."""
    step = -(-len(rows) // max(most, 1))
    return rows[::-1][::step][::-1] if step > 1 else rows


def _unbroken(rows: list[ClockRow], breaks: dict[int, deque[int]]) -> list[ClockRow]:
    if not rows or not breaks:
        return rows
    epochs = np.array([row.epoch_ns for row in rows], dtype=np.int64)
    phases = [row.x_clock_minus_scale_s.copy() for row in rows]
    for i, ends in breaks.items():
        there = np.array([i < len(x) and bool(np.isfinite(x[i])) for x in phases])
        stretch = np.searchsorted(np.array(ends, dtype=np.int64), epochs, side="left")
        counts = np.bincount(stretch[there], minlength=len(ends) + 1)
        kept = len(counts) - 1 - int(np.argmax(counts[::-1]))  # of equals the latest
        for x, number in zip(phases, stretch.tolist(), strict=True):
            if number != kept and i < len(x):
                x[i] = np.nan
    return [replace(row, x_clock_minus_scale_s=x) for row, x in zip(rows, phases, strict=True)]
