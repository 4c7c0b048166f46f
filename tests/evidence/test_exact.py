"""Exact values come back with every bit; anything else is refused, and nothing is made because bytes say so."""

import json
import math
import struct
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from truechimer.evidence import exact
from truechimer.evidence.exact import ExactMisuse, ExactRejected


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 0
    HIGH = 1


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    colour: Colour = Colour.RED
    doubled: float = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "doubled", 2.0 * self.x)


@dataclass(frozen=True, slots=True)
class Line:
    points: tuple[Point, ...]
    level: Level | None


@dataclass(frozen=True, slots=True)
class Stranger:
    x: float


KINDS = exact.kinds_within(Line)

ANY_FLOAT = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack(">d", struct.pack(">Q", bits))[0])
ARRAYS = st.one_of(
    arrays.arrays(np.float64, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4), elements=ANY_FLOAT),
    arrays.arrays(np.int64, arrays.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4)),
    arrays.arrays(np.bool_, arrays.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4)),
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    ANY_FLOAT,
    st.text(),
    st.binary(),
    st.sampled_from([*Colour, *Level]),
    ANY_FLOAT.map(Point),
    ARRAYS,
    ANY_FLOAT.map(np.float64),
    st.integers(-(2**63), 2**63 - 1).map(np.int64),
    st.booleans().map(np.bool_),
    st.frozensets(st.integers() | st.text(max_size=4)),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


def bits(value: object) -> object:
    """What two values have in common that are equal bit for bit, and of the same types."""
    if isinstance(value, np.ndarray):
        return ("array", value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, np.generic):
        return (type(value).__name__, value.tobytes())
    if isinstance(value, float):
        return ("float", struct.pack(">d", value))
    if isinstance(value, Point):
        return ("Point", bits(value.x), value.colour, bits(value.doubled))
    if isinstance(value, Line):
        return ("Line", bits(value.points), value.level)
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, tuple(map(bits, value)))
    if isinstance(value, dict):
        return ("dict", tuple((key, bits(value[key])) for key in sorted(value)))
    if isinstance(value, frozenset):
        return ("set", value)
    return (type(value).__name__, value)


@given(VALUES)
def test_a_value_comes_back_bit_for_bit_and_has_one_text(value: object) -> None:
    text = exact.encode(value, KINDS)
    again = exact.decode(text, KINDS)
    assert bits(again) == bits(value)
    assert exact.encode(again, KINDS) == text


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308])
def test_the_odd_floats_come_back(value: float) -> None:
    again = exact.decode(exact.encode((value, np.array([value])), KINDS), KINDS)
    assert struct.pack(">d", again[0]) == struct.pack(">d", value)
    assert again[1].tobytes() == np.array([value]).tobytes()


def test_what_the_constructor_makes_is_made_again_and_one_array_stays_one() -> None:
    line = Line((Point(1.5, Colour.BLUE), Point(2.0)), Level.HIGH)
    assert exact.decode(exact.encode(line, KINDS), KINDS) == line
    assert exact.decode(exact.encode(line, KINDS), KINDS).points[0].doubled == 3.0
    one = np.arange(3.0)
    first, second, other = exact.decode(exact.encode((one, one, one.copy()), KINDS), KINDS)
    assert first is second
    assert other is not first


@pytest.mark.parametrize(
    "value", [object(), {1: 2}, {1, 2}, 1j, Stranger(1.0), np.zeros(2, np.float32), np.array(["a"]), print, Stranger]
)
def test_what_is_of_no_known_kind_is_not_written(value: object) -> None:
    with pytest.raises(ExactMisuse):
        exact.encode((value,), KINDS)


@pytest.mark.parametrize(
    "tree",
    [
        ["o", "Stranger", {"x": ["f", "0" * 16]}],
        ["o", "Point", {"x": ["f", "0" * 16]}],
        ["o", "Point", {"x": ["f", "0" * 16], "colour": ["e", "Colour", "RED"], "doubled": ["f", "0" * 16]}],
        ["o", "Colour", {}],
        ["e", "Point", "x"],
        ["e", "Colour", "__class__"],
        ["e", "os", "system"],
        ["f", "00"],
        ["i", "one"],
        ["a", "|O8", ["1"], "AAAAAAAAAAA="],
        ["a", "<f8", ["2"], "AAAAAAAAAAA="],
        ["a", "<f8", ["1"], "!"],
        ["r", "0"],
        ["x"],
        [],
        {"a": 1},
        1.5,
        ["l"] * 1 + [["q"]],
    ],
)
def test_what_nobody_writes_is_refused(tree: object) -> None:
    with pytest.raises(ExactRejected):
        exact.decode(json.dumps(tree), KINDS)


@given(
    st.text() | st.recursive(st.none() | st.text(max_size=4) | st.integers(), st.lists, max_leaves=8).map(json.dumps)
)
def test_any_text_is_read_or_rejected(text: str) -> None:
    try:
        exact.decode(text, KINDS)
    except ExactRejected:
        return


def test_two_classes_of_one_name_cannot_be_told_apart_and_are_refused() -> None:
    other = dataclass(type("Point", (), {"__annotations__": {"x": float}}))
    with pytest.raises(ExactMisuse, match="two classes are named Point"):
        exact.kinds_within(Line, other)


def test_the_shape_changes_with_a_field_and_with_a_member() -> None:
    shapes = {exact.shape_of(exact.kinds_within(kind)) for kind in (Line, Point, Stranger, Colour, Level)}
    assert len(shapes) == 5
