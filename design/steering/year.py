"""A year on UTC: what late data allow, what our prediction and law reach, over hidden seeds.

    PYTHONPATH=src python design/steering/year.py --out docs/measured/steering_year.json
    PYTHONPATH=src python design/steering/year.py --seeds 20 --cases "ensemble, rapid UTC"     a quick look
    ... --day-stability 1.15     the law that keeps the Allan deviation of a day within that of the free scale's

What is in the file is kept, case by case, until it is measured again.

Method. A free scale (`scales`) runs for 150 days before the year; rapid UTC comes every Wednesday with seven daily
values, the last three days old, white noise 0.5 ns; Circular T every 30 days with the values of every fifth day, the
last 12 days old, 0.3 ns; a fountain measures the scale's rate over days, 8e-16 at one day, on 85 of 100 days, off by a
constant of 2e-16 (one sigma). A daily link (GNSS 0.5 ns, two-way 0.2 ns) is an hour late; its calibration wanders by
1.5 ns, 0.5 ns (one sigma) over 100 days. Steering begins 30 days before the year, values 100 days earlier, and goes on
inside an envelope. The clocks are sampled every six hours, with 2 ps of noise. Error is UTC minus UTC(k), every hour of
the year.

Limit: the same values and samples, a filter of all clocks that knows their true noise levels, and UTC(k) = its
forecast, every six hours: no law, no limits, no regard for stability. `--scale-alone`: neither hears the clocks, as
where a laboratory gives the file of its scale.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "design" / "ensemble"), str(Path(__file__).parent)]

from generator import allan_variance  # noqa: E402
from scales import DAY_S, HOUR_S, LEARNING_DAYS, Free, clocks_of, ensemble, one_maser  # noqa: E402

from truechimer.clocks.clock import Clock, ClockKind, NoiseModel  # noqa: E402
from truechimer.laboratory.backcast import LIMITS  # noqa: E402
from truechimer.quorum.envelope import Applied  # noqa: E402
from truechimer.steer import clock_noise, late_steering, lqg  # noqa: E402
from truechimer.steer.clock_by_clock import HEARD, ClockSample  # noqa: E402
from truechimer.steer.clock_states import ClockNoise  # noqa: E402
from truechimer.steer.delayed_data import LateValue  # noqa: E402
from truechimer.steer.delayed_filter import FreeNoise, PathKind  # noqa: E402
from truechimer.steer.delayed_filter import Path as OutsidePath  # noqa: E402
from truechimer.steer.late_steering import LateParameters  # noqa: E402
from truechimer.steer.scale_noise import EXCESS, free_noise  # noqa: E402
from truechimer.steer.steering_order import Coordination  # noqa: E402

NS = 1e9
BEFORE_DAYS = 30.0
VALUES_BEFORE_DAYS = 130.0
DAY_NS = 86_400 * 10**9
SAMPLED_H = 6


@dataclass(frozen=True)
class Case:
    """One laboratory. `paths`: what it hears; `declared`: noise and drift stand in its clock file. Gates, ns."""

    free: str
    paths: tuple[str, ...]
    declared: bool = False
    rms_ns: float | None = None
    max_ns: float | None = None


CASES = {
    "ensemble, rapid UTC": Case("scenario 4.2", ("UTCr",), rms_ns=1.0, max_ns=4.0),
    "ensemble, Circular T": Case("scenario 4.2", ("Circular T",), rms_ns=4.5),
    "ensemble with drift declared, rapid UTC": Case("scenario 4.2", ("UTCr",), declared=True, rms_ns=1.0, max_ns=4.0),
    "ensemble with drift declared, Circular T": Case("scenario 4.2", ("Circular T",), declared=True, rms_ns=4.5),
    "maser with fountain, rapid UTC": Case("maser", ("UTCr", "fountain"), rms_ns=0.5, max_ns=1.5),
    "maser, rapid UTC": Case("maser", ("UTCr",)),
    "5 caesiums, rapid UTC": Case("5 caesiums", ("UTCr",)),
    "ensemble, both": Case("scenario 4.2", ("UTCr", "Circular T")),
    "ensemble, rapid UTC and GNSS daily": Case("scenario 4.2", ("UTCr", "GNSS"), rms_ns=1.0, max_ns=4.0),
    "ensemble, rapid UTC and two-way daily": Case("scenario 4.2", ("UTCr", "two-way"), rms_ns=1.0, max_ns=4.0),
}
KINDS = {
    "UTCr": OutsidePath(name="UTCr", u_common=0.1e-9),
    "Circular T": OutsidePath(name="Circular T", u_common=0.1e-9),
    "fountain": OutsidePath(name="fountain", kind=PathKind.RATE, u_common=2e-16),
    "GNSS": OutsidePath(name="GNSS", u_common=1.5e-9, common_s=100.0 * DAY_S),
    "two-way": OutsidePath(name="two-way", u_common=0.5e-9, common_s=100.0 * DAY_S),
}
NOISE = {"UTCr": 0.5e-9, "Circular T": 0.3e-9, "fountain": 8e-16, "GNSS": 0.5e-9, "two-way": 0.2e-9}


def published(free: Free, path: int, name: str, seed: int) -> list[tuple[int, LateValue]]:
    """When a path says what (ns after the learning began): of UTC minus the scale."""
    rng = np.random.default_rng([seed, 3, sum(name.encode())])
    x = -free.x_scale_minus_utc_s
    end = len(x) // 24
    u = NOISE[name]
    out = []
    if name == "fountain":
        off = rng.normal() * 2e-16
        for day in range(1, end):
            if rng.random() < 0.85:
                y = (x[day * 24] - x[day * 24 - 24]) / DAY_S + off + rng.normal() * u
                value = LateValue(path=path, epoch_ns=day * DAY_NS, value=float(y), u=u, span_s=DAY_S)
                out.append((day * DAY_NS + DAY_NS // 24, value))
        return out
    if KINDS[name].common_s > 0.0:
        kept = np.exp(-DAY_S / KINDS[name].common_s)
        wander = rng.normal() * KINDS[name].u_common
        for day in range(end):
            wander = wander * kept + rng.normal() * KINDS[name].u_common * np.sqrt(1.0 - kept * kept)
            value = LateValue(
                path=path, epoch_ns=day * DAY_NS, value=float(x[day * 24] + wander + rng.normal() * u), u=u
            )
            out.append((day * DAY_NS + DAY_NS // 24, value))
        return out
    every, last, step = (7, 3, 1) if name == "UTCr" else (30, 12, 5)
    for day in range(every + int(rng.integers(every)), end, every):
        for back in range(every - step, -1, -step):
            of = day - last - back
            if of >= 0:
                value = LateValue(path=path, epoch_ns=of * DAY_NS, value=float(x[of * 24] + rng.normal() * u), u=u)
                out.append((day * DAY_NS, value))
    return out


HOUR_NS = round(HOUR_S * NS)

Values = list[tuple[int, LateValue]]


def heard(values: Values) -> Values:
    """The values that the laboratory has had: none older than `VALUES_BEFORE_DAYS`."""
    oldest_ns = (LEARNING_DAYS - VALUES_BEFORE_DAYS) * DAY_NS
    return [(when_ns, value) for when_ns, value in values if value.epoch_ns > oldest_ns]


@dataclass(frozen=True)
class Clocks:
    """What each clock is taken for, and clock minus scale every six hours, `x_s (n_samples, n)` (s)."""

    noise: tuple[ClockNoise, ...]
    x_s: np.ndarray

    def sample(self, k: int) -> ClockSample:
        """That of six hours k."""
        n = self.x_s.shape[1]
        return ClockSample(k * SAMPLED_H * HOUR_NS, self.x_s[k], np.full(n, HEARD))


def clocks_heard(free: Free, case: Case, seed: int) -> tuple[Clocks, Clocks]:
    """The clocks as learned until the year's begin, and with their true levels."""
    if case.free == "maser":
        clocks, x_clock = (
            (Clock(name="m", kind=ClockKind.MASER, noise=NoiseModel()),),
            free.x_scale_minus_utc_s[:, None],
        )
        said = (None,)
    else:
        clocks, x_clock = clocks_of(case.free, seed, declared=case.declared)
        said = tuple((0.0, *row) for row in free.said)
    x_s = (x_clock - free.x_scale_minus_utc_s[:, None])[::SAMPLED_H]
    if x_s.shape[1] > 1:
        x_s = x_s + np.random.default_rng([seed, 5]).normal(size=x_s.shape) * 2e-12
    learned = tuple(clock_noise.of_clock(clock, row) for clock, row in zip(clocks, said, strict=True))
    true = tuple(replace(one, q1=row[0], floor2=row[1], q2=row[2]) for one, row in zip(learned, free.true, strict=True))
    return Clocks(learned, x_s), Clocks(true, x_s)


