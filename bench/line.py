"""What an epoch costs: 12 clocks and 3 links to UTC through `laboratory.line.step`, against a plain NumPy AT1 step in
the same run.

It gates nothing itself but the ratio: `--limit 17` makes the exit status 1 where the median of the ratios is above it.
JSON and hashes are included, the disk is not. Runs alternate (line, plain, line, ...), at least 5 of each; every run is
printed. Absolute times are shown, never judged. The clock is the processor time of this process, and the two sides
take turns every `CHUNK` epochs: on a busy machine wall time says who was preempted, not what a step costs.

    python bench/line.py [--runs 7] [--epochs 1500] [--limit 17] [--out FILE.json] [--with-plain] [--algorithm bands]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.laboratory import rig  # noqa: E402

from truechimer.kernel import COMPILED  # noqa: E402
from truechimer.laboratory import line  # noqa: E402
from truechimer.laboratory.epoch_input import epoch_input  # noqa: E402
from truechimer.sim import demo_scenario  # noqa: E402

CLOCKS = 12
WARM_UP = 200
CHUNK = 25
"""Line and plain step alternate this often within a run, so that a busy machine is busy for both."""


class PlainAt1:
    """A plain AT1 step: predict, weighted sum, new phases, rates and weights; nothing else. 12 clocks, NumPy."""

    def __init__(self) -> None:
        self.x = np.zeros(CLOCKS)
        self.y = np.zeros(CLOCKS)
        self.weight = np.full(CLOCKS, 1.0 / CLOCKS)
        self.error2 = np.full(CLOCKS, 1e-22)

    def step(self, x_clock_minus_pivot_s: np.ndarray, interval_s: float) -> float:
        predicted = self.x + self.y * interval_s
        x_pivot = float(np.dot(self.weight, predicted - x_clock_minus_pivot_s))
        x = x_clock_minus_pivot_s + x_pivot
        residual = x - predicted
        self.error2 = self.error2 + 0.01 * (residual * residual / (1.0 - self.weight) - self.error2)
        self.y = self.y + 0.01 * ((x - self.x) / interval_s - self.y)
        self.x = x
        wanted = 1.0 / self.error2
        wanted = np.minimum(wanted / np.sum(wanted), 4.0 / CLOCKS)
        self.weight = wanted / np.sum(wanted)
        return x_pivot


def batches(epochs: int) -> list:
    """Simulated epochs, made before anything is timed."""
    scenario = rig.of_days(demo_scenario(), epochs * 600.0 / 86_400.0)
    return list(rig.world(scenario, seed=1).history())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=1500)
    parser.add_argument("--limit", type=float, default=0.0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--algorithm", default="at1", choices=("at1", "bands", "kalman"), help="of the scale")
    parser.add_argument("--with-plain", action="store_true", help="also measure the line without compiled kernels")
    options = parser.parse_args()
    runs = max(options.runs, 5)
    world = batches(options.epochs + WARM_UP)
    lab = rig.Lab(rig.start_of(rig.of_days(demo_scenario(), 1.0), with_host=True, algorithm=options.algorithm))
    given = []
    for k, batch in enumerate(world):
        raw_ns = rig.ANCHOR_RAW_NS + k * 600 * rig.NS  # as if live: a clock page is made at every epoch
        readings = list(batch.readings)
        readings.append(host_reading(batch))
        given.append(epoch_input(readings, lab.state.register, epoch_tai_ns=batch.epoch_tai_ns, raw_ns=raw_ns))
    state = lab.state
    for one in given[:WARM_UP]:
        state, _ = line.step(state, one, lab.config)
    ratios, line_us, plain_us = [], [], []
    x_of = [np.nan_to_num(one.readings.x_a_minus_b_s[:CLOCKS]) for one in given]
    for _ in range(runs):
        at, plain = state, PlainAt1()
        ours = theirs = 0.0
        for first in range(WARM_UP, len(given), CHUNK):
            began = time.process_time()
            for one in given[first : first + CHUNK]:
                at, _ = line.step(at, one, lab.config)
            between = time.process_time()
            for x in x_of[first : first + CHUNK]:
                plain.step(x, 600.0)
            ours += (between - began) / options.epochs * 1e6
            theirs += (time.process_time() - between) / options.epochs * 1e6
        ratios.append(ours / theirs)
        line_us.append(ours)
        plain_us.append(theirs)
        print(f"line {ours:8.1f} us   plain AT1 {theirs:6.1f} us   ratio {ours / theirs:6.2f}", flush=True)
    told = {
        "kernels": "compiled" if COMPILED else "plain",
        "algorithm": options.algorithm,
        "epochs": options.epochs,
        "clocks": CLOCKS,
        "links_to_utc": 3,
        "ratio_median": statistics.median(ratios),
        "ratio_runs": ratios,
        "line_us_runs": line_us,
        "plain_at1_us_runs": plain_us,
    }
    print(f"median ratio {told['ratio_median']:.2f} ({told['kernels']} kernels, {runs} runs)")
    if options.with_plain and COMPILED:
        ran = subprocess.run(
            [
                sys.executable,
                __file__,
                *("--algorithm", options.algorithm, "--runs", "5", "--out", "-"),
                *("--epochs", str(min(options.epochs, 500))),
            ],
            env=os.environ | {"TRUECHIMER_KERNELS": "plain"},
            check=True,
            capture_output=True,
            text=True,
        )
        told["without_numba"] = json.loads(ran.stdout.splitlines()[-1])
        print(f"median ratio {told['without_numba']['ratio_median']:.2f} (plain kernels)")
    if str(options.out) == "-":
        print(json.dumps(told))
    elif options.out is not None:
        options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 1 if options.limit and told["ratio_median"] > options.limit else 0


def host_reading(batch):
    """The host read against the pivot, quiet and honest."""
    from truechimer.compare.reading import Reading

    return Reading(
        epoch_tai_ns=batch.epoch_tai_ns, a="host", b="H1", x_a_minus_b_s=-float(batch.x_clock_minus_utc_s[0]), u_s=1e-8
    )


if __name__ == "__main__":
    raise SystemExit(main())
