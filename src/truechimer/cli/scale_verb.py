"""`truechimer scale replay READINGS.csv`: run the ensemble over recorded readings, and say what it made of the clocks.

The ensemble is `truechimer.scale.replay`; here are arguments and the order of things. Files are `scale_input`'s, the
last table `scale_table`'s, pictures `scale_plot`'s. Rows that cannot be used are named with line and rule, counted, and
the rest is kept.

Exit status: 0 done (rejected rows are no failure, they are counted); 2 wrong use, or nothing that can be read.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli.arguments import verb_parser
from truechimer.cli.option_values import number
from truechimer.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from truechimer.cli.progress import Progress
    from truechimer.cli.scale_files import Given
    from truechimer.scale import ScaleSeries
    from truechimer.scale.leave_one_out import LeaveOneOut
    from truechimer.stability import StabilityCurve

BUILT = ("bands", "at1", "kalman", "algos")
_limit = number("is no limit: give seconds, 1e-12 to 1", least=1e-12, most=1.0)
_seconds = number("is no interval: give seconds, 0.001 to 1000000", least=1e-3, most=1e6)


class ScaleUseRejected(Rejected):
    """Options that do not belong together."""


def main(argv: list[str]) -> int:
    """Run `scale` with the arguments after the verb; return the exit status."""
    parser = verb_parser("scale", "The ensemble time scale over recorded readings.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="replay")
    run = verbs.add_parser(
        "replay",
        help="run the ensemble over a readings CSV or clock RINEX files",
        description="Run the ensemble over a readings CSV, or over the clock RINEX files (IGS .clk, also .gz) of one "
        "or many days: jumps between days are taken out, and the reference clock is a clock like the others. Without "
        "--clocks every name found is a clock whose noise is learned; names that claim UTC are references. It ends "
        "with a table: of each clock its weight at the shortest and at monthly averaging, its own Allan deviation and "
        "drift as learned, the movement within a day that the tests would not have seen, and how often it was "
        "suspended; then what happened, when, and by how much.",
        epilog="Exit status: 0 done (rejected rows are named and counted); 2 wrong use, or a file that cannot be read "
        "or written.",
        allow_abbrev=False,
    )
    run.add_argument("readings", metavar="READINGS.csv", nargs="+", type=Path, help="- for standard input")
    run.add_argument("--clocks", metavar="CLOCKS.toml", type=Path, help="kinds and declared noise of the clocks")
    run.add_argument(
        "--algorithm",
        type=_algorithm,
        default="bands",
        metavar="NAME",
        help="bands (default: weights by averaging time), at1, kalman, algos (after the fact)",
    )
    run.add_argument(
        "--utcr",
        metavar="FILE",
        nargs="+",
        type=Path,
        help="rapid UTC of the BIPM, one file a week: how far the scale departs from it is said (with --utck)",
    )
    run.add_argument(
        "--utck",
        metavar="CODE[=NAME]",
        type=_utck,
        help="whose row of the UTCr files, and what that UTC(k) is called in the readings (UTC.CODE)",
    )
    run.add_argument(
        "--departure-limit",
        metavar="S",
        type=_limit,
        default=3e-9,
        help="say from here on how far the scale departs from a source of UTC in the readings (3e-9)",
    )
    run.add_argument(
        "--interval", metavar="S", type=_seconds, help="of clock RINEX files, use epochs this far apart (all)"
    )
    run.add_argument("--out", metavar="SCALE.csv", type=Path, help="write every clock minus the scale at every epoch")
    run.add_argument(
        "--plot",
        metavar="OUT",
        type=Path,
        help="draw weights, residuals and the stability of the scale and its clocks: a file ending in .svg, .html or "
        ".png",
    )
    run.add_argument("--truth", metavar="TRUTH.csv", type=Path, help="hold the scale against what `sim make` knows")
    run.add_argument(
        "--leave-one-out",
        action="store_true",
        help="predict each clock from the others, and say how often the stated sigma covers what came",
    )
    run.add_argument(
        "--horizon",
        metavar="LIST",
        type=_horizons,
        help="how far ahead: 1h,6h,1d (default 1h,1d; with --leave-one-out)",
    )
    run.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(argv)
    return _replay(options)


def _algorithm(text: str) -> str:
    if text not in BUILT:
        raise argparse.ArgumentTypeError(f"there is no algorithm {text!r}; use {' or '.join(BUILT)}")
    return text


def _utck(text: str) -> tuple[str, str]:
    code, _, name = text.partition("=")
    if not code.isalnum():
        raise argparse.ArgumentTypeError(f"{text!r} names no laboratory: give CODE or CODE=NAME, as OP=maser1")
    return code, name or f"UTC.{code}"


def _horizons(text: str) -> list[float]:
    from truechimer.cli import scale_prediction

    return scale_prediction.horizons(text)


def _replay(options: argparse.Namespace) -> int:
    """Check, read, replay, tell."""
    from truechimer.cli import scale_files, scale_input, scale_plot, scale_table
    from truechimer.cli.progress import Progress
    from truechimer.scale import csv_lines, replay

    if options.horizon is not None and not options.leave_one_out:
        raise ScaleUseRejected("--horizon says how far --leave-one-out predicts: give both, or neither")
    if (options.utcr is None) is not (options.utck is None):
        raise ScaleUseRejected("--utcr has the values and --utck says whose they are: give both, or neither")
    inputs = (*options.readings, *(options.utcr or ()), options.clocks, options.truth)
    sources = [path for path in inputs if path is not None]
    scale_input.check_targets([path for path in (options.out, options.plot) if path is not None], sources)
    if options.plot is not None:
        scale_plot.check_target(options.plot)
    clocks = None if options.clocks is None else scale_input.read_clocks(options.clocks)
    given = scale_files.read(options.readings, clocks, interval_s=options.interval)
    if options.utcr is not None:
        given = _with_utcr(given, options.utcr, *options.utck)
    name, findings = Path(given.name), given.findings
    try:
        with Progress("replaying") as progress:
            limit_s = options.departure_limit
            series = replay(
                given.rows, given.clocks, options.algorithm, departure_limit_s=limit_s, progress=progress.show
            )
    except Rejected:
        scale_input.name_rejected(name, findings, used=False)
        raise
    rejected = sorted([*scale_files.refused(findings), *series.rejected], key=lambda finding: finding.line or 0)
    scale_input.name_rejected(name, rejected)
    more = scale_files.remarks(findings)
    more += [*scale_input.unread(clocks, series), *scale_input.not_connected(series)]
    more += scale_input.mostly_rejected(len(given.rows) - len(series.rejected), rejected, given.rows)
    series = scale_input.with_noticed(series, more)
    for finding in series.noticed:
        print(f"{finding.at(given.name)} [{finding.rule}]", file=sys.stderr)
    told = scale_table.tell(
        given.name,
        series,
        n_rows=len(given.rows) - len(series.rejected),
        rejected=rejected,
        out=None if options.out is None else str(options.out),
        truth=None if options.truth is None else _against_truth(series, options.truth),
    )
    if options.out is not None:
        with Progress(f"writing {options.out}") as progress:
            whole = len(series.epoch_tai_ns)
            scale_input.write_whole(options.out, _shown(csv_lines(series), progress, whole))
    predicted = _predicted(options, given, series) if options.leave_one_out else None
    if options.json:
        print(json.dumps(scale_table.document(told) | scale_files.document(given) | _document(predicted)))
    else:
        print("\n".join([*scale_files.lines(given), scale_table.table(told), *_lines(predicted)]))
    if options.plot is not None:
        scale_plot.write(options.plot, told)
        print(f"wrote {options.plot}", file=sys.stderr)
    return 0


def _with_utcr(given: "Given", paths: list[Path], code: str, node: str) -> "Given":
    """Return the readings with a laboratory's rapid UTC among them."""
    from dataclasses import replace

    from truechimer.cli import scale_utcr

    values, found = scale_utcr.read(paths, code)
    rows, more = scale_utcr.joined(given.rows, values, node)
    return replace(given, rows=rows, findings=[*given.findings, *found, *more])


