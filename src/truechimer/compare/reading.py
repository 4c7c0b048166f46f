"""One reading: a clock minus another clock (or minus a source that claims UTC) at an epoch, at the reference plane.

Readings are objects at the edge only; inside the fold an epoch is arrays (`EpochReadings`).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """`x_a_minus_b_s`: reading of a minus reading of b, seconds, at the same instant.

    `epoch_tai_ns`: ns since 1970-01-01T00:00:00 TAI. `u_s`: one sigma of the reading's own noise. `limit_s`: a limit on what no averaging
    removes (half the round trip of a network link, an uncalibrated delay); 0 where the laboratory states none. `operator` groups the
    sources that one hand could move together. `calibration_id` names the delays that were applied.
    """

    epoch_tai_ns: int
    a: str
    b: str
    x_a_minus_b_s: float
    u_s: float
    limit_s: float = 0.0
    operator: str = ""
    calibration_id: str = ""
