"""Real serve processes for tests: on loopback, on a port of the kernel's choice, ended by their own process id."""

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.serve.pages import a_page
from tests.waits import PATIENCE_S

from truechimer.daemon.door.socket_address import socket_address
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.page_file import PageWriter
from truechimer.instants import FS_PER_S
from truechimer.serve import ClockPage
from truechimer.serve.ntp import NtpAnswer, make_request, read_reply

SOURCE = Path(__file__).parents[2] / "src"
ENVIRONMENT = {"PYTHONPATH": str(SOURCE), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "TRUECHIMER_NO_WORKERS": "1"}


def a_live_page(**changes: Any) -> ClockPage:
    """Return a page whose line is this host's own wall clock at this moment: the label does not matter, the line
    does.
    """
    clocks = HostClocks()
    pair = clocks.take_pair()
    tai_fs = pair.realtime_ns * 10**6 + 37 * FS_PER_S
    fields: dict[str, Any] = {
        "anchor_raw_ns": pair.raw_ns,
        "anchor_tai_fs": tai_fs,
        "rate": 0.0,
        "valid_until_raw_ns": pair.raw_ns + 600 * 10**9,
        "written_raw_ns": pair.raw_ns,
        "leap_expires_tai_s": tai_fs // FS_PER_S + 100 * 86_400,
        "boot_id": clocks.boot_id(),
    }
    return a_page(**(fields | changes))


@dataclass
class Door:
    """One serve process."""

    process: subprocess.Popen[str]
    port: int
    folder: Path
    ready: dict[str, Any]
    address: str = "127.0.0.1"

    def ask(self, *, wait_s: float = 30.0) -> NtpAnswer | None:
        """Ask once; None where no reply came in this time, or no door is there."""
        nonce = time.monotonic_ns()
        with socket.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET, socket.SOCK_DGRAM) as connection:
            connection.settimeout(wait_s)
            connection.connect(socket_address(self.address, self.port))
            connection.send(make_request(nonce))
            try:
                answer = read_reply(connection.recv(2048), nonce)
            except (TimeoutError, ConnectionRefusedError):
                return None
        assert isinstance(answer, NtpAnswer)
        return answer

    def counters_path(self) -> Path:
        return self.folder / "counters"


@contextmanager
def a_door(folder: Path, *options: str, address: str = "127.0.0.1", with_workers: bool = False) -> Iterator[Door]:
    """Start a serve process on the page in `folder`, and end it; `with_workers`: in machine code too."""
    command = [sys.executable, "-m", "truechimer.daemon.ntp.serve_process", "--page", str(folder / "page")]
    command += ["--address", address, "--port", "0", "--counters", str(folder / "counters"), *options]
    environment = ENVIRONMENT | ({"TRUECHIMER_NO_WORKERS": ""} if with_workers else {})
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield Door(process, **ready_of(process), folder=folder, address=address)
        finally:
            process.kill()


def ready_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for the line that says a door is open."""
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], PATIENCE_S)[0], "the serve process did not get ready"
    ready = json.loads(process.stdout.readline())
    return {"port": ready["port"], "ready": ready}


@contextmanager
def a_page_in(folder: Path, page: ClockPage | None = None) -> Iterator[PageWriter]:
    """Publish a page once in `folder`."""
    with PageWriter(folder / "page", boot_id=HostClocks().boot_id()) as writer:
        writer.publish(page or a_live_page())
        yield writer
