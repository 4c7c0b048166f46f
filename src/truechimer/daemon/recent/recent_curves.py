"""Curves: the stability of each clock against the scale, and of the scale itself, from the recent rows.

It keeps no rows and is no authority: `truechimer stability` reckons from files, with every estimator. What is plotted
for a clock is the overlapping Allan deviation of clock minus scale; since the scale holds the clock itself with its
weight, a heavy clock looks better than it is. What is plotted for the scale takes that out, on one assumption, that
clocks are independent. With clock i of variance s_i and weight w_i, the variance of clock minus scale is

    d_i = s_i (1 - 2 w_i) + S,    S = sum w_i^2 s_i = variance of the scale,

so S = sum(w_i^2 d_i / (1 - 2 w_i)) / (1 + sum(w_i^2 / (1 - 2 w_i))) (the correlation of a clock with its
ensemble: Yoshimura, Metrologia 16 (1980) 133). Where a weight comes near one half
that cannot be solved, and no curve is drawn.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log2, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truechimer.daemon import notify
from truechimer.daemon.recent.recent_ladder import ClockLadder, ClockRow

Floats = NDArray[np.float64]

RECKON_EVERY_S = 10.0
REST = 30.0
"""After each reckoning the thread rests so many times as long as it took, or longer."""

MOST_CLOCKS = 48
"""Clocks with a curve in one answer: those with the largest weights."""

LEAST_ROWS = 8
MOST_SLOTS = 2048
NEAR_SLOT = 0.25
"""A row further than this part of the spacing from its grid point is left out; nearer ones are carried there."""

ON_GRID = 0.9
NEIGHBOURS_OCTAVE = 0.5
"""Of two averaging times nearer than this many octaves only the better supported one is reckoned."""

LEAST_TERMS = 3
LARGEST_WEIGHT = 0.4
BREATH_S = 0.002
"""Between two curves the thread steps back: the fold goes first."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Rows on a grid: `x_s` `(slots, clocks)`, NaN where there is none; `weight` `(clocks,)`: mean over the rows;
    `newest_ns`: epoch of the last row.
    """

    newest_ns: int
    tau0_s: float
    x_s: Floats
    weight: Floats


@dataclass(frozen=True, slots=True)
class Reckoned:
    """One point of a curve: deviation with its interval (one sigma; NaN where there is none), from `n` terms."""

    tau_s: float
    value: float
    lower: float
    upper: float
    n: int


Known = dict[tuple[int, float, int, int], Reckoned | None]
"""Points by newest epoch, spacing (s), averaging factor and clock: a coarse rung seldom has a new row."""


class Curves:
    """Reckons in a thread of its own, at most every `RECKON_EVERY_S`; `found` is the last outcome."""

    def __init__(self) -> None:
        self.found: dict[str, Any] | None = None
        self._known: Known = {}
        self._breaks: dict[int, list[int]] = {}
        self._took_s = 0.0
        self._thread: threading.Thread | None = None
        self._begun = -RECKON_EVERY_S
        self._newest_ns = 0
        self._failed = False

    def reckon(self, ladder: ClockLadder, names: Sequence[str], shown: Sequence[int]) -> None:
        """Begin to reckon where it is time and there is something new; returns at once."""
        newest_ns = max((rung[-1].epoch_ns for rung in ladder.rungs if rung), default=0)
        if self._thread is not None and self._thread.is_alive():
            return
        if newest_ns == self._newest_ns or time.monotonic() - self._begun < max(RECKON_EVERY_S, REST * self._took_s):
            return
        breaks = {i: list(ends) for i, ends in ladder.breaks.items()}
        if breaks != self._breaks:
            self._known, self._breaks = {}, breaks  # other stretches count now
        self._begun, self._newest_ns = time.monotonic(), newest_ns

        def work() -> None:
            try:
                before = time.thread_time()
                self.found = deviations(ladder, names, shown, known=self._known, breath_s=BREATH_S)
                self._took_s = time.thread_time() - before
            except Exception:  # noqa: BLE001 - a fault of the plots is said once
                if not self._failed:
                    self._failed = True
                    notify.say_fault()

        self._thread = threading.Thread(target=work, name="deviations", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> None:
        """Wait until the thread that is at work has ended."""
        if self._thread is not None:
            self._thread.join(timeout_s)


def deviations(
    ladder: ClockLadder,
    names: Sequence[str],
    shown: Sequence[int],
    *,
    known: Known | None = None,
    breath_s: float = 0.0,
) -> dict[str, Any] | None:
    """Return the curves of the clocks with index in `shown` and of the scale; None where there are too few rows.

    `known`: points that need not be reckoned again; it holds this call's points afterwards.
    """
    n = len(names)
    before, now = dict(known or {}), Known()
    chosen = plan(ladder.unbroken(), n)
    if not chosen:
        return None
    newest = ladder.rungs[0][-1].weight
    order = sorted(shown, key=lambda i: -float(newest[i]) if i < len(newest) else 0.0)[:MOST_CLOCKS]
    points: dict[int, list[Reckoned]] = {i: [] for i in order}
    of_scale: list[Reckoned] = []
    for grid, m in chosen:
        here: dict[int, Reckoned] = {}
        for i in order:
            key = (grid.newest_ns, grid.tau0_s, m, i)
            if key in before:
                point = before[key]
            else:
                point = reckoned(grid.x_s[:, i], grid.tau0_s, m)
                if breath_s:
                    time.sleep(breath_s)
            now[key] = point
            if point is not None:
                here[i] = point
                points[i].append(point)
        scale = scale_point(here, grid.weight)
        if scale is not None:
            of_scale.append(scale)
    if known is not None:
        known.clear()
        known.update(now)
    clocks = [{"name": names[i]} | _columns(points[i]) for i in order if points[i]]
    if not clocks:
        return None
    body: dict[str, Any] = {"estimator": "oadev", "interval": "one sigma", "clocks": clocks}
    if of_scale:
        body["scale"] = _columns(of_scale)
    if len(shown) > len(order):
        body["clocks_left_out"] = len(shown) - len(order)
    return body


def plan(rungs: Sequence[Sequence[ClockRow]], n: int) -> list[tuple[Grid, int]]:
    """Return grids and averaging factors, one for each averaging time, the best supported where several rungs have it.

    What supports a value is its number of terms that do not overlap; overlapping adds less than half of that again.
    """
    offers: list[tuple[float, float, Grid, int]] = []
    for rung in rungs:
        grid = on_grid(rung, n)
        if grid is None:
            continue
        there: NDArray[np.bool_] = np.asarray(np.isfinite(grid.x_s).any(axis=1))
        spacing_s = grid.tau0_s * len(there) / int(there.sum())
        m = 1
        while 2 * m + LEAST_TERMS <= len(there):
            tau_s = m * grid.tau0_s
            terms = int((there[2 * m :] & there[m:-m] & there[: -2 * m]).sum())
            overlap = 1.4 if tau_s > 3.0 * spacing_s else 1.2 if tau_s > 1.5 * spacing_s else 1.0
            if terms >= LEAST_TERMS:
                offers.append((terms * min(1.0, spacing_s / tau_s) * overlap, tau_s, grid, m))
            m *= 2
    taken: list[tuple[float, Grid, int]] = []
    for _, tau_s, grid, m in sorted(offers, key=lambda offer: -offer[0]):
        if all(abs(log2(tau_s / other)) > NEIGHBOURS_OCTAVE for other, _, _ in taken):
            taken.append((tau_s, grid, m))
    taken.sort(key=lambda each: each[0])
    return [(grid, m) for _, grid, m in taken]


def on_grid(rows: Sequence[ClockRow], n: int) -> Grid | None:
    """Lay rows on a grid of their own spacing; None where there are too few.

    The spacing is the median one, or a part of it where that puts too many rows between the grid's points.
    """
    if len(rows) < LEAST_ROWS:
        return None
    epochs = np.array([row.epoch_ns for row in rows], dtype=np.int64)
    age = (epochs - epochs[-1]) / 1e9
    spacing = float(np.median(np.diff(age)))
    if not spacing > 0.0:
        return None
    best: tuple[float, float, Floats] = (-1.0, spacing, age)
    for part in (1, 2, 3):
        turns = age * part / spacing
        # where most rows stand between the points of a grid that begins anywhere: the mean direction
        places = turns - float(np.angle(np.exp(2j * np.pi * turns).mean())) / (2.0 * np.pi)
        landed = float(np.mean(np.abs(places - np.rint(places)) <= NEAR_SLOT))
        if landed > best[0]:
            best = (landed, spacing / part, places)
        if landed >= ON_GRID:
            break
    _, tau0_s, places = best
    x = np.full((len(rows), n), np.nan)
    weight = np.zeros((len(rows), n))
    for k, row in enumerate(rows):
        x[k, : len(row.weight)] = row.x_clock_minus_scale_s
        weight[k, : len(row.weight)] = row.weight
    slots = np.rint(places).astype(np.int64)
    slots -= slots.max()
    places = places - np.rint(places) + slots
    near = (np.abs(places - slots) <= NEAR_SLOT) & (slots > -MOST_SLOTS)
    if int(near.sum()) < LEAST_ROWS:
        return None
    off_s = (slots - places) * tau0_s
    x += _rates(age, x) * off_s[:, None]
    size = int(-slots[near].min()) + 1
    laid = np.full((size, n), np.nan)
    # of several rows at one grid point the nearest stays: it is written last
    order = np.flatnonzero(near)[np.argsort(-np.abs(off_s[near]), kind="stable")]
    laid[slots[order] + size - 1] = x[order]
    return Grid(int(epochs[-1]), tau0_s, laid, weight[near].mean(axis=0))


def _rates(age: Floats, x: Floats) -> Floats:
    """Return each clock's mean rate over the rows, `(n,)`; 0 where it has fewer than two."""
    rates = np.zeros(x.shape[1])
    for i in range(x.shape[1]):
        there = np.flatnonzero(np.isfinite(x[:, i]))
        if len(there) > 1:
            first, last = there[0], there[-1]
            rates[i] = (x[last, i] - x[first, i]) / (age[last] - age[first])
    return rates


