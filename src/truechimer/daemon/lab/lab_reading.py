"""LAB.toml as text: its keys and the rules between them. It is light: doors may open on it alone (`early`).

It looks at nothing else of this machine: that is `lab_check`, which begins with this.
"""

from dataclasses import dataclass
from pathlib import Path

from truechimer.daemon.lab.lab_file import LabFile
from truechimer.daemon.lab.lab_rules import InsecureFlags, faults_between_keys
from truechimer.errors import Rejected
from truechimer.formats.finding import Finding, has_errors
from truechimer.formats.toml_tree import MAX_BYTES, TreeRead, read_with_lines


class LabFileUnreadableRejected(Rejected):
    """The configuration itself cannot be opened."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} cannot be read: {reason}; `truechimer init DIR` writes a laboratory file to start from"
        )
        self.path = path
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LabRead:
    """A laboratory's file as it was read, with the faults that stand in its text alone."""

    path: Path
    folder: Path
    data: bytes
    read: TreeRead[LabFile]
    findings: tuple[Finding, ...]

    @property
    def lab(self) -> LabFile | None:
        """The laboratory, or None where its text has faults."""
        return None if has_errors(self.findings) else self.read.value


def read_lab(path: Path, flags: InsecureFlags) -> LabRead:
    """Read a laboratory's file; raises `LabFileUnreadableRejected` where it cannot be opened."""
    data = read_at_most(path, MAX_BYTES + 1)
    read = read_with_lines(data, LabFile)
    findings = (*read.findings, *faults_between_keys(read, flags))
    return LabRead(path, path.absolute().parent, data, read, findings)


def read_at_most(path: Path, size: int) -> bytes:
    """Return the first `size` bytes of a file; raises `LabFileUnreadableRejected`."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise LabFileUnreadableRejected(path, reason_of(error)) from None


def reason_of(error: OSError) -> str:
    """Return why the system refused, in words for the middle of a sentence."""
    return (error.strerror or str(error)).lower()
