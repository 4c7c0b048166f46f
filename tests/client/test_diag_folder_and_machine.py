"""diag's looks at a laboratory's folder and at this machine: each FAIL and WARN is provoked."""

import dataclasses
import http.server
import json
import os
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.control.fake_laboratory import FakeLaboratory
from tests.daemon_serve.doors import a_live_page

from truechimer import kernel
from truechimer.cli import diag_checks, diag_folder, diag_machine
from truechimer.cli.__main__ import main
from truechimer.cli.diag_checks import Outcome
from truechimer.daemon.host_clocks import WIDEST_PAIR_NS, ClockPair, HostClocks
from truechimer.daemon.page_file import PageWriter
from truechimer.evidence.record import Chain, seal
from truechimer.store.sqlite_records import SqliteRecords

RUNNING: dict[str, Any] = {"state": "steered"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A laboratory's folder as `up` leaves it."""
    for name in ("run", "policy", "evidence"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "policy" / "operator.key").touch(mode=0o600)
    return tmp_path


# ---- the file --------------------------------------------------------------------------------------------------------


def judged(folder: Path, text: str, *, running: bool = False) -> diag_checks.Check:
    (folder / "LAB.toml").write_text(text)
    return diag_folder.lab_file(folder, None, status=RUNNING if running else None)[1]


GOOD = '[lab]\nname = "x"\n[[source]]\nname = "a"\nkind = "ntp"\naddress = "192.0.2.1:123"\n'


def test_a_good_file_is_ok_one_with_a_fault_fails_and_its_warnings_are_told(folder: Path) -> None:
    assert judged(folder, GOOD).outcome is Outcome.OK
    assert judged(folder, GOOD + "[scale]\ninterval = 3\n").outcome is Outcome.FAIL
    away = GOOD + '[[source]]\nname = "c"\nkind = "chrony"\nsocket = "/nowhere/chronyd.sock"\n'
    assert judged(folder, away).outcome is Outcome.WARN


def test_a_missing_file_is_a_warning_and_an_unreadable_one_a_fault(folder: Path) -> None:
    assert diag_folder.lab_file(folder, None, status=None)[1].outcome is Outcome.WARN
    assert diag_folder.lab_file(folder, folder / "run", status=None)[1].outcome is Outcome.FAIL


def test_its_own_doors_have_the_ports_while_it_runs_and_another_program_may_not(folder: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        text = f'{GOOD}[[listener]]\nprotocol = "ntp"\naddress = "127.0.0.1"\nport = {taken.getsockname()[1]}\n'
        assert judged(folder, text).outcome is Outcome.FAIL
        assert judged(folder, text, running=True).outcome is Outcome.OK


# ---- who may open what -----------------------------------------------------------------------------------------------


def outcome_of_permissions(folder: Path) -> Outcome:
    return diag_folder.permissions(folder, policy=folder / "policy", evidence=folder / "evidence").outcome


@pytest.mark.parametrize(("name", "mode"), [("run", 0o755), ("policy", 0o750), ("policy/operator.key", 0o640)])
def test_what_decides_about_the_time_is_nobody_elses(name: str, mode: int, folder: Path) -> None:
    assert outcome_of_permissions(folder) is Outcome.OK
    (folder / name).chmod(mode)
    assert outcome_of_permissions(folder) is Outcome.FAIL


def test_records_may_be_read_by_others_and_not_written(folder: Path) -> None:
    (folder / "evidence").chmod(0o755)
    assert outcome_of_permissions(folder) is Outcome.OK
    (folder / "evidence").chmod(0o777)
    assert outcome_of_permissions(folder) is Outcome.FAIL


def test_a_control_socket_that_others_may_open_fails(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(folder / "run" / "control.sock"))
        (folder / "run" / "control.sock").chmod(0o666)
        assert outcome_of_permissions(folder) is Outcome.FAIL


# ---- records and snapshot --------------------------------------------------------------------------------------------


def records_in(folder: Path, count: int) -> Path:
    path, place = folder / "evidence" / "records.sqlite3", Chain()
    store = SqliteRecords(path)
    for number in range(count):
        record, place = seal("steering", {"number": number}, place)
        store.append([(record.seq, record.data)])
    store.close()
    return path


def test_the_newest_records_follow_each_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diag_folder, "CHAIN_TAIL", 5)
    assert diag_folder.chain(folder / "evidence" / "records.sqlite3").outcome is Outcome.OK
    found = diag_folder.chain(records_in(folder, 9))
    assert (found.outcome, found.says.split(";")[0]) == (Outcome.OK, "the newest 5 of 9 follow each other")


def test_a_record_that_was_changed_fails(folder: Path) -> None:
    path = records_in(folder, 9)
    with sqlite3.connect(path) as db:
        for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {trigger}")
        (table,) = db.execute(
            "SELECT name FROM sqlite_master WHERE sql LIKE '%data BLOB%' AND sql LIKE '%seq%'"
        ).fetchone()
        (data,) = db.execute(f"SELECT data FROM {table} WHERE seq = 6").fetchone()
        db.execute(f"UPDATE {table} SET data = ? WHERE seq = 6", (bytes(data).replace(b"6", b"7"),))
    db.close()
    assert diag_folder.chain(path).outcome is Outcome.FAIL
    path.write_bytes(b"no database at all" * 100)
    assert diag_folder.chain(path).outcome is Outcome.FAIL


def test_a_snapshot_is_missed_and_grows_old_while_the_laboratory_runs(folder: Path) -> None:
    assert diag_folder.snapshot(folder, is_running=False).outcome is Outcome.OK
    assert diag_folder.snapshot(folder, is_running=True).outcome is Outcome.WARN
    written = folder / "run" / "state.sqlite3"
    written.touch()
    assert diag_folder.snapshot(folder, is_running=True).outcome is Outcome.OK
    os.utime(written, (1.7e9, 1.7e9))
    assert diag_folder.snapshot(folder, is_running=True).outcome is Outcome.WARN
    assert diag_folder.snapshot(folder, is_running=False).outcome is Outcome.OK


# ---- the page --------------------------------------------------------------------------------------------------------


def page_outcome(folder: Path, *, running: bool = True) -> Outcome:
    return diag_folder.clock_page(folder, status=RUNNING if running else None).outcome


def test_the_clock_page_must_be_there_of_this_boot_and_fresh(folder: Path) -> None:
    assert page_outcome(folder) is Outcome.FAIL
    assert page_outcome(folder, running=False) is Outcome.OK
    assert diag_folder.clock_page(folder, status={"observing": True}).outcome is Outcome.OK
    raw_ns = HostClocks().raw_ns()
    page = dataclasses.replace(a_live_page(), written_raw_ns=raw_ns, valid_until_raw_ns=raw_ns + 600 * 10**9)
    with PageWriter(folder / "run" / "clock.page", boot_id=HostClocks().boot_id()) as writer:
        assert page_outcome(folder) is Outcome.WARN
        writer.publish(page)
        assert page_outcome(folder) is Outcome.OK
        writer.publish(
            dataclasses.replace(page, written_raw_ns=max(0, raw_ns - 10**10), valid_until_raw_ns=raw_ns + 10**9)
        )
        assert page_outcome(folder) is Outcome.WARN
        writer.publish(dataclasses.replace(page, valid_until_raw_ns=raw_ns - 1))
        assert page_outcome(folder) is Outcome.FAIL
    with PageWriter(folder / "run" / "clock.page", boot_id=b"\1" * 16) as writer:
        writer.publish(page)
        assert page_outcome(folder) is Outcome.FAIL


# ---- the webhook and the console -------------------------------------------------------------------------------------


def test_the_receiver_of_alerts_is_reached_or_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as receiver:
        address = f"http://127.0.0.1:{receiver.getsockname()[1]}/x"
        assert diag_folder.webhook(address, None).outcome is Outcome.OK
        for told in ({"says": "503"}, {"dropped": 2}):
            assert diag_folder.webhook(address, {"notify": {"webhook": told}}).outcome is Outcome.WARN
    assert diag_folder.webhook(address, None).outcome is Outcome.WARN


class Console(http.server.BaseHTTPRequestHandler):
    answers: ClassVar[dict[str, int]] = {}

    def do_GET(self) -> None:
        self.send_response(self.answers[self.path])
        self.end_headers()

    def log_message(self, *_words: Any) -> None:
        return


@pytest.fixture
def console() -> Iterator[tuple[type[Console], int]]:
    handler = type("One", (Console,), {"answers": {"/healthz": 200, "/metrics": 200}})
    server = http.server.HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield handler, server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("healthz", "metrics", "expected"),
    [(200, 200, Outcome.OK), (200, 404, Outcome.OK), (200, 500, Outcome.WARN), (503, 200, Outcome.FAIL)],
)
def test_the_console_is_asked_for_its_health_and_its_metrics(
    healthz: int, metrics: int, expected: Outcome, console: tuple[type[Console], int]
) -> None:
    handler, port = console
    handler.answers = {"/healthz": healthz, "/metrics": metrics}
    assert diag_machine.console({"address": "127.0.0.1", "port": port}).outcome is expected


