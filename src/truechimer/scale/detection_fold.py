# mypy: allow-untyped-defs, allow-untyped-calls
"""Detection: the fold that tests every clock against the others, epoch by epoch, over windows of one epoch to 90 days.

It makes no scale: an algorithm gives weight to the clocks that are `IN` and to no others. It reads clocks minus pivot
and keeps a reference of its own, so that a scale that a bad clock has moved cannot vouch for that clock. A phase step
is seen at its epoch, a change of frequency or a slow drift in the window in which it stands out (`detection_judge`);
a clock that is out is still predicted, and returns after a time of good conduct. Of a clock that changed its rate every
window that holds the change is forgotten, and the others are judged again without it.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from truechimer.kernel import kernel
from truechimer.scale.detection_copies import (
    LIKE_CLIP,
    LIKE_SAMPLES,
    SETTLED_SAMPLES,
    find_twins,
    take_votes_of_copies,
)
from truechimer.scale.detection_dispute import PROVING, begin, newest_past, put_out, settle
from truechimer.scale.detection_early import beyond_any, odd_rates
from truechimer.scale.detection_judge import judge
from truechimer.scale.detection_noise import (
    DRIFT_MEMORY_S,
    DRIFT_PATIENCE_S,
    drift_variance,
    learn,
    memory_of,
    phase_variance,
)
from truechimer.scale.detection_replay import look_for_replays
from truechimer.scale.detection_state import DAY_S, REFERENCE_MEMORY_S, DetectionParameters, DetectionState, Judgement
from truechimer.scale.detection_windows import (
    CLIP2,
    CLIPPED,
    LEAST_SAMPLES,
    NEVER,
    gain_of,
    is_learned_outside,
    look_back,
    taught,
    widened,
)

Floats = NDArray[np.float64]

STEP_PROOF_S = 10_800.0
"""Good conduct asked of a clock after a phase step: its rate is known."""
RATE_PROOF_MEMORIES = 1.5
SHORTEST_RATE_PROOF_S, LONGEST_RATE_PROOF_S = 1.0 * DAY_S, 20.0 * DAY_S
WEIGHT_PROOF_S, WEIGHT_PROOF_AGES, LONGEST_WEIGHT_PROOF_S = 60.0 * DAY_S, 5.0, 240.0 * DAY_S
"""A clock whose rate changed judges again once its new rate is known, and has weight again after so long, or a fifth of
its age: what it does over months is what has become doubtful. Not where fewer than half of the clocks are left.
"""
SETTLING_S = 45.0 * DAY_S
"""Over long windows a clock is judged by what was known of it one to two of these ago, once it is four of them old."""
DIVIDED_S = 5.0 * DAY_S
ABSENT, LEARNING, IN, SUSPECT, OUT_STEP, OUT_RATE, OBSERVER, DISPUTED, DIVIDED, ALIKE = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
DOUBTED = 12


@kernel
def _dispute(  # noqa: PLR0917
    i, epoch_ns, interval, windows, ring_ns, ring_x, ring_y, v, kept, verdict, eligible, status, good_ns, dispute,
    dispute_x, dispute_y, side
):  # fmt: skip
    """Open a dispute about clock i with the newest past before it was suspected; False where there is none."""
    w, place = newest_past(epoch_ns, interval, windows, ring_ns)
    if w < 0:
        return False
    return begin(
        i, epoch_ns, ring_ns[w, place], ring_x[w, place], ring_y[w, place], v, kept, verdict, eligible, status, good_ns,
        dispute, dispute_x, dispute_y, side
    )  # fmt: skip


@kernel
def _remember(  # noqa: PLR0917
    i, epoch_ns, age, began, noise, sample, rate_sample, settled_ns, settled_noise, settled_sample, settled_rate,
    settling_noise, settling_sample, settling_rate
):  # fmt: skip
    """Keep what was known of clock i's noise one to two `SETTLING_S` ago, and go back to it where it is put out."""
    young = age < 4.0 * SETTLING_S
    if began and not young:
        # what the fault has taught is forgotten
        noise[i, :] = settled_noise[i]
        sample[i, :] = settled_sample[i]
        rate_sample[i, 1:] = settled_rate[i, 1:]
        settling_noise[i, :] = settled_noise[i]
        settling_sample[i, :] = settled_sample[i]
        settling_rate[i, :] = settled_rate[i]
        settled_ns[i] = epoch_ns
    elif young or (epoch_ns - settled_ns[i]) / 1e9 >= SETTLING_S:
        settled_noise[i, :] = noise[i] if young else settling_noise[i]
        settled_sample[i, :] = sample[i] if young else settling_sample[i]
        settled_rate[i, :] = rate_sample[i] if young else settling_rate[i]
        settling_noise[i, :] = noise[i]
        settling_sample[i, :] = sample[i]
        settling_rate[i, :] = rate_sample[i]
        settled_ns[i] = epoch_ns


