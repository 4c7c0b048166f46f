"""The court of detection: who is off, who can say so, and when nobody can. One window, deviations in units of sigma."""

import numpy as np
import pytest

from truechimer.scale.detection import _median_in_order, weighted_median
from truechimer.scale.detection_judge import CLEARED, FOR_NOW, GUILTY, MOVED_TOGETHER, NOTHING, TIE, judge

THRESHOLD = 4.5
MASER, CAESIUM = 1.0, 900.0
"""Variances over a window of hours: a caesium is thirty times noisier."""


def judged(
    d: list[float], v: list[float], *, voter: list[bool] | None = None
) -> tuple[list[int], np.ndarray, np.ndarray, float]:
    """Verdicts, sigmas, who was kept, and the mean of those."""
    n = len(d)
    z, verdict, kept = np.zeros(n), np.zeros(n, np.int64), np.zeros(n, np.bool_)
    may = np.ones(n, np.bool_) if voter is None else np.array(voter)
    again = np.zeros(n, np.bool_)
    middle, _ = judge(np.array(d), np.array(v), may, again, np.full(n, THRESHOLD), z, verdict, kept)
    return verdict.tolist(), z, kept, middle


def test_a_clock_is_held_against_the_others_without_itself() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        n = int(rng.integers(3, 12))
        v = rng.uniform(0.5, 20.0, n)
        d = rng.normal(size=n) * np.sqrt(v) * 0.5
        _, z, kept, _ = judged(d.tolist(), v.tolist())
        assert kept.all()
        for i in range(n):
            others = np.delete(np.arange(n), i)
            a = 1.0 / v[others]
            c = float((a * d[others]).sum() / a.sum())
            assert z[i] == pytest.approx((d[i] - c) / np.sqrt(v[i] + 1.0 / a.sum()), rel=1e-9, abs=1e-12)


def test_a_common_movement_of_all_is_nobodys() -> None:
    verdict, _, _, middle = judged([1e6 + 0.1, 1e6 - 0.2, 1e6 + 0.3, 1e6], [MASER] * 4)
    assert verdict == [NOTHING] * 4
    assert middle == pytest.approx(1e6, abs=1.0)


def test_one_of_five_is_guilty_and_does_not_pull_the_mean() -> None:
    verdict, z, kept, middle = judged([0.1, -0.2, 50.0, 0.3, 0.0], [MASER] * 5)
    assert verdict == [NOTHING, NOTHING, GUILTY, NOTHING, NOTHING]
    assert kept.tolist() == [True, True, False, True, True]
    assert abs(middle) < 0.2
    assert z[2] > 40.0


def test_two_of_five_that_move_together_are_both_guilty_and_no_other() -> None:
    verdict, _, _, _ = judged([20.0, 20.5, 0.3, 0.0, -0.4, 3.0, -20.0, 9.0], [MASER] * 5 + [CAESIUM] * 3)
    assert verdict == [GUILTY, GUILTY] + [NOTHING] * 6


def test_a_heavy_clock_is_not_its_own_witness() -> None:
    verdict, _, _, _ = judged([60.0, 0.0, 2.0, -2.0, 1.0], [0.01, 4.0, 4.0, 4.0, 4.0])
    assert verdict == [GUILTY] + [NOTHING] * 4


def test_one_against_one_is_a_tie() -> None:
    verdict, _, _, _ = judged([30.0, 0.0], [MASER] * 2)
    assert TIE in verdict
    assert GUILTY not in verdict
    assert FOR_NOW not in verdict


def test_two_masers_that_disagree_are_a_tie_while_the_caesiums_cannot_tell() -> None:
    verdict, _, _, _ = judged([12.0, 0.0, 20.0, -10.0, 4.0], [MASER] * 2 + [CAESIUM] * 3)
    assert GUILTY not in verdict
    assert TIE in verdict


def test_two_masers_that_disagree_are_told_apart_once_the_caesiums_can() -> None:
    verdict, _, _, _ = judged([300.0, 0.0, 20.0, -10.0, 4.0], [MASER] * 2 + [CAESIUM] * 3)
    assert verdict == [GUILTY] + [NOTHING] * 4


def test_two_against_two_is_a_tie() -> None:
    verdict, _, _, _ = judged([20.0, 20.3, 0.1, 0.0], [MASER] * 4)
    assert GUILTY not in verdict
    assert TIE in verdict


@pytest.mark.parametrize("size", [9.0, 50.0, 200.0, 2000.0])
def test_one_against_two_is_a_question_for_the_others_unless_they_convict_the_one_at_long_odds(size: float) -> None:
    caesiums = [20.0, -10.0, 4.0]
    alone, _, _, _ = judged([size, 0.1, 0.0, *caesiums], [MASER] * 3 + [CAESIUM] * 3)
    together, _, _, _ = judged([0.0, size, size + 0.2, *caesiums], [MASER] * 3 + [CAESIUM] * 3)
    assert alone == [GUILTY if size > 100.0 else FOR_NOW] + [NOTHING] * 5
    assert together == [FOR_NOW] + [NOTHING] * 5


def test_three_of_four_masers_that_move_are_named_only_where_the_others_say_so_at_long_odds() -> None:
    v, caesiums = [MASER] * 4 + [CAESIUM] * 3, [20.0, -10.0, 4.0]
    verdict, _, kept, middle = judged([0.0, 200.0, 200.5, 199.6, *caesiums], v)
    assert verdict == [CLEARED, MOVED_TOGETHER, MOVED_TOGETHER, MOVED_TOGETHER] + [NOTHING] * 3
    assert kept.tolist() == [True, False, False, False, True, True, True]
    assert abs(middle) < 1.0
    # sixteen squared sigmas are not enough to overturn three that agree
    verdict, _, _, _ = judged([0.0, 70.0, 70.3, 69.8, *caesiums], v)
    assert verdict[0] == GUILTY
    assert MOVED_TOGETHER not in verdict


def test_a_clock_without_a_reading_or_without_a_known_noise_is_not_judged() -> None:
    verdict, z, _, _ = judged([np.nan, 50.0, 0.0, 0.1, -0.1], [MASER, np.inf, MASER, MASER, MASER])
    assert verdict == [NOTHING] * 5
    assert np.isnan(z[0])
    assert np.isnan(z[1])


def test_a_single_judge_convicts_nobody() -> None:
    verdict, _, _, _ = judged([50.0, 0.0, 1.0], [MASER] * 3, voter=[True, False, False])
    assert verdict == [NOTHING] * 3


def test_the_median_by_halving_is_that_by_sorting_to_the_bit() -> None:
    rng = np.random.default_rng(4)
    for turn in range(600):
        n = int(rng.integers(1, 120 if turn % 5 else 1_200))
        values = rng.normal(size=n) if turn % 3 else rng.integers(-3, 4, n).astype(float)
        weights = rng.random(n) if turn % 2 else np.full(n, 1.0 / n)
        weights[rng.random(n) < 0.2] = 0.0
        if turn % 7 == 0:
            values[rng.random(n) < 0.1] = np.nan
        one, other = weighted_median(values, weights), _median_in_order(values, weights)
        assert one == other or (np.isnan(one) and np.isnan(other)), turn
