"""`up --observe` as a user runs it: beside Debian's chronyd, in a folder of its own, and in turn with service."""

import json
import signal
import socket
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from tests.daemon_laboratory.laboratories import (
    Up,
    door_pids,
    is_running,
    replayed,
    up,
    verb,
    write_lab,
)
from tests.observe.beside_chronyd import Beside, beside_chronyd, files_of, listening_ports
from tests.ports import free_port
from tests.waits import until

LABS = Path(__file__).parents[2] / "labs"
OFF_S = 0.03
STEERING = {"steer", "coordination-start"}
HEAD = '[lab]\nname = "watch"\nsilence_s = 6.0\n[scale]\ninterval_s = 1.0\n'


def stated(running: Up) -> dict[str, Any]:
    """Wait until the observing laboratory states a time."""

    def is_stated() -> bool:
        nonlocal status
        assert running.process.poll() is None, running.stderr
        status = running.ask()
        return status.get("synchronised") is True and status.get("state") == "freerun"

    status: dict[str, Any] = {}
    until(is_stated, what=lambda: f"a statement ({status}; {running.stderr[-2000:]})")
    return status


def kinds(folder: Path) -> list[str]:
    with sqlite3.connect(f"file:{folder}/evidence/records.sqlite3?mode=ro", uri=True) as records:
        found = [str(json.loads(data)["kind"]) for (data,) in records.execute("SELECT data FROM records")]
    records.close()
    return found


def host_clock(status: dict[str, Any]) -> tuple[float, float]:
    """Return the host's clock minus UTC, and how well that is known."""
    block = status["host_clock"]
    return block["x_host_clock_minus_utc_s"], block["bound_s"]


def ntp_sources(ports: list[int]) -> str:
    return "".join(
        f'[[source]]\nname = "s{k}"\nkind = "ntp"\naddress = "127.0.0.1:{port}"\npoll_s = 0.5\n'
        for k, port in enumerate(ports)
    )


