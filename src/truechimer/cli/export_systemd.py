"""`truechimer export systemd LAB.toml --out DIR`: a hardened systemd unit for this laboratory, its user, the steps.

It installs nothing and asks nothing of systemd. One unit holds the laboratory and the processes that it starts (doors,
console): a door must outlive a laboratory that was killed, and be taken over by the next, so systemd ends the main
process alone (`KillMode=process`, ADR 22). Source: systemd.exec(5), systemd.service(5), sysusers.d(5).
"""

import argparse
import json
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from truechimer.cli.lab_arguments import OF_THE_USER, fault_lines, now_label
from truechimer.daemon.lab.lab_check import check_lab
from truechimer.daemon.lab.lab_file import LabFile
from truechimer.daemon.lab.lab_rules import InsecureFlags
from truechimer.daemon.lab.listener_settings import Protocol
from truechimer.daemon.lab.source_settings import SourceKind
from truechimer.errors import Rejected
from truechimer.formats.finding import has_errors

FINE, NO = 0, 1
USER = "truechimer"
CHRONY_USER = "_chrony"
WATCHDOG_S = 30
LEAST_FREE_PORT = 1024
RUN = "/run"
CHRONY_FOLDER = "/run/chrony"
CHRONY_UNITS = ("chrony.service", "chronyd.service")
UNIT_FOLDERS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
HIDDEN_BY_PROTECT_HOME = ("/home", "/root", "/run/user")
REFUSED_CALLS = "@privileged @resources @clock @mount @module @raw-io @reboot @swap @debug @cpu-emulation @obsolete"
HIDDEN_BY_PRIVATE_TMP = ("/tmp", "/var/tmp")  # noqa: S108 - compared with, nothing is put there
USER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,30}")
UNIT_LETTERS = re.compile(r"[^A-Za-z0-9_.-]")


