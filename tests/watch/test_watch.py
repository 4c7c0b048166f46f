"""Monitors: what begins is said once, with a name, a figure and what to do; nothing is said while it merely lasts."""

from dataclasses import replace

import numpy as np
import pytest

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.clocks.clock import Clock, ClockKind
from truechimer.clocks.register import Register
from truechimer.compare.claims import SILENT
from truechimer.compare.closure import OpenLoop
from truechimer.compare.selection import Selection, SelectionState, Verdict
from truechimer.scale.state import Membership, ScaleStep
from truechimer.watch import expiry, integrity
from truechimer.watch.standing import Standing, said_once

NS = 10**9
DAY_NS = 86_400 * NS
EPOCH_NS = 1_800_000_000 * NS
REG = Register(tuple(Clock(name=name, kind=ClockKind.MASER) for name in ("H1", "H2", "H3")), (), ()).with_links(
    [("H2", "H1"), ("H3", "H1"), ("UTC.P", "H1"), ("UTC.Q", "H1")]
)
IN = int(Membership.IN)


def step(*membership: Membership, residual_s: float = 2e-8, divided: bool = False) -> ScaleStep:
    n = len(membership)
    return ScaleStep(
        EPOCH_NS,
        np.zeros(n),
        np.full(n, 1.0 / n),
        np.array([int(m) for m in membership], np.int64),
        np.full(n, residual_s),
        0.0,
        0.0,
        0.0,
        divided,
        due=True,
    )


def said(before: list[Membership], after: list[Membership], **more: object) -> list[tuple[AlertKind, str]]:
    given = np.array([int(m) for m in before], np.int64)
    alerts = integrity.check_step(given, step(*after, **more), REG, divided_before=False)
    return [(alert.kind, alert.subject) for alert in alerts]


@pytest.mark.parametrize(
    ("was", "now", "kind"),
    [
        (Membership.IN, Membership.SUSPECT, AlertKind.CLOCK_STEP),
        (Membership.SUSPECT, Membership.OUT_STEP, AlertKind.CLOCK_STEP),
        (Membership.IN, Membership.OUT_RATE, AlertKind.CLOCK_RATE),
        (Membership.SUSPECT, Membership.IN, AlertKind.CLOCK_RETURNED),
        (Membership.OUT_STEP, Membership.IN, AlertKind.CLOCK_RETURNED),
        (Membership.OUT_RATE, Membership.IN, AlertKind.CLOCK_RETURNED),
        (Membership.LEARNING, Membership.IN, None),
        (Membership.ABSENT, Membership.LEARNING, None),
        (Membership.IN, Membership.IN, None),
        (Membership.OUT_STEP, Membership.OUT_STEP, None),
    ],
)
def test_each_change_of_membership_is_said_once_under_its_kind(
    was: Membership, now: Membership, kind: AlertKind | None
) -> None:
    found = said([Membership.IN, was, Membership.IN], [Membership.IN, now, Membership.IN])
    assert found == ([] if kind is None else [(kind, "H2")])


def test_a_step_says_its_size_with_its_sign_and_a_rate_does_not_pretend_one() -> None:
    before = np.array([IN, IN, IN], np.int64)
    stepped = step(Membership.IN, Membership.SUSPECT, Membership.OUT_RATE, residual_s=-2e-8)
    one, other = integrity.check_step(before, stepped, REG, divided_before=False)
    assert "-2.000e-08 s" in one.says
    assert one.because == ("residual -2e-08 s",)
    assert "e-08" not in other.says
    assert (one.severity, other.severity) == (AlertSeverity.WARNING, AlertSeverity.CRITICAL)
    assert one.seen_at_tai_ns == EPOCH_NS


def test_a_divided_ensemble_is_said_when_it_begins() -> None:
    now = step(Membership.IN, Membership.IN, divided=True)
    assert [a.kind for a in integrity.check_step(now.membership, now, REG, divided_before=False)] == [
        AlertKind.CLASS_DIVIDED
    ]
    assert integrity.check_step(now.membership, now, REG, divided_before=True) == ()


def test_an_open_loop_is_said_when_it_opens_by_the_link_that_does_not_fit() -> None:
    loops = (OpenLoop(0, 3e-9, 1e-10), OpenLoop(1, -4e-9, 1e-10))
    found = integrity.check_loops(loops, frozenset({0}), REG, epoch_tai_ns=EPOCH_NS)
    assert [(a.kind, a.subject) for a in found] == [(AlertKind.CLOSURE, "H3-H1")]
    assert "-4.000e-09" in found[0].says
    assert integrity.check_loops(loops, frozenset({0, 1}), REG, epoch_tai_ns=EPOCH_NS) == ()


def heard(was: Verdict, now: Verdict) -> list[AlertKind]:
    before = (replace(SILENT, verdict=was, n=1), SILENT)
    after = (replace(SILENT, verdict=now, n=2, x_s=5e-6), SILENT)
    chosen = Selection(SelectionState.MAJORITY, (1,), (0,), surprise=False)
    alerts = integrity.check_sources(before, after, chosen, SelectionState.MAJORITY, REG, epoch_tai_ns=EPOCH_NS)
    assert all(a.subject == "UTC.P-H1" for a in alerts)
    return [a.kind for a in alerts]


