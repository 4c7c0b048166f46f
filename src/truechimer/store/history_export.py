"""The export: brings a history up to the end of a journal, and compares the two.

It speaks no SQL (`history`) and knows no columns (`history_tables`). A journal may be in use meanwhile: what comes
after the start of an export is left to the next. Records are taken in their order, each continuing the one before by
its hash, and whole: where one cannot be read the history ends before it, and says why.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from truechimer.errors import Rejected
from truechimer.evidence.record import GENESIS
from truechimer.store import history_manifest as files
from truechimer.store.history import Engine
from truechimer.store.history_manifest import HistoryRejected, Manifest, Segment, folded
from truechimer.store.history_tables import DECODED_KINDS, Decoder, HistoryRecordRejected, Row, day_of
from truechimer.store.sqlite_check import Check
from truechimer.store.sqlite_fabric import SqliteFabric
from truechimer.store.sqlite_records import STREAM

ROWS_AT_ONCE = 200_000
"""Rows that wait in memory before they are written."""
ROWS_OF_A_SEGMENT = 1_000_000
"""A day's last segment is written again together with what came, until it has so many rows."""

Progress = Callable[[int, int], None]


class JournalDiffersRejected(HistoryRejected):
    """The journal is not the one that the history was made from."""


@dataclass(frozen=True, slots=True)
class Extended:
    """How an export ended: what there is now, how many records came, and how many the journal had. `stopped`: why the
    history reaches less far than the journal did, None where it does not.
    """

    manifest: Manifest
    records_added: int
    journal_records: int
    stopped: str | None = None


def extend(folder: Path, journal: Path, *, progress: Progress = lambda _done, _whole: None) -> Extended:
    """Bring a history up to the end that a journal has now; the journal may be in use. Raises `Rejected`.

    What cannot be read ends it there: everything before is in the history, and the reason in `stopped`.
    """
    fabric = SqliteFabric(journal, read_only=True, open_check=Check.TAIL)
    try:
        with files.alone(folder):
            return _Export(folder, fabric, progress).run()
    finally:
        fabric.close()


def verify(folder: Path, journal: Path, *, progress: Progress = lambda _done, _whole: None) -> list[str]:
    """Compare a history with its journal: every file's digest, and every row with what the records say. Return what
    differs, a sentence each; raises `Rejected` where they cannot be compared at all.
    """
    fabric = SqliteFabric(journal, read_only=True, open_check=Check.TAIL)
    try:
        with files.alone(folder):
            return _Verification(folder, fabric, progress).run()
    finally:
        fabric.close()


@dataclass(slots=True)
class _Batch:
    """Rows of one table and day, and the records that gave them."""

    rows: list[Row] = field(default_factory=list)
    records: list[tuple[int, bytes]] = field(default_factory=list)


class _Batches:
    """Rows that wait, by table and day."""

    def __init__(self, decoder: Decoder) -> None:
        """Begin without any."""
        self.decoder = decoder
        self.of: defaultdict[tuple[str, str], _Batch] = defaultdict(_Batch)
        self.waiting = 0
        self.last_epoch_tai_ns: int | None = None

    def take(self, body: dict[str, Any], data: bytes) -> None:
        """Add the rows of one record, all or none; raises `HistoryRecordRejected`."""
        rows = list(self.decoder.rows(body))
        try:
            places = [(table, day_of(row[1])) for table, row in rows]
        except (ValueError, OverflowError):
            raise HistoryRecordRejected(f"record {body['seq']} is of a day that no calendar has") from None
        for place, (_, row) in zip(places, rows, strict=True):
            batch = self.of[place]
            batch.rows.append(row)
            if not batch.records or batch.records[-1][0] != body["seq"]:
                batch.records.append((body["seq"], data))
            self.last_epoch_tai_ns = max(row[1], self.last_epoch_tai_ns or row[1])
        self.waiting += len(rows)

    def drain(self) -> list[tuple[tuple[str, str], _Batch]]:
        """Return all that waits, and forget it."""
        drained = sorted(self.of.items())
        self.of, self.waiting = defaultdict(_Batch), 0
        return drained


