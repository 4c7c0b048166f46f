"""`truechimer utc leap [FILE..]` and `utc leap rehearse`: the leap table with its sources and votes, and what each
protocol will send around the date.

Votes are `truechimer.watch.leap_vote`'s, what is sent `truechimer.daemon.leap_rehearsal`'s. Nothing is changed here: a
table comes into force by an order.

Exit status of `leap`: 0 the table holds and nobody's notice is in dispute; 1 it has expired, or a leap is disputed; 2
wrong use, or a file that cannot be read.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli import utc_leap_lab
from truechimer.cli.option_values import count, date
from truechimer.errors import Rejected

if TYPE_CHECKING:
    from truechimer.daemon.leap_rehearsal import Rehearsal
    from truechimer.instants import LeapTable
    from truechimer.watch.leap_vote import DayVote, Voice

LARGEST_FILE = 1 << 20
DEFAULT_NEED = 2
MOST_AROUND_S = 120
_need = count("is no number of provenances (1 to 99)", most=99)
_around = count(f"is no number of seconds (1 to {MOST_AROUND_S})", most=MOST_AROUND_S)


class LeapUseRejected(Rejected):
    """A file or date that cannot be used."""


def add_parser(verbs: Any) -> None:
    """Add `leap` to the verbs of `utc`."""
    leap = verbs.add_parser(
        "leap",
        help="the leap table, its sources and votes; `leap rehearse`: what each protocol will send",
        description="Without files: the built-in table, or that of the laboratory that runs. Each FILE is a "
        "leap-seconds.list, a Leap_Second.dat or a Bulletin C, or NAME=FILE where its provenance is to be called NAME; "
        "files of one kind without a name are one provenance. `leap rehearse` tells what each protocol sends around a "
        "leap second, second by second.",
        epilog="Exit status: 0 agreed; 1 the table has expired, or a leap second is disputed; 2 wrong use.",
        allow_abbrev=False,
    )
    leap.add_argument("files", metavar="FILE", nargs="*", help="tables and bulletins, or the word rehearse")
    leap.add_argument("--table", metavar="FILE", type=Path, help="the table in force (built-in, or the laboratory's)")
    leap.add_argument(
        "--need", metavar="K", type=_need, default=DEFAULT_NEED, help="provenances that a leap second takes (2)"
    )
    leap.add_argument("--at", metavar="DATE", type=date, help="judge as on this UTC day (today; YYYY-MM-DD)")
    leap.add_argument(
        "--lab",
        metavar="PLACE",
        type=Path,
        help="with the upstreams of the laboratory that runs there; rehearse: its table and doors, or its LAB.toml's",
    )
    leap.add_argument(
        "--date", metavar="DATE", type=date, help="rehearse: the day that ends in the leap (the table's next)"
    )
    leap.add_argument("--step", choices=("+1", "-1", "0"), help="rehearse: a second more, less, or none")
    leap.add_argument("--around", metavar="S", type=_around, default=3, help="rehearse: seconds either side (3)")
    leap.add_argument("--protocol", metavar="LIST", help="rehearse: some of them, with commas")
    leap.add_argument("--json", action="store_true", help="print one JSON document")
    leap.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run `utc leap` with parsed options; return the exit status."""
    if options.files[:1] == ["rehearse"]:
        if len(options.files) > 1:
            raise LeapUseRejected("leap rehearse takes no files; give the table with --table")
        return _rehearse(options)
    if options.date is not None or options.step is not None or options.protocol is not None:
        raise LeapUseRejected("--date, --step and --protocol belong to `utc leap rehearse`")
    return _show(options)


# ---- the table and its votes ----------------------------------------------------------------------------------------


def table_in_force(path: Path | None) -> "LeapTable":
    """Return the table of a leap-seconds.list or a Leap_Second.dat; without a file the built-in one."""
    from truechimer.cli import file_bytes
    from truechimer.formats import leap_second_dat, leap_seconds_list
    from truechimer.instants import builtin_leap_table

    if path is None:
        return builtin_leap_table()
    data = file_bytes.read_text(path, at_most=LARGEST_FILE)
    table, findings = leap_second_dat.read(data) if _is_dat(data) else leap_seconds_list.read(data, source=path.name)
    if table is None:
        raise LeapUseRejected(findings[-1].at(str(path)) if findings else f"{path}: no leap table")
    return table


def _is_dat(data: bytes) -> bool:
    return b"#@" not in data and b"ile expires on" in data


def _voices(word: str, today_mjd: int, days: list[int]) -> "tuple[list[Voice], list[str]]":
    """Return what a file says, and why it is refused."""
    from truechimer.cli import file_bytes
    from truechimer.watch import leap_files

    provenance, name = leap_files.named(word)
    path = Path(name)
    data = file_bytes.read_text(path, at_most=LARGEST_FILE)
    if leap_files.kind_of(data) is None:
        raise LeapUseRejected(f"{path}: no leap-seconds.list, Leap_Second.dat or Bulletin C; see `utc read`")
    found, faults = leap_files.read(data, name=path.name)
    if found is None:
        return [], [each.at(str(path)) for each in faults]
    later = [day for day in days if day > today_mjd]
    return leap_files.voices(found, provenance=provenance, name=str(path), today_mjd=today_mjd, days=later), []


