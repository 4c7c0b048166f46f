"""What documents show of types: docs/guide/lab-file.md of the keys of LAB.toml, docs/guide/metrics.md of metrics."""

import json
from collections.abc import Iterator

from markdown_tables import table

LAB_FILE_HEAD = """\
# The laboratory's file, LAB.toml

<!-- made by builders/build_docs.py from daemon/lab and clocks/clock.py; do not edit -->

`truechimer init DIR` writes a commented one, `truechimer check LAB.toml` says everything that is wrong with it. A \
file with `[lab] name`, sources and listeners alone is valid: all else has a default. Unknown keys are faults. Paths \
are relative to the file."""


def lab_file_page() -> str:
    """Return docs/guide/lab-file.md: every key with its unit, range, default, and what goes wrong otherwise."""
    from truechimer.daemon.lab import listener_settings, source_settings
    from truechimer.daemon.lab.lab_file import LabFile
    from truechimer.formats.toml_fields import fields_of, item_of

    kinds = (source_settings.NOT_BUILT_SOURCES, listener_settings.NOT_BUILT_PROTOCOLS)
    not_built = sorted(word for kind in kinds for word in kind)
    words = ", ".join(f"`{word}`" for word in dict.fromkeys(not_built))
    parts = [LAB_FILE_HEAD, f"Part of the grammar, but refused with a sentence until they are built: {words}."]
    for item in fields_of(LabFile):
        entry = item_of(item.hint)
        title = f"[[{item.key}]]" if entry is not None else f"[{item.key}]"
        rows = list(_key_rows(entry or item.hint, ""))
        words = f"{item.doc[0].upper()}{item.doc[1:]}." if item.doc else ""
        keys = (
            table([["key", "is", "unit and range", "default", "otherwise"], *rows])
            if rows
            else "No key stands here yet."
        )
        parts.append(f"## `{title}`\n\n" + (words + "\n\n" if words else "") + keys)
    return "\n\n".join(parts) + "\n"


def _key_rows(cls: type, prefix: str) -> Iterator[list[str]]:
    from truechimer.formats.toml_fields import fields_of, is_table, members_of

    for item in fields_of(cls):
        facts = ", ".join(filter(None, (item.unit_words, item.range_words)))
        default = "required" if item.required else ""
        if not item.required and isinstance(item.default, (bool, str, int, float)):
            default = f"`{json.dumps(item.default)}`"
        tables = [member for member in members_of(item.hint) if is_table(member)]
        says = item.doc or ("a table of its own keys" if tables else "")
        row = [f"`{prefix}{item.key}`", says, facts, default, item.wrong]
        yield [row[0], *(cell.replace("<", "&lt;") for cell in row[1:])]
        for member in tables:
            yield from _key_rows(member, f"{prefix}{item.key}.")


def metrics_block(chosen: str) -> str:
    """Return the table of one set of metrics (`laboratory` or `chrony`): names, types, labels, HELP lines."""
    from truechimer.console.metrics import SETS

    rows = [
        [f"`{family.name}`", family.kind, ", ".join(f"`{name}`" for name in family.labels), family.says]
        for family in SETS[chosen]
    ]
    return table([["metric", "type", "labels", "is"], *rows])
