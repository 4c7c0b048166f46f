"""TOML text to a tree of frozen dataclasses, with every fault of the text found in one pass, each with its line.

It opens no file and knows no laboratory: which keys exist, their types, units and ranges are the dataclasses' own words
(`toml_fields`). Faults that need two keys at once are the caller's; `read_with_lines` gives it the lines to speak of.

TOML 1.0 (toml.io). A syntax error is reported alone, since nothing after it can be trusted. No bytes make these
functions raise.
"""

import difflib
import math
import re
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, Literal, TypeVar

from truechimer.errors import Misuse, TruechimerError
from truechimer.formats.finding import Finding
from truechimer.formats.toml_fields import (
    UNIT_WORDS,
    TomlField,
    choices_of,
    fields_of,
    is_enum,
    is_number,
    is_table,
    item_of,
    members_of,
    plain_number,
)
from truechimer.formats.toml_lines import Lines, Path, find_lines
from truechimer.formats.toml_schema import json_schema

__all__ = ["TreeRead", "by_line", "json_schema", "read", "read_with_lines"]

T = TypeVar("T")

MAX_BYTES = 4 * 1024 * 1024
"""Larger texts are refused unread: no configuration is so large, and the parser's time grows faster than the text."""

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_QUANTITY_TEXT = re.compile(r"\s*[-+]?[\d.]+(?:[eE][-+]?\d+)?\s*[A-Za-z%/]*\s*")


class _Invalid(Enum):
    """Stands for a value that had a fault: the fault is in the findings."""

    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class TreeRead(Generic[T]):
    """What was read: `value` is None where any finding is an error.

    `partial` is what could be read all the same, so that faults between keys can be reported together with faults of
    single keys. Never run on it: a broken optional key has its default there, an entry of a list with a broken required
    key is absent, and elsewhere a broken required key has a stand-in (empty text, the smallest number). `line_of` and
    `is_sound` take a dataclass of `partial` (by identity) and its TOML keys.
    """

    value: T | None
    findings: list[Finding]
    partial: T | None
    lines: Lines
    _path_by_node: Mapping[int, tuple[object, Path]]
    _faulty: frozenset[Path]

    def line_of(self, node: object, key: str = "") -> int | None:
        """Return the line of a key of this table, or of the table where the key is absent; None if never written."""
        _, path = self._path_by_node.get(id(node), (None, None))
        return None if path is None else self.lines.of(*path, *([key] if key else []))

    def is_sound(self, node: object, *keys: str) -> bool:
        """Return True if none of these keys of this table had a fault of its own (a default stands in for those)."""
        _, path = self._path_by_node.get(id(node), (None, None))
        return path is None or not any((*path, key) in self._faulty for key in keys)


def read(data: bytes, cls: type[T]) -> tuple[T | None, list[Finding]]:
    """Read TOML text into the dataclass `cls`; return it (None where there is an error) and all findings by line."""
    result = read_with_lines(data, cls)
    return result.value, result.findings


def read_with_lines(data: bytes, cls: type[T]) -> TreeRead[T]:
    """Read as `read` does, and return what else is needed to report faults that take more than one key to see."""
    if len(data) > MAX_BYTES:
        return _nothing(Finding("too-large", f"the file has {len(data)} bytes; at most {MAX_BYTES} are read"))
    try:
        # A byte order mark is tolerated as TOML 1.1 does; it counts for no line.
        text = data.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        says = f"byte 0x{data[error.start]:02x} is not UTF-8 text; save the file as UTF-8"
        return _nothing(Finding("not-utf8", says, line))
    try:
        tree = tomllib.loads(text)
        lines = find_lines(text)
    except tomllib.TOMLDecodeError as error:
        return _nothing(_syntax_fault(str(error), text))
    except RecursionError:
        return _nothing(Finding("toml-syntax", "brackets are nested too deeply; no such value is expected here"))
    except ValueError as error:  # a number with thousands of digits
        return _nothing(Finding("toml-syntax", f"a value cannot be read: {error}"))
    reader = _Reader(tree, lines)
    root = reader.table(tree, cls, ())
    partial = None if isinstance(root, _Invalid) else root
    return TreeRead(
        None if reader.findings else partial,
        by_line(reader.findings),
        partial,
        lines,
        reader.path_by_node,
        frozenset(reader.faulty),
    )


