"""First round: of servers that are sampled in turn, the first readings wait for each other.

Who answers first shall not set the time alone. The fold waits for the sources that the laboratory's file names
(`laboratory.outside`); those of a chronyd become known one by one, so their feed waits.
"""

from truechimer.compare.reading import Reading

FIRST_VALUES = 4
"""Values of the quickest server after which the others are no longer waited for."""


class FirstRound:
    """Holds the newest reading of each server until all that are expected have spoken."""

    def __init__(self) -> None:
        self._held: dict[str, Reading] = {}
        self._counts: dict[str, int] = {}
        self._is_over = False

    def after(self, readings: list[Reading], *, expected: set[str] | None = None) -> list[Reading]:
        """Return what may go into the fold now. `expected`: who is known to answer; None where nobody can say."""
        if self._is_over:
            return readings
        for reading in readings:
            self._held[reading.a] = reading
            self._counts[reading.a] = self._counts.get(reading.a, 0) + 1
        if not self._held:
            return []
        have_all = expected is not None and expected <= set(self._held)
        if not have_all and max(self._counts.values()) < FIRST_VALUES:
            return []
        self._is_over = True
        return list(self._held.values())
