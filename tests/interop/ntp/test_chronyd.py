"""Debian's chronyd as a client of our door, and as a server for our client; it never touches this machine's clock
(-x).
"""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.daemon_serve.doors import Door, a_door, a_live_page, a_page_in
from tests.ports import free_port
from tests.waits import until

from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp.ntp_exchange import NtpMeasurement, ask_once, warm_up
from truechimer.instants import Instant, builtin_leap_table
from truechimer.serve import ServiceState
from truechimer.serve.ntp import AnswerDoubt

pytestmark = pytest.mark.needs_chrony

SBIN = "/usr/sbin:/usr/local/sbin:/usr/bin"
CHRONYD = shutil.which("chronyd", path=SBIN) or "chronyd"
CHRONYC = shutil.which("chronyc", path=SBIN) or "chronyc"


def chronyd_asks(door: Door, folder: Path, *, patience_s: int = 8) -> "subprocess.CompletedProcess[str]":
    """Let chronyd measure a door once (-Q) without control of the clock (-x)."""
    configuration = folder / "client.conf"
    server = f"server {door.address} port {door.port} iburst minpoll 0 maxpoll 0"
    configuration.write_text(f"{server}\nport 0\ncmdport 0\npidfile {folder}/client.pid\n")
    command = [CHRONYD, "-x", "-d", "-u", "root", "-Q", "-t", str(patience_s)]
    command += [f"include {configuration}", "bindcmdaddress /"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def seconds_wrong(found: "subprocess.CompletedProcess[str]") -> float:
    """Return by how much chronyd says this host's clock is wrong."""
    said = re.search(r"System clock wrong by (-?[0-9.]+) seconds \(ignored\)", found.stderr)
    assert said, found.stderr
    return float(said[1])


@pytest.mark.parametrize("changes", [{}, {"state": ServiceState.HOLDOVER}, {"simulated": True, "refid": b"SIM\0"}])
def test_chronyd_accepts_a_synchronised_page_and_finds_its_offset(tmp_path: Path, changes: dict[str, Any]) -> None:
    shift_s = 0.123456
    page = a_live_page()
    shifted = a_live_page(
        anchor_raw_ns=page.anchor_raw_ns, anchor_tai_fs=page.anchor_tai_fs + round(shift_s * 1e15), **changes
    )
    with a_page_in(tmp_path, shifted), a_door(tmp_path) as door:
        found = chronyd_asks(door, tmp_path)
    assert found.returncode == 0, found.stderr
    assert seconds_wrong(found) == pytest.approx(shift_s, abs=2e-3)


@pytest.mark.parametrize(
    "state",
    [
        ServiceState.ALARM,
        pytest.param(ServiceState.FREERUN, marks=pytest.mark.slow),
        pytest.param(ServiceState.ACQUIRING, marks=pytest.mark.slow),
    ],
)
def test_chronyd_refuses_an_unsynchronised_page(tmp_path: Path, state: ServiceState) -> None:
    with a_page_in(tmp_path, a_live_page(state=state)), a_door(tmp_path) as door:
        found = chronyd_asks(door, tmp_path, patience_s=3)
        assert door.ask() is not None
    assert found.returncode == 1
    assert "No suitable source for synchronisation" in found.stderr
    assert "System clock wrong" not in found.stderr


@pytest.mark.slow
def test_chronyd_refuses_a_door_without_a_page(tmp_path: Path) -> None:
    with a_door(tmp_path) as door:
        assert chronyd_asks(door, tmp_path, patience_s=3).returncode == 1


@pytest.mark.slow
def test_chronyd_accepts_the_door_over_ipv6(tmp_path: Path) -> None:
    with a_page_in(tmp_path), a_door(tmp_path, address="::1") as door:
        found = chronyd_asks(door, tmp_path)
    assert found.returncode == 0, found.stderr


@contextmanager
def a_chronyd(folder: Path, *directives: str) -> Iterator[Path]:
    """Run a chronyd of our own in `folder`; give its command socket."""
    run = folder / "run"
    run.mkdir(mode=0o750)
    configuration = folder / "own.conf"
    configuration.write_text("\n".join([*directives, "cmdport 0", f"pidfile {run}/own.pid"]) + "\n")
    command = [CHRONYD, "-x", "-d", "-u", "root", f"include {configuration}", f"bindcmdaddress {run}/own.sock"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            until(lambda: (run / "own.sock").exists() or process.poll() is not None)
            yield run / "own.sock"
        finally:
            process.terminate()
            process.wait(120)


def ntpdata(command_socket: Path) -> dict[str, str]:
    """Return chronyc's own decoding of the last packet it had."""
    command = [CHRONYC, "-h", str(command_socket), "-N", "ntpdata"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    pairs = (line.split(":", 1) for line in found.stdout.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def test_chronyd_decodes_every_field_as_we_meant_it(tmp_path: Path) -> None:
    page = a_live_page(bound_s=0.25, root_delay_s=0.01)
    day_end_tai_s = page.anchor_tai_fs // 10**15 + 40_000
    leaping = a_live_page(
        bound_s=0.25,
        root_delay_s=0.01,
        next_leap_tai_s=day_end_tai_s,
        next_tai_minus_utc_s=38,
        anchor_raw_ns=page.anchor_raw_ns,
        anchor_tai_fs=page.anchor_tai_fs,
    )
    with a_page_in(tmp_path, leaping), a_door(tmp_path, "--bound-limit-s", "1") as door:
        server = f"server 127.0.0.1 port {door.port} iburst minpoll 0 maxpoll 0"
        with a_chronyd(tmp_path, server, "port 0") as command_socket:
            until(lambda: int(ntpdata(command_socket).get("Total good RX", "0")) >= 4)
            seen = ntpdata(command_socket)
        precision_log2 = door.ready["precision_log2"]
    assert seen["Leap status"] == "Insert second"
    assert seen["Version"] == "4"
    assert seen["Mode"] == "Server"
    assert seen["Stratum"] == "1"
    assert seen["Precision"].startswith(f"{precision_log2} ")
    assert float(seen["Root delay"].split()[0]) == pytest.approx(0.01, abs=2**-15)
    assert 0.25 <= float(seen["Root dispersion"].split()[0]) < 0.2502
    assert seen["Reference ID"].startswith("54525545")  # TRUE
    assert seen["NTP tests"] == "111 111 1111"
    assert seen["Total RX"] == seen["Total valid RX"]
    assert abs(float(seen["Offset"].split()[0])) < 2e-3


def test_our_client_measures_chronyd_and_knows_whether_it_is_synchronised(tmp_path: Path) -> None:
    clocks = HostClocks()
    warm_up(clocks)
    near, leaps = Instant(a_live_page().anchor_tai_fs), builtin_leap_table()
    for local, doubt in (("local stratum 1", None), ("", AnswerDoubt.UNSYNCHRONISED)):
        port = free_port()
        folder = tmp_path / ("local" if local else "none")
        folder.mkdir()
        with a_chronyd(folder, local, f"port {port}", "bindaddress 127.0.0.1", "allow 127.0.0.0/8"):
            found = None
            for _ in range(200):  # its door opens a little after its command socket
                found = ask_once("127.0.0.1", port, timeout_s=5.0, clocks=clocks, leaps=leaps, near=near)
                if isinstance(found, NtpMeasurement):
                    break
                time.sleep(0.05)
        assert isinstance(found, NtpMeasurement)
        assert found.doubt is doubt
        if doubt is None:
            assert found.server_tai_fs is not None
            pair = clocks.take_pair()
            host_tai_fs = (pair.realtime_ns - pair.raw_ns + found.raw_mid_ns) * 10**6 + 37 * 10**15
            assert abs(found.server_tai_fs - host_tai_fs) / 1e15 <= found.root_distance_s
