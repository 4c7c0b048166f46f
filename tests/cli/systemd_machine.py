"""A machine of its own under Debian's systemd, for tests: systemd is process 1 of new namespaces, over a copy-on-write
view of this machine's files, with a control group, a network and a /run of its own.

It changes nothing of this machine: what is written there lies in memory and ends with it, and its systemd may neither
set the clock nor load modules. Only root can make one, and not everywhere: `cannot` says why not. The program runs as
the guide has it: a virtual environment below /opt that any user can enter. Source: systemd's container interface
(https://systemd.io/CONTAINER_INTERFACE), unshare(1), nsenter(1), pivot_root(8).
"""

import os
import shlex
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from truechimer.cli.export_systemd import closed_to_others

ROOT = Path(__file__).parents[2]
FOLDER = "/srv/north"
"""The laboratory's folder inside the machine: `shared`/lab."""

OPT = "/opt/truechimer-1"
PROGRAM = f"{OPT}/bin/truechimer"
"""The program inside the machine."""

VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
PATIENCE_S = 120.0
NAMESPACES = ("--pid", "--mount", "--uts", "--ipc", "--cgroup", "--net")
ENTERED = ("-p", "-m", "-u", "-i", "-C", "-n")
KEPT_FROM_IT = ("sys_time", "sys_module", "sys_rawio", "mac_admin", "mac_override")

SMALL_TARGET = """[Unit]
Description=all that this machine starts by itself
Requires=systemd-journald.service
After=systemd-journald.service
AllowIsolate=yes
"""
JOURNALD = "[Journal]\nStorage=volatile\nAudit=no\nReadKMsg=no\nRateLimitBurst=0\n"

ASKING = """
import socket, sys, time
out = open(sys.argv[1], "w", buffering=1)
while True:
    began = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.2)
        try:
            asking.sendto(b"\\x23" + bytes(39) + b"12345678", ("127.0.0.1", 123))
            leap = asking.recv(200)[0] >> 6
        except OSError:
            leap = -1
    out.write(f"{began} {leap}\\n")
    time.sleep(max(0.0, began + 0.02 - time.monotonic()))
"""
BOOT = r"""
set -eu
shared=$1 packages=$2 source=$3
mount --make-rprivate /
mount -t tmpfs tmpfs "$shared/machine"
cd "$shared/machine"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=/,upperdir=upper,workdir=work" root
cd root
mount -t proc proc proc
mount --bind proc/sys proc/sys && mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/shm dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
for name in null zero full random urandom tty; do
    : > "dev/$name"
    mount --bind "/dev/$name" "dev/$name"
done
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs opt
mkdir -p opt/packages opt/source srv/north
mount --bind "$packages" opt/packages
mount --bind "$source" opt/source
mount --bind "$shared/units" etc/systemd/system
mount --bind "$shared/lab" srv/north
mkdir -p etc/systemd/journald.conf.d
cp "$shared/journald.conf" etc/systemd/journald.conf.d/test.conf
ln -sf /dev/null etc/systemd/system/systemd-journald-audit.socket
: > etc/machine-id
mkdir old
pivot_root . old
umount -l /old
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target --log-target=journal --show-status=no
"""


@dataclass
class Machine:
    """A machine that has started. `pid`: its process 1, as this machine counts."""

    shared: Path
    pid: int

    def command(self, *words: str) -> list[str]:
        """Return the words that run a command in it, as root."""
        return [
            "nsenter",
            "-t",
            str(self.pid),
            *ENTERED,
            "--",
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            *words,
        ]

    def run(self, *words: str, check: bool = True, timeout_s: float = 60.0) -> str:
        """Run a command in it to its end and return what it printed; say what it said where it failed."""
        done = subprocess.run(self.command(*words), capture_output=True, text=True, timeout=timeout_s, check=False)
        said = f"{shlex.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        if check and done.returncode != 0 and "systemctl" in said:
            said += self.run("journalctl", "--no-pager", "-n", "40", check=False)
        assert done.returncode == 0 or not check, said
        return done.stdout

    def shows(self, unit: str, *properties: str) -> dict[str, str]:
        """Return properties of a unit, as `systemctl show` has them."""
        text = self.run("systemctl", "show", unit, *(f"--property={name}" for name in properties))
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def until(self, condition: Callable[[], Any], *, patience_s: float = PATIENCE_S, unit: str = "") -> Any:
        """Wait for a condition and return what it gave; else show the unit's journal."""
        end = time.monotonic() + patience_s
        while not (found := condition()):
            if time.monotonic() > end:
                said = self.run("journalctl", "--no-pager", "-n", "60", check=False) if unit else ""
                raise AssertionError(f"not within {patience_s:g} s\n{said}")
            time.sleep(0.1)
        return found


