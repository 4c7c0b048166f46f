"""The accelerator of an NTP door against chrony, alternating in one run.

    PYTHONPATH=src python bench/ntp_accelerator.py [--rounds 7] [--limits] [--out docs/measured/ntp_accelerator.json]

(as root: it makes a network namespace of its own, with nothing in it but loopback; no NIC is measured.) The client is
`ntp_closed_loop.c`, built by the system's compiler: 4 sources, 64 requests under way on each, every answer checked. It
runs on the first processor; with the accelerator the answers are made on that same one, chronyd has the second to
itself. Client and chronyd run at real-time priority, so that other work on the machine is not
measured. Processor time is the client's, the server's and the kernel's own threads' (ksoftirqd).

`--limits`: status 1 where the median ratio to chrony (Debian's, its rate limit off) is below 1.4 by wall clock or 2.9
by processor time of one answer.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.daemon_serve.doors import a_live_page  # noqa: E402

from truechimer.daemon.door.counters import WORKERS, read_counters  # noqa: E402
from truechimer.daemon.host_clocks import HostClocks  # noqa: E402
from truechimer.daemon.ntp.accelerator import why_not  # noqa: E402
from truechimer.daemon.page_file import PageWriter  # noqa: E402

SOURCE = Path(__file__).with_name("ntp_closed_loop.c")
INSIDE = "--inside-a-namespace"
PRIORITY = 10
SOCKETS, OUTSTANDING = 4, 64
PORTS = {"accelerator": 123, "chrony": 1123}
ONE_AT_A_TIME_S = 1.0
WALL_BAR, CPU_BAR = 1.4, 2.9


def main() -> int:
    """Measure, print every run, and return the exit status."""
    options = argparse.ArgumentParser(description="measure the accelerator")
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--for-s", type=float, default=2.0, help="of one run")
    options.add_argument("--limits", action="store_true", help="status 1 where a bar is missed")
    options.add_argument("--out", type=Path)
    options.add_argument(INSIDE, action="store_true", dest="inside", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if os.geteuid() != 0 or why_not() is not None:
        print(f"bench/ntp_accelerator.py: {why_not() or 'only root can make a network namespace'}", file=sys.stderr)
        return 2
    if not chosen.inside:
        return subprocess.run(
            ["unshare", "--net", sys.executable, __file__, *sys.argv[1:], INSIDE], check=False
        ).returncode
    found = measured(chosen.rounds, chosen.for_s)
    text = json.dumps(found, indent=1, sort_keys=True) + "\n"
    if chosen.out is not None:
        chosen.out.write_text(text, encoding="utf-8")
    ratios = found["ratios_to_chrony"]
    print(json.dumps({"ratios_to_chrony": ratios, "servers": found["servers"]}, indent=1, sort_keys=True))
    missed = any(row["median"] < row["bar"] for row in ratios.values())
    return 1 if missed and chosen.limits else 0


def measured(rounds: int, for_s: float) -> dict[str, Any]:
    """Return the document."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    processors = sorted(os.sched_getaffinity(0))[:2]
    here, there = processors[0], processors[-1]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        client = folder / "client"
        subprocess.run(["cc", "-O2", "-o", str(client), str(SOURCE)], check=True)
        writer = stack.enter_context(PageWriter(folder / "page", boot_id=HostClocks().boot_id()))
        writer.publish(replace(a_live_page(), valid_until_raw_ns=HostClocks().raw_ns() + 3600 * 10**9))
        pids = {
            "accelerator": stack.enter_context(
                a_door(folder, "accelerator", "--accelerator", folder / "state", "--counters", folder / "counters")
            ),
            "chrony": stack.enter_context(a_chronyd(folder, processor=there)),
        }
        until_answering(folder / "state")
        until_workers_are_ready(folder / "counters")
        command = ["taskset", "-c", str(here), "chrt", "-f", str(PRIORITY), str(client), "127.0.0.1"]
        runs: dict[str, list[dict[str, Any]]] = {server: [] for server in PORTS}
        singles: dict[str, list[dict[str, Any]]] = {server: [] for server in PORTS}
        for number in range(rounds):
            for server, port in PORTS.items():
                args = [str(port), str(for_s), str(SOCKETS), str(OUTSTANDING)]
                runs[server].append(one_run([*command, *args], pids[server]))
                said = runs[server][-1]
                print(
                    f"round {number} {server:<12} {said['answers_per_s'] / 1e3:8.1f} k/s "
                    f"{said['processor_s_per_answer'] * 1e9:8.0f} ns of processor an answer",
                    file=sys.stderr,
                    flush=True,
                )
        quiet = ["taskset", "-c", str(here), str(client), "127.0.0.1"]
        for _ in range(3):
            for server, port in PORTS.items():
                args = [str(port), str(ONE_AT_A_TIME_S), "1", "1", "one"]
                singles[server].append(json.loads(subprocess.check_output([*quiet, *args], text=True)))
        counted = json.loads((folder / "state").read_text())["counters"]
    return document(runs, singles, counted)


