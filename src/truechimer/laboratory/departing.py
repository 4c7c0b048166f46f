"""Departing: what the sources of UTC of a laboratory in service say of its scale, value by value, as they come.

It joins the scale and `scale.departure`, and decides nothing: no source is followed here (`outside` does that), and no
clock is put out. A value that comes days late is held against the scale of its own epoch, of which sixteen days are
kept, an hour apart.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.register import Register
from truechimer.compare.cleaning import Marks, Quality
from truechimer.laboratory.epoch_input import EpochInput
from truechimer.scale import departure
from truechimer.scale.bands_state import WEIGHT_DC
from truechimer.scale.departure import Said, Witness
from truechimer.scale.live_state import LiveState
from truechimer.scale.state import ScaleState, ScaleStep

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GAP = int(Quality.GAP)
SLOT_NS = 3_600 * 10**9
PAST = 16 * 24
"""Hours of the scale that are kept: a rapid UTC is ten days old when it comes, and may be some days late."""


@dataclass(frozen=True, slots=True)
class Departing:
    """What is kept between epochs: `past_ns (k,)` and `past_x_s (k, n_clocks)`, the scale once an hour; a witness for
    each link to a source of UTC, in the register's order.
    """

    past_ns: Ints
    past_x_s: Floats
    witnesses: tuple[Witness, ...]


def begin(n_clocks: int) -> Departing:
    """Return the state before the first epoch."""
    return Departing(np.zeros(0, np.int64), np.zeros((0, n_clocks)), ())


def grown(state: Departing | None, n_clocks: int) -> Departing | None:
    """Return the state with room for clocks that were added at the end; itself where there are none."""
    if state is None or state.past_x_s.shape[1] == n_clocks:
        return state
    witnesses = tuple(
        replace(one, clock_s=_wider(one.clock_s, n_clocks, np.nan), weight=_wider(one.weight, n_clocks, 0.0))
        for one in state.witnesses
    )
    return Departing(state.past_ns, _wider(state.past_x_s, n_clocks, np.nan), witnesses)


def _wider(values: Floats, n_clocks: int, fill: float) -> Floats:
    more = np.full((len(values), n_clocks - values.shape[1]), fill)
    return np.concatenate((values, more), axis=1)


def hear(
    state: Departing,
    given: EpochInput,
    marks: Marks,
    step: ScaleStep,
    scale: LiveState,
    *,
    register: Register,
    limit_s: float,
) -> tuple[Departing, tuple[tuple[int, Said], ...]]:
    """Take an epoch in; return what is to be said, with the number of the link among `register.outside`."""
    if not register.outside:
        return state, ()
    readings, epoch_ns = given.readings, given.readings.epoch_tai_ns
    state = _remembered(state, step)
    said: list[tuple[int, Said]] = []
    witnesses = list(state.witnesses)
    witnesses += [departure.empty(register.n_clocks) for _ in range(len(register.outside) - len(witnesses))]
    late = {one.link for one in given.late}
    values = [(one.link, one.epoch_tai_ns, one.x_a_minus_b_s, one.u_s) for one in given.late]
    for link in register.outside:
        j = link.link
        x = float(readings.x_a_minus_b_s[j])
        if j not in late and isfinite(x) and marks.quality[j] != _GAP:
            values.append((j, epoch_ns - round(float(readings.age_s[j]) * 1e9), x, float(readings.u_s[j])))
    if not values:
        return state, ()
    of_link = {outside.link: k for k, outside in enumerate(register.outside)}
    changed = False
    for j, at_ns, x, u_s in sorted(values):
        k = of_link[j]
        if at_ns <= witnesses[k].last_ns or at_ns > epoch_ns or not departure.takes(witnesses[k], at_ns, u_s):
            continue
        clock_s = _scale_at(state, step, scale, at_ns)
        if clock_s is None or not isfinite(float(clock_s[register.outside[k].clock])):
            continue
        outside = register.outside[k]
        x_s = outside.sign * x + float(clock_s[outside.clock])
        weight, noise = _believed(scale, step, register)
        witnesses[k], found = departure.step(witnesses[k], at_ns, x_s, u_s, clock_s, weight, noise, limit_s=limit_s)
        changed = True
        if found is not None:
            said.append((k, found))
    return (replace(state, witnesses=tuple(witnesses)) if changed else state), tuple(said)


def _remembered(state: Departing, step: ScaleStep) -> Departing:
    """Keep the scale once an hour."""
    now = step.epoch_tai_ns
    if not step.due or (len(state.past_ns) and now // SLOT_NS == int(state.past_ns[-1]) // SLOT_NS):
        return state
    begin_at = max(0, len(state.past_ns) + 1 - PAST)
    return replace(
        state,
        past_ns=np.append(state.past_ns[begin_at:], now),
        past_x_s=np.concatenate((state.past_x_s[begin_at:], step.x_clock_minus_scale_s[None])),
    )


def _scale_at(state: Departing, step: ScaleStep, scale: LiveState, at_ns: int) -> Floats | None:
    """Return the clocks minus scale at an epoch: on the line between the epochs that are kept, or by the clocks' rates
    where it is younger than those; None where none are near.
    """
    age_ns = step.epoch_tai_ns - at_ns
    if age_ns == 0 and step.due:
        return step.x_clock_minus_scale_s
    after = int(np.searchsorted(state.past_ns, at_ns))
    if after == len(state.past_ns) and after:
        # younger than what is kept: by the rates of now, from the nearest epoch
        known_ns, known_s = int(state.past_ns[-1]), state.past_x_s[-1]
        if step.due and step.epoch_tai_ns - at_ns < at_ns - known_ns:
            known_ns, known_s = step.epoch_tai_ns, step.x_clock_minus_scale_s
        if abs(at_ns - known_ns) > 2 * SLOT_NS:
            return None
        rates = np.array([scale.rate_of(i) for i in range(len(known_s))])
        young: Floats = known_s + rates * ((at_ns - known_ns) / 1e9)
        return young
    if after == 0:
        return None
    before_ns, after_ns = int(state.past_ns[after - 1]), int(state.past_ns[after])
    if after_ns - before_ns > 24 * SLOT_NS:
        return None
    low, high = state.past_x_s[after - 1], state.past_x_s[after]
    between: Floats = low + (at_ns - before_ns) / (after_ns - before_ns) * (high - low)
    return between


def _believed(scale: LiveState, step: ScaleStep, register: Register) -> tuple[Floats, Floats]:
    """Return the weights over months and the noise that the algorithm has learned, or expects."""
    if isinstance(scale, ScaleState):
        return step.weight, departure.noise_expected(register.clocks)
    return scale.learner.clock_f[:, WEIGHT_DC].copy(), scale.learner.noise
