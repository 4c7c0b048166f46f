"""A laboratory of twelve clocks with four links outside, in which one thing outside is made wrong: run twice, with it
and without, on the same noise.

The rig is that of the drill catalogue: five masers, six caesiums, a rubidium, an epoch of 600 s, counter noise of
0.05 ns; links to laboratories P and Q, whose UTC(k) wander 2 ns rms: P by GNSS (18 ns a point) and two-way (6 ns), Q by
GNSS (18 ns) and fibre (1.2 ns). Both GNSS links have a receiver whose own messages are judged. Everything goes through
`laboratory.line`, as in service. A fork of the world gives both runs the same draws, so that their difference is what
the event did.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from tests.laboratory.rig import ANCHOR_RAW_NS, ANCHOR_TAI_NS, start_of

from truechimer.alerts import Alert
from truechimer.compare import receiver_epoch
from truechimer.compare.receiver_epoch import ReceiverEpoch
from truechimer.compare.selection import Verdict
from truechimer.formats import ubx
from truechimer.instants import builtin_leap_table
from truechimer.laboratory import line
from truechimer.laboratory.epoch_input import epoch_input
from truechimer.laboratory.line import EpochOutcome
from truechimer.laboratory.receiving import Evidence, Receiver
from truechimer.laboratory.replay import begin_run
from truechimer.laboratory.state import LaboratoryConfig, LaboratoryState
from truechimer.sim import Scenario, World, WorldBatch, read_scenario
from truechimer.sim.receiver_stream import Disturbance
from truechimer.sim.receiver_stream import Receiver as SimulatedReceiver
from truechimer.sim.scenario import Event

INTERVAL_S = 600.0
NS = 10**9
DAY_S = 86_400.0
PLACE = (48.0, 11.0, 500.0)
MASERS, CAESIUMS = 5, 6
GNSS_P, TWO_WAY_P, GNSS_Q, FIBRE_Q = "UTC.Pg-H1", "UTC.Pt-H2", "UTC.Qg-H1", "UTC.Qf-H2"
LINKS = (
    ("UTC.Pg", "H1", 1.8e-8, "P"),
    ("UTC.Pt", "H2", 6e-9, "P"),
    ("UTC.Qg", "H1", 1.8e-8, "Q"),
    ("UTC.Qf", "H2", 1.2e-9, "Q"),
)
LIMIT_S = 6e-9
"""How far UTC(P) may be from UTC: three times 2 ns."""
RECEIVERS = tuple(
    Receiver(name=name, link=link, antenna_m=receiver_epoch.earth_fixed(*PLACE))
    for name, link in (("rx-p", "UTC.Pg"), ("rx-q", "UTC.Qg"))
)
LEAPS = builtin_leap_table()


def scenario(days: float) -> Scenario:
    """Return the rig's scenario with a history of so many days."""
    rows = [f"[run]\ndays = {days}\ninterval_s = {INTERVAL_S}\n", "[host]\ny_host = 2e-7\nwander_y = 1e-11\n"]
    maser = "white_fm_1s = 8e-14, random_walk_fm_1s = 5.8e-19, drift_per_day = 2e-16"
    kinds = [("maser", f"H{i + 1}", maser) for i in range(MASERS)]
    kinds += [("caesium", f"C{i + 1}", "white_fm_1s = 5e-12") for i in range(CAESIUMS)]
    kinds += [("rubidium", "R1", "white_fm_1s = 8e-12, drift_per_day = 5e-13")]
    for k, (kind, name, noise) in enumerate(kinds):
        y = (-1) ** k * 2e-14 * (k + 1)
        rows.append(
            f'[[clock]]\nname = "{name}"\nkind = "{kind}"\nnoise = {{ {noise} }}\nstart_x_s = {k}e-7\nstart_y = {y}\n'
        )
        if k:
            rows.append(f'[[link]]\na = "{name}"\nb = "H1"\nwhite_s = 5e-11\nquantisation_s = 1e-11\n')
            rows[-1] += "gap_fraction = 0.001\n"
    for a, b, white_s, laboratory in LINKS:
        rows.append(f'[[link]]\na = "{a}"\nb = "{b}"\nwhite_s = {white_s}\nlimit_s = {LIMIT_S}\n')
        rows[-1] += f'operator = "laboratory-{laboratory}"\nlaboratory = "{laboratory}"\n'
    rows += [f'[[laboratory]]\nname = "{name}"\nwander_s = 2e-9\n' for name in ("P", "Q")]
    found, findings = read_scenario("\n".join(rows).encode())
    assert found is not None, [finding.says for finding in findings]
    return found


@dataclass(frozen=True, slots=True)
class Condition:
    """What is made wrong: events of links (with the seconds after the beginning at which they begin), what is done to
    the receivers of both GNSS links or of P's alone, and how long it is watched.
    """

    name: str
    events: tuple[Event, ...] = ()
    disturbances: tuple[Disturbance, ...] = ()
    receivers: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Point:
    """One epoch: UTC(k) minus UTC (s) by the simulation's truth, how wrong the page was and what it stated (NaN without
    a page), the alerts, and the links without a vote.
    """

    t_s: float
    x_utck_minus_utc_s: float
    page_off_s: float
    bound_s: float
    alerts: tuple[Alert, ...]
    out: tuple[str, ...]


