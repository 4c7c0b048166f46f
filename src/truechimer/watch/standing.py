"""Standing conditions: what holds for days (an expired table, an expiring envelope) is said once when it begins, not at
every epoch.

It sees values and returns alerts; it keeps nothing: what was said is a value that the caller carries.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from truechimer.alerts import Alert


@dataclass(frozen=True, slots=True)
class Standing:
    """A condition and how to say it: `key` names it among all, `holds` now or not, `alert` makes the alert when it is
    wanted.
    """

    key: str
    holds: bool
    alert: Callable[[], Alert]


def said_once(said: frozenset[str], conditions: Sequence[Standing]) -> tuple[tuple[Alert, ...], frozenset[str]]:
    """Return the alerts of conditions that began, and what has been said after this epoch."""
    begun = [c for c in conditions if c.holds and c.key not in said]
    ended = [c.key for c in conditions if not c.holds and c.key in said]
    if not begun and not ended:
        return (), said
    return tuple(c.alert() for c in begun), said.difference(ended) | {c.key for c in begun}
