"""The client of a running laboratory: find its control socket, ask one question, take one answer.

It judges no time and reads no clock but for its own patience: what it returns is what the laboratory said. Standard
library and `instants` only, so that `truechimer.now()` costs a program nothing else. Source: `contract.md`, "Ports and
names" (where a service is found) and the verb `now` (the keys of the answer).

The law of the file: nothing that the other side sends is believed to be well formed, short, or quick.
"""

import json
import os
import socket
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from truechimer.errors import Rejected
from truechimer.instants import Instant, TimeBound

SOCKET_NAME = "control.sock"
RUN_FOLDER = "run"
LOCK_NAME = "laboratory.lock"
"""Below RUN_FOLDER: locked by the process whose folder it is, whose id it holds."""

MAX_SOCKET_PATH = 107
"""Octets in `sun_path` of Linux's sockaddr_un, less its closing zero (unix(7)); a longer path goes through the
directory's descriptor.
"""

MAX_REPLY_BYTES = 8 << 20
"""A status of thousands of clocks and sources stays far below this; more is not a reply of ours."""

DEFAULT_TIMEOUT_S = 2.0

ENTRY_SUFFIX = ".json"
MAX_ENTRY_BYTES = 16_384
MAX_FS_DIGITS = 30

_PEER = struct.Struct("=iII")  # struct ucred of socket(7): pid, uid, gid


class ServiceNotFoundRejected(Rejected):
    """No laboratory was found in any of the four places; `tried` says what each of them held."""

    def __init__(self, tried: tuple[str, ...]) -> None:
        self.tried = tried
        super().__init__(
            f"no running laboratory found: {'; '.join(tried)}; start one with `truechimer demo` or `truechimer up "
            "LAB.toml`, or name its directory with --lab DIR"
        )


class ServiceSilentRejected(Rejected):
    """The laboratory at `lab` did not answer, because of `because`. It may be stopped, starting, or stuck."""

    def __init__(self, lab: Path, because: str, *, found_by: str, starting: bool = False) -> None:
        self.lab = lab
        self.because = because
        self.found_by = found_by
        self.starting = starting
        do_next = "see whether it still runs, start it again with `truechimer up`"
        if starting:
            do_next = "wait for it with `truechimer wait --within S`"
        super().__init__(
            f"the laboratory in {lab} (found by {found_by}) does not answer{' yet' if starting else ''}: {because}; "
            f"{do_next}, or name another with --lab DIR"
        )


class ServiceReplyRejected(Rejected):
    """What came from the socket of `lab` is not a reply of a laboratory, because of `because`."""

    def __init__(self, lab: Path, because: str) -> None:
        self.lab = lab
        self.because = because
        super().__init__(
            f"the laboratory in {lab} answered with something else than a reply: {because}; are both programs of one "
            "version? (`truechimer --version`)"
        )


