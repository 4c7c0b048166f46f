# mypy: allow-untyped-defs, allow-untyped-calls
"""AT1: the ensemble time scale as a fold, one epoch at a time.

    x^_i(t+T) = x_i(t) + y_i(t) T                       prediction of clock i minus scale
    x_p(t+T)  = sum_i w_i [ x^_i(t+T) - x_ip(t+T) ]      the pivot minus the scale, from every member's point of view
    x_i(t+T)  = x_ip(t+T) + x_p(t+T)                     every clock minus the scale

(Weiss, Allan and Peppler 1989, as NIST's AT1.) It never steers. The scale is continuous when a clock enters, leaves or
changes weight, because each member votes with its own *predicted* value. What differs from the plain algorithm: epochs
may be irregular; each clock has several rate filters and uses the one that predicts best over `tau_weight_s`; weights
come from errors over `tau_weight_s` less the declared reading noise, sampled on a fixed grid, so the interval of the
readings does not change them; a clock off its prediction is out before it moves the scale.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

from dataclasses import replace
from math import isfinite, sqrt

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.clocks.state_model import SECONDS_PER_DAY, two_state_noise
from truechimer.errors import Misuse
from truechimer.kernel import kernel
from truechimer.scale import learning
from truechimer.scale.ceilings import averaged_below, limited
from truechimer.scale.detection import off_the_others
from truechimer.scale.learning import FLOOR, chosen
from truechimer.scale.prediction import Prediction
from truechimer.scale.state import (
    LAGS_SLOTS,
    MEMORIES_PER_TAU_WEIGHT,
    SLOTS_PER_TAU_WEIGHT,
    ScaleParameters,
    ScaleState,
    ScaleStep,
    empty_state,
)
from truechimer.scale.weights import capped, from_errors

Floats = NDArray[np.float64]

VERSION = 1
"""Counts up with every change after which the same readings give another scale; it stands in the record."""

TAU_WEIGHT_S = 86_400.0
WEIGHT_CAP_N = 4.0
DETECTION_SIGMAS = 6.0
INTERVAL_S = 60.0
DECLARED_WORTH = 5.0
"""Declared noise counts like this many `tau_weight_s` of experience, a kind's figure like one half."""


def parameters(
    clocks: tuple[Clock, ...],
    *,
    tau_weight_s: float = TAU_WEIGHT_S,
    weight_cap_n: float = WEIGHT_CAP_N,
    probation_s: float | None = None,
    interval_s: float = INTERVAL_S,
) -> ScaleParameters:
    """Return the constants of the fold for these clocks; `interval_s`: usual time between two epochs.

    The host is an observer (weight 0) wherever a clock of another kind stands beside it, and a scale of one where none
    does.
    """
    memories = np.array([factor * tau_weight_s for factor in MEMORIES_PER_TAU_WEIGHT])
    slot_s = tau_weight_s / SLOTS_PER_TAU_WEIGHT
    lags = np.array([lag * slot_s for lag in LAGS_SLOTS])
    noises = [two_state_noise(clock) for clock in clocks]
    others = any(clock.kind not in (ClockKind.HOST, ClockKind.LINK) for clock in clocks)
    eligible = [
        clock.kind is not ClockKind.LINK and (clock.kind is not ClockKind.HOST or not others) for clock in clocks
    ]
    # clocks of one kind are expected alike
    of = {
        noise: [
            [noise.prediction_variance(tau_s, memory_s=m) for m in memories.tolist()]
            for tau_s in (tau_weight_s, *lags.tolist(), interval_s)
        ]
        for noise in dict.fromkeys(noises)
    }
    prior_tau = np.array([of[noise][0] for noise in noises]).reshape(len(noises), len(memories))
    prior_lag = np.array([[min(each) for each in of[noise][1:-1]] for noise in noises]).reshape(len(noises), len(lags))
    worth = [SLOTS_PER_TAU_WEIGHT * (DECLARED_WORTH if noise.declared else 0.5) for noise in noises]
    return ScaleParameters(
        tau_weight_s=tau_weight_s,
        weight_cap_n=weight_cap_n,
        probation_s=tau_weight_s if probation_s is None else probation_s,
        detection_sigmas=DETECTION_SIGMAS,
        memories_s=memories,
        lags_s=lags,
        slot_ns=round(slot_s * 1e9),
        eligible=np.array(eligible, np.bool_),
        q1=np.array([noise.q1 for noise in noises]),
        step_prior=np.array([min(of[noise][-1]) for noise in noises]) / interval_s,
        drift=np.array([noise.drift_per_day / SECONDS_PER_DAY for noise in noises]),
        prior_tau=np.ascontiguousarray(prior_tau.T),
        prior_lag=np.ascontiguousarray(prior_lag.T),
        prior_count=np.array(worth),
    )


