"""Noise of the free scale, from what the ensemble has learned of its clocks: as the prediction of UTC needs it.

It learns nothing itself. An ensemble that weighs its clocks by averaging time comes close, at every tau, to the best
fixed weighting there, B(tau)^2 = 1 / sum 1 / sigma_i^2(tau). This is drawn as white FM, flicker FM and random-walk FM,
none negative, nearest to it over half a day to a hundred days. What all clocks have in common nobody inside can see;
their common drift is left open for UTC to tell. While an ensemble learns the drifts of its clocks, what it has wrong in
them goes into its rate, and changes over weeks: random-walk FM of several clocks is taken `EXCESS` times larger.

Source: B(tau) as in docs/ensemble.md. Law of the file: + - * / and sqrt in a written order.
"""

from truechimer.errors import Misuse
from truechimer.steer.delayed_filter import DAY_S, FreeNoise

TAUS_S = (0.5 * DAY_S, DAY_S, 2.0 * DAY_S, 5.0 * DAY_S, 10.0 * DAY_S, 20.0 * DAY_S, 50.0 * DAY_S, 100.0 * DAY_S)
ROUNDS = 200
EXCESS = 2.0
"""Random-walk FM of a scale of several clocks over that of the best weighting, in variance. Measured: over twenty days
the ADEV of our scale is 1.2 (drifts declared) to 1.4 times the best weighting's; forecasts of UTC are nearest with two
to four (`design/steering/year.py --excess`).
"""


def free_noise(
    clocks: tuple[tuple[float, float, float], ...],
    *,
    y_spread: float,
    drift_spread: float,
    drift_memory_s: float = 1000.0 * DAY_S,
    excess: float = EXCESS,
) -> FreeNoise:
    """Return the noise of a scale of clocks that carry weight: of each white FM q1 (s^2/s), floor squared and
    random-walk FM q2 (1/s).

    `y_spread`, `drift_spread` (1/s): one sigma of the scale's rate and drift against UTC before anything is known;
    `drift_memory_s`: over which the drift may become another; `excess`: of random-walk FM where there is more than one
    clock.
    """
    if not clocks:
        raise Misuse("a scale of no clocks has no noise to speak of")
    wanted = [_best(clocks, tau_s) for tau_s in TAUS_S]
    # parts of the Allan variance, relative to it: q1 / tau, floor^2, q2 tau / 3
    shapes = (
        [1.0 / (tau_s * w) for tau_s, w in zip(TAUS_S, wanted, strict=True)],
        [1.0 / w for w in wanted],
        [tau_s / (3.0 * w) for tau_s, w in zip(TAUS_S, wanted, strict=True)],
    )
    found = [0.0, 0.0, 0.0]
    for _ in range(ROUNDS):
        for k, shape in enumerate(shapes):
            left, square = 0.0, 0.0
            for i, part in enumerate(shape):
                others = 0.0
                for j, other in enumerate(shapes):
                    if j != k:
                        others += found[j] * other[i]
                left += part * (1.0 - others)
                square += part * part
            found[k] = max(left / square, 0.0)
    q3 = drift_spread * drift_spread / drift_memory_s
    q2 = found[2] * excess if len(clocks) > 1 else found[2]
    return FreeNoise(q1=found[0], floor2=found[1], q2=q2, q3=q3, y_spread=y_spread, drift_spread=drift_spread)


def _best(clocks: tuple[tuple[float, float, float], ...], tau_s: float) -> float:
    """Return the Allan variance of the best fixed weighting at tau."""
    whole = 0.0
    for q1, floor2, q2 in clocks:
        whole += 1.0 / max(q1 / tau_s + floor2 + q2 * tau_s / 3.0, 1e-60)
    return 1.0 / whole
