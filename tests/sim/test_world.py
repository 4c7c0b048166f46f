"""The world owns the truth: as a function of the raw counter alone, repeatable, forkable, and never shown to the
service.
"""

import numpy as np
import pytest
from tests.sim.worlds import (
    ANCHOR_RAW_NS,
    ANCHOR_TAI_NS,
    HOST,
    NS,
    clock,
    event,
    live,
    scenario,
    value,
    with_link,
    world,
)

from truechimer.errors import Misuse
from truechimer.sim import Environment, Host, Laboratory, Link, Run, What, demo_scenario

DAY_S = 86_400.0


def test_true_time_is_the_anchor_plus_raw_time_at_the_host_s_true_rate() -> None:
    still = world(scenario(host=Host(y_host=1e-4)))
    assert still.true_tai_fs(ANCHOR_RAW_NS) == ANCHOR_TAI_NS * 10**6
    # 1e5 s of raw time with y = 1e-4: 10 s less; the float 1e-4 is 1e-4 + 4.8e-21, seen as 0.5 fs
    expected = (ANCHOR_TAI_NS + 100_000 * NS - 10 * NS) * 10**6
    assert abs(still.true_tai_fs(ANCHOR_RAW_NS + 100_000 * NS) - expected) <= 1
    perfect = world(scenario(host=Host()))
    raw = ANCHOR_RAW_NS + 10**18 + 1
    assert perfect.true_tai_fs(raw) == (ANCHOR_TAI_NS + 10**18 + 1) * 10**6


def test_true_time_does_not_depend_on_what_was_asked_before() -> None:
    raws = [ANCHOR_RAW_NS + k * 777_777_777 for k in range(-3, 9000, 7)]
    asked, other = world(), world()
    other.true_tai_fs(raws[-1])
    backwards = {raw: other.true_tai_fs(raw) for raw in reversed(raws)}
    assert [asked.true_tai_fs(raw) for raw in raws] == [backwards[raw] for raw in raws]


def test_true_time_rises_and_its_wander_has_the_declared_size() -> None:
    one = world(scenario(host=Host(wander_y=1e-8, wander_correlation_s=30.0)))
    fs = [one.true_tai_fs(ANCHOR_RAW_NS + k * NS) for k in range(40_000)]
    y = 1.0 - np.diff(np.array(fs) - fs[0]) * 1e-15
    assert np.all(y < 1e-6)
    assert np.std(y) == pytest.approx(1e-8, rel=0.1)
    lag = 30
    assert np.mean(y[lag:] * y[:-lag]) / np.var(y) == pytest.approx(np.exp(-1.0), abs=0.1)


def test_other_seeds_have_other_wander_and_the_same_seed_the_same() -> None:
    raw = ANCHOR_RAW_NS + 5000 * NS
    assert world(seed=1).true_tai_fs(raw) == world(seed=1).true_tai_fs(raw)
    assert world(seed=1).true_tai_fs(raw) != world(seed=2).true_tai_fs(raw)


def test_history_ends_at_the_anchor_and_steps_back_by_the_interval() -> None:
    epochs = [batch.epoch_tai_ns for batch in world().history()]
    assert epochs == [ANCHOR_TAI_NS - k * 600 * NS for k in range(144, -1, -1)]
    shorter = [batch.epoch_tai_ns for batch in world().history(0.5, 60.0)]
    assert shorter == [ANCHOR_TAI_NS - k * 60 * NS for k in range(720, -1, -1)]


def test_a_world_repeats_bit_for_bit_and_another_seed_does_not() -> None:
    def told(seed: int) -> list[object]:
        made = world(demo_scenario(), seed=seed)
        batches = list(made.history(2.0, 600.0)) + [made.batch(ANCHOR_RAW_NS + k * 1_000_000_007) for k in range(1, 20)]
        return [(batch.readings, batch.x_clock_minus_utc_s.tolist()) for batch in batches]

    assert told(5) == told(5)
    assert told(5) != told(6)


