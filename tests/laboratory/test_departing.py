"""A rapid UTC in a laboratory in service: the alert says by how much the scale departs, also where the values come a
week at a time and days late; restarts, snapshots and replays give the same bits.
"""

import json
from dataclasses import replace
from functools import cache

import numpy as np
from tests.laboratory.rig import ANCHOR_TAI_NS, DAY_NS, Lab, start_of

from truechimer.alerts import Alert, AlertKind, AlertSeverity
from truechimer.clocks.clock import Clock, ClockKind
from truechimer.compare.reading import Reading
from truechimer.laboratory import departing, line, replay, snapshot
from truechimer.laboratory.epoch_input import epoch_input
from truechimer.laboratory.replay import input_from
from truechimer.laboratory.snapshot import Mark, Roots
from truechimer.sim import read_scenario

HOUR_NS = 3_600 * 10**9
STEP_H, DAYS, GOES_AT, NS = 6, 90, 55, 1e-9
NAMES = ("m1", "m2", "m3")
BEGIN_NS = ANCHOR_TAI_NS - 200 * DAY_NS
SCENARIO = """
[run]
days = 1
interval_s = 21600
[[clock]]
name = "m1"
kind = "maser"
[[clock]]
name = "m2"
kind = "maser"
[[clock]]
name = "m3"
kind = "maser"
[[link]]
a = "m2"
b = "m1"
[[link]]
a = "m3"
b = "m1"
[[link]]
a = "UTCr"
b = "m1"
"""


