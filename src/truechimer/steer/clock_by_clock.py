"""UTC minus the scale by every clock's own course: comparisons of the clocks day by day, believed values at their
epochs.

It judges no value and orders nothing: `judgement` says, with the filter of the scale (`delayed_data`), which values are
believed, and these are taken in here. A filter of the scale alone knows what the scale does only from UTC, weeks late.
One of all clocks hears each day what each clock does against the others, and knows the drift of each from UTC itself.

What is known follows from the samples of the clocks, the believed values and the state at `base`, in the order of their
epochs, bit for bit: so a value that comes late is put where it belongs, and one that is held later is undone. States
are kept at the turns of weeks, and at the last turn that was made; what lies after a change is run again.

Once a day, and where an outside value needs it, a sample is a comparison. After the last one, and for the hours that
come, the scale is taken to go on against its clocks as it did over the last day.

Law of the file: see `clock_states`.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from truechimer.errors import Misuse
from truechimer.scale.state import Membership
from truechimer.steer import clock_states, delayed_data, delayed_filter
from truechimer.steer.clock_states import Bools, ClockNoise, ClocksState, Levels
from truechimer.steer.delayed_data import MEMORY_S, DelayedData, LateValue, Opened
from truechimer.steer.delayed_filter import DAY_S, Estimate, Floats, Path, PathKind

Ints = NDArray[np.int64]

DAY_NS = 86_400 * 10**9
COMPARED_NS = 20 * 3_600 * 10**9
"""No sooner than this after the last comparison is a sample the next one."""
TURN_NS = 7 * DAY_NS
"""States are kept where a multiple of this is passed."""
FRAME_NS, FRAME_LEAST_NS = DAY_NS, DAY_NS // 2
"""The scale's rate against its clocks is told from samples so far apart, and not from nearer ones."""
SURE, APART = 30.0, 100.0
"""Of a clock's rate, its variance beyond the best known one's; of two clocks' words on the rate, their difference
squared: at most so many times the Allan variance over a day.
"""
BETWEEN_NS = DAY_NS
"""Between samples further apart than this nobody knows where a clock was."""
AWAY, HEARD, OUT = 0, 1, 2
"""What a clock is in a sample: without a reading; read, and a clock of the ensemble's; put out by it."""
_HEARD_AS = (Membership.IN, Membership.DIVIDED, Membership.DOUBTED, Membership.ALIKE)
_OUT_AS = (Membership.OUT_STEP, Membership.OUT_RATE, Membership.DISPUTED, Membership.REPLAYED)
WORTH_TAU_S, WORTH_RATIO = 10.0 * DAY_S, 1000.0
"""A clock whose Allan variance over ten days is so many times the best one's says nothing of UTC, and is not heard."""
MOST_CLOCKS = 40
WIDEST_SPREAD = 1e-9
"""Oscillators whose rate may be anything (one sigma above this) are no clocks to tell UTC by: their digits fail."""


@dataclass(frozen=True, slots=True)
class ClockSample:
    """All clocks minus the scale `x_s (n,)` (s) at `epoch_ns` (TAI), NaN where not known, and what each is then:
    `standing (n,)`, `AWAY`, `HEARD` or `OUT`. No array is ever written to.
    """

    epoch_ns: int
    x_s: Floats
    standing: Ints


@dataclass(frozen=True, slots=True)
class ClockHistory:
    """What is carried. `members`: clocks of the register that are heard one by one, with their `noise`; `samples`: of
    all clocks, in order; `values`, `opened`: believed ones, as `delayed_data` has them; `base`: the state before all
    that is run (None: it begins with the first value); `states`: after the last event before a turn of weeks, the last
    one of all last.
    """

    members: tuple[int, ...]
    noise: tuple[ClockNoise, ...]
    levels: Levels
    paths: tuple[Path, ...]
    samples: tuple[ClockSample, ...] = ()
    values: tuple[LateValue, ...] = ()
    opened: tuple[Opened, ...] = ()
    base: ClocksState | None = None
    states: tuple[ClocksState, ...] = ()


