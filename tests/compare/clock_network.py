"""A network's daily clock solutions, made here: clocks of known noise, an offset of each clock in each day, a reference
that may change from file to file and within a file; written as clock RINEX and read back.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from truechimer.formats import rinex_clock
from truechimer.formats.rinex_clock import RinexClock, RinexClockHeader

START_TAI_NS = 1_577_836_819 * 10**9
"""2020-01-01 00:00:00 GPS time."""
DAY_S = 86_400
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """`files`: one a day; `x_s (n_epochs, n)`: true phases; `offset_s (n_days, n)`: of each clock in each day."""

    files: list[tuple[str, RinexClock]]
    names: tuple[str, ...]
    x_s: Floats
    offset_s: Floats

    @property
    def jump_s(self) -> Floats:
        """The jumps of the clocks at the boundaries, their mean taken off: shape `(n_days - 1, n)`."""
        jumps = np.diff(self.offset_s, axis=0)
        return np.asarray(jumps - jumps.mean(axis=1, keepdims=True))


def made(
    white_fm_1s: list[float],
    *,
    days: int = 3,
    step_s: int = 600,
    u_s: float = 20e-12,
    offset_s: float = 0.3e-9,
    random_walk_fm_1s: list[float] | None = None,
    seed: int = 1,
    references: tuple[int, ...] = (0,),
    stated_u_s: float | None = None,
) -> Network:
    """Return the files. `references`: the clock that the k-th half day is given against, in turn."""
    generator = np.random.default_rng(seed)
    n, per_day = len(white_fm_1s), DAY_S // step_s
    epochs = days * per_day
    q1 = np.array(white_fm_1s) ** 2
    walk = np.array(random_walk_fm_1s or [0.0] * n)
    y = generator.normal(size=n) * 1e-12 + np.cumsum(
        generator.normal(size=(epochs, n)) * np.sqrt(3.0 * walk**2 * step_s), axis=0
    )
    x = generator.normal(size=n) * 1e-7 + np.cumsum(
        y * step_s + generator.normal(size=(epochs, n)) * np.sqrt(q1 * step_s), axis=0
    )
    read = x + generator.normal(size=x.shape) * u_s
    offset = generator.normal(size=(days, n)) * offset_s
    names = tuple(f"N{k:03d}" for k in range(n))
    files = []
    for day in range(days):
        rows = slice(day * per_day, (day + 1) * per_day)
        value = read[rows] + offset[day]
        half = (np.arange(per_day) * 2) // per_day + 2 * day
        datum = np.array([value[k, references[h % len(references)]] for k, h in enumerate(half.tolist())])
        value = value - datum[:, None]
        epoch = START_TAI_NS + (np.arange(epochs)[rows] * step_s).astype(np.int64) * 10**9
        values = np.full((value.size, 6), np.nan)
        values[:, 0] = value.ravel()
        values[:, 1] = u_s if stated_u_s is None else stated_u_s
        made_value = RinexClock(
            RinexClockHeader(version="3.00", time_system="GPS", types=("AR",)),
            names,
            np.zeros(value.size, np.int8),
            np.tile(np.arange(n, dtype=np.int32), per_day),
            np.repeat(epoch, n),
            values,
            np.arange(value.size),
        )
        back, findings = rinex_clock.read(rinex_clock.write(made_value))
        assert back is not None
        assert findings == []
        files.append((f"day{day}.clk", back))
    return Network(files, names, x, offset)
