"""The events of a scenario laid over clean readings: what the laboratory sees, beside what it would have seen.

It draws nothing: an attacked run and its clean pair share every random number. Times are labels (`epoch_tai_ns`), not
host raw.
"""

import copy
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truechimer.sim.scenario import Event, Link, What

Array = NDArray[np.float64]

S_PER_NS = 1e-9
_DAY_S = 86_400.0
_SILENT = frozenset({What.REMOVE, What.RETURN, What.GAP})


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """One epoch with its events: `values_s` of all links, shape (n_links,), nan where no reading came; `ends_s`: x of
    all endpoints.
    """

    values_s: Array
    ends_s: Array


class _Booked:
    """One event on its way: which links show it, and for a freeze the values that are held since it began."""

    __slots__ = ("end", "end_ns", "event", "held", "links", "start_ns")

    def __init__(self, event: Event, start_ns: int, *, end: int, links: NDArray[np.int64]) -> None:
        self.event = event
        self.start_ns = start_ns
        self.end_ns = None if event.duration_s is None else start_ns + round(event.duration_s * 1e9)
        self.end = end
        self.links = links
        self.held: Array | None = None

    def is_on(self, label_ns: int) -> bool:
        return self.start_ns <= label_ns and (self.end_ns is None or label_ns < self.end_ns)

    def offset(self, label_ns: int) -> float:
        """Phase that the event has added by `label_ns` >= start: seconds, on a clock or a link alike."""
        magnitude = self.event.magnitude or 0.0
        since_s = (label_ns - self.start_ns) * S_PER_NS
        active_s = since_s if self.end_ns is None else min(since_s, (self.end_ns - self.start_ns) * S_PER_NS)
        match self.event.what:
            case What.PHASE_STEP:
                return magnitude if self.is_on(label_ns) else 0.0
            case What.RETURN:
                return magnitude
            case What.FREQUENCY_STEP | What.RAMP:
                return magnitude * active_s
            case What.DRIFT_STEP:
                return magnitude / _DAY_S * active_s * (0.5 * active_s + (since_s - active_s))
            case _:
                return 0.0


class EventBook:
    """All events of a world and what they need to remember: the last reading of each link and those of the past
    `memory_s`.
    """

    def __init__(self, endpoints: Sequence[str], links: Sequence[Link], *, memory_s: float) -> None:
        """Know the names; `endpoints` and `links` give the order of every array."""
        self._endpoints = {name: k for k, name in enumerate(endpoints)}
        self._link_names = {link.name: k for k, link in enumerate(links)}
        self._a = np.array([self._endpoints[link.a] for link in links], dtype=np.int64)
        self._b = np.array([self._endpoints[link.b] for link in links], dtype=np.int64)
        self._booked: list[_Booked] = []
        self._memory_ns = round(memory_s * 1e9)
        self._past: deque[tuple[int, Array]] = deque()
        self._last_s = np.full(len(links), np.nan)

    def add(self, event: Event, start_ns: int) -> None:
        """Lay an event from `start_ns` on; its target is known to exist (`scenario.event_faults`)."""
        end = self._endpoints.get(event.target, -1)
        if end >= 0:
            links = np.flatnonzero((self._a == end) | (self._b == end))
        else:
            links = np.array([self._link_names[event.target]], dtype=np.int64)
        self._booked.append(_Booked(event, start_ns, end=end, links=links))

    @property
    def is_empty(self) -> bool:
        """True where no event was ever laid."""
        return not self._booked

    def acts(self, label_ns: int) -> bool:
        """Return True where an event has begun by `label_ns`: its traces may stay even when it is over."""
        return any(booked.start_ns <= label_ns for booked in self._booked)

    def remember(self, label_ns: int, values_s: Array) -> None:
        """Keep what was read at `label_ns` (nan: nothing), for freezes and replays to come."""
        np.copyto(self._last_s, values_s, where=~np.isnan(values_s))
        if self._memory_ns:
            self._past.append((label_ns, values_s))
            while self._past[0][0] < label_ns - self._memory_ns:
                self._past.popleft()

    def lay(self, label_ns: int, *, ends_s: Array, noise_s: Array, came: NDArray[np.bool_], steps_s: Array) -> Laid:
        """Return the epoch with its events; `ends_s`, `noise_s`, `came` are those of the clean run."""
        begun = [booked for booked in self._booked if booked.start_ns <= label_ns]
        moved_s = ends_s.copy()
        link_s = np.zeros(len(noise_s))
        for booked in begun:
            offset = booked.offset(label_ns)
            if booked.end >= 0:
                moved_s[booked.end] += offset
            else:
                link_s[booked.links] += offset
        values_s = quantised(moved_s[self._a] - moved_s[self._b] + link_s + noise_s, steps_s)
        values_s[~came] = np.nan
        for booked in begun:
            if not booked.is_on(label_ns):
                continue
            if booked.event.what is What.FREEZE:
                if booked.held is None:
                    booked.held = self._last_s[booked.links]
                values_s[booked.links] = booked.held
            elif booked.event.what is What.REPLAY:
                values_s[booked.links] = self._read_before(label_ns, booked.event.magnitude or 0.0)[booked.links]
        for booked in self._silent(begun, label_ns):
            values_s[booked.links] = np.nan
        return Laid(values_s, moved_s)

    def _silent(self, begun: Sequence[_Booked], label_ns: int) -> list[_Booked]:
        """Return the events that silence their links now: a gap that is on, a removal that is on and not followed by
        a return.
        """
        removed: dict[str, _Booked] = {}
        gaps = []
        for booked in sorted((b for b in begun if b.event.what in _SILENT), key=lambda b: b.start_ns):
            if booked.event.what is What.RETURN:
                removed.pop(booked.event.target, None)
            elif booked.is_on(label_ns):
                if booked.event.what is What.GAP:
                    gaps.append(booked)
                else:
                    removed[booked.event.target] = booked
        return [*gaps, *removed.values()]

    def _read_before(self, label_ns: int, lag_s: float) -> Array:
        """What was read `lag_s` ago: the newest epoch not younger than that; nan where nothing so old is remembered."""
        wanted_ns = label_ns - round(lag_s * 1e9)
        for past_ns, values_s in reversed(self._past):
            if past_ns <= wanted_ns:
                return values_s
        return np.full(len(self._last_s), np.nan)

    def kept(self) -> dict[str, Any] | None:
        """Return what `put_back` makes this book of: what is held, and what was read last.

        None where a replay is booked: that needs what was read long ago, which is too much to keep.
        """
        if any(booked.event.what is What.REPLAY for booked in self._booked):
            return None
        return {"last_s": self._last_s, "held": [booked.held for booked in self._booked]}

    def put_back(self, kept: dict[str, Any]) -> None:
        """Know what a book of the same events knew; a replay that is laid later reaches back no further than now."""
        self._last_s = kept["last_s"].copy()
        for booked, held in zip(self._booked, kept["held"], strict=True):
            booked.held = held

    def copy(self) -> "EventBook":
        """Return an independent book; what was read is shared, since nobody changes it."""
        twin = copy.copy(self)
        vars(twin).update(
            _booked=[copy.copy(booked) for booked in self._booked],
            _past=self._past.copy(),
            _last_s=self._last_s.copy(),
        )
        return twin


def quantised(values_s: Array, steps_s: Array) -> Array:
    """Round to the counters' steps, half to even, along the last axis; a step of 0 leaves the value as it is."""
    coarse = steps_s > 0.0
    if not coarse.any():
        return values_s
    steps = np.where(coarse, steps_s, 1.0)
    return np.where(coarse, np.rint(values_s / steps) * steps, values_s)