def test_the_first_observation_touches_no_file_of_the_laboratory_and_takes_no_port(tmp_path: Path) -> None:
    """Another server holds the NTP port; there is no policy, and none is made; the file is not rewritten."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        sources = ntp_sources([free_port()])
        lab = write_lab(tmp_path, HEAD + sources + f'[[listener]]\nprotocol = "ntp"\nport = {port}\n')
        before = lab.read_bytes()
        assert verb(tmp_path, "up", "LAB.toml", "--for", "0.5").returncode == 1, "in service the port is a fault"
        with up(tmp_path, "--observe") as running:
            until(lambda: running.ask().get("state") == "freerun", what=lambda: running.stderr)
            status = running.ask()
            ports = listening_ports(running.process.pid, for_s=0.5)
            now = verb(tmp_path, "now", "--lab", str(tmp_path))
            assert running.end(signal.SIGINT) == 0
    assert status["observing"] is True
    assert status["listeners"] == []
    assert "steering" not in status
    assert "nothing is steered and no time is served" in status["state_sentence"]
    assert f"closed: ntp on 127.0.0.1 port {port}" in running.stderr
    assert not ports
    assert now.returncode == 1, "no source has spoken: there is no time to state"
    assert lab.read_bytes() == before
    made = {name for name in files_of(tmp_path) if not name.startswith(("run/", "evidence/", "runtime/"))}
    assert made == {"LAB.toml"}
    assert not (tmp_path / "run" / "clock.page").exists()
    assert not STEERING & set(kinds(tmp_path))
    assert replayed(tmp_path)["difference"] is None


@pytest.mark.slow
def test_it_ends_by_itself_and_by_sigterm_and_keys_of_others_are_no_concern(tmp_path: Path) -> None:
    write_lab(tmp_path, HEAD + ntp_sources([free_port()]))
    (tmp_path / "policy").mkdir()
    key = tmp_path / "policy" / "operator.key"
    key.write_text("not a key\n")
    key.chmod(0o644)
    assert verb(tmp_path, "up", "LAB.toml", "--for", "0.5").returncode == 2, "in service such a key is a fault"
    assert verb(tmp_path, "up", "LAB.toml", "--observe", "--for", "0.5").returncode == 0
    with up(tmp_path, "--observe") as running:
        until(running.ask)
        assert "resumed from" in running.stderr
        assert running.end(signal.SIGTERM) == 0
    assert "Traceback" not in running.stderr


@pytest.mark.slow
def test_observation_and_service_follow_each_other_in_one_folder_after_kills_too(tmp_path: Path) -> None:
    scenario = (LABS / "scenarios" / "demo.toml").read_text(encoding="utf-8")
    assert scenario.count("\ndays = 30.0\n") == 1
    (tmp_path / "scenario.toml").write_text(scenario.replace("\ndays = 30.0\n", "\ndays = 3.0\n"), encoding="utf-8")
    door = free_port()
    lab = '[lab]\nname = "watch"\nseed = 3\n[policy]\ninsecure_software_keys = true\n'
    lab += '[[source]]\nname = "world"\nkind = "simulated"\nscenario = "scenario.toml"\n'
    write_lab(tmp_path, lab + f'[[listener]]\nprotocol = "ntp"\nport = {door}\n')
    with up(tmp_path, "--observe") as running:
        status = stated(running)
        running.kill()
    assert (status["against"], status["observing"], status["scale"]) == ("simulated-utc", True, "SIM(watch)")
    assert "host_clock" not in status, "simulated UTC says nothing about this machine's clock"
    assert not (tmp_path / "policy").exists()
    assert not STEERING & set(kinds(tmp_path))
    with up(tmp_path) as served:
        served.until_state("steered")
        assert [row["port"] for row in served.ask()["listeners"]] == [door]
        served.kill()
        (orphan,) = door_pids(tmp_path)
        before = kinds(tmp_path)
        assert before.count("coordination-start") == 1
        with up(tmp_path, "--observe") as running:
            assert stated(running)["listeners"] == []
            assert not is_running(orphan), "the door that the killed laboratory left behind is closed"
            assert running.end() == 0
    made = kinds(tmp_path)[len(before) :]
    assert "served-time" in made
    assert not STEERING & set(made)
    with up(tmp_path) as running:
        running.until_state("steered")
        assert running.end() == 0
    assert kinds(tmp_path).count("coordination-start") == 1, "it goes on where it was"
    assert replayed(tmp_path)["difference"] is None


@pytest.mark.slow
@pytest.mark.needs_chrony
def test_beside_a_running_chronyd_it_sees_and_disturbs_nothing(tmp_path: Path) -> None:
    """Five servers agree on a UTC that is 30 ms from this machine's clock, and chronyd may not set it (`-x`)."""
    with beside_chronyd(tmp_path) as beside:
        for path in beside.paths:
            path.shift_s = OFF_S
        folder = tmp_path / "lab"
        folder.mkdir()
        console = free_port()
        source = f'[[source]]\nname = "local"\nkind = "chrony"\nsocket = "{beside.socket}"\npoll_s = 0.5\n'
        doors = f'[[listener]]\nprotocol = "ntp"\nport = {beside.ports[0]}\n'
        doors += f'[[listener]]\nprotocol = "console"\nport = {console}\n'
        lab = write_lab(folder, HEAD + source + doors)
        until(lambda: all(row[5] not in {"0", "1", "3"} for row in beside.chronyc("sources")))
        before, sources_before = lab.read_bytes(), configured(beside)
        quiet = questions_a_second(beside, for_s=3.0)
        with up(folder, "--observe") as running:
            stated(running)
            watched = questions_a_second(beside, for_s=3.0)
            for _ in range(10):
                x_s, bound_s = host_clock(running.ask())
                assert abs(x_s + OFF_S) <= bound_s
                time.sleep(0.2)
            assert listening_ports(running.process.pid, for_s=1.0) == set()
            rows = running.ask()["listeners"]
            assert [row["protocol"] for row in rows] == ["console"]
            assert listening_ports(rows[0]["pid"]) == {console}
            until(lambda: "bound-exceeded host-clock" in running.stderr, what=lambda: running.stderr)
            # one server begins to lie by 50 ms: it is named, and what is stated stays true
            beside.paths[4].shift_s = OFF_S + 0.05
            until(lambda: "link-outvoted" in running.stderr, what=lambda: running.stderr)
            (liar,) = [row["name"] for row in running.ask()["sources"] if row["mark"] == "x"]
            x_s, bound_s = host_clock(running.ask())
            now = verb(folder, "now", "--json", "--lab", str(folder))
            screen = verb(folder, "status", "--lab", str(folder))
            assert configured(beside) == sources_before
            assert running.end(signal.SIGINT) == 0
        assert liar == "UTC.local.127.0.1.5"
        assert abs(x_s + OFF_S) <= bound_s
        told = json.loads(now.stdout)
        assert now.returncode == 0
        assert (told["observing"], told["state"], told["against"]) == (True, "freerun", "utc")
        assert told["earliest"] < told["utc"] < told["latest"]
        assert screen.returncode == 0
        assert "own clock - UTC -30.0 ms" in screen.stdout
        assert "OFF: 1.00 ms are allowed" in screen.stdout
        assert lab.read_bytes() == before
        made = {name for name in files_of(folder) if not name.startswith(("run/", "evidence/", "runtime/"))}
        assert made == {"LAB.toml"}
        assert not (folder / "run" / "clock.page").exists()
        assert not STEERING & set(kinds(folder))
        assert replayed(folder)["difference"] is None
        print(f"chronyd asked {quiet:.2f} times a second before, {watched:.2f} while it was observed")
        assert watched <= 1.3 * quiet + 0.5


def configured(beside: Beside) -> list[tuple[str, ...]]:
    """Return what an observer must not change: chronyd's sources with their mode and polling, and what it follows."""
    rows = [(row[2], row[0], row[4]) for row in beside.chronyc("sources")]
    (tracking,) = beside.chronyc("tracking")
    return [*rows, (tracking[2], tracking[13])]


def questions_a_second(beside: Beside, *, for_s: float) -> float:
    """Return how many NTP requests chronyd sends a second."""
    before, began = beside.questions(), time.monotonic()
    time.sleep(for_s)
    return (beside.questions() - before) / (time.monotonic() - began)
