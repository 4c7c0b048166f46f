"""A steering order: the rate of UTC(k) minus the scale from now on, for how long, and why. Frequency only: time is
never stepped.
"""

import json
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SteeringOrder:
    """`y_steer`: rate of UTC(k) minus the scale, dimensionless; valid from and until ns TAI; `because`: one phrase.

    `cut_by`: the limit that kept the rate from what the law wished (`per-change`, `per-day`, `total`: the one that left
    least), empty where none did; for whoever replays, and in no record.
    """

    y_steer: float
    valid_from_ns: int
    valid_until_ns: int
    because: str
    cut_by: str = field(default="", compare=False)

    @property
    def y(self) -> float:
        """The rate, by the name that `quorum.envelope` uses."""
        return self.y_steer

    def canonical(self) -> bytes:
        """Return the order's canonical JSON."""
        body = {
            "because": self.because,
            "valid_from_tai_ns": str(self.valid_from_ns),
            "valid_until_tai_ns": str(self.valid_until_ns),
            "y_steer": f"{self.y_steer!r} 1",
        }
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Coordination:
    """UTC(k) minus the scale: `x_utck_minus_scale_s` at `epoch_ns` (TAI), and the rate `y_steer` since then."""

    epoch_ns: int
    x_utck_minus_scale_s: float
    y_steer: float

    def at(self, epoch_ns: int) -> float:
        """Return UTC(k) minus the scale (s) at an instant (ns TAI)."""
        return self.x_utck_minus_scale_s + self.y_steer * ((epoch_ns - self.epoch_ns) / 1e9)

    def steered(self, epoch_ns: int, y_steer: float) -> "Coordination":
        """Return the coordination with a new rate from `epoch_ns` on: time itself is continuous."""
        return Coordination(epoch_ns, self.at(epoch_ns), y_steer)
