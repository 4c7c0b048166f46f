"""`truechimer cggtts read|compare|write|loops`: time transfer by satellites from CGGTTS files.

The format is `truechimer.formats.cggtts`, the comparison `truechimer.compare.common_view`; here are arguments, files
and what is printed (pictures: `cggtts_plot`; the JSON of a link: `cggtts_document`; loops of links: `cggtts_loops`;
two-way sessions: `cggtts_two_way`). A line that cannot be used is named with
file, line, column and rule, and costs no other line.

Exit status: 0 done; 1 (`read --strict`) something was found; 2 wrong use, a file that cannot be read, or files that
have nothing in common.
"""

import argparse
import json
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli import cggtts_loops
from truechimer.cli.arguments import verb_parser
from truechimer.cli.option_values import number
from truechimer.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from truechimer.cli.cggtts_plot import Drawn
    from truechimer.compare.common_view import SatelliteLink
    from truechimer.compare.link_smoothing import Smoothed
    from truechimer.formats.cggtts import CggttsFile
    from truechimer.formats.finding import Finding

LARGEST_FILE = 256 << 20
MOST_NAMED = 20
NS = 1e9
_degrees = number("is no elevation: give degrees, 0 to 90", least=0.0, most=90.0)
_ns = number("is no calibration: give ns, less than a second", above=-1e9, most=1e9)


class CggttsUseRejected(Rejected):
    """A file that is no CGGTTS file, or an option that does not fit it."""


