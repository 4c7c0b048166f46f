"""How many requests an NTP server answers in a second of its processor, and how exact its stamps are: truechimer's
door, chronyd, ntpd of ntpsec, and a raw recvmmsg/sendmmsg echo in C, alternating in one run.

    PYTHONPATH=src python bench/ntp.py --out docs/measured/ntp_serving.json
    PYTHONPATH=src python bench/ntp.py --ntpsec /path/to/ntpd --real-time      # a further peer; ends not disturbed

Loopback, no network card. Every server runs on processor 0, the generator (`ntp_load.c`, compiled by the system's
compiler) on processor 1; 64 client addresses, 256 requests outstanding. Each round asks every server in turn, so what
else the machine does meets them alike; the figure is replies per second of the processor time of all processes of the
server, as a ratio of the same round, medians over the rounds. All servers serve this host's own CLOCK_REALTIME: ours
from a page that follows it, renewed ten times a second, so that offsets against the generator's stamps are the
servers' own errors. Two settings are measured: what runs by default against chronyd's default, and everything off
against `noclientlog`. Accuracy is measured at 1,000 and 50,000 requests a second, and at saturation.
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
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from truechimer._version import __version__
from truechimer.daemon.counters import CountersRejected, read_counters
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.page_file import PageWriter
from truechimer.instants import FS_PER_S
from truechimer.serve import ClockPage, ServiceState

HERE = Path(__file__).parent
ADDRESS = "127.0.0.1"
READY_WITHIN_S = 120.0
OPEN_RATES = (1_000, 50_000)
SATURATION = "saturation"
CHRONY = """
port {port}
cmdport 0
local stratum 1
allow 127.0.0.0/8
bindaddress 127.0.0.1
pidfile {folder}/chronyd.pid
{more}
"""
NTPSEC = """
restrict default limited nomodify nopeer noquery
tos orphan 1
interface ignore wildcard
interface listen 127.0.0.1
"""


@dataclass(frozen=True)
class Server:
    """One server under test: `pids` are looked up anew for each run, since workers may have been replaced."""

    name: str
    port: int
    pids: Callable[[], list[int]]
    is_echo: bool = False
    command: str = ""


def a_page(clocks: HostClocks, first: Any) -> ClockPage:
    """Return a page whose line is this host's CLOCK_REALTIME as it runs now."""
    pair = clocks.take_pair()
    tai_fs = pair.realtime_ns * 10**6 + 37 * FS_PER_S
    since_ns = pair.raw_ns - first.raw_ns
    return ClockPage(
        anchor_raw_ns=pair.raw_ns,
        anchor_tai_fs=tai_fs,
        rate=(pair.realtime_minus_raw_ns - first.realtime_minus_raw_ns) / since_ns if since_ns > 10**8 else 0.0,
        bound_s=1e-5,
        bound_growth=1e-8,
        u_s=1e-6,
        coverage=0.99,
        state=ServiceState.STEERED,
        simulated=False,
        tai_minus_utc_s=37,
        next_leap_tai_s=None,
        next_tai_minus_utc_s=None,
        leap_expires_tai_s=tai_fs // FS_PER_S + 10**7,
        valid_until_raw_ns=pair.raw_ns + 600 * 10**9,
        refid=b"HOST",
        stratum=1,
        root_delay_s=0.0,
        written_raw_ns=pair.raw_ns,
        laboratory_pid=os.getpid(),
    )


@contextmanager
def following_page(path: Path) -> Iterator[None]:
    """Keep a page that follows this host's clock in `path`."""
    ending = threading.Event()
    clocks = HostClocks()
    first = clocks.take_pair()
    with PageWriter(path, boot_id=clocks.boot_id()) as writer:
        writer.publish(a_page(clocks, first))

        def follow() -> None:
            while not ending.wait(0.1):
                writer.publish(a_page(clocks, first))

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()


def a_free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.bind((ADDRESS, 0))
        return int(asked.getsockname()[1])


