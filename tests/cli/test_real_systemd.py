"""The exported unit under a real systemd, in a machine of its own: started as the guide has it, killed, hung, stopped,
broken, started again with the machine, and beside Debian's own chronyd.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.systemd_machine import FOLDER, PROGRAM, Machine, asked, cannot, install, machine, silence_s
from tests.daemon_faults.laboratories import LAB as SIMULATED_LAB
from tests.daemon_faults.laboratories import write_lab

from truechimer.laboratory.run_start import FOLD

pytestmark = [pytest.mark.acceptance, pytest.mark.needs_systemd_analyze, pytest.mark.needs_netns]

UNIT = "truechimer-north"
NTP_PORT, CONSOLE_PORT = 123, 11126
NET_BIND_SERVICE = 1 << 10
FILTERED = "2"
DOORS = f"""
[[listener]]
protocol = "ntp"
address = "127.0.0.1"
port = {NTP_PORT}
[[listener]]
protocol = "console"
address = "127.0.0.1"
port = {CONSOLE_PORT}
"""
MOST_SILENCE_AFTER_A_KILL_S = 0.5
"""A door that is left answers on; two questions of a busy machine may be late."""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Machine]:
    reason = cannot()
    if reason is not None:
        pytest.skip(reason)
    with machine(tmp_path) as made:
        yield made


def given_lab(here: Machine, more: str = DOORS) -> None:
    write_lab(here.shared / "lab", days=3.0, text=SIMULATED_LAB.replace('"faults"', '"north"') + more)


def installed(here: Machine, *options: str, drop_in: str = "") -> None:
    """Export the unit and run, word by word, the lines that export prints for root."""
    out = here.run(PROGRAM, "export", "systemd", f"{FOLDER}/LAB.toml", "--out", "/opt/units-1", *options)
    steps = [line.strip() for line in out.split("as root:")[1].splitlines() if line.strip()]
    assert steps[-1] == f"systemctl enable --now {UNIT}"
    if drop_in:
        folder = here.shared / "units" / f"{UNIT}.service.d"
        folder.mkdir()
        (folder / "test.conf").write_text(drop_in)
    for step in steps:
        here.run("sh", "-c", step, timeout_s=180)


def status(here: Machine) -> dict[str, Any]:
    """Return what the verb says as JSON; empty where nobody answers."""
    text = here.run(PROGRAM, "status", "--lab", FOLDER, "--json", check=False)
    document: dict[str, Any] = json.loads(text) if text.strip() else {}
    return document


def steered(here: Machine) -> dict[str, Any]:
    found: dict[str, Any] = here.until(lambda: (s := status(here)).get("state") == "steered" and s, unit=UNIT)
    return found


def pids(here: Machine) -> dict[str, int]:
    """Return the laboratory's processes, as the machine counts."""
    said = status(here)
    return {"laboratory": said["pid"]} | {door["protocol"]: door["pid"] for door in said["listeners"]}


