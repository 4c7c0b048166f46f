"""How a clock of each kind behaves: two-state noise (white FM and random-walk FM) and the error of predicting it.

It does not estimate anything: what is declared in the laboratory file replaces the kind's figure, and what the readings
teach replaces both (`scale.weights`). Sources: IEEE 1139; Zucca and Tavella 2005 for the two-state model; figures per
kind are typical data-sheet values.
"""

from dataclasses import dataclass
from functools import lru_cache

from truechimer.clocks.clock import Clock, ClockKind

SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class TwoStateNoise:
    """`q1` (s^2/s): variance per second of x from white FM; `q2` (1/s): variance per second of y from random-walk FM.

    `floor`: ADEV floor (flicker FM), dimensionless. `y_spread`: one sigma of the kind's frequency offset before
    anything is known.
    `drift_per_day`: declared drift of y per day. `declared`: True where the laboratory file states white FM for this
    clock.
    """

    q1: float
    q2: float
    floor: float
    y_spread: float
    drift_per_day: float
    declared: bool

    def prediction_variance(self, tau_s: float, *, memory_s: float) -> float:
        """Return the variance (s^2) of predicting x over `tau_s` with a rate averaged exponentially over `memory_s`.

        White FM and random walk over tau, plus tau^2 times the variance of the averaged rate: q1/(2 memory) of white
        FM, q2 memory/2 of random walk, and the flicker floor, which no memory removes.
        """
        rate_variance = self.q1 / (2.0 * memory_s) + self.q2 * memory_s / 2.0 + 2.0 * self.floor * self.floor
        return self.q1 * tau_s + self.q2 * tau_s * tau_s * tau_s / 3.0 + tau_s * tau_s * rate_variance


# kind: (ADEV at 1 s of white FM, ADEV at 1 s of random-walk FM, flicker floor, spread of y)
_KIND_FIGURES: dict[ClockKind, tuple[float, float, float, float]] = {
    ClockKind.MASER: (1.5e-13, 1.2e-18, 5e-16, 1e-10),
    ClockKind.CAESIUM: (8e-12, 1.2e-18, 5e-15, 1e-11),
    ClockKind.FOUNTAIN: (1.5e-13, 6e-20, 1e-16, 1e-12),
    ClockKind.RUBIDIUM: (6e-12, 3.4e-16, 2e-14, 1e-9),
    ClockKind.OSCILLATOR: (5e-12, 3e-14, 2e-12, 1e-6),
    ClockKind.HOST: (2e-9, 1e-10, 1e-9, 2e-4),
    ClockKind.LINK: (1e-9, 1e-12, 1e-10, 1e-6),
}


@lru_cache(maxsize=1024)
def two_state_noise(clock: Clock) -> TwoStateNoise:
    """Return the clock's noise: declared figures where they stand, the kind's elsewhere."""
    white, walk, floor, spread = _KIND_FIGURES[clock.kind]
    noise = clock.noise
    white = noise.white_fm_1s if noise.white_fm_1s is not None else white
    walk = noise.random_walk_fm_1s if noise.random_walk_fm_1s is not None else walk
    floor = noise.flicker_fm if noise.flicker_fm is not None else floor
    return TwoStateNoise(
        q1=white * white,
        q2=3.0 * walk * walk,
        floor=floor,
        y_spread=spread,
        drift_per_day=noise.drift_per_day or 0.0,
        declared=noise.white_fm_1s is not None,
    )
