"""The scenario: what a simulated laboratory is made of, and what happens in it.

It simulates nothing and reads nothing (`scenario_file`). Numbers are true values of the simulation; what the
laboratory *declares* about its clocks and links (noise models, u_s) is made from the same numbers, unless a link
states another `u_s`.

Source: `SCENARIO.toml` of the contract; every key beyond it is optional and documented beside its field.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from truechimer.clocks.clock import Clock, ClockKind, NoiseModel

NAME = r"[A-Za-z0-9_.-]+"
NAME_MEANS = "letters, digits, _ . -"
OUTSIDE = "UTC."
HOST = "host"
REPLAY_LIMIT_S = 172_800.0
"""The longest time back from which readings can be replayed: so much of what was read is kept."""


class What(StrEnum):
    """What an event does to its target; the unit of its magnitude follows from it (`UNIT_OF`)."""

    PHASE_STEP = "phase-step"
    FREQUENCY_STEP = "frequency-step"
    DRIFT_STEP = "drift-step"
    RAMP = "ramp"
    FREEZE = "freeze"
    REPLAY = "replay"
    REMOVE = "remove"
    RETURN = "return"
    GAP = "gap"


UNIT_OF: dict[What, str] = {
    What.PHASE_STEP: "s",
    What.FREQUENCY_STEP: "1",
    What.DRIFT_STEP: "1/d",
    What.RAMP: "s/s",
    What.REPLAY: "s",
    What.RETURN: "s",
}
"""The unit of each event's magnitude; an event that is not here takes none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How long and how often the clocks are read; the first epoch is `start_mjd`, 0 h on the TAI axis."""

    days: float = field(
        metadata={
            "unit": "d",
            "min": 0.0,
            "max": 36525.0,
            "doc": "length of the run",
            "wrong": "too short to learn weights",
        }
    )
    interval_s: float = field(
        metadata={
            "unit": "s",
            "min": 1e-3,
            "max": 864000.0,
            "doc": "time between epochs",
            "wrong": "too many or too few epochs",
        }
    )
    start_mjd: int = field(
        default=61041,
        metadata={
            "min": 41317,
            "max": 88000,
            "doc": "MJD of the first epoch on the TAI axis (`sim make`; a live world ends at its anchor)",
            "wrong": "readings carry another date",
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedClock:
    """One clock: its noise, how it feels the room, and its frequency jumps."""

    name: str = field(
        metadata={"pattern": NAME, "means": NAME_MEANS, "doc": "unique name", "wrong": "readings cannot be told apart"}
    )
    kind: ClockKind = field(
        metadata={"doc": "what the clock is made of", "wrong": "its class is judged by the wrong peers"}
    )
    bipm_code: int | None = field(
        default=None,
        metadata={"min": 1000000, "max": 9999999, "doc": "seven-digit clock code", "wrong": "not found in clock files"},
    )
    noise: NoiseModel = field(
        default_factory=NoiseModel,
        metadata={"doc": "levels of the clock's noise; absent means none", "wrong": "too good a clock"},
    )
    temperature_coefficient_per_kelvin: float = field(
        default=0.0,
        metadata={
            "key": "temperature_coefficient_per_K",
            "unit": "1/K",
            "doc": "change of y per kelvin",
            "wrong": "common mode too small or too large",
        },
    )
    humidity_coefficient_per_percent: float = field(
        default=0.0,
        metadata={"unit": "1/%", "doc": "change of y per percent of relative humidity", "wrong": "as for temperature"},
    )
    jump_rate_per_day: float = field(
        default=0.0,
        metadata={
            "unit": "1/d",
            "min": 0.0,
            "max": 1000.0,
            "doc": "mean number of frequency jumps a day",
            "wrong": "too quiet",
        },
    )
    jump_y: float = field(
        default=0.0,
        metadata={"unit": "1", "min": 0.0, "doc": "rms size of a frequency jump, normal, mean 0", "wrong": "too quiet"},
    )
    start_x_s: float = field(
        default=0.0,
        metadata={"unit": "s", "doc": "clock minus UTC at the first epoch", "wrong": "another first reading"},
    )
    start_y: float = field(
        default=0.0,
        metadata={"unit": "1", "doc": "frequency offset at the first epoch", "wrong": "another rate to be learned"},
    )

    @property
    def declared(self) -> Clock:
        """The clock as the laboratory's register knows it."""
        return Clock(name=self.name, kind=self.kind, bipm_code=self.bipm_code, noise=self.noise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Laboratory:
    """Another laboratory, seen through links from `UTC.<name>`: how its UTC(k) wanders from UTC."""

    name: str = field(
        metadata={"pattern": NAME, "means": NAME_MEANS, "doc": "the part after `UTC.`", "wrong": "no link finds it"}
    )
    wander_s: float = field(
        default=0.0,
        metadata={"unit": "s", "min": 0.0, "doc": "rms of its UTC(k) minus UTC", "wrong": "too good a reference"},
    )
    wander_days: float = field(
        default=20.0,
        metadata={
            "unit": "d",
            "min": 0.01,
            "doc": "correlation time of that wander, exponential",
            "wrong": "wanders too fast or slowly",
        },
    )
    offset_s: float = field(
        default=0.0, metadata={"unit": "s", "doc": "mean of its UTC(k) minus UTC", "wrong": "an unexplained mean"}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A comparison: readings of `a` minus `b`; either end is a clock, `UTC`, `UTCr` or `UTC.<lab>`."""

    a: str = field(
        metadata={"pattern": NAME, "means": NAME_MEANS, "doc": "read first", "wrong": "the sign turns round"}
    )
    b: str = field(
        metadata={"pattern": NAME, "means": NAME_MEANS, "doc": "subtracted", "wrong": "the sign turns round"}
    )
    white_s: float = field(
        default=0.0,
        metadata={"unit": "s", "min": 0.0, "doc": "white noise of each reading, rms", "wrong": "u_s is untrue"},
    )
    latency_s: float = field(
        default=0.0,
        metadata={
            "unit": "s",
            "min": 0.0,
            "doc": "readings arrive so much later; their epoch stays",
            "wrong": "known too early",
        },
    )
    quantisation_s: float = field(
        default=0.0, metadata={"unit": "s", "min": 0.0, "doc": "step of the counter", "wrong": "readings too smooth"}
    )
    gap_fraction: float = field(
        default=0.0,
        metadata={"min": 0.0, "max": 1.0, "doc": "part of the readings that never come", "wrong": "too complete"},
    )
    u_s: float | None = field(
        default=None,
        metadata={
            "unit": "s",
            "min": 0.0,
            "doc": "one sigma that the laboratory declares; default: root of white^2 + quantisation^2/12",
            "wrong": "the bound is untrue",
        },
    )
    limit_s: float = field(
        default=0.0,
        metadata={
            "unit": "s",
            "min": 0.0,
            "doc": "declared limit on what no averaging removes",
            "wrong": "the bound is untrue",
        },
    )
    operator: str = field(
        default="",
        metadata={
            "doc": "who runs the far end; sources of one operator count as one voice",
            "wrong": "a liar counts twice",
        },
    )
    laboratory: str = field(
        default="",
        metadata={
            "doc": "name of the [[laboratory]] behind `UTC.<lab>`; default: the part after `UTC.`",
            "wrong": "no common wander",
        },
    )

    @property
    def name(self) -> str:
        """`a-b`, as events name a link."""
        return f"{self.a}-{self.b}"

    @property
    def declared_u_s(self) -> float:
        """One sigma of a reading as the laboratory declares it."""
        if self.u_s is not None:
            return self.u_s
        return math.sqrt(self.white_s * self.white_s + self.quantisation_s * self.quantisation_s / 12.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happens at `at_s` seconds after the first epoch to a clock, an outside source or a link `a-b`.

    `phase-step`: x + magnitude, taken back after `duration_s` where that is stated. `frequency-step`, `ramp`: x grows
    by magnitude a second, for `duration_s` or for ever; what was gained stays. `drift-step`: y grows by magnitude a
    day likewise. `freeze`: readings repeat the last value. `replay`: readings repeat those of magnitude seconds
    before. `remove`: no readings, until `return` (which may add a phase of magnitude) or for `duration_s`. `gap`: no
    readings for `duration_s`. On a clock the first four are its real state, hence part of the truth; on a link they
    are lies of that link.
    """

    at_s: float = field(
        metadata={"unit": "s", "min": 0.0, "doc": "seconds after the first epoch", "wrong": "happens at another time"}
    )
    what: What = field(metadata={"doc": "what happens", "wrong": "another fault is tested"})
    target: str = field(
        metadata={"doc": "a clock, an outside source, or a link as a-b", "wrong": "another thing breaks"}
    )
    magnitude: float | None = field(
        default=None, metadata={"doc": "size, in `unit`", "wrong": "too small or too large a fault"}
    )
    unit: str | None = field(
        default=None,
        metadata={"choices": ("s", "1", "1/d", "s/s"), "doc": "unit of magnitude", "wrong": "a size without meaning"},
    )
    duration_s: float | None = field(
        default=None,
        metadata={
            "unit": "s",
            "exclusive_min": 0.0,
            "doc": "how long; absent means for ever",
            "wrong": "ends too late",
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The room, common to all clocks, as deviations from its mean: a day's wave, a year's wave, and a slow random
    part.
    """

    temperature_diurnal_kelvin: float = field(
        default=0.3,
        metadata={
            "key": "temperature_diurnal_K",
            "unit": "K",
            "min": 0.0,
            "doc": "amplitude, highest at 15 h TAI",
            "wrong": "too calm a room",
        },
    )
    temperature_annual_kelvin: float = field(
        default=0.5,
        metadata={
            "key": "temperature_annual_K",
            "unit": "K",
            "min": 0.0,
            "doc": "amplitude, highest in late July",
            "wrong": "too calm a room",
        },
    )
    temperature_random_kelvin: float = field(
        default=0.1,
        metadata={
            "key": "temperature_random_K",
            "unit": "K",
            "min": 0.0,
            "doc": "rms of the random part",
            "wrong": "too calm a room",
        },
    )
    humidity_diurnal_percent: float = field(
        default=2.0,
        metadata={"unit": "%", "min": 0.0, "doc": "amplitude, highest at 15 h TAI", "wrong": "too calm a room"},
    )
    humidity_annual_percent: float = field(
        default=10.0,
        metadata={"unit": "%", "min": 0.0, "doc": "amplitude, highest in late July", "wrong": "too calm a room"},
    )
    humidity_random_percent: float = field(
        default=2.0, metadata={"unit": "%", "min": 0.0, "doc": "rms of the random part", "wrong": "too calm a room"}
    )
    random_days: float = field(
        default=0.5,
        metadata={
            "unit": "d",
            "min": 0.001,
            "doc": "correlation time of the random parts",
            "wrong": "too fast or slow",
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The host's oscillator in a live world, and how it is read against the pivot clock."""

    y_host: float = field(
        default=0.0,
        metadata={"unit": "1", "min": -1e-3, "max": 1e-3, "doc": "mean frequency offset", "wrong": "nothing to learn"},
    )
    wander_y: float = field(
        default=0.0,
        metadata={"unit": "1", "min": 0.0, "max": 1e-5, "doc": "rms of the wander of y", "wrong": "too good a host"},
    )
    wander_correlation_s: float = field(
        default=300.0,
        metadata={"unit": "s", "min": 1.0, "doc": "correlation time of that wander", "wrong": "too good a host"},
    )
    white_fm_1s: float = field(
        default=0.0,
        metadata={
            "unit": "1",
            "min": 0.0,
            "max": 1e-6,
            "doc": "ADEV at 1 s of its white FM",
            "wrong": "too good a host",
        },
    )
    white_s: float = field(
        default=5e-11,
        metadata={"unit": "s", "min": 0.0, "doc": "white noise of host minus pivot, rms", "wrong": "u_s is untrue"},
    )
    limit_s: float = field(
        default=0.0,
        metadata={"unit": "s", "min": 0.0, "doc": "declared limit of that reading", "wrong": "the bound is untrue"},
    )
    pivot: str | None = field(
        default=None,
        metadata={
            "doc": "the clock read against the host; default: the clock with most links",
            "wrong": "another pivot",
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A simulated laboratory: SCENARIO.toml as a tree."""

    run: Run = field(metadata={"doc": "length and interval", "wrong": "nothing to simulate"})
    clocks: tuple[SimulatedClock, ...] = field(
        metadata={"key": "clock", "min": 1, "doc": "the clocks", "wrong": "nothing to simulate"}
    )
    links: tuple[Link, ...] = field(
        default=(), metadata={"key": "link", "doc": "the comparisons", "wrong": "no readings"}
    )
    events: tuple[Event, ...] = field(
        default=(), metadata={"key": "event", "doc": "what happens", "wrong": "nothing happens"}
    )
    laboratories: tuple[Laboratory, ...] = field(
        default=(), metadata={"key": "laboratory", "doc": "other laboratories", "wrong": "they realise UTC perfectly"}
    )
    environment: Environment = field(
        default_factory=Environment, metadata={"doc": "the room", "wrong": "too calm a room"}
    )
    host: Host = field(default_factory=Host, metadata={"doc": "the host of a live world", "wrong": "nothing to learn"})

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Everything that a link may end at here: the clocks first, then outside sources in order of first use, then
        the host.
        """
        outside = dict.fromkeys(end for link in self.links for end in (link.a, link.b) if is_outside(end))
        return (*(clock.name for clock in self.clocks), *outside, HOST)

    @property
    def pivot(self) -> str:
        """The clock that the host is read against."""
        if self.host.pivot is not None:
            return self.host.pivot
        uses = Counter(end for link in self.links for end in (link.a, link.b))
        return max(self.clocks, key=lambda clock: uses[clock.name]).name

    @property
    def host_link(self) -> Link:
        """The reading of the host that a live world adds."""
        return Link(a=HOST, b=self.pivot, white_s=self.host.white_s, limit_s=self.host.limit_s)


def is_outside(name: str) -> bool:
    """Return True for a source that claims UTC: `UTC`, `UTCr`, `UTC.<lab>`."""
    return name in ("UTC", "UTCr") or name.startswith(OUTSIDE)


def laboratory_behind(scenario: Scenario, endpoint: str) -> Laboratory | None:
    """Return the laboratory whose UTC(k) `endpoint` shows; None for UTC itself and for one that is not described."""
    if not endpoint.startswith(OUTSIDE):
        return None
    named = {laboratory_of(link, end) for link in scenario.links for end in (link.a, link.b) if end == endpoint}
    return next((laboratory for laboratory in scenario.laboratories if laboratory.name in named), None)


def laboratory_of(link: Link, endpoint: str) -> str:
    """Return the name of the laboratory that a link from `UTC.<lab>` shows."""
    return link.laboratory or endpoint.removeprefix(OUTSIDE)
