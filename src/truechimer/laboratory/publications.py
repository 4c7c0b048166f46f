"""Publications: what a laboratory has heard of UTC - UTC(k) after the fact, and what it needs to understand it.

It judges nothing (`publishing` takes files in) and steers nothing (`late_turn` does). A published value speaks of
UTC(k) as it was days ago: UTC minus the scale follows from where UTC(k) was then against the scale. So the course of
UTC(k) and samples of all clocks are kept for as long as a value may still come. In a snapshot the filter's states are
left out: they follow, bit for bit, from the values.
"""

from bisect import bisect_right
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from math import isfinite, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.clocks.state_model import SECONDS_PER_DAY, two_state_noise
from truechimer.errors import Misuse
from truechimer.evidence.record import number_of, quantity
from truechimer.formats.published import CIRCULAR, RAPID
from truechimer.instants import FS_PER_NS, LeapTable, UtcLabel, from_utc
from truechimer.scale.bands_state import DRIFT_U2, WEIGHT_DC
from truechimer.scale.live_state import LiveState
from truechimer.scale.state import ScaleState
from truechimer.steer import clock_by_clock, clock_noise, delayed_data, late_steering, scale_noise
from truechimer.steer.clock_by_clock import ClockHistory, ClockSample
from truechimer.steer.clock_states import ClockNoise, ClocksState
from truechimer.steer.delayed_data import DelayedData, LateValue, Mark, Opened
from truechimer.steer.delayed_filter import Estimate, FreeNoise, Path, PathKind
from truechimer.steer.foresight import Value
from truechimer.steer.judgement import Finding
from truechimer.steer.late_steering import LateParameters, LateSteering
from truechimer.steer.lqg import Aim, Gains, News
from truechimer.steer.steering_order import Coordination
from truechimer.steer.utc_prediction import UtcPrediction

DAY_NS = 86_400 * 10**9
HOUR_NS = 3_600 * 10**9
GRID_NS = 6 * HOUR_NS
"""Clocks are sampled so often, at 0, 6, 12 and 18 h UTC: between two, a clock is where a straight line puts it."""
KEPT_NS = 130 * DAY_NS
"""As long as the memory of late values and ten days."""
FILES_KEPT = 400

