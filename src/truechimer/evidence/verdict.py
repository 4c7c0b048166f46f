"""Verdict: was the time moved? Second by second, what was served held against what independent operators said then.

It reads no records (`laboratory.testimony` does), repeats no decision (`laboratory.replay` does) and believes neither
the server's selection nor its bound: of the server it takes only the line that it served, and the bound that it stated
with it. The question of each moment is which instants a majority of operators allowed:

    served minus UTC  lies in  served minus label - {points that more than half of the operators' intervals share}

True UTC is in every honest operator's interval; where more than half are honest, it is in a region that more than half
share (Marzullo 1984). A second is *proved* where that region leaves an error of at most `error_s`; *moved* where what
was served lies outside it by more than the bound that was stated; *unproved* in every other case, with the reason.

All times are seconds on the axis of the host's label (a name for its raw counter) since `base_ns`; offsets are float64
beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

FROZEN_VALUES = 8
"""So many equal values in a row are a counter that stands still, not a measurement."""

RECENT_S = 86_400.0
"""An operator heard within this time counts among those of whom more than half must agree, silent or not."""

LEAST_OPERATORS = 2
"""One operator alone proves nothing: nobody contradicts it."""

RATE_FROM_S = 60.0
"""The rate of the host's counter is taken from this much of proved time before a contradiction."""

SLOPE_VALUES = 8
"""Beyond its last value a series is carried on along the line through this many values."""


class Word(StrEnum):
    """What became of a second, in order of gravity."""

    PROVED = "proved"
    UNPROVED = "unproved"
    MOVED = "moved"


class Why(StrEnum):
    """Why a second is not proved."""

    NOTHING_STATED = "no time was stated: no page, or one that had run out"
    UNSYNCHRONISED = "the service said unsynchronised"
    NOBODY_HEARD = "no outside operator was heard around this second"
    ONE_OPERATOR = "only one operator was heard: nobody could contradict it"
    NO_MAJORITY = "no majority of the operators agreed"
    OPERATORS_MOVED = "a majority of the operators left what they had said; against the host's counter only they moved"
    TOO_WIDE = "the operators leave a wider error than was asked for"
    BROKEN = "the log is broken before this second"
    DIFFERENT = "a record before this second does not follow from its readings"
    NOT_SIGNED = "the envelope in force is not signed as the policy asks"
    OUTSIDE = "the records do not reach this second"
    UNBELIEVED = "no checkpoint of this log is believed"
    DATED = "its records are dated otherwise than the witnesses saw them: ahead of it, or back"
    OTHER_HISTORY = "witnesses saw another history of this log from before this second on"


@dataclass(frozen=True, slots=True)
class Wander:
    """How far a comparison may leave the straight line between two values `g` seconds apart: 6 (white_fm sqrt(g) +
    flicker_fm g) + rate_change_per_s g^2 / 8, seconds; `most_s`: the longest `g` that is bridged.
    """

    white_fm: float
    flicker_fm: float
    rate_change_per_s: float
    most_s: float

    def over(self, gap_s: Floats) -> Floats:
        """Return the departure (s) over gaps (s)."""
        straight = 6.0 * (self.white_fm * np.sqrt(gap_s) + self.flicker_fm * gap_s)
        return np.asarray(straight + self.rate_change_per_s * gap_s * gap_s / 8.0)


HOST_WANDER = Wander(3e-10, 1e-10, 1e-8, 300.0)
"""A computer's quartz: 1e-8 per second is a board that warms by a kelvin in ten seconds at 1e-7 per kelvin."""