class UnsynchronisedRejected(Rejected):
    """The laboratory runs, but cannot bound the time. Fields: `state`, `missing`, `why`."""

    def __init__(self, *, state: str, missing: tuple[str, ...], why: str) -> None:
        self.state = state
        self.missing = missing
        self.why = why
        lacks = f"; missing: {', '.join(missing)}" if missing else ""
        because = f": {why}" if why else ""
        super().__init__(f"unsynchronised, state {state}{because}{lacks}; `truechimer status` says more")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a laboratory was found: its directory, and by which of the four ways. `chosen` is False where nobody named
    it (the working directory, the registry): then only a process of this user or of root is believed.
    """

    lab: Path
    found_by: str
    chosen: bool

    @property
    def socket_path(self) -> Path:
        """The control socket of the laboratory."""
        return self.lab / RUN_FOLDER / SOCKET_NAME


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """One running laboratory of this user. `process_start` is field 22 of /proc/PID/stat (clock ticks since boot), so
    that a process id given out again is not taken for the laboratory; `started_ns` is CLOCK_MONOTONIC at start.
    """

    lab: Path
    pid: int
    process_start: int | None
    name: str
    started_ns: int


def now(*, lab: str | Path | None = None) -> TimeBound:
    """Return the interval that holds the time at some moment between call and return, from the running service.

    Raises `UnsynchronisedRejected` where the laboratory cannot bound the time, and the other `Rejected` of this module
    where there is none, it is silent, or it is no laboratory. A simulated laboratory states simulated UTC:
    `ask("now")["against"]` says which.
    """
    place = find_service(lab)
    document = _ask("now", place, timeout_s=DEFAULT_TIMEOUT_S)
    if document.get("synchronised") is not True:
        raise UnsynchronisedRejected(
            state=str(document.get("state", "unknown")),
            missing=tuple(str(item) for item in document.get("missing") or ()),
            why=str(document.get("why", "")),
        )
    earliest, latest = (_instant(document, key, place) for key in ("earliest_tai_fs", "latest_tai_fs"))
    if earliest > latest:
        raise ServiceReplyRejected(place.lab, "the interval ends before it begins")
    return TimeBound(earliest, latest)


def ask(what: str, *, lab: str | Path | Place | None = None, timeout_s: float = DEFAULT_TIMEOUT_S) -> dict[str, Any]:
    """Ask the running laboratory for a document: `now`, `status` or `sources`; wait at most `timeout_s` in all.

    An answer `{"error": ..}` is raised as `ServiceReplyRejected`.
    """
    return _ask(what, find_service(lab), timeout_s=timeout_s)


def send(
    request: dict[str, Any], *, lab: str | Path | Place | None = None, timeout_s: float = DEFAULT_TIMEOUT_S
) -> dict[str, Any]:
    """Send the running laboratory a whole request (`ask`, and what belongs to it), as `ask` does."""
    return _ask("", find_service(lab), timeout_s=timeout_s, request=request)


def _ask(what: str, place: Place, *, timeout_s: float, request: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask the laboratory at `place`; `request`: in place of the mere question."""
    deadline = time.monotonic() + timeout_s
    try:
        octets = _converse(place, json.dumps(request or {"ask": what}).encode() + b"\n", deadline=deadline)
    except TimeoutError:
        raise ServiceSilentRejected(
            place.lab, f"nothing came within {timeout_s:g} s", found_by=place.found_by
        ) from None
    except OSError as error:
        starter = _starter(place.lab) if isinstance(error, FileNotFoundError) else None
        because = f"it is starting (process {starter})" if starter else _words(error)
        raise ServiceSilentRejected(place.lab, because, found_by=place.found_by, starting=bool(starter)) from None
    try:
        document = json.loads(octets, parse_constant=_no_such_number)
    except (ValueError, RecursionError):
        raise ServiceReplyRejected(place.lab, f"not JSON ({len(octets)} bytes)") from None
    if not isinstance(document, dict):
        raise ServiceReplyRejected(place.lab, "not a JSON object")
    if document.get("starting") is True:
        because = str(document.get("error"))[:500]
        raise ServiceSilentRejected(place.lab, because, found_by=place.found_by, starting=True)
    if "error" in document:
        raise ServiceReplyRejected(place.lab, str(document["error"])[:500])
    return document


def find_service(lab: str | Path | Place | None = None) -> Place:
    """Return the first of: `lab` (--lab DIR), `$TRUECHIMER_LAB`, ./run/control.sock, the registry's most recently
    started. None: `ServiceNotFoundRejected`. A place that was found before is that place.

    A file is taken for its directory: `--lab LAB.toml` works too. A named laboratory is never passed over for another.
    """
    if isinstance(lab, Place):
        return lab
    if lab is not None:
        return Place(_directory(Path(lab)), "--lab", chosen=True)
    named = os.environ.get("TRUECHIMER_LAB")
    if named:
        return Place(_directory(Path(named)), "$TRUECHIMER_LAB", chosen=True)
    here = Path.cwd()
    with suppress(OSError):
        if stat.S_ISSOCK((here / RUN_FOLDER / SOCKET_NAME).lstat().st_mode):
            return Place(here, f"./{RUN_FOLDER}/{SOCKET_NAME}", chosen=False)
    running = running_laboratories()
    if running:
        return Place(running[-1].lab, "the registry of running laboratories", chosen=False)
    raise ServiceNotFoundRejected(
        (
            "no --lab DIR given",
            "$TRUECHIMER_LAB is not set",
            f"no ./{RUN_FOLDER}/{SOCKET_NAME} here",
            f"no running demo or up in the registry {registry_folder()}",
        )
    )


def registry_folder() -> Path:
    """Return the folder of this user's registry; it need not exist."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_absolute() and Path(runtime).is_dir():
        return Path(runtime) / "truechimer"
    import tempfile  # late: it costs as much as all else here, and few need it

    return Path(tempfile.gettempdir()) / f"truechimer-{os.geteuid()}"


def running_laboratories() -> list[RegistryEntry]:
    """Return this user's running laboratories, the most recently started last; stale and odd entries are left out."""
    folder = registry_folder()
    if not is_private(folder):
        return []
    found = []
    with suppress(OSError):
        for path in folder.glob(f"*{ENTRY_SUFFIX}"):
            entry = read_entry(path)
            if entry is not None and is_running(entry):
                found.append(entry)
    return sorted(found, key=lambda entry: (entry.started_ns, entry.pid))


