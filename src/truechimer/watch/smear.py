"""Smears: whether a source of UTC spreads a leap second over hours instead of having it.

It changes no vote: a source that smears is outvoted by what it says, and this tells the operator why. Around a leap
second each source's offset from UTC(k) is held against the smears in use: where it follows one and has left zero, it is
named. A liar who copies a smear is called a smear; he is outvoted all the same.

Source: RFC 8633 section 3.7.1 (smeared and other servers must not be mixed); the smears are those that operators have
published: linear over 24 h from noon to noon, linear over 20 h, cosine over both, linear before or after the leap, and
chronyd's `leapsecmode slew` with `smoothtime 400 0.001 leaponly` (17 h 34 min, three arcs, after the leap).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi

HOUR_S = 3600.0
AROUND_S = 25.0 * HOUR_S
"""How far from a leap second, before and after it, a smear is looked for."""
TOLERANCE_S = 0.005
"""Added to what a source itself cannot exclude: paths that change over the hours."""
LEAST_SAMPLES = 6
LEAST_SPAN_S = 900.0
LEAST_MOVE_WIDTHS = 3.0
"""The smear must have moved by so many widths among the samples: else a constant offset would look like one."""


@dataclass(frozen=True, slots=True)
class SmearShape:
    """A smear: it begins `begins_s` after the leap (negative: before) and takes `lasts_s`; `curve`: linear, cosine or
    arcs (constant wander, as chronyd's).
    """

    name: str
    begins_s: float
    lasts_s: float
    curve: str = "linear"

    def done_at(self, after_leap_s: float) -> float:
        """Return which part of the second has been spread out, 0 to 1."""
        part = min(max((after_leap_s - self.begins_s) / self.lasts_s, 0.0), 1.0)
        if self.curve == "cosine":
            return (1.0 - cos(pi * part)) / 2.0
        if self.curve == "arcs":
            return 2.0 * part * part if part < 0.5 else 1.0 - 2.0 * (1.0 - part) * (1.0 - part)
        return part

    def x_source_minus_utc_s(self, after_leap_s: float, step_s: int) -> float:
        """Return how far a server with this smear is from UTC (s): behind by what is spread out before an inserted
        second, ahead by what is not after it.
        """
        done = self.done_at(after_leap_s)
        return step_s * ((1.0 if after_leap_s >= 0.0 else 0.0) - done)


SHAPES = (
    SmearShape("linear from noon to noon (24 h)", -12 * HOUR_S, 24 * HOUR_S),
    SmearShape("linear over 20 h", -10 * HOUR_S, 20 * HOUR_S),
    SmearShape("cosine from noon to noon (24 h)", -12 * HOUR_S, 24 * HOUR_S, "cosine"),
    SmearShape("cosine over 20 h", -10 * HOUR_S, 20 * HOUR_S, "cosine"),
    SmearShape("linear in the 24 h before the leap", -24 * HOUR_S, 24 * HOUR_S),
    SmearShape("linear in the 24 h after the leap", 0.0, 24 * HOUR_S),
    SmearShape("chronyd's, 17.6 h after the leap", 0.0, 63_246.0, "arcs"),
)


@dataclass(frozen=True, slots=True)
class OffsetSample:
    """One value of a source: `after_leap_s` from the leap, `x_source_minus_utck_s`, and how far it may be wrong by what
    the source itself says (s).
    """

    after_leap_s: float
    x_source_minus_utck_s: float
    half_width_s: float


def smear_of(samples: Sequence[OffsetSample], *, step_s: int) -> SmearShape | None:
    """Return the smear that a source's samples follow, the best of those that fit; None where they show none.

    `step_s`: +1 for an inserted second, -1 for a removed one. Samples in any order.
    """
    away = [one for one in samples if abs(one.x_source_minus_utck_s) > max(TOLERANCE_S, one.half_width_s + TOLERANCE_S)]
    if len(away) < LEAST_SAMPLES:
        return None
    times = [one.after_leap_s for one in away]
    if max(times) - min(times) < LEAST_SPAN_S:
        return None
    best: tuple[float, SmearShape] | None = None
    for shape in SHAPES:
        worst = 0.0
        done = [shape.done_at(one.after_leap_s) for one in away]
        width = sorted(one.half_width_s + TOLERANCE_S for one in away)[len(away) // 2]
        if max(done) - min(done) < LEAST_MOVE_WIDTHS * width:
            continue
        for one in samples:
            off = abs(one.x_source_minus_utck_s - shape.x_source_minus_utc_s(one.after_leap_s, step_s))
            worst = max(worst, off / (one.half_width_s + TOLERANCE_S))
        if worst <= 1.0 and (best is None or worst < best[0]):
            best = (worst, shape)
    return None if best is None else best[1]
