"""What many browsers cost the console: processor time of its process, and how late the last of them hears.

    PYTHONPATH=src python bench/console.py --limit 0.10 [--listeners N] [--seconds S] [--runs N] [--out FILE]

A laboratory that only answers (its documents are those of 12 clocks and 5 sources) is asked by a real console process;
this process holds the listeners. Processor time comes from /proc/PID/stat, user and system together. A listener's lag
is the time from the laboratory's answer to its arrival there, both read on this machine's monotonic clock; it includes
this process's own queue. Runs in which the listeners listen alone and runs in which each asks for the clock every three
seconds as well, as a whole page does, take turns; the limit is on the former.
"""

import argparse
import asyncio
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from truechimer.daemon.answering.control_socket import ControlSocket

SOURCE = Path(__file__).parents[1] / "src"
ASKED = re.compile(rb'"bench_ns": ?(\d+)')
SETTLE_S = 2.0
CLOCK_EVERY_S = 3.0
SPARE_FILES = 200


def status() -> dict[str, Any]:
    """Return a status document of ordinary size, with the moment of the answer in it."""
    clocks = [
        {
            "name": f"maser{i}",
            "kind": "maser",
            "weight": 1 / 12,
            "state": "in",
            "reason": "",
            "rate": 1.234567890123e-14,
        }
        | {"x_clock_minus_scale_s": -1.2345678901234567e-07 * i}
        for i in range(12)
    ]
    sources = [
        {
            "name": f"UTC.p{i}",
            "mark": "+",
            "kind": "ntp",
            "verdict": "selected",
            "operator": f"p{i}.example",
            "stratum": 1,
        }
        | {"poll_s": 64.0, "age_s": 12.4, "offset_s": 2.5e-6, "u_s": 1e-6, "limit_s": 3e-4, "values": 17, "reach": 255}
        for i in range(5)
    ]
    return {
        "bench_ns": time.monotonic_ns(),
        "state": "steered",
        "state_sentence": "steered on UTC by a majority of sources",
        "against": "simulated-utc",
        "scale": "SIM(bench)",
        "synchronised": True,
        "missing": [],
        "lab": "bench",
        "utc": "2026-03-01T00:00:00.000000000000Z",
        "bound_s": 3.1e-8,
        "u_s": 4.1e-9,
        "terms": {f"u_term_{i}_s": 1.2345678e-9 for i in range(9)},
        "clocks": clocks,
        "sources": sources,
        "alerts": [],
        "steering": {"y_steer": -1.2e-15, "x_utck_minus_scale_s": 1.19e-8},
        "leap": {"tai_minus_utc_s": 37, "expires": "2099-06-28T00:00:00Z", "source": "IERS"},
    }


