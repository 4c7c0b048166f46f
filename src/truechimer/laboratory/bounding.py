"""Bounding: the terms of the bound at an epoch, how fast it must grow with raw time, and when it will reach a limit.

It makes no bound itself (`steer.bound` does) and decides nothing. What the scale may have done since the last outside
value comes from the filter's covariance; for a scale of one, where no other clock tests the filter, from what its own
past predictions were wrong by (`steer.holdover`).
"""

from dataclasses import replace
from math import sqrt

from truechimer.laboratory.state import LaboratoryConfig, LaboratoryState
from truechimer.scale.state import ScaleStep
from truechimer.steer import holdover, realization, utc_prediction
from truechimer.steer.bound import COVERAGE_FACTOR, BoundTerms, bound
from truechimer.steer.realization import HOST_RATE_LIMIT_LEAST, Realization
from truechimer.steer.steering_order import Coordination
from truechimer.steer.two_state import TwoState
from truechimer.steer.utc_prediction import UtcPrediction

LARGEST_GROWTH = 0.5
FOREVER_S = 30.0 * 86_400.0
"""Holdover times are told up to here."""

HALVINGS = 24

Variances = tuple[float, ...]
"""Of a scale of one: variance over each horizon (`steer.holdover.variances_s2`); empty for an ensemble."""


def terms(
    utc: UtcPrediction,
    now: TwoState,
    coordination: Coordination,
    real: Realization,
    scale_step: ScaleStep,
    *,
    members: int,
    wander: Variances,
    until_s: float,
    rate_doubt: float = 0.0,
    host_off_s: float = 0.0,
    leap_doubt_s: float = 0.0,
) -> BoundTerms:
    """Lay out the terms of the bound at an epoch.

    A scale of one (`members`) has no detection floor: no clock tests another. What its clock does between two outside
    values is in `u_scale_since_outside_s`, and the outside values are its test. `until_s`: how long the page of this
    epoch may be served; where the error grows fastest at first, a straight line from here must begin above it.
    `rate_doubt`: what disagreeing sources leave open of the rate (s/s), 0 where a coordination has waited for it.
    `host_off_s`: by how much a reading of the host contradicts its prediction, until the next one judges.
    `leap_doubt_s`: by how much a disputed leap second leaves the label open.
    """
    inflation, age_s = utc.inflation, (now.epoch_ns - utc.outside_ns) / 1e9
    if wander:
        since_s = holdover.from_here_s(wander, age_s, until_s).sigma_s
    else:
        since_s = sqrt(max(now.p_xx - utc.u_outside_s * utc.u_outside_s, 0.0)) * inflation
    return BoundTerms(
        u_utc_prediction_s=utc.u_outside_s * inflation,
        u_scale_since_outside_s=since_s,
        u_host_link_s=real.u_host_link_s,
        limit_links_s=utc.limit_s + rate_doubt * age_s,
        limit_steering_s=abs(now.x_s - coordination.at(now.epoch_ns)),
        limit_undetected_s=scale_step.detection_floor_s if members > 1 else 0.0,
        limit_host_rate_s=host_off_s,
        limit_stamps_s=0.0,
        limit_leap_s=leap_doubt_s,
    )


def growth(
    utc: UtcPrediction,
    now: TwoState,
    coordination: Coordination,
    real: Realization,
    *,
    wander: Variances,
    until_s: float,
    rate_doubt: float = 0.0,
) -> float:
    """Return how fast the bound must grow with raw time (s/s): host rate, rate of UTC minus the scale (`rate_doubt` as
    in `terms`), and the steering under way.
    """
    if wander:
        u_y = holdover.from_here_s(wander, (now.epoch_ns - utc.outside_ns) / 1e9, until_s).per_s
    else:
        u_y = now.u_y * utc.inflation
    unsure = COVERAGE_FACTOR * u_y + abs(now.y - coordination.y_steer) + rate_doubt
    return min(max(HOST_RATE_LIMIT_LEAST, real.rate_limit + unsure), LARGEST_GROWTH)


def holdover_remaining_s(
    state: LaboratoryState,
    config: LaboratoryConfig,
    scale_step: ScaleStep,
    coordination: Coordination,
    *,
    bound_limit_s: float,
) -> float:
    """Return how long (s, at most `FOREVER_S`) the bound stays within a limit from the state's epoch on if nothing more
    is heard; 0 where it is not within it now, or where there is no bound.
    """
    utc, host = state.utc, state.host
    if utc is None or host is None or bound_at(state, config, scale_step, coordination, ahead_s=0.0) > bound_limit_s:
        return 0.0
    if bound_at(state, config, scale_step, coordination, ahead_s=FOREVER_S) <= bound_limit_s:
        return FOREVER_S
    low_s, high_s = 0.0, FOREVER_S
    for _ in range(HALVINGS):
        middle_s = (low_s + high_s) / 2.0
        is_within = bound_at(state, config, scale_step, coordination, ahead_s=middle_s) <= bound_limit_s
        low_s, high_s = (middle_s, high_s) if is_within else (low_s, middle_s)
    return low_s


def bound_at(
    state: LaboratoryState,
    config: LaboratoryConfig,
    scale_step: ScaleStep,
    coordination: Coordination,
    *,
    ahead_s: float,
) -> float:
    """Return the bound (s) that holdover will state `ahead_s` after the state's epoch if nothing is heard until then;
    infinite where there is none. Nothing at all: an ensemble's clocks and the host's readings are silent too, so that
    this is what doors do without their laboratory, and far less than the scale itself would last.

    A scale of one is steered onto its own prediction meanwhile, so that nothing of the steering is left; an ensemble
    holds its rate.
    """
    if state.utc is None or state.host is None:
        return float("inf")
    epoch_ns = state.epoch_ns + round(ahead_s * 1e9)
    in_use = state.noise if state.wander is None else holdover.noise_of(state.wander, state.noise)
    wander = () if state.wander is None else holdover.variances_s2(state.wander, state.noise)
    host = replace(state.host, epoch_ns=epoch_ns) if config.is_host_alone else state.host
    laid = terms(
        state.utc,
        utc_prediction.ahead(state.utc, in_use, epoch_tai_ns=epoch_ns),
        coordination,
        realization.realize(host, coordination, config.host_noise, epoch_ns=epoch_ns),
        scale_step,
        members=config.members,
        wander=wander,
        until_s=config.silence_s,
    )
    return bound(replace(laid, limit_steering_s=0.0) if wander else laid).bound_s
