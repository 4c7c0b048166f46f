# ruff: noqa: NPY002 - inside machine code NumPy's old generator is Numba's own, one for each call, seeded by it
"""Simulated ensembles for the experiments on the scale: clocks, readings of them, and the theory of their stability.

An independent generator: it shares no line with `truechimer.sim`, so that neither can hide the other's mistake. It is
quick (machine code) and knows equal steps only.

Noise of a clock: white FM `q1` (s^2/s), flicker floor as a sum of first-order Gauss-Markov processes three to a decade,
random-walk FM `q2` (1/s), drift (1/s). sigma_y^2(tau) = q1/tau + floor^2 + q2 tau/3 + (drift tau)^2/2.
"""

from dataclasses import dataclass, replace
from math import log, pi, sqrt

import numpy as np
from numba import njit

DAY_S = 86_400.0
HOUR_S = 3_600.0
START_NS = 1_700_000_000 * 10**9


@dataclass(frozen=True)
class Source:
    """One clock's true behaviour; `kind` as in CLOCKS.toml, `spread` one sigma of its rate at the start."""

    kind: str
    white: float
    floor: float
    walk_per_s: float
    drift_per_day: float = 0.0
    spread: float = 1e-13

    @property
    def q1(self) -> float:
        return self.white * self.white

    @property
    def q2(self) -> float:
        return self.walk_per_s

    def variance(self, tau_s: float) -> float:
        """Allan variance without drift."""
        return self.q1 / tau_s + self.floor**2 + self.q2 * tau_s / 3.0


def caesium() -> Source:
    return Source("caesium", 8.5e-12, 4e-15, 3 * 2e-15**2 / (30 * DAY_S), 0.0, 2e-13)


def maser(drift_per_day: float = 0.0) -> Source:
    return Source("maser", 1.2e-13, 3e-16, 3 * 2e-15**2 / (30 * DAY_S), drift_per_day, 1e-13)


def rubidium(drift_per_day: float = 0.0) -> Source:
    return Source("rubidium", 3e-12, 3e-14, 3 * 1e-13**2 / DAY_S, drift_per_day, 5e-12)


def crystal(drift_per_day: float = 0.0) -> Source:
    return Source("oscillator", 1e-12, 5e-13, 3 * 2e-12**2 / DAY_S, drift_per_day, 1e-9)


def fountain() -> Source:
    return Source("fountain", 2.3e-13, 1e-16, 3 * 1e-16**2 / (30 * DAY_S), 0.0, 1e-15)


MASER_DRIFTS = (2e-16, -1e-16, 3e-16, -2e-16, 1e-16, 2.5e-16, -3e-16, 1.5e-16)
RUBIDIUM_DRIFTS = (1e-13, -6e-14)


def _masers(n: int) -> list[Source]:
    return [maser(MASER_DRIFTS[i % len(MASER_DRIFTS)]) for i in range(n)]


