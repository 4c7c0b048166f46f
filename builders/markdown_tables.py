"""Markdown of figures: tables, and how a number is written in one.

It knows no document and no measurement: `*_tables.py` beside it do.
"""

from typing import Any


def table(rows: list[list[str]]) -> str:
    """Return rows as a table of Markdown, the first of them its head."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "| " + " | ".join("---" for _ in rows[0]) + " |", *lines[1:]])


def objects_table(rows: list[dict[str, Any]]) -> str:
    """Return objects as a table, a column for each plain key."""
    columns = list(
        dict.fromkeys(key for row in rows for key, value in row.items() if not isinstance(value, (list, dict)))
    )
    body = [[plain(row[column]) if column in row else "" for column in columns] for row in rows]
    shown = [[f"`{column}`" if column else "" for column in columns], *body]
    if "" in columns and len(columns) > len(rows) + 1:
        shown = [list(column) for column in zip(*shown, strict=True)]  # few things with many facts read better upright
    return table(shown)


def plain(value: Any) -> str:
    """Write a value so that it reads: floats with 4 digits, lists by their length where they are long."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, float):
        return f"{value:.4g}" if not value.is_integer() or abs(value) >= 1e6 else f"{value:.0f}"
    if isinstance(value, list):
        return ", ".join(map(plain, value)) if len(value) <= 12 else f"{len(value)} values"
    return str(value)


def ns(value: float | None) -> str:
    """Write nanoseconds, below ten of them to the picosecond; absent stays empty."""
    return "" if value is None else f"{value:.3f} ns" if abs(value) < 10.0 else f"{value:.1f} ns"


def duration(seconds: float | None) -> str:
    """Write seconds in the unit that reads best; None is an event that nobody saw."""
    if seconds is None:
        return "not seen"
    if seconds < 10.0:
        return f"{seconds:.1f} s"
    return (
        f"{seconds:.0f} s"
        if seconds < 600.0
        else f"{seconds / 60.0:.0f} min"
        if seconds < 7200.0
        else f"{seconds / 3600.0:.1f} h"
    )
