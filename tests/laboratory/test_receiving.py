"""A receiver's own word in the fold: its link's readings follow it, the others carry UTC(k) on, and it all replays."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tests.laboratory.rig import ANCHOR_TAI_NS, Lab, start_of, world

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.compare import receiver_epoch
from truechimer.compare.receiver_epoch import ReceiverEpoch
from truechimer.compare.receiver_quality import LinkLevel, Reason
from truechimer.compare.selection import Verdict
from truechimer.evidence.record import Chain, RecordRejected, canonical, read
from truechimer.formats import ubx
from truechimer.instants import builtin_leap_table
from truechimer.laboratory import line, receiver_records, receiving, replay, snapshot
from truechimer.laboratory.epoch_input import epoch_input
from truechimer.laboratory.receiving import Evidence, Receiver, Receiving
from truechimer.laboratory.replay import input_from
from truechimer.sim import WorldBatch, read_scenario
from truechimer.sim.receiver_stream import Disturbance
from truechimer.sim.receiver_stream import Receiver as SimulatedReceiver

SCENARIO = Path(__file__).parent.parent / "scenarios" / "000-a-quiet-laboratory.toml"
LEAPS = builtin_leap_table()
DAYS, INTERVAL_S = 2.0, 600.0
BEGIN_S = 1.5 * 86_400.0
PLACE = (48.0, 11.0, 500.0)
OUTSIDE = ("P", "Q", "S")


@cache
def batches() -> tuple[WorldBatch, ...]:
    """A quiet laboratory of masers and caesiums with three links outside."""
    text = SCENARIO.read_text(encoding="utf-8")
    for k, name in enumerate(OUTSIDE):
        if f'a = "UTC.{name}"' not in text:
            text += (
                f'\n[[link]]\na = "UTC.{name}"\nb = "H1"\nwhite_s = {1 + k}e-9\nlimit_s = 5e-9\noperator = "{name}"\n'
            )
    scenario, findings = read_scenario(text.encode())
    assert scenario is not None, findings
    scenario = replace(scenario, run=replace(scenario.run, days=DAYS, interval_s=INTERVAL_S), events=())
    return tuple(world(scenario).history())


def laboratory(*receivers: Receiver) -> Lab:
    scenario, _ = read_scenario(SCENARIO.read_bytes())
    assert scenario is not None
    names = tuple(sorted({n for one in batches()[5].readings for n in (one.a, one.b) if n.startswith("UTC.")}))
    pairs = tuple({(one.a, one.b): None for batch in batches() for one in batch.readings})
    start = start_of(scenario, pairs=pairs, operators=tuple((n, n) for n in names), receivers=receivers)
    return Lab(replace(start, interval_s=INTERVAL_S))


def surveyed(link: str = "UTC.P") -> Receiver:
    return Receiver(name="rx1", link=link, antenna_m=receiver_epoch.earth_fixed(*PLACE))


@cache
def said(*disturbances: Disturbance) -> tuple[ReceiverEpoch, ...]:
    """What the receiver says at each epoch of the laboratory, read from its bytes."""
    start_ns = ANCHOR_TAI_NS - round(DAYS * 86_400 * 1e9)
    rng = np.random.default_rng(4)
    simulated = SimulatedReceiver(rng, LEAPS, start_ns, INTERVAL_S, *PLACE, disturbances=disturbances)
    out: list[ReceiverEpoch] = []
    for sent in simulated.epochs(len(batches())):
        out += receiver_epoch.epochs(ubx.read(sent.data)[0], LEAPS)
    assert len(out) == len(batches())
    return tuple(out)


@dataclass
class Outcome:
    lab: Lab
    alerts: list[Alert]
    x_utck_minus_h1_s: list[float]


def run(lab: Lab, epochs: tuple[ReceiverEpoch, ...], *, false_s: float = 0.0, from_s: float = BEGIN_S) -> Outcome:
    """Feed history and evidence; from `from_s` on the readings of UTC.P are off by `false_s`."""
    out = Outcome(lab, [], [])
    for number, batch in enumerate(batches()):
        late = number * INTERVAL_S >= from_s
        readings = [
            replace(one, x_a_minus_b_s=one.x_a_minus_b_s + false_s) if late and one.a == "UTC.P" else one
            for one in batch.readings
        ]
        evidence = (Evidence(0, 0, epochs[number]),) if epochs else ()
        given = epoch_input(readings, lab.state.register, epoch_tai_ns=batch.epoch_tai_ns, evidence=evidence)
        lab.state, outcome = line.step(lab.state, given, lab.config)
        lab.records += [record.data for record in outcome.records]
        out.alerts += outcome.alerts
        assert outcome.coordination is not None or number * INTERVAL_S < BEGIN_S
        if outcome.coordination is not None:
            h1 = lab.state.register.node_index["H1"]
            x = outcome.coordination.at(batch.epoch_tai_ns) - float(outcome.step.x_clock_minus_scale_s[h1])
            out.x_utck_minus_h1_s.append(x)
    return out


@cache
def quiet() -> Outcome:
    return run(laboratory(surveyed()), said())


def of_receivers(outcome: Outcome) -> list[Alert]:
    kinds = {AlertKind.LINK_REFUSED, AlertKind.LINK_DOUBTED, AlertKind.UTC_PARAMETERS, AlertKind.RECEIVER_DATE}
    return [alert for alert in outcome.alerts if alert.kind in kinds | {AlertKind.RECEIVER_SILENT}]


def off_s(outcome: Outcome) -> float:
    """By how much UTC(k) was moved, at most, against the quiet run on the same noise."""
    return max(abs(a - b) for a, b in zip(outcome.x_utck_minus_h1_s, quiet().x_utck_minus_h1_s, strict=True))


def test_a_receiver_that_is_well_changes_nothing_and_says_nothing() -> None:
    assert not of_receivers(quiet())
    without = run(laboratory(), ())
    assert off_s(without) < 1e-12
    assert quiet().lab.state.receivers[0].level is LinkLevel.OK


@pytest.mark.parametrize(
    ("disturbance", "false_s", "kind", "severity"),
    [
        (Disturbance("utc-parameters", BEGIN_S, -1.37e-5), -1.37e-5, AlertKind.UTC_PARAMETERS, AlertSeverity.CRITICAL),
        (Disturbance("week-rollback", BEGIN_S), 0.0, AlertKind.RECEIVER_DATE, AlertSeverity.CRITICAL),
        (Disturbance("position", BEGIN_S, 500.0), 2e-8, AlertKind.LINK_REFUSED, AlertSeverity.CRITICAL),
        (Disturbance("jam", BEGIN_S, 15.0), 0.0, AlertKind.LINK_REFUSED, AlertSeverity.WARNING),
        (Disturbance("flag", BEGIN_S), 0.0, AlertKind.LINK_DOUBTED, AlertSeverity.WARNING),
    ],
    ids=["utc-parameters", "week-rollback", "position", "jam", "flag"],
)
def test_what_is_done_to_a_receiver_is_said_at_the_first_epoch_and_moves_nothing(
    disturbance: Disturbance, false_s: float, kind: AlertKind, severity: AlertSeverity
) -> None:
    outcome = run(laboratory(surveyed()), said(disturbance), false_s=false_s)
    told = [alert for alert in of_receivers(outcome) if alert.kind is kind]
    assert told, outcome.alerts
    assert (told[0].subject, told[0].severity) == ("UTC.P", severity)
    begin_ns = batches()[0].epoch_tai_ns + round(BEGIN_S * 1e9)
    assert 0 <= told[0].seen_at_tai_ns - begin_ns <= INTERVAL_S * 1e9
    assert off_s(outcome) < 2e-10
    assert not [alert for alert in of_receivers(outcome) if alert.seen_at_tai_ns < begin_ns]


def test_a_step_that_the_receiver_does_not_see_is_seen_against_the_scale() -> None:
    outcome = run(laboratory(surveyed()), said(), false_s=1e-6)
    told = of_receivers(outcome)
    assert told[0].kind is AlertKind.LINK_REFUSED
    assert "reason clock-drift" in told[0].because
    assert off_s(outcome) < 3e-10  # what one link of three is worth for half a day


def test_a_refused_link_has_no_vote_and_says_so() -> None:
    outcome = run(laboratory(surveyed()), said(Disturbance("week-rollback", BEGIN_S)))
    register = outcome.lab.state.register
    verdicts = {
        register.references[link.reference].name: claim.verdict
        for link, claim in zip(register.outside, outcome.lab.state.claims, strict=True)
    }
    assert verdicts["UTC.P"] is Verdict.REFUSED
    assert {verdict for name, verdict in verdicts.items() if name != "UTC.P"} == {Verdict.SELECTED}


def test_the_evidence_stands_in_the_log_and_replays_bit_for_bit() -> None:
    outcome = run(laboratory(surveyed()), said(Disturbance("utc-parameters", BEGIN_S, -1.37e-5, BEGIN_S + 7_200.0)))
    log = outcome.lab.records
    again = replay.replay(log)
    assert again.difference is None
    assert again.state is not None
    assert snapshot.is_same(again.state, outcome.lab.state)
    assert any(b'"kind":"link-quality"' in record and b"utc-parameters" in record for record in log)
    chain = Chain()
    for data in log:
        body, chain = read(data, chain)
        assert canonical(body) == data
    # evidence that was edited in the log is the first record that does not follow
    last = next(i for i in reversed(range(len(log))) if b'"kind":"readings"' in log[i])
    edited = [*log[:last], log[last].replace(b'"used":', b'"used":1'), *log[last + 1 :]]
    assert replay.replay(edited).difference is not None


def test_a_restart_keeps_what_was_known_of_a_receiver() -> None:
    outcome = run(laboratory(surveyed()), said(Disturbance("week-rollback", BEGIN_S)))
    lab = outcome.lab.fork()
    lab.restart()
    assert lab.state.receivers == outcome.lab.state.receivers
    lab.restart(replace(lab.start, receivers=()))
    assert lab.state.receivers == ()


def test_a_survey_that_changed_counts_from_now_on_and_the_rest_is_kept() -> None:
    before = quiet().lab.state.receivers
    moved = replace(surveyed(), antenna_m=receiver_epoch.earth_fixed(48.1, 11.0, 500.0))
    (after,) = receiving.fitted(before, (moved,))
    assert after.judge.antenna_m == moved.antenna_m
    assert after.changes == before[0].changes
    (learning,) = receiving.fitted(before, (replace(surveyed(), antenna_m=None),))
    assert learning.judge.antenna_m is None
    assert not learning.judge.surveyed


@pytest.mark.parametrize(
    ("at_s", "span_s", "level"),
    [
        (50.0, 0.0, LinkLevel.DOUBTFUL),  # before the first word
        (150.0, 0.0, LinkLevel.OK),
        (250.0, 0.0, LinkLevel.REFUSED),
        (190.0, 40.0, LinkLevel.REFUSED),  # its average reaches into the refusal
        (350.0, 0.0, LinkLevel.OK),
        (400.0 + 901.0, 0.0, LinkLevel.DOUBTFUL),  # silence
    ],
)
def test_a_reading_is_judged_by_its_own_moment(at_s: float, span_s: float, level: LinkLevel) -> None:
    changes = ((100 * 10**9, 0), (200 * 10**9, 2), (300 * 10**9, 0))
    known = Receiving("rx1", quiet().lab.state.receivers[0].judge, changes, last_ns=400 * 10**9)
    assert list(LinkLevel)[receiving.worst_of(known, round(at_s * 1e9), span_s=span_s)] is level


def test_silence_after_a_refusal_stays_a_refusal() -> None:
    known = Receiving("rx1", quiet().lab.state.receivers[0].judge, ((100 * 10**9, 2),), last_ns=100 * 10**9)
    assert list(LinkLevel)[receiving.worst_of(known, 5_000 * 10**9, span_s=0.0)] is LinkLevel.REFUSED


def test_a_date_in_the_far_future_moves_no_epoch_of_the_laboratory() -> None:
    epochs = tuple(replace(one, epoch_tai_ns=one.epoch_tai_ns + 20 * 86_400 * 10**9) for one in said())
    outcome = run(laboratory(surveyed()), epochs)
    assert outcome.lab.state.receivers[0].last_ns <= batches()[-1].epoch_tai_ns


def test_a_recorded_receiver_that_is_none_is_refused_with_its_place() -> None:
    body = receiver_records.evidence_body(Evidence(0, 5, said()[3]))
    assert receiver_records.evidence_from(body, 1) == Evidence(0, 5, said()[3])
    record = {"epoch_tai_ns": "1", "x_a_minus_b_s": [], "u_s": [], "seq": 7, "evidence": [{**body, "receiver": 1}]}
    with pytest.raises(RecordRejected, match="no receiver of this run"):
        input_from(record, 0, 1)
    for broken in ({**body, "position_m": ["1.0 m"]}, {**body, "agc": "x"}, {**body, "epoch_tai_ns": None}, 5):
        with pytest.raises(RecordRejected):
            input_from({**record, "evidence": [broken]}, 0, 2)


def test_a_receiver_of_a_run_start_comes_back_as_it_was() -> None:
    one = surveyed()
    assert receiver_records.receiver_from(receiver_records.receiver_body(one)) == one
    other = replace(
        one, antenna_m=None, on_laboratory_clock=True, span_s=780.0, limits=replace(one.limits, date_s=60.0)
    )
    assert receiver_records.receiver_from(receiver_records.receiver_body(other)) == other
    with pytest.raises(ValueError, match="no limit"):
        receiver_records.receiver_from({**receiver_records.receiver_body(one), "limits": {"odd": "1.0 s"}})


def test_every_reason_has_a_sentence_of_its_own() -> None:
    from truechimer.watch import receivers

    assert {reason for reason in Reason if reason not in receivers._SAYS} == set()
