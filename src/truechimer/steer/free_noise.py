"""Free noise: what is expected of the scale against UTC, from what the ensemble has learned of its clocks.

It learns nothing. Clocks are taken as independent.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.clocks.state_model import SECONDS_PER_DAY, two_state_noise
from truechimer.steer import scale_noise
from truechimer.steer.delayed_filter import DAY_S, FreeNoise

LEAST_RATIO = 0.05
"""However quiet a clock looks against the others, no less than this part of its kind's variance is expected of it."""

LEAST_WHITE = {ClockKind.FOUNTAIN: 1.9e-13}
"""White FM (ADEV at 1 s) that is expected of a kind at least, where nothing is declared: 6.5e-16 at a day. A clock that
is better over days than all that it is compared with is not learned from them: of a fountain with two masers, of 8e-16,
half of the variance was believed to be theirs, and the scale had 2.5 times the variance that was expected at 5 d.
"""

LEAST_PART = 1e-3
"""Where the fit finds no white FM or no random walk, this part of a clock's is taken: a bank of filters has levels of
something.
"""

LEARNED_FLOOR2 = 0.75
"""Of a learned floor squared so much is expected: it comes out 1.1 (masers) to 1.7 times (caesiums) as large as it is.
"""

DRIFT_TAU_S = 10.0 * DAY_S
YOUNG_S, YOUNGEST_S, FADES_WITHIN = 40.0 * DAY_S, 20.0 * DAY_S, 0.7
"""At this age a scale drifts by twice what its ensemble says of itself; the drift fades within so many ages. Measured
(`design/holdover`): the second difference of UTC minus the scale falls as 1/age from 30 to 105 d.
"""

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
    u_drift: Sequence[float],
    age_s: float,
) -> FreeNoise:
    """Return what is expected of a scale whose clocks were learned.

    `noise`: of each clock white PM (s^2), white FM (s^2/s), floor squared, random-walk FM (1/s); `weight`: at present
    (0: carries none); `u_drift`: one sigma of each drift (1/s), not a number where there is none; `age_s`: since when
    the scale has learned.

    At every averaging time the clocks count as they are good there, as the ensemble weighs them (`scale_noise`): with
    the weights of months, flicker came out nine times as large as it is where masers and caesiums are together.

    Drift: what is left of each when the clocks' own were taken away. It fades as they become better known, over a time
    that is near the scale's age, and is larger at first than the ensemble says of itself.
    """
    levels: list[tuple[float, float, float]] = []
    drift2: list[float] = []
    spread2, usual_q1, usual_q2 = 0.0, 0.0, 0.0
    for clock, of_clock, now, u in zip(clocks, noise, weight, u_drift, strict=True):
        if not now:
            continue
        of = two_state_noise(clock)
        least = 0.0 if of.declared else LEAST_WHITE.get(clock.kind, 0.0)
        levels.append(
            (
                max(of_clock[1], LEAST_RATIO * of.q1, least * least),
                max(LEARNED_FLOOR2 * of_clock[2], LEAST_RATIO * of.floor * of.floor),
                max(of_clock[3], LEAST_RATIO * of.q2),
            )
        )
        drift2.append(u * u if u == u and u < 1.0 else 0.0)  # noqa: PLR0124 - not learned
        spread2 += now * now * of.y_spread * of.y_spread
        usual_q1 += now * now * of.q1
        usual_q2 += now * now * of.q2
    if not levels:
        return of_kinds(clocks)
    share = [1.0 / (q1 / DRIFT_TAU_S + floor2 + q2 * DRIFT_TAU_S / 3.0) for q1, floor2, q2 in levels]
    whole, of_drift2 = 0.0, 0.0
    for each in share:
        whole += each
    for each, square in zip(share, drift2, strict=True):
        of_drift2 += each * each / (whole * whole) * square
    young = YOUNG_S / max(age_s, YOUNGEST_S)
    drift = sqrt(of_drift2) * (1.0 + young * young)
    # what is wrong with the drifts is a state of its own here, and no part of the random walk
    found = scale_noise.free_noise(tuple(levels), y_spread=sqrt(spread2), drift_spread=drift, excess=1.0)
    return replace(
        found,
        q1=max(found.q1, LEAST_PART * usual_q1),
        q2=max(found.q2, LEAST_PART * usual_q2),
        q3=2.0 * drift * drift / (FADES_WITHIN * max(age_s, YOUNGEST_S)),
    )