@pytest.mark.parametrize(
    ("was", "now", "kinds"),
    [
        (Verdict.SELECTED, Verdict.OUTVOTED, [AlertKind.LINK_OUTVOTED]),
        (Verdict.NEVER, Verdict.OUTVOTED, [AlertKind.LINK_OUTVOTED]),
        (Verdict.STALE, Verdict.OUTVOTED, [AlertKind.LINK_OUTVOTED]),
        (Verdict.QUARANTINED, Verdict.OUTVOTED, []),
        (Verdict.OUTVOTED, Verdict.QUARANTINED, []),
        (Verdict.SELECTED, Verdict.STALE, [AlertKind.LINK_MISSING]),
        (Verdict.QUARANTINED, Verdict.STALE, []),
        (Verdict.QUARANTINED, Verdict.SELECTED, []),
        (Verdict.SELECTED, Verdict.SELECTED, []),
    ],
)
def test_each_change_of_a_verdict_is_said_where_it_matters(was: Verdict, now: Verdict, kinds: list[AlertKind]) -> None:
    assert heard(was, now) == kinds


@pytest.mark.parametrize(
    ("before", "now", "count"),
    [
        (SelectionState.MAJORITY, SelectionState.NO_MAJORITY, 1),
        (SelectionState.NO_SOURCE, SelectionState.NO_MAJORITY, 1),
        (SelectionState.NO_MAJORITY, SelectionState.NO_MAJORITY, 0),
        (SelectionState.NO_MAJORITY, SelectionState.MAJORITY, 0),
        (SelectionState.MAJORITY, SelectionState.NO_SOURCE, 0),
    ],
)
def test_a_lost_majority_is_said_when_it_is_lost(before: SelectionState, now: SelectionState, count: int) -> None:
    for surprise in (False, True):
        chosen = Selection(now, (), (), surprise=surprise)
        alerts = integrity.check_sources((), (), chosen, before, REG, epoch_tai_ns=EPOCH_NS)
        assert len(alerts) == count
        if alerts:
            assert ("own clocks" in alerts[0].says) is surprise
            assert alerts[0].kind is AlertKind.NO_MAJORITY


@pytest.mark.parametrize("of", [expiry.leap_table, expiry.envelope])
def test_an_expiry_warns_fourteen_days_before_and_is_said_when_it_is_there(of: object) -> None:
    until = EPOCH_NS
    conditions = {
        days: [c.holds for c in of(until, epoch_tai_ns=EPOCH_NS - round(days * DAY_NS))] for days in (15, 14, 1, 0, -1)
    }
    assert conditions == {
        15: [False, False],
        14: [True, False],
        1: [True, False],
        0: [False, True],
        -1: [False, True],
    }
    soon, gone = of(until, epoch_tai_ns=EPOCH_NS - 3 * DAY_NS)
    assert "3.0 days" in soon.alert().says
    assert (soon.alert().severity, gone.alert().severity) == (AlertSeverity.WARNING, AlertSeverity.CRITICAL)


def test_a_standing_condition_is_said_when_it_begins_and_again_only_after_it_has_ended() -> None:
    made: list[int] = []

    def condition(holds: bool) -> Standing:
        def alert() -> Alert:
            made.append(1)
            return Alert(AlertKind.ENVELOPE_EXPIRED, "x", "x", AlertSeverity.NOTICE, "", (), 0, "")

        return Standing("key", holds, alert)

    known: frozenset[str] = frozenset({"other"})
    counts = []
    for holds in (False, True, True, False, False, True, True):
        alerts, known = said_once(known, [condition(holds)])
        counts.append(len(alerts))
        assert ("key" in known) is holds
        assert "other" in known
    assert counts == [0, 1, 0, 0, 0, 1, 0]
    assert len(made) == 2, "an alert is made only where it is said"


@pytest.mark.parametrize(
    ("now", "kind", "severity"),
    [
        (Membership.DISPUTED, AlertKind.CLOCK_DISPUTED, AlertSeverity.WARNING),
        (Membership.DIVIDED, AlertKind.CLASS_DIVIDED, AlertSeverity.CRITICAL),
        (Membership.ALIKE, AlertKind.CLOCK_TOO_GOOD, AlertSeverity.WARNING),
    ],
)
def test_what_detection_says_of_a_clock_is_said_once_by_its_name_and_so_is_its_return(
    now: Membership, kind: AlertKind, severity: AlertSeverity
) -> None:
    before = np.array([IN, IN, IN])
    out = step(Membership.IN, now, Membership.IN)
    (alert,) = integrity.check_step(before, out, REG, divided_before=False)
    assert (alert.kind, alert.subject, alert.severity) == (kind, "H2", severity)
    assert alert.says.startswith("H2 is ")
    assert alert.says.endswith(("; out of the scale", "; the other kinds carry the scale"))
    assert alert.do_next
    assert integrity.check_step(out.membership, out, REG, divided_before=False) == ()
    back = step(Membership.IN, Membership.IN, Membership.IN)
    (returned,) = integrity.check_step(out.membership, back, REG, divided_before=False)
    assert (returned.kind, returned.subject) == (AlertKind.CLOCK_RETURNED, "H2")
