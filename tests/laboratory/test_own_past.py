"""A link that leaves its own past alone has no vote in a laboratory in service, though it stays inside its claim."""

from dataclasses import replace

from tests.laboratory.rig import Lab
from tests.laboratory.test_receiving import laboratory, quiet, run

from truechimer.alerts import AlertKind
from truechimer.compare.selection import Verdict
from truechimer.laboratory import replay, snapshot

INSIDE_S = 9e-9
"""Less than what a link with a limit of 5 ns and a sigma of 1 ns claims not to exclude."""


def verdicts(lab: Lab) -> dict[str, Verdict]:
    register = lab.state.register
    return {
        register.references[link.reference].name: claim.verdict
        for link, claim in zip(register.outside, lab.state.claims, strict=True)
    }


def test_a_step_inside_a_link_s_own_claim_is_outvoted_by_its_past() -> None:
    outcome = run(laboratory(), (), false_s=INSIDE_S)
    told = [alert for alert in outcome.alerts if alert.kind is AlertKind.LINK_OUTVOTED]
    assert [alert.subject for alert in told] == ["UTC.P-H1"]
    assert {name for name, verdict in verdicts(outcome.lab).items() if verdict is not Verdict.SELECTED} == {"UTC.P"}


def test_without_its_past_such_a_link_is_believed_and_records_of_before_say_so() -> None:
    lab = laboratory()
    old = Lab(replace(lab.start, follows_links=False))
    outcome = run(old, (), false_s=INSIDE_S)
    assert not [alert for alert in outcome.alerts if alert.kind is AlertKind.LINK_OUTVOTED]
    assert b"follows_links" not in old.records[0]
    assert replay.replay(old.records).difference is None


def test_pasts_are_carried_through_replay_and_restart() -> None:
    lab = run(laboratory(), (), false_s=INSIDE_S).lab
    assert [one.out for one in lab.state.own_pasts.pasts].count(True) == 1
    again = replay.replay(lab.records)
    assert again.difference is None
    assert again.state is not None
    assert snapshot.is_same(again.state, lab.state)
    twin = lab.fork()
    twin.restart()
    assert twin.state.own_pasts == lab.state.own_pasts


def test_a_quiet_laboratory_follows_every_link_and_names_none() -> None:
    pasts = quiet().lab.state.own_pasts.pasts
    assert len(pasts) == len(quiet().lab.state.register.outside) > 2
    assert all(one.heard_s > 86_400.0 / 2 for one in pasts)
    assert not any(one.out for one in pasts)
