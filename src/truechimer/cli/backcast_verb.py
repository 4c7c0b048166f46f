"""`truechimer backcast DIR`: what our scale and steering would have done with a laboratory's own files of last year.

The fold is `truechimer.laboratory.backcast`; here are files and what is printed. Read are readings (CSV), clock data
and steps as sent to the BIPM, Circular T, rapid UTC and series of UTC - UTC(k), CGGTTS; nothing is written but what is
asked for. Files of no kind that is known are named and passed over.

Exit status: 0 done; 2 wrong use, or files that give no backcast.
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli.arguments import verb_parser
from truechimer.errors import Rejected

if TYPE_CHECKING:
    from truechimer.compare.utc_record import PublishedValue
    from truechimer.formats.clock_data import ClockReading, ClockStep
    from truechimer.formats.finding import Finding
    from truechimer.formats.reading_columns import ReadingColumns
    from truechimer.laboratory.backcast import Backcast

MOST_FILES = 20_000
LARGEST_FILE = 1 << 30
MOST_NAMED = 20
NS = 1e9
ALGORITHMS = ("bands", "at1", "kalman", "algos")


class BackcastUseRejected(Rejected):
    """A folder or an option that gives no backcast."""


@dataclass(slots=True)
class _Found:
    """What the files hold."""

    readings: "list[ReadingColumns]" = field(default_factory=list)
    clock_data: "list[ClockReading]" = field(default_factory=list)
    steps: "list[ClockStep]" = field(default_factory=list)
    published: "list[PublishedValue]" = field(default_factory=list)
    cggtts: list[tuple[int, float]] = field(default_factory=list)
    files: dict[str, int] = field(default_factory=dict)
    named: int = 0

    def name(self, path: Path, findings: "list[Finding]") -> None:
        """Name what is wrong with a file, up to `MOST_NAMED` of all."""
        for finding in findings:
            self.named += 1
            if self.named <= MOST_NAMED:
                print(f"{finding.at(str(path))} [{finding.rule}]", file=sys.stderr)


def main(argv: list[str]) -> int:
    """Run `backcast` with the arguments after the verb; return the exit status."""
    parser = verb_parser(
        "backcast",
        "What our scale and steering would have done with a laboratory's own files, beside its own UTC(k). Reads a "
        "folder of readings, clock data, Circular T, rapid UTC and CGGTTS; writes nothing into it.",
    )
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--clocks", metavar="FILE", type=Path, help="CLOCKS.toml: kinds and noise (else learned)")
    parser.add_argument(
        "--circular-t", metavar="DIR", type=Path, help="where Circular T and rapid UTC are, if not there"
    )
    parser.add_argument("--laboratory", metavar="CODE", help="which row of Circular T is ours")
    parser.add_argument(
        "--utck", metavar="NAME", help="what UTC(k) is called in the readings (default: their UTC.<lab>)"
    )
    parser.add_argument("--algorithm", choices=ALGORITHMS, default="bands")
    parser.add_argument("--out", metavar="CSV", type=Path, help="write the days")
    parser.add_argument("--plot", metavar="OUT", type=Path, help="draw both UTC(k) against UTC: .svg, .html or .png")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(argv)
    from truechimer.cli import scale_input, stability_plot, utc_record_files
    from truechimer.compare import utc_record
    from truechimer.formats import clock_data, reading_columns
    from truechimer.instants import builtin_leap_table
    from truechimer.laboratory import backcast
    from truechimer.laboratory.backcast import BackcastRejected

    folders = [options.folder] + ([options.circular_t] if options.circular_t is not None else [])
    paths = [path for folder in folders for path in _files(folder)]
    scale_input.check_targets([path for path in (options.out, options.plot) if path is not None], paths)
    if options.plot is not None:
        stability_plot.check_target(options.plot)
    clocks = None if options.clocks is None else scale_input.read_clocks(options.clocks)
    found = _read(paths, options.laboratory, skip={options.clocks, options.out, options.plot})
    if found.named > MOST_NAMED:
        print(f"{options.folder}: and {found.named - MOST_NAMED} more findings", file=sys.stderr)
    tables = sum(n for kind, n in found.files.items() if kind in utc_record_files.KINDS)
    if tables and not found.published:
        of = "UTC - UTC(k)" if options.laboratory is None else f"laboratory {options.laboratory}"
        raise BackcastUseRejected(f"{options.folder}: no value of {of} in the files of published values ({tables})")
    if not found.published:
        raise BackcastUseRejected(
            f"{options.folder}: no Circular T, rapid UTC or series of UTC - UTC(k): name their folder with --circular-t"
        )
    leaps = builtin_leap_table()
    if found.readings and found.clock_data:
        says = "readings and clock data: the clock data are not used, the readings are finer"
        print(f"{options.folder}: {says}", file=sys.stderr)
    if found.readings:
        rows, own = _of_readings(found.readings, options.utck, options.folder)
    elif found.clock_data:
        between, own = backcast.differences(clock_data.without_steps(found.clock_data, found.steps), leaps)
        rows = reading_columns.of_rows(between)
    else:
        raise BackcastUseRejected(f"{options.folder}: neither readings (CSV) nor clock data: there is no clock in it")
    try:
        told = backcast.backcast(
            rows, own, utc_record.newest(found.published), leaps=leaps, clocks=clocks, algorithm=options.algorithm
        )
    except BackcastRejected as rejected:
        raise BackcastUseRejected(f"{options.folder}: {rejected}") from None
    if options.out is not None:
        scale_input.write_whole(options.out, _rows(told))
    body = _document(told, found, options.folder)
    print(json.dumps(body) if options.json else "\n".join(_lines(body)))
    if options.plot is not None:
        _draw(options.plot, told)
        print(f"wrote {options.plot}", file=sys.stderr)
    return 0


# ---- files ----------------------------------------------------------------------------------------------------------


def _files(folder: Path) -> list[Path]:
    """Return the files of a folder and of those in it, in order of their names; hidden ones are passed over."""
    if not folder.is_dir():
        raise BackcastUseRejected(f"{folder}: no folder; name the one that holds the laboratory's files")
    paths = sorted(
        path
        for path in (*folder.glob("*"), *folder.glob("*/*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if len(paths) > MOST_FILES:
        raise BackcastUseRejected(f"{folder}: {len(paths)} files (at most {MOST_FILES}); name a folder of one year")
    return paths


def _read(paths: list[Path], laboratory: str | None, *, skip: set[Path | None]) -> _Found:
    from truechimer.cli import file_bytes, scale_input, utc_record_files, utc_verb
    from truechimer.formats import clock_data, readings_csv

    found = _Found()
    unknown: list[Path] = []
    left_out = {path.resolve() for path in skip if path is not None}
    for path in dict.fromkeys(each.resolve() for each in paths):
        if path in left_out:
            continue
        try:
            data = file_bytes.read_text(path, at_most=LARGEST_FILE)
        except file_bytes.FileRejected as rejected:
            print(f"{rejected}: passed over", file=sys.stderr)
            continue
        head = data[:400_000].decode("latin-1").lstrip("\ufeff")
        lines = [line for line in head.splitlines() if line.strip() and not line.startswith("#")]
        kind = (
            "readings" if lines and lines[0].strip() in readings_csv.HEADERS else utc_verb.kind_of(data, name=path.name)
        )
        if kind == "readings":
            columns, findings = scale_input.readings_of(path, data)
            found.readings.append(columns)
        elif kind == "clocks":
            read, findings = clock_data.read(data)
            found.clock_data += read
        elif kind == "steps":
            steps, findings = clock_data.read_steps(data)
            found.steps += steps
        elif kind == "cggtts":
            findings = _take_cggtts(data, found)
        elif kind in utc_record_files.KINDS:
            try:
                values, findings = utc_record_files.values_of(data, kind, path, laboratory)
            except utc_record_files.UnreadableRejected as rejected:
                print(f"{rejected}: passed over", file=sys.stderr)
                continue
            found.published += values
        else:
            unknown.append(path)
            continue
        assert kind is not None
        found.files[kind] = found.files.get(kind, 0) + 1
        found.name(path, findings)
    for path in unknown[:MOST_NAMED]:
        print(f"{path}: of no kind that a backcast reads: passed over", file=sys.stderr)
    if len(unknown) > MOST_NAMED:
        print(f"and {len(unknown) - MOST_NAMED} more files of no known kind", file=sys.stderr)
    return found


def _take_cggtts(data: bytes, found: _Found) -> "list[Finding]":
    """Take the medians of UTC(k) minus GNSS time of each day: shown beside, and not steered by."""
    import numpy as np

    from truechimer.formats import cggtts_archive

    files, findings = cggtts_archive.read_all(data)
    for file in files:
        x_s = file.tracks.x_clock_minus_system_s()
        for mjd in sorted(set(file.tracks.mjd.tolist())):
            here = x_s[(file.tracks.mjd == mjd) & np.isfinite(x_s)]
            if len(here):
                found.cggtts.append((mjd, float(np.median(here))))
    return findings


def _of_readings(several: "list[ReadingColumns]", utck: str | None, folder: Path) -> tuple[Any, list[Any]]:
    """Return clock minus clock, and UTC(k) minus clock, from readings."""
    from truechimer.clocks.register import is_reference
    from truechimer.formats import reading_columns

    names = {name for columns in several for pair in columns.pairs for name in pair}
    claims = sorted(name for name in names if name.startswith("UTC."))
    name = utck or (claims[0] if len(claims) == 1 else None)
    if name is None or name not in names:
        said = f"no name {utck!r} in the readings" if utck else f"{len(claims)} names UTC.<lab> in the readings"
        raise BackcastUseRejected(
            f"{folder}: {said}: say with --utck which is UTC(k) ({', '.join(sorted(names)[:12])})"
        )
    between, own = [], []
    for columns in several:
        for row in columns:
            if name not in (row.a, row.b):
                between.append(row)
            elif row.b == name:
                own.append(row._replace(a=name, b=row.a, x_a_minus_b_s=-row.x_a_minus_b_s))
            else:
                own.append(row)
    between.sort(key=lambda row: row.epoch_tai_ns)
    clocks = [row for row in own if not is_reference(row.b)]
    # a clock that is compared with UTC(k) alone is compared with the others through it
    known = {each for row in between for each in (row.a, row.b)}
    between += _through(clocks, known)
    between.sort(key=lambda row: row.epoch_tai_ns)
    return reading_columns.of_rows(between), clocks


def _through(own: list[Any], known: set[str]) -> list[Any]:
    """Return differences of clocks that only UTC(k) connects: with one that the others know, or with one another."""
    missing = {row.b for row in own} - known
    if not missing:
        return []
    counts = {name: sum(row.b == name for row in own) for name in {row.b for row in own}}
    order = sorted(counts, key=lambda name: (name not in known, -counts[name], name))
    at: dict[int, dict[str, Any]] = {}
    for row in own:
        at.setdefault(row.epoch_tai_ns, {})[row.b] = row
    rows = []
    for here in at.values():
        middle = next((name for name in order if name in here), None)
        for name, row in here.items():
            if middle is not None and name != middle and name in missing:
                x_s = here[middle].x_a_minus_b_s - row.x_a_minus_b_s
                u_s = (here[middle].u_s ** 2 + row.u_s**2) ** 0.5
                rows.append(row._replace(a=name, b=middle, x_a_minus_b_s=x_s, u_s=u_s))
    return rows


# ---- what is printed ------------------------------------------------------------------------------------------------


def _series(told: "Backcast", of: Any) -> list[tuple[int, float]]:
    import numpy as np

    return [(int(mjd), float(x)) for mjd, x in zip(told.mjd, of, strict=True) if np.isfinite(x)]


def _document(told: "Backcast", found: _Found, folder: Path) -> dict[str, Any]:
    import numpy as np

    from truechimer.compare import utc_record

    steered = np.isfinite(told.x_utc_minus_ours_s)
    days = [int(told.mjd[0]), int(told.mjd[-1])]
    body: dict[str, Any] = {"folder": str(folder), "files": found.files, "against": told.against, "mjd": days}
    body |= {"algorithm": told.series.algorithm, "clocks": [clock.name for clock in told.series.clocks]}
    body |= {"epochs": len(told.series.epoch_tai_ns), "published": told.values, "orders": told.orders}
    body["own_whole"] = _row(utc_record.by_year(_series(told, told.x_utc_minus_own_s))[-1])
    if told.began_mjd is not None and steered.any():
        body |= {"began_mjd": told.began_mjd, "time_constant_s": told.time_constant_s}
        own = utc_record.by_year(_series(told, np.where(steered, told.x_utc_minus_own_s, np.nan)))
        ours = utc_record.by_year(_series(told, told.x_utc_minus_ours_s))
        body["years"] = [
            ({} if one.year is None else {"year": one.year}) | {"own": _row(one), "ours": _row(other)}
            for one, other in zip(own, ours, strict=True)
        ]
    if found.cggtts:
        medians = [x for _, x in found.cggtts]
        body["cggtts"] = {
            "days": len({mjd for mjd, _ in found.cggtts}),
            "x_utck_minus_system_median_s": float(np.median(medians)),
        }
    body["rejected"] = len(told.series.rejected)
    return body


def _row(row: Any) -> dict[str, Any]:
    return {
        "n": row.n,
        "mean_s": row.mean_s,
        "rms_s": row.rms_s,
        "largest_s": row.largest_s,
        "largest_mjd": row.largest_mjd,
    }


def _lines(body: dict[str, Any]) -> list[str]:
    files = ", ".join(f"{n} {kind}" for kind, n in sorted(body["files"].items()))
    heard = ", ".join(f"{n} of {scale}" for scale, n in sorted(body["published"].items()))
    whole = body["own_whole"]
    rms, largest = whole["rms_s"] * NS, whole["largest_s"] * NS
    days = f"MJD {body['mjd'][0]} to {body['mjd'][1]}"
    out = [
        f"{body['folder']}: {files}",
        f"{len(body['clocks'])} clocks, {body['epochs']} epochs, {body['algorithm']}; published values: {heard}",
        f"{days}; own UTC(k) against {body['against']}: rms {rms:.2f} ns, largest {largest:.2f} ns",
    ]
    if "years" not in body:
        out.append("steering never began: too few values, or the scale is too noisy for its rate to be known")
        return out
    began, constant_d = body["began_mjd"], body["time_constant_s"] / 86_400.0
    out += [
        f"our UTC(k) from MJD {began:.2f} on, {body['orders']} orders, time constant {constant_d:.1f} d at the end",
        "",
        f"{body['against']} - UTC(k) / ns, on the same days",
        f"{'year':<6}{'n':>5} {'own: mean':>10} {'rms':>8} {'largest':>9} {'ours: mean':>12} {'rms':>8} {'largest':>9}",
    ]
    for row in body["years"]:
        own, ours = row["own"], row["ours"]
        out.append(
            f"{row.get('year', 'all')!s:<6}{own['n']:>5} {own['mean_s'] * NS:>10.2f} {own['rms_s'] * NS:>8.2f} "
            f"{own['largest_s'] * NS:>9.2f} {ours['mean_s'] * NS:>12.2f} {ours['rms_s'] * NS:>8.2f} "
            f"{ours['largest_s'] * NS:>9.2f}"
        )
    if "cggtts" in body:
        each = body["cggtts"]
        median = each["x_utck_minus_system_median_s"] * NS
        out.append(
            f"CGGTTS beside: {each['days']} days, UTC(k) minus GNSS time {median:.1f} ns in the median (not steered by)"
        )
    return out


def _rows(told: "Backcast") -> list[str]:
    out = [
        "# mjd: 0 h UTC; x in s; x_utc_minus_ours_s is empty before steering began\n",
        f"# UTC is {told.against} as published\n",
        "mjd,x_utc_minus_own_s,x_utc_minus_scale_s,x_utc_minus_ours_s\n",
    ]
    columns = (told.mjd, told.x_utc_minus_own_s, told.x_utc_minus_scale_s, told.x_utc_minus_ours_s)
    for mjd, own, scale, ours in zip(*(column.tolist() for column in columns), strict=True):
        out.append(f"{mjd},{own:.15e},{scale:.15e},{'' if ours != ours else format(ours, '.15e')}\n")  # noqa: PLR0124
    return out


def _draw(path: Path, told: "Backcast") -> None:
    from truechimer.cli.stability_plot import write_figures
    from truechimer.cli.utc_audit import over_days

    traces = []
    for name, of in (("own UTC(k)", told.x_utc_minus_own_s), ("ours", told.x_utc_minus_ours_s)):
        series = [(float(mjd), x * NS) for mjd, x in _series(told, of)]
        if series:
            traces.append((name, series))
    write_figures(path, [over_days(f"{told.against} minus UTC(k), own and ours", traces)])
