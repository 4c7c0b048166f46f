"""`truechimer utc submit`: what a laboratory sends to the BIPM each month or week, made from its journal and checked.

What is sent is `truechimer.laboratory.submission`'s; here are files and what is printed. Nothing is sent anywhere: the
files are written, read again, and listed. Clock data for Circular T are of the days whose MJD ends in 4 and 9; for
rapid UTC (`--daily`) of every day. CGGTTS files are named, checked against their names, and their days counted.

Exit status: 0 all that was asked for is there; 1 something is missing or left out, which is named; 2 wrong use, or a
journal from which nothing may be sent.
"""

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli.option_values import mjd
from truechimer.errors import Rejected

if TYPE_CHECKING:
    from truechimer.laboratory.submission import Submission

MOST_DAYS = 400
LARGEST_FILE = 64 << 20
MOST_NAMED = 20
_CODE, _ACRONYM = re.compile(r"[0-9]{5}"), re.compile(r"[A-Z]{1,4}")


class SubmitRejected(Rejected):
    """Words that ask for no submission, or a place that cannot be written."""


def add(verbs: Any) -> None:
    """Add the verb's arguments."""
    submit = verbs.add_parser(
        "submit",
        help="write what is sent to the BIPM each month and week, from the laboratory's own journal",
        description="Replays a laboratory's journal and writes clock data (UTC(k) minus each clock at 0 h UTC) and the "
        "steps of UTC(k), in the BIPM's columns; names and checks CGGTTS files. Nothing is sent. A journal that does "
        "not replay, and one whose UTC is simulated, give nothing.",
        allow_abbrev=False,
    )
    submit.add_argument("directory", metavar="DIR", help="the laboratory's directory, or its record file")
    submit.add_argument("--from", dest="first", metavar="MJD", type=mjd, required=True)
    submit.add_argument("--to", dest="last", metavar="MJD", type=mjd, required=True, help="included")
    submit.add_argument("--daily", action="store_true", help="every day (rapid UTC), not those ending in 4 and 9 alone")
    submit.add_argument("--laboratory-code", metavar="NNNNN", required=True, help="five digits, given by the BIPM")
    submit.add_argument("--acronym", metavar="CODE", required=True, help="as in Circular T")
    submit.add_argument("--cggtts", metavar="FILE", nargs="+", type=Path, default=[], help="files to be sent beside")
    submit.add_argument("--out", metavar="DIR", type=Path, required=True, help="where the files are written")
    submit.add_argument("--json", action="store_true", help="print one JSON document")
    submit.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the verb."""
    from truechimer.cli.evidence_source import records_of
    from truechimer.cli.evidence_verb import Progress
    from truechimer.formats import clock_data
    from truechimer.instants import builtin_leap_table
    from truechimer.laboratory import submission

    if _CODE.fullmatch(options.laboratory_code) is None:
        raise SubmitRejected(f"--laboratory-code {options.laboratory_code}: five digits, as the BIPM gave them")
    if _ACRONYM.fullmatch(options.acronym) is None:
        raise SubmitRejected(f"--acronym {options.acronym}: one to four capital letters, as in Circular T")
    days = [mjd for mjd in range(options.first, options.last + 1) if options.daily or mjd % 5 == 4]
    if not days or len(days) > MOST_DAYS:
        raise SubmitRejected(f"MJD {options.first} to {options.last}: {len(days)} days; give 1 to {MOST_DAYS}")
    if not options.out.is_dir():
        raise SubmitRejected(f"{options.out}: there is no such folder; make it first")
    progress = Progress("replaying")
    try:
        with records_of(options.directory, None) as source:
            found = submission.prepare(
                progress.watched(source.records.read(first=0), source.records.count()),
                days,
                laboratory=options.laboratory_code,
                acronym=options.acronym,
                leaps=builtin_leap_table(),
            )
    finally:
        progress.end()
    files: dict[str, int] = {}
    name = f"{options.acronym.lower()}{days[0]}-{days[-1]}"
    if found.readings:
        _write(options.out / f"{name}.clk", clock_data.write(found.readings))
        _check(options.out / f"{name}.clk", found)
        files[f"{name}.clk"] = len(found.readings)
    if found.steps:
        _write(options.out / f"{name}.stp", clock_data.write_steps(found.steps))
        files[f"{name}.stp"] = len(found.steps)
    tracks, faults = _cggtts(options.cggtts, options.acronym)
    if not found.is_known and found.named.upper() != options.acronym:
        says = f"the journal calls its UTC(k) UTC({found.named}), not UTC({options.acronym})"
        doubts = [f"{says}: is it the right one? ([lab] name; [utc] laboratory states the code)"]
    else:
        doubts = []
    without = sorted(set(range(options.first, options.last + 1)) - {mjd for mjds in tracks.values() for mjd in mjds})
    body: dict[str, Any] = {"mjd": [options.first, options.last], "days": len(days), "files": files}
    body |= {"clocks": sorted({each.clock for each in found.readings}), "missing_days": list(found.missing)}
    body["left_out"] = [
        {"clock": each.clock, "why": each.why} | ({} if each.mjd is None else {"mjd": each.mjd})
        for each in found.left_out
    ]
    body["cggtts"] = {"files": sorted(tracks), "faults": faults, "days_without": without if options.cggtts else []}
    body["doubts"] = doubts
    print(json.dumps(body) if options.json else "\n".join(_lines(body, options.out)))
    incomplete = found.missing or any(each.mjd is not None for each in found.left_out) or faults or doubts
    return 1 if incomplete or body["cggtts"]["days_without"] else 0


def _write(path: Path, data: bytes) -> None:
    try:
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise SubmitRejected(f"{path}: {error.strerror}; name a folder that can be written") from None


def _check(path: Path, found: "Submission") -> None:
    """Read again what was written: it must say what was meant."""
    from truechimer.formats import clock_data

    again, findings = clock_data.read(path.read_bytes())
    wanted = [(each.mjd, each.laboratory, each.clock, each.utck_minus_clock_ns) for each in found.readings]
    if findings or [(each.mjd, each.laboratory, each.clock, each.utck_minus_clock_ns) for each in again] != wanted:
        path.unlink(missing_ok=True)
        raise SubmitRejected(f"{path}: what was written does not read as what was meant; nothing is left there")


def _cggtts(paths: list[Path], acronym: str) -> tuple[dict[str, list[int]], list[str]]:
    """Return each file's days, and what is wrong with files: their names, sums, laboratory, reference."""
    from truechimer.cli import file_bytes
    from truechimer.formats import cggtts, cggtts_names
    from truechimer.formats.cggtts import ChecksumRule

    held: dict[str, list[int]] = {}
    faults: list[str] = []
    for path in paths:
        value, findings = cggtts.read(file_bytes.read(path, at_most=LARGEST_FILE))
        faults += [finding.at(str(path)) for finding in findings[:MOST_NAMED]]
        if value is None:
            continue
        held[path.name] = sorted(set(value.tracks.mjd.tolist()))
        faults += [finding.at(str(path)) for finding in cggtts_names.check(path.name, value)]
        if value.header.checksum_rule not in (None, ChecksumRule.STANDARD):
            faults.append(f"{path}: its CKSUM follows a rule of its maker's, not the standard's: write it anew")
        if value.header.reference.replace(" ", "") != f"UTC({acronym})":
            faults.append(f"{path}: REF = {value.header.reference or 'none'}; the BIPM wants UTC({acronym})")
        if acronym not in value.header.laboratory.split():
            faults.append(f"{path}: LAB = {value.header.laboratory or 'none'}, not {acronym}")
    return held, faults


def _lines(body: dict[str, Any], out: Path) -> list[str]:
    told = [f"wrote {out / name}: {n} values" for name, n in body["files"].items()] or ["nothing was written"]
    told.append(f"{len(body['clocks'])} clocks: {', '.join(body['clocks']) or 'none'}")
    if body["missing_days"]:
        told.append("no value at all on MJD " + ", ".join(map(str, body["missing_days"])))
    for each in body["left_out"][:MOST_NAMED]:
        day = f" on MJD {each['mjd']}" if "mjd" in each else ""
        told += [f"left out: {each['clock']}{day}: {each['why']}"]
    if len(body["left_out"]) > MOST_NAMED:
        told.append(f"and {len(body['left_out']) - MOST_NAMED} more left out")
    if body["cggtts"]["files"]:
        told.append("to be sent beside: " + ", ".join(body["cggtts"]["files"]))
    told += body["doubts"] + body["cggtts"]["faults"]
    if body["cggtts"]["days_without"]:
        told.append("no CGGTTS track on MJD " + ", ".join(map(str, body["cggtts"]["days_without"])))
    return told
