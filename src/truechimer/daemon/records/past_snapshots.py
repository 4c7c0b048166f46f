"""Past snapshots: one state a day, so that any past interval is repeated from near it and not from the first record.

They are a saving of time and no evidence, as every snapshot (ADR 16): one that does not fit the journal is passed over,
and without any the replay begins at the first record. Days are those of the epochs, not of the wall clock, so that a
history that is caught up in a minute leaves its days too. The newest `DAYS_KEPT` days stand in the laboratory's
`run/state.sqlite3`, each in the place of the one so many days before it.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol

from truechimer.errors import Rejected
from truechimer.evidence import exact
from truechimer.laboratory import snapshot
from truechimer.laboratory.replay import Known
from truechimer.laboratory.run_start import of_this_fold
from truechimer.laboratory.snapshot import SnapshotRejected
from truechimer.store.fabric import StoreRejected
from truechimer.store.sqlite_fabric import SqliteFabric

DAY_NS = 86_400 * 10**9
DAYS_KEPT = 96
_PREFIX = "laboratory/past/"


class Records(Protocol):
    """A journal or a log, read in order (`SqliteRecords`, `LogRecords`)."""

    def read(self, *, first: int = 0) -> Iterator[bytes]:
        """Yield the records from number `first` on."""

    def count(self) -> int:
        """Return how many there are."""


def key_of(epoch_ns: int) -> str:
    """Return where the state of an epoch's day is kept."""
    return f"{_PREFIX}{epoch_ns // DAY_NS % DAYS_KEPT:02d}"


def day_of(data: bytes) -> int | None:
    """Return the day (of epochs) of a kept snapshot; None where it cannot be read."""
    try:
        tag, epoch_ns = snapshot.read(data).body["state"]["epoch_ns"]
        return int(epoch_ns) // DAY_NS if tag == "i" else None
    except (SnapshotRejected, *exact.READ_FAULTS):
        return None


def known_of(store: Records, found: snapshot.Snapshot) -> Known:
    """Return what a snapshot gives back over this journal; raises `SnapshotRejected` where it is not of it, or where
    another fold or another version of the scale's algorithm made the records before it.
    """
    roots = found.roots
    start, config, state = snapshot.restore(found, lambda seq: record_at(store, seq))
    try:
        of_this_fold(start)
    except Rejected as error:  # a state of the same shape may have come about in another way
        says = f"the records before it are not of this program's fold and algorithm ({error})"
        raise SnapshotRejected("version", says) from None
    if start.fold is None:
        raise SnapshotRejected("version", "the records before it are not of this program's fold")
    return Known(start, config, state, roots)


def record_at(store: Records, seq: int) -> bytes:
    """Return one record; raises `SnapshotRejected` where the journal does not reach so far."""
    if not 0 <= seq < store.count():
        raise SnapshotRejected("misfit", f"the journal has {store.count()} records, and none of number {seq}")
    return next(iter(store.read(first=seq)))


def nearest(file: Path, store: Records, before_seq: int, newest_key: str) -> Known | None:
    """Return the state of the last kept snapshot after which record `before_seq` still comes, or None.

    `file`: the laboratory's `run/state.sqlite3`; whatever is wrong with it, the replay can do without.
    """
    if not file.is_file():
        return None
    found = []
    try:
        with closing(SqliteFabric(file, read_only=True)) as fabric:
            for key in (newest_key, *(f"{_PREFIX}{slot:02d}" for slot in range(DAYS_KEPT))):
                value = fabric.get(key)
                seq = None if value is None else snapshot.records_before(value.data)
                if value is not None and seq is not None and seq <= before_seq:
                    found.append((seq, value.data))
    except StoreRejected:
        return None
    for _, data in sorted(found, reverse=True):
        try:
            return known_of(store, snapshot.read(data))
        except SnapshotRejected:
            continue
    return None


def first_epoch_from(store: Records, epoch_ns: int) -> int:
    """Return the number of the first `readings` record whose epoch is not before `epoch_ns`, the number of records
    where there is none. Epochs only grow, so it is found by halving.
    """
    low, high = 0, store.count()
    while low < high:
        middle = (low + high) // 2
        at = next(_epochs(store, middle), None)
        if at is None or at[1] >= epoch_ns:
            high = middle
        else:
            low = at[0] + 1
    at = next(_epochs(store, low), None)
    return store.count() if at is None else at[0]


def _epochs(store: Records, first: int) -> Iterator[tuple[int, int]]:
    """Yield number and epoch (ns TAI) of each `readings` record from a number on."""
    for number, data in enumerate(store.read(first=first), first):
        if b'"kind":"readings"' in data:
            yield number, int(json.loads(data)["epoch_tai_ns"])
