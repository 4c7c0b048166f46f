# mypy: allow-untyped-defs, allow-untyped-calls
"""What a doubt about a clock's rate does in `bands`: it keeps its say over hours, and loses that over days.

It doubts nobody: detection does. A rate that has moved by delta within T seconds, for less than it takes to convict,
may go on so: half of delta^2/T stands beside the clock's own random walk while the doubt lasts.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

import numpy as np

from truechimer.kernel import kernel
from truechimer.scale import drift
from truechimer.scale.bands_state import ACTIVE, DAY_NS, DOUBT, RATE, SINCE_NS, STATUS, WEIGHT_DC
from truechimer.scale.noise_learning import RING
from truechimer.scale.state import Membership

_DIVIDED, _DOUBTED = int(Membership.DIVIDED), int(Membership.DOUBTED)
_SUSPECT, _OUT_STEP = int(Membership.SUSPECT), int(Membership.OUT_STEP)
DOUBTED_FROM_S = 86_400.0
"""A divided class has no say over averaging times from about here on."""


@kernel
def in_doubt(noise, active, clock_f, clock_i):
    """Return the noise that weights are made of: that of a divided class has a floor where the other clocks together
    are at a day. So it keeps the hours, and what it may have been pulled by ends where the others can see it. A clock
    whose rate is in doubt may wander on as it did (its column `DOUBT`, 1/s, beside its own random walk).
    """
    believed = noise.copy()
    others = 0.0
    for i in range(noise.shape[0]):
        if clock_i[i, STATUS] == _DOUBTED:
            believed[i, 3] += clock_f[i, DOUBT]
        else:
            clock_f[i, DOUBT] = 0.0
        if active[i] and clock_i[i, STATUS] != _DIVIDED:
            others += 1.0 / (noise[i, 1] / DOUBTED_FROM_S + noise[i, 2] + noise[i, 3] * DOUBTED_FROM_S / 3.0)
    if others <= 0.0:
        return believed
    for i in range(noise.shape[0]):
        if clock_i[i, STATUS] == _DIVIDED:
            believed[i, 2] = max(noise[i, 2], 1.0 / others)
    return believed


@kernel
def wander(epoch_ns, i, moved_y, over, clock_f, clock_i, ring):  # noqa: PLR0917
    """Let clock i, whose rate may have moved by `moved_y` in `over` s, be one that goes on so, half of the time; its
    rate is learned from that onset on.
    """
    clock_i[i, SINCE_NS] = max(clock_i[i, SINCE_NS], epoch_ns - np.int64(over * 1e9))
    clock_f[i, DOUBT] = max(clock_f[i, DOUBT], 0.5 * moved_y * moved_y / over)
    clock_i[i, DAY_NS] = 0
    drift.opened(clock_f, i)
    for j in range(ring.shape[0]):
        for k in range(RING):
            ring[j, k, i] = np.nan


@kernel
def rerate(i, moved_y, clock_f, clock_i, rate, common_f):  # noqa: PLR0917
    """Let clock i, which keeps weight, have the rate that it has moved to, and the scale the rate it has."""
    for k in range(rate.shape[1]):
        rate[i, k] += moved_y
    if clock_i[i, ACTIVE] == 1:
        common_f[RATE] += clock_f[i, WEIGHT_DC] * moved_y


@kernel
def is_silenced(status):
    """Return True for a clock whose phase is in doubt, and its rate is not: it keeps its place in the weights, and is
    not heard.
    """
    return status == _SUSPECT or status == _OUT_STEP  # noqa: PLR1714 - a kernel
