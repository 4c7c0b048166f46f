"""Late turn: what published values mean for one epoch of the line: samples of the clocks, the forecast, the order.

It takes no file in (`publishing` does), makes no law (`steer.late_steering`) and no limit (`quorum.envelope`).
Published values decide once offset and rate of UTC minus the scale follow from them; until then the links do, where
there are any.
"""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from truechimer.compare.selection import Combined
from truechimer.laboratory import steering
from truechimer.laboratory.publications import (
    CIRCULAR_PATH,
    DAY_NS,
    GRID_NS,
    HOUR_NS,
    KEPT_NS,
    LINKS_LEAST_S,
    LINKS_PATH,
    NAMES,
    RAPID_PATH,
    LinkMean,
    Publications,
    PublishedSettings,
    Sample,
)
from truechimer.laboratory.steering import Steered
from truechimer.quorum.envelope import Applied, SteeringLimits
from truechimer.quorum.verified import Refused, Verified
from truechimer.scale.state import ScaleStep
from truechimer.steer import clock_by_clock, late_steering
from truechimer.steer.delayed_data import Forecast, LateValue
from truechimer.steer.delayed_filter import PathKind
from truechimer.steer.late_steering import LateParameters
from truechimer.steer.steering_order import Coordination
from truechimer.steer.two_state import TwoState
from truechimer.steer.utc_prediction import UtcPrediction
from truechimer.watch import publications as watched
from truechimer.watch.standing import Standing

UTC_OF_TAI_NS = 37 * 10**9
"""The grid's times are those of UTC as it has been since 2017; a leap second moves them by a second, and no value."""
STALE_NS = {RAPID_PATH: 24 * DAY_NS, CIRCULAR_PATH: 75 * DAY_NS}
"""Where the newest value of every path is older, two publications have not come: the rate is held (holdover)."""
GRIDS_A_DAY = DAY_NS // GRID_NS
LINK_SHARE_S = 3_600.0
"""What links are wrong by lasts so long: values within it are one."""
LAST_VALUES = 60


@dataclass(frozen=True, slots=True)
class Late:
    """Published values at an epoch of a run that is steered by them. `decides`: offset and rate follow from them;
    `has_values`: there are some; `until_ns`: followed until then.
    """

    decides: bool
    has_values: bool
    until_ns: int


def standing(known: Publications | None, settings: PublishedSettings | None, *, observing: bool) -> Late | None:
    """Return what published values are for this epoch; None where they do not steer this run."""
    if known is None or settings is None or not settings.steers or observing:
        return None
    return Late(known.is_known and known.utc is not None, any(known.heard), followed_until_ns(known))


def followed_until_ns(known: Publications) -> int:
    """Return until when (ns TAI) the values that have come are followed, 0 before the first."""
    until = [one.newest_ns + STALE_NS[path] for path, one in enumerate(known.heard) if one is not None]
    marks = reversed(known.history.marks) if known.links is not None else ()
    links_ns = next((mark.at[0] for mark in marks if mark.at[2] == LINKS_PATH), 0)
    return max([*until, links_ns + 3 * DAY_NS if links_ns else 0], default=0)


def turned(
    known: Publications,
    parameters: LateParameters,
    *,
    epoch_ns: int,
    step: ScaleStep,
    x_read_minus_scale_s: NDArray[np.float64],
    combined: Combined | None,
    links: UtcPrediction | None,
) -> Publications:
    """Return it after an epoch's readings: the links' mean of a day, samples of the clocks, the forecast each hour.

    `x_read_minus_scale_s (n_clocks,)`: each clock minus the scale as it was read (NaN: it was not); `combined`: what
    the links agree on at this epoch; `links`: their own prediction, kept beside.
    """
    if combined is not None:
        known = replace(known, mean=_with(known.mean, combined, epoch_ns))
    if links is not known.links:
        known = replace(known, links=links)
    grid = (epoch_ns - UTC_OF_TAI_NS) // GRID_NS
    if grid > known.grid:
        is_new_day = grid // GRIDS_A_DAY > known.grid // GRIDS_A_DAY
        known = _sampled(replace(known, grid=grid), step, x_read_minus_scale_s, epoch_ns)
        if is_new_day:
            known = _links_heard(known, parameters, epoch_ns)
    hour = epoch_ns // HOUR_NS
    return renewed(replace(known, hour=hour), parameters, epoch_ns) if hour > known.hour else known


def lasting(known: Publications, said: frozenset[str], *, epoch_ns: int) -> tuple[Standing, ...]:
    """Return what holds for days: publications that have not come, values that are held back."""
    found = tuple(
        watched.overdue(rhythm, one.arrived_ns, epoch_tai_ns=epoch_ns)
        for rhythm, one in zip(watched.RHYTHMS, known.heard, strict=True)
        if one is not None
    )
    present = [
        watched.HeldBack("scale" if one.path < 0 else NAMES[one.path], one.since_ns, one.says(known.history))
        for one in known.steering.findings
    ]
    if not present and not any(key.startswith(watched.HELD) for key in said):
        return found
    return found + watched.held(present, said, epoch_tai_ns=epoch_ns)