def x_true_s() -> np.ndarray:
    """Three masers, every six hours; from day 55 on all of them fall behind by 0.6 ns a day, as one ensemble would."""
    rng = np.random.default_rng(2)
    steps = rng.normal(size=(DAYS * 24 // STEP_H, 3)) * 1e-13 * np.sqrt(STEP_H * 3_600.0)
    day = np.arange(len(steps))[:, None] * STEP_H / 24.0
    return np.cumsum(steps, axis=0) - 0.6 * NS * np.maximum(day - GOES_AT, 0.0)


def readings_of(*, weekly: bool, jump: int = -1) -> list[list[Reading]]:
    """By epoch: the clocks, and UTCr of 0 h each day at once, or a week of them three days after its last."""
    x, waiting, epochs = x_true_s(), list[Reading](), []
    noise = np.random.default_rng(3).normal(size=DAYS) * 0.3 * NS
    for k in range(len(x)):
        at_ns = BEGIN_NS + k * STEP_H * HOUR_NS
        here = [
            Reading(epoch_tai_ns=at_ns, a=NAMES[i], b="m1", x_a_minus_b_s=float(x[k, i] - x[k, 0]), u_s=1e-12)
            for i in (1, 2)
        ]
        day, hour = divmod(k * STEP_H, 24)
        if hour == 0:
            off = 1e-6 if day == jump else 0.0
            value = -float(x[k, 0]) + float(noise[day]) + off
            waiting.append(
                Reading(epoch_tai_ns=at_ns, a="UTCr", b="m1", x_a_minus_b_s=value, u_s=0.3 * NS, limit_s=1e-8)
            )
        known = len(waiting) if not weekly else max(0, (day - 9) // 7 * 7 + 7 - (day + 1 - len(waiting)))
        here += waiting[:known]
        del waiting[:known]
        epochs.append(here)
    return epochs


def lab(algorithm: str = "bands") -> Lab:
    scenario, findings = read_scenario(SCENARIO.encode())
    assert scenario is not None, findings
    start = start_of(scenario, with_host=False, algorithm=algorithm)
    return Lab(replace(start, clocks=tuple(Clock(name=name, kind=ClockKind.MASER) for name in NAMES)))


def fed(of: Lab, epochs: list[list[Reading]], first: int = 0) -> list[tuple[int, Alert]]:
    """Feed readings; return the alerts of departures with the number of their epoch."""
    said = []
    for k, readings in enumerate(epochs, start=first):
        given = epoch_input(readings, of.state.register, epoch_tai_ns=BEGIN_NS + k * STEP_H * HOUR_NS)
        of.state, outcome = line.step(of.state, given, of.config)
        of.records += [record.data for record in outcome.records]
        said += [(k, one) for one in outcome.alerts if one.kind in {AlertKind.SCALE_DEPARTS, AlertKind.REFERENCE_OFF}]
    return said


@cache
def whole_weeks() -> tuple[Lab, list[tuple[int, Alert]]]:
    """A laboratory that has heard all, a week at a time; and what it said."""
    one = lab()
    return one, fed(one, readings_of(weekly=True))


def test_the_alert_says_by_how_much_and_how_sure_at_once_or_when_the_week_has_come() -> None:
    at = {}
    for weekly in (False, True):
        # with an algorithm that learns no noise, too
        k, first = whole_weeks()[1][0] if weekly else fed(lab("at1"), readings_of(weekly=False))[0]
        assert first.kind is AlertKind.SCALE_DEPARTS
        assert first.severity in {AlertSeverity.NOTICE, AlertSeverity.WARNING}
        assert "the scale departs from UTCr-m1 by -" in first.says
        assert -6e-9 < float(first.says.split(" by ")[1].split(" s ")[0]) < -3e-9
        assert "one sigma of the measurement" in first.because[0]
        at[weekly] = k * STEP_H / 24.0
    assert GOES_AT + 5 < at[False] < GOES_AT + 12
    assert 3 <= at[True] - at[False] <= 10


def test_a_jump_of_a_microsecond_is_said_and_moves_nothing() -> None:
    said = fed(lab(), readings_of(weekly=True, jump=40))
    assert said[0][1].kind is AlertKind.REFERENCE_OFF
    assert "off its own past" in said[0][1].says
    (at, clean), (then, struck) = whole_weeks()[1][0], said[1]
    assert abs(at - then) <= 7 * 24 // STEP_H  # a value less in the line: at most the next week's
    sizes = [float(one.says.split(" by ")[1].split(" s ")[0]) for one in (clean, struck)]
    assert all(-5e-9 < size < -3e-9 for size in sizes)


def test_what_came_late_stands_in_the_records_and_gives_the_same_bits_again() -> None:
    epochs = readings_of(weekly=True)
    whole, said = whole_weeks()
    bodies = [json.loads(data) for data in whole.records]
    late = [body for body in bodies if body["kind"] == "readings" and "late" in body]
    assert {len(body["late"]) for body in late} == {7}
    again = input_from(late[0], 3)
    assert [one.epoch_tai_ns for one in again.late] == sorted(one.epoch_tai_ns for one in again.late)
    assert replay.replay(whole.records).difference is None
    # stopped in the middle of a week, snapshot and restart: the alerts are the same
    half = lab()
    begun = fed(half, epochs[:250])
    assert half.state.departing is not None
    kept = snapshot.read(snapshot.encode(half.state, Roots(Mark.of(0, half.records[0]))))
    _, _, restored = snapshot.restore(kept, half.records.__getitem__)
    assert snapshot.is_same(restored, half.state)
    half.state = restored
    half.restart()
    begun += fed(half, epochs[250:], first=250)
    assert [alert for _, alert in begun] == [alert for _, alert in said]


def test_a_value_alone_between_two_steps_of_the_scale_is_held_against_the_scale_of_its_epoch() -> None:
    one = lab()
    epochs = readings_of(weekly=False)[: 30 * 4]
    fed(one, epochs)
    assert one.state.departing is not None
    kept = one.state.departing.witnesses[0]
    at_ns = one.state.epoch_ns - 5 * 3_600 * 10**9
    late = Reading(epoch_tai_ns=at_ns, a="UTCr", b="m1", x_a_minus_b_s=float(-x_true_s()[118, 0]), u_s=0.3 * NS)
    given = epoch_input((late,), one.state.register, epoch_tai_ns=one.state.epoch_ns + 1)
    after, _ = line.step(one.state, given, one.config)
    assert after.departing is not None
    witness = after.departing.witnesses[0]
    assert int(witness.epoch_ns[-1]) > int(kept.epoch_ns[-1])
    assert abs(float(witness.x_s[-1]) - float(np.median(kept.x_s[-7:]))) < 3 * NS


def test_a_clock_that_is_added_leaves_the_memory_whole_and_another_late_value_is_no_crash() -> None:
    one = departing.begin(2)
    assert departing.grown(None, 3) is None
    wider = departing.grown(one, 3)
    assert wider is not None
    assert wider.past_x_s.shape == (0, 3)
    assert departing.grown(wider, 3) is wider
