"""Link past: which link to UTC leaves its own past while most of the others keep theirs, however slowly it goes.

It judges no single value and takes part in no vote (`selection`): intervals find whoever steps out of what it claims,
at once; here a link is found that stays inside it and goes on, a nanosecond an hour. Each link is followed against the
laboratory's scale: a level of days, and means over an hour to four days against it, each with the scatter that this
link's means have shown. A link is out where

    a mean is `OUT_SIGMAS` of its own scatter off the level, and
    more than half of the other links, over the same time, are `APART_SIGMAS` from it, and off theirs by half as much
    at most.

Where all go the same way the scale moved, or UTC: nobody is out. Where there is one link only nobody can be. While a
link is accused its level and its scatter stand still: it does not teach what it is judged by. It is in again when its
means of up to half a day are back within `BACK_SIGMAS`; the longest then forgets what was.

Source: means with exponential memory as a bank of tests for a change of unknown onset and size (Roberts 1959;
Basseville and Nikiforov 1993, 2.4 and 11.1). Law of the file: + - * / and sqrt in a written order, so that a replay is
equal to the last bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

SPANS_S = (3_600.0, 4 * 3_600.0, 12 * 3_600.0, 2 * 86_400.0)
"""Memories of the means."""
LEVEL_S = 10 * 86_400.0
SCATTER_S, SCATTER_SPANS = 20 * 86_400.0, 24.0
"""Memory of a mean's scatter, in seconds and in spans of the mean, whichever is longer: a drag shall not teach it."""
LEAST_S = 86_400.0
"""A link is accused by nobody before it has been heard for so long, nor by a mean before four spans of it."""
OUT_SIGMAS, APART_SIGMAS, BACK_SIGMAS = 5.0, 4.0, 2.5
LONGEST_BACK_S = 12 * 3_600.0
WANDER_S = 1e-9
"""One sigma of what UTC(k) of another laboratory may do in days by itself: no fault of its link."""
VALUE_SIGMAS = 6.0
"""A value counts as no further from the level than so many sigmas of its own, and as much wander."""
CLIP2 = 9.0
FIRST_SCATTER = 2.0
"""Variance of a mean before it has shown one, in those of its white noise."""
LARGEST_U_S = 1e-7
"""Links that are more uncertain than this are no witnesses: network time, mostly."""
LONGEST_STEP_S = 3 * 86_400.0
"""A longer silence counts as so much."""
SILENT_SPANS = 0.5
"""A link that was silent for this part of a mean's span says nothing of what the others did in it."""


@dataclass(frozen=True, slots=True)
class LinkPast:
    """What is kept of one link. `level_s`, `means_s` (for `SPANS_S`): link minus scale, the rate of UTC taken off, s;
    `scatter_s2`: mean square of each mean from the level; `first_ns`, `last_ns`: TAI; `heard_s`: how long it was heard;
    `white_s2s`: its noise, u squared times the time between values; `delay_s`: delay by order at its last value; `out`.
    """

    first_ns: int = 0
    last_ns: int = 0
    heard_s: float = 0.0
    level_s: float = 0.0
    means_s: tuple[float, ...] = ()
    scatter_s2: tuple[float, ...] = ()
    white_s2s: float = 0.0
    delay_s: float = 0.0
    out: bool = False


NOTHING = LinkPast()


@dataclass(frozen=True, slots=True)
class LinkValue:
    """A value of one link: `x_s`, link minus scale less what UTC has gone by its rate; `u_s`; `at_ns` (TAI); `delay_s`:
    what orders have changed its delay by.
    """

    at_ns: int
    x_s: float
    u_s: float
    delay_s: float = 0.0