def _rubidiums(n: int) -> list[Source]:
    return [rubidium(RUBIDIUM_DRIFTS[i % 2] * (1 + i // 2)) for i in range(n)]


def _crystals(n: int) -> list[Source]:
    return [crystal((3e-12, -5e-12, 8e-12)[i % 3]) for i in range(n)]


ENSEMBLES: dict[str, tuple[Source, ...]] = {
    "scenario 4.2": (*[caesium()] * 5, *_masers(3), *_rubidiums(2)),
    "5 caesiums": (caesium(),) * 5,
    "3 masers, 5 caesiums": (*_masers(3), *[caesium()] * 5),
    "5 masers, 6 caesiums": (*_masers(5), *[caesium()] * 6),
    "2 rubidiums, 10 crystals": (*_rubidiums(2), *_crystals(10)),
    "40 mixed": (*_masers(8), *[caesium()] * 14, *_rubidiums(10), *_crystals(8)),
    "1 fountain, 2 masers": (fountain(), *_masers(2)),
}
"""The six ensembles of the acceptance and the published scenario of ten clocks."""


def varied(sources: tuple[Source, ...], *, seed: int, by: float = 0.3) -> tuple[Source, ...]:
    """Return the clocks with every level changed by a factor drawn from 1 - by to 1 + by."""
    rng = np.random.default_rng([seed, 77])
    out = []
    for source in sources:
        a, b, c, d = rng.uniform(1.0 - by, 1.0 + by, 4)
        out.append(
            replace(
                source,
                white=source.white * a,
                floor=source.floor * b,
                walk_per_s=source.walk_per_s * c * c,
                drift_per_day=source.drift_per_day * d,
            )
        )
    return tuple(out)


def without_drift(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    return tuple(replace(source, drift_per_day=0.0) for source in sources)


@njit(cache=True)
def _clocks(  # noqa: PLR0917
    seed, epochs, step_s, white, floor, walk, drift, x0, y0, rates, weight
):
    np.random.seed(seed)
    n, poles = len(white), len(rates)
    out = np.empty((epochs, n))
    decay = np.exp(-rates * step_s)
    drive = np.sqrt(1.0 - decay * decay)
    for i in range(n):
        x, y = x0[i], y0[i]
        z = np.empty(poles)
        for p in range(poles):
            z[p] = np.random.normal()
        out[0, i] = x
        for k in range(1, epochs):
            flicker = 0.0
            if floor[i] > 0.0:
                for p in range(poles):
                    after = decay[p] * z[p] + drive[p] * np.random.normal()
                    flicker += 0.5 * (z[p] + after)
                    z[p] = after
            a, b = np.random.normal(), np.random.normal()
            root = np.sqrt(walk[i] * step_s)
            x += y * step_s + 0.5 * drift[i] * step_s * step_s + floor[i] * weight * flicker * step_s
            x += white[i] * np.sqrt(step_s) * np.random.normal()
            x += root * step_s * (0.5 * a + b / np.sqrt(12.0))
            y += drift[i] * step_s + root * a
            out[k, i] = x
    return out


POLES_A_DECADE = 3


def truth(sources: tuple[Source, ...], *, seed: int, days: float, interval_s: float = HOUR_S) -> np.ndarray:
    """Clock minus true time, seconds, shape `(n_epochs, n_clocks)`."""
    rng = np.random.default_rng([seed, 5])
    n, epochs = len(sources), round(days * DAY_S / interval_s) + 1
    spread = np.array([source.spread for source in sources])
    top, bottom = 1.0 / interval_s, 1.0 / (30.0 * 365.0 * DAY_S)
    count = int(np.ceil(np.log10(top / bottom) * POLES_A_DECADE))
    rates = top * 10.0 ** (-np.arange(count) / POLES_A_DECADE)
    weight = sqrt(log(10.0) / POLES_A_DECADE / (2.0 * log(2.0)))
    # the poles faster than the ladder are white FM to these steps
    faster = weight * weight * 2.0 / top / (10.0 ** (1.0 / POLES_A_DECADE) - 1.0)
    return _clocks(
        int(rng.integers(2**31)),
        epochs,
        interval_s,
        np.sqrt(np.array([source.q1 + source.floor**2 * faster for source in sources])),
        np.array([source.floor for source in sources]),
        np.array([source.walk_per_s for source in sources]),
        np.array([source.drift_per_day for source in sources]) / DAY_S,
        rng.normal(size=n) * 1e-7,
        rng.normal(size=n) * spread,
        rates,
        weight,
    )


def readings(
    x: np.ndarray, *, seed: int, noise_s: float | np.ndarray = 0.0, gap_fraction: float = 0.0, pivot: int = 0
) -> np.ndarray:
    """Clock minus pivot as read; `noise_s`: rms, one for all or one a clock; NaN where a reading is missing."""
    rng = np.random.default_rng([seed, 9])
    out = x - x[:, [pivot]] + rng.normal(size=x.shape) * noise_s
    if gap_fraction > 0.0:
        out[rng.random(x.shape) < gap_fraction] = np.nan
    out[:, pivot] = 0.0
    return out


def best_fixed(sources: tuple[Source, ...], tau_s: float) -> float:
    """B(tau): the Allan deviation of the best fixed weighting at tau; not a bound."""
    return 1.0 / sqrt(sum(1.0 / source.variance(tau_s) for source in sources))


def one_sided_s_y(source: Source, f_hz: np.ndarray) -> np.ndarray:
    """Spectrum of y: h0 + h-1/f + h-2/f^2 with q1 = h0/2, floor^2 = 2 ln2 h-1, q2 = 2 pi^2 h-2."""
    return 2.0 * source.q1 + source.floor**2 / (2.0 * log(2.0)) / f_hz + source.q2 / (2.0 * pi * pi) / f_hz**2


def allan_variance(x: np.ndarray, m: int, interval_s: float) -> float:
    """Overlapping Allan variance of phase at m intervals."""
    second = x[2 * m :] - 2.0 * x[m:-m] + x[: -2 * m]
    return float(np.mean(second * second) / 2.0 / (m * interval_s) ** 2)


def csv_text(read: np.ndarray, names: list[str], *, u_s: float, interval_s: float = HOUR_S, pivot: int = 0) -> str:
    """The readings as a Readings CSV."""
    lines = ["epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s"]
    for k, row in enumerate(read.tolist()):
        at = START_NS + round(k * interval_s * 1e9)
        lines += [
            f"{at},{names[i]},{names[pivot]},{value!r},{u_s!r}"
            for i, value in enumerate(row)
            if i != pivot and np.isfinite(value)
        ]
    return "\n".join(lines) + "\n"
