"""Whom to believe: a majority of operators by intersection, liars by name, no majority said as what it is."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.compare.selection import Candidate, Expected, Selection, SelectionState, combine, select

MAJORITY, NO_MAJORITY = SelectionState.MAJORITY, SelectionState.NO_MAJORITY


def source(reference: int, x_s: float, half_s: float, operator: str | None = None) -> Candidate:
    return Candidate(reference, operator or f"operator-{reference}", x_s, half_s / 6.0, 0.0, half_s)


def between(reference: int, low: float, high: float, operator: str | None = None) -> Candidate:
    return source(reference, (low + high) / 2.0, (high - low) / 2.0, operator)


def chosen(*sources: Candidate, expected: Expected | None = None) -> Selection:
    """Select, and see that the order in which sources stand does not matter."""
    found = select(list(sources), expected)
    for turned in list(permutations(sources))[:24]:
        other = select(list(turned), expected)
        assert (other.state, set(other.selected), set(other.outvoted)) == (
            found.state,
            set(found.selected),
            set(found.outvoted),
        )
    return found


def test_without_sources_there_is_nothing_to_say() -> None:
    assert select([]) == Selection(SelectionState.NO_SOURCE, (), (), surprise=False)


def test_sources_that_agree_are_all_selected() -> None:
    found = chosen(source(0, 0.0, 2.0), source(1, 1.0, 2.0), source(2, -1.0, 2.0))
    assert (found.state, found.selected, found.outvoted) == (MAJORITY, (0, 1, 2), ())


@pytest.mark.parametrize("liars", [{0}, {2}, {1, 3}])
def test_liars_are_named(liars: set[int]) -> None:
    found = chosen(*(source(k, 50.0 * (k + 1) if k in liars else 0.1 * k, 1.0) for k in range(5)))
    assert found.state is MAJORITY
    assert set(found.outvoted) == liars
    assert set(found.selected) == set(range(5)) - liars


def test_half_is_no_majority_and_nobody_is_selected() -> None:
    found = chosen(source(0, 0.0, 1.0), source(1, 0.1, 1.0), source(2, 9.0, 1.0), source(3, 9.1, 1.0))
    assert (found.state, found.selected, set(found.outvoted)) == (NO_MAJORITY, (), {0, 1, 2, 3})
    assert chosen(source(0, 0.0, 1.0), source(1, 9.0, 1.0)).state is NO_MAJORITY


def test_one_operator_with_many_servers_has_one_vote() -> None:
    farm = [source(k, 9.0, 1.0, "farm") for k in range(5)]
    found = chosen(*farm, source(7, 0.0, 1.0), source(8, 0.1, 1.0))
    assert found.state is MAJORITY
    assert set(found.selected) == {7, 8}
    assert select([*farm, source(7, 0.0, 1.0)]).state is NO_MAJORITY


def test_servers_of_one_operator_that_agree_with_everybody_are_all_selected() -> None:
    """Their intervals begin one after another: none of them is a liar for that."""
    found = chosen(between(0, 0, 10, "a"), between(1, 5, 15, "a"), between(2, -1, 20, "b"))
    assert (found.state, set(found.selected)) == (MAJORITY, {0, 1, 2})
    staggered = [between(k, k, 10 + k, "pool") for k in range(4)]
    assert set(chosen(*staggered).selected) == {0, 1, 2, 3}


def test_one_operator_alone_is_believed_as_far_as_its_servers_agree() -> None:
    assert chosen(source(0, 5.0, 1.0, "a")).selected == (0,)
    found = chosen(source(0, 0.0, 1.0, "a"), source(1, 0.5, 1.0, "a"), source(2, 9.0, 1.0, "a"))
    assert (found.state, set(found.selected), found.outvoted) == (MAJORITY, {0, 1}, (2,))
    assert chosen(source(0, 0.0, 1.0, "a"), source(1, 9.0, 1.0, "a")).state is NO_MAJORITY


def test_an_operator_that_contradicts_itself_keeps_one_vote_for_what_others_confirm() -> None:
    found = chosen(
        source(0, 0.0, 1.0, "a"), source(1, 9.0, 1.0, "a"), source(2, 0.2, 1.0, "b"), source(3, 0.1, 1.0, "c")
    )
    assert (found.state, set(found.selected), found.outvoted) == (MAJORITY, {0, 2, 3}, (1,))


def test_intervals_that_only_touch_agree() -> None:
    found = chosen(between(0, 0.0, 1.0), between(1, 1.0, 2.0))
    assert (found.state, set(found.selected)) == (MAJORITY, {0, 1})
    assert chosen(between(0, 0.0, 1.0), between(1, 1.0 + 2.0**-40, 2.0)).state is NO_MAJORITY


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_source_so_wide_that_it_agrees_with_both_sides_decides_nothing(side: float) -> None:
    """A is honest, C lies, B is wide: two majorities of two, and a liar must not choose which is taken."""
    sources = (between(0, -5.0, 5.0), between(1, -20.0, 20.0), between(2, side * 15.0 - 5.0, side * 15.0 + 5.0))
    assert chosen(*sources).state is NO_MAJORITY
    found = chosen(*sources, expected=Expected(0.0, 2.0))
    assert (found.state, set(found.selected), found.outvoted) == (MAJORITY, {0, 1}, (2,))
    assert not found.surprise
    assert chosen(*sources, expected=Expected(0.0, 30.0)).state is NO_MAJORITY, "an expectation too wide is no witness"


def test_a_majority_that_contradicts_the_laboratory_while_somebody_confirms_it_is_none() -> None:
    liars = (source(0, 50.0, 1.0), source(1, 50.1, 1.0))
    honest = source(2, 0.1, 1.0)
    assert chosen(*liars, honest).state is MAJORITY
    found = chosen(*liars, honest, expected=Expected(0.0, 2.0))
    assert (found.state, found.surprise, found.selected) == (NO_MAJORITY, True, ())


def test_where_everybody_moved_it_was_the_laboratory_that_did() -> None:
    found = chosen(*(source(k, 50.0 + 0.1 * k, 1.0) for k in range(3)), expected=Expected(0.0, 2.0))
    assert (found.state, found.surprise, set(found.selected)) == (MAJORITY, True, {0, 1, 2})


def test_what_the_laboratory_expects_is_no_surprise() -> None:
    found = chosen(*(source(k, 0.1 * k, 1.0) for k in range(3)), expected=Expected(2.5, 2.0))
    assert (found.state, found.surprise) == (MAJORITY, False)


SOURCES = st.lists(
    st.tuples(st.integers(-50, 50), st.integers(0, 30), st.sampled_from("abcdef")), min_size=1, max_size=8
).map(lambda rows: [between(k, low, low + width, who) for k, (low, width, who) in enumerate(rows)])


def covering(sources: list[Candidate], at: float) -> set[int]:
    return {c.reference for c in sources if abs(c.x_utc_minus_scale_s - at) <= c.half_width_s}


@given(SOURCES)
def test_a_majority_always_shares_a_point_and_no_better_point_exists(sources: list[Candidate]) -> None:
    """By brute force: every edge is tried (the most shared stretch begins at one)."""
    operators = {c.operator for c in sources}
    by_operator = {c.reference: c.operator if len(operators) > 1 else str(c.reference) for c in sources}
    voters = set(by_operator.values())
    edges = [c.x_utc_minus_scale_s - c.half_width_s for c in sources]
    votes = [(len({by_operator[r] for r in covering(sources, at)}), covering(sources, at)) for at in edges]
    most = max(n for n, _ in votes)
    found = select(sources)
    if found.state is MAJORITY:
        assert 2 * most > len(voters)
        assert any(n == most and who == set(found.selected) for n, who in votes)
        assert set(found.selected) | set(found.outvoted) == {c.reference for c in sources}
        assert not set(found.selected) & set(found.outvoted)
    else:
        best = [who for n, who in votes if n == most]
        assert 2 * most <= len(voters) or len({frozenset(who) for who in best}) > 1


@given(
    st.integers(3, 9).flatmap(
        lambda n: st.tuples(
            st.lists(st.tuples(st.floats(-1.0, 1.0), st.floats(1.0, 5.0)), min_size=n, max_size=n),
            st.lists(st.floats(-100.0, 100.0), min_size=(n - 1) // 2, max_size=(n - 1) // 2),
        )
    )
)
def test_a_minority_of_liars_never_gets_all_honest_sources_outvoted(
    case: tuple[list[tuple[float, float]], list[float]],
) -> None:
    """Honest intervals hold the truth (0); fewer liars than half say anything, as narrowly as they like."""
    honest, lies = case
    sources = [source(k, x, half) for k, (x, half) in enumerate(honest)]
    for k, lie in enumerate(lies):
        sources[k] = source(k, lie, 1e-3)
    found = select(sources)
    if found.state is MAJORITY:
        assert set(found.selected) & set(range(len(lies), len(sources))), "a majority holds at least one honest source"


def test_a_combination_weighs_by_noise_and_limit_and_carries_both() -> None:
    one = Candidate(0, "a", 1.0, 1e-1, 0.0, 1.0)
    other = Candidate(1, "b", 4.0, 2e-1, 0.0, 1.0)
    both = combine([one, other])
    assert both.x_utc_minus_scale_s == pytest.approx((1.0 * 100 + 4.0 * 25) / 125)
    assert both.u_s == pytest.approx((1 / 125) ** 0.5)
    assert combine([one]).u_s == pytest.approx(0.1)
    limited = combine([Candidate(0, "a", 0.0, 0.0, 1.0, 1.0), Candidate(1, "b", 0.0, 0.0, 3.0, 3.0)])
    assert limited.limit_s == pytest.approx((1.0 * 1.0 + 3.0 / 9.0) / (1.0 + 1.0 / 9.0))
    assert limited.u_s == pytest.approx(0.0, abs=1e-12)
