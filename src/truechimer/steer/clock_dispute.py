"""Which clocks are off, where clocks that are compared contradict one another.

It knows no state and reads nothing (`clock_states` does). It is given, for each two clocks, how far their comparison is
off what was expected of it. Off are all but the most clocks that agree. Nobody is off for its place in the register:
where two opinions are held by as many, and no third clock tells, nobody says which is right.

Law of the file: see `clock_states`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

OFF_SIGMAS = 6.0
"""A comparison this far off what the noise of both clocks lets expect is not read; two of a clock in a row: it stepped.
"""
TIED = 9.0
"""Where as many clocks agree one way as another, the misfits of the one must be less by so much (three sigma)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`first`: the clock that the others are read against, the quietest that is not off, -1 where there is none; `off_s
    (n,)`: by how much who is off is off (s), NaN for the others; `sides`: clocks that contradict one another and of
    which nobody says who is off, all of them off then.
    """

    first: int
    off_s: Floats
    sides: tuple[list[int], list[int]] | None = None

    @property
    def undecided(self) -> list[int]:
        """Return the clocks of both sides."""
        return [] if self.sides is None else [i for side in self.sides for i in side]


def verdict(by: Floats, variance: Floats, places: Places, day_variance: Sequence[float], *, n: int) -> Verdict:
    """Say who is off. `by`, `variance (m, m)`: of each two of the m clocks that are read, how far clock minus clock is
    off (s) and what it may be (s^2); `places (m,)`: which of the n clocks they are.
    """
    misfit = by * by / variance
    own: list[int] = places.tolist()
    left = _agreeing(misfit, range(len(own)))
    others = _agreeing(misfit, [i for i in range(len(own)) if i not in left])
    both = [k for k in left if all(misfit[i, k] <= OFF_SIGMAS * OFF_SIGMAS for i in others)]
    is_tie = (
        len(others) > 0
        and len(others) + len(both) == len(left)
        and _within(misfit, others + both) - _within(misfit, left) <= TIED
    )
    against = [k for k in left if k not in both] if is_tie else []
    sound = [i for i in left if i not in against]

    def quietest(among: list[int]) -> int:
        return min(among, key=lambda i: (day_variance[own[i]], i), default=-1)

    off_s = np.full(n, np.nan)
    for i, place in enumerate(own):
        if i not in sound:
            off_s[place] = by[quietest(others if i in against else left), i]
    first = own[quietest(sound)] if sound else -1
    if not is_tie:
        return Verdict(first, off_s)
    return Verdict(first, off_s, ([own[i] for i in others], [own[i] for i in against]))


def _agreeing(misfit: Floats, among: Iterable[int]) -> list[int]:
    """Return who is left of some clocks when, again and again, who contradicts most others has gone; of those who
    contradict as many, who agrees less with all.
    """
    left = list(among)
    while True:
        worst, most, worst_misfit = -1, 0, 0.0
        for i in left:
            count, whole = 0, 0.0
            for k in left:
                if k != i:
                    count += int(misfit[i, k] > OFF_SIGMAS * OFF_SIGMAS)
                    whole += float(misfit[i, k])
            if count > most or (count == most > 0 and whole > worst_misfit):
                worst, most, worst_misfit = i, count, whole
        if worst < 0:
            return left
        left.remove(worst)


def _within(misfit: Floats, among: list[int]) -> float:
    """Return how badly some clocks agree with each other."""
    out = 0.0
    for i in among:
        for k in among:
            out += float(misfit[i, k]) if i < k else 0.0
    return out
