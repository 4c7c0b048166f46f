"""Selection: which of the sources that claim UTC to believe, by intersection of their intervals and a majority of
operators.

It does not weigh clocks and does not steer. Each source states an interval (offset +- what it cannot exclude) for UTC
minus the scale; true UTC lies in every honest interval. So where most operators are honest, true UTC lies where most
operators' intervals overlap (Marzullo 1984; RFC 5905 section 11.2.1 uses the same idea): in that *region*, and not only
in the part of it that the very most share, since a liar may lie in wait at the edge of an honest interval. Whoever
does not touch the region is named. One hand that runs many servers has one vote.

Law of the file: as long as most operators are honest, no honest source is named a liar, and the limit that is stated
with the combined value holds true UTC, whatever the others say and however well they claim to know it.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

NEAR_WIDTHS = 3.0
"""Stretches that a majority covers, within so many widths of the median interval of each other, are one region: a liar
that slowly leaves the honest intervals passes through this, and must not take the majority away by it.
"""


class Verdict(StrEnum):
    """What became of a source: chrony's marks in column 1 come from it."""

    SELECTED = "selected"
    OUTVOTED = "outvoted"
    QUARANTINED = "quarantined"
    REFUSED = "refused"  # by its receiver's own word
    STALE = "stale"
    NEVER = "never"


class SelectionState(StrEnum):
    """Whether a majority was found. `too-few`: those who speak agree, but they are not the majority of all that the
    laboratory names, and nothing of its own confirms them.
    """

    MAJORITY = "majority"
    NO_MAJORITY = "no-majority"
    NO_SOURCE = "no-source"
    TOO_FEW = "too-few"


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

    @property
    def low_s(self) -> float:
        """Lower end of the interval, seconds."""
        return self.x_utc_minus_scale_s - self.half_width_s

    @property
    def high_s(self) -> float:
        """Upper end of the interval, seconds."""
        return self.x_utc_minus_scale_s + self.half_width_s