def by_line(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings in the order of the text; those of the whole text first."""
    return sorted(findings, key=lambda finding: (finding.line is not None, finding.line or 0))


def _nothing(finding: Finding) -> TreeRead[Any]:
    return TreeRead(None, [finding], None, Lines({}), {}, frozenset())


def _syntax_fault(message: str, text: str) -> Finding:
    """Turn the parser's message into a finding; its place stands at the end of the message."""
    place = _PLACE.search(message)
    says = f"not valid TOML: {_PLACE.sub('', message)}; correct this first, nothing else of the file was checked"
    if place is None:
        return Finding("toml-syntax", says)
    if place.group(1) is None:
        return Finding("toml-syntax", says, text.count("\n", 0, len(text.rstrip("\n"))) + 1)
    return Finding("toml-syntax", says, int(place.group(1)), int(place.group(2)))


class _Reader:
    """One pass over a parsed tree. Invariant: whatever returns INVALID has added a finding and a faulty path."""

    def __init__(self, tree: dict[str, Any], lines: Lines) -> None:
        self._tree = tree
        self._lines = lines
        self.findings: list[Finding] = []
        self.faulty: set[Path] = set()
        # The node stands beside its path so that its id stays its own for as long as anyone may ask.
        self.path_by_node: dict[int, tuple[object, Path]] = {}

    def table(self, table: dict[str, Any], cls: type[T], path: Path) -> T | _Invalid:
        """Read one table into `cls`; INVALID where a required key is missing or broken."""
        kind: type = cls
        fields = fields_of(kind)
        by_key = {item.key: item for item in fields}
        meant = {self._unknown_key(key, by_key, path, table[key]) for key in table if key not in by_key}
        values: dict[str, Any] = {}
        complete = True
        for item in fields:
            read_value: Any = _Invalid.INVALID
            if item.key in table:
                read_value = self.value(table[item.key], item.hint, item, (*path, item.key))
            elif item.required and item.key not in meant:
                self._missing(item, path)
            if read_value is not _Invalid.INVALID:
                values[item.attribute] = read_value
            elif item.required:
                complete = False
                values[item.attribute] = _stand_in(item.hint)
        if not complete and any(isinstance(part, int) for part in path):
            return _Invalid.INVALID
        try:
            node = cls(**values)
        except Misuse:
            raise
        except (ValueError, TruechimerError) as error:
            if not complete:
                return _Invalid.INVALID
            return self._fault("refused", f"{self._place(path) or 'the file'}: {error}", path)
        self.path_by_node[id(node)] = (node, path)
        return node

    def value(self, value: Any, hint: Any, item: TomlField, path: Path) -> Any:
        """Read one value as `hint` says; INVALID where it is not that."""
        members = members_of(hint)
        if len(members) > 1:
            fitting = [member for member in members if _fits(value, member)]
            if not fitting:
                return self._wrong_type(value, hint, item, path)
            return self.value(value, fitting[0], item, path)
        (member,) = members
        if member is Any or member is object:
            return value
        if not _fits(value, member):
            return self._wrong_type(value, member, item, path)
        if is_table(member):
            return self.table(value, member, path)
        if isinstance(value, list):
            return self._items(value, item_of(member), item, path)
        if isinstance(value, dict):
            inner = typing.get_args(member)[1]
            read_values = {key: self.value(each, inner, item, (*path, key)) for key, each in value.items()}
            return {key: each for key, each in read_values.items() if each is not _Invalid.INVALID}
        return self._scalar(value, member, item, path)

    def _items(self, values: list[Any], inner: Any, item: TomlField, path: Path) -> tuple[Any, ...]:
        if not is_number(inner) and item.minimum is not None and len(values) < item.minimum:
            says = f"{self._place(path)} has {len(values)} items; at least {item.minimum:g} are needed"
            self._fault("out-of-range", says, path)
        if not is_number(inner) and item.maximum is not None and len(values) > item.maximum:
            self._fault(
                "out-of-range", f"{self._place(path)} has {len(values)} items; at most {item.maximum:g} can be", path
            )
        items = (self.value(each, inner, item, (*path, index)) for index, each in enumerate(values))
        return tuple(each for each in items if each is not _Invalid.INVALID)

    def _scalar(self, value: Any, member: Any, item: TomlField, path: Path) -> Any:
        if isinstance(value, str):
            return self._text(value, member, item, path)
        if isinstance(value, bool):
            return value
        if member is float:
            try:
                value = float(value)
            except OverflowError:
                value = math.inf
        if isinstance(value, float) and not math.isfinite(value):
            return self._fault("not-finite", f"{self._place(path)} is not a finite number{_write(item, member)}", path)
        too_small = (item.minimum is not None and value < item.minimum) or (
            item.exclusive_minimum is not None and value <= item.exclusive_minimum
        )
        if too_small or (item.maximum is not None and value > item.maximum):
            unit = f" {item.unit}" if item.unit not in {"", "1"} else ""
            wrong = f" ({item.consequence})" if item.consequence else ""
            says = f"{self._place(path)} is {plain_number(value)}{unit}; it must be {item.range_words}{unit}{wrong}"
            return self._fault("out-of-range", says, path)
        return value

    def _text(self, value: str, member: Any, item: TomlField, path: Path) -> Any:
        choices = choices_of(member, item.choices)
        if choices and value not in choices:
            near = difflib.get_close_matches(value, choices, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            says = f'{self._place(path)} = "{_short(value)}" is not known; {hint}choose one of {", ".join(choices)}'
            return self._fault("not-a-choice", says, path)
        if is_enum(member):
            return next(each for each in member if str(each.value) == value)
        if item.pattern and not re.fullmatch(item.pattern, value):
            says = f'{self._place(path)} = "{_short(value)}" cannot be used; it must be {item.means or item.pattern}'
            return self._fault("bad-text", says, path)
        return value

    def _unknown_key(self, key: str, by_key: dict[str, TomlField], path: Path, value: Any) -> str:
        """Report a key that the table does not have; return the known key that was probably meant, or nothing."""
        place = self._place(path)
        where = (
            f"{place} has no key" if place else "there is no table" if isinstance(value, dict) else "there is no key"
        )
        stem, _, suffix = key.rpartition("_")
        for known in by_key.values():
            known_stem, _, known_suffix = known.key.rpartition("_")
            if known_suffix not in UNIT_WORDS or not known_stem:
                continue
            if key == known_stem or (stem == known_stem and suffix.lower() in UNIT_WORDS):
                words = UNIT_WORDS[known_suffix]
                self._fault("wrong-unit", f"{where} {_short(key)}; the key is {known.key}, in {words}", (*path, key))
                return known.key
        near = difflib.get_close_matches(key, by_key, n=1)
        advice = f"did you mean {near[0]}?" if near else f"what can stand there: {', '.join(by_key) or 'nothing'}"
        self._fault("unknown-key", f"{where} {_short(key)}; {advice}", (*path, key))
        return near[0] if near else ""

    def _missing(self, item: TomlField, path: Path) -> None:
        place = self._place(path)
        if is_table(item.hint) or is_table(item_of(item.hint)):
            name = f"[[{item.key}]]" if item_of(item.hint) else f"[{item.key}]"
        else:
            name = f"key {item.key}"
        doc = f": {item.doc}" if item.doc else ""
        unit = f" ({item.unit_words})" if item.unit else ""
        example = f", for example {item.key} = {item.example}" if item.example else ""
        self._fault("missing-key", f"{place or 'the file'} needs the {name}{doc}{unit}{example}", path)
        self.faulty.add((*path, item.key))

    def _wrong_type(self, value: Any, hint: Any, item: TomlField, path: Path) -> _Invalid:
        place = self._place(path)
        if isinstance(value, dict) and is_table(item_of(hint)):
            says = f"[{item.key}] is one table; write [[{item.key}]] with double brackets, once for each"
        elif isinstance(value, list) and is_table(hint):
            says = f"[[{item.key}]] is a list; there is only one, write [{item.key}] with single brackets"
        elif isinstance(value, str) and is_number(hint) and _QUANTITY_TEXT.fullmatch(value) and value.strip():
            without = "without quotation marks" + ("" if _is_number(value) else " or unit")
            says = f"{place} is text{_write(item, hint)}, {without}"
        else:
            says = f"{place} is {_kind_of(value)}{_write(item, hint)}"
        return self._fault("wrong-type", says, path)

    def _fault(self, rule: str, says: str, path: Path) -> _Invalid:
        self.findings.append(Finding(rule, says, self._lines.of(*path)))
        self.faulty.add(path)
        return _Invalid.INVALID

    def _place(self, path: Path) -> str:
        """Name a path as the operator wrote it: `[lab] silence_s`, `[[clock]] 2 (H2) noise.white_pm_s`."""
        words: list[str] = []
        inner: list[str] = []
        node: Any = self._tree
        for position, part in enumerate(path):
            node = node[part] if isinstance(part, int) else node.get(part) if isinstance(node, dict) else None
            if isinstance(part, int):
                if position == 1 and isinstance(node, dict):
                    name = node.get("name")
                    words = [f"[[{path[0]}]] {part + 1}" + (f" ({_short(name)})" if isinstance(name, str) else "")]
                elif inner:
                    inner[-1] += f"[{part + 1}]"
                else:
                    words = [f"{path[0]}[{part + 1}]"]
            elif position == 0:
                words = [f"[{_short(part)}]" if isinstance(node, dict) else _short(part)]
            else:
                inner.append(_short(part))
        return " ".join([*words, ".".join(inner)]).strip()


def _stand_in(hint: Any) -> Any:
    """Return something of this type for `partial`, where a required key could not be read."""
    member = members_of(hint)[0]
    if is_table(member):
        return member(**{item.attribute: _stand_in(item.hint) for item in fields_of(member) if item.required})
    if item_of(member) is not None:
        return ()
    if is_enum(member):
        return next(iter(member))
    if typing.get_origin(member) is Literal:
        return typing.get_args(member)[0]
    return member() if member in (str, int, float, bool) else {}


def _fits(value: Any, member: Any) -> bool:
    """Return True if the TOML value has the shape of this type; ranges and choices are judged later."""
    origin = typing.get_origin(member)
    if member is Any or member is object:
        return True
    if is_table(member) or origin is dict:
        return isinstance(value, dict)
    if item_of(member) is not None:
        return isinstance(value, list)
    if is_enum(member) or origin is Literal or member is str:
        return isinstance(value, str)
    if member is bool:
        return isinstance(value, bool)
    if member is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if member is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    raise Misuse(f"a TOML value cannot be read into {member!r}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _write(item: TomlField, hint: Any) -> str:
    """Say what to write instead: `; write a number of seconds`."""
    return f"; write {' or '.join(_expected(member, item) for member in members_of(hint))}"


def _expected(member: Any, item: TomlField) -> str:
    if member in (int, float):
        number = "a whole number" if member is int else "a number"
        return f"{number} of {item.unit_words}" if item.unit not in {"", "1"} else number
    if member is bool:
        return "true or false"
    if is_table(member):
        return f"a table [{item.key}]"
    if typing.get_origin(member) is dict:
        return f"a table {item.key} = {{ name = value, ... }}"
    inner = item_of(member)
    if inner is not None:
        return f"tables [[{item.key}]]" if is_table(inner) else f"a list of which each is {_expected(inner, item)}"
    choices = choices_of(member, item.choices)
    return f"one of {', '.join(choices)} in quotation marks" if choices else "text in quotation marks"


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    kinds = ((str, "text"), (int, "a whole number"), (float, "a number"), (list, "a list"), (dict, "a table"))
    return next((words for kind, words in kinds if isinstance(value, kind)), "a date or time")


def _short(text: Any) -> str:
    """Return text for a message: at most 40 letters, control characters made visible."""
    shown = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in str(text))
    return shown if len(shown) <= 40 else f"{shown[:37]}..."
