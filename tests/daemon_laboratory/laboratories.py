"""Whole laboratories for tests, as a user has them: a folder with LAB.toml, `python -m truechimer up` in a process,
questions through the verbs' own client.

Everything stays on loopback, in a folder of pytest's, and is ended by its own process id.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.waits import PATIENCE_S, until

from truechimer import client
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp.ntp_exchange import ExchangeFailure, NtpMeasurement, ask_once, warm_up
from truechimer.errors import Rejected
from truechimer.instants import Instant, builtin_leap_table

SOURCE = Path(__file__).parents[2] / "src"
LEAPS = builtin_leap_table()
TAI_MINUS_UTC_NS = 37 * 10**9


def environment(folder: Path) -> dict[str, str]:
    """Return an environment of the test's own: its registry lies in its folder."""
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRUECHIMER", "XDG"))}
    return kept | {"PYTHONPATH": str(SOURCE), "XDG_RUNTIME_DIR": str(runtime), "TRUECHIMER_NO_WORKERS": "1"}


def verb(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a verb to its end."""
    command = [sys.executable, "-m", "truechimer", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S, env=environment(folder), cwd=folder, check=False
    )


@dataclass
class Up:
    """A running `up`."""

    folder: Path
    process: "subprocess.Popen[str]"
    said: list[str] = field(default_factory=list)

    @property
    def stderr(self) -> str:
        """What it has said on standard error so far."""
        return "".join(self.said)

    def ask(self, what: str = "status") -> dict[str, Any]:
        """Ask the laboratory; an empty document where it does not answer (yet)."""
        try:
            return client.ask(what, lab=self.folder)
        except (Rejected, OSError):
            return {}

    def until_state(self, *states: str, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until the laboratory says one of these states."""
        last: dict[str, Any] = {}

        def is_there() -> bool:
            nonlocal last
            assert self.process.poll() is None, f"up ended with {self.process.returncode}: {self.stderr}"
            last = self.ask()
            return last.get("state") in states

        until(
            is_there,
            patience_s=patience_s,
            what=lambda: f"state {states} (at last {brief(last)}; {self.stderr[-2000:]})",
        )
        return last

    def send(self, number: int) -> None:
        """Send a signal to this process alone."""
        os.kill(self.process.pid, number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it in order and return its status."""
        if self.process.poll() is None:
            self.send(number)
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """Kill -9: nothing of it runs any more when this returns."""
        self.process.kill()
        self.process.wait(PATIENCE_S)


@contextmanager
def up(folder: Path, *options: str, file_size_limit: int | None = None) -> Iterator[Up]:
    """Run `up LAB.toml` in a process of its own, and end it and the doors that a kill left behind."""
    command = [sys.executable, "-m", "truechimer", "up", str(folder / "LAB.toml"), *options]
    if file_size_limit is not None:
        command = ["prlimit", f"--fsize={file_size_limit}", *command]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(folder), cwd=folder)
    running = Up(folder, process)

    def listen() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            running.said.append(line)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(PATIENCE_S)
        end_doors(folder)
        listener.join(5)
        assert process.stderr is not None
        process.stderr.close()


def door_pids(folder: Path) -> list[int]:
    """Return the process ids that the doors of a laboratory wrote down and that run."""
    pids = []
    for path in (folder / "run").glob("*.pid"):
        text = path.read_text().strip()
        if text and is_running(int(text)):
            pids.append(int(text))
    return pids


def is_running(pid: int) -> bool:
    """Return True where a process runs (one that ended and waits to be collected does not)."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def end_doors(folder: Path) -> None:
    """End the doors of a killed laboratory, each by its own process id."""
    for pid in door_pids(folder):
        os.kill(pid, signal.SIGTERM)


def ask_door(port: int) -> NtpMeasurement | None:
    """Ask an NTP door once; None where it does not answer."""
    clocks = HostClocks()
    warm_up(clocks)
    near = Instant.from_tai_ns(clocks.realtime_ns() + TAI_MINUS_UTC_NS)
    found = ask_once("127.0.0.1", port, timeout_s=30.0, clocks=clocks, leaps=LEAPS, near=near)
    return None if isinstance(found, ExchangeFailure) else found


def wall_tai_ns(raw_ns: int | None = None) -> int:
    """Return this host's wall clock as TAI, now or at a raw value of just now (ns)."""
    pair = HostClocks().take_pair()
    return pair.realtime_ns + TAI_MINUS_UTC_NS + (0 if raw_ns is None else raw_ns - pair.raw_ns)


def door_error_s(found: NtpMeasurement) -> float:
    """Return by how much a door's answer was off this host's clock (s); compare with the answer's `root_distance_s`.

    That distance holds the bound which the door states and what this one question's way may have been off by: half
    of its round trip, which a busy machine stretches far beyond a small bound.
    """
    assert found.server_tai_fs is not None
    return (found.server_tai_fs - wall_tai_ns(found.raw_mid_ns) * 10**6) / 1e15


def write_lab(folder: Path, text: str) -> Path:
    """Write LAB.toml."""
    path = folder / "LAB.toml"
    path.write_text(text, encoding="utf-8")
    return path


def replayed(folder: Path) -> dict[str, Any]:
    """Repeat the records of a laboratory through the verb; it must come out bit for bit."""
    found = verb(folder, "evidence", "replay", str(folder), "--json")
    assert found.returncode == 0, found.stdout + found.stderr
    body: dict[str, Any] = json.loads(found.stdout)
    return body


def brief(status: dict[str, Any]) -> str:
    """Return what a failed test should show of a status."""
    kept = ("state", "why", "missing", "bound_s", "utc_minus_scale", "rejected_readings", "epochs", "sources")
    return str({name: status[name] for name in kept if name in status})
