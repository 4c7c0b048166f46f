"""Episodes: what happened to each clock over a record, from what a replay noted epoch by epoch.

It judges nothing: detection has judged, and this only reads its words back as events with a beginning, an end and a
size. It is computed after the fact, and no fold depends on it.

Sizes of steps and changes of rate are detection's own where the algorithm has them (`scale.detection_fold`), else
measured on clock minus scale: the departure from the line through the day before.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from truechimer.compare.stretch import FROZEN, NO_PATH, NO_READING
from truechimer.scale.departure import Aside, Departure
from truechimer.scale.departure_replay import Spoken
from truechimer.scale.replay import Change, ScaleSeries
from truechimer.scale.state import Membership

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DAY_NS = 86_400 * 10**9
LINE_EPOCHS = 24
"""Epochs before an event through which its clock's line is drawn, where detection gave no size."""
SILENT_EPOCHS = 3
"""A silence is told from a day and so many epochs on; shorter ones are gaps, and are counted by `epochs_read`."""


class What(StrEnum):
    """What happened; `CLOCK` words stand beside a clock, the last five concern the ensemble or the record."""

    STEPPED = "stepped"
    CHANGED_RATE = "changed-rate"
    RATE_IN_DOUBT = "rate-in-doubt"
    GLITCH = "glitch"
    DISPUTED = "disputed"
    CLASS_DIVIDED = "class-divided"
    TOO_ALIKE = "too-alike"
    REPLAYED = "replayed"
    ENTERED = "entered"
    SILENT = "silent"
    FROZEN = "frozen"
    CUT_OFF = "cut-off"
    ENSEMBLE_DIVIDED = "ensemble-divided"
    NOTHING_READ = "nothing-read"
    SCALE_DEPARTS = "scale-departs"
    REFERENCE_OFF = "reference-off"
    REFERENCE_ANEW = "reference-anew"


_OF_STATE = {
    Membership.OUT_STEP: What.STEPPED,
    Membership.OUT_RATE: What.CHANGED_RATE,
    Membership.DOUBTED: What.RATE_IN_DOUBT,
    Membership.DISPUTED: What.DISPUTED,
    Membership.DIVIDED: What.CLASS_DIVIDED,
    Membership.ALIKE: What.TOO_ALIKE,
    Membership.REPLAYED: What.REPLAYED,
}
_OF_UNUSED = {NO_READING: What.SILENT, FROZEN: What.FROZEN, NO_PATH: What.CUT_OFF}


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One event: `clock` (index; None: all of them), from epoch `first` to epoch `until` (indices; `until` None: not
    over at the end of the record).

    A step: `size_s`; a change of rate: `size_y`, within `within_s` before `first`; with one sigma `u_size` in the
    same unit. NaN where there is none. `suspended`: the clock had no weight from `first` to `until`. `leads_on`: it had
    none at `until` either, and the next event says why.

    What a reference says of the scale: `size_s` is how far the scale is ahead of its prediction, or the value off its
    own past; `departure` has the rest of it, and `reference` is whose word it is.
    """

    what: What
    clock: int | None
    first: int
    until: int | None
    size_s: float = float("nan")
    size_y: float = float("nan")
    u_size: float = float("nan")
    within_s: float = float("nan")
    suspended: bool = False
    leads_on: bool = False
    departure: Departure | None = None
    reference: str = ""


def episodes(series: ScaleSeries) -> tuple[Episode, ...]:
    """Return all events of a record, sorted by their beginning."""
    found: list[Episode] = []
    for i in range(len(series.clocks)):
        found += _entered(series, i) + _suspensions(series, i) + _silences(series, i)
    day = _epochs_a_day(series)
    found += [
        Episode(what=What.ENSEMBLE_DIVIDED, clock=None, first=first, until=_over(series, until))
        for first, until in _runs(series.divided, apart=day)
    ]
    found += _nothing_read(series) + _spoken(series.spoken)
    return tuple(sorted(found, key=lambda each: (each.first, -1 if each.clock is None else each.clock)))


def _usual_ns(series: ScaleSeries) -> int:
    gaps = np.diff(series.epoch_tai_ns)
    return int(np.median(gaps)) if len(gaps) else DAY_NS


def _epochs_a_day(series: ScaleSeries) -> int:
    return max(1, DAY_NS // max(1, _usual_ns(series)))


def _over(series: ScaleSeries, until: int) -> int | None:
    return until if until < len(series.epoch_tai_ns) else None


def _runs(is_so: Bools, *, apart: int = 1) -> list[tuple[int, int]]:
    """Return `(first, end)` of each run of True; runs less than `apart` epochs from each other are one."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_so, [False])).astype(np.int8))).tolist()
    runs: list[tuple[int, int]] = []
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        if runs and first - runs[-1][1] < apart:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((first, end))
    return runs


