"""How soon a rapid UTC shows that one clock has drawn the scale away, and what it says of a scale that nobody draws.

Run: `PYTHONPATH=src:. python design/ensemble/departures.py [--seeds N] [--out FILE]`; `faults.py` runs it too. A ramp
of the rate (its size and the days in which it is reached drawn per seed, then held) begins on one clock after 300 days.
The scale is what `faults.run` makes of the readings; a rapid UTC of white noise is given once a day, or as the BIPM
gives it: a week at once, three days after its last. Found: a statement stands or is made from the onset to 14 days
after the scale's true divergence (`faults`: the smaller distance to the scale without the fault and to that without the
clock) has reached 3 ns. The twin is the same seed without the fault: what is said there in the same weeks is chance.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
from design.ensemble import faults, slow_faults
from design.ensemble.faults_scenes import DAY_S, FIVE_SIX, HOUR_S, NS, TEN, Ensemble, Floats, K, readings, truth, varied

from truechimer.scale import departure, departure_windows
from truechimer.scale.departure import Departure
from truechimer.scale.engines import engine

DAY_NS = 86_400 * 10**9
PIECE_D = 10
"""The clocks' noise is that learned up to the last piece before a value."""
FOUND_WITHIN_D = 14.0
UTCR_NS = (0.3, 1.0)
AFTER_D = (0, 5, 10, 14, 20, 30)
CURVE_D = (15, 20, 25, 30, 37, 45, 60)
"""Days after the onset for the curve of the first ramp."""
LOOKS_A_YEAR = 12.0
"""Independent looks over a month in a year: with these the optimum has its threshold for our rate of false suspects."""


@dataclass(frozen=True)
class Ramp:
    """A ramp to `rate` ns/d (range) in `days` (range) on a clock of `kind`; `run_d`: how long the run goes on."""

    name: str
    of: Ensemble
    kind: K
    rate: tuple[float, float]
    days: tuple[float, float]
    run_d: int


RAMPS = (
    Ramp("1 ns/d in 30 d on a maser", TEN, K.MASER, (1.0, 1.0), (30.0, 30.0), 90),
    Ramp("0.3 to 3 ns/d in 10 to 60 d on a maser", TEN, K.MASER, (0.3, 3.0), (10.0, 60.0), 110),
    Ramp("0.3 to 3 ns/d in 10 to 60 d on a caesium", TEN, K.CAESIUM, (0.3, 3.0), (10.0, 60.0), 110),
    Ramp("0.3 to 3 ns/d in 10 to 60 d on a maser", FIVE_SIX, K.MASER, (0.3, 3.0), (10.0, 60.0), 110),
    Ramp("0.3 to 3 ns/d in 10 to 60 d on a caesium", FIVE_SIX, K.CAESIUM, (0.3, 3.0), (10.0, 60.0), 110),
)


@dataclass
class Made:
    """A run of the scale: `e` scale minus true time by epoch; by day: clock minus scale, who has weight, noise."""

    e: Floats
    clock_s: Floats
    weight: Floats
    noise: list[Floats]


def scale_of(of: Ensemble, began: object, x: Floats, read: Floats, *, first: int, last: int) -> tuple[Made, object]:
    """Run the engine on a copy in pieces of `PIECE_D`; return the scale and the engine at the end."""
    e, weight, noise, going = [], [], [], began
    for begin in range(first, last, PIECE_D * 24):
        end = min(begin + PIECE_D * 24, last)
        learned = going.learned().noise  # type: ignore[attr-defined]
        ran = faults.run(of, going, x, read, first=begin, last=end)  # type: ignore[arg-type]
        going = ran.engine
        e.append(ran.e)
        weight.append(ran.weight)
        noise += [learned] * (end - begin)
    whole, shares = np.concatenate(e), np.concatenate(weight)
    days = slice((-first) % 24, None, 24)
    return Made(whole, (x[first:last] - whole[:, None])[days], shares[days], noise[days]), going


def joined(one: Made, other: Made) -> Made:
    return Made(
        np.concatenate((one.e, other.e)),
        np.concatenate((one.clock_s, other.clock_s)),
        np.concatenate((one.weight, other.weight)),
        one.noise + other.noise,
    )


@dataclass(frozen=True)
class Heard:
    """What stands and what is said, by day: `stands` bool (a statement stands after the day's value), `said`: (day of
    the value, statement, true departure in s)."""

    stands: np.ndarray
    said: list[tuple[int, Departure, float]]


