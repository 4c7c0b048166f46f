"""Events: each does what it says to what it names, and to nothing else; the clean pair never notices."""

import numpy as np
import pytest
from tests.sim.worlds import ANCHOR_RAW_NS, ANCHOR_TAI_NS, NS, event, live, moved, scenario, value, world

from truechimer.errors import Misuse
from truechimer.sim import Event, What

START_S = 36_000.0


def seconds(batch: object) -> float:
    """Since the first epoch of the run."""
    return (batch.epoch_tai_ns - (ANCHOR_TAI_NS - 86_400 * NS)) * 1e-9


@pytest.mark.parametrize(
    ("what", "more", "offset"),
    [
        (What.PHASE_STEP, {"magnitude": 2e-8}, lambda t: 2e-8),
        (What.PHASE_STEP, {"magnitude": 2e-8, "duration_s": 6000.0}, lambda t: 2e-8 if t < 6000.0 else 0.0),
        (What.FREQUENCY_STEP, {"magnitude": 1e-13}, lambda t: 1e-13 * t),
        (What.FREQUENCY_STEP, {"magnitude": 1e-13, "duration_s": 6000.0}, lambda t: 1e-13 * min(t, 6000.0)),
        (What.RAMP, {"magnitude": 5e-9}, lambda t: 5e-9 * t),
        (What.RAMP, {"magnitude": -5e-9, "duration_s": 600.0}, lambda t: -5e-9 * min(t, 600.0)),
        (What.DRIFT_STEP, {"magnitude": 2e-13}, lambda t: 2e-13 / 86_400 * t * t / 2),
        (
            What.DRIFT_STEP,
            {"magnitude": 2e-13, "duration_s": 6000.0},
            lambda t: 2e-13 / 86_400 * (t * t / 2 if t < 6000 else 6000.0 * (t - 3000.0)),
        ),
    ],
)
@pytest.mark.parametrize("target", ["B", "B-A", "A", "UTC.P"])
def test_a_movement_adds_its_offset_from_its_start_on(what: What, more: dict, offset: object, target: str) -> None:
    on_clock = target in ("A", "B")
    clean_truth = [batch.x_clock_minus_utc_s for batch in world().history()]
    for k, batch in enumerate(world(scenario(event(what, target, **more))).history()):
        since = seconds(batch) - START_S
        want = offset(since) if since >= 0 else 0.0
        # a link shows the clock at its first end with its sign, the one at its second end against it
        expected = {"B": {"B": want}, "B-A": {"B": want}, "UTC.P": {"UTC.P": want}}.get(
            target, {"B": -want, "C": -want, "UTC.P": -want}
        )
        for name in ("B", "C", "UTC.P"):
            assert moved(batch, name) == pytest.approx(expected.get(name, 0.0), abs=1e-20, rel=1e-9)
        truth = batch.x_clock_minus_utc_s - clean_truth[k]
        moved_clock = {"A": 0, "B": 1}.get(target) if on_clock else None
        for column in range(3):
            assert truth[column] == pytest.approx(want if column == moved_clock else 0.0, abs=1e-20, rel=1e-9)


def test_the_clean_pair_is_the_run_without_events() -> None:
    events = [
        event(What.PHASE_STEP, "B", magnitude=1e-8),
        event(What.GAP, "C", duration_s=7200.0),
        event(What.FREEZE, "UTC.P", at_s=50_000.0, duration_s=5000.0),
    ]
    for attacked, alone in zip(world(scenario(*events)).history(), world().history(), strict=True):
        assert attacked.clean == alone.readings
        assert (attacked.clean is attacked.readings) == (seconds(attacked) < START_S)


def test_a_frozen_clock_repeats_its_last_readings_until_it_thaws() -> None:
    batches = list(world(scenario(event(What.FREEZE, "C", duration_s=12_000.0))).history())
    before = [b for b in batches if seconds(b) < START_S][-1]
    during = [b for b in batches if START_S <= seconds(b) < START_S + 12_000.0]
    after = [b for b in batches if seconds(b) >= START_S + 12_000.0]
    assert len(during) == 20
    assert all(value(b, "C") == value(before, "C") for b in during)
    assert all(value(b, "B") == value(b, "B", clean=True) for b in during)
    assert all(value(b, "C") == value(b, "C", clean=True) for b in after)
    # the clock itself ran on: only what is read of it stood still
    assert during[0].x_clock_minus_utc_s[2] != during[-1].x_clock_minus_utc_s[2]


def test_a_replay_repeats_the_readings_of_its_magnitude_before() -> None:
    batches = list(world(scenario(event(What.REPLAY, "B-A", magnitude=14_400.0, duration_s=14_400.0))).history())
    by_time = {round(seconds(b)): b for b in batches}
    for t, batch in by_time.items():
        if START_S <= t < START_S + 14_400:
            assert value(batch, "B") == value(by_time[t - 14_400], "B")
            assert value(batch, "C") == value(batch, "C", clean=True)
        else:
            assert value(batch, "B") == value(batch, "B", clean=True)


