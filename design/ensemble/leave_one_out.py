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


def measure(name: str, seeds: int, *, noise_s: float, kinds: bool) -> dict[str, dict[str, float]]:
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
    return {
        word: {
            "coverage": round(float(np.concatenate(within[word]).mean()), 3),
            "coverage_of_model": round(float(np.concatenate(model[word]).mean()), 3),
            "clocks_lowest": round(float(np.quantile(clocks_within[word], 0.1)), 3),
            "clocks_highest": round(float(np.quantile(clocks_within[word], 0.9)), 3),
            "predictions": int(sum(len(each) for each in within[word])),
        }
        for word in HORIZONS
    }


def real(path: Path) -> dict:
    """The same over the real clocks of one file, thinned to five minutes."""
    given = scale_files.read([path], None, interval_s=300.0)
    assert isinstance(given.rows, ReadingColumns)
    assert given.clocks is not None
    hours = {"30 min": 0.5 * HOUR_S, "1 h": HOUR_S, "4 h": 4.0 * HOUR_S, "8 h": 8.0 * HOUR_S}
    told = leave_one_out(given.rows, given.clocks, horizons_s=list(hours.values()))
    rows: dict = {"clocks": len(given.clocks)}
    for word, each in zip(hours, told.horizons, strict=True):
        if len(each.clock):
            rows[word] = {
                "coverage": round(each.coverage(), 3),
                "coverage_of_model": round(each.coverage(model=True), 3),
                "predictions": len(each.clock),
                "unsettled": int(each.unsettled.sum()),
            }
    return rows


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
    told: dict = {"days": DAYS, "horizons_s": HORIZONS, "coverage_of_one_sigma": {}}
    if options.out is not None and options.out.exists():
        told = json.loads(options.out.read_text(encoding="utf-8"))
    for path in options.clock_files:
        told.setdefault("real_clock_files", {})[path.name] = real(path)
        print(path.name, told["real_clock_files"][path.name], flush=True)
        if options.out is not None:
            options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    for name in filter(None, options.ensembles.split(";")):
        figures = measure(name, options.seeds, noise_s=options.noise_ps * 1e-12, kinds=not options.kinds_unknown)
        title = f"{name}{', kinds unknown' if options.kinds_unknown else ''}"
        told["coverage_of_one_sigma"][title] = {"seeds": options.seeds, "noise_ps": options.noise_ps} | figures
        print(title, {word: (row["coverage"], row["coverage_of_model"]) for word, row in figures.items()}, flush=True)
        if options.out is not None:
            options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