def limit_of(free: Free, case: Case, noise: FreeNoise, values: Values, clocks: Clocks | None) -> np.ndarray:
    """UTC minus its forecast through the year, every six hours."""
    x = -free.x_scale_minus_utc_s
    unjudged = LateParameters(judged=False)
    of_clocks = None if clocks is None else clocks.noise
    known = late_steering.begin(noise, tuple(KINDS[name] for name in case.paths), unjudged, clocks=of_clocks)
    e, at = [], 0
    for k in range(0, len(x), SAMPLED_H):
        now_ns = k * HOUR_NS
        if clocks is not None:
            known = late_steering.sampled(known, clocks.sample(k // SAMPLED_H))
        batch = []
        while at < len(values) and values[at][0] <= now_ns:
            batch.append(values[at][1])
            at += 1
        if batch:
            known, _ = late_steering.hear(known, tuple(batch), unjudged, epoch_ns=now_ns)
        if k >= round(LEARNING_DAYS * 24):
            e.append(x[k] - late_steering.ahead(known, now_ns).x_s)
    return np.array(e)


def follow(  # noqa: PLR0917
    free: Free, case: Case, noise: FreeNoise, values: Values, parameters: LateParameters, clocks: Clocks | None = None
):
    """UTC minus UTC(k) every hour of the year, and the time constants in use (days)."""
    x = -free.x_scale_minus_utc_s
    of_clocks = None if clocks is None else clocks.noise
    known = late_steering.begin(noise, tuple(KINDS[name] for name in case.paths), parameters, clocks=of_clocks)
    interval_ns = round(parameters.interval_s * NS)
    coordination, applied = None, None
    e, constants, at = np.full(len(x), np.nan), [], 0
    for k in range(len(x)):
        now_ns = k * HOUR_NS
        if clocks is not None and k % SAMPLED_H == 0:
            known = late_steering.sampled(known, clocks.sample(k // SAMPLED_H))
        batch = []
        while at < len(values) and values[at][0] <= now_ns:
            batch.append(values[at][1])
            at += 1
        if batch:
            known, _ = late_steering.hear(known, tuple(batch), parameters, epoch_ns=now_ns)
            constants.append(known.time_constant_s / DAY_S)
        if now_ns >= (LEARNING_DAYS - BEFORE_DAYS) * DAY_NS and now_ns % interval_ns == 0:
            if coordination is None:
                start = late_steering.may_start(known, parameters, epoch_ns=now_ns)
                coordination, applied = Coordination(now_ns, start.x_s, start.y), Applied(start.y, now_ns, start.y)
            else:
                applied = applied.advanced(now_ns)
                known, order = late_steering.decide(known, coordination, parameters, LIMITS, applied, epoch_ns=now_ns)
                coordination = coordination.steered(now_ns, order.y_steer)
                applied = Applied(order.y_steer, now_ns, applied.reference_y, applied.total_s)
        if coordination is not None:
            e[k] = x[k] - coordination.at(now_ns)
    return e[round(LEARNING_DAYS * 24) :], constants


def seed_of(
    name: str, case: Case, seed: int, parameters: LateParameters, excess: float, *, scale_alone: bool
) -> dict[str, float]:
    """The figures of one seed, ns."""
    free = one_maser(seed) if case.free == "maser" else ensemble(case.free, seed, declared=case.declared)
    spread = {"y_spread": 1e-13, "drift_spread": free.drift_spread, "excess": excess}
    values = [each for k, path in enumerate(case.paths) for each in published(free, k, path, seed)]
    values.sort(key=lambda each: (each[0], each[1].epoch_ns, each[1].path))
    values = heard(values)
    learned, true = (None, None) if scale_alone else clocks_heard(free, case, seed)
    limit = limit_of(free, case, free_noise(free.true, **spread), values, true)
    ours, constants = follow(free, case, free_noise(free.said, **spread), values, parameters, learned)
    scale = free.x_scale_minus_utc_s[round(LEARNING_DAYS * 24) :]
    return {
        "rms_ns": sqrt(float(np.mean(ours * ours))) * NS,
        "max_ns": float(np.max(np.abs(ours))) * NS,
        "limit_rms_ns": sqrt(float(np.nanmean(limit * limit))) * NS,
        "limit_max_ns": float(np.nanmax(np.abs(limit))) * NS,
        "adev_1d": sqrt(allan_variance(ours, 24, HOUR_S)),
        "adev_1d_free": sqrt(allan_variance(scale, 24, HOUR_S)),
        "time_constant_d": float(np.median(constants)),
    }


def summary(rows: list[dict[str, float]]) -> dict[str, float]:
    """Over seeds: pooled rms, quantiles of the largest error, ratios."""

    def pooled(key: str) -> float:
        return sqrt(sum(row[key] ** 2 for row in rows) / len(rows))

    worst = sorted(row["max_ns"] for row in rows)
    return {
        "seeds": len(rows),
        "rms_ns": round(pooled("rms_ns"), 3),
        "rms_ns_95": round(float(np.quantile([row["rms_ns"] for row in rows], 0.95)), 3),
        "max_ns_median": round(float(np.median(worst)), 3),
        "max_ns_95": round(float(np.quantile(worst, 0.95)), 3),
        "limit_rms_ns": round(pooled("limit_rms_ns"), 3),
        "limit_max_ns_95": round(float(np.quantile([row["limit_max_ns"] for row in rows], 0.95)), 3),
        "over_limit": round(pooled("rms_ns") / pooled("limit_rms_ns"), 3),
        "adev_ratio": round(pooled("adev_1d") / pooled("adev_1d_free"), 3),
        "adev_ratio_95": round(float(np.quantile([row["adev_1d"] / row["adev_1d_free"] for row in rows], 0.95)), 3),
        "time_constant_d": round(float(np.median([row["time_constant_d"] for row in rows])), 2),
    }


def _row(name: str, seed: int, parameters: LateParameters, options: argparse.Namespace) -> dict[str, float]:
    """The figures of one seed, from the file of rows if it has them: a long run may be cut off and go on."""
    whole = f"{name}; {options.interval_h} {options.accuracy} {options.day_stability} {options.excess}; {seed}"
    key = f"{whole}; scale alone" if options.scale_alone else f"{whole}; clocks"
    lines = options.rows.read_text().splitlines() if options.rows is not None and options.rows.exists() else []
    for line in lines:
        row = json.loads(line)
        if row.pop("key") == key:
            return row
    row = seed_of(name, CASES[name], seed, parameters, options.excess, scale_alone=options.scale_alone)
    if options.rows is not None:
        with options.rows.open("a") as file:
            file.write(json.dumps({"key": key} | row) + "\n")
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--interval-h", type=float, default=6.0)
    parser.add_argument("--accuracy", type=float, default=lqg.Aim().accuracy)
    parser.add_argument("--day-stability", type=float)
    parser.add_argument("--excess", type=float, default=EXCESS, help="of the scale's random-walk FM (scale_noise)")
    parser.add_argument("--scale-alone", action="store_true", help="do not hear the clocks one by one")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rows", type=Path, help="keep the figures of each seed there, and take those that it has")
    options = parser.parse_args()
    parameters = LateParameters(
        interval_s=options.interval_h * HOUR_S,
        aim=lqg.Aim(accuracy=options.accuracy, day_stability=options.day_stability),
    )
    kept = json.loads(options.out.read_text()) if options.out is not None and options.out.exists() else {}
    for name in options.cases:
        begun = time.monotonic()
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        found = summary([_row(name, seed, parameters, options) for seed in seeds])
        print(f"{name:40s} {json.dumps(found)}  {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        case = CASES[name]
        found |= {key: value for key, value in (("gate_rms_ns", case.rms_ns), ("gate_max_ns", case.max_ns)) if value}
        if options.scale_alone:
            kept.setdefault("scale alone", {})[name] = found
        elif options.day_stability is None:
            kept.setdefault("cases", {})[name] = found
        else:
            kept.setdefault("gentle", {}).setdefault(name, {})[str(options.day_stability)] = found
        kept["settings"] = {"interval_h": options.interval_h, "accuracy": options.accuracy}
        if options.out is not None:
            options.out.write_text(json.dumps(kept, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
