# mypy: allow-untyped-calls
"""Departure: how far the scale has gone from where a reference's own past puts it, said as a fact with its two sigmas.

It moves nothing and puts nobody out: it states what a rapid UTC shows of the scale, by how much, over how many days,
what clocks of this noise would do anyway, and on which clock a ramp is likeliest. References are read once a day or so,
or come a week at a time and days late: each value is of its own epoch, and `Witness` keeps three months of them.

    departure(h, b) = mean of the last five days of (reference - scale) - the line through the b days before the last h,
                      carried on

so that what departs in h days does not bend what it is held against (`departure_windows` computes it). It is said where
it exceeds the limit, and a third of the limit by four sigma of the measurement: then the scale is off its prediction by
a third of the limit at least. A value far from its own past is put aside; three that agree begin the comparison anew.

Law of the file: only + - * / and sqrt in a written order, so that a replay is equal to the last bit.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite, sqrt

import numpy as np
from numpy.typing import NDArray

from truechimer.clocks.clock import Clock
from truechimer.clocks.state_model import two_state_noise
from truechimer.errors import Misuse
from truechimer.scale.departure_windows import DAY_S, LEAST_VALUES, line_weights, look

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_DAY_NS = 86_400 * 10**9
LIMIT_S = 3e-9
"""Departure from which it is said, unless a laboratory wants another."""
SIGMAS = 4.0
"""A departure stands so many sigmas of the measurement above a third of the limit."""
WINDOWS_D = np.array([(10.0, 30.0), (20.0, 30.0), (20.0, 60.0), (30.0, 30.0), (30.0, 60.0), (45.0, 45.0)])
"""(h, b): the departure of the last h days, from the line through the b days before."""
FACTS, SUSPECTS = (0, 1, 2), (1, 3, 4, 5)
"""Windows in which a departure alone is said, and those in which a ramp of one clock is looked for: a scale wanders
over a month more than anybody wants to hear of, and a ramp takes a month to show.
"""
LEAST_ODDS = 4.0
"""Likelihood of a ramp of one clock against none, from which that clock is said to be the suspect."""
KEPT = 100
"""Days that are kept; the longest window needs 95."""
LARGEST_U_S = 1e-7
"""Values that are more uncertain than this are no witness: network time, mostly."""
APART_NS = 3_600 * 10**9
"""Values nearer than this to the one before are left out; those of one day (0 h to 24 h TAI) are one."""
FAR_SIGMAS, FAR_S = 8.0, 5e-9
"""A value is put aside that is so many sigmas (of such departures so far), and so far, from the line through the last
`LINE_VALUES`.
"""
LINE_VALUES, AGREEING = 7, 3
"""So many in a row that agree with each other are believed, and the comparison begins anew."""
LEARNED_VALUES = 40
CLIP2, CLIPPED = 9.0, 0.995
"""Memory of the scatter, in values; squared departures count up to so many times what is usual; what Gaussian noise
keeps of its mean square.
"""
LINE_GAIN = 1.0 + 1.0 / 7.0 + 16.0 / 28.0
"""Variance of a value's departure from the line through the seven days before, for white noise of 1."""
AGAIN = 2.0
"""A departure is said again when it is so many times what was said."""
OVER = 0.5
"""A statement is over when no window shows this part of what makes one."""


class DepartureMisuse(Misuse):
    """A value of a reference was handed over that is not after the last one."""


