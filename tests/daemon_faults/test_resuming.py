"""A start takes the newest good snapshot and repeats what the journal holds after it; whatever is wrong with a snapshot
is said, kept aside, and costs nothing but the time of a whole replay.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.daemon_faults.laboratories import NS, Run

from truechimer.daemon.page_file import PageWriter
from truechimer.daemon.records import last_page, snapshots
from truechimer.laboratory import snapshot
from truechimer.laboratory.replay import Replay, replay
from truechimer.serve.served_time import Unsynchronised
from truechimer.store.sqlite_fabric import SqliteFabric


def replayed(run: Run) -> Replay:
    """The whole replay of what is on the disk."""
    found = replay(run.laboratory.started.store.read())
    assert found.difference is None, found.difference
    return found


def bytes_of(run: Run) -> bytes:
    """The state of a laboratory, bit for bit."""
    return snapshot.encode(run.laboratory.started.state, run.laboratory.started.roots)


def is_whole(run: Run) -> bool:
    """Whether the state is the one that the whole replay gives."""
    found = replayed(run)
    assert found.state is not None
    assert found.roots is not None
    return bytes_of(run) == snapshot.encode(found.state, found.roots)


def test_a_killed_laboratory_repeats_what_came_after_its_snapshot_and_no_more(tmp_path: Path) -> None:
    run = Run.copied(tmp_path)
    before = run.laboratory.started.state.chain.seq
    run.epochs(20)
    run.kill()
    again = Run.begin(tmp_path, run.machine)
    started = again.laboratory.started
    assert 0 < started.replayed <= started.state.chain.seq - before + 10
    assert started.known + started.replayed + 1 == started.state.chain.seq
    assert is_whole(again)
    again.epochs(5)
    assert again.served().state == "steered"
    assert is_whole(again)
    again.close()


def test_after_an_orderly_end_nothing_is_repeated(tmp_path: Path) -> None:
    run = Run.copied(tmp_path).epochs(3)
    run.close()
    again = Run.begin(tmp_path, run.machine)
    assert again.laboratory.started.replayed == 0
    assert is_whole(again)
    again.close()


def test_the_world_goes_on_as_the_one_that_never_stopped(tmp_path: Path) -> None:
    run = Run.copied(tmp_path).epochs(3)
    world = run.laboratory.started.world
    assert world is not None
    unbroken = world.fork()
    run.epochs(4)
    for _ in range(4):
        unbroken.batch((unbroken.now_tai_ns or 0) + NS - unbroken.label_tai_ns(0))
    run.kill()
    again = Run.begin(tmp_path, run.machine)
    resumed = again.laboratory.started.world
    assert resumed is not None
    raw_ns = run.machine.raw_ns + NS
    assert resumed.batch(raw_ns).readings == unbroken.batch(raw_ns).readings
    again.close()


def damaged(path: Path, change: Callable[[bytes], bytes | None]) -> None:
    """Change the state's snapshot in its store; None takes it away."""
    fabric = SqliteFabric(path / "run" / "state.sqlite3")
    found = fabric.get(snapshots.STATE_KEY)
    assert found is not None
    changed = change(found.data)
    fabric.put(snapshots.STATE_KEY, b"" if changed is None else changed, expect=found.rev)
    fabric.close()


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "flipped": lambda data: data[:900] + bytes([data[900] ^ 4]) + data[901:],
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda _: None,
    "another format": lambda data: data.replace(b"truechimer-snapshot 1 ", b"truechimer-snapshot 2 ", 1),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_snapshot_that_cannot_be_used_is_kept_aside_said_and_the_state_rebuilt(name: str, tmp_path: Path) -> None:
    run = Run.copied(tmp_path).epochs(2)
    run.close()
    damaged(tmp_path, DAMAGE[name])
    again = Run.begin(tmp_path, run.machine)
    assert again.laboratory.started.known == 0
    assert is_whole(again)
    assert any("the snapshot is not used" in line for line in again.said)
    assert len(list((tmp_path / "run" / "damaged").iterdir())) == 1
    again.epochs(2)
    again.close()
    assert Run.begin(tmp_path, run.machine).laboratory.started.replayed == 0  # a good one took its place


