"""`truechimer evidence listeners PATH --policy FILE`: what the doors of a laboratory promised, out of its signed log.

It judges nothing by itself: the log is judged by the stranger's policy first (`evidence verify`), and the record is the
newest that the believed checkpoint covers. Exit status: 0 believed and shown; 1 the log is not believed, not whole, or
says nothing of its doors; 2 wrong use or unreadable input.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from truechimer.cli.evidence_source import Source

KIND = "listeners"
MARK = b'"kind":"listeners"'
AT_ONCE = 4096
NOBODY_NAMED = {"allow": "everybody", "deny": "nobody", "key_ids": "none"}
"""What an empty list means."""


def add(verbs: "argparse._SubParsersAction[Any]") -> None:
    """Add the verb to the parser of `evidence`."""
    does = "what each door promises whom, from a signed log that is judged first"
    listeners = verbs.add_parser(
        "listeners", help=does, description=does[0].upper() + does[1:] + ".", allow_abbrev=False
    )
    listeners.add_argument(
        "path", metavar="PATH", help="a bundle of the whole log, a folder with a log, or a log's URL"
    )
    listeners.add_argument(
        "--policy", required=True, metavar="FILE", type=Path, help="whose logs and witnesses you believe"
    )
    listeners.add_argument("--json", action="store_true", help="print one JSON document")


def run(options: argparse.Namespace) -> int:
    """Run the verb; return the exit status."""
    from truechimer.cli.evidence_source import as_distrusted, printable, read_policy, records_of, signature_of
    from truechimer.evidence.log_policy import CheckpointDistrusted
    from truechimer.evidence.record import RecordRejected

    try:
        with records_of(options.path, read_policy(options.policy)) as source:
            judged = source.judged
            assert judged is not None
            try:
                found = newest(source) if judged.holds else None
            except RecordRejected as error:
                found = None
                fault = str(error)
            else:
                fault = "; ".join(judged.faults[:1])
            signature = signature_of(judged)
    except CheckpointDistrusted as error:
        return as_distrusted(options.path, error, as_json=options.json)
    if found is None:
        says = fault or "the log says nothing of doors up to this checkpoint"
        told = {"path": options.path, "holds": judged.holds, "says": says} | signature
        print(json.dumps(told) if options.json else f"no manifest: {printable(says)}")
        return 1
    entry, body = found
    if options.json:
        print(json.dumps({"path": options.path, "holds": True, "entry": entry} | body | signature))
        return 0
    head = judged.trusted.checkpoint
    print(f"log        {printable(head.origin)}\nentry      {entry} of {head.size}")
    for row in body["listeners"]:
        print(words(row))
    return 0


def newest(source: "Source") -> tuple[int, dict[str, Any]] | None:
    """Return the newest manifest of a log with its entry's number, looked for from the end; None where there is none.
    Raises `RecordRejected`, `EvidenceInputRejected`.
    """
    count = source.records.count()
    while count > 0:
        first = max(0, count - AT_ONCE)
        found = None
        for number, data in enumerate(source.records.read(first=first), start=first):
            if number >= count:
                break
            if MARK in data:
                body = _manifest(number, data)
                found = found if body is None else (number, body)
        if found is not None:
            return found
        count = first
    return None


def _manifest(number: int, data: bytes) -> dict[str, Any] | None:
    """Return what an entry says as a manifest, None where it is none; who signed it may have written anything."""
    from truechimer.cli.evidence_source import EvidenceInputRejected

    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict) and body.get("kind") != KIND:
        return None
    rows = body.get("listeners") if isinstance(body, dict) else None
    if body is None or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise EvidenceInputRejected(f"entry {number} is no manifest that can be read; ask whoever signed the log")
    return {key: body[key] for key in ("epoch_tai_ns", "listeners") if key in body}


def words(row: dict[str, Any]) -> str:
    """Return a door's part of the manifest as lines."""
    from truechimer.cli.evidence_source import printable

    where = row.get("where", f"{row.get('address', '?')} port {row.get('port', '?')}")
    lines = [f"{row.get('protocol', '?')} {where}"]
    rest = {key: value for key, value in row.items() if key not in {"protocol", "address", "port", "where"}}
    lines += [
        f"  {key:<14} {NOBODY_NAMED.get(key, '-') if value == [] else _value(value)}" for key, value in rest.items()
    ]
    return "\n".join(printable(line) for line in lines)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return str(value)
