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

    The wish is cut to what one change may be, to the rate that a day's limit allows, and to none that adds to a total
    that is used up.
    """
    now = utc.epoch_ns
    x_utc_minus_utck_s = utc.x_s - coordination.at(now)
    wanted = utc.y + x_utc_minus_utck_s / parameters.time_constant_s
    because = f"UTC minus UTC(k) {x_utc_minus_utck_s:+.3e} s"
    # a hair inside, so that rounding cannot put a lawful wish outside
    change = limits.per_change * (1.0 - 1e-9)
    y = min(max(wanted, coordination.y_steer - change), coordination.y_steer + change)
    daily = limits.per_day_s / 86_400.0 * (1.0 - 1e-9)
    y = min(max(y, applied.reference_y - daily), applied.reference_y + daily)
    ahead_s = 2.0 * parameters.interval_s
    left = limits.total_s * (1.0 - 1e-9)
    y = min(
        max(y, applied.reference_y + (-left - applied.total_s) / ahead_s),
        applied.reference_y + (left - applied.total_s) / ahead_s,
    )
    if y != wanted:
        because += f", cut from {wanted:+.3e}"
    until = now + round(ahead_s * 1e9)
    return SteeringOrder(y, now, min(until, limits.valid_until_ns), because)
