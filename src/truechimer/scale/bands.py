# mypy: allow-untyped-defs, allow-untyped-calls
"""Bands: an ensemble time scale whose weights differ from one averaging time to the next, as a fold.

    sum_i c_i0 [x_i(t) - x_i(t-T)]  =  T [ r - sum_i sum_k c_ik y_ik(t-T) ]            x_i: clock i minus the scale

y_ik is the rate of clock i over the memory M_k, c the weights of `band_weights`, made from noise that is learned from
the clocks' differences (`noise_learning`); r keeps the scale's rate where it is when weights change. With one memory a
clock and c_ik = -c_i0 this is AT1. What differs from it: a clock that is quiet over hours rules the hours, one that is
steady over months rules the months, and the scale is near the best that any causal scale can do at both.

It never steers and excludes nobody: a clock that detection has out carries no weight, is still predicted, and comes
back at its predicted place. Without readings it coasts.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

from math import isfinite, sqrt

import numpy as np
from numpy.typing import NDArray

from truechimer.errors import Misuse
from truechimer.scale import bands_doubt, drift, taking_back
from truechimer.scale import bands_kernels as kernels
from truechimer.scale.bands_move import move
from truechimer.scale.bands_state import (
    ACTIVE,
    CEILING,
    DAY,
    FIRST_DAY,
    GOING,
    PLANS,
    SHIFT,
    SINCE_NS,
    START_NS,
    STATUS,
    TAKEN,
    BandsParameters,
    BandsState,
    empty_state,
    parameters,
)
from truechimer.scale.state import Membership, ScaleStep

__all__ = ["BandsParameters", "BandsState", "advance", "parameters", "peek", "start", "step"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NO_VERDICT = -1
_DOUBTED = int(Membership.DOUBTED)

Moved = tuple[Floats, Floats, NDArray[np.bool_]]
"""Of each clock: by how much its rate has moved (0: not), since how long ago (s), and whether evenly, as a ramp."""


def start(constants: BandsParameters) -> BandsState:
    """Return the state before the first reading."""
    return empty_state(constants)


def advance(  # noqa: PLR0917
    state: BandsState,
    constants: BandsParameters,
    epoch_tai_ns: int,
    x_clock_minus_pivot_s: Floats,
    u2_s2: Floats,
    verdict: Ints,
    anew: NDArray[np.bool_],
    x_out: Floats,
    used: Floats,
    residual: Floats,
    moved: Moved | None = None,
) -> tuple[float, float]:
    """Take one epoch in, changing the state in place; see `step`. For replays, which own their state."""
    used.fill(0.0)
    residual.fill(np.nan)
    x_out.fill(np.nan)
    x_ip = x_clock_minus_pivot_s
    if state.epoch_ns == 0:
        begun = kernels.begin(
            epoch_tai_ns,
            x_ip,
            u2_s2,
            verdict,
            constants.eligible,
            constants.day_ns,
            state.clock_f,
            state.clock_i,
            state.noise,
            state.common_i,
        )
        if not begun:
            return float("nan"), 0.0
        _plan(state, constants, epoch_tai_ns)
        mean, variance = kernels.origin(
            epoch_tai_ns, x_ip, u2_s2, state.clock_f, state.clock_i, state.band, state.bank, x_out, used
        )
        _sample(state, constants, epoch_tai_ns, x_ip, -mean)
        return -mean, variance
    state.common_f[SHIFT] = 0.0
    back = _take_back(state, constants, epoch_tai_ns, moved)
    again = []
    if anew.any():
        for i in np.flatnonzero(anew).tolist():
            if moved is not None and verdict[i] == _DOUBTED and moved[1][i] > 0.0 and state.clock_i[i, ACTIVE] == 1:
                bands_doubt.wander(epoch_tai_ns, i, moved[0][i], moved[1][i], state.clock_f, state.clock_i, state.ring)
                again.append((i, float(moved[0][i])))
                # what it had forced upon the scale's rate is handed back: a doubt is no hurry
                state.common_f[GOING] += state.clock_f[i, TAKEN]
            else:
                kernels.forget(i, state.clock_f, state.clock_i, state.ring)
    if state.clock_f[:, TAKEN].any():
        taking_back.give_back(
            epoch_tai_ns,
            verdict,
            constants.memories_s,
            state.clock_f,
            state.clock_i,
            state.rate,
            state.common_f,
        )
    changed = kernels.membership(
        epoch_tai_ns,
        x_ip,
        verdict,
        constants.eligible,
        constants.probation_ns,
        constants.absent_ns,
        state.clock_i,
        state.common_i,
    )
    if changed or again:
        _plan(state, constants, epoch_tai_ns, is_membership=True)
    doubted = {i for i, _ in again}
    for i, part in back:
        if i not in doubted:
            state.rate[i] += part
    for i, moved_y in again:
        bands_doubt.rerate(i, moved_y, state.clock_f, state.clock_i, state.rate, state.common_f)
    x_pivot, variance = move(
        epoch_tai_ns,
        x_ip,
        u2_s2,
        constants.memories_s,
        constants.loops_s,
        constants.settle_ns,
        state.clock_f,
        state.clock_i,
        state.rate,
        state.band,
        state.noise,
        state.bank,
        state.smooth,
        state.wanted,
        state.common_f,
        state.common_i,
        x_out,
        used,
        residual,
    )
    if not isfinite(x_pivot):
        return x_pivot, variance
    for i in np.flatnonzero(state.clock_i[:, SINCE_NS] == epoch_tai_ns).tolist():
        # new, or another clock than it was before it was away
        kernels.forget(i, state.clock_f, state.clock_i, state.ring)
    _sample(state, constants, epoch_tai_ns, x_ip, x_pivot)
    day = epoch_tai_ns // constants.day_ns
    if day != state.common_i[DAY]:
        state.common_i[DAY] = day
        drift.daily(
            epoch_tai_ns,
            int(state.common_i[START_NS]),
            state.noise,
            constants.drift_u2,
            constants.drift_guessed,
            constants.drift_known,
            constants.drift,
            state.clock_f,
            state.clock_i,
        )
        if _is_planning_day(day - int(state.common_i[FIRST_DAY])):
            state.common_i[PLANS] += 1
            if day - int(state.common_i[FIRST_DAY]) > 1:
                kernels.learn(
                    constants.strides,
                    constants.lags_s,
                    constants.kinds,
                    constants.of_kind,
                    constants.prior,
                    constants.prior_worth,
                    state.clock_f,
                    state.clock_i,
                    state.noise,
                    state.squares,
                    state.counts,
                    state.usual,
                    state.pair,
                    state.pair_count,
                    constants.spacing_ns,
                )
            _plan(state, constants, epoch_tai_ns)
    return x_pivot, variance


def _take_back(
    state: BandsState, constants: BandsParameters, epoch_ns: int, moved: Moved | None
) -> list[tuple[int, Floats]]:
    """Take from the scale's rate what clocks that are put out now have forced upon it; return what their own rates get
    back once their weight is gone.
    """
    if moved is None or not moved[1].any():
        return []
    out = []
    for i in np.flatnonzero(moved[1][: len(constants.prior)]).tolist():
        part = np.zeros(len(constants.memories_s))
        taking_back.take_back(
            epoch_ns,
            i,
            moved[0][i],
            moved[1][i],
            moved[2][i],
            constants.memories_s,
            state.clock_f,
            state.clock_i,
            state.rate,
            state.band,
            state.common_f,
            part,
        )
        out.append((i, part))
    return out


def replanned(state: BandsState, constants: BandsParameters, ceilings: Floats, epoch_tai_ns: int) -> None:
    """Hold each clock's weight below its ceiling from here on (`(n,)`, 1: none), changing the state in place; weights
    are made anew where a ceiling is another than it was. A ceiling of 0 is for who says who is eligible.
    """
    wanted = np.where((ceilings > 0.0) & (ceilings < 1.0), ceilings, 0.0)
    if np.array_equal(wanted, state.clock_f[:, CEILING]):
        return
    state.clock_f[:, CEILING] = wanted
    if state.epoch_ns != 0 and state.clock_i[:, ACTIVE].any():
        _plan(state, constants, epoch_tai_ns, is_membership=True)


def peek(  # noqa: PLR0917
    state: BandsState,
    constants: BandsParameters,
    epoch_tai_ns: int,
    x_clock_minus_pivot_s: Floats,
    u2_s2: Floats,
    x_out: Floats,
    used: Floats,
    residual: Floats,
) -> tuple[float, float]:
    """Say what `advance` would say of an epoch between two scale steps, and change nothing: the same kernel on copies
    of what it carries on. A clock without a reading (NaN) has no vote.
    """
    used.fill(0.0)
    residual.fill(np.nan)
    x_out.fill(np.nan)
    if state.epoch_ns == 0:
        return float("nan"), 0.0
    return move(  # type: ignore[no-any-return]
        epoch_tai_ns,
        x_clock_minus_pivot_s,
        u2_s2,
        constants.memories_s,
        constants.loops_s,
        constants.settle_ns,
        state.clock_f.copy(),
        state.clock_i.copy(),
        state.rate.copy(),
        state.band,
        state.noise,
        state.bank.copy(),
        state.smooth.copy(),
        state.wanted,
        state.common_f.copy(),
        state.common_i.copy(),
        x_out,
        used,
        residual,
    )


def _is_planning_day(day: int) -> bool:
    """Weights are made anew daily for a month, every fifth day for ten, then every twentieth: they have settled."""
    return day < 30 or (day < 300 and day % 5 == 0) or day % 20 == 0


def _plan(state: BandsState, constants: BandsParameters, epoch_ns: int, *, is_membership: bool = False) -> None:
    """Make the weights anew; `is_membership`: because the active clocks have changed."""
    kernels.plan(
        epoch_ns,
        is_membership,
        constants.memories_s,
        constants.loops_s,
        constants.taus_s,
        constants.allowed,
        constants.column_allowed,
        constants.tensors,
        constants.past,
        constants.present,
        constants.windows,
        constants.unit,
        state.clock_f,
        state.clock_i,
        state.rate,
        state.band,
        state.noise,
        state.wanted,
        state.common_f,
        state.common_i,
    )


def _sample(state: BandsState, constants: BandsParameters, epoch_ns: int, x_ip: Floats, x_pivot: float) -> None:
    """Let noise learning see the epoch, where a slot of its ladder begins."""
    if (epoch_ns // constants.spacing_ns == state.slot).all():
        return
    kernels.sample(
        epoch_ns,
        x_ip,
        x_pivot,
        constants.memories_s,
        constants.strides,
        constants.spacing_ns,
        state.clock_i,
        state.rate,
        state.noise,
        state.squares,
        state.counts,
        state.usual,
        state.pair,
        state.pair_count,
        state.ring,
        state.newest,
        state.slot,
    )


def step(
    state: BandsState,
    constants: BandsParameters,
    *,
    epoch_tai_ns: int,
    x_clock_minus_pivot_s: Floats,
    u2_s2: Floats,
    verdict: Ints | None = None,
    anew: NDArray[np.bool_] | None = None,
    moved: Moved | None = None,
) -> tuple[BandsState, ScaleStep]:
    """Take one epoch of clocks minus pivot into the scale.

    `x_clock_minus_pivot_s`, `u2_s2`: shape `(n_clocks,)`, seconds and s^2, NaN where a clock gave no reading.
    `verdict`: a `Membership` of each clock from detection (only `IN` carries weight), None where nobody judges; `anew`:
    bool, clocks whose rate is learned from here; `moved`: how the rates of those that are put out have moved, which is
    taken back from the scale's (`taking_back`). Raises `BandsMisuse` for an epoch that does not follow the last one.
    """
    n = len(constants.prior)
    if state.epoch_ns and epoch_tai_ns <= state.epoch_ns:
        raise BandsMisuse(state.epoch_ns, epoch_tai_ns)
    state = state.copy()
    x, used, residual = np.empty(n), np.empty(n), np.empty(n)
    x_pivot, variance = advance(
        state,
        constants,
        epoch_tai_ns,
        x_clock_minus_pivot_s,
        u2_s2,
        np.full(n, NO_VERDICT) if verdict is None else verdict,
        np.zeros(n, np.bool_) if anew is None else anew,
        x,
        used,
        residual,
        moved,
    )
    return state, ScaleStep(
        epoch_tai_ns,
        x,
        used,
        state.clock_i[:, STATUS].copy(),
        residual,
        x_pivot,
        sqrt(variance) if isfinite(variance) else 0.0,
        0.0,
        divided=False,
        due=True,
    )


class BandsMisuse(Misuse):
    """The fold was fed an epoch that does not follow the last one."""

    def __init__(self, last_ns: int, found_ns: int) -> None:
        """Keep both epochs."""
        super().__init__(
            f"epoch {found_ns} does not follow {last_ns} (ns TAI): sort the readings before they are folded"
        )
        self.last_ns, self.found_ns = last_ns, found_ns
