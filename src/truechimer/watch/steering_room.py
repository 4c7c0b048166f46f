"""Steering room: how much of what the signed envelope allows is used up; the operator hears it while there is time for
a new one.

It decides nothing: the steering law keeps inside the envelope by itself, and what it cannot do then is what this says.
"""

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.quorum.envelope import Applied, SteeringLimits
from truechimer.watch.standing import Standing

AT_LIMIT = "steer-at-limit"
DAILY_SHARE = 0.999
"""Of the rate that a day's limit allows; the law goes up to all of it, but for rounding."""
TOTAL_SHARE = 0.99
"""Of the movement allowed in all; each order takes a part of what is left, so the law never gets quite there."""

_DO_NEXT = (
    "find out why the scale runs so far from UTC (`truechimer status`); where it is right, have a wider envelope signed"
)


def at_limit(applied: Applied, limits: SteeringLimits, *, epoch_tai_ns: int, share: float = TOTAL_SHARE) -> Standing:
    """Return the standing condition that steering is at what a day allows, or has moved `share` of all that is."""
    day_s = abs(applied.y - applied.reference_y) * 86_400.0
    is_daily = day_s >= DAILY_SHARE * limits.per_day_s

    def alert() -> Alert:
        says = f"steering has moved {applied.total_s:+.3g} s of the {limits.total_s:.3g} s that are allowed"
        if is_daily:
            says = f"steering moves {day_s:.3g} s a day, all that the envelope allows; more is asked for"
        return Alert(
            AlertKind.STEER_AT_LIMIT, "steer", "steering", AlertSeverity.WARNING, says, (), epoch_tai_ns, _DO_NEXT
        )

    return Standing(AT_LIMIT, is_daily or abs(applied.total_s) >= share * limits.total_s, alert)
