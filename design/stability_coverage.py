"""How often the stated 68.3 % interval of a stability statistic holds the truth, and how often noise is named right.

    PYTHONPATH=src python design/stability_coverage.py      measure, and keep docs/measured/stability_coverage.json

Three measurements.

1. *Simulated.* For each statistic and each pure noise, records of 1000 phases (white noise, fractionally integrated),
   and the default result: noise identified, interval at 68.3 %. The truth is the expectation of the squared value,
   which is what the statistic estimates without bias correction: the trace of its quadratic form times the covariance.
2. *By law.* The same, for the right noise, from the exact distribution of the squared value (tests/stability/forms.py):
   no chance is in it. For records of 250 and 1000 phases.
3. *Names.* How often the noise is named right, for statistics that average phase and for those that do not: records of
   1000, 1001 and 4096 phases, as they are and with a frequency drift that is taken out again, and by the lag-1
   autocorrelation, which is not the default.

Bars: coverage of 64 to 73 %, noise named right in 95 % at least, at m from 1 to a quarter of the record.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.stability import forms  # noqa: E402
from tests.stability.records import power_law  # noqa: E402

from truechimer import stability  # noqa: E402
from truechimer.stability import noise_identification, noise_lag1  # noqa: E402
from truechimer.stability.catalogue import STATISTICS  # noqa: E402
from truechimer.stability.confidence import points  # noqa: E402
from truechimer.stability.series import make_series  # noqa: E402

KEPT = ROOT / "docs" / "measured" / "stability_coverage.json"
N = 1000
LEVEL = 0.683
FACTORS = dict.fromkeys(("oadev", "mdev", "ohdev", "adev", "hdev", "pdev", "totdev"), (1, 8, 64, 250))
FACTORS |= {"mtotdev": (2, 8, 64, 250), "htotdev": (2, 8, 64, 250), "theo1": (10, 64, 250)}
BY_LAW = {250: (2, 6, 20, 62), 1000: (1, 8, 64, 250)}
LENGTHS = (1000, 1001, 4096)
NOISES = {2: "white PM", 1: "flicker PM", 0: "white FM", -1: "flicker FM", -2: "random-walk FM"}


def simulated(name: str, alpha: int, trials: int) -> dict:
    """Return coverage and rate of right names at each averaging factor."""
    rng = np.random.default_rng([2026, alpha + 5])
    records = [power_law(alpha, N, rng) for _ in range(trials)]
    curves = [getattr(stability, name)(x, 1.0, FACTORS[name]) for x in records]
    truth = []
    for k, m in enumerate(FACTORS[name]):
        form = forms.form(name, m, N)
        unit = curves[0].value[k] ** 2 / float(records[0] @ form @ records[0])
        truth.append(np.sqrt(unit * np.sum(form * forms.covariance(alpha, N))))
    covered = np.mean([(curve.lower <= truth) & (truth <= curve.upper) for curve in curves], axis=0)
    right = np.mean([curve.noise == alpha for curve in curves], axis=0)
    places = [f"m = {m}" for m in FACTORS[name]]
    return {
        "coverage": dict(zip(places, (round(float(each), 3) for each in covered), strict=True)),
        "noise_named_right": dict(zip(places, (round(float(each), 3) for each in right), strict=True)),
    }


def by_law(name: str, alpha: int, m: int, n: int) -> float:
    """Return the probability that the interval holds the truth where the noise is known."""
    terms = getattr(stability, name)(np.arange(n) ** 2.0, 1.0, [m], ci=None).n[0]
    degrees = STATISTICS[name].degrees
    assert degrees is not None
    found = degrees(alpha, m, int(terms), n)
    below, above = points(np.array([found.edf]), np.array([found.third]), LEVEL)
    weights = forms.weights(name, alpha, m, n)
    return forms.probability_below(weights, above[0]) - forms.probability_below(weights, below[0])


def names(alpha: int, n: int, trials: int) -> dict:
    """Return the lowest rate of right names over averaging factors from 1 to n/4, for each way of looking."""
    rng = np.random.default_rng([2027, alpha + 5, n])
    factors = np.array([1, 2, 8, 32, 100, n // 4])
    t = np.arange(n, dtype=np.float64)
    right = {
        key: np.zeros(factors.size)
        for key in ("plain", "averaging phase", "plain, drift taken out", "averaging phase, drift taken out", "lag-1")
    }
    for _ in range(trials):
        x = power_law(alpha, n, rng)
        drifting = x + 10.0 * np.std(x) * (t / n) ** 2 + 1e3 * np.std(x) * t / n
        as_it_is, flat = make_series(x, 1.0), make_series(drifting, 1.0, detrend="quadratic")
        for key, series in (("", as_it_is), (", drift taken out", flat)):
            for way, averages in (("plain", False), ("averaging phase", True)):
                found = noise_identification.identify(series, factors, averages_phase=averages)
                right[way + key] += found == alpha
        right["lag-1"] += noise_lag1.identify(as_it_is, factors) == alpha
    return {key: round(float(np.min(each)) / trials, 3) for key, each in right.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=KEPT)
    options = parser.parse_args()
    told: dict = {"trials": options.trials, "phases": N, "level": LEVEL}
    told |= {"outside_64_to_73_percent": [], "coverage": {}, "noise_named_right": {}}
    told |= {"coverage_by_law": {}, "lowest_rate_of_right_names": {}}
    for alpha, word in NOISES.items():
        for n in LENGTHS:
            told["lowest_rate_of_right_names"][f"{word}, {n} phases"] = found = names(alpha, n, options.trials)
            print(word, n, found, flush=True)
    for name, factors in FACTORS.items():
        for alpha, word in NOISES.items():
            row = simulated(name, alpha, options.trials)
            for key, cells in row.items():
                told[key][f"{name}, {word}"] = cells
            told["outside_64_to_73_percent"] += [
                f"{name}, {word}, {place}: {rate}"
                for place, rate in row["coverage"].items()
                if not 0.64 <= rate <= 0.73
            ]
            exact = {
                f"{n} phases, m = {m}": round(by_law(name, alpha, m, n), 4)
                for n, several in BY_LAW.items()
                for m in several
                if m >= min(factors) and not (name == "theo1" and m % 2)
            }
            told["coverage_by_law"][f"{name}, {word}"] = exact
            print(name, word, row, exact, flush=True)
    options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(f"{len(told['outside_64_to_73_percent'])} outside the bar")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
