"""How often the stated 68.3 % interval of a stability statistic holds the truth, and how often noise is named right.

    PYTHONPATH=src python design/stability_coverage.py      measure, and keep docs/measured/stability_coverage.json

Method. For each statistic and each pure noise, records of 1000 phases are simulated (fractional integration of white
noise), and the default result is taken: noise identified, interval at 68.3 %. The truth is the mean of the squared
estimates over all trials, which is what the statistic estimates without bias correction. Bars: coverage of 64 to 73 %,
noise named right in 95 % at least, at m from 1 to a quarter of the record.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.stability.records import power_law  # noqa: E402

from truechimer import stability  # noqa: E402

KEPT = ROOT / "docs" / "measured" / "stability_coverage.json"
N = 1000
FACTORS = {
    "oadev": (1, 8, 64, 250),
    "mdev": (1, 8, 64, 250),
    "ohdev": (1, 8, 64, 250),
    "adev": (1, 8, 64, 250),
    "hdev": (1, 8, 64, 250),
    "pdev": (1, 8, 64, 250),
    "totdev": (1, 8, 64, 250),
    "mtotdev": (2, 8, 64, 250),
    "htotdev": (2, 8, 64, 250),
    "theo1": (10, 64, 250),
}
KEYS = ("coverage", "noise_named_right")
NOISES = {2: "white PM", 1: "flicker PM", 0: "white FM", -1: "flicker FM", -2: "random-walk FM"}


def measure(name: str, alpha: int, trials: int) -> dict:
    """Return coverage, rate of right names and degrees of freedom, stated and found, at each averaging factor."""
    rng = np.random.default_rng([2026, alpha + 5])
    curves = [getattr(stability, name)(power_law(alpha, N, rng), 1.0, FACTORS[name]) for _ in range(trials)]
    squared = np.array([curve.value**2 for curve in curves])
    truth = np.sqrt(np.mean(squared, axis=0))
    covered = np.mean([(curve.lower <= truth) & (truth <= curve.upper) for curve in curves], axis=0)
    right = np.mean([curve.noise == alpha for curve in curves], axis=0)
    stated = getattr(stability, name)(power_law(alpha, N, rng), 1.0, FACTORS[name], alpha=alpha).edf
    found = 2.0 * np.mean(squared, axis=0) ** 2 / np.var(squared, axis=0)
    return {
        "m": list(FACTORS[name]),
        "coverage": [round(float(each), 3) for each in covered],
        "noise_named_right": [round(float(each), 3) for each in right],
        "edf_stated": [round(float(each), 2) for each in stated],
        "edf_found": [round(float(each), 2) for each in found],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--statistics", default=",".join(FACTORS))
    parser.add_argument("--out", type=Path, default=KEPT)
    options = parser.parse_args()
    told: dict = {"trials": options.trials, "phases": N, "level": 0.683}
    told |= {"outside_64_to_73_percent": [], **{key: {} for key in KEYS}}
    outside = []
    for name in options.statistics.split(","):
        for alpha, word in NOISES.items():
            row = measure(name, alpha, options.trials)
            for key in KEYS:
                told[key][f"{name}, {word}"] = {f"m = {m}": row[key][k] for k, m in enumerate(row["m"])}
            print(
                f"{name:8} {word:15} coverage {row['coverage']} right {row['noise_named_right']} "
                f"edf {row['edf_stated']} found {row['edf_found']}",
                flush=True,
            )
            outside += [
                f"{name}, {word}, m = {m}: {rate}"
                for m, rate in zip(row["m"], row["coverage"], strict=True)
                if not 0.64 <= rate <= 0.73
            ]
    told["outside_64_to_73_percent"] = outside
    options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(f"{len(outside)} outside the bar")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
