"""A link's epochs smoothed: the difference of two clocks as phase and rate that wander, seen through white noise.

It knows no satellites. Model: x' = x + T y, rate y a random walk of intensity `q2` (1/s), white frequency noise `q1`
(s), reading noise the link's own sigma times one common factor. The three are chosen by the likelihood of the
innovations on a grid, so that a noisy link of good clocks is smoothed much and a quiet link of poor ones hardly.
Filter: Kalman 1960; smoother: Bierman 1977 (the modified
Bryson-Frazier form, which inverts no covariance).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Q1_GRID = (0.0, 1e-28, 1e-26, 1e-24, 1e-22, 1e-20)
"""Intensities of white frequency noise, s: sigma(1 s) squared. 1e-24 is a good caesium."""
Q2_GRID = (1e-40, 1e-38, 1e-36, 1e-34, 1e-32, 1e-30)
"""Intensities of random-walk frequency noise, 1/s."""
NOISE_GRID = (0.7, 1.0, 1.4, 2.0)
"""Factors of the stated sigmas."""
FEWEST = 4
"""Fewer epochs are not smoothed."""
UNKNOWN_RATE = 1e-9
_UNKNOWN_RATE_NS_PER_KS = UNKNOWN_RATE * 1e12
_Q1, _Q2 = 1e21, 1e27
"""From s to ns^2/ks, and from 1/s to ns^2/ks^3."""


@dataclass(frozen=True, slots=True, eq=False)
class Smoothed:
    """`x_s`, `u_s` and `rate`, `u_rate`, all `(n,)`: the smoothed difference, its sigma, the rate and its sigma;
    `noise_factor`: by which the stated sigmas are multiplied; `q1_s`, `q2_per_s`: the noise of the clocks found.
    """

    x_s: Floats
    u_s: Floats
    rate: Floats
    u_rate: Floats
    noise_factor: float
    q1_s: float
    q2_per_s: float


def smooth(epoch_ns: Ints, x_s: Floats, u_s: Floats) -> Smoothed | None:
    """Return a link's series smoothed, all epochs used for each; None: fewer than `FEWEST` epochs.

    `epoch_ns` rises; `u_s` > 0 where known, NaN or 0 counts as the median of the others.
    """
    if len(x_s) < FEWEST:
        return None
    t = (epoch_ns - epoch_ns[0]) * 1e-12
    u = np.where(np.isfinite(u_s) & (u_s > 0.0), u_s, np.nan)
    usual = float(np.nanmedian(u)) if np.isfinite(u).any() else float(np.std(x_s))
    u = np.where(np.isfinite(u), u, usual if usual > 0.0 else 1e-12)
    x, u = (x_s - x_s[0]) * 1e9, u * 1e9  # ns and thousands of seconds: all numbers near one
    best = max(
        (_likelihood(t, x, factor * u, q1 * _Q1, q2 * _Q2), factor, q1, q2)
        for factor in NOISE_GRID
        for q1 in Q1_GRID
        for q2 in Q2_GRID
    )
    _, factor, q1, q2 = best
    mean, variance = _filter_and_smooth(t, x, factor * u, q1 * _Q1, q2 * _Q2)
    sigma = np.sqrt(np.maximum(np.diagonal(variance, axis1=1, axis2=2), 0.0))
    return Smoothed(
        mean[:, 0] * 1e-9 + x_s[0],
        sigma[:, 0] * 1e-9,
        mean[:, 1] * 1e-12,
        sigma[:, 1] * 1e-12,
        factor,
        q1,
        q2,
    )


def _step(dt: float, q1: float, q2: float) -> tuple[Floats, Floats]:
    """Return transition and process noise over `dt` seconds."""
    transition = np.array([[1.0, dt], [0.0, 1.0]])
    noise = np.array([[q1 * dt + q2 * dt**3 / 3.0, q2 * dt**2 / 2.0], [q2 * dt**2 / 2.0, q2 * dt]])
    return transition, noise


def _likelihood(t: Floats, x: Floats, u: Floats, q1: float, q2: float) -> float:
    """Return the logarithm of the likelihood of the innovations from the third epoch on, in plain numbers."""
    a, b = float(x[0]), 0.0
    paa, pab, pbb = float(u[0] ** 2), 0.0, _UNKNOWN_RATE_NS_PER_KS**2
    total = 0.0
    for k in range(1, len(t)):
        dt = float(t[k] - t[k - 1])
        a += dt * b
        paa += 2.0 * dt * pab + dt * dt * pbb + q1 * dt + q2 * dt**3 / 3.0
        pab += dt * pbb + q2 * dt**2 / 2.0
        pbb += q2 * dt
        variance = paa + float(u[k] ** 2)
        off = float(x[k]) - a
        if k >= 2:
            total -= 0.5 * (np.log(variance) + off * off / variance)
        ga, gb = paa / variance, pab / variance
        a += ga * off
        b += gb * off
        pbb -= gb * pab
        pab -= ga * pab
        paa -= ga * paa
    return float(total)


def _filter_and_smooth(t: Floats, x: Floats, u: Floats, q1: float, q2: float) -> tuple[Floats, Floats]:
    """Return smoothed states `(n, 2)` and their covariances `(n, 2, 2)`; units as given, well scaled ones please.

    The backward pass carries what later epochs say as (lambda, Lambda), which needs no inverse of a covariance.
    """
    n = len(t)
    mean, variance = np.zeros((n, 2)), np.zeros((n, 2, 2))
    gains, offs, innovations = np.zeros((n, 2)), np.zeros(n), np.ones(n)
    mean[0], variance[0] = (x[0], 0.0), np.diag([u[0] ** 2, _UNKNOWN_RATE_NS_PER_KS**2])
    for k in range(1, n):
        transition, noise = _step(float(t[k] - t[k - 1]), q1, q2)
        before = transition @ mean[k - 1]
        spread = transition @ variance[k - 1] @ transition.T + noise
        innovations[k] = spread[0, 0] + u[k] ** 2
        gains[k] = spread[:, 0] / innovations[k]
        offs[k] = x[k] - before[0]
        mean[k] = before + gains[k] * offs[k]
        variance[k] = spread - np.outer(gains[k], spread[0])
    weight, push = np.zeros((2, 2)), np.zeros(2)
    for k in range(n - 1, 0, -1):
        keep = np.eye(2)
        keep[:, 0] -= gains[k]
        weight, push = keep.T @ weight @ keep, keep.T @ push
        weight[0, 0] += 1.0 / innovations[k]
        push[0] -= offs[k] / innovations[k]
        transition, _ = _step(float(t[k] - t[k - 1]), q1, q2)
        weight, push = transition.T @ weight @ transition, transition.T @ push
        mean[k - 1] -= variance[k - 1] @ push
        variance[k - 1] -= variance[k - 1] @ weight @ variance[k - 1]
    return mean, variance
