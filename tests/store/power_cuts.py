"""Power cuts: `python -m tests.store.power_cuts SEED CUTS [careless]`, on the faulty disk; prints findings as JSON.

A store does its work, says after each step that it is done, and is closed and opened in between; then the power is cut
at many points of what it asked of the disk. After each cut the store must open, hold what was acknowledged or one step
more (whole), and know every id again. Some recoveries are cut themselves; at some points the process is killed first,
another does the step again, says so, and then the power goes. `careless`: the store does not wait for its
write-ahead log, as SQLite does where it is not told to: this must be found.
"""

import json
import os
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

from tests.store import work
from tests.store.disk_log import Disk, Line, lines_of, write_files
from tests.store.faulty_disk import FaultyDisk

from truechimer.store.fabric import StoreRejected
from truechimer.store.sqlite_fabric import SqliteFabric

STEPS = 90


def main(seed: int, cuts: int) -> None:
    """Work once, cut often."""
    disk, place = FaultyDisk(), Path(tempfile.mkdtemp(prefix="power-cuts-"))
    try:
        steps = work.steps(seed, STEPS)
        lines = logged_work(disk, place, steps, Random(seed))
        left = work.left_by(steps)
        rng = Random(seed)
        points = sorted(rng.sample(range(1, len(lines) + 1), min(cuts, len(lines))))
        found = [outcome(disk, place, steps=steps, left=left, lines=lines, point=point, seed=seed) for point in points]
        faults = [one for one in found if "why" in one]
        print(
            json.dumps(
                {"lines": len(lines), "cuts": len(points), "ways": Counter(f["way"] for f in found), "faults": faults}
            )
        )
    finally:
        shutil.rmtree(place)


def logged_work(disk: FaultyDisk, place: Path, steps: list[work.Step], rng: Random) -> list[Line]:
    """Do the steps in a folder of the faulty disk; return what was asked of the disk."""
    folder = place / "store"
    folder.mkdir()
    disk.put(folder)
    with disk.logged(place / "log"):
        acks = os.open(folder / "acks", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        fabric = SqliteFabric(folder / "state.sqlite3")
        for step in steps:
            work.do(fabric, step)
            os.write(acks, b".")
            if rng.random() < 0.05:
                fabric.close()
                fabric = SqliteFabric(folder / "state.sqlite3")
        fabric.close()
        os.close(acks)
    return list(lines_of((place / "log").read_bytes()))


def outcome(
    disk: FaultyDisk,
    place: Path,
    *,
    steps: list[work.Step],
    left: list[work.Left],
    lines: list[Line],
    point: int,
    seed: int,
) -> dict[str, object]:
    """Cut at a point and look; `why` stands in the outcome where something was lost or doubled."""
    rng = Random(f"{seed}/{point}")
    cut = Disk(rng)
    for line in lines[:point]:
        cut.apply(line)
    acknowledged, way = len(cut.acknowledged), rng.choice(("once", "once", "again", "killed"))
    told: dict[str, object] = {"seed": seed, "point": point, "acknowledged": acknowledged, "way": way}
    try:
        if way == "killed" and acknowledged < len(steps) and not steps[acknowledged].job:
            go_on(disk, place, cut, steps[acknowledged])
            acknowledged += 1
        files = cut.cut()
        if way == "again":
            files = cut_recovery(disk, place, files, rng)
        folder = place / "after"
        write_files(folder, files)
        found = work.found_in(folder / "state.sqlite3")
        may_be = left[acknowledged : acknowledged + 2]
        if found not in may_be:
            told["why"] = f"holds neither {acknowledged} steps nor one more: {difference(found, may_be)}"
        else:
            done = steps[: acknowledged + may_be.index(found)]
            work.again(folder / "state.sqlite3", done, found)
    except (StoreRejected, AssertionError) as error:
        told["why"] = f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(place / "after", ignore_errors=True)
    return told


def go_on(disk: FaultyDisk, place: Path, cut: Disk, step: work.Step) -> None:
    """Let another process, after a kill, do a step that may have been done."""
    folder = place / "recovery"
    write_files(folder, cut.seen())
    disk.put(folder)
    with disk.logged(place / "log"):
        fabric = SqliteFabric(folder / "state.sqlite3")
        work.do(fabric, step)
        lines = list(lines_of((place / "log").read_bytes()))
    fabric.close()
    shutil.rmtree(folder)
    disk.put(place / "nothing")
    for line in lines:
        cut.apply(line)


def cut_recovery(disk: FaultyDisk, place: Path, files: dict[str, bytes], rng: Random) -> dict[str, bytes]:
    """Open what a cut left, and cut again somewhere in that."""
    folder = place / "recovery"
    write_files(folder, files)
    disk.put(folder)
    with disk.logged(place / "log"):
        SqliteFabric(folder / "state.sqlite3").close()
    shutil.rmtree(folder)
    disk.put(place / "nothing")
    lines = list(lines_of((place / "log").read_bytes()))
    second = Disk(rng, files)
    for line in lines[: rng.randrange(len(lines) + 1)]:
        second.apply(line)
    return second.cut()


def difference(found: work.Left, may_be: list[work.Left]) -> str:
    """Say where what was found differs from what may be."""
    parts = []
    for one in may_be:
        ends = {name: (len(found.streams.get(name, ())), len(entries)) for name, entries in one.streams.items()}
        keys = [key for key in one.keys | found.keys if found.keys.get(key) != one.keys.get(key)]
        parts.append(f"ends {ends}, keys {keys}, jobs {len(found.open_jobs)}/{len(one.open_jobs)}")
    return "; ".join(parts)


def be_careless() -> None:
    """Let the store not wait for its log."""
    from truechimer.store.sqlite_file import SqliteFile

    careful = SqliteFile._set_up

    def careless(self: SqliteFile, db: sqlite3.Connection) -> None:
        careful(self, db)
        db.execute("PRAGMA synchronous = NORMAL")

    SqliteFile._set_up = careless  # type: ignore[method-assign]


if __name__ == "__main__":
    if sys.argv[3:] == ["careless"]:
        be_careless()
    main(int(sys.argv[1]), int(sys.argv[2]))