@dataclass(frozen=True, slots=True)
class Series:
    """One comparison over time: `x_s[n]` at increasing `t_s[n]`, each within `half_s[n]` of the truth if it is
    honest.
    """

    t_s: Floats
    x_s: Floats
    half_s: Floats
    wander: Wander

    def usable(self) -> "Series":
        """Return the series without what an instrument does by itself: a value that stands still, and a lone spike.

        A lone spike contradicts the line between its neighbours while these do not contradict theirs; what was served
        at its moment is then held against the neighbours.
        """
        kept = self._without_frozen()
        n = len(kept.t_s)
        if n < 5:
            return kept
        t, x, half = kept.t_s, kept.x_s, kept.half_s
        span = t[2:] - t[:-2]
        between = x[:-2] + (x[2:] - x[:-2]) * (t[1:-1] - t[:-2]) / span
        room = half[1:-1] + np.maximum(half[:-2], half[2:]) + kept.wander.over(span)
        off = np.zeros(n, dtype=bool)
        off[1:-1] = np.abs(x[1:-1] - between) > room
        # a spike throws its neighbours off too, by half: the one that is furthest off among them is the spike
        excess = np.zeros(n)
        excess[1:-1] = np.abs(x[1:-1] - between) / room
        peak = off.copy()
        peak[1:] &= excess[1:] >= excess[:-1]
        peak[:-1] &= excess[:-1] > excess[1:]
        lone = peak.copy()
        for away in (2, 3):
            lone[away:] &= ~peak[:-away]
            lone[:-away] &= ~peak[away:]
        return Series(t[~lone], x[~lone], half[~lone], kept.wander)

    def _without_frozen(self) -> "Series":
        """Return the series without runs of `FROZEN_VALUES` equal values or more; the first of a run stays."""
        n = len(self.t_s)
        if n < FROZEN_VALUES:
            return self
        starts = np.flatnonzero(np.r_[True, self.x_s[1:] != self.x_s[:-1]])
        lengths = np.diff(np.r_[starts, n])
        run = np.repeat(lengths, lengths)
        first = np.zeros(n, dtype=bool)
        first[starts] = True
        keep = (run < FROZEN_VALUES) | first
        return Series(self.t_s[keep], self.x_s[keep], self.half_s[keep], self.wander)

    def at(self, t_s: Floats) -> tuple[Floats, Floats]:
        """Return value and half width at moments; NaN where the series does not reach.

        Between two values: the straight line, and the greater of their half widths. Beyond the last: the line through
        the last `SLOPE_VALUES`, whose half width grows with the distance.
        """
        x, half = np.full(len(t_s), np.nan), np.full(len(t_s), np.nan)
        n = len(self.t_s)
        if n == 0:
            return x, half
        after = np.searchsorted(self.t_s, t_s, side="left")
        exact = (after < n) & (self.t_s[np.minimum(after, n - 1)] == t_s)
        x[exact], half[exact] = self.x_s[after[exact]], self.half_s[after[exact]]
        inner = ~exact & (after > 0) & (after < n)
        i = after[inner]
        gap = self.t_s[i] - self.t_s[i - 1]
        share = (t_s[inner] - self.t_s[i - 1]) / gap
        x[inner] = self.x_s[i - 1] + (self.x_s[i] - self.x_s[i - 1]) * share
        wide = np.maximum(self.half_s[i - 1], self.half_s[i]) + self.wander.over(gap)
        half[inner] = np.where(gap <= self.wander.most_s, wide, np.nan)
        beyond = ~exact & (after == n)
        if n > 1 and beyond.any():
            first = max(0, n - SLOPE_VALUES)
            span = self.t_s[-1] - self.t_s[first]
            age = t_s[beyond] - self.t_s[-1]
            x[beyond] = self.x_s[-1] + (self.x_s[-1] - self.x_s[first]) / span * age
            grown = max(self.half_s[-1], self.half_s[first]) * (1.0 + 2.0 * age / span) + self.wander.over(2.0 * age)
            half[beyond] = np.where(2.0 * age <= self.wander.most_s, grown, np.nan)
        x[np.isnan(half)] = np.nan
        return x, half


@dataclass(frozen=True, slots=True)
class Claim:
    """What one operator said of UTC minus the label through one path: the sum of comparisons, each with its sign."""

    operator: str
    path: tuple[tuple[Series, float], ...]

    def at(self, t_s: Floats) -> tuple[Floats, Floats]:
        """Return UTC minus label and its half width at moments (s); NaN where the path does not reach."""
        x, half = np.zeros(len(t_s)), np.zeros(len(t_s))
        for series, sign in self.path:
            one, wide = series.at(t_s)
            x += sign * one
            half += wide
        return x, half