def _entered(series: ScaleSeries, i: int) -> list[Episode]:
    """A clock whose first reading came a day or more after the record's first."""
    state = series.state[:, i]
    seen = np.flatnonzero(state != Membership.ABSENT)
    if len(seen) == 0 or series.epoch_tai_ns[seen[0]] - series.epoch_tai_ns[0] < DAY_NS:
        return []
    member = np.flatnonzero(state == Membership.IN)
    until = int(member[0]) if len(member) else None
    return [Episode(what=What.ENTERED, clock=i, first=int(seen[0]), until=until, suspended=True)]


def _suspensions(series: ScaleSeries, i: int) -> list[Episode]:
    """Every run of epochs in which a member had no vote, by what was said of it; and changes while it had none."""
    state = series.state[:, i]
    changes = [change for change in series.changes if change.clock == i]
    told = set[int]()
    found: list[Episode] = []
    bad = ~np.isin(state, [Membership.IN, Membership.LEARNING, Membership.ABSENT, Membership.OBSERVER])
    for first, end in _runs(bad):
        last = end
        while last < len(state) and state[last] != Membership.IN:
            last += 1  # learning anew is part of it
        begun = first
        here: list[Episode] = []
        for k in range(first, end):
            what = _OF_STATE.get(Membership(int(state[k])))
            change = next((each for each in changes if each.epoch == k), None)
            if what is None or (change is None and k > first and state[k] == state[k - 1]):
                continue
            if change is not None:
                told.add(k)
            # what was suspected before belongs to it
            at = begun if what is What.STEPPED else k
            here.append(_event(series, what, i, at, k, _over(series, last), change))
            begun = k
        found += [
            replace(now, until=then.first, leads_on=True) if then.first > now.first else now
            for now, then in pairwise(here)
        ]
        found += here[-1:]
        if not np.isin(state[first:end], list(_OF_STATE)).any():
            found.append(Episode(what=What.GLITCH, clock=i, first=first, until=_over(series, end), suspended=True))
    for change in changes:
        if change.epoch not in told:
            what = What.STEPPED if change.stepped_s else What.CHANGED_RATE
            found.append(_event(series, what, i, change.epoch, change.epoch, change.epoch, change))
    return found


def _event(  # noqa: PLR0917
    series: ScaleSeries, what: What, i: int, first: int, sure: int, until: int | None, change: Change | None
) -> Episode:
    size_s = size_y = u = within_s = float("nan")
    if what is What.STEPPED:
        size_s = change.stepped_s if change is not None else _step(series, i, first, sure)
        u = _u_step(series, i, first, sure)
    elif what is What.CHANGED_RATE or what is What.RATE_IN_DOUBT:
        if change is not None and change.moved_y:
            size_y, within_s = change.moved_y, change.moved_over_s
        else:
            size_y = _change_of_rate(series, i, first, until)
    suspended = (until is None or until > first) and what is not What.RATE_IN_DOUBT
    return Episode(
        what=what,
        clock=i,
        first=first,
        until=until,
        size_s=size_s,
        size_y=size_y,
        u_size=u,
        within_s=within_s,
        suspended=suspended,
    )


