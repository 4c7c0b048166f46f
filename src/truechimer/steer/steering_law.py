"""The steering law: which rate brings UTC(k) to predicted UTC, in frequency only and inside the limits.

It does not apply anything. Where UTC is heard as it is, y = rate of UTC minus the scale + (UTC minus UTC(k)) / time
constant (`decide`); where it is heard days later, the linear quadratic law (`follow`, see `lqg`). Both are limited in
size and rate here; the envelope checks again (`quorum.envelope`), and so does whoever applies it.
"""

from dataclasses import dataclass
from math import sqrt

from truechimer.quorum.envelope import Applied, SteeringLimits
from truechimer.steer.delayed_data import Forecast
from truechimer.steer.lqg import Gains
from truechimer.steer.steering_order import Coordination, SteeringOrder
from truechimer.steer.two_state import TwoState


@dataclass(frozen=True, slots=True, kw_only=True)
class SteeringParameters:
    """`time_constant_s`: how fast a departure is taken back; `interval_s`: time between orders."""

    time_constant_s: float
    interval_s: float


def decide(
    utc: TwoState, coordination: Coordination, parameters: SteeringParameters, limits: SteeringLimits, applied: Applied
) -> SteeringOrder:
    """Return the order for the interval that begins at the prediction's epoch."""
    x_utc_minus_utck_s = utc.x_s - coordination.at(utc.epoch_ns)
    wanted = utc.y + x_utc_minus_utck_s / parameters.time_constant_s
    because = f"UTC minus UTC(k) {x_utc_minus_utck_s:+.3e} s"
    return cut(
        wanted,
        coordination,
        limits,
        applied,
        epoch_ns=utc.epoch_ns,
        interval_s=parameters.interval_s,
        because=because,
    )


def follow(  # noqa: PLR0917
    now: Forecast, then: Forecast, coordination: Coordination, gain: Gains, limits: SteeringLimits, applied: Applied
) -> SteeringOrder:
    """Return the order by the linear quadratic law (`lqg`) for the interval from `now` to `then`.

    What the forecast itself expects the rate to change by goes into the rate ahead of any departure. Where the law asks
    for more than one change may be, UTC(k) approaches on the course from which the changes allowed can still brake:
    a law that is cut and knows nothing of it swings about its aim.
    """
    interval_s = (then.epoch_ns - now.epoch_ns) / 1e9
    expected = then.y - now.y
    e = now.x_s - coordination.at(now.epoch_ns)
    v = now.y - 0.5 * expected - coordination.y_steer
    wanted = coordination.y_steer + expected + gain.k_x * e + gain.k_y * v
    cut_by = ""
    if abs(wanted - coordination.y_steer) > limits.per_change:
        cut_by = "per-change"
        # half of what may be braked with is kept back
        approach = sqrt(limits.per_change / interval_s * abs(e))
        aim = now.y + 0.5 * expected
        wanted = aim + approach if e > 0.0 else aim - approach
    because = f"UTC minus UTC(k) {e:+.3e} s"
    return cut(
        wanted,
        coordination,
        limits,
        applied,
        epoch_ns=now.epoch_ns,
        interval_s=interval_s,
        because=because,
        cut_by=cut_by,
    )


def cut(
    wanted: float,
    coordination: Coordination,
    limits: SteeringLimits,
    applied: Applied,
    *,
    epoch_ns: int,
    interval_s: float,
    because: str,
    cut_by: str = "",
) -> SteeringOrder:
    """Return the order for a wanted rate, valid from `epoch_ns` for two intervals.

    The wish is cut to none that adds to a total that is used up, to the rate that a day's limit allows, and to what one
    change may be; `cut_by`: what it was cut by already. The order bears the last of them.
    """
    # a hair inside, so that rounding cannot put a lawful wish outside
    inside = 1.0 - 1e-9
    ahead_s = 2.0 * interval_s
    left = limits.total_s * inside
    y = min(
        max(wanted, applied.reference_y + (-left - applied.total_s) / ahead_s),
        applied.reference_y + (left - applied.total_s) / ahead_s,
    )
    cut_by = "total" if y != wanted else cut_by
    daily = limits.per_day_s / 86_400.0 * inside
    before = y
    y = min(max(y, applied.reference_y - daily), applied.reference_y + daily)
    cut_by = "per-day" if y != before else cut_by
    # last, since one order can do no more: a total that is overdrawn is paid back change by change
    change = limits.per_change * inside
    before = y
    y = min(max(y, coordination.y_steer - change), coordination.y_steer + change)
    cut_by = "per-change" if y != before else cut_by
    if y != wanted:
        because += f", cut from {wanted:+.3e}"
    until = epoch_ns + round(ahead_s * 1e9)
    return SteeringOrder(y, epoch_ns, min(until, limits.valid_until_ns), because, cut_by)