RAPID_PATH, CIRCULAR_PATH, FOUNTAIN_PATH, LINKS_PATH = range(4)
NAMES = (RAPID, CIRCULAR, "fountain", "links")
RAPID_S, RAPID_LASTS_S = 5e-10, 30.0 * SECONDS_PER_DAY
"""One sigma of what rapid values have in common against Circular T, and how long that lasts: UTCr is not UTC."""
CIRCULAR_S = 1e-10
LINKS_S, LINKS_LAST_S, LINKS_LEAST_S = 5e-9, 200.0 * SECONDS_PER_DAY, 1e-9
"""And of the laboratory's links against both: their calibrations are another matter, and other laboratories wander, so
that no mean of a day is better than the last.
"""
LEAST_RATIO = 0.05
"""However quiet a clock looks against the others, no less than this part of its kind's variance is expected of it."""
LEAST_DRIFT = 1e-17 / SECONDS_PER_DAY
DRIFT_PER_DAY = {ClockKind.MASER: 3e-16, ClockKind.RUBIDIUM: 1e-13, ClockKind.OSCILLATOR: 1e-11}
"""One sigma of a kind's drift of y (1/d), where nothing was learned; others do not drift by what can be seen."""
TAUS_S = (SECONDS_PER_DAY, 10.0 * SECONDS_PER_DAY, 100.0 * SECONDS_PER_DAY)
NEAR = 0.1
"""Noise that is within this of the one in use, at each averaging time, is no reason to filter all anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSettings:
    """How a run takes published values. `laboratory`: its code in the tables; `steers`: they decide, not the links
    alone; `before`: the clock that was UTC(k) until steering began here (empty: there was none); `u_fountain`: what all
    rates of the frequency standard may be off by; `by_clocks`: the clocks are heard one by one (a journal of an earlier
    version has no word of it: there, the scale alone); the rest: see `lqg.Aim` and `LateParameters`.
    """

    laboratory: str
    steers: bool
    before: str = ""
    u_fountain: float = 2e-16
    by_clocks: bool = True
    accuracy: float = 1.05
    day_stability: float | None = None
    time_constant_s: float | None = None

    def parameters(self, interval_s: float) -> LateParameters:
        """Return what the late law runs with, an order each `interval_s`."""
        return _parameters(self, interval_s)

    def paths(self) -> tuple[Path, ...]:
        """Return the outside paths, in the order of `NAMES`."""
        return (
            Path(name=NAMES[RAPID_PATH], u_common=RAPID_S, common_s=RAPID_LASTS_S),
            Path(name=NAMES[CIRCULAR_PATH], u_common=CIRCULAR_S),
            Path(name=NAMES[FOUNTAIN_PATH], kind=PathKind.RATE, u_common=self.u_fountain),
            Path(name=NAMES[LINKS_PATH], u_common=LINKS_S, common_s=LINKS_LAST_S),
        )


@lru_cache(maxsize=8)
def _parameters(settings: PublishedSettings, interval_s: float) -> LateParameters:
    aim = Aim(accuracy=settings.accuracy, day_stability=settings.day_stability)
    return LateParameters(interval_s=interval_s, aim=aim, time_constant_s=settings.time_constant_s)


def settings_body(settings: PublishedSettings) -> dict[str, Any]:
    """Write the settings for the record `run-start`."""
    body: dict[str, Any] = {
        "laboratory": settings.laboratory,
        "steers": settings.steers,
        "u_fountain": quantity(settings.u_fountain, "1"),
        "accuracy": quantity(settings.accuracy, "1"),
    }
    if settings.before:
        body["before"] = settings.before
    if settings.by_clocks:
        body["by_clocks"] = True
    if settings.day_stability is not None:
        body["day_stability"] = quantity(settings.day_stability, "1")
    if settings.time_constant_s is not None:
        body["time_constant_s"] = quantity(settings.time_constant_s, "s")
    return body


def settings_from(body: dict[str, Any]) -> PublishedSettings:
    """Read them back; raises `KeyError`, `ValueError` or `TypeError`."""
    return PublishedSettings(
        laboratory=str(body["laboratory"]),
        steers=body["steers"] is True,
        before=str(body.get("before", "")),
        u_fountain=number_of(body["u_fountain"], "1"),
        by_clocks=body.get("by_clocks") is True,
        accuracy=number_of(body["accuracy"], "1"),
        day_stability=number_of(body["day_stability"], "1") if "day_stability" in body else None,
        time_constant_s=number_of(body["time_constant_s"], "s") if "time_constant_s" in body else None,
    )


@dataclass(frozen=True, slots=True)
class Sample:
    """All clocks minus the scale `x_s (n,)` at `epoch_ns` (TAI), NaN where not known; as they were read, `read_s (n,)`,
    NaN where they were not; and what each was (`clock_by_clock`). No array is ever written to.
    """

    epoch_ns: int
    x_s: NDArray[np.float64]
    read_s: NDArray[np.float64]
    standing: NDArray[np.int64]

    @property
    def of_readings(self) -> ClockSample:
        """What the filter of all clocks hears of it."""
        return ClockSample(self.epoch_ns, self.read_s, self.standing)


@dataclass(frozen=True, slots=True)
class Heard:
    """What was last taken in of a path: when the file came (`arrived_ns`), the newest value, UTC - UTC(k) as it was
    published for `newest_ns`, and `u_common_s` as stated with it (0: not said).
    """

    arrived_ns: int
    newest_ns: int
    x_utc_minus_utck_s: float
    u_s: float
    u_common_s: float


@dataclass(frozen=True, slots=True)
class Aside:
    """A file that was refused because it contradicts what is known, by `off_s`; its values, for the case that two more
    files say the same and nobody says otherwise.
    """

    path: int
    sha256: str
    values: tuple[LateValue, ...]
    off_s: float
    at_ns: int

    @property
    def newest_ns(self) -> int:
        """The epoch of its newest value."""
        return max(value.epoch_ns for value in self.values)


@dataclass(frozen=True, slots=True)
class LinkMean:
    """Sums over the links' agreed values of a day: `after_s` of their distances from `since_ns`."""

    n: int = 0
    since_ns: int = 0
    after_s: float = 0.0
    x_s: float = 0.0
    u_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Publications:
    """What is carried. `is_known`: rate and offset became known well enough once; `utc`: the forecast as the line uses
    it, renewed each hour; `links`: the links' own prediction, where published values decide; `course`: UTC(k) minus
    the scale, oldest piece first, since `begun_ns` (0: not begun); `heard`: of rapid UTC and of Circular T; `files`:
    SHA-256 of those that were looked at; `grid`, `hour`: numbers of the last ones.
    """

    steering: LateSteering
    is_known: bool = False
    utc: UtcPrediction | None = None
    links: UtcPrediction | None = None
    mean: LinkMean = LinkMean()
    course: tuple[Coordination, ...] = ()
    begun_ns: int = 0
    samples: tuple[Sample, ...] = ()
    heard: tuple[Heard | None, Heard | None] = (None, None)
    files: tuple[str, ...] = ()
    aside: tuple[Aside, ...] = ()
    grid: int = 0
    hour: int = 0

    @property
    def history(self) -> DelayedData:
        """All values of the memory."""
        return self.steering.history


