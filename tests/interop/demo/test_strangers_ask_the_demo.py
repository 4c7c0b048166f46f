"""Clients that others wrote ask a whole running demo: chronyd, ntpstats, and ntpdig, which speaks to port 123 only.

The demo's UTC is simulated and anchored to this machine's wall clock at its start, so a client finds this machine's
clock right to within what the wall clock did since: milliseconds, while the answers declare a second. No client gets
control of a clock. For port 123 the demo runs in a network namespace of its own (`unshare`).
"""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.demo.running import ANSWERS, Demo, a_demo
from tests.interop.conformance import plain  # noqa: F401 - the sheets enter themselves
from tests.interop.conformance.sheet import run
from tests.interop.conformance.wire import Door

pytestmark = pytest.mark.slow

SBIN = "/usr/sbin:/usr/local/sbin:/usr/bin"
CHRONYD = shutil.which("chronyd", path=SBIN) or "chronyd"
NTPDIG = shutil.which("ntpdig", path=SBIN) or "ntpdig"
NTP_PORT = 123
WALL_CLOCK_S = 0.05
"""How far a machine's own clock may run from its raw counter in the seconds of a test."""


def leap_of_each_answer(port: int, *, for_s: float) -> list[int]:
    """Ask with nothing but a socket, 20 times a second; return the leap indicators."""
    leaps, until = [], time.monotonic() + for_s
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(1.0)
        asking.connect(("127.0.0.1", port))
        while time.monotonic() < until:
            asking.send(b"\x23" + 39 * b"\0" + os.urandom(8))
            leaps.append(asking.recv(512)[0] >> 6)
            time.sleep(0.05)
    return leaps


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """A running demo that answers."""
    with (
        tempfile.TemporaryDirectory() as folder,
        a_demo(Path(folder), "--for", "300", "--seed", "21", "--json") as found,
    ):
        found.wait_for(ANSWERS)
        found.first_leaps.extend(leap_of_each_answer(found.port_base, for_s=2.5))
        yield found
        found.interrupt()
        assert found.end(within_s=120) == 0, found.said
        assert found.document()["lies"] == 0
        assert found.left_behind() == []


def test_from_the_first_answer_on_the_door_stays_synchronised(demo: Demo) -> None:
    assert len(demo.first_leaps) >= 20
    assert set(demo.first_leaps) == {0}


@pytest.mark.needs_chrony
def test_chronyd_takes_the_demo_for_a_server_and_finds_this_machine_right(demo: Demo, tmp_path: Path) -> None:
    command = [CHRONYD, "-Q", "-x", "-d", "-u", "root", "-t", "30"]
    command += [f"server 127.0.0.1 port {demo.port_base} iburst", "cmdport 0", f"pidfile {tmp_path}/own.pid"]
    found = subprocess.run([*command, "bindcmdaddress /"], capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stderr
    wrong = re.search(r"System clock wrong by (-?[0-9.]+) seconds \(ignored\)", found.stderr)
    assert wrong, found.stderr
    assert abs(float(wrong[1])) <= WALL_CLOCK_S


@pytest.mark.parametrize("version", [3, 4])
def test_ntpstats_reads_a_simulated_stratum_1_that_declares_its_second(demo: Demo, version: int) -> None:
    sntp = pytest.importorskip("ntpstats.sntp")
    found = sntp.query("127.0.0.1", port=demo.port_base, version=version)
    assert (found.version, found.stratum, found.leap) == (version, 1, 0)
    assert 1.0 <= found.root_dispersion < 1.001
    assert abs(found.offset) <= WALL_CLOCK_S


def test_every_answer_in_a_burst_lies_inside_what_it_declares(demo: Demo) -> None:
    sntp = pytest.importorskip("ntpstats.sntp")
    for _ in range(50):
        found = sntp.query("127.0.0.1", port=demo.port_base)
        assert abs(found.offset) <= found.delay / 2 + found.root_dispersion


def test_the_demos_door_keeps_every_clause_that_a_plain_door_keeps(demo: Demo) -> None:
    door = Door("127.0.0.1", demo.port_base)
    assert not run([("plain", door), ("interleaved", door)])


def in_namespace_of(pid: int, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a program in the network namespace of a process."""
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.needs_netns
@pytest.mark.needs_ntpdig
@pytest.mark.needs_chrony
def test_ntpdig_and_chronyd_ask_a_demo_on_port_123_of_a_network_namespace(tmp_path: Path) -> None:
    launcher = tmp_path / "in-a-namespace"
    launcher.write_text('#!/bin/sh\nexec unshare --net sh -c \'ip link set lo up && exec "$@"\' sh "$@"\n')
    launcher.chmod(0o700)
    with a_demo(
        tmp_path, "--for", "300", "--seed", "22", "--json", port_base=NTP_PORT, launcher=(str(launcher),)
    ) as demo:
        demo.wait_for(ANSWERS)
        pid = demo.process.pid
        assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
        dug = in_namespace_of(pid, NTPDIG, "-j", "127.0.0.1")
        chrony = in_namespace_of(
            pid, CHRONYD, "-Q", "-x", "-d", "-u", "root", "-t", "30", "server 127.0.0.1 iburst", "cmdport 0",
            f"pidfile {tmp_path}/own.pid", "bindcmdaddress /",
        )  # fmt: skip
        demo.interrupt()
        assert demo.end(within_s=120) == 0, demo.said
    assert dug.returncode == 0, dug.stdout + dug.stderr
    answer: dict[str, Any] = json.loads(dug.stdout)
    assert abs(float(answer["offset"])) <= WALL_CLOCK_S
    assert answer["stratum"] == 1
    assert chrony.returncode == 0, chrony.stderr
    assert "System clock wrong by" in chrony.stderr
