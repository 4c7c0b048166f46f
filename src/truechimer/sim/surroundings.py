"""What moves the clocks from outside their own noise: the room they share, their frequency jumps, other laboratories'
wander.

It knows neither links nor events. All of it depends on the seed and on true time alone.

Source: first-order processes are stepped by their exact solution, as in `pole_ladder`; waves are integrated in closed
form.
"""

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from truechimer.sim.scenario import Environment, Laboratory, SimulatedClock

Array = NDArray[np.float64]

DAY_S = 86_400.0
YEAR_S = 365.25 * DAY_S
FS_PER_S = 10**15
_DAY_FS = 86_400 * FS_PER_S
_YEAR_FS = 36525 * _DAY_FS // 100
_HIGHEST_OF_DAY_S = 15 * 3600.0
_HIGHEST_OF_YEAR_S = 203 * DAY_S
_RANDOM_PARTS = 2


class Room:
    """Temperature and humidity, and the phase that each clock gains from them.

    `temperature_kelvin`, `humidity_percent`: deviations from the room's mean now.
    """

    def __init__(
        self, environment: Environment, clocks: Sequence[SimulatedClock], rng: Generator, *, tai_fs: int
    ) -> None:
        """Start at true time `tai_fs` with the random parts in their stationary state."""
        self._rng = rng
        self._diurnal = (environment.temperature_diurnal_kelvin, environment.humidity_diurnal_percent)
        self._annual = (environment.temperature_annual_kelvin, environment.humidity_annual_percent)
        self._rms = (environment.temperature_random_kelvin, environment.humidity_random_percent)
        self._rate = 1.0 / (environment.random_days * DAY_S)
        self._coefficients = np.array(
            [
                [clock.temperature_coefficient_per_kelvin for clock in clocks],
                [clock.humidity_coefficient_per_percent for clock in clocks],
            ]
        )
        self.acts = bool(self._coefficients.any())
        start = rng.standard_normal(_RANDOM_PARTS).tolist()
        self._random = [rms * normal for rms, normal in zip(self._rms, start, strict=True)]
        self.values = self._values(tai_fs)

    def gained_x_s(self, from_tai_fs: int, to_tai_fs: int) -> Array:
        """Move on and return the phase each clock gained, shape (n_clocks,): its coefficients times the integrals of
        the room.
        """
        dt_s = (to_tai_fs - from_tai_fs) / FS_PER_S
        a = self._rate * dt_s
        m = -math.expm1(-a)
        drive = math.sqrt(m * (2.0 - m))
        together = m / self._rate * math.sqrt(m / (2.0 - m))
        rest = a * a * a / 12.0 * (1.0 - a * a / 10.0) if a < 1e-2 else a - 2.0 * m / (2.0 - m)
        apart = math.sqrt(2.0 * rest) / self._rate
        normals = self._rng.standard_normal(2 * _RANDOM_PARTS).tolist()
        day = _wave_integral(from_tai_fs % _DAY_FS / FS_PER_S, dt_s, DAY_S, _HIGHEST_OF_DAY_S)
        year = _wave_integral(from_tai_fs % _YEAR_FS / FS_PER_S, dt_s, YEAR_S, _HIGHEST_OF_YEAR_S)
        gained = []
        for k in range(_RANDOM_PARTS):
            n1, n2 = normals[2 * k], normals[2 * k + 1]
            random = self._random[k] * m / self._rate + self._rms[k] * (together * n1 + apart * n2)
            self._random[k] = self._random[k] * (1.0 - m) + self._rms[k] * drive * n1
            gained.append(self._diurnal[k] * day + self._annual[k] * year + random)
        self.values = self._values(to_tai_fs)
        total: Array = self._coefficients[0] * gained[0] + self._coefficients[1] * gained[1]
        return total

    def _values(self, tai_fs: int) -> tuple[float, float]:
        day = math.cos(2.0 * math.pi * (tai_fs % _DAY_FS / FS_PER_S - _HIGHEST_OF_DAY_S) / DAY_S)
        year = math.cos(2.0 * math.pi * (tai_fs % _YEAR_FS / FS_PER_S - _HIGHEST_OF_YEAR_S) / YEAR_S)
        temperature, humidity = (self._diurnal[k] * day + self._annual[k] * year + self._random[k] for k in range(2))
        return temperature, humidity

    @property
    def temperature_kelvin(self) -> float:
        """Temperature now, kelvin above the room's mean."""
        return self.values[0]

    @property
    def humidity_percent(self) -> float:
        """Relative humidity now, percent above the room's mean."""
        return self.values[1]

    def kept(self) -> dict[str, Any]:
        """Return what `put_back` makes this room of."""
        return {"random": list(self._random), "values": self.values, "rng": self._rng.bit_generator.state}

    def put_back(self, kept: dict[str, Any]) -> None:
        """Be as the same room was."""
        self._random, self.values = list(kept["random"]), tuple(kept["values"])
        self._rng.bit_generator.state = kept["rng"]

    def copy(self) -> "Room":
        """Return an independent room with the same future."""
        twin = copy.copy(self)
        vars(twin).update(_rng=copy.deepcopy(self._rng), _random=list(self._random))
        return twin


