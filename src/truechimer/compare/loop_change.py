"""Whether a series that should be constant has changed, where its noise may wander: white noise and a part that comes
and goes over any time up to several times the record, both learned from the series itself.

It knows no links; `loops` brings the sums. A wander is taken for a change by every test that estimates its noise from
differences of neighbours, and a change hides itself in a noise that is estimated with it inside. So two explanations
are held against each other, each as good as it can be: noise alone, and noise with one step. Both choose from the same
`MODELS` of noise; what is stated is how much likelier the better step makes the series, in sigmas of a normal number.

Noise of a cell (a mean of so many epochs that there are at most `MOST_CELLS`): white, not less than is stated, and a
first-order Gauss-Markov process; both by a scalar Kalman filter, at any spacing. Source: Harvey 1989 (likelihood by
innovations; the constant estimated within); Bailey 1980 for the normal number that is as unlikely as a Student's t.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_CELLS = 96
FEWEST_CELLS = 12
SIDE = 2
"""A step has so many cells at least on either side."""

TIMES = (1.5, 6.0, 24.0, 96.0, 384.0)
"""Time constants of the wander in cells, up to `LONGEST` records."""
LONGEST = 6.0
RATIOS = (0.1, 0.4, 1.6, 6.4, 25.6, 400.0)
"""Of its variance to that of white noise; of the change in one cell where it is slow."""
FITTED = 4.0
"""Of as many cells the series has used up: constant, step, and two of the noise."""


@dataclass(frozen=True, slots=True)
class Change:
    """`sigmas`: how far beyond what noise explains the step is (None: too short to say); `step_s`: its size; `at`:
    index of the value with which the later part begins; `u_mean_s`: one sigma of the mean of all by noise.
    """

    sigmas: float | None
    step_s: float
    at: int | None
    u_mean_s: float


def change(epoch_ns: Ints, x_s: Floats, sigma_s: Floats) -> Change:
    """Return the likeliest change of a series in order of time; `sigma_s`: of each value's own white noise, stated."""
    size = -(-len(x_s) // MOST_CELLS)
    n = len(x_s) // size
    stated_s = float(np.sqrt(np.mean(sigma_s * sigma_s) / size))
    if n < FEWEST_CELLS:
        shown_s = float(np.std(x_s)) * float(np.sqrt(size))
        return Change(None, 0.0, None, max(stated_s, shown_s) / float(np.sqrt(max(n, 1))))
    cells = x_s[: n * size].reshape(n, size).mean(axis=1)
    when = epoch_ns[: n * size].reshape(n, size).astype(np.float64).mean(axis=1)
    gaps = np.diff(when)
    spacing = gaps / float(np.median(gaps))
    y = (cells - np.mean(cells)) / stated_s
    tau, ratio = _models(n)
    places = np.arange(SIDE, n - SIDE + 1)
    steps = (np.arange(n)[None, :] >= places[:, None]).astype(np.float64)
    white, log_size = _whitened(np.concatenate([np.ones((1, n)), steps, y[None, :]]), spacing, tau, ratio)
    one, steps, told = white[:, 0], white[:, 1:-1], white[:, -1]
    # the constant is taken out of the steps and of the values, each in the measure of its noise
    square, of_told = (one * one).sum(axis=-1), (one * told).sum(axis=-1)
    of_steps = np.einsum("akn,an->ak", steps, one)
    alone = (told * told).sum(axis=-1) - of_told * of_told / square
    along = np.einsum("akn,akn->ak", steps, steps) - of_steps * of_steps / square[:, None]
    across = np.einsum("akn,an->ak", steps, told) - of_steps * (of_told / square)[:, None]
    left = np.maximum(alone[:, None] - across * across / along, 1e-9 * alone[:, None])
    free = n - FITTED
    log_size = log_size * (free / n)
    without, level = _likelihood(alone, log_size, free)
    with_step, _ = _likelihood(left, log_size[:, None], free)
    best, place = np.unravel_index(int(np.argmax(with_step)), with_step.shape)
    gained = max(float(with_step[best, place] - without.max()), 0.0)
    sigmas = float(np.sqrt(2.0 * gained)) * (8.0 * free + 1.0) / (8.0 * free + 3.0)
    return Change(
        sigmas,
        float(across[best, place] / along[best, place]) * stated_s,
        int(places[place]) * size,
        stated_s * float(np.sqrt(_of_the_mean(spacing, tau, ratio * level, level, np.exp(without - without.max())))),
    )


def _models(n: int) -> tuple[Floats, Floats]:
    """Return time constant (cells) and variance (of white noise's) of the wander of each model; the first has none."""
    found = [(1.0, 0.0)]
    found += [(tau, ratio * max(1.0, 0.5 * tau)) for tau in TIMES if tau <= LONGEST * n for ratio in RATIOS]
    return np.array([tau for tau, _ in found]), np.array([ratio for _, ratio in found])


def _whitened(rows: Floats, spacing: Floats, tau: Floats, ratio: Floats) -> tuple[Floats, Floats]:
    """Return each row (m, n) as each model's innovations of unit variance, (models, m, n), and for each the sum of the
    logarithms of what they were divided by, squared.
    """
    n = rows.shape[1]
    out = np.empty((n, len(tau), len(rows)))
    log_size = np.zeros(len(tau))
    mean, variance = np.zeros((len(tau), len(rows))), ratio.copy()
    for k in range(n):
        if k:
            fades = np.exp(-spacing[k - 1] / tau)
            mean = fades[:, None] * mean
            variance = fades * fades * variance + ratio * (1.0 - fades * fades)
        off = rows[:, k][None, :] - mean
        of_off = variance + 1.0
        out[k] = off / np.sqrt(of_off)[:, None]
        log_size += np.log(of_off)
        gain = variance / of_off
        mean += gain[:, None] * off
        variance = variance - gain * variance
    return out.transpose(1, 2, 0), log_size


def _likelihood(square: Floats, log_size: Floats, free: float) -> tuple[Floats, Floats]:
    """Return the logarithm of the likelihood of each, at its best level of noise, and that level squared (of what is
    stated; never below it).
    """
    level = np.maximum(square / free, 1.0)
    return -0.5 * (free * np.log(level) + square / level + log_size), level


def _of_the_mean(spacing: Floats, tau: Floats, wander: Floats, white: Floats, weight: Floats) -> float:
    """Return the variance of the mean of all cells: that of each model, weighed with its likelihood, for a slow wander
    that a record shows little of makes the mean less sure than any that fits it best.
    """
    at = np.concatenate([[0.0], np.cumsum(spacing)])
    n = len(at)
    apart = np.abs(at[:, None] - at[None, :])
    of_model = [float(np.exp(-apart / each).sum()) for each in tau]
    each = wander * np.array(of_model) + white * n
    return float((weight * each).sum() / weight.sum()) / (n * n)
