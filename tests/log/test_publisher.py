"""What is committed is published by a process that delays nobody; what goes wrong is said and tried again."""

import os
import shutil
import stat
import threading
from pathlib import Path

import pytest
from tests.log.journals import ORIGIN, Journal, publisher

from truechimer.daemon.log.log_publisher import follow
from truechimer.daemon.log.log_state import LogState, TroubleKind, WitnessRow, read_state
from truechimer.daemon.log.signer import SignerProcess
from truechimer.daemon.log.tree_keeper import make_keeper
from truechimer.evidence.audit import audit
from truechimer.evidence.log_policy import log_policy
from truechimer.quorum.note import parsed
from truechimer.store.log_files import LogFiles


def whole(folder: Path, log_key: str) -> int:
    """The size of the published log, every entry of which is what was signed."""
    found = audit(LogFiles(folder / "log").read, log_policy(f"log {log_key}\nquorum none\n".encode()))
    assert found.holds, found.faults[:3]
    return found.trusted.checkpoint.size


def test_records_become_entries_and_a_start_goes_on_where_it_was(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.grow(300)
    one = publisher(tmp_path)
    assert not one.round()
    assert (one.state.trouble, one.state.size, one.state.published, one.state.origin) == ("", 300, 300, ORIGIN)
    key = tmp_path / "signer" / "log.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    journal.grow(5)
    one.close()
    told = read_state(tmp_path / "evidence.json")
    assert told is not None
    assert (told.size, told.quorum, told.witnessed) == (305, "none", -1)
    assert whole(tmp_path, told.log_key) == 305
    journal.grow(20)
    again = publisher(tmp_path, origin="")
    again.round()
    assert (again.state.origin, again.state.log_key) == (ORIGIN, told.log_key)
    again.close()
    assert whole(tmp_path, told.log_key) == 325


@pytest.mark.slow
def test_a_log_keeps_its_name_and_a_wrong_one_is_said(tmp_path: Path) -> None:
    Journal(tmp_path).grow(1)
    make_keeper(tmp_path / "signer", origin=ORIGIN, seed=b"s" * 32)
    other = publisher(tmp_path, origin="lab.example/other")
    other.round()
    assert other.state.trouble == TroubleKind.SIGNER
    assert "for ever" in other.state.trouble_says
    assert not (tmp_path / "log").exists()
    other.close()


@pytest.mark.slow
def test_a_key_that_another_process_holds_is_trouble_and_no_end(tmp_path: Path) -> None:
    Journal(tmp_path).grow(2)
    make_keeper(tmp_path / "signer", origin=ORIGIN, seed=b"s" * 32)
    holder = SignerProcess(tmp_path / "signer")
    one = publisher(tmp_path)
    one.round()
    assert one.state.trouble == TroubleKind.SIGNER
    holder.close()
    one.close()  # the last round tries once more
    assert (one.state.trouble, one.state.size) == ("", 2)


@pytest.mark.parametrize("settled", [True, False])
def test_another_journal_is_a_contradiction_and_nothing_of_it_is_signed(tmp_path: Path, *, settled: bool) -> None:
    journal = Journal(tmp_path)
    journal.grow(40)
    one = publisher(tmp_path)
    one.round()
    size = whole(tmp_path, one.state.log_key)
    if settled:
        one.close()
    (tmp_path / "records.sqlite3").rename(tmp_path / "aside")
    journal.store.close()
    for companion in tmp_path.glob("records.sqlite3-*"):
        companion.unlink()
    other = Journal(tmp_path)
    other.grow(60, says="y")
    one = publisher(tmp_path) if settled else one
    for _ in range(2):
        one._next_s = 0.0
        one.round()
    assert one.state.trouble == TroubleKind.CONTRADICTION, one.state.trouble_says
    assert whole(tmp_path, one.state.log_key) == size == 40
    one.close()
    assert whole(tmp_path, one.state.log_key) == 40


@pytest.mark.slow
def test_a_disk_that_refuses_is_trouble_until_it_takes_files_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.grow(3)
    one = publisher(tmp_path)
    one.round()
    shutil.rmtree(tmp_path / "log" / "tile")
    (tmp_path / "log" / "tile").write_bytes(b"a file where a folder belongs")
    journal.grow(1)
    one.round()
    assert one.state.trouble == TroubleKind.DISK
    (tmp_path / "log" / "tile").unlink()
    one.close()
    assert (one.state.trouble, whole(tmp_path, one.state.log_key)) == ("", 4)


def test_it_ends_with_its_laboratory_and_publishes_what_came_last(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.grow(1)
    one = publisher(tmp_path)
    reading, writing = os.pipe()
    thread = threading.Thread(target=follow, args=(one, threading.Event(), reading))
    thread.start()
    journal.grow(9)
    os.write(writing, b"\n")
    os.close(writing)
    thread.join(10.0)
    assert not thread.is_alive()
    one.close()
    assert one.state.size == 10
    os.close(reading)


def test_a_state_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    assert read_state(path) is None
    state = LogState(origin=ORIGIN, witnesses=[WitnessRow("w", "http://192.0.2.1/")])
    state.write(path)
    assert read_state(path) == state
    good = path.read_text(encoding="ascii")
    for bad in ("", "[]", "{}", good[:-9], good.replace('"new"', '"odd"'), good.replace("origin", "origins")):
        path.write_text(bad, encoding="ascii")
        assert read_state(path) is None


def test_the_published_note_is_the_signers(tmp_path: Path) -> None:
    Journal(tmp_path).grow(1)
    one = publisher(tmp_path)
    one.round()
    note = (tmp_path / "log" / "checkpoint").read_bytes()
    assert note == (tmp_path / "signer" / "signed").read_bytes()
    assert [line.name for line in parsed(note).signatures] == [ORIGIN]
    one.close()
