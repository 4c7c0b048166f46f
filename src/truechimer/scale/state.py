"""The state of the ensemble between two epochs, and what an epoch gives.

Arrays have shape `(n_clocks,)` unless said otherwise; clock i is clock i of the register. Nothing here computes.
"""

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MEMORIES_PER_TAU_WEIGHT = (0.01, 0.05, 0.25, 1.0, 4.0, 16.0, 64.0)
"""Memories of the rate filters of each clock, as multiples of `tau_weight_s`: which one predicts a clock best is
learned.
"""

SLOTS_PER_TAU_WEIGHT = 24
"""Prediction errors over `tau_weight_s` are sampled this many times per `tau_weight_s`, whatever the interval of the
readings.
"""

LAGS_SLOTS = (1, 6, 24)
"""Windows of the rate test, in slots (1 h, 6 h, 1 d by default)."""

RING_SLOTS = 28


class Membership(IntEnum):
    """What a clock is to the scale. `IN` carries weight; `DIVIDED` and `DOUBTED` over hours only; nobody else does.

    10 is taken: `detection_dispute.PROVING`.
    """

    ABSENT = 0
    LEARNING = 1
    IN = 2
    SUSPECT = 3
    OUT_STEP = 4
    OUT_RATE = 5
    OBSERVER = 6
    DISPUTED = 7
    DIVIDED = 8
    ALIKE = 9
    REPLAYED = 11
    DOUBTED = 12


