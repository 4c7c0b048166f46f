"""Foresight: where UTC minus the free scale will be at any time after the last outside value, and how sure that is,
with the noise of the scale learned from the values themselves.

It chooses no source and steers nothing. A prediction whose noise is given is only as honest as the gift. Here the
values are run through a bank of Kalman filters, each with another noise, and each filter counts with the likelihood of
what came, times what the clocks' kinds and the ensemble's own learning let expect. What is stated is the interval that
holds 68.27 % of that mixture: doubt about the noise makes it wider, and more so the further ahead.

State of a filter: x (s), y, drift of y (1/s; for good, or one that fades as an ensemble learns its clocks' drifts), and
three first-order Gauss-Markov processes whose sum is flicker FM (time constants 16 apart). Source: Harvey 1989, chapter
3 (likelihood by innovations); Zucca and Tavella 2005 (clock model); Percival 2006 for flicker FM as a sum of
relaxations; Raftery, Madigan and Hoeting 1997 (averaging over models).

Law of the file: + - * / and sqrt in a written order, element by element: the same bits on every machine.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from truechimer.steer import mixture
from truechimer.steer.delayed_filter import FreeNoise
from truechimer.steer.mixture import exp_minus, exponential, logarithm, total

Floats = NDArray[np.float64]

DAY_S = 86_400.0
MONTH_S = 30.0 * DAY_S
TAUS_S = (0.5 * DAY_S, 8.0 * DAY_S, 128.0 * DAY_S)
"""Time constants of the flicker. Faster flicker is white FM to values a day apart, slower is a rate."""

VARIANCE_OF_FLOOR = 2.0
"""Variance of each relaxation over the squared ADEV floor: ln 16 / (2 ln 2)."""

COARSE, FINE = (4.0, 16.0, 16.0, 4.0), (1.6, 1.6, 1.6, 1.6)
FAR = (range(-2, 5), range(-2, 2), range(-1, 3), range(-1, 2))
NEAR = (range(-2, 3), range(-3, 3), range(-3, 4), range(-1, 2))
"""Levels of the bank in white, flicker and random-walk FM and in the noise of the values: powers, of so much in
variance. The lowest flicker is none.
"""

DRIFTS = (1.0, 3.0)
"""One sigma of a drift for good, in units of what is expected; where none is expected, there is none. What is expected
of one that fades is what the ensemble knows of its own, and taken as it is.
"""

NEGLIGIBLE = 1e-5
"""Weight against the largest below which a filter is left out in the end."""

AT_THE_END = 0.8
"""A noise whose variance is more than this part of the largest that the bank has stands at its end."""
ONE_SIGMA = 0.6826894921370859
_STATES = 3 + len(TAUS_S)


@dataclass(frozen=True, slots=True)
class Value:
    """An outside value: UTC minus the scale (s) at `epoch_ns` (TAI), and its own noise, one sigma (s)."""

    epoch_ns: int
    x_s: float
    u_s: float


@dataclass(frozen=True, slots=True)
class Doubt:
    """How sure what is expected of the noise is: one sigma of the natural logarithm of each variance."""

    white: float
    flicker: float
    walk: float
    values: float


ENSEMBLE = Doubt(white=0.2, flicker=0.9, walk=0.9, values=0.3)
"""Clocks that were compared with each other have taught their white FM, to a tenth in deviation; what they do over
months is less sure. With 0.5 for white FM and values, the time to violation of five caesiums was stated 4 % shorter,
and not kept more often (150 runs).
"""

ALONE = Doubt(white=1.4, flicker=1.4, walk=1.4, values=0.5)
"""Of one clock alone its kind is known."""


@dataclass(frozen=True, slots=True)
class Learned:
    """The noise in use, as means of the bank: `white_fm` (ADEV at 1 s), `flicker_fm` (floor), `walk_fm` (ADEV at 1 s),
    `values`: noise of the values over what they declare.
    """

    white_fm: float
    flicker_fm: float
    walk_fm: float
    values: float


@dataclass(frozen=True, slots=True, eq=False)
class Foresight:
    """The bank after the last value: `x (6, n)`, `p (6, 6, n)`, levels and `weight (n,)` (sum 1); `n` values, the first
    at `begun_ns`, the last at `epoch_ns` (ns TAI). `fades_s`: time constant of the drift, 0 where it is for good.
    """

    epoch_ns: int
    begun_ns: int
    n: int
    x: Floats
    p: Floats
    q1: Floats
    floor2: Floats
    q2: Floats
    drift2: Floats
    fades_s: float
    noise2: Floats
    weight: Floats


@dataclass(frozen=True, slots=True)
class Ahead:
    """UTC minus the scale at `epoch_ns` (TAI): `x_s`, and half of the interval that holds 68.27 %, `u_s`."""

    epoch_ns: int
    x_s: float
    u_s: float


def foresee(values: tuple[Value, ...], usual: FreeNoise, doubt: Doubt) -> Foresight | None:
    """Learn from values in order of time (two at least, else None); `usual`: what the scale's noise is expected to be.

    Of two values of one epoch, or out of order, the later is left out.
    """
    in_order = list(values[:1])
    for value in values[1:]:
        if value.epoch_ns > in_order[-1].epoch_ns:
            in_order.append(value)
    if len(in_order) < 2:
        return None
    # first roughly and far, then closely around the best
    drifts = (0.0,) if usual.drift_spread <= 0.0 else DRIFTS if usual.q3 <= 0.0 else (1.0,)
    rough = _run(in_order, usual, _grid(doubt, drifts, centre=(1.0, 1.0, 1.0, 1.0), steps=FAR, ratios=COARSE))
    return _likely(_run(in_order, usual, _grid(doubt, drifts, centre=_best(rough, usual), steps=NEAR, ratios=FINE)))


def ahead(known: Foresight, epoch_ns: int) -> Ahead:
    """Return UTC minus the scale at an epoch, the last value's or after it."""
    mean, sigma = _each(known, epoch_ns)
    middle = total(known.weight * mean)
    return Ahead(epoch_ns, middle, mixture.half_width(known.weight, mean - middle, sigma, ONE_SIGMA))


