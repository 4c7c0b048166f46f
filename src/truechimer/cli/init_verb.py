"""`truechimer init DIR`: a laboratory's folder with a commented LAB.toml, from nothing, chrony's servers or files.

It starts nothing and overwrites nothing. Exit status: 0 written; 2 wrong use, a file that is there already, or a folder
that cannot be written.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from truechimer.cli.arguments import verb_parser
from truechimer.cli.check_verb import schema_text
from truechimer.clocks.clock import RESERVED_NAMES
from truechimer.daemon.lab_file import DEFAULT_CHRONY_SOCKET
from truechimer.daemon.lab_template import SCHEMA_FILE, Template, TemplateSource, lab_toml
from truechimer.errors import Rejected
from truechimer.formats import chrony_conf, readings_csv
from truechimer.formats.chrony_conf import ChronySource
from truechimer.formats.finding import Finding

CHRONY_CONF = Path("/etc/chrony/chrony.conf")
_MOST_FILES_OF_CHRONY = 200
_MOST_BYTES_LOOKED_AT = 1024 * 1024
"""Of each CSV, enough to meet every clock that is compared; a growing record may be larger than memory."""


class InitRejected(Rejected):
    """The folder cannot become a laboratory's; the text says why and what to do."""


def main(argv: list[str]) -> int:
    """Write DIR/LAB.toml and its schema."""
    parser = verb_parser("init", "Write a commented laboratory file, DIR/LAB.toml; nothing is overwritten.")
    parser.add_argument("dir", metavar="DIR", type=Path, help="the laboratory's folder; made where it does not exist")
    parser.add_argument(
        "--from",
        dest="origin",
        choices=("chrony", "files"),
        help="take NTP servers from chrony.conf, or readings CSV files from DIR",
    )
    parser.add_argument("--chrony-conf", type=Path, default=CHRONY_CONF, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--name", help="name of the laboratory (default: the folder's)")
    parser.add_argument(
        "--renew-envelope",
        action="store_true",
        help="sign a new steering envelope for 90 days with the keys in DIR's policy folder; nothing else is written",
    )
    parser.add_argument("--json", action="store_true", help="print what was written as one JSON document")
    options = parser.parse_args(argv)
    folder: Path = options.dir
    if options.renew_envelope:
        return _renew_envelope(folder, as_json=options.json)
    name = options.name or re.sub(r"[^A-Za-z0-9_.-]", "-", folder.resolve().name) or "lab1"
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        parser.error(f"--name {name!r}: letters, digits and _ . - make a name")
    notes: list[str] = []
    sources: list[TemplateSource] = []
    clock_names: list[str] = []
    if options.origin == "chrony":
        found = _Chrony(notes)
        sources = [*_from_chrony(found, options.chrony_conf), *_from_running_chrony(found)]
    elif options.origin == "files":
        sources, clock_names = _from_files(folder, notes)
    text = lab_toml(Template(name=name, sources=tuple(sources), clock_names=tuple(clock_names)))
    written = _write(folder, {"LAB.toml": text, SCHEMA_FILE: schema_text()})
    for note in notes:
        print(f"truechimer init: {note}", file=sys.stderr)
    used = [dict(source.keys) for source in sources if not source.disabled]
    if options.json:
        print(json.dumps({"files": [str(path) for path in written], "lab": name, "sources": used}, indent=1))
    else:
        lab = written[0]
        print(f"{lab}: laboratory {name}, {len(used)} source{'s' * (len(used) != 1)}")
        print(f"next: edit it, then `truechimer check {lab}` and `truechimer up {lab}`")
    return 0


def _renew_envelope(folder: Path, *, as_json: bool) -> int:
    """Sign a new envelope, by the will of whoever holds the keys: a restart never does it by itself."""
    from truechimer.cli.lab_arguments import fault_lines, now_label
    from truechimer.daemon import policy_files
    from truechimer.daemon.lab_check import check_lab
    from truechimer.daemon.lab_start import clocks_of

    checked = check_lab(folder / "LAB.toml", now=now_label())
    read = checked.lab
    if read is None and any(finding.rule != "port-in-use" for finding in checked.findings):
        for fault in fault_lines(checked):
            print(fault, file=sys.stderr)
        raise InitRejected(f"{folder / 'LAB.toml'} has faults; nothing was signed")
    lab = checked.partial if read is None else read
    if lab is None:
        raise InitRejected(f"{folder / 'LAB.toml'} cannot be read; nothing was signed")
    where = checked.folder / lab.policy.folder
    files = policy_files.renew_envelope(where, clocks_of(lab, checked.folder), now_ns=now_label().tai_ns_floor)
    limits = policy_files.limits_of(files)
    if as_json:
        print(json.dumps({"files": [str(where / "envelope.json")], "sequence": limits.sequence}, indent=1))
    else:
        days = policy_files.ENVELOPE_DAYS
        print(f"{where / 'envelope.json'}: signed for {days} days; a running `up` takes it at its next start")
    return 0


def _write(folder: Path, texts: dict[str, str]) -> list[Path]:
    """Write new files; where one is there already nothing is written at all."""
    for name in texts:
        if (folder / name).exists() or (folder / name).is_symlink():
            raise InitRejected(
                f"{folder / name} is there already and is not overwritten; move it, or name another folder"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise InitRejected(f"{folder} cannot be written: {(error.strerror or str(error)).lower()}") from None
    return [folder / name for name in texts]


@dataclass(slots=True)
class _Chrony:
    """What is to be said of chrony's files, and where its command socket is."""

    notes: list[str]
    socket: str = DEFAULT_CHRONY_SOCKET


def _from_running_chrony(chrony: _Chrony) -> Iterator[TemplateSource]:
    """Offer the chronyd that runs here as one source, commented out: beside its servers it would ask them twice."""
    if not Path(chrony.socket).is_socket():
        return
    remark = (
        "The chronyd that runs here: every server and reference clock that it follows becomes a link of its own, and "
        "nobody is asked twice. Use this one or the servers above: both together give each server one vote, but ask "
        "it two ways."
    )
    keys = (("name", "chrony"), ("kind", "chrony"), ("socket", chrony.socket))
    yield TemplateSource(keys=keys, remark=remark, disabled=True)
    chrony.notes.append(f"a chronyd answers on {chrony.socket}; it is offered as a source of kind chrony, as a comment")


def _from_chrony(chrony: _Chrony, path: Path) -> Iterator[TemplateSource]:
    """Yield the NTP servers that chronyd asks, in the order of its files; those with NTS are disabled."""
    notes = chrony.notes
    taken: set[str] = set()
    found = False
    for file, source in _chrony_sources(chrony, path):
        found = True
        host = f"[{source.host}]" if ":" in source.host else source.host
        address = f"{host}:{source.port}"
        name = re.sub(r"[^A-Za-z0-9_.-]", "-", source.host)
        if address in taken:
            continue
        if any(name == re.sub(r"[^A-Za-z0-9_.-]", "-", each.rpartition(":")[0]) for each in taken):
            name = f"{name}-{source.port}"
        taken.add(address)
        remark = f"{source.directive} on line {source.line} of {file}."
        if source.directive == "pool":
            remark += " A pool is many servers of many operators; here it is asked as one."
        if source.nts:
            remark += (
                " chronyd authenticates it with NTS, which this version cannot yet: left out rather than asked without."
            )
            notes.append(f"{source.host} is written as a comment: it is authenticated with NTS, which is not built yet")
        keys: list[tuple[str, str | float]] = [
            ("name", name),
            ("kind", "nts" if source.nts else "ntp"),
            ("address", address),
        ]
        if source.minpoll != chrony_conf.DEFAULT_MINPOLL:
            remark += f" minpoll {source.minpoll} is kept."
        keys.append(("poll_s", max(2.0**source.minpoll, 0.1)))
        yield TemplateSource(keys=tuple(keys), remark=remark, disabled=source.nts)
    if not found:
        notes.append(f"no server, pool or peer line was found from {path} on; write a [[source]] by hand")


def _chrony_sources(chrony: _Chrony, path: Path) -> Iterator[tuple[Path, ChronySource]]:
    """Read chrony.conf and what it includes; each file once, at most a few hundred."""
    notes = chrony.notes
    waiting = [path]
    seen: set[Path] = set()
    while waiting and len(seen) < _MOST_FILES_OF_CHRONY:
        file = waiting.pop(0)
        if file in seen:
            continue
        seen.add(file)
        try:
            conf, findings = chrony_conf.read(file.read_bytes())
        except OSError as error:
            says = f"{file} cannot be read: {(error.strerror or str(error)).lower()}"
            if file == path:
                raise InitRejected(f"{says}; name chrony's configuration with --chrony-conf FILE") from None
            notes.append(says)
            continue
        notes.extend(finding.at(str(file)) for finding in findings)
        chrony.socket = conf.command_socket or chrony.socket
        if conf.has_reference_clock:
            notes.append(f"{file} has refclock lines: a source of kind chrony reads chrony's own reference clocks")
        for source in conf.sources:
            yield file, source
        for folder in conf.folders:
            waiting.extend(_files_of(folder))


def _files_of(folder: chrony_conf.ChronyFolder) -> list[Path]:
    place = Path(folder.path)
    if folder.directive == "include":
        return sorted(place.parent.glob(place.name)) if place.name else []
    return sorted(place.glob("*.conf" if folder.directive == "confdir" else "*.sources"))


def _from_files(folder: Path, notes: list[str]) -> tuple[list[TemplateSource], list[str]]:
    """Return a source for each readings CSV of the folder, and the clocks they name (reserved names left out)."""
    sources: list[TemplateSource] = []
    clocks: dict[str, None] = {}
    for path in sorted(folder.glob("*.csv")):
        try:
            with path.open("rb") as file:
                data = file.read(_MOST_BYTES_LOOKED_AT)
        except OSError as error:
            notes.append(f"{path} cannot be read: {(error.strerror or str(error)).lower()}")
            continue
        whole_lines = data[: data.rfind(b"\n") + 1]
        rows, findings = readings_csv.read(whole_lines)
        if not rows:
            notes.append(_no_readings(path, findings))
            continue
        names = dict.fromkeys(name for row in rows for name in (row.a, row.b))
        clocks |= {clock: None for clock in names if clock not in RESERVED_NAMES and not clock.startswith("UTC.")}
        name = re.sub(r"[^A-Za-z0-9_.-]", "-", path.stem)
        remark = f"{path.name} compares {', '.join(list(names)[:8])}{' ...' * (len(names) > 8)}."
        sources.append(TemplateSource(keys=(("name", name), ("kind", "readings"), ("path", path.name)), remark=remark))
    if not sources:
        raise InitRejected(
            f"there is no readings CSV in {folder}; its header is epoch_mjd,clock_a,clock_b,x_a_minus_b_s,u_s "
            "(or epoch_tai_ns in the first place)"
        )
    return sources, list(clocks)


def _no_readings(path: Path, findings: list[Finding]) -> str:
    first = findings[0].at(path.name) if findings else f"{path.name} is empty"
    return f"{path.name} is left out, it has no readings: {first}"
