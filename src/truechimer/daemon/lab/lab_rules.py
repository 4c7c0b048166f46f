"""What no single key of LAB.toml shows: clashing names, keys of another kind, doors on one port, simulated beside real.

It opens nothing: the machine is judged in `lab_check`. Rules follow the contract ("Files": LAB.toml, reserved clock
names) and house rule 4.6 (a simulated laboratory says so everywhere).
"""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields

from truechimer.clocks.clock import RESERVED_NAMES, Clock, ClockKind
from truechimer.daemon.lab import notify_check
from truechimer.daemon.lab.host_port import split_address
from truechimer.daemon.lab.lab_file import AFTER_THE_FACT, Algorithm, LabFile
from truechimer.daemon.lab.listener_settings import (
    DEFAULT_PORTS,
    NOT_BUILT_PROTOCOLS,
    RULE_KEYS,
    TRANSPORTS,
    Listener,
    Protocol,
)
from truechimer.daemon.lab.receiver_settings import BAUDS
from truechimer.daemon.lab.settings import NAME_PATTERN, NAME_WORDS
from truechimer.daemon.lab.source_settings import DEFAULT_OWN_REFID, NOT_BUILT_SOURCES, Source, SourceKind
from truechimer.daemon.lab.utc_settings import CODE_PATTERN, UtcSettings
from truechimer.drivers.stamping import is_name
from truechimer.formats.finding import Finding, Severity
from truechimer.formats.toml_tree import TreeRead

_ANTENNA_KEYS = ("latitude_deg", "longitude_deg", "height_m")

NOT_BUILT = "is not built yet in this version"


@dataclass(frozen=True, slots=True, kw_only=True)
class InsecureFlags:
    """The two dangerous modes of a laboratory with simulated sources, each asked for by its own ugly word."""

    mix_simulated: bool = False
    serve_simulated_time: bool = False


@dataclass(frozen=True, slots=True)
class _KindKeys:
    """Keys of one kind of source: all of `needs`, any of `may`."""

    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()

    @property
    def all(self) -> frozenset[str]:
        return frozenset((*self.needs, *self.may))


KEYS_OF_KIND = {
    SourceKind.SIMULATED: _KindKeys(needs=("scenario",)),
    SourceKind.NTP: _KindKeys(needs=("address",), may=("operator", "poll_s", "u_s", "limit_s", "key", "keys")),
    SourceKind.NTS: _KindKeys(needs=("address",), may=("operator", "poll_s", "u_s", "limit_s")),
    SourceKind.CHRONY: _KindKeys(may=("socket", "logdir", "operator", "own_refid", "poll_s", "u_s", "limit_s")),
    SourceKind.READINGS: _KindKeys(needs=("path",), may=("max_age_s",)),
    SourceKind.LINK: _KindKeys(needs=("to", "path"), may=("operator", "max_age_s", "u_s", "limit_s")),
    SourceKind.WATCHDOG: _KindKeys(needs=("path",), may=("poll_s",)),
}
_KIND_KEYS = tuple(dict.fromkeys(key for keys in KEYS_OF_KIND.values() for key in sorted(keys.all)))


def faults_between_keys(read: TreeRead[LabFile], flags: InsecureFlags) -> list[Finding]:
    """Return the faults that take more than one key to see; `read.partial` may be of a file with other faults."""
    lab = read.partial
    if lab is None:
        return []
    rules = (
        _clock_names(read, lab),
        _delays(read, lab),
        _source_names(read, lab),
        _receivers(read, lab, flags),
        *(_keys_of_source(read, source) for source in lab.sources),
        _scale(read, lab),
        _utc(read, lab),
        _listeners(read, lab),
        _networks(read, lab),
        _hardware(read, lab),
        _socks(read, lab),
        _simulated(read, lab, flags),
        notify_check.faults_between_keys(read, lab.notify),
        _use(read, lab),
    )
    return [finding for rule in rules for finding in rule]


