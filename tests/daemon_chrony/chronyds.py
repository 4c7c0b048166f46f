"""chronyd of Debian for tests: servers of our own on loopback addresses, a path that lies, and a client with a command
socket. None of them touches this machine's clock (-x), and each is ended by its own process id.

A chronyd knows its servers by address alone, so each server here has a loopback address of its own.
"""

import os
import pwd
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port
from tests.waits import PATIENCE_S, until

SBIN = "/usr/sbin:/usr/local/sbin:/usr/bin"
CHRONYD = shutil.which("chronyd", path=SBIN) or "chronyd"
CHRONYC = shutil.which("chronyc", path=SBIN) or "chronyc"


@dataclass
class Chronyd:
    """A running chronyd in a folder; `socket` answers commands."""

    folder: Path
    process: "subprocess.Popen[bytes]"
    configuration: Path
    user: str = "root"

    @property
    def socket(self) -> Path:
        return self.folder / "d.sock"

    def ask(self, *words: str) -> str:
        """Return what chronyc prints."""
        command = [CHRONYC, "-h", str(self.socket), "-N", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout

    def tracking(self) -> dict[str, str]:
        """Return chronyc's `tracking` by its own words."""
        pairs = (line.split(":", 1) for line in self.ask("tracking").splitlines() if ":" in line)
        return {name.strip(): value.strip() for name, value in pairs}

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(120)

    def start_again(self) -> None:
        """Start it anew after `end`, with the same configuration."""
        self.process = _start(self.folder, self.configuration, self.user)
        until(self.socket.exists, what=lambda: "chronyd's socket")


def selected(running: Chronyd) -> str:
    """Return the reference that chronyd follows; empty where it follows none."""
    marked = [line.split(",") for line in running.ask("-c", "sources").splitlines()]
    return next((words[2] for words in marked if words[1] == "*"), "")


def _start(folder: Path, configuration: Path, user: str) -> "subprocess.Popen[bytes]":
    command = [CHRONYD, "-x", "-d", "-u", user, f"include {configuration}", f"bindcmdaddress {folder}/d.sock"]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


@contextmanager
def chronyd(*lines: str, user: str = "root") -> Iterator[Chronyd]:
    """Run one chronyd in a short folder of its own (a socket's path has 107 octets); `{folder}` in a line is that.
    `user`: whom it becomes; the folder is then that user's.
    """
    with tempfile.TemporaryDirectory(prefix="chronyd-") as name:
        folder = Path(name)
        folder.chmod(0o750)
        configuration = folder / "chrony.conf"
        text = [line.replace("{folder}", name) for line in lines]
        configuration.write_text("\n".join([*text, "cmdport 0", f"pidfile {folder}/pid"]) + "\n", encoding="ascii")
        if user != "root":
            found = pwd.getpwnam(user)
            os.chown(folder, found.pw_uid, found.pw_gid)
        running = Chronyd(folder, _start(folder, configuration, user), configuration, user)
        try:
            until(running.socket.exists, what=lambda: "chronyd's socket")
            yield running
        finally:
            running.end()


@contextmanager
def server(address: str, *, stratum: int = 1) -> Iterator[int]:
    """Run a server of this machine's own time on a loopback address; give its port."""
    port = free_port()
    lines = (f"local stratum {stratum}", "allow 127.0.0.0/8", f"bindaddress {address}", f"port {port}")
    with chronyd(*lines):
        yield port


@contextmanager
def a_chronyd(folder: Path, port: int, *, address: str = "127.0.0.1") -> Iterator["subprocess.Popen[bytes]"]:
    """Run a chronyd that serves this machine's clock as stratum 1 and answers no question but NTP's."""
    folder.mkdir(parents=True)
    lines = ["local stratum 1", "allow 127.0.0.0/8", f"bindaddress {address}", f"port {port}", "cmdport 0"]
    (folder / "own.conf").write_text("\n".join([*lines, f"pidfile {folder}/own.pid"]) + "\n", encoding="ascii")
    command = [CHRONYD, "-x", "-d", "-u", "root", f"include {folder}/own.conf", "bindcmdaddress /"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def answer_of(back: socket.socket, question: bytes) -> bytes:
    """Carry a question to the server and return the answer to it; one to an earlier question, late, is left out."""
    back.send(question)
    while True:
        answer = back.recv(2048)
        if answer[24:32] == question[40:48]:  # its origin is the question's transmit stamp
            return answer


class Liar(threading.Thread):
    """A path to a server, at an address of its own: it moves receive and transmit stamp of each answer by `shift_s`, or
    swallows everything.
    """

    def __init__(self, address: str, server_address: str, server_port: int, *, shift_s: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.shift_s = shift_s
        self.is_silent = False
        self._behind = (server_address, server_port)
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind((address, 0))
        self._front.settimeout(0.1)
        self.port: int = self._front.getsockname()[1]
        self._ended = threading.Event()

    def run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
            back.connect(self._behind)
            back.settimeout(0.5)
            while not self._ended.is_set():
                try:
                    request, client = self._front.recvfrom(2048)
                    if self.is_silent:
                        continue
                    reply = answer_of(back, request)
                except OSError:
                    continue
                self._front.sendto(self._moved(reply), client)
        self._front.close()

    def _moved(self, reply: bytes) -> bytes:
        receive, transmit = struct.unpack("!QQ", reply[32:48])
        units = round(self.shift_s * 2**32)
        return reply[:32] + struct.pack("!QQ", (receive + units) % 2**64, (transmit + units) % 2**64) + reply[48:]

    def stop(self) -> None:
        self._ended.set()
        self.join(5)


@contextmanager
def liar(address: str, server_address: str, server_port: int, *, shift_s: float = 0.0) -> Iterator[Liar]:
    """Run a path; it lies by `shift_s`, which may be changed while it runs."""
    path = Liar(address, server_address, server_port, shift_s=shift_s)
    path.start()
    try:
        yield path
    finally:
        path.stop()
