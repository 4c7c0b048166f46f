"""Steering by late data: values that are published days later in, orders of rate out, as one fold.

It joins `delayed_data` (what UTC minus the scale is, from values of any age), `judgement` (which values to believe),
`clock_by_clock` (what the believed ones say with every clock's own course, where clocks are heard), `lqg` (how gently
to follow) and `steering_law` (what the limits leave of the wish). It applies nothing: whoever applies checks the
envelope again.

A published UTC - UTC(k) becomes UTC minus the scale with the coordination that was in force at its epoch: a laboratory
keeps that history, and no step of its own makes an old value wrong.
"""

from dataclasses import dataclass, field, replace
from math import sqrt

from truechimer.errors import Misuse
from truechimer.quorum.envelope import Applied, SteeringLimits
from truechimer.steer import clock_by_clock, delayed_data, delayed_filter, judgement, lqg, steering_law
from truechimer.steer.clock_by_clock import ClockHistory, ClockSample
from truechimer.steer.clock_states import ClockNoise
from truechimer.steer.delayed_data import DelayedData, Fate, Forecast, LateValue
from truechimer.steer.delayed_filter import DAY_S, Estimate, FreeNoise, Path
from truechimer.steer.judgement import Finding
from truechimer.steer.lqg import Aim, Gains, News
from truechimer.steer.steering_order import Coordination, SteeringOrder

