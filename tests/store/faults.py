"""Faults of the disk: `python -m tests.store.faults SEED CALLS..`, on the faulty disk; prints what was found as JSON.

For each number n the n-th call to the disk fails, once, thrice in a row or until the disk is repaired: with an I/O
error, no space, a read-only volume, a short write; any call, or only writes, or only syncs. Each step is done again
until it is acknowledged, by the same object. Nothing acknowledged may be lost (also by a power cut at any later
moment) or doubled, every failure must be one of the fabric's own, and what was acknowledged must stay readable.
"""

import errno
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

from tests.store import work
from tests.store.disk_log import Disk, lines_of, write_files
from tests.store.faulty_disk import FOR_EVER, OTHERS, SYNCS, WRITES, FaultyDisk

from truechimer.store.fabric import StoreCorrupt, StoreFull, StoreIoFailed, StoreReadOnly, StoreRejected
from truechimer.store.sqlite_fabric import SqliteFabric

STEPS = 24
CUTS = 3
FAULTS = (
    ("EIO", errno.EIO, WRITES | SYNCS | OTHERS, False),
    ("ENOSPC", errno.ENOSPC, WRITES | OTHERS, False),
    ("EROFS", errno.EROFS, WRITES | OTHERS, False),
    ("short write", errno.EIO, WRITES, True),
    ("EIO at sync", errno.EIO, SYNCS, False),
)
ALLOWED = (StoreFull, StoreIoFailed, StoreReadOnly)
COUNTS = (1, 3, FOR_EVER)


class Lost(Exception):
    """What must not happen, happened."""


def main(seed: int, numbers: list[int], *, every: bool) -> None:
    """Run each number with one kind of fault and one count drawn from the seed, or with all of them."""
    disk, place = FaultyDisk(), Path(tempfile.mkdtemp(prefix="faults-"))
    hit: Counter[str] = Counter()
    faults, runs = [], 0
    try:
        for number in numbers:
            rng = Random(f"{seed}/{number}")
            pairs = [(fault, count) for fault in FAULTS for count in COUNTS]
            for fault, count in pairs if every else [rng.choice(pairs)]:
                told = {"seed": seed, "call": number, "fault": fault[0], "count": count}
                runs += 1
                try:
                    hit += Run(disk, place / "run", rng, first=number, fault=fault, count=count).whole()
                except (Lost, StoreRejected, AssertionError) as error:
                    faults.append({**told, "why": f"{type(error).__name__}: {error}"})
                finally:
                    disk.disarm()
                    disk.put(place / "nothing")
                    shutil.rmtree(place / "run", ignore_errors=True)
        print(json.dumps({"runs": runs, "refused": hit, "faults": faults}))
    finally:
        shutil.rmtree(place)


class Run:
    """One store on a disk that fails once."""

    def __init__(
        self, disk: FaultyDisk, place: Path, rng: Random, *, first: int, fault: tuple[str, int, int, bool], count: int
    ) -> None:
        """Say what is to fail."""
        self.disk, self.place, self.rng = disk, place, rng
        self.first, self.fault, self.count = first, fault, count
        self.refused: Counter[str] = Counter()
        self.steps = [step for step in work.steps(rng.randrange(10**9), 2 * STEPS) if not step.job][:STEPS]
        self.fabric: SqliteFabric | None = None

    def whole(self) -> Counter[str]:
        """Work, look at what is there, and cut the power at some moments."""
        self.place.mkdir()
        folder = self.place / "store"
        folder.mkdir()
        self.disk.put(folder)
        with self.disk.logged(self.place / "log"):
            acks = os.open(folder / "acks", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            self.arm()
            for number, step in enumerate(self.steps):
                self.until_done(folder, step, number)
                self.acknowledge(acks)
            assert self.fabric is not None
            self.fabric.check()
            self.fabric.close()
            self.disk.disarm()
            os.close(acks)
        self.disk.put(self.place / "nothing")
        left = work.left_by(self.steps)
        self.same(work.found_in(folder / "state.sqlite3"), left[-1:], "after the work")
        self.cut_somewhere(left)
        return self.refused

    def arm(self) -> None:
        """Let the fault come."""
        _, error, kinds, short = self.fault
        self.disk.arm(self.first, count=self.count, error=error, kinds=kinds, short=short)

    def acknowledge(self, acks: int) -> None:
        """Tell the world; that file is not on the faulty disk."""
        calls = self.disk.calls
        self.disk.disarm()
        os.write(acks, b".")
        if self.count != FOR_EVER or calls < self.first:
            _, error, kinds, short = self.fault
            left = max(self.first - calls, 1)
            count = self.count if calls < self.first else self.count - (calls - self.first + 1)
            if count > 0:
                self.disk.arm(left, count=count, error=error, kinds=kinds, short=short)

    def until_done(self, folder: Path, step: work.Step, number: int) -> None:
        """Do a step until it is acknowledged; a disk that fails for ever is repaired after three tries."""
        for attempt in range(12):
            try:
                if self.fabric is None:
                    self.fabric = SqliteFabric(folder / "state.sqlite3")
                work.do(self.fabric, step)
            except StoreCorrupt:
                raise
            except ALLOWED as error:
                self.refused[type(error).__name__] += 1
                if self.fault[0] == "ENOSPC" and isinstance(error, StoreReadOnly):
                    raise Lost(f"no space was called {error}") from error
                self.still_readable(number)
            else:
                return
            if attempt == 2 and self.count == FOR_EVER:
                self.disk.disarm()
        raise Lost(f"step {number} was not done in 12 tries")

    def still_readable(self, number: int) -> None:
        """What was acknowledged must be readable while the disk refuses writes."""
        if self.fabric is None:
            return
        if self.fabric.health().failing is None or self.fabric.health().writable:
            raise Lost("a refused write is not in the health")
        there = work.left_by(self.steps[:number])[-1]
        for name, entries in there.streams.items():
            read = [(entry.item_id, entry.data) for entry in self.fabric.read(name)]
            if read[: len(entries)] != entries:
                raise Lost(f"{len(entries)} entries of {name} were acknowledged, {len(read)} can be read")
        for key in there.keys:
            if self.fabric.get(key) is None:
                raise Lost(f"key {key} is gone")

    def same(self, found: work.Left, may_be: list[work.Left], when: str) -> None:
        """Compare what is there with what may be."""
        if found not in may_be:
            ends = {name: len(entries) for name, entries in found.streams.items()}
            want = [{name: len(entries) for name, entries in one.streams.items()} for one in may_be]
            raise Lost(f"{when}: holds {ends}, may hold {want}")

    def cut_somewhere(self, left: list[work.Left]) -> None:
        """Cut the power at some moments of it: nothing acknowledged is lost, however the sync before had failed."""
        lines = list(lines_of((self.place / "log").read_bytes()))
        for point in [*(self.rng.randrange(1, len(lines) + 1) for _ in range(CUTS - 1)), len(lines)]:
            cut = Disk(self.rng)
            for line in lines[:point]:
                cut.apply(line)
            done, files = len(cut.acknowledged), cut.cut()
            folder = self.place / "after"
            write_files(folder, files)
            try:
                self.same(
                    work.found_in(folder / "state.sqlite3"), left[done : done + 2], f"cut at {point}, {done} done"
                )
            except StoreRejected as error:
                raise Lost(f"cut at {point}, {done} done: {error}") from error
            shutil.rmtree(folder)


if __name__ == "__main__":
    every = sys.argv[2] == "every"
    main(
        int(sys.argv[1]),
        [int(number) for number in sys.argv[3:]] if every else [int(n) for n in sys.argv[2:]],
        every=every,
    )