def ahead_x_s(known: Foresight, epoch_ns: int) -> float:
    """Return UTC minus the scale (s) at an epoch, without its uncertainty."""
    dt = (epoch_ns - known.epoch_ns) / 1e9
    return total(known.weight * (stepped(known.x, dt, known.fades_s) if dt > 0.0 else known.x)[0])


def half_width_s(known: Foresight, epoch_ns: int, share: float) -> float:
    """Return half of the interval about `ahead(...).x_s` that holds a share (0 to 1) of what is possible."""
    mean, sigma = _each(known, epoch_ns)
    return mixture.half_width(known.weight, mean - total(known.weight * mean), sigma, share)


def learned(known: Foresight) -> Learned:
    """Return the noise that the bank has settled on."""
    w = known.weight
    return Learned(
        sqrt(total(w * known.q1)),
        sqrt(total(w * known.floor2)),
        sqrt(total(w * known.q2) / 3.0),
        sqrt(total(w * known.noise2)),
    )


def beyond(known: Foresight, usual: FreeNoise) -> tuple[str, ...]:
    """Return which noises stand at the upper end of what the bank can learn from `usual`: white, flicker, walk, values.
    The truth may lie beyond, and then what is stated is too sure.
    """
    found = learned(known)
    noises = (
        ("white", found.white_fm * found.white_fm, usual.q1),
        ("flicker", found.flicker_fm * found.flicker_fm, _floor2(usual)),
        ("walk", found.walk_fm * found.walk_fm * 3.0, usual.q2),
        ("values", found.values * found.values, 1.0),
    )
    names: list[str] = []
    for (name, variance, expected), coarse, far, fine, near in zip(noises, COARSE, FAR, FINE, NEAR, strict=True):
        if variance > AT_THE_END * expected * _power(coarse, far[-1]) * _power(fine, near[-1]):
            names.append(name)
    return tuple(names)


# ---- the bank -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Levels of each filter, shape `(n,)`: variances relative to what is expected, and prior weights."""

    white: Floats
    flicker: Floats
    walk: Floats
    values: Floats
    drift: Floats
    prior: Floats


def _grid(
    doubt: Doubt,
    drifts: tuple[float, ...],
    *,
    centre: tuple[float, float, float, float],
    steps: tuple[range, range, range, range],
    ratios: tuple[float, float, float, float],
) -> _Grid:
    """Lay the levels out around a centre: powers of `ratios` times it; the lowest flicker is none at all."""
    wide = (doubt.white, doubt.flicker, doubt.walk, doubt.values)
    levels: list[list[float]] = []
    far: list[list[float]] = []
    for middle, powers, sigma, ratio in zip(centre, steps, wide, ratios, strict=True):
        each = [middle * _power(ratio, k) for k in powers]
        levels.append(each)
        far.append([(logarithm(level) / sigma) * (logarithm(level) / sigma) for level in each])
    levels[1][0] = 0.0
    rows = [
        (levels[0][a], levels[1][b], levels[2][c], levels[3][d], drift, far[0][a] + far[1][b] + far[2][c] + far[3][d])
        for a in range(len(steps[0]))
        for b in range(len(steps[1]))
        for c in range(len(steps[2]))
        for d in range(len(steps[3]))
        for drift in drifts
    ]
    table = np.array(rows)
    white, flicker, walk, values, drift, far2 = (table[:, k].copy() for k in range(6))
    return _Grid(white, flicker, walk, values, drift, exp_minus(0.5 * far2))