CHOSEN_EVERY_S = 7.0 * DAY_S
"""The time constant is chosen anew so often at most: news changes slowly, and what orders do should be foreseeable."""
VARIANCE_MEMORY_S = 60.0 * DAY_S
KNOWABLE = 2.0
"""The rate at a moment is known no better than this many Allan deviations over ten days: flicker FM alone makes 1.5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LateParameters:
    """`interval_s`: between orders; `aim`: what the law is to reach; `time_constant_s`: stated by the laboratory, None:
    chosen by the aim; `usual_s`: until enough is known to choose; `u_y_start`: how well (one sigma) the rate must be
    known before the coordination may start, but no better than the scale's own noise lets anybody know it; `judged`:
    values that fit neither the prediction nor the other paths are held back (`judgement`).
    """

    interval_s: float = 0.25 * DAY_S
    aim: Aim = field(default_factory=Aim)
    time_constant_s: float | None = None
    usual_s: float = 5.0 * DAY_S
    u_y_start: float = 5e-15
    judged: bool = True

    def __post_init__(self) -> None:
        """Refuse what no law can be made of."""
        if not self.interval_s > 0.0 or not (self.time_constant_s is None or self.time_constant_s > 0.0):
            raise Misuse("interval and time constant are positive seconds")


@dataclass(frozen=True, slots=True)
class LateSteering:
    """What steering knows. `variance_s2`: mean variance of the forecast when orders were due, without what paths have
    in common; `orders`: how many were; `gain`: of the law in use, for `time_constant_s`, made at `chosen_ns`
    (0: not chosen yet); `findings`: values that are held at present, and why; `clocks`: each clock's own course, None
    where the scale alone is known.
    """

    history: DelayedData
    news: News
    variance_s2: float
    orders: int
    gain: Gains
    time_constant_s: float
    chosen_ns: int
    findings: tuple[Finding, ...] = ()
    clocks: ClockHistory | None = None


def begin(
    noise: FreeNoise,
    paths: tuple[Path, ...],
    parameters: LateParameters,
    *,
    clocks: tuple[ClockNoise, ...] | None = None,
) -> LateSteering:
    """Return what is known before the first value. `clocks`: the noise of each, where their samples will be heard."""
    constant_s = parameters.usual_s if parameters.time_constant_s is None else parameters.time_constant_s
    gain = lqg.gains(time_constant_s=constant_s, interval_s=parameters.interval_s)
    heard = None if clocks is None else clock_by_clock.begin(clocks, paths)
    return LateSteering(delayed_data.begin(noise, paths), News(), 0.0, 0, gain, constant_s, 0, clocks=heard)


def sampled(before: LateSteering, sample: ClockSample) -> LateSteering:
    """Take a sample of the clocks in."""
    if before.clocks is None:
        return before
    return replace(before, clocks=clock_by_clock.sampled(before.clocks, sample))


def at(known: LateSteering, epoch_ns: int) -> Estimate | None:
    """Return what is known of UTC minus the scale at an epoch (TAI): from the clocks one by one where they can tell it,
    else from the scale; None before the first value.
    """
    found = None if known.clocks is None else clock_by_clock.at(known.clocks, epoch_ns, known.history)
    return delayed_data.at(known.history, epoch_ns) if found is None else found


def ahead(known: LateSteering, epoch_ns: int) -> Forecast | None:
    """Return the forecast of UTC minus the scale for an epoch (TAI); None before the first value."""
    state = at(known, epoch_ns)
    return None if state is None else delayed_data.forecast_of(state)


def hear(
    before: LateSteering, values: tuple[LateValue, ...], parameters: LateParameters, *, epoch_ns: int
) -> tuple[LateSteering, tuple[Fate, ...]]:
    """Take in what is published at `epoch_ns` (TAI); return what is known then, and what became of each value."""
    old = ahead(before, epoch_ns)
    history, fates = delayed_data.take(before.history, values)
    findings = before.findings
    if parameters.judged:
        judged = judgement.judge(history)
        history, findings = judged.history, judged.findings
    clocks = None if before.clocks is None else clock_by_clock.heard(before.clocks, history)
    after = replace(before, history=history, findings=findings, clocks=clocks)
    new = ahead(after, epoch_ns)
    if old is None or new is None:
        return after, fates
    news = before.news.after(epoch_ns=epoch_ns, xx=old.p_xx - new.p_xx, xy=old.p_xy - new.p_xy, yy=old.p_yy - new.p_yy)
    after = replace(after, news=news)
    if parameters.time_constant_s is not None or news.span_s <= 0.0 or not before.orders:
        return after, fates
    if before.chosen_ns and epoch_ns - before.chosen_ns < CHOSEN_EVERY_S * 1e9:
        return after, fates
    constant_s = lqg.time_constant_s(
        news,
        parameters.aim,
        forecast_variance_s2=before.variance_s2,
        free_variance=history.noise.allan_variance(DAY_S),
        interval_s=parameters.interval_s,
        usual_s=parameters.usual_s,
    )
    gain = lqg.gains(time_constant_s=constant_s, interval_s=parameters.interval_s)
    return replace(after, gain=gain, time_constant_s=constant_s, chosen_ns=epoch_ns), fates


def may_start(known: LateSteering, parameters: LateParameters, *, epoch_ns: int) -> Forecast | None:
    """Return the forecast that offset and rate of the coordination may be set from, None while the rate is not known
    well enough.
    """
    found = ahead(known, epoch_ns)
    own = KNOWABLE * sqrt(known.history.noise.allan_variance(10.0 * DAY_S))
    return found if found is not None and found.u_y <= max(parameters.u_y_start, own) else None


def decide(
    before: LateSteering,
    coordination: Coordination,
    parameters: LateParameters,
    limits: SteeringLimits,
    applied: Applied,
    *,
    epoch_ns: int,
) -> tuple[LateSteering, SteeringOrder]:
    """Return the order for the interval that begins at `epoch_ns` (TAI); `applied` is advanced to it."""
    state = at(before, epoch_ns)
    if state is None:
        raise Misuse("an order needs a value of UTC before it")
    history, end_ns = before.history, epoch_ns + round(parameters.interval_s * 1e9)
    now = delayed_data.forecast_of(state)
    then = delayed_data.forecast_of(delayed_filter.predicted(state, history.noise, history.paths, end_ns))
    order = steering_law.follow(now, then, coordination, before.gain, limits, applied)
    of_forecast = delayed_data.free_of_common_s2(state, before.history.paths)
    n = min(before.orders + 1, max(round(VARIANCE_MEMORY_S / parameters.interval_s), 1))
    variance = before.variance_s2 + (of_forecast - before.variance_s2) / n
    return replace(before, variance_s2=variance, orders=before.orders + 1), order
