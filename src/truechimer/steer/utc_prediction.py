"""UTC prediction: what UTC minus the scale is now, from outside values that came earlier, and how sure that is.

It does not choose whom to believe (`compare.selection`) and does not steer. The scale is modelled as a two-state
difference whose noise is the ensemble's own; each outside value corrects it. What no averaging removes (limits of the
links) is carried beside the statistics with the filter's own gains. If the values scatter more than they declare, the
stated sigma grows by that factor: it never shrinks below the model's.
"""

from dataclasses import dataclass, replace
from math import sqrt

from truechimer.steer.two_state import TwoState, begin, corrected, predicted

SURPRISE_SIGMAS = 6.0
"""An outside value further from the prediction than this (beyond its limit) says that the model is wrong: the state is
opened to it. One that is so far only within limits tells of one value more than of the time: the phase goes there at
once, and the values after it say whether the rate has changed.
"""


@dataclass(frozen=True, slots=True)
class UtcPrediction:
    """UTC minus the scale: `state` at its epoch; `limit_s`: limit of the systematic part of the values taken in;
    `outside_ns`: TAI of the last outside value; `u_outside_s`: one sigma of x just after it; `scatter`: mean squared
    innovation against its model (1 where it fits).
    `begun_ns`: TAI of the first value; `interval_s`: learned interval between outside values.
    """

    state: TwoState
    limit_s: float
    outside_ns: int
    u_outside_s: float
    scatter: float
    begun_ns: int
    interval_s: float

    @property
    def inflation(self) -> float:
        """Factor (>= 1) on the model's sigma."""
        return sqrt(max(1.0, self.scatter))


@dataclass(frozen=True, slots=True)
class ScaleNoise:
    """Noise of the scale as the prediction sees it: `q1` (s^2/s), `q2` (1/s), and one sigma of its rate before anything
    is known.
    """

    q1: float
    q2: float
    y_spread: float


def update(
    before: UtcPrediction | None,
    noise: ScaleNoise,
    *,
    epoch_tai_ns: int,
    x_utc_minus_scale_s: float,
    u_s: float,
    limit_s: float,
) -> tuple[UtcPrediction, bool]:
    """Take one combined outside value in; return the prediction and whether the value was a surprise (see
    `SURPRISE_SIGMAS`).
    """
    if before is None:
        state = begin(epoch_tai_ns, x_s=x_utc_minus_scale_s, u_s=u_s, y=0.0, u_y=noise.y_spread)
        return UtcPrediction(state, limit_s, epoch_tai_ns, u_s, 1.0, epoch_tai_ns, 0.0), False
    ahead = predicted(before.state, epoch_tai_ns, q1=noise.q1, q2=noise.q2)
    innovation = x_utc_minus_scale_s - ahead.x_s
    total = ahead.p_xx + u_s * u_s
    # what the limits explain is no surprise: both sides may be off by theirs
    beyond = max(abs(innovation) - limit_s - before.limit_s, 0.0)
    surprise = beyond * beyond > SURPRISE_SIGMAS * SURPRISE_SIGMAS * total * max(1.0, before.scatter)
    is_more = innovation * innovation > SURPRISE_SIGMAS * SURPRISE_SIGMAS * total * max(1.0, before.scatter)
    scatter = before.scatter
    if surprise:
        ahead = replace(ahead, p_xx=ahead.p_xx + innovation * innovation, p_yy=ahead.p_yy + noise.q2 * 3600.0)
    elif before.state.n >= 8:
        ratio = min(innovation * innovation / total, 25.0)
        scatter = scatter + 0.02 * (ratio - scatter)
    if is_more and not surprise:
        # with phase and rate both open the value moves the phase; a rate that moved too shows in the next ones
        since_s = (epoch_tai_ns - before.state.epoch_ns) / 1e9
        rate = innovation / since_s if since_s > 0.0 else 0.0
        p_yy = ahead.p_yy + min(rate * rate, noise.y_spread * noise.y_spread)
        ahead = replace(ahead, p_xx=ahead.p_xx + innovation * innovation, p_yy=p_yy)
    state, gain = corrected(ahead, x_utc_minus_scale_s, variance=u_s * u_s)
    elapsed = (epoch_tai_ns - before.outside_ns) / 1e9
    interval = elapsed if before.interval_s == 0.0 else before.interval_s + 0.1 * (elapsed - before.interval_s)
    limit = (1.0 - gain) * before.limit_s + gain * limit_s
    return UtcPrediction(state, limit, epoch_tai_ns, state.u_x_s, scatter, before.begun_ns, interval), surprise


def ahead(before: UtcPrediction, noise: ScaleNoise, *, epoch_tai_ns: int) -> TwoState:
    """Return UTC minus the scale predicted for an epoch."""
    return predicted(before.state, epoch_tai_ns, q1=noise.q1, q2=noise.q2)
