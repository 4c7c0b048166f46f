"""Steering within the line: coordination-start once, then orders inside the signed envelope, applied in frequency only.

It joins `steer.steering_law`, `quorum.envelope` and `steer.realization`; it decides nothing that they do not.
"""

from dataclasses import dataclass
from math import sqrt

from truechimer.quorum import envelope
from truechimer.quorum.envelope import Applied, SteeringLimits
from truechimer.quorum.verified import Refused, Verified
from truechimer.steer import realization, steering_law
from truechimer.steer.steering_law import SteeringParameters
from truechimer.steer.steering_order import Coordination, SteeringOrder
from truechimer.steer.two_state import TwoState
from truechimer.steer.utc_prediction import ScaleNoise, UtcPrediction

COORDINATION_START_VALUES = 8
"""Outside values before offset and rate of the coordination may be set."""


@dataclass(frozen=True, slots=True)
class Steered:
    """Coordination and account after the epoch, and what was decided at it: `started`, `order` (applied) or `refused`
    (with the order that was).
    """

    coordination: Coordination | None
    applied: Applied | None
    next_steer_ns: int
    started: bool = False
    order: SteeringOrder | None = None
    refused: Refused | None = None


def rate_needed(limits: SteeringLimits, parameters: SteeringParameters, noise: ScaleNoise, *, alone: bool) -> float:
    """Return how well (one sigma) the rate of UTC minus the scale must be known before the coordination may start.

    A tenth of one change, so that what is left is steered out well inside the limits; but no better than the scale's
    own noise (white and random-walk FM over the time constant) lets anybody know it. For a host's oscillator `alone`,
    whose rate never stays what it was, one whole change: the next order takes it back.
    """
    tau_s = parameters.time_constant_s
    return max((1.0 if alone else 0.1) * limits.per_change, 1.5 * sqrt(noise.q1 / tau_s + noise.q2 * tau_s / 3.0))


def rate_doubt(spread_s: float, *, interval_s: float, span_s: float) -> float:
    """Return how wrong the learned rate of UTC minus the scale may be because sources disagree.

    Sources that are off by constant and different amounts (s, `spread_s` between the outermost) speak in turn, every
    `interval_s`; a straight line through N such values over `span_s` takes at most 6 spread / (N span) of that for a
    rate. Their noise is in the filter's own sigma; this is not, and no filter of one series can see it.
    """
    return 6.0 * spread_s * interval_s / (span_s * span_s) if span_s > 0.0 else float("inf")


def in_force(limits: Verified[SteeringLimits] | Refused, epoch_ns: int) -> bool:
    """Return True where a verified envelope holds at an epoch."""
    return isinstance(limits, Verified) and limits.value.valid_from_ns <= epoch_ns < limits.value.valid_until_ns


def steer(
    coordination: Coordination | None,
    applied: Applied | None,
    next_steer_ns: int,
    *,
    now: TwoState | None,
    utc: UtcPrediction | None,
    limits: Verified[SteeringLimits] | Refused,
    parameters: SteeringParameters,
    following: bool,
    alone: bool,
    reentering: bool,
    noise: ScaleNoise,
    spread_s: float,
    epoch_ns: int,
) -> Steered:
    """Start the coordination once, or steer it when an order is due. `following` False (holdover, no majority): the
    rate is held.

    `alone`: the host's oscillator is the scale: where nobody is followed, what is left against the prediction is still
    taken back, so that the rate held is the one that was learned and not the one that took the last departure back.
    `noise`: of the scale. `spread_s`: between the outermost of the selected sources where they speak in turn.
    `reentering`: a scale of one after a boot, whose phase is set again from the links while the doors are
    unsynchronised.
    """
    unchanged = Steered(coordination, applied, next_steer_ns)
    if now is None or utc is None or isinstance(limits, Refused) or not in_force(limits, epoch_ns):
        return unchanged
    allowed = limits.value
    if coordination is None or applied is None or reentering:
        needed = rate_needed(allowed, parameters, noise, alone=alone)
        doubt = rate_doubt(spread_s, interval_s=utc.interval_s, span_s=(epoch_ns - utc.begun_ns) / 1e9)
        sure = now.n >= COORDINATION_START_VALUES and now.u_y * utc.inflation + doubt <= needed
        if not (sure and allowed.coordination_start and following):
            return unchanged
        if coordination is not None and applied is not None:
            # after a boot the scale of one enters again where the links say it is; its rate and its account go on
            return Steered(
                Coordination(epoch_ns, now.x_s, coordination.y_steer),
                applied.advanced(epoch_ns),
                epoch_ns,
                started=True,
            )
        return Steered(
            Coordination(epoch_ns, now.x_s, now.y),
            Applied(now.y, epoch_ns, now.y),
            epoch_ns + round(parameters.interval_s * 1e9),
            started=True,
        )
    if epoch_ns < next_steer_ns or not (following or alone):
        return unchanged
    account = applied.advanced(epoch_ns)
    order = steering_law.decide(now, coordination, parameters, allowed, account)
    after_ns = epoch_ns + round(parameters.interval_s * 1e9)
    return carried_out(order, limits, coordination, account, after_ns)


def carried_out(
    order: SteeringOrder,
    limits: Verified[SteeringLimits],
    coordination: Coordination,
    account: Applied,
    next_steer_ns: int,
) -> Steered:
    """Admit an order to the envelope and apply it, or say why it is refused."""
    admitted = envelope.admit(order, limits, account)
    if isinstance(admitted, Refused):
        return Steered(coordination, account, next_steer_ns, order=order, refused=admitted)
    done = realization.apply(admitted, limits, coordination, account)
    if isinstance(done, Refused):
        return Steered(coordination, account, next_steer_ns, order=order, refused=done)
    return Steered(done[0], done[1], next_steer_ns, order=order)
