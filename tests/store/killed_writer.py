"""A process that appends and says so until it is killed: `python -m tests.store.killed_writer FILE SEED THREADS`.

Each line on standard output is one acknowledgement: `stream seq id` or `key name revision number`. Ids follow from
the seed, so a later process of the same seed begins by saying the last ones again.
"""

import os
import sys
from pathlib import Path
from random import Random
from threading import Thread

from tests.store.work import payload

from truechimer.store.fabric import Item
from truechimer.store.sqlite_fabric import SqliteFabric


def write(fabric: SqliteFabric, worker: int, rng: Random) -> None:
    """Append for ever."""
    number = 0
    while True:
        ids = [f"{worker}/{number}/{k}" for k in range(rng.choice((1, 1, 5)))]
        number += 1
        if rng.random() < 0.2:
            rev = fabric.put(f"key/{worker}", payload(f"{worker}/{number}", 4_000), expect=None)
            say(f"key key/{worker} {rev} {number}")
            continue
        items = [Item(one, payload(one, rng.randrange(3_000))) for one in ids]
        for item, seq in zip(items, fabric.append_all("records", items), strict=True):
            say(f"records {seq} {item.item_id}")


def say(line: str) -> None:
    """Acknowledge; a line is one write, so that it is whole or not there."""
    os.write(1, line.encode() + b"\n")


if __name__ == "__main__":
    fabric = SqliteFabric(Path(sys.argv[1]))
    say("open")
    for worker in range(int(sys.argv[3])):
        Thread(target=write, args=(fabric, worker, Random(f"{sys.argv[2]}/{worker}")), daemon=True).start()
    sys.stdin.read()
