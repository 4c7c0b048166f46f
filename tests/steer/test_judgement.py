"""Outside values are judged against the prediction and one another: what is false is held, what is true counts."""

from collections.abc import Callable
from math import exp, sqrt

import numpy as np
import pytest

from truechimer.steer import delayed_data, judgement
from truechimer.steer.delayed_data import DelayedData, LateValue
from truechimer.steer.delayed_filter import DAY_S, FreeNoise, Path
from truechimer.steer.judgement import Judgement, What

DAY_NS = 86_400 * 10**9
UTCR, CIRCULAR_T, GNSS, TWO_WAY = range(4)
PATHS = (
    Path(name="UTCr", u_common=0.5e-9),
    Path(name="Circular T"),
    Path(name="GNSS", u_common=1.5e-9),
    Path(name="two-way", u_common=1e-9),
)
U = (0.5e-9, 0.3e-9, 1e-9, 0.4e-9)
NOISE = FreeNoise(q1=2e-27, q2=1e-36, floor2=4e-31, y_spread=1e-13, drift_spread=1e-16 / DAY_S)
Fault = Callable[[int, int], float]


def truth(seed: int, days: int) -> np.ndarray:
    """UTC minus the scale, daily: white, one relaxation of 10 d and random-walk FM of a good ensemble."""
    rng = np.random.default_rng(seed)
    x, y, f = np.zeros(days + 1), rng.normal() * 1e-14, rng.normal() * 6e-16
    for d in range(days):
        y += rng.normal() * sqrt(NOISE.q2 * DAY_S)
        f = f * exp(-0.1) + rng.normal() * 6e-16 * sqrt(1.0 - exp(-0.2))
        x[d + 1] = x[d] + (y + f) * DAY_S + rng.normal() * sqrt(NOISE.q1 * DAY_S)
    return x


def delivered(path: int, day: int, now: int) -> bool:
    """Rapid UTC comes weekly, three days late; Circular T monthly, twelve days late, of each fifth day."""
    if path == UTCR:
        return day <= (now - 3) // 7 * 7
    if path == CIRCULAR_T:
        return day % 5 == 0 and day <= (now - 12) // 30 * 30
    return True


def history(
    seed: int, now: int, fault: Fault, paths: tuple[int, ...] = (UTCR, CIRCULAR_T, GNSS, TWO_WAY)
) -> DelayedData:
    """All values that a laboratory has on day `now`; noise is the same with and without a fault."""
    x = truth(seed, max(80, now))
    rng = np.random.default_rng([seed, 7])
    common = [rng.normal() * path.u_common for path in PATHS]
    noise = rng.normal(size=(len(PATHS), len(x)))
    values = [
        LateValue(
            path=p,
            epoch_ns=(1000 + d) * DAY_NS,
            value=float(x[d] + common[p] + noise[p, d] * U[p] + fault(p, d)),
            u=U[p],
        )
        for d in range(now + 1)
        for p in paths
        if delivered(p, d, now)
    ]
    return delayed_data.take(delayed_data.begin(NOISE, PATHS), tuple(values))[0]


def judged(seed: int, now: int, fault: Fault, **more: tuple[int, ...]) -> Judgement:
    return judgement.judge(history(seed, now, fault, **more))


def held_days(found: Judgement, path: int) -> list[int]:
    return [
        m.value.epoch_ns // DAY_NS - 1000
        for m in found.history.marks
        if m.value is not None and m.value.held and m.value.path == path
    ]


def same(one: DelayedData, other: DelayedData) -> bool:
    """Whether two histories hold the same values and have come to the same state, bit for bit."""
    ends = [each.marks[-1].after for each in (one, other)]
    assert ends[0] is not None
    assert ends[1] is not None
    return (
        [m.value for m in one.marks] == [m.value for m in other.marks]
        and one.opened == other.opened
        and ends[0].mean.tobytes() == ends[1].mean.tobytes()
        and ends[0].p.tobytes() == ends[1].p.tobytes()
    )


def error_ns(found: Judgement, seed: int, now: int, x_moved_s: float = 0.0) -> float:
    forecast = delayed_data.ahead(found.history, (1000 + now) * DAY_NS)
    assert forecast is not None
    return (forecast.x_s - truth(seed, max(80, now))[now] - x_moved_s) * 1e9


def none(_path: int, _day: int) -> float:
    return 0.0


@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_held_where_nothing_is_wrong(seed: int) -> None:
    found = judged(seed, 60, none)
    assert found.findings == ()
    assert same(found.history, history(seed, 60, none))


@pytest.mark.parametrize("path", [UTCR, CIRCULAR_T])
def test_one_false_value_is_held_alone_and_moves_nothing(path: int) -> None:
    day = 30 if path == CIRCULAR_T else 50
    found = judged(11, 60, lambda p, d: 20e-9 * (p == path and d == day))
    assert held_days(found, path) == [day]
    assert [each.n for each in found.findings] == [1]
    assert PATHS[path].name in found.findings[0].says(found.history)
    clean = delayed_data.ahead(history(11, 60, none), (1060) * DAY_NS)
    after = delayed_data.ahead(found.history, (1060) * DAY_NS)
    assert clean is not None
    assert after is not None
    assert abs(after.x_s - clean.x_s) < 0.1e-9


def test_a_false_value_in_the_only_path_is_held_when_the_next_ones_come() -> None:
    found = judged(12, 60, lambda p, d: 20e-9 * (p == UTCR and d == 50), paths=(UTCR,))
    assert held_days(found, UTCR) == [50]


