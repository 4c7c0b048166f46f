"""The fabric on SQLite beyond the model: threads, processes, older files, folders that cannot be written, wrong use."""

import math
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.store.faulty_disk import ROOT
from tests.waits import PATIENCE_S, until

from truechimer.errors import Misuse
from truechimer.store import sqlite_schema
from truechimer.store.fabric import (
    ABSENT,
    LARGEST_BYTES,
    Item,
    StoreClosed,
    StoreConflict,
    StoreCorrupt,
    StoreFull,
    StoreIoFailed,
    StoreMisuse,
    StoreReadOnly,
    StoreRejected,
)
from truechimer.store.hearing import KEPT
from truechimer.store.sqlite_check import Check
from truechimer.store.sqlite_errors import rejection
from truechimer.store.sqlite_fabric import SqliteFabric
from truechimer.store.sqlite_file import set_aside
from truechimer.store.sqlite_records import SqliteRecords

BEFORE_THE_FABRIC = """
CREATE TABLE IF NOT EXISTS records (seq INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TRIGGER IF NOT EXISTS records_stay BEFORE UPDATE ON records BEGIN SELECT RAISE(ABORT, 'records are never
changed'); END;
CREATE TRIGGER IF NOT EXISTS records_remain BEFORE DELETE ON records BEGIN SELECT RAISE(ABORT, 'records are never
removed'); END;
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite3"


@pytest.fixture
def fabric(file: Path) -> Iterator[SqliteFabric]:
    opened = SqliteFabric(file)
    yield opened
    opened.close()


# ---- threads ---------------------------------------------------------------------------------------------------------


def test_threads_share_transactions_and_each_gets_its_own_place(fabric: SqliteFabric) -> None:
    places: dict[str, int] = {}
    begin = threading.Barrier(16)

    def work(worker: int) -> None:
        begin.wait()
        for number in range(20):
            item_id = f"{worker}/{number}"
            places[item_id] = fabric.append("records", item_id.encode(), item_id=item_id)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {entry.item_id: entry.seq for entry in fabric.read("records")} == places
    assert sorted(places.values()) == list(range(320))
    assert fabric._writer.transactions < 200


def test_a_conflict_of_one_thread_does_not_undo_the_others_of_its_transaction(fabric: SqliteFabric) -> None:
    fabric.append("records", b"first", item_id="taken")
    outcomes: list[str] = []
    begin = threading.Barrier(12)

    def work(worker: int) -> None:
        begin.wait()
        for number in range(10):
            try:
                fabric.append("records", b"other", item_id="taken" if worker % 2 else f"{worker}/{number}")
                outcomes.append("stored")
            except StoreConflict:
                outcomes.append("conflict")

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("stored") == outcomes.count("conflict") == 60
    assert fabric.health().ends == {"records": 61}


def test_whatever_a_write_raises_goes_to_who_asked_and_the_store_goes_on(fabric: SqliteFabric) -> None:
    with pytest.raises(ZeroDivisionError):
        fabric._writer.run(lambda _: 1 // 0)
    with pytest.raises(KeyboardInterrupt):
        fabric._writer.run(_interrupted)
    assert fabric.append("records", b"x", item_id="0") == 0


def _interrupted(_: sqlite3.Connection) -> None:
    raise KeyboardInterrupt


def test_who_waits_is_told_where_the_leading_thread_is_interrupted(fabric: SqliteFabric) -> None:
    inside, waiting = threading.Event(), threading.Event()
    ends: list[BaseException | int] = []

    def lead(_: sqlite3.Connection) -> None:
        inside.set()
        assert waiting.wait(120)
        raise KeyboardInterrupt

    def leader() -> None:
        try:
            fabric._writer.run(lead)
        except KeyboardInterrupt as error:
            ends.append(error)

    def follower() -> None:
        assert inside.wait(120)
        waiting.set()
        ends.append(fabric.append("records", b"x", item_id="0"))

    threads = [threading.Thread(target=leader), threading.Thread(target=follower)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(ends) == 2
    assert 0 in ends


# ---- following -------------------------------------------------------------------------------------------------------


def test_a_follower_gets_what_comes_and_is_let_go_at_the_end(fabric: SqliteFabric) -> None:
    got: list[bytes] = []
    first = threading.Event()

    def follow() -> None:
        for entry in fabric.read("records", wait_s=math.inf):
            got.append(entry.data)
            first.set()

    follower = threading.Thread(target=follow)
    follower.start()
    fabric.append("records", b"one", item_id="1")
    assert first.wait(120)
    fabric.append("records", b"two", item_id="2")
    until(lambda: len(got) == 2)
    fabric.close()
    follower.join(PATIENCE_S)
    assert not follower.is_alive()
    assert got == [b"one", b"two"]


def test_a_reader_that_waits_ends_when_nothing_comes(fabric: SqliteFabric) -> None:
    began = time.monotonic()
    assert list(fabric.watch("", wait_s=0.1)) == []
    assert time.monotonic() - began >= 0.1


def test_another_process_reads_follows_and_writes_the_same_file(fabric: SqliteFabric, file: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from truechimer.store.sqlite_fabric import SqliteFabric\n"
        "f = SqliteFabric(Path(sys.argv[1]))\n"
        "print(f.put('lease', b'other', expect=f.get('lease').rev), flush=True)\n"
        "print(f.append('records', b'theirs', item_id='theirs'), flush=True)\n"
        "print(next(f.read('records', after=1, wait_s=10)).data)"
    )
    rev = fabric.put("lease", b"mine", expect=ABSENT)
    fabric.append("records", b"ours", item_id="ours")
    with subprocess.Popen(
        [sys.executable, "-c", program, str(file)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT / "src")},
    ) as other:
        assert other.stdout is not None
        assert int(other.stdout.readline()) == rev + 1
        with pytest.raises(StoreConflict):
            fabric.put("lease", b"mine", expect=rev)
        assert int(other.stdout.readline()) == 1
        assert (fabric.health().ends, fabric.health().rev) == ({"records": 2}, rev + 1)
        assert fabric.append("records", b"ours again", item_id="ours-again") == 2
        assert other.stdout.read().strip() == "b'ours again'"
    assert [entry.data for entry in fabric.read("records")] == [b"ours", b"theirs", b"ours again"]


def test_a_reader_beside_the_writer_sees_what_is_acknowledged(fabric: SqliteFabric, file: Path) -> None:
    fabric.put("a", b"1", expect=None)
    reader = SqliteFabric(file, read_only=True, open_check=Check.TAIL)
    fabric.append("records", b"x", item_id="0")
    assert [entry.data for entry in reader.read("records")] == [b"x"]
    assert reader.health().ends == {"records": 1}
    assert reader.health().rev == 1
    assert not reader.health().writable
    with pytest.raises(StoreMisuse, match="read-only"):
        reader.append("records", b"y", item_id="1")
    reader.close()


def test_a_lease_of_another_boot_has_no_meaning(file: Path) -> None:
    before = SqliteFabric(file, boot_id="first boot")
    before.append("jobs", b"work", item_id="0")
    (lent,) = before.take("jobs", 1, lease_s=1e6)
    assert before.take("jobs", 1, lease_s=1e6) == ()
    before.close()
    after = SqliteFabric(file, boot_id="second boot")
    (again,) = after.take("jobs", 1, lease_s=1e6)
    assert (again.attempt, again.token > lent.token) == (2, True)
    assert not after.done(lent)
    assert after.done(again)
    after.close()


# ---- files -----------------------------------------------------------------------------------------------------------


def old_file(path: Path, number: int) -> Path:
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=WAL")
    db.executescript(BEFORE_THE_FABRIC)
    db.executemany("INSERT INTO records VALUES (?, ?)", [(seq, b"record %d" % seq) for seq in range(number)])
    db.commit()
    db.close()
    return path


def test_records_from_before_the_fabric_are_read_as_they_are_and_brought_up_when_written(tmp_path: Path) -> None:
    path = old_file(tmp_path / "records.sqlite3", 300)
    before = path.read_bytes()
    reader = SqliteRecords(path, read_only=True)
    assert reader.count() == 300
    assert list(reader.read(first=298)) == [b"record 298", b"record 299"]
    reader.close()
    whole = SqliteFabric(path, read_only=True)
    assert len(list(whole.read("records"))) == 300
    assert whole.get("a") is None
    assert list(whole.watch("")) == []
    whole.check()
    whole.close()
    assert path.read_bytes() == before
    for _ in range(2):
        writer = SqliteRecords(path)
        writer.append([(300, b"record 300")])
        assert list(writer.read()) == [b"record %d" % seq for seq in range(301)]
        writer.close()
    SqliteFabric(path, open_check=Check.WHOLE).close()
    with sqlite3.connect(path) as db, pytest.raises(sqlite3.IntegrityError, match="never changed"):
        db.execute("UPDATE records SET data = x'00' WHERE seq = 7")
    db.close()


def test_records_say_where_they_belong(tmp_path: Path) -> None:
    records = SqliteRecords(tmp_path / "records.sqlite3")
    records.append([])
    records.append([(0, b"a"), (1, b"b")])
    records.append([(1, b"b"), (2, b"c")])
    for wrong in ([(2, b"other")], [(4, b"e")], [(1, b"b"), (2, b"other")]):
        with pytest.raises(StoreConflict):
            records.append(wrong)
    with pytest.raises(StoreMisuse):
        records.append([(3, b"d"), (5, b"f")])
    assert records.count() == 3
    assert records.failing() is None
    records.close()


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.sqlite3"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs (a)")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreRejected, match="another program"):
        SqliteFabric(path)
    assert path.read_bytes() == before
    (tmp_path / "text").write_bytes(b"this is no database, and long enough to be looked at as one" * 20)
    with pytest.raises(StoreCorrupt):
        SqliteFabric(tmp_path / "text")


def test_a_file_of_a_later_version_says_so(file: Path) -> None:
    SqliteFabric(file).close()
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(StoreRejected, match="form 9"):
        SqliteFabric(file)


def test_a_file_that_is_not_there_is_not_made_by_a_reader(file: Path) -> None:
    with pytest.raises(StoreIoFailed, match="no such file"):
        SqliteFabric(file, read_only=True)
    assert not file.exists()
    with pytest.raises(StoreRejected):
        SqliteFabric(file / "not" / "a" / "folder")


def test_a_copy_of_the_folder_of_a_running_store_is_read(fabric: SqliteFabric, file: Path, tmp_path: Path) -> None:
    for number in range(5):
        fabric.append("records", b"%d" % number, item_id=str(number))
    copy = tmp_path / "copy"
    copy.mkdir()
    for one in file.parent.glob("state.sqlite3*"):
        if not one.name.endswith("-shm"):
            shutil.copy(one, copy / one.name)
    reader = SqliteFabric(copy / "state.sqlite3", read_only=True)
    assert len(list(reader.read("records"))) == 5
    reader.close()


def test_what_was_acknowledged_and_is_gone_after_a_failure_is_said(fabric: SqliteFabric, file: Path) -> None:
    fabric.append("records", b"x", item_id="0")
    fabric.put("a", b"1", expect=None)
    fabric._writer._drop()
    other = SqliteFabric(file.with_name("other.sqlite3"))
    other.append("records", b"y", item_id="y")
    other.close()
    fabric._reader = None if fabric._reader is None else fabric._reader.close()
    for one in file.parent.glob("state.sqlite3*"):
        one.unlink()
    file.with_name("other.sqlite3").rename(file)
    with pytest.raises(StoreCorrupt, match="the keys are at revision 0 where 1 was on the disk"):
        fabric.append("records", b"z", item_id="1")
    assert not fabric.health().writable


def test_a_damaged_file_is_set_aside_and_the_new_one_gives_no_old_revision(file: Path) -> None:
    fabric = SqliteFabric(file)
    rev = [fabric.put("a", b"%d" % number, expect=None) for number in range(4)][-1]
    fabric.close()
    file.write_bytes(b"\0" * 5000)
    with pytest.raises(StoreCorrupt):
        SqliteFabric(file)
    assert set_aside(file) == file.with_name("state.sqlite3.damaged-1")
    assert set_aside(file) is None
    rebuilt = SqliteFabric(file, revs_above=rev)
    assert rebuilt.get("a") is None
    assert rebuilt.put("a", b"again", expect=ABSENT) == rev + 1
    rebuilt.close()
    SqliteFabric(file, revs_above=0).close()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, StoreFull),
        (sqlite3.SQLITE_READONLY, StoreReadOnly),
        (sqlite3.SQLITE_IOERR_FSYNC, StoreIoFailed),
        (sqlite3.SQLITE_CANTOPEN, StoreIoFailed),
        (sqlite3.SQLITE_CORRUPT, StoreCorrupt),
        (sqlite3.SQLITE_NOTADB, StoreCorrupt),
        (sqlite3.SQLITE_MISUSE, StoreRejected),
    ],
)
def test_each_failure_of_sqlite_has_its_own_type(file: Path, code: int, kind: type[StoreRejected]) -> None:
    error = sqlite3.OperationalError("it failed")
    error.sqlite_errorcode = code
    assert type(rejection(file, error, "written")) is kind
    assert "it failed" in str(rejection(file, error, "written"))


# ---- wrong use -------------------------------------------------------------------------------------------------------


def test_wrong_names_sizes_and_leases_are_misuse(fabric: SqliteFabric) -> None:
    for name in ("", "Records", "9a", "a-b", "a b", 'a"b', "sqlite_x", "fabric_keys", "a" * 64, "é"):
        with pytest.raises(StoreMisuse, match="stream"):
            fabric.append(name, b"", item_id="0")
        with pytest.raises(StoreMisuse, match="stream"):
            fabric.read(name)
    for name in ("", "a b", "é", "x" * 256, "a\n"):
        with pytest.raises(StoreMisuse):
            fabric.put(name, b"", expect=None)
        with pytest.raises(StoreMisuse):
            fabric.append("records", b"", item_id=name)
    for n, lease_s in ((0, 1.0), (1, 0.0), (1, math.inf), (1, math.nan)):
        with pytest.raises(StoreMisuse):
            fabric.take("jobs", n, lease_s=lease_s)
    with pytest.raises(Misuse):
        fabric.put("a", bytes(LARGEST_BYTES + 1), expect=None)
    with pytest.raises(Misuse):
        SqliteFabric(fabric.path, open_check=Check.NOTHING)
    assert fabric.append_all("records", []) == ()
    assert fabric.take("jobs", 1, lease_s=1.0) == ()
    assert fabric.health().ends == {}


def test_a_closed_store_says_so_and_closing_twice_is_harmless(fabric: SqliteFabric) -> None:
    hearing = fabric.hear("a")
    fabric.close()
    fabric.close()
    for call in (
        lambda: fabric.append("records", b"", item_id="0"),
        lambda: fabric.get("a"),
        lambda: list(fabric.read("records")),
        lambda: fabric.tell("a", b""),
        fabric.check,
    ):
        with pytest.raises(StoreClosed):
            call()
    with pytest.raises(StoreClosed):
        fabric._writer.run(lambda _: None)
    assert hearing.next(wait_s=5.0) is None


def test_who_does_not_keep_up_with_what_is_told_misses_the_oldest(fabric: SqliteFabric) -> None:
    hearing = fabric.hear("page")
    for number in range(KEPT + 3):
        fabric.tell("page", b"%d" % number)
    assert hearing.missed == 3
    assert hearing.next(wait_s=0.0) == b"3"
    hearing.close()
    fabric.tell("page", b"nobody listens")
    assert hearing.missed == 3


def test_items_of_one_batch_may_repeat_each_other(fabric: SqliteFabric) -> None:
    assert fabric.append_all("records", [Item("a", b"1"), Item("b", b"2"), Item("a", b"1")]) == (0, 1, 0)
    assert fabric._file.ends == fabric.health().ends == {"records": 2}
    with pytest.raises(StoreConflict):
        fabric.append_all("records", [Item("c", b"1"), Item("c", b"2")])
    assert fabric.health().ends == {"records": 2}


def test_the_quick_digest_of_an_entry_is_the_digest_of_its_parts() -> None:
    for seq, item_id, data in ((0, "a", b""), (10**12, "worker/7", b"\x00" * 300), (5, "~" * 255, bytes(range(256)))):
        assert sqlite_schema.entry_digest("records", seq, item_id, data) == sqlite_schema.digest(
            "records", seq, item_id, data
        )


def test_a_batch_in_which_one_id_is_there_already_goes_the_careful_way(tmp_path: Path) -> None:
    fabric = SqliteFabric(tmp_path / "s.sqlite3")
    try:
        fabric.append_all("records", [Item("a", b"1"), Item("b", b"2")])
        mixed = [Item("c", b"3"), Item("b", b"2"), Item("d", b"4")]
        assert fabric.append_all("records", mixed) == (2, 1, 3)
        with pytest.raises(StoreConflict):
            fabric.append_all("records", [Item("e", b"5"), Item("a", b"other")])
        assert fabric.append_all("records", [Item("f", b"6"), Item("f", b"6"), Item("g", b"7")]) == (4, 4, 5)
        assert [(entry.seq, entry.item_id) for entry in fabric.read("records")] == list(enumerate("abcdfg"))
    finally:
        fabric.close()