def start(constants: ScaleParameters) -> ScaleState:
    """Return the state before the first reading."""
    return empty_state(constants)


CARRIED = (
    "x_s", "x_variance", "y", "last_ns", "since_ns", "good_since_ns", "membership", "step_variance", "step_count",
)  # fmt: skip
"""Fields of the state that an epoch changes."""


@kernel
def average(  # noqa: PLR0917
    scale_ns,
    x_ip,
    u2,
    predicted,
    variance,
    last_ns,
    membership,
    weight,
    eligible,
    sigmas,
    cap_n,
):
    """Find who votes, who is off, and the pivot minus the scale; returned too is the variance that each clock was
    judged by.
    """
    n = x_ip.shape[0]
    deviation = predicted - x_ip
    # the clock's own prediction, its two readings, and the reading noise that the scale itself carried at both epochs
    carried = 0.0
    for i in range(n):
        carried += weight[i] * weight[i] * u2[i]
    total_variance = variance + 2.0 * u2 + 2.0 * carried
    voters = np.empty(n, np.bool_)
    count = 0
    for i in range(n):
        # a clock that was silent at the last scale step listens for one epoch before it votes again
        voters[i] = (membership[i] == 2) & eligible[i] & (abs(deviation[i]) < np.inf) & (last_ns[i] >= scale_ns)
        count += voters[i]
    if count == 0:
        # everybody was silent: whoever is back and was a member carries the scale on
        for i in range(n):
            voters[i] = (membership[i] == 2) & eligible[i] & (abs(deviation[i]) < np.inf)
            count += voters[i]
    is_any_unknown = False
    for i in range(n):
        is_any_unknown |= voters[i] & (not (abs(total_variance[i]) < np.inf))
    off = np.zeros(n, np.bool_)
    divided = False
    if count > 1 and not is_any_unknown:
        off, divided, _ = off_the_others(deviation, total_variance, voters, sigmas)
    wanted = np.empty(n)
    members = 0
    most = 0.0
    for i in range(n):
        is_member = voters[i] & (not off[i])
        wanted[i] = weight[i] if is_member else 0.0
        members += is_member
    for i in range(n):
        most = max(most, wanted[i])
    if members > 0 and most <= 0.0:
        for i in range(n):
            wanted[i] = 1.0 if voters[i] & (not off[i]) else 0.0
    used = capped(wanted, cap_n / max(members, 1))
    x_pivot = np.nan
    noise = 0.0
    if members > 0:
        x_pivot = 0.0
        for i in range(n):
            if used[i] > 0.0:
                x_pivot += used[i] * deviation[i]
                noise += used[i] * used[i] * u2[i]
    return used, x_pivot, noise, off, divided, total_variance


@kernel
def unseen(used, total_variance, sigmas):
    """Return the largest movement of the scale (s) by one clock that the test of this epoch leaves unseen."""
    floor = 0.0
    for i in range(used.shape[0]):
        if used[i] > 0.0 and np.isfinite(total_variance[i]):
            floor = max(floor, used[i] * sigmas * np.sqrt(total_variance[i]))
    return floor


