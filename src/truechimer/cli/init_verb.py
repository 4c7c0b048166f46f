"""`truechimer init DIR`: a laboratory's folder with a commented LAB.toml, from nothing, chrony's servers or files.

It starts nothing and overwrites nothing. Exit status: 0 written; 2 wrong use, a file that is there already, or a folder
that cannot be written.
"""

import json
import re
import sys
from pathlib import Path

from truechimer.cli.arguments import verb_parser
from truechimer.cli.check_verb import schema_text
from truechimer.cli.init_from_chrony import DEFAULT_CONFS, NETWORK_BOUND_LIMIT_S, FromChrony
from truechimer.clocks.clock import RESERVED_NAMES
from truechimer.daemon.lab.lab_template import SCHEMA_FILE, Template, TemplateSource, lab_toml
from truechimer.errors import Rejected
from truechimer.formats import readings_csv
from truechimer.formats.finding import Finding

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
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help=f"with --from chrony, its configuration (default: {DEFAULT_CONFS[0]}, else {DEFAULT_CONFS[1]})",
    )
    parser.add_argument("--chrony-conf", type=Path, metavar="FILE", help="the same as FILE")
    parser.add_argument("--name", help="name of the laboratory (default: the folder's)")
    parser.add_argument(
        "--renew-envelope",
        action="store_true",
        help="sign a new steering envelope for 90 days with the keys in DIR's policy folder; nothing else is written",
    )
    parser.add_argument("--json", action="store_true", help="print what was written as one JSON document")
    # DIR may stand before or behind --from, and FILE behind both
    options = parser.parse_intermixed_args(argv)
    folder: Path = options.dir
    conf: Path | None = options.chrony_conf or options.file
    if conf is not None and options.origin != "chrony":
        parser.error(f"{conf} is of use with --from chrony only")
    if options.chrony_conf is not None and options.file is not None:
        parser.error("name chrony's configuration once, as FILE or as --chrony-conf FILE")
    if folder.is_file() and conf is not None:
        parser.error(f"{folder} is a file; write `truechimer init DIR --from chrony FILE`")
    if options.renew_envelope:
        return _renew_envelope(folder, as_json=options.json)
    name = options.name or re.sub(r"[^A-Za-z0-9_.-]", "-", folder.resolve().name) or "lab1"
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        parser.error(f"--name {name!r}: letters, digits and _ . - make a name")
    notes: list[str] = []
    sources: list[TemplateSource] = []
    clock_names: list[str] = []
    bound_limit_s: float | None = None
    if options.origin == "chrony":
        found = FromChrony(sources, notes)
        found.take(conf)
        bound_limit_s = NETWORK_BOUND_LIMIT_S
    elif options.origin == "files":
        sources, clock_names = _from_files(folder, notes)
    text = lab_toml(
        Template(name=name, sources=tuple(sources), clock_names=tuple(clock_names), bound_limit_s=bound_limit_s)
    )
    written = _write(folder, {"LAB.toml": text, SCHEMA_FILE: schema_text()})
    for note in notes:
        print(f"truechimer init: {note}", file=sys.stderr)
    used = [dict(source.keys) for source in sources if not source.disabled]
    if options.json:
        files = [str(path) for path in written]
        print(json.dumps({"files": files, "lab": name, "sources": used, "notes": notes}, indent=1))
    else:
        lab = written[0]
        print(f"{lab}: laboratory {name}, {len(used)} source{'s' * (len(used) != 1)}")
        print(f"next: edit it, then `truechimer check {lab}` and `truechimer up {lab}`")
    return 0


def _renew_envelope(folder: Path, *, as_json: bool) -> int:
    """Sign a new envelope, by the will of whoever holds the keys: a restart never does it by itself."""
    from truechimer.cli.lab_arguments import fault_lines, now_label
    from truechimer.daemon.answering.now_document import scale_name
    from truechimer.daemon.lab.lab_check import check_lab
    from truechimer.daemon.lab_start import clocks_of
    from truechimer.daemon.orders import orders_standing, policy_files
    from truechimer.quorum.proposal import Place, place_after

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
    shown = folder / lab.policy.folder / "envelope.json"
    orders = orders_standing.of_laboratory(checked.folder, lab.evidence.folder)
    policy = policy_files.load_policy(where) if orders is None else orders.applier.policy
    files = policy_files.renew_envelope(
        where,
        clocks_of(lab, checked.folder),
        policy=policy,
        place=Place(policy.digest) if orders is None else place_after(orders.applier),
        target=scale_name(lab.lab.name, simulated=lab.is_simulated, observe=False),
        now_ns=now_label().tai_ns_floor,
    )
    limits = policy_files.limits_of(files)
    if as_json:
        print(json.dumps({"files": [str(shown)], "sequence": limits.sequence}, indent=1))
    else:
        days = policy_files.ENVELOPE_DAYS
        print(f"{shown}: signed for {days} days; a running `up` takes it at its next start")
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
        keys: tuple[tuple[str, str], ...] = (("name", name), ("kind", "readings"), ("path", path.name))
        link = _one_link([(row.a, row.b) for row in rows])
        if link is not None:
            remark += " What averaging never removes (a calibration's uncertainty, say) stands as limit_s, in seconds."
            keys = (("name", name), ("kind", "link"), ("to", link), ("path", path.name))
        sources.append(TemplateSource(keys=keys, remark=remark))
    if not sources:
        raise InitRejected(
            f"there is no readings CSV in {folder}; its header is epoch_mjd,clock_a,clock_b,x_a_minus_b_s,u_s "
            f"(or epoch_tai_ns in the first place){f'; {notes[0]}' if notes else ''}"
        )
    return sources, list(clocks)


def _one_link(pairs: list[tuple[str, str]]) -> str | None:
    """Return the link that every row of a file is about, None where there is none, or rows of something else."""
    ends = [[name for name in pair if name in {"UTC", "UTCr"} or name.startswith("UTC.")] for pair in pairs]
    found = {name for names in ends for name in names}
    return found.pop() if len(found) == 1 and all(len(names) == 1 for names in ends) else None


def _no_readings(path: Path, findings: list[Finding]) -> str:
    first = findings[0].at(path.name) if findings else f"{path.name} is empty"
    return f"{path.name} is left out, it has no readings: {first}"