def hear(made: Made, noise_s: Floats, u_s: float) -> Heard:
    """Feed a rapid UTC into the witness, a value a day."""
    e = made.e[::24]
    state = departure.empty(made.clock_s.shape[1])
    stands, said = np.zeros(len(made.clock_s), np.bool_), []
    for day in range(len(made.clock_s)):
        x_s = -float(e[day]) + float(noise_s[day])
        state, found = departure.step(
            state, (19_000 + day) * DAY_NS, x_s, u_s, made.clock_s[day], made.weight[day], made.noise[day]
        )
        stands[day] = state.said > 0.0
        if isinstance(found, Departure):
            said.append((day, found, true_departure(e[: day + 1], found)))
    return Heard(stands, said)


def true_departure(e: Floats, found: Departure) -> float:
    """Return what the statement would have been without noise of the reference."""
    days = np.arange(len(e) - 1, -1, -1.0)[-departure.KEPT :]
    weights = np.empty(len(days))
    departure_windows.window_weights(days, found.over_s / DAY_S, found.base_s / DAY_S, weights)
    return float((weights * e[-len(days) :]).sum())


def arrival(day: np.ndarray | int, mode: str) -> np.ndarray | int:
    """Return the day on which the value of a day is known: at once, or three days after the last of its week."""
    return day if mode == "daily" else (day + 6 - day % 7) + 3


def one(ramp: Ramp, seed: int) -> list[dict[str, object]]:
    """Run one seed; a row for each noise of the rapid UTC and each way of delivery."""
    rng = np.random.default_rng([seed, sum(map(ord, ramp.name + ramp.of.name))])
    of = varied(ramp.of, rng)
    x = truth(of, rng, days=faults.WARM_DAYS + ramp.run_d + 1)
    noise_seed = int(rng.integers(2**31))
    hit = int(rng.choice(of.indices(ramp.kind)))
    rate = float(np.exp(rng.uniform(*np.log(ramp.rate)))) * NS / DAY_S
    full_s = rng.uniform(*ramp.days) * DAY_S
    k0 = round(faults.WARM_DAYS * 24)
    last = k0 + ramp.run_d * 24
    clean_read = readings(of, x, np.random.default_rng(noise_seed))
    warm, began = scale_of(of, engine("bands", of.clocks(), interval_s=HOUR_S), x, clean_read, first=0, last=k0)
    bad = x.copy()
    t = HOUR_S * np.arange(1, len(x) - k0 + 1)
    bad[k0:, hit] += np.where(t < full_s, 0.5 * rate * t * t / full_s, rate * (t - 0.5 * full_s))
    clean, _ = scale_of(of, began, x, clean_read, first=k0, last=last)
    bad_read = readings(of, bad, np.random.default_rng(noise_seed))
    struck, _ = scale_of(of, began, bad, bad_read, first=k0, last=last)
    away = clean_read.copy()
    away[k0:, hit] = np.nan
    gone, _ = scale_of(of, began, x, away, first=k0, last=last)
    distance = np.minimum(np.abs(struck.e - clean.e), np.abs(struck.e - gone.e))
    far = np.flatnonzero(distance >= 3 * NS)
    at = float(far[0]) / 24.0 if len(far) else None
    onset = k0 // 24
    whole, twin = joined(warm, struck), joined(warm, clean)
    white = np.random.default_rng([seed, 9]).normal(size=len(whole.clock_s))
    rows = []
    for utcr in UTCR_NS:
        heard, beside = (hear(made, white * utcr * NS, utcr * NS) for made in (whole, twin))
        for mode in ("daily", "weekly"):
            row: dict[str, object] = {"seed": seed, "utcr_ns": utcr, "mode": mode, "years": len(twin.e) / 8766.0}
            row |= _clean(beside)
            row["named_d"] = [int(arrival(day, mode)) - onset for day, each, _ in heard.said if each.suspect == hit]
            if at is not None and at + max(AFTER_D) < ramp.run_d:
                row |= {"at_d": at, **_found(heard, beside, onset=onset, at=at, mode=mode, hit=hit)}
            rows.append(row)
    return rows


def _found(heard: Heard, twin: Heard, *, onset: int, at: float, mode: str, hit: int) -> dict[str, object]:
    row: dict[str, object] = {}
    for name, of in (("found", heard), ("twin", twin)):
        days = np.flatnonzero(of.stands)
        known = np.array([arrival(int(day), mode) for day in days if day >= onset])
        row[name] = [bool(len(known) and known.min() <= onset + at + after) for after in AFTER_D]
        said = [arrival(day, mode) for day, _, _ in of.said if day >= onset]
        row[f"{name}_anew"] = [bool(said) and min(said) <= onset + at + after for after in AFTER_D]
    named = [
        arrival(day, mode) for day, each, _ in heard.said if day >= onset and each.ranking() and each.suspect == hit
    ]
    row["suspect"] = [bool(named) and min(named) <= onset + at + after for after in AFTER_D]
    others = [
        arrival(day, mode) for day, each, _ in heard.said if day >= onset and each.suspect >= 0 and each.suspect != hit
    ]
    row["other_suspect"] = [bool(others) and min(others) <= onset + at + after for after in AFTER_D]
    return row


