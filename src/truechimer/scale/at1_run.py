# mypy: allow-untyped-defs, allow-untyped-calls
"""AT1 over many epochs in one call, for replays: prediction, average, and what a slot teaches, epoch after epoch.

It adds nothing to the scale: a test holds this and `at1.step` equal to the bit.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truechimer.kernel import kernel
from truechimer.scale.at1 import CARRIED, average, carry
from truechimer.scale.learning import CHANGED, learn_at_slot
from truechimer.scale.prediction import predict_all
from truechimer.scale.state import ScaleParameters, ScaleState

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MOVING = tuple(dict.fromkeys((*CARRIED, *CHANGED)))


@kernel
def _run(  # noqa: PLR0917
    epoch_ns, due, x_ip, u2, probation_ns, tau_s, cap_n, sigmas, slot_ns, memories, lags, eligible, q1, drift,
    prior_tau, prior_lag, prior_count, scale_ns, next_slot_ns, weight, x, x_variance, y, last_ns, since_ns,
    good_since_ns, membership, step_variance, step_count, best, tau_excess, tau_noise, tau_count, lag_excess,
    lag_count, ring_ns, ring_x, ring_rate, measured, used, status, divided
):  # fmt: skip
    """Carry the state over many epochs, in place; return what of it is no array, and the floor of the last slot."""
    floor = -1.0
    for k in range(epoch_ns.shape[0]):
        now = epoch_ns[k]
        predicted, variance, span = predict_all(
            now, x, y, best, last_ns, since_ns, membership, step_variance, drift
        )  # fmt: skip
        given, x_pivot, noise, off, divided[k], _ = average(
            scale_ns, x_ip[k], u2[k], predicted, variance, last_ns, membership, weight, eligible, sigmas, cap_n
        )
        found, _ = carry(
            now, due[k], probation_ns, x_ip[k], u2[k], noise, x_pivot, given, off, predicted, variance, span, x,
            x_variance, y, best, last_ns, since_ns, good_since_ns, membership, step_variance, step_count, memories,
            drift, eligible, prior_count, q1, scale_ns, tau_excess, prior_tau
        )  # fmt: skip
        if due[k] and np.isfinite(x_pivot):
            scale_ns = now
            if now >= next_slot_ns:
                wanted, floor = learn_at_slot(
                    now, np.isfinite(x_ip[k]), x, y, best, since_ns, good_since_ns, membership, weight, x_variance,
                    memories, eligible, tau_s, lags, drift, prior_count, sigmas, cap_n, tau_excess, tau_noise,
                    tau_count, lag_excess, lag_count, ring_ns, ring_x, ring_rate, step_variance, prior_lag, prior_tau
                )  # fmt: skip
                weight[:] = wanted
                next_slot_ns = (now // slot_ns + 1) * slot_ns
        for i in range(x.shape[0]):
            measured[k, i], used[k, i], status[k, i] = found[i], given[i], membership[i]
    return scale_ns, next_slot_ns, floor


def run(  # noqa: PLR0917
    state: ScaleState,
    constants: ScaleParameters,
    epoch_tai_ns: Ints,
    x_clock_minus_pivot_s: Floats,
    u2_s2: Floats,
    due: NDArray[np.bool_],
    x_out: Floats,
    used: Floats,
    status: Ints,
    divided: NDArray[np.bool_],
) -> ScaleState:
    """Take many epochs in, as so many `at1.step`s after the first would; return the state after them. The arrays of the
    state given are changed in place: it is of no use afterwards.

    Filled are `x_out`, `used`, `status` `(n_epochs, n)` and `divided (n_epochs,)`: see `ScaleStep`.
    """
    kernels: Any = _run
    scale_ns, next_slot_ns, floor = kernels(
        epoch_tai_ns,
        due,
        x_clock_minus_pivot_s,
        u2_s2,
        round(constants.probation_s * 1e9),
        constants.tau_weight_s,
        constants.weight_cap_n,
        constants.detection_sigmas,
        constants.slot_ns,
        constants.memories_s,
        constants.lags_s,
        constants.eligible,
        constants.q1,
        constants.drift,
        constants.prior_tau,
        constants.prior_lag,
        constants.prior_count,
        state.epoch_ns,
        state.next_slot_ns,
        state.weight,
        *[getattr(state, name) for name in _MOVING],
        x_out,
        used,
        status,
        divided,
    )
    return replace(
        state,
        epoch_ns=int(scale_ns),
        next_slot_ns=int(next_slot_ns),
        slow_floor_s=float(floor) if floor >= 0.0 else state.slow_floor_s,
    )