def standing_of(membership: Ints, is_read: Bools) -> Ints:
    """Return what the clocks are, `(n,)`, from what the ensemble has them as and who has a reading. Who is no member by
    rule, is being learned or is suspected, is not heard one by one; who is out comes back as another clock.
    """
    standing = np.full(len(membership), AWAY)
    standing[np.isin(membership, _HEARD_AS) & is_read] = HEARD
    standing[np.isin(membership, _OUT_AS)] = OUT
    return standing


def worth(noise: tuple[ClockNoise, ...]) -> tuple[int, ...]:
    """Return the clocks that are worth being heard one by one, by their noise."""
    own = [
        (one.allan_variance(WORTH_TAU_S), k)
        for k, one in enumerate(noise)
        if one.y_spread <= WIDEST_SPREAD and one.allan_variance(WORTH_TAU_S) > 0.0
    ]
    if not own:
        return ()
    most = WORTH_RATIO * min(own)[0]
    return tuple(sorted(k for variance, k in sorted(own)[:MOST_CLOCKS] if variance <= most))


def begin(noise: tuple[ClockNoise, ...], paths: tuple[Path, ...]) -> ClockHistory:
    """Return what is known before the first sample. `noise`: of every clock of the register."""
    members = worth(noise)
    of_members = tuple(noise[k] for k in members)
    return ClockHistory(members, of_members, clock_states.levels_of(of_members), paths)


def restored(
    members: tuple[int, ...],
    noise: tuple[ClockNoise, ...],
    samples: tuple[ClockSample, ...],
    base: ClocksState | None,
    data: DelayedData,
) -> ClockHistory:
    """Return it again from what a snapshot keeps: it ends in the same bits."""
    empty = ClockHistory(members, noise, clock_states.levels_of(noise), data.paths, base=base)
    since_ns = -1 if base is None else base.epoch_ns
    kept = tuple(one for one in samples if one.epoch_ns >= since_ns)
    return heard(replace(empty, samples=kept), data)


def with_noise(history: ClockHistory, noise: tuple[ClockNoise, ...]) -> ClockHistory:
    """Return it run again with another noise (of every clock of the register). Clocks that are heard from now on join,
    others are forgotten.
    """
    members = worth(noise)
    of_members = tuple(noise[k] for k in members)
    base = history.base
    if base is not None and members != history.members:
        base = _regrouped(base, history.members, members, len(history.paths))
    fresh = replace(
        history, members=members, noise=of_members, levels=clock_states.levels_of(of_members), base=base, states=()
    )
    return _run(fresh)


def sampled(history: ClockHistory, sample: ClockSample) -> ClockHistory:
    """Return it with one more sample, later than all others."""
    if history.samples and sample.epoch_ns <= history.samples[-1].epoch_ns:
        raise Misuse("samples of the clocks come in order")
    return _let_go(_run(replace(history, samples=(*history.samples, sample))), -1)


def heard(history: ClockHistory, data: DelayedData) -> ClockHistory:
    """Return it with exactly the values that are believed of `data`, and run as far as the samples go."""
    history = _let_go(history, -1 if data.base is None else data.base.epoch_ns)
    since_ns = -1 if history.base is None else history.base.epoch_ns
    values = tuple(
        mark.value
        for mark in data.marks
        if mark.value is not None and not mark.value.held and _begins_ns(mark.value) > since_ns
    )
    opened = tuple(each for each in data.opened if each.epoch_ns > since_ns)
    paths = data.paths
    if paths != history.paths and (len(paths) != len(history.paths) or history.base is not None):
        # what paths have in common stands in the state: what was known of other paths is not carried on
        history = replace(history, base=None, states=())
        values = tuple(m.value for m in data.marks if m.value is not None and not m.value.held)
    first_ns = _first_change_ns(history, values, opened) if paths == history.paths else -1
    states = tuple(state for state in history.states if first_ns is None or state.epoch_ns < first_ns)
    return _run(replace(history, paths=paths, values=values, opened=opened, states=states))