def test_a_console_that_is_away_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert diag_machine.console({"address": "127.0.0.1", "port": port}).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("sock", "expected"),
    [
        ({"now": "sending", "sent": 3}, Outcome.OK),
        ({"now": "silent: freerun"}, Outcome.WARN),
        ({"now": "not received: absent", "says": "no such file"}, Outcome.WARN),
        (None, Outcome.WARN),
    ],
)
def test_a_sock_door_sends_or_says_why_not(sock: dict[str, Any] | None, expected: Outcome) -> None:
    assert diag_machine.sock_door({"path": "/x.sock", "sock": sock}).outcome is expected


# ---- this machine ----------------------------------------------------------------------------------------------------


class SlowClocks(HostClocks):
    """Clocks whose pairs are as wide as a test says, and whose wall clock may have moved."""

    width_ns, moved = 200, False

    def take_pair(self) -> ClockPair:
        found = super().take_pair()
        return ClockPair(found.raw_ns, found.realtime_ns, self.width_ns // 2)

    def take_steps(self) -> Any:
        return (1,) if self.moved else ()


@pytest.mark.parametrize(
    ("width_ns", "moved", "expected"),
    [(200, False, Outcome.OK), (WIDEST_PAIR_NS, False, Outcome.WARN), (200, True, Outcome.WARN)],
)
def test_clocks_that_are_read_widely_or_move_are_told(width_ns: int, moved: bool, expected: Outcome) -> None:
    clocks = SlowClocks()
    clocks.width_ns, clocks.moved = width_ns, moved
    assert diag_machine.host_clock_reading(clocks).outcome is expected


def processes(folder: Path, *commands: str) -> Path:
    for number, command in enumerate(commands, 100):
        place = folder / "proc" / str(number)
        place.mkdir(parents=True)
        (place / "comm").write_text(f"{command.split()[0][:15]}\n")
        (place / "cmdline").write_bytes(b"\0".join(word.encode() for word in command.split()) + b"\0")
    (folder / "proc" / "self").mkdir(exist_ok=True)
    return folder / "proc"


@pytest.mark.parametrize(
    ("commands", "expected", "says"),
    [
        (("bash",), Outcome.OK, "no program known"),
        (("chronyd -d",), Outcome.OK, "chronyd"),
        (("chronyd -x", "systemd-timesyncd"), Outcome.OK, "systemd-timesyn"),
        (("chronyd", "ntpd -g"), Outcome.WARN, "chronyd, ntpd at once"),
    ],
)
def test_two_programs_that_set_one_clock_are_told(
    commands: tuple[str, ...], expected: Outcome, says: str, tmp_path: Path
) -> None:
    found = diag_machine.who_sets_the_clock(processes(tmp_path, *commands))
    assert found.outcome is expected
    assert says in found.says


def test_processes_near_their_limit_of_files_are_told(tmp_path: Path) -> None:
    place = processes(tmp_path, "python") / "100"
    (place / "fd").mkdir()
    (place / "limits").write_text("Limit  Soft Limit Hard Limit Units\nMax open files            10     10    files\n")
    assert diag_machine.open_files([100, 7], tmp_path / "proc").outcome is Outcome.OK
    for number in range(8):
        (place / "fd" / str(number)).touch()
    assert diag_machine.open_files([100], tmp_path / "proc").outcome is Outcome.WARN
    assert diag_machine.open_files([7], tmp_path / "proc").outcome is Outcome.OK


def test_machine_code_that_cannot_be_kept_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "COMPILED", False)
    assert diag_machine.kernels().outcome is Outcome.OK
    config = type("Config", (), {"CACHE_DIR": str(tmp_path / "absent")})
    monkeypatch.setitem(diag_machine.sys.modules, "numba", type("Numba", (), {"config": config}))
    monkeypatch.setattr(kernel, "COMPILED", True)
    assert diag_machine.kernels().outcome is Outcome.WARN


