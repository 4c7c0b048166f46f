"""What any detector can know of a slow fault, and what thresholds the long windows may have.

Run: `PYTHONPATH=src:. python design/ensemble/slow_faults.py [--out FILE]`. Two questions, both for clocks whose noise
is known, sampled daily:

1. *The optimum.* The readings of all clocks (and of a rapid UTC) are Gaussian with known covariances; a fault of known
   shape and onset on one clock is then told best by the matched filter, whose signal-to-noise ratio is s' V^-1 s, V the
   covariance of the clock and of the best mean of the others, offsets and rates at the start unknown. Nobody who does
   not know the onset does better. With threshold h it is found with the probability that a normal variable exceeds
   h - snr.
2. *The thresholds.* How often the tests of the long windows exceed a threshold on clean clocks, once each time, all
   windows together: they overlap, and look at the same past again and again, so that far fewer alarms come than from
   as many independent looks.
"""

import argparse
import json
from pathlib import Path
from statistics import NormalDist

import numpy as np

DAY_S = 86_400.0
NS = 1e-9
_NORMAL = NormalDist()

MASER = (1.2e-13, 3e-16, 2e-15)
CAESIUM = (8.5e-12, 4e-15, 2e-15)
RUBIDIUM = (3e-12, 3e-14, 1e-13 * np.sqrt(30.0))
"""White FM at 1 s, flicker floor, random walk at 30 d."""
TEN = {"maser": 3, "caesium": 5, "rubidium": 2}
FIGURES = {"maser": MASER, "caesium": CAESIUM, "rubidium": RUBIDIUM}


def covariance(figures: tuple[float, float, float], days: int, *, reading_s: float = 0.0) -> np.ndarray:
    """Covariance (ns^2) of a clock's phase on `days` days, its phase and rate at the start unknown."""
    white, floor, walk = figures
    t = np.arange(1, days + 1) * DAY_S
    low, high = np.minimum.outer(t, t), np.maximum.outer(t, t)
    v = white**2 * low
    q2 = 3.0 * walk**2 / (30.0 * DAY_S)
    v += q2 * low**2 * (3.0 * high - low) / 6.0
    # flicker as Gauss-Markov processes, two a decade, each integrated
    for tau in 10.0 ** np.arange(np.log10(DAY_S / 4), np.log10(3 * 365 * DAY_S), 0.5):
        a, b = low / tau, high / tau
        v += (0.9 * floor) ** 2 * tau**2 * (2.0 * a - 1.0 + np.exp(-a) + np.exp(-b) - np.exp(-(b - a)))
    v = v / NS**2 + np.eye(days) * (reading_s / NS) ** 2
    unknown = 1e8
    scaled = t / t[-1]
    return v + unknown * (1.0 + np.outer(scaled, scaled))


def shape(kind: str, days: int, onset: int) -> np.ndarray:
    """Phase (ns) of the faults by day: a ramp of the rate to 1 ns/d in 30 days, then held; a drift of 5.4e-21 1/s."""
    t = np.maximum(np.arange(1, days + 1) - onset, 0.0)
    if kind == "ramp":
        return np.where(t < 30.0, 0.5 * t * t / 30.0, t - 15.0)
    return 0.5 * 5.4e-21 * (t * DAY_S) ** 2 / NS


def optimum(kind: str, seen: tuple[int, ...], *, utcr_s: float = 0.0, walk: float = 1.0) -> dict[str, float]:
    """Signal-to-noise ratio of the matched filter so many days after the onset, for one of three masers of ten clocks;
    `walk`: the maser's random walk against the typical one.
    """
    before = 60
    out = {}
    for after in seen:
        days = before + after
        s = shape(kind, days, before)
        informed = np.zeros((days, days))
        for name, count in TEN.items():
            own = count - (name == "maser")
            informed += own * np.linalg.inv(covariance(FIGURES[name], days))
        if utcr_s > 0.0:
            informed += np.linalg.inv(covariance((1e-20, 1e-20, 1e-20), days, reading_s=utcr_s))
        own_figures = (MASER[0], MASER[1], MASER[2] * walk)
        v = covariance(own_figures, days) + np.linalg.inv(informed)
        snr = float(np.sqrt(s @ np.linalg.solve(v, s)))
        out[f"snr after {after} d"] = round(snr, 2)
        if after == 37:
            out.update({f"found by then at {h} sigma": round(_NORMAL.cdf(snr - h), 2) for h in (3.0, 3.4, 3.6)})
    return out


def crossings(windows_d: tuple[float, ...], *, years: float, per_window: int, seed: int = 1) -> dict[str, float]:
    """Alarms a clock-year of the rate tests of these windows together, by threshold: clean masers against two others.

    A test is the change of a filtered rate over the window, every `window / per_window`; an alarm is counted once and
    the clock rests for 60 days after it, as one that is put out does.
    """
    rng = np.random.default_rng(seed)
    days = round(years * 365.25)
    q1, q2 = MASER[0] ** 2, 3.0 * MASER[2] ** 2 / (30.0 * DAY_S)
    y = np.cumsum(rng.normal(size=(days, 3)) * np.sqrt(q2 * DAY_S), axis=0)
    seen = y + rng.normal(size=(days, 3)) * np.sqrt(q1 / DAY_S)
    other = seen[:, 0] - 0.5 * (seen[:, 1] + seen[:, 2])
    looks: dict[int, list[float]] = {}
    for window in windows_d:
        m = round(window)
        sigma = np.sqrt(1.5 * (q2 * m * DAY_S + 2.0 * q1 / DAY_S))
        step = max(1, m // per_window)
        for k in range(m, days, step):
            looks.setdefault(k, []).append(abs(other[k] - other[k - m]) / sigma)
    worst = [(k, max(values)) for k, values in sorted(looks.items())]
    out = {}
    for h in (3.0, 3.2, 3.4, 3.6, 3.8, 4.0):
        alarms, rests_until = 0, 0
        for k, z in worst:
            if k >= rests_until and z > h:
                alarms += 1
                rests_until = k + 60
        out[str(h)] = round(alarms / years, 4)
    return out


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    seen = (15, 20, 25, 30, 37, 45, 60)
    found = {
        "optimum": {
            f"{kind}, {'no reference' if utcr == 0 else f'rapid UTC {utcr / NS:.1f} ns daily'}, walk x {walk}": optimum(
                kind, seen, utcr_s=utcr, walk=walk
            )
            for kind in ("ramp", "drift")
            for utcr in (0.0, 0.3 * NS, 1.0 * NS)
            for walk in (1.0, 0.7)
        },
        "alarms_per_clock_year_by_threshold": {
            f"rate over {' '.join(f'{w:.0f}' for w in windows)} d, {per} looks a window": crossings(
                windows, years=2_000.0, per_window=per
            )
            for windows in ((30.0,), (20.0, 30.0, 45.0), (12.0, 20.0, 30.0, 45.0, 60.0, 90.0))
            for per in (4, 8)
        },
    }
    for name, row in (found["optimum"] | found["alarms_per_clock_year_by_threshold"]).items():
        print(name, row)
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