def history() -> dict[str, Any]:
    """Return a history of ordinary size (a month at 10 s: some 1300 rows, 13 curves)."""
    n = 1300
    age = [float(k) for k in range(n, 0, -1)]
    column = [-1.2345e-9 * (k % 17) for k in range(n)]
    curve = {key: [1.234e-14] * 14 for key in ("tau_s", "value", "lower", "upper", "n")}
    return {
        "bench_ns": time.monotonic_ns(),
        "as_of": "2026-03-01T00:00:00.000Z",
        "as_of_mjd_tai": 61100.000428,
        "interval_s": 10.0,
        "utc": {"age_s": age} | dict.fromkeys(("low_s", "high_s", "u_s", "half_s", "bound_s"), column),
        "deviations": {"clocks": [{"name": f"maser{i}"} | curve for i in range(12)], "scale": curve},
        "weights": {
            "age_s": age[:96],
            "clocks": [f"maser{i}" for i in range(12)],
            "weight": [[0.0833] * 96 for _ in range(12)],
        },
    }


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Answer as a laboratory does."""
    return history() if request["ask"] == "history" else status()


def processor_s(pid: int) -> float:
    """Return the processor time of a process (all its threads), user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Listener(asyncio.Protocol):
    """One browser's event stream: it notes how late each event came."""

    def __init__(self, lags: list[float]) -> None:
        self.lags = lags
        self.events = 0
        self.status = b""
        self._tail = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.write(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n")

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if not self.status:
            self.status = data[:15]
        # a moment that lies across two pieces is put together
        for found in ASKED.finditer(self._tail + data):
            if found.end() > len(self._tail):
                self.events += 1
                self.lags.append((now - int(found[1])) / 1e9)
        self._tail = (self._tail + data)[-64:]

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


class Page(asyncio.Protocol):
    """One browser's connection for the clock: asks, waits for the answer, rests."""

    def __init__(self, answers: list[float]) -> None:
        self.answers = answers
        self._asked = 0.0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        asyncio.get_running_loop().call_later(CLOCK_EVERY_S * (id(self) % 997) / 997, self.ask)

    def ask(self) -> None:
        """Ask for the clock."""
        if self._transport is not None and not self._transport.is_closing():
            self._asked = time.monotonic()
            self._transport.write(b"GET /api/clock HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"}"):
            self.answers.append(time.monotonic() - self._asked)
            asyncio.get_running_loop().call_later(CLOCK_EVERY_S, self.ask)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


async def one_run(port: int, pid: int, *, listeners: int, seconds: float, pages: bool) -> dict[str, Any]:
    """Hold the listeners for some seconds and return what it cost."""
    loop = asyncio.get_running_loop()
    lags: list[float] = []
    answers: list[float] = []
    held: list[Any] = []
    for _ in range(listeners):
        held.append((await loop.create_connection(lambda: Listener(lags), "127.0.0.1", port))[1])
        if pages:
            held.append((await loop.create_connection(lambda: Page(answers), "127.0.0.1", port))[1])
    await asyncio.sleep(SETTLE_S)
    streams = [each for each in held if isinstance(each, Listener)]
    refused = sum(b" 200" not in each.status for each in streams)
    lags.clear()
    answers.clear()
    heard = sum(each.events for each in streams)
    used, begun = processor_s(pid), time.monotonic()
    await asyncio.sleep(seconds)
    elapsed = time.monotonic() - begun
    used = processor_s(pid) - used
    heard = sum(each.events for each in streams) - heard
    memory = resident_mib(pid)
    for each in held:
        each.close()
    await asyncio.sleep(0.2)
    cuts = statistics.quantiles(lags, n=100) if len(lags) > 1 else [float("nan")] * 99
    found = {
        "processor_ratio": round(used / elapsed, 4),
        "events_per_s": round(heard / elapsed, 1),
        "refused": refused,
        "lag_p50_ms": round(1e3 * cuts[49], 2),
        "lag_p99_ms": round(1e3 * cuts[98], 2),
        "resident_mib": round(memory, 1),
    }
    if pages and answers:
        found |= {
            "clock_requests_per_s": round(len(answers) / elapsed, 1),
            "clock_answer_p50_ms": round(1e3 * statistics.median(answers), 2),
        }
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Start a laboratory that only answers and a console, and measure."""
    wanted = 2 * options.listeners + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    with tempfile.TemporaryDirectory() as folder, ControlSocket(Path(folder) / "run", answer):
        command = [sys.executable, "-m", "truechimer.console.server", "--lab", folder, "--address", "127.0.0.1"]
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True, env=environment) as console:
            try:
                assert console.stdout is not None
                port = json.loads(console.stdout.readline())["port"]
                runs: list[dict[str, Any]] = []
                for number in range(2 * options.runs):
                    pages = number % 2 == 1
                    cost = one_run(port, console.pid, listeners=options.listeners, seconds=options.seconds, pages=pages)
                    runs.append({"pages": pages} | asyncio.run(cost))
                    print(runs[-1], flush=True)
            finally:
                console.terminate()
                console.wait(10)

    def median(key: str, *, pages: bool) -> float:
        return round(statistics.median(run[key] for run in runs if run["pages"] is pages), 4)

    return {
        "listeners": options.listeners,
        "seconds": options.seconds,
        "processor_ratio_median": median("processor_ratio", pages=False),
        "processor_ratio_of_pages_median": median("processor_ratio", pages=True),
        "lag_p50_ms_median": median("lag_p50_ms", pages=False),
        "lag_p99_ms_median": median("lag_p99_ms", pages=False),
        "runs": runs,
    }


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--listeners", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--limit", type=float, help="fail above this part of one core (median of the runs)")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = measure(options)
    print(json.dumps({key: value for key, value in found.items() if key != "runs"}, indent=1))
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    refused = max(run["refused"] for run in found["runs"])
    return int(bool(refused) or (options.limit is not None and found["processor_ratio_median"] > options.limit))


if __name__ == "__main__":
    raise SystemExit(main())
