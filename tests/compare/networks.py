"""Small networks of clocks and links, and epochs of readings over them."""

import numpy as np

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.clocks.register import Register
from truechimer.compare.cleaning import Marks
from truechimer.compare.reading import EpochReadings

NS = 10**9
EPOCH_NS = 1_800_000_000 * NS


def register(clocks: str, *pairs: str, operators: dict[str, str] | None = None) -> Register:
    """`register("A B C", "B-A", "UTC.P-A")`: clocks by name (masers), links as a-b."""
    made = Register(tuple(Clock(name=name, kind=ClockKind.MASER) for name in clocks.split()), (), ())
    return made.with_links([tuple(pair.split("-")) for pair in pairs], operators=operators)


def epoch(
    values: list[float],
    *,
    u_s: float | list[float] = 1e-11,
    limit_s: float = 0.0,
    age_s: list[float] | None = None,
    epoch_ns: int = EPOCH_NS,
) -> EpochReadings:
    """One epoch over all links; NaN where a link gave nothing."""
    n = len(values)
    u = np.full(n, u_s) if isinstance(u_s, float) else np.array(u_s)
    return EpochReadings(epoch_ns, np.array(values), u, np.full(n, limit_s), np.array(age_s or [0.0] * n))


def good(readings: EpochReadings) -> Marks:
    """Marks that call every reading good that is there."""
    n = len(readings.x_a_minus_b_s)
    gaps = np.where(np.isfinite(readings.x_a_minus_b_s), 0, 3).astype(np.int64)
    return Marks(gaps, np.zeros(n, np.int64), np.zeros(n))
