"""What a step of the scale costs, as a ratio to a plain NumPy AT1 step measured in the same run.

    PYTHONPATH=src python bench/scale.py [--epochs 2000] [--clocks 10 100 1000] [--rounds 5]

Readings are in memory. Every algorithm with detection, and `bands` without it, take the same epochs in turn, `--rounds`
times; medians and all rounds are shown, with the seconds that ten years of hourly epochs would take at that pace. The
plain step is what a NumPy user writes: predict, weigh, average, exponential rate and weights, nothing else.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.scale.engines import engine

HOUR_S = 3_600.0
START_NS = 1_700_000_000 * 10**9
TEN_YEARS = 87_660


def plain_at1(x: np.ndarray) -> Callable[[int], None]:
    """A plain NumPy AT1: returns its step."""
    n = x.shape[1]
    state = {"x": x[0] - x[0].mean(), "y": np.zeros(n), "e2": np.full(n, 1e-20)}

    def step(k: int) -> None:
        ahead = state["x"] + state["y"] * HOUR_S
        weight = 1.0 / state["e2"]
        weight /= weight.sum()
        x_pivot = (weight * (ahead - x[k])).sum()
        now = x[k] + x_pivot
        error = now - ahead
        state["e2"] += 0.002 * (error * error / (1.0 - weight) - state["e2"])
        state["y"] += 0.01 * ((now - state["x"]) / HOUR_S - state["y"])
        state["x"] = now

    return step


def run(name: str, x: np.ndarray, begin: int, end: int, made: dict) -> float:
    """Seconds for the epochs begin to end."""
    n = x.shape[1]
    if name not in made:
        if name == "plain":
            made[name] = plain_at1(x)
        else:
            algorithm, _, how = name.partition(" ")
            clocks = tuple(
                Clock(name=f"c{i}", kind=ClockKind.MASER if i % 4 == 0 else ClockKind.CAESIUM) for i in range(n)
            )
            made[name] = engine(algorithm, clocks, interval_s=HOUR_S, judged=how != "alone")
    step, u2 = made[name], np.full(n, 1e-24)
    began = time.perf_counter()
    if name == "plain":
        for k in range(begin, end):
            step(k)
    else:
        for k in range(begin, end):
            step.step(START_NS + k * 3_600 * 10**9, x[k], u2, due=True)
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=2_000)
    parser.add_argument("--clocks", type=int, nargs="+", default=[10, 100, 1_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--algorithms", default="bands,bands alone,at1,kalman alone")
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    for n in options.clocks:
        epochs = options.epochs if n <= 100 else max(options.epochs // 10, 200)
        white = np.where(np.arange(n) % 4 == 0, 1.2e-13, 8.5e-12) * 60.0
        x = np.cumsum(rng.normal(size=(epochs, n)) * white, axis=0)
        x -= x[:, [0]]
        names = ["plain", *options.algorithms.split(",")]
        made: dict = {}
        taken: dict[str, list[float]] = {name: [] for name in names}
        edges = np.linspace(0, epochs, options.rounds + 2).astype(int)
        for begin, end in pairwise(edges.tolist()):
            for name in names:
                taken[name].append(run(name, x, begin, end, made) / (end - begin))
        base = statistics.median(taken["plain"][1:])
        for name in names:
            rounds = taken[name][1:]  # the first makes machine code
            per = statistics.median(rounds)
            print(
                f"{n:5d} clocks  {name:13}  {1e6 * per:8.1f} us a step  {per / base:7.2f} x plain  "
                f"{per * TEN_YEARS:7.2f} s in ten years hourly   rounds {[round(1e6 * one, 1) for one in rounds]}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
