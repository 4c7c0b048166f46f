"""Sock door: what the laboratory knows of a `chrony-sock` door: its command line, its files, its row of `status`.

It sends nothing: `sock_process` does, in a process of its own, and leaves its state here for others to read.
"""

import json
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from truechimer.daemon.lab.listener_settings import Listener

MODULE = "truechimer.daemon.door.sock_process"
MOST_STATE_BYTES = 65536


@dataclass(slots=True)
class SockState:
    """What a sock door says of itself. `now`: `sending`, or why it is silent; `sent`, `refused`, `silent`: counts of
    samples sent, of those that could not be, and of those that were not made, by reason.
    """

    now: str = "starting"
    sent: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    silent: dict[str, int] = field(default_factory=dict)
    x_served_minus_wall_s: float | None = None
    bound_s: float | None = None
    says: str = ""

    def document(self) -> dict[str, Any]:
        """Return it for `status`: what there is no value for is absent."""
        body: dict[str, Any] = {"now": self.now, "sent": self.sent, "refused": self.refused, "silent": self.silent}
        if self.x_served_minus_wall_s is not None:
            body["x_served_minus_wall_s"] = self.x_served_minus_wall_s
        if self.bound_s is not None:
            body["bound_s"] = self.bound_s
        return body | ({"says": self.says} if self.says else {})


def name_of(listener: Listener) -> str:
    """Return the name of the door's files: one for each path."""
    return f"chrony-sock-{zlib.crc32(os.fsencode(listener.path or '')):08x}"


def state_path(listener: Listener, folder: Path) -> Path:
    """Return the file in which the door says what it does."""
    return folder / "run" / f"{name_of(listener)}.json"


def command(listener: Listener, folder: Path, *, allow_simulated: bool) -> list[str]:
    """Return the words that start the door, but for the interpreter before and the parent after them."""
    run = folder / "run"
    words = ["-m", MODULE, "--page", str(run / "clock.page"), "--socket", str(folder / (listener.path or ""))]
    words += ["--period-s", repr(listener.period_s), "--bound-limit-s", repr(listener.bound_limit_s)]
    words += ["--state", str(state_path(listener, folder)), "--pidfile", str(run / f"{name_of(listener)}.pid")]
    return [*words, *(["--insecure-serve-simulated-time"] if allow_simulated else [])]


def row(listener: Listener, state: Path) -> dict[str, Any]:
    """Return what `status` shows of the door beside its process."""
    body: dict[str, Any] = {"path": listener.path, "period_s": listener.period_s}
    try:
        with state.open("rb") as file:
            found = json.loads(file.read(MOST_STATE_BYTES))
    except (OSError, ValueError):
        found = None
    return body | ({"sock": found} if isinstance(found, dict) else {})


def write_state(state: SockState, path: Path) -> None:
    """Put the state where others read it, whole. A file that cannot be written costs the state, never a sample."""
    whole = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        whole.write_text(json.dumps(state.document(), sort_keys=True), encoding="ascii")
        whole.replace(path)
    except OSError:
        whole.unlink(missing_ok=True)
