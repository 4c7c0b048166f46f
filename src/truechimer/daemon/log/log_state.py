"""What the publisher of the log says of itself, in one small file that the laboratory reads.

It judges nothing and must stay light: `status` and `now` are answered from it. Moments are values of the host's raw
counter; times of cosignatures are what witnesses say, in seconds since 1970.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

STATE = "evidence.json"
"""Its name in the folder `run`."""
WITNESSED = "witnessed"
"""In the folder of the records: the note of the last checkpoint that enough witnesses cosigned."""
CONTRADICTIONS = "contradictions"
"""In the folder of the records: what witnesses showed that contradicts this log, kept as it came."""
MOST_STATE_BYTES = 1 << 18


class TroubleKind(StrEnum):
    """Why nothing is published."""

    DISK = "disk"
    """Something cannot be read or written; it is tried again."""
    SIGNER = "signer"
    """The key's process does not come up or does not answer; it is tried again."""
    CONTRADICTION = "contradiction"
    """The journal or the tree is not the one that was signed: nothing of it is signed until somebody decides."""


class WitnessState(StrEnum):
    """What became of one witness."""

    NEW = "new"  # not asked yet, in this run
    GOOD = "good"
    AWAY = "away"
    REFUSES = "refuses"
    CONTRADICTS = "contradicts"  # it saw another log under this name and key


@dataclass(slots=True)
class WitnessRow:
    """One witness of the policy. `size`: of the largest tree that it cosigned; `at_s`: when, by its own word; `raw_ns`:
    when the answer came, 0 before this run's first.
    """

    name: str
    url: str
    state: WitnessState = WitnessState.NEW
    size: int = 0
    at_s: int = 0
    raw_ns: int = 0
    says: str = ""


@dataclass(slots=True)
class Contradiction:
    """A witness showed another log: `what` is `fork` or `rollback`, `size` and `root` (hex) of the tree that it saw."""

    witness: str
    what: str
    size: int
    root: str
    says: str
    raw_ns: int


@dataclass(slots=True)
class LogState:
    """The publisher's state. `size` and `root` of the tree that was signed last, `published` the size of the checkpoint
    that readers see, `witnessed` the size of the last tree that enough witnesses cosigned (-1: none ever) and
    `witnessed_s` when by their word, `waits_since_raw_ns` since when what was signed waits to be witnessed (0: nothing
    waits); `quorum` how the policy calls what is enough, "none" where nobody is named.
    """

    pid: int = 0
    origin: str = ""
    log_key: str = ""
    size: int = 0
    root: str = ""
    signed_raw_ns: int = 0
    published: int = -1
    rounds: int = 0
    quorum: str = "none"
    witnessed: int = -1
    witnessed_s: int = 0
    waits_since_raw_ns: int = 0
    trouble: str = ""
    trouble_says: str = ""
    trouble_since_raw_ns: int = 0
    witnesses: list[WitnessRow] = field(default_factory=list)
    contradictions: list[Contradiction] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Put the state where others read it, whole. A file that cannot be written costs the state, never an entry."""
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            beside.write_text(json.dumps(asdict(self), sort_keys=True), encoding="ascii")
            beside.replace(path)
        except OSError:
            beside.unlink(missing_ok=True)


def read_state(path: Path) -> LogState | None:
    """Return the publisher's state; None where there is none that can be read."""
    try:
        with path.open("rb") as file:
            body: dict[str, Any] = json.loads(file.read(MOST_STATE_BYTES))
        rows = [WitnessRow(**row | {"state": WitnessState(row["state"])}) for row in body.pop("witnesses")]
        contradictions = [Contradiction(**one) for one in body.pop("contradictions")]
        return LogState(**body, witnesses=rows, contradictions=contradictions)
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None
