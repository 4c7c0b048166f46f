"""Which conditions hold now: said of the very subjects that the alerts named, and gone when they are gone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.laboratory.rigs import Rig, steered

from truechimer.alerts import AlertKind, AlertSeverity
from truechimer.compare.selection import SelectionState, Verdict
from truechimer.daemon.answering import firing
from truechimer.laboratory.state import LaboratoryState
from truechimer.scale.state import Membership
from truechimer.watch import expiry, silence

EPOCH_NS = 10**18


@pytest.fixture(scope="module")
def rig() -> Rig:
    return steered()


def held(state: LaboratoryState) -> dict[tuple[str, str], list[str]]:
    """Return the conditions that hold somewhere."""
    rows = firing.document(state)["conditions"]
    return {(row["alert"], row["severity"]): row["subjects"] for row in rows if row["subjects"]}


def with_membership(state: LaboratoryState, index: int, membership: Membership) -> LaboratoryState:
    changed = state.scale.membership.copy()
    changed[index] = int(membership)
    return replace(state, scale=replace(state.scale, membership=changed))


def test_nothing_holds_in_a_laboratory_that_is_well_and_every_condition_is_listed(rig: Rig) -> None:
    document = firing.document(rig.state)
    assert held(rig.state) == {}
    assert len(document["conditions"]) == len(set(firing.CONDITIONS)) == len(firing.CONDITIONS)


@pytest.mark.parametrize("membership", firing.MEMBERSHIPS)
def test_a_clock_that_is_out_is_named(rig: Rig, membership: Membership) -> None:
    kind, severity = firing.MEMBERSHIPS[membership]
    name = rig.state.register.clocks[1].name
    assert held(with_membership(rig.state, 1, membership)) == {(kind.value, severity.value): [name]}


@pytest.mark.parametrize("verdict", firing.VERDICTS)
def test_a_link_without_a_vote_is_named(rig: Rig, verdict: Verdict) -> None:
    state, (kind, severity) = rig.state, firing.VERDICTS[verdict]
    claims = (replace(state.claims[0], verdict=verdict, clean_ns=1), *state.claims[1:])
    name = state.register.link_name(state.register.outside[0].link)
    assert held(replace(state, claims=claims)) == {(kind.value, severity.value): [name]}


@pytest.mark.parametrize(
    ("key", "condition"),
    [
        ("receiver:UTC.P:utc-parameters:refused", (AlertKind.UTC_PARAMETERS, AlertSeverity.CRITICAL)),
        ("receiver:UTC.P:date:doubtful", (AlertKind.RECEIVER_DATE, AlertSeverity.WARNING)),
        ("receiver:UTC.P:position:refused", (AlertKind.LINK_REFUSED, AlertSeverity.CRITICAL)),
        ("receiver:UTC.P:jammed:refused", (AlertKind.LINK_REFUSED, AlertSeverity.WARNING)),
        ("receiver:UTC.P:gain:doubtful", (AlertKind.LINK_DOUBTED, AlertSeverity.WARNING)),
        ("receiver:UTC.P:silent", (AlertKind.RECEIVER_SILENT, AlertSeverity.WARNING)),
    ],
)
def test_what_stands_against_a_receiver_is_named_by_its_link(
    rig: Rig, key: str, condition: tuple[AlertKind, AlertSeverity]
) -> None:
    kind, severity = condition
    assert held(replace(rig.state, said=frozenset({key}))) == {(kind.value, severity.value): ["UTC.P"]}


def test_a_link_in_quarantine_that_contradicts_as_before_is_as_bad_as_before(rig: Rig) -> None:
    state, (kind, severity) = rig.state, firing.VERDICTS[Verdict.OUTVOTED]
    claims = (replace(state.claims[0], verdict=Verdict.QUARANTINED, clean_ns=0), *state.claims[1:])
    name = state.register.link_name(state.register.outside[0].link)
    assert held(replace(state, claims=claims)) == {(kind.value, severity.value): [name]}


def test_what_concerns_all_is_named_as_its_alert_names_it(rig: Rig) -> None:
    state = rig.state
    assert held(replace(state, divided=True)) == {("class-divided", "critical"): ["scale"]}
    assert held(replace(state, selection=SelectionState.NO_MAJORITY)) == {("no-majority", "critical"): ["sources"]}
    name = state.register.link_name(2)
    assert held(replace(state, open_loops=frozenset({2}))) == {("closure", "warning"): [name]}


def test_every_standing_condition_that_the_watch_can_say_is_known_with_its_own_alert(rig: Rig) -> None:
    day = expiry.DAY_NS
    for make in (expiry.leap_table, expiry.envelope):
        for until_ns in (EPOCH_NS + day, EPOCH_NS - day):
            (standing,) = [each for each in make(until_ns, epoch_tai_ns=EPOCH_NS) if each.holds]
            alert = standing.alert()
            assert held(replace(rig.state, said=frozenset({standing.key}))) == {
                (alert.kind.value, alert.severity.value): [alert.subject]
            }


def test_what_stands_still_is_known_with_its_own_alert(rig: Rig) -> None:
    found = silence.conditions(
        [0], [1], is_empty=True, said=frozenset(), register=rig.state.register, epoch_tai_ns=EPOCH_NS
    )
    assert len(found) == 3
    expected = {(each.alert().kind.value, each.alert().severity.value) for each in found}
    state = replace(rig.state, said=frozenset(each.key for each in found))
    assert set(held(state)) == expected
    assert held(state)["clock-missing", "warning"] == [rig.state.register.clocks[1].name]


def test_what_the_fold_does_not_see_is_added_from_the_blocks_of_the_status(rig: Rig) -> None:
    def firing_with(**blocks: object) -> dict[tuple[str, str], list[str]]:
        body: dict[str, Any] = {"firing": firing.document(rig.state), "store": {"state": "written"}} | blocks
        firing.add_outside_the_fold(body)
        rows: list[dict[str, Any]] = body["firing"]["conditions"]
        return {(row["alert"], row["severity"]): row["subjects"] for row in rows if row["subjects"]}

    assert firing_with() == {}
    assert firing_with(store={"state": "failing"}) == {("records-not-written", "critical"): ["records"]}
    assert firing_with(store={"state": "full"}) == {("records-not-written", "critical"): ["records"]}
    chrony = [{"name": "c1", "answers": False, "says": "x"}, {"name": "c2", "answers": True}]
    assert firing_with(chrony=chrony) == {("source-away", "warning"): ["c1"]}


def test_a_condition_of_a_later_version_is_passed_over(rig: Rig) -> None:
    assert held(replace(rig.state, said=frozenset({"something-new:x"}))) == {}


def test_conditions_are_alerts_and_events_are_none() -> None:
    kinds = {kind for kind, _ in firing.CONDITIONS}
    assert kinds <= set(AlertKind)
    assert not kinds & {AlertKind.STEER_REFUSED, AlertKind.READING_REJECTED, AlertKind.CLOCK_RETURNED}
    assert all(severity in set(AlertSeverity) for _, severity in firing.CONDITIONS)


def test_each_condition_stands_on_the_page_about_metrics() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "guide" / "metrics.md").read_text(encoding="utf-8")
    assert all(f"`{kind.value}`" in page for kind, _ in firing.CONDITIONS)


def test_membership_is_read_and_not_kept(rig: Rig) -> None:
    before = rig.state.scale.membership.copy()
    firing.document(rig.state)
    assert np.array_equal(before, rig.state.scale.membership)
