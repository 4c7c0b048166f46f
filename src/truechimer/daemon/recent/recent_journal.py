"""Recent past: rows for the plots, read back from the records of a laboratory that was started again.

It checks nothing (`evidence replay` does) and holds nothing up: it reads with a connection of its own, in pieces, and
rests between them. What the records do not say is left out, not made up: UTC minus UTC(k) has rows only for epochs at
which a time was served, since only there the uncertainty stands in the records.
"""

import json
import time
from collections.abc import Iterator, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from truechimer.clocks.register import Link
from truechimer.daemon.recent.recent_ladder import HEARD, OUT, ClockRow, UtcRow
from truechimer.errors import TruechimerError
from truechimer.evidence.record import number_of, numbers_of
from truechimer.laboratory.state import LaboratoryState
from truechimer.steer.bound import COVERAGE_FACTOR
from truechimer.store.sqlite_records import SqliteRecords

MOST_RECORDS = 1_000_000
"""Records looked at, the newest: at one epoch a second some five days, at one a minute a year."""

PIECE = 500
REST_S = 0.01
_READINGS = b'"kind":"readings"'
_KINDS = ("scale-step", "selection", "served-time", "steer", "coordination-start")
_WANTED = (_READINGS, *(f'"kind":"{kind}"'.encode() for kind in _KINDS))


def rows_of(path: Path, state: LaboratoryState, *, rest_s: float = REST_S) -> Iterator[ClockRow | UtcRow]:
    """Yield the rows of the record file at `path`, oldest first; `state`: of the laboratory that reads it now."""
    store = SqliteRecords(path, read_only=True)
    try:
        count = store.count()
        reader = _Reader(state)
        first = max(0, count - MOST_RECORDS)
        while first < count:
            # a cursor that stays open would keep the file from being tidied up by its writer
            for number, data in enumerate(store.read(first=first), 1):
                row = reader.take(data)
                if row is not None:
                    yield row
                if number >= PIECE:
                    break
            first += PIECE
            time.sleep(rest_s)
    finally:
        store.close()


class _Reader:
    """What must be carried from record to record: the last readings, the prediction of UTC, the coordination."""

    def __init__(self, state: LaboratoryState) -> None:
        self._links: Sequence[Link] = state.register.links
        self._n = len(state.register.clocks)
        self._readings: bytes | None = None
        self._utc: tuple[int, float, float] | None = None
        self._coordination: tuple[int, float, float] | None = None

    def take(self, data: bytes) -> ClockRow | UtcRow | None:
        """Take one record; return the row that it makes, if it makes one."""
        kind = next((wanted for wanted in _WANTED if wanted in data), None)
        if kind is None:
            return None
        if kind == _READINGS:
            self._readings = data
            return None
        try:
            body = json.loads(data)
            if not isinstance(body, dict):
                return None
            return self._of(body)
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError, TruechimerError):
            return None  # not what we wrote: `evidence replay` says so, a plot does without

    def _of(self, body: dict[str, Any]) -> ClockRow | UtcRow | None:
        kind = body["kind"]
        if kind == "scale-step":
            return self._clocks(body)
        if kind == "selection":
            if "predicted_x_s" in body:
                x, y = number_of(body["predicted_x_s"], "s"), number_of(body["predicted_y"], "1")
                self._utc = (int(body["epoch_tai_ns"]), x, y)
        elif kind == "coordination-start":
            x, y = number_of(body["x_utck_minus_scale_s"], "s"), number_of(body["y_steer"], "1")
            self._coordination = (int(body["epoch_tai_ns"]), x, y)
        elif kind == "steer":
            if self._coordination is not None and "refused" not in body:
                epoch_ns = int(body["epoch_tai_ns"])
                self._coordination = (epoch_ns, _at(self._coordination, epoch_ns), number_of(body["y_steer"], "1"))
        elif kind == "served-time":
            return self._served(body)
        return None

    def _clocks(self, body: dict[str, Any]) -> ClockRow | None:
        """Return the row of a scale step; a clock without a reading at that epoch was predicted, not measured."""
        epoch_ns = int(body["epoch_tai_ns"])
        x = np.array(numbers_of(body["x_clock_minus_scale_s"], "s"))
        weight = np.array(numbers_of(body["weight"], "1"))
        heard = np.isin(body["membership"], HEARD)
        out = tuple(np.flatnonzero(np.isin(body["membership"], OUT)).tolist())
        if not (len(x) == len(weight) == len(heard) <= self._n):
            return None
        heard &= self._read(epoch_ns)[: len(heard)]
        return ClockRow(epoch_ns, np.where(heard, x, np.nan), weight, out) if heard.any() or out else None

    def _read(self, epoch_ns: int) -> "np.ndarray[Any, np.dtype[np.bool_]]":
        """Return which clocks had a reading at the epoch."""
        found = np.zeros(self._n, dtype=bool)
        body = {} if self._readings is None else json.loads(self._readings)
        if body.get("epoch_tai_ns") == str(epoch_ns):
            for text, link in zip(body["x_a_minus_b_s"], self._links, strict=False):
                if text is not None:
                    for node in (link.a, link.b):
                        if node < self._n:
                            found[node] = True
        return found

    def _served(self, body: dict[str, Any]) -> UtcRow | None:
        """Return UTC minus UTC(k) as it was served: its size and uncertainty from the terms, its sign from the
        prediction.
        """
        epoch_ns = int(body["anchor_tai_fs"]) // 10**6
        terms = {name: number_of(text, "s") for name, text in body["terms"].items()}
        size = terms["limit_steering_s"]
        if self._utc is not None and self._coordination is not None:
            sign = -1.0 if _at(self._utc, epoch_ns) < _at(self._coordination, epoch_ns) else 1.0
        elif size == 0.0:
            sign = 1.0
        else:
            return None
        u_s = sqrt(terms["u_utc_prediction_s"] ** 2 + terms["u_scale_since_outside_s"] ** 2)
        half_s = COVERAGE_FACTOR * u_s + terms["limit_links_s"]
        bound_s = half_s + size + terms["limit_undetected_s"] + terms["limit_leap_s"]
        return UtcRow(epoch_ns, sign * size, sign * size, u_s, half_s, bound_s)


def _at(line: tuple[int, float, float], epoch_ns: int) -> float:
    """Return a straight line (epoch, value, rate) at an epoch."""
    return line[1] + line[2] * ((epoch_ns - line[0]) / 1e9)
