"""A writer that is killed (SIGKILL) at any moment has lost and doubled nothing that it acknowledged."""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from tests.store.faulty_disk import ROOT
from tests.store.work import payload

from truechimer.store.sqlite_fabric import SqliteFabric


def killed_after(file: Path, seed: int, threads: int, lines: int, more_s: float) -> list[str]:
    """Let a writer work until it has acknowledged so many lines and a moment more, kill it, return what it said."""
    command = [sys.executable, "-m", "tests.store.killed_writer", str(file), str(seed), str(threads)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = bytearray()
        try:
            while said.count(b"\n") < lines and (chunk := os.read(process.stdout.fileno(), 65536)):
                said += chunk
            time.sleep(more_s)
        finally:
            process.kill()
        said += process.stdout.read()
    return said.decode().splitlines()


def kills(folder: Path, number: int, seed: int) -> None:
    """Kill writers of one file again and again; after each kill everything acknowledged so far is there, once."""
    rng, file = Random(seed), folder / "records.sqlite3"
    records: dict[int, str] = {}
    revs: dict[str, tuple[int, int]] = {}
    for kill in range(number):
        at = f"seed {seed}, kill {kill}"
        # The first kills hit the making of the file, too.
        lines = rng.choice((0, 1, 3, 20, 60))
        said = killed_after(file, seed, rng.choice((1, 4)), lines, rng.random() * (0.12 if lines == 0 else 0.01))
        for words in (line.split() for line in said if line != "open"):
            if words[0] == "key":
                revs[words[1]] = max(revs.get(words[1], (0, 0)), (int(words[2]), int(words[3])))
            else:
                assert records.setdefault(int(words[1]), words[2]) == words[2], at
        began = time.monotonic()
        fabric = SqliteFabric(file)
        opened_s = time.monotonic() - began
        found = {entry.seq: entry.item_id for entry in fabric.read("records")}
        assert found.items() >= records.items(), at
        assert max(Counter(found.values()).values(), default=1) == 1, at
        assert all(entry.data == payload(entry.item_id, len(entry.data)) for entry in fabric.read("records")), at
        assert all((value := fabric.get(key)) and value.rev >= rev for key, (rev, _) in revs.items()), at
        fabric.close()
        assert opened_s < 2.0, at
    assert len(records) > number


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_or_doubled_over_50_kills(tmp_path: Path) -> None:
    kills(tmp_path, 50, seed=20260101)


@pytest.mark.acceptance
def test_nothing_acknowledged_is_lost_or_doubled_over_200_kills(tmp_path: Path) -> None:
    for seed in range(4):
        (tmp_path / str(seed)).mkdir()
        kills(tmp_path / str(seed), 50, seed)
