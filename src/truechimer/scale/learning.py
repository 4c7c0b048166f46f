# mypy: allow-untyped-defs, allow-untyped-calls
"""Learning: at each slot of a fixed grid, what prediction errors over hours and days say of every clock.

It averages nothing into the scale. It measures each clock's error over each lag against where its own rate put it then,
tests whether a rate is still what it was, chooses the filter that predicts best, and asks for weights. The grid does
not depend on the interval of the readings, so neither do the weights.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from truechimer.kernel import kernel
from truechimer.scale.detection import off_the_others
from truechimer.scale.state import ScaleParameters, ScaleState
from truechimer.scale.weights import from_errors

FLOOR = 1e-4
"""No learned variance falls below this part of what the clock's kind or its declaration lets expect."""


@kernel
def _let_go_at(worth):
    """Number of samples after which the expectation of a clock's kind is let go: twice as many as it was worth."""
    return int(2.0 * worth)


@kernel
def _without_prior(mean, prior, worth, count):
    """Return the mean of the samples alone from the mean that holds the expectation as `worth` samples.

    A kind's figure may be wrong by orders of magnitude (an oscillator that is a maser): as one sample among many it
    would still outweigh them all.
    """
    return max((mean * (worth + count) - worth * prior) / count, 1e-9 * prior)


@kernel
def learn_at_slot(  # noqa: PLR0917
    epoch_ns,
    measured_now,
    x,
    y,
    best,
    since_ns,
    good_since_ns,
    membership,
    weight,
    x_variance,
    memories,
    eligible,
    tau_s,
    lags,
    drift,
    prior_count,
    sigmas,
    cap_n,
    tau_excess,
    tau_noise,
    tau_count,
    lag_excess,
    lag_count,
    ring_ns,
    ring_x,
    ring_y,
    step_variance,
    prior_lag,
    prior_tau,
):
    """At a slot: errors over each lag, the rate test, the best filter, the weights, and the ring moved on by one.

    Changed in place are the arrays of `CHANGED`; returned are the weights wanted and the floor of the rate tests.
    """
    n, filters = y.shape
    slots = ring_ns.shape[0]
    floor = 0.0
    earliest = epoch_ns
    for i in range(n):
        if membership[i] == 2 and since_ns[i] < earliest:
            earliest = since_ns[i]
    for lag in range(lags.shape[0]):
        # the newest slot that is at least a lag old; for the longest lag, while the laboratory is young, the one in the
        # middle: as long before it the rate was learned as after it the rate is judged
        longest = lag == lags.shape[0] - 1
        wanted = 0.98 * lags[lag]
        if longest:
            wanted = min(wanted, 0.49 * ((epoch_ns - earliest) / 1e9))
        slot = -1
        for r in range(slots):
            if ring_ns[r] == 0:
                continue
            age = (epoch_ns - ring_ns[r]) / 1e9
            if age > 0.0 and age >= wanted and (slot < 0 or ring_ns[r] > ring_ns[slot]):
                slot = r
        if slot < 0:
            continue
        age = (epoch_ns - ring_ns[slot]) / 1e9
        error = np.full(n, np.nan)
        spread = np.full(n, np.inf)
        voters = np.zeros(n, np.bool_)
        for i in range(n):
            # a clock that was re-set since then has no error over this lag
            if not measured_now[i] or not np.isfinite(ring_x[slot, i]) or since_ns[i] >= ring_ns[slot]:
                continue
            if good_since_ns[i] > ring_ns[slot] and membership[i] != 2:
                continue
            error[i] = x[i] - (ring_x[slot, i] + ring_y[slot, i, best[i]] * age + 0.5 * drift[i] * age * age)
            spread[i] = max(lag_excess[i, lag], 1e-36) * (age / lags[lag]) + 2.0 * x_variance[i]
            # a rate learned for a short time only was not sure of itself
            learned = (ring_ns[slot] - since_ns[i]) / 1e9
            memory = memories[best[i]]
            q = min(step_variance[i], tau_excess[i, best[i]] / (tau_s * (1.0 + 0.5 * tau_s / memory)))
            spread[i] += age * age * (q * learned + 2.0 * x_variance[i]) / (learned * learned)
            voters[i] = membership[i] == 2 and eligible[i]
            if voters[i] and weight[i] > 0.0:
                floor = max(floor, weight[i] * sigmas * np.sqrt(spread[i]))
        if age >= 0.98 * lags[lag]:
            ready = True
            for i in range(n):
                if voters[i] and lag_count[i, lag] < 24:
                    ready = False
            if ready:
                _, _, off, _ = off_the_others(error, spread, voters, sigmas)
                for i in range(n):
                    if off[i] and membership[i] == 2:
                        # the frequency is not what it was: learn it anew, without a vote
                        membership[i] = 5
                        since_ns[i], good_since_ns[i] = epoch_ns, epoch_ns
        for i in range(n):
            if not np.isfinite(error[i]) or membership[i] == 5:
                continue
            free = max(1.0 - weight[i], 0.1) if membership[i] == 2 else 1.0
            # a rate younger than the lag it is judged over says more of its youth than of the clock
            learned = (ring_ns[slot] - since_ns[i]) / 1e9
            if learned < 0.95 * age:
                continue
            # the filtered phase moves as the clock does: the increments of a matched filter carry no reading noise
            if age >= 0.98 * lags[lag]:
                square = min(error[i] * error[i], 16.0 * spread[i])
                gain = 1.0 / min(prior_count[i] + lag_count[i, lag], 720.0)
                sample = square / free * (lags[lag] / age)
                lag_excess[i, lag] = max(
                    lag_excess[i, lag] + gain * (sample - lag_excess[i, lag]), FLOOR * prior_lag[i, lag]
                )
                lag_count[i, lag] += 1
                if lag_count[i, lag] == _let_go_at(prior_count[i]):
                    lag_excess[i, lag] = _without_prior(
                        lag_excess[i, lag], prior_lag[i, lag], prior_count[i] - 1.0, lag_count[i, lag]
                    )
            # over less than the whole lag, a sample counts only where the clock shows and not what is left of the noise
            clear = (2.0 + 3.0 * (age / learned) * (age / learned)) * x_variance[i]
            if longest and (age >= 0.98 * tau_s or clear < tau_excess[i, best[i]] * (age / tau_s)):
                gain = 1.0 / min(prior_count[i] + tau_count[i] + 1.0, 720.0)
                for k in range(filters):
                    other = x[i] - (ring_x[slot, i] + ring_y[slot, i, k] * age + 0.5 * drift[i] * age * age)
                    sample = other * other / free * (tau_s / age)
                    tau_excess[i, k] += gain * (sample - tau_excess[i, k])
                tau_noise[i] += gain * (2.0 * x_variance[i] - tau_noise[i])
                tau_count[i] += 1
                if tau_count[i] == _let_go_at(prior_count[i]):
                    for k in range(filters):
                        tau_excess[i, k] = _without_prior(
                            tau_excess[i, k], prior_tau[i, k], prior_count[i], tau_count[i]
                        )
    for i in range(n):
        least = best[i]
        for k in range(filters):
            if tau_excess[i, k] < tau_excess[i, least]:
                least = k
        if tau_excess[i, least] < 0.95 * tau_excess[i, best[i]]:
            best[i] = least
    wanted = from_errors(membership, eligible, tau_excess, tau_noise, best, cap_n)
    # the slot that is overwritten is the oldest
    place = 0
    for r in range(slots):
        if ring_ns[r] < ring_ns[place]:
            place = r
    ring_ns[place] = epoch_ns
    for i in range(n):
        ring_x[place, i] = x[i] if measured_now[i] and membership[i] != 0 else np.nan
        for k in range(filters):
            ring_y[place, i, k] = y[i, k]
    return wanted, floor


