"""Doors: one process for each listener, started, watched and ended by the laboratory, and outliving it where it is
killed.

It serves nothing itself. The law of the file: a process is ended only where its own pid file, in this laboratory's
folder, names it and its command line says that it is that door.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from truechimer.daemon.counters import CountersRejected, read_counters
from truechimer.daemon.lab_file import Listener, Protocol
from truechimer.errors import Rejected

READY_WITHIN_S = 10.0
ENDING_WITHIN_S = 3.0
SERVE_MODULE = "truechimer.daemon.serve_process"
CONSOLE_MODULE = "truechimer.console.server"


class DoorRejected(Rejected):
    """A door did not open."""


@dataclass(slots=True)
class Door:
    """A listener in its own process."""

    listener: Listener
    process: "subprocess.Popen[str]"
    port: int
    counters: Path | None

    def row(self) -> dict[str, Any]:
        """Return this listener's row of `status`."""
        row: dict[str, Any] = {
            "protocol": self.listener.protocol.value,
            "address": self.listener.address,
            "port": self.port,
            "pid": self.process.pid,
            "alive": self.process.returncode is None,
        }
        if self.counters is not None:
            row["bound_limit_s"] = self.listener.bound_limit_s
            try:
                row["counters"] = {name: count for name, count in read_counters(self.counters).items() if count}
            except (CountersRejected, OSError):
                row["counters"] = {}
        return row


@dataclass(frozen=True, slots=True)
class Orphan:
    """A door that an earlier laboratory of this folder left behind: it was killed, so it could not end it."""

    pid: int
    pidfile: Path
    port: int


def open_door(listener: Listener, folder: Path, *, allow_simulated: bool) -> Door:
    """Start one door of the laboratory in `folder` and wait until it says that it is open; raises `DoorRejected`."""
    run, port = folder / "run", listener.port_number
    name = f"{listener.protocol.value}-{port}"
    common = ["--address", listener.address, "--port", str(port), "--parent-pid", str(os.getpid())]
    counters: Path | None = None
    if listener.protocol is Protocol.NTP:
        counters = run / f"{name}.counters"
        command = ["-m", SERVE_MODULE, "--page", str(run / "clock.page"), "--counters", str(counters)]
        command += ["--bound-limit-s", repr(listener.bound_limit_s), "--pidfile", str(run / f"{name}.pid"), *common]
        command += ["--insecure-serve-simulated-time"] if allow_simulated else []
    else:
        command = ["-m", CONSOLE_MODULE, "--lab", str(folder), *common]
    process = subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=_environment(),
    )
    ready = _first_line(process)
    if ready is None:
        end_door(Door(listener, process, port, counters))
        raise DoorRejected(
            f"the {listener.protocol.value} door on {listener.address} port {port} did not open; what it said stands "
            "above"
        )
    return Door(listener, process, int(ready.get("port", port)), counters)


def end_door(door: Door) -> None:
    """End one door, in order if it can."""
    door.process.terminate()
    try:
        door.process.wait(timeout=ENDING_WITHIN_S)
    except subprocess.TimeoutExpired:
        door.process.kill()
        door.process.wait()
    if door.process.stdout is not None:
        door.process.stdout.close()


def orphans(folder: Path) -> tuple[Orphan, ...]:
    """Return the doors of the laboratory in `folder` that still run. They are orphans where no laboratory holds the
    folder.
    """
    found = []
    for path in sorted((folder / "run").glob("*.pid")):
        try:
            pid = int(path.read_text(encoding="ascii"))
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            port = int(command[command.index(b"--port") + 1])
        except (OSError, ValueError, IndexError):
            continue
        if SERVE_MODULE.encode() in command and os.fsencode(path) in command:
            found.append(Orphan(pid, path, port))
    return tuple(found)


def end_orphans(folder: Path) -> int:
    """End the doors that an earlier laboratory of this folder left behind; return how many. Only for who holds the
    folder.
    """
    found = orphans(folder)
    for sent in (signal.SIGTERM, signal.SIGKILL):
        left = [orphan for orphan in found if _is_alive(orphan)]
        for orphan in left:
            os.kill(orphan.pid, sent)
        end = time.monotonic() + ENDING_WITHIN_S
        while any(_is_alive(orphan) for orphan in left) and time.monotonic() < end:
            time.sleep(0.01)
    for path in (folder / "run").glob("*.pid"):
        path.unlink(missing_ok=True)
    return len(found)


def _is_alive(orphan: Orphan) -> bool:
    """Return True while the door runs; a process that ended and was not yet waited for has no command line."""
    try:
        return os.fsencode(orphan.pidfile) in Path(f"/proc/{orphan.pid}/cmdline").read_bytes()
    except OSError:
        return False


def _environment() -> dict[str, str]:
    """Return the environment of a door: the package is found where this one was."""
    package = str(Path(__file__).parents[2])
    inherited = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": package if not inherited else f"{package}{os.pathsep}{inherited}"}


def _first_line(process: "subprocess.Popen[str]") -> dict[str, Any] | None:
    """Return the door's ready line, or None where it ended or stayed silent."""
    found: list[str] = []

    def read() -> None:
        if process.stdout is not None:
            found.append(process.stdout.readline())

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(timeout=READY_WITHIN_S)
    if not found or not found[0].strip():
        return None
    try:
        body = json.loads(found[0])
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