def _today() -> int:
    """Return the UTC day by this machine's clock: a label good to a day, compared with dates alone."""
    from truechimer.cli.lab_arguments import now_label
    from truechimer.instants import builtin_leap_table, to_utc

    return to_utc(now_label(), builtin_leap_table(), beyond_expiry="flag").mjd


def _upstreams(folder: Path | None, today_mjd: int) -> "list[Voice]":
    """Return what the sources of the laboratory that runs announce; none where `--lab` is not given."""
    if folder is None:
        return []
    from truechimer import client
    from truechimer.watch import leap_vote

    document = client.ask("status", lab=folder)
    out = []
    for row in document.get("sources", []):
        if isinstance(row, dict) and isinstance(row.get("leap"), str):
            provenance = str(row.get("operator") or row.get("name"))
            out += leap_vote.of_upstream(
                row["leap"], provenance=provenance, name=str(row.get("name")), today_mjd=today_mjd
            )
    return out


def _show(options: argparse.Namespace) -> int:
    from truechimer.instants import UtcLabel
    from truechimer.watch import leap_vote

    today = options.at if options.at is not None else _today()
    table = table_in_force(options.table)
    source = "the table in force"
    voices: list[Voice] = []
    refused: list[str] = []
    files = [_voices(word, today, []) for word in options.files]
    voices_of_upstreams = _upstreams(options.lab, today)
    named = {voice.mjd for said, _ in files for voice in said if voice.step_s}
    named |= {voice.mjd for voice in voices_of_upstreams if voice.step_s}
    named |= {entry.mjd for entry in table.entries if entry.mjd > today}
    days = sorted(named)
    voices += leap_vote.of_table(table, provenance=source, name=table.source, from_mjd=today + 1, days=days)
    for word in options.files:
        said, faults = _voices(word, today, days)
        voices += said
        refused += faults
    voices += voices_of_upstreams
    votes = leap_vote.vote(voices, need=options.need, in_force=table)
    expired = UtcLabel(today, 0).mjd >= table.expires.mjd
    disputed = any(each.verdict is leap_vote.LeapVerdict.DISPUTED for each in votes)
    document = _document(table, voices, votes, refused, expired=expired)
    for line in refused:
        print(line, file=sys.stderr)
    print(json.dumps(document) if options.json else "\n".join(_lines(table, document, votes, expired=expired)))
    return 1 if expired or disputed else 0


def _document(
    table: "LeapTable", voices: "list[Voice]", votes: "tuple[DayVote, ...]", refused: list[str], *, expired: bool
) -> dict[str, Any]:
    from truechimer.instants import UtcLabel

    last = table.entries[-1]
    body: dict[str, Any] = {
        "table": {
            "source": table.source,
            "leap_seconds": len(table.entries) - 1,
            "tai_minus_utc_s": last.tai_minus_utc_s,
            "since_mjd": last.mjd,
            "expires": table.expires.isoformat(0),
            "expired": expired,
        },
        "voices": [
            {"provenance": each.provenance, "source": each.source.value, "name": each.name, "step_s": each.step_s}
            | {"day": UtcLabel(each.mjd - 1, 0).isoformat(0)[:10]}
            for each in voices
        ],
        "votes": [
            {
                "day": UtcLabel(each.mjd - 1, 0).isoformat(0)[:10],
                "verdict": each.verdict.value,
                "step_s": each.step_s,
                "for": list(each.for_it),
                "against": list(each.against),
                "refused": [voice.name for voice in each.refused],
            }
            for each in votes
        ],
        "notices_refused": sum(len(each.refused) for each in votes) + len(refused),
        "files_refused": refused,
    }
    if table.updated is not None:
        body["table"]["updated"] = table.updated.isoformat(0)
    return body


def _lines(table: "LeapTable", body: dict[str, Any], votes: "tuple[DayVote, ...]", *, expired: bool) -> list[str]:
    said = body["table"]
    out = [
        f"table: {table.source}",
        f"TAI - UTC {said['tai_minus_utc_s']} s since MJD {said['since_mjd']}, {said['leap_seconds']} leap seconds",
        f"{'EXPIRED' if expired else 'expires'} {said['expires'][:10]}",
    ]
    if not votes:
        out.append("nobody announces a leap second")
    for each in votes:
        out.append(f"{each.verdict.value}: {each.says()}")
        out += [f"  for      {name}" for name in each.for_it]
        out += [f"  against  {name}" for name in each.against]
        out += [f"  refused  {voice.name} ({voice.provenance}): {voice.step_s:+d} s" for voice in each.refused]
    out.append(f"notices refused: {body['notices_refused']}")
    return out


# ---- the rehearsal --------------------------------------------------------------------------------------------------


