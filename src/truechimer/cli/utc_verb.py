"""`truechimer utc read FILE..`: what the BIPM, the IERS and laboratories exchange, told by kind. `utc steer`, a replay,
is `utc_steer`'s.

The formats are `truechimer.formats`'; the kind of a file is found from its text, or given. A line that cannot be used
is named with file, line, column and rule, and costs no other line. Nothing is believed or taken in here.
`utc leap` is `utc_leap`'s, `utc report` `utc_report`'s.

Exit status: 0 done; 1 (`--strict`) something was found; 2 wrong use, or a file that is none of these.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli import utc_holdover, utc_leap, utc_receiver, utc_report, utc_steer, utc_submit
from truechimer.cli.arguments import verb_parser
from truechimer.errors import Rejected

if TYPE_CHECKING:
    from truechimer.compare.utc_record import PublishedValue
    from truechimer.formats.finding import Finding
    from truechimer.formats.utc_gnss import GnssTable
    from truechimer.formats.utc_table import UtcTable

LARGEST_FILE = 64 << 20
MOST_NAMED = 20
KINDS = (
    "circular-t",
    "utcr",
    "api",
    "two-way",
    "clocks",
    "steps",
    "bulletin-c",
    "finals2000a",
    "leap-list",
    "leap-dat",
    "cggtts",
    "clock-file",
    "series",
    "utc-gnss",
    "csv",
)


class UtcUseRejected(Rejected):
    """A file of no kind that is known."""


def main(argv: list[str]) -> int:
    """Run `utc` with the arguments after the verb; return the exit status."""
    parser = verb_parser("utc", "What is exchanged about UTC: Circular T, rapid UTC, clock data, leap seconds.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="read|holdover|leap|receiver|report|steer|submit")
    read = verbs.add_parser(
        "read",
        help="say what files hold and what is wrong with them",
        description="Reads Circular T, rapid UTC, answers of the BIPM's server (text, JSON), two-way sessions, clock "
        "data and steps, series of UTC - UTC(k), Bulletin C, finals2000A, leap-seconds.list and CGGTTS. Of one "
        "laboratory the record over all files is told by year: mean, rms, standard deviation, largest.",
        allow_abbrev=False,
    )
    read.add_argument("files", metavar="FILE", nargs="+", type=Path, help="- for standard input")
    read.add_argument("--kind", choices=KINDS, help="what the files are (found from their text if left out)")
    read.add_argument("--laboratory", metavar="CODE", help="of tables of UTC - UTC(k), this laboratory alone")
    read.add_argument("--plot", metavar="OUT", type=Path, help="draw UTC - UTC(k) of one laboratory: .svg, .html, .png")
    read.add_argument("--strict", action="store_true", help="status 1 if anything was found")
    read.add_argument("--json", action="store_true", help="print one JSON document")
    read.set_defaults(run=_read)
    utc_holdover.add(verbs)
    utc_leap.add_parser(verbs)
    utc_report.add(verbs)
    utc_steer.add(verbs)
    utc_submit.add(verbs)
    utc_receiver.add(verbs)
    options = parser.parse_args(argv)
    return int(options.run(options))


def _read(options: argparse.Namespace) -> int:
    from truechimer.cli import file_bytes, scale_input, stability_plot, utc_audit, utc_record_files

    documents: list[dict[str, Any]] = []
    published: list[PublishedValue] = []
    found = False
    if options.plot is not None:
        scale_input.check_targets([options.plot], options.files)
        stability_plot.check_target(options.plot)
    for path in options.files:
        data = file_bytes.read_text(path, at_most=LARGEST_FILE)
        kind = options.kind or kind_of(data, name=path.name)
        if kind is None:
            raise UtcUseRejected(f"{path}: of no kind that is known; say which with --kind ({', '.join(KINDS)})")
        body, findings = _READERS[kind](data, path)
        if body is None:
            raise UtcUseRejected(findings[-1].at(str(path)))
        for finding in findings[:MOST_NAMED]:
            print(f"{finding.at(str(path))} [{finding.rule}]", file=sys.stderr)
        if len(findings) > MOST_NAMED:
            print(f"{path}: and {len(findings) - MOST_NAMED} more", file=sys.stderr)
        found = found or bool(findings)
        if options.laboratory is not None and "laboratories" in body:
            body["laboratories"] = [row for row in body["laboratories"] if row["code"] == options.laboratory]
            if not body["laboratories"] and len(options.files) == 1:
                raise UtcUseRejected(f"{path}: no laboratory {options.laboratory}; leave --laboratory out to see all")
        documents.append({"file": str(path), "kind": kind, **body, "findings": [_finding(each) for each in findings]})
        is_of_utc = body.get("quantity", "UTC").startswith("UTC")
        if (
            is_of_utc
            and kind in utc_record_files.KINDS
            and (options.laboratory is not None or len(body.get("laboratories", [0])) == 1)
        ):
            published += utc_record_files.values_of(data, kind, path, options.laboratory)[0]
    record = utc_audit.document(published)
    if options.json:
        print(json.dumps({"files": documents} | ({"record": record} if record else {})))
    else:
        told = documents if len(documents) <= MOST_NAMED or not record else []
        laboratory = options.laboratory or _laboratory(documents)
        print("\n".join([*(line for each in told for line in _lines(each)), *utc_audit.lines(record, laboratory)]))
    if options.plot is not None:
        utc_audit.draw(options.plot, published, options.laboratory or _laboratory(documents))
        print(f"wrote {options.plot}", file=sys.stderr)
    return 1 if options.strict and found else 0


def _laboratory(documents: list[dict[str, Any]]) -> str:
    """Return the one laboratory that all files are of, empty where they do not say or differ."""
    said = {each["laboratory"] for each in documents if each.get("laboratory")}
    said |= {row["code"] for each in documents for row in each.get("laboratories", [])}
    return str(said.pop()) if len(said) == 1 else ""


def kind_of(data: bytes, *, name: str = "") -> str | None:
    """Return what a file is by its text, or None. Columns of UTC - GPS look like the server's answers: a `name` that
    begins as the BIPM's own (`utc-gps`) tells them apart.
    """
    from truechimer.formats import published, utc_gnss

    head = data[:20_000].decode("latin-1")
    begin = head.lstrip("\ufeff \r\n\t")
    lines = [line for line in head.splitlines() if line.strip()]
    rows = [line.split() for line in lines if not line.startswith("#")][:1]
    for kind, holds in (
        ("cggtts", begin.startswith(("CGGTTS", "GGTTS", "RAW CLOCK RESULTS"))),
        ("utcr", "[UTCr-UTC(k)]" in head.replace(" ", "")),
        ("circular-t", "CIRCULAR T " in head),
        ("bulletin-c", "leap second will be introduced" in " ".join(head.split())),
        ("leap-list", "#@" in head and "#$" in head),
        ("leap-dat", "ile expires on" in head and "#@" not in head),
        ("csv", published.is_values(data)),
        ("two-way", begin.startswith("*") and "* FORMAT" in head),
        ("api", begin.startswith("{")),
        ("clock-file", _is_clock_file(head)),
        ("finals2000a", any(len(line) > 60 and line[57:58] in "IP" and line[12:13] == "." for line in lines[:3])),
        ("utc-gnss", utc_gnss.is_file(data, name)),
        ("steps", bool(lines) and _is_steps(lines[0])),
        ("clocks", bool(lines) and lines[0][:5].isdigit() and lines[0][6:11].isdigit() and lines[0][12:19].isdigit()),
        ("series", len(rows) > 0 and rows[0][0].isdigit() and len(rows[0][0]) == 5 and len(rows[0]) in (2, 4, 5)),
        ("api", bool(lines) and (begin.startswith("# ") or len(lines[0].replace(",", " ").split()) == 3)),
    ):
        if holds:
            return kind
    return None


def _is_clock_file(head: str) -> bool:
    from truechimer.formats import utck_series

    return utck_series.is_clock_file(head)


def _is_steps(line: str) -> bool:
    from truechimer.formats import clock_data

    return bool(clock_data.read_steps(line.encode("latin-1", "replace"))[0])


def _finding(finding: "Finding") -> dict[str, Any]:
    place = {"line": finding.line, "column": finding.column}
    return {
        **{key: value for key, value in place.items() if value is not None},
        "rule": finding.rule,
        "severity": finding.severity.value,
        "says": finding.says,
    }


# ---- the kinds: bytes to a document ---------------------------------------------------------------------------------

_Told = tuple[dict[str, Any] | None, "list[Finding]"]


def _table(table: "UtcTable", scale: str) -> dict[str, Any]:
    rows = []
    for row in table.rows:
        values = {
            str(mjd): value * 1e-9
            for mjd, value in zip(table.mjds, row.utc_minus_utck_ns, strict=True)
            if value is not None
        }
        sigmas = {"u_a_s": row.u_a_ns, "u_b_s": row.u_b_ns, "u_s": row.u_ns}
        rows.append(
            {"code": row.code, "city": row.city, "calibrated": row.calibrated, "notes": list(row.notes)}
            | {"x_utc_minus_utck_s": values}
            | {key: value * 1e-9 for key, value in sigmas.items() if value is not None}
        )
    return {"scale": scale, "mjd": list(table.mjds), "laboratories": rows}


def _circular_t(data: bytes, _path: Path) -> _Told:
    from truechimer.formats import circular_t

    value, findings = circular_t.read(data)
    if value is None:
        return None, findings
    body: dict[str, Any] = {
        "issue": value.issue,
        "tai_minus_utc_s": value.tai_minus_utc_s,
        "published_mjd": value.published_mjd,
    }
    body["sections_not_read"] = list(value.unread_sections) or None
    body |= {} if value.gnss is None else _gnss(value.gnss)
    return {key: each for key, each in body.items() if each is not None} | _table(value.table, "UTC"), findings


def _utcr(data: bytes, path: Path) -> _Told:
    from truechimer.formats import utcr

    value, findings = utcr.read(data, name=path.name)
    return (None if value is None else {"week": value.week} | _table(value.table, "UTCr")), findings


def _api(data: bytes, _path: Path) -> _Told:
    from truechimer.formats import bipm_api

    value, findings = bipm_api.read(data)
    if value is None:
        return None, findings
    series = [
        {"comment": each.comment, "mjd": list(each.mjd), "x_s": [ns * 1e-9 for ns in each.value_ns]}
        | {"u_s": [None if u is None else u * 1e-9 for u in each.u_ns]}
        for each in value
    ]
    return {"series": series}, findings


def _utck(data: bytes, _path: Path, *, seconds: bool) -> _Told:
    from truechimer.formats import utck_series

    value, findings = utck_series.read(data, seconds=seconds, any_scales=True)
    if value is None:
        return None, findings
    body = {"quantity": value.quantity, "laboratory": value.laboratory, "values": len(value.mjd)}
    return body | {"mjd_first": value.mjd[0], "mjd_last": value.mjd[-1]}, findings


def _csv(data: bytes, path: Path) -> _Told:
    from truechimer.cli import utc_record_files

    values, findings = utc_record_files.values_of(data, "csv", path, None)
    if not values:
        return None, findings
    days = [each.mjd for each in values]
    body = {"quantity": f"{values[0].scale} - UTC(k)", "values": len(values)}
    return body | {"mjd_first": min(days), "mjd_last": max(days)}, findings


def _utc_gnss(data: bytes, path: Path) -> _Told:
    from truechimer.formats import utc_gnss

    value, findings = utc_gnss.read(data, name=path.name)
    return (None if value is None else _gnss(value)), findings


def _gnss(table: "GnssTable") -> dict[str, Any]:
    """Return the days of UTC minus satellite systems: columns in s by day (counts of measurements as they are)."""
    columns = {}
    for label in table.labels:
        name, slash, _ = label.partition("/ns")
        unit = 1e-9 if slash else 1.0
        columns[f"{name}_s" if slash else name] = {str(mjd): value * unit for mjd, value in table.column(label).items()}
    return {"gnss_days": len(table.mjd), "gnss_mjd": [table.mjd[0], table.mjd[-1]], "gnss": columns}


def _two_way(data: bytes, _path: Path) -> _Told:
    from truechimer.formats import twstft

    value, findings = twstft.read(data)
    if value is None:
        return None, findings
    links = sorted({(each.local, each.remote) for each in value.sessions})
    body = {
        "laboratory": value.laboratory,
        "sessions": len(value.sessions),
        "links": [f"{one} {other}" for one, other in links],
        "calibrated": sum(each.switch == twstft.CALIBRATED for each in value.sessions),
    }
    return body, findings


def _clocks(data: bytes, _path: Path) -> _Told:
    from truechimer.formats import clock_data

    readings, findings = clock_data.read(data)
    if not readings and findings:
        return None, findings
    body = {
        "readings": len(readings),
        "clocks": sorted({each.clock for each in readings}),
        "mjd": sorted({each.mjd for each in readings}),
    }
    return body, findings


def _steps(data: bytes, _path: Path) -> _Told:
    from truechimer.formats import clock_data

    steps, findings = clock_data.read_steps(data)
    if not steps and findings:
        return None, findings
    rows = [
        {"mjd": each.mjd, "clock": each.clock, "x_step_s": each.time_ns * 1e-9}
        | {"y_step": each.frequency_ns_per_day * 1e-9 / 86_400.0}
        for each in steps
    ]
    return {"steps": rows}, findings


def _bulletin_c(data: bytes, _path: Path) -> _Told:
    from truechimer.formats import bulletin_c

    value, findings = bulletin_c.read(data)
    if value is None:
        return None, findings
    body = {"bulletin": value.number, "leap_s": value.step_s, "from_mjd": value.next_mjd}
    body["tai_minus_utc_s"] = value.tai_minus_utc_s
    return {key: each for key, each in body.items() if each is not None}, findings


def _finals2000a(data: bytes, _path: Path) -> _Told:
    from truechimer.formats import finals2000a

    value, findings = finals2000a.read(data)
    if value is None:
        return None, findings
    measured = [mjd for mjd, predicted in zip(value.mjd, value.predicted, strict=True) if not predicted]
    body: dict[str, Any] = {"days": len(value.mjd), "mjd_first": value.mjd[0], "mjd_last": value.mjd[-1]}
    if measured:
        at = value.mjd.index(measured[-1])
        body |= {"measured_to_mjd": measured[-1], "ut1_minus_utc_s": value.ut1_minus_utc_s[at]}
    return body, findings


def _leap_table(data: bytes, path: Path, *, dat: bool) -> _Told:
    from truechimer.formats import leap_second_dat, leap_seconds_list

    table, findings = leap_second_dat.read(data) if dat else leap_seconds_list.read(data, source=path.name)
    if table is None:
        return None, findings
    last = table.entries[-1]
    return {
        "leap_seconds": len(table.entries) - 1,
        "tai_minus_utc_s": last.tai_minus_utc_s,
        "since_mjd": last.mjd,
        "expires": table.expires.isoformat(0),
        "source": table.source,
    }, findings


def _cggtts(_data: bytes, path: Path) -> _Told:
    raise UtcUseRejected(f"{path}: a CGGTTS file: use `truechimer cggtts read`")


_READERS: dict[str, Callable[[bytes, Path], _Told]] = {
    "circular-t": _circular_t,
    "utcr": _utcr,
    "api": _api,
    "two-way": _two_way,
    "clocks": _clocks,
    "steps": _steps,
    "bulletin-c": _bulletin_c,
    "finals2000a": _finals2000a,
    "leap-list": lambda data, path: _leap_table(data, path, dat=False),
    "leap-dat": lambda data, path: _leap_table(data, path, dat=True),
    "cggtts": _cggtts,
    "clock-file": lambda data, path: _utck(data, path, seconds=True),
    "series": lambda data, path: _utck(data, path, seconds=False),
    "utc-gnss": _utc_gnss,
    "csv": _csv,
}


# ---- text -----------------------------------------------------------------------------------------------------------


def _lines(body: dict[str, Any]) -> list[str]:
    told = ("file", "kind", "findings", "laboratories", "mjd", "series", "steps", "gnss")
    wanted = [key for key in body if key not in told]
    said = ", ".join(f"{key} {_plain(body[key])}" for key in wanted)
    out = [f"{body['file']}: {body['kind']}" + (f", {said}" if said else "")]
    if "laboratories" in body:
        days = body["mjd"]
        heads = "".join(f"{mjd:>10}" for mjd in days)
        out.append(f"{body['scale'] + ' - UTC(k) / ns':<18}{heads}{'u':>8}")
        for row in body["laboratories"]:
            values = row["x_utc_minus_utck_s"]
            cells = "".join(
                f"{'-' if str(mjd) not in values else format(values[str(mjd)] * 1e9, '.1f'):>10}" for mjd in days
            )
            sigma = f"{row['u_s'] * 1e9:8.1f}" if "u_s" in row else f"{'-':>8}"
            out.append(f"{row['code']:<18}{cells}{sigma}")
    elif "gnss" in body:
        for name, values in body["gnss"].items():
            last = max(values, default=None)
            if name.endswith("_s") and last is not None:
                shown = f"{values[last] * 1e9:.1f} ns at MJD {last}"
                out.append(f"{name.removesuffix('_s')}: {len(values)} days, last {shown}")
    elif "series" in body:
        for each in body["series"]:
            ends = f"MJD {each['mjd'][0]} to {each['mjd'][-1]}"
            out.append(f"{each['comment'] or 'series'}: {len(each['mjd'])} values, {ends}")
    elif "steps" in body:
        out += [
            f"MJD {row['mjd']:.2f} clock {row['clock']}: {row['x_step_s'] * 1e9:+.1f} ns, {row['y_step']:+.2e}"
            for row in body["steps"]
        ]
    return out


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
