"""Daily values: what came from outside, one mean a day, as `foresight` learns from it.

It judges nothing: what was believed comes in. Values of one day share what their paths do on that day, so that their
mean is never said to be better than a fifth of one of them. Kept are `MOST_DAYS` days.
"""

from dataclasses import dataclass, replace
from math import sqrt

from truechimer.steer.foresight import Value

DAY_NS = 86_400 * 10**9
MOST_DAYS = 200
"""A scale of half a year ago was made of other weights; and it takes as long to learn from each day."""
MOST_INDEPENDENT = 25.0
LEAST_SETTLED_NS = 20 * DAY_NS


@dataclass(frozen=True, slots=True)
class DailyValues:
    """`days`: the means of days that are over; of `day` (number since 1970 TAI) so far: the sum of weights 1/u^2 and
    the sums of weight times x (s) and times ns since that day's beginning; `least_u_s`: sigma of its best value.
    """

    days: tuple[Value, ...] = ()
    day: int = 0
    weight: float = 0.0
    weighted_x: float = 0.0
    weighted_ns: float = 0.0
    least_u_s: float = 0.0


NOTHING = DailyValues()


def heard(known: DailyValues, *, epoch_ns: int, x_s: float, u_s: float) -> DailyValues:
    """Take a value in: UTC minus the scale (s) at an epoch (ns TAI), one sigma `u_s`."""
    day = epoch_ns // DAY_NS
    if day != known.day:
        known = DailyValues(values(known)[-MOST_DAYS:], day)
    u = max(u_s, 1e-15)
    weight = 1.0 / (u * u)
    return replace(
        known,
        weight=known.weight + weight,
        weighted_x=known.weighted_x + weight * x_s,
        weighted_ns=known.weighted_ns + weight * float(epoch_ns - day * DAY_NS),
        least_u_s=u if known.weight == 0.0 else min(known.least_u_s, u),
    )


def values(known: DailyValues) -> tuple[Value, ...]:
    """Return all means, that of the day under way last."""
    if known.weight <= 0.0:
        return known.days
    u_s = max(1.0 / sqrt(known.weight), known.least_u_s / sqrt(MOST_INDEPENDENT))
    at_ns = known.day * DAY_NS + round(known.weighted_ns / known.weight)
    return (*known.days, Value(at_ns, known.weighted_x / known.weight, u_s))


def settled(told: tuple[Value, ...], *, begun_ns: int) -> tuple[Value, ...]:
    """Return the values since the scale that began at `begun_ns` (TAI) was half as old as it is at the last one, and
    those of the last `LEAST_SETTLED_NS`.

    An ensemble that has learned less is another scale, and a worse one: with its values the drift of the present one
    was foreseen a fifth worse after 90 d of learning.
    """
    if not told:
        return ()
    last_ns = told[-1].epoch_ns
    since_ns = min((begun_ns + last_ns) // 2, last_ns - LEAST_SETTLED_NS)
    return tuple([value for value in told if value.epoch_ns >= since_ns])
