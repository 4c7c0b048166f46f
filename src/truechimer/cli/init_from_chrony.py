"""What `init --from chrony` takes over of a chronyd's configuration: its servers as sources, and a line about all else.

It asks no server, no name server and no chronyd, and changes none of chrony's files. Source: chrony.conf(5) of chrony
4.3; what a pool zone's numbered names are: the pool's own instructions (0 to 3 name different servers).
"""

import glob
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from truechimer.daemon.lab.host_port import HostPort, split_address
from truechimer.daemon.lab.lab_template import TemplateSource
from truechimer.daemon.lab.source_settings import DEFAULT_CHRONY_SOCKET
from truechimer.errors import Rejected
from truechimer.formats import chrony_conf
from truechimer.formats.chrony_conf import ChronyConf, ChronyDirective, ChronyFolder, ChronySource

DEFAULT_CONFS = (Path("/etc/chrony/chrony.conf"), Path("/etc/chrony.conf"))
"""Where distributions keep it; the first that is there counts."""

NETWORK_BOUND_LIMIT_S = 0.05
"""What a host's oscillator and servers across a network can hold; a door's default, 1 ms, is for clocks at hand."""

USEFUL_OPERATORS = 3
_MOST_FILES = 200
_MOST_BYTES = 1024 * 1024
_POOL_ZONE = re.compile(r"(?:\d\.)?((?:[a-z0-9-]+\.)?pool\.ntp\.org)")
_POOL = "pool.ntp.org"
_OF_A_ZONE = range(4)

_SECOND_LEVEL = frozenset(
    {
        "ac", "co", "com", "edu", "gob", "gouv", "gov", "govt", "gv", "id", "ltd", "mil", "ne", "net", "nhs", "nom",
        "or", "org", "plc", "sch",
    }
)  # fmt: skip
"""Labels under a country's that are nobody's own domain: `a.co.CC` and `b.co.CC` are two operators."""

_CLOCK = "the system clock stays chronyd's: nothing here sets it"
_LEAPS = "leap seconds come from our own table ([lab] leap_seconds_file)"
_SERVING = "whom chronyd answers stays chronyd's; here a [[listener]] has an address and a port"
_SMEAR = "nothing here smears or slews a leap second; clients of such a chronyd must not be mixed with ours around one"
_AUTH = "authentication is not built here yet"
_VOTE = "here a majority of operators decides"
_SAYS = {
    **dict.fromkeys(
        ("makestep", "rtcsync", "rtcfile", "driftfile", "maxslewrate", "maxchange", "initstepslew"), _CLOCK
    ),
    **dict.fromkeys(("leapsectz", "leapseclist"), _LEAPS),
    **dict.fromkeys(("leapsecmode", "smoothtime"), _SMEAR),
    **dict.fromkeys(("allow", "deny", "port", "bindaddress", "binddevice", "ratelimit"), _SERVING),
    **dict.fromkeys(("keyfile", "authselectmode", "ntstrustedcerts", "ntsdumpdir", "nocerttimecheck"), _AUTH),
    **dict.fromkeys(("minsources", "combinelimit", "stratumweight", "reselectdist"), _VOTE),
    "local": "without a majority of sources nothing here claims to be synchronised",
    "manual": "nobody types the time in here",
    "maxdistance": "here only a server that may be wrong by 3 s or more, by its own word, has no vote",
    "hwtimestamp": "stamps of network cards are not used here; the kernel's are",
    "refclock": "read chronyd's reference clocks through chronyd itself: a [[source]] of kind chrony",
    "logdir": "chronyd's own",
    "user": "chronyd's own",
}
_OPTION_SAYS = {
    "offset": "not applied: what it corrects is not corrected here",
    "asymmetry": "not applied: what it corrects is not corrected here",
    "xleave": "asked in basic mode",
    "prefer": "no source is preferred here; a majority of operators decides",
    "trust": "no source is trusted alone here; a majority of operators decides",
    "require": "no source is required here; a majority of operators decides",
    "offline": "asked from the start",
}


class ChronyConfRejected(Rejected):
    """chrony's configuration cannot be taken over; the text says why and what to do."""


