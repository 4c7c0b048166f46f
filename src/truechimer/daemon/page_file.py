"""The clock page as a file: one writer, many readers, no reader hurt by what happens to the file.

It knows the layout only through `serve.clock_page`. Octets go through pread and pwrite, not through a mapping: a file
cut short under a mapping kills its reader with SIGBUS, and a door must outlive that; one pread costs below a
microsecond a batch.
"""

import fcntl
import os
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from truechimer.errors import Rejected
from truechimer.serve import clock_page
from truechimer.serve.clock_page import PAGE_BYTES, ClockPage, PageUnreadable


class PageFileRejected(Rejected):
    """The file at `path` cannot be the clock page, because of `because`."""

    def __init__(self, path: Path, because: str, *, do_next: str) -> None:
        super().__init__(f"clock page {path}: {because}; {do_next}")
        self.path = path
        self.because = because


class _FileBuffer:
    """A file as a `PageBuffer`: each slice is one system call; octets beyond the end read as zero."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __getitem__(self, where: slice, /) -> bytes:
        octets = os.pread(self.descriptor, where.stop - where.start, where.start)
        return octets.ljust(where.stop - where.start, b"\0")

    def __setitem__(self, where: slice, octets: bytes, /) -> None:
        os.pwrite(self.descriptor, octets, where.start)


class PageWriter:
    """The one writer of a page; puts the name of its raw counter into every page.

    `boot_id` is `HostClocks.boot_id()` as it was when the writer's line began to measure: after the machine has slept
    the line is wrong, so a writer keeps the old name, and readers refuse its pages, until a new line and a new writer
    begin.

    Raises `PageFileRejected` where another writer holds the file, or where it is something else.
    """

    def __init__(self, path: Path, *, boot_id: bytes) -> None:
        self.path = path
        self._boot_id = boot_id
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(path, flags, 0o644)
        except OSError as error:
            raise PageFileRejected(path, str(error.strerror), do_next="check the folder and its rights") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise PageFileRejected(
                path, "another laboratory process writes it", do_next="stop that one, or use another folder"
            ) from error
        self._buffer = _FileBuffer(descriptor)
        held = clock_page.read(self._buffer)
        if held is PageUnreadable.NOT_A_PAGE or os.fstat(descriptor).st_size > PAGE_BYTES:
            os.close(descriptor)
            raise PageFileRejected(path, "it is something else", do_next="move it away")
        if held is PageUnreadable.UNKNOWN_VERSION:
            os.ftruncate(descriptor, 0)
        os.ftruncate(descriptor, PAGE_BYTES)

    def publish(self, page: ClockPage) -> None:
        """Put `page` before all readers."""
        clock_page.write(self._buffer, replace(page, boot_id=self._boot_id))

    def close(self) -> None:
        """Let go of the file; the last page stays, and ages."""
        os.close(self._buffer.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PageReader:
    """A reader that keeps the last whole page: a writer killed between two octets takes nothing away from it.

    `torn` counts the looks that found a writer at work in every slot.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn = 0
        self._buffer: _FileBuffer | None = None
        self._fingerprint = self._looked = b""
        self._page: ClockPage | PageUnreadable = PageUnreadable.EMPTY
        self.reopen()

    def current(self) -> ClockPage | PageUnreadable:
        """Return the newest whole page, or why there has never been one. Never raises."""
        if self._buffer is None:
            self.reopen()
            if self._buffer is None:
                return self._page
        try:
            fingerprint = self._looked = clock_page.fingerprint(self._buffer)
            if fingerprint == self._fingerprint and isinstance(self._page, ClockPage):
                return self._page
            found = clock_page.read(self._buffer)
        except OSError:
            return self._page
        if isinstance(found, ClockPage):
            self._page, self._fingerprint = found, fingerprint
        elif found is PageUnreadable.TORN:
            self.torn += 1
        if not isinstance(self._page, ClockPage):
            self._page = found
        return self._page

    @property
    def descriptor(self) -> int:
        """The file that is read now, -1 for none."""
        return -1 if self._buffer is None else self._buffer.descriptor

    @property
    def fingerprint(self) -> bytes:
        """Both sequence numbers as they stood before the last look; empty where nobody could look."""
        return self._looked

    def reopen(self) -> None:
        """Open the file if it has been replaced; call it now and then (`current` itself waits for the first). Never
        raises.
        """
        try:
            if self._buffer is not None and os.path.samestat(self.path.stat(), os.fstat(self._buffer.descriptor)):
                return
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return  # not there yet, or gone: the last page goes on ageing
        if self._buffer is not None:
            os.close(self._buffer.descriptor)
        self._buffer, self._fingerprint = _FileBuffer(descriptor), b""

    def close(self) -> None:
        """Let go of the file."""
        if self._buffer is not None:
            os.close(self._buffer.descriptor)
            self._buffer = None
