"""The time deviation of a link, its epochs laid on the grid of the tracking schedule, or of a station's sessions.

It compares nothing and judges nothing. The schedule's one gap of 28 minutes a day, and missing epochs, stay empty.
"""

import numpy as np

from truechimer import stability
from truechimer.compare.common_view import SatelliteLink
from truechimer.compare.two_way import TwoWayLink


def tdev_of(link: SatelliteLink | TwoWayLink) -> list[tuple[float, float]] | None:
    """Return (tau in s, TDEV in s) of a link, its epochs laid on the grid of their usual distance (of the schedule,
    16 min); None: too few.

    Missing epochs and the gap of 28 min at the schedule's wrap are left empty.
    """
    if len(link) < 8:
        return None
    steps = np.diff(link.middle_tai_ns)
    grid_ns = int(np.median(steps))
    place = np.round((link.middle_tai_ns - link.middle_tai_ns[0]) / grid_ns).astype(np.int64)
    if grid_ns <= 0 or place[-1] > 1_000_000 or len(set(place.tolist())) != len(place):
        return None
    x = np.full(int(place[-1]) + 1, np.nan)
    x[place] = link.x_a_minus_b_s
    curve = stability.tdev(x, grid_ns * 1e-9, "octave")
    found = [
        (float(tau), float(value))
        for tau, value in zip(curve.tau_s, curve.value, strict=True)
        if np.isfinite(value) and value > 0.0
    ]
    return found or None