def main(argv: list[str]) -> int:
    """Run `cggtts` with the arguments after the verb; return the exit status."""
    parser = verb_parser("cggtts", "Time transfer by satellites: CGGTTS files of formats 2E and 01.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    read = verbs.add_parser("read", help="say what a file holds and what is wrong with it", allow_abbrev=False)
    read.add_argument("file", metavar="FILE", type=Path, help="- for standard input")
    read.add_argument("--strict", action="store_true", help="status 1 if anything was found, a header's sum included")
    read.add_argument("--json", action="store_true", help="print one JSON document")
    compare = verbs.add_parser(
        "compare",
        help="clock of A minus clock of B: common view, all in view, or two-way sessions",
        description="Clock of A minus clock of B (ns): each code by itself, epoch by epoch, with the uncertainty that "
        "the satellites' scatter gives, then smoothed. Outliers are named. Two files of two-way sessions (ITU-R "
        "TF.1153) are compared station by station.",
        allow_abbrev=False,
    )
    compare.add_argument("a", metavar="A", type=Path)
    compare.add_argument("b", metavar="B", type=Path)
    compare.add_argument("--method", choices=("cv", "aiv"), help="common view (default) or all in view")
    compare.add_argument("--min-elevation", metavar="DEG", type=_degrees, help="default 20 (cv), 10 (aiv)")
    compare.add_argument("--code", metavar="CODE", help="one code only: L3P, C1, 'E L3E' (system before it)")
    compare.add_argument("--measured-ionosphere", action="store_true", help="use MSIO in place of the model (MDIO)")
    compare.add_argument("--same-ephemeris", action="store_true", help="only pairs that used one ephemeris (IOE)")
    compare.add_argument("--short-tracks", action="store_true", help="use tracks below 780 s too")
    compare.add_argument("--calibration", metavar="NS", type=_ns, default=0.0, help="added to A - B, in ns")
    compare.add_argument("--out", metavar="CSV", type=Path, help="write the epochs")
    compare.add_argument("--plot", metavar="OUT", type=Path, help="draw epochs and TDEV: .svg, .html or .png")
    compare.add_argument("--json", action="store_true", help="print one JSON document")
    write = verbs.add_parser(
        "write",
        help="write a file anew, with both checksums right and, if asked, with other delays",
        description="Writes the good tracks of a file by the standard's rules, both checksums made anew. --delay takes "
        "a new value of a delay of the header; REFSYS and REFSV move by the difference of the totals.",
        allow_abbrev=False,
    )
    write.add_argument("file", metavar="FILE", type=Path)
    write.add_argument("--out", metavar="FILE", type=Path, required=True)
    write.add_argument(
        "--delay",
        metavar="'KEY [CODE]=NS'",
        type=_delay,
        action="append",
        default=[],
        help="such as 'CAB DLY=155.2' or 'INT DLY GAL E1=34.6'; may be given again",
    )
    cggtts_loops.add(verbs, _degrees, _ns)
    options = parser.parse_args(argv)
    if options.verb == "loops":
        return cggtts_loops.run(options, _file, _name)
    return {"read": _read, "compare": _compare, "write": _write}[options.verb](options)


def _delay(text: str) -> tuple[str, str, float]:
    key, equals, value = text.partition("=")
    words = key.split()
    if not equals or len(words) < 2 or words[1] != "DLY":
        raise argparse.ArgumentTypeError(f"{text!r} is no delay: give 'INT DLY GAL E1=34.6'")
    return " ".join(words[:2]), " ".join(words[2:]), _ns(value)


def _files(path: Path, data: bytes) -> "tuple[tuple[CggttsFile, ...], list[Finding]]":
    from truechimer.formats import cggtts_archive

    files, findings = cggtts_archive.read_all(data)
    if not files:
        raise CggttsUseRejected(findings[-1].at(str(path)))
    return files, findings


def _file(path: Path) -> "tuple[CggttsFile, list[Finding]]":
    from truechimer.cli import file_bytes

    return _joined(path, file_bytes.read_text(path, at_most=LARGEST_FILE))


def _joined(path: Path, data: bytes) -> "tuple[CggttsFile, list[Finding]]":
    """Return a file, or an archive of one receiver and clock as one file."""
    from truechimer.formats import cggtts_archive
    from truechimer.formats.cggtts_archive import ArchiveRejected

    files, findings = _files(path, data)
    try:
        return cggtts_archive.joined(files, findings), findings
    except ArchiveRejected as rejected:
        raise CggttsUseRejected(f"{path}: {rejected}") from None


def _name(findings: "list[Finding]", path: Path) -> None:
    for finding in findings[:MOST_NAMED]:
        print(f"{finding.at(str(path))} [{finding.rule}]", file=sys.stderr)
    if len(findings) > MOST_NAMED:
        print(f"{path}: and {len(findings) - MOST_NAMED} more", file=sys.stderr)


# ---- read -----------------------------------------------------------------------------------------------------------


def _read(options: argparse.Namespace) -> int:
    from truechimer.cli import file_bytes
    from truechimer.formats import cggtts_archive

    parts = cggtts_archive.read_parts(file_bytes.read_text(options.file, at_most=LARGEST_FILE))
    findings = [each for part in parts for each in part.findings]
    if all(part.file is None for part in parts):
        raise CggttsUseRejected(findings[-1].at(str(options.file)))
    _name(findings, options.file)
    told = [
        _contents(part.file, list(part.findings), str(options.file) + (f" part {k}" if len(parts) > 1 else ""))
        for k, part in enumerate(parts, start=1)
        if part.file is not None
    ]
    body = told[0] if len(parts) == 1 else {"file": str(options.file), "parts": told}
    if options.json:
        print(json.dumps(body))
    else:
        print("\n".join(line for part in told for line in [*_lines(part), ""]).rstrip("\n"))
    return 1 if options.strict and findings else 0


def _contents(value: "CggttsFile", findings: "list[Finding]", name: str) -> dict[str, Any]:
    import numpy as np

    header, tracks = value.header, value.tracks
    body: dict[str, Any] = {
        "file": name,
        "version": header.version,
        "laboratory": header.laboratory,
        "receiver": header.receiver,
        "reference": header.reference,
        "tracks": len(tracks),
        "refused": sum(finding.severity.value == "error" for finding in findings),
        "header_checksum": header.checksum_rule.value if header.checksum_rule else "none holds",
        "common_view_only": header.common_view_only,
        "delays": [{"key": each.which, "code": each.code, "delay_s": each.ns * 1e-9} for each in header.delays],
        "calibration": header.calibration,
        "findings": [
            {"line": each.line, "column": each.column, "rule": each.rule, "severity": each.severity.value}
            | {"says": each.says}
            for each in findings
        ],
    }
    if len(tracks):
        body["mjd_first"], body["mjd_last"] = int(tracks.mjd.min()), int(tracks.mjd.max())
        body["epochs"] = len(set(zip(tracks.mjd.tolist(), tracks.start_s.tolist(), strict=True)))
    codes = []
    x_s = tracks.x_clock_minus_system_s()
    for system, code in sorted(set(zip(tracks.system.tolist(), tracks.code.tolist(), strict=True))):
        of = (tracks.system == system) & (tracks.code == code)
        here = x_s[of][np.isfinite(x_s[of])]
        row = {
            "system": system.decode(),
            "code": code.decode(),
            "tracks": int(of.sum()),
            "satellites": len(set(tracks.number[of].tolist())),
        }
        if len(here):
            row["x_clock_minus_system_median_s"] = float(np.median(here))
        codes.append(row)
    return body | {"codes": codes}


def _lines(body: dict[str, Any]) -> list[str]:
    days = f"MJD {body['mjd_first']} to {body['mjd_last']}, {body['epochs']} epochs" if body["tracks"] else "no track"
    out = [
        " ".join(
            (
                f"{body['file']}: CGGTTS {body['version']}, laboratory {body['laboratory'] or '-'},",
                f"reference {body['reference'] or '-'}, receiver {body['receiver'] or '-'}",
            )
        ),
        f"{body['tracks']} tracks used, {body['refused']} refused; {days}",
        f"header checksum: {body['header_checksum']}",
    ]
    if body["common_view_only"]:
        out.append("its producer says: for common view only")
    out += ["", f"{'code':<8} {'tracks':>7} {'satellites':>11} {'median clock - system / ns':>28}"]
    for row in body["codes"]:
        median = row.get("x_clock_minus_system_median_s")
        shown = "-" if median is None else f"{median * NS:.1f}"
        out.append(f"{row['system'] + ' ' + row['code']:<8} {row['tracks']:>7} {row['satellites']:>11} {shown:>28}")
    return out


# ---- compare --------------------------------------------------------------------------------------------------------


def _compare(options: argparse.Namespace) -> int:
    from truechimer.cli import cggtts_document, cggtts_plot, cggtts_two_way, file_bytes, scale_input

    targets = [path for path in (options.out, options.plot) if path is not None]
    scale_input.check_targets(targets, [options.a, options.b])
    if options.plot is not None:
        cggtts_plot.check_target(options.plot)
    paths = (options.a, options.b)
    contents = [file_bytes.read_text(path, at_most=LARGEST_FILE) for path in paths]
    sessions = [cggtts_two_way.read(path, data) for path, data in zip(paths, contents, strict=True)]
    if any(each is None for each in sessions) and any(each is not None for each in sessions):
        raise CggttsUseRejected("one file holds two-way sessions, the other does not: name two of one kind")
    refused: list[dict[str, Any]] = []
    if sessions[0] is not None and sessions[1] is not None:
        for path, (_, findings) in zip(paths, (sessions[0], sessions[1]), strict=True):
            _name(findings, path)
            refused += cggtts_document.rejected(path, findings)
        two_way = cggtts_two_way.links(options, sessions[0][0], sessions[1][0])
        rows = [cggtts_document.link(link, smooth, cggtts_two_way.named(name, link)) for name, link, smooth in two_way]
        drawn: list[Drawn] = [(name, "two-way", link, smooth) for name, link, smooth in two_way]
        how: dict[str, Any] = {"method": "two-way"}
    else:
        links, how = _by_satellites(options, contents, refused)
        rows = [cggtts_document.link(link, smooth, _named(link)) for link, smooth in links]
        drawn = [(f"{link.system} {link.code}".strip(), how["method"], link, smooth) for link, smooth in links]
    document = cggtts_document.document(options.a, options.b, how, rows, refused)
    if options.out is not None:
        scale_input.write_whole(options.out, _rows(drawn))
    print(json.dumps(document) if options.json else "\n".join(_table(document)))
    if options.plot is not None:
        cggtts_plot.write(options.plot, drawn)
        print(f"wrote {options.plot}", file=sys.stderr)
    return 0


def _by_satellites(
    options: argparse.Namespace, contents: list[bytes], refused: list[dict[str, Any]]
) -> "tuple[list[tuple[SatelliteLink, Smoothed | None]], dict[str, Any]]":
    """Return the links by satellites, each smoothed, and how they were made."""
    from truechimer.cli import cggtts_document
    from truechimer.compare import common_view, link_smoothing
    from truechimer.instants import builtin_leap_table

    files = []
    for path, data in zip((options.a, options.b), contents, strict=True):
        value, findings = _joined(path, data)
        _name(findings, path)
        refused += cggtts_document.rejected(path, findings)
        files.append(value)
    choices = common_view.Choices(
        method=common_view.Method("cv" if options.method is None else options.method),
        min_elevation_deg=options.min_elevation,
        full_tracks_only=not options.short_tracks,
        measured_ionosphere=options.measured_ionosphere,
        same_ephemeris=options.same_ephemeris,
        offset_s=options.calibration * 1e-9,
    )
    links = common_view.compare(files[0], files[1], choices, leaps=builtin_leap_table())
    if options.code is not None:
        wanted = options.code.split()
        links = tuple(link for link in links if wanted in ([link.code], [link.system, link.code], [link.system]))
        if not links:
            raise CggttsUseRejected(f"no code {options.code!r} in common; leave --code out to see which there are")
    for link in links:
        for each in link.left_out[:MOST_NAMED]:
            clock = f"{each.start_s // 3600:02d}:{each.start_s // 60 % 60:02d}"
            side = f" of {each.side.upper()}" if each.side else ""
            says = (
                f"{each.satellite}{side} on MJD {each.mjd} at {clock} is {each.departure_s * NS:+.1f} ns off: left out"
            )
            print(f"{link.system} {link.code}: {says} [outlier]", file=sys.stderr)
    smoothed = [link_smoothing.smooth(link.middle_tai_ns, link.x_a_minus_b_s, link.u_s) for link in links]
    how = {"method": choices.method.value, "min_elevation_deg": choices.elevation_deg}
    return list(zip(links, smoothed, strict=True)), how


def _named(link: "SatelliteLink") -> dict[str, Any]:
    """Return what the document says of a link by satellites beside its figures."""
    body: dict[str, Any] = {"system": link.system, "code": link.code}
    body |= {"tracks_common": link.counts.get("common tracks", 0), "counts": link.counts}
    body |= {"outliers": len(link.left_out)}
    if math.isfinite(link.track_std_s):
        body["track_std_s"] = link.track_std_s
    body["left_out"] = [
        {"satellite": each.satellite, "mjd": each.mjd, "start_s": each.start_s, "departure_s": each.departure_s}
        | ({"side": each.side} if each.side else {})
        for each in link.left_out
    ]
    return body


def _table(body: dict[str, Any]) -> list[str]:
    mask = f"elevation from {body['min_elevation_deg']:g} degrees" if "min_elevation_deg" in body else "by sessions"
    columns = f"{'mean / ns':>14} {'std / ns':>10} {'u epoch':>9} {'TDEV':>9} {'smoothed u':>11}"
    out = [f"clock of {body['a']} minus clock of {body['b']}, {body['method']}, {mask}", ""]
    wide = max(8, *(len(link.get("link", "")) for link in body["links"]))
    out.append(f"{'link' if wide > 8 else 'code':<{wide}} {'epochs':>7} {'out':>5} {columns}")
    for link in body["links"]:
        tdev = next(iter(link["tdev_s"].values())) if "tdev_s" in link else None
        cells = [link.get("std_s"), link.get("u_epoch_median_s"), tdev, link.get("u_smoothed_median_s")]
        widths = (10, 9, 9, 11)
        shown = " ".join(
            f"{'-' if value is None else format(value * NS, '.3f'):>{width}}"
            for value, width in zip(cells, widths, strict=True)
        )
        name = link.get("link") or f"{link['system']} {link['code']}"
        left = link["outliers"] if "outliers" in link else len(link["unpaired"])
        note = "" if link.get("calibrated", True) else "  not calibrated"
        out.append(f"{name:<{wide}} {link['epochs']:>7} {left:>5} {link['mean_s'] * NS:>14.3f} {shown}{note}")
    return out


def _rows(drawn: "Sequence[Drawn]") -> list[str]:
    from truechimer.instants.instant import Instant
    from truechimer.instants.mjd import to_mjd_text

    out = ["# epoch_mjd: middle of the tracks or sessions, MJD on the TAI axis"]
    out.append("epoch_mjd,system,code,x_a_minus_b_s,u_s,satellites,x_smoothed_s,u_smoothed_s")
    for name, _, link, smoothed in drawn:
        system, code = (getattr(link, "system", "two-way"), getattr(link, "code", name))
        for k in range(len(link)):
            epoch = to_mjd_text(Instant(int(link.middle_tai_ns[k]) * 1_000_000), digits=10)
            sigma = f"{link.u_s[k]:.3e}" if math.isfinite(link.u_s[k]) else ""
            after = "," if smoothed is None else f"{smoothed.x_s[k]:.15e},{smoothed.u_s[k]:.3e}"
            seen = link.satellites[k] if hasattr(link, "satellites") else ""
            out.append(f"{epoch},{system},{code},{link.x_a_minus_b_s[k]:.15e},{sigma},{seen},{after}")
    return [line + "\n" for line in out]


# ---- write ----------------------------------------------------------------------------------------------------------


def _write(options: argparse.Namespace) -> int:
    from truechimer.cli import file_bytes, scale_input
    from truechimer.formats import cggtts_archive, cggtts_delays

    scale_input.check_targets([options.out], [options.file])
    found, findings = _files(options.file, file_bytes.read_text(options.file, at_most=LARGEST_FILE))
    _name(findings, options.file)
    files = list(found)
    for which, code, ns in options.delay:
        files = [cggtts_delays.recalibrated(each, which=which, code=code, ns=ns) for each in files]
    part = options.out.with_name(f".{options.out.name}.{os.getpid()}.part")
    try:
        written = cggtts_archive.write_all(files)
    except ValueError as error:
        raise CggttsUseRejected(f"{options.file}: {error}; leave its line out") from None
    try:
        part.write_bytes(written)
        part.replace(options.out)
    except OSError as error:
        raise CggttsUseRejected(f"{options.out}: {error.strerror}; name a file that can be written") from None
    finally:
        part.unlink(missing_ok=True)
    refused = sum(finding.severity.value == "error" for finding in findings)
    print(
        f"wrote {options.out}: {sum(len(each.tracks) for each in files)} tracks; {refused} lines were refused",
        file=sys.stderr,
    )
    return 0
