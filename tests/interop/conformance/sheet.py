"""The sheets of checks: each is a function with the clause that asks for it; `run` tries them all on one door."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.interop.conformance.wire import QUIET_S, Door


@dataclass(frozen=True)
class Check:
    """One thing that a document asks for."""

    sheet: str
    clause: str
    says: str
    tries: Callable[..., None]
    values: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        values = f" ({', '.join(map(str, self.values))})" if self.values else ""
        return f"{self.clause}: {self.says}{values}"


CHECKS: list[Check] = []
MOST_HELD = 200
"""Sockets held at once: a process may often open no more than 1024 files."""


def check(sheet: str, clause: str, *, over: tuple[Any, ...] = ()) -> Callable[[Callable[..., None]], Any]:
    """Enter a function into a sheet; its name is what it says. `over`: once for each of these values."""

    def entered(function: Callable[..., None]) -> Callable[..., None]:
        says = function.__name__.replace("_", " ")
        CHECKS.extend(Check(sheet, clause, says, function, values) for values in [(one,) for one in over] or [()])
        return function

    return entered


def checks_of(sheet: str) -> list[Check]:
    """Return the checks of a sheet."""
    return [one for one in CHECKS if one.sheet == sheet]


def run(doors: list[tuple[str, Door]]) -> dict[str, str]:
    """Try sheets of checks, each on a door; return the faults found, by sheet and check. What must stay unanswered is
    looked at when all has been asked, so that it is waited for once; and where many sockets are held for that already.
    """
    faults: dict[str, str] = {}
    for sheet, door in doors:
        for one in checks_of(sheet):
            door.begin(f"{sheet}, {one.name}")
            try:
                one.tries(door, *one.values)
            except (AssertionError, OSError) as error:
                faults[f"{sheet}, {one.name}"] = str(error) or "not so"
            if sum(each.held for _, each in doors) >= MOST_HELD:
                faults = _closed(doors) | faults
    return _closed(doors) | faults


def _closed(doors: list[tuple[str, Door]]) -> dict[str, str]:
    """Return what came to the sockets held that should not have come."""
    time.sleep(QUIET_S)
    found: dict[str, str] = {}
    for _, door in doors:
        found |= door.close()
    return found


def same(found: object, wanted: object, what: str) -> None:
    """Raise where something is not what it should be."""
    if found != wanted:
        raise AssertionError(f"{what} is {found!r}, not {wanted!r}")


def within(found: float, low: float, high: float, what: str) -> None:
    """Raise where a number is not from `low` to `high`."""
    if not low <= found <= high:
        raise AssertionError(f"{what} is {found!r}, not from {low!r} to {high!r}")
