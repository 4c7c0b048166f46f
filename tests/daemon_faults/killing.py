"""Kills a laboratory at random moments, again and again, and looks at what is left after each.

    python -m tests.daemon_faults.killing FOLDER KILLS SEED

A process of its own, because it forks: the child is a laboratory on this machine's counter that takes in epochs as fast
as it can, keeps a snapshot many times a second, and says on a pipe which epoch was served. Killed, it leaves journal,
snapshots and page. The parent then asks: does a record cover the page? Is each epoch that was served in the journal,
once? In the end the journal is replayed from its first record. Prints one JSON document; raises where an answer is no.
"""

import json
import os
import random
import signal
import struct
import sys
import time
from pathlib import Path

from tests.daemon_faults.laboratories import Machine, Run, write_lab

from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.page_file import PageReader
from truechimer.daemon.records import last_page, snapshots
from truechimer.laboratory.replay import replay
from truechimer.serve.clock_page import ClockPage
from truechimer.store.sqlite_records import SqliteRecords

LONGEST_LIFE_S = 0.35
SNAPSHOT_EVERY_S = 0.02


class RealMachine(Machine):
    """A machine whose counter runs: this one's."""

    def __post_init__(self) -> None:
        self.clocks = HostClocks()

    def move(self) -> None:
        """Stand at now."""
        self.raw_ns = self.clocks.raw_ns()


def live(folder: Path, pipe: int) -> None:
    """Be a laboratory until killed."""
    snapshots.EVERY_S = SNAPSHOT_EVERY_S
    machine = RealMachine()
    run = Run.begin(folder, machine)
    while True:
        machine.move()
        made = run.epoch(after_s=0.0)
        assert made is not None
        os.write(pipe, struct.pack("<q", run.laboratory.started.state.epoch_ns))


def kill_once(folder: Path, rng: random.Random) -> tuple[list[int], float]:
    """Let a laboratory live for a while; return the epochs that it said were served."""
    hear, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(hear)
        try:
            live(folder, say)
        finally:
            os._exit(1)  # it does not end by itself
    os.close(say)
    life_s = rng.uniform(0.0, LONGEST_LIFE_S)
    time.sleep(life_s)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "the laboratory ended by itself"
    heard = b""
    while piece := os.read(hear, 1 << 16):
        heard += piece
    os.close(hear)
    whole = len(heard) // 8
    return list(struct.unpack(f"<{whole}q", heard[: 8 * whole])), life_s


def look(folder: Path, acknowledged: list[int], first: int) -> int:
    """Hold what is left against what was said; return how many records there are."""
    store = SqliteRecords(folder / "evidence" / "records.sqlite3", read_only=True)
    reader = PageReader(folder / "run" / "clock.page")
    try:
        bodies = [json.loads(data) for data in store.read(first=first)]
        epochs = [int(body["epoch_tai_ns"]) for body in bodies if body["kind"] == "readings"]
        assert epochs == sorted(set(epochs)), "an epoch stands twice"
        missing = set(acknowledged) - set(epochs)
        assert not missing, f"{len(missing)} epochs that were served are not in the journal"
        page = reader.current()
        if isinstance(page, ClockPage):
            assert last_page.is_covered(page, store), "no record covers the page"
        return store.count()
    finally:
        reader.close()
        store.close()


def main() -> int:
    """Kill, look, replay."""
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    write_lab(folder, days=2.0)
    machine = RealMachine()
    machine.move()
    run = Run.begin(folder, machine)
    machine.move()
    run.epoch(after_s=0.0)
    run.close()
    records = served = resumed = 0
    for _ in range(kills):
        before = records
        acknowledged, _ = kill_once(folder, rng)
        records = look(folder, acknowledged, before)
        served += len(acknowledged)
        resumed += bool(acknowledged)
    store = SqliteRecords(folder / "evidence" / "records.sqlite3", read_only=True)
    again = replay(store.read())
    store.close()
    assert again.difference is None, again.difference
    assert again.compared == records
    body = {"kills": kills, "seed": seed, "records": records, "epochs_served": served, "lives_with_epochs": resumed}
    print(json.dumps(body))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
