"""What stands in the log for a record: its canonical bytes, or, where they are too long for an entry, their hash.

It stores nothing. An entry of a tiled log is at most 65,535 bytes; a long record (an epoch of hundreds of clocks)
stands there as a small record of kind `long-record` with its `seq` and `prev` and its hash, which the next record's
`prev` repeats, and is handed over beside the log.
"""

import json
import re
from hashlib import sha256

from truechimer.evidence.record import canonical
from truechimer.evidence.tiles import LARGEST_ENTRY

LONG_RECORD = "long-record"
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


PAYLOADS = "payloads"
"""The folder, beside the tiles, in which records stand that are too long for an entry, each under its hash."""


def payload_path(digest: str) -> str:
    """Return the name of a long record's file, `digest` being its SHA-256 in hex."""
    return f"{PAYLOADS}/{digest}"


def entry_of(record: bytes) -> bytes:
    """Return a record's entry: the record itself where it fits."""
    if len(record) <= LARGEST_ENTRY:
        return record
    body = json.loads(record)
    return canonical(
        {
            "kind": LONG_RECORD,
            "of_kind": body["kind"],
            "payload_bytes": len(record),
            "payload_sha256": sha256(record).hexdigest(),
            "prev": body["prev"],
            "seq": body["seq"],
        }
    )


def hash_of_long(entry: bytes) -> str | None:
    """Return the hash (hex) of the record that an entry stands for; None where the entry is the record itself."""
    if f'"kind":"{LONG_RECORD}"'.encode() not in entry:
        return None
    try:
        body = json.loads(entry)
        found = body["payload_sha256"] if body["kind"] == LONG_RECORD else None
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) and _HEX.fullmatch(found) else None
