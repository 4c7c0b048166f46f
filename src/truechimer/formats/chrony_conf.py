"""chrony.conf as far as it names NTP servers: which sources a chronyd asks, which further files it reads, where it can
be asked itself, and the names of all that is left out.

It opens no file and applies no directive. Source: chrony.conf(5) of chrony 4.3: directives and options without regard
to case, comments begin a line with one of ! ; # %, `server`, `pool`, `peer`, `include`, `confdir`, `sourcedir`. Names
of directives that only newer versions know are in the list, too.
"""

from dataclasses import dataclass
from typing import Literal

from truechimer.formats.finding import Finding, Severity

SourceDirective = Literal["server", "pool", "peer"]
FolderDirective = Literal["include", "confdir", "sourcedir"]
SOURCE_DIRECTIVES: dict[str, SourceDirective] = {"server": "server", "pool": "pool", "peer": "peer"}
FOLDER_DIRECTIVES: dict[str, FolderDirective] = {"include": "include", "confdir": "confdir", "sourcedir": "sourcedir"}
NTP_PORT = 123
DEFAULT_MINPOLL = 6
_COMMENT = ("!", ";", "#", "%")
_WITH_ONE_VALUE = frozenset(
    {
        "port", "minpoll", "maxpoll", "key", "maxdelay", "maxdelayratio", "maxdelaydevratio", "maxdelayquant",
        "mindelay", "asymmetry", "offset", "minsamples", "maxsamples", "filter", "presend", "minstratum", "version",
        "polltarget", "ntsport", "certset", "maxsources", "extfield", "maxunreach",
    }
)  # fmt: skip
"""Options of a source line that are followed by a value (chrony.conf(5), "Time sources")."""

_READ_OPTIONS = frozenset({"port", "minpoll", "maxpoll", "nts", "key", "noselect", "iburst"})
"""Options that are read here or mean nothing to whoever asks at a fixed interval, in a burst at first."""

OTHER_DIRECTIVES = frozenset(
    {
        "acquisitionport", "allow", "authselectmode", "bindacqaddress", "bindacqdevice", "bindaddress",
        "bindcmdaddress", "bindcmddevice", "binddevice", "broadcast", "clientloglimit", "clockprecision", "cmdallow",
        "cmddeny", "cmdport", "cmdratelimit", "combinelimit", "commandkey", "corrtimeratio", "deny", "driftfile",
        "dscp", "dumpdir", "dumponexit", "fallbackdrift", "generatecommandkey", "hwclockfile", "hwtimestamp",
        "hwtstimeout", "initstepslew", "keyfile", "leapseclist", "leapsecmode", "leapsectz", "linux_freq_scale",
        "linux_hz", "local", "lock_all", "log", "logbanner", "logchange", "logdir", "mailonchange", "makestep",
        "manual", "maxchange", "maxclockerror", "maxdistance", "maxdrift", "maxjitter", "maxntsconnections",
        "maxsamples", "maxslewrate", "maxtxbuffers", "maxupdateskew", "minsamples", "minsources", "nocerttimecheck",
        "noclientlog", "nosystemcert", "ntpsigndsocket", "ntsaeads", "ntscachedir", "ntsdumpdir", "ntsntpserver",
        "ntsport", "ntsprocesses", "ntsratelimit", "ntsrefresh", "ntsrotate", "ntsservercert", "ntsserverkey",
        "ntstrustedcerts", "opencommands", "pidfile", "port", "ptpdomain", "ptpport", "ratelimit", "refclock",
        "refresh", "reselectdist", "rtcautotrim", "rtcdevice", "rtcfile", "rtconutc", "rtcsync", "sched_priority",
        "smoothtime", "stratumweight", "tempcomp", "user",
    }
)  # fmt: skip
"""Directives that are no source and no further file."""


