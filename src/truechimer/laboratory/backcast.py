"""Backcast: what our scale and steering would have done with a laboratory's own files, beside its own UTC(k).

It reads no file and changes nothing; `cli.backcast_verb` reads. Clocks against each other go through the ensemble
(`scale.replay`); UTC(k) against the clocks says where the laboratory's own UTC(k) was against that scale; what the BIPM
published says where UTC was. Published values are then given to the steering (`steer.late_steering`) at the moment at
which they could be had, never before, and its UTC(k) is held against UTC on the days of which UTC is known.

Nothing is used before it was known. What noise the clocks have is learned from the first `LEARNING_S` of the record (a
third of a short one), and steering begins no earlier than that. Clock files carry UTC(k) minus each clock; their
differences are clock minus clock, and UTC(k) itself carries no weight.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.clocks.register import is_reference
from truechimer.compare.utc_record import PublishedValue
from truechimer.errors import Rejected
from truechimer.formats.clock_data import ClockReading
from truechimer.formats.reading_columns import ReadingColumns
from truechimer.formats.readings_csv import ReadingRow
from truechimer.instants import LeapTable, UtcLabel, from_utc
from truechimer.instants.mjd import MJD_OF_1970, from_calendar, to_calendar, weekday
from truechimer.quorum.envelope import Applied, SteeringLimits
from truechimer.scale.engines import DEFAULT_ALGORITHM
from truechimer.scale.replay import ScaleSeries, replay
from truechimer.steer import clock_by_clock, clock_noise, free_noise, late_steering, scale_noise
from truechimer.steer.clock_by_clock import ClockSample
from truechimer.steer.clock_states import ClockNoise
from truechimer.steer.delayed_data import LateValue
from truechimer.steer.delayed_filter import FreeNoise, Path
from truechimer.steer.late_steering import LateParameters, LateSteering
from truechimer.steer.steering_order import Coordination

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NS_PER_DAY = 86_400 * 10**9
LEARNING_S = 60.0 * 86_400.0
"""Of the record, before steering begins."""
SHORTEST_S = 10.0 * 86_400.0
"""A record shorter than this says nothing of steering."""
ROUNDING_NS = 0.1
"""Clock files hold tenths of a ns."""
USUAL_U_S = {"UTC": 0.3e-9, "UTCr": 0.5e-9}
"""One sigma of a published value where uA is not given: noise that values of one path do not share."""
COMMON_U_S = 0.1e-9
PUBLISHED_AFTER_D = {"UTC": 12, "UTCr": 3}
"""Days from the last value to its publication where no date is given: of Circular T from the end of the month."""
Y_SPREAD = 1e-11
"""One sigma of the scale's rate against UTC before anything is known: clocks of a file may be of any kind."""
LEAST_DRIFT = 1e-17 / 86_400.0
UNKNOWN_DRIFT = free_noise.DRIFT_PER_DAY[ClockKind.MASER] / 86_400.0
"""One sigma of the drift (1/s) of a clock of which the kind is not known."""
ON_TIME_S = 0.6 * 86_400.0
"""A day's UTC(k) is taken from the clock's value at the nearest epochs, no further away than this."""
SAMPLED_NS = 6 * 3_600 * 10**9
LIMITS = SteeringLimits(
    per_change=2.3e-14,
    per_day_s=1e-8,
    total_s=1e-4,
    valid_from_ns=-(10**19),
    valid_until_ns=10**19,
    sequence=1,
    coordination_start=True,
)


class BackcastRejected(Rejected):
    """Files that give no backcast."""


@dataclass(frozen=True, slots=True, eq=False)
class Backcast:
    """What would have been; days are 0 h UTC.

    `series`: the scale; `mjd (n,)`: days of which UTC - UTC(k) is published and UTC(k) was compared with a clock;
    `x_utc_minus_own_s`: as published; `x_utc_minus_scale_s`; `x_utc_minus_ours_s`: of our steered UTC(k), NaN before it
    began; `against`: "UTC" or "UTCr"; `began_mjd`: first day of steering (None: it never knew enough); `orders`: how
    many; `time_constant_s`: in use at the end; `values`: how many published values were heard, by scale.
    """

    series: ScaleSeries
    mjd: Ints
    x_utc_minus_own_s: Floats
    x_utc_minus_scale_s: Floats
    x_utc_minus_ours_s: Floats
    against: str
    began_mjd: float | None
    orders: int
    time_constant_s: float
    values: dict[str, int]


