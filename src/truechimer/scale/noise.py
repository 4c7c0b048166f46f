"""Noise of the scale itself, from its clocks' learned errors and kinds: what whoever predicts it against UTC must allow
for.

It does not predict. Clocks are taken as independent: variances add with squared weights. A flicker floor f is entered
as the random walk that equals it over 30 days, so that a holdover of weeks is not stated too well.
"""

from math import sqrt

from truechimer.clocks.clock import Clock
from truechimer.clocks.state_model import two_state_noise
from truechimer.scale.state import ScaleParameters, ScaleState

MONTH_S = 30.0 * 86_400.0

LEARNING_MEMBERS = 3
LEAST_RATIO = 0.25
"""However quiet a clock looks against the others, no less than this part of its model's noise is allowed for."""


def scale_noise(
    state: ScaleState, parameters: ScaleParameters, clocks: tuple[Clock, ...]
) -> tuple[float, float, float]:
    """Return q1 (s^2/s), q2 (1/s) of the scale with its present weights, and one sigma of its rate before anything is
    known.
    """
    q1, q2, spread2, total = 0.0, 0.0, 0.0, 0.0
    members = sum(1 for weight in state.weight.tolist() if weight > 0.0)
    for i, clock in enumerate(clocks):
        weight = float(state.weight[i])
        if weight <= 0.0:
            continue
        noise = two_state_noise(clock)
        # what the readings teach scales the model's noise; two clocks or fewer cannot teach it
        ratio = 1.0
        if members >= LEARNING_MEMBERS:
            best = int(state.best[i])
            learned = max(float(state.tau_excess[best, i]), 0.1 * float(state.tau_noise[i]))
            ratio = max(learned / float(parameters.prior_tau[best, i]), LEAST_RATIO)
        q1 += weight * weight * ratio * noise.q1
        q2 += weight * weight * ratio * (noise.q2 + 3.0 * noise.floor * noise.floor / MONTH_S)
        spread2 += weight * weight * noise.y_spread * noise.y_spread
        total += weight
    if total <= 0.0:
        noise = two_state_noise(clocks[0])
        return noise.q1, noise.q2, noise.y_spread
    return q1, q2, sqrt(spread2)
