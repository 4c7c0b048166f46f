"""What would be known of UTC if the steering heard every clock, not the scale alone: a limit that we do not reach.

    PYTHONPATH=src python design/steering/by_clocks.py --out docs/measured/steering_by_clocks.json

Method. Laboratories, published values and years are those of `year.py`. One Kalman filter holds UTC minus each caesium
and each maser: phase, rate, drift (unknown, 3e-16 a day for masers, none for caesiums) and three Gauss-Markov rates, as
`steer.delayed_filter` holds them for the scale. It takes the comparisons of the clocks every day, as they are, and the
published values when they come, each at its own epoch. *scale*: the forecast of `steer.delayed_data` from the scale
alone, as `year.py` has it. *clocks, learned*: noise as `bands` learned it until the year began; *true*: as it is. Error
is UTC minus its forecast, every day of the year.

It is an experiment: it knows no step of a clock and no clock that is away, and its sums are those of NumPy.
"""

import argparse
import json
import sys
from math import sqrt
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "design" / "ensemble"), str(Path(__file__).parent)]

from generator import ENSEMBLES, truth, varied  # noqa: E402
from scales import DAY_S, LEARNING_DAYS, YEAR_DAYS, Free, ensemble  # noqa: E402
from year import CASES, DAY_NS, NS, Values, heard, limit_of, published  # noqa: E402

from truechimer.steer.delayed_filter import FLICKER_S, FLICKER_WEIGHT2  # noqa: E402
from truechimer.steer.scale_noise import free_noise  # noqa: E402

NAME = "scenario 4.2"
CLOCKS = tuple(range(8))
"""Five caesiums and three masers; the rubidiums say nothing of days."""
REFERENCE = 5
MASER_DRIFT_NS = 3e-16 * DAY_S * NS
STATES, READING_NS2 = 6, 1e-5
TAUS_D = tuple(tau_s / DAY_S for tau_s in FLICKER_S)


def course() -> np.ndarray:
    """A clock's states a day later; ns and days."""
    a = np.eye(STATES)
    a[0, 1], a[0, 2], a[1, 2] = 1.0, 0.5, 1.0
    for k, tau in enumerate(TAUS_D):
        kept = np.exp(-1.0 / tau)
        a[0, 3 + k], a[3 + k, 3 + k] = tau * (1.0 - kept), kept
    return a


def noise_of(q1: float, floor2: float, q2: float) -> np.ndarray:
    """What a day adds to a clock's covariance; ns and days."""
    q1, floor2, q2 = q1 * DAY_S * NS**2, floor2 * DAY_S**2 * NS**2, q2 * DAY_S**3 * NS**2
    q = np.zeros((STATES, STATES))
    q[0, 0] = q1 + 2.0 * FLICKER_WEIGHT2 * floor2 / 9.0 + q2 / 3.0
    q[0, 1] = q[1, 0] = q2 / 2.0
    q[1, 1] = q2
    for k, tau in enumerate(TAUS_D):
        h, kept, v = 1.0 / tau, np.exp(-1.0 / tau), FLICKER_WEIGHT2 * floor2
        q[0, 0] += v * tau * tau * (2.0 * h - 3.0 + 4.0 * kept - kept * kept)
        q[0, 3 + k] = q[3 + k, 0] = v * tau * (1.0 - kept) ** 2
        q[3 + k, 3 + k] = v * (1.0 - kept * kept)
    return q


