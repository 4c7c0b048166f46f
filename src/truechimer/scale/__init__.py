"""The ensemble time scale: from clocks minus pivot to clocks minus scale, and the weights.

It never steers: UTC(k) = scale + coordination is `steer`'s. Each algorithm is a fold (`at1.start`, `at1.step`);
`replay` runs one over recorded readings.
"""

from truechimer.scale import at1
from truechimer.scale.replay import ScaleSeries, clocks_in, csv_lines, replay
from truechimer.scale.state import Membership, ScaleParameters, ScaleState, ScaleStep

__all__ = [
    "Membership",
    "ScaleParameters",
    "ScaleSeries",
    "ScaleState",
    "ScaleStep",
    "at1",
    "clocks_in",
    "csv_lines",
    "replay",
]
