"""Doors: one process for each listener, started, watched and ended by the laboratory, outliving it where it is killed,
and taken over by the next one where they serve what that would have them serve.

It serves nothing itself. The law of the file: a process is ended or taken over only where its own pid file, in this
laboratory's folder, names it, it runs as this user, and its command line says that it is that door; what is done to it
then goes through a descriptor of that very process, so that a number that was given away again is never meant.
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from truechimer._version import __version__
from truechimer.daemon import notify
from truechimer.daemon.door import door_policy, handover, sock_door
from truechimer.daemon.door.counters import CountersRejected, door_name, read_counters
from truechimer.daemon.door.door_policy import DoorPolicy
from truechimer.daemon.door.door_rules import DoorRules
from truechimer.daemon.door.gate import Gate
from truechimer.daemon.door.probed import probed_row
from truechimer.daemon.journal_log import LogForm
from truechimer.daemon.lab.listener_settings import Listener, Protocol
from truechimer.daemon.ntp import accelerator_state
from truechimer.daemon.ntp.serve_workers import machine_code_is_possible
from truechimer.errors import Rejected

READY_WITHIN_S = 10.0
CONSOLE_ALONE_S = 60.0
"""How long a console says of a laboratory that was killed that it is silent, and waits for the next one."""

ENDING_WITHIN_S = 3.0
SERVE_MODULE = "truechimer.daemon.ntp.serve_process"
CONSOLE_MODULE = "truechimer.console.server"
DOOR_MODULES = frozenset({SERVE_MODULE.encode(), CONSOLE_MODULE.encode(), sock_door.MODULE.encode()})
"""Doors write a pid file, and outlive a laboratory that was killed."""


class DoorRejected(Rejected):
    """A door did not open."""


class Adopted:
    """A door's process that an earlier laboratory started: not a child of this one, so it is held by a descriptor.

    Raises `ProcessLookupError` where it is gone already.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout = None
        self._descriptor = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Return None while it runs; then 0: how it ended is told to its parent alone."""
        if self.returncode is None:
            self._has_ended(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raises `subprocess.TimeoutExpired`."""
        if self.returncode is None and not self._has_ended(timeout):
            raise subprocess.TimeoutExpired([f"process {self.pid}"], timeout or 0.0)
        return 0

    def terminate(self) -> None:
        """Ask it to end."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self._send(signal.SIGKILL)

    def let_go(self) -> None:
        """Hold it no longer: it runs on, or has ended, and nothing more is done to it."""
        if self.returncode is None:
            os.close(self._descriptor)
            self.returncode = 0

    def _send(self, number: signal.Signals) -> None:
        if self.poll() is None:
            try:
                signal.pidfd_send_signal(self._descriptor, number)
            except ProcessLookupError:
                return

    def _has_ended(self, timeout_s: float | None) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if not poll.poll(None if timeout_s is None else timeout_s * 1000.0):
            return False
        os.close(self._descriptor)
        self.returncode = 0
        return True


@dataclass(slots=True)
class Door:
    """A listener in its own process."""

    listener: Listener
    process: "subprocess.Popen[str] | Adopted"
    port: int
    counters: Path | None
    state: Path | None = None
    policy: Path | None = None
    is_open: bool = False
    before: Adopted | None = None
    """The door whose sockets this one takes; it serves until this one is open."""

    @property
    def name(self) -> str:
        """The name of the door's files, and by which orders name it."""
        return _name(self.listener)

    @property
    def is_left_open(self) -> bool:
        """True for a door that another laboratory can go on with: it serves, and it serves NTP."""
        serves = self.is_open or isinstance(self.process, Adopted)
        return serves and self.listener.protocol is Protocol.NTP and self.process.poll() is None

    @property
    def where(self) -> str:
        """The door's place in words, with the port that it has."""
        if self.listener.protocol is Protocol.CHRONY_SOCK:
            return self.listener.where
        return f"on {self.listener.address} port {self.port}"

    def row(self) -> dict[str, Any]:
        """Return this listener's row of `status`."""
        row: dict[str, Any] = {
            "protocol": self.listener.protocol.value,
            "address": self.listener.address,
            "port": self.port,
            "pid": self.process.pid,
            "alive": self.process.returncode is None,
        }
        if self.listener.protocol is Protocol.CHRONY_SOCK and self.state is not None:
            del row["address"], row["port"]
            row |= sock_door.row(self.listener, self.state) | {"bound_limit_s": self.listener.bound_limit_s}
        if self.counters is not None:
            row["bound_limit_s"] = self.listener.bound_limit_s
            has_workers = machine_code_is_possible() and not self.listener.rules.smears
            row["workers"] = self.listener.workers if has_workers else 0
            row["rules"] = {"rate_per_s": self.listener.rate_per_s} | json.loads(self.listener.rules.text())
            by_order = DoorPolicy(self.policy, _name(self.listener))
            if by_order.look() and by_order.policy is not None:
                row["bound_limit_s"] = by_order.policy.bound_limit_s
                row["allow"] = [str(network) for network in by_order.policy.allow]
            if self.listener.accelerator:
                row["accelerator"] = accelerator_state.read(
                    accelerator_state.beside(self.counters), is_alive=self.process.returncode is None
                )
            try:
                row["counters"] = {name: count for name, count in read_counters(self.counters).items() if count}
            except (CountersRejected, OSError):
                row["counters"] = {}
            probed = probed_row(row["counters"], accelerated=self.listener.accelerator)
            if probed is not None:
                row["self_probe"] = probed
        return row


