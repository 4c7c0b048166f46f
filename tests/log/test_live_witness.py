"""A real laboratory and real witnesses: an older copy put back, and a record edited with everything signed anew, are
both seen at a witness's first answer.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.daemon_faults.laboratories import LAB, write_lab

from truechimer.daemon.log.log_state import LogState, read_state
from truechimer.daemon.log.tree_keeper import KEY, SIGNED
from truechimer.evidence.checkpoint import Checkpoint
from truechimer.evidence.cosignature import private_key, signer_of
from truechimer.evidence.merkle import EMPTY_ROOT
from truechimer.evidence.record import Chain, seal
from truechimer.quorum.note import signed
from truechimer.store.sqlite_records import SqliteRecords

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "src")}
WITH_WITNESSES = LAB.replace("publish = false", 'witnesses = "witnesses.policy"\nwitness_every_s = 1.0')


def program(*words: str) -> list[str]:
    return [sys.executable, "-m", "truechimer", *words]


def up(folder: Path, for_s: float) -> LogState:
    ran = subprocess.run(
        program("up", str(folder / "LAB.toml"), "--for", str(for_s)),
        env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    told = read_state(folder / "run" / "evidence.json")
    assert told is not None
    return told


@pytest.fixture
def witnesses(tmp_path: Path) -> list[str]:
    """Two witnesses that have a key and a port; the policy lines that name them."""
    lines = []
    for number in (1, 2):
        folder, pidfile = tmp_path / f"w{number}", tmp_path / f"w{number}.pid"
        words = ("run", str(folder), "--name", f"witness.example/{number}", "--port", "0", "--pidfile", str(pidfile))
        process = subprocess.Popen(program("witness", *words), env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60.0
        while not pidfile.is_file() or not pidfile.read_text(encoding="ascii").endswith("\n"):
            assert time.monotonic() < until
            time.sleep(0.05)
        port = pidfile.read_text(encoding="ascii").split()[1]
        process.terminate()
        process.wait(120)
        told = subprocess.run(
            program("witness", "key", str(folder), "--json"), env=ENVIRONMENT, capture_output=True, check=True
        )
        lines.append(f"witness w{number} {json.loads(told.stdout)['keys'][0]} http://127.0.0.1:{port}")
    return lines


def follow(tmp_path: Path, lines: list[str], log_key: str) -> list["subprocess.Popen[bytes]"]:
    """Let both witnesses follow a log, at their old ports."""
    return [
        subprocess.Popen(
            program("witness", "run", str(tmp_path / f"w{n}"), "--follow", log_key, "--port", line.rpartition(":")[2]),
            env=ENVIRONMENT,
            stderr=subprocess.DEVNULL,
        )
        for n, line in enumerate(lines, start=1)
    ]


def edit(folder: Path) -> None:
    """Change one noted record and make everything after it anew, as who holds the machine and the log's key can."""
    evidence = folder / "evidence"
    store = SqliteRecords(evidence / "records.sqlite3", read_only=True)
    bodies = [json.loads(data) for data in store.read()]
    store.close()
    at = next(n for n, body in enumerate(bodies) if body["kind"] == "leap-table")
    bodies[at]["expires"] = "another day"
    for path in evidence.glob("records.sqlite3*"):
        path.unlink()
    chain, records = Chain(), []
    for body in bodies:
        kind = body.pop("kind")
        del body["seq"], body["prev"]
        one, chain = seal(kind, body, chain)
        records.append((one.seq, one.data))
    again = SqliteRecords(evidence / "records.sqlite3")
    again.append(records)
    again.close()
    shutil.rmtree(evidence / "log")
    key = private_key((evidence / "signer" / KEY).read_text(encoding="utf-8"))
    empty = signed(Checkpoint(key.name, 0, EMPTY_ROOT).text, [signer_of(key, time_s=1)])
    (evidence / "signer" / SIGNED).write_bytes(empty)
    (evidence / "witnessed").unlink(missing_ok=True)
    (folder / "run" / "state.sqlite3").unlink(missing_ok=True)


@pytest.mark.acceptance
def test_a_folder_that_was_put_back_and_a_log_that_was_edited_are_convicted_by_their_witnesses(
    tmp_path: Path, witnesses: list[str]
) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    write_lab(lab, text=WITH_WITNESSES)
    policy = "\n".join([*witnesses, "group both 2 w1 w2", "quorum both\n"])
    (lab / "witnesses.policy").write_text(policy, encoding="ascii")
    first = up(lab, 3.0)
    assert (first.witnessed, first.trouble) == (-1, ""), "the witnesses are away, and nothing waited for them"
    running = follow(tmp_path, witnesses, first.log_key)
    try:
        shutil.copytree(lab, tmp_path / "older")
        second = up(lab, 12.0)
        assert second.witnessed == second.published == second.size > first.size
        assert second.contradictions == []
        older = up(tmp_path / "older", 4.0)
        assert older.size < second.size
        assert {(one.what, one.size) for one in older.contradictions} == {("rollback", second.size)}
        edit(lab)
        third = up(lab, 10.0)
        assert third.size > second.size
        assert {(one.what, one.size) for one in third.contradictions} == {("fork", second.size)}
        assert third.witnessed < 0
        assert len(list((lab / "evidence" / "contradictions").iterdir())) == 2
    finally:
        for one in running:
            one.terminate()
            one.wait(120)
