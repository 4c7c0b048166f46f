"""Starts and ends of a laboratory: faults before anything starts, an orderly end, kill -9, a full disk, policy and
envelope.
"""

import json
import os
import signal
import socket
import sqlite3
import time
from pathlib import Path

import pytest
from tests.daemon_laboratory.laboratories import (
    ask_door,
    door_pids,
    is_running,
    replayed,
    up,
    verb,
    write_lab,
)
from tests.daemon_laboratory.test_readings_files import HEADER, writing
from tests.ports import free_port
from tests.waits import until

HOST_LAB = '[lab]\nname = "small"\nsilence_s = 4.0\n[scale]\ninterval_s = 1.0\n'


def a_host_lab(folder: Path, *, bound_limit_s: float = 0.01) -> int:
    """Write a laboratory whose only clock is the host, against UTC from a growing file; return the port of its door."""
    door = free_port()
    (folder / "readings.csv").write_text(HEADER)
    source = '[[source]]\nname = "gnss"\nkind = "readings"\npath = "readings.csv"\nmax_age_s = 4.0\n'
    listener = f'[[listener]]\nprotocol = "ntp"\nport = {door}\nbound_limit_s = {bound_limit_s}\n'
    write_lab(folder, HOST_LAB + source + listener)
    return door


def coordination_starts(folder: Path) -> int:
    """Count the records that set the coordination."""
    with sqlite3.connect(f"file:{folder}/evidence/records.sqlite3?mode=ro", uri=True) as records:
        kinds = [json.loads(data)["kind"] for (data,) in records.execute("SELECT data FROM records")]
    records.close()
    return kinds.count("coordination-start")


@pytest.mark.slow
def test_a_killed_laboratory_leaves_an_honest_door_and_the_next_one_takes_over(tmp_path: Path) -> None:
    door = a_host_lab(tmp_path)
    with writing(tmp_path / "readings.csv", with_clocks=False), up(tmp_path) as first:
        first.until_state("steered")
        until(lambda: (found := ask_door(door)) is not None and found.synchronised)
        first.kill()
        (orphan,) = door_pids(tmp_path)
        bounds = []
        for _ in range(3):
            found = ask_door(door)
            assert found is not None
            assert found.synchronised
            bounds.append(found.root_dispersion_s)
            time.sleep(0.3)
        assert bounds == sorted(bounds)
        until(lambda: (found := ask_door(door)) is not None and not found.synchronised)
        assert verb(tmp_path, "now", "--lab", str(tmp_path)).returncode == 2
        with up(tmp_path) as second:
            until(lambda: "after the last laboratory here was killed" in second.stderr)
            second.until_state("steered")
            assert door_pids(tmp_path) == [orphan]  # taken over: its clients notice nothing
            until(lambda: (found := ask_door(door)) is not None and found.synchronised)
            assert second.end() == 0
        assert not is_running(orphan)
    assert coordination_starts(tmp_path) == 1
    assert replayed(tmp_path)["difference"] is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_orderly_end_leaves_no_socket_no_door_no_registry_line(tmp_path: Path, number: int) -> None:
    a_host_lab(tmp_path)
    with up(tmp_path) as running:
        until(running.ask)
        pids = until(lambda: door_pids(tmp_path))
        until(lambda: list((tmp_path / "runtime").glob("**/*.json")))
        second = verb(tmp_path, "up", str(tmp_path / "LAB.toml"), "--for", "1")
        assert second.returncode in {1, 2}  # the port, or the folder, is taken
        assert "Traceback" not in second.stderr
        assert running.end(number) == 0
    assert not any(is_running(pid) for pid in pids)
    assert not list((tmp_path / "run").glob("*.sock"))
    assert not list((tmp_path / "runtime").glob("**/*.json"))
    assert "Traceback" not in running.stderr


