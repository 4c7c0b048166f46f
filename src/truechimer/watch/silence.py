"""Silence: clocks that give no reading, counters that repeat one value, and a scale that nobody feeds.

It sees values and returns standing conditions; excluding such a clock is the scale's own rule.
"""

from collections.abc import Callable

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.clocks.register import Register
from truechimer.watch.standing import Standing

FROZEN, MISSING, EMPTY = "frozen:", "missing:", "scale-empty"


def conditions(
    frozen_links: list[int],
    silent_clocks: list[int],
    *,
    is_empty: bool,
    said: frozenset[str],
    register: Register,
    epoch_tai_ns: int,
) -> tuple[Standing, ...]:
    """Return what stands still now, and (as not holding) what was said before and is over.

    `frozen_links`: link indices; `silent_clocks`: clock indices; `is_empty`: no member has given a reading for long.
    """
    now = {
        f"{FROZEN}{register.link_name(link)}": (
            AlertKind.CLOCK_FROZEN,
            register.name_of(register.links[link].a),
            f"the readings of {register.link_name(link)} repeat one value; they are not used",
            "look at the counter and its channel: a replayed or stuck reading looks like this",
        )
        for link in frozen_links
    }
    for clock in silent_clocks:
        name = register.clocks[clock].name
        says = f"{name} has given no reading for long; the scale goes on without it"
        now[f"{MISSING}{name}"] = (AlertKind.CLOCK_MISSING, name, says, "look at the clock, its cable and its counter")
    if is_empty:
        says = "no member of the scale gives readings; the scale coasts on its last rates"
        now[EMPTY] = (AlertKind.SCALE_EMPTY, "scale", says, "restore the comparison of the clocks; the bound grows")
    over = {key for key in said if key.startswith((FROZEN, MISSING, EMPTY))} - set(now)
    nothing = (AlertKind.CLOCK_RETURNED, "", "", "")
    return tuple(
        Standing(key, key in now, _maker(*now.get(key, nothing), epoch_tai_ns=epoch_tai_ns)) for key in (*now, *over)
    )


def _maker(kind: AlertKind, subject: str, says: str, do_next: str, *, epoch_tai_ns: int) -> Callable[[], Alert]:
    """Return what makes the alert when it is wanted."""
    severity = AlertSeverity.CRITICAL if kind is AlertKind.SCALE_EMPTY else AlertSeverity.WARNING
    component = "compare" if kind is AlertKind.CLOCK_FROZEN else "scale"
    return lambda: Alert(kind, component, subject, severity, says, (), epoch_tai_ns, do_next)
