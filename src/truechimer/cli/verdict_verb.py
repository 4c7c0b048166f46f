"""`truechimer verdict`: was the time moved? Each second of an interval proved, unproved or moved, from records alone.

It asks no server and reads no clock. The judging is `truechimer.laboratory.verdict`; here are arguments, files, words.
Exit status: 0 every second of the interval is proved; 1 some are not; 2 nothing readable, or wrong use.
"""

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truechimer.cli.arguments import VerbParser, verb_parser
from truechimer.cli.evidence_verb import Progress, records_file
from truechimer.cli.lab_words import plain, seconds
from truechimer.errors import Rejected
from truechimer.instants import FS_PER_S, Instant, LeapTable, UtcLabel, builtin_leap_table, from_utc, to_utc

if TYPE_CHECKING:
    from truechimer.laboratory.replay import Replay
    from truechimer.laboratory.testimony import Decision, Testimony
    from truechimer.laboratory.verdict import Segment, Verdict

PROVED, NOT_PROVED = 0, 1
MOST_LINES = 40
"""Segments shown to people; `--json` has all of them."""


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
        "--log", type=Path, metavar="DIR", help="a laboratory's directory or record file (default: the running one's)"
    )
    options.add_argument("--lab", type=Path, metavar="DIR", help="the laboratory whose records are meant, as elsewhere")
    options.add_argument(
        "--policy", type=Path, metavar="FILE", help="who must have signed the envelope (default: whom the log names)"
    )
    options.add_argument(
        "--within", type=_positive, default=1.0, metavar="S", help="a wider error proves nothing (default: 1 s)"
    )
    options.add_argument(
        "--no-replay", action="store_true", help="do not repeat the run; forged decisions are then not seen as such"
    )
    options.add_argument("--json", action="store_true", help="print one JSON document")
    return options


def main(argv: list[str]) -> int:
    """Judge, print, and return the exit status. `argv` is what follows `verdict`."""
    options = parser().parse_args(argv)
    from truechimer.laboratory.replay import replay
    from truechimer.laboratory.testimony import hear
    from truechimer.laboratory.verdict import reach, verdict
    from truechimer.store.sqlite_records import SqliteRecords

    policy = _policy(options.policy)
    file = records_file(_place(options))
    store = SqliteRecords(file, read_only=True)
    progress = Progress("reading")
    try:
        said = hear(progress.watched(store.read(), store.count()), policy=policy)
        progress.end()
        if not said.records:
            why = f"{file}: holds no record of a run" if said.broken is None else f"{file}: {said.broken[1]}"
            raise VerdictInputRejected(f"{why}; name a laboratory's directory with --log")
        again = None
        if not options.no_replay:
            progress = Progress("replaying")
            again = replay(progress.watched(store.read(), said.records))
    finally:
        progress.end()
        store.close()
    leaps = said.leaps or builtin_leap_table()
    within = reach(said)
    first = moment(options.start, leaps, "--from") if options.start else within[0] if within else None
    last = moment(options.end, leaps, "--to") if options.end else within[1] if within else None
    if first is None or last is None:
        raise VerdictInputRejected(
            f"{file}: nothing was read or served yet, so it reaches no second; give --from and --to"
        )
    difference = None if again is None else again.difference
    found = verdict(said, first, last, within_s=options.within, difference=difference)
    document = _document(file, said, found, again, leaps, policy_file=options.policy, span=(first, last))
    print(json.dumps(document) if options.json else "\n".join(_lines(document)))
    return PROVED if document["seconds"]["proved"] == last - first else NOT_PROVED


