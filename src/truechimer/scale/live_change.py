# mypy: allow-untyped-calls
"""What becomes of a running ensemble when its constants change: more clocks, another interval, another algorithm.

It averages nothing. The scale goes on without a step: every clock keeps its phase and rate against it. What was learned
of the clocks' noise goes on too where the algorithm and its interval stay, and is otherwise learned anew.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from truechimer.scale import bands_state, detection_state, kalman
from truechimer.scale.bands_state import (
    ACTIVE,
    DAY,
    DAY_NS,
    EPOCH_NS,
    FIRST_DAY,
    LAST_NS,
    OUT,
    SINCE_NS,
    START_NS,
    STATUS,
    X_DAY,
    X,
)
from truechimer.scale.kalman import KalmanState
from truechimer.scale.live_state import Judged, LiveParameters, LiveState, start
from truechimer.scale.state import Membership, ScaleState, grown
from truechimer.scale.weights import from_errors

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_TRUSTED = {Membership.ABSENT, Membership.LEARNING, Membership.IN, Membership.OBSERVER}


@dataclass(frozen=True, slots=True)
class _Known:
    """What every algorithm knows of the clocks: phase and rate against the scale at `last_ns`, `(n,)` each."""

    epoch_ns: int
    x_s: Floats
    y: Floats
    last_ns: Ints
    since_ns: Ints
    membership: Ints


def carried_on(before: LiveState, constants: LiveParameters) -> LiveState:
    """Return the state under these constants: itself where nothing changed.

    Clocks may have been added at the end. A clock that was out for whatever reason comes to another algorithm as one
    that changed its rate: it shows good conduct first.
    """
    if isinstance(before, ScaleState) and constants.at1 is not None:
        return grown(before, constants.at1)
    if isinstance(before, Judged) and constants.algorithm != "at1":
        is_same_fold = isinstance(before.fold, KalmanState) == (constants.algorithm == "kalman")
        if is_same_fold and before.interval_s == constants.interval_s:
            return _grown(before, constants)
    fresh = start(constants)
    if before.epoch_ns == 0:
        return fresh
    known = _known(before, len(constants.eligible))
    if isinstance(fresh, ScaleState):
        return _as_at1(fresh, constants, known)
    return _as_judged(fresh, constants, known)


def _known(before: LiveState, n: int) -> _Known:
    """Return what is known of the clocks, with room for those that were added."""
    x, y = np.zeros(n), np.zeros(n)
    last_ns, since_ns, membership = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    for i in range(len(before.membership)):
        word = Membership(int(before.membership[i]))
        if word is Membership.ABSENT:
            continue
        x[i], y[i] = before.x_s[i], before.rate_of(i)
        last_ns[i], since_ns[i] = before.last_ns[i], before.since_ns[i]
        membership[i] = word if word in _TRUSTED else Membership.OUT_RATE
    return _Known(before.epoch_ns, x, y, last_ns, since_ns, membership)


def _as_at1(fresh: ScaleState, constants: LiveParameters, known: _Known) -> ScaleState:
    """Return AT1's state of what is known; weights are those of kinds and declarations."""
    assert constants.at1 is not None
    weight = from_errors(
        known.membership, constants.eligible, fresh.tau_excess, fresh.tau_noise, fresh.best, constants.at1.weight_cap_n
    )
    slot_ns = constants.at1.slot_ns
    return replace(
        fresh,
        epoch_ns=known.epoch_ns,
        x_s=known.x_s,
        y=np.repeat(known.y[None], fresh.y.shape[0], axis=0),
        last_ns=known.last_ns,
        since_ns=known.since_ns,
        good_since_ns=np.where(known.membership == Membership.OUT_RATE, known.epoch_ns, known.since_ns),
        membership=known.membership,
        weight=weight,
        next_slot_ns=(known.epoch_ns // slot_ns + 1) * slot_ns,
    )


def _as_judged(fresh: Judged, constants: LiveParameters, known: _Known) -> Judged:
    """Return the state of `bands` or `kalman` of what is known: weights are made anew at the first step."""
    assert constants.bands is not None
    there = known.membership != Membership.ABSENT
    learner = fresh.learner
    learner.clock_f[:, X], learner.clock_f[:, X_DAY], learner.clock_f[:, OUT] = known.x_s, known.x_s, known.x_s
    learner.bank[:] = known.x_s[:, None]
    learner.clock_i[:, LAST_NS], learner.clock_i[:, SINCE_NS] = known.last_ns, known.since_ns
    learner.clock_i[:, STATUS] = known.membership
    learner.clock_i[:, DAY_NS] = np.where(known.last_ns == known.epoch_ns, known.epoch_ns, 0)
    # nobody is active yet: the first step finds who is, and makes their weights
    learner.clock_i[:, ACTIVE] = 0
    learner.rate[:] = known.y[:, None]
    learner.common_i[EPOCH_NS], learner.common_i[START_NS] = known.epoch_ns, known.epoch_ns
    learner.common_i[DAY] = known.epoch_ns // constants.bands.day_ns
    learner.common_i[FIRST_DAY] = learner.common_i[DAY]
    of = fresh.detection
    detection = replace(
        of,
        epoch_ns=known.epoch_ns,
        x_s=known.x_s.copy(),
        y=known.y.copy(),
        last_ns=known.last_ns.copy(),
        first_ns=known.since_ns.copy(),
        since_ns=known.since_ns.copy(),
        good_ns=np.where(known.membership == Membership.OUT_RATE, known.epoch_ns, known.since_ns),
        status=known.membership.copy(),
        strikes=np.where(known.membership == Membership.OUT_RATE, 1, 0).astype(np.int64),
    )
    weight = np.where(there & (known.membership == Membership.IN), 1.0, 0.0)
    return replace(
        fresh, detection=detection, membership=known.membership.copy(), weight=weight / max(float(weight.sum()), 1.0)
    )


def _grown(before: Judged, constants: LiveParameters) -> Judged:
    """Return the state with room for clocks that were added at the end; itself where there are none."""
    assert constants.bands is not None
    assert constants.detection is not None
    old, new = len(before.membership), len(constants.eligible)
    if old == new:
        return before
    fold = before.fold
    return replace(
        before,
        fold=kalman.grown(fold, constants.bands)
        if isinstance(fold, KalmanState)
        else bands_state.grown(fold, constants.bands),
        detection=detection_state.grown(before.detection, constants.detection),
        membership=np.concatenate([before.membership, np.zeros(new - old, np.int64)]),
        stepped_s=_longer(before.stepped_s, new),
        weight=_longer(before.weight, new),
        floor_s=_longer(before.floor_s, new),
        floor_before_s=_longer(before.floor_before_s, new),
    )


def _longer(of: Floats, n: int) -> Floats:
    """Return an array over the clocks with zeros for those that were added."""
    return np.concatenate([of, np.zeros(n - len(of))])
