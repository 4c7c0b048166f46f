"""What the ensemble scale costs: replays from memory, one live step, and reading the file, as ratios to plain NumPy.

    PYTHONPATH=src python bench/scale.py [--gates] [--out docs/measured/scale_speed.json] [--plot FILE.svg]

Every figure is processor time of this process, since other work on the machine does not change that much, and stands
beside a plain NumPy AT1 step of as many clocks in the same run: predict, weigh, average, exponential rate and weights,
nothing else. A replay is `truechimer.scale.replay` of columns in memory, with cleaning, pivot, plausibility and
detection; machine code is made before. Rounds alternate; medians, all rounds are kept. `--gates` adds the long
runs: ten years hourly of 100 clocks, one year of 1,000. The file is read by
`formats.readings_csv_columns` and, where DuckDB is installed, by that.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from truechimer import kernel
from truechimer.cli import drawing_svg
from truechimer.cli.figure import Figure, log_axis
from truechimer.clocks.clock import Clock, ClockKind
from truechimer.evidence.record import Chain, seal
from truechimer.formats import readings_csv_columns
from truechimer.formats.reading_columns import ReadingColumns
from truechimer.formats.readings_csv import mjd_text_of_ns
from truechimer.laboratory.records import scale_step
from truechimer.scale import replay
from truechimer.scale.engines import engine

HOUR_S, HOUR_NS = 3_600.0, 3_600 * 10**9
START_NS = 1_700_000_000 * 10**9
TEN_YEARS, YEAR = 87_660, 8_766
CLOCKS, EPOCHS = (10, 30, 100, 300, 1_000), (1_000, 4_000, 16_000)
MOST_CLOCKS = {"at1": 1_000, "bands": 1_000, "kalman": 100}
ALGORITHMS = tuple(MOST_CLOCKS)
ROWS = 1_000_000


def clocks(n: int) -> tuple[Clock, ...]:
    """Every fourth a maser, the others caesiums."""
    kinds = (ClockKind.MASER if i % 4 == 0 else ClockKind.CAESIUM for i in range(n))
    return tuple(Clock(name=f"c{i}", kind=kind) for i, kind in enumerate(kinds))


def phases(n: int, epochs: int) -> np.ndarray:
    """Clocks minus the first: white FM, and a step of 20 ns of one clock half way."""
    rng = np.random.default_rng(1)
    white = np.where(np.arange(n) % 4 == 0, 1.2e-13, 8.5e-12) * 60.0
    x = np.cumsum(rng.normal(size=(epochs, n)) * white, axis=0)
    x[epochs // 2 :, 3] += 2e-8
    return x - x[:, [0]]


def columns(x: np.ndarray) -> ReadingColumns:
    """Readings of all clocks against the first."""
    epochs, links = x.shape[0], x.shape[1] - 1
    noise = np.random.default_rng(2).normal(size=(epochs, links)) * 5e-12
    return ReadingColumns(
        np.arange(2, epochs * links + 2),
        np.repeat(START_NS + np.arange(epochs) * HOUR_NS, links),
        np.tile(np.arange(links, dtype=np.int32), epochs),
        (x[:, 1:] + noise).ravel(),
        np.full(epochs * links, 5e-12),
        tuple((f"c{i + 1}", "c0") for i in range(links)),
    )


def spent(run: Callable[[], Any]) -> float:
    """Processor seconds of a call."""
    began = time.process_time()
    run()
    return time.process_time() - began


def plain_at1(x: np.ndarray) -> float:
    """Seconds a step of a plain NumPy AT1."""
    n = x.shape[1]
    last, y, e2 = x[0] - x[0].mean(), np.zeros(n), np.full(n, 1e-20)

    def run() -> None:
        nonlocal last, y, e2
        for now in x:
            ahead = last + y * HOUR_S
            weight = 1.0 / e2
            weight /= weight.sum()
            measured = now + (weight * (ahead - now)).sum()
            error = measured - ahead
            e2 = e2 + 0.002 * (error * error / (1.0 - weight) - e2)
            y = y + 0.01 * ((measured - last) / HOUR_S - y)
            last = measured

    return spent(run) / len(x)


def cost(n: int, epochs: int, algorithm: str, rounds: int) -> dict[str, Any]:
    """One replay, beside the plain step."""
    x = phases(n, epochs)
    given, who = columns(x), clocks(n)
    replay(columns(x[:30]), who, algorithm)
    pairs = [(spent(lambda: replay(given, who, algorithm)) / epochs, plain_at1(x[:2_000])) for _ in range(rounds)]
    own, plain = (statistics.median(values) for values in zip(*pairs, strict=True))
    found = {
        "algorithm": algorithm,
        "clocks": n,
        "epochs": epochs,
        "step_us": round(own * 1e6, 1),
        "plain_numpy_step_us": round(plain * 1e6, 1),
        "ratio": round(own / plain, 2),
        "seconds": round(own * epochs, 2),
        "rounds_us": [round(one * 1e6, 1) for one, _ in pairs],
    }
    print(
        f"{algorithm:7} {n:5d} clocks {epochs:6d} epochs  {own * 1e6:8.1f} us a step  {own / plain:6.2f} x plain  "
        f"{own * epochs:7.2f} s",
        flush=True,
    )
    return found


def live_step(n: int = 100, steps: int = 400) -> dict[str, Any]:
    """One step at a time with its record, as a laboratory makes them: the slowest and the median."""
    x, made = phases(n, steps), engine("bands", clocks(n), interval_s=HOUR_S)
    u2, taken = np.full(n, 2.5e-23), []
    chain = Chain()
    for k in range(steps):
        began = time.process_time()
        step = made.step(START_NS + k * HOUR_NS, x[k], u2, due=True)
        _, chain = seal(*scale_step(step), chain)
        taken.append(time.process_time() - began)
    whole = taken[steps // 4 :]
    ms = {"median_ms": round(statistics.median(whole) * 1e3, 2), "slowest_ms": round(max(whole) * 1e3, 2)}
    print(f"one live step of {n} clocks with its record: {ms}", flush=True)
    return {"algorithm": "bands", "clocks": n, **ms}


def reading(rows: int, rounds: int) -> dict[str, Any]:
    """Read a CSV of so many rows, beside DuckDB."""
    links, epochs = 99, rows // 99
    x = phases(links + 1, epochs)[:, 1:]
    lines = ["epoch_mjd,clock_a,clock_b,x_a_minus_b_s,u_s\n"]
    for k in range(epochs):
        at = mjd_text_of_ns(START_NS + k * HOUR_NS)
        lines += [f"{at},c{i + 1},c0,{value!r},5e-12\n" for i, value in enumerate(x[k].tolist())]
    data = "".join(lines).encode()
    readings_csv_columns.read(data[:5_000])
    found: dict[str, Any] = {"rows": epochs * links, "bytes": len(data)}
    own = [spent(lambda: readings_csv_columns.read(data)) for _ in range(rounds)]
    found["seconds"], found["rounds_s"] = round(statistics.median(own), 3), [round(one, 3) for one in own]
    try:
        import duckdb
    except ImportError:
        return found
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "readings.csv"
        path.write_bytes(data)

        def by_duckdb() -> None:
            duckdb.connect().execute(f"select * from read_csv('{path}')").fetchnumpy()

        peer = [spent(by_duckdb) for _ in range(rounds)]
    found["duckdb_seconds"], found["duckdb_version"] = round(statistics.median(peer), 3), duckdb.__version__
    found["ratio_to_duckdb"] = round(statistics.median(own) / statistics.median(peer), 2)
    print(f"reading {found['rows']} rows: {found['seconds']} s, DuckDB {found['duckdb_seconds']} s", flush=True)
    return found


def draw(replays: list[dict[str, Any]], path: Path) -> None:
    """Draw cost against number of clocks and of epochs."""
    figures = []
    for by, other, label in (("clocks", "epochs", "number of clocks"), ("epochs", "clocks", "number of epochs")):
        fixed = 4_000 if by == "clocks" else 100
        mine = [row for row in replays if row[other] == fixed]
        figure = Figure(
            f"Processor time of a replay, {fixed:,} {other}",
            log_axis(label, [row[by] for row in mine]),
            log_axis("a step, µs", [row["step_us"] for row in mine] + [row["plain_numpy_step_us"] for row in mine]),
        )
        for number, name in enumerate((*ALGORITHMS, "plain NumPy AT1")):
            rows = [row for row in mine if row["algorithm"] == (name if name in ALGORITHMS else "at1")]
            key = "step_us" if name in ALGORITHMS else "plain_numpy_step_us"
            figure.line([row[by] for row in rows], [row[key] for row in rows], number=number, name=name)
        figures.append(figure.drawing())
    path.write_text(drawing_svg.stacked(figures), encoding="utf-8")


def main() -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gates", action="store_true", help="the long runs too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    body: dict[str, Any] = {
        "machine": {"processors": os.cpu_count(), "machine_code": kernel.COMPILED, "numpy": np.__version__},
        "clock": "processor time of the process",
        "reading_csv": reading(options.rows, options.rounds),
        "live_step": live_step(),
    }
    body["replay"] = [
        cost(n, 4_000, name, options.rounds) for name in ALGORITHMS for n in CLOCKS if n <= MOST_CLOCKS[name]
    ]
    body["replay"] += [cost(100, k, name, options.rounds) for name in ALGORITHMS for k in EPOCHS if k != 4_000]
    if options.gates:
        body["gates"] = [cost(100, TEN_YEARS, name, 1) for name in ALGORITHMS] + [cost(1_000, YEAR, "at1", 1)]
    if options.plot is not None:
        draw(body["replay"], options.plot)
    if options.out is not None:
        options.out.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
