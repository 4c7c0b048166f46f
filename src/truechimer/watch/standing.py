"""Standing conditions: what holds for days (an expired table, an expiring envelope) is said once when it begins, not at every epoch.

It sees values and returns alerts; it keeps nothing: what was said is a value that the caller carries.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from truechimer.alerts import Alert


@dataclass(frozen=True, slots=True)
class Standing:
    """A condition and the alert that says it: `key` names it among all, `holds` now or not."""

    key: str
    holds: bool
    alert: Alert


def said_once(said: frozenset[str], conditions: Iterable[Standing]) -> tuple[tuple[Alert, ...], frozenset[str]]:
    """Return the alerts of conditions that began, and what has been said after this epoch."""
    alerts, after = [], set(said)
    for condition in conditions:
        if condition.holds and condition.key not in said:
            alerts.append(condition.alert)
            after.add(condition.key)
        elif not condition.holds:
            after.discard(condition.key)
    return tuple(alerts), said if not alerts and len(after) == len(said) else frozenset(after)
