"""What drift that has to be learned costs at least: the best fixed weighting of clocks whose drifts an optimal linear
estimator learns, knowing every noise and how large drifts of each kind are.

It is a yardstick beside B(tau), which takes drifts as known. Model: of each clock a rate with random walk, first-order
Gauss-Markov processes one to a decade for flicker, and a constant drift d, seen every five days as differences of mean
rates with white FM; the covariance of a Kalman filter, with the rms drift of the kind in the ensemble as what is
expected beforehand. With P the covariance of the drifts at day t and Pi what is expected, the error for the drifts that
the clocks really have is (bias) P Pi^-1 d, (variance) P - P Pi^-1 P; so at tau

    D^2(tau) = mean over t of min over w, sum w = 1, of  sum w_i^2 sigma_i^2 + tau^2/2 w' [variance + bias bias'] w

What all clocks have in common stays: with no clock that is free of drift nobody can be better than what the kinds let
expect.
"""

from math import log, sqrt

import numpy as np
from generator import DAY_S, Source

STEP_S = 5.0 * DAY_S
LAGS_S = (3_600.0, DAY_S, 10.0 * DAY_S, 30.0 * DAY_S)
POLES_S = tuple(10.0**k * DAY_S for k in range(5))
NO_DRIFT = 1e-20 / DAY_S
EVERY = 10


def _expected(sources: tuple[Source, ...]) -> np.ndarray:
    """One sigma of each clock's drift (1/s): the rms of its kind."""
    out = []
    for source in sources:
        same = [other.drift_per_day for other in sources if other.kind == source.kind]
        out.append(max(sqrt(float(np.mean(np.square(same)))) / DAY_S, NO_DRIFT))
    return np.array(out)


def covariances(sources: tuple[Source, ...], *, days: int, dropped: int) -> list[np.ndarray]:
    """The covariance of the drifts (1/s^2) every fifty days after `dropped`, for what `_expected` says beforehand."""
    n, poles = len(sources), len(POLES_S)
    size = poles + 2
    decay = np.exp(-STEP_S / np.array(POLES_S))
    f, q, p = np.zeros((n * size, n * size)), np.zeros((n * size, n * size)), np.zeros((n * size, n * size))
    see = np.zeros((n - 1, n * size))
    noise = np.zeros((n - 1, n - 1)) + sources[0].q1 / STEP_S
    expected = _expected(sources)
    for i, source in enumerate(sources):
        at = i * size
        f[at, at], f[at, at + size - 1], f[at + size - 1, at + size - 1] = 1.0, STEP_S, 1.0
        q[at, at] = source.q2 * STEP_S
        p[at, at] = 1e-16
        p[at + size - 1, at + size - 1] = expected[i] ** 2
        # a decade of 1/f: floor^2 ln 10 / (2 ln 2) of variance to a process
        each = source.floor**2 * log(10.0) / (2.0 * log(2.0))
        for k in range(poles):
            f[at + 1 + k, at + 1 + k] = decay[k]
            p[at + 1 + k, at + 1 + k] = each
            q[at + 1 + k, at + 1 + k] = each * (1.0 - decay[k] ** 2)
        rows = [i - 1] if i else range(n - 1)
        for row in rows:
            see[row, at : at + size - 1] = 1.0 if i else -1.0
        if i:
            noise[i - 1, i - 1] += source.q1 / STEP_S
    unit = np.ones(n * size)
    drifts = np.arange(n) * size + size - 1
    unit[drifts] = 1.0 / STEP_S  # rates and drifts of like size, for the inverses
    f, q, p, see = f * unit[None, :] / unit[:, None], q / np.outer(unit, unit), p / np.outer(unit, unit), see * unit
    out = []
    for k in range(round(days * DAY_S / STEP_S)):
        p = f @ p @ f.T + q
        gain = np.linalg.solve(see @ p @ see.T + noise, see @ p).T
        p -= gain @ see @ p
        p = 0.5 * (p + p.T)
        if k * STEP_S >= dropped * DAY_S and k % EVERY == 0:
            out.append(p[np.ix_(drifts, drifts)] * np.outer(unit[drifts], unit[drifts]))
    return out


def learned_drift2(
    sources: tuple[Source, ...], drifts_per_day: list[np.ndarray], *, days: int, dropped: int
) -> np.ndarray:
    """D^2(tau) at one hour, one, ten and thirty days for these levels, pooled over the drifts that clocks really have
    (`drifts_per_day`, a set for each seed).
    """
    expected2 = np.square(_expected(sources))
    found = []
    for p in covariances(sources, days=days, dropped=dropped):
        off = p / expected2[None, :]
        variance = p - off @ p
        for drift in drifts_per_day:
            bias = off @ (drift / DAY_S)
            error = variance + np.outer(bias, bias)
            row = []
            for tau in LAGS_S:
                own = np.diag([source.variance(tau) for source in sources])
                cost = own + 0.5 * tau * tau * error
                level = float(np.trace(cost)) / len(sources)
                row.append(level / float(np.linalg.inv(cost / level).sum()))
            found.append(row)
    out: np.ndarray = np.mean(found, axis=0)
    return out
