"""`truechimer verdict`: was the time moved? Each second of an interval proved, unproved or moved, from records alone.

It asks no time server and reads no clock. The judging is `truechimer.laboratory.verdict`, what is read
`evidence_source`; here are arguments; what is said is `verdict_words`.
Exit status: 0 every second of the interval is proved and nothing of the log was tampered with; 1 otherwise; 2 nothing
readable, or wrong use.
"""

import argparse
import json
import math
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli.arguments import VerbParser, verb_parser
from truechimer.cli.evidence_source import Source, printable, records_of
from truechimer.cli.evidence_verb import Progress
from truechimer.cli.option_values import seconds_above_0
from truechimer.cli.verdict_words import document_of, lines_of, utc_of
from truechimer.errors import Rejected
from truechimer.instants import FS_PER_S, LeapTable, UtcLabel, builtin_leap_table, from_utc

if TYPE_CHECKING:
    from truechimer.evidence.log_policy import LogPolicy
    from truechimer.quorum.order_policy import OrderPolicy

PROVED, NOT_PROVED = 0, 1


class VerdictInputRejected(Rejected):
    """The records, the policy or the interval named cannot be used."""


def parser() -> VerbParser:
    """Return the command line of `verdict`."""
    options = verb_parser("verdict", "Was the time moved? Judge each second of an interval from the records alone.")
    options.add_argument(
        "--from",
        dest="start",
        metavar="T",
        help="first second: UTC (2026-11-22T06:00:00Z), or MJD (default: the log's)",
    )
    options.add_argument("--to", dest="end", metavar="T", help="end, itself not included (default: the log's)")
    options.add_argument(
        "--log",
        metavar="PATH",
        help="a laboratory's directory or record file, a folder of tiles, a bundle, a log's URL (default: the running "
        "laboratory's)",
    )
    options.add_argument("--lab", type=Path, metavar="DIR", help="the laboratory whose records are meant, as elsewhere")
    options.add_argument(
        "--policy",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="whose log and witnesses are believed (C2SP tlog-policy), or who must have signed the envelope (JSON); "
        "may be given twice (default: whom the log names, its signature not judged)",
    )
    options.add_argument(
        "--keep", metavar="DIR", type=Path, help="keep the copy of a log behind a URL, and go on from it"
    )
    options.add_argument(
        "--within", type=seconds_above_0, default=1.0, metavar="S", help="a wider error proves nothing (default: 1 s)"
    )
    options.add_argument(
        "--no-replay", action="store_true", help="do not repeat the run; forged decisions are then not seen as such"
    )
    options.add_argument("--json", action="store_true", help="print one JSON document")
    return options


def main(argv: list[str]) -> int:
    """Judge, print, and return the exit status. `argv` is what follows `verdict`."""
    options = parser().parse_args(argv)
    from truechimer.evidence.log_policy import CheckpointDistrusted

    policies = _policies(options.policy)
    named = str(options.log) if options.log is not None else _running(options.lab)
    try:
        with records_of(named, policies.log, keep=options.keep) as source:
            return _judged(source, options, policies)
    except CheckpointDistrusted as error:
        return _distrusted(named, error, options)


def _judged(source: Source, options: argparse.Namespace, policies: "_Policies") -> int:
    from truechimer.evidence.seen import sightings
    from truechimer.laboratory.replay import replay
    from truechimer.laboratory.testimony import hear
    from truechimer.laboratory.verdict import reach, verdict

    records, file = source.records, source.name
    progress = Progress("reading")
    believed = again = None
    try:
        said = hear(progress.watched(records.read(), records.count()), policy=policies.persons)
        progress.end()
        if not said.records:
            why = f"{file}: holds no record of a run" if said.broken is None else f"{file}: {said.broken[1]}"
            raise VerdictInputRejected(f"{why}; name a laboratory's directory with --log")
        if not options.no_replay:
            progress = Progress("replaying")
            again = replay(progress.watched(records.read(), said.records))
            if again.difference is not None:
                before = islice(records.read(), again.difference.since)
                believed = hear(before, policy=policies.persons)
    finally:
        progress.end()
    leaps = said.leaps or builtin_leap_table()
    within = reach(said)
    first = moment(options.start, leaps, "--from") if options.start else within[0] if within else None
    last = moment(options.end, leaps, "--to") if options.end else within[1] if within else None
    if first is None or last is None:
        why = f"; record {said.broken[0]}: {said.broken[1]}" if said.broken is not None else ""
        raise VerdictInputRejected(
            f"{file}: nothing was read or served yet, so it reaches no second; give --from and --to{why}"
        )
    seen = None
    if source.judged is not None and policies.log is not None:
        seen = sightings(said.witnessed, source.judged.trusted, policies.log, root_at=source.root_at)
    found = verdict(
        said,
        first,
        last,
        within_s=options.within,
        difference=None if again is None else again.difference,
        believed=believed,
        first_bad=None if source.judged is None else source.judged.first_bad,
        sightings=seen,
    )
    document = document_of(source, said, found, again, leaps, policy_given=policies.persons is not None)
    document |= {"from": utc_of(first, leaps), "to": utc_of(last, leaps)}
    print(json.dumps(document) if options.json else "\n".join(lines_of(document)))
    whole = found.tampering is None and (source.judged is None or source.judged.holds)
    return PROVED if whole and document["seconds"]["proved"] == last - first else NOT_PROVED


