"""Ensembles whose truth is known, made here and not by `truechimer.sim`: clocks minus true time, readings, faults, and
the scale over them.

White FM, random-walk FM and drift per clock, white noise per reading; x in seconds, epochs equal. A fault is laid on
the true clocks, so that the clean and the faulty run of one seed share every random number.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from truechimer.clocks.clock import Clock, ClockKind, NoiseModel
from truechimer.scale import at1
from truechimer.scale.prediction import predict
from truechimer.scale.state import ScaleState

DAY_S = 86_400.0
START_NS = 1_700_000_000 * 10**9
READING_NOISE_S = 5e-11


@dataclass(frozen=True)
class Rig:
    """Kinds and true noise of the clocks: `white` ADEV at 1 s, `walk` random-walk FM in 1/sqrt(s), `drift` 1/s,
    `spread` of y at the start.
    """

    kinds: tuple[ClockKind, ...]
    white: np.ndarray
    walk: np.ndarray
    drift: np.ndarray
    spread: np.ndarray

    def clocks(self, *, declared: bool = False) -> tuple[Clock, ...]:
        """The clocks as the scale knows them; `declared`: with their true white and random-walk FM."""
        noise = [
            NoiseModel(white_fm_1s=float(w), random_walk_fm_1s=float(q) / np.sqrt(3.0), flicker_fm=0.0)
            if declared
            else NoiseModel()
            for w, q in zip(self.white, self.walk, strict=True)
        ]
        return tuple(
            Clock(name=f"{kind.value}{i}", kind=kind, noise=n)
            for i, (kind, n) in enumerate(zip(self.kinds, noise, strict=True))
        )


def rig(masers: int, caesiums: int, rubidiums: int) -> Rig:
    """The drill rig's clocks (drills.md, "Rig")."""
    kinds = (ClockKind.MASER,) * masers + (ClockKind.CAESIUM,) * caesiums + (ClockKind.RUBIDIUM,) * rubidiums
    part = lambda m, c, r: np.array([m] * masers + [c] * caesiums + [r] * rubidiums)  # noqa: E731
    return Rig(
        kinds,
        part(8e-14, 5e-12, 8e-12),
        part(1e-18, 0.0, 0.0),
        part(2e-16, 0.0, 5e-13) / DAY_S,
        part(1e-13, 2e-13, 5e-12),
    )


RIG = rig(5, 6, 1)
SMALL = rig(3, 5, 0)


def truth(of: Rig, *, seed: int, days: float, interval_s: float) -> np.ndarray:
    """Clock minus true time, shape `(n_epochs, n_clocks)`."""
    rng = np.random.default_rng(seed)
    n, epochs = len(of.kinds), round(days * DAY_S / interval_s)
    y0, x0 = rng.normal(size=n) * of.spread, rng.normal(size=n) * 1e-6
    shocks = rng.normal(size=(epochs, n)) * of.walk * np.sqrt(interval_s) + of.drift * interval_s
    y = y0 + np.cumsum(shocks, axis=0) - shocks
    return x0 + np.cumsum(y * interval_s + rng.normal(size=(epochs, n)) * of.white * np.sqrt(interval_s), axis=0)


def readings(x: np.ndarray, *, seed: int, noise_s: float = READING_NOISE_S, pivot: int = 0) -> np.ndarray:
    """Clock minus pivot with reading noise."""
    out = x - x[:, [pivot]] + np.random.default_rng(seed + 10_000).normal(size=x.shape) * noise_s
    out[:, pivot] = 0.0
    return out


@dataclass(frozen=True)
class Ran:
    """`e`: scale minus true time (s), `weight`, `member`, `divided`, `floor` by epoch; `state` at the end."""

    e: np.ndarray
    weight: np.ndarray
    member: np.ndarray
    divided: np.ndarray
    floor: np.ndarray
    residual: np.ndarray
    state: ScaleState


def run(
    clocks: tuple[Clock, ...],
    x: np.ndarray,
    read: np.ndarray,
    *,
    interval_s: float,
    noise_s: float = READING_NOISE_S,
    pivot: int | np.ndarray = 0,
    every: Callable[[int], bool] = lambda _: True,
    **parameters: float,
) -> Ran:
    """Run AT1 over readings; `pivot` is the index for each epoch (constant or an array)."""
    constants = at1.parameters(clocks, **parameters)
    state = at1.start(constants)
    pivots = np.broadcast_to(np.asarray(pivot), len(x))
    n = x.shape[1]
    u2 = np.full(n, noise_s * noise_s)
    rows: list[tuple] = []
    for k in range(len(x)):
        p = int(pivots[k])
        one = u2.copy()
        one[p] = 0.0
        at = START_NS + round(k * interval_s * 1e9)
        ahead = predict(state, constants, epoch_tai_ns=at)
        state, step = at1.step(
            state, constants, epoch_tai_ns=at, x_clock_minus_pivot_s=read[k], u2_s2=one, prediction=ahead, due=every(k)
        )
        # the scale minus true time: pivot minus true time less pivot minus scale
        rows.append(
            (
                x[k, p] - step.x_pivot_minus_scale_s,
                step.weight,
                step.membership,
                step.divided,
                step.detection_floor_s,
                step.residual_s,
            )
        )
    e, weight, member, divided, floor, residual = (np.array(column) for column in zip(*rows, strict=True))
    return Ran(e, weight, member, divided, floor, residual, state)


def adev(x: np.ndarray, m: int, interval_s: float) -> float:
    """Overlapping Allan deviation of phase at m intervals."""
    second = x[2 * m :] - 2 * x[m:-m] + x[: -2 * m]
    return float(np.sqrt(np.mean(second * second) / 2.0) / (m * interval_s))
