"""What group commit is worth: appends of many threads that share fsyncs, against one-row transactions, in the same run.

It gates nothing itself but the ratio: `--limit 2` makes the exit status 1 where the median of the ratios is below it.
Four sides take turns on one disk, each durable before it returns: a thread that appends one entry after the other; many
threads that do; batches of 100; and bare SQLite, one row a transaction, without ids and digests. Runs alternate, at
least 5 of each; every run is printed. Absolute rates are shown, never judged: they are the disk's.

    python bench/store.py [--runs 7] [--entries 1500] [--threads 32] [--folder DIR] [--limit 2] [--out FILE.json]
"""

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src")]

from truechimer.store.fabric import Item  # noqa: E402
from truechimer.store.sqlite_fabric import SqliteFabric  # noqa: E402

DATA = bytes(range(256)) * 4
"""About a record."""
BATCH = 100


def one_by_one(folder: Path, entries: int) -> float:
    """Return the rate of one thread, one entry a transaction."""
    fabric = SqliteFabric(folder / "one.sqlite3")
    took_s = timed(lambda: [fabric.append("records", DATA, item_id=str(number)) for number in range(entries)])
    fabric.close()
    return entries / took_s


def many_threads(folder: Path, entries: int, threads: int) -> float:
    """Return the rate of many threads together."""
    fabric = SqliteFabric(folder / "many.sqlite3")
    share = entries // threads

    def work(worker: int) -> None:
        for number in range(share):
            fabric.append("records", DATA, item_id=f"{worker}/{number}")

    def all_of_them() -> None:
        workers = [threading.Thread(target=work, args=(worker,)) for worker in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    took_s = timed(all_of_them)
    fabric.close()
    return share * threads / took_s


def batches(folder: Path, entries: int) -> float:
    """Return the rate of one thread that appends batches."""
    fabric = SqliteFabric(folder / "batch.sqlite3")
    groups = [[Item(str(number), DATA) for number in range(k, k + BATCH)] for k in range(0, entries, BATCH)]
    took_s = timed(lambda: [fabric.append_all("records", group) for group in groups])
    fabric.close()
    return sum(map(len, groups)) / took_s


def bare(folder: Path, entries: int) -> float:
    """Return the rate of SQLite alone, one row a transaction."""
    db = sqlite3.connect(folder / "bare.sqlite3", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE records (seq INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT")
    took_s = timed(lambda: [db.execute("INSERT INTO records VALUES (?, ?)", (n, DATA)) for n in range(entries)])
    db.close()
    return entries / took_s


def timed(work: Callable[[], object]) -> float:
    """Return how long it takes, in seconds of wall time: waiting for the disk is what is measured."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--entries", type=int, default=1_500)
    parser.add_argument("--threads", type=int, default=32)
    parser.add_argument("--folder", type=Path, help="a folder on the disk to measure (default: the temporary one)")
    parser.add_argument("--limit", type=float, default=0.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    runs: list[dict[str, float]] = []
    for _ in range(max(options.runs, 5)):
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-store-") as name:
            folder = Path(name)
            per_s = {
                "one_by_one": one_by_one(folder, options.entries),
                "many_threads": many_threads(folder, options.entries, options.threads),
                "batches": batches(folder, options.entries),
                "bare_sqlite": bare(folder, options.entries),
            }
        runs.append(per_s)
        print("   ".join(f"{side} {rate:8.0f}/s" for side, rate in per_s.items()), flush=True)
    ratios = {
        "many_threads_to_one_by_one": [run["many_threads"] / run["one_by_one"] for run in runs],
        "batches_to_one_by_one": [run["batches"] / run["one_by_one"] for run in runs],
        "one_by_one_to_bare_sqlite": [run["one_by_one"] / run["bare_sqlite"] for run in runs],
    }
    medians = {name: statistics.median(values) for name, values in ratios.items()}
    for name, value in medians.items():
        print(f"median of {name.replace('_', ' ')}: {value:.2f}")
    told = {
        "threads": options.threads,
        "entries": options.entries,
        "bytes_each": len(DATA),
        "median": medians,
        "per_s_runs": runs,
    }
    if options.out is not None:
        options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return int(medians["many_threads_to_one_by_one"] < options.limit)


if __name__ == "__main__":
    raise SystemExit(main())
