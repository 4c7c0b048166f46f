"""What a laboratory of clocks foresees of a holdover, from the values that came day by day."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from tests.laboratory.lying import Scene, Server

from truechimer.daemon.answering import outside_words
from truechimer.laboratory import foreseen
from truechimer.steer import daily_values
from truechimer.steer.daily_values import DAY_NS, NOTHING, DailyValues
from truechimer.steer.foresight import Value
from truechimer.steer.steering_order import Coordination


def days(n: int, *, seed: int = 1) -> DailyValues:
    """Daily values of a scale with a rate of 1e-14 and half a nanosecond of noise."""
    rng = np.random.default_rng(seed)
    return DailyValues(
        tuple(Value((20_000 + d) * DAY_NS, d * 8.64e-10 + 5e-10 * rng.normal(), 5e-10) for d in range(n))
    )


def test_values_of_a_day_become_one_at_their_middle_and_no_better_than_a_fifth_of_one() -> None:
    known = NOTHING
    for k in range(144):
        known = daily_values.heard(known, epoch_ns=20_000 * DAY_NS + k * 600 * 10**9, x_s=1e-9 * k, u_s=2e-9)
    assert known.days == ()
    (today,) = daily_values.values(known)
    assert today.u_s == pytest.approx(4e-10)
    assert today.x_s == pytest.approx(71.5e-9)
    assert today.epoch_ns == 20_000 * DAY_NS + round(71.5 * 600e9)
    known = daily_values.heard(known, epoch_ns=20_001 * DAY_NS, x_s=5e-9, u_s=2e-9)
    assert known.days == (today,)
    assert daily_values.values(known)[-1] == Value(20_001 * DAY_NS, pytest.approx(5e-9), 2e-9)  # type: ignore[arg-type]


def test_values_of_a_scale_that_was_less_than_half_as_old_are_left_out_but_for_twenty_days() -> None:
    told = daily_values.values(days(90))
    begun_ns, last_ns = told[0].epoch_ns, told[-1].epoch_ns
    assert daily_values.settled(told, begun_ns=begun_ns) == told[45:]
    assert daily_values.settled(told, begun_ns=last_ns - 25 * DAY_NS) == told[-21:]
    assert daily_values.settled(told, begun_ns=begun_ns - 1000 * DAY_NS) == told
    assert daily_values.settled((), begun_ns=0) == ()


def test_only_so_many_days_are_kept() -> None:
    known = NOTHING
    for d in range(daily_values.MOST_DAYS + 30):
        known = daily_values.heard(known, epoch_ns=(20_000 + d) * DAY_NS, x_s=0.0, u_s=1e-9)
    assert len(known.days) == daily_values.MOST_DAYS
    assert known.days[-1].epoch_ns == (20_000 + daily_values.MOST_DAYS + 28) * DAY_NS


def test_a_laboratory_states_how_long_it_would_keep_each_limit() -> None:
    scene = Scene((Server(), Server(), Server())).run(2)
    known = days(30)
    now_ns = known.days[-1].epoch_ns
    state = replace(scene.state, wander=None, daily=known, epoch_ns=now_ns)
    told = foreseen.foresee(state, Coordination(now_ns, known.days[-1].x_s, 1e-14), limits_s=(5e-5,))
    assert told is not None
    assert told.days == 30
    assert list(told.u_s) == sorted(told.u_s)
    assert [each.limit_s for each in told.kept] == sorted([*foreseen.LIMITS_S, 5e-5])
    assert all(each.for_s <= each.likely_for_s for each in told.kept)
    kept = [each.for_s for each in told.kept]
    assert kept == sorted(kept)
    assert kept[-1] > 0.0
    # a rate that is held a thousand times as far off keeps nothing as long
    off = foreseen.foresee(state, Coordination(now_ns, known.days[-1].x_s, 1e-8), limits_s=(5e-5,))
    assert off is not None
    assert off.kept[-1].for_s < kept[-1]


def test_before_the_third_day_and_for_a_scale_of_one_nothing_is_foreseen() -> None:
    scene = Scene((Server(), Server(), Server())).run(2)
    still = Coordination(0, 0.0, 0.0)
    assert foreseen.foresee(replace(scene.state, daily=days(30)), still) is None
    assert foreseen.foresee(replace(scene.state, wander=None, daily=days(2)), still) is None


def test_limits_of_one_s_own_are_foreseen_with_the_doors_and_the_reason_is_said_where_nothing_is() -> None:
    scene = Scene((Server(), Server(), Server())).run(40)
    outcome, config = scene.outcomes[-1], scene.config
    ask = partial(outside_words.holdover_document, outcome=outcome, config=config, bound_limits_s=[1e-3])
    alone = ask(scene.state, limits_s=[2e-3])
    assert "one clock" in alone["why"]
    assert [row["limit_s"] for row in alone["bound"]] == [2e-3]
    known = days(12)
    state = replace(scene.state, wander=None, daily=known, epoch_ns=known.days[-1].epoch_ns)
    assert "2 of 3 days" in ask(replace(state, daily=days(2)), limits_s=[])["why"]
    assert ask(state, limits_s=[7e-7])["waits"]
    outside_words._ASIDE.wait(60.0)
    body = ask(state, limits_s=[7e-7])
    assert "waits" not in body
    assert 7e-7 in [row["limit_s"] for row in body["holdover"]["kept"]]
    assert outside_words.of_now(state)["holdover"] == body["holdover"]
    assert outside_words.of_now(scene.state) == {}