def _clock_names(read: TreeRead[LabFile], lab: LabFile) -> Iterator[Finding]:
    seen: dict[str, Clock] = {}
    for clock in lab.clocks:
        line = read.line_of(clock, "name")
        if not re.fullmatch(NAME_PATTERN, clock.name):
            yield Finding(
                "bad-name", f'[[clock]] name "{_printable(clock.name)}" cannot be used; it must be {NAME_WORDS}', line
            )
            continue
        if clock.name in seen:
            first = read.line_of(seen[clock.name], "name")
            says = f"two clocks are named {clock.name} (the other on line {first}); give each clock its own name"
            yield Finding("duplicate-clock", says, line)
        seen.setdefault(clock.name, clock)
        if not _name_fits_kind(clock):
            yield Finding("reserved-name", _reserved(clock), line)


def _delays(read: TreeRead[LabFile], lab: LabFile) -> Iterator[Finding]:
    """A delay names a clock of this file, the host, or a link; each once."""
    known = {clock.name for clock in lab.clocks} | {"host"}
    seen: set[str] = set()
    for delay in lab.delays:
        line = read.line_of(delay, "clock")
        is_link_name = delay.clock in {"UTC", "UTCr", "GPST"} or delay.clock.startswith("UTC.")
        if delay.clock not in known and not is_link_name:
            says = f"[[delay]] clock {_printable(delay.clock)} is no clock of this file; name one of its [[clock]]s"
            yield Finding("unknown-clock", says, line)
        if delay.clock in seen:
            says = f"two delays are given for {_printable(delay.clock)}; add them up into one"
            yield Finding("duplicate-delay", says, line)
        seen.add(delay.clock)


def _name_fits_kind(clock: Clock) -> bool:
    """Reserved (contract, "Files"): `host` is the host's oscillator; `UTC`, `UTCr`, `GPST`, `UTC.<lab>` are links."""
    if clock.kind is ClockKind.HOST:
        return clock.name == "host"
    is_link_name = clock.name in {"UTC", "UTCr", "GPST"} or clock.name.startswith("UTC.")
    if clock.kind is ClockKind.LINK:
        return is_link_name
    return not is_link_name and clock.name not in RESERVED_NAMES


def _reserved(clock: Clock) -> str:
    if clock.kind is ClockKind.HOST:
        return f'a clock of kind host is named host, not {clock.name}; write name = "host"'
    if clock.kind is ClockKind.LINK:
        return f"a clock of kind link is named UTC, UTCr, GPST or UTC.<lab>, not {clock.name}; rename it or its kind"
    return f"the name {clock.name} is reserved (host, UTC, UTCr, GPST, UTC.<lab>); give the {clock.kind} another name"


def _source_names(read: TreeRead[LabFile], lab: LabFile) -> Iterator[Finding]:
    seen: dict[str, Source] = {}
    for source in lab.sources:
        if source.name in seen:
            first = read.line_of(seen[source.name], "name")
            says = f"two sources are named {source.name} (the other on line {first}); give each source its own name"
            yield Finding("duplicate-source", says, read.line_of(source, "name"))
        seen.setdefault(source.name, source)