def test_a_record_holds_the_readings_of_the_history() -> None:
    faulty = scenario(event(What.PHASE_STEP, "B", magnitude=1e-8), event(What.GAP, "C-A", duration_s=6000.0))
    for of in (scenario(), faulty, with_link(scenario(), "B", gap_fraction=0.2, quantisation_s=1e-11)):
        names = [link.name for link in of.links]
        batches = list(world(of).history())
        rows = list(world(of).record())
        recorded = np.concatenate([block.x_a_minus_b_s for block in rows])
        truth = np.concatenate([block.x_clock_minus_utc_s for block in rows])
        for k, batch in enumerate(batches):
            row = {name: x for name, x in zip(names, recorded[k].tolist(), strict=True) if not np.isnan(x)}
            assert row == {f"{r.a}-{r.b}": r.x_a_minus_b_s for r in batch.readings}
            assert truth[k].tolist() == batch.x_clock_minus_utc_s.tolist()


def test_a_reading_is_clock_minus_clock_with_the_link_s_noise() -> None:
    residuals = []
    for batch in world(scenario(run=Run(days=20.0, interval_s=600.0))).history():
        x = batch.x_clock_minus_utc_s
        residuals.append(value(batch, "B") - (x[1] - x[0]))
        assert next(r.u_s for r in batch.readings if r.a == "B") == 5e-11
    assert np.std(residuals) == pytest.approx(5e-11, rel=0.05)
    assert abs(np.mean(residuals)) < 5e-12


def test_a_link_to_utc_shows_the_other_laboratory_s_wander() -> None:
    of = scenario(
        run=Run(days=2000.0, interval_s=43_200.0),
        links=(Link(a="UTC.P", b="A"), Link(a="UTC.P-fibre", b="A", laboratory="P"), Link(a="UTC", b="A")),
        laboratories=(Laboratory(name="P", wander_s=2e-9, wander_days=20.0, offset_s=3e-9),),
    )
    wander = []
    for batch in world(of).history():
        minus_utc = value(batch, "UTC.P") + batch.x_clock_minus_utc_s[0]
        assert value(batch, "UTC.P-fibre") == value(batch, "UTC.P")
        assert value(batch, "UTC") == -batch.x_clock_minus_utc_s[0]
        wander.append(minus_utc)
    wander = np.array(wander) - 3e-9
    assert np.std(wander) == pytest.approx(2e-9, rel=0.25)
    correlation = np.mean(wander[40:] * wander[:-40]) / np.var(wander)  # 20 d
    assert correlation == pytest.approx(np.exp(-1.0), abs=0.15)


def test_live_batches_read_the_host_against_the_pivot() -> None:
    made = live()
    off = []
    for k in range(1, 400):
        raw = ANCHOR_RAW_NS + k * NS
        batch = made.batch(raw)
        assert batch.raw_ns == raw
        assert batch.epoch_tai_ns == ANCHOR_TAI_NS + k * NS
        x_host_minus_utc_s = (batch.epoch_tai_ns * 10**6 - made.true_tai_fs(raw)) * 1e-15
        off.append(value(batch, "host") - (x_host_minus_utc_s - batch.x_clock_minus_utc_s[0]))
    assert np.std(off) == pytest.approx(HOST.white_s, rel=0.2)
    # after 399 s a host that is 2.5e-6 fast is 1 ms ahead
    assert value(batch, "host") == pytest.approx(2.5e-6 * 399, rel=0.01)


def test_live_epochs_must_rise_and_follow_the_whole_history() -> None:
    made = world()
    history = made.history()
    next(history)
    with pytest.raises(Misuse, match="history"):
        made.batch(ANCHOR_RAW_NS + NS)
    with pytest.raises(Misuse, match="history"):
        made.fork()
    for _ in history:
        pass
    with pytest.raises(Misuse, match="not later"):
        made.batch(ANCHOR_RAW_NS)
    made.batch(ANCHOR_RAW_NS + NS)
    with pytest.raises(Misuse, match="not later"):
        made.batch(ANCHOR_RAW_NS + NS)
    with pytest.raises(Misuse, match="begun"):
        next(made.history())


def test_a_world_may_go_live_without_a_history() -> None:
    made = world()
    first = made.batch(ANCHOR_RAW_NS)
    assert first.epoch_tai_ns == ANCHOR_TAI_NS
    assert first.x_clock_minus_utc_s.tolist() == [0.0, 1e-7, 0.0]
    assert made.batch(ANCHOR_RAW_NS + 1).epoch_tai_ns == ANCHOR_TAI_NS + 1


