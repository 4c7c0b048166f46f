"""First passage: when |UTC(k) - UTC| passes a limit for the first time, as a distribution, from what is foreseen.

It learns nothing. The chance of being beyond a limit at one moment is not the chance of having been there before: where
white FM rules it is half of it, where a rate or a drift rules it is nearly the same. So paths are drawn: each from a
filter of the bank (as many as it has weight), a state from its covariance, and then the noise of that filter. The draws
are the same in every call: a list of numbers, not chance.

Between two moments of the grid a path of white FM goes further than at both: the limit is nearer by `BETWEEN` sigma of
one stride (Broadie, Glasserman and Kou 1997). Law of the file: + - * / and sqrt in a written order, element by element:
the same bits on every machine.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from truechimer.steer import foresight, mixture
from truechimer.steer.foresight import TAUS_S, VARIANCE_OF_FLOOR, Floats, Foresight

LONGEST_S = 400.0 * foresight.DAY_S
PATHS = 4000
"""One in a hundred of them is forty: a stated time is then known to some four per cent."""

FIRST_STRIDE_S, RATIO = 600.0, 1.12
BETWEEN = 0.5826
LEVELS = 8192
"""Normal numbers are drawn from so many equally likely levels."""

LIKELY_CHANCE = 0.5
CAREFUL_CHANCE, STATED_CHANCE = 0.003, 0.0075
LIKELY_OVER_STATED = 2.7
"""A limit is said to be kept for as long as a first passage has a chance of `STATED_CHANCE` at most (one in a hundred,
less what the draws and the learned noise leave open); or less, down to `CAREFUL_CHANCE`, where the time that is as
likely as not is still no more than so many times the stated one.
"""

_GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True, eq=False)
class Passages:
    """`after_s (g,)`: moments after `from_ns`, the first 0; `furthest_s (g, PATHS)`: how far each path has been up to
    them.
    """

    after_s: Floats
    furthest_s: Floats


def passages(
    known: Foresight,
    *,
    from_ns: int,
    x_utck_minus_scale_s: float | None = None,
    y_utck_minus_scale: float = 0.0,
) -> Passages:
    """Return how far |UTC(k) - UTC| may go from `from_ns` (TAI) on, the last value's epoch or later.

    UTC(k) goes on at a held rate from `x_utck_minus_scale_s` at `from_ns`; None: it follows the prediction.
    """
    x0, p0 = foresight.moved(known, (from_ns - known.epoch_ns) / 1e9)
    of = _filters(known.weight)
    normals = _Normals()
    state = x0[:, of] + _drawn(_root(p0)[:, :, of], normals)
    mean = x0.copy()
    white, walk, floor2 = np.sqrt(known.q1)[of], np.sqrt(known.q2)[of], np.sqrt(VARIANCE_OF_FLOOR * known.floor2)[of]
    drift = np.sqrt(known.drift2)[of]
    after_s, stride_s = [0.0], FIRST_STRIDE_S
    far = np.abs(state[0] - _utck(known.weight, mean, 0.0, x_utck_minus_scale_s, y_utck_minus_scale))
    furthest = [far]
    while after_s[-1] < LONGEST_S:
        stride_s = max(FIRST_STRIDE_S, (RATIO - 1.0) * after_s[-1])
        state = foresight.stepped(state, stride_s, known.fades_s)
        mean = foresight.stepped(mean, stride_s, known.fades_s)
        _shake(state, stride_s, known.fades_s, (white, walk, floor2, drift), normals)
        after_s.append(after_s[-1] + stride_s)
        utck = _utck(known.weight, mean, after_s[-1], x_utck_minus_scale_s, y_utck_minus_scale)
        far = np.abs(state[0] - utck) + BETWEEN * sqrt(stride_s) * white
        furthest.append(np.maximum(furthest[-1], far))
    return Passages(np.array(after_s), np.array(furthest))


def stated_s(found: Passages, limit_s: float) -> float:
    """Return how long (s, at most `LONGEST_S`) |UTC(k) - UTC| is said to stay within `limit_s`: kept in 99 of 100."""
    careful, bold = (kept_s(found, limit_s, chance=chance) for chance in (CAREFUL_CHANCE, STATED_CHANCE))
    return min(max(careful, kept_s(found, limit_s, chance=LIKELY_CHANCE) / LIKELY_OVER_STATED), bold)


def kept_s(found: Passages, limit_s: float, *, chance: float) -> float:
    """Return how long (s, at most `LONGEST_S`) |UTC(k) - UTC| stays within `limit_s` but for a `chance` that it has
    passed it by then; 0 where the chance is used up at once.
    """
    past = found.furthest_s > limit_s
    rank = chance * PATHS
    counts = past.sum(axis=1)
    if counts[0] > rank:
        return 0.0
    if counts[-1] <= rank:
        return LONGEST_S
    # each path passes between two moments, at a part of the stride
    k = int(np.argmax(counts > rank))
    before, after = found.furthest_s[k - 1], found.furthest_s[k]
    crossing = past[k] & ~past[k - 1]
    parts = np.sort((limit_s - before[crossing]) / (after[crossing] - before[crossing]))
    at = min(max(rank - float(counts[k - 1]), 0.0), float(len(parts) - 1))
    low = int(at)
    part = float(parts[low])
    if low + 1 < len(parts):
        part += (at - low) * (float(parts[low + 1]) - part)
    span_s = float(found.after_s[k] - found.after_s[k - 1])
    return min(float(found.after_s[k - 1]) + part * span_s, LONGEST_S)


def _filters(weight: Floats) -> NDArray[np.int64]:
    """Return the filter of each path: as many of each as it has weight."""
    reached, whole = [], 0.0
    for each in weight.tolist():
        whole += each
        reached.append(whole)
    places = (np.arange(PATHS) + 0.5) / PATHS * whole
    return np.minimum(np.searchsorted(np.array(reached), places), len(reached) - 1)


def _utck(weight: Floats, mean: Floats, after_s: float, x_s: float | None, y: float) -> float:
    """Return where UTC(k) is: on the prediction, or on its own way."""
    return mixture.total(weight * mean[0]) if x_s is None else x_s + y * after_s


def _shake(
    state: Floats, dt: float, fades_s: float, levels: tuple[Floats, Floats, Floats, Floats], normals: "_Normals"
) -> None:
    """Add the noise of `dt` seconds to the states (6, PATHS), in place."""
    white, walk, relaxed, drift = levels
    root = sqrt(dt)
    along, across = normals.next(), normals.next()
    state[0] += root * white * normals.next() + root * dt * walk * (0.5 * along + 0.28867513459481287 * across)
    state[1] += root * walk * along
    _, _, own_x, own_both, own = foresight.relaxations(dt)
    for k in range(len(TAUS_S)):
        of_both = own_both[k] / sqrt(own[k])
        alone = sqrt(max(own_x[k] - of_both * of_both, 0.0))
        first = relaxed * normals.next()
        state[3 + k] += sqrt(own[k]) * first
        state[0] += of_both * first + alone * (relaxed * normals.next())
    own_drift = foresight.drifting(dt, fades_s)[3]
    if own_drift:
        unit = np.zeros((3, 3, 1))
        for a, b, part in own_drift:
            unit[a, b, 0] = part
        lower = _root(unit)
        for k in range(3):
            each = drift * normals.next()
            for a in range(k, 3):
                state[a] += lower[a, k, 0] * each


def _root(p: Floats) -> Floats:
    """Return the lower triangular roots of covariances (m, m, n); what is not positive by rounding counts as none."""
    m = len(p)
    out = np.zeros_like(p)
    for k in range(m):
        rest = p[k, k].copy()
        for j in range(k):
            rest -= out[k, j] * out[k, j]
        # what is left of a state that the others determine is rounding
        sound = rest > 1e-12 * p[k, k]
        pivot = np.sqrt(np.where(sound, rest, 1.0))
        out[k, k] = np.where(sound, pivot, 0.0)
        for a in range(k + 1, m):
            rest = p[a, k].copy()
            for j in range(k):
                rest -= out[a, j] * out[k, j]
            out[a, k] = np.where(sound, rest / pivot, 0.0)
    return out


def _drawn(root: Floats, normals: "_Normals") -> Floats:
    """Return one state for each path from roots (6, 6, PATHS)."""
    out = np.zeros(root.shape[1:])
    for k in range(len(root)):
        each = normals.next()
        for a in range(k, len(root)):
            out[a] += root[a, k] * each
    return out


class _Normals:
    """Normal numbers by counting: the counter is mixed (Steele, Lea and Flood 2014) and looks up a level."""

    def __init__(self) -> None:
        self._drawn = 0

    def next(self) -> Floats:
        """Return the next number of each path."""
        count = np.arange(self._drawn + 1, self._drawn + 1 + PATHS).astype(np.uint64)
        self._drawn += PATHS
        z = count * np.uint64(_GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
        out: Floats = _levels()[(z >> np.uint64(51)).astype(np.int64)]
        return out


@lru_cache(maxsize=1)
def _levels() -> Floats:
    """Return the middles of `LEVELS` equally likely parts of the normal distribution, by halving."""
    share = (np.arange(LEVELS) + 0.5) / LEVELS
    low, high = np.full(LEVELS, -8.0), np.full(LEVELS, 8.0)
    for _ in range(mixture.HALVINGS):
        middle = 0.5 * (low + high)
        below = mixture.normal(middle) < share
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    out: Floats = 0.5 * (low + high)
    return out
