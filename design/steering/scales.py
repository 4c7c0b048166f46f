"""Free scales for the experiments on steering: our own `bands` scale on simulated clocks, and true time beside it.

Clocks come from `design/ensemble/generator.py`, which shares no line with `truechimer.sim`. A scale is made once for
every ensemble, seed and clock file and kept (folder of the machine's temporary files): what is measured here is
steering. The scale is what a replay gives, read through its clocks: e = true clock minus its column, the median of all,
since the column of a clock that is out is a guess until it is let in again.
"""

import hashlib
import sys
import tempfile
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "design" / "ensemble")]

from generator import DAY_S, ENSEMBLES, HOUR_S, START_NS, Source, best_fixed, maser, readings, truth, varied  # noqa: E402

from truechimer.clocks.clock import Clock, ClockKind, NoiseModel  # noqa: E402
from truechimer.clocks.state_model import two_state_noise  # noqa: E402
from truechimer.scale.engines import engine  # noqa: E402

LEARNING_DAYS = 150.0
"""Days that the ensemble has been running before the year."""
YEAR_DAYS = 366.0
LEAST_DRIFT = 1e-17 / DAY_S
MASER_DRIFT = 3e-16 / DAY_S
"""One sigma of a maser's drift by its kind; of a scale's at least, whatever it says of itself; 1/s."""


@dataclass(frozen=True)
class Free:
    """A free scale: `x_scale_minus_utc_s` every hour from `LEARNING_DAYS` before the year; what the ensemble says of
    its clocks (`said`: rows of q1, floor squared, q2) and of its drift (one sigma, 1/s) at the year's begin; and the
    clocks' true levels.
    """

    x_scale_minus_utc_s: np.ndarray
    said: tuple[tuple[float, float, float], ...]
    true: tuple[tuple[float, float, float], ...]
    drift_spread: float


def rows(sources: tuple[Source, ...]) -> tuple[tuple[float, float, float], ...]:
    return tuple((source.q1, source.floor**2, source.q2) for source in sources)


def one_maser(seed: int) -> Free:
    """A maser alone is the scale: its levels varied, of which nobody knows more than its kind."""
    sources = varied((maser((-1.0 if seed % 2 else 1.0) * 1.5e-16),), seed=seed)
    x = truth(sources, seed=seed, days=LEARNING_DAYS + YEAR_DAYS)[:, 0]
    of = two_state_noise(Clock(name="m", kind=ClockKind.MASER, noise=NoiseModel()))
    return Free(x - x[0], ((of.q1, of.floor**2, of.q2),), rows(sources), MASER_DRIFT)


def ensemble(name: str, seed: int, *, declared: bool) -> Free:
    """An ensemble by `bands` with everything on; `declared`: noise and drift stand in its clock file, else kinds alone
    do.
    """
    key = hashlib.sha256(f"{name} {seed} {declared} {LEARNING_DAYS} {YEAR_DAYS} 3".encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / "truechimer-free-scales"
    folder.mkdir(exist_ok=True)
    kept = folder / f"{key}.npz"
    sources = varied(ENSEMBLES[name], seed=seed)
    if not kept.exists():
        x = truth(sources, seed=seed, days=LEARNING_DAYS + YEAR_DAYS)
        read = readings(x, seed=seed, noise_s=2e-12)
        clocks = tuple(_clock(i, source, declared=declared) for i, source in enumerate(sources))
        run = engine("bands", clocks, interval_s=HOUR_S, judged=True)
        u2 = np.full(read.shape, 4e-24)
        u2[:, 0] = 0.0
        epochs = START_NS + np.round(np.arange(len(read)) * HOUR_S * 1e9).astype(np.int64)
        due = np.ones(len(read), np.bool_)
        first = round(LEARNING_DAYS * 24)
        columns = [run.run(epochs[:first], read[:first], u2[:first], due[:first]).x_clock_minus_scale_s]
        learned = run.learned()
        assert learned is not None
        columns.append(run.run(epochs[first:], read[first:], u2[first:], due[first:]).x_clock_minus_scale_s)
        e = np.nanmedian(x - np.vstack(columns), axis=1)
        voted = learned.weight_month > 0.0
        said = learned.noise[voted][:, 1:] if voted.any() else learned.noise[:, 1:]
        np.savez(kept, e=e, said=said, drift=float(np.min(learned.u_drift[voted] if voted.any() else learned.u_drift)))
    with np.load(kept) as held:
        return Free(
            held["e"] - held["e"][0],
            tuple(map(tuple, held["said"].tolist())),
            rows(sources),
            max(float(held["drift"]), LEAST_DRIFT),
        )


def clocks_of(name: str, seed: int, *, declared: bool) -> tuple[tuple[Clock, ...], np.ndarray]:
    """The clocks of an ensemble and their true x against UTC every hour, as `ensemble` has them."""
    sources = varied(ENSEMBLES[name], seed=seed)
    clocks = tuple(_clock(i, source, declared=declared) for i, source in enumerate(sources))
    return clocks, truth(sources, seed=seed, days=LEARNING_DAYS + YEAR_DAYS)


def _clock(i: int, source: Source, *, declared: bool) -> Clock:
    noise = NoiseModel()
    if declared:
        noise = NoiseModel(
            white_fm_1s=source.white,
            flicker_fm=source.floor,
            random_walk_fm_1s=sqrt(source.q2 / 3.0),
            drift_per_day=source.drift_per_day,
        )
    return Clock(name=f"c{i}", kind=ClockKind(source.kind), noise=noise)


__all__ = [
    "DAY_S",
    "ENSEMBLES",
    "HOUR_S",
    "LEARNING_DAYS",
    "YEAR_DAYS",
    "Free",
    "best_fixed",
    "clocks_of",
    "ensemble",
    "one_maser",
]
