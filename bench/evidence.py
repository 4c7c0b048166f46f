"""What the signed log costs: entries per second through journal, tiles, signer and checkpoint; verification; proofs.

Bars (issue 6): at least 20,000 entries/s with fsync in groups, p99 of at most 50 ms from an entry's arrival to a signed
checkpoint that covers it, 100,000 entries verified in at most 5 s, a proof of one entry among 1,000,000 in at most 4 KB
beside its note. Ratios to a plain SHA-256 chain and, where it is installed, to pymerkle's tree alternate in one run.
Absolute times are of the disk and the load of the machine, which are printed with them.

    python bench/evidence.py [--seconds 5] [--rate 20500] [--runs 5] [--folder DIR] [--out FILE.json]
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src")]

from truechimer.daemon.log.signer import SignerProcess  # noqa: E402
from truechimer.daemon.log.tree_keeper import make_keeper  # noqa: E402
from truechimer.evidence.audit import audit  # noqa: E402
from truechimer.evidence.log import Edge, grown  # noqa: E402
from truechimer.evidence.log_policy import log_policy  # noqa: E402
from truechimer.evidence.merkle import inclusion_proof  # noqa: E402
from truechimer.evidence.proof import ProofFile, check_entry, proof_file  # noqa: E402
from truechimer.evidence.record import Chain, seal  # noqa: E402
from truechimer.evidence.tiles import TreeReader  # noqa: E402
from truechimer.store.log_files import LogFiles  # noqa: E402
from truechimer.store.sqlite_records import SqliteRecords  # noqa: E402
from truechimer.store.tiles import TiledLog  # noqa: E402

ORIGIN = "lab.example/bench"
SEED = b"b" * 32
TICK_S = 0.01
"""How often entries arrive in a group: what a hundred epochs a second would be."""
SETTLE_S = 2.0
LARGEST_GROUP = 2000
"""Entries that one fsync of the journal carries at the most."""


def entries_of(number: int) -> list[bytes]:
    """Return chained records of about 300 bytes."""
    chain, out = Chain(), []
    for n in range(number):
        one, chain = seal("bench", {"x_a_minus_b_s": "1.25e-09 s", "text": f"{n:08d}" * 18}, chain)
        out.append(one.data)
    return out


def publisher(folder: Path) -> int:
    """Be the process that publishes: a byte on standard input says that the journal grew; its end, that all is said.

    It is a process of its own because threads of one interpreter would wait for each other at every row of SQLite.
    """
    records = SqliteRecords(folder / "records.sqlite3", read_only=True)
    signer = SignerProcess(folder / "signer")
    log = TiledLog(LogFiles(folder / "log"), origin=ORIGIN, records=lambda n: records.read(first=n), signer=signer)
    end = threading.Event()

    def settle() -> None:
        while not end.wait(SETTLE_S):
            log.settle()

    thread = threading.Thread(target=settle)
    thread.start()
    covered: list[tuple[int, float]] = []
    last, cpu_s = False, time.process_time()
    while not last:
        last = not os.read(0, 4096)
        made = log.advance()
        if made is not None:
            covered.append((made.checkpoint.size, time.perf_counter()))
    end.set()
    thread.join()
    log.settle()
    signer.close()
    records.close()
    print(json.dumps({"covered": covered, "cpu_s": time.process_time() - cpu_s}))
    return 0


def alive(folder: Path, entries: list[bytes], *, rate: float) -> dict[str, Any]:
    """Let entries arrive at a rate; return how long each waited for a signed checkpoint over it (ms)."""
    key = make_keeper(folder / "signer", origin=ORIGIN, seed=SEED)
    writer = SqliteRecords(folder / "records.sqlite3")
    writer.append([(0, entries[0])])
    process = subprocess.Popen(
        [sys.executable, __file__, "--publisher", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    assert process.stdin is not None
    process.stdin.write(b".")
    while not (folder / "log" / "checkpoint").exists():
        time.sleep(0.01)
    arrived: list[tuple[int, float]] = []
    begun, cpu_s = time.perf_counter(), time.process_time()
    done = 1
    while done < len(entries):
        due = min(len(entries), 1 + int((time.perf_counter() - begun) * rate), done + LARGEST_GROUP)
        if due - done < min(LARGEST_GROUP, rate * TICK_S * 0.5) and due < len(entries):
            time.sleep(TICK_S / 4)
            continue
        # an entry arrives when its turn comes, whether or not the journal is ready for it
        arrived += [(n + 1, begun + n / rate) for n in range(done, due)]
        writer.append(list(enumerate(entries[done:due], start=done)))
        done = due
        process.stdin.write(b".")
    appended_s = time.perf_counter() - begun
    cpu_s = time.process_time() - cpu_s
    out, _ = process.communicate()
    theirs = json.loads(out)
    covered = theirs["covered"]
    whole_s = covered[-1][1] - begun
    writer.close()
    files = LogFiles(folder / "log")
    waits = []
    at = 0
    for size, when in arrived:
        while covered[at][0] < size:
            at += 1
        waits.append(1000 * (covered[at][1] - when))
    waits.sort()
    policy = log_policy(f"log {key.text}\nquorum none\n".encode())
    began = time.perf_counter()
    assert audit(files.read, policy).holds
    return {
        "entries": len(entries),
        "entries_per_s": round(len(entries) / whole_s),
        "appended_per_s": round(len(entries) / appended_s),
        "checkpoints": len(covered),
        "cpu_us_per_entry_writing": round(1e6 * cpu_s / len(entries), 1),
        "cpu_us_per_entry_publishing": round(1e6 * theirs["cpu_s"] / len(entries), 1),
        "p50_ms": round(waits[len(waits) // 2], 1),
        "p99_ms": round(waits[len(waits) * 99 // 100], 1),
        "max_ms": round(waits[-1], 1),
        "verified_s": round(time.perf_counter() - began, 2),
    }


def tree_in_memory(entries: list[bytes]) -> None:
    """Append entries in groups of 256, each with its root."""
    edge = Edge()
    for n in range(0, len(entries), 256):
        edge = grown(edge, entries[n : n + 256]).edge
        assert edge.root


def chain(entries: list[bytes]) -> None:
    """Hash each entry over the one before."""
    last = b""
    for one in entries:
        last = hashlib.sha256(last + one).digest()


def pymerkle_tree() -> Callable[[list[bytes]], None] | None:
    """Return the same with pymerkle, its root after each group too; None where it is not installed."""
    try:
        from pymerkle import InmemoryTree
    except ImportError:
        return None

    def run(entries: list[bytes]) -> None:
        tree = InmemoryTree(algorithm="sha256")
        for n in range(0, len(entries), 256):
            for one in entries[n : n + 256]:
                tree.append_entry(one)
            assert tree.get_state()

    return run


def ratios(entries: list[bytes], runs: int) -> dict[str, Any]:
    """Time the three in turn; return medians of seconds and of our ratio to the others."""
    sides = {"ours": tree_in_memory, "sha256_chain": chain}
    other = pymerkle_tree()
    if other is not None:
        sides["pymerkle"] = other
    took: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, side in sides.items():
            began = time.perf_counter()
            side(entries)
            took[name].append(time.perf_counter() - began)
    told: dict[str, Any] = {"entries": len(entries), "runs_s": {k: [round(x, 4) for x in v] for k, v in took.items()}}
    for name in sides:
        if name != "ours":
            told[f"ours_over_{name}"] = round(
                statistics.median(a / b for a, b in zip(took["ours"], took[name], strict=True)), 2
            )
    if other is None:
        told["ours_over_pymerkle"] = "pymerkle is not installed here"
    return told


def proof_of_a_million() -> dict[str, Any]:
    """Return the size of one proof among a million entries, verified."""
    from truechimer.evidence.checkpoint import Checkpoint
    from truechimer.evidence.cosignature import public_key, signer_of
    from truechimer.quorum.keys import ED25519, SigningKey
    from truechimer.quorum.note import signed

    edge, tiles = Edge(), {}
    for first in range(0, 1_000_000, 50_000):
        growth = grown(edge, [b"%d" % n for n in range(first, first + 50_000)])
        edge = growth.edge
        tiles.update(growth.tiles)
    key = SigningKey(ORIGIN, ED25519, SEED)
    note = signed(Checkpoint(ORIGIN, edge.size, edge.root).text, [signer_of(key, time_s=1)])
    policy = log_policy(f"log {public_key(key).text}\nquorum none\n".encode())
    sizes = []
    for index in (0, 123_456, 999_999):
        made = ProofFile(index, inclusion_proof(index, edge.size, TreeReader(edge.size, tiles.__getitem__).nodes), note)
        check_entry(b"%d" % index, proof_file(made.data), policy)
        sizes.append(len(made.data) - len(note))
    return {"proof_bytes_beside_the_note": max(sizes), "note_bytes": len(note)}


def main() -> int:
    """Run all, print and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=20_500.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--publisher", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publisher:
        return publisher(options.publisher)
    told: dict[str, Any] = {"rate_per_s": options.rate, "load_before": round(os.getloadavg()[0], 1), "live": []}
    entries = entries_of(max(100_000, int(options.rate * options.seconds)))
    for run in range(max(1, options.runs // 2)):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            told["live"].append(alive(Path(folder), entries[: int(options.rate * options.seconds)], rate=options.rate))
        print(f"live {run}: {told['live'][-1]}", flush=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        told["unthrottled"] = alive(Path(folder), entries, rate=1e9)
    print(f"unthrottled: {told['unthrottled']}", flush=True)
    told["ratios"] = ratios(entries[:50_000], options.runs)
    print(f"ratios: {told['ratios']}", flush=True)
    told["proof"] = proof_of_a_million()
    told["load_after"] = round(os.getloadavg()[0], 1)
    print(f"proof: {told['proof']}; load {told['load_before']} to {told['load_after']}")
    if options.out:
        options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