@kernel
def advance(  # noqa: PLR0917
    epoch_ns,
    due,
    x_ip,
    u2,
    windows,
    sigmas,
    rate_sigmas,
    prior,
    worth,
    floor_q1,
    drift_u,
    eligible,
    interval,
    probation,
    before_ns,
    x,
    last_ns,
    y,
    drift,
    first_ns,
    since_ns,
    good_ns,
    status,
    jump,
    strikes,
    noise,
    memory,
    sample,
    count,
    rate_sample,
    rate_count,
    likeness,
    likeness_count,
    ring_ns,
    ring_x,
    ring_y,
    dispute,
    dispute_x,
    dispute_y,
    side,
    settled_ns,
    settled_noise,
    settled_sample,
    settled_rate,
    settling_noise,
    settling_sample,
    settling_rate,
    twin,
    twin_count,
    largest,
    count_at,
    signs,
    known_signs,
    replay,
    doubted,
    residual,
    moved,
    began,
    stepped,
    floor,
):
    """Carry the state one epoch on, in place; return whether a majority was missing."""
    n = x_ip.shape[0]
    n_windows = windows.shape[0]
    divided = False
    d = np.full(n, np.nan)
    v = np.full(n, np.inf)
    z = np.full(n, np.nan)
    h = np.full(n, sigmas[0])
    verdict = np.zeros(n, np.int64)
    kept = np.zeros(n, np.bool_)
    voter = np.zeros(n, np.bool_)
    accused = np.zeros(n, np.bool_)
    soft = np.zeros(n, np.bool_)
    for i in range(n):
        accused[i] = status[i] == 3
    u_drift2 = np.zeros(n)
    # one epoch: where should each clock be?
    for i in range(n):
        if status[i] == 0:
            continue
        learned = max((last_ns[i] - since_ns[i]) / 1e9, 0.0)
        u_drift2[i] = drift_variance(noise[i], memory[i], learned)
        dt = (epoch_ns - last_ns[i]) / 1e9
        if not np.isfinite(x_ip[i]) or dt <= 0.0:
            continue
        d[i] = x_ip[i] - (x[i] + (y[i] + 0.5 * drift[i] * dt) * dt)
        voter[i] = eligible[i] == 1 and (
            status[i] == 2 or status[i] == PROVING or (status[i] == 1 and before_ns == first_ns[i])
        )
        # a suspended class has no say in the scale, but from one epoch to the next nobody sees a step as well
        voter[i] = voter[i] or (status[i] == 8 and dispute[1] == 2 and (side[i] == 1 or side[i] == 2))
        if learned > 0.0:
            expected = phase_variance(noise[i], memory[i], dt, learned, u_drift2[i])
            expected += 2.0 * max(u2[i] - noise[i, 0], 0.0)
            if dt < 1.5 * interval:
                expected = taught(expected, sample[i, 0], count[i, 0], 200.0)
            v[i] = expected
            h[i] = widened(sigmas[0], (epoch_ns - first_ns[i]) / 1e9, dt)
            if count[i, 0] < LEAST_SAMPLES:
                h[i] = NEVER
    if due:
        find_twins(epoch_ns, before_ns, d, v, voter, eligible, count, twin, twin_count)
    early = np.zeros(n, np.bool_)
    beyond_any(
        epoch_ns, d, u2, voter, eligible, last_ns, since_ns, prior, worth, drift_u, memory, count, largest, early
    )  # fmt: skip
    for i in range(n):
        voter[i] = voter[i] and not early[i]
    middle, judges = judge(d, v, voter, accused, h, z, verdict, kept)
    for i in range(n):
        if early[i]:
            verdict[i] = 1
    if judges == 0:
        # nobody whose noise is known: the clocks that are there carry the reference on
        total = 0.0
        odd = np.zeros(n, np.bool_)
        middle = odd_rates(d, voter if voter.any() else np.isfinite(d), odd)
        if np.isfinite(middle):
            total = 1.0
            for i in range(n):
                if odd[i] and due and status[i] == 2 and last_ns[i] == first_ns[i]:
                    status[i], good_ns[i] = 1, epoch_ns
        else:
            middle = 0.0
            for i in range(n):
                if np.isfinite(x_ip[i]) and status[i] == 0:
                    middle += x_ip[i]
                    total += 1.0
        if total == 0.0:
            return divided
        middle /= total
    for i in range(n):
        if verdict[i] == 4:
            divided = True
    if not due:
        # between scale steps: who is off is seen, nothing is carried on
        for i in range(n):
            if np.isfinite(d[i]):
                residual[i] = d[i] - middle
            if status[i] == 2 and (verdict[i] == 1 or verdict[i] == 2 or verdict[i] == 5):
                status[i] = 3
                jump[i] = d[i] - middle
        return divided
    scale2 = 0.0
    for i in range(n):
        if kept[i] and v[i] < np.inf:
            scale2 += 1.0 / v[i]
    for i in range(n):
        if not np.isfinite(x_ip[i]):
            continue
        now = x_ip[i] - middle
        if status[i] == 0:
            x[i], last_ns[i], first_ns[i] = now, epoch_ns, epoch_ns
            since_ns[i], good_ns[i] = epoch_ns, epoch_ns
            began[i] = True
            status[i] = 6 if eligible[i] != 1 else (2 if before_ns == 0 else 1)
            continue
        if not np.isfinite(d[i]):
            continue
        residual[i] = d[i] - middle
        dt = (epoch_ns - last_ns[i]) / 1e9
        off = early[i] or (np.isfinite(z[i]) and abs(z[i]) > h[i])
        if verdict[i] == 5:
            divided = True
        if status[i] == 2 and (verdict[i] == 1 or verdict[i] == 2 or verdict[i] == 5):
            status[i] = 3
            jump[i] = residual[i]
            good_ns[i] = epoch_ns
            if verdict[i] == 2 and side[i] == 0:
                side[i] = 3
            # its anchor stays: the next epoch tells a glitch from a step
            continue
        if status[i] == 3:
            alone = side[i] == 3
            if alone:
                side[i] = 0
            if not off:
                status[i] = 2
            else:
                extra = residual[i] - jump[i]
                good_ns[i] = epoch_ns
                if extra * extra <= 16.0 * v[i]:
                    # a new level and the old rate: every past moves with it
                    # (against two alone: either side may have stepped, and the step is all that there is to lose)
                    status[i] = 7 if alone else 4
                    strikes[i] += 1
                    # where readings are noisy the mean of two is better; where the clock is, its later going is real
                    between = 2.0 * noise[i, 0] + noise[i, 1] * interval
                    shift = jump[i] + extra * noise[i, 0] / between if between > 0.0 else jump[i]
                    x[i] += shift
                    stepped[i] = shift
                    for w in range(n_windows):
                        for s in range(ring_x.shape[1]):
                            ring_x[w, s, i] += shift
                    dispute_x[i] += shift
                elif alone and _dispute(
                    i, epoch_ns, interval, windows, ring_ns, ring_x, ring_y, v, kept, verdict, eligible, status,
                    good_ns, dispute, dispute_x, dispute_y, side
                ):  # fmt: skip
                    moved[i, 0], moved[i, 1] = extra / interval, 0.0
                else:
                    x[i], last_ns[i] = now, epoch_ns
                    moved[i, 0], moved[i, 1] = extra / interval, 0.0
                    put_out(i, status, epoch_ns, since_ns, good_ns, strikes, ring_x, began, 1 if alone else 5)
                    continue
        elif off and status[i] != 2 and status[i] != 6 and (status[i] != 7 or dispute[0] == 0):
            good_ns[i] = epoch_ns
            if status[i] == 4 or status[i] == 5 or status[i] == PROVING:
                x[i], last_ns[i] = now, epoch_ns
                put_out(i, status, epoch_ns, since_ns, good_ns, strikes, ring_x, began, 5)
                continue
        if eligible[i] == 2:
            # a reference is as noisy as it says
            noise[i, 0] = u2[i]
            memory[i] = REFERENCE_MEMORY_S
        # what this epoch teaches
        outside = is_learned_outside(status[i])
        own = 1.0 / v[i] if kept[i] else 0.0
        if (kept[i] or outside) and dt < 1.5 * interval and np.isfinite(z[i]) and scale2 > own:
            rest = 1.0 / (scale2 - own)
            ratio = min(z[i] * z[i], CLIP2) / CLIPPED
            count[i, 0] += 1
            gain = gain_of(count[i, 0], min(interval, 0.5 * DAY_S))
            model = phase_variance(noise[i], memory[i], interval, 1e18, 0.0)
            here = phase_variance(noise[i], memory[i], dt, max((last_ns[i] - since_ns[i]) / 1e9, 1.0), u_drift2[i])
            sample[i, 0] += gain * (ratio * v[i] * (model / here) - sample[i, 0])
            # while noises are still being learned, the others' is not known well enough to call a clock too good
            like = 1.0 if count[i, 0] < SETTLED_SAMPLES else min(ratio * (v[i] + rest) / rest, LIKE_CLIP)
            likeness_count[i] = 0 if count[i, 0] < SETTLED_SAMPLES else likeness_count[i] + 1
            gain = max(2.0 / (likeness_count[i] + 1.0), 1.0 / LIKE_SAMPLES)
            likeness[i] += min(gain, 1.0) * (like - likeness[i])
            rate_sample[i, 0] += min(gain, 1.0) * (ratio - rate_sample[i, 0])
        # carry on
        f = (now - x[i]) / dt + 0.5 * drift[i] * dt
        learned = (epoch_ns - since_ns[i]) / 1e9
        share = dt / max(min(memory[i] + dt, learned), dt)
        ahead = y[i] + drift[i] * dt
        change = share * (f - ahead)
        y[i] = ahead + change
        aged = learned - 2.0 * memory[i]
        if aged > 0.0:
            # the mean slope of the rate; `change` is what it moved by beyond the drift known so far
            drift[i] += change / (min(aged, DRIFT_MEMORY_S) + DRIFT_PATIENCE_S)
        x[i], last_ns[i] = now, epoch_ns
    missing = look_back(
        epoch_ns, before_ns, interval, windows, sigmas, rate_sigmas, x, last_ns, y, drift, first_ns, since_ns, good_ns,
        status, strikes, noise, memory, sample, count, rate_sample, rate_count, settled_noise, settled_sample,
        settled_rate, u_drift2, ring_ns, ring_x, ring_y, dispute, dispute_x, dispute_y, side, eligible, d, v, h, z,
        verdict, kept, voter, accused, moved, began, floor, doubted, soft
    )  # fmt: skip
    divided = divided or missing
    if dispute[0] != 0 and settle(
        epoch_ns, x, last_ns, y, drift, since_ns, good_ns, status, strikes, noise, memory, u_drift2, ring_ns, ring_x,
        dispute, dispute_x, dispute_y, side, eligible, v, moved, began
    ):  # fmt: skip
        divided = True
    # who returns, and what the windows have taught of the noise
    members = present = 0
    for i in range(n):
        if eligible[i] == 1 and status[i] != 0 and last_ns[i] == epoch_ns:
            present += 1
            members += 1 if status[i] == 2 else 0
    for i in range(n):
        if status[i] == 0 or last_ns[i] != epoch_ns:
            continue
        good = (epoch_ns - good_ns[i]) / 1e9
        again = 1.0
        for _ in range(min(strikes[i], 4) - 1):
            again *= 2.0
        if status[i] == 1:
            wanted = probation
        elif status[i] == 4:
            wanted = max(STEP_PROOF_S * again, 3.0 * interval)
        elif status[i] == 5:
            # a young clock's memory is not known yet: it is not made to wait for longer than an eighth of its age
            wanted = min(RATE_PROOF_MEMORIES * memory[i], (epoch_ns - first_ns[i]) / 8e9)
            wanted = min(max(wanted, SHORTEST_RATE_PROOF_S), LONGEST_RATE_PROOF_S) * again
            if good >= wanted:
                status[i] = PROVING
            continue
        elif status[i] == PROVING:
            wanted = min(
                WEIGHT_PROOF_S * again, LONGEST_WEIGHT_PROOF_S, (epoch_ns - first_ns[i]) / 1e9 / WEIGHT_PROOF_AGES
            )
            if 2 * members < present:
                wanted = 0.0
        elif status[i] == 8:
            wanted = NEVER if side[i] != 0 else DIVIDED_S
        elif status[i] == 7:
            wanted = NEVER if side[i] != 0 else max(STEP_PROOF_S * again, 3.0 * interval)
        else:
            continue
        if good >= wanted:
            status[i] = 2
            good_ns[i] = epoch_ns
    slot_ns = np.int64(DAY_S * 1e9) // 4
    for i in range(n):
        if status[i] == 0 or last_ns[i] != epoch_ns:
            continue
        age = (epoch_ns - first_ns[i]) / 1e9
        # often while it is young, then four times a day
        if age > 3.0 * DAY_S and epoch_ns // slot_ns == before_ns // slot_ns and not began[i]:
            continue
        if count[i, 0] >= 4 and eligible[i] != 2:
            learn(noise[i], prior[i], worth[i], memory[i], windows, interval, sample[i], count[i], age, 1e-34)
            memory[i] = memory_of(noise[i, 0], noise[i, 1], noise[i, 2], noise[i, 3], 2.0 * interval)
        _remember(
            i, epoch_ns, age, began[i], noise, sample, rate_sample, settled_ns, settled_noise, settled_sample,
            settled_rate, settling_noise, settling_sample, settling_rate
        )  # fmt: skip
    ended = np.zeros(n, np.bool_)
    look_for_replays(
        epoch_ns, before_ns, x_ip, eligible, status, good_ns, count_at, signs, known_signs, replay, ended
    )  # fmt: skip
    for i in range(n):
        if ended[i]:
            put_out(i, status, epoch_ns, since_ns, good_ns, strikes, ring_x, began, 5)
    take_votes_of_copies(
        status, good_ns, epoch_ns, likeness, likeness_count, sample, rate_sample, floor_q1, count, twin_count
    )  # fmt: skip
    for i in range(n):
        if status[i] == 8:
            divided = True
        if status[i] != 5 and status[i] != PROVING:
            doubted[i] = 0
        elif began[i]:
            doubted[i] = 1 if soft[i] else 0
    return divided


