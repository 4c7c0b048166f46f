"""UTC minus the scale from values that come late and out of order: each takes effect at the epoch it is of.

It chooses no path and steers nothing. Rapid UTC comes once a week with values of seven days, Circular T once a month
with values of five weeks, links of GNSS within the hour; a value of three weeks ago may be the news of today. The
filter's state after every value is kept for `MEMORY_S`. A value that comes late is put where it belongs, and the
filter runs again from there: what results is, bit for bit, what had resulted if everything had come in the order of its
epochs. Values from before the memory are refused with that reason, not lost silently. A second value of one path for
one epoch is a revision and replaces the first.

A value that is *held* keeps its place and counts for nothing: whoever judges values (`laboratory`) may hold one, and
let it go later, and both take effect at its epoch.

Law of the file: see `delayed_filter`.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from enum import StrEnum
from math import isfinite

from truechimer.errors import Misuse
from truechimer.steer import delayed_filter
from truechimer.steer.delayed_filter import Estimate, FreeNoise, Path, PathKind
from truechimer.steer.two_state import one_sigma

MEMORY_S = 120.0 * 86_400.0
"""Circular T speaks of five weeks six weeks later; a laboratory that was cut off for a month still gets all of it."""
MOST_MARKS = 20_000
"""Values in the memory; the oldest are let go for good beyond it."""
NS_PER_S = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class LateValue:
    """UTC minus the scale as one path says it. `epoch_ns`: the epoch it is of (TAI); `value` and `u` (one sigma of what
    values of the path do not share): s, of a path of rates 1; `span_s`: of a rate, the interval that ends at
    `epoch_ns` over which it is the mean.
    """

    path: int
    epoch_ns: int
    value: float
    u: float
    span_s: float = 0.0
    held: bool = False


class Fate(StrEnum):
    """What became of a value that was offered."""

    TAKEN = "taken"
    REVISED = "revised"
    TOO_OLD = "older than the memory"
    NO_PHASE_YET = "a rate before the first phase"
    OVERLAPS = "its interval overlaps another one of its path"
    NO_NUMBER = "no finite value, or no positive uncertainty"


_PHASE, _RATE, _CLONE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the history: `at` = (epoch, what, path), the value (None: an interval begins here), the state after it
    (None before the first phase that counts) and, in sigmas, how far the value was from what all values of epochs
    before it had foretold.
    """

    at: tuple[int, int, int]
    value: LateValue | None
    after: Estimate | None
    sigmas: float


@dataclass(frozen=True, slots=True)
class Opened:
    """At `epoch_ns` (TAI) the scale itself moved, by what no noise explains: one sigma of phase (s) and of rate."""

    epoch_ns: int
    u_x_s: float
    u_y: float


@dataclass(frozen=True, slots=True)
class DelayedData:
    """The history. `base`: the state before the first mark (None: no value yet); `marks`: by epoch; `opened`: where the
    scale moved.
    """

    noise: FreeNoise
    paths: tuple[Path, ...]
    memory_s: float
    base: Estimate | None = None
    marks: tuple[Mark, ...] = ()
    opened: tuple[Opened, ...] = ()

    @property
    def last_ns(self) -> int:
        """TAI of the newest value, 0 before the first."""
        return self.marks[-1].at[0] if self.marks else 0


@dataclass(frozen=True, slots=True)
class Forecast:
    """UTC minus the scale at `epoch_ns` (TAI): `x_s`, `y` (the rate at that moment), `drift` (1/s), covariance of phase
    and rate (`p_xx` s^2, `p_xy` s, `p_yy`).
    """

    epoch_ns: int
    x_s: float
    y: float
    drift: float
    p_xx: float
    p_xy: float
    p_yy: float

    @property
    def u_x_s(self) -> float:
        """One sigma of x, s; what paths have in common included."""
        return one_sigma(self.p_xx)

    @property
    def u_y(self) -> float:
        """One sigma of y."""
        return one_sigma(self.p_yy)


def begin(noise: FreeNoise, paths: tuple[Path, ...], *, memory_s: float = MEMORY_S) -> DelayedData:
    """Return a history without values."""
    if len({path.name for path in paths}) != len(paths):
        raise Misuse("two paths of one name")
    return DelayedData(noise, paths, memory_s)


