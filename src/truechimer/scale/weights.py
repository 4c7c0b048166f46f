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
    at_cap = np.zeros(n, np.bool_)
    room = 1.0
    for _ in range(members):
        fresh = 0
        # what is clearly below the cap needs no division to show it
        clear = 0.999999 * cap * total / room if room > 0.0 else 0.0
        for i in range(n):
            if wanted[i] > clear and not at_cap[i] and wanted[i] / total * room > cap * (1.0 + 1e-12):
                at_cap[i] = True
                out[i] = cap
                fresh += 1
        if fresh == 0:
            break
        total, room = 0.0, 1.0
        for i in range(n):
            if at_cap[i]:
                room -= cap
            elif wanted[i] > 0.0:
                total += wanted[i]
        if total <= 0.0:
            break
    for i in range(n):
        if wanted[i] > 0.0 and not at_cap[i]:
            out[i] = wanted[i] / total * room
    return out


@kernel
def from_errors(  # noqa: PLR0917
    membership, eligible, excess, noise, best, cap_n
):
    """Return the weights that the learned errors ask for: `excess (n, K)` less than a tenth of the reading noise counts
    as that tenth.
    """
    n = membership.shape[0]
    wanted = np.zeros(n)
    members = 0
    for i in range(n):
        if membership[i] == 2 and eligible[i]:
            members += 1
            wanted[i] = 1.0 / max(excess[i, best[i]], 0.1 * noise[i], 1e-36)
    if members == 0:
        return wanted
    return capped(wanted, cap_n / members)


def weigh(wanted: Floats, *, cap: float) -> Floats:
    """Return weights of sum 1 with none above `cap` (see `capped`)."""
    out: Floats = capped(wanted, cap)
    return out
