"""LAB.toml as frozen dataclasses: every key of a laboratory's configuration, its unit, range, default and consequence.

It opens no file and binds no port: `lab_rules` judges keys against each other, `lab_check` judges them against this
machine. The grammar is the contract's ("Files", LAB.toml); the commented file that `init` writes and the JSON schema
are made from the metadata here.
"""

import ipaddress
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from truechimer.clocks.clock import Clock
from truechimer.clocks.delay import Delay
from truechimer.daemon.evidence_settings import EvidenceSettings
from truechimer.daemon.notify_settings import NotifySettings

NAME_PATTERN = "[A-Za-z0-9_.-]+"
NAME_WORDS = "letters, digits and _ . -"
DEFAULT_POLL_S = 16.0
DEFAULT_CHRONY_POLL_S = 1.0
DEFAULT_CHRONY_SOCKET = "/run/chrony/chronyd.sock"
DEFAULT_OWN_REFID = "TRUE"
DEFAULT_MAX_AGE_EPOCHS = 10
"""A growing record is too old for doors when its newest epoch is more than this many scale intervals in the past."""

_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")


def _says(doc: str, wrong: str, *, unit: str = "", **more: Any) -> dict[str, Any]:
    """Return the metadata of a field."""
    return {"doc": doc, "wrong": wrong, **({"unit": unit} if unit else {}), **more}


class SourceKind(StrEnum):
    """Where readings come from."""

    SIMULATED = "simulated"
    NTP = "ntp"
    NTS = "nts"
    CHRONY = "chrony"
    READINGS = "readings"
    LINK = "link"


class Protocol(StrEnum):
    """What a door speaks."""

    NTP = "ntp"
    NTS = "nts"
    ROUGHTIME = "roughtime"
    CONSOLE = "console"
    CHRONY_SOCK = "chrony-sock"


class MetricNames(StrEnum):
    """Which metrics a console serves."""

    ALL = "all"
    OWN = "own"
    OFF = "off"


class Algorithm(StrEnum):
    """How clocks become one scale."""

    BANDS = "bands"
    AT1 = "at1"
    KALMAN = "kalman"
    ALGOS = "algos"


NOT_BUILT_SOURCES = frozenset({SourceKind.NTS})
NOT_BUILT_PROTOCOLS = frozenset({Protocol.NTS, Protocol.ROUGHTIME})
"""Part of the grammar, refused with one sentence until they do what they say."""

AFTER_THE_FACT = frozenset({Algorithm.ALGOS})
"""Algorithms that weigh a month with what the month itself showed: no laboratory in service can run them."""

DEFAULT_PORTS = {Protocol.NTP: 11123, Protocol.NTS: 11124, Protocol.ROUGHTIME: 11125, Protocol.CONSOLE: 11126}
TRANSPORTS = {
    Protocol.NTP: frozenset({"udp"}),
    Protocol.NTS: frozenset({"tcp"}),
    Protocol.ROUGHTIME: frozenset({"udp", "tcp"}),
    Protocol.CONSOLE: frozenset({"tcp"}),
    Protocol.CHRONY_SOCK: frozenset[str](),
}


@dataclass(frozen=True, slots=True)
class HostPort:
    """A server's place: `host` is a name or an IP address without brackets."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """True for addresses that never leave this machine."""
        return is_loopback(self.host)


def split_address(text: str) -> HostPort | None:
    """Return the parts of `HOST:PORT` (`[v6]:PORT` for IPv6), or None where it is not that."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or len(port) > 5 or not 1 <= int(port) <= 65535:
        return None
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    try:
        if (ipaddress.ip_address(host).version == 6) is not bracketed:
            return None
    except ValueError:
        looks_numeric = host.replace(".", "").isdigit()
        if bracketed or looks_numeric or len(host) > 253 or not _HOST.fullmatch(host):
            return None
    return HostPort(host, int(port))


