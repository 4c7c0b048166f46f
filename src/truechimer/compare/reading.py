"""Readings: a clock minus another clock (or a source that claims UTC minus a clock) at an epoch, at the reference
plane.

It does not judge them (`cleaning`) and does not join them (`pivot`). A `Reading` is an object at the edge only; inside
the fold an epoch is arrays over the register's links (`EpochReadings`), a missing reading being NaN there and absent
everywhere else.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.register import Register

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """`x_a_minus_b_s`: reading of a minus reading of b, seconds, at the same instant.

    `epoch_tai_ns`: ns since 1970-01-01T00:00:00 TAI. `u_s`: one sigma of the reading's own noise. `limit_s`: a limit on
    what no averaging removes (half the round trip of a network link, an uncalibrated delay); 0 where the laboratory
    states none. `operator` groups the sources that one hand could move together. `calibration_id` names the delays that
    were applied.
    """

    epoch_tai_ns: int
    a: str
    b: str
    x_a_minus_b_s: float
    u_s: float
    limit_s: float = 0.0
    operator: str = ""
    calibration_id: str = ""


@dataclass(frozen=True, slots=True)
class EpochReadings:
    """All readings of one epoch, shape `(n_links,)` in the register's order of links.

    `x_a_minus_b_s`: seconds, NaN where the link gave no reading; `u_s`: one sigma; `limit_s`: limit of the systematic
    part; `age_s`: how long before the epoch the reading was valid (links to other laboratories deliver late; clock
    comparisons never do).
    """

    epoch_tai_ns: int
    x_a_minus_b_s: Floats
    u_s: Floats
    limit_s: Floats
    age_s: Floats


def to_epoch_readings(readings: Iterable[Reading], register: Register, *, epoch_tai_ns: int) -> EpochReadings:
    """Lay the readings of one epoch into arrays over the register's links.

    A pair that the register knows the other way round is turned (sign changed). Of two readings of one link the later
    counts. Raises `UnknownLinkRejected` for a pair that the register does not hold: grow it first
    (`Register.with_links`).
    """
    n = len(register.links)
    x, u, limit, age = np.full(n, np.nan), np.zeros(n), np.zeros(n), np.zeros(n)
    for reading in readings:
        index, sign = register.link_index(reading.a, reading.b)
        age_s = (epoch_tai_ns - reading.epoch_tai_ns) / 1e9
        if np.isfinite(x[index]) and age_s > age[index]:
            continue
        x[index] = sign * reading.x_a_minus_b_s
        u[index] = reading.u_s
        limit[index] = reading.limit_s
        age[index] = age_s
    return EpochReadings(epoch_tai_ns, x, u, limit, age)