@dataclass(frozen=True, slots=True)
class Expected:
    """What the laboratory itself expects UTC minus the scale to be (s), give or take `half_width_s`."""

    x_utc_minus_scale_s: float
    half_width_s: float

    def meets(self, low_s: float, high_s: float) -> bool:
        """Whether an interval holds anything that is expected."""
        return (
            high_s >= self.x_utc_minus_scale_s - self.half_width_s
            and low_s <= self.x_utc_minus_scale_s + self.half_width_s
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """Who agreed and who was outvoted (reference indices). `surprise`: everybody agrees on what the laboratory did not
    expect. `low_s` to `high_s`: the region that a majority shares.
    """

    state: SelectionState
    selected: tuple[int, ...]
    outvoted: tuple[int, ...]
    surprise: bool
    low_s: float = 0.0
    high_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Combined:
    """One outside value made of several: UTC minus the scale, its one sigma and the limit of its systematic part
    (s).
    """

    x_utc_minus_scale_s: float
    u_s: float
    limit_s: float


NO_SOURCE = Selection(SelectionState.NO_SOURCE, (), (), surprise=False)


def select(
    candidates: list[Candidate],
    expected: Expected | None = None,
    *,
    watched: tuple[Candidate, ...] = (),
    wanted: frozenset[str] = frozenset(),
) -> Selection:
    """Return whom to believe.

    `watched`: present sources in quarantine. They cannot vote for anything, but where they contradict the voters they
    count against them: two honest sources of five are no majority because the three liars were caught one by one.
    Where nothing else is left, and the laboratory's own expectation confirms it, they may make up a majority again.
    `wanted`: operators whose sources the laboratory names; where most of them are silent, the rest is believed only as
    far as the laboratory's own expectation confirms it.

    With one operator alone its sources are believed as far as they agree (there is nobody to outvote it); with two that
    disagree there is no majority. A majority that contradicts what the laboratory expects, while somebody else (one in
    quarantine too) confirms it, is no majority either: the laboratory's own clocks are a witness. Where nobody confirms
    the expectation, the laboratory's clocks are the ones that moved.
    """
    if not candidates and not watched:
        return NO_SOURCE
    found = _vote(candidates, watched, wanted, expected) if candidates else _NO_MAJORITY
    if found.state is SelectionState.NO_MAJORITY and watched and expected is not None:
        again = _vote([*candidates, *watched], (), wanted, expected)
        if again.state is SelectionState.MAJORITY and expected.meets(again.low_s, again.high_s):
            return again
    return found


_NO_MAJORITY = Selection(SelectionState.NO_MAJORITY, (), (), surprise=False)


def _vote(
    candidates: list[Candidate], watched: tuple[Candidate, ...], wanted: frozenset[str], expected: Expected | None
) -> Selection:
    """Hold one vote among the candidates; see `select`."""
    everybody = tuple(candidate.reference for candidate in candidates)
    operators = {c.operator for c in candidates}.union({c.operator for c in watched}, wanted)
    # an operator has one vote, however many servers it runs; where there is only one, its servers vote among themselves
    by_server = len(operators) == 1
    voter_of = [str(c.reference) if by_server else c.operator for c in candidates]
    region = _region(list(zip(voter_of, candidates, strict=True)), expected)
    if region is None:
        return Selection(SelectionState.NO_MAJORITY, (), everybody, surprise=False)
    low, high = region
    inside = [c.low_s <= high and c.high_s >= low for c in candidates]
    supporters = {voter for voter, agrees in zip(voter_of, inside, strict=True) if agrees}
    present = set(voter_of)
    if watched:
        confirming = {c.operator for c in watched if c.low_s <= high and c.high_s >= low}
        present |= {str(c.reference) if by_server else c.operator for c in watched if c.operator not in confirming}
    if 2 * len(supporters) <= len(present):
        return Selection(SelectionState.NO_MAJORITY, (), everybody, surprise=False)
    surprise = False
    if expected is not None and not expected.meets(low, high):
        surprise = True
        against = [c for c, agrees in zip(candidates, inside, strict=True) if not agrees]
        against += [c for c in watched if c.low_s > high or c.high_s < low]
        if any(expected.meets(c.low_s, c.high_s) for c in against):
            return Selection(SelectionState.NO_MAJORITY, (), everybody, surprise=True)
    if not by_server and 2 * len(supporters) <= len(present | wanted) and (expected is None or surprise):
        return Selection(SelectionState.TOO_FEW, (), (), surprise)
    selected = tuple(c.reference for c, agrees in zip(candidates, inside, strict=True) if agrees)
    outvoted = tuple(c.reference for c, agrees in zip(candidates, inside, strict=True) if not agrees)
    return Selection(SelectionState.MAJORITY, selected, outvoted, surprise, low, high)


def combine(
    selected: list[Candidate], fresh: frozenset[int] | None = None, *, older: list[Candidate] | None = None
) -> Combined:
    """Return one value from several that were selected (at least one): weights 1/(u^2 + limit^2).

    `fresh`: references that spoke at this epoch (all, where not given). The others stand in the value at their weight
    as well, so that whoever speaks most often does not decide alone, and sources that differ by less than they can
    exclude do not look like a jumping rate; the sigma says how much of the value is news. `older`: selected claims that
    are too old to stand in the value; they count for its limit.

    Nobody's limit counts as less than the median one: a source that claims to be much better than the others cannot
    take the value over by the claim. The limit stated holds as long as half of the operators are honest: of every
    operator it is known how far true UTC lies from the value if that operator is honest (the distance of its own value,
    and its own limit), and one more than half of them is taken, from the least on. So neither the narrowest nor the
    widest claim decides it.
    """
    servers: dict[str, int] = {}
    for c in selected:
        servers[c.operator] = servers.get(c.operator, 0) + 1
    limits = sorted([c.limit_s for c in selected])
    usual_s = limits[(len(limits) - 1) // 2]
    total, news, x, u2 = 0.0, 0.0, 0.0, 0.0
    for c in selected:
        limit = max(c.limit_s, usual_s)
        weight = 1.0 / ((c.u_s * c.u_s + limit * limit + 1e-30) * servers[c.operator])
        total += weight
        x += weight * c.x_utc_minus_scale_s
        u2 += weight * weight * c.u_s * c.u_s
        if fresh is None or c.reference in fresh:
            news += weight
    x /= total
    everybody = selected if not older else [*selected, *older]
    alone = len({c.operator for c in everybody}) == 1
    if_honest: dict[str, float] = {}
    for c in everybody:
        voter = str(c.reference) if alone else c.operator
        distance = abs(c.x_utc_minus_scale_s - x) + c.limit_s
        if_honest[voter] = min(if_honest.get(voter, distance), distance)
    distances = sorted(if_honest.values())
    u_s = float(np.sqrt(u2 * total / news)) / total if news > 0.0 else float("inf")
    return Combined(x, u_s, distances[len(distances) // 2])


def _region(votes: list[tuple[str, Candidate]], expected: Expected | None) -> tuple[float, float] | None:
    """Return where true UTC lies if most voters are honest (from, to; s), or None where they leave that open.

    It is what more than half of the voters' intervals cover. Two stretches of it, apart, exist only where somebody's
    interval is wide enough to agree with both sides of a contradiction: the expectation tells them apart, or they
    lie near each other (`NEAR_WIDTHS`; then both are in), or nothing is known: to take either would let whoever stands
    there choose.
    """
    low_of: dict[str, float] = {}
    high_of: dict[str, float] = {}
    for voter, c in votes:
        low_of[voter] = min(low_of.get(voter, c.low_s), c.low_s)
        high_of[voter] = max(high_of.get(voter, c.high_s), c.high_s)
    need = len(low_of) // 2 + 1
    if max([c.low_s for _, c in votes]) <= min([c.high_s for _, c in votes]):
        # all share a point, so each voter's servers cover one stretch: the usual epoch, without counting
        return sorted(low_of.values())[need - 1], sorted(high_of.values(), reverse=True)[need - 1]
    found = _covered(votes, need)
    if len(found) > 1 and expected is not None:
        found = [stretch for stretch in found if expected.meets(*stretch)]
    if not found:
        return None
    low, high = found[0][0], found[-1][1]
    if len(found) > 1:
        widths = sorted([2.0 * c.half_width_s for _, c in votes])
        if high - low > NEAR_WIDTHS * widths[(len(widths) - 1) // 2]:
            return None
    return low, high


def _covered(votes: list[tuple[str, Candidate]], need: int) -> list[tuple[float, float]]:
    """Return the stretches, in order, that the intervals of at least `need` voters cover throughout (s)."""
    edges = sorted(
        [(c.low_s, -1, voter) for voter, c in votes] + [(c.high_s, +1, voter) for voter, c in votes],
        key=lambda edge: (edge[0], edge[1]),
    )
    counts: dict[str, int] = {}
    found: list[tuple[float, float]] = []
    begun: float | None = None
    for at, side, voter in edges:
        if side < 0:
            counts[voter] = counts.get(voter, 0) + 1
            if begun is None and len(counts) >= need:
                begun = at
        else:
            counts[voter] -= 1
            if not counts[voter]:
                del counts[voter]
                if begun is not None and len(counts) < need:
                    found.append((begun, at))
                    begun = None
    return found
