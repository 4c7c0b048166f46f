"""What `truechimer verdict` says: one document, and the same for people, the sentence first.

It judges nothing (`laboratory.verdict`) and reads no file.
"""

from typing import TYPE_CHECKING, Any

from truechimer.cli.evidence_source import Source, signature_of
from truechimer.cli.lab_words import plain, seconds
from truechimer.instants import FS_PER_S, Instant, LeapTable, to_utc

if TYPE_CHECKING:
    from truechimer.laboratory.replay import Replay
    from truechimer.laboratory.testimony import Decision, Testimony
    from truechimer.laboratory.verdict import Segment, Verdict

MOST_LINES = 40
"""Segments shown to people; `--json` has all of them."""
_TAMPERED = {
    "signature": "entry {record} of the log is not the one that was signed",
    "chain": "record {record} does not continue the record before it",
    "replay": "record {record} does not follow from its readings",
    "dated": "record {record} is dated otherwise than witnesses saw it",
    "fork": "from record {record} on witnesses saw another history",
    "moved": "what was served left what the operators allow",
}


def document_of(
    source: Source,
    said: "Testimony",
    found: "Verdict",
    again: "Replay | None",
    leaps: LeapTable,
    *,
    policy_given: bool,
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
        "given": policy_given,
        "sentence": "" if policy_given else "as the log itself names it; give --policy to hold it against yours",
        "envelope_signed_by": list(said.signers),
    }
    policy = {key: value for key, value in policy.items() if value != ""}
    if said.unsigned:
        policy["not_signed"] = [{"record": seq, "why": why} for _, seq, why in said.unsigned]
    witnesses = tuple(sorted(source.judged.trusted.witnessed)) if source.judged is not None else ()
    tampering: dict[str, Any] = {}
    if found.tampering is not None:
        one = found.tampering
        tampering = {"what": one.what, "why": one.why}
        if one.record is not None:
            tampering["record"] = one.record
        if one.last_proved_tai_s is not None:
            tampering["last_proved"] = utc_of(one.last_proved_tai_s, leaps)
    return {
        "scale": start.scale_name,
        "against": "simulated-utc" if start.simulated else "utc",
        "seconds": {word.value: found.count(word) for word in Word},
        "segments": [_segment(segment, leaps, witnesses) for segment in found.segments],
        **({"tampering": tampering} if tampering else {}),
        "chain": chain,
        "replay": replayed,
        "policy": policy,
        "log": source.name,
        "signature": signature_of(source.judged),
        "unwitnessed": not witnesses,
    }


def _segment(segment: "Segment", leaps: LeapTable, witnesses: tuple[str, ...]) -> dict[str, Any]:
    """Return one segment as a document."""
    body: dict[str, Any] = {
        "from": utc_of(segment.from_tai_s, leaps),
        "to": utc_of(segment.to_tai_s, leaps),
        "seconds": segment.seconds,
        "verdict": segment.word.value,
    }
    if segment.error_s is not None:
        body |= {"error_s": segment.error_s, "by": list(segment.by)}
        if witnesses:
            body["witnessed_by"] = list(witnesses)
    if segment.why:
        body["why"] = segment.why
    if segment.moved_s is not None:
        body |= {"moved_s": segment.moved_s, "moved_at_least_s": segment.at_least_s, "by": list(segment.by)}
    if segment.before is not None:
        before = segment.before
        if before.last_proved_tai_s is not None:
            body["last_proved"] = utc_of(before.last_proved_tai_s, leaps)
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
    return {"record": one.seq, "kind": one.kind, "at": utc_of(one.t_ns // 10**9, leaps), "says": one.says}


def utc_of(tai_s: int, leaps: LeapTable) -> str:
    """Return a TAI second as UTC."""
    return to_utc(Instant(tai_s * FS_PER_S), leaps, beyond_expiry="flag").isoformat(digits=0)


def lines_of(document: dict[str, Any]) -> list[str]:
    """Return the answer for people: the sentence first."""
    counts = document["seconds"]
    whole = sum(counts.values())
    if counts["moved"]:
        sentence = f"THE TIME WAS MOVED in {counts['moved']} of {whole} seconds"
    elif counts["proved"] == whole and "tampering" in document:
        sentence = f"all {whole} seconds asked for are proved, but the log is NOT whole"
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
    lines += _signature_lines(document)
    if "tampering" in document:
        one = document["tampering"]
        says = _TAMPERED[one["what"]].format(**one)
        proved = one.get("last_proved")
        until = f"the last second proved before it is {proved}" if proved else "no second before it is proved"
        lines.append(f"FIRST:  {says}; {until}")
    return lines


def _signature_lines(document: dict[str, Any]) -> list[str]:
    """Say what stands under the log."""
    signature = document["signature"]
    if not signature["judged"]:
        return [
            "signed: NOT JUDGED: no policy of logs was given (--policy); who holds the disk could have written this"
        ]
    lines = [f"signed: {plain(signature['origin'])}, {signature['size']} entries"]
    if not signature["holds"]:
        bad = f"entry {signature['first_bad']}" if "first_bad" in signature else "a file beside its entries"
        lines[0] += f"; {bad} is NOT what was signed"
    witnessed = ", ".join(map(plain, sorted(signature["witnessed"])))
    if witnessed:
        return [*lines, f"witnessed by {witnessed}"]
    return [*lines, "UNWITNESSED: who holds the log's key and the whole disk could have written another"]


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
