"""What a client in interleaved mode gains by the kernel's transmit stamps: chronyd as the client (`xleave`), and the
offset that it measures from servers which all serve this host's own clock, so that every offset is an error.

    PYTHONPATH=src:. python bench/ntp_interleaved.py --out docs/measured/ntp_interleaved.json

Loopback, no network card; nobody's clock is set (chronyd -x). The servers: our door in machine code with the kernel's
transmit stamps, the same door without them (the clock read before each send, as in basic mode), and chronyd. Each is
asked in basic and in interleaved mode, `--samples` times by each of `--rounds` clients that begin anew; a client's
sample is a line of its own log of measurements. What the figures say is the two ends together: the client's own stamps
are the kernel's throughout. Of each server the median offset and the spread (10 to 90 %) in us.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.ntp_servers import following_page, version_of

ADDRESS = "127.0.0.1"
CLIENT = """
port 0
cmdport 0
server 127.0.0.1 port {port} minpoll -5 maxpoll -5 {mode}
log measurements
logdir {folder}
pidfile {folder}/chronyd.pid
"""
SERVER = """
port {port}
cmdport 0
local stratum 1
allow 127.0.0.0/8
bindaddress 127.0.0.1
pidfile {folder}/chronyd.pid
"""
PATIENCE_S = 60.0
MODE_COLUMN, OFFSET_COLUMN, DELAY_COLUMN = 17, 11, 12  # of chronyd's log of measurements


def serve(page: str, port: int, *, departures: bool) -> None:
    """Serve from a page in machine code until ended; the process of one of our doors."""
    from truechimer.daemon.door.counters import Counters
    from truechimer.daemon.door.door_rules import DoorRules, Gatekeeper
    from truechimer.daemon.host_clocks import HostClocks
    from truechimer.daemon.ntp import ntp_layout
    from truechimer.daemon.ntp.ntp_loop import UdpPort
    from truechimer.daemon.ntp.ntp_loop_compiled import CompiledNtpLoop
    from truechimer.daemon.page_file import PageReader

    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ending.append(number))
    clocks, counters = HostClocks(), Counters()
    loop = CompiledNtpLoop(
        UdpPort(ADDRESS, port),
        PageReader(Path(page)),
        clocks=clocks,
        counters=counters,
        bound_limit_s=1e-3,
        precision_log2=clocks.precision_log2(),
        gate=Gatekeeper(DoorRules(), secret=os.urandom(256)),
    )
    if not departures:
        loop.memory.settings[ntp_layout.DEPARTURES] = 0
    while not clocks.rate_is_learned:
        clocks.take_pair()
        time.sleep(0.01)
    loop.warm_up()
    print("ready", flush=True)
    while not ending:
        loop.turn()
    print(json.dumps({"asked": counters["departures_asked"], "stamped": counters["departures_stamped"]}), flush=True)


def a_free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.bind((ADDRESS, 0))
        return int(asked.getsockname()[1])


def chronyd(folder: Path, text: str) -> "subprocess.Popen[bytes]":
    folder.mkdir(parents=True)
    (folder / "chrony.conf").write_text(text, encoding="ascii")
    program = shutil.which("chronyd") or "/usr/sbin/chronyd"
    command = [program, "-x", "-d", "-u", "root", "-f", str(folder / "chrony.conf")]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def end(process: "subprocess.Popen[Any]") -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def samples(folder: Path, port: int, mode: str, *, wanted: int) -> list[tuple[float, float]]:
    """Have a new client ask a server; return offset and delay of each sample in that mode (us)."""
    client = chronyd(folder, CLIENT.format(port=port, mode=mode, folder=folder))
    log, until = folder / "measurements.log", time.monotonic() + PATIENCE_S
    found: list[tuple[float, float]] = []
    try:
        while len(found) < wanted and time.monotonic() < until:
            time.sleep(0.2)
            lines = log.read_text(encoding="ascii").splitlines() if log.exists() else []
            rows = [line.split() for line in lines if line.startswith("2")]
            asked = "I" if mode else "B"
            found = [
                (1e6 * float(row[OFFSET_COLUMN]), 1e6 * float(row[DELAY_COLUMN]))
                for row in rows
                if len(row) > MODE_COLUMN and row[MODE_COLUMN].endswith(asked)
            ]
    finally:
        end(client)
    if len(found) < wanted:
        raise SystemExit(f"a client got {len(found)} of {wanted} samples in mode {mode or 'basic'}: {lines[-3:]}")
    return found[:wanted]


def spread(values: list[float]) -> dict[str, float]:
    """Return median and the tenth and ninetieth percentile."""
    tenths = statistics.quantiles(values, n=10)
    return {
        "p10": round(tenths[0], 3),
        "p50": round(statistics.median(values), 3),
        "p90": round(tenths[-1], 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="clients of each kind (default 5)")
    parser.add_argument("--samples", type=int, default=200, help="of each client (default 200)")
    parser.add_argument("--out", type=Path, help="file for the JSON document")
    parser.add_argument("--serve", nargs=3, metavar=("PAGE", "PORT", "STAMPS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve[0], int(options.serve[1]), departures=options.serve[2] == "kernel")
        return 0
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    said = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        stack.enter_context(following_page(folder / "page"))
        servers: dict[str, int] = {}
        doors = {}
        for stamps in ("kernel", "clock"):
            port = a_free_port()
            words = ["-m", "bench.ntp_interleaved", "--serve", str(folder / "page"), str(port), stamps]
            door = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True)
            stack.callback(end, door)
            assert door.stdout is not None
            if door.stdout.readline().strip() != "ready":
                raise SystemExit("our door did not get ready")
            servers[f"truechimer, {stamps}"], doors[stamps] = port, door
        servers["chronyd"] = a_free_port()
        stack.callback(
            end, chronyd(folder / "server", SERVER.format(port=servers["chronyd"], folder=folder / "server"))
        )
        time.sleep(1.0)
        for number in range(options.rounds):
            for server, port in servers.items():
                for mode in ("", "xleave"):
                    rows = samples(
                        folder / f"{number}-{server.split()[-1]}-{mode or 'basic'}", port, mode, wanted=options.samples
                    )
                    found.setdefault(server, {}).setdefault(mode or "basic", []).extend(rows)
                    offsets = [row[0] for row in rows]
                    print(f"round {number + 1} {server:20} {mode or 'basic':7} {spread(offsets)}", file=sys.stderr)
        for stamps, door in doors.items():
            door.terminate()
            assert door.stdout is not None
            said[stamps] = json.loads(door.stdout.readline())
    document = {
        "what": "offset that chronyd measures of servers that serve its own host's clock, us; loopback, no NIC",
        "host": {"kernel": platform.release(), "python": platform.python_version(), "processors": os.cpu_count()},
        "load_average": os.getloadavg(),
        "versions": {"chrony": version_of("chronyd", "-v")},
        "rounds": options.rounds,
        "samples_each": options.samples,
        "departures": said,
        "offset_us": {
            f"{server}, {mode}": spread([-row[0] for row in rows])
            for server, each in found.items()
            for mode, rows in each.items()
        },
        "delay_us": {
            f"{server}, {mode}": spread([row[1] for row in rows])
            for server, each in found.items()
            for mode, rows in each.items()
        },
    }
    text = json.dumps(document, indent=1) + "\n"
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    print(text, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