def _distrusted(named: str, error: "Rejected", options: argparse.Namespace) -> int:
    """Answer for a log that the policy does not believe: no second of it is proved."""
    from truechimer.evidence.verdict import Why

    leaps = builtin_leap_table()
    told: dict[str, Any] = {
        "log": named,
        "signature": {"judged": True, "holds": False, "distrusted": getattr(error, "reason", ""), "says": str(error)},
        "seconds": {"proved": 0, "unproved": 0, "moved": 0},
        "segments": [],
    }
    if options.start and options.end:
        first, last = moment(options.start, leaps, "--from"), moment(options.end, leaps, "--to")
        span = {"from": utc_of(first, leaps), "to": utc_of(last, leaps)}
        told |= span
        told["seconds"]["unproved"] = max(0, last - first)
        told["segments"] = [
            span | {"seconds": max(0, last - first), "verdict": "unproved", "why": Why.UNBELIEVED.value}
        ]
    if options.json:
        print(json.dumps(told))
    else:
        print(f"nothing is proved: no checkpoint of this log is believed\n{printable(str(error))}")
    return NOT_PROVED


def _running(lab: Path | None) -> str:
    """Return the folder of the running laboratory."""
    from truechimer.client import find_service

    return str(find_service(lab).lab)


@dataclass(frozen=True, slots=True)
class _Policies:
    """Whom the judge believes: whose log and witnesses, and which persons must have signed the envelope."""

    log: "LogPolicy | None"
    persons: "OrderPolicy | None"


def _policies(paths: list[Path]) -> _Policies:
    """Read the policy files that are named: JSON says who orders, a tlog-policy whose log is believed."""
    from truechimer.evidence.log_policy import LARGEST_POLICY, log_policy
    from truechimer.quorum.order_policy import order_policy_from

    found = _Policies(None, None)
    for path in paths:
        try:
            with path.open("rb") as file:
                data = file.read(LARGEST_POLICY + 1)
        except OSError as error:
            raise VerdictInputRejected(
                f"{path}: cannot be read ({error.strerror}); name the policy with --policy"
            ) from None
        if data.lstrip()[:1] == b"{":
            if found.persons is not None:
                raise VerdictInputRejected(f"{path}: a second policy of persons; give one")
            found = _Policies(found.log, order_policy_from(data))
        else:
            if found.log is not None:
                raise VerdictInputRejected(f"{path}: a second policy of logs; give one")
            found = _Policies(log_policy(data), found.persons)
    return found


def moment(text: str, leaps: LeapTable, option: str) -> int:
    """Return the TAI second (since 1970) that a UTC text or an MJD means; raises `VerdictInputRejected`."""
    try:
        mjd = float(text)
    except ValueError:
        try:
            label = UtcLabel.parse(text)
        except Rejected as error:
            raise VerdictInputRejected(f"{option} {text}: {error}") from None
    else:
        if not math.isfinite(mjd) or not 15_000.0 <= mjd < 200_000.0:
            raise VerdictInputRejected(f"{option} {text}: not a Modified Julian Date of our time; give UTC or MJD")
        day = math.floor(mjd)
        label = UtcLabel(day, min(round((mjd - day) * 86_400.0), 86_399))
    try:
        return from_utc(label, leaps, beyond_expiry="flag").tai_fs // FS_PER_S
    except Rejected as error:
        raise VerdictInputRejected(f"{option} {text}: {error}") from None
