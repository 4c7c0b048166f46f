# mypy: allow-untyped-calls
"""Live: the ensemble of a laboratory in service, whichever algorithm makes it, as one fold for the line.

It chooses no algorithm (the laboratory's file does) and steers nothing. `bands` and `kalman` take who may carry weight
from `detection_fold`; AT1 judges for itself. Between two scale steps nothing is carried on but suspicion: the scale is
where the clocks' own rates put it, and a clock that is off has no vote in that.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

from dataclasses import replace
from math import isfinite, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.clock import Clock
from truechimer.clocks.state_model import two_state_noise
from truechimer.scale import at1, bands, detection_fold, kalman, prediction
from truechimer.scale.bands_state import CEILING, STATUS, WEIGHT_DC, BandsState
from truechimer.scale.detection_noise import phase_variance
from truechimer.scale.detection_state import DAY_S
from truechimer.scale.kalman import KalmanState
from truechimer.scale.live_state import HELD_S, Judged, LiveParameters, LiveState
from truechimer.scale.noise import LEAST_RATIO, MONTH_S, scale_noise
from truechimer.scale.state import Membership, ScaleState, ScaleStep

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SUSPECT = int(Membership.SUSPECT)
_DISPUTED, _DIVIDED = int(Membership.DISPUTED), int(Membership.DIVIDED)
_OUT_RATE, _DOUBTED = int(Membership.OUT_RATE), int(Membership.DOUBTED)


def step(
    state: LiveState,
    constants: LiveParameters,
    *,
    epoch_tai_ns: int,
    x_clock_minus_pivot_s: Floats,
    u2_s2: Floats,
    due: bool,
    ceilings: Floats | None = None,
) -> tuple[LiveState, ScaleStep]:
    """Take one epoch of clocks minus pivot in.

    `x_clock_minus_pivot_s`, `u2_s2`: shape `(n_clocks,)`, seconds and s^2, NaN where a clock gave no reading. `due`
    False: an epoch between scale steps. The epoch must be after the last one. `ceilings`: the most weight of each clock
    by order (`(n_clocks,)`, 1: none; 0: it is heard and carries nothing), None where there are none; `kalman` has none.
    """
    if isinstance(state, ScaleState):
        assert constants.at1 is not None
        return at1.step(
            state,
            constants.at1,
            epoch_tai_ns=epoch_tai_ns,
            x_clock_minus_pivot_s=x_clock_minus_pivot_s,
            u2_s2=u2_s2,
            prediction=prediction.predict(state, constants.at1, epoch_tai_ns=epoch_tai_ns),
            due=due,
            ceilings=ceilings,
        )
    if isinstance(state.fold, BandsState):
        state, constants = _under(ceilings, state, constants, epoch_tai_ns)
    return _judged(state, constants, epoch_tai_ns, x_clock_minus_pivot_s, u2_s2, due=due)


def _under(
    ceilings: Floats | None, state: Judged, constants: LiveParameters, epoch_ns: int
) -> tuple[Judged, LiveParameters]:
    """Return state and constants of `bands` under ceilings; themselves where there are none and were none."""
    assert isinstance(state.fold, BandsState)
    assert constants.bands is not None
    if ceilings is None:
        if not state.fold.clock_f[:, CEILING].any():
            return state, constants
        ceilings = np.ones(len(state.weight))
    elif not ceilings.all():
        may = constants.bands.eligible & (ceilings > 0.0)
        constants = replace(constants, bands=replace(constants.bands, eligible=may))
    fold, banded = state.fold.copy(), constants.bands
    assert banded is not None
    bands.replanned(fold, banded, ceilings, epoch_ns)
    return replace(state, fold=fold), constants


def _judged(
    state: Judged, constants: LiveParameters, epoch_ns: int, x_ip: Floats, u2: Floats, *, due: bool
) -> tuple[Judged, ScaleStep]:
    """Judge the clocks, then make the scale of those that may carry weight."""
    assert constants.bands is not None
    assert constants.detection is not None
    assert constants.between is not None
    n = len(x_ip)
    detection, judgement = detection_fold.step(
        state.detection,
        constants.detection if due else constants.between,
        epoch_tai_ns=epoch_ns,
        x_clock_minus_pivot_s=x_ip,
        u2_s2=u2,
        due=due,
    )
    # the algorithm sees a clock that stepped as if it had not, and a suspect not at all
    stepped_s = state.stepped_s + judgement.stepped_s
    seen = x_ip - stepped_s
    seen[judgement.status == _SUSPECT] = np.nan
    x, used, residual = np.empty(n), np.empty(n), np.empty(n)
    fold, weight = state.fold, state.weight
    is_kalman = isinstance(fold, KalmanState)
    if due:
        fold = fold.copy()
        run: Any = kalman.advance if is_kalman else bands.advance
        x_pivot, variance = run(
            fold,
            constants.bands,
            epoch_ns,
            seen,
            u2,
            _as_believed(judgement.status, is_kalman=is_kalman),
            judgement.began_anew.copy(),
            x,
            used,
            residual,
            (judgement.moved_y, judgement.moved_over_s, judgement.moved_evenly),
        )
        learner = fold.learner if isinstance(fold, KalmanState) else fold
        weight = _weight(state, fold)
        membership = learner.clock_i[:, STATUS].copy()
    else:
        look: Any = kalman.peek if is_kalman else bands.peek
        x_pivot, variance = look(fold, constants.bands, epoch_ns, seen, u2, x, used, residual)
        membership = _as_believed(judgement.status, is_kalman=is_kalman)
    slot = epoch_ns // round(HELD_S * 1e9)
    floor, before = state.floor_s, state.floor_before_s
    if slot != state.floor_slot:
        floor, before = np.zeros(n), floor
    floor = np.maximum(floor, judgement.floor_s)
    after = replace(
        state,
        fold=fold,
        detection=detection,
        stepped_s=stepped_s,
        membership=membership,
        weight=weight,
        floor_s=floor,
        floor_before_s=before,
        floor_slot=slot,
    )
    return after, ScaleStep(
        epoch_ns,
        x + stepped_s,
        used,
        membership,
        residual,
        x_pivot,
        sqrt(variance) if isfinite(variance) else 0.0,
        _floor_s(after, constants, epoch_ns, used),
        divided=judgement.divided,
        due=due,
    )


def _as_believed(status: Ints, *, is_kalman: bool) -> Ints:
    """Return what the algorithm is told: one that has one weight for all averaging times gives a divided class none."""
    told = status.copy()
    if is_kalman:
        told[told == _DIVIDED] = _DISPUTED
        told[told == _DOUBTED] = _OUT_RATE
    return told


def _weight(state: Judged, fold: bands.BandsState | KalmanState) -> Floats:
    """Return the weights at the shortest averaging times: the same object as before where neither they nor the learned
    noise have changed.
    """
    learner, before = state.learner, fold
    if isinstance(before, KalmanState):
        now, learned = before.clock[:, kalman.WEIGHT], before.learner.noise
    else:
        now, learned = before.band[:, 0], before.noise
    same = np.array_equal(now, state.weight) and np.array_equal(learned, learner.noise)
    return state.weight if same else now.copy()


def _floor_s(state: Judged, constants: LiveParameters, epoch_ns: int, used: Floats) -> float:
    """Return the largest movement of the scale by one clock that the tests up to a day leave unseen: what they leave
    unseen of the clock, times the larger of its weights now and over months.

    A clock that no window has judged yet counts with its expected noise since it was first seen, a day at most.
    """
    assert constants.detection is not None
    share = np.maximum(np.abs(used), np.abs(state.learner.clock_f[:, WEIGHT_DC]))
    floor = np.maximum(state.floor_s, state.floor_before_s)
    worst = float((share * floor).max())
    for i in np.flatnonzero((floor == 0.0) & (share > 0.0)).tolist():
        of = state.detection
        age_s = max(min((epoch_ns - int(of.first_ns[i])) / 1e9, DAY_S), constants.interval_s)
        variance = phase_variance(of.noise[i], float(of.memory_s[i]), age_s, age_s, 0.0)
        worst = max(worst, float(share[i]) * float(constants.detection.sigmas[0]) * sqrt(variance))
    return worst


def is_divided(state: LiveState, step: ScaleStep) -> bool:
    """Return True where members disagree and no majority says who is right, at this epoch or, where windows are looked
    at a few times a day, at one not longer ago than `HELD_S`.
    """
    if isinstance(state, ScaleState) or step.divided:
        return step.divided
    return step.epoch_tai_ns - state.detection.divided_ns < round(HELD_S * 1e9)


def noise(state: LiveState, constants: LiveParameters, clocks: tuple[Clock, ...]) -> tuple[float, float, float]:
    """Return q1 (s^2/s), q2 (1/s) of the scale with its present weights, and one sigma of its rate before anything is
    known; see `noise.scale_noise`, which is AT1's.

    A clock counts with the larger of its weights now and over months, so that the figure holds at any averaging time.
    """
    if isinstance(state, ScaleState):
        assert constants.at1 is not None
        return scale_noise(state, constants.at1, clocks)
    learned = state.learner.noise
    q1, q2, spread2, total = 0.0, 0.0, 0.0, 0.0
    for i, clock in enumerate(clocks):
        share = max(abs(float(state.weight[i])), abs(float(state.learner.clock_f[i, WEIGHT_DC])))
        if share <= 0.0:
            continue
        of = two_state_noise(clock)
        white, floor2, walk = (float(learned[i, k]) for k in (1, 2, 3))
        floor2 = max(floor2, LEAST_RATIO * of.floor * of.floor)
        q1 += share * share * max(white, LEAST_RATIO * of.q1)
        q2 += share * share * (max(walk, LEAST_RATIO * of.q2) + 3.0 * floor2 / MONTH_S)
        spread2 += share * share * of.y_spread * of.y_spread
        total += share
    if total <= 0.0:
        of = two_state_noise(clocks[0])
        return of.q1, of.q2, of.y_spread
    return q1, q2, sqrt(spread2)
