"""The JSON schema of a TOML file, made from the same dataclasses that read it.

It describes shape, ranges and words; faults that need two keys at once are beyond a schema. JSON Schema draft 2020-12.
"""

import typing
from enum import Enum
from typing import Any, Literal

from truechimer.errors import Misuse
from truechimer.formats.toml_fields import TomlField, fields_of, is_enum, is_number, is_table, item_of, members_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(cls: type) -> dict[str, Any]:
    """Return the schema of a TOML file read into `cls`; descriptions give unit, default and what goes wrong."""
    definitions: dict[str, Any] = {}
    root = _table(cls, definitions)
    return {"$schema": DIALECT, "title": cls.__name__, **root, "$defs": dict(sorted(definitions.items()))}


def describe(item: TomlField) -> str:
    """Return the sentence that explains a key: what it is, unit, default, what goes wrong otherwise."""
    parts = [item.doc] if item.doc else []
    if item.unit:
        parts.append(f"unit: {item.unit_words}")
    if not item.required and isinstance(item.default, (str, int, float)):
        parts.append(f"default: {_plain(item.default)}")
    if item.consequence:
        parts.append(item.consequence)
    return "; ".join(parts)


def _table(cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    fields = fields_of(cls)
    table: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": {}}
    if cls.__doc__ and not cls.__doc__.startswith(f"{cls.__name__}("):  # not the text that dataclass makes itself
        table["description"] = cls.__doc__.strip().split("\n")[0]
    for item in fields:
        shape = _shape(item.hint, item, definitions)
        if description := describe(item):
            shape["description"] = description
        if not item.required and isinstance(item.default, (str, int, float)):
            shape["default"] = _plain(item.default)
        table["properties"][item.key] = shape
    if required := [item.key for item in fields if item.required]:
        table["required"] = required
    return table


def _shape(hint: Any, item: TomlField, definitions: dict[str, Any]) -> dict[str, Any]:
    members = members_of(hint)
    if len(members) > 1:
        return {"anyOf": [_shape(member, item, definitions) for member in members]}
    (member,) = members
    inner = item_of(member)
    if inner is not None:
        limits = {} if is_number(inner) else {"minItems": item.minimum, "maxItems": item.maximum}
        found = {name: limit for name, limit in limits.items() if limit is not None}
        return {"type": "array", "items": _shape(inner, item, definitions), **found}
    if is_table(member):
        if member.__name__ not in definitions:
            definitions[member.__name__] = {}  # stands while the class is read: a class may hold itself
            definitions[member.__name__] = _table(member, definitions)
        return {"$ref": f"#/$defs/{member.__name__}"}
    if typing.get_origin(member) is dict:
        return {"type": "object", "additionalProperties": _shape(typing.get_args(member)[1], item, definitions)}
    if member is Any or member is object:
        return {}
    return _scalar(member, item)


def _scalar(member: Any, item: TomlField) -> dict[str, Any]:
    if is_enum(member):
        return {"type": "string", "enum": list(item.choices) or [str(each.value) for each in member]}
    if typing.get_origin(member) is Literal:
        return {"type": "string", "enum": list(typing.get_args(member))}
    if member is str:
        shape: dict[str, Any] = {"type": "string"}
        if item.choices:
            shape["enum"] = list(item.choices)
        if item.pattern:
            shape["pattern"] = f"^(?:{item.pattern})$"
        return shape
    if member is bool:
        return {"type": "boolean"}
    if member in (int, float):
        limits = {"minimum": item.minimum, "exclusiveMinimum": item.exclusive_minimum, "maximum": item.maximum}
        found = {name: limit for name, limit in limits.items() if limit is not None}
        return {"type": "integer" if member is int else "number", **found}
    raise Misuse(f"a TOML value cannot be read into {member!r}")


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