@dataclass(frozen=True, slots=True)
class Served:
    """What was served: line i is `x_served_minus_label_s[i] + rate[i] (t - t_s[i])` from `t_s[i]` to `until_s[i]`.

    `bound_s`, `growth`: as stated with it; `stated`: it was given out as time; `seq`: its record.
    """

    t_s: Floats
    until_s: Floats
    x_served_minus_label_s: Floats
    rate: Floats
    bound_s: Floats
    growth: Floats
    stated: Flags
    seq: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Moments:
    """What was found at moments `t_s[n]`: the verdict's word, served minus UTC between `low_s` and `high_s`, and who
    agreed (`by[n, operators]`).

    `utc_s`: the moments on UTC's axis (TAI seconds since the base), as the operators have it.
    """

    t_s: Floats
    utc_s: Floats
    word: NDArray[np.int8]
    why: NDArray[np.int8]
    low_s: Floats
    high_s: Floats
    bound_s: Floats
    by: Flags
    line: NDArray[np.int64]


WORDS = tuple(Word)
WHYS = tuple(Why)
_PROVED, _UNPROVED, _MOVED = range(3)


def shared(low: Floats, high: Floats, needed: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the ends of what at least `needed[n]` of the intervals `low[n, k]` to `high[n, k]` share; NaN: nothing.

    An interval of NaN is absent. Where several stretches are shared, the ends of the outermost: truth is in one of
    them.
    """
    n, k = low.shape
    edges = np.concatenate([low, high], axis=1)
    # at one point all that begins there is counted before anything ends there: the intervals are closed
    order = np.lexsort((np.tile(np.r_[np.zeros(k), np.ones(k)], (n, 1)), edges), axis=1)
    at = np.take_along_axis(edges, order, axis=1)
    present = ~np.isnan(at)
    begins = order < k
    count = np.cumsum(np.where(present, np.where(begins, 1, -1), 0), axis=1)
    enough = np.maximum(needed, 1)[:, None]
    enters = present & begins & (count >= enough)
    leaves = present & ~begins & (count + 1 >= enough)
    rows = np.arange(n)
    some = enters.any(axis=1)
    first = np.where(some, at[rows, np.argmax(enters, axis=1)], np.nan)
    last = np.where(some, at[rows, at.shape[1] - 1 - np.argmax(leaves[:, ::-1], axis=1)], np.nan)
    return first, last


def operators_of(claims: Sequence[Claim]) -> tuple[str, ...]:
    """Return the operators, each once, in order."""
    return tuple(dict.fromkeys(claim.operator for claim in claims))


def intervals(claims: Sequence[Claim], t_s: Floats) -> tuple[Floats, Floats, Flags]:
    """Return each operator's interval of UTC minus label, `low[n, o]`, `high[n, o]`, and who was heard of late.

    An operator with several paths says what they share; where they contradict each other, all that they span: a weaker
    word, never a stronger one.
    """
    names = operators_of(claims)
    low, high = np.full((len(t_s), len(names)), np.nan), np.full((len(t_s), len(names)), np.nan)
    recent = np.zeros((len(t_s), len(names)), dtype=bool)
    for k, name in enumerate(names):
        inner_low, inner_high = np.full(len(t_s), -np.inf), np.full(len(t_s), np.inf)
        outer_low, outer_high = np.full(len(t_s), np.inf), np.full(len(t_s), -np.inf)
        for claim in claims:
            if claim.operator != name:
                continue
            x, half = claim.at(t_s)
            heard = ~np.isnan(x)
            inner_low[heard] = np.maximum(inner_low[heard], (x - half)[heard])
            inner_high[heard] = np.minimum(inner_high[heard], (x + half)[heard])
            outer_low[heard] = np.minimum(outer_low[heard], (x - half)[heard])
            outer_high[heard] = np.maximum(outer_high[heard], (x + half)[heard])
            times = claim.path[0][0].t_s
            if len(times):
                before = np.searchsorted(times, t_s, side="right")
                last = times[np.maximum(before - 1, 0)]
                recent[:, k] |= ((before > 0) & (t_s - last <= RECENT_S)) | heard
        heard = np.isfinite(outer_low)
        agree = inner_low <= inner_high
        low[heard, k] = np.where(agree, inner_low, outer_low)[heard]
        high[heard, k] = np.where(agree, inner_high, outer_high)[heard]
    return low, high, recent


def judge(served: Served, claims: Sequence[Claim], t_s: Floats, *, within_s: float) -> Moments:
    """Judge moments `t_s[n]` (increasing, seconds of the label): what was served, and what the operators allowed."""
    n = len(t_s)
    low, high, recent = intervals(claims, t_s)
    heard = (~np.isnan(low)).sum(axis=1)
    needed = np.maximum(recent.sum(axis=1) // 2 + 1, LEAST_OPERATORS)
    if low.shape[1]:
        utc_low, utc_high = shared(low, high, needed)
    else:
        utc_low = utc_high = np.full(n, np.nan)
    by = (low <= utc_high[:, None]) & (high >= utc_low[:, None])
    line = np.searchsorted(served.t_s, t_s, side="right") - 1
    there = line >= 0
    safe = np.maximum(line, 0)
    word, why = np.full(n, _UNPROVED, dtype=np.int8), np.full(n, _index(Why.NOTHING_STATED), dtype=np.int8)
    error_low, error_high, bound = (np.full(n, np.nan) for _ in range(3))
    if len(served.t_s):
        there &= t_s <= served.until_s[safe]
        age = t_s - served.t_s[safe]
        x = served.x_served_minus_label_s[safe] + served.rate[safe] * age
        bound = served.bound_s[safe] + served.growth[safe] * age
        error_low, error_high = x - utc_high, x - utc_low
        stated = there & served.stated[safe]
        why[there & ~stated] = _index(Why.UNSYNCHRONISED)
        why[stated] = _index(Why.NO_MAJORITY)
        why[stated & (heard == 1)] = _index(Why.ONE_OPERATOR)
        why[stated & (heard == 0)] = _index(Why.NOBODY_HEARD)
        known = stated & ~np.isnan(utc_low)
        worst = np.maximum(np.abs(error_low), np.abs(error_high))
        moved = known & ((error_low > bound) | (error_high < -bound))
        word[known & ~moved & (worst <= within_s)] = _PROVED
        why[known & ~moved & (worst > within_s)] = _index(Why.TOO_WIDE)
        word[moved] = _MOVED
    middle = 0.5 * (utc_low + utc_high)
    if (word == _MOVED).any():
        others = _operators_moved(
            served, t_s, word, line=safe, middle_s=middle, half_s=0.5 * (utc_high - utc_low), bound_s=bound
        )
        word[others], why[others] = _UNPROVED, _index(Why.OPERATORS_MOVED)
    return Moments(
        t_s, t_s + _filled(t_s, middle, served), word, why, error_low, error_high, bound, by, np.where(there, line, -1)
    )


def _operators_moved(
    served: Served,
    t_s: Floats,
    word: NDArray[np.int8],
    *,
    line: NDArray[np.int64],
    middle_s: Floats,
    half_s: Floats,
    bound_s: Floats,
) -> Flags:
    """Return the moments of contradiction at which the operators moved against the host's counter, and what was served
    did not, both counted from the last proved moment.

    The counter's oscillator is a witness that neither can move. It is believed as far as an oscillator holds its rate;
    where both moved, or neither by more than it may have itself, the contradiction stays what was served.
    """
    n = len(t_s)
    index = np.arange(n)
    proved = word == _PROVED
    last = np.maximum.accumulate(np.where(proved, index, -1))
    following = np.minimum.accumulate(np.where(proved, index, n)[::-1])[::-1]
    p = np.maximum(last, 0)
    # the counter's rate, from what the operators said while they and the service agreed: not from what was served
    q = np.minimum(following[np.searchsorted(t_s, t_s[p] - RATE_FROM_S)], p)
    span, dt = t_s[p] - t_s[q], t_s - t_s[p]
    asked = (word == _MOVED) & (last >= 0) & (span > 0.0)
    span = np.where(asked, span, 1.0)
    straight = (middle_s[p] - middle_s[q]) / span * dt
    x = served.x_served_minus_label_s[line] + served.rate[line] * (t_s - served.t_s[line])
    unsure = (half_s[p] + half_s[q]) / span * dt
    room = bound_s + bound_s[p] + unsure + HOST_WANDER.over(dt)
    still = np.abs(x - x[p] - straight) <= room
    left = np.abs(middle_s - middle_s[p] - straight) > room
    return np.asarray(asked & still & left)


def _filled(t_s: Floats, x_utc_minus_label_s: Floats, served: Served) -> Floats:
    """Return UTC minus label without gaps: between what the operators said the straight line; where they never spoke,
    what was served.
    """
    known = ~np.isnan(x_utc_minus_label_s)
    if known.any():
        return np.interp(t_s, t_s[known], x_utc_minus_label_s[known])
    if len(served.t_s):
        return np.interp(t_s, served.t_s, served.x_served_minus_label_s)
    return np.zeros(len(t_s))


def _index(why: Why) -> int:
    return WHYS.index(why)
