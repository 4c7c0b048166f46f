# mypy: allow-untyped-defs, allow-untyped-calls
"""Taking back: what a clock that was put out had already forced upon the scale's rate is taken from it again.

The phase stays: a scale does not jump, nor does it run back. It judges nobody: whose rate moved, since when and by how
much is detection's (`detection_onset`). The scale of `bands` is E = sum_i W_i X_i - r t with filters W_i whose gain at
rest is dc_i, so a rate of clock i that has moved by delta has moved that of E by

    e = c_i0 delta + sum_k c_ik F_k(delta)        F_k(delta): what of it the mean over the memory M_k holds by now

and the rates of all other clocks, kept against E, by -F_k(e). Both are taken out of the rates; clock i stands, until it
is out, at the rate it had before. What follows keeps the rate of the scale where the others have it.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

from truechimer.kernel import kernel
from truechimer.scale.bands_state import ACTIVE, LAST_NS, SHIFT, SINCE_NS, STATUS, TAKEN, TAKEN_NS, TAKEN_OVER
from truechimer.scale.state import Membership

_IN, _DISPUTED, _DIVIDED = int(Membership.IN), int(Membership.DISPUTED), int(Membership.DIVIDED)

STEPS = 64


@kernel
def held(memory, over, is_ramp):
    """Return what part of a change of rate a mean over `memory` s holds `over` s after the onset.

    `is_ramp`: the rate has moved evenly since the onset; the change is that by the end. (1 - over/n memory)^n in place
    of the exponential function: within 1 %, and the same on every machine.
    """
    if over <= 0.0:
        return 0.0
    # e^-a = 1/(1 + a/n)^n, n a power of two
    grown = 1.0 + over / (memory * STEPS)
    n = STEPS
    while n > 1:
        grown = min(grown * grown, 1e30)
        n //= 2
    left = 1.0 / grown
    if is_ramp:
        return 1.0 - memory / over * (1.0 - left)
    return 1.0 - left


@kernel
def take_back(epoch_ns, i, moved_y, over, is_ramp, memories, clock_f, clock_i, rate, band, common_f, back):  # noqa: PLR0917
    """Take from the scale's rate what the change of clock i's has forced upon it; note that in its column `TAKEN`.

    `moved_y`: by how much its rate has changed since `over` s ago against the others. `rate (n, K)` is changed:
    afterwards clock i stands at the rate it had, so that the plan that takes its weight away keeps the rate that the
    others have. `back (K,)` is what was taken of its own rates, to be added again after that plan: it is predicted as
    it goes.
    """
    n, memory_count = rate.shape
    if clock_i[i, LAST_NS] == 0 or clock_i[i, ACTIVE] != 1 or over <= 0.0:
        return
    young = max((epoch_ns - clock_i[i, SINCE_NS]) / 1e9, 1.0)
    forced = band[i, 0] * moved_y
    for k in range(memory_count):
        forced += band[i, k + 1] * moved_y * held(min(memories[k], young), over, is_ramp)
    for j in range(n):
        if clock_i[j, LAST_NS] == 0:
            continue
        young = max((epoch_ns - clock_i[j, SINCE_NS]) / 1e9, 1.0)
        # the means of a clock that was outvoted have stood still, and hold nothing of what the scale did since
        stood = clock_i[j, STATUS] == _DISPUTED
        for k in range(memory_count):
            part = held(min(memories[k], young), over, is_ramp)
            rate[j, k] += 0.0 if stood else part * forced
            if j == i:
                back[k] = part * moved_y
                rate[i, k] -= back[k]
    clock_f[i, TAKEN] = forced
    clock_f[i, TAKEN_OVER] = -over if is_ramp else over
    clock_i[i, TAKEN_NS] = epoch_ns
    common_f[SHIFT] -= forced


@kernel
def give_back(epoch_ns, verdict, memories, clock_f, clock_i, rate, common_f):  # noqa: PLR0917
    """Undo what was taken for a clock that was in a dispute and is cleared: its rate had not moved. Forget what was
    taken for one that is out for good.

    Of what was added to a mean as much is left as the mean has not forgotten since; the means of clocks that
    are outvoted stand still. The scale's rate follows from the means when the clock has its weight again.
    """
    n = rate.shape[0]
    for i in range(n):
        taken = clock_f[i, TAKEN]
        if taken == 0.0 or verdict[i] == _DISPUTED or verdict[i] == _DIVIDED:
            continue
        clock_f[i, TAKEN] = 0.0
        if not ((clock_i[i, STATUS] == _DISPUTED or clock_i[i, STATUS] == _DIVIDED) and verdict[i] == _IN):
            continue
        over = clock_f[i, TAKEN_OVER]
        since = (epoch_ns - clock_i[i, TAKEN_NS]) / 1e9
        common_f[SHIFT] += taken
        for j in range(n):
            if clock_i[j, LAST_NS] == 0:
                continue
            stood = clock_i[j, STATUS] == _DISPUTED
            young = max((clock_i[i, TAKEN_NS] - clock_i[j, SINCE_NS]) / 1e9, 1.0)
            for k in range(rate.shape[1]):
                part = held(min(memories[k], young), abs(over), over < 0.0)
                if not stood:
                    part *= 1.0 - held(min(memories[k], young + since), since, is_ramp=False)
                rate[j, k] -= part * taken
