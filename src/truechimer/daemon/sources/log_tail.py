"""Log tail: what another program writes to a log, from now on, over rotation; it interprets nothing.

The file is held open: what its writer still puts into a log that was renamed away is read before the new one of that
name is begun. A file that was cut is read from its beginning.
"""

import os
from pathlib import Path

PIECE_BYTES = 1 << 18
COUNTED_AT_ONCE = 1 << 20


class LogTail:
    """One log. `lines_before`: lines that it held before the first look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines_before = 0
        self.rotations = 0
        self._descriptor: int | None = None
        self._offset = 0
        self._is_new = True

    def read(self) -> bytes:
        """Return the next piece, empty where there is none now; raises OSError where there is no such log."""
        if self._descriptor is None:
            self._open()
        assert self._descriptor is not None
        if os.fstat(self._descriptor).st_size < self._offset:
            self._offset = 0
            self.rotations += 1
        data = os.pread(self._descriptor, PIECE_BYTES, self._offset)
        self._offset += len(data)
        if not data and self._is_replaced():
            self.close()
            self.rotations += 1
            return self.read()
        return data

    def _open(self) -> None:
        """Open the log: from its end where it was there at the first look, else from its beginning."""
        is_new, self._is_new = self._is_new, False
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self._offset = 0
        if is_new:
            self._count()

    def _count(self) -> None:
        """Count the lines that are there, and stand after the last whole one."""
        assert self._descriptor is not None
        position = 0
        while data := os.pread(self._descriptor, COUNTED_AT_ONCE, position):
            self.lines_before += data.count(b"\n")
            if (end := data.rfind(b"\n")) >= 0:
                self._offset = position + end + 1
            position += len(data)

    def _is_replaced(self) -> bool:
        """Return True where another file has the log's name now."""
        assert self._descriptor is not None
        try:
            return not os.path.samestat(self.path.stat(), os.fstat(self._descriptor))
        except OSError:
            return False  # between two names: the old one may still be written to

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