def test_a_fork_has_the_same_future_and_leaves_the_world_alone() -> None:
    noisy = scenario(
        clocks=(
            clock("A", temperature_coefficient_per_kelvin=1e-14, jump_rate_per_day=50.0, jump_y=1e-13),
            clock("B"),
            clock("C"),
        )
    )
    of = with_link(noisy, "C", latency_s=30.0, gap_fraction=0.1)
    made = live(of)
    alone = live(of)
    raws = [ANCHOR_RAW_NS + k * 10 * NS for k in range(1, 200)]
    for raw in raws[:50]:
        made.batch(raw)
        alone.batch(raw)
    twin = made.fork()
    future = [twin.batch(raw) for raw in raws[50:]]
    twin.inject(event(What.PHASE_STEP, "B", magnitude=1e-6), at_raw_ns=raws[-1] + 5)
    for ahead, raw in zip(future, raws[50:], strict=True):
        for same in (made.batch(raw), alone.batch(raw)):
            assert same.readings == ahead.readings
            assert same.x_clock_minus_utc_s.tolist() == ahead.x_clock_minus_utc_s.tolist()


def test_temperature_moves_all_clocks_together_by_their_coefficients() -> None:
    quiet = {"noise": clock("x").noise.__class__()}
    of = scenario(
        run=Run(days=3.0, interval_s=600.0),
        clocks=(
            clock("A", **quiet),
            clock("B", temperature_coefficient_per_kelvin=1e-13, **quiet),
            clock("C", temperature_coefficient_per_kelvin=-3e-13, **quiet),
        ),
    )
    x = np.array([batch.x_clock_minus_utc_s for batch in world(of).history()])
    assert np.all(x[:, 0] == 0.0)
    assert np.allclose(x[:, 2], -3.0 * x[:, 1], rtol=1e-9, atol=1e-22)
    # at most 0.5 K of the year for 3 d on 1e-13/K are 13 ns; a day's wave of 0.3 K adds 0.4 ns
    assert 0.3e-9 < np.max(np.abs(x[:, 1])) < 2e-8


def test_the_room_is_a_day_s_wave_a_year_s_wave_and_a_random_part() -> None:
    quiet = {"noise": clock("x").noise.__class__()}
    calm = Environment(
        temperature_diurnal_kelvin=0.2,
        temperature_annual_kelvin=0.0,
        temperature_random_kelvin=0.0,
        humidity_diurnal_percent=0.0,
        humidity_annual_percent=5.0,
        humidity_random_percent=0.0,
    )
    of = scenario(
        run=Run(days=366.0, interval_s=3600.0),
        clocks=(
            clock("A", **quiet),
            clock("B", temperature_coefficient_per_kelvin=1e-13, **quiet),
            clock("C", humidity_coefficient_per_percent=1e-15, **quiet),
        ),
        environment=calm,
    )
    made = world(of)
    x = np.array([batch.x_clock_minus_utc_s for batch in made.history()])
    assert np.ptp(x[:, 1]) == pytest.approx(2 * 0.2e-13 * DAY_S / (2 * np.pi), rel=0.02)
    assert np.ptp(x[:, 2]) == pytest.approx(2 * 5e-15 * 365.25 * DAY_S / (2 * np.pi), rel=0.02)
    random = Environment(
        temperature_diurnal_kelvin=0.0, temperature_annual_kelvin=0.0, temperature_random_kelvin=0.3, random_days=0.2
    )
    made = world(scenario(clocks=of.clocks, environment=random, host=Host()))
    seen = []
    for _ in made.history(0.0, 60.0):
        pass
    for k in range(1, 3000):
        made.batch(ANCHOR_RAW_NS + k * 3600 * NS)
        seen.append(made.room.temperature_kelvin)
    assert np.std(seen) == pytest.approx(0.3, rel=0.15)


