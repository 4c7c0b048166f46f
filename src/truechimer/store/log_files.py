"""The files of a tiled log in a folder: whole or not there, and on the disk when that is asked for.

It knows no tree. A file is written beside its place and renamed into it; a reader never sees half of one. What was
written is on the disk after `settle`, or at once with `replace_durably`; until then a power cut may take it, or leave
what was there before, or half of it.
"""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from threading import Lock

from truechimer.store.fabric import StoreFull, StoreIoFailed, StoreReadOnly, StoreRejected

_MOST_READ = 32 << 20


class LogFiles:
    """The folder of one log. One writer."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; it is made by the first write."""
        self.folder = folder
        self._unsettled: set[Path] = set()
        self._folders: set[Path] = set()
        self._lock = Lock()

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes; None where there is none. Raises `StoreRejected`."""
        with _told(self.folder / name):
            try:
                with (self.folder / name).open("rb") as file:
                    data = file.read(_MOST_READ + 1)
            except (FileNotFoundError, NotADirectoryError):
                return None
        if len(data) > _MOST_READ:
            raise StoreIoFailed(str(self.folder / name), f"is longer than {_MOST_READ} bytes: no file of a log is")
        return data

    def write(self, files: Mapping[str, bytes]) -> None:
        """Put files in their places, not yet surely on the disk; raises `StoreRejected`."""
        for name, data in files.items():
            place = self.folder / name
            with _told(place):
                self._make_folder(place.parent)
                _replace(place, data, durably=False)
                with self._lock:
                    self._unsettled.add(place)

    def replace_durably(self, name: str, data: bytes) -> None:
        """Put one file in its place; it is on the disk when this returns. Raises `StoreRejected`."""
        place = self.folder / name
        with _told(place):
            self._make_folder(place.parent)
            _replace(place, data, durably=True)
            sync_folder(place.parent)

    def settle(self, but: Iterable[str] = ()) -> None:
        """Bring everything written before this call to the disk, names too, except what is in the folders `but`.

        Another thread may write meanwhile. Raises `StoreRejected`, after which all is tried again.
        """
        with self._lock:
            places, folders = set(self._unsettled), set(self._folders)
        leave = {self.folder / name for name in but}
        for place in sorted(places):
            with _told(place):
                if place.parent not in leave:
                    _sync_file(place)
        for folder in sorted({place.parent for place in places} | folders, reverse=True):
            with _told(folder):
                if folder not in leave:
                    sync_folder(folder)
        with self._lock:
            self._unsettled -= places
            self._folders -= folders

    def remove(self, folders: Iterable[str]) -> None:
        """Remove folders that nobody needs; one that stays does no harm."""
        for name in folders:
            rmtree(self.folder / name, ignore_errors=True)

    def _make_folder(self, folder: Path) -> None:
        made = []
        while not folder.is_dir():
            made.append(folder)
            folder = folder.parent
        for one in reversed(made):
            one.mkdir(exist_ok=True)
            with self._lock:
                self._folders |= {one, one.parent}


def _replace(place: Path, data: bytes, *, durably: bool) -> None:
    beside = place.with_name(f".{place.name}.new")
    with beside.open("wb") as file:
        file.write(data)
        if durably:
            file.flush()
            os.fsync(file.fileno())
    beside.replace(place)


def _sync_file(place: Path) -> None:
    opened = os.open(place, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk; raises `OSError`."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def _told(place: Path) -> Iterator[None]:
    """Say what went wrong with the disk in the store's own words."""
    try:
        yield
    except OSError as error:
        raise _rejection(place, error) from None


def _rejection(place: Path, error: OSError) -> StoreRejected:
    says = f"{error.strerror or error}"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return StoreFull(str(place), f"{says}: make room, and the log goes on by itself")
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return StoreReadOnly(str(place), f"{says}: make it writable, and the log goes on by itself")
        case _:
            return StoreIoFailed(str(place), f"{says}: look at the disk")
