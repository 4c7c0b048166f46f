"""export systemd: what systemd itself says of the unit; the notify protocol; and the service under the main pieces of
its sandbox, killed and taken over.
"""

import argparse
import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.daemon_faults.laboratories import LAB as SIMULATED_LAB
from tests.daemon_faults.laboratories import write_lab
from tests.daemon_laboratory.laboratories import ask_door, door_pids, end_doors, environment
from tests.ports import free_port
from tests.waits import until

from truechimer.cli import export_systemd
from truechimer.cli.__main__ import main
from truechimer.cli.export_systemd import Needs
from truechimer.client import ask
from truechimer.daemon.lab.lab_check import check_lab
from truechimer.daemon.service_manager import STATUS_EVERY_S, ServiceManager
from truechimer.errors import Rejected
from truechimer.instants import Instant

ROOT = Path(__file__).parents[2]
SANDBOX = Path(__file__).parent / "sandboxed.py"
EXPOSURE_AT_MOST = 2.0
FILTERED = "2"
LAB = """
[lab]
name = "{name}"
[[source]]
name = "a"
kind = "ntp"
address = "192.0.2.1:123"
{more}
"""


def a_lab(folder: Path, more: str = "", name: str = "north hall") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "LAB.toml").write_text(LAB.format(name=name, more=more))
    return folder / "LAB.toml"


def needs(path: Path, **options: Any) -> Needs:
    lab = check_lab(path, now=Instant(1_790_000_000 * 10**15)).partial
    assert lab is not None
    given = {"user": None, "machine_code": False, "observe": False} | options
    return export_systemd.needs_of(lab, path, argparse.Namespace(**given))