def take(history: DelayedData, values: tuple[LateValue, ...]) -> tuple[DelayedData, tuple[Fate, ...]]:
    """Take values in, whatever their order and age; return the history and what became of each, in order."""
    fates = []
    marks = list(history.marks)
    keys = [mark.at for mark in marks]
    first = len(marks)
    base = history.base
    for value in values:
        fate, place = _placed(history, marks, keys, value, base)
        fates.append(fate)
        first = min(first, place)
    return _let_go(_refiltered(replace(history, marks=tuple(marks)), first)), tuple(fates)


def held(history: DelayedData, wanted: frozenset[tuple[int, int]]) -> DelayedData:
    """Return the history in which exactly the values of `wanted` (path, epoch_ns) are held, those before the memory
    excepted.
    """
    first = len(history.marks)
    marks = list(history.marks)
    for i, mark in enumerate(marks):
        if mark.value is None:
            continue
        now = (mark.value.path, mark.value.epoch_ns) in wanted
        if now is not mark.value.held:
            marks[i] = replace(mark, value=replace(mark.value, held=now))
            first = min(first, i)
    return _refiltered(replace(history, marks=tuple(marks)), first)


def without(history: DelayedData, path: int) -> DelayedData:
    """Return the history as it were if one path had said nothing within the memory: what the others say alone."""
    wanted = {
        (mark.value.path, mark.value.epoch_ns)
        for mark in history.marks
        if mark.value is not None and (mark.value.held or mark.value.path == path)
    }
    return held(history, frozenset(wanted))


def with_opened(history: DelayedData, opened: tuple[Opened, ...]) -> DelayedData:
    """Return the history in which the scale moved at these epochs and at no other."""
    changed = set(opened) ^ set(history.opened)
    if not changed:
        return history
    first_ns = min([each.epoch_ns for each in changed])
    ordered = tuple(sorted(opened, key=lambda each: each.epoch_ns))
    first = bisect_left(history.marks, first_ns, key=_epoch_of)
    return _refiltered(replace(history, opened=ordered), first)


def with_noise(history: DelayedData, noise: FreeNoise) -> DelayedData:
    """Return the history filtered anew with another noise of the scale."""
    return _refiltered(replace(history, noise=noise), 0)


def ahead(history: DelayedData, epoch_ns: int) -> Forecast | None:
    """Return the forecast for an epoch from all values of epochs not after it; None before the first value."""
    state = at(history, epoch_ns)
    return None if state is None else forecast_of(state)


def at(history: DelayedData, epoch_ns: int) -> Estimate | None:
    """Return the whole state at an epoch, from all values of epochs not after it; None where there is none."""
    place = bisect_right(history.marks, epoch_ns, key=_epoch_of)
    before = history.marks[place - 1].after if place else history.base
    if before is None or before.epoch_ns > epoch_ns:
        return None
    return carried(history, before, epoch_ns)


def carried(history: DelayedData, before: Estimate, epoch_ns: int) -> Estimate:
    """Carry a state on to an epoch, through what moved the scale in between."""
    state = before
    for each in history.opened:
        if before.epoch_ns < each.epoch_ns <= epoch_ns:
            state = delayed_filter.predicted(state, history.noise, history.paths, each.epoch_ns)
            state = delayed_filter.opened(state, u_x_s=each.u_x_s, u_y=each.u_y)
    return delayed_filter.predicted(state, history.noise, history.paths, epoch_ns)


def forecast_of(state: Estimate) -> Forecast:
    """Return phase and rate of a state; the rate is y and the flicker rates together."""
    y, p_xy, p_yy = 0.0, 0.0, 0.0
    rates = (delayed_filter.Y, *range(delayed_filter.FLICKER, delayed_filter.FIRST))
    for i in rates:
        y += float(state.mean[i])
        p_xy += float(state.p[delayed_filter.X, i])
        for k in rates:
            p_yy += float(state.p[i, k])
    return Forecast(
        state.epoch_ns,
        float(state.mean[delayed_filter.X]),
        y,
        float(state.mean[delayed_filter.D]),
        float(state.p[delayed_filter.X, delayed_filter.X]),
        p_xy,
        p_yy,
    )


def free_of_common_s2(state: Estimate, paths: tuple[Path, ...]) -> float:
    """Return the variance (s^2) of the phase if what every path's values have in common were known: what is left of it
    is what values still to come can tell.
    """
    p = state.p.copy()
    for k in range(len(paths)):
        at = delayed_filter.common_of(k)
        if p[at, at] > 0.0:
            p = p - p[:, at][:, None] * (p[at, :] / p[at, at])[None, :]
    return max(float(p[delayed_filter.X, delayed_filter.X]), 0.0)


def _epoch_of(mark: Mark) -> int:
    return mark.at[0]


