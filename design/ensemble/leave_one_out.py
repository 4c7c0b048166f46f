"""Does the stated sigma cover 68 % of what comes? Leave-one-out over simulated ensembles of hidden levels.

    PYTHONPATH=src python design/ensemble/leave_one_out.py --out docs/measured/leave_one_out.json
    PYTHONPATH=src python design/ensemble/leave_one_out.py --out ... --ensembles "" --clock-files DAY.clk ...

Clocks are those of `generator` (which shares no code with the simulator), every level varied by +-30 % from seed to
seed; nothing is declared but the kind. Readings every hour, with noise, against the first clock.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from generator import DAY_S, ENSEMBLES, HOUR_S, START_NS, readings, truth, varied

from truechimer.cli import scale_files
from truechimer.clocks.clock import Clock, ClockKind
from truechimer.formats.reading_columns import ReadingColumns
from truechimer.scale.leave_one_out import leave_one_out

HORIZONS = {"1 h": HOUR_S, "1 d": DAY_S, "5 d": 5.0 * DAY_S}
DAYS = 120.0


def columns(read: np.ndarray, noise_s: float) -> ReadingColumns:
    """Every clock minus the first as readings."""
    epochs, n = read.shape
    rows = epochs * (n - 1)
    return ReadingColumns(
        np.arange(rows),
        np.repeat(START_NS + np.arange(epochs) * round(HOUR_S * 1e9), n - 1),
        np.tile(np.arange(n - 1, dtype=np.int32), epochs),
        read[:, 1:].ravel(),
        np.full(rows, noise_s),
        tuple((f"c{i}", "c0") for i in range(1, n)),
    )


def told_of(name: str, within: np.ndarray, model: np.ndarray, clocks: list[float], horizon: str) -> dict:
    """One row of the kept figures."""
    return {
        "ensemble": name,
        "horizon": horizon,
        "coverage": round(float(within.mean()), 3),
        "of_learned_noise_alone": round(float(model.mean()), 3),
        "clocks_lowest_tenth": round(float(np.quantile(clocks, 0.1)), 3),
        "clocks_highest_tenth": round(float(np.quantile(clocks, 0.9)), 3),
        "predictions": len(within),
    }


def measure(name: str, seeds: int, *, noise_s: float, kinds: bool) -> list[dict]:
    """Coverage pooled over clocks, epochs and seeds, and how far single clocks are from it."""
    within: dict[str, list[np.ndarray]] = {word: [] for word in HORIZONS}
    model: dict[str, list[np.ndarray]] = {word: [] for word in HORIZONS}
    clocks_within: dict[str, list[float]] = {word: [] for word in HORIZONS}
    for seed in range(seeds):
        sources = varied(ENSEMBLES[name], seed=100 + seed)
        x = truth(sources, seed=100 + seed, days=DAYS)
        read = readings(x, seed=100 + seed, noise_s=noise_s)
        clocks = tuple(
            Clock(name=f"c{i}", kind=ClockKind(source.kind) if kinds else ClockKind.OSCILLATOR)
            for i, source in enumerate(sources)
        )
        told = leave_one_out(columns(read, noise_s), clocks, horizons_s=list(HORIZONS.values()))
        for word, each in zip(HORIZONS, told.horizons, strict=True):
            within[word].append(np.abs(each.error_s) <= each.u_s)
            model[word].append(np.abs(each.error_s) <= each.u_model_s)
            clocks_within[word] += [each.coverage(i) for i in np.unique(each.clock).tolist()]
    title = name if kinds else f"{name}, kinds unknown"
    return [
        told_of(title, np.concatenate(within[word]), np.concatenate(model[word]), clocks_within[word], word)
        | {"seeds": seeds}
        for word in HORIZONS
    ]


def real(path: Path) -> list[dict]:
    """The same over the real clocks of one file, thinned to five minutes."""
    given = scale_files.read([path], None, interval_s=300.0)
    assert isinstance(given.rows, ReadingColumns)
    assert given.clocks is not None
    hours = {"30 min": 0.5 * HOUR_S, "1 h": HOUR_S, "4 h": 4.0 * HOUR_S}
    told = leave_one_out(given.rows, given.clocks, horizons_s=list(hours.values()))
    return [
        told_of(
            f"{path.name}, {len(given.clocks)} clocks",
            np.abs(each.error_s) <= each.u_s,
            np.abs(each.error_s) <= each.u_model_s,
            [each.coverage(i) for i in np.unique(each.clock).tolist()],
            word,
        )
        | {"set_aside": int(each.unsettled.sum())}
        for word, each in zip(hours, told.horizons, strict=True)
        if len(each.clock)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--ensembles", default=";".join(ENSEMBLES), help="names, with ; between them")
    parser.add_argument("--noise-ps", type=float, default=20.0, help="white noise of every reading")
    parser.add_argument("--kinds-unknown", action="store_true", help="every clock is declared an oscillator")
    parser.add_argument(
        "--clock-files", type=Path, nargs="*", default=[], help="clock RINEX files, each an ensemble of its own"
    )
    parser.add_argument("--out", type=Path, default=None, help="a JSON file that the figures are added to")
    options = parser.parse_args()
    told: dict = {"days": DAYS, "reading_noise_ps": options.noise_ps, "simulated": [], "real": []}
    if options.out is not None and options.out.exists():
        told = json.loads(options.out.read_text(encoding="utf-8"))
    work = [("real", real, (path,), {}) for path in options.clock_files]
    how = {"noise_s": options.noise_ps * 1e-12, "kinds": not options.kinds_unknown}
    work += [("simulated", measure, (name, options.seeds), how) for name in filter(None, options.ensembles.split(";"))]
    for part, measured, arguments, more in work:
        rows = measured(*arguments, **more)
        names = {row["ensemble"] for row in rows}
        told[part] = [row for row in told[part] if row["ensemble"] not in names] + rows
        for row in rows:
            print(row, flush=True)
        if options.out is not None:
            options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
