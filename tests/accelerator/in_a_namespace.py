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
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from tests.accelerator.frames import PORT, Site, a_request, udp_at, why_wrong
from tests.accelerator.kernel import a_segment, loaded
from tests.daemon_serve.doors import a_live_page

from truechimer.daemon.door.counters import read_counters
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.ntp import bpf_calls
from truechimer.daemon.page_file import PageWriter
from truechimer.serve.ntp.accelerator import Count
from truechimer.serve.ntp.bpf import Assembler

PATIENCE_S = 60.0
LINK_CREATE, ATTACH_XDP, NATIVE = 28, 37, 1 << 2
"""Of bpf(2): a driver's own mode, which the product leaves alone (ADR 74), and its program is right in."""
FOLDER = Path(sys.argv[1])
SYS_NICE, SYS_RESOURCE = 23, 24
FIELDS = 30
"""Questions with a field: more than the door's own client, which asks the sockets once a second, sends meanwhile."""
REQUEST = bytes([0x23]) + bytes(39)


def door(
    name: str, *more: str, address: str = "127.0.0.1", port: int = 123, with_workers: bool = False
) -> "subprocess.Popen[str]":
    """Start a door and wait until it is open and has said how its accelerator fares."""
    environment = os.environ | {"TRUECHIMER_NO_WORKERS": "" if with_workers else "1"}
    command = [sys.executable, "-m", "truechimer.daemon.ntp.serve_process", "--page", str(FOLDER / "page")]
    command += ["--address", address, "--port", str(port), "--counters", str(FOLDER / f"{name}.counters")]
    command += ["--accelerator", str(FOLDER / f"{name}.accelerator"), *more]
    with (FOLDER / f"{name}.log").open("a") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
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


def rights(pid: int, names: tuple[str, ...] = ("CapPrm", "CapEff", "CapBnd")) -> list[int]:
    """Return the capabilities that the threads of a process have, or may get, each different set once."""
    found: set[int] = set()
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue  # a thread that has ended meanwhile
        lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        assert int(lines["CapInh"], 16) == int(lines["CapAmb"], 16) == 0
        found |= {int(lines[name], 16) for name in names}
    return sorted(found)


def workers_without_rights(pid: int) -> bool:
    """Return whether the door has workers, and none of them has a right: the bound of what they may get stays, and no
    program that they start gives it.
    """
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return bool(children) and all(rights(int(child), ("CapPrm", "CapEff")) == [0] for child in children)


def is_urgent(pid: int) -> bool:
    """Return whether a thread of the process goes before those of others."""
    threads = [int(one.name) for one in Path(f"/proc/{pid}/task").iterdir()]
    return any(os.sched_getscheduler(one) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO for one in threads)


def natively() -> dict[str, Any]:
    """Let a driver of its own run the program, as a card's does: one end of a pair of virtual cards asks the other."""
    subprocess.run(["ip", "link", "add", "ours", "type", "veth", "peer", "name", "theirs"], check=True)
    site = Site()
    subprocess.run(["ip", "link", "set", "ours", "address", site.hardware.hex(":")], check=True)
    for name in ("ours", "theirs"):
        subprocess.run(["ip", "link", "set", name, "up", "arp", "off"], check=True)
    passing = Assembler()
    passing.end(2)
    says: dict[str, Any] = {"answered": 0, "wrong": []}
    with (
        loaded(site) as under_test,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire,
        ExitStack() as stack,
    ):
        # a virtual card sends what a program answers only where its peer takes frames as a program wants them
        for descriptor, name in ((bpf_calls.load_program(passing.octets()), "theirs"), (under_test.descriptor, "ours")):
            asked = struct.pack("=IIII", descriptor, socket.if_nametoindex(name), ATTACH_XDP, NATIVE)
            stack.callback(os.close, bpf_calls._bpf(LINK_CREATE, asked, f"attaching to {name}"))
        shown = subprocess.run(["ip", "link", "show", "ours"], capture_output=True, text=True, check=True).stdout
        says["is_native"] = "xdp" in shown and "xdpgeneric" not in shown
        wire.bind(("theirs", 0))
        wire.settimeout(0.5)
        for family in (4, 6) * 20:
            under_test.use(a_segment())
            frame = a_request(REQUEST + struct.pack("!Q", 7 + family), family=family, site=site)
            wire.send(frame)
            with suppress(TimeoutError):
                while (answer := wire.recv(2048))[udp_at(frame) : udp_at(frame) + 2] != PORT.to_bytes(2, "big"):
                    pass  # what the host says of itself on a new card
                says["answered"] += 1
                if wrong := why_wrong(frame, answer):
                    says["wrong"].append(wrong)
        says["counted"] = under_test.counts().get(Count.ANSWERED)
    subprocess.run(["ip", "link", "del", "ours"], check=True)
    return says


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
        says["rights"] = rights(first.pid)
        held = rights(os.getpid())[0]
        says["may_be_urgent"] = bool(held >> SYS_NICE & 1 and held >> SYS_RESOURCE & 1)
        says["is_urgent"] = is_urgent(first.pid)
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
        second = door("second", port=124, with_workers=True)
        says["workers_without_rights"] = until(lambda: workers_without_rights(second.pid))
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
    says["natively"] = natively()
    says["log"] = (FOLDER / "first.log").read_text() + (FOLDER / "second.log").read_text()
    print(json.dumps(says))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
