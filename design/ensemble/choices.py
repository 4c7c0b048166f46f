"""Constants that a metrologist would question, each at other values: weight cap, tempering, drift memory, thresholds.

    PYTHONPATH=src:. python design/ensemble/choices.py --out docs/measured/ensemble_choices.json
    PYTHONPATH=src:. python design/ensemble/choices.py --only cap        one of: cap, tempering, drift, thresholds

Clocks from `generator` (its own code, not `truechimer.sim`), hourly, no reading noise, levels varied by +-30 % from
seed to seed. Where a constant is compiled into machine code, the runs are made by a copy of the package in which that
one line is another: this file starts itself on the copy. Figures are ADEV / B(tau), B the best fixed weighting at tau
(no bound), pooled over seeds as variances.

cap          what the best weights at each tau cost when no clock may carry more than a part (theory), and how far one
             clock's undetected error then moves the scale; and AT1 as it runs, at three caps.
tempering    tau_x of the x-reduced Kalman filter, noise and drift declared, first 300 days of 800 dropped.
drift        `FADING_S`, over which a drift may change: masers with unknown drifts, first year of three dropped;
             `error_over_u`: rms of (learned less true drift) over its stated sigma, which an honest one keeps near 1.
thresholds   `FALSE_ALARMS_PER_CLOCK_YEAR`: what clean clocks raise, and after how many hours 6.8e-15 on one of three
             masers is seen.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(Path(__file__).parent))

from generator import (  # noqa: E402
    DAY_S,
    ENSEMBLES,
    HOUR_S,
    START_NS,
    Source,
    allan_variance,
    best_fixed,
    truth,
    varied,
)

LAGS = {"1 h": 1, "1 d": 24, "10 d": 240, "30 d": 720}
EIGHT, TEN, FORTY = "3 masers, 5 caesiums", "scenario 4.2", "40 mixed"
CAPS: dict[str, Callable[[int], float]] = {
    "none": lambda n: 1.0,
    "30 %": lambda n: 0.3,
    "4/N": lambda n: 4.0 / n,
}
TEMPERINGS_D = (5.0, 10.0, 20.0, 40.0)
FADINGS_D = (100.0, 1_000.0, 10_000.0)
BUDGETS = (0.01, 0.06, 0.3, 1.0)


def declared(sources: tuple[Source, ...], *, drift: bool) -> tuple[Any, ...]:
    """The clocks as a clock file would declare them, with their drift or without."""
    from truechimer.clocks.clock import Clock, ClockKind, NoiseModel

    return tuple(
        Clock(
            name=f"c{i}",
            kind=ClockKind(source.kind),
            noise=NoiseModel(
                white_fm_1s=source.white,
                flicker_fm=source.floor,
                random_walk_fm_1s=sqrt(source.q2 / 3.0),
                drift_per_day=source.drift_per_day if drift else None,
            ),
        )
        for i, source in enumerate(sources)
    )


def ran(read: np.ndarray, clocks: tuple[Any, ...], algorithm: str, **words: Any) -> tuple[Any, Any]:
    """The engine after a record of clocks minus the first, and what it said of every epoch."""
    from truechimer.scale.engines import engine

    going = engine(algorithm, clocks, interval_s=HOUR_S, **words)
    epoch_ns = START_NS + np.arange(len(read), dtype=np.int64) * round(HOUR_S * 1e9)
    return going, going.run(epoch_ns, read, np.zeros(read.shape), np.ones(len(read), np.bool_))


def ratios(runs: list[tuple[tuple[Source, ...], np.ndarray]]) -> dict[str, float]:
    """ADEV / B(tau) of scale minus truth, pooled over runs as variances."""
    out = {}
    for lag, m in LAGS.items():
        squares = [allan_variance(e, m, HOUR_S) / best_fixed(of, m * HOUR_S) ** 2 for of, e in runs]
        out[lag] = round(sqrt(float(np.mean(squares))), 3)
    return out


def scale_of(name: str, seed: int, *, days: int, dropped: int, algorithm: str, drift: bool, **words: Any) -> Any:
    """One run: its clocks, scale minus truth after `dropped` days, and the engine at its end."""
    sources = varied(ENSEMBLES[name], seed=seed)
    x = truth(sources, seed=seed, days=days)
    going, out = ran(x - x[:, [0]], declared(sources, drift=drift), algorithm, **words)
    return sources, (x - out.x_clock_minus_scale_s)[dropped * 24 :, 0], going


# ---- cap ------------------------------------------------------------------------------------------------------------


def capped(wanted: np.ndarray, cap: float) -> np.ndarray:
    """Weights that sum to 1, none above the cap; what is cut off goes to the others."""
    w = wanted / wanted.sum()
    for _ in range(len(w)):
        over = w >= cap - 1e-12
        if over.all() or w.max() <= cap + 1e-12:
            break
        w[over] = cap
        w[~over] *= (1.0 - cap * over.sum()) / w[~over].sum()
    return w


def cap() -> list[dict[str, Any]]:
    rows = []
    for name, sources in ENSEMBLES.items():
        for words, limit in CAPS.items():
            most = max(limit(len(sources)), 1.0 / len(sources))
            row: dict[str, Any] = {"ensemble": name, "cap": words, "from": "theory"}
            heaviest = 0.0
            for lag, m in LAGS.items():
                variance = np.array([source.variance(m * HOUR_S) for source in sources])
                w = capped(1.0 / variance, most)
                row[lag] = round(float(np.sqrt((w * w * variance).sum())) / best_fixed(sources, m * HOUR_S), 3)
                heaviest = max(heaviest, float(w.max()))
            rows.append(row | {"heaviest_clock": round(heaviest, 3)})
    for words, limit in CAPS.items():
        n = len(ENSEMBLES[TEN])
        runs = []
        for seed in (1, 2):
            of, e, _ = scale_of(
                *(TEN, seed), days=400, dropped=150, algorithm="at1", drift=True, weight_cap_n=limit(n) * n
            )
            runs.append((of, e))
        rows.append({"ensemble": TEN, "cap": words, "from": "AT1, two seeds", **ratios(runs)})
    return rows


# ---- with another line in the package -------------------------------------------------------------------------------


def on_copy(module: str, constant: str, value: str, words: list[str]) -> Any:
    """Run this file with `words` on a copy of the package in which a constant has another value; return what it
    printed."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "src"
        shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__"))
        path = copy / "truechimer" / module
        text, count = re.subn(rf"(?m)^{constant} = .*$", f"{constant} = {value}", path.read_text(encoding="utf-8"))
        if count != 1:
            raise SystemExit(f"{module}: {constant} stands there {count} times")
        path.write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, str(Path(__file__)), *words],
            env=os.environ | {"PYTHONPATH": str(copy), "XDG_CACHE_HOME": folder},
            stdout=subprocess.PIPE,
            check=True,
        )
    return json.loads(done.stdout)


