# mypy: allow-untyped-defs, allow-untyped-calls
"""Weights: from squared prediction errors to weights, none above the cap.

It does not look at this epoch's readings: a weight is a clock's past. w_i ~ 1 / (mean squared error of i), at most
`cap` each, sum 1 (AT1; the cap of 4/N is the BIPM's practice for ALGOS).
"""

import numpy as np
from numpy.typing import NDArray

from truechimer.kernel import kernel

Floats = NDArray[np.float64]


@kernel
def capped(wanted, cap):
    """Scale weights (`>= 0`, shape `(n,)`) to sum 1 with none above `cap`; what a capped clock gives up goes to the
    others in proportion.

    All zero stays all zero. A cap below 1/(number of clocks with weight) is raised to it.
    """
    n = wanted.shape[0]
    out = np.zeros(n)
    total = 0.0
    members = 0
    for i in range(n):
        if wanted[i] > 0.0:
            total += wanted[i]
            members += 1
    if members == 0:
        return out
    cap = max(cap, 1.0 / members)
    at_cap, left = np.zeros(n, np.bool_), np.empty(n)
    room = 1.0
    # the loops over clocks have no branch, so that machine code takes several at once
    for _ in range(members):
        # what is clearly below the cap needs no division to show it
        clear = 0.999999 * cap * total / room if room > 0.0 else 0.0
        is_any = False
        for i in range(n):
            is_any |= (wanted[i] > clear) & (not at_cap[i])
        if not is_any:
            break
        fresh = 0
        for i in range(n):
            over = wanted[i] / total * room > cap * (1.0 + 1e-12)
            is_over = over & (wanted[i] > clear) & (not at_cap[i])
            at_cap[i] |= is_over
            fresh += is_over
        if fresh == 0:
            break
        for _ in range(fresh):
            room -= cap
        for i in range(n):
            left[i] = wanted[i] if (wanted[i] > 0.0) & (not at_cap[i]) else 0.0
        total = 0.0
        for i in range(n):
            total += left[i]
        if total <= 0.0:
            break
    for i in range(n):
        out[i] = cap if at_cap[i] else 0.0
    if total > 0.0:
        for i in range(n):
            share = wanted[i] / total * room
            out[i] = share if (wanted[i] > 0.0) & (not at_cap[i]) else out[i]
    return out


@kernel
def from_errors(  # noqa: PLR0917
    membership, eligible, excess, noise, best, cap_n
):
    """Return the weights that the learned errors ask for: `excess (K, n)` less than a tenth of the reading noise counts
    as that tenth.
    """
    n = membership.shape[0]
    wanted = np.zeros(n)
    members = 0
    for i in range(n):
        if membership[i] == 2 and eligible[i]:
            members += 1
            wanted[i] = 1.0 / max(excess[best[i], i], 0.1 * noise[i], 1e-36)
    if members == 0:
        return wanted
    return capped(wanted, cap_n / members)


def weigh(wanted: Floats, *, cap: float) -> Floats:
    """Return weights of sum 1 with none above `cap` (see `capped`)."""
    out: Floats = capped(wanted, cap)
    return out
