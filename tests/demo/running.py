"""A demo of our own in a process of its own, with its own temporary folder and registry, so that what it leaves shows.

It tests nothing. It ends only the process that it started.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
PORTS = 4
"""Of a demo, in a row."""
ANSWERS = "NTP answers on"


@dataclass
class Demo:
    """A running demo: what it has said so far, and what it leaves."""

    process: "subprocess.Popen[str]"
    port_base: int
    temporary: Path
    environment: dict[str, str]
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)
    first_leaps: list[int] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    _readers: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err)):
            if stream is not None:
                reader = threading.Thread(target=lines.extend, args=(stream,), daemon=True)
                reader.start()
                self._readers.append(reader)

    @property
    def said(self) -> str:
        """All that was said on both streams."""
        return "".join([*self.out, *self.err])

    def wait_for(self, what: str, *, within_s: float = 300.0) -> float:
        """Wait until the demo has said `what`; return the seconds since its start."""
        until = time.monotonic() + within_s
        while not re.search(what, self.said):
            assert self.process.poll() is None, f"ended before it said {what!r}:\n{self.said}"
            assert time.monotonic() < until, f"{what!r} was not said within {within_s:g} s:\n{self.said}"
            time.sleep(0.02)
        return time.monotonic() - self.began

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> None:
        """Do what Ctrl-C does."""
        self.process.send_signal(number)

    def end(self, *, within_s: float = 300.0) -> int:
        """Wait for its end and return its exit status."""
        status = self.process.wait(within_s)
        for reader in self._readers:
            reader.join(5.0)
        return status

    def document(self) -> dict[str, Any]:
        """Return what it printed on standard output: one JSON document and nothing else."""
        body: dict[str, Any] = json.loads("".join(self.out))
        return body

    def verb(self, *words: str, within_s: float = 120.0, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a verb that finds this demo through the registry."""
        command = [sys.executable, "-P", "-m", "truechimer", *words]
        return subprocess.run(
            command, env=self.environment | environment, capture_output=True, text=True, timeout=within_s, check=False
        )

    def left_behind(self) -> list[str]:
        """Return what is still there after its end: files, processes, ports."""
        found = [str(path.relative_to(self.temporary)) for path in self.temporary.rglob("*") if not path.is_dir()]
        found += [path.name for path in self.temporary.glob("truechimer-demo-*")]
        found += [f"process {pid}" for pid in self.processes()]
        for port in range(self.port_base, self.port_base + PORTS):
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                with socket.socket(socket.AF_INET, kind) as held:
                    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    # others of this machine may hold it for a moment, to see whether it is free
                    for _ in range(30):
                        with suppress(OSError):
                            held.bind(("127.0.0.1", port))
                            break
                        time.sleep(0.1)
                    else:
                        found.append(f"port {port}")
        return found

    def processes(self) -> list[int]:
        """Return the processes, this demo and its doors among them, that carry its temporary folder."""
        wanted = f"TMPDIR={self.temporary}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue
        return found


def environment_in(folder: Path, **changes: str) -> dict[str, str]:
    """Return an environment whose temporary files and registry lie in `folder`."""
    inherited = {k: v for k, v in os.environ.items() if k not in {"TRUECHIMER_LAB", "COLUMNS"}}
    return inherited | {
        "TMPDIR": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "PYTHONPATH": str(ROOT / "src"),
        **changes,
    }


@contextmanager
def a_demo(
    folder: Path, *words: str, port_base: int | None = None, launcher: tuple[str, ...] = (), **environment: str
) -> Iterator[Demo]:
    """Start a demo whose temporary folder is `folder`/tmp; it is ended at the latest when the block is left.

    `launcher`: words before the command; a program that becomes the demo (exec), so that the process is the demo's.
    """
    temporary = folder / "tmp"
    temporary.mkdir()
    base = free_port(PORTS) if port_base is None else port_base
    given = environment_in(temporary, **environment)
    command = [*launcher, sys.executable, "-P", "-m", "truechimer", "demo", "--port-base", str(base), *words]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=given,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Demo(process, base, temporary, given)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(120)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
