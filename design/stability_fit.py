"""How often the intervals of the noise fit and of the holdover prediction hold the truth, and how far levels are off.

    PYTHONPATH=src python design/stability_fit.py                     measure, and keep docs/measured/stability_fit.json
    PYTHONPATH=src python design/stability_fit.py --mixes 2,7 --trials 300    measure some mixtures again, keep the rest
    PYTHONPATH=src python design/stability_fit.py --add real,peer     keep these two beside what was measured before

Method. Records of known noise are made by a generator that shares nothing with the fit: a Gaussian line spectrum with
the aliased density of the sampled continuous process, 16 times longer than what is used (tests/sim). The first part of
a record is fitted, the rest is what the prediction is judged by. Counted are, for each noise that is there: how often
it is called determined, and how often the 68.3 % interval then holds it; over all noises, present or not: how often one
that is not determined lies below its limit; how often an absent one is called determined. Bias is the mean of ln(value
/ truth). Frequencies come with an offset, and every record with a drift.

`real`: records of the shared data. PHASE.DAT, a caesium against a maser (both ../shared/data/stability) and TAI -
TA(PTB) every 5 days (../shared/data/bipm). Windows of each are fitted, and the prediction is judged by what came next;
windows overlap, so the rates are rougher than their number says.

`peer`: the fit of ntpstats (OADEV, subset by BIC, bootstrap intervals) on the same simulated records.
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.sim import independent_generator as generator  # noqa: E402
from tests.stability import records  # noqa: E402

from truechimer import stability  # noqa: E402

KEPT = ROOT / "docs" / "measured" / "stability_fit.json"
NAMES = ("white_pm_s", "flicker_pm_s", "white_fm_1s", "flicker_fm", "random_walk_fm_1s")
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
PEER_MIXES = ("white FM", "flicker FM", "white PM, white FM, random-walk FM")
BOOTSTRAP = 40
SHARED = ROOT.parent / "shared" / "data"
SCALE = 1e-9
"""Levels of the mixes are in these units: nothing may depend on them."""
TABLES = ("determined", "coverage", "bias", "scatter", "holdover_coverage", "holdover_rms_over_stated")
HORIZONS = (1, 10, 100, 500, 1000)
LEVEL = 0.683


def made(levels: tuple[float, ...], n: int, rng: np.random.Generator, *, drift: float) -> np.ndarray:
    """Return phases (n,) in units of SCALE seconds, one a second, with an offset in frequency."""
    x = np.zeros(n)
    for level, density in zip(levels, generator.SPECTRA, strict=True):
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


def windows() -> dict[str, tuple[np.ndarray, float, int, int, tuple[int, ...]]]:
    """Return records with their spacing, length of window, step from one to the next, and horizons in spacings."""
    text = (SHARED / "bipm" / "ta-ptb.tempo2.clk").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in text if line and not line.startswith("#")]
    days = {round(float(row[0])): float(row[1]) for row in rows}
    grid = np.arange(min(days), max(days) + 1, 5)
    return {
        "PHASE.DAT": (records.phase_dat(), 1.0, 300, 20, (1, 10, 100)),
        "caesium against maser": (records.caesium()[::100], 100.0, 500, 60, (1, 10, 100, 250)),
        "TAI - TA(PTB)": (np.array([days.get(int(day), np.nan) for day in grid]), 432_000.0, 150, 12, (1, 6, 30)),
    }


def real() -> dict[str, dict[str, float]]:
    """Return how often the prediction held what came next, and its error over the stated one, by horizon."""
    told = {}
    for name, (x, tau0_s, length, step, horizons) in windows().items():
        held, ratios = {h: [] for h in horizons}, {h: [] for h in horizons}
        for start in range(0, x.size - length - horizons[-1], step):
            window = x[start : start + length]
            if not np.isfinite(window[-1]):
                continue
            model = stability.fit_noise(window, tau0_s, ci=LEVEL)
            found = stability.predict_holdover(model, window, tau0_s, tau0_s * np.array(horizons), ci=LEVEL)
            for k, h in enumerate(horizons):
                truth = x[start + length - 1 + h]
                if np.isfinite(truth):
                    held[h].append(bool(found.lower_s[k] <= truth <= found.upper_s[k]))
                    ratios[h].append(float((truth - found.x_s[k]) / found.u_s[k]))
        told[name] = {"spacing_s": tau0_s, "values": length, "windows": len(held[horizons[0]])}
        for h in horizons:
            told[name][f"coverage at {h} spacings"] = round(float(np.mean(held[h])), 3)
            told[name][f"rms over stated at {h} spacings"] = round(float(np.sqrt(np.mean(np.square(ratios[h])))), 3)
        print(name, json.dumps(told[name]), flush=True)
    return told


def peer(trials: int, n: int = 1000) -> dict[str, dict[str, float]]:
    """Return coverage, rms error in ln, and how often each noise is seen, of ntpstats' fit and of ours."""
    from ntpstats import __version__, noisefit

    alphas = dict(zip(NAMES, (2, 1, 0, -1, -2), strict=True))
    per_q = dict(zip(NAMES, (1.0, np.log(256 / 27) / (2 * np.pi), 1.0, 2 * np.log(2) / np.pi, 1 / 3), strict=True))
    told = {}
    for mix in PEER_MIXES:
        levels = MIXES[mix]
        rng = np.random.default_rng([7, len(mix)])
        rows: dict[str, list] = {}
        spent = {"ours": 0.0, "ntpstats": 0.0}
        for _ in range(trials):
            x = made(levels, n, rng, drift=0.0)
            began = time.process_time()
            ours = stability.fit_noise(x, 1.0, ci=LEVEL)
            spent["ours"] += time.process_time() - began
            began = time.process_time()
            theirs = noisefit.fit_phase(x, 1.0, ci=LEVEL, bootstrap=BOOTSTRAP, drift=True)
            spent["ntpstats"] += time.process_time() - began
            for name in NAMES:

                def level_of(h: dict, name: str = name) -> float:
                    return float(np.sqrt(noisefit.q_from_h(h[alphas[name]], alphas[name], 1.0) * per_q[name]))

                found = getattr(ours, name)
                rows.setdefault(f"ours {name}", []).append((found.value, found.lower, found.upper, found.determined))
                value, lower, upper = level_of(theirs.h), level_of(theirs.lo), level_of(theirs.hi)
                rows.setdefault(f"ntpstats {name}", []).append((value, lower, upper, value > 0.0))
        for name, level in zip(NAMES, levels, strict=True):
            for who in ("ours", "ntpstats"):
                value, lower, upper, seen = np.array(rows[f"{who} {name}"], dtype=float).T
                here = seen > 0.0
                row = {"level": level, "called present": round(float(np.mean(seen)), 3)}
                if level and here.any():
                    error = np.log(value[here] / level)
                    row["bias"] = round(float(np.mean(error)), 3)
                    row["rms error (ln)"] = round(float(np.sqrt(np.mean(error**2))), 3)
                    row["coverage"] = round(float(np.mean((lower[here] <= level) & (level <= upper[here]))), 3)
                if level or row["called present"]:
                    told[f"{mix}: {name}, {who}"] = row
        for who in ("ours", "ntpstats"):
            told[f"{mix}: processor s a fit, {who}"] = {"level": round(spent[who] / trials, 3)}
        print(mix, json.dumps({key: row for key, row in told.items() if key.startswith(mix)}), flush=True)
    return told | {"version": {"ntpstats": __version__, "bootstrap": BOOTSTRAP, "trials": trials}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--phases", type=int, default=1000)
    parser.add_argument("--mixes", default=",".join(str(k) for k in range(len(MIXES))))
    parser.add_argument("--out", type=Path, default=KEPT)
    parser.add_argument(
        "--add", default="", help="real, peer: add these to the kept measurement, and measure nothing else"
    )
    parser.add_argument("--peer-trials", type=int, default=40)
    options = parser.parse_args()
    if options.add:
        told = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
        for word in options.add.split(","):
            told |= {"real_records": real()} if word == "real" else {"beside_ntpstats": peer(options.peer_trials)}
            options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        return 0
    told: dict = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    told |= {"phases": options.phases, "level": LEVEL}
    told = {table: {} for table in (*TABLES, "summary")} | told
    for k in map(int, options.mixes.split(",")):
        name, levels = list(MIXES.items())[k]
        row = measure(levels, options.phases, options.trials, k)
        for table in TABLES:
            told[table][name] = row[table]
        told["summary"][name] = {"trials": options.trials} | {k: v for k, v in row.items() if k not in TABLES}
        print(name, json.dumps(row), flush=True)
        options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
