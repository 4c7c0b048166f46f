"""The published log as the console shows it: its checkpoint, its newest entries by kind, single entries and proofs.

It verifies no signature and believes nothing it tells: who wants to know verifies (`static/evidence/`, `truechimer
evidence verify`). It reads the folder of the log and nothing else of the laboratory: no key, no journal. Source: C2SP
tlog-tiles, tlog-proof.

Law of the file: what is told of an entry is its own text, cut short; nothing in it is believed to have any form.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from truechimer.errors import Rejected, TruechimerError
from truechimer.evidence.bundle import bundled, entry_at, fetching, proof_of
from truechimer.evidence.checkpoint import Checkpoint, checkpoint
from truechimer.evidence.cosignature import time_of
from truechimer.evidence.entry import hash_of_long, payload_path
from truechimer.evidence.tiles import ENTRIES, WIDTH, covering, entries_of, tile_of
from truechimer.instants import Instant, builtin_leap_table, to_utc
from truechimer.quorum.keys import KeyRejected, verifier_key
from truechimer.quorum.note import UncheckedNote, parsed
from truechimer.store.bundle_reader import program
from truechimer.store.evidence_files import EvidenceFilesRejected, log_folder
from truechimer.store.log_files import LogFiles

CHECKPOINT = "checkpoint"
BUNDLES_LOOKED_AT = 32
"""Bundles of 256 entries that are read for the newest of each kind: some megabytes."""
KEPT_OF_A_KIND = 12
MOST_KINDS = 40
LONGEST_WORDS = 300
SAYING = ("says", "because", "reason", "why", "state", "word", "op", "algorithm")
"""Keys of a record whose text tells most, the first that is there."""
TIMES = ("epoch_tai_ns", "scale_latest_tai_ns", "anchor_tai_fs", "anchor_tai_ns", "valid_from_tai_ns")
"""Keys of a record that hold its time, ns or fs TAI."""
_PAYLOAD = re.compile(r"payloads/[0-9a-f]{64}")
_KEY = re.compile(r"[^\s+]{1,255}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44,1800}={0,2}")


class NoSuchEntry(Rejected):
    """An entry that the published log does not hold."""


@dataclass(frozen=True, slots=True)
class Head:
    """The published checkpoint, taken apart and not verified; `note` its bytes."""

    note: bytes
    parts: UncheckedNote
    checkpoint: Checkpoint


class PublishedLog:
    """The log below a laboratory's folder. Any thread may ask; what it scanned it keeps."""

    def __init__(self, lab: Path, raw_ns: Callable[[], int]) -> None:
        self._lab = lab
        self._raw_ns = raw_ns
        self._lock = Lock()
        self._newest: dict[str, deque[dict[str, Any]]] = {}
        self._counts: dict[str, int] = {}
        self._scanned: range = range(0)
        self._origin = ""
        self._log_key: str | None = None
        self._seen: tuple[bytes, int] = (b"", 0)

    def file(self, name: str) -> bytes | None:
        """Return the checkpoint, a tile or a long record by its one name below the log; None for anything else."""
        try:
            if name != CHECKPOINT and not _PAYLOAD.fullmatch(name):
                tile_of(name)
            return self._files().read(name)
        except TruechimerError:
            return None

    def head(self) -> Head:
        """Return the published checkpoint; raises `Rejected` where there is none."""
        note = self._files().read(CHECKPOINT)
        if note is None:
            raise EvidenceFilesRejected(f"{self._lab}: no checkpoint was published")
        parts = parsed(note)
        return Head(note, parts, checkpoint(parts.text))

    def entry(self, index: int) -> bytes:
        """Return one entry; raises `Rejected`."""
        head = self._holding(index)
        return entry_at(self._files().read, index, head.checkpoint.size)

    def proof(self, index: int) -> bytes:
        """Return the proof file of one entry under the published checkpoint; raises `Rejected`."""
        head = self._holding(index)
        return proof_of(self._files().read, head.note, index).data

    def _holding(self, index: int) -> Head:
        head = self.head()
        if not 0 <= index < head.checkpoint.size:
            raise NoSuchEntry(f"entry {index}: the published log holds 0 to {head.checkpoint.size - 1}")
        return head

    def bundle(self, page: str, log_key: str | None = None) -> Iterator[tuple[str, bytes]]:
        """Yield the files of a bundle of the whole log as it is published now, with `log_key` in the policy that it
        suggests; raises `Rejected`.
        """
        head = self.head()
        files = self._files()

        def read(name: str) -> bytes | None:
            return head.note if name == CHECKPOINT else files.read(name)

        said = "# the sender's suggestion, which proves nothing: compare the key with where you trust it\n"
        key = log_key or self._log_key
        line = f"log {key}\n" if key else "# its key is not told here: put its line in this place\n"
        policy = f"{said}{line}quorum none\n".encode()
        yield from bundled(
            read, indexes=None, policy=policy, verifier=program(), page=page, disclosed={}, record=self._long_record
        )

    def _long_record(self, index: int) -> bytes:
        """Return the record for which only a hash stands in the log; raises `Rejected`."""
        name = hash_of_long(self.entry(index))
        data = None if name is None else self._files().read(payload_path(name))
        if data is None:
            raise NoSuchEntry(f"entry {index}: the record whose hash it holds is not beside the log")
        return data

    def document(self) -> dict[str, Any]:
        """Return what the page shows; `published` is False where there is no log, with the reason."""
        try:
            with self._lock:
                return self._document()
        except (TruechimerError, ValueError) as error:
            return {"published": False, "why": str(error)[:LONGEST_WORDS]}

    def _document(self) -> dict[str, Any]:
        head = self.head()
        point = head.checkpoint
        if self._seen[0] != head.note:
            self._seen = (head.note, self._raw_ns())
        self._scan(point)
        signers = [{"name": one.name, "key_id": one.key_id.hex()} | _seen_at(one) for one in head.parts.signatures]
        kinds = [
            {"kind": kind, "count": self._counts[kind], "newest": list(rows)}
            for kind, rows in sorted(self._newest.items(), key=lambda item: -item[1][0]["index"])
        ]
        told: dict[str, Any] = {
            "published": True,
            "origin": point.origin,
            "size": point.size,
            "root": point.root.hex(),
            "checkpoint": head.note.decode("utf-8", "replace"),
            "unchanged_for_s": (self._raw_ns() - self._seen[1]) / 1e9,
            "signatures": signers,
            "first_scanned": self._scanned.start,
            "kinds": kinds,
        }
        return told if self._log_key is None else told | {"log_key": self._log_key}

    def _scan(self, point: Checkpoint) -> None:
        """Read what is new since the last scan; the newest anew, where the log is another, shrank or ran far ahead."""
        least = max(0, (-(-point.size // WIDTH) - BUNDLES_LOOKED_AT) * WIDTH)
        if point.origin != self._origin or not least <= self._scanned.stop <= point.size:
            self._newest, self._counts, self._scanned, self._log_key = {}, {}, range(least, least), None
            self._origin = point.origin
        begin, at = self._scanned.start, self._scanned.stop
        fetch = fetching(self._files().read)
        while at < point.size:
            tile = covering(ENTRIES, at, point.size)
            data = self._files().read(tile.path)
            if data is None:
                tile = tile.full
                data = fetch(tile)
            end = min(tile.first + WIDTH, point.size)
            for index, entry in enumerate(entries_of(tile, data)[at - tile.first : end - tile.first], start=at):
                self._take(index, entry)
            at = end
        self._scanned = range(begin, point.size)

    def _take(self, index: int, entry: bytes) -> None:
        row = row_of(index, entry)
        kind = row["kind"]
        if kind not in self._newest and len(self._newest) >= MOST_KINDS:
            return
        self._newest.setdefault(kind, deque(maxlen=KEPT_OF_A_KIND)).appendleft(row)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if kind == "keys":
            self._log_key = log_key_in(entry, self._origin) or self._log_key

    def _files(self) -> LogFiles:
        return LogFiles(log_folder(self._lab))


def _seen_at(signature: Any) -> dict[str, Any]:
    """Return when a cosignature says that it was made; nothing where it is none."""
    try:
        return {"says_at_s": time_of(signature)}
    except KeyRejected:
        return {}


def row_of(index: int, entry: bytes) -> dict[str, Any]:
    """Return what is shown of an entry: its kind, its own time where it has one, its own words, cut short."""
    try:
        body = json.loads(entry)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("kind"), str):
        text = entry[:LONGEST_WORDS].decode("utf-8", "replace")
        return {"index": index, "kind": "(no record)", "octets": len(entry), "says": text}
    row: dict[str, Any] = {"index": index, "kind": body["kind"][:60], "octets": len(entry)}
    utc = next((said for key in TIMES if (said := utc_of(body.get(key), fs=key.endswith("_fs"))) is not None), None)
    if utc is not None:
        row["utc"] = utc
    words = [f"{key}: {body[key]}" for key in ("subject", "severity") if isinstance(body.get(key), str)]
    words += [body[key] for key in SAYING if isinstance(body.get(key), str) and body[key]][:1]
    if not words:
        rest = {key: value for key, value in body.items() if key not in {"kind", "prev", "seq", *TIMES}}
        words = [json.dumps(rest, ensure_ascii=False, separators=(",", ":"))]
    row["says"] = "; ".join(words)[:LONGEST_WORDS]
    return row


def utc_of(tai: object, *, fs: bool = False) -> str | None:
    """Return the UTC label of a record's time (ns TAI, or `fs`; a number or digits); None where it is none."""
    digits = str(tai) if isinstance(tai, int | str) and not isinstance(tai, bool) else ""
    if not re.fullmatch(r"[0-9]{1,25}" if fs else r"[0-9]{1,19}", digits):
        return None
    try:
        return to_utc(
            Instant(int(digits) * (1 if fs else 10**6)), builtin_leap_table(), beyond_expiry="flag"
        ).isoformat(digits=3)
    except TruechimerError:
        return None


def log_key_in(entry: bytes, origin: str) -> str | None:
    """Return the log's verifier key where a record names it anywhere; it proves nothing."""
    for found in _KEY.findall(entry.decode("utf-8", "replace").replace('"', " ")):
        try:
            key = verifier_key(found)
        except KeyRejected:
            continue
        if key.name == origin:
            return key.text
    return None