CHANGED = (
    "best", "since_ns", "good_since_ns", "membership", "tau_excess", "tau_noise", "tau_count", "lag_excess",
    "lag_count", "ring_ns", "ring_x", "ring_y",
)  # fmt: skip
"""Fields of the state that a slot changes, `weight` and `slow_floor_s` besides."""


def at_slot(
    state: ScaleState,
    constants: ScaleParameters,
    *,
    epoch_ns: int,
    seen: NDArray[np.bool_],
) -> ScaleState:
    """Learn at a slot of the fixed grid; `seen` `(n_clocks,)`: who was read at this epoch."""
    new = {name: getattr(state, name).copy() for name in CHANGED}
    wanted, floor = learn_at_slot(
        epoch_ns,
        seen,
        state.x_s,
        state.y,
        new["best"],
        new["since_ns"],
        new["good_since_ns"],
        new["membership"],
        state.weight,
        state.x_variance,
        constants.memories_s,
        constants.eligible,
        constants.tau_weight_s,
        constants.lags_s,
        constants.drift,
        constants.prior_count,
        constants.detection_sigmas,
        constants.weight_cap_n,
        new["tau_excess"],
        new["tau_noise"],
        new["tau_count"],
        new["lag_excess"],
        new["lag_count"],
        new["ring_ns"],
        new["ring_x"],
        new["ring_y"],
        state.step_variance,
        constants.prior_lag,
        constants.prior_tau,
    )
    next_slot_ns = (epoch_ns // constants.slot_ns + 1) * constants.slot_ns
    return replace(state, weight=wanted, next_slot_ns=next_slot_ns, slow_floor_s=floor, **new)