def reckoned(x_s: Floats, tau0_s: float, m: int) -> Reckoned | None:
    """Return the overlapping Allan deviation at m tau0 with its interval; None where there is none."""
    from truechimer.stability import oadev  # late: a laboratory that nobody looks at needs none

    there = np.flatnonzero(np.isfinite(x_s))
    if len(there) < LEAST_ROWS:
        return None
    x_s = x_s[there[0] : there[-1] + 1]
    if len(x_s) < 2 * m + LEAST_TERMS:
        return None
    curve = oadev(x_s, tau0_s, m=[m])
    if not len(curve.value):
        return None
    value, lower, upper, terms = (float(each[0]) for each in (curve.value, curve.lower, curve.upper, curve.n))
    if not (isfinite(value) and value > 0.0 and terms >= LEAST_TERMS):
        return None
    return Reckoned(m * tau0_s, value, lower, upper, int(terms))


def scale_point(points: dict[int, Reckoned], weight: Floats) -> Reckoned | None:
    """Return the scale's own deviation at one averaging time, from those of its clocks and their weights; None where
    fewer than three clocks have one, where they carry too little of the scale, or where one carries too much.
    """
    members = [i for i in points if weight[i] > 0.0]
    total = float(weight[members].sum()) if members else 0.0
    if len(members) < 3 or total < 0.9 or float(weight[members].max()) / total > LARGEST_WEIGHT:
        return None
    w = weight[members] / total
    of = [points[i] for i in members]
    d = np.array([each.value**2 for each in of])
    # half the width of the interval of the square: what one of them does to the sum
    u = np.array([(each.upper**2 - each.lower**2) / 2.0 for each in of])
    share = w * w / (1.0 - 2.0 * w)
    below = 1.0 + float(share.sum())
    square = float((share * d).sum()) / below
    u_square = sqrt(float(((share * u) ** 2).sum())) / below
    if not square > 0.0:
        return None
    # below, the same factor as above: a deviation is positive, and its logarithm is what is plotted
    upper = sqrt(square + u_square)
    return Reckoned(of[0].tau_s, sqrt(square), square / upper, upper, min(each.n for each in of))


def _columns(points: Sequence[Reckoned]) -> dict[str, Any]:
    """Return points as columns; three digits are more than a deviation has."""

    def short(value: float) -> float | None:
        return float(f"{value:.4g}") if isfinite(value) else None

    return {
        "tau_s": [short(each.tau_s) for each in points],
        "value": [short(each.value) for each in points],
        "lower": [short(each.lower) for each in points],
        "upper": [short(each.upper) for each in points],
        "n": [each.n for each in points],
    }