def is_private(folder: Path) -> bool:
    """Return True where `folder` is a directory (no symbolic link) of this user that nobody else may enter."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def read_entry(path: Path) -> RegistryEntry | None:
    """Return an entry of the registry, or None where the file is no entry of ours."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return None
        document = json.loads(os.read(descriptor, MAX_ENTRY_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    finally:
        os.close(descriptor)
    if not isinstance(document, dict):
        return None
    lab, pid, name = document.get("lab"), document.get("pid"), document.get("name")
    process_start, started_ns = document.get("process_start"), document.get("started_ns")
    if not (isinstance(lab, str) and isinstance(name, str) and type(pid) is int and type(started_ns) is int):
        return None
    if not (Path(lab).is_absolute() and "\0" not in lab and 0 < pid < 1 << 31):
        return None
    if process_start is not None and type(process_start) is not int:
        return None
    return RegistryEntry(Path(lab), pid, process_start, name, started_ns)


def is_running(entry: RegistryEntry) -> bool:
    """Return True while the very process of the entry lives; one that was given the same id later is another."""
    try:
        os.kill(entry.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, as another user (a laboratory that gave up root)
    return entry.process_start is None or process_start(entry.pid) == entry.process_start


def process_start(pid: int) -> int | None:
    """Return when a process started (clock ticks since boot, proc_pid_stat(5) field 22), or None where that is not to
    be had. A dead process whose parent has not looked (state Z) has none.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = text[text.rfind(")") + 1 :].split()  # the name may hold blanks and brackets: count from its end
    if len(fields) < 20 or fields[0] in {"Z", "X"} or not fields[19].isdecimal():
        return None
    return int(fields[19])


@contextmanager
def socket_address(folder: int, path: Path) -> Iterator[str]:
    """Give the address of the socket `path` whose directory is open as descriptor `folder`, however long the path is.

    Above `MAX_SOCKET_PATH` octets it goes through /proc/self/fd, for as long as `folder` stays open.
    """
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        yield str(path)
    else:
        yield f"/proc/self/fd/{folder}/{path.name}"


def _converse(place: Place, request: bytes, *, deadline: float) -> bytes:
    """Send one line, return the line that came back. Raises OSError and its kind."""
    path = place.socket_path
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, socket_address(folder, path) as address:
            connection.settimeout(_left(deadline))
            connection.connect(address)
            if not place.chosen:
                _check_peer(connection, place)
            connection.sendall(request)
            heard = bytearray()
            while b"\n" not in heard[-65_536:]:
                connection.settimeout(_left(deadline))
                part = connection.recv(65_536)
                if not part:
                    raise ConnectionAbortedError(0, "it hung up in the middle of its answer")
                heard += part
                if len(heard) > MAX_REPLY_BYTES:
                    raise ServiceReplyRejected(place.lab, f"more than {MAX_REPLY_BYTES} bytes")
    finally:
        os.close(folder)
    return bytes(heard[: heard.index(b"\n")])


def _check_peer(connection: socket.socket, place: Place) -> None:
    """Refuse a stranger's laboratory that nobody named: a directory of another user may hold a socket that lies."""
    if not hasattr(socket, "SO_PEERCRED"):
        return
    _, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    if uid not in {0, os.geteuid()}:
        because = f"it belongs to user {uid}, and nobody named it"
        raise ServiceSilentRejected(place.lab, because, found_by=place.found_by)


def _left(deadline: float) -> float:
    """Return the seconds left until `deadline`; none left is a TimeoutError."""
    left_s = deadline - time.monotonic()
    if left_s <= 0.0:
        raise TimeoutError
    return left_s


def _directory(path: Path) -> Path:
    """Return a laboratory's directory, absolute; a file stands for the directory it is in."""
    absolute = path.expanduser().absolute()
    return absolute.parent if absolute.is_file() else absolute


def _instant(document: dict[str, Any], key: str, place: Place) -> Instant:
    """Return one end of the interval: femtoseconds since 1970 TAI as decimal text."""
    text = document.get(key)
    digits = text.removeprefix("-") if isinstance(text, str) else ""
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= MAX_FS_DIGITS):
        raise ServiceReplyRejected(place.lab, f"{key} is not a whole number of femtoseconds")
    return Instant(int(str(text)))


def _no_such_number(word: str) -> None:
    """Refuse NaN and Infinity, which Python's reader takes and JSON does not know."""
    raise ValueError(word)


def _starter(lab: Path) -> int | None:
    """Return the process that has taken a laboratory's folder, where it lives; a first start takes up to a minute or
    two, until machine code is made, and has no control socket before that.
    """
    try:
        pid = int((lab / RUN_FOLDER / LOCK_NAME).read_bytes()[:32])
        is_ours = b"truechimer" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if is_ours else None


def _words(error: OSError) -> str:
    """Return what an OSError means here."""
    if isinstance(error, FileNotFoundError):
        return f"there is no {RUN_FOLDER}/{SOCKET_NAME}"
    if isinstance(error, ConnectionRefusedError):
        return "its socket is there, but nobody listens (it was killed)"
    return str(error.strerror or error)
