"""How long an NTP door's worker takes to its first answer: from the start of the door's process, and of `./truechimer
up`, with machine code that is kept and with none.

    PYTHONPATH=src python bench/ntp_start.py [--runs 5] [--cold-runs 2] [--limit 2] [--out FILE.json]

A client asks every 5 ms. `first_answer_s` is the first answer at all, which the door's own process gives in plain
Python; `machine_code_s` the first that the worker had counted as its own, so up to 50 ms later than it was given. A
cold start has an empty folder of machine code, as after an upgrade; the caches of the disk are warm in both. `--limit`
(seconds) judges the medians of the warm starts: what an operator waits, so an absolute time.
"""

import argparse
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from truechimer.daemon.door.counters import REPLY_COUNTERS, CountersRejected, read_counters
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.page_file import PageReader, PageWriter
from truechimer.serve import ClockPage
from truechimer.serve.ntp import make_request
from truechimer.serve.ntp.reply import ReplyKind
from truechimer.sim import DEMO_SCENARIO_TOML

ROOT = Path(__file__).parents[1]
PATIENCE_S = 300.0
NAMES = ("first_answer_s", "machine_code_s")
LAB = """[lab]
name = "start"
seed = 1
silence_s = 60
[[source]]
name = "world"
kind = "simulated"
scenario = "demo.toml"
[[listener]]
protocol = "ntp"
port = {port}
[evidence]
publish = false
[policy]
insecure_software_keys = true
"""


def free_port() -> int:
    """Return a port that nobody has now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def environment(cache: Path | None) -> dict[str, str]:
    """Return the environment of a start; `cache`: where machine code is kept, None for the user's own place."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRUECHIMER")}
    return kept | {"PYTHONPATH": str(ROOT / "src")} | ({} if cache is None else {"XDG_CACHE_HOME": str(cache)})


@contextmanager
def begun(command: list[str], folder: Path, cache: Path | None) -> Iterator[None]:
    """Run a command, and end it in order."""
    process = subprocess.Popen(
        command, cwd=folder, env=environment(cache), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def timed(command: list[str], folder: Path, port: int, counters: Path, cache: Path | None) -> dict[str, float]:
    """Start once and ask until a worker has answered; return the times since the start (s)."""
    answered = REPLY_COUNTERS[ReplyKind.SYNCHRONISED]
    began, found = time.monotonic(), dict[str, float]()
    with begun(command, folder, cache), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.25)
        client.connect(("127.0.0.1", port))
        while time.monotonic() - began < PATIENCE_S:
            time.sleep(0.005)
            try:
                client.send(make_request(time.monotonic_ns()))
                client.recv(1024)
            except OSError:
                continue
            found.setdefault("first_answer_s", round(time.monotonic() - began, 3))
            try:
                if read_counters(counters.with_name(f"{counters.name}.0"))[answered]:
                    return found | {"machine_code_s": round(time.monotonic() - began, 3)}
            except CountersRejected:
                continue
    raise SystemExit(f"no answer by machine code within {PATIENCE_S:g} s; is the extra `fast` installed?")


def door(folder: Path, cache: Path | None) -> dict[str, float]:
    """Start a door alone, on the laboratory's page, which is moved to this moment."""
    port, page, counters = free_port(), folder / "door.page", folder / "counters"
    found, clocks = PageReader(folder / "lab" / "run" / "clock.page").current(), HostClocks()
    assert isinstance(found, ClockPage)
    raw_ns = clocks.raw_ns()
    now = replace(found, anchor_raw_ns=raw_ns, written_raw_ns=raw_ns, valid_until_raw_ns=raw_ns + 10**12)
    with PageWriter(page, boot_id=clocks.boot_id()) as writer:
        writer.publish(now)
        command = [sys.executable, "-m", "truechimer.daemon.ntp.serve_process", "--page", str(page)]
        command += ["--address", "127.0.0.1", "--port", str(port), "--counters", str(counters)]
        return timed(command, folder, port, counters, cache)


def up(folder: Path, cache: Path | None) -> dict[str, float]:
    """Start the laboratory as a user does, again in its folder."""
    lab = folder / "lab"
    port = int((lab / "port").read_text())
    counters = lab / "run" / f"ntp-{port}.counters"
    return timed([str(ROOT / "truechimer"), "up", str(lab / "LAB.toml")], lab, port, counters, cache)


def made(folder: Path) -> None:
    """Make a laboratory that has served once; machine code is kept from then on."""
    lab, port = folder / "lab", free_port()
    lab.mkdir()
    (lab / "port").write_text(str(port))
    (lab / "LAB.toml").write_text(LAB.format(port=port))
    (lab / "demo.toml").write_text(DEMO_SCENARIO_TOML)
    up(folder, None)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="how long a worker takes to its first answer")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cold-runs", type=int, default=2)
    parser.add_argument("--limit", type=float)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made(folder)
        for cold in (False, True):
            for number in range(options.cold_runs if cold else options.runs):
                for name, start in (("the door alone", door), ("truechimer up", up)):
                    with tempfile.TemporaryDirectory() as cache:
                        load = round(os.getloadavg()[0], 2)
                        took = start(folder, Path(cache) if cold else None)
                    case: dict[str, Any] = {"start": name, "code": "made" if cold else "kept"}
                    runs.append(case | {"run": number + 1, "load_before": load} | took)
                    print(runs[-1], file=sys.stderr)
    cases: list[dict[str, Any]] = []
    for name in ("the door alone", "truechimer up"):
        for code in ("kept", "made"):
            found = [run for run in runs if (run["start"], run["code"]) == (name, code)]
            if found:
                medians = {key: statistics.median(run[key] for run in found) for key in NAMES}
                worst = {f"worst_{key}": max(run[key] for run in found) for key in NAMES}
                cases.append({"start": name, "code": code, "runs": len(found)} | medians | worst)
    body = {"machine": f"{platform.machine()}, {os.cpu_count()} processors", "cases": cases, "runs": runs}
    print(json.dumps(body, indent=1))
    if options.out is not None:
        options.out.write_text(json.dumps(body, indent=1) + "\n")
    warm = [case["machine_code_s"] for case in cases if case["code"] == "kept"]
    return int(options.limit is not None and max(warm) > options.limit)


if __name__ == "__main__":
    raise SystemExit(main())