@dataclass(slots=True)
class Ready:
    """A laboratory at the end of its history, and its world."""

    world: World
    config: LaboratoryConfig
    state: LaboratoryState
    alerts: list[Alert] = field(default_factory=list)


@cache
def ready(seed: int, days: float, defence: str = "all") -> Ready:
    """Return the rig after its warm-up, worked out once for a seed. `defence`: "all"; "links" (no receiver is read);
    "none" (nor are links held against their past).
    """
    made = scenario(days)
    world = World(made, seed=seed, anchor_tai_ns=ANCHOR_TAI_NS, anchor_raw_ns=ANCHOR_RAW_NS)
    receivers = RECEIVERS if defence == "all" else ()
    start = start_of(made, receivers=receivers, follows_links=defence != "none")
    config, state, _ = begin_run(start, None, same_boot=True)
    out = Ready(world, config, state)
    evidence = [stream(seed, k, days) for k in range(len(receivers))]
    for number, batch in enumerate(world.history()):
        heard = tuple(Evidence(k, 0, own[number]) for k, own in enumerate(evidence))
        out.state, outcome = _step(out.state, out.config, batch, heard)
        out.alerts += outcome.alerts
    return out


@cache
def stream(
    seed: int, k: int, days: float, disturbances: tuple[Disturbance, ...] = (), after_days: float = 0.0
) -> tuple[ReceiverEpoch, ...]:
    """Return what receiver `k` says each epoch, through the bytes that it would send."""
    start_ns = ANCHOR_TAI_NS - round(days * DAY_S) * NS
    rng = np.random.default_rng([seed, k, 77])
    receiver = SimulatedReceiver(rng, LEAPS, start_ns, INTERVAL_S, *PLACE, disturbances=disturbances)
    n = round((days + after_days) * DAY_S / INTERVAL_S) + 1
    out: list[ReceiverEpoch] = []
    for sent in receiver.epochs(n):
        out += receiver_epoch.epochs(ubx.read(sent.data)[0], LEAPS)
    return tuple(out)


def _step(
    state: LaboratoryState, config: LaboratoryConfig, batch: WorldBatch, evidence: tuple[Evidence, ...]
) -> tuple[LaboratoryState, EpochOutcome]:
    given = epoch_input(
        batch.readings, state.register, epoch_tai_ns=batch.epoch_tai_ns, raw_ns=batch.raw_ns, evidence=evidence
    )
    return line.step(state, given, config)


def watched(begun: Ready, seed: int, days: float, condition: Condition, *, for_days: float) -> Iterator[Point]:
    """Yield the epochs after the warm-up with a condition laid on at their beginning; `begun` is left as it is."""
    world, state = begun.world.fork(), begun.state
    for event in condition.events:
        world.inject(event, at_raw_ns=ANCHOR_RAW_NS + round((event.at_s + INTERVAL_S) * 1e9))
    begin_s = days * DAY_S + INTERVAL_S
    laid = tuple(
        Disturbance(one.what, begin_s + one.start_s, one.size, begin_s + one.end_s) for one in condition.disturbances
    )
    n_receivers = len(begun.config.receivers)
    own = [stream(seed, k, days, laid if k in condition.receivers else (), for_days) for k in range(n_receivers)]
    past = round(days * DAY_S / INTERVAL_S)
    pivot = world.clock_names.index("H1")
    for number in range(1, round(for_days * DAY_S / INTERVAL_S) + 1):
        raw_ns = ANCHOR_RAW_NS + round(number * INTERVAL_S * 1e9)
        batch = world.batch(raw_ns)
        evidence = tuple(Evidence(k, batch.epoch_tai_ns, said[past + number]) for k, said in enumerate(own))
        state, outcome = _step(state, begun.config, batch, evidence)
        assert outcome.coordination is not None
        x_utck_minus_h1 = outcome.coordination.at(batch.epoch_tai_ns) - float(outcome.step.x_clock_minus_scale_s[pivot])
        page_off, bound_s = float("nan"), float("nan")
        if outcome.page is not None:
            page_off = (outcome.page.anchor_tai_fs - world.true_tai_fs(outcome.page.anchor_raw_ns)) / 1e15
            bound_s = outcome.page.bound_s
        links = zip(state.register.outside, state.claims, strict=True)
        names = [state.register.link_name(one.link) for one, claim in links if claim.verdict is not Verdict.SELECTED]
        yield Point(
            number * INTERVAL_S,
            x_utck_minus_h1 + float(batch.x_clock_minus_utc_s[pivot]),
            page_off,
            bound_s,
            outcome.alerts,
            tuple(names),
        )