@kernel
def said_of(status, doubted):
    """Return the `Membership` that the outside is told: who judges again while he is out is out to them."""
    if status == OUT_RATE or status == PROVING:  # noqa: PLR1714, SIM109 - a kernel
        return DOUBTED if doubted == 1 else OUT_RATE
    return status


NAMES = (
    "x_s", "last_ns", "y", "drift", "first_ns", "since_ns", "good_ns", "status", "jump_s", "strikes", "noise",
    "memory_s", "sample_s2", "count", "rate_sample", "rate_count", "likeness", "likeness_count", "ring_ns", "ring_x",
    "ring_y", "dispute_ns", "dispute_x", "dispute_y", "dispute_side", "settled_ns", "settled_noise", "settled_sample",
    "settled_rate", "settling_noise", "settling_sample", "settling_rate", "twin", "twin_count", "largest_s",
    "sign_at", "signs", "signs_known", "replay", "doubted",
)  # fmt: skip
CONSTANTS = (
    "windows_s", "sigmas", "rate_sigmas", "noise", "worth", "floor_q1", "drift_u", "eligible", "interval_s",
    "probation_s",
)  # fmt: skip


def step(
    state: DetectionState,
    constants: DetectionParameters,
    *,
    epoch_tai_ns: int,
    x_clock_minus_pivot_s: Floats,
    u2_s2: Floats,
    due: bool = True,
) -> tuple[DetectionState, Judgement]:
    """Take one epoch in. `due` False: an epoch between scale steps; who is off is seen, nothing else is learned.

    `x_clock_minus_pivot_s`, `u2_s2`: seconds and s^2, NaN where a clock gave no reading. The state is not changed; a
    new one is returned.
    """
    arrays = [getattr(state, name).copy() for name in NAMES]
    return _step(state, constants, arrays, epoch_tai_ns, x_clock_minus_pivot_s, u2_s2, due=due)


