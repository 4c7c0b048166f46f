"""First passage: the stated time is the time at which a limit is first passed, by theory and by drawn truth."""

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.steer.test_foresight import DAY_NS, MASER, course, learned

from truechimer.steer import first_passage, foresight
from truechimer.steer.delayed_filter import DAY_S, FreeNoise
from truechimer.steer.first_passage import LONGEST_S, passages
from truechimer.steer.foresight import Foresight

PERCENT = 0.01


def of_one_filter(*, q1: float = 0.0, q2: float = 0.0, floor2: float = 0.0, u_y: float = 0.0) -> Foresight:
    """Return a bank of one filter that knows x exactly and y to `u_y`."""
    p = np.zeros((6, 6, 1))
    p[1, 1] = u_y * u_y
    of = {name: np.array([value]) for name, value in (("q1", q1), ("floor2", floor2), ("q2", q2), ("drift2", 0.0))}
    one = np.ones(1)
    return Foresight(epoch_ns=0, begun_ns=0, n=9, x=np.zeros((6, 1)), p=p, fades_s=0.0, noise2=one, weight=one, **of)


def between_walls(part: float) -> float:
    """Return the time, in limit^2 / q1, by which a Brownian path has passed one of two walls with a chance of `part`
    (the series of the heat equation).
    """

    def passed(t: float) -> float:
        inside = sum(
            (-1.0) ** k / (2 * k + 1) * math.exp(-((2 * k + 1) ** 2) * math.pi**2 * t / 8.0) for k in range(60)
        )
        return 1.0 - 4.0 / math.pi * inside

    low, high = 1e-3, 10.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if passed(middle) < part else (low, middle)
    return low


@pytest.mark.parametrize("part", [PERCENT, 0.1, 0.5, 0.9])
def test_white_fm_passes_a_limit_when_a_brownian_path_passes_one_of_two_walls(part: float) -> None:
    q1 = (3e-12) ** 2
    found = passages(of_one_filter(q1=q1), from_ns=0)
    for limit_s in (3e-9, 1e-8):
        wanted_s = between_walls(part) * limit_s * limit_s / q1
        assert first_passage.kept_s(found, limit_s, chance=part) == pytest.approx(wanted_s, rel=0.08)
    # the median is six times the hundredth: no statement of 99 in 100 can be nearer in the median
    assert between_walls(0.5) / between_walls(PERCENT) == pytest.approx(5.97, abs=0.01)


def test_a_rate_that_is_not_known_passes_a_limit_as_the_normal_distribution_says() -> None:
    found = passages(of_one_filter(u_y=1e-14), from_ns=0)
    for part, sigmas in ((PERCENT, 2.5758), (0.5, 0.6745)):
        wanted_s = 1e-8 / (1e-14 * sigmas)
        assert first_passage.kept_s(found, 1e-8, chance=part) == pytest.approx(wanted_s, rel=0.05)


@pytest.mark.parametrize("noise", [{"q2": 4.6e-36}, {"floor2": 1e-29}, {"q1": 1e-25, "q2": 1e-37, "u_y": 1e-15}])
def test_every_noise_is_drawn_with_the_covariance_that_the_filters_foresee(noise: dict[str, float]) -> None:
    known = of_one_filter(**noise)
    found = passages(known, from_ns=0)
    for k in (20, 60, len(found.after_s) - 1):
        u_s = foresight.ahead(known, round(found.after_s[k] * 1e9)).u_s
        # of those that have been furthest at the end, nearly all; so never less than at that moment alone
        beyond = float((found.furthest_s[k] > 2.0 * u_s).mean())
        assert 0.0455 * 0.8 < beyond < 2.0 * 0.0455 * 1.2


def test_larger_limits_are_kept_longer_and_what_is_passed_already_for_no_time() -> None:
    known = learned(course(replace(MASER, y_spread=1e-13), 40, 2))
    found = passages(known, from_ns=known.epoch_ns)
    stated = [first_passage.stated_s(found, limit) for limit in (1e-9, 1e-8, 1e-7, 1e-6)]
    assert stated == sorted(stated)
    assert 0.0 < stated[1] < LONGEST_S
    assert first_passage.stated_s(found, 1e-12) == 0.0
    assert first_passage.stated_s(found, 1.0) == LONGEST_S
    for limit_s in (1e-8, 1e-7):
        careful, bold, likely = (first_passage.kept_s(found, limit_s, chance=each) for each in (0.003, 0.0075, 0.5))
        assert careful <= first_passage.stated_s(found, limit_s) <= bold < likely


def test_a_rate_that_is_held_beside_the_prediction_shortens_the_time() -> None:
    known = learned(course(replace(MASER, y_spread=1e-13), 40, 2))
    at = known.epoch_ns
    x_s = foresight.ahead_x_s(known, at)
    y = (foresight.ahead_x_s(known, at + DAY_NS) - x_s) / DAY_S
    held = passages(known, from_ns=at, x_utck_minus_scale_s=x_s, y_utck_minus_scale=y + 1e-14)
    assert 0.0 < first_passage.stated_s(held, 1e-8) < 0.8 * first_passage.stated_s(passages(known, from_ns=at), 1e-8)
    beyond = passages(known, from_ns=at, x_utck_minus_scale_s=x_s + 2e-8)
    assert first_passage.stated_s(beyond, 1e-8) == 0.0


def test_the_same_question_has_the_same_bits_for_an_answer_and_later_is_shorter() -> None:
    known = learned(course(replace(MASER, y_spread=1e-13), 40, 2))
    first, again = (passages(known, from_ns=known.epoch_ns) for _ in range(2))
    assert first.furthest_s.tobytes() == again.furthest_s.tobytes()
    later = passages(known, from_ns=known.epoch_ns + 5 * DAY_NS)
    assert first_passage.stated_s(later, 1e-8) < first_passage.stated_s(first, 1e-8)


def test_a_drift_that_fades_is_drawn_as_it_is_foreseen() -> None:
    usual = FreeNoise(q1=1e-26, q2=1e-38, floor2=1e-33, q3=2.0 * 4e-42 / (30.0 * DAY_S), drift_spread=2e-21)
    known = learned(course(replace(usual, y_spread=1e-13), 40, 4), 4, replace(usual, y_spread=1e-13))
    found = passages(known, from_ns=known.epoch_ns)
    for k in (40, 80):
        u_s = foresight.ahead(known, known.epoch_ns + round(found.after_s[k] * 1e9)).u_s
        assert 0.03 < float((found.furthest_s[k] > 2.0 * u_s).mean()) < 0.12
