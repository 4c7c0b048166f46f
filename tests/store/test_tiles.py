"""The log on a disk: nothing acknowledged is lost by a cut anywhere, and recovery is the same work once more."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from random import Random

import pytest
from tests.evidence.logs import ORIGIN, POLICY_OF_LOG, POLICY_TEXT, WITNESSES, entry
from tests.store.tile_power import Journal, LossyFiles, Memory, Power, PowerCut

from truechimer.evidence.audit import audit
from truechimer.evidence.checkpoint import checkpoint
from truechimer.evidence.cosignature import Cosigner
from truechimer.evidence.entry import LONG_RECORD, entry_of, hash_of_long
from truechimer.evidence.log_policy import judged, log_policy
from truechimer.evidence.merkle import check_consistency
from truechimer.evidence.record import GENESIS, Chain, read, seal
from truechimer.quorum.note import parsed, signed
from truechimer.store.fabric import StoreCorrupt, StoreFull, StoreMisuse
from truechimer.store.log_files import LogFiles
from truechimer.store.tiles import TiledLog

ROOT = Path(__file__).parents[2]
POLICY = log_policy(POLICY_OF_LOG)
ENDLESS = 10**9


def log_on(files: LossyFiles, journal: Journal, memory: Memory) -> TiledLog:
    return TiledLog(files, origin=ORIGIN, records=journal.read, signer=memory)


def test_what_the_journal_holds_is_published_and_holds(tmp_path: Path) -> None:
    journal = Journal([entry(n) for n in range(700)])
    memory = Memory(journal, Power(ENDLESS))
    files = LogFiles(tmp_path / "log")
    log = TiledLog(files, origin=ORIGIN, records=journal.read, signer=memory)
    made = log.advance()
    assert made is not None
    assert (made.taken, made.checkpoint.size) == (700, 700)
    assert audit(files.read, POLICY).holds
    assert log.advance() is None
    journal.records += [entry(n) for n in range(700, 800)]
    log.settle()
    again = log.advance()
    assert again is not None
    assert audit(files.read, POLICY).trusted.checkpoint.size == 800
    log.settle()
    assert not (tmp_path / "log" / "tile" / "0" / "001.p").exists(), "partial forms of filled tiles are gone"
    opened = TiledLog(files, origin=ORIGIN, records=journal.read, signer=memory)
    assert opened.size == 800
    assert opened.advance() is not None, "after a start the checkpoint is published once more"


def test_an_empty_log_has_a_checkpoint() -> None:
    files = LossyFiles({}, Power(ENDLESS))
    journal = Journal()
    assert log_on(files, journal, Memory(journal, files.power)).advance() is not None
    assert audit(files.read, POLICY).holds


def live(seed: int) -> None:
    """A life with power cuts: appends, rounds, settlements, and after each cut the same again from what was left."""
    rng = Random(seed)
    journal = Journal()
    power = Power(0)
    memory = Memory(journal, power)
    disk: dict[str, bytes] = {}
    acknowledged = 0
    for _ in range(12):
        power.left = rng.choice((3, 12, 40, 120))
        files = LossyFiles(disk, power)
        try:
            log = log_on(files, journal, memory)
            while True:
                journal.records += [entry(len(journal.records) + n) for n in range(rng.choice((0, 1, 3, 200, 260)))]
                made = log.advance()
                acknowledged = max(acknowledged, made.checkpoint.size if made else 0)
                if rng.random() < 0.3:
                    log.settle()
        except PowerCut:
            disk = files.cut(rng)
    power.left = ENDLESS
    files = LossyFiles(disk, power)
    log_on(files, journal, memory).advance()
    found = audit(files.read, POLICY)
    assert found.holds, (seed, found.faults[:3])
    assert found.trusted.checkpoint.size == len(journal.records) >= acknowledged
    assert all(a.size <= b.size for a, b in zip(memory.signed, memory.signed[1:], strict=False))


@pytest.mark.parametrize("seed", range(5))
def test_power_cuts_anywhere_lose_nothing_that_was_acknowledged(seed: int) -> None:
    live(seed)


@pytest.mark.acceptance
def test_power_cuts_in_two_hundred_lives_lose_nothing() -> None:
    for seed in range(1000, 1200):
        live(seed)


def test_a_journal_that_lost_records_is_refused_and_nothing_more_is_signed() -> None:
    journal = Journal([entry(n) for n in range(300)])
    files = LossyFiles({}, Power(ENDLESS))
    memory = Memory(journal, files.power)
    log_on(files, journal, memory).advance()
    journal.records = journal.records[:299]
    with pytest.raises(StoreCorrupt, match="lost records"):
        log_on(LossyFiles({}, files.power), journal, memory).advance()
    assert len(memory.signed) == 1


def test_tiles_that_were_settled_and_changed_since_are_refused() -> None:
    journal = Journal([entry(n) for n in range(300)])
    files = LossyFiles({}, Power(ENDLESS))
    memory = Memory(journal, files.power)
    log = log_on(files, journal, memory)
    log.advance()
    log.settle()
    path = "tile/0/001.p/44"
    for data in (files.now[path][:-1] + b"\x00", files.now[path][:-32], None):
        changed = {name: one for name, one in files.now.items() if name != path or data is not None}
        if data is not None:
            changed[path] = data
        with pytest.raises(StoreCorrupt):
            log_on(LossyFiles(changed, files.power), journal, memory)
    with pytest.raises(StoreCorrupt):
        log_on(LossyFiles(files.now | {"settled": b"x\n"}, files.power), journal, memory)


@pytest.mark.parametrize("size", [256, 300])
def test_another_journal_is_found_before_anything_of_it_is_taken_in(size: int) -> None:
    journal = Journal([entry(n) for n in range(size)])
    files = LossyFiles({}, Power(ENDLESS))
    memory = Memory(journal, files.power)
    log = log_on(files, journal, memory)
    log.advance()
    log.settle()
    before = dict(files.now)
    journal.records = [*journal.records[: size - 1], b"another", *[entry(n) for n in range(size, size + 50)]]
    for one in (log, log_on(files, journal, memory)):
        with pytest.raises(StoreCorrupt, match="not the one that was signed"):
            one.advance()
    journal.records = journal.records[: size - 1]
    with pytest.raises(StoreCorrupt, match="has lost records"):
        log.advance()
    # not even where nothing was settled yet, and all is taken in again
    unsettled = {name: data for name, data in before.items() if name != "settled"}
    for records in (journal.records, [b"another", *journal.records[1:], b"more"]):
        journal.records = records
        again = LossyFiles(unsettled, files.power)
        with pytest.raises(StoreCorrupt):
            log_on(again, journal, memory).advance()
        assert again.now == unsettled
    assert (files.now, len(memory.signed)) == (before, 1)


def test_a_log_that_waits_for_witnesses_publishes_its_first_checkpoint_and_then_cosigned_ones_only() -> None:
    journal = Journal([entry(n) for n in range(10)])
    files = LossyFiles({}, Power(ENDLESS))
    memory = Memory(journal, files.power)

    def waiting(files: LossyFiles) -> TiledLog:
        return TiledLog(files, origin=ORIGIN, records=journal.read, signer=memory, waits=True)

    log, notes = waiting(files), []
    for n in (300, 320, 350):
        made = log.advance()
        assert made is not None
        notes.append(made.note)
        journal.records += [entry(k) for k in range(len(journal.records), n)]
    assert (log.shown, log.size) == (10, 320)
    text = parsed(notes[1]).text
    cosigned = signed(text, [Cosigner(WITNESSES["w1"], 5)], also=parsed(notes[1]).signatures)
    assert log.show(cosigned)
    assert not log.show(notes[0]), "never back to an earlier one"
    assert files.now["checkpoint"] == cosigned
    with pytest.raises(StoreMisuse):
        waiting(LossyFiles({}, files.power)).show(notes[1])
    # after a cut the tiles of what is shown are there again, under the same names
    lost = {name: data for name, data in files.now.items() if not name.startswith("tile/") and name != "settled"}
    again = LossyFiles(lost, files.power)
    log = waiting(again)
    assert log.shown == 300
    log.advance()
    assert (again.now["checkpoint"], log.size) == (cosigned, 350)
    assert audit({k: v for k, v in again.now.items() if k != "tile/0/001.p/94"}.get, POLICY).holds
    assert log.root_at(300) == checkpoint(parsed(cosigned).text).root
    check_consistency(300, log.root_at(300), 350, new_root=log.root_at(350), proof=log.proof(300, 350))


def test_a_signer_that_fails_is_asked_again_and_nothing_is_published_before() -> None:
    journal = Journal([entry(n) for n in range(10)])
    power = Power(ENDLESS)
    files = LossyFiles({}, power)
    memory = Memory(journal, power)
    log = log_on(files, journal, memory)
    power.left = 4  # the tiles are written, the signature fails
    with pytest.raises(PowerCut):
        log.advance()
    assert files.read("checkpoint") is None
    power.left = ENDLESS
    made = log.advance()
    assert made is not None
    assert made.checkpoint.size == 10


def test_witnesses_lines_are_added_to_the_checkpoint_they_are_of_and_survive_a_start() -> None:
    journal = Journal([entry(n) for n in range(10)])
    files = LossyFiles({}, Power(ENDLESS))
    memory = Memory(journal, files.power)
    log = log_on(files, journal, memory)
    with pytest.raises(StoreMisuse):
        log.cosigned(b"", ())
    made = log.advance()
    assert made is not None
    text = made.checkpoint.text
    lines = parsed(signed(text, [Cosigner(WITNESSES[name], 5) for name in ("w1", "w2")])).signatures
    assert log.cosigned(text, lines)
    log_on(files, journal, memory).advance()
    assert judged(files.now["checkpoint"], log_policy(POLICY_TEXT)).witnessed == {"w1": 5, "w2": 5}
    journal.records.append(entry(10))
    log.advance()
    assert not log.cosigned(text, lines)


def test_a_long_record_stands_in_the_log_by_its_hash_and_the_chain_reads_through_it() -> None:
    chain = Chain(0, GENESIS)
    one, chain = seal("readings", {"x": "y" * 70_000}, chain)
    two, _ = seal("readings", {"x": "z"}, chain)
    stands = entry_of(one.data)
    body = json.loads(stands)
    assert (body["kind"], body["of_kind"], body["seq"], body["prev"]) == (LONG_RECORD, "readings", 0, GENESIS)
    assert hash_of_long(stands) == json.loads(two.data)["prev"]
    assert entry_of(two.data) == two.data
    assert hash_of_long(two.data) is None
    read(stands, Chain(0, GENESIS))
    for odd in (b"\xff" + stands, b'{"kind":"long-record"}', b'["kind":"long-record"'):
        assert hash_of_long(odd) is None


def test_files_are_whole_and_a_fault_of_the_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = LogFiles(tmp_path)
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(fd: int) -> None:
        order.append("sync d" if stat.S_ISDIR(os.fstat(fd).st_mode) else "sync f")
        fsync(fd)

    def renamed(one: Path, other: Path) -> Path:
        order.append("rename")
        return replace(one, other)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    files.replace_durably("checkpoint", b"x")
    assert order == ["sync f", "rename", "sync d"], "content, then name, then the name's folder"
    order.clear()
    files.write({"tile/0/000": b"y" * 32})
    assert order == ["rename"]
    files.settle()
    assert order.count("sync f") == 1
    assert order.count("sync d") >= 3, "the folders that were made are on the disk too"
    order.clear()
    files.settle()
    assert order == []
    assert files.read("tile/0/000") == b"y" * 32
    assert files.read("tile/0/001") is None
    assert files.read("checkpoint/x") is None

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StoreFull, match="make room"):
        files.write({"tile/0/002": b"z"})


def test_settling_in_another_thread_leaves_what_is_written_meanwhile(tmp_path: Path) -> None:
    journal = Journal()
    files = LogFiles(tmp_path / "log")
    memory = Memory(journal, Power(ENDLESS))
    log = TiledLog(files, origin=ORIGIN, records=journal.read, signer=memory)
    end = threading.Event()

    def settle() -> None:
        while not end.is_set():
            log.settle()

    thread = threading.Thread(target=settle)
    thread.start()
    try:
        for number in range(60):
            journal.records += [entry(len(journal.records) + n) for n in range(number % 23)]
            log.advance()
    finally:
        end.set()
        thread.join()
    log.settle()
    again = TiledLog(files, origin=ORIGIN, records=journal.read, signer=memory)
    assert again.size == len(journal.records)
    assert audit(files.read, POLICY).holds


def killed_lives(folder: Path, kills: int, seed: int) -> None:
    """Kill the process that keeps a log, and its signer with it, at random moments; look after each."""
    rng = Random(seed)
    acknowledged = 0
    for _ in range(kills):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.store.killed_log", str(folder), str(rng.randrange(10**6))],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        lines = rng.choice((1, 2, 5, 20))
        for _ in range(lines):
            acknowledged = max(acknowledged, int(process.stdout.readline()))
        timer = threading.Timer(rng.random() * 0.02, os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        for line in process.stdout.read().splitlines(keepends=True):
            acknowledged = max(acknowledged, int(line) if line.endswith(b"\n") else 0)
        process.wait()
        timer.join()
        process.stdout.close()
    check = subprocess.run(
        [sys.executable, "-m", "tests.store.killed_log", str(folder), "check", str(acknowledged)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert check.returncode == 0, check.stdout + check.stderr


@pytest.mark.slow
def test_a_log_and_its_signer_that_are_killed_lose_nothing_acknowledged(tmp_path: Path) -> None:
    killed_lives(tmp_path / "lab", 6, 11)


@pytest.mark.acceptance
def test_two_hundred_kills_lose_nothing_acknowledged(tmp_path: Path) -> None:
    killed_lives(tmp_path / "lab", 200, 12)
