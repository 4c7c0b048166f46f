"""How far each fault moves the scale, when it is seen, and what is said of clocks without a fault.

Run: `PYTHONPATH=src:. python design/ensemble/faults.py [--seeds N] [--out FILE] [--only WORD]`. Each figure pools
seeds; clock, moment and noise levels (+-30 %) are drawn per seed. Contamination of a window: the largest of
min(|E_f - E_0|, |E_f - E_excl|), E scale minus true time; E_0 the run without the fault, E_excl the run in which the
clock's readings end where the fault begins. The three runs share every random number, and the state at the fault.
"""

import argparse
import copy
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from design.ensemble.faults_scenes import (
    ALL,
    DAY_S,
    FIVE_SIX,
    FORTY,
    HOUR_S,
    NS,
    SMALL,
    START_NS,
    TEN,
    TEN_DRIFT,
    Ensemble,
    Floats,
    K,
    faulty,
    readings,
    truth,
    varied,
)

from truechimer.scale.engines import DEFAULT_ALGORITHM, Engine, engine
from truechimer.scale.state import Membership

WARM_DAYS = 300.0
IN = int(Membership.IN)
OUT = (Membership.OUT_STEP, Membership.OUT_RATE, Membership.ALIKE)
DISTURBED = (*OUT, Membership.DIVIDED, Membership.DISPUTED, Membership.SUSPECT, Membership.DOUBTED)


@dataclass
class Ran:
    """`e` scale minus true time by epoch, `member` `(n_epochs, n_clocks)`, `divided`, `weight`, and the engine at the
    end.
    """

    e: Floats
    member: np.ndarray
    divided: np.ndarray
    weight: np.ndarray
    engine: Engine


