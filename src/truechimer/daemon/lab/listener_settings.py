"""The tables `[[listener]]` of LAB.toml: the doors.

It binds no port (`lab_check` asks whether it can be bound, `doors` opens it).
"""

from dataclasses import dataclass, field, fields
from enum import StrEnum

from truechimer.daemon.door.door_rules import DEFAULT_BURST, DEFAULT_RATE_PER_S, Denied, DoorRules
from truechimer.daemon.lab.host_port import is_loopback
from truechimer.daemon.lab.settings import says
from truechimer.quorum.listener_policy import MOST_NETWORKS
from truechimer.serve.ntp.smear import Smear


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


class Stamps(StrEnum):
    """How many answers share a transmit stamp."""

    EACH = "each"
    PAIRS = "pairs"


NOT_BUILT_PROTOCOLS = frozenset({Protocol.NTS, Protocol.ROUGHTIME})
"""Part of the grammar, refused with one sentence until they do what they say."""

DEFAULT_PORTS = {Protocol.NTP: 11123, Protocol.NTS: 11124, Protocol.ROUGHTIME: 11125, Protocol.CONSOLE: 11126}
TRANSPORTS = {
    Protocol.NTP: frozenset({"udp"}),
    Protocol.NTS: frozenset({"tcp"}),
    Protocol.ROUGHTIME: frozenset({"udp", "tcp"}),
    Protocol.CONSOLE: frozenset({"tcp"}),
    Protocol.CHRONY_SOCK: frozenset[str](),
}


