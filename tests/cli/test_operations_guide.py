"""The table of processes, sockets and files in the operations guide against /proc of a running laboratory."""

import re
import socket
from fnmatch import fnmatch
from pathlib import Path

import pytest
from tests.daemon_faults.laboratories import LAB, write_lab
from tests.daemon_laboratory.laboratories import ask_door, up, verb
from tests.ports import free_port
from tests.waits import until

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "operations.md"
SOCKET_TABLES = ("unix", "udp", "udp6", "tcp", "tcp6")
LISTENING = "0A"
UNIX_LISTENING = 0x10000


def promised() -> dict[str, tuple[set[str], set[str]]]:
    """Return of each process what the guide allows: kinds of sockets, patterns of files."""
    text = GUIDE.read_text(encoding="utf-8")
    table = re.search(r"(?m)^\| process \| is \| sockets \| open files \|\n\| [^\n]*\n((?:\|[^\n]*\n)+)", text)
    assert table is not None
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[1].splitlines()]
    words = [[set(re.findall(r"`([^`]+)`", cell)) for cell in row] for row in rows]
    return {next(iter(row[0])): (row[2], row[3]) for row in words}


def sockets_of(pid: int) -> dict[str, str]:
    """Return the kind of each socket of a network namespace by its inode."""
    found = {}
    for name in SOCKET_TABLES:
        for line in Path(f"/proc/{pid}/net/{name}").read_text(encoding="ascii", errors="replace").splitlines()[1:]:
            words = line.split()
            if name == "unix":
                found[words[6]] = "unix-listen" if int(words[3], 16) & UNIX_LISTENING else "unix"
            else:
                kind = name.removesuffix("6")
                found[words[9]] = f"{kind}-listen" if kind == "tcp" and words[3] == LISTENING else kind
    return found


def open_in(pid: int, folder: Path) -> tuple[set[str], set[str]]:
    """Return what a process has open: kinds of sockets, files below `folder`."""
    kinds, files, known = set(), set(), sockets_of(pid)
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            kinds.add(known.get(target[8:-1], "unix"))  # a pair that nobody named stands in no table
        elif Path(target).is_relative_to(folder):
            files.add(str(Path(target.removesuffix(" (deleted)")).relative_to(folder)))
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        place = line.split(maxsplit=5)[5:]
        if place and Path(place[0]).is_relative_to(folder):
            files.add(str(Path(place[0]).relative_to(folder)))
    return kinds, files


@pytest.mark.slow
def test_every_process_has_open_what_the_guide_says_and_nothing_else(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        console_port = held.getsockname()[1]
    doors = "".join(
        f'[[listener]]\nprotocol = "{protocol}"\naddress = "127.0.0.1"\nport = {port}\n'
        for protocol, port in (("ntp", free_port()), ("console", console_port))
    )
    write_lab(tmp_path, days=0.5, text=LAB + doors)
    allowed = promised()
    with up(tmp_path) as running:
        status = running.until_state("freerun", "acquiring", "steered", "holdover")
        pids = [("laboratory", status["pid"]), *((door["protocol"], door["pid"]) for door in status["listeners"])]
        assert {name for name, _ in pids} | {"chrony-sock"} == set(allowed)
        checked = verb(tmp_path, "check", "LAB.toml")
        assert (checked.returncode, checked.stdout.count("good")) == (0, 1), "its doors have its ports by right"
        for name, pid in pids:
            kinds, files = open_in(pid, tmp_path)
            may_have, patterns = allowed[name]
            assert kinds <= may_have, name
            assert {file for file in files if not any(fnmatch(file, pattern) for pattern in patterns)} == set(), name
            # a socket has no name in /proc/PID/fd; a door opens the page when it is there, and counts when asked
            named = patterns - {"run/control.sock"}
            if name == "ntp":
                ask_door(running.ask()["listeners"][0]["port"])
            until(
                lambda pid=pid, named=named: named <= matched(open_in(pid, tmp_path)[1], named),
                what=lambda name=name: name,
            )


def matched(files: set[str], patterns: set[str]) -> set[str]:
    return {pattern for pattern in patterns if any(fnmatch(file, pattern) for file in files)}
