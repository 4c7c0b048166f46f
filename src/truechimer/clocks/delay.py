"""The measured delay of one clock's path from the reference plane to the counter; `compare.delays` applies it."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """The measured delay of one clock's path: `delay_s` (s, positive = late), its uncertainty `u_s` (s), and the
    calibration it is from.
    """

    clock: str = field(
        metadata={
            "doc": "the clock (or host, or UTC.<lab>) whose path it is, as the readings call it",
            "wrong": "another path is corrected",
            "example": '"H1"',
        }
    )
    delay_s: float = field(
        metadata={
            "unit": "s",
            "doc": "delay from the clock to the counter, positive = late",
            "wrong": "a constant offset",
        }
    )
    u_s: float = field(
        default=0.0, metadata={"unit": "s", "min": 0.0, "doc": "uncertainty of the delay", "wrong": "a bound too tight"}
    )
    calibration_id: str = field(
        default="", metadata={"doc": "name of the calibration", "wrong": "no trace of where the delay is from"}
    )
