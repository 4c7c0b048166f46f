"""The manifest of a history: its segments, what they hold, and up to which record of which journal they reach.

It reads no Parquet. What the manifest does not name is not part of the history: segments are written first, the
manifest is replaced at once, and only then the segments that it no longer names are removed. So a history that was
interrupted anywhere is a whole history that reaches less far.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from truechimer.errors import Rejected
from truechimer.store.history_tables import TABLES

FORM = 1
NAME = "history.json"
_LOCK = ".lock"
NOTHING = ""
"""The digest over no records."""
_FILE = re.compile(r"([a-z_]+)/day=(\d{4}-\d{2}-\d{2})/(\d+)-(\d+)\.parquet(\.part)?")


class HistoryRejected(Rejected):
    """A folder holds no history, one of another journal, or one that was damaged."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One Parquet file: a table's rows of one day of TAI, from records `first_seq` to `last_seq`.

    `records`: how many records gave them; `records_sha256`: SHA-256 over their bytes, one after the other folded in
    (`folded`); `sha256`: of the file.
    """

    table: str
    day: str
    first_seq: int
    last_seq: int
    rows: int
    records: int
    records_sha256: str
    stored_bytes: int
    sha256: str

    @property
    def file(self) -> str:
        """Its path below the history's folder."""
        return f"{self.table}/day={self.day}/{self.first_seq}-{self.last_seq}.parquet"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a history holds. `through_seq`: the last record in it (-1: none). `head_sha256`: of that record's bytes;
    `journal_sha256`: of record 0, which names the journal. `register_seqs`: the records that say which clocks and links
    indices mean. `without_table`: kinds of records that have no table, and how many.
    """

    through_seq: int = -1
    head_sha256: str = NOTHING
    journal_sha256: str = NOTHING
    last_epoch_tai_ns: int | None = None
    simulated: bool = False
    register_seqs: tuple[int, ...] = ()
    without_table: tuple[tuple[str, int], ...] = ()
    segments: tuple[Segment, ...] = ()

    def with_segment(self, new: Segment, *, instead_of: Segment | None) -> "Manifest":
        """Return it with a segment more, or in the place of another."""
        kept = [segment for segment in self.segments if segment != instead_of]
        return replace(self, segments=tuple(sorted([*kept, new], key=lambda one: (one.table, one.day, one.first_seq))))

    def last_of(self, table: str, day: str) -> Segment | None:
        """Return the last segment of a table's day."""
        found = [segment for segment in self.segments if (segment.table, segment.day) == (table, day)]
        return found[-1] if found else None

    @property
    def rows(self) -> dict[str, int]:
        """Rows of each table."""
        return {table: sum(one.rows for one in self.segments if one.table == table) for table in TABLES}


def folded(before: str, data: bytes) -> str:
    """Return the digest over some records and one more."""
    return sha256(before.encode() + sha256(data).digest()).hexdigest()


def read(folder: Path) -> Manifest | None:
    """Return the manifest of a folder, None where there is none; raises `HistoryRejected`."""
    try:
        body = json.loads((folder / NAME).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise HistoryRejected(f"{folder / NAME}: cannot be read ({error}): export into a new folder") from None
    try:
        if body["form"] != FORM:
            raise HistoryRejected(f"{folder / NAME}: has form {body['form']!r}, this version writes {FORM}")
        body = {key: value for key, value in body.items() if key != "form"}
        segments = tuple(Segment(**one) for one in body.pop("segments"))
        lists = {key: body.pop(key) for key in ("register_seqs", "without_table")}
        manifest = Manifest(
            **body,
            segments=segments,
            register_seqs=tuple(int(seq) for seq in lists["register_seqs"]),
            without_table=tuple((str(kind), int(number)) for kind, number in lists["without_table"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HistoryRejected(f"{folder / NAME}: is damaged ({error!r}): export into a new folder") from None
    for segment in manifest.segments:
        if segment.table not in TABLES or not _FILE.fullmatch(segment.file):
            raise HistoryRejected(f"{folder / NAME}: names {segment.file!r}, which no history has")
    return manifest


def write(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest at once; it is on the disk when this returns."""
    body: dict[str, Any] = {"form": FORM} | asdict(manifest)
    part = folder / f"{NAME}.part"
    with part.open("w", encoding="utf-8") as file:
        json.dump(body, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / NAME)
    sync(folder)


def sync(path: Path) -> None:
    """Bring a file or the names in a folder to the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def strays(folder: Path, manifest: Manifest) -> Iterator[Path]:
    """Yield files of an interrupted export, which the manifest does not name; never a file that is not a history's."""
    named = {segment.file for segment in manifest.segments}
    for table in TABLES:
        for path in folder.glob(f"{table}/day=*/*"):
            name = path.relative_to(folder).as_posix()
            if _FILE.fullmatch(name) and name not in named:
                yield path


def remove(path: Path) -> None:
    """Remove a file, and the folder of its day where it was the last."""
    path.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()


def fault_of(folder: Path, segment: Segment) -> str | None:
    """Return what is wrong with a segment's file, None where nothing is."""
    path = folder / segment.file
    if not path.is_file():
        return "is missing"
    if path.stat().st_size != segment.stored_bytes or digest_of(path) != segment.sha256:
        return "is damaged (its digest differs)"
    return None


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Have a history's folder, made where it is missing, for oneself; raises `HistoryRejected` where another process
    has it, where it is somebody else's, or where it cannot be written.
    """
    lock = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strange = {path.name for path in folder.iterdir()} - {NAME, f"{NAME}.part", _LOCK, *TABLES}
        if strange and not (folder / NAME).exists():
            raise HistoryRejected(f"{folder}: holds other files ({min(strange)}): name a new folder")
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise HistoryRejected(f"{folder}: another export is at work here: wait for its end") from None
    except OSError as error:
        raise HistoryRejected(
            f"{folder}: cannot be written ({error.strerror or error}): mend that, or name another folder"
        ) from None
    finally:
        if lock is not None:
            os.close(lock)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    whole = sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            whole.update(chunk)
    return whole.hexdigest()