class UnitRejected(Rejected):
    """No unit can be written for this laboratory."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a laboratory needs of its sandbox. `user`: who runs it; `low_port`: a port below 1024 is asked for;
    `writes`: folders outside its own, `/run` for all below it; `chrony_sockets`: those that chronyd makes, as root;
    `homes`, `temporary`: the laboratory or the program lies where `ProtectHome`, `PrivateTmp` would hide it.
    """

    name: str
    folder: Path
    file: Path
    program: tuple[str, ...]
    user: str
    low_port: bool
    writes: tuple[str, ...]
    chrony_sockets: tuple[str, ...]
    homes: bool
    temporary: bool
    evidence: tuple[str, ...]
    machine_code: bool
    observe: bool


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the form's options."""
    parser.add_argument("file", metavar="LAB.toml", type=Path, help="the laboratory's file")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="where the files go; none is replaced")
    parser.add_argument("--user", help=f"who runs it (default: {USER}, or {CHRONY_USER} beside chronyd's sockets)")
    parser.add_argument("--observe", action="store_true", help="a unit that runs `up --observe`")
    parser.add_argument(
        "--machine-code",
        action="store_true",
        help="let Numba compile the kernels: faster, but memory may be written and run; the default forbids that and "
        "runs the same figures as plain Python",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(options: argparse.Namespace) -> int:
    """Write the files and say what to run; return the exit status."""
    checked = check_lab(options.file, now=now_label(), flags=InsecureFlags(), observe=options.observe)
    # a laboratory that runs already holds its own ports, and its user owns its keys: no fault of its unit
    findings = tuple(one for one in checked.findings if one.rule not in OF_THE_USER)
    lab = checked.partial
    if lab is None or has_errors(findings):
        print("\n".join(fault_lines(replace(checked, findings=findings))), file=sys.stderr)
        return NO
    needs = needs_of(lab, options.file.absolute(), options)
    files = {
        f"truechimer-{needs.name}.service": unit(needs),
        f"truechimer-{needs.name}.sysusers.conf": sysusers(needs),
    }
    if needs.chrony_sockets:
        files[f"truechimer-{needs.name}.chrony.conf"] = for_chronyd(needs)
    written = _write(options.out, files)
    steps = install_steps(needs, options.out)
    closed = closed_to_others((*needs.program[:1], sys.prefix, sys.base_prefix))
    if options.json:
        print(json.dumps({"files": [str(path) for path in written], "user": needs.user, "install": steps}))
    elif closed is None:
        print("\n".join([*(f"wrote {path}" for path in written), "", "as root:", *(f"    {step}" for step in steps)]))
    if closed is not None:
        print(
            f"truechimer export: {needs.user} cannot enter {closed}, where this program lies; install it elsewhere "
            "(a virtual environment below /opt) and export with that one",
            file=sys.stderr,
        )
        return NO
    return FINE


def closed_to_others(places: tuple[str, ...]) -> str | None:
    """Return the first folder on the way to these places that another user cannot enter; None where there is none."""
    for place in places:
        path = Path(place).resolve()
        for folder in (*reversed(path.parents), *([path] if path.is_dir() else [])):
            try:
                if not folder.stat().st_mode & 0o001:
                    return str(folder)
            except OSError:
                return str(folder)
    return None


def needs_of(lab: LabFile, file: Path, options: argparse.Namespace) -> Needs:
    """Return what the laboratory of this file needs."""
    folder = file.parent
    sock = [door for door in lab.listeners if door.protocol is Protocol.CHRONY_SOCK]
    asks_chronyd = [one for one in lab.sources if one.kind is SourceKind.CHRONY and one.logdir is None]
    beside_chronyd = bool(asks_chronyd) or (bool(sock) and not options.observe)
    sockets = [Path(door.path or "").parent for door in sock if not options.observe]
    sockets += [Path(one.socket).parent if one.socket else Path(CHRONY_FOLDER) for one in asks_chronyd]
    outside = {str(folder / path) for path in sockets} | {
        str(folder / name) for name in (lab.evidence.folder, lab.policy.folder)
    }
    doors = [door for door in lab.listeners if door.protocol is not Protocol.CHRONY_SOCK]
    program = _program()
    places = [str(folder), str(Path(program[0]).absolute()), sys.prefix, sys.base_prefix, *outside]
    if any(letter in place for place in (*places, str(file)) for letter in "\n\r\0"):
        raise UnitRejected(f"{folder}: a unit cannot name a path with a line's end in it; move the laboratory")
    if options.user is not None and not USER_NAME.fullmatch(options.user):
        raise UnitRejected(f"{options.user!r} is no user's name; name one that this machine has")
    return Needs(
        name=UNIT_LETTERS.sub("-", lab.lab.name),
        folder=folder,
        file=file,
        program=program,
        user=options.user or (CHRONY_USER if beside_chronyd else USER),
        low_port=any(0 < door.port_number < LEAST_FREE_PORT for door in doors),
        writes=tuple(sorted({_mounted(place) for place in outside if not Path(place).is_relative_to(folder)})),
        chrony_sockets=tuple(str(folder / (door.path or "")) for door in sock if not options.observe),
        homes=any(Path(place).is_relative_to(hidden) for place in places for hidden in HIDDEN_BY_PROTECT_HOME),
        temporary=any(Path(place).is_relative_to(hidden) for place in places for hidden in HIDDEN_BY_PRIVATE_TMP),
        evidence=tuple(sorted(outside)),
        machine_code=options.machine_code,
        observe=options.observe,
    )


def _mounted(place: str) -> str:
    """Return what must be writable for a folder: `/run` for those below it, which come and go with their services, so
    that a mount of one alone would be gone after the first restart of chronyd.
    """
    return RUN if Path(place).is_relative_to(RUN) else place


def _program() -> tuple[str, ...]:
    """Return the words that start this very program."""
    script = Path(sys.prefix) / "bin" / "truechimer"
    return (str(script),) if script.is_file() else (sys.executable, "-m", "truechimer")


def unit(needs: Needs) -> str:
    """Return the unit's text."""
    command = " ".join(
        _word(word) for word in (*needs.program, "up", str(needs.file), *(["--observe"] if needs.observe else []))
    )
    low = "CAP_NET_BIND_SERVICE" if needs.low_port else ""
    lines = [
        "# Written by `truechimer export systemd`. What each process may do, and why: docs/guide/operations.md",
        "[Unit]",
        f"Description=truechimer laboratory {needs.name.replace('%', '%%')}",
        "Wants=network-online.target",
        "After=network-online.target time-set.target",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={command}",
        f"WorkingDirectory={str(needs.folder).replace('%', '%%')}",
        f"User={needs.user}",
        f"Environment={_path(f'TRUECHIMER_LAB={needs.folder}')}",
        "Environment=PYTHONDONTWRITEBYTECODE=1",
        *([] if needs.machine_code else ["Environment=TRUECHIMER_KERNELS=plain"]),
        *(["CacheDirectory=truechimer", "Environment=XDG_CACHE_HOME=%C"] if needs.machine_code else []),
        "# The main process alone is ended: doors outlive a laboratory that was killed, and the next takes them over.",
        "KillMode=process",
        "# A restart leaves NTP doors open, for the next start to go on with their sockets: no client is refused.",
        "RestartKillSignal=SIGUSR2",
        "Restart=on-failure",
        "# 1: another program has a port, or records wait; 2: the file, policy or records refuse, and will again",
        "RestartPreventExitStatus=2",
        "RestartSec=1",
        f"WatchdogSec={WATCHDOG_S}",
        "TimeoutStartSec=120",
        "TimeoutStopSec=30",
        "LimitNOFILE=8192",
        "LimitCORE=0",
        "UMask=0077",
        "",
        "# What it may touch",
        "ProtectSystem=strict",
        f"ProtectHome={'read-only' if needs.homes else 'yes'}",
        f"ReadWritePaths={_path(str(needs.folder))}",
        *(f"ReadWritePaths={_path(f'-{place}')}" for place in needs.writes),
        "# without this line /run stays writable (systemd 252: ProtectProc= and others exempt it)",
        *([] if RUN in needs.writes or needs.folder.is_relative_to(RUN) else [f"ReadOnlyPaths={RUN}"]),
        *([] if needs.temporary else ["PrivateTmp=yes"]),
        "PrivateDevices=yes",
        "DevicePolicy=closed",
        "PrivateIPC=yes",
        "RemoveIPC=yes",
        "ProtectProc=invisible",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelLogs=yes",
        "ProtectControlGroups=yes",
        "ProtectHostname=yes",
        "# It never sets this machine's clock, and cannot.",
        "ProtectClock=yes",
        "",
        "# What it may become",
        "NoNewPrivileges=yes",
        f"CapabilityBoundingSet={low}",
        f"AmbientCapabilities={low}",
        "RestrictSUIDSGID=yes",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "LockPersonality=yes",
        f"MemoryDenyWriteExecute={'no' if needs.machine_code else 'yes'}",
        "KeyringMode=private",
        "",
        "# What it may ask of the kernel",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        f"SystemCallFilter=~{REFUSED_CALLS}",
        "SystemCallErrorNumber=EPERM",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def for_chronyd(needs: Needs) -> str:
    """Return the drop-in for chronyd's unit: chronyd makes its refclock's socket as root, for root alone."""
    given = [f"ExecStartPost=-+chown {needs.user} {_word(path)}" for path in needs.chrony_sockets]
    why = "# Written by `truechimer export systemd`: who feeds this socket runs as another user than root"
    return "\n".join([why, "[Service]", *given]) + "\n"


def _chrony_unit() -> str:
    """Return the name of chronyd's unit here: distributions differ."""
    places = ((name, Path(folder) / name) for name in CHRONY_UNITS for folder in UNIT_FOLDERS)
    return next((name for name, path in places if path.is_file() and not path.is_symlink()), CHRONY_UNITS[0])


def sysusers(needs: Needs) -> str:
    """Return the user that the unit names, for systemd-sysusers."""
    if needs.user != USER:
        return f"# {needs.user} runs the laboratory and is there already\n"
    return f'u {USER} - "truechimer laboratory" -\n'


def install_steps(needs: Needs, out: Path) -> list[str]:
    """Return the lines that an administrator runs."""
    base = out / f"truechimer-{needs.name}"
    steps = [f"install -m 644 {_shell(f'{base}.service')} /etc/systemd/system/"]
    if needs.user == USER:
        steps = [
            f"install -D -m 644 {_shell(f'{base}.sysusers.conf')} /etc/sysusers.d/truechimer.conf && systemd-sysusers",
            *steps,
        ]
    steps.append(f"chown -R {needs.user}: {_shell(str(needs.folder))}")
    steps += [f"chown -R {needs.user}: {_shell(one)}" for one in needs.evidence if _is_own(one, needs)]
    chronyd = [] if not needs.chrony_sockets else [_chrony_unit()]
    for name in chronyd:
        there = f"/etc/systemd/system/{name}.d/truechimer-{needs.name}.conf"
        steps.append(f"install -D -m 644 {_shell(f'{base}.chrony.conf')} {there}")
    restarts = [f"systemctl restart {name}" for name in chronyd]
    return [*steps, "systemctl daemon-reload", *restarts, f"systemctl enable --now truechimer-{needs.name}"]


def _is_own(place: str, needs: Needs) -> bool:
    """Return True for a folder of the laboratory that lies outside the laboratory's own."""
    return place in needs.writes and place != RUN


def _write(out: Path, files: dict[str, str]) -> list[Path]:
    taken = [name for name in files if (out / name).exists()]
    if taken:
        raise UnitRejected(f"{out / taken[0]} is there already; move it away or name another folder: none is replaced")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (out / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UnitRejected(f"{out} cannot be written: {error.strerror}; name another folder") from None
    return [out / name for name in files]


def _word(text: str) -> str:
    """Return a word as systemd.syntax(7) reads it back: specifiers and variables off, quoted where it must be."""
    plain = text.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./$-]+", plain):
        return plain
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _path(text: str) -> str:
    """Return a word of a list that is no command line: a dollar sign is itself there."""
    return _word(text).replace("$$", "$")


def _shell(text: str) -> str:
    from shlex import quote

    return quote(text)
