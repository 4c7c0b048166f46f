# mypy: allow-untyped-defs, allow-untyped-calls
"""The bands over many epochs in one call, for replays: epochs on which nothing but readings comes in are taken by
machine code one after another, all others by `bands.advance`.

It adds nothing to the scale: a test holds the two ways equal to the bit.
"""

import numpy as np
from numpy.typing import NDArray

from truechimer.kernel import kernel
from truechimer.scale import bands
from truechimer.scale.bands_kernels import forget, membership, sample
from truechimer.scale.bands_move import move
from truechimer.scale.bands_state import (
    ACTIVE,
    DAY,
    EPOCH_NS,
    SHIFT,
    SINCE_NS,
    STATUS,
    TAKEN,
    BandsParameters,
    BandsState,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@kernel
def _plain(  # noqa: PLR0917
    begin, epoch_ns, due, x_ip, u2, verdict, is_special, memories, loops, strides, spacing_ns, eligible, probation_ns,
    absent_ns, settle_ns, day_ns, clock_f, clock_i, rate, band, bank, smooth, wanted, noise, squares, counts, usual,
    pair, pair_count, ring, newest, slot, common_f, common_i, x_out, used, residual, status
):  # fmt: skip
    """Take epochs from `begin` on while nothing but readings comes in; return the first that is not of that kind."""
    n = x_ip.shape[1]
    active, was = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for k in range(begin, epoch_ns.shape[0]):
        for i in range(n):
            x_out[k, i], used[k, i], residual[k, i] = np.nan, 0.0, np.nan
            status[k, i] = verdict[k, i]
        if not due[k]:
            continue
        if is_special[k] or common_i[EPOCH_NS] == 0 or epoch_ns[k] // day_ns != common_i[DAY]:
            return k
        for i in range(n):
            active[i], was[i] = clock_i[i, ACTIVE], clock_i[i, STATUS]
            if clock_f[i, TAKEN] != 0.0:
                return k
        if membership(epoch_ns[k], x_ip[k], verdict[k], eligible, probation_ns, absent_ns, clock_i, common_i):
            # new weights are made by `bands.advance`, which finds that out again
            for i in range(n):
                clock_i[i, ACTIVE], clock_i[i, STATUS] = active[i], was[i]
            return k
        common_f[SHIFT] = 0.0
        x_pivot, _ = move(
            epoch_ns[k], x_ip[k], u2[k], memories, loops, settle_ns, clock_f, clock_i, rate, band, noise, bank, smooth,
            wanted, common_f, common_i, x_out[k], used[k], residual[k]
        )  # fmt: skip
        if np.isfinite(x_pivot):
            for i in range(n):
                if clock_i[i, SINCE_NS] == epoch_ns[k]:
                    forget(i, clock_f, clock_i, ring)
            sample(
                epoch_ns[k], x_ip[k], x_pivot, memories, strides, spacing_ns, clock_i, rate, noise, squares, counts,
                usual, pair, pair_count, ring, newest, slot
            )  # fmt: skip
        for i in range(n):
            status[k, i] = clock_i[i, STATUS]
    return epoch_ns.shape[0]


def moved_at(moved: Floats, k: int) -> bands.Moved:
    """Return what `bands.advance` wants to know of the rates that have moved at epoch k."""
    return moved[k, :, 0], moved[k, :, 1], moved[k, :, 2] > 0.0


def run(  # noqa: PLR0917
    state: BandsState,
    constants: BandsParameters,
    epoch_tai_ns: Ints,
    x_clock_minus_pivot_s: Floats,
    u2_s2: Floats,
    due: NDArray[np.bool_],
    verdict: Ints,
    anew: NDArray[np.bool_],
    moved: Floats,
    x_out: Floats,
    used: Floats,
    residual: Floats,
    status: Ints,
) -> None:
    """Take many epochs in, changing the state in place; arguments as `bands.advance`, with a row for each epoch.

    `moved (n_epochs, n, 3)`: see `detection_run.Judgements`. Filled are
    `x_out`, `used`, `residual` and `status`, `(n_epochs, n)`; an epoch that is not `due` has none of them but the
    verdict.
    """
    k, end = 0, len(epoch_tai_ns)
    is_special = np.logical_or.reduce(anew | (moved[:, :, 1] != 0.0), axis=1)
    while True:
        k = _plain(
            k,
            epoch_tai_ns,
            due,
            x_clock_minus_pivot_s,
            u2_s2,
            verdict,
            is_special,
            constants.memories_s,
            constants.loops_s,
            constants.strides,
            constants.spacing_ns,
            constants.eligible,
            constants.probation_ns,
            constants.absent_ns,
            constants.settle_ns,
            constants.day_ns,
            state.clock_f,
            state.clock_i,
            state.rate,
            state.band,
            state.bank,
            state.smooth,
            state.wanted,
            state.noise,
            state.squares,
            state.counts,
            state.usual,
            state.pair,
            state.pair_count,
            state.ring,
            state.newest,
            state.slot,
            state.common_f,
            state.common_i,
            x_out,
            used,
            residual,
            status,
        )
        if k >= end:
            return
        bands.advance(
            state,
            constants,
            int(epoch_tai_ns[k]),
            x_clock_minus_pivot_s[k],
            u2_s2[k],
            verdict[k],
            anew[k],
            x_out[k],
            used[k],
            residual[k],
            moved_at(moved, k),
        )
        status[k] = state.clock_i[:, STATUS]
        k += 1