def _predicted(options: argparse.Namespace, given: "Given", series: "ScaleSeries") -> "LeaveOneOut":
    """Predict each clock from the others."""
    from truechimer.cli import scale_prediction
    from truechimer.cli.progress import Progress
    from truechimer.scale.leave_one_out import leave_one_out

    with Progress("leaving out") as progress:
        return leave_one_out(
            given.rows,
            series.clocks,
            options.algorithm,
            horizons_s=options.horizon or scale_prediction.HORIZONS_S,
            whole=series,
            progress=progress.show,
        )


def _document(predicted: "LeaveOneOut | None") -> dict[str, Any]:
    from truechimer.cli import scale_prediction

    return {} if predicted is None else scale_prediction.document(predicted)


def _lines(predicted: "LeaveOneOut | None") -> list[str]:
    from truechimer.cli import scale_prediction

    return [] if predicted is None else ["", *scale_prediction.lines(predicted)]


def _shown(lines: "Iterator[str]", progress: "Progress", whole: int) -> "Iterator[str]":
    """Pass lines on, an epoch at a time, and say how far it is."""
    for done, line in enumerate(lines):
        progress.show(done, whole)
        yield line


def _against_truth(series: "ScaleSeries", path: Path) -> "tuple[str, StabilityCurve]":
    """Return the clock through which the scale is seen, and the Allan deviation of scale minus truth."""
    from truechimer import stability
    from truechimer.cli import scale_input
    from truechimer.scale.own_stability import on_grid, scale_minus_truth

    truth, findings = scale_input.read_truth(path, series)
    scale_input.name_rejected(path, findings)
    through, x_scale_minus_truth_s = scale_minus_truth(series, truth)
    interval_s, x = on_grid(series, x_scale_minus_truth_s)
    return series.clocks[through].name, stability.oadev(x, interval_s, "octave")
