"""[[receiver]] of LAB.toml: a satellite receiver whose own messages say how far the readings of its link are believed.

It reads nothing (`daemon.sources.receiver_feed` does) and judges nothing (`compare.receiver_quality`).
"""

from dataclasses import dataclass, field

from truechimer.compare.receiver_quality import Limits
from truechimer.daemon.lab.settings import NAME_PATTERN, NAME_WORDS, says

_USUAL = Limits()
BAUDS = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600, 1000000, 2000000, 4000000)
"""Speeds of a serial line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSettings:
    """One receiver."""

    name: str = field(
        metadata=says(
            "name of the receiver",
            "alarms name the wrong receiver",
            pattern=NAME_PATTERN,
            means=NAME_WORDS,
            example='"rx1"',
        )
    )
    link: str = field(
        metadata=says(
            "the link whose readings it judges: UTC or UTC.<name>, as the readings name it",
            "readings of a receiver that is led away are believed",
            example='"UTC.gnss"',
        )
    )
    path: str = field(
        metadata=says(
            "its messages (UBX, or NMEA): a file that grows, a pipe or a serial device, relative to this file",
            "its readings are doubtful for ever",
            example='"/dev/ttyACM0"',
        )
    )
    baud: int | None = field(
        default=None,
        metadata=says(
            "speed of a serial device; left as it is where absent",
            "no message is understood",
            unit="1/s",
            min=1200,
            max=4_000_000,
        ),
    )
    latitude_deg: float | None = field(
        default=None,
        metadata=says(
            "of the antenna as surveyed, with longitude_deg and height_m; learned from the first positions if absent",
            "a position that was false from the beginning is learned",
            unit="deg",
            min=-90.0,
            max=90.0,
        ),
    )
    longitude_deg: float | None = field(
        default=None,
        metadata=says("see latitude_deg; east is positive", "as there", unit="deg", min=-360.0, max=360.0),
    )
    height_m: float | None = field(
        default=None,
        metadata=says(
            "of the antenna above the ellipsoid (WGS 84), not above the sea", "as there", unit="m", min=-1e3, max=2e4
        ),
    )
    on_laboratory_clock: bool = field(
        default=False,
        metadata=says(
            "true: it runs on the laboratory's own frequency, so that its clock bias is that of the laboratory's clock",
            "true for another: the drift of its crystal is taken for a drag",
        ),
    )
    averages_s: float = field(
        default=0.0,
        metadata=says(
            "over how long a reading of the link averages, around its epoch (780 for CGGTTS tracks)",
            "too short: a reading that holds refused minutes is used",
            unit="s",
            min=0.0,
            max=86400.0,
        ),
    )
    every_s: float = field(
        default=10.0,
        metadata=says(
            "its messages of so long become one entry of the records, with the worst of its flags",
            "too short: the records grow by a kilobyte each time; too long: what is wrong is seen late",
            unit="s",
            min=0.1,
            max=600.0,
        ),
    )
    clock_limit_s: float = field(
        default=_USUAL.clock_s,
        metadata=says(
            "the laboratory's time minus the pulse may leave its past by this, or by 12 sigma of a reading",
            "too small: an ionospheric storm is refused; too large: a step of that size is used",
            unit="s",
            exclusive_min=0.0,
            max=1.0,
        ),
    )
    clock_rate: float = field(
        default=_USUAL.clock_rate,
        metadata=says(
            "how fast the laboratory's scale against the pulse may honestly move",
            "too small: a clock that wanders accuses the receiver; too large: a faster drag is followed",
            unit="1",
            exclusive_min=0.0,
            max=1e-6,
        ),
    )
    utc_minus_gps_s: float = field(
        default=_USUAL.utc_minus_gps_s,
        metadata=says(
            "UTC minus GPS time of a bulletin, whole seconds left out; the broadcast one is held against it",
            "wrong UTC parameters pass, or right ones are refused",
            unit="s",
            min=-1e-5,
            max=1e-5,
        ),
    )
    date_limit_s: float = field(
        default=60.0,
        metadata=says(
            "its date may be off the laboratory's own by this, with the time its messages take to come",
            "too small: what a recorder writes late is refused; too large: a wrong day passes",
            unit="s",
            exclusive_min=0.0,
            max=86400.0,
        ),
    )

    @property
    def is_surveyed(self) -> bool:
        """True where the antenna's place is given."""
        return None not in (self.latitude_deg, self.longitude_deg, self.height_m)