def at(history: ClockHistory, epoch_ns: int, data: DelayedData) -> Estimate | None:
    """Return what is known of UTC minus the scale at an epoch that is not before the last sample, in the shape of
    `delayed_filter`; None where no clock can tell it.
    """
    if not history.samples or not history.states:
        return None
    newest = history.samples[-1]
    state = history.states[-1]
    if epoch_ns < newest.epoch_ns or newest.epoch_ns < state.epoch_ns:
        return None
    if state.compared_ns < newest.epoch_ns:
        state = _compared(_carried(history, state, newest.epoch_ns), history, newest)
    x_s, _ = _of_members(history, newest)
    among = clock_states.readable(state, x_s)
    frame = _frame(history, state, newest, among)
    if frame is None:
        return None
    weight, y_frame = frame
    found = clock_states.of_scale(state, weight, x_s, y_frame=y_frame, n_paths=len(history.paths))
    # the ensemble takes its clocks' drifts away as it knows them: how the scale itself drifts, its own filter knows
    of_scale = delayed_data.at(data, newest.epoch_ns)
    found.mean[delayed_filter.D] = 0.0 if of_scale is None else of_scale.mean[delayed_filter.D]
    for each in history.opened:
        if newest.epoch_ns < each.epoch_ns <= epoch_ns:
            found = delayed_filter.predicted(found, data.noise, data.paths, each.epoch_ns)
            found = delayed_filter.opened(found, u_x_s=each.u_x_s, u_y=each.u_y)
    return delayed_filter.predicted(found, data.noise, data.paths, epoch_ns)


# ---- the run ------------------------------------------------------------


def _begins_ns(value: LateValue) -> int:
    return value.epoch_ns - round(value.span_s * 1e9)


def _first_change_ns(history: ClockHistory, values: tuple[LateValue, ...], opened: tuple[Opened, ...]) -> int | None:
    """Return the first epoch at which another value counts than before, None: there is none."""
    changed = [_begins_ns(one) for one in set(history.values) ^ set(values)]
    changed += [one.epoch_ns for one in set(history.opened) ^ set(opened)]
    return min(changed, default=None)


@dataclass(frozen=True, slots=True)
class _Event:
    """`at`: epoch, and what comes first there: a move, a comparison, a value, the beginning of an interval."""

    at: tuple[int, int, int]
    value: LateValue | None = None
    sample: ClockSample | None = None
    opened: Opened | None = None


_OPENED, _SAMPLE, _PHASE, _RATE, _CLONE = range(5)


def _events(history: ClockHistory, after_ns: int) -> list[_Event]:
    """Return what happens after an epoch, up to the last sample, in order."""
    end_ns = history.samples[-1].epoch_ns if history.samples else -1
    found: list[_Event] = []
    for value in history.values:
        if value.epoch_ns <= after_ns or value.epoch_ns > end_ns:
            if value.span_s > 0.0 and after_ns < _begins_ns(value) <= end_ns:
                found.append(_Event((_begins_ns(value), _CLONE, value.path), value=value))
            continue
        if history.paths[value.path].kind is PathKind.RATE:
            found.append(_Event((value.epoch_ns, _RATE, value.path), value=value))
            if _begins_ns(value) > after_ns:
                found.append(_Event((_begins_ns(value), _CLONE, value.path), value=value))
        else:
            found.append(_Event((value.epoch_ns, _PHASE, value.path), value=value))
    wanted = {one.at[0] for one in found}
    place = bisect_right(history.samples, after_ns, key=_epoch_of)
    found += [
        _Event((one.epoch_ns, _SAMPLE, int(one.epoch_ns in wanted)), sample=one) for one in history.samples[place:]
    ]
    found += [
        _Event((one.epoch_ns, _OPENED, 0), opened=one) for one in history.opened if after_ns < one.epoch_ns <= end_ns
    ]
    found.sort(key=lambda one: one.at)
    return found


def _epoch_of(sample: ClockSample) -> int:
    return sample.epoch_ns


def _run(history: ClockHistory) -> ClockHistory:
    """Run on from the last state that holds to the last sample."""
    states = list(history.states)
    state = states[-1] if states else history.base
    before = state
    for event in _events(history, -1 if state is None else state.epoch_ns):
        after = _after(history, state, event)
        if after is state:
            continue
        if state is not None and after is not None and after.epoch_ns // TURN_NS > state.epoch_ns // TURN_NS:
            states = _with(states, state)
        state = after
    if state is not None and state is not before:
        states = _with(states, state)
    return replace(history, states=tuple(states))


