# mypy: allow-untyped-defs, allow-untyped-calls
"""Learning: at each slot of a fixed grid, what prediction errors over hours and days say of every clock.

It averages nothing into the scale. It measures each clock's error over each lag against where its own rate put it then,
tests whether a rate is still what it was, chooses the filter that predicts best, and asks for weights. The grid does
not depend on the interval of the readings, so neither do the weights.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit. Clocks stand last
in every array and the long loops have no branch, so that machine code takes several clocks at once: a clock's own
arithmetic is the same either way.
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
LONGEST_COUNT = 720.0
"""So many slots' errors are remembered (30 d by default)."""
LEAST_COUNT = 24
"""Samples of every voter before rates are tested."""


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
def chosen(values, best, out):
    """Fill `out (n,)` with the value of each clock's filter in use; `values (K, n)`."""
    for i in range(best.shape[0]):
        out[i] = values[best[i], i]


@kernel
def _whites(tau_s, memories, best, tau_excess, step_variance):
    """Return white FM per second of each clock, as the error over `tau_s` of the filter in use shows it."""
    n = best.shape[0]
    tau_of = np.empty(memories.shape[0])
    for k in range(memories.shape[0]):
        tau_of[k] = tau_s * (1.0 + 0.5 * tau_s / memories[k])
    white, of = np.empty(n), np.empty(n)
    chosen(tau_excess, best, white)
    for i in range(n):
        of[i] = tau_of[best[i]]
    for i in range(n):
        white[i] = min(step_variance[i], white[i] / of[i])
    return white


@kernel
def _slot_of(epoch_ns, wanted, ring_ns):
    """Return the newest place of the ring that is at least `wanted` s old, -1 where none is."""
    slot = -1
    for r in range(ring_ns.shape[0]):
        if ring_ns[r] == 0:
            continue
        age = (epoch_ns - ring_ns[r]) / 1e9
        if age > 0.0 and age >= wanted and (slot < 0 or ring_ns[r] > ring_ns[slot]):
            slot = r
    return slot


@kernel
def _errors(  # noqa: PLR0917
    age, lag_s, slot_ns, measured_now, x, then_x, then_rate, drift, since_ns, good_since_ns, membership, eligible,
    x_variance, excess, white, known, error, spread, voters
):  # fmt: skip
    """Fill `error` (s, NaN for a clock that was re-set since then), its variance `spread` and who may judge."""
    lags_old, age2 = age / lag_s, age * age
    # clocks mostly share the start of their rates
    start_ns, learned = slot_ns, 0.0
    for i in range(x.shape[0]):
        if since_ns[i] != start_ns:
            start_ns = since_ns[i]
            learned = (slot_ns - start_ns) / 1e9
        known[i] = learned
    for i in range(x.shape[0]):
        is_good = (good_since_ns[i] <= slot_ns) | (membership[i] == 2)
        voters[i] = measured_now[i] & (abs(then_x[i]) < np.inf) & (since_ns[i] < slot_ns) & is_good
    for i in range(x.shape[0]):
        off = x[i] - (then_x[i] + then_rate[i] * age + 0.5 * drift[i] * age * age)
        error[i] = off if voters[i] else np.nan
    for i in range(x.shape[0]):
        noise = 2.0 * x_variance[i]
        # a rate learned for a short time only was not sure of itself
        learned = known[i] if voters[i] else 1.0
        wide = max(excess[i], 1e-36) * lags_old + noise
        wide += age2 * (white[i] * learned + noise) / (learned * learned)
        spread[i] = wide if voters[i] else np.inf
    for i in range(x.shape[0]):
        voters[i] = voters[i] & (membership[i] == 2) & eligible[i]


@kernel
def _test_rates(epoch_ns, error, spread, voters, sigmas, count, membership, since_ns, good_since_ns):  # noqa: PLR0917
    """Put out whose frequency is not what it was: it is learned anew, without a vote."""
    is_young = False
    for i in range(error.shape[0]):
        is_young |= voters[i] & (count[i] < LEAST_COUNT)
    if is_young:
        return
    off, _, is_anyone = off_the_others(error, spread, voters, sigmas)
    if not is_anyone:
        return
    for i in range(error.shape[0]):
        if off[i] and membership[i] == 2:
            membership[i] = 5
            since_ns[i], good_since_ns[i] = epoch_ns, epoch_ns


