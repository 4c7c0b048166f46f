"""Where a verb finds records to judge: a laboratory's journal, its signed log, a bundle, or a log behind an address.

A signed log is judged by the policy first; entries after the first bad one are not read. It judges no record.
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from truechimer.cli.progress import Progress
from truechimer.errors import Rejected

if TYPE_CHECKING:
    from truechimer.evidence.audit import Read
    from truechimer.evidence.bundle import Judged
    from truechimer.evidence.log_policy import CheckpointDistrusted, LogPolicy

PLACES = ("records.sqlite3", "evidence/records.sqlite3", "state/records.sqlite3", "run/records.sqlite3")
"""Where a laboratory's directory holds its records."""


class EvidenceInputRejected(Rejected):
    """There is no record where one was named."""


class Records(Protocol):
    """Records in their order."""

    def read(self, *, first: int = 0) -> Iterator[bytes]:
        """Yield the records from number `first` on."""

    def count(self) -> int:
        """Return how many there are."""


@dataclass(frozen=True, slots=True)
class Source:
    """Records, and what their signature is worth: None where they are a journal, which nobody signed.

    `folder`: a laboratory's own, where the records are its journal. `root_at`: the root of the first so many entries.
    """

    name: str
    records: Records
    judged: "Judged | None" = None
    folder: Path | None = None
    root_at: Callable[[int], bytes | None] = lambda _size: None


def records_file(path: Path) -> Path:
    """Return the record file that a path means: itself, or the one in that directory; raises
    `EvidenceInputRejected`.
    """
    if path.is_file():
        return path
    for place in PLACES:
        if (path / place).is_file():
            return path / place
    if not path.exists():
        raise EvidenceInputRejected(f"{path}: no such file or directory; name a laboratory's directory")
    raise EvidenceInputRejected(
        f"{path}: no records here (looked for {', '.join(PLACES)}); name a laboratory's directory"
    )


def read_policy(path: Path) -> "LogPolicy":
    """Read whose logs and witnesses are believed; raises `EvidenceInputRejected`, `LogPolicyRejected`."""
    from truechimer.evidence.log_policy import LARGEST_POLICY, log_policy

    try:
        with path.open("rb") as file:
            return log_policy(file.read(LARGEST_POLICY + 1))
    except OSError as error:
        raise EvidenceInputRejected(f"{path}: cannot be read ({error.strerror})") from None


@contextmanager
def records_of(named: str, policy: "LogPolicy | None", *, keep: Path | None = None) -> Iterator[Source]:
    """Open what somebody named: a record file, a laboratory, a folder of tiles, a bundle, an address.

    With a policy the signed log is meant, wherever there is one; without, the journal, and where there is none the log
    as it stands, its signature unjudged. `keep`: where the copy of a log behind an address stays.
    Raises `EvidenceInputRejected`, `CheckpointDistrusted`, `LogUrlRejected`, `StoreRejected`.
    """
    from truechimer.daemon.log.log_mirror import is_url
    from truechimer.store.sqlite_records import SqliteRecords

    if is_url(named):
        if policy is None:
            raise EvidenceInputRejected(f"{named}: whom to believe? name your policy with --policy")
        with copied(named, policy, keep) as folder, _signed(named, folder, policy) as found:
            yield found
        return
    path = Path(named)
    if policy is None and not _is_log_alone(path):
        file = records_file(path)
        store = SqliteRecords(file, read_only=True)
        try:
            yield Source(str(file), store, None, file.parent)
        finally:
            store.close()
        return
    with _signed(named, path, policy) as found:
        yield found


@contextmanager
def copied(url: str, policy: "LogPolicy", keep: Path | None) -> Iterator[Path]:
    """Copy the log behind an address into `keep`, or into a folder that goes away; raises as `mirror`."""
    from truechimer.daemon.log.log_mirror import mirror
    from truechimer.store.log_files import LogFiles

    with tempfile.TemporaryDirectory() if keep is None else nullcontext(str(keep)) as folder:
        with Progress("copying") as progress:
            mirror(url, LogFiles(Path(folder)), policy, told=progress.show)
        yield Path(folder)


def _is_log_alone(path: Path) -> bool:
    """Return whether a path holds a log and no journal."""
    if path.is_file():
        with path.open("rb") as file:
            return file.read(2) == b"PK"
    if not path.is_dir() or any((path / place).is_file() for place in PLACES):
        return False
    from truechimer.store.evidence_files import EvidenceFilesRejected, log_folder

    try:
        log_folder(path)
    except EvidenceFilesRejected:
        return False
    return True


@contextmanager
def _signed(named: str, path: Path, policy: "LogPolicy | None") -> Iterator[Source]:
    from truechimer.evidence.audit import CHECKPOINT
    from truechimer.evidence.bundle import judged_bundle
    from truechimer.evidence.checkpoint import CheckpointRejected, checkpoint
    from truechimer.evidence.log_records import LogRecords
    from truechimer.quorum.note import NoteRejected, parsed
    from truechimer.store.evidence_files import EvidenceFilesRejected, reading

    try:
        with reading(path) as (names, read):
            note = read(CHECKPOINT)
            if note is None:
                raise EvidenceInputRejected(
                    f"{named}: holds single entries and no whole log; ask for a bundle of the whole log (no --entries)"
                )
            try:
                size = checkpoint(parsed(note).text).size
            except (NoteRejected, CheckpointRejected) as error:
                raise EvidenceInputRejected(f"{named}: {error}") from None
            found = None if policy is None else judged_bundle(names, read, policy)
            bad = None
            if found is not None:
                size = found.trusted.checkpoint.size
                if found.first_bad is not None:
                    bad = (found.first_bad, "from here on the log is not the one that was signed")
            yield Source(named, LogRecords(read, size, bad=bad), found, root_at=_roots(read, size))
    except EvidenceFilesRejected as error:
        raise EvidenceInputRejected(f"{error}") from None


def _roots(read: "Read", size: int) -> Callable[[int], bytes | None]:
    """Return what tells the root of the first so many entries of a log; None where tiles lack."""
    from truechimer.evidence.bundle import fetching
    from truechimer.evidence.merkle import folded, parts
    from truechimer.evidence.tiles import TileMisuse, TileRejected, TreeReader

    tree = TreeReader(size, fetching(read))

    def root_at(first: int) -> bytes | None:
        try:
            return folded(tree.nodes(parts(0, first)))
        except (TileRejected, TileMisuse):
            return None

    return root_at


def signature_of(found: "Judged | None") -> dict[str, Any]:
    """Return what a signature is worth, as a document."""
    if found is None:
        return {"judged": False}
    head = found.trusted.checkpoint
    told: dict[str, Any] = {
        "judged": True,
        "holds": found.holds,
        "origin": head.origin,
        "size": head.size,
        "root": head.root.hex(),
        "witnessed": dict(found.trusted.witnessed),
    }
    if found.first_bad is not None:
        told["first_bad"] = found.first_bad
    if found.faults:
        told["faults"] = list(found.faults[:1000])
    return told


def as_distrusted(named: str, error: "CheckpointDistrusted", *, as_json: bool) -> int:
    """Say that a log is not believed; return the exit status."""
    told = {"path": named, "holds": False, "distrusted": error.reason, "says": str(error)}
    print(json.dumps(told) if as_json else f"not believed: {printable(str(error))}")
    return 1


def printable(text: str) -> str:
    """Return text from outside without anything a terminal obeys."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
