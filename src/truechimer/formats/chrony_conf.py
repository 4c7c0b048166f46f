"""chrony.conf as far as it names NTP servers: which sources a chronyd asks, which further files it reads, and where it
can be asked itself.

It opens no file and applies no other directive. Source: chrony.conf(5) of chrony 4.3: directives and options without
regard to case, comments begin a line with one of ! ; # %, `server`, `pool`, `peer`, `include`, `confdir`, `sourcedir`.
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


@dataclass(frozen=True, slots=True)
class ChronySource:
    """One `server`, `pool` or `peer` line; `minpoll` is log2 of seconds; `line` counts from 1."""

    directive: SourceDirective
    host: str
    port: int
    nts: bool
    minpoll: int
    line: int


@dataclass(frozen=True, slots=True)
class ChronyFolder:
    """A place with more lines: files of a glob pattern (`include`), *.conf (`confdir`) or *.sources (`sourcedir`)."""

    directive: FolderDirective
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class ChronyConf:
    """What was read; `has_reference_clock` tells of `refclock` lines, whose readings are not here. `command_socket`:
    the path of `bindcmdaddress`, "/" where the socket is turned off, None where no line names one.
    """

    sources: tuple[ChronySource, ...]
    folders: tuple[ChronyFolder, ...]
    has_reference_clock: bool
    command_socket: str | None = None


def read(data: bytes) -> tuple[ChronyConf, list[Finding]]:
    """Read a chrony.conf or *.sources file; a line that cannot be read costs no other line."""
    sources: list[ChronySource] = []
    folders: list[ChronyFolder] = []
    findings: list[Finding] = []
    has_reference_clock = False
    command_socket: str | None = None
    for number, raw in enumerate(data.decode("utf-8", errors="replace").split("\n"), 1):
        words = raw.split()
        if not words or words[0].startswith(_COMMENT):
            continue
        directive = words[0].lower()
        if directive == "refclock":
            has_reference_clock = True
        elif directive == "bindcmdaddress" and len(words) > 1 and words[1].startswith("/"):
            command_socket = words[1]
        elif directive in SOURCE_DIRECTIVES:
            source = _source(SOURCE_DIRECTIVES[directive], words[1:], number, findings)
            if source is not None:
                sources.append(source)
        elif directive in FOLDER_DIRECTIVES:
            folders.extend(ChronyFolder(FOLDER_DIRECTIVES[directive], path, number) for path in words[1:])
    return ChronyConf(tuple(sources), tuple(folders), has_reference_clock, command_socket), findings


def _source(directive: SourceDirective, words: list[str], line: int, findings: list[Finding]) -> ChronySource | None:
    if not words:
        findings.append(Finding("no-host", f"{directive} without a host name; the line is left out", line))
        return None
    numbers = {"port": NTP_PORT, "minpoll": DEFAULT_MINPOLL}
    limits = {"port": (1, 65535), "minpoll": (-7, 24)}
    nts = False
    options = iter(words[1:])
    for option in options:
        name = option.lower()
        nts = nts or name == "nts"
        value = next(options, "") if name in _WITH_ONE_VALUE else ""
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
    return ChronySource(directive, words[0], numbers["port"], nts, numbers["minpoll"], line)