@kernel
def _gains(prior_count, count, more, gain):
    """Fill the gain of a mean that holds the expectation as `prior_count` samples."""
    for i in range(count.shape[0]):
        n = prior_count[i] + count[i] + more
        gain[i] = 1.0 / (min(LONGEST_COUNT, n))


@kernel
def _learn_lag(of_lag, error, spread, free, usable, gain, prior_count, prior, excess, count):  # noqa: PLR0917
    """Let the errors over a whole lag teach `excess` (s^2), who is `usable`."""
    n = error.shape[0]
    _gains(prior_count, count, 0.0, gain)
    for i in range(n):
        square = min(error[i] * error[i], 16.0 * spread[i])
        sample = square / free[i] * of_lag
        before = excess[i]
        after = max(before + gain[i] * (sample - before), FLOOR * prior[i])
        excess[i] = after if usable[i] else before
        count[i] += usable[i]
    is_any = False
    for i in range(n):
        is_any |= usable[i] & (count[i] == _let_go_at(prior_count[i]))
    if is_any:
        for i in range(n):
            if usable[i] and count[i] == _let_go_at(prior_count[i]):
                excess[i] = _without_prior(excess[i], prior[i], prior_count[i] - 1.0, count[i])


@kernel
def _learn_tau(  # noqa: PLR0917
    age, tau_s, is_whole, x, then_x, then_y, drift, free, known, usable, gain, scratch, prior_count, prior, best,
    x_variance, tau_excess, tau_noise, tau_count
):  # fmt: skip
    """Let the errors of every filter over the longest lag teach `tau_excess`, who is `usable`."""
    filters, n = tau_excess.shape
    if not is_whole:
        # over less than the whole lag, a sample counts only where the clock shows and not what is left of the noise
        for i in range(n):
            if usable[i]:
                young = age / known[i]
                clear = (2.0 + 3.0 * young * young) * x_variance[i]
                usable[i] = clear < tau_excess[best[i], i] * (age / tau_s)
    _gains(prior_count, tau_count, 1.0, gain)
    of_tau = tau_s / age
    for i in range(n):
        scratch[i] = 0.5 * drift[i] * age * age
    for k in range(filters):
        rate, mean = then_y[k], tau_excess[k]
        for i in range(n):
            other = x[i] - (then_x[i] + rate[i] * age + scratch[i])
            after = mean[i] + gain[i] * (other * other / free[i] * of_tau - mean[i])
            mean[i] = after if usable[i] else mean[i]
    is_any = False
    for i in range(n):
        after = tau_noise[i] + gain[i] * (2.0 * x_variance[i] - tau_noise[i])
        tau_noise[i] = after if usable[i] else tau_noise[i]
        tau_count[i] += usable[i]
        is_any |= usable[i] & (tau_count[i] == _let_go_at(prior_count[i]))
    if is_any:
        for i in range(n):
            if usable[i] and tau_count[i] == _let_go_at(prior_count[i]):
                for k in range(filters):
                    tau_excess[k, i] = _without_prior(tau_excess[k, i], prior[k, i], prior_count[i], tau_count[i])


@kernel
def _choose(tau_excess, best, used, smallest, least):
    """Choose the filter that predicts best, where it is clearly better than the one in use."""
    chosen(tau_excess, best, used)
    for i in range(best.shape[0]):
        smallest[i], least[i] = used[i], best[i]
    for k in range(tau_excess.shape[0]):
        mean = tau_excess[k]
        for i in range(best.shape[0]):
            is_less = mean[i] < smallest[i]
            smallest[i] = mean[i] if is_less else smallest[i]
            least[i] = k if is_less else least[i]
    for i in range(best.shape[0]):
        best[i] = least[i] if smallest[i] < 0.95 * used[i] else best[i]


