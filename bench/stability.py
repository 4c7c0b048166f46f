"""Stability statistics against allantools, ntpstats and plain C in one alternating run: ratios of medians, all runs
kept.

It gates nothing itself but with `--limits`: then the status is 1 where a ratio is below its bar. The peers live in an
environment of their own that `--peers` names (allantools is no requirement of ours); workers there and here take turns,
so that a busy machine is busy for all. All are warmed up first: imports and compilation are not in the ratios, and
`stability_cost.py` shows them apart. allantools and ntpstats are compiled against NumPy. The plain C is
`stability_loops.c`, one loop for each statistic, compiled by the system's compiler.

    python bench/stability.py --peers PEERS/bin/python [--runs 5] [--quick] [--only WORD] [--limits] [--out FILE.json]

`ratio`: the peer's median over ours, both of processor time on one thread, which other processes disturb least;
`ratio_by_clock`: the same of time that passed; `ratio_two_threads`: the peer's time that passed over ours with two
threads, which needs two idle processors to say anything; `to_c`: our processor time on one thread over that of the C
loop. With `--only` the other cases of `--out` are kept as they are.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
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
    began, worked = time.perf_counter(), time.process_time()
    exec(ask["code"])
    spent = time.perf_counter() - began, time.process_time() - worked
    print(json.dumps(spent), flush=True)
"""

OURS = """
from concurrent.futures import ThreadPoolExecutor
import truechimer.kernel
from truechimer import stability as s
pool = ThreadPoolExecutor(2)
"""
THEIRS = "import allantools as at; "
NTP = "from ntpstats import stability as ns; "
C = """
import ctypes
loops = ctypes.CDLL(LIBRARY)
def c(name, x, factors):
    at = getattr(loops, name)
    at.restype = ctypes.c_double
    return [at(x.ctypes.data_as(ctypes.c_void_p), ctypes.c_long(x.size), ctypes.c_long(m)) for m in factors]
def octaves(most, least=1):
    return [least << k for k in range(60) if least << k <= most]
"""


@dataclass(frozen=True)
class Case:
    """One statistic: how many points, what is called here and there, the least ratio, the C loop and its factors."""

    n: int
    ours: str
    theirs: str
    peer: str
    bar: float
    c: str = ""
    threads: bool = True


def _octaves(name: str, n: int, *, least: int = 1) -> str:
    span = {"adev": 2, "oadev": 2, "pdev": 2, "totdev": 1, "theo1": 1, "mtie": 1, "tierms": 1}.get(name, 3)
    return f"c('{name}', x, octaves({(n - 1) // span}, {least}))"


THEO = "[10, 20, 40, 80, 160, 320, 640, 1280, 2560]"
MILLION, HUNDRED = 1_000_000, 100_000
CASES = {
    "mtie octave": Case(
        HUNDRED, "s.mtie(x, 1.0)", "at.mtie(x, taus='octave')", "allantools", 40.0, _octaves("mtie", HUNDRED), False
    ),
    "theo1 octave": Case(
        3_000,
        f"s.theo1(x, 1.0, {THEO}, ci=None)",
        f"at.theo1(x, taus={THEO})",
        "allantools",
        500.0,
        f"c('theo1', x, {THEO})",
    ),
    **{
        f"{name} octave": Case(
            n, f"s.{name}(x, 1.0, ci=None)", f"at.{name}(x, taus='octave')", "allantools", 500.0, _octaves(name, n)
        )
        for name, n in (("mtotdev", 1_000), ("htotdev", 1_000), ("pdev", 10_000))
    },
    **{
        f"{name} all tau": Case(
            HUNDRED,
            f"s.{name}(x, 1.0, 'all', ci=None)",
            f"at.{name}(x, taus='all')",
            "allantools",
            5.0,
            f"c('{name}', x, range(1, {(HUNDRED - 1) // span + 1}))",
        )
        for name, span in (("oadev", 2), ("mdev", 3))
    },
    **{
        f"{name} values": Case(
            MILLION,
            f"s.{name}(x, 1.0, ci=None)",
            f"at.{name}(x, taus='octave')",
            "allantools",
            1.0,
            _octaves(name, MILLION),
        )
        for name in ("adev", "oadev", "mdev", "tdev", "hdev", "ohdev", "totdev", "tierms")
    },
    **{
        f"{name} default": Case(MILLION, f"s.{name}(x, 1.0)", f"ns.compute(x, 1.0, '{theirs}')", "ntpstats", 1.0)
        for name, theirs in (
            *(("adev", "adev"), ("oadev", "oadev"), ("mdev", "mdev"), ("tdev", "tdev")),
            *(("ohdev", "hdev"), ("hdev", "hdev"), ("totdev", "totdev"), ("mtie", "mtie")),
        )
    },
    **{
        f"{name} exact": Case(
            n,
            f"s.{name}(x, 1.0, ci=None)",
            f"ns.compute(x, 1.0, '{theirs}', ci=None, max_work=0)",
            "ntpstats",
            bar,
            "" if name == "theobr" else _octaves(name, n, least=10 if name == "theo1" else 1),
        )
        for name, theirs, n, bar in (
            *(("theo1", "theo1", 30_000, 3.0), ("mtotdev", "mtot", 30_000, 10.0)),
            *(("htotdev", "htot", 30_000, 10.0), ("theobr", "theobr", 3_000, 1.0)),
        )
    },
}
SLOW = {"oadev all tau", "mdev all tau", "theo1 exact", "mtotdev exact", "htotdev exact", "theobr exact"}


