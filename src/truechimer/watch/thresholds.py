"""Thresholds of monitors that an order may set: their names, units, defaults, and the floors and ceilings that no order
passes, whoever has signed it.

It monitors nothing: each monitor asks for its own. A threshold that an order has set ends with the order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """One threshold: `default` where no order holds (None: the laboratory's file says it), `least` and `most` that an
    order may set; `says`: what it is.
    """

    name: str
    unit: str
    default: float | None
    least: float
    most: float
    says: str

    def refusal(self, value: float, unit: str) -> str | None:
        """Return why an order may not set this value, None where it may."""
        if unit != self.unit:
            return f"{self.name} has the unit {self.unit!r}, not {unit!r}"
        if not self.least <= value <= self.most or (self.unit == "count" and value != int(value)):
            what = "a whole number" if self.unit == "count" else "a number"
            return f"{self.name} may be {what} from {self.least:g} to {self.most:g}, and {value:g} is asked for"
        return None


_TABLE = (
    Threshold(
        name="detection",
        unit="1",
        default=1.0,
        least=0.8,
        most=1.5,
        says="factor on the detector's thresholds, by which a clock is off and loses its vote",
    ),
    Threshold(
        name="closure",
        unit="1",
        default=5.0,
        least=3.0,
        most=10.0,
        says="sigmas beyond which a closed loop of comparisons is said not to close",
    ),
    Threshold(
        name="silence",
        unit="count",
        default=8.0,
        least=3.0,
        most=1000.0,
        says="scale intervals after which a clock that gives no reading is said to be missing",
    ),
    Threshold(
        name="leap-table-expiry",
        unit="s",
        default=14.0 * DAY_S,
        least=DAY_S,
        most=60.0 * DAY_S,
        says="how long before its expiry a leap table is warned of",
    ),
    Threshold(
        name="envelope-expiry",
        unit="s",
        default=14.0 * DAY_S,
        least=DAY_S,
        most=60.0 * DAY_S,
        says="how long before its end a steering envelope is warned of",
    ),
    Threshold(
        name="steering-room",
        unit="1",
        default=0.99,
        least=0.1,
        most=0.99,
        says="part of what an envelope allows in all, from which steering is said to be at its limit",
    ),
    Threshold(
        name="departure",
        unit="s",
        default=3e-9,
        least=1e-9,
        most=1e-3,
        says="departure of the scale from a rapid UTC, from which it is said",
    ),
    Threshold(
        name="host-clock",
        unit="s",
        default=None,
        least=1e-6,
        most=1.0,
        says="how far this machine's own clock may be off UTC before that is said; else the laboratory's file says",
    ),
)
THRESHOLDS: Mapping[str, Threshold] = MappingProxyType({one.name: one for one in _TABLE})
"""Every threshold by name."""


def in_force(set_by_order: Mapping[str, float], name: str, *, otherwise: float | None = None) -> float:
    """Return the threshold in force: that of an order, held to the floor and the ceiling once more, else the default
    (or `otherwise`).
    """
    known = THRESHOLDS[name]
    if name in set_by_order:
        return min(max(set_by_order[name], known.least), known.most)
    default = known.default if otherwise is None else otherwise
    assert default is not None
    return default
