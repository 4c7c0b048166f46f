"""How rightly noise is learned from pairs of clocks of which readings are missing, and what the rule for it is worth.

Run: `PYTHONPATH=src:.:design/ensemble python design/ensemble/missing_pairs.py [--seeds N] [--days D]`. Clocks of
`generator` with 3 ps of reading noise, each reading missing independently. Printed for every kind and lag: rms over
clocks and seeds of half the logarithm of learned over true mean square, so that 0.1 is ten per cent of a deviation;
beside it that of the fit that takes all pairs as having the same samples (the diagonal of the counts left empty).
"""

import argparse

import numpy as np
from generator import DAY_S, HOUR_S, Source, caesium, crystal, maser, rubidium, truth

from truechimer.clocks.clock import Clock, ClockKind
from truechimer.scale import noise_pairs
from truechimer.scale.bands_state import BandsParameters, parameters
from truechimer.scale.noise_learning import RING, model

READING_S = 3e-12
ENSEMBLES: dict[str, tuple[Source, ...]] = {
    "3 masers, 5 caesiums": (maser(),) * 3 + (caesium(),) * 5,
    "2 masers, 3 caesiums, 3 rubidiums": (maser(),) * 2 + (caesium(),) * 3 + (rubidium(),) * 3,
    "2 rubidiums, 10 crystals": (rubidium(),) * 2 + (crystal(),) * 10,
    "1 maser, 4 caesiums": (maser(),) + (caesium(),) * 4,
}


def pairs(x: np.ndarray, of: BandsParameters) -> tuple[np.ndarray, np.ndarray]:
    """Mean squares and counts of all pairs from phases `(n_epochs, n)` an hour apart, as the fold keeps them."""
    lags, n = len(of.lags_s), x.shape[1]
    square, count = np.zeros((lags, n, n)), np.zeros((lags, n, n))
    for j in range(lags):
        ring = np.full((RING, n), np.nan)
        spacing_s = float(of.spacing_ns[j]) / 1e9
        for k, row in enumerate(x[:: round(spacing_s / HOUR_S)]):
            ring[k % RING] = row
            noise_pairs.sample(ring, k % RING, int(of.strides[j]), spacing_s, square[j], count[j])
    return square, count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--days", type=float, default=100.0)
    options = parser.parse_args()
    for name, sources in ENSEMBLES.items():
        for has_kinds in (True, False):
            kinds = [ClockKind(source.kind) if has_kinds else ClockKind.OSCILLATOR for source in sources]
            of = parameters(tuple(Clock(name=f"c{i}", kind=kind) for i, kind in enumerate(kinds)), interval_s=HOUR_S)
            lags = [j for j, lag in enumerate(of.lags_s.tolist()) if 4.0 * lag < options.days * DAY_S]
            true = np.array(
                [[model(np.array([READING_S**2, s.q1, s.floor**2, s.q2]), of.lags_s[j]) for j in lags] for s in sources]
            )
            for missing in (0.0, 0.1, 0.3):
                off: dict[str, list[np.ndarray]] = {"by the samples": [], "as if the same": []}
                for seed in range(options.seeds):
                    rng = np.random.default_rng([seed, 57])
                    x = truth(sources, seed=seed, days=options.days)
                    x = x + rng.normal(size=x.shape) * READING_S
                    x[rng.random(x.shape) < missing] = np.nan
                    square, count = pairs(x, of)
                    for way in off:
                        counted = count.copy()
                        if way == "as if the same":
                            counted[:, range(len(sources)), range(len(sources))] = 0.0
                        noise = of.prior.copy()
                        noise_pairs.learn(
                            square,
                            counted,
                            np.ones(len(sources), np.bool_),
                            of.strides,
                            of.spacing_ns / 1e9,
                            of.lags_s,
                            of.kinds,
                            of.of_kind,
                            of.prior,
                            of.prior_worth,
                            np.full(len(sources), READING_S**2),
                            noise,
                        )
                        found = np.array([[model(row, of.lags_s[j]) for j in lags] for row in noise])
                        off[way].append(0.5 * np.log(found / true))
                print(f"{name}, kinds {'known' if has_kinds else 'unknown'}, {missing:.0%} missing")
                for way, errors in off.items():
                    of_seed = np.array(errors)
                    for kind in dict.fromkeys(source.kind for source in sources):
                        these = [i for i, source in enumerate(sources) if source.kind == kind]
                        rms = np.sqrt(np.mean(of_seed[:, these] ** 2, axis=(0, 1)))
                        print(f"    {way:15s} {kind:10s}", " ".join(f"{value:.2f}" for value in rms), flush=True)


if __name__ == "__main__":
    main()
