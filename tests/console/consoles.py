"""Real console processes for tests: on loopback, on a port of the kernel's choice, ended by their own process id."""

import http.client
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.waits import PATIENCE_S

SOURCE = Path(__file__).parents[2] / "src"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE)}


def command(lab: Path, *options: str, address: str = "127.0.0.1", port: int = 0) -> list[str]:
    program = [sys.executable, "-m", "truechimer.console.server", "--lab", str(lab)]
    return [*program, "--address", address, "--port", str(port), *options]


def ready_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], PATIENCE_S)[0], "the console did not get ready"
    return dict(json.loads(process.stdout.readline()))


@dataclass
class Console:
    process: subprocess.Popen[str]
    port: int
    ready: dict[str, Any]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def get(self, path: str, host: str | None = None, method: str = "GET") -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        connection.request(method, path, headers={"Host": host or f"127.0.0.1:{self.port}", "Connection": "close"})
        return connection.getresponse()

    def json(self, path: str) -> tuple[int, dict[str, Any]]:
        with self.get(path) as response:
            return response.status, dict(json.loads(response.read()))


@contextmanager
def a_console(lab: Path, *options: str) -> Iterator[Console]:
    """Start a console on the laboratory in `lab`, and end it."""
    with subprocess.Popen(command(lab, *options), stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        try:
            ready = ready_line(process)
            yield Console(process, ready["port"], ready)
        finally:
            process.kill()