def tempering() -> list[dict[str, Any]]:
    return [
        {"tau_x_d": days, **row}
        for days in TEMPERINGS_D
        for row in on_copy("scale/kalman.py", "TAU_X_S", f"{days} * 86_400.0", ["--inside", "tempering"])
    ]


def tempering_inside() -> list[dict[str, Any]]:
    rows = []
    for name in (TEN, EIGHT):
        runs = [
            scale_of(name, seed, days=800, dropped=300, algorithm="kalman", drift=True, judged=False)[:2]
            for seed in (1, 2, 3)
        ]
        rows.append({"ensemble": name, "seeds": len(runs), **ratios(runs)})
    return rows


def drift() -> list[dict[str, Any]]:
    return [
        {"fading_d": days, **row}
        for days in FADINGS_D
        for row in on_copy("scale/drift.py", "FADING_S", f"{days} * 86_400.0", ["--inside", "drift"])
    ]


def drift_inside() -> list[dict[str, Any]]:
    runs, pulls, errors = [], [], []
    for seed in (1, 2, 3, 4):
        sources, e, going = scale_of(EIGHT, seed, days=1095, dropped=365, algorithm="bands", drift=False, judged=False)
        runs.append((sources, e))
        learned = going.learned()
        for i, source in enumerate(sources):
            if source.drift_per_day:
                error = float(learned.drift[i]) * DAY_S - source.drift_per_day
                errors.append(error)
                pulls.append(error / (float(learned.u_drift[i]) * DAY_S))
    rms = [sqrt(float(np.mean(np.square(each)))) for each in (errors, pulls)]
    return [
        {
            "ensemble": EIGHT,
            "seeds": len(runs),
            **ratios(runs),
            "drift_error_per_day": float(f"{rms[0]:.2g}"),
            "error_over_u": round(rms[1], 2),
        }
    ]