@dataclass(frozen=True, slots=True)
class Witness:
    """What is kept of one reference. Arrays in order of time, `(k,)` or `(k, n_clocks)`, k up to `KEPT`.

    `epoch_ns`: TAI; `x_s`: reference minus scale, `u_s` its noise as stated, `count` values of the day; `clock_s`:
    clock minus scale at the same epoch, NaN before a clock's first reading; `weight`: of each clock over months.
    `aside_ns`, `aside_s`: values put aside in a row. `scatter_s2`: mean square of a value from the line through the
    seven before it, over `learned` values. `said`: the largest departure that was said and is not over, in units of
    the least that is (0: nothing stands), `sign`: its sign; `suspect`: clock that is said to be the likeliest, -1:
    none. `last_ns`: newest value.
    """

    epoch_ns: Ints
    x_s: Floats
    u_s: Floats
    count: Ints
    clock_s: Floats
    weight: Floats
    aside_ns: Ints
    aside_s: Floats
    scatter_s2: float = 0.0
    learned: int = 0
    said: float = 0.0
    sign: int = 0
    suspect: int = -1
    last_ns: int = 0


@dataclass(frozen=True, slots=True)
class Departure:
    """The scale has departed from a reference.

    `epoch_ns`: of the newest value; `x_scale_minus_predicted_s`: by how much the scale is ahead of where the
    reference's past puts it; `u_s`: one sigma of the measurement; `allowed_s`: one sigma of what the clocks' noise, as
    learned, and UTC's own let expect; `over_s`: the time in which it did so; `base_s`: the time before, that the
    prediction is from. `suspect`: clock (index) on which a ramp is likelier than none by `LEAST_ODDS`, -1: on none;
    `odds (n_clocks,)`: that likelihood ratio of each clock.
    """

    epoch_ns: int
    x_scale_minus_predicted_s: float
    u_s: float
    allowed_s: float
    over_s: float
    base_s: float
    suspect: int
    odds: tuple[float, ...]

    def ranking(self) -> list[tuple[int, float]]:
        """Return clocks (indices) and the share of each in the likelihood of a ramp on any one, likeliest first; shares
        below a hundredth are left out.
        """
        total = 0.0
        for one in self.odds:
            total += one
        if total <= 0.0:
            return []
        shares = [(i, one / total) for i, one in enumerate(self.odds) if one >= 0.01 * total]
        return sorted(shares, key=lambda pair: -pair[1])


@dataclass(frozen=True, slots=True)
class Aside:
    """A value that was put aside: `x_off_s` from where the reference's past puts it; `begins_anew`: it and those before
    it agree with each other, and the comparison begins anew with them.
    """

    epoch_ns: int
    x_off_s: float
    begins_anew: bool


@dataclass(frozen=True, slots=True)
class Over:
    """What was said of a departure holds no longer."""

    epoch_ns: int


Said = Departure | Aside | Over


def empty(n_clocks: int) -> Witness:
    """Return the state before the first value."""
    none, no_epoch = np.zeros(0), np.zeros(0, np.int64)
    nobody = np.zeros((0, n_clocks))
    return Witness(no_epoch, none, none, no_epoch, nobody, nobody, no_epoch, none)


def noise_expected(clocks: Iterable[Clock]) -> Floats:
    """Return the noise `(n, 4)` that declarations and kinds let expect, for an algorithm that learns none."""
    of = [two_state_noise(clock) for clock in clocks]
    return np.array([[0.0, one.q1, one.floor * one.floor, one.q2] for one in of]).reshape(-1, 4)


def takes(state: Witness, epoch_ns: int, u_s: float) -> bool:
    """Return True for a value that `step` would use: after the last one, far enough from it, and certain enough."""
    return u_s <= LARGEST_U_S and (not state.last_ns or epoch_ns - state.last_ns >= APART_NS)


