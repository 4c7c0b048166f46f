"""Restarts as a client sees them: kill -9 of every process at any moment, and the start after it. The truth is the
simulated world's, a line over this machine's raw counter that its first record names.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.daemon_laboratory.laboratories import (
    SOURCE,
    Up,
    ask_door,
    door_pids,
    end_doors,
    environment,
    is_running,
    replayed,
    up,
    write_lab,
)
from tests.ports import free_port
from tests.waits import until

from truechimer import client
from truechimer.daemon.host_clocks import HostClocks
from truechimer.errors import Rejected
from truechimer.store.sqlite_records import SqliteRecords

LAB = """[lab]
name = "restarts"
seed = 5
silence_s = {silence_s}
[[source]]
name = "world"
kind = "simulated"
scenario = "small.toml"
[[listener]]
protocol = "ntp"
port = {port}
[[listener]]
protocol = "console"
port = {console}
[policy]
insecure_software_keys = true
"""


def a_simulated_lab(folder: Path, *, silence_s: float = 60.0) -> int:
    """Write a simulated laboratory with a door and a console; return the door's port."""
    port = free_port()
    scenario = (SOURCE.parent / "labs" / "scenarios" / "small.toml").read_text(encoding="utf-8")
    (folder / "small.toml").write_text(scenario.replace("days = 30.0", "days = 3.0"), encoding="utf-8")
    write_lab(folder, LAB.format(port=port, console=free_port(), silence_s=silence_s))
    return port


def anchor(folder: Path) -> tuple[int, int]:
    """Return the line of the world's truth: raw ns and TAI ns of its first record."""
    with closing(SqliteRecords(folder / "evidence" / "records.sqlite3", read_only=True)) as store:
        body = json.loads(next(iter(store.read())))
    return int(body["anchor_raw_ns"]), int(body["anchor_tai_ns"])


def until_it_serves(running: Up) -> None:
    """Wait until a laboratory is steered and has shown a page of its own."""
    until(
        lambda: (told := ask_now(running.folder)).get("synchronised") is True and told["state"] == "steered",
        what=lambda: f"steered and served ({running.stderr[-2000:]})",
    )


def ask_now(folder: Path) -> dict[str, Any]:
    """Ask `now` once; empty where nobody answers."""
    try:
        return client.ask("now", lab=folder)
    except (Rejected, OSError):
        return {}


def kill_all(folder: Path, running: Up) -> None:
    """Kill -9 the laboratory and every door of it."""
    pids = door_pids(folder)
    running.kill()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: not is_running(pid))


def start(folder: Path) -> "subprocess.Popen[str]":
    """Start `up`, and wait for nothing."""
    command = [sys.executable, "-m", "truechimer", "up", str(folder / "LAB.toml")]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=quiet, text=True, env=environment(folder), cwd=folder)


def processes_in(folder: Path) -> list[str]:
    """Return the command lines of all processes that have anything to do with a folder, but for those of its log: the
    publisher of a laboratory that was killed does one last round, and its signer ends with it.
    """
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        of_the_log = "daemon.log.log_publisher" in words or "daemon.log.signer" in words
        if str(folder) in words and not of_the_log and path.parent.name != str(os.getpid()):
            found.append(words)
    return found


@pytest.mark.slow
def test_after_a_kill_of_every_process_the_door_and_now_agree_hold_the_truth_and_never_go_back(tmp_path: Path) -> None:
    port, raw_ns = a_simulated_lab(tmp_path), HostClocks().raw_ns
    with up(tmp_path) as running:
        until_it_serves(running)
        kill_all(tmp_path, running)
    assert ask_door(port) is None
    anchor_raw_ns, anchor_tai_ns = anchor(tmp_path)
    states, answers = list[str](), 0
    with up(tmp_path) as running:
        while "steered" not in states[-1:]:
            asked_ns = raw_ns()
            told = ask_now(tmp_path)
            answered_ns = raw_ns()
            if not told:
                assert not states, "it answered before, and is silent now"
                continue
            states.append(told["state"])
            assert told["synchronised"] is True, told
            assert int(told["earliest_tai_fs"]) <= (anchor_tai_ns + answered_ns - anchor_raw_ns) * 10**6
            assert int(told["latest_tai_fs"]) >= (anchor_tai_ns + asked_ns - anchor_raw_ns) * 10**6
            found = ask_door(port)
            assert found is not None or not answers, "the door answered before, and is silent now"
            if found is not None:
                answers += 1
                assert found.doubt is None
                assert found.server_tai_fs is not None
                truth_fs = (anchor_tai_ns + found.raw_mid_ns - anchor_raw_ns) * 10**6
                assert abs(found.server_tai_fs - truth_fs) <= found.root_distance_s * 1e15
            assert len(states) < 2_000
        assert states[0] == "holdover", "the last page was served before the laboratory was ready"
        assert answers >= 1
        assert running.end() == 0
    assert processes_in(tmp_path) == []
    assert replayed(tmp_path)["difference"] is None


@pytest.mark.slow
def test_kills_at_any_moment_of_a_start_leave_no_door_behind_that_the_next_start_does_not_have(tmp_path: Path) -> None:
    port, rng = a_simulated_lab(tmp_path), random.Random(seed := random.SystemRandom().randrange(2**31))
    with up(tmp_path) as running:
        until_it_serves(running)
        running.kill()
        served = ask_door(port)  # the door outlives it
        assert served is not None
        for _ in range(6):
            again = Up(tmp_path, start(tmp_path))
            time.sleep(rng.uniform(0.0, 0.9))
            if rng.random() < 0.5:
                kill_all(tmp_path, again)
            else:
                again.kill()
    with up(tmp_path) as running:
        until_it_serves(running)
        assert ask_door(port) is not None
        doors = door_pids(tmp_path)
        assert len(doors) == 2
        assert len(processes_in(tmp_path)) == 3, f"seed {seed}: {processes_in(tmp_path)}"
        assert running.end() == 0
    until(lambda: not processes_in(tmp_path), what=lambda: f"seed {seed}: {processes_in(tmp_path)}")
    end_doors(tmp_path)
    assert replayed(tmp_path)["difference"] is None


@pytest.mark.slow
def test_a_console_outlives_a_kill_and_goes_on_with_the_next_laboratory(tmp_path: Path) -> None:
    a_simulated_lab(tmp_path)
    with up(tmp_path) as running:
        until_it_serves(running)
        running.kill()
        left = sorted(door_pids(tmp_path))
        with up(tmp_path) as again:
            until_it_serves(again)
            assert sorted(door_pids(tmp_path)) == left
            rows = {row["protocol"]: row for row in again.ask()["listeners"]}
            assert sorted(row["pid"] for row in rows.values()) == left
            assert all(row["alive"] for row in rows.values())
            assert again.end() == 0
        assert door_pids(tmp_path) == []