def test_a_snapshot_of_a_journal_that_was_put_back_to_an_older_state_is_not_believed(tmp_path: Path) -> None:
    run = Run.copied(tmp_path).epochs(2)
    run.close()
    older = (tmp_path / "evidence" / "records.sqlite3").read_bytes()
    run = Run.begin(tmp_path, run.machine).epochs(5)
    run.close()
    (tmp_path / "evidence" / "records.sqlite3").write_bytes(older)
    again = Run.begin(tmp_path, run.machine)
    assert again.laboratory.started.known == 0
    assert any("misfit" in line for line in again.said)
    assert is_whole(again)
    again.close()


@pytest.mark.parametrize("how", ["garbage", "flipped", "gone"])
def test_a_state_file_that_is_damaged_is_set_aside_and_made_anew(how: str, tmp_path: Path) -> None:
    run = Run.copied(tmp_path).epochs(2)
    run.close()
    path = tmp_path / "run" / "state.sqlite3"
    data = bytearray(path.read_bytes())
    rng = random.Random(11)
    if how == "garbage":
        path.write_bytes(rng.randbytes(len(data)))
    elif how == "gone":
        path.unlink()
    else:
        for _ in range(200):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(data))
    again = Run.begin(tmp_path, run.machine)
    assert is_whole(again)
    again.epochs(3)
    assert again.served().state == "steered"
    again.close()
    assert Run.begin(tmp_path, run.machine).laboratory.started.known > 0


def test_a_state_folder_that_takes_no_snapshot_is_said_once_and_stops_nothing(tmp_path: Path) -> None:
    run = Run.copied(tmp_path).epochs(2)
    run.close()
    (tmp_path / "run" / "state.sqlite3").unlink()
    (tmp_path / "run" / "state.sqlite3").mkdir()
    again = Run.begin(tmp_path, run.machine).epochs(5)
    assert again.served().state == "steered"
    again.close()
    assert len([line for line in again.said if "no snapshot is kept" in line]) == 1


# ---- the page that the last laboratory left ----


def test_the_last_page_is_covered_by_a_record_and_held_where_the_disk_refuses_from_the_start(tmp_path: Path) -> None:
    run = Run.copied(tmp_path).epochs(4)
    left = run.page()
    run.kill()
    again = Run.begin(tmp_path, run.machine)
    assert again.laboratory.started.last_page == left
    again.store.fails = lambda _: True
    again.epochs(3)
    page = again.page()
    assert page is not None
    assert left is not None
    assert (page.anchor_raw_ns, page.state) == (left.anchor_raw_ns, "holdover")
    assert abs(again.error_s()) <= again.served().bound_s
    again.kill()


def test_a_page_that_no_record_covers_is_taken_away_before_a_door_reads_it(tmp_path: Path) -> None:
    run = Run.copied(tmp_path).epochs(2)
    page = run.page()
    run.close()
    assert page is not None
    for false in (
        replace(page, anchor_tai_fs=page.anchor_tai_fs + 1),
        replace(page, rate=page.rate * (1.0 + 1e-12)),
        replace(page, bound_s=page.bound_s / 2.0),
        replace(page, anchor_raw_ns=page.anchor_raw_ns + 1),
    ):
        with PageWriter(tmp_path / "run" / "clock.page", boot_id=page.boot_id) as writer:
            writer.publish(false)
        again = Run.begin(tmp_path, run.machine)
        assert again.laboratory.started.last_page is None
        assert isinstance(again.served(), Unsynchronised)
        again.close()


def test_a_page_of_another_boot_or_one_that_is_too_old_is_no_page_to_go_on_from(tmp_path: Path) -> None:
    run = Run.copied(tmp_path).epochs(2)
    page, store = run.page(), run.laboratory.started.store
    path = tmp_path / "run" / "clock.page"
    assert page is not None
    boot_id, raw_ns = page.boot_id, run.machine.raw_ns
    assert last_page.look(path, store, boot_id=boot_id, raw_ns=raw_ns).page == page
    assert last_page.look(path, store, boot_id=bytes(16), raw_ns=raw_ns) == last_page.LastPage()
    assert last_page.look(path, store, boot_id=boot_id, raw_ns=raw_ns + 21 * NS) == last_page.LastPage()
    assert last_page.look(path.with_name("none"), store, boot_id=boot_id, raw_ns=raw_ns) == last_page.LastPage()
    run.close()