def _cgroup2() -> Path | None:
    """Return where this process's own control group of version 2 can be seen; None where there is none."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    place = next((Path(words[1]) for words in mounts if words[2] == "cgroup2"), None)
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    return None if place is None or own is None else place / own.lstrip("/")


def _interpreter() -> str | None:
    """Return an interpreter of this version that every user can run; None where there is none."""
    for path in (Path(sys.base_prefix) / "bin" / VERSION, Path("/usr/bin") / VERSION):
        if path.exists() and closed_to_others((str(path),)) is None:
            return str(path)
    return None


def cannot() -> str | None:
    """Return why no such machine can be made here; None where it can."""
    if os.geteuid() != 0:
        return "only root can make a machine"
    if not Path("/lib/systemd/systemd").exists():
        return "systemd is not installed: apt-get install systemd"
    if _cgroup2() is None:
        return "no control groups of version 2 are mounted here"
    if _interpreter() is None:
        return f"no {VERSION} that every user can run: apt-get install {VERSION}"
    tried = subprocess.run(["unshare", "--fork", *NAMESPACES, "true"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"no namespaces here: {tried.stderr.strip()}"


@contextmanager
def machine(shared: Path) -> Iterator[Machine]:
    """Start a machine whose `FOLDER` is `shared`/lab and its /etc/systemd/system `shared`/units; end all of it after.

    A second one over the same `shared` is the first one started again: units that were enabled run.
    """
    group = _cgroup2()
    assert group is not None
    group = group / f"truechimer-test-{os.getpid()}"
    for name in ("machine", "units", "lab"):
        (shared / name).mkdir(exist_ok=True)
    (shared / "units" / "multi-user.target").write_text(SMALL_TARGET)
    (shared / "journald.conf").write_text(JOURNALD)
    group.mkdir()
    inside = ["setpriv", "--bounding-set", ",".join(f"-{name}" for name in KEPT_FROM_IT)]
    words = [str(shared), sysconfig.get_paths()["purelib"], str(ROOT / "src")]
    command = ["unshare", "--fork", "--kill-child=KILL", *NAMESPACES, *inside, "sh", "-c", BOOT, "boot", *words]
    said = (shared / "boot.log").open("ab")

    with said:
        # sh moves itself into the group first: the namespace of groups begins where its maker is
        process = subprocess.Popen(
            ["sh", "-c", f'echo 0 > {shlex.quote(str(group / "cgroup.procs"))} && exec "$@"', "enter", *command],
            stdout=said, stderr=said, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    first = 0
    try:
        end = time.monotonic() + PATIENCE_S
        while True:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            first = int(children[0]) if children else 0
            made = Machine(shared, first)
            if first and "running" in _state(made):
                break
            is_late = process.poll() is not None or time.monotonic() > end
            assert not is_late, (shared / "boot.log").read_text()[-4000:]
            time.sleep(0.1)
        install(made)
        yield made
    finally:
        if first:
            os.kill(first, 9)
        process.kill()
        process.wait(120)
        _remove(group)


def _state(made: Machine) -> str:
    if os.readlink(f"/proc/{made.pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt"):
        return ""
    return made.run("systemctl", "is-system-running", check=False)


def install(made: Machine, place: str = OPT, source: str = "/opt/source") -> None:
    """Put the program below /opt, in a virtual environment of an interpreter that any user can enter."""
    made.run(_interpreter() or "", "-m", "venv", "--without-pip", place)
    site = f"{place}/lib/{VERSION}/site-packages/truechimer.pth"
    made.run("sh", "-c", f"printf '{source}\\n/opt/packages\\n' > {site}")
    script = f"#!{place}/bin/python\nfrom truechimer.cli.__main__ import main\nraise SystemExit(main())\n"
    program = f"{place}/bin/truechimer"
    made.run("sh", "-c", f'printf "%s" "$1" > {program} && chmod 755 {program}', "write", script)


def _remove(group: Path) -> None:
    """Remove a control group and those below it, once their processes are gone."""
    end = time.monotonic() + PATIENCE_S
    while group.exists():
        for folder in sorted((path for path in group.rglob("*") if path.is_dir()), key=lambda p: -len(p.parts)):
            try:
                folder.rmdir()
            except OSError:
                break
        try:
            group.rmdir()
        except OSError:
            assert time.monotonic() < end, f"{group} is still in use"
            time.sleep(0.1)


@contextmanager
def asked(here: Machine) -> Iterator[Path]:
    """Ask the door fifty times a second, from its first synchronised answer to the end of the block; the file that is
    left has a line each: when, and the leap bits, -1 without an answer.
    """
    log = here.shared / "asked"
    log.unlink(missing_ok=True)
    command = ["nsenter", "-t", str(here.pid), "-n", sys.executable, "-c", ASKING, str(log)]
    process = subprocess.Popen(command)
    before = 0
    try:
        here.until(lambda: log.exists() and log.read_text().endswith((" 0\n", " 1\n", " 2\n")))
        before = log.stat().st_size
        yield log
    finally:
        process.kill()
        process.wait(120)
        log.write_text(log.read_text()[before:])


def silence_s(log: Path, *, synchronised: bool = False) -> float:
    """Return the longest time between two answers (that were synchronised)."""
    rows = [line.split() for line in log.read_text().splitlines() if line.count(" ") == 1]
    good = [float(at) for at, leap in rows if leap in (("0", "1", "2") if synchronised else ("0", "1", "2", "3"))]
    ends = [float(rows[0][0]), *good, float(rows[-1][0])]
    return max(later - earlier for earlier, later in pairwise(ends))