def _receivers(read: TreeRead[LabFile], lab: LabFile, flags: InsecureFlags) -> Iterator[Finding]:
    """A receiver judges one link, no other does, and its antenna's place is whole."""
    names: set[str] = set()
    links: set[str] = set()
    for receiver in lab.receivers:
        place = f"[[receiver]] {_printable(receiver.name)}"
        if receiver.name in names:
            says = f"two receivers are named {_printable(receiver.name)}; give each its own name"
            yield Finding("duplicate-receiver", says, read.line_of(receiver, "name"))
        names.add(receiver.name)
        if not re.fullmatch(r"UTC|UTC\.[A-Za-z0-9_-]+", receiver.link) and read.is_sound(receiver, "link"):
            says = f'{place} link = "{_printable(receiver.link)}" is no link; it must be UTC or UTC.<name>'
            yield Finding("bad-link", says, read.line_of(receiver, "link"))
        elif receiver.link in links:
            says = f"{place}: another receiver judges {receiver.link}; give each receiver its own link"
            yield Finding("two-receivers-one-link", says, read.line_of(receiver, "link"))
        links.add(receiver.link)
        given = [key for key in _ANTENNA_KEYS if getattr(receiver, key) is not None]
        if given and len(given) < len(_ANTENNA_KEYS) and read.is_sound(receiver, *_ANTENNA_KEYS):
            says = f"{place}: of the antenna only {', '.join(given)} is given; give {', '.join(_ANTENNA_KEYS)}, or none"
            yield Finding("half-an-antenna", says, read.line_of(receiver, given[0]))
        if receiver.baud is not None and receiver.baud not in BAUDS and read.is_sound(receiver, "baud"):
            says = (
                f"{place} baud = {receiver.baud} is no speed of a serial line; use one of {', '.join(map(str, BAUDS))}"
            )
            yield Finding("bad-baud", says, read.line_of(receiver, "baud"))
        if lab.is_simulated and not flags.mix_simulated:
            says = f"{place} is real, and this laboratory is simulated: remove it, or ask with --insecure-mix-simulated"
            yield Finding("simulated-beside-real", says, read.line_of(receiver))


def _keys_of_source(read: TreeRead[LabFile], source: Source) -> Iterator[Finding]:
    keys = KEYS_OF_KIND[source.kind]
    place = f"[[source]] {source.name}"
    given = [key for key in _KIND_KEYS if getattr(source, key) is not None or not read.is_sound(source, key)]
    for key in keys.needs:
        if key not in given:
            says = f"{place} of kind {source.kind} needs the key {key}"
            yield Finding("missing-key", says, read.line_of(source))
    for key in given:
        if key not in keys.all:
            its_keys = ", ".join(sorted(keys.all))
            says = f"{place} of kind {source.kind} has no use for the key {key}; its keys are {its_keys}"
            yield Finding("key-of-another-kind", says, read.line_of(source, key))
    if source.kind is SourceKind.CHRONY and source.logdir is not None and source.socket is not None:
        says = f"{place} names both socket and logdir; its servers would vote twice: keep one, best the socket"
        yield Finding("two-ways", says, read.line_of(source, "logdir"))
    if (source.key is None) is not (source.keys is None) and source.kind is SourceKind.NTP:
        given_key, absent = ("key", "keys") if source.keys is None else ("keys", "key")
        says = f"{place} has {given_key} but not {absent}; a key is a number and the file that holds it"
        yield Finding("missing-key", says, read.line_of(source, given_key))
    if source.kind in NOT_BUILT_SOURCES:
        says = f"{place}: kind {source.kind} {NOT_BUILT}; use ntp, chrony, readings, link or simulated"
        yield Finding("not-built", says, read.line_of(source, "kind"))
    if source.address is not None and "address" in keys.all and split_address(source.address) is None:
        says = (
            f'{place} address = "{_printable(source.address)}" is not HOST:PORT; write a name or an IP address '
            "([...] around IPv6), a colon and a port from 1 to 65535"
        )
        yield Finding("bad-address", says, read.line_of(source, "address"))
    if source.to is not None and "to" in keys.all and not re.fullmatch(r"UTC|UTCr|UTC\.[A-Za-z0-9_-]+", source.to):
        says = f'{place} to = "{_printable(source.to)}" is no link; it must be UTC, UTCr or UTC.<lab>'
        yield Finding("bad-link", says, read.line_of(source, "to"))


