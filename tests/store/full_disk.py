"""A disk that fills up: `python -m tests.store.full_disk SEED`, on the faulty disk of 8 MiB; prints findings as JSON.

Records are appended until there is no space, tried again and again while there is none, and then space is made. What
was acknowledged stays readable all the time, nothing is acknowledged in between, and the same object goes on.
"""

import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

from tests.store.disk_log import Disk, lines_of, write_files
from tests.store.faulty_disk import FaultyDisk
from tests.store.work import payload

from truechimer.store.fabric import BEFORE_FIRST, StoreFull
from truechimer.store.sqlite_fabric import SqliteFabric

SIZE = 8 << 20
TRIES_WHILE_FULL = 50


def main(seed: int) -> None:
    """Fill, hold, free, go on, and cut the power at the end."""
    disk, place, rng = FaultyDisk(), Path(tempfile.mkdtemp(prefix="full-disk-")), Random(seed)
    told: dict[str, object] = {"seed": seed}
    refused: Counter[str] = Counter()
    try:
        folder = place / "store"
        folder.mkdir()
        disk.put(folder)
        with disk.logged(place / "log"):
            fabric = SqliteFabric(folder / "records.sqlite3")
            disk.quota(SIZE)
            number = 0
            while refused["StoreFull"] < TRIES_WHILE_FULL:
                try:
                    fabric.append("records", payload(str(number), rng.randrange(60_000)), item_id=str(number))
                    number += 1
                except StoreFull:
                    refused["StoreFull"] += 1
                    health = fabric.health()
                    assert not health.writable
                    assert "free space" in str(health.failing)
                    if refused["StoreFull"] % 10 == 1:
                        assert len(list(fabric.read("records"))) == number
            told["filled"] = number
            disk.quota(None)
            for more in range(number, number + 20):
                assert fabric.append("records", payload(str(more), 500), item_id=str(more)) == more
            assert fabric.health().writable
            fabric.check()
        cut = Disk(rng)
        for line in lines_of((place / "log").read_bytes()):
            cut.apply(line)
        write_files(place / "after", cut.cut())
        after = SqliteFabric(place / "after" / "records.sqlite3")
        ids = [entry.item_id for entry in after.read("records", after=BEFORE_FIRST)]
        after.close()
        fabric.close()
        told |= {"refused": refused, "in_order": ids == [str(n) for n in range(number + 20)]}
        print(json.dumps(told))
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main(int(sys.argv[1]))
