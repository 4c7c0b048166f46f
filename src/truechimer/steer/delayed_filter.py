"""The filter behind UTC minus the scale where outside values come late: state, its course without values, one value.

It keeps no history and orders nothing (`delayed_data` does), judges no value and steers nothing. State, in this order:

    x, y, d         UTC minus the scale (s), its rate, its drift (1/s)
    f_1, f_2, f_3   flicker FM of the scale: first-order Gauss-Markov rates of 1, 10 and 100 days
    c_p             for every path of rates: x at the beginning of the interval that is being averaged (s)
    b_p             for every path: what all of its values have in common (calibration; s, of a path of rates 1)

A value of phase is x + b_p + noise. A mean rate over an interval is (x - c_p) / interval + b_p + noise: a fountain is
a frequency standard that speaks now and then, and no clock of the ensemble. What a path has in common is estimated
with everything else, so that values of one path never average below it, and several paths check one another.

Source: Jones and Tryon 1987 and Zucca and Tavella 2005 for clocks, Galleani and Tavella 2010 for the drift; stochastic
cloning (Roumeliotis and Burdick 2002) for mean rates; Bar-Shalom 2002 for values out of sequence. Law of the file:
+ - * / and sqrt on elements in a written order: no sums of NumPy, no products of matrices, no functions.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from truechimer.errors import Misuse

Floats = NDArray[np.float64]

DAY_S = 86_400.0
FLICKER_S = (1.0 * DAY_S, 10.0 * DAY_S, 100.0 * DAY_S)
FLICKER_WEIGHT2 = 1.6609640474436813
"""Variance of each Gauss-Markov rate, one to a decade, per floor squared: ln 10 / (2 ln 2)."""
FASTER_S = 2.0 * FLICKER_WEIGHT2 * FLICKER_S[0] / 9.0
"""White FM (s^2/s per floor squared) that stands for the rates faster than a day: 2 w^2 tau (1/10 + 1/100 + ...)."""

X, Y, D, FLICKER, FIRST = 0, 1, 2, 3, 6


class PathKind(StrEnum):
    """What the values of a path are."""

    PHASE = "phase"
    RATE = "rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """One outside path. `u_common`: one sigma of what all its values have in common (s; of a path of rates 1);
    `common_s`: how long that lasts (time constant, s), 0 for ever.
    """

    name: str
    kind: PathKind = PathKind.PHASE
    u_common: float = 0.0
    common_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FrequencyNoise:
    """`q1`: white FM (s^2/s); `floor2`: flicker FM (ADEV floor squared); `q2`: random-walk FM (1/s)."""

    q1: float
    q2: float
    floor2: float = 0.0

    def allan_variance(self, tau_s: float) -> float:
        """Return the Allan variance at `tau_s`, without drift."""
        return self.q1 / tau_s + self.floor2 + self.q2 * tau_s / 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeNoise(FrequencyNoise):
    """Noise of the scale against UTC: with that of its frequency `q3` (random walk of the drift, 1/s^3); one sigma of
    rate and drift (1/s) before anything is known.
    """

    q3: float = 0.0
    y_spread: float = 1e-12
    drift_spread: float = 0.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """State `mean (n,)` and covariance `p (n, n)` at `epoch_ns` (TAI). Neither array is ever written to."""

    epoch_ns: int
    mean: Floats
    p: Floats


def size_of(paths: tuple[Path, ...]) -> int:
    """Return the number of states."""
    return FIRST + 2 * len(paths)


def clone_of(path: int) -> int:
    """Return the place of the phase at the beginning of a path's interval."""
    return FIRST + 2 * path


def common_of(path: int) -> int:
    """Return the place of what the values of a path have in common."""
    return FIRST + 2 * path + 1


