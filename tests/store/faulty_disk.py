"""The preloaded file layer `faulty_disk.c`: how it is made, and how a process on it asks for faults and logs."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).with_name("faulty_disk.c")
ROOT = Path(__file__).parents[2]
WRITES, SYNCS, OTHERS = 1, 2, 4
FOR_EVER = 10**9


def build(folder: Path) -> Path:
    """Compile it; return the library."""
    library = folder / "faulty_disk.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def run_on(library: Path, module: str, *arguments: str) -> str:
    """Run a module of this room in a process on the faulty disk; return what it printed."""
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-m", f"tests.store.{module}", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


class FaultyDisk:
    """The file layer under this process; one folder at a time is on it."""

    def __init__(self) -> None:
        """Find it; raises `AttributeError` where it was not preloaded."""
        self._library = ctypes.CDLL(None)
        self._library.faulty_disk_arm.argtypes = [ctypes.c_long, ctypes.c_long, *[ctypes.c_int] * 3]
        self._library.faulty_disk_quota.argtypes = [ctypes.c_long]
        self._library.faulty_disk_calls.restype = ctypes.c_long

    def put(self, folder: Path) -> None:
        """Let this folder be on the faulty disk."""
        self._library.faulty_disk_folder(str(folder).encode())

    def arm(self, first: int, *, count: int, error: int, kinds: int, short: bool = False) -> None:
        """Let calls of these kinds fail from the `first` on (1: the next), `count` of them."""
        self._library.faulty_disk_arm(first, count, error, int(short), kinds)

    def disarm(self) -> None:
        """Let nothing fail any more."""
        self._library.faulty_disk_arm(0, 0, 0, 0, 0)

    def quota(self, size: int | None) -> None:
        """Let files grow by so many bytes together from now on; None: without end."""
        self._library.faulty_disk_quota(-1 if size is None else size)

    @property
    def calls(self) -> int:
        """How many calls of the armed kinds there were since."""
        return int(self._library.faulty_disk_calls())

    @contextmanager
    def logged(self, file: Path) -> Iterator[None]:
        """Write what happens into a log."""
        log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._library.faulty_disk_log(log)
        try:
            yield
        finally:
            self._library.faulty_disk_log(-1)
            os.close(log)
