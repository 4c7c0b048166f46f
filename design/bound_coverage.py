"""How often the truth is inside the bound, and how tight the bound is: simulated laboratories, many seeds.

    PYTHONPATH=src python design/bound_coverage.py --seeds 40     measure, keep, and generate the module again
    PYTHONPATH=src python design/bound_coverage.py --generate     generate the module from what is kept

`--algorithm NAME` measures a scale that is not the default; each has a figure of its own. It writes
docs/measured/bound_coverage.json (`bound_coverage_NAME.json`), and src/truechimer/laboratory/measured_coverage.py from
all of them. It judges the service from outside: `sim` knows the truth, `laboratory.line` never sees it.

Method. Each world is run from its first reading on. From coordination-start on each epoch is one sample of the scale:
|UTC(k) - UTC| against the bound without the host's terms. Then the host is read once a second, and each page is two
samples: at its anchor, and just before the next one, when it has aged most. A sample outside its bound is a lie.

What is counted. Samples of one run are not independent: UTC(k) of other laboratories wanders with a correlation time
of 20 days, steering forgets in 5, a network path keeps its asymmetry. No run holds two stretches that are three of its
longest correlation times apart, so **a run is one trial**, whatever its number of samples, and it succeeds only where
no sample of it is outside. The share of good trials is at most the share of good samples, so its lower 95 % limit
(Clopper and Pearson 1934, one-sided) is one for the samples too. Worlds have seeds of their own, so that trials of
different worlds share no random number. `COVERAGE` is the limit over the trials of all worlds together: it grows with
the number of seeds, and says nothing of worlds that are unlike these.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from truechimer._version import __version__
from truechimer.clocks.clock import Clock
from truechimer.clocks.register import host_clock
from truechimer.compare.path_delay import noise_s
from truechimer.compare.reading import Reading
from truechimer.daemon.lab_start import (
    ATOMIC_STEER_EVERY_S,
    ATOMIC_TIME_CONSTANT_S,
    OSCILLATOR_STEER_EVERY_S,
    OSCILLATOR_TIME_CONSTANT_S,
    REQUALIFY_INTERVALS,
)
from truechimer.daemon.sources.ntp_feed import NTP_DELAYS_KEPT
from truechimer.instants import builtin_leap_table
from truechimer.laboratory import bounding, line
from truechimer.laboratory.epoch_input import epoch_input
from truechimer.laboratory.line import EpochOutcome
from truechimer.laboratory.run_start import RunStart, configure, default_limits
from truechimer.laboratory.state import LaboratoryConfig, LaboratoryState
from truechimer.quorum.proposal import Place, envelope_order, policy_of_one, signed_envelope
from truechimer.quorum.sshsig import signing_key
from truechimer.scale.live_state import DEFAULT_LIVE_ALGORITHM, LIVE_ALGORITHMS, VERSIONS
from truechimer.serve.clock_page import ServiceState
from truechimer.serve.served_time import bound_at, tai_fs_at
from truechimer.sim.demo_scenario import DEMO_SCENARIO_TOML
from truechimer.sim.host_oscillator import HostOscillator
from truechimer.sim.scenario import Host, Scenario
from truechimer.sim.scenario_file import read
from truechimer.sim.world import World
from truechimer.steer.bound import bound
from truechimer.steer.realization import Realization

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "docs" / "measured" / "bound_coverage.json"
MODULE = ROOT / "src" / "truechimer" / "laboratory" / "measured_coverage.py"

NS_PER_S = 10**9
DAY_NS = 86_400 * NS_PER_S
ANCHOR_TAI_NS = 1_795_000_037 * NS_PER_S
ANCHOR_RAW_NS = 10**12
LIVE_S = 180
AGED_NS = 999_000_000
CONFIDENCE = 0.95
SEEDS_APART = 100_000
"""Seed k of world number i is i * SEEDS_APART + k."""

CLEAN_BAR_S = 30e-9
TIGHTNESS_BAR = 10.0

UNSTEADY_HOST = Host(y_host=-1.7e-5, wander_y=3e-9, wander_correlation_s=300.0, white_fm_1s=2e-10)
"""An ordinary crystal in a room, read against the pivot."""

NOWHERE = Realization(0, 0.0, 0.0, 0.0, 1e-8)
"""The scale's bound has no host in it."""