def _scale(read: TreeRead[LabFile], lab: LabFile) -> Iterator[Finding]:
    if lab.scale.algorithm in AFTER_THE_FACT:
        says = (
            f"[scale] algorithm {lab.scale.algorithm} weighs each month with what that month itself showed, so it "
            f"exists after the fact only (`truechimer scale replay --algorithm {lab.scale.algorithm}`); use bands, at1 "
            "or kalman"
        )
        yield Finding("after-the-fact", says, read.line_of(lab.scale, "algorithm"))
    elif lab.scale.algorithm is not Algorithm.AT1:
        says = (
            f"[scale] algorithm {lab.scale.algorithm} judges a clock by what its readings each interval_s have shown: "
            "it convicts nobody in the first 48 scale steps, nor where readings come more seldom than each 1.5 "
            "interval_s; at1 does (docs/guide/ensemble.md, In service)"
        )
        yield Finding("judges-late", says, read.line_of(lab.scale, "algorithm"), severity=Severity.WARNING)
        for key in ("tau_weight_s", "weight_cap_n"):
            if (line := read.line_of(lab.scale, key)) != read.line_of(lab.scale):
                says = (
                    f"[scale] {key} belongs to at1; {lab.scale.algorithm} makes its weights from learned noise and "
                    "takes no notice of it"
                )
                yield Finding("key-of-another-algorithm", says, line, severity=Severity.WARNING)
    sound = read.is_sound(lab.scale, "interval_s") and read.is_sound(lab.lab, "silence_s")
    if sound and lab.lab.silence_s <= lab.scale.interval_s:
        says = (
            f"silence_s = {lab.lab.silence_s:g} is not longer than [scale] interval_s = {lab.scale.interval_s:g}; "
            "the doors would be unsynchronised between two epochs: make silence_s at least three intervals"
        )
        line = read.line_of(lab.lab, "silence_s") or read.line_of(lab.scale, "interval_s")
        yield Finding("silence-too-short", says, line, severity=Severity.WARNING)


def _utc(read: TreeRead[LabFile], lab: LabFile) -> Iterator[Finding]:
    """Published values need a folder, a scale of clocks, and a clock that was UTC(k) is one of them."""
    utc, default = lab.utc, UtcSettings()
    if utc.published is None:
        for item in fields(UtcSettings):
            if item.name != "leap_notices" and getattr(utc, item.name) != getattr(default, item.name):
                says = f"[utc] {item.name} has no effect without published, the folder of published values"
                yield Finding("missing-key", says, read.line_of(utc, item.name))
        return
    if utc.laboratory is None and not re.fullmatch(CODE_PATTERN, lab.lab.name):
        says = f"[utc] needs laboratory: {_printable(lab.lab.name)} is no code of a laboratory in the BIPM's tables"
        yield Finding("missing-key", says, read.line_of(utc, "published"))
    if lab.is_simulated or read.findings:
        return
    names = {clock.name for clock in lab.clocks if clock.kind not in {ClockKind.HOST, ClockKind.LINK}}
    if not names:
        says = "[utc] published needs clocks: a host's oscillator is not foretold over the days until a publication"
        yield Finding("published-without-clocks", says, read.line_of(utc, "published"))
    elif utc.before is not None and utc.before not in names:
        says = f"[utc] before: {_printable(utc.before)} is no clock of this file; name one of its [[clock]]s"
        yield Finding("unknown-clock", says, read.line_of(utc, "before"))


def _listeners(read: TreeRead[LabFile], lab: LabFile) -> Iterator[Finding]:
    sound: list[Listener] = []
    for listener in lab.listeners:
        if listener.metrics is not None and listener.protocol is not Protocol.CONSOLE:
            says = f"[[listener]] {listener.protocol} has no use for the key metrics; it belongs to a console"
            yield Finding("key-of-another-kind", says, read.line_of(listener, "metrics"))
        if listener.protocol in NOT_BUILT_PROTOCOLS:
            says = f"[[listener]] protocol {listener.protocol} {NOT_BUILT}; use ntp, chrony-sock or console"
            yield Finding("not-built", says, read.line_of(listener, "protocol"))
        yield from _keys_of_listener(read, listener)
        if listener.protocol is Protocol.CHRONY_SOCK:
            continue
        try:
            ipaddress.ip_address(listener.address)
        except ValueError:
            says = (
                f'[[listener]] {listener.protocol} address = "{_printable(listener.address)}" is not an IP address; '
                "write one of this machine's addresses, 127.0.0.1 for this machine alone, or 0.0.0.0 for all"
            )
            yield Finding("bad-address", says, read.line_of(listener, "address"))
            continue
        if read.is_sound(listener, "address", "port", "protocol"):
            sound.append(listener)
    for position, listener in enumerate(sound):
        for other in sound[:position]:
            if _collide(listener, other):
                default = "" if listener.port is not None else f" (its default; the defaults are {_defaults()})"
                says = (
                    f"[[listener]] {listener.protocol} and {other.protocol} (line {read.line_of(other)}) both want "
                    f"{listener.address} port {listener.port_number}{default}; give one of them another port"
                )
                yield Finding("same-port-twice", says, read.line_of(listener, "port"))
                break


