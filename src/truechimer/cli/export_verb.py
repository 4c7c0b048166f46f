"""`truechimer export parquet|systemd`: a laboratory's records as files for other people's tools.

It writes nothing into the laboratory and needs no running service. What becomes of records: `store.history_export`.

Exit status: 0 all that the journal had is exported; 1 a part (the reason is said), or `--verify` found a difference;
2 wrong use, nothing to export, or DuckDB is not installed.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli import export_systemd
from truechimer.cli.arguments import verb_parser
from truechimer.cli.evidence_source import records_file
from truechimer.errors import Rejected

if TYPE_CHECKING:
    from truechimer.store.history_export import Extended

PROGRESS_AFTER_S = 2.0


class HistoryToolsRejected(Rejected):
    """DuckDB is not there."""


def main(argv: list[str]) -> int:
    """Run `export` with the arguments after the verb; return the exit status."""
    parser = verb_parser("export", "A laboratory's records as files for other people's tools.")
    forms = parser.add_subparsers(dest="form", required=True, metavar="parquet|systemd")
    parquet = forms.add_parser(
        "parquet",
        help="the history: readings, scale, weights, served time, selection, steering, alerts, by table and day",
        description="Bring a history of Parquet files up to the end of a laboratory's records. Only what is new is "
        "written; the laboratory may be running.",
        allow_abbrev=False,
    )
    parquet.add_argument("directory", nargs="?", metavar="DIR", type=Path, help="a laboratory's directory")
    parquet.add_argument("--lab", metavar="DIR", type=Path, help="the same; without either, the running laboratory")
    parquet.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="the history's folder, new or one to go on"
    )
    parquet.add_argument("--verify", action="store_true", help="also compare every file and row with the records")
    parquet.add_argument("--json", action="store_true", help="print one JSON document")
    systemd = forms.add_parser(
        "systemd",
        help="a hardened unit for this laboratory, and the user that runs it",
        description="Write a hardened systemd unit for one laboratory; nothing is installed.",
        allow_abbrev=False,
    )
    export_systemd.add_options(systemd)
    options = parser.parse_args(argv)
    if options.form == "systemd":
        return export_systemd.run(options)
    if options.directory is not None and options.lab is not None:
        parser.error("name the laboratory once, as DIR or as --lab DIR")
    return _parquet(options)


def _parquet(options: argparse.Namespace) -> int:
    try:
        from truechimer.store import history_export
    except ModuleNotFoundError as error:
        if error.name != "duckdb":
            raise
        raise HistoryToolsRejected(
            "writing Parquet needs DuckDB, which is not installed here; run `./truechimer export parquet` in a "
            "checkout, which fetches it, or install truechimer[history]"
        ) from None
    from truechimer.client import find_service

    journal = records_file(options.directory or options.lab or find_service().lab)
    progress = _Progress()
    done = history_export.extend(options.out, journal, progress=progress.show)
    faults: list[str] = []
    if options.verify:
        faults = history_export.verify(options.out, journal, progress=progress.show)
    progress.end()
    told = _told(options.out, journal, done)
    if options.verify:
        told["faults"] = faults
    if options.json:
        print(json.dumps(told))
    else:
        _print(told, verified=options.verify)
    return 1 if done.stopped is not None or faults else 0


def _told(folder: Path, journal: Path, done: "Extended") -> dict[str, Any]:
    """Return what is said of an export."""
    manifest = done.manifest
    told: dict[str, Any] = {
        "history": str(folder),
        "journal": str(journal),
        "records_added": done.records_added,
        "through_seq": manifest.through_seq,
        "journal_records": done.journal_records,
        "lag_records": done.journal_records - manifest.through_seq - 1,
        "segments": len(manifest.segments),
        "stored_bytes": sum(segment.stored_bytes for segment in manifest.segments),
        "rows": manifest.rows,
        "without_table": dict(manifest.without_table),
        "against": "simulated-utc" if manifest.simulated else "utc",
    }
    if manifest.last_epoch_tai_ns is not None:
        told["last_epoch_tai_ns"] = manifest.last_epoch_tai_ns
    if done.stopped is not None:
        told["stopped"] = done.stopped
    return told


def _print(told: dict[str, Any], *, verified: bool) -> None:
    if told["against"] == "simulated-utc":
        print("SIMULATED: this laboratory's clocks and UTC are simulated")
    print(
        f"{told['history']}: {told['records_added']} records added; it reaches to record {told['through_seq']} of "
        f"{told['journal_records'] - 1}"
    )
    for table, rows in told["rows"].items():
        if rows:
            print(f"  {table:<12} {rows:>12} rows")
    print(f"  {told['segments']} files, {told['stored_bytes'] / 1e6:.1f} MB")
    for kind, number in told["without_table"].items():
        print(f"  {number} records of kind {kind} have no table")
    if "stopped" in told:
        print(f"stopped there: {told['stopped']}")
    if verified:
        print("verified: every file and every row agrees with the records" if not told["faults"] else "NOT verified:")
        for fault in told["faults"][:20]:
            print(f"  {fault}")


class _Progress:
    """A line on stderr of how far it is; only on a terminal and only after `PROGRESS_AFTER_S`."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._shown = False

    def show(self, done: int, whole: int) -> None:
        if sys.stderr.isatty() and time.monotonic() - self._began > PROGRESS_AFTER_S:
            sys.stderr.write(f"\r{done} of {whole} records")
            sys.stderr.flush()
            self._shown = True

    def end(self) -> None:
        if self._shown:
            sys.stderr.write("\r" + " " * 40 + "\r")
            sys.stderr.flush()
