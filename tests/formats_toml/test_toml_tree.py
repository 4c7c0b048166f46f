"""Reading TOML into dataclasses: one valid text, then one thing broken at a time, then bytes of every kind."""

import json
import tomllib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truechimer.errors import Misuse
from truechimer.formats.toml_tree import json_schema, read, read_with_lines


class Kind(StrEnum):
    MASER = "maser"
    CAESIUM = "caesium"


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    white_fm_1s: float | None = field(
        default=None, metadata={"unit": "1", "min": 0.0, "doc": "ADEV at 1 s", "wrong": "wrong weights"}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One clock."""

    name: str = field(metadata={"pattern": "[A-Za-z0-9_.-]+", "means": "letters, digits and _ . -", "doc": "its name"})
    kind: Kind = Kind.MASER
    noise: Noise = field(default_factory=Noise)
    frm: float = field(default=0.0, metadata={"key": "from", "unit": "s"})
    start: float | Literal["random"] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    interval_s: float = field(
        metadata={
            "unit": "s",
            "exclusive_min": 0,
            "max": 86400,
            "doc": "time between epochs",
            "wrong": "epochs are missed",
        }
    )
    days: int = field(default=1, metadata={"unit": "d", "min": 1})
    quiet: bool = False
    limits: dict[str, float] = field(default_factory=dict)
    taus: tuple[float, ...] = field(default=(), metadata={"unit": "s", "min": 0})
    label: str | None = None
    mode: str = field(default="fast", metadata={"choices": ("fast", "slow")})


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    run: Run
    clock: tuple[Item, ...] = field(default=(), metadata={"max": 3})


VALID = b"""\
[run]
interval_s = 10
days = 30
limits = { a = 1, b = 2.5 }
taus = [1, 10.0]

[[clock]]
name = "H1"
kind = "caesium"
from = 3
start = "random"

[[clock]]
name = "H2"
[clock.noise]
white_fm_1s = 1e-13
"""


def says(data: bytes) -> list[tuple[str, int | None, str]]:
    value, findings = read(data, Root)
    assert value is None
    assert findings
    return [(finding.rule, finding.line, finding.says) for finding in findings]


def test_a_valid_text_becomes_the_dataclasses() -> None:
    value, findings = read(VALID, Root)
    assert findings == []
    assert value == Root(
        run=Run(interval_s=10.0, days=30, limits={"a": 1.0, "b": 2.5}, taus=(1.0, 10.0)),
        clock=(
            Item(name="H1", kind=Kind.CAESIUM, frm=3.0, start="random"),
            Item(name="H2", noise=Noise(white_fm_1s=1e-13)),
        ),
    )
    assert isinstance(value.run.interval_s, float)


def test_line_ends_of_another_system_and_a_byte_order_mark_change_nothing() -> None:
    assert read(b"\xef\xbb\xbf" + VALID.replace(b"\n", b"\r\n"), Root) == read(VALID, Root)
    assert says(b"[run]\r\ninterval_s = 10\r\nnme = 1\r\n")[0][1] == 3


def test_all_faults_are_found_in_one_pass_each_with_its_line() -> None:
    found = says(
        b"""[run]
interval_ms = 10000
dais = 3
quiet = "yes"
[[clock]]
name = "H 1"
kind = "masr"
[[clock]]
noise = { white_fm_1s = -1.0 }
[clocks]
"""
    )
    assert [(rule, line) for rule, line, _ in found] == [
        ("wrong-unit", 2),
        ("unknown-key", 3),
        ("wrong-type", 4),
        ("bad-text", 6),
        ("not-a-choice", 7),
        ("missing-key", 8),
        ("out-of-range", 9),
        ("unknown-key", 10),
    ]


@pytest.mark.parametrize(
    ("text", "rule", "line", "words"),
    [
        (b"", "missing-key", None, "needs the [run]"),
        (b"[run]\n", "missing-key", 1, "key interval_s: time between epochs (seconds)"),
        (b"[run]\ninterval_s = 10\nlables = 'x'\n", "unknown-key", 3, "did you mean label?"),
        (b"[run]\ninterval_s = 10\nzzz = 1\n", "unknown-key", 3, "interval_s, days, quiet"),
        (b"[run]\ninterval_ms = 10\n", "wrong-unit", 2, "the key is interval_s, in seconds"),
        (b"[run]\ninterval = 10\n", "wrong-unit", 2, "the key is interval_s, in seconds"),
        (
            b"[run]\ninterval_s = '10 s'\n",
            "wrong-type",
            2,
            "write a number of seconds, without quotation marks or unit",
        ),
        (b"[run]\ninterval_s = '10'\n", "wrong-type", 2, "write a number of seconds, without quotation marks"),
        (b"[run]\ninterval_s = true\n", "wrong-type", 2, "is true; write a number of seconds"),
        (b"[run]\ninterval_s = 2026-01-01\n", "wrong-type", 2, "is a date or time"),
        (b"[run]\ninterval_s = [10]\n", "wrong-type", 2, "is a list"),
        (b"[run]\ninterval_s = nan\n", "not-finite", 2, "not a finite number"),
        (b"[run]\ninterval_s = -inf\n", "not-finite", 2, "not a finite number"),
        (b"[run]\ninterval_s = 1" + b"0" * 400 + b"\n", "not-finite", 2, "not a finite number"),
        (
            b"[run]\ninterval_s = 0\n",
            "out-of-range",
            2,
            "more than 0 and at most 86400 s (otherwise: epochs are missed)",
        ),
        (b"[run]\ninterval_s = 86401\n", "out-of-range", 2, "at most 86400"),
        (b"[run]\ninterval_s = 1\ndays = 1.5\n", "wrong-type", 3, "write a whole number of days"),
        (b"[run]\ninterval_s = 1\nmode = 'fats'\n", "not-a-choice", 3, "did you mean fast? choose one of fast, slow"),
        (b"[run]\ninterval_s = 1\nlimits = { a = 'x' }\n", "wrong-type", 3, "limits.a is text"),
        (b"[run]\ninterval_s = 1\ntaus = [1,\n -2]\n", "out-of-range", 4, "taus[2] is -2"),
        (b"[[run]]\ninterval_s = 1\n", "wrong-type", 1, "write [run] with single brackets"),
        (b"[run]\ninterval_s = 1\n[clock]\nname = 'a'\n", "wrong-type", 3, "write [[clock]] with double brackets"),
        (b"[run]\ninterval_s = 1\n[[clock]]\nname = 'a'\nstart = 'soon'\n", "not-a-choice", 5, "random"),
        (b"[run]\ninterval_s = 1\n[[clock]]\nname = 'a'\nstart = true\n", "wrong-type", 5, "a number or one of random"),
        (b"[run]\ninterval_s = 1\n" + b"[[clock]]\nname = 'a'\n" * 4, "out-of-range", 3, "4 items; at most 3"),
        (b"[run\n", "toml-syntax", 1, "not valid TOML"),
        (b"[run]\ninterval_s = 1\nx = 'open\n", "toml-syntax", 3, "not valid TOML"),
        (b"[run]\ninterval_s = ", "toml-syntax", 2, "not valid TOML"),
        (b"[run]\nlabel = 'caf\xe9'\n", "not-utf8", 2, "0xe9"),
        (b"x = " + b"[" * 100_000, "toml-syntax", None, "nested too deeply"),
        (b"x = " + b"9" * 10_000, "toml-syntax", None, "cannot be read"),
        (b"#" * 5_000_000, "too-large", None, "5000000 bytes"),
    ],
)
def test_one_fault_is_named_with_its_line_and_with_what_to_write(
    text: bytes, rule: str, line: int | None, words: str
) -> None:
    (finding,) = says(text)
    assert finding[:2] == (rule, line)
    assert words in finding[2]


def test_a_misspelt_required_key_is_reported_once_not_as_missing_too() -> None:
    assert [rule for rule, _, _ in says(b"[run]\nintervall_s = 1\n")] == ["unknown-key"]


def test_a_syntax_error_is_reported_alone() -> None:
    assert len(says(b"[run]\ninterval_ms = 'x'\nquiet = 3\n]\n")) == 1


def test_a_fault_in_an_entry_names_the_entry() -> None:
    ((_, _, text),) = says(VALID.replace(b'"caesium"', b"7"))
    assert text.startswith("[[clock]] 1 (H1) kind is a whole number")


def test_text_of_the_file_cannot_write_to_the_terminal() -> None:
    ((_, _, text),) = says(b'[run]\ninterval_s = 1\n"\\u001b[2J' + b"x" * 90 + b'" = 1\n')
    assert text.isprintable()
    assert len(text) < 200


def test_lines_serve_the_faults_that_need_two_keys() -> None:
    result = read_with_lines(VALID, Root)
    assert result.lines.of("clock", 1, "name") == 13 + 1
    assert result.lines.of("clock", 1, "kind") == 13


def test_what_could_be_read_is_there_for_further_checks_but_is_not_the_value() -> None:
    data = VALID.replace(b'"H1"', b"1").replace(b"days = 30", b"days = 0\nzzz = 1")
    result = read_with_lines(data, Root)
    assert result.value is None
    assert result.partial is not None
    run, (second,) = result.partial.run, result.partial.clock
    assert (run.interval_s, run.days, second.name) == (10.0, 1, "H2")
    assert result.line_of(second) == 14
    assert result.line_of(second, "name") == 15
    assert result.line_of(second.noise, "white_fm_1s") == 17
    assert result.line_of(second, "kind") == 14
    assert not result.is_sound(run, "interval_s", "days")
    assert result.is_sound(run, "interval_s", "quiet")


@pytest.mark.parametrize("text", [b"", b"[run]\n", b"run = 1\n", b"[run]\ninterval_s = 'x'\n"])
def test_a_broken_required_key_does_not_hide_the_faults_of_other_tables(text: bytes) -> None:
    result = read_with_lines(text + b"[[clock]]\nname = 'H1'\n[[clock]]\nname = 'H1'\n", Root)
    assert result.value is None
    assert result.partial is not None
    assert [clock.name for clock in result.partial.clock] == ["H1", "H1"]
    assert not result.is_sound(result.partial, "run") or not result.is_sound(result.partial.run, "interval_s")


def test_a_class_that_cannot_be_read_is_our_own_mistake() -> None:
    @dataclass(frozen=True)
    class Bad:
        x: bytes = b""

    @dataclass(frozen=True)
    class Misspelt:
        x: int = field(default=1, metadata={"uint": "s"})

    with pytest.raises(Misuse):
        read(b"x = 1", Bad)
    with pytest.raises(Misuse, match="uint"):
        read(b"", Misspelt)
    with pytest.raises(Misuse):
        json_schema(Bad)


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    value, findings = read(data, Root)
    assert (value is None) == bool(findings)


TOML_VALUES = st.recursive(
    st.one_of(
        st.integers(-(2**70), 2**70).map(str),
        st.floats().map(repr),
        st.booleans().map(lambda value: str(value).lower()),
        st.text(max_size=8).map(json.dumps),
        st.sampled_from(["1979-05-27", "'maser'", "'random'", "'fast'"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(inner, max_size=2).map(
            lambda items: "{" + ", ".join(f"k{i} = {item}" for i, item in enumerate(items)) + "}"
        ),
    ),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["interval_s", "days", "quiet", "limits", "taus", "label", "mode", "name", "kind", "noise", "from", "x_ms"]
)
HEADERS = st.sampled_from(["[run]", "[[clock]]", "[clock]", "[run.limits]", "[clock.noise]", "[[run]]", "[other]", ""])


@given(st.lists(st.tuples(HEADERS, KEYS, TOML_VALUES), max_size=6))
def test_reader_and_schema_refuse_the_same_trees(parts: list[tuple[str, str, str]]) -> None:
    """The schema is the second judge: apart from what it cannot say (nan, dates) the two must agree."""
    text = "".join(f"{header}\n{key} = {value}\n" for header, key, value in parts)
    value, findings = read(text.encode(), Root)
    assert (value is None) == bool(findings)
    if any(finding.rule in {"toml-syntax", "not-finite", "not-utf8"} for finding in findings):
        return
    tree: dict[str, Any] = tomllib.loads(text)
    whole_numbers = json.loads(json.dumps(tree, default=str))
    accepted = jsonschema.Draft202012Validator(json_schema(Root)).is_valid(whole_numbers)
    if any(
        "is a number; write a whole number" in finding.says or "date or time" in finding.says for finding in findings
    ):
        return  # 1.0 is an integer to JSON schema; a date became text
    assert accepted == (value is not None), text


def test_reader_and_schema_count_the_items_of_a_list_alike() -> None:
    for count, good in ((3, True), (4, False)):
        text = "[run]\ninterval_s = 1\n" + "[[clock]]\nname = 'a'\n" * count
        assert jsonschema.Draft202012Validator(json_schema(Root)).is_valid(tomllib.loads(text)) is good
        assert (read(text.encode(), Root)[0] is not None) is good


def test_the_schema_is_a_schema_and_says_unit_default_and_consequence() -> None:
    schema = json_schema(Root)
    jsonschema.Draft202012Validator.check_schema(schema)
    run = schema["$defs"]["Run"]
    assert run["additionalProperties"] is False
    assert run["required"] == ["interval_s"]
    assert run["properties"]["interval_s"] == {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 86400,
        "description": "time between epochs; unit: seconds; otherwise: epochs are missed",
    }
    assert run["properties"]["mode"] == {
        "type": "string",
        "enum": ["fast", "slow"],
        "description": "default: fast",
        "default": "fast",
    }
    assert "from" in schema["$defs"]["Item"]["properties"]
    jsonschema.Draft202012Validator(schema).validate(tomllib.loads(VALID.decode()))