class Worker:
    """A Python process that times a line of code whenever it is asked."""

    def __init__(self, python: str, prelude: str) -> None:
        environment = os.environ | {
            "PYTHONPATH": str(ROOT / "src"),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self.process = subprocess.Popen(
            [python, "-c", prelude + "\n" + WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.ask(1_000, "pass")

    def ask(self, n: int, code: str) -> tuple[float, float]:
        """Return the seconds that passed, and those that the process had a processor."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"n": n, "code": code}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the worker ended at: {code}")
        passed, worked = json.loads(line)
        return float(passed), float(worked)

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def compiled_loops(folder: str) -> tuple[str, str]:
    """Compile the C loops; return the library's path and what compiled it."""
    library = str(Path(folder) / "stability_loops.so")
    source = ROOT / "bench" / "stability_loops.c"
    flags = ["-O3", "-march=native"]
    subprocess.run(["cc", *flags, "-shared", "-fPIC", str(source), "-o", library, "-lm"], check=True)
    version = subprocess.run(["cc", "--version"], check=True, capture_output=True, text=True).stdout.splitlines()[0]
    return library, f"{version}, {' '.join(flags)}"


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
    with tempfile.TemporaryDirectory() as folder:
        library, compiler = compiled_loops(folder)
        workers = {
            "allantools": Worker(options.peers, THEIRS),
            "ntpstats": Worker(options.peers, NTP),
            "ours": Worker(sys.executable, OURS),
            "c": Worker(sys.executable, C.replace("LIBRARY", repr(library))),
        }
        told: dict = {
            "versions": dict(zip(("allantools", "ntpstats", "numpy"), versions, strict=True)),
            "c_compiler": compiler,
            "note": (
                "the peers are compiled against NumPy; medians of alternating runs; ratio and to_c (our time over that "
                "of a plain C loop) are of processor time on one thread, ratio_two_threads is of time that passed"
            ),
            "cases": {},
        }
        if options.only and options.out is not None and options.out.exists():
            told["cases"] = json.loads(options.out.read_text(encoding="utf-8"))["cases"]
        missed = []
        for name, case in CASES.items():
            if (options.quick and name in SLOW) or options.only not in name:
                continue
            told["cases"][name] = found = measured(case, workers, max(options.runs, 5))
            if found["ratio"] < case.bar:
                missed.append(name)
            two, to_c = found.get("ratio_two_threads", ""), found.get("to_c", "")
            print(
                f"{name:16} n {case.n:>8}  {case.peer:10} ratio {found['ratio']:9.1f}  two threads {two:>8}  "
                f"to C {to_c:>5}  bar {case.bar:g}{'  MISSED' if name in missed else ''}",
                flush=True,
            )
        for worker in workers.values():
            worker.end()
    told["cases"] = {name: told["cases"][name] for name in CASES if name in told["cases"]}
    if options.out is not None:
        options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 1 if options.limits and missed else 0


def measured(case: Case, workers: dict[str, Worker], runs: int) -> dict:
    """Time one case, all sides in turn, `runs` times after a round that warms them up."""
    sides = {"ours": ("ours", case.ours)}
    if case.threads:
        sides["ours_two_threads"] = ("ours", case.ours[:-1] + ", spread=pool.map)")
    if case.c:
        sides["c"] = ("c", case.c)
    sides["theirs"] = (case.peer, case.theirs)
    for side, (worker, code) in sides.items():
        if side == "c":
            workers[worker].ask(case.n, "pass")
        else:
            workers[worker].ask(min(case.n, 1000) if side == "theirs" else case.n, code)
    passed: dict[str, list[float]] = {side: [] for side in sides}
    worked: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(runs):
        for side, (worker, code) in sides.items():
            of_clock, of_processor = workers[worker].ask(case.n, code)
            passed[side].append(of_clock)
            worked[side].append(of_processor)
    clock = {side: statistics.median(times) for side, times in passed.items()}
    processor = {side: statistics.median(times) for side, times in worked.items()}
    found: dict = {"n": case.n, "peer": case.peer, "bar": case.bar, "ratio": processor["theirs"] / processor["ours"]}
    found["ratio_by_clock"] = clock["theirs"] / clock["ours"]
    if case.threads:
        found["ratio_two_threads"] = clock["theirs"] / clock["ours_two_threads"]
    if case.c:
        found["to_c"] = processor["ours"] / processor["c"]
    found["ours_median_s"] = processor["ours"]
    found = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in found.items()}
    for kind, spent in (("processor_s", worked), ("clock_s", passed)):
        found[kind] = {side: [float(f"{each:.4g}") for each in times] for side, times in spent.items()}
    return found


if __name__ == "__main__":
    raise SystemExit(main())
