# mypy: allow-untyped-defs, allow-untyped-calls
"""Column filters: how much of what a clock's readings say of it is its reading noise, and how long to wait to know.

It makes no scale. Clock j is read as r = x_j + n_j - E, n_j the white noise of its link or counter. Its column in the
scale, x_j - E as well as it can be known now, is r through a causal filter L_j that passes what is constant; through
clock j the scale is then seen as

    x_j - column = x_j - L_j (x_j + n_j - E)            E = sum_i W_i (x_i + n_i)

The L that makes a sum of its Allan variances least is the solution of a small linear system, in the basis of means
over a ladder of times (`LOOPS`), each led on by the clock's rate. Without causality it would be S_j/(S_j + N_j),
whatever the weights. A quiet clock on a noisy link is then as quiet as it is, up to the time over which readings tell
it better; a noisy clock is read as it comes.

Source: Wiener's causal filter with a weighted error. Law of the file: only + - * / and sqrt in a written order.
"""

import numpy as np
from numpy.typing import NDArray

from truechimer.kernel import kernel
from truechimer.scale.band_weights import allowed_at, invert

Floats = NDArray[np.float64]

LOOPS = (0.0, 1.5, 4.0, 10.0, 25.0, 60.0, 150.0, 400.0)
"""Times over which a column waits, in intervals; 0: the reading as it comes."""
NOISELESS = 0.03
"""Where reading noise is less than this part of a clock's own from one epoch to the next, it is read as it comes: a
filter would gain the square of that.
"""
RIDGE = 1e-4
"""Of the diagonal: loops of like length are not played off against each other."""
ROUNDS = 16
YOUNG = 4.0
"""A loop is used from so many of its times on."""
QUOTED_S = (3_600.0, 86_400.0, 864_000.0, 2_592_000.0)
BETWEEN = 1.15
"""Averaging times that nobody quotes may fall behind by so much more."""


def column_allowed(taus_s: Floats) -> Floats:
    """Return the part by which a column may exceed the best at each averaging time alone, `(J,)`."""
    return np.array(
        [
            allowed_at(tau) * (1.0 if k == 0 or any(abs(tau / at - 1.0) < 0.01 for at in QUOTED_S) else BETWEEN)
            for k, tau in enumerate(taus_s.tolist())
        ]
    )


@kernel
def flywheel(noise, active, tensors):
    """Return the clock through which the scale is seen most quietly from one epoch to the next; -1 where reading noise
    does not matter to it.
    """
    found, least, total = -1, np.inf, 0.0
    n = noise.shape[0]
    own, read = np.zeros(n), np.zeros(n)
    for i in range(n):
        own[i] = 0.0
        for k in range(1, 4):
            own[i] += noise[i, k] * tensors[k, 0, 0, 0]
        read[i] = noise[i, 0] * tensors[0, 0, 0, 0]
        if active[i]:
            total += 1.0 / (own[i] + read[i])
    for i in range(n):
        if active[i]:
            both = own[i] + read[i]
            part = 1.0 / both / total
            through = part * own[i] + (1.0 - part) * own[i] * (read[i] / both)
            # of two that are alike the one on the quieter link: its column needs the scale at once, the other's waits
            through *= 1.0 + 2.0 * (read[i] / both)
            if through < least:
                found, least = i, through
    if found >= 0 and read[found] <= NOISELESS * (own[found] + read[found]):
        return -1
    return found


@kernel
def is_noisy(noise, tensors):
    """Return True for a clock whose readings are not to be taken as they come."""
    own = 0.0
    for k in range(1, 4):
        own += noise[k] * tensors[k, 0, 0, 0]
    read = noise[0] * tensors[0, 0, 0, 0]
    return read > NOISELESS * (own + read)


