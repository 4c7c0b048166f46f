"""The judge of moments: what a majority shares, what a series allows between its values, what an instrument's slip."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.evidence.verdict import WHYS, WORDS, Claim, Series, Served, Wander, Why, Word, judge, shared

QUIET = Wander(1e-10, 1e-11, 1e-10, 300.0)
interval = st.tuples(st.integers(-20, 20), st.integers(0, 10)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(interval, min_size=1, max_size=7), st.integers(1, 7))
def test_the_ends_of_what_enough_intervals_share_are_those_of_a_count_point_by_point(
    spans: list[tuple[int, int]], needed: int
) -> None:
    low, high = (np.array([[span[side] for span in spans]], dtype=float) for side in (0, 1))
    first, last = shared(low, high, np.array([needed]))
    points = [p for p in range(-25, 35) if sum(a <= p <= b for a, b in spans) >= needed]
    assert (first[0], last[0]) == (points[0], points[-1]) if points else np.isnan(first[0])


def test_an_absent_interval_has_no_voice() -> None:
    low, high = np.array([[0.0, np.nan, 1.0]]), np.array([[2.0, np.nan, 3.0]])
    assert [float(end[0]) for end in shared(low, high, np.array([2]))] == [1.0, 2.0]
    assert np.isnan(shared(low, high, np.array([3]))[0][0])


def straight(n: int = 40, slope: float = 1e-6, every_s: float = 1.0) -> Series:
    t = np.arange(n) * every_s
    return Series(t, slope * t, np.full(n, 1e-9), QUIET)


@pytest.mark.parametrize("off_s", [1e-7, -3e-6, 1.0])
@pytest.mark.parametrize("at", [1, 2, 20, 37, 38])
def test_a_lone_spike_is_left_out_and_nothing_else_is(off_s: float, at: int) -> None:
    clean = straight()
    x = clean.x_s.copy()
    x[at] += off_s
    kept = Series(clean.t_s, x, clean.half_s, QUIET).usable()
    assert list(kept.t_s) == [t for t in clean.t_s if t != at]


def test_a_step_and_a_run_of_false_values_stay_evidence() -> None:
    for begin, end in ((20, 40), (20, 24)):
        clean = straight()
        x = clean.x_s.copy()
        x[begin:end] += 1e-3
        assert np.count_nonzero(Series(clean.t_s, x, clean.half_s, QUIET).usable().x_s > 5e-4) >= end - begin - 1


def test_a_counter_that_stands_still_is_no_evidence() -> None:
    clean = straight()
    x = clean.x_s.copy()
    x[10:30] = x[10]
    assert len(Series(clean.t_s, x, clean.half_s, QUIET).usable().t_s) == len(x) - 19


def test_between_two_values_lies_the_straight_line_and_beyond_the_last_the_doubt_grows() -> None:
    series = straight(every_s=10.0)
    x, half = series.at(np.array([-1.0, 0.0, 15.0, 390.0, 395.0, 500.0, 900.0]))
    assert np.isnan(x[0])
    assert (x[1], half[1]) == (0.0, 1e-9)
    assert x[2] == pytest.approx(15e-6)
    assert 1e-9 < half[2] < half[4] < half[5]
    assert x[4] == pytest.approx(395e-6)
    assert np.isnan(x[6]), "too long after the last value"


def test_a_gap_longer_than_a_clock_bridges_says_nothing() -> None:
    series = Series(np.array([0.0, 1.0, 500.0]), np.zeros(3), np.full(3, 1e-9), QUIET)
    assert np.isnan(series.at(np.array([250.0]))[0][0])
    assert series.at(np.array([0.5]))[0][0] == 0.0


def page(n: int = 40, off_s: float = 0.0, bound_s: float = 1e-6, *, stated: bool = True) -> Served:
    t = np.arange(n, dtype=float)
    return Served(
        t, t + 1.0, np.full(n, off_s), np.zeros(n), np.full(n, bound_s), np.zeros(n), np.full(n, stated), np.arange(n)
    )


def says(x_s: float, operator: str, half_s: float = 1e-7) -> Claim:
    t = np.arange(0.0, 41.0)
    return Claim(operator, ((Series(t, np.full(41, x_s), np.full(41, half_s), QUIET), 1.0),))


def words(served: Served, claims: list[Claim]) -> tuple[Word, Why]:
    found = judge(served, claims, np.array([10.0, 20.5]), within_s=1.0)
    assert found.word[0] == found.word[1]
    return WORDS[found.word[0]], WHYS[found.why[0]]


def test_the_word_of_a_moment_follows_from_who_said_what() -> None:
    honest = [says(0.0, "a"), says(1e-8, "b"), says(-1e-8, "c")]
    assert words(page(), honest)[0] is Word.PROVED
    assert words(page(), [*honest[:2], says(1.0, "liar")])[0] is Word.PROVED
    assert words(page(off_s=1e-3), honest)[0] is Word.MOVED
    assert words(page(off_s=1e-3, bound_s=1e-2), honest)[0] is Word.PROVED, "it was said how wrong it may be"
    assert words(page(stated=False), honest) == (Word.UNPROVED, Why.UNSYNCHRONISED)
    assert words(page(), honest[:1]) == (Word.UNPROVED, Why.ONE_OPERATOR)
    assert words(page(), []) == (Word.UNPROVED, Why.NOBODY_HEARD)
    assert words(page(), [says(0.0, "a"), says(1.0, "b")]) == (Word.UNPROVED, Why.NO_MAJORITY)
    assert words(page(n=5), honest) == (Word.UNPROVED, Why.NOTHING_STATED)


def test_many_servers_of_one_operator_are_one_voice() -> None:
    many = [says(1e-3, "liar") for _ in range(9)]
    assert words(page(), [says(0.0, "a"), says(0.0, "b"), *many])[0] is Word.PROVED
    assert words(page(), many) == (Word.UNPROVED, Why.ONE_OPERATOR)


def test_the_stated_error_contains_the_true_one_wherever_utc_lies_in_the_honest_intervals() -> None:
    generator = np.random.default_rng(4)
    for _ in range(200):
        x_utc, served_s = generator.normal(0, 1e-6, 2)
        claims = []
        for k in range(5):
            half = 10 ** generator.uniform(-7, -5)
            off = generator.uniform(-1, 1) * half if k < 3 else generator.normal(0, 1e-4)
            claims.append(says(x_utc + off, f"{k}", half))
        found = judge(page(off_s=served_s, bound_s=1.0), claims, np.array([10.0]), within_s=1.0)
        if WORDS[found.word[0]] is Word.PROVED:
            assert found.low_s[0] - 1e-12 <= served_s - x_utc <= found.high_s[0] + 1e-12


def turning(operator: str, lie_s: float, ramp: float = 0.0) -> Claim:
    """An operator that is honest for 20 s, and then off by `lie_s` and `ramp` (s/s) more."""
    t = np.arange(0.0, 41.0)
    x = np.where(t > 20.0, lie_s + ramp * (t - 20.0), 0.0)
    return Claim(operator, ((Series(t, x, np.full(41, 1e-7), QUIET), 1.0),))


@pytest.mark.parametrize(("lie_s", "ramp"), [(50e-3, 0.0), (-1e-3, 0.0), (0.0, 1e-3), (3600.0, 0.0)])
def test_a_majority_that_turns_away_together_moves_no_second_and_proves_none(lie_s: float, ramp: float) -> None:
    claims = [says(0.0, "a"), says(0.0, "b"), *(turning(name, lie_s, ramp) for name in "cde")]
    found = judge(page(), claims, np.arange(0.5, 40.0, 0.5), within_s=1.0)
    assert all(WORDS[word] is Word.PROVED for word in found.word[found.t_s < 20.0])
    late = found.t_s >= 22.0
    assert all(WORDS[word] is Word.UNPROVED for word in found.word[late])
    assert {WHYS[why] for why in found.why[late]} == {Why.OPERATORS_MOVED}


@pytest.mark.parametrize(("step_s", "ramp"), [(50e-3, 0.0), (2e-6, 0.0), (0.0, 1e-4), (0.0, -1e-6), (3600.0, 0.0)])
def test_what_was_served_stays_moved_where_the_operators_did_not(step_s: float, ramp: float) -> None:
    served = page()
    late = served.t_s >= 20.0
    x = np.where(late, step_s + ramp * (served.t_s - 20.0), 0.0)
    moved = replace(served, x_served_minus_label_s=x, rate=np.where(late, ramp, 0.0))
    found = judge(moved, [says(0.0, name) for name in "abc"], np.arange(0.5, 40.0, 0.5), within_s=1.0)
    assert all(WORDS[word] is Word.MOVED for word in found.word[found.t_s > 25.0])
    assert Word.UNPROVED not in {WORDS[word] for word in found.word}
