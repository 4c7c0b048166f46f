"""The tables `[[source]]` of LAB.toml: where readings come from.

It opens no file and asks nobody; which keys a kind needs is judged by `lab_rules`.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from truechimer.daemon.lab.host_port import HostPort, split_address
from truechimer.daemon.lab.settings import NAME_PATTERN, NAME_WORDS, says

DEFAULT_POLL_S = 16.0
DEFAULT_CHRONY_POLL_S = 1.0
DEFAULT_WATCHDOG_POLL_S = 640.0
DEFAULT_CHRONY_SOCKET = "/run/chrony/chronyd.sock"
DEFAULT_OWN_REFID = "TRUE"
DEFAULT_MAX_AGE_EPOCHS = 10
"""A growing record is too old for doors when its newest epoch is more than this many scale intervals in the past."""


class SourceKind(StrEnum):
    """Where readings come from."""

    SIMULATED = "simulated"
    NTP = "ntp"
    NTS = "nts"
    CHRONY = "chrony"
    READINGS = "readings"
    LINK = "link"
    WATCHDOG = "watchdog"


NOT_BUILT_SOURCES = frozenset({SourceKind.NTS})
"""Part of the grammar, refused with one sentence until they do what they say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source of readings; which keys it needs depends on its kind."""

    name: str = field(
        metadata=says(
            "name of the source; one that claims UTC is the link UTC.<name>",
            "alarms name the wrong source",
            pattern=NAME_PATTERN,
            means=NAME_WORDS,
            example='"p1"',
        )
    )
    kind: SourceKind = field(
        metadata=says("where its readings come from", "its keys are not understood", example='"ntp"')
    )
    address: str | None = field(
        default=None,
        metadata=says("of an NTP server, HOST:PORT", "the server is never asked", example='"ntp1.example.net:123"'),
    )
    operator: str | None = field(
        default=None,
        metadata=says(
            "whose hand could move this source; sources of one operator have one vote "
            "(default: the host of the address; for a loopback address, host and port; "
            "of chronyd's servers, each its own)",
            "one operator with many servers outvotes the honest ones",
            example='"operator-a"',
        ),
    )
    poll_s: float | None = field(
        default=None,
        metadata=says(
            f"time between two questions to an NTP server (default {DEFAULT_POLL_S:g}), "
            f"or between two looks at chronyd on this machine (default {DEFAULT_CHRONY_POLL_S:g}), "
            f"or between two looks of a watchdog (default {DEFAULT_WATCHDOG_POLL_S:g})",
            "too short: public servers refuse; too long: the host's rate is learned slowly and the bound grows",
            unit="s",
            min=0.1,
            max=131072.0,
        ),
    )
    key: int | None = field(
        default=None,
        metadata=says(
            "of an NTP server, number of the symmetric key that it shares with us: questions are sealed with it, and "
            "only answers that are count",
            "whoever stands on the path can answer in the server's name",
            min=1,
            max=4294967295,
        ),
    )
    keys: str | None = field(
        default=None,
        metadata=says(
            "file that holds the key (`ID TYPE KEY` a line, as chronyd's), relative to this file, mode 0600",
            "the server is never asked",
            example='"ntp.keys"',
        ),
    )
    logdir: str | None = field(
        default=None,
        metadata=says(
            "folder of chronyd's logs, instead of its socket; chrony.conf must say `log measurements tracking` "
            "(and `refclocks` where it has them)",
            "no readings",
            example='"/var/log/chrony"',
        ),
    )
    socket: str | None = field(
        default=None,
        metadata=says(
            f'chronyd\'s command socket (default "{DEFAULT_CHRONY_SOCKET}")',
            "no readings",
            example=f'"{DEFAULT_CHRONY_SOCKET}"',
        ),
    )
    own_refid: str | None = field(
        default=None,
        metadata=says(
            "refid of the refclock of chronyd that this laboratory feeds (a chrony-sock listener): it is left out "
            f'(default "{DEFAULT_OWN_REFID}")',
            "the laboratory follows itself",
            pattern="[A-Za-z0-9]{1,4}",
            means="1 to 4 letters and digits",
        ),
    )
    path: str | None = field(
        default=None,
        metadata=says(
            "a readings CSV that grows, relative to this file; of a watchdog, a file of servers, one HOST:PORT a line",
            "no readings",
            example='"readings.csv"',
        ),
    )
    max_age_s: float | None = field(
        default=None,
        metadata=says(
            "doors are unsynchronised where the newest epoch is older "
            f"(default {DEFAULT_MAX_AGE_EPOCHS} x [scale] interval_s)",
            "too long: a record that stopped is served as if it were fresh",
            unit="s",
            exclusive_min=0.0,
        ),
    )
    to: str | None = field(
        default=None,
        metadata=says(
            "what a link leads to: UTC, UTCr or UTC.<lab>", "the scale is not compared with UTC", example='"UTC.lab2"'
        ),
    )
    scenario: str | None = field(
        default=None,
        metadata=says("a SCENARIO.toml, relative to this file", "nothing to simulate", example='"scenario.toml"'),
    )
    u_s: float | None = field(
        default=None,
        metadata=says(
            "uncertainty of a link's calibration, or of chronyd's servers, one sigma, besides each reading's own",
            "the bound is too small",
            unit="s",
            min=0.0,
        ),
    )
    limit_s: float | None = field(
        default=None,
        metadata=says(
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
