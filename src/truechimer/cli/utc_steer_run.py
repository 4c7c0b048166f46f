"""The replay behind `truechimer utc steer`: published values in the order in which they came, orders of rate out.

It reads no file and prints nothing. The fold is `steer.late_steering`, the one that a laboratory runs; each value takes
part from the day on which it was published, never before. UTC(k) of the replay begins where the forecast is when its
rate is known well enough, and is from then on moved by orders of rate alone.
"""

from bisect import bisect_right
from dataclasses import dataclass, replace
from math import ceil, floor, sqrt

from truechimer.cli.utc_published import DAY_NS, Published, epoch_ns
from truechimer.quorum.envelope import Applied, SteeringLimits
from truechimer.steer import delayed_data, late_smoothing, late_steering
from truechimer.steer.delayed_data import Fate, Forecast, LateValue
from truechimer.steer.delayed_filter import FreeNoise, PathKind
from truechimer.steer.delayed_filter import Path as OutsidePath
from truechimer.steer.judgement import Finding, What
from truechimer.steer.late_steering import LateParameters, LateSteering
from truechimer.steer.steering_order import Coordination, SteeringOrder

USUAL_U_S = {"UTCr": 0.5e-9, "UTC": 0.3e-9}
FOUNTAIN = "fountain"
RATE_LATENCY_NS = DAY_NS // 24
NS = 1e9
EVER_S = 1e11
FIRST_LINE_NS = 30 * DAY_NS


@dataclass(frozen=True, slots=True)
class Rate:
    """A frequency standard's word: y of UTC (the second as it realizes it) minus the scale, mean over `span_s` until
    `mjd`; `u`: one sigma.
    """

    mjd: float
    y: float
    u: float
    span_s: float


@dataclass(frozen=True, slots=True)
class Order:
    """An order of the replay and what it was made of."""

    epoch_ns: int
    order: SteeringOrder
    forecast: Forecast
    x_utck_minus_scale_s: float
    time_constant_s: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A published value beside both UTC(k): `own_s` as published, `ours_s` against the replay's (None before it
    began).
    """

    published: Published
    own_s: float
    ours_s: float | None


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of it. `refused`: values that were not taken, with the reason; `until_ns`: the end of the replay;
    `held`: what judgement found at any time (see `steer.judgement`), in words, with when that was last so (ns TAI).
    """

    orders: tuple[Order, ...]
    judged: tuple[Judged, ...]
    refused: tuple[tuple[Published, Fate], ...]
    known: LateSteering
    last: Forecast | None
    until_ns: int
    held: tuple[tuple[int, Finding, str], ...] = ()

    @property
    def began_ns(self) -> int | None:
        """TAI of the first order's interval, None where none was given."""
        return self.orders[0].epoch_ns if self.orders else None


def rms(values: list[float]) -> float:
    """Return the root of the mean square of at least one value."""
    return sqrt(sum(value * value for value in values) / len(values))


def replay(
    values: tuple[Published, ...],
    rates: tuple[Rate, ...],
    coordination: tuple[tuple[int, float], ...],
    *,
    noise: FreeNoise,
    u_fountain: float,
    parameters: LateParameters,
    limits: SteeringLimits,
    until_ns: int | None,
) -> Replay:
    """Run the fold. `coordination`: the laboratory's own UTC(k) minus the scale (ns TAI, s), in order; between two
    points a straight line, before the first and after the last as they say; none: UTC(k) is the scale.
    """
    paths, pending = _pending(values, rates, coordination, u_fountain)
    end_ns = until_ns if until_ns is not None else max((each[0] for each in pending), default=0)
    known = late_steering.begin(noise, paths, parameters)
    step_ns = round(parameters.interval_s * NS)
    first_ns = pending[0][0] if pending else 0
    turn_ns = first_ns - first_ns % step_ns + step_ns
    place, refused = 0, []
    held: dict[tuple[What, int, int], tuple[int, Finding, str]] = {}
    line: Coordination | None = None
    applied: Applied | None = None
    orders: list[Order] = []
    course: list[Coordination] = []
    while turn_ns <= end_ns:
        while place < len(pending) and pending[place][0] <= turn_ns:
            batch_ns = pending[place][0]
            batch = []
            while place < len(pending) and pending[place][0] == batch_ns:
                batch.append(pending[place])
                place += 1
            known, fates = late_steering.hear(known, tuple(late for _, late, _ in batch), parameters, epoch_ns=batch_ns)
            for one in known.findings:
                held[one.what, one.path, one.since_ns] = (batch_ns, one, one.says(known.history))
            refused += [
                (source, fate)
                for (_, _, source), fate in zip(batch, fates, strict=True)
                if source is not None and fate not in {Fate.TAKEN, Fate.REVISED}
            ]
        if line is None or applied is None:
            start = late_steering.may_start(known, parameters, epoch_ns=turn_ns)
            if start is not None:
                line, applied = Coordination(turn_ns, start.x_s, start.y), Applied(start.y, turn_ns, start.y)
                course.append(line)
        else:
            applied = applied.advanced(turn_ns)
            known, order = late_steering.decide(known, line, parameters, limits, applied, epoch_ns=turn_ns)
            line = line.steered(turn_ns, order.y_steer)
            applied = Applied(order.y_steer, turn_ns, applied.reference_y, applied.total_s)
            forecast = delayed_data.ahead(known.history, turn_ns)
            assert forecast is not None
            orders.append(Order(turn_ns, order, forecast, line.x_utck_minus_scale_s, known.time_constant_s))
            course.append(line)
        turn_ns += step_ns
    starts = [each.epoch_ns for each in course]
    judged = []
    for each in values:
        at_ns = epoch_ns(each.mjd)
        ours = None
        if starts and starts[0] <= at_ns <= end_ns:
            x_s = each.x_utc_minus_utck_s + _line(coordination, at_ns)
            ours = x_s - course[bisect_right(starts, at_ns) - 1].at(at_ns)
        judged.append(Judged(each, each.x_utc_minus_utck_s, ours))
    return Replay(
        tuple(orders),
        tuple(judged),
        tuple(refused),
        known,
        delayed_data.ahead(known.history, end_ns),
        end_ns,
        tuple(held.values()),
    )


