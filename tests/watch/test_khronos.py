"""Khronos: honest servers never alarm, a minority of liars never moves it, a bent laboratory is told in one look."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.watch.khronos import Found, Judgement, KhronosLimits, Look, Next, Verdict, judge, step

LIMITS = KhronosLimits()
BOUND_S = 1e-3


def look_once(pool: list[float], chance: random.Random, limits: KhronosLimits = LIMITS) -> tuple[Verdict, int]:
    """Look once at a pool of offsets (theirs minus ours); return the verdict and how many samples it took."""
    look, samples = Look(), 0
    while True:
        asked = pool if look.panic else chance.sample(pool, min(limits.sample, len(pool)))
        samples += 1
        look, then, verdict = step(
            look, judge(asked, len(asked), limits, bound_s=BOUND_S, since_s=640.0), limits, bound_s=BOUND_S
        )
        if verdict is not None:
            assert then is Next.REST
            return verdict, samples


def a_pool(
    chance: random.Random, *, n: int = 500, bad: int = 0, shift_s: float = 0.1, ours_s: float = 0.0
) -> list[float]:
    """Return a pool whose honest servers are right to milliseconds, while we are off by `ours_s`."""
    return [chance.gauss(0.0, 0.003) - ours_s + (shift_s if k < bad else 0.0) for k in range(n)]


def test_honest_servers_and_an_honest_laboratory_never_alarm() -> None:
    chance = random.Random(1)
    pool = a_pool(chance)
    looks = [look_once(pool, chance) for _ in range(300)]
    assert not any(verdict.alarm or verdict.panic for verdict, _ in looks)
    assert max(abs(verdict.offset_s) for verdict, _ in looks) < 0.01


@pytest.mark.parametrize("bad", [70, 150])
def test_a_seventh_or_three_tenths_of_liars_move_nothing(bad: int) -> None:
    chance = random.Random(2)
    pool = a_pool(chance, bad=bad)
    looks = [look_once(pool, chance)[0] for _ in range(300)]
    assert not any(verdict.alarm for verdict in looks)
    assert max(abs(verdict.offset_s) for verdict in looks) < 0.03


@pytest.mark.parametrize("ours_s", [0.1, -0.1, 0.06, 5.0])
def test_a_laboratory_that_was_bent_is_told_in_one_look_by_how_much(ours_s: float) -> None:
    chance = random.Random(3)
    verdict, samples = look_once(a_pool(chance, bad=70, ours_s=ours_s, shift_s=0.02), chance)
    assert verdict.alarm
    assert verdict.panic
    assert samples == LIMITS.tries + 1
    assert verdict.offset_s == pytest.approx(-ours_s, abs=0.01)


def test_a_slow_departure_is_told_from_the_alarm_limit_on() -> None:
    chance = random.Random(4)
    assert not look_once(a_pool(chance, ours_s=0.025), chance)[0].alarm
    assert look_once(a_pool(chance, ours_s=0.04), chance)[0].alarm


def test_too_few_answers_are_no_answer_and_a_silent_pool_is_said_to_be_unknown() -> None:
    assert judge([0.0] * 4, 15, LIMITS, bound_s=0.0, since_s=0.0).found is Found.TOO_FEW
    assert judge([0.0] * 5, 15, LIMITS, bound_s=0.0, since_s=0.0).found is Found.AGREED
    look, then, verdict = step(
        Look(3, panic=True), judge([], 500, LIMITS, bound_s=0.0, since_s=0.0), LIMITS, bound_s=0.0
    )
    assert verdict is not None
    assert (then, verdict.known, verdict.alarm) == (Next.REST, False, False)
    assert look == Look()


def test_scattered_answers_are_drawn_again_and_then_all_are_asked() -> None:
    scattered = judge([k * 0.1 for k in range(15)], 15, LIMITS, bound_s=0.0, since_s=0.0)
    assert scattered.found is Found.SCATTERED
    look, order = Look(), []
    for _ in range(LIMITS.tries):
        look, then, verdict = step(look, scattered, LIMITS, bound_s=0.0)
        assert verdict is None
        order.append(then)
    assert order == [Next.SAMPLE_AGAIN, Next.SAMPLE_AGAIN, Next.ASK_ALL]


@given(
    honest=st.lists(st.floats(-0.02, 0.02), min_size=5, max_size=60),
    lies=st.lists(st.floats(-1e9, 1e9), max_size=60),
)
def test_fewer_liars_than_a_third_never_take_the_mean_out_of_what_the_honest_say(
    honest: list[float], lies: list[float]
) -> None:
    n = len(honest) + len(lies)
    lies = lies[: max(0, (len(honest) - 1) // 2)]  # below a third of all
    n = len(honest) + len(lies)
    found: Judgement = judge(honest + lies, n, LIMITS, bound_s=0.0, since_s=0.0)
    assert found.offset_s is not None
    assert min(honest) - 1e-12 <= found.offset_s <= max(honest) + 1e-12