@kernel
def _responses(past, present, best, used):
    """Return what the first `used` loops make of a clock's phase `(F, used, 2)`: each is led on by the rate of memory
    `best`.
    """
    count = past.shape[0]
    out = np.zeros((count, used, 2))
    for f in range(count):
        y_real, y_imaginary = past[f, best + 1, 0], past[f, best + 1, 1]
        for m in range(used):
            rest_real, rest_imaginary = 1.0 - present[f, m, 0], -present[f, m, 1]
            out[f, m, 0] = present[f, m, 0] + rest_real * y_real - rest_imaginary * y_imaginary
            out[f, m, 1] = present[f, m, 1] + rest_real * y_imaginary + rest_imaginary * y_real
    return out


@kernel
def _forms(own, cross, whole, through, windows, lags):  # noqa: PLR0917
    """Return the quadratic forms `(J, M, M)` of the Allan variance of x - L r over the coefficients of the loops, which
    sum to 1: `own (F,)` the power of x, `cross (F, 2)` of r against x, `whole (F,)` of r.
    """
    count, used = through.shape[0], through.shape[1]
    out = np.zeros((lags, used, used))
    half = np.zeros(used)
    for f in range(count):
        for a in range(used):
            half[a] = through[f, a, 0] * cross[f, 0] - through[f, a, 1] * cross[f, 1]
        for a in range(used):
            for b in range(a + 1):
                both = through[f, a, 0] * through[f, b, 0] + through[f, a, 1] * through[f, b, 1]
                value = own[f] - half[a] - half[b] + whole[f] * both
                for j in range(lags):
                    out[j, a, b] += windows[f, j] * value
    for j in range(lags):
        for a in range(used):
            for b in range(a):
                out[j, b, a] = out[j, a, b]
    return out


@kernel
def _solve(forms, weight, system, inverse, c):
    """Write the coefficients, of sum 1, that make the weighted sum of the forms least."""
    lags, used = forms.shape[0], forms.shape[1]
    for a in range(used):
        for b in range(used):
            total = 0.0
            for j in range(lags):
                total += weight[j] * forms[j, a, b]
            system[a, b] = total
    for a in range(used):
        system[a, a] *= 1.0 + RIDGE
    if not invert(system, inverse):
        return False
    whole = 0.0
    for a in range(used):
        c[a] = 0.0
        for b in range(used):
            c[a] += inverse[a, b]
        whole += c[a]
    for a in range(used):
        c[a] = c[a] / whole
    return True


@kernel
def _reached(forms, beside, c, reached):
    for j in range(forms.shape[0]):
        total = 0.0
        for a in range(c.shape[0]):
            for b in range(c.shape[0]):
                total += c[a] * c[b] * forms[j, a, b]
        reached[j] = total + beside[j]


@kernel
def _least(forms, beside, allowed):
    """Return the coefficients for which the largest ratio of deviations to the best at each averaging time alone, over
    what is allowed there, is least; the reading as it comes where there are none.
    """
    lags, used = forms.shape[0], forms.shape[1]
    system, inverse = np.zeros((used, used)), np.zeros((used, used))
    c, found = np.zeros(used), np.zeros(used)
    found[0] = 1.0
    alone, reached, weight = np.zeros(lags), np.zeros(lags), np.zeros(lags)
    for j in range(lags):
        weight[:] = 0.0
        weight[j] = 1.0
        if not _solve(forms, weight, system, inverse, c):
            return found
        _reached(forms, beside, c, reached)
        alone[j] = reached[j]
    for j in range(lags):
        weight[j] = 1.0 / alone[j]
    least = np.inf
    for _ in range(ROUNDS):
        if not _solve(forms, weight, system, inverse, c):
            return found
        _reached(forms, beside, c, reached)
        worst, mean = 0.0, 0.0
        for j in range(lags):
            reached[j] = np.sqrt(reached[j] / alone[j]) / allowed[j]
            worst = max(worst, reached[j])
            mean += reached[j] / lags
        if worst < least:
            least = worst
            found[:] = c
        for j in range(lags):
            ratio = reached[j] / mean
            weight[j] *= ratio * ratio * ratio
    return found


