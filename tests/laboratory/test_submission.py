"""Submission: what goes to the BIPM follows from the journal, agrees with what was read, and is not sent in doubt."""

from dataclasses import replace
from functools import cache

import pytest
from tests.laboratory import rig

from truechimer.formats import clock_data
from truechimer.formats.clock_data import ClockReading
from truechimer.instants import builtin_leap_table
from truechimer.laboratory.publications import PublishedSettings
from truechimer.laboratory.submission import Submission, SubmissionRejected, prepare
from truechimer.sim import demo_scenario

LEAPS = builtin_leap_table()
LAST_MJD = 40_587 + (rig.ANCHOR_TAI_NS - 37 * rig.NS) // rig.DAY_NS
DAYS = range(LAST_MJD - 3, LAST_MJD + 1)


@cache
def journal(*, simulated: bool = False) -> tuple[tuple[bytes, ...], dict[str, str]]:
    """Return the records of four days, and the codes of the clocks; the last clock has none."""
    scenario = rig.of_days(demo_scenario(), 4.0)
    start = rig.start_of(scenario, simulated=simulated)
    clocks = tuple(
        replace(clock, bipm_code=1_400_001 + k)
        if clock.kind.value != "host" and k != len(scenario.clocks) - 1
        else clock
        for k, clock in enumerate(start.clocks)
    )
    lab = rig.Lab(rig.start_of(scenario, clocks=clocks, simulated=simulated))
    lab.history(rig.world(scenario))
    return tuple(lab.records), {clock.name: f"{clock.bipm_code:07d}" for clock in clocks if clock.bipm_code is not None}


def prepared(log: tuple[bytes, ...]) -> Submission:
    return prepare(log, list(DAYS), laboratory="10099", acronym="ABC", leaps=LEAPS)


def test_utck_minus_clock_stands_at_midnight_and_differences_of_clocks_are_those_that_were_read() -> None:
    log, codes = journal()
    found = prepared(log)
    by_day: dict[int, dict[str, ClockReading]] = {}
    for each in found.readings:
        by_day.setdefault(each.mjd, {})[each.clock] = each
    assert len(by_day) >= 2
    assert found.missing == tuple(mjd for mjd in DAYS if mjd not in by_day)
    world = rig.world(rig.of_days(demo_scenario(), 4.0))
    raw_of = {batch.epoch_tai_ns: batch for batch in world.history()}
    for mjd, here in by_day.items():
        assert set(here) == set(codes.values())
        midnight = (mjd - 40_587) * rig.DAY_NS + 37 * rig.NS
        near = min(raw_of, key=lambda epoch: abs(epoch - midnight))
        for one in raw_of[near].readings:
            if one.a in codes and one.b in codes:
                # (UTC(k) - b) - (UTC(k) - a) = a - b; readings of the nearest epoch, some minutes away
                sent = here[codes[one.b]].utck_minus_clock_ns - here[codes[one.a]].utck_minus_clock_ns
                assert sent == pytest.approx(one.x_a_minus_b_s * 1e9, abs=1.0)


def test_a_clock_without_a_code_is_named_and_left_out() -> None:
    log, codes = journal()
    found = prepared(log)
    names = {each.clock for each in found.left_out if each.mjd is None}
    assert len(names & {clock.name for clock in demo_scenario().clocks}) == 1
    assert not names & set(codes)


def test_what_is_sent_is_written_in_the_columns_and_read_again() -> None:
    readings = prepared(journal()[0]).readings
    again, findings = clock_data.read(clock_data.write(readings))
    assert findings == []
    assert [(each.mjd, each.clock, each.utck_minus_clock_ns) for each in again] == [
        (each.mjd, each.clock, each.utck_minus_clock_ns) for each in readings
    ]


def test_nothing_is_sent_of_a_simulated_utc_or_of_a_journal_that_does_not_replay() -> None:
    with pytest.raises(SubmissionRejected, match="simulated"):
        prepared(journal(simulated=True)[0])
    log = list(journal()[0])
    at = next(k for k, data in enumerate(log) if b'"scale-step"' in data)
    log[at] = log[at].replace(b"e-", b"e-1", 1)
    with pytest.raises(SubmissionRejected, match="does not replay"):
        prepared(tuple(log))
    with pytest.raises(SubmissionRejected, match="nothing to send"):
        prepared(tuple(journal()[0][:1]))


def test_nothing_is_sent_under_the_name_of_another_laboratory_than_that_whose_values_the_journal_took() -> None:
    scenario = rig.of_days(demo_scenario(), 0.1)
    lab = rig.Lab(rig.start_of(scenario, simulated=False, published=PublishedSettings(laboratory="abc", steers=False)))
    lab.history(rig.world(scenario))
    found = prepared(tuple(lab.records))
    assert (found.named, found.is_known) == ("test", True)
    with pytest.raises(SubmissionRejected, match="published values of abc"):
        prepare(lab.records, list(DAYS), laboratory="10099", acronym="XYZ", leaps=LEAPS)
