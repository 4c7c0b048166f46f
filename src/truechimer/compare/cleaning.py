# mypy: allow-untyped-defs, allow-untyped-calls
"""Cleaning: each reading is marked good, outlier, step or gap, with the reason; nothing is deleted and nothing is
changed.

It judges a link by that link's own past alone (value, rate and noise learned reading by reading), never by the scale
that the reading will feed: a detection that reads the scale it protects sees nothing. Whether a marked clock loses its
vote is `scale.detection`'s.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truechimer.compare.reading import EpochReadings
from truechimer.kernel import kernel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OUTLIER_SIGMAS = 6.0
"""A reading further than this from the link's own extrapolation is marked. One in 5e8 for Gaussian noise."""

FROZEN_CHANCE = 1e-9
"""A run of equal values is called frozen when the link's own habit of repeating makes it rarer than this."""

LARGEST_X_S = 1e10
LARGEST_U_S = 1e6
"""Beyond these a reading is no comparison of clocks: three centuries apart, or noise of days. It carries nothing, and
its squares would drown what the other links say.
"""

MINIMUM_HISTORY = 8
"""Readings of a link before its noise is known well enough to mark outliers."""


class Quality(IntEnum):
    """The mark of one reading; `GAP` is a reading that is not there, or that carries nothing (not finite, frozen)."""

    GOOD = 0
    OUTLIER = 1
    STEP = 2
    GAP = 3


class Because(IntEnum):
    """The reason of a mark."""

    NOTHING = 0
    MISSING = 1
    FROZEN = 2
    OFF_EXTRAPOLATION = 3
    OFF_AGAIN = 4
    ABSURD = 5


REASONS = {
    Because.NOTHING: "",
    Because.MISSING: "no reading",
    Because.FROZEN: "the same value again and again",
    Because.OFF_EXTRAPOLATION: "far from the link's own extrapolation",
    Because.OFF_AGAIN: "at a new level for the second time",
    Because.ABSURD: "no value that two clocks can differ by",
}