REASONS = {
    Membership.ABSENT: "no reading yet",
    Membership.LEARNING: "entering: its rate is being learned",
    Membership.IN: "",
    Membership.SUSPECT: "off its prediction once",
    Membership.OUT_STEP: "phase step",
    Membership.OUT_RATE: "frequency change",
    Membership.OBSERVER: "observer, weight 0 by rule",
    Membership.DISPUTED: "disputed: a clock like it says otherwise and nobody can say which is right",
    Membership.DIVIDED: "its class is divided: other clocks carry the scale over days",
    Membership.DOUBTED: "its rate may have changed: it carries the hours, other clocks carry the days",
    Membership.ALIKE: "too like the others to be a clock of its own",
    Membership.REPLAYED: "its readings repeat earlier ones, noise and all: replayed, not measured",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleParameters:
    """Constants of the fold, fixed for a run and recorded with it.

    `tau_weight_s`: averaging time over which prediction errors make weights and choose rates (s). `weight_cap_n`: no
    weight above `weight_cap_n / N` of N clocks. `probation_s`: how long a clock that was out must behave before it has
    a vote again.
    `detection_sigmas`: residual beyond which a clock is out. `eligible`: bool, may carry weight. `q1` (s^2/s): white-FM
    variance per second expected of each clock; `step_prior` (s^2/s): expected squared error per second of predicting
    over one interval, flicker and random walk among it; `drift` (1/s): declared drift of y;
    `prior_tau` `(K, n)` and `prior_lag` `(3, n)`: expected squared prediction errors (s^2) over `tau_weight_s` and the
    lags.
    `prior_count`: how many samples the expectation is worth, per clock.
    """

    tau_weight_s: float
    weight_cap_n: float
    probation_s: float
    detection_sigmas: float
    memories_s: Floats
    lags_s: Floats
    slot_ns: int
    eligible: NDArray[np.bool_]
    q1: Floats
    step_prior: Floats
    drift: Floats
    prior_tau: Floats
    prior_lag: Floats
    prior_count: Floats


@dataclass(frozen=True, slots=True)
class ScaleState:
    """What the fold carries from epoch to epoch.

    `epoch_ns`: TAI of the last scale step, 0 before the first. `x_s`: clock minus scale at `last_ns`, reading noise
    filtered, and `x_variance` what is left of that noise (s^2); `y` `(K, n)`: its
    rate by each filter at `last_ns`; `best`: index of the filter in use. `since_ns`: start of the clock's rate
    estimate; `good_since_ns`: start of its present good conduct.
    `weight`: weights wanted by the learned errors (sum 1 over members). `step_variance` (s^2/s) and `step_count`:
    squared residual per second. `tau_excess`, `(K, n)` and `tau_noise`: mean squared error over tau of the filtered
    phase, and that noise (s^2); `lag_excess`, `lag_count` `(3, n)`. The ring holds `(epoch, x, y)` at the last slots:
    `ring_ns (R,)`, `ring_x (R, n)` (NaN where unmeasured), `ring_rate (R, K, n)`.
    `slow_floor_s`: movement of the scale that the rate tests of the last slot leave unseen.
    """

    epoch_ns: int
    x_s: Floats
    x_variance: Floats
    y: Floats
    best: Ints
    last_ns: Ints
    since_ns: Ints
    good_since_ns: Ints
    membership: Ints
    weight: Floats
    step_variance: Floats
    step_count: Ints
    tau_excess: Floats
    tau_noise: Floats
    tau_count: Ints
    lag_excess: Floats
    lag_count: Ints
    ring_ns: Ints
    ring_x: Floats
    ring_rate: Floats
    next_slot_ns: int
    slow_floor_s: float

    def rate_of(self, clock: int) -> float:
        """Return the rate of a clock minus the scale, by the filter in use."""
        return float(self.y[self.best[clock], clock])


@dataclass(frozen=True, slots=True)
class ScaleStep:
    """What one epoch says of the scale.

    `x_clock_minus_scale_s`: measured at this epoch, predicted where a clock gave no reading, NaN where nothing is known
    of it. `weight`: used at this epoch (sum 1, or all 0 where the scale coasts without readings). `membership`: see
    `Membership`. `residual_s`: measured minus predicted. `x_pivot_minus_scale_s`: NaN where no member gave a reading.
    `u_center_s`: one sigma of reading noise in the scale at this epoch. `detection_floor_s`: the largest movement of
    the scale by one clock that the tests of this epoch leave unseen. `divided`: members disagree and there is no
    majority to exclude by. `due`: False for an epoch between scale steps.
    """

    epoch_tai_ns: int
    x_clock_minus_scale_s: Floats
    weight: Floats
    membership: Ints
    residual_s: Floats
    x_pivot_minus_scale_s: float
    u_center_s: float
    detection_floor_s: float
    divided: bool
    due: bool


def empty_state(parameters: ScaleParameters) -> ScaleState:
    """Return the state before the first reading."""
    n, k = len(parameters.q1), len(parameters.memories_s)
    return ScaleState(
        epoch_ns=0,
        x_s=np.zeros(n),
        x_variance=np.zeros(n),
        y=np.zeros((k, n)),
        best=np.argmin(parameters.prior_tau, axis=0).astype(np.int64),
        last_ns=np.zeros(n, np.int64),
        since_ns=np.zeros(n, np.int64),
        good_since_ns=np.zeros(n, np.int64),
        membership=np.zeros(n, np.int64),
        weight=np.zeros(n),
        step_variance=parameters.step_prior.copy(),
        step_count=np.zeros(n, np.int64),
        tau_excess=parameters.prior_tau.copy(),
        tau_noise=np.zeros(n),
        tau_count=np.zeros(n, np.int64),
        lag_excess=parameters.prior_lag.copy(),
        lag_count=np.zeros((len(LAGS_SLOTS), n), np.int64),
        ring_ns=np.zeros(RING_SLOTS, np.int64),
        ring_x=np.full((RING_SLOTS, n), np.nan),
        ring_rate=np.zeros((RING_SLOTS, k, n)),
        next_slot_ns=0,
        slow_floor_s=0.0,
    )


def grown(state: ScaleState, parameters: ScaleParameters) -> ScaleState:
    """Return the state with room for clocks that were added at the end; itself where there are none."""
    old, new = state.x_s.shape[0], len(parameters.q1)
    if old == new:
        return state
    fresh = empty_state(parameters)
    values = {}
    for item in fields(ScaleState):
        was, blank = getattr(state, item.name), getattr(fresh, item.name)
        if isinstance(blank, np.ndarray) and item.name != "ring_ns":
            blank[..., :old] = was
        else:
            blank = was
        values[item.name] = blank
    return ScaleState(**values)
