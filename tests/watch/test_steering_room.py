"""Steering that is at a limit of its envelope is said once, while it still is inside."""

import pytest

from truechimer.alerts import AlertKind, AlertSeverity
from truechimer.quorum.envelope import Applied, SteeringLimits
from truechimer.watch import steering_room
from truechimer.watch.standing import said_once

LIMITS = SteeringLimits(
    per_change=1e-13,
    per_day_s=2e-9,
    total_s=60e-9,
    valid_from_ns=0,
    valid_until_ns=10**18,
    sequence=1,
    coordination_start=True,
)
DAILY_Y = LIMITS.per_day_s / 86_400.0


@pytest.mark.parametrize(
    ("y", "total_s", "said"),
    [
        (0.0, 0.0, None),
        (0.9 * DAILY_Y, 0.9 * LIMITS.total_s, None),
        (DAILY_Y * (1.0 - 1e-9), 0.0, "all that the envelope allows"),
        (-DAILY_Y * (1.0 - 1e-9), 0.0, "all that the envelope allows"),
        (0.0, -0.995 * LIMITS.total_s, "of the 6e-08 s that are allowed"),
        (DAILY_Y, LIMITS.total_s, "all that the envelope allows"),
    ],
)
def test_only_what_is_used_up_is_said(y: float, total_s: float, said: str | None) -> None:
    reference = 3e-13
    applied = Applied(reference + y, 5, reference, total_s)
    alerts, keys = said_once(frozenset(), [steering_room.at_limit(applied, LIMITS, epoch_tai_ns=7)])
    assert len(alerts) == len(keys) == (said is not None)
    for alert in alerts:
        assert said is not None
        assert said in alert.says
        assert (alert.kind, alert.severity) == (AlertKind.STEER_AT_LIMIT, AlertSeverity.WARNING)
    again, _ = said_once(keys, [steering_room.at_limit(applied, LIMITS, epoch_tai_ns=8)])
    assert again == ()
    _, ended = said_once(keys, [steering_room.at_limit(Applied(reference, 5, reference), LIMITS, epoch_tai_ns=9)])
    assert not ended