def _rehearse(options: argparse.Namespace) -> int:
    from truechimer.daemon import leap_rehearsal

    laboratory = None if options.lab is None else utc_leap_lab.of(options.lab)
    table = table_in_force(options.table) if laboratory is None or options.table is not None else laboratory.table
    protocols = leap_rehearsal.PROTOCOLS if laboratory is not None and laboratory.smears else leap_rehearsal.USUAL
    if options.protocol is not None:
        protocols = tuple(word.strip() for word in options.protocol.split(","))
        unknown = [word for word in protocols if word not in leap_rehearsal.PROTOCOLS]
        if unknown:
            known = ", ".join(leap_rehearsal.PROTOCOLS)
            raise LeapUseRejected(f"no protocol {unknown[0][:40]!r}; there are {known}")
    today = options.at if options.at is not None else _today()
    after = next((entry.mjd for entry in table.entries if entry.mjd > today), None)
    mjd = options.date + 1 if options.date is not None else after
    if mjd is None:
        mjd = _half_year_after(today)
    step_s = int(options.step) if options.step is not None else table.step_at(mjd)
    found = leap_rehearsal.rehearse(table, mjd=mjd, step_s=step_s, around_s=options.around, protocols=protocols)
    expired = mjd > table.expires.mjd
    if options.json:
        body = _rehearsed(found, protocols, expired=expired)
        print(json.dumps(body | ({} if laboratory is None else {"laboratory": laboratory.document()})))
    else:
        told = [] if laboratory is None else laboratory.lines()
        print("\n".join([*told, *_told(found, protocols, table, expired=expired)]))
    return 0


def _half_year_after(mjd: int) -> int:
    """Return the next 1 January or 1 July: leap seconds come before these first."""
    from truechimer.watch.leap_vote import month_end_after

    at = month_end_after(mjd)
    while True:
        from truechimer.instants.mjd import to_calendar

        if to_calendar(at)[1] in {1, 7}:
            return at
        at = month_end_after(at)


def _rehearsed(found: "Rehearsal", protocols: tuple[str, ...], *, expired: bool) -> dict[str, Any]:
    from truechimer.daemon.leap_rehearsal import DOORS
    from truechimer.instants import UtcLabel

    return {
        "day": UtcLabel(found.mjd - 1, 0).isoformat(0)[:10],
        "step_s": found.step_s,
        "supposed": found.supposed,
        "table_expires_before": expired,
        "smear": "linear-24h" if "ntp-smear" in protocols else "none",
        "doors": {name: name in DOORS for name in protocols},
        "rows": list(found.rows),
    }


_WHAT = {1: "a second is inserted (23:59:60)", -1: "a second is left out (23:59:59)", 0: "no leap second"}


def _told(found: "Rehearsal", protocols: tuple[str, ...], table: "LeapTable", *, expired: bool) -> list[str]:
    from truechimer.daemon.leap_rehearsal import DOORS
    from truechimer.instants import UtcLabel

    day = UtcLabel(found.mjd - 1, 0).isoformat(0)[:10]
    out = [f"end of {day}: {_WHAT[found.step_s]}"]
    if found.supposed:
        out.append("supposed: the laboratory's table says otherwise, or nothing, of this day")
    if expired:
        out.append(f"the table expires {table.expires.isoformat(0)[:10]}: with it, every door would be unsynchronised")
    if "ntp-smear" in protocols:
        out.append('ntp-smear: a door with smear = "linear-24h"; what it gives from noon to noon is not UTC')
    else:
        out.append("no door smears unless LAB.toml says so of it: see --lab, or --protocol ntp,ntp-smear")
    cores = [name for name in protocols if name not in DOORS]
    if cores:
        out.append(f"no door in this version, its core was asked: {', '.join(cores)}")
    widths = {name: max(len(name), *(len(_cell(row, name)) for row in found.rows)) for name in protocols}
    out.append("  ".join(["UTC".ljust(20), *(name.ljust(widths[name]) for name in protocols)]).rstrip())
    for row in found.rows:
        cells = [_cell(row, name).ljust(widths[name]) for name in protocols]
        out.append("  ".join([row["utc"], *cells]).rstrip())
    return out


def _cell(row: dict[str, Any], name: str) -> str:
    """Return what a protocol sends, short."""
    if "unsynchronised" in row:
        return str(row["unsynchronised"])
    said = row[name]
    if name == "ntp-smear":
        return f"LI {said['leap']} {said['stamp'][11:23]} {said['served_minus_utc_s']:+.3f} s"
    if name in {"ntp", "nts"}:
        return f"LI {said['leap']} {said['stamp'][11:19]}"
    if name == "roughtime":
        return f"{said['midp'][11:19]} +-{said['radi_s']} s"
    if name == "ptp":
        flags = " leap61" * said["leap61"] + " leap59" * said["leap59"]
        return f"TAI ...{said['tai_s'] % 100_000:05d} offset {said['current_utc_offset_s']}{flags}"
    if name == "dcf77":
        return f"s {said['second']:02d} of {said['of']} {said['mark']}{', announced' * said['leap_announced']}"
    if name == "chrony-sock":
        return "silent" if "silent" in said else f"leap {said['leap']}"
    return f"{said['utc'][11:19]} TAI-UTC {said['tai_minus_utc_s']}"
