"""A commented LAB.toml to start from: each key with what it is, its unit, range, default and what goes wrong otherwise.

It writes no file. The words are those of `lab_file`'s fields, so the comments cannot drift from what `check` accepts.
"""

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from truechimer.daemon.lab.lab_file import LabFile
from truechimer.daemon.lab.listener_settings import Protocol
from truechimer.formats.toml_fields import TomlField, fields_of, is_number, is_table, item_of, members_of

SCHEMA_FILE = "lab.schema.json"
FIRST_POLICY: dict[str, str | bool] = {"insecure_software_keys": True}
"""A new laboratory has one person and one key in a file, and says so; the first `up` makes them, when the clocks that
the envelope's limits follow are known.
"""
_WIDTH = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSource:
    """One source to write: `keys` in the file's words; `remark` stands above it; a `disabled` one is commented out."""

    keys: tuple[tuple[str, str | float], ...]
    remark: str = ""
    disabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What of the file is not the same everywhere; `clock_names` become comments, since their kinds are unknown:
    each has to be said, for the limits of steering follow it.
    `bound_limit_s`: of the NTP door, where its default does not fit the sources.
    """

    name: str
    sources: tuple[TemplateSource, ...] = ()
    clock_names: tuple[str, ...] = ()
    doors: tuple[Protocol, ...] = (Protocol.NTP, Protocol.CONSOLE)
    bound_limit_s: float | None = None


def lab_toml(template: Template) -> str:
    """Return the text of a LAB.toml."""
    blocks = [
        f"#:schema ./{SCHEMA_FILE}",
        _comment(
            "A laboratory of truechimer. What stands behind a hash sign is an explanation, or a key at its default: "
            "remove the sign to change it. `truechimer check` says everything that is wrong with this file, "
            "`truechimer up` runs it."
        ),
    ]
    for item in fields_of(LabFile):
        entry = item_of(item.hint)
        if entry is not None:
            blocks.append(_list_of_tables(item, entry, template))
        else:
            written: dict[str, Mapping[str, str | bool]] = {"lab": {"name": template.name}, "policy": FIRST_POLICY}
            values = written.get(item.key, {})
            blocks.append(f"{_comment(item.doc)}\n" * bool(item.doc) + f"[{item.key}]\n" + _keys(item.hint, values))
    return "\n\n".join(block.rstrip("\n") for block in blocks) + "\n"


def _list_of_tables(item: TomlField, entry: type, template: Template) -> str:
    blocks = [_comment(f"[[{item.key}]], as many as there are: {item.doc}.") + "\n" + _explanations(entry)]
    if item.key == "source":
        blocks += [_source(source) for source in template.sources]
    elif item.key == "listener":
        blocks += [_door(door, template.bound_limit_s) for door in template.doors]
    elif item.key == "clock":
        blocks += [f'# [[clock]]\n# name = {json.dumps(name)}\n# kind = "?"' for name in template.clock_names]
    return "\n\n".join(block.rstrip("\n") for block in blocks)


def _door(door: Protocol, bound_limit_s: float | None) -> str:
    lines = ["[[listener]]", f'protocol = "{door}"']
    if bound_limit_s is not None and door is Protocol.NTP:
        says = "This limit is for servers across a network; lower it where `truechimer status` shows a smaller bound."
        lines = [_comment(says), *lines, f"bound_limit_s = {bound_limit_s:g}"]
    return "\n".join(lines)


def _source(source: TemplateSource) -> str:
    lines = ["[[source]]", *(f"{key} = {json.dumps(value)}" for key, value in source.keys)]
    if source.disabled:
        lines = [f"# {line}" for line in lines]
    return "\n".join([*([_comment(source.remark)] if source.remark else []), *lines])


def _explanations(cls: type) -> str:
    """Explain every key of a table without setting any; tables inside follow their key."""
    lines: list[str] = []
    for item in fields_of(cls):
        lines += _explanation(item).split("\n")
        for member in members_of(item.hint):
            if is_table(member):
                lines += [f"#   {line.removeprefix('# ')}" for line in _explanations(member).split("\n")]
    return "\n".join(lines)


def _keys(cls: type, values: Mapping[str, str | bool]) -> str:
    """Write the keys of one table: given values, and as comments what has a default."""
    parts = []
    for item in fields_of(cls):
        parts.append(_explanation(item))
        if item.key in values:
            parts.append(f"{item.key} = {json.dumps(values[item.key])}")
        elif (shown := _shown(item)) is not None:
            parts.append(f"# {item.key} = {shown}")
    return "\n".join(parts)


def _explanation(item: TomlField) -> str:
    says = f"{item.key}: {item.doc}" if item.doc else item.key
    facts = []
    if item.unit_words:
        facts.append(item.unit_words)
    elif is_number(item.hint):
        facts.append("number")
    if item.range_words:
        facts.append(item.range_words)
    if item.required:
        facts.append("required")
    elif isinstance(item.default, (str, int, float)):
        facts.append(f"default {_toml(item.default)}")
    if any(is_table(member) for member in members_of(item.hint)):
        facts.append("a table of its own keys")
    text = says + (f" ({', '.join(facts)})" if facts else "") + "."
    if item.consequence:
        text += f" {item.consequence[0].upper()}{item.consequence[1:]}."
    return _comment(text)


def _shown(item: TomlField) -> str | None:
    if isinstance(item.default, (str, int, float)):
        return _toml(item.default)
    return item.example or None


def _toml(value: Any) -> str:
    return json.dumps(str(value) if isinstance(value, str) else value)


def _comment(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="# ", subsequent_indent="#   ", break_long_words=False)
