"""Before a laboratory is ready its last page serves: only a page that a record states, of this boot, and not too old.
The doors and `now` say the same, and both hold the truth.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.daemon_faults.laboratories import LAB, Machine, Run, ask_door
from tests.daemon_laboratory.laboratories import door_pids, is_running
from tests.ports import free_port
from tests.waits import until

from truechimer import client
from truechimer.cli.lab_arguments import now_label
from truechimer.daemon.answering.status import OF_THE_RUN_BEFORE
from truechimer.daemon.door import doors
from truechimer.daemon.door.gate import Gate
from truechimer.daemon.door.parenthood import Parenthood, take_away
from truechimer.daemon.early import STARTING, Early, open_early
from truechimer.daemon.hold import Hold, without_own_doors
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.lab_check import check_lab
from truechimer.daemon.lab.lab_reading import read_lab
from truechimer.daemon.lab.lab_rules import InsecureFlags
from truechimer.daemon.lab.listener_settings import Listener, Protocol
from truechimer.daemon.records import lost_records
from truechimer.daemon.records.lost_records import RecordsLostRejected

NS = 10**9


def ended(folder: Path, *, how: str = "close") -> Run:
    """A laboratory that has steered, and has ended in order or by a kill."""
    run = Run.copied(folder).epochs(3)
    run.close() if how == "close" else run.kill()
    return run


def early_of(folder: Path, machine: Machine, *, observe: bool = False) -> Early:
    told = read_lab(folder / "LAB.toml", InsecureFlags())
    assert told.lab is not None
    return open_early(told.lab, folder, machine.clocks, observe=observe, allow_simulated=False)


@contextmanager
def early_in(folder: Path, machine: Machine, *, observe: bool = False) -> Iterator[Early]:
    early = early_of(folder, machine, observe=observe)
    try:
        yield early
    finally:
        early.close()


def with_a_door(folder: Path) -> int:
    """Give the laboratory an NTP door."""
    port = free_port()
    (folder / "LAB.toml").write_text(f'{LAB}[[listener]]\nprotocol = "ntp"\nport = {port}\n')
    return port


@pytest.mark.parametrize("how", ["close", "kill"])
def test_now_is_the_last_page_in_holdover_until_the_first_reading_and_holds_the_truth(how: str, tmp_path: Path) -> None:
    before = ended(tmp_path, how=how)
    machine, world = before.machine, before.laboratory.started.world
    assert world is not None
    with early_in(tmp_path, machine) as early:
        for wait_s in (0.0, 3.0):
            machine.raw_ns += round(wait_s * NS)
            told = client.ask("now", lab=tmp_path)
            assert (told["state"], told["synchronised"], told["missing"]) == ("holdover", True, [STARTING])
            truth = world.true_tai_fs(machine.raw_ns)
            assert int(told["earliest_tai_fs"]) <= truth <= int(told["latest_tai_fs"])
        with pytest.raises(client.ServiceSilentRejected, match="it is starting"):
            client.ask("status", lab=tmp_path)
        run = Run.begin(tmp_path, machine, early=early)
        run.laboratory.catch_up()  # nothing lies in the past
        run.laboratory.open_doors()
        ready = client.ask("status", lab=tmp_path)  # the same socket, now the laboratory's own
        assert ready["synchronised"] is True
        assert ready["state"] == "holdover"
        assert ready["bound_s"] == pytest.approx(told["bound_s"])
        assert "run before" in ready["state_sentence"]
        assert "no reading has come since the start" in ready["missing"][0]
        assert {row["mark"] for row in ready["sources"]} == {"?"}, "nobody is followed yet"
        assert {row["says"] for row in ready["sources"]} == {OF_THE_RUN_BEFORE}
        assert "the run before" in client.ask("sources", lab=tmp_path)["selection"]["says"]
        run.epoch()
        assert client.ask("now", lab=tmp_path)["state"] == "steered"
        followed = client.ask("sources", lab=tmp_path)
        assert "*" in {row["mark"] for row in followed["sources"]}
        assert "says" not in followed["selection"]
        run.close()


def test_nothing_serves_early_what_may_not_be_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ended(tmp_path)
    machine = before.machine
    page = before.page()
    assert page is not None

    with early_in(tmp_path, machine, observe=True) as early:
        assert (early.hold, early.control, early.doors) == (None, None, {})
    with monkeypatch.context() as rebooted, early_in(tmp_path, machine) as early:
        assert early.control is not None
        early.close()
        rebooted.setattr(HostClocks, "boot_id", lambda _: b"one boot further")
        with early_in(tmp_path, machine) as early:
            assert early.control is None, "a page of another boot"
    with early_in(tmp_path, Machine(page.valid_until_raw_ns + 1)) as early:
        assert early.control is None, "a page that is too old"
    with closing_hold(tmp_path), early_in(tmp_path, machine) as early:
        assert (early.hold, early.control) == (None, None)
    (tmp_path / "evidence").rename(tmp_path / "elsewhere")
    with early_in(tmp_path, machine) as early:
        assert early.control is None, "no record states this page"
    (tmp_path / "elsewhere").rename(tmp_path / "evidence")
    with early_in(tmp_path, machine) as early:
        assert early.control is not None


@contextmanager
def closing_hold(folder: Path) -> Iterator[None]:
    hold = Hold(folder)
    try:
        yield
    finally:
        hold.release()


def test_doors_open_early_on_a_page_that_a_record_states_and_stay_shut_on_another(tmp_path: Path) -> None:
    machine = ended(tmp_path, how="kill").machine
    real = HostClocks()
    port = with_a_door(tmp_path)
    (tmp_path / "evidence").rename(tmp_path / "elsewhere")
    with early_in(tmp_path, machine) as early:
        assert early.doors == {}
        assert ask_door(port) is None
        assert door_pids(tmp_path) == []
    (tmp_path / "elsewhere").rename(tmp_path / "evidence")
    with early_in(tmp_path, machine) as early:
        (door,) = early.doors.values()
        answer = ask_door(port)
        assert answer is not None  # its own counter is this machine's, and the page is of a made-up one: it says so
        assert answer.doubt is not None
        checked = check_lab(tmp_path / "LAB.toml", now=now_label())
        assert checked.lab is None, "the port is in use"
        assert without_own_doors(checked, ours=True).lab is not None
        assert without_own_doors(checked, ours=False).lab is None, "another laboratory runs here"
    assert door.process.poll() is not None
    assert Hold(tmp_path).was_killed, "nothing was started: what was found stands"
    assert real.boot_id() == machine.clocks.boot_id()


def test_a_door_behind_a_gate_does_nothing_that_others_see_until_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    listener = Listener(protocol=Protocol.NTP, port=free_port())
    with Gate() as gate:
        shut = doors.begin_door(listener, tmp_path, allow_simulated=False, gate=gate)
    assert shut.process.wait(120) == 0
    with pytest.raises(doors.DoorRejected):
        doors.opened(shut)
    with Gate() as gate:
        door = doors.begin_door(listener, tmp_path, allow_simulated=False, gate=gate)
        time.sleep(0.3)  # it is ready by now, and waits
        assert ask_door(listener.port_number) is None
        assert door_pids(tmp_path) == []
        gate.open()
        try:
            doors.opened(door)
            assert ask_door(listener.port_number) is not None
        finally:
            doors.end_door(door)


def test_a_door_whose_laboratory_was_killed_before_it_opened_ends_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", doors.SERVE_MODULE, "--page", str(tmp_path / "page"), "--address", "127.0.0.1"]
    command += ["--port", "0", "--pidfile", str(tmp_path / "ntp.pid"), "--parent-pid", str(2**22 + 1)]
    ran = subprocess.run(command, env=doors._environment(), capture_output=True, text=True, timeout=120, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert not (tmp_path / "ntp.pid").exists()


def test_a_door_without_a_laboratory_ends_when_its_time_is_up_or_no_pid_file_names_it(tmp_path: Path) -> None:
    pidfile = tmp_path / "door.pid"
    pidfile.write_text(f"{os.getpid()}\n")
    child = Parenthood(os.getppid(), exit_s=0.0, pidfile=pidfile)
    assert not child.is_lost
    assert not child.must_end(10 * NS, 0)
    orphan = Parenthood(2**22 + 1, exit_s=5.0, pidfile=pidfile)
    assert orphan.is_lost
    assert not orphan.must_end(10 * NS, 0)
    assert not orphan.must_end(14 * NS, 0)
    assert not orphan.must_end(15 * NS, 12 * NS), "another laboratory took it over"
    assert orphan.must_end(17 * NS, 12 * NS)
    nameless = Parenthood(2**22 + 1, exit_s=5.0, pidfile=pidfile)
    for text in ("1\n", "", "no number\n"):
        pidfile.write_text(text)
        assert nameless.must_end(10 * NS, 10 * NS)
        take_away(pidfile)
        assert pidfile.exists(), "it is another's"
    pidfile.write_text(f"{os.getpid()}\n")
    take_away(pidfile)
    assert not pidfile.exists()
    assert nameless.must_end(10 * NS, 10 * NS)
    take_away(pidfile)
    take_away(None)
    assert not Parenthood(1, exit_s=0.0).is_lost, "a service manager's own"


def test_records_that_are_gone_refuse_a_start_and_change_nothing(tmp_path: Path) -> None:
    machine = ended(tmp_path).machine
    (tmp_path / "evidence").rename(tmp_path / "lost")
    held = sorted(path.name for path in tmp_path.iterdir())
    for _ in range(2):
        with pytest.raises(RecordsLostRejected, match=r"there are no records, where \d+ were on the disk"):
            Run.begin(tmp_path, machine)
        assert sorted(path.name for path in tmp_path.iterdir()) == held
    (tmp_path / "lost").rename(tmp_path / "evidence")
    again = Run.begin(tmp_path, machine)
    assert again.laboratory.started.resumed
    assert again.laboratory.started.lost == 0
    again.close()
    (tmp_path / "evidence").rename(tmp_path / "lost")
    (tmp_path / "run").rename(tmp_path / "run.before")  # as the message says
    anew = Run.begin(tmp_path, machine)
    assert not anew.laboratory.started.resumed
    anew.close()


def test_an_evidence_folder_that_goes_away_while_it_runs_is_said_held_and_written_on_when_it_is_back(
    tmp_path: Path,
) -> None:
    run = Run.copied(tmp_path).epochs(2)
    (tmp_path / "evidence").rename(tmp_path / "away")
    run.epochs(3)
    assert run.status()["store"]["state"] == "failing"
    assert "moved, deleted or replaced" in run.status()["store"]["says"]
    assert run.served().state == "holdover"
    assert abs(run.error_s()) <= run.served().bound_s
    assert [alert.kind for alert in run.laboratory.alerts][-1] == "records-not-written"
    (tmp_path / "away").rename(tmp_path / "evidence")
    run.epoch(after_s=2.0)
    assert run.status()["store"]["state"] == "written"
    assert run.served().state == "steered"
    run.close()
    again = Run.begin(tmp_path, run.machine)
    assert again.laboratory.started.lost == 0
    shutil.rmtree(tmp_path / "evidence")
    again.epochs(2)
    assert again.status()["store"]["state"] == "failing"
    again.close()
    assert again.laboratory.journal.waiting > 0, "`up` says how many are lost, and ends with 1"
    with pytest.raises(RecordsLostRejected):
        Run.begin(tmp_path, run.machine)


def test_records_that_lost_their_end_are_told_in_the_log_of_the_run_that_goes_on(tmp_path: Path) -> None:
    run = Run.copied(tmp_path)
    run.close()
    older = (tmp_path / "evidence" / "records.sqlite3").read_bytes()
    run = Run.begin(tmp_path, run.machine).epochs(3)
    known = run.laboratory.started.state.chain.seq
    run.close()
    (tmp_path / "evidence" / "records.sqlite3").write_bytes(older)
    again = Run.begin(tmp_path, run.machine)
    started = again.laboratory.started
    assert started.lost > 0
    assert started.lost == known - (started.known + started.replayed)
    again.laboratory.run(for_s=0.001)
    assert again.laboratory.alerts[0].kind == "records-lost"
    assert f"the last {started.lost} records" in again.laboratory.alerts[0].says
    with closing(started.store) as store:
        assert any(b"records-lost" in record for record in store.read())
    again.kill()


def test_what_a_snapshot_of_any_version_tells_of_the_records_is_believed_only_where_it_is_whole(tmp_path: Path) -> None:
    run = Run.copied(tmp_path).epochs(1)
    snapshots = run.laboratory.started.snapshots
    data = snapshots.load()
    assert data is not None
    path = tmp_path / "evidence" / "records.sqlite3"
    assert lost_records.look(path, snapshots) == 0
    for bad in (b"", data[:-1], data.replace(b'"seq":', b'"seg":', 1), b"truechimer-snapshot 1 " + b"0" * 64 + b"\n{}"):
        snapshots.load = lambda bad=bad: bad  # type: ignore[method-assign, misc]
        assert lost_records.look(tmp_path / "nowhere", snapshots) == 0
    run.kill()


def test_a_start_reads_nothing_heavy_into_memory_before_its_doors_are_open() -> None:
    code = (
        "import sys; import truechimer.cli.up_verb, truechimer.daemon.answering.now_document;"
        "import truechimer.daemon.records.last_page;"
        "print([name for name in ('numpy', 'numba', 'cryptography', 'asyncio', 'truechimer.daemon.lab.lab_check',"
        " 'truechimer.laboratory', 'truechimer.scale') if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], env=doors._environment(), capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


def test_doors_of_every_kind_are_taken_over_by_their_whole_command_line(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    listeners = (
        Listener(protocol=Protocol.CHRONY_SOCK, path="chrony.sock"),
        Listener(protocol=Protocol.CONSOLE, port=free_port()),
    )
    before = [doors.open_door(each, tmp_path, allow_simulated=False) for each in listeners]
    try:
        found = doors.begin_all(listeners, tmp_path, allow_simulated=False, early={})
        assert [door.process.pid for door in found] == [door.process.pid for door in before]
        assert doors.all_opened(found, tmp_path, allow_simulated=False) == found
        assert found[0].row()["path"] == "chrony.sock"
        until(lambda: "sock" in found[0].row())
        # of another version, or of another limit: ended, and begun anew
        other = (Listener(protocol=Protocol.CHRONY_SOCK, path="chrony.sock", bound_limit_s=0.002), listeners[1])
        anew = doors.begin_all(other, tmp_path, allow_simulated=False, early={})
        assert anew[0].process.pid != before[0].process.pid
        assert anew[1].process.pid == before[1].process.pid
        until(lambda: not is_running(before[0].process.pid) or before[0].process.poll() is not None)
        doors.end_door(doors.opened(anew[0]))
    finally:
        for door in before:
            doors.end_door(door)


def test_a_door_that_was_still_starting_and_had_the_port_first_is_taken_over_in_the_place_of_the_new_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "run").mkdir()
    listener = Listener(protocol=Protocol.NTP, port=free_port())
    new = doors.begin_door(listener, tmp_path, allow_simulated=False, gate=(gate := Gate()))
    first = doors.open_door(listener, tmp_path, allow_simulated=False)
    with gate:
        gate.open()
        try:
            (found,) = doors.all_opened([new], tmp_path, allow_simulated=False)
            assert found.process.pid == first.process.pid
        finally:
            doors.end_door(first)
