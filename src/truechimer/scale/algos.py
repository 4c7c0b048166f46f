# mypy: allow-untyped-defs, allow-untyped-calls
"""ALGOS: a scale after the fact, batch by batch, as the BIPM computes EAL, as a fold.

    x_i(t) - EAL(t) = (x_i - ref)(t) - sum_j w_j [(x_j - ref)(t) - h_j(t)]
    h_j(t) = a_j + b_j (t - t0) + c_j (t - t0)^2 / 2         over a batch of 30 days from t0

a_j, b_j: phase and rate of clock j at the end of the batch before (the rate is the mean over that batch, carried to its
end with the drift); c_j: its drift. Weights are one over the mean squared difference of predicted and observed rate
over the last 12 batches, at most 4/N. A clock enters the batch after its first whole one. It is not for real time: a
batch is weighed when it is over. The simplification against the BIPM's: drift is not had from TT over six months but
from the drift-free clocks of the ensemble (`drift`), and no clock is put out by a test of its own.

Sources: Panfilo, Harmegnies and Tisserand 2012 (prediction with drift) and 2014 (weights from predicted rates); BIPM
practice for the batch of 30 days and the cap.
Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from truechimer.kernel import kernel
from truechimer.scale.weights import capped

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

VERSION = 1
BATCH_S = 30.0 * 86_400.0
BATCHES = 12
CAP_N = 4.0
FIRST_BATCHES = 2
"""Batches before the rates' errors say enough: weights are equal until then."""


@dataclass(frozen=True, slots=True)
class AlgosState:
    """What the fold carries from batch to batch; arrays `(n,)` or `(BATCHES, n)`.

    `x_s`, `y`: clock minus EAL at the end of the last batch, and its rate there; `known`: bool, has one; `error2`:
    squared differences of predicted and observed rate, NaN where there was none; `batches`: batches done.
    """

    x_s: Floats
    y: Floats
    known: NDArray[np.bool_]
    error2: Floats
    batches: int


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch: `t_s (m,)` from its beginning, `x_clock_minus_ref_s (m, n)` (NaN where unread), `drift (n,)` 1/s."""

    t_s: Floats
    x_clock_minus_ref_s: Floats
    drift: Floats


def start(n_clocks: int) -> AlgosState:
    """Return the state before the first batch."""
    return AlgosState(
        np.zeros(n_clocks),
        np.zeros(n_clocks),
        np.zeros(n_clocks, np.bool_),
        np.full((BATCHES, n_clocks), np.nan),
        0,
    )


@kernel
def _weights(known, error2, batches, seen, cap_n):
    """Weights of the clocks that are known and were read through the batch."""
    n = known.shape[0]
    wanted = np.zeros(n)
    members = 0
    for i in range(n):
        if not known[i] or not seen[i]:
            continue
        members += 1
        total, count = 0.0, 0
        for k in range(error2.shape[0]):
            if np.isfinite(error2[k, i]):
                total += error2[k, i]
                count += 1
        if batches >= FIRST_BATCHES and count >= FIRST_BATCHES:
            wanted[i] = count / max(total, 1e-60)
        elif batches < FIRST_BATCHES:
            wanted[i] = 1.0
    return capped(wanted, cap_n / max(members, 1))


@kernel
def _scale(t, x, x_start, y, drift, known, weight):  # noqa: PLR0917
    """Return ref minus EAL at each epoch of a batch: the weighted mean of predicted less observed."""
    m, n = x.shape
    out = np.full(m, np.nan)
    for k in range(m):
        total, part = 0.0, 0.0
        for i in range(n):
            if weight[i] > 0.0 and known[i] and np.isfinite(x[k, i]):
                predicted = x_start[i] + y[i] * t[k] + 0.5 * drift[i] * t[k] * t[k]
                total += weight[i] * (predicted - x[k, i])
                part += weight[i]
        if part > 0.0:
            out[k] = total / part
    return out


def step(state: AlgosState, batch: Batch) -> tuple[AlgosState, Floats, Floats]:
    """Take one batch; return the state, every clock minus EAL `(m, n)` in seconds, and the weights `(n,)`."""
    t, x = batch.t_s, batch.x_clock_minus_ref_s
    ends = np.isfinite(x[0]) & np.isfinite(x[-1])
    span = float(t[-1] - t[0])
    if state.batches == 0:
        # the first batch only measures: the reference is the scale, and every clock's rate is its own
        y = np.where(ends, (x[-1] - x[0]) / max(span, 1.0), 0.0)
        after = replace(
            state,
            x_s=np.where(ends, x[-1], 0.0),
            y=y + 0.5 * batch.drift * span,
            known=ends,
            batches=1,
        )
        return after, x, np.where(ends, 1.0 / max(int(ends.sum()), 1), 0.0)
    weight = _weights(state.known, state.error2, state.batches, ends, CAP_N)
    if not (weight > 0.0).any():
        weight = np.where(state.known, 1.0 / max(int(state.known.sum()), 1), 0.0)
    ref_minus_eal = _scale(t, x, state.x_s, state.y, batch.drift, state.known, weight)
    out = x + ref_minus_eal[:, None]
    observed = np.where(ends, (out[-1] - out[0]) / max(span, 1.0), np.nan)
    expected = state.y + 0.5 * batch.drift * span
    error2 = state.error2.copy()
    # an observed rate follows the scale by the clock's own weight
    free = np.maximum(1.0 - weight, 0.1)
    difference = observed - expected
    error2[state.batches % BATCHES] = np.where(state.known & ends, difference * difference / free, np.nan)
    after = AlgosState(
        np.where(ends, out[-1], state.x_s + state.y * span + 0.5 * batch.drift * span * span),
        np.where(ends, observed + 0.5 * batch.drift * span, state.y + batch.drift * span),
        state.known | ends,
        error2,
        state.batches + 1,
    )
    return after, out, weight


def run(epoch_tai_ns: Ints, x_clock_minus_ref_s: Floats, drift: Floats) -> tuple[Floats, Floats]:
    """Return every clock minus EAL and the weights, both `(n_epochs, n)`, of a whole record.

    `x_clock_minus_ref_s (n_epochs, n)`: against any one reference that is continuous, NaN where unread; `drift (n,)`:
    1/s. Batches share an epoch: the last of one is the first of the next.
    """
    epochs, n = x_clock_minus_ref_s.shape
    out, weight = np.full((epochs, n), np.nan), np.zeros((epochs, n))
    state = start(n)
    first = 0
    while first < epochs - 1:
        end_ns = int(epoch_tai_ns[first]) + round(BATCH_S * 1e9)
        last = first + 1
        while last < epochs - 1 and int(epoch_tai_ns[last]) < end_ns:
            last += 1
        t = (epoch_tai_ns[first : last + 1] - epoch_tai_ns[first]) / 1e9
        state, x, w = step(state, Batch(t, x_clock_minus_ref_s[first : last + 1], drift))
        out[first : last + 1], weight[first : last + 1] = x, w
        first = last
    return out, weight