@kernel
def alone(i, noise, active, tensors, past, present, windows, unit, best, allowed, lags, used):  # noqa: PLR0917
    """Return what of clock i's power its column passes on and what it leaves in, `(F,)` each, as far as its noise alone
    says: the weights, which that decides, are not made yet.
    """
    count = past.shape[0]
    own, whole, cross = np.zeros(count), np.zeros(count), np.zeros((count, 2))
    for f in range(count):
        for k in range(1, 4):
            own[f] += noise[i, k] * unit[f, k]
        whole[f] = own[f] + noise[i, 0] * unit[f, 0]
        cross[f, 0] = own[f]
    through = _responses(past, present, best, used)
    forms = _forms(own, cross, whole, through, windows, lags)
    beside = np.zeros(lags)
    for j in range(lags):
        total, mine, clean = 0.0, 0.0, 0.0
        for k in range(noise.shape[0]):
            if active[k]:
                variance = 0.0
                for kind in range(4):
                    variance += noise[k, kind] * tensors[kind, j, 0, 0]
                total += 1.0 / variance
                if k == i:
                    mine = 1.0 / variance
                    clean = variance - noise[k, 0] * tensors[0, j, 0, 0]
        part = mine / total
        beside[j] = part * clean
        for a in range(used):
            for b in range(used):
                forms[j, a, b] *= 1.0 - part
    c = _least(forms, beside, allowed)
    passed, left = np.zeros(count), np.zeros(count)
    for f in range(count):
        real, imaginary = 0.0, 0.0
        for m in range(used):
            real += c[m] * through[f, m, 0]
            imaginary += c[m] * through[f, m, 1]
        passed[f] = real * real + imaginary * imaginary
        left[f] = ((1.0 - real) * (1.0 - real) + imaginary * imaginary) * own[f]
    return passed, left


@kernel
def column_filters(  # noqa: PLR0917
    noise, active, tensors, past, present, windows, unit, best, band, allowed, lags, used, wanted
):
    """Write the coefficients of every clock's loops into `wanted (n, M)`, given the weights `band (n, K + 1)`."""
    n, count, filters = noise.shape[0], past.shape[0], past.shape[1]
    noisy = np.zeros(n, np.bool_)
    any_ = False
    for i in range(n):
        wanted[i, :] = 0.0
        wanted[i, 0] = 1.0
        noisy[i] = used > 1 and is_noisy(noise[i], tensors)
        any_ = any_ or noisy[i]
    if not any_:
        return
    # W_i at every frequency, and the power of the scale with its reading noise
    weight = np.zeros((n, count, 2))
    scale = np.zeros(count)
    for i in range(n):
        if not active[i]:
            continue
        for f in range(count):
            power, real, imaginary = 0.0, 0.0, 0.0
            for k in range(4):
                power += noise[i, k] * unit[f, k]
            for k in range(filters):
                real += band[i, k] * past[f, k, 0]
                imaginary += band[i, k] * past[f, k, 1]
            weight[i, f, 0], weight[i, f, 1] = real, imaginary
            scale[f] += (real * real + imaginary * imaginary) * power
    own, whole, cross = np.zeros(count), np.zeros(count), np.zeros((count, 2))
    beside = np.zeros(lags)
    for i in range(n):
        if not noisy[i]:
            continue
        for f in range(count):
            own[f] = 0.0
            for k in range(1, 4):
                own[f] += noise[i, k] * unit[f, k]
            # r = (1 - W_i)(x_i + n_i) - sum of the others
            whole[f] = scale[f] + (1.0 - 2.0 * weight[i, f, 0]) * (own[f] + noise[i, 0] * unit[f, 0])
            cross[f, 0] = (1.0 - weight[i, f, 0]) * own[f]
            cross[f, 1] = -weight[i, f, 1] * own[f]
        through = _responses(past, present, best[i], used)
        wanted[i, :used] = _least(_forms(own, cross, whole, through, windows, lags), beside, allowed)
