"""LAB.toml as frozen dataclasses: every key of a laboratory's configuration, its unit, range, default and consequence.

It opens no file and binds no port: `lab_rules` judges keys against each other, `lab_check` judges them against this
machine. The grammar is the contract's ("Files", LAB.toml); the commented file that `init` writes and the JSON schema
are made from the metadata here.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from truechimer.clocks.clock import Clock
from truechimer.clocks.delay import Delay
from truechimer.daemon.lab.evidence_settings import EvidenceSettings
from truechimer.daemon.lab.listener_settings import Listener
from truechimer.daemon.lab.notify_settings import NotifySettings
from truechimer.daemon.lab.receiver_settings import ReceiverSettings
from truechimer.daemon.lab.settings import NAME_PATTERN, NAME_WORDS, says
from truechimer.daemon.lab.source_settings import DEFAULT_MAX_AGE_EPOCHS, Source, SourceKind
from truechimer.daemon.lab.utc_settings import UtcSettings


class Algorithm(StrEnum):
    """How clocks become one scale."""

    BANDS = "bands"
    AT1 = "at1"
    KALMAN = "kalman"
    ALGOS = "algos"


AFTER_THE_FACT = frozenset({Algorithm.ALGOS})
"""Algorithms that weigh a month with what the month itself showed: no laboratory in service can run them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabIdentity:
    """Who this laboratory is, and for how long its doors speak without it."""

    name: str = field(
        metadata=says(
            "name of the laboratory, the k of its UTC(k)",
            "records of two laboratories cannot be told apart",
            pattern=NAME_PATTERN,
            means=NAME_WORDS,
            example='"lab1"',
        )
    )
    seed: int | None = field(
        default=None,
        metadata=says(
            "seed of a simulated laboratory; drawn and written down where absent", "runs do not repeat", min=0
        ),
    )
    silence_s: float = field(
        default=600.0,
        metadata=says(
            "doors become unsynchronised so long after the laboratory process wrote last",
            "too short: a slow epoch silences the doors; too long: nobody notices that the laboratory is dead",
            unit="s",
            exclusive_min=0.0,
            max=604800.0,
        ),
    )
    host_clock_limit_s: float = field(
        default=0.001,
        metadata=says(
            "how far this machine's own clock may be off UTC as stated here before that is said",
            "too small: ordinary discipline is called a fault; too large: programs here stamp wrongly unheard",
            unit="s",
            exclusive_min=0.0,
            max=1e9,
        ),
    )
    leap_seconds_file: str | None = field(
        default=None,
        metadata=says(
            "a newer leap-seconds.list, relative to this file; the built-in table where absent",
            "after the table's expiry nothing starts, since UTC can no longer be told from TAI",
            example='"leap-seconds.list"',
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleSettings:
    """How the clocks become one time scale."""

    algorithm: Algorithm = field(
        default=Algorithm.AT1,
        metadata=says(
            "the ensemble algorithm; algos exists after the fact only (`truechimer scale replay`)",
            "another scale; changed in a laboratory with a past, every clock keeps its phase and rate",
        ),
    )
    interval_s: float = field(
        default=10.0,
        metadata=says(
            "time between two epochs of the scale",
            "too short: reading noise is all there is; too long: steps of clocks are seen late",
            unit="s",
            min=0.01,
            max=86400.0,
        ),
    )
    tau_weight_s: float = field(
        default=86400.0,
        metadata=says(
            "of at1: clocks are weighed by how well they are predicted over this time",
            "too short: quiet clocks that wander get the weight; too long: weights follow a change late",
            unit="s",
            exclusive_min=0.0,
            max=8640000.0,
        ),
    )
    weight_cap_n: float = field(
        default=4.0,
        metadata=says(
            "of at1: no clock has more weight than this number / N of N clocks",
            "too large: one clock is the scale, and its faults are the scale's; 1: all clocks weigh the same",
            unit="1",
            min=1.0,
            max=1000.0,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SteerSettings:
    """How UTC(k) follows UTC; how far it may be moved is not said here but in the signed envelope."""

    time_constant_s: float | None = field(
        default=None,
        metadata=says(
            "time in which an offset from UTC is steered out (default: chosen by the best kind of clock)",
            "too short: noise of the links goes into UTC(k); too long: UTC(k) stays off",
            unit="s",
            min=1.0,
            max=31536000.0,
        ),
    )
    decide_every_s: float | None = field(
        default=None,
        metadata=says(
            "time between two steering decisions (default: chosen by the best kind of clock)",
            "too short: many small orders for nothing; too long: UTC(k) drifts between them",
            unit="s",
            exclusive_min=0.0,
            max=8640000.0,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """Who may order what."""

    folder: str = field(
        default="policy",
        metadata=says(
            "folder of the policy, its keys and the signed envelope, relative to this file", "nothing may be steered"
        ),
    )
    insecure_software_keys: bool = field(
        default=False,
        metadata=says(
            "true: a key kept in a file may sign orders",
            "whoever can read that file can order steers in your name; hardware keys cannot be copied",
        ),
    )
    refuse_changes_without_order: bool = field(
        default=False,
        metadata=says(
            "true: no start after an edit of delays, clocks, doors, scale, steering or leap table that no order made",
            "such an edit is only recorded and said aloud; whoever can write this file changes the time by a restart",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """Who may reach the service; no key stands here yet: the control socket has mode 0600, the doors answer anyone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabFile:
    """The configuration of a laboratory."""

    lab: LabIdentity = field(metadata=says("who this laboratory is", "nothing starts"))
    clocks: tuple[Clock, ...] = field(
        default=(), metadata={"key": "clock", "doc": "the clocks; a host is always there"}
    )
    delays: tuple[Delay, ...] = field(
        default=(), metadata={"key": "delay", "doc": "delays from the clocks to the counter, added back to readings"}
    )
    sources: tuple[Source, ...] = field(default=(), metadata={"key": "source", "doc": "where readings come from"})
    receivers: tuple[ReceiverSettings, ...] = field(
        default=(), metadata={"key": "receiver", "doc": "satellite receivers whose own word judges their links"}
    )
    scale: ScaleSettings = field(default_factory=ScaleSettings)
    steer: SteerSettings = field(default_factory=SteerSettings)
    utc: UtcSettings = field(
        default_factory=UtcSettings, metadata={"doc": "what is published of UTC - UTC(k), days later"}
    )
    listeners: tuple[Listener, ...] = field(default=(), metadata={"key": "listener", "doc": "the doors"})
    evidence: EvidenceSettings = field(default_factory=EvidenceSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    access: AccessSettings = field(default_factory=AccessSettings)
    notify: NotifySettings = field(
        default_factory=NotifySettings, metadata={"doc": "how alerts reach people, beside the records"}
    )

    @property
    def is_simulated(self) -> bool:
        """True where any source is simulated: such a laboratory never claims UTC."""
        return any(source.kind is SourceKind.SIMULATED for source in self.sources)

    def max_age_s(self, source: Source) -> float:
        """Return the age beyond which this source's newest epoch no longer makes doors synchronised, seconds."""
        return DEFAULT_MAX_AGE_EPOCHS * self.scale.interval_s if source.max_age_s is None else source.max_age_s
