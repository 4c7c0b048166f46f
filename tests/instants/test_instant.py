"""Instant, Span and TimeBound: exact arithmetic that refuses what is not time."""

import copy
import math
import pickle
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.instants.tables import any_instants

from truechimer.instants import Instant, OutOfRangeMisuse, Span, TimeBound, TimeTypeMisuse
from truechimer.instants.rounding import divide_half_even, divide_up

FS = st.integers(-(10**26), 10**26)
SPANS = st.builds(Span, FS)


@given(any_instants(), any_instants())
def test_a_difference_added_to_its_start_gives_its_end(a: Instant, b: Instant) -> None:
    assert a + (b - a) == b
    assert b - (b - a) == a
    assert (b - a) == -(a - b)


@given(any_instants(), any_instants())
def test_instants_sort_as_their_femtoseconds(a: Instant, b: Instant) -> None:
    assert (a < b, a <= b, a > b, a >= b) == (
        a.tai_fs < b.tai_fs,
        a.tai_fs <= b.tai_fs,
        a.tai_fs > b.tai_fs,
        a.tai_fs >= b.tai_fs,
    )
    assert (a == b) == (hash(a) == hash(b) and a.tai_fs == b.tai_fs)


@given(SPANS, SPANS, st.integers(-1000, 1000))
def test_spans_add_subtract_and_multiply_as_integers(a: Span, b: Span, n: int) -> None:
    assert (a + b).fs == a.fs + b.fs
    assert (a - b).fs == a.fs - b.fs
    assert (a * n).fs == (n * a).fs == a.fs * n
    assert abs(a).fs == abs(a.fs)
    assert (a < b, a <= b, a > b, a >= b) == (a.fs < b.fs, a.fs <= b.fs, a.fs > b.fs, a.fs >= b.fs)
    assert bool(a) == bool(a.fs)


@given(st.integers(-(2**63), 2**63 - 1))
def test_nanoseconds_survive_the_way_to_an_instant_and_back(ns: int) -> None:
    assert Instant.from_tai_ns(ns).tai_ns_floor == ns
    assert Span.from_ns(ns).ns_floor == ns


def test_nanoseconds_are_rounded_towards_the_past_before_1970_too() -> None:
    assert Instant(-1).tai_ns_floor == -1
    assert Instant(999_999).tai_ns_floor == 0
    assert Span(-1).ns_floor == -1


@given(st.floats(-1e9, 1e9))
def test_a_span_from_a_float_is_the_nearest_femtosecond(seconds: float) -> None:
    exact = Fraction(seconds) * 10**15
    assert abs(Span.from_seconds(seconds).fs - exact) <= Fraction(1, 2)
    assert Span.from_seconds(seconds).fs == round(exact)  # Fraction rounds half even


@given(st.floats(-1.0, 1.0))
def test_a_small_span_comes_back_as_the_same_float_to_half_a_femtosecond(seconds: float) -> None:
    assert abs(Span.from_seconds(seconds).seconds - seconds) <= 0.5e-15 + 2.0**-53 * abs(seconds)


@given(FS)
def test_seconds_of_a_span_are_the_nearest_float(fs: int) -> None:
    assert Span(fs).seconds == float(Fraction(fs, 10**15))


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf])
def test_a_span_from_a_float_that_is_not_finite_is_refused(seconds: float) -> None:
    with pytest.raises(OutOfRangeMisuse):
        Span.from_seconds(seconds)


@pytest.mark.parametrize("wrong", [1.0, "1", None, True])
def test_femtoseconds_that_are_no_integer_are_refused(wrong: object) -> None:
    for make in (Instant, Span, Instant.from_tai_ns, Span.from_ns):
        with pytest.raises(TimeTypeMisuse):
            make(wrong)  # type: ignore[operator]


@pytest.mark.parametrize("wrong", ["1", None, True, 1j])
def test_seconds_that_are_no_number_are_refused(wrong: object) -> None:
    with pytest.raises(TimeTypeMisuse):
        Span.from_seconds(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [1, 1.0, None, "1"])