@dataclass(slots=True)
class Samples:
    """|true error| and bound of samples, seconds."""

    error_s: list[float] = field(default_factory=list)
    bound_s: list[float] = field(default_factory=list)

    def add(self, error_s: float, bound_s: float) -> None:
        self.error_s.append(abs(error_s))
        self.bound_s.append(bound_s)

    @property
    def lies(self) -> int:
        return sum(error > limit for error, limit in zip(self.error_s, self.bound_s, strict=True))

    @property
    def median_bound_s(self) -> float:
        return statistics.median(self.bound_s)

    @property
    def p95_true_error_s(self) -> float:
        return float(np.percentile(self.error_s, 95))


@dataclass(slots=True)
class Run:
    """What one run of one world gave: of the scale, and of the pages that doors would have served from."""

    seed: int
    scale: Samples = field(default_factory=Samples)
    page: Samples = field(default_factory=Samples)

    @property
    def is_clean(self) -> bool:
        """Whether every sample lies inside its bound; a run without samples proves nothing, and is an error."""
        if not self.scale.bound_s or not self.page.bound_s:
            sys.exit(f"seed {self.seed}: the laboratory never served a time; nothing was measured")
        return self.scale.lies == 0 and self.page.lies == 0


# ---- laboratories ----------------------------------------------------------------------------------------------------