@kernel
def _who_goes_on(  # noqa: PLR0917
    epoch_ns, due, x_ip, u2, noise, x_pivot, off, predicted, dt, x, x_variance, last_ns, since_ns, good_since_ns,
    membership, eligible, measured, residual, going
):  # fmt: skip
    """Find who is carried on by its readings (`going`), and settle who enters, is off or is back."""
    for i in range(x_ip.shape[0]):
        measured[i], residual[i], going[i] = predicted[i], np.nan, False
        if not np.isfinite(x_ip[i]) or not np.isfinite(x_pivot):
            continue
        now = x_ip[i] + x_pivot
        measured[i] = now
        if membership[i] == 0:
            # a clock enters: its phase is what it is, its rate is learned before it votes
            x[i], last_ns[i], since_ns[i], good_since_ns[i] = now, epoch_ns, epoch_ns, epoch_ns
            x_variance[i] = u2[i] + noise
            membership[i] = 1 if eligible[i] else 6
            continue
        residual[i] = now - predicted[i]
        if off[i]:
            good_since_ns[i] = epoch_ns
            if membership[i] == 2:
                membership[i] = 3
                continue
            if membership[i] == 3:
                membership[i] = 4
            # a new level: phase from here, the rate is kept
            x[i], x_variance[i], last_ns[i] = now, u2[i] + noise, epoch_ns
            continue
        if membership[i] == 3:
            membership[i] = 2
        going[i] = due and dt[i] > 0.0


@kernel
def _learn_steps(  # noqa: PLR0917
    scale_ns, u2, noise, used, variance, residual, step, going, x_variance, last_ns, membership, step_variance,
    step_count, prior_count, q1
):  # fmt: skip
    """Let the residuals of this epoch teach each member's error per second."""
    for i in range(u2.shape[0]):
        teaches = going[i] & (membership[i] == 2) & (variance[i] < np.inf) & (last_ns[i] >= scale_ns)
        limit = 9.0 * (variance[i] + 2.0 * u2[i])
        square = min(residual[i] * residual[i], limit)
        excess = (square / max(1.0 - used[i], 0.1) - x_variance[i] - u2[i] - noise) / step[i]
        n = prior_count[i] + step_count[i]
        gain = 1.0 / (min(2000.0, n))
        before = step_variance[i]
        after = max(before + gain * (excess - before), FLOOR * q1[i], 1e-36)
        step_variance[i] = after if teaches else before
        step_count[i] += teaches


@kernel
def _filter(  # noqa: PLR0917
    epoch_ns, u2, noise, residual, predicted, step, going, q, x, x_variance, since_ns, drift, correction, turned, f,
    of_young, young
):  # fmt: skip
    """Filter the phases, and find what each clock's rate was over the step (`f`) and how young it is."""
    for i in range(u2.shape[0]):
        learned = (epoch_ns - since_ns[i]) / 1e9
        noise_now = u2[i] + noise
        before = x_variance[i] + q[i] * step[i]
        both = before + noise_now
        gain = before / both if both > 0.0 else 1.0
        # while a rate is young the phase must not lag behind it: the gain of a straight line through N points is 4/N
        gain = max(gain, min(1.0, 4.0 * step[i] / max(learned, step[i])))
        left = (1.0 - gain) * (1.0 - gain) * before + gain * gain * noise_now
        x_variance[i] = left if going[i] else x_variance[i]
        correction[i] = gain * residual[i]
        now = predicted[i] + correction[i]
        f[i] = (now - x[i]) / step[i] + 0.5 * drift[i] * step[i]
        turned[i] = drift[i] * step[i]
        x[i] = now if going[i] else x[i]
    # a young rate is the mean of all steps; where the first reading's noise still outweighs what the clock has done
    # since, late steps count more, so that it is let go
    for i in range(u2.shape[0]):
        learned = (epoch_ns - since_ns[i]) / 1e9
        noise_now = u2[i] + noise
        both = noise_now + q[i] * learned
        age = learned / (1.0 + (noise_now / both if noise_now > 0.0 else 0.0))
        young[i] = max(age, step[i])
        of_young[i] = step[i] / young[i]


@kernel
def _carry_rates(going, step, f, turned, of_young, young, memories, y):  # noqa: PLR0917
    """Carry on every filter of every clock that is `going`."""
    for k in range(y.shape[0]):
        rate, memory = y[k], memories[k]
        for i in range(going.shape[0]):
            late = memory + step[i]
            share = step[i] / late
            share = of_young[i] if young[i] < late else share
            ahead = rate[i] + turned[i]
            after = ahead + share * (f[i] - ahead)
            rate[i] = after if going[i] else rate[i]


