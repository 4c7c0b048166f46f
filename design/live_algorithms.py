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


def one_run(algorithm: str, fault: Fault, seed: int) -> dict[str, float]:
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


def main() -> None:
    """Measure and keep."""
    parser = argparse.ArgumentParser(description="faults of a laboratory in service, by algorithm")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each fault (default 3)")
    options = parser.parse_args()
    table: dict[str, Any] = {}
    for fault in FAULTS:
        for algorithm in LIVE_ALGORITHMS:
            runs = [one_run(algorithm, fault, seed) for seed in range(1, options.seeds + 1)]
            seen = [run["said_h"] for run in runs if run["said_h"] < float("inf")]
            row = {
                "moved_ns_median": round(statistics.median(run["moved_ns"] for run in runs), 4),
                "moved_ns_max": round(max(run["moved_ns"] for run in runs), 4),
                "left_ns_max": round(max(abs(run["left_ns"]) for run in runs), 4),
                "said": f"{len(seen)} of {len(runs)}",
            } | ({"said_h_max": round(max(seen), 2)} if seen else {})
            table[f"{fault.name}, {algorithm}"] = row
            print(f"{fault.name}, {algorithm}: {row}", file=sys.stderr, flush=True)
    body = {"seeds": options.seeds, "clock": TARGET, "algorithms": list(VERSIONS.values()), "faults": table}
    KEPT.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
