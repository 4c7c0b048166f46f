"""The steering law: which rate brings UTC(k) to predicted UTC, in frequency only and inside the limits.

It does not apply anything. y = rate of UTC minus the scale + (UTC minus UTC(k)) / time constant, then limited in size
and rate here; the envelope checks again (`quorum.envelope`), and so does whoever applies it.
"""

from dataclasses import dataclass

from truechimer.quorum.envelope import Applied, SteeringLimits
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
    """Return the order for the interval that begins at the prediction's epoch.

    The wish is cut to none that adds to a total that is used up, to the rate that a day's limit allows, and to what one
    change may be.
    """
    now = utc.epoch_ns
    x_utc_minus_utck_s = utc.x_s - coordination.at(now)
    wanted = utc.y + x_utc_minus_utck_s / parameters.time_constant_s
    because = f"UTC minus UTC(k) {x_utc_minus_utck_s:+.3e} s"
    # a hair inside, so that rounding cannot put a lawful wish outside
    inside = 1.0 - 1e-9
    ahead_s = 2.0 * parameters.interval_s
    left = limits.total_s * inside
    y = min(
        max(wanted, applied.reference_y + (-left - applied.total_s) / ahead_s),
        applied.reference_y + (left - applied.total_s) / ahead_s,
    )
    daily = limits.per_day_s / 86_400.0 * inside
    y = min(max(y, applied.reference_y - daily), applied.reference_y + daily)
    # last, since one order can do no more: a total that is overdrawn is paid back change by change
    change = limits.per_change * inside
    y = min(max(y, coordination.y_steer - change), coordination.y_steer + change)
    if y != wanted:
        because += f", cut from {wanted:+.3e}"
    until = now + round(ahead_s * 1e9)
    return SteeringOrder(y, now, min(until, limits.valid_until_ns), because)
