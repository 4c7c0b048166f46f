"""How often a clean receiver is doubted or refused, and how soon each disturbance is seen.

    PYTHONPATH=src:. python design/receiver/evidence.py            measure and keep (about a minute)

It writes docs/measured/receiver_evidence.json. Streams are the bytes of `sim.receiver_stream`, read and judged as a
recorded stream is: the antenna is surveyed, the laboratory's clock is compared with the receiver's pulse. *clean*: 1000
hours at an epoch a minute and ten half hours at one a second, ten receivers. *seen*: seconds from the beginning of a
disturbance, after half an hour of clean stream at one epoch a second, to the first epoch that is doubtful and to the
first that is refused, over five receivers; None where it never came to that within the stream. *by*: the reasons.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from truechimer._version import __version__
from truechimer.compare import receiver_epoch, receiver_quality
from truechimer.compare.receiver_quality import Limits, LinkLevel, LinkQuality
from truechimer.formats import ubx
from truechimer.instants import builtin_leap_table
from truechimer.sim.receiver_stream import Disturbance, Receiver

KEPT = Path(__file__).resolve().parents[2] / "docs" / "measured" / "receiver_evidence.json"
LEAPS = builtin_leap_table()
START_NS = 1_780_000_000 * 10**9
CLEAN_RECEIVERS, CLEAN_HOURS = 10, 100
SEEDS = range(5)
QUIET_S, AFTER_S = 1_800, 90
CASES = (
    ("jammer, C/N0 falls by 12 dB", Disturbance("jam", QUIET_S, 12.0), AFTER_S),
    ("meaconing, a step of 100 ns", Disturbance("step", QUIET_S, 1e-7), AFTER_S),
    ("drag, 1 ns a minute", Disturbance("drag", QUIET_S, 1e-9 / 60.0), 2_700),
    ("position pulled by 100 m", Disturbance("position", QUIET_S, 100.0), AFTER_S),
    ("UTC parameters wrong by -13.7 us", Disturbance("utc-parameters", QUIET_S, -1.37e-5), AFTER_S),
    ("Galileo alone off by 100 ns", Disturbance("constellation", QUIET_S, 1e-7), AFTER_S),
    ("simulator: satellites all alike", Disturbance("simulator", QUIET_S), AFTER_S),
    ("week number 1024 weeks back", Disturbance("week-rollback", QUIET_S), AFTER_S),
    ("leap second that is in no table", Disturbance("leap-second", QUIET_S), AFTER_S),
    ("the receiver's own spoofing flag", Disturbance("flag", QUIET_S), AFTER_S),
)


def judged(receiver: Receiver, n: int) -> Iterator[LinkQuality]:
    """Yield the quality of each epoch of a stream."""
    place = (receiver.latitude_deg, receiver.longitude_deg, receiver.height_m)
    state = receiver_quality.begun(receiver_epoch.earth_fixed(*place))
    limits = Limits()
    for sent in receiver.epochs(n):
        pieces, findings = ubx.read(sent.data)
        assert not findings, findings
        for epoch in receiver_epoch.epochs(pieces, LEAPS):
            x = sent.x_clock_minus_gnss_s
            state, quality = receiver_quality.step(state, epoch, limits, leaps=LEAPS, x_clock_minus_gnss_s=x)
            yield quality


def clean(interval_s: float, n: int, seeds: range) -> dict[str, Any]:
    """Return how many clean epochs are not believed, and why."""
    levels: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for seed in seeds:
        for quality in judged(Receiver(np.random.default_rng(seed), LEAPS, START_NS, interval_s), n):
            levels[quality.level.value] += 1
            reasons.update(reason.value for reason, _ in quality.reasons)
    hours = len(seeds) * n * interval_s / 3_600.0
    rows = {f"{level.value}_epochs": levels[level.value] for level in LinkLevel}
    return {"interval_s": interval_s, "hours": hours, **rows, "by": dict(reasons)}


def seen(name: str, disturbance: Disturbance, after_s: int) -> dict[str, Any]:
    """Return how soon a disturbance is seen."""
    first: dict[LinkLevel, list[float | None]] = {LinkLevel.DOUBTFUL: [], LinkLevel.REFUSED: []}
    reasons: set[str] = set()
    early = 0
    for seed in SEEDS:
        receiver = Receiver(np.random.default_rng(100 + seed), LEAPS, START_NS, disturbances=(disturbance,))
        told = list(judged(receiver, QUIET_S + after_s))
        early += sum(1 for quality in told[:QUIET_S] if quality.level is not LinkLevel.OK)
        rest = told[QUIET_S:]
        reasons.update(reason.value for quality in rest for reason, _ in quality.reasons)
        for level, times in first.items():
            bad = (LinkLevel.DOUBTFUL, LinkLevel.REFUSED) if level is LinkLevel.DOUBTFUL else (LinkLevel.REFUSED,)
            times.append(next((float(k) for k, quality in enumerate(rest) if quality.level in bad), None))
    row: dict[str, Any] = {"case": name}
    for level, times in first.items():
        known = [each for each in times if each is not None]
        row[f"{level.value}_after_s"] = median(known) if len(known) == len(times) else None
        row[f"{level.value}_at_most_s"] = max(known) if len(known) == len(times) else None
    return row | {"by": ", ".join(sorted(reasons)), "early_epochs": early}


def main() -> int:
    """Measure and keep."""
    minutes = CLEAN_HOURS * 60
    document = {
        "version": __version__,
        "clean": [clean(60.0, minutes, range(CLEAN_RECEIVERS)), clean(1.0, QUIET_S, range(20, 30))],
        "seen": [seen(*case) for case in CASES],
    }
    KEPT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
