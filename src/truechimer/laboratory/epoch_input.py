"""What one epoch brings into the fold: readings, what receivers say of themselves, and the host's raw counter where the
host is read. Nothing else reaches the line.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from truechimer.clocks.register import Register
from truechimer.compare.reading import EpochReadings, Reading, to_epoch_readings
from truechimer.laboratory.receiving import Evidence
from truechimer.watch.leap_vote import Voice

LATE_S = 6 * 3_600.0
"""A reference's reading that is older than this came late; of such ones each counts, not the newest alone."""


@dataclass(frozen=True, slots=True)
class LateReading:
    """What a source of UTC said of an epoch long ago: `link` of the register, a minus b of that link at
    `epoch_tai_ns`.
    """

    link: int
    epoch_tai_ns: int
    x_a_minus_b_s: float
    u_s: float


@dataclass(frozen=True, slots=True)
class EpochInput:
    """`readings`: arrays over the register's links at one epoch (TAI ns, the host's label where the host is read).

    `raw_ns`: the host's raw counter at the epoch, None where the epoch lies in the past (history, an old file): then no
    clock page comes of it. `stratum`: what the NTP door may say (1, or one more than the sources'). `late`: values of
    references that came late, in order of time. `evidence`: what receivers said of themselves, in the order in which it
    was heard. `leap_voices`: what is announced of leap seconds, None: the same as before.
    """

    readings: EpochReadings
    raw_ns: int | None = None
    stratum: int = 1
    late: tuple[LateReading, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    leap_voices: tuple[Voice, ...] | None = None


def epoch_input(
    readings: Iterable[Reading],
    register: Register,
    *,
    epoch_tai_ns: int,
    raw_ns: int | None = None,
    stratum: int = 1,
    evidence: tuple[Evidence, ...] = (),
    leap_voices: tuple[Voice, ...] | None = None,
) -> EpochInput:
    """Lay the readings that are known at one epoch into an `EpochInput`; the register must hold their links."""
    given = tuple(readings)
    late = [
        LateReading(index, reading.epoch_tai_ns, sign * reading.x_a_minus_b_s, reading.u_s)
        for reading in given
        if epoch_tai_ns - reading.epoch_tai_ns > LATE_S * 1e9
        for index, sign in (register.link_index(reading.a, reading.b),)
    ]
    late.sort(key=lambda one: (one.epoch_tai_ns, one.link))
    laid = to_epoch_readings(given, register, epoch_tai_ns=epoch_tai_ns)
    return EpochInput(laid, raw_ns, stratum, tuple(late), evidence, leap_voices)