def _keys_of_listener(read: TreeRead[LabFile], listener: Listener) -> Iterator[Finding]:
    """A chrony-sock door has a path, the others an address and a port."""
    place = f"[[listener]] {listener.protocol}"
    sock = listener.protocol is Protocol.CHRONY_SOCK
    if sock and listener.path is None:
        says = f'{place} needs the key path, such as path = "/run/chrony/truechimer.sock"'
        yield Finding("missing-key", says, read.line_of(listener))
    default = Listener(protocol=listener.protocol)
    others = ("address", "port") if sock else ("path", "period_s")
    for key in others if listener.protocol is Protocol.NTP else (*others, *RULE_KEYS, "accelerator", "hardware"):
        if getattr(listener, key) != getattr(default, key) and read.is_sound(listener, "protocol"):
            says = f"{place} has no use for the key {key}"
            yield Finding("key-of-another-kind", says, read.line_of(listener, key))
    if listener.protocol is Protocol.NTP and listener.rules.smears and listener.ntpv5:
        says = f'{place} with ntpv5 = true takes no smear: the answers of version 5 name UTC; set smear = "none"'
        yield Finding("smear-of-version-5", says, read.line_of(listener, "smear"))
    if listener.protocol is Protocol.NTP and listener.rules.smears and listener.accelerator:
        says = f"{place} that smears serves by itself: accelerator = true has no effect on it"
        yield Finding("smear-by-itself", says, read.line_of(listener, "accelerator"), severity=Severity.WARNING)


def _hardware(read: TreeRead[LabFile], lab: LabFile) -> Iterator[Finding]:
    """A card's stamps are of one card: the door's address is that of its interface."""
    for listener in lab.listeners:
        if listener.hardware is None or listener.protocol is not Protocol.NTP:
            continue
        line = read.line_of(listener, "hardware")
        if not is_name(listener.hardware):
            says = f'[[listener]] hardware = "{_printable(listener.hardware)}" is no name of an interface; '
            yield Finding("no-such-interface", says + "`ip link` lists them", line)
        elif listener.address in {"0.0.0.0", "::"}:  # noqa: S104
            says = "[[listener]] hardware is for a door on one address, that of its interface; give that address"
            yield Finding("hardware-everywhere", says, line)


def _networks(read: TreeRead[LabFile], lab: LabFile) -> Iterator[Finding]:
    """Networks of access lists are what they seem: no bits of a host are set beside them."""
    for listener in lab.listeners:
        for key in ("allow", "deny"):
            for text in getattr(listener, key):
                try:
                    ipaddress.ip_network(text)
                except ValueError as error:
                    says = (
                        f'[[listener]] {listener.protocol} {key} = "{_printable(text)}" is no network: {error}; write '
                        "192.0.2.0/24, 2001:db8::/32 or one address"
                    )
                    yield Finding("bad-network", says, read.line_of(listener, key))