@kernel
def carry(  # noqa: PLR0917
    epoch_ns,
    due,
    probation_ns,
    x_ip,
    u2,
    noise,
    x_pivot,
    used,
    off,
    predicted,
    variance,
    dt,
    x,
    x_variance,
    y,
    best,
    last_ns,
    since_ns,
    good_since_ns,
    membership,
    step_variance,
    step_count,
    memories,
    drift,
    eligible,
    prior_count,
    q1,
    scale_ns,
    tau_excess,
    prior_tau,
):
    """Carry every clock on, in place (the arrays of `CARRIED`): new phase, rates, noise and membership. Returned are
    every clock minus the scale and its residual.

    The phase that is carried is filtered: of a reading's departure from the prediction, the part that the clock's own
    noise explains is taken, not the part that the counter explains. Without reading noise that part is 1: plain AT1.
    The members' corrections are shifted by a common amount so that AT1's basic equation, sum of weight x correction =
    0, holds for the carried phases: reading noise then cannot walk into the scale through changes of the weights,
    however short the interval.
    """
    n = x.shape[0]
    measured, residual, going = np.empty(n), np.empty(n), np.empty(n, np.bool_)
    _who_goes_on(
        epoch_ns, due, x_ip, u2, noise, x_pivot, off, predicted, dt, x, x_variance, last_ns, since_ns, good_since_ns,
        membership, eligible, measured, residual, going
    )  # fmt: skip
    if not due:
        return measured, residual
    step, q, prior = np.empty(n), np.empty(n), np.empty(n)
    for i in range(n):
        # of who is not going nothing is used
        step[i] = dt[i] if going[i] else 1.0
    _learn_steps(
        scale_ns, u2, noise, used, variance, residual, step, going, x_variance, last_ns, membership, step_variance,
        step_count, prior_count, q1
    )  # fmt: skip
    # white FM as the clock's kind or declaration has it, scaled by what its errors over days have taught
    chosen(tau_excess, best, q)
    chosen(prior_tau, best, prior)
    for i in range(n):
        q[i] = q1[i] * max(q[i] / prior[i], FLOOR)
    correction, turned, f, of_young, young = prior, np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    _filter(
        epoch_ns, u2, noise, residual, predicted, step, going, q, x, x_variance, since_ns, drift, correction, turned, f,
        of_young, young
    )  # fmt: skip
    _carry_rates(going, step, f, turned, of_young, young, memories, y)
    common = 0.0
    for i in range(n):
        if going[i]:
            common += used[i] * correction[i]
            last_ns[i] = epoch_ns
            waiting = epoch_ns - good_since_ns[i] < probation_ns
            if not waiting and (membership[i] == 1 or membership[i] == 4 or membership[i] == 5):
                membership[i] = 2
    for i in range(n):
        if used[i] > 0.0 and last_ns[i] == epoch_ns:
            x[i] -= common
    return measured, residual


def step(
    state: ScaleState,
    constants: ScaleParameters,
    *,
    epoch_tai_ns: int,
    x_clock_minus_pivot_s: Floats,
    u2_s2: Floats,
    prediction: Prediction,
    due: bool = True,
    ceilings: Floats | None = None,
) -> tuple[ScaleState, ScaleStep]:
    """Take one epoch of clocks minus pivot into the scale.

    `x_clock_minus_pivot_s`, `u2_s2`: shape `(n_clocks,)`, seconds and s^2, NaN where a clock gave no reading. `due`
    False: an epoch between scale steps; clocks that are off are seen, phases and rates stay. `ceilings`: the most
    weight of each clock (`(n_clocks,)`; see `ceilings`), None where there are none. Raises `ScaleMisuse` for an epoch
    before the last one.
    """
    if state.epoch_ns and epoch_tai_ns <= state.epoch_ns:
        raise ScaleMisuse(state.epoch_ns, epoch_tai_ns)
    if state.epoch_ns == 0:
        state = _first(state, constants, epoch_tai_ns, x_clock_minus_pivot_s, u2_s2)
        first = _first_step(state, epoch_tai_ns, x_clock_minus_pivot_s)
        return state, first
    used, x_pivot, noise, off, divided, judged_by = average(
        state.epoch_ns,
        x_clock_minus_pivot_s,
        u2_s2,
        prediction.x_clock_minus_scale_s,
        prediction.variance_s2,
        state.last_ns,
        state.membership,
        state.weight,
        constants.eligible,
        constants.detection_sigmas,
        constants.weight_cap_n,
    )
    floor = unseen(used, judged_by, constants.detection_sigmas)
    if ceilings is not None:
        below = limited(used, ceilings)
        if below is not used:
            used, x_pivot, noise, floor = averaged_below(
                below, prediction.x_clock_minus_scale_s, x_clock_minus_pivot_s, u2_s2, prediction.variance_s2, constants
            )
    new = {name: getattr(state, name).copy() for name in CARRIED}
    measured, residual = carry(
        epoch_tai_ns,
        due,
        round(constants.probation_s * 1e9),
        x_clock_minus_pivot_s,
        u2_s2,
        noise,
        x_pivot,
        used,
        off,
        prediction.x_clock_minus_scale_s,
        prediction.variance_s2,
        prediction.dt_s,
        new["x_s"],
        new["x_variance"],
        new["y"],
        state.best,
        new["last_ns"],
        new["since_ns"],
        new["good_since_ns"],
        new["membership"],
        new["step_variance"],
        new["step_count"],
        constants.memories_s,
        constants.drift,
        constants.eligible,
        constants.prior_count,
        constants.q1,
        state.epoch_ns,
        state.tau_excess,
        constants.prior_tau,
    )
    taken = due and isfinite(x_pivot)
    state = replace(state, epoch_ns=epoch_tai_ns if taken else state.epoch_ns, **new)
    if taken and epoch_tai_ns >= state.next_slot_ns:
        state = learning.at_slot(
            state,
            constants,
            epoch_ns=epoch_tai_ns,
            seen=np.isfinite(x_clock_minus_pivot_s),
        )
    if ceilings is not None and (weight := limited(state.weight, ceilings)) is not state.weight:
        state = replace(state, weight=weight)
    return state, ScaleStep(
        epoch_tai_ns,
        measured,
        used,
        state.membership,
        residual,
        x_pivot,
        sqrt(noise),
        max(floor, state.slow_floor_s),
        bool(divided),
        due,
    )


