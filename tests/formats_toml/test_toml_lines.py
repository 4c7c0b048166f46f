"""The line finder names the line that a person would point at, whatever is written between."""

import tomllib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.formats.toml_lines import find_lines

KEYS = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True),
    st.from_regex(r"[A-Za-z .#=\[\]]{0,6}", fullmatch=True).map(lambda text: f'"{text}"'),
    st.from_regex(r"[A-Za-z .#=\[\]\\]{0,6}", fullmatch=True).map(lambda text: f"'{text}'"),
)
SCALARS = st.sampled_from(
    [
        "1",
        "-0x1F".replace("-", ""),
        "1_000.5e-3",
        "true",
        "inf",
        "1979-05-27 07:32:00Z",
        "07:32:00",
        '"a # b"',
        '"\\"]}, \\\\"',
        "'C:\\'",
        "'[{'",
        '""',
        "''",
        '"""one\ntwo \\\n   three"""',
        '"""quotes "" inside, and at the end"""""',
        "'''raw\n\\\n'''",
        "''''''",
        '"\\u00e9\\U0001F600"',
    ]
)
BLANK = st.sampled_from(["", "\n", "  # a ] comment with \"quotes'\n", "\n\n\t"])


def _array(items: list[str], blank: str) -> str:
    return "[" + ",".join(f"{blank} {item} {blank}" for item in items) + ("," if items and blank else "") + "]"


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.builds(_array, st.lists(inner, max_size=3), BLANK),
        st.lists(inner.filter(lambda text: "\n" not in text), max_size=3).map(
            lambda items: "{" + ", ".join(f"k{index}.z = {item}" for index, item in enumerate(items)) + "}"
        ),
    ),
    max_leaves=6,
)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, list[tuple[tuple[str | int, ...], int]]]:
    """Return a text, and the line that we know each of its pairs to have because we wrote it there."""
    text = draw(BLANK)
    expected: list[tuple[tuple[str | int, ...], int]] = []
    table: tuple[str | int, ...] = ()
    counts: dict[str, int] = {}
    for number in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["pair", "pair", "table", "array"]))
        line = text.count("\n") + 1
        if kind == "pair":
            key = draw(KEYS)
            name = next(iter(tomllib.loads(f"{key} = 1")))
            spaces = draw(st.sampled_from(["", " ", "\t"]))
            text += f"n{number}{spaces}.{spaces}{key}{spaces}={spaces}{draw(VALUES)}"
            expected.append(((*table, f"n{number}", name), line))
        elif kind == "table":
            table = (f"t{number}", "inner")
            text += f"[ t{number} . 'inner' ]"
            expected.append((table, line))
        else:
            name = draw(st.sampled_from(["clock", "source"]))
            table = (name, counts.get(name, 0))
            counts[name] = counts.get(name, 0) + 1
            text += f'[["{name}"]]'
            expected.append((table, line))
        text += draw(st.sampled_from(["\n", "  # why\n", "\n\n"])) + draw(BLANK)
    return text, expected


@given(documents())
def test_every_key_has_the_line_on_which_it_was_written(
    document: tuple[str, list[tuple[tuple[str | int, ...], int]]],
) -> None:
    text, expected = document
    tomllib.loads(text)  # the generator writes valid TOML
    lines = find_lines(text)
    assert [(path, lines.of(*path)) for path, _ in expected] == expected


@given(documents())
def test_every_value_that_the_parser_saw_has_a_line(
    document: tuple[str, list[tuple[tuple[str | int, ...], int]]],
) -> None:
    text, _ = document
    lines = find_lines(text)

    def walk(node: object, path: tuple[str | int, ...]) -> None:
        inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for part, value in inner:
            assert (*path, part) in lines.by_path, (text, path, part)
            walk(value, (*path, part))

    walk(tomllib.loads(text), ())


def test_items_of_an_array_over_several_lines_have_their_own_lines() -> None:
    lines = find_lines('a = [\n  1,\n  { b = """x\ny""", c = [2] }, # c\n  3\n]\nd = 4\n')
    paths = [("a", 0), ("a", 1), ("a", 1, "b"), ("a", 1, "c"), ("a", 1, "c", 0), ("a", 2), ("d",)]
    assert [lines.of(*path) for path in paths] == [2, 3, 3, 4, 4, 5, 7]


def test_a_table_inside_the_second_entry_of_an_array_belongs_to_that_entry() -> None:
    lines = find_lines("[[clock]]\n[clock.noise]\na = 1\n[[clock]]\n[clock.noise]\na = 2\n")
    assert lines.of("clock", 0, "noise", "a") == 3
    assert lines.of("clock", 1, "noise", "a") == 6
    assert lines.of("clock", 1, "noise") == 5


def test_what_was_never_written_has_the_line_of_the_table_around_it() -> None:
    lines = find_lines("\n[lab]\nname = 'x'\n")
    assert lines.of("lab", "silence_s") == 2
    assert lines.of("scale", "interval_s") is None


@pytest.mark.parametrize("escaped", ['"a\\"b"', '"\\u0041\\t"', '"\\U0001F600"', "'a\"b'"])
def test_a_quoted_key_is_found_by_the_name_that_the_parser_gives_it(escaped: str) -> None:
    text = f"x = 1\n{escaped} = 2\n"
    names = list(tomllib.loads(text))
    lines = find_lines(text)
    assert [lines.of(name) for name in names] == [1, 2]
    assert all(before < after for before, after in pairwise(lines.by_path.values()))