def _positive(text: str) -> float:
    """Read a positive number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _place(options: argparse.Namespace) -> Path:
    """Return where the records are."""
    if options.log is not None:
        return Path(options.log)
    from truechimer.client import find_service

    return find_service(options.lab).lab


def _policy(path: Path | None) -> Any:
    """Read the policy file, where one is named."""
    if path is None:
        return None
    from truechimer.quorum.policy import policy_from

    try:
        return policy_from(path.read_bytes())
    except OSError as error:
        raise VerdictInputRejected(
            f"{path}: cannot be read ({error.strerror}); name the policy with --policy"
        ) from None


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


def _document(
    file: Path,
    said: "Testimony",
    found: "Verdict",
    again: "Replay | None",
    leaps: LeapTable,
    *,
    policy_file: Path | None,
    span: tuple[int, int],
) -> dict[str, Any]:
    """Return the whole answer."""
    from truechimer.evidence.verdict import Word

    start = said.eras[-1].start
    chain: dict[str, Any] = {"records": said.records, "head": said.head, "whole": said.broken is None}
    if said.broken is not None:
        chain |= {"broken_at": said.broken[0], "why": said.broken[1]}
    replayed: dict[str, Any] = {"made": again is not None}
    if again is not None:
        replayed |= {"records_compared": again.compared, "same": again.difference is None}
        if again.difference is not None:
            replayed |= {"differs_at": again.difference.seq, "why": again.difference.why}
    policy: dict[str, Any] = {
        "given": policy_file is not None,
        "sentence": "as the log itself names it; give --policy to hold it against yours" if policy_file is None else "",
        "envelope_signed_by": list(said.signers),
    }
    policy = {key: value for key, value in policy.items() if value != ""}
    if said.unsigned:
        policy["not_signed"] = [{"record": seq, "why": why} for _, seq, why in said.unsigned]
    return {
        "scale": start.scale_name,
        "against": "simulated-utc" if start.simulated else "utc",
        "from": _utc(span[0], leaps),
        "to": _utc(span[1], leaps),
        "seconds": {word.value: found.count(word) for word in Word},
        "segments": [_segment(segment, leaps) for segment in found.segments],
        "chain": chain,
        "replay": replayed,
        "policy": policy,
        "log": str(file),
        "unwitnessed": True,
    }


def _segment(segment: "Segment", leaps: LeapTable) -> dict[str, Any]:
    """Return one segment as a document."""
    body: dict[str, Any] = {
        "from": _utc(segment.from_tai_s, leaps),
        "to": _utc(segment.to_tai_s, leaps),
        "seconds": segment.seconds,
        "verdict": segment.word.value,
    }
    if segment.error_s is not None:
        body |= {"error_s": segment.error_s, "by": list(segment.by)}
    if segment.why:
        body["why"] = segment.why
    if segment.moved_s is not None:
        body |= {"moved_s": segment.moved_s, "moved_at_least_s": segment.at_least_s, "by": list(segment.by)}
    if segment.before is not None:
        before = segment.before
        if before.last_proved_tai_s is not None:
            body["last_proved"] = _utc(before.last_proved_tai_s, leaps)
        body |= {
            "envelope_signed_by": list(before.signers),
            "orders": [_decision(one, leaps) for one in before.orders],
            "alerts_before": [_decision(one, leaps) for one in before.alerts],
        }
    if segment.records is not None:
        body["records"] = list(segment.records)
    return body


def _decision(one: "Decision", leaps: LeapTable) -> dict[str, Any]:
    """Return a decision or an alert as a document; its time is the host's own label."""
    return {"record": one.seq, "kind": one.kind, "at": _utc(one.t_ns // 10**9, leaps), "says": one.says}


def _utc(tai_s: int, leaps: LeapTable) -> str:
    """Return a TAI second as UTC."""
    return to_utc(Instant(tai_s * FS_PER_S), leaps, beyond_expiry="flag").isoformat(digits=0)


def _lines(document: dict[str, Any]) -> list[str]:
    """Return the answer for people: the sentence first."""
    counts = document["seconds"]
    whole = sum(counts.values())
    if counts["moved"]:
        sentence = f"THE TIME WAS MOVED in {counts['moved']} of {whole} seconds"
    elif counts["proved"] == whole:
        sentence = f"the time was not moved: all {whole} seconds are proved"
    else:
        sentence = f"no second was seen moved; {counts['proved']} of {whole} are proved, {counts['unproved']} are not"
    lines = [sentence, f"{plain(document['scale'])}, {document['from']} to {document['to']}"]
    if document["against"] != "utc":
        lines.append("SIMULATED: against simulated UTC, not UTC")
    segments = document["segments"]
    shown = segments if len(segments) <= MOST_LINES else sorted(segments, key=_gravity)[:MOST_LINES]
    lines += ["", *(_segment_line(segment) for segment in shown)]
    if len(shown) < len(segments):
        lines.append(f"... and {len(segments) - len(shown)} more; --json has all")
    chain, replayed = document["chain"], document["replay"]
    lines += ["", f"chain:  {chain['records']} records follow each other"]
    if not chain["whole"]:
        lines[-1] += f"; record {chain['broken_at']} does not: {plain(chain['why'])}"
    if not replayed["made"]:
        lines.append("replay: not made (--no-replay): forged decisions are not seen as such")
    elif replayed["same"]:
        lines.append(f"replay: {replayed['records_compared']} records came out in the same bytes")
    else:
        lines.append(f"replay: record {replayed['differs_at']} comes out otherwise: {plain(replayed['why'])}")
    policy = document["policy"]
    signed = ", ".join(map(plain, policy["envelope_signed_by"])) or "nobody"
    lines.append(f"policy: the envelope is signed by {signed} ({policy.get('sentence', 'as the policy given asks')})")
    lines.append("no witness has cosigned this log: who holds the whole disk could have written another")
    return lines


def _gravity(segment: dict[str, Any]) -> tuple[int, int]:
    """Order segments: moved first, then unproved, the longest first."""
    return ("moved", "unproved", "proved").index(segment["verdict"]), -segment["seconds"]


def _segment_line(segment: dict[str, Any]) -> str:
    """Return one segment for people."""
    head = f"{segment['from']}  {segment['seconds']:>8} s  {segment['verdict']:<8}"
    if segment["verdict"] == "proved":
        return f"{head}  error <= {seconds(segment['error_s'])} by {', '.join(map(plain, segment['by']))}"
    if segment["verdict"] == "unproved":
        return f"{head}  {segment['why']}"
    orders = ", ".join(f"{one['kind']} {one['record']}" for one in segment["orders"]) or "no order"
    proved = f"; last proved {segment['last_proved']}" if "last_proved" in segment else "; nothing proved before"
    who = f" against {', '.join(map(plain, segment['by']))}" if segment["by"] else " against its own readings"
    return f"{head}  by {seconds(segment['moved_s'], signed=True)}{who}; orders since: {orders}{proved}"