@dataclass(frozen=True, slots=True)
class ChronySource:
    """One `server`, `pool` or `peer` line; `minpoll` is log2 of seconds; `line` counts from 1.

    `nts` and `has_key`: chronyd authenticates it. `is_not_selected`: option noselect, chronyd watches it without ever
    following it. `left_out`: the other options, each with its value, in the line's order.
    """

    directive: SourceDirective
    host: str
    port: int
    nts: bool
    minpoll: int
    line: int
    has_key: bool = False
    is_not_selected: bool = False
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChronyFolder:
    """A place with more lines: files of a glob pattern (`include`), *.conf (`confdir`) or *.sources (`sourcedir`).

    Of files with one name in several `paths`, the first folder's counts (chrony.conf(5), confdir).
    """

    directive: FolderDirective
    paths: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class ChronyDirective:
    """A line that is no source and no further file; `is_known` tells whether chrony.conf(5) has it."""

    name: str
    words: tuple[str, ...]
    line: int
    is_known: bool


@dataclass(frozen=True, slots=True)
class ChronyConf:
    """What was read; `has_reference_clock` tells of `refclock` lines, whose readings are not here. `command_socket`:
    the path of `bindcmdaddress`, "/" where the socket is turned off, None where no line names one. `others`: every
    other line.
    """

    sources: tuple[ChronySource, ...]
    folders: tuple[ChronyFolder, ...]
    has_reference_clock: bool
    command_socket: str | None = None
    others: tuple[ChronyDirective, ...] = ()


def read(data: bytes) -> tuple[ChronyConf, list[Finding]]:
    """Read a chrony.conf or *.sources file; a line that cannot be read costs no other line."""
    sources: list[ChronySource] = []
    folders: list[ChronyFolder] = []
    others: list[ChronyDirective] = []
    findings: list[Finding] = []
    command_socket: str | None = None
    for number, raw in enumerate(data.decode("utf-8", errors="replace").split("\n"), 1):
        words = raw.split()
        if not words or words[0].startswith(_COMMENT):
            continue
        directive = words[0].lower()
        if directive in SOURCE_DIRECTIVES:
            source = _source(SOURCE_DIRECTIVES[directive], words[1:], number, findings)
            if source is not None:
                sources.append(source)
        elif directive in FOLDER_DIRECTIVES:
            folders.append(ChronyFolder(FOLDER_DIRECTIVES[directive], tuple(words[1:]), number))
        elif directive == "bindcmdaddress" and len(words) > 1 and words[1].startswith("/"):
            command_socket = words[1]
        else:
            others.append(ChronyDirective(directive, tuple(words[1:]), number, directive in OTHER_DIRECTIVES))
    has_reference_clock = any(other.name == "refclock" for other in others)
    return ChronyConf(tuple(sources), tuple(folders), has_reference_clock, command_socket, tuple(others)), findings


def _source(directive: SourceDirective, words: list[str], line: int, findings: list[Finding]) -> ChronySource | None:
    if not words:
        findings.append(Finding("no-host", f"{directive} without a host name; the line is left out", line))
        return None
    numbers = {"port": NTP_PORT, "minpoll": DEFAULT_MINPOLL}
    limits = {"port": (1, 65535), "minpoll": (-7, 24)}
    given: set[str] = set()
    left_out: list[str] = []
    options = iter(words[1:])
    for option in options:
        name = option.lower()
        given.add(name)
        value = next(options, "") if name in _WITH_ONE_VALUE else ""
        if name not in _READ_OPTIONS:
            left_out.append(f"{name} {value}".rstrip())
        if name not in numbers:
            continue
        low, high = limits[name]
        try:
            number = int(value)
        except ValueError:
            number = low - 1
        if low <= number <= high:
            numbers[name] = number
        else:
            says = f"{directive} {words[0]}: {name} must be a number from {low} to {high}; {numbers[name]} is taken"
            findings.append(Finding("bad-option", says, line, severity=Severity.WARNING))
    return ChronySource(
        directive,
        words[0],
        numbers["port"],
        "nts" in given,
        numbers["minpoll"],
        line,
        has_key="key" in given,
        is_not_selected="noselect" in given,
        left_out=tuple(left_out),
    )