# ---- thresholds -----------------------------------------------------------------------------------------------------


def thresholds() -> list[dict[str, Any]]:
    from truechimer.scale import detection_state
    from truechimer.scale.state import Membership

    rows = []
    usual = detection_state.FALSE_ALARMS_PER_CLOCK_YEAR
    days, fault_day, seeds = 500, 400, (1, 2, 3, 4)
    for budget in BUDGETS:
        detection_state.FALSE_ALARMS_PER_CLOCK_YEAR = budget
        alarms, years, seen_h, missed = 0, 0.0, [], 0
        for seed in seeds:
            sources = varied(ENSEMBLES[TEN], seed=seed)
            x = truth(sources, seed=seed, days=days)
            clocks = declared(sources, drift=True)
            _, clean = ran(x - x[:, [0]], clocks, "bands")
            # what is out after the first month, in which rates are learned
            out = (clean.membership != Membership.IN) & (clean.membership != Membership.LEARNING)
            alarms += int((out[31 * 24 :] & ~out[31 * 24 - 1 : -1]).sum())
            years += (days - 31) / 365.25 * len(sources)
            bad = next(i for i, source in enumerate(sources) if source.kind == "maser")
            x[fault_day * 24 :, bad] += 6.8e-15 * HOUR_S * np.arange(1, len(x) - fault_day * 24 + 1)
            _, faulty = ran(x - x[:, [0]], clocks, "bands")
            # out of the vote, disputed among the masers at first
            was_out = np.flatnonzero(faulty.membership[fault_day * 24 :, bad] != Membership.IN)
            if len(was_out):
                seen_h.append(float(was_out[0]))
            else:
                missed += 1
        row: dict[str, Any] = {
            "false_alarms_wanted": budget,
            "clock_years": round(years, 1),
            "suspensions": alarms,
            "per_clock_year": round(alarms / years, 3),
            "seen_after_h_median": round(float(np.median(seen_h)), 1) if seen_h else None,
            "seen_after_h_max": round(max(seen_h), 1) if seen_h else None,
            "not_seen_in_100_d": missed,
        }
        rows.append(row)
    detection_state.FALSE_ALARMS_PER_CLOCK_YEAR = usual
    return rows


EXPERIMENTS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "cap": cap,
    "tempering": tempering,
    "drift": drift,
    "thresholds": thresholds,
}
INSIDE = {"tempering": tempering_inside, "drift": drift_inside}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=EXPERIMENTS)
    parser.add_argument("--inside", choices=INSIDE, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=None, help="a JSON file that the figures are added to")
    options = parser.parse_args()
    if options.inside is not None:
        print(json.dumps(INSIDE[options.inside]()))
        return 0
    told: dict[str, Any] = {}
    if options.out is not None and options.out.exists():
        told = json.loads(options.out.read_text(encoding="utf-8"))
    for name, experiment in EXPERIMENTS.items():
        if options.only in {None, name}:
            told[name] = experiment()
            for row in told[name]:
                print(name, json.dumps(row), flush=True)
            if options.out is not None:
                options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