@dataclass(frozen=True, slots=True)
class LinkHistory:
    """What one link's past says of its next reading; every array has shape `(n_links,)`.

    `epoch_ns` (TAI), `x_s` and `rate` of the last usable reading; `variance_per_s` (s^2/s): squared extrapolation error
    per second beyond the declared noise; `off_s`: size of the last reading's deviation where it was marked, else 0;
    `repeat_chance`: learned chance that a reading equals the one before; `run_repeat`: that chance when the present run
    of equal values began (the run shall not excuse itself), and `run_chance` what it makes of the run; `n`: readings so
    far.
    """

    epoch_ns: Ints
    x_s: Floats
    rate: Floats
    variance_per_s: Floats
    off_s: Floats
    repeat_chance: Floats
    run_repeat: Floats
    run_chance: Floats
    n: Ints

    @staticmethod
    def empty(n_links: int) -> "LinkHistory":
        """Return the history of links that have given nothing yet."""
        return LinkHistory(
            epoch_ns=np.zeros(n_links, np.int64),
            x_s=np.zeros(n_links),
            rate=np.zeros(n_links),
            variance_per_s=np.zeros(n_links),
            off_s=np.zeros(n_links),
            repeat_chance=np.full(n_links, 1e-3),
            run_repeat=np.full(n_links, 1e-3),
            run_chance=np.ones(n_links),
            n=np.zeros(n_links, np.int64),
        )

    def arrays(self) -> tuple[Any, ...]:
        """Return the arrays in the order of their names above."""
        return (
            self.epoch_ns,
            self.x_s,
            self.rate,
            self.variance_per_s,
            self.off_s,
            self.repeat_chance,
            self.run_repeat,
            self.run_chance,
            self.n,
        )

    def grown(self, n_links: int) -> "LinkHistory":
        """Return the history with room for more links."""
        more = LinkHistory.empty(n_links - len(self.n))
        return LinkHistory(*(np.concatenate([getattr(self, name), getattr(more, name)]) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Marks:
    """`quality` and `because`, int64 `(n_links,)` (see `Quality`, `Because`); `off_s`: distance from the link's own
    extrapolation.
    """

    quality: Ints
    because: Ints
    off_s: Floats


@kernel
def mark(  # noqa: PLR0917
    epoch_ns,
    age,
    x,
    u,
    last_ns,
    last_x,
    rate,
    variance,
    off,
    repeat,
    run_repeat,
    run,
    n,
    sigmas,
    frozen_chance,
    minimum,
):
    """Mark every link and carry its history on; see `classify`."""
    count = x.shape[0]
    quality = np.zeros(count, np.int64)
    because = np.zeros(count, np.int64)
    distance = np.zeros(count)
    last_ns, last_x, rate, variance = last_ns.copy(), last_x.copy(), rate.copy(), variance.copy()
    off, repeat, run_repeat, run, n = off.copy(), repeat.copy(), run_repeat.copy(), run.copy(), n.copy()
    for j in range(count):
        if not np.isfinite(x[j]):
            quality[j], because[j] = 3, 1
            continue
        if not (abs(x[j]) <= LARGEST_X_S and 0.0 <= u[j] <= LARGEST_U_S):
            quality[j], because[j] = 3, 5
            continue
        now = epoch_ns - np.int64(age[j] * 1e9)
        if n[j] == 0:
            last_ns[j], last_x[j], n[j] = now, x[j], 1
            continue
        dt = (now - last_ns[j]) / 1e9
        if dt <= 0.0:
            quality[j], because[j] = 3, 1
            continue
        same = x[j] == last_x[j]
        if same:
            if run[j] == 1.0:
                run_repeat[j] = repeat[j]
            run[j] = run[j] * run_repeat[j]
            repeat[j] = repeat[j] + 0.01 * (1.0 - repeat[j])
            if run[j] < frozen_chance:
                quality[j], because[j] = 3, 2
                continue
        else:
            run[j] = 1.0
            repeat[j] = max(1e-3, repeat[j] - 0.01 * repeat[j])
        noise = 2.0 * u[j] * u[j]
        error = x[j] - (last_x[j] + rate[j] * dt)
        distance[j] = error
        limit = sigmas * np.sqrt(variance[j] * dt + noise + 1e-30)
        known = n[j] >= minimum
        if known and abs(error) > limit:
            if off[j] != 0.0 and abs(error - off[j]) <= limit:
                quality[j], because[j] = 2, 4
                off[j] = 0.0
            else:
                # the first reading off is only marked: the history waits for the next one to say "glitch" or "step"
                quality[j], because[j] = 1, 3
                off[j] = error
                continue
        else:
            off[j] = 0.0
            gain = 1.0 / min(n[j], 200) if n[j] < 200 else 0.005
            excess = max(error * error - noise, 0.05 * error * error) / dt
            variance[j] = variance[j] + gain * (excess - variance[j])
            span = dt * min(n[j], 50)
            rate[j] = rate[j] + (dt / span) * ((x[j] - last_x[j]) / dt - rate[j])
        last_ns[j], last_x[j] = now, x[j]
        n[j] = n[j] + 1
    return quality, because, distance, last_ns, last_x, rate, variance, off, repeat, run_repeat, run, n


def classify(readings: EpochReadings, history: LinkHistory) -> tuple[Marks, LinkHistory]:
    """Mark the readings of one epoch and return the history that the next epoch starts from."""
    kernels: Any = mark
    out = kernels(
        readings.epoch_tai_ns,
        readings.age_s,
        readings.x_a_minus_b_s,
        readings.u_s,
        *history.arrays(),
        OUTLIER_SIGMAS,
        FROZEN_CHANCE,
        MINIMUM_HISTORY,
    )
    return Marks(out[0], out[1], out[2]), LinkHistory(*out[3:])
