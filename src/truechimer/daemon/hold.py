"""Hold: whose a laboratory's folder is, and what a killed laboratory left in it.

It starts nothing and reads no records. It must stay light: the folder is taken before the laboratory itself has been
read into memory (`early`).
"""

import fcntl
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from truechimer.client import LOCK_NAME, RUN_FOLDER
from truechimer.daemon.door.doors import orphans
from truechimer.daemon.lab.lab_file import LabFile
from truechimer.errors import Rejected
from truechimer.formats.finding import has_errors
from truechimer.formats.toml_tree import read_with_lines

if TYPE_CHECKING:
    from truechimer.daemon.lab.lab_check import CheckedLab

_NOBODY = b" " * 31 + b"\n"


class LabHeldRejected(Rejected):
    """Another laboratory process runs in this folder, or the folder cannot be taken."""


class Hold:
    """The folder of a laboratory belongs to one process at a time: a lock on `run/laboratory.lock`, which holds that
    process's id.

    The lock ends with the process, however it ends; an id that stays behind says that it did not end in order.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder; raises `LabHeldRejected` where a live process has it, or where it takes no file."""
        path = folder / RUN_FOLDER / LOCK_NAME
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise LabHeldRejected(
                f"{path}: cannot be made ({error.strerror}); check the volume and its rights"
            ) from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.pread(self._descriptor, 32, 0).strip().decode("ascii", "replace")
            os.close(self._descriptor)
            raise LabHeldRejected(
                f"{folder}: another laboratory runs in this folder (process {pid}); stop it, or use another folder"
            ) from None
        self._found = os.pread(self._descriptor, 32, 0)
        self.was_killed = bool(self._found.strip())
        try:
            os.pwrite(self._descriptor, f"{os.getpid():<31}\n".encode(), 0)
        except OSError as error:
            os.close(self._descriptor)
            raise LabHeldRejected(
                f"{path}: cannot be written ({error.strerror}); free space or repair the volume"
            ) from None

    def release(self, *, as_found: bool = False) -> None:
        """Give the folder back, in order; again is harmless. `as_found`: nothing was started, so that what was found of
        the laboratory before stands as it did.
        """
        if self._descriptor >= 0:
            with suppress(OSError):
                # its room stays taken: a full disk shall not refuse the next
                os.pwrite(self._descriptor, self._found.ljust(32) if as_found else _NOBODY, 0)
            os.close(self._descriptor)
            self._descriptor = -1


def is_held(folder: Path) -> bool:
    """Return True where a laboratory process has this folder."""
    try:
        descriptor = os.open(folder / RUN_FOLDER / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def without_own_doors(checked: "CheckedLab", *, ours: bool) -> "CheckedLab":
    """Take back the faults of ports that doors of this very laboratory have, because they were opened early, or because
    it was killed: they are taken over, or ended when the new ones open. `ours`: the caller has the folder.
    """
    if not ours and is_held(checked.folder):
        return checked
    held = {f" port {orphan.port}/" for orphan in orphans(checked.folder)}
    findings = tuple(
        finding
        for finding in checked.findings
        if finding.rule != "port-in-use" or not any(port in finding.says for port in held)
    )
    lab = None if has_errors(findings) else read_with_lines(checked.data, LabFile).value
    return replace(checked, lab=lab, findings=findings)