def is_loopback(host: str) -> bool:
    """Return True if this host name or address never leaves the machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabIdentity:
    """Who this laboratory is, and for how long its doors speak without it."""

    name: str = field(
        metadata=_says(
            "name of the laboratory, the k of its UTC(k)",
            "records of two laboratories cannot be told apart",
            pattern=NAME_PATTERN,
            means=NAME_WORDS,
            example='"lab1"',
        )
    )
    seed: int | None = field(
        default=None,
        metadata=_says(
            "seed of a simulated laboratory; drawn and written down where absent", "runs do not repeat", min=0
        ),
    )
    silence_s: float = field(
        default=600.0,
        metadata=_says(
            "doors become unsynchronised so long after the laboratory process wrote last",
            "too short: a slow epoch silences the doors; too long: nobody notices that the laboratory is dead",
            unit="s",
            exclusive_min=0.0,
            max=604800.0,
        ),
    )
    host_clock_limit_s: float = field(
        default=0.001,
        metadata=_says(
            "how far this machine's own clock may be off UTC as stated here before that is said",
            "too small: ordinary discipline is called a fault; too large: programs here stamp wrongly unheard",
            unit="s",
            exclusive_min=0.0,
            max=1e9,
        ),
    )
    leap_seconds_file: str | None = field(
        default=None,
        metadata=_says(
            "a newer leap-seconds.list, relative to this file; the built-in table where absent",
            "after the table's expiry nothing starts, since UTC can no longer be told from TAI",
            example='"leap-seconds.list"',
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source of readings; which keys it needs depends on its kind."""

    name: str = field(
        metadata=_says(
            "name of the source; one that claims UTC is the link UTC.<name>",
            "alarms name the wrong source",
            pattern=NAME_PATTERN,
            means=NAME_WORDS,
            example='"p1"',
        )
    )
    kind: SourceKind = field(
        metadata=_says("where its readings come from", "its keys are not understood", example='"ntp"')
    )
    address: str | None = field(
        default=None,
        metadata=_says("of an NTP server, HOST:PORT", "the server is never asked", example='"ntp1.example.net:123"'),
    )
    operator: str | None = field(
        default=None,
        metadata=_says(
            "whose hand could move this source; sources of one operator have one vote "
            "(default: the host of the address; for a loopback address, host and port; "
            "of chronyd's servers, each its own)",
            "one operator with many servers outvotes the honest ones",
            example='"operator-a"',
        ),
    )
    poll_s: float | None = field(
        default=None,
        metadata=_says(
            f"time between two questions to an NTP server (default {DEFAULT_POLL_S:g}), "
            f"or between two looks at chronyd on this machine (default {DEFAULT_CHRONY_POLL_S:g})",
            "too short: public servers refuse; too long: the host's rate is learned slowly and the bound grows",
            unit="s",
            min=0.1,
            max=131072.0,
        ),
    )
    logdir: str | None = field(
        default=None,
        metadata=_says(
            "folder of chronyd's logs, instead of its socket; chrony.conf must say `log measurements tracking` "
            "(and `refclocks` where it has them)",
            "no readings",
            example='"/var/log/chrony"',
        ),
    )
    socket: str | None = field(
        default=None,
        metadata=_says(
            f'chronyd\'s command socket (default "{DEFAULT_CHRONY_SOCKET}")',
            "no readings",
            example=f'"{DEFAULT_CHRONY_SOCKET}"',
        ),
    )
    own_refid: str | None = field(
        default=None,
        metadata=_says(
            "refid of the refclock of chronyd that this laboratory feeds (a chrony-sock listener): it is left out "
            f'(default "{DEFAULT_OWN_REFID}")',
            "the laboratory follows itself",
            pattern="[A-Za-z0-9]{1,4}",
            means="1 to 4 letters and digits",
        ),
    )
    path: str | None = field(
        default=None,
        metadata=_says("a readings CSV that grows, relative to this file", "no readings", example='"readings.csv"'),
    )
    max_age_s: float | None = field(
        default=None,
        metadata=_says(
            "doors are unsynchronised where the newest epoch is older "
            f"(default {DEFAULT_MAX_AGE_EPOCHS} x [scale] interval_s)",
            "too long: a record that stopped is served as if it were fresh",
            unit="s",
            exclusive_min=0.0,
        ),
    )
    to: str | None = field(
        default=None,
        metadata=_says(
            "what a link leads to: UTC, UTCr or UTC.<lab>", "the scale is not compared with UTC", example='"UTC.lab2"'
        ),
    )
    scenario: str | None = field(
        default=None,
        metadata=_says("a SCENARIO.toml, relative to this file", "nothing to simulate", example='"scenario.toml"'),
    )
    u_s: float | None = field(
        default=None,
        metadata=_says(
            "uncertainty of a link's calibration, or of chronyd's servers, one sigma, besides each reading's own",
            "the bound is too small",
            unit="s",
            min=0.0,
        ),
    )
    limit_s: float | None = field(
        default=None,
        metadata=_says(
            "limit of what averaging a link never removes (uncalibrated delay); added whole to the bound",
            "the bound does not contain the truth",
            unit="s",
            min=0.0,
        ),
    )

    @property
    def place(self) -> HostPort | None:
        """The address in parts; None where the source has none or it cannot be read."""
        return None if self.address is None else split_address(self.address)

    @property
    def operator_name(self) -> str:
        """Who votes with it: `operator`, else the host of the address (loopback: host and port), else its name."""
        if self.operator is not None:
            return self.operator
        place = self.place
        if place is None:
            return self.name
        return f"{place.host}:{place.port}" if place.is_loopback else place.host

    @property
    def poll_interval_s(self) -> float:
        """`poll_s` or its default, seconds."""
        return DEFAULT_POLL_S if self.poll_s is None else self.poll_s


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleSettings:
    """How the clocks become one time scale."""

    algorithm: Algorithm = field(
        default=Algorithm.AT1,
        metadata=_says(
            "the ensemble algorithm; algos exists after the fact only (`truechimer scale replay`)",
            "another scale; changed in a laboratory with a past, every clock keeps its phase and rate",
        ),
    )
    interval_s: float = field(
        default=10.0,
        metadata=_says(
            "time between two epochs of the scale",
            "too short: reading noise is all there is; too long: steps of clocks are seen late",
            unit="s",
            min=0.01,
            max=86400.0,
        ),
    )
    tau_weight_s: float = field(
        default=86400.0,
        metadata=_says(
            "of at1: clocks are weighed by how well they are predicted over this time",
            "too short: quiet clocks that wander get the weight; too long: weights follow a change late",
            unit="s",
            exclusive_min=0.0,
            max=8640000.0,
        ),
    )
    weight_cap_n: float = field(
        default=4.0,
        metadata=_says(
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
        metadata=_says(
            "time in which an offset from UTC is steered out (default: chosen by the best kind of clock)",
            "too short: noise of the links goes into UTC(k); too long: UTC(k) stays off",
            unit="s",
            min=1.0,
            max=31536000.0,
        ),
    )
    decide_every_s: float | None = field(
        default=None,
        metadata=_says(
            "time between two steering decisions (default: chosen by the best kind of clock)",
            "too short: many small orders for nothing; too long: UTC(k) drifts between them",
            unit="s",
            exclusive_min=0.0,
            max=8640000.0,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One door."""

    protocol: Protocol = field(metadata=_says("what the door speaks", "clients get no answer", example='"ntp"'))
    address: str = field(
        default="127.0.0.1",
        metadata=_says(
            "IP address of this machine to answer on", "clients elsewhere get no answer", example='"192.0.2.1"'
        ),
    )
    port: int | None = field(
        default=None,
        metadata=_says(
            "port (default: ntp 11123, nts 11124, roughtime 11125, console 11126)",
            "clients get no answer",
            min=1,
            max=65535,
        ),
    )
    policy: str = field(
        default="open",
        metadata=_says(
            "who is answered; open: anyone who reaches the door", "others than meant are answered", choices=("open",)
        ),
    )
    bound_limit_s: float = field(
        default=0.001,
        metadata=_says(
            "the door is unsynchronised while the bound is larger",
            "too small: the door is silent though the time is usable; too large: clients follow a time known badly",
            unit="s",
            exclusive_min=0.0,
            max=10.0,
        ),
    )
    metrics: MetricNames | None = field(
        default=None,
        metadata=_says(
            'of a console, what /metrics serves (default "all"); own: without the names of chrony_exporter',
            "dashboards show no data, or the time of this laboratory as if it were a chronyd's",
        ),
    )
    path: str | None = field(
        default=None,
        metadata=_says(
            "of a chrony-sock door, the socket that chronyd makes for its `refclock SOCK`, relative to this file",
            "chronyd hears nothing",
            example='"/run/chrony/truechimer.sock"',
        ),
    )
    period_s: float = field(
        default=1.0,
        metadata=_says(
            "of a chrony-sock door, time between two samples",
            "longer than chronyd's own poll of the refclock: it finds nothing to read",
            unit="s",
            min=0.05,
            max=60.0,
        ),
    )

    @property
    def port_number(self) -> int:
        """`port` or the protocol's default."""
        return DEFAULT_PORTS.get(self.protocol, 0) if self.port is None else self.port

    @property
    def is_loopback(self) -> bool:
        """True for a door that only this machine can reach."""
        return is_loopback(self.address)

    @property
    def where(self) -> str:
        """The door's place in words."""
        if self.protocol is Protocol.CHRONY_SOCK:
            return f"to {self.path}"
        return f"on {self.address} port {self.port_number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """Who may order what."""

    folder: str = field(
        default="policy",
        metadata=_says(
            "folder of the policy, its keys and the signed envelope, relative to this file", "nothing may be steered"
        ),
    )
    insecure_software_keys: bool = field(
        default=False,
        metadata=_says(
            "true: a key kept in a file may sign orders",
            "whoever can read that file can order steers in your name; hardware keys cannot be copied",
        ),
    )
    refuse_changes_without_order: bool = field(
        default=False,
        metadata=_says(
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

    lab: LabIdentity = field(metadata=_says("who this laboratory is", "nothing starts"))
    clocks: tuple[Clock, ...] = field(
        default=(), metadata={"key": "clock", "doc": "the clocks; a host is always there"}
    )
    delays: tuple[Delay, ...] = field(
        default=(), metadata={"key": "delay", "doc": "delays from the clocks to the counter, added back to readings"}
    )
    sources: tuple[Source, ...] = field(default=(), metadata={"key": "source", "doc": "where readings come from"})
    scale: ScaleSettings = field(default_factory=ScaleSettings)
    steer: SteerSettings = field(default_factory=SteerSettings)
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
