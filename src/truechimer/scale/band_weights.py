# mypy: allow-untyped-defs, allow-untyped-calls
"""Band weights: how much of each clock the scale should hold at every averaging time, from the clocks' noise.

It reads no readings. A scale is E = sum_i W_i x_i with causal filters W_i that sum to 1. Here W_i = c_i0 + sum_k c_ik
F_k, F_k the mean over a memory M_k of what is past. The c that make a sum over averaging times of the scale's Allan
variance least, each time weighed by what the best fixed weighting reaches there, are a weighted mean with matrices in
the place of weights:

    c_i = A_i^-1 (sum_j A_j^-1)^-1 e_0        A_i = sum_tau lambda_tau A_i(tau)

A_i(tau) is what clock i's noise adds to the variance at tau for every pair of filters. One memory and one tau give
AT1's weights 1/sigma^2. Averaging times at which the scale falls behind the best fixed weighting by more than is
allowed there get a larger lambda, and the mean is made again.

Source: Wiener's causal filter with a weighted error, in the basis of the exponential means; IEEE 1139 for the spectra.
Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

import numpy as np
from numpy.typing import NDArray

from truechimer.kernel import kernel

Floats = NDArray[np.float64]

PI = 3.141592653589793
LN2 = 0.6931471805599453
GRID_FACTOR = 1.06
"""Frequencies stand in this ratio; finer ones change no weight by 1 %."""
FAST2 = 40.0
"""Where (w tau)^2 is above this, the mean of Allan's window over its wiggles stands for it: 3/8 of its height."""
ROUNDS = 8
ROOM2 = 0.94
"""Lags are made heavier from this part of the allowed variance on."""
RIDGE = 1e-9
DAY_S = 86_400.0
_ALLOWED = (
    (3_600.0, 1.05),
    (5.0 * 3_600.0, 1.09),
    (DAY_S, 1.08),
    (3.0 * DAY_S, 1.12),
    (10.0 * DAY_S, 1.10),
    (30.0 * DAY_S, 1.15),
    (120.0 * DAY_S, 1.4),
)
"""By how much the scale may fall behind the best fixed weighting at an averaging time (s). Least at the times that
laboratories quote: with few clocks of different kinds no causal scale can be so good at all.
"""


def allowed_at(tau_s: float) -> float:
    """Return the part by which the scale may exceed the best fixed weighting at an averaging time."""
    before_s, before = _ALLOWED[0]
    if tau_s <= before_s:
        return before
    for at_s, value in _ALLOWED[1:]:
        if tau_s <= at_s:
            return before + (value - before) * (tau_s - before_s) / (at_s - before_s)
        before_s, before = at_s, value
    return before


