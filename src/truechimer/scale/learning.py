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
    # white FM per second, as the error over `tau_s` of the filter in use shows it: no lag but the last changes it
    tau_of = np.empty(filters)
    for k in range(filters):
        tau_of[k] = tau_s * (1.0 + 0.5 * tau_s / memories[k])
    white = np.empty(n)
    for i in range(n):
        white[i] = min(step_variance[i], tau_excess[i, best[i]] / tau_of[best[i]])
    learned = np.empty(n)
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
        slot_ns = ring_ns[slot]
        then_x, then_y = ring_x[slot], ring_y[slot]
        age = (epoch_ns - slot_ns) / 1e9
        lags_old, of_lag, age2, of_tau = age / lags[lag], lags[lag] / age, age * age, tau_s / age
        whole, whole_tau, least_learned = age >= 0.98 * lags[lag], age >= 0.98 * tau_s, 0.95 * age
        # clocks mostly share the start of their rates
        known_since, known, known2 = slot_ns, 0.0, 0.0
        error = np.full(n, np.nan)
        spread = np.full(n, np.inf)
        voters = np.zeros(n, np.bool_)
        for i in range(n):
            # a clock that was re-set since then has no error over this lag
            if not measured_now[i] or not np.isfinite(then_x[i]) or since_ns[i] >= slot_ns:
                continue
            if good_since_ns[i] > slot_ns and membership[i] != 2:
                continue
            error[i] = x[i] - (then_x[i] + then_y[i, best[i]] * age + 0.5 * drift[i] * age * age)
            noise = 2.0 * x_variance[i]
            # a rate learned for a short time only was not sure of itself
            if since_ns[i] != known_since:
                known_since = since_ns[i]
                known = (slot_ns - known_since) / 1e9
                known2 = known * known
            wide = max(lag_excess[i, lag], 1e-36) * lags_old + noise
            wide += age2 * (white[i] * known + noise) / known2
            learned[i], spread[i] = known, wide
            voters[i] = membership[i] == 2 and eligible[i]
            share = weight[i] * sigmas
            # a root is taken only where it may be the largest
            if voters[i] and weight[i] > 0.0 and not share * share * wide < 0.999999 * floor * floor:
                floor = max(floor, share * np.sqrt(wide))
        if whole:
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
            if learned[i] < least_learned:
                continue
            # the filtered phase moves as the clock does: the increments of a matched filter carry no reading noise
            if whole:
                square = min(error[i] * error[i], 16.0 * spread[i])
                gain = 1.0 / 720.0
                if prior_count[i] + lag_count[i, lag] < 720.0:
                    gain = 1.0 / (prior_count[i] + lag_count[i, lag])
                sample = square / free * of_lag
                excess = lag_excess[i, lag]
                lag_excess[i, lag] = max(excess + gain * (sample - excess), FLOOR * prior_lag[i, lag])
                lag_count[i, lag] += 1
                if lag_count[i, lag] == _let_go_at(prior_count[i]):
                    lag_excess[i, lag] = _without_prior(
                        lag_excess[i, lag], prior_lag[i, lag], prior_count[i] - 1.0, lag_count[i, lag]
                    )
            if not longest:
                continue
            # over less than the whole lag, a sample counts only where the clock shows and not what is left of the noise
            young = age / learned[i]
            clear = (2.0 + 3.0 * young * young) * x_variance[i]
            if whole_tau or clear < tau_excess[i, best[i]] * (age / tau_s):
                gain = 1.0 / 720.0
                if prior_count[i] + tau_count[i] + 1.0 < 720.0:
                    gain = 1.0 / (prior_count[i] + tau_count[i] + 1.0)
                now, before, bent = x[i], then_x[i], 0.5 * drift[i] * age * age
                for k in range(filters):
                    other = now - (before + then_y[i, k] * age + bent)
                    sample = other * other / free * of_tau
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
        used = tau_excess[i, least]
        smallest = used
        for k in range(filters):
            if tau_excess[i, k] < smallest:
                least, smallest = k, tau_excess[i, k]
        if smallest < 0.95 * used:
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
