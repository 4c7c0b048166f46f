"""What it costs to believe two clocks against one, to put their class aside, or to do either as the others' preference.

Run: `python design/ensemble/dispute.py [--runs N]`. One maser of three, or two together, move by `delta` ns/d; five
caesiums are the witnesses (1.13 ns in a day, growing as the root, and 0.18 ns/d of flicker and rate). Printed are the
median and the 95th percentile of the scale's largest error in thirty days (ns), wrong convictions, and days in doubt.
"""

import argparse
from dataclasses import dataclass

import numpy as np

WHITE_NS, SLOPE_NS_D, STEP_D, DAYS = 1.13, 0.18, 1.0 / 24.0, 30.0
NEVER = 1e9


@dataclass(frozen=True)
class Rule:
    """Thresholds of the others' preference (twice the log likelihood ratio), as in `scale.detection_dispute`."""

    name: str
    prior: float
    apart: float
    follow: float
    lead: float
    convicted: float
    doubt: float = 3.0
    larger: float = 0.0
    """What convicts the larger side; 0: the same."""


RULES = (
    Rule("the two are always believed", 0.0, NEVER, -NEVER, NEVER, NEVER, NEVER),
    Rule("the likelier side, at odds of 12", 0.0, NEVER, NEVER, NEVER, 5.0, NEVER),
    Rule("the class is put aside at once", 0.0, 0.0, NEVER, NEVER, 12.0),
    Rule("aside until they prefer the two", 4.4, 2.0, 5.9, 2.0, 14.0),
    Rule("odds of ninety convict the two", 0.0, NEVER, NEVER, NEVER, 14.0, NEVER, 9.0),
    Rule("the rule taken: odds of twelve lead", 0.0, NEVER, -2.0, 5.0, 14.0, NEVER),
)


def run(rule: Rule, delta: float, *, pair: bool, runs: int) -> tuple[float, float, float, float]:
    rng = np.random.default_rng(1)
    n = round(DAYS / STEP_D)
    t = STEP_D * np.arange(1, n + 1)
    walk = np.cumsum(rng.normal(size=(runs, n)) * WHITE_NS * np.sqrt(STEP_D), axis=1)
    others = walk + rng.normal(size=(runs, 1)) * SLOPE_NS_D * t
    variance = WHITE_NS**2 * t + (SLOPE_NS_D * t) ** 2
    moved = delta * t
    one, two = (0.0 * t, moved) if pair else (moved, 0.0 * t)
    prefers = ((two - others) ** 2 - (one - others) ** 2) / variance
    apart = moved / np.sqrt(variance)
    stage, error, largest = np.ones(runs, int), np.zeros(runs), np.zeros(runs)
    named, doubted = np.zeros(runs, int), np.zeros(runs)
    for k in range(n):
        p = prefers[:, k]
        named[(named == 0) & (p <= -rule.convicted)] = 1
        named[(named == 0) & (p >= (rule.larger or rule.convicted))] = 3
        stage = np.where((apart[k] >= rule.apart) | (p >= rule.doubt), 2, stage)
        stage = np.where(p - rule.prior <= -rule.follow, 1, stage)
        stage = np.where(p - rule.prior >= rule.lead, 3, stage)
        stage = np.where(named > 0, named, stage)
        carried = others[:, k] - (others[:, k - 1] if k else 0.0)
        step = delta * STEP_D
        error += np.select([stage == 1, stage == 3], [step if pair else 0.0, 0.0 if pair else step], carried)
        largest = np.maximum(largest, abs(error))
        doubted += (stage == 2) * STEP_D
    wrong = float(np.mean(named == (1 if pair else 3)))
    return float(np.median(largest)), float(np.quantile(largest, 0.95)), wrong, float(doubted.mean())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs
    for rule in RULES:
        print(rule.name)
        for pair in (False, True):
            for delta in (0.26, 0.59, 1.0, 1.73, 4.3):
                median, most, wrong, doubted = run(rule, delta, pair=pair, runs=runs)
                says = f"{median:5.1f} {most:5.1f} ns, wrong {wrong:.3f}, {doubted:4.1f} d in doubt"
                print(f"  {'two' if pair else 'one'} {delta:4.2f} ns/d: {says}")


if __name__ == "__main__":
    main()