def test_arithmetic_with_a_bare_number_is_refused(wrong: object) -> None:
    instant, span = Instant(0), Span(0)
    for operation in (
        lambda: instant + wrong,
        lambda: instant - wrong,
        lambda: span + wrong,
        lambda: span - wrong,
        lambda: instant < wrong,
        lambda: instant >= wrong,
        lambda: span > wrong,
        lambda: span <= wrong,
    ):
        with pytest.raises(TimeTypeMisuse):
            operation()  # type: ignore[no-untyped-call]


def test_two_instants_cannot_be_added_nor_compared_with_a_span() -> None:
    for operation in (
        lambda: Instant(1) + Instant(2),
        lambda: Span(1) + Instant(2),
        lambda: Span(1) - Instant(2),
        lambda: Instant(1) < Span(2),
        lambda: Span(1) < Instant(2),
        lambda: Span(1) * 1.5,
    ):
        with pytest.raises(TimeTypeMisuse):
            operation()  # type: ignore[no-untyped-call]
    assert Instant(1) != Span(1)


def test_an_instant_cannot_be_changed_and_survives_a_pickle() -> None:
    instant = Instant(5)
    with pytest.raises(AttributeError):
        instant.tai_fs = 6  # type: ignore[misc]
    assert not hasattr(instant, "__dict__")
    assert pickle.loads(pickle.dumps(instant)) == instant == copy.deepcopy(instant)
    assert {instant: 1}[Instant(5)] == 1


@given(st.integers(), st.integers(1, 10**20))
def test_rounding_helpers_agree_with_fractions(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator)
    assert divide_half_even(numerator, denominator) == round(exact)
    assert divide_up(numerator, denominator) == math.ceil(exact)


@pytest.mark.parametrize(("numerator", "rounded"), [(-3, -2), (-1, 0), (1, 0), (3, 2), (5, 2), (7, 4)])
def test_a_tie_goes_to_the_even_integer(numerator: int, rounded: int) -> None:
    assert divide_half_even(numerator, 2) == rounded


def test_a_time_bound_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(OutOfRangeMisuse):
        TimeBound(Instant(1), Instant(0))
    with pytest.raises(TimeTypeMisuse):
        TimeBound(1, Instant(2))  # type: ignore[arg-type]
    assert TimeBound(Instant(1), Instant(1)).width == Span(0)


@given(any_instants(), any_instants(), any_instants(), any_instants(), any_instants())
def test_an_intersection_holds_exactly_what_both_bounds_hold(
    a: Instant, b: Instant, c: Instant, d: Instant, point: Instant
) -> None:
    one, other = TimeBound(min(a, b), max(a, b)), TimeBound(min(c, d), max(c, d))
    both = one.intersect(other)
    assert both == other.intersect(one)
    for probe in (point, a, b, c, d):
        assert (both is not None and both.contains(probe)) == (one.contains(probe) and other.contains(probe))


@given(any_instants(), st.integers(0, 10**20), st.integers(0, 10**20))
def test_a_bound_grows_at_both_ends_and_keeps_its_middle(middle: Instant, half: int, growth: int) -> None:
    bound = TimeBound.around(middle, Span(half))
    assert bound.midpoint == middle
    assert bound.width == Span(2 * half)
    grown = bound.widen(Span(growth))
    assert grown.width == Span(2 * half + 2 * growth)
    assert grown.midpoint == middle
    assert grown.contains(bound.earliest)
    assert grown.contains(bound.latest)


def test_a_bound_cannot_be_widened_by_a_negative_span() -> None:
    with pytest.raises(OutOfRangeMisuse):
        TimeBound.around(Instant(0), Span(5)).widen(Span(-1))


def test_bounds_that_only_touch_intersect_in_one_instant() -> None:
    touching = TimeBound(Instant(0), Instant(5)).intersect(TimeBound(Instant(5), Instant(9)))
    assert touching == TimeBound(Instant(5), Instant(5))
    assert TimeBound(Instant(0), Instant(5)).intersect(TimeBound(Instant(6), Instant(9))) is None
