"""Paths from the pivot to every node, what is spare, and loops that do not close."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.compare.networks import epoch, good, register

from truechimer.clocks.register import Register
from truechimer.compare.closure import check
from truechimer.compare.pivot import AgainstPivot, against_pivot
from truechimer.compare.reading import EpochReadings

NAN = float("nan")


def walked(reg: Register, readings: EpochReadings, preferred: int = 0) -> AgainstPivot:
    return against_pivot(readings, good(readings), reg, preferred=preferred)


def test_a_star_gives_every_clock_minus_the_pivot() -> None:
    reg = register("A B C", "B-A", "C-A", "UTC.P-A")
    found = walked(reg, epoch([1e-9, -2e-9, 3e-9], u_s=[1e-11, 2e-11, 3e-11], limit_s=1e-10))
    assert found.x_node_minus_pivot_s.tolist() == [0.0, 1e-9, -2e-9, 3e-9]
    assert found.u2_s2.tolist() == pytest.approx([0.0, 1e-22, 4e-22, 9e-22])
    assert found.limit_s.tolist() == [0.0, 1e-10, 1e-10, 1e-10]
    assert (found.pivot, found.alone, found.spare.any()) == (0, False, False)


def test_a_link_the_other_way_round_changes_the_sign() -> None:
    found = walked(register("A B", "A-B"), epoch([5e-9]))
    assert found.x_node_minus_pivot_s.tolist() == [0.0, -5e-9]


def test_a_chain_adds_values_variances_and_limits() -> None:
    reg = register("A B C D", "B-A", "B-C", "D-C")
    found = walked(reg, epoch([1e-9, 4e-9, 10e-9], u_s=[1e-11, 2e-11, 2e-11], limit_s=1e-10))
    assert found.x_node_minus_pivot_s.tolist() == pytest.approx([0.0, 1e-9, -3e-9, 7e-9])
    assert found.u2_s2.tolist() == pytest.approx([0.0, 1e-22, 5e-22, 9e-22])
    assert found.limit_s.tolist() == pytest.approx([0.0, 1e-10, 2e-10, 3e-10])


def test_the_shortest_path_counts_and_the_others_are_spare() -> None:
    reg = register("A B C", "B-A", "C-B", "C-A")
    found = walked(reg, epoch([1e-9, 1e-9, 5e-9]))
    assert found.x_node_minus_pivot_s.tolist() == [0.0, 1e-9, 5e-9]
    assert found.spare.tolist() == [False, True, False]


def test_where_the_preferred_pivot_gives_nothing_another_takes_its_place() -> None:
    reg = register("A B C D", "B-A", "C-A", "C-B", "D-B")
    found = walked(reg, epoch([NAN, NAN, 2e-9, 3e-9]))
    assert found.pivot == 1
    assert np.isnan(found.x_node_minus_pivot_s[0])
    assert found.x_node_minus_pivot_s[1:].tolist() == [0.0, 2e-9, 3e-9]


def test_of_two_components_the_larger_is_taken_and_the_other_is_not_known() -> None:
    reg = register("A B C D E F G", "B-A", "D-C", "E-C", "F-C", "G-F")
    found = walked(reg, epoch([1e-9, 1e-9, 2e-9, 3e-9, 4e-9]))
    assert found.pivot == 2
    assert np.isnan(found.x_node_minus_pivot_s[:2]).all()
    assert np.isfinite(found.x_node_minus_pivot_s[2:]).all()


def test_only_a_link_to_utc_leaves_the_pivot_alone() -> None:
    reg = register("A B", "B-A", "UTC.P-A")
    found = walked(reg, epoch([NAN, 3e-9]))
    assert found.alone
    assert found.pivot == 0
    assert np.isnan(found.x_node_minus_pivot_s[1])
    assert not walked(reg, epoch([1e-9, NAN])).alone


def test_nothing_at_all_is_known_where_no_reading_came() -> None:
    found = walked(register("A B", "B-A"), epoch([NAN]))
    assert found.alone
    assert np.isnan(found.x_node_minus_pivot_s[1])
    assert not found.spare.any()


def test_a_path_never_runs_through_a_source_of_utc() -> None:
    """Two clocks that both see UTC.P are not compared by it: common view is another method."""
    reg = register("A B", "UTC.P-A", "UTC.P-B")
    found = walked(reg, epoch([3e-9, 5e-9]))
    assert found.alone
    assert np.isnan(found.x_node_minus_pivot_s[1])


def test_readings_marked_as_gaps_are_not_used() -> None:
    reg, readings = register("A B C", "B-A", "C-A"), epoch([1e-9, 2e-9])
    marks = good(readings)
    marks.quality[0] = 3
    found = against_pivot(readings, marks, reg, preferred=0)
    assert np.isnan(found.x_node_minus_pivot_s[1])
    assert found.x_node_minus_pivot_s[2] == 2e-9


@given(st.integers(2, 7), st.integers(0, 2**32), st.data())
def test_without_noise_every_path_gives_the_truth_whatever_the_network(n: int, seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-1000, 1000, n) * 2.0**-30  # exact in binary: sums have no rounding
    names = "ABCDEFG"[:n]
    tree = [(k, data.draw(st.integers(0, k - 1))) for k in range(1, n)]
    more = [(a, b) for a in range(n) for b in range(a) if (a, b) not in tree and data.draw(st.booleans())]
    pairs = [(a, b) if data.draw(st.booleans()) else (b, a) for a, b in tree + more]
    reg = register(" ".join(names), *[f"{names[a]}-{names[b]}" for a, b in pairs])
    readings = epoch([float(x[a] - x[b]) for a, b in pairs])
    preferred = data.draw(st.integers(0, n - 1))
    found = walked(reg, readings, preferred)
    assert found.pivot == preferred
    assert found.x_node_minus_pivot_s.tolist() == (x - x[preferred]).tolist()
    assert int(found.spare.sum()) == len(more)
    assert check(readings, found, reg) == ()


def opened(values: list[float], **more: object) -> list[tuple[int, float]]:
    reg = register("A B C", "B-A", "C-A", "C-B")
    readings = epoch(values, **more)
    loops = check(readings, walked(reg, readings), reg)
    return [(loop.link, loop.misclosure_s) for loop in loops]


def test_a_loop_that_closes_within_its_noise_says_nothing() -> None:
    assert opened([1e-9, 3e-9, 2e-9]) == []
    assert opened([1e-9, 3e-9, 2e-9 + 8e-11]) == [], "5 sigma of three readings of 10 ps are 87 ps"


def test_a_loop_that_does_not_close_names_the_spare_link_and_by_how_much() -> None:
    ((link, by_s),) = opened([1e-9, 3e-9, 2e-9 + 9e-11])
    assert link == 2
    assert by_s == pytest.approx(9e-11)
    assert opened([1e-9, 3e-9, -5e-9])[0][1] == pytest.approx(-7e-9)


def test_declared_limits_excuse_a_loop_and_late_values_make_none() -> None:
    assert opened([1e-9, 3e-9, 4e-9], limit_s=1e-9) == []
    assert opened([1e-9, 3e-9, 9e-9], limit_s=1e-9) != []
    assert opened([1e-9, 3e-9, 9e-9], age_s=[0.0, 0.0, 600.0]) == []
