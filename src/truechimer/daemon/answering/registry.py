"""The registry of running laboratories: where `truechimer now` looks when nobody names a directory.

It finds nothing (`truechimer.client` reads it) and locks nothing. One file for each running `demo` or `up` of this
user, in `$XDG_RUNTIME_DIR/truechimer/`, else in a folder of the user's own under the temporary directory. Source:
`contract.md`, "Ports and names".

The law of the file: the folder is this user's, mode 0700, and no symbolic link, or nothing is written: in a shared
temporary directory anybody may have made that name first.
"""

import atexit
import json
import os
import stat
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from truechimer.client import ENTRY_SUFFIX, is_private, is_running, process_start, read_entry, registry_folder
from truechimer.errors import Rejected


class RegistryRejected(Rejected):
    """The registry's folder cannot be used, because of `because`."""

    def __init__(self, folder: Path, because: str) -> None:
        self.folder = folder
        self.because = because
        super().__init__(
            f"registry folder {folder}: {because}; remove it, or set XDG_RUNTIME_DIR to a folder of your own "
            "(without the registry, give --lab DIR to the verbs)"
        )


class Registration:
    """A laboratory's line in the registry, until `close` (or the end of the program)."""

    def __init__(self, path: Path, owner_pid: int) -> None:
        self.path = path
        self._owner_pid = owner_pid
        atexit.register(self.close)

    def close(self) -> None:
        """Take the line out; again is harmless. A forked child takes nothing out: the line is its parent's."""
        atexit.unregister(self.close)
        if os.getpid() == self._owner_pid:
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def register(lab: Path, pid: int, name: str) -> Registration:
    """Write that the laboratory `name` in the directory `lab` is run by process `pid`, and sweep out stale lines.

    Raises `RegistryRejected` where the folder is not this user's alone or cannot be written. The laboratory may go on
    without: `--lab` always works.
    """
    folder = registry_folder()
    _make_private(folder)
    _sweep(folder)
    entry = {
        "lab": str(lab.absolute()),
        "pid": pid,
        "process_start": process_start(pid),
        "name": name,
        "started_ns": time.monotonic_ns(),
    }
    path = folder / f"{pid}{ENTRY_SUFFIX}"
    unfinished = folder / f"{pid}.new"
    try:
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(entry, file)
        unfinished.replace(path)
    except OSError as error:
        raise RegistryRejected(folder, f"cannot write {path.name}: {error.strerror}") from error
    return Registration(path, os.getpid())


def _make_private(folder: Path) -> None:
    """Make the folder, or check the one that is there."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise RegistryRejected(folder, str(error.strerror)) from error
    if is_private(folder):
        return
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise RegistryRejected(folder, "it is not a directory (a symbolic link is not followed here)")
    if found.st_uid != os.geteuid():
        raise RegistryRejected(folder, f"it belongs to user {found.st_uid}")
    raise RegistryRejected(folder, f"others may enter it (mode {stat.S_IMODE(found.st_mode):04o}, must be 0700)")


def _sweep(folder: Path) -> None:
    """Remove lines whose process is gone."""
    for path in folder.glob(f"*{ENTRY_SUFFIX}"):
        entry = read_entry(path)
        if entry is None or not is_running(entry):
            path.unlink(missing_ok=True)