@dataclass(slots=True)
class FromChrony:
    """What was taken over: `sources` for the file, `notes` for the person, `operators` suggested, in order."""

    sources: list[TemplateSource] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _socket: str = DEFAULT_CHRONY_SOCKET
    _names: set[str] = field(default_factory=set)
    _addresses: set[str] = field(default_factory=set)
    _operators: dict[str, int] = field(default_factory=dict)
    _alone: list[str] = field(default_factory=list)

    def take(self, path: Path | None) -> None:
        """Read a chrony.conf, or the one that this machine has, and the files that it names."""
        path = _this_machines() if path is None else path
        for file, conf in self._files(path):
            for source in conf.sources:
                self._take_line(file, source)
            self.notes.extend(f"{file}:{other.line}: {_about(other)}" for other in conf.others)
            self._socket = conf.command_socket or self._socket
        if not self.sources:
            self.notes.append(f"no server, pool or peer line was found from {path} on; write a [[source]] by hand")
        self._offer_running()
        self._tell_operators()

    def _take_line(self, file: Path, line: ChronySource) -> None:
        place = f"{file}:{line.line}"
        hosts = _hosts(line)
        for host in hosts:
            self._take_host(place, line, host)
        for option in line.left_out:
            says = _OPTION_SAYS.get(option.partition(" ")[0], "not carried over")
            self.notes.append(f"{place}: {line.host}: {option}: {says}")
        if line.directive == "pool" and len(hosts) == 1:
            self.notes.append(
                f"{place}: pool {line.host} is many servers, and one of them is asked here; "
                "name several by hand where its owner names them"
            )

    def _take_host(self, place: str, line: ChronySource, host: str) -> None:
        address = f"[{host}]:{line.port}" if ":" in host else f"{host}:{line.port}"
        parsed = split_address(address)
        if parsed is None:
            self.notes.append(f"{place}: {host!r} is neither a host's name nor an IP address; the line is left out")
            return
        if address in self._addresses:
            self.notes.append(f"{place}: {address} was named before; it is asked once")
            return
        self._addresses.add(address)
        why = _why_not(line)
        operator = operator_of(parsed)
        keys: list[tuple[str, str | float]] = [
            ("name", self._name(host, line.port)),
            ("kind", "nts" if line.nts else "ntp"),
            ("address", address),
        ]
        if operator is not None:
            keys.append(("operator", operator))
        keys.append(("poll_s", max(2.0**line.minpoll, 0.1)))
        remark = f"{line.directive} {line.host}, {place}."
        if operator is not None:
            remark += " The operator is a suggestion, from the domain of the name."
        if why:
            remark += f" {why[0].upper()}{why[1:]}."
            self.notes.append(f"{place}: {host} is written as a comment: {why}")
        elif operator is not None:
            self._operators[operator] = self._operators.get(operator, 0) + 1
        else:
            self._alone.append(host)
        self.sources.append(TemplateSource(keys=tuple(keys), remark=remark, disabled=bool(why)))

    def _name(self, host: str, port: int) -> str:
        plain = re.sub(r"[^A-Za-z0-9_.-]", "-", host)
        name = plain if plain not in self._names else f"{plain}-{port}"
        number = 2
        while name in self._names:
            name, number = f"{plain}-{port}-{number}", number + 1
        self._names.add(name)
        return name

    def _offer_running(self) -> None:
        """Offer the chronyd that runs here as one source, commented out: beside its servers it would ask them twice."""
        if not Path(self._socket).is_socket():
            return
        remark = (
            "The chronyd that runs here: every server and reference clock that it follows becomes a link of its own, "
            "and nobody is asked twice. Use this one or the servers above: both together give each server one vote, "
            "but ask it two ways."
        )
        keys = (("name", "chrony"), ("kind", "chrony"), ("socket", self._socket))
        self.sources.append(TemplateSource(keys=keys, remark=remark, disabled=True))
        self.notes.append(
            f"a chronyd answers on {self._socket}; it is offered as a source of kind chrony, as a comment"
        )

    def _tell_operators(self) -> None:
        """Say who has a vote by what was written; nothing is known of who owns an address."""
        votes = len(self._operators) + len(self._alone)
        if not votes:
            return
        if self._operators:
            who = ", ".join(f"{name} ({n} source{'s' * (n != 1)})" for name, n in self._operators.items())
            self.notes.append(f"operators suggested from domains: {who}; correct them, each has one vote")
        if self._alone:
            self.notes.append(
                f"without a domain, each with a vote of its own: {', '.join(self._alone)}; "
                "give those that one hand could move one `operator`"
            )
        if votes < USEFUL_OPERATORS:
            are = "there is 1 vote" if votes == 1 else f"there are {votes} votes"
            self.notes.append(f"{are}: who lies cannot be outvoted by fewer than {USEFUL_OPERATORS}")

    def _files(self, path: Path) -> Iterator[tuple[Path, ChronyConf]]:
        """Read chrony.conf and what it includes; each file once, at most a few hundred."""
        waiting = [path]
        seen: set[Path] = set()
        while waiting:
            file = waiting.pop(0)
            if file in seen:
                continue
            if len(seen) >= _MOST_FILES:
                self.notes.append(f"{file} and what follows is left out: more than {_MOST_FILES} files of chrony")
                return
            seen.add(file)
            try:
                data = _bytes_of(file)
            except (OSError, ValueError) as error:
                says = f"{file} cannot be read: {_reason(error)}"
                if file == path:
                    raise ChronyConfRejected(
                        f"{says}; name chrony's configuration: `truechimer init DIR --from chrony FILE`"
                    ) from None
                self.notes.append(says)
                continue
            conf, findings = chrony_conf.read(data)
            self.notes.extend(finding.at(str(file)) for finding in findings)
            yield file, conf
            for folder in conf.folders:
                found = _files_of(folder)
                if not found and folder.directive == "include":
                    self.notes.append(f"{file}:{folder.line}: include {' '.join(folder.paths)}: no such file")
                waiting.extend(found)