def _step(  # noqa: PLR0917
    state: DetectionState,
    constants: DetectionParameters,
    arrays: list[Any],
    epoch_ns: int,
    x_ip: Floats,
    u2: Floats,
    *,
    due: bool,
) -> tuple[DetectionState, Judgement]:
    n = len(x_ip)
    residual, moved = np.full(n, np.nan), np.zeros((n, 3))
    began, stepped, floor = np.zeros(n, np.bool_), np.zeros(n), np.zeros(n)
    # the arrays of the state, in the order of NAMES, stand for as many arguments
    kernels: Any = advance
    divided = kernels(
        epoch_ns,
        due,
        x_ip,
        u2,
        *[getattr(constants, name) for name in CONSTANTS],
        state.epoch_ns,
        *arrays,
        residual,
        moved,
        began,
        stepped,
        floor,
    )
    changed: dict[str, Any] = dict(zip(NAMES, arrays, strict=True))
    changed["epoch_ns"] = epoch_ns if due else state.epoch_ns
    changed["divided_ns"] = epoch_ns if divided else state.divided_ns
    after = replace(state, **changed)
    status = np.array(
        [said_of(one, doubted) for one, doubted in zip(after.status.tolist(), after.doubted.tolist(), strict=True)],
        np.int64,
    )
    return after, Judgement(
        status, residual, moved[:, 0], moved[:, 1], moved[:, 2] > 0.0, began, stepped, bool(divided), floor
    )
