"""`truechimer evidence replay PATH [--from T] [--to T]`: repeat a recorded run, or any past interval of it, through the
same fold, and name the first record that comes out otherwise. The verbs of the signed log are in `evidence_log`.

The fold is `truechimer.laboratory`, the comparison `laboratory.replay`, what a path means `evidence_source`. Nothing is
written.

Exit status: 0 every record came out in the same bytes; 1 one did not; 2 there is nothing to replay, or wrong use.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from truechimer.cli import check_capture, evidence_listeners, evidence_log
from truechimer.cli.arguments import verb_parser
from truechimer.cli.evidence_source import (
    EvidenceInputRejected,
    Source,
    as_distrusted,
    printable,
    read_policy,
    records_of,
    signature_of,
)

if TYPE_CHECKING:
    from truechimer.cli.evidence_source import Records
    from truechimer.instants import LeapTable
    from truechimer.laboratory.replay import Known

PROGRESS_AFTER_S = 2.0
_PROGRESS_EVERY = 500


def main(argv: list[str]) -> int:
    """Run `evidence` with the arguments after the verb; return the exit status."""
    parser = verb_parser("evidence", "The record of everything a laboratory read, decided and served.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    again = verbs.add_parser(
        "replay",
        help="repeat a recorded run and compare every record",
        description="Repeat a run from its records: every decision is made again and must come out in the same bytes.",
        allow_abbrev=False,
    )
    again.add_argument(
        "path",
        metavar="PATH",
        help="a laboratory's directory, its record file, a folder of tiles, a bundle, a log's URL",
    )
    again.add_argument("--policy", metavar="FILE", type=Path, help="replay the signed log, judged by this policy first")
    again.add_argument(
        "--keep", metavar="DIR", type=Path, help="keep the copy of a log behind a URL, and go on from it"
    )
    again.add_argument(
        "--from",
        dest="start",
        metavar="T",
        help="only from this moment on, UTC (2026-11-22T06:00:00Z) or MJD; begun at the last state kept before it",
    )
    again.add_argument("--to", dest="end", metavar="T", help="only epochs before this moment")
    again.add_argument("--json", action="store_true", help="print one JSON document")
    evidence_log.add(verbs)
    evidence_listeners.add(verbs)
    check_capture.add(verbs)
    options = parser.parse_args(argv)
    if options.verb == "check-capture":
        return check_capture.run(options)
    if options.verb == "listeners":
        return evidence_listeners.run(options)
    if options.verb != "replay":
        return evidence_log.run(options)
    return _replay(options)


def _replay(options: argparse.Namespace) -> int:
    from truechimer.evidence.log_policy import CheckpointDistrusted

    policy = read_policy(options.policy) if options.policy is not None else None
    try:
        with records_of(options.path, policy, keep=options.keep) as source:
            return _replayed(source, options.start, options.end, as_json=options.json)
    except CheckpointDistrusted as error:
        return as_distrusted(options.path, error, as_json=options.json)


def _replayed(source: Source, start: str | None, end: str | None, *, as_json: bool) -> int:
    from truechimer.laboratory.replay import replay

    part = _part(source, start, end)
    begin = 0 if part.known is None else part.known.state.chain.seq
    progress = Progress("replaying")
    try:
        log = islice(source.records.read(first=begin), part.last - begin)
        outcome = replay(progress.watched(log, part.last - begin), part.known)
    finally:
        progress.end()
    if outcome.compared == 0 and outcome.difference is None:
        raise EvidenceInputRejected(f"{source.name}: holds no records yet; nothing to replay")
    told: dict[str, Any] = {"file": source.name, "records_compared": outcome.compared, "difference": None}
    if part.is_part:
        told |= {"replayed_from_record": begin, "first_record": part.first, "last_record": part.last - 1}
    if outcome.difference is not None:
        told["difference"] = {"seq": outcome.difference.seq, "why": outcome.difference.why}
    if source.folder is None:
        told["signature"] = signature_of(source.judged)
    same = outcome.difference is None and (source.judged is None or source.judged.holds)
    if as_json:
        print(json.dumps(told))
        return 0 if same else 1
    if source.judged is not None:
        head = source.judged.trusted.checkpoint
        print(f"{printable(head.origin)}: {head.size} entries, signed as the policy asks")
        for fault in source.judged.faults[:20]:
            print(f"fault: {printable(fault)}")
    elif source.folder is None:
        print("the signature of this log is NOT judged: give --policy")
    if part.is_part:
        whence = f"the state kept after record {begin - 1}" if begin else "the first record"
        print(f"records {part.first} to {part.last - 1}, repeated from {whence} on")
    if outcome.difference is None:
        print(f"{outcome.compared} records compared: every one came out in the same bytes")
    else:
        print(f"{outcome.compared} records compared; the first difference is record {outcome.difference.seq}:")
        print(f"  {printable(outcome.difference.why)}")
    return 0 if same else 1


@dataclass(frozen=True, slots=True)
class _Part:
    """What is repeated: `known` state to begin from (None: the first record), the records asked for from `first` to
    before `last`; `is_part`: not all of them.
    """

    known: "Known | None"
    first: int
    last: int
    is_part: bool


def _part(source: Source, start: str | None, end: str | None) -> _Part:
    """Return what an interval means in these records; raises `EvidenceInputRejected` where they hold no epoch of it."""
    records = source.records
    if start is None and end is None:
        return _Part(None, 0, records.count(), is_part=False)
    from truechimer.cli.verdict_verb import moment
    from truechimer.daemon.records import past_snapshots
    from truechimer.daemon.records.snapshots import FILE, STATE_KEY

    leaps = _leaps(records)
    first, last = 0, records.count()
    if start is not None:
        first = past_snapshots.first_epoch_from(records, moment(start, leaps, "--from") * 10**9)
    if end is not None:
        last = past_snapshots.first_epoch_from(records, moment(end, leaps, "--to") * 10**9)
    if first >= last:
        raise EvidenceInputRejected(
            f"{source.name}: holds no epoch in that interval; `truechimer verdict` tells what it reaches"
        )
    known = None
    if source.folder is not None:  # kept states are the laboratory's own: who judges a signed log repeats it whole
        folder = source.folder if (source.folder / "run" / FILE).is_file() else source.folder.parent
        known = past_snapshots.nearest(folder / "run" / FILE, records, first, STATE_KEY)
    return _Part(known, first, last, is_part=True)


def _leaps(records: "Records") -> "LeapTable":
    """Return the leap table that the log begins with, else this program's."""
    from truechimer.evidence.record import RecordRejected
    from truechimer.instants import builtin_leap_table
    from truechimer.laboratory.run_start import decode

    try:
        return decode(json.loads(next(iter(records.read()), b"{}"))).leaps
    except (RecordRejected, ValueError):
        return builtin_leap_table()


class Progress:
    """A line on stderr of how far a long reading is; only on a terminal and only after `PROGRESS_AFTER_S`."""

    def __init__(self, doing: str, stream: IO[str] | None = None) -> None:
        self._doing = doing
        self._stream = stream or sys.stderr
        self._began = time.monotonic()
        self._shown = False

    def watched(self, records: Iterable[bytes], whole: int) -> Iterator[bytes]:
        """Yield the records, saying how far it is."""
        for done, record in enumerate(records):
            if done % _PROGRESS_EVERY == 0:
                self._show(done, whole)
            yield record

    def _show(self, done: int, whole: int) -> None:
        if self._stream.isatty() and time.monotonic() - self._began > PROGRESS_AFTER_S:
            self._stream.write(f"\r{self._doing}: {100.0 * done / max(whole, 1):3.0f} %")
            self._stream.flush()
            self._shown = True

    def end(self) -> None:
        """Wipe the line."""
        if self._shown:
            self._stream.write("\r" + " " * 20 + "\r")
            self._stream.flush()
