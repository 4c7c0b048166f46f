"""A machine as an observer finds it, for tests: a chronyd of the user's own (Debian's, with `-x`) that follows several
local servers, one of which may lie; and what a stranger can see of a process from outside (/proc).

Everything is on loopback and in pytest's folder; the machine's clock is never touched.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.daemon_chrony.chronyds import CHRONYD, Liar, a_chronyd
from tests.ports import free_port
from tests.waits import until

LISTENING = "0A"


@dataclass
class Beside:
    """What runs: the user's chronyd with its command socket; the ports of the servers it follows (`paths[i]` is the
    path to the server i, on which somebody may sit).
    """

    folder: Path
    socket: Path
    ports: list[int]
    paths: list[Liar]

    def chronyc(self, *words: str) -> list[list[str]]:
        """Ask the user's chronyd; comma-separated fields of each line."""
        found = subprocess.run(
            ["chronyc", "-n", "-c", "-h", str(self.socket), *words],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return [line.split(",") for line in found.stdout.splitlines()]

    def questions(self) -> int:
        """Return how many NTP requests chronyd has sent to its servers in all."""
        return sum(int(row[TOTAL_TX]) for row in self.chronyc("ntpdata"))


TOTAL_TX = 30
"""Column of `chronyc -c ntpdata`: Total TX."""


@contextmanager
def beside_chronyd(folder: Path, *, servers: int = 5) -> Iterator[Beside]:
    """Run the servers, each behind a path, and the user's chronyd that follows them all."""
    (folder / "user").mkdir(mode=0o700)
    with ExitStack() as ends:
        paths = []
        # one address a server: chronyd takes two ports of one address for the same server
        addresses = [f"127.0.1.{number + 1}" for number in range(servers)]
        for number, address in enumerate(addresses):
            port = free_port()
            ends.enter_context(a_chronyd(folder / f"server-{number}", port))
            path = Liar(address, "127.0.0.1", port)
            path.start()
            ends.callback(path.stop)
            paths.append(path)
        ports = [path.port for path in paths]
        socket = folder / "user" / "chronyd.sock"
        lines = [
            f"server {address} port {port} minpoll -1 maxpoll -1"
            for address, port in zip(addresses, ports, strict=True)
        ]
        lines += ["port 0", "cmdport 0", f"pidfile {folder}/user/own.pid"]
        (folder / "user" / "own.conf").write_text("\n".join(lines) + "\n")
        command = [CHRONYD, "-x", "-d", "-u", "root", f"include {folder}/user/own.conf", f"bindcmdaddress {socket}"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            try:
                until(socket.exists)
                yield Beside(folder, socket, ports, paths)
            finally:
                process.terminate()
                process.wait(120)


def inodes_of(pid: int) -> set[str]:
    """Return the inodes of the sockets that a process has open."""
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            found.add(target.removeprefix("socket:[").removesuffix("]"))
    return found


def open_sockets(pid: int, *tables: str) -> list[tuple[int, str]]:
    """Return (local port, state) of a process's sockets in these tables of /proc/net."""
    inodes, found = inodes_of(pid), []
    for table in tables:
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes:
                found.append((int(fields[1].rpartition(":")[2], 16), fields[3]))
    return found


def listening_ports(pid: int, *, for_s: float = 0.0) -> set[int]:
    """Return the ports on which a process takes requests, over some time: TCP that listens, UDP without a peer."""
    end, found = time.monotonic() + for_s, set()
    while True:
        found |= {port for port, state in open_sockets(pid, "tcp", "tcp6") if state == LISTENING}
        found |= {port for port, state in open_sockets(pid, "udp", "udp6") if state == "07"}
        if time.monotonic() >= end:
            return found
        time.sleep(0.02)


def files_of(folder: Path) -> set[str]:
    """Return the files (not the sockets) under a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