def _with(states: list[ClocksState], state: ClocksState) -> list[ClocksState]:
    """Return the states with one more; of one week only the last is kept."""
    while states and states[-1].epoch_ns // TURN_NS == state.epoch_ns // TURN_NS:
        states.pop()
    return [*states, state]


def _after(history: ClockHistory, before: ClocksState | None, event: _Event) -> ClocksState | None:
    """Return the state after an event; the same object where it changes nothing."""
    epoch_ns, what, path = event.at
    value = event.value
    if before is None:
        if what != _PHASE or value is None:
            return None
        x_s = _between(history, epoch_ns)
        if x_s is None:
            return None
        return clock_states.begin(
            history.levels, history.paths, value.path, x_s, epoch_ns=epoch_ns, x_s=value.value, u_s=value.u
        )
    if event.sample is not None:
        if epoch_ns - before.compared_ns < COMPARED_NS and not path:
            return before
        return _compared(_carried(history, before, epoch_ns), history, event.sample)
    if event.opened is not None:
        state = clock_states.predicted(before, history.levels, history.paths, epoch_ns)
        return clock_states.opened(state, u_x_s=event.opened.u_x_s, u_y=event.opened.u_y)
    assert value is not None
    x_s = _between(history, epoch_ns)
    if x_s is None:
        return before
    state = clock_states.predicted(before, history.levels, history.paths, epoch_ns)
    if what == _CLONE:
        return clock_states.cloned(state, path, history.levels, x_s) or clock_states.without_clone(state, path)
    return clock_states.told(
        state, history.paths, path, history.levels, x_s, value=value.value, u=value.u, span_s=value.span_s
    )


def _carried(history: ClockHistory, state: ClocksState, epoch_ns: int) -> ClocksState:
    return clock_states.predicted(state, history.levels, history.paths, epoch_ns)


def _compared(state: ClocksState, history: ClockHistory, sample: ClockSample) -> ClocksState:
    x_s, out = _of_members(history, sample)
    return clock_states.compared(state, history.levels, x_s, out)


def _of_members(history: ClockHistory, sample: ClockSample) -> tuple[Floats, Bools]:
    """Return the readings of the clocks that are heard, NaN where one is away or out, and who is out."""
    n = len(history.members)
    x_s, out = np.full(n, np.nan), np.zeros(n, np.bool_)
    for k, member in enumerate(history.members):
        if member < len(sample.x_s):
            if sample.standing[member] == HEARD:
                x_s[k] = sample.x_s[member]
            out[k] = sample.standing[member] == OUT
    return x_s, out


def _between(history: ClockHistory, epoch_ns: int) -> Floats | None:
    """Return clock minus scale of the clocks that are heard at an epoch, on the line between two samples; None where
    there are none around it.
    """
    after = bisect_left(history.samples, epoch_ns, key=_epoch_of)
    if after == len(history.samples):
        return None
    right = history.samples[after]
    x1_s, _ = _of_members(history, right)
    if right.epoch_ns == epoch_ns:
        return x1_s
    if after == 0:
        return None
    left = history.samples[after - 1]
    if right.epoch_ns - left.epoch_ns > BETWEEN_NS:
        return None
    x0_s, _ = _of_members(history, left)
    return x0_s + (x1_s - x0_s) * ((epoch_ns - left.epoch_ns) / (right.epoch_ns - left.epoch_ns))