def run_start_of(
    clocks: tuple[Clock, ...],
    pairs: tuple[tuple[str, str], ...],
    operators: tuple[tuple[str, str], ...],
    *,
    interval_s: float,
    days: float,
    algorithm: str = DEFAULT_LIVE_ALGORITHM,
) -> RunStart:
    """Return a run as `up` would start it, with one person's software key."""
    atomic = any(clock.kind.is_atomic for clock in clocks)
    limits = default_limits(
        clocks,
        valid_from_ns=ANCHOR_TAI_NS - round((days + 1.0) * DAY_NS),
        valid_until_ns=ANCHOR_TAI_NS + 90 * DAY_NS,
        sequence=1,
    )
    key = signing_key(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    policy = policy_of_one(
        "measured", "operator", key.public, per_day_s=limits.per_day_s, total_s=max(limits.total_s, limits.per_day_s)
    )
    order = envelope_order(
        limits, Place(policy.digest), target="SIM(measured)", because="to be measured", nonce="0" * 32
    )
    return RunStart(
        name="measured",
        scale_name="SIM(measured)",
        version=__version__,
        simulated=True,
        clocks=clocks,
        pairs=pairs,
        operators=operators,
        interval_s=interval_s,
        algorithm=algorithm,
        tau_weight_s=86_400.0,
        weight_cap_n=4.0,
        probation_s=86_400.0,
        steer_time_constant_s=ATOMIC_TIME_CONSTANT_S if atomic else max(OSCILLATOR_TIME_CONSTANT_S, 4.0 * interval_s),
        steer_interval_s=ATOMIC_STEER_EVERY_S if atomic else max(OSCILLATOR_STEER_EVERY_S, interval_s),
        requalify_s=REQUALIFY_INTERVALS * interval_s,
        silence_s=600.0,
        policy=policy,
        envelope=signed_envelope(limits, order, key),
        leaps=builtin_leap_table(),
        coverage=0.0,
        refid=b"SIM\0",
    )


def scenario_of(text: str) -> Scenario:
    """Read a scenario's text, with an unsteady host."""
    found, faults = read(text.encode())
    if found is None:
        sys.exit("; ".join(fault.says for fault in faults))
    return replace(found, host=replace(UNSTEADY_HOST, pivot=found.pivot))


def small_text() -> str:
    """Return the SMALL rig."""
    return (ROOT / "labs" / "scenarios" / "small.toml").read_text(encoding="utf-8")


OUTSIDE = (("P", 3e-9, 2e-9), ("Q", 2e-10, 2e-9), ("S", 1e-9, 1e-9))
"""Other laboratories: link noise per reading, rms wander (s); the links state three times the wander as their limit."""

NOISE = {
    "maser": "white_fm_1s = 1.2e-13, flicker_fm = 3e-16, random_walk_fm_1s = 1.2e-18, drift_per_day = 2e-16",
    "caesium": "white_fm_1s = 8.5e-12, flicker_fm = 4e-15",
}


def few_clocks(kind: str, count: int) -> Scenario:
    """Return a laboratory of a few clocks of one kind and three links to UTC."""
    parts = ["[run]\ndays = 30.0\ninterval_s = 600.0\n"]
    for i in range(count):
        start = f"start_x_s = {(-1) ** i * (i + 1)}e-7\nstart_y = {(-1) ** i * (i + 1)}e-13"
        parts.append(f'[[clock]]\nname = "K{i}"\nkind = "{kind}"\n{start}\nnoise = {{ {NOISE[kind]} }}\n')
        if i:
            parts.append(f'[[link]]\na = "K{i}"\nb = "K0"\nwhite_s = 5e-11\n')
    for name, white_s, wander_s in OUTSIDE:
        parts.append(
            f'[[link]]\na = "UTC.{name}"\nb = "K0"\nwhite_s = {white_s!r}\nlimit_s = {3.0 * wander_s!r}\n'
            f'operator = "laboratory-{name}"\n[[laboratory]]\nname = "{name}"\nwander_s = {wander_s!r}\n'
        )
    return scenario_of("\n".join(parts))


def without_wander() -> Scenario:
    """Return the demo's laboratory with links to perfect realisations of UTC, which therefore state no limit."""
    demo = scenario_of(DEMO_SCENARIO_TOML)
    links = tuple(replace(link, limit_s=0.0) for link in demo.links)
    return replace(demo, laboratories=(), links=links)


# ---- runs ------------------------------------------------------------------------------------------------------------


def simulated_run(
    scenario: Scenario, seed: int, *, days: float, algorithm: str = DEFAULT_LIVE_ALGORITHM, live_s: int = LIVE_S
) -> Run:
    """Run a world's history, then live epochs."""
    scenario = replace(scenario, run=replace(scenario.run, days=days))
    world = World(scenario, seed=seed, anchor_tai_ns=ANCHOR_TAI_NS, anchor_raw_ns=ANCHOR_RAW_NS)
    clocks = (*world.declared_clocks, host_clock())
    pairs = (*((link.a, link.b) for link in scenario.links), ("host", scenario.pivot))
    operators = tuple((link.a, link.operator) for link in scenario.links if link.operator)
    start = run_start_of(clocks, pairs, operators, interval_s=scenario.run.interval_s, days=days, algorithm=algorithm)
    config, state = configure(start)
    run = Run(seed)
    for batch in world.history():
        given = epoch_input(batch.readings, state.register, epoch_tai_ns=batch.epoch_tai_ns)
        state, outcome = line.step(state, given, config)
        if outcome.coordination is None or state.utc is None or outcome.utc is None:
            continue
        terms = bounding.terms(
            state.utc,
            outcome.utc,
            outcome.coordination,
            NOWHERE,
            outcome.step,
            members=config.members,
            wander=(),
            until_s=config.silence_s,
        )
        x_scale_minus_utc_s = scale_minus_utc_s(batch.x_clock_minus_utc_s, outcome)
        if x_scale_minus_utc_s is not None:
            error_s = x_scale_minus_utc_s + outcome.coordination.at(batch.epoch_tai_ns)
            run.scale.add(error_s, bound(terms).scale_bound_s)
    for second in range(1, live_s + 1):
        raw_ns = ANCHOR_RAW_NS + second * NS_PER_S
        batch = world.batch(raw_ns)
        given = epoch_input(batch.readings, state.register, epoch_tai_ns=batch.epoch_tai_ns, raw_ns=raw_ns)
        state, outcome = line.step(state, given, config)
        judge_page(run, outcome, world.true_tai_fs, aged_ns=AGED_NS)
    return run


def scale_minus_utc_s(x_clock_minus_utc_s: Any, outcome: EpochOutcome) -> float | None:
    """Return the true scale minus UTC, through any clock that was read at this epoch."""
    for truth, seen, residual in zip(
        x_clock_minus_utc_s, outcome.step.x_clock_minus_scale_s, outcome.step.residual_s, strict=False
    ):
        if residual == residual and seen == seen:  # noqa: PLR0124 - NaN where it was not read
            return float(truth - seen)
    return None


def judge_page(run: Run, outcome: EpochOutcome, true_tai_fs: Callable[[int], int], *, aged_ns: int) -> None:
    """Take the two samples of a page that doors may serve as synchronised."""
    page = outcome.page
    if page is None or page.state not in {ServiceState.STEERED, ServiceState.HOLDOVER}:
        return
    for raw_ns in (page.anchor_raw_ns, page.anchor_raw_ns + aged_ns):
        run.page.add((tai_fs_at(page, raw_ns) - true_tai_fs(raw_ns)) / 1e15, bound_at(page, raw_ns))


# ---- a laboratory without clocks -------------------------------------------------------------------------------------

SERVERS = ("A", "B", "C")
HOST_ONLY = Host(y_host=3.1e-5, wander_y=2e-8, wander_correlation_s=300.0, white_fm_1s=1e-9)
POLL_S = 16.0
HOST_ONLY_DAYS = 0.2
SERVER_WANDER_S, SERVER_CORRELATION_S, SERVER_DISPERSION_S = 2e-6, 600.0, 1e-5
JITTER_S = 1e-6


def answers_of_servers(host: HostOscillator, seed: int, *, days: float) -> Iterator[tuple[int, Reading]]:
    """Yield raw counter and reading of three servers asked in turn, as `daemon.sources.feeds.NtpFeed` would state them.

    Paths of some tens of microseconds, each way its own for ever, with exponential queues; servers wander within what
    they state. One sigma is half the excess of the delay over the least seen; the limit is the root distance.
    """
    rng = np.random.default_rng([seed, 17])
    ways_s = rng.uniform(1e-5, 6e-5, (len(SERVERS), 2))
    wander_s = SERVER_WANDER_S * rng.standard_normal(len(SERVERS))
    delays_s: list[deque[float]] = [deque(maxlen=NTP_DELAYS_KEPT) for _ in SERVERS]
    decay = math.exp(-POLL_S / SERVER_CORRELATION_S)
    gap_ns = round(POLL_S * NS_PER_S / len(SERVERS))
    for number in range(round(days * DAY_NS / gap_ns)):
        k = number % len(SERVERS)
        raw_ns = ANCHOR_RAW_NS + (number + 1) * gap_ns + int(rng.integers(0, gap_ns // 4))
        drawn = SERVER_WANDER_S * math.sqrt(1.0 - decay * decay) * rng.standard_normal()
        wander_s[k] = decay * wander_s[k] + drawn
        out_s, back_s = ways_s[k] + rng.exponential(8e-6, 2)
        delay_s = float(out_s + back_s)
        delays_s[k].append(delay_s)
        # the middle of the exchange, by the host; the server's stamps are off by half the paths' difference
        label_ns = host.label_tai_ns(raw_ns)
        error_s = float(wander_s[k]) + float(out_s - back_s) / 2.0
        yield (
            raw_ns,
            Reading(
                epoch_tai_ns=label_ns,
                a=f"UTC.{SERVERS[k]}",
                b="host",
                x_a_minus_b_s=error_s - host.x_host_minus_utc_s(raw_ns),
                u_s=JITTER_S + noise_s(delays_s[k]),
                limit_s=delay_s / 2.0 + SERVER_DISPERSION_S,
                operator=f"operator-{SERVERS[k]}",
            ),
        )


def host_only_run(seed: int, *, days: float, algorithm: str = DEFAULT_LIVE_ALGORITHM) -> Run:
    """Run a laboratory whose scale is the host's unsteady oscillator; the scale's bound is the page's, here."""
    host = HostOscillator(
        HOST_ONLY, np.random.default_rng([seed, 18]), anchor_tai_ns=ANCHOR_TAI_NS, anchor_raw_ns=ANCHOR_RAW_NS
    )
    pairs = tuple((f"UTC.{name}", "host") for name in SERVERS)
    operators = tuple((f"UTC.{name}", f"operator-{name}") for name in SERVERS)
    start = run_start_of((host_clock(),), pairs, operators, interval_s=10.0, days=1.0, algorithm=algorithm)
    config, state = configure(start)
    run = Run(seed)
    for raw_ns, reading in answers_of_servers(host, seed, days=days):
        state, outcome = _host_only_step(state, config, raw_ns, reading)
        before = len(run.page.bound_s)
        judge_page(run, outcome, host.true_tai_fs, aged_ns=round(POLL_S / len(SERVERS) * NS_PER_S))
        if outcome.bound is not None and len(run.page.bound_s) > before:
            run.scale.add(run.page.error_s[before], outcome.bound.scale_bound_s)
    return run


def _host_only_step(
    state: LaboratoryState, config: LaboratoryConfig, raw_ns: int, reading: Reading
) -> tuple[LaboratoryState, EpochOutcome]:
    given = epoch_input((reading,), state.register, epoch_tai_ns=reading.epoch_tai_ns, raw_ns=raw_ns, stratum=2)
    return line.step(state, given, config)


# ---- worlds ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorldOf:
    """A world to be measured. `days`: of its history; `run(seed, days=)`; `clean`: the rig whose bound has a bar of its
    own.
    """

    name: str
    days: float
    run: Callable[..., Run]
    clean: bool = False


def of_scenario(scenario: Scenario) -> Callable[..., Run]:
    """Return the run of a scenario."""
    return lambda seed, *, days, algorithm=DEFAULT_LIVE_ALGORITHM: simulated_run(
        scenario, seed, days=days, algorithm=algorithm
    )


def worlds() -> tuple[WorldOf, ...]:
    """Return all worlds, in their order."""
    return (
        WorldOf("demo", 30.0, of_scenario(scenario_of(DEMO_SCENARIO_TOML)), clean=True),
        WorldOf("small", 30.0, of_scenario(scenario_of(small_text()))),
        WorldOf("without-wander", 30.0, of_scenario(without_wander())),
        WorldOf("five-caesiums", 30.0, of_scenario(few_clocks("caesium", 5))),
        WorldOf("one-maser", 30.0, of_scenario(few_clocks("maser", 1))),
        WorldOf("host-only", HOST_ONLY_DAYS, host_only_run),
    )


def lower_limit(good: int, trials: int, *, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided lower limit of a share from `good` of `trials` (Clopper and Pearson 1934).

    It is the p for which `good` or more of `trials` have the chance 1 - confidence; 0 where none was good.
    """
    if not 0 <= good <= trials or trials == 0:
        raise ValueError(f"{good} of {trials}")
    if good == 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(100):
        p = (low + high) / 2.0
        chance = math.fsum(math.comb(trials, k) * p**k * (1.0 - p) ** (trials - k) for k in range(good, trials + 1))
        low, high = (p, high) if chance < 1.0 - confidence else (low, p)
    return low


def summary(world: WorldOf, runs: list[Run]) -> dict[str, Any]:
    """Return one world's figures, with those of each run in lists."""
    scale, page = Samples(), Samples()
    for run in runs:
        scale.error_s += run.scale.error_s
        scale.bound_s += run.scale.bound_s
        page.error_s += run.page.error_s
        page.bound_s += run.page.bound_s
    good = sum(run.is_clean for run in runs)
    ratio = scale.median_bound_s / scale.p95_true_error_s
    tight = scale.median_bound_s <= CLEAN_BAR_S if world.clean else ratio <= TIGHTNESS_BAR
    bar = f"median bound <= {CLEAN_BAR_S * 1e9:g} ns" if world.clean else f"median bound <= {TIGHTNESS_BAR:g} x p95"
    return {
        "days": world.days,
        "seeds": len(runs),
        "lies": scale.lies + page.lies,
        "samples": len(scale.bound_s) + len(page.bound_s),
        "scale_median_bound_s": scale.median_bound_s,
        "scale_p95_true_error_s": scale.p95_true_error_s,
        "scale_max_true_error_s": max(scale.error_s),
        "bound_over_p95": ratio,
        "bar": bar,
        "tight": tight,
        "page_median_bound_s": page.median_bound_s,
        "page_p95_true_error_s": page.p95_true_error_s,
        "coverage_lower_95": lower_limit(good, len(runs)),
        "each": {
            "seed": [run.seed for run in runs],
            "samples": [len(run.scale.bound_s) for run in runs],
            "lies": [run.scale.lies for run in runs],
            "median_bound_s": [run.scale.median_bound_s for run in runs],
            "p95_true_error_s": [run.scale.p95_true_error_s for run in runs],
            "page_samples": [len(run.page.bound_s) for run in runs],
            "page_lies": [run.page.lies for run in runs],
        },
    }


def measure(
    seeds: int, *, first: int = 1, names: tuple[str, ...] = (), algorithm: str = DEFAULT_LIVE_ALGORITHM
) -> dict[str, Any]:
    """Run the worlds (all, or those named) over `seeds` seeds each, and return the document."""
    table, good, trials = {}, 0, 0
    for number, world in enumerate(worlds()):
        if names and world.name not in names:
            continue
        runs = []
        for k in range(first, first + seeds):
            began = time.perf_counter()
            runs.append(world.run(number * SEEDS_APART + k, days=world.days, algorithm=algorithm))
            took = time.perf_counter() - began
            lies = runs[-1].scale.lies + runs[-1].page.lies
            print(f"{world.name}, seed {runs[-1].seed}: {lies} lies, {took:.1f} s", file=sys.stderr, flush=True)
        table[world.name] = summary(world, runs)
        good, trials = good + sum(run.is_clean for run in runs), trials + len(runs)
    return {
        "method": (
            "a run of a world is one trial, good where no sample of it is outside its bound; "
            "limit of Clopper and Pearson, one-sided, over all worlds"
        ),
        "version": __version__,
        "algorithm": VERSIONS[algorithm],
        "trials": trials,
        "good_trials": good,
        "lies": sum(row["lies"] for row in table.values()),
        "coverage_lower_95": math.floor(lower_limit(good, trials) * 1e5) / 1e5,
        "worlds": table,
    }


def kept_of(algorithm: str) -> Path:
    """Return where the figures of an algorithm are kept."""
    return KEPT if algorithm == DEFAULT_LIVE_ALGORITHM else KEPT.with_name(f"bound_coverage_{algorithm}.json")


def all_kept() -> dict[str, dict[str, Any]]:
    """Return the figures of every algorithm, as far as they were measured with the version that runs now."""
    found = {}
    for name in LIVE_ALGORITHMS:
        body = json.loads(kept_of(name).read_text(encoding="utf-8")) if kept_of(name).exists() else {}
        if body.get("algorithm") == VERSIONS[name]:
            found[name] = body
    return found


def module_text(bodies: dict[str, dict[str, Any]]) -> str:
    """Return the module that carries the figures into the service."""
    lines = [
        f"`{name}`: {body['good_trials']} of {body['trials']} simulated runs had every sample inside its bound."
        for name, body in bodies.items()
    ]
    figures = "\n".join(f'    "{name}": {body["coverage_lower_95"]!r},' for name, body in bodies.items())
    return f'''"""The measured coverage of the bound by algorithm: made by `design/bound_coverage.py`; do not edit.

From `docs/measured/bound_coverage*.json`. Each figure is the lower 95 % limit of the share of good runs; an algorithm
that is not here was not measured, and promises none.

{chr(10).join(lines)}
"""

COVERAGE: dict[str, float] = {{
{figures}
}}
'''


def main() -> None:
    """Measure, keep, generate."""
    parser = argparse.ArgumentParser(description="measure coverage and tightness of the bound")
    parser.add_argument("--seeds", type=int, default=40, metavar="N", help="runs of each world (default 40)")
    parser.add_argument("--world", action="append", default=[], help="only this world, and keep nothing (repeatable)")
    parser.add_argument("--generate", action="store_true", help="measure nothing: the module from what is kept")
    parser.add_argument("--algorithm", choices=LIVE_ALGORITHMS, default=DEFAULT_LIVE_ALGORITHM, help="of the scale")
    options = parser.parse_args()
    kept = kept_of(options.algorithm)
    if options.generate:
        body = json.loads(kept.read_text(encoding="utf-8"))
    else:
        body = measure(options.seeds, names=tuple(options.world), algorithm=options.algorithm)
    for name, row in body["worlds"].items():
        print(
            f"{name:<16} lies {row['lies']} of {row['samples']} samples; scale bound {row['scale_median_bound_s']:.3g} "
            f"s (median), true error {row['scale_p95_true_error_s']:.3g} s (95 %), ratio {row['bound_over_p95']:.1f}; "
            f"{row['bar']}: {'met' if row['tight'] else 'NOT MET'}; pages {row['page_median_bound_s']:.3g} s, "
            f"{row['page_p95_true_error_s']:.3g} s"
        )
    print(f"coverage {body['coverage_lower_95']} from {body['good_trials']} of {body['trials']} runs")
    if options.world:
        return
    kept.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    MODULE.write_text(module_text(all_kept()), encoding="utf-8")
    if body["lies"]:
        sys.exit("there are lies: find out why before anything is released")


if __name__ == "__main__":
    main()
