"""`truechimer scale replay READINGS.csv`: run the ensemble over recorded readings, and write every clock minus the
scale.

The ensemble is `truechimer.scale.replay`; here are arguments, files and progress. Rows that cannot be used are named
with line and rule, counted, and the rest is kept.

Exit status: 0 done (rejected rows are no failure, they are counted); 2 wrong use, or nothing that can be read.
"""

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from truechimer.cli.arguments import verb_parser
from truechimer.errors import Rejected

if TYPE_CHECKING:
    from truechimer.clocks.clock import Clock
    from truechimer.formats.finding import Finding
    from truechimer.scale import ScaleSeries

PROGRESS_AFTER_S = 2.0
SHOWN_REJECTIONS = 20
"""Rejected rows that stderr names one by one; the JSON document names all of them up to `LISTED_REJECTIONS`."""
LISTED_REJECTIONS = 1_000
_SIGMAS = {"1 h": 3_600.0, "1 d": 86_400.0, "10 d": 864_000.0}
"""Averaging times at which the last table gives each clock's own Allan deviation, as learned."""
BUILT = ("bands", "at1", "kalman", "algos")


class ScaleInputRejected(Rejected):
    """A file that cannot be used."""


def main(argv: list[str]) -> int:
    """Run `scale` with the arguments after the verb; return the exit status."""
    parser = verb_parser("scale", "The ensemble time scale over recorded readings.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="replay")
    run = verbs.add_parser(
        "replay",
        help="run the ensemble over a readings CSV",
        description="Run the ensemble over READINGS.csv. Without --clocks every name found is a clock whose noise is "
        "learned; names that claim UTC are references.",
        allow_abbrev=False,
    )
    run.add_argument("readings", metavar="READINGS.csv", type=Path)
    run.add_argument("--clocks", metavar="CLOCKS.toml", type=Path, help="kinds and declared noise of the clocks")
    run.add_argument(
        "--algorithm",
        type=_algorithm,
        default="bands",
        metavar="NAME",
        help="bands (default: weights by averaging time), at1, kalman, algos (after the fact)",
    )
    run.add_argument("--out", metavar="SCALE.csv", type=Path, help="write every clock minus the scale at every epoch")
    run.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(argv)
    return _replay(options)


def _algorithm(text: str) -> str:
    if text not in BUILT:
        raise argparse.ArgumentTypeError(f"there is no algorithm {text!r}; use {' or '.join(BUILT)}")
    return text


def _replay(options: argparse.Namespace) -> int:
    """Read, replay, write."""
    from truechimer.formats import readings_csv
    from truechimer.scale import replay

    clocks = None if options.clocks is None else _clocks(options.clocks)
    rows, findings = readings_csv.read(_bytes(options.readings))
    progress = _Progress()
    try:
        series = replay(rows, clocks, options.algorithm, progress=progress.show)
    except Rejected:
        _name_rejected(options.readings, findings)
        raise
    finally:
        progress.end()
    rejected = sorted([*findings, *series.rejected], key=lambda finding: finding.line or 0)
    _name_rejected(options.readings, rejected)
    for finding in series.noticed:
        print(f"{finding.at(str(options.readings))} [{finding.rule}]", file=sys.stderr)
    if options.out is not None:
        _write(series, options.out)
    if options.json:
        print(json.dumps(_document(options, series, n_rows=len(rows) - len(series.rejected), rejected=rejected)))
    else:
        print(_table(options, series, n_rows=len(rows) - len(series.rejected), n_rejected=len(rejected)))
    return 0


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ScaleInputRejected(f"{path}: {error.strerror}; name a file that can be read") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _ClocksFile:
    """CLOCKS.toml: `[[clock]]` tables."""

    clock: "tuple[Clock, ...]" = field(metadata={"doc": "one table for each clock", "wrong": "nothing to weigh"})


def _clocks(path: Path) -> "tuple[Clock, ...]":
    """Read CLOCKS.toml; all its faults go to stderr, and then it is refused."""
    from truechimer.clocks.register import is_reference
    from truechimer.formats.finding import Finding, has_errors

    findings, clocks = _read_clocks(_bytes(path))
    names = Counter(clock.name for clock in clocks)
    twice = [name for name, count in names.items() if count > 1]
    findings += [Finding("same-name", f"two clocks are called {name}: rename one") for name in twice]
    findings += [
        Finding("reserved-name", f"{name} claims UTC and cannot be a clock: rename it")
        for name in names
        if is_reference(name)
    ]
    for finding in findings:
        print(finding.at(str(path)), file=sys.stderr)
    if has_errors(findings) or not clocks:
        raise ScaleInputRejected(f"{path}: {len(findings)} faults; nothing was run: correct them and try again")
    return clocks


def _read_clocks(data: bytes) -> "tuple[list[Finding], tuple[Clock, ...]]":
    from truechimer.clocks.clock import Clock
    from truechimer.formats import toml_tree

    globals()["Clock"] = Clock  # the hint of `_ClocksFile.clock` is resolved in this module
    value, findings = toml_tree.read(data, _ClocksFile)
    return list(findings), () if value is None else value.clock


def _name_rejected(path: Path, rejected: "list[Finding]") -> None:
    """Name rejected rows on stderr: the first few one by one, then how many by rule."""
    for finding in rejected[:SHOWN_REJECTIONS]:
        print(f"{finding.at(str(path))} [{finding.rule}]", file=sys.stderr)
    if rejected:
        by_rule = ", ".join(f"{count} {rule}" for rule, count in Counter(f.rule for f in rejected).most_common())
        print(f"{path}: {len(rejected)} rows rejected ({by_rule}); all others are used", file=sys.stderr)


def _write(series: "ScaleSeries", path: Path) -> None:
    """Write the Scale CSV beside its name, then put it in place."""
    from truechimer.scale import csv_lines

    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            file.writelines(csv_lines(series))
        part.replace(path)
    except OSError as error:
        raise ScaleInputRejected(f"{path}: {error.strerror}; name a file that can be written") from None
    finally:
        part.unlink(missing_ok=True)


def _clock_document(series: "ScaleSeries", i: int) -> dict[str, Any]:
    from truechimer.scale.replay import STATES
    from truechimer.scale.state import Membership

    last = len(series.epoch_tai_ns) - 1
    x, y = float(series.x_clock_minus_scale_s[last, i]), float(series.y_clock_minus_scale[i])
    weight = float(series.weight[last, i])
    document: dict[str, Any] = {
        "name": series.clocks[i].name,
        "kind": series.clocks[i].kind.value,
        "weight": weight,
        "state": STATES[Membership(int(series.state[last, i]))],
        "reason": "" if weight > 0.0 else series.reason(last, i),
        "epochs": int(series.epochs_read[i]),
    }
    if x == x:  # noqa: PLR0124 - NaN: nothing is known of it
        document["x_clock_minus_scale_s"] = x
    if y == y:  # noqa: PLR0124
        document["y_clock_minus_scale"] = y
    was_in = series.state[:, i] == Membership.IN
    document["events"] = int((was_in[:-1] & ~was_in[1:]).sum())
    if series.learned is not None:
        learned = series.learned
        document["weight_month"] = float(learned.weight_month[i])
        document["adev"] = {word: learned.allan_deviation(i, tau_s) for word, tau_s in _SIGMAS.items()}
        document["drift_per_day"] = float(learned.drift[i]) * 86_400.0
        document["u_drift_per_day"] = float(learned.u_drift[i]) * 86_400.0
    return document


def _document(
    options: argparse.Namespace, series: "ScaleSeries", *, n_rows: int, rejected: "list[Finding]"
) -> dict[str, Any]:
    listed = [
        {"line": finding.line, "rule": finding.rule, "says": finding.says}
        if finding.line is not None
        else {"rule": finding.rule, "says": finding.says}
        for finding in rejected[:LISTED_REJECTIONS]
    ]
    document: dict[str, Any] = {
        "file": str(options.readings),
        "algorithm": series.algorithm,
        "epochs": len(series.epoch_tai_ns),
        "readings": n_rows,
        "first_epoch_tai_ns": int(series.epoch_tai_ns[0]),
        "last_epoch_tai_ns": int(series.epoch_tai_ns[-1]),
        "divided_epochs": int(series.divided.sum()),
        "clocks": [_clock_document(series, i) for i in range(len(series.clocks))],
        "rejected_count": len(rejected),
        "rejected": listed,
        "noticed": [{"rule": finding.rule, "says": finding.says} for finding in series.noticed],
    }
    if options.out is not None:
        document["out"] = str(options.out)
    return document


def _table(options: argparse.Namespace, series: "ScaleSeries", *, n_rows: int, n_rejected: int) -> str:
    head = (
        f"{'clock':<16} {'kind':<10} {'weight':>7} {'month':>7} {'adev 1 h':>9} {'1 d':>9} {'10 d':>9} "
        f"{'drift/d':>10} {'+-':>8} {'state':<9} {'events':>6} {'epochs':>8}  reason"
    )
    lines = [
        f"{n_rows} readings, {len(series.epoch_tai_ns)} epochs, {n_rejected} rejected; algorithm {series.algorithm}",
        head,
    ]
    for i in range(len(series.clocks)):
        told = _clock_document(series, i)
        own = [f"{'-':>7}", *[f"{'-':>9}"] * len(_SIGMAS), f"{'-':>10} {'-':>8}"]
        if "adev" in told:
            own = [
                f"{told['weight_month']:7.4f}",
                *[f"{sigma:9.2e}" for sigma in told["adev"].values()],
                f"{told['drift_per_day']:+10.1e} {told['u_drift_per_day']:8.0e}",
            ]
        lines.append(
            f"{told['name']:<16} {told['kind']:<10} {told['weight']:7.4f} {' '.join(own)} {told['state']:<9} "
            f"{told['events']:6d} {told['epochs']:8d}  {told['reason']}".rstrip()
        )
    if options.out is not None:
        lines.append(f"written: {options.out}")
    return "\n".join(lines)


class _Progress:
    """A line on stderr of how far a long run is; only on a terminal and only after `PROGRESS_AFTER_S`."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._began = time.monotonic()
        self._shown = False

    def show(self, done: int, whole: int) -> None:
        if self._stream.isatty() and time.monotonic() - self._began > PROGRESS_AFTER_S:
            self._stream.write(f"\rreplaying: {100.0 * done / whole:3.0f} %")
            self._stream.flush()
            self._shown = True

    def end(self) -> None:
        if self._shown:
            self._stream.write("\r" + " " * 20 + "\r")
            self._stream.flush()
