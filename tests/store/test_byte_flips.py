"""A byte that changed in a state file is found when the file is opened, or changes nothing."""

from pathlib import Path
from random import Random

import pytest
from tests.store import work

from truechimer.store.fabric import BEFORE_FIRST, StoreCorrupt, StoreRejected
from truechimer.store.sqlite_fabric import SqliteFabric


def state_file(folder: Path) -> tuple[bytes, work.Left]:
    """Make a state file of about 64 KiB; return its bytes and what it holds."""
    steps = work.steps(4, 60, largest=700)
    fabric = SqliteFabric(folder / "made.sqlite3")
    for step in steps:
        work.do(fabric, step)
    fabric.close()
    return (folder / "made.sqlite3").read_bytes(), work.left_by(steps)[-1]


def outcome(file: Path, left: work.Left) -> str:
    """Open a file: "detected", "harmless", or what was changed."""
    try:
        fabric = SqliteFabric(file, read_only=True)
    except StoreRejected:
        return "detected"
    try:
        streams = {name: [(e.item_id, e.data) for e in fabric.read(name)] for name in left.streams}
        keys = {value.key: value.data for value in fabric.watch("")}
    finally:
        fabric.close()
    if (streams, keys) != (left.streams, left.keys):
        return "another content"
    # What may be read must also be fit to be written: nothing comes to light only after more work.
    fabric = SqliteFabric(file)
    end = len(left.streams["records"])
    assert fabric.append("records", b"after", item_id="after") == end
    assert fabric.put(work.KEYS[0], b"after", expect=None) > 0
    fabric.close()
    again = SqliteFabric(file)
    assert [entry.data for entry in again.read("records", after=end - 1)] == [b"after"]
    again.close()
    return "harmless"


def flipped(folder: Path, number: int, seed: int) -> None:
    whole, left = state_file(folder)
    assert 48_000 < len(whole) < 400_000
    rng, found = Random(seed), []
    for flip in range(number):
        at, change = rng.randrange(len(whole)), rng.randrange(1, 256)
        file = folder / f"{flip}.sqlite3"
        damaged = bytearray(whole)
        damaged[at] ^= change
        file.write_bytes(damaged)
        found.append(outcome(file, left))
        assert found[-1] in {"detected", "harmless"}, f"seed {seed}: byte {at} changed by {change}: {found[-1]}"
        for one in folder.glob(f"{flip}.sqlite3*"):
            one.unlink()
    assert found.count("detected") > number // 2


def test_of_60_changed_bytes_each_is_found_or_harmless(tmp_path: Path) -> None:
    flipped(tmp_path, 60, seed=1)


@pytest.mark.slow
def test_of_1000_changed_bytes_each_is_found_or_harmless(tmp_path: Path) -> None:
    flipped(tmp_path, 1_000, seed=2)


@pytest.mark.acceptance
def test_of_20_000_changed_bytes_each_is_found_or_harmless(tmp_path: Path) -> None:
    flipped(tmp_path, 20_000, seed=3)


def test_a_damaged_entry_is_named_and_what_stands_before_it_is_read(tmp_path: Path) -> None:
    fabric = SqliteFabric(tmp_path / "a.sqlite3")
    for number in range(5):
        fabric.append("records", b"entry %d" % number, item_id=str(number))
    fabric.close()
    file = tmp_path / "a.sqlite3"
    file.write_bytes(file.read_bytes().replace(b"entry 3", b"entry X"))
    with pytest.raises(StoreCorrupt, match="entry 3 of records is damaged") as raised:
        SqliteFabric(file)
    assert raised.value.what == "entry 3 of records"
    assert raised.value.where == str(file)


def test_a_damage_that_comes_later_is_found_at_the_read(tmp_path: Path) -> None:
    file = tmp_path / "a.sqlite3"
    writer = SqliteFabric(file)
    writer.append("records", b"first", item_id="0")
    writer.append("records", b"second", item_id="1")
    writer.close()
    reader = SqliteFabric(file, read_only=True)
    file.write_bytes(file.read_bytes().replace(b"second", b"secund"))
    entries = reader.read("records", after=BEFORE_FIRST)
    with pytest.raises(StoreCorrupt, match="entry 1 of records"):
        list(entries)
    with pytest.raises(StoreCorrupt, match="entry 1 of records"):
        reader.check()
    reader.close()


def test_a_trigger_that_was_taken_away_or_added_is_found(tmp_path: Path) -> None:
    import sqlite3

    for number, statement in enumerate(
        (
            "DROP TRIGGER records_stay",
            "CREATE TRIGGER more AFTER INSERT ON records BEGIN SELECT 1; END",
            'CREATE TABLE "a b" (seq INTEGER)',
            "DROP TABLE fabric_loans",
            "CREATE INDEX more ON records (data)",
            "CREATE VIEW more AS SELECT 1",
        )
    ):
        file = tmp_path / f"{number}.sqlite3"
        fabric = SqliteFabric(file)
        fabric.append("records", b"x", item_id="0")
        fabric.close()
        db = sqlite3.connect(file)
        db.execute(statement)
        db.commit()
        db.close()
        with pytest.raises(StoreCorrupt, match="schema"):
            SqliteFabric(file)