def _wave_integral(start_s: float, dt_s: float, period_s: float, highest_s: float) -> float:
    """Integral over `dt_s` of a cosine of amplitude 1 that is highest at `highest_s`, in seconds."""
    w = 2.0 * math.pi / period_s
    middle = start_s + 0.5 * dt_s - highest_s
    # difference of two sines as a product: no cancellation over short steps
    return 2.0 / w * math.sin(0.5 * w * dt_s) * math.cos(w * middle)


class Jumps:
    """Frequency jumps: Poisson in time (`jump_rate_per_day`), normal in size (rms `jump_y`, mean 0), one stream per
    clock.
    """

    def __init__(self, clocks: Sequence[SimulatedClock], rng: Generator) -> None:
        """Draw the first jump of each clock; time counts from the first epoch."""
        self._rate = [clock.jump_rate_per_day / DAY_S if clock.jump_y > 0.0 else 0.0 for clock in clocks]
        self._rms = [clock.jump_y for clock in clocks]
        self._rngs = rng.spawn(len(clocks))
        self._next_s = [
            own.exponential(1.0 / rate) if rate > 0.0 else math.inf
            for own, rate in zip(self._rngs, self._rate, strict=True)
        ]
        self.soonest_s = min(self._next_s)
        self.acts = self.soonest_s < math.inf

    def forced(self, to_s: float) -> tuple[Array, Array] | None:
        """Return (phase gained by `to_s`, frequency gained) of each clock from jumps up to then; None where there was
        none.
        """
        if to_s < self.soonest_s:
            return None
        x_s, y = np.zeros(len(self._rms)), np.zeros(len(self._rms))
        for k, own in enumerate(self._rngs):
            while self._next_s[k] <= to_s:
                size = self._rms[k] * own.standard_normal()
                x_s[k] += size * (to_s - self._next_s[k])
                y[k] += size
                self._next_s[k] += own.exponential(1.0 / self._rate[k])
        self.soonest_s = min(self._next_s)
        return x_s, y

    def kept(self) -> dict[str, Any]:
        """Return what `put_back` makes these jumps of."""
        return {"next_s": list(self._next_s), "rngs": [own.bit_generator.state for own in self._rngs]}

    def put_back(self, kept: dict[str, Any]) -> None:
        """Be as the jumps of the same clocks were."""
        self._next_s = list(kept["next_s"])
        for own, state in zip(self._rngs, kept["rngs"], strict=True):
            own.bit_generator.state = state
        self.soonest_s = min(self._next_s)

    def copy(self) -> "Jumps":
        """Return an independent copy with the same future."""
        twin = copy.copy(self)
        vars(twin).update(_rngs=copy.deepcopy(self._rngs), _next_s=list(self._next_s))
        return twin


class Wander:
    """How other laboratories' UTC(k) wander from UTC: first-order, exponential correlation, one value each in
    seconds.
    """

    def __init__(self, laboratories: Sequence[Laboratory], rng: Generator) -> None:
        """Start in the stationary state."""
        self._laboratories = tuple(laboratories)
        self._rng = rng
        self._state = rng.standard_normal(len(self._laboratories)).tolist()

    def step(self, dt_s: float) -> list[float]:
        """Move on by `dt_s` and return UTC(k) minus UTC of each laboratory in seconds."""
        normals = self._rng.standard_normal(len(self._laboratories)).tolist()
        for k, laboratory in enumerate(self._laboratories):
            m = -math.expm1(-dt_s / (laboratory.wander_days * DAY_S))
            self._state[k] = self._state[k] * (1.0 - m) + math.sqrt(m * (2.0 - m)) * normals[k]
        return self.values_s

    @property
    def values_s(self) -> list[float]:
        """UTC(k) minus UTC of each laboratory now, seconds."""
        return [
            laboratory.offset_s + laboratory.wander_s * unit
            for laboratory, unit in zip(self._laboratories, self._state, strict=True)
        ]

    def kept(self) -> dict[str, Any]:
        """Return what `put_back` makes this wander of."""
        return {"state": list(self._state), "rng": self._rng.bit_generator.state}

    def put_back(self, kept: dict[str, Any]) -> None:
        """Be as the wander of the same laboratories was."""
        self._state = list(kept["state"])
        self._rng.bit_generator.state = kept["rng"]

    def copy(self) -> "Wander":
        """Return an independent copy with the same future."""
        twin = copy.copy(self)
        vars(twin).update(_rng=copy.deepcopy(self._rng), _state=list(self._state))
        return twin
