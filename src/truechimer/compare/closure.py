"""Closure: around a closed loop of comparisons the readings must add up to zero; what does not is named.

It looks only at redundant paths (links that `pivot` did not need). With one spare link a broken loop is seen but not
located; the finding therefore names the link that does not fit the path taken, and says how many sigma.
"""

from dataclasses import dataclass

import numpy as np

from truechimer.clocks.register import Register
from truechimer.compare.pivot import AgainstPivot
from truechimer.compare.reading import EpochReadings

CLOSURE_SIGMAS = 5.0
"""A loop whose sum exceeds this many sigma (and its declared limits) does not close."""


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """A spare link that contradicts the path taken: `misclosure_s` = link minus path (s), `allowed_s` what noise and
    limits explain.
    """

    link: int
    misclosure_s: float
    allowed_s: float


def check(
    readings: EpochReadings, found: AgainstPivot, register: Register, *, sigmas: float = CLOSURE_SIGMAS
) -> tuple[OpenLoop, ...]:
    """Return the loops that do not close at this epoch, in link order; empty where there are no redundant paths."""
    if not found.spare.any():
        return ()
    loops = []
    for j in np.flatnonzero(found.spare).tolist():
        if readings.age_s[j] > 0.0:
            continue  # a late value and a present path are not one loop
        a, b = register.links[j].a, register.links[j].b
        path = float(found.x_node_minus_pivot_s[a] - found.x_node_minus_pivot_s[b])
        misclosure = float(readings.x_a_minus_b_s[j]) - path
        variance = float(found.u2_s2[a] + found.u2_s2[b] + readings.u_s[j] * readings.u_s[j])
        allowed = sigmas * float(np.sqrt(variance)) + float(found.limit_s[a] + found.limit_s[b] + readings.limit_s[j])
        if np.isfinite(misclosure) and abs(misclosure) > allowed:
            loops.append(OpenLoop(j, misclosure, allowed))
    return tuple(loops)