def run(of: Ensemble, began: Engine, x: Floats, read: Floats, *, first: int, last: int, utcr_s: float = 0.0) -> Ran:
    """Run a copy of an engine over epochs `first` to `last`."""
    going = copy.copy(began)
    if hasattr(began, "state") and hasattr(began.state, "copy"):
        going.state = began.state.copy()  # type: ignore[attr-defined]
        going.learner = getattr(going.state, "learner", going.state)  # type: ignore[attr-defined]
    n = x.shape[1]
    u2 = np.full(n + (utcr_s > 0.0), of.reading_s**2)
    u2[0] = 0.0
    if utcr_s > 0.0:
        u2[n] = utcr_s * utcr_s
        rapid = np.full(len(x), np.nan)
        begins = np.arange(START_NS // 10**9 % 86_400 // 3_600, len(x), 24)
        rapid[begins] = np.random.default_rng(5).normal(size=len(begins)) * utcr_s - x[begins, 0]
        read = np.column_stack([read, rapid])
    seen = read[first:last].copy()
    without = ~np.isfinite(seen[:, 0])
    if without.any():
        pivot = np.argmax(np.isfinite(seen[without, :n]), axis=1)
        seen[without] -= np.take_along_axis(seen[without], pivot[:, None], axis=1)
    epochs = START_NS + np.round(np.arange(first, last) * HOUR_S * 1e9).astype(np.int64)
    made = going.run(epochs, seen, np.ascontiguousarray(np.tile(u2, (len(seen), 1))), np.ones(len(seen), np.bool_))
    apart = np.where(made.weight > 0.0, made.weight * (x[first:last] - made.x_clock_minus_scale_s), 0.0)
    e = apart.sum(axis=1) / made.weight.sum(axis=1)
    return Ran(e, made.membership, made.divided, made.weight, going)


@dataclass(frozen=True)
class Case:
    """One fault: `of` the ensemble, `kind` whose clock (None: any), `count` how many clocks together; `utcr_s`:
    noise of a rapid UTC that is fed in once a day, 0: none; `warm_d`: age of the ensemble; `beside`: what else happens:
    `outage`, another clock of the kind is silent for ten days around the onset, `week`, a second one has the same fault
    a week later.
    """

    name: str
    of: Ensemble
    kind: K | None
    fault: str
    size: float
    windows_d: tuple[float, ...]
    count: int = 1
    utcr_s: float = 0.0
    warm_d: float = WARM_DAYS
    beside: str = ""


CASES = (
    Case("20 ns step of any clock", TEN, None, "step", 20 * NS, (1.0, 60.0)),
    Case("5e-14 on a maser", TEN, K.MASER, "rate", 5e-14, (1.0, 60.0)),
    Case("pull of 1 ns/d on a maser", TEN, K.MASER, "rate", NS / DAY_S, (1.0, 60.0)),
    Case("step 6.8e-15 on a maser", TEN, K.MASER, "rate", 6.8e-15, (60.0, 100.0)),
    Case("drift 5.4e-21 1/s on a maser", TEN, K.MASER, "drift", 5.4e-21, (60.0, 100.0)),
    Case("ramp to 1 ns/d over 30 d on a maser", TEN, K.MASER, "ramp", NS / DAY_S, (30.0, 60.0)),
    Case("ramp to 1 ns/d with rapid UTC", TEN, K.MASER, "ramp", NS / DAY_S, (30.0, 60.0), utcr_s=1 * NS),
    Case("3e-15 on a maser", TEN, K.MASER, "rate", 3e-15, (10.0, 60.0)),
    Case("7e-14 on a maser, drift present", TEN_DRIFT, K.MASER, "rate", 7e-14, (1.0, 60.0)),
    Case("drift 5.4e-21 1/s on a maser, drift present", TEN_DRIFT, K.MASER, "drift", 5.4e-21, (60.0, 100.0)),
    Case("pull of 1 ns/d on a caesium", TEN, K.CAESIUM, "rate", NS / DAY_S, (10.0, 60.0)),
    Case("pull of 1e-12 on a rubidium", TEN, K.RUBIDIUM, "rate", 1e-12, (1.0, 60.0)),
    Case("50 ns step and 3e-14 on a maser", TEN, K.MASER, "both", 3e-14, (1.0, 60.0)),
    Case("2e-14 on a maser after 30 d", TEN, K.MASER, "rate", 2e-14, (1.0, 30.0), warm_d=30.0),
    Case("2e-14 on a maser while another is silent", TEN, K.MASER, "rate", 2e-14, (1.0, 30.0), beside="outage"),
    Case("2e-14 on a maser, on a second a week later", TEN, K.MASER, "rate", 2e-14, (5.0, 30.0), 2, beside="week"),
    Case("three of forty, 1 ns/d", FORTY, K.MASER, "rate", NS / DAY_S, (5.0, 30.0), 3),
    Case("two of five masers, 2e-14", FIVE_SIX, K.MASER, "rate", 2e-14, (5.0, 30.0), 2),
    Case("two of five masers, 1 ns/d", FIVE_SIX, K.MASER, "rate", NS / DAY_S, (5.0, 10.0), 2),
    Case("small: 20 ns step of any clock", SMALL, None, "step", 20 * NS, (1.0, 30.0)),
    Case("small: 1e-13 on a maser", SMALL, K.MASER, "rate", 1e-13, (1.0, 30.0)),
    Case("small: two of three masers, 2e-14", SMALL, K.MASER, "rate", 2e-14, (5.0, 30.0), 2),
)


def one(case: Case, seed: int, algorithm: str) -> dict[str, object]:
    """Run one seed of a case."""
    rng = np.random.default_rng([seed, sum(map(ord, case.name))])
    of = varied(case.of, rng)
    days = case.warm_d + max(case.windows_d) + 1.0
    x = truth(of, rng, days=days)
    noise_seed = int(rng.integers(2**31))
    candidates = list(range(len(of.kinds))) if case.kind is None else of.indices(case.kind)
    hit = sorted(rng.choice(candidates, case.count, replace=False).tolist())
    k0 = round((case.warm_d + rng.uniform(0.0, 1.0)) * 24)
    clean_read = readings(of, x, np.random.default_rng(noise_seed))
    silent = np.zeros(clean_read.shape, np.bool_)
    if case.beside == "outage":
        other = next(i for i in candidates if i not in hit)
        silent[k0 - 120 : k0 + 120, other] = True
    clean_read[silent] = np.nan
    began = engine(algorithm, of.clocks(), interval_s=HOUR_S, references=int(case.utcr_s > 0.0))
    warm = run(of, began, x, clean_read, first=0, last=k0, utcr_s=case.utcr_s)
    bad = faulty(x, k0, hit[:1] if case.beside == "week" else hit, case.fault, case.size)
    begins = dict.fromkeys(hit, k0)
    if case.beside == "week":
        begins[hit[1]] = k0 + 168
        bad = faulty(bad, k0 + 168, hit[1:], case.fault, case.size)
    last = k0 + round(max(case.windows_d) * 24)
    clean = run(of, warm.engine, x, clean_read, first=k0, last=last, utcr_s=case.utcr_s)
    bad_read = readings(of, bad, np.random.default_rng(noise_seed))
    bad_read[silent] = np.nan
    struck = run(
        of,
        warm.engine,
        bad,
        bad_read,
        first=k0,
        last=last,
        utcr_s=case.utcr_s,
    )
    away = clean_read.copy()
    for i, begin in begins.items():
        away[begin:, i] = np.nan
    gone = run(of, warm.engine, x, away, first=k0, last=last, utcr_s=case.utcr_s)
    # the scale's own error: a struck pivot is no other truth
    e_f = struck.e
    distance = np.minimum(np.abs(e_f - clean.e), np.abs(e_f - gone.e))
    seen = [np.flatnonzero(struck.member[begin - k0 :, i] != IN) for i, begin in begins.items()]
    after = [float(s[0] + 1) if len(s) else float("inf") for s in seen]
    honest = [i for i in range(len(of.kinds)) if i not in hit]
    was_in = clean.member[:, honest] == IN
    struck_out = np.isin(struck.member[:, honest], OUT)
    return {
        "seed": seed,
        "clocks": hit,
        "detected_h": after,
        "moved_ns": [float(distance[: round(d * 24)].max() / NS) for d in case.windows_d],
        "found_after_3_ns_d": (max(after) - far[0]) / 24.0 if len(far := np.flatnonzero(distance >= 3 * NS)) else -1.0,
        "honest_out": int((struck_out & was_in).any(axis=0).sum()),
        "divided_h": float(np.flatnonzero(struck.divided)[0] + 1) if struck.divided.any() else float("inf"),
        "warm_out": int(np.sum(np.diff(np.isin(warm.member, DISTURBED).astype(int), axis=0) == 1)),
        "warm_clock_years": k0 * len(of.kinds) / 8766.0,
    }


def pooled(case: Case, seeds: range, algorithm: str) -> dict[str, object]:
    """Pool the seeds of one case."""
    rows = [one(case, seed, algorithm) for seed in seeds]
    moved = np.array([row["moved_ns"] for row in rows])
    detected = np.array([max(row["detected_h"]) for row in rows])  # type: ignore[call-overload]
    of: Callable[[float], list[float]] = lambda q: [  # noqa: E731
        round(float(v), 4) for v in np.quantile(moved, q, axis=0, method="higher")
    ]
    return {
        "case": case.name,
        "algorithm": algorithm,
        "ensemble": case.of.name,
        "seeds": len(rows),
        "window_d": list(case.windows_d),
        "moved_ns_median": of(0.5),
        "moved_ns_95": of(0.95),
        "moved_ns_max": of(1.0),
        "detected_h_median": _finite(np.quantile(detected, 0.5, method="higher")),
        "detected_h_max": _finite(detected.max()),
        "found_after_3_ns_d_median": _finite(
            np.quantile([float(row["found_after_3_ns_d"]) for row in rows], 0.5, method="higher")  # type: ignore[arg-type]
        ),
        "not_detected": int(np.isinf(detected).sum()),
        "honest_clocks_out": sum(int(row["honest_out"]) for row in rows),  # type: ignore[call-overload]
        "divided_h_median": _finite(np.quantile([row["divided_h"] for row in rows], 0.5, method="higher")),
        "false_alarms_before": sum(int(row["warm_out"]) for row in rows),  # type: ignore[call-overload]
        "clock_years_before": round(sum(float(row["warm_clock_years"]) for row in rows), 1),  # type: ignore[arg-type]
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def clean(of: Ensemble, seeds: range, algorithm: str, *, days: float, known_kinds: bool = True) -> dict[str, object]:
    """Alarms of clean data per clock-year."""
    alarms, out, years, divided = 0, 0, 0.0, 0
    for seed in seeds:
        rng = np.random.default_rng([seed, 77])
        made = varied(of, rng)
        x = truth(made, rng, days=days)
        began = engine(algorithm, made.clocks(kinds=known_kinds), interval_s=HOUR_S)
        ran = run(made, began, x, readings(made, x, rng), first=0, last=len(x))
        alarms += int(np.sum(np.diff(np.isin(ran.member, DISTURBED).astype(int), axis=0) == 1))
        out += int(np.sum(np.diff(np.isin(ran.member, OUT).astype(int), axis=0) == 1))
        divided += int(np.sum(np.diff(ran.divided.astype(int)) == 1))
        years += len(made.kinds) * days / 365.25
    return {
        "ensemble": of.name,
        "algorithm": algorithm,
        "kinds_known": known_kinds,
        "clock_years": round(years, 1),
        "alarms": alarms,
        "alarms_per_clock_year": round(alarms / years, 4),
        "out": out,
        "divided": divided,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--days", type=float, default=400.0, help="length of clean runs")
    parser.add_argument("--algorithm", default=DEFAULT_ALGORITHM)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: dict[str, list[dict[str, object]]] = {"faults": [], "clean": []}
    for case in CASES:
        if options.only in case.name:
            found["faults"].append(pooled(case, range(options.seeds), options.algorithm))
            print(json.dumps(found["faults"][-1]), flush=True)
    if options.only in {"", "clean"}:
        for of in ALL:
            for known in (True, False):
                found["clean"].append(
                    clean(
                        of, range(max(1, options.seeds // 4)), options.algorithm, days=options.days, known_kinds=known
                    )
                )
                print(json.dumps(found["clean"][-1]), flush=True)
    if options.only in {"", "departures"}:
        # what a rapid UTC says of the scale; kept in a file of its own by `departures.py`
        from design.ensemble import departures

        for ramp in departures.RAMPS:
            found.setdefault("departures", []).extend(departures.pooled(ramp, range(options.seeds)))
            print(json.dumps(found["departures"][-4:]), flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"written: {options.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