def test_frequency_jumps_come_at_their_rate_and_size_whatever_the_steps() -> None:
    quiet = {"noise": clock("x").noise.__class__()}
    of = scenario(
        run=Run(days=400.0, interval_s=43_200.0),
        clocks=(clock("A", **quiet), clock("B", jump_rate_per_day=0.5, jump_y=2e-15, **quiet), clock("C", **quiet)),
    )
    x = np.array([batch.x_clock_minus_utc_s[1] for batch in world(of).history()])
    y = np.diff(x) / 43_200.0
    # an interval without a jump repeats the frequency of the one before it
    jumped = np.abs(np.diff(y)) > 1e-19
    assert 0.5 < np.mean(~jumped) < 0.9
    assert np.sqrt(np.sum(np.diff(y) ** 2) / 400.0 / 0.5) == pytest.approx(2e-15, rel=0.25)
    finer = np.array([batch.x_clock_minus_utc_s[1] for batch in world(of).history(400.0, 21_600.0)])
    assert np.allclose(finer[::2], x, rtol=1e-9, atol=1e-20)


def test_a_counter_rounds_to_its_step() -> None:
    for batch in world(with_link(scenario(), "B", quantisation_s=1e-11)).history():
        steps = value(batch, "B") / 1e-11
        assert steps == pytest.approx(round(steps), abs=1e-6)


def test_quantisation_is_part_of_the_declared_uncertainty() -> None:
    assert Link(a="B", b="A", white_s=3e-11, quantisation_s=12**0.5 * 4e-11).declared_u_s == pytest.approx(5e-11)
    assert Link(a="B", b="A", white_s=3e-11, u_s=1e-12).declared_u_s == 1e-12


def test_gaps_come_as_often_as_stated_and_change_no_other_reading() -> None:
    of = scenario(run=Run(days=20.0, interval_s=600.0))
    gapped = list(world(with_link(of, "B", gap_fraction=0.2)).history())
    whole = list(world(of).history())
    came = [value(batch, "B") is not None for batch in gapped]
    assert np.mean(came) == pytest.approx(0.8, abs=0.03)
    for some, every in zip(gapped, whole, strict=True):
        assert set(some.readings) <= set(every.readings)
        assert value(some, "C") is not None


def test_a_late_link_delivers_old_epochs_and_the_same_values() -> None:
    of = scenario()
    late, prompt = live(with_link(of, "UTC.P", latency_s=1500.0)), live(of)
    values = {}
    for k in range(1, 20):
        raw = ANCHOR_RAW_NS + k * 600 * NS
        now = prompt.batch(raw)
        values[now.epoch_tai_ns] = value(now, "UTC.P")
        arrived = [reading for reading in late.batch(raw).readings if reading.a == "UTC.P"]
        if k > 3:
            # 1500 s is 2.5 intervals: at each epoch the reading of three epochs before has come
            assert [(r.epoch_tai_ns, r.x_a_minus_b_s) for r in arrived] == [
                (now.epoch_tai_ns - 1800 * NS, values[now.epoch_tai_ns - 1800 * NS])
            ]


def test_link_readings_carry_operator_and_limit() -> None:
    reading = next(r for r in next(world().history()).readings if r.a == "UTC.P")
    assert (reading.operator, reading.limit_s, reading.u_s, reading.b) == ("p", 5e-9, 1e-9, "A")


def test_a_scenario_with_faults_and_a_negative_seed_are_our_own_mistakes() -> None:
    with pytest.raises(Misuse, match="no clock"):
        world(scenario(links=(Link(a="Z", b="A"),)))
    with pytest.raises(Misuse, match="seed"):
        world(seed=-1)


def test_the_demo_s_laboratory_has_the_rig_of_the_drills() -> None:
    of = demo_scenario()
    kinds = [str(clock.kind) for clock in of.clocks]
    assert (kinds.count("maser"), kinds.count("caesium"), kinds.count("rubidium")) == (5, 6, 1)
    assert of.pivot == "H1"
    assert {link.b for link in of.links} == {"H1"}
    assert {link.a for link in of.links} == {c.name for c in of.clocks[1:]} | {"UTC.P", "UTC.Q", "UTC.S"}
    h1 = of.clocks[0].noise
    assert (h1.white_fm_1s, h1.drift_per_day) == (8e-14, 2e-16)
    assert h1.random_walk_fm_1s * 3**0.5 == pytest.approx(1e-18, rel=0.01)
    assert of.host.y_host == of.host.wander_y == 0.0