def test_all_faults_are_listed_at_once_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "leap.list").write_text("#$ 3676924800\n#@ 3928521600\n2272060800 10\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        lab = '[lab]\nname = "wrong"\nleap_seconds_file = "leap.list"\nsilence_s = "600 ms"\nnonsense = 1\n'
        lab += '[[clock]]\nname = "a"\nkind = "maser"\n[[clock]]\nname = "a"\nkind = "maser"\n'
        lab += '[[source]]\nname = "r"\nkind = "readings"\npath = "not-here.csv"\n'
        lab += f'[[listener]]\nprotocol = "ntp"\nport = {held.getsockname()[1]}\n'
        write_lab(tmp_path, lab)
        before = sorted(path.name for path in tmp_path.iterdir())
        found = verb(tmp_path, "up", "LAB.toml")
    assert found.returncode == 2
    for what in ("silence_s", "nonsense", "two clocks are named a", "not-here.csv", "leap.list", "port", "nothing was"):
        assert what in found.stderr, found.stderr
    assert "Traceback" not in found.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "runtime") == before


def test_the_first_start_writes_out_its_software_key_and_refuses_what_it_cannot_trust(tmp_path: Path) -> None:
    a_host_lab(tmp_path)
    assert verb(tmp_path, "up", "LAB.toml", "--for", "0.5").returncode == 0
    text = (tmp_path / "LAB.toml").read_text()
    assert "insecure_software_keys = true" in text
    assert (tmp_path / "policy" / "operator.key").stat().st_mode & 0o777 == 0o600
    # others can read the key
    (tmp_path / "policy" / "operator.key").chmod(0o644)
    found = verb(tmp_path, "up", "LAB.toml", "--for", "0.5")
    assert found.returncode == 2
    assert "chmod 600" in found.stderr
    (tmp_path / "policy" / "operator.key").chmod(0o600)
    # the file takes its word back
    (tmp_path / "LAB.toml").write_text(text.replace("insecure_software_keys = true", ""))
    found = verb(tmp_path, "up", "LAB.toml", "--for", "0.5")
    assert found.returncode in {1, 2}
    assert "insecure_software_keys" in found.stderr
    (tmp_path / "LAB.toml").write_text(text)
    # the envelope is not the one that was signed
    envelope = tmp_path / "policy" / "envelope.json"
    signed = envelope.read_text()
    envelope.write_text(signed.replace("1e-06 1", "9e-06 1"))
    assert envelope.read_text() != signed
    found = verb(tmp_path, "up", "LAB.toml", "--for", "0.5")
    assert found.returncode in {1, 2}
    assert "envelope" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.slow
def test_a_disk_that_takes_no_more_records_stops_nothing_and_what_is_lost_at_the_end_is_said(tmp_path: Path) -> None:
    a_host_lab(tmp_path)
    with writing(tmp_path / "readings.csv", with_clocks=False):
        with up(tmp_path, file_size_limit=60_000) as running:
            # at first the file still takes a write now and then
            until(lambda: running.ask().get("store", {}).get("waiting", 0) > 20)
            assert running.ask()["store"]["state"] == "failing"
            assert door_pids(tmp_path)
            assert "CRITICAL records-not-written" in running.stderr
            assert running.end() == 1
        assert "records were not written" in running.stderr
        assert "Traceback" not in running.stderr
        with up(tmp_path) as again:  # the disk has room again
            until(lambda: "resumed from" in again.stderr)
            until(lambda: again.ask().get("epochs", 0) > 2)
            assert again.end() == 0
    assert replayed(tmp_path)["difference"] is None


@pytest.mark.slow
def test_a_second_kill_in_the_middle_of_a_start_breaks_nothing(tmp_path: Path) -> None:
    a_host_lab(tmp_path)
    with writing(tmp_path / "readings.csv", with_clocks=False):
        for delay_s in (0.6, 1.1, 1.6):
            with up(tmp_path) as running:
                time.sleep(delay_s)
                running.kill()
        with up(tmp_path) as running:
            until(lambda: running.ask().get("epochs", 0) > 2)
            assert running.end() == 0
    assert replayed(tmp_path)["difference"] is None
    assert os.path.exists(tmp_path / "evidence" / "records.sqlite3")