def _placed(
    history: DelayedData,
    marks: list[Mark],
    keys: list[tuple[int, int, int]],
    value: LateValue,
    base: Estimate | None,
) -> tuple[Fate, int]:
    """Put a value into the marks where it belongs; return its fate and the first place that must be filtered anew."""
    nothing = len(marks)
    if not 0 <= value.path < len(history.paths):
        raise Misuse(f"path {value.path} of {len(history.paths)}")
    is_rate = history.paths[value.path].kind is PathKind.RATE
    if not (isfinite(value.value) and isfinite(value.u) and value.u > 0.0) or (is_rate and not value.span_s > 0.0):
        return Fate.NO_NUMBER, nothing
    began_ns = value.epoch_ns - round(value.span_s * NS_PER_S) if is_rate else value.epoch_ns
    if base is not None and began_ns <= base.epoch_ns:
        return Fate.TOO_OLD, nothing
    what = _RATE if is_rate else _PHASE
    key = (value.epoch_ns, what, value.path)
    place = bisect_left(keys, key)
    if place < len(keys) and keys[place] == key:
        old = marks[place].value
        if is_rate and old is not None and old.span_s != value.span_s:
            return Fate.OVERLAPS, nothing
        marks[place] = Mark(key, value, marks[place].after, 0.0)
        return Fate.REVISED, place
    if is_rate:
        begun = next((k for k, mark in enumerate(marks) if mark.at[1] == _PHASE), None)
        if base is None and (begun is None or marks[begun].at[0] > began_ns):
            return Fate.NO_PHASE_YET, nothing
        if _overlaps(marks, value, began_ns):
            return Fate.OVERLAPS, nothing
        clone = (began_ns, _CLONE, value.path)
        first = bisect_left(keys, clone)
        keys.insert(first, clone)
        marks.insert(first, Mark(clone, None, None, 0.0))
        place = bisect_left(keys, key)
        keys.insert(place, key)
        marks.insert(place, Mark(key, value, None, 0.0))
        return Fate.TAKEN, first
    keys.insert(place, key)
    marks.insert(place, Mark(key, value, None, 0.0))
    return Fate.TAKEN, place


def _overlaps(marks: list[Mark], value: LateValue, began_ns: int) -> bool:
    """Return True where another interval of the path shares time with this one."""
    for mark in reversed(marks):
        if mark.at[0] <= began_ns:
            return False
        other = mark.value
        if other is None or other.path != value.path:
            continue
        if other.epoch_ns > began_ns and other.epoch_ns - round(other.span_s * NS_PER_S) < value.epoch_ns:
            return True
    return False


def _refiltered(history: DelayedData, first: int) -> DelayedData:
    """Run the filter again from the mark `first` on."""
    marks = list(history.marks)
    if first >= len(marks):
        return history
    state = marks[first - 1].after if first else history.base
    for i in range(first, len(marks)):
        state, sigmas = _after(history, state, marks[i])
        marks[i] = Mark(marks[i].at, marks[i].value, state, sigmas)
    return replace(history, marks=tuple(marks))


def _after(history: DelayedData, before: Estimate | None, mark: Mark) -> tuple[Estimate | None, float]:
    """Return the state after a mark and how surprising its value was (sigmas)."""
    epoch_ns, what, path = mark.at
    value, paths = mark.value, history.paths
    if before is None:
        if what != _PHASE or value is None or value.held:
            return None, 0.0
        state = delayed_filter.begin(history.noise, paths, path, epoch_ns=epoch_ns, x_s=value.value, u_s=value.u)
        return state, 0.0
    state = carried(history, before, epoch_ns)
    if value is None:
        return delayed_filter.cloned(state, path), 0.0
    clone = delayed_filter.clone_of(path)
    if what == _RATE and not float(state.p[clone, clone]) > 0.0:
        # its interval began before the first phase that counts
        return state, 0.0
    innovation, column = delayed_filter.innovation_of(
        state, paths, path, value=value.value, u=value.u, span_s=value.span_s
    )
    if value.held:
        return state, innovation.sigmas
    return delayed_filter.corrected(state, innovation, column), innovation.sigmas


def _let_go(history: DelayedData) -> DelayedData:
    """Return the history without the marks that are older than the memory: what they said stays in its base."""
    oldest_ns = history.last_ns - round(history.memory_s * NS_PER_S)
    place = max(bisect_left(history.marks, oldest_ns, key=_epoch_of), len(history.marks) - MOST_MARKS)
    if place <= 0:
        return history
    return replace(history, base=history.marks[place - 1].after, marks=history.marks[place:])