def _line(series: ScaleSeries, i: int, first: int, end: int) -> tuple[float, float]:
    """Return the mean rate over epochs `first` to `end` (excluded) and the phase at the last of them."""
    t = series.epoch_tai_ns[first:end]
    x = series.x_clock_minus_scale_s[first:end, i]
    there = np.flatnonzero(np.isfinite(x))
    if len(there) < 2:
        return float("nan"), float("nan")
    a, b = int(there[0]), int(there[-1])
    return float((x[b] - x[a]) / (float(t[b] - t[a]) / 1e9)), float(x[b])


def _step(series: ScaleSeries, i: int, first: int, sure: int) -> float:
    """Departure at `sure` from the line through the epochs before `first`."""
    rate, phase = _line(series, i, max(0, first - LINE_EPOCHS), first)
    ahead_s = float(series.epoch_tai_ns[sure] - series.epoch_tai_ns[max(first - 1, 0)]) / 1e9
    return float(series.x_clock_minus_scale_s[sure, i]) - phase - rate * ahead_s


def _u_step(series: ScaleSeries, i: int, first: int, sure: int) -> float:
    """One sigma of a step's size: the clock's own noise from the last good reading to the one that made it sure."""
    if series.learned is None or first == 0:
        return float("nan")
    white, frequency, floor, walk = series.learned.noise[i].tolist()
    tau_s = float(series.epoch_tai_ns[sure] - series.epoch_tai_ns[first - 1]) / 1e9
    return sqrt(2.0 * white + frequency * tau_s + tau_s * tau_s * (floor + walk * tau_s / 3.0))


def _change_of_rate(series: ScaleSeries, i: int, first: int, until: int | None) -> float:
    """Rate after less rate before, each over ten days at most."""
    span = 10 * _epochs_a_day(series)
    before, _ = _line(series, i, max(0, first - span), first)
    after, _ = _line(series, i, first, min(first + span, len(series.epoch_tai_ns) if until is None else until))
    return after - before


def _silences(series: ScaleSeries, i: int) -> list[Episode]:
    """Times in which a clock was not read, repeated one value, or was compared with nobody else."""
    found = []
    day = _epochs_a_day(series)
    for code, what in _OF_UNUSED.items():
        is_so = series.unused[:, i] == code
        for first, end in _runs(is_so, apart=1 if what is What.SILENT else day):
            lasted_ns = int(series.epoch_tai_ns[end - 1] - series.epoch_tai_ns[first])
            if what is not What.FROZEN and (end - first < SILENT_EPOCHS or lasted_ns < DAY_NS - _usual_ns(series)):
                continue
            found.append(Episode(what=what, clock=i, first=first, until=_over(series, end)))
    return found


def _nothing_read(series: ScaleSeries) -> list[Episode]:
    """Stretches of a day and more in which no clock was read at all."""
    least_ns = max(DAY_NS, 10 * _usual_ns(series))
    at = series.epoch_tai_ns.tolist()
    return [
        Episode(what=What.NOTHING_READ, clock=None, first=k, until=k + 1)
        for k, (now, then) in enumerate(pairwise(at))
        if then - now > least_ns
    ]


def _spoken(spoken: tuple[Spoken, ...]) -> list[Episode]:
    """What the references say of the scale: each statement is an event, which ends with the next one or with the
    departure; values put aside.
    """
    found: list[Episode] = []
    standing: dict[str, int] = {}
    for each in spoken:
        said, name = each.said, each.reference
        if isinstance(said, Aside):
            what = What.REFERENCE_ANEW if said.begins_anew else What.REFERENCE_OFF
            found.append(
                Episode(what=what, clock=None, first=each.epoch, until=each.epoch, size_s=said.x_off_s, reference=name)
            )
            if not said.begins_anew:
                continue
        at = standing.pop(name, None)
        if at is not None:
            found[at] = replace(found[at], until=each.epoch, leads_on=isinstance(said, Departure))
        if isinstance(said, Departure):
            standing[name] = len(found)
            found.append(
                Episode(
                    what=What.SCALE_DEPARTS,
                    clock=None,
                    first=each.epoch,
                    until=None,
                    size_s=said.x_scale_minus_predicted_s,
                    u_size=said.u_s,
                    within_s=said.over_s,
                    departure=said,
                    reference=name,
                )
            )
    return found