def step(  # noqa: PLR0917
    state: Witness,
    epoch_ns: int,
    x_reference_minus_scale_s: float,
    u_s: float,
    x_clock_minus_scale_s: Floats,
    weight: Floats,
    noise: Floats,
    *,
    limit_s: float = LIMIT_S,
) -> tuple[Witness, Said | None]:
    """Take one value in; return what is to be said of it: a departure that begins, doubles, turns or points at
    a clock; its end; a value put aside; or nothing.

    Seconds; `x_clock_minus_scale_s`, `weight` `(n_clocks,)` at the epoch of the value, which must be after the last one
    (`DepartureMisuse`); `noise (n_clocks, 4)`: as learned (`engines.Learned`).
    """
    if epoch_ns <= state.last_ns:
        raise DepartureMisuse(f"a reference's value of {epoch_ns} came after that of {state.last_ns}")
    if not (isfinite(x_reference_minus_scale_s) and isfinite(u_s) and takes(state, epoch_ns, u_s)):
        return state, None
    state = replace(state, last_ns=epoch_ns)
    off_s = _off(state, epoch_ns, x_reference_minus_scale_s)
    usual2 = max(state.scatter_s2, LINE_GAIN * u_s * u_s)
    if state.learned >= LINE_VALUES and off_s * off_s > max(FAR_SIGMAS * FAR_SIGMAS * usual2, FAR_S * FAR_S):
        return _put_aside(state, epoch_ns, x_reference_minus_scale_s, u_s, off_s, x_clock_minus_scale_s, weight)
    if isfinite(off_s):
        learned, square = state.learned + 1, off_s * off_s
        if state.learned >= LINE_VALUES:
            square = min(square, CLIP2 * usual2) / CLIPPED
        gain = 1.0 / min(learned, LEARNED_VALUES)
        scatter_s2 = state.scatter_s2 + gain * (square - state.scatter_s2)
        state = replace(state, learned=learned, scatter_s2=scatter_s2)
    if len(state.aside_ns):
        state = replace(state, aside_ns=np.zeros(0, np.int64), aside_s=np.zeros(0))
    state = _kept(state, epoch_ns, x_reference_minus_scale_s, u_s, x_clock_minus_scale_s, weight)
    return _stated(state, noise, limit_s)


def _off(state: Witness, epoch_ns: int, x_s: float) -> float:
    """Return a value's departure from the line through the last ones, made less by as much as the line is worse than
    one through the seven days before; NaN where there is none yet.
    """
    n = min(len(state.epoch_ns), LINE_VALUES)
    if n < LEAST_VALUES:
        return float("nan")
    days = np.array([(epoch - epoch_ns) / _DAY_NS for epoch in state.epoch_ns[-n:].tolist()])
    weights = np.empty(n)
    line_weights(days, 0.0, weights)
    at, spread = 0.0, 0.0
    for w, value in zip(weights.tolist(), state.x_s[-n:].tolist(), strict=True):
        at += w * value
        spread += w * w
    return (x_s - at) * sqrt(LINE_GAIN / (1.0 + max(spread, LINE_GAIN - 1.0)))


def _put_aside(  # noqa: PLR0917
    state: Witness, epoch_ns: int, x_s: float, u_s: float, off_s: float, clock_s: Floats, weight: Floats
) -> tuple[Witness, Aside]:
    """Put a value aside; where the last ones agree with each other about a new level, begin anew with this one."""
    ns, xs = np.append(state.aside_ns, epoch_ns), np.append(state.aside_s, x_s)
    if len(xs) >= AGREEING:
        last = xs[-AGREEING:].tolist()
        between_s = max(FAR_SIGMAS * sqrt(max(state.scatter_s2, LINE_GAIN * u_s * u_s)), FAR_S)
        if max(last) - min(last) <= between_s:
            anew = replace(empty(len(clock_s)), last_ns=state.last_ns)
            return _kept(anew, epoch_ns, x_s, u_s, clock_s, weight), Aside(epoch_ns, off_s, begins_anew=True)
        ns, xs = ns[1 - AGREEING :], xs[1 - AGREEING :]
    return replace(state, aside_ns=ns, aside_s=xs), Aside(epoch_ns, off_s, begins_anew=False)


