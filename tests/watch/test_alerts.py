"""Alerts are values: frozen, comparable, with stable names that others may expect."""

from dataclasses import FrozenInstanceError

import pytest

from truechimer.alerts import Alert, AlertKind, AlertSeverity

STABLE = {
    "clock-step",
    "clock-rate",
    "clock-frozen",
    "clock-missing",
    "clock-returned",
    "class-divided",
    "closure",
    "link-outvoted",
    "link-missing",
    "no-majority",
    "steer-refused",
    "envelope-expiring",
    "envelope-expired",
    "bound-exceeded",
    "leap-table-expiring",
    "leap-table-expired",
    "reading-rejected",
    "host-clock-step",
    "scale-empty",
    "scale-off-utc",
    "host-oscillator",
    "state-changed",
}


def test_no_name_that_others_expect_has_gone_or_changed() -> None:
    assert {kind.value for kind in AlertKind} >= STABLE


def test_severities_are_three() -> None:
    assert [severity.value for severity in AlertSeverity] == ["critical", "warning", "notice"]


def test_an_alert_cannot_be_changed_after_it_was_said() -> None:
    alert = Alert(AlertKind.CLOSURE, "compare", "A-B", AlertSeverity.WARNING, "says", ("x",), 1, "do")
    with pytest.raises(FrozenInstanceError):
        alert.says = "nothing"  # type: ignore[misc]
    assert alert == Alert(AlertKind.CLOSURE, "compare", "A-B", AlertSeverity.WARNING, "says", ("x",), 1, "do")