def differences(readings: Iterable[ClockReading], leaps: LeapTable) -> tuple[list[ReadingRow], list[ReadingRow]]:
    """Return clock minus clock, and UTC(k) minus clock (named "UTC.k"), from a laboratory's clock data.

    On each day the clock that most days know stands in the middle.
    """
    days: dict[int, dict[str, float]] = {}
    known: dict[str, int] = {}
    for each in readings:
        days.setdefault(each.mjd, {})[each.clock] = each.utck_minus_clock_ns
        known[each.clock] = known.get(each.clock, 0) + 1
    u_s = ROUNDING_NS * 1e-9 / 12.0**0.5
    between, own = [], []
    for mjd in sorted(days):
        epoch = epoch_of(mjd, leaps)
        here = days[mjd]
        middle = max(here, key=lambda clock: (known[clock], clock))
        own.append(ReadingRow(0, epoch, "UTC.k", middle, here[middle] * 1e-9, u_s))
        for clock in sorted(here):
            if clock != middle:
                # (UTC(k) - middle) - (UTC(k) - clock) = clock - middle
                x_s = (here[middle] - here[clock]) * 1e-9
                between.append(ReadingRow(0, epoch, clock, middle, x_s, u_s * 2.0**0.5))
    return between, own


def epoch_of(mjd: int, leaps: LeapTable) -> int:
    """Return 0 h UTC of a day, ns since 1970-01-01T00:00:00 TAI."""
    return from_utc(UtcLabel(mjd, 0), leaps, beyond_expiry="flag").tai_fs // 10**6


