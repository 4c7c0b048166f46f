"""What one epoch brings into the fold: readings, and the host's raw counter where the host is read. Nothing else
reaches the line.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from truechimer.clocks.register import Register
from truechimer.compare.reading import EpochReadings, Reading, to_epoch_readings


@dataclass(frozen=True, slots=True)
class EpochInput:
    """`readings`: arrays over the register's links at one epoch (TAI ns, the host's label where the host is read).

    `raw_ns`: the host's raw counter at the epoch, None where the epoch lies in the past (history, an old file): then no
    clock page comes of it. `stratum`: what the NTP door may say (1, or one more than the sources').
    """

    readings: EpochReadings
    raw_ns: int | None = None
    stratum: int = 1


def epoch_input(
    readings: Iterable[Reading], register: Register, *, epoch_tai_ns: int, raw_ns: int | None = None, stratum: int = 1
) -> EpochInput:
    """Lay the readings that are known at one epoch into an `EpochInput`; the register must hold their links."""
    return EpochInput(to_epoch_readings(readings, register, epoch_tai_ns=epoch_tai_ns), raw_ns, stratum)
