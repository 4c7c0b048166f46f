"""What doors with an accelerator do in a network namespace of their own: run by `test_the_door`, which judges.

Run as `unshare --net python -m tests.accelerator.in_a_namespace FOLDER`; says what happened as JSON, one line.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.daemon_serve.doors import a_live_page

from truechimer.daemon.counters import read_counters
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.page_file import PageWriter

PATIENCE_S = 15.0
FOLDER = Path(sys.argv[1])
FIELDS = 30
"""Questions with a field: more than the door's own client, which asks the sockets once a second, sends meanwhile."""
REQUEST = bytes([0x23]) + bytes(39)


def door(name: str, *more: str, address: str = "127.0.0.1", port: int = 123) -> "subprocess.Popen[str]":
    """Start a door and wait until it is open and has said how its accelerator fares."""
    command = [sys.executable, "-m", "truechimer.daemon.serve_process", "--page", str(FOLDER / "page")]
    command += ["--address", address, "--port", str(port), "--counters", str(FOLDER / f"{name}.counters")]
    command += ["--accelerator", str(FOLDER / f"{name}.accelerator"), *more]
    with (FOLDER / f"{name}.log").open("a") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def until(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return False


def state(name: str) -> dict[str, Any]:
    path = FOLDER / f"{name}.accelerator"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def received(name: str) -> int:
    return read_counters(FOLDER / f"{name}.counters")["received"]


def ask(number: int = 1, *, tail: bytes = b"", to: tuple[str, int] = ("127.0.0.1", 123), source: str = "") -> bytes:
    """Ask once and return the answer; empty for none within half a second."""
    family = socket.AF_INET6 if ":" in to[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.5)
        if source:
            asking.bind((source, 0))
        asking.sendto(REQUEST + struct.pack("!Q", number) + tail, to)
        try:
            octets, answered_by = asking.recvfrom(1024)
        except TimeoutError:
            return b""
        return octets if answered_by[:2] == to and octets[24:32] == struct.pack("!Q", number) else b"?"


def attached() -> bool:
    shown = subprocess.run(["ip", "link", "show", "lo"], capture_output=True, text=True, check=True).stdout
    return "xdp" in shown


def offsets_ns(times: int) -> list[float]:
    """Return the offset served against this host's wall clock, which the page follows."""
    found = []
    for number in range(times):
        sent = time.time_ns()
        octets = ask(number + 1)
        back = time.time_ns()
        receive, transmit = (
            stamp * 10**9 / 2**32 - 2_208_988_800 * 10**9 for stamp in struct.unpack("!QQ", octets[32:])
        )
        found.append(((receive - sent) + (transmit - back)) / 2)
    return sorted(found)


def main() -> None:
    """Live through it."""
    says: dict[str, Any] = {}
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    writer = PageWriter(FOLDER / "page", boot_id=HostClocks().boot_id())
    writer.publish(a_live_page())
    first = door("first", "--rules", '{"allow":["127.0.0.0/29"]}')
    try:
        says["open"] = until(lambda: state("first").get("answering") is True)
        says["attached"] = attached()
        socket_had = received("first")
        offsets = offsets_ns(100)
        says["offset_ns"] = offsets[50]
        says["counted"] = until(lambda: state("first")["counters"]["answered"] >= 100)
        says["sockets_had"] = received("first") - socket_had
        says["answers"] = [ask(7).hex()]
        says["denied"] = ask(source="127.0.0.9").hex()
        socket_had = received("first")
        for _ in range(FIELDS):
            says["with_a_field"] = ask(tail=struct.pack("!HH", 0x0104, 28) + bytes(24)).hex()
        says["sockets_had_the_field"] = until(lambda: received("first") >= socket_had + FIELDS)
        writer.publish(a_live_page(bound_s=0.5))
        says["shut"] = until(lambda: ask().startswith(b"\xe4"))
        says["shut_because"] = until(lambda: "no synchronised time" in str(state("first").get("because")))
        writer.publish(a_live_page())
        says["open_again"] = until(lambda: state("first").get("answering") is True)
        second = door("second", port=124)
        says["second"] = state("second")
        says["second_answers"] = until(lambda: ask(to=("127.0.0.1", 124)).startswith(b"\x24"))
        first.send_signal(signal.SIGKILL)
        first.wait()
        says["second_follows"] = until(lambda: state("second").get("answering") is True)  # the place is free
        second.terminate()
        second.wait()
        says["after_a_kill"] = until(lambda: not attached())
        first = door("first", address="::1")
        says["open_after_a_kill"] = until(lambda: state("first").get("answering") is True)
        says["over_ipv6"] = ask(to=("::1", 123)).hex()
        first.send_signal(signal.SIGTERM)
        says["exit"] = first.wait()
        says["attached_after_the_end"] = attached()
        says["state_after_the_end"] = state("first")
    finally:
        first.kill()
        first.wait()
    says["log"] = (FOLDER / "first.log").read_text() + (FOLDER / "second.log").read_text()
    print(json.dumps(says))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