def test_a_replay_from_before_the_first_reading_shows_nothing() -> None:
    batches = list(world(scenario(event(What.REPLAY, "B", at_s=6000.0, magnitude=9000.0))).history())
    assert value(batches[10], "B") is None
    assert value(batches[15], "B") == value(batches[0], "B")


def test_a_removed_clock_is_silent_until_it_returns_with_another_phase() -> None:
    events = [event(What.REMOVE, "B"), event(What.RETURN, "B", at_s=60_000.0, magnitude=3e-8)]
    for batch in world(scenario(*events)).history():
        if START_S <= seconds(batch) < 60_000.0:
            assert value(batch, "B") is None
        else:
            assert moved(batch, "B") == pytest.approx(3e-8 if seconds(batch) >= 60_000.0 else 0.0, abs=1e-20)
        assert value(batch, "C") is not None


def test_a_removal_may_end_by_itself() -> None:
    silent = [
        seconds(b)
        for b in world(scenario(event(What.REMOVE, "C-A", duration_s=1800.0))).history()
        if value(b, "C") is None
    ]
    assert np.round(silent).tolist() == [36_000, 36_600, 37_200]


def test_the_pivot_s_gap_silences_every_link_to_it() -> None:
    batches = list(world(scenario(event(What.GAP, "A", duration_s=1200.0))).history())
    assert [len(b.readings) for b in batches if START_S <= seconds(b) < START_S + 1200.0] == [0, 0]
    assert {len(b.readings) for b in batches if not START_S <= seconds(b) < START_S + 1200.0} == {3}


def test_silence_wins_over_a_freeze_of_the_same_link() -> None:
    events = [event(What.FREEZE, "B"), event(What.GAP, "B-A", at_s=40_000.0, duration_s=3000.0)]
    for batch in world(scenario(*events)).history():
        assert (value(batch, "B") is None) == (40_000.0 <= seconds(batch) < 43_000.0)


def test_an_injected_event_begins_at_its_raw_value_and_not_before() -> None:
    made = live()
    made.inject(event(What.PHASE_STEP, "C", magnitude=2e-8), at_raw_ns=ANCHOR_RAW_NS + 10 * NS)
    seen = [moved(made.batch(ANCHOR_RAW_NS + k * NS), "C") for k in range(1, 20)]
    assert seen == pytest.approx([0.0] * 9 + [2e-8] * 10, abs=1e-20)


def test_an_event_on_the_host_s_reading_moves_only_that() -> None:
    made = live()
    for target in ("host", "host-A"):
        made.inject(event(What.PHASE_STEP, target, magnitude=1e-6), at_tai_ns=ANCHOR_TAI_NS + 1)
    batch = made.batch(ANCHOR_RAW_NS + NS)
    assert moved(batch, "host") == pytest.approx(2e-6, rel=1e-9)
    assert moved(batch, "B") == 0.0


def test_an_event_cannot_begin_in_the_past() -> None:
    made = live()
    made.batch(ANCHOR_RAW_NS + NS)
    with pytest.raises(Misuse, match="stays read"):
        made.inject(event(What.FREEZE, "B"), at_raw_ns=ANCHOR_RAW_NS + NS)
    with pytest.raises(Misuse, match="stays read"):
        made.inject(event(What.FREEZE, "B"))
    with pytest.raises(Misuse, match="one moment"):
        made.inject(event(What.FREEZE, "B"), at_raw_ns=ANCHOR_RAW_NS + 9 * NS, at_tai_ns=ANCHOR_TAI_NS + 9 * NS)


def test_an_injected_event_is_checked_like_one_of_the_scenario() -> None:
    made = live()
    with pytest.raises(Misuse, match="no clock"):
        made.inject(event(What.FREEZE, "Z"), at_raw_ns=ANCHOR_RAW_NS + 5 * NS)
    with pytest.raises(Misuse, match='in "s"'):
        made.inject(
            Event(at_s=0.0, what=What.PHASE_STEP, target="B", magnitude=1e-9, unit="s/s"),
            at_raw_ns=ANCHOR_RAW_NS + 5 * NS,
        )
    with pytest.raises(Misuse, match="are kept"):
        made.inject(event(What.REPLAY, "B", magnitude=170_000.0), at_raw_ns=ANCHOR_RAW_NS + 5 * NS)


def test_a_live_freeze_holds_the_last_reading_of_the_history() -> None:
    made = live()
    last = list(world().history())[-1]
    made.inject(event(What.FREEZE, "B"), at_raw_ns=ANCHOR_RAW_NS + 1)
    assert value(made.batch(ANCHOR_RAW_NS + NS), "B") == value(last, "B")


def test_events_of_a_late_link_arrive_late() -> None:
    from tests.sim.worlds import with_link

    of = with_link(scenario(event(What.PHASE_STEP, "UTC.P", magnitude=1e-6)), "UTC.P", latency_s=3600.0)
    first = next(b for b in world(of).history() if value(b, "UTC.P") is not None and abs(moved(b, "UTC.P")) > 0)
    assert round(seconds(first)) == START_S + 3600
