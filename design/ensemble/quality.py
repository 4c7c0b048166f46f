"""How stable the scale is: every ensemble, known and unknown parameters, against B(tau) and the best causal scale.

    PYTHONPATH=src python design/ensemble/quality.py --out docs/measured/ensemble_quality.json
    PYTHONPATH=src python design/ensemble/quality.py --seeds 4 --ensembles "5 caesiums"     a quick look, nothing kept

Method. Clocks from `generator` (its own code, not `truechimer.sim`), hourly, levels varied by +-30 % from seed to seed;
e = true clock minus its column, through the clock that is quietest over an hour; overlapping Allan variance of e,
pooled over seeds as variance over B^2(tau) of that seed's own clocks. `known`: noise and drift declared, first year of
three dropped. `noise unknown`: kinds and drift declared, noise not, first 150 days of two years dropped. `drift
unknown`: kinds alone declared, first year of three dropped. `no clock file`: nothing declared, first year of three
dropped; clocks drift. `declared ten times wrong`: noise and drift declared, each clock's by a factor of 10 or 1/10.
B(tau) is without drift throughout.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from math import sqrt
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(Path(__file__).parent)]

import causal  # noqa: E402
import learned_drift  # noqa: E402
from generator import (  # noqa: E402
    DAY_S,
    ENSEMBLES,
    HOUR_S,
    START_NS,
    Source,
    allan_variance,
    best_fixed,
    caesium,
    readings,
    truth,
    varied,
)

from truechimer.clocks.clock import Clock, ClockKind, NoiseModel  # noqa: E402
from truechimer.scale.engines import engine  # noqa: E402

LAGS = {"1 h": 1, "1 d": 24, "10 d": 240, "30 d": 720}
# days, days dropped, noise declared, drift declared, kinds declared
CASES = {
    "known": (1095, 365, True, True, True),
    "noise unknown": (730, 150, False, True, True),
    "drift unknown": (1095, 365, False, False, True),
    "no clock file": (1095, 365, False, False, False),
    "declared ten times wrong": (1095, 365, True, True, True),
    "declared equal": (1095, 365, True, True, True),
}
EQUAL = caesium()
LEARNED_MOST = 12
"""Clocks for which `learned_drift` is computed: forty take a minute."""


def clocks_of(sources: tuple[Source, ...], *, noise: bool, drift: bool, kinds: bool) -> tuple[Clock, ...]:
    """The clocks as a clock file would declare them."""
    out = []
    for i, source in enumerate(sources):
        model = NoiseModel(
            white_fm_1s=source.white if noise else None,
            flicker_fm=source.floor if noise else None,
            random_walk_fm_1s=sqrt(source.q2 / 3.0) if noise else None,
            drift_per_day=source.drift_per_day if drift else None,
        )
        kind = ClockKind(source.kind) if kinds else ClockKind.OSCILLATOR
        out.append(Clock(name=f"c{i}", kind=kind, noise=model))
    return tuple(out)


def wrong(sources: tuple[Source, ...], seed: int) -> tuple[Source, ...]:
    """What a clock file that is wrong by ten either way says."""
    factors = 10.0 ** np.random.default_rng([seed, 31]).choice([-1.0, 1.0], len(sources))
    return tuple(
        replace(
            source,
            white=source.white * f,
            floor=source.floor * f,
            walk_per_s=source.walk_per_s * f * f,
            drift_per_day=source.drift_per_day * f,
        )
        for source, f in zip(sources, factors.tolist(), strict=True)
    )


def told_of(case: str, sources: tuple[Source, ...], seed: int) -> tuple[Source, ...]:
    """What the clock file of this case says of the clocks."""
    if case == "declared ten times wrong":
        return wrong(sources, seed)
    if case == "declared equal":
        return tuple(replace(EQUAL, kind=source.kind) for source in sources)
    return sources


def columns(read: np.ndarray, clocks: tuple[Clock, ...], *, stated_s: np.ndarray, algorithm: str, judged: bool):
    """Every clock minus the scale, as a replay gives it, and what was learned of the clocks; `stated_s`: the noise that
    the readings of each clock state of themselves.
    """
    run = engine(algorithm, clocks, interval_s=HOUR_S, judged=judged)
    u2 = stated_s * stated_s
    epochs = START_NS + np.round(np.arange(len(read)) * HOUR_S * 1e9).astype(np.int64)
    u2s = np.broadcast_to(u2, read.shape).copy()
    stretch = run.run(epochs, read, u2s, np.ones(len(read), np.bool_))
    return stretch.x_clock_minus_scale_s, run.learned()


def noise_of(name: str, noise_ps: str) -> np.ndarray:
    """Reading noise of every clock against the first, which has none, in seconds; `noise_ps`: figures in turn."""
    figures = [1e-12 * float(word) for word in noise_ps.split("/")]
    out = np.array([figures[i % len(figures)] for i in range(len(ENSEMBLES[name]))])
    out[0] = 0.0
    return out


def quietest(sources: tuple[Source, ...], noise_s: np.ndarray) -> int:
    """The clock through which the scale is seen most quietly over an hour: by itself, where its link is noisy."""
    own = np.array([source.variance(HOUR_S) for source in sources])
    both = own + 3.0 * (noise_s / HOUR_S) ** 2
    if not noise_s.any():
        return int(np.argmin(own))
    part = 1.0 / both / (1.0 / both).sum()
    return int(np.argmin(part * own + (1.0 - part) * own * (1.0 - own / both)))


def measure(
    name: str,
    case: str,
    seeds: int,
    *,
    noise_s: np.ndarray,
    stated: float,
    algorithm: str,
    gaps: float,
    judged: bool,
) -> tuple[dict[str, float], list[bool]]:
    """ADEV / B(tau), pooled over the seeds, and whether drifts lie where they are said to be."""
    days, dropped, noise, drift, kinds = CASES[case]
    squares: dict[str, list[float]] = {lag: [] for lag in LAGS}
    inside: list[bool] = []
    for seed in range(seeds):
        sources = varied(ENSEMBLES[name], seed=seed) if seed else ENSEMBLES[name]
        x = truth(sources, seed=seed, days=days)
        read = readings(x, seed=seed, noise_s=noise_s, gap_fraction=gaps)
        column, learned = columns(
            read,
            clocks_of(told_of(case, sources, seed), noise=noise, drift=drift, kinds=kinds),
            stated_s=stated * noise_s,
            algorithm=algorithm,
            judged=judged,
        )
        # the pivot is always read; where readings are missing, another clock's column is a prediction now and then
        through = 0 if gaps else quietest(sources, noise_s)
        e = (x - column)[dropped * 24 :, through]
        for lag, m in LAGS.items():
            b2 = best_fixed(sources, m * HOUR_S) ** 2
            squares[lag].append(allan_variance(e, m, HOUR_S) / b2)
        if case == "drift unknown" and learned is not None:
            inside += within_one_sigma(sources, learned)
    return {lag: round(sqrt(float(np.mean(values))), 3) for lag, values in squares.items()}, inside


def within_one_sigma(sources: tuple[Source, ...], learned) -> list[bool]:
    """Of each clock that drifts: is its drift where it is said to be? Only where a clock that does not drift stands
    by: what all have in common is seen by nobody.
    """
    if all(source.drift_per_day for source in sources):
        return []
    return [
        abs(learned.drift[i] * DAY_S - source.drift_per_day) <= learned.u_drift[i] * DAY_S
        for i, source in enumerate(sources)
        if source.drift_per_day
    ]


def reachable(name: str, noise_s: np.ndarray, seeds: int) -> dict[str, dict[str, float]]:
    """Ratios to B(tau) of the spectral bound, the best causal scales, and what drift costs that must be learned.

    With reading noise they are pooled over the clocks of the seeds, as what is measured is.
    """
    sources = ENSEMBLES[name]
    best = causal.best_fixed2(sources)
    if noise_s.any():
        drawn = [varied(sources, seed=seed) if seed else sources for seed in range(seeds)]
        rows2 = []
        for one in drawn:
            one_best = causal.best_fixed2(one)
            pair = causal.best_causal2(one, reading_s=noise_s, through=quietest(one, noise_s))
            rows2.append([causal.spectral2(one) / one_best * best, *(v / one_best * best for v in pair)])
        spectral, per_tau, at_all = np.mean(rows2, axis=0)
    else:
        spectral = causal.spectral2(sources)
        per_tau, at_all = causal.best_causal2(sources)
    rows = {
        "spectral bound": spectral,
        "best causal at this tau": per_tau,
        "best causal at all": at_all,
    }
    if not noise_s.any() and len(sources) <= LEARNED_MOST and any(source.drift_per_day for source in sources):
        days, dropped, *_ = CASES["drift unknown"]
        true = [varied(sources, seed=seed) if seed else sources for seed in range(seeds)]
        rows["drift learned at best"] = learned_drift.learned_drift2(
            sources,
            [np.array([source.drift_per_day for source in one]) for one in true],
            days=days,
            dropped=dropped,
        ) * (best / np.array([best_fixed(sources, m * HOUR_S) ** 2 for m in LAGS.values()]))
    return {
        row: {lag: round(float(np.sqrt(v / b)), 3) for lag, v, b in zip(LAGS, values, best, strict=True)}
        for row, values in rows.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--ensembles", default=";".join(ENSEMBLES), help="names, with ; between them")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--algorithm", default="bands")
    parser.add_argument("--noise-ps", default="0", help="white noise of readings against the pivot; 300/3: in turn")
    parser.add_argument("--stated", type=float, default=1.0, help="the readings state so many times their noise")
    parser.add_argument("--gaps", type=float, default=0.0, help="part of the readings that is missing")
    parser.add_argument("--judged", action="store_true", help="detection before the scale: slower")
    parser.add_argument("--out", type=Path, default=None, help="a JSON file that the figures are added to")
    options = parser.parse_args()
    told: dict = {"adev_over_best_fixed": {}, "reachable_over_best_fixed": {}}
    if options.out is not None and options.out.exists():
        told = json.loads(options.out.read_text(encoding="utf-8"))
    marks = [options.algorithm] if options.algorithm != "bands" else []
    marks += [f"reading noise {options.noise_ps} ps"] if options.noise_ps != "0" else []
    marks += [f"stated {options.stated:g} times"] if options.stated != 1.0 else []
    marks += [f"{100.0 * options.gaps:g} % missing"] if options.gaps else []
    marks += ["with detection"] if options.judged else []
    for name in options.ensembles.split(";"):
        noise_s = noise_of(name, options.noise_ps)
        noisy = f"{name}, reading noise {options.noise_ps} ps" if noise_s.any() else name
        told["reachable_over_best_fixed"][noisy] = reachable(name, noise_s, options.seeds)
        print(noisy, json.dumps(told["reachable_over_best_fixed"][noisy]), flush=True)
        for case in options.cases.split(","):
            begun = time.monotonic()
            got, inside = measure(
                name,
                case,
                options.seeds,
                noise_s=noise_s,
                stated=options.stated,
                algorithm=options.algorithm,
                gaps=options.gaps,
                judged=options.judged,
            )
            title = ", ".join([f"{name}: {case}", *marks])
            told["adev_over_best_fixed"][title] = got | {"seeds": options.seeds}
            told.setdefault("seconds", {})[title] = round(time.monotonic() - begun, 1)
            if inside:
                covered = told.setdefault("drift_sigma_covers", {})
                covered[name] = {"clocks": len(inside), "part": round(float(np.mean(inside)), 3)}
            print(f"  {title}", json.dumps(got), flush=True)
            if options.out is not None:
                options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