@kernel
def spectra(interval, memories, loops, multiples):
    """Return what the filters and the Allan windows do to noise at frequencies in a ratio of `GRID_FACTOR`: the means
    over `memories` of what is past, after 1, `(F, K + 1, 2)` real and imaginary; means over `loops` (s) that hold the
    present value too, `(F, M, 2)`; the windows `(F, J)` of `multiples` (int, rising) intervals; and df times the
    spectrum of x of unit noise `(F, 4)`: white PM (s^2), white FM (s^2/s), flicker FM (1), random-walk FM (1/s).

    z = e^(iwT) is had from tan(wT/2) and z^m by squaring, so that no exponential function is needed.
    """
    filters, lags = memories.shape[0] + 1, multiples.shape[0]
    begin = PI / (40.0 * multiples[lags - 1])
    tangent, count = begin, 0
    while tangent < 30.0:
        tangent *= GRID_FACTOR
        count += 1
    past = np.zeros((count, filters, 2))
    present = np.zeros((count, loops.shape[0], 2))
    windows = np.zeros((count, lags))
    unit = np.zeros((count, 4))
    tangent = begin
    for f in range(count):
        square = tangent * tangent
        cos, sin = (1.0 - square) / (1.0 + square), 2.0 * tangent / (1.0 + square)
        step = tangent * (GRID_FACTOR - 1.0 / GRID_FACTOR) / (1.0 + square) / interval
        df = step / (2.0 * PI)
        gap2 = 4.0 * square / (1.0 + square)
        w = np.sqrt(gap2) / interval
        past[f, 0, 0] = 1.0
        for k in range(filters - 1):
            share = interval / (memories[k] + interval)
            kept = 1.0 - share
            low = (1.0 - kept * cos) * (1.0 - kept * cos) + kept * kept * sin * sin
            past[f, k + 1, 0] = share * (cos * (1.0 - kept * cos) - kept * sin * sin) / low
            past[f, k + 1, 1] = -share * sin / low
        for m in range(loops.shape[0]):
            share = interval / (loops[m] + interval)
            kept = 1.0 - share
            low = (1.0 - kept * cos) * (1.0 - kept * cos) + kept * kept * sin * sin
            present[f, m, 0] = share * (1.0 - kept * cos) / low
            present[f, m, 1] = -share * kept * sin / low
        unit[f, 0] = 2.0 * interval * df
        unit[f, 1] = 2.0 * interval * interval / gap2 * df
        unit[f, 2] = PI / (LN2 * w * w * w) * df
        unit[f, 3] = 2.0 * interval * interval * interval * interval / (gap2 * gap2) * (1.0 - gap2 / 6.0) * df
        for j in range(lags):
            tau = multiples[j] * interval
            # |1 - z^m|^2 = 2 - 2 cos(m w T)
            far = 6.0
            if multiples[j] == 1 or w * w * tau * tau < FAST2:
                left, up_real, up_imaginary = multiples[j], cos, sin
                m_real, m_imaginary = 1.0, 0.0
                while left > 0:
                    if left % 2 == 1:
                        m_real, m_imaginary = (
                            m_real * up_real - m_imaginary * up_imaginary,
                            m_real * up_imaginary + m_imaginary * up_real,
                        )
                    up_real, up_imaginary = (
                        up_real * up_real - up_imaginary * up_imaginary,
                        2.0 * up_real * up_imaginary,
                    )
                    left //= 2
                far = (2.0 - 2.0 * m_real) * (2.0 - 2.0 * m_real)
            windows[f, j] = far / (2.0 * tau * tau)
        tangent *= GRID_FACTOR
    return past, present, windows, unit


@kernel
def gram(past, windows, unit, passed):
    """Return A(tau) of unit noise, shape `(4, n_taus, K + 1, K + 1)`, of `spectra`, where so much of the power is
    `passed (F,)` on.
    """
    count, filters = past.shape[0], past.shape[1]
    lags = windows.shape[1]
    out = np.zeros((4, lags, filters, filters))
    both = np.zeros((filters, filters))
    for f in range(count):
        for a in range(filters):
            for b in range(a + 1):
                both[a, b] = past[f, a, 0] * past[f, b, 0] + past[f, a, 1] * past[f, b, 1]
        for j in range(lags):
            for noise in range(4):
                power = windows[f, j] * unit[f, noise] * passed[f]
                for a in range(filters):
                    for b in range(a + 1):
                        out[noise, j, a, b] += power * both[a, b]
    for j in range(lags):
        for noise in range(4):
            for a in range(filters):
                for b in range(a + 1):
                    out[noise, j, b, a] = out[noise, j, a, b]
    return out


@kernel
def invert(a, inverse):
    """Write the inverse of the symmetric positive definite `a (m, m)` into `inverse`; False where it is not definite.

    By Cholesky: `a` is overwritten by its factor.
    """
    m = a.shape[0]
    for j in range(m):
        total = a[j, j]
        for k in range(j):
            total -= a[j, k] * a[j, k]
        if not total > 0.0:
            return False
        root = np.sqrt(total)
        a[j, j] = root
        for i in range(j + 1, m):
            total = a[i, j]
            for k in range(j):
                total -= a[i, k] * a[j, k]
            a[i, j] = total / root
    # the factor's inverse, below the diagonal of `inverse`, then its square
    for j in range(m):
        for i in range(m):
            inverse[i, j] = 0.0
        inverse[j, j] = 1.0 / a[j, j]
        for i in range(j + 1, m):
            total = 0.0
            for k in range(j, i):
                total -= a[i, k] * inverse[k, j]
            inverse[i, j] = total / a[i, i]
    for i in range(m):
        for j in range(i + 1):
            total = 0.0
            for k in range(i, m):
                total += inverse[k, i] * inverse[k, j]
            a[i, j] = total
    for i in range(m):
        for j in range(i + 1):
            inverse[i, j] = a[i, j]
            inverse[j, i] = a[i, j]
    return True