def document(
    runs: dict[str, list[dict[str, Any]]], singles: dict[str, list[dict[str, Any]]], counted: dict[str, int]
) -> dict[str, Any]:
    """Return what was measured, with every run."""

    def columns(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
        return {
            server: {key: [run[key] for run in rows] for key in rows[0] if key not in {"cpu_s", "wall_s"}}
            for server, rows in found.items()
        }

    return {
        "about": {
            "bench": "bench/ntp_accelerator.py: one alternating run on loopback, no NIC; words hold for this bench",
            "chrony": version("chronyd", "--version").split(" (+")[0],
            "client": f"{SOCKETS} sources, {OUTSTANDING} requests under way on each",
            "compiler": version("cc", "--version"),
            "kernel": platform.release(),
            "processor": processor(),
            "python": platform.python_version(),
        },
        "accelerator_counted": {name: count for name, count in counted.items() if count},
        "all_runs": {"many_at_once": columns(runs), "one_at_a_time": columns(singles)},
        "ratios_to_chrony": {
            "answers_by_wall_clock": ratio(runs, "answers_per_s") | {"bar": WALL_BAR},
            "processor_time_saved": ratio(runs, "processor_s_per_answer") | {"bar": CPU_BAR},
        },
        "servers": servers(runs, singles),
    }


def one_run(command: list[str], pid: int) -> dict[str, Any]:
    """Return one run of the client against a server: answers a second, and processor time of all involved."""
    before = server_s(pid)
    said = json.loads(subprocess.check_output(command, text=True))
    spent_s = said["cpu_s"] + server_s(pid) - before
    return {
        "answered": said["answered"],
        "answers_per_s": round(said["answered"] / said["wall_s"], 1),
        "bad": said["bad"],
        "client_s": said["cpu_s"],
        "lost": said["lost"],
        "processor_s_per_answer": float(f"{spent_s / max(said['answered'], 1):.4g}"),
        "server_and_kernel_s": round(spent_s - said["cpu_s"], 6),
        "wall_s": said["wall_s"],
    }


def server_s(pid: int) -> float:
    """Return the processor time (s) of a server's threads and children, and of the kernel's own network threads."""
    pids = [pid, *children_of(pid), *ksoftirqd()]
    total = 0
    for one in pids:
        for schedule in Path(f"/proc/{one}/task").glob("*/schedstat"):
            with suppress(OSError, ValueError, IndexError):
                total += int(schedule.read_text().split()[0])
    return total / 1e9


def children_of(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(word) for word in path.read_text().split()]
    return found


def ksoftirqd() -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            if path.read_text().startswith("ksoftirqd/"):
                found.append(int(path.parent.name))
    return found


def servers(runs: dict[str, list[dict[str, Any]]], singles: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the medians of each server over its runs."""
    return {
        server: {
            "answers_per_s": statistics.median(run["answers_per_s"] for run in found),
            "processor_s_per_answer": statistics.median(run["processor_s_per_answer"] for run in found),
        }
        | {
            key: statistics.median(run[key] for run in singles[server])
            for key in ("trip_p50_s", "trip_p99_s", "offset_p1_s", "offset_p50_s", "offset_p99_s")
        }
        | {
            key: sum(run[key] for run in singles[server])
            for key in ("received_before_sent", "sent_after_received")
        }
        for server, found in runs.items()
    }  # fmt: skip


def ratio(runs: dict[str, list[dict[str, Any]]], key: str) -> dict[str, float]:
    """Return how much better the accelerator was in each round, more answers or less time for each: the median, the
    least and the largest.
    """
    pairs = zip(runs["accelerator"], runs["chrony"], strict=True)
    more_is_better = key == "answers_per_s"
    found = [(a[key] / b[key]) if more_is_better else (b[key] / a[key]) for a, b in pairs]
    rounded = {"median": statistics.median(found), "least": min(found), "largest": max(found)}
    return {name: round(value, 3) for name, value in rounded.items()}


@contextmanager
def a_door(folder: Path, server: str, *more: object) -> Iterator[int]:
    """Run a door and give its process id."""
    command = [sys.executable, "-m", "truechimer.daemon.ntp.serve_process", "--page", str(folder / "page")]
    command += ["--address", "127.0.0.1", "--port", str(PORTS[server]), *map(str, more)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield process.pid
        finally:
            process.terminate()


@contextmanager
def a_chronyd(folder: Path, *, processor: int) -> Iterator[int]:
    """Run Debian's chronyd as a server, without touching the clock, and give its process id."""
    conf = folder / "chrony.conf"
    conf.write_text(
        f"local stratum 1\nallow all\nbindaddress 127.0.0.1\nport {PORTS['chrony']}\ncmdport 0\nbindcmdaddress /\n"
        f"pidfile {folder}/chronyd.pid\ndriftfile {folder}/drift\n",
        encoding="ascii",
    )
    command = ["taskset", "-c", str(processor), "chrt", "-f", str(PRIORITY)]
    command += ["chronyd", "-x", "-d", "-u", "root", "-f", str(conf)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            time.sleep(1.0)
            assert process.poll() is None, "chronyd did not start"
            yield process.pid
        finally:
            process.terminate()


def until_answering(state: Path) -> None:
    """Wait until the accelerator says that it answers."""
    end = time.monotonic() + 20.0
    while not (state.exists() and json.loads(state.read_text()).get("answering")):
        assert time.monotonic() < end, state.read_text() if state.exists() else "the accelerator said nothing"
        time.sleep(0.05)


def until_workers_are_ready(counters: Path) -> None:
    """Wait until the door's sockets are served in machine code: making that is no part of the measurement."""
    end = time.monotonic() + 90.0
    while not read_counters(counters)[WORKERS] and time.monotonic() < end:
        time.sleep(0.2)
    time.sleep(2.0)


def version(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split("\n")[0].strip()


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    raise SystemExit(main())
