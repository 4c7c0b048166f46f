"""Evidence as it lies on a disk: a folder or a zip file, read by name; and the one call that judges it.

It believes nothing that it reads (`evidence.bundle`). No name leads out of the folder, and no file is read beyond what
a bundle can hold.
"""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from truechimer.errors import Rejected
from truechimer.evidence.audit import CHECKPOINT, Read
from truechimer.evidence.bundle import Judged, fetching, judged_bundle
from truechimer.evidence.dating import Dated, misdated
from truechimer.evidence.log_policy import LARGEST_POLICY, log_policy
from truechimer.evidence.tiles import ENTRIES, WIDTH, Tile, TileRejected, entries_of, tiles_of_level
from truechimer.evidence.tiles import bundled as bundled_entries

LARGEST_FILE = 1 << 28
MOST_FILES = 5_000_000
LOG_PLACES = (".", "evidence/log", "log")
"""Where the log's files are in a laboratory's folder."""


class EvidenceFilesRejected(Rejected):
    """There is no evidence where some was named, or it cannot be read."""


def log_folder(path: Path) -> Path:
    """Return the folder that holds a log's files: this one, or a laboratory's; raises `EvidenceFilesRejected`."""
    for place in LOG_PLACES:
        folder = path / place
        if (folder / CHECKPOINT).is_file() or (folder / "proofs").is_dir() or (folder / "tile").is_dir():
            return folder
    raise EvidenceFilesRejected(
        f"{path}: no checkpoint and no proofs here (looked in {', '.join(LOG_PLACES)}): name a bundle, a folder of "
        "tiles, or a laboratory whose log was published"
    )


@contextmanager
def reading(path: Path) -> Iterator[tuple[list[str], Read]]:
    """Give the names in a folder or zip file, and how to read them; raises `EvidenceFilesRejected`."""
    try:
        if path.is_file():
            with zipfile.ZipFile(path) as archive:
                yield _of_archive(archive)
        else:
            yield _of_folder(log_folder(path))
    except BrokenPipeError:  # of who reads what is said of it: not this file
        raise
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise EvidenceFilesRejected(f"{path}: cannot be read ({error})") from None


def _of_archive(archive: zipfile.ZipFile) -> tuple[list[str], Read]:
    sizes: dict[str, int] = {}
    for one in archive.infolist():
        if one.filename in sizes:
            raise EvidenceFilesRejected(
                f"the name {one.filename[:100]!r} stands twice in this file: readers differ on it"
            )
        sizes[one.filename] = one.file_size

    def read(name: str) -> bytes | None:
        return archive.read(name) if sizes.get(name, LARGEST_FILE) < LARGEST_FILE else None

    return list(sizes), read


def _of_folder(folder: Path) -> tuple[list[str], Read]:
    names = []
    for one in folder.rglob("*"):
        if one.is_file() and not one.name.startswith("."):
            names.append(one.relative_to(folder).as_posix())
        if len(names) > MOST_FILES:
            raise EvidenceFilesRejected(f"{folder}: more than {MOST_FILES} files")
    known = set(names)

    def read(name: str) -> bytes | None:
        if name not in known or (folder / name).stat().st_size >= LARGEST_FILE:
            return None
        return (folder / name).read_bytes()

    return names, read


def misdated_entries(path: str | Path, size: int) -> list[Dated]:
    """Return what is odd about the dates of a whole log's entries; nothing for a bundle of single entries. Raises
    `EvidenceFilesRejected`. It believes what it reads: judge the log first.
    """
    with reading(Path(path)) as (_, read):
        fetch = fetching(read)
        try:
            return misdated(
                entry
                for tile in tiles_of_level(size, ENTRIES)
                for entry in entries_of(tile, _bundle(read, fetch, tile))
            )
        except TileRejected:
            return []  # not a whole log, or one whose faults the audit names


def _bundle(read: Read, fetch: Callable[[Tile], bytes], tile: Tile) -> bytes:
    """Return a bundle as wide as asked for, cut from its full form where that is all there is."""
    if tile.width < WIDTH and read(tile.path) is None:
        return bundled_entries(entries_of(tile.full, fetch(tile.full))[: tile.width])
    return fetch(tile)


def verify_evidence(path: str | Path, policy: str | Path) -> Judged:
    """Judge a bundle (folder or zip), a folder of tiles or a laboratory's log by a policy file, offline.

    Returns what was found: `holds`, `first_bad`, `faults`, the trusted checkpoint. Raises `CheckpointDistrusted` where
    no checkpoint in it is believed, `LogPolicyRejected`, `EvidenceFilesRejected`.
    """
    try:
        with Path(policy).open("rb") as file:
            believed = log_policy(file.read(LARGEST_POLICY + 1))
    except OSError as error:
        raise EvidenceFilesRejected(f"{policy}: cannot be read ({error.strerror})") from None
    with reading(Path(path)) as (names, read):
        return judged_bundle(names, read, believed)