@dataclass(frozen=True, slots=True)
class Noises:
    """What is expected of the scale against UTC, and of each clock of the register."""

    of_scale: FreeNoise
    of_clocks: tuple[ClockNoise, ...]


def begin(settings: PublishedSettings, interval_s: float, noise: Noises) -> Publications:
    """Return what is known before the first file."""
    clocks = noise.of_clocks if settings.by_clocks else None
    parameters = settings.parameters(interval_s)
    return Publications(steering=late_steering.begin(noise.of_scale, settings.paths(), parameters, clocks=clocks))


def carried_on(
    before: Publications | None, settings: PublishedSettings, interval_s: float, noise: Noises
) -> Publications:
    """Return what a new run begins with: what the last one knew, with this run's paths and law."""
    if before is None:
        return begin(settings, interval_s, noise)
    steering, paths = before.steering, settings.paths()
    if paths != steering.history.paths:
        history = delayed_data.with_noise(replace(steering.history, paths=paths), steering.history.noise)
        steering = replace(steering, history=history)
    fresh = late_steering.begin(noise.of_scale, paths, settings.parameters(interval_s))
    steering = replace(steering, clocks=_clocks_carried_on(before, steering.history, settings, noise))
    if steering.gain.interval_s != fresh.gain.interval_s or settings.time_constant_s is not None:
        steering = replace(steering, gain=fresh.gain, time_constant_s=fresh.time_constant_s, chosen_ns=0)
    return replace(before, steering=steering)


def _clocks_carried_on(
    before: Publications, history: DelayedData, settings: PublishedSettings, noise: Noises
) -> ClockHistory | None:
    """Return each clock's own course for a new run: as it was, or from the samples that are kept."""
    if not settings.by_clocks:
        return None
    known = before.steering.clocks
    if known is not None:
        known = clock_by_clock.heard(known, history)
        return clock_by_clock.with_noise(known, noise.of_clocks) if _differs(known, noise.of_clocks) else known
    members = clock_by_clock.worth(noise.of_clocks)
    samples = tuple(sample.of_readings for sample in before.samples)
    return clock_by_clock.restored(members, tuple(noise.of_clocks[k] for k in members), samples, None, history)


