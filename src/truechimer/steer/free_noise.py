"""Free noise: what is expected of the scale against UTC, from what the ensemble has learned of its clocks.

It learns nothing. Clocks are taken as independent: variances add with squared weights, white FM with the weights at the
shortest averaging times, what lasts with those over months.
"""

from collections.abc import Sequence
from math import sqrt

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.clocks.state_model import SECONDS_PER_DAY, two_state_noise
from truechimer.steer.delayed_filter import FreeNoise

LEAST_RATIO = 0.05
"""However quiet a clock looks against the others, no less than this part of its kind's variance is expected of it."""


DRIFT_PER_DAY: dict[ClockKind, float] = {
    ClockKind.MASER: 3e-16,
    ClockKind.RUBIDIUM: 1e-13,
    ClockKind.OSCILLATOR: 1e-11,
    ClockKind.HOST: 1e-10,
    ClockKind.LINK: 1e-12,
}
"""Typical drift of y (1/d) of a kind, one sigma; caesiums and fountains do not drift by what can be seen."""


def of_kinds(clocks: Sequence[Clock]) -> FreeNoise:
    """Return what the clocks' kinds (or declarations) let expect of a scale that they make with equal weights."""
    share = 1.0 / len(clocks)
    q1, floor2, q2, spread2, drift2 = 0.0, 0.0, 0.0, 0.0, 0.0
    for clock in clocks:
        of = two_state_noise(clock)
        drift = share * DRIFT_PER_DAY.get(clock.kind, 0.0) / SECONDS_PER_DAY
        drift2 += drift * drift
        q1 += share * share * of.q1
        floor2 += share * share * of.floor * of.floor
        q2 += share * share * of.q2
        spread2 += share * share * of.y_spread * of.y_spread
    return FreeNoise(q1=q1, q2=q2, floor2=floor2, y_spread=sqrt(spread2), drift_spread=sqrt(drift2))


def of_ensemble(
    clocks: Sequence[Clock],
    noise: Sequence[Sequence[float]],
    *,
    weight: Sequence[float],
    weight_month: Sequence[float],
    u_drift: Sequence[float],
) -> FreeNoise:
    """Return what is expected of a scale whose clocks were learned.

    `noise`: of each clock white PM (s^2), white FM (s^2/s), floor squared, random-walk FM (1/s); `weight`,
    `weight_month`: at the shortest averaging times and over months; `u_drift`: one sigma of each drift (1/s).
    """
    q1, floor2, q2, spread2, drift2, total = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for clock, levels, now, month, u in zip(clocks, noise, weight, weight_month, u_drift, strict=True):
        of = two_state_noise(clock)
        total += abs(month)
        q1 += now * now * max(levels[1], LEAST_RATIO * of.q1)
        floor2 += month * month * max(levels[2], LEAST_RATIO * of.floor * of.floor)
        q2 += month * month * max(levels[3], LEAST_RATIO * of.q2)
        spread2 += month * month * of.y_spread * of.y_spread
        drift2 += month * month * u * u if u == u and u < 1.0 else 0.0  # noqa: PLR0124 - not learned
    if total <= 0.0:
        return of_kinds(clocks)
    return FreeNoise(q1=q1, q2=q2, floor2=floor2, y_spread=sqrt(spread2), drift_spread=sqrt(drift2))
