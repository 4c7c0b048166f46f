# mypy: allow-untyped-defs, allow-untyped-calls
"""The onset of a change: since when a clock that is off has been off, how far its rate has moved since, and how.

It accuses nobody; `detection_judge` has done so. Every past that detection keeps is taken for the onset in turn, of a
step of the rate there and of an even ramp since then, and the likeliest is believed: phase and rate of the clock
against those that agree, as one observation of two correlated parts,

    d = (phase beyond what the past let expect, rate beyond it)     step: delta (a, 1)     ramp: delta (a/2, 1)

`a` s after the onset. The likelihood gained is (s' V^-1 d)^2 / (s' V^-1 s), delta its least-squares value. Where the
mean over the clock's memory is as long as the past is old its rate says nothing, and the phase is judged alone.

Source: generalized likelihood ratio, Willsky and Jones 1976.
Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

import numpy as np

from truechimer.kernel import kernel
from truechimer.scale.detection_noise import phase_variance, rate_variance


@kernel
def _shared(noise, memory, age, learned, drift_u2):
    """Return the covariance (s) of phase and rate after `age` s; see `phase_variance`, `rate_variance`."""
    eff = min(2.0 * memory, max(learned, 1.0))
    rate = noise[1] / eff + 0.5 * noise[3] * memory + 2.0 * noise[0] / (eff * eff)
    return 0.5 * noise[3] * age * age + 2.0 * noise[2] * age + age * rate + 0.5 * age * age * age * drift_u2


@kernel
def _gained(a, d, e, vdd, vde, vee):  # noqa: PLR0917
    """Return likelihood gained and change of rate of a step and of a ramp since `a` s ago: four numbers."""
    det = vdd * vee - vde * vde
    if not det > 0.0:
        det = 1e-6 * vdd * vee
    best_step, step, best_ramp, ramp = 0.0, 0.0, 0.0, 0.0
    for turn in range(2):
        s = a if turn == 0 else 0.5 * a
        own = (s * s * vee - 2.0 * s * vde + vdd) / det
        with_d = (s * vee * d - vde * (s * e + d) + vdd * e) / det
        if turn == 0:
            best_step, step = with_d * with_d / own, with_d / own
        else:
            best_ramp, ramp = with_d * with_d / own, with_d / own
    return best_step, step, best_ramp, ramp


@kernel
def onset(  # noqa: PLR0917
    i, epoch_ns, kept, x, last_ns, y, drift, since_ns, noise, memory, u_drift2, ring_ns, ring_x, ring_y
):
    """Return by how much the rate of clock i has moved, since how long ago (s; 0: not known), and whether evenly.

    `kept`: bool, the clocks that agree; the others are as in `detection_windows`.
    """
    most, moved, over, is_ramp = 0.0, 0.0, 0.0, False
    n = x.shape[0]
    for w in range(ring_ns.shape[0]):
        for s in range(ring_ns.shape[1]):
            past_ns = ring_ns[w, s]
            if past_ns == 0 or past_ns >= epoch_ns or not np.isfinite(ring_x[w, s, i]) or past_ns <= since_ns[i]:
                continue
            age = (epoch_ns - past_ns) / 1e9
            both = memory[i] <= 0.5 * age
            for _ in range(2):
                total, mean_d, mean_e, vdd, vde, vee = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
                own_d, own_e = 0.0, 0.0
                own_dd, own_de, own_ee = 0.0, 0.0, 0.0
                for j in range(n):
                    if (j != i and not kept[j]) or last_ns[j] != epoch_ns or not np.isfinite(ring_x[w, s, j]):
                        continue
                    learned = (past_ns - since_ns[j]) / 1e9
                    if learned <= 0.0 or (both and j != i and memory[j] > 0.5 * age):
                        continue
                    d = x[j] - ring_x[w, s, j] - (ring_y[w, s, j] + 0.5 * drift[j] * age) * age
                    e = y[j] - ring_y[w, s, j] - drift[j] * age
                    dd = phase_variance(noise[j], memory[j], age, learned, u_drift2[j])
                    de = _shared(noise[j], memory[j], age, learned, u_drift2[j])
                    ee = rate_variance(noise[j], memory[j], age, learned, u_drift2[j])
                    if j == i:
                        own_d, own_e, own_dd, own_de, own_ee = d, e, dd, de, ee
                        continue
                    weight = 1.0 / dd
                    total += weight
                    mean_d += weight * d
                    mean_e += weight * e
                    vdd += weight * weight * dd
                    vde += weight * weight * de
                    vee += weight * weight * ee
                if total > 0.0 or not both:
                    break
                # nobody's rate is quick enough: the phase alone
                both = False
            if total <= 0.0:
                continue
            d = own_d - mean_d / total
            e = own_e - mean_e / total
            vdd = own_dd + vdd / (total * total)
            vde = own_de + vde / (total * total)
            vee = own_ee + vee / (total * total)
            if both:
                of_step, step, of_ramp, ramp = _gained(age, d, e, vdd, vde, vee)
            else:
                of_step, step, of_ramp, ramp = d * d / vdd, d / age, 0.0, 0.0
            if of_step > most:
                most, moved, over, is_ramp = of_step, step, age, False
            if of_ramp > most:
                most, moved, over, is_ramp = of_ramp, ramp, age, True
    return moved, over, is_ramp