def midnight_ns(mjd: float, leaps: LeapTable) -> int:
    """Return the epoch (ns TAI) of an MJD of UTC: 0 h of its day and the part of the day beyond it."""
    day = int(mjd // 1.0)
    begin_ns = from_utc(UtcLabel(day, 0), leaps, beyond_expiry="flag").tai_fs // FS_PER_NS
    return begin_ns + round((mjd - day) * DAY_NS)


def utck_minus_scale_s(known: Publications, epoch_ns: int, before: int | None) -> float | None:
    """Return where UTC(k) was against the scale (s): by the course of its steering, earlier by the clock `before` (an
    index), None where nobody knows.
    """
    if known.begun_ns and epoch_ns >= known.begun_ns:
        place = bisect_right(known.course, epoch_ns, key=_begin_of)
        return known.course[place - 1].at(epoch_ns) if place else None
    return None if before is None else clock_minus_scale_s(known, before, epoch_ns)


def _begin_of(piece: Coordination) -> int:
    return piece.epoch_ns


def _epoch_of(sample: Sample) -> int:
    return sample.epoch_ns


def clock_minus_scale_s(known: Publications, clock: int, epoch_ns: int) -> float | None:
    """Return a clock minus the scale (s) between its two nearest samples; None where they are more than a day apart."""
    place = bisect_right(known.samples, epoch_ns, key=_epoch_of)
    left = known.samples[place - 1] if place else None
    right = known.samples[place] if place < len(known.samples) else None
    if left is None or clock >= len(left.x_s):
        return None
    x0 = float(left.x_s[clock])
    if left.epoch_ns == epoch_ns:
        return x0 if isfinite(x0) else None
    if right is None or right.epoch_ns - left.epoch_ns > DAY_NS:
        return None
    x1 = float(right.x_s[clock])
    if not (isfinite(x0) and isfinite(x1)):
        return None
    return x0 + (x1 - x0) * ((epoch_ns - left.epoch_ns) / (right.epoch_ns - left.epoch_ns))


def followed(known: Publications, coordination: Coordination | None) -> Publications:
    """Keep the course of UTC(k) after an epoch."""
    if coordination is None or (known.course and known.course[-1] == coordination):
        return known
    course = (*known.course, coordination)
    oldest_ns = coordination.epoch_ns - KEPT_NS
    first = max(bisect_right(course, oldest_ns, key=_begin_of) - 1, 0)
    return replace(known, course=course[first:], begun_ns=known.begun_ns or coordination.epoch_ns)


def believed(known: Publications) -> tuple[Value, ...]:
    """Return UTC minus the scale by what was published and is believed: rapid UTC, or Circular T where it is all."""
    by_path: list[list[Value]] = [[], []]
    for mark in known.history.marks:
        if mark.value is not None and not mark.value.held and mark.value.path in {RAPID_PATH, CIRCULAR_PATH}:
            by_path[mark.value.path].append(Value(mark.value.epoch_ns, mark.value.value, mark.value.u))
    return tuple(by_path[RAPID_PATH] or by_path[CIRCULAR_PATH])


def noises_of(scale: LiveState, clocks: tuple[Clock, ...]) -> Noises:
    """Return the noise of the scale and of each clock against UTC."""
    learned = None if isinstance(scale, ScaleState) else scale.learner
    rows = [None] * len(clocks) if learned is None else [row.tolist() for row in learned.noise]
    of_clocks = tuple(clock_noise.of_clock(clock, row) for clock, row in zip(clocks, rows, strict=True))
    return Noises(noise_of(scale, clocks), of_clocks)


def noise_of(scale: LiveState, clocks: tuple[Clock, ...]) -> FreeNoise:
    """Return the noise of the scale against UTC: of the clocks that carry weight over months what was learned of them,
    before that what their kinds let expect.
    """
    learned = None if isinstance(scale, ScaleState) else scale.learner
    weight = scale.weight if learned is None else learned.clock_f[:, WEIGHT_DC]
    voting = [k for k in range(len(clocks)) if float(weight[k]) > 0.0]
    members = voting or [k for k, clock in enumerate(clocks) if clock.kind.is_atomic] or list(range(len(clocks)))
    rows: list[tuple[float, float, float]] = []
    spread, drift, least, total = 0.0, 0.0, float("inf"), 0.0
    for k in members:
        of = two_state_noise(clocks[k])
        q1, floor2, q2 = of.q1, of.floor * of.floor, of.q2
        u_drift = max(DRIFT_PER_DAY.get(clocks[k].kind, 1e-17) / SECONDS_PER_DAY, LEAST_DRIFT)
        if learned is not None and voting:
            white, floor, walk = (float(learned.noise[k, i]) for i in (1, 2, 3))
            q1, floor2 = max(white, LEAST_RATIO * q1), max(floor, LEAST_RATIO * floor2)
            q2 = max(walk, LEAST_RATIO * q2)
            variance = float(learned.clock_f[k, DRIFT_U2])
            if 0.0 < variance < 1.0:
                u_drift = max(sqrt(variance), LEAST_DRIFT)
        rows.append((q1, floor2, q2))
        spread = max(spread, of.y_spread)
        share = max(float(weight[k]), 0.0) if voting else 1.0
        least, drift, total = min(least, u_drift), drift + share * u_drift, total + share
    # who learns drifts tells them against the best kind that there is; else the scale drifts with its clocks
    drift = least if learned is not None and voting else drift / total
    return scale_noise.free_noise(tuple(rows), y_spread=spread, drift_spread=drift)


def with_noise(known: Publications, noise: Noises) -> Publications:
    """Return it filtered anew with what was learned of the scale's noise and of the clocks'; unchanged where that is
    much the same.
    """
    steering, of_scale = known.steering, noise.of_scale
    old = known.history.noise
    ratios = [of_scale.allan_variance(tau_s) / old.allan_variance(tau_s) for tau_s in TAUS_S]
    ratios.append(of_scale.drift_spread / old.drift_spread)
    if not all(1.0 - NEAR <= ratio <= 1.0 + NEAR for ratio in ratios):
        steering = replace(steering, history=delayed_data.with_noise(known.history, of_scale))
    if steering.clocks is not None and _differs(steering.clocks, noise.of_clocks):
        steering = replace(steering, clocks=clock_by_clock.with_noise(steering.clocks, noise.of_clocks))
    return known if steering is known.steering else replace(known, steering=steering)


def _differs(clocks: ClockHistory, noise: tuple[ClockNoise, ...]) -> bool:
    """Return True where a clock's noise is not near what is in use, or others are worth being heard."""
    members = clock_by_clock.worth(noise)
    if members != clocks.members:
        return True
    for member, old in zip(members, clocks.noise, strict=True):
        new = noise[member]
        if new.drift != old.drift or new.drift_spread != old.drift_spread:
            return True
        for tau_s in TAUS_S:
            if not 1.0 - NEAR <= new.allan_variance(tau_s) / old.allan_variance(tau_s) <= 1.0 + NEAR:
                return True
    return False


# ---- in a snapshot ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PackedMark:
    """A place in the history without the filter's state."""

    at: tuple[int, int, int]
    value: LateValue | None


@dataclass(frozen=True, slots=True)
class PackedClocks:
    """The filter of all clocks without what follows from samples and values."""

    members: tuple[int, ...]
    noise: tuple[ClockNoise, ...]
    base: ClocksState | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Publications as a snapshot holds them: what `Publications` has, the history by its values."""

    noise: FreeNoise
    paths: tuple[Path, ...]
    memory_s: float
    base: Estimate | None
    marks: tuple[PackedMark, ...]
    opened: tuple[Opened, ...]
    news: News
    variance_s2: float
    orders: int
    gain: Gains
    time_constant_s: float
    chosen_ns: int
    findings: tuple[Finding, ...]
    clocks: PackedClocks | None
    is_known: bool
    utc: UtcPrediction | None
    links: UtcPrediction | None
    mean: LinkMean
    course: tuple[Coordination, ...]
    begun_ns: int
    samples: tuple[Sample, ...]
    heard: tuple[Heard | None, Heard | None]
    files: tuple[str, ...]
    aside: tuple[Aside, ...]
    grid: int
    hour: int


_OF_STEERING = ("news", "variance_s2", "orders", "gain", "time_constant_s", "chosen_ns", "findings")
_OF_HISTORY = ("noise", "paths", "memory_s", "base", "opened")
_OWN = tuple(item.name for item in fields(Publications) if item.name != "steering")


def packed(known: Publications) -> Packed:
    """Return what a snapshot keeps."""
    steering, history = known.steering, known.history
    values: dict[str, Any] = {name: getattr(known, name) for name in _OWN}
    values |= {name: getattr(steering, name) for name in _OF_STEERING}
    values |= {name: getattr(history, name) for name in _OF_HISTORY}
    clocks = steering.clocks
    values["clocks"] = None if clocks is None else PackedClocks(clocks.members, clocks.noise, clocks.base)
    return Packed(**values, marks=tuple(PackedMark(mark.at, mark.value) for mark in history.marks))


def unpacked(kept: Packed) -> Publications:
    """Return it again: the filter runs over all values, and ends in the same bits."""
    if len(kept.paths) != len(NAMES):
        raise Misuse(f"{len(kept.paths)} paths, not {len(NAMES)}")
    marks = tuple(Mark(mark.at, mark.value, None, 0.0) for mark in kept.marks)
    history = DelayedData(marks=marks, **{name: getattr(kept, name) for name in _OF_HISTORY})
    history = delayed_data.with_noise(history, kept.noise)
    clocks = None
    if kept.clocks is not None:
        samples = tuple(sample.of_readings for sample in kept.samples)
        clocks = clock_by_clock.restored(kept.clocks.members, kept.clocks.noise, samples, kept.clocks.base, history)
    steering = LateSteering(history, **{name: getattr(kept, name) for name in _OF_STEERING}, clocks=clocks)
    return Publications(steering=steering, **{name: getattr(kept, name) for name in _OWN})
