"""Small worlds for the tests of this room."""

from dataclasses import replace

from truechimer.clocks.clock import ClockKind, NoiseModel
from truechimer.sim import Event, Host, Laboratory, Link, Run, Scenario, SimulatedClock, What, World, WorldBatch

NS = 10**9
ANCHOR_TAI_NS = 1_800_000_000 * NS + 123
ANCHOR_RAW_NS = 77_000_000_007
MASER = NoiseModel(white_fm_1s=8e-14, random_walk_fm_1s=5.8e-19, drift_per_day=2e-16)

HOST = Host(y_host=2.5e-6, wander_y=3e-9, wander_correlation_s=60.0, white_fm_1s=1e-10)


def clock(name: str, **more: object) -> SimulatedClock:
    return SimulatedClock(name=name, kind=ClockKind.MASER, **{"noise": MASER, **more})


def scenario(*events: Event, **more: object) -> Scenario:
    """Three masers read against A, and UTC(P): 1 day at 600 s."""
    parts: dict[str, object] = {
        "run": Run(days=1.0, interval_s=600.0),
        "clocks": (clock("A"), clock("B", start_x_s=1e-7), clock("C")),
        "links": (
            Link(a="B", b="A", white_s=5e-11),
            Link(a="C", b="A", white_s=5e-11),
            Link(a="UTC.P", b="A", white_s=1e-9, operator="p", limit_s=5e-9),
        ),
        "laboratories": (Laboratory(name="P", wander_s=2e-9),),
        "events": events,
        "host": HOST,
    }
    return Scenario(**{**parts, **more})


def world(of: Scenario | None = None, *, seed: int = 1) -> World:
    return World(of or scenario(), seed=seed, anchor_tai_ns=ANCHOR_TAI_NS, anchor_raw_ns=ANCHOR_RAW_NS)


def live(of: Scenario | None = None, *, seed: int = 1) -> World:
    """A world whose history has been read."""
    made = world(of, seed=seed)
    for _ in made.history():
        pass
    return made


def with_link(of: Scenario, a: str, **changes: object) -> Scenario:
    """The scenario with one link changed."""
    return replace(of, links=tuple(replace(link, **changes) if link.a == a else link for link in of.links))


def value(batch: WorldBatch, a: str, *, clean: bool = False) -> float | None:
    """The reading of a in this batch, None where there is none."""
    return next((r.x_a_minus_b_s for r in (batch.clean if clean else batch.readings) if r.a == a), None)


def moved(batch: WorldBatch, a: str) -> float:
    """How far events moved the reading of a: attacked minus clean."""
    return value(batch, a) - value(batch, a, clean=True)


def event(what: What, target: str, *, at_s: float = 36_000.0, **more: object) -> Event:
    units = {"phase-step": "s", "frequency-step": "1", "drift-step": "1/d", "ramp": "s/s", "replay": "s", "return": "s"}
    unit = units.get(what) if "magnitude" in more else None
    return Event(at_s=at_s, what=what, target=target, unit=unit, **more)