@pytest.mark.parametrize(
    ("free", "room", "disk"),
    [(1e14, Outcome.OK, Outcome.OK), (2e9, Outcome.WARN, Outcome.OK), (2e8, Outcome.WARN, Outcome.WARN),
     (5e7, Outcome.FAIL, Outcome.FAIL)],
)  # fmt: skip
def test_the_room_for_records_is_told_in_time(
    free: float, room: Outcome, disk: Outcome, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "evidence" / "records.sqlite3").write_bytes(b"x" * 100_000)  # 100 records of 1000 octets
    monkeypatch.setattr(diag_checks.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free, "total": 1e14}))
    assert diag_checks.room(folder, 100.0, 1.0).outcome is room
    assert diag_checks.disk(folder).outcome is disk


def test_diag_sees_records_grow_and_how_fast(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diag_checks, "RECORD_SPAN_S", 0.05)
    with FakeLaboratory(folder) as lab:
        found = diag_checks.records({"records": 1000}, lab.folder)
    assert found.outcome is Outcome.OK
    assert "a second" in found.says


def test_diag_of_a_folder_without_a_running_laboratory_still_looks_into_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "LAB.toml").write_text(GOOD)
    records_in(folder, 3)
    assert main(["diag", "--lab", str(folder / "LAB.toml"), "--json"]) == 1
    checks = {check["what"]: check["outcome"] for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["service"] == "fail"
    assert [checks[what] for what in ("laboratory's file", "permissions", "records' chain")] == ["ok"] * 3
    assert "clocksource" in checks