def backcast(
    rows: ReadingColumns,
    own: Sequence[ReadingRow],
    published: Sequence[PublishedValue],
    *,
    leaps: LeapTable,
    clocks: Sequence[Clock] | None = None,
    algorithm: str = DEFAULT_ALGORITHM,
    parameters: LateParameters | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Backcast:
    """Run scale and steering over a record.

    `rows`: clock minus clock (rows of references are not used); `own`: UTC(k) minus a clock (any names: a is UTC(k));
    `published`: one value for each scale and day (`utc_record.newest`). Raises `BackcastRejected` where they have no
    day in common, or too few.
    """
    parameters = parameters or LateParameters()
    between = _between_clocks(rows)
    if not len(between):
        raise BackcastRejected("no clock is compared with another one: there is no scale to make")
    series = replay(between, clocks, algorithm, progress=progress)
    span_s = float(series.epoch_tai_ns[-1] - series.epoch_tai_ns[0]) / 1e9
    if span_s < SHORTEST_S:
        raise BackcastRejected(f"the record lasts {span_s / 86_400.0:.1f} d: give at least {SHORTEST_S / 86_400.0:g} d")
    x_utck_minus_scale = _own_minus_scale(own, series)
    against = "UTC" if any(value.scale == "UTC" for value in published) else "UTCr"
    late, judged = [], []
    scales = sorted({value.scale for value in published})
    for value in published:
        epoch = epoch_of(value.mjd, leaps)
        x_s = _nearest(x_utck_minus_scale, epoch)
        if x_s is None:
            continue
        x_utc_minus_scale_s = value.x_utc_minus_utck_s + x_s
        u = value.u_a_s or USUAL_U_S.get(value.scale, 0.5e-9)
        item = LateValue(path=scales.index(value.scale), epoch_ns=epoch, value=x_utc_minus_scale_s, u=u)
        late.append((epoch_of(_published_mjd(value), leaps), item, value.scale))
        if value.scale == against:
            judged.append((value.mjd, epoch, value.x_utc_minus_utck_s, x_utc_minus_scale_s))
    if len(judged) < 3:
        says = f"{len(published)} published values and {len(x_utck_minus_scale)} epochs of UTC(k) against the clocks"
        raise BackcastRejected(f"{says} have {len(judged)} days in common: give files of the same year")
    late.sort(key=lambda each: (each[0], each[1].epoch_ns, each[1].path))
    first_ns = int(series.epoch_tai_ns[0])
    learned_ns = first_ns + round(min(LEARNING_S, span_s / 3.0) * 1e9)
    noise, of_clocks = _noise(between, clocks, algorithm, learned_ns, series.clocks)
    paths = tuple(Path(name=scale, u_common=COMMON_U_S) for scale in scales)
    ours, began_ns, orders, constant_s = _steer(
        late_steering.begin(noise, paths, parameters, clocks=of_clocks),
        _samples(series),
        [(when, item) for when, item, _ in late],
        [each[1] for each in judged],
        parameters,
        learned_ns,
    )
    mjd, _, x_own, x_scale = (np.array(column) for column in zip(*judged, strict=True))
    began = None if began_ns is None else MJD_OF_1970 + began_ns / NS_PER_DAY
    heard = {scale: sum(each[2] == scale for each in late) for scale in scales}
    x_ours = x_scale - np.array(ours)
    return Backcast(series, mjd, x_own, x_scale, x_ours, against, began, orders, constant_s, heard)


def _between_clocks(rows: ReadingColumns) -> ReadingColumns:
    """Return the rows that compare clocks: what UTC(k) says is no vote in the scale."""
    good = np.array([not is_reference(a) and not is_reference(b) for a, b in rows.pairs], np.bool_)
    if good.all():
        return rows
    keep = good[rows.pair] if len(rows) else np.zeros(0, np.bool_)
    place = np.cumsum(good) - 1
    return ReadingColumns(
        rows.line[keep],
        rows.epoch_tai_ns[keep],
        place[rows.pair[keep]].astype(np.int32),
        rows.x_a_minus_b_s[keep],
        rows.u_s[keep],
        tuple(pair for pair, here in zip(rows.pairs, good.tolist(), strict=True) if here),
    )


def _own_minus_scale(own: Sequence[ReadingRow], series: ScaleSeries) -> list[tuple[int, float]]:
    """Return UTC(k) minus the scale, s, by epoch: the median over the clocks that it was compared with then."""
    index = {clock.name: k for k, clock in enumerate(series.clocks)}
    at: dict[int, list[float]] = {}
    for row in own:
        k = index.get(row.b)
        if k is None:
            continue
        x_clock = _column_at(series, k, row.epoch_tai_ns)
        if x_clock is not None:
            at.setdefault(row.epoch_tai_ns, []).append(row.x_a_minus_b_s + x_clock)
    return sorted((epoch, float(median(values))) for epoch, values in at.items())


def _column_at(series: ScaleSeries, clock: int, epoch_ns: int) -> float | None:
    """Return a clock minus the scale at an epoch, between the scale's own epochs; None: beyond them."""
    after = int(np.searchsorted(series.epoch_tai_ns, epoch_ns))
    if after < len(series.epoch_tai_ns) and series.epoch_tai_ns[after] == epoch_ns:
        x = float(series.x_clock_minus_scale_s[after, clock])
        return x if np.isfinite(x) else None
    if after == 0 or after == len(series.epoch_tai_ns):
        return None
    t0, t1 = int(series.epoch_tai_ns[after - 1]), int(series.epoch_tai_ns[after])
    if t1 - t0 > 2.0 * ON_TIME_S * 1e9:
        return None
    part = (epoch_ns - t0) / (t1 - t0)
    x0, x1 = series.x_clock_minus_scale_s[after - 1, clock], series.x_clock_minus_scale_s[after, clock]
    x = float((1.0 - part) * x0 + part * x1)
    return x if np.isfinite(x) else None


def _nearest(values: list[tuple[int, float]], epoch_ns: int) -> float | None:
    """Return UTC(k) minus the scale at 0 h UTC: of that epoch, or on the line between the two around it."""
    epochs = np.array([each[0] for each in values], np.int64)
    after = int(np.searchsorted(epochs, epoch_ns))
    if after < len(values) and values[after][0] == epoch_ns:
        return values[after][1]
    if after == 0 or after == len(values):
        return None
    (t0, x0), (t1, x1) = values[after - 1], values[after]
    if t1 - t0 > 2.0 * ON_TIME_S * 1e9:
        return None
    return x0 + (x1 - x0) * ((epoch_ns - t0) / (t1 - t0))


def _published_mjd(value: PublishedValue) -> int:
    """Return the day on which a value could be had: as stated, else as the BIPM's habit is, rather late than early."""
    if value.published_mjd is not None and value.published_mjd >= value.mjd:
        return value.published_mjd + 1
    if value.scale == "UTCr":
        # a week from Monday to Sunday, published on the Wednesday after it, had at that day's end
        return value.mjd + (7 - weekday(value.mjd)) + PUBLISHED_AFTER_D["UTCr"]
    year, month, _ = to_calendar(value.mjd)
    return from_calendar(year + month // 12, month % 12 + 1, PUBLISHED_AFTER_D["UTC"])


def _samples(series: ScaleSeries) -> list[ClockSample]:
    """Return the clocks minus the scale as the steering hears them: each six hours, or as often as they were read."""
    epochs: Ints = series.epoch_tai_ns
    grid = epochs // SAMPLED_NS
    first = np.flatnonzero(np.diff(grid, prepend=-1) > 0)
    found = []
    for k in first.tolist():
        state = series.state[k]
        is_read = (series.unused[k] == 0) & np.isfinite(series.x_clock_minus_scale_s[k])
        standing = clock_by_clock.standing_of(state, is_read)
        found.append(ClockSample(int(epochs[k]), series.x_clock_minus_scale_s[k], standing))
    return found


def _noise(
    rows: ReadingColumns, clocks: Sequence[Clock] | None, algorithm: str, until_ns: int, members: Sequence[Clock]
) -> tuple[FreeNoise, tuple[ClockNoise, ...]]:
    """Return the noise that the ensemble has learned of itself until an epoch, and of each of its `members`."""
    early = rows.epoch_tai_ns <= until_ns
    part = replace(
        rows,
        line=rows.line[early],
        epoch_tai_ns=rows.epoch_tai_ns[early],
        pair=rows.pair[early],
        x_a_minus_b_s=rows.x_a_minus_b_s[early],
        u_s=rows.u_s[early],
    )
    series = replay(part, clocks, algorithm)
    learned = series.learned
    if learned is None:
        of_kinds = tuple(clock_noise.of_clock(clock) for clock in members)
        return replace(free_noise.of_kinds(series.clocks), y_spread=Y_SPREAD), of_kinds
    voted = learned.weight_month > 0.0
    noise = learned.noise[voted] if voted.any() else learned.noise
    u_drift = learned.u_drift[voted] if voted.any() else learned.u_drift
    levels = tuple((float(row[1]), float(row[2]), float(row[3])) for row in noise)
    drift = max(float(np.min(u_drift[np.isfinite(u_drift)], initial=1e-16 / 86_400.0)), LEAST_DRIFT)
    of_name = {clock.name: row.tolist() for clock, row in zip(series.clocks, learned.noise, strict=True)}
    of_members = tuple(_of_clock(clock, of_name.get(clock.name), is_known=clocks is not None) for clock in members)
    return scale_noise.free_noise(levels, y_spread=Y_SPREAD, drift_spread=drift), of_members


def _of_clock(clock: Clock, learned: Sequence[float] | None, *, is_known: bool) -> ClockNoise:
    """Return what is expected of a clock. Where nobody has said of which kind it is, what was learned is all there is,
    and it may drift as masers do.
    """
    if is_known or learned is None:
        return clock_noise.of_clock(clock, learned)
    reading, white, floor, walk = learned
    return ClockNoise(
        q1=white, floor2=floor, q2=walk, reading_s2=reading, y_spread=Y_SPREAD, drift_spread=UNKNOWN_DRIFT
    )


def _steer(  # noqa: PLR0917
    known: LateSteering,
    samples: list[ClockSample],
    late: list[tuple[int, LateValue]],
    wanted_ns: Sequence[int],
    parameters: LateParameters,
    learned_ns: int,
) -> tuple[list[float], int | None, int, float]:
    """Return our UTC(k) minus the scale at the wanted epochs (NaN before it began), when it began, how many orders, and
    the time constant at the end. It begins no earlier than `learned_ns`, when the noise was known.
    """
    interval_ns = round(parameters.interval_s * 1e9)
    first = min([learned_ns, *(when for when, _ in late)])
    last = max(wanted_ns)
    coordination: Coordination | None = None
    applied: Applied | None = None
    ours: list[float] = []
    began: int | None = None
    orders = heard = at = read = 0
    wanted = sorted(wanted_ns)
    for now in range(first - first % interval_ns + interval_ns, last + 2 * interval_ns, interval_ns):
        while at < len(wanted) and wanted[at] < now:
            # the order in force until now; a value of its own day has not been heard then
            ours.append(float("nan") if coordination is None else coordination.at(wanted[at]))
            at += 1
        while read < len(samples) and samples[read].epoch_ns <= now:
            known = late_steering.sampled(known, samples[read])
            read += 1
        batch = []
        while heard < len(late) and late[heard][0] <= now:
            batch.append(late[heard][1])
            heard += 1
        if batch:
            known, _ = late_steering.hear(known, tuple(batch), parameters, epoch_ns=now)
        if coordination is None or applied is None:
            start = late_steering.may_start(known, parameters, epoch_ns=now) if now >= learned_ns else None
            if start is not None:
                coordination, applied, began = (
                    Coordination(now, start.x_s, start.y),
                    Applied(start.y, now, start.y),
                    now,
                )
            continue
        applied = applied.advanced(now)
        known, order = late_steering.decide(known, coordination, parameters, LIMITS, applied, epoch_ns=now)
        coordination = coordination.steered(now, order.y_steer)
        applied = Applied(order.y_steer, now, applied.reference_y, applied.total_s)
        orders += 1
    by_epoch = dict(zip(wanted, ours, strict=True))
    return [by_epoch[epoch] for epoch in wanted_ns], began, orders, known.time_constant_s