def _frame(history: ClockHistory, state: ClocksState, newest: ClockSample, among: Bools) -> tuple[Floats, float] | None:
    """Return the weights by which the clocks stand for the scale, and the scale's rate against them over the last day
    (of clock minus scale, weighted); None where no sample of a day ago is there.

    Each clock's own rate and its course against the scale say what the rate of UTC minus the scale is. Who says
    something else than their weighted middle has stepped within the day, and who has just joined knows no rate yet.
    """
    n, levels = len(among), history.levels.day_variance
    x1_s, _ = _of_members(history, newest)
    place = bisect_right(history.samples, newest.epoch_ns - FRAME_NS, key=_epoch_of) - 1
    candidates = [history.samples[k] for k in (place, place + 1) if 0 <= k < len(history.samples)]
    for old in candidates:
        span_s = (newest.epoch_ns - old.epoch_ns) / 1e9
        if not FRAME_LEAST_NS <= newest.epoch_ns - old.epoch_ns <= 2 * FRAME_NS:
            continue
        x0_s, _ = _of_members(history, old)
        there = [i for i in range(n) if among[i] and isfinite(float(x0_s[i]))]
        least = min([float(state.p[n + i, n + i]) for i in there], default=0.0)
        there = [i for i in there if float(state.p[n + i, n + i]) <= least + SURE * levels[i]]
        if not there:
            continue
        moved = {i: (float(x1_s[i]) - float(x0_s[i])) / span_s for i in there}
        says = {i: moved[i] + clock_states.rate_of(state, i) for i in there}
        middle = _middle(says, levels)
        there = [
            i
            for i in there
            if (says[i] - says[middle]) * (says[i] - says[middle]) <= APART * (levels[i] + levels[middle])
        ]
        weight, whole, rate = np.zeros(n), 0.0, 0.0
        for i in there:
            weight[i] = 1.0 / levels[i]
            whole += 1.0 / levels[i]
        weight = weight / whole
        for i in there:
            rate += float(weight[i]) * moved[i]
        return weight, rate
    return None


def _middle(says: dict[int, float], levels: tuple[float, ...]) -> int:
    """Return the clock whose word is the middle one, each counted as it is quiet over a day."""
    order = sorted(says, key=lambda i: (says[i], i))
    whole, part = 0.0, 0.0
    for i in order:
        whole += 1.0 / levels[i]
    for i in order:
        part += 1.0 / levels[i]
        if part >= 0.5 * whole:
            return i
    return order[-1]


def _let_go(history: ClockHistory, told_ns: int) -> ClockHistory:
    """Return it without what is older than the memory, and without what the values that are kept no longer tell: those
    begin after `told_ns` (TAI). What went before stays in the base.
    """
    if not history.samples:
        return history
    oldest_ns = max(told_ns, history.samples[-1].epoch_ns - round(MEMORY_S * 1e9))
    base, states = history.base, history.states
    is_past = any(_begins_ns(one) <= oldest_ns for one in history.values) if base is None else base.epoch_ns < oldest_ns
    if states and is_past:
        place = min(bisect_left(states, oldest_ns, key=_end_of), len(states) - 1)
        base, states = states[place], states[place:]
    if base is history.base and base is not None:
        return history
    since_ns = oldest_ns if base is None else base.epoch_ns
    first = max(bisect_right(history.samples, since_ns, key=_epoch_of) - 1, 0)
    history = replace(history, samples=history.samples[first:])
    if base is None:
        return history
    return replace(
        history,
        base=base,
        states=states,
        values=tuple(one for one in history.values if _begins_ns(one) > base.epoch_ns),
        opened=tuple(one for one in history.opened if one.epoch_ns > base.epoch_ns),
    )


def _end_of(state: ClocksState) -> int:
    return state.epoch_ns


def _regrouped(base: ClocksState, old: tuple[int, ...], new: tuple[int, ...], n_paths: int) -> ClocksState | None:
    """Return a state with other clocks in it; None where none of its own stays."""
    m0, m1, b = len(old), len(new), clock_states.BLOCKS
    stay = [(old.index(member), k) for k, member in enumerate(new) if member in old]
    if not any(base.joined[was] for was, _ in stay):
        return None
    places = [(block * m0 + was, block * m1 + k) for block in range(b) for was, k in stay]
    places += [(b * m0 + k, b * m1 + k) for k in range(2 * n_paths)]
    mean, p = np.zeros(b * m1 + 2 * n_paths), np.zeros((b * m1 + 2 * n_paths, b * m1 + 2 * n_paths))
    joined, out, off_s = np.zeros(m1, np.bool_), np.zeros(m1, np.bool_), np.full(m1, np.nan)
    for was, k in places:
        mean[k] = base.mean[was]
        for was_too, k_too in places:
            p[k, k_too] = base.p[was, was_too]
    for was, k in stay:
        joined[k], out[k], off_s[k] = base.joined[was], base.out[was], base.off_s[was]
    return ClocksState(base.epoch_ns, base.compared_ns, mean, p, joined, off_s, out)