def _kept(  # noqa: PLR0917
    state: Witness, epoch_ns: int, x_s: float, u_s: float, clock_s: Floats, weight: Floats
) -> Witness:
    """Keep a value: with those of its day as their mean, else as the newest of `KEPT`."""
    n = len(state.epoch_ns)
    if n and int(state.epoch_ns[-1]) // _DAY_NS == epoch_ns // _DAY_NS:
        had = int(state.count[-1])
        part = 1.0 / (had + 1)
        epochs, x, u = state.epoch_ns.copy(), state.x_s.copy(), state.u_s.copy()
        count, clocks = state.count.copy(), state.clock_s.copy()
        epochs[-1] += (epoch_ns - int(epochs[-1])) // (had + 1)
        x[-1] += (x_s - float(x[-1])) * part
        all_s = float(u[-1]) * had
        u[-1] = sqrt(all_s * all_s + u_s * u_s) * part
        clocks[-1] += (clock_s - clocks[-1]) * part
        count[-1] = had + 1
        return replace(state, epoch_ns=epochs, x_s=x, u_s=u, count=count, clock_s=clocks)
    begin = max(0, n + 1 - KEPT)
    return replace(
        state,
        epoch_ns=np.append(state.epoch_ns[begin:], epoch_ns),
        x_s=np.append(state.x_s[begin:], x_s),
        u_s=np.append(state.u_s[begin:], u_s),
        count=np.append(state.count[begin:], 1),
        clock_s=np.concatenate((state.clock_s[begin:], clock_s[None])),
        weight=np.concatenate((state.weight[begin:], weight[None])),
    )


def _stated(state: Witness, noise: Floats, limit_s: float) -> tuple[Witness, Departure | Over | None]:
    """Hold the newest value against each window's prediction, and say what is new."""
    newest_ns, n = int(state.epoch_ns[-1]), len(noise)
    days = (newest_ns - state.epoch_ns) / _DAY_NS
    usual2 = state.scatter_s2 / LINE_GAIN if state.learned >= LINE_VALUES else 0.0
    # values scatter as they do, whatever they state
    u2 = np.maximum(state.u_s * state.u_s, usual2)
    many = len(WINDOWS_D)
    size, u, allowed = np.zeros(many), np.zeros(many), np.zeros(many)
    odds, weights = np.zeros((many, n)), np.empty(len(days))
    look(days, state.x_s, u2, state.clock_s, state.weight, noise, WINDOWS_D, size, u, allowed, odds, weights)
    ratio = [
        abs(s) / max(limit_s, limit_s / 3.0 + SIGMAS * one) if one > 0.0 else 0.0
        for s, one in zip(size.tolist(), u.tolist(), strict=True)
    ]
    suspects = [(float(odds[w, i]), w, i) for w in SUSPECTS if ratio[w] >= 1.0 for i in range(n)]
    most, w_most, suspect = max(suspects, default=(0.0, 0, -1))
    strongest = max(FACTS, key=lambda w: ratio[w])
    level, sign = ratio[strongest], 1 if size[strongest] > 0.0 else -1
    is_news = level >= 1.0 and (level >= AGAIN * state.said or sign != state.sign)
    points = most >= LEAST_ODDS and suspect != state.suspect
    if points:
        # the window in which the clock stands out
        strongest = w_most
        level, sign = max(ratio[w_most], state.said), 1 if size[w_most] > 0.0 else -1
    if is_news or points:
        found = Departure(
            newest_ns,
            float(size[strongest]),
            float(u[strongest]),
            float(allowed[strongest]),
            float(WINDOWS_D[strongest, 0]) * DAY_S,
            float(WINDOWS_D[strongest, 1]) * DAY_S,
            suspect if points else -1,
            tuple(odds[strongest].tolist()),
        )
        return replace(state, said=level, sign=sign, suspect=suspect if points else state.suspect), found
    if state.suspect >= 0 and most < OVER * LEAST_ODDS:
        state = replace(state, suspect=-1)
    if state.said and state.suspect < 0 and ratio[strongest] < OVER:
        return replace(state, said=0.0, sign=0, suspect=-1), Over(newest_ns)
    return state, None
