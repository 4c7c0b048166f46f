"""Which averaging factors: octaves, decades, all, or those that are asked for, and why one is skipped.

It knows no statistic: the largest factor, and which factors a statistic can have, come in.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from truechimer.stability.curve import Ints, Skipped, StabilityMisuse

Factors = ArrayLike | str | None
GRIDS = ("octave", "decade", "all")


def chosen(
    m: Factors, most: int, *, least: int = 1, even: bool = False, octave: Callable[[int], Ints] | None = None
) -> tuple[Ints, tuple[Skipped, ...]]:
    """Return the averaging factors in ascending order, and those that were asked for and cannot be had.

    `m`: None or `octave` (1, 2, 4 ...), `decade` (1, 2, 4, 10, 20, 40, 100 ... as Stable32 has them), `all`, or whole
    numbers above zero. `least` and `most` are the limits of this statistic on this record.
    """
    if m is None or isinstance(m, str):
        word = m or "octave"
        if word not in GRIDS:
            raise StabilityMisuse(f"m is {', '.join(GRIDS)} or averaging factors, not {word!r}")
        grid = octave(most) if octave is not None and word == "octave" else _grid(word, most)
        return grid[(grid >= least) & (grid <= most) & ((grid % 2 == 0) | (not even))], ()
    asked = _asked(m)
    good, skipped = [], []
    for factor in asked:
        if factor > most:
            reason = f"too few points: the record allows m up to {most}" if most >= least else "too few points"
            skipped.append(Skipped(int(factor), reason))
        elif factor < least:
            skipped.append(Skipped(int(factor), f"this statistic begins at m = {least}"))
        elif even and factor % 2:
            skipped.append(Skipped(int(factor), "this statistic needs an even m"))
        else:
            good.append(int(factor))
    return np.array(good, dtype=np.int64), tuple(skipped)


def _asked(m: ArrayLike) -> Ints:
    given = np.atleast_1d(np.asarray(m))
    if given.ndim != 1 or given.dtype.kind not in "iuf":
        raise StabilityMisuse("m holds whole numbers, or is one of the words " + ", ".join(GRIDS))
    if given.size == 0:
        raise StabilityMisuse("m is empty; give averaging factors, or None for octaves")
    if not np.all(np.isfinite(given)) or np.any(given != np.floor(given)) or np.any(given < 1):
        raise StabilityMisuse(f"m holds averaging factors: whole numbers from 1; found {given.tolist()[:5]}")
    return np.unique(given.astype(np.int64))


def _grid(word: str, most: int) -> Ints:
    if most < 1:
        return np.zeros(0, dtype=np.int64)
    if word == "all":
        return np.arange(1, most + 1, dtype=np.int64)
    if word == "octave":
        return np.left_shift(1, np.arange(int(most).bit_length(), dtype=np.int64))
    decades = 10 ** np.arange(len(str(most)), dtype=np.int64)
    return np.sort(np.concatenate([step * decades for step in (1, 2, 4)]))


def from_taus(taus_s: ArrayLike, tau0_s: float, *, factor: float = 1.0) -> list[int]:
    """Return the averaging factors of averaging times, each the nearest one, without repetition.

    `factor` is tau / (m tau0): 0.75 for Theo1. Raises `StabilityMisuse` where a tau is no positive number.
    """
    wanted = np.atleast_1d(np.asarray(taus_s, dtype=np.float64))
    if not np.all(np.isfinite(wanted)) or np.any(wanted <= 0.0):
        raise StabilityMisuse("averaging times are numbers of seconds above zero")
    return sorted({max(1, round(float(tau) / (tau0_s * factor))) for tau in wanted})
