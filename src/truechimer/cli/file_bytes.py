"""The bytes of a file that a person named: an ordinary file, `-` for standard input, or a pipe that somebody writes to.

It reads no format. Devices, folders and pipes nobody writes to are refused rather than waited for, and no more is read
than a file may have.
"""

import os
import select
import stat
import sys
import time
from pathlib import Path

from truechimer.errors import Rejected

SILENCE_S = 60.0
"""A pipe that says nothing for so long is given up."""
FIRST_WRITER_S = 2.0
"""How long somebody may take to open the other end of a pipe."""
PIECE = 1 << 20


class FileRejected(Rejected):
    """A file that cannot be read; what could move a terminal's cursor is left out of its name."""

    def __init__(self, says: str) -> None:
        super().__init__("".join(each if each.isprintable() else "\ufffd" for each in says))


def read(path: Path, *, at_most: int) -> bytes:
    """Return the bytes of a file; raise `FileRejected` with what to do instead."""
    try:
        if str(path) == "-":
            return _pieces(sys.stdin.buffer.fileno(), "standard input", at_most)
        # Not to wait for the other end of a pipe; an ordinary file does not notice.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise FileRejected(f"{path}: {why}; name a file that can be read") from None
    try:
        kind = os.fstat(descriptor)
        if stat.S_ISDIR(kind.st_mode):
            raise FileRejected(f"{path}: a folder; name a file in it")
        if stat.S_ISREG(kind.st_mode) and kind.st_size > at_most:
            raise FileRejected(f"{path}: {kind.st_size >> 20} MiB; at most {at_most >> 20} are read: cut it into parts")
        if not stat.S_ISREG(kind.st_mode) and not stat.S_ISFIFO(kind.st_mode):
            raise FileRejected(f"{path}: a device or a socket, no file; name a file that can be read")
        begun = _first_of_pipe(descriptor, path) if stat.S_ISFIFO(kind.st_mode) else b""
        return begun + _pieces(descriptor, str(path), at_most - len(begun))
    except OSError as error:
        raise FileRejected(f"{path}: {error.strerror}; name a file that can be read") from None
    finally:
        os.close(descriptor)


def read_text(path: Path, *, at_most: int) -> bytes:
    """Return the bytes of a text file, unpacked, without a byte-order mark (`packed_text.plain_bytes`)."""
    return plain(read(path, at_most=at_most), path, at_most=at_most)


def plain(data: bytes, path: Path, *, at_most: int) -> bytes:
    """Return a text file's bytes as its reader takes them; raise `FileRejected` where they are no text."""
    from truechimer.formats import packed_text

    try:
        return packed_text.plain_bytes(data, at_most=at_most)
    except packed_text.TextRejected as rejected:
        raise FileRejected(f"{path}: {rejected}") from None


def _first_of_pipe(descriptor: int, path: Path) -> bytes:
    """Return what stands in a pipe once somebody has opened its other end; an end that nobody opens reads as empty."""
    until = time.monotonic() + FIRST_WRITER_S
    while True:
        try:
            begun = os.read(descriptor, PIECE)
        except BlockingIOError:
            return b""
        if begun:
            return begun
        if time.monotonic() > until:
            raise FileRejected(f"{path}: nobody writes to this pipe; name a file, or start the writer first")
        time.sleep(0.02)


def _pieces(descriptor: int, name: str, at_most: int) -> bytes:
    pieces, size = [], 0
    while True:
        ready, _, _ = select.select([descriptor], [], [], SILENCE_S)
        if not ready:
            raise FileRejected(f"{name}: nothing came for {SILENCE_S:g} s; name a file, or write to the pipe")
        piece = os.read(descriptor, PIECE)
        if not piece:
            break
        size += len(piece)
        if size > at_most:
            raise FileRejected(f"{name}: more than {at_most >> 20} MiB; cut it into parts")
        pieces.append(piece)
    return b"".join(pieces)