def _clean(twin: Heard) -> dict[str, object]:
    off = [abs(true) for _, _, true in twin.said]
    return {
        "said": len(off),
        "suspects": sum(each.suspect >= 0 for _, each, _ in twin.said),
        "within_1_ns": sum(size < NS for size in off),
        "off_ns": [size / NS for size in off],
        "standing_part": float(twin.stands.mean()),
    }


def pooled(ramp: Ramp, seeds: range) -> list[dict[str, object]]:
    """Pool the seeds of one ramp; a row for each noise of the rapid UTC and each way of delivery."""
    rows = [row for seed in seeds for row in one(ramp, seed)]
    found = []
    for utcr in UTCR_NS:
        for mode in ("daily", "weekly"):
            here = [row for row in rows if row["utcr_ns"] == utcr and row["mode"] == mode]
            reached = [row for row in here if "at_d" in row]
            part = lambda key, of=reached: np.mean([row[key] for row in of], axis=0).round(2).tolist()  # noqa: E731
            years = sum(float(row["years"]) for row in here)  # type: ignore[arg-type]
            off = [size for row in here for size in row["off_ns"]]  # type: ignore[attr-defined]
            suspects = sum(int(row["suspects"]) for row in here) / years  # type: ignore[call-overload]
            curve = _curve(here, utcr, suspects / len(ramp.of.kinds)) if ramp is RAMPS[0] and mode == "daily" else {}
            found.append(
                curve
                | {
                    "ramp": ramp.name,
                    "ensemble": ramp.of.name,
                    "utcr_ns": utcr,
                    "mode": mode,
                    "seeds": len(here),
                    "reached_3_ns": len(reached),
                    "reached_after_d_median": round(float(np.median([row["at_d"] for row in reached])), 1),  # type: ignore[misc]
                    "days_after_3_ns": list(AFTER_D),
                    **{
                        key: part(key)
                        for key in ("found", "found_anew", "suspect", "other_suspect", "twin", "twin_anew")
                    },
                    "clean_years": round(years, 1),
                    "clean_said_per_year": round(sum(int(row["said"]) for row in here) / years, 2),  # type: ignore[call-overload]
                    "clean_suspects_per_year": round(suspects, 2),
                    "clean_standing": round(float(np.mean([row["standing_part"] for row in here])), 2),  # type: ignore[arg-type]
                    "clean_true_departure_ns_median": round(float(np.median(off)), 2) if off else None,
                    "clean_true_departure_ns_least": round(min(off), 2) if off else None,
                    "clean_said_within_1_ns_per_year": round(
                        sum(int(row["within_1_ns"]) for row in here) / years,  # type: ignore[call-overload]
                        4,
                    ),
                }
            )
    return found


def _curve(rows: list[dict[str, object]], utcr: float, false_a_clock_year: float) -> dict[str, object]:
    """Return how often the clock was the suspect so many days after the onset, beside what is possible: the matched
    filter that knows the shape and the onset, at a threshold that clean clocks pass as often as ours.
    """
    best = slow_faults.optimum("ramp", CURVE_D, utcr_s=utcr * NS)
    threshold = -NormalDist().inv_cdf(0.5 * min(false_a_clock_year / LOOKS_A_YEAR, 1.0))
    curve = []
    for after in CURVE_D:
        sigma = best[f"snr after {after} d"]
        named = [any(0 <= day <= after for day in row["named_d"]) for row in rows]  # type: ignore[attr-defined]
        curve.append(
            {
                "after_d": after,
                "suspect": round(float(np.mean(named)), 2),
                "optimum_sigma": sigma,
                "optimum_found": round(NormalDist().cdf(sigma - threshold), 2),
            }
        )
    return {"curve": curve, "optimum_threshold_sigma": round(threshold, 2)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=32)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = []
    for ramp in RAMPS:
        if options.only in f"{ramp.name} {ramp.of.name}":
            found += pooled(ramp, range(options.seeds))
            for row in found[-4:]:
                print(json.dumps(row), flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps({"departures": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
