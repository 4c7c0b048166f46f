"""How often the intervals of the noise fit and of the holdover prediction hold the truth, and how far levels are off.

    PYTHONPATH=src python design/stability_fit.py                     measure, and keep docs/measured/stability_fit.json
    PYTHONPATH=src python design/stability_fit.py --peers PEERS/bin/python   beside ntpstats' fit on the same records

Method. Records of known noise are made by a generator that shares nothing with the fit: a Gaussian line spectrum with
the aliased density of the sampled continuous process, 16 times longer than what is used (tests/sim). The first part of
a record is fitted, the rest is what the prediction is judged by. Counted are, for each noise that is there: how often
it is called determined, and how often the 68.3 % interval then holds it; over all noises, present or not: how often one
that is not determined lies below its limit; how often an absent one is called determined. Bias is the mean of ln(value
/ truth). Frequencies come with an offset, and every record with a drift.

Two records are real: PHASE.DAT and a caesium against a maser (../shared/data/stability). There the prediction is
judged by what came after each of many beginnings.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.sim import independent_generator as generator  # noqa: E402

from truechimer import stability  # noqa: E402

KEPT = ROOT / "docs" / "measured" / "stability_fit.json"
NAMES = ("white_pm_s", "flicker_pm_s", "white_fm_1s", "flicker_fm", "random_walk_fm_1s")
DENSITIES = (
    lambda level: lambda f: np.full_like(f, 2.0 * level * level),
    generator.flicker_pm_spectrum,
    generator.white_fm_spectrum,
    generator.flicker_fm_spectrum,
    generator.random_walk_fm_spectrum,
)
# Levels at 1 s. What is mixed crosses within the record; single noises are the other extreme.
MIXES = {
    "white PM": (1, 0, 0, 0, 0),
    "flicker PM": (0, 1, 0, 0, 0),
    "white FM": (0, 0, 1, 0, 0),
    "flicker FM": (0, 0, 0, 1, 0),
    "random-walk FM": (0, 0, 0, 0, 1),
    "white PM, white FM": (10, 0, 1, 0, 0),
    "white PM, random-walk FM": (10, 0, 0, 0, 0.05),
    "white FM, random-walk FM": (0, 0, 1, 0, 0.1),
    "white FM, weak random-walk FM": (0, 0, 1, 0, 0.01),
    "white FM, flicker FM": (0, 0, 1, 0.3, 0),
    "white PM, white FM, random-walk FM": (10, 0, 2, 0, 0.1),
    "flicker PM, flicker FM": (0, 3, 0, 0.3, 0),
    "all five": (3, 2, 1, 0.2, 0.05),
}
DRIFT_PER_STEP = 1e-3
SCALE = 1e-9
"""Levels of the mixes are in these units: nothing may depend on them."""
TABLES = ("determined", "coverage", "bias", "scatter", "holdover_coverage", "holdover_rms_over_stated")
HORIZONS = (1, 10, 100, 500, 1000)
LEVEL = 0.683


def made(levels: tuple[float, ...], n: int, rng: np.random.Generator, *, drift: float) -> np.ndarray:
    """Return phases (n,) in units of SCALE seconds, one a second, with an offset in frequency."""
    x = np.zeros(n)
    for level, density in zip(levels, DENSITIES, strict=True):
        if level:
            x += generator.from_spectrum(density(level), n, 1, rng)[0]
    t = np.arange(n, dtype=np.float64)
    return x + 7.0 * t + 0.5 * drift * t * t


def measure(levels: tuple[float, ...], n: int, trials: int, seed: int) -> dict:
    rng = np.random.default_rng([2026, seed])
    counts: Counter = Counter()
    errors: dict[str, list[float]] = {name: [] for name in NAMES}
    held = {horizon: [] for horizon in HORIZONS}
    ratios = {horizon: [] for horizon in HORIZONS}
    drift_held = []
    for _ in range(trials):
        whole = SCALE * made(levels, n + max(HORIZONS), rng, drift=DRIFT_PER_STEP)
        model = stability.fit_noise(whole[:n], 1.0, ci=LEVEL)
        for name, level in zip(NAMES, levels, strict=True):
            found, truth = getattr(model, name), level * SCALE
            counts[f"{name} determined"] += found.determined
            if found.determined and truth:
                counts[f"{name} held"] += found.lower <= truth <= found.upper
                errors[name].append(float(np.log(found.value / truth)))
            if not found.determined:
                counts["limits"] += 1
                counts["limits held"] += truth <= found.upper
        drift = model.drift_per_day
        drift_held.append(drift.lower <= DRIFT_PER_STEP * SCALE * 86400.0 <= drift.upper)
        told = stability.predict_holdover(model, whole[:n], 1.0, HORIZONS, ci=LEVEL)
        truths = whole[n - 1 + np.array(HORIZONS)]
        for k, horizon in enumerate(HORIZONS):
            held[horizon].append(bool(told.lower_s[k] <= truths[k] <= told.upper_s[k]))
            ratios[horizon].append(float((truths[k] - told.x_s[k]) / told.u_s[k]))
    present = [name for name, level in zip(NAMES, levels, strict=True) if level]
    return {
        "determined": {name: round(counts[f"{name} determined"] / trials, 3) for name in present},
        "coverage": {
            name: round(counts[f"{name} held"] / counts[f"{name} determined"], 3)
            for name in present
            if counts[f"{name} determined"] >= 0.5 * trials
        },
        "bias": {name: round(float(np.mean(errors[name])), 4) for name in present if errors[name]},
        "scatter": {name: round(float(np.std(errors[name])), 4) for name in present if errors[name]},
        "falsely_determined": round(
            sum(counts[f"{name} determined"] for name in NAMES if name not in present)
            / max(1, trials * (5 - len(present))),
            4,
        ),
        "limits_held": round(counts["limits held"] / max(1, counts["limits"]), 3),
        "drift_coverage": round(float(np.mean(drift_held)), 3),
        "holdover_coverage": {f"{horizon} s": round(float(np.mean(held[horizon])), 3) for horizon in HORIZONS},
        "holdover_rms_over_stated": {
            f"{horizon} s": round(float(np.sqrt(np.mean(np.square(ratios[horizon])))), 3) for horizon in HORIZONS
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--phases", type=int, default=1000)
    parser.add_argument("--mixes", default=",".join(str(k) for k in range(len(MIXES))))
    parser.add_argument("--out", type=Path, default=KEPT)
    options = parser.parse_args()
    told: dict = {"trials": options.trials, "phases": options.phases, "level": LEVEL}
    told |= {table: {} for table in TABLES} | {"summary": {}}
    for k in map(int, options.mixes.split(",")):
        name, levels = list(MIXES.items())[k]
        row = measure(levels, options.phases, options.trials, k)
        for table in TABLES:
            told[table][name] = row[table]
        told["summary"][name] = {key: value for key, value in row.items() if key not in TABLES}
        print(name, json.dumps(row), flush=True)
        options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
