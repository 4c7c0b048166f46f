"""Selection: which of the sources that claim UTC to believe, by intersection of their intervals and a majority of
operators.

It does not weigh clocks and does not steer. Each source states an interval (offset +- what it cannot exclude) for UTC
minus the scale; true UTC lies in every honest interval. The point that most operators' intervals share is found
(Marzullo 1984; RFC 5905 section 11.2.1 uses the same idea), a majority of operators must share it, and whoever does not
is named. One hand that runs many servers has one vote.
"""

from dataclasses import dataclass, replace
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
    low = max([c.x_utc_minus_scale_s - c.half_width_s for c in candidates])
    high = min([c.x_utc_minus_scale_s + c.half_width_s for c in candidates])
    if low <= high:
        # what the vote below comes to where all intervals share a stretch: nobody is left to contradict or to confirm
        surprise = expected is not None and (
            high < expected.x_utc_minus_scale_s - expected.half_width_s
            or low > expected.x_utc_minus_scale_s + expected.half_width_s
        )
        return Selection(SelectionState.MAJORITY, everybody, (), surprise)
    operators = {candidate.operator for candidate in candidates}
    # an operator has one vote, however many servers it runs; where there is only one, its servers vote among themselves
    votes = [(c.operator if len(operators) > 1 else str(c.reference), c) for c in candidates]
    shared = _most_shared(votes, expected)
    if shared is None or 2 * shared.voters <= len({voter for voter, _ in votes}):
        return Selection(SelectionState.NO_MAJORITY, (), everybody, surprise=False)
    low, high = shared.low, shared.high
    inside = [
        c
        for c in candidates
        if c.x_utc_minus_scale_s - c.half_width_s <= low and c.x_utc_minus_scale_s + c.half_width_s >= high
    ]
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


@dataclass(frozen=True, slots=True)
class _Shared:
    """A stretch that the same voters share throughout (s), and within it the part that most of their servers share."""

    voters: int
    from_s: float
    to_s: float
    low: float
    high: float


def _most_shared(votes: list[tuple[str, Candidate]], expected: Expected | None) -> _Shared | None:
    """Return the stretch that the most voters share, or None where several do and the expectation does not tell them
    apart.

    Two such stretches exist only where somebody's interval is wide enough to agree with both sides of a contradiction:
    to take either would let whoever stands there choose. (RFC 5905 section 11.2.1 finds no majority there either.)
    """
    low = max(c.x_utc_minus_scale_s - c.half_width_s for _, c in votes)
    high = min(c.x_utc_minus_scale_s + c.half_width_s for _, c in votes)
    if low <= high:  # everybody agrees: the usual epoch, without sorting
        return _Shared(len({voter for voter, _ in votes}), low, high, low, high)
    edges = sorted(
        [(c.x_utc_minus_scale_s - c.half_width_s, -1, voter) for voter, c in votes]
        + [(c.x_utc_minus_scale_s + c.half_width_s, +1, voter) for voter, c in votes],
        key=lambda edge: (edge[0], edge[1]),
    )
    counts: dict[str, int] = {}
    best, servers, most = 0, 0, 0
    found: list[_Shared] = []
    ended = True
    for index, (at, side, voter) in enumerate(edges):
        if side < 0:
            counts[voter] = counts.get(voter, 0) + 1
            servers += 1
            high = edges[index + 1][0]
            if len(counts) > best or (len(counts) == best and ended):
                found = found if len(counts) == best else []
                best, most, ended = len(counts), servers, False
                found.append(_Shared(best, at, high, at, high))
            elif len(counts) == best and servers > most:
                most = servers
                found[-1] = replace(found[-1], low=at, high=high)
        else:
            if len(counts) == best and not ended:
                found[-1] = replace(found[-1], to_s=at)
            counts[voter] -= 1
            servers -= 1
            if not counts[voter]:
                del counts[voter]
                ended = ended or len(counts) < best
    if len(found) > 1 and expected is not None:
        least = expected.x_utc_minus_scale_s - expected.half_width_s
        greatest = expected.x_utc_minus_scale_s + expected.half_width_s
        found = [shared for shared in found if shared.from_s <= greatest and shared.to_s >= least]
    return found[0] if len(found) == 1 else None
