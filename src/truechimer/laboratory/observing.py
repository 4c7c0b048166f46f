"""Observing: what takes the place of steering in a run that only watches.

It steers nothing, asks for no policy and makes no order. The scale runs free, TA(k); UTC on paper is the prediction
itself, from the same majority of sources and with the same bound as in service (`house.md` section 5): there is no
known distance from it that an order would still have to take out.
"""

from truechimer.laboratory.steering import COORDINATION_START_VALUES, rate_doubt
from truechimer.steer.bound import COVERAGE_FACTOR
from truechimer.steer.steering_order import Coordination
from truechimer.steer.two_state import TwoState
from truechimer.steer.utc_prediction import UtcPrediction


def doubt_of_rate(utc: UtcPrediction | None, *, spread_s: float, epoch_ns: int) -> float:
    """Return how wrong the learned rate may be because sources disagree (s/s; `steering.rate_doubt`).

    In service a coordination waits until it is nothing; here a time is stated before, and it stands in the bound.
    """
    if utc is None or spread_s == 0.0:
        return 0.0
    return rate_doubt(spread_s, interval_s=utc.interval_s, span_s=(epoch_ns - utc.begun_ns) / 1e9)


def on_paper(
    now: TwoState | None, utc: UtcPrediction | None, *, known: bool, following: bool, doubt: float, epoch_ns: int
) -> Coordination | None:
    """Return UTC minus the scale as it is predicted for this epoch, or None before its rate is known.

    `known`: it was before; a prediction that coasts is still one. Otherwise it becomes so when a majority is followed
    and what the rate may be wrong by (`doubt` of `doubt_of_rate` among it) moves UTC between two outside values by no
    more than such a value is uncertain itself. A coordination, which commits to its rate, waits for far more.
    """
    if now is None or utc is None:
        return None
    if not known:
        unsure_s = COVERAGE_FACTOR * (now.u_y * utc.inflation + doubt) * utc.interval_s
        value_s = COVERAGE_FACTOR * utc.u_outside_s * utc.inflation + utc.limit_s
        known = following and now.n >= COORDINATION_START_VALUES and unsure_s <= value_s
    return Coordination(epoch_ns, now.x_s, now.y) if known else None