def heard(past: LinkPast, value: LinkValue, *, accused: bool) -> LinkPast:
    """Return a link's past after a value; one whose delay was changed by order begins anew."""
    if not past.last_ns or past.delay_s != value.delay_s:
        same = (value.x_s,) * len(SPANS_S)
        return LinkPast(value.at_ns, value.at_ns, 0.0, value.x_s, same, (0.0,) * len(SPANS_S), 0.0, value.delay_s)
    dt = (value.at_ns - past.last_ns) / 1e9
    if dt <= 0.0:
        return past
    step_s = min(dt, LONGEST_STEP_S)
    heard_s = past.heard_s + step_s
    white = value.u_s * value.u_s * step_s
    # a value far off is the vote's to find: here it shall not stay in the means for days
    most_s = VALUE_SIGMAS * (value.u_s + WANDER_S)
    x_s = past.level_s + max(-most_s, min(most_s, value.x_s - past.level_s))
    white_s2s = (
        white if past.white_s2s == 0.0 else past.white_s2s + min(1.0, step_s / LEAST_S) * (white - past.white_s2s)
    )
    means, scatter = [], []
    for j, span_s in enumerate(SPANS_S):
        # a plain mean until it is as long as its memory
        gain = min(1.0, step_s / min(span_s, heard_s))
        mean = past.means_s[j] + gain * (x_s - past.means_s[j])
        means.append(mean)
        off = mean - past.level_s
        floor = _white_s2(white_s2s, span_s, heard_s)
        known = past.scatter_s2[j]
        if heard_s < 4.0 * span_s:
            known = 0.0
        elif known == 0.0:
            known = FIRST_SCATTER * floor
        elif not accused:
            gain = step_s / max(SCATTER_S, SCATTER_SPANS * span_s)
            known = max(known + min(1.0, gain) * (min(off * off, CLIP2 * known) - known), floor)
        scatter.append(known)
    level = past.level_s
    if not accused:
        level = level + min(1.0, step_s / min(LEVEL_S, heard_s)) * (x_s - level)
    return replace(
        past,
        last_ns=value.at_ns,
        heard_s=heard_s,
        level_s=level,
        means_s=tuple(means),
        scatter_s2=tuple(scatter),
        white_s2s=white_s2s,
    )


def judged(pasts: Sequence[LinkPast], *, epoch_ns: int) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """Return which links are accused (their past stands still), and which of them are out."""
    silent_s = [(epoch_ns - one.last_ns) / 1e9 for one in pasts]
    off = [[mean - one.level_s for mean in one.means_s] for one in pasts]
    sigma = [_sigmas(one) for one in pasts]
    accused, out = [], []
    for k, one in enumerate(pasts):
        is_accused = is_out = False
        least = BACK_SIGMAS if one.out else APART_SIGMAS
        for j, span_s in enumerate(SPANS_S):
            if one.heard_s < max(LEAST_S, 4.0 * span_s) or abs(off[k][j]) < least * sigma[k][j]:
                continue
            if one.out and span_s > LONGEST_BACK_S:
                continue
            against = others = 0
            for i, other in enumerate(pasts):
                if i == k or not other.last_ns or silent_s[i] > SILENT_SPANS * span_s:
                    continue
                others += 1
                both = sqrt(sigma[k][j] * sigma[k][j] + sigma[i][j] * sigma[i][j])
                is_apart = abs(off[k][j] - off[i][j]) > least * both
                if is_apart and abs(off[i][j]) <= 0.5 * abs(off[k][j]):
                    against += 1
            if 2 * against > others:
                is_accused = True
                is_out = is_out or one.out or abs(off[k][j]) >= OUT_SIGMAS * sigma[k][j]
        accused.append(is_accused)
        out.append(is_out)
    return tuple(accused), tuple(out)


def marked(past: LinkPast, *, out: bool) -> LinkPast:
    """Return a link's past with what was found of it."""
    if past.out is out:
        return past
    means = past.means_s
    if not out:
        means = tuple(
            past.level_s if span_s > LONGEST_BACK_S else mean for mean, span_s in zip(means, SPANS_S, strict=True)
        )
    return replace(past, out=out, means_s=means)


def _sigmas(past: LinkPast) -> list[float]:
    """Return one sigma of each mean from the level: what it has shown, or what white noise makes where that is more."""
    if not past.means_s:
        return []
    return [
        sqrt(max(scatter, _white_s2(past.white_s2s, span_s, past.heard_s), WANDER_S * WANDER_S))
        for scatter, span_s in zip(past.scatter_s2, SPANS_S, strict=True)
    ]


def _white_s2(white_s2s: float, span_s: float, heard_s: float) -> float:
    """Return the variance of a mean from the level that white noise alone makes."""
    level_s = min(LEVEL_S, heard_s) if heard_s > 0.0 else span_s
    return white_s2s * (0.5 / span_s + 0.5 / level_s)