class Filter:
    """UTC minus each clock (ns), with what the day's comparisons say taken in."""

    def __init__(self, x_utc_minus_clock: np.ndarray, levels: tuple[tuple[float, float, float], ...]) -> None:
        self.x, n = x_utc_minus_clock, len(CLOCKS)
        self.a, self.q = np.kron(np.eye(n), course()), np.zeros((STATES * n, STATES * n))
        self.m, self.p = np.zeros(STATES * n), np.zeros((STATES * n, STATES * n))
        for i in range(n):
            own = slice(STATES * i, STATES * i + STATES)
            self.q[own, own] = noise_of(*levels[i])
            drift = MASER_DRIFT_NS if i >= REFERENCE else 0.0
            flicker = FLICKER_WEIGHT2 * levels[i][1] * DAY_S**2 * NS**2
            self.p[own, own] = np.diag([1e6, (1e-12 * DAY_S * NS) ** 2, drift**2, flicker, flicker, flicker])
        self.h = np.zeros((n - 1, STATES * n))
        for i in range(1, n):
            self.h[i - 1, STATES * i], self.h[i - 1, 0] = 1.0, -1.0
        self.at = STATES * REFERENCE
        self.day = -1

    def until(self, day: int) -> None:
        """Go on to a day."""
        while self.day < day:
            if self.day >= 0:
                self.m, self.p = self.a @ self.m, self.a @ self.p @ self.a.T + self.q
            self.day += 1
            s = self.h @ self.p @ self.h.T + np.eye(len(self.h)) * READING_NS2
            k = np.linalg.solve(s, self.h @ self.p).T
            self.m = self.m + k @ (self.x[self.day, 1:] - self.x[self.day, 0] - self.h @ self.m)
            self.p = self.p - k @ s @ k.T
            self.p = (self.p + self.p.T) / 2.0

    def take(self, x_utc_minus_reference: float, u: float) -> None:
        """Take a value of UTC minus the reference clock in, of the filter's own day."""
        column = self.p[:, self.at].copy()
        s = column[self.at] + u * u
        self.m = self.m + column / s * (x_utc_minus_reference - self.m[self.at])
        self.p = self.p - np.outer(column, column) / s

    def copy(self) -> "Filter":
        """Another one in the same state, to go ahead with."""
        other = object.__new__(Filter)
        other.__dict__.update(self.__dict__)
        return other


def errors(
    free: Free, x_clock: np.ndarray, values: Values, levels: tuple[tuple[float, float, float], ...]
) -> np.ndarray:
    """UTC minus its forecast every day of the year, ns."""
    x = -x_clock[::24, CLOCKS] * NS
    # a value of UTC minus the scale is one of UTC minus the reference clock: the laboratory knows the difference
    shift = x[:, REFERENCE] + free.x_scale_minus_utc_s[::24] * NS
    known, at, out = Filter(x, levels), 0, []
    ahead = known.copy()
    for day in range(len(x)):
        news = False
        while at < len(values) and values[at][0] <= day * DAY_NS:
            value = values[at][1]
            known.until(value.epoch_ns // DAY_NS)
            known.take(value.value * NS + shift[known.day], value.u * NS)
            news, at = True, at + 1
        if news:
            ahead = known.copy()
        ahead.until(day)
        if day >= LEARNING_DAYS:
            out.append(x[day, REFERENCE] - ahead.m[ahead.at])
    return np.array(out)


def summary(found: list[np.ndarray]) -> dict[str, float]:
    """Over seeds."""
    return {
        "rms_ns": round(sqrt(float(np.mean([np.mean(e * e) for e in found]))), 3),
        "max_ns_95": round(float(np.quantile([np.max(np.abs(e)) for e in found], 0.95)), 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    cases = {}
    for name in ("ensemble, rapid UTC", "ensemble, Circular T"):
        case, rows = CASES[name], {"scale": [], "clocks, learned": [], "clocks, true": []}
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            free = ensemble(NAME, seed, declared=False)
            x_clock = truth(varied(ENSEMBLES[NAME], seed=seed), seed=seed, days=LEARNING_DAYS + YEAR_DAYS)
            values = heard(published(free, 0, case.paths[0], seed))
            noise = free_noise(free.said, y_spread=1e-13, drift_spread=free.drift_spread)
            rows["scale"].append(limit_of(free, case, noise, values) * NS)
            rows["clocks, learned"].append(errors(free, x_clock, values, free.said))
            rows["clocks, true"].append(errors(free, x_clock, values, free.true))
        for way, found in rows.items():
            cases[f"{name}: {way}"] = {"seeds": options.seeds} | summary(found)
            print(f"{name}: {way:20s} {cases[f'{name}: {way}']}", file=sys.stderr, flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps({"cases": cases}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
