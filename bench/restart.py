"""How long a laboratory is away: the time from `./truechimer up` to the first synchronised NTP answer, and what a
client sees over a kill -9 and the start after it.

    PYTHONPATH=src python bench/restart.py [--epochs 86400] [--runs 5] [--hogs 8] [--out FILE.json] [--keep DIR]

A simulated laboratory is filled with so many epochs, one a second of the raw counter, straight through its own process
(no thread, no door); then it is started and ended as a user does it. Four kinds of start are timed, in turn: after an
orderly end; after a kill -9 of the laboratory and of its doors; after an orderly end with the last page taken away, so
that a new epoch must make the first answer; and after a kill -9 of the laboratory alone, with a client asking every
10 ms all the while. `--hogs`: so many processes take all the processor they get meanwhile. The caches of the disk are
warm. `--out` keeps the cases that a file has of other numbers of epochs and hogs. Times are shown with the machine's,
never judged but by `--limit` (seconds, for the medians of the two starts that have a page).
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
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab.lab_check import check_lab
from truechimer.daemon.lab_start import open_run
from truechimer.daemon.laboratory_process import Laboratory
from truechimer.daemon.sources.feeds import Batch
from truechimer.instants import Instant
from truechimer.serve.ntp import NtpAnswer, make_request, read_reply
from truechimer.sim import DEMO_SCENARIO_TOML

ROOT = Path(__file__).parents[1]
NS = 10**9
EVERY_S = 0.01
LAB = """[lab]
name = "restart"
seed = 1
silence_s = 60
[[source]]
name = "world"
kind = "simulated"
scenario = "demo.toml"
[[listener]]
protocol = "ntp"
port = {port}
[policy]
insecure_software_keys = true
"""


def fill(folder: Path, epochs: int) -> dict[str, Any]:
    """Make a laboratory with so many epochs behind it, the last of them now."""
    clocks = HostClocks()
    past = HostClocks(
        raw_ns=lambda: clocks.raw_ns() - epochs * NS, realtime_ns=lambda: clocks.realtime_ns() - epochs * NS
    )
    checked = check_lab(folder / "LAB.toml", now=Instant.from_tai_ns(clocks.realtime_ns() + 37 * NS))
    began = time.monotonic()
    laboratory = Laboratory(open_run(checked, past), clocks)
    laboratory.make_feeds()
    laboratory.catch_up()
    world, first_ns = laboratory.started.world, laboratory.started.label.raw_ns
    assert world is not None
    for number in range(1, epochs + 1):
        batch = world.batch(first_ns + number * NS)
        laboratory.take(
            Batch(batch.epoch_tai_ns, batch.raw_ns, batch.readings, 0, batch, "world"), live=number % 500 == 0
        )
    laboratory.settle()
    records = laboratory.started.state.chain.seq
    laboratory.close()
    return {"epochs": epochs, "records": records, "filled_in_s": round(time.monotonic() - began, 1)}


@dataclass
class Client:
    """Asks the door every 10 ms: when, and whether the answer was a synchronised one."""

    port: int
    answers: list[tuple[float, str]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask until told to end."""
        while not self.ended.wait(EVERY_S):
            self.answers.append((time.monotonic(), ask(self.port)))

    def worst(self, since: float) -> dict[str, Any]:
        """Return what it saw from a moment on: answers of each kind, and the longest time without a good one."""
        seen = [(at, what) for at, what in self.answers if at >= since]
        good = [since, *(at for at, what in seen if what == "synchronised")]
        counts = {what: sum(one == what for _, one in seen) for what in ("synchronised", "unsynchronised", "nothing")}
        longest = max((after - before for before, after in pairwise(good)), default=float("inf"))
        return counts | {"longest_without_s": round(longest, 4)}


def ask(port: int) -> str:
    """Ask the door once."""
    nonce = time.monotonic_ns()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(0.25)
        connection.connect(("127.0.0.1", port))
        try:
            connection.send(make_request(nonce))
            reply = read_reply(connection.recv(1024), nonce)
        except (OSError, TimeoutError):
            return "nothing"
    return "synchronised" if isinstance(reply, NtpAnswer) and reply.doubt is None else "unsynchronised"


def wait_for_answer(port: int, *, within_s: float = 60.0) -> float:
    """Wait for a synchronised answer; return the monotonic moment."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if ask(port) == "synchronised":
            return time.monotonic()
        time.sleep(0.005)
    raise SystemExit(f"no synchronised answer on port {port} within {within_s} s")


@contextmanager
def up(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `./truechimer up`, as a user does."""
    process = subprocess.Popen([str(ROOT / "truechimer"), "up", str(folder / "LAB.toml")], cwd=folder)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(20)


