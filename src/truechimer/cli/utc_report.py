"""`truechimer utc report FILE..`: a page about a laboratory's UTC(k) that it could put on its site.

What is published is read from files (Circular T, rapid UTC, the BIPM's server, clock data, steps, leap seconds);
clocks, weights and steering from the laboratory's own journal, replayed. Here they become one document (`--json`
prints it); `utc_report_page` makes the page of that document alone. No clock is read: the same files, the same page.

Exit status: 0 done; 1 done, and a line of a file could not be used, which is named on stderr and on the page; 2 wrong
use, or files without a value.
"""

import argparse
import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli.option_values import mjd
from truechimer.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from truechimer.compare.utc_record import PeriodRow, PublishedValue
    from truechimer.formats.clock_data import ClockReading
    from truechimer.formats.finding import Finding
    from truechimer.instants import LeapTable
    from truechimer.laboratory.utc_account import Account

LARGEST_FILE = 64 << 20
MOST_NAMED = 20
NS = 1e-9
DAY_S = 86_400.0


class ReportRejected(Rejected):
    """Files of which no report can be made."""


def add(verbs: Any) -> None:
    """Add the verb's arguments."""
    report = verbs.add_parser(
        "report",
        help="make a page about UTC(k) of published values and the laboratory's own journal",
        description="Makes one HTML page (no script, nothing fetched): UTC - UTC(k) drawn and by day, week, month and "
        "year, with uncertainties; clocks and weights, steering, leap seconds; and of each file its SHA-256.",
        allow_abbrev=False,
    )
    report.add_argument("files", metavar="FILE", nargs="+", type=Path, help="what `utc read` knows, published values")
    report.add_argument("--laboratory", metavar="CODE", required=True, help="as in Circular T: whose UTC(k)")
    report.add_argument("--journal", metavar="DIR", help="the laboratory's directory or record file: weights, steering")
    report.add_argument("--from", dest="first", metavar="MJD", type=mjd, help="first day (default: all)")
    report.add_argument("--to", dest="last", metavar="MJD", type=mjd, help="last day, included")
    report.add_argument("--out", metavar="PAGE.html", type=Path, required=True)
    report.add_argument("--json", action="store_true", help="print the document that the page is made of")
    report.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the verb."""
    from truechimer.cli import scale_input, utc_report_page

    if options.out.suffix != ".html":
        raise ReportRejected(f"{options.out}: the report is a page; name a file that ends in .html")
    scale_input.check_targets([options.out], [path for path in options.files if str(path) != "-"])
    if options.first is not None and options.last is not None and options.last < options.first:
        raise ReportRejected(
            f"MJD {options.first} to {options.last}: the last day is before the first; turn them round"
        )
    body = document(
        options.files,
        options.laboratory,
        journal=options.journal,
        first=options.first if options.first is not None else 0,
        last=options.last if options.last is not None else 99_999,
    )
    scale_input.write_whole(options.out, utc_report_page.page(body).splitlines())
    for said in body["findings"][:MOST_NAMED]:
        print(said, file=sys.stderr)
    if len(body["findings"]) > MOST_NAMED:
        print(f"and {len(body['findings']) - MOST_NAMED} more", file=sys.stderr)
    print(json.dumps(body) if options.json else f"wrote {options.out}: {_in_short(body)}")
    return 1 if body["findings"] else 0


def _in_short(body: dict[str, Any]) -> str:
    told = [
        f"{scale} - UTC({body['laboratory']}) rms {of['all']['rms_s'] / NS:.2f} ns of {of['all']['n']} days"
        for scale, of in body["record"].items()
    ]
    return ", ".join([*told, f"MJD {body['mjd_first']} to {body['mjd_last']}"])


def document(paths: "Sequence[Path]", laboratory: str, *, journal: str | None, first: int, last: int) -> dict[str, Any]:
    """Return the report as one document; raises `ReportRejected` where no value of UTC - UTC(k) is in the files."""
    from truechimer import __version__
    from truechimer.compare import utc_record
    from truechimer.instants import builtin_leap_table

    held = _read(paths, laboratory)
    kept = [value for value in utc_record.newest(held.published) if first <= value.mjd <= last]
    if not kept:
        says = f"no value of UTC - UTC({laboratory}) of these days is in the files; see them with `truechimer utc read`"
        raise ReportRejected(says)
    days = [value.mjd for value in kept]
    ends = (min(days), max(days))
    body: dict[str, Any] = {"laboratory": laboratory, "mjd_first": ends[0], "mjd_last": ends[1], "record": {}}
    for scale in dict.fromkeys(value.scale for value in kept):
        series = [(value.mjd, value.x_utc_minus_utck_s) for value in kept if value.scale == scale]
        rows = utc_record.by_year(series)
        body["record"][scale] = {
            "all": _row(rows[-1]),
            "years": [{"period": str(row.year), **_row(row)} for row in rows[:-1]],
            "months": _periods(utc_record.by_period(series, "month")),
            "weeks": _periods(utc_record.by_period(series, "week")),
        }
    body["days"] = _days(kept)
    if held.readings:
        body["clock_data"] = _clock_data([each for each in held.readings if first <= each.mjd <= last])
    if held.steps:
        body["steps"] = [each for each in held.steps if first <= each["mjd"] <= last]
    if journal is not None:
        leaps = builtin_leap_table()
        account = _account(journal, leaps)
        body |= _own(account, max(first, ends[0] if first == 0 else first), min(last, 99_999))
        held.files.append(
            {"file": Path(journal).name or "journal", "kind": "journal", "records": account.records}
            | {"last_record_sha256": account.last_hash}
        )
    body["leap"] = _leap(held.table or builtin_leap_table(), held.bulletins, ends)
    body |= {"files": held.files, "findings": held.findings, "made_by": f"truechimer {__version__}"}
    return body


# ---- what is read ---------------------------------------------------------------------------------------------------


class _Held:
    """What the files held, each with its provenance."""

    def __init__(self) -> None:
        self.published: list[PublishedValue] = []
        self.readings: list[ClockReading] = []
        self.steps: list[dict[str, Any]] = []
        self.bulletins: list[dict[str, Any]] = []
        self.table: LeapTable | None = None
        self.files: list[dict[str, Any]] = []
        self.findings: list[str] = []


def _read(paths: "Sequence[Path]", laboratory: str) -> _Held:
    from truechimer.cli import file_bytes, utc_verb

    held = _Held()
    seen: dict[str, str] = {}
    for path in paths:
        data = file_bytes.read(path, at_most=LARGEST_FILE)
        digest = sha256(data).hexdigest()
        if digest in seen:
            raise ReportRejected(f"{path}: the same bytes as {seen[digest]}; name it once")
        seen[digest] = str(path)
        size, data = len(data), file_bytes.plain(data, path, at_most=LARGEST_FILE)
        kind = utc_verb.kind_of(data)
        if kind is None:
            raise ReportRejected(f"{path}: of no kind that is known; see what `truechimer utc read` takes")
        values, findings = _take(held, kind, data, path, laboratory)
        # a page for strangers bears the names of files, not where they lie
        held.files.append({"file": path.name, "kind": kind, "bytes": size, "sha256": digest, "values": values})
        held.findings += [f"{finding.at(path.name)} [{finding.rule}]" for finding in findings]
    return held


def _take(held: _Held, kind: str, data: bytes, path: Path, laboratory: str) -> "tuple[int, list[Finding]]":
    """Take what a file holds; return how many values of it are used, and what was found."""
    from truechimer.cli import utc_record_files
    from truechimer.formats import bulletin_c, clock_data, leap_second_dat, leap_seconds_list

    findings: list[Finding]
    if kind in utc_record_files.KINDS:
        published, findings = utc_record_files.values_of(data, kind, path, laboratory)
        held.published += published
        return len(published), findings
    if kind == "clocks":
        readings, findings = clock_data.read(data)
        held.readings += readings
        return len(readings), findings
    if kind == "steps":
        steps, findings = clock_data.read_steps(data)
        held.steps += [
            {"mjd": each.mjd, "clock": each.clock, "x_step_s": each.time_ns * NS}
            | {"y_step": each.frequency_ns_per_day * NS / DAY_S}
            for each in steps
        ]
        return len(steps), findings
    if kind in {"leap-list", "leap-dat"}:
        listed = kind == "leap-list"
        table, findings = leap_seconds_list.read(data, source=path.name) if listed else leap_second_dat.read(data)
        if table is not None and (held.table is None or held.table.expires.mjd < table.expires.mjd):
            held.table = table
        return 0 if table is None else len(table.entries), findings
    if kind == "bulletin-c":
        bulletin, findings = bulletin_c.read(data)
        if bulletin is not None:
            number = {} if bulletin.number is None else {"bulletin": bulletin.number}
            held.bulletins.append(number | {"leap_s": bulletin.step_s, "from_mjd": bulletin.next_mjd})
        return 0 if bulletin is None else 1, findings
    raise ReportRejected(f"{path}: {kind} says nothing of UTC(k): leave it out of the report")


def _account(journal: str, leaps: "LeapTable") -> "Account":
    from truechimer.cli.evidence_source import records_of
    from truechimer.cli.evidence_verb import Progress
    from truechimer.laboratory import utc_account

    progress = Progress("replaying")
    try:
        with records_of(journal, None) as source:
            found = utc_account.account(
                progress.watched(source.records.read(first=0), source.records.count()), leaps=leaps
            )
    finally:
        progress.end()
    if found.simulated:
        raise ReportRejected(
            f"{journal}: this laboratory's UTC is simulated: nothing of it stands beside published values"
        )
    return found


# ---- the document ---------------------------------------------------------------------------------------------------


def _row(row: Any) -> dict[str, Any]:
    keys = ("n", "mean_s", "rms_s", "std_s", "largest_s", "largest_mjd")
    return {key: getattr(row, key) for key in keys}


def _periods(rows: "Sequence[PeriodRow]") -> list[dict[str, Any]]:
    return [{"period": row.period, **_row(row.figures)} for row in rows]


def _days(kept: "Sequence[PublishedValue]") -> list[dict[str, Any]]:
    """Return a row for each day with a value: UTC with its uncertainties and issue, rapid UTC beside it."""
    rows: dict[int, dict[str, Any]] = {}
    for value in kept:
        row = rows.setdefault(value.mjd, {"mjd": value.mjd})
        key = "x_utc_minus_utck_s" if value.scale == "UTC" else "x_utcr_minus_utck_s"
        row[key] = value.x_utc_minus_utck_s
        if value.scale == "UTC":
            more = {"u_a_s": value.u_a_s, "u_s": value.u_s, "issue": value.issue or None}
            row |= {name: each for name, each in more.items() if each is not None}
    return [rows[mjd] for mjd in sorted(rows)]


def _clock_data(readings: "Sequence[ClockReading]") -> list[dict[str, Any]]:
    """Return of each clock that was submitted its last value and its mean rate against UTC(k), first to last."""
    by_clock: dict[tuple[str, str], list[ClockReading]] = {}
    for each in readings:
        by_clock.setdefault((each.laboratory, each.clock), []).append(each)
    rows = []
    for (laboratory, clock), here in sorted(by_clock.items()):
        begin, end = min(here, key=lambda each: each.mjd), max(here, key=lambda each: each.mjd)
        row: dict[str, Any] = {"laboratory_code": laboratory, "clock": clock, "n": len(here), "mjd_last": end.mjd}
        row["x_utck_minus_clock_s"] = end.utck_minus_clock_ns * NS
        if end.mjd > begin.mjd:
            moved_ns = end.utck_minus_clock_ns - begin.utck_minus_clock_ns
            row["y_utck_minus_clock"] = moved_ns * NS / ((end.mjd - begin.mjd) * DAY_S)
        rows.append(row)
    return rows


def _own(account: "Account", first: int, last: int) -> dict[str, Any]:
    clocks = []
    for clock in account.clocks:
        weight = {mjd: each for mjd, each in sorted(clock.weight.items()) if first <= mjd <= last}
        if not weight or clock.kind == "host":
            continue
        code = {} if clock.bipm_code is None else {"bipm_code": clock.bipm_code}
        mean = sum(weight.values()) / len(weight)
        clocks.append(
            {"name": clock.name, "kind": clock.kind, **code, "days": len(weight), "weight_mean": mean}
            | {"weight": {str(mjd): each for mjd, each in weight.items()}}
        )
    steering = []
    for day in account.days:
        if first <= day.mjd <= last:
            row: dict[str, Any] = {"mjd": day.mjd, "orders": day.orders, "x_broken_s": day.x_broken_s}
            more = {"y_steer": day.y_steer, "x_steered_s": day.x_steered_s}
            steering.append(row | {key: each for key, each in more.items() if each is not None})
    return {"clocks": clocks, "steering": steering}


def _leap(table: "LeapTable", bulletins: list[dict[str, Any]], ends: tuple[int, int]) -> dict[str, Any]:
    entry = table.entries[table.index_of_day(ends[1])]
    within = [
        {"mjd": each.mjd, "tai_minus_utc_s": each.tai_minus_utc_s}
        for each in table.entries
        if ends[0] < each.mjd <= ends[1]
    ]
    return {
        "tai_minus_utc_s": entry.tai_minus_utc_s,
        "since_mjd": entry.mjd,
        "within": within,
        "later": [
            {"mjd": each.mjd, "tai_minus_utc_s": each.tai_minus_utc_s} for each in table.entries if each.mjd > ends[1]
        ],
        "bulletins": bulletins,
        "table": table.source,
        "table_expires": table.expires.isoformat(0),
        "expired": table.expires.mjd <= ends[1],
    }
