# mypy: allow-untyped-defs, allow-untyped-calls
"""Prediction: where each clock should be now, and how sure that is, from its own rate and noise.

It reads no readings of this epoch. AT1's first line: x^(t + T) = x(t) + y(t) T (Weiss, Allan, Peppler 1989), here with
each clock's own T (a clock may have been silent) and with declared drift.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from truechimer.kernel import kernel
from truechimer.scale.state import ScaleParameters, ScaleState

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Prediction:
    """`x_clock_minus_scale_s`, `variance_s2` (without reading noise; infinite before a rate is known), `dt_s`; shape
    `(n_clocks,)`.
    """

    x_clock_minus_scale_s: Floats
    variance_s2: Floats
    dt_s: Floats


@kernel
def predict_all(  # noqa: PLR0917
    epoch_ns, x, y, best, last_ns, since_ns, membership, step_variance, drift
):
    """See `predict`."""
    n = x.shape[0]
    predicted, variance, span = np.empty(n), np.empty(n), np.empty(n)
    for i in range(n):
        predicted[i] = y[best[i], i]
    # without a branch: machine code takes several clocks at once
    for i in range(n):
        is_there = membership[i] != 0
        dt = (epoch_ns - last_ns[i]) / 1e9
        learned = (last_ns[i] - since_ns[i]) / 1e9
        ahead = x[i] + predicted[i] * dt + 0.5 * drift[i] * dt * dt
        wide = step_variance[i] * dt + step_variance[i] * dt * dt / (learned if learned > 0.0 else 1.0)
        span[i] = dt if is_there else 0.0
        predicted[i] = ahead if is_there else np.nan
        variance[i] = wide if is_there & (learned > 0.0) else np.inf
    return predicted, variance, span


def predict(state: ScaleState, parameters: ScaleParameters, *, epoch_tai_ns: int) -> Prediction:
    """Predict every clock minus the scale at an epoch (ns since 1970 TAI, not before the last scale step)."""
    return Prediction(
        *predict_all(
            epoch_tai_ns,
            state.x_s,
            state.y,
            state.best,
            state.last_ns,
            state.since_ns,
            state.membership,
            state.step_variance,
            parameters.drift,
        )
    )
