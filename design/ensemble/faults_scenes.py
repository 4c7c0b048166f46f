"""Ensembles and faults for the experiments on defence: clocks whose truth is known, made without `truechimer.sim`.

White FM, flicker FM (a sum of Gauss-Markov processes, two per decade), random-walk FM and drift per clock; white noise
per reading. A fault is laid on the true clocks, so that the clean and the faulty run of one seed share every random
number. Levels: `white` ADEV at 1 s, `flicker` ADEV floor, `walk_30d` ADEV of random-walk FM at 30 d, `drift` 1/s.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.clock import Clock, ClockKind, NoiseModel

Floats = NDArray[np.float64]
DAY_S = 86_400.0
HOUR_S = 3_600.0
START_NS = 1_700_000_000 * 10**9
NS = 1e-9


@dataclass(frozen=True)
class Ensemble:
    """Kinds and true noise of the clocks, arrays `(n_clocks,)`; `reading_s`: noise of one reading against the pivot."""

    name: str
    kinds: tuple[ClockKind, ...]
    white: Floats
    flicker: Floats
    walk_30d: Floats
    drift: Floats
    reading_s: float = 0.0

    def clocks(self, *, known: bool = False, kinds: bool = True) -> tuple[Clock, ...]:
        """The clocks as the scale knows them: with their true noise, or by kind, or by name only."""
        made = []
        for i, kind in enumerate(self.kinds):
            noise = NoiseModel()
            if known:
                walk_1s = float(self.walk_30d[i]) / np.sqrt(30 * DAY_S)
                noise = NoiseModel(
                    white_fm_1s=float(self.white[i]), flicker_fm=float(self.flicker[i]), random_walk_fm_1s=walk_1s
                )
            made.append(Clock(name=f"{kind.value}{i}", kind=kind if kinds else ClockKind.OSCILLATOR, noise=noise))
        return tuple(made)

    def indices(self, kind: ClockKind) -> list[int]:
        return [i for i, one in enumerate(self.kinds) if one is kind]


_FIGURES = {  # white, flicker floor, random walk at 30 d, drift per day
    ClockKind.CAESIUM: (8.5e-12, 4e-15, 2e-15, 0.0),
    ClockKind.MASER: (1.2e-13, 3e-16, 2e-15, 0.0),
    ClockKind.RUBIDIUM: (3e-12, 3e-14, 1e-13 * np.sqrt(30.0), 0.0),
    ClockKind.OSCILLATOR: (3e-12, 5e-13, 3e-12 * np.sqrt(30.0), 0.0),
    ClockKind.FOUNTAIN: (8e-14, 1e-16, 1e-17, 0.0),
}


def ensemble(name: str, parts: dict[ClockKind, int], *, reading_s: float = 0.0, drift: bool = False) -> Ensemble:
    """Make an ensemble of typical clocks."""
    kinds = tuple(kind for kind, count in parts.items() for _ in range(count))
    figures = np.array([_FIGURES[kind] for kind in kinds])
    drifts = np.zeros(len(kinds))
    if drift:
        pattern = {
            ClockKind.MASER: (2e-16, -1e-16, 3e-16, 1.5e-16, -2e-16),
            ClockKind.RUBIDIUM: (1e-13, -6e-14),
            ClockKind.OSCILLATOR: (1e-11, -6e-12, 3e-11),
        }
        seen: dict[ClockKind, int] = {}
        for i, kind in enumerate(kinds):
            of = pattern.get(kind, (0.0,))
            drifts[i] = of[seen.get(kind, 0) % len(of)]
            seen[kind] = seen.get(kind, 0) + 1
    return Ensemble(name, kinds, figures[:, 0], figures[:, 1], figures[:, 2], drifts / DAY_S, reading_s)


K = ClockKind
TEN = ensemble("10 clocks (5 Cs, 3 masers, 2 Rb)", {K.CAESIUM: 5, K.MASER: 3, K.RUBIDIUM: 2}, reading_s=5e-12)
TEN_DRIFT = ensemble("10 clocks with drift", {K.CAESIUM: 5, K.MASER: 3, K.RUBIDIUM: 2}, reading_s=5e-12, drift=True)
SMALL = ensemble("3 masers, 5 caesiums", {K.MASER: 3, K.CAESIUM: 5}, reading_s=5e-12)
FIVE_SIX = ensemble("5 masers, 6 caesiums", {K.MASER: 5, K.CAESIUM: 6}, reading_s=5e-12)
FORTY = ensemble(
    "40 mixed",
    {K.MASER: 8, K.CAESIUM: 20, K.RUBIDIUM: 6, K.OSCILLATOR: 6},
    reading_s=5e-12,
    drift=True,
)
ALL = (
    ensemble("5 caesiums", {K.CAESIUM: 5}, reading_s=5e-12),
    SMALL,
    FIVE_SIX,
    ensemble("2 rubidiums, 10 OCXOs", {K.RUBIDIUM: 2, K.OSCILLATOR: 10}, reading_s=5e-12),
    FORTY,
    ensemble("1 fountain, 2 masers", {K.FOUNTAIN: 1, K.MASER: 2}, reading_s=5e-12),
    TEN,
    TEN_DRIFT,
)


def varied(of: Ensemble, rng: np.random.Generator, part: float = 0.3) -> Ensemble:
    """The same ensemble with each level changed by up to `part`."""
    n = len(of.kinds)
    by = lambda: 1.0 + part * rng.uniform(-1.0, 1.0, n)  # noqa: E731
    return replace(
        of, white=of.white * by(), flicker=of.flicker * by(), walk_30d=of.walk_30d * by(), drift=of.drift * by()
    )


def truth(of: Ensemble, rng: np.random.Generator, *, days: float, interval_s: float = HOUR_S) -> Floats:
    """Clock minus true time (s), shape `(n_epochs, n_clocks)`."""
    n, epochs = len(of.kinds), round(days * DAY_S / interval_s)
    q2 = 3.0 * of.walk_30d**2 / (30 * DAY_S)
    y = rng.normal(size=n) * 1e-13 + np.cumsum(rng.normal(size=(epochs, n)) * np.sqrt(q2 * interval_s), axis=0)
    y += of.drift * interval_s * np.arange(epochs)[:, None]
    # flicker: poles two per decade from 1 h to 3 years; each process of variance s^2 with ADEV floor about the wanted
    taus = 10.0 ** np.arange(np.log10(HOUR_S), np.log10(3 * 365 * DAY_S), 0.5)
    level = of.flicker * 0.9
    for tau in taus:
        keep = np.exp(-interval_s / tau)
        shocks = rng.normal(size=(epochs, n)) * np.sqrt(1.0 - keep * keep)
        state = rng.normal(size=n)
        y += level * _markov(shocks, keep, state)
    white = rng.normal(size=(epochs, n)) * of.white * np.sqrt(interval_s)
    return rng.normal(size=n) * 1e-7 + np.cumsum(y * interval_s + white, axis=0)


def _markov(shocks: Floats, keep: float, state: Floats) -> Floats:
    from scipy.signal import lfilter

    out: Floats = lfilter([1.0], [1.0, -keep], shocks, axis=0, zi=(keep * state)[None, :])[0]
    return out


def readings(of: Ensemble, x: Floats, rng: np.random.Generator, *, pivot: int = 0) -> Floats:
    """Clock minus pivot with reading noise."""
    out = x - x[:, [pivot]] + rng.normal(size=x.shape) * of.reading_s
    out[:, pivot] = 0.0
    return out


def faulty(x: Floats, k: int, clock: int | list[int], fault: str, size: float, *, interval_s: float = HOUR_S) -> Floats:
    """The clocks with a fault from epoch `k` on: step (s), rate (1), drift (1/s), ramp (1 after 30 d, then held)."""
    out = x.copy()
    t = interval_s * np.arange(1, len(x) - k + 1)
    if fault == "step":
        add = np.full(len(t), size)
    elif fault == "rate":
        add = size * t
    elif fault == "both":
        add = 50 * NS + size * t
    elif fault == "drift":
        add = 0.5 * size * t * t
    elif fault == "ramp":
        full = 30 * DAY_S
        add = np.where(t < full, 0.5 * size * t * t / full, size * (t - 0.5 * full))
    else:
        raise ValueError(fault)
    for i in [clock] if isinstance(clock, int) else clock:
        out[k:, i] += add
    return out