def _socks(read: TreeRead[LabFile], lab: LabFile) -> Iterator[Finding]:
    """Two doors to one socket would give chronyd each sample twice; a chronyd that is followed and fed is told apart
    by a refid.
    """
    seen: dict[str, Listener] = {}
    for listener in lab.listeners:
        if listener.protocol is not Protocol.CHRONY_SOCK or listener.path is None:
            continue
        if listener.path in seen:
            says = f"[[listener]] chrony-sock: two doors send to {_printable(listener.path)}; keep one"
            yield Finding("same-path-twice", says, read.line_of(listener, "path"))
        seen[listener.path] = listener
    followed = [source for source in lab.sources if source.kind is SourceKind.CHRONY]
    if seen and followed and all(source.own_refid is None for source in followed):
        says = (
            f"source {followed[0].name} follows a chronyd, and a chrony-sock door feeds one: where it is the same, "
            f"write `refid {DEFAULT_OWN_REFID}` on its refclock line, or name its refid with own_refid, so that this "
            "laboratory does not follow itself"
        )
        yield Finding("may-follow-itself", says, read.line_of(followed[0]), severity=Severity.WARNING)


def _defaults() -> str:
    return ", ".join(f"{protocol} {port}" for protocol, port in DEFAULT_PORTS.items())


def _collide(listener: Listener, other: Listener) -> bool:
    """Two doors cannot both be bound: one port, one transport, and one address or a wildcard that has the other."""
    if listener.port_number != other.port_number or not TRANSPORTS[listener.protocol] & TRANSPORTS[other.protocol]:
        return False
    return (
        ipaddress.ip_address(listener.address) == ipaddress.ip_address(other.address)
        or _takes_in(listener, other)
        or _takes_in(other, listener)
    )


def _takes_in(listener: Listener, other: Listener) -> bool:
    """A wildcard takes in every address of its family; that of an NTP door at "::" the IPv4 ones too."""
    here, there = ipaddress.ip_address(listener.address), ipaddress.ip_address(other.address)
    return here.is_unspecified and (here.version == there.version or listener.serves_both_families)


def _simulated(read: TreeRead[LabFile], lab: LabFile, flags: InsecureFlags) -> Iterator[Finding]:
    simulated = [source for source in lab.sources if source.kind is SourceKind.SIMULATED]
    real = [source for source in lab.sources if source.kind is not SourceKind.SIMULATED]
    if not simulated:
        return
    if real and not flags.mix_simulated:
        says = (
            f"source {simulated[0].name} is simulated and {real[0].name} is real; their times have nothing to do with "
            "each other: remove one kind, or ask for the mixture with --insecure-mix-simulated"
        )
        yield Finding("simulated-beside-real", says, read.line_of(simulated[0], "kind"))
    if flags.serve_simulated_time:
        return
    for listener in lab.listeners:
        if listener.protocol is Protocol.CHRONY_SOCK:
            says = (
                f"[[listener]] chrony-sock to {_printable(listener.path or '')} would set a clock by simulated time; "
                "remove it, or ask for it with --insecure-serve-simulated-time"
            )
            yield Finding("simulated-to-others", says, read.line_of(listener, "protocol"))
        elif not listener.is_loopback and _is_ip(listener.address):
            says = (
                f"[[listener]] {listener.protocol} on {listener.address} would serve simulated time to other machines; "
                "use 127.0.0.1, or ask for it with --insecure-serve-simulated-time"
            )
            yield Finding("simulated-to-others", says, read.line_of(listener, "address"))


def _use(read: TreeRead[LabFile], lab: LabFile) -> Iterator[Finding]:
    """Warn of what is lawful but does nothing; not of a file whose sources could not all be read."""
    if read.findings:
        return
    if not lab.sources:
        says = "there is no [[source]]; the laboratory would know no time but its own host's, and stay in freerun"
        yield Finding("no-source", says, severity=Severity.WARNING)
    kinds = {source.kind for source in lab.sources}
    if lab.clocks and lab.sources and kinds <= {SourceKind.NTP, SourceKind.NTS, SourceKind.CHRONY}:
        says = (
            "there are [[clock]] tables, but no source of kind readings or simulated compares them; they get no weight"
        )
        yield Finding("clocks-without-readings", says, read.line_of(lab.clocks[0]), severity=Severity.WARNING)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:60])