def _run(values: list[Value], usual: FreeNoise, grid: _Grid) -> Foresight:
    """Run the values through every filter of a grid."""
    n = len(grid.white)
    q1, q2 = usual.q1 * grid.white, usual.q2 * grid.walk
    floor2 = _floor2(usual) * grid.flicker
    drift = usual.drift_spread * grid.drift
    first = values[0]
    x, p = np.zeros((_STATES, n)), np.zeros((_STATES, _STATES, n))
    x[0] = first.x_s
    p[0, 0] = first.u_s * first.u_s * grid.values
    p[1, 1] = usual.y_spread * usual.y_spread
    p[2, 2] = drift * drift
    for k in range(len(TAUS_S)):
        p[3 + k, 3 + k] = VARIANCE_OF_FLOOR * floor2
    fades_s = 2.0 * usual.drift_spread * usual.drift_spread / usual.q3 if usual.q3 > 0.0 else 0.0
    known = Foresight(
        first.epoch_ns, first.epoch_ns, 1, x, p, q1, floor2, q2, drift * drift, fades_s, grid.values, grid.prior
    )
    for value in values[1:]:
        known = _taken_in(known, value)
    return replace(known, weight=known.weight / total(known.weight))


def _likely(known: Foresight) -> Foresight:
    """Return the bank without the filters that nothing speaks for."""
    keep = known.weight > NEGLIGIBLE * known.weight.max()
    weight = known.weight[keep]
    return replace(
        known,
        x=known.x[:, keep],
        p=known.p[:, :, keep],
        q1=known.q1[keep],
        floor2=known.floor2[keep],
        q2=known.q2[keep],
        drift2=known.drift2[keep],
        noise2=known.noise2[keep],
        weight=weight / total(weight),
    )


def _floor2(usual: FreeNoise) -> float:
    """Return the expected floor squared; where none is expected, what the random walk is in a month."""
    return usual.floor2 if usual.floor2 > 0.0 else usual.q2 * MONTH_S / 3.0


def _taken_in(known: Foresight, value: Value) -> Foresight:
    """Take one value in, at its time."""
    x, p = moved(known, (value.epoch_ns - known.epoch_ns) / 1e9)
    variance = p[0, 0] + value.u_s * value.u_s * known.noise2 + 1e-30
    off = value.x_s - x[0]
    gain = p[:, 0] / variance
    misfit = 0.5 * (off * off / variance)
    # the best filter's misfit is taken off all, so that a value far from each leaves somebody with a weight
    weight = known.weight * exp_minus(misfit - misfit.min()) / np.sqrt(variance / variance.min())
    return replace(
        known,
        epoch_ns=value.epoch_ns,
        n=known.n + 1,
        x=x + gain * off,
        p=p - gain[:, None] * p[0][None, :],
        weight=weight / weight.max(),
    )


def stepped(x: Floats, dt: float, fades_s: float) -> Floats:
    """Return states (6, n) `dt` seconds later but for noise."""
    decay, gather, *_ = relaxations(dt)
    left, to_y, to_x, _own = drifting(dt, fades_s)
    out = x.copy()
    out[0] = x[0] + dt * x[1] + to_x * x[2]
    out[1] = x[1] + to_y * x[2]
    out[2] = left * x[2]
    for k in range(len(TAUS_S)):
        out[0] = out[0] + gather[k] * x[3 + k]
        out[3 + k] = decay[k] * x[3 + k]
    return out


def moved(known: Foresight, dt: float) -> tuple[Floats, Floats]:
    """Return state and covariance `dt` seconds later."""
    if dt <= 0.0:
        return known.x, known.p
    decay, gather, own_x, own_both, own = relaxations(dt)
    left, to_y, to_x, own_drift = drifting(dt, known.fades_s)
    x, p = known.x.copy(), known.p.copy()
    half = 0.5 * dt * dt
    x[0] = x[0] + dt * x[1] + to_x * x[2]
    x[1] = x[1] + to_y * x[2]
    x[2] = left * x[2]
    row0, row1 = p[0] + dt * p[1] + to_x * p[2], p[1] + to_y * p[2]
    p[2] = left * p[2]
    for k in range(len(TAUS_S)):
        x[0] = x[0] + gather[k] * x[3 + k]
        x[3 + k] = decay[k] * x[3 + k]
        row0 = row0 + gather[k] * p[3 + k]
        p[3 + k] = decay[k] * p[3 + k]
    p[0], p[1] = row0, row1
    column0, column1 = p[:, 0] + dt * p[:, 1] + to_x * p[:, 2], p[:, 1] + to_y * p[:, 2]
    p[:, 2] = left * p[:, 2]
    for k in range(len(TAUS_S)):
        column0 = column0 + gather[k] * p[:, 3 + k]
        p[:, 3 + k] = decay[k] * p[:, 3 + k]
    p[:, 0], p[:, 1] = column0, column1
    p[0, 0] += known.q1 * dt + known.q2 * (dt * dt * dt / 3.0)
    p[0, 1] += known.q2 * half
    p[1, 0] += known.q2 * half
    p[1, 1] += known.q2 * dt
    for a, b, part in own_drift:
        p[a, b] += known.drift2 * part
    relaxed = VARIANCE_OF_FLOOR * known.floor2
    for k in range(len(TAUS_S)):
        p[0, 0] += relaxed * own_x[k]
        p[0, 3 + k] += relaxed * own_both[k]
        p[3 + k, 0] += relaxed * own_both[k]
        p[3 + k, 3 + k] += relaxed * own[k]
    return x, p


