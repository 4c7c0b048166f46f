"""The statistics by name, for those who choose one by a word: the command, the dynamic surface, the hat.

It computes nothing.
"""

from truechimer.stability.deviations import ADEV, HDEV, MDEV, OADEV, OHDEV, TDEV
from truechimer.stability.parabolic import PDEV
from truechimer.stability.statistics import Statistic
from truechimer.stability.theo import THEO1
from truechimer.stability.time_error import MTIE, TIERMS
from truechimer.stability.total import HTOTDEV, MTOTDEV, TOTDEV, TTOTDEV

STATISTICS: dict[str, Statistic] = {
    each.name: each
    for each in (
        *(ADEV, OADEV, MDEV, TDEV, HDEV, OHDEV),
        *(TOTDEV, MTOTDEV, TTOTDEV, HTOTDEV),
        *(THEO1, PDEV, MTIE, TIERMS),
    )
}
TIMES = frozenset({"tdev", "ttotdev", "mtie", "tierms"})
"""Statistics whose value is in seconds; the others are fractional frequencies."""
