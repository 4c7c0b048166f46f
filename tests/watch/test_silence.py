"""Frozen links, silent clocks and an unfed scale are said once, when they begin."""

import dataclasses

import numpy as np
from tests.laboratory import rig

from truechimer.alerts import AlertKind
from truechimer.clocks.clock import Clock, ClockKind
from truechimer.clocks.register import Register
from truechimer.sim.demo_scenario import demo_scenario
from truechimer.watch import silence
from truechimer.watch.standing import said_once

CLOCKS = tuple(Clock(name=name, kind=ClockKind.CAESIUM) for name in ("C1", "C2", "C3"))
REGISTER = Register(CLOCKS, (), ()).with_links([("C2", "C1"), ("C3", "C1")])


def _said(said: frozenset[str], frozen: list[int], silent: list[int], *, is_empty: bool = False):
    conditions = silence.conditions(
        frozen, silent, is_empty=is_empty, said=said, register=REGISTER, epoch_tai_ns=1_000_000_000
    )
    return said_once(said, conditions)


def test_a_frozen_link_is_said_when_it_begins_and_again_when_it_begins_again() -> None:
    alerts, said = _said(frozenset(), [1], [])
    assert [(alert.kind, alert.subject) for alert in alerts] == [(AlertKind.CLOCK_FROZEN, "C3")]
    again, said = _said(said, [1], [])
    assert again == ()
    ended, said = _said(said, [], [])
    assert ended == ()
    assert said == frozenset()
    assert len(_said(said, [1], [])[0]) == 1


def test_a_silent_clock_and_an_unfed_scale_are_named() -> None:
    alerts, _ = _said(frozenset(), [], [0], is_empty=True)
    assert {(alert.kind, alert.subject) for alert in alerts} == {
        (AlertKind.CLOCK_MISSING, "C1"),
        (AlertKind.SCALE_EMPTY, "scale"),
    }


def test_a_clock_whose_counter_sticks_is_named_and_its_readings_are_not_used() -> None:
    scenario = rig.of_days(demo_scenario(), 2.0)
    world, lab = rig.world(scenario), rig.Lab(rig.start_of(scenario))
    stuck = None
    kinds = []
    for number, batch in enumerate(world.history()):
        readings = []
        for reading in batch.readings:
            if reading.a == "C2" and number >= 200:
                stuck = reading.x_a_minus_b_s if stuck is None else stuck
                reading = dataclasses.replace(reading, x_a_minus_b_s=stuck)
            readings.append(reading)
        outcome = lab.take(dataclasses.replace(batch, readings=tuple(readings)))
        kinds += [(alert.kind, alert.subject, number) for alert in outcome.alerts]
    frozen = [(subject, number) for kind, subject, number in kinds if kind is AlertKind.CLOCK_FROZEN]
    assert [subject for subject, _ in frozen] == ["C2"]
    # counters that resolve 10 ps repeat one value in twenty by themselves: seven in a row are one in 1e9
    assert frozen[0][1] - 200 <= 8
    index = lab.state.register.node_index["C2"]
    assert outcome.step.weight[index] == 0.0
    assert np.isfinite(outcome.step.x_clock_minus_scale_s[index])


def test_clean_clocks_are_never_called_frozen_or_missing() -> None:
    scenario = rig.of_days(demo_scenario(), 5.0)
    world, lab = rig.world(scenario), rig.Lab(rig.start_of(scenario))
    quiet = {AlertKind.CLOCK_FROZEN, AlertKind.CLOCK_MISSING, AlertKind.SCALE_EMPTY}
    assert not [alert for batch in world.history() for alert in lab.take(batch).alerts if alert.kind in quiet]