@kernel
def _keep(epoch_ns, measured_now, x, y, membership, ring_ns, ring_x, ring_rate):  # noqa: PLR0917
    """Keep the present in the ring: the slot that is overwritten is the oldest."""
    place = 0
    for r in range(ring_ns.shape[0]):
        if ring_ns[r] < ring_ns[place]:
            place = r
    ring_ns[place] = epoch_ns
    now, rate = ring_x[place], ring_rate[place]
    for i in range(x.shape[0]):
        now[i] = x[i] if measured_now[i] & (membership[i] != 0) else np.nan
    for k in range(y.shape[0]):
        for i in range(x.shape[0]):
            rate[k, i] = y[k, i]


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
    ring_rate,
    step_variance,
    prior_lag,
    prior_tau,
):
    """At a slot: errors over each lag, the rate test, the best filter, the weights, and the ring moved on by one.

    Changed in place are the arrays of `CHANGED`; returned are the weights wanted and the floor of the rate tests.
    """
    n = x.shape[0]
    floor = 0.0
    white = _whites(tau_s, memories, best, tau_excess, step_variance)
    known, error, spread, rate = np.zeros(n), np.empty(n), np.empty(n), np.empty(n)
    free, gain = np.empty(n), np.empty(n)
    voters, usable = np.empty(n, np.bool_), np.empty(n, np.bool_)
    earliest = epoch_ns
    for i in range(n):
        if membership[i] == 2 and since_ns[i] < earliest:
            earliest = since_ns[i]
        free[i] = max(1.0 - weight[i], 0.1) if membership[i] == 2 else 1.0
    for lag in range(lags.shape[0]):
        # the newest slot that is at least a lag old; for the longest lag, while the laboratory is young, the one in the
        # middle: as long before it the rate was learned as after it the rate is judged
        longest = lag == lags.shape[0] - 1
        wanted = 0.98 * lags[lag]
        if longest:
            wanted = min(wanted, 0.49 * ((epoch_ns - earliest) / 1e9))
        slot = _slot_of(epoch_ns, wanted, ring_ns)
        if slot < 0:
            continue
        age = (epoch_ns - ring_ns[slot]) / 1e9
        chosen(ring_rate[slot], best, rate)
        _errors(
            age, lags[lag], ring_ns[slot], measured_now, x, ring_x[slot], rate, drift, since_ns, good_since_ns,
            membership, eligible, x_variance, lag_excess[lag], white, known, error, spread, voters
        )  # fmt: skip
        for i in range(n):
            share = weight[i] * sigmas
            gain[i] = share * np.sqrt(spread[i]) if voters[i] & (weight[i] > 0.0) else 0.0
        for i in range(n):
            floor = max(floor, gain[i])
        if age >= 0.98 * lags[lag]:
            _test_rates(epoch_ns, error, spread, voters, sigmas, lag_count[lag], membership, since_ns, good_since_ns)
        # a rate younger than the lag it is judged over says more of its youth than of the clock
        for i in range(n):
            usable[i] = (abs(error[i]) < np.inf) & (membership[i] != 5) & (known[i] >= 0.95 * age)
        # the filtered phase moves as the clock does: the increments of a matched filter carry no reading noise
        if age >= 0.98 * lags[lag]:
            _learn_lag(
                lags[lag] / age, error, spread, free, usable, gain, prior_count, prior_lag[lag], lag_excess[lag],
                lag_count[lag]
            )  # fmt: skip
        if longest:
            _learn_tau(
                age, tau_s, age >= 0.98 * tau_s, x, ring_x[slot], ring_rate[slot], drift, free, known, usable, gain,
                rate, prior_count, prior_tau, best, x_variance, tau_excess, tau_noise, tau_count
            )  # fmt: skip
    least = np.empty(n, np.int64)
    _choose(tau_excess, best, rate, gain, least)
    wanted_weight = from_errors(membership, eligible, tau_excess, tau_noise, best, cap_n)
    _keep(epoch_ns, measured_now, x, y, membership, ring_ns, ring_x, ring_rate)
    return wanted_weight, floor


CHANGED = (
    "best", "since_ns", "good_since_ns", "membership", "tau_excess", "tau_noise", "tau_count", "lag_excess",
    "lag_count", "ring_ns", "ring_x", "ring_rate",
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
        new["ring_rate"],
        state.step_variance,
        constants.prior_lag,
        constants.prior_tau,
    )
    next_slot_ns = (epoch_ns // constants.slot_ns + 1) * constants.slot_ns
    return replace(state, weight=wanted, next_slot_ns=next_slot_ns, slow_floor_s=floor, **new)
