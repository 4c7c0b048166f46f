"""A pair is a run and the same run without one event: what is the same in both must cancel, what is not must show."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from truechimer.alerts import AlertKind
from truechimer.cli.lab_arguments import now_label
from truechimer.daemon.demo.demo_pairs import BranchResult, Origin, Planned, Truth, branch, is_steering_at_limit
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.lab_check import check_lab
from truechimer.daemon.lab_start import open_run
from truechimer.daemon.laboratory_process import Laboratory
from truechimer.laboratory import line
from truechimer.laboratory.epoch_input import epoch_input
from truechimer.laboratory.state import LaboratoryConfig
from truechimer.quorum.verified import Verified
from truechimer.sim.demo_scenario import DEMO_SCENARIO_TOML
from truechimer.sim.scenario import Event, What

DAYS = 4
LAB = """
[lab]
name = "pairs"
seed = 4
[[source]]
name = "world"
kind = "simulated"
scenario = "scenario.toml"
[policy]
insecure_software_keys = true
"""


@pytest.fixture(scope="module")
def began(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Origin, LaboratoryConfig]]:
    """The demo's laboratory after a short history."""
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "scenario.toml").write_text(DEMO_SCENARIO_TOML.replace("days = 30.0", f"days = {DAYS}.0", 1))
    (folder / "LAB.toml").write_text(LAB)
    clocks = HostClocks()
    started = open_run(check_lab(folder / "LAB.toml", now=now_label()), clocks)
    laboratory = Laboratory(started, clocks)
    laboratory.catch_up()
    assert started.world is not None
    yield Origin(started.world.fork(), started.state, started.label.raw_ns), started.config
    laboratory.close()


def planned(target: str, what: What, **figures: float | str) -> Planned:
    event = Event(at_s=0.0, what=what, target=target, **figures)  # type: ignore[arg-type]
    return Planned(name="n", says="s", event=event, target=target, expect=(AlertKind.CLOCK_STEP,))


def step_of(target: str, magnitude_s: float) -> Planned:
    return planned(target, What.PHASE_STEP, magnitude=magnitude_s, unit="s")


def run(
    began: tuple[Origin, LaboratoryConfig], event: Planned, *, epochs: int = 30, every_s: float = 1.0
) -> BranchResult:
    origin, config = began
    register = origin.state.register
    index = register.node_index.get(event.target)
    clock = index if index is not None and index < register.n_clocks else None
    return branch(origin, config, event, every_s=every_s, epochs=epochs, target_clock=clock)


def test_the_same_branch_twice_gives_the_same_figures_to_the_last_bit(began: tuple[Origin, LaboratoryConfig]) -> None:
    first, second = (run(began, step_of("H3", 20e-9)) for _ in range(2))
    figures = [
        (r.pair.scale_moved_s, r.pair.served_moved_s, r.pair.detected_ns, r.bound_s, r.true_error_s, r.truth.bounds_s)
        for r in (first, second)
    ]
    assert figures[0] == figures[1]


def test_a_step_of_nothing_moves_nothing_at_all(began: tuple[Origin, LaboratoryConfig]) -> None:
    found = run(began, step_of("H3", 1e-30))
    assert (found.pair.scale_moved_s, found.pair.served_moved_s) == (0.0, 0.0)
    assert found.pair.detected_after_s is None
    assert found.pair.epochs == 30


def test_a_step_is_seen_at_the_first_reading_after_it_and_counted_from_the_step(
    began: tuple[Origin, LaboratoryConfig],
) -> None:
    assert run(began, step_of("H3", 20e-9)).pair.detected_after_s == pytest.approx(0.5)


def test_an_alert_about_another_clock_is_not_taken_for_this_one(began: tuple[Origin, LaboratoryConfig]) -> None:
    origin, config = began
    event = replace(step_of("H3", 20e-9), target="H4")
    found = branch(origin, config, event, every_s=1.0, epochs=10, target_clock=None)
    assert found.pair.detected_after_s is None


def test_a_drift_too_slow_to_see_moves_the_scale_by_what_the_clocks_weight_makes_it(
    began: tuple[Origin, LaboratoryConfig],
) -> None:
    # a day of a drift d: x = d t^2 / 2, 0.9 ns on one clock; the scale takes its weight of that
    event = planned("H3", What.DRIFT_STEP, magnitude=2e-14, unit="1/d", duration_s=1e6)
    found = run(began, event, epochs=144, every_s=600.0)
    clock_moved_s = 0.5 * 2e-14 / 86_400.0 * 86_400.0**2
    assert 0.0 < found.pair.scale_moved_s < clock_moved_s


def test_a_branch_leaves_the_world_and_the_state_it_began_from_as_they_were(
    began: tuple[Origin, LaboratoryConfig],
) -> None:
    origin, _ = began
    before = origin.state.chain.seq, origin.state.epoch_ns
    run(began, step_of("H3", 20e-9))
    assert (origin.state.chain.seq, origin.state.epoch_ns) == before
    first = origin.world.fork().batch(origin.raw_ns + 10**9)
    again = origin.world.fork().batch(origin.raw_ns + 10**9)
    assert first.readings == again.readings


def test_a_branch_that_is_stopped_says_so_and_counts_only_what_it_ran(began: tuple[Origin, LaboratoryConfig]) -> None:
    origin, config = began
    left = iter([False] * 7 + [True] * 100)
    found = branch(
        origin, config, step_of("H3", 20e-9),
        every_s=600.0, epochs=50, target_clock=2, stopped=lambda: next(left),
    )  # fmt: skip
    assert found.cut
    assert found.days == pytest.approx(7 * 600.0 / 86_400.0)
    assert found.truth.samples == 7


def test_a_lie_is_a_true_error_above_the_bound_in_either_direction() -> None:
    truth = Truth()
    for error_s in (1e-9, -1e-9, 3e-9, -3e-9):
        truth.judge(error_s, 2e-9)
    assert (truth.samples, truth.lies, truth.true_error_s_max) == (4, 2, 3e-9)


def test_steering_stands_at_its_limit_only_where_the_days_limit_is_used_up(
    began: tuple[Origin, LaboratoryConfig],
) -> None:
    origin, config = began
    world, state = origin.world.fork(), origin.state
    for number in range(1, 12):
        batch = world.batch(origin.raw_ns + number * 10**9)
        given = epoch_input(
            batch.readings, state.register, epoch_tai_ns=batch.epoch_tai_ns, raw_ns=origin.raw_ns + number * 10**9
        )
        state, _ = line.step(state, given, config)
    assert state.coordination is not None
    assert state.applied is not None
    assert isinstance(state.limits, Verified)
    daily = state.limits.value.per_day_s / 86_400.0
    for part, at_limit in ((0.0, False), (0.9, False), (1.0, True), (-1.0, True)):
        steered = replace(state.coordination, y_steer=state.applied.reference_y + part * daily)
        assert is_steering_at_limit(replace(state, coordination=steered)) is at_limit