RULE_KEYS = tuple(one.name for one in fields(DoorRules))
"""Keys that only an NTP door has a use for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One door."""

    protocol: Protocol = field(metadata=says("what the door speaks", "clients get no answer", example='"ntp"'))
    address: str = field(
        default="127.0.0.1",
        metadata=says(
            "IP address of this machine to answer on", "clients elsewhere get no answer", example='"192.0.2.1"'
        ),
    )
    port: int | None = field(
        default=None,
        metadata=says(
            "port (default: ntp 11123, nts 11124, roughtime 11125, console 11126)",
            "clients get no answer",
            min=1,
            max=65535,
        ),
    )
    policy: str = field(
        default="open",
        metadata=says(
            "who is answered; open: anyone who reaches the door", "others than meant are answered", choices=("open",)
        ),
    )
    bound_limit_s: float = field(
        default=0.001,
        metadata=says(
            "the door is unsynchronised while the bound is larger",
            "too small: the door is silent though the time is usable; too large: clients follow a time known badly",
            unit="s",
            exclusive_min=0.0,
            max=10.0,
        ),
    )
    allow: tuple[str, ...] = field(
        default=(),
        metadata=says(
            "of an ntp door, networks whose clients are answered (default: everybody); the most specific network of "
            "`allow` and `deny` decides",
            "others than meant are answered, or clients get no answer",
            example='["192.0.2.0/24"]',
            max=MOST_NETWORKS,
        ),
    )
    deny: tuple[str, ...] = field(
        default=(),
        metadata=says(
            "of an ntp door, networks whose clients are not answered",
            "others than meant are answered, or clients get no answer",
            example='["198.51.100.0/24"]',
            max=MOST_NETWORKS,
        ),
    )
    denied: Denied = field(
        default=Denied.SILENCE,
        metadata=says(
            "of an ntp door, what a client hears that is not answered: silence, or kiss (DENY, RFC 5905 7.4)",
            "kiss: who scans sees that somebody is here; silence: clients by mistake go on asking",
        ),
    )
    rate_per_s: float = field(
        default=DEFAULT_RATE_PER_S,
        metadata=says(
            "of an ntp door, answers a second that one source (an IPv4 address, an IPv6 /64) gets in the long run; its "
            "network (/24, /48) gets 16 times as many; 0: no limit",
            "too small: clients behind one address translator go without; too large: one source eats the door",
            unit="1/s",
            min=0.0,
            max=1e6,
        ),
    )
    rate_burst: int = field(
        default=DEFAULT_BURST,
        metadata=says(
            "of an ntp door, answers that one source gets at once",
            "too small: a client that starts with a burst is told RATE",
            min=1,
            max=1_000_000,
        ),
    )
    rate_loopback: bool = field(
        default=False,
        metadata=says(
            "of an ntp door, true: what this machine itself asks over loopback is limited too",
            "true: a busy proxy or monitor on this machine goes without",
        ),
    )
    keys: str | None = field(
        default=None,
        metadata=says(
            "of an ntp door, file of symmetric keys (`ID TYPE KEY` a line, as chronyd's), relative to this file, mode "
            "0600; looked at again while the door serves",
            "clients that ask for authenticated answers get none",
            example='"ntp.keys"',
        ),
    )
    interleaved: bool = field(
        default=True,
        metadata=says(
            "of an ntp door, whether clients may ask in interleaved mode (RFC 9769)",
            "false: clients learn no better when an answer left",
        ),
    )
    ntpv5: bool = field(
        default=False,
        metadata=says(
            "of an ntp door, true: version 5 is spoken too, as draft-ietf-ntp-ntpv5-09 has it",
            "true: what a draft says may change",
        ),
    )
    workers: int = field(
        default=1,
        metadata=says(
            "of an ntp door, processes that serve it in machine code, one for each core that is to serve; 0: the door "
            "serves by itself",
            "too few: requests are lost under load; too many: other programs of this machine wait",
            min=0,
            max=64,
        ),
    )
    stamps: Stamps = field(
        default=Stamps.EACH,
        metadata=says(
            "of an ntp door, transmit stamps; each: one for each answer; pairs: under load one for two neighbours, "
            "which costs a microsecond of exactness and saves a hundredth of the processor",
            "pairs: clients of a busy door see up to 3 us more between the stamp and the answer",
        ),
    )
    accelerator: bool = field(
        default=False,
        metadata=says(
            "of an ntp door, true: plain requests are answered below the sockets where the kernel allows (root, Linux "
            "6.1 or newer); `truechimer diag` says whether it does",
            "true: what the host's own packet filter refuses may be answered; write `deny` here instead",
        ),
    )
    hardware: str | None = field(
        default=None,
        metadata=says(
            "of an ntp door on one address, the interface that has it, whose network card is to stamp what comes and "
            "goes (root or CAP_NET_ADMIN; `truechimer diag` says which can)",
            "an interface that cannot: the kernel stamps, and the door says so once",
            example='"eth0"',
        ),
    )
    smear: Smear = field(
        default=Smear.NONE,
        metadata=says(
            "of an ntp door, how it goes over a leap second: none (the count repeats a second and the leap indicator "
            "warns), or linear-24h (dealt out from noon to noon, no warning; what it then gives is not UTC)",
            "clients of smearing and other doors differ by up to half a second for a day",
        ),
    )
    metrics: MetricNames | None = field(
        default=None,
        metadata=says(
            'of a console, what /metrics serves (default "all"); own: without the names of chrony_exporter',
            "dashboards show no data, or the time of this laboratory as if it were a chronyd's",
        ),
    )
    path: str | None = field(
        default=None,
        metadata=says(
            "of a chrony-sock door, the socket that chronyd makes for its `refclock SOCK`, relative to this file",
            "chronyd hears nothing",
            example='"/run/chrony/truechimer.sock"',
        ),
    )
    period_s: float = field(
        default=1.0,
        metadata=says(
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
    def rules(self) -> DoorRules:
        """The rules of an NTP door; `keys` as it stands in the file."""
        return DoorRules(
            **{name: getattr(self, name) for name in RULE_KEYS}
            | {"denied": self.denied.value, "smear": self.smear.value}
        )

    @property
    def is_loopback(self) -> bool:
        """True for a door that only this machine can reach."""
        return is_loopback(self.address)

    @property
    def serves_both_families(self) -> bool:
        """True for an NTP door at `::`: it serves IPv4 too, as mapped addresses."""
        return self.protocol is Protocol.NTP and self.address == "::"

    @property
    def where(self) -> str:
        """The door's place in words."""
        if self.protocol is Protocol.CHRONY_SOCK:
            return f"to {self.path}"
        return f"on {self.address} port {self.port_number}"