@lru_cache(maxsize=64)
def drifting(dt: float, fades_s: float) -> tuple[float, float, float, tuple[tuple[int, int, float], ...]]:
    """Return, over `dt`, what is left of the drift, what of it goes into y and into x, and for unit variance of the
    drift what is new in the covariance of x, y and drift: first-order Gauss-Markov, integrated once and twice.
    """
    if fades_s <= 0.0:
        return 1.0, dt, 0.5 * dt * dt, ()
    tau, h = fades_s, dt / fades_s
    e = float(exp_minus(np.array([h]))[0])
    if h < 0.02:
        # the closed forms lose their digits here
        square, cube = h * h, h * h * h
        twice = square * (0.5 - h / 6.0 + square / 24.0)
        yy = cube * (2.0 / 3.0 - 0.5 * h + 7.0 / 30.0 * square)
        xd = cube * (1.0 / 3.0 - h / 3.0 + 11.0 / 60.0 * square)
        xx = square * cube * (0.1 - h / 18.0 + 5.0 / 252.0 * square)
    else:
        twice = h - 1.0 + e
        yy = 2.0 * h - 3.0 + 4.0 * e - e * e
        xd = 1.0 - e * e - 2.0 * h * e
        xx = 2.0 * ((h - 1.0) * (h - 1.0) * (h - 1.0) + 1.0) / 3.0 - 4.0 * h * e + 1.0 - e * e
    t2 = tau * tau
    own = [(0, 0, t2 * t2 * xx), (1, 1, t2 * yy), (2, 2, 1.0 - e * e)]
    for a, b, part in ((0, 1, t2 * tau * twice * twice), (0, 2, t2 * xd), (1, 2, tau * (1.0 - e) * (1.0 - e))):
        own += [(a, b, part), (b, a, part)]
    return e, tau * (1.0 - e), t2 * twice, tuple(own)


@lru_cache(maxsize=64)
def relaxations(dt: float) -> tuple[tuple[float, ...], ...]:
    """Return for each time constant, over `dt`: decay, gathered phase, and for unit variance the new variance of phase,
    its covariance with the process, and the process's own.
    """
    found = []
    for tau in TAUS_S:
        h = dt / tau
        e = float(exp_minus(np.array([h]))[0])
        if h < 0.02:
            # the closed form loses its digits here
            own_x = tau * tau * h * h * h * (2.0 / 3.0 - 0.5 * h + 7.0 / 30.0 * h * h)
        else:
            own_x = tau * tau * (2.0 * h - 3.0 + 4.0 * e - e * e)
        found.append((e, tau * (1.0 - e), own_x, tau * (1.0 - e) * (1.0 - e), 1.0 - e * e))
    return tuple(zip(*found, strict=True))


def _best(known: Foresight, usual: FreeNoise) -> tuple[float, float, float, float]:
    """Return where the likely levels lie: variances relative to the expected, geometric means over the bank."""
    return (
        _middle(known.q1 / usual.q1, known.weight),
        _middle(known.floor2 / _floor2(usual), known.weight),
        _middle(known.q2 / usual.q2, known.weight),
        _middle(known.noise2, known.weight),
    )


def _middle(levels: Floats, weights: Floats) -> float:
    """Return the geometric mean of the levels that are not zero, 1 where none is left."""
    whole, mean = 0.0, 0.0
    for level, weight in zip(levels.tolist(), weights.tolist(), strict=True):
        if level > 0.0 and weight > 0.0:
            whole += weight
            mean += weight * logarithm(level)
    return exponential(mean / whole) if whole > 0.0 else 1.0


def _each(known: Foresight, epoch_ns: int) -> tuple[Floats, Floats]:
    """Return mean and one sigma of x by each filter at an epoch."""
    x, p = moved(known, (epoch_ns - known.epoch_ns) / 1e9)
    return x[0], np.sqrt(np.maximum(p[0, 0], 1e-30))


def _power(base: float, k: int) -> float:
    out = 1.0
    for _ in range(abs(k)):
        out = out * base
    return out if k >= 0 else 1.0 / out
