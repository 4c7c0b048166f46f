"""What the tables of LAB.toml are made of: the metadata of a key, and what a name may be.

It knows no table (`lab_file` and the `*_settings` do); `init`, `check` and the JSON schema read the metadata.
"""

from typing import Any

NAME_PATTERN = "[A-Za-z0-9_.-]+"
NAME_WORDS = "letters, digits and _ . -"


def says(doc: str, wrong: str, *, unit: str = "", **more: Any) -> dict[str, Any]:
    """Return the metadata of a field: what it is, what goes wrong otherwise, its SI unit; `more`: range, pattern."""
    return {"doc": doc, "wrong": wrong, **({"unit": unit} if unit else {}), **more}
