"""LAB.toml against a machine: real files, real modes, real ports on loopback; nothing is started."""

import os
import socket
from pathlib import Path

import pytest
from tests import ports

from truechimer.daemon.lab.lab_check import CheckedLab, LabFileUnreadableRejected, check_lab
from truechimer.daemon.lab.lab_rules import InsecureFlags
from truechimer.formats import leap_seconds_list
from truechimer.formats.finding import Severity
from truechimer.instants import Instant, Span, UtcLabel, builtin_leap_table
from truechimer.instants.utc import from_utc

DAY = Span.from_ns(86_400 * 10**9)
LEAPS = builtin_leap_table()
EXPIRES = from_utc(UtcLabel(LEAPS.expires.mjd - 1, 0, 0), LEAPS) + DAY
LONG_BEFORE = EXPIRES - DAY * 100

TEXT = """\
[lab]
name = "lab1"
[[source]]
name = "counters"
kind = "readings"
path = "readings.csv"
[[listener]]
protocol = "ntp"
port = {port}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "readings.csv").write_text("epoch_tai_ns,clock_a,clock_b,x_a_minus_b_s,u_s\n")
    return tmp_path


@pytest.fixture
def free_port() -> int:
    """A port that nobody else here has."""
    return ports.free_port()


def check(folder: Path, text: str, *, now: Instant = LONG_BEFORE, flags: InsecureFlags | None = None) -> CheckedLab:
    path = folder / "LAB.toml"
    path.write_text(text)
    return check_lab(path, now=now, flags=flags)


def rules(checked: CheckedLab) -> list[tuple[str, int | None]]:
    return [(fault.rule, fault.line) for fault in checked.findings]


def test_a_good_file_on_a_good_machine_has_no_faults(folder: Path, free_port: int) -> None:
    checked = check(folder, TEXT.format(port=free_port))
    assert rules(checked) == []
    assert checked.lab is not None
    assert checked.folder == folder
    assert checked.leap_table == LEAPS
    assert checked.data == (folder / "LAB.toml").read_bytes()


def test_a_taken_port_is_named_with_its_line_and_released_afterwards(folder: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        text = TEXT.format(port=other.getsockname()[1])
        checked = check(folder, text)
        assert rules(checked) == [("port-in-use", 9)]
        assert checked.lab is None
    assert rules(check(folder, text)) == []
    assert rules(check(folder, text)) == []  # the check itself keeps nothing


def test_a_door_at_every_address_of_both_families_finds_an_ipv4_port_taken(folder: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        text = TEXT.format(port=other.getsockname()[1])
        assert rules(check(folder, f'{text}address = "::"\n')) == [("port-in-use", 9)]


def test_an_address_of_one_link_without_its_interface_is_said_to_need_it(folder: Path, free_port: int) -> None:
    (fault,) = check(folder, TEXT.format(port=free_port) + 'address = "fe80::1"\n').findings
    assert fault.rule == "address-not-here"
    assert "fe80::1%eth0" in fault.says


def test_a_listening_console_port_is_taken_too(folder: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        text = TEXT.format(port=other.getsockname()[1])
        assert rules(check(folder, text)) == []  # NTP is UDP: another transport
        assert rules(check(folder, text.replace('"ntp"', '"console"'))) == [("port-in-use", 9)]


def test_an_address_of_another_machine_cannot_be_a_door(folder: Path, free_port: int) -> None:
    checked = check(folder, TEXT.format(port=free_port) + 'address = "192.0.2.77"\n')
    assert rules(checked) == [("address-not-here", 9)]


def test_readings_that_cannot_be_read_are_named(folder: Path, free_port: int) -> None:
    text = TEXT.format(port=free_port)
    assert rules(check(folder, text.replace("readings.csv", "missing.csv"))) == [("unreadable-file", 6)]
    assert rules(check(folder, text.replace("readings.csv", "."))) == [("unreadable-file", 6)]
    assert rules(check(folder, text.replace("readings.csv", "a\\u0000b"))) == [("unreadable-file", 6)]
    os.mkfifo(folder / "pipe")
    assert rules(check(folder, text.replace("readings.csv", "pipe"))) == [("unreadable-file", 6)]


def test_a_chronyd_that_is_not_there_yet_is_a_warning(folder: Path) -> None:
    head = '[lab]\nname = "lab1"\n[[source]]\nname = "c"\nkind = "chrony"\n'
    for key, name in (("socket", "d.sock"), ("logdir", "log")):
        checked = check(folder, head + f'{key} = "{name}"\n')
        assert rules(checked) == [("chronyd-away", 6)]
        assert checked.findings[0].severity is Severity.WARNING
        assert checked.lab is not None
    (folder / "log").mkdir()
    assert rules(check(folder, head + 'logdir = "log"\n')) == []
    assert rules(check(folder, head + 'logdir = "readings.csv"\n')) == [("chronyd-away", 6)]


def test_a_key_that_others_can_read_is_refused(folder: Path, free_port: int) -> None:
    (folder / "policy").mkdir()
    key = folder / "policy" / "first.key"
    key.write_text("secret")
    key.chmod(0o644)
    (fault,) = check(folder, TEXT.format(port=free_port)).findings
    assert (fault.rule, "chmod 600 policy/first.key" in fault.says) == ("key-permissions", True)
    key.chmod(0o600)
    assert rules(check(folder, TEXT.format(port=free_port))) == []
    key.unlink()
    key.symlink_to("nowhere")
    assert [rule for rule, _ in rules(check(folder, TEXT.format(port=free_port)))] == ["unreadable-key"]


def test_a_file_where_a_folder_must_be_is_named(folder: Path, free_port: int) -> None:
    (folder / "evidence").write_text("")
    assert [rule for rule, _ in rules(check(folder, TEXT.format(port=free_port)))] == ["not-a-folder"]


def test_an_expired_leap_table_is_a_fault_and_one_about_to_expire_a_warning(folder: Path, free_port: int) -> None:
    text = TEXT.format(port=free_port)
    assert rules(check(folder, text, now=EXPIRES - DAY * 29)) == []
    soon = check(folder, text, now=EXPIRES - DAY * 27)
    assert [(fault.rule, fault.severity) for fault in soon.findings] == [("leap-table-expiring", Severity.WARNING)]
    assert soon.lab is not None
    late = check(folder, text, now=EXPIRES + DAY)
    assert rules(late) == [("leap-table-expired", None)]
    assert late.lab is None


def test_a_leap_table_of_the_laboratory_itself_is_used_and_judged(folder: Path, free_port: int) -> None:
    text = TEXT.format(port=free_port).replace('"lab1"', '"lab1"\nleap_seconds_file = "leap-seconds.list"')
    assert rules(check(folder, text)) == [("unreadable-file", 3)]
    (folder / "leap-seconds.list").write_bytes(b"2272060800 10\n")
    assert rules(check(folder, text)) == [("bad-leap-table", 3)]
    (folder / "leap-seconds.list").write_bytes(leap_seconds_list.write(LEAPS, updated=UtcLabel(61_000, 0, 0)))
    checked = check(folder, text)
    assert rules(checked) == []
    assert checked.leap_table is not None
    assert checked.leap_table.entries == LEAPS.entries
    assert rules(check(folder, text, now=EXPIRES + DAY)) == [("leap-table-expired", 3)]


def test_every_fault_is_listed_at_once_and_nothing_is_usable(folder: Path) -> None:
    """Unknown key, wrong unit, two clocks of one name, expired leap table, port in use, unreadable key, together."""
    (folder / "policy").mkdir()
    (folder / "policy" / "a.key").symlink_to("nowhere")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        text = TEXT.format(port=other.getsockname()[1]) + (
            '[[clock]]\nname = "C1"\nkind = "caesium"\n[[clock]]\nname = "C1"\nkind = "caesium"\ncolour = 1\n'
            "[scale]\ninterval_ms = 10\n"
        )
        checked = check(folder, text, now=EXPIRES + DAY)
    assert checked.lab is None
    assert sorted(rule for rule, _ in rules(checked)) == [
        "duplicate-clock",
        "leap-table-expired",
        "port-in-use",
        "unknown-key",
        "unreadable-key",
        "wrong-unit",
    ]
    numbered = [line for _, line in rules(checked) if line is not None]
    assert numbered == sorted(numbered)


def test_a_file_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(LabFileUnreadableRejected, match=r"no such file.*truechimer init"):
        check_lab(tmp_path / "LAB.toml", now=LONG_BEFORE)
    with pytest.raises(LabFileUnreadableRejected, match="is a directory"):
        check_lab(tmp_path, now=LONG_BEFORE)


def test_a_syntax_error_alone_is_reported(folder: Path) -> None:
    assert rules(check(folder, "[lab\nname = 3\n")) == [("toml-syntax", 1)]
