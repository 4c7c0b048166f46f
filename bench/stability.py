"""Stability statistics against allantools and ntpstats in one alternating run: ratios of medians, all runs kept.

It gates nothing itself but with `--limits`: then the status is 1 where a ratio is below its bar. The peers live in an
environment of their own that `--peers` names (allantools is no requirement of ours); a worker there and one here take
turns, so that a busy machine is busy for both. Both are warmed up first: imports and compilation are not in the ratios,
ours are printed apart. allantools and ntpstats are compiled against NumPy.

    python bench/stability.py --peers PEERS/bin/python [--runs 5] [--quick] [--limits] [--out FILE.json]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

WORKER = """
import json, sys, time, warnings
import numpy as np
warnings.simplefilter("ignore")
records = {}
def record(n):
    if n not in records:
        records[n] = np.cumsum(np.random.default_rng(1).standard_normal(n)) * 1e-9
    return records[n]
for line in sys.stdin:
    ask = json.loads(line)
    x = record(ask["n"])
    began = time.perf_counter()
    exec(ask["code"])
    spent = time.perf_counter() - began
    print(json.dumps(spent), flush=True)
"""

OURS = "from truechimer import stability as s; "
THEIRS = "import allantools as at; "
NTP = "from ntpstats import stability as ns; "

# name: (points, our code, the peer's code, peer, least ratio)
CASES = {
    "mtie octave": (100_000, "s.mtie(x, 1.0)", "at.mtie(x, taus='octave')", "allantools", 40.0),
    "theo1 octave": (
        *(3_000, "s.theo1(x, 1.0, [10, 20, 40, 80, 160, 320, 640, 1280, 2560], ci=None)"),
        *("at.theo1(x, taus=[10, 20, 40, 80, 160, 320, 640, 1280, 2560])", "allantools", 500.0),
    ),
    "mtotdev octave": (1_000, "s.mtotdev(x, 1.0, ci=None)", "at.mtotdev(x, taus='octave')", "allantools", 500.0),
    "htotdev octave": (1_000, "s.htotdev(x, 1.0, ci=None)", "at.htotdev(x, taus='octave')", "allantools", 500.0),
    "pdev octave": (10_000, "s.pdev(x, 1.0, ci=None)", "at.pdev(x, taus='octave')", "allantools", 500.0),
    "oadev all tau": (100_000, "s.oadev(x, 1.0, 'all', ci=None)", "at.oadev(x, taus='all')", "allantools", 5.0),
    "mdev all tau": (100_000, "s.mdev(x, 1.0, 'all', ci=None)", "at.mdev(x, taus='all')", "allantools", 5.0),
    **{
        f"{name} values": (1_000_000, f"s.{name}(x, 1.0, ci=None)", f"at.{name}(x, taus='octave')", "allantools", 1.0)
        for name in ("adev", "oadev", "mdev", "tdev", "hdev", "ohdev", "totdev", "tierms")
    },
    **{
        f"{name} default": (1_000_000, f"s.{name}(x, 1.0)", f"ns.compute(x, 1.0, '{name}')", "ntpstats", 1.0)
        for name in ("adev", "oadev", "mdev", "tdev", "totdev")
    },
    **{
        f"{name} exact": (
            *(30_000, f"s.{name}dev(x, 1.0, ci=None)" if name != "theo1" else "s.theo1(x, 1.0, ci=None)"),
            *(f"ns.compute(x, 1.0, '{name}', ci=None, max_work=0)", "ntpstats", bar),
        )
        for name, bar in (("theo1", 3.0), ("mtot", 10.0), ("htot", 10.0))
    },
}
SLOW = {"oadev all tau", "mdev all tau", "theo1 exact", "mtot exact", "htot exact"}


class Worker:
    """A Python process that times a line of code whenever it is asked."""

    def __init__(self, python: str, prelude: str) -> None:
        environment = os.environ | {
            "PYTHONPATH": str(ROOT / "src"),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [python, "-c", prelude + "\n" + WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.ask(1_000, "pass")
        self.start_s = time.perf_counter() - began

    def ask(self, n: int, code: str) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"n": n, "code": code}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the worker ended at: {code}")
        return float(json.loads(line))

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", required=True, metavar="PYTHON", help="a Python that has allantools and ntpstats")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="leave out what takes the peers minutes")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--limits", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    asked = "import allantools, ntpstats, numpy; print(allantools.__version__, ntpstats.__version__, numpy.__version__)"
    versions = subprocess.run([options.peers, "-c", asked], check=True, capture_output=True, text=True).stdout.split()
    peers = {name: Worker(options.peers, code) for name, code in (("allantools", THEIRS), ("ntpstats", NTP))}
    ours = Worker(sys.executable, OURS)
    told: dict = {
        "versions": dict(zip(("allantools", "ntpstats", "numpy"), versions, strict=True)),
        "note": "the peers are compiled against NumPy; one thread each; ratios of medians of alternating runs",
        "our_start_s": round(ours.start_s, 3),
        "cases": {},
    }
    missed = []
    for name, (n, our_code, their_code, peer, bar) in CASES.items():
        if (options.quick and name in SLOW) or options.only not in name:
            continue
        first_s = ours.ask(n, our_code)  # compiles where the cache is empty
        peers[peer].ask(min(n, 1000), their_code)
        pairs = [(ours.ask(n, our_code), peers[peer].ask(n, their_code)) for _ in range(max(options.runs, 5))]
        ratio = statistics.median(theirs for _, theirs in pairs) / statistics.median(mine for mine, _ in pairs)
        told["cases"][name] = {
            "n": n,
            "peer": peer,
            "ratio": round(ratio, 2),
            "bar": bar,
            "ours_s": [round(mine, 6) for mine, _ in pairs],
            "theirs_s": [round(theirs, 6) for _, theirs in pairs],
            "our_first_call_s": round(first_s, 4),
        }
        if ratio < bar:
            missed.append(name)
        print(
            f"{name:16} n {n:>8}  {peer:10} ratio {ratio:9.1f}  bar {bar:g}{'  MISSED' if ratio < bar else ''}",
            flush=True,
        )
    for worker in (*peers.values(), ours):
        worker.end()
    if options.out is not None:
        options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 1 if options.limits and missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