def test_it_starts_as_the_guide_says_and_every_process_is_confined(
    here: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    given_lab(here)
    installed(here)
    shown = here.shows(UNIT, "ActiveState", "SubState", "MainPID", "NRestarts", "UnitFileState")
    assert (shown["ActiveState"], shown["SubState"], shown["UnitFileState"]) == ("active", "running", "enabled")
    said = steered(here)
    assert said["pid"] == int(shown["MainPID"])
    here.until(lambda: "steered" in here.shows(UNIT, "StatusText")["StatusText"], unit=UNIT)
    uid = here.run("id", "-u", "truechimer").strip()
    assert int(uid) > 0
    for name, pid in pids(here).items():
        facts = dict(
            line.split(":\t", 1) for line in here.run("cat", f"/proc/{pid}/status").splitlines() if ":\t" in line
        )
        assert facts["Uid"].split() == [uid] * 4, name
        assert int(facts["CapBnd"], 16) | int(facts["CapEff"], 16) == NET_BIND_SERVICE, name
        assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", FILTERED), name
        mounts = [line.split() for line in here.run("cat", f"/proc/{pid}/mountinfo").splitlines()]
        writable = {words[4] for words in mounts if words[5].split(",")[0] == "rw"}
        assert FOLDER in writable, name
        assert not {"/", "/etc", "/usr", "/opt", "/home", "/root", "/run", "/var"} & writable, name
    ask = (PROGRAM, "ask", "ntp", f"127.0.0.1:{NTP_PORT}", "--json")
    here.until(lambda: json.loads(here.run(*ask, check=False))["synchronised"], unit=UNIT)
    journal = here.run("journalctl", "-t", "truechimer", "-o", "json", "--no-pager").splitlines()
    fields = [json.loads(line) for line in journal]
    assert any("steered" in one["MESSAGE"] and one.get("TRUECHIMER_KIND") == "state-changed" for one in fields)
    assert {one["_SYSTEMD_UNIT"] for one in fields} == {f"{UNIT}.service"}
    judged = here.run("systemd-analyze", "security", "--no-pager", UNIT)
    score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", judged)
    assert score is not None
    assert float(score[1]) <= 2.0
    with capsys.disabled():
        print(f"\n  exposure of the loaded unit {score[1]}", end="")


def test_a_killed_laboratory_is_started_again_while_its_door_answers(
    here: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    given_lab(here)
    installed(here)
    steered(here)
    before = pids(here)
    with asked(here) as log:
        for number in (1, 2):
            here.run("systemctl", "kill", "-s", "KILL", "--kill-whom=main", UNIT)
            here.until(lambda n=number: here.shows(UNIT, "NRestarts")["NRestarts"] == str(n), unit=UNIT)
            here.until(lambda: here.shows(UNIT, "ActiveState")["ActiveState"] == "active", unit=UNIT)
            steered(here)
    after = pids(here)
    assert after["ntp"] == before["ntp"], "the door was not taken over"
    assert after["laboratory"] != before["laboratory"]
    assert silence_s(log, synchronised=True) < MOST_SILENCE_AFTER_A_KILL_S
    with capsys.disabled():
        print(f"\n  killed twice: at most {silence_s(log, synchronised=True):.3f} s between two answers", end="")
    assert "compared: every one" in here.run(PROGRAM, "evidence", "replay", FOLDER, timeout_s=120)


def test_a_hung_laboratory_is_ended_by_the_watchdog_and_its_door_answers_meanwhile(here: Machine) -> None:
    given_lab(here)
    installed(here, drop_in="[Service]\nWatchdogSec=3\nTimeoutAbortSec=2\n")
    steered(here)
    before = pids(here)
    with asked(here) as log:
        here.run("kill", "-STOP", str(before["laboratory"]))
        here.until(lambda: here.shows(UNIT, "NRestarts")["NRestarts"] == "1", unit=UNIT)
        here.until(lambda: here.shows(UNIT, "ActiveState")["ActiveState"] == "active", unit=UNIT)
        steered(here)
    assert pids(here)["ntp"] == before["ntp"]
    assert silence_s(log) < MOST_SILENCE_AFTER_A_KILL_S
    assert "Watchdog timeout" in here.run("journalctl", "-u", UNIT, "--no-pager")


def test_stop_ends_everything_and_restart_goes_on_with_what_was_known(
    here: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    given_lab(here)
    installed(here)
    steered(here)
    refused = subprocess.run(here.command("systemctl", "reload", UNIT), capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "not applicable" in refused.stderr
    before = pids(here)
    with asked(here) as log:
        time.sleep(0.5)
        here.run("systemctl", "restart", UNIT)
        steered(here)
    after = pids(here)
    assert before.pop("ntp") == after.pop("ntp"), "a restart hands the door over"
    assert not set(before.values()) & set(after.values())
    assert silence_s(log) < MOST_SILENCE_AFTER_A_KILL_S
    with capsys.disabled():
        print(f"\n  systemctl restart: {silence_s(log):.3f} s between two answers", end="")
    here.run("systemctl", "stop", UNIT)
    assert here.shows(UNIT, "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    assert here.run("pgrep", "-u", "truechimer", check=False) == ""
    assert status(here) == {}
    time.sleep(1.5)  # RestartSec is 1
    assert here.shows(UNIT, "ActiveState", "NRestarts") == {"ActiveState": "inactive", "NRestarts": "0"}


def test_a_laboratory_that_refuses_its_file_is_not_started_again_and_again(here: Machine) -> None:
    given_lab(here)
    installed(here)
    steered(here)
    here.run("systemctl", "stop", UNIT)
    path = here.shared / "lab" / "LAB.toml"
    good = path.read_text()
    path.write_text(good.replace("seed", "sede"))
    assert here.run("systemctl", "start", UNIT, check=False) == ""
    time.sleep(1.5)
    shown = here.shows(UNIT, "ActiveState", "NRestarts", "ExecMainStatus")
    assert shown == {"ActiveState": "failed", "NRestarts": "0", "ExecMainStatus": "2"}
    assert "sede" in here.run("journalctl", "-u", UNIT, "--no-pager", "-n", "20")
    path.write_text(good)
    here.run("systemctl", "start", UNIT)
    steered(here)


def test_an_enabled_laboratory_runs_again_with_the_machine(tmp_path: Path) -> None:
    reason = cannot()
    if reason is not None:
        pytest.skip(reason)
    with machine(tmp_path) as first:
        given_lab(first)
        installed(first, "--user", "daemon")
        said = steered(first)
    with machine(tmp_path) as second:  # the first ended without any warning, as at a loss of power
        again = steered(second)
        assert again["records"] > said["records"]
        assert "compared: every one" in second.run(PROGRAM, "evidence", "replay", FOLDER, timeout_s=120)


def test_machine_code_is_compiled_where_the_unit_allows_it(here: Machine) -> None:
    pytest.importorskip("numba")
    given_lab(here)
    installed(here, "--machine-code")
    steered(here)
    assert here.run("find", "/var/cache/truechimer", "-name", "*.nbc").count(".nbc") > 3


GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "operations.md"


def guide_steps(name: str) -> list[str]:
    """Return the lines that the operations guide has under that name."""
    found = re.findall(rf"<!-- steps: {name} -->\n```sh\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 1
    return str(found[0]).splitlines()


def follow(here: Machine, name: str) -> str:
    """Run the lines of the guide; return what the last one printed."""
    said = ""
    for line in guide_steps(name):
        said = here.run("sh", "-c", line, timeout_s=180)
    return said


def second_version(here: Machine, *, fold: int) -> None:
    """Install a later version beside the first: another number of the version, and of the fold."""
    here.run("cp", "-r", "/opt/source", "/opt/source-2")
    for file, line in (("_version.py", '__version__ = "99.0.0"'), ("laboratory/run_start.py", f"FOLD = {fold}")):
        name = line.split(" = ")[0]
        here.run("sed", "-i", f"s/^{name} = .*/{line}/", f"/opt/source-2/truechimer/{file}")
        assert line in here.run("cat", f"/opt/source-2/truechimer/{file}")
    install(here, "/opt/truechimer-2", "/opt/source-2")


def version(here: Machine) -> str:
    return str(steered(here)["version"])


def test_an_upgrade_and_the_way_back_as_the_guide_has_them(here: Machine) -> None:
    given_lab(here)
    installed(here)
    first = version(here)
    second_version(here, fold=FOLD)
    follow(here, "before")
    assert "every one came out" in follow(here, "look")
    assert "every one came out" in follow(here, "change")
    assert version(here) == "99.0.0"
    follow(here, "back")
    assert version(here) == first
    said = here.run("journalctl", "-u", UNIT, "--no-pager")
    assert len(re.findall("resumed from", said)) == 2
    assert "every one came out" in here.run(PROGRAM, "evidence", "replay", FOLDER, timeout_s=120)


def test_an_upgrade_to_another_fold_sets_the_records_aside_and_the_way_back_restores_them(here: Machine) -> None:
    given_lab(here)
    installed(here)
    first = version(here)
    second_version(here, fold=FOLD + 1)
    follow(here, "before")
    look = guide_steps("look")
    assert "good" in here.run("sh", "-c", look[0])
    said = here.run("sh", "-c", look[1], check=False)
    assert f"of fold {FOLD}, truechimer {first} wrote them" in said
    follow(here, "fold")
    assert "every one came out" in follow(here, "change")
    assert version(here) == "99.0.0"
    set_aside = "/srv/north/evidence-1/records.sqlite3"
    assert "every one came out" in here.run(PROGRAM, "evidence", "replay", set_aside, timeout_s=120)
    # back: the old version refuses what the new one has recorded, and says whose it is
    assert f"of fold {FOLD + 1}, truechimer 99.0.0" in here.run("sh", "-c", guide_steps("back")[0], check=False)
    for line in guide_steps("back")[1:]:
        here.run("sh", "-c", line, check=False)
    here.until(lambda: here.shows(UNIT, "ActiveState")["ActiveState"] == "failed", unit=UNIT)
    assert here.shows(UNIT, "ExecMainStatus", "NRestarts") == {"ExecMainStatus": "2", "NRestarts": "0"}
    follow(here, "restore")
    assert version(here) == first
    assert "every one came out" in here.run(PROGRAM, "evidence", "replay", FOLDER, timeout_s=120)


CHRONY_CONF = """
server 127.0.0.11 port 11211 minpoll 0 maxpoll 0 iburst
server 127.0.0.12 port 11212 minpoll 0 maxpoll 0 iburst
server 127.0.0.13 port 11213 minpoll 0 maxpoll 0 iburst
refclock SOCK /run/chrony/truechimer.sock refid TRUE poll 2 delay 4e-2
driftfile /var/lib/chrony/chrony.drift
"""
BESIDE_CHRONYD = f"""[lab]
name = "north"
[scale]
interval_s = 1.0
[policy]
insecure_software_keys = true
[[source]]
name = "c"
kind = "chrony"
[[listener]]
protocol = "ntp"
address = "127.0.0.1"
port = {NTP_PORT}
bound_limit_s = 0.02
[[listener]]
protocol = "chrony-sock"
path = "/run/chrony/truechimer.sock"
bound_limit_s = 0.02
"""


def servers(here: Machine) -> None:
    """Run three servers of this machine's own time, and give Debian's chrony.service what a machine without the right
    to set its clock needs.
    """
    for number in (11, 12, 13):
        lines = (f"bindaddress 127.0.0.{number}", f"port 112{number}", "allow", "local stratum 3", "cmdport 0")
        words = ("chronyd", "-x", "-d", "-u", "root", *lines, f"pidfile /run/server-{number}.pid")
        here.run("systemd-run", "-q", f"--unit=server-{number}", *words, "bindcmdaddress /")
    folder = here.shared / "units" / "chrony.service.d"
    folder.mkdir()
    (folder / "test.conf").write_text("[Unit]\nConditionCapability=\n[Service]\nEnvironment=DAEMON_OPTS=-x\n")
    here.run("sh", "-c", 'printf "%s" "$1" > /etc/chrony/chrony.conf; rm -f /etc/default/chrony', "write", CHRONY_CONF)
    here.run("systemctl", "daemon-reload")


@pytest.mark.needs_chrony
def test_beside_debians_chronyd_it_is_no_matter_who_starts_first_or_stops_meanwhile(here: Machine) -> None:
    servers(here)
    (here.shared / "lab" / "LAB.toml").write_text(BESIDE_CHRONYD)
    installed(here)
    here.run("systemctl", "stop", "chrony")
    here.run("systemctl", "restart", UNIT)  # chronyd's folder is not there yet

    def follows() -> bool:
        said = status(here)
        door = next((one for one in said.get("listeners", []) if one["protocol"] == "chrony-sock"), {})
        return said.get("state") == "steered" and door.get("sock", {}).get("now") == "sending"

    def is_followed() -> bool:
        rows = here.run("chronyc", "-c", "sources", check=False).splitlines()
        row: list[str] = next((row.split(",") for row in rows if ",TRUE," in row), [])
        return len(row) > 5 and int(row[5], 8) & 3 == 3

    for how in (("start",), ("restart",), ("stop", "start")):
        for verb in how:
            here.run("systemctl", verb, "chrony")
        here.until(follows, unit=UNIT)
        here.until(is_followed, unit=UNIT)
    assert here.shows(UNIT, "NRestarts")["NRestarts"] == "0"
