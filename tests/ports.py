"""Ports for programs that tests start: no two tests of this machine are ever given the same one.

It tests nothing. A port that was free a moment ago may be taken before the program that is to have it opens it: by the
program of a test in another worker that looked at the same moment, or by the kernel for a client. So ports come from
blocks below those that the kernel gives away itself (32,768 and up). A process keeps each of its blocks locked for as
long as it lives, other test sessions of this machine included, and gives no port of it twice.
"""

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

FIRST, LAST = 20_000, 32_000
PORTS_IN_BLOCK = 100
LOCKS = Path(tempfile.gettempdir()) / f"truechimer-test-ports-{os.getuid()}"

_locks: list[FileIO] = []


def _blocks() -> Iterator[range]:
    """Yield blocks of ports that this process alone may give away; each stays its own until it ends."""
    LOCKS.mkdir(mode=0o700, exist_ok=True)
    for first in range(FIRST, LAST, PORTS_IN_BLOCK):
        lock = FileIO(LOCKS / str(first), "a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        _locks.append(lock)
        yield range(first, first + PORTS_IN_BLOCK)


class _Ports:
    """What this process may still give away."""

    def __init__(self) -> None:
        self.blocks = _blocks()
        self.left = range(0)

    def next(self, in_a_row: int) -> range:
        """Return ports in a row that were never given away."""
        while len(self.left) < in_a_row:
            try:
                self.left = next(self.blocks)
            except StopIteration:
                raise AssertionError(f"other test sessions hold all ports from {FIRST} to {LAST}") from None
        given, self.left = self.left[:in_a_row], self.left[in_a_row:]
        return given


_ports = _Ports()


def free_port(in_a_row: int = 1) -> int:
    """Return a port that is free on loopback for UDP and TCP, as those above it are; no other test has them."""
    while True:
        given = _ports.next(in_a_row)
        if all(_is_free(port) for port in given):
            return given[0]


def _is_free(port: int) -> bool:
    try:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