class _Export:
    """One run of an export."""

    def __init__(self, folder: Path, fabric: SqliteFabric, progress: Progress) -> None:
        """Continue where the manifest ends; raises `HistoryRejected` where that is in another journal."""
        self.folder, self.fabric, self.progress = folder, fabric, progress
        self.manifest = files.read(folder) or Manifest()
        self.batches = _Batches(_same_journal(folder, fabric, self.manifest))
        self.reached = self.manifest
        """What the manifest will say once all that waits is written."""
        self.without_table = Counter(dict(self.manifest.without_table))
        self.engine = Engine()
        for stray in list(files.strays(folder, self.manifest)):
            files.remove(stray)

    def run(self) -> Extended:
        """Read, decode and write what the history does not have yet."""
        began, stopped = self.manifest.through_seq, None
        whole = self.fabric.health().ends.get(STREAM, 0)
        try:
            for body, data, digest in _chained(self.fabric, self.manifest, until=whole):
                self._take(body, data, digest)
                if self.batches.waiting >= ROWS_AT_ONCE:
                    self._write()
                    self.progress(self.manifest.through_seq + 1, whole)
        except Rejected as error:
            stopped = str(error)
        if self.reached.through_seq > self.manifest.through_seq:
            self._write()
        self.engine.close()
        return Extended(self.manifest, self.manifest.through_seq - began, whole, stopped)

    def _take(self, body: dict[str, Any], data: bytes, digest: str) -> None:
        """Take one record."""
        self.batches.take(body, data)
        if body["kind"] not in DECODED_KINDS:
            self.without_table[body["kind"]] += 1
        reached = self.reached
        self.reached = replace(
            reached,
            through_seq=body["seq"],
            head_sha256=digest,
            journal_sha256=reached.journal_sha256 or digest,
            simulated=reached.simulated or body.get("simulated") is True,
        )

    def _write(self) -> None:
        """Write what waits, then the manifest, then remove what it no longer names."""
        manifest, old = self.reached, []
        for (table, day), batch in self.batches.drain():
            last = manifest.last_of(table, day)
            if last is not None and last.rows + len(batch.rows) > ROWS_OF_A_SEGMENT:
                last = None
            manifest = manifest.with_segment(self._segment(table, day, batch, last), instead_of=last)
            if last is not None:
                old.append(last)
        epochs = [e for e in (manifest.last_epoch_tai_ns, self.batches.last_epoch_tai_ns) if e is not None]
        self.manifest = self.reached = replace(
            manifest,
            last_epoch_tai_ns=max(epochs, default=None),
            register_seqs=tuple(self.batches.decoder.register_seqs),
            without_table=tuple(sorted(self.without_table.items())),
        )
        files.write(self.folder, self.manifest)
        for segment in old:
            files.remove(self.folder / segment.file)

    def _segment(self, table: str, day: str, batch: _Batch, last: Segment | None) -> Segment:
        """Write one file, compare it with what it was written from, and return what the manifest says of it."""
        records_sha256 = files.NOTHING if last is None else last.records_sha256
        for _, data in batch.records:
            records_sha256 = folded(records_sha256, data)
        new = Segment(
            table=table,
            day=day,
            first_seq=batch.records[0][0] if last is None else last.first_seq,
            last_seq=batch.records[-1][0],
            rows=len(batch.rows) + (0 if last is None else last.rows),
            records=len(batch.records) + (0 if last is None else last.records),
            records_sha256=records_sha256,
            stored_bytes=0,
            sha256="",
        )
        path = self.folder / new.file
        part = path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        if last is not None and (fault := files.fault_of(self.folder, last)) is not None:
            raise HistoryRejected(f"{self.folder / last.file}: {fault}; export into a new folder")
        before = None if last is None else self.folder / last.file
        self.engine.write(part, table, batch.rows, before=before, said=_said(new, self.reached))
        files.sync(part)
        part.replace(path)
        files.sync(path.parent)
        return replace(new, stored_bytes=path.stat().st_size, sha256=files.digest_of(path))