@contextmanager
def busy(hogs: int) -> Iterator[None]:
    """Keep the processors busy with so many processes."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(hogs)]
    try:
        time.sleep(1.0 if hogs else 0.0)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def kill_all(folder: Path) -> None:
    """Kill -9 the laboratory and every door of it."""
    for pid in (pid_of(folder), *(int(path.read_text()) for path in (folder / "run").glob("*.pid"))):
        os.kill(pid, signal.SIGKILL)


def pid_of(folder: Path) -> int:
    """Return the process id of the laboratory: the launcher may stand before it."""
    return int((folder / "run" / "laboratory.lock").read_text().strip())


def new_page(folder: Path) -> None:
    """Wait until the page is written (again)."""
    before = (folder / "run" / "clock.page").stat().st_mtime_ns
    while (folder / "run" / "clock.page").stat().st_mtime_ns == before:
        time.sleep(0.005)


def measure(folder: Path, port: int) -> dict[str, Any]:
    """Start and end it once in each way."""
    found: dict[str, Any] = {"load_before": round(os.getloadavg()[0], 2)}
    for name in ("orderly", "killed_all", "without_page"):
        if name == "without_page":
            (folder / "run" / "clock.page").unlink()
        began = time.monotonic()
        with up(folder):
            found[f"{name}_s"] = round(wait_for_answer(port) - began, 3)
            new_page(folder)
            time.sleep(1.5)
            if name == "orderly":
                kill_all(folder)
    with up(folder):
        wait_for_answer(port)
        client = Client(port)
        thread = threading.Thread(target=client.run)
        thread.start()
        time.sleep(2.0)
        killed = time.monotonic()
        os.kill(pid_of(folder), signal.SIGKILL)
        time.sleep(0.3)
    began = time.monotonic()
    with up(folder):
        new_page(folder)
        found["killed_to_new_page_s"] = round(time.monotonic() - began, 3)
        time.sleep(2.0)
        client.ended.set()
        thread.join()
    return found | {"client_over_kill": client.worst(killed)}


def main() -> int:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description="how long a laboratory is away over a restart")
    parser.add_argument("--epochs", type=int, default=86_400)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--hogs", type=int, default=0)
    parser.add_argument("--limit", type=float)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--keep", type=Path, help="use this folder, and what is in it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
        (folder / "LAB.toml").write_text(LAB.format(port=port))
        (folder / "demo.toml").write_text(DEMO_SCENARIO_TOML)
        if not (folder / "evidence").exists():
            print(fill(folder, options.epochs), file=sys.stderr)
        with up(folder):  # the first start after an edit of a kernel compiles, in a thread of its own
            wait_for_answer(port, within_s=600.0)
            time.sleep(15.0)
        runs = []
        with busy(options.hogs):
            for _ in range(options.runs):
                runs.append(measure(folder, port))
                print(runs[-1], file=sys.stderr)
    case = {"epochs": options.epochs, "hogs": options.hogs}
    rows = [case | {"run": number} | _flat(run) for number, run in enumerate(runs, 1)]
    medians = {name: statistics.median(run[name] for run in runs) for name in NAMES}
    worst = {f"worst_{name}": max(run[name] for run in runs) for name in NAMES[:2]}
    lost = {"client_without_answer": sum(row["unsynchronised"] + row["nothing"] for row in rows)}
    body = {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "cases": [case | medians | worst | lost],
        "runs": rows,
    }
    print(json.dumps(body, indent=1))
    if options.out is not None:
        options.out.write_text(json.dumps(_merged(options.out, body, case), indent=1) + "\n")
    return int(options.limit is not None and max(medians[name] for name in NAMES[:2]) > options.limit)


NAMES = ("orderly_s", "killed_all_s", "without_page_s", "killed_to_new_page_s")


def _flat(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run as one row."""
    client: dict[str, Any] = run["client_over_kill"]
    return {key: value for key, value in run.items() if key != "client_over_kill"} | client


def _merged(path: Path, body: dict[str, Any], case: dict[str, int]) -> dict[str, Any]:
    """Return what is measured now together with the other cases that a file holds."""
    if not path.exists():
        return body
    before: dict[str, Any] = json.loads(path.read_text())
    kept = {
        key: [row for row in before[key] if {name: row[name] for name in case} != case] for key in ("cases", "runs")
    }
    both = {key: sorted(kept[key] + body[key], key=lambda row: (row["epochs"], row["hogs"])) for key in kept}
    return {**body, **both}


if __name__ == "__main__":
    raise SystemExit(main())
