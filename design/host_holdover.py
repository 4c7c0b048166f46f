"""What the holdover of a laboratory without clocks is worth: hosts of many kinds, learned for two days, then cut off.

    PYTHONPATH=src python design/host_holdover.py --seeds 40       measure and keep
    PYTHONPATH=src python design/host_holdover.py --world NAME     measure one world, keep nothing

It writes docs/measured/host_holdover.json. It judges the service from outside: the truth is the simulated oscillator's,
`laboratory.line` never sees it.

Method. A host's oscillator is made by `sim.OscillatorBank` (white FM, flicker FM, random-walk FM) with a room whose
temperature goes up and down by 5 K once a day, at a phase of its own in each run. Three servers are asked every 64 s;
each path has an asymmetry of its own for ever, inside what its root distance says, and exponential queues both ways.
After 48 h all three fall silent. The fold steps on without readings, as `up` does, and one sample of each run is taken
after 1 h, 6 h and 24 h: the page's time against the truth, and the page's bound.

What is judged, over seeds. *Inside*: the share of samples within their bound, and its lower 95 % limit (Clopper and
Pearson, one-sided). *Tight*: the median bound over the 95th percentile of the true error. *Learned*: what the
laboratory says one sigma of its prediction is after that time, at the moment of the cut, against the root mean square
of what the predictions of all seeds were wrong by; for the prediction alone the value at the cut counts as known.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from bound_coverage import ANCHOR_RAW_NS, ANCHOR_TAI_NS, lower_limit, run_start_of

from truechimer._version import __version__
from truechimer.clocks.clock import NoiseModel
from truechimer.clocks.register import host_clock
from truechimer.compare.path_delay import noise_s
from truechimer.compare.reading import Reading
from truechimer.daemon.sources.ntp_feed import NTP_DELAYS_KEPT
from truechimer.laboratory import bounding, line
from truechimer.laboratory.epoch_input import epoch_input
from truechimer.laboratory.run_start import configure
from truechimer.laboratory.state import LaboratoryState
from truechimer.serve.clock_page import ServiceState
from truechimer.serve.served_time import bound_at, tai_fs_at
from truechimer.sim.oscillator import OscillatorBank
from truechimer.steer import holdover

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "docs" / "measured" / "host_holdover.json"

NS_PER_S = 10**9
DAY_S = 86_400.0
STEP_S = 64.0
LEARN_S = 48.0 * 3_600.0
CUTS_S = (3_600.0, 6.0 * 3_600.0, DAY_S)
SERVERS = ("A", "B", "C")
SWING_KELVIN = 5.0
JITTER_S = 1e-6
DISPERSION_S = 1e-5
TIGHTNESS_BAR = 10.0
INSIDE_BAR = 0.99
FACTOR_BAR = 2.0


@dataclass(frozen=True, slots=True)
class HostOf:
    """A host and its network. `noise` of the oscillator; `per_kelvin`: its rate with temperature; `queue_s`: mean of
    the queues each way; `path_s`: longest way.
    """

    name: str
    noise: NoiseModel
    per_kelvin: float = 0.0
    queue_s: float = 3e-5
    path_s: float = 2e-4
    y: float = 1.7e-5


def _walk(level: float) -> NoiseModel:
    return NoiseModel(white_fm_1s=20.0 * level, random_walk_fm_1s=level)


WORLDS = (
    HostOf("walk-1e-12", _walk(1e-12)),
    HostOf("walk-1e-11", _walk(1e-11)),
    HostOf("walk-1e-10", _walk(1e-10)),
    HostOf("walk-1e-9", _walk(1e-9)),
    HostOf("flicker-1e-10", NoiseModel(white_fm_1s=1e-9, flicker_fm=1e-10)),
    HostOf("flicker-1e-9", NoiseModel(white_fm_1s=1e-9, flicker_fm=1e-9)),
    HostOf("flicker-1e-8", NoiseModel(white_fm_1s=1e-9, flicker_fm=1e-8)),
    HostOf("day-1e-8-per-K", _walk(3e-12), per_kelvin=1e-8),
    HostOf("day-1e-7-per-K", _walk(1e-11), per_kelvin=1e-7),
    HostOf("day-1e-6-per-K", _walk(1e-11), per_kelvin=1e-6),
    HostOf("walk-1e-11-queues-10us", _walk(1e-11), queue_s=1e-5, path_s=5e-5),
    HostOf("walk-1e-11-queues-1ms", _walk(1e-11), queue_s=1e-3, path_s=1e-2),
    HostOf("day-1e-7-per-K-queues-1ms", _walk(1e-11), per_kelvin=1e-7, queue_s=1e-3, path_s=1e-2),
)


@dataclass(slots=True)
class Samples:
    """Of one cut, over seeds: |true error| and bound of the page, error of the prediction since the cut, one sigma of
    it as it was said at the cut, and the bound that was told at the cut; seconds.
    """

    error_s: list[float] = field(default_factory=list)
    bound_s: list[float] = field(default_factory=list)
    moved_s: list[float] = field(default_factory=list)
    said_s: list[float] = field(default_factory=list)
    told_s: list[float] = field(default_factory=list)


class Truth:
    """x_host_minus_utc_s on the grid of whole steps from the anchor on."""

    def __init__(self, host: HostOf, seed: int) -> None:
        rng = np.random.default_rng([seed, 31])
        n = round((LEARN_S + CUTS_S[-1]) / STEP_S) + 2
        t_s = STEP_S * np.arange(n + 1)
        phase = rng.uniform(0.0, 2.0 * math.pi)
        heat_s = host.per_kelvin * SWING_KELVIN * DAY_S / (2.0 * math.pi)
        forced = np.diff(-heat_s * np.cos(2.0 * math.pi * t_s / DAY_S + phase))[:, None]
        bank = OscillatorBank((host.noise,), rng, y_start=(host.y,))
        self.x_s = np.concatenate(([0.0], bank.run(n, STEP_S, forced_x_s=forced)[:, 0]))
        self.rng = rng

    def at(self, step: int) -> float:
        return float(self.x_s[step])


@dataclass(frozen=True, slots=True)
class Sample:
    """One run at one cut, seconds; see `Samples`."""

    error_s: float
    bound_s: float
    moved_s: float
    said_s: float
    told_s: float


def run(host: HostOf, seed: int) -> dict[float, Sample]:
    """Learn, cut, and return what was found after each time without sources."""
    truth = Truth(host, seed)
    rng = truth.rng
    ways_s = rng.uniform(0.2, 1.0, (len(SERVERS), 2)) * host.path_s
    delays_s: list[deque[float]] = [deque(maxlen=NTP_DELAYS_KEPT) for _ in SERVERS]
    pairs = tuple((f"UTC.{name}", "host") for name in SERVERS)
    operators = tuple((f"UTC.{name}", f"operator-{name}") for name in SERVERS)
    config, state = configure(run_start_of((host_clock(),), pairs, operators, interval_s=STEP_S, days=4.0))
    learn = round(LEARN_S / STEP_S)
    for step in range(1, learn + 1):
        readings = []
        for k, name in enumerate(SERVERS):
            out_s, back_s = ways_s[k] + rng.exponential(host.queue_s, 2)
            delay_s = float(out_s + back_s)
            delays_s[k].append(delay_s)
            readings.append(
                Reading(
                    epoch_tai_ns=ANCHOR_TAI_NS + round(step * STEP_S) * NS_PER_S,
                    a=f"UTC.{name}",
                    b="host",
                    x_a_minus_b_s=float(out_s - back_s) / 2.0 - truth.at(step),
                    u_s=JITTER_S + noise_s(delays_s[k]),
                    limit_s=delay_s / 2.0 + DISPERSION_S,
                    operator=f"operator-{name}",
                )
            )
        state, outcome = take(state, config, step, tuple(readings))
    at_cut, began = state, outcome
    if at_cut.utc is None or at_cut.wander is None or began.coordination is None:
        sys.exit(f"{host.name}, seed {seed}: the laboratory never started")
    said = holdover.variances_s2(at_cut.wander, at_cut.noise)
    cut = at_cut.utc.state
    found = {}
    wanted = {learn + round(cut_s / STEP_S): cut_s for cut_s in CUTS_S}
    for step in range(learn + 1, max(wanted) + 1):
        state, outcome = take(state, config, step, ())
        if step not in wanted:
            continue
        page, cut_s = outcome.page, wanted[step]
        if page is None or page.state is not ServiceState.HOLDOVER:
            sys.exit(f"{host.name}, seed {seed}: no holdover page after {cut_s} s")
        raw_ns = page.anchor_raw_ns
        true_fs = (ANCHOR_TAI_NS + round(step * STEP_S) * NS_PER_S) * 10**6 - round(truth.at(step) * 1e15)
        error_s = (tai_fs_at(page, raw_ns) - true_fs) / 1e15
        # the prediction alone: what UTC minus the host did since the cut, against the straight line
        moved_s = -(truth.at(step) - truth.at(learn)) - cut.y * ((step - learn) * STEP_S)
        told_s = bounding.bound_at(at_cut, config, began.step, began.coordination, ahead_s=cut_s)
        found[cut_s] = Sample(error_s, bound_at(page, raw_ns), moved_s, holdover.sigma_s(said, cut_s), told_s)
    return found


def take(
    state: LaboratoryState, config: Any, step: int, readings: tuple[Reading, ...]
) -> tuple[LaboratoryState, line.EpochOutcome]:
    """Step the fold at a whole step."""
    since_ns = round(step * STEP_S) * NS_PER_S
    given = epoch_input(
        readings,
        state.register,
        epoch_tai_ns=ANCHOR_TAI_NS + since_ns,
        raw_ns=ANCHOR_RAW_NS + since_ns,
        stratum=2,
    )
    return line.step(state, given, config)


def summary(samples: Samples) -> dict[str, Any]:
    """Return the figures of one cut."""
    inside = sum(error <= limit for error, limit in zip(samples.error_s, samples.bound_s, strict=True))
    rms = math.sqrt(statistics.fmean(value * value for value in samples.moved_s))
    p95 = float(np.percentile(samples.error_s, 95))
    ratio = statistics.median(samples.bound_s) / p95
    learned = math.sqrt(statistics.fmean(value * value for value in samples.said_s)) / rms
    return {
        "inside": inside,
        "of": len(samples.error_s),
        "inside_lower_95": lower_limit(inside, len(samples.error_s)),
        "median_bound_s": statistics.median(samples.bound_s),
        "p95_true_error_s": p95,
        "max_error_over_bound": max(e / b for e, b in zip(samples.error_s, samples.bound_s, strict=True)),
        "bound_over_p95": ratio,
        "tight": ratio <= TIGHTNESS_BAR,
        "true_rms_s": rms,
        "learned_over_true": learned,
        "told_over_bound": statistics.median(t / b for t, b in zip(samples.told_s, samples.bound_s, strict=True)),
    }


def measure(seeds: int, *, first: int = 1, names: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run all worlds (or those named), and return the document."""
    table: dict[str, Any] = {}
    for number, host in enumerate(WORLDS):
        if names and host.name not in names:
            continue
        cuts = {cut_s: Samples() for cut_s in CUTS_S}
        began = time.perf_counter()
        for k in range(first, first + seeds):
            for cut_s, sample in run(host, 1000 * number + k).items():
                cut = cuts[cut_s]
                cut.error_s.append(abs(sample.error_s))
                cut.bound_s.append(sample.bound_s)
                cut.moved_s.append(sample.moved_s)
                cut.said_s.append(sample.said_s)
                cut.told_s.append(sample.told_s)
        found = {f"{host.name} {round(cut_s / 3600)} h": summary(cut) for cut_s, cut in cuts.items()}
        table |= found
        print(f"{host.name}: {time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)
        tell(found)
    rows = list(table.values())
    inside, of = sum(row["inside"] for row in rows), sum(row["of"] for row in rows)
    return {
        "method": (
            f"a host is learned for {LEARN_S / 3600:g} h from three servers asked every {STEP_S:g} s, then cut off; "
            "one sample a run and cut"
        ),
        "version": __version__,
        "seeds": seeds,
        "inside": inside,
        "of": of,
        "inside_share": inside / of,
        "inside_lower_95": math.floor(lower_limit(inside, of) * 1e5) / 1e5,
        "tight": all(row["tight"] for row in rows),
        "after": table,
    }


def tell(table: dict[str, Any]) -> None:
    """Print the rows."""
    for name, row in table.items():
        print(
            f"{name:<32} inside {row['inside']}/{row['of']} (worst {row['max_error_over_bound']:.2f}), "
            f"bound {row['median_bound_s']:.3g} s, p95 {row['p95_true_error_s']:.3g} s, ratio "
            f"{row['bound_over_p95']:.1f}, learned/true {row['learned_over_true']:.2f}, "
            f"told {row['told_over_bound']:.2f}",
            flush=True,
        )


def main() -> None:
    """Measure and keep."""
    parser = argparse.ArgumentParser(description="measure holdover of a laboratory without clocks")
    parser.add_argument("--seeds", type=int, default=40, metavar="N", help="runs of each world (default 40)")
    parser.add_argument("--world", action="append", default=[], help="only this world, and keep nothing (repeatable)")
    options = parser.parse_args()
    body = measure(options.seeds, names=tuple(options.world))
    print(f"inside {body['inside']} of {body['of']}; tight: {body['tight']}")
    if not options.world:
        KEPT.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