class _Verification:
    """One comparison of a history with its journal."""

    def __init__(self, folder: Path, fabric: SqliteFabric, progress: Progress) -> None:
        """Open both."""
        found = files.read(folder)
        if found is None:
            raise HistoryRejected(f"{folder}: there is no history here: export one first")
        self.folder, self.fabric, self.progress, self.manifest = folder, fabric, progress, found
        _same_journal(folder, fabric, found)
        self.batches = _Batches(Decoder())
        self.records: dict[Segment, tuple[int, str]] = {}
        self.rows: Counter[Segment] = Counter()
        self.faults: list[str] = []
        self.engine = Engine()

    def run(self) -> list[str]:
        """Look at every file, then at every record."""
        broken = {s: fault for s in self.manifest.segments if (fault := files.fault_of(self.folder, s)) is not None}
        self.faults += [f"{segment.file}: {fault}" for segment, fault in broken.items()]
        if not broken:
            whole = self.manifest.through_seq + 1
            for body, data, _ in _chained(self.fabric, Manifest(), until=whole):
                self.batches.take(body, data)
                if self.batches.waiting >= ROWS_AT_ONCE:
                    self._compare()
                    self.progress(body["seq"] + 1, whole)
            self._compare()
            for segment in self.manifest.segments:
                found = (*self.records.get(segment, (0, files.NOTHING)), self.rows[segment])
                if found != (segment.records, segment.records_sha256, segment.rows):
                    self.faults.append(f"{segment.file}: {segment.rows} rows, the journal gives {found[2]}, or others")
        self.engine.close()
        return self.faults

    def _compare(self) -> None:
        """Compare the rows that wait with those of the files."""
        for (table, day), batch in self.batches.drain():
            segments = [s for s in self.manifest.segments if (s.table, s.day) == (table, day)]
            for seq, data in batch.records:
                owner = next((s for s in segments if s.first_seq <= seq <= s.last_seq), None)
                if owner is None:
                    self.faults.append(f"{table} of {day}: record {seq} is missing")
                    continue
                number, digest = self.records.get(owner, (0, files.NOTHING))
                self.records[owner] = number + 1, folded(digest, data)
            for segment in segments:
                self.rows[segment] += sum(segment.first_seq <= row[0] <= segment.last_seq for row in batch.rows)
            if segments:
                first, last = batch.records[0][0], batch.records[-1][0]
                stored = [self.folder / segment.file for segment in segments]
                differing = self.engine.differing(table, batch.rows, stored, seqs=(first, last))
                if differing:
                    self.faults.append(f"{table} of {day}: {differing} rows differ from records {first} to {last}")


def _same_journal(folder: Path, fabric: SqliteFabric, manifest: Manifest) -> Decoder:
    """Compare the first and the last record of a history with a journal's; return a decoder that knows the register."""
    decoder = Decoder()
    if manifest.through_seq >= 0:
        for seq, known in ((0, manifest.journal_sha256), (manifest.through_seq, manifest.head_sha256)):
            if sha256(_record(folder, fabric, seq)).hexdigest() != known:
                raise JournalDiffersRejected(
                    f"{folder}: record {seq} of {fabric.path} is not the one that this history was made from: name the "
                    "laboratory of this history, or a new folder"
                )
        for seq in manifest.register_seqs:
            for _ in decoder.rows(json.loads(_record(folder, fabric, seq))):
                pass
    return decoder


def _record(folder: Path, fabric: SqliteFabric, seq: int) -> bytes:
    """Return one record of a journal."""
    for entry in fabric.read(STREAM, after=seq - 1):
        return entry.data
    raise JournalDiffersRejected(
        f"{folder}: is made from a journal with a record {seq}, which {fabric.path} does not have: name the laboratory "
        "of this history, or a new folder"
    )


def _chained(fabric: SqliteFabric, after: Manifest, *, until: int) -> Iterator[tuple[dict[str, Any], bytes, str]]:
    """Yield (body, bytes, SHA-256) of the records after a history and before `until`, each continuing the last."""
    before = after.head_sha256 or GENESIS
    for entry in fabric.read(STREAM, after=after.through_seq):
        if entry.seq >= until:
            return
        try:
            body = json.loads(entry.data)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict) or not isinstance(body.get("kind"), str):
            raise HistoryRecordRejected(f"record {entry.seq} of {fabric.path} is not a record")
        if type(body.get("seq")) is not int or body["seq"] != entry.seq or body.get("prev") != before:
            raise HistoryRecordRejected(
                f"record {entry.seq} of {fabric.path} does not continue the one before; `truechimer evidence replay` "
                "says more"
            )
        before = sha256(entry.data).hexdigest()
        yield body, entry.data, before


def _said(segment: Segment, manifest: Manifest) -> dict[str, str]:
    """Return what stands in a file about itself."""
    return {
        "truechimer_table": segment.table,
        "truechimer_day_tai": segment.day,
        "truechimer_records": f"{segment.first_seq}-{segment.last_seq}",
        "truechimer_records_sha256": segment.records_sha256,
        "truechimer_journal_sha256": manifest.journal_sha256,
        "truechimer_against": "simulated-utc" if manifest.simulated else "utc",
    }
