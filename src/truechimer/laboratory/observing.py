"""Observing: what takes the place of steering in a run that only watches.

It steers nothing, asks for no policy and makes no order. The scale runs free, TA(k); UTC on paper is the prediction
itself, from the same majority of sources and with the same bound as in service (`house.md` section 5): there is no
known distance from it that an order would still have to take out.
"""

from truechimer.laboratory import steering
from truechimer.laboratory.state import LaboratoryConfig
from truechimer.steer.steering_order import Coordination
from truechimer.steer.two_state import TwoState
from truechimer.steer.utc_prediction import ScaleNoise, UtcPrediction


def on_paper(
    now: TwoState | None,
    utc: UtcPrediction | None,
    config: LaboratoryConfig,
    *,
    known: bool,
    following: bool,
    noise: ScaleNoise,
    spread_s: float,
    epoch_ns: int,
) -> Coordination | None:
    """Return UTC minus the scale as it is predicted for this epoch, or None before its rate is known.

    `known`: it was before; a prediction that coasts is still one. The rate counts as known where a coordination could
    start in service: `following` a majority, under the envelope that these clocks are given by default.
    """
    if now is None or utc is None:
        return None
    if not known:
        known = following and steering.is_rate_known(
            now,
            utc,
            per_change=config.usual_per_change,
            parameters=config.steering,
            noise=noise,
            spread_s=spread_s,
            epoch_ns=epoch_ns,
        )
    return Coordination(epoch_ns, now.x_s, now.y) if known else None