def renewed(known: Publications, parameters: LateParameters, epoch_ns: int) -> Publications:
    """Return it with the forecast made anew for an epoch."""
    is_known = known.is_known
    if not is_known and any(known.heard):
        is_known = late_steering.may_start(known.steering, parameters, epoch_ns=epoch_ns) is not None
    return replace(known, is_known=is_known, utc=_prediction(known, epoch_ns) if is_known else None)


def _with(mean: LinkMean, combined: Combined, epoch_ns: int) -> LinkMean:
    if not mean.n:
        return LinkMean(1, epoch_ns, 0.0, combined.x_utc_minus_scale_s, combined.u_s)
    after_s = (epoch_ns - mean.since_ns) / 1e9
    return LinkMean(
        mean.n + 1,
        mean.since_ns,
        mean.after_s + after_s,
        mean.x_s + combined.x_utc_minus_scale_s,
        mean.u_s + combined.u_s,
    )


def _sampled(
    known: Publications, step: ScaleStep, x_read_minus_scale_s: NDArray[np.float64], epoch_ns: int
) -> Publications:
    """Keep a sample of the clocks."""
    standing = clock_by_clock.standing_of(step.membership, np.isfinite(x_read_minus_scale_s))
    sample = Sample(epoch_ns, step.x_clock_minus_scale_s, x_read_minus_scale_s, standing)
    kept = [one for one in known.samples if one.epoch_ns > epoch_ns - KEPT_NS]
    return replace(known, samples=(*kept, sample), steering=late_steering.sampled(known.steering, sample.of_readings))


def _links_heard(known: Publications, parameters: LateParameters, epoch_ns: int) -> Publications:
    """Take the mean of the links over a day in, as one value. Who is wrong is judged when a publication comes."""
    mean = known.mean
    if not mean.n:
        return known
    at_ns = mean.since_ns + round(mean.after_s / mean.n * 1e9)
    apart = max(1.0, min(float(mean.n), 2.0 * mean.after_s / mean.n / LINK_SHARE_S))
    u_s = max(mean.u_s / mean.n / sqrt(apart), LINKS_LEAST_S)
    value = LateValue(path=LINKS_PATH, epoch_ns=at_ns, value=mean.x_s / mean.n, u=u_s)
    unjudged = replace(parameters, judged=False)
    heard, _ = late_steering.hear(known.steering, (value,), unjudged, epoch_ns=epoch_ns)
    return replace(known, steering=heard, mean=LinkMean())


def _prediction(known: Publications, epoch_ns: int) -> UtcPrediction | None:
    """Return the forecast in the shape that the line uses for links: phase and rate, and how sure they were at the
    newest value. What the laboratory's link may be off by for ever (u_B, as published) is in it.
    """
    history = known.history
    ahead = late_steering.ahead(known.steering, epoch_ns)
    if ahead is None:
        return None
    phases = [
        mark
        for mark in history.marks
        if mark.value is not None and not mark.value.held and history.paths[mark.at[2]].kind is PathKind.PHASE
    ]
    common2 = max([one.u_common_s * one.u_common_s for one in known.heard if one is not None], default=0.0)
    newest = next((mark.after for mark in reversed(phases) if mark.at[0] <= epoch_ns and mark.after), None)
    p_then = min(ahead.p_xx if newest is None else float(newest.p[0, 0]), ahead.p_xx)
    last = phases[-LAST_VALUES:]
    squares = 0.0
    for mark in last:
        squares += mark.sigmas * mark.sigmas
    return UtcPrediction(
        _two_state(ahead, common2, len(phases)),
        0.0,
        newest.epoch_ns if newest is not None else epoch_ns,
        sqrt(max(p_then, 0.0) + common2),
        squares / len(last) if last else 1.0,
        history.marks[0].at[0] if history.marks else epoch_ns,
        7.0 * 86_400.0,
    )


def _two_state(ahead: Forecast, common2: float, n: int) -> TwoState:
    return TwoState(ahead.epoch_ns, ahead.x_s, ahead.y, ahead.p_xx + common2, ahead.p_xy, ahead.p_yy, n)


def steer(
    known: Publications,
    coordination: Coordination | None,
    applied: Applied | None,
    next_steer_ns: int,
    *,
    limits: Verified[SteeringLimits] | Refused,
    parameters: LateParameters,
    following: bool,
    epoch_ns: int,
) -> tuple[Publications, Steered]:
    """Begin the coordination where the forecast is, or give the order that is due; where publications have not come,
    the rate is held.
    """
    unchanged = Steered(coordination, applied, next_steer_ns)
    if isinstance(limits, Refused) or not steering.in_force(limits, epoch_ns) or not following:
        return known, unchanged
    after_ns = epoch_ns + round(parameters.interval_s * 1e9)
    if coordination is None or applied is None:
        start = late_steering.may_start(known.steering, parameters, epoch_ns=epoch_ns)
        if start is None or not limits.value.coordination_start:
            return known, unchanged
        begun = Coordination(epoch_ns, start.x_s, start.y)
        return known, Steered(begun, Applied(start.y, epoch_ns, start.y), after_ns, started=True)
    if epoch_ns < next_steer_ns:
        return known, unchanged
    account = applied.advanced(epoch_ns)
    after, order = late_steering.decide(
        known.steering, coordination, parameters, limits.value, account, epoch_ns=epoch_ns
    )
    known = replace(known, steering=after)
    return known, steering.carried_out(order, limits, coordination, account, after_ns)
