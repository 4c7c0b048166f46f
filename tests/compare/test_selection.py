"""Whom to believe: a majority of operators by intersection, liars by name, no majority said as what it is."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.compare.selection import NEAR_WIDTHS, Candidate, Expected, Selection, SelectionState, combine, select

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
    sources = (between(0, -5.0, 5.0), between(1, -60.0, 60.0), between(2, side * 50.0 - 5.0, side * 50.0 + 5.0))
    assert chosen(*sources).state is NO_MAJORITY
    found = chosen(*sources, expected=Expected(0.0, 2.0))
    assert (found.state, set(found.selected), found.outvoted) == (MAJORITY, {0, 1}, (2,))
    assert not found.surprise
    assert chosen(*sources, expected=Expected(0.0, 90.0)).state is NO_MAJORITY, "an expectation too wide is no witness"


def test_two_sides_that_lie_near_each_other_are_both_in_and_the_limit_holds_either() -> None:
    sources = (between(0, -5.0, 5.0), between(1, -20.0, 20.0), between(2, 10.0, 20.0))
    found = chosen(*sources)
    assert (found.state, found.low_s, found.high_s) == (MAJORITY, -5.0, 20.0)
    whole = [Candidate(c.reference, c.operator, c.x_utc_minus_scale_s, 0.0, c.half_width_s, 0.0) for c in sources]
    both = combine(whole)
    assert both.x_utc_minus_scale_s - both.limit_s <= -5.0
    assert both.x_utc_minus_scale_s + both.limit_s >= 20.0


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


def majority_stretches(sources: list[Candidate]) -> list[tuple[float, float]]:
    """By brute force: intervals end at whole numbers, so every half is looked at."""
    operators = {c.operator for c in sources}
    voters = {c.reference: c.operator if len(operators) > 1 else str(c.reference) for c in sources}
    found: list[tuple[float, float]] = []
    inside = False
    for twice in range(-102, 165):
        at = twice / 2.0
        here = {voters[c.reference] for c in sources if c.low_s <= at <= c.high_s}
        if 2 * len(here) > len(set(voters.values())):
            found = [*found[:-1], (found[-1][0], at)] if inside else [*found, (at, at)]
            inside = True
        else:
            inside = False
    return found


@given(SOURCES)
def test_the_region_is_what_more_than_half_cover_and_who_does_not_touch_it_is_outvoted(
    sources: list[Candidate],
) -> None:
    stretches = majority_stretches(sources)
    found = select(sources)
    if found.state is not MAJORITY:
        assert len(stretches) != 1
        return
    assert (found.low_s, found.high_s) == (stretches[0][0], stretches[-1][1])
    assert set(found.selected) == {c.reference for c in sources if c.low_s <= found.high_s and c.high_s >= found.low_s}
    assert set(found.outvoted) == {c.reference for c in sources} - set(found.selected)
    if len(stretches) > 1:
        widths = sorted(2.0 * c.half_width_s for c in sources)
        assert found.high_s - found.low_s <= NEAR_WIDTHS * widths[(len(widths) - 1) // 2]


LIARS_AND_HONEST = (
    st.integers(1, 9)
    .flatmap(
        lambda n: st.tuples(
            st.lists(st.tuples(st.floats(-1.0, 1.0), st.floats(0.0, 5.0)), min_size=n // 2 + 1, max_size=n),
            st.lists(st.tuples(st.floats(-12.0, 12.0), st.floats(0.0, 30.0), st.booleans()), max_size=(n - 1) // 2),
            st.lists(st.integers(1, 3), min_size=n, max_size=n),
            st.one_of(st.none(), st.tuples(st.floats(-3.0, 3.0), st.floats(0.0, 20.0))),
        )
    )
    .filter(lambda case: len(case[0]) > len(case[1]))
)


@given(LIARS_AND_HONEST, st.data())
def test_most_honest_means_no_honest_one_is_outvoted_and_the_combined_limit_holds_the_truth(
    case: tuple[list[tuple[float, float]], list[tuple[float, float, bool]], list[int], tuple[float, float] | None],
    data: st.DataObject,
) -> None:
    """The truth is 0. Honest operators run up to three servers each; liars say anything, as narrowly as they like."""
    honest, lies, servers, expected = case
    sources: list[Candidate] = []
    for k, (x, more) in enumerate(honest):
        for j in range(servers[k % len(servers)]):
            own = x * (1.0 - 0.4 * j)
            limit = abs(own) + more
            sources.append(Candidate(len(sources), f"honest-{k}", own, 0.0, limit, limit))
    for k, (lie, half, is_narrow) in enumerate(lies):
        limit = 1e-3 if is_narrow else half
        sources.append(Candidate(len(sources), f"liar-{k}", lie, 0.0, limit, limit))
    sources = data.draw(st.permutations(sources))
    witness = None if expected is None else Expected(expected[0], abs(expected[0]) + expected[1])
    found = select(list(sources), witness)
    truth = {c.reference for c in sources if c.operator.startswith("honest")}
    if found.state is not MAJORITY:
        return  # nothing is followed: never wrong
    assert truth <= set(found.selected)
    assert found.low_s <= 0.0 <= found.high_s
    taken = [c for c in sources if c.reference in found.selected]
    fresh = frozenset(data.draw(st.sets(st.sampled_from(sorted(found.selected)), min_size=1)))
    old = data.draw(st.sets(st.sampled_from(sorted(set(found.selected) - fresh)))) if len(taken) > len(fresh) else set()
    in_round = [c for c in taken if c.reference not in old]
    both = combine(in_round, fresh, older=[c for c in taken if c.reference in old])
    assert abs(both.x_utc_minus_scale_s) <= both.limit_s + 1e-12


def test_a_liar_that_creeps_along_the_edge_of_honest_intervals_gets_none_of_them_outvoted() -> None:
    """Five servers; two liars reach into A and B only: more intervals meet there than at the truth."""
    honest = (between(0, -1.0, 3.0), between(1, -2.0, 2.5), between(2, -3.0, 1.0))
    for step in range(60):
        lie = step / 10.0
        liars = (between(3, lie - 0.5, lie + 0.5), between(4, lie - 0.4, lie + 0.6))
        found = chosen(*honest, *liars)
        assert found.state is MAJORITY
        assert {0, 1, 2} <= set(found.selected)
        assert not set(found.selected) & {3, 4} or lie < 3.6
    assert set(found.outvoted) == {3, 4}


def test_whoever_claims_to_be_much_better_or_much_worse_than_the_others_does_not_move_the_limit() -> None:
    honest = [Candidate(k, f"h{k}", x, 1e-6, 1e-4, 1.06e-4) for k, x in enumerate((-2e-5, 0.0, 3e-5))]
    usual = combine(honest)
    narrow = combine([*honest, Candidate(3, "narrow", 9e-5, 1e-9, 1e-9, 1e-8)])
    assert narrow.limit_s >= 1e-4, "truth may be anywhere within the honest limits"
    assert abs(narrow.x_utc_minus_scale_s - usual.x_utc_minus_scale_s) < 3e-5
    wide = combine([*honest, Candidate(3, "wide", 2.0, 1e-6, 2.5, 2.5)])
    assert wide.limit_s < 1.6 * usual.limit_s
    assert wide.x_utc_minus_scale_s == pytest.approx(usual.x_utc_minus_scale_s, abs=1e-7)


def test_liars_that_were_caught_one_by_one_still_count_against_the_rest() -> None:
    honest = [source(0, 0.0, 1.0), source(1, 0.1, 1.0)]
    third, caught = source(2, 50.0, 1.0), (source(3, 9.0, 1.0), source(4, -9.0, 1.0))
    assert select([*honest, third]).state is MAJORITY
    assert select([*honest, third], watched=caught).state is NO_MAJORITY
    assert select([*honest, third], Expected(0.0, 2.0), watched=caught).state is NO_MAJORITY
    # one of them becomes honest: with the laboratory's own word for it, three of five are a majority again
    again = (source(3, 0.2, 1.0), caught[1])
    found = select([*honest, third], Expected(0.0, 2.0), watched=again)
    assert (found.state, set(found.selected)) == (MAJORITY, {0, 1, 3})
    assert select([*honest, third], Expected(70.0, 2.0), watched=again).state is NO_MAJORITY
    # who is watched and contradicts nobody counts neither way
    assert select([*honest, source(2, 0.3, 1.0)], watched=again).state is MAJORITY


def test_those_who_answer_first_are_no_majority_of_those_who_are_named() -> None:
    named = frozenset(f"operator-{k}" for k in range(5))
    liars = [source(3, 50.0, 1.0), source(4, 50.0, 1.0)]
    early = select(liars, wanted=named)
    assert (early.state, early.selected, early.outvoted) == (SelectionState.TOO_FEW, (), ())
    assert select(liars, Expected(0.0, 2.0), wanted=named).state is SelectionState.TOO_FEW
    assert select(liars, Expected(49.0, 2.0), wanted=named).state is MAJORITY, "the laboratory's own clocks confirm it"
    honest = [source(k, 0.1 * k, 1.0) for k in range(3)]
    found = select([*honest, *liars], wanted=named)
    assert (found.state, set(found.outvoted)) == (MAJORITY, {3, 4})
    assert select([source(0, 1.0, 1.0)], wanted=frozenset({"operator-0"})).state is MAJORITY
    assert select([source(0, 1.0, 1.0)], wanted=frozenset({"operator-0", "b"})).state is SelectionState.TOO_FEW


def test_a_value_of_which_only_a_part_is_new_carries_less_news() -> None:
    both = [Candidate(0, "a", 1.0, 1e-1, 1.0, 1.6), Candidate(1, "b", 3.0, 1e-1, 1.0, 1.6)]
    whole, half = combine(both), combine(both, frozenset({1}))
    assert half.x_utc_minus_scale_s == whole.x_utc_minus_scale_s == pytest.approx(2.0)
    assert half.u_s == pytest.approx(whole.u_s * 2.0**0.5)
    assert half.limit_s == whole.limit_s == pytest.approx(2.0)


def test_an_operator_with_many_servers_has_one_weight() -> None:
    farm = [Candidate(k, "farm", 1.0, 0.0, 1.0, 1.0) for k in range(9)]
    assert combine([*farm, Candidate(9, "b", 0.0, 0.0, 1.0, 1.0)]).x_utc_minus_scale_s == pytest.approx(0.5)


def test_a_combination_weighs_by_noise_and_limit_and_carries_both() -> None:
    one = Candidate(0, "a", 1.0, 1e-1, 0.0, 1.0)
    other = Candidate(1, "b", 4.0, 2e-1, 0.0, 1.0)
    both = combine([one, other])
    assert both.x_utc_minus_scale_s == pytest.approx((1.0 * 100 + 4.0 * 25) / 125)
    assert both.u_s == pytest.approx((1 / 125) ** 0.5)
    assert combine([one]).u_s == pytest.approx(0.1)
    limited = combine([Candidate(0, "a", 0.0, 0.0, 1.0, 1.0), Candidate(1, "b", 0.0, 0.0, 3.0, 3.0)])
    assert limited.limit_s == 3.0, "of two, either may be the honest one"
    assert limited.u_s == pytest.approx(0.0, abs=1e-12)


def test_two_that_begin_to_lie_do_not_win_while_two_that_are_honest_again_are_still_watched() -> None:
    """Run of five servers: p1 and p3 lied before and are not trusted yet, p0 and p2 begin to drift away together."""
    honest_again = (source(1, 0.0, 1.0), source(3, 0.1, 1.0))
    drifting = [source(0, 5.0, 1.0), source(2, 5.1, 1.0)]
    found = select([*drifting, source(4, 4.2, 1.0)], Expected(0.0, 1.5), watched=honest_again)
    assert (found.state, found.surprise) == (NO_MAJORITY, True)
    # where nobody confirms what the laboratory expected, its own clock is what moved
    elsewhere = (source(1, -50.0, 1.0), source(3, 40.0, 1.0))
    moved = select([*drifting, source(4, 4.2, 1.0)], Expected(0.0, 1.5), watched=elsewhere[:1])
    assert (moved.state, moved.surprise) == (MAJORITY, True)
