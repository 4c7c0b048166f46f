"""Clock noise: what is expected of each clock against UTC, from its kind, its declaration and what was learned of it.

It learns nothing. See `free_noise` for the scale that the clocks make.
"""

from collections.abc import Sequence
from dataclasses import replace

from truechimer.clocks.clock import Clock
from truechimer.clocks.state_model import SECONDS_PER_DAY, two_state_noise
from truechimer.steer.clock_states import ClockNoise
from truechimer.steer.free_noise import DRIFT_PER_DAY, LEAST_RATIO

LEAST_DRIFT = 1e-17 / SECONDS_PER_DAY
DECLARED_PART = 0.1
"""One sigma of a drift that was stated, in parts of it: drifts are stated in round numbers, and change."""


def of_clock(clock: Clock, learned: Sequence[float] | None = None) -> ClockNoise:
    """Return the noise of a clock. `learned`: white PM (s^2), white FM (s^2/s), floor squared, random-walk FM (1/s) as
    the ensemble has learned them, None where it has not.
    """
    of = two_state_noise(clock)
    stated = clock.noise.drift_per_day
    if stated is None:
        drift, spread = 0.0, DRIFT_PER_DAY.get(clock.kind, 0.0) / SECONDS_PER_DAY
    else:
        drift, spread = stated / SECONDS_PER_DAY, DECLARED_PART * abs(stated) / SECONDS_PER_DAY
    floor2 = of.floor * of.floor
    found = ClockNoise(
        q1=of.q1,
        q2=of.q2,
        floor2=floor2,
        y_spread=of.y_spread,
        drift=drift,
        drift_spread=max(spread, LEAST_DRIFT),
    )
    if learned is None:
        return found
    reading, white, floor, walk = learned
    return replace(
        found,
        q1=max(white, LEAST_RATIO * of.q1),
        floor2=max(floor, LEAST_RATIO * floor2),
        q2=max(walk, LEAST_RATIO * of.q2),
        reading_s2=reading,
    )
