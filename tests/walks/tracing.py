"""What the walks have in common: the names of a page, what they stand for, and a trace of the calls that were made.

The numerical kernels are not named on the pages: as machine code they make no call that can be noted.
"""

import importlib
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
WALKS = ROOT / "docs" / "walks"
PACKAGE = "truechimer"
NAME = re.compile(r"`((?:[a-z_0-9]+\.)+[A-Za-z_0-9.]+)`")
FILES = (".md", ".py", ".toml", ".csv", ".json", ".page", ".lock")


def names_in(page: str, title: str) -> list[str]:
    """Return the dotted names of one section of a page, in its order; files are none."""
    text = (WALKS / page).read_text(encoding="utf-8")
    sections = dict(re.findall(r"(?ms)^## ([^\n]+)\n(.*?)(?=^## |\Z)", text))
    return [name for name in NAME.findall(sections[title]) if not name.endswith(FILES)]


def found(name: str) -> Any:
    """Return what a dotted name below the package stands for."""
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        try:
            value: Any = importlib.import_module(".".join([PACKAGE, *parts[:end]]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            value = getattr(value, part)
        return value
    raise AssertionError(f"{name} is not in the package")


def code_of(name: str) -> CodeType:
    """Return the code that runs when this function is called; a class stands for its making."""
    value = found(name)
    if isinstance(value, type):
        value = value.__init__
    code: CodeType = value.__code__
    return code


@dataclass
class Trace:
    """All calls into the package, as code objects, with who called."""

    calls: list[tuple[CodeType, CodeType | None]] = field(default_factory=list)

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and str(frame.f_globals.get("__name__", "")).startswith(PACKAGE):
            before = frame.f_back
            self.calls.append((frame.f_code, None if before is None else before.f_code))

    def __enter__(self) -> Self:
        sys.setprofile(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def place(self, code: CodeType, after: int) -> int | None:
        """Return the place of the next call of `code` after a place, or None."""
        return next((k for k in range(after + 1, len(self.calls)) if self.calls[k][0] is code), None)

    def must_pass(self, names: Iterable[str]) -> None:
        """Fail unless these functions were called in this order."""
        at, before = -1, "the beginning"
        for name in names:
            place = self.place(code_of(name), at)
            where = "too early" if self.place(code_of(name), -1) is not None else "never"
            assert place is not None, f"{name} is named after {before}, and was called {where}"
            at, before = place, name