@kernel
def _of_clock(out, noise, drift_u2, tensors, taus, j):  # noqa: PLR0917
    """Write A_i(tau_j) of one clock: its noise, and what is not known of its drift, which passes every filter alike."""
    m = out.shape[0]
    ramp = 0.5 * drift_u2 * taus[j] * taus[j]
    for a in range(m):
        for b in range(a + 1):
            out[a, b] = (
                ramp
                + noise[0] * tensors[0, j, a, b]
                + noise[1] * tensors[1, j, a, b]
                + noise[2] * tensors[2, j, a, b]
                + noise[3] * tensors[3, j, a, b]
            )
            out[b, a] = out[a, b]


@kernel
def band_weights(noise, drift_u2, active, tensors, taus, allowed, beside, filters, c):  # noqa: PLR0917
    """Write the weights into `c (n, K + 1)` for the clocks that are `active` (bool); zero for the others.

    `noise (n, 4)`: white PM (s^2), white FM (s^2/s), flicker FM (floor squared), random-walk FM (1/s); `drift_u2`
    (1/s^2): variance of the drift that is not known; `beside (J,)`: Allan variance that is there whatever the weights
    (what a column leaves in: `column_filters`); `filters`: of the K + 1 so many are in use (the longest memories wait
    until the record is as long). Returns the worst ratio of deviations to the best fixed weighting, over the
    allowed one. Sum over the clocks: 1 in column 0, 0 in all others.
    """
    n = noise.shape[0]
    lags = taus.shape[0]
    best = np.zeros(lags)
    one = np.zeros((filters, filters))
    two = np.zeros((filters, filters))
    for i in range(n):
        for a in range(c.shape[1]):
            c[i, a] = 0.0
        if not active[i]:
            continue
        for j in range(lags):
            variance = (
                0.5 * drift_u2[i] * taus[j] * taus[j]
                + noise[i, 0] * tensors[0, j, 0, 0]
                + noise[i, 1] * tensors[1, j, 0, 0]
                + noise[i, 2] * tensors[2, j, 0, 0]
                + noise[i, 3] * tensors[3, j, 0, 0]
            )
            best[j] += 1.0 / variance
    for j in range(lags):
        best[j] = 1.0 / (1.0 / best[j] + beside[j])
    heavy = best.copy()
    inverse = np.zeros((n, filters, filters))
    found, least = np.zeros(c.shape), np.inf
    for turn in range(ROUNDS):
        total = np.zeros((filters, filters))
        for i in range(n):
            if not active[i]:
                continue
            for a in range(filters):
                for b in range(filters):
                    two[a, b] = 0.0
            for j in range(lags):
                _of_clock(one, noise[i], drift_u2[i], tensors, taus, j)
                for a in range(filters):
                    for b in range(filters):
                        two[a, b] += heavy[j] * one[a, b]
            for a in range(filters):
                two[a, a] *= 1.0 + RIDGE
            if not invert(two, inverse[i]):
                return -1.0
            for a in range(filters):
                for b in range(filters):
                    total[a, b] += inverse[i, a, b]
        if not invert(total, two):
            return -1.0
        for i in range(n):
            if not active[i]:
                continue
            for a in range(filters):
                value = 0.0
                for b in range(filters):
                    value += inverse[i, a, b] * two[b, 0]
                c[i, a] = value
        worst = 0.0
        reached = beside.copy()
        for i in range(n):
            if not active[i]:
                continue
            for j in range(lags):
                _of_clock(one, noise[i], drift_u2[i], tensors, taus, j)
                value = 0.0
                for a in range(filters):
                    for b in range(filters):
                        value += c[i, a] * c[i, b] * one[a, b]
                reached[j] += value
        for j in range(lags):
            ratio = reached[j] * best[j] / (allowed[j] * allowed[j] * ROOM2)
            worst = max(worst, ratio)
        if worst < least:
            least = worst
            found[:] = c
        if worst <= 1.0 or turn == ROUNDS - 1:
            break
        for j in range(lags):
            ratio = reached[j] * best[j] / (allowed[j] * allowed[j] * ROOM2)
            if ratio > 1.0:
                heavy[j] *= ratio * ratio * ratio
    c[:] = found
    return least