def _first(state: ScaleState, constants: ScaleParameters, epoch_ns: int, x_ip: Floats, u2: Floats) -> ScaleState:
    """Begin the scale: it is the weighted mean of the clocks that are there, with the weights that their declared noise
    asks for.
    """
    seen = np.isfinite(x_ip)
    membership = np.where(seen, np.where(constants.eligible, 2, 6), 0).astype(np.int64)
    if not (membership == 2).any():
        return state
    weight = from_errors(
        membership, constants.eligible, state.tau_excess, state.tau_noise, state.best, constants.weight_cap_n
    )
    origin, noise = 0.0, 0.0
    for i in range(len(x_ip)):
        if weight[i] > 0.0:
            origin += weight[i] * float(x_ip[i])
            noise += weight[i] * weight[i] * float(u2[i])
    now = np.where(seen, epoch_ns, 0).astype(np.int64)
    place = state.ring_ns.copy()
    place[0] = epoch_ns
    ring_x = state.ring_x.copy()
    ring_x[0] = np.where(seen, x_ip - origin, np.nan)
    return replace(
        state,
        epoch_ns=epoch_ns,
        x_s=np.where(seen, x_ip - origin, 0.0),
        x_variance=np.where(seen, u2 + noise, 0.0),
        last_ns=now,
        since_ns=now.copy(),
        good_since_ns=now.copy(),
        membership=membership,
        weight=weight,
        next_slot_ns=(epoch_ns // constants.slot_ns + 1) * constants.slot_ns,
    )


def _first_step(state: ScaleState, epoch_ns: int, x_ip: Floats) -> ScaleStep:
    """What the first epoch says; a scale without a member yet has no pivot."""
    begun = state.epoch_ns != 0
    seen = np.isfinite(x_ip)
    x = np.where(seen & begun, state.x_s, np.nan)
    pivot = np.flatnonzero(seen & (x_ip == 0.0))
    x_pivot = float(x[pivot[0]]) if begun and len(pivot) else float("nan")
    return ScaleStep(
        epoch_ns, x, state.weight, state.membership, np.full(len(x), np.nan), x_pivot, 0.0, 0.0, divided=False, due=True
    )


class ScaleMisuse(Misuse):
    """The fold was fed an epoch that does not follow the last one."""

    def __init__(self, last_ns: int, found_ns: int) -> None:
        """Keep both epochs."""
        super().__init__(
            f"epoch {found_ns} does not follow {last_ns} (ns TAI): sort the readings before they are folded"
        )
        self.last_ns, self.found_ns = last_ns, found_ns
