# mypy: allow-untyped-defs, allow-untyped-calls
"""The noise that detection expects of a clock over each window, and how it is learned from what the windows show.

It judges nobody. Four terms make the variance of predicting x over a window m with a rate averaged over a memory M:

    V(m) = 2 p + q1 m + 2 f^2 m^2 + q2 m^3 / 3 + m^2 (q1 / E + q2 M / 2 + 2 p / E^2) + (m^2 / 2 + m M)^2 u_d^2

p: reading (s^2), q1: white FM, f: flicker floor, q2: random-walk FM, E: the shorter of 2 M and the time the rate has
been learned for, u_d: uncertainty of the drift. The terms are learned by maximum likelihood for squared deviations of
Gaussian noise: the multiplicative step a <- a sum(n B S / V^2) / sum(n B / V), which keeps every term positive (the
Itakura-Saito form of non-negative factorization; Fevotte, Bertin and Durrieu 2009).

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

from math import sqrt

from truechimer.kernel import kernel

DAY = 86_400.0
LONGEST_MEMORY_S = 200.0 * DAY
DRIFT_MEMORY_S = 400.0 * DAY
DRIFT_PATIENCE_S = 20.0 * DAY


@kernel
def memory_of(p, q1, f2, q2, shortest):
    """Return the memory (s) that makes the rate's variance q1/(2M) + 2p/(4M^2) + q2 M/2 least; no longer than it takes
    white FM to fall well below the flicker floor: a longer one only lags.
    """
    q2 = max(q2, 1e-45)
    memory = max(sqrt(q1 / q2), shortest)
    for _ in range(4):
        memory = max(sqrt((q1 + 2.0 * p / memory) / q2), shortest)
    return min(memory, max(q1 / max(f2, 1e-45), shortest), LONGEST_MEMORY_S)


@kernel
def drift_variance(noise, memory, learned):
    """Return u_d^2 (1/s^2): of the mean slope of a rate since it was settled, drawn to 0 by `DRIFT_PATIENCE_S`."""
    t = min(learned - 2.0 * memory, DRIFT_MEMORY_S)
    if t <= 0.0:
        return 0.0
    eff = 2.0 * memory
    rate = noise[1] / eff + 0.5 * noise[3] * memory + 2.0 * noise[0] / (eff * eff)
    t_drawn = t + DRIFT_PATIENCE_S
    return (noise[3] * t + 2.0 * rate) / (t_drawn * t_drawn)


@kernel
def _reach(m, eff):
    """Return by how much flicker FM parts two averages, over `m` and over `eff` s, more than two of equal length do.

    The exact ratio, ((1+r)^2/r ln(1+r) - (1+r) ln r)/(4 ln 2), grows as the logarithm of r; r^(1/8) is within 7 % of it
    up to r = 1000.
    """
    if m <= 0.0:
        return 1.0
    r = m / eff if m > eff else eff / m
    return sqrt(sqrt(sqrt(r)))


@kernel
def phase_variance(noise, memory, m, learned, drift_u2):
    """Return V(m) in s^2 for a rate that had been learned for `learned` s when the window began."""
    eff = min(2.0 * memory, max(learned, 1.0))
    rate = noise[1] / eff + 0.5 * noise[3] * memory + 2.0 * noise[0] / (eff * eff)
    lag = 0.5 * m * m + m * min(memory, learned)
    return (
        2.0 * noise[0]
        + noise[1] * m
        + 2.0 * noise[2] * m * m * _reach(m, eff)
        + noise[3] * m * m * m / 3.0
        + m * m * rate
        + lag * lag * drift_u2
    )


@kernel
def rate_variance(noise, memory, m, learned, drift_u2):
    """Return the variance of the change of a filtered rate over a window."""
    eff = min(2.0 * memory, max(learned, 1.0))
    rate = noise[1] / eff + 0.5 * noise[3] * memory + 2.0 * noise[0] / (eff * eff)
    return noise[3] * m + 2.0 * rate + 3.0 * noise[2] * _reach(m, eff) + m * m * drift_u2


@kernel
def learn(noise, prior, worth, memory, windows, interval, sample, count, age, floor_p):  # noqa: PLR0917
    """Carry one clock's four terms one step towards what its windows show; `noise (4,)` is changed in place.

    `sample`, `count` `(W + 1,)`; a window counts as the independent samples in it. The prior counts as `worth` samples
    at each window until eight have come.
    """
    top0 = top1 = top2 = top3 = 0.0
    low0 = low1 = low2 = low3 = 0.0
    eff = min(2.0 * memory, max(age, 1.0))
    for w in range(windows.shape[0] + 1):
        m = interval if w == 0 else windows[w - 1]
        if m > 4.0 * DAY and 4.0 * m > age:
            break
        n = 1.0 * count[w]
        if w > 0:
            n = min(n, age / m) if m > interval else 0.0
        n = min(n, 200.0)
        b0 = 2.0 + 2.0 * m * m / (eff * eff)
        b1 = m + m * m / eff
        b2 = 2.0 * m * m
        b3 = m * m * m / 3.0 + 0.5 * m * m * memory
        v = noise[0] * b0 + noise[1] * b1 + noise[2] * b2 + noise[3] * b3
        prior_n = worth * max(1.0 - n / 8.0, 0.0) if worth < 5.0 else worth
        if n + prior_n <= 0.0:
            continue
        expected = prior[0] * b0 + prior[1] * b1 + prior[2] * b2 + prior[3] * b3
        s = (n * sample[w] + prior_n * expected) / (n + prior_n)
        n += prior_n
        up, down = n * s / (v * v), n / v
        top0 += b0 * up
        top1 += b1 * up
        top2 += b2 * up
        top3 += b3 * up
        low0 += b0 * down
        low1 += b1 * down
        low2 += b2 * down
        low3 += b3 * down
    if low1 <= 0.0:
        return
    noise[0] = max(noise[0] * min(max(top0 / low0, 0.1), 4.0), floor_p)
    noise[1] = max(noise[1] * min(max(top1 / low1, 0.1), 4.0), 1e-36)
    noise[2] = max(noise[2] * min(max(top2 / low2, 0.1), 4.0), 1e-40)
    noise[3] = max(noise[3] * min(max(top3 / low3, 0.1), 4.0), 1e-44)