@dataclass(frozen=True, slots=True)
class Orphan:
    """A door that an earlier laboratory of this folder left behind: it was killed, so it could not end it."""

    pid: int
    pidfile: Path
    port: int


def open_door(listener: Listener, folder: Path, *, allow_simulated: bool) -> Door:
    """Start one door of the laboratory in `folder` and wait until it says that it is open; raises `DoorRejected`."""
    return opened(begin_door(listener, folder, allow_simulated=allow_simulated))


def begin_door(
    listener: Listener, folder: Path, *, allow_simulated: bool, gate: Gate | None = None, before: Adopted | None = None
) -> Door:
    """Start one door of the laboratory in `folder`; `opened` waits for it. It waits at the `gate` before it does
    anything that others can see. `before`: the door whose sockets it is to take.
    """
    behind = {} if gate is None else gate.environment()
    if before is not None:
        behind |= {handover.TAKES: "1"}
    command = _command(listener, folder, allow_simulated=allow_simulated)
    process = subprocess.Popen(
        [sys.executable, *command, PARENT, str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=_environment() | behind,
        pass_fds=() if gate is None else (gate.entrance,),
    )
    door = _door(listener, folder, process)
    door.before = before
    return door


def _door(listener: Listener, folder: Path, process: "subprocess.Popen[str] | Adopted") -> Door:
    """Return a door over its process."""
    state = sock_door.state_path(listener, folder) if listener.protocol is Protocol.CHRONY_SOCK else None
    policy = _policy(listener, folder) if listener.protocol is Protocol.NTP else None
    return Door(listener, process, listener.port_number, _counters(listener, folder), state, policy)


def opened(door: Door, *, instead: Callable[[], Door | None] = lambda: None) -> Door:
    """Wait until a door that was begun says that it is open, and return it; raises `DoorRejected`. One that was taken
    over is open. `instead`: looks for one to be taken over, where the port was not to be had after all.
    """
    if isinstance(door.process, Adopted) or door.is_open:
        return door
    ready = _first_line(door.process)
    before, door.before = door.before, None
    if ready is None:
        end_door(door)
    if before is not None:
        if ready is not None or door.process.returncode == handover.NOT_GIVEN:
            _end(before)
        else:  # the new door failed by itself: the one before goes on from the last page
            before.let_go()
    if ready is None:
        found = instead()
        if found is not None:
            return found
        protocol = door.listener.protocol.value
        raise DoorRejected(f"the {protocol} door {door.where} did not open; what it said stands above")
    door.is_open = True
    door.port = int(ready.get("port", door.port))
    return door


def adopt(listener: Listener, folder: Path, *, allow_simulated: bool) -> Door | None:
    """Take over the door that an earlier laboratory of this folder left open for this very listener; None where there
    is none.

    Only for who holds the folder. "This very listener" is the whole command line: address, port, limit, files and
    version of the program. Its clients notice nothing.
    """
    if listener.port_number == 0 and listener.protocol is not Protocol.CHRONY_SOCK:
        return None  # its port was the kernel's choice, which no command line names
    wanted = [os.fsencode(word) for word in _command(listener, folder, allow_simulated=allow_simulated)]
    for orphan in orphans(folder):
        try:
            process = Adopted(orphan.pid)
        except OSError:
            continue
        # looked at again now that the descriptor holds this process and no later one of the same number
        if _words_of(orphan)[:-2] == wanted and process.poll() is None:
            return _door(listener, folder, process)
        process.let_go()
    return None


def begin_all(
    listeners: Iterable[Listener], folder: Path, *, allow_simulated: bool, early: Mapping[Listener, Door]
) -> list[Door]:
    """Return a door for each listener, open or begun (`opened` tells): one that was begun `early`, one that an earlier
    laboratory left and that fits, or a new one. Other doors of this folder are ended. Only for who holds the folder.
    """
    wanted = tuple(listeners)
    doors = dict(early)
    for listener in wanted:
        found = None if listener in doors else adopt(listener, folder, allow_simulated=allow_simulated)
        if found is not None:
            doors[listener] = found
    givers = {one: giver for one in wanted if one not in doors and (giver := _giver(one, folder)) is not None}
    kept = (*(door.process.pid for door in doors.values()), *(giver.pid for giver in givers.values()))
    end_orphans(folder, but=kept)
    return [
        doors.get(listener)
        or begin_door(listener, folder, allow_simulated=allow_simulated, before=givers.get(listener))
        for listener in wanted
    ]


def _giver(listener: Listener, folder: Path) -> Adopted | None:
    """Return the door that serves this listener's address and port by other rules, or is another version's, and gives
    its sockets away; None where there is none.
    """
    if listener.protocol is not Protocol.NTP:
        return None
    pidfile = folder / "run" / f"{_name(listener)}.pid"
    if not handover.path_of(pidfile).is_socket():
        return None  # a version that gives nothing
    for orphan in orphans(folder):
        if orphan.pidfile == pidfile:
            try:
                process = Adopted(orphan.pid)
            except OSError:
                return None
            if os.fsencode(pidfile) in _words_of(orphan) and process.poll() is None:
                return process
            process.let_go()
    return None


def all_opened(doors: Iterable[Door], folder: Path, *, allow_simulated: bool) -> list[Door]:
    """Wait until all are open; raises `DoorRejected`. A door of this folder that was still starting when the laboratory
    was killed may have had the port first: it is taken over in the place of the one that did not get it.
    """
    return [opened(door, instead=partial(_instead, door, folder, allow_simulated=allow_simulated)) for door in doors]


def _instead(door: Door, folder: Path, *, allow_simulated: bool) -> Door | None:
    """Return a door in the place of one that did not open: where another did not give its sockets and has been ended
    for that, a new one on the port that is free now; else the one that had the port first.
    """
    if door.process.returncode == handover.NOT_GIVEN:
        return open_door(door.listener, folder, allow_simulated=allow_simulated)
    return adopt(door.listener, folder, allow_simulated=allow_simulated)


PARENT = "--parent-pid"


def _command(listener: Listener, folder: Path, *, allow_simulated: bool) -> list[str]:
    """Return the words that start a door, but for the interpreter before and the parent after them."""
    if listener.protocol is Protocol.CHRONY_SOCK:
        command = sock_door.command(listener, folder, allow_simulated=allow_simulated)
        return [*command, "--version-of-laboratory", __version__, *_log()]
    run, port = folder / "run", listener.port_number
    common = ["--address", listener.address, "--port", str(port), "--version-of-laboratory", __version__]
    common += ["--pidfile", str(run / f"{_name(listener)}.pid")]
    if listener.protocol is not Protocol.NTP:
        metrics = [] if listener.metrics is None else ["--metrics", listener.metrics.value]
        alone = ["--orphan-exit-s", repr(CONSOLE_ALONE_S)]
        return ["-m", CONSOLE_MODULE, "--lab", str(folder), *common, *alone, *metrics, *_log()]
    command = ["-m", SERVE_MODULE, "--page", str(run / "clock.page"), "--counters", str(_counters(listener, folder))]
    command += ["--bound-limit-s", repr(listener.bound_limit_s), "--policy", str(_policy(listener, folder))]
    command += ["--rules", _rules(listener, folder).text()]
    command += ["--workers", str(listener.workers), "--stamps", listener.stamps.value]
    if listener.hardware is not None:
        command += ["--hardware", listener.hardware]
    if listener.accelerator:
        command += ["--accelerator", str(accelerator_state.path_of(folder, _name(listener)))]
    return [*command, *common, *(["--insecure-serve-simulated-time"] if allow_simulated else []), *_log()]


def _log() -> list[str]:
    """Return the option that lets a door speak in the form in which this process speaks."""
    form = notify.log_form()
    return [] if form is LogForm.AUTO else ["--log", form.value]


def _name(listener: Listener) -> str:
    """Return the name of a door's files."""
    return door_name(listener.protocol.value, listener.address, listener.port_number)


def _rules(listener: Listener, folder: Path) -> DoorRules:
    """Return the rules of an NTP door, with its file of keys where the door finds it."""
    rules = listener.rules
    return rules if rules.keys is None else replace(rules, keys=str(folder / rules.keys))


def _policy(listener: Listener, folder: Path) -> Path:
    """Return the file of a door's policy by order, which is there where an order has brought one."""
    return door_policy.path_of(folder, _name(listener))


def _counters(listener: Listener, folder: Path) -> Path | None:
    """Return the file of a door's counters, where it has one."""
    return folder / "run" / f"{_name(listener)}.counters" if listener.protocol is Protocol.NTP else None


def to_be_ended(doors: Iterable[Door], *, hands_over: bool) -> list[Door]:
    """Return the doors that end with their laboratory: all of them, but for NTP doors that are open where it hands
    over to the next.
    """
    return [door for door in doors if not (hands_over and door.is_left_open)]


def end_door(door: Door) -> None:
    """End one door, in order if it can; what it was to take the place of ends too."""
    if door.before is not None:
        _end(door.before)
    _end(door.process)
    if door.process.stdout is not None:
        door.process.stdout.close()


def _end(process: "subprocess.Popen[str] | Adopted") -> None:
    process.terminate()
    try:
        process.wait(timeout=ENDING_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def orphans(folder: Path) -> tuple[Orphan, ...]:
    """Return the doors of the laboratory in `folder` that still run. They are orphans where no laboratory holds the
    folder.
    """
    found = []
    for path in sorted((folder / "run").glob("*.pid")):
        try:
            orphan = Orphan(int(path.read_text(encoding="ascii")), path, 0)
            words = _words_of(orphan)
            port = int(words[words.index(b"--port") + 1]) if b"--port" in words else 0
        except (OSError, ValueError, IndexError):
            continue
        if not DOOR_MODULES.isdisjoint(words) and os.fsencode(path) in words:
            found.append(Orphan(orphan.pid, path, port))
    return tuple(found)


def end_orphans(folder: Path, *, but: tuple[int, ...] = ()) -> int:
    """End the doors that an earlier laboratory of this folder left behind, except those with the ids `but`; return how
    many. Only for who holds the folder.
    """
    found = [orphan for orphan in orphans(folder) if orphan.pid not in but]
    kept = {orphan.pidfile for orphan in orphans(folder) if orphan.pid in but}
    held = []
    for orphan in found:
        try:
            process = Adopted(orphan.pid)
        except OSError:
            continue
        if os.fsencode(orphan.pidfile) in _words_of(orphan):
            held.append(process)
        else:
            process.let_go()
    for process in held:
        process.terminate()
    end = time.monotonic() + ENDING_WITHIN_S
    for process in held:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for path in (folder / "run").glob("*.pid"):
        if path not in kept:
            path.unlink(missing_ok=True)
    return len(found)


def _words_of(orphan: Orphan) -> list[bytes]:
    """Return the command line of a process after its interpreter; empty where it ended, or is another user's."""
    folder = Path(f"/proc/{orphan.pid}")
    try:
        if folder.stat().st_uid != os.geteuid():
            return []
        return (folder / "cmdline").read_bytes().split(b"\0")[1:-1]
    except OSError:
        return []


def _environment() -> dict[str, str]:
    """Return the environment of a door: the package is found where this one was."""
    package = str(Path(__file__).parents[3])
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