def family(pid: int) -> list[int]:
    """Return a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *map(int, children)]


class Bench:
    """The servers, the generator, and where they run."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self._stack = ExitStack()
        self.load, self.echo = folder / "ntp_load", folder / "ntp_echo"
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise SystemExit("no C compiler (cc); install g++")
        for program in (self.load, self.echo):
            source = HERE / f"{program.name}.c"
            subprocess.run([compiler, "-O2", "-o", str(program), str(source)], check=True)

    def __enter__(self) -> Self:
        self._stack.enter_context(following_page(self.folder / "page"))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self, command: list[str], **keywords: Any) -> "subprocess.Popen[str]":
        """Start a server on processor 0; it is ended with the bench."""
        prefix = ["taskset", "-c", "0"]
        if self.options.real_time:
            prefix = ["chrt", "-f", "1", *prefix]
        process = subprocess.Popen([*prefix, *command], text=True, **keywords)

        def end() -> None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

        self._stack.callback(end)
        return process

    def raw_echo(self) -> Server:
        port = a_free_port()
        process = self.begin([str(self.echo), ADDRESS, str(port)], stdout=subprocess.PIPE)
        return Server("echo", port, lambda: [process.pid], is_echo=True, command="recvmmsg 64, sendmmsg 64, in C")

    def ours(self, name: str, *words: str, plain: bool = False) -> Server:
        port, counters = a_free_port(), self.folder / f"{name}.counters"
        command = [sys.executable, "-m", "truechimer.daemon.serve_process", "--page", str(self.folder / "page")]
        command += ["--address", ADDRESS, "--port", str(port), "--counters", str(counters), *words]
        environment = {key: value for key, value in os.environ.items() if key != "TRUECHIMER_NO_WORKERS"}
        process = self.begin(command, stdout=subprocess.PIPE, env=environment)
        end = time.monotonic() + READY_WITHIN_S
        while not plain:
            try:
                if read_counters(counters)["workers"]:
                    break
            except CountersRejected:
                pass
            if time.monotonic() > end:
                raise SystemExit("the worker did not get ready; is numba installed?")
            time.sleep(0.05)
        return Server(name, port, lambda: family(process.pid), command=" ".join(["serve_process", *words]))

    def chrony(self, name: str, more: str = "") -> Server:
        port, folder = a_free_port(), self.folder / name
        folder.mkdir()
        (folder / "chrony.conf").write_text(CHRONY.format(port=port, folder=folder, more=more), encoding="ascii")
        program = shutil.which("chronyd") or "/usr/sbin/chronyd"
        self.begin([program, "-x", "-d", "-f", str(folder / "chrony.conf")], stderr=subprocess.DEVNULL)
        pidfile = folder / "chronyd.pid"
        wait_for(pidfile.exists, "chronyd did not start; it has to be root")
        return Server(
            name,
            port,
            lambda: [int(pidfile.read_text(encoding="ascii"))],
            command=f"chronyd -x, local stratum 1 {more}",
        )

    def ntpsec(self, program: str) -> Server:
        # ntpd serves port 123 alone: it stands on an address of its own
        (self.folder / "ntp.conf").write_text(NTPSEC, encoding="ascii")
        process = self.begin([program, "-n", "-c", str(self.folder / "ntp.conf")], stderr=subprocess.DEVNULL)
        return Server("ntpsec", 123, lambda: [process.pid], command="ntpd -n, orphan stratum 1")

    def ask(self, server: Server, *, rate: int | None, seconds: float) -> dict[str, Any]:
        """Run the generator against one server."""
        words = [str(self.load), "open" if rate else "closed", ADDRESS, str(server.port), str(seconds)]
        words += [str(int(server.is_echo)), *([str(rate)] if rate else []), *map(str, server.pids())]
        prefix = ["chrt", "-f", "2"] if self.options.real_time else []
        done = subprocess.run([*prefix, "taskset", "-c", "1", *words], capture_output=True, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def wait_for(condition: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + 10.0
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(otherwise)
        time.sleep(0.05)


def medians(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of a server's runs, of each figure apart; counts of faults are summed."""
    summed = {"bad", "t2_before_t1", "t3_after_t4", "t2_repeated"}
    found: dict[str, Any] = {}
    for key, value in rows[0].items():
        if isinstance(value, dict):
            found[key] = {one: statistics.median(row[key][one] for row in rows) for one in value}
        elif key in summed:
            found[key] = sum(row[key] for row in rows)
        else:
            found[key] = statistics.median(row[key] for row in rows)
    return found


def ratio(runs: dict[str, list[dict[str, Any]]], one: str, other: str) -> dict[str, Any]:
    """Return one server's replies per processor second over another's, round by round, and the median."""
    pairs = zip(runs[one], runs[other], strict=True)
    each = [a["replies_per_cpu_s"] / b["replies_per_cpu_s"] for a, b in pairs if b["replies_per_cpu_s"]]
    return {"of": one, "over": other, "median": round(statistics.median(each), 4), "all": [round(x, 4) for x in each]}


def measure(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Run all rounds; return the document."""
    servers = [
        bench.raw_echo(),
        bench.chrony("chrony"),
        bench.chrony("chrony-noclientlog", "noclientlog"),
        bench.ours("truechimer"),
        bench.ours("truechimer-pairs", "--stamps", "pairs"),
        bench.ours("truechimer-rates", "--rules", '{"rate_loopback":true,"rate_per_s":1e6,"rate_burst":1000000}'),
        bench.ours("truechimer-bare", "--rules", '{"interleaved":false,"rate_per_s":0.0}'),
        bench.ours("truechimer-python", "--workers", "0", plain=True),
    ]
    if options.ntpsec:
        servers.append(bench.ntpsec(options.ntpsec))
    time.sleep(1.0)
    runs: dict[str, list[dict[str, Any]]] = {server.name: [] for server in servers}
    loads: dict[str, dict[str, list[dict[str, Any]]]] = {str(rate): {} for rate in OPEN_RATES}
    for number in range(options.rounds):
        for server in servers:
            row = bench.ask(server, rate=None, seconds=options.seconds)
            runs[server.name].append(row)
            print(f"round {number + 1} {server.name:20} {row['replies_per_cpu_s'] / 1e3:9.1f} k/CPU s", file=sys.stderr)
        for rate in OPEN_RATES:
            for server in servers:
                if not server.is_echo:
                    row = bench.ask(server, rate=rate, seconds=options.seconds)
                    loads[str(rate)].setdefault(server.name, []).append(row)
    ours = ("truechimer", "truechimer-pairs", "truechimer-rates")
    ratios = [ratio(runs, one, "echo") for one in (*ours, "truechimer-bare", "truechimer-python", "chrony")]
    ratios += [ratio(runs, one, "chrony") for one in ours]
    ratios.append(ratio(runs, "truechimer-bare", "chrony-noclientlog"))
    if options.ntpsec:
        ratios.append(ratio(runs, "truechimer", "ntpsec"))
    return {
        "what": "replies per second of the server's processor time, and exactness of its stamps; loopback, no NIC",
        "host": {"kernel": platform.release(), "python": platform.python_version(), "processors": os.cpu_count()},
        "load_average": os.getloadavg(),
        "real_time_priority": options.real_time,
        "versions": {
            "truechimer": __version__,
            "chrony": version_of("chronyd", "-v"),
            "cc": version_of("cc", "--version"),
        },
        "rounds": options.rounds,
        "seconds": options.seconds,
        "commands": {server.name: server.command for server in servers},
        "ratios": ratios,
        SATURATION: {name: medians(rows) for name, rows in runs.items()},
        "at_rate": {rate: {name: medians(rows) for name, rows in each.items()} for rate, each in loads.items()},
        "all_runs": {name: [row["replies_per_cpu_s"] for row in rows] for name, rows in runs.items()},
    }


def version_of(program: str, word: str) -> str:
    found = shutil.which(program) or f"/usr/sbin/{program}"
    try:
        said = subprocess.run([found, word], capture_output=True, text=True, check=False)
    except OSError:
        return "absent"
    return (said.stdout or said.stderr).splitlines()[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each run (default 1)")
    parser.add_argument("--ntpsec", help="ntpd of ntpsec, as a further peer; port 123 must be free")
    parser.add_argument("--real-time", action="store_true", help="servers and generator at real-time priority")
    parser.add_argument("--limits", action="store_true", help="a missed bar is status 1")
    parser.add_argument("--out", type=Path, help="file for the JSON document")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Bench(Path(folder), options) as bench:
        document = measure(bench, options)
    text = json.dumps(document, indent=1) + "\n"
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    missed = report(document)
    return 1 if missed and options.limits else 0


LIMITS = {
    ("truechimer", "echo"): 0.85,
    ("truechimer", "chrony"): 1.12,
    ("truechimer-bare", "chrony-noclientlog"): 1.12,
    ("truechimer-pairs", "echo"): 0.90,
    ("truechimer-pairs", "chrony"): 1.2,
}
"""Of issue 8, item 2."""


def report(document: dict[str, Any]) -> list[str]:
    """Print the ratios with their bars; return the bars that were missed."""
    missed = []
    for one in document["ratios"]:
        bar = LIMITS.get((one["of"], one["over"]))
        said = "" if bar is None else f"  bar {bar}: {'met' if one['median'] >= bar else 'MISSED'}"
        missed += [said] if said.endswith("MISSED") else []
        print(f"{one['of']:18} / {one['over']:18} {one['median']:.3f}{said}", file=sys.stderr)
    for name in ("truechimer", "truechimer-pairs", "chrony"):
        for rate, table in {**document["at_rate"], SATURATION: document[SATURATION]}.items():
            row = table[name]
            print(
                f"{name:18} {rate:>10}: offset p50 {row['offset_s']['p50'] * 1e6:+.2f} us, T4-T3 p99 "
                f"{row['t4_minus_t3_s']['p99'] * 1e6:.2f} us, T2 before T1 {row['t2_before_t1']}, T3 after T4 "
                f"{row['t3_after_t4']}, T2 twice {row['t2_repeated']}, wrong replies {row['bad']}",
                file=sys.stderr,
            )
    return missed


if __name__ == "__main__":
    raise SystemExit(main())
