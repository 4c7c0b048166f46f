"""LAB.toml against this machine: unreadable files, taken ports, keys that others can read, old leap tables.

It starts nothing and changes nothing: each port is bound and given back at once. All faults of the file (`toml_tree`),
between its keys (`lab_rules`) and of the machine come out together, so that an operator corrects them in one go.
"""

import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from truechimer.daemon.door.door_rules import DoorRulesRejected, keys_in
from truechimer.daemon.door.socket_address import socket_address
from truechimer.daemon.lab import notify_check
from truechimer.daemon.lab.lab_file import LabFile
from truechimer.daemon.lab.lab_reading import LabFileUnreadableRejected, read_at_most, read_lab, reason_of
from truechimer.daemon.lab.lab_rules import InsecureFlags
from truechimer.daemon.lab.listener_settings import TRANSPORTS, Listener, Protocol
from truechimer.daemon.lab.source_settings import DEFAULT_CHRONY_SOCKET, SourceKind
from truechimer.formats import leap_seconds_list
from truechimer.formats.finding import Finding, Severity, has_errors
from truechimer.formats.toml_tree import MAX_BYTES, TreeRead, by_line
from truechimer.instants import Instant, LeapTable, Span, builtin_leap_table
from truechimer.serve.ntp.mac import DEPRECATED

__all__ = ["CheckedLab", "LabFileUnreadableRejected", "check_lab"]

LEAP_EXPIRY_WARNING = Span.from_ns(28 * 86_400 * 10**9)
"""A table that expires within four weeks is said: IERS announces half a year ahead, so a newer one is out by then."""

_MOST_BYTES_OF_A_LEAP_TABLE = 1024 * 1024