_Pending = list[tuple[int, LateValue, Published | None]]


def _pending(
    values: tuple[Published, ...],
    rates: tuple[Rate, ...],
    coordination: tuple[tuple[int, float], ...],
    u_fountain: float,
) -> tuple[tuple[OutsidePath, ...], _Pending]:
    """Return the paths, and every value of UTC minus the scale with the epoch (ns TAI) at which it is known."""
    names = list(dict.fromkeys(each.path for each in values))
    paths = tuple(OutsidePath(name=name, u_common=_common(values, name)) for name in names)
    if rates:
        paths += (OutsidePath(name=FOUNTAIN, kind=PathKind.RATE, u_common=u_fountain),)
    pending: _Pending = []
    for each in values:
        at_ns = epoch_ns(each.mjd)
        u_s = each.u_s or USUAL_U_S.get(each.path, 0.5e-9)
        x_s = each.x_utc_minus_utck_s + _line(coordination, at_ns)
        late = LateValue(path=names.index(each.path), epoch_ns=at_ns, value=x_s, u=u_s)
        pending.append((epoch_ns(each.available_mjd), late, each))
    for rate in rates:
        at_ns = epoch_ns(rate.mjd)
        late = LateValue(path=len(names), epoch_ns=at_ns, value=rate.y, u=rate.u, span_s=rate.span_s)
        pending.append((at_ns + RATE_LATENCY_NS, late, None))
    pending.sort(key=lambda each: (each[0], each[1].epoch_ns, each[1].path))
    return paths, pending


@dataclass(frozen=True, slots=True)
class Between:
    """UTC - UTC(k) of the laboratory itself at an epoch (ns TAI), in hindsight, with one sigma; s."""

    epoch_ns: int
    x_utc_minus_utck_s: float
    u_s: float


def between(
    values: tuple[Published, ...],
    rates: tuple[Rate, ...],
    coordination: tuple[tuple[int, float], ...],
    *,
    noise: FreeNoise,
    u_fountain: float,
) -> tuple[Between, ...]:
    """Return UTC - UTC(k) for each day from the first to the last value, from all of them: what a report states between
    the points of Circular T.
    """
    paths, pending = _pending(values, rates, coordination, u_fountain)
    # phases first, so that a rate never comes before all of them
    pending.sort(key=lambda each: (each[1].span_s > 0.0, each[1].epoch_ns))
    line, noise = _first_course([late for _, late, _ in pending if not late.span_s], noise)
    taken = [
        replace(late, value=late.value - (line.y_steer if late.span_s else line.at(late.epoch_ns)))
        for _, late, _ in pending
    ]
    history, _ = delayed_data.take(delayed_data.begin(noise, paths, memory_s=EVER_S), tuple(taken))
    first, last = min(each.mjd for each in values), max(each.mjd for each in values)
    epochs = tuple(epoch_ns(float(day)) for day in range(ceil(first), floor(last) + 1))
    found = late_smoothing.smoothed(history, epochs)
    return tuple(
        Between(at_ns, each.x_s + line.at(at_ns) - _line(coordination, at_ns), each.u_x_s)
        for at_ns, each in zip(epochs, found, strict=True)
        if each is not None
    )


def _first_course(phases: list[LateValue], noise: FreeNoise) -> tuple[Coordination, FreeNoise]:
    """Return the straight line through the first month, and the noise with a rate that is near it but for ten sigma.

    A rate that may be anything a kind of clock may have costs ten digits of the days before the second value.
    """
    first = phases[0]
    later = [each for each in phases if each.epoch_ns - first.epoch_ns >= FIRST_LINE_NS] or [phases[-1]]
    span_s = (later[0].epoch_ns - first.epoch_ns) / NS
    if span_s <= 0.0:
        return Coordination(first.epoch_ns, first.value, 0.0), noise
    rate = (later[0].value - first.value) / span_s
    sigma = sqrt(2.0 * first.u * first.u / (span_s * span_s) + 4.0 * noise.allan_variance(span_s))
    drifted = noise.drift_spread * span_s
    return Coordination(first.epoch_ns, first.value, rate), replace(noise, y_spread=10.0 * (sigma + drifted))


def _common(values: tuple[Published, ...], name: str) -> float:
    """Return what the values of a path have in common: the middle of what they say."""
    said = sorted(each.u_common_s for each in values if each.path == name and each.u_common_s is not None)
    return said[len(said) // 2] if said else 0.0


def _line(points: tuple[tuple[int, float], ...], at_ns: int) -> float:
    if not points:
        return 0.0
    place = bisect_right(points, at_ns, key=lambda each: each[0])
    if place == 0:
        return points[0][1]
    if place == len(points):
        return points[-1][1]
    (t0, x0), (t1, x1) = points[place - 1], points[place]
    return x0 + (x1 - x0) * ((at_ns - t0) / (t1 - t0))


def limits_of(*, per_change: float, per_day_s: float, total_s: float) -> SteeringLimits:
    """Return limits for a replay: for ever, since no service is steered by it."""
    return SteeringLimits(
        per_change=per_change,
        per_day_s=per_day_s,
        total_s=total_s,
        valid_from_ns=-(10**19),
        valid_until_ns=10**19,
        sequence=1,
        coordination_start=True,
    )
