"""What a laboratory in service makes of faults on each algorithm of the scale: paired runs of the whole line.

    PYTHONPATH=src:. python design/live_algorithms.py [--seeds 3]      measure, and keep

It writes docs/measured/live_algorithms.json; docs/adr/0039-the-live-algorithm.md rests on it. The demo's laboratory (12
clocks, an epoch each 600 s) runs twice on the same draws, once with the fault and once without, so that noise cancels:
`moved` is the most by which the scale differs from its twin's until the end, through the median of the other clocks,
`left` the difference at the end; `said` is the delay of the first alert that names the clock. The law of the file: it
judges from outside; `laboratory.line` never sees what was done.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tests.laboratory import rig

from truechimer.scale.live_state import LIVE_ALGORITHMS, VERSIONS
from truechimer.sim import WorldBatch, demo_scenario

KEPT = Path(__file__).resolve().parents[1] / "docs" / "measured" / "live_algorithms.json"
TARGET = "H2"
HOUR_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of `TARGET`: `x_s(t)` is added to its readings `t` s after `begins_h` hours of a run of `days`."""

    name: str
    days: float
    begins_h: float
    x_s: Callable[[float], float]


FAULTS = (
    Fault("20 ns after 3 h", 1.0, 3.0, lambda _t: 20e-9),
    Fault("20 ns after 3 d", 5.0, 72.0, lambda _t: 20e-9),
    Fault("5e-14 after 3 d", 5.0, 72.0, lambda t: 5e-14 * t),
    Fault("1e-13 after 3 h", 1.0, 3.0, lambda t: 1e-13 * t),
)


def pushed(batch: WorldBatch, by_s: float) -> WorldBatch:
    """Return the epoch as if the clock had moved."""
    readings = tuple(
        replace(one, x_a_minus_b_s=one.x_a_minus_b_s + by_s * ((one.a == TARGET) - (one.b == TARGET)))
        for one in batch.readings
    )
    return replace(batch, readings=readings)


def one_run(fault: Fault, algorithm: str, seed: int) -> dict[str, float]:
    """Return `moved_ns`, `left_ns` and `said_h` (infinite where nothing was said) of one pair."""
    scenario = rig.of_days(demo_scenario(), fault.days)
    start = rig.start_of(scenario, algorithm=algorithm)
    clean, hurt = rig.Lab(start), rig.Lab(start)
    others = [i for i, clock in enumerate(scenario.clocks) if clock.name != TARGET]
    begin_ns, moved, left, said_h = 0, 0.0, 0.0, float("inf")
    for batch in rig.world(scenario, seed=seed).history():
        begin_ns = begin_ns or batch.epoch_tai_ns + round(fault.begins_h * HOUR_S * 1e9)
        since_s = (batch.epoch_tai_ns - begin_ns) / 1e9
        quiet = clean.take(batch)
        loud = hurt.take(batch if since_s < 0.0 else pushed(batch, fault.x_s(since_s)))
        if since_s < 0.0:
            continue
        apart = (loud.step.x_clock_minus_scale_s - quiet.step.x_clock_minus_scale_s)[others]
        left = float(np.nanmedian(apart))
        moved = max(moved, abs(left))
        if any(alert.subject == TARGET for alert in loud.alerts):
            said_h = min(said_h, since_s / HOUR_S)
    return {"moved_ns": moved * 1e9, "left_ns": left * 1e9, "said_h": said_h}


LATE = "20 ns in service, interval_s 10, history each 600 s"


def late_run(algorithm: str, seed: int) -> dict[str, float]:
    """Return the same of a step half a minute after a history whose epochs are sixty times as far apart as the scale's
    steps in service.
    """
    scenario = rig.of_days(demo_scenario(), 3.0)
    world, clean = rig.world(scenario, seed=seed), rig.Lab(rig.start_of(scenario, interval_s=10.0, algorithm=algorithm))
    clean.history(world)
    hurt = clean.fork()
    others = [i for i, clock in enumerate(scenario.clocks) if clock.name != TARGET]
    moved, left, said_h = 0.0, 0.0, float("inf")
    for second, batch in enumerate(rig.live(world, seconds=900), 1):
        quiet = clean.take(batch)
        loud = hurt.take(batch if second <= 30 else pushed(batch, 20e-9))
        left = float(np.nanmedian((loud.step.x_clock_minus_scale_s - quiet.step.x_clock_minus_scale_s)[others]))
        moved = max(moved, abs(left))
        if any(alert.subject == TARGET for alert in loud.alerts):
            said_h = min(said_h, (second - 31) / HOUR_S)
    return {"moved_ns": moved * 1e9, "left_ns": left * 1e9, "said_h": said_h}


def row_of(runs: list[dict[str, float]]) -> dict[str, Any]:
    """Return the figures of a fault's runs."""
    seen = [run["said_h"] for run in runs if run["said_h"] < float("inf")]
    return {
        "moved_ns_median": round(statistics.median(run["moved_ns"] for run in runs), 4),
        "moved_ns_max": round(max(run["moved_ns"] for run in runs), 4),
        "left_ns_max": round(max(abs(run["left_ns"]) for run in runs), 4),
        "said": f"{len(seen)} of {len(runs)}",
    } | ({"said_h_max": round(max(seen), 2)} if seen else {})


def main() -> None:
    """Measure and keep."""
    parser = argparse.ArgumentParser(description="faults of a laboratory in service, by algorithm")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each fault (default 3)")
    options = parser.parse_args()
    table: dict[str, Any] = {}
    runs_of: dict[str, Callable[[str, int], dict[str, float]]] = {
        fault.name: partial(one_run, fault) for fault in FAULTS
    } | {LATE: late_run}
    for name, run in runs_of.items():
        for algorithm in LIVE_ALGORITHMS:
            row = row_of([run(algorithm, seed) for seed in range(1, options.seeds + 1)])
            table[f"{name}, {algorithm}"] = row
            print(f"{name}, {algorithm}: {row}", file=sys.stderr, flush=True)
    body = {"seeds": options.seeds, "clock": TARGET, "algorithms": list(VERSIONS.values()), "faults": table}
    KEPT.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
