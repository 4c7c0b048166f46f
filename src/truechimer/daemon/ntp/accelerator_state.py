"""How a door's accelerator fares, as a small file: written by the door once a second, read for `status`.

It must stay small: the laboratory process imports it, and has no use for the accelerator itself.
"""

import json
from pathlib import Path
from typing import Any

SUFFIX = ".accelerator"
LARGEST = 65_536
ALIVE_KEYS = frozenset({"attached", "answering", "interfaces", "because", "clock_moved", "counters"})


def path_of(folder: Path, door: str) -> Path:
    """Return where the file of a door lies, in the laboratory's folder."""
    return folder / "run" / f"{door}{SUFFIX}"


def beside(counters: Path) -> Path:
    """Return the file of the door whose counters are here."""
    return counters.with_suffix(SUFFIX)


def write(path: Path, state: dict[str, Any]) -> None:
    """Write the state whole. Raises `OSError`."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(state), encoding="ascii")
    new.replace(path)


def read(path: Path, *, is_alive: bool) -> dict[str, Any]:
    """Return what the file says; that nothing is attached where the door has ended, or says nothing yet."""
    none: dict[str, Any] = {"attached": False, "answering": False, "interfaces": []}
    if not is_alive:
        return none | {"because": "the door has ended"}
    try:
        said = json.loads(path.read_bytes()[:LARGEST])
    except (OSError, ValueError):
        return none | {"because": "it has not said anything yet"}
    return none | {key: said[key] for key in ALIVE_KEYS & said.keys()} if isinstance(said, dict) else none