@pytest.mark.parametrize("path", [UTCR, GNSS])
def test_a_ramp_of_one_ns_a_day_is_refused_within_fourteen_days_back_to_its_beginning(path: int) -> None:
    found = judged(21, 64, lambda p, d: 1e-9 * max(0, d - 50) * (p == path))
    days = held_days(found, path)
    assert days
    assert days[-1] == max(d for d in range(65) if delivered(path, d, 64))
    assert days[0] in range(47, 55)
    assert all(not held_days(found, other) for other in range(4) if other != path)
    assert abs(error_ns(found, 21, 64)) < 1.0


def test_a_bulletin_shifted_by_40_ns_is_held_whole() -> None:
    found = judged(31, 72, lambda p, d: 40e-9 * (p == CIRCULAR_T and d > 30))
    assert set(held_days(found, CIRCULAR_T)) >= {35, 40, 45, 50, 55, 60}
    assert abs(error_ns(found, 31, 72)) < 1.0


@pytest.mark.slow
def test_a_true_step_of_the_scale_that_all_paths_see_is_believed() -> None:
    found = judged(41, 66, lambda _p, d: 20e-9 * (d >= 50))
    assert [each.what for each in found.findings] == [What.MOVE]
    assert not any(held_days(found, path) for path in range(4))
    assert abs(error_ns(found, 41, 66, 20e-9)) < 1.0


def test_one_of_two_paths_that_steps_is_not_believed_before_the_other_has_spoken() -> None:
    found = judged(51, 60, lambda p, d: 20e-9 * (p == GNSS and d >= 50), paths=(UTCR, GNSS))
    assert held_days(found, GNSS) == list(range(50, 61))
    assert abs(error_ns(found, 51, 60)) < 1.5


@pytest.mark.slow
def test_a_path_that_is_right_again_counts_again_and_what_it_said_before_is_not_lost() -> None:
    found = judged(61, 76, lambda p, d: 30e-9 * (p == GNSS and 50 <= d < 60))
    assert held_days(found, GNSS) == list(range(50, 60))
    assert len([m for m in found.history.marks if m.value is not None and m.value.path == GNSS]) == 77


@pytest.mark.slow
def test_what_was_held_without_need_is_free_again() -> None:
    whole = history(71, 60, none)
    wanted = frozenset((GNSS, (1000 + d) * DAY_NS) for d in range(40, 50))
    assert same(judgement.judge(delayed_data.held(whole, wanted)).history, whole)


@pytest.mark.slow
def test_the_judgement_does_not_depend_on_the_order_in_which_values_came() -> None:
    def fault(p: int, d: int) -> float:
        return 20e-9 * (p == UTCR and d == 50)

    whole = history(11, 60, fault)
    values = [m.value for m in whole.marks if m.value is not None]
    np.random.default_rng(1).shuffle(values)
    shuffled = delayed_data.begin(NOISE, PATHS)
    for first in range(0, len(values), 40):
        shuffled, _ = delayed_data.take(shuffled, tuple(values[first : first + 40]))
    one, other = judgement.judge(shuffled), judgement.judge(whole)
    assert one.findings == other.findings
    assert same(one.history, other.history)


@pytest.mark.parametrize(("now", "days"), [(60, range(50, 57)), (67, range(50, 64)), (75, range(0))])
def test_the_only_path_is_held_while_its_move_is_young_and_followed_when_later_values_bear_it_out(
    now: int, days: range
) -> None:
    found = judged(84, now, lambda _p, d: 20e-9 * (d >= 50), paths=(UTCR,))
    assert held_days(found, UTCR) == list(days)
    if not days:
        assert [each.what for each in found.findings] == [What.MOVE]
        assert "the only path" in found.findings[0].says(found.history)
        assert abs(error_ns(found, 84, now, 20e-9)) < 4.0


def test_a_whole_circular_t_that_is_all_there_is_waits_for_the_next() -> None:
    found = judged(82, 103, lambda _p, d: 40e-9 * (d > 60), paths=(CIRCULAR_T,))
    assert held_days(found, CIRCULAR_T) == [65, 70, 75, 80, 85, 90]
    found = judged(82, 133, lambda _p, d: 40e-9 * (d > 60), paths=(CIRCULAR_T,))
    assert held_days(found, CIRCULAR_T) == []
    assert [each.what for each in found.findings] == [What.MOVE]


def test_a_clock_noisier_than_its_kind_is_followed_where_one_path_is_all_there_is() -> None:
    """White and random-walk FM five times those that the filter was told, for ten months of Circular T."""
    rng = np.random.default_rng(83)
    y = rng.normal() * 1e-14 + np.cumsum(rng.normal(size=300)) * 5.0 * sqrt(NOISE.q2 * DAY_S)
    x = np.concatenate([[0.0], np.cumsum(y * DAY_S + rng.normal(size=300) * 5.0 * sqrt(NOISE.q1 * DAY_S))])
    known, most = delayed_data.begin(NOISE, PATHS), 0
    for month in range(1, 10):
        values = tuple(
            LateValue(path=CIRCULAR_T, epoch_ns=(1000 + d) * DAY_NS, value=float(x[d]) + rng.normal() * 3e-10, u=3e-10)
            for d in range(month * 30 - 25, month * 30 + 1, 5)
        )
        found = judgement.judge(delayed_data.take(known, values)[0])
        known, most = found.history, max(most, len(held_days(found, CIRCULAR_T)))
    assert most <= 1
