"""A step of UTC(k) by a signed order: it is reported to the BIPM with its size and day, and the account tells it apart
from steering.
"""

from dataclasses import replace

import pytest
from tests.laboratory.rigs import NS, Rig, scenario, start_of
from tests.laboratory.test_ordering import ordered

from truechimer.instants import builtin_leap_table
from truechimer.laboratory import submission, utc_account
from truechimer.quorum.applier import Applied

LEAPS = builtin_leap_table()
STEP_S = 3e-8


def test_an_ordered_step_stands_in_the_step_file_and_in_the_account_with_its_size() -> None:
    of = scenario()
    start = start_of(of)
    clocks = tuple(
        replace(clock, bipm_code=1_400_001 + k) if clock.kind.value == "maser" else clock
        for k, clock in enumerate(start.clocks)
    )
    rig = Rig.begin(of, start=replace(start, clocks=clocks, simulated=False)).history()
    rig.live(6)
    at_ns = rig.state.epoch_ns
    assert isinstance(ordered(rig, "steer-phase", "SIM(rig)", repr(STEP_S)), Applied)
    rig.live(6)
    offset_s = LEAPS.entries[-1].tai_minus_utc_s
    at_mjd = 40_587 + (at_ns - offset_s * NS) / (86_400 * NS)
    days = range(int(at_mjd) - 1, int(at_mjd) + 1)
    found = submission.prepare(rig.log, days, laboratory="10099", acronym="ABC", leaps=LEAPS)
    assert {each.clock for each in found.readings} == {f"{1_400_001 + k}" for k in range(4)}
    assert [each.clock for each in found.steps] == sorted({each.clock for each in found.readings})
    for step in found.steps:
        assert step.time_ns == pytest.approx(STEP_S * 1e9, abs=0.01)
        assert step.frequency_ns_per_day == 0.0
        assert step.mjd == pytest.approx(at_mjd, abs=0.011)
    told = utc_account.account(rig.log, leaps=LEAPS)
    assert {day.mjd: day.x_broken_s for day in told.days if day.x_broken_s} == {
        int(at_mjd): pytest.approx(STEP_S, abs=1e-11)
    }
    (day,) = (day for day in told.days if day.mjd == int(at_mjd))
    assert day.x_steered_s is not None
    assert abs(day.x_steered_s) < 0.5 * STEP_S, "the break is not taken for steering"
