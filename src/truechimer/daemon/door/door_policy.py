"""The policy of a door as a signed order brought it: the file that the laboratory lays before the door, which the door
reads and the laboratory watches.

It judges no order (the fold does, from the records): the file is a copy. Who edits it changes a door for a second or
two: the laboratory writes it again, and says so. A door without the file is as LAB.toml has it.

It must stay small: doors import it.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from truechimer.quorum.listener_policy import LARGEST, ListenerPolicy, ListenerPolicyRejected, listener_policy_from

SUFFIX = ".policy"


class DoorPolicy:
    """The door's side: the policy in its file, looked at again and again; what cannot be read changes nothing."""

    def __init__(self, path: Path | None, listener: str) -> None:
        self._path, self._listener = path, listener
        self._stamp: tuple[int, int] | None = None
        self.policy: ListenerPolicy | None = None

    def look(self) -> bool:
        """Read the file where it is another than it was; return True where the policy has changed."""
        if self._path is None:
            return False
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_ino)
            if stamp == self._stamp:
                return False
            data = self._path.read_bytes()[: LARGEST + 1]
        except FileNotFoundError:
            changed = self.policy is not None
            self._stamp = self.policy = None
            return changed
        except OSError:
            return False
        self._stamp = stamp
        try:
            policy = listener_policy_from(data)
        except ListenerPolicyRejected:
            return False
        if policy.listener != self._listener or policy == self.policy:
            return False
        self.policy = policy
        return True


def path_of(folder: Path, door: str) -> Path:
    """Return where the policy of a door lies, in the laboratory's folder."""
    return folder / "run" / f"{door}{SUFFIX}"


def lay(folder: Path, doors: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Let the files of all doors say what orders say (`doors`: name and policy), and nothing else; return the doors
    whose file said something else. Raises `OSError`.
    """
    wanted, differing = dict(doors), []
    run = folder / "run"
    for path in sorted(run.glob(f"*{SUFFIX}")):
        name = path.name.removesuffix(SUFFIX)
        if name not in wanted:
            differing.append(name)
            path.unlink(missing_ok=True)
    for name, text in sorted(wanted.items()):
        path, data = path_of(folder, name), text.encode()
        before = None
        with suppress(OSError):
            before = path.read_bytes()
        if before != data:
            differing.append(name)
            beside = path.with_name(f"{path.name}.new")
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            beside.replace(path)
    return tuple(differing)
