# mypy: allow-untyped-defs, allow-untyped-calls
"""The windows of `departure`: what a scale does against a reference over some weeks, and what its clocks do meanwhile.

It keeps nothing and says nothing. A departure is a sum of values with weights that know no offset and no rate; what
noise gives to it follows from the same weights: their sums S(t) for white FM, the integrals of those for random-walk
FM. Of each clock against the reference the same sum d_i is taken. With V_i what its noise gives to d_i, and with a
common part from the reference, d is Gaussian with covariance C = diag(V) + common; a ramp of clock i that moved the
scale by D has an amplitude of the order D / w_i: its likelihood against none is

    exp(z_i^2/2 P/(1 + P)) / sqrt(1 + P)      z_i = (C^-1 d)_i / sqrt((C^-1)_ii)      P = (D / w_i)^2 (C^-1)_ii

so that a clock that has no weight is not to blame, however far it went. w_i is the weight that is best over this window
for the clocks that had weight in its last h days: what an algorithm gives depends on the averaging time. Flicker FM
counts as the random walk that is as large at half of the window.

Source: Kay 1998, "Detection Theory", for a Gaussian amplitude of unknown size.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

import numpy as np

from truechimer.kernel import kernel

DAY_S = 86_400.0
NOW_D = 5.0
"""The newest values of so many days are one."""
LEAST_VALUES, LEAST_SPAN = 4, 0.5
"""Values that make a line, and the part of its window that they span."""
UTC_FLOOR = 3e-16
"""What UTC's own rate may wander: it counts with what the clocks let expect, not with the measurement."""
LEAST_SHARE = 1e-4
"""Weight below which no clock moves the scale."""
MOST_GAIN = 15.0
"""Logarithm of a likelihood beyond which nobody doubts any more."""


@kernel
def line_weights(days, at, weights):
    """Fill the weights of the values whose sum is the least-squares line at a time; one day's worth is their mean."""
    n = days.shape[0]
    middle = 0.0
    for k in range(n):
        middle += days[k]
    middle /= n
    square = 0.0
    for k in range(n):
        square += (days[k] - middle) * (days[k] - middle)
    slope = (at - middle) / square if square > 0.0 else 0.0
    for k in range(n):
        weights[k] = 1.0 / n + slope * (days[k] - middle)


@kernel
def window_weights(days, over_d, base_d, weights):
    """Fill the weights, by value, of the mean of the last days less the line through the base; return False where the
    values are too few. `days (k,)`: ages, the newest last and 0.
    """
    n = days.shape[0]
    now, at, count, middle, first, last = 0, 0.0, 0, 0.0, 0.0, 0.0
    for k in range(n):
        weights[k] = 0.0
        if days[k] < NOW_D:
            now += 1
            at += days[k]
        elif over_d < days[k] <= over_d + base_d + 0.5:
            if count == 0:
                first = days[k]
            last = days[k]
            count += 1
            middle += days[k]
    if count < LEAST_VALUES or first - last < LEAST_SPAN * base_d:
        return False
    middle /= count
    at /= now
    square = 0.0
    for k in range(n):
        if over_d < days[k] <= over_d + base_d + 0.5:
            square += (days[k] - middle) * (days[k] - middle)
    slope = (at - middle) / square
    for k in range(n):
        if days[k] < NOW_D:
            weights[k] = 1.0 / now
        elif over_d < days[k] <= over_d + base_d + 0.5:
            weights[k] = -(1.0 / count + slope * (days[k] - middle))
    return True


@kernel
def _wander(days, weights):
    """Return what white FM and random-walk FM of 1 (s, s^3) give to the square of what the weights make: the squares of
    the weights summed up once, and twice, integrated over time.
    """
    n = days.shape[0]
    once, twice, white, walk = 0.0, 0.0, 0.0, 0.0
    # the newest last: summed from there backwards
    for k in range(n - 1, 0, -1):
        once += weights[k]
        dt = (days[k - 1] - days[k]) * DAY_S
        before = twice
        twice += once * dt
        white += once * once * dt
        walk += (before * before + before * twice + twice * twice) * dt / 3.0
    return white, walk


@kernel
def _exponential(x):
    """Return e^x to 1e-4 for |x| < 15, by multiplication alone."""
    value = 1.0 + x / 1_048_576.0
    for _ in range(20):
        value *= value
    return value


@kernel
def look(days, x, u2, clock, share, noise, windows, size, u, allowed, odds, weights):  # noqa: PLR0917
    """Fill, for each window, the scale's departure, its sigma of measurement (0: too few values), what the clocks let
    expect, and for each clock the likelihood of a ramp of its own against none.
    """
    n = clock.shape[1]
    v, d = np.empty(n), np.empty(n)
    for w in range(windows.shape[0]):
        over_d, base_d = windows[w, 0], windows[w, 1]
        u[w] = 0.0
        if not window_weights(days, over_d, base_d, weights):
            continue
        total, variance = 0.0, 0.0
        for k in range(days.shape[0]):
            total -= weights[k] * x[k]
            variance += weights[k] * weights[k] * u2[k]
        size[w], u[w] = total, np.sqrt(variance)
        white, walk = _wander(days, weights)
        middle_s = 0.5 * (over_d + base_d) * DAY_S
        own = 3.0 * UTC_FLOOR * UTC_FLOOR / middle_s * walk
        common = variance + own
        informed, all_shares = 0.0, 0.0
        for i in range(n):
            v[i] = noise[i, 1] * white + (noise[i, 3] + 3.0 * noise[i, 2] / middle_s) * walk
            d[i] = total
            part, now = 0.0, 0
            for k in range(days.shape[0]):
                if weights[k] != 0.0:
                    d[i] += weights[k] * clock[k, i]
                if days[k] <= over_d:
                    part += 1.0 if share[k, i] > 0.0 else 0.0
                    now += 1
            odds[w, i] = 0.0
            if np.isfinite(d[i]) and v[i] > 0.0:
                informed += 1.0 / v[i]
                odds[w, i] = part / now / v[i]
                all_shares += odds[w, i]
        # what the best weighting over this window gives to each clock that had weight
        square, mean = own, 0.0
        for i in range(n):
            odds[w, i] = odds[w, i] / all_shares if all_shares > 0.0 else 0.0
            square += odds[w, i] * odds[w, i] * v[i] if odds[w, i] > 0.0 else 0.0
            if np.isfinite(d[i]) and v[i] > 0.0:
                mean += d[i] / v[i]
        allowed[w] = np.sqrt(square)
        shared = common / (1.0 + common * informed)
        for i in range(n):
            mean_share = odds[w, i]
            odds[w, i] = 0.0
            if not (np.isfinite(d[i]) and v[i] > 0.0 and mean_share > LEAST_SHARE):
                continue
            inverse = 1.0 / v[i] - shared / (v[i] * v[i])
            z = (d[i] - shared * mean) / v[i] / np.sqrt(inverse)
            # a ramp of this clock that moved the scale so far
            prior = (total / mean_share) * (total / mean_share) * inverse
            gain = min(0.5 * z * z * prior / (1.0 + prior), MOST_GAIN)
            odds[w, i] = _exponential(gain) / np.sqrt(1.0 + prior)
