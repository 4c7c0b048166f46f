"""A clock's identity and its declared noise.

Not its readings and not its state in the ensemble. Noise fields follow IEEE 1139 and NIST SP 1065; absent means "learn
it".
"""

from dataclasses import dataclass, field
from enum import StrEnum

RESERVED_NAMES = frozenset({"UTC", "UTCr", "GPST", "host"})


class ClockKind(StrEnum):
    """What a clock is made of; a `host` is an observer with weight 0 wherever another clock stands beside it."""

    MASER = "maser"
    CAESIUM = "caesium"
    RUBIDIUM = "rubidium"
    OSCILLATOR = "oscillator"
    FOUNTAIN = "fountain"
    HOST = "host"
    LINK = "link"

    @property
    def is_atomic(self) -> bool:
        """True for the kinds whose frequency an atomic transition holds."""
        return self in (ClockKind.MASER, ClockKind.CAESIUM, ClockKind.RUBIDIUM, ClockKind.FOUNTAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseModel:
    """Declared noise of one clock; every field is optional, and what is absent is learned from the readings."""

    white_pm_s: float | None = field(
        default=None,
        metadata={"unit": "s", "min": 0.0, "doc": "rms of x per reading at 1 s", "wrong": "weights too low"},
    )
    flicker_pm_s: float | None = field(
        default=None, metadata={"unit": "s", "min": 0.0, "doc": "TDEV at 1 s", "wrong": "weights too low"}
    )
    white_fm_1s: float | None = field(
        default=None,
        metadata={"unit": "1", "min": 0.0, "doc": "ADEV at 1 s of the white FM", "wrong": "wrong weights at first"},
    )
    flicker_fm: float | None = field(
        default=None, metadata={"unit": "1", "min": 0.0, "doc": "ADEV floor", "wrong": "holdover stated too well"}
    )
    random_walk_fm_1s: float | None = field(
        default=None,
        metadata={
            "unit": "1",
            "min": 0.0,
            "doc": "ADEV at 1 s of the random-walk FM, sqrt(q2/3)",
            "wrong": "holdover stated too well",
        },
    )
    drift_per_day: float | None = field(
        default=None, metadata={"unit": "1/d", "doc": "drift of y per day", "wrong": "the scale bends away from UTC"}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """One clock of the laboratory; `name` is unique in it, `bipm_code` the seven-digit code of the BIPM where it has
    one.
    """

    name: str = field(
        metadata={
            "doc": "name of the clock, as the readings call it",
            "wrong": "its readings are refused",
            "example": '"H1"',
        }
    )
    kind: ClockKind = field(
        metadata={
            "doc": "what it is made of; its typical noise is expected until the readings have taught better",
            "wrong": "wrong weights on the first days",
            "example": '"caesium"',
        }
    )
    bipm_code: int | None = field(
        default=None,
        metadata={"doc": "the BIPM's seven-digit code of the clock", "wrong": "nothing yet; exchange files need it"},
    )
    noise: NoiseModel = field(default_factory=NoiseModel)
