"""Selection: which of the sources that claim UTC to believe, by intersection of their intervals and a majority of
operators.

It does not weigh clocks and does not steer. Each source states an interval (offset +- what it cannot exclude) for UTC
minus the scale; true UTC lies in every honest interval. The point that most operators' intervals share is found
(Marzullo 1984; RFC 5905 section 11.2.1 uses the same idea), a majority of operators must share it, and whoever does not
is named. One hand that runs many servers has one vote.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class Verdict(StrEnum):
    """What became of a source: chrony's marks in column 1 come from it."""

    SELECTED = "selected"
    OUTVOTED = "outvoted"
    QUARANTINED = "quarantined"
    STALE = "stale"
    NEVER = "never"


class SelectionState(StrEnum):
    """Whether a majority was found."""

    MAJORITY = "majority"
    NO_MAJORITY = "no-majority"
    NO_SOURCE = "no-source"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One source's claim: UTC minus scale (s), one sigma, limit of its systematic part (s), and how far it may be wrong
    in all.
    """

    reference: int
    operator: str
    x_utc_minus_scale_s: float
    u_s: float
    limit_s: float
    half_width_s: float


@dataclass(frozen=True, slots=True)
class Expected:
    """What the laboratory itself expects UTC minus the scale to be (s), give or take `half_width_s`."""

    x_utc_minus_scale_s: float
    half_width_s: float


@dataclass(frozen=True, slots=True)
class Selection:
    """Who agreed and who was outvoted (reference indices). `surprise`: everybody agrees on what the laboratory did not
    expect.
    """

    state: SelectionState
    selected: tuple[int, ...]
    outvoted: tuple[int, ...]
    surprise: bool


@dataclass(frozen=True, slots=True)
class Combined:
    """One outside value made of several: UTC minus the scale, its one sigma and the limit of its systematic part
    (s).
    """

    x_utc_minus_scale_s: float
    u_s: float
    limit_s: float


NO_SOURCE = Selection(SelectionState.NO_SOURCE, (), (), surprise=False)


def select(candidates: list[Candidate], expected: Expected | None = None) -> Selection:
    """Return whom to believe.

    With one operator alone its sources are believed as far as they agree (there is nobody to outvote it); with two that
    disagree there is no majority. A majority that contradicts what the laboratory expects, while somebody else confirms
    it, is no majority either: the laboratory's own clocks are a witness. Where nobody confirms the expectation, the
    laboratory's clocks are the ones that moved.
    """
    if not candidates:
        return NO_SOURCE
    everybody = tuple(candidate.reference for candidate in candidates)
    operators = {candidate.operator for candidate in candidates}
    low, high = _most_shared(candidates)
    inside = [
        c
        for c in candidates
        if c.x_utc_minus_scale_s - c.half_width_s <= low and c.x_utc_minus_scale_s + c.half_width_s >= high
    ]
    agreeing = {candidate.operator for candidate in inside}
    if 2 * len(agreeing) <= len(operators) or (len(operators) == 1 and 2 * len(inside) <= len(candidates)):
        return Selection(SelectionState.NO_MAJORITY, (), everybody, surprise=False)
    surprise = False
    if expected is not None:
        least, most = (
            expected.x_utc_minus_scale_s - expected.half_width_s,
            expected.x_utc_minus_scale_s + expected.half_width_s,
        )
        surprise = high < least or low > most
        confirmed = any(
            c.x_utc_minus_scale_s - c.half_width_s <= most and c.x_utc_minus_scale_s + c.half_width_s >= least
            for c in candidates
            if c not in inside
        )
        if surprise and confirmed:
            return Selection(SelectionState.NO_MAJORITY, (), everybody, surprise=True)
    selected = tuple(c.reference for c in inside)
    return Selection(SelectionState.MAJORITY, selected, tuple(r for r in everybody if r not in selected), surprise)


def combine(candidates: list[Candidate]) -> Combined:
    """Return one value from several (at least one): weights 1/(u^2 + limit^2).

    It carries the weighted limits, since the mean of errors each within its limit lies within the weighted limit.
    """
    total, x, u2, limit = 0.0, 0.0, 0.0, 0.0
    for candidate in candidates:
        weight = 1.0 / (candidate.u_s * candidate.u_s + candidate.limit_s * candidate.limit_s + 1e-30)
        total += weight
        x += weight * candidate.x_utc_minus_scale_s
        u2 += weight * weight * candidate.u_s * candidate.u_s
        limit += weight * candidate.limit_s
    return Combined(x / total, float(np.sqrt(u2)) / total, limit / total)


def _most_shared(candidates: list[Candidate]) -> tuple[float, float]:
    """Return the interval that the most operators share, the earliest and then narrowest where several tie."""
    edges = sorted(
        [(c.x_utc_minus_scale_s - c.half_width_s, -1, c.operator) for c in candidates]
        + [(c.x_utc_minus_scale_s + c.half_width_s, +1, c.operator) for c in candidates],
        key=lambda edge: (edge[0], edge[1]),
    )
    counts: dict[str, int] = {}
    best, low, high = 0, 0.0, 0.0
    for index, (at, side, operator) in enumerate(edges):
        if side < 0:
            counts[operator] = counts.get(operator, 0) + 1
            if len(counts) > best:
                best, low, high = len(counts), at, edges[index + 1][0]
        else:
            counts[operator] -= 1
            if not counts[operator]:
                del counts[operator]
    return low, high
