"""What a dataclass says about its TOML keys: name, type, unit, range, default, and what goes wrong otherwise.

It reads no TOML. `toml_tree` (reading), `toml_schema` (JSON schema) and the writer of a commented file all work from
these descriptions, so the three cannot disagree. The metadata of a field may hold:

`key` (the TOML name where it differs from the attribute's), `unit`, `min`, `exclusive_min`, `max` (numbers; for a list
of anything but numbers, `min` and `max` count its items), `choices` (allowed texts), `pattern` (regular expression the
whole text must match) and `means` (that pattern in words), `doc` (what it is), `wrong` (what goes wrong when it is
wrong), `example` (a value as TOML text).
"""

import dataclasses
import types
import typing
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, Union

from truechimer.errors import Misuse

_KNOWN_METADATA = frozenset(
    {"key", "unit", "min", "exclusive_min", "max", "choices", "pattern", "means", "doc", "wrong", "example"}
)

UNIT_WORDS = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "min": "minutes",
    "h": "hours",
    "hours": "hours",
    "d": "days",
    "days": "days",
    "hz": "hertz",
    "khz": "kilohertz",
    "mhz": "megahertz",
    "ppm": "parts per million",
    "ppb": "parts per thousand million",
    "percent": "percent",
    "1": "no unit",
    "1/d": "1 per day",
    "s/s": "seconds per second",
    "K": "kelvin",
    "1/K": "1 per kelvin",
}
"""Unit symbols, and the words an operator reads."""


@dataclass(frozen=True, slots=True)
class TomlField:
    """One key of a table: `attribute` in Python, `key` in TOML; `hint` is its resolved type."""

    attribute: str
    key: str
    hint: Any
    required: bool
    default: Any
    unit: str = ""
    minimum: float | None = None
    exclusive_minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    means: str = ""
    doc: str = ""
    wrong: str = ""
    example: str = ""

    @property
    def unit_words(self) -> str:
        """The unit as words, empty where the field has none."""
        return UNIT_WORDS.get(self.unit, self.unit)

    @property
    def consequence(self) -> str:
        """What goes wrong otherwise, as the end of a sentence; empty where nothing is said."""
        return self.wrong if ":" in self.wrong or not self.wrong else f"otherwise: {self.wrong}"

    @property
    def range_words(self) -> str:
        """The allowed range or choices as words, empty where anything of the type goes."""
        if choices := choices_of(self.hint, self.choices):
            return "one of " + ", ".join(choices)
        words = []
        if self.exclusive_minimum is not None:
            words.append(f"more than {plain_number(self.exclusive_minimum)}")
        if self.minimum is not None:
            words.append(f"at least {plain_number(self.minimum)}")
        if self.maximum is not None:
            words.append(f"at most {plain_number(self.maximum)}")
        return " and ".join(words) or self.means


@lru_cache(maxsize=256)
def fields_of(cls: type) -> tuple[TomlField, ...]:
    """Return the keys that a table for `cls` may have, in the class's order; a class we cannot read is a Misuse."""
    if not dataclasses.is_dataclass(cls):
        raise Misuse(f"{cls!r} is not a dataclass; a TOML table is read into one")
    hints = typing.get_type_hints(cls)
    return tuple(_describe(cls, item, hints[item.name]) for item in dataclasses.fields(cls) if item.init)


def _describe(cls: type, item: "dataclasses.Field[Any]", hint: Any) -> TomlField:
    unknown = set(item.metadata) - _KNOWN_METADATA
    if unknown:
        raise Misuse(
            f"{cls.__name__}.{item.name} has metadata that nothing reads: {', '.join(sorted(map(str, unknown)))}"
        )
    if item.default is not dataclasses.MISSING:
        required, default = False, item.default
    elif item.default_factory is not dataclasses.MISSING:
        required, default = False, item.default_factory()
    else:
        required, default = True, None
    says = item.metadata
    return TomlField(
        attribute=item.name,
        key=says.get("key", item.name),
        hint=hint,
        required=required,
        default=default,
        unit=says.get("unit", ""),
        minimum=says.get("min"),
        exclusive_minimum=says.get("exclusive_min"),
        maximum=says.get("max"),
        choices=tuple(says.get("choices", ())),
        pattern=says.get("pattern", ""),
        means=says.get("means", ""),
        doc=says.get("doc", ""),
        wrong=says.get("wrong", ""),
        example=says.get("example", ""),
    )


def plain_number(value: float) -> str:
    """Return a number as an operator writes it: whole ones without a point, others in their shortest exact form."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def is_table(hint: Any) -> bool:
    """Return True for a dataclass, which TOML writes as a table."""
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def is_enum(hint: Any) -> bool:
    """Return True for an enumeration class."""
    return isinstance(hint, type) and issubclass(hint, Enum)


def is_number(hint: Any) -> bool:
    """Return True for a type that a whole or any other number may have, alone or in a union."""
    return any(member in (int, float) for member in members_of(hint))


def members_of(hint: Any) -> tuple[Any, ...]:
    """Return what a value may be: the members of a union without None, or the one type itself."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        return tuple(member for member in typing.get_args(hint) if member is not types.NoneType)
    return (hint,)


def item_of(hint: Any) -> Any:
    """Return X of `tuple[X, ...]`, or None where the type is no such list."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return arguments[0]
    return None


def choices_of(hint: Any, choices: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the allowed texts of an enumeration, a Literal or a field with `choices`; empty where any text goes."""
    if choices:
        return choices
    found: list[str] = []
    for member in members_of(hint):
        if is_enum(member):
            found.extend(str(item.value) for item in member)
        elif typing.get_origin(member) is Literal:
            found.extend(str(item) for item in typing.get_args(member))
    return tuple(found)