def keys(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


# ---- what it writes --------------------------------------------------------------------------------------------------


def test_it_writes_a_unit_and_says_what_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_systemd, "closed_to_others", lambda _places: None)
    path = a_lab(tmp_path / "my lab", name="north")
    assert main(["export", "systemd", str(path), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "systemctl enable --now truechimer-north" in out
    assert f"chown -R truechimer: '{tmp_path / 'my lab'}'" in out
    text = (tmp_path / "out" / "truechimer-north.service").read_text()
    assert f'"{path}"' in text
    assert (tmp_path / "out" / "truechimer-north.sysusers.conf").read_text().startswith("u truechimer ")
    assert main(["export", "systemd", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_file_with_faults_gets_no_unit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = a_lab(tmp_path, "[scale]\ninterval = 3\n")
    assert main(["export", "systemd", str(path), "--out", str(tmp_path / "out")]) == 1
    assert "interval" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_program_that_the_user_cannot_reach_is_told(tmp_path: Path) -> None:
    (tmp_path / "closed" / "bin").mkdir(parents=True)
    tmp_path.chmod(0o755)
    (tmp_path / "closed").chmod(0o700)
    found = export_systemd.closed_to_others((str(tmp_path / "closed" / "bin"),))
    assert found is not None
    assert (tmp_path / "closed").is_relative_to(found)


def test_only_a_low_port_gets_a_capability(tmp_path: Path) -> None:
    high = keys(export_systemd.unit(needs(a_lab(tmp_path / "a", '[[listener]]\nprotocol = "ntp"\nport = 11123\n'))))
    low = keys(export_systemd.unit(needs(a_lab(tmp_path / "b", '[[listener]]\nprotocol = "ntp"\nport = 123\n'))))
    assert high["CapabilityBoundingSet"] == high["AmbientCapabilities"] == [""]
    assert low["CapabilityBoundingSet"] == low["AmbientCapabilities"] == ["CAP_NET_BIND_SERVICE"]


def test_machine_code_is_forbidden_unless_it_was_asked_for(tmp_path: Path) -> None:
    path = a_lab(tmp_path)
    usual, fast = keys(export_systemd.unit(needs(path))), keys(export_systemd.unit(needs(path, machine_code=True)))
    assert usual["MemoryDenyWriteExecute"] == ["yes"]
    assert "TRUECHIMER_KERNELS=plain" in usual["Environment"]
    assert fast["MemoryDenyWriteExecute"] == ["no"]
    assert "TRUECHIMER_KERNELS=plain" not in fast["Environment"]
    assert fast["CacheDirectory"] == ["truechimer"]


def test_beside_chronyds_sockets_it_runs_as_chronyds_user(tmp_path: Path) -> None:
    path = a_lab(tmp_path, '[[listener]]\nprotocol = "chrony-sock"\npath = "/run/chrony/truechimer.sock"\n')
    found = needs(path)
    assert found.user == "_chrony"
    assert "-/run" in keys(export_systemd.unit(found))["ReadWritePaths"], "its folder comes and goes with chronyd"
    assert "ReadOnlyPaths" not in keys(export_systemd.unit(found))
    chown = keys(export_systemd.for_chronyd(found))["ExecStartPost"]
    assert chown == ["-+chown _chrony /run/chrony/truechimer.sock"]
    steps = export_systemd.install_steps(found, Path("out"))
    assert steps[-3:-1] == ["systemctl daemon-reload", "systemctl restart chrony.service"]
    assert keys(export_systemd.unit(needs(a_lab(tmp_path / "alone"))))["ReadOnlyPaths"] == ["/run"]
    assert needs(path, observe=True).user == "truechimer"
    assert needs(path, user="clock").user == "clock"


def test_folders_outside_its_own_may_be_written(tmp_path: Path) -> None:
    found = needs(a_lab(tmp_path, '[evidence]\nfolder = "/srv/records"\n'))
    assert "-/srv/records" in keys(export_systemd.unit(found))["ReadWritePaths"]
    assert "chown -R truechimer: /srv/records" in export_systemd.install_steps(found, Path("out"))


@pytest.mark.parametrize("name", ["with blank", "per%cent", "dollar$", 'quote"', "back\\slash"])
def test_any_path_stands_in_the_unit_as_itself(name: str, tmp_path: Path) -> None:
    found = keys(export_systemd.unit(needs(a_lab(tmp_path / name))))["ExecStart"][0]
    word = re.sub(r'\\(["\\])', r"\1", found.split(" up ")[1].strip('"')).replace("%%", "%").replace("$$", "$")
    assert word == str(tmp_path / name / "LAB.toml")


@pytest.mark.parametrize("user", ["", "a b", "x;reboot", "root\nUser=y", "-x", "%u"])
def test_what_is_no_users_name_is_refused(user: str, tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="no user's name"):
        needs(a_lab(tmp_path), user=user)


def test_a_path_with_a_lines_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="line's end"):
        needs(a_lab(tmp_path / "a\nb"))


# ---- what systemd says -----------------------------------------------------------------------------------------------


@pytest.mark.needs_systemd_analyze
@pytest.mark.parametrize(
    ("more", "options"),
    [
        ("", {}),
        ('[[listener]]\nprotocol = "ntp"\nport = 123\n', {}),
        ("", {"machine_code": True}),
        ('[[source]]\nname = "c"\nkind = "chrony"\n', {"observe": True}),
    ],
)
def test_systemd_reads_every_line_and_finds_little_exposed(
    more: str, options: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = dataclasses.replace(
        needs(a_lab(tmp_path / "a b $x %i", more), **options), program=(sys.executable,), temporary=False, homes=False
    )
    unit = tmp_path / "truechimer-x.service"
    unit.write_text(export_systemd.unit(found))
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", judged)
    assert score is not None, judged
    with capsys.disabled():
        print(f"\n  exposure {score[1]} ({options or more.split(chr(10))[0] or 'usual'})", end="")
    assert float(score[1]) <= EXPOSURE_AT_MOST


# ---- the notify protocol ---------------------------------------------------------------------------------------------


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


def test_the_manager_hears_ready_and_is_fed_by_turns_alone(tmp_path: Path, ear: socket.socket) -> None:
    now_s = [0.0]
    variables = {
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": "8000000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    manager = ServiceManager(variables, monotonic_s=lambda: now_s[0])
    assert variables == {}
    manager.ready()
    assert ear.recv(100) == b"READY=1"
    manager.turn(lambda: "UTC(x): steered\n\x1b")
    assert [ear.recv(300) for _ in range(2)] == [b"WATCHDOG=1", b"STATUS=UTC(x): steered??"]
    heard = []
    ear.settimeout(0.0)
    for tenth in range(1, 101):
        now_s[0] = tenth / 10
        manager.turn(lambda: "again")
        while True:
            try:
                heard.append((now_s[0], ear.recv(300)))
            except BlockingIOError:
                break
    fed = [at for at, message in heard if message == b"WATCHDOG=1"]
    assert len(fed) == 5
    assert max(later - earlier for earlier, later in pairwise(fed)) < 8.0 / 2
    assert [at for at, message in heard if message.startswith(b"STATUS")] == [STATUS_EVERY_S]


def test_a_long_start_asks_for_more_time(tmp_path: Path, ear: socket.socket) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")}, monotonic_s=lambda: 1.0)
    for _ in range(3):
        manager.starting("taking in the past: 3 %")
    manager.stopping()
    assert ear.recv(300) == b"EXTEND_TIMEOUT_USEC=120000000\nSTATUS=taking in the past: 3 %"
    assert ear.recv(300) == b"STOPPING=1"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "relative"},
        {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "-3"},
        {"NOTIFY_SOCKET": "/" + "x" * 200, "WATCHDOG_USEC": "1e6"},
        {"NOTIFY_SOCKET": "vsock:2:1", "WATCHDOG_USEC": "٣"},
    ],
)
def test_without_a_manager_nothing_happens(variables: dict[str, str]) -> None:
    manager = ServiceManager(variables)
    manager.starting("x")
    manager.ready()
    manager.turn(lambda: "x")
    manager.stopping()


def test_a_watchdog_of_another_process_is_not_fed(tmp_path: Path, ear: socket.socket) -> None:
    variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "1"}
    ServiceManager(variables).turn(lambda: "x")
    assert ear.recv(300) == b"STATUS=x"


# ---- under the sandbox -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.needs_netns
@pytest.mark.needs_systemd_analyze
def test_the_filter_refuses_what_the_unit_does_not_name(tmp_path: Path) -> None:
    unit = tmp_path / "the.service"
    text = export_systemd.unit(needs(a_lab(tmp_path)))
    command = [sys.executable, str(SANDBOX), str(tmp_path), "0", str(unit), sys.executable, "-c"]
    command += ["import os; os.sched_setaffinity(0, os.sched_getaffinity(0))"]  # of @resources; needs no capability
    said = []
    for lines in (text, text.replace(" @resources ", " ")):
        unit.write_text(lines)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said.append((done.returncode, "PermissionError" in done.stderr))
    assert said == [(1, True), (0, False)]


@pytest.mark.slow
@pytest.mark.needs_netns
@pytest.mark.needs_systemd_analyze
def test_the_service_runs_in_its_sandbox_and_a_killed_one_is_taken_over_by_the_next(
    tmp_path: Path, ear: socket.socket
) -> None:
    folder, port = tmp_path / "lab", free_port()
    folder.mkdir()
    door = f'[[listener]]\nprotocol = "ntp"\naddress = "127.0.0.1"\nport = {port}\n'
    write_lab(folder, days=1.0, text=SIMULATED_LAB + door)
    # An interpreter that only root may reach is run as root without any capability, else as somebody else.
    uid = 0 if export_systemd.closed_to_others((sys.executable, sys.base_prefix, str(ROOT))) else 61_234
    for path in (folder, *folder.iterdir()):
        os.chown(path, uid, uid)
    for parent in folder.parents:
        if parent.is_relative_to(tmp_path.parents[1]) and uid:
            parent.chmod(parent.stat().st_mode | 0o001)
    given = environment(folder) | {
        "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000", "TRUECHIMER_KERNELS": "plain",
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    os.chown(folder / "runtime", uid, uid)
    (tmp_path / "notify").chmod(0o666)
    unit = tmp_path / "the.service"
    unit.write_text(export_systemd.unit(needs(folder / "LAB.toml")))
    command = [sys.executable, str(SANDBOX), str(folder), str(uid), str(unit)]
    command += [sys.executable, "-m", "truechimer", "up", str(folder / "LAB.toml")]

    def begun() -> subprocess.Popen[bytes]:
        while True:  # what the one before said
            ear.settimeout(0.0)
            try:
                ear.recv(4096)
            except BlockingIOError:
                break
        with (tmp_path / "said").open("ab") as said:
            process = subprocess.Popen(command, env=given, cwd=folder, stderr=said)
        started.append(process)
        ear.settimeout(60)
        heard = [b""]
        while heard[-1] != b"READY=1":
            try:
                heard.append(ear.recv(4096))
            except TimeoutError:
                pytest.fail((tmp_path / "said").read_text())
        assert b"WATCHDOG=1" not in heard
        return process

    started: list[subprocess.Popen[bytes]] = []
    try:
        first = begun()
        ear.settimeout(10)
        messages = {ear.recv(4096).split(b"=")[0] for _ in range(4)}
        assert {b"WATCHDOG", b"STATUS"} <= messages
        status = ask("status", lab=folder)
        pids = [status["pid"], *(door["pid"] for door in status["listeners"])]
        for pid in pids:
            facts = dict(
                line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
            )
            assert (int(facts["CapBnd"], 16), int(facts["CapEff"], 16), facts["NoNewPrivs"]) == (0, 0, "1")
            assert facts["Seccomp"] == FILTERED
            assert facts["Uid"].split() == [str(uid)] * 4
            assert b"NOTIFY_SOCKET" not in Path(f"/proc/{pid}/environ").read_bytes() or pid == pids[0]
        first.send_signal(signal.SIGKILL)
        first.wait(120)
        until(lambda: ask_door(port), what=lambda: "an answer of the door that was left")
        second = begun()
        again = ask("status", lab=folder)
        assert [door["pid"] for door in again["listeners"]] == pids[1:], "the door was not taken over"
        assert ask_door(port) is not None
        second.terminate()
        assert second.wait(120) == 0
        assert door_pids(folder) == []
    finally:
        for process in started:
            process.kill()
            process.wait()
        end_doors(folder)


def test_export_systemd_json_names_the_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_systemd, "closed_to_others", lambda _places: None)
    path = a_lab(tmp_path, name="n")
    assert main(["export", "systemd", str(path), "--out", str(tmp_path / "o"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [Path(name).name for name in document["files"]] == ["truechimer-n.service", "truechimer-n.sysusers.conf"]
