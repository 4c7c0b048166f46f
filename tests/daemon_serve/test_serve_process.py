"""The serve process: it outlives the laboratory, says when it is ready, ends when told, and cannot be talked to
death.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.daemon_serve.doors import ENVIRONMENT, PATIENCE_S, a_door, a_live_page, a_page_in, ready_of
from tests.waits import until

from truechimer.daemon.door import counters as names
from truechimer.daemon.door.counters import read_counters
from truechimer.daemon.host_clocks import HostClocks
from truechimer.serve import ServiceState
from truechimer.serve.ntp import AnswerDoubt, NtpAnswer, make_request
from truechimer.serve.ntp.server import stamp_at


def a_laboratory(folder: Path, *, bound_growth: float, silence_s: float) -> "subprocess.Popen[str]":
    """Start a process that writes pages all the time, so that a kill falls into a write now and then."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.daemon_serve.writing_laboratory",
            str(folder / "page"),
            str(bound_growth),
            str(silence_s),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | {"PYTHONPATH": f"{ENVIRONMENT['PYTHONPATH']}:{Path(__file__).parents[2]}"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def kill_9(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait(PATIENCE_S)
    assert process.stdout is not None
    process.stdout.close()


def test_a_page_is_served_on_loopback_within_the_bracket_of_the_exchange(tmp_path: Path) -> None:
    page = a_live_page()
    clocks = HostClocks()
    with a_page_in(tmp_path, page), a_door(tmp_path) as door:
        before = clocks.raw_ns()
        answer = door.ask()
        after = clocks.raw_ns()
    assert isinstance(answer, NtpAnswer)
    assert answer.doubt is None
    assert stamp_at(page, before) <= answer.receive + 2**32 * 5e-6  # T2 may be early by the stamp limit, 5 us
    assert answer.receive < answer.transmit <= stamp_at(page, after)
    assert answer.refid == b"TRUE"
    assert answer.precision_log2 == door.ready["precision_log2"]


def test_kill_9_of_the_laboratory_leaves_a_growing_bound_then_unsynchronised_by_the_bound_limit(tmp_path: Path) -> None:
    laboratory = a_laboratory(tmp_path, bound_growth=2e-3, silence_s=600)
    with a_door(tmp_path, "--bound-limit-s", "0.004") as door:
        until(lambda: (answer := door.ask()) is not None and answer.doubt is None)
        while_alive = door.ask()
        kill_9(laboratory)
        killed_at_s = time.monotonic()
        stated: list[tuple[float, float]] = []
        while True:
            since_kill_s = time.monotonic() - killed_at_s
            answer = door.ask()
            assert answer is not None, "it goes on answering"
            if answer.doubt is not None:
                break
            stated.append((since_kill_s, answer.root_dispersion_s))
            time.sleep(0.02)
            assert len(stated) < 1_000
        assert answer.doubt is AnswerDoubt.UNSYNCHRONISED
        assert answer.leap == 3
        until(lambda: read_counters(door.counters_path())["unsynchronised_bound_too_wide"] > 0)
    assert while_alive is not None
    assert while_alive.root_dispersion_s < 1e-3
    for since_kill_s, dispersion_s in stated:
        assert dispersion_s >= 1e-5 + 2e-3 * since_kill_s  # the last page was written before the kill
    assert stated[-1][1] > 0.003
    assert stated[-1][1] <= 0.004 + 100e-6 + 2**-16  # the limit, a stamp's own term, and rounding up


def test_kill_9_of_the_laboratory_ends_in_unsynchronised_by_silence(tmp_path: Path) -> None:
    laboratory = a_laboratory(tmp_path, bound_growth=1e-8, silence_s=3.0)
    with a_door(tmp_path) as door:
        until(lambda: (answer := door.ask()) is not None and answer.doubt is None)
        kill_9(laboratory)
        killed_at = time.monotonic()
        answer = door.ask()
        assert answer is not None
        assert answer.doubt is None  # silence is not yet doubt
        until(lambda: (answer := door.ask()) is not None and answer.doubt is AnswerDoubt.UNSYNCHRONISED)
        assert time.monotonic() - killed_at > 1.0
        until(lambda: read_counters(door.counters_path())["unsynchronised_page_too_old"] > 0)


def test_a_laboratory_that_comes_back_is_served_again(tmp_path: Path) -> None:
    first = a_laboratory(tmp_path, bound_growth=1e-8, silence_s=0.2)
    with a_door(tmp_path) as door:
        kill_9(first)
        until(lambda: (answer := door.ask()) is not None and answer.doubt is AnswerDoubt.UNSYNCHRONISED)
        second = a_laboratory(tmp_path, bound_growth=1e-8, silence_s=600)
        until(lambda: (answer := door.ask()) is not None and answer.doubt is None)
        kill_9(second)


@pytest.mark.slow
def test_forty_kills_in_mid_write_never_leave_a_page_that_is_not_whole(tmp_path: Path) -> None:
    with a_door(tmp_path) as door:
        for _ in range(40):
            laboratory = a_laboratory(tmp_path, bound_growth=1e-8, silence_s=600)
            kill_9(laboratory)
            answer = door.ask()
            assert answer is not None
            assert answer.doubt is None
            assert answer.refid == b"TRUE"


def test_without_a_page_it_answers_unsynchronised_with_zero_stamps_until_one_appears(tmp_path: Path) -> None:
    with a_door(tmp_path) as door:
        answer = door.ask()
        assert answer is not None
        assert (answer.kiss, answer.receive, answer.transmit) == ("INIT", 0, 0)
        with a_page_in(tmp_path):
            until(lambda: (answer := door.ask()) is not None and answer.doubt is None)


def test_a_page_file_cut_short_or_taken_away_does_not_kill_the_door(tmp_path: Path) -> None:
    with a_page_in(tmp_path), a_door(tmp_path) as door:
        assert door.ask() is not None
        os.truncate(tmp_path / "page", 10)
        answer = door.ask()
        assert answer is not None
        assert answer.doubt is None  # the last whole page goes on, and ages
        (tmp_path / "page").unlink()
        answer = door.ask()
        assert answer is not None
        assert answer.doubt is None


def test_a_page_of_another_boot_is_not_served(tmp_path: Path) -> None:
    with a_page_in(tmp_path) as writer, a_door(tmp_path) as door:
        writer._boot_id = b"another boot ..."
        writer.publish(a_live_page())
        answer = door.ask()
        assert answer is not None
        assert answer.doubt is AnswerDoubt.UNSYNCHRONISED
        assert (answer.receive, answer.transmit) == (0, 0)
        until(lambda: read_counters(door.counters_path())["unsynchronised_counter_restarted"] > 0)


def test_an_alarm_on_the_page_is_unsynchronised_at_once(tmp_path: Path) -> None:
    with a_page_in(tmp_path) as writer, a_door(tmp_path) as door:
        answer = door.ask()
        assert answer is not None
        assert answer.doubt is None
        writer.publish(a_live_page(state=ServiceState.ALARM))
        answer = door.ask()
        assert answer is not None
        assert answer.doubt is AnswerDoubt.UNSYNCHRONISED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_when_told(tmp_path: Path, number: signal.Signals) -> None:
    pidfile = tmp_path / "pid"
    with a_page_in(tmp_path), a_door(tmp_path, "--pidfile", str(pidfile)) as door:
        assert int(pidfile.read_text()) == door.process.pid
        door.ask()
        door.process.send_signal(number)
        assert door.process.wait(PATIENCE_S) == 0
        assert not pidfile.exists()
        assert read_counters(door.counters_path())["replies_synchronised"] == 1  # written out a last time


def test_a_port_in_use_is_told_in_one_line_and_exit_2(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        found = run_to_end(tmp_path, "--address", "127.0.0.1", "--port", str(held.getsockname()[1]))
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr.count("\n") == 1
    assert "in use" in found.stderr
    assert "stop the program that holds it" in found.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--address", "localhost", "--port", "0"], "not a numeric address"),
        (["--address", "127.0.0.1", "--port", "70000"], "not a port"),
        (["--address", "127.0.0.1", "--port", "0", "--bound-limit-s", "16"], "MAXDISP"),
        (["--address", "127.0.0.1", "--port", "0", "--bound-limit-s", "nan"], "MAXDISP"),
        (["--address", "127.0.0.1", "--port", "0", "--orphan-exit-s", "nan"], "not a time"),
        (["--address", "127.0.0.1", "--port", "x"], "invalid int value"),
        (["--address", "127.0.0.1", "--port", "0", "--counters", "/nowhere/at/all"], "cannot write"),
        (["--address", "192.0.2.1", "--port", "0"], "cannot listen"),
    ],
)
def test_wrong_use_is_told_in_one_line_and_exit_2(tmp_path: Path, options: list[str], says: str) -> None:
    found = run_to_end(tmp_path, *options)
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert says in found.stderr


def run_to_end(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "truechimer.daemon.ntp.serve_process", "--page", str(folder / "page"), *options]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=PATIENCE_S, check=False)


PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:])
child.wait()
"""


@pytest.mark.parametrize("orphan_exit_s", ["2.0"])
def test_an_orphan_lives_on_for_its_time_and_then_ends_itself(tmp_path: Path, orphan_exit_s: str) -> None:
    command = [sys.executable, "-m", "truechimer.daemon.ntp.serve_process", "--page", str(tmp_path / "page")]
    command += ["--address", "127.0.0.1", "--port", "0", "--orphan-exit-s", orphan_exit_s]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *command], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    ready = ready_of(parent)["ready"]
    child = ready["pid"]
    try:
        orphaned_at = time.monotonic()
        kill_9(parent)
        assert is_running(child)
        until(lambda: not is_running(child))
        assert time.monotonic() - orphaned_at >= 2.0
    finally:
        if is_running(child):
            os.kill(child, signal.SIGKILL)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]
    except OSError:
        return False
    return state != "Z"


def test_ipv6_loopback_is_served(tmp_path: Path) -> None:
    with a_page_in(tmp_path), a_door(tmp_path, address="::1") as door:
        answer = door.ask()
        assert answer is not None
        assert answer.doubt is None


LOOK_AT_IMPORTS = """
import sys
import truechimer.daemon.ntp.serve_process
heavy = {"numpy", "numba", "asyncio", "cryptography", "scipy"}
scale = ("truechimer.scale", "truechimer.compare", "truechimer.clocks", "truechimer.steer")
print(*sorted(name for name in sys.modules if name.split(".")[0] in heavy or name.startswith(scale)))
"""


def test_it_imports_nothing_of_the_scale_and_no_numerical_library() -> None:
    command = [sys.executable, "-c", LOOK_AT_IMPORTS]
    found = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert found.stdout.strip() == ""


def test_every_datagram_is_in_exactly_one_counter(tmp_path: Path) -> None:
    junk = [
        *(b"", b"x", bytes(47)),  # short
        *(bytes(48), bytes(1500), b"\x2b" + bytes(47)),  # versions 0, 0 and 5
        b"\x24" + bytes(47),  # a server's reply
        b"\x26" + bytes(47),  # a control message
        make_request(5) + bytes(20),  # a MAC
        b"\x1b" * 60,  # a MAC of version 3
        make_request(5) + bytes(7),  # neither field nor MAC
        bytes(4000),  # longer than any datagram we take
    ]
    with a_page_in(tmp_path), a_door(tmp_path) as door:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
            for octets in junk:
                connection.sendto(octets, ("127.0.0.1", door.port))
        answer = door.ask()
        assert answer is not None
        until(lambda: read_counters(door.counters_path())[names.RECEIVED] == len(junk) + 1)
        counted = read_counters(door.counters_path())
    outcomes = {name: count for name, count in counted.items() if name.startswith(("ignored_", "replies_")) and count}
    assert outcomes == {
        "replies_synchronised": 1,
        "ignored_short": 3,
        "ignored_version": 3,
        "ignored_mode_not_client": 1,
        "ignored_mode_control": 1,
        "ignored_mac_unsupported": 2,
        "ignored_extension_malformed": 1,
        "ignored_truncated": 1,
    }
    assert counted[names.FAULTS] == 0
    assert counted[names.STAMPS_KERNEL] + counted[names.STAMPS_USER] == len(junk)  # all but the truncated one
