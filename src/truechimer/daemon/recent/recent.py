"""Recent: what the laboratory remembers of its own near and far past for whoever looks at it, in bounded memory.

It decides nothing, proves nothing (the records do) and steps nothing: it is told each epoch after the fold has made it.
What it answers is for plots: rounded, thinned with age, at most a few hundred kilobytes. After a restart it reads its
past back from the journal, in a thread of its own, when somebody asks for the first time.

The law of the file: whatever goes wrong here, the time goes on; a fault is said once and the answer is shorter.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from typing import Any

import numpy as np

from truechimer.clocks.clock import ClockKind
from truechimer.daemon import notify
from truechimer.daemon.lab_start import Started
from truechimer.daemon.recent.recent_curves import Curves
from truechimer.daemon.recent.recent_journal import rows_of
from truechimer.daemon.recent.recent_ladder import HEARD, OUT, ClockLadder, ClockRow, UtcLadder, UtcRow
from truechimer.instants import Instant, LeapTable, to_utc
from truechimer.instants.mjd import to_mjd_float
from truechimer.laboratory.line import EpochOutcome
from truechimer.laboratory.state import LaboratoryState
from truechimer.steer.bound import COVERAGE_FACTOR

WAITING_ROWS = 4096
"""Rows kept aside for a past that is still being read."""

WEIGHT_ROWS = 96
WEIGHT_FIGURES = 4800
"""Most figures of the weights over time that one answer holds; more clocks have fewer rows."""


class Recent:
    """The laboratory's memory for plots. `take` in the fold's thread, `document` in any other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clocks: ClockLadder | None = None
        self._utc: UtcLadder | None = None
        self._waiting: deque[ClockRow | UtcRow] = deque(maxlen=WAITING_ROWS)
        self._names: tuple[str, ...] = ()
        self._shown: tuple[int, ...] = ()
        self._curves = Curves()
        self._journal: Callable[[], Iterator[ClockRow | UtcRow]] | None = None
        self._refilling = False
        self._failed = False

    def take(self, started: Started, outcome: EpochOutcome) -> None:
        """Take one epoch in; costs some microseconds, and never raises."""
        try:
            if self._clocks is None and started.resumed:
                path, state = started.store.path, started.state
                self._journal = lambda: rows_of(path, state)
            self._take(started.state, outcome, started.config.interval_ns)
        except Exception:  # noqa: BLE001 - a fault of the plots must not stop the time
            if not self._failed:
                self._failed = True
                notify.say_fault()

    def _take(self, state: LaboratoryState, outcome: EpochOutcome, interval_ns: int) -> None:
        rows = [row for row in (clock_row(outcome), utc_row(state, outcome)) if row is not None]
        with self._lock:
            if self._clocks is None or self._utc is None:
                self._clocks, self._utc = ClockLadder(interval_ns), UtcLadder(interval_ns)
            if len(self._names) != len(state.register.clocks):
                clocks = state.register.clocks
                self._names = tuple(clock.name for clock in clocks)
                # the host against the scale is seven decades above the clocks: the plot would be of it alone
                self._shown = tuple(i for i, clock in enumerate(clocks) if clock.kind is not ClockKind.HOST)
            for row in rows:
                self._add(row)
                if self._journal is not None:
                    self._waiting.append(row)

    def _add(self, row: ClockRow | UtcRow) -> None:
        if isinstance(row, UtcRow):
            assert self._utc is not None
            self._utc.add(row)
        else:
            assert self._clocks is not None
            self._clocks.add(row)

    def document(self, leaps: LeapTable, *, until_ns: int) -> dict[str, Any]:
        """Return the history: `utc` (UTC minus UTC(k)), `weights` and `deviations`, each absent where there is none.

        `until_ns`: the newest epoch (ns TAI) whose records are on the disk; nothing later is told. Ages are seconds
        before `as_of`; deviations are those of the last reckoning, which a question sets going.
        """
        self._refill_once()
        with self._lock:
            if self._clocks is None or self._utc is None:
                return {}
            utc = [row for row in self._utc.merged() if row.epoch_ns <= until_ns]
            ladder = self._clocks.until(until_ns)
            names, shown, refilling = self._names, self._shown, self._refilling
        newest_ns = max(
            [row.epoch_ns for row in utc[-1:]] + [row.epoch_ns for row in list(ladder.rungs[0])[-1:]], default=0
        )
        if newest_ns == 0:
            return {}
        body: dict[str, Any] = {
            "as_of": to_utc(Instant.from_tai_ns(newest_ns), leaps, beyond_expiry="flag").isoformat(digits=3),
            "as_of_mjd_tai": round(to_mjd_float(Instant.from_tai_ns(newest_ns)), 6),
            "interval_s": ladder.interval_ns / 1e9,
        }
        if utc:
            body["utc"] = _utc_columns(utc, newest_ns)
        rows = ladder.merged(min(WEIGHT_ROWS, max(WEIGHT_FIGURES // max(len(shown), 1), 8)))
        if rows and shown:
            body["weights"] = _weights(rows, shown, names, newest_ns)
        self._curves.reckon(ladder, names, shown)
        if self._curves.found is not None:
            body["deviations"] = self._curves.found
        if refilling:
            body["reading_the_past"] = True
        return body

    def wait(self, timeout_s: float) -> None:
        """Wait until the deviations that are being reckoned are there."""
        self._curves.wait(timeout_s)

    def _refill_once(self) -> None:
        """Begin to read the past, the first time."""
        with self._lock:
            if self._journal is None or self._refilling or self._clocks is None:
                return
            self._refilling = True
            journal = self._journal
        threading.Thread(target=self._refill, args=(journal,), name="recent-past", daemon=True).start()

    def _refill(self, journal: Callable[[], Iterator[ClockRow | UtcRow]]) -> None:
        """Read the past into new ladders, then what came meanwhile, and put them in place of the old ones."""
        assert self._clocks is not None
        clocks, utc = ClockLadder(self._clocks.interval_ns), UtcLadder(self._clocks.interval_ns)
        try:
            for row in journal():
                (utc.add(row) if isinstance(row, UtcRow) else clocks.add(row))
        except Exception:  # noqa: BLE001 - what could be read is kept
            notify.say_fault()
        with self._lock:
            for row in self._waiting:
                (utc.add(row) if isinstance(row, UtcRow) else clocks.add(row))
            self._clocks, self._utc = clocks, utc
            self._journal = None
            self._waiting.clear()
            self._refilling = False


def clock_row(outcome: EpochOutcome) -> ClockRow | None:
    """Return the clocks' row of an epoch; None between scale steps and where no clock was read."""
    step = outcome.step
    if not step.due:
        return None
    heard = np.isfinite(step.residual_s) & np.isin(step.membership, HEARD)
    out = tuple(np.flatnonzero(np.isin(step.membership, OUT)).tolist())
    if not heard.any() and not out:
        return None
    return ClockRow(step.epoch_tai_ns, np.where(heard, step.x_clock_minus_scale_s, np.nan), step.weight, out)


def utc_row(state: LaboratoryState, outcome: EpochOutcome) -> UtcRow | None:
    """Return UTC minus UTC(k) at an epoch; None where either does not exist yet."""
    if outcome.utc is None or outcome.coordination is None or state.utc is None:
        return None
    x_utc_minus_utck_s = outcome.utc.x_s - outcome.coordination.at(outcome.utc.epoch_ns)
    u_s = outcome.utc.u_x_s * state.utc.inflation
    half_s = COVERAGE_FACTOR * u_s + state.utc.limit_s
    if not (isfinite(x_utc_minus_utck_s) and isfinite(half_s)):
        return None
    bound_s = None if outcome.bound is None else outcome.bound.scale_bound_s
    if bound_s is not None and not isfinite(bound_s):
        bound_s = None
    return UtcRow(state.epoch_ns, x_utc_minus_utck_s, x_utc_minus_utck_s, u_s, half_s, bound_s)


def short(value: float) -> float:
    """Return a figure for a plot: five digits."""
    return float(f"{value:.5g}")


def _utc_columns(rows: Sequence[UtcRow], newest_ns: int) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "age_s": [round((newest_ns - row.epoch_ns) / 1e9, 1) for row in rows],
        "low_s": [short(row.low_s) for row in rows],
        "high_s": [short(row.high_s) for row in rows],
        "u_s": [short(row.u_s) for row in rows],
        "half_s": [short(row.half_s) for row in rows],
    }
    if any(row.bound_s is not None for row in rows):
        columns["bound_s"] = [None if row.bound_s is None else short(row.bound_s) for row in rows]
    return columns


def _weights(rows: Sequence[ClockRow], shown: Sequence[int], names: Sequence[str], newest_ns: int) -> dict[str, Any]:
    return {
        "age_s": [round((newest_ns - row.epoch_ns) / 1e9, 1) for row in rows],
        "clocks": [names[i] for i in shown],
        "weight": [[round(float(row.weight[i]), 4) if i < len(row.weight) else 0.0 for row in rows] for i in shown],
    }
