"""What the journal has said is written is written; the rest waits in its order, and is bounded."""

import shutil
import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.daemon_faults.laboratories import KINDS, FaultyStore

from truechimer.daemon.records import journal as rooms
from truechimer.daemon.records.journal import Journal
from truechimer.evidence.record import Record, RecordMisuse
from truechimer.store.sqlite_records import SqliteRecords


class Clock:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def records(first: int, count: int, *, size: int = 20) -> tuple[Record, ...]:
    return tuple(Record(seq, "readings", b"%d" % seq + b"x" * size) for seq in range(first, first + count))


@given(
    groups=st.lists(st.integers(1, 5), min_size=1, max_size=20),
    failing=st.sets(st.integers(0, 30)),
    after=st.booleans(),
    kind=st.sampled_from(sorted(KINDS)),
)
def test_the_store_holds_a_beginning_of_all_records_in_whole_groups_and_in_the_end_all(
    groups: list[int], failing: set[int], after: bool, kind: str
) -> None:
    store, clock = FaultyStore(), Clock()
    store.fails, store.after, store.error = lambda number: number in failing, after, KINDS[kind]
    journal, first, ends = Journal(store, monotonic_s=clock), 0, {0}
    for count in groups:
        journal.keep(records(first, count))
        first += count
        ends.add(first)
        acknowledged = journal.commit()
        assert acknowledged is (journal.trouble is None)
        assert [seq for seq, _ in store.held] == list(range(len(store.held)))
        assert len(store.held) in ends
        if acknowledged:
            assert len(store.held) == first
            assert (journal.waiting, journal.waiting_bytes) == (0, 0)
        clock.now_s += 0.3
    while not journal.commit():
        clock.now_s += 1.0
    assert store.held == [(record.seq, record.data) for record in records(0, first)]


def test_a_store_that_failed_is_asked_again_soon_then_once_a_second_and_at_once_where_that_is_asked() -> None:
    store, clock = FaultyStore(), Clock()
    store.fails = lambda _: True
    journal = Journal(store, monotonic_s=clock)
    journal.keep(records(0, 1))
    asked = []
    for _ in range(1_000):
        before = store.calls
        assert not journal.commit()
        if store.calls > before:
            asked.append(clock.now_s)
        clock.now_s += 0.01
    waits = [later - sooner for sooner, later in pairwise(asked)]
    assert waits[0] <= 0.07
    assert max(waits) <= rooms.LAST_RETRY_S + 0.02
    assert waits[-1] >= 0.9 * rooms.LAST_RETRY_S
    before = store.calls
    journal.commit(at_once=True)
    assert store.calls == before + 1
    since_s = journal.trouble.since_s if journal.trouble else None
    assert since_s == 100.0  # of the first failure, not of the last
    store.fails = lambda _: False
    assert journal.commit(at_once=True)
    assert journal.trouble is None


def test_what_may_wait_is_bounded_and_a_store_that_works_is_never_full() -> None:
    store, clock = FaultyStore(), Clock()
    journal = Journal(store, monotonic_s=clock, most_waiting_bytes=1_000)
    journal.keep(records(0, 100))
    assert not journal.is_full  # nothing is wrong: it was only not asked yet
    store.fails = lambda _: True
    assert not journal.commit()
    assert journal.is_full
    store.fails = lambda _: False
    assert journal.commit(at_once=True)
    assert not journal.is_full


def test_a_long_queue_is_written_in_pieces_that_are_whole_groups() -> None:
    store = FaultyStore()
    journal = Journal(store)
    for group in range(1_000):
        journal.keep(records(5 * group, 5))
    store.fails = lambda number: number == 1
    assert not journal.commit()
    assert len(store.held) == rooms.GROUP_RECORDS
    assert journal.waiting == 5_000 - rooms.GROUP_RECORDS
    assert journal.commit(at_once=True)
    assert len(store.held) == 5_000


@pytest.fixture
def written(tmp_path: Path) -> Iterator[tuple[Journal, Path]]:
    """A journal on a real file."""
    folder = tmp_path / "evidence"
    folder.mkdir()
    store = SqliteRecords(folder / "records.sqlite3")
    journal = Journal(store, path=store.path)
    journal.keep(records(0, 3))
    assert journal.commit()
    yield journal, folder
    store.close()


def on_disk(path: Path) -> int:
    store = SqliteRecords(path, read_only=True)
    try:
        return sum(1 for _ in store.read())
    finally:
        store.close()


def test_a_file_that_was_moved_takes_nothing_until_it_is_back(written: tuple[Journal, Path]) -> None:
    journal, folder = written
    folder.rename(folder.with_name("elsewhere"))
    journal.keep(records(3, 2))
    assert not journal.commit()
    assert "moved, deleted or replaced" in (journal.trouble.says if journal.trouble else "")
    folder.with_name("elsewhere").rename(folder)
    assert journal.commit(at_once=True)
    assert on_disk(folder / "records.sqlite3") == 5


def test_a_file_that_was_deleted_or_replaced_acknowledges_nothing(written: tuple[Journal, Path]) -> None:
    journal, folder = written
    shutil.rmtree(folder)
    journal.keep(records(3, 2))
    assert not journal.commit(at_once=True)
    folder.mkdir()
    (folder / "records.sqlite3").touch()
    assert not journal.commit(at_once=True)
    assert (folder / "records.sqlite3").stat().st_size == 0


def test_a_file_that_another_process_locks_is_written_when_it_lets_go(written: tuple[Journal, Path]) -> None:
    journal, folder = written
    other = sqlite3.connect(folder / "records.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal.keep(records(3, 2))
    assert not journal.commit()
    assert "another process" in (journal.trouble.says if journal.trouble else "")
    other.execute("ROLLBACK")
    other.close()
    assert journal.commit(at_once=True)
    assert on_disk(folder / "records.sqlite3") == 5


def test_a_record_of_a_kind_that_nobody_registered_is_never_written() -> None:
    store = FaultyStore()
    journal = Journal(store)
    with pytest.raises(RecordMisuse, match="register it"):
        journal.keep((*records(0, 1), Record(1, "reading", b"{}")))
    assert journal.commit()
    assert store.held == []
