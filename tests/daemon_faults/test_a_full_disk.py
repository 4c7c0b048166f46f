"""A real volume that fills under a running laboratory: `up`, its door and its client, as a user has them."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.daemon_faults.laboratories import LAB, write_lab
from tests.daemon_laboratory.laboratories import ask_door, replayed, up, verb
from tests.ports import free_port
from tests.waits import until

from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.page_file import PageReader
from truechimer.serve.clock_page import ClockPage
from truechimer.serve.served_time import ServedTime, serve_at
from truechimer.sim import World, read_scenario
from truechimer.store.sqlite_records import SqliteRecords

VOLUME = "size=16m"


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A small volume of its own (root makes it, as for a network namespace)."""
    folder = tmp_path / "volume"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", VOLUME, "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def world_of(folder: Path) -> World:
    """Who owns the truth of a running simulated laboratory: the same world, by its first record."""
    store = SqliteRecords(folder / "evidence" / "records.sqlite3", read_only=True)
    body = json.loads(next(iter(store.read())))
    store.close()
    scenario, _ = read_scenario((folder / "small.toml").read_bytes())
    assert scenario is not None
    anchors = {"anchor_tai_ns": int(body["anchor_tai_ns"]), "anchor_raw_ns": int(body["anchor_raw_ns"])}
    return World(scenario, seed=3, **anchors)


def fill(path: Path) -> None:
    """Leave no room."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 9, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue


@pytest.mark.slow
@pytest.mark.needs_netns
def test_a_volume_that_fills_stops_nothing_and_the_truth_stays_inside_the_bound(volume: Path) -> None:
    port = free_port()
    write_lab(volume, text=LAB + f'[[listener]]\nprotocol = "ntp"\nport = {port}\n')
    assert verb(volume, "up", "LAB.toml", "--for", "1").returncode == 0
    world, clocks, reader = world_of(volume), HostClocks(), PageReader(volume / "run" / "clock.page")

    def is_true() -> bool:
        page, raw_ns = reader.current(), clocks.raw_ns()
        assert isinstance(page, ClockPage)
        served = serve_at(page, raw_ns)
        assert isinstance(served, ServedTime)
        assert abs(served.instant.tai_fs - world.true_tai_fs(raw_ns)) / 1e15 <= served.bound_s
        found = ask_door(port)
        return found is not None and found.synchronised

    with up(volume) as running:
        running.until_state("steered")
        until(lambda: isinstance(reader.current(), ClockPage) and is_true())
        fill(volume / "filler")
        until(lambda: running.ask().get("store", {}).get("state") == "failing")
        count = running.ask()["records"]
        for _ in range(15):
            assert is_true()
            status = running.ask()
            assert status["state"] == "holdover"
            assert status["records"] == count
            assert "disk is full" in status["store"]["says"]
        assert "CRITICAL records-not-written" in running.stderr
        (volume / "filler").unlink()
        until(lambda: running.ask().get("store", {}).get("state") == "written")
        until(lambda: running.ask().get("state") == "steered")
        assert is_true()
        until(lambda: "NOTICE records-not-written" in running.stderr)
        assert running.end() == 0
    reader.close()
    assert "Traceback" not in running.stderr
    copied = volume.parent / "copied"
    shutil.copytree(volume, copied)
    assert replayed(copied)["difference"] is None