def begin(noise: FreeNoise, paths: tuple[Path, ...], path: int, *, epoch_ns: int, x_s: float, u_s: float) -> Estimate:
    """Begin with a first value of phase and an honest ignorance of rate and drift."""
    if paths[path].kind is not PathKind.PHASE:
        raise Misuse("a prediction begins with a phase: a rate alone says nothing of where UTC is")
    n = size_of(paths)
    mean, p = np.zeros(n), np.zeros((n, n))
    mean[X] = x_s
    p[Y, Y] = noise.y_spread * noise.y_spread
    p[D, D] = noise.drift_spread * noise.drift_spread
    for k in range(len(FLICKER_S)):
        p[FLICKER + k, FLICKER + k] = FLICKER_WEIGHT2 * noise.floor2
    for k, each in enumerate(paths):
        p[common_of(k), common_of(k)] = each.u_common * each.u_common
    common2 = paths[path].u_common * paths[path].u_common
    at = common_of(path)
    p[X, X] = u_s * u_s + common2
    p[X, at] = p[at, X] = -common2
    return Estimate(epoch_ns, mean, p)


def predicted(before: Estimate, noise: FreeNoise, paths: tuple[Path, ...], epoch_ns: int) -> Estimate:
    """Carry the state on to an epoch; one not after the state's own returns it unchanged."""
    dt = (epoch_ns - before.epoch_ns) / 1e9
    if dt <= 0.0:
        return before
    half, decays, reach, kept = _steps(dt, paths)
    mean = before.mean.copy()
    _advance(mean, dt, half, decays, reach, kept)
    p = before.p.copy()
    _advance(p, dt, half, decays, reach, kept)
    _advance(p.T, dt, half, decays, reach, kept)
    p[X, X] += (noise.q1 + FASTER_S * noise.floor2) * dt + noise.q2 * dt * dt * dt / 3.0
    xy = noise.q2 * half
    p[Y, Y] += noise.q2 * dt
    if noise.q3 > 0.0:
        p[X, X] += noise.q3 * dt * half * half / 5.0
        xy += noise.q3 * half * half / 2.0
        xd = noise.q3 * dt * half / 3.0
        p[X, D] += xd
        p[D, X] += xd
        p[Y, Y] += noise.q3 * dt * dt * dt / 3.0
        p[Y, D] += noise.q3 * half
        p[D, Y] += noise.q3 * half
        p[D, D] += noise.q3 * dt
    p[X, Y] += xy
    p[Y, X] += xy
    variance = FLICKER_WEIGHT2 * noise.floor2
    if variance > 0.0:
        for k, tau_s in enumerate(FLICKER_S):
            at, a, h = FLICKER + k, decays[k], dt / tau_s
            p[X, X] += variance * tau_s * tau_s * wandered(h, a)
            cross = variance * tau_s * (1.0 - a) * (1.0 - a)
            p[X, at] += cross
            p[at, X] += cross
            p[at, at] += variance * (1.0 - a * a)
    for at, a in kept:
        u = paths[(at - FIRST) // 2].u_common
        p[at, at] += u * u * (1.0 - a * a)
    return Estimate(epoch_ns, mean, p)


def course(from_ns: int, to_ns: int, paths: tuple[Path, ...]) -> Floats:
    """Return the matrix by which a state at one epoch becomes the one expected at a later one."""
    matrix = np.eye(size_of(paths))
    dt = (to_ns - from_ns) / 1e9
    if dt > 0.0:
        _advance(matrix, dt, *_steps(dt, paths))
    return matrix


def _steps(dt: float, paths: tuple[Path, ...]) -> tuple[float, list[float], list[float], list[tuple[int, float]]]:
    """Return what a state is carried on over `dt` (s) with, see `_advance`."""
    decays = [decay(dt / tau_s) for tau_s in FLICKER_S]
    reach = [tau_s * (1.0 - a) for tau_s, a in zip(FLICKER_S, decays, strict=True)]
    kept = [(common_of(k), decay(dt / path.common_s)) for k, path in enumerate(paths) if path.common_s > 0.0]
    return 0.5 * dt * dt, decays, reach, kept


def _advance(  # noqa: PLR0917
    rows: Floats, dt: float, half: float, decays: list[float], reach: list[float], kept: list[tuple[int, float]]
) -> None:
    """Carry the rows of a state or of a covariance on, in place."""
    rows[X] += dt * rows[Y] + half * rows[D]
    for k, c in enumerate(reach):
        rows[X] += c * rows[FLICKER + k]
        rows[FLICKER + k] *= decays[k]
    rows[Y] += dt * rows[D]
    for at, a in kept:
        rows[at] *= a


def opened(before: Estimate, *, u_x_s: float, u_y: float) -> Estimate:
    """Return the state after the scale moved by what nobody knows: one sigma of phase (s) and of rate."""
    p = before.p.copy()
    p[X, X] += u_x_s * u_x_s
    p[Y, Y] += u_y * u_y
    return Estimate(before.epoch_ns, before.mean, p)


def cloned(before: Estimate, path: int) -> Estimate:
    """Return the state with the present phase kept as the beginning of a path's interval."""
    at = clone_of(path)
    mean, p = before.mean.copy(), before.p.copy()
    mean[at] = mean[X]
    p[at, :] = p[X, :]
    p[:, at] = p[:, X]
    p[at, at] = p[X, X]
    return Estimate(before.epoch_ns, mean, p)


@dataclass(frozen=True, slots=True)
class Innovation:
    """A value against what was predicted for it: `by` (s; of a rate, s over its interval) and its `variance` (s^2)."""

    by: float
    variance: float

    @property
    def sigmas(self) -> float:
        """The size of the innovation in sigmas, with sign."""
        return self.by / sqrt(self.variance)


def innovation_of(
    state: Estimate, paths: tuple[Path, ...], path: int, *, value: float, u: float, span_s: float
) -> tuple[Innovation, Floats]:
    """Return a value's innovation and the covariance of the state with it. `value`, `u`: s, of a path of rates 1, then
    over `span_s`.
    """
    p, mean, at = state.p, state.mean, common_of(path)
    if paths[path].kind is PathKind.PHASE:
        column = p[:, X] + p[:, at]
        expected = float(mean[X]) + float(mean[at])
        variance = float(column[X]) + float(column[at]) + u * u
        return Innovation(value - expected, variance), column
    since = clone_of(path)
    column = p[:, X] - p[:, since] + span_s * p[:, at]
    expected = float(mean[X]) - float(mean[since]) + span_s * float(mean[at])
    variance = float(column[X]) - float(column[since]) + span_s * float(column[at]) + u * u * span_s * span_s
    return Innovation(value * span_s - expected, variance), column


def corrected(state: Estimate, innovation: Innovation, column: Floats) -> Estimate:
    """Take a value in (see `innovation_of`)."""
    gain = column / innovation.variance
    mean = state.mean + gain * innovation.by
    p = state.p - gain[:, None] * column[None, :]
    p = 0.5 * (p + p.T)
    return Estimate(state.epoch_ns, mean, p)


def decay(h: float) -> float:
    """Return exp(-h), h >= 0, of + - * / alone: a ratio of cubics after halving, squared back."""
    if h > 64.0:
        return 0.0
    halvings = 0
    while h > 0.015625:
        h *= 0.5
        halvings += 1
    h2 = h * h
    even, odd = 120.0 + 12.0 * h2, 60.0 * h + h2 * h
    a = (even - odd) / (even + odd)
    for _ in range(halvings):
        a *= a
    return a


def wandered(h: float, a: float) -> float:
    """Return the variance of the phase that a Gauss-Markov rate of variance 1 has made after h time constants, without
    what its beginning foretells, in time constants squared: 2h - 3 + 4a - a^2.
    """
    if h < 1e-3:
        return 2.0 * h * h * h / 3.0 * (1.0 - 0.75 * h)
    return 2.0 * h - 3.0 + 4.0 * a - a * a