def operator_of(place: HostPort) -> str | None:
    """Suggest whose hand could move a server: the domain that its name was registered under; None for an address and
    for a name without a domain. A pool zone is one hand: whoever names its servers.
    """
    labels = place.host.lower().rstrip(".").split(".")
    if place.is_loopback or ":" in place.host or labels[-1].isdigit() or len(labels) < 2:
        return None
    if _POOL_ZONE.fullmatch(".".join(labels)):
        return _POOL
    country = len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL
    return ".".join(labels[-3:] if country else labels[-2:])


def _hosts(line: ChronySource) -> list[str]:
    """Return the names to ask for a line: a zone of the public pool has four, whose servers differ."""
    zone = _POOL_ZONE.fullmatch(line.host.lower().rstrip("."))
    if line.directive != "pool" or zone is None:
        return [line.host]
    return [f"{number}.{zone[1]}" for number in _OF_A_ZONE]


def _why_not(line: ChronySource) -> str:
    """Return why a server is not asked, "" where it is."""
    if line.nts:
        return "chronyd authenticates it with NTS, which is not built here yet: left out rather than asked without"
    if line.has_key:
        return "chronyd authenticates it with a key, which is not built here yet: left out rather than asked without"
    if line.is_not_selected:
        return "noselect: chronyd only watches it, and a source here has a vote"
    return ""


def _about(other: ChronyDirective) -> str:
    shown = " ".join((other.name, *other.words[:2]))[:80]
    if not other.is_known:
        return f"unknown directive {shown!r}; the line is left out"
    return f"{shown}: not carried over; {_SAYS.get(other.name, 'it stays with chronyd')}"


def _this_machines() -> Path:
    for path in DEFAULT_CONFS:
        if path.exists():
            return path
    raise ChronyConfRejected(
        f"there is no {' or '.join(map(str, DEFAULT_CONFS))}; name chrony's configuration: "
        "`truechimer init DIR --from chrony FILE`"
    )


def _bytes_of(file: Path) -> bytes:
    """Read an ordinary file; a device or a pipe could give bytes for ever."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise ValueError("it is no ordinary file")
    with file.open("rb") as opened:
        data = opened.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError("it has more than 1 MiB")
    return data


def _reason(error: OSError | ValueError) -> str:
    return ((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()


def _files_of(folder: ChronyFolder) -> list[Path]:
    """Return the files of a directive in the order of their names; of one name, the first folder's."""
    if folder.directive == "include":
        return [Path(name) for pattern in folder.paths for name in sorted(glob.glob(pattern))]  # noqa: PTH207
    ending = "conf" if folder.directive == "confdir" else "sources"
    by_name: dict[str, Path] = {}
    for place in folder.paths:
        for name in glob.glob(f"{glob.escape(place)}/*.{ending}"):  # noqa: PTH207
            by_name.setdefault(Path(name).name, Path(name))
    return [by_name[name] for name in sorted(by_name)]