OPEN_WHILE_OBSERVING = frozenset({Protocol.CONSOLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedLab:
    """A judged configuration: `lab` is None where any finding is an error,
    `partial` what could be read all the same; relative paths of it are under `folder`. `observe`: judged for a run that
    only watches."""

    path: Path
    folder: Path
    data: bytes
    lab: LabFile | None
    partial: LabFile | None
    leap_table: LeapTable | None
    findings: tuple[Finding, ...]
    observe: bool = False


def check_lab(path: Path, *, now: Instant, flags: InsecureFlags | None = None, observe: bool = False) -> CheckedLab:
    """Read and judge a laboratory's file; raise LabFileUnreadableRejected where the file itself cannot be opened.

    `now` is a label good to a day: it is only compared with the leap table's expiry. `observe`: for a run that only
    watches, which opens no door but the console and uses no key; ports of the others and keys are not looked at.
    """
    told = read_lab(path, flags or InsecureFlags())
    data, folder, read = told.data, told.folder, told.read
    findings = list(told.findings)
    leap_table = None
    if read.partial is not None:
        leap_table, faults = load_leap_table(read, folder, now)
        findings += faults
        findings += _files(read, read.partial, folder)
        findings += _chrony(read, read.partial, folder)
        findings += _receivers(read, read.partial, folder)
        if not observe:
            findings += _keys(read, read.partial, folder)
            findings += _keys_of_doors(read, read.partial, folder)
        findings += _folders(read, read.partial, folder, observe=observe)
        findings += _published(read, read.partial, folder)
        findings += _ports(read, doors_of(read.partial, observe=observe))
        findings += _witnesses(read, read.partial, folder)
        findings += notify_check.faults_of_files(read, read.partial.notify, folder)
    lab = None if has_errors(findings) else read.value
    return CheckedLab(
        path=path,
        folder=folder,
        data=data,
        lab=lab,
        partial=read.partial,
        leap_table=leap_table,
        findings=tuple(by_line(findings)),
        observe=observe,
    )


def load_leap_table(read: TreeRead[LabFile], folder: Path, now: Instant) -> tuple[LeapTable | None, list[Finding]]:
    """Return the leap table of the laboratory (its own file or the built-in one) and what is wrong with it."""
    assert read.partial is not None
    name = read.partial.lab.leap_seconds_file
    line = read.line_of(read.partial.lab, "leap_seconds_file") if name is not None else None
    if name is None:
        table = builtin_leap_table()
        where = "the built-in leap table"
    else:
        where = f"[lab] leap_seconds_file {name}"
        try:
            with (folder / name).open("rb") as file:
                data = file.read(_MOST_BYTES_OF_A_LEAP_TABLE)
        except OSError as error:
            return None, [Finding("unreadable-file", f"{where} cannot be read: {reason_of(error)}", line)]
        read_table, faults = leap_seconds_list.read(data)
        if read_table is None:
            says = "; ".join(fault.at(name) for fault in faults[:5])
            return None, [Finding("bad-leap-table", f"{where} is refused: {says}", line)]
        table = read_table
    advice = "set [lab] leap_seconds_file to a newer leap-seconds.list (IERS or NIST publish it)"
    if table.is_expired(now):
        says = f"{where} expired on {table.expires}; {advice}"
        return table, [Finding("leap-table-expired", says, line)]
    if table.is_expired(now + LEAP_EXPIRY_WARNING):
        says = f"{where} expires on {table.expires}, in less than four weeks; {advice}"
        return table, [Finding("leap-table-expiring", says, line, severity=Severity.WARNING)]
    return table, []


def why_unreadable(path: Path) -> str | None:
    """Return why this file cannot be read as an ordinary file, or None where it can."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return "it is a folder"
        if not stat.S_ISREG(mode):
            return "it is not an ordinary file"
        with path.open("rb"):
            return None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        return reason_of(error) if isinstance(error, OSError) else str(error)


def _files(read: TreeRead[LabFile], lab: LabFile, folder: Path) -> Iterator[Finding]:
    for source in lab.sources:
        for key, name in (("path", source.path), ("scenario", source.scenario)):
            if name is None or source.kind in {SourceKind.NTP, SourceKind.NTS, SourceKind.CHRONY}:
                continue
            reason = why_unreadable(folder / name)
            if reason is not None:
                says = f"[[source]] {source.name} {key} {name} cannot be read: {reason}"
                yield Finding("unreadable-file", says, read.line_of(source, key))
            elif source.kind is SourceKind.SIMULATED and key == "scenario":
                yield from _scenario(folder / name, name, read.line_of(source, key))


def _receivers(read: TreeRead[LabFile], lab: LabFile, folder: Path) -> Iterator[Finding]:
    """Warn of a receiver that is not there (yet): its readings are doubtful until it speaks."""
    for receiver in lab.receivers:
        try:
            mode = (folder / receiver.path).stat().st_mode
            wrong = "it is a folder" if stat.S_ISDIR(mode) else ""
            if not wrong and not os.access(folder / receiver.path, os.R_OK):
                wrong = "this user may not read it (a serial device: join the group that owns it)"
        except (OSError, ValueError) as error:
            wrong = reason_of(error) if isinstance(error, OSError) else str(error)
        if wrong:
            says = (
                f"[[receiver]] {receiver.name} path {receiver.path}: {wrong}; readings of {receiver.link} are doubtful "
                "until its messages come"
            )
            yield Finding("receiver-away", says, read.line_of(receiver, "path"), severity=Severity.WARNING)


def _chrony(read: TreeRead[LabFile], lab: LabFile, folder: Path) -> Iterator[Finding]:
    """Warn of a chronyd that is not there (yet): it may start later, and its feed waits for it."""
    for source in lab.sources:
        if source.kind is not SourceKind.CHRONY:
            continue
        key = "socket" if source.logdir is None else "logdir"
        path = folder / (source.logdir or source.socket or DEFAULT_CHRONY_SOCKET)
        try:
            mode = path.stat().st_mode
            wrong = "" if (stat.S_ISSOCK if key == "socket" else stat.S_ISDIR)(mode) else "it is something else"
        except (OSError, ValueError) as error:
            wrong = reason_of(error) if isinstance(error, OSError) else str(error)
        if wrong:
            says = f"[[source]] {source.name} {key} {path}: {wrong}; nothing is read from it until chronyd is there"
            yield Finding("chronyd-away", says, read.line_of(source, key), severity=Severity.WARNING)


def _scenario(path: Path, name: str, line: int | None) -> Iterator[Finding]:
    """Judge the scenario of a simulated source too: its faults stop the laboratory just as this file's do."""
    from truechimer.sim.scenario_file import read as read_scenario  # brings NumPy, which only such a laboratory needs

    _, faults = read_scenario(read_at_most(path, MAX_BYTES + 1))
    for fault in faults:
        yield Finding(f"scenario-{fault.rule}", fault.at(name), line, severity=fault.severity)


def _keys(read: TreeRead[LabFile], lab: LabFile, folder: Path) -> Iterator[Finding]:
    """Judge the key files of the policy's folder; the folder itself may still be absent, the first `up` makes it."""
    policy_folder = folder / lab.policy.folder
    line = read.line_of(lab.policy, "folder")
    if not policy_folder.is_dir():
        return
    for path in sorted(policy_folder.glob("*.key")):
        shown = path.relative_to(policy_folder.parent)
        reason = why_unreadable(path)
        if reason is not None:
            yield Finding("unreadable-key", f"the key {shown} cannot be read: {reason}", line)
            continue
        found = path.stat()
        if found.st_mode & 0o077:
            says = (
                f"the key {shown} has mode {stat.S_IMODE(found.st_mode):04o}: others can use it to order steers in "
                f"your name; run: chmod 600 {shown}"
            )
            yield Finding("key-permissions", says, line)
        if found.st_uid not in {os.geteuid(), 0}:
            says = f"the key {shown} belongs to user {found.st_uid}, who can change it; make it your own (chown)"
            yield Finding("key-owner", says, line)


def _keys_of_doors(read: TreeRead[LabFile], lab: LabFile, folder: Path) -> Iterator[Finding]:
    """Judge the files of symmetric keys of the doors, and of the servers that are asked."""
    for source in lab.sources:
        if source.keys is not None and source.key is not None:
            line = read.line_of(source, "keys")
            try:
                if source.key not in keys_in(folder / source.keys):
                    yield Finding("bad-key-file", f"[[source]] {source.name} keys: no key {source.key} in it", line)
            except DoorRulesRejected as error:
                yield Finding("bad-key-file", f"[[source]] {source.name} keys: {error}", line)
    for listener in lab.listeners:
        if listener.keys is None:
            continue
        line = read.line_of(listener, "keys")
        try:
            ring = keys_in(folder / listener.keys)
        except DoorRulesRejected as error:
            yield Finding("bad-key-file", f"[[listener]] {listener.protocol} keys: {error}", line)
            continue
        weak = [str(key.key_id) for key in ring.values() if key.kind in DEPRECATED]
        if weak:
            says = (
                f"[[listener]] {listener.protocol} keys {listener.keys}: key {', '.join(weak[:8])} of kind MD5 can be "
                "forged (RFC 8573); give those clients keys of kind AES128"
            )
            yield Finding("weak-key", says, line, severity=Severity.WARNING)


def _folders(read: TreeRead[LabFile], lab: LabFile, folder: Path, *, observe: bool) -> Iterator[Finding]:
    policy = () if observe else ((lab.policy, lab.policy.folder),)
    for table, name in ((lab.evidence, lab.evidence.folder), *policy, (lab, "run")):
        nearest = folder / name
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        line = read.line_of(table, "folder")
        if not nearest.is_dir():
            yield Finding("not-a-folder", f"{nearest} must be a folder, but is a file; move it or name another", line)
        elif not os.access(nearest, os.W_OK | os.X_OK):
            says = f"nothing can be written to {nearest}, where {name} belongs; change its owner or name another folder"
            yield Finding("folder-not-writable", says, line)


def _published(read: TreeRead[LabFile], lab: LabFile, folder: Path) -> Iterator[Finding]:
    """Judge the folder of published values: whoever can write there is heard, though judged."""
    if lab.utc.published is None:
        return
    path, line = folder / lab.utc.published, read.line_of(lab.utc, "published")
    shown = f"[utc] published {lab.utc.published}"
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return  # made at the start
    except (OSError, ValueError) as error:
        says = reason_of(error) if isinstance(error, OSError) else str(error)
        yield Finding("unreadable-file", f"{shown} cannot be read: {says}", line)
        return
    if not stat.S_ISDIR(mode) or not os.access(path, os.R_OK | os.X_OK):
        yield Finding("not-a-folder", f"{shown} must be a folder that can be read", line)
    elif mode & stat.S_IWOTH:
        says = f"{shown}: everybody on this machine can put files there, and UTC(k) follows what fits; run: chmod o-w"
        yield Finding("folder-permissions", f"{says} {lab.utc.published}", line)


def _witnesses(read: TreeRead[LabFile], lab: LabFile, folder: Path) -> Iterator[Finding]:
    """Judge the policy file that names the witnesses of the log."""
    if lab.evidence.witnesses is None:
        return
    from truechimer.daemon.log.log_witnesses import witness_policy  # brings `cryptography`
    from truechimer.evidence.log_policy import LogPolicyRejected

    try:
        witness_policy(folder / lab.evidence.witnesses)
    except LogPolicyRejected as error:
        says = f"[evidence] witnesses {lab.evidence.witnesses}: {error}"
        yield Finding("bad-witness-policy", says, read.line_of(lab.evidence, "witnesses"))


def doors_of(lab: LabFile, *, observe: bool) -> tuple[Listener, ...]:
    """Return the doors that a run opens: all of the file, or, where it only watches, those that give nobody the time of
    a protocol (the console).
    """
    return tuple(one for one in lab.listeners if not observe or one.protocol in OPEN_WHILE_OBSERVING)


def _ports(read: TreeRead[LabFile], listeners: tuple[Listener, ...]) -> Iterator[Finding]:
    for listener in listeners:
        if not read.is_sound(listener, "address", "port", "protocol"):
            continue
        try:
            ipaddress.ip_address(listener.address)
        except ValueError:
            continue  # said by lab_rules
        for transport in sorted(TRANSPORTS[listener.protocol]):
            fault = _try_bind(listener, transport)
            if fault is not None:
                rule, says = fault
                door = f"[[listener]] {listener.protocol} on {listener.address} port {listener.port_number}/{transport}"
                yield Finding(rule, f"{door}: {says}", read.line_of(listener, "port"))


def _try_bind(listener: Listener, transport: str) -> tuple[str, str] | None:
    """Bind the door's port and give it back; return (rule, why it cannot be had), or None."""
    address = ipaddress.ip_address(listener.address)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    try:
        with socket.socket(family, kind) as door:
            if transport == "tcp":
                # A connection that has just ended does not make the port taken; a listening socket still does.
                door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not listener.serves_both_families)
            door.bind(socket_address(listener.address, listener.port_number))
            if transport == "tcp":
                door.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return (
                "port-in-use",
                "another program has this port (or this laboratory runs already); stop it or give another port",
            )
        if error.errno == errno.EACCES:
            return (
                "port-privileged",
                "ports below 1024 need root or CAP_NET_BIND_SERVICE; use a port above 1024 or run it so",
            )
        if error.errno == errno.EADDRNOTAVAIL:
            return "address-not-here", "this machine does not have this address; `ip address` lists what it has"
        if address.is_link_local and "%" not in listener.address:
            says = f"an address of one link goes with its interface: {listener.address}%eth0; `ip address` names them"
            return "address-not-here", says
        return "cannot-bind", f"{reason_of(error)}; give another address or port"
    return None
